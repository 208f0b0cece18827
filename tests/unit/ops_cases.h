/* ops_cases.h - the tests of lib/ops, included once per precision by test_ops.c with `real`, R(name) and
 * TOLERANCE defined. */
#include "ops_tools.h"

static void R(linear_map)(void **state)
{
    (void)state;
    const int nc = golden_open("linear.nc");
    nh_irreps in = type_of(nc, "irreps_in"), out = type_of(nc, "irreps_out");
    R(linear) l = R(linear_open)(nc, "", &in, 0, NULL, &out, 0, true);
    real *x = R(load_tile)(nc, "in", &l.map.in), *y = R(linear_apply)(&l, 5, x);
    R(check_tile)(nc, "out", &l.map.out, y);
    free(y);
    /* two parts of the input, the second one added */
    const size_t first[] = {0, 2, 4}, second[] = {1, 3, 5};
    R(linear)
    a = R(linear_open)(nc, "", &in, 3, first, &out, 0, true),
    b = R(linear_open)(nc, "", &in, 3, second, &out, 0, false);
    double *all = golden_read(nc, "in");
    real *xa = R(room)(5 * in.dim), *xb = R(room)(5 * in.dim);
    for (size_t t = 0, i = 0, j = 0; t < 5; t++)
        for (size_t e = 0; e < in.count; e++)
            for (size_t k = 0; k < in.entry[e].mul * (size_t)(2 * in.entry[e].l + 1); k++) {
                const real v = (real)all[t * in.dim + in.entry[e].offset + k];
                if (e % 2 == 0)
                    xa[i++] = v;
                else
                    xb[j++] = v;
            }
    real *ta = R(room)(5 * a.map.in.dim), *tb = R(room)(5 * b.map.in.dim);
    R(nh_from_e3nn)(&a.map.in, 5, xa, ta);
    R(nh_from_e3nn)(&b.map.in, 5, xb, tb);
    y = R(linear_apply)(&a, 5, ta);
    R(nh_linear_forward)(&b.map, 5, tb, b.weight, NULL, true, y);
    R(check_tile)(nc, "out", &l.map.out, y);
    R(linear_close)(&l);
    R(linear_close)(&a);
    R(linear_close)(&b);
    real *list[] = {x, y, xa, xb, ta, tb};
    for (size_t i = 0; i < 6; i++)
        free(list[i]);
    free(all);
    nh_irreps_free(&in);
    nh_irreps_free(&out);
    nc_close(nc);
}

static void R(layer_norm)(void **state)
{
    (void)state;
    const int nc = golden_open("layer_norm.nc");
    nh_irreps type = type_of(nc, "irreps");
    nh_layout layout;
    OK(nh_layout_new(&type, &layout, &err));
    real *x = R(load_tile)(nc, "in", &layout);
    R(norm)(nc, "", &layout, 6, x);
    R(check_tile)(nc, "out", &layout, x);
    free(x);
    nh_layout_free(&layout);
    nh_irreps_free(&type);
    nc_close(nc);
}

static void R(gate)(void **state)
{
    (void)state;
    const int nc = golden_open("gate.nc");
    nh_irreps a = type_of(nc, "irreps_in"), b = type_of(nc, "irreps_out");
    nh_layout in, out;
    OK(nh_layout_new(&a, &in, &err));
    OK(nh_layout_new(&b, &out, &err));
    real *x = R(load_tile)(nc, "in", &in), *y = R(gate_apply)(&in, &out, 6, x);
    R(check_tile)(nc, "out", &out, y);
    free(x);
    free(y);
    nh_layout_free(&in);
    nh_layout_free(&out);
    nh_irreps_free(&a);
    nh_irreps_free(&b);
    nc_close(nc);
}

static void R(radial)(void **state)
{
    (void)state;
    const int nc = golden_open("radial.nc");
    double *r = golden_read(nc, "r");
    real *g = R(room)(9 * 64);
    R(nh_gaussians_forward)(9, 64, 10.0, r, 64, g);
    R(check)(nc, "gaussian", g);
    R(chain) *c = R(chain_open)(nc, "net", 3, 1e-5, "p.offset");
    real *y = R(chain_apply)(c, 9, g, NULL);
    R(check)(nc, "out", y);
    R(chain_close)(c);
    free(r);
    free(g);
    free(y);
    nc_close(nc);
}

