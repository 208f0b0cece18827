#include "formats/abacus/stru.h"

#include "base/memory.h"
#include "crystal/lattice.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const double bohr = 0.529177210903; /* Å, CODATA 2018 */

static const char *const sections[] = {
    "ATOMIC_SPECIES",     "NUMERICAL_ORBITAL", "NUMERICAL_DESCRIPTOR", "ABFS_ORBITAL", "LATTICE_CONSTANT",
    "LATTICE_PARAMETERS", "LATTICE_VECTORS",   "ATOMIC_POSITIONS",     "PAW_FILES",    NULL};

static bool is_section(const char *word)
{
    for (size_t i = 0; sections[i] != NULL; i++)
        if (strcmp(word, sections[i]) == 0) return true;
    return false;
}

bool nh_stru_recognise(const char *text)
{
    return strstr(text, "ATOMIC_POSITIONS") != NULL && strstr(text, "LATTICE_CONSTANT") != NULL;
}

/* What the sections leave until all of them are known. */
typedef struct stru {
    char **label;
    char **pseudo; /* [n_label] third word of the line, or NULL */
    size_t n_label;
    char **orbital;
    size_t n_orbital;
    double constant; /* bohr */
    double vectors[9];
    bool has_vectors;
    double parameter[5];
    size_t n_parameter;
    char mode[64];
    size_t n_atom;
    double *coordinate; /* [n_atom][3] as in the file */
    int *species;
    bool has_positions;
} stru;

static void free_stru(stru *f)
{
    for (size_t i = 0; i < f->n_label; i++) {
        free(f->label[i]);
        if (f->pseudo != NULL) free(f->pseudo[i]);
    }
    for (size_t i = 0; i < f->n_orbital; i++)
        free(f->orbital[i]);
    free(f->label);
    free(f->pseudo);
    free(f->orbital);
    free(f->coordinate);
    free(f->species);
}

/* The first word of every line up to the next section, *n of them, and where asked for the third (NULL: none). *n_token:
 * tokens of the line after, 0 at the end. */
static int read_words(nh_text *t, char *token[NH_TEXT_TOKENS], size_t *n_token, char ***word, char ***third,
                      size_t *n, nh_error *err)
{
    while ((*n_token = nh_text_next(t, true, token)) > 0 && !is_section(token[0])) {
        if (!nh_grow_one(word, *n, sizeof **word)) return nh_fail_memory(err, "the species");
        if (third != NULL) {
            if (!nh_grow_one(third, *n, sizeof **third)) return nh_fail_memory(err, "the species");
            (*third)[*n] = NULL;
        }
        if (((*word)[*n] = nh_strdup(token[0])) == NULL) return nh_fail_memory(err, "the species");
        ++*n;
        if (third != NULL && *n_token >= 3 && ((*third)[*n - 1] = nh_strdup(token[2])) == NULL)
            return nh_fail_memory(err, "the species");
    }
    return 0;
}

static int read_reals(nh_text *t, const char *what, size_t n, double *out, nh_error *err)
{
    char *token[NH_TEXT_TOKENS];
    for (size_t done = 0; done < n;) {
        const size_t n_token = nh_text_next(t, true, token);
        if (n_token == 0) return nh_text_fail(t, err, "%s expected, end of the file found", what);
        for (size_t i = 0; i < n_token && done < n; i++)
            if (nh_text_real(t, token[i], what, &out[done++], err)) return -1;
    }
    return 0;
}

