/* backward_golden.h - gradients of whole modules put together from the backward passes of lib/ops, against
 * the reference implementation's. Included once per precision by test_backward.c, after ops_tools.h. */

/* A linear map of a file and the gradients of its packed weights and bias. */
typedef struct R(trained) {
    R(linear) l;
    real *g_weight, *g_bias;
} R(trained);

static R(trained) R(trained_open)(int nc, const char *name, const nh_irreps *in, size_t n_in,
                                  const size_t *in_entry, const nh_irreps *out, size_t limit, bool bias)
{
    R(trained) t = {.l = R(linear_open)(nc, name, in, n_in, in_entry, out, limit, bias)};
    t.g_weight = R(room)(t.l.map.n_weight);
    if (bias) t.g_bias = R(room)(t.l.map.n_bias);
    return t;
}

/* y's gradient g back to x's gradient (a new tile). */
static real *R(trained_backward)(const R(trained) * t, size_t n, const real *g, const real *x)
{
    real *gx = R(room)(n * t->l.map.in.dim);
    R(nh_linear_backward)(&t->l.map, n, g, x, t->l.weight, gx, false, t->g_weight, t->g_bias);
    return gx;
}

/* Checks and frees the `count` parts of the parameter NAMEtp.weight; the first one has the bias. */
static void R(trained_close)(int nc, const char *name, R(trained) * part, size_t count)
{
    char full[96];
    snprintf(full, sizeof full, "g.%stp.weight", name);
    real *flat = R(room)(golden_count(nc, full, NULL));
    for (size_t i = 0; i < count; i++)
        R(nh_linear_unpack_add)(&part[i].l.map, part[i].g_weight, flat);
    R(check)(nc, full, flat);
    free(flat);
    if (part->g_bias != NULL) {
        snprintf(full, sizeof full, "g.%sbias.0", name);
        flat = R(room)(golden_count(nc, full, NULL));
        for (size_t u = 0; u < part->l.map.n_bias; u++) {
            assert_int_equal(part->l.map.bias_param[u], 0);
            flat[part->l.map.bias_index[u]] += part->g_bias[u];
        }
        R(check)(nc, full, flat);
        free(flat);
    }
    for (size_t i = 0; i < count; i++) {
        R(linear_close)(&part[i].l);
        free(part[i].g_weight);
        free(part[i].g_bias);
    }
}

/* Zeros shaped like a chain's parameters. */
static R(chain) * R(chain_zeros)(const R(chain) * c, R(nh_mlp_gradient) * g)
{
    R(chain) *z = calloc(1, sizeof *z);
    assert_non_null(z);
    for (size_t i = 0; i < c->mlp.layers; i++) {
        z->weight[i] = R(room)(c->width[i] * c->width[i + 1]);
        z->bias[i] = R(room)(c->width[i + 1]);
        z->gain[i] = R(room)(c->width[i + 1]);
        z->shift[i] = R(room)(c->width[i + 1]);
    }
    *g = (R(nh_mlp_gradient)){.weight = z->weight, .bias = z->bias, .gain = z->gain, .shift = z->shift};
    return z;
}

static void R(chain_check)(int nc, const char *name, size_t layers, const char *offset, const R(chain) * g,
                           bool first_weight)
{
    char full[96];
    for (size_t i = 0; i < layers; i++) {
        const bool last = i + 1 == layers;
        snprintf(full, sizeof full, "g.%s.%zu.weight", name, 3 * i);
        if (i > 0 || first_weight) R(check)(nc, full, g->weight[i]);
        snprintf(full, sizeof full, "g.%s.%zu.bias", name, 3 * i);
        R(check)(nc, last && offset != NULL ? offset : full, g->bias[i]);
        if (last) continue;
        snprintf(full, sizeof full, "g.%s.%zu.weight", name, 3 * i + 1);
        R(check)(nc, full, g->gain[i]);
        snprintf(full, sizeof full, "g.%s.%zu.bias", name, 3 * i + 1);
        R(check)(nc, full, g->shift[i]);
    }
}

