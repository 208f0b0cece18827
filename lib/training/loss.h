/* loss.h - from the summed outputs of the sub-models to the loss and its gradients (docs/network.md 5, 6,
 * 8 and 13). All in double.
 *
 * Edges are the pairs within the model's cutoff in the order of nh_graph_edges(g, config.cutoff); arrays over
 * edges have a row for each of them, zero outside the ranges of the sub-models.
 *
 *   ham[n_edge][dim of the selection]   sum over the sub-models of edge_ham (window and decay in it)
 *   trace[n_edge][n_shell^2]            sum over the sub-models of edge_trace
 *
 * The correction D of an edge is linear in its row of ham (embedding.h); g_ham and g_trace are the
 * derivatives of the loss by these sums, hence by the output of every sub-model on the edges of its range. */
#ifndef NH_TRAINING_LOSS_H
#define NH_TRAINING_LOSS_H

#include "crystal/gauge.h"
#include "device/device.h"
#include "nextham/config.h"
#include "nextham/embedding.h"
#include "training/kspace.h"

typedef enum nh_loss_kind {
    NH_LOSS_REFERENCE, /* docs/network.md 6, the published program */
    NH_LOSS_PAPER      /* docs/network.md 13, the paper's equations 22-28 */
} nh_loss_kind;

typedef struct nh_loss_options {
    nh_loss_kind kind;
    bool squared;    /* reference: squared errors in place of absolute ones; the paper's are always squared */
    double lambda_c; /* share of the trace loss */
    double lambda_r, lambda_p, lambda_q, lambda_pq; /* reference: lambda_r = 1 - the others */
} nh_loss_options;

typedef struct nh_loss_terms {
    double total; /* the loss; in value lambda_r r + lambda_p p + lambda_q q + lambda_pq pq = loss_h */
    double loss_h, loss_trace;
    double r, p, q, pq; /* t_R, t_P, t_Q, t_PQ, without lambdas; 0 where not evaluated */
    double mu;          /* eV */
} nh_loss_terms;

/* One crystal with what does not change from step to step. */
typedef struct nh_loss_data nh_loss_data;

/* Borrows g (with h0, label and overlap), e and s until it is freed. `s`: the selection the network answers
 * with; its part follows from config.reconstruct (NH_PART_REAL or NH_PART_SCALAR; NH_PART_ALL is fine too).
 * Shell pairs that the atoms have and s lacks are an error. `padding`: the positions of s that an atom pair
 * does not occupy are errors too, with target 0, as in the published code (which has s = all pairs);
 * otherwise they are ignored and get no gradient. */
int nh_loss_data_new(const nh_config *c, const nh_graph *g, const nh_embedding *e, const nh_selection *s,
                     bool padding, nh_loss_data **out, nh_error *err);
void nh_loss_data_free(nh_loss_data *d); /* NULL is fine */
size_t nh_loss_edges(const nh_loss_data *d);

/* One evaluation: on which outputs, and where its results go. */
typedef struct nh_loss_task {
    const nh_loss_options *options;
    size_t n_state;          /* k-points; none: no k-space terms, in mu neither */
    const nh_kstates *state; /* [n_state] */
    /* Outputs of the sub-models; trace NULL: there are none, lambda_c must be 0. Their gradients, written,
     * not added; g_ham NULL: values only. */
    const double *ham, *trace;
    double *g_ham, *g_trace;
    nh_threads *threads; /* NULL: the caller alone */
    /* In place of the arrays above: the outputs and gradients that are on the device since nh_loss_begin. */
    nhk_outputs *outputs;
    bool with_trace, with_gradients;
} nh_loss_task;

/* The loss (mean over the k-points), *terms, and its gradients.
 *
 * Stop-gradients: mu in loss_h, the ratio loss_h/loss_trace, everywhere in the paper's; in the reference's
 * trace label mu is differentiated through. NaN in, NaN out: no error; the caller looks at terms->loss_h.
 * Does not depend on the number of threads. Errors: states of another crystal, no memory. */
int nh_loss_evaluate(const nh_loss_data *d, const nh_loss_task *t, nh_loss_terms *terms, nh_error *err);

/* Before the sub-models write to t->outputs on a device, which must outlive d: makes room there for their
 * outputs (zero until then), for the loss at t's states and, the first time, for what does not change from
 * step to step. *ready is false where there is not enough memory (device/kernels.h); else nh_loss_evaluate is
 * called with the same outputs and states. Of t, only these and with_gradients are read. */
int nh_loss_begin(nh_loss_data *d, const nh_device *device, const nh_loss_task *t, bool *ready,
                  nh_error *err);

/* H0 plus correction: h_pred[n_spin][n_elem][2], all pairs; Hermitian mean where asked for. */
int nh_loss_predict(const nh_loss_data *d, const double *ham, bool hermitize, double *h_pred, nh_error *err);

/* Gauge MAE over the edges by the published definition (docs/network.md 8, mu by least squares), eV: rows uu,
 * ud, du, dd, overall, and one row for limit[i] <= r < limit[i+1], i < n_range (as nh_gauge_by_distance;
 * range may be NULL). ham = NULL: of H0. hermitize: of the Hermitian mean, what nhinfer writes. */
int nh_loss_gauge_mae(const nh_loss_data *d, const double *ham, bool hermitize,
                      nh_gauge_row region[NH_GAUGE_N_REGION], size_t n_range, const double *limit,
                      nh_gauge_row *range, nh_error *err);

/* For tests: the trace label and mask of docs/network.md 6.3 at a given mu, [n_edge][n_shell^2]; the paper's
 * label (no layer norm, mask of the occupied shell pairs) where kind says so. */
int nh_loss_trace_label(const nh_loss_data *d, nh_loss_kind kind, double mu, double *label, bool *mask,
                        nh_error *err);

#endif
