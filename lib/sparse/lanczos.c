#include "sparse/lanczos.h"

#include "base/complex.h"
#include "base/memory.h"
#include "base/random.h"

#include <cblas.h>
#define lapack_complex_double double complex
#define lapack_complex_float float complex
#include <lapacke.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double WITHIN = 1e-12;

struct nh_lanczos {
    nh_lanczos_operator o;
    size_t most, block;
    size_t room;        /* columns of the projected matrix, without the next block */
    size_t j, p;        /* columns that O has been applied to; the next block, columns j..j+p-1 */
    size_t last, found; /* columns of the last block; Ritz vectors that have converged, in front */
    double complex *v, *sv, *t, *r, *y, *gram,
        *c;               /* bases and S times them [room+2block][n]; projected O [room][room];
                                                      [p][last] of O v_last = ... + v_next r; work */
    double *theta, *ritz; /* [room] */
    size_t *order;        /* [room] the best first */
    bool balanced;
    nh_random random;
};

static size_t columns(size_t n, size_t most, size_t block)
{
    const size_t wish = 2 * most + 24 * block;
    return wish < n ? wish : n;
}

double nh_lanczos_bytes(size_t n, size_t most, size_t block)
{
    const double room = (double)columns(n, most, block), all = room + 2 * (double)block;
    return 16 * (2 * all * (double)n + 2 * room * room);
}

int nh_lanczos_new(const nh_lanczos_operator *o, size_t most, size_t block, nh_lanczos **out, nh_error *err)
{
    *out = NULL;
    if (most == 0 || most > o->n || block == 0) return nh_fail(err, "%zu of %zu states", most, o->n);
    nh_lanczos *l = NH_ARRAY(nh_lanczos, 1);
    if (l == NULL) return nh_fail_memory(err, "the Lanczos vectors");
    *l = (nh_lanczos){
        .o = *o, .most = most, .block = block < o->n ? block : o->n, .room = columns(o->n, most, block)};
    const size_t all = l->room + 2 * l->block;
    size_t size;
    if (!nh_size_mul(all, o->n, &size) || all > INT_MAX || o->n > INT_MAX) size = SIZE_MAX / sizeof *l->v;
    l->v = nh_calloc_aligned(size, sizeof *l->v);
    l->sv = nh_calloc_aligned(size, sizeof *l->sv);
    l->t = NH_ARRAY(double complex, all *all);
    l->y = NH_ARRAY(double complex, all *all);
    l->r = NH_ARRAY(double complex, l->block * l->block);
    l->gram = NH_ARRAY(double complex, l->block * l->block);
    l->c = NH_ARRAY(double complex, (all + 256) * all);
    l->theta = NH_ARRAY(double, all);
    l->ritz = NH_ARRAY(double, all);
    l->order = NH_ARRAY(size_t, all);
    if (!l->v || !l->sv || !l->t || !l->y || !l->r || !l->gram || !l->c || !l->theta || !l->ritz ||
        !l->order) {
        nh_lanczos_free(l);
        return nh_fail_memory(err, "the Lanczos vectors");
    }
    nh_random_seed(&l->random, 1, "lanczos");
    *out = l;
    return 0;
}

void nh_lanczos_free(nh_lanczos *l)
{
    if (l == NULL) return;
    free(l->v);
    free(l->sv);
    free(l->t);
    free(l->y);
    free(l->r);
    free(l->gram);
    free(l->c);
    free(l->theta);
    free(l->ritz);
    free(l->order);
    free(l);
}

/* c <- (S V)^dagger W and W <- W - V c, V: the first m columns, W: p columns from `at` on. */
static void project_out(nh_lanczos *l, size_t m, size_t at, size_t p, double complex *c)
{
    const double complex one = 1, zero = 0, minus = -1;
    const int n = (int)l->o.n, cols = (int)p, rows = (int)m;
    double complex *w = l->v + at * l->o.n;
    if (m == 0) return;
    cblas_zgemm(CblasColMajor, CblasConjTrans, CblasNoTrans, rows, cols, n, &one, l->sv, n, w, n, &zero, c,
                rows);
    cblas_zgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, n, cols, rows, &minus, l->v, n, c, rows, &one, w,
                n);
}

