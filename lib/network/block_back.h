/* block_back.h - the way back through a kept pass (included after block.h, for the host and for devices): gradients of the loss
 * with respect to all packed weights, block by block from the last, each in the opposite order of block.h. The tile has, besides,
 * `gradient`: of the packed weights, in their order. */

/* --- differences */

/* What attention made on the tile, or what of it is not on the tape. */
static void attention_again(tile *a);
/* From w->g_heads, which is left in the edges' frames, to w->g_value. */
static void value_back(tile *a);
/* Back through product_part: w->g_product -> gx, gw, both added to; and through map_part. */
static void product_part_back(const tile *a, size_t g, int m, const real *x, const real *weight,
                              size_t stride, real *gx, real *gw);
static void map_part_back(const tile *a, const nh_linear *l, size_t o, int m, const real *gy, const real *x,
                          real *gx, bool add);
/* Through the sums over incoming edges: adds to w->g_alpha and w->g_heads of the edges; what the nodes' part of it needs. */
static void edge_sums_back(const tile *a);
static void node_sums_back(const tile *a);
/* From w->g_weight to the radial network's weights, or to what it is collected in until all edges have been seen. */
static void radial_back(const tile *a, const nh_chain *radial);
static void end_radial_back(run *r);
/* The gradient of the outputs before their damping, in w->e3nn and w->g_trace. */
static void seeds(tile *a);
/* Sums of the gradients of the messages from the tile's nodes (w->g_message) and to them (w->g_y). In the last block, there
 * are messages of the edges with a slot only. */
static void sum_messages(const tile *a, bool last);
static void begin_nodes_back(run *r);

/* --- parameters */

/* Where the gradient of a packed weight goes. */
static real *into(const tile *a, const real *weight)
{
    return weight != NULL ? a->gradient + (weight - a->net->packed) : NULL;
}

/* Where those of a chain go. */
typedef struct chain_lists {
    real *weight[NH_MOST_LAYERS], *bias[NH_MOST_LAYERS], *gain[NH_MOST_LAYERS], *shift[NH_MOST_LAYERS];
    R(nh_mlp_gradient) g;
} chain_lists;

static void chain_into(const tile *a, const nh_chain *m, chain_lists *l)
{
    l->g.weight = l->weight;
    l->g.bias = l->bias;
    l->g.gain = m->gain != NULL ? l->gain : NULL;
    l->g.shift = m->gain != NULL ? l->shift : NULL;
    for (size_t i = 0; i < m->layers; i++) {
        l->weight[i] = into(a, m->weight[i]);
        l->bias[i] = into(a, m->bias[i]);
        if (m->gain == NULL || i + 1 == m->layers) continue;
        l->gain[i] = into(a, m->gain[i]);
        l->shift[i] = into(a, m->shift[i]);
    }
}

static void chain_back(const tile *a, const nh_chain *m, const real *gy, const real *x, const real *hidden,
                       real *gx)
{
    chain_lists l;
    chain_into(a, m, &l);
    OP(mlp_backward)(ON m, a->n, gy, x, hidden, a->w->chain_room, gx, false, &l.g);
}

static void linear_back(const tile *a, const nh_linear *l, size_t n, const real *gy, const real *x, real *gx,
                        bool add)
{
    OP(linear_backward)(ON l->map, n, gy, x, l->weight, gx, add, into(a, l->weight), into(a, l->bias));
}

static void norm_back(const tile *a, real *const gain_shift[2], const real *gy, const real *x, real *gx)
{
    OP(norm_backward)(ON & a->net->mid, a->n, gy, x, a->net->config->norm_eps, gain_shift[0], gx, false,
                      into(a, gain_shift[0]), into(a, gain_shift[1]));
}

/* The groups of l's output that group `group` feeds, of its part m; whether gx has been written: `any`, or now. */
static bool apply_back(const tile *a, const nh_linear *l, size_t group, int m, const real *gy, const real *x,
                       real *gx, bool any)
{
    for (size_t o = 0; o < l->map->out.count; o++) {
        if (l->map->block[o].in != group) continue;
        map_part_back(a, l, o, m, gy + a->n * l->map->out.group[o].offset, x, gx, any);
        any = true;
    }
    return any;
}

/* --- edges: outputs and TraceGrad */

/* Gradient of z of the slots slot.. (n of them) from that of the trace head's first sums. */
static void trace_back(const tile *a, size_t slot, size_t n, real *g_z)
{
    const nh_net *net = a->net;
    const nh_state *s = a->s;
    const size_t z = net->config->tg_z, width = net->trace_width;
    OP(dense_backward)(WITH(net->method) n, z, width, s->back.trace + slot * width,
                       s->saved[s->block].z + slot * z, a->b->trace_first, g_z, false,
                       into(a, a->b->trace_first), NULL);
}

