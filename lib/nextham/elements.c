#include "nextham/elements.h"

#include "base/memory.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool in_table(int z)
{
    return z > 0 && z < NH_ELEMENTS;
}

/* Which elements the atoms are; species may be listed twice, or have no atom. */
static void find(const nh_structure *s, bool found[NH_ELEMENTS])
{
    memset(found, 0, NH_ELEMENTS * sizeof *found);
    for (size_t i = 0; i < s->n_atom; i++) {
        const int z = s->atomic_number[s->species[i]];
        if (in_table(z)) found[z] = true;
    }
}

void nh_elements_add(nh_elements *e, const nh_structure *s)
{
    bool found[NH_ELEMENTS];
    find(s, found);
    e->known = true;
    for (size_t z = 0; z < NH_ELEMENTS; z++)
        e->crystals[z] += found[z];
}

void nh_elements_join(nh_elements *e, const nh_elements *other)
{
    e->known = e->known || other->known;
    for (size_t z = 0; z < NH_ELEMENTS; z++)
        if (other->crystals[z] > e->crystals[z]) e->crystals[z] = other->crystals[z];
}

size_t nh_elements_count(const nh_elements *e)
{
    size_t n = 0;
    for (size_t z = 0; z < NH_ELEMENTS; z++)
        n += e->crystals[z] > 0;
    return n;
}

char *nh_elements_text(const nh_elements *e)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    if (!f) return NULL;
    const char *before = "";
    for (int z = 1; z < NH_ELEMENTS; z++) {
        const char *symbol = nh_element_symbol(z);
        if (e->crystals[z] == 0 || !symbol) continue;
        fprintf(f, "%s%s %zu", before, symbol, e->crystals[z]);
        before = " ";
    }
    if (fclose(f) == 0) return text;
    free(text);
    return NULL;
}

/* The word at *at, cut off there; NULL at the end. */
static char *next_word(char **at)
{
    char *word;
    while ((word = strsep(at, " \t\n")) && *word == '\0')
        continue;
    return word;
}

int nh_elements_parse(const char *text, const char *where, nh_elements *out, nh_error *err)
{
    *out = (nh_elements){.known = true};
    char *copy = nh_strdup(text), *rest = copy, *symbol;
    if (!copy) return nh_fail_memory(err, where);
    int status = 0;
    while (!status && (symbol = next_word(&rest))) {
        const char *number = next_word(&rest);
        const int z = nh_atomic_number(symbol);
        const char *const exact = in_table(z) ? nh_element_symbol(z) : NULL;
        if (!exact || strcmp(exact, symbol) != 0) {
            status = nh_fail(err, "%s: '%.20s' is no element", where, symbol);
        } else if (out->crystals[z] > 0) {
            status = nh_fail(err, "%s: %s stands there twice", where, symbol);
        } else {
            char *end = NULL;
            errno = 0;
            const unsigned long n = number && isdigit((unsigned char)*number) ? strtoul(number, &end, 10) : 0;
            if (!end || *end != '\0' || errno || n == 0)
                status = nh_fail(err, "%s: %s: a number of crystals expected", where, symbol);
            out->crystals[z] = n;
        }
    }
    free(copy);
    return status;
}

char *nh_elements_unseen(const nh_elements *e, const nh_structure *s)
{
    bool found[NH_ELEMENTS];
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    if (!f) return NULL;
    find(s, found);
    const char *before = "";
    for (int z = 1; z < NH_ELEMENTS; z++) {
        const char *symbol = nh_element_symbol(z);
        if (!found[z] || e->crystals[z] > 0) continue;
        fprintf(f, "%s%s", before, symbol ? symbol : "?");
        before = ", ";
    }
    if (fclose(f) == 0) return text;
    free(text);
    return NULL;
}
