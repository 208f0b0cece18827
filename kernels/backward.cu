/* The way back through a kept run on a device: lib/network's backward.c. */
#include "kernels/network.h"

#include <cstdlib>

/* Where the gradient of a packed weight goes. */
static real *into(const nhk_net *d, const real *weight)
{
    return weight != nullptr ? d->run.g_packed + (weight - d->packed) : nullptr;
}

/* Lists of a chain's gradients; chains have at most MOST_LAYERS maps. */
enum { MOST_LAYERS = 16 };
typedef struct chain_lists {
    real *weight[MOST_LAYERS], *bias[MOST_LAYERS], *gain[MOST_LAYERS], *shift[MOST_LAYERS];
    R(nh_mlp_gradient) g;
} chain_lists;

static void chain_into(const nhk_net *d, const nh_chain *m, chain_lists *l)
{
    if (m->layers > MOST_LAYERS) {
        nhk_fail(d->gpu, "CUDA: %zu dense layers, at most %d", m->layers, (int)MOST_LAYERS);
        l->g = R(nh_mlp_gradient){};
        return;
    }
    l->g.weight = l->weight;
    l->g.bias = l->bias;
    l->g.gain = m->gain != nullptr ? l->gain : nullptr;
    l->g.shift = m->gain != nullptr ? l->shift : nullptr;
    for (size_t i = 0; i < m->layers; i++) {
        l->weight[i] = into(d, m->weight[i]);
        l->bias[i] = into(d, m->bias[i]);
        l->gain[i] = l->shift[i] = nullptr;
        if (m->gain == nullptr || i + 1 == m->layers) continue;
        l->gain[i] = into(d, m->gain[i]);
        l->shift[i] = into(d, m->shift[i]);
    }
}

static void linear_back(const nhk_net *d, const nh_linear *l, size_t n, const real *gy, const real *x, real *gx, bool add)
{
    R(nhk_linear_backward)(d->gpu, l->map, n, gy, x, l->weight, gx, add, into(d, l->weight), into(d, l->bias));
}

static void norm_back(const nhk_net *d, real *const norm[2], size_t n, const real *gy, const real *x, real *gx)
{
    R(nhk_norm_backward)
    (d->gpu, &d->net.mid, n, gy, x, d->net.config->norm_eps, norm[0], gx, false, into(d, norm[0]), into(d, norm[1]));
}

static void chain_back(const nhk_net *d, const nh_chain *m, size_t n, const real *gy, const real *x, const real *hidden,
                       real *gx)
{
    chain_lists l;
    chain_into(d, m, &l);
    R(nhk_mlp_backward)(d->gpu, m, n, gy, x, hidden, d->run.w.chain_room, gx, false, &l.g);
}

/* ---- edges */

/* Backward of the groups of l's output that group `group` of the product feeds (SIZE_MAX: that nothing feeds): adds to
 * *any, which says whether gx has been written. */
static void group_back(const nhk_net *d, const nh_linear *l, size_t group, size_t n, const real *gy, const real *x,
                       real *gx, bool *any)
{
    for (size_t o = 0; o < l->map->out.count; o++) {
        if (l->map->block[o].in != group) continue;
        R(nhk_linear_group_backward)
        (d->gpu, l->map, o, n, gy + n * l->map->out.group[o].offset, x, l->weight, gx, *any, into(d, l->weight),
         into(d, l->bias));
        *any = true;
    }
}

/* Gradient of z of the slots slot.. (n of them) from that of the trace head's first sums. */
static void trace_back(nhk_net *d, const nh_block *b, size_t slot, size_t n, real *g_z)
{
    const nhk_run *r = &d->run;
    const size_t z = d->net.config->tg_z, width = d->net.trace_width;
    R(nhk_dense_backward)
    (d->gpu, n, z, width, r->g_trace + slot * width, r->trail[r->block].z + slot * z, b->trace_first, g_z, false,
     into(d, b->trace_first), nullptr);
}

