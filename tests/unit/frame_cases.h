/* frame_cases.h - included once per precision by test_frame.c with `real`, R(name) and TOLERANCE defined. */

static real *R(room)(size_t n, uint64_t seed)
{
    real *x = calloc(n + 1, sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; seed > 0 && i < n; i++)
        x[i] = (real)uniform(&seed);
    return x;
}

/* Equal within TOLERANCE of the largest number, which is one. */
static void R(same)(size_t n, const real *found, const real *expected, const char *what)
{
    double worst = 0, largest = 0;
    for (size_t i = 0; i < n; i++) {
        worst = fmax(worst, isfinite((double)found[i]) ? fabs((double)found[i] - (double)expected[i]) : INFINITY);
        largest = fmax(largest, fabs((double)expected[i]));
    }
    assert_true(largest > 0);
    if (!(worst <= TOLERANCE * largest)) fail_msg("%s: differs by %.3g of %.3g", what, worst, largest);
}

/* Every D_l is that of one rotation, D_1's, and turns the direction onto z. */
static void R(rotations)(void **state)
{
    (void)state;
    model m;
    model_open(CONFIG[2], &m);
    const size_t width = m.frame.n_rotation;
    real *d = R(room)(N * width, 0), *along = R(room)(N, 0);
    R(nh_frame_forward)(&m.frame, N, VECTOR[0], d, along);
    for (size_t t = 0; t < N; t++) {
        const double *v = VECTOR[t], length = sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
        static const int axis[3] = {1, 2, 0}; /* m = -1, 0, 1 are y, z, x */
        double q[9], big[225], y[64], worst = 0;
        assert_true(along[t] == (length > 0 ? 1 : 0));
        for (int i = 0; i < 3; i++)
            for (int k = 0; k < 3; k++)
                q[3 * axis[i] + axis[k]] = (double)d[t * width + (size_t)(3 * i + k)];
        for (int i = 0; i < 3 && length > 0; i++)
            worst = fmax(worst, fabs(q[3 * i] * v[0] + q[3 * i + 1] * v[1] + q[3 * i + 2] * v[2] - (i == 2 ? length : 0)) / length);
        nh_spherical_harmonics(7, 1, v, y);
        for (int l = 1; l <= 7; l++) {
            const size_t rows = 2 * (size_t)l + 1;
            const real *found = d + t * width + nh_frame_degree(l);
            OK(nh_wigner_d(l, q, big, &err));
            for (size_t a = 0; a < rows; a++) {
                double sum = 0;
                for (size_t b = 0; b < rows; b++) {
                    worst = fmax(worst, fabs((double)found[a * rows + b] - big[a * rows + b]) / 10);
                    sum += (double)found[a * rows + b] * y[(size_t)(l * l) + b] / 10;
                }
                if (length > 0) worst = fmax(worst, fabs(sum - (a == (size_t)l ? sqrt((double)rows) / 10 : 0)));
            }
        }
        if (!(worst < TOLERANCE)) fail_msg("(%g,%g,%g): off by %.3g", v[0], v[1], v[2], worst);
    }
    free(d);
    free(along);
    model_close(&m);
}

/* The matrices M of the vectors. */
static real *R(coupling)(const model *m)
{
    const nh_product *p = &m->product;
    double *y = calloc(N * p->n_harmonic, sizeof *y);
    real *transposed = R(room)(N * p->n_harmonic, 0), *matrix = R(room)(N * p->n_matrix, 0);
    assert_non_null(y);
    nh_spherical_harmonics(m->config.sh_lmax, N, VECTOR[0], y);
    for (size_t t = 0; t < N; t++)
        for (size_t k = 0; k < p->n_harmonic; k++)
            transposed[k * N + t] = (real)y[t * p->n_harmonic + k];
    R(nh_coupling_forward)(p, N, transposed, matrix);
    free(y);
    free(transposed);
    return matrix;
}

