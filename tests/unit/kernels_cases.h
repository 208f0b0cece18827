/* kernels_cases.h - the cases of test_kernels_ops.c, included once per precision with `real`, R(name) and TOLERANCE defined.
 * `x` and the like are on the host, `x_d` on the device. */

static real *R(random)(size_t n, uint64_t seed)
{
    real *x = calloc(n + 1, sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = (real)uniform(&seed);
    return x;
}

static real *R(room)(size_t n)
{
    real *x = calloc(n + 1, sizeof *x);
    assert_non_null(x);
    return x;
}

static real *R(copy)(size_t n, const real *x)
{
    real *y = calloc(n + 1, sizeof *y);
    assert_non_null(y);
    if (n > 0) memcpy(y, x, n * sizeof *y);
    return y;
}

/* The numbers on the device, until the case ends. */
static real *R(up)(size_t n, const real *x)
{
    real *d = hold(nhk_alloc(gpu, n, sizeof *d));
    nhk_upload(gpu, d, x, n * sizeof *d);
    return d;
}

/* Device memory whose numbers are NaN. */
static real *R(blank)(size_t n)
{
    return hold(nhk_alloc(gpu, n, sizeof(real)));
}

/* Compares and frees what the host found. */
static void R(check)(const char *what, size_t n, real *expected, const real *there)
{
    real *found = calloc(n + 1, sizeof *found);
    double *a = calloc(n + 1, sizeof *a), *b = calloc(n + 1, sizeof *b);
    assert_true(found && a && b);
    nhk_download(gpu, found, there, n * sizeof *found);
    OK(nhk_sync(gpu, &err));
    same_bits(what, n * sizeof *found, found);
    for (size_t i = 0; i < n; i++) {
        a[i] = (double)found[i];
        b[i] = (double)expected[i];
        if (!isfinite(a[i])) fail_msg("%s: number %zu of %zu is %g", what, i, n, a[i]);
    }
    if (n > 0) assert_close(n, a, b, TOLERANCE, what);
    free(found);
    free(a);
    free(b);
    free(expected);
}

static void R(rows_body)(tables *t, size_t n)
{
    const nh_layout *l = &t->mid;
    const size_t dim = l->dim, stored = n + 5;
    size_t *row = calloc(n + 1, sizeof *row);
    int *row_i = calloc(n + 1, sizeof *row_i), *begin = calloc(stored + 2, sizeof *begin);
    assert_true(row && row_i && begin);
    for (size_t i = 0; i < n; i++) { /* distinct, in no order */
        row[i] = (3 * i + 2) % stored;
        if (stored % 3 == 0) row[i] = (i + 2) % stored;
        row_i[i] = (int)row[i];
    }
    real *array = R(random)(stored * dim, 1), *tile = R(random)(n * dim, 2), *out = R(copy)(n * dim, tile);
    real *array_d = R(up)(stored * dim, array), *tile_d = R(up)(n * dim, tile), *out_d = R(blank)(n * dim);
    const int *row_d = ints(n, row_i);
    R(nh_from_e3nn)(l, n, tile, out);
    R(nhk_from_e3nn)(gpu, l, t->e3nn, n, tile_d, out_d);
    R(check)("from_e3nn", n * dim, R(copy)(n * dim, out), out_d);
    R(nh_to_e3nn)(l, n, tile, out);
    R(nhk_to_e3nn)(gpu, l, t->e3nn, n, tile_d, out_d);
    R(check)("to_e3nn", n * dim, R(copy)(n * dim, out), out_d);
    R(nh_rows_load)(l, n, row, array, out);
    R(nhk_rows_load)(gpu, l, n, row_d, 0, array_d, out_d);
    R(check)("rows_load", n * dim, R(copy)(n * dim, out), out_d);
    R(nh_rows_add)(l, n, row, array, out);
    R(nhk_rows_add)(gpu, l, n, row_d, 0, array_d, out_d);
    R(check)("rows_add", n * dim, out, out_d);
    R(nh_rows_store)(l, n, row, tile, array);
    R(nhk_rows_store)(gpu, l, n, row_d, 0, tile_d, array_d);
    R(check)("rows_store", stored * dim, R(copy)(stored * dim, array), array_d);

    /* a hub: row 0 sums all stored rows but two, the others one or none */
    if (n > 0) {
        real *sum = calloc(n * dim + 1, sizeof *sum);
        int slot[80];
        for (size_t i = 0; i < stored; i++)
            slot[i] = i % 4 == 1 ? -1 : (int)i;
        begin[1] = (int)stored - 2;
        for (size_t i = 1; i < n; i++)
            begin[i + 1] = begin[i] < (int)stored && i % 2 == 0 ? begin[i] + 1 : begin[i];
        for (size_t i = 0; i < n; i++)
            for (int k = begin[i]; k < begin[i + 1]; k++)
                for (size_t g = 0; slot[k] >= 0 && g < l->count; g++)
                    for (size_t j = 0; j < l->group[g].dim; j++)
                        sum[n * l->group[g].offset + i * l->group[g].dim + j] +=
                            array[(size_t)k * dim + l->group[g].offset + j];
        R(nhk_rows_sum)(gpu, l, n, ints(n + 1, begin), NULL, ints(stored, slot), array_d, out_d);
        R(check)("rows_sum", n * dim, sum, out_d);
    }
    /* columns 1.. of wide rows to columns 2.. and back */
    real *to = R(random)(n * 6, 4), *to_d = R(up)(n * 6, to);
    for (size_t i = 0; i < n; i++)
        memcpy(to + i * 6 + 2, array + row[i] * dim + 1, 4 * sizeof *to);
    R(nhk_columns)(gpu, n, 4, array_d, dim, 1, to_d, 6, 2, row_d, 0, false);
    R(check)("columns", n * 6, R(copy)(n * 6, to), to_d);
    for (size_t i = 0; i < n; i++)
        memcpy(array + row[i] * dim + 3, to + i * 6, 4 * sizeof *to);
    R(nhk_columns)(gpu, n, 4, to_d, 6, 0, array_d, dim, 3, row_d, 0, true);
    R(check)("columns back", stored * dim, R(copy)(stored * dim, array), array_d);
    free(to);
    free(tile);
    free(array);
    free(row);
    free(row_i);
    free(begin);
}

static void R(sums_body)(tables *t, size_t n)
{
    (void)t;
    const size_t rows = 9 * n + (n > 2), width = 37, ld = 41; /* several chunks */
    real *a = R(random)(rows * ld, 1), *b = R(random)(rows * ld, 2), *sum = R(random)(width, 3),
         *product = R(copy)(width, sum), *sum_d = R(up)(width, sum), *product_d = R(up)(width, sum),
         *a_d = R(up)(rows * ld, a), *b_d = R(up)(rows * ld, b);
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < width; k++) {
            sum[k] += a[i * ld + k];
            product[k] += a[i * ld + k] * b[i * ld + k];
        }
    R(nhk_column_sums)(gpu, rows, width, ld, a_d, NULL, sum_d);
    R(nhk_column_sums)(gpu, rows, width, ld, a_d, b_d, product_d);
    R(check)("column_sums", width, sum, sum_d);
    R(check)("column_sums of products", width, product, product_d);
    free(a);
    free(b);
}

