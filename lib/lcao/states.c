#include "lcao/states.h"

#include "base/memory.h"
#include "lcao/bloch.h"
#include "lcao/occupation.h"

#include <cblas.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define lapack_complex_double double complex
#define lapack_complex_float float complex
#include <lapacke.h>

enum { LARGE = 1000 }; /* states from which on LAPACK's own threads pay */

/* Row-major matrices are the complex conjugates of what LAPACK, column-major, sees; so are its vectors. Their products
 * v conj(v)^T, again seen by rows, are right.
 *
 * In the orthonormal basis of S = L L^dagger the spin-up orbitals come first, then the spin-down ones; the lower triangle
 * of LAPACK's view is used: blocks uu, du, dd there. */

/* Work space of a thread. */
typedef struct work {
    double *d, *e;          /* [size] tridiagonal matrix, to be destroyed */
    double *value;          /* [size] */
    double complex *z;      /* [size][size] vectors */
    double complex *square; /* [n][n] */
    double complex *room;   /* of LAPACK */
    lapack_int *support;    /* [2 size] */
    nh_error error;         /* of the first k-point of this thread that failed */
    size_t failed;          /* which; SIZE_MAX: none */
} work;

struct nh_states {
    nh_states_task task;
    nh_ranks ranks;
    size_t first, n_k; /* this rank's k-points; n_k in the sizes below */
    nh_bloch *bloch;
    size_t n, size;              /* orbitals; states: n, or 2 n with spin */
    double complex *factor;      /* [n_k][n][n] L^-1, lower */
    double complex *fixed;       /* [n_k][size][size] L^-1 H L^-dagger of what is fixed, lower */
    double complex *grid;        /* [n_k][n][n] that of the grid; then the density matrix */
    double complex *reflect;     /* [n_k][size][size] how H was made tridiagonal */
    double complex *tau;         /* [n_k][size] */
    double *diagonal, *off;      /* [n_k][size] */
    double *energy, *occupation; /* [task.n_k][size]: of all ranks */
    double fermi, entropy;
    bool with_grid; /* `grid` holds the grid part of H */
    int n_thread;
    lapack_int n_room;
    work *work;
    /* nh_states_expect */
    const double complex *change; /* [n_k][size][size], complete */
    double top, *error;
    size_t most;
};

static int lapack_failed(const char *routine, lapack_int info, nh_error *err)
{
    return nh_fail(err, "%s of LAPACK failed (info %d)%s", routine, (int)info,
                   info < 0 ? ": a number that is not finite" : "");
}

/* A failure of one rank is one of all: they would wait for it. */
static int together(const nh_states *s, int status, nh_error *err)
{
    if (s->ranks.count == 1 || nh_ranks_max(&s->ranks, status != 0) == 0 || status != 0) return status;
    return nh_fail(err, "another process failed");
}

/* Runs body over the k-points; the error is that of the first one that failed. */
static int over_k(nh_states *s, void (*body)(void *, size_t, int), nh_error *err)
{
    for (int t = 0; t < s->n_thread; t++)
        s->work[t].failed = SIZE_MAX;
    if (s->size >= LARGE && s->n_thread > 1) {
        openblas_set_num_threads(s->n_thread);
        nh_parallel_for(NULL, s->n_k, body, s);
        openblas_set_num_threads(1);
    } else {
        nh_parallel_for(s->task.threads, s->n_k, body, s);
    }
    const work *first = NULL;
    for (int t = 0; t < s->n_thread; t++)
        if (s->work[t].failed != SIZE_MAX && (first == NULL || s->work[t].failed < first->failed))
            first = &s->work[t];
    if (first == NULL) return together(s, 0, err);
    const double *const k = s->task.k + 3 * (s->first + first->failed);
    together(s, -1, NULL);
    return nh_fail(err, "k = (%g, %g, %g): %s", k[0], k[1], k[2], first->error.text);
}

static void failed_at(work *w, size_t k, const nh_error *e)
{
    if (w->failed != SIZE_MAX) return; /* indices come in order: the first one counts */
    w->failed = k;
    w->error = *e;
}

