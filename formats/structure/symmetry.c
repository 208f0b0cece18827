#include "formats/structure/symmetry.h"

#include <ctype.h>
#include <math.h>
#include <spglib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_HALL = 530, NAME = 64 }; /* settings in spglib's table; bytes of a name */

static const double shift_tolerance = 1e-3, metric_tolerance = 5e-3;

static double wrapped(double x)
{
    const double nearest = round(24 * x) / 24;
    if (fabs(x - nearest) < shift_tolerance) x = nearest;
    return x - floor(x);
}

/* One of the three parts: signed terms, each a letter or a number, as "1/2-x" or "-x+0.5". */
static int parse_part(const char **at, int turn[3], double *shift, const char *text, nh_error *err)
{
    bool any = false;
    *shift = 0;
    turn[0] = turn[1] = turn[2] = 0;
    for (;; any = true) {
        while (isspace((unsigned char)**at))
            ++*at;
        if (**at == ',' || **at == '\0') break;
        int sign = 1;
        if (**at == '+' || **at == '-')
            sign = *(*at)++ == '-' ? -1 : 1;
        else if (any)
            goto bad;
        while (isspace((unsigned char)**at))
            ++*at;
        const int letter = tolower((unsigned char)**at);
        if (letter >= 'x' && letter <= 'z') {
            int *const w = &turn[letter - 'x'];
            if (*w != 0) goto bad;
            *w = sign;
            ++*at;
        } else if (isdigit((unsigned char)letter) || letter == '.') {
            char *end;
            double number = strtod(*at, &end);
            if (*end == '/') {
                const char *const below = end + 1;
                const double denominator = isdigit((unsigned char)*below) ? strtod(below, &end) : 0;
                if (!(denominator > 0)) goto bad;
                number /= denominator;
            }
            if (!(fabs(number) < 100)) goto bad;
            *shift += sign * number;
            *at = end;
        } else {
            goto bad;
        }
    }
    if (any) return 0;
bad:
    return nh_fail(err, "\"%.60s\" is no symmetry operation (\"-x+1/2, y, z\" is one)", text);
}

static int determinant(const int w[9])
{
    return w[0] * (w[4] * w[8] - w[5] * w[7]) - w[1] * (w[3] * w[8] - w[5] * w[6]) +
           w[2] * (w[3] * w[7] - w[4] * w[6]);
}

int nh_operation_parse(const char *text, nh_operation *out, nh_error *err)
{
    const char *at = text;
    for (int k = 0; k < 3; k++) {
        if (parse_part(&at, out->turn + 3 * k, &out->shift[k], text, err)) return -1;
        out->shift[k] = wrapped(out->shift[k]);
        if (*at != (k < 2 ? ',' : '\0'))
            return nh_fail(err, "\"%.60s\": three parts expected in a symmetry operation", text);
        at += k < 2;
    }
    if (abs(determinant(out->turn)) != 1)
        return nh_fail(err, "\"%.60s\": a symmetry operation has the determinant 1 or -1", text);
    return 0;
}

void nh_operation_apply(const nh_operation *o, const double x[3], double out[3])
{
    for (int i = 0; i < 3; i++)
        out[i] = o->turn[3 * i] * x[0] + o->turn[3 * i + 1] * x[1] + o->turn[3 * i + 2] * x[2] + o->shift[i];
}

/* W' G W = G with the metric tensor G: the operation keeps lengths and angles. */
static bool keeps_metric(const int w[9], const double a[9])
{
    double g[9], largest = 0;
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            g[3 * i + j] = a[3 * i] * a[3 * j] + a[3 * i + 1] * a[3 * j + 1] + a[3 * i + 2] * a[3 * j + 2];
    for (int i = 0; i < 3; i++)
        largest = fmax(largest, g[4 * i]);
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            double sum = 0;
            for (int k = 0; k < 3; k++)
                for (int l = 0; l < 3; l++)
                    sum += w[3 * k + i] * g[3 * k + l] * w[3 * l + j];
            if (!(fabs(sum - g[3 * i + j]) <= metric_tolerance * largest)) return false;
        }
    return true;
}

static bool same(const nh_operation *a, const nh_operation *b)
{
    if (memcmp(a->turn, b->turn, sizeof a->turn) != 0) return false;
    for (int k = 0; k < 3; k++) {
        const double d = a->shift[k] - b->shift[k];
        if (fabs(d - round(d)) > shift_tolerance) return false;
    }
    return true;
}