static void R(linear_case)(const nh_linear_map *map, size_t n)
{
    const size_t in = map->in.dim, out = map->out.dim;
    real *x = R(random)(n * in, 1), *w = R(random)(map->n_weight, 2), *bias = R(random)(map->n_bias, 3),
         *y = R(random)(n * out, 4), *gy = R(random)(n * out, 5), *gx = R(random)(n * in, 6),
         *gw = R(random)(map->n_weight, 7), *gb = R(random)(map->n_bias, 8);
    real *x_d = R(up)(n * in, x), *w_d = R(up)(map->n_weight, w), *b_d = R(up)(map->n_bias, bias), *y_d = R(up)(n * out, y),
         *gy_d = R(up)(n * out, gy), *gx_d = R(up)(n * in, gx), *gw_d = R(up)(map->n_weight, gw),
         *gb_d = R(up)(map->n_bias, gb);
    for (int add = 0; add < 2; add++) {
        R(nh_linear_forward)(map, n, x, w, bias, add, y);
        R(nhk_linear_forward)(gpu, map, n, x_d, w_d, b_d, add, y_d);
        R(check)("linear", n * out, R(copy)(n * out, y), y_d);
        R(nh_linear_backward)(map, n, gy, x, w, gx, add, gw, gb);
        R(nhk_linear_backward)(gpu, map, n, gy_d, x_d, w_d, gx_d, add, gw_d, gb_d);
        R(check)("linear, gx", n * in, R(copy)(n * in, gx), gx_d);
        R(check)("linear, gw", map->n_weight, R(copy)(map->n_weight, gw), gw_d);
        R(check)("linear, gbias", map->n_bias, R(copy)(map->n_bias, gb), gb_d);
    }
    real *list[] = {x, w, bias, y, gy, gx, gw, gb};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        free(list[i]);
}

static void R(linear_body)(tables *t, size_t n)
{
    R(linear_case)(&t->map, n);
    R(linear_case)(&t->post, n);
}

static void R(norm_body)(tables *t, size_t n)
{
    const nh_layout *l = &t->mid;
    const size_t dim = l->dim, c = l->channels, s = l->group[0].mul;
    real *x = R(random)(n * dim, 1), *gain = R(random)(c, 2), *shift = R(random)(s, 3), *y = R(random)(n * dim, 4),
         *gy = R(random)(n * dim, 5), *gx = R(random)(n * dim, 6), *gg = R(random)(c, 7), *gs = R(random)(s, 8);
    real *x_d = R(up)(n * dim, x), *gain_d = R(up)(c, gain), *shift_d = R(up)(s, shift), *y_d = R(blank)(n * dim),
         *gy_d = R(up)(n * dim, gy), *gx_d = R(up)(n * dim, gx), *gg_d = R(up)(c, gg), *gs_d = R(up)(s, gs);
    R(nh_norm_forward)(l, n, x, 0.03, gain, shift, y);
    R(nhk_norm_forward)(gpu, l, n, x_d, 0.03, gain_d, shift_d, y_d);
    R(check)("norm", n * dim, R(copy)(n * dim, y), y_d);
    for (int add = 0; add < 2; add++) {
        R(nh_norm_backward)(l, n, gy, x, 0.03, gain, gx, add, gg, gs);
        R(nhk_norm_backward)(gpu, l, n, gy_d, x_d, 0.03, gain_d, gx_d, add, gg_d, gs_d);
        R(check)("norm, gx", n * dim, R(copy)(n * dim, gx), gx_d);
    }
    R(nhk_norm_backward)(gpu, l, n, gy_d, x_d, 0.03, gain_d, gy_d, false, gg_d, gs_d); /* in place */
    R(nh_norm_backward)(l, n, gy, x, 0.03, gain, gy, false, gg, gs);
    R(check)("norm in place, gx", n * dim, gy, gy_d);
    R(check)("norm, ggain", c, gg, gg_d);
    R(check)("norm, gshift", s, gs, gs_d);
    real *list[] = {x, gain, shift, y, gx};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        free(list[i]);
}

