/* The network on the host: the texts of block.h and block_back.h with the operations of lib/ops, in small tiles that threads
 * share.
 *
 * Forward, every tile is a piece of work. On the way back the tiles of a loop are cut into as many chunks as there are threads;
 * each chunk adds the gradients of the packed weights to an array of its own, and these are summed in order. Features between
 * blocks are on the tape, so are the activations inside attention where they are stored; otherwise a tile's are made again. */
#include "network/internal.h"

#include "base/memory.h"
#include "o3/harmonics.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef nh_pass run;

typedef struct tile {
    const nh_net *net;
    const nh_block *b;
    const nh_state *s;
    nh_work *w;
    const NH_NET(_probe) *probe;
    size_t n, first, slot, kept;
    const size_t *row, *src, *dst, *kept_row;
    real *gradient;

    nh_pass *f;
    size_t index, chunk;
    const size_t *order; /* edge at each position; NULL: rows are nodes */
    nh_timer *timer;
    nh_work own; /* *w, where activations are on the tape */
} tile;

#define OP(name) R(nh_##name)
#define ON
#define WITH(method) method,
#define ROWS(list) list
#define ALL NULL
#define PICKED(a) (a)->w->pick
#define PAIRS(a, layout) layout
#define LIFT(a) &(a)->net->lift
#define TO_E3NN(a) &(a)->net->map_output.out
#define COPY(to, from, n) memcpy(to, from, (n) * sizeof(real))
#define ZERO(to, n) memset(to, 0, (n) * sizeof(real))
#define SPENT(a, part) ((a)->timer->times.part += R(nh_seconds)(&(a)->timer->since))

#include "network/block.h"

#include "network/block_back.h"

double R(nh_seconds)(double *mark)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const double seconds = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec, since = seconds - *mark;
    *mark = seconds;
    return since;
}

/* --- loops */

typedef struct loop {
    nh_pass *f;
    tile_body *body;
    size_t n, rows;      /* of the list, of a tile */
    const size_t *list;  /* where rows are stored; NULL: in order */
    const size_t *order; /* as in a tile */
} loop;

static void run_chunk(void *context, size_t index, int thread)
{
    const loop *l = context;
    nh_pass *f = l->f;
    const size_t n_tile = R(nh_tiles)(l->n, l->rows), n_chunk = f->backward ? f->n_chunk : n_tile;
    for (size_t i = n_tile * index / n_chunk; i < n_tile * (index + 1) / n_chunk; i++) {
        const size_t first = i * l->rows, left = l->n - first;
        nh_work *w = &f->work[thread];
        tile a = {.net = f->net,
                  .b = &f->net->block[f->s.block],
                  .s = &f->s,
                  .w = w,
                  .probe = f->probe,
                  .n = left < l->rows ? left : l->rows,
                  .first = first,
                  .slot = first,
                  .row = l->list != NULL ? l->list + first : NULL,
                  .src = w->source,
                  .dst = w->destination,
                  .gradient = f->backward ? f->packed[index] : NULL,
                  .f = f,
                  .index = i,
                  .chunk = index,
                  .order = l->order,
                  .timer = &f->timer[thread]};
        R(nh_seconds)(&a.timer->since);
        l->body(&a);
    }
}

static void over(loop *l)
{
    nh_parallel_for(l->f->pool, l->f->backward ? l->f->n_chunk : R(nh_tiles)(l->n, l->rows), run_chunk, l);
}

static void over_nodes(nh_pass *f, tile_body *body)
{
    loop l = {.f = f, .body = body, .n = f->graph->n_node, .rows = NH_TILE};
    over(&l);
}

static void over_edges(nh_pass *f, bool all, tile_body *body)
{
    loop l = {.f = f,
              .body = body,
              .n = all ? f->graph->n_edge : f->n_out,
              .rows = all ? f->rows_all : f->rows_out,
              .list = all ? NULL : f->out,
              .order = f->order};
    over(&l);
}