/* The trace head: gradient of the last block's z, in w->g_z. */
static void trace_head_back(nhk_net *d, const nh_block *b, size_t first, size_t n)
{
    nhk_run *r = &d->run;
    const nh_net *net = &d->net;
    const nhk_work *w = &r->w;
    nh_gpu *g = d->gpu;
    const size_t width = net->trace_width;
    real *sums = r->trace + first * width, *g_sums = r->g_trace + first * width;
    nhk_copy(g, w->trace_in, sums, n * width * sizeof(real));
    R(nhk_silu_forward)(g, n * width, w->trace_in);
    R(nhk_mlp_forward)(g, &net->trace, n, w->trace_in, w->trace_hidden, nullptr, false);
    chain_back(d, &net->trace, n, w->g_trace, w->trace_in, w->trace_hidden, g_sums);
    R(nhk_silu_backward)(g, n * width, sums, g_sums);
    R(nhk_column_sums)(g, n, width, width, g_sums, nullptr, into(d, net->trace_bias));
    trace_back(d, b, first, n, w->g_z);
}

/* f (w->x) and o (w->lifted) of the last block again, o in w->result. */
static void last_again(nhk_net *d, size_t first, size_t n)
{
    nhk_run *r = &d->run;
    const nh_net *net = &d->net;
    const nhk_work *w = &r->w;
    R(nhk_take_channels)(d->gpu, &net->map_post.out, &net->last, n, w->result, w->x);
    if (!net->config->lift) return;
    R(nhk_rows_load)
    (d->gpu, &net->mid, n, nullptr, 0, r->trail[r->block].lifted + first * net->mid.dim, w->lifted);
    R(nhk_put_channels)(d->gpu, &net->map_post.out, &net->last, n, w->lifted, false, w->result);
}

/* The products f x o: from w->g_tile, adds to the gradients of o (w->g_x), and writes those of f as their first factor
 * (w->g_first). */
static void lift_back(nhk_net *d, size_t n)
{
    const nh_net *net = &d->net;
    const nhk_work *w = &d->run.w;
    nh_gpu *g = d->gpu;
    nhk_zero(g, w->g_first, n * net->mid.dim * sizeof(real));
    for (size_t k = 0; k < net->lift.out.count; k++) {
        bool any = false;
        R(nhk_lift_forward)(g, &d->lift, k, n, w->x, w->lifted, net->lift_weight, w->lift);
        group_back(d, &net->lift_out, k, n, w->g_tile, w->lift, w->g_lift, &any);
        if (any) R(nhk_lift_backward)
        (g, &d->lift, k, n, w->g_lift, w->x, w->lifted, net->lift_weight, w->g_first, w->g_x,
         into(d, net->lift_weight));
    }
}

/* TraceGrad of the last block and the lift: w->g_result, the gradient of what the outputs are made of, becomes that of
 * e'. */
static void last_back(nhk_net *d, const nh_block *b, size_t first, size_t n)
{
    nhk_run *r = &d->run;
    const nh_net *net = &d->net;
    const nhk_work *w = &r->w;
    nh_gpu *g = d->gpu;
    const bool lift = net->config->lift, second = lift && net->config->tg_scale > 0;
    if (lift) {
        R(nhk_take_channels)(g, &net->map_post.out, &net->last, n, w->g_result, w->g_x);
        lift_back(d, n);
        if (second)
            R(nhk_tracegrad_add_backward)(g, &net->mid, n, r->trail[r->block].factor + first, w->g_x, w->g_y);
        R(nhk_axpy)(g, n * net->mid.dim, w->g_x, 1, w->g_first, w->g_x);
    }
    if (b->has_invariants) {
        chain_lists l;
        chain_into(d, &b->invariants, &l);
        R(nhk_invariants_backward)
        (g, &net->last, d->pairs_last, &b->invariants, n, net->with_trace ? w->g_z : nullptr,
         second ? w->g_y : nullptr, w->x, w->invariants_room, w->g_x, lift, &l.g);
    }
    R(nhk_put_channels)(g, &net->map_post.out, &net->last, n, w->g_x, !lift, w->g_result);
}

