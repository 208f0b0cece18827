/* block.h - the network on a tile of rows, forward (docs/network.md 3.2 to 3.6, OPTIONS.md): one text for the host (host.c) and for
 * devices (kernels/network.cu). block_back.h is the way back.
 *
 * Who includes it says where the operations run:
 *
 *   OP(name), ON, WITH(m)  the operation nh_name or nhk_name of this precision; what stands before its arguments: nothing, or
 *                          the device and a comma; of a dense layer, which the host is told the method m
 *   ROWS(list)             row numbers of stored rows as the row operations take them, ALL: rows 0, 1, ..
 *   PICKED(a)              the rows of tile a that choose() chose
 *   PAIRS(a, layout), LIFT(a), TO_E3NN(a)   a layout for pairs, the lift, the outputs' layout, with a device's tables
 *   COPY(to, from, n), ZERO(to, n)          of numbers
 *   SPENT(a, part)         adds the time since the last mark to nh_network_times.part
 *
 * and these types:
 *
 *   run    a pass: state s, net
 *   tile   rows of it, and what belongs to them: n rows from `first` of a list; row[n], where they are stored (NULL: at
 *          first, first + 1, ..); src[n], dst[n], their nodes; net, s, block b, buffers w; probe (NULL: none); slot of the
 *          first row that has one; kept rows that choose() chose, and where those are stored, kept_row[kept] (NULL: as row)
 *
 * and the functions that are declared here without a body: what the host and devices do differently. */

/* --- differences */

/* Loops: body for all tiles of nodes; of edges, all or those with a slot; of edges in the graph's order. */
typedef void tile_body(tile *a);
static void over_nodes(run *r, tile_body *body);
static void over_edges(run *r, bool all, tile_body *body);
static void over_input(run *r, tile_body *body);
/* Features of the tile's edges, in w->tile. */
static void features(tile *a);
/* 3.2: n0 = sum of e0 over the on-site edges, each as often as onsite_copies says. */
static void begin_nodes(run *r);
/* Before a loop over edges: radial weights, where they are not made edge by edge. */
static void begin_radial(run *r, const nh_chain *radial, bool all);
/* Geometry of the tile's edges: Gaussians, the product's weights, rotations into the edges' frames or matrices of the
 * harmonics. */
static void geometry(tile *a, const nh_chain *radial);
/* Where the buffers of attention are. */
static void place_activations(tile *a);
/* Features into the frames of the edges and out of them, in place; nothing where products are not made there. */
static void into_frame(const tile *a, const nh_layout *layout, real *x);
static void out_of_frame(const tile *a, const nh_layout *layout, real *x);
/* Parts that group g of the product is made in; one of them, of x, to w->product; and group o of a map after it. */
static int parts(const tile *a, size_t g);
static void product_part(const tile *a, size_t g, int m, const real *x, const real *weight, size_t stride);
static void map_part(const tile *a, const nh_linear *l, size_t o, int m, const real *x, real *y);
/* v = LIN(DTP(gated)) from w->value to w->heads, out of the frames. */
static void value(tile *a);
/* Chooses the tile's rows that have a slot, or every one: kept, slot, kept_row, PICKED. */
static void choose(tile *a, bool every);
/* Sums over incoming edges: partial results of a tile of edges; their sums in w->heads for a tile of nodes. */
static void edge_sums(tile *a);
static void node_sums(tile *a);
/* Answers with w->e3nn, damped, and w->trace. */
static void answer(tile *a);
/* Copies x to a probe's array, if that is not NULL: in e3nn order, or with layout NULL as it is, `width` numbers a row. */
static void show(const tile *a, const nh_layout *layout, size_t width, const real *x, real *out);
/* The probe's w->factor. */
static void given_factor(const tile *a);

/* --- nodes */

static real *at(const tile *a, real *array, size_t width)
{
    return a->row != NULL ? array : array + a->first * width;
}

static real *kept_at(const tile *a, real *array, size_t width)
{
    return a->kept_row != NULL ? array : array + a->first * width;
}