static void over_input(nh_pass *f, tile_body *body)
{
    loop l = {
        .f = f, .body = body, .n = f->graph->n_edge, .rows = NH_TILE, .list = f->position, .order = f->order};
    over(&l);
}

/* --- ends */

static void features(tile *a)
{
    a->f->source(a->f->source_context, a->first, a->n, a->w->e3nn);
    R(nh_from_e3nn)(&a->net->map_input.in, a->n, a->w->e3nn, a->w->tile);
}

/* Where row t is stored. */
static size_t stored(const tile *a, size_t t)
{
    return a->row != NULL ? a->row[t] : a->first + t;
}

/* Factor of edge_ham beside the window: output_scale * exp(-decay r), r in Å. */
static real damping(const nh_net *net, double r)
{
    return (real)(net->config->output_scale * exp(-net->config->decay * r));
}

static void answer(tile *a)
{
    const nh_pass *f = a->f;
    const nh_net *net = a->net;
    const nh_work *w = a->w;
    const size_t dim = net->map_output.out.dim, pairs = net->types->n_shell_pair;
    size_t kept = 0;
    for (size_t t = 0; t < a->n; t++) {
        const size_t e = f->order[stored(a, t)];
        const bool inside = R(nh_inside)(net, f->graph->distance[e]);
        if (!inside && !f->everywhere) continue;
        const real factor = inside ? damping(net, w->distance[t]) : 0;
        real *to = w->e3nn + kept * dim;
        const real *from = w->e3nn + t * dim;
        for (size_t i = 0; i < dim; i++)
            to[i] = inside ? from[i] * factor : 0;
        for (size_t i = 0; net->with_trace && i < pairs; i++)
            w->trace[kept * pairs + i] = inside ? w->trace[t * pairs + i] : 0;
        w->pick[kept++] = e;
    }
    if (kept > 0 && f->sink != NULL)
        f->sink(f->sink_context, kept, w->pick, w->e3nn, net->with_trace ? w->trace : NULL);
}

static void seeds(tile *a)
{
    const nh_pass *f = a->f;
    const nh_work *w = a->w;
    for (size_t t = 0; t < a->n; t++) {
        w->edge[t] = f->order[stored(a, t)];
        w->factor[t] = damping(a->net, w->distance[t]);
    }
    f->seed(f->seed_context, a->n, w->edge, w->e3nn, a->net->with_trace ? w->g_trace : NULL);
    R(nh_scale_rows)(a->n, a->net->map_output.out.dim, w->factor, w->e3nn);
}

/* `everywhere`: zeros for the edges that no block worked on. Tiles of edges in the graph's order. */
static void outside(tile *a)
{
    const nh_pass *f = a->f;
    const nh_net *net = a->net;
    const nh_work *w = a->w;
    size_t kept = 0;
    for (size_t t = 0; t < a->n; t++)
        if (f->slot[a->row[t]] == SIZE_MAX) w->pick[kept++] = a->first + t;
    if (kept == 0) return;
    ZERO(w->e3nn, kept * net->map_output.out.dim);
    if (net->with_trace) ZERO(w->trace, kept * net->types->n_shell_pair);
    f->sink(f->sink_context, kept, w->pick, w->e3nn, net->with_trace ? w->trace : NULL);
}

static void show(const tile *a, const nh_layout *layout, size_t width, const real *x, real *out)
{
    if (out == NULL) return;
    if (layout != NULL) {
        R(nh_to_e3nn)(layout, a->n, x, a->w->e3nn);
        x = a->w->e3nn;
    }
    for (size_t t = 0; t < a->n; t++)
        COPY(out + (a->order != NULL ? a->order[stored(a, t)] : stored(a, t)) * width, x + t * width, width);
}

static void given_factor(const tile *a)
{
    for (size_t t = 0; t < a->n; t++)
        a->w->factor[t] = a->probe->factor[a->s->block][a->order[stored(a, t)]];
}

/* --- nodes */

