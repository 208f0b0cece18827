/* The way back through a kept run: gradients of the loss with respect to all parameters of a sub-model, block
 * by block from the last, each block in the opposite order of forward.c.
 *
 * Loops over tiles are cut into as many chunks as there are threads; each chunk adds the gradients of the
 * packed weights to an array of its own, and these are summed in order. Features between blocks are on the
 * tape, so are the activations inside attention where they are stored; otherwise a tile's are made again. */
#include "network/internal.h"

#include "base/memory.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* One chunk of a loop. */
typedef struct chunk {
    nh_run *f;
    const nh_net *net;
    const nh_block *block;
    int thread;
    real *packed; /* gradients of the packed weights */
    real *knot;   /* of the radial weights on the knots */
    R(nh_mlp_gradient) table;
} chunk;

/* Where the gradient of a packed weight goes. */
static real *into(const chunk *c, const real *weight)
{
    return weight != NULL ? c->packed + (weight - c->net->packed) : NULL;
}

static R(nh_mlp_gradient) chain_into(const chunk *c, const nh_chain *m)
{
    R(nh_mlp_gradient) g = c->table;
    if (m->gain == NULL) g.gain = g.shift = NULL;
    for (size_t i = 0; i < m->layers; i++) {
        g.weight[i] = into(c, m->weight[i]);
        g.bias[i] = into(c, m->bias[i]);
        if (m->gain == NULL || i + 1 == m->layers) continue;
        g.gain[i] = into(c, m->gain[i]);
        g.shift[i] = into(c, m->shift[i]);
    }
    return g;
}

static void linear_back(const chunk *c, const nh_linear *l, size_t n, const real *gy, const real *x, real *gx,
                        bool add)
{
    R(nh_linear_backward)(l->map, n, gy, x, l->weight, gx, add, into(c, l->weight), into(c, l->bias));
}

static void norm_back(const chunk *c, real *const norm[2], size_t n, const real *gy, const real *x, real *gx)
{
    R(nh_norm_backward)
    (&c->net->mid, n, gy, x, c->net->config->norm_eps, norm[0], gx, false, into(c, norm[0]),
     into(c, norm[1]));
}

static void chain_back(const chunk *c, const nh_chain *m, size_t n, const real *gy, const real *x,
                       const real *hidden, nh_work *w, real *gx)
{
    const R(nh_mlp_gradient) g = chain_into(c, m);
    R(nh_mlp_backward)(m, n, gy, x, hidden, w->chain_room, gx, false, &g);
}

/* ---- edges */

/* Backward of the groups of l's output that group `group` of the product feeds (SIZE_MAX: that nothing
 * feeds): adds to *any, which says whether gx has been written. */
static void group_back(const chunk *c, const nh_linear *l, size_t group, size_t n, const real *gy,
                       const real *x, real *gx, bool *any)
{
    for (size_t o = 0; o < l->map->out.count; o++) {
        if (l->map->block[o].in != group) continue;
        R(nh_linear_group_backward)
        (l->map, o, n, gy + n * l->map->out.group[o].offset, x, l->weight, gx, *any, into(c, l->weight),
         into(c, l->bias));
        *any = true;
    }
}

/* Gradient of z from that of the trace head's first sums: rows `slot`.. of them, n of them. */
static void trace_back(const chunk *c, size_t slot, size_t n, real *g_z)
{
    const nh_net *net = c->net;
    const size_t z = net->config->tg_z, width = net->trace_width;
    R(nh_dense_backward)
    (net->kernels, n, z, width, c->f->back.trace + slot * width, c->f->trail[c->f->block].z + slot * z,
     c->block->trace_first, g_z, false, into(c, c->block->trace_first), NULL);
}

/* The trace head: gradient of the last block's z, in w->g_z. */
static void trace_head_back(const chunk *c, size_t n, nh_work *w)
{
    const nh_net *net = c->net;
    const size_t width = net->trace_width, slot = c->f->slot[w->row[0]];
    const real *sums = c->f->trace + slot * width;
    real *g = c->f->back.trace + slot * width;
    memcpy(w->trace_in, sums, n * width * sizeof(real));
    R(nh_silu_forward)(n * width, w->trace_in);
    R(nh_mlp_forward)(&net->trace, n, w->trace_in, w->trace_hidden, NULL, false);
    chain_back(c, &net->trace, n, w->g_trace, w->trace_in, w->trace_hidden, w, g);
    R(nh_silu_backward)(n * width, sums, g);
    real *bias = into(c, net->trace_bias);
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < width; i++)
            bias[i] += g[t * width + i];
    trace_back(c, slot, n, w->g_z);
}

/* f (w->x) and o (w->lifted) of the last block again, o in w->result. */
static void last_again(const nh_run *f, size_t n, nh_work *w)
{
    const nh_net *net = f->net;
    R(nh_take_last)(net, n, w->result, w->x);
    if (!net->config->lift) return;
    for (size_t t = 0; t < n; t++)
        w->edge[t] = f->slot[w->row[t]];
    R(nh_rows_load)(&net->mid, n, w->edge, f->trail[f->block].lifted, w->lifted);
    R(nh_put_last)(net, n, w->lifted, false, w->result);
}

