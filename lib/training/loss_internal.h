/* loss_internal.h - what the files of the loss share: a crystal's data (loss_data.c), errors of the edges (loss_edges.c) and at
 * k-points (loss_kspace.c), and one evaluation that puts them together (loss.c); on a device the first three are the kernels',
 * which loss_device.c prepares. */
#ifndef NH_TRAINING_LOSS_INTERNAL_H
#define NH_TRAINING_LOSS_INTERNAL_H

#include "base/complex.h"
#include "ensemble/edges.h"
#include "training/loss.h"

#include <math.h>

/* A graph without spin stands for uu = dd and ud = du = 0: its one block counts twice in sums over the four
 * blocks, and its n bands are 2n states. */

static const double NH_LOSS_TRACE_EPS = 1e-5; /* of the label's layer norm */

struct nh_loss_data {
    const nh_graph *g;
    const nh_embedding *e;
    const nh_selection *s;
    bool padding;
    double scale; /* model's Rydberg factor over the graph's: D = correction / scale */
    size_t n_edge;
    nh_edge_list list;
    size_t *start; /* [n_edge+1] first element of the edge's D; nothing for edges that no sub-model answers */
    size_t n_shell;
    size_t *slot; /* padded slot of each shell of each species */
    /* The species that D is made for: the crystal's own, or with padding one that fills every slot. */
    nh_transform transform; /* to D, and back */
    nh_structure full;
    size_t *full_slot;
    size_t n_full;           /* orbitals of the padded basis */
    size_t *row_at;          /* row of D that each orbital of each species has */
    unsigned char *occupied; /* [n_species][n_full] with padding: rows of D that a species has */
    size_t *species_at;      /* [n_species+1] first of a species in `row_at` */
    size_t n_species;
    unsigned char *mask;   /* [n_species^2][n_shell^2] tmask of section 6.3 */
    size_t *n_mask;        /* [n_species^2] how many are set */
    double n_position;     /* N_R: occupied positions of all edges, four spin blocks */
    double overlap_square; /* sum of |S|^2 over the edges, uu and dd */
    double copies;         /* 2 for a graph without spin */
    /* For H(k): the runs of pairs of the same two atoms. */
    size_t n_group, *group;     /* [n_group+1] first pair of each */
    size_t n_orbital, *orbital; /* [n_atom+1] first orbital of each atom */
    size_t *edge_of;            /* [pairs] the edge a pair is; SIZE_MAX: none */
    const nh_device *device;
    nhk_loss *placed; /* the same there; NULL: not there */
};

static inline size_t nh_loss_orbitals(const nh_loss_data *d, int atom)
{
    return d->orbital[atom + 1] - d->orbital[atom];
}

/* The two atoms of a pair as the loss sees them. */
typedef struct nh_loss_ends {
    size_t first; /* element of the pair's block */
    size_t rows, columns;
    int a, b;                                        /* species */
    const size_t *row, *column;                      /* places in D */
    const unsigned char *rows_there, *columns_there; /* with padding: which places are taken */
    size_t width;                                    /* columns of D */
} nh_loss_ends;

nh_loss_ends nh_loss_ends_of(const nh_loss_data *d, size_t pair);

/* Spin block s = 0..3 (uu, ud, du, dd) of a matrix; NULL where there is none. */
static inline const double *nh_loss_spin_block(const nh_graph *g, nh_matrix m, size_t s)
{
    if (g->n_spin == 1) return s == 0 || s == 3 ? g->matrix[m] : NULL;
    return g->matrix[m] + 2 * s * g->pairs.n_elem;
}

/* H_gt - H0 of one pair in one spin block. */
typedef struct nh_loss_block {
    const double *label, *h0;
} nh_loss_block;

/* False where the graph has no such block: zero. */
static inline bool nh_loss_difference(const nh_loss_data *d, const nh_loss_ends *p, size_t s,
                                      nh_loss_block *out)
{
    const double *label = nh_loss_spin_block(d->g, NH_H_LABEL, s), *h0 = nh_loss_spin_block(d->g, NH_H0, s);
    if (label == NULL) return false;
    *out = (nh_loss_block){label + 2 * p->first, h0 + 2 * p->first};
    return true;
}

static inline double nh_loss_re(nh_loss_block q, size_t at)
{
    return q.label[2 * at] - q.h0[2 * at];
}

static inline double nh_loss_im(nh_loss_block q, size_t at)
{
    return q.label[2 * at + 1] - q.h0[2 * at + 1];
}

/* --- one evaluation --- */

typedef struct nh_loss_edge_sums {
    double shift;           /* Re sum (H_pred - H_gt) conj(S) */
    double error;           /* sum of f over the positions */
    double trace, trace_mu; /* trace loss and its derivative by mu, before the mean */
} nh_loss_edge_sums;