/* The golden output lists the paths' entries even-first and unsimplified, which is the simplified type's
 * memory order too. */
static void R(product)(void **state)
{
    (void)state;
    const int nc = golden_open("depthwise_tp.nc");
    architecture a = reduced();
    real *x = R(load_tile)(nc, "in1", &a.product.in), *y = R(load)(nc, "%s", "in2"),
         *w = R(load)(nc, "%s", "weight");
    real *out = R(product_apply)(&a.product, 6, x, y, w, a.product.n_weight);
    R(check_tile)(nc, "out", &a.product.out, out);
    free(x);
    free(y);
    free(w);
    free(out);
    close_architecture(&a);
    nc_close(nc);
}

static real *R(ffn_apply)(int nc, const char *prefix, const architecture *a, size_t n, const real *x)
{
    char name[64];
    snprintf(name, sizeof name, "%sfctp_1.", prefix);
    R(linear) one = R(linear_open)(nc, name, &a->types.mid, 0, NULL, &a->types.gate_in, 0, true);
    snprintf(name, sizeof name, "%sfctp_2.", prefix);
    R(linear) two = R(linear_open)(nc, name, &a->types.mid, 0, NULL, &a->types.mid, 0, true);
    real *h = R(linear_apply)(&one, n, x), *v = R(gate_apply)(&one.map.out, &two.map.in, n, h),
         *y = R(linear_apply)(&two, n, v);
    R(linear_close)(&one);
    R(linear_close)(&two);
    free(h);
    free(v);
    return y;
}

static void R(ffn)(void **state)
{
    (void)state;
    const int nc = golden_open("ffn.nc");
    architecture a = reduced();
    real *x = R(load_tile)(nc, "in", &a.product.in), *y = R(ffn_apply)(nc, "", &a, 3, x);
    R(check_tile)(nc, "out", &a.product.in, y);
    free(x);
    free(y);
    close_architecture(&a);
    nc_close(nc);
}