/* The products f x o: from w->g_tile, adds to the gradients of o (w->g_x), and writes those of f as their
 * first factor (w->g_first). */
static void lift_back(const chunk *c, size_t n, nh_work *w)
{
    const nh_net *net = c->net;
    const nh_lift *p = &net->lift;
    memset(w->g_first, 0, n * net->mid.dim * sizeof(real));
    for (size_t g = 0; g < p->out.count; g++) {
        bool any = false;
        R(nh_lift_forward)(p, g, n, w->x, w->lifted, net->lift_weight, w->lift);
        group_back(c, &net->lift_out, g, n, w->g_tile, w->lift, w->g_lift, &any);
        if (any) R(nh_lift_backward)
        (p, g, n, w->g_lift, w->x, w->lifted, net->lift_weight, w->g_first, w->g_x,
         into(c, net->lift_weight));
    }
}

/* TraceGrad of the last block and the lift: w->g_result, the gradient of what the outputs are made of,
 * becomes that of e'. */
static void last_back(const chunk *c, size_t n, nh_work *w)
{
    const nh_run *f = c->f;
    const nh_net *net = c->net;
    const bool lift = net->config->lift, second = lift && net->config->tg_scale > 0;
    if (lift) {
        R(nh_take_last)(net, n, w->g_result, w->g_x);
        lift_back(c, n, w);
        if (second) {
            for (size_t t = 0; t < n; t++)
                w->z[t] = f->trail[f->block].factor[f->slot[w->row[t]]];
            R(nh_tracegrad_add_backward)(&net->mid, n, w->z, w->g_x, w->g_y);
        }
        for (size_t i = 0; i < n * net->mid.dim; i++)
            w->g_x[i] += w->g_first[i];
    }
    if (c->block->has_invariants) {
        const R(nh_mlp_gradient) chain = chain_into(c, &c->block->invariants);
        R(nh_invariants_backward)
        (&net->last, &c->block->invariants, n, net->with_trace ? w->g_z : NULL, second ? w->g_y : NULL, w->x,
         w->invariants_room, w->g_x, lift, &chain);
    }
    R(nh_put_last)(net, n, w->g_x, !lift, w->g_result);
}

/* From the gradient of the outputs to that of e' of type POST (w->g_result); e' is in w->result. */
static void output_back(const chunk *c, size_t n, nh_work *w)
{
    const nh_run *f = c->f;
    const nh_net *net = c->net;
    const nh_layout *out = &net->map_output.out;
    double lap = 0;
    R(nh_lap)(&lap);
    for (size_t t = 0; t < n; t++)
        w->edge[t] = f->order[w->row[t]];
    f->back.seed(f->back.seed_context, n, w->edge, w->e3nn, net->with_trace ? w->g_trace : NULL);
    for (size_t t = 0; t < n; t++) {
        const real factor = (real)R(nh_damping)(net, w->distance[t]);
        for (size_t i = 0; i < out->dim; i++)
            w->e3nn[t * out->dim + i] *= factor;
    }
    R(nh_from_e3nn)(out, n, w->e3nn, w->g_tile);
    last_again(f, n, w);
    linear_back(c, &net->output, n, w->g_tile, w->result, w->g_result, false);
    w->times.output += R(nh_lap)(&lap);
    if (net->with_trace) trace_head_back(c, n, w);
    if (c->block->has_invariants || net->config->lift) last_back(c, n, w);
    w->times.tracegrad += R(nh_lap)(&lap);
}

/* Gradients of v and A from those of e' and of the nodes' sums. */
static void heads_back(const chunk *c, size_t n, nh_work *w)
{
    const nh_run *f = c->f;
    const nh_return *back = &f->back;
    const nh_net *net = c->net;
    const nh_block *b = c->block;
    const nh_layout *type = &b->edge_proj.map->out, *layout = &net->heads;
    const size_t heads = net->config->heads, kept = R(nh_tile_kept)(f, n, w);
    const bool last = f->block + 1 == net->config->blocks;
    double lap = 0;
    R(nh_lap)(&lap);
    if (kept > 0) {
        R(nh_heads_forward)(layout, heads, n, kept, w->pick, w->alpha, w->heads, w->weighted);
        if (last) {
            R(nh_linear_forward)
            (b->edge_proj.map, kept, w->weighted, b->edge_proj.weight, b->edge_proj.bias, false, w->result);
            output_back(c, n, w);
            R(nh_lap)(&lap);
        } else {
            for (size_t i = 0; i < kept; i++)
                w->edge[i] = w->row[w->pick[i]];
            R(nh_rows_load)(type, kept, w->edge, back->edge, w->g_result);
        }
        linear_back(c, &b->edge_proj, kept, w->g_result, w->weighted, w->g_weighted, false);
        w->times.linear += R(nh_lap)(&lap);
    }
    R(nh_heads_backward)
    (layout, heads, n, kept, w->pick, w->g_weighted, w->alpha, w->heads, w->g_alpha, w->g_heads, false);
    for (size_t first = 0, end; !last && first < n; first = end) {
        const size_t node = w->destination[first];
        for (end = first + 1; end < n && w->destination[end] == node;)
            end++;
        R(nh_softmax_partial_backward)
        (layout, heads, n, first, end - first, back->merged + node * layout->dim, back->max + node * heads,
         back->total + node * heads, back->dot + node * heads, w->alpha, w->copies, w->heads, w->g_alpha,
         w->g_heads, true);
    }
    w->times.attention += R(nh_lap)(&lap);
}

