#include "crystal/eigen.h"

#include "base/memory.h"
#include "device/device.h"

#include <cblas.h>
#include <complex.h>
#define lapack_complex_double double complex
#define lapack_complex_float float complex
#include <lapacke.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The steps of LAPACK's zhegvd (Cholesky factor of S, reduction to a standard and to a tridiagonal problem,
 * its eigenvalues by QL without square roots) taken one by one, so that all eigenvalues are known before
 * vectors are computed for the few that are asked for, and so that they are the same bits whatever is asked
 * for.
 *
 * LAPACK sees a row-major Hermitian matrix as its complex conjugate; its eigenvectors are conjugated on the
 * way out. */
struct nh_eigen {
    size_t n;
    double threshold;
    bool vectors;
    double *diagonal, *off, *d,
        *e; /* [n] tridiagonal matrix and a copy to destroy; `d` holds the diagonal of S before that */
    double complex *tau, *z, *basis; /* [n], [n][n]; `basis` only with threshold */
    lapack_int *support;
    const nh_device *device;
    nh_gpu *gpu; /* NULL: on the CPU */
    nhk_eigen *placed;
};

void nh_bands_choose(const nh_band_choice *choice, size_t n, const double *energy, size_t *first,
                     size_t *count)
{
    size_t lo = 0, hi = n; /* hi is one behind the last */
    switch (choice->kind) {
    case NH_BANDS_ALL:
        break;
    case NH_BANDS_INDEX:
        lo = choice->first < n ? choice->first : n;
        hi = choice->count < n - lo ? lo + choice->count : n;
        break;
    case NH_BANDS_WINDOW:
        while (lo < n && energy[lo] < choice->lo)
            lo++;
        while (hi > lo && energy[hi - 1] > choice->hi)
            hi--;
        break;
    case NH_BANDS_NEAREST:
        while (hi - lo > choice->count) {
            if (choice->centre - energy[lo] > energy[hi - 1] - choice->centre) {
                lo++;
            } else {
                hi--;
            }
        }
        break;
    }
    *first = lo;
    *count = hi - lo;
}

int nh_eigen_new(size_t n, double threshold, bool vectors, nh_eigen **out, nh_error *err)
{
    *out = NULL;
    if (n == 0 || n > INT_MAX / 2) return nh_fail(err, "a matrix of %zu x %zu", n, n);
    nh_eigen *w = NH_ARRAY(nh_eigen, 1);
    if (w == NULL) return nh_fail_memory(err, "the eigenproblem");
    *w = (nh_eigen){.n = n, .threshold = threshold, .vectors = vectors};
    w->diagonal = NH_ARRAY(double, n);
    w->off = NH_ARRAY(double, n);
    w->d = NH_ARRAY(double, n);
    w->e = NH_ARRAY(double, n);
    w->tau = NH_ARRAY(double complex, n);
    w->support = NH_ARRAY(lapack_int, 2 * n);
    bool good = w->diagonal && w->off && w->d && w->e && w->tau && w->support;
    if (vectors || threshold > 0) {
        w->z = nh_calloc_aligned(n, n * sizeof *w->z);
        good = good && w->z != NULL;
    }
    if (threshold > 0) {
        w->basis = nh_calloc_aligned(n, n * sizeof *w->basis);
        good = good && w->basis != NULL;
    }
    if (!good) {
        nh_eigen_free(w);
        return nh_fail_memory(err, "the eigenproblem");
    }
    *out = w;
    return 0;
}

void nh_eigen_free(nh_eigen *w)
{
    if (w == NULL) return;
    if (w->gpu != NULL) {
        w->device->call->eigen_free(w->placed);
        w->device->call->close(w->gpu);
    }
    free(w->diagonal);
    free(w->off);
    free(w->d);
    free(w->e);
    free(w->tau);
    free(w->z);
    free(w->basis);
    free(w->support);
    free(w);
}

static int lapack_failed(const char *routine, lapack_int info, nh_error *err)
{
    if (info == LAPACK_WORK_MEMORY_ERROR || info == LAPACK_TRANSPOSE_MEMORY_ERROR)
        return nh_fail_memory(err, routine);
    return nh_fail(err, "%s of LAPACK failed (info %d)%s", routine, (int)info,
                   info < 0 ? ": a number that is not finite" : "");
}

/* S after a failed or doubtful Cholesky factorisation: the upper triangle is as it was, the diagonal is in
 * w->d. */
