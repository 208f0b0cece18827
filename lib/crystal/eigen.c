#include "crystal/eigen.h"

#include "base/complex.h"
#include "base/memory.h"
#include "crystal/eigen_internal.h"
#include "crystal/eigen_placed.h"
#include "crystal/fourier.h"
#include "crystal/fourier_placed.h"
#include "device/device.h"

#include <cblas.h>
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
 * vectors are computed for the few that are asked for, and so that they are the same bits whichever vectors
 * are asked for.
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
    double smallest, largest; /* eigenvalues of S (nh_eigen_overlap) */
};

/* From here on zhetrd_2stage pays: CPU seconds of one thread at n = 512, 768, 1216 with OpenBLAS 0.3.21 are 0.041,
 * 0.119, 0.44, where zhetrd takes 0.049, 0.171, 1.10. It has no vectors in LAPACK 3.11. */
enum { TWO_STAGE = 500 };

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

/* Says what is wrong with S (its upper triangle is looked at, and destroyed); room[n]. */
static int not_positive(size_t n, double complex *s, double *room, nh_error *err)
{
    const lapack_int size = (lapack_int)n;
    lapack_int info = LAPACKE_zheevd(LAPACK_COL_MAJOR, 'N', 'U', size, s, size, room);
    if (info != 0) return lapack_failed("zheevd", info, err);
    return nh_fail(err,
                   "the overlap matrix is not positive definite: smallest eigenvalue %.3e, largest %.3e "
                   "(--s-threshold projects out)",
                   room[0], room[n - 1]);
}

/* The same for S after a failed or doubtful Cholesky factorisation: the upper triangle is as it was, the diagonal is in
 * w->d. */
static int not_factored(nh_eigen *w, double complex *s, nh_error *err)
{
    for (size_t i = 0; i < w->n; i++)
        s[i * w->n + i] = w->d[i];
    return not_positive(w->n, s, w->e, err);
}

static int nothing_left(double threshold, double largest, nh_error *err)
{
    return nh_fail(err, "no eigenvalue of the overlap matrix reaches the threshold %g: the largest is %.3e",
                   threshold, largest);
}

void nh_eigen_overlap(const nh_eigen *w, double *smallest, double *largest)
{
    *smallest = w->smallest;
    *largest = w->largest;
}

