#include "training/loss_internal.h"

#include "base/memory.h"
#include "ensemble/correction.h"

#include <stdlib.h>
#include <string.h>

static const double TRACE_COUNT = 1e-6; /* keeps the mean finite without any pair */

static void find_mu(nh_loss_work *w, double shift)
{
    const nh_loss_data *d = w->d;
    double num = w->o->lambda_r / d->n_position * shift;
    w->den = w->o->lambda_r / d->n_position * d->overlap_square;
    for (size_t i = 0; i < w->n_k; i++) {
        const nh_loss_k *t = &w->kterm[i];
        const double p = nh_loss_k_trace_weight(w, t, false), q = nh_loss_k_trace_weight(w, t, true);
        num -= p * t->trace_p + q * t->trace_q;
        w->den += p * (double)t->state->n_p + q * (double)(t->state->n_band - t->state->n_p);
    }
    w->mu = w->den > 0 ? num / w->den : 0;
}

static int make_room(nh_loss_work *w, size_t n_state, const nh_kstates *state, nh_threads *threads,
                     nh_error *err)
{
    const nh_loss_data *d = w->d;
    const size_t n_pair = d->n_shell * d->n_shell;
    w->kterm = NH_ARRAY(nh_loss_k, n_state);
    w->mean = nh_calloc(n_state, sizeof *w->mean);
    w->weight = nh_calloc(n_state, sizeof *w->weight);
    w->part = nh_calloc(n_state, sizeof *w->part);
    if (!w->kterm || !w->mean || !w->weight || !w->part) return nh_fail_memory(err, "the loss");
    w->n_spin = nh_loss_spins(d);
    w->n_basis = w->n_spin * d->n_orbital;
    w->n_k = n_state;
    w->state = state;
    if (nh_loss_check_states(d, n_state, state, err)) return -1;
    for (size_t i = 0; i < n_state; i++)
        if (nh_loss_k_new(w, &state[i], &w->kterm[i], err)) return -1;
    if (w->outputs != NULL) return 0;
    w->block = NH_ARRAY(double, d->start[d->n_edge]);
    w->g_block = w->gradient ? NH_ARRAY(double, d->start[d->n_edge]) : NULL;
    w->sums = NH_ARRAY(nh_loss_edge_sums, d->n_edge);
    w->label = NH_ARRAY(double, (size_t)nh_threads_count(threads) * 3 * n_pair);
    if (!w->block || (w->gradient && !w->g_block) || !w->sums || !w->label)
        return nh_fail_memory(err, "the loss");
    if (n_state == 0) return 0;
    w->h = nh_calloc_aligned(w->n_basis * w->n_basis, sizeof *w->h);
    w->y = nh_calloc_aligned(w->n_basis * w->n_basis, sizeof *w->y);
    return w->h != NULL && w->y != NULL ? 0 : nh_fail_memory(err, "H(k)");
}

static void work_free(nh_loss_work *w)
{
    for (size_t i = 0; w->kterm != NULL && i < w->n_k; i++) {
        free(w->kterm[i].u);
        free(w->kterm[i].uc);
        free(w->kterm[i].delta);
        free(w->kterm[i].k);
    }
    free(w->kterm);
    free(w->mean);
    free(w->weight);
    free(w->part);
    free(w->block);
    free(w->g_block);
    free(w->sums);
    free(w->label);
    free(w->h);
    free(w->y);
}

/* Step 1: D of all edges, the errors of H(k) projected on the states, and what mu is made of. */
static int project_errors(nh_loss_work *w, nh_threads *threads, double *shift, nh_error *err)
{
    const nh_loss_data *d = w->d;
    *shift = 0;
    if (w->outputs == NULL) {
        nh_parallel_for(threads, d->n_edge, nh_loss_edge_correction, w);
        for (size_t i = 0; i < w->n_k; i++)
            nh_loss_k_project(w, &w->kterm[i], threads);
        for (size_t e = 0; e < d->n_edge; e++)
            *shift += w->sums[e].shift;
        return 0;
    }
    double(*trace)[2] = nh_calloc(w->n_k, sizeof *trace);
    if (trace == NULL) return nh_fail_memory(err, "the states");
    const int status =
        d->device->call->loss->project(d->placed, w->outputs, w->paper, w->state, shift, trace, err);
    for (size_t i = 0; status == 0 && i < w->n_k; i++) {
        w->kterm[i].trace_p = trace[i][0];
        w->kterm[i].trace_q = trace[i][1];
    }
    free(trace);
    return status;
}

