#include "nextham/embedding_internal.h"

#include "base/memory.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int nh_selection_new(const nh_embedding *e, nh_embedding_part part, const bool *used, nh_selection *out,
                     nh_error *err)
{
    *out = (nh_selection){.part = part};
    const size_t all = nh_embedding_pairs(e);
    const size_t halves = part == NH_PART_ALL ? 2 : 1;
    size_t count = 0, *mul = NULL;
    int *l = NULL, *p = NULL;
    for (size_t i = 0; i < all; i++) {
        if (used != NULL && !used[i]) continue;
        const nh_we_pair *const t = nh_we_pair_of(e, i);
        count += halves * (part == NH_PART_SCALAR ? t->n_scalar_entry : t->n_entry);
        out->n_pair++;
    }
    out->pair = NH_ARRAY(size_t, out->n_pair);
    out->offset = NH_ARRAY(size_t, out->n_pair);
    out->entry = NH_ARRAY(size_t, count);
    mul = NH_ARRAY(size_t, count);
    l = NH_ARRAY(int, count);
    p = NH_ARRAY(int, count);
    if (out->pair == NULL || out->offset == NULL || out->entry == NULL || mul == NULL || l == NULL ||
        p == NULL) {
        nh_fail_memory(err, "selection of shell pairs");
        goto fail;
    }
    size_t k = 0, numbers = 0;
    for (size_t half = 0; half < halves; half++) {
        size_t n_pair = 0;
        for (size_t i = 0; i < all; i++) {
            if (used != NULL && !used[i]) continue;
            const nh_we_pair *const t = nh_we_pair_of(e, i);
            const int parity = (e->l[i / e->n_shell] + e->l[i % e->n_shell]) % 2 == 0 ? 1 : -1;
            const size_t n_entry = part == NH_PART_SCALAR ? t->n_scalar_entry : t->n_entry;
            if (half == 0) {
                out->pair[n_pair] = i;
                out->offset[n_pair++] = numbers;
                numbers += nh_we_numbers(part, t);
            }
            for (size_t j = 0; j < n_entry; j++, k++) {
                out->entry[k] = half * e->first_entry[all] + e->first_entry[i] + j;
                mul[k] = 1;
                l[k] = t->entry_l[j];
                p[k] = parity;
            }
        }
    }
    if (part == NH_PART_ALL) out->imaginary = numbers;
    if (nh_irreps_build(count, mul, l, p, &out->irreps, err) != 0) goto fail;
    free(mul);
    free(l);
    free(p);
    return 0;
fail:
    free(mul);
    free(l);
    free(p);
    nh_selection_free(out);
    return -1;
}

void nh_selection_free(nh_selection *s)
{
    if (s == NULL) return;
    free(s->pair);
    free(s->offset);
    free(s->entry);
    nh_irreps_free(&s->irreps);
    *s = (nh_selection){0};
}

char *nh_selection_text(const nh_embedding *e, const nh_selection *s)
{
    enum { WIDTH = 12 }; /* "1023,1023 " */
    char *const text = malloc(s->n_pair * WIDTH + 1);
    if (text == NULL) return NULL;
    char *at = text;
    *at = '\0';
    for (size_t i = 0; i < s->n_pair; i++)
        at += snprintf(at, WIDTH, "%s%zu,%zu", i > 0 ? " " : "", s->pair[i] / e->n_shell,
                       s->pair[i] % e->n_shell);
    return text;
}

/* "3,4": both below `limit`. Moves *s behind it. */
static bool scan_pair(const char **s, size_t limit, size_t *i, size_t *j)
{
    size_t *const value[2] = {i, j};
    for (int k = 0; k < 2; k++) {
        if (k == 1 && *(*s)++ != ',') return false;
        if (!isdigit((unsigned char)**s)) return false;
        *value[k] = 0;
        while (isdigit((unsigned char)**s)) {
            *value[k] = 10 * *value[k] + (size_t)(*(*s)++ - '0');
            if (*value[k] >= limit) return false;
        }
    }
    return **s == '\0' || isspace((unsigned char)**s);
}

int nh_selection_parse(const nh_embedding *e, const char *shell_pairs, const char *irreps, nh_selection *out,
                       nh_error *err)
{
    *out = (nh_selection){0};
    nh_irreps written = {0}, a = {0}, b = {0};
    bool *const used = NH_ARRAY(bool, nh_embedding_pairs(e));
    if (used == NULL) return nh_fail_memory(err, "selection of shell pairs");
    const char *s = shell_pairs;
    size_t last = SIZE_MAX;
    for (;;) {
        while (isspace((unsigned char)*s))
            s++;
        if (*s == '\0') break;
        const char *const word = s;
        size_t i = 0, j = 0;
        if (!scan_pair(&s, e->n_shell, &i, &j)) {
            nh_fail(err, "shell_pairs: '%.*s' is no pair of the %zu padded shells",
                    (int)(strcspn(word, " ") % 40), word, e->n_shell);
            goto fail;
        }
        const size_t pair = i * e->n_shell + j;
        if (last != SIZE_MAX && pair <= last) {
            nh_fail(err, "shell_pairs: %zu,%zu is out of order", i, j);
            goto fail;
        }
        used[pair] = true;
        last = pair;
    }
    if (nh_selection_new(e, NH_PART_ALL, used, out, err) != 0) goto fail;
    /* A writer that merges neighbours of one type describes the same numbers. */
    if (nh_irreps_parse(irreps, &written, err) != 0) {
        nh_fail_at(err, "attribute irreps");
        goto fail;
    }
    if (nh_irreps_simplify(&written, &a, err) != 0 || nh_irreps_simplify(&out->irreps, &b, err) != 0)
        goto fail;
    if (!nh_irreps_equal(&a, &b)) {
        nh_fail(err,
                "attribute irreps: %zu entries of %zu numbers, but shell_pairs and the padded basis make %zu "
                "of %zu",
                written.count, written.dim, out->irreps.count, out->irreps.dim);
        goto fail;
    }
    nh_irreps_free(&a);
    nh_irreps_free(&b);
    nh_irreps_free(&written);
    free(used);
    return 0;
fail:
    nh_irreps_free(&a);
    nh_irreps_free(&b);
    nh_irreps_free(&written);
    nh_selection_free(out);
    free(used);
    return -1;
}

void nh_selection_time_even(const nh_embedding *e, const nh_selection *s, bool *even)
{
    for (size_t i = 0; i < s->n_pair; i++) {
        const size_t n = nh_we_pair_of(e, s->pair[i])->n;
        bool *const real = even + s->offset[i], *const imaginary = real + s->imaginary;
        for (size_t k = 0; k < 4 * n; k++) {
            real[k] = k < n;
            imaginary[k] = k >= n;
        }
    }
}
