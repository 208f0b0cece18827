#include "crystal/structure.h"

#include "base/memory.h"
#include "crystal/lattice.h"
#include "crystal/pairs.h"

#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const symbols[] = {
    "X",  "H",  "He", "Li", "Be", "B",  "C",  "N",  "O",  "F",  "Ne", "Na", "Mg", "Al", "Si", "P",  "S",
    "Cl", "Ar", "K",  "Ca", "Sc", "Ti", "V",  "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Ga", "Ge", "As",
    "Se", "Br", "Kr", "Rb", "Sr", "Y",  "Zr", "Nb", "Mo", "Tc", "Ru", "Rh", "Pd", "Ag", "Cd", "In", "Sn",
    "Sb", "Te", "I",  "Xe", "Cs", "Ba", "La", "Ce", "Pr", "Nd", "Pm", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho",
    "Er", "Tm", "Yb", "Lu", "Hf", "Ta", "W",  "Re", "Os", "Ir", "Pt", "Au", "Hg", "Tl", "Pb", "Bi", "Po",
    "At", "Rn", "Fr", "Ra", "Ac", "Th", "Pa", "U",  "Np", "Pu", "Am", "Cm", "Bk", "Cf", "Es", "Fm", "Md",
    "No", "Lr", "Rf", "Db", "Sg", "Bh", "Hs", "Mt", "Ds", "Rg", "Cn", "Nh", "Fl", "Mc", "Lv", "Ts", "Og"};
static const char shell_letters[] = "spdfghi";

enum { N_SYMBOLS = sizeof symbols / sizeof symbols[0], MAX_DEGREE = sizeof shell_letters - 2 };

static const double same_spot = 1e-3;        /* Å */
static const double flattest_lattice = 1e-6; /* volume over the product of the lengths */

int nh_structure_new(size_t n_atom, size_t n_species, nh_structure *out, nh_error *err)
{
    *out = (nh_structure){.n_atom = n_atom, .n_species = n_species};
    size_t coordinates;
    if (n_atom > INT_MAX || n_species > INT_MAX || !nh_size_mul(n_atom, 3, &coordinates))
        return nh_fail(err, "%zu atoms of %zu species are too many", n_atom, n_species);
    out->position = NH_ARRAY(double, coordinates);
    out->species = NH_ARRAY(int, n_atom);
    out->atomic_number = NH_ARRAY(int, n_species);
    out->shell_start = NH_ARRAY(size_t, n_species + 1);
    out->shell_l = NH_ARRAY(int, 0);
    if (out->position == NULL || out->species == NULL || out->atomic_number == NULL ||
        out->shell_start == NULL || out->shell_l == NULL) {
        nh_structure_free(out);
        return nh_fail_memory(err, "a structure");
    }
    return 0;
}

void nh_structure_free(nh_structure *s)
{
    if (s == NULL) return;
    free(s->position);
    free(s->species);
    free(s->atomic_number);
    free(s->shell_start);
    free(s->shell_l);
    free(s->title);
    *s = (nh_structure){0};
}

int nh_structure_copy(const nh_structure *s, nh_structure *out, nh_error *err)
{
    size_t *const counts = NH_ARRAY(size_t, s->n_species);
    if (counts == NULL) return nh_fail_memory(err, "structure");
    int status = nh_structure_new(s->n_atom, s->n_species, out, err);
    if (status == 0) {
        memcpy(out->lattice, s->lattice, sizeof out->lattice);
        memcpy(out->position, s->position, 3 * s->n_atom * sizeof *s->position);
        memcpy(out->species, s->species, s->n_atom * sizeof *s->species);
        memcpy(out->atomic_number, s->atomic_number, s->n_species * sizeof *s->atomic_number);
        for (size_t i = 0; i < s->n_species; i++)
            counts[i] = s->shell_start[i + 1] - s->shell_start[i];
        if (s->shell_start[s->n_species] > 0) status = nh_structure_set_shells(out, counts, s->shell_l, err);
        if (status == 0 && s->title != NULL && (out->title = nh_strdup(s->title)) == NULL)
            status = nh_fail_memory(err, "structure");
        if (status != 0) {
            nh_structure_free(out);
            *out = (nh_structure){0};
        }
    }
    free(counts);
    return status;
}

