/* The beginning of a pass on the host: memory and order of the edges. */
#include "network/internal.h"

#include "base/memory.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void *take(nh_arena *c, size_t rows, size_t per_row, size_t size)
{
    size_t bytes, end;
    if (!nh_size_mul(rows, per_row, &bytes) || !nh_size_mul(bytes, size, &bytes) ||
        !nh_size_add(bytes, 63, &bytes) || !nh_size_add(c->used, bytes - bytes % 64, &end)) {
        c->overflow = true;
        return NULL;
    }
    void *p = c->base != NULL ? c->base + c->used : NULL;
    c->used = end;
    return p;
}

static real *reals(nh_arena *c, size_t rows, size_t per_row)
{
    return take(c, rows, per_row, sizeof(real));
}

static size_t *indices(nh_arena *c, size_t n)
{
    return take(c, n, 1, sizeof(size_t));
}

typedef nh_arena arena;
#define OP(name) R(nh_##name)
#include "network/memory.h"

size_t R(nh_tiles)(size_t n, size_t rows)
{
    return (n + rows - 1) / rows;
}

static size_t tiles(size_t n)
{
    return R(nh_tiles)(n, NH_TILE);
}

bool R(nh_onsite)(const nh_edges *g, size_t edge)
{
    return g->src[edge] == g->dst[edge] && g->distance[edge] < 1e-5;
}

bool R(nh_inside)(const nh_net *net, double distance)
{
    return distance >= net->lo && distance < net->hi;
}

double R(nh_length)(const nh_edges *g, size_t edge)
{
    const double *v = g->vector + 3 * edge;
    return sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
}

void R(nh_take_activations)(const nh_net *net, size_t rows, nh_work *w, nh_arena *c)
{
#define BUFFER(name, numbers)
#define ACTIVATION(name, numbers) w->name = reals(c, rows, numbers);
#define GRADIENT(name, numbers)
#include "network/work.def"
#undef BUFFER
#undef ACTIVATION
#undef GRADIENT
    w->source = indices(c, rows);
    w->destination = indices(c, rows);
    w->distance = take(c, rows, 1, sizeof(double));
    w->copies = reals(c, rows, 1);
}

/* The buffers of one thread. */
static void take_thread(const nh_pass *f, nh_work *w, nh_arena *c)
{
    take_work(f->net, f->s.keep, NH_TILE, w, c);
    w->row = indices(c, NH_TILE);
    w->pick = indices(c, NH_TILE);
    w->edge = indices(c, NH_TILE);
    w->vector = take(c, NH_TILE, 3, sizeof(double));
    w->harmonics64 = take(c, NH_TILE, f->net->product.n_harmonic, sizeof(double));
    w->source = indices(c, NH_TILE);
    w->destination = indices(c, NH_TILE);
    w->distance = take(c, NH_TILE, 1, sizeof(double));
    w->copies = reals(c, NH_TILE, 1);
}

/* Positions: edges sorted by destination, otherwise in the graph's order. node_partial receives the first
 * position of each node. */
static void sort_edges(nh_pass *f)
{
    const nh_edges *g = f->graph;
    size_t *first = f->node_partial;
    for (size_t e = 0; e < g->n_edge; e++)
        first[(size_t)g->dst[e] + 1]++;
    for (size_t a = 0; a < g->n_node; a++)
        first[a + 1] += first[a];
    for (size_t e = 0; e < g->n_edge; e++) {
        const size_t position = first[(size_t)g->dst[e]]++;
        f->order[position] = e;
        f->position[e] = position;
    }
    memset(first, 0, (g->n_node + 1) * sizeof *first);
}

/* Numbers the partial results: one for each destination in each tile. */
static void number_partials(nh_pass *f)
{
    const nh_edges *g = f->graph;
    size_t count = 0;
    for (size_t i = 0; i < g->n_edge; i++) {
        const int node = g->dst[f->order[i]];
        if (i % f->rows_all == 0) f->tile_partial[i / f->rows_all] = count;
        if (i % f->rows_all == 0 || node != g->dst[f->order[i - 1]]) {
            count++;
            f->node_partial[(size_t)node + 1]++;
        }
    }
    for (size_t a = 0; a < g->n_node; a++)
        f->node_partial[a + 1] += f->node_partial[a];
}

static void choose_outputs(nh_pass *f)
{
    const nh_edges *g = f->graph;
    size_t n = 0;
    for (size_t i = 0; i < g->n_edge; i++) {
        f->slot[i] = SIZE_MAX;
        if (!f->s.all && !R(nh_inside)(f->net, g->distance[f->order[i]])) continue;
        f->slot[i] = n;
        f->out[n++] = i;
    }
}

/* Rows in a tile, so that n rows give equal work to the threads of a pass that is kept, whose sums depend on their number
 * anyway; of others, whose sums must not, to two. */
static size_t balanced_rows(size_t n, size_t threads)
{
    size_t count = tiles(n);
    if (count == 0) return NH_TILE;
    count = (count + threads - 1) / threads * threads;
    return n / count >= NH_TILE / 4 ? (n + count - 1) / count : NH_TILE;
}