/* Maps that read a product, and the gradients of what they make. */
typedef struct reader {
    const nh_linear *map;
    const real *gradient;
} reader;

/* Rows m and -m of group `group` in the edges' frames: as group_back. */
static void rows_back(const chunk *c, const nh_linear *l, size_t group, int m, size_t n, const real *gy, const real *x, real *gx,
                      bool *any)
{
    for (size_t o = 0; o < l->map->out.count; o++) {
        if (l->map->block[o].in != group) continue;
        R(nh_aligned_linear_backward)
        (&c->net->frame, l->map, o, m, n, gy + n * l->map->out.group[o].offset, x, l->aligned, gx, *any, into(c, l->aligned),
         m == 0 ? into(c, l->bias) : NULL);
        *any = true;
    }
}

/* Back through the maps and t = DTP(x): writes gx, and the gradient of the weights to gw (`stride` as in nh_product_forward;
 * 0, all edges share the weights: adds to gw). Where the run is aligned all but gx are in the edges' frames, and the edges have
 * weights of their own. */
static void product_back(const chunk *c, size_t n, size_t n_reader, const reader *to, const real *x,
                         const real *weight, size_t stride, real *gx, real *gw, nh_work *w)
{
    const nh_net *net = c->net;
    const nh_product *p = &net->product;
    double lap = 0;
    R(nh_lap)(&lap);
    bool any = false;
    for (size_t k = 0; k < n_reader; k++)
        group_back(c, to[k].map, SIZE_MAX, n, to[k].gradient, NULL, NULL, &any);
    memset(gx, 0, n * net->mid.dim * sizeof(real));
    if (net->aligned) memset(gw, 0, n * stride * sizeof(real));
    for (size_t g = 0; g < p->out.count; g++)
        for (int m = 0; m <= (net->aligned ? p->out.group[g].l : 0); m++) {
            if (net->aligned)
                R(nh_aligned_forward)(&net->frame, g, m, n, x, w->along, weight, stride, w->product);
            else
                R(nh_product_forward)(p, g, n, x, w->coupling, weight, stride, w->product);
            w->times.product += R(nh_lap)(&lap);
            any = false;
            for (size_t k = 0; k < n_reader; k++)
                if (net->aligned)
                    rows_back(c, to[k].map, g, m, n, to[k].gradient, w->product, w->g_product, &any);
                else
                    group_back(c, to[k].map, g, n, to[k].gradient, w->product, w->g_product, &any);
            if (!any) memset(w->g_product, 0, n * p->out.group[g].dim * sizeof(real));
            w->times.linear += R(nh_lap)(&lap);
            if (net->aligned)
                R(nh_aligned_backward)(&net->frame, g, m, n, w->g_product, x, w->along, weight, stride, gx, gw);
            else
                R(nh_product_backward)(p, g, n, w->g_product, x, w->coupling, weight, stride, gx, gw);
            w->times.product += R(nh_lap)(&lap);
        }
    if (net->aligned) R(nh_rotate)(&net->frame, &net->mid, n, w->rotation, true, gx);
    w->times.product += R(nh_lap)(&lap);
}

/* v = LIN(DTP(gated)): from w->g_heads, which is left in the edges' frames where the run is aligned, to w->g_value. */
static void value_back(const chunk *c, size_t n, nh_work *w)
{
    const nh_net *net = c->net;
    const nh_block *b = c->block;
    const nh_linear *l = &b->value_lin;
    if (!net->aligned) {
        const reader to = {l, w->g_heads};
        product_back(c, n, 1, &to, w->value, b->value_weight, 0, w->g_value, into(c, b->value_weight), w);
        return;
    }
    double lap = 0;
    R(nh_lap)(&lap);
    R(nh_rotate)(&net->frame, &net->heads, n, w->rotation, false, w->g_heads);
    w->times.product += R(nh_lap)(&lap);
    memset(w->g_value, 0, n * net->mid.dim * sizeof(real));
    R(nh_folded_backward)
    (&net->frame, l->map, n, w->g_heads, w->value, w->along, l->aligned, w->product, w->g_value, into(c, l->aligned),
     into(c, l->bias));
    w->times.linear += R(nh_lap)(&lap);
}

/* t = DTP(m), its scalars and gates: from w->g_gate_in and w->g_scalars to w->g_message and w->g_weight. */
static void message_back(const chunk *c, size_t n, nh_work *w)
{
    const nh_block *b = c->block;
    const reader to[] = {{&b->sep_lin, w->g_gate_in}, {&b->sep_alpha, w->g_scalars}};
    product_back(c, n, 2, to, w->message, w->weight, c->net->product.n_weight, w->g_message, w->g_weight, w);
}