static int not_positive(nh_eigen *w, double complex *s, nh_error *err)
{
    const lapack_int n = (lapack_int)w->n;
    for (size_t i = 0; i < w->n; i++)
        s[i * w->n + i] = w->d[i];
    lapack_int info = LAPACKE_zheevd(LAPACK_COL_MAJOR, 'N', 'U', n, s, n, w->e);
    if (info != 0) return lapack_failed("zheevd", info, err);
    return nh_fail(err,
                   "the overlap matrix is not positive definite: smallest eigenvalue %.3e, largest %.3e "
                   "(--s-threshold projects out)",
                   w->e[0], w->e[w->n - 1]);
}

/* H <- L^-1 H L^-dagger with S = L L^dagger, in place. */
static int reduce_cholesky(nh_eigen *w, double complex *h, double complex *s, nh_error *err)
{
    const lapack_int n = (lapack_int)w->n;
    for (size_t i = 0; i < w->n; i++)
        w->d[i] = creal(s[i * w->n + i]);
    double norm = LAPACKE_zlanhe(LAPACK_COL_MAJOR, '1', 'L', n, s, n), condition = 0;
    lapack_int info = LAPACKE_zpotrf(LAPACK_COL_MAJOR, 'L', n, s, n);
    if (info < 0) return lapack_failed("zpotrf", info, err);
    if (info > 0) return not_positive(w, s, err);
    info = LAPACKE_zpocon(LAPACK_COL_MAJOR, 'L', n, s, n, norm, &condition);
    if (info != 0) return lapack_failed("zpocon", info, err);
    if (!(condition > DBL_EPSILON)) return not_positive(w, s, err);
    info = LAPACKE_zhegst(LAPACK_COL_MAJOR, 1, 'L', n, h, n, s, n);
    return info != 0 ? lapack_failed("zhegst", info, err) : 0;
}

/* H <- X^dagger H X with X = U s^-1/2 of the eigenvectors of S above the threshold; X stays in w->basis,
 * *rank columns. */
static int reduce_projected(nh_eigen *w, double complex *h, double complex *s, size_t *rank, nh_error *err)
{
    const lapack_int n = (lapack_int)w->n;
    lapack_int info = LAPACKE_zheevd(LAPACK_COL_MAJOR, 'V', 'L', n, s, n, w->d);
    if (info != 0) return lapack_failed("zheevd", info, err);
    size_t drop = 0;
    while (drop < w->n && !(w->d[drop] >= w->threshold))
        drop++;
    *rank = w->n - drop;
    if (*rank == 0)
        return nh_fail(err,
                       "no eigenvalue of the overlap matrix reaches the threshold %g: the largest is %.3e",
                       w->threshold, w->d[w->n - 1]);
    for (size_t c = 0; c < *rank; c++) {
        const double factor = 1 / sqrt(w->d[drop + c]);
        for (size_t r = 0; r < w->n; r++)
            w->basis[c * w->n + r] = s[(drop + c) * w->n + r] * factor;
    }
    const double complex one = 1, zero = 0;
    const int m = (int)*rank;
    cblas_zhemm(CblasColMajor, CblasLeft, CblasLower, n, m, &one, h, n, w->basis, n, &zero, w->z, n);
    cblas_zgemm(CblasColMajor, CblasConjTrans, CblasNoTrans, m, m, n, &one, w->basis, n, w->z, n, &zero, h,
                m);
    return 0;
}

/* Eigenvectors first .. first+count-1 of the tridiagonal matrix into the columns of w->z (leading dimension
 * m) from column *at. */
static int tridiagonal_vectors(nh_eigen *w, size_t m, size_t first, size_t count, size_t *at, nh_error *err)
{
    const lapack_int size = (lapack_int)m;
    lapack_int info = 1;
    *at = 0;
    if (count < m) {
        lapack_int found = 0, accurate = 1;
        memcpy(w->d, w->diagonal, m * sizeof *w->d);
        memcpy(w->e, w->off, m * sizeof *w->e);
        double *energy = NH_ARRAY(double, m);
        if (energy == NULL) return nh_fail_memory(err, "eigenvectors");
        info = LAPACKE_zstemr(LAPACK_COL_MAJOR, 'V', 'I', size, w->d, w->e, 0, 0, (lapack_int)first + 1,
                              (lapack_int)(first + count), &found, energy, w->z, size, (lapack_int)count,
                              w->support, &accurate);
        free(energy);
        if (info == 0 && (size_t)found != count) info = 1;
        if (info < 0) return lapack_failed("zstemr", info, err);
    }
    if (info == 0) return 0;
    /* All vectors, by divide and conquer. */
    memcpy(w->d, w->diagonal, m * sizeof *w->d);
    memcpy(w->e, w->off, m * sizeof *w->e);
    info = LAPACKE_zstedc(LAPACK_COL_MAJOR, 'I', size, w->d, w->e, w->z, size);
    if (info != 0) return lapack_failed("zstedc", info, err);
    *at = first;
    return 0;
}