/* L^-1 of S(k), which stands in `grid`. */
static void factor_overlap(void *context, size_t k, int thread)
{
    nh_states *const s = context;
    const lapack_int n = (lapack_int)s->n;
    double complex *const l = s->factor + k * s->n * s->n;
    nh_error e;
    memcpy(l, s->grid + k * s->n * s->n, s->n * s->n * sizeof *l);
    lapack_int info = LAPACKE_zpotrf_work(LAPACK_COL_MAJOR, 'L', n, l, n);
    if (info > 0) {
        nh_fail(&e, "the overlap matrix is not positive definite (row %d of its Cholesky factor)", (int)info);
    } else if (info == 0) {
        info = LAPACKE_ztrtri_work(LAPACK_COL_MAJOR, 'L', 'N', n, l, n);
        if (info == 0) return;
        lapack_failed("ztrtri", info, &e);
    } else {
        lapack_failed("zpotrf", info, &e);
    }
    failed_at(&s->work[thread], k, &e);
}

/* a <- L^-1 a L^-dagger */
static void reduce(const nh_states *s, size_t k, double complex *a)
{
    const double complex one = 1;
    const int n = (int)s->n;
    const double complex *const l = s->factor + k * s->n * s->n;
    cblas_ztrmm(CblasColMajor, CblasLeft, CblasLower, CblasNoTrans, CblasNonUnit, n, n, &one, l, n, a, n);
    cblas_ztrmm(CblasColMajor, CblasRight, CblasLower, CblasConjTrans, CblasNonUnit, n, n, &one, l, n, a, n);
}

static void reduce_grid(void *context, size_t k, int thread)
{
    nh_states *const s = context;
    (void)thread;
    reduce(s, k, s->grid + k * s->n * s->n);
}

/* [n_k][size][size] <- factor times the matrices in `from` [n_k][n][n], added to the block of rows `row`, columns
 * `column` (0: up, 1: down), seen by rows. */
static void add_block(const nh_states *s, const double complex *from, double complex factor, size_t row,
                      size_t column, double complex *to)
{
    const size_t n = s->n, size = s->size;
    for (size_t k = 0; k < s->n_k; k++)
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++)
                to[(k * size + row * n + i) * size + column * n + j] += factor * from[(k * n + i) * n + j];
}

/* Fourier sums of a Hermitian matrix h[n_spin][n_elem][2] into to[n_k][size][size], by rows, the blocks uu, ud, dd; with
 * `reduced` in the orthonormal basis. `grid` is used. */
static int transform(nh_states *s, const double *h, bool reduced, double complex *to, nh_error *err)
{
    const size_t n_elem = s->task.pairs->n_elem;
    memset(to, 0, s->n_k * s->size * s->size * sizeof *to);
    for (int block = 0; block < s->task.n_spin; block++) {
        if (block == 2) continue; /* du is the adjoint of ud */
        for (size_t part = 0; part < 2; part++) {
            nh_bloch_sum(s->bloch, h + 2 * (size_t)block * n_elem + part, 2, false, s->grid);
            if (reduced && over_k(s, reduce_grid, err)) return -1;
            add_block(s, s->grid, part == 0 ? 1 : (double complex)I, block == 3, block != 0, to);
        }
    }
    return 0;
}