static void R(gate_body)(tables *t, size_t n)
{
    const size_t in = t->gate.dim, out = t->mid.dim;
    real *x = R(random)(n * in, 1), *y = R(random)(n * out, 2), *gy = R(random)(n * out, 3), *gx = R(random)(n * in, 4);
    real *x_d = R(up)(n * in, x), *y_d = R(blank)(n * out), *gy_d = R(up)(n * out, gy), *gx_d = R(blank)(n * in);
    R(nh_gate_forward)(&t->gate, &t->mid, t->first, n, x, y);
    R(nhk_gate_forward)(gpu, &t->gate, &t->mid, t->first, n, x_d, y_d);
    R(check)("gate", n * out, y, y_d);
    R(nh_gate_backward)(&t->gate, &t->mid, t->first, n, gy, x, gx);
    R(nhk_gate_backward)(gpu, &t->gate, &t->mid, t->first, n, gy_d, x_d, gx_d);
    R(check)("gate, gx", n * in, gx, gx_d);
    free(x);
    free(gy);
}

/* A chain of three maps on the host and on the device, with gradients that begin at random numbers. */
typedef struct R(chain) {
    R(nh_mlp) host, device;
    R(nh_mlp_gradient) g, g_d;
    real *list[8][LAYERS], *list_d[8][LAYERS];
    size_t count[4][LAYERS];
} R(chain);

static void R(chain_new)(const size_t *width, bool norm, R(chain) * c)
{
    *c = (R(chain)){0};
    for (size_t i = 0; i < LAYERS; i++) {
        const bool hidden = i + 1 < LAYERS && norm;
        const size_t n[4] = {width[i] * width[i + 1], width[i + 1], hidden ? width[i + 1] : 0, hidden ? width[i + 1] : 0};
        for (size_t k = 0; k < 8; k++) {
            c->count[k % 4][i] = n[k % 4];
            c->list[k][i] = R(random)(n[k % 4], 100 * k + i);
            c->list_d[k][i] = n[k % 4] > 0 ? R(up)(n[k % 4], c->list[k][i]) : NULL;
        }
    }
    c->host = (R(nh_mlp)){.layers = LAYERS, .width = width, .weight = c->list[0], .bias = c->list[1], .eps = (real)1e-5};
    c->device = (R(nh_mlp)){.layers = LAYERS, .width = width, .weight = c->list_d[0], .bias = c->list_d[1], .eps = (real)1e-5};
    if (norm) {
        c->host.gain = c->list[2];
        c->host.shift = c->list[3];
        c->device.gain = c->list_d[2];
        c->device.shift = c->list_d[3];
    }
    c->g = (R(nh_mlp_gradient)){c->list[4], c->list[5], norm ? c->list[6] : NULL, norm ? c->list[7] : NULL};
    c->g_d = (R(nh_mlp_gradient)){c->list_d[4], c->list_d[5], norm ? c->list_d[6] : NULL, norm ? c->list_d[7] : NULL};
}

static void R(chain_check)(const char *what, R(chain) * c)
{
    for (size_t k = 4; k < 8; k++)
        for (size_t i = 0; i < LAYERS; i++)
            if (c->count[k - 4][i] > 0)
                R(check)(what, c->count[k - 4][i], R(copy)(c->count[k - 4][i], c->list[k][i]), c->list_d[k][i]);
}

static void R(chain_free)(R(chain) * c)
{
    for (size_t k = 0; k < 8; k++)
        for (size_t i = 0; i < LAYERS; i++)
            free(c->list[k][i]);
}

static void R(chains_body)(tables *t, size_t n)
{
    (void)t;
    for (int norm = 0; norm < 2; norm++) {
        R(chain) c;
        R(chain_new)(CHAIN, norm, &c);
        const size_t in = CHAIN[0], out = CHAIN[LAYERS], last = CHAIN[LAYERS - 1], hidden = R(nh_mlp_hidden_size)(&c.host);
        assert_int_equal(hidden, R(nhk_mlp_hidden_size)(&c.device));
        real *x = R(random)(n * in, 1), *y = R(random)(n * out, 2), *kept = R(random)(n * hidden, 3),
             *gy = R(random)(n * out, 4), *gx = R(random)(n * in, 5), *scratch = R(random)(n * 66, 6),
             *g = R(random)(n * last, 7), *room = R(random)(n * 33, 8);
        real *x_d = R(up)(n * in, x), *y_d = R(up)(n * out, y), *kept_d = R(blank)(n * hidden), *gy_d = R(up)(n * out, gy),
             *gx_d = R(up)(n * in, gx), *scratch_d = R(blank)(n * 66), *g_d = R(blank)(n * 33), *room_d = R(blank)(n * 33);
        nhk_upload(gpu, g_d, g, n * last * sizeof *g);
        real *wide = R(copy)(n * 33, room); /* the gradient comes in, those of wider layers go through it */
        if (n > 0) memcpy(wide, g, n * last * sizeof *g);
        for (int add = 0; add < 2; add++) {
            R(nh_mlp_forward)(&c.host, n, x, kept, y, add);
            R(nhk_mlp_forward)(gpu, &c.device, n, x_d, kept_d, y_d, add);
            R(check)("chain", n * out, R(copy)(n * out, y), y_d);
            R(nh_mlp_backward)(&c.host, n, gy, x, kept, scratch, gx, add, &c.g);
            R(nhk_mlp_backward)(gpu, &c.device, n, gy_d, x_d, kept_d, scratch_d, gx_d, add, &c.g_d);
            R(check)("chain, gx", n * in, R(copy)(n * in, gx), gx_d);
        }
        R(chain_check)("chain, gradients", &c);
        R(nh_mlp_input_gradient)(&c.host, n, wide, kept, room, gx);
        R(nhk_mlp_input_gradient)(gpu, &c.device, n, g_d, kept_d, room_d, gx_d);
        R(check)("chain, input gradient", n * in, gx, gx_d);
        real *list[] = {x, y, kept, gy, scratch, g, room, wide};
        for (size_t i = 0; i < sizeof list / sizeof *list; i++)
            free(list[i]);
        R(chain_free)(&c);
        OK(nhk_sync(gpu, &err));
        release();
    }
}