/* The gradient of the outputs, in w->e3nn and w->g_trace. */
static void seeds(nhk_net *d, size_t first, size_t n)
{
    nhk_run *r = &d->run;
    const nhk_work *w = &r->w;
    nh_gpu *g = d->gpu;
    const size_t dim = d->net.map_output.out.dim, pairs = d->net.with_trace ? d->net.types->n_shell_pair : 0;
    if (r->ends.seed != nullptr) {
        if (!g->failed) r->ends.seed(r->ends.context, n, r->edge_d + first, w->e3nn, pairs > 0 ? w->g_trace : nullptr);
        return;
    }
    nhk_stage *s = R(nhk_stage_take)(d, first / r->tile, n * (dim + pairs) * sizeof(real));
    size_t *edge = static_cast<size_t *>(malloc((n + 1) * sizeof *edge));
    if (s == nullptr || edge == nullptr) {
        if (edge == nullptr) nhk_fail(g, "out of memory for outputs");
        free(edge);
        return;
    }
    for (size_t i = 0; i < n; i++)
        edge[i] = r->order[r->out[first + i]];
    real *ham = static_cast<real *>(s->p);
    r->seed(r->seed_context, n, edge, ham, pairs > 0 ? ham + n * dim : nullptr);
    free(edge);
    nhk_upload(g, w->e3nn, ham, n * dim * sizeof(real));
    nhk_upload(g, w->g_trace, ham + n * dim, n * pairs * sizeof(real));
    s->n = 0;
    s->busy = nhk_good(g, cudaEventRecord(s->done, g->stream), "cudaEventRecord");
}

/* From the gradient of the outputs to that of e' of type POST (w->g_result); e' is in w->result. */
static void output_back(nhk_net *d, const nh_block *b, size_t first, size_t n)
{
    nhk_run *r = &d->run;
    const nh_net *net = &d->net;
    const nhk_work *w = &r->w;
    nh_gpu *g = d->gpu;
    const nh_layout *out = &net->map_output.out;
    seeds(d, first, n);
    R(nhk_scale_rows)(g, n, out->dim, r->damping + first, w->e3nn);
    R(nhk_from_e3nn)(g, out, d->e3nn_out, n, w->e3nn, w->g_tile);
    last_again(d, first, n);
    linear_back(d, &net->output, n, w->g_tile, w->result, w->g_result, false);
    if (net->with_trace) trace_head_back(d, b, first, n);
    if (b->has_invariants || net->config->lift) last_back(d, b, first, n);
}

/* Gradients of v and A from those of e' and of the nodes' sums. */
static void heads_back(nhk_net *d, const nh_block *b, const nhk_list *l, size_t first, size_t n)
{
    nhk_run *r = &d->run;
    const nh_net *net = &d->net;
    const nhk_work *w = &r->w;
    nh_gpu *g = d->gpu;
    const nh_layout *type = &b->edge_proj.map->out, *layout = &net->heads;
    const size_t heads = net->config->heads;
    const bool last = r->block + 1 == net->config->blocks, every = r->block + 2 != net->config->blocks;
    size_t kept = n, slot = 0;
    if (!every) kept = R(nhk_tile_slots)(r, l, first, n, &slot) - slot;
    const int *pick = every ? nullptr : r->inside.row + slot;
    R(nhk_heads_forward)(g, layout, heads, n, kept, pick, (int)first, w->alpha, w->heads, w->weighted);
    if (last) {
        R(nhk_linear_forward)
        (g, b->edge_proj.map, kept, w->weighted, b->edge_proj.weight, b->edge_proj.bias, false, w->result);
        output_back(d, b, first, n);
    } else {
        R(nhk_rows_load)(g, type, kept, pick, 0, every ? r->g_edge + first * type->dim : r->g_edge, w->g_result);
    }
    linear_back(d, &b->edge_proj, kept, w->g_result, w->weighted, w->g_weighted, false);
    R(nhk_heads_backward)
    (g, layout, heads, n, kept, pick, (int)first, w->g_weighted, w->alpha, w->heads, w->g_alpha, w->g_heads, false);
    if (!last)
        R(nhk_softmax_partial_backward)
    (g, layout, heads, n, l->dst + first, r->g_merged, r->g_max, r->g_total, r->g_dot, w->alpha, l->copies + first,
     w->heads, w->g_alpha, w->g_heads, true);
}

/* v = LIN(DTP(gated)): from w->g_heads to w->g_value. */
static void value_back(nhk_net *d, const nh_block *b, size_t n)
{
    const nh_net *net = &d->net;
    const nhk_work *w = &d->run.w;
    nh_gpu *g = d->gpu;
    bool any = false;
    group_back(d, &b->value_lin, SIZE_MAX, n, w->g_heads, nullptr, nullptr, &any);
    nhk_zero(g, w->g_value, n * net->mid.dim * sizeof(real));
    for (size_t k = 0; k < net->product.out.count; k++) {
        R(nhk_product_forward)(g, &d->product, k, n, w->value, w->coupling, b->value_weight, 0, w->product);
        any = false;
        group_back(d, &b->value_lin, k, n, w->g_heads, w->product, w->g_product, &any);
        if (any) R(nhk_product_backward)
        (g, &d->product, k, n, w->g_product, w->value, w->coupling, b->value_weight, 0, w->g_value,
         into(d, b->value_weight));
    }
}