static int allocate(nh_states *s, nh_error *err)
{
    const size_t n_k = s->n_k, n = s->n, size = s->size;
    size_t small, large;
    if (!nh_size_mul(n * n, n_k, &small) || !nh_size_mul(size * size, n_k, &large))
        return nh_fail_memory(err, "matrices in k");
    const double bytes = (2 * (double)small + 2 * (double)large) * sizeof(double complex);
    if (s->task.memory > 0 && bytes > s->task.memory)
        return nh_fail(
            err, "matrices of %zu states at %zu k-points take %.2f GB, more than the %.2f GB of --memory",
            size, n_k, bytes / 1e9, s->task.memory / 1e9);
    s->factor = nh_calloc_aligned(small, sizeof *s->factor);
    s->grid = nh_calloc_aligned(small, sizeof *s->grid);
    s->fixed = nh_calloc_aligned(large, sizeof *s->fixed);
    s->reflect = nh_calloc_aligned(large, sizeof *s->reflect);
    s->tau = NH_ARRAY(double complex, n_k *size);
    s->diagonal = NH_ARRAY(double, n_k *size);
    s->off = NH_ARRAY(double, n_k *size);
    s->energy = NH_ARRAY(double, s->task.n_k *size);
    s->occupation = NH_ARRAY(double, s->task.n_k *size);
    s->work = NH_ARRAY(work, (size_t)s->n_thread);
    if (!s->factor || !s->grid || !s->fixed || !s->reflect || !s->tau || !s->diagonal || !s->off ||
        !s->energy || !s->occupation || !s->work)
        return nh_fail_memory(err, "matrices in k");
    /* Room for blocks of 64 columns in zhetrd and zunmtr. */
    s->n_room = (lapack_int)(64 * size > 4096 ? 64 * size : 4096);
    for (int t = 0; t < s->n_thread; t++) {
        work *const w = &s->work[t];
        w->d = NH_ARRAY(double, size);
        w->e = NH_ARRAY(double, size);
        w->value = NH_ARRAY(double, size);
        w->z = nh_calloc_aligned(size * size, sizeof *w->z);
        w->room = nh_calloc_aligned((size_t)s->n_room, sizeof *w->room);
        w->support = NH_ARRAY(lapack_int, 2 * size);
        if (!w->d || !w->e || !w->value || !w->z || !w->room || !w->support)
            return nh_fail_memory(err, "the eigenproblem");
    }
    return 0;
}

int nh_states_new(const nh_states_task *task, nh_states **out, nh_error *err)
{
    *out = NULL;
    nh_states *s = NH_ARRAY(nh_states, 1);
    if (s == NULL) return nh_fail_memory(err, "states");
    *s = (nh_states){.task = *task, .n_thread = nh_threads_count(task->threads)};
    s->ranks = task->ranks != NULL ? *task->ranks : (nh_ranks){0, 1, 0};
    const size_t count = (size_t)s->ranks.count, rank = (size_t)s->ranks.rank;
    s->first = rank * task->n_k / count;
    s->n_k = (rank + 1) * task->n_k / count - s->first;
    s->n = nh_structure_orbitals(task->structure);
    s->size = task->n_spin == 4 ? 2 * s->n : s->n;
    int status = 0;
    if (s->size == 0 || s->size > INT_MAX / 128) status = nh_fail(err, "%zu orbitals", s->n);
    if (task->n_k < count) status = nh_fail(err, "%zu processes, but only %zu k-points", count, task->n_k);
    if (status == 0)
        status = nh_bloch_new(task->structure, task->pairs, s->n_k, task->k + 3 * s->first, task->threads,
                              &s->bloch, err);
    if (status == 0) status = allocate(s, err);
    status = together(s, status, err);
    if (status == 0) {
        nh_bloch_sum(s->bloch, task->overlap, 1, true, s->grid);
        status = over_k(s, factor_overlap, err);
    }
    if (status == 0) status = transform(s, task->fixed, true, s->fixed, err);
    if (status != 0) {
        nh_states_free(s);
        return -1;
    }
    *out = s;
    return 0;
}

void nh_states_free(nh_states *s)
{
    if (s == NULL) return;
    nh_bloch_free(s->bloch);
    free(s->factor);
    free(s->fixed);
    free(s->grid);
    free(s->reflect);
    free(s->tau);
    free(s->diagonal);
    free(s->off);
    free(s->energy);
    free(s->occupation);
    for (int t = 0; t < s->n_thread && s->work != NULL; t++) {
        free(s->work[t].d);
        free(s->work[t].e);
        free(s->work[t].value);
        free(s->work[t].z);
        free(s->work[t].room);
        free(s->work[t].support);
    }
    free(s->work);
    free(s);
}

size_t nh_states_bands(const nh_states *s)
{
    return s->size;
}

