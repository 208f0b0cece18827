/* One forward run: order of the edges, memory, and the loops over tiles. */
#include "network/internal.h"

#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static size_t max_of(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t tiles(size_t n)
{
    return R(nh_tiles)(n, NH_TILE);
}

void *R(nh_carve)(nh_carver *c, size_t rows, size_t per_row, size_t size)
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

static real *reals(nh_carver *c, size_t rows, size_t per_row)
{
    return R(nh_carve)(c, rows, per_row, sizeof(real));
}

static size_t *sizes(nh_carver *c, size_t n)
{
    return R(nh_carve)(c, n, 1, sizeof(size_t));
}

void R(nh_carve_activations)(const nh_net *net, size_t rows, nh_work *w, nh_carver *c)
{
    const nh_config *config = net->config;
    w->source = sizes(c, rows);
    w->destination = sizes(c, rows);
    w->distance = R(nh_carve)(c, rows, 1, sizeof(double));
    w->coupling = reals(c, rows, net->product.n_matrix);
    w->copies = reals(c, rows, 1);
    w->message = reals(c, rows, net->mid.dim);
    w->gate_in = reals(c, rows, net->gate_in.dim);
    w->value = reals(c, rows, net->mid.dim);
    w->scalars = reals(c, rows, config->alpha_scalars);
    w->alpha_in = reals(c, rows, config->radial_basis + config->alpha_scalars);
    w->alpha_hidden = reals(c, rows, R(nh_mlp_hidden_size)(&net->block[0].alpha));
    w->alpha = reals(c, rows, config->heads);
    w->heads = reals(c, rows, net->heads.dim);
}

static size_t widest(const nh_chain *m)
{
    size_t width = 0;
    for (size_t i = 1; i < m->layers; i++)
        width = max_of(width, m->width[i]);
    return width;
}

/* The buffers of one thread. */
static void carve_work(const nh_run *f, nh_work *w, nh_carver *c)
{
    const nh_net *net = f->net;
    const nh_config *config = net->config;
    const nh_layout *post = &net->map_post.out, *in = &net->map_input.in, *out = &net->map_output.out;
    const size_t mid = net->mid.dim, y = net->product.n_harmonic, z = config->tg_z;
    const size_t result = max_of(mid, post->dim), border = max_of(max_of(in->dim, out->dim), result);
    const size_t x = max_of(mid, net->last.dim);
    size_t product = 0, hidden = 0, pairs = 0, room = 0, lift = 0;
    for (size_t g = 0; g < net->product.out.count; g++)
        product = max_of(product, net->product.out.group[g].dim);
    for (size_t g = 0; g < net->lift.out.count; g++)
        lift = max_of(lift, net->lift.out.group[g].dim);
    size_t chain = max_of(widest(&net->block[0].radial), widest(&net->block[0].alpha));
    for (size_t b = 0; b < config->blocks; b++) {
        const nh_chain *m = &net->block[b].invariants;
        if (!net->block[b].has_invariants) continue;
        const nh_layout *type = b + 1 == config->blocks ? &net->last : &net->mid;
        hidden = max_of(hidden, R(nh_mlp_hidden_size)(m));
        pairs = max_of(pairs, type->pairs);
        chain = max_of(chain, widest(m));
        room = max_of(room, R(nh_invariants_work)(type, m));
    }
    if (net->with_trace) chain = max_of(chain, widest(&net->trace));
    const bool invariants = pairs > 0;
    const size_t trace = net->with_trace ? net->types->n_shell_pair : 0;

    w->row = sizes(c, NH_TILE);
    w->pick = sizes(c, NH_TILE);
    w->edge = sizes(c, NH_TILE);
    w->vector = R(nh_carve)(c, NH_TILE, 3, sizeof(double));
    w->harmonics64 = R(nh_carve)(c, NH_TILE, y, sizeof(double));
    w->e3nn = reals(c, NH_TILE, border);
    w->tile = reals(c, NH_TILE, border);
    w->x = reals(c, NH_TILE, x);
    w->y = reals(c, NH_TILE, mid);
    w->harmonics = reals(c, NH_TILE, y);
    w->product = reals(c, NH_TILE, product);
    w->weighted = reals(c, NH_TILE, net->heads.dim);
    w->result = reals(c, NH_TILE, result);
    w->pairs = reals(c, NH_TILE, pairs);
    w->pairs_gradient = reals(c, NH_TILE, pairs);
    w->hidden = reals(c, NH_TILE, hidden);
    w->gradient = reals(c, NH_TILE, invariants ? z : 0);
    w->scratch = reals(c, NH_TILE, invariants ? z : 0);
    w->z = reals(c, NH_TILE, invariants ? z : 0);
    w->trace_in = reals(c, NH_TILE, net->trace_width);
    w->trace_hidden = reals(c, NH_TILE, trace > 0 ? R(nh_mlp_hidden_size)(&net->trace) : 0);
    w->trace = reals(c, NH_TILE, trace);
    w->lifted = reals(c, NH_TILE, config->lift ? mid : 0);
    w->lift = reals(c, NH_TILE, lift);
    w->gaussians = reals(c, NH_TILE, config->radial_basis);
    w->radial_hidden = reals(c, NH_TILE, R(nh_mlp_hidden_size)(&net->block[0].radial));
    w->weight = reals(c, NH_TILE, net->product.n_weight);
    R(nh_carve_activations)(net, NH_TILE, w, c);
    if (!f->keep) return;
    w->g_first = reals(c, NH_TILE, config->lift ? mid : 0);
    w->g_lift = reals(c, NH_TILE, lift);
    w->g_tile = reals(c, NH_TILE, border);
    w->g_x = reals(c, NH_TILE, x);
    w->g_y = reals(c, NH_TILE, mid);
    w->g_message = reals(c, NH_TILE, mid);
    w->g_value = reals(c, NH_TILE, mid);
    w->g_weight = reals(c, NH_TILE, net->product.n_weight);
    w->g_product = reals(c, NH_TILE, product);
    w->g_gate_in = reals(c, NH_TILE, net->gate_in.dim);
    w->g_scalars = reals(c, NH_TILE, config->alpha_scalars);
    w->g_alpha_in = reals(c, NH_TILE, config->radial_basis + config->alpha_scalars);
    w->g_alpha = reals(c, NH_TILE, config->heads);
    w->g_heads = reals(c, NH_TILE, net->heads.dim);
    w->g_weighted = reals(c, NH_TILE, net->heads.dim);
    w->g_result = reals(c, NH_TILE, result);
    w->g_trace = reals(c, NH_TILE, max_of(net->trace_width, trace));
    w->g_z = reals(c, NH_TILE, invariants ? z : 0);
    w->chain_room = reals(c, NH_TILE, 2 * chain);
    w->invariants_room = reals(c, NH_TILE, room);
}