void nh_structure_wrap(nh_structure *s)
{
    const double *const a = s->lattice;
    double inverse[9];
    nh_lattice_inverse(a, inverse);
    const double far = 10000; /* ABACUS's number: it absorbs rounding below 1e-12 */
    for (size_t i = 0; i < s->n_atom; i++) {
        double *const r = s->position + 3 * i, f[3], n[3], shift[3];
        nh_lattice_apply(r, inverse, f);
        for (int d = 0; d < 3; d++)
            n[d] = floor(f[d] + far) - far;
        if (n[0] == 0 && n[1] == 0 && n[2] == 0) continue; /* the digits of the file stay */
        nh_lattice_apply(n, a, shift);
        for (int k = 0; k < 3; k++)
            r[k] -= shift[k];
    }
}

int nh_structure_set_shells(nh_structure *s, const size_t *counts, const int *l, nh_error *err)
{
    size_t total = 0;
    for (size_t i = 0; i < s->n_species; i++)
        if (!nh_size_add(total, counts[i], &total)) return nh_fail(err, "too many orbital shells");
    for (size_t i = 0; i < total; i++)
        if (l[i] < 0 || l[i] > MAX_DEGREE)
            return nh_fail(err, "orbital shell of degree %d (0 to %d expected)", l[i], (int)MAX_DEGREE);
    int *copy = NH_ARRAY(int, total);
    if (copy == NULL) return nh_fail_memory(err, "orbital shells");
    if (total > 0) memcpy(copy, l, total * sizeof *copy);
    free(s->shell_l);
    s->shell_l = copy;
    for (size_t i = 0; i < s->n_species; i++)
        s->shell_start[i + 1] = s->shell_start[i] + counts[i];
    return 0;
}

size_t nh_species_orbitals(const nh_structure *s, size_t species)
{
    size_t n = 0;
    for (size_t i = s->shell_start[species]; i < s->shell_start[species + 1]; i++)
        n += 2 * (size_t)s->shell_l[i] + 1;
    return n;
}

size_t nh_atom_orbitals(const nh_structure *s, size_t atom)
{
    return nh_species_orbitals(s, (size_t)s->species[atom]);
}

size_t nh_structure_orbitals(const nh_structure *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_atom; i++)
        n += nh_atom_orbitals(s, i);
    return n;
}

void nh_orbital_start(const nh_structure *s, size_t *start)
{
    start[0] = 0;
    for (size_t i = 0; i < s->n_atom; i++)
        start[i + 1] = start[i] + nh_atom_orbitals(s, i);
}

static double length(const double *v)
{
    return sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
}

static int check_lattice(const double a[9], nh_error *err)
{
    for (int i = 0; i < 9; i++)
        if (!isfinite(a[i])) return nh_fail(err, "lattice vector a%d is not finite", i / 3 + 1);
    const double volume = fabs(nh_lattice_volume(a));
    const double scale = length(a) * length(a + 3) * length(a + 6);
    if (!(scale > 0) || !isfinite(scale) || volume <= flattest_lattice * scale)
        return nh_fail(err, "the lattice vectors span no volume (%g Å^3)", volume);
    return 0;
}

static int check_spots(const nh_structure *s, nh_error *err)
{
    size_t count = 0;
    nh_pair *pair = NULL;
    if (nh_neighbours(s, same_spot, &count, &pair, err)) return -1;
    int status = 0;
    for (size_t p = 0; p < count && status == 0; p++) {
        const nh_pair *q = &pair[p];
        if (q->src == q->dst && q->cell[0] == 0 && q->cell[1] == 0 && q->cell[2] == 0) continue;
        double v[3];
        nh_pair_vector(s, q, v);
        status = nh_fail(err, "atoms %d and %d are on one spot (%.2g Å apart, cell %d %d %d)", q->src + 1,
                         q->dst + 1, length(v), q->cell[0], q->cell[1], q->cell[2]);
    }
    free(pair);
    return status;
}

