#include "formats/structure/cif.h"

#include "base/memory.h"
#include "crystal/lattice.h"
#include "crystal/neighbours.h"
#include "formats/structure/cif_text.h"
#include "formats/structure/symmetry.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const double same_place = 0.05, too_near = 0.3;       /* Å */
static const double thinnest_cell = 0.5, longest_cell = 1e4; /* Å */

bool nh_cif_recognise(const char *text)
{
    text += nh_cif_byte_order_mark(text);
    for (;;) {
        text += strspn(text, " \t\r\n");
        if (*text != '#') break;
        text += strcspn(text, "\n");
    }
    return strncasecmp(text, "data_", 5) == 0;
}

/* The crystal being read. */
typedef struct reader {
    const nh_cif *cif;
    size_t block;
    nh_symmetry *symmetry;
    nh_structure *s;
    double inverse[9];
    double *fraction; /* [n_atom][3] */
    int *number;      /* [n_atom] atomic numbers */
    size_t n_atom, fraction_room, number_room;
} reader;

/* --- the block, its single values --- */

/* The one block with sites: others, as journals write them, have the text. */
static int choose_block(const nh_cif *c, size_t *out, nh_error *err)
{
    size_t found = 0;
    char names[200] = "";
    size_t at = 0;
    for (size_t b = 0; b < c->n_block; b++) {
        if (nh_cif_find(c, b, "_atom_site_label", "_atom_site_type_symbol") == NULL) continue;
        *out = b;
        if (at < sizeof names)
            at += (size_t)snprintf(names + at, sizeof names - at, "%s%.40s", found > 0 ? ", " : "",
                                   c->block[b]);
        found++;
    }
    if (found == 0) return nh_fail(err, "%s: no atoms (_atom_site_label or _atom_site_type_symbol)", c->name);
    if (found > 1)
        return nh_fail(err, "%s: %zu crystals (data blocks %.150s): leave the wanted one in the file",
                       c->name, found, names);
    return 0;
}

/* The value of a tag outside of loops, NULL where it is not known. */
static const nh_cif_value *single(const reader *r, const char *tag, const char *other)
{
    const nh_cif_item *const item = nh_cif_find(r->cif, r->block, tag, other);
    if (item == NULL || item->count == 0) return NULL;
    const nh_cif_value *const v = nh_cif_at(r->cif, item, 0);
    return nh_cif_known(v) ? v : NULL;
}

static int read_cell(reader *r, nh_error *err)
{
    static const char *const tag[6] = {"_cell_length_a",    "_cell_length_b",   "_cell_length_c",
                                       "_cell_angle_alpha", "_cell_angle_beta", "_cell_angle_gamma"};
    double x[6];
    for (int k = 0; k < 6; k++) {
        const nh_cif_value *const v = single(r, tag[k], NULL);
        if (v == NULL) return nh_fail(err, "%s: no %s", r->cif->name, tag[k]);
        if (nh_cif_real(r->cif, v, tag[k], &x[k], err)) return -1;
        if (k < 3 ? !(x[k] >= thinnest_cell && x[k] <= longest_cell) : !(x[k] > 0 && x[k] < 180))
            return nh_fail(err, "%s:%zu: %s is %s (%s expected)", r->cif->name, v->line, tag[k], v->text,
                           k < 3 ? "0.5 to 10000 Å" : "an angle between 0 and 180");
    }
    const double degree = acos(-1) / 180;
    double cosine[3];
    for (int k = 0; k < 3; k++)
        cosine[k] = x[3 + k] == 90    ? 0
                    : x[3 + k] == 120 ? -0.5
                    : x[3 + k] == 60  ? 0.5
                                      : cos(x[3 + k] * degree);
    const double sine = sqrt(1 - cosine[2] * cosine[2]);
    const double y = (cosine[0] - cosine[1] * cosine[2]) / sine, z2 = 1 - cosine[1] * cosine[1] - y * y;
    if (!(z2 > 0)) return nh_fail(err, "%s: the angles of the cell span no volume", r->cif->name);
    const double a[9] = {x[0],           0, 0, x[1] * cosine[2], x[1] * sine, 0, x[2] * cosine[1], x[2] * y,
                         x[2] * sqrt(z2)};
    memcpy(r->s->lattice, a, sizeof a);
    nh_lattice_inverse(a, r->inverse);
    for (int k = 0; k < 3; k++) { /* the distance of two faces is 1 / |reciprocal vector| */
        const double *const b = r->inverse + k;
        if (!(1 / sqrt(b[0] * b[0] + b[3] * b[3] + b[6] * b[6]) >= thinnest_cell))
            return nh_fail(err, "%s: the cell is thinner than 0.5 Å", r->cif->name);
    }
    return 0;
}

/* --- symmetry --- */

