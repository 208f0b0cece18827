/* backward_cases.h - the backward passes of lib/ops, included once per precision by test_backward.c with
 * `real` and R(name) defined. In double every gradient is compared with finite differences of the forward
 * pass, in float with the double one for the same inputs. */

typedef struct R(input) {
    const char *name;
    size_t n;
    real *x, *g;
} R(input);

/* L = sum c out(inputs), and what the operation under test needs. */
typedef struct R(problem) {
    void (*forward)(const struct R(problem) * p, real *out);
    size_t n_out;
    real *c, *out;
    size_t count;
    R(input) in[20];
    /* the operation's tables */
    const nh_layout *layout, *other;
    const nh_linear_map *map;
    const nh_product *product;
    R(nh_mlp) mlp;
    R(nh_mlp_gradient) gradient;
    size_t n, heads, stride;
    size_t dead; /* inputs that L does not depend on */
    const size_t *row, *first;
    const real *constant;
} R(problem);

static real *R(random)(size_t n, const char *seed)
{
    real *x = R(room)(n);
    for (size_t i = 0; i < n; i++)
        x[i] = (real)(float)random_number(seed, i);
    return x;
}

/* A new random input; its gradient starts at `start`, which a backward pass that writes must not show. */
static real *R(input_add)(R(problem) * p, const char *name, size_t n, real start)
{
    assert_true(p->count < 20);
    R(input) *in = &p->in[p->count++];
    *in = (R(input)){.name = name, .n = n, .x = R(random)(n, name), .g = R(room)(n)};
    for (size_t i = 0; i < n; i++)
        in->g[i] = start;
    return in->x;
}

static void R(outputs)(R(problem) * p, size_t n)
{
    p->n_out = n;
    p->c = R(random)(n, "c");
    p->out = R(room)(n);
}

/* For gradients that were accumulated in two equal calls. */
static void R(halve)(R(problem) * p, size_t first)
{
    for (size_t k = first; k < p->count; k++)
        for (size_t i = 0; i < p->in[k].n; i++)
            p->in[k].g[i] /= 2;
}

static double R(loss)(const R(problem) * p)
{
    double sum = 0;
    for (size_t i = 0; i < p->n_out; i++)
        p->out[i] = 1000; /* a forward pass that leaves an output alone shows */
    p->forward(p, p->out);
    for (size_t i = 0; i < p->n_out; i++)
        sum += (double)p->c[i] * (double)p->out[i];
    return sum;
}

static double R(difference)(const R(problem) * p, real *x)
{
    const real at = *x, h = (real)1e-3;
    const real step[4] = {-2 * h, -h, h, 2 * h};
    const double factor[4] = {1, -8, 8, -1};
    double sum = 0;
    for (int i = 0; i < 4; i++) {
        *x = at + step[i];
        sum += factor[i] * R(loss)(p);
    }
    *x = at;
    return sum / (12 * (double)h);
}

static void R(verify)(R(problem) * p, record *r)
{
    char what[96];
    size_t dead = 0;
    for (size_t k = 0; k < p->count; k++) {
        const R(input) *in = &p->in[k];
        double *g = calloc(in->n + 1, sizeof *g);
        assert_non_null(g);
        for (size_t i = 0; i < in->n; i++)
            g[i] = (double)in->g[i];
        if (sizeof(real) == sizeof(double)) {
            /* up to 97 numbers, spread evenly */
            const size_t samples = in->n < 97 ? in->n : 97;
            double found[97], expected[97], scale = 0;
            for (size_t i = 0; i < samples; i++) {
                const size_t at = i * in->n / samples;
                found[i] = g[at];
                expected[i] = R(difference)(p, in->x + at);
                if (fabs(expected[i]) > scale) scale = fabs(expected[i]);
            }
            snprintf(what, sizeof what, "%s: %s", r->operation, in->name);
            if (scale > 1e-3) {
                assert_close(samples, found, expected, 1e-8, what);
            } else {
                dead++;
                for (size_t i = 0; i < in->n; i++)
                    assert_true(g[i] == 0);
            }
            assert_true(r->count < MOST_RECORDS);
            r->g[r->count++] = g;
        } else {
            assert_true(r->next < r->count);
            snprintf(what, sizeof what, "%s: %s, single", r->operation, in->name);
            assert_close(in->n, g, r->g[r->next++], 3e-5, what);
            free(g);
        }
    }
    if (sizeof(real) == sizeof(double)) assert_int_equal(dead, p->dead);
    for (size_t k = 0; k < p->count; k++) {
        free(p->in[k].x);
        free(p->in[k].g);
    }
    free(p->c);
    free(p->out);
}

