/* fourier.h - from H(R), S(R) to H(k), S(k) (formats/README.md, Conventions; Eq. 12 of the paper). */
#ifndef NH_CRYSTAL_FOURIER_H
#define NH_CRYSTAL_FOURIER_H

#include "base/threads.h"
#include "crystal/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nh_fourier nh_fourier;

/* Prepares the sums for one matrix of g and its overlap; g must outlive it. g's arrays are replaced by the
 * Hermitian part of the matrix and the symmetric part of S. *anti (may be NULL): the largest element of what
 * is dropped, |H - H^dagger|/2 in eV. Fails where the matrix, S or a reverse pair is missing and for an S
 * that is not symmetric within 1e-6. */
int nh_fourier_new(nh_graph *g, nh_matrix m, double *anti, nh_fourier **out, nh_error *err);
void nh_fourier_free(nh_fourier *f); /* NULL is fine */

/* Orbitals, or twice as many with spin: orbital-major, spin fastest. */
size_t nh_fourier_basis(const nh_fourier *f);

/* H(k)_ab = sum_R exp(2 pi i k.R) H_ab(R), the same for S(k) (times the identity of spin), for n k-points
 * k[n][3] (fractional): h, s [n][basis][basis][2], complete and exactly Hermitian; either may be NULL. Can be
 * called from several threads at once. */
int nh_fourier_at(const nh_fourier *f, size_t n, const double *k, double *h, double *s, nh_error *err);
/* The same for many k-points, shared among threads in batches of nh_fourier_batch(f) from the first one on.
 */
int nh_fourier_many(const nh_fourier *f, size_t n, const double *k, double *h, double *s, nh_threads *threads,
                    nh_error *err);
/* The same for one k-point as blocks of atom pairs, for sparse matrices: of each pair (src, dst) with src <= dst and
 * neighbours in any cells, rows of src's orbitals by columns of dst's, from element `at` on. The blocks src = dst are whole. */
typedef struct nh_fourier_block {
    size_t src, dst, at;
} nh_fourier_block;
/* Returns the number of blocks; block[] and n_elem (elements of all blocks) may be NULL. */
size_t nh_fourier_blocks(const nh_fourier *f, nh_fourier_block *block, size_t *n_elem);
/* First orbital of each atom and, behind them, the number of orbitals: [*n_atom+1], f's. */
const size_t *nh_fourier_orbitals(const nh_fourier *f, size_t *n_atom);
/* Which elements are not zero in some cell, [n_elem]: bits 0..3: spin blocks uu, ud, du, dd of H (bit 0 without spin); bit
 * 4: S. */
void nh_fourier_pattern(const nh_fourier *f, unsigned char *kept);
/* h [4, or 1 without spin][n_elem][2], s [n_elem][2]. On the CPU. */
int nh_fourier_at_blocks(const nh_fourier *f, const double *k, double *h, double *s, nh_error *err);
/* Number of k-points for one call at best: a few where the matrices are small, otherwise one. */
size_t nh_fourier_batch(const nh_fourier *f);

#ifdef __cplusplus
}
#endif

#endif