/* ATT (docs/network.md 3.4) from the operations: node and edge are n1 and e1; results are tiles. */
static void R(attention)(int nc, const char *prefix, const architecture *a, const real *node,
                         const real *edge, real **node_out, real **edge_out)
{
    enum { N = 3, E = 35, BASIS = 64, HEADS = 4 };
    const nh_irreps *mid = &a->types.mid, *wide = &a->types.dtp_out;
    const nh_layout *layout = &a->product.in;
    const size_t n_scalar = mid->entry[0].mul, alpha_mul = HEADS * n_scalar;
    const int zero = 0, even = 1;
    nh_irreps two, three, alpha_type, edge_type = type_of(nc, "irreps_edge_out");
    OK(nh_irreps_concat(mid, mid, &two, &err));
    OK(nh_irreps_concat(&two, mid, &three, &err));
    OK(nh_irreps_build(1, &alpha_mul, &zero, &even, &alpha_type, &err));
    const size_t part[3][8] = {
        {0, 1, 2, 3, 4, 5, 6, 7}, {8, 9, 10, 11, 12, 13, 14, 15}, {16, 17, 18, 19, 20, 21, 22, 23}};
    char name[10][64];
    const char *const text[] = {"merge_src.",          "merge_dst.",     "pre_lin.", "sep_act.lin.",
                                "sep_alpha.",          "sep_value.lin.", "proj.",    "edge_proj.",
                                "sep_act.dtp_rad.net", "lin_alpha"};
    for (size_t i = 0; i < 10; i++)
        snprintf(name[i], sizeof name[i], "%s%s", prefix, text[i]);
    R(linear)
    src = R(linear_open)(nc, name[0], mid, 0, NULL, mid, 0, true),
    dst = R(linear_open)(nc, name[1], mid, 0, NULL, mid, 0, false);
    R(linear) pre[3];
    for (size_t i = 0; i < 3; i++)
        pre[i] = R(linear_open)(nc, name[2], &three, 8, part[i], mid, 0, i == 0);
    R(linear) sep = R(linear_open)(nc, name[3], wide, 0, NULL, &a->types.gate_in, 0, true);
    R(linear) scalars = R(linear_open)(nc, name[4], wide, 0, NULL, &alpha_type, n_scalar, true);
    R(linear) value = R(linear_open)(nc, name[5], wide, 0, NULL, &a->types.heads, 0, true);
    R(linear) proj = R(linear_open)(nc, name[6], &a->types.heads, 0, NULL, mid, 0, true);
    R(linear) edge_proj = R(linear_open)(nc, name[7], &a->types.heads, 0, NULL, &edge_type, 0, true);

    /* messages */
    int *from = golden_ints(nc, "edge_src"), *to = golden_ints(nc, "edge_dst");
    size_t from_row[E], to_row[E], rows[E];
    for (size_t e = 0; e < E; e++) {
        from_row[e] = (size_t)from[e];
        to_row[e] = (size_t)to[e];
        rows[e] = e;
    }
    real *p = R(linear_apply)(&src, N, node), *q = R(linear_apply)(&dst, N, node);
    real *pp = R(linear_apply)(&pre[0], N, p), *qq = R(linear_apply)(&pre[1], N, q),
         *m = R(linear_apply)(&pre[2], E, edge);
    real *stored = R(room)(N * layout->dim);
    R(nh_rows_store)(layout, N, rows, pp, stored);
    R(nh_rows_add)(layout, E, from_row, stored, m);
    R(nh_rows_store)(layout, N, rows, qq, stored);
    R(nh_rows_add)(layout, E, to_row, stored, m);
    if (golden_has(nc, "message")) R(check_tile)(nc, "message", layout, m);

    /* product, value, scores */
    real *g = R(load)(nc, "%s", "edge_rbf"), *y = R(load)(nc, "%s", "edge_sh");
    char offset[96];
    snprintf(offset, sizeof offset, "p.%ssep_act.dtp_rad.offset", prefix);
    R(chain) *radial = R(chain_open)(nc, name[8], 3, 1e-5, offset),
             *score = R(chain_open)(nc, name[9], 3, 1e-6, NULL);
    real *w = R(chain_apply)(radial, E, g, NULL),
         *t = R(product_apply)(&a->product, E, m, y, w, a->product.n_weight);
    if (golden_has(nc, "dtp")) R(check_tile)(nc, "dtp", &a->product.out, t);
    real *gin = R(linear_apply)(&sep, E, t), *c = R(linear_apply)(&scalars, E, t),
         *joined = R(room)(E * (BASIS + n_scalar));
    real *gated = R(gate_apply)(&sep.map.out, layout, E, gin);
    if (golden_has(nc, "gated")) R(check_tile)(nc, "gated", layout, gated);
    for (size_t e = 0; e < E; e++) {
        memcpy(joined + e * (BASIS + n_scalar), g + e * BASIS, BASIS * sizeof(real));
        memcpy(joined + e * (BASIS + n_scalar) + BASIS, c + e * n_scalar, n_scalar * sizeof(real));
    }
    real *alpha = R(chain_apply)(score, E, joined, NULL);
    if (golden_has(nc, "alpha")) R(check)(nc, "alpha", alpha);
    real *shared = R(load)(nc, "p.%ssep_value.dtp.tp.weight", prefix);
    real *t2 = R(product_apply)(&a->product, E, gated, y, shared, 0), *v = R(linear_apply)(&value, E, t2);
    const nh_layout *heads = &value.map.out;
    if (golden_has(nc, "value")) {
        real *split = R(room)(E * heads->dim);
        for (size_t e = 0; e < E; e++)
            for (size_t h = 0; h < HEADS; h++)
                for (size_t i = 0; i < layout->count; i++) { /* the file keeps HEADS' order, even-first */
                    const nh_group *one = &layout->group[i], *all = &heads->group[i];
                    for (size_t u = 0; u < one->mul; u++)
                        for (size_t k = 0; k < one->rows; k++)
                            split[(e * HEADS + h) * layout->dim + one->offset + u * one->rows + k] =
                                v[E * all->offset + e * all->dim + k * all->mul + h * one->mul + u];
                }
        R(check)(nc, "value", split);
        free(split);
    }

    /* edges: raw scores */
    real *weighted = R(room)(E * heads->dim);
    R(nh_heads_forward)(heads, HEADS, E, E, rows, alpha, v, weighted);
    *edge_out = R(linear_apply)(&edge_proj, E, weighted);

    /* nodes: softmax, each node in several partial results (runs of edges in the file's order with the same
     * destination) */
    real *sums = R(room)(N * heads->dim), *tile = R(room)(N * heads->dim), copies[E];
    for (size_t e = 0; e < E; e++)
        copies[e] = 1;
    for (size_t node_index = 0; node_index < N; node_index++) {
        real max[E * HEADS], sum[E * HEADS], *values = R(room)(E * heads->dim);
        size_t parts = 0;
        for (size_t first = 0, end; first < E; first = end) {
            for (end = first + 1; end < E && to[end] == to[first];)
                end++;
            if ((size_t)to[first] != node_index) continue;
            R(nh_softmax_partial_forward)
            (heads, HEADS, E, first, end - first, alpha, copies, v, max + parts * HEADS, sum + parts * HEADS,
             values + parts * heads->dim);
            parts++;
        }
        assert_true(parts > 1);
        R(nh_softmax_merge_forward)(heads, HEADS, parts, max, sum, values, sums + node_index * heads->dim);
        free(values);
    }
    R(nh_rows_load)(heads, N, rows, sums, tile);
    *node_out = R(linear_apply)(&proj, N, tile);

    real *list[] = {p, q,      pp,    qq,    m,      stored, g, y,        w,    t,   gin,
                    c, joined, gated, alpha, shared, t2,     v, weighted, sums, tile};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        free(list[i]);
    R(linear) * maps[] = {&src, &dst, &pre[0], &pre[1], &pre[2], &sep, &scalars, &value, &proj, &edge_proj};
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
        R(linear_close)(maps[i]);
    R(chain_close)(radial);
    R(chain_close)(score);
    free(from);
    free(to);
    nh_irreps_free(&two);
    nh_irreps_free(&three);
    nh_irreps_free(&alpha_type);
    nh_irreps_free(&edge_type);
}

