#include "formats/abacus/kpt.h"

#include "base/memory.h"
#include "crystal/kpath.h"
#include "base/stream.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const double BOHR = 0.529177210903; /* Å; CODATA 2018 */
enum { MOST_TEXT = 1 << 28 };

/* Lines that hold something besides a comment, one after another. */
typedef struct lines {
    char *text, *next; /* owned; where the next line begins */
    const char *name;
    size_t number; /* of the line taken last, from 1 */
    char *comment; /* what follows '#' or "//" in it, or "" */
} lines;

static int open_lines(const char *path, lines *l, nh_error *err)
{
    *l = (lines){.name = strcmp(path, "-") == 0 ? "(standard input)" : path};
    if (nh_read_text(path, MOST_TEXT, &l->text, err) != 0) return -1;
    l->next = l->text;
    return 0;
}

/* The next line, cut at its comment; NULL at the end. */
static char *take_line(lines *l)
{
    while (*l->next != '\0') {
        char *line = l->next, *end = line + strcspn(line, "\n");
        l->next = *end == '\0' ? end : end + 1;
        *end = '\0';
        l->number++;
        l->comment = end;
        for (char *c = line; *c != '\0'; c++)
            if (*c == '#' || (c[0] == '/' && c[1] == '/')) {
                l->comment = c + (*c == '#' ? 1 : 2);
                *c = '\0';
                break;
            }
        if (line[strspn(line, " \t\r")] != '\0') return line;
    }
    return NULL;
}

static int expected(const lines *l, const char *what, const char *found, nh_error *err)
{
    if (found == NULL) return nh_fail(err, "%s: end of the file, %s expected", l->name, what);
    return nh_fail(err, "%s:%zu: %s expected, found \"%.60s\"", l->name, l->number, what, found);
}

/* Takes a word off the front of *at; NULL at its end. */
static char *take_word(char **at)
{
    char *word = *at + strspn(*at, " \t\r\v\f");
    if (*word == '\0') return NULL;
    char *end = word + strcspn(word, " \t\r\v\f");
    *at = *end == '\0' ? end : end + 1;
    *end = '\0';
    return word;
}

static bool to_real(const char *word, double *out)
{
    char *end;
    if (word == NULL) return false;
    *out = strtod(word, &end);
    return *end == '\0' && end != word && isfinite(*out);
}

static bool to_count(const char *word, long *out)
{
    char *end;
    if (word == NULL) return false;
    errno = 0;
    *out = strtol(word, &end, 10);
    return *end == '\0' && end != word && errno == 0 && *out >= 0 && *out <= INT_MAX;
}

static int set_label(const lines *l, const char *word, char label[NH_K_LABEL], nh_error *err)
{
    if (word == NULL) return 0;
    if (strlen(word) >= NH_K_LABEL)
        return nh_fail(err, "%s:%zu: label of more than %d characters", l->name, l->number, NH_K_LABEL - 1);
    strcpy(label, word);
    return 0;
}

typedef enum mode { GAMMA, MONKHORST_PACK, DIRECT, CARTESIAN, LINE, LINE_CARTESIAN, UNKNOWN } mode;

static mode parse_mode(const char *word)
{
    static const struct {
        const char *name;
        mode value;
    } names[] = {{"Gamma", GAMMA},
                 {"G", GAMMA},
                 {"Monkhorst-Pack", MONKHORST_PACK},
                 {"MP", MONKHORST_PACK},
                 {"M", MONKHORST_PACK},
                 {"Direct", DIRECT},
                 {"D", DIRECT},
                 {"Cartesian", CARTESIAN},
                 {"C", CARTESIAN},
                 {"Line", LINE},
                 {"L", LINE},
                 {"Line_Direct", LINE},
                 {"Line_Cartesian", LINE_CARTESIAN}};
    for (size_t i = 0; word != NULL && i < sizeof names / sizeof *names; i++)
        if (strcasecmp(word, names[i].name) == 0) return names[i].value;
    return UNKNOWN;
}

