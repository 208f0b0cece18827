/* mixing.h - the next input of a fixed-point iteration: Pulay's combination of the last ones, with Kerker's damping of
 * long waves (docs/scf.md 6). Functions are given by their coefficients in G, those of half the vectors. */
#ifndef NH_LCAO_MIXING_H
#define NH_LCAO_MIXING_H

#include "base/complex.h"
#include "base/error.h"

#include <stddef.h>

typedef struct nh_mixing nh_mixing;

typedef struct nh_mixing_task {
    size_t n;         /* coefficients */
    const double *g2; /* [n] |G|^2 */
    const double
        *weight; /* [n] vectors that a coefficient stands for: 1, or 2 for G and -G; 0: counts for nothing */
    size_t history; /* iterations that are remembered, at least 1 */
    double beta,
        kerker; /* share of the residual; g0 of K(G) = max(G^2/(G^2 + g0), 0.1). K(0) = 0: charge is kept */
} nh_mixing_task;

/* The arrays of the task must outlive it. */
int nh_mixing_new(const nh_mixing_task *task, nh_mixing **out, nh_error *err);
void nh_mixing_free(nh_mixing *m); /* NULL is fine */
/* From input and output of an iteration the input of the next one, in place of `input`. */
int nh_mixing_step(nh_mixing *m, double complex *input, const double complex *output, nh_error *err);
void nh_mixing_forget(nh_mixing *m); /* what was remembered */

#endif
