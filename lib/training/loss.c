#include "training/loss.h"

#include "base/memory.h"
#include "crystal/pairs.h"
#include "ensemble/correction.h"
#include "ensemble/edges.h"

#include <cblas.h>
#include <complex.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A graph without spin stands for uu = dd and ud = du = 0: its one block counts twice in sums over the four
 * blocks, and its n bands are 2n states. */

static const double TRACE_EPS = 1e-5;   /* of the label's layer norm */
static const double TRACE_COUNT = 1e-6; /* keeps the mean finite without any pair */

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
    const nh_structure *basis;
    nh_structure full;
    size_t *full_slot;
    size_t n_full;           /* orbitals of the padded basis */
    size_t *place;           /* row of D that each orbital of each species has */
    unsigned char *occupied; /* [n_species][n_full] with padding: rows of D that a species has */
    size_t *species_at;      /* [n_species+1] first of a species in `place` */
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

static size_t n_orbitals(const nh_loss_data *d, int atom)
{
    return d->orbital[atom + 1] - d->orbital[atom];
}

/* The two atoms of a pair as the loss sees them. */
typedef struct ends {
    size_t first; /* element of the pair's block */
    size_t rows, columns;
    int a, b;                                        /* species */
    const size_t *row, *column;                      /* places in D */
    const unsigned char *rows_there, *columns_there; /* with padding: which places are taken */
    size_t width;                                    /* columns of D */
} ends;

static ends ends_of(const nh_loss_data *d, size_t pair)
{
    const nh_pair *p = &d->g->pairs.pair[pair];
    const int a = d->g->structure.species[p->src], b = d->g->structure.species[p->dst];
    return (ends){.first = d->g->pairs.start[pair],
                  .rows = n_orbitals(d, p->src),
                  .columns = n_orbitals(d, p->dst),
                  .a = a,
                  .b = b,
                  .row = d->place + d->species_at[a],
                  .column = d->place + d->species_at[b],
                  .rows_there = d->occupied + (size_t)a * d->n_full,
                  .columns_there = d->occupied + (size_t)b * d->n_full,
                  .width = d->padding ? d->n_full : n_orbitals(d, p->dst)};
}

/* --- preparation ------------------------------------------------------------------------------------------
 */

void nh_loss_data_free(nh_loss_data *d)
{
    if (d == NULL) return;
    if (d->placed != NULL) d->device->call->loss->drop(d->placed);
    nh_edge_list_free(&d->list);
    free(d->start);
    free(d->slot);
    nh_structure_free(&d->full);
    free(d->full_slot);
    free(d->place);
    free(d->occupied);
    free(d->species_at);
    free(d->mask);
    free(d->n_mask);
    free(d->group);
    free(d->orbital);
    free(d->edge_of);
    free(d);
}

size_t nh_loss_edges(const nh_loss_data *d)
{
    return d->n_edge;
}

static int check_graph(const nh_graph *g, nh_error *err)
{
    if (g->matrix[NH_H0] == NULL) return nh_fail(err, "no h0");
    if (g->matrix[NH_H_LABEL] == NULL) return nh_fail(err, "no h_label: this file has no training target");
    if (g->overlap == NULL) return nh_fail(err, "no overlap");
    if (g->n_spin != 1 && g->n_spin != 4)
        return nh_fail(err, "%d spin blocks found, 1 or 4 expected", g->n_spin);
    return 0;
}

/* Every shell pair that atoms of an edge have must be among those that the network answers. */
static int check_selection(const nh_loss_data *d, nh_error *err)
{
    const size_t n_pair = nh_embedding_pairs(d->e);
    bool *used = NH_ARRAY(bool, n_pair);
    if (used == NULL) return nh_fail_memory(err, "the shell pairs");
    nh_embedding_used(d->e, d->g, d->slot, d->n_edge, d->list.pair, used);
    size_t k = 0;
    int status = 0;
    for (size_t p = 0; p < n_pair && status == 0; p++) {
        while (k < d->s->n_pair && d->s->pair[k] < p)
            k++;
        if (used[p] && (k == d->s->n_pair || d->s->pair[k] != p))
            status = nh_fail(
                err, "the network's output lacks the shell pair %zu,%zu, which atoms of this crystal have",
                p / d->n_shell, p % d->n_shell);
    }
    free(used);
    return status;
}

/* Where the orbitals of each species are among the rows of D. */
static int find_places(nh_loss_data *d, const nh_config *c, nh_error *err)
{
    const nh_structure *s = &d->g->structure;
    const size_t all_slots = d->n_shell;
    size_t *slot_at = NH_ARRAY(size_t, all_slots + 1);
    d->n_species = s->n_species;
    d->species_at = NH_ARRAY(size_t, s->n_species + 1);
    for (size_t i = 0; d->species_at != NULL && i < s->n_species; i++)
        d->species_at[i + 1] = d->species_at[i] + nh_species_orbitals(s, i);
    d->place = d->species_at != NULL ? NH_ARRAY(size_t, d->species_at[s->n_species]) : NULL;
    d->full_slot = NH_ARRAY(size_t, all_slots);
    if (slot_at == NULL || d->place == NULL || d->full_slot == NULL) {
        free(slot_at);
        return nh_fail_memory(err, "the padded basis");
    }
    for (size_t i = 0; i < all_slots; i++) {
        slot_at[i + 1] = slot_at[i] + (size_t)(2 * c->shell_l[i] + 1);
        d->full_slot[i] = i;
    }
    d->n_full = slot_at[all_slots];
    d->occupied = NH_ARRAY(unsigned char, d->n_full * s->n_species);
    if (d->occupied == NULL) {
        free(slot_at);
        return nh_fail_memory(err, "the padded basis");
    }
    size_t at = 0;
    for (size_t i = 0; i < s->n_species; i++)
        for (size_t k = s->shell_start[i]; k < s->shell_start[i + 1]; k++)
            for (size_t m = 0; m < (size_t)(2 * s->shell_l[k] + 1); m++, at++) {
                d->place[at] = d->padding ? slot_at[d->slot[k]] + m : at - d->species_at[i];
                d->occupied[i * d->n_full + slot_at[d->slot[k]] + m] = 1;
            }
    free(slot_at);
    d->basis = s;
    if (!d->padding) return 0;
    d->basis = &d->full;
    return nh_structure_new(1, 1, &d->full, err) ||
                   nh_structure_set_shells(&d->full, &all_slots, c->shell_l, err)
               ? -1
               : 0;
}

