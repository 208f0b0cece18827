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
    double *mass; /* [n_label] */
    size_t n_atom;
    double *coordinate; /* [n_atom][3] as in the file */
    double *moment;     /* [n_atom][3] */
    int *moment_size;   /* [n_atom] */
    int *species;       /* [n_atom]: the block, and when all sections are read the species */
    size_t n_block;     /* of ATOMIC_POSITIONS, one a species */
    char **block;       /* [n_block] their labels */
    double *magnetism;  /* [n_block] */
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
    for (size_t i = 0; i < f->n_block; i++)
        free(f->block[i]);
    free(f->block);
    free(f->magnetism);
    free(f->mass);
    free(f->coordinate);
    free(f->moment);
    free(f->moment_size);
    free(f->species);
}

/* What a section of one line a species has: names (the first words), and of ATOMIC_SPECIES masses and
 * pseudopotentials (the second and third), where asked for. *n_token: tokens of the line after, 0 at the
 * end. */
static int read_words(nh_text *t, char *token[NH_TEXT_TOKENS], size_t *n_token, char ***word, double **mass,
                      char ***third, size_t *n, nh_error *err)
{
    while ((*n_token = nh_text_next(t, true, token)) > 0 && !is_section(token[0])) {
        if (!nh_grow_one(word, *n, sizeof **word) ||
            (mass != NULL && !nh_grow_one(mass, *n, sizeof **mass)) ||
            (third != NULL && !nh_grow_one(third, *n, sizeof **third)))
            return nh_fail_memory(err, "the species");
        (*word)[*n] = nh_strdup(token[0]);
        if (mass != NULL)
            (*mass)[*n] = *n_token >= 2 && nh_text_is_real(token[1]) ? strtod(token[1], NULL) : 1;
        if (third != NULL) (*third)[*n] = *n_token >= 3 ? nh_strdup(token[2]) : NULL;
        const bool whole = (*word)[*n] != NULL && (third == NULL || *n_token < 3 || (*third)[*n] != NULL);
        ++*n;
        if (!whole) return nh_fail_memory(err, "the species");
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

/* What follows x y z: flags of moving (m 1 1 1, or without the m), velocities, and the starting moment: "mag"
 * with one number or three, angles of it. The others are of no concern here. */
static int read_moment(const nh_text *t, char *token[NH_TEXT_TOKENS], size_t n, double m[3], int *size,
                       nh_error *err)
{
    const double degree = 3.14159265358979323846 / 180;
    double angle[2] = {0, 0};
    bool has_angle = false;
    *size = 0;
    for (size_t i = 3; i < n; i++) {
        if (strcmp(token[i], "mag") == 0 || strcmp(token[i], "magmom") == 0) {
            int k = 0;
            while (k < 3 && i + 1 < n && nh_text_is_real(token[i + 1]))
                if (nh_text_real(t, token[++i], "a moment", &m[k++], err)) return -1;
            if (k != 1 && k != 3) return nh_text_fail(t, err, "one or three numbers expected after mag");
            *size = k;
        } else if ((strcmp(token[i], "angle1") == 0 || strcmp(token[i], "angle2") == 0) && i + 1 < n) {
            const int which = token[i][5] == '2';
            has_angle = true;
            if (nh_text_real(t, token[++i], "an angle", &angle[which], err)) return -1;
        }
    }
    if (has_angle && *size == 1) {
        const double a = angle[0] * degree, b = angle[1] * degree, length = m[0];
        m[0] = length * sin(a) * cos(b);
        m[1] = length * sin(a) * sin(b);
        m[2] = length * cos(a);
        *size = 3;
    }
    return 0;
}

static int read_one_species(nh_text *t, stru *f, const char *label, nh_error *err)
{
    char *token[NH_TEXT_TOKENS];
    if (!nh_grow_one(&f->block, f->n_block, sizeof *f->block) ||
        !nh_grow_one(&f->magnetism, f->n_block, sizeof *f->magnetism) ||
        (f->block[f->n_block] = nh_strdup(label)) == NULL)
        return nh_fail_memory(err, "the species");
    const char *name = f->block[f->n_block++]; /* the line of `label` is overwritten by the next ones */
    double magnetism;
    if (read_reals(t, "the magnetism", 1, &magnetism, err)) return -1;
    f->magnetism[f->n_block - 1] = magnetism;
    size_t count;
    if (nh_text_next(t, true, token) == 0 || nh_text_count(t, token[0], "the number of atoms", &count, err))
        return nh_text_fail(t, err, "the number of atoms of %s expected", name);
    for (size_t i = 0; i < count; i++) {
        const size_t n = nh_text_next(t, true, token);
        if (n < 3) return nh_text_fail(t, err, "atom %zu of %zu: x y z expected", i + 1, count);
        if (!nh_grow_one(&f->coordinate, f->n_atom, 3 * sizeof *f->coordinate) ||
            !nh_grow_one(&f->moment, f->n_atom, 3 * sizeof *f->moment) ||
            !nh_grow_one(&f->moment_size, f->n_atom, sizeof *f->moment_size) ||
            !nh_grow_one(&f->species, f->n_atom, sizeof *f->species))
            return nh_fail_memory(err, "the atoms");
        for (size_t k = 0; k < 3; k++)
            if (nh_text_real(t, token[k], "a coordinate", &f->coordinate[3 * f->n_atom + k], err)) return -1;
        if (read_moment(t, token, n, f->moment + 3 * f->n_atom, &f->moment_size[f->n_atom], err)) return -1;
        f->species[f->n_atom++] = (int)f->n_block - 1;
    }
    return 0;
}

/* The species of each block: the one in the same place, as ABACUS pairs them; where labels are in another
 * order, the one with the label, of which there must be one only. */
static int find_species(const nh_text *t, const stru *f, size_t block, int *species, nh_error *err)
{
    const char *label = f->block[block];
    *species = -1;
    if (block < f->n_label && strcmp(f->label[block], label) == 0) {
        *species = (int)block;
        return 0;
    }
    for (size_t i = 0; i < f->n_label; i++)
        if (strcmp(f->label[i], label) == 0) {
            if (*species >= 0)
                return nh_fail(err,
                               "%s: \"%.40s\" is in ATOMIC_SPECIES more than once, and in ATOMIC_POSITIONS "
                               "in another place",
                               t->name, label);
            *species = (int)i;
        }
    return *species >= 0 ? 0 : nh_fail(err, "%s: \"%.40s\" is not in ATOMIC_SPECIES", t->name, label);
}

static int pair_species(const nh_text *t, stru *f, nh_error *err)
{
    int *of = NH_ARRAY(int, f->n_block);
    int status = of == NULL ? nh_fail_memory(err, "the species") : 0;
    for (size_t i = 0; i < f->n_block && status == 0; i++)
        status = find_species(t, f, i, &of[i], err);
    for (size_t i = 0; i < f->n_atom && status == 0; i++)
        f->species[i] = of[f->species[i]];
    double *magnetism = NH_ARRAY(double, f->n_label);
    if (status == 0 && magnetism == NULL) status = nh_fail_memory(err, "the species");
    for (size_t i = 0; i < f->n_block && status == 0; i++)
        magnetism[of[i]] = f->magnetism[i];
    free(of);
    free(f->magnetism);
    f->magnetism = magnetism;
    return status;
}

static int read_positions(nh_text *t, stru *f, char *token[NH_TEXT_TOKENS], size_t *n_token, nh_error *err)
{
    if (nh_text_next(t, true, token) == 0) return nh_text_fail(t, err, "the kind of coordinates expected");
    if (strlen(token[0]) >= sizeof f->mode) return nh_text_fail(t, err, "unknown kind of coordinates");
    strcpy(f->mode, token[0]);
    while ((*n_token = nh_text_next(t, true, token)) > 0 && !is_section(token[0]))
        if (read_one_species(t, f, token[0], err)) return -1;
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
            if (read_words(t, token, &n, &f->label, &f->mass, &f->pseudo, &f->n_label, err)) return -1;
            continue;
        }
        if (strcmp(word, "NUMERICAL_ORBITAL") == 0) {
            if (read_words(t, token, &n, &f->orbital, NULL, NULL, &f->n_orbital, err)) return -1;
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
    if (pair_species(t, f, err)) return -1;
    memcpy(s->species, f->species, f->n_atom * sizeof *s->species);
    if (convert_positions(t, f, s, err)) return -1;
    nh_structure_wrap(s);
    out->pseudo_file = f->pseudo;
    out->label = f->label;
    out->mass = f->mass;
    f->pseudo = f->label = NULL;
    f->mass = NULL;
    f->n_label = 0;
    bool magnetic = false;
    for (size_t i = 0; i < s->n_atom; i++)
        magnetic = magnetic || f->moment_size[i] > 0 || f->magnetism[s->species[i]] != 0;
    if (magnetic) {
        out->magnetism = f->magnetism;
        out->moment = f->moment;
        out->moment_size = f->moment_size;
        f->magnetism = f->moment = NULL;
        f->moment_size = NULL;
    }
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

/* --- writing --- */

static bool same_shells(const nh_structure *s, size_t a, size_t b)
{
    const size_t n = s->shell_start[a + 1] - s->shell_start[a];
    if (n != s->shell_start[b + 1] - s->shell_start[b]) return false;
    return n == 0 ||
           memcmp(s->shell_l + s->shell_start[a], s->shell_l + s->shell_start[b], n * sizeof(int)) == 0;
}

/* The first species that is the same as this one in STRU: of the same element and basis, but where species
 * have labels each is one of its own. */
static size_t first_like(const nh_structure *s, bool labelled, size_t species)
{
    size_t i = labelled ? species : 0;
    while (s->atomic_number[i] != s->atomic_number[species] || !same_shells(s, i, species))
        i++;
    return i;
}

static size_t count_types(const nh_structure *s, bool labelled)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_species; i++)
        n += first_like(s, labelled, i) == i;
    return n;
}

size_t nh_stru_types(const nh_structure_file *file)
{
    return count_types(&file->structure, file->label != NULL);
}

void nh_stru_order(const nh_structure *s, size_t *atom)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_species; i++)
        for (size_t a = 0; a < s->n_atom && first_like(s, false, i) == i; a++)
            if (first_like(s, false, (size_t)s->species[a]) == i) atom[n++] = a;
}