/* Positions: edges sorted by destination, otherwise in the graph's order. node_partial receives the first
 * position of each node. */
static void sort_edges(nh_run *f)
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
static void number_partials(nh_run *f)
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

bool R(nh_inside)(const nh_net *net, double distance)
{
    return distance >= net->lo && distance < net->hi;
}

static void choose_outputs(nh_run *f)
{
    const nh_edges *g = f->graph;
    size_t n = 0;
    for (size_t i = 0; i < g->n_edge; i++) {
        f->slot[i] = SIZE_MAX;
        if (!f->all && !R(nh_inside)(f->net, g->distance[f->order[i]])) continue;
        f->slot[i] = n;
        f->out[n++] = i;
    }
}

/* Rows in a tile, so that n rows give equal work to the threads of a kept run, whose sums depend on their number anyway; of
 * others, whose sums must not, to two. */
static size_t balanced_rows(size_t n, size_t threads)
{
    size_t count = tiles(n);
    if (count == 0) return NH_TILE;
    count = (count + threads - 1) / threads * threads;
    return n / count >= NH_TILE / 4 ? (n + count - 1) / count : NH_TILE;
}

static void carve_trail(nh_run *f, size_t partials, nh_carver *c)
{
    const nh_net *net = f->net;
    const size_t blocks = net->config->blocks, mid = net->mid.dim, heads = net->config->heads,
                 n_edge = f->graph->n_edge, n_node = f->graph->n_node;
    f->trail = R(nh_carve)(c, blocks, 1, sizeof *f->trail);
    real *edge = reals(c, n_edge, mid);
    for (size_t k = 0; k < blocks; k++) {
        const bool last = k + 1 == blocks, add = net->block[k].has_invariants && net->config->tg_scale > 0;
        nh_trail t = {.edge = edge, .node = reals(c, n_node, mid)};
        if (!last) {
            t.raw = reals(c, n_edge, mid);
            edge = add ? reals(c, n_edge, mid) : t.raw;
            t.merged = reals(c, n_node, net->heads.dim);
            t.partial_max = reals(c, partials, heads);
            t.partial_sum = reals(c, partials, heads);
            t.factor = reals(c, add ? n_edge : 0, 1);
        } else if (net->config->lift) {
            t.factor = reals(c, add ? f->n_out : 0, 1);
            t.lifted = reals(c, f->n_out, mid);
        }
        t.z = reals(c, net->with_trace ? f->n_out : 0, net->config->tg_z);
        const size_t n_tile = last ? R(nh_tiles)(f->n_out, f->rows_out) : R(nh_tiles)(n_edge, f->rows_all);
        t.activations = R(nh_carve)(c, f->store ? n_tile : 0, f->slab, 1);
        if (f->trail != NULL) f->trail[k] = t;
    }
}