static void R(tangents_body)(tables *t, size_t n)
{
    (void)t;
    for (int kind = 0; kind < 4; kind++) { /* with and without norms; with gdy, or ones */
        R(chain) c;
        R(chain_new)(CHAIN, kind % 2, &c);
        const bool ones = kind / 2;
        const size_t in = CHAIN[0], out = CHAIN[LAYERS], size = R(nh_mlp_jvp_size)(&c.host);
        real *x = R(random)(2 * n * in, 1), *y = R(random)(2 * n * out, 2), *kept = R(random)(n * size, 3),
             *gy = R(random)(n * out, 4), *gdy = R(random)(n * out, 5), *gx = R(random)(2 * n * in, 6),
             *scratch = R(random)(n * 132, 7);
        real *x_d = R(up)(2 * n * in, x), *y_d = R(blank)(2 * n * out), *kept_d = R(blank)(n * size),
             *gy_d = R(up)(n * out, gy), *gdy_d = R(up)(n * out, gdy), *gx_d = R(blank)(2 * n * in),
             *scratch_d = R(blank)(n * 132);
        R(nh_mlp_jvp_forward)(&c.host, n, x, kept, y);
        R(nhk_mlp_jvp_forward)(gpu, &c.device, n, x_d, kept_d, y_d);
        R(check)("tangents", 2 * n * out, y, y_d);
        R(nh_mlp_jvp_backward)(&c.host, n, ones ? NULL : gy, ones ? NULL : gdy, x, kept, scratch, gx, &c.g);
        R(nhk_mlp_jvp_backward)
        (gpu, &c.device, n, ones ? NULL : gy_d, ones ? NULL : gdy_d, x_d, kept_d, scratch_d, gx_d, &c.g_d);
        R(check)("tangents, gx", 2 * n * in, gx, gx_d);
        R(chain_check)("tangents, gradients", &c);
        real *list[] = {x, kept, gy, gdy, scratch};
        for (size_t i = 0; i < sizeof list / sizeof *list; i++)
            free(list[i]);
        R(chain_free)(&c);
        OK(nhk_sync(gpu, &err));
        release();
    }
}

static void R(geometry_body)(tables *t, size_t n)
{
    const int lmax = t->config.sh_lmax;
    const size_t n_y = t->product.n_harmonic, n_m = t->product.n_matrix, basis = 13;
    uint64_t seed = 3;
    double *v = calloc(3 * n + 1, sizeof *v), *r = calloc(n + 1, sizeof *r), *y64 = calloc(n * n_y + 1, sizeof *y64);
    assert_true(v && r && y64);
    for (size_t i = 0; i < 3 * n; i++)
        v[i] = i < 3 && n > 1 ? 0 : 5 * uniform(&seed); /* one edge without direction */
    for (size_t i = 0; i < n; i++)
        r[i] = 8 * fabs(uniform(&seed));
    double *v_d = hold(nhk_alloc(gpu, 3 * n, sizeof *v)), *r_d = hold(nhk_alloc(gpu, n, sizeof *r));
    nhk_upload(gpu, v_d, v, 3 * n * sizeof *v);
    nhk_upload(gpu, r_d, r, n * sizeof *r);
    real *y = calloc(n * n_y + 1, sizeof *y), *across = calloc(n * n_y + 1, sizeof *across), *g = R(random)(n * basis, 1),
         *m = R(random)(n * n_m, 2), *m_rows = R(random)(n * n_m, 2), *y_d = R(blank)(n * n_y), *g_d = R(blank)(n * basis),
         *m_d = R(blank)(n * n_m);
    nh_spherical_harmonics(lmax, n, v, y64);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n_y; k++)
            y[i * n_y + k] = across[k * n + i] = (real)y64[i * n_y + k];
    R(nhk_harmonics_forward)(gpu, lmax, n, v_d, y_d);
    R(check)("harmonics", n * n_y, y, y_d);
    R(nh_gaussians_forward)(n, basis, 7, r, basis, g);
    R(nhk_gaussians_forward)(gpu, n, basis, 7, r_d, basis, g_d);
    R(check)("gaussians", n * basis, g, g_d);
    R(nh_coupling_forward)(&t->product, n, across, m);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n_m; k++)
            m_rows[i * n_m + k] = m[k * n + i];
    R(nhk_coupling_forward)(gpu, &t->product_d, n, y_d, m_d);
    R(check)("coupling", n * n_m, m_rows, m_d);
    free(v);
    free(r);
    free(y64);
    free(across);
    free(m);
}