/* The probe's array of the block in progress. */
static real *of_block(const tile *a, real **list)
{
    return list != NULL ? list[a->s->block] : NULL;
}

static bool last_block(const tile *a)
{
    return a->s->block + 1 == a->net->config->blocks;
}

static void linear(const tile *a, const nh_linear *l, size_t n, const real *x, bool add, real *y)
{
    (void)a; /* the device's */
    OP(linear_forward)(ON l->map, n, x, l->weight, l->bias, add, y);
}

static void norm(const tile *a, real *const gain_shift[2], const real *x, real *y)
{
    OP(norm_forward)(ON & a->net->mid, a->n, x, a->net->config->norm_eps, gain_shift[0], gain_shift[1], y);
}

/* The nodes' parts of the messages in the initial edge features (OPTIONS.md 2). */
static void init_nodes(tile *a)
{
    const nh_layout *mid = &a->net->mid;
    const nh_state *s = a->s;
    const nh_work *w = a->w;
    const size_t begin = a->first * mid->dim;
    OP(rows_load)(ON mid, a->n, ALL, s->node + begin, w->x);
    linear(a, &a->net->init_src, a->n, w->x, false, w->y);
    OP(rows_store)(ON mid, a->n, ALL, w->y, s->p + begin);
    linear(a, &a->net->init_dst, a->n, w->x, false, w->y);
    OP(rows_store)(ON mid, a->n, ALL, w->y, s->q + begin);
    SPENT(a, node);
}

/* n1 = EQLN(n), and its parts of the messages: pre_lin's blocks for p and q follow merge_src and merge_dst here, on nodes. */
static void node_begin(tile *a)
{
    const nh_layout *mid = &a->net->mid;
    const nh_block *b = a->b;
    const nh_state *s = a->s;
    const nh_work *w = a->w;
    const size_t n = a->n, begin = a->first * mid->dim;
    OP(rows_load)(ON mid, n, ALL, s->node + begin, w->x);
    norm(a, b->norm_1, w->x, w->x);
    OP(rows_store)(ON mid, n, ALL, w->x, s->normed + begin);
    linear(a, &b->merge_src, n, w->x, false, w->value);
    linear(a, &b->pre_src, n, w->value, false, w->y);
    OP(rows_store)(ON mid, n, ALL, w->y, s->p + begin);
    linear(a, &b->merge_dst, n, w->x, false, w->value);
    linear(a, &b->pre_dst, n, w->value, false, w->y);
    OP(rows_store)(ON mid, n, ALL, w->y, s->q + begin);
    SPENT(a, node);
}

/* a = proj(sum over incoming edges), and n2 = EQLN(a + n1) to `to`; a + n1 stays in w->x. */
static void node_attention(tile *a, real *to)
{
    const nh_layout *mid = &a->net->mid;
    const nh_work *w = a->w;
    linear(a, &a->b->proj, a->n, w->heads, false, w->x);
    OP(rows_add)(ON mid, a->n, ALL, a->s->normed + a->first * mid->dim, w->x);
    norm(a, a->b->norm_2, w->x, to);
    linear(a, &a->b->ffn_1, a->n, to, false, w->gate_in);
    OP(gate_forward)(ON & a->net->gate_in, mid, a->net->gate_first, a->n, w->gate_in, w->value);
}

/* n' = FFN(n2) + n2 */
static void node_end(tile *a)
{
    const nh_layout *mid = &a->net->mid;
    const nh_work *w = a->w;
    node_sums(a);
    node_attention(a, w->x);
    linear(a, &a->b->ffn_2, a->n, w->value, true, w->x);
    OP(rows_store)(ON mid, a->n, ALL, w->x, a->s->node_next + a->first * mid->dim);
    if (a->probe != NULL) show(a, mid, mid->dim, w->x, of_block(a, a->probe->node));
    SPENT(a, node);
}

/* --- edges: initial features */

