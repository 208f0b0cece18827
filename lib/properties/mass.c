#include "properties/mass.h"

#include "base/complex.h"
#include "base/memory.h"
#include "crystal/eigen.h"
#include "crystal/fourier_internal.h"
#include "crystal/lattice.h"
#include "properties/optics.h"

#include <cblas.h>
#define lapack_complex_double double complex
#define lapack_complex_float float complex
#include <lapacke.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { AXES = 6 }; /* x y z xy yz zx, from which a tensor follows */

typedef struct level {
    const nh_fourier *f;
    const double *lattice, *k;
    size_t basis, first, n; /* the group */
    double same_slope;      /* eV Å */
    double *energy;
    double complex *vector;      /* [basis][basis] */
    double complex *a, *b;       /* [basis][basis] */
    double complex *h1, *s1, *x; /* [n][basis] of the group against all states */
    double complex *h2, *s2;     /* [n][n] */
    double complex *one, *two;   /* [n][n] the terms in t and t^2 */
} level;

/* The sums with weights (i d.R)^order exp(ik.R), into a (H) and b (S). */
static int derive(const level *l, const double d[3], int order, nh_error *err)
{
    size_t n_cell;
    const int(*cell)[3] = nh_fourier_cells(l->f, &n_cell);
    double complex *weight = NH_ARRAY(double complex, n_cell);
    if (weight == NULL) return nh_fail_memory(err, "the masses");
    for (size_t c = 0; c < n_cell; c++) {
        const double at[3] = {cell[c][0], cell[c][1], cell[c][2]};
        double r[3];
        nh_lattice_apply(at, l->lattice, r);
        const double turn = l->k[0] * at[0] + l->k[1] * at[1] + l->k[2] * at[2];
        const double complex step = I * (d[0] * r[0] + d[1] * r[1] + d[2] * r[2]);
        weight[c] = (order == 1 ? step : step * step) * cexp(2 * M_PI * I * (turn - floor(turn)));
    }
    const int status =
        nh_fourier_weighted(l->f, 1, (const double *)weight, NULL, (double *)l->a, (double *)l->b, err);
    free(weight);
    return status;
}

/* out[n][columns] = C_n^dagger M C_m for the group against states `from` .. `from`+columns-1. */
static void project(const level *l, const double complex *m, size_t from, size_t columns, double complex *out)
{
    const double complex one = 1, zero = 0;
    const int n = (int)l->n, basis = (int)l->basis;
    /* conj: (V M^T) V^dagger, M Hermitian */
    cblas_zgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, basis, basis, &one,
                l->vector + l->first * l->basis, basis, m, basis, &zero, l->x, basis);
    cblas_zgemm(CblasRowMajor, CblasNoTrans, CblasConjTrans, n, (int)columns, basis, &one, l->x, basis,
                l->vector + from * l->basis, basis, &zero, out, (int)columns);
    for (size_t i = 0; i < l->n * columns; i++)
        out[i] = conj(out[i]);
}

/* one = H1_GG, two = the effective term in t^2, along d. */
static int expand(level *l, const double d[3], nh_error *err)
{
    const size_t n = l->n, basis = l->basis;
    if (derive(l, d, 1, err) != 0) return -1;
    project(l, l->a, 0, basis, l->h1);
    project(l, l->b, 0, basis, l->s1);
    if (derive(l, d, 2, err) != 0) return -1;
    project(l, l->a, l->first, n, l->h2);
    project(l, l->b, l->first, n, l->s2);
    double mean = 0;
    for (size_t i = 0; i < n; i++)
        mean += l->energy[l->first + i] / (double)n;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            const double ei = l->energy[l->first + i], ej = l->energy[l->first + j];
            double complex sum = 0.5 * l->h2[i * n + j] - 0.25 * (ei + ej) * l->s2[i * n + j];
            for (size_t m = 0; m < basis; m++) { /* X_im X_mj, X Hermitian */
                const double em = l->energy[m];
                const double complex si = l->s1[i * basis + m], sj = conj(l->s1[j * basis + m]),
                                     hi = l->h1[i * basis + m], hj = conj(l->h1[j * basis + m]);
                sum += 0.375 * (ei + ej) * si * sj - 0.5 * (si * hj + hi * sj) + 0.25 * em * si * sj;
                if (m < l->first || m >= l->first + n)
                    sum += (hi - 0.5 * (ei + em) * si) * (hj - 0.5 * (ej + em) * sj) / (mean - em);
            }
            l->two[i * n + j] = sum;
            l->one[i * n + j] =
                l->h1[i * basis + l->first + j] - 0.5 * (ei + ej) * l->s1[i * basis + l->first + j];
        }
    return 0;
}

