/* share.h - the k-points of a list shared among processes (base/ranks.h): each solves some, all get the energies, the first one
 * gets the vectors.
 *
 * The list is cut into chunks of neighbouring k-points, which the ranks take in turn. So the vectors of a chunk are all
 * that a rank keeps, and the first one can write them in order. */
#ifndef NH_CRYSTAL_SHARE_H
#define NH_CRYSTAL_SHARE_H

#include "base/ranks.h"
#include "crystal/spectrum.h"

typedef struct nh_share {
    const nh_ranks *ranks;
    size_t n_k, chunk;
} nh_share;

/* How n_k k-points are shared: whole batches (nh_fourier_batch: the sums depend on what is in a batch, by rounding, and so a
 * rank computes the bits that a single process computes). vector_bytes: of the vectors of one k-point (0: they are not passed
 * on); `threads` batches at a time. */
nh_share nh_share_of(const nh_ranks *ranks, size_t n_k, size_t batch, size_t vector_bytes, int threads);
/* Ranks that have k-points. */
size_t nh_share_busy(const nh_share *s);
/* K-points of this rank. */
size_t nh_share_count(const nh_share *s);

typedef struct nh_share_task {
    nh_spectrum *out; /* of all k-points */
    /* Solves k-points first..end-1 into their places of *out. kept: where their vectors go, vector_size numbers each;
     * NULL: they are not passed on, or this process is alone and takes them itself, in order. */
    int (*solve)(void *context, size_t first, size_t end, double *kept, nh_error *err);
    size_t vector_size; /* numbers; 0: no vectors */
    /* On rank 0 of several, in order. */
    int (*take)(void *context, size_t k, const double *vector, nh_error *err);
    void *context;
} nh_share_task;

/* Called by all ranks. A failure of one is one of all, with its message; nh_ranks_agree may stand in for this call on a rank
 * that has failed before. */
int nh_share_solve(const nh_share *s, const nh_share_task *task, nh_error *err);
/* All get what the ranks have at their k-points: rows of `bytes` bytes, one each k-point. */
void nh_share_rows(const nh_share *s, size_t bytes, void *rows);

#endif