static void carve_return(nh_run *f, nh_carver *c)
{
    const nh_net *net = f->net;
    nh_return *b = &f->back;
    const size_t mid = net->mid.dim, heads = net->config->heads, n_edge = f->graph->n_edge,
                 n_node = f->graph->n_node, blocks = net->config->blocks;
    b->edge = reals(c, n_edge, mid);
    b->message = reals(c, n_edge, mid);
    b->node = reals(c, n_node, mid);
    b->normed = reals(c, n_node, mid);
    b->merged = reals(c, n_node, net->heads.dim);
    b->max = reals(c, n_node, heads);
    b->total = reals(c, n_node, heads);
    b->dot = reals(c, n_node, heads);
    b->trace = reals(c, f->n_out, net->trace_width);
    b->incoming = sizes(c, n_node + 1);
    b->outgoing = sizes(c, n_node + 1);
    b->from = sizes(c, n_edge);
    b->n_chunk = (size_t)f->threads;
    b->packed = R(nh_carve)(c, b->n_chunk, 1, sizeof *b->packed);
    b->chain = R(nh_carve)(c, b->n_chunk, 1, sizeof *b->chain);
    const size_t layers = max_of(net->with_trace ? net->trace.layers : 0, 4);
    b->knot = R(nh_carve)(c, b->n_chunk, 1, sizeof *b->knot);
    for (size_t i = 0; i < b->n_chunk; i++) {
        real *packed = reals(c, net->n_packed, 1), *knot = reals(c, f->n_knot, net->product.n_weight);
        R(nh_mlp_gradient)
        chain = {.weight = R(nh_carve)(c, layers, 1, sizeof(real *)),
                 .bias = R(nh_carve)(c, layers, 1, sizeof(real *)),
                 .gain = R(nh_carve)(c, layers, 1, sizeof(real *)),
                 .shift = R(nh_carve)(c, layers, 1, sizeof(real *))};
        if (b->packed == NULL) continue;
        b->packed[i] = packed;
        b->knot[i] = knot;
        b->chain[i] = chain;
    }
    b->form = R(nh_carve)(c, blocks, 1, sizeof *b->form);
    for (size_t k = 0; k < blocks; k++) {
        const nh_block *block = &net->block[k];
        real *form = reals(c, block->has_invariants ? block->invariants.width[0] : 0, block->form_hidden);
        if (b->form != NULL) b->form[k] = form;
    }
}

static void carve_run(nh_run *f, nh_carver *c)
{
    const nh_net *net = f->net;
    const nh_edges *g = f->graph;
    const size_t heads = net->config->heads, n_tile = R(nh_tiles)(g->n_edge, f->rows_all),
                 partials = n_tile + g->n_node; /* at most: one for each node, and for each cut */
    f->order = sizes(c, g->n_edge);
    f->position = sizes(c, g->n_edge);
    f->out = sizes(c, f->n_out);
    f->slot = sizes(c, g->n_edge);
    f->knot = R(nh_carve)(c, f->n_knot, 1, sizeof *f->knot);
    f->knot_of = sizes(c, g->n_edge);
    f->knot_weight = reals(c, f->n_knot, net->product.n_weight);
    f->tile_partial = sizes(c, n_tile + 1);
    f->node_partial = sizes(c, g->n_node + 1);
    f->normed = reals(c, g->n_node, net->mid.dim);
    f->p = reals(c, g->n_node, net->mid.dim);
    f->q = reals(c, g->n_node, net->mid.dim);
    f->partial_value = reals(c, partials, net->heads.dim);
    f->trace = reals(c, f->n_out, net->trace_width);
    f->work = R(nh_carve)(c, (size_t)f->threads, 1, sizeof *f->work);
    nh_work measured = {0};
    for (int i = 0; i < f->threads; i++)
        carve_work(f, f->work != NULL ? &f->work[i] : &measured, c);
    if (f->keep) {
        carve_trail(f, partials, c);
        carve_return(f, c);
        f->first = net->config->edge_init == NH_EDGE_INIT_PAPER ? reals(c, g->n_edge, net->mid.dim)
                   : f->trail != NULL                           ? f->trail[0].edge
                                                                : NULL;
        return;
    }
    f->first = f->edge = f->raw = f->edge_next = reals(c, g->n_edge, net->mid.dim);
    f->node = f->node_next = reals(c, g->n_node, net->mid.dim);
    f->partial_max = reals(c, partials, heads);
    f->partial_sum = reals(c, partials, heads);
}