/* Gradient of a norm's input, in place; checks the parameters' gradients. */
static void R(norm_backward)(int nc, const char *name, const nh_layout *layout, size_t n, const real *x,
                             real *g)
{
    real *gain, *shift, *ggain = R(room)(layout->channels), *gshift = R(room)(layout->group[0].mul),
                        *flat = R(room)(layout->channels);
    char full[64];
    R(norm_open)(nc, name, layout, &gain, &shift);
    R(nh_norm_backward)(layout, n, g, x, 1e-5, gain, g, false, ggain, gshift);
    for (size_t i = 0, channel = 0; i < layout->n_entry; i++)
        for (size_t u = 0; u < layout->entry[i].mul; u++)
            flat[channel++] =
                ggain[layout->group[layout->entry[i].group].channel + layout->entry[i].first + u];
    snprintf(full, sizeof full, "g.%saffine_weight", name);
    R(check)(nc, full, flat);
    snprintf(full, sizeof full, "g.%saffine_bias", name);
    R(check)(nc, full, gshift);
    real *list[] = {gain, shift, ggain, gshift, flat};
    for (size_t i = 0; i < 5; i++)
        free(list[i]);
}

/* L = sum(c_z z) + sum(c_out out), out = x + 0.2 k y: bilinear form and first layer as one matrix. */
static void R(golden_tracegrad)(void **state)
{
    (void)state;
    enum { T = 7, H = 40, Z = 24 };
    const int nc = golden_open("tracegrad.nc");
    architecture a = reduced();
    const nh_layout *mid = &a.product.in;
    real *x = R(load_tile)(nc, "in", mid), *flat = R(load)(nc, "p.%s", "fctp.weight"),
         *form = R(room)(mid->pairs * H), *fused = R(room)(Z * mid->pairs);
    R(chain) *chain = R(chain_open)(nc, "nonlinear_layers", 4, 1e-6, NULL);
    R(nh_pairs_pack)(mid, H, flat, form);
    real *first = chain->weight[0];
    R(nh_dense_forward)(NH_KERNELS_FAST, Z, H, mid->pairs, first, form, NULL, false, fused);
    chain->weight[0] = fused;
    chain->width[0] = mid->pairs;

    /* forward: y and k */
    real *q = R(room)(T * mid->pairs), *hidden, *gq = R(room)(T * mid->pairs), *y = R(room)(T * mid->dim),
         k[T], *seed = R(room)(T * Z), *scratch = R(room)(T * Z);
    R(nh_pairs_forward)(mid, T, x, q);
    real *z = R(chain_apply)(chain, T, q, &hidden);
    for (size_t t = 0; t < T; t++)
        for (size_t i = 0; i < Z; i++)
            for (size_t j = 0; j < Z; j++)
                seed[t * Z + j] += chain->weight[3][i * Z + j];
    R(nh_mlp_input_gradient)(&chain->mlp, T, seed, hidden, scratch, gq);
    R(nh_pairs_backward)(mid, T, gq, x, y, false);
    R(nh_tracegrad_factor_forward)(mid, T, 0.2, x, y, k);

    /* backward */
    real *gz = R(load)(nc, "%s", "c_z"), *g = R(load_tile)(nc, "c_out", mid), *gy = R(room)(T * mid->dim),
         *work = R(room)(T * R(nh_invariants_work)(mid, &chain->mlp));
    R(nh_mlp_gradient) table;
    R(chain) *gradient = R(chain_zeros)(chain, &table);
    R(nh_tracegrad_add_backward)(mid, T, k, g, gy);
    R(nh_invariants_backward)(mid, &chain->mlp, T, gz, gy, x, work, g, true, &table);
    R(check_tile)(nc, "g_in", mid, g);
    R(chain_check)(nc, "nonlinear_layers", 4, NULL, gradient, false);
    real *g_first = R(room)(Z * H), *g_form = R(room)(mid->pairs * H), *g_flat = R(room)(4640);
    R(nh_dense_backward)
    (NH_KERNELS_FAST, Z, H, mid->pairs, gradient->weight[0], first, form, g_first, false, g_form, NULL);
    R(nh_pairs_unpack_add)(mid, H, g_form, g_flat);
    R(check)(nc, "g.nonlinear_layers.0.weight", g_first);
    R(check)(nc, "g.fctp.weight", g_flat);

    R(chain_close)(chain);
    R(chain_close)(gradient);
    real *list[] = {x, flat, form, first, q, hidden, gq, y, z, seed, scratch, gz, g, gy, work, g_first, g_form, g_flat};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        free(list[i]);
    close_architecture(&a);
    nc_close(nc);
}