/* Gradients of the rows' radial weights, to those on their knots. */
static void add_to_knots(const chunk *c, size_t n, nh_work *w)
{
    const nh_run *f = c->f;
    const size_t width = c->net->product.n_weight;
    for (size_t t = 0; t < n; t++) {
        const real *restrict from = w->g_weight + t * width;
        real *restrict to = c->knot + f->knot_of[w->row[t]] * width;
        for (size_t i = 0; i < width; i++)
            to[i] += from[i];
    }
}

/* The radial network, from the sums of all chunks. */
static void knots_back(chunk *c, size_t tile)
{
    nh_run *f = c->f;
    const nh_config *config = c->net->config;
    nh_work *w = &f->work[c->thread];
    const size_t width = c->net->product.n_weight, first = tile * NH_TILE, left = f->n_knot - first,
                 n = left < NH_TILE ? left : NH_TILE;
    double lap = 0;
    R(nh_lap)(&lap);
    if (!R(nh_knots_needed)(f, first, n)) return;
    memcpy(w->g_weight, f->back.knot[0] + first * width, n * width * sizeof(real));
    for (size_t k = 1; k < f->back.n_chunk; k++) {
        const real *restrict from = f->back.knot[k] + first * width;
        for (size_t i = 0; i < n * width; i++)
            w->g_weight[i] += from[i];
    }
    R(nh_gaussians_forward)
    (n, config->radial_basis, config->radial_max, f->knot + first, config->radial_basis, w->gaussians);
    R(nh_mlp_forward)(f->radial, n, w->gaussians, w->radial_hidden, NULL, false);
    chain_back(c, f->radial, n, w->g_weight, w->gaussians, w->radial_hidden, w, NULL);
    w->times.radial += R(nh_lap)(&lap);
}

/* Attention on a tile of edges: gradients of its input e and of its messages, by position. */
static void edges_back(chunk *c, size_t tile)
{
    nh_run *f = c->f;
    const nh_net *net = c->net;
    const nh_block *b = c->block;
    const size_t basis = net->config->radial_basis, scalars = net->config->alpha_scalars,
                 width = basis + scalars;
    nh_work work = R(nh_tile_work)(f, tile, c->thread), *w = &work;
    const size_t n = R(nh_tile_rows)(f, tile, w);
    if (f->store)
        R(nh_radial_weights)(f, n, w);
    else
        R(nh_attention)(f, b, n, w);
    heads_back(c, n, w);
    value_back(c, n, w);
    double lap = 0;
    R(nh_lap)(&lap);
    R(nh_gate_backward)(&net->gate_in, &net->mid, net->gate_first, n, w->g_value, w->gate_in, w->g_gate_in);
    chain_back(c, &b->alpha, n, w->g_alpha, w->alpha_in, w->alpha_hidden, w, w->g_alpha_in);
    for (size_t t = 0; t < n; t++)
        memcpy(w->g_scalars + t * scalars, w->g_alpha_in + t * width + basis, scalars * sizeof(real));
    w->times.attention += R(nh_lap)(&lap);
    message_back(c, n, w);
    R(nh_lap)(&lap);
    add_to_knots(c, n, w);
    w->times.radial += R(nh_lap)(&lap);

    R(nh_rows_store)(&net->mid, n, w->row, w->g_message, f->back.message);
    R(nh_rows_load)(&net->mid, n, w->row, f->edge, w->x);
    R(nh_norm_forward)(&net->mid, n, w->x, net->config->norm_eps, b->norm_edge[0], b->norm_edge[1], w->y);
    linear_back(c, &b->pre_edge, n, w->g_message, w->y, w->g_x, false);
    norm_back(c, b->norm_edge, n, w->g_x, w->x, w->g_x);
    R(nh_rows_store)(&net->mid, n, w->row, w->g_x, f->back.edge);
    w->times.linear += R(nh_lap)(&lap);
    f->work[c->thread].times = w->times;
}

/* TraceGrad of blocks that are not the last: f->back.edge becomes the gradient of e'. */
static void tracegrad_back(chunk *c, size_t tile)
{
    nh_run *f = c->f;
    const nh_net *net = c->net;
    const nh_trail *trail = &f->trail[f->block];
    nh_work *w = &f->work[c->thread];
    const bool second = net->config->tg_scale > 0;
    const size_t z = net->config->tg_z;
    double lap = 0;
    R(nh_lap)(&lap);
    const size_t n = R(nh_tile_rows)(f, tile, w);
    R(nh_rows_load)(&net->mid, n, w->row, f->raw, w->x);
    R(nh_rows_load)(&net->mid, n, w->row, f->back.edge, w->g_x);

    /* rows are in ascending order of position, so those with a slot have consecutive ones */
    size_t kept = 0, slot = SIZE_MAX;
    for (size_t t = 0; net->with_trace && t < n; t++)
        if (f->slot[w->row[t]] != SIZE_MAX) {
            if (kept == 0) slot = f->slot[w->row[t]];
            w->pick[kept++] = t;
        }
    if (kept > 0) {
        trace_back(c, slot, kept, w->z);
        memset(w->g_z, 0, n * z * sizeof(real));
        for (size_t i = 0; i < kept; i++)
            memcpy(w->g_z + w->pick[i] * z, w->z + i * z, z * sizeof(real));
    }
    if (second) {
        for (size_t t = 0; t < n; t++)
            w->z[t] = trail->factor[w->row[t]];
        R(nh_tracegrad_add_backward)(&net->mid, n, w->z, w->g_x, w->g_y);
    }
    const R(nh_mlp_gradient) chain = chain_into(c, &c->block->invariants);
    R(nh_invariants_backward)
    (&net->mid, &c->block->invariants, n, kept > 0 ? w->g_z : NULL, second ? w->g_y : NULL, w->x,
     w->invariants_room, w->g_x, true, &chain);
    R(nh_rows_store)(&net->mid, n, w->row, w->g_x, f->back.edge);
    w->times.tracegrad += R(nh_lap)(&lap);
}