static int read_mesh(lines *l, bool gamma, nh_kpoints *out, nh_error *err)
{
    char *line = take_line(l);
    if (line == NULL) return expected(l, "the mesh N1 N2 N3 and its shift", NULL, err);
    int n[3];
    double shift[3] = {0};
    for (int x = 0; x < 3; x++) {
        long value;
        if (!to_count(take_word(&line), &value) || value < 1)
            return nh_fail(err, "%s:%zu: three positive integers expected", l->name, l->number);
        n[x] = (int)value;
    }
    for (int x = 0; x < 3; x++) {
        const char *word = take_word(&line);
        if (word == NULL && x == 0) break; /* no shift */
        if (!to_real(word, &shift[x]))
            return nh_fail(err, "%s:%zu: three numbers (the shift) expected", l->name, l->number);
    }
    return nh_kpoints_mesh(n, gamma, shift, out, err) != 0 ? nh_fail_at(err, "%s:%zu", l->name, l->number)
                                                           : 0;
}

/* From units of 2 pi/lattice_constant along x, y, z to fractional: k_i = v . a_i / lattice_constant. */
static void to_fractional(const double lattice[9], double lattice_constant, double k[3])
{
    double f[3];
    for (int i = 0; i < 3; i++)
        f[i] = (k[0] * lattice[3 * i] + k[1] * lattice[3 * i + 1] + k[2] * lattice[3 * i + 2]) /
               (lattice_constant * BOHR);
    memcpy(k, f, sizeof f);
}

static int read_rows(lines *l, const double lattice[9], double lattice_constant, mode m, size_t count,
                     nh_kpoints *out, nh_error *err)
{
    const bool path = m == LINE || m == LINE_CARTESIAN;
    if ((m == CARTESIAN || m == LINE_CARTESIAN) && !(lattice_constant > 0))
        return nh_fail(
            err, "%s: Cartesian coordinates are in units of 2 pi/LATTICE_CONSTANT: give --lattice-constant",
            l->name);
    nh_k_node *node = NH_ARRAY(nh_k_node, count);
    nh_kpoints list = {0};
    int status = -1;
    if (node == NULL) {
        nh_fail_memory(err, "k-points");
        goto done;
    }
    if (!path && nh_kpoints_new(count, NH_K_LIST, &list, err) != 0) goto done;
    for (size_t i = 0; i < count; i++) {
        char *line = take_line(l);
        double weight = 0;
        if (line == NULL) {
            nh_fail(err, "%s: end of the file after %zu of %zu k-points", l->name, i, count);
            goto done;
        }
        bool good = true;
        for (int x = 0; x < 3; x++)
            good = good && to_real(take_word(&line), &node[i].k[x]);
        const char *last = take_word(&line);
        long points = 1;
        if (path) {
            /* The number behind the last corner has no meaning, and may be left out. */
            good = good && ((last == NULL && i + 1 == count) || (to_count(last, &points) && points >= 1));
        } else {
            good = good && to_real(last, &weight);
        }
        if (!good) {
            nh_fail(err, "%s:%zu: %s expected", l->name, l->number,
                    path ? "three coordinates and a number of points" : "three coordinates and a weight");
            goto done;
        }
        if (m == CARTESIAN || m == LINE_CARTESIAN) to_fractional(lattice, lattice_constant, node[i].k);
        node[i].points = (size_t)points;
        node[i].jump = points == 1 && i + 1 < count; /* as ABACUS breaks a path */
        const char *word = take_word(&l->comment);   /* a long one is no label, but a comment as others */
        if (word != NULL && strlen(word) < NH_K_LABEL) strcpy(node[i].label, word);
        if (!path) {
            memcpy(list.k + 3 * i, node[i].k, sizeof node[i].k);
            list.weight[i] = weight;
            memcpy(list.label[i], node[i].label, NH_K_LABEL);
        }
    }
    if (path) {
        status = nh_kpoints_path(lattice, count, node, out, err);
    } else {
        status = nh_kpoints_normalise(&list, err) != 0 || nh_kpoints_distances(lattice, NULL, &list, err) != 0
                     ? -1
                     : 0;
        if (status == 0) {
            *out = list;
            list = (nh_kpoints){0};
        }
    }
    if (status != 0) nh_fail_at(err, "%s", l->name);
done:
    free(node);
    nh_kpoints_free(&list);
    return status;
}