static void begin_nodes(nh_pass *f)
{
    const size_t dim = f->net->mid.dim;
    const real copies = (real)f->net->config->onsite_copies;
    for (size_t i = 0; i < f->graph->n_edge; i++) {
        const size_t e = f->order[i];
        if (!R(nh_onsite)(f->graph, e)) continue;
        real *to = f->s.node + (size_t)f->graph->src[e] * dim;
        for (size_t k = 0; k < dim; k++)
            to[k] += copies * f->s.first[i * dim + k];
    }
    if (f->probe == NULL || f->probe->node_init == NULL) return;
    for (size_t a = 0; a < f->graph->n_node; a++) { /* one row: a tile is the stored row */
        R(nh_to_e3nn)(&f->net->mid, 1, f->s.node + a * dim, f->probe->node_init + a * dim);
    }
}

static void begin_nodes_back(nh_pass *f)
{
    const size_t dim = f->net->mid.dim;
    const real copies = (real)f->net->config->onsite_copies;
    for (size_t i = 0; i < f->graph->n_edge; i++) {
        const size_t e = f->order[i];
        if (!R(nh_onsite)(f->graph, e)) continue;
        const real *from = f->s.back.node + (size_t)f->graph->src[e] * dim;
        for (size_t k = 0; k < dim; k++)
            f->s.back.edge[i * dim + k] += copies * from[k];
    }
}

static void sum_messages(const tile *a, bool last)
{
    const nh_pass *f = a->f;
    const nh_layout *mid = &a->net->mid;
    const size_t *slot = last ? f->slot : NULL;
    R(nh_rows_sum)(mid, a->n, f->outgoing + a->first, f->from, slot, a->s->back.message, a->w->g_message);
    R(nh_rows_sum)(mid, a->n, f->incoming + a->first, NULL, slot, a->s->back.message, a->w->g_y);
}

/* --- radial weights, on knots */

static void begin_radial(nh_pass *f, const nh_chain *radial, bool all)
{
    R(nh_make_knots)(f, radial, all);
    for (size_t i = 0; f->backward && i < f->n_chunk; i++)
        ZERO(f->knot_gradient[i], f->n_knot * f->net->product.n_weight);
}

static void radial_back(const tile *a, const nh_chain *radial)
{
    const nh_pass *f = a->f;
    const size_t width = a->net->product.n_weight;
    (void)radial; /* of begin_radial */
    for (size_t t = 0; t < a->n; t++) {
        const real *restrict from = a->w->g_weight + t * width;
        real *restrict to = f->knot_gradient[a->chunk] + f->knot_of[stored(a, t)] * width;
        for (size_t i = 0; i < width; i++)
            to[i] += from[i];
    }
}

/* The radial network, from the sums of all chunks: a tile of knots. */
static void knots_back(tile *a)
{
    const nh_pass *f = a->f;
    const nh_config *config = a->net->config;
    const nh_work *w = a->w;
    const size_t n = a->n, width = a->net->product.n_weight, begin = a->first * width;
    if (!R(nh_knots_needed)(f, a->first, n)) return;
    COPY(w->g_weight, f->knot_gradient[0] + begin, n * width);
    for (size_t k = 1; k < f->n_chunk; k++)
        R(nh_axpy)(n * width, w->g_weight, 1, f->knot_gradient[k] + begin, w->g_weight);
    R(nh_gaussians_forward)(n, config->radial_basis, config->radial_max, f->knot + a->first,
                            config->radial_basis, w->gaussians);
    R(nh_mlp_forward)(f->radial, n, w->gaussians, w->radial_hidden, NULL, false);
    chain_back(a, f->radial, w->g_weight, w->gaussians, w->radial_hidden, NULL);
    SPENT(a, radial);
}

static void end_radial_back(nh_pass *f)
{
    loop l = {.f = f, .body = knots_back, .n = f->n_knot, .rows = NH_TILE};
    over(&l);
}

/* --- attention */

