/* The options of network/OPTIONS.md: types and parameters, the product, what symmetry demands of the whole
 * network. Gradients through the network: test_gradient.c. */
#include "check.h"
#include "model.h"
#include "random.h"

#include "base/memory.h"
#include "network/network.h"
#include "o3/wigner.h"
#include "ops/ops.h"

/* Degrees and parities of the standard network, few channels; multiplicities that fill a vector and that do
 * not. */
static const char MIXED[] = "basis: 1s1p1d1f\nmid: 9x0e+3x1o+8x1e+2x2e+4x2o+2x3e+5x3o+2x4e\nlift: true\n";
static const char SMALL[] = "basis: 1s1p1d1f\nmid: 4x0e+3x1o+2x1e+2x2e+2x2o+2x3e+2x3o+2x4e\n"
                            "heads: 2\nblocks: 2\nsh_lmax: 4\nradial: {basis: 8, max: 6, hidden: [8, 8]}\n"
                            "tracegrad: {hidden: 12, hidden_last: 10, z: 8%s}\ntrace_head: [8]\n"
                            "ranges: [[0, 2], [2, 4]]\nalpha_hidden: [8, 8]\nedge_scalars: 4\n%s";
static const struct {
    int l, p;
} BEYOND[] = {{0, -1}, {4, -1}, {5, 1}, {5, -1}, {6, 1}, {6, -1}, {7, 1}};
enum { N_BEYOND = sizeof BEYOND / sizeof *BEYOND };

static model model_new(const char *text)
{
    model m;
    model_parse(text, "test", &m);
    return m;
}

/* Largest |a - b| over largest |b|. */
#define DEFINE_ERROR(real, name)                                                                             \
    static double name(size_t n, const real *a, const double *b)                                             \
    {                                                                                                        \
        double d = 0, scale = 0;                                                                             \
        for (size_t i = 0; i < n; i++) {                                                                     \
            const double e = fabs((double)a[i] - b[i]);                                                      \
            if (!(e <= d)) d = e;                                                                            \
            if (fabs(b[i]) > scale) scale = fabs(b[i]);                                                      \
        }                                                                                                    \
        assert_true(scale > 0);                                                                              \
        return d / scale;                                                                                    \
    }
DEFINE_ERROR(float, error_f)
DEFINE_ERROR(double, error_d)

#define real float
#define R(name) name##_f
#define TOLERANCE 3e-6
#include "lift_cases.inc"
#undef real
#undef R
#undef TOLERANCE
#define real double
#define R(name) name##_d
#define TOLERANCE 1e-13
#include "lift_cases.inc"
#undef real
#undef R
#undef TOLERANCE

/* ---- OPTIONS.md 1.3, 1.4, 2.2: the numbers printed there */

static size_t count_of(const model *m, const char *name)
{
    const size_t i = nh_params_find(&m->params, name);
    if (i == SIZE_MAX) fail_msg("no parameter %s", name);
    return m->params.param[i].count;
}

