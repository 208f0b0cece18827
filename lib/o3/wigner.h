/* wigner.h - real Wigner 3j tensors and rotation matrices (docs/network.md 1.3 and 4.6). */
#ifndef NH_O3_WIGNER_H
#define NH_O3_WIGNER_H

#include "base/error.h"

#include <stddef.h>

/* C^{l1 l2 l3}[2l1+1][2l2+1][2l3+1], Frobenius norm 1, real basis m = -l..l (docs/network.md 1.3). Zero where
 * the triangle rule fails. */
int nh_wigner3j(int l1, int l2, int l3, double *out, nh_error *err);

/* Its non-zero elements (|value| > 1e-14), in row-major order. */
typedef struct nh_coupling {
    int l1, l2, l3;
    size_t count;
    unsigned char *i1, *i2, *i3; /* owned */
    double *value;               /* owned */
} nh_coupling;
int nh_coupling_new(int l1, int l2, int l3, nh_coupling *out, nh_error *err);
void nh_coupling_free(nh_coupling *c);

/* D_l[2l+1][2l+1] with Y_l(Q v) = D_l Y_l(v) for a rotation Q[3][3] (det +1, row-major). Recursion D_l =
 * (2l+1) C^{1 l-1 l} (D_1 x D_{l-1}) C^{1 l-1 l}. For an improper Q = -Q' pass Q' and multiply by (-1)^l. */
int nh_wigner_d(int l, const double q[9], double *out, nh_error *err);
/* Rotation by `angle` (rad) about the unit axis n; the SU(2) matrix u = cos(t/2) - i sin(t/2) n.sigma as
 * u[2][2][2] (re, im). */
void nh_rotation(const double n[3], double angle, double q[9]);
void nh_rotation_su2(const double n[3], double angle, double u[8]);

#endif