static void place_activations(tile *a)
{
    const nh_pass *f = a->f;
    if (!f->store) return;
    nh_arena c = {.base = a->s->saved[a->s->block].activations + a->index * f->slab};
    a->own = *a->w;
    R(nh_take_activations)(a->net, last_block(a) ? f->rows_out : f->rows_all, &a->own, &c);
    a->w = &a->own;
    a->src = a->w->source;
    a->dst = a->w->destination;
}

static void geometry(tile *a, const nh_chain *radial)
{
    const nh_pass *f = a->f;
    const nh_net *net = a->net;
    const nh_config *c = net->config;
    const nh_edges *g = f->graph;
    const nh_work *w = a->w;
    const size_t n = a->n, n_y = net->product.n_harmonic;
    (void)radial; /* of begin_radial */
    for (size_t t = 0; t < n; t++) {
        const size_t e = f->order[stored(a, t)];
        w->distance[t] = R(nh_length)(g, e);
        memcpy(w->vector + 3 * t, g->vector + 3 * e, 3 * sizeof *w->vector);
        w->source[t] = (size_t)g->src[e];
        w->destination[t] = (size_t)g->dst[e];
        w->copies[t] = R(nh_onsite)(g, e) ? (real)c->onsite_copies : 1;
    }
    R(nh_gaussians_forward)(n, c->radial_basis, c->radial_max, w->distance, c->radial_basis, w->gaussians);
    R(nh_radial_weights)(f, n, a->row, a->first, w->distance, w->weight);
    if (net->aligned) {
        R(nh_frame_forward)(&net->frame, n, w->vector, w->rotation, w->along);
        return;
    }
    nh_spherical_harmonics(c->sh_lmax, n, w->vector, w->harmonics64);
    for (size_t t = 0; t < n; t++)
        for (size_t k = 0; k < n_y; k++)
            w->harmonics[k * n + t] = (real)w->harmonics64[t * n_y + k];
    R(nh_coupling_forward)(&net->product, n, w->harmonics, w->coupling);
}

static void attention_again(tile *a)
{
    if (a->f->store)
        R(nh_radial_weights)(a->f, a->n, a->row, a->first, a->w->distance, a->w->weight);
    else
        attention(a);
}

static void into_frame(const tile *a, const nh_layout *layout, real *x)
{
    if (a->net->aligned) R(nh_rotate)(&a->net->frame, layout, a->n, a->w->rotation, false, x);
}

static void out_of_frame(const tile *a, const nh_layout *layout, real *x)
{
    if (a->net->aligned) R(nh_rotate)(&a->net->frame, layout, a->n, a->w->rotation, true, x);
}

/* In the frame: the rows m and -m of the group. */
static int parts(const tile *a, size_t g)
{
    return a->net->aligned ? a->net->product.out.group[g].l + 1 : 1;
}

static void product_part(const tile *a, size_t g, int m, const real *x, const real *weight, size_t stride)
{
    const nh_net *net = a->net;
    const nh_work *w = a->w;
    if (net->aligned)
        R(nh_aligned_forward)(&net->frame, g, m, a->n, x, w->along, weight, stride, w->product);
    else
        R(nh_product_forward)(&net->product, g, a->n, x, w->coupling, weight, stride, w->product);
}

static void product_part_back(const tile *a, size_t g, int m, const real *x, const real *weight,
                              size_t stride, real *gx, real *gw)
{
    const nh_net *net = a->net;
    const nh_work *w = a->w;
    if (net->aligned)
        R(nh_aligned_backward)(&net->frame, g, m, a->n, w->g_product, x, w->along, weight, stride, gx, gw);
    else
        R(nh_product_backward)(&net->product, g, a->n, w->g_product, x, w->coupling, weight, stride, gx, gw);
}

/* Whether group o of the map is made of the rows m and -m of a product in the frame. */
static bool in_frame(const nh_linear *l, size_t o)
{
    return l->aligned != NULL && l->map->block[o].in != SIZE_MAX;
}