/* 3.2: input features -> e0 (with edge_init: paper, h of OPTIONS.md 2). Tiles of edges in the graph's order. */
static void input(tile *a)
{
    const nh_net *net = a->net;
    const nh_layout *mid = &net->mid;
    const nh_work *w = a->w;
    features(a);
    linear(a, &net->input, a->n, w->tile, false, w->x);
    OP(rows_store)(ON mid, a->n, ROWS(a->row), w->x, a->s->first);
    if (a->probe != NULL && net->config->edge_init == NH_EDGE_INIT_LINEAR)
        show(a, mid, mid->dim, w->x, a->probe->edge_init);
    SPENT(a, input);
}

/* Maps that read a product, and what they make, or on the way back its gradient. */
typedef struct reader {
    const nh_linear *map;
    real *y;
} reader;

/* The groups of l's output that group `group` of the product feeds (SIZE_MAX: that nothing feeds), of its part m. */
static void apply(const tile *a, const nh_linear *l, size_t group, int m, const real *x, real *y)
{
    for (size_t o = 0; o < l->map->out.count; o++)
        if (l->map->block[o].in == group) map_part(a, l, o, m, x, y + a->n * l->map->out.group[o].offset);
}

/* DTP(x) and the maps after it; stride: as in nh_product_forward. x and what the maps make are in the edges' frames. */
static void product(const tile *a, size_t n_reader, const reader *to, const real *x, const real *weight,
                    size_t stride)
{
    for (size_t k = 0; k < n_reader; k++)
        apply(a, to[k].map, SIZE_MAX, 0, NULL, to[k].y);
    SPENT(a, linear);
    for (size_t g = 0; g < a->net->product.out.count; g++)
        for (int m = 0; m < parts(a, g); m++) {
            product_part(a, g, m, x, weight, stride);
            SPENT(a, product);
            for (size_t k = 0; k < n_reader; k++)
                apply(a, to[k].map, g, m, a->w->product, to[k].y);
            SPENT(a, linear);
        }
}

/* m = l(w->x) + p of the source + q of the destination */
static void message(const tile *a, const nh_linear *l)
{
    const nh_layout *mid = &a->net->mid;
    const nh_work *w = a->w;
    linear(a, l, a->n, w->x, false, w->message);
    OP(rows_add)(ON mid, a->n, ROWS(a->src), a->s->p, w->message);
    OP(rows_add)(ON mid, a->n, ROWS(a->dst), a->s->q, w->message);
    SPENT(a, linear);
}

/* m of the initial edge features; h in w->x. */
static void init_message(tile *a)
{
    const nh_layout *mid = &a->net->mid;
    geometry(a, &a->net->init_radial);
    SPENT(a, radial);
    OP(rows_load)(ON mid, a->n, ROWS(a->row), at(a, a->s->first, mid->dim), a->w->x);
    message(a, &a->net->init_edge);
    into_frame(a, mid, a->w->message);
}

/* OPTIONS.md 2: e0 = h + LIN(DTP(m)). */
static void init_edges(tile *a)
{
    const nh_net *net = a->net;
    const nh_layout *mid = &net->mid;
    const nh_work *w = a->w;
    init_message(a);
    const reader to = {&net->init_lin, w->value};
    product(a, 1, &to, w->message, w->weight, net->product.n_weight);
    out_of_frame(a, mid, w->value);
    OP(axpy)(ON a->n * mid->dim, w->x, 1, w->value, w->x);
    OP(rows_store)(ON mid, a->n, ROWS(a->row), w->x, at(a, a->s->edge, mid->dim));
    if (a->probe != NULL) show(a, mid, mid->dim, w->x, a->probe->edge_init);
    SPENT(a, input);
}

/* --- edges: attention */

/* A = lin_alpha([g(r), c]) */
static void scores(const tile *a)
{
    const size_t n = a->n, basis = a->net->config->radial_basis, scalars = a->net->config->alpha_scalars,
                 width = basis + scalars;
    const nh_work *w = a->w;
    OP(columns)(ON n, basis, w->gaussians, basis, 0, w->alpha_in, width, 0, ALL, false);
    OP(columns)(ON n, scalars, w->scalars, scalars, 0, w->alpha_in, width, basis, ALL, false);
    OP(mlp_forward)(ON & a->b->alpha, n, w->alpha_in, w->alpha_hidden, w->alpha, false);
}