static int diagonalise(size_t n, double complex *m, double *value, nh_error *err)
{
    const lapack_int info = LAPACKE_zheev(LAPACK_ROW_MAJOR, 'V', 'U', (lapack_int)n, m, (lapack_int)n, value);
    return info == 0 ? 0 : nh_fail(err, "zheev of LAPACK failed (info %d)", (int)info);
}

/* Slopes and second derivatives of the level along the direction of `one` and `two`: `two` is diagonalised
 * among states of equal slope. Destroys both. */
static int split(level *l, double *slope, double *inverse, nh_error *err)
{
    const size_t n = l->n;
    const double complex unit = 1, zero = 0;
    if (diagonalise(n, l->one, slope, err) != 0) return -1;
    double complex *u = l->one, *t = l->x, *w = l->h2; /* w = u^dagger two u */
    cblas_zgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n, (int)n, (int)n, &unit, l->two, (int)n, u,
                (int)n, &zero, t, (int)n);
    cblas_zgemm(CblasRowMajor, CblasConjTrans, CblasNoTrans, (int)n, (int)n, (int)n, &unit, u, (int)n, t,
                (int)n, &zero, w, (int)n);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && slope[end] - slope[end - 1] < l->same_slope;)
            end++;
        const size_t part = end - i;
        double mean = 0;
        for (size_t r = i; r < end; r++)
            mean += slope[r] / (double)part;
        for (size_t r = i; r < end; r++)
            slope[r] = mean;
        for (size_t r = 0; r < part; r++)
            for (size_t c = 0; c < part; c++)
                l->two[r * part + c] = w[(i + r) * n + i + c];
        if (diagonalise(part, l->two, inverse + i, err) != 0) return -1;
    }
    for (size_t i = 0; i < n; i++)
        inverse[i] *= 2 / NH_HBAR2_OVER_M;
    return 0;
}

/* True where the n x n matrix is a multiple of one, *value, within `within`. */
static bool is_scalar(size_t n, const double complex *m, double within, double *value)
{
    *value = creal(m[0]);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            if (cabs(m[i * n + j] - (i == j ? *value : 0)) > within) return false;
    return true;
}

/* Gradient and tensor, where the level behaves as one band. */
static int find_tensor(level *l, nh_mass *out, nh_error *err)
{
    static const double axes[AXES][3] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}, {1, 1, 0}, {0, 1, 1}, {1, 0, 1}};
    double second[AXES];
    out->tensor = true;
    for (size_t a = 0; a < AXES && out->tensor; a++) {
        double slope;
        if (expand(l, axes[a], err) != 0) return -1;
        out->tensor = is_scalar(l->n, l->one, l->same_slope, &slope) &&
                      is_scalar(l->n, l->two, 1e-4 * (1 + cabs(l->two[0])), &second[a]);
        if (a < 3) out->gradient[a] = slope;
    }
    if (!out->tensor) return 0;
    for (size_t a = 0; a < AXES; a++)
        second[a] *= 2 / NH_HBAR2_OVER_M;
    for (size_t a = 0; a < 3; a++) {
        const size_t b = (a + 1) % 3;
        out->inverse_mass[4 * a] = second[a];
        out->inverse_mass[3 * a + b] = out->inverse_mass[3 * b + a] =
            0.5 * (second[3 + a] - second[a] - second[b]);
    }
    return 0;
}

static int level_new(level *l, nh_error *err)
{
    const size_t basis = l->basis, n = l->n;
    l->h1 = nh_calloc_aligned(n, basis * sizeof *l->h1);
    l->s1 = nh_calloc_aligned(n, basis * sizeof *l->s1);
    l->x = nh_calloc_aligned(n, basis * sizeof *l->x);
    l->h2 = NH_ARRAY(double complex, n *n);
    l->s2 = NH_ARRAY(double complex, n *n);
    l->one = NH_ARRAY(double complex, n *n);
    l->two = NH_ARRAY(double complex, n *n);
    return l->h1 && l->s1 && l->x && l->h2 && l->s2 && l->one && l->two ? 0
                                                                        : nh_fail_memory(err, "the masses");
}

