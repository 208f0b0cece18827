#include "properties/lowdin.h"

#include "base/complex.h"
#include "base/memory.h"
#include "crystal/eigen.h"
#include "crystal/fourier.h"
#include "crystal/lattice.h"
#include "crystal/spectrum.h"

#include <cblas.h>
#define lapack_complex_double double complex
#define lapack_complex_float float complex
#include <lapacke.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_POINTS = 64, CHECKS = 6 }; /* along an axis; points between those of the mesh */

static const double tie = 1e-5;                /* Å: cells at the same distance */
static const double singular = 1e-8;           /* eigenvalue of S(k) */
static const double position_tolerance = 1e-4; /* Å, of the anti-Hermitian part of A~ */
static const double above_fermi = 5;           /* eV */

/* Work space of a thread. */
typedef struct work {
    double complex *v, *x, *t,
        *u;                       /* [n][n]; v: rows are the adjoint eigenvectors of S(k), S = v^dagger s v */
    double complex *a[3], *ds[3]; /* [n][n]: A(k), dS/dk; NULL without a position matrix */
    double *value, *root;         /* [n] eigenvalues of S(k), their roots */
    double complex *states, *scaled; /* [basis][basis] the same for H~(k); NULL without a ceiling */
    double *energy;                  /* [basis] */
} work;

typedef struct job {
    const nh_graph *g;
    const double *position;
    const nh_fourier *fourier;
    nh_lowdin *l;
    size_t n, basis, n_k, n_r; /* n_r: 3 with a position matrix, else 0 */
    const double *k;           /* [n_k][3] */
    size_t *start;             /* [n_atom+1] first orbital of each atom */
    size_t first, group;       /* k-points in work */
    double *h, *s;             /* [group][basis][basis][2] as nh_fourier gives them */
    double complex *hk, *rk;   /* [n_k][basis][basis]; [3][n_k][n][n] */
    double *smallest;          /* [n_k] */
    work *work;
    int n_thread;
    nh_error *error; /* [group] */
} job;

void nh_lowdin_mesh(const nh_graph *g, int mesh[3])
{
    mesh[0] = mesh[1] = mesh[2] = 1;
    for (size_t p = 0; p < g->pairs.count; p++)
        for (int d = 0; d < 3; d++) {
            const int reach = 2 * abs(g->pairs.pair[p].cell[d]) + 1;
            if (reach > mesh[d]) mesh[d] = reach;
        }
}

/* --- cells --- */

static double length2(const double a[9], const int c[3])
{
    double v[3];
    nh_lattice_apply((const double[]){c[0], c[1], c[2]}, a, v);
    return v[0] * v[0] + v[1] * v[1] + v[2] * v[2];
}

/* Cells R that no R + T is nearer than, T a vector of the supercell; `weight`: how many are as near.
 * Returns that, or 0. */
static int weight_of(const double a[9], const int mesh[3], const int cell[3])
{
    const double own = sqrt(length2(a, cell));
    int same = 0;
    for (int i = -2; i <= 2; i++)
        for (int j = -2; j <= 2; j++)
            for (int k = -2; k <= 2; k++) {
                const int other[3] = {cell[0] + i * mesh[0], cell[1] + j * mesh[1], cell[2] + k * mesh[2]};
                const double r = sqrt(length2(a, other));
                if (r < own - tie) return 0;
                same += r < own + tie;
            }
    return same;
}

static int find_cells(const nh_graph *g, nh_lowdin *l, nh_error *err)
{
    const int *const m = l->mesh;
    size_t room_cell = 0, room_weight = 0;
    double sum = 0;
    for (int i = -m[0]; i <= m[0]; i++)
        for (int j = -m[1]; j <= m[1]; j++)
            for (int k = -m[2]; k <= m[2]; k++) {
                const int cell[3] = {i, j, k}, weight = weight_of(g->structure.lattice, m, cell);
                if (weight == 0) continue;
                if (!nh_grow(&l->cell, &room_cell, l->n_cell + 1, sizeof *l->cell) ||
                    !nh_grow(&l->weight, &room_weight, l->n_cell + 1, sizeof *l->weight))
                    return nh_fail_memory(err, "cells");
                memcpy(l->cell[l->n_cell], cell, sizeof cell);
                l->weight[l->n_cell++] = weight;
                sum += 1.0 / weight;
            }
    const double wanted = (double)m[0] * m[1] * m[2];
    return fabs(sum - wanted) < 1e-6 * wanted
               ? 0
               : nh_fail(err, "the cell is too skew for a %d x %d x %d mesh of Wannier cells", m[0], m[1],
                         m[2]);
}

