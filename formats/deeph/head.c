/* head.c - structure, basis and info.json of a DeepH folder. */
#include "formats/deeph/internal.h"

#include "base/memory.h"
#include "base/outfile.h"
#include "base/stream.h"
#include "base/yaml.h"
#include "crystal/kpoints.h"
#include "crystal/neighbours.h"
#include "formats/structure/file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { INFO_LIMIT = 1 << 24, MOST_SHELLS = 256 };

/* What info.json calls things. */
static const char *const key_spin[] = {NULL, "isspinful", "spinful"};
static const char *const key_orthogonal[] = {NULL, "isorthogonal", "orthogonal_basis"};
static const char *const key_efermi[] = {NULL, "fermi_level", "fermi_energy_eV"};
static const char *const key_atoms[] = {NULL, "nsites", "atoms_quantity"};
static const char *const key_orbitals[] = {NULL, "norbits", "orbits_quantity"};

static int path_of(const char *folder, const char *name, char **out, nh_error *err)
{
    if (asprintf(out, "%s/%s", folder, name) >= 0) return 0;
    *out = NULL;
    return nh_fail_memory(err, "a file name");
}

/* --- reading: text files of the old layout --- */

/* All numbers of a file. */
static int read_numbers(const char *folder, const char *name, size_t *n, double **out, nh_error *err)
{
    char *path;
    nh_stream *s = NULL;
    size_t room = 0;
    *n = 0;
    *out = NULL;
    if (path_of(folder, name, &path, err)) return -1;
    int status = nh_stream_open(path, &s, err);
    while (status == 0 && nh_skip_space(s) >= 0) {
        if (!nh_grow(out, &room, *n + 1, sizeof **out))
            status = nh_fail_memory(err, name);
        else
            status = nh_scan_real(s, *out + *n, "a number", err);
        if (status == 0 && !isfinite((*out)[*n]))
            status = nh_fail(err, "%s: number %zu is not finite", path, *n + 1);
        *n += status == 0;
    }
    if (status == 0) status = nh_stream_status(s, err);
    nh_stream_close(s);
    free(path);
    return status;
}

/* The shells of each atom, a line each: l[count[0] + ...]. */
static int read_orbital_types(const char *folder, size_t n_atom, size_t *count, int **l, nh_error *err)
{
    char *path, *text = NULL, *token[NH_TEXT_TOKENS];
    size_t total = 0, room = 0, atom = 0, n;
    *l = NULL;
    if (path_of(folder, "orbital_types.dat", &path, err)) return -1;
    int status = nh_read_text(path, NH_TEXT_LIMIT, &text, err);
    nh_text t = {.name = path, .at = text};
    while (status == 0 && (n = nh_text_next(&t, false, token)) > 0) {
        if (atom == n_atom || n == NH_TEXT_TOKENS) {
            status = nh_text_fail(&t, err, atom == n_atom ? "more lines than atoms" : "too many shells");
            break;
        }
        if (!nh_grow(l, &room, total + n, sizeof **l)) {
            status = nh_fail_memory(err, "orbital shells");
            break;
        }
        for (size_t i = 0; i < n && status == 0; i++) {
            size_t degree = 0;
            status = nh_text_count(&t, token[i], "the degree of a shell", &degree, err);
            if (status == 0 && degree > 6) status = nh_text_fail(&t, err, "a shell of degree %zu", degree);
            (*l)[total++] = (int)degree;
        }
        count[atom++] = n;
    }
    if (status == 0 && atom != n_atom)
        status = nh_fail(err, "%s: %zu lines for %zu atoms", path, atom, n_atom);
    free(text);
    free(path);
    return status;
}

