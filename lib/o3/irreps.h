/* irreps.h - feature types: lists of `mul x l p` (docs/network.md 1.1). */
#ifndef NH_O3_IRREPS_H
#define NH_O3_IRREPS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum { NH_LMAX = 16 }; /* largest degree the library accepts */

typedef struct nh_irrep {
    size_t mul;
    int l;
    int p;          /* +1 even, -1 odd */
    size_t offset;  /* first number of the entry in an e3nn-order vector [mul][2l+1] */
    size_t channel; /* first channel */
} nh_irrep;

typedef struct nh_irreps {
    size_t count;    /* entries */
    nh_irrep *entry; /* owned */
    size_t channels; /* sum of mul */
    size_t dim;      /* sum of mul*(2l+1) */
} nh_irreps;

/* "32x0e+16x1o"; a missing multiplicity is 1; spaces are allowed round '+'. An empty string is the empty type. */
int nh_irreps_parse(const char *text, nh_irreps *out, nh_error *err);
/* Text as e3nn prints it. The caller frees; NULL when out of memory. */
char *nh_irreps_text(const nh_irreps *a);
void nh_irreps_free(nh_irreps *a);
int nh_irreps_copy(const nh_irreps *a, nh_irreps *out, nh_error *err);
bool nh_irreps_equal(const nh_irreps *a, const nh_irreps *b);

/* Builds a type from (mul, l, p) triples; the offsets are filled in. */
int nh_irreps_build(size_t count, const size_t *mul, const int *l, const int *p, nh_irreps *out,
                    nh_error *err);
/* a followed by b. */
int nh_irreps_concat(const nh_irreps *a, const nh_irreps *b, nh_irreps *out, nh_error *err);
/* Every multiplicity times n, in the same order. */
int nh_irreps_times(const nh_irreps *a, size_t n, nh_irreps *out, nh_error *err);
/* Adjacent entries with equal (l,p) become one. */
int nh_irreps_simplify(const nh_irreps *a, nh_irreps *out, nh_error *err);

typedef enum nh_irreps_order {
    NH_EVEN_FIRST, /* 0e 0o 1e 1o ... */
    NH_NATURAL     /* 0o 0e 1o 1e 2o 2e ... (the parity (-1)^l is not special: o before e in every degree) */
} nh_irreps_order;
/* Stable sort. `source` (count entries, may be NULL) receives for each sorted entry its index in a. */
int nh_irreps_sort(const nh_irreps *a, nh_irreps_order order, nh_irreps *out, size_t *source, nh_error *err);

/* Total multiplicity of (l,p). */
size_t nh_irreps_count(const nh_irreps *a, int l, int p);

#endif