/* Makes the p columns W from `at` on orthonormal in S: W <- W X. *rank of them are left, in front; the others were smaller than
 * `least`. With r [p][p] (column-major, leading dimension p): old W = new W r. */
static int orthonormalise(nh_lanczos *l, size_t at, size_t p, double least, size_t *rank, double complex *r,
                          nh_error *err)
{
    const double complex one = 1, zero = 0;
    const int n = (int)l->o.n, size = (int)p;
    double complex *w = l->v + at * l->o.n, *sw = l->sv + at * l->o.n, *g = l->gram;
    double *d = l->ritz;
    if (l->o.overlap(l->o.context, p, (double *)w, (double *)sw, err) != 0) return -1;
    /* Rounding in imaginary parts would turn degenerate Ritz vectors into complex ones. */
    for (size_t i = 0; l->o.real && i < p * l->o.n; i++)
        sw[i] = creal(sw[i]);
    cblas_zgemm(CblasColMajor, CblasConjTrans, CblasNoTrans, size, size, n, &one, w, n, sw, n, &zero, g,
                size);
    lapack_int info = LAPACKE_zheev(LAPACK_COL_MAJOR, 'V', 'L', size, g, size, d);
    if (info != 0) return nh_fail(err, "Lanczos vectors that are not finite");
    if (d[0] < -1e-8 * fabs(d[p - 1])) return nh_fail(err, "the overlap matrix is not positive definite");
    *rank = 0;
    while (*rank < p && d[p - 1 - *rank] > least * least)
        ++*rank;
    /* Column i of the new basis: eigenvector p-1-i over the root of its eigenvalue. */
    double complex *x = l->c;
    for (size_t i = 0; i < *rank; i++) {
        const double root = sqrt(d[p - 1 - i]);
        for (size_t q = 0; q < p; q++) {
            x[i * p + q] = g[(p - 1 - i) * p + q] / root;
            if (r != NULL) r[q * p + i] = conj(g[(p - 1 - i) * p + q]) * root;
        }
    }
    for (size_t i = *rank; r != NULL && i < p; i++)
        for (size_t q = 0; q < p; q++)
            r[q * p + i] = 0;
    double complex *part = l->c + p * p;
    enum { ROWS = 256 };
    for (int both = 0; both < 2; both++) {
        double complex *m = both == 0 ? w : sw;
        for (size_t row = 0; row<l->o.n && * rank> 0; row += ROWS) {
            const size_t rows = l->o.n - row < ROWS ? l->o.n - row : ROWS;
            cblas_zgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)*rank, size, &one, m + row,
                        n, x, size, &zero, part, (int)rows);
            for (size_t i = 0; i < *rank; i++)
                memcpy(m + i * l->o.n + row, part + i * rows, rows * sizeof *m);
        }
    }
    return 0;
}

/* Fills columns at+have .. at+p-1 with random vectors, orthogonal to all before them. Fewer than p where the space ends. */
static int fill_random(nh_lanczos *l, size_t at, size_t have, size_t *p, nh_error *err)
{
    const size_t n = l->o.n, left = n - at;
    *p = *p < left ? *p : left;
    while (have < *p) {
        size_t more = *p - have, rank = 0;
        double complex *w = l->v + (at + have) * n;
        for (size_t i = 0; i < more * n; i++) {
            const double re = nh_random_normal(&l->random), im = l->o.real ? 0 : nh_random_normal(&l->random);
            w[i] = CMPLX(re, im);
        }
        for (int pass = 0; pass < 2; pass++) {
            project_out(l, at + have, at + have, more, l->c);
            if (orthonormalise(l, at + have, more, pass == 0 ? 1e-8 : 0.5, &rank, NULL, err) != 0) return -1;
            if (rank == 0) break;
            more = rank;
        }
        if (rank == 0) break; /* nothing is left of the space but rounding */
        have += rank;
    }
    *p = have;
    return 0;
}

