/* sweep.h - the states at each k-point of a list, given to a function by the thread that solved them. For
 * sums over the Brillouin zone of what needs eigenvectors. */
#ifndef NH_PROPERTIES_SWEEP_H
#define NH_PROPERTIES_SWEEP_H

#include "base/progress.h"
#include "base/ranks.h"
#include "crystal/bands.h"
#include "crystal/fourier.h"

typedef struct nh_sweep {
    const char *name; /* of the matrices, for messages */
    const nh_fourier *fourier;
    size_t n_k;
    const double *k; /* [n_k][3] fractional */
    size_t n_sum;    /* numbers that the k-points add up; may be 0 */
    /* The states of k-point `index`: energy[basis] ascending, vector[basis][basis][2] with the eigenvectors
     * as rows, C^dagger S C = 1. Adds to sum[n_sum]. Called from several threads, thread = 0 ..
     * nh_sweep_threads - 1. */
    int (*take)(void *context, size_t index, int thread, const double *energy, const double *vector,
                double *sum, nh_error *err);
    void *context;
    int threads;           /* at most */
    const nh_ranks *ranks; /* each has a part of the k-points, and all get the sums; NULL: alone */
    nh_progress *progress; /* k-points of all ranks; may be NULL */
} nh_sweep;

/* Threads that call `take`: 1 where the matrices are large, and LAPACK has the threads. */
int nh_sweep_threads(const nh_sweep *s);
/* total[n_sum] (overwritten): the same bits for any number of threads but for large matrices, for ranks to
 * rounding. Errors name the k-point; one that only some ranks have is for the caller to tell the others
 * (nh_ranks_abort). */
int nh_sweep_run(const nh_sweep *s, double *total, nh_error *err);
/* Energies alone, of all bands; the k-points are k's, and of *s name, fourier, threads, ranks and progress
 * are used. Without Fermi level, electrons, names. */
int nh_sweep_energies(const nh_sweep *s, const nh_kpoints *k, nh_bands *out, nh_error *err);

#endif
