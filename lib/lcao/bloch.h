/* bloch.h - lattice sums between cells R and the k-points of a mesh (docs/scf.md 2, 4): real matrices A(R) to A(k), and
 * density matrices D(k) back to P(R). One real matrix product for each two atoms, threads over them. */
#ifndef NH_LCAO_BLOCH_H
#define NH_LCAO_BLOCH_H

#include "base/complex.h"
#include "base/threads.h"
#include "crystal/pairs.h"

#include <stddef.h>

/* The Gamma-centred mesh (i/n1, j/n2, l/n3), of each pair k, -k one point with the weight of both; sum of weights 1. In
 * the order of the whole mesh, first index fastest. *k [count][3] and *weight [count] are allocated, the caller frees. */
int nh_half_mesh(const int n[3], size_t *count, double **k, double **weight, nh_error *err);

/* A mesh that most crystals are well served with: about 20 Å / |a_i| points along each axis. lattice: rows, Å. */
void nh_default_mesh(const double lattice[9], int n[3]);

typedef struct nh_bloch nh_bloch;

/* s, pairs, k [n_k][3] must outlive it. The pairs are complete: each with its reverse. */
int nh_bloch_new(const nh_structure *s, const nh_pairs *pairs, size_t n_k, const double *k,
                 nh_threads *threads, nh_bloch **out, nh_error *err);
void nh_bloch_free(nh_bloch *b); /* NULL is fine */
size_t nh_bloch_orbitals(const nh_bloch *b);

/* a(k)_ij = sum_R exp(2 pi i k.R) x_ij(R), element e of the real matrix at x[e*stride]: a [n_k][N][N] row-major.
 * symmetric: x_ij(R) = x_ji(-R), of which one half is read, and a(k) is exactly Hermitian. */
void nh_bloch_sum(const nh_bloch *b, const double *x, size_t stride, bool symmetric, double complex *a);

/* p_ij(R) = Re sum_k weight_k exp(-2 pi i k.R) d(k)_ij, d [n_k][N][N] Hermitian: p[n_elem], exactly p_ij(R) = p_ji(-R).
 * Where weights are those of nh_half_mesh, the real part is what the other half adds. */
void nh_bloch_back(const nh_bloch *b, const double *weight, const double complex *d, double *p);

#endif
