/* eigen_placed.h - the eigenproblem at many k-points on a device, a batch at a time. Two batches can be in hand: queue the next
 * one before the last one is solved. One thread at a time. */
#ifndef NH_CRYSTAL_EIGEN_PLACED_H
#define NH_CRYSTAL_EIGEN_PLACED_H

#include "crystal/eigen.h"

struct nh_device;  /* device/device.h */
struct nh_fourier; /* crystal/fourier.h */

typedef struct nh_eigen_many nh_eigen_many;

/* For n_k matrices of n x n. A batch has as many as 64 MB hold, and at least two are made of them; fewer where the device has not the memory.
 * `device` must outlive it. */
int nh_eigen_many_new(const struct nh_device *device, size_t n, size_t n_k, double threshold, bool vectors,
                      nh_eigen_many **out, nh_error *err);
void nh_eigen_many_free(nh_eigen_many *w); /* NULL is fine */
size_t nh_eigen_many_batch(const nh_eigen_many *w);
/* Where to write the matrices of the next batch, as for nh_eigen_solve but complete: h, s [batch][n][n][2]. */
int nh_eigen_many_room(nh_eigen_many *w, double **h, double **s, nh_error *err);
/* Queues the next batch: H(k), S(k) of k[count][3] (to stay until they are solved) by sums that are placed on the same device, where the
 * matrices remain; f NULL: those in the room. */
int nh_eigen_many_queue(nh_eigen_many *w, size_t count, const struct nh_fourier *f, const double *k,
                        nh_error *err);
/* Solves the batch that was queued first, and has to be called before another one takes its place: nh_eigen_solve for each of its matrices,
 * with arrays [batch] of what that has one of (energy[batch][n], vector[batch][most][n][2]), and a line for each that fails in each[batch],
 * else empty. S counts as singular where its Cholesky factor shows it, later than by nh_eigen_solve's estimate of the condition. The threads
 * (may be NULL) work on the vectors. */
int nh_eigen_many_solve(nh_eigen_many *w, const nh_band_choice *choice, size_t most, size_t *rank,
                        double *energy, size_t *first, size_t *count, double *vector, nh_threads *threads,
                        nh_error *each, nh_error *err);

#endif