/* The trace head: gradient of the last block's z, in w->g_z. */
static void trace_head_back(const tile *a)
{
    const nh_net *net = a->net;
    const nh_work *w = a->w;
    const size_t n = a->n, width = net->trace_width;
    const real *sums = a->s->trace + a->slot * width;
    real *g_sums = a->s->back.trace + a->slot * width;
    COPY(w->trace_in, sums, n * width);
    OP(silu_forward)(ON n * width, w->trace_in);
    OP(mlp_forward)(ON & net->trace, n, w->trace_in, w->trace_hidden, NULL, false);
    chain_back(a, &net->trace, w->g_trace, w->trace_in, w->trace_hidden, g_sums);
    OP(silu_backward)(ON n * width, sums, g_sums);
    OP(column_sums)(ON n, width, width, g_sums, NULL, into(a, net->trace_bias));
    trace_back(a, a->slot, n, w->g_z);
}

/* f (w->x) and o (w->lifted) of the last block again, o in w->result. */
static void last_again(const tile *a)
{
    const nh_net *net = a->net;
    const nh_layout *mid = &net->mid;
    const nh_work *w = a->w;
    OP(take_channels)(ON & net->map_post.out, &net->last, a->n, w->result, w->x);
    if (!net->config->lift) return;
    OP(rows_load)(ON mid, a->n, ALL, a->s->saved[a->s->block].lifted + a->slot * mid->dim, w->lifted);
    OP(put_channels)(ON & net->map_post.out, &net->last, a->n, w->lifted, false, w->result);
}

/* The products f x o: from w->g_tile, adds to the gradients of o (w->g_x), and writes those of f as their first factor
 * (w->g_first). */
static void lift_back(const tile *a)
{
    const nh_net *net = a->net;
    const nh_work *w = a->w;
    ZERO(w->g_first, a->n * net->mid.dim);
    for (size_t g = 0; g < net->lift.out.count; g++) {
        OP(lift_forward)(ON LIFT(a), g, a->n, w->x, w->lifted, net->lift_weight, w->lift);
        if (!apply_back(a, &net->lift_out, g, 0, w->g_tile, w->lift, w->g_lift, false)) continue;
        OP(lift_backward)(ON LIFT(a), g, a->n, w->g_lift, w->x, w->lifted, net->lift_weight, w->g_first,
                          w->g_x, into(a, net->lift_weight));
    }
}

/* TraceGrad of the last block and the lift: w->g_result, the gradient of what the outputs are made of, becomes that of e'. */
static void last_back(const tile *a)
{
    const nh_net *net = a->net;
    const nh_layout *mid = &net->mid, *post = &net->map_post.out, *last = &net->last;
    const nh_work *w = a->w;
    const bool has_lift = net->config->lift, second = has_lift && net->config->tg_scale > 0;
    if (has_lift) {
        OP(take_channels)(ON post, last, a->n, w->g_result, w->g_x);
        lift_back(a);
        if (second)
            OP(tracegrad_add_backward)(ON mid, a->n, a->s->saved[a->s->block].factor + a->slot, w->g_x,
                                       w->g_y);
        OP(axpy)(ON a->n * mid->dim, w->g_x, 1, w->g_first, w->g_x);
    }
    if (a->b->has_invariants) {
        chain_lists l;
        chain_into(a, &a->b->invariants, &l);
        OP(invariants_backward)(ON PAIRS(a, last), &a->b->invariants, a->n, net->with_trace ? w->g_z : NULL,
                                second ? w->g_y : NULL, w->x, w->invariants_room, w->g_x, has_lift, &l.g);
    }
    OP(put_channels)(ON post, last, a->n, w->g_x, !has_lift, w->g_result);
}

/* From the gradient of the outputs to that of e' of type POST (w->g_result); e' is in w->result. */
static void output_back(tile *a)
{
    const nh_net *net = a->net;
    const nh_work *w = a->w;
    seeds(a);
    OP(from_e3nn)(ON TO_E3NN(a), a->n, w->e3nn, w->g_tile);
    last_again(a);
    linear_back(a, &net->output, a->n, w->g_tile, w->result, w->g_result, false);
    SPENT(a, output);
    if (net->with_trace) trace_head_back(a);
    if (a->b->has_invariants || net->config->lift) last_back(a);
    SPENT(a, tracegrad);
}