/* From w->g_product of group k to w->g_message and w->g_weight. */
static void product_back(nhk_net *d, size_t k, size_t n)
{
    const nhk_work *w = &d->run.w;
    R(nhk_product_backward)
    (d->gpu, &d->product, k, n, w->g_product, w->message, w->coupling, w->weight, d->net.product.n_weight, w->g_message,
     w->g_weight);
}

/* t = DTP(m), its scalars and gates: from w->g_gate_in and w->g_scalars to w->g_message and w->g_weight. */
static void message_back(nhk_net *d, const nh_block *b, size_t n)
{
    const nh_net *net = &d->net;
    const nhk_work *w = &d->run.w;
    nh_gpu *g = d->gpu;
    const nh_product *p = &net->product;
    bool any = false;
    group_back(d, &b->sep_lin, SIZE_MAX, n, w->g_gate_in, nullptr, nullptr, &any);
    group_back(d, &b->sep_alpha, SIZE_MAX, n, w->g_scalars, nullptr, nullptr, &any);
    nhk_zero(g, w->g_message, n * net->mid.dim * sizeof(real));
    for (size_t k = 0; k < p->out.count; k++) {
        R(nhk_product_forward)(g, &d->product, k, n, w->message, w->coupling, w->weight, p->n_weight, w->product);
        any = false;
        group_back(d, &b->sep_lin, k, n, w->g_gate_in, w->product, w->g_product, &any);
        group_back(d, &b->sep_alpha, k, n, w->g_scalars, w->product, w->g_product, &any);
        if (!any) nhk_zero(g, w->g_product, n * p->out.group[k].dim * sizeof(real));
        product_back(d, k, n);
    }
}

/* Attention on a tile of edges: gradients of its input e and of its messages, by position. */
static void edges_back(nhk_net *d, const nhk_list *l, size_t first, size_t n)
{
    nhk_run *r = &d->run;
    const nh_net *net = &d->net;
    const nh_block *b = &net->block[r->block];
    const nhk_work *w = &r->w;
    nh_gpu *g = d->gpu;
    const size_t basis = net->config->radial_basis, scalars = net->config->alpha_scalars, width = basis + scalars,
                 mid = net->mid.dim;
    const int *row = nhk_rows(l, first);
    R(nhk_attention)(d, b, l, first, n);
    heads_back(d, b, l, first, n);
    value_back(d, b, n);
    R(nhk_gate_backward)(g, &net->gate_in, &net->mid, net->gate_first, n, w->g_value, w->gate_in, w->g_gate_in);
    chain_back(d, &b->alpha, n, w->g_alpha, w->alpha_in, w->alpha_hidden, w->g_alpha_in);
    R(nhk_columns)(g, n, scalars, w->g_alpha_in, width, basis, w->g_scalars, scalars, 0, nullptr, 0, false);
    message_back(d, b, n);
    chain_back(d, &b->radial, n, w->g_weight, w->gaussians, w->radial_hidden, nullptr);

    R(nhk_rows_store)(g, &net->mid, n, row, 0, w->g_message, nhk_at(l, first, r->g_message, mid));
    R(nhk_rows_load)(g, &net->mid, n, row, 0, nhk_at(l, first, r->edge, mid), w->x);
    R(nhk_norm_forward)(g, &net->mid, n, w->x, d->net.config->norm_eps, b->norm_edge[0], b->norm_edge[1], w->y);
    linear_back(d, &b->pre_edge, n, w->g_message, w->y, w->g_x, false);
    norm_back(d, b->norm_edge, n, w->g_x, w->x, w->g_x);
    R(nhk_rows_store)(g, &net->mid, n, row, 0, w->g_x, nhk_at(l, first, r->g_edge, mid));
}