/* --- one k-point --- */

/* c = a b, or with `adjoint` a^dagger b, a b^dagger. */
static void multiply(size_t n, const double complex *a, bool a_adjoint, const double complex *b,
                     bool b_adjoint, double complex *c)
{
    const double complex one = 1, zero = 0;
    cblas_zgemm(CblasRowMajor, a_adjoint ? CblasConjTrans : CblasNoTrans,
                b_adjoint ? CblasConjTrans : CblasNoTrans, (int)n, (int)n, (int)n, &one, a, (int)n, b, (int)n,
                &zero, c, (int)n);
}

/* LAPACK, by columns, sees the conjugate of a Hermitian matrix; its vectors, by rows, are the adjoint ones
 * of ours. */
static int diagonalise(size_t n, char task, double complex *a, double *value, nh_error *err)
{
    const lapack_int info =
        LAPACKE_zheevd(LAPACK_COL_MAJOR, task, 'L', (lapack_int)n, a, (lapack_int)n, value);
    return info == 0 ? 0 : nh_fail(err, "zheevd of LAPACK failed (info %d)", (int)info);
}

/* Eigenvalues and vectors of S, X = S^-1/2. */
static int root_of_overlap(const job *j, work *w, size_t index, nh_error *err)
{
    const size_t n = j->n, step = j->basis / n; /* spin is the fastest index: both spins have the same S */
    const double *const s = j->s + 2 * j->basis * j->basis * index;
    for (size_t a = 0; a < n; a++)
        for (size_t b = 0; b < n; b++) {
            const double *const z = s + 2 * (step * a * j->basis + step * b);
            w->v[a * n + b] = z[0] + I * z[1];
        }
    const double *const k = j->k + 3 * (j->first + index);
    if (diagonalise(n, 'V', w->v, w->value, err)) return -1;
    if (!(w->value[0] > singular))
        return nh_fail(err,
                       "k = (%g, %g, %g): the overlap matrix is singular (smallest eigenvalue %.2g): there "
                       "are no orthogonal orbitals",
                       k[0], k[1], k[2], w->value[0]);
    j->smallest[j->first + index] = w->value[0];
    for (size_t i = 0; i < n; i++)
        w->root[i] = sqrt(w->value[i]);
    for (size_t i = 0; i < n; i++)
        for (size_t a = 0; a < n; a++)
            w->t[i * n + a] = w->v[i * n + a] / sqrt(w->root[i]);
    multiply(n, w->t, true, w->t, false, w->x);
    return 0;
}

/* H~ = X H X, spin block after spin block. */
static void turn_hamiltonian(const job *j, work *w, size_t index)
{
    const size_t n = j->n, basis = j->basis, step = basis / n;
    const double *const h = j->h + 2 * basis * basis * index;
    double complex *const to = j->hk + (j->first + index) * basis * basis;
    for (size_t s = 0; s < step; s++)
        for (size_t t = 0; t < step; t++) {
            for (size_t a = 0; a < n; a++)
                for (size_t b = 0; b < n; b++) {
                    const double *const z = h + 2 * ((step * a + s) * basis + step * b + t);
                    w->t[a * n + b] = z[0] + I * z[1];
                }
            multiply(n, w->x, false, w->t, false, w->u);
            multiply(n, w->u, false, w->x, false, w->t);
            for (size_t a = 0; a < n; a++)
                memcpy(to + (s * n + a) * basis + t * n, w->t + a * n, n * sizeof *to);
        }
}

