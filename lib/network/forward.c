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
    return (n + NH_TILE - 1) / NH_TILE;
}

/* The buffers of one thread: sized in a first pass over the table, carved out of one allocation in a second.
 */
static int work_new(const nh_net *net, nh_work *w, nh_error *err)
{
    const nh_config *c = net->config;
    const nh_layout *post = &net->map_post.out, *in = &net->map_input.in, *out = &net->map_output.out;
    const size_t mid = net->mid.dim, y = net->product.n_harmonic, z = c->tg_z;
    const size_t result = max_of(mid, post->dim), border = max_of(max_of(in->dim, out->dim), result);
    const size_t pairs = max_of(net->mid.pairs, net->scalars.pairs), x = max_of(mid, c->edge_scalars);
    size_t product = 0, hidden = 0, radial_hidden = 0, alpha_hidden = 0;
    bool invariants = false;
    for (size_t g = 0; g < net->product.out.count; g++)
        product = max_of(product, net->product.out.group[g].dim);
    for (size_t b = 0; b < c->blocks; b++) {
        radial_hidden = max_of(radial_hidden, R(nh_mlp_hidden_size)(&net->block[b].radial));
        alpha_hidden = max_of(alpha_hidden, R(nh_mlp_hidden_size)(&net->block[b].alpha));
        if (!net->block[b].has_invariants) continue;
        invariants = true;
        hidden = max_of(hidden, R(nh_mlp_hidden_size)(&net->block[b].invariants));
    }
    const size_t trace_hidden = net->with_trace ? R(nh_mlp_hidden_size)(&net->trace) : 0;
    struct {
        void *pointer;
        size_t per_row, size;
    } table[] = {
        {&w->row, 1, sizeof(size_t)},
        {&w->source, 1, sizeof(size_t)},
        {&w->destination, 1, sizeof(size_t)},
        {&w->pick, 1, sizeof(size_t)},
        {&w->distance, 1, sizeof(double)},
        {&w->vector, 3, sizeof(double)},
        {&w->harmonics64, y, sizeof(double)},
        {&w->e3nn, border, sizeof(real)},
        {&w->tile, border, sizeof(real)},
        {&w->x, x, sizeof(real)},
        {&w->message, mid, sizeof(real)},
        {&w->value, mid, sizeof(real)},
        {&w->y, mid, sizeof(real)},
        {&w->gaussians, c->radial_basis, sizeof(real)},
        {&w->radial_hidden, radial_hidden, sizeof(real)},
        {&w->weight, net->product.n_weight, sizeof(real)},
        {&w->harmonics, y, sizeof(real)},
        {&w->coupling, net->product.n_matrix, sizeof(real)},
        {&w->product, product, sizeof(real)},
        {&w->gate_in, net->gate_in.dim, sizeof(real)},
        {&w->scalars, c->alpha_scalars, sizeof(real)},
        {&w->alpha_in, c->radial_basis + c->alpha_scalars, sizeof(real)},
        {&w->alpha_hidden, alpha_hidden, sizeof(real)},
        {&w->alpha, c->heads, sizeof(real)},
        {&w->copies, 1, sizeof(real)},
        {&w->heads, net->heads.dim, sizeof(real)},
        {&w->weighted, net->heads.dim, sizeof(real)},
        {&w->result, result, sizeof(real)},
        {&w->pairs, invariants ? pairs : 0, sizeof(real)},
        {&w->pairs_gradient, invariants ? pairs : 0, sizeof(real)},
        {&w->hidden, hidden, sizeof(real)},
        {&w->gradient, invariants ? z : 0, sizeof(real)},
        {&w->scratch, invariants ? z : 0, sizeof(real)},
        {&w->z, invariants ? z : 0, sizeof(real)},
        {&w->trace_hidden, trace_hidden, sizeof(real)},
        {&w->trace, net->with_trace ? net->types->n_shell_pair : 0, sizeof(real)},
    };
    const size_t n = sizeof table / sizeof *table;
    size_t total = 0, bytes[sizeof table / sizeof *table];
    for (size_t i = 0; i < n; i++) {
        size_t b;
        if (!nh_size_mul(table[i].per_row, NH_TILE * table[i].size, &b) || !nh_size_add(b, 63, &b) ||
            !nh_size_add(total, b - b % 64, &total))
            return nh_fail_memory(err, "the buffers of a thread");
        bytes[i] = b - b % 64;
    }
    char *p = nh_calloc_aligned(total, 1);
    if (p == NULL) return nh_fail_memory(err, "the buffers of a thread");
    w->block = p;
    for (size_t i = 0; i < n; i++) {
        memcpy(table[i].pointer, &p, sizeof p);
        p += bytes[i];
    }
    return 0;
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

/* Numbers the partial results: one for each destination in each tile. Returns how many. */
static size_t number_partials(nh_run *f)
{
    const nh_edges *g = f->graph;
    size_t count = 0;
    for (size_t i = 0; i < g->n_edge; i++) {
        const int node = g->dst[f->order[i]];
        if (i % NH_TILE == 0) f->tile_partial[i / NH_TILE] = count;
        if (i % NH_TILE == 0 || node != g->dst[f->order[i - 1]]) {
            count++;
            f->node_partial[(size_t)node + 1]++;
        }
    }
    for (size_t a = 0; a < g->n_node; a++)
        f->node_partial[a + 1] += f->node_partial[a];
    return count;
}

static void choose_outputs(nh_run *f)
{
    const nh_edges *g = f->graph;
    for (size_t i = 0; i < g->n_edge; i++) {
        const double r = g->distance[f->order[i]];
        const bool inside = r >= f->net->lo && r < f->net->hi;
        f->slot[i] = SIZE_MAX;
        if (!inside && !f->all) continue;
        f->slot[i] = f->n_out;
        f->out[f->n_out++] = i;
    }
}

static real *reals(size_t rows, size_t width)
{
    size_t count;
    return nh_size_mul(rows, width, &count) ? nh_calloc_aligned(count, sizeof(real)) : NULL;
}

static int run_new(nh_run *f, int threads, nh_error *err)
{
    const nh_net *net = f->net;
    const nh_edges *g = f->graph;
    const size_t heads = net->config->heads;
    f->order = NH_ARRAY(size_t, g->n_edge);
    f->position = NH_ARRAY(size_t, g->n_edge);
    f->out = NH_ARRAY(size_t, g->n_edge);
    f->slot = NH_ARRAY(size_t, g->n_edge);
    f->tile_partial = NH_ARRAY(size_t, tiles(g->n_edge) + 1);
    f->node_partial = NH_ARRAY(size_t, g->n_node + 1);
    f->work = NH_ARRAY(nh_work, (size_t)threads);
    if (f->order == NULL || f->position == NULL || f->out == NULL || f->slot == NULL ||
        f->tile_partial == NULL || f->node_partial == NULL || f->work == NULL)
        return nh_fail_memory(err, "the edges of the network");
    sort_edges(f);
    const size_t partials = number_partials(f);
    choose_outputs(f);
    f->edge = reals(g->n_edge, net->mid.dim);
    f->node = reals(g->n_node, net->mid.dim);
    f->normed = reals(g->n_node, net->mid.dim);
    f->p = reals(g->n_node, net->mid.dim);
    f->q = reals(g->n_node, net->mid.dim);
    f->partial_max = reals(partials, heads);
    f->partial_sum = reals(partials, heads);
    f->partial_value = reals(partials, net->heads.dim);
    f->trace = net->with_trace ? reals(f->n_out, net->trace_width) : NULL;
    if (f->edge == NULL || f->node == NULL || f->normed == NULL || f->p == NULL || f->q == NULL ||
        f->partial_max == NULL || f->partial_sum == NULL || f->partial_value == NULL ||
        (net->with_trace && f->trace == NULL))
        return nh_fail(err, "out of memory for the features of %zu edges", g->n_edge);
    for (int i = 0; i < threads; i++)
        if (work_new(net, &f->work[i], err) != 0) return -1;
    return 0;
}

static void run_free(nh_run *f, int threads)
{
    for (int i = 0; f->work != NULL && i < threads; i++)
        free(f->work[i].block);
    void *const list[] = {
        f->order, f->position, f->out, f->slot, f->tile_partial, f->node_partial, f->work,          f->edge,
        f->node,  f->normed,   f->p,   f->q,    f->partial_max,  f->partial_sum,  f->partial_value, f->trace};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        free(list[i]);
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
            to[k] += copies * f->edge[i * dim + k];
    }
    const size_t zero = 0;
    for (size_t a = 0; f->probe != NULL && f->probe->node_init != NULL && a < f->graph->n_node; a++) {
        R(nh_rows_load)(&f->net->mid, 1, &zero, f->node + a * dim, f->work[0].x);
        R(nh_to_e3nn)(&f->net->mid, 1, f->work[0].x, f->probe->node_init + a * dim);
    }
}