/* Memory and order of the edges for a run whose net, graph, threads, all, keep and store are set. *room of
 * *size bytes is used, or replaced where it is too small. */
static int run_new(nh_run *f, char **room, size_t *size, nh_error *err)
{
    const nh_edges *g = f->graph;
    if (R(nh_count_knots)(f, err) != 0) return -1;
    f->n_out = 0;
    for (size_t e = 0; e < g->n_edge; e++)
        f->n_out += f->all || R(nh_inside)(f->net, g->distance[e]);
    const size_t threads = (size_t)f->threads;
    f->rows_all = balanced_rows(g->n_edge, f->keep ? threads : 2);
    f->rows_out = balanced_rows(f->n_out, f->keep ? threads : 2);
    if (f->store) {
        nh_work measured;
        nh_carver c = {0};
        R(nh_carve_activations)(f->net, max_of(f->rows_all, f->rows_out), &measured, &c);
        f->slab = c.used;
    }
    nh_carver c = {0};
    carve_run(f, &c);
    if (c.overflow) return nh_fail(err, "out of memory for the features of %zu edges", g->n_edge);
    if (c.used > *size || *room == NULL) {
        free(*room);
        *size = 0;
        *room = nh_calloc_aligned(c.used, 1);
        if (*room == NULL) return nh_fail(err, "out of memory for the features of %zu edges", g->n_edge);
        *size = c.used;
    }
    c = (nh_carver){.base = *room};
    carve_run(f, &c);
    for (int i = 0; i < f->threads; i++)
        f->work[i].times = (nh_network_times){0};
    memset(f->node_partial, 0, (g->n_node + 1) * sizeof *f->node_partial);
    memset(f->trace, 0, f->n_out * f->net->trace_width * sizeof *f->trace);
    sort_edges(f);
    number_partials(f);
    choose_outputs(f);
    if (R(nh_set_knots)(f, err) != 0) return -1;
    R(nh_enter_block)(f, 0);
    memset(f->node, 0, g->n_node * f->net->mid.dim * sizeof *f->node);
    return 0;
}

void R(nh_enter_block)(nh_run *f, size_t k)
{
    f->block = k;
    if (!f->keep) return;
    const bool last = k + 1 == f->net->config->blocks;
    const nh_trail *t = &f->trail[k];
    f->edge = t->edge;
    f->raw = t->raw;
    f->edge_next = last ? NULL : t[1].edge;
    f->node = t->node;
    f->node_next = last ? NULL : t[1].node;
    f->merged = t->merged;
    f->partial_max = t->partial_max;
    f->partial_sum = t->partial_sum;
}

/* 3.2: n0 = sum of e0 over the on-site edges, each as often as onsite_copies says. */
static void begin_nodes(nh_run *f)
{
    const size_t dim = f->net->mid.dim;
    const real copies = (real)f->net->config->onsite_copies;
    for (size_t i = 0; i < f->graph->n_edge; i++) {
        const size_t e = f->order[i];
        if (!R(nh_onsite)(f->graph, e)) continue;
        real *to = f->node + (size_t)f->graph->src[e] * dim;
        for (size_t k = 0; k < dim; k++)
            to[k] += copies * f->first[i * dim + k];
    }
    const size_t zero = 0;
    for (size_t a = 0; f->probe != NULL && f->probe->node_init != NULL && a < f->graph->n_node; a++) {
        R(nh_rows_load)(&f->net->mid, 1, &zero, f->node + a * dim, f->work[0].x);
        R(nh_to_e3nn)(&f->net->mid, 1, f->work[0].x, f->probe->node_init + a * dim);
    }
}

void R(nh_choose_list)(nh_run *f, bool all)
{
    f->list = all ? NULL : f->out;
    f->n_list = all ? f->graph->n_edge : f->n_out;
    f->rows = all ? f->rows_all : f->rows_out;
}

static void over_list(nh_run *f, bool all, void (*body)(void *, size_t, int), nh_threads *threads)
{
    R(nh_choose_list)(f, all);
    nh_parallel_for(threads, R(nh_tiles)(f->n_list, f->rows), body, f);
}