/* tmask: LN0 of the counts of occupied positions is exactly 0 where a pair's count is the mean. */
static int make_masks(nh_loss_data *d, nh_error *err)
{
    const nh_structure *s = &d->g->structure;
    const size_t n_pair = d->n_shell * d->n_shell;
    size_t bytes;
    d->n_mask = NH_ARRAY(size_t, d->n_species * d->n_species);
    d->mask =
        nh_size_mul(d->n_species * d->n_species, n_pair, &bytes) ? NH_ARRAY(unsigned char, bytes) : NULL;
    size_t *count = NH_ARRAY(size_t, n_pair);
    if (d->n_mask == NULL || d->mask == NULL || count == NULL) {
        free(count);
        return nh_fail_memory(err, "the trace masks");
    }
    for (size_t a = 0; a < d->n_species; a++)
        for (size_t b = 0; b < d->n_species; b++) {
            size_t total = 0;
            memset(count, 0, n_pair * sizeof *count);
            for (size_t k = s->shell_start[a]; k < s->shell_start[a + 1]; k++)
                for (size_t m = s->shell_start[b]; m < s->shell_start[b + 1]; m++) {
                    const size_t n = (size_t)(4 * (2 * s->shell_l[k] + 1) * (2 * s->shell_l[m] + 1));
                    count[d->slot[k] * d->n_shell + d->slot[m]] = n;
                    total += n;
                }
            unsigned char *mask = d->mask + (a * d->n_species + b) * n_pair;
            for (size_t p = 0; p < n_pair; p++) {
                mask[p] = count[p] * n_pair != total;
                d->n_mask[a * d->n_species + b] += mask[p];
            }
        }
    free(count);
    return 0;
}

static int find_groups(nh_loss_data *d, nh_error *err)
{
    const nh_pairs *p = &d->g->pairs;
    const size_t n_atom = d->g->structure.n_atom;
    d->orbital = NH_ARRAY(size_t, n_atom + 1);
    d->group = NH_ARRAY(size_t, p->count + 1);
    d->edge_of = NH_ARRAY(size_t, p->count);
    if (d->orbital == NULL || d->group == NULL || d->edge_of == NULL)
        return nh_fail_memory(err, "the atom pairs");
    nh_orbital_start(&d->g->structure, d->orbital);
    d->n_orbital = d->orbital[n_atom];
    for (size_t i = 0; i < p->count; i++) {
        d->edge_of[i] = SIZE_MAX;
        if (i == 0 || p->pair[i].src != p->pair[i - 1].src || p->pair[i].dst != p->pair[i - 1].dst)
            d->group[d->n_group++] = i;
    }
    d->group[d->n_group] = p->count;
    for (size_t e = 0; e < d->n_edge; e++)
        d->edge_of[d->list.pair[e]] = e;
    return 0;
}

static int find_edges(nh_loss_data *d, const nh_config *c, nh_error *err)
{
    const nh_graph *g = d->g;
    if (nh_edge_list_new(g, c->cutoff, &d->list, err)) return -1;
    d->n_edge = d->list.edges.n_edge;
    d->start = NH_ARRAY(size_t, d->n_edge + 1);
    if (d->start == NULL) return nh_fail_memory(err, "the edges");
    for (size_t e = 0; e < d->n_edge; e++) {
        const size_t first = g->pairs.start[d->list.pair[e]], n = g->pairs.start[d->list.pair[e] + 1] - first;
        const bool answered = nh_config_range_of(c, d->list.distance[e]) != SIZE_MAX;
        d->start[e + 1] = d->start[e] + (!answered ? 0 : d->padding ? d->n_full * d->n_full : n);
        d->n_position += 4 * (double)n;
        for (size_t i = first; i < first + n; i++)
            d->overlap_square += 2 * g->overlap[i] * g->overlap[i];
    }
    return 0;
}