static int read_group(const reader *r, nh_space_group *g, nh_error *err)
{
    const nh_cif_value *const h_m = single(r, "_space_group_name_H-M_alt", "_symmetry_space_group_name_H-M");
    const nh_cif_value *const hall = single(r, "_space_group_name_Hall", "_symmetry_space_group_name_Hall");
    const nh_cif_value *const number = single(r, "_space_group_IT_number", "_symmetry_Int_Tables_number");
    double x = 0;
    *g = (nh_space_group){.h_m = h_m != NULL ? h_m->text : NULL, .hall = hall != NULL ? hall->text : NULL};
    if (number != NULL) {
        if (nh_cif_real(r->cif, number, "the number of a space group", &x, err)) return -1;
        if (!(x >= 1 && x <= 230) || x != floor(x))
            return nh_fail(err, "%s:%zu: there is no space group of number \"%.20s\"", r->cif->name,
                           number->line, number->text);
        g->number = (int)x;
    }
    return 0;
}

static int read_symmetry(reader *r, nh_error *err)
{
    const nh_cif *const c = r->cif;
    nh_space_group group;
    if (nh_cif_find(c, r->block, "_space_group_symop_magn_operation.xyz",
                    "_space_group_symop_magn_operation_xyz"))
        return nh_fail(err, "%s: magnetic space groups are not read", c->name);
    if (read_group(r, &group, err)) return -1;
    const nh_cif_item *const item =
        nh_cif_find(c, r->block, "_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz");
    if (item == NULL || (item->count == 1 && !nh_cif_known(nh_cif_at(c, item, 0)))) {
        if (group.h_m == NULL && group.hall == NULL && group.number == 0)
            return nh_fail(
                err,
                "%s: neither symmetry operations nor a space group (for P 1 add _space_group_IT_number 1)",
                c->name);
        if (nh_symmetry_find(&group, r->s->lattice, r->symmetry, err)) return nh_fail_at(err, "%s", c->name);
        return 0;
    }
    if (item->count > NH_MOST_OPERATIONS)
        return nh_fail(err, "%s: %zu symmetry operations (a space group has at most %d)", c->name,
                       item->count, (int)NH_MOST_OPERATIONS);
    r->symmetry->count = item->count;
    for (size_t i = 0; i < item->count; i++) {
        const nh_cif_value *const v = nh_cif_at(c, item, i);
        if (nh_operation_parse(v->text, &r->symmetry->operation[i], err))
            return nh_fail_at(err, "%s:%zu", c->name, v->line);
    }
    if (nh_symmetry_check(r->symmetry, r->s->lattice, err)) return nh_fail_at(err, "%s", c->name);
    if (!nh_symmetry_count_fits(&group, item->count))
        return nh_fail(err, "%s: %zu symmetry operations, which the space group that it names (%s) has not",
                       c->name, item->count,
                       group.h_m != NULL    ? group.h_m
                       : group.hall != NULL ? group.hall
                                            : "by number");
    return 0;
}

/* --- sites --- */

/* "Fe3+", "O2-", "CL", "D": a type symbol may be in capitals; in a label, "CA1" could be C or Ca. */
static int element_of(const char *word, bool capitals)
{
    char symbol[3] = "";
    size_t n = 0;
    while (isalpha((unsigned char)word[n]))
        n++;
    if (n == 0 || n > 2) return 0;
    memcpy(symbol, word, n);
    if (capitals) {
        symbol[0] = (char)toupper((unsigned char)symbol[0]);
        symbol[1] = (char)tolower((unsigned char)symbol[1]);
    }
    if (strcmp(symbol, "D") == 0 || strcmp(symbol, "T") == 0) return 1; /* isotopes of hydrogen */
    return nh_atomic_number(symbol);
}

static double distance(const reader *r, const double a[3], const double b[3])
{
    double d[3], v[3];
    for (int k = 0; k < 3; k++)
        d[k] = a[k] - b[k] - round(a[k] - b[k]);
    nh_lattice_apply(d, r->s->lattice, v);
    return sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
}

/* x <- the mean of its images that lie on it, without the lattice vectors between. */
static void settle(const reader *r, double x[3])
{
    double sum[3] = {0};
    size_t n = 0;
    for (size_t i = 0; i < r->symmetry->count; i++) {
        double y[3];
        nh_operation_apply(&r->symmetry->operation[i], x, y);
        if (distance(r, y, x) >= same_place) continue;
        for (int k = 0; k < 3; k++)
            sum[k] += y[k] - x[k] - round(y[k] - x[k]);
        n++;
    }
    for (int k = 0; k < 3 && n > 1; k++)
        x[k] += sum[k] / (double)n;
}