static void tables(void **state)
{
    (void)state;
    model m = model_new("lift: true\nedge_init: paper\n"), plain = model_new("heads: 4\n");
    char *lift = nh_irreps_text(&m.types.lift), *post = nh_irreps_text(&m.types.post);
    assert_string_equal(lift, "104x0e+32x0o+56x1e+88x1o+144x2e+104x2o+80x3e+96x3o+104x4e+72x4o+40x5e+48x5o+"
                              "40x6e+24x6o+8x7e");
    assert_string_equal(post, "32x0e+16x1o+16x1e+8x2e+8x2o+8x3e+8x3o+8x4e+"
                              "68x0e+136x1o+144x1e+144x2o+152x2e+112x3o+112x3e+56x4e");
    assert_int_equal(m.types.n_lift_path, 118);
    assert_int_equal(m.types.n_lift_weight, 1040);
    assert_int_equal(m.types.lift.dim, 6544);
    assert_int_equal(count_of(&m, "lift.tp.weight"), 1040);
    assert_int_equal(count_of(&m, "blocks.3.ga.edge_proj.tp.weight"), 52480);
    assert_int_equal(count_of(&m, "blocks.3.ga.edge_proj.bias.1"), 68);
    assert_int_equal(count_of(&m, "edge_feature_nonlin_block.3.fctp.weight"), 950272);
    assert_int_equal(count_of(&m, "edge_lin.tp.weight"), 225648);
    assert_int_equal(count_of(&m, "edge_init.pre_lin.tp.weight"), 5568);
    assert_int_equal(count_of(&m, "edge_init.dtp_rad.net.6.weight"), 74240);
    assert_int_equal(count_of(&m, "edge_init.dtp_rad.offset"), 1160);
    assert_int_equal(count_of(&m, "edge_init.lin.tp.weight"), 12992);
    const size_t last = nh_params_find(&m.params, "edge_feature_nonlin_block.3.nonlinear_layers.0.weight");
    assert_int_equal(m.params.param[last].acts, NH_ACTS_HAM | NH_ACTS_TRACE);
    /* without the options none of it */
    assert_int_equal(plain.types.n_lift_path, 0);
    assert_true(nh_irreps_equal(&plain.types.to_lin, &plain.types.post));
    assert_int_equal(count_of(&plain, "edge_lin.tp.weight"), 126584);
    for (size_t i = 0; i < plain.params.count; i++) {
        const char *name = plain.params.param[i].name;
        assert_true(strncmp(name, "lift", 4) != 0 && strncmp(name, "edge_init", 9) != 0);
    }
    /* every irrep of OUT that MID lacks can be reached, with few channels too */
    model small = model_new(MIXED);
    for (size_t k = 0; k < N_BEYOND; k++) {
        assert_true(nh_irreps_count(&small.types.mid, BEYOND[k].l, BEYOND[k].p) == 0);
        assert_true(nh_irreps_count(&small.types.out, BEYOND[k].l, BEYOND[k].p) > 0);
        assert_true(nh_irreps_count(&small.types.lift, BEYOND[k].l, BEYOND[k].p) > 0);
    }
    free(lift);
    free(post);
    model_close(&m);
    model_close(&plain);
    model_close(&small);
}

/* ---- the whole network on a small graph */

enum { N_NODE = 3, N_EDGE = 40 };

typedef struct graph {
    int src[N_EDGE], dst[N_EDGE];
    double vector[3 * N_EDGE], distance[N_EDGE], *features; /* [N_EDGE][out] */
    double *ham, *trace;                                    /* answers */
    size_t dim, pairs;
} graph;

static nh_edges edges_of(const graph *g)
{
    return (nh_edges){N_NODE, N_EDGE, g->src, g->dst, g->vector, g->distance};
}

static graph graph_new(const model *m)
{
    graph g = {.dim = m->types.out.dim, .pairs = m->types.n_shell_pair};
    uint64_t s = 11;
    g.features = calloc(N_EDGE * g.dim, sizeof(double));
    g.ham = calloc(N_EDGE * g.dim, sizeof(double));
    g.trace = calloc(N_EDGE * g.pairs, sizeof(double));
    assert_true(g.features && g.ham && g.trace);
    for (size_t e = 0; e < N_EDGE; e++) {
        g.src[e] = (int)(e % N_NODE);
        g.dst[e] = e < N_NODE ? (int)e : (int)(e * 7 / N_NODE % N_NODE);
        for (size_t x = 0; x < 3 && e >= N_NODE; x++)
            g.vector[3 * e + x] = 2.4 * uniform(&s);
        const double *v = g.vector + 3 * e;
        g.distance[e] = round(sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]) * 1e8) / 1e8;
    }
    for (size_t i = 0; i < N_EDGE * g.dim; i++)
        g.features[i] = uniform(&s);
    return g;
}

static void graph_free(graph *g)
{
    free(g->features);
    free(g->ham);
    free(g->trace);
}