static void R(same)(size_t n, const real *a, const real *b)
{
    for (size_t i = 0; i < n; i++)
        assert_true(fabs((double)a[i] - (double)b[i]) <=
                    (sizeof(real) == 8 ? 1e-13 : 1e-5) * (1 + fabs((double)b[i])));
}

/* ---- rows: the same row several times */

static void R(rows_forward)(const R(problem) * p, real *out)
{
    R(nh_rows_load)(p->layout, p->n, p->row, p->in[0].x, out);
}

static void R(rows_case)(record *r)
{
    nh_layout layout = layout_of("3x0e+2x1o+5x2e");
    const size_t row[5] = {2, 0, 2, 3, 2};
    R(problem) p = {.forward = R(rows_forward), .layout = &layout, .n = 5, .row = row};
    R(input_add)(&p, "array", 4 * layout.dim, 0);
    R(outputs)(&p, 5 * layout.dim);
    R(nh_rows_load_backward)(&layout, 5, row, p.c, p.in[0].g);
    R(verify)(&p, r);
    nh_layout_free(&layout);
}

/* ---- linear, with its flat parameter; 2e feeds nothing and nothing feeds 3e */

static void R(linear_forward)(const R(problem) * p, real *out)
{
    real *weight = R(room)(p->map->n_weight);
    R(nh_linear_pack)(p->map, p->in[1].x, weight);
    R(nh_linear_forward)(p->map, p->n, p->in[0].x, weight, p->in[2].x, false, out);
    free(weight);
}

static void R(linear_case)(record *r)
{
    nh_irreps in, out;
    nh_linear_map map;
    OK(nh_irreps_parse("3x0e+2x1o+4x2e+2x0o+3x1o", &in, &err));
    OK(nh_irreps_parse("2x0e+5x1o+3x0o+2x3e+4x0e", &out, &err));
    OK(nh_linear_map_new(&in, 0, NULL, &out, 0, NULL, 0, &map, &err));
    R(problem) p = {.forward = R(linear_forward), .map = &map, .n = 5};
    R(input_add)(&p, "x", 5 * map.in.dim, 7);
    R(input_add)(&p, "weight", map.n_weight, 0);
    R(input_add)(&p, "bias", map.n_bias, 0);
    R(outputs)(&p, 5 * map.out.dim);
    real *weight = R(room)(map.n_weight), *packed = R(room)(map.n_weight);
    R(nh_linear_pack)(&map, p.in[1].x, weight);
    for (int call = 0; call < 2; call++)
        R(nh_linear_backward)
    (&map, 5, p.c, p.in[0].x, weight, p.in[0].g, call == 1, packed, p.in[2].g);
    R(nh_linear_unpack_add)(&map, packed, p.in[1].g);
    R(halve)(&p, 0);
    /* gradients that are not wanted */
    real *gx = R(room)(5 * map.in.dim);
    R(nh_linear_backward)(&map, 5, p.c, NULL, weight, gx, false, NULL, NULL);
    R(nh_linear_backward)(&map, 5, p.c, p.in[0].x, weight, NULL, false, NULL, NULL);
    R(same)(5 * map.in.dim, gx, p.in[0].g);
    free(gx);
    R(verify)(&p, r);
    free(weight);
    free(packed);
    nh_linear_map_free(&map);
    nh_irreps_free(&in);
    nh_irreps_free(&out);
}