/* Fe, or where the element is several species without labels Fe1, Fe2. */
static void put_label(FILE *out, const nh_structure_file *f, size_t species)
{
    const nh_structure *s = &f->structure;
    if (f->label != NULL) {
        fputs(f->label[species], out);
        return;
    }
    size_t number = 0, all = 0;
    for (size_t i = 0; i < s->n_species; i++)
        if (s->atomic_number[i] == s->atomic_number[species] && first_like(s, false, i) == i) {
            all++;
            if (i <= species) number = all;
        }
    fputs(nh_element_symbol(s->atomic_number[species]), out);
    if (all > 1) fprintf(out, "%zu", number);
}

static void put_atom(FILE *out, const nh_structure_file *f, size_t a)
{
    const double *r = f->structure.position + 3 * a;
    fprintf(out, "%.12f %.12f %.12f 0 0 0", r[0], r[1], r[2]);
    const int n = f->moment != NULL ? f->moment_size[a] : 0;
    for (int k = 0; k < n; k++)
        fprintf(out, "%s %.12g", k == 0 ? " mag" : "", f->moment[3 * a + (size_t)k]);
    fputc('\n', out);
}

void nh_stru_write_file(FILE *out, const nh_structure_file *f, const char *const *pseudo,
                        const char *const *orbital)
{
    const nh_structure *s = &f->structure;
    const bool labelled = f->label != NULL;
    fprintf(out, "ATOMIC_SPECIES\n"); /* masses matter to moving atoms only */
    for (size_t i = 0; i < s->n_species; i++) {
        if (first_like(s, labelled, i) != i) continue;
        put_label(out, f, i);
        fprintf(out, f->mass != NULL ? " %.12g %s\n" : " %.1f %s\n", f->mass != NULL ? f->mass[i] : 1,
                pseudo[i]);
    }
    if (orbital != NULL) {
        fprintf(out, "\nNUMERICAL_ORBITAL\n");
        for (size_t i = 0; i < s->n_species; i++)
            if (first_like(s, labelled, i) == i) fprintf(out, "%s\n", orbital[i]);
    }
    fprintf(out, "\nLATTICE_CONSTANT\n%.17g\n\nLATTICE_VECTORS\n", 1 / bohr); /* lengths below are in Å */
    for (int k = 0; k < 3; k++)
        fprintf(out, "%.12f %.12f %.12f\n", s->lattice[3 * k], s->lattice[3 * k + 1], s->lattice[3 * k + 2]);
    fprintf(out, "\nATOMIC_POSITIONS\nCartesian\n");
    for (size_t i = 0; i < s->n_species; i++) {
        if (first_like(s, labelled, i) != i) continue;
        size_t count = 0;
        for (size_t a = 0; a < s->n_atom; a++)
            count += first_like(s, labelled, (size_t)s->species[a]) == i;
        fputc('\n', out);
        put_label(out, f, i);
        if (f->magnetism != NULL)
            fprintf(out, "\n%.12g\n%zu\n", f->magnetism[i], count);
        else
            fprintf(out, "\n0.0\n%zu\n", count);
        for (size_t a = 0; a < s->n_atom; a++)
            if (first_like(s, labelled, (size_t)s->species[a]) == i) put_atom(out, f, a);
    }
}

void nh_stru_write(FILE *out, const nh_structure *s, const char *const *pseudo, const char *const *orbital)
{
    const nh_structure_file f = {.structure = *s};
    nh_stru_write_file(out, &f, pseudo, orbital);
}