static void R(product_body)(tables *t, size_t n)
{
    const nh_product *p = &t->product;
    const size_t in = p->in.dim, n_m = p->n_matrix, n_w = p->n_weight;
    real *m = R(random)(n * n_m, 2), *m_rows = R(random)(n * n_m, 2);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n_m; k++)
            m_rows[i * n_m + k] = m[k * n + i];
    real *m_d = R(up)(n * n_m, m_rows);
    for (int shared = 0; shared < 2; shared++) {
        const size_t stride = shared ? 0 : n_w, weights = shared ? n_w : n * n_w;
        real *x = R(random)(n * in, 1), *w = R(random)(weights, 3), *gx = R(random)(n * in, 4), *gw = R(random)(weights, 5);
        real *x_d = R(up)(n * in, x), *w_d = R(up)(weights, w), *gx_d = R(up)(n * in, gx), *gw_d = R(up)(weights, gw);
        for (size_t g = 0; g < p->out.count; g++) {
            const size_t out = n * p->out.group[g].dim;
            real *y = R(random)(out, 6), *gy = R(random)(out, 7), *y_d = nhk_alloc(gpu, out, sizeof *y),
                 *gy_d = nhk_alloc(gpu, out, sizeof *gy);
            nhk_upload(gpu, gy_d, gy, out * sizeof *gy);
            R(nh_product_forward)(p, g, n, x, m, w, stride, y);
            R(nhk_product_forward)(gpu, &t->product_d, g, n, x_d, m_d, w_d, stride, y_d);
            R(check)("product", out, y, y_d);
            R(nh_product_backward)(p, g, n, gy, x, m, w, stride, gx, gw);
            R(nhk_product_backward)(gpu, &t->product_d, g, n, gy_d, x_d, m_d, w_d, stride, gx_d, gw_d);
            nhk_free(gpu, y_d);
            nhk_free(gpu, gy_d);
            free(gy);
        }
        R(check)("product, gx", n * in, gx, gx_d);
        R(check)("product, gw", weights, gw, gw_d);
        free(x);
        free(w);
    }
    free(m);
    free(m_rows);
}

static void R(lift_body)(tables *t, size_t n)
{
    const nh_lift *p = &t->lift;
    const size_t in = p->in.dim, n_w = p->n_weight;
    real *x = R(random)(n * in, 1), *z = R(random)(n * in, 2), *w = R(random)(n_w, 3), *gx = R(random)(n * in, 4),
         *gz = R(random)(n * in, 5), *gw = R(random)(n_w, 6);
    real *x_d = R(up)(n * in, x), *z_d = R(up)(n * in, z), *w_d = R(up)(n_w, w), *gx_d = R(up)(n * in, gx),
         *gz_d = R(up)(n * in, gz), *gw_d = R(up)(n_w, gw);
    for (size_t g = 0; g < p->out.count; g++) {
        const size_t out = n * p->out.group[g].dim;
        real *y = R(random)(out, 7), *gy = R(random)(out, 8), *y_d = nhk_alloc(gpu, out, sizeof *y),
             *gy_d = nhk_alloc(gpu, out, sizeof *gy);
        nhk_upload(gpu, gy_d, gy, out * sizeof *gy);
        R(nh_lift_forward)(p, g, n, x, z, w, y);
        R(nhk_lift_forward)(gpu, &t->lift_d, g, n, x_d, z_d, w_d, y_d);
        R(check)("lift", out, y, y_d);
        R(nh_lift_backward)(p, g, n, gy, x, z, w, gx, gz, gw);
        R(nhk_lift_backward)(gpu, &t->lift_d, g, n, gy_d, x_d, z_d, w_d, gx_d, gz_d, gw_d);
        nhk_free(gpu, y_d);
        nhk_free(gpu, gy_d);
        free(gy);
    }
    R(check)("lift, gx", n * in, gx, gx_d);
    R(check)("lift, gy", n * in, gz, gz_d);
    R(check)("lift, gw", n_w, gw, gw_d);
    free(x);
    free(z);
    free(w);
}

