#include "formats/structure/poscar.h"

#include "base/memory.h"
#include "crystal/lattice.h"

#include <ctype.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Lines 2 to 5: a scale, three vectors. */
bool nh_poscar_recognise(const char *text)
{
    for (int line = 1; line <= 5; line++) {
        const char *end = strchr(text, '\n');
        if (end == NULL) return false;
        if (line >= 2) {
            char copy[256];
            char *token[NH_TEXT_TOKENS];
            snprintf(copy, sizeof copy, "%.*s", (int)fmin((double)(end - text), 255), text);
            const size_t n = nh_text_split(copy, token), wanted = line == 2 ? 1 : 3;
            if (n < wanted) return false;
            for (size_t i = 0; i < wanted; i++)
                if (!nh_text_is_real(token[i])) return false;
        }
        text = end + 1;
    }
    return true;
}

static int read_lattice(nh_text *t, double a[9], double scale[3], nh_error *err)
{
    char *token[NH_TEXT_TOKENS];
    const size_t n_scale = nh_text_next(t, false, token);
    if (n_scale == 0) return nh_text_fail(t, err, "the scale expected");
    if (nh_text_real(t, token[0], "the scale", &scale[0], err)) return -1;
    scale[1] = scale[2] = scale[0];
    if (n_scale >= 3 && nh_text_is_real(token[1]) && nh_text_is_real(token[2])) {
        if (nh_text_real(t, token[1], "the scale", &scale[1], err) ||
            nh_text_real(t, token[2], "the scale", &scale[2], err))
            return -1;
        if (!(scale[0] > 0 && scale[1] > 0 && scale[2] > 0))
            return nh_text_fail(t, err, "the scales must be positive");
    }
    for (int i = 0; i < 3; i++) {
        if (nh_text_next(t, false, token) < 3) return nh_text_fail(t, err, "a lattice vector expected");
        for (int k = 0; k < 3; k++)
            if (nh_text_real(t, token[k], "a lattice vector", &a[3 * i + k], err)) return -1;
    }
    if (scale[0] < 0) { /* the cell's volume in Å^3 */
        const double volume = fabs(nh_lattice_volume(a));
        if (!(volume > 0)) return nh_text_fail(t, err, "the lattice vectors span no volume");
        scale[0] = scale[1] = scale[2] = cbrt(-scale[0] / volume);
    }
    if (scale[0] == 0) return nh_text_fail(t, err, "the scale is zero");
    for (int i = 0; i < 9; i++)
        a[i] *= scale[i % 3];
    return 0;
}

/* "Ga", "Ga_d", "Ga/hash" all begin with the symbol. */
static int element_of(const char *word)
{
    char symbol[3] = "";
    for (size_t n = 0; n < 2 && isalpha((unsigned char)word[n]); n++)
        symbol[n] = word[n];
    return isalpha((unsigned char)word[strlen(symbol)]) ? 0 : nh_atomic_number(symbol);
}

enum { LINE_LEAST = 5 }; /* bytes of an atom's line without its end: "0 0 0" */

static int read_species(nh_text *t, nh_structure *s, nh_error *err)
{
    char *symbol[NH_TEXT_TOKENS], *token[NH_TEXT_TOKENS];
    int number[NH_TEXT_TOKENS] = {0}, group_species[NH_TEXT_TOKENS] = {0};
    size_t count[NH_TEXT_TOKENS] = {0}, n_species = 0, n_atom = 0;
    const size_t n = nh_text_next(t, false, symbol);
    if (n == 0) return nh_text_fail(t, err, "element symbols expected");
    if (n == NH_TEXT_TOKENS) return nh_text_fail(t, err, "more than %d groups of atoms", NH_TEXT_TOKENS - 1);
    for (size_t i = 0; i < n; i++) {
        const int z = element_of(symbol[i]);
        if (z == 0)
            return nh_text_fail(t, err,
                                "element symbols expected, \"%.40s\" found (POSCAR of version 5 has them)",
                                symbol[i]);
        size_t k = 0;
        while (k < n_species && number[k] != z)
            k++;
        if (k == n_species) number[n_species++] = z;
        group_species[i] = (int)k;
    }
    if (nh_text_next(t, false, token) != n) return nh_text_fail(t, err, "%zu numbers of atoms expected", n);
    for (size_t i = 0; i < n; i++) {
        if (nh_text_count(t, token[i], "a number of atoms", &count[i], err)) return -1;
        if (!nh_size_add(n_atom, count[i], &n_atom)) n_atom = SIZE_MAX;
    }
    if (n_atom > strlen(t->at) / LINE_LEAST)
        return nh_text_fail(t, err, "%zu atoms do not fit into the rest of the file", n_atom);
    char *title = s->title;
    double lattice[9];
    memcpy(lattice, s->lattice, sizeof lattice);
    s->title = NULL;
    if (nh_structure_new(n_atom, n_species, s, err)) {
        free(title);
        return -1;
    }
    s->title = title;
    memcpy(s->lattice, lattice, sizeof lattice);
    memcpy(s->atomic_number, number, n_species * sizeof *number);
    for (size_t i = 0, atom = 0; i < n; i++)
        for (size_t k = 0; k < count[i]; k++)
            s->species[atom++] = group_species[i];
    return 0;
}

int nh_poscar_parse(nh_text *t, const char *latname, nh_structure_file *out, nh_error *err)
{
    (void)latname;
    nh_structure *s = &out->structure;
    char *token[NH_TEXT_TOKENS];
    double scale[3];
    const char *title = nh_text_line(t);
    if (title != NULL && *title != '\0' && (s->title = nh_strdup(title)) == NULL)
        return nh_fail_memory(err, "the title");
    if (read_lattice(t, s->lattice, scale, err) || read_species(t, s, err)) return -1;
    size_t n = nh_text_next(t, false, token);
    if (n > 0 && tolower((unsigned char)token[0][0]) == 's')
        n = nh_text_next(t, false, token); /* selective dynamics */
    const int mode = n > 0 ? tolower((unsigned char)token[0][0]) : 0;
    if (mode != 'd' && mode != 'c' && mode != 'k')
        return nh_text_fail(t, err, "Direct or Cartesian expected");
    for (size_t i = 0; i < s->n_atom; i++) {
        double x[3], *r = s->position + 3 * i;
        if (nh_text_next(t, false, token) < 3)
            return nh_text_fail(t, err, "atom %zu of %zu: x y z expected", i + 1, s->n_atom);
        for (int k = 0; k < 3; k++)
            if (nh_text_real(t, token[k], "a coordinate", &x[k], err)) return -1;
        for (int k = 0; k < 3; k++)
            r[k] = mode == 'd' ? x[0] * s->lattice[k] + x[1] * s->lattice[3 + k] + x[2] * s->lattice[6 + k]
                               : x[k] * scale[k];
    }
    return 0;
}