/* value(), group by group of the product */
static void value_by_groups(const tile *a)
{
    const reader to = {&a->b->value_lin, a->w->heads};
    product(a, 1, &to, a->w->value, a->b->value_weight, 0);
}

/* v in w->heads and A in w->alpha. What lies between, m to the gated features, stays in the edges' frames. */
static void attention(tile *a)
{
    const nh_net *net = a->net;
    const nh_layout *mid = &net->mid;
    const nh_block *b = a->b;
    const nh_work *w = a->w;
    geometry(a, &b->radial);
    SPENT(a, radial);
    OP(rows_load)(ON mid, a->n, ROWS(a->row), at(a, a->s->edge, mid->dim), w->x);
    norm(a, b->norm_edge, w->x, w->x);
    message(a, &b->pre_edge);
    into_frame(a, mid, w->message);
    const reader to[] = {{&b->sep_lin, w->gate_in}, {&b->sep_alpha, w->scalars}};
    product(a, 2, to, w->message, w->weight, net->product.n_weight);
    scores(a);
    OP(gate_forward)(ON & net->gate_in, mid, net->gate_first, a->n, w->gate_in, w->value);
    SPENT(a, attention);
    value(a);
}

/* (A . v) of the rows that choose() chose, in w->weighted */
static void weigh_heads(const tile *a)
{
    OP(heads_forward)(ON & a->net->heads, a->net->config->heads, a->n, a->kept, PICKED(a), a->w->alpha,
                      a->w->heads, a->w->weighted);
}

/* Rows that e' is needed of: on the edge side of the block before the last, those inside the range only. */
static void choose_updated(tile *a)
{
    choose(a, a->s->all || a->s->block + 2 != a->net->config->blocks);
}

/* --- edges: TraceGrad */

/* The hidden layers of TraceGrad's chain, z of the rows that have a slot added to the trace head's first layer, and y where it
 * is wanted. */
static void invariants(tile *a, const nh_layout *layout, const real *x, bool gradient)
{
    const nh_net *net = a->net;
    const nh_state *s = a->s;
    const nh_work *w = a->w;
    const nh_chain *m = &a->b->invariants;
    const size_t n = a->n, z = m->width[4], width = net->trace_width;
    real *shown = a->probe != NULL ? of_block(a, a->probe->z) : NULL;
    OP(pairs_forward)(ON PAIRS(a, layout), n, x, w->pairs);
    OP(mlp_forward)(ON m, n, w->pairs, w->hidden, NULL, false);
    if (net->with_trace || shown != NULL) {
        const real *last = OP(mlp_last_hidden)(m, n, w->hidden);
        choose(a, false);
        if (a->kept < n) {
            OP(columns)(ON a->kept, z, last, z, 0, w->z_kept, z, 0, PICKED(a), false);
            last = w->z_kept;
        }
        OP(dense_forward)(WITH(m->method) a->kept, z, z, last, m->weight[3], m->bias[3], false, w->z);
        show(a, NULL, z, w->z, shown);
    }
    if (net->with_trace && a->kept > 0) {
        OP(dense_forward)(WITH(m->method) a->kept, z, width, w->z, a->b->trace_first, NULL, true,
                          s->trace + a->slot * width);
        if (s->keep) COPY(s->saved[s->block].z + a->slot * z, w->z, a->kept * z);
    }
    if (!gradient) return;
    OP(fill_rows)(ON n, z, a->b->seed, false, w->gradient);
    OP(mlp_input_gradient)(ON m, n, w->gradient, w->hidden, w->scratch, w->pairs_gradient);
    OP(pairs_backward)(ON layout, n, w->pairs_gradient, x, w->y, false);
}

