/* eigen.h - the generalised Hermitian eigenproblem H C = E S C at one k-point, dense. */
#ifndef NH_CRYSTAL_EIGEN_H
#define NH_CRYSTAL_EIGEN_H

#include "base/threads.h"

#include <stdbool.h>
#include <stddef.h>

/* Which of the bands, counted from 0 and ascending in energy. */
typedef enum nh_band_kind {
    NH_BANDS_ALL,
    NH_BANDS_INDEX,  /* first .. first+count-1 */
    NH_BANDS_WINDOW, /* lo <= E <= hi, eV */
    NH_BANDS_NEAREST /* the `count` bands nearest to `centre`, eV */
} nh_band_kind;

typedef struct nh_band_choice {
    nh_band_kind kind;
    size_t first, count;
    double lo, hi, centre;
} nh_band_choice;

/* Chooses among n ascending energies: the first one and how many. */
void nh_bands_choose(const nh_band_choice *choice, size_t n, const double *energy, size_t *first,
                     size_t *count);

typedef struct nh_eigen nh_eigen; /* work space of one thread */

/* For matrices of n x n. threshold > 0: eigenvectors of S with eigenvalues below it are projected out;
 * otherwise an S that is not positive definite (or singular to working precision) is an error. */
int nh_eigen_new(size_t n, double threshold, bool vectors, nh_eigen **out, nh_error *err);
void nh_eigen_free(nh_eigen *w); /* NULL is fine */

/* Solves for h, s [n][n][2], row-major and Hermitian (only one triangle is looked at), both overwritten.
 * *rank: number of bands there are, n without projection. energy[n]: all of them, ascending, NaN from *rank
 * on. With `vectors`: vector[*count][n][2], rows are the eigenvectors C of bands *first .. *first+*count-1
 * (as chosen), C^dagger S C = 1; `vector` has room for `most` of them, more are an error. The phase of each
 * vector: its largest element is real and positive. */
int nh_eigen_solve(nh_eigen *w, double *h, double *s, const nh_band_choice *choice, size_t most, size_t *rank,
                   double *energy, size_t *first, size_t *count, double *vector, nh_error *err);

/* ---- many k-points on a device (device/kernels.h), a batch at a time. Two batches can be in progress: queue
 * the next one before the last one is solved. One thread at a time. */

typedef struct nh_eigen_many nh_eigen_many;
struct nh_device;  /* device/device.h */
struct nh_fourier; /* crystal/fourier.h */

/* For n_k matrices of n x n. A batch holds 64 MB of matrices, less where the device lacks the memory; there
 * are at least two batches. `device` must outlive it. */
int nh_eigen_many_new(const struct nh_device *device, size_t n, size_t n_k, double threshold, bool vectors, nh_eigen_many **out,
                      nh_error *err);
void nh_eigen_many_free(nh_eigen_many *w); /* NULL is fine */
size_t nh_eigen_many_batch(const nh_eigen_many *w);
/* Where to write the matrices of the next batch, as for nh_eigen_solve but complete: h, s
 * [batch][n][n][2]. */
int nh_eigen_many_room(nh_eigen_many *w, double **h, double **s, nh_error *err);
/* Queues the next batch: H(k), S(k) of k[count][3], by sums on the same device, where the matrices stay. k
 * must stay valid until they are solved. f NULL: the matrices in the room. */
int nh_eigen_many_queue(nh_eigen_many *w, size_t count, const struct nh_fourier *f, const double *k, nh_error *err);
/* Solves the batch that was queued first; call it before another batch takes its place. It does what
 * nh_eigen_solve does, for each matrix of the batch; its results are arrays [batch] (energy[batch][n],
 * vector[batch][most][n][2]). each[batch]: a line for each matrix that fails, else empty. S counts as
 * singular where its Cholesky factor shows it, later than by nh_eigen_solve's estimate of the condition. The
 * threads (may be NULL) work on the vectors. */
int nh_eigen_many_solve(nh_eigen_many *w, const nh_band_choice *choice, size_t most, size_t *rank, double *energy, size_t *first,
                        size_t *count, double *vector, nh_threads *threads, nh_error *each, nh_error *err);

#endif