/* One more block: O times the last one, T, and the next block. */
static int expand(nh_lanczos *l, nh_error *err)
{
    const size_t n = l->o.n, j = l->j, p = l->p, at = j + p, all = l->room + 2 * l->block;
    double complex *w = l->v + at * n;
    memcpy(w, l->sv + j * n, p * n * sizeof *w);
    if (l->o.solve(l->o.context, p, (double *)w, err) != 0) return -1;
    for (int pass = 0; pass < 2; pass++) {
        project_out(l, at, at, p, l->c);
        for (size_t q = 0; q < p; q++)
            for (size_t i = 0; i < at; i++) {
                double complex *x = &l->t[(j + q) * all + i];
                *x = pass == 0 ? l->c[q * at + i] : *x + l->c[q * at + i];
            }
    }
    double scale = 0;
    for (size_t q = 0; q < p; q++) {
        for (size_t i = 0; i < at; i++) {
            const double complex x = l->t[(j + q) * all + i];
            scale = fmax(scale, cabs(x));
            if (!isfinite(creal(x)) || !isfinite(cimag(x)))
                return nh_fail(err, "Lanczos vectors that are not finite");
        }
        for (size_t i = 0; i < j; i++)
            l->t[i * all + j + q] = conj(l->t[(j + q) * all + i]);
        for (size_t i = 0; i <= q; i++) {
            double complex *x = &l->t[(j + q) * all + j + i], *z = &l->t[(j + i) * all + j + q];
            const double complex mean = 0.5 * (*x + conj(*z));
            *x = mean;
            *z = conj(mean);
        }
    }
    size_t rank, again;
    if (orthonormalise(l, at, p, 1e-14 * scale, &rank, l->r, err) != 0) return -1;
    if (rank > 0) { /* once more: what was left may have been small beside what was taken away */
        double complex *second = l->y;
        project_out(l, at, at, rank, l->c);
        if (orthonormalise(l, at, rank, 0.1, &again, second, err) != 0) return -1;
        double complex *product = l->y + l->block * l->block;
        for (size_t q = 0; q < p; q++)
            for (size_t i = 0; i < p; i++) {
                double complex sum = 0;
                for (size_t k = 0; k < rank && i < again; k++)
                    sum += second[k * rank + i] * l->r[q * p + k];
                product[q * p + i] = sum;
            }
        memcpy(l->r, product, p * p * sizeof *l->r);
        rank = again; /* what is dropped here was rounding, and of its size */
    }
    l->j = at;
    l->last = p;
    l->p = l->block;
    return fill_random(l, at, rank, &l->p, err);
}

static int by_size(const void *a, const void *b, void *context)
{
    const double *theta = context;
    const double x = fabs(theta[*(const size_t *)a]), y = fabs(theta[*(const size_t *)b]);
    return x < y ? 1 : x > y ? -1 : 0;
}

/* The best first: of largest |theta|; balanced: in turn of those below sigma (theta < 0) and above. */
static void put_in_order(nh_lanczos *l)
{
    const size_t j = l->j;
    if (!l->balanced) {
        for (size_t i = 0; i < j; i++)
            l->order[i] = i;
        qsort_r(l->order, j, sizeof *l->order, by_size, l->ritz);
        return;
    }
    size_t negative =
        0; /* theta is ascending: they come first, the best of them at 0, the best positive one at j-1 */
    while (negative < j && l->ritz[negative] < 0)
        negative++;
    for (size_t i = 0, below = 0, above = 0; i < j; i++) {
        const bool low = below < negative && (below <= above || negative + above == j);
        l->order[i] = low ? below++ : j - 1 - above++;
    }
}

/* Ritz values in l->ritz, vectors in l->y, order; *good: how many of the largest have converged, without a hole. */
static int ritz(nh_lanczos *l, size_t *good, nh_error *err)
{
    const size_t j = l->j, all = l->room + 2 * l->block, p = l->last;
    for (size_t i = 0; i < j; i++)
        memcpy(l->y + i * j, l->t + i * all, j * sizeof *l->y);
    if (LAPACKE_zheevd(LAPACK_COL_MAJOR, 'V', 'L', (lapack_int)j, l->y, (lapack_int)j, l->ritz) != 0)
        return nh_fail(err, "zheevd of LAPACK failed");
    put_in_order(l);
    for (*good = 0; *good < j; ++*good) {
        const size_t i = l->order[*good];
        double norm = 0;
        for (size_t row = 0; row < p; row++) {
            double complex sum = 0;
            for (size_t q = 0; q < p; q++)
                sum += l->r[q * p + row] * l->y[i * j + j - p + q];
            norm += creal(sum) * creal(sum) + cimag(sum) * cimag(sum);
        }
        if (!(sqrt(norm) <= WITHIN * fabs(l->ritz[i]))) break;
    }
    return 0;
}