typedef struct nh_loss_k { /* one k-point; without the arrays where a device has them */
    const nh_kstates *state;
    double complex *u, *uc;  /* [band][2][orbital], or [band][orbital] without spin; and its conjugate */
    double complex *delta;   /* [band][band] C^* (H_gt - H_pred) C^T, then its gradient */
    double complex *k;       /* [orbital][orbital] gradient by sum of uu and dd of H(k) */
    double trace_p, trace_q; /* Re tr of the parts of delta */
} nh_loss_k;

typedef struct nh_loss_work {
    const nh_loss_data *d;
    const nh_loss_options *o;
    bool squared, paper, gradient, with_trace;
    nhk_outputs *outputs; /* on the device, in place of the next four; NULL: here */
    const double *ham, *trace;
    double *g_ham, *g_trace;
    size_t n_k;
    const nh_kstates *state; /* [n_k] */
    nh_loss_k *kterm;
    double *block, *g_block; /* D of all edges, and gradient */
    nh_loss_edge_sums *sums; /* [n_edge] */
    double *label;           /* [threads][3][n_shell^2] */
    double mu, den;
    double weight_r;  /* d loss / d (sum of f) */
    double weight_mu; /* d loss / d mu through the label */
    double weight_trace;
    double (*mean)[3], (*weight)[3],
        (*part)[3];         /* [n_k] of P, Q, PQ: factor in the mean, weight of the gradient, sum of f */
    size_t n_basis, n_spin; /* of H(k) */
    double complex *h, *y;  /* [basis][basis], [basis][band] */
    const nh_loss_k *now;   /* the k-point in hand */
} nh_loss_work;

static inline double nh_loss_f(const nh_loss_work *w, double x)
{
    return w->squared ? x * x : fabs(x);
}

static inline double nh_loss_df(const nh_loss_work *w, double x)
{
    return w->squared ? 2 * x : (double)((x > 0) - (x < 0));
}

static inline double complex nh_loss_phase(const nh_loss_k *t, const nh_pair *p)
{
    double turn = 0;
    for (size_t x = 0; x < 3; x++)
        turn += t->state->k[x] * p->cell[x];
    turn -= floor(turn);
    return CMPLX(cos(2 * M_PI * turn), sin(2 * M_PI * turn));
}

static inline size_t nh_loss_spins(const nh_loss_data *d)
{
    return d->g->n_spin == 4 ? 2 : 1;
}

/* What mu in the trace label adds to D for each number of the overlap. */
static inline double nh_loss_through_mu(const nh_loss_work *w)
{
    return w->weight_mu != 0 ? w->weight_mu * 2 * w->o->lambda_r / w->d->n_position / w->den : 0;
}

/* --- the edges --- */

/* D of an edge, from its row of ham; nothing where no sub-model answers. block[start[e+1] - start[e]]. */
void nh_loss_correction(const nh_loss_data *d, size_t e, const double *ham, double *block);
/* Bodies of nh_parallel_for over the edges, context nh_loss_work. D and the sum that mu is made of; errors at the known mu; d loss / d ham. */
void nh_loss_edge_correction(void *context, size_t e, int thread);
void nh_loss_edge_errors(void *context, size_t e, int thread);
void nh_loss_edge_gradient(void *context, size_t e, int thread);
/* Shell pairs that the trace loss counts, of all edges. */
double nh_loss_trace_count(const nh_loss_data *d, bool paper);

/* --- k space --- */

/* The states are of this crystal. */
int nh_loss_check_states(const nh_loss_data *d, size_t n, const nh_kstates *state, nh_error *err);
/* Room for one k-point, and its states with the spin as the slower index. */
int nh_loss_k_new(const nh_loss_work *w, const nh_kstates *state, nh_loss_k *t, nh_error *err);
/* The errors of H(k) in the space of the states, and the traces that mu is made of. */
void nh_loss_k_project(nh_loss_work *w, nh_loss_k *t, nh_threads *threads);
/* Weights of Re tr PP (or, with q, Re tr QQ) of H_pred - H_gt in num of mu. */
double nh_loss_k_trace_weight(const nh_loss_work *w, const nh_loss_k *t, bool q);
/* The factors of t_P, t_Q, t_PQ at one k-point; 0 for parts that have no states. */
void nh_loss_k_weigh(const nh_loss_work *w, const nh_loss_k *t, double weight_h, double mean[3],
                     double weight[3]);
/* The sums of t_P, t_Q, t_PQ; the projected errors become d loss by them. */
void nh_loss_k_errors(const nh_loss_work *w, nh_loss_k *t, const double weight[3], double part[3]);
/* What mu in the trace label adds to the diagonals of P (or, with q, Q). */
double nh_loss_k_through_mu(const nh_loss_work *w, const nh_loss_k *t, bool q);
/* d loss by H(k), the sum of its two spins. */
void nh_loss_k_gradient(nh_loss_work *w, nh_loss_k *t, nh_threads *threads);

#endif
