#include "crystal/basis_names.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A word "El:NAME" of a text. */
typedef struct entry {
    const char *element, *name;
    size_t n_element, n_name;
} entry;

/* The next one at or after *at, which moves behind it. */
static bool next(const char **at, entry *e)
{
    while (*at != NULL && **at != '\0') {
        const char *const word = *at + strspn(*at, " \t\n");
        const size_t n = strcspn(word, " \t\n");
        *at = word + n;
        const char *const colon = memchr(word, ':', n);
        if (colon == NULL || colon == word || colon + 1 == word + n) continue;
        *e = (entry){word, colon + 1, (size_t)(colon - word), n - (size_t)(colon - word) - 1};
        return true;
    }
    return false;
}

/* The entry of an element. */
static bool find(const char *text, const entry *of, entry *found)
{
    while (next(&text, found))
        if (found->n_element == of->n_element && memcmp(found->element, of->element, of->n_element) == 0)
            return true;
    return false;
}

char *nh_basis_names_differ(const char *a, const char *b)
{
    char *text = NULL;
    size_t size = 0;
    FILE *const f = open_memstream(&text, &size);
    if (f == NULL) return NULL;
    const char *before = "";
    entry x, y;
    for (const char *at = a; next(&at, &x);)
        if (find(b, &x, &y) && (x.n_name != y.n_name || memcmp(x.name, y.name, x.n_name) != 0)) {
            fprintf(f, "%s%.*s", before, (int)x.n_element, x.element);
            before = ", ";
        }
    if (fclose(f) == 0) return text;
    free(text);
    return NULL;
}

int nh_basis_names_join(char **known, const char *more, nh_error *err)
{
    if (more == NULL) return 0;
    char *text = NULL;
    size_t size = 0;
    FILE *const f = open_memstream(&text, &size);
    if (f == NULL) return nh_fail_memory(err, "names of a basis");
    const char *before = "";
    entry x, y;
    for (const char *at = *known; next(&at, &x);)
        if (!find(more, &x, &y)) {
            fprintf(f, "%s%.*s:%.*s", before, (int)x.n_element, x.element, (int)x.n_name, x.name);
            before = " ";
        }
    for (const char *at = more; next(&at, &x);) {
        entry first;
        const char *const begin = x.element;
        if (find(more, &x, &first) && first.element != begin) continue; /* a species that is listed twice */
        fprintf(f, "%s%.*s:%.*s", before, (int)x.n_element, x.element, (int)x.n_name, x.name);
        before = " ";
    }
    if (fclose(f) != 0) {
        free(text);
        return nh_fail_memory(err, "names of a basis");
    }
    free(*known);
    *known = text;
    return 0;
}
