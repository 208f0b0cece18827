/* fourier.h - from H(R), S(R) to H(k), S(k) (formats/README.md, Conventions; Eq. 12 of the paper). */
#ifndef NH_CRYSTAL_FOURIER_H
#define NH_CRYSTAL_FOURIER_H

#include "base/threads.h"
#include "crystal/graph.h"

typedef struct nh_fourier nh_fourier;

/* Prepares the sums for one matrix of g and its overlap; g must outlive it. g's arrays are replaced by the
 * Hermitian part of the matrix and the symmetric part of S. *anti (may be NULL): the largest element of what
 * is dropped, |H - H^dagger|/2 in eV. Fails where the matrix, S or a reverse pair is missing and for an S
 * that is not symmetric within 1e-6. */
int nh_fourier_new(nh_graph *g, nh_matrix m, double *anti, nh_fourier **out, nh_error *err);
void nh_fourier_free(nh_fourier *f); /* NULL is fine */
/* Takes the sums on the device from now on (NULL: on the CPU, as before). The device must outlive f. One
 * thread at a time; called once. */
struct nh_device; /* device/device.h */
int nh_fourier_place(nh_fourier *f, const struct nh_device *device, nh_error *err);

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
/* Queues H(k), S(k) of n k-points for the eigenproblem `to` on the same device, where they stay; f is
 * placed. */
struct nhk_eigen; /* device/kernels.h */
int nh_fourier_queue(const nh_fourier *f, size_t n, const double *k, struct nhk_eigen *to, nh_error *err);
/* Number of k-points for one call at best: a few where the matrices are small, otherwise one. */
size_t nh_fourier_batch(const nh_fourier *f);

#endif