/* TraceGrad of blocks that are not the last: r->g_edge becomes the gradient of e'. */
static void tracegrad_back(nhk_net *d, const nhk_list *l, size_t first, size_t n)
{
    nhk_run *r = &d->run;
    const nh_net *net = &d->net;
    const nh_block *b = &net->block[r->block];
    const nhk_work *w = &r->w;
    nh_gpu *g = d->gpu;
    const bool second = net->config->tg_scale > 0;
    const size_t z = net->config->tg_z, mid = net->mid.dim;
    const int *row = nhk_rows(l, first);
    R(nhk_rows_load)(g, &net->mid, n, row, 0, nhk_at(l, first, r->raw, mid), w->x);
    R(nhk_rows_load)(g, &net->mid, n, row, 0, nhk_at(l, first, r->g_edge, mid), w->g_x);
    size_t slot = 0, kept = 0;
    if (net->with_trace) kept = R(nhk_tile_slots)(r, l, first, n, &slot) - slot;
    if (kept == n) {
        trace_back(d, b, slot, n, w->g_z);
    } else if (kept > 0) {
        trace_back(d, b, slot, kept, w->z_kept);
        nhk_zero(g, w->g_z, n * z * sizeof(real));
        R(nhk_columns)(g, kept, z, w->z_kept, z, 0, w->g_z, z, 0, r->inside.row + slot, (int)first, true);
    }
    if (second) {
        const real *factors = r->trail[r->block].factor;
        R(nhk_columns)
        (g, n, 1, nhk_at(l, first, const_cast<real *>(factors), 1), 1, 0, w->factor, 1, 0, row, 0, false);
        R(nhk_tracegrad_add_backward)(g, &net->mid, n, w->factor, w->g_x, w->g_y);
    }
    chain_lists lists;
    chain_into(d, &b->invariants, &lists);
    R(nhk_invariants_backward)
    (g, &net->mid, d->pairs_mid, &b->invariants, n, kept > 0 ? w->g_z : nullptr, second ? w->g_y : nullptr, w->x,
     w->invariants_room, w->g_x, true, &lists.g);
    R(nhk_rows_store)(g, &net->mid, n, row, 0, w->g_x, nhk_at(l, first, r->g_edge, mid));
}

/* 3.2: the input map. Tiles of edges in the graph's order. */
static void input_back(nhk_net *d, size_t first, size_t n)
{
    nhk_run *r = &d->run;
    const nh_net *net = &d->net;
    const nhk_work *w = &r->w;
    nh_gpu *g = d->gpu;
    R(nhk_features)(d, first, n);
    R(nhk_rows_load)(g, &net->mid, n, r->place_d + first, 0, r->g_edge, w->g_x);
    linear_back(d, &net->input, n, w->g_x, w->tile, nullptr, false);
}

/* ---- nodes */

static void node_end_back(nhk_net *d, size_t first, size_t n)
{
    nhk_run *r = &d->run;
    const nh_net *net = &d->net;
    const nh_layout *mid = &net->mid, *heads = &net->heads;
    const nh_block *b = &net->block[r->block];
    const nhk_work *w = &r->w;
    nh_gpu *g = d->gpu;
    const size_t at = first * mid->dim, at_heads = first * heads->dim, n_head = net->config->heads;
    R(nhk_rows_load)(g, heads, n, nullptr, 0, r->merged + at_heads, w->heads);
    R(nhk_linear_forward)(g, b->proj.map, n, w->heads, b->proj.weight, b->proj.bias, false, w->x);
    R(nhk_rows_add)(g, mid, n, nullptr, 0, r->normed + at, w->x);
    R(nhk_norm_forward)(g, mid, n, w->x, d->net.config->norm_eps, b->norm_2[0], b->norm_2[1], w->y);
    R(nhk_linear_forward)(g, b->ffn_1.map, n, w->y, b->ffn_1.weight, b->ffn_1.bias, false, w->gate_in);
    R(nhk_gate_forward)(g, &net->gate_in, mid, net->gate_first, n, w->gate_in, w->value);

    R(nhk_rows_load)(g, mid, n, nullptr, 0, r->g_node + at, w->g_x);
    linear_back(d, &b->ffn_2, n, w->g_x, w->value, w->g_value, false);
    R(nhk_gate_backward)(g, &net->gate_in, mid, net->gate_first, n, w->g_value, w->gate_in, w->g_gate_in);
    linear_back(d, &b->ffn_1, n, w->g_gate_in, w->y, w->g_x, true);
    norm_back(d, b->norm_2, n, w->g_x, w->x, w->g_x);
    R(nhk_rows_store)(g, mid, n, nullptr, 0, w->g_x, r->g_normed + at);
    linear_back(d, &b->proj, n, w->g_x, w->heads, w->g_heads, false);
    R(nhk_rows_store)(g, heads, n, nullptr, 0, w->g_heads, r->g_merged + at_heads);
    R(nhk_softmax_merge_backward)
    (g, heads, n_head, n, r->node_part + first, r->g_merged + at_heads, r->part_max, r->part_sum, r->merged + at_heads,
     r->g_max + first * n_head, r->g_total + first * n_head, r->g_dot + first * n_head);
}