/* ---- norm */

static void R(norm_forward)(const R(problem) * p, real *out)
{
    R(nh_norm_forward)(p->layout, p->n, p->in[0].x, 0.02, p->in[1].x, p->in[2].x, out);
}

static void R(norm_case)(record *r)
{
    nh_layout layout = layout_of("13x0e+3x0o+2x1e+9x2o");
    R(problem) p = {.forward = R(norm_forward), .layout = &layout, .n = 4};
    R(input_add)(&p, "x", 4 * layout.dim, 7);
    R(input_add)(&p, "gain", layout.channels, 0);
    R(input_add)(&p, "shift", layout.group[0].mul, 0);
    R(outputs)(&p, 4 * layout.dim);
    for (int call = 0; call < 2; call++)
        R(nh_norm_backward)
    (&layout, 4, p.c, p.in[0].x, 0.02, p.in[1].x, p.in[0].g, call == 1, p.in[1].g, p.in[2].g);
    R(halve)(&p, 0);
    real *g = R(room)(4 * layout.dim);
    memcpy(g, p.c, 4 * layout.dim * sizeof *g);
    R(nh_norm_backward)(&layout, 4, g, p.in[0].x, 0.02, p.in[1].x, g, false, NULL, NULL);
    R(same)(4 * layout.dim, g, p.in[0].g);
    free(g);
    R(verify)(&p, r);
    nh_layout_free(&layout);
}

/* ---- gate */

static void R(gate_forward)(const R(problem) * p, real *out)
{
    R(nh_gate_forward)(p->other, p->layout, p->first, p->n, p->in[0].x, out);
}

static void R(gate_case)(record *r)
{
    /* gates in the order of the type's entries, 1o before 1e */
    nh_layout out = layout_of("5x0e+3x1o+8x1e+2x2e"), in = layout_of("18x0e+3x1o+8x1e+2x2e");
    const size_t first[4] = {0, 8, 5, 16};
    R(problem) p = {.forward = R(gate_forward), .layout = &out, .other = &in, .n = 3, .first = first};
    R(input_add)(&p, "x", 3 * in.dim, 7);
    R(outputs)(&p, 3 * out.dim);
    R(nh_gate_backward)(&in, &out, first, 3, p.c, p.in[0].x, p.in[0].g);
    R(verify)(&p, r);
    nh_layout_free(&in);
    nh_layout_free(&out);
}

/* ---- dense layers */

typedef struct R(tables) {
    size_t width[6];
    real *weight[5], *bias[5], *gain[5], *shift[5], *g_weight[5], *g_bias[5], *g_gain[5], *g_shift[5];
} R(tables);

static void R(chain_inputs)(R(problem) * p, R(tables) * t, size_t layers, const size_t *width, bool norm)
{
    static const char *const name[4][5] = {{"weight 0", "weight 1", "weight 2", "weight 3", "weight 4"},
                                           {"bias 0", "bias 1", "bias 2", "bias 3", "bias 4"},
                                           {"gain 0", "gain 1", "gain 2", "gain 3", "gain 4"},
                                           {"shift 0", "shift 1", "shift 2", "shift 3", "shift 4"}};
    for (size_t i = 0; i <= layers; i++)
        t->width[i] = width[i];
    for (size_t i = 0; i < layers; i++) {
        t->weight[i] = R(input_add)(p, name[0][i], width[i] * width[i + 1], 0);
        t->g_weight[i] = p->in[p->count - 1].g;
        t->bias[i] = R(input_add)(p, name[1][i], width[i + 1], 0);
        t->g_bias[i] = p->in[p->count - 1].g;
        if (!norm || i + 1 == layers) continue;
        t->gain[i] = R(input_add)(p, name[2][i], width[i + 1], 0);
        t->g_gain[i] = p->in[p->count - 1].g;
        t->shift[i] = R(input_add)(p, name[3][i], width[i + 1], 0);
        t->g_shift[i] = p->in[p->count - 1].g;
    }
    p->mlp = (R(nh_mlp)){.layers = layers,
                         .width = t->width,
                         .weight = t->weight,
                         .bias = t->bias,
                         .gain = norm ? t->gain : NULL,
                         .shift = norm ? t->shift : NULL,
                         .eps = (real)1e-2};
    p->gradient = (R(nh_mlp_gradient)){.weight = t->g_weight,
                                       .bias = t->g_bias,
                                       .gain = norm ? t->g_gain : NULL,
                                       .shift = norm ? t->g_shift : NULL};
}