/* H = fixed + grid made tridiagonal, and its eigenvalues. */
static void find_energies(void *context, size_t k, int thread)
{
    nh_states *const s = context;
    work *const w = &s->work[thread];
    const size_t n = s->n, size = s->size;
    const lapack_int order = (lapack_int)size;
    double complex *const h = s->reflect + k * size * size, *const g = s->grid + k * n * n;
    memcpy(h, s->fixed + k * size * size, size * size * sizeof *h);
    if (s->with_grid) {
        reduce(s, k, g);
        for (size_t spin = 0; spin < size / n; spin++)
            for (size_t i = 0; i < n; i++)
                for (size_t j = i; j < n; j++)
                    h[(spin * n + i) * size + spin * n + j] += g[i * n + j];
    }
    double *const diagonal = s->diagonal + k * size, *const off = s->off + k * size,
                  *const energy = s->energy + (s->first + k) * size;
    nh_error e;
    lapack_int info = LAPACKE_zhetrd_work(LAPACK_COL_MAJOR, 'L', order, h, order, diagonal, off,
                                          s->tau + k * size, w->room, s->n_room);
    if (info == 0) {
        memcpy(energy, diagonal, size * sizeof *energy);
        memcpy(w->e, off, size * sizeof *off);
        info = LAPACKE_dsterf_work(order, energy, w->e);
        if (info == 0) return;
        lapack_failed("dsterf", info, &e);
    } else {
        lapack_failed("zhetrd", info, &e);
    }
    failed_at(w, k, &e);
}

int nh_states_solve(nh_states *s, const double *grid, nh_error *err)
{
    s->with_grid = grid != NULL;
    if (grid != NULL) nh_bloch_sum(s->bloch, grid, 1, true, s->grid);
    if (s->ranks.count > 1) memset(s->energy, 0, s->task.n_k * s->size * sizeof *s->energy);
    if (over_k(s, find_energies, err) != 0) return -1;
    nh_ranks_sum(&s->ranks, s->task.n_k * s->size, s->energy);
    const double per_band = s->task.n_spin == 4 ? 1 : 2;
    const nh_levels levels = {.n_k = s->task.n_k,
                              .n_band = s->size,
                              .weight = s->task.weight,
                              .energy = s->energy,
                              .electrons_per_band = per_band,
                              .n_search = nh_search_bands(s->task.n_electron, per_band, s->size)};
    return nh_occupy(&levels, s->task.n_electron, s->task.smearing, &s->fermi, s->occupation, &s->entropy,
                     err);
}

const double *nh_states_energy(const nh_states *s)
{
    return s->energy;
}

const double *nh_states_occupation(const nh_states *s)
{
    return s->occupation;
}

double nh_states_fermi(const nh_states *s)
{
    return s->fermi;
}

double nh_states_entropy(const nh_states *s)
{
    return s->entropy;
}

double nh_states_band_energy(const nh_states *s)
{
    double sum = 0;
    for (size_t k = 0; k < s->task.n_k; k++) {
        double here = 0;
        for (size_t b = 0; b < s->size; b++)
            here += s->occupation[k * s->size + b] * s->energy[k * s->size + b];
        sum += s->task.weight[k] * here;
    }
    return sum;
}

/* The lowest `count` states, S-normalised, into the columns of w->z: the conjugates of the coefficients. */
static int find_vectors(nh_states *s, size_t k, size_t count, work *w, nh_error *err)
{
    const size_t n = s->n, size = s->size;
    const lapack_int order = (lapack_int)size, columns = (lapack_int)count;
    lapack_int found = 0, info = 1;
    memcpy(w->d, s->diagonal + k * size, size * sizeof *w->d);
    memcpy(w->e, s->off + k * size, size * sizeof *w->e);
    if (count < size) {
        lapack_int accurate = 1;
        info = LAPACKE_zstemr(LAPACK_COL_MAJOR, 'V', 'I', order, w->d, w->e, 0, 0, 1, columns, &found,
                              w->value, w->z, order, columns, w->support, &accurate);
        if (info == 0 && found != columns) info = 1;
    }
    if (info != 0) { /* all of them, by divide and conquer */
        memcpy(w->d, s->diagonal + k * size, size * sizeof *w->d);
        memcpy(w->e, s->off + k * size, size * sizeof *w->e);
        info = LAPACKE_zstedc(LAPACK_COL_MAJOR, 'I', order, w->d, w->e, w->z, order);
        if (info != 0) return lapack_failed("zstedc", info, err);
    }
    info = LAPACKE_zunmtr_work(LAPACK_COL_MAJOR, 'L', 'L', 'N', order, columns, s->reflect + k * size * size,
                               order, s->tau + k * size, w->z, order, w->room, s->n_room);
    if (info != 0) return lapack_failed("zunmtr", info, err);
    const double complex one = 1;
    for (size_t spin = 0; spin < size / n; spin++)
        cblas_ztrmm(CblasColMajor, CblasLeft, CblasLower, CblasConjTrans, CblasNonUnit, (int)n, columns, &one,
                    s->factor + k * n * n, (int)n, w->z + spin * n, order);
    return 0;
}

