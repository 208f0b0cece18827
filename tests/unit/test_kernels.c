/* Our own matrix products against BLAS's, and the radial weights on shared distances and on a grid against the radial
 * network itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "random.h"

#include "base/memory.h"
#include "network/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static nh_error err;
#define OK(call)                                                                                             \
    do {                                                                                                     \
        if ((call) != 0) fail_msg("%s", err.text);                                                           \
    } while (0)

/* Of the sum of k products of numbers below 1. */
static double tolerance(size_t size, size_t k)
{
    return (size == sizeof(float) ? 1e-6 : 1e-15) * (double)(k + 1);
}

/* All four kinds of product, rows that lie apart, added or not; what lies between the rows is left alone. */
#define DEFINE_PRODUCTS(real, suffix)                                                                        \
    static void product_##suffix(size_t m, size_t n, size_t k, unsigned kind)                                \
    {                                                                                                        \
        const bool ta = kind & 1, tb = kind & 2, add = kind & 4;                                             \
        const size_t lda = (ta ? m : k) + 3, ldb = (tb ? k : n) + (kind & 8 ? 70 : 1), ldc = n + 2;          \
        const size_t rows_a = ta ? k : m, rows_b = tb ? n : k;                                               \
        real *a = NH_ARRAY(real, rows_a * lda), *b = NH_ARRAY(real, rows_b * ldb),                           \
             *c[3] = {NH_ARRAY(real, m * ldc), NH_ARRAY(real, m * ldc), NH_ARRAY(real, m * ldc)};            \
        real *panels = NH_ARRAY(real, nh_panels_size_##suffix(n, k));                                        \
        assert_true(a &&b &&c[0] && c[1] && c[2] && panels);                                                 \
        uint64_t s = m + 100 * n + 10000 * k + kind;                                                         \
        for (size_t i = 0; i < rows_a * lda; i++)                                                            \
            a[i] = (real)uniform(&s);                                                                        \
        for (size_t i = 0; i < rows_b * ldb; i++)                                                            \
            b[i] = (real)uniform(&s);                                                                        \
        for (size_t i = 0; i < m * ldc; i++)                                                                 \
            c[0][i] = c[1][i] = c[2][i] = (real)uniform(&s);                                                 \
        nh_gemm_##suffix(NH_METHOD_REFERENCE, ta, tb, m, n, k, a, lda, b, ldb, add, c[0], ldc);              \
        nh_gemm_##suffix(NH_METHOD_FAST, ta, tb, m, n, k, a, lda, b, ldb, add, c[1], ldc);                   \
        nh_panels_##suffix(tb, n, k, b, ldb, panels);                                                        \
        if (!ta) nh_gemm_panels_##suffix(m, n, k, a, lda, panels, add, c[2], ldc);                           \
        for (size_t i = 0; i < m * ldc; i++) {                                                               \
            const double bound = i % ldc < n ? tolerance(sizeof(real), k) : 0;                               \
            assert_true(fabs((double)(c[0][i] - c[1][i])) <= bound);                                         \
            if (!ta) assert_true(fabs((double)(c[0][i] - c[2][i])) <= bound);                                \
        }                                                                                                    \
        free(a);                                                                                             \
        free(b);                                                                                             \
        for (size_t i = 0; i < 3; i++)                                                                       \
            free(c[i]);                                                                                      \
        free(panels);                                                                                        \
    }
DEFINE_PRODUCTS(float, f)
DEFINE_PRODUCTS(double, d)

static void products(void **state)
{
    (void)state;
    static const size_t size[][3] = {{1, 1, 1},      {5, 3, 2},     {6, 8, 9},    {7, 16, 31},
                                     {12, 17, 33},   {13, 4, 64},   {48, 64, 7},  {47, 31, 96},
                                     {200, 24, 257}, {66, 40, 513}, {193, 9, 300}};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++)
        for (unsigned kind = 0; kind < 16; kind++) {
            product_f(size[i][0], size[i][1], size[i][2], kind);
            product_d(size[i][0], size[i][1], size[i][2], kind);
        }
}

/* A row's numbers are the same whatever rows are beside it. */
static void rows_alone(void **state)
{
    (void)state;
    enum { M = 23, N = 37, K = 300 };
    static float a[M * K], b[K * N], all[M * N], one[N];
    uint64_t s = 1;
    for (size_t i = 0; i < M * K; i++)
        a[i] = (float)uniform(&s);
    for (size_t i = 0; i < K * N; i++)
        b[i] = (float)uniform(&s);
    nh_gemm_f(NH_METHOD_FAST, false, false, M, N, K, a, K, b, N, false, all, N);
    for (size_t t = 0; t < M; t++) {
        nh_gemm_f(NH_METHOD_FAST, false, false, 1, N, K, a + t * K, K, b, N, false, one, N);
        assert_memory_equal(one, all + t * N, sizeof one);
    }
}

/* Radial weights of the standard network's blocks as a run finds them, against the radial network at each distance:
 * the largest difference over the largest weight. */