int nh_loss_data_new(const nh_config *c, const nh_graph *g, const nh_embedding *e, const nh_selection *s,
                     bool padding, nh_loss_data **out, nh_error *err)
{
    *out = NULL;
    if (check_graph(g, err)) return -1;
    if (s->part == NH_PART_SCALAR && c->reconstruct == NH_RECONSTRUCT_UU)
        return nh_fail(err,
                       "reconstruct: uu needs the spin-dependent outputs, the selection has the scalar ones");
    nh_loss_data *d = NH_ARRAY(nh_loss_data, 1);
    if (d == NULL) return nh_fail_memory(err, "the loss");
    *d = (nh_loss_data){.g = g,
                        .e = e,
                        .s = s,
                        .padding = padding,
                        .scale = c->rydberg / g->rydberg,
                        .n_shell = c->n_shell,
                        .copies = g->n_spin == 1 ? 2 : 1};
    d->slot = NH_ARRAY(size_t, g->structure.shell_start[g->structure.n_species]);
    if (d->slot == NULL) {
        nh_fail_memory(err, "the padded basis");
        goto fail;
    }
    if (nh_embedding_slots(e, &g->structure, d->slot, err) || find_places(d, c, err) ||
        find_edges(d, c, err) || find_groups(d, err) || check_selection(d, err) || make_masks(d, err))
        goto fail;
    *out = d;
    return 0;
fail:
    nh_loss_data_free(d);
    return -1;
}

/* --- D and back -------------------------------------------------------------------------------------------
 */

static void correction(const nh_loss_data *d, size_t e, const double *ham, double *block)
{
    const ends p = ends_of(d, d->list.pair[e]);
    const size_t n = d->start[e + 1] - d->start[e];
    if (n == 0) return;
    nh_irreps_to_correction(d->e, d->s, d->basis, d->padding ? d->full_slot : d->slot, d->padding ? 0 : p.a,
                            d->padding ? 0 : p.b, ham + e * d->s->irreps.dim, block);
    for (size_t i = 0; i < n; i++)
        block[i] /= d->scale;
}

static void correction_adjoint(const nh_loss_data *d, size_t e, double *g_block, double *g_ham)
{
    const ends p = ends_of(d, d->list.pair[e]);
    const size_t n = d->start[e + 1] - d->start[e], dim = d->s->irreps.dim;
    if (n == 0) {
        memset(g_ham + e * dim, 0, dim * sizeof *g_ham);
        return;
    }
    for (size_t i = 0; i < n; i++)
        g_block[i] /= d->scale;
    nh_correction_to_irreps_adjoint(d->e, d->s, d->basis, d->padding ? d->full_slot : d->slot,
                                    d->padding ? 0 : p.a, d->padding ? 0 : p.b, g_block, g_ham + e * dim);
}

/* Spin block s = 0..3 (uu, ud, du, dd) of a matrix; NULL where there is none. */
static const double *spin_block(const nh_graph *g, nh_matrix m, size_t s)
{
    if (g->n_spin == 1) return s == 0 || s == 3 ? g->matrix[m] : NULL;
    return g->matrix[m] + 2 * s * g->pairs.n_elem;
}

/* H_gt - H0 of one pair in one spin block. */
typedef struct difference {
    const double *label, *h0;
} difference;

/* False where the graph has no such block: zero. */
static bool difference_of(const nh_loss_data *d, const ends *p, size_t s, difference *out)
{
    const double *label = spin_block(d->g, NH_H_LABEL, s), *h0 = spin_block(d->g, NH_H0, s);
    if (label == NULL) return false;
    *out = (difference){label + 2 * p->first, h0 + 2 * p->first};
    return true;
}

static inline double re_of(difference q, size_t at)
{
    return q.label[2 * at] - q.h0[2 * at];
}

static inline double im_of(difference q, size_t at)
{
    return q.label[2 * at + 1] - q.h0[2 * at + 1];
}

/* --- one evaluation ---------------------------------------------------------------------------------------
 */

typedef struct edge_sums {
    double shift;           /* Re sum (H_pred - H_gt) conj(S) */
    double error;           /* sum of f over the positions */
    double trace, trace_mu; /* trace loss and its derivative by mu, before the mean */
} edge_sums;

typedef struct kterm { /* one k-point; without the arrays where a device has them */
    const nh_kstates *state;
    double complex *u, *uc;  /* [band][2][orbital], or [band][orbital] without spin; and its conjugate */
    double complex *delta;   /* [band][band] C^* (H_gt - H_pred) C^T, then its gradient */
    double complex *k;       /* [orbital][orbital] gradient by sum of uu and dd of H(k) */
    double trace_p, trace_q; /* Re tr of the parts of delta */
} kterm;

typedef struct work {
    const nh_loss_data *d;
    const nh_loss_options *o;
    bool squared, paper, gradient, with_trace;
    nhk_outputs *outputs; /* on the device, in place of the next four; NULL: here */
    const double *ham, *trace;
    double *g_ham, *g_trace;
    size_t n_k;
    const nh_kstates *state; /* [n_k] */
    kterm *kterm;
    double *block, *g_block; /* D of all edges, and gradient */
    edge_sums *sums;         /* [n_edge] */
    double *label;           /* [threads][3][n_shell^2] */
    double mu, den;
    double weight_r;  /* d loss / d (sum of f) */
    double weight_mu; /* d loss / d mu through the label */
    double weight_trace;
    double (*mean)[3], (*weight)[3], (*part)[3]; /* [n_k] of P, Q, PQ: factor in the mean, weight of the gradient, sum of f */
    size_t n_basis, n_spin; /* of H(k) */
    double complex *h, *y;  /* [basis][basis], [basis][band] */
    const kterm *now;       /* the k-point in hand */
} work;

static double f_of(const work *w, double x)
{
    return w->squared ? x * x : fabs(x);
}

static double df_of(const work *w, double x)
{
    return w->squared ? 2 * x : (double)((x > 0) - (x < 0));
}