/* Sums of the messages' gradients over the edges from the tile's nodes (w->g_message) and to them (w->g_y); `last`: there
 * are messages of the outputs' edges only. */
static void sum_messages(nhk_net *d, size_t first, size_t n, bool last)
{
    nhk_run *r = &d->run;
    const nh_layout *mid = &d->net.mid;
    const int *slot = last ? r->slot_d : nullptr;
    R(nhk_rows_sum)(d->gpu, mid, n, r->outgoing + first, r->from, slot, r->g_message, r->w.g_message);
    R(nhk_rows_sum)(d->gpu, mid, n, r->incoming + first, nullptr, slot, r->g_message, r->w.g_y);
}

static void node_begin_back(nhk_net *d, size_t first, size_t n)
{
    nhk_run *r = &d->run;
    const nh_layout *mid = &d->net.mid;
    const nh_block *b = &d->net.block[r->block];
    const nhk_work *w = &r->w;
    nh_gpu *g = d->gpu;
    const size_t at = first * mid->dim;
    const bool last = r->block + 1 == d->net.config->blocks;
    R(nhk_rows_load)(g, mid, n, nullptr, 0, r->normed + at, w->x);
    if (!last)
        R(nhk_rows_load)(g, mid, n, nullptr, 0, r->g_normed + at, w->g_x);
    else
        nhk_zero(g, w->g_x, n * mid->dim * sizeof(real));
    sum_messages(d, first, n, last);
    R(nhk_linear_forward)(g, b->merge_src.map, n, w->x, b->merge_src.weight, b->merge_src.bias, false, w->value);
    linear_back(d, &b->pre_src, n, w->g_message, w->value, w->g_value, false);
    linear_back(d, &b->merge_src, n, w->g_value, w->x, w->g_x, true);
    R(nhk_linear_forward)(g, b->merge_dst.map, n, w->x, b->merge_dst.weight, nullptr, false, w->value);
    linear_back(d, &b->pre_dst, n, w->g_y, w->value, w->g_value, false);
    linear_back(d, &b->merge_dst, n, w->g_value, w->x, w->g_x, true);
    R(nhk_rows_load)(g, mid, n, nullptr, 0, r->node + at, w->x);
    norm_back(d, b->norm_1, n, w->g_x, w->x, w->g_x);
    R(nhk_rows_store)(g, mid, n, nullptr, 0, w->g_x, r->g_node + at);
}

/* The nodes' parts of the messages in the initial edge features: adds to r->g_node. */
static void init_nodes_back(nhk_net *d, size_t first, size_t n)
{
    nhk_run *r = &d->run;
    const nh_layout *mid = &d->net.mid;
    const nhk_work *w = &r->w;
    const size_t at = first * mid->dim;
    R(nhk_rows_load)(d->gpu, mid, n, nullptr, 0, r->node + at, w->x);
    R(nhk_rows_load)(d->gpu, mid, n, nullptr, 0, r->g_node + at, w->g_x);
    sum_messages(d, first, n, false);
    linear_back(d, &d->net.init_src, n, w->g_message, w->x, w->g_x, true);
    linear_back(d, &d->net.init_dst, n, w->g_y, w->x, w->g_x, true);
    R(nhk_rows_store)(d->gpu, mid, n, nullptr, 0, w->g_x, r->g_node + at);
}