/* y = LIN(DTP(x)) and the gradients of sum(gy y) by x, the product's weights, the map's weights and biases. */
typedef struct R(result) {
    real *y, *gx, *gw, *gweight, *gbias;
} R(result);

static R(result) R(result_new)(const model *m, const nh_linear_map *map, size_t n_weight)
{
    return (R(result)){.y = R(room)(N * map->out.dim, 0),
                       .gx = R(room)(N * m->product.in.dim, 0),
                       .gw = R(room)(n_weight, 0),
                       .gweight = R(room)(map->n_weight, 0),
                       .gbias = R(room)(map->n_bias, 0)};
}

static void R(result_close)(R(result) * r)
{
    free(r->y);
    free(r->gx);
    free(r->gw);
    free(r->gweight);
    free(r->gbias);
}

typedef struct R(input) {
    real *x, *w, *weight, *bias, *gy;
    size_t stride, n_weight; /* of w, all of it */
} R(input);

static R(input) R(input_new)(const model *m, const nh_linear_map *map, bool shared)
{
    R(input) in = {.stride = shared ? 0 : m->product.n_weight, .n_weight = (shared ? 1 : N) * m->product.n_weight};
    in.x = R(room)(N * m->product.in.dim, 1);
    in.w = R(room)(in.n_weight, 2);
    in.weight = R(room)(map->n_weight, 3);
    in.bias = R(room)(map->n_bias, 4);
    in.gy = R(room)(N * map->out.dim, 5);
    return in;
}

static void R(input_close)(R(input) * in)
{
    free(in->x);
    free(in->w);
    free(in->weight);
    free(in->bias);
    free(in->gy);
}

static R(result) R(with_matrices)(const model *m, const nh_linear_map *map, const R(input) * in)
{
    const nh_product *p = &m->product;
    R(result) r = R(result_new)(m, map, in->n_weight);
    real *matrix = R(coupling)(m), *t = R(room)(N * p->out.dim, 0), *gt = R(room)(N * p->out.dim, 0);
    for (size_t g = 0; g < p->out.count; g++)
        R(nh_product_forward)(p, g, N, in->x, matrix, in->w, in->stride, t + N * p->out.group[g].offset);
    R(nh_linear_forward)(map, N, t, in->weight, in->bias, false, r.y);
    R(nh_linear_backward)(map, N, in->gy, t, in->weight, gt, false, r.gweight, r.gbias);
    for (size_t g = 0; g < p->out.count; g++)
        R(nh_product_backward)(p, g, N, gt + N * p->out.group[g].offset, in->x, matrix, in->w, in->stride, r.gx, r.gw);
    free(matrix);
    free(t);
    free(gt);
    return r;
}

static void R(compare)(const model *m, const nh_linear_map *map, const R(input) * in, R(result) * found)
{
    R(result) expected = R(with_matrices)(m, map, in);
    R(same)(N * map->out.dim, found->y, expected.y, "values");
    R(same)(N * m->product.in.dim, found->gx, expected.gx, "gradient of the features");
    R(same)(in->n_weight, found->gw, expected.gw, "gradient of the product's weights");
    R(same)(map->n_weight, found->gweight, expected.gweight, "gradient of the map's weights");
    R(same)(map->n_bias, found->gbias, expected.gbias, "gradient of the biases");
    R(result_close)(&expected);
    R(result_close)(found);
}