/* f += k y; k is kept, row by row of `row` (NULL: in order), at `factors`. */
static void add_gradient(const tile *a, real *factors, bool in_order, real *f)
{
    const nh_layout *mid = &a->net->mid;
    const nh_work *w = a->w;
    if (a->probe != NULL) show(a, mid, mid->dim, w->y, of_block(a, a->probe->y));
    OP(tracegrad_factor_forward)(ON mid, a->n, a->net->config->tg_scale, f, w->y, w->factor);
    if (a->probe != NULL && a->probe->factor != NULL) given_factor(a);
    if (a->s->keep && in_order)
        COPY(factors, w->factor, a->n);
    else if (a->s->keep)
        OP(columns)(ON a->n, 1, w->factor, 1, 0, factors, 1, 0, ROWS(a->row), true);
    OP(tracegrad_add_forward)(ON mid, a->n, w->factor, w->y, f);
}

/* TraceGrad of blocks that are not the last: from e' to the edge features of the next block. */
static void tracegrad(tile *a)
{
    const nh_layout *mid = &a->net->mid;
    const nh_state *s = a->s;
    const nh_work *w = a->w;
    const bool add = a->net->config->tg_scale > 0;
    OP(rows_load)(ON mid, a->n, ROWS(a->row), at(a, s->raw, mid->dim), w->x);
    invariants(a, mid, w->x, add);
    if (add) {
        add_gradient(a, s->keep ? at(a, s->saved[s->block].factor, 1) : NULL, false, w->x);
        OP(rows_store)(ON mid, a->n, ROWS(a->row), w->x, at(a, s->edge_next, mid->dim));
    }
    if (a->probe != NULL) show(a, mid, mid->dim, w->x, of_block(a, a->probe->edge_tg));
    SPENT(a, tracegrad);
}

/* --- edges: outputs */

/* TraceGrad of the last block, and with a lift f (w->x), o (w->lifted and in w->result). Slots are consecutive. */
static void last_tracegrad(tile *a)
{
    const nh_net *net = a->net;
    const nh_layout *mid = &net->mid, *post = &net->map_post.out;
    const nh_work *w = a->w;
    const nh_saved *saved = a->s->keep ? &a->s->saved[a->s->block] : NULL;
    const bool gradient = net->config->lift && net->config->tg_scale > 0;
    OP(take_channels)(ON post, &net->last, a->n, w->result, w->x);
    if (a->b->has_invariants) invariants(a, &net->last, w->x, gradient);
    if (!net->config->lift) return;
    COPY(w->lifted, w->x, a->n * mid->dim);
    if (gradient) add_gradient(a, saved != NULL ? saved->factor + a->slot : NULL, true, w->lifted);
    if (a->probe != NULL) show(a, mid, mid->dim, w->lifted, of_block(a, a->probe->edge_tg));
    if (saved != NULL) OP(rows_store)(ON mid, a->n, ALL, w->lifted, saved->lifted + a->slot * mid->dim);
    OP(put_channels)(ON post, &net->last, a->n, w->lifted, false, w->result);
}

/* OPTIONS.md 1.3: the part of edge_lin that the products feed, added to w->tile. */
static void lift(const tile *a)
{
    const nh_net *net = a->net;
    const nh_linear *l = &net->lift_out;
    const nh_work *w = a->w;
    for (size_t g = 0; g < net->lift.out.count; g++) {
        OP(lift_forward)(ON LIFT(a), g, a->n, w->x, w->lifted, net->lift_weight, w->lift);
        for (size_t o = 0; o < l->map->out.count; o++) {
            if (l->map->block[o].in != g) continue;
            real *y = w->tile + a->n * l->map->out.group[o].offset;
            OP(linear_group_forward)(ON l->map, o, a->n, w->lift, l->weight, NULL, true, y);
        }
    }
}