static void R(check_edges)(int nc, const real *edge)
{
    nh_irreps type = type_of(nc, "irreps_edge_out");
    nh_layout layout;
    OK(nh_layout_new(&type, &layout, &err));
    R(check_tile)(nc, "edge_out", &layout, edge);
    nh_layout_free(&layout);
    nh_irreps_free(&type);
}

static void R(graph_attention)(void **state)
{
    (void)state;
    const int nc = golden_open("graph_attention.nc");
    architecture a = reduced();
    real *node = R(load_tile)(nc, "node_in", &a.product.in),
         *edge = R(load_tile)(nc, "edge_in", &a.product.in), *n, *e;
    R(attention)(nc, "", &a, node, edge, &n, &e);
    R(check_tile)(nc, "node_out", &a.product.in, n);
    R(check_edges)(nc, e);
    real *list[] = {node, edge, n, e};
    for (size_t i = 0; i < 4; i++)
        free(list[i]);
    close_architecture(&a);
    nc_close(nc);
}

static void R(transblock)(void **state)
{
    (void)state;
    const int nc = golden_open("transblock.nc");
    architecture a = reduced();
    const nh_layout *mid = &a.product.in;
    real *node = R(load_tile)(nc, "node_in", mid), *edge = R(load_tile)(nc, "edge_in", mid), *n, *e;
    R(norm)(nc, "norm_1.", mid, 3, node);
    R(norm)(nc, "norm_edge.", mid, 35, edge);
    R(attention)(nc, "ga.", &a, node, edge, &n, &e);
    for (size_t i = 0; i < 3 * mid->dim; i++)
        n[i] += node[i];
    R(norm)(nc, "norm_2.", mid, 3, n);
    real *f = R(ffn_apply)(nc, "ffn.", &a, 3, n);
    for (size_t i = 0; i < 3 * mid->dim; i++)
        f[i] += n[i];
    R(check_tile)(nc, "node_out", mid, f);
    R(check_edges)(nc, e);
    real *list[] = {node, edge, n, e, f};
    for (size_t i = 0; i < 5; i++)
        free(list[i]);
    close_architecture(&a);
    nc_close(nc);
}

