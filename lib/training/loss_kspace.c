#include "training/loss_internal.h"

#include "base/memory.h"

#include <cblas.h>
#include <stdint.h>
#include <string.h>

/* Inside, spin is the slower index of the basis: the two spins of a row are blocks next to each other. */

/* H_gt(k) - H_pred(k) between two atoms. */
static void group_sum(void *context, size_t index, int thread)
{
    (void)thread;
    const nh_loss_work *w = context;
    const nh_loss_data *d = w->d;
    const nh_graph *g = d->g;
    for (size_t pair = d->group[index]; pair < d->group[index + 1]; pair++) {
        const size_t e = d->edge_of[pair];
        if (e == SIZE_MAX && !w->paper) continue;
        const nh_pair *at = &g->pairs.pair[pair];
        const nh_loss_ends p = nh_loss_ends_of(d, pair);
        const double complex phase = nh_loss_phase(w->now, at);
        const double *block = e != SIZE_MAX && d->start[e + 1] > d->start[e] ? w->block + d->start[e] : NULL;
        for (size_t s = 0; s < w->n_spin * w->n_spin; s++) {
            nh_loss_block q;
            if (!nh_loss_difference(d, &p, s, &q)) continue;
            const bool diagonal = s / w->n_spin == s % w->n_spin;
            for (size_t i = 0; i < p.rows; i++) {
                double complex *row = w->h +
                                      (s / w->n_spin * d->n_orbital + d->orbital[at->src] + i) * w->n_basis +
                                      s % w->n_spin * d->n_orbital + d->orbital[at->dst];
                for (size_t j = 0; j < p.columns; j++) {
                    const size_t k = i * p.columns + j;
                    double re = nh_loss_re(q, k);
                    if (diagonal && block != NULL) re -= block[p.row[i] * p.width + p.column[j]];
                    row[j] += phase * CMPLX(re, nh_loss_im(q, k));
                }
            }
        }
    }
}

/* C = A B in panels of rows, the same ones for every number of threads. */
typedef struct product {
    CBLAS_TRANSPOSE ta, tb;
    size_t m, n, k, lda, ldb, ldc;
    const double complex *a, *b;
    double complex *c;
} product;

enum { PANEL = 128 };

static void product_panel(void *context, size_t index, int thread)
{
    (void)thread;
    const product *p = context;
    const size_t first = index * PANEL, rows = p->m - first < PANEL ? p->m - first : PANEL;
    const double complex one = 1, zero = 0;
    cblas_zgemm(CblasRowMajor, p->ta, p->tb, (int)rows, (int)p->n, (int)p->k, &one,
                p->a + (p->ta == CblasNoTrans ? first * p->lda : first), (int)p->lda, p->b, (int)p->ldb,
                &zero, p->c + first * p->ldc, (int)p->ldc);
}

static void multiply(nh_threads *threads, product p)
{
    if (p.m == 0 || p.n == 0) return;
    nh_parallel_for(threads, (p.m + PANEL - 1) / PANEL, product_panel, &p);
}

int nh_loss_check_states(const nh_loss_data *d, size_t n, const nh_kstates *state, nh_error *err)
{
    const size_t n_basis = nh_loss_spins(d) * d->n_orbital;
    for (const nh_kstates *s = state; s < state + n; s++)
        if (s->n_basis != n_basis || s->n_band > n_basis || s->n_p > s->n_band || s->n_band == 0)
            return nh_fail(
                err, "states: %zu bands of %zu orbitals, %zu of them in P: the crystal has %zu orbitals",
                s->n_band, s->n_basis, s->n_p, n_basis);
    return 0;
}

int nh_loss_k_new(const nh_loss_work *w, const nh_kstates *state, nh_loss_k *t, nh_error *err)
{
    const nh_loss_data *d = w->d;
    t->state = state;
    if (w->outputs != NULL) return 0;
    size_t size;
    if (!nh_size_mul(state->n_band, state->n_basis, &size)) return nh_fail_memory(err, "the states");
    t->u = nh_calloc_aligned(size, sizeof *t->u);
    t->uc = nh_calloc_aligned(size, sizeof *t->uc);
    t->delta = nh_calloc_aligned(state->n_band * state->n_band, sizeof *t->delta);
    t->k = w->gradient ? nh_calloc_aligned(d->n_orbital * d->n_orbital, sizeof *t->k) : NULL;
    if (!t->u || !t->uc || !t->delta || (w->gradient && !t->k)) return nh_fail_memory(err, "the states");
    for (size_t a = 0; a < state->n_band; a++)
        for (size_t i = 0; i < d->n_orbital; i++)
            for (size_t s = 0; s < w->n_spin; s++) {
                const double *c = state->vector + 2 * (a * w->n_basis + i * w->n_spin + s);
                t->u[a * w->n_basis + s * d->n_orbital + i] = CMPLX(c[0], c[1]);
                t->uc[a * w->n_basis + s * d->n_orbital + i] = CMPLX(c[0], -c[1]);
            }
    return 0;
}