/* Species: atoms of an element with the same shells. */
static int make_species(size_t n_atom, const double *lattice, const double *number, const double *position,
                        const size_t *count, const int *l, nh_deeph_head *h, nh_error *err)
{
    int *const of = NH_ARRAY(int, n_atom), *const shells = NH_ARRAY(int, 64 * n_atom);
    size_t *const first = NH_ARRAY(size_t, n_atom + 1), *const model = NH_ARRAY(size_t, n_atom),
                  *const n_shell = NH_ARRAY(size_t, n_atom);
    size_t n_species = 0, total = 0;
    int status = of == NULL || shells == NULL || first == NULL || model == NULL || n_shell == NULL
                     ? nh_fail_memory(err, "the atoms")
                     : 0;
    for (size_t a = 0; a < n_atom && status == 0; a++) {
        first[a + 1] = first[a] + count[a];
        if (!(number[a] >= 1 && number[a] < 119) || number[a] != floor(number[a])) {
            status = nh_fail(err, "element.dat: \"%g\" is no atomic number", number[a]);
            break;
        }
        size_t s = 0;
        while (s < n_species && (number[model[s]] != number[a] || count[model[s]] != count[a] ||
                                 memcmp(l + first[model[s]], l + first[a], count[a] * sizeof *l) != 0))
            s++;
        if (s == n_species) {
            model[n_species++] = a;
            n_shell[s] = count[a];
            memcpy(shells + total, l + first[a], count[a] * sizeof *l);
            total += count[a];
        }
        of[a] = (int)s;
    }
    nh_structure *const s = &h->structure;
    if (status == 0) status = nh_structure_new(n_atom, n_species, s, err);
    if (status == 0) {
        memcpy(s->species, of, n_atom * sizeof *of);
        for (size_t k = 0; k < n_species; k++)
            s->atomic_number[k] = (int)number[model[k]];
        for (int i = 0; i < 3; i++)
            for (int k = 0; k < 3; k++)
                s->lattice[3 * i + k] = lattice[3 * k + i];
        for (size_t a = 0; a < n_atom; a++)
            for (size_t k = 0; k < 3; k++)
                s->position[3 * a + k] = position[k * n_atom + a];
        h->rank = NH_ARRAY(size_t, total);
        status = h->rank == NULL ? nh_fail_memory(err, "the basis")
                                 : nh_deeph_set_shells(s, n_shell, shells, h->rank, err);
    }
    free(of);
    free(shells);
    free(first);
    free(model);
    free(n_shell);
    return status;
}

static int read_old(const char *folder, nh_deeph_head *h, nh_error *err)
{
    double *lattice = NULL, *number = NULL, *position = NULL;
    size_t n_lattice, n_atom = 0, n_position, *count = NULL;
    int *l = NULL, status = read_numbers(folder, "lat.dat", &n_lattice, &lattice, err);
    if (status == 0) status = read_numbers(folder, "element.dat", &n_atom, &number, err);
    if (status == 0) status = read_numbers(folder, "site_positions.dat", &n_position, &position, err);
    if (status == 0 && n_lattice != 9)
        status = nh_fail(err, "%s/lat.dat: %zu numbers, 9 expected", folder, n_lattice);
    if (status == 0 && (n_atom == 0 || n_position != 3 * n_atom))
        status = nh_fail(err, "%s/site_positions.dat: %zu numbers for %zu atoms", folder, n_position, n_atom);
    if (status == 0 && (count = NH_ARRAY(size_t, n_atom)) == NULL) status = nh_fail_memory(err, "the atoms");
    if (status == 0) status = read_orbital_types(folder, n_atom, count, &l, err);
    if (status == 0 && make_species(n_atom, lattice, number, position, count, l, h, err))
        status = nh_fail_at(err, "%s", folder);
    free(lattice);
    free(number);
    free(position);
    free(count);
    free(l);
    return status;
}

/* --- reading: info.json, POSCAR --- */

/* A number that may be absent, null or NaN: NaN. */
static int optional(const nh_yaml *map, const char *name, const char *key, double *out, nh_error *err)
{
    const nh_yaml *const y = nh_yaml_find(map, key);
    *out = NAN;
    if (y == NULL ||
        (y->kind == NH_YAML_SCALAR &&
         (strcmp(y->text, "null") == 0 || strcasecmp(y->text, "nan") == 0 || strcmp(y->text, "None") == 0)))
        return 0;
    return nh_yaml_to_real(y, name, key, out, err);
}

static int optional_text(const nh_yaml *map, const char *name, const char *key, char **out, nh_error *err)
{
    const char *text = NULL;
    if (nh_yaml_get_text(map, name, key, &text, err)) return -1;
    return text != NULL && (*out = nh_strdup(text)) == NULL ? nh_fail_memory(err, key) : 0;
}

