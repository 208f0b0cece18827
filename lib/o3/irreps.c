#include "o3/irreps.h"

#include "base/memory.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Fills in offsets and sums; `entry` becomes the property of *out, or is freed on failure. */
static int finish(size_t count, nh_irrep *entry, nh_irreps *out, nh_error *err)
{
    size_t channels = 0, dim = 0;
    for (size_t i = 0; i < count; i++) {
        nh_irrep *const e = &entry[i];
        const char parity = e->p > 0 ? 'e' : 'o';
        if (e->l < 0 || e->l > NH_LMAX) {
            nh_fail(err, "entry %zu: degree %d is not within 0..%d", i, e->l, NH_LMAX);
            goto fail;
        }
        if (e->p != 1 && e->p != -1) {
            nh_fail(err, "entry %zu: parity %d is neither 1 nor -1", i, e->p);
            goto fail;
        }
        if (e->mul == 0) {
            nh_fail(err, "entry %zu: multiplicity 0 of %d%c", i, e->l, parity);
            goto fail;
        }
        e->offset = dim;
        e->channel = channels;
        size_t size;
        if (!nh_size_mul(e->mul, 2 * (size_t)e->l + 1, &size) || !nh_size_add(dim, size, &dim) ||
            !nh_size_add(channels, e->mul, &channels) || dim > PTRDIFF_MAX / sizeof(double)) {
            nh_fail(err, "entry %zu: multiplicity %zu of %d%c is too large", i, e->mul, e->l, parity);
            goto fail;
        }
    }
    *out = (nh_irreps){.count = count, .entry = entry, .channels = channels, .dim = dim};
    return 0;
fail:
    free(entry);
    return -1;
}

static const char *skip_space(const char *s)
{
    while (isspace((unsigned char)*s))
        s++;
    return s;
}

/* Decimal digits without a sign; false where there are none or the number does not fit. */
static bool parse_number(const char **s, size_t *out)
{
    if (!isdigit((unsigned char)**s)) return false;
    size_t n = 0;
    while (isdigit((unsigned char)**s)) {
        if (!nh_size_mul(n, 10, &n) || !nh_size_add(n, (size_t)(**s - '0'), &n)) return false;
        (*s)++;
    }
    *out = n;
    return true;
}

/* One entry "16x1o" or "1o" at *s. Returns NULL, or what is wrong. */
static const char *parse_entry(const char **s, nh_irrep *e)
{
    size_t n;
    if (!parse_number(s, &n)) return "a multiplicity or a degree expected";
    e->mul = 1;
    if (**s == 'x') {
        e->mul = n;
        (*s)++;
        if (!parse_number(s, &n)) return "a degree expected after 'x'";
    }
    if (n > NH_LMAX) return "degree too large";
    e->l = (int)n;
    if (**s != 'e' && **s != 'o') return "parity 'e' or 'o' expected after the degree";
    e->p = **s == 'e' ? 1 : -1;
    (*s)++;
    return NULL;
}

int nh_irreps_parse(const char *text, nh_irreps *out, nh_error *err)
{
    *out = (nh_irreps){0};
    const char *s = skip_space(text);
    size_t count = *s == '\0' ? 0 : 1;
    for (const char *c = s; *c != '\0'; c++)
        if (*c == '+') count++;
    nh_irrep *const entry = NH_ARRAY(nh_irrep, count);
    if (entry == NULL) return nh_fail_memory(err, "irreps");
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            if (*s != '+') {
                nh_fail(err, "irreps '%.200s': '+' expected before '%.40s'", text, s);
                goto fail;
            }
            s = skip_space(s + 1);
        }
        const char *const begin = s;
        const char *const wrong = parse_entry(&s, &entry[i]);
        if (wrong != NULL) {
            nh_fail(err, "irreps '%.200s': entry '%.*s': %s", text,
                    (int)(strcspn(begin, "+") < 40 ? strcspn(begin, "+") : 40), begin, wrong);
            goto fail;
        }
        s = skip_space(s);
    }
    if (*s != '\0') {
        nh_fail(err, "irreps '%.200s': '+' expected before '%.40s'", text, s);
        goto fail;
    }
    if (finish(count, entry, out, err) == 0) return 0;
    return nh_fail_at(err, "irreps '%.200s'", text);
fail:
    free(entry);
    return -1;
}

char *nh_irreps_text(const nh_irreps *a)
{
    enum { WIDTH = 32 }; /* a 64 bit number, 'x', two digits, parity, '+' */
    size_t size;
    if (!nh_size_mul(a->count, WIDTH, &size)) return NULL;
    char *const text = malloc(size + 1);
    if (text == NULL) return NULL;
    char *s = text;
    *s = '\0';
    for (size_t i = 0; i < a->count; i++) {
        const nh_irrep *const e = &a->entry[i];
        s += snprintf(s, WIDTH, "%s%zux%d%c", i > 0 ? "+" : "", e->mul, e->l, e->p > 0 ? 'e' : 'o');
    }
    return text;
}