/* TraceGrad of blocks that are not the last: s->back.edge becomes the gradient of e'. */
static void tracegrad_back(tile *a)
{
    const nh_net *net = a->net;
    const nh_layout *mid = &net->mid;
    const nh_state *s = a->s;
    const nh_work *w = a->w;
    const bool second = net->config->tg_scale > 0;
    const size_t n = a->n, z = net->config->tg_z;
    chain_lists l;
    OP(rows_load)(ON mid, n, ROWS(a->row), at(a, s->raw, mid->dim), w->x);
    OP(rows_load)(ON mid, n, ROWS(a->row), at(a, s->back.edge, mid->dim), w->g_x);
    if (net->with_trace)
        choose(a, false);
    else
        a->kept = 0;
    if (a->kept > 0) trace_back(a, a->slot, a->kept, a->kept == n ? w->g_z : w->z_kept);
    if (a->kept > 0 && a->kept < n) {
        ZERO(w->g_z, n * z);
        OP(columns)(ON a->kept, z, w->z_kept, z, 0, w->g_z, z, 0, PICKED(a), true);
    }
    if (second) {
        OP(columns)(ON n, 1, at(a, s->saved[s->block].factor, 1), 1, 0, w->factor, 1, 0, ROWS(a->row), false);
        OP(tracegrad_add_backward)(ON mid, n, w->factor, w->g_x, w->g_y);
    }
    chain_into(a, &a->b->invariants, &l);
    OP(invariants_backward)(ON PAIRS(a, mid), &a->b->invariants, n, a->kept > 0 ? w->g_z : NULL,
                            second ? w->g_y : NULL, w->x, w->invariants_room, w->g_x, true, &l.g);
    OP(rows_store)(ON mid, n, ROWS(a->row), w->g_x, at(a, s->back.edge, mid->dim));
    SPENT(a, tracegrad);
}

/* --- edges: attention */

/* Gradients of v and A from those of e' and of the nodes' sums. */
static void heads_back(tile *a)
{
    const nh_net *net = a->net;
    const nh_linear *l = &a->b->edge_proj;
    const nh_layout *type = &l->map->out, *layout = &net->heads;
    const nh_work *w = a->w;
    const size_t heads = net->config->heads;
    const bool last = last_block(a);
    choose_updated(a);
    if (a->kept > 0) {
        weigh_heads(a);
        SPENT(a, attention);
        if (last) {
            linear(a, l, a->kept, w->weighted, false, w->result);
            SPENT(a, linear);
            output_back(a);
        } else {
            OP(rows_load)(ON type, a->kept, ROWS(a->kept_row), kept_at(a, a->s->back.edge, type->dim),
                          w->g_result);
        }
        linear_back(a, l, a->kept, w->g_result, w->weighted, w->g_weighted, false);
        SPENT(a, linear);
    }
    OP(heads_backward)(ON layout, heads, a->n, a->kept, PICKED(a), w->g_weighted, w->alpha, w->heads,
                       w->g_alpha, w->g_heads, false);
    if (!last) edge_sums_back(a);
    SPENT(a, attention);
}

/* Back through product(): adds to gx, and to gw where all edges share the weights; else writes it. */
static void product_back(const tile *a, size_t n_reader, const reader *to, const real *x, const real *weight,
                         size_t stride, real *gx, real *gw)
{
    const nh_layout *out = &a->net->product.out;
    const nh_work *w = a->w;
    for (size_t k = 0; k < n_reader; k++)
        apply_back(a, to[k].map, SIZE_MAX, 0, to[k].y, NULL, NULL, false);
    ZERO(gx, a->n * a->net->mid.dim);
    ZERO(gw, a->n * stride);
    for (size_t g = 0; g < out->count; g++)
        for (int m = 0; m < parts(a, g); m++) {
            bool any = false;
            product_part(a, g, m, x, weight, stride);
            SPENT(a, product);
            for (size_t k = 0; k < n_reader; k++)
                any = apply_back(a, to[k].map, g, m, to[k].y, w->product, w->g_product, any);
            if (!any) ZERO(w->g_product, a->n * out->group[g].dim);
            SPENT(a, linear);
            product_part_back(a, g, m, x, weight, stride, gx, gw);
            SPENT(a, product);
        }
}

/* value_back(), group by group of the product */
static void value_back_by_groups(const tile *a)
{
    const reader to = {&a->b->value_lin, a->w->g_heads};
    product_back(a, 1, &to, a->w->value, a->b->value_weight, 0, a->w->g_value, into(a, a->b->value_weight));
}