/* Bands above the ceiling end there: H~ <- c + sum min(E - c, 0) |v><v|. */
static int lower_ceiling(const job *j, work *w, size_t index, nh_error *err)
{
    const size_t n = j->basis;
    const double ceiling = j->l->ceiling;
    double complex *const h = j->hk + (j->first + index) * n * n;
    memcpy(w->states, h, n * n * sizeof *h);
    if (diagonalise(n, 'V', w->states, w->energy, err)) return -1;
    for (size_t i = 0; i < n; i++)
        for (size_t a = 0; a < n; a++)
            w->scaled[i * n + a] = fmin(w->energy[i] - ceiling, 0) * w->states[i * n + a];
    multiply(n, w->states, true, w->scaled, false, h);
    for (size_t i = 0; i < n; i++)
        h[i * n + i] += ceiling;
    return 0;
}

/* A(k) and dS/dk. */
static void sum_positions(const job *j, work *w, const double k[3])
{
    const nh_pairs *const pairs = &j->g->pairs;
    const size_t n = j->n;
    for (int c = 0; c < 3; c++) {
        memset(w->a[c], 0, n * n * sizeof *w->a[c]);
        memset(w->ds[c], 0, n * n * sizeof *w->ds[c]);
    }
    for (size_t p = 0; p < pairs->count; p++) {
        const nh_pair *const q = &pairs->pair[p];
        const double angle = 2 * M_PI * (k[0] * q->cell[0] + k[1] * q->cell[1] + k[2] * q->cell[2]);
        const double complex phase = cos(angle) + I * sin(angle);
        double shift[3];
        nh_lattice_apply((const double[]){q->cell[0], q->cell[1], q->cell[2]}, j->g->structure.lattice,
                         shift);
        const size_t row = j->start[q->src], column = j->start[q->dst];
        const size_t rows = j->start[q->src + 1] - row, columns = j->start[q->dst + 1] - column;
        for (size_t a = 0; a < rows; a++)
            for (size_t b = 0; b < columns; b++) {
                const size_t from = pairs->start[p] + a * columns + b, to = (row + a) * n + column + b;
                const double complex s = phase * j->g->overlap[from];
                for (int c = 0; c < 3; c++) {
                    w->a[c][to] += phase * j->position[(size_t)c * pairs->n_elem + from];
                    w->ds[c][to] += I * shift[c] * s;
                }
            }
    }
}

/* With S = V s V^dagger, A~ = X A X - i V (F o (V^dagger dS V)) diag(sqrt s) V^dagger with F_ij = -1 /
 * (sqrt(s_i s_j) (sqrt s_i + sqrt s_j)), the divided differences of s^-1/2; then its Hermitian part. */
static int turn_positions(const job *j, work *w, size_t index, nh_error *err)
{
    const size_t n = j->n;
    const double *const k = j->k + 3 * (j->first + index);
    sum_positions(j, w, k);
    for (size_t c = 0; c < 3; c++) {
        double complex *const to = j->rk + (c * j->n_k + j->first + index) * n * n;
        multiply(n, w->x, false, w->a[c], false, w->t);
        multiply(n, w->t, false, w->x, false, to);
        multiply(n, w->v, false, w->ds[c], false, w->t);
        multiply(n, w->t, false, w->v, true, w->u);
        for (size_t a = 0; a < n; a++)
            for (size_t b = 0; b < n; b++)
                w->u[a * n + b] *= I / (w->root[a] * (w->root[a] + w->root[b]));
        multiply(n, w->v, true, w->u, false, w->t);
        multiply(n, w->t, false, w->v, false, w->u);
        double worst = 0;
        for (size_t a = 0; a < n * n; a++)
            to[a] += w->u[a];
        for (size_t a = 0; a < n; a++)
            for (size_t b = 0; b <= a; b++) {
                const double complex x = to[a * n + b], y = conj(to[b * n + a]);
                worst = fmax(worst, cabs(x - y) / 2);
                to[a * n + b] = (x + y) / 2;
                to[b * n + a] = conj(to[a * n + b]);
            }
        if (!(worst < position_tolerance))
            return nh_fail(
                err, "k = (%g, %g, %g): the position matrix does not belong to the overlap (off by %.2g Å)",
                k[0], k[1], k[2], worst);
    }
    return 0;
}

static void turn_one(void *context, size_t index, int thread)
{
    const job *const j = context;
    work *const w = &j->work[thread];
    nh_error *const err = &j->error[index];
    err->text[0] = '\0';
    if (root_of_overlap(j, w, index, err)) return;
    turn_hamiltonian(j, w, index);
    if (w->states != NULL && lower_ceiling(j, w, index, err)) return;
    if (j->n_r > 0) turn_positions(j, w, index, err);
}

