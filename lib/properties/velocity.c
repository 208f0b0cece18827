#include "properties/velocity.h"

#include "base/complex.h"
#include "base/memory.h"
#include "crystal/fourier_internal.h"
#include "crystal/lattice.h"

#include <cblas.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const double ASYMMETRY = 1e-3; /* Å, of a position matrix */

struct nh_velocity {
    const nh_graph *graph;
    const nh_fourier *fourier;
    size_t basis, n_cell;
    const int (*cell)[3];
    double *centred; /* [3][n_elem] r' */
};

struct nh_velocity_work {
    size_t rows, axes;           /* axes: how many directions at a time */
    double complex *weight;      /* [axes][n_cell] */
    double complex *m, *t;       /* [axes][basis][basis] each */
    double complex *x[3], *d[3]; /* [rows][basis] each */
};

/* r - R S/2, symmetrised over the reverse pairs. */
static int centre(const nh_graph *g, const double *position, double *out, nh_error *err)
{
    const nh_pairs *p = &g->pairs;
    const nh_structure *s = &g->structure;
    size_t *reverse = NH_ARRAY(size_t, p->count);
    if (reverse == NULL) return nh_fail_memory(err, "the reverse pairs");
    nh_pairs_reverse(p, reverse);
    int status = 0;
    for (size_t i = 0; i < p->count; i++) {
        const nh_pair *q = &p->pair[i];
        const double cell[3] = {q->cell[0], q->cell[1], q->cell[2]};
        double shift[3];
        nh_lattice_apply(cell, s->lattice, shift);
        for (size_t x = 0; x < 3; x++) {
            const double middle =
                0.5 * (s->position[3 * (size_t)q->src + x] + s->position[3 * (size_t)q->dst + x]);
            for (size_t e = p->start[i]; e < p->start[i + 1]; e++)
                out[x * p->n_elem + e] = position != NULL
                                             ? position[x * p->n_elem + e] - 0.5 * shift[x] * g->overlap[e]
                                             : middle * g->overlap[e];
        }
    }
    for (size_t i = 0; i < p->count && status == 0; i++) {
        const size_t back = reverse[i], rows = nh_atom_orbitals(s, (size_t)p->pair[i].src),
                     columns = nh_atom_orbitals(s, (size_t)p->pair[i].dst);
        if (back < i) continue; /* nh_fourier_new has found all of them */
        for (size_t x = 0; x < 3; x++) {
            double *a = out + x * p->n_elem + p->start[i], *b = out + x * p->n_elem + p->start[back];
            for (size_t e = 0; e < rows * columns; e++) {
                double *one = &a[e], *other = &b[e % columns * rows + e / columns];
                const int *c = p->pair[i].cell;
                if (!(fabs(*one - *other) <= ASYMMETRY))
                    status =
                        nh_fail(err,
                                "position_matrix: pair %zu (%d, %d, %d %d %d): the reverse pair's is not the "
                                "transpose less R S: %g and %g Angstrom",
                                i, p->pair[i].src, p->pair[i].dst, c[0], c[1], c[2], *one, *other);
                *one = *other = 0.5 * (*one + *other);
            }
        }
    }
    free(reverse);
    return status;
}

int nh_velocity_new(const nh_graph *g, const nh_fourier *f, const double *position, nh_velocity **out,
                    nh_error *err)
{
    nh_velocity *v = NH_ARRAY(nh_velocity, 1);
    size_t room;
    *out = NULL;
    if (v == NULL) return nh_fail_memory(err, "the velocities");
    v->graph = g;
    v->fourier = f;
    v->basis = nh_fourier_basis(f);
    v->cell = nh_fourier_cells(f, &v->n_cell);
    v->centred = nh_size_mul(3, g->pairs.n_elem, &room) ? NH_ARRAY(double, room) : NULL;
    int status =
        v->centred != NULL ? centre(g, position, v->centred, err) : nh_fail_memory(err, "the positions");
    if (status == 0 && v->basis > INT_MAX / 2)
        status = nh_fail(err, "a matrix of %zu x %zu", v->basis, v->basis);
    if (status == 0)
        *out = v;
    else
        nh_velocity_free(v);
    return status;
}

void nh_velocity_free(nh_velocity *v)
{
    if (v == NULL) return;
    free(v->centred);
    free(v);
}

