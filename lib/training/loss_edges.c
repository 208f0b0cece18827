#include "training/loss_internal.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

void nh_loss_correction(const nh_loss_data *d, size_t e, const double *ham, double *block)
{
    const nh_loss_ends p = nh_loss_ends_of(d, d->list.pair[e]);
    const size_t n = d->start[e + 1] - d->start[e];
    if (n == 0) return;
    nh_irreps_to_correction(&d->transform, d->padding ? 0 : p.a, d->padding ? 0 : p.b,
                            ham + e * d->s->irreps.dim, block);
    for (size_t i = 0; i < n; i++)
        block[i] /= d->scale;
}

static void correction_adjoint(const nh_loss_data *d, size_t e, double *g_block, double *g_ham)
{
    const nh_loss_ends p = nh_loss_ends_of(d, d->list.pair[e]);
    const size_t n = d->start[e + 1] - d->start[e], dim = d->s->irreps.dim;
    if (n == 0) {
        memset(g_ham + e * dim, 0, dim * sizeof *g_ham);
        return;
    }
    for (size_t i = 0; i < n; i++)
        g_block[i] /= d->scale;
    nh_correction_to_irreps_adjoint(&d->transform, d->padding ? 0 : p.a, d->padding ? 0 : p.b, g_block,
                                    g_ham + e * dim);
}

void nh_loss_edge_correction(void *context, size_t e, int thread)
{
    (void)thread;
    const nh_loss_work *w = context;
    const nh_loss_data *d = w->d;
    const nh_graph *g = d->g;
    const nh_loss_ends p = nh_loss_ends_of(d, d->list.pair[e]);
    const double *block = w->block + d->start[e];
    const bool answered = d->start[e + 1] > d->start[e];
    nh_loss_correction(d, e, w->ham, w->block + d->start[e]);
    double sum = 0;
    for (size_t s = 0; s < 4; s += 3) {
        nh_loss_block q;
        if (!nh_loss_difference(d, &p, s, &q)) continue;
        for (size_t i = 0; i < p.rows; i++)
            for (size_t j = 0; j < p.columns; j++) {
                const size_t at = i * p.columns + j;
                const double x = answered ? block[p.row[i] * p.width + p.column[j]] : 0;
                sum += (x - nh_loss_re(q, at)) * g->overlap[p.first + at];
            }
    }
    w->sums[e].shift = sum;
}

/* T_b of dH + mu S for each shell pair, and its derivative by mu. */
static void trace_of_label(const nh_loss_data *d, const nh_loss_ends *p, double mu, double *t, double *dt)
{
    const nh_graph *g = d->g;
    const nh_structure *st = &g->structure;
    const size_t n_pair = d->n_shell * d->n_shell;
    memset(t, 0, n_pair * sizeof *t);
    memset(dt, 0, n_pair * sizeof *dt);
    for (size_t s = 0; s < 4; s++) {
        nh_loss_block q;
        if (!nh_loss_difference(d, p, s, &q)) continue;
        const bool diagonal = s == 0 || s == 3;
        size_t row = 0;
        for (size_t k = st->shell_start[p->a]; k < st->shell_start[p->a + 1]; k++) {
            const size_t n_row = (size_t)(2 * st->shell_l[k] + 1);
            size_t column = 0;
            for (size_t m = st->shell_start[p->b]; m < st->shell_start[p->b + 1]; m++) {
                const size_t n_column = (size_t)(2 * st->shell_l[m] + 1);
                double sum = 0, slope = 0;
                for (size_t i = row; i < row + n_row; i++)
                    for (size_t j = column; j < column + n_column; j++) {
                        const size_t at = i * p->columns + j;
                        const double overlap = diagonal ? g->overlap[p->first + at] : 0;
                        const double re = nh_loss_re(q, at) + mu * overlap, im = nh_loss_im(q, at);
                        sum += re * re + im * im;
                        slope += 2 * re * overlap;
                    }
                const size_t b = d->slot[k] * d->n_shell + d->slot[m];
                t[b] += sum;
                dt[b] += slope;
                column += n_column;
            }
            row += n_row;
        }
    }
}