/* Keeps the `keep` best Ritz vectors and the next block. */
static void restart(nh_lanczos *l, size_t keep)
{
    enum { ROWS = 256 };
    const double complex one = 1, zero = 0;
    const size_t n = l->o.n, j = l->j, all = l->room + 2 * l->block;
    double complex *x = l->c,
                   *part = l->c + keep * j; /* keep <= room: all * all + 256 all numbers are enough */
    for (size_t i = 0; i < keep; i++) {
        memcpy(x + i * j, l->y + l->order[i] * j, j * sizeof *x);
        l->theta[i] = l->ritz[l->order[i]];
    }
    for (int both = 0; both < 2; both++) {
        double complex *m = both == 0 ? l->v : l->sv;
        for (size_t row = 0; row < n; row += ROWS) {
            const size_t rows = n - row < ROWS ? n - row : ROWS;
            cblas_zgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)keep, (int)j, &one,
                        m + row, (int)n, x, (int)j, &zero, part, (int)rows);
            for (size_t i = 0; i < keep; i++)
                memcpy(m + i * n + row, part + i * rows, rows * sizeof *m);
        }
        memmove(m + keep * n, m + j * n, l->p * n * sizeof *m);
    }
    for (size_t i = 0; i < keep; i++)
        for (size_t q = 0; q < keep; q++)
            l->t[i * all + q] = i == q ? l->theta[i] : 0;
    l->j = keep;
}

int nh_lanczos_run(nh_lanczos *l, size_t wanted, bool balanced, nh_error *err)
{
    enum { MOST_BLOCKS = 3000 };
    if (wanted > l->most) return nh_fail(err, "%zu states, room for %zu", wanted, l->most);
    l->balanced = balanced;
    if (l->j + l->p == 0) {
        l->p = l->block;
        if (fill_random(l, 0, 0, &l->p, err) != 0) return -1;
    }
    for (int step = 0; step < MOST_BLOCKS; step++) {
        size_t good = l->found;
        if (l->p == 0 && good >= wanted) return 0;
        if (l->p > 0 && expand(l, err) != 0) return -1;
        const bool whole = l->p == 0 || l->j >= l->o.n; /* T is O */
        const bool full = l->j + l->p > l->room;
        if (l->j < wanted && !whole && !full) continue;
        if (ritz(l, &good, err) != 0) return -1;
        if (whole) good = l->j;
        if (good >= wanted) {
            size_t keep = wanted + (l->room - wanted) / 3;
            keep = keep < l->j ? keep : l->j;
            restart(l, good > keep ? good : keep);
            l->found = good;
            return 0;
        }
        if (whole) return nh_fail(err, "%zu states asked for, the space has %zu", wanted, l->j);
        if (full) {
            size_t keep = wanted + (l->room - wanted) / 3;
            keep = keep < l->j ? keep : l->j - 1;
            restart(l, keep);
        }
    }
    return nh_fail(err, "the states nearest to sigma have not converged in %d blocks of vectors",
                   MOST_BLOCKS);
}

int nh_lanczos_refresh(nh_lanczos *l, nh_error *err)
{
    l->j = l->found; /* run has left them in front */
    l->p = l->block;
    return fill_random(l, l->j, 0, &l->p, err);
}

size_t nh_lanczos_found(const nh_lanczos *l, const double **theta, const double **vector,
                        const double **s_vector)
{
    if (theta != NULL) *theta = l->theta;
    if (vector != NULL) *vector = (const double *)l->v;
    if (s_vector != NULL) *s_vector = (const double *)l->sv;
    return l->found;
}