/* 3.2: the input map. Tiles of edges in the graph's order. */
static void input_back(chunk *c, size_t tile)
{
    nh_run *f = c->f;
    const nh_net *net = c->net;
    nh_work *w = &f->work[c->thread];
    const size_t first = tile * NH_TILE, left = f->graph->n_edge - first, n = left < NH_TILE ? left : NH_TILE;
    double lap = 0;
    R(nh_lap)(&lap);
    for (size_t t = 0; t < n; t++)
        w->row[t] = f->position[first + t];
    f->source(f->source_context, first, n, w->e3nn);
    R(nh_from_e3nn)(&net->map_input.in, n, w->e3nn, w->tile);
    R(nh_rows_load)(&net->mid, n, w->row, f->back.edge, w->g_x);
    linear_back(c, &net->input, n, w->g_x, w->tile, NULL, false);
    w->times.input += R(nh_lap)(&lap);
}

/* ---- nodes */

/* n' = FFN(n2) + n2, n2 = EQLN(a + n1), a = proj(sums): from f->back.node to the gradients of n1 (through
 * this residual) and of the sums, and what the softmax needs. */
static void node_end_back(chunk *c, size_t tile)
{
    nh_run *f = c->f;
    nh_return *back = &f->back;
    const nh_net *net = c->net;
    const nh_layout *mid = &net->mid, *heads = &net->heads;
    const nh_block *b = c->block;
    const size_t n_head = net->config->heads;
    nh_work *w = &f->work[c->thread];
    double lap = 0;
    R(nh_lap)(&lap);
    const size_t n = R(nh_tile_nodes)(f, tile, w);
    R(nh_rows_load)(heads, n, w->row, f->merged, w->heads);
    R(nh_linear_forward)(b->proj.map, n, w->heads, b->proj.weight, b->proj.bias, false, w->x);
    R(nh_rows_add)(mid, n, w->row, f->normed, w->x);
    R(nh_norm_forward)(mid, n, w->x, net->config->norm_eps, b->norm_2[0], b->norm_2[1], w->y);
    R(nh_linear_forward)(b->ffn_1.map, n, w->y, b->ffn_1.weight, b->ffn_1.bias, false, w->gate_in);
    R(nh_gate_forward)(&net->gate_in, mid, net->gate_first, n, w->gate_in, w->value);

    R(nh_rows_load)(mid, n, w->row, back->node, w->g_x);
    linear_back(c, &b->ffn_2, n, w->g_x, w->value, w->g_value, false);
    R(nh_gate_backward)(&net->gate_in, mid, net->gate_first, n, w->g_value, w->gate_in, w->g_gate_in);
    linear_back(c, &b->ffn_1, n, w->g_gate_in, w->y, w->g_x, true);
    norm_back(c, b->norm_2, n, w->g_x, w->x, w->g_x);
    R(nh_rows_store)(mid, n, w->row, w->g_x, back->normed);
    linear_back(c, &b->proj, n, w->g_x, w->heads, w->g_heads, false);
    R(nh_rows_store)(heads, n, w->row, w->g_heads, back->merged);
    for (size_t t = 0; t < n; t++) {
        const size_t a = w->row[t], first = f->node_partial[a], count = f->node_partial[a + 1] - first;
        R(nh_softmax_merge_backward)
        (heads, n_head, count, back->merged + a * heads->dim, f->partial_max + first * n_head,
         f->partial_sum + first * n_head, f->merged + a * heads->dim, back->max + a * n_head,
         back->total + a * n_head, back->dot + a * n_head);
    }
    w->times.node += R(nh_lap)(&lap);
}

/* Sum of the messages' gradients over the listed positions (NULL: first..end-1 themselves) into row t;
 * `last`: there are messages of the outputs' edges only. */
static void sum_messages(const nh_run *f, const size_t *list, size_t first, size_t end, bool last, size_t n,
                         size_t t, real *tile)
{
    const nh_layout *mid = &f->net->mid;
    for (size_t g = 0; g < mid->count; g++)
        memset(tile + n * mid->group[g].offset + t * mid->group[g].dim, 0, mid->group[g].dim * sizeof(real));
    for (size_t i = first; i < end; i++) {
        const size_t position = list != NULL ? list[i] : i;
        if (last && f->slot[position] == SIZE_MAX) continue;
        for (size_t g = 0; g < mid->count; g++) {
            const size_t dim = mid->group[g].dim, offset = mid->group[g].offset;
            const real *restrict from = f->back.message + position * mid->dim + offset;
            real *restrict to = tile + n * offset + t * dim;
            for (size_t k = 0; k < dim; k++)
                to[k] += from[k];
        }
    }
}