static void R(own_weights)(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_CONFIG; k++) {
        model m;
        model_open(CONFIG[k], &m);
        const nh_linear_map *map = &m.gates;
        const nh_frame *f = &m.frame;
        const nh_product *p = &m.product;
        R(input) in = R(input_new)(&m, map, false);
        R(result) r = R(result_new)(&m, map, in.n_weight);
        real *d = R(room)(N * f->n_rotation, 0), *along = R(room)(N, 0), *x = R(room)(N * p->in.dim, 0),
             *gy = R(room)(N * map->out.dim, 0), *aligned = R(room)(map->n_weight, 0), *galigned = R(room)(map->n_weight, 0),
             *t = R(room)(2 * N * f->most, 0), *gt = R(room)(2 * N * f->most, 0);
        memcpy(x, in.x, N * p->in.dim * sizeof *x);
        memcpy(gy, in.gy, N * map->out.dim * sizeof *gy);
        R(nh_frame_forward)(f, N, VECTOR[0], d, along);
        R(nh_rotate)(f, &p->in, N, d, false, x);
        R(nh_rotate)(f, &map->out, N, d, false, gy);
        R(nh_aligned_pack)(f, map, in.weight, aligned);
        for (size_t o = 0; o < map->out.count; o++)
            for (int row = 0; row <= map->out.group[o].l; row++) {
                const size_t g = map->block[o].in, at = N * map->out.group[o].offset;
                R(nh_aligned_forward)(f, g, row, N, x, along, in.w, in.stride, t);
                R(nh_aligned_linear_forward)(f, map, o, row, N, t, aligned, row == 0 ? in.bias : NULL, r.y + at);
                R(nh_aligned_linear_backward)
                (f, map, o, row, N, gy + at, t, aligned, gt, false, galigned, row == 0 ? r.gbias : NULL);
                R(nh_aligned_backward)(f, g, row, N, gt, x, along, in.w, in.stride, r.gx, r.gw);
            }
        R(nh_rotate)(f, &map->out, N, d, true, r.y);
        R(nh_rotate)(f, &p->in, N, d, true, r.gx);
        R(nh_aligned_unpack_add)(f, map, galigned, r.gweight);
        R(compare)(&m, map, &in, &r);
        R(input_close)(&in);
        real *const list[] = {d, along, x, gy, aligned, galigned, t, gt};
        for (size_t i = 0; i < sizeof list / sizeof *list; i++)
            free(list[i]);
        model_close(&m);
    }
}

static void R(shared_weights)(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_CONFIG; k++) {
        model m;
        model_open(CONFIG[k], &m);
        const nh_linear_map *map = &m.heads;
        const nh_frame *f = &m.frame;
        const nh_product *p = &m.product;
        const size_t size = nh_folded_size(f, map);
        R(input) in = R(input_new)(&m, map, true);
        R(result) r = R(result_new)(&m, map, in.n_weight);
        real *d = R(room)(N * f->n_rotation, 0), *along = R(room)(N, 0), *x = R(room)(N * p->in.dim, 0),
             *gy = R(room)(N * map->out.dim, 0), *folded = R(room)(size, 0), *gfolded = R(room)(size, 0),
             *room = R(room)(4 * N * f->most, 0);
        memcpy(x, in.x, N * p->in.dim * sizeof *x);
        memcpy(gy, in.gy, N * map->out.dim * sizeof *gy);
        R(nh_frame_forward)(f, N, VECTOR[0], d, along);
        R(nh_rotate)(f, &p->in, N, d, false, x);
        R(nh_rotate)(f, &map->out, N, d, false, gy);
        R(nh_folded_pack)(f, map, in.w, in.weight, folded);
        R(nh_folded_forward)(f, map, N, x, along, folded, in.bias, room, r.y);
        R(nh_rotate)(f, &map->out, N, d, true, r.y);
        R(nh_folded_backward)(f, map, N, gy, x, along, folded, room, r.gx, gfolded, r.gbias);
        R(nh_rotate)(f, &p->in, N, d, true, r.gx);
        R(nh_folded_unpack_add)(f, map, in.w, in.weight, gfolded, r.gw, r.gweight);
        R(compare)(&m, map, &in, &r);
        R(input_close)(&in);
        real *const list[] = {d, along, x, gy, folded, gfolded, room};
        for (size_t i = 0; i < sizeof list / sizeof *list; i++)
            free(list[i]);
        model_close(&m);
    }
}