/* OPTIONS.md 2: r->g_edge becomes the gradient of h. */
static void init_edges_back(nhk_net *d, size_t first, size_t n)
{
    nhk_run *r = &d->run;
    const nh_net *net = &d->net;
    const nhk_work *w = &r->w;
    nh_gpu *g = d->gpu;
    const nh_product *p = &net->product;
    const size_t at = first * net->mid.dim;
    R(nhk_init_message)(d, &r->all, first, n);
    R(nhk_rows_load)(g, &net->mid, n, nullptr, 0, r->g_edge + at, w->g_x);
    bool any = false;
    group_back(d, &net->init_lin, SIZE_MAX, n, w->g_x, nullptr, nullptr, &any);
    nhk_zero(g, w->g_message, n * net->mid.dim * sizeof(real));
    for (size_t k = 0; k < p->out.count; k++) {
        R(nhk_product_forward)(g, &d->product, k, n, w->message, w->coupling, w->weight, p->n_weight, w->product);
        any = false;
        group_back(d, &net->init_lin, k, n, w->g_x, w->product, w->g_product, &any);
        if (!any) nhk_zero(g, w->g_product, n * p->out.group[k].dim * sizeof(real));
        product_back(d, k, n);
    }
    chain_back(d, &net->init_radial, n, w->g_weight, w->gaussians, w->radial_hidden, nullptr);
    R(nhk_rows_store)(g, &net->mid, n, nullptr, 0, w->g_message, r->g_message + at);
    linear_back(d, &net->init_edge, n, w->g_message, w->x, w->g_x, true);
    R(nhk_rows_store)(g, &net->mid, n, nullptr, 0, w->g_x, r->g_edge + at);
}

/* n0 = sum of e0 over the on-site edges, each as often as onsite_copies says: `onsite` lists them by node, of which each
 * edge is in one list, so that every edge takes its node's gradient. */
static __global__ void onsite_kernel(unsigned n_node, unsigned dim, real copies, const int *begin, const int *list,
                                     const real *node, real *edge)
{
    NHK_FOR(i, (size_t)n_node * dim)
    {
        const size_t a = i / dim, k = i % dim;
        for (int j = begin[a]; j < begin[a + 1]; j++)
            edge[(size_t)list[j] * dim + k] += copies * node[i];
    }
}

static void begin_nodes_back(nhk_net *d)
{
    nhk_run *r = &d->run;
    const size_t dim = d->net.mid.dim;
    if (!nhk_ready(d->gpu, r->n_node * dim)) return;
    NHK_RUN(d->gpu, onsite_kernel, nhk_grid(d->gpu, r->n_node * dim, NHK_BLOCK), NHK_BLOCK, 0, (unsigned)r->n_node,
            (unsigned)dim, (real)d->net.config->onsite_copies, r->onsite_begin, r->onsite, r->g_node, r->g_edge);
}

/* ---- loops */

static void over_tiles(nhk_net *d, size_t n, void (*body)(nhk_net *, size_t first, size_t n))
{
    const size_t rows = d->run.tile;
    for (size_t first = 0; first < n && !d->gpu->failed; first += rows)
        body(d, first, n - first < rows ? n - first : rows);
}

static void over_list(nhk_net *d, const nhk_list *l, void (*body)(nhk_net *, const nhk_list *, size_t first, size_t n))
{
    const size_t rows = d->run.tile;
    for (size_t first = 0; first < l->n && !d->gpu->failed; first += rows)
        body(d, l, first, l->n - first < rows ? l->n - first : rows);
}

static void block_back(nhk_net *d)
{
    nhk_run *r = &d->run;
    const bool last = r->block + 1 == d->net.config->blocks;
    R(nhk_node_begin)(d); /* n1, p, q of this block again */
    if (!last) {
        if (d->net.block[r->block].has_invariants) over_list(d, R(nhk_tracegrad_list)(d), tracegrad_back);
        over_tiles(d, r->n_node, node_end_back);
    }
    over_list(d, R(nhk_block_list)(d), edges_back);
    over_tiles(d, r->n_node, node_begin_back);
}

void R(nhk_run_backward)(nhk_net *d)
{
    nhk_run *r = &d->run;
    const nh_net *net = &d->net;
    nh_gpu *g = d->gpu;
    nhk_zero(g, r->g_packed, net->n_packed * sizeof(real));
    /* edges that the last block does not see, and nodes after it, change nothing */
    nhk_zero(g, r->g_edge, r->n_edge * net->mid.dim * sizeof(real));
    nhk_zero(g, r->g_node, r->n_node * net->mid.dim * sizeof(real));
    for (size_t k = net->config->blocks; k-- > 0;) {
        R(nhk_enter_block)(d, k);
        block_back(d);
    }
    if (net->config->edge_init == NH_EDGE_INIT_PAPER) {
        R(nhk_init_nodes)(d); /* their parts of m again */
        over_list(d, &r->all, [](nhk_net *e, const nhk_list *, size_t first, size_t n) { init_edges_back(e, first, n); });
        over_tiles(d, r->n_node, init_nodes_back);
    }
    begin_nodes_back(d);
    over_tiles(d, r->n_edge, input_back);
}