static void fill_density(void *context, size_t k, int thread)
{
    nh_states *const s = context;
    work *const w = &s->work[thread];
    const size_t n = s->n, size = s->size;
    const double *const f = s->occupation + (s->first + k) * size;
    double complex *const d = s->grid + k * n * n;
    size_t count = 0;
    for (size_t b = 0; b < size; b++)
        if (f[b] > 1e-16) count = b + 1;
    memset(d, 0, n * n * sizeof *d);
    if (count == 0) return;
    nh_error e;
    if (find_vectors(s, k, count, w, &e) != 0) {
        failed_at(w, k, &e);
        return;
    }
    for (size_t b = 0; b < count; b++) {
        const double root = sqrt(f[b]);
        for (size_t i = 0; i < size; i++)
            w->z[b * size + i] *= root;
    }
    for (size_t spin = 0; spin < size / n; spin++)
        cblas_zherk(CblasColMajor, CblasLower, CblasNoTrans, (int)n, (int)count, 1, w->z + spin * n,
                    (int)size, spin > 0, d, (int)n);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            d[i * n + j] = conj(d[j * n + i]);
}

int nh_states_density(nh_states *s, double *p, nh_error *err)
{
    if (over_k(s, fill_density, err) != 0) return -1;
    nh_bloch_back(s->bloch, s->task.weight + s->first, s->grid, p);
    nh_ranks_sum(&s->ranks, s->task.pairs->n_elem, p);
    return 0;
}

static void expect_at(void *context, size_t k, int thread)
{
    nh_states *const s = context;
    work *const w = &s->work[thread];
    const size_t size = s->size;
    const double *const energy = s->energy + (s->first + k) * size;
    const double complex *const a = s->change + k * size * size;
    double *const error = s->error + (s->first + k) * s->most;
    size_t count = 0;
    while (count < size && count < s->most && energy[count] <= s->top)
        count++;
    for (size_t b = 0; b < s->most; b++)
        error[b] = NAN;
    if (count == 0) return;
    nh_error e;
    if (find_vectors(s, k, count, w, &e) != 0) {
        failed_at(w, k, &e);
        return;
    }
    /* By columns, LAPACK's view: the conjugate of change, whose lower triangle is there. */
    for (size_t b = 0; b < count; b++) {
        const double complex *const z = w->z + b * size;
        double sum = 0;
        for (size_t j = 0; j < size; j++) {
            sum += creal(a[j * size + j]) * (creal(z[j]) * creal(z[j]) + cimag(z[j]) * cimag(z[j]));
            double complex below = 0;
            for (size_t i = j + 1; i < size; i++)
                below += conj(z[i]) * a[j * size + i];
            sum += 2 * creal(below * z[j]);
        }
        error[b] = sum;
    }
}

int nh_states_expect(nh_states *s, const double *change, double top, size_t most, double *error,
                     nh_error *err)
{
    size_t numbers;
    double complex *a = NULL;
    if (nh_size_mul(s->size * s->size, s->n_k, &numbers)) a = nh_calloc_aligned(numbers, sizeof *a);
    if (together(s, a == NULL ? nh_fail_memory(err, "matrices in k") : 0, err) != 0) {
        free(a);
        return -1;
    }
    if (s->ranks.count > 1) memset(error, 0, s->task.n_k * most * sizeof *error);
    int status = transform(s, change, false, a, err);
    s->change = a;
    s->top = top;
    s->most = most;
    s->error = error;
    if (status == 0) status = over_k(s, expect_at, err);
    if (status == 0) nh_ranks_sum(&s->ranks, s->task.n_k * most, error);
    s->change = NULL;
    free(a);
    return status;
}