static int read_own(const nh_yaml *info, const char *path, nh_deeph_head *h, nh_error *err)
{
    static const char *const names[] = {"h0", "h_label", "h_pred", NULL};
    const nh_yaml *const own = nh_yaml_find(info, "nextham");
    int matrix = NH_H_LABEL;
    if (own == NULL) return 0;
    if (own->kind != NH_YAML_MAP) return nh_fail(err, "%s: nextham: a map expected", path);
    if (nh_yaml_get_choice(own, path, "matrix", names, &matrix, err) ||
        optional(own, path, "cutoff", &h->cutoff, err) || optional(own, path, "nelec", &h->nelec, err) ||
        optional(own, path, "rydberg", &h->rydberg, err) ||
        optional_text(own, path, "orbital_hash", &h->orbital_hash, err) ||
        optional_text(own, path, "pseudo_hash", &h->pseudo_hash, err))
        return -1;
    if (!isnan(h->rydberg) && !(h->rydberg > 13 && h->rydberg < 14))
        return nh_fail(err, "%s: rydberg: about 13.6 expected, %g found", path, h->rydberg);
    if (!isnan(h->cutoff) && !(h->cutoff > 0 && h->cutoff < 100))
        return nh_fail(err, "%s: cutoff: a length in Å expected, %g found", path, h->cutoff);
    free(h->structure.title);
    h->structure.title = NULL;
    h->matrix = (nh_matrix)matrix;
    return optional_text(own, path, "title", &h->structure.title, err);
}

/* elements_orbital_map: the shells of each element. */
static int read_map(const nh_yaml *info, const char *path, nh_deeph_head *h, nh_error *err)
{
    nh_structure *const s = &h->structure;
    const nh_yaml *const map = nh_yaml_find(info, "elements_orbital_map");
    if (map == NULL || map->kind != NH_YAML_MAP) return nh_fail(err, "%s: no map elements_orbital_map", path);
    size_t *const count = NH_ARRAY(size_t, s->n_species), total = 0;
    int *const l = NH_ARRAY(int, MOST_SHELLS * s->n_species);
    int status = count == NULL || l == NULL ? nh_fail_memory(err, "the basis") : 0;
    for (size_t i = 0; i < s->n_species && status == 0; i++) {
        const char *const symbol = nh_element_symbol(s->atomic_number[i]);
        const nh_yaml *const shells = nh_yaml_find(map, symbol);
        if (shells == NULL || shells->kind != NH_YAML_LIST || shells->count > MOST_SHELLS)
            status = nh_fail(err, "%s: elements_orbital_map: no list of shells for %s", path, symbol);
        for (size_t k = 0; status == 0 && k < shells->count; k++) {
            long degree;
            status = nh_yaml_to_long(shells->item[k], path, "elements_orbital_map", &degree, err);
            if (status == 0 && (degree < 0 || degree > 6))
                status = nh_fail(err, "%s: elements_orbital_map: a shell of degree %ld", path, degree);
            if (status == 0) l[total++] = (int)degree;
        }
        if (status == 0) count[i] = shells->count;
    }
    if (status == 0 && (h->rank = NH_ARRAY(size_t, total)) == NULL) status = nh_fail_memory(err, "the basis");
    if (status == 0) status = nh_deeph_set_shells(s, count, l, h->rank, err);
    free(count);
    free(l);
    return status;
}

static int read_poscar(const char *folder, nh_deeph_head *h, nh_error *err)
{
    char *path;
    nh_structure_file file;
    if (path_of(folder, "POSCAR", &path, err)) return -1;
    const int status = nh_structure_file_read(path, NULL, &file, err);
    free(path);
    if (status != 0) return -1;
    nh_structure_file_forget(&file);
    h->structure = file.structure;
    return 0;
}

/* Counts that info.json repeats. */
static int check_count(const nh_yaml *info, const char *path, const char *key, size_t wanted, nh_error *err)
{
    double x;
    if (optional(info, path, key, &x, err)) return -1;
    return isnan(x) || x == (double)wanted
               ? 0
               : nh_fail(err, "%s: %s is %g, but the folder has %zu", path, key, x, wanted);
}