static void R(heads_body)(tables *t, size_t n)
{
    const nh_layout *l = &t->heads;
    const size_t heads = t->config.heads, dim = l->dim;
    for (int part = 0; part < 2; part++) { /* all rows; every third, numbered from 4 */
        const size_t n_row = part ? (n + 2) / 3 : n;
        size_t row[80];
        int row_i[80];
        for (size_t i = 0; i < n_row; i++) {
            row[i] = part ? 3 * i : i;
            row_i[i] = (int)row[i] + 4;
        }
        const int *row_d = part ? ints(n_row, row_i) : NULL;
        real *a = R(random)(n * heads, 1), *v = R(random)(n * dim, 2), *y = R(random)(n_row * dim, 3),
             *gy = R(random)(n_row * dim, 4), *ga = R(random)(n * heads, 5), *gv = R(random)(n * dim, 6);
        real *a_d = R(up)(n * heads, a), *v_d = R(up)(n * dim, v), *y_d = R(blank)(n_row * dim),
             *gy_d = R(up)(n_row * dim, gy), *ga_d = R(up)(n * heads, ga), *gv_d = R(up)(n * dim, gv);
        R(nh_heads_forward)(l, heads, n, n_row, row, a, v, y);
        R(nhk_heads_forward)(gpu, l, heads, n, n_row, row_d, 4, a_d, v_d, y_d);
        R(check)("heads", n_row * dim, y, y_d);
        for (int add = 1; add >= 0; add--) {
            R(nh_heads_backward)(l, heads, n, n_row, row, gy, a, v, ga, gv, add);
            R(nhk_heads_backward)(gpu, l, heads, n, n_row, row_d, 4, gy_d, a_d, v_d, ga_d, gv_d, add);
            R(check)("heads, ga", n * heads, R(copy)(n * heads, ga), ga_d);
            R(check)("heads, gv", n * dim, R(copy)(n * dim, gv), gv_d);
        }
        real *list[] = {a, v, gy, ga, gv};
        for (size_t i = 0; i < sizeof list / sizeof *list; i++)
            free(list[i]);
    }
}

/* n edges to six nodes: one a hub with most of them, one without any; the hub's in two parts. */
static void R(softmax_body)(tables *t, size_t n)
{
    enum { NODES = 6, HUB = 2 };
    const nh_layout *l = &t->heads;
    const size_t heads = t->config.heads, dim = l->dim;
    int begin[NODES + 3], node_begin[NODES + 1] = {0}, node[80], n_part = 0;
    const size_t others = n > 8 ? 4 : 0; /* one edge for each of the nodes 0, 1, 3, 4 */
    size_t next = 0;
    for (int a = 0; a < NODES; a++) {
        const size_t mine = a == HUB ? n - others : a != 5 && others > 0 ? 1 : 0, half = a == HUB ? mine / 3 : 0;
        if (half > 0) begin[n_part++] = (int)next;
        if (mine > 0) begin[n_part++] = (int)(next + half);
        for (size_t i = 0; i < mine; i++)
            node[next++] = a;
        node_begin[a + 1] = n_part;
    }
    begin[n_part] = (int)n;
    const size_t parts = (size_t)n_part;
    real *a = R(random)(n * heads, 1), *copies = R(random)(n, 2), *v = R(random)(n * dim, 3),
         *max = R(random)(parts * heads, 4), *sum = R(random)(parts * heads, 5), *value = R(random)(parts * dim, 6),
         *y = R(random)(NODES * dim, 7), *gy = R(random)(NODES * dim, 8), *top = R(random)(NODES * heads, 9),
         *total = R(random)(NODES * heads, 10), *dot = R(random)(NODES * heads, 11), *ga = R(random)(n * heads, 12),
         *gv = R(random)(n * dim, 13);
    for (size_t i = 0; i < n; i++)
        copies[i] = i % 5 == 0 ? 2 : 1;
    for (size_t i = 0; i < n * heads; i++)
        a[i] *= 8;
    int moved[NODES + 3];
    for (int i = 0; i <= n_part; i++)
        moved[i] = begin[i] + 9;
    const int *begin_d = ints(parts + 1, moved), *node_begin_d = ints(NODES + 1, node_begin), *node_d = ints(n, node);
    real *a_d = R(up)(n * heads, a), *copies_d = R(up)(n, copies), *v_d = R(up)(n * dim, v), *max_d = R(blank)(parts * heads),
         *sum_d = R(blank)(parts * heads), *value_d = R(blank)(parts * dim), *y_d = R(blank)(NODES * dim),
         *gy_d = R(up)(NODES * dim, gy), *top_d = R(blank)(NODES * heads), *total_d = R(blank)(NODES * heads),
         *dot_d = R(blank)(NODES * heads), *ga_d = R(up)(n * heads, ga), *gv_d = R(up)(n * dim, gv);
    for (size_t p = 0; p < parts; p++)
        R(nh_softmax_partial_forward)
    (l, heads, n, (size_t)begin[p], (size_t)(begin[p + 1] - begin[p]), a, copies, v, max + p * heads, sum + p * heads,
     value + p * dim);
    R(nhk_softmax_partial_forward)(gpu, l, heads, n, parts, begin_d, 9, a_d, copies_d, v_d, max_d, sum_d, value_d);
    R(check)("softmax, max", parts * heads, R(copy)(parts * heads, max), max_d);
    R(check)("softmax, sum", parts * heads, R(copy)(parts * heads, sum), sum_d);
    R(check)("softmax, value", parts * dim, R(copy)(parts * dim, value), value_d);
    for (size_t k = 0; k < NODES; k++) {
        const size_t first = (size_t)node_begin[k], count = (size_t)node_begin[k + 1] - first;
        R(nh_softmax_merge_forward)
        (l, heads, count, max + first * heads, sum + first * heads, value + first * dim, y + k * dim);
        R(nh_softmax_merge_backward)
        (l, heads, count, gy + k * dim, max + first * heads, sum + first * heads, y + k * dim, top + k * heads,
         total + k * heads, dot + k * heads);
    }
    R(nhk_softmax_merge_forward)(gpu, l, heads, NODES, node_begin_d, max_d, sum_d, value_d, y_d);
    R(nhk_softmax_merge_backward)(gpu, l, heads, NODES, node_begin_d, gy_d, max_d, sum_d, y_d, top_d, total_d, dot_d);
    R(check)("softmax, y", NODES * dim, R(copy)(NODES * dim, y), y_d);
    R(check)("softmax, dot", NODES * heads, R(copy)(NODES * heads, dot), dot_d);
    for (int add = 0; add < 2; add++) {
        for (size_t p = 0; p < parts; p++) {
            const size_t k = (size_t)node[begin[p]];
            R(nh_softmax_partial_backward)
            (l, heads, n, (size_t)begin[p], (size_t)(begin[p + 1] - begin[p]), gy + k * dim, top + k * heads,
             total + k * heads, dot + k * heads, a, copies, v, ga, gv, add);
        }
        R(nhk_softmax_partial_backward)
        (gpu, l, heads, n, node_d, gy_d, top_d, total_d, dot_d, a_d, copies_d, v_d, ga_d, gv_d, add);
        R(check)("softmax, ga", n * heads, R(copy)(n * heads, ga), ga_d);
        R(check)("softmax, gv", n * dim, R(copy)(n * dim, gv), gv_d);
    }
    real *list[] = {a, copies, v, max, sum, value, y, gy, top, total, dot, ga, gv};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        free(list[i]);
}