static void map_part(const tile *a, const nh_linear *l, size_t o, int m, const real *x, real *y)
{
    if (in_frame(l, o))
        R(nh_aligned_linear_forward)(&a->net->frame, l->map, o, m, a->n, x, l->aligned,
                                     m == 0 ? l->bias : NULL, y);
    else
        R(nh_linear_group_forward)(l->map, o, a->n, x, l->weight, l->bias, false, y);
}

static void map_part_back(const tile *a, const nh_linear *l, size_t o, int m, const real *gy, const real *x,
                          real *gx, bool add)
{
    real *bias = into(a, l->bias);
    if (in_frame(l, o))
        R(nh_aligned_linear_backward)(&a->net->frame, l->map, o, m, a->n, gy, x, l->aligned, gx, add,
                                      into(a, l->aligned), m == 0 ? bias : NULL);
    else
        R(nh_linear_group_backward)(l->map, o, a->n, gy, x, l->weight, gx, add, into(a, l->weight), bias);
}

/* In the frame all edges have the same matrix for product and map together. */
static void value(tile *a)
{
    const nh_net *net = a->net;
    const nh_linear *l = &a->b->value_lin;
    const nh_work *w = a->w;
    if (!net->aligned) {
        value_by_groups(a);
        return;
    }
    apply(a, l, SIZE_MAX, 0, NULL, w->heads);
    R(nh_folded_forward)(&net->frame, l->map, a->n, w->value, w->along, l->aligned, l->bias, w->product,
                         w->heads);
    SPENT(a, linear);
    out_of_frame(a, &net->heads, w->heads);
    SPENT(a, product);
}

static void value_back(tile *a)
{
    const nh_net *net = a->net;
    const nh_linear *l = &a->b->value_lin;
    const nh_work *w = a->w;
    if (!net->aligned) {
        value_back_by_groups(a);
        return;
    }
    into_frame(a, &net->heads, w->g_heads);
    SPENT(a, product);
    ZERO(w->g_value, a->n * net->mid.dim);
    R(nh_folded_backward)(&net->frame, l->map, a->n, w->g_heads, w->value, w->along, l->aligned, w->product,
                          w->g_value, into(a, l->aligned), into(a, l->bias));
    SPENT(a, linear);
}

static void choose(tile *a, bool every)
{
    const nh_work *w = a->w;
    a->kept = 0;
    a->slot = SIZE_MAX;
    for (size_t t = 0; t < a->n; t++) {
        const size_t position = stored(a, t), slot = a->f->slot[position];
        if (a->slot == SIZE_MAX)
            a->slot = slot; /* rows are in the order of positions: those with a slot have consecutive ones */
        if (!every && slot == SIZE_MAX) continue;
        w->pick[a->kept] = t;
        w->edge[a->kept++] = position;
    }
    a->kept_row = a->kept < a->n ? w->edge : a->row;
}

/* Rows first .. end-1 of the tile have one destination; returns end. */
static size_t run_end(const tile *a, size_t first)
{
    size_t end = first + 1;
    while (end < a->n && a->dst[end] == a->dst[first])
        end++;
    return end;
}

/* One partial result for each run of equal destinations. */
static void edge_sums(tile *a)
{
    const nh_layout *layout = &a->net->heads;
    const nh_state *s = a->s;
    const nh_work *w = a->w;
    const size_t heads = a->net->config->heads;
    size_t part = a->f->tile_partial[a->index];
    for (size_t first = 0, end; first < a->n; first = end, part++) {
        end = run_end(a, first);
        R(nh_softmax_partial_forward)(layout, heads, a->n, first, end - first, w->alpha, w->copies, w->heads,
                                      s->partial_max + part * heads, s->partial_sum + part * heads,
                                      s->partial_value + part * layout->dim);
    }
}