/* t = DTP(m), its scalars and gates: from w->g_gate_in and w->g_scalars to w->g_message and w->g_weight. */
static void message_back(const tile *a)
{
    const nh_block *b = a->b;
    const nh_work *w = a->w;
    const reader to[] = {{&b->sep_lin, w->g_gate_in}, {&b->sep_alpha, w->g_scalars}};
    product_back(a, 2, to, w->message, w->weight, a->net->product.n_weight, w->g_message, w->g_weight);
    out_of_frame(a, &a->net->mid, w->g_message);
    SPENT(a, product);
}

/* Attention on a tile of edges: gradients of its input e and of its messages, by position. */
static void edges_back(tile *a)
{
    const nh_net *net = a->net;
    const nh_layout *mid = &net->mid;
    const nh_block *b = a->b;
    const nh_state *s = a->s;
    const size_t n = a->n, basis = net->config->radial_basis, scalars = net->config->alpha_scalars,
                 width = basis + scalars;
    const nh_work *w;
    place_activations(a);
    w = a->w;
    attention_again(a);
    heads_back(a);
    value_back(a);
    OP(gate_backward)(ON & net->gate_in, mid, net->gate_first, n, w->g_value, w->gate_in, w->g_gate_in);
    chain_back(a, &b->alpha, w->g_alpha, w->alpha_in, w->alpha_hidden, w->g_alpha_in);
    OP(columns)(ON n, scalars, w->g_alpha_in, width, basis, w->g_scalars, scalars, 0, ALL, false);
    SPENT(a, attention);
    message_back(a);
    radial_back(a, &b->radial);
    SPENT(a, radial);

    OP(rows_store)(ON mid, n, ROWS(a->row), w->g_message, at(a, s->back.message, mid->dim));
    OP(rows_load)(ON mid, n, ROWS(a->row), at(a, s->edge, mid->dim), w->x);
    norm(a, b->norm_edge, w->x, w->y);
    linear_back(a, &b->pre_edge, n, w->g_message, w->y, w->g_x, false);
    norm_back(a, b->norm_edge, w->g_x, w->x, w->g_x);
    OP(rows_store)(ON mid, n, ROWS(a->row), w->g_x, at(a, s->back.edge, mid->dim));
    SPENT(a, linear);
}

/* OPTIONS.md 2: s->back.edge becomes the gradient of h. Inner activations are always made again. */
static void init_edges_back(tile *a)
{
    const nh_net *net = a->net;
    const nh_layout *mid = &net->mid;
    const nh_state *s = a->s;
    const nh_work *w = a->w;
    init_message(a);
    OP(rows_load)(ON mid, a->n, ROWS(a->row), at(a, s->back.edge, mid->dim), w->g_x);
    COPY(w->g_value, w->g_x, a->n * mid->dim);
    into_frame(a, mid, w->g_value);
    const reader to = {&net->init_lin, w->g_value};
    product_back(a, 1, &to, w->message, w->weight, net->product.n_weight, w->g_message, w->g_weight);
    out_of_frame(a, mid, w->g_message);
    SPENT(a, product);
    radial_back(a, &net->init_radial);
    SPENT(a, radial);
    OP(rows_store)(ON mid, a->n, ROWS(a->row), w->g_message, at(a, s->back.message, mid->dim));
    linear_back(a, &net->init_edge, a->n, w->g_message, w->x, w->g_x, true);
    OP(rows_store)(ON mid, a->n, ROWS(a->row), w->g_x, at(a, s->back.edge, mid->dim));
    SPENT(a, input);
}

/* 3.2: the input map. Tiles of edges in the graph's order. */
static void input_back(tile *a)
{
    const nh_layout *mid = &a->net->mid;
    features(a);
    OP(rows_load)(ON mid, a->n, ROWS(a->row), a->s->back.edge, a->w->g_x);
    linear_back(a, &a->net->input, a->n, a->w->g_x, a->w->tile, NULL, false);
    SPENT(a, input);
}

/* --- nodes */

/* n' = FFN(n2) + n2, n2 = EQLN(a + n1), a = proj(sums): from s->back.node to the gradients of n1 (through this residual) and of
 * the sums, and what the softmax needs. */