/* n1 = EQLN(n) and its parts of the messages: f->back.node becomes the gradient of the block's input. */
static void node_begin_back(chunk *c, size_t tile)
{
    nh_run *f = c->f;
    nh_return *back = &f->back;
    const nh_net *net = c->net;
    const nh_layout *mid = &net->mid;
    const nh_block *b = c->block;
    nh_work *w = &f->work[c->thread];
    double lap = 0;
    R(nh_lap)(&lap);
    const size_t n = R(nh_tile_nodes)(f, tile, w);
    R(nh_rows_load)(mid, n, w->row, f->normed, w->x);
    const bool last = f->block + 1 == net->config->blocks;
    if (!last)
        R(nh_rows_load)(mid, n, w->row, back->normed, w->g_x);
    else
        memset(w->g_x, 0, n * mid->dim * sizeof(real));
    for (size_t t = 0; t < n; t++) {
        const size_t a = w->row[t];
        sum_messages(f, back->from, back->outgoing[a], back->outgoing[a + 1], last, n, t, w->g_message);
        sum_messages(f, NULL, back->incoming[a], back->incoming[a + 1], last, n, t, w->g_y);
    }
    R(nh_linear_forward)(b->merge_src.map, n, w->x, b->merge_src.weight, b->merge_src.bias, false, w->value);
    linear_back(c, &b->pre_src, n, w->g_message, w->value, w->g_value, false);
    linear_back(c, &b->merge_src, n, w->g_value, w->x, w->g_x, true);
    R(nh_linear_forward)(b->merge_dst.map, n, w->x, b->merge_dst.weight, NULL, false, w->value);
    linear_back(c, &b->pre_dst, n, w->g_y, w->value, w->g_value, false);
    linear_back(c, &b->merge_dst, n, w->g_value, w->x, w->g_x, true);
    R(nh_rows_load)(mid, n, w->row, f->node, w->x);
    norm_back(c, b->norm_1, n, w->g_x, w->x, w->g_x);
    R(nh_rows_store)(mid, n, w->row, w->g_x, back->node);
    w->times.node += R(nh_lap)(&lap);
}

/* The nodes' parts of the messages in the initial edge features: adds to f->back.node. */
static void init_nodes_back(chunk *c, size_t tile)
{
    nh_run *f = c->f;
    nh_return *back = &f->back;
    const nh_net *net = c->net;
    const nh_layout *mid = &net->mid;
    nh_work *w = &f->work[c->thread];
    double lap = 0;
    R(nh_lap)(&lap);
    const size_t n = R(nh_tile_nodes)(f, tile, w);
    R(nh_rows_load)(mid, n, w->row, f->node, w->x);
    R(nh_rows_load)(mid, n, w->row, back->node, w->g_x);
    for (size_t t = 0; t < n; t++) {
        const size_t a = w->row[t];
        sum_messages(f, back->from, back->outgoing[a], back->outgoing[a + 1], false, n, t, w->g_message);
        sum_messages(f, NULL, back->incoming[a], back->incoming[a + 1], false, n, t, w->g_y);
    }
    linear_back(c, &net->init_src, n, w->g_message, w->x, w->g_x, true);
    linear_back(c, &net->init_dst, n, w->g_y, w->x, w->g_x, true);
    R(nh_rows_store)(mid, n, w->row, w->g_x, back->node);
    w->times.node += R(nh_lap)(&lap);
}

/* OPTIONS.md 2: f->back.edge becomes the gradient of h; inner activations are always made again. */
static void init_edges_back(chunk *c, size_t tile)
{
    nh_run *f = c->f;
    const nh_net *net = c->net;
    nh_work *w = &f->work[c->thread];
    const size_t n = R(nh_tile_rows)(f, tile, w);
    R(nh_init_message)(f, n, w);
    R(nh_rows_load)(&net->mid, n, w->row, f->back.edge, w->g_x);
    memcpy(w->g_value, w->g_x, n * net->mid.dim * sizeof(real));
    const reader to = {&net->init_lin, w->g_value};
    if (net->aligned) {
        R(nh_rotate)(&net->frame, &net->mid, n, w->rotation, false, w->message);
        R(nh_rotate)(&net->frame, &net->mid, n, w->rotation, false, w->g_value);
    }
    product_back(c, n, 1, &to, w->message, w->weight, net->product.n_weight, w->g_message, w->g_weight, w);
    double lap = 0;
    R(nh_lap)(&lap);
    add_to_knots(c, n, w);
    w->times.radial += R(nh_lap)(&lap);
    R(nh_rows_store)(&net->mid, n, w->row, w->g_message, f->back.message);
    linear_back(c, &net->init_edge, n, w->g_message, w->x, w->g_x, true);
    R(nh_rows_store)(&net->mid, n, w->row, w->g_x, f->back.edge);
    w->times.input += R(nh_lap)(&lap);
}