static int turn_all(job *j, nh_threads *threads, nh_error *err)
{
    for (j->first = 0; j->first < j->n_k; j->first += j->group) {
        const size_t n = j->n_k - j->first < j->group ? j->n_k - j->first : j->group;
        if (nh_fourier_many(j->fourier, n, j->k + 3 * j->first, j->h, j->s, threads, err)) return -1;
        nh_parallel_for(threads, n, turn_one, j);
        for (size_t i = 0; i < n; i++)
            if (j->error[i].text[0] != '\0') {
                *err = j->error[i];
                return -1;
            }
    }
    return 0;
}

/* --- back to cells --- */

/* to[n_cell][numbers] = 1/N sum_k exp(-2 pi i k.R) from[n_k][numbers] */
static int to_cells(const job *j, const double complex *from, size_t numbers, double complex *to,
                    nh_error *err)
{
    const nh_lowdin *const l = j->l;
    size_t size;
    double complex *const phase =
        nh_size_mul(l->n_cell, j->n_k, &size) ? NH_ARRAY(double complex, size) : NULL;
    if (phase == NULL) return nh_fail_memory(err, "phases");
    for (size_t c = 0; c < l->n_cell; c++)
        for (size_t i = 0; i < j->n_k; i++) {
            const double *const k = j->k + 3 * i;
            const double angle =
                -2 * M_PI * (k[0] * l->cell[c][0] + k[1] * l->cell[c][1] + k[2] * l->cell[c][2]);
            phase[c * j->n_k + i] = (cos(angle) + I * sin(angle)) / (double)j->n_k;
        }
    const double complex one = 1, zero = 0;
    cblas_zgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)l->n_cell, (int)numbers, (int)j->n_k, &one,
                phase, (int)j->n_k, from, (int)numbers, &zero, to, (int)numbers);
    free(phase);
    return 0;
}

/* Largest |h| where a cell is on the border of the supercell, over the largest of all. */
static double outer_share(const nh_lowdin *l)
{
    double all = 0, outer = 0;
    const size_t size = l->basis * l->basis;
    for (size_t c = 0; c < l->n_cell; c++) {
        bool border = l->weight[c] > 1;
        for (int d = 0; d < 3; d++)
            border = border || (l->mesh[d] > 1 && 2 * abs(l->cell[c][d]) + 1 >= l->mesh[d]);
        double largest = 0;
        for (size_t i = 0; i < size; i++)
            largest = fmax(largest, hypot(l->h[2 * (c * size + i)], l->h[2 * (c * size + i) + 1]));
        all = fmax(all, largest);
        if (border) outer = fmax(outer, largest);
    }
    return all > 0 ? outer / all : 0;
}

/* --- how good between the points --- */

static int interpolated(const nh_lowdin *l, const double k[3], double complex *h, double *energy,
                        nh_error *err)
{
    const size_t size = l->basis * l->basis;
    memset(h, 0, size * sizeof *h);
    for (size_t c = 0; c < l->n_cell; c++) {
        const double angle = 2 * M_PI * (k[0] * l->cell[c][0] + k[1] * l->cell[c][1] + k[2] * l->cell[c][2]);
        const double complex phase = (cos(angle) + I * sin(angle)) / l->weight[c];
        cblas_zaxpy((int)size, &phase, l->h + 2 * c * size, 1, h, 1);
    }
    return diagonalise(l->basis, 'N', h, energy, err);
}