/* delta: PP, PQ and QQ; the corner QP, which no term has, stays zero. */
void nh_loss_k_project(nh_loss_work *w, nh_loss_k *t, nh_threads *threads)
{
    const size_t n = w->n_basis, band = t->state->n_band, p = t->state->n_p;
    memset(w->h, 0, n * n * sizeof *w->h);
    w->now = t;
    nh_parallel_for(threads, w->d->n_group, group_sum, w);
    multiply(threads, (product){CblasNoTrans, CblasTrans, n, band, n, n, n, band, w->h, t->u, w->y});
    multiply(threads,
             (product){CblasNoTrans, CblasNoTrans, p, band, n, n, band, band, t->uc, w->y, t->delta});
    multiply(threads, (product){CblasNoTrans, CblasNoTrans, band - p, band - p, n, n, band, band,
                                t->uc + p * n, w->y + p, t->delta + p * band + p});
    for (size_t a = 0; a < band; a++)
        *(a < p ? &t->trace_p : &t->trace_q) += creal(t->delta[a * band + a]);
}

/* Sum of f over a rectangle of delta with mu on the diagonal; turns it into the gradient, `weight` times f'.
 */
static double rectangle(const nh_loss_work *w, nh_loss_k *t, size_t row, size_t rows, size_t column,
                        size_t columns, double weight)
{
    const size_t band = t->state->n_band;
    double total = 0;
    for (size_t a = row; a < row + rows; a++) {
        double sum = 0;
        for (size_t b = column; b < column + columns; b++) {
            double complex *x = &t->delta[a * band + b];
            const double re = creal(*x) + (a == b ? w->mu : 0), im = cimag(*x);
            sum += nh_loss_f(w, re) + nh_loss_f(w, im);
            *x = CMPLX(weight * nh_loss_df(w, re), weight * nh_loss_df(w, im));
        }
        total += sum;
    }
    return total;
}

/* Sizes of the parts of the full matrix: a graph without spin has half of the bands. */
static double part_size(const nh_loss_work *w, size_t rows, size_t columns)
{
    return w->d->copies * (double)rows * w->d->copies * (double)columns;
}

/* The factors of t_P, t_Q, t_PQ at one k-point; 0 for parts that have no states. */
void nh_loss_k_weigh(const nh_loss_work *w, const nh_loss_k *t, double weight_h, double mean[3],
                     double weight[3])
{
    const double lambda[3] = {w->o->lambda_p, w->o->lambda_q, w->o->lambda_pq},
                 copies = w->d->copies / (double)w->n_k;
    const size_t p = t->state->n_p, q = t->state->n_band - p, rows[3] = {p, q, p}, columns[3] = {p, q, q};
    for (size_t x = 0; x < 3; x++) {
        mean[x] = rows[x] > 0 && columns[x] > 0 ? copies / part_size(w, rows[x], columns[x]) : 0;
        weight[x] = weight_h * lambda[x] * mean[x];
    }
}

/* The sums of t_P, t_Q, t_PQ at one k-point; delta becomes d loss / d delta but for mu in the label. */
void nh_loss_k_errors(const nh_loss_work *w, nh_loss_k *t, const double weight[3], double part[3])
{
    const size_t p = t->state->n_p, q = t->state->n_band - p;
    part[0] = rectangle(w, t, 0, p, 0, p, weight[0]);
    part[1] = rectangle(w, t, p, q, p, q, weight[1]);
    part[2] = rectangle(w, t, 0, p, p, q, weight[2]);
}

/* Weights of Re tr PP and Re tr QQ of H_pred - H_gt in num of mu. */
double nh_loss_k_trace_weight(const nh_loss_work *w, const nh_loss_k *t, bool q)
{
    const size_t n = q ? t->state->n_band - t->state->n_p : t->state->n_p;
    if (n == 0) return 0;
    return (q ? w->o->lambda_q : w->o->lambda_p) * w->d->copies / (part_size(w, n, n) * (double)w->n_k);
}

/* What mu in the trace label adds to the diagonals of P and Q, and to D for each number of the overlap. */
double nh_loss_k_through_mu(const nh_loss_work *w, const nh_loss_k *t, bool q)
{
    return w->weight_mu != 0 ? -w->weight_mu * nh_loss_k_trace_weight(w, t, q) / w->den : 0;
}

/* k: sum over the two spins of C^T G C^*. */
void nh_loss_k_gradient(nh_loss_work *w, nh_loss_k *t, nh_threads *threads)
{
    const nh_loss_data *d = w->d;
    const size_t n = w->n_basis, band = t->state->n_band, p = t->state->n_p;
    for (size_t a = 0; a < band; a++)
        t->delta[a * band + a] += nh_loss_k_through_mu(w, t, a >= p);
    for (size_t a = p; a < band; a++)
        memset(t->delta + a * band, 0, p * sizeof *t->delta);
    multiply(threads,
             (product){CblasNoTrans, CblasNoTrans, band, n, band, band, n, n, t->delta, t->uc, w->y});
    multiply(threads, (product){CblasTrans, CblasNoTrans, d->n_orbital, d->n_orbital, w->n_spin * band,
                                d->n_orbital, d->n_orbital, d->n_orbital, t->u, w->y, t->k});
}