static void R(chain_forward)(const R(problem) * p, real *out)
{
    real *hidden = R(room)(p->n * R(nh_mlp_hidden_size)(&p->mlp));
    R(nh_mlp_forward)(&p->mlp, p->n, p->in[0].x, hidden, out, false);
    free(hidden);
}

static void R(tangent_forward)(const R(problem) * p, real *out)
{
    real *kept = R(room)(p->n * R(nh_mlp_jvp_size)(&p->mlp));
    R(nh_mlp_jvp_forward)(&p->mlp, p->n, p->in[0].x, kept, out);
    free(kept);
}

static const size_t R(chain_width)[3][5] = {{5, 8, 11, 3}, {5, 9, 7, 3}, {5, 3}};
static const size_t R(chain_layers)[3] = {3, 3, 1};

static void R(chain_case)(record *r)
{
    for (size_t k = 0; k < 3; k++) {
        enum { N = 4 };
        R(problem) p = {.forward = R(chain_forward), .n = N};
        R(tables) t;
        R(input_add)(&p, "x", N * 5, 7);
        R(chain_inputs)(&p, &t, R(chain_layers)[k], R(chain_width)[k], k == 0);
        R(outputs)(&p, N * 3);
        real *hidden = R(room)(N * R(nh_mlp_hidden_size)(&p.mlp)), *scratch = R(room)(N * 2 * WIDEST),
             *y = R(room)(N * 3), *gx = R(room)(N * 5);
        R(nh_mlp_forward)(&p.mlp, N, p.in[0].x, hidden, y, false);
        for (int call = 0; call < 2; call++)
            R(nh_mlp_backward)
        (&p.mlp, N, p.c, p.in[0].x, hidden, scratch, p.in[0].g, call == 1, &p.gradient);
        R(halve)(&p, 0);
        R(nh_mlp_backward)(&p.mlp, N, p.c, p.in[0].x, hidden, scratch, gx, false, NULL);
        R(same)(N * 5, gx, p.in[0].g);
        R(verify)(&p, r);
        real *list[] = {hidden, scratch, y, gx};
        for (size_t i = 0; i < 4; i++)
            free(list[i]);
    }
}

/* Values and tangents; then the tangents alone with a seed of ones. */
static void R(tangent_case)(record *r)
{
    for (size_t k = 0; k < 6; k++) {
        enum { N = 4 };
        const bool ones = k >= 3;
        R(problem) p = {.forward = R(tangent_forward), .n = N};
        R(tables) t;
        R(input_add)(&p, "x and dx", 2 * N * 5, 7);
        R(chain_inputs)(&p, &t, R(chain_layers)[k % 3], R(chain_width)[k % 3], k % 3 == 0);
        R(outputs)(&p, 2 * N * 3);
        for (size_t i = 0; ones && i < 2 * N * 3; i++)
            p.c[i] = i < N * 3 ? 0 : 1;
        real *kept = R(room)(N * R(nh_mlp_jvp_size)(&p.mlp)), *scratch = R(room)(N * 4 * WIDEST),
             *hidden = R(room)(N * R(nh_mlp_hidden_size)(&p.mlp)), *y = R(room)(2 * N * 3),
             *z = R(room)(N * 3);
        R(nh_mlp_jvp_forward)(&p.mlp, N, p.in[0].x, kept, y);
        R(nh_mlp_forward)(&p.mlp, N, p.in[0].x, hidden, z, false);
        R(same)(N * 3, y, z);
        for (int call = 0; call < 2; call++)
            R(nh_mlp_jvp_backward)
        (&p.mlp, N, ones ? NULL : p.c, ones ? NULL : p.c + N * 3, p.in[0].x, kept, scratch, p.in[0].g,
         &p.gradient);
        R(halve)(&p, 1);
        p.dead = ones ? 1 : 0; /* the last bias does not act on tangents */
        R(verify)(&p, r);
        real *list[] = {kept, scratch, hidden, y, z};
        for (size_t i = 0; i < 5; i++)
            free(list[i]);
    }
}

