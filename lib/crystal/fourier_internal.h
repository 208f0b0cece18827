/* fourier_internal.h - Bloch sums with other weights than phases: derivatives by k, the position operator. */
#ifndef NH_CRYSTAL_FOURIER_INTERNAL_H
#define NH_CRYSTAL_FOURIER_INTERNAL_H

#include "crystal/fourier.h"

/* The distinct cells R of the pairs, [*count][3]. Belongs to f. */
const int (*nh_fourier_cells(const nh_fourier *f, size_t *count))[3];

/* n sums: h = sum_R w(R) H(R) and s = sum_R w(R) B(R), [n][basis][basis][2], s times the identity of spin;
 * either may be NULL. weight[n][cells][2] with w(-R) = w(R)*, so that the sums are Hermitian: exp(ik.R), i
 * R_x exp(ik.R), ... B: blocks[n_elem], real, B_ij(R) = B_ji(-R)^T; NULL: the overlap. On the CPU, and from
 * several threads at once. */
int nh_fourier_weighted(const nh_fourier *f, size_t n, const double *weight, const double *blocks, double *h,
                        double *s, nh_error *err);

#endif