#define DEFINE_RUN(real, net)                                                                                \
    static void net##_features(void *context, size_t first, size_t n, real *out)                             \
    {                                                                                                        \
        const graph *g = context;                                                                            \
        for (size_t i = 0; i < n * g->dim; i++)                                                              \
            out[i] = (real)g->features[first * g->dim + i];                                                  \
    }                                                                                                        \
    static void net##_answers(void *context, size_t n, const size_t *edge, const real *ham,                  \
                              const real *trace)                                                             \
    {                                                                                                        \
        graph *g = context;                                                                                  \
        for (size_t t = 0; t < n; t++) {                                                                     \
            for (size_t i = 0; i < g->dim; i++)                                                              \
                g->ham[edge[t] * g->dim + i] += (double)ham[t * g->dim + i];                                 \
            for (size_t i = 0; trace != NULL && i < g->pairs; i++)                                           \
                g->trace[edge[t] * g->pairs + i] += (double)trace[t * g->pairs + i];                         \
        }                                                                                                    \
    }                                                                                                        \
    /* Sum of the two sub-models. */                                                                         \
    static void net##_run(const model *m, graph *g, bool trace, bool everywhere, const net##_probe *probe)   \
    {                                                                                                        \
        const nh_edges edges = edges_of(g);                                                                  \
        size_t *entry = calloc(m->types.out.count, sizeof *entry);                                           \
        assert_non_null(entry);                                                                              \
        for (size_t i = 0; i < m->types.out.count; i++)                                                      \
            entry[i] = i;                                                                                    \
        memset(g->ham, 0, N_EDGE * g->dim * sizeof(double));                                                 \
        memset(g->trace, 0, N_EDGE * g->pairs * sizeof(double));                                             \
        for (size_t r = 0; r < m->config.n_range; r++) {                                                     \
            nh_weights w;                                                                                    \
            net *n;                                                                                          \
            OK(nh_weights_new(&m->params, true, &w, &err));                                                  \
            OK(nh_weights_init(&m->params, 7, r, &w, &err));                                                 \
            OK(net##_new(&m->config, &m->types, &m->params, &w, r, &m->types.out, entry, &m->types.out,      \
                         entry, trace, NH_METHOD_FAST, NULL, &n, &err));                                     \
            OK(net##_forward(n, &edges, net##_features, g, net##_answers, g, everywhere, probe, NULL, NULL,  \
                             &err));                                                                         \
            net##_free(n);                                                                                   \
            nh_weights_free(&w);                                                                             \
        }                                                                                                    \
        free(entry);                                                                                         \
    }
DEFINE_RUN(float, nh_network_f)
DEFINE_RUN(double, nh_network_d)

static model small_model(const char *tracegrad, const char *options)
{
    char text[1024];
    snprintf(text, sizeof text, SMALL, tracegrad, options);
    return model_new(text);
}

/* The vectors [n][out] turned by q and, with `inversion`, inverted. */
static void turn(const model *m, const double *q, bool inversion, size_t n, const double *x, double *y)
{
    const nh_irreps *out = &m->types.out;
    double d[15 * 15];
    for (size_t i = 0; i < out->count; i++) {
        const nh_irrep *a = &out->entry[i];
        const size_t rows = 2 * (size_t)a->l + 1;
        OK(nh_wigner_d(a->l, q, d, &err));
        for (size_t t = 0; t < n; t++)
            for (size_t r = 0; r < rows; r++) {
                double sum = 0;
                for (size_t c = 0; c < rows; c++)
                    sum += d[r * rows + c] * x[t * out->dim + a->offset + c];
                y[t * out->dim + a->offset + r] = inversion ? a->p * sum : sum;
            }
    }
}