static void node_end_back(tile *a)
{
    const nh_net *net = a->net;
    const nh_layout *mid = &net->mid, *heads = &net->heads;
    const nh_block *b = a->b;
    const nh_state *s = a->s;
    const nh_work *w = a->w;
    const size_t n = a->n, begin = a->first * mid->dim, begin_heads = a->first * heads->dim;
    OP(rows_load)(ON heads, n, ALL, s->merged + begin_heads, w->heads);
    node_attention(a, w->y);

    OP(rows_load)(ON mid, n, ALL, s->back.node + begin, w->g_x);
    linear_back(a, &b->ffn_2, n, w->g_x, w->value, w->g_value, false);
    OP(gate_backward)(ON & net->gate_in, mid, net->gate_first, n, w->g_value, w->gate_in, w->g_gate_in);
    linear_back(a, &b->ffn_1, n, w->g_gate_in, w->y, w->g_x, true);
    norm_back(a, b->norm_2, w->g_x, w->x, w->g_x);
    OP(rows_store)(ON mid, n, ALL, w->g_x, s->back.normed + begin);
    linear_back(a, &b->proj, n, w->g_x, w->heads, w->g_heads, false);
    OP(rows_store)(ON heads, n, ALL, w->g_heads, s->back.merged + begin_heads);
    node_sums_back(a);
    SPENT(a, node);
}

/* n1 = EQLN(n) and its parts of the messages: s->back.node becomes the gradient of the block's input. */
static void node_begin_back(tile *a)
{
    const nh_layout *mid = &a->net->mid;
    const nh_block *b = a->b;
    const nh_state *s = a->s;
    const nh_work *w = a->w;
    const size_t n = a->n, begin = a->first * mid->dim;
    const bool last = last_block(a);
    OP(rows_load)(ON mid, n, ALL, s->normed + begin, w->x);
    if (!last)
        OP(rows_load)(ON mid, n, ALL, s->back.normed + begin, w->g_x);
    else
        ZERO(w->g_x, n * mid->dim);
    sum_messages(a, last);
    linear(a, &b->merge_src, n, w->x, false, w->value);
    linear_back(a, &b->pre_src, n, w->g_message, w->value, w->g_value, false);
    linear_back(a, &b->merge_src, n, w->g_value, w->x, w->g_x, true);
    linear(a, &b->merge_dst, n, w->x, false, w->value);
    linear_back(a, &b->pre_dst, n, w->g_y, w->value, w->g_value, false);
    linear_back(a, &b->merge_dst, n, w->g_value, w->x, w->g_x, true);
    OP(rows_load)(ON mid, n, ALL, s->node + begin, w->x);
    norm_back(a, b->norm_1, w->g_x, w->x, w->g_x);
    OP(rows_store)(ON mid, n, ALL, w->g_x, s->back.node + begin);
    SPENT(a, node);
}

/* The nodes' parts of the messages in the initial edge features: adds to s->back.node. */
static void init_nodes_back(tile *a)
{
    const nh_layout *mid = &a->net->mid;
    const nh_state *s = a->s;
    const nh_work *w = a->w;
    const size_t n = a->n, begin = a->first * mid->dim;
    OP(rows_load)(ON mid, n, ALL, s->node + begin, w->x);
    OP(rows_load)(ON mid, n, ALL, s->back.node + begin, w->g_x);
    sum_messages(a, false);
    linear_back(a, &a->net->init_src, n, w->g_message, w->x, w->g_x, true);
    linear_back(a, &a->net->init_dst, n, w->g_y, w->x, w->g_x, true);
    OP(rows_store)(ON mid, n, ALL, w->g_x, s->back.node + begin);
    SPENT(a, node);
}

/* --- a block and all of them */

static void block_back(run *r)
{
    const nh_block *b = &r->net->block[r->s.block];
    const bool last = r->s.block + 1 == r->net->config->blocks;
    over_nodes(r, node_begin); /* n1, p, q of this block again */
    if (!last) {
        if (b->has_invariants) over_edges(r, tracegrad_all(r), tracegrad_back);
        over_nodes(r, node_end_back);
    }
    begin_radial(r, &b->radial, !last);
    over_edges(r, !last, edges_back);
    end_radial_back(r);
    over_nodes(r, node_begin_back);
}

/* From zeros in s->back.edge and .node: edges that the last block does not see, and nodes after it, change nothing. */
static void backward(run *r)
{
    for (size_t k = r->net->config->blocks; k-- > 0;) {
        enter_block(r, k);
        block_back(r);
    }
    if (r->net->config->edge_init == NH_EDGE_INIT_PAPER) {
        over_nodes(r, init_nodes); /* their parts of m again */
        begin_radial(r, &r->net->init_radial, true);
        over_edges(r, true, init_edges_back);
        end_radial_back(r);
        over_nodes(r, init_nodes_back);
    }
    begin_nodes_back(r);
    over_input(r, input_back);
}