static void level_free(level *l)
{
    free(l->energy);
    free(l->vector);
    free(l->a);
    free(l->b);
    free(l->h1);
    free(l->s1);
    free(l->x);
    free(l->h2);
    free(l->s2);
    free(l->one);
    free(l->two);
}

/* All states at k, and the level of `band`. */
static int solve(level *l, size_t band, double degenerate, nh_error *err)
{
    const size_t basis = l->basis;
    const nh_band_choice all = {.kind = NH_BANDS_ALL};
    size_t rank, first, count;
    nh_eigen *w = NULL;
    l->energy = NH_ARRAY(double, basis);
    l->vector = nh_calloc_aligned(basis, basis * sizeof *l->vector);
    l->a = nh_calloc_aligned(basis, basis * sizeof *l->a);
    l->b = nh_calloc_aligned(basis, basis * sizeof *l->b);
    if (l->energy == NULL || l->vector == NULL || l->a == NULL || l->b == NULL)
        return nh_fail_memory(err, "the masses");
    int status = nh_fourier_at(l->f, 1, l->k, (double *)l->a, (double *)l->b, err);
    if (status == 0) status = nh_eigen_new(basis, 0, true, &w, err);
    if (status == 0)
        status = nh_eigen_solve(w, (double *)l->a, (double *)l->b, &all, basis, &rank, l->energy, &first,
                                &count, (double *)l->vector, err);
    nh_eigen_free(w);
    if (status != 0) return nh_fail_at(err, "k-point (%g %g %g)", l->k[0], l->k[1], l->k[2]);
    size_t end = band + 1;
    for (l->first = band; l->first > 0 && l->energy[l->first] - l->energy[l->first - 1] <= degenerate;)
        l->first--;
    while (end < basis && l->energy[end] - l->energy[end - 1] <= degenerate)
        end++;
    l->n = end - l->first;
    return 0;
}

int nh_mass_at(const nh_fourier *f, const double lattice[9], const double k[3], size_t band,
               double degenerate, double same_slope, size_t n_direction, const double *direction,
               nh_mass *out, nh_error *err)
{
    level l = {.f = f, .lattice = lattice, .k = k, .basis = nh_fourier_basis(f), .same_slope = same_slope};
    *out = (nh_mass){.n_direction = n_direction};
    if (band >= l.basis || l.basis > INT_MAX / 2) return nh_fail(err, "band %zu of %zu", band + 1, l.basis);
    int status = solve(&l, band, degenerate, err);
    if (status == 0) status = level_new(&l, err);
    if (status == 0) {
        out->first = l.first;
        out->count = l.n;
        for (size_t i = 0; i < l.n; i++)
            out->energy += l.energy[l.first + i] / (double)l.n;
        out->slope = NH_ARRAY(double, n_direction *l.n);
        out->inverse = NH_ARRAY(double, n_direction *l.n);
        if (out->slope == NULL || out->inverse == NULL) status = nh_fail_memory(err, "the masses");
    }
    for (size_t i = 0; i < n_direction && status == 0; i++) {
        const double *d = direction + 3 * i, length = sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]);
        const double unit[3] = {d[0] / length, d[1] / length, d[2] / length};
        if (!(length > 0) || !isfinite(length))
            status = nh_fail(err, "direction (%g %g %g)", d[0], d[1], d[2]);
        else if (expand(&l, unit, err) != 0 ||
                 split(&l, out->slope + i * l.n, out->inverse + i * l.n, err) != 0)
            status = -1;
    }
    if (status == 0) status = find_tensor(&l, out, err);
    level_free(&l);
    if (status != 0) nh_mass_free(out);
    return status;
}

void nh_mass_free(nh_mass *m)
{
    free(m->slope);
    free(m->inverse);
    *m = (nh_mass){0};
}

int nh_mass_principal(const double inverse_mass[9], double value[3], double axis[9], nh_error *err)
{
    double m[9];
    memcpy(m, inverse_mass, sizeof m);
    const lapack_int info = LAPACKE_dsyev(LAPACK_ROW_MAJOR, 'V', 'U', 3, m, 3, value);
    if (info != 0) return nh_fail(err, "dsyev of LAPACK failed (info %d)", (int)info);
    for (size_t i = 0; i < 3; i++)
        for (size_t x = 0; x < 3; x++)
            axis[3 * i + x] = m[3 * x + i];
    return 0;
}