static int add_atom(reader *r, const double x[3], int number, nh_error *err)
{
    if (!nh_grow(&r->fraction, &r->fraction_room, 3 * (r->n_atom + 1), sizeof *r->fraction) ||
        !nh_grow(&r->number, &r->number_room, r->n_atom + 1, sizeof *r->number))
        return nh_fail_memory(err, "the atoms");
    const double rounding = 1e-10; /* -1e-17 is 0, not 1 */
    for (int k = 0; k < 3; k++)
        r->fraction[3 * r->n_atom + (size_t)k] = x[k] - floor(x[k] + rounding);
    r->number[r->n_atom++] = number;
    return 0;
}

/* The images of a site; their number in *count. */
static int add_images(reader *r, double x[3], int number, size_t *count, nh_error *err)
{
    const size_t first = r->n_atom;
    settle(r, x);
    for (size_t i = 0; i < r->symmetry->count; i++) {
        double y[3];
        nh_operation_apply(&r->symmetry->operation[i], x, y);
        size_t k = first;
        while (k < r->n_atom && distance(r, y, r->fraction + 3 * k) >= same_place)
            k++;
        if (k == r->n_atom && add_atom(r, y, number, err)) return -1;
    }
    *count = r->n_atom - first;
    return 0;
}

/* A column of the sites; NULL where it is absent. One that is there has as many rows as the sites. */
static int column(const reader *r, const char *tag, const char *other, size_t rows, const nh_cif_item **out,
                  nh_error *err)
{
    *out = nh_cif_find(r->cif, r->block, tag, other);
    if (*out != NULL && (*out)->count != rows)
        return nh_fail(err, "%s:%zu: %zu values of %s for %zu sites", r->cif->name, (*out)->line,
                       (*out)->count, (*out)->tag, rows);
    return 0;
}

static int read_sites(reader *r, nh_error *err)
{
    const nh_cif *const c = r->cif;
    const nh_cif_item *const first = nh_cif_find(c, r->block, "_atom_site_label", "_atom_site_type_symbol");
    const size_t rows = first->count;
    const nh_cif_item *label, *type, *x[3], *occupancy, *multiplicity, *flag;
    static const char *const axis[3] = {"_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z"};
    if (column(r, "_atom_site_label", NULL, rows, &label, err) ||
        column(r, "_atom_site_type_symbol", NULL, rows, &type, err) ||
        column(r, "_atom_site_occupancy", NULL, rows, &occupancy, err) ||
        column(r, "_atom_site_calc_flag", NULL, rows, &flag, err) ||
        column(r, "_atom_site_site_symmetry_multiplicity", "_atom_site_symmetry_multiplicity", rows,
               &multiplicity, err))
        return -1;
    for (int k = 0; k < 3; k++) {
        if (column(r, axis[k], NULL, rows, &x[k], err)) return -1;
        if (x[k] == NULL)
            return nh_fail(err, "%s: no %s%s", c->name, axis[k],
                           nh_cif_find(c, r->block, "_atom_site_Cartn_x", NULL) != NULL
                               ? " (Cartesian coordinates are not read)"
                               : "");
    }
    for (size_t i = 0; i < rows; i++) {
        const nh_cif_value *const name = nh_cif_at(c, label != NULL ? label : type, i);
        const nh_cif_value *const symbol = type != NULL ? nh_cif_at(c, type, i) : name;
        const bool typed = type != NULL && nh_cif_known(symbol);
        const int number = element_of(typed ? symbol->text : name->text, typed);
        if (number == 0)
            return nh_fail(err, "%s:%zu: no chemical element in \"%.30s\"%s", c->name, name->line,
                           typed ? symbol->text : name->text,
                           typed ? "" : " (_atom_site_type_symbol would tell)");
        if (flag != NULL && strcasecmp(nh_cif_at(c, flag, i)->text, "dum") == 0)
            return nh_fail(err, "%s:%zu: site %.30s is a dummy", c->name, name->line, name->text);
        double f[3], part = 1, wanted = 0;
        size_t count;
        for (int k = 0; k < 3; k++)
            if (nh_cif_real(c, nh_cif_at(c, x[k], i), axis[k], &f[k], err)) return -1;
        if (occupancy != NULL && nh_cif_known(nh_cif_at(c, occupancy, i)) &&
            nh_cif_real(c, nh_cif_at(c, occupancy, i), "an occupancy", &part, err))
            return -1;
        if (part != 1)
            return nh_fail(err, "%s:%zu: site %.30s has the occupancy %g (disorder is not read; 1 expected)",
                           c->name, name->line, name->text, part);
        if (add_images(r, f, number, &count, err)) return -1;
        if (multiplicity != NULL && nh_cif_known(nh_cif_at(c, multiplicity, i))) {
            if (nh_cif_real(c, nh_cif_at(c, multiplicity, i), "a multiplicity", &wanted, err)) return -1;
            if (wanted != (double)count)
                return nh_fail(err, "%s:%zu: site %.30s has the multiplicity %g, and %zu images", c->name,
                               name->line, name->text, wanted, count);
        }
    }
    return 0;
}

