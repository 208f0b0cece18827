/* eigen_internal.h - what the dense and the sparse eigenproblem share. */
#ifndef NH_CRYSTAL_EIGEN_INTERNAL_H
#define NH_CRYSTAL_EIGEN_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

/* Copies a vector [n][2], its complex conjugate if asked for, turned so that its largest element (the first of those
 * within 1e-9 of it) is real and positive. */
void nh_eigen_turn(size_t n, const double *from, bool conjugate, double *to);

#endif