static void R(invariants_body)(tables *t, size_t n)
{
    const nh_layout *l = &t->mid;
    const size_t dim = l->dim, pairs = l->pairs;
    const size_t width[LAYERS + 1] = {pairs, 11, 13, 6};
    R(chain) c;
    R(chain_new)(width, true, &c);
    const size_t work = R(nh_invariants_work)(l, &c.host);
    assert_int_equal(work, R(nhk_invariants_work)(l, &c.device));
    real *x = R(random)(n * dim, 1), *dx = R(random)(n * dim, 2), *q = R(random)(n * pairs, 3), *gq = R(random)(n * pairs, 4),
         *gx = R(random)(n * dim, 5), *k = R(random)(n, 6), *gz = R(random)(n * 6, 7), *room = R(random)(n * work, 8),
         *sum = R(copy)(n * dim, x);
    real *x_d = R(up)(n * dim, x), *dx_d = R(up)(n * dim, dx), *q_d = R(blank)(n * pairs), *gq_d = R(up)(n * pairs, gq),
         *gx_d = R(up)(n * dim, gx), *k_d = R(blank)(n), *gz_d = R(up)(n * 6, gz), *room_d = R(blank)(n * work),
         *sum_d = R(up)(n * dim, x);
    R(nh_pairs_forward)(l, n, x, q);
    R(nhk_pairs_forward)(gpu, l, t->pairs, n, x_d, q_d);
    R(check)("pairs", n * pairs, R(copy)(n * pairs, q), q_d);
    R(nh_pairs_tangent_forward)(l, n, x, dx, q);
    R(nhk_pairs_tangent_forward)(gpu, l, t->pairs, n, x_d, dx_d, q_d);
    R(check)("pairs, tangent", n * pairs, q, q_d);
    for (int add = 1; add >= 0; add--) {
        R(nh_pairs_backward)(l, n, gq, x, gx, add);
        R(nhk_pairs_backward)(gpu, l, n, gq_d, x_d, gx_d, add);
        R(check)("pairs, gx", n * dim, R(copy)(n * dim, gx), gx_d);
    }
    R(nh_tracegrad_factor_forward)(l, n, 0.3, x, dx, k);
    R(nhk_tracegrad_factor_forward)(gpu, l, n, 0.3, x_d, dx_d, k_d);
    R(nh_tracegrad_add_forward)(l, n, k, dx, sum);
    R(nhk_tracegrad_add_forward)(gpu, l, n, k_d, dx_d, sum_d);
    R(check)("tracegrad, x", n * dim, sum, sum_d);
    R(nh_tracegrad_add_backward)(l, n, k, dx, gx);
    R(nhk_tracegrad_add_backward)(gpu, l, n, k_d, dx_d, gx_d);
    R(check)("tracegrad, gy", n * dim, R(copy)(n * dim, gx), gx_d);
    R(check)("tracegrad, k", n, k, k_d);
    for (int kind = 0; kind < 4; kind++) { /* with z, with y, with both, with neither */
        const bool z = kind == 0 || kind == 2, y = kind == 1 || kind == 2;
        R(nh_invariants_backward)(l, &c.host, n, z ? gz : NULL, y ? dx : NULL, x, room, gx, kind % 2, &c.g);
        R(nhk_invariants_backward)
        (gpu, l, t->pairs, &c.device, n, z ? gz_d : NULL, y ? dx_d : NULL, x_d, room_d, gx_d, kind % 2, &c.g_d);
        R(check)("invariants, gx", n * dim, R(copy)(n * dim, gx), gx_d);
    }
    R(chain_check)("invariants, gradients", &c);
    R(chain_free)(&c);
    real *list[] = {x, dx, gq, gx, gz, room};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        free(list[i]);
}