/* LN0 of t and, along it, of its derivative dt, in place. */
static void layer_norm(size_t n, double *t, double *dt)
{
    double mean = 0, slope = 0, variance = 0, along = 0;
    for (size_t b = 0; b < n; b++) {
        mean += t[b] / (double)n;
        slope += dt[b] / (double)n;
    }
    for (size_t b = 0; b < n; b++)
        variance += (t[b] - mean) * (t[b] - mean) / (double)n;
    const double norm = 1 / sqrt(variance + NH_LOSS_TRACE_EPS);
    for (size_t b = 0; b < n; b++) {
        t[b] = (t[b] - mean) * norm;
        along += t[b] * dt[b] / (double)n;
    }
    for (size_t b = 0; b < n; b++)
        dt[b] = (dt[b] - slope - t[b] * along) * norm;
}

/* The occupied shell pairs, which the paper's trace loss counts. */
static void occupied_pairs(const nh_loss_data *d, const nh_loss_ends *p, unsigned char *mask)
{
    const nh_structure *st = &d->g->structure;
    memset(mask, 0, d->n_shell * d->n_shell);
    for (size_t k = st->shell_start[p->a]; k < st->shell_start[p->a + 1]; k++)
        for (size_t m = st->shell_start[p->b]; m < st->shell_start[p->b + 1]; m++)
            mask[d->slot[k] * d->n_shell + d->slot[m]] = 1;
}

/* Shell pairs that the trace loss counts, of all edges. */
double nh_loss_trace_count(const nh_loss_data *d, bool paper)
{
    const nh_structure *st = &d->g->structure;
    double count = 0;
    for (size_t e = 0; e < d->n_edge; e++) {
        const nh_pair *p = &d->g->pairs.pair[d->list.pair[e]];
        const size_t a = (size_t)st->species[p->src], b = (size_t)st->species[p->dst];
        count += paper ? (double)((st->shell_start[a + 1] - st->shell_start[a]) *
                                  (st->shell_start[b + 1] - st->shell_start[b]))
                       : (double)d->n_mask[a * d->n_species + b];
    }
    return count;
}

/* Label and mask of one edge. t[n_shell^2], dt[n_shell^2], room[n_shell^2] for a mask. */
static void edge_label(const nh_loss_data *d, bool paper, const nh_loss_ends *p, double mu, double *t,
                       double *dt, unsigned char *room, const unsigned char **mask)
{
    const size_t n_pair = d->n_shell * d->n_shell, species = (size_t)p->a * d->n_species + (size_t)p->b;
    trace_of_label(d, p, mu, t, dt);
    *mask = paper ? room : d->mask + species * n_pair;
    if (paper)
        occupied_pairs(d, p, room);
    else
        layer_norm(n_pair, t, dt);
}

int nh_loss_trace_label(const nh_loss_data *d, nh_loss_kind kind, double mu, double *label, bool *mask,
                        nh_error *err)
{
    const size_t n_pair = d->n_shell * d->n_shell;
    double *dt = NH_ARRAY(double, n_pair);
    unsigned char *room = NH_ARRAY(unsigned char, n_pair);
    const bool good = dt != NULL && room != NULL;
    for (size_t e = 0; good && e < d->n_edge; e++) {
        const nh_loss_ends p = nh_loss_ends_of(d, d->list.pair[e]);
        const unsigned char *set;
        edge_label(d, kind == NH_LOSS_PAPER, &p, mu, label + e * n_pair, dt, room, &set);
        for (size_t b = 0; b < n_pair; b++)
            mask[e * n_pair + b] = set[b] != 0;
    }
    free(dt);
    free(room);
    return good ? 0 : nh_fail_memory(err, "the trace label");
}