static void R(silu_forward)(const R(problem) * p, real *out)
{
    memcpy(out, p->in[0].x, p->n * sizeof *out);
    R(nh_silu_forward)(p->n, out);
}

static void R(silu_case)(record *r)
{
    R(problem) p = {.forward = R(silu_forward), .n = 37};
    R(input_add)(&p, "x", p.n, 0);
    R(outputs)(&p, p.n);
    memcpy(p.in[0].g, p.c, p.n * sizeof *p.c);
    R(nh_silu_backward)(p.n, p.in[0].x, p.in[0].g);
    R(verify)(&p, r);
}

/* F = L B^T, as TraceGrad's first layer is made. */
static void R(weights_forward)(const R(problem) * p, real *out)
{
    R(nh_dense_forward)(NH_KERNELS_FAST, 3, 5, 7, p->in[0].x, p->in[1].x, NULL, false, out);
}

static void R(weights_case)(record *r)
{
    R(problem) p = {.forward = R(weights_forward)};
    R(input_add)(&p, "first layer", 3 * 5, 0);
    R(input_add)(&p, "bilinear form", 7 * 5, 0);
    R(outputs)(&p, 3 * 7);
    R(nh_dense_backward)
    (NH_KERNELS_FAST, 3, 5, 7, p.c, p.in[0].x, p.in[1].x, p.in[0].g, true, p.in[1].g, NULL);
    R(verify)(&p, r);
}

/* ---- depthwise tensor product: weights per row, and shared. Multiplicities with and without a rest after
 * whole vectors. */

static void R(product_forward)(const R(problem) * p, real *out)
{
    for (size_t g = 0; g < p->product->out.count; g++)
        R(nh_product_forward)
    (p->product, g, p->n, p->in[0].x, p->constant, p->in[1].x, p->stride,
     out + p->n * p->product->out.group[g].offset);
}

static void R(product_case)(record *r)
{
    enum { N = 3 };
    nh_config config;
    nh_types types;
    nh_product product;
    OK(nh_config_parse("{basis: 2s1p1d, mid: 9x0e+8x1o+8x1e+4x2e+4x2o+3x3e+3x3o+17x4e}", "product", &config,
                       &err));
    OK(nh_types_new(&config, &types, &err));
    OK(nh_product_new(&types, &product, &err));
    real *y = R(random)(product.n_harmonic * N, "harmonics"), *m = R(room)(product.n_matrix * N);
    R(nh_coupling_forward)(&product, N, y, m);
    for (size_t shared = 0; shared < 2; shared++) {
        const size_t n_weight = shared ? product.n_weight : N * product.n_weight;
        R(problem)
        p = {.forward = R(product_forward),
             .product = &product,
             .n = N,
             .stride = shared ? 0 : product.n_weight,
             .constant = m};
        R(input_add)(&p, "x", N * product.in.dim, 0);
        R(input_add)(&p, "weight", n_weight, shared ? 0 : 7);
        R(outputs)(&p, N * product.out.dim);
        real *gx = R(room)(N * product.in.dim), *gw = R(room)(n_weight);
        for (size_t g = 0; g < product.out.count; g++) {
            const real *gout = p.c + N * product.out.group[g].offset;
            R(nh_product_backward)
            (&product, g, N, gout, p.in[0].x, m, p.in[1].x, p.stride, p.in[0].g, p.in[1].g);
            R(nh_product_backward)(&product, g, N, gout, p.in[0].x, m, p.in[1].x, p.stride, gx, NULL);
            R(nh_product_backward)(&product, g, N, gout, p.in[0].x, m, p.in[1].x, p.stride, NULL, gw);
        }
        R(same)(N * product.in.dim, gx, p.in[0].g);
        R(same)(n_weight, gw, p.in[1].g);
        free(gx);
        free(gw);
        R(verify)(&p, r);
    }
    free(y);
    free(m);
    nh_product_free(&product);
    nh_types_free(&types);
    nh_config_free(&config);
}