static void edge_correction(void *context, size_t e, int thread)
{
    (void)thread;
    const work *w = context;
    const nh_loss_data *d = w->d;
    const nh_graph *g = d->g;
    const ends p = ends_of(d, d->list.pair[e]);
    const double *block = w->block + d->start[e];
    const bool answered = d->start[e + 1] > d->start[e];
    correction(d, e, w->ham, w->block + d->start[e]);
    double sum = 0;
    for (size_t s = 0; s < 4; s += 3) {
        difference q;
        if (!difference_of(d, &p, s, &q)) continue;
        for (size_t i = 0; i < p.rows; i++)
            for (size_t j = 0; j < p.columns; j++) {
                const size_t at = i * p.columns + j;
                const double x = answered ? block[p.row[i] * p.width + p.column[j]] : 0;
                sum += (x - re_of(q, at)) * g->overlap[p.first + at];
            }
    }
    w->sums[e].shift = sum;
}

/* T_b of dH + mu S for each shell pair, and its derivative by mu. */
static void trace_of_label(const nh_loss_data *d, const ends *p, double mu, double *t, double *dt)
{
    const nh_graph *g = d->g;
    const nh_structure *st = &g->structure;
    const size_t n_pair = d->n_shell * d->n_shell;
    memset(t, 0, n_pair * sizeof *t);
    memset(dt, 0, n_pair * sizeof *dt);
    for (size_t s = 0; s < 4; s++) {
        difference q;
        if (!difference_of(d, p, s, &q)) continue;
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
                        const double re = re_of(q, at) + mu * overlap, im = im_of(q, at);
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
    const double norm = 1 / sqrt(variance + TRACE_EPS);
    for (size_t b = 0; b < n; b++) {
        t[b] = (t[b] - mean) * norm;
        along += t[b] * dt[b] / (double)n;
    }
    for (size_t b = 0; b < n; b++)
        dt[b] = (dt[b] - slope - t[b] * along) * norm;
}

/* The occupied shell pairs, which the paper's trace loss counts. */
static void occupied_pairs(const nh_loss_data *d, const ends *p, unsigned char *mask)
{
    const nh_structure *st = &d->g->structure;
    memset(mask, 0, d->n_shell * d->n_shell);
    for (size_t k = st->shell_start[p->a]; k < st->shell_start[p->a + 1]; k++)
        for (size_t m = st->shell_start[p->b]; m < st->shell_start[p->b + 1]; m++)
            mask[d->slot[k] * d->n_shell + d->slot[m]] = 1;
}

/* Shell pairs that the trace loss counts, of all edges. */
static double trace_count(const nh_loss_data *d, bool paper)
{
    const nh_structure *st = &d->g->structure;
    double count = 0;
    for (size_t e = 0; e < d->n_edge; e++) {
        const nh_pair *p = &d->g->pairs.pair[d->list.pair[e]];
        const size_t a = (size_t)st->species[p->src], b = (size_t)st->species[p->dst];
        count += paper ? (double)((st->shell_start[a + 1] - st->shell_start[a]) * (st->shell_start[b + 1] - st->shell_start[b]))
                       : (double)d->n_mask[a * d->n_species + b];
    }
    return count;
}

/* Label and mask of one edge. t[n_shell^2], dt[n_shell^2], room[n_shell^2] for a mask. */
static void edge_label(const nh_loss_data *d, bool paper, const ends *p, double mu, double *t, double *dt,
                         unsigned char *room, const unsigned char **mask)
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
        const ends p = ends_of(d, d->list.pair[e]);
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
static void edge_error(const work *w, size_t e, const ends *p)
{
    const nh_loss_data *d = w->d;
    const nh_graph *g = d->g;
    const bool answered = d->start[e + 1] > d->start[e];
    const double *block = w->block + d->start[e];
    double *g_block = w->gradient && answered ? w->g_block + d->start[e] : NULL;
    double sum = 0;
    for (size_t s = 0; s < 4; s++) {
        difference q;
        if (!difference_of(d, p, s, &q)) continue;
        const bool diagonal = s == 0 || s == 3;
        for (size_t i = 0; i < p->rows; i++)
            for (size_t j = 0; j < p->columns; j++) {
                const size_t at = i * p->columns + j, to = p->row[i] * p->width + p->column[j];
                double x = re_of(q, at);
                if (diagonal) {
                    x += w->mu * g->overlap[p->first + at] - (answered ? block[to] : 0);
                    if (g_block != NULL) g_block[to] -= df_of(w, x);
                }
                sum += f_of(w, x);
                if (w->paper) {
                    const double im = im_of(q, at);
                    sum += im * im;
                }
            }
    }
    if (d->padding && answered && !w->paper) {
        /* Where an atom pair has no orbitals, D is an error itself, in uu and in dd. */
        const size_t n = d->start[e + 1] - d->start[e];
        for (size_t i = 0; i < n; i++) {
            if (p->rows_there[i / p->width] && p->columns_there[i % p->width]) continue;
            sum += 2 * f_of(w, -block[i]);
            if (g_block != NULL) g_block[i] -= 2 * df_of(w, -block[i]);
        }
    }
    w->sums[e].error = sum;
}

static void edge_loss(void *context, size_t e, int thread)
{
    const work *w = context;
    const nh_loss_data *d = w->d;
    const ends p = ends_of(d, d->list.pair[e]);
    const size_t n_pair = d->n_shell * d->n_shell;
    edge_error(w, e, &p);
    if (!w->with_trace) return;
    double *t = w->label + (size_t)thread * 3 * n_pair, *dt = t + n_pair;
    unsigned char *room = (unsigned char *)(dt + n_pair);
    const unsigned char *mask;
    edge_sums *sums = &w->sums[e];
    edge_label(d, w->paper, &p, w->mu, t, dt, room, &mask);
    for (size_t b = 0; b < n_pair; b++) {
        const double x = mask[b] ? w->trace[e * n_pair + b] - t[b] : 0;
        const double sign = (double)((x > 0) - (x < 0));
        sums->trace += fabs(x);
        sums->trace_mu -= sign * (mask[b] ? dt[b] : 0);
        if (w->g_trace != NULL) w->g_trace[e * n_pair + b] = sign;
    }
}

/* --- k space ----------------------------------------------------------------------------------------------
 */

/* Inside, spin is the slower index of the basis: the two spins of a row are blocks next to each other. */

static double complex phase_of(const kterm *t, const nh_pair *p)
{
    double turn = 0;
    for (size_t x = 0; x < 3; x++)
        turn += t->state->k[x] * p->cell[x];
    turn -= floor(turn);
    return CMPLX(cos(2 * M_PI * turn), sin(2 * M_PI * turn));
}

/* H_gt(k) - H_pred(k) between two atoms. */
static void group_sum(void *context, size_t index, int thread)
{
    (void)thread;
    const work *w = context;
    const nh_loss_data *d = w->d;
    const nh_graph *g = d->g;
    for (size_t pair = d->group[index]; pair < d->group[index + 1]; pair++) {
        const size_t e = d->edge_of[pair];
        if (e == SIZE_MAX && !w->paper) continue;
        const nh_pair *at = &g->pairs.pair[pair];
        const ends p = ends_of(d, pair);
        const double complex phase = phase_of(w->now, at);
        const double *block = e != SIZE_MAX && d->start[e + 1] > d->start[e] ? w->block + d->start[e] : NULL;
        for (size_t s = 0; s < w->n_spin * w->n_spin; s++) {
            difference q;
            if (!difference_of(d, &p, s, &q)) continue;
            const bool diagonal = s / w->n_spin == s % w->n_spin;
            for (size_t i = 0; i < p.rows; i++) {
                double complex *row = w->h +
                                      (s / w->n_spin * d->n_orbital + d->orbital[at->src] + i) * w->n_basis +
                                      s % w->n_spin * d->n_orbital + d->orbital[at->dst];
                for (size_t j = 0; j < p.columns; j++) {
                    const size_t k = i * p.columns + j;
                    double re = re_of(q, k);
                    if (diagonal && block != NULL) re -= block[p.row[i] * p.width + p.column[j]];
                    row[j] += phase * CMPLX(re, im_of(q, k));
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

static size_t spins_of(const nh_loss_data *d)
{
    return d->g->n_spin == 4 ? 2 : 1;
}

static int check_states(const nh_loss_data *d, size_t n, const nh_kstates *state, nh_error *err)
{
    const size_t n_basis = spins_of(d) * d->n_orbital;
    for (const nh_kstates *s = state; s < state + n; s++)
        if (s->n_basis != n_basis || s->n_band > n_basis || s->n_p > s->n_band || s->n_band == 0)
            return nh_fail(err,
                           "states: %zu bands of %zu orbitals, %zu of them in P: the crystal has %zu orbitals",
                           s->n_band, s->n_basis, s->n_p, n_basis);
    return 0;
}

static int start_kterm(const work *w, const nh_kstates *state, kterm *t, nh_error *err)
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
static void project(work *w, kterm *t, nh_threads *threads)
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
static double rectangle(const work *w, kterm *t, size_t row, size_t rows, size_t column, size_t columns,
                        double weight)
{
    const size_t band = t->state->n_band;
    double total = 0;
    for (size_t a = row; a < row + rows; a++) {
        double sum = 0;
        for (size_t b = column; b < column + columns; b++) {
            double complex *x = &t->delta[a * band + b];
            const double re = creal(*x) + (a == b ? w->mu : 0), im = cimag(*x);
            sum += f_of(w, re) + f_of(w, im);
            *x = CMPLX(weight * df_of(w, re), weight * df_of(w, im));
        }
        total += sum;
    }
    return total;
}

/* Sizes of the parts of the full matrix: a graph without spin has half of the bands. */
static double part_size(const work *w, size_t rows, size_t columns)
{
    return w->d->copies * (double)rows * w->d->copies * (double)columns;
}

/* The factors of t_P, t_Q, t_PQ at one k-point; 0 for parts that have no states. */
static void weigh_parts(const work *w, const kterm *t, double weight_h, double mean[3], double weight[3])
{
    const double lambda[3] = {w->o->lambda_p, w->o->lambda_q, w->o->lambda_pq}, copies = w->d->copies / (double)w->n_k;
    const size_t p = t->state->n_p, q = t->state->n_band - p, rows[3] = {p, q, p}, columns[3] = {p, q, q};
    for (size_t x = 0; x < 3; x++) {
        mean[x] = rows[x] > 0 && columns[x] > 0 ? copies / part_size(w, rows[x], columns[x]) : 0;
        weight[x] = weight_h * lambda[x] * mean[x];
    }
}

/* The sums of t_P, t_Q, t_PQ at one k-point; delta becomes d loss / d delta but for mu in the label. */
static void k_errors(const work *w, kterm *t, const double weight[3], double part[3])
{
    const size_t p = t->state->n_p, q = t->state->n_band - p;
    part[0] = rectangle(w, t, 0, p, 0, p, weight[0]);
    part[1] = rectangle(w, t, p, q, p, q, weight[1]);
    part[2] = rectangle(w, t, 0, p, p, q, weight[2]);
}

/* Weights of Re tr PP and Re tr QQ of H_pred - H_gt in num of mu. */
static double weight_of_trace(const work *w, const kterm *t, bool q)
{
    const size_t n = q ? t->state->n_band - t->state->n_p : t->state->n_p;
    if (n == 0) return 0;
    return (q ? w->o->lambda_q : w->o->lambda_p) * w->d->copies / (part_size(w, n, n) * (double)w->n_k);
}

/* What mu in the trace label adds to the diagonals of P and Q, and to D for each number of the overlap. */
static double through_mu_k(const work *w, const kterm *t, bool q)
{
    return w->weight_mu != 0 ? -w->weight_mu * weight_of_trace(w, t, q) / w->den : 0;
}

static double through_mu(const work *w)
{
    return w->weight_mu != 0 ? w->weight_mu * 2 * w->o->lambda_r / w->d->n_position / w->den : 0;
}

/* k: sum over the two spins of C^T G C^*. */
static void k_gradient(work *w, kterm *t, nh_threads *threads)
{
    const nh_loss_data *d = w->d;
    const size_t n = w->n_basis, band = t->state->n_band, p = t->state->n_p;
    for (size_t a = 0; a < band; a++)
        t->delta[a * band + a] += through_mu_k(w, t, a >= p);
    for (size_t a = p; a < band; a++)
        memset(t->delta + a * band, 0, p * sizeof *t->delta);
    multiply(threads,
             (product){CblasNoTrans, CblasNoTrans, band, n, band, band, n, n, t->delta, t->uc, w->y});
    multiply(threads, (product){CblasTrans, CblasNoTrans, d->n_orbital, d->n_orbital, w->n_spin * band,
                                d->n_orbital, d->n_orbital, d->n_orbital, t->u, w->y, t->k});
}

/* --- all together -----------------------------------------------------------------------------------------
 */

/* d loss / d ham of one edge. */
static void edge_gradient(void *context, size_t e, int thread)
{
    (void)thread;
    const work *w = context;
    const nh_loss_data *d = w->d;
    const nh_graph *g = d->g;
    const size_t n = d->start[e + 1] - d->start[e];
    double *block = w->g_block + d->start[e];
    for (size_t i = 0; i < n; i++)
        block[i] *= w->weight_r;
    if (n > 0) {
        const nh_pair *at = &g->pairs.pair[d->list.pair[e]];
        const ends p = ends_of(d, d->list.pair[e]);
        const double shift = through_mu(w);
        for (size_t i = 0; i < p.rows; i++)
            for (size_t j = 0; j < p.columns; j++)
                block[p.row[i] * p.width + p.column[j]] += shift * g->overlap[p.first + i * p.columns + j];
        for (size_t k = 0; k < w->n_k; k++) {
            const double complex phase = phase_of(&w->kterm[k], at);
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

static void find_mu(work *w, double shift)
{
    const nh_loss_data *d = w->d;
    double num = w->o->lambda_r / d->n_position * shift;
    w->den = w->o->lambda_r / d->n_position * d->overlap_square;
    for (size_t i = 0; i < w->n_k; i++) {
        const kterm *t = &w->kterm[i];
        const double p = weight_of_trace(w, t, false), q = weight_of_trace(w, t, true);
        num -= p * t->trace_p + q * t->trace_q;
        w->den += p * (double)t->state->n_p + q * (double)(t->state->n_band - t->state->n_p);
    }
    w->mu = w->den > 0 ? num / w->den : 0;
}

static int make_room(work *w, size_t n_state, const nh_kstates *state, nh_threads *threads, nh_error *err)
{
    const nh_loss_data *d = w->d;
    const size_t n_pair = d->n_shell * d->n_shell;
    w->kterm = NH_ARRAY(kterm, n_state);
    w->mean = nh_calloc(n_state, sizeof *w->mean);
    w->weight = nh_calloc(n_state, sizeof *w->weight);
    w->part = nh_calloc(n_state, sizeof *w->part);
    if (!w->kterm || !w->mean || !w->weight || !w->part) return nh_fail_memory(err, "the loss");
    w->n_spin = spins_of(d);
    w->n_basis = w->n_spin * d->n_orbital;
    w->n_k = n_state;
    w->state = state;
    if (check_states(d, n_state, state, err)) return -1;
    for (size_t i = 0; i < n_state; i++)
        if (start_kterm(w, &state[i], &w->kterm[i], err)) return -1;
    if (w->outputs != NULL) return 0;
    w->block = NH_ARRAY(double, d->start[d->n_edge]);
    w->g_block = w->gradient ? NH_ARRAY(double, d->start[d->n_edge]) : NULL;
    w->sums = NH_ARRAY(edge_sums, d->n_edge);
    w->label = NH_ARRAY(double, (size_t)nh_threads_count(threads) * 3 * n_pair);
    if (!w->block || (w->gradient && !w->g_block) || !w->sums || !w->label)
        return nh_fail_memory(err, "the loss");
    if (n_state == 0) return 0;
    w->h = nh_calloc_aligned(w->n_basis * w->n_basis, sizeof *w->h);
    w->y = nh_calloc_aligned(w->n_basis * w->n_basis, sizeof *w->y);
    return w->h != NULL && w->y != NULL ? 0 : nh_fail_memory(err, "H(k)");
}

static void work_free(work *w)
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
static int project_errors(work *w, nh_threads *threads, double *shift, nh_error *err)
{
    const nh_loss_data *d = w->d;
    *shift = 0;
    if (w->outputs == NULL) {
        nh_parallel_for(threads, d->n_edge, edge_correction, w);
        for (size_t i = 0; i < w->n_k; i++)
            project(w, &w->kterm[i], threads);
        for (size_t e = 0; e < d->n_edge; e++)
            *shift += w->sums[e].shift;
        return 0;
    }
    double(*trace)[2] = nh_calloc(w->n_k, sizeof *trace);
    if (trace == NULL) return nh_fail_memory(err, "the states");
    const int status = d->device->call->loss->project(d->placed, w->outputs, w->paper, w->state, shift, trace, err);
    for (size_t i = 0; status == 0 && i < w->n_k; i++) {
        w->kterm[i].trace_p = trace[i][0];
        w->kterm[i].trace_q = trace[i][1];
    }
    free(trace);
    return status;
}

/* Step 2: the errors at mu. */
static int sum_errors(work *w, nh_threads *threads, nhk_loss_sums *sums, nh_error *err)
{
    const nh_loss_data *d = w->d;
    if (w->outputs != NULL)
        return d->device->call->loss->errors(d->placed, w->outputs, w->squared, w->paper, w->with_trace, w->mu,
                                            (const double(*)[3])w->weight, sums, w->part, err);
    nh_parallel_for(threads, d->n_edge, edge_loss, w);
    *sums = (nhk_loss_sums){0};
    for (size_t e = 0; e < d->n_edge; e++) {
        sums->error += w->sums[e].error;
        sums->trace += w->sums[e].trace;
        sums->trace_mu += w->sums[e].trace_mu;
    }
    for (size_t i = 0; i < w->n_k; i++)
        k_errors(w, &w->kterm[i], w->weight[i], w->part[i]);
    return 0;
}

/* Step 3: the gradients by the outputs. */
static int find_gradients(work *w, nh_threads *threads, nh_error *err)
{
    const nh_loss_data *d = w->d;
    if (w->outputs != NULL) {
        double(*diagonal)[2] = nh_calloc(w->n_k, sizeof *diagonal);
        if (diagonal == NULL) return nh_fail_memory(err, "the states");
        for (size_t i = 0; i < w->n_k; i++)
            for (size_t q = 0; q < 2; q++)
                diagonal[i][q] = through_mu_k(w, &w->kterm[i], q == 1);
        const int status = d->device->call->loss->gradients(d->placed, w->outputs, w->weight_r, through_mu(w),
                                                           (const double(*)[2])diagonal, w->with_trace, w->weight_trace, err);
        free(diagonal);
        return status;
    }
    for (size_t i = 0; i < w->n_k; i++)
        k_gradient(w, &w->kterm[i], threads);
    nh_parallel_for(threads, d->n_edge, edge_gradient, w);
    const size_t n_trace = d->n_edge * d->n_shell * d->n_shell;
    for (size_t i = 0; w->g_trace != NULL && i < n_trace; i++)
        w->g_trace[i] *= w->weight_trace;
    return 0;
}

static int evaluate(work *w, size_t n_state, const nh_kstates *state, nh_threads *threads,
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
        weigh_parts(w, &w->kterm[i], weight_h, w->mean[i], w->weight[i]);
    if (sum_errors(w, threads, &sums, err)) return -1;
    terms->r = sums.error / d->n_position;
    terms->loss_trace = sums.trace;
    double count = w->with_trace ? trace_count(d, w->paper) : 0;
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

static int start(work *w, size_t n_state, const nh_kstates *state, nh_threads *threads, nh_loss_terms *terms, nh_error *err)
{
    const nh_loss_options *o = w->o;
    *terms = (nh_loss_terms){0};
    if (!w->with_trace && o->lambda_c != 0)
        return nh_fail(err, "lambda_c is %g, and the network gives no traces", o->lambda_c);
    w->paper = o->kind == NH_LOSS_PAPER;
    w->squared = o->squared || w->paper;
    const int status = evaluate(w, n_state, state, threads, terms, err);
    work_free(w);
    return status;
}

int nh_loss_evaluate(const nh_loss_data *d, const nh_loss_options *o, size_t n_state, const nh_kstates *state,
                     const double *ham, const double *trace, nh_threads *threads, nh_loss_terms *terms,
                     double *g_ham, double *g_trace, nh_error *err)
{
    work w = {.d = d,
              .o = o,
              .gradient = g_ham != NULL,
              .with_trace = trace != NULL,
              .ham = ham,
              .trace = trace,
              .g_ham = g_ham,
              .g_trace = trace != NULL ? g_trace : NULL};
    /* A pool of one also keeps BLAS to one thread: its sums would depend on how many it uses. */
    nh_threads *own = NULL;
    if (threads == NULL && nh_threads_new(1, &own, err)) return -1;
    const int status = start(&w, n_state, state, threads != NULL ? threads : own, terms, err);
    nh_threads_free(own);
    return status;
}

/* --- on a device ---------------------------------------------------------------------------------------------
 */

static int *as_ints(size_t n, const size_t *from)
{
    int *out = NH_ARRAY(int, n);
    for (size_t i = 0; out != NULL && i < n; i++)
        out[i] = (int)from[i];
    return out;
}

/* The arrays of nhk_loss_input that are not there as they are. */
typedef struct placing {
    nhk_embedding tables;
    nhk_loss_pair *pair;
    nhk_block *block;
    int *edge_pair, *group, *species_at, *place, *first;
} placing;

static int make_placing(const nh_loss_data *d, placing *p, nh_error *err)
{
    const nh_graph *g = d->g;
    const nh_structure *st = &g->structure;
    *p = (placing){.pair = NH_ARRAY(nhk_loss_pair, g->pairs.count),
                   .block = NH_ARRAY(nhk_block, d->n_edge),
                   .edge_pair = as_ints(d->n_edge, d->list.pair),
                   .group = as_ints(d->n_group + 1, d->group),
                   .species_at = as_ints(d->n_species + 1, d->species_at),
                   .place = as_ints(d->species_at[d->n_species], d->place),
                   .first = NH_ARRAY(int, d->n_species * d->n_shell)};
    if (!p->pair || !p->block || !p->edge_pair || !p->group || !p->species_at || !p->place || !p->first)
        return nh_fail_memory(err, "the loss");
    if (nh_embedding_tables(d->e, d->s, d->basis, d->padding ? d->full_slot : d->slot, NULL, &p->tables, err)) return -1;
    for (size_t i = 0; i < g->pairs.count; i++) {
        const nh_pair *at = &g->pairs.pair[i];
        const ends q = ends_of(d, i);
        const size_t e = d->edge_of[i];
        const bool answered = e != SIZE_MAX && d->start[e + 1] > d->start[e];
        p->pair[i] = (nhk_loss_pair){.start = q.first,
                                     .d = answered ? d->start[e] : SIZE_MAX,
                                     .edge = e != SIZE_MAX ? (int)e : -1,
                                     .rows = (int)q.rows,
                                     .columns = (int)q.columns,
                                     .a = q.a,
                                     .b = q.b,
                                     .row = (int)d->orbital[at->src],
                                     .column = (int)d->orbital[at->dst],
                                     .cell = {at->cell[0], at->cell[1], at->cell[2]}};
        if (e == SIZE_MAX) continue;
        p->block[e] = (nhk_block){d->start[e], !answered ? -1 : d->padding ? 0 : q.a, d->padding ? 0 : q.b};
    }
    for (size_t a = 0; a < d->n_species; a++) {
        for (size_t i = 0; i < d->n_shell; i++)
            p->first[a * d->n_shell + i] = -1;
        for (size_t k = st->shell_start[a], at = 0; k < st->shell_start[a + 1]; at += (size_t)(2 * st->shell_l[k++] + 1))
            p->first[a * d->n_shell + d->slot[k]] = (int)at;
    }
    return 0;
}

static void placing_free(placing *p)
{
    void *const list[] = {p->pair, p->block, p->edge_pair, p->group, p->species_at, p->place, p->first};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        free(list[i]);
    nh_embedding_tables_free(&p->tables);
}

/* Takes what does not change to the device, once; d->placed is NULL where there is no room. */
static int place(nh_loss_data *d, const nh_device *device, nh_error *err)
{
    const nh_graph *g = d->g;
    placing p = {0};
    if (d->device != NULL) return 0; /* it is there, or there was no room */
    d->device = device;
    int status = g->pairs.count > INT_MAX / 2 ? nh_fail(err, "%zu pairs, too many for a device", g->pairs.count) : make_placing(d, &p, err);
    if (status == 0) {
        const nhk_loss_input in = {.n_edge = d->n_edge,
                                   .n_pair = g->pairs.count,
                                   .n_elem = g->pairs.n_elem,
                                   .n_group = d->n_group,
                                   .n_orbital = d->n_orbital,
                                   .n_full = d->n_full,
                                   .n_d = d->start[d->n_edge],
                                   .spin_blocks = g->n_spin,
                                   .n_slot = (int)d->n_shell,
                                   .n_species = (int)d->n_species,
                                   .padding = d->padding,
                                   .scale = d->scale,
                                   .trace_eps = TRACE_EPS,
                                   .tables = &p.tables,
                                   .block = p.block,
                                   .pair = p.pair,
                                   .edge_pair = p.edge_pair,
                                   .group = p.group,
                                   .species_at = p.species_at,
                                   .place = p.place,
                                   .first = p.first,
                                   .occupied = d->occupied,
                                   .mask = d->mask,
                                   .h0 = g->matrix[NH_H0],
                                   .label = g->matrix[NH_H_LABEL],
                                   .overlap = g->overlap};
        status = device->call->loss->make(device->gpu, &in, &d->placed, err);
    }
    placing_free(&p);
    return status;
}

int nh_loss_begin(nh_loss_data *d, const nh_device *device, nhk_outputs *outputs, bool gradients, size_t n_state,
                  const nh_kstates *state, bool *ready, nh_error *err)
{
    *ready = false;
    if (check_states(d, n_state, state, err) || place(d, device, err)) return -1;
    if (d->placed == NULL) return 0;
    return device->call->loss->begin(d->placed, outputs, gradients, n_state, state, ready, err);
}

int nh_loss_evaluate_placed(const nh_loss_data *d, const nh_loss_options *o, size_t n_state, const nh_kstates *state,
                            nhk_outputs *outputs, bool with_trace, bool gradients, nh_loss_terms *terms, nh_error *err)
{
    work w = {.d = d, .o = o, .gradient = gradients, .with_trace = with_trace, .outputs = outputs};
    return start(&w, n_state, state, NULL, terms, err);
}

/* --- the prediction and its error -------------------------------------------------------------------------
 */

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
        const ends p = ends_of(d, d->list.pair[e]);
        correction(d, e, ham, block);
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