static int read_kpt(lines *l, const double lattice[9], double lattice_constant, nh_kpoints *out,
                    nh_error *err)
{
    char *line = take_line(l), *word = line != NULL ? take_word(&line) : NULL;
    if (word == NULL ||
        (strcmp(word, "K_POINTS") != 0 && strcmp(word, "KPOINTS") != 0 && strcmp(word, "K") != 0))
        return expected(l, "K_POINTS", word, err);
    long count;
    line = take_line(l);
    word = line != NULL ? take_word(&line) : NULL;
    if (!to_count(word, &count)) return expected(l, "the number of k-points (0: a mesh)", word, err);
    line = take_line(l);
    word = line != NULL ? take_word(&line) : NULL;
    const mode m = parse_mode(word);
    if (m == UNKNOWN)
        return expected(l, "Gamma, Monkhorst-Pack (MP), Direct, Cartesian, Line or Line_Cartesian", word,
                        err);
    const bool mesh = m == GAMMA || m == MONKHORST_PACK;
    if (mesh != (count == 0))
        return nh_fail(err,
                       "%s:%zu: %s with %ld k-points: 0 belongs to the meshes Gamma and Monkhorst-Pack, and "
                       "only to them",
                       l->name, l->number, word, count);
    if (mesh) return read_mesh(l, m == GAMMA, out, err);
    return read_rows(l, lattice, lattice_constant, m, (size_t)count, out, err);
}

int nh_kpt_read(const char *path, const double lattice[9], double lattice_constant, nh_kpoints *out,
                nh_error *err)
{
    *out = (nh_kpoints){0};
    lines l;
    if (open_lines(path, &l, err) != 0) return -1;
    const int status = read_kpt(&l, lattice, lattice_constant, out, err);
    free(l.text);
    return status;
}

static int read_klist(lines *l, const double lattice[9], nh_kpoints *out, nh_error *err)
{
    size_t count = 0;
    for (const char *c = l->text; *c != '\0'; c++)
        count += *c == '\n';
    if (nh_kpoints_new(count + 1, NH_K_LIST, out, err) != 0) return -1;
    size_t n = 0, weighted = 0;
    for (char *line; (line = take_line(l)) != NULL; n++) {
        bool good = true;
        for (size_t x = 0; x < 3; x++)
            good = good && to_real(take_word(&line), &out->k[3 * n + x]);
        if (!good) return nh_fail(err, "%s:%zu: k1 k2 k3 [weight] [label] expected", l->name, l->number);
        const char *word = take_word(&line);
        if (to_real(word, &out->weight[n])) {
            weighted++;
            word = take_word(&line);
        } else {
            out->weight[n] = 1;
        }
        if (set_label(l, word, out->label[n], err) != 0) return -1;
        if (take_word(&line) != NULL)
            return nh_fail(err, "%s:%zu: more than k1 k2 k3 [weight] [label]", l->name, l->number);
        if (weighted != 0 && weighted != n + 1)
            return nh_fail(err, "%s:%zu: weights belong to all k-points or to none", l->name, l->number);
    }
    if (n == 0) return nh_fail(err, "%s: no k-points", l->name);
    out->count = n;
    if (nh_kpoints_normalise(out, err) != 0 || nh_kpoints_distances(lattice, NULL, out, err) != 0)
        return nh_fail_at(err, "%s", l->name);
    return 0;
}

int nh_klist_read(const char *path, const double lattice[9], nh_kpoints *out, nh_error *err)
{
    *out = (nh_kpoints){0};
    lines l;
    if (open_lines(path, &l, err) != 0) return -1;
    const int status = read_klist(&l, lattice, out, err);
    if (status != 0) nh_kpoints_free(out);
    free(l.text);
    return status;
}