bool R(nh_tracegrad_all)(const nh_run *f)
{
    return f->all || (f->net->config->tg_scale > 0 && f->block + 2 < f->net->config->blocks);
}

static void run_block(nh_run *f, nh_threads *threads)
{
    const nh_net *net = f->net;
    const size_t n_node = f->graph->n_node;
    const bool last = f->block + 1 == net->config->blocks;
    nh_parallel_for(threads, tiles(n_node), R(nh_run_node_begin), f);
    R(nh_make_knots)(f, &net->block[f->block].radial, f->all || !last, threads);
    over_list(f, !last, R(nh_run_edges), threads);
    if (last) return;
    nh_parallel_for(threads, tiles(n_node), R(nh_run_node_end), f);
    if (net->block[f->block].has_invariants)
        over_list(f, R(nh_tracegrad_all)(f), R(nh_run_tracegrad), threads);
}

static bool any_probe(const NH_NET(_probe) * p)
{
    return p != NULL && (p->node_init != NULL || p->edge_init != NULL || p->node != NULL || p->edge != NULL ||
                         p->z != NULL || p->y != NULL || p->edge_tg != NULL || p->ham_nomask != NULL ||
                         p->trace_nomask != NULL);
}

void R(nh_add_times)(const nh_run *f, nh_network_times *t)
{
    for (int i = 0; t != NULL && i < f->threads; i++) {
        const nh_network_times *from = &f->work[i].times;
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

static void run(nh_run *f, nh_threads *threads, nh_network_times *times)
{
    if (f->n_out > 0) { /* else no output is needed, nor anything before it */
        nh_parallel_for(threads, tiles(f->graph->n_edge), R(nh_run_input), f);
        begin_nodes(f);
        if (f->net->config->edge_init == NH_EDGE_INIT_PAPER) {
            nh_parallel_for(threads, tiles(f->graph->n_node), R(nh_run_init_nodes), f);
            R(nh_make_knots)(f, &f->net->init_radial, true, threads);
            over_list(f, true, R(nh_run_init_edges), threads);
        }
        for (size_t k = 0; k < f->net->config->blocks; k++) {
            R(nh_enter_block)(f, k);
            run_block(f, threads);
        }
    }
    if (f->everywhere) nh_parallel_for(threads, tiles(f->graph->n_edge), R(nh_run_outside), f);
    R(nh_add_times)(f, times);
}

int NH_NET(_forward)(const nh_net *net, const nh_edges *g, NH_NET(_source) * source, void *source_context,
                     NH_NET(_sink) * sink, void *sink_context, bool everywhere, const NH_NET(_probe) * probe,
                     nh_threads *threads, nh_network_times *times, nh_error *err)
{
    if (check_edges(g, err) != 0) return -1;
    if (net->placed != NULL && probe == NULL)
        return R(nh_placed_forward)(net, g, source, source_context, sink, sink_context, everywhere, NULL, err);
    nh_run f = {.net = net,
                .graph = g,
                .probe = probe,
                .all = any_probe(probe),
                .source = source,
                .source_context = source_context,
                .sink = sink,
                .sink_context = sink_context,
                .everywhere = everywhere,
                .threads = nh_threads_count(threads)};
    char *room = NULL;
    size_t size = 0;
    const int status = run_new(&f, &room, &size, err);
    if (status == 0) run(&f, threads, times);
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

int NH_NET(_forward_keep)(const nh_net *net, const nh_edges *g, NH_NET(_source) * source,
                          void *source_context, NH_NET(_sink) * sink, void *sink_context, nh_tape *tape,
                          nh_threads *threads, nh_network_times *times, nh_error *err)
{
    tape->filled = false;
    if (check_edges(g, err) != 0) return -1;
    if (net->placed != NULL) {
        tape->run = (nh_run){.net = net};
        if (R(nh_placed_forward)(net, g, source, source_context, sink, sink_context, false, &tape->placed, err) != 0)
            return -1;
        tape->filled = true;
        return 0;
    }
    tape->run = (nh_run){.net = net,
                         .graph = g,
                         .source = source,
                         .source_context = source_context,
                         .sink = sink,
                         .sink_context = sink_context,
                         .keep = true,
                         .store = tape->memory == NH_TAPE_STORE,
                         .threads = nh_threads_count(threads)};
    if (run_new(&tape->run, &tape->room, &tape->size, err) != 0) return -1;
    run(&tape->run, threads, times);
    tape->filled = true;
    return 0;
}
