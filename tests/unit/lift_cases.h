/* lift_cases.h - the tests of the lift's product, included once per precision by test_lift.c with `real`,
 * R(name) and TOLERANCE defined. */

static real *R(random_room)(size_t n, uint64_t seed)
{
    real *x = calloc(n + 1, sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = (real)uniform(&seed);
    return x;
}

/* All groups of the product of random tiles, and all gradients, against the definition written down with
 * whole 3j tensors in e3nn order. */
static void R(product)(void **state)
{
    (void)state;
    enum { N = 5 };
    model m = model_new(MIXED);
    const nh_types *t = &m.types;
    nh_lift p;
    OK(nh_lift_new(t, NULL, &p, &err));
    const size_t mid = t->mid.dim, dim = t->lift.dim;
    real *x = R(random_room)(N * mid, 1), *y = R(random_room)(N * mid, 2), *g = R(random_room)(N * dim, 3),
         *w = R(random_room)(p.n_weight, 4), *tx = R(random_room)(N * mid, 0),
         *ty = R(random_room)(N * mid, 0), *tg = R(random_room)(N * dim, 0),
         *out = R(random_room)(N * dim, 0), *found = R(random_room)(N * dim, 0),
         *gx = calloc(N * mid, sizeof *gx), *gy = calloc(N * mid, sizeof *gy),
         *gw = calloc(p.n_weight, sizeof *gw), *back = R(random_room)(N * mid, 0);
    double *expected = calloc(N * dim, sizeof *expected), *ex = calloc(N * mid, sizeof *ex),
           *ey = calloc(N * mid, sizeof *ey), *ew = calloc(p.n_weight, sizeof *ew);
    assert_true(gx && gy && gw && expected && ex && ey && ew);
    R(nh_from_e3nn)(&p.in, N, x, tx);
    R(nh_from_e3nn)(&p.in, N, y, ty);
    R(nh_from_e3nn)(&p.out, N, g, tg);
    for (size_t k = 0; k < p.out.count; k++) {
        const size_t at = N * p.out.group[k].offset;
        R(nh_lift_forward)(&p, k, N, tx, ty, w, out + at);
        R(nh_lift_backward)(&p, k, N, tg + at, tx, ty, w, gx, gy, gw);
    }
    R(nh_to_e3nn)(&p.out, N, out, found);

    size_t weight = 0;
    for (size_t k = 0; k < t->n_lift_path; k++) {
        const struct nh_lift_path *path = &t->lift_path[k];
        const nh_irrep *a = &t->mid.entry[path->first], *b = &t->mid.entry[path->second];
        const size_t da = 2 * (size_t)a->l + 1, db = 2 * (size_t)b->l + 1, dc = 2 * (size_t)path->l + 1;
        double *c = calloc(da * db * dc, sizeof *c);
        assert_non_null(c);
        OK(nh_wigner3j(a->l, b->l, path->l, c, &err));
        assert_int_equal(path->weight, weight);
        weight += path->mul;
        size_t entry = 0;
        while (t->lift.entry[entry].l != path->l || t->lift.entry[entry].p != path->p)
            entry++;
        for (size_t n = 0; n < N; n++)
            for (size_t u = 0; u < path->mul; u++)
                for (size_t i = 0; i < da * db * dc; i++) {
                    const size_t ia = n * mid + a->offset + u * da + i / (db * dc),
                                 ib = n * mid + b->offset + u * db + i / dc % db,
                                 ic = n * dim + t->lift.entry[entry].offset + (path->channel + u) * dc +
                                      i % dc;
                    const double v = sqrt((double)dc) * c[i], s = (double)w[path->weight + u];
                    expected[ic] += v * s * (double)x[ia] * (double)y[ib];
                    ex[ia] += v * s * (double)g[ic] * (double)y[ib];
                    ey[ib] += v * s * (double)g[ic] * (double)x[ia];
                    ew[path->weight + u] += v * (double)g[ic] * (double)x[ia] * (double)y[ib];
                }
        free(c);
    }
    assert_int_equal(weight, p.n_weight);
    assert_true(R(error)(N * dim, found, expected) < TOLERANCE);
    R(nh_to_e3nn)(&p.in, N, gx, back);
    assert_true(R(error)(N * mid, back, ex) < TOLERANCE);
    R(nh_to_e3nn)(&p.in, N, gy, back);
    assert_true(R(error)(N * mid, back, ey) < TOLERANCE);
    assert_true(R(error)(p.n_weight, gw, ew) < TOLERANCE);

    /* both factors one tile, gradients of one of them alone; a selection makes the same numbers */
    nh_irreps wanted;
    nh_lift q;
    OK(nh_irreps_parse("3x0o+7e+2e+2x6o", &wanted, &err));
    OK(nh_lift_new(t, &wanted, &q, &err));
    assert_int_equal(q.out.count, 4);
    for (size_t k = 0; k < q.out.count; k++) {
        const size_t same = nh_layout_find(&p.out, q.out.group[k].l, q.out.group[k].p);
        assert_int_equal(q.entry[k], same);
        R(nh_lift_forward)(&q, k, N, tx, ty, w, found);
        assert_memory_equal(found, out + N * p.out.group[same].offset, N * q.out.group[k].dim * sizeof(real));
    }
    for (size_t k = 0; k < p.out.count; k++)
        R(nh_lift_backward)(&p, k, N, tg + N * p.out.group[k].offset, tx, ty, w, NULL, back, NULL);
    nh_irreps_free(&wanted);
    nh_lift_free(&p);
    nh_lift_free(&q);
    model_free(&m);
    void *list[] = {x, y, g, w, tx, ty, tg, out, found, gx, gy, gw, back, expected, ex, ey, ew};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        free(list[i]);
}