static size_t tiles_of_block(const nh_pass *f, size_t k)
{
    const bool last = k + 1 == f->net->config->blocks;
    return last ? R(nh_tiles)(f->n_out, f->rows_out) : R(nh_tiles)(f->graph->n_edge, f->rows_all);
}

/* What a pass that is kept has besides. */
static void take_kept(nh_pass *f, nh_arena *c)
{
    const nh_net *net = f->net;
    const size_t blocks = net->config->blocks;
    for (size_t k = 0; f->store && k < blocks; k++) {
        char *activations = take(c, tiles_of_block(f, k), f->slab, 1);
        if (f->s.saved != NULL) f->s.saved[k].activations = activations;
    }
    f->incoming = indices(c, f->graph->n_node + 1);
    f->outgoing = indices(c, f->graph->n_node + 1);
    f->from = indices(c, f->graph->n_edge);
    f->n_chunk = (size_t)f->threads;
    f->packed = take(c, f->n_chunk, 1, sizeof *f->packed);
    f->knot_gradient = take(c, f->n_chunk, 1, sizeof *f->knot_gradient);
    for (size_t i = 0; i < f->n_chunk; i++) {
        real *packed = reals(c, net->n_packed, 1), *knot = reals(c, f->n_knot, net->product.n_weight);
        if (f->packed == NULL) continue;
        f->packed[i] = packed;
        f->knot_gradient[i] = knot;
    }
    f->form = take(c, blocks, 1, sizeof *f->form);
    for (size_t k = 0; k < blocks; k++) {
        const nh_block *block = &net->block[k];
        real *form = reals(c, block->has_invariants ? block->invariants.width[0] : 0, block->form_hidden);
        if (f->form != NULL) f->form[k] = form;
    }
}

static void take_pass(nh_pass *f, nh_arena *c)
{
    const nh_net *net = f->net;
    const nh_edges *g = f->graph;
    const size_t n_tile = R(nh_tiles)(g->n_edge, f->rows_all);
    /* partial results, at most: one for each node, and for each cut */
    const counts n = {.edge = g->n_edge, .node = g->n_node, .out = f->n_out, .partial = n_tile + g->n_node};
    f->order = indices(c, g->n_edge);
    f->position = indices(c, g->n_edge);
    f->out = indices(c, f->n_out);
    f->slot = indices(c, g->n_edge);
    f->knot = take(c, f->n_knot, 1, sizeof *f->knot);
    f->knot_of = indices(c, g->n_edge);
    f->knot_weight = reals(c, f->n_knot, net->product.n_weight);
    f->tile_partial = indices(c, n_tile + 1);
    f->node_partial = indices(c, g->n_node + 1);
    f->s.saved = take(c, f->s.keep ? net->config->blocks : 0, 1, sizeof *f->s.saved);
    take_state(net, n, &f->s, c);
    f->work = take(c, (size_t)f->threads, 1, sizeof *f->work);
    f->timer = take(c, (size_t)f->threads, 1, sizeof *f->timer);
    nh_work measured = {0};
    for (int i = 0; i < f->threads; i++)
        take_thread(f, f->work != NULL ? &f->work[i] : &measured, c);
    if (f->s.keep) take_kept(f, c);
}

int R(nh_pass_begin)(nh_pass *f, char **room, size_t *size, nh_error *err)
{
    const nh_edges *g = f->graph;
    if (R(nh_count_knots)(f, err) != 0) return -1;
    f->n_out = 0;
    for (size_t e = 0; e < g->n_edge; e++)
        f->n_out += f->s.all || R(nh_inside)(f->net, g->distance[e]);
    const size_t threads = (size_t)f->threads;
    f->rows_all = balanced_rows(g->n_edge, f->s.keep ? threads : 2);
    f->rows_out = balanced_rows(f->n_out, f->s.keep ? threads : 2);
    if (f->store) {
        nh_work measured;
        nh_arena c = {0};
        R(nh_take_activations)(f->net, max_of(f->rows_all, f->rows_out), &measured, &c);
        f->slab = c.used;
    }
    nh_arena c = {0};
    take_pass(f, &c);
    if (c.overflow) return nh_fail(err, "out of memory for the features of %zu edges", g->n_edge);
    if (c.used > *size || *room == NULL) {
        free(*room);
        *size = 0;
        *room = nh_calloc_aligned(c.used, 1);
        if (*room == NULL) return nh_fail(err, "out of memory for the features of %zu edges", g->n_edge);
        *size = c.used;
    }
    c = (nh_arena){.base = *room};
    take_pass(f, &c);
    memset(f->timer, 0, threads * sizeof *f->timer);
    memset(f->node_partial, 0, (g->n_node + 1) * sizeof *f->node_partial);
    memset(f->s.trace, 0, f->n_out * f->net->trace_width * sizeof(real));
    sort_edges(f);
    number_partials(f);
    choose_outputs(f);
    if (R(nh_set_knots)(f, err) != 0) return -1;
    R(nh_enter_block)(f, 0);
    memset(f->s.node, 0, g->n_node * f->net->mid.dim * sizeof(real));
    return 0;
}