static void over_list(nh_run *f, const size_t *list, size_t n, void (*body)(void *, size_t, int),
                      nh_threads *threads)
{
    f->list = list;
    f->n_list = n;
    nh_parallel_for(threads, tiles(n), body, f);
}

static void run_block(nh_run *f, nh_threads *threads)
{
    const nh_net *net = f->net;
    const size_t k = f->block, blocks = net->config->blocks, n_edge = f->graph->n_edge,
                 n_node = f->graph->n_node;
    nh_parallel_for(threads, tiles(n_node), R(nh_run_node_begin), f);
    if (k + 1 == blocks) {
        over_list(f, f->out, f->n_out, R(nh_run_edges), threads);
        return;
    }
    over_list(f, NULL, n_edge, R(nh_run_edges), threads);
    nh_parallel_for(threads, tiles(n_node), R(nh_run_node_end), f);
    if (!net->block[k].has_invariants) return;
    /* y changes the features of every edge that is used again; z is for the outputs alone */
    const bool every = f->all || (net->config->tg_scale > 0 && k + 2 < blocks);
    over_list(f, every ? NULL : f->out, every ? n_edge : f->n_out, R(nh_run_tracegrad), threads);
}

static bool any_probe(const NH_NET(_probe) * p)
{
    return p != NULL && (p->node_init != NULL || p->edge_init != NULL || p->node != NULL || p->edge != NULL ||
                         p->z != NULL || p->y != NULL || p->edge_tg != NULL || p->ham_nomask != NULL ||
                         p->trace_nomask != NULL);
}