/* Extreme eigenvalues of S = L L^dagger by power iterations with its inverse and itself. */
static void estimate_overlap(nh_eigen *w, const double complex *l)
{
    enum { STEPS = 30 };
    const int n = (int)w->n;
    double *const found[2] = {&w->smallest, &w->largest};
    for (int large = 0; large < 2; large++) {
        double complex *x = w->tau; /* free until the reduction */
        double norm = 1;
        for (size_t i = 0; i < w->n; i++)
            x[i] = CMPLX(1 + 0.5 * sin(1.7 * (double)i), 0.5 * cos(2.3 * (double)i));
        for (int step = 0; step <= STEPS; step++) {
            norm = cblas_dznrm2(n, x, 1);
            cblas_zdscal(n, 1 / norm, x, 1);
            if (step == STEPS) break;
            if (large) {
                cblas_ztrmv(CblasColMajor, CblasLower, CblasConjTrans, CblasNonUnit, n, l, n, x, 1);
                cblas_ztrmv(CblasColMajor, CblasLower, CblasNoTrans, CblasNonUnit, n, l, n, x, 1);
            } else {
                cblas_ztrsv(CblasColMajor, CblasLower, CblasNoTrans, CblasNonUnit, n, l, n, x, 1);
                cblas_ztrsv(CblasColMajor, CblasLower, CblasConjTrans, CblasNonUnit, n, l, n, x, 1);
            }
        }
        *found[large] = large ? norm : 1 / norm;
    }
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
    if (info > 0) return not_factored(w, s, err);
    info = LAPACKE_zpocon(LAPACK_COL_MAJOR, 'L', n, s, n, norm, &condition);
    if (info != 0) return lapack_failed("zpocon", info, err);
    if (!(condition > DBL_EPSILON)) return not_factored(w, s, err);
    /* condition * norm = 1/||S^-1||_1 is at most the smallest eigenvalue; zpocon's estimate of it can be too large, rarely
     * by more than 3. */
    if (condition * norm < 3 * NH_SMALL_OVERLAP) estimate_overlap(w, s);
    if (!(w->smallest < NH_SMALL_OVERLAP)) w->smallest = w->largest = NAN;
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
    w->smallest = w->d[0];
    w->largest = w->d[w->n - 1];
    if (*rank == 0) return nothing_left(w->threshold, w->d[w->n - 1], err);
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
    /* Of two states zstemr's special case gives the one of smaller modulus as the first, whichever is lower. */
    if (count < m && m > 2) {
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

void nh_eigen_turn(size_t n, const double *vector, bool conjugate, double *turned)
{
    const double complex *from = (const double complex *)vector;
    double complex *to = (double complex *)turned;
    double largest = 0;
    for (size_t i = 0; i < n; i++)
        if (cabs(from[i]) > largest * (1 + 1e-9)) largest = cabs(from[i]);
    double complex turn = 1;
    for (size_t i = 0; i < n; i++)
        if (cabs(from[i]) >= largest * (1 - 1e-9)) {
            turn = largest > 0 ? conj(from[i]) / cabs(from[i]) : 1;
            break;
        }
    for (size_t i = 0; i < n; i++) {
        const double complex v = from[i] * turn;
        to[i] = conjugate ? conj(v) : v;
    }
}

int nh_eigen_solve(nh_eigen *w, double *h, double *s, const nh_band_choice *choice, size_t most, size_t *rank,
                   double *energy, size_t *first, size_t *count, double *vector, nh_error *err)
{
    const size_t n = w->n;
    double complex *a = (double complex *)h, *b = (double complex *)s;
    *rank = n;
    w->smallest = w->largest = NAN;
    if (w->threshold > 0 ? reduce_projected(w, a, b, rank, err) : reduce_cholesky(w, a, b, err)) return -1;
    const size_t m = *rank;
    const lapack_int size = (lapack_int)m;
    lapack_int info;
    if (!w->vectors && m >= TWO_STAGE) {
        info = LAPACKE_zheev_2stage(LAPACK_COL_MAJOR, 'N', 'L', size, a, size, energy);
        if (info != 0) return lapack_failed("zheev_2stage", info, err);
    } else {
        info = LAPACKE_zhetrd(LAPACK_COL_MAJOR, 'L', size, a, size, w->diagonal, w->off, w->tau);
        if (info != 0) return lapack_failed("zhetrd", info, err);
        memcpy(energy, w->diagonal, m * sizeof *energy);
        memcpy(w->e, w->off, m * sizeof *w->e);
        info = LAPACKE_dsterf(size, energy, w->e);
        if (info != 0) return lapack_failed("dsterf", info, err);
    }
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
        nh_eigen_turn(n, (const double *)(z + i * n), true, vector + 2 * i * n);
    return 0;
}

/* ---- many k-points on a device */

enum {
    BATCH_BYTES =
        64
        << 20 /* of the matrices H of a batch: enough of small ones to fill a device, few enough to have two */
};

struct nh_eigen_many {
    const nh_device *device;
    nh_gpu *gpu; /* of its own, so that it has a stream beside that of the Fourier sums */
    nhk_eigen *placed;
    size_t n, batch, next, oldest;
    double threshold;
    struct {
        const nh_fourier *f; /* NULL: the room */
        const double *k;
    } source[NHK_IN_HAND];
    double complex *s; /* [n][n], for messages; NULL until one is needed */
};

int nh_eigen_many_new(const nh_device *device, size_t n, size_t n_k, double threshold, bool vectors,
                      nh_eigen_many **out, nh_error *err)
{
    *out = NULL;
    if (n == 0 || n > INT_MAX / 2) return nh_fail(err, "a matrix of %zu x %zu", n, n);
    nh_eigen_many *w = NH_ARRAY(nh_eigen_many, 1);
    if (w == NULL) return nh_fail_memory(err, "the eigenproblem");
    const size_t fit = BATCH_BYTES / (n * n * sizeof(double complex)), half = (n_k + 1) / 2;
    *w = (nh_eigen_many){.device = device, .n = n, .batch = fit < half ? fit : half, .threshold = threshold};
    if (w->batch == 0) w->batch = 1;
    const nh_gpu_options o = {.index = device->index};
    int status = device->call->open(&o, &w->gpu, err);
    for (; status == 0; w->batch /= 2) {
        const nhk_eigen_options e = {.n = n, .batch = w->batch, .threshold = threshold, .vectors = vectors};
        status = device->call->eigen->make(w->gpu, &e, &w->placed, err);
        if (status == 0) break;
        if (w->batch > 1) status = 0;
    }
    if (status == 0) {
        *out = w;
        return 0;
    }
    nh_eigen_many_free(w);
    return -1;
}

void nh_eigen_many_free(nh_eigen_many *w)
{
    if (w == NULL) return;
    if (w->placed != NULL) w->device->call->eigen->drop(w->placed);
    if (w->gpu != NULL) w->device->call->close(w->gpu);
    free(w->s);
    free(w);
}

size_t nh_eigen_many_batch(const nh_eigen_many *w)
{
    return w->batch;
}

int nh_eigen_many_room(nh_eigen_many *w, double **h, double **s, nh_error *err)
{
    return w->device->call->eigen->room(w->placed, h, s, err);
}

int nh_eigen_many_queue(nh_eigen_many *w, size_t count, const nh_fourier *f, const double *k, nh_error *err)
{
    if (f != NULL ? nh_fourier_queue(f, count, k, w->placed, err)
                  : w->device->call->eigen->queue(w->placed, count, NULL, NULL, err))
        return -1;
    w->source[w->next % NHK_IN_HAND].f = f;
    w->source[w->next++ % NHK_IN_HAND].k = k;
    return 0;
}

/* S of a matrix of the batch in `slot` once more, for a message. */
static int bad_overlap(nh_eigen_many *w, size_t slot, size_t index, const nhk_eigen_result *r, nh_error *err)
{
    const nh_fourier *f = w->source[slot].f;
    const size_t size = w->n * w->n;
    double *room = NH_ARRAY(double, w->n);
    if (w->s == NULL) w->s = nh_calloc(size, sizeof *w->s);
    int status = room == NULL || w->s == NULL ? nh_fail_memory(err, "the eigenproblem") : 0;
    if (status == 0 && f != NULL)
        status = nh_fourier_at(f, 1, w->source[slot].k + 3 * index, NULL, (double *)w->s, err);
    else if (status == 0)
        memcpy(w->s, r->s + 2 * index * size, size * sizeof *w->s);
    if (status == 0) status = not_positive(w->n, w->s, room, err);
    free(room);
    return status;
}

/* From one matrix of a solved batch: rank, energies, the choice of bands. */
static int take_energies(nh_eigen_many *w, size_t slot, size_t i, const nhk_eigen_result *r,
                         const nh_band_choice *choice, size_t *rank, double *energy, size_t *first,
                         size_t *count, nh_error *err)
{
    const size_t n = w->n;
    const double *overlap = r->overlap + i * n;
    size_t drop = 0;
    *first = *count = 0;
    if (w->threshold > 0) {
        if (r->factor[i] != 0) return lapack_failed("zheevd", r->factor[i], err);
        while (drop < n && !(overlap[drop] >= w->threshold))
            drop++;
        if (drop == n) return nothing_left(w->threshold, overlap[n - 1], err);
    } else if (r->factor[i] > 0) {
        return bad_overlap(w, slot, i, r, err);
    }
    if (r->info[i] != 0 || r->factor[i] != 0)
        return lapack_failed("zheevd", r->info[i] != 0 ? r->info[i] : r->factor[i], err);
    *rank = n - drop;
    memcpy(energy, r->energy + i * n, *rank * sizeof *energy);
    for (size_t b = *rank; b < n; b++)
        energy[b] = NAN;
    for (size_t b = 0; b < *rank; b++)
        if (!isfinite(energy[b])) return nh_fail(err, "eigenvalues that are not finite");
    nh_bands_choose(choice, *rank, energy, first, count);
    return 0;
}

typedef struct store {
    size_t n, most;
    const size_t *count;
    const double *from;
    double *to;
} store;

static void store_batch(void *context, size_t index, int thread)
{
    const store *v = context;
    const size_t row = v->n * v->most;
    (void)thread;
    for (size_t b = 0; b < v->count[index]; b++)
        nh_eigen_turn(v->n, v->from + 2 * (index * row + b * v->n), true,
                      v->to + 2 * (index * row + b * v->n));
}

int nh_eigen_many_solve(nh_eigen_many *w, const nh_band_choice *choice, size_t most, size_t *rank,
                        double *energy, size_t *first, size_t *count, double *vector, nh_threads *threads,
                        nh_error *each, nh_error *err)
{
    nhk_eigen_result r;
    if (w->device->call->eigen->solve(w->placed, &r, err) != 0) return -1;
    const size_t slot = w->oldest++ % NHK_IN_HAND;
    for (size_t i = 0; i < r.count; i++) {
        each[i].text[0] = '\0';
        rank[i] = w->n;
        if (take_energies(w, slot, i, &r, choice, &rank[i], energy + i * w->n, &first[i], &count[i],
                          &each[i]) != 0)
            continue;
        if (vector != NULL && count[i] > most) {
            nh_fail(&each[i], "%zu bands chosen, room for %zu", count[i], most);
            count[i] = 0;
        }
    }
    if (vector == NULL) return 0;
    store v = {.n = w->n, .most = most, .count = count, .to = vector};
    if (w->device->call->eigen->vectors(w->placed, r.count, first, count, most, &v.from, err) != 0) return -1;
    nh_parallel_for(threads, r.count, store_batch, &v);
    return 0;
}
