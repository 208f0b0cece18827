/* factor.h - LDL^T of a sparse H(k) - sigma S(k), by MUMPS; its inertia counts the states below sigma.
 *
 * Sylvester: with S positive definite, A = H - sigma S has as many negative eigenvalues as there are E < sigma
 * with H C = E S C; and L D L^T, with pivots of one and of two rows, as many as D. MUMPS says how many, of real
 * symmetric matrices; the complex A is given in its real form (matrix.h), which has twice as many. */
#ifndef NH_SPARSE_FACTOR_H
#define NH_SPARSE_FACTOR_H

#include "sparse/matrix.h"

typedef struct nh_factor nh_factor;

/* What the analysis of a pattern says beforehand. */
typedef struct nh_factor_facts {
    size_t size, elements; /* rows, and elements of the upper triangle, of the real matrix */
    double entries;        /* of its factor */
    double operations;     /* of the factorisation */
    double bytes;          /* memory that it needs, the matrix included */
} nh_factor_facts;

/* Is the library there? Without MUMPS nh_factor_new fails. */
bool nh_factor_available(void);
/* Memory that the machine can give now, bytes. */
double nh_memory_available(void);

/* Order of elimination and memory for A of `a`, as real symmetric matrix or as real form of a complex one. `a`
 * must outlive it. */
int nh_factor_new(const nh_sparse *a, nh_sparse_kind kind, bool real, nh_factor **out, nh_error *err);
void nh_factor_free(nh_factor *f); /* NULL is fine */
nh_factor_facts nh_factor_expect(const nh_factor *f);

/* Factorises A at sigma. *below: states with E < sigma. *singular: sigma is on a state, to working precision; then
 * there is nothing to solve with, and no count. */
int nh_factor_at(nh_factor *f, double sigma, size_t *below, bool *singular, nh_error *err);
/* x <- A^-1 x for p vectors [p][basis][2], whose imaginary parts must be 0 where A is real. */
int nh_factor_solve(nh_factor *f, size_t p, double *x, nh_error *err);

#endif