int nh_velocity_work_new(const nh_velocity *v, size_t rows, nh_velocity_work **out, nh_error *err)
{
    nh_velocity_work *w = NH_ARRAY(nh_velocity_work, 1);
    const size_t size = v->basis * v->basis * sizeof(double complex);
    *out = NULL;
    if (w == NULL) return nh_fail_memory(err, "the velocities");
    w->rows = rows;
    w->axes = nh_fourier_batch(v->fourier) > 1 ? 3 : 1;
    w->weight = NH_ARRAY(double complex, w->axes * v->n_cell);
    w->m = nh_calloc_aligned(w->axes, size);
    w->t = nh_calloc_aligned(w->axes, size);
    bool good = w->weight != NULL && w->m != NULL && w->t != NULL;
    for (size_t x = 0; x < 3; x++) {
        w->x[x] = nh_calloc_aligned(rows, v->basis * sizeof(double complex));
        w->d[x] = nh_calloc_aligned(rows, v->basis * sizeof(double complex));
        good = good && w->x[x] != NULL && w->d[x] != NULL;
    }
    *out = w;
    if (good) return 0;
    nh_velocity_work_free(w);
    *out = NULL;
    return nh_fail_memory(err, "the velocities");
}

void nh_velocity_work_free(nh_velocity_work *w)
{
    if (w == NULL) return;
    free(w->weight);
    free(w->m);
    free(w->t);
    for (size_t x = 0; x < 3; x++) {
        free(w->x[x]);
        free(w->d[x]);
    }
    free(w);
}

/* exp(ik.R), or with axis 0 .. 2 its derivative i R_axis exp(ik.R). */
static void make_weights(const nh_velocity *v, const double k[3], int axis, double complex *weight)
{
    for (size_t c = 0; c < v->n_cell; c++) {
        const double cell[3] = {v->cell[c][0], v->cell[c][1], v->cell[c][2]};
        double turn = 0, r[3];
        for (size_t x = 0; x < 3; x++)
            turn += k[x] * cell[x];
        turn -= floor(turn);
        nh_lattice_apply(cell, v->graph->structure.lattice, r);
        const double complex phase = CMPLX(cos(2 * M_PI * turn), sin(2 * M_PI * turn));
        weight[c] = axis < 0 ? phase : I * r[axis] * phase;
    }
}

/* x = V M^T: with Hermitian M the conjugate of C_n^dagger M for each row n. */
static void times(size_t rows, size_t basis, const double complex *vector, const double complex *m,
                  double complex *x)
{
    const double complex one = 1, zero = 0;
    cblas_zgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)basis, (int)basis, &one, vector,
                (int)basis, m, (int)basis, &zero, x, (int)basis);
}

/* out = x V^dagger + beta out, against all states. */
static void against(size_t rows, size_t basis, const double complex *x, const double complex *vector,
                    double complex *out)
{
    const double complex one = 1, zero = 0;
    cblas_zgemm(CblasRowMajor, CblasNoTrans, CblasConjTrans, (int)rows, (int)basis, (int)basis, &one, x,
                (int)basis, vector, (int)basis, &zero, out, (int)basis);
}

/* p of one direction from x[0] = V (dH)^T, x[1] = V (dS)^T, x[2] = V P^T, which are destroyed:
 *   p* = (x0 - E_n/2 x1 - i E_n x2) V^dagger + (-x1/2 + i x2) V^dagger E_m. */
static void combine(const nh_velocity *v, nh_velocity_work *w, size_t first, size_t rows,
                    const double *energy, const double complex *vector, double complex *p)
{
    const size_t basis = v->basis;
    for (size_t n = 0; n < rows; n++) {
        const double e = energy[first + n];
        for (size_t i = n * basis; i < (n + 1) * basis; i++) {
            const double complex s = w->x[1][i], r = w->x[2][i];
            w->x[0][i] -= 0.5 * e * s + I * e * r;
            w->x[1][i] = -0.5 * s + I * r;
        }
    }
    against(rows, basis, w->x[0], vector, p);
    against(rows, basis, w->x[1], vector, w->x[2]);
    for (size_t n = 0; n < rows; n++)
        for (size_t m = 0; m < basis; m++)
            p[n * basis + m] = conj(p[n * basis + m] + energy[m] * w->x[2][n * basis + m]);
}