/* n0 = sum of e0 over the on-site edges, each as often as onsite_copies says. */
static void begin_nodes_back(nh_run *f)
{
    const size_t dim = f->net->mid.dim;
    const real copies = (real)f->net->config->onsite_copies;
    for (size_t i = 0; i < f->graph->n_edge; i++) {
        const size_t e = f->order[i];
        if (!R(nh_onsite)(f->graph, e)) continue;
        const real *from = f->back.node + (size_t)f->graph->src[e] * dim;
        for (size_t k = 0; k < dim; k++)
            f->back.edge[i * dim + k] += copies * from[k];
    }
}

/* ---- loops */

typedef struct loop {
    nh_run *f;
    size_t n_tile;
    void (*body)(chunk *c, size_t tile);
} loop;

static void run_chunk(void *context, size_t index, int thread)
{
    const loop *l = context;
    const nh_return *b = &l->f->back;
    chunk c = {.f = l->f,
               .net = l->f->net,
               .block = &l->f->net->block[l->f->block],
               .thread = thread,
               .packed = b->packed[index],
               .knot = b->knot[index],
               .table = b->chain[index]};
    for (size_t tile = l->n_tile * index / b->n_chunk; tile < l->n_tile * (index + 1) / b->n_chunk; tile++)
        l->body(&c, tile);
}

static void over_tiles(nh_run *f, size_t n_tile, void (*body)(chunk *, size_t), nh_threads *threads)
{
    loop l = {.f = f, .n_tile = n_tile, .body = body};
    nh_parallel_for(threads, f->back.n_chunk, run_chunk, &l);
}

static void over_list(nh_run *f, bool all, void (*body)(chunk *, size_t), nh_threads *threads)
{
    R(nh_choose_list)(f, all);
    over_tiles(f, R(nh_tiles)(f->n_list, f->rows), body, threads);
}

static void clear_knots(nh_run *f)
{
    for (size_t i = 0; i < f->back.n_chunk; i++)
        memset(f->back.knot[i], 0, f->n_knot * f->net->product.n_weight * sizeof(real));
}

void R(nh_block_back)(nh_run *f, nh_threads *threads)
{
    const nh_net *net = f->net;
    const bool last = f->block + 1 == net->config->blocks;
    const size_t node_tiles = R(nh_tiles)(f->graph->n_node, NH_TILE);
    nh_parallel_for(threads, node_tiles, R(nh_run_node_begin), f); /* n1, p, q of this block again */
    if (!last) {
        if (net->block[f->block].has_invariants)
            over_list(f, R(nh_tracegrad_all)(f), tracegrad_back, threads);
        over_tiles(f, node_tiles, node_end_back, threads);
    }
    R(nh_make_knots)(f, &net->block[f->block].radial, !last, threads);
    clear_knots(f);
    over_list(f, !last, edges_back, threads);
    over_tiles(f, R(nh_tiles)(f->n_knot, NH_TILE), knots_back, threads);
    over_tiles(f, node_tiles, node_begin_back, threads);
}

/* Positions by destination (they are sorted by it) and by source. */
static void index_edges(nh_run *f)
{
    nh_return *b = &f->back;
    const nh_edges *g = f->graph;
    memset(b->incoming, 0, (g->n_node + 1) * sizeof *b->incoming);
    memset(b->outgoing, 0, (g->n_node + 1) * sizeof *b->outgoing);
    for (size_t e = 0; e < g->n_edge; e++) {
        b->incoming[(size_t)g->dst[e] + 1]++;
        b->outgoing[(size_t)g->src[e] + 1]++;
    }
    for (size_t a = 0; a < g->n_node; a++) {
        b->incoming[a + 1] += b->incoming[a];
        b->outgoing[a + 1] += b->outgoing[a];
    }
    for (size_t i = 0; i < g->n_edge; i++)
        b->from[b->outgoing[g->src[f->order[i]]]++] = i;
    for (size_t a = g->n_node; a > 0; a--)
        b->outgoing[a] = b->outgoing[a - 1];
    b->outgoing[0] = 0;
}

static void clear_chunk(void *context, size_t index, int thread)
{
    const nh_run *f = context;
    (void)thread;
    memset(f->back.packed[index], 0, f->net->n_packed * sizeof(real));
}

void R(nh_back_begin)(nh_run *f, nh_threads *threads)
{
    nh_return *b = &f->back;
    const size_t mid = f->net->mid.dim;
    nh_parallel_for(threads, b->n_chunk, clear_chunk, f);
    /* edges that the last block does not see, and nodes after it, change nothing */
    memset(b->edge, 0, f->graph->n_edge * mid * sizeof(real));
    memset(b->node, 0, f->graph->n_node * mid * sizeof(real));
    index_edges(f);
}

/* ---- from packed gradients to parameters */

typedef struct unpacking {
    nh_run *f;
    real **gradient;
} unpacking;

enum { SLABS = 8 };

