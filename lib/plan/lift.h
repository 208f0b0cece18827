/* lift.h - the product of the last block's edge features with themselves (network/OPTIONS.md 1.3) as tables,
 * independent of the precision. */
#ifndef NH_PLAN_LIFT_H
#define NH_PLAN_LIFT_H

#include "nextham/config.h"
#include "plan/layout.h"

typedef struct nh_lift_term {
    unsigned char a, b, c; /* components of f, o and the result */
    double value;          /* sqrt(2 l3+1) C[a][b][c] */
} nh_lift_term;

typedef struct nh_lift_product { /* a path */
    size_t first, second;        /* groups of f and o */
    size_t mul;                  /* channels multiplied, u with u */
    size_t weight;               /* first weight */
    size_t channel;              /* first channel in the output group */
    size_t term, n_term;         /* ordered by c */
} nh_lift_product;

typedef struct nh_lift {
    nh_layout in, out;     /* MID; the irreps of LIFT that are wanted */
    size_t n_weight;       /* of all paths, wanted or not */
    nh_lift_term *term;    /* owned */
    nh_lift_product *path; /* by output group; owned */
    size_t *first_path;    /* [out.count+1]; owned */
    size_t *entry;         /* [out.count] index of each group in the type LIFT; owned */
} nh_lift;

/* Tables for the irreps of LIFT that occur in `wanted` (NULL: all). */
int nh_lift_new(const nh_types *t, const nh_irreps *wanted, nh_lift *out, nh_error *err);
void nh_lift_free(nh_lift *p);

#endif