bool nh_kpoint_options_given(const nh_kpoint_options *o)
{
    return o->kpath != NULL || o->path != NULL || o->list != NULL || o->has_mesh;
}

int nh_kpoint_options_check(const nh_kpoint_options *o, nh_error *err)
{
    const int given = (o->kpath != NULL) + (o->path != NULL) + (o->list != NULL) + o->has_mesh;
    if (given != 1)
        return nh_fail(err, "one of --kpath, --path, --mesh, --kpoints expected, found %d", given);
    if (o->gamma && !o->has_mesh) return nh_fail(err, "--gamma belongs to --mesh");
    if ((o->has_points || o->has_total) && o->path == NULL)
        return nh_fail(err, "%s belongs to --path", o->has_points ? "-n" : "--total");
    if (o->has_symprec && (o->path == NULL || strcmp(o->path, "auto") != 0))
        return nh_fail(err, "--symprec belongs to --path auto");
    if (!(o->symprec > 0)) return nh_fail(err, "--symprec: a positive number expected, found %g", o->symprec);
    if (o->has_points && o->has_total) return nh_fail(err, "-n or --total expected, found both");
    if (o->points < 1) return nh_fail(err, "-n: at least 1 expected, found %d", o->points);
    if (o->has_total && o->total < 1) return nh_fail(err, "--total: at least 1 expected, found %d", o->total);
    if (o->has_mesh && (o->mesh[0] < 1 || o->mesh[1] < 1 || o->mesh[2] < 1))
        return nh_fail(err, "--mesh: three positive numbers expected, found %d %d %d", o->mesh[0], o->mesh[1],
                       o->mesh[2]);
    if (!isnan(o->lattice_constant) && !(o->lattice_constant > 0))
        return nh_fail(err, "--lattice-constant: a positive number expected, found %g", o->lattice_constant);
    return 0;
}

/* The standard path; a note that says which. */
static int standard_corners(const nh_kpoint_options *o, const nh_structure *s, size_t *count,
                            nh_k_node **node, nh_error *note, nh_error *err)
{
    nh_kpath path;
    if (nh_kpath_standard(s, o->symprec, &path, err) != 0) return -1;
    char *text = nh_kpath_text(&path);
    if (text == NULL) {
        nh_kpath_free(&path);
        return nh_fail_memory(err, "the standard path");
    }
    if (path.primitive_cells > 1.5)
        nh_fail(note, "%s; the cell is %.0f primitive cells: bands are folded", text, path.primitive_cells);
    else
        nh_fail(note, "%s", text);
    free(text);
    *count = path.count;
    *node = path.node;
    for (size_t i = 0; i < path.count; i++)
        path.node[i].points = (size_t)o->points;
    return 0;
}

int nh_kpoint_options_read(const nh_kpoint_options *o, const nh_structure *s, nh_kpoints *out, nh_error *note,
                           nh_error *err)
{
    *out = (nh_kpoints){0};
    note->text[0] = '\0';
    if (o->kpath != NULL) return nh_kpt_read(o->kpath, s->lattice, o->lattice_constant, out, err);
    if (o->list != NULL) return nh_klist_read(o->list, s->lattice, out, err);
    if (o->path == NULL) return nh_kpoints_mesh(o->mesh, o->gamma, (double[3]){0}, out, err);
    size_t count;
    nh_k_node *node;
    if ((strcmp(o->path, "auto") == 0 ? standard_corners(o, s, &count, &node, note, err)
                                      : nh_path_parse(o->path, (size_t)o->points, &count, &node, err)) != 0)
        return -1;
    int status = o->has_total ? nh_path_share(s->lattice, (size_t)o->total, count, node, err) : 0;
    if (status == 0) status = nh_kpoints_path(s->lattice, count, node, out, err);
    free(node);
    return status;
}