/* Copies a column, conjugated and turned so that its largest element (the first of those within 1e-9 of it)
 * is real and positive. */
static void store_vector(size_t n, const double complex *from, double complex *to)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++)
        if (cabs(from[i]) > largest * (1 + 1e-9)) largest = cabs(from[i]);
    double complex turn = 1;
    for (size_t i = 0; i < n; i++)
        if (cabs(from[i]) >= largest * (1 - 1e-9)) {
            turn = largest > 0 ? from[i] / cabs(from[i]) : 1;
            break;
        }
    for (size_t i = 0; i < n; i++)
        to[i] = conj(from[i]) * turn;
}

int nh_eigen_place(nh_eigen *w, const nh_device *device, nh_error *err)
{
    const nh_gpu_options o = {.index = device != NULL ? device->index : 0};
    if (device == NULL) return 0;
    if (w->threshold > 0)
        return nh_fail(err, "--s-threshold: no kernels for it yet (use --device cpu)");
    w->device = device;
    if (device->call->open(&o, &w->gpu, err) != 0) return -1;
    return device->call->eigen_new(w->gpu, w->n, w->vectors, &w->placed, err);
}

/* nh_eigen_solve on the device; the bands are chosen afterwards. */
static int solve_placed(nh_eigen *w, double *h, double *s, const nh_band_choice *choice, size_t most, double *energy,
                        size_t *first, size_t *count, double *vector, nh_error *err)
{
    const size_t n = w->n;
    double complex *b = (double complex *)s;
    int info = 0;
    for (size_t i = 0; i < n; i++)
        w->d[i] = creal(b[i * n + i]);
    if (w->device->call->eigen_solve(w->placed, h, s, energy, &info, err) != 0) return -1;
    if (info > (int)n) return not_positive(w, b, err);
    if (info != 0) return lapack_failed("zhegvd", info, err);
    nh_bands_choose(choice, n, energy, first, count);
    if (vector == NULL || !w->vectors || *count == 0) return 0;
    if (*count > most) return nh_fail(err, "%zu bands chosen, room for %zu", *count, most);
    for (size_t i = 0; i < *count; i++)
        store_vector(n, (const double complex *)h + (*first + i) * n, (double complex *)vector + i * n);
    return 0;
}

int nh_eigen_solve(nh_eigen *w, double *h, double *s, const nh_band_choice *choice, size_t most, size_t *rank,
                   double *energy, size_t *first, size_t *count, double *vector, nh_error *err)
{
    const size_t n = w->n;
    double complex *a = (double complex *)h, *b = (double complex *)s;
    *rank = n;
    if (w->gpu != NULL) return solve_placed(w, h, s, choice, most, energy, first, count, vector, err);
    if (w->threshold > 0 ? reduce_projected(w, a, b, rank, err) : reduce_cholesky(w, a, b, err)) return -1;
    const size_t m = *rank;
    const lapack_int size = (lapack_int)m;
    lapack_int info = LAPACKE_zhetrd(LAPACK_COL_MAJOR, 'L', size, a, size, w->diagonal, w->off, w->tau);
    if (info != 0) return lapack_failed("zhetrd", info, err);
    memcpy(energy, w->diagonal, m * sizeof *energy);
    memcpy(w->e, w->off, m * sizeof *w->e);
    info = LAPACKE_dsterf(size, energy, w->e);
    if (info != 0) return lapack_failed("dsterf", info, err);
    for (size_t i = m; i < n; i++)
        energy[i] = NAN;
    nh_bands_choose(choice, m, energy, first, count);
    if (vector == NULL || !w->vectors || *count == 0) return 0;
    if (*count > most) return nh_fail(err, "%zu bands chosen, room for %zu", *count, most);

    size_t at;
    if (tridiagonal_vectors(w, m, *first, *count, &at, err) != 0) return -1;
    double complex *z = w->z + at * m;
    const lapack_int columns = (lapack_int)*count;
    info = LAPACKE_zunmtr(LAPACK_COL_MAJOR, 'L', 'L', 'N', size, columns, a, size, w->tau, z, size);
    if (info != 0) return lapack_failed("zunmtr", info, err);
    const double complex one = 1, zero = 0;
    if (w->threshold > 0) { /* s is free by now and large enough */
        cblas_zgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, (int)n, columns, size, &one, w->basis, (int)n,
                    z, size, &zero, b, (int)n);
        z = b;
    } else {
        cblas_ztrsm(CblasColMajor, CblasLeft, CblasLower, CblasConjTrans, CblasNonUnit, (int)n, columns, &one,
                    b, (int)n, z, (int)n);
    }
    for (size_t i = 0; i < *count; i++)
        store_vector(n, z + i * n, (double complex *)vector + i * n);
    return 0;
}