int nh_velocity_at(const nh_velocity *v, nh_velocity_work *w, const double k[3], size_t first, size_t rows,
                   const double *energy, const double *vector, double *p, nh_error *err)
{
    const size_t basis = v->basis, size = basis * basis;
    const double complex *all = (const double complex *)vector, *some = all + first * basis;
    if (rows > w->rows) return nh_fail(err, "%zu states where there is room for %zu", rows, w->rows);
    for (size_t x = 0; x < 3; x += w->axes) {
        for (size_t i = 0; i < w->axes; i++)
            make_weights(v, k, (int)(x + i), w->weight + i * v->n_cell);
        if (nh_fourier_weighted(v->fourier, w->axes, (const double *)w->weight, NULL, (double *)w->m,
                                (double *)w->t, err) != 0)
            return -1;
        make_weights(v, k, -1, w->weight);
        for (size_t i = 0; i < w->axes; i++) {
            times(rows, basis, some, w->m + i * size, w->x[0]);
            times(rows, basis, some, w->t + i * size, w->x[1]);
            if (nh_fourier_weighted(v->fourier, 1, (const double *)w->weight,
                                    v->centred + (x + i) * v->graph->pairs.n_elem, NULL,
                                    (double *)(w->m + i * size), err) != 0)
                return -1;
            times(rows, basis, some, w->m + i * size, w->x[2]);
            combine(v, w, first, rows, energy, all, (double complex *)p + (x + i) * rows * basis);
        }
    }
    return 0;
}

/* m <- D_axis = P + (i/2) dS. */
static int make_connection(const nh_velocity *v, nh_velocity_work *w, const double k[3], int axis,
                           nh_error *err)
{
    const size_t size = v->basis * v->basis;
    make_weights(v, k, -1, w->weight);
    if (nh_fourier_weighted(v->fourier, 1, (const double *)w->weight,
                            v->centred + (size_t)axis * v->graph->pairs.n_elem, NULL, (double *)w->m,
                            err) != 0)
        return -1;
    make_weights(v, k, axis, w->weight);
    if (nh_fourier_weighted(v->fourier, 1, (const double *)w->weight, NULL, NULL, (double *)w->t, err) != 0)
        return -1;
    for (size_t i = 0; i < size; i++)
        w->m[i] += 0.5 * I * w->t[i];
    return 0;
}

int nh_velocity_outside(const nh_velocity *v, nh_velocity_work *w, const double k[3], size_t first,
                        size_t rows, const double *vector, double *outside, nh_error *err)
{
    const size_t basis = v->basis, size = basis * basis, n_elem = v->graph->pairs.n_elem;
    const double complex *all = (const double complex *)vector, *some = all + first * basis;
    if (rows > w->rows) return nh_fail(err, "%zu states where there is room for %zu", rows, w->rows);
    for (int x = 0; x < 3; x++) {
        if (make_connection(v, w, k, x, err) != 0) return -1;
        times(rows, basis, some, w->m, w->x[0]);
        against(rows, basis, w->x[0], all, w->d[x]); /* C_m^dagger D C_n */
    }
    for (size_t axis = 0; axis < 3; axis++) {
        const size_t a = (axis + 1) % 3, b = (axis + 2) % 3;
        make_weights(v, k, (int)a, w->weight);
        if (nh_fourier_weighted(v->fourier, 1, (const double *)w->weight, v->centred + b * n_elem, NULL,
                                (double *)w->m, err) != 0)
            return -1;
        make_weights(v, k, (int)b, w->weight);
        if (nh_fourier_weighted(v->fourier, 1, (const double *)w->weight, v->centred + a * n_elem, NULL,
                                (double *)w->t, err) != 0)
            return -1;
        for (size_t i = 0; i < size; i++)
            w->m[i] -= w->t[i];
        times(rows, basis, some, w->m, w->x[0]);
        for (size_t n = 0; n < rows; n++) {
            double sum = 0;
            for (size_t i = n * basis; i < (n + 1) * basis; i++)
                sum += creal(conj(w->x[0][i]) * some[i]) + 2 * cimag(conj(w->d[a][i]) * w->d[b][i]);
            outside[3 * n + axis] = sum;
        }
    }
    return 0;
}
