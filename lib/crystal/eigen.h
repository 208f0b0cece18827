/* eigen.h - the generalised Hermitian eigenproblem H C = E S C at one k-point, dense. */
#ifndef NH_CRYSTAL_EIGEN_H
#define NH_CRYSTAL_EIGEN_H

#include "base/threads.h"

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

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

/* Below this smallest eigenvalue of S errors of H(k) of 1 meV can move bands by 100 eV: worth a warning. */
#define NH_SMALL_OVERLAP 1e-5

/* For matrices of n x n. threshold > 0: eigenvectors of S with eigenvalues below it are projected out;
 * otherwise an S that is not positive definite (or singular to working precision) is an error. Without
 * `vectors` large matrices take LAPACK's two-stage reduction, which is twice as fast; energies then differ
 * from those with vectors by rounding. */
int nh_eigen_new(size_t n, double threshold, bool vectors, nh_eigen **out, nh_error *err);
void nh_eigen_free(nh_eigen *w); /* NULL is fine */

/* Smallest and largest eigenvalue of the S last solved with; estimates within some percent, or exact with a
 * threshold. NaN where the smallest is certainly not below NH_SMALL_OVERLAP. */
void nh_eigen_overlap(const nh_eigen *w, double *smallest, double *largest);

/* Solves for h, s [n][n][2], row-major and Hermitian (only one triangle is looked at), both overwritten.
 * *rank: number of bands there are, n without projection. energy[n]: all of them, ascending, NaN from *rank
 * on. With `vectors`: vector[*count][n][2], rows are the eigenvectors C of bands *first .. *first+*count-1
 * (as chosen), C^dagger S C = 1; `vector` has room for `most` of them, more are an error. The phase of each
 * vector: its largest element is real and positive. */
int nh_eigen_solve(nh_eigen *w, double *h, double *s, const nh_band_choice *choice, size_t most, size_t *rank,
                   double *energy, size_t *first, size_t *count, double *vector, nh_error *err);

#ifdef __cplusplus
}
#endif

#endif