static int read_info(const char *path, const nh_yaml *info, const char *folder, nh_deeph_layout layout,
                     nh_deeph_head *h, nh_error *err)
{
    bool orthogonal = false, split = false;
    if (info->kind != NH_YAML_MAP || nh_yaml_find(info, key_spin[layout]) == NULL)
        return nh_fail(err, "%s: no %s", path, key_spin[layout]);
    if (nh_yaml_get_bool(info, path, key_spin[layout], &h->spin, err) ||
        nh_yaml_get_bool(info, path, key_orthogonal[layout], &orthogonal, err) ||
        nh_yaml_get_bool(info, path, "split_hkb", &split, err) ||
        optional(info, path, key_efermi[layout], &h->efermi, err))
        return -1;
    if (orthogonal)
        return nh_fail(err, "%s: an orthogonal basis (%s) is not read", path, key_orthogonal[layout]);
    if (split || nh_yaml_find(info, "hamiltonian_storage") != NULL)
        return nh_fail(err, "%s: a Hamiltonian that is split into two files is not read", path);
    if (layout == NH_DEEPH_OLD ? read_old(folder, h, err) : read_poscar(folder, h, err)) return -1;
    if (layout == NH_DEEPH_NEW && read_map(info, path, h, err)) return -1;
    if (read_own(info, path, h, err)) return -1;
    nh_structure *const s = &h->structure;
    if (s->title == NULL && (s->title = nh_structure_formula(s)) == NULL)
        return nh_fail_memory(err, "the title");
    if (nh_atoms_check(s, err)) return nh_fail_at(err, "%s", folder);
    return check_count(info, path, key_atoms[layout], s->n_atom, err) ||
                   check_count(info, path, key_orbitals[layout], nh_structure_orbitals(s), err)
               ? -1
               : 0;
}

int nh_deeph_head_read(const char *folder, nh_deeph_layout layout, nh_deeph_head *out, nh_error *err)
{
    *out = (nh_deeph_head){.efermi = NAN, .cutoff = NAN, .nelec = NAN, .rydberg = NAN, .matrix = NH_H_LABEL};
    char *path, *text = NULL;
    nh_yaml *info = NULL;
    if (path_of(folder, "info.json", &path, err)) return -1;
    int status = nh_read_text(path, INFO_LIMIT, &text, err);
    if (status == 0) status = nh_yaml_parse(text, path, &info, err);
    if (status == 0) status = read_info(path, info, folder, layout, out, err);
    nh_yaml_free(info);
    free(text);
    free(path);
    return status;
}

void nh_deeph_head_free(nh_deeph_head *h)
{
    nh_structure_free(&h->structure);
    free(h->rank);
    free(h->orbital_hash);
    free(h->pseudo_hash);
    *h = (nh_deeph_head){.rank = NULL};
}

/* --- writing --- */

typedef struct content {
    const nh_graph *g;
    const size_t *atom; /* in the folder's order */
    nh_deeph_layout layout;
    nh_matrix which;
} content;

static void put_lattice(FILE *out, const content *c)
{
    const double *const a = c->g->structure.lattice;
    for (int k = 0; k < 3; k++)
        fprintf(out, "%.17g %.17g %.17g\n", a[k], a[3 + k], a[6 + k]);
}

static void put_reciprocal(FILE *out, const content *c)
{
    double b[9] = {0};
    nh_error ignored; /* a graph's lattice has a volume */
    if (nh_reciprocal(c->g->structure.lattice, b, &ignored)) return;
    for (int k = 0; k < 3; k++)
        fprintf(out, "%.17g %.17g %.17g\n", b[k], b[3 + k], b[6 + k]);
}

static void put_positions(FILE *out, const content *c)
{
    const nh_structure *const s = &c->g->structure;
    for (size_t k = 0; k < 3; k++)
        for (size_t i = 0; i < s->n_atom; i++)
            fprintf(out, "%.17g%c", s->position[3 * c->atom[i] + k], i + 1 < s->n_atom ? ' ' : '\n');
}

static int number_of(const content *c, size_t i)
{
    const nh_structure *const s = &c->g->structure;
    return s->atomic_number[s->species[c->atom[i]]];
}

static void put_elements(FILE *out, const content *c)
{
    for (size_t i = 0; i < c->g->structure.n_atom; i++)
        fprintf(out, "%d\n", number_of(c, i));
}

static void put_shells(FILE *out, const nh_structure *s, size_t species, const char *between)
{
    for (size_t k = s->shell_start[species]; k < s->shell_start[species + 1]; k++)
        fprintf(out, "%s%d", k > s->shell_start[species] ? between : "", s->shell_l[k]);
}

static void put_orbital_types(FILE *out, const content *c)
{
    const nh_structure *const s = &c->g->structure;
    for (size_t i = 0; i < s->n_atom; i++) {
        put_shells(out, s, (size_t)s->species[c->atom[i]], " ");
        putc('\n', out);
    }
}