static void edge_sums_back(const tile *a)
{
    const nh_layout *layout = &a->net->heads;
    const nh_adjoint *back = &a->s->back;
    const nh_work *w = a->w;
    const size_t heads = a->net->config->heads;
    for (size_t first = 0, end; first < a->n; first = end) {
        const size_t node = a->dst[first];
        end = run_end(a, first);
        R(nh_softmax_partial_backward)(layout, heads, a->n, first, end - first,
                                       back->merged + node * layout->dim, back->max + node * heads,
                                       back->total + node * heads, back->dot + node * heads, w->alpha,
                                       w->copies, w->heads, w->g_alpha, w->g_heads, true);
    }
}

static void node_sums(tile *a)
{
    const nh_layout *heads = &a->net->heads;
    const nh_state *s = a->s;
    const nh_work *w = a->w;
    const size_t n_head = a->net->config->heads;
    real *sums = s->keep ? s->merged + a->first * heads->dim : w->weighted;
    for (size_t t = 0; t < a->n; t++) {
        const size_t *first = &a->f->node_partial[a->first + t];
        R(nh_softmax_merge_forward)(heads, n_head, first[1] - first[0], s->partial_max + first[0] * n_head,
                                    s->partial_sum + first[0] * n_head,
                                    s->partial_value + first[0] * heads->dim, sums + t * heads->dim);
    }
    R(nh_rows_load)(heads, a->n, NULL, sums, w->heads);
}

static void node_sums_back(const tile *a)
{
    const nh_layout *heads = &a->net->heads;
    const nh_state *s = a->s;
    const nh_adjoint *back = &s->back;
    const size_t n_head = a->net->config->heads;
    for (size_t i = a->first; i < a->first + a->n; i++) {
        const size_t first = a->f->node_partial[i], count = a->f->node_partial[i + 1] - first;
        R(nh_softmax_merge_backward)(heads, n_head, count, back->merged + i * heads->dim,
                                     s->partial_max + first * n_head, s->partial_sum + first * n_head,
                                     s->merged + i * heads->dim, back->max + i * n_head,
                                     back->total + i * n_head, back->dot + i * n_head);
    }
}

/* --- passes */

void R(nh_enter_block)(nh_pass *f, size_t k)
{
    enter_block(f, k);
}

void R(nh_run_block)(nh_pass *f)
{
    run_block(f);
}

void R(nh_block_back)(nh_pass *f)
{
    f->backward = true;
    block_back(f);
    f->backward = false;
}

static void add_times(const nh_pass *f, nh_network_times *t)
{
    for (int i = 0; t != NULL && i < f->threads; i++) {
        const nh_network_times *from = &f->timer[i].times;
        t->input += from->input;
        t->node += from->node;
        t->radial += from->radial;
        t->product += from->product;
        t->linear += from->linear;
        t->attention += from->attention;
        t->tracegrad += from->tracegrad;
        t->output += from->output;
    }
}

static int check_edges(const nh_edges *g, nh_error *err)
{
    for (size_t e = 0; e < g->n_edge; e++)
        if (g->src[e] < 0 || g->dst[e] < 0 || (size_t)g->src[e] >= g->n_node ||
            (size_t)g->dst[e] >= g->n_node)
            return nh_fail(err, "network: edge %zu joins atoms %d and %d of %zu", e, g->src[e], g->dst[e],
                           g->n_node);
    return 0;
}

static void run_pass(nh_pass *f, nh_network_times *times)
{
    if (f->n_out > 0) forward(f); /* else no output is needed, nor anything before it */
    if (f->everywhere) over_input(f, outside);
    add_times(f, times);
}

int NH_NET(_forward)(const nh_net *net, const nh_edges *g, NH_NET(_source) *source, void *source_context,
                     NH_NET(_sink) *sink, void *sink_context, bool everywhere, const NH_NET(_probe) *probe,
                     nh_threads *threads, nh_network_times *times, nh_error *err)
{
    if (check_edges(g, err) != 0) return -1;
    if (net->placed != NULL)
        return R(nh_placed_forward)(net, g, source, source_context, sink, sink_context, everywhere, probe,
                                    NULL, err);
    nh_pass f = {.s = {.all = any_probe(probe)},
                 .net = net,
                 .graph = g,
                 .probe = probe,
                 .source = source,
                 .source_context = source_context,
                 .sink = sink,
                 .sink_context = sink_context,
                 .everywhere = everywhere,
                 .pool = threads,
                 .threads = nh_threads_count(threads)};
    char *room = NULL;
    size_t size = 0;
    const int status = R(nh_pass_begin)(&f, &room, &size, err);
    if (status == 0) run_pass(&f, times);
    free(room);
    return status;
}

