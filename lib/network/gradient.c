/* Gradients of the packed weights: cleared before the way back, and brought to the parameters after it. */
#include "network/internal.h"

#include "base/memory.h"

#include <string.h>

/* Positions by destination (they are sorted by it) and by source. */
static void index_edges(nh_pass *f)
{
    const nh_edges *g = f->graph;
    memset(f->incoming, 0, (g->n_node + 1) * sizeof *f->incoming);
    memset(f->outgoing, 0, (g->n_node + 1) * sizeof *f->outgoing);
    for (size_t e = 0; e < g->n_edge; e++) {
        f->incoming[(size_t)g->dst[e] + 1]++;
        f->outgoing[(size_t)g->src[e] + 1]++;
    }
    for (size_t a = 0; a < g->n_node; a++) {
        f->incoming[a + 1] += f->incoming[a];
        f->outgoing[a + 1] += f->outgoing[a];
    }
    for (size_t i = 0; i < g->n_edge; i++)
        f->from[f->outgoing[g->src[f->order[i]]]++] = i;
    for (size_t a = g->n_node; a > 0; a--)
        f->outgoing[a] = f->outgoing[a - 1];
    f->outgoing[0] = 0;
}

static void clear_chunk(void *context, size_t index, int thread)
{
    const nh_pass *f = context;
    (void)thread;
    memset(f->packed[index], 0, f->net->n_packed * sizeof(real));
}

void R(nh_back_begin)(nh_pass *f)
{
    const size_t mid = f->net->mid.dim;
    nh_parallel_for(f->pool, f->n_chunk, clear_chunk, f);
    memset(f->s.back.edge, 0, f->graph->n_edge * mid * sizeof(real));
    memset(f->s.back.node, 0, f->graph->n_node * mid * sizeof(real));
    index_edges(f);
}

/* --- from packed gradients to parameters */

typedef struct unpacking {
    nh_pass *f;
    real **gradient;
} unpacking;

enum { SLABS = 8 };

/* Sum over the chunks, a slab of the packed weights. */
static void sum_chunks(void *context, size_t index, int thread)
{
    (void)thread;
    const nh_pass *f = ((const unpacking *)context)->f;
    const size_t n = f->net->n_packed, first = n * index / SLABS, end = n * (index + 1) / SLABS;
    real *restrict to = f->packed[0];
    for (size_t k = 1; k < f->n_chunk; k++) {
        const real *restrict from = f->packed[k];
        for (size_t i = first; i < end; i++)
            to[i] += from[i];
    }
}

/* TraceGrad's first matrix is layer (z x hidden) times form^T: a slab of the gradient of either factor. */
static void split_layers(void *context, size_t index, int thread)
{
    (void)thread;
    const unpacking *u = context;
    const nh_binding *layer = &u->f->net->binding[index / (2 * SLABS)];
    if (layer->kind != NH_BIND_LAYER) return;
    const nh_net *net = u->f->net;
    const nh_block *b = layer->block;
    const size_t pairs = b->invariants.width[0], z = b->invariants.width[1], hidden = b->form_hidden,
                 part = index % SLABS;
    const real *g = u->f->packed[0] + (b->invariants.weight[0] - net->packed);
    if (index / SLABS % 2 == 0) {
        const size_t first = z * part / SLABS, n = z * (part + 1) / SLABS - first;
        real *to = u->gradient[layer->param];
        if (to != NULL)
            R(nh_dense_backward)(net->method, n, hidden, pairs, g + first * pairs, NULL, b->form,
                                 to + first * hidden, true, NULL, NULL);
    } else {
        const size_t first = pairs * part / SLABS, n = pairs * (part + 1) / SLABS - first;
        real *to = u->f->form[(size_t)(b - net->block)] + first * hidden;
        if (n > 0)
            R(nh_gemm)(net->method, true, false, n, hidden, z, g + first, pairs, b->layer, hidden, false, to,
                       hidden);
    }
}

/* What was packed again in the frame of the edge: of a block, the network's with the first. */
static void unalign(void *context, size_t index, int thread)
{
    (void)thread;
    const nh_pass *f = ((const unpacking *)context)->f;
    const nh_net *net = f->net;
    const nh_block *b = &net->block[index];
    const nh_linear *const list[] = {&b->sep_lin, &b->sep_alpha, index == 0 ? &net->init_lin : NULL},
                           *value = &b->value_lin;
    real *const g = f->packed[0];
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (list[i] != NULL && list[i]->aligned != NULL)
            R(nh_aligned_unpack_add)(&net->frame, list[i]->map, g + (list[i]->aligned - net->packed),
                                     g + (list[i]->weight - net->packed));
    R(nh_folded_unpack_add)(&net->frame, value->map, b->value_weight, value->weight,
                            g + (value->aligned - net->packed), g + (b->value_weight - net->packed),
                            g + (value->weight - net->packed));
}

static void unpack_one(void *context, size_t index, int thread)
{
    (void)thread;
    const unpacking *u = context;
    const nh_net *net = u->f->net;
    const nh_binding *b = &net->binding[index];
    const real *from = u->f->packed[0] + b->at;
    real *to = u->gradient[b->param];
    if (to == NULL) return;
    switch (b->kind) {
    case NH_BIND_ROWS:
        for (size_t i = 0; i < b->rows; i++)
            for (size_t k = 0; k < b->count; k++)
                to[b->from + i * b->stride + k] += from[i * b->count + k];
        break;
    case NH_BIND_LINEAR:
        R(nh_linear_unpack_add)(b->map, from, to);
        break;
    case NH_BIND_FORM:
        R(nh_pairs_unpack_add)(b->layout, b->block->form_hidden, u->f->form[(size_t)(b->block - net->block)],
                               to);
        break;
    case NH_BIND_LAYER:
        break; /* split_layers */
    }
}

void R(nh_back_end)(nh_pass *f, real **gradient)
{
    unpacking u = {.f = f, .gradient = gradient};
    nh_parallel_for(f->pool, SLABS, sum_chunks, &u);
    if (f->net->aligned && f->net->placed == NULL)
        nh_parallel_for(f->pool, f->net->config->blocks, unalign, &u);
    nh_parallel_for(f->pool, f->net->n_binding * 2 * SLABS, split_layers, &u);
    nh_parallel_for(f->pool, f->net->n_binding, unpack_one, &u);
}

int NH_NET(_gradients_new)(const nh_net *net, nh_weights *out, nh_error *err)
{
    if (nh_weights_new(net->params, sizeof(real) == sizeof(double), out, err) != 0) return -1;
    real **list = out->NH_NATIVE;
    for (size_t k = 0; k < net->n_binding; k++) {
        const size_t i = net->binding[k].param;
        if (list[i] != NULL) continue;
        list[i] = NH_ARRAY(real, net->params->param[i].count);
        if (list[i] != NULL) continue;
        nh_weights_free(out);
        return nh_fail_memory(err, "the gradients of a sub-model");
    }
    return 0;
}