static int measure(const job *j, nh_lowdin *l, nh_threads *threads, nh_error *err)
{
    double k[3 * CHECKS];
    for (int i = 0; i < CHECKS; i++)
        for (int d = 0; d < 3;
             d++) /* points that spread over the mesh, half a step off it; on an axis of one point, on it */
            k[3 * i + d] = ((i * (2 * d + 1) * l->mesh[d] / CHECKS) % l->mesh[d] + 0.5) / l->mesh[d];
    nh_spectrum exact = {0};
    double complex *const h = NH_ARRAY(double complex, l->basis * l->basis);
    double *const energy = NH_ARRAY(double, l->basis);
    const nh_spectrum_task task = {.name = "H(k)",
                                   .n_k = CHECKS,
                                   .basis = l->basis,
                                   .k = k,
                                   .fourier = j->fourier,
                                   .choice = {.kind = NH_BANDS_ALL},
                                   .threads = nh_threads_count(threads)};
    int status = h == NULL || energy == NULL ? nh_fail_memory(err, "bands")
                                             : nh_spectrum_new(CHECKS, l->basis, &exact, err);
    if (status == 0) status = nh_spectrum_solve(&task, &exact, err);
    l->below = j->g->efermi + above_fermi;
    l->error_below = isnan(l->below) ? NAN : 0;
    for (size_t i = 0; i < CHECKS && status == 0; i++) {
        status = interpolated(l, k + 3 * i, h, energy, err);
        for (size_t b = 0; b < l->basis && status == 0; b++) {
            const double e = exact.energy[i * l->basis + b], d = fabs(energy[b] - e);
            if (!(e > l->ceiling)) l->error = fmax(l->error, d);
            if (e <= l->below) l->error_below = fmax(l->error_below, d);
        }
    }
    nh_spectrum_free(&exact);
    free(h);
    free(energy);
    return status;
}

/* --- all of it --- */

static int work_new(job *j, nh_threads *threads, nh_error *err)
{
    const size_t n2 = j->n * j->n, b2 = 2 * j->basis * j->basis;
    j->n_thread = nh_threads_count(threads);
    j->group = 4 * (size_t)j->n_thread;
    j->work = NH_ARRAY(work, (size_t)j->n_thread);
    j->error = NH_ARRAY(nh_error, j->group);
    j->h = NH_ARRAY(double, j->group *b2);
    j->s = NH_ARRAY(double, j->group *b2);
    bool good = j->work != NULL && j->error != NULL && j->h != NULL && j->s != NULL;
    for (int t = 0; good && t < j->n_thread; t++) {
        work *const w = &j->work[t];
        double complex **const square[] = {&w->v, &w->x, &w->t, &w->u};
        for (size_t i = 0; i < sizeof square / sizeof square[0]; i++)
            good = good && (*square[i] = NH_ARRAY(double complex, n2)) != NULL;
        for (size_t c = 0; c < j->n_r; c++)
            good = good && (w->a[c] = NH_ARRAY(double complex, n2)) != NULL &&
                   (w->ds[c] = NH_ARRAY(double complex, n2)) != NULL;
        if (!isnan(j->l->ceiling))
            good = good && (w->states = NH_ARRAY(double complex, j->basis * j->basis)) != NULL &&
                   (w->scaled = NH_ARRAY(double complex, j->basis * j->basis)) != NULL &&
                   (w->energy = NH_ARRAY(double, j->basis)) != NULL;
        good =
            good && (w->value = NH_ARRAY(double, j->n)) != NULL && (w->root = NH_ARRAY(double, j->n)) != NULL;
    }
    return good ? 0 : nh_fail_memory(err, "orthogonal orbitals");
}

static void job_free(job *j)
{
    for (int t = 0; j->work != NULL && t < j->n_thread; t++) {
        work *const w = &j->work[t];
        free(w->v);
        free(w->x);
        free(w->t);
        free(w->u);
        for (int c = 0; c < 3; c++) {
            free(w->a[c]);
            free(w->ds[c]);
        }
        free(w->value);
        free(w->root);
        free(w->states);
        free(w->scaled);
        free(w->energy);
    }
    free(j->work);
    free(j->error);
    free(j->h);
    free(j->s);
    free(j->hk);
    free(j->rk);
    free(j->smallest);
    free(j->start);
}