/* --- checks --- */

/* "C2 H6 O": counts by atomic number; false where the text is anything else. */
static bool formula_counts(const char *text, double count[256])
{
    bool any = false;
    for (const char *at = text; *at != '\0'; any = true) {
        char symbol[3] = "";
        size_t n = 0;
        at += strspn(at, " \t\r\n");
        if (*at == '\0') break;
        while (isalpha((unsigned char)at[n]))
            n++;
        if (n == 0 || n > 2) return false;
        memcpy(symbol, at, n);
        const int z = element_of(symbol, false);
        if (z == 0) return false;
        char *end = NULL;
        const double x = isdigit((unsigned char)at[n]) ? strtod(at + n, &end) : 1;
        at = end != NULL ? end : at + n;
        if (!(x > 0) || !isfinite(x) || (*at != '\0' && !isspace((unsigned char)*at))) return false;
        count[z] += x;
    }
    return any;
}

/* Hydrogens without a place, sites that were forgotten: the elements have the ratio of the formula. */
static int check_formula(const reader *r, nh_error *err)
{
    const nh_cif_value *const formula = single(r, "_chemical_formula_sum", NULL);
    double wanted[256] = {0}, found[256] = {0}, of_wanted = 0, of_found = 0;
    if (formula == NULL || !formula_counts(formula->text, wanted)) return 0;
    for (size_t i = 0; i < r->n_atom; i++)
        found[r->number[i]]++;
    for (int z = 0; z < 256; z++) {
        of_wanted += wanted[z];
        of_found += found[z];
    }
    const double tolerance = 0.005;
    for (int z = 0; z < 256; z++)
        if (fabs(wanted[z] / of_wanted - found[z] / of_found) > tolerance) {
            char *const own = nh_structure_formula(r->s);
            nh_fail(err, "%s:%zu: the sites give %.60s, but the formula says %.60s", r->cif->name,
                    formula->line, own != NULL ? own : "another", formula->text);
            free(own);
            return -1;
        }
    return 0;
}

static int check_distances(const reader *r, nh_error *err)
{
    size_t n;
    nh_pair *pair;
    if (nh_structure_check(r->s, err) || nh_neighbours(r->s, too_near, &n, &pair, err))
        return nh_fail_at(err, "%s", r->cif->name);
    size_t k = 0;
    while (k < n && pair[k].src == pair[k].dst && pair[k].cell[0] == 0 && pair[k].cell[1] == 0 &&
           pair[k].cell[2] == 0)
        k++;
    const int status =
        k == n
            ? 0
            : nh_fail(err, "%s: atoms %d and %d are nearer than %g Å (a split site, or a site listed twice?)",
                      r->cif->name, pair[k].src + 1, pair[k].dst + 1, too_near);
    free(pair);
    return status;
}

static int make_structure(reader *r, nh_error *err)
{
    int species[256] = {0}; /* index + 1 of each atomic number, in the order of appearance */
    int n_species = 0;
    double lattice[9];
    memcpy(lattice, r->s->lattice, sizeof lattice);
    for (size_t i = 0; i < r->n_atom; i++)
        if (species[r->number[i]] == 0) species[r->number[i]] = ++n_species;
    if (nh_structure_new(r->n_atom, (size_t)n_species, r->s, err)) return -1;
    memcpy(r->s->lattice, lattice, sizeof lattice);
    for (size_t i = 0; i < r->n_atom; i++) {
        nh_lattice_apply(r->fraction + 3 * i, lattice, r->s->position + 3 * i);
        r->s->species[i] = species[r->number[i]] - 1;
        r->s->atomic_number[r->s->species[i]] = r->number[i];
    }
    const char *const title = r->cif->block[r->block];
    if (*title != '\0' && (r->s->title = nh_strdup(title)) == NULL) return nh_fail_memory(err, "the title");
    return check_distances(r, err) || check_formula(r, err) ? -1 : 0;
}

int nh_cif_parse(nh_text *t, const char *latname, nh_structure_file *out, nh_error *err)
{
    (void)latname;
    nh_cif cif;
    if (nh_cif_parse_text(t, &cif, err)) return -1;
    nh_symmetry *const symmetry = NH_ARRAY(nh_symmetry, 1);
    reader r = {.cif = &cif, .symmetry = symmetry, .s = &out->structure};
    const int status = symmetry == NULL ? nh_fail_memory(err, "the symmetry operations")
                       : choose_block(&cif, &r.block, err) || read_cell(&r, err) || read_symmetry(&r, err) ||
                               read_sites(&r, err) || make_structure(&r, err)
                           ? -1
                           : 0;
    free(r.fraction);
    free(r.number);
    free(symmetry);
    nh_cif_text_free(&cif);
    return status;
}