/* ---- attention */

static void R(heads_forward)(const R(problem) * p, real *out)
{
    R(nh_heads_forward)(p->layout, p->heads, p->n, 3, p->row, p->in[0].x, p->in[1].x, out);
}

static void R(heads_case)(record *r)
{
    enum { N = 5, HEADS = 4 };
    nh_layout layout = layout_of("8x0e+4x1o+36x2e");
    const size_t row[3] = {4, 1, 2};
    R(problem) p = {.forward = R(heads_forward), .layout = &layout, .n = N, .heads = HEADS, .row = row};
    R(input_add)(&p, "scores", N * HEADS, 7);
    R(input_add)(&p, "values", N * layout.dim, 7);
    R(outputs)(&p, 3 * layout.dim);
    for (int call = 0; call < 2; call++)
        R(nh_heads_backward)
    (&layout, HEADS, N, 3, row, p.c, p.in[0].x, p.in[1].x, p.in[0].g, p.in[1].g, call == 1);
    R(halve)(&p, 0);
    R(verify)(&p, r);
    nh_layout_free(&layout);
}

/* Two nodes; the first one's edges lie in two runs of the tile, with several copies of some edges. */
static const size_t R(run)[RUNS + 1] = {0, 2, 6, 9}, R(run_node)[RUNS] = {0, 1, 0};

typedef struct R(partials) {
    real *max, *sum, *value; /* of the runs, the first node's together */
} R(partials);

static R(partials) R(partial_sums)(const R(problem) * p)
{
    const size_t dim = p->layout->dim, place[RUNS] = {0, 2, 1};
    R(partials)
    s = {R(room)(RUNS * p->heads), R(room)(RUNS * p->heads), R(room)(RUNS * dim)};
    for (size_t i = 0; i < RUNS; i++)
        R(nh_softmax_partial_forward)
    (p->layout, p->heads, RUN_ROWS, R(run)[i], R(run)[i + 1] - R(run)[i], p->in[0].x, p->constant, p->in[1].x,
     s.max + place[i] * p->heads, s.sum + place[i] * p->heads, s.value + place[i] * dim);
    return s;
}

static void R(softmax_forward)(const R(problem) * p, real *out)
{
    const R(partials) s = R(partial_sums)(p);
    const size_t dim = p->layout->dim, heads = p->heads;
    R(nh_softmax_merge_forward)(p->layout, heads, 2, s.max, s.sum, s.value, out);
    R(nh_softmax_merge_forward)
    (p->layout, heads, 1, s.max + 2 * heads, s.sum + 2 * heads, s.value + 2 * dim, out + dim);
    free(s.max);
    free(s.sum);
    free(s.value);
}