static bool contains(const nh_symmetry *s, const nh_operation *o)
{
    for (size_t i = 0; i < s->count; i++)
        if (same(&s->operation[i], o)) return true;
    return false;
}

static void product(const nh_operation *a, const nh_operation *b, nh_operation *out)
{
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            out->turn[3 * i + j] = a->turn[3 * i] * b->turn[j] + a->turn[3 * i + 1] * b->turn[3 + j] +
                                   a->turn[3 * i + 2] * b->turn[6 + j];
    nh_operation_apply(a, b->shift, out->shift);
}

int nh_symmetry_check(const nh_symmetry *s, const double lattice[9], nh_error *err)
{
    const nh_operation identity = {.turn = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    if (!contains(s, &identity)) return nh_fail(err, "x, y, z is not among the symmetry operations");
    for (size_t i = 0; i < s->count; i++) {
        for (size_t j = 0; j < i; j++)
            if (same(&s->operation[i], &s->operation[j]))
                return nh_fail(err, "symmetry operations %zu and %zu are the same", j + 1, i + 1);
        if (!keeps_metric(s->operation[i].turn, lattice))
            return nh_fail(err, "symmetry operation %zu does not fit the lengths and angles of the cell",
                           i + 1);
    }
    for (size_t i = 0; i < s->count; i++)
        for (size_t j = 0; j < s->count; j++) {
            nh_operation both;
            product(&s->operation[i], &s->operation[j], &both);
            if (!contains(s, &both))
                return nh_fail(
                    err,
                    "the symmetry operations are no group: the product of numbers %zu and %zu is missing",
                    i + 1, j + 1);
        }
    return 0;
}

/* --- names --- */

/* Without spaces and underscores, in small letters; the setting ("2", "h", "r") apart. */
typedef struct group_name {
    char symbol[NAME], setting[NAME];
} group_name;

static void squeeze(const char *text, size_t length, char out[NAME])
{
    size_t n = 0;
    for (size_t i = 0; i < length && n + 1 < NAME; i++)
        if (!isspace((unsigned char)text[i]) && text[i] != '_')
            out[n++] = (char)tolower((unsigned char)text[i]);
    out[n] = '\0';
}

/* "F d -3 m :2", "R -3 m :H", and with the letters of older files "F d -3 m Z" (second origin), "S"
 * (first). */
static void cut_name(const char *h_m, group_name *out)
{
    size_t n = strlen(h_m);
    while (n > 0 && isspace((unsigned char)h_m[n - 1]))
        n--;
    out->setting[0] = '\0';
    const char *const colon = memchr(h_m, ':', n);
    if (colon != NULL) {
        squeeze(colon + 1, n - (size_t)(colon + 1 - h_m), out->setting);
        n = (size_t)(colon - h_m);
    } else if (n > 2 && isspace((unsigned char)h_m[n - 2]) && strchr("SZHR", h_m[n - 1]) != NULL) {
        const char letter = h_m[n - 1];
        snprintf(out->setting, NAME, "%c", letter == 'S' ? '1' : letter == 'Z' ? '2' : tolower(letter));
        n -= 2;
    }
    squeeze(h_m, n, out->symbol);
}

/* True where `symbol` is one of the setting's names. A monoclinic setting has its full symbol, with or
 * without the axes that are "1": the short symbol of the table is that of all settings, while P 21/c means
 * one of them. */
static bool has_name(const SpglibSpacegroupType *t, const char *symbol)
{
    char name[NAME], shorter[NAME];
    squeeze(t->international_full, strlen(t->international_full), name);
    if (strcmp(name, symbol) == 0) return true;
    if (t->number >= 3 && t->number <= 15) {
        size_t n = 0;
        for (const char *at = t->international_full; *at != '\0' && n + 1 < NAME; at++)
            if (!isspace((unsigned char)*at) && *at != '_' && !(*at == '1' && at[-1] == ' '))
                shorter[n++] = (char)tolower((unsigned char)*at);
        shorter[n] = '\0';
        return strcmp(shorter, symbol) == 0;
    }
    squeeze(t->international_short, strlen(t->international_short), name);
    return strcmp(name, symbol) == 0;
}

/* The settings that fit the names of the space group; the Hall symbol counts where it is one of the
 * table's. */
static size_t candidates(const nh_space_group *g, int hall_number[N_HALL])
{
    group_name name = {"", ""};
    char hall[NAME] = "";
    if (g->h_m != NULL) cut_name(g->h_m, &name);
    if (g->hall != NULL) squeeze(g->hall, strlen(g->hall), hall);
    size_t n = 0, n_hall = 0;
    int of_hall = 0;
    for (int h = 1; h <= N_HALL; h++) {
        const SpglibSpacegroupType t = spg_get_spacegroup_type(h);
        char own_hall[NAME];
        squeeze(t.hall_symbol, strlen(t.hall_symbol), own_hall);
        if (g->number != 0 && t.number != g->number) continue;
        if (name.symbol[0] != '\0' && !has_name(&t, name.symbol)) continue;
        char choice[NAME];
        squeeze(t.choice, strlen(t.choice), choice);
        if (name.setting[0] != '\0' && strncmp(choice, name.setting, strlen(name.setting)) != 0) continue;
        if (hall[0] != '\0' && strcmp(own_hall, hall) == 0) {
            n_hall++;
            of_hall = h;
        }
        hall_number[n++] = h;
    }
    if (n_hall == 1) {
        hall_number[0] = of_hall;
        n = 1;
    }
    /* an unknown Hall symbol alone says nothing */
    return n_hall == 0 && g->number == 0 && name.symbol[0] == '\0' ? 0 : n;
}

static int operations_of(int hall_number, nh_symmetry *out, nh_error *err)
{
    int turn[NH_MOST_OPERATIONS][3][3];
    double shift[NH_MOST_OPERATIONS][3];
    const int n = spg_get_symmetry_from_database(turn, shift, hall_number);
    if (n < 1) return nh_fail(err, "spglib has no operations of setting %d", hall_number);
    out->count = (size_t)n;
    for (int i = 0; i < n; i++) {
        nh_operation *const o = &out->operation[i];
        for (int k = 0; k < 3; k++) {
            for (int l = 0; l < 3; l++)
                o->turn[3 * k + l] = turn[i][k][l];
            o->shift[k] = wrapped(shift[i][k]);
        }
    }
    return 0;
}

static bool fits_lattice(const nh_symmetry *s, const double lattice[9])
{
    for (size_t i = 0; i < s->count; i++)
        if (!keeps_metric(s->operation[i].turn, lattice)) return false;
    return true;
}

static void print_group(const nh_space_group *g, char *out, size_t size)
{
    if (g->h_m != NULL)
        snprintf(out, size, "\"%.40s\"", g->h_m);
    else if (g->hall != NULL)
        snprintf(out, size, "\"%.40s\"", g->hall);
    else
        snprintf(out, size, "number %d", g->number);
}

int nh_symmetry_find(const nh_space_group *g, const double lattice[9], nh_symmetry *out, nh_error *err)
{
    int hall_number[N_HALL];
    char group[NAME], list[8 * NAME] = "";
    print_group(g, group, sizeof group);
    const size_t n = candidates(g, hall_number);
    if (n == 0)
        return nh_fail(err, "no space group %s (with the number and symbols given) in spglib's table", group);
    size_t n_fit = 0, at = 0;
    int found = 0;
    for (size_t i = 0; i < n; i++) {
        if (operations_of(hall_number[i], out, err)) return -1;
        if (!fits_lattice(out, lattice)) continue;
        n_fit++;
        found = hall_number[i];
        const SpglibSpacegroupType t = spg_get_spacegroup_type(found);
        if (at < sizeof list)
            at += (size_t)snprintf(list + at, sizeof list - at, "%s%s%s%s", n_fit > 1 ? ", " : "",
                                   t.international_full, t.choice[0] != '\0' ? " :" : "", t.choice);
    }
    if (n_fit == 0) return nh_fail(err, "the cell does not fit the space group %s", group);
    if (n_fit > 1)
        return nh_fail(err,
                       "space group %s has several settings (%.300s): the symmetry operations are needed",
                       group, list);
    return operations_of(found, out, err);
}

bool nh_symmetry_count_fits(const nh_space_group *g, size_t count)
{
    int hall_number[N_HALL];
    const size_t n = candidates(g, hall_number);
    int turn[NH_MOST_OPERATIONS][3][3];
    double shift[NH_MOST_OPERATIONS][3];
    for (size_t i = 0; i < n; i++)
        if (spg_get_symmetry_from_database(turn, shift, hall_number[i]) == (int)count) return true;
    return n == 0;
}