/* Step 2: the errors at mu. */
static int sum_errors(nh_loss_work *w, nh_threads *threads, nhk_loss_sums *sums, nh_error *err)
{
    const nh_loss_data *d = w->d;
    if (w->outputs != NULL)
        return d->device->call->loss->errors(d->placed, w->outputs, w->squared, w->paper, w->with_trace,
                                             w->mu, (const double(*)[3])w->weight, sums, w->part, err);
    nh_parallel_for(threads, d->n_edge, nh_loss_edge_errors, w);
    *sums = (nhk_loss_sums){0};
    for (size_t e = 0; e < d->n_edge; e++) {
        sums->error += w->sums[e].error;
        sums->trace += w->sums[e].trace;
        sums->trace_mu += w->sums[e].trace_mu;
    }
    for (size_t i = 0; i < w->n_k; i++)
        nh_loss_k_errors(w, &w->kterm[i], w->weight[i], w->part[i]);
    return 0;
}

/* Step 3: the gradients by the outputs. */
static int find_gradients(nh_loss_work *w, nh_threads *threads, nh_error *err)
{
    const nh_loss_data *d = w->d;
    if (w->outputs != NULL) {
        double(*diagonal)[2] = nh_calloc(w->n_k, sizeof *diagonal);
        if (diagonal == NULL) return nh_fail_memory(err, "the states");
        for (size_t i = 0; i < w->n_k; i++)
            for (size_t q = 0; q < 2; q++)
                diagonal[i][q] = nh_loss_k_through_mu(w, &w->kterm[i], q == 1);
        const int status = d->device->call->loss->gradients(
            d->placed, w->outputs, w->weight_r, nh_loss_through_mu(w), (const double(*)[2])diagonal,
            w->with_trace, w->weight_trace, err);
        free(diagonal);
        return status;
    }
    for (size_t i = 0; i < w->n_k; i++)
        nh_loss_k_gradient(w, &w->kterm[i], threads);
    nh_parallel_for(threads, d->n_edge, nh_loss_edge_gradient, w);
    const size_t n_trace = d->n_edge * d->n_shell * d->n_shell;
    for (size_t i = 0; w->g_trace != NULL && i < n_trace; i++)
        w->g_trace[i] *= w->weight_trace;
    return 0;
}

static int evaluate(nh_loss_work *w, size_t n_state, const nh_kstates *state, nh_threads *threads,
                    nh_loss_terms *terms, nh_error *err)
{
    const nh_loss_data *d = w->d;
    const nh_loss_options *o = w->o;
    double shift;
    nhk_loss_sums sums;
    if (make_room(w, n_state, state, threads, err) || project_errors(w, threads, &shift, err)) return -1;
    find_mu(w, shift);
    terms->mu = w->mu;

    const double share = w->with_trace ? o->lambda_c : 0, weight_h = w->paper ? 1 : 1 - share;
    for (size_t i = 0; i < w->n_k; i++)
        nh_loss_k_weigh(w, &w->kterm[i], weight_h, w->mean[i], w->weight[i]);
    if (sum_errors(w, threads, &sums, err)) return -1;
    terms->r = sums.error / d->n_position;
    terms->loss_trace = sums.trace;
    double count = w->with_trace ? nh_loss_trace_count(d, w->paper) : 0;
    if (!w->paper) count += TRACE_COUNT;
    if (count > 0) terms->loss_trace /= count;
    for (size_t i = 0; i < w->n_k; i++) {
        terms->p += w->mean[i][0] * w->part[i][0];
        terms->q += w->mean[i][1] * w->part[i][1];
        terms->pq += w->mean[i][2] * w->part[i][2];
    }
    terms->loss_h =
        o->lambda_r * terms->r + o->lambda_p * terms->p + o->lambda_q * terms->q + o->lambda_pq * terms->pq;
    terms->total = terms->loss_h;
    if (!w->gradient) return 0;

    w->weight_r = (1 - share) * o->lambda_r / d->n_position;
    w->weight_trace = 0;
    if (share != 0 && terms->loss_trace != 0 && count > 0)
        w->weight_trace =
            share * (w->paper ? o->lambda_r * terms->r : terms->loss_h) / terms->loss_trace / count;
    w->weight_mu = w->paper || !(w->den > 0) ? 0 : w->weight_trace * sums.trace_mu;
    return find_gradients(w, threads, err);
}