static void R(softmax_case)(record *r)
{
    enum { HEADS = 2 };
    nh_layout layout = layout_of("6x0e+4x1o+18x2e");
    const real copies[RUN_ROWS] = {1, 5, 1, 1, 2, 1, 1, 1, 3};
    R(problem)
    p = {.forward = R(softmax_forward), .layout = &layout, .n = RUN_ROWS, .heads = HEADS, .constant = copies};
    R(input_add)(&p, "scores", RUN_ROWS * HEADS, 7);
    R(input_add)(&p, "values", RUN_ROWS * layout.dim, 7);
    R(outputs)(&p, 2 * layout.dim);
    const R(partials) s = R(partial_sums)(&p);
    real *y = R(room)(2 * layout.dim), top[2 * HEADS], total[2 * HEADS], dot[2 * HEADS];
    R(softmax_forward)(&p, y);
    for (size_t node = 0; node < 2; node++)
        R(nh_softmax_merge_backward)
    (&layout, HEADS, node == 0 ? 2 : 1, p.c + node * layout.dim, s.max + 2 * node * HEADS,
     s.sum + 2 * node * HEADS, y + node * layout.dim, top + node * HEADS, total + node * HEADS,
     dot + node * HEADS);
    for (int call = 0; call < 2; call++)
        for (size_t i = 0; i < RUNS; i++) {
            const size_t node = R(run_node)[i], at = node * HEADS;
            R(nh_softmax_partial_backward)
            (&layout, HEADS, RUN_ROWS, R(run)[i], R(run)[i + 1] - R(run)[i], p.c + node * layout.dim,
             top + at, total + at, dot + at, p.in[0].x, copies, p.in[1].x, p.in[0].g, p.in[1].g, call == 1);
        }
    R(halve)(&p, 0);
    free(s.max);
    free(s.sum);
    free(s.value);
    free(y);
    R(verify)(&p, r);
    nh_layout_free(&layout);
}

/* ---- TraceGrad */

static void R(pairs_forward)(const R(problem) * p, real *out)
{
    R(nh_pairs_forward)(p->layout, p->n, p->in[0].x, out);
}

static void R(pairs_tangent)(const R(problem) * p, real *out)
{
    R(nh_pairs_tangent_forward)(p->layout, p->n, p->in[0].x, p->in[1].x, out);
}

static void R(pack_forward)(const R(problem) * p, real *out)
{
    R(nh_pairs_pack)(p->layout, 3, p->in[0].x, out);
}

static void R(pairs_case)(record *r)
{
    enum { N = 3 };
    nh_layout layout = layout_of("16x0e+5x1o+8x2e");
    R(problem) p = {.forward = R(pairs_forward), .layout = &layout, .n = N};
    R(input_add)(&p, "x", N * layout.dim, 7);
    R(outputs)(&p, N * layout.pairs);
    real *y = R(room)(N * layout.dim);
    for (int call = 0; call < 2; call++)
        R(nh_pairs_backward)(&layout, N, p.c, p.in[0].x, p.in[0].g, call == 1);
    R(halve)(&p, 0);
    R(nh_pairs_backward)(&layout, N, p.c, p.in[0].x, y, false);
    R(same)(N * layout.dim, y, p.in[0].g);
    free(y);
    R(verify)(&p, r);

    R(problem) t = {.forward = R(pairs_tangent), .layout = &layout, .n = N};
    R(input_add)(&t, "x of the tangent", N * layout.dim, 7);
    R(input_add)(&t, "dx", N * layout.dim, 7);
    R(outputs)(&t, N * layout.pairs);
    R(nh_pairs_backward)(&layout, N, t.c, t.in[1].x, t.in[0].g, false);
    R(nh_pairs_backward)(&layout, N, t.c, t.in[0].x, t.in[1].g, false);
    R(verify)(&t, r);
    nh_layout_free(&layout);

    nh_layout odd = layout_of("3x1o+4x0e+2x2e");
    R(problem) w = {.forward = R(pack_forward), .layout = &odd};
    R(input_add)(&w, "fctp.weight", (9 + 16 + 4) * 3, 0);
    R(outputs)(&w, odd.pairs * 3);
    for (int call = 0; call < 2; call++)
        R(nh_pairs_unpack_add)(&odd, 3, w.c, w.in[0].g);
    R(halve)(&w, 0);
    R(verify)(&w, r);
    nh_layout_free(&odd);
}

