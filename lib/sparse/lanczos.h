/* lanczos.h - the states of H C = E S C nearest to sigma: block Lanczos for (H - sigma S)^-1 S.
 *
 * In the scalar product x^dagger S y the operator O = (H - sigma S)^-1 S is Hermitian, with the eigenvalues
 * theta = 1/(E - sigma): those nearest to sigma are its largest, far from the others, and come out first. The Krylov
 * space of a block of vectors is built with all its vectors orthogonal, and restarted with the best Ritz vectors
 * (thick restart: K. Wu, H. Simon, SIAM J. Matrix Anal. Appl. 22, 602 (2000)). A block, because crystals have
 * degenerate states, of which a single vector sees one, and because a factor is read from memory once for all
 * vectors of a block. */
#ifndef NH_SPARSE_LANCZOS_H
#define NH_SPARSE_LANCZOS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* Vectors are [p][n][2]. */
typedef struct nh_lanczos_operator {
    size_t n;
    bool real; /* all matrices are: start with real vectors, which stay so */
    void *context;
    int (*solve)(void *context, size_t p, double *x, nh_error *err); /* x <- (H - sigma S)^-1 x */
    int (*overlap)(void *context, size_t p, const double *x, double *sx, nh_error *err); /* sx <- S x */
} nh_lanczos_operator;

typedef struct nh_lanczos nh_lanczos;

/* For up to `most` states, at most n; blocks of `block` vectors. */
int nh_lanczos_new(const nh_lanczos_operator *o, size_t most, size_t block, nh_lanczos **out, nh_error *err);
void nh_lanczos_free(nh_lanczos *l);
/* Bytes that it takes. */
double nh_lanczos_bytes(size_t n, size_t most, size_t block);

/* Goes on until the `wanted` states of largest |theta| have converged, to 1e-12 of theta; `balanced`: half of them from
 * each side of sigma, as far as there are. */
int nh_lanczos_run(nh_lanczos *l, size_t wanted, bool balanced, nh_error *err);
/* Keeps what has converged and goes on, at the next run, from new random vectors: for states that the space so far
 * is orthogonal to. */
int nh_lanczos_refresh(nh_lanczos *l, nh_error *err);

/* What has converged, by falling |theta| (balanced: one below, one above, ...): its number, theta[], vectors C and S C, [count][n][2], C^dagger S C = 1. They
 * belong to `l`, until the next run. */
size_t nh_lanczos_found(const nh_lanczos *l, const double **theta, const double **vector,
                        const double **s_vector);

#endif