int nh_structure_check(const nh_structure *s, nh_error *err)
{
    if (s->n_atom == 0) return nh_fail(err, "no atoms");
    if (check_lattice(s->lattice, err)) return -1;
    for (size_t i = 0; i < s->n_species; i++) {
        if (s->atomic_number[i] < 1 || s->atomic_number[i] >= N_SYMBOLS)
            return nh_fail(err, "species %zu: atomic number %d (1 to %d expected)", i + 1,
                           s->atomic_number[i], (int)N_SYMBOLS - 1);
        if (s->shell_start[i + 1] < s->shell_start[i])
            return nh_fail(err, "species %zu: shells out of order", i + 1);
    }
    for (size_t i = 0; i < s->n_atom; i++) {
        if (s->species[i] < 0 || (size_t)s->species[i] >= s->n_species)
            return nh_fail(err, "atom %zu: species %d of %zu", i + 1, s->species[i], s->n_species);
        for (int k = 0; k < 3; k++)
            if (!isfinite(s->position[3 * i + (size_t)k]))
                return nh_fail(err, "atom %zu: position is not finite", i + 1);
    }
    return check_spots(s, err);
}

char *nh_structure_formula(const nh_structure *s)
{
    const size_t widest = 32; /* a symbol and a 64-bit count */
    char *text = NH_ARRAY(char, s->n_species *widest + 1);
    size_t *count = NH_ARRAY(size_t, s->n_species);
    if (text == NULL || count == NULL) {
        free(text);
        free(count);
        return NULL;
    }
    for (size_t i = 0; i < s->n_atom; i++)
        count[s->species[i]]++;
    char *at = text;
    for (size_t i = 0; i < s->n_species; i++) {
        const char *symbol = nh_element_symbol(s->atomic_number[i]);
        if (count[i] == 0) continue;
        if (count[i] == 1)
            at += snprintf(at, widest, "%s", symbol ? symbol : "X");
        else
            at += snprintf(at, widest, "%s%zu", symbol ? symbol : "X", count[i]);
    }
    free(count);
    return text;
}

int nh_atomic_number(const char *symbol)
{
    size_t n = 0;
    while (isalpha((unsigned char)symbol[n]))
        n++;
    if (n == 0 || n > 2) return 0;
    for (int z = 1; z < N_SYMBOLS; z++)
        if (strlen(symbols[z]) == n && strncmp(symbols[z], symbol, n) == 0) return z;
    return 0;
}

const char *nh_element_symbol(int atomic_number)
{
    return atomic_number >= 1 && atomic_number < N_SYMBOLS ? symbols[atomic_number] : NULL;
}

int nh_shells_parse(const char *text, size_t *count, int **l, nh_error *err)
{
    *count = 0;
    *l = NULL;
    const long most = 100; /* shells of one degree; the largest published basis has 4 */
    size_t wanted = 0, room = 0;
    for (const char *at = text; *at != '\0'; at++) {
        if (!isdigit((unsigned char)*at)) goto bad;
        char *end = NULL;
        const long n = strtol(at, &end, 10);
        const char *letter = *end != '\0' ? strchr(shell_letters, *end) : NULL;
        if (n < 1 || n > most || letter == NULL) goto bad;
        wanted += (size_t)n;
        if (!nh_grow(l, &room, wanted, sizeof **l)) {
            free(*l);
            *l = NULL;
            return nh_fail_memory(err, "orbital shells");
        }
        while (*count < wanted)
            (*l)[(*count)++] = (int)(letter - shell_letters);
        at = end;
    }
    if (*count > 0) return 0;
bad:
    free(*l);
    *l = NULL;
    *count = 0;
    return nh_fail(err, "\"%s\" is no list of orbital shells (4s2p2d1f is one)", text);
}

char *nh_shells_text(size_t count, const int *l)
{
    const size_t widest = 24; /* a 64-bit count and a letter */
    size_t bytes;
    if (!nh_size_mul(count, widest, &bytes)) return NULL;
    char *text = NH_ARRAY(char, bytes + 1);
    if (text == NULL) return NULL;
    char *at = text;
    for (size_t i = 0, n; i < count; i += n) {
        for (n = 1; i + n < count && l[i + n] == l[i];)
            n++;
        at += snprintf(at, widest, "%zu%c", n, l[i] >= 0 && l[i] <= MAX_DEGREE ? shell_letters[l[i]] : '?');
    }
    return text;
}