void nh_irreps_free(nh_irreps *a)
{
    if (a == NULL) return;
    free(a->entry);
    *a = (nh_irreps){0};
}

int nh_irreps_concat(const nh_irreps *a, const nh_irreps *b, nh_irreps *out, nh_error *err)
{
    const nh_irreps first = *a, second = *b;
    *out = (nh_irreps){0};
    nh_irrep *const entry = NH_ARRAY(nh_irrep, first.count + second.count);
    if (entry == NULL) return nh_fail_memory(err, "irreps");
    if (first.count > 0) memcpy(entry, first.entry, first.count * sizeof *entry);
    if (second.count > 0) memcpy(entry + first.count, second.entry, second.count * sizeof *entry);
    return finish(first.count + second.count, entry, out, err);
}

int nh_irreps_copy(const nh_irreps *a, nh_irreps *out, nh_error *err)
{
    const nh_irreps none = {0};
    return nh_irreps_concat(a, &none, out, err);
}

bool nh_irreps_equal(const nh_irreps *a, const nh_irreps *b)
{
    if (a->count != b->count) return false;
    for (size_t i = 0; i < a->count; i++) {
        const nh_irrep *const x = &a->entry[i], *const y = &b->entry[i];
        if (x->mul != y->mul || x->l != y->l || x->p != y->p) return false;
    }
    return true;
}

int nh_irreps_build(size_t count, const size_t *mul, const int *l, const int *p, nh_irreps *out,
                    nh_error *err)
{
    *out = (nh_irreps){0};
    nh_irrep *const entry = NH_ARRAY(nh_irrep, count);
    if (entry == NULL) return nh_fail_memory(err, "irreps");
    for (size_t i = 0; i < count; i++)
        entry[i] = (nh_irrep){.mul = mul[i], .l = l[i], .p = p[i]};
    return finish(count, entry, out, err) == 0 ? 0 : nh_fail_at(err, "irreps");
}

int nh_irreps_times(const nh_irreps *a, size_t n, nh_irreps *out, nh_error *err)
{
    *out = (nh_irreps){0};
    nh_irrep *const entry = NH_ARRAY(nh_irrep, a->count);
    if (entry == NULL) return nh_fail_memory(err, "irreps");
    for (size_t i = 0; i < a->count; i++) {
        entry[i] = a->entry[i];
        if (!nh_size_mul(a->entry[i].mul, n, &entry[i].mul)) {
            free(entry);
            return nh_fail(err, "irreps: entry %zu: %zu times multiplicity %zu is too large", i, n,
                           a->entry[i].mul);
        }
    }
    return finish(a->count, entry, out, err);
}

int nh_irreps_simplify(const nh_irreps *a, nh_irreps *out, nh_error *err)
{
    *out = (nh_irreps){0};
    nh_irrep *const entry = NH_ARRAY(nh_irrep, a->count);
    if (entry == NULL) return nh_fail_memory(err, "irreps");
    size_t count = 0;
    for (size_t i = 0; i < a->count; i++) {
        const nh_irrep *const e = &a->entry[i];
        if (count > 0 && entry[count - 1].l == e->l && entry[count - 1].p == e->p)
            entry[count - 1].mul += e->mul; /* fits: a's sums were checked */
        else
            entry[count++] = *e;
    }
    return finish(count, entry, out, err);
}

static int rank(const nh_irrep *e, nh_irreps_order order)
{
    const bool second = order == NH_EVEN_FIRST ? e->p < 0 : e->p > 0;
    return 2 * e->l + (second ? 1 : 0);
}

int nh_irreps_sort(const nh_irreps *a, nh_irreps_order order, nh_irreps *out, size_t *source, nh_error *err)
{
    *out = (nh_irreps){0};
    nh_irrep *const entry = NH_ARRAY(nh_irrep, a->count);
    if (entry == NULL) return nh_fail_memory(err, "irreps");
    size_t n = 0;
    for (int r = 0; r < 2 * (NH_LMAX + 1); r++) /* counting sort: stable, and there are few ranks */
        for (size_t i = 0; i < a->count; i++)
            if (rank(&a->entry[i], order) == r) {
                if (source != NULL) source[n] = i;
                entry[n++] = a->entry[i];
            }
    return finish(a->count, entry, out, err);
}

size_t nh_irreps_count(const nh_irreps *a, int l, int p)
{
    size_t n = 0;
    for (size_t i = 0; i < a->count; i++)
        if (a->entry[i].l == l && a->entry[i].p == p) n += a->entry[i].mul;
    return n;
}