static double radial_error(const nh_network_f *net, const nh_edges *g, double *step, size_t *n_knot)
{
    const nh_config *c = net->config;
    const size_t width = net->product.n_weight, n = g->n_edge;
    const nh_chain *m = &net->block[0].radial;
    nh_work work = {0};
    nh_timer timer;
    nh_pass f = {.net = net, .graph = g, .threads = 1, .work = &work, .timer = &timer};
    OK(nh_count_knots_f(&f, &err));
    *step = f.step;
    *n_knot = f.n_knot;
    f.knot = NH_ARRAY(double, f.n_knot);
    f.knot_of = NH_ARRAY(size_t, n);
    f.order = NH_ARRAY(size_t, n);
    f.position = NH_ARRAY(size_t, n);
    f.knot_weight = NH_ARRAY(float, f.n_knot *width);
    work.gaussians = NH_ARRAY(float, n * c->radial_basis);
    work.radial_hidden = NH_ARRAY(float, n *nh_mlp_hidden_size_f(m));
    work.weight = NH_ARRAY(float, n *width);
    work.distance = NH_ARRAY(double, n);
    float *exact = NH_ARRAY(float, n *width);
    assert_true(f.knot && f.knot_of && f.order && f.position && f.knot_weight && work.gaussians &&
                work.radial_hidden && work.weight && work.distance && exact);
    for (size_t i = 0; i < n; i++) {
        f.order[i] = f.position[i] = i;
        work.distance[i] = g->distance[i];
    }
    OK(nh_set_knots_f(&f, &err));
    nh_make_knots_f(&f, m, true);
    nh_radial_weights_f(&f, n, NULL, 0, work.distance, work.weight);
    nh_gaussians_forward_f(n, c->radial_basis, c->radial_max, g->distance, c->radial_basis, work.gaussians);
    nh_mlp_forward_f(m, n, work.gaussians, work.radial_hidden, exact, false);
    double largest = 0, difference = 0;
    for (size_t i = 0; i < n * width; i++) {
        largest = fmax(largest, fabs((double)exact[i]));
        difference = fmax(difference, fabs((double)(exact[i] - work.weight[i])));
    }
    void *const list[] = {f.knot,         f.knot_of,          f.order,     f.position,    f.knot_weight,
                          work.gaussians, work.radial_hidden, work.weight, work.distance, exact};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        free(list[i]);
    return difference / largest;
}

static void radial_weights(void **state)
{
    (void)state;
    static const char *const text[] = {"basis: 4s2p2d1f\n",
                                       "basis: 2s1p1d\nradial: {basis: 32, max: 9.0, hidden: [16, 8]}\n"};
    for (size_t k = 0; k < 2; k++) {
        nh_config c;
        nh_types t;
        nh_params p;
        nh_weights w;
        nh_network_f *net;
        OK(nh_config_parse(text[k], "test", &c, &err));
        OK(nh_types_new(&c, &t, &err));
        OK(nh_params_new(&c, &p, &err));
        OK(nh_weights_new(&p, false, &w, &err));
        OK(nh_weights_init(&p, 3, 0, &w, &err));
        size_t *all = NH_ARRAY(size_t, t.out.count);
        assert_non_null(all);
        for (size_t i = 0; i < t.out.count; i++)
            all[i] = i;
        OK(nh_network_f_new(&c, &t, &p, &w, 0, &t.out, all, &t.out, all, false, NH_METHOD_FAST, NULL, &net,
                            &err));
        enum { MANY = 12000 };
        static int zero[MANY];
        double *vector = NH_ARRAY(double, 3 * MANY), *distance = NH_ARRAY(double, MANY), step;
        assert_true(vector && distance);
        size_t n_knot;
        uint64_t s = 5;
        for (size_t e = 0; e < MANY; e++)
            vector[3 * e] = distance[e] = e == 0 ? 0 : 4 + 3.9999 * uniform(&s);
        nh_edges g = {
            .n_node = 1, .n_edge = MANY, .src = zero, .dst = zero, .vector = vector, .distance = distance};
        const double grid = radial_error(net, &g, &step, &n_knot);
        assert_true(step > 0 && n_knot < MANY);
        if (getenv("NH_VERBOSE")) printf("radial weights on %zu points: error %.1e\n", n_knot, grid);
        assert_true(grid < 1.5e-6); /* 1e-6 with room for another machine's rounding */
        /* few edges, two with each length: no grid, and the same numbers as without sharing */
        g.n_edge = 200;
        for (size_t e = 100; e < 200; e++) {
            vector[3 * e] = -vector[3 * (e - 100)];
            distance[e] = distance[e - 100];
        }
        assert_true(radial_error(net, &g, &step, &n_knot) < 1e-9);
        assert_true(step == 0 && n_knot == 100);
        free(vector);
        free(distance);
        free(all);
        nh_network_f_free(net);
        nh_weights_free(&w);
        nh_params_free(&p);
        nh_types_free(&t);
        nh_config_free(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products),
        cmocka_unit_test(rows_alone),
        cmocka_unit_test(radial_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
