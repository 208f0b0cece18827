/* gaunt.h - integrals of three real harmonics, and the angular momentum in their basis (docs/h0.md 3, 5). House order
 * and sign: m = -l..l, no Condon-Shortley sign; harmonics orthonormal on the sphere. */
#ifndef NH_LCAO_GAUNT_H
#define NH_LCAO_GAUNT_H

#include "base/error.h"

#include <stddef.h>

typedef struct nh_gaunt_term {
    int m1, m2, m; /* places in their shells, from 0 */
    double value;  /* int Y_l1,m1 Y_l2,m2 Y_L,m */
} nh_gaunt_term;

typedef struct nh_gaunt {
    int lmax1, lmax2;
    size_t *start;       /* the terms of (l1, l2, L), one list after another; owned */
    nh_gaunt_term *term; /* those that are not zero; owned */
} nh_gaunt;

/* All l1 <= lmax1, l2 <= lmax2; lmax1 + lmax2 <= 15. */
int nh_gaunt_new(int lmax1, int lmax2, nh_gaunt *out, nh_error *err);
void nh_gaunt_free(nh_gaunt *g); /* what it owns */
/* The terms of (l1, l2, L = |l1-l2| + 2 step), step = 0..min(l1, l2). */
size_t nh_gaunt_terms(const nh_gaunt *g, int l1, int l2, int step, const nh_gaunt_term **term);

/* L_x, L_y, L_z between real harmonics of degree l are i times these real antisymmetric matrices,
 * a[3][2l+1][2l+1]. */
void nh_angular_momentum(int l, double *a);

#endif