static int read_one_species(nh_text *t, stru *f, int species, const char *label, nh_error *err)
{
    char *token[NH_TEXT_TOKENS];
    if (species < 0) return nh_text_fail(t, err, "\"%s\" is not in ATOMIC_SPECIES", label);
    double magnetism;
    if (read_reals(t, "the magnetism", 1, &magnetism, err)) return -1;
    size_t count;
    if (nh_text_next(t, true, token) == 0 || nh_text_count(t, token[0], "the number of atoms", &count, err))
        return nh_text_fail(t, err, "the number of atoms of %s expected", label);
    for (size_t i = 0; i < count; i++) {
        const size_t n = nh_text_next(t, true, token);
        if (n < 3) return nh_text_fail(t, err, "atom %zu of %zu: x y z expected", i + 1, count);
        if (!nh_grow_one(&f->coordinate, f->n_atom, 3 * sizeof *f->coordinate) ||
            !nh_grow_one(&f->species, f->n_atom, sizeof *f->species))
            return nh_fail_memory(err, "the atoms");
        for (size_t k = 0; k < 3; k++)
            if (nh_text_real(t, token[k], "a coordinate", &f->coordinate[3 * f->n_atom + k], err)) return -1;
        f->species[f->n_atom++] = species;
    }
    return 0;
}

static int find_label(const stru *f, const char *label)
{
    for (size_t i = 0; i < f->n_label; i++)
        if (strcmp(f->label[i], label) == 0) return (int)i;
    return -1;
}

static int read_positions(nh_text *t, stru *f, char *token[NH_TEXT_TOKENS], size_t *n_token, nh_error *err)
{
    if (nh_text_next(t, true, token) == 0) return nh_text_fail(t, err, "the kind of coordinates expected");
    if (strlen(token[0]) >= sizeof f->mode) return nh_text_fail(t, err, "unknown kind of coordinates");
    strcpy(f->mode, token[0]);
    while ((*n_token = nh_text_next(t, true, token)) > 0 && !is_section(token[0]))
        if (read_one_species(t, f, find_label(f, token[0]), token[0], err)) return -1;
    f->has_positions = true;
    return 0;
}

static int read_sections(nh_text *t, stru *f, nh_error *err)
{
    char *token[NH_TEXT_TOKENS];
    size_t n = nh_text_next(t, true, token);
    while (n > 0) {
        const char *word = token[0];
        if (!is_section(word)) return nh_text_fail(t, err, "a section expected, \"%.40s\" found", word);
        if (strcmp(word, "ATOMIC_SPECIES") == 0) {
            if (read_words(t, token, &n, &f->label, &f->pseudo, &f->n_label, err)) return -1;
            continue;
        }
        if (strcmp(word, "NUMERICAL_ORBITAL") == 0) {
            if (read_words(t, token, &n, &f->orbital, NULL, &f->n_orbital, err)) return -1;
            continue;
        }
        if (strcmp(word, "ATOMIC_POSITIONS") == 0) {
            if (f->has_positions) return nh_text_fail(t, err, "a second section ATOMIC_POSITIONS");
            if (read_positions(t, f, token, &n, err)) return -1;
            continue;
        }
        if (strcmp(word, "LATTICE_CONSTANT") == 0) {
            if (read_reals(t, "the lattice constant", 1, &f->constant, err)) return -1;
            if (!(f->constant > 0))
                return nh_text_fail(t, err, "lattice constant %g (positive expected)", f->constant);
        } else if (strcmp(word, "LATTICE_VECTORS") == 0) {
            if (read_reals(t, "a lattice vector", 9, f->vectors, err)) return -1;
            f->has_vectors = true;
        }
        const bool parameters = strcmp(word, "LATTICE_PARAMETERS") == 0;
        while ((n = nh_text_next(t, true, token)) > 0 && !is_section(token[0]))
            for (size_t i = 0; parameters && i < n && f->n_parameter < 5; i++)
                if (nh_text_real(t, token[i], "a lattice parameter", &f->parameter[f->n_parameter++], err))
                    return -1;
    }
    return 0;
}

/* Lattices that INPUT's latname stands for, in units of the lattice constant (ABACUS manual, STRU,
 * LATTICE_PARAMETERS). */