static void R(tracegrad)(void **state)
{
    (void)state;
    enum { T = 7, H = 40, Z = 24 };
    const int nc = golden_open("tracegrad.nc");
    architecture a = reduced();
    const nh_layout *mid = &a.product.in;
    real *x = R(load_tile)(nc, "in", mid), *flat = R(load)(nc, "p.%s", "fctp.weight"),
         *form = R(room)(mid->pairs * H);
    real *q = R(room)(T * mid->pairs), *u = R(room)(T * H), *hidden, *g = R(room)(T * Z),
         *scratch = R(room)(T * Z);
    R(nh_pairs_pack)(mid, H, flat, form);
    R(nh_pairs_forward)(mid, T, x, q);
    for (size_t t = 0; t < T; t++)
        for (size_t i = 0; i < mid->pairs; i++)
            for (size_t c = 0; c < H; c++)
                u[t * H + c] += q[t * mid->pairs + i] * form[i * H + c];
    R(check)(nc, "u", u);
    R(chain) *chain = R(chain_open)(nc, "nonlinear_layers", 4, 1e-6, NULL);
    real *z = R(chain_apply)(chain, T, u, &hidden);
    R(check)(nc, "z", z);
    for (size_t t = 0; t < T; t++)
        for (size_t i = 0; i < Z; i++)
            for (size_t j = 0; j < Z; j++)
                g[t * Z + j] += chain->weight[3][i * Z + j];
    real *gu = R(room)(T * H), *gq = R(room)(T * mid->pairs), *y = R(room)(T * mid->dim);
    R(nh_mlp_input_gradient)(&chain->mlp, T, g, hidden, scratch, gu);
    for (size_t t = 0; t < T; t++)
        for (size_t i = 0; i < mid->pairs; i++)
            for (size_t c = 0; c < H; c++)
                gq[t * mid->pairs + i] += gu[t * H + c] * form[i * H + c];
    R(nh_pairs_backward)(mid, T, gq, x, y, false);
    R(check_tile)(nc, "y", mid, y);
    R(nh_tracegrad_factor_forward)(mid, T, 0.2, x, y, g);
    R(nh_tracegrad_add_forward)(mid, T, g, y, x);
    R(check_tile)(nc, "out", mid, x);
    R(chain_close)(chain);
    real *list[] = {x, flat, form, q, u, hidden, g, scratch, z, gu, gq, y};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        free(list[i]);
    close_architecture(&a);
    nc_close(nc);
}

/* exp through the Gaussians: r - c_0 = x, width 1/sqrt2, over the whole range of the exponent. */
static void R(exponential)(void **state)
{
    (void)state;
    enum { N = 2000 };
    const double bottom = sizeof(real) == 4 ? 87 : 708;
    double r[N], expected[N], found[N];
    real g[2 * N];
    for (size_t i = 0; i < N; i++) {
        r[i] = sqrt(bottom * 0.999 * (double)i / N);
        /* 2 Gaussians of width rmax/4 = 1/sqrt2 */
        expected[i] = exp(sizeof(real) == 4 ? (double)(float)(-r[i] * r[i]) : -r[i] * r[i]);
    }
    R(nh_gaussians_forward)(N, 2, 4 / sqrt(2.0), r, 2, g);
    for (size_t i = 0; i < N; i++) {
        found[i] = (double)g[2 * i] / expected[i];
        expected[i] = 1;
    }
    assert_close(N, found, expected, sizeof(real) == 4 ? 3e-7 : 3e-13, "exponential");
    const double far = 1e3;
    R(nh_gaussians_forward)(1, 2, 4 / sqrt(2.0), &far, 2, g);
    assert_true(g[0] == 0);
}