/* One block: L = sum(c_node node_out) + sum(c_edge edge_out). All edges are one tile. */
static void R(golden_transblock)(void **state)
{
    (void)state;
    enum { N = 3, E = 35, BASIS = 64, HEADS = 4 };
    const int nc = golden_open("transblock.nc");
    architecture a = reduced();
    const nh_product *product = &a.product;
    const nh_layout *mid = &product->in;
    const nh_irreps *type = &a.types.mid, *wide = &a.types.dtp_out;
    const size_t n_scalar = type->entry[0].mul, alpha_mul = HEADS * n_scalar, n_weight = product->n_weight;
    const int zero = 0, even = 1;
    nh_irreps two, three, alpha_type, edge_type = type_of(nc, "irreps_edge_out");
    OK(nh_irreps_concat(type, type, &two, &err));
    OK(nh_irreps_concat(&two, type, &three, &err));
    OK(nh_irreps_build(1, &alpha_mul, &zero, &even, &alpha_type, &err));
    const size_t part[3][8] = {
        {0, 1, 2, 3, 4, 5, 6, 7}, {8, 9, 10, 11, 12, 13, 14, 15}, {16, 17, 18, 19, 20, 21, 22, 23}};
    R(trained)
    src = R(trained_open)(nc, "ga.merge_src.", type, 0, NULL, type, 0, true),
    dst = R(trained_open)(nc, "ga.merge_dst.", type, 0, NULL, type, 0, false);
    R(trained) pre[3];
    for (size_t i = 0; i < 3; i++)
        pre[i] = R(trained_open)(nc, "ga.pre_lin.", &three, 8, part[i], type, 0, i == 0);
    R(trained)
    sep = R(trained_open)(nc, "ga.sep_act.lin.", wide, 0, NULL, &a.types.gate_in, 0, true),
    scalars = R(trained_open)(nc, "ga.sep_alpha.", wide, 0, NULL, &alpha_type, n_scalar, true),
    value = R(trained_open)(nc, "ga.sep_value.lin.", wide, 0, NULL, &a.types.heads, 0, true),
    proj = R(trained_open)(nc, "ga.proj.", &a.types.heads, 0, NULL, type, 0, true),
    edge_proj = R(trained_open)(nc, "ga.edge_proj.", &a.types.heads, 0, NULL, &edge_type, 0, true),
    ffn_1 = R(trained_open)(nc, "ffn.fctp_1.", type, 0, NULL, &a.types.gate_in, 0, true),
    ffn_2 = R(trained_open)(nc, "ffn.fctp_2.", type, 0, NULL, type, 0, true);
    const nh_layout *heads = &value.l.map.out, *gate_in = &sep.l.map.out, *edge_layout = &edge_proj.l.map.out;
    size_t first[MOST_GROUPS];
    find_gates(mid, first);

    /* forward */
    real *node = R(load_tile)(nc, "node_in", mid), *edge = R(load_tile)(nc, "edge_in", mid),
         *n1 = R(load_tile)(nc, "node_in", mid), *e1 = R(load_tile)(nc, "edge_in", mid);
    R(norm)(nc, "norm_1.", mid, N, n1);
    R(norm)(nc, "norm_edge.", mid, E, e1);
    int *from = golden_ints(nc, "edge_src"), *to = golden_ints(nc, "edge_dst");
    size_t from_row[E], to_row[E], rows[E];
    for (size_t e = 0; e < E; e++) {
        from_row[e] = (size_t)from[e];
        to_row[e] = (size_t)to[e];
        rows[e] = e;
    }
    real *p = R(linear_apply)(&src.l, N, n1), *q = R(linear_apply)(&dst.l, N, n1),
         *pp = R(linear_apply)(&pre[0].l, N, p), *qq = R(linear_apply)(&pre[1].l, N, q),
         *m = R(linear_apply)(&pre[2].l, E, e1), *stored = R(room)(N * mid->dim);
    R(nh_rows_store)(mid, N, rows, pp, stored);
    R(nh_rows_add)(mid, E, from_row, stored, m);
    R(nh_rows_store)(mid, N, rows, qq, stored);
    R(nh_rows_add)(mid, E, to_row, stored, m);
    real *rbf = R(load)(nc, "%s", "edge_rbf"), *y = R(load)(nc, "%s", "edge_sh"), *radial_hidden,
         *alpha_hidden;
    R(chain) *radial = R(chain_open)(nc, "ga.sep_act.dtp_rad.net", 3, 1e-5, "p.ga.sep_act.dtp_rad.offset"),
             *score = R(chain_open)(nc, "ga.lin_alpha", 3, 1e-6, NULL);
    real *w = R(chain_apply)(radial, E, rbf, &radial_hidden),
         *t = R(product_apply)(product, E, m, y, w, n_weight), *gin = R(linear_apply)(&sep.l, E, t),
         *c = R(linear_apply)(&scalars.l, E, t), *gated = R(gate_apply)(gate_in, mid, E, gin),
         *joined = R(room)(E * (BASIS + n_scalar));
    for (size_t e = 0; e < E; e++) {
        memcpy(joined + e * (BASIS + n_scalar), rbf + e * BASIS, BASIS * sizeof(real));
        memcpy(joined + e * (BASIS + n_scalar) + BASIS, c + e * n_scalar, n_scalar * sizeof(real));
    }
    real *alpha = R(chain_apply)(score, E, joined, &alpha_hidden),
         *shared = R(load)(nc, "p.%s", "ga.sep_value.dtp.tp.weight"),
         *t2 = R(product_apply)(product, E, gated, y, shared, 0), *v = R(linear_apply)(&value.l, E, t2),
         *weighted = R(room)(E * heads->dim);
    R(nh_heads_forward)(heads, HEADS, E, E, rows, alpha, v, weighted);
    /* one partial result per edge */
    real *values = R(room)(E * heads->dim), *sums = R(room)(N * heads->dim),
         *node_max = R(room)(N * E * HEADS), *node_sum = R(room)(N * E * HEADS),
         *sums_tile = R(room)(N * heads->dim), *copies = R(room)(E);
    size_t parts[N] = {0};
    for (size_t e = 0; e < E; e++)
        copies[e] = 1;
    for (size_t i = 0; i < N; i++) {
        real *const node_max_i = node_max + i * E * HEADS, *const node_sum_i = node_sum + i * E * HEADS;
        for (size_t e = 0; e < E; e++) {
            if (to_row[e] != i) continue;
            R(nh_softmax_partial_forward)
            (heads, HEADS, E, e, 1, alpha, copies, v, node_max_i + parts[i] * HEADS,
             node_sum_i + parts[i] * HEADS, values + parts[i] * heads->dim);
            parts[i]++;
        }
        R(nh_softmax_merge_forward)
        (heads, HEADS, parts[i], node_max_i, node_sum_i, values, sums + i * heads->dim);
    }
    R(nh_rows_load)(heads, N, rows, sums, sums_tile);
    real *s = R(linear_apply)(&proj.l, N, sums_tile), *n2 = R(room)(N * mid->dim);
    for (size_t i = 0; i < N * mid->dim; i++)
        n2[i] = s[i] = s[i] + n1[i];
    R(norm)(nc, "norm_2.", mid, N, n2);
    real *f1 = R(linear_apply)(&ffn_1.l, N, n2), *f2 = R(gate_apply)(gate_in, mid, N, f1);

    /* backward: nodes */
    real *g_node = R(load_tile)(nc, "c_node", mid), *g_edge = R(load_tile)(nc, "c_edge", edge_layout);
    real *g_f2 = R(trained_backward)(&ffn_2, N, g_node, f2), *g_f1 = R(room)(N * gate_in->dim);
    R(nh_gate_backward)(gate_in, mid, first, N, g_f2, f1, g_f1);
    R(nh_linear_backward)
    (&ffn_1.l.map, N, g_f1, n2, ffn_1.l.weight, g_node, true, ffn_1.g_weight, ffn_1.g_bias);
    R(norm_backward)(nc, "norm_2.", mid, N, s, g_node); /* now that of a and of n1 */
    real *g_tile = R(trained_backward)(&proj, N, g_node, sums_tile), *g_sums = R(room)(N * heads->dim);
    R(nh_rows_store)(heads, N, rows, g_tile, g_sums);
    /* edges: scores and values */
    real *g_weighted = R(trained_backward)(&edge_proj, E, g_edge, weighted), *g_alpha = R(room)(E * HEADS),
         *g_v = R(room)(E * heads->dim), top[HEADS], total[HEADS], dot[HEADS];
    R(nh_heads_backward)(heads, HEADS, E, E, rows, g_weighted, alpha, v, g_alpha, g_v, false);
    for (size_t i = 0; i < N; i++) {
        R(nh_softmax_merge_backward)
        (heads, HEADS, parts[i], g_sums + i * heads->dim, node_max + i * E * HEADS, node_sum + i * E * HEADS,
         sums + i * heads->dim, top, total, dot);
        for (size_t e = 0; e < E; e++)
            if (to_row[e] == i) R(nh_softmax_partial_backward)
        (heads, HEADS, E, e, 1, g_sums + i * heads->dim, top, total, dot, alpha, copies, v, g_alpha, g_v,
         true);
    }
    /* products and the maps after them */
    real *matrices = R(room)(E * product->n_matrix), *transposed = R(room)(E * product->n_harmonic);
    for (size_t e = 0; e < E; e++)
        for (size_t k = 0; k < product->n_harmonic; k++)
            transposed[k * E + e] = y[e * product->n_harmonic + k];
    R(nh_coupling_forward)(product, E, transposed, matrices);
    real *g_t2 = R(trained_backward)(&value, E, g_v, t2), *g_gated = R(room)(E * mid->dim),
         *g_shared = R(room)(n_weight), *g_gin = R(room)(E * gate_in->dim), *g_m = R(room)(E * mid->dim),
         *g_w = R(room)(E * n_weight);
    for (size_t g = 0; g < product->out.count; g++)
        R(nh_product_backward)
    (product, g, E, g_t2 + E * product->out.group[g].offset, gated, matrices, shared, 0, g_gated, g_shared);
    R(check)(nc, "g.ga.sep_value.dtp.tp.weight", g_shared);
    R(nh_gate_backward)(gate_in, mid, first, E, g_gated, gin, g_gin);
    real *g_t = R(trained_backward)(&sep, E, g_gin, t), *g_joined = R(room)(E * (BASIS + n_scalar)),
         *g_c = R(room)(E * n_scalar), *scratch = R(room)(E * 2 * 64);
    R(nh_mlp_gradient) table;
    R(chain) *g_score = R(chain_zeros)(score, &table);
    R(nh_mlp_backward)(&score->mlp, E, g_alpha, joined, alpha_hidden, scratch, g_joined, false, &table);
    R(chain_check)(nc, "ga.lin_alpha", 3, NULL, g_score, true);
    for (size_t e = 0; e < E; e++)
        memcpy(g_c + e * n_scalar, g_joined + e * (BASIS + n_scalar) + BASIS, n_scalar * sizeof(real));
    R(nh_linear_backward)
    (&scalars.l.map, E, g_c, t, scalars.l.weight, g_t, true, scalars.g_weight, scalars.g_bias);
    for (size_t g = 0; g < product->out.count; g++)
        R(nh_product_backward)
    (product, g, E, g_t + E * product->out.group[g].offset, m, matrices, w, n_weight, g_m, g_w);
    R(chain) *g_radial = R(chain_zeros)(radial, &table);
    R(nh_mlp_backward)(&radial->mlp, E, g_w, rbf, radial_hidden, scratch, NULL, false, &table);
    R(chain_check)(nc, "ga.sep_act.dtp_rad.net", 3, "g.ga.sep_act.dtp_rad.offset", g_radial, true);
    /* messages */
    real *g_e1 = R(trained_backward)(&pre[2], E, g_m, e1);
    R(norm_backward)(nc, "norm_edge.", mid, E, edge, g_e1);
    R(check_tile)(nc, "g_edge_in", mid, g_e1);
    real *g_rows = R(room)(N * mid->dim), *g_part = R(room)(N * mid->dim);
    for (size_t i = 0; i < 2; i++) {
        const R(trained) *merge = i == 0 ? &src : &dst;
        memset(g_rows, 0, N * mid->dim * sizeof(real));
        R(nh_rows_load_backward)(mid, E, i == 0 ? from_row : to_row, g_m, g_rows);
        R(nh_rows_load)(mid, N, rows, g_rows, g_part);
        real *g = R(trained_backward)(&pre[i], N, g_part, i == 0 ? p : q);
        R(nh_linear_backward)
        (&merge->l.map, N, g, n1, merge->l.weight, g_node, true, merge->g_weight, merge->g_bias);
        free(g);
    }
    R(norm_backward)(nc, "norm_1.", mid, N, node, g_node);
    R(check_tile)(nc, "g_node_in", mid, g_node);

    R(trained_close)(nc, "ga.merge_src.", &src, 1);
    R(trained_close)(nc, "ga.merge_dst.", &dst, 1);
    R(trained_close)(nc, "ga.pre_lin.", pre, 3);
    R(trained_close)(nc, "ga.sep_act.lin.", &sep, 1);
    R(trained_close)(nc, "ga.sep_alpha.", &scalars, 1);
    R(trained_close)(nc, "ga.sep_value.lin.", &value, 1);
    R(trained_close)(nc, "ga.proj.", &proj, 1);
    R(trained_close)(nc, "ga.edge_proj.", &edge_proj, 1);
    R(trained_close)(nc, "ffn.fctp_1.", &ffn_1, 1);
    R(trained_close)(nc, "ffn.fctp_2.", &ffn_2, 1);
    R(chain) * chains[] = {radial, score, g_radial, g_score};
    for (size_t i = 0; i < 4; i++)
        R(chain_close)(chains[i]);
    real *list[] = {node,    edge,          n1,          e1,        p,        q,        pp,       qq,
                    m,       stored,        rbf,         y,         w,        t,        gin,      c,
                    gated,   joined,        alpha,       shared,    t2,       v,        weighted, values,
                    sums,    node_max,      copies,      node_sum,  s,        n2,       f1,       f2,
                    g_node,  g_edge,        g_f2,        sums_tile, g_f1,     g_tile,   g_sums,   g_weighted,
                    g_alpha, g_v,           matrices,    g_t2,      g_gated,  g_shared, g_gin,    transposed,
                    g_m,     g_w,           g_t,         g_c,       g_joined, g_e1,     g_rows,   g_part,
                    scratch, radial_hidden, alpha_hidden};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        free(list[i]);
    free(from);
    free(to);
    nh_irreps_free(&two);
    nh_irreps_free(&three);
    nh_irreps_free(&alpha_type);
    nh_irreps_free(&edge_type);
    close_architecture(&a);
    nc_close(nc);
}