/* Real-space error at the known mu: sum of f, and its derivative by D. */
static void edge_error(const nh_loss_work *w, size_t e, const nh_loss_ends *p)
{
    const nh_loss_data *d = w->d;
    const nh_graph *g = d->g;
    const bool answered = d->start[e + 1] > d->start[e];
    const double *block = w->block + d->start[e];
    double *g_block = w->gradient && answered ? w->g_block + d->start[e] : NULL;
    double sum = 0;
    for (size_t s = 0; s < 4; s++) {
        nh_loss_block q;
        if (!nh_loss_difference(d, p, s, &q)) continue;
        const bool diagonal = s == 0 || s == 3;
        for (size_t i = 0; i < p->rows; i++)
            for (size_t j = 0; j < p->columns; j++) {
                const size_t at = i * p->columns + j, to = p->row[i] * p->width + p->column[j];
                double x = nh_loss_re(q, at);
                if (diagonal) {
                    x += w->mu * g->overlap[p->first + at] - (answered ? block[to] : 0);
                    if (g_block != NULL) g_block[to] -= nh_loss_df(w, x);
                }
                sum += nh_loss_f(w, x);
                if (w->paper) {
                    const double im = nh_loss_im(q, at);
                    sum += im * im;
                }
            }
    }
    if (d->padding && answered && !w->paper) {
        /* Where an atom pair has no orbitals, D is an error itself, in uu and in dd. */
        const size_t n = d->start[e + 1] - d->start[e];
        for (size_t i = 0; i < n; i++) {
            if (p->rows_there[i / p->width] && p->columns_there[i % p->width]) continue;
            sum += 2 * nh_loss_f(w, -block[i]);
            if (g_block != NULL) g_block[i] -= 2 * nh_loss_df(w, -block[i]);
        }
    }
    w->sums[e].error = sum;
}

void nh_loss_edge_errors(void *context, size_t e, int thread)
{
    const nh_loss_work *w = context;
    const nh_loss_data *d = w->d;
    const nh_loss_ends p = nh_loss_ends_of(d, d->list.pair[e]);
    const size_t n_pair = d->n_shell * d->n_shell;
    edge_error(w, e, &p);
    if (!w->with_trace) return;
    double *t = w->label + (size_t)thread * 3 * n_pair, *dt = t + n_pair;
    unsigned char *room = (unsigned char *)(dt + n_pair);
    const unsigned char *mask;
    nh_loss_edge_sums *sums = &w->sums[e];
    edge_label(d, w->paper, &p, w->mu, t, dt, room, &mask);
    for (size_t b = 0; b < n_pair; b++) {
        const double x = mask[b] ? w->trace[e * n_pair + b] - t[b] : 0;
        const double sign = (double)((x > 0) - (x < 0));
        sums->trace += fabs(x);
        sums->trace_mu -= sign * (mask[b] ? dt[b] : 0);
        if (w->g_trace != NULL) w->g_trace[e * n_pair + b] = sign;
    }
}

/* d loss / d ham of one edge. */
void nh_loss_edge_gradient(void *context, size_t e, int thread)
{
    (void)thread;
    const nh_loss_work *w = context;
    const nh_loss_data *d = w->d;
    const nh_graph *g = d->g;
    const size_t n = d->start[e + 1] - d->start[e];
    double *block = w->g_block + d->start[e];
    for (size_t i = 0; i < n; i++)
        block[i] *= w->weight_r;
    if (n > 0) {
        const nh_pair *at = &g->pairs.pair[d->list.pair[e]];
        const nh_loss_ends p = nh_loss_ends_of(d, d->list.pair[e]);
        const double shift = nh_loss_through_mu(w);
        for (size_t i = 0; i < p.rows; i++)
            for (size_t j = 0; j < p.columns; j++)
                block[p.row[i] * p.width + p.column[j]] += shift * g->overlap[p.first + i * p.columns + j];
        for (size_t k = 0; k < w->n_k; k++) {
            const double complex phase = nh_loss_phase(&w->kterm[k], at);
            const double complex *corner =
                w->kterm[k].k + d->orbital[at->src] * d->n_orbital + d->orbital[at->dst];
            for (size_t i = 0; i < p.rows; i++)
                for (size_t j = 0; j < p.columns; j++) {
                    const double complex x = corner[i * d->n_orbital + j];
                    block[p.row[i] * p.width + p.column[j]] -=
                        creal(phase) * creal(x) + cimag(phase) * cimag(x);
                }
        }
    }
    correction_adjoint(d, e, block, w->g_ham);
}
