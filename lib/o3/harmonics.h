/* harmonics.h - real spherical harmonics, "component" normalisation (docs/network.md 1.2). */
#ifndef NH_O3_HARMONICS_H
#define NH_O3_HARMONICS_H

#include <stddef.h>

/* Y_lm of n displacement vectors v[n][3] (any length; the zero vector gives Y_00 = 1 and 0 elsewhere), l = 0..lmax,
 * components m = -l..l at index l*l + l + m: out[n][(lmax+1)^2]. sum_m Y_lm^2 = 2l+1. Cartesian recursion, no trigonometry. */
void nh_spherical_harmonics(int lmax, size_t n, const double *v, double *out);
void nh_spherical_harmonics_f(int lmax, size_t n, const double *v, float *out);

#endif