static int named_lattice(const nh_text *t, const stru *f, const char *name, double a[9], nh_error *err)
{
    const double x = f->parameter[0], y = f->parameter[1], h = sqrt(3) / 2;
    const double tx = sqrt((1 - x) / 2), ty = sqrt((1 - x) / 6), tz = sqrt((1 + 2 * x) / 3);
    const struct {
        const char *name;
        size_t parameters;
        double vectors[9];
    } known[] = {
        {"sc", 0, {1, 0, 0, 0, 1, 0, 0, 0, 1}},
        {"fcc", 0, {-0.5, 0, 0.5, 0, 0.5, 0.5, -0.5, 0.5, 0}},
        {"bcc", 0, {0.5, 0.5, 0.5, -0.5, 0.5, 0.5, -0.5, -0.5, 0.5}},
        {"hexagonal", 1, {1, 0, 0, -0.5, h, 0, 0, 0, x}},
        {"trigonal", 1, {tx, -ty, tz, 0, 2 * ty, tz, -tx, -ty, tz}},
        {"st", 1, {1, 0, 0, 0, 1, 0, 0, 0, x}},
        {"so", 2, {1, 0, 0, 0, x, 0, 0, 0, y}},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i].name, name) != 0) continue;
        if (f->n_parameter < known[i].parameters)
            return nh_fail(err, "%s: latname %s needs %zu numbers in LATTICE_PARAMETERS, %zu found", t->name,
                           name, known[i].parameters, f->n_parameter);
        memcpy(a, known[i].vectors, sizeof known[i].vectors);
        return 0;
    }
    return nh_fail(err, "%s: no LATTICE_VECTORS, and latname %s is not supported: write the vectors", t->name,
                   name);
}

/* Positions in Å from what the mode says. The centred modes count from the middle of the cell in the named
 * directions. */
static int convert_positions(const nh_text *t, const stru *f, nh_structure *s, nh_error *err)
{
    static const struct {
        const char *name;
        enum { DIRECT, LATTICE_UNIT, ANGSTROM, BOHR } unit;
        int centre[3];
    } modes[] = {
        {"Direct", DIRECT, {0, 0, 0}},
        {"Cartesian", LATTICE_UNIT, {0, 0, 0}},
        {"Cartesian_au", BOHR, {0, 0, 0}},
        {"Cartesian_angstrom", ANGSTROM, {0, 0, 0}},
        {"Cartesian_angstrom_center_xy", ANGSTROM, {1, 1, 0}},
        {"Cartesian_angstrom_center_xz", ANGSTROM, {1, 0, 1}},
        {"Cartesian_angstrom_center_yz", ANGSTROM, {0, 1, 1}},
        {"Cartesian_angstrom_center_xyz", ANGSTROM, {1, 1, 1}},
    };
    const size_t n_modes = sizeof modes / sizeof modes[0];
    size_t m = 0;
    while (m < n_modes && strcasecmp(modes[m].name, f->mode) != 0)
        m++;
    if (m == n_modes) return nh_fail(err, "%s: unknown kind of coordinates \"%s\"", t->name, f->mode);
    const double scale = modes[m].unit == LATTICE_UNIT ? f->constant * bohr
                         : modes[m].unit == BOHR       ? bohr
                                                       : 1;
    for (size_t i = 0; i < f->n_atom; i++) {
        const double *x = f->coordinate + 3 * i;
        double *r = s->position + 3 * i;
        if (modes[m].unit == DIRECT) {
            nh_lattice_apply(x, s->lattice, r);
            continue;
        }
        for (int k = 0; k < 3; k++)
            r[k] = x[k] * scale +
                   modes[m].centre[k] * (s->lattice[k] + s->lattice[3 + k] + s->lattice[6 + k]) / 2;
    }
    return 0;
}