/* The largest error of the outputs of one irrep against the largest of these numbers. */
static double error_by_irrep(const model *m, const double *a, const double *b)
{
    const nh_irreps *out = &m->types.out;
    double worst = 0;
    for (int l = 0; l <= 7; l++)
        for (int p = -1; p <= 1; p += 2) {
            double d = 0, scale = 0;
            for (size_t i = 0; i < N_EDGE * out->count; i++) {
                const nh_irrep *x = &out->entry[i % out->count];
                if (x->l != l || x->p != p) continue;
                for (size_t at = i / out->count * out->dim + x->offset, k = 0; k < 2 * (size_t)l + 1; k++) {
                    if (!(fabs(a[at + k] - b[at + k]) <= d)) d = fabs(a[at + k] - b[at + k]);
                    if (fabs(b[at + k]) > scale) scale = fabs(b[at + k]);
                }
            }
            if (scale > 0 && d / scale > worst) worst = d / scale;
            if (getenv("NH_VERBOSE") != NULL)
                fprintf(stderr, "%d%c: %.1e of %.1e\n", l, p > 0 ? 'e' : 'o', d, scale);
        }
    return worst;
}

static const char *const OPTIONS[] = {"lift: true\n", "edge_init: paper\n", "lift: true\nedge_init: paper\n"};
static const char *const SCALES[] = {"", ", scale: 0"};

static void covariance(void **state)
{
    (void)state;
    const double axis[3] = {0.48, -0.6, 0.64};
    double q[9];
    nh_rotation(axis, 1.1, q);
    for (size_t k = 0; k < 6; k++) {
        model m = small_model(SCALES[k / 3], OPTIONS[k % 3]);
        graph a = graph_new(&m), b = graph_new(&m);
        nh_network_d_run(&m, &a, true, false, NULL);
        double *turned = calloc(N_EDGE * a.dim, sizeof *turned);
        assert_non_null(turned);
        for (int inversion = 0; inversion < 2; inversion++) {
            turn(&m, q, inversion, N_EDGE, a.features, b.features);
            for (size_t e = 0; e < N_EDGE; e++)
                for (size_t i = 0; i < 3; i++) {
                    b.vector[3 * e + i] = 0;
                    for (size_t j = 0; j < 3; j++)
                        b.vector[3 * e + i] += (inversion ? -1 : 1) * q[3 * i + j] * a.vector[3 * e + j];
                }
            nh_network_d_run(&m, &b, true, false, NULL);
            turn(&m, q, inversion, N_EDGE, a.ham, turned);
            const double ham = error_by_irrep(&m, b.ham, turned),
                         trace = error_d(N_EDGE * a.pairs, b.trace, a.trace);
            if (getenv("NH_VERBOSE") != NULL) fprintf(stderr, "%zu %d: %g %g\n", k, inversion, ham, trace);
            assert_true(ham < 1e-11 && trace < 1e-11);
        }
        free(turned);
        graph_free(&a);
        graph_free(&b);
        model_close(&m);
    }
}

/* Largest output of an irrep: of the on-site edges, of all others in range. */
static void largest(const model *m, const graph *g, int l, int p, double *onsite, double *other)
{
    *onsite = *other = 0;
    for (size_t i = 0; i < m->types.out.count; i++) {
        const nh_irrep *a = &m->types.out.entry[i];
        if (a->l != l || a->p != p) continue;
        for (size_t e = 0; e < N_EDGE; e++)
            for (size_t c = 0; c < 2 * (size_t)l + 1; c++) {
                const double v = fabs(g->ham[e * g->dim + a->offset + c]);
                double *to = e < N_NODE ? onsite : other;
                if (v > *to) *to = v;
            }
    }
}

static void irreps_beyond(void **state)
{
    (void)state;
    static const char *const off[] = {"lift: false\n", "edge_init: paper\n"};
    for (size_t k = 0; k < 4; k++) {
        const bool lift = k < 2;
        model m = small_model(SCALES[k % 2], lift ? "lift: true\n" : off[k % 2]);
        graph g = graph_new(&m);
        nh_network_d_run(&m, &g, false, false, NULL);
        for (size_t i = 0; i < N_BEYOND; i++) {
            double onsite, other;
            largest(&m, &g, BEYOND[i].l, BEYOND[i].p, &onsite, &other);
            if (lift)
                assert_true(onsite > 1e-6 && other > 1e-6);
            else
                assert_true(onsite == 0 && other == 0);
        }
        graph_free(&g);
        model_close(&m);
    }
}