int NH_NET(_tape_new)(nh_tape_memory memory, nh_tape **out, nh_error *err)
{
    *out = NH_ARRAY(nh_tape, 1);
    if (*out == NULL) return nh_fail_memory(err, "tape");
    (*out)->memory = memory;
    return 0;
}

void NH_NET(_tape_free)(nh_tape *tape)
{
    if (tape == NULL) return;
    free(tape->room);
    free(tape);
}

size_t NH_NET(_tape_bytes)(const nh_tape *tape)
{
    return tape->size;
}

int NH_NET(_forward_keep)(const nh_net *net, const nh_edges *g, NH_NET(_source) *source, void *source_context,
                          NH_NET(_sink) *sink, void *sink_context, nh_tape *tape, nh_threads *threads,
                          nh_network_times *times, nh_error *err)
{
    tape->filled = false;
    if (check_edges(g, err) != 0) return -1;
    if (net->placed != NULL) {
        tape->pass = (nh_pass){.net = net};
        if (R(nh_placed_forward)(net, g, source, source_context, sink, sink_context, false, NULL,
                                 &tape->placed, err) != 0)
            return -1;
        tape->filled = true;
        return 0;
    }
    tape->pass = (nh_pass){.s = {.keep = true},
                           .net = net,
                           .graph = g,
                           .source = source,
                           .source_context = source_context,
                           .sink = sink,
                           .sink_context = sink_context,
                           .pool = threads,
                           .store = tape->memory == NH_TAPE_STORE,
                           .threads = nh_threads_count(threads)};
    if (R(nh_pass_begin)(&tape->pass, &tape->room, &tape->size, err) != 0) return -1;
    run_pass(&tape->pass, times);
    tape->filled = true;
    return 0;
}

static int check_backward(const nh_net *net, const nh_tape *tape, const nh_weights *gradient,
                          nh_threads *threads, nh_error *err)
{
    const nh_pass *f = &tape->pass;
    if (!tape->filled || f->net != net)
        return nh_fail(err, "network: the tape holds no run of this sub-model");
    if (net->placed == NULL && nh_threads_count(threads) != f->threads)
        return nh_fail(err, "network: %d threads on the way back, %d on the way there",
                       nh_threads_count(threads), f->threads);
    if (gradient == NULL && net->placed == NULL) return nh_fail(err, "network: no gradients to add to");
    if (gradient != NULL && (gradient->NH_NATIVE == NULL || gradient->count != net->params->count))
        return nh_fail(
            err, "network: gradients of the network's precision, one for each of %zu parameters, expected",
            net->params->count);
    return 0;
}

int NH_NET(_backward)(const nh_net *net, nh_tape *tape, NH_NET(_seed) *seed, void *seed_context,
                      nh_weights *gradient, nh_threads *threads, nh_network_times *times, nh_error *err)
{
    nh_pass *f = &tape->pass;
    if (check_backward(net, tape, gradient, threads, err) != 0) return -1;
    if (net->placed != NULL)
        return R(nh_placed_backward)(net, tape->placed, seed, seed_context, gradient, err);
    if (f->n_out == 0) return 0;
    f->pool = threads;
    f->seed = seed;
    f->seed_context = seed_context;
    memset(f->timer, 0, (size_t)f->threads * sizeof *f->timer);
    R(nh_back_begin)(f);
    f->backward = true;
    backward(f);
    f->backward = false;
    R(nh_back_end)(f, gradient->NH_NATIVE);
    add_times(f, times);
    return 0;
}