/* Sum over the chunks, a slab of the packed weights. */
static void sum_chunks(void *context, size_t index, int thread)
{
    (void)thread;
    const nh_run *f = ((const unpacking *)context)->f;
    const nh_return *b = &f->back;
    const size_t n = f->net->n_packed, first = n * index / SLABS, end = n * (index + 1) / SLABS;
    real *restrict to = b->packed[0];
    for (size_t k = 1; k < b->n_chunk; k++) {
        const real *restrict from = b->packed[k];
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
    const real *g = u->f->back.packed[0] + (b->invariants.weight[0] - net->packed);
    if (index / SLABS % 2 == 0) {
        const size_t first = z * part / SLABS, n = z * (part + 1) / SLABS - first;
        real *to = u->gradient[layer->param];
        if (to != NULL) R(nh_dense_backward)
        (net->kernels, n, hidden, pairs, g + first * pairs, NULL, b->form, to + first * hidden, true, NULL,
         NULL);
    } else {
        const size_t first = pairs * part / SLABS, n = pairs * (part + 1) / SLABS - first;
        real *to = u->f->back.form[(size_t)(b - net->block)] + first * hidden;
        if (n > 0) R(nh_gemm)
        (net->kernels, true, false, n, hidden, z, g + first, pairs, b->layer, hidden, false, to, hidden);
    }
}

/* What was packed again in the frame of the edge: of a block, the network's with the first. */
static void unalign(void *context, size_t index, int thread)
{
    (void)thread;
    const nh_run *f = ((const unpacking *)context)->f;
    const nh_net *net = f->net;
    const nh_block *b = &net->block[index];
    const nh_linear *const list[] = {&b->sep_lin, &b->sep_alpha, index == 0 ? &net->init_lin : NULL}, *value = &b->value_lin;
    real *const g = f->back.packed[0];
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (list[i] != NULL && list[i]->aligned != NULL) R(nh_aligned_unpack_add)
    (&net->frame, list[i]->map, g + (list[i]->aligned - net->packed), g + (list[i]->weight - net->packed));
    R(nh_folded_unpack_add)
    (&net->frame, value->map, b->value_weight, value->weight, g + (value->aligned - net->packed), g + (b->value_weight - net->packed),
     g + (value->weight - net->packed));
}

static void unpack_one(void *context, size_t index, int thread)
{
    (void)thread;
    const unpacking *u = context;
    const nh_net *net = u->f->net;
    const nh_binding *b = &net->binding[index];
    const real *from = u->f->back.packed[0] + b->at;
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
        R(nh_pairs_unpack_add)
        (b->layout, b->block->form_hidden, u->f->back.form[(size_t)(b->block - net->block)], to);
        break;
    case NH_BIND_LAYER:
        break; /* split_layers */
    }
}

void R(nh_back_end)(nh_run *f, real **gradient, nh_threads *threads)
{
    unpacking u = {.f = f, .gradient = gradient};
    nh_parallel_for(threads, SLABS, sum_chunks, &u);
    if (f->net->aligned && f->net->placed == NULL) nh_parallel_for(threads, f->net->config->blocks, unalign, &u);
    nh_parallel_for(threads, f->net->n_binding * 2 * SLABS, split_layers, &u);
    nh_parallel_for(threads, f->net->n_binding, unpack_one, &u);
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

int NH_NET(_backward)(const nh_net *net, nh_tape *tape, NH_NET(_seed) * seed, void *seed_context,
                      nh_weights *gradient, nh_threads *threads, nh_network_times *times, nh_error *err)
{
    nh_run *f = &tape->run;
    nh_return *b = &f->back;
    if (!tape->filled || f->net != net)
        return nh_fail(err, "network: the tape holds no run of this sub-model");
    if (net->placed == NULL && nh_threads_count(threads) != f->threads)
        return nh_fail(err, "network: %d threads on the way back, %d on the way there",
                       nh_threads_count(threads), f->threads);
    if (gradient == NULL && net->placed == NULL) return nh_fail(err, "network: no gradients to add to");
    if (gradient != NULL && (gradient->NH_NATIVE == NULL || gradient->count != net->params->count))
        return nh_fail(err,
                       "network: gradients of the network's precision, one for each of %zu parameters, "
                       "expected",
                       net->params->count);
    if (net->placed != NULL)
        return R(nh_placed_backward)(net, tape->placed, seed, seed_context, gradient, err);
    if (f->n_out == 0) return 0;
    b->seed = seed;
    b->seed_context = seed_context;
    for (int i = 0; i < f->threads; i++)
        f->work[i].times = (nh_network_times){0};
    R(nh_back_begin)(f, threads);
    for (size_t k = net->config->blocks; k-- > 0;) {
        R(nh_enter_block)(f, k);
        R(nh_block_back)(f, threads);
    }
    if (net->config->edge_init == NH_EDGE_INIT_PAPER) {
        const size_t node_tiles = R(nh_tiles)(f->graph->n_node, NH_TILE);
        nh_parallel_for(threads, node_tiles, R(nh_run_init_nodes), f); /* their parts of m again */
        R(nh_make_knots)(f, &net->init_radial, true, threads);
        clear_knots(f);
        over_list(f, true, init_edges_back, threads);
        over_tiles(f, R(nh_tiles)(f->n_knot, NH_TILE), knots_back, threads);
        over_tiles(f, node_tiles, init_nodes_back, threads);
    }
    begin_nodes_back(f);
    over_tiles(f, R(nh_tiles)(f->graph->n_edge, NH_TILE), input_back, threads);

    R(nh_back_end)(f, gradient->NH_NATIVE, threads);
    R(nh_add_times)(f, times);
    return 0;
}
