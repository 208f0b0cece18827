/* radial.h - sine transforms of radial functions, at many lengths q at once. */
#ifndef NH_LCAO_RADIAL_H
#define NH_LCAO_RADIAL_H

#include "base/error.h"
#include "base/threads.h"

#include <stddef.h>

/* Weights of the composite Simpson rule in i, times rab: weight[n], n odd (an even n leaves the last point
 * out). */
void nh_simpson(size_t n, const double *rab, double *weight);

/* out[k][n_q] = sum_i g_k(i) sin(q r_i)/q, g[n_function][n] with the quadrature's weight in it; q = 0: sum
 * g_k r_i. On a uniform mesh sine and cosine go from point to point by a rotation, begun anew every few
 * points. */
int nh_sine_transforms(size_t n, const double *r, size_t n_function, const double *g, size_t n_q,
                       const double *q, double *out, nh_threads *threads, nh_error *err);

/* The same at q = first, first + step, ..., for lengths that are too many: a table, in which six points are
 * interpolated. r_(n-1) * step must be small against 1: the error relative to the largest value is of the
 * order of (r step)^6 / 200. */
typedef struct nh_sine_table {
    double step;
    size_t count, n_function;
    double *value; /* [n_function][count], the first at q = -2 step: the transforms are even in q; owned */
} nh_sine_table;
int nh_sine_table_new(size_t n, const double *r, size_t n_function, const double *g, double q_max,
                      nh_threads *threads, nh_sine_table *out, nh_error *err);
void nh_sine_table_free(nh_sine_table *t);
double nh_sine_table_at(const nh_sine_table *t, size_t function, double q);

#endif