int nh_loss_evaluate(const nh_loss_data *d, const nh_loss_task *t, nh_loss_terms *terms, nh_error *err)
{
    const nh_loss_options *o = t->options;
    const bool there = t->outputs != NULL, with_trace = there ? t->with_trace : t->trace != NULL;
    nh_loss_work w = {.d = d,
                      .o = o,
                      .paper = o->kind == NH_LOSS_PAPER,
                      .squared = o->squared || o->kind == NH_LOSS_PAPER,
                      .gradient = there ? t->with_gradients : t->g_ham != NULL,
                      .with_trace = with_trace,
                      .outputs = t->outputs,
                      .ham = t->ham,
                      .trace = t->trace,
                      .g_ham = t->g_ham,
                      .g_trace = with_trace ? t->g_trace : NULL};
    *terms = (nh_loss_terms){0};
    if (!with_trace && o->lambda_c != 0)
        return nh_fail(err, "lambda_c is %g, and the network gives no traces", o->lambda_c);
    /* A pool of one also keeps BLAS to one thread: its sums would depend on how many it uses. */
    nh_threads *own = NULL;
    if (!there && t->threads == NULL && nh_threads_new(1, &own, err)) return -1;
    const int status = evaluate(&w, t->n_state, t->state, own != NULL ? own : t->threads, terms, err);
    work_free(&w);
    nh_threads_free(own);
    return status;
}

/* --- the prediction and its error --- */

int nh_loss_predict(const nh_loss_data *d, const double *ham, bool hermitize, double *h_pred, nh_error *err)
{
    const nh_graph *g = d->g;
    /* D of an edge, with padding larger than the pair's block; and its elements that the pair has. */
    const size_t n_block = d->n_full * d->n_full;
    double *block = NH_ARRAY(double, 2 * n_block);
    if (block == NULL) return nh_fail_memory(err, "a pair block");
    double *own = block + n_block;
    memcpy(h_pred, g->matrix[NH_H0], 2 * (size_t)g->n_spin * g->pairs.n_elem * sizeof *h_pred);
    for (size_t e = 0; ham != NULL && e < d->n_edge; e++) {
        if (d->start[e + 1] == d->start[e]) continue;
        const nh_loss_ends p = nh_loss_ends_of(d, d->list.pair[e]);
        nh_loss_correction(d, e, ham, block);
        for (size_t i = 0; i < p.rows; i++)
            for (size_t j = 0; j < p.columns; j++)
                own[i * p.columns + j] = block[p.row[i] * p.width + p.column[j]];
        nh_add_correction(g, p.first, p.rows * p.columns, own, h_pred);
    }
    free(block);
    return hermitize ? nh_hermitize(g, h_pred, err) : 0;
}

int nh_loss_gauge_mae(const nh_loss_data *d, const double *ham, bool hermitize,
                      nh_gauge_row region[NH_GAUGE_N_REGION], size_t n_range, const double *limit,
                      nh_gauge_row *range, nh_error *err)
{
    const nh_graph *g = d->g;
    double *h_pred = NH_ARRAY(double, 2 * (size_t)g->n_spin * g->pairs.n_elem);
    if (h_pred == NULL) return nh_fail_memory(err, "h_pred");
    const nh_gauge q = {.graph = g,
                        .a = h_pred,
                        .reference = g->matrix[NH_H_LABEL],
                        .n_pair = d->n_edge,
                        .pair = d->list.pair,
                        .rule = NH_GAUGE_L2};
    int status = nh_loss_predict(d, ham, hermitize, h_pred, err);
    if (status == 0) status = nh_gauge_by_spin(&q, region, err);
    if (status == 0 && range != NULL) status = nh_gauge_by_distance(&q, n_range, limit, range, err);
    free(h_pred);
    return status;
}