/* 3.6: outputs of the tile's edges from e' of type POST in w->result. */
static void output(tile *a)
{
    const nh_net *net = a->net;
    const nh_layout *out = &net->map_output.out;
    const nh_work *w = a->w;
    const size_t n = a->n, width = net->trace_width;
    linear(a, &net->output, n, w->result, false, w->tile);
    if (net->config->lift) lift(a);
    if (a->probe != NULL) show(a, out, out->dim, w->tile, a->probe->ham_nomask);
    OP(to_e3nn)(ON TO_E3NN(a), n, w->tile, w->e3nn);
    if (net->with_trace) {
        real *sums = a->s->trace + a->slot * width;
        OP(fill_rows)(ON n, width, net->trace_bias, true, sums);
        COPY(w->trace_in, sums, n * width);
        OP(silu_forward)(ON n * width, w->trace_in);
        OP(mlp_forward)(ON & net->trace, n, w->trace_in, w->trace_hidden, w->trace, false);
        if (a->probe != NULL) show(a, NULL, net->types->n_shell_pair, w->trace, a->probe->trace_nomask);
    }
    answer(a);
    SPENT(a, output);
}

/* --- a block and all of them */

/* Attention, and from v and A: e' in s->raw, or the outputs in the last block, and partial sums for the nodes. */
static void edges(tile *a)
{
    const nh_linear *l = &a->b->edge_proj;
    const nh_layout *type = &l->map->out;
    const nh_work *w;
    place_activations(a);
    w = a->w;
    attention(a);
    if (!last_block(a)) edge_sums(a);
    choose_updated(a);
    weigh_heads(a);
    SPENT(a, attention);
    if (a->kept == 0) return;
    linear(a, l, a->kept, w->weighted, false, w->result);
    if (a->probe != NULL) show(a, type, type->dim, w->result, of_block(a, a->probe->edge));
    if (!last_block(a))
        OP(rows_store)(ON type, a->kept, ROWS(a->kept_row), w->result, kept_at(a, a->s->raw, type->dim));
    SPENT(a, linear);
    if (!last_block(a)) return;
    if (a->b->has_invariants || a->net->config->lift) last_tracegrad(a);
    SPENT(a, tracegrad);
    output(a);
}

/* Points the state at block k's arrays. */
static void enter_block(run *r, size_t k)
{
    nh_state *s = &r->s;
    s->block = k;
    if (!s->keep) return;
    const bool last = k + 1 == r->net->config->blocks;
    const nh_saved *t = &s->saved[k];
    s->edge = t->edge;
    s->raw = t->raw;
    s->edge_next = last ? NULL : t[1].edge;
    s->node = t->node;
    s->node_next = last ? NULL : t[1].node;
    s->merged = t->merged;
    s->partial_max = t->partial_max;
    s->partial_sum = t->partial_sum;
}

/* Whether TraceGrad of the block works on all edges: y changes the features of every edge that is used again, z is for the
 * outputs alone. */
static bool tracegrad_all(const run *r)
{
    return r->s.all || (r->net->config->tg_scale > 0 && r->s.block + 2 < r->net->config->blocks);
}

/* Whether a probe wants anything, which makes every block run on all edges. */
static bool any_probe(const NH_NET(_probe) *p)
{
    return p != NULL && (p->node_init != NULL || p->edge_init != NULL || p->node != NULL || p->edge != NULL ||
                         p->z != NULL || p->y != NULL || p->edge_tg != NULL || p->ham_nomask != NULL ||
                         p->trace_nomask != NULL);
}

static void run_block(run *r)
{
    const nh_block *b = &r->net->block[r->s.block];
    const bool last = r->s.block + 1 == r->net->config->blocks;
    over_nodes(r, node_begin);
    begin_radial(r, &b->radial, r->s.all || !last);
    over_edges(r, !last, edges);
    if (last) return;
    over_nodes(r, node_end);
    if (b->has_invariants) over_edges(r, tracegrad_all(r), tracegrad);
}

/* From the state of block 0, with zeros for its nodes. */
static void forward(run *r)
{
    over_input(r, input);
    begin_nodes(r);
    if (r->net->config->edge_init == NH_EDGE_INIT_PAPER) {
        over_nodes(r, init_nodes);
        begin_radial(r, &r->net->init_radial, true);
        over_edges(r, true, init_edges);
    }
    for (size_t k = 0; k < r->net->config->blocks; k++) {
        enter_block(r, k);
        run_block(r);
    }
}