static void add_times(const nh_work *w, nh_network_times *t)
{
    t->input += w->times.input;
    t->node += w->times.node;
    t->radial += w->times.radial;
    t->product += w->times.product;
    t->linear += w->times.linear;
    t->attention += w->times.attention;
    t->tracegrad += w->times.tracegrad;
    t->output += w->times.output;
}

int NH_NET(_forward)(const nh_net *net, const nh_edges *g, NH_NET(_source) * source, void *source_context,
                     NH_NET(_sink) * sink, void *sink_context, bool everywhere, const NH_NET(_probe) * probe,
                     nh_threads *threads, nh_network_times *times, nh_error *err)
{
    for (size_t e = 0; e < g->n_edge; e++)
        if (g->src[e] < 0 || g->dst[e] < 0 || (size_t)g->src[e] >= g->n_node ||
            (size_t)g->dst[e] >= g->n_node)
            return nh_fail(err, "network: edge %zu joins atoms %d and %d of %zu", e, g->src[e], g->dst[e],
                           g->n_node);
    nh_run f = {.net = net,
                .graph = g,
                .probe = probe,
                .all = any_probe(probe),
                .source = source,
                .source_context = source_context,
                .sink = sink,
                .sink_context = sink_context,
                .everywhere = everywhere};
    const int n_thread = nh_threads_count(threads);
    int status = run_new(&f, n_thread, err);
    if (status == 0) {
        if (f.n_out > 0) { /* else no output is needed, nor anything before it */
            nh_parallel_for(threads, tiles(g->n_edge), R(nh_run_input), &f);
            begin_nodes(&f);
            for (f.block = 0; f.block < net->config->blocks; f.block++)
                run_block(&f, threads);
        }
        if (everywhere) nh_parallel_for(threads, tiles(g->n_edge), R(nh_run_outside), &f);
        for (int i = 0; times != NULL && i < n_thread; i++)
            add_times(&f.work[i], times);
    }
    run_free(&f, n_thread);
    return status;
}