static int fill_structure(const nh_text *t, stru *f, const char *latname, nh_structure_file *out,
                          nh_error *err)
{
    if (!f->has_positions || f->n_atom == 0) return nh_fail(err, "%s: no atoms in ATOMIC_POSITIONS", t->name);
    if (!(f->constant > 0)) return nh_fail(err, "%s: no LATTICE_CONSTANT", t->name);
    if (f->n_orbital != 0 && f->n_orbital != f->n_label)
        return nh_fail(err, "%s: %zu species and %zu files in NUMERICAL_ORBITAL", t->name, f->n_label,
                       f->n_orbital);
    if (!f->has_vectors) {
        if (latname == NULL || strcmp(latname, "none") == 0)
            return nh_fail(err, "%s: no LATTICE_VECTORS (and no latname in INPUT)", t->name);
        if (named_lattice(t, f, latname, f->vectors, err)) return -1;
    }
    nh_structure *s = &out->structure;
    if (nh_structure_new(f->n_atom, f->n_label, s, err)) return -1;
    for (int k = 0; k < 9; k++)
        s->lattice[k] = f->vectors[k] * (f->constant * bohr);
    for (size_t i = 0; i < f->n_label; i++) {
        s->atomic_number[i] = nh_atomic_number(f->label[i]);
        if (s->atomic_number[i] == 0)
            return nh_fail(err, "%s: species \"%s\" is no chemical element", t->name, f->label[i]);
    }
    memcpy(s->species, f->species, f->n_atom * sizeof *s->species);
    if (convert_positions(t, f, s, err)) return -1;
    nh_structure_wrap(s);
    out->pseudo_file = f->pseudo;
    f->pseudo = NULL;
    if (f->n_orbital > 0) {
        out->orbital_file = f->orbital;
        f->orbital = NULL;
        f->n_orbital = 0;
    }
    return 0;
}

int nh_stru_parse(nh_text *t, const char *latname, nh_structure_file *out, nh_error *err)
{
    stru f = {.constant = 0};
    const int status = read_sections(t, &f, err) ? -1 : fill_structure(t, &f, latname, out, err);
    free_stru(&f);
    return status;
}

/* The first species of the same element: STRU knows species by their labels. */
static size_t first_of_element(const nh_structure *s, size_t species)
{
    size_t i = 0;
    while (s->atomic_number[i] != s->atomic_number[species])
        i++;
    return i;
}

size_t nh_stru_types(const nh_structure *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_species; i++)
        n += first_of_element(s, i) == i;
    return n;
}

void nh_stru_order(const nh_structure *s, size_t *atom)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_species; i++)
        for (size_t a = 0; a < s->n_atom && first_of_element(s, i) == i; a++)
            if (first_of_element(s, (size_t)s->species[a]) == i) atom[n++] = a;
}

void nh_stru_write(FILE *out, const nh_structure *s, const char *const *pseudo, const char *const *orbital)
{
    fprintf(out, "ATOMIC_SPECIES\n"); /* masses matter to moving atoms only */
    for (size_t i = 0; i < s->n_species; i++)
        if (first_of_element(s, i) == i)
            fprintf(out, "%s 1.0 %s\n", nh_element_symbol(s->atomic_number[i]), pseudo[i]);
    if (orbital != NULL) {
        fprintf(out, "\nNUMERICAL_ORBITAL\n");
        for (size_t i = 0; i < s->n_species; i++)
            if (first_of_element(s, i) == i) fprintf(out, "%s\n", orbital[i]);
    }
    fprintf(out, "\nLATTICE_CONSTANT\n%.17g\n\nLATTICE_VECTORS\n", 1 / bohr); /* lengths below are in Å */
    for (int k = 0; k < 3; k++)
        fprintf(out, "%.12f %.12f %.12f\n", s->lattice[3 * k], s->lattice[3 * k + 1], s->lattice[3 * k + 2]);
    fprintf(out, "\nATOMIC_POSITIONS\nCartesian\n");
    for (size_t i = 0; i < s->n_species; i++) {
        if (first_of_element(s, i) != i) continue;
        size_t count = 0;
        for (size_t a = 0; a < s->n_atom; a++)
            count += first_of_element(s, (size_t)s->species[a]) == i;
        fprintf(out, "\n%s\n0.0\n%zu\n", nh_element_symbol(s->atomic_number[i]), count);
        for (size_t a = 0; a < s->n_atom; a++)
            if (first_of_element(s, (size_t)s->species[a]) == i)
                fprintf(out, "%.12f %.12f %.12f 0 0 0\n", s->position[3 * a], s->position[3 * a + 1],
                        s->position[3 * a + 2]);
    }
}
