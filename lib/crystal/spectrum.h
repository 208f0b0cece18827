/* spectrum.h - H(k) C = E S(k) C at all k-points of a list. */
#ifndef NH_CRYSTAL_SPECTRUM_H
#define NH_CRYSTAL_SPECTRUM_H

#include "base/progress.h"
#include "crystal/eigen.h"
#include "crystal/fourier.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nh_spectrum {
    size_t n_k, basis;
    double *energy; /* [n_k][basis] eV, ascending, NaN from rank[k] on; owned, as the others */
    size_t *first, *count,
        *rank; /* [n_k] the chosen bands first..first+count-1; how many there are (nh_eigen_solve) */
    double *s_smallest, *s_largest; /* [n_k] of S(k) (nh_eigen_overlap); NaN from a device */
} nh_spectrum;

typedef struct nh_spectrum_task {
    const char *name; /* of the matrices, for messages */
    size_t n_k, basis;
    const double *k; /* [n_k][3] fractional */
    size_t first,
        end; /* only the k-points first..end-1; end 0: all. What is below still counts from the first of all */
    /* Where the matrices come from: Fourier sums, on the same device where they are placed; or NULL: `read`
     * gives those of k-points first..first+n-1, [n][basis][basis][2] each. */
    const nh_fourier *fourier;
    int (*read)(void *context, size_t first, size_t n, double *h, double *s, nh_error *err);
    double threshold; /* of nh_eigen_new */
    nh_band_choice choice;
    /* most > 0: with vectors, of up to that many chosen bands; `take` (may be NULL) receives those of each
     * k-point, in order: vector[most][basis][2], NaN behind the last. */
    size_t most;
    bool as_with_vectors; /* without vectors, but to the last bit the energies that come with them */
    int (*take)(void *context, size_t k, const double *vector, nh_error *err);
    /* Called for the chosen bands of each k-point by the thread that solved it (numbers below `threads`; several at a time), with
     * S(k) [basis][basis][2] and vector[count][basis][2]; may be NULL, needs most > 0. */
    int (*measure)(void *context, size_t k, int thread, size_t count, const double *s, const double *vector,
                   nh_error *err);
    void *context;
    int threads;
    const struct nh_device *device; /* NULL: the CPU */
    nh_progress *progress;          /* k-points; may be NULL */
} nh_spectrum_task;

int nh_spectrum_new(size_t n_k, size_t basis, nh_spectrum *out, nh_error *err);
void nh_spectrum_free(nh_spectrum *s);
/* Small matrices: the k-points are shared among the threads. Large ones, or fewer than threads: one after
 * another with BLAS's threads. On a device: many at once. Errors name the k-point. */
int nh_spectrum_solve(const nh_spectrum_task *task, nh_spectrum *out, nh_error *err);

#ifdef __cplusplus
}
#endif

#endif