/* Arrays over the mesh and over the cells. */
static int arrays_new(job *j, nh_lowdin *l, nh_error *err)
{
    size_t hk, rk = 0, h, r = 0;
    const size_t b2 = j->basis * j->basis, n2 = j->n * j->n;
    if (b2 > INT_MAX || !nh_size_mul(j->n_k, b2, &hk) || !nh_size_mul(l->n_cell, 2 * b2, &h) ||
        !nh_size_mul(3 * j->n_k, n2, &rk) || !nh_size_mul(3 * l->n_cell, 2 * n2, &r))
        return nh_fail(err, "%zu states at %zu k-points are too many", j->basis, j->n_k);
    j->hk = NH_ARRAY(double complex, hk);
    l->h = NH_ARRAY(double, h);
    j->smallest = NH_ARRAY(double, j->n_k);
    j->start = NH_ARRAY(size_t, j->g->structure.n_atom + 1);
    bool good = j->hk != NULL && l->h != NULL && j->smallest != NULL && j->start != NULL;
    if (j->n_r > 0) {
        j->rk = NH_ARRAY(double complex, rk);
        l->r = NH_ARRAY(double, r);
        good = good && j->rk != NULL && l->r != NULL;
    }
    return good ? 0 : nh_fail_memory(err, "the Hamiltonian of orthogonal orbitals");
}

static int make(job *j, nh_lowdin *l, nh_threads *threads, nh_error *err)
{
    const int *const m = l->mesh;
    double *const k = NH_ARRAY(double, 3 * j->n_k);
    if (k == NULL) return nh_fail_memory(err, "k-points");
    for (size_t i = 0; i < j->n_k; i++) {
        const size_t n[3] = {(size_t)m[0], (size_t)m[1], (size_t)m[2]};
        k[3 * i] = (double)(i % n[0]) / (double)n[0];
        k[3 * i + 1] = (double)(i / n[0] % n[1]) / (double)n[1];
        k[3 * i + 2] = (double)(i / n[0] / n[1]) / (double)n[2];
    }
    j->k = k;
    int status = find_cells(j->g, l, err);
    if (status == 0) status = arrays_new(j, l, err);
    if (status == 0) {
        nh_orbital_start(&j->g->structure, j->start);
        status = work_new(j, threads, err);
    }
    if (status == 0) status = turn_all(j, threads, err);
    if (status == 0) status = to_cells(j, j->hk, j->basis * j->basis, (double complex *)l->h, err);
    for (size_t c = 0; c < j->n_r && status == 0; c++)
        status = to_cells(j, j->rk + c * j->n_k * j->n * j->n, j->n * j->n,
                          (double complex *)l->r + c * l->n_cell * j->n * j->n, err);
    if (status == 0) {
        l->smallest = j->smallest[0];
        for (size_t i = 1; i < j->n_k; i++)
            l->smallest = fmin(l->smallest, j->smallest[i]);
        l->outer = outer_share(l);
        status = measure(j, l, threads, err);
    }
    free(k);
    return status;
}

int nh_lowdin_new(nh_graph *g, nh_matrix which, const double *position, const int mesh[3], double ceiling,
                  nh_threads *threads, nh_lowdin **out, nh_error *err)
{
    nh_fourier *fourier;
    *out = NULL;
    for (int d = 0; d < 3; d++)
        if (mesh[d] < 1 || mesh[d] > MOST_POINTS)
            return nh_fail(err, "a mesh of 1 to %d points along each axis expected, %d found",
                           (int)MOST_POINTS, mesh[d]);
    if (nh_fourier_new(g, which, NULL, &fourier, err)) return -1;
    nh_lowdin *const l = NH_ARRAY(nh_lowdin, 1);
    job j = {.g = g,
             .position = position,
             .fourier = fourier,
             .l = l,
             .n = nh_structure_orbitals(&g->structure),
             .basis = nh_fourier_basis(fourier),
             .n_k = (size_t)mesh[0] * (size_t)mesh[1] * (size_t)mesh[2],
             .n_r = position != NULL ? 3 : 0};
    int status = l == NULL ? nh_fail_memory(err, "orthogonal orbitals") : 0;
    if (status == 0) {
        memcpy(l->mesh, mesh, sizeof l->mesh);
        l->ceiling = ceiling;
        l->n_orbital = j.n;
        l->basis = j.basis;
        status = make(&j, l, threads, err);
    }
    job_free(&j);
    nh_fourier_free(fourier);
    if (status != 0) {
        nh_lowdin_free(l);
        return -1;
    }
    *out = l;
    return 0;
}

void nh_lowdin_free(nh_lowdin *l)
{
    if (l == NULL) return;
    free(l->cell);
    free(l->weight);
    free(l->h);
    free(l->r);
    free(l);
}