/* Parameters packed and gradients unpacked, with places that no parameter fills; n is the width of the bilinear form. */
static void R(parameters_body)(tables *t, size_t n)
{
    const nh_linear_map *map = &t->map;
    const size_t weights = map->n_weight, some = weights + n, pairs = t->mid.pairs;
    size_t flat = 0, square = 0;
    for (size_t i = 0; i < weights; i++)
        flat = map->source[i] >= flat ? map->source[i] + 1 : flat;
    for (size_t i = 0; i < t->mid.n_entry; i++)
        square += t->mid.entry[i].mul * t->mid.entry[i].mul * n;
    int *source = calloc(some + 1, sizeof *source);
    assert_non_null(source);
    for (size_t i = 0; i < some; i++)
        source[i] = i < weights ? (int)map->source[i] : -1;
    const int *source_d = ints(some, source);
    real *p = R(random)(flat, 1), *packed = R(random)(some, 2), *gp = R(random)(some, 3), *g = R(random)(flat, 4);
    real *p_d = R(up)(flat, p), *packed_d = R(up)(some, packed), *gp_d = R(up)(some, gp), *g_d = R(up)(flat, g);
    R(nh_linear_pack)(map, p, packed);
    R(nhk_linear_pack)(gpu, some, source_d, p_d, packed_d);
    R(check)("linear_pack", some, packed, packed_d);
    R(nh_linear_unpack_add)(map, gp, g);
    R(nhk_linear_unpack_add)(gpu, some, source_d, gp_d, g_d);
    R(check)("linear_unpack_add", flat, g, g_d);

    real *f = R(random)(square, 5), *form = R(random)(pairs * n, 6), *gform = R(random)(pairs * n, 7), *gf = R(random)(square, 8);
    real *f_d = R(up)(square, f), *form_d = R(blank)(pairs * n), *gform_d = R(up)(pairs * n, gform), *gf_d = R(up)(square, gf);
    R(nh_pairs_pack)(&t->mid, n, f, form);
    R(nhk_pairs_pack)(gpu, &t->mid, t->pairs, n, f_d, form_d);
    R(check)("pairs_pack", pairs * n, form, form_d);
    R(nh_pairs_unpack_add)(&t->mid, n, gform, gf);
    R(nhk_pairs_unpack_add)(gpu, &t->mid, t->pairs, n, gform_d, gf_d);
    R(check)("pairs_unpack_add", square, gf, gf_d);
    real *list[] = {p, gp, f, gform};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        free(list[i]);
    free(source);
}

/* Ten steps of both kinds with the average, and the gradient's norm, against training/adam.c. */
static void R(optimiser_body)(tables *t, size_t n)
{
    const size_t count = 300 * n;
    const bool wide = sizeof(real) == sizeof(double);
    nh_param param = {.name = (char[]){"x"}, .count = count};
    const nh_params params = {.count = 1, .param = &param};
    (void)t;
    for (int kind = 0; kind < 2; kind++) {
        const nh_optimizer_settings o = {
            .kind = (nh_optimizer_kind)kind, .beta = {0.9, 0.99}, .eps = 1e-6, .weight_decay = 0.1};
        real *g = R(random)(count, 1), *m = R(room)(count), *v = R(room)(count), *w = R(random)(count, 2),
             *average = R(copy)(count, w);
        real *m_d = R(up)(count, m), *v_d = R(up)(count, v), *w_d = R(up)(count, w), *average_d = R(up)(count, average),
             *g_d = R(up)(count, g);
        nh_weights G = one_parameter(wide, &g), M = one_parameter(wide, &m), V = one_parameter(wide, &v),
                   W = one_parameter(wide, &w), A = one_parameter(wide, &average);
        for (uint64_t step = 1; step <= 10; step++) {
            const double lr = 1e-3 * (double)step, factor = 1 / (double)step;
            const nhk_adam numbers = nh_adam_numbers(&o, lr, step, factor);
            for (size_t i = 0; i < count; i++)
                g[i] = (real)sin((double)(i * step));
            nhk_upload(gpu, g_d, g, count * sizeof *g);
            nh_adam_step(&o, &params, lr, step, factor, &G, &M, &V, &W, NULL);
            R(nhk_adam_step)(gpu, &numbers, count, g_d, m_d, v_d, w_d);
            nh_weights_average(&params, 0.9, &W, &A, NULL);
            R(nhk_weights_average)(gpu, count, 0.9, w_d, average_d);
        }
        double norm = 0, *norm_d = hold(nhk_alloc(gpu, 1, sizeof *norm_d));
        for (int bad = 0; bad < 2 && count > 0; bad++) {
            if (bad) g[count - 1] = (real)NAN;
            nhk_upload(gpu, g_d, g, count * sizeof *g);
            R(nhk_weights_norm)(gpu, count, g_d, norm_d);
            nhk_download(gpu, &norm, norm_d, sizeof norm);
            OK(nhk_sync(gpu, &err));
            same_bits("norm", sizeof norm, &norm);
            assert_true(bad ? isnan(norm) : fabs(norm / nh_weights_norm(&params, &G) - 1) < 1e-13);
        }
        R(check)("m", count, m, m_d);
        R(check)("v", count, v, v_d);
        R(check)("weights", count, w, w_d);
        R(check)("average", count, average, average_d);
        free(g);
    }
}

#define NHK_CASE(name)                                                                                       \
    static void R(name)(void **state)                                                                        \
    {                                                                                                        \
        (void)state;                                                                                         \
        each(R(name##_body));                                                                                \
    }
NHK_CASE(rows)
NHK_CASE(sums)
NHK_CASE(linear)
NHK_CASE(norm)
NHK_CASE(gate)
NHK_CASE(chains)
NHK_CASE(tangents)
NHK_CASE(geometry)
NHK_CASE(product)
NHK_CASE(lift)
NHK_CASE(heads)
NHK_CASE(softmax)
NHK_CASE(invariants)
NHK_CASE(parameters)
NHK_CASE(optimiser)
#undef NHK_CASE
