#include "formats/structure/xyz.h"

#include "base/memory.h"

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A count alone in the first line: a POSCAR's title may be a number too, but then its second line is one. */
bool nh_xyz_recognise(const char *text)
{
    char *end;
    const long n = strtol(text, &end, 10);
    while (*end == ' ' || *end == '\t' || *end == '\r')
        end++;
    if (end == text || *end != '\n' || n < 1) return false;
    const char *second = end + 1, *stop = strchr(second, '\n');
    const char *found = strcasestr(second, "lattice=");
    return found != NULL && (stop == NULL || found < stop);
}

/* Value of KEY=value or KEY="value" in the second line, copied; NULL where absent. */
static char *value_of(const char *line, const char *key)
{
    const size_t n = strlen(key);
    for (const char *at = line; (at = strcasestr(at, key)) != NULL; at += n) {
        if ((at != line && !isspace((unsigned char)at[-1])) || at[n] != '=') continue;
        const char *value = at + n + 1;
        const char quote = *value == '"' || *value == '\'' ? *value : '\0';
        if (quote != '\0') value++;
        size_t length = 0;
        while (value[length] != '\0' &&
               (quote != '\0' ? value[length] != quote : !isspace((unsigned char)value[length])))
            length++;
        return strndup(value, length);
    }
    return NULL;
}

static int read_lattice(const nh_text *t, const char *line, double a[9], nh_error *err)
{
    char *token[NH_TEXT_TOKENS], *value = value_of(line, "lattice");
    if (value == NULL) return nh_text_fail(t, err, "Lattice=\"...\" expected");
    int status =
        nh_text_split(value, token) == 9 ? 0 : nh_text_fail(t, err, "nine numbers expected in Lattice");
    for (int k = 0; k < 9 && status == 0; k++)
        status = nh_text_real(t, token[k], "a lattice vector", &a[k], err);
    free(value);
    return status;
}

typedef struct columns {
    size_t species, position, number; /* SIZE_MAX where absent */
} columns;

/* Properties=species:S:1:pos:R:3:... */
static int read_columns(const nh_text *t, const char *line, columns *out, nh_error *err)
{
    *out = (columns){0, 1, SIZE_MAX};
    char *value = value_of(line, "properties");
    if (value == NULL) return 0;
    *out = (columns){SIZE_MAX, SIZE_MAX, SIZE_MAX};
    char *rest = value;
    size_t column = 0;
    int status = 0;
    while (status == 0 && rest != NULL && *rest != '\0') {
        const char *name = strsep(&rest, ":"), *kind = strsep(&rest, ":"), *count = strsep(&rest, ":");
        size_t n;
        if (kind == NULL || count == NULL) {
            status = nh_text_fail(t, err, "Properties is cut off");
            break;
        }
        if (nh_text_count(t, count, "a number of columns", &n, err)) {
            status = -1;
            break;
        }
        if (strcasecmp(name, "species") == 0 && n == 1) out->species = column;
        if (strcasecmp(name, "pos") == 0 && n == 3) out->position = column;
        if ((strcasecmp(name, "Z") == 0 || strcasecmp(name, "numbers") == 0) && n == 1) out->number = column;
        column += n;
    }
    free(value);
    if (status == 0 && (out->position == SIZE_MAX || (out->species == SIZE_MAX && out->number == SIZE_MAX)))
        status = nh_text_fail(t, err, "Properties has no species or no pos");
    if (status == 0 && column > NH_TEXT_TOKENS)
        status = nh_text_fail(t, err, "more than %d columns", NH_TEXT_TOKENS);
    return status;
}

static int read_atoms(nh_text *t, const columns *c, size_t n_atom, double *position, int *number,
                      nh_error *err)
{
    char *token[NH_TEXT_TOKENS];
    const size_t element = c->species != SIZE_MAX ? c->species : c->number;
    const size_t wanted = (element > c->position + 2 ? element : c->position + 2) + 1;
    for (size_t i = 0; i < n_atom; i++) {
        if (nh_text_next(t, false, token) < wanted)
            return nh_text_fail(t, err, "atom %zu of %zu: %zu columns expected", i + 1, n_atom, wanted);
        for (size_t k = 0; k < 3; k++)
            if (nh_text_real(t, token[c->position + k], "a coordinate", &position[3 * i + k], err)) return -1;
        size_t z = 0;
        if (c->species == SIZE_MAX) {
            if (nh_text_count(t, token[element], "an atomic number", &z, err)) return -1;
        } else {
            z = (size_t)nh_atomic_number(token[element]);
        }
        if (nh_element_symbol((int)z) == NULL)
            return nh_text_fail(t, err, "\"%.40s\" is no chemical element", token[element]);
        number[i] = (int)z;
    }
    if (nh_text_next(t, false, token) != 0)
        return nh_text_fail(t, err, "more than one frame, or more atoms than announced");
    return 0;
}

/* pbc="F F F": what ABACUS does not have. */
static const char *periodicity(const char *line)
{
    char *value = value_of(line, "pbc");
    bool open = false;
    for (const char *at = value; at != NULL && *at != '\0'; at++)
        open = open || *at == 'F' || *at == 'f' || *at == '0';
    free(value);
    return open ? "pbc says that it is not periodic in all directions: taken as a crystal of this lattice, "
                  "as ABACUS does"
                : NULL;
}

int nh_xyz_parse(nh_text *t, const char *latname, nh_structure_file *out, nh_error *err)
{
    (void)latname;
    char *token[NH_TEXT_TOKENS];
    size_t n_atom;
    if (nh_text_next(t, false, token) != 1 || nh_text_count(t, token[0], "the number of atoms", &n_atom, err))
        return nh_text_fail(t, err, "the number of atoms expected");
    if (n_atom > strlen(t->at))
        return nh_text_fail(t, err, "%zu atoms do not fit into the rest of the file", n_atom);
    const char *second = nh_text_line(t);
    double lattice[9];
    columns c;
    if (second == NULL) return nh_text_fail(t, err, "the second line is missing");
    out->remark = periodicity(second);
    if (read_lattice(t, second, lattice, err) || read_columns(t, second, &c, err)) return -1;

    double *position = NH_ARRAY(double, 3 * n_atom);
    int *number = NH_ARRAY(int, n_atom);
    int status = position == NULL || number == NULL ? nh_fail_memory(err, "the atoms")
                                                    : read_atoms(t, &c, n_atom, position, number, err);
    int species[256] = {0}; /* index + 1 of each atomic number, in the order of appearance */
    int n_species = 0;
    for (size_t i = 0; i < n_atom && status == 0; i++)
        if (species[number[i]] == 0) species[number[i]] = ++n_species;
    if (status == 0) status = nh_structure_new(n_atom, (size_t)n_species, &out->structure, err);
    if (status == 0) {
        nh_structure *s = &out->structure;
        memcpy(s->lattice, lattice, sizeof lattice);
        memcpy(s->position, position, 3 * n_atom * sizeof *position);
        for (size_t i = 0; i < n_atom; i++) {
            s->species[i] = species[number[i]] - 1;
            s->atomic_number[s->species[i]] = number[i];
        }
    }
    free(position);
    free(number);
    return status;
}