/* Single precision; every block on all edges; zeros outside; without the trace. */
static void same_numbers(void **state)
{
    (void)state;
    for (size_t k = 0; k < 6; k++) {
        model m = small_model(SCALES[k / 3], OPTIONS[k % 3]);
        graph a = graph_new(&m), b = graph_new(&m);
        const size_t n = N_EDGE * a.dim, pairs = N_EDGE * a.pairs;
        nh_network_d_run(&m, &a, true, false, NULL);
        nh_network_f_run(&m, &b, true, false, NULL);
        assert_true(error_d(n, b.ham, a.ham) < 2e-4 && error_d(pairs, b.trace, a.trace) < 2e-4);
        nh_network_d_run(&m, &b, true, true, NULL);
        assert_memory_equal(a.ham, b.ham, n * sizeof(double));
        double *start = calloc(N_EDGE * m.types.mid.dim, sizeof *start);
        assert_non_null(start);
        nh_network_d_run(&m, &b, true, false, &(nh_network_d_probe){.edge_init = start});
        assert_true(error_d(n, b.ham, a.ham) < 1e-13 && error_d(pairs, b.trace, a.trace) < 1e-13);
        free(start);
        nh_network_d_run(&m, &b, false, false, NULL);
        assert_true(error_d(n, b.ham, a.ham) < 1e-13);
        graph_free(&a);
        graph_free(&b);
        model_close(&m);
    }
}

/* With edge_init.lin = 0 (and its bias) a network with the option is the one without it. */
static void edge_init_is_added(void **state)
{
    (void)state;
    model m = small_model("", "edge_init: paper\n"), plain = small_model("", "");
    graph a = graph_new(&m), b = graph_new(&plain);
    nh_network_d_run(&plain, &b, true, false, NULL);
    nh_network_d_run(&m, &a, true, false, NULL);
    assert_true(error_d(N_EDGE * a.dim, a.ham, b.ham) > 1e-3);
    nh_weights w;
    const nh_edges edges = edges_of(&a);
    size_t *entry = calloc(m.types.out.count, sizeof *entry);
    assert_non_null(entry);
    for (size_t i = 0; i < m.types.out.count; i++)
        entry[i] = i;
    memset(a.ham, 0, N_EDGE * a.dim * sizeof(double));
    for (size_t r = 0; r < 2; r++) {
        nh_network_d *net;
        OK(nh_weights_new(&m.params, true, &w, &err));
        OK(nh_weights_init(&m.params, 7, r, &w, &err));
        static const char *const zero[] = {"edge_init.lin.tp.weight", "edge_init.lin.bias.0"};
        for (size_t k = 0; k < 2; k++) {
            const size_t i = nh_params_find(&m.params, zero[k]);
            memset(w.as_double[i], 0, m.params.param[i].count * sizeof(double));
        }
        OK(nh_network_d_new(&m.config, &m.types, &m.params, &w, r, &m.types.out, entry, &m.types.out, entry,
                            true, NH_METHOD_FAST, NULL, &net, &err));
        OK(nh_network_d_forward(net, &edges, nh_network_d_features, &a, nh_network_d_answers, &a, false, NULL,
                                NULL, NULL, &err));
        nh_network_d_free(net);
        nh_weights_free(&w);
    }
    assert_memory_equal(a.ham, b.ham, N_EDGE * a.dim * sizeof(double));
    free(entry);
    graph_free(&a);
    graph_free(&b);
    model_close(&m);
    model_close(&plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(product_f),          cmocka_unit_test(product_d),     cmocka_unit_test(tables),
        cmocka_unit_test(covariance),         cmocka_unit_test(irreps_beyond), cmocka_unit_test(same_numbers),
        cmocka_unit_test(edge_init_is_added),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