/* z and y = d(sum z)/dx, one after another. */
static void R(invariants_forward)(const R(problem) * p, real *out)
{
    const R(nh_mlp) *m = &p->mlp;
    const size_t n = p->n, last = m->layers - 1, width = m->width[last], z = m->width[last + 1];
    real *q = R(room)(n * p->layout->pairs), *hidden = R(room)(n * R(nh_mlp_hidden_size)(m)),
         *g = R(room)(n * WIDEST), *scratch = R(room)(n * WIDEST);
    R(nh_pairs_forward)(p->layout, n, p->in[0].x, q);
    R(nh_mlp_forward)(m, n, q, hidden, out, false);
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < z; i++)
            for (size_t j = 0; j < width; j++)
                g[t * width + j] += m->weight[last][i * width + j];
    R(nh_mlp_input_gradient)(m, n, g, hidden, scratch, q);
    R(nh_pairs_backward)(p->layout, n, q, p->in[0].x, out + n * z, false);
    real *list[] = {q, hidden, g, scratch};
    for (size_t i = 0; i < 4; i++)
        free(list[i]);
}

/* The gradient of both, of y alone, of z alone. */
static void R(invariants_case)(record *r)
{
    nh_layout layout = layout_of("4x0e+3x1o+2x2e");
    assert_int_equal(layout.pairs, 19);
    for (size_t k = 0; k < 6; k++) {
        enum { N = 3, Z = 6 };
        const size_t width[5] = {19, 8, 11, 7, Z};
        const bool with_z = k % 3 != 1, with_y = k % 3 != 2;
        R(problem) p = {.forward = R(invariants_forward), .layout = &layout, .n = N};
        R(tables) t;
        R(input_add)(&p, "x", N * layout.dim, 7);
        R(chain_inputs)(&p, &t, 4, width, k < 3);
        R(outputs)(&p, N * (Z + layout.dim));
        for (size_t i = 0; i < p.n_out; i++)
            if (!(i < N * Z ? with_z : with_y)) p.c[i] = 0;
        real *work = R(room)(N * R(nh_invariants_work)(&layout, &p.mlp));
        for (int call = 0; call < 2; call++)
            R(nh_invariants_backward)
        (&layout, &p.mlp, N, with_z ? p.c : NULL, with_y ? p.c + N * Z : NULL, p.in[0].x, work, p.in[0].g,
         call == 1, &p.gradient);
        R(halve)(&p, 0);
        free(work);
        p.dead = with_z ? 0 : 1;
        R(verify)(&p, r);
    }
    nh_layout_free(&layout);
}

/* x + k y with the k that backward uses. */
static void R(factor_case)(record *r)
{
    (void)r;
    enum { N = 5 };
    nh_layout layout = layout_of("3x0e+2x1o+9x2e");
    const size_t dim = layout.dim;
    real *x = R(random)(N * dim, "x"), *y = R(random)(N * dim, "y"), *out = R(room)(N * dim), k[N],
         *g = R(random)(N * dim, "g"), *gy = R(room)(N * dim);
    memcpy(out, x, N * dim * sizeof *x);
    R(nh_tracegrad_factor_forward)(&layout, N, 0.2, x, y, k);
    R(nh_tracegrad_add_forward)(&layout, N, k, y, out);
    R(nh_tracegrad_add_backward)(&layout, N, k, g, gy);
    assert_true(k[0] > 0 && k[0] != k[1]);
    for (size_t i = 0; i < layout.count; i++)
        for (size_t t = 0; t < N; t++)
            for (size_t j = 0; j < layout.group[i].dim; j++) {
                const size_t at = N * layout.group[i].offset + t * layout.group[i].dim + j;
                const real expected = k[t] * y[at], expected_g = k[t] * g[at], found = out[at] - x[at];
                R(same)(1, &found, &expected);
                R(same)(1, gy + at, &expected_g);
            }
    real *list[] = {x, y, out, g, gy};
    for (size_t i = 0; i < 5; i++)
        free(list[i]);
    nh_layout_free(&layout);
}