static void put_poscar(FILE *out, const content *c)
{
    const nh_structure *const s = &c->g->structure;
    char *const formula = nh_structure_formula(s);
    fprintf(out, "%s\n1.0\n", formula != NULL ? formula : "crystal");
    free(formula);
    for (int k = 0; k < 3; k++)
        fprintf(out, "%.17g %.17g %.17g\n", s->lattice[3 * k], s->lattice[3 * k + 1], s->lattice[3 * k + 2]);
    for (int line = 0; line < 2; line++) {
        for (size_t i = 0, n; i < s->n_atom; i += n) {
            for (n = 1; i + n < s->n_atom && number_of(c, i + n) == number_of(c, i);)
                n++;
            if (line == 0)
                fprintf(out, "%s%s", i > 0 ? " " : "", nh_element_symbol(number_of(c, i)));
            else
                fprintf(out, "%s%zu", i > 0 ? " " : "", n);
        }
        putc('\n', out);
    }
    fputs("Cartesian\n", out);
    for (size_t i = 0; i < s->n_atom; i++) {
        const double *const r = s->position + 3 * c->atom[i];
        fprintf(out, "%.17g %.17g %.17g\n", r[0], r[1], r[2]);
    }
}

static void put_text(FILE *out, const char *key, const char *text)
{
    if (text == NULL) return;
    fprintf(out, ", \"%s\": \"", key);
    for (; *text != '\0'; text++) {
        const unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 0x20)
            fprintf(out, "\\u%04x", c);
        else
            putc(c, out);
    }
    putc('"', out);
}

static void put_number(FILE *out, const char *key, double x)
{
    if (isnan(x))
        fprintf(out, ", \"%s\": null", key);
    else
        fprintf(out, ", \"%s\": %.17g", key, x);
}

static void put_info(FILE *out, const content *c)
{
    const nh_graph *const g = c->g;
    const nh_structure *const s = &g->structure;
    fprintf(out, "{\"%s\": %zu, \"%s\": %zu, \"%s\": false, \"%s\": %s", key_atoms[c->layout], s->n_atom,
            key_orbitals[c->layout], nh_structure_orbitals(s), key_orthogonal[c->layout], key_spin[c->layout],
            g->n_spin == 4 ? "true" : "false");
    put_number(out, key_efermi[c->layout], g->efermi);
    if (c->layout == NH_DEEPH_NEW) {
        fputs(", \"elements_orbital_map\": {", out);
        for (size_t i = 0; i < s->n_atom; i++) {
            if (i > 0 && number_of(c, i) == number_of(c, i - 1)) continue;
            fprintf(out, "%s\"%s\": [", i > 0 ? ", " : "", nh_element_symbol(number_of(c, i)));
            put_shells(out, s, (size_t)s->species[c->atom[i]], ", ");
            putc(']', out);
        }
        putc('}', out);
    }
    fprintf(out, ", \"nextham\": {\"matrix\": \"%s\"", nh_matrix_name(c->which));
    put_number(out, "cutoff", g->cutoff);
    put_number(out, "nelec", g->nelec);
    put_number(out, "rydberg", g->rydberg);
    put_text(out, "title", s->title);
    put_text(out, "orbital_hash", g->orbital_hash);
    put_text(out, "pseudo_hash", g->pseudo_hash);
    fputs("}}\n", out);
}

static int put(const char *folder, const char *name, void (*write)(FILE *out, const content *c),
               const content *c, nh_error *err)
{
    nh_outfile *o;
    char *path;
    if (path_of(folder, name, &path, err)) return -1;
    FILE *const out = nh_outfile_begin_stream(path, &o, err);
    free(path);
    if (out == NULL) return -1;
    write(out, c);
    return nh_outfile_commit(o, err);
}

int nh_deeph_head_write(const char *folder, nh_deeph_layout layout, const nh_graph *g, nh_matrix which,
                        const size_t *atom, nh_error *err)
{
    const content c = {g, atom, layout, which};
    if (layout == NH_DEEPH_NEW)
        return put(folder, "POSCAR", put_poscar, &c, err) || put(folder, "info.json", put_info, &c, err) ? -1
                                                                                                         : 0;
    return put(folder, "lat.dat", put_lattice, &c, err) || put(folder, "rlat.dat", put_reciprocal, &c, err) ||
                   put(folder, "site_positions.dat", put_positions, &c, err) ||
                   put(folder, "element.dat", put_elements, &c, err) ||
                   put(folder, "orbital_types.dat", put_orbital_types, &c, err) ||
                   put(folder, "info.json", put_info, &c, err)
               ? -1
               : 0;
}
