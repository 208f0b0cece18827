/* Gradients of a whole sub-model: against differences of the outputs for every parameter, against the
 * official program's numbers through the loss, and what must not change them. */
#include "golden_crystal.h"
#include "model.h"
#include "random.h"

#include "base/memory.h"
#include "network/network.h"
#include "training/loss.h"

/* With the networks on a device (test_kernels_gradient.c) the tape holds nothing, and threads do not matter. */
#ifdef NH_TESTS_ON_DEVICE_H
enum { ON_DEVICE = 1 };
#else
enum { ON_DEVICE = 0 };
#endif

/* A complete small architecture: two e3nn entries of every kind that matters, few channels. */
static const char TINY[] = "basis: 2s1p\n"
                           "mid: 4x0e+2x1o+2x1e+1x2e\n"
                           "heads: 2\n"
                           "sh_lmax: 2\n"
                           "radial: {basis: 8, max: 10.0, hidden: [6, 5]}\n"
                           "tracegrad: {hidden: 7, hidden_last: 6, z: 5%s}\n"
                           "trace_head: [6, 5, 4]\n"
                           "ranges: [[0, 2.5], [2.5, 4]]\n"
                           "blocks: %d\n"
                           "%s";

/* ---- an architecture, a graph with features, the sum to be differentiated */

static void model_tiny(int blocks, const char *tracegrad, const char *more, model *m)
{
    char text[1024];
    snprintf(text, sizeof text, TINY, tracegrad, blocks, more);
    model_parse(text, "test", m);
}

/* The first n entries of a type: the first half of OUT (the real part) for the outputs, all of it for the input. */
typedef struct selection {
    nh_irreps type;
    size_t *entry;
} selection;

static selection select_entries(const nh_irreps *all, size_t n)
{
    selection s = {.entry = calloc(n, sizeof *s.entry)};
    size_t *mul = calloc(n, sizeof *mul);
    int *l = calloc(n, sizeof *l), *p = calloc(n, sizeof *p);
    assert_true(s.entry && mul && l && p);
    for (size_t i = 0; i < n; i++) {
        s.entry[i] = i;
        mul[i] = all->entry[i].mul;
        l[i] = all->entry[i].l;
        p[i] = all->entry[i].p;
    }
    OK(nh_irreps_build(n, mul, l, p, &s.type, &err));
    free(mul);
    free(l);
    free(p);
    return s;
}

typedef struct problem {
    const model *m;
    selection in, out;
    bool trace;
    nh_method method;
    size_t range;
    nh_edges g;
    int *src, *dst;
    double *vector, *distance;
    double *features;           /* [n_edge][in] */
    double *c_ham, *c_trace;    /* gradients given back: L = sum c output */
    double *ham, *output_trace; /* what the sink got */
} problem;

static void problem_room(problem *p, size_t n_node, size_t n_edge)
{
    p->g = (nh_edges){.n_node = n_node, .n_edge = n_edge};
    p->in = select_entries(&p->m->types.in, p->m->types.in.count);
    p->out = select_entries(&p->m->types.out, p->m->types.out.count / 2);
    p->src = calloc(n_edge, sizeof *p->src);
    p->dst = calloc(n_edge, sizeof *p->dst);
    p->vector = calloc(3 * n_edge, sizeof *p->vector);
    p->distance = calloc(n_edge, sizeof *p->distance);
    p->features = calloc(n_edge * p->in.type.dim, sizeof *p->features);
    p->c_ham = calloc(n_edge * p->out.type.dim, sizeof *p->c_ham);
    p->ham = calloc(n_edge * p->out.type.dim, sizeof *p->ham);
    p->c_trace = calloc(n_edge * p->m->types.n_shell_pair, sizeof *p->c_trace);
    p->output_trace = calloc(n_edge * p->m->types.n_shell_pair, sizeof *p->output_trace);
    assert_true(p->src && p->dst && p->vector && p->distance && p->features && p->c_ham && p->ham &&
                p->c_trace && p->output_trace);
    p->g.src = p->src;
    p->g.dst = p->dst;
    p->g.vector = p->vector;
    p->g.distance = p->distance;
}

static void problem_measure(problem *p)
{
    for (size_t e = 0; e < p->g.n_edge; e++) {
        const double *v = p->vector + 3 * e;
        p->distance[e] = round(sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]) * 1e8) / 1e8;
    }
}

/* Two or more atoms joined at random, on-site edges among them; features, coefficients too. */
static problem problem_random(const model *m, size_t range, bool trace, size_t n_node, size_t n_edge,
                              uint64_t seed)
{
    problem p = {.m = m, .range = range, .trace = trace};
    uint64_t s = seed;
    problem_room(&p, n_node, n_edge);
    for (size_t e = 0; e < n_edge; e++) {
        p.src[e] = (int)(e % n_node);
        p.dst[e] = e < n_node ? (int)e : (int)((e * 7 / n_node) % n_node);
        for (size_t x = 0; x < 3 && e >= n_node; x++)
            p.vector[3 * e + x] = 2.6 * uniform(&s);
    }
    problem_measure(&p);
    for (size_t i = 0; i < n_edge * p.in.type.dim; i++)
        p.features[i] = uniform(&s);
    for (size_t i = 0; i < n_edge * p.out.type.dim; i++)
        p.c_ham[i] = uniform(&s);
    for (size_t i = 0; i < n_edge * m->types.n_shell_pair; i++)
        p.c_trace[i] = uniform(&s);
    return p;
}

static void problem_close(problem *p)
{
    nh_irreps_free(&p->in.type);
    nh_irreps_free(&p->out.type);
    void *list[] = {p->in.entry, p->out.entry, p->src, p->dst,     p->vector,      p->distance,
                    p->features, p->c_ham,     p->ham, p->c_trace, p->output_trace};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        free(list[i]);
}

#define DEFINE_CALLBACKS(real, net)                                                                          \
    static void net##_features(void *context, size_t first, size_t n, real *out)                             \
    {                                                                                                        \
        const problem *p = context;                                                                          \
        for (size_t i = 0; i < n * p->in.type.dim; i++)                                                      \
            out[i] = (real)p->features[first * p->in.type.dim + i];                                          \
    }                                                                                                        \
    static void net##_answers(void *context, size_t n, const size_t *edge, const real *ham,                  \
                              const real *trace)                                                             \
    {                                                                                                        \
        const problem *p = context;                                                                          \
        const size_t dim = p->out.type.dim, pairs = p->m->types.n_shell_pair;                                \
        for (size_t t = 0; t < n; t++) {                                                                     \
            for (size_t i = 0; i < dim; i++)                                                                 \
                p->ham[edge[t] * dim + i] = (double)ham[t * dim + i];                                        \
            for (size_t i = 0; trace != NULL && i < pairs; i++)                                              \
                p->output_trace[edge[t] * pairs + i] = (double)trace[t * pairs + i];                         \
        }                                                                                                    \
    }                                                                                                        \
    static void net##_slopes(void *context, size_t n, const size_t *edge, real *g_ham, real *g_trace)        \
    {                                                                                                        \
        const problem *p = context;                                                                          \
        const size_t dim = p->out.type.dim, pairs = p->m->types.n_shell_pair;                                \
        for (size_t t = 0; t < n; t++) {                                                                     \
            for (size_t i = 0; i < dim; i++)                                                                 \
                g_ham[t * dim + i] = (real)p->c_ham[edge[t] * dim + i];                                      \
            for (size_t i = 0; g_trace != NULL && i < pairs; i++)                                            \
                g_trace[t * pairs + i] = (real)p->c_trace[edge[t] * pairs + i];                              \
        }                                                                                                    \
    }                                                                                                        \
    static net *net##_make(problem *p, const nh_weights *w)                                                  \
    {                                                                                                        \
        net *n = NULL;                                                                                       \
        OK(net##_new(&p->m->config, &p->m->types, &p->m->params, w, p->range, &p->in.type, p->in.entry,      \
                     &p->out.type, p->out.entry, p->trace, p->method, NULL, &n, &err));                      \
        return n;                                                                                            \
    }                                                                                                        \
    static void net##_there(net *n, problem *p, net##_tape *tape, nh_threads *pool)                          \
    {                                                                                                        \
        OK(net##_forward_keep(n, &p->g, net##_features, p, net##_answers, p, tape, pool, NULL, &err));       \
    }                                                                                                        \
    static void net##_back(net *n, problem *p, net##_tape *tape, nh_weights *g, nh_threads *pool)            \
    {                                                                                                        \
        OK(net##_backward(n, tape, net##_slopes, p, g, pool, NULL, &err));                                   \
    }                                                                                                        \
    /* All gradients in a new array. */                                                                      \
    static nh_weights net##_gradient(problem *p, const nh_weights *w, nh_tape_memory memory, int threads)    \
    {                                                                                                        \
        nh_weights g;                                                                                        \
        nh_threads *pool = NULL;                                                                             \
        net##_tape *tape;                                                                                    \
        net *n = net##_make(p, w);                                                                           \
        if (threads > 0) OK(nh_threads_new(threads, &pool, &err));                                           \
        OK(net##_tape_new(memory, &tape, &err));                                                             \
        OK(net##_gradients_new(n, &g, &err));                                                                \
        net##_there(n, p, tape, pool);                                                                       \
        net##_back(n, p, tape, &g, pool);                                                                    \
        net##_tape_free(tape);                                                                               \
        net##_free(n);                                                                                       \
        nh_threads_free(pool);                                                                               \
        return g;                                                                                            \
    }

DEFINE_CALLBACKS(float, nh_network_f)
DEFINE_CALLBACKS(double, nh_network_d)

static nh_weights rule(const model *m, const char *prefix, bool as_double)
{
    nh_weights w;
    OK(nh_weights_new(&m->params, as_double, &w, &err));
    OK(nh_weights_rule(&m->params, prefix, &w, &err));
    return w;
}

/* ---- differences */

static double norm(size_t n, const double *x)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sqrt(sum);
}

/* TraceGrad's factors 0.2 k, from what a probed run found. */
static void find_factors(nh_network_d *net, problem *p, double *factor[8])
{
    const size_t blocks = p->m->config.blocks, mid = p->m->types.mid.dim, E = p->g.n_edge;
    double *edge[8] = {0}, *y[8] = {0}, *after[8] = {0};
    for (size_t k = 0; k < blocks; k++) {
        const bool last = k + 1 == blocks;
        edge[k] = calloc(E * (last ? p->m->types.post.dim : mid), sizeof(double));
        y[k] = calloc(E * mid, sizeof(double));
        after[k] = calloc(E * mid, sizeof(double));
        assert_true(edge[k] && y[k] && after[k]);
    }
    const nh_network_d_probe probe = {.edge = edge, .y = y, .edge_tg = after};
    OK(nh_network_d_forward(net, &p->g, nh_network_d_features, p, nh_network_d_answers, p, false, &probe,
                            NULL, NULL, &err));
    for (size_t k = 0; k < blocks; k++) {
        factor[k] = calloc(E, sizeof(double));
        /* the last block has a y with a lift only, on the first entries of its features */
        const size_t stride = k + 1 == blocks ? p->m->types.post.dim : mid;
        for (size_t e = 0; e < E; e++) {
            double yy = 0, dy = 0;
            for (size_t i = 0; i < mid; i++) {
                const double v = y[k][e * mid + i];
                yy += v * v;
                if (v != 0) dy += v * (after[k][e * mid + i] - edge[k][e * stride + i]);
            }
            factor[k][e] = yy > 0 ? dy / yy : 0;
        }
        free(edge[k]);
        free(y[k]);
        free(after[k]);
    }
}

static double value(nh_network_d *net, problem *p, double *const factor[8])
{
    const nh_network_d_probe probe = {.factor = (const double **)(double **)factor};
    OK(nh_network_d_forward(net, &p->g, nh_network_d_features, p, nh_network_d_answers, p, false,
                            p->m->config.tg_scale > 0 ? &probe : NULL, NULL, NULL, &err));
    double sum = 0;
    for (size_t e = 0; e < p->g.n_edge; e++) {
        const double *range = p->m->config.range[p->range];
        if (p->distance[e] < range[0] || p->distance[e] >= range[1]) continue;
        const size_t dim = p->out.type.dim, pairs = p->m->types.n_shell_pair;
        for (size_t i = e * dim; i < (e + 1) * dim; i++)
            sum += p->c_ham[i] * p->ham[i];
        for (size_t i = e * pairs; p->trace && i < (e + 1) * pairs; i++)
            sum += p->c_trace[i] * p->output_trace[i];
    }
    return sum;
}

#ifdef NH_TESTS_ON_DEVICE_H
#define MADE_ON_HOST(on) (made_on_host = (on))
#else
#define MADE_ON_HOST(on) ((void)0)
#endif

/* Every parameter along a random direction. */
static void check_differences(const model *m, size_t range, bool trace)
{
    problem p = problem_random(m, range, trace, 3, 22, 5);
    nh_weights w = rule(m, "test:", true);
    MADE_ON_HOST(true);
    nh_network_d *net = nh_network_d_make(&p, &w);
    MADE_ON_HOST(false);
    double *factor[8] = {0};
    if (m->config.tg_scale > 0) find_factors(net, &p, factor);
#ifdef NH_TESTS_ON_DEVICE_H
    nh_network_d *placed = nh_network_d_make(&p, &w);
    const double here = value(net, &p, factor),
                 there = value(placed, &p, factor); /* a device, too, takes given factors */
    assert_true(fabs(there - here) <= 1e-10 * fabs(here));
    nh_network_d_free(placed);
#endif
    nh_weights g = nh_network_d_gradient(&p, &w, NH_TAPE_RECOMPUTE, 2);
    size_t tested = 0, moving = 0;
    for (size_t i = 0; i < m->params.count; i++) {
        const size_t n = m->params.param[i].count;
        if (g.as_double[i] == NULL) continue;
        double *before = malloc(n * sizeof *before), *direction = malloc(n * sizeof *direction);
        assert_true(before && direction);
        memcpy(before, w.as_double[i], n * sizeof *before);
        uint64_t s = i;
        double expected = 0, found[4];
        for (size_t k = 0; k < n; k++) {
            direction[k] = uniform(&s);
            expected += direction[k] * g.as_double[i][k];
        }
        const double h = 1e-4;
        const double at[4] = {h, -h, 2 * h, -2 * h};
        for (size_t j = 0; j < 4; j++) {
            for (size_t k = 0; k < n; k++)
                w.as_double[i][k] = before[k] + at[j] * direction[k];
            OK(nh_network_d_update(net, &w, NULL, &err));
            found[j] = value(net, &p, factor);
        }
        memcpy(w.as_double[i], before, n * sizeof *before);
        const double slope = (8 * (found[0] - found[1]) - (found[2] - found[3])) / (12 * h);
        const double scale = norm(n, g.as_double[i]);
        if (getenv("NH_VERBOSE") != NULL)
            fprintf(stderr, "%-60s %14.7e %14.7e  %.1e\n", m->params.param[i].name, slope, expected,
                    fabs(slope - expected) / (scale + 1e-30));
        if (!(fabs(slope - expected) <= 5e-7 * scale + 1e-11))
            fail_msg("%s: slope %.12e, gradient %.12e", m->params.param[i].name, slope, expected);
        tested++;
        moving += scale > 1e-9;
        free(before);
        free(direction);
    }
    assert_true(tested > 30 * m->config.blocks);
    /* those that cannot act: the last biases of TraceGrad without a trace */
    assert_true(moving + m->config.blocks >= tested);
    for (size_t k = 0; k < 8; k++)
        free(factor[k]);
    nh_network_d_free(net);
    nh_weights_free(&w);
    nh_weights_free(&g);
    problem_close(&p);
}

static void differences(void **state)
{
    (void)state;
    model m;
    model_tiny(3, "", "", &m);
    check_differences(&m, 0, true);
    check_differences(&m, 1, true);
    check_differences(&m, 1, false);
    model_close(&m);
}

static void differences_of_variants(void **state)
{
    (void)state;
    model m;
    model_tiny(1, "", "", &m);
    check_differences(&m, 0, true);
    check_differences(&m, 1, false);
    model_close(&m);
    model_tiny(2, "", "onsite_copies: 2\n", &m);
    check_differences(&m, 0, true);
    model_close(&m);
    model_tiny(3, ", scale: 0", "", &m);
    check_differences(&m, 1, true);
    check_differences(&m, 0, false);
    model_close(&m);
}

/* network/OPTIONS.md: lift, edge_init, input */
static void differences_of_options(void **state)
{
    (void)state;
    model m;
    model_tiny(3, "", "lift: true\n", &m);
    check_differences(&m, 0, true);
    check_differences(&m, 1, false);
    model_close(&m);
    model_tiny(2, ", scale: 0", "lift: true\n", &m);
    check_differences(&m, 0, false);
    check_differences(&m, 1, true);
    model_close(&m);
    model_tiny(1, "", "lift: true\nedge_init: paper\nonsite_copies: 2\n", &m);
    check_differences(&m, 0, true);
    model_close(&m);
    model_tiny(2, "", "edge_init: paper\n", &m);
    check_differences(&m, 1, true);
    model_close(&m);
    model_tiny(3, "", "lift: true\nedge_init: paper\n", &m);
    check_differences(&m, 1, false);
    model_close(&m);
    model_tiny(2, "", "input: elements\nedge_init: paper\n", &m);
    check_differences(&m, 0, true);
    model_close(&m);
}

/* ---- the official program's gradients, through the loss */

static const int SHELLS[4] = {0, 0, 1, 2};

typedef struct golden_run {
    int nc;
    golden_crystal x;
    model m;
    nh_embedding *e;
    nh_selection real;
    nh_loss_data *loss;
    problem p[4];
} golden_run;

static void golden_run_new(golden_run *r) /* the loss keeps pointers into it */
{
    *r = (golden_run){.nc = golden_open("network_small.nc")};
    r->x = golden_crystal_load(r->nc, 4, SHELLS);
    char text[1024];
    snprintf(text, sizeof text,
             "basis: 2s1p1d\nmid: 8x0e+4x1o+4x1e+2x2e+2x2o+2x3e+2x3o+2x4e\n"
             "tracegrad: {hidden: 1024, hidden_last: 64}\ntrace_head: [512, 512, 512]\n");
    model_parse(text, "test", &r->m);
    OK(nh_embedding_new(4, SHELLS, &r->e, &err));
    OK(nh_selection_new(r->e, NH_PART_REAL, NULL, &r->real, &err));
    OK(nh_loss_data_new(&r->m.config, r->x.g, r->e, &r->real, true, &r->loss, &err));
}

static void golden_run_start(golden_run *r)
{
    size_t n_node;
    golden_count(r->nc, "positions", &n_node);
    int *src = golden_ints(r->nc, "edge_src"), *dst = golden_ints(r->nc, "edge_dst");
    double *vector = golden_read(r->nc, "edge_vec"), *features = golden_read(r->nc, "H0_irreps");
    for (size_t k = 0; k < 4; k++) {
        problem *p = &r->p[k];
        *p = (problem){.m = &r->m, .range = k, .trace = true};
        problem_room(p, n_node, r->x.n_edge);
        memcpy(p->src, src, r->x.n_edge * sizeof *src);
        memcpy(p->dst, dst, r->x.n_edge * sizeof *dst);
        memcpy(p->vector, vector, 3 * r->x.n_edge * sizeof *vector);
        memcpy(p->features, features, r->x.n_edge * p->in.type.dim * sizeof *features);
        problem_measure(p);
    }
    free(src);
    free(dst);
    free(vector);
    free(features);
}

static void golden_run_free(golden_run *r)
{
    for (size_t k = 0; k < 4; k++)
        problem_close(&r->p[k]);
    nh_loss_data_free(r->loss);
    nh_selection_free(&r->real);
    nh_embedding_free(r->e);
    model_close(&r->m);
    golden_crystal_free(&r->x);
    nc_close(r->nc);
}

/* The loss of the sum of the four answers; its gradients become the coefficients of all four. */
static void golden_loss(golden_run *r)
{
    const nh_loss_options o = {.kind = NH_LOSS_REFERENCE,
                               .lambda_c = 0.2,
                               .lambda_r = 0.99955,
                               .lambda_p = 0.0002,
                               .lambda_q = 0.0001,
                               .lambda_pq = 0.00015};
    const size_t E = r->x.n_edge, dim = r->p[0].out.type.dim, pairs = r->m.types.n_shell_pair;
    double *ham = calloc(E * dim, sizeof *ham), *trace = calloc(E * pairs, sizeof *trace),
           *g_ham = calloc(E * dim, sizeof *g_ham), *g_trace = calloc(E * pairs, sizeof *g_trace);
    assert_true(ham && trace && g_ham && g_trace);
    assert_int_equal(dim, r->real.irreps.dim);
    for (size_t k = 0; k < 4; k++)
        for (size_t e = 0; e < E; e++) {
            for (size_t i = 0; i < dim; i++)
                ham[r->x.edge_of[e] * dim + i] += r->p[k].ham[e * dim + i];
            for (size_t i = 0; i < pairs; i++)
                trace[r->x.edge_of[e] * pairs + i] += r->p[k].output_trace[e * pairs + i];
        }
    nh_loss_terms t;
    OK(nh_loss_evaluate(r->loss,
                        &(nh_loss_task){.options = &o,
                                        .n_state = 1,
                                        .state = &r->x.states,
                                        .ham = ham,
                                        .trace = trace,
                                        .g_ham = g_ham,
                                        .g_trace = g_trace},
                        &t, &err));
    double *total = golden_read(r->nc, "loss_total");
    assert_close(1, &t.total, total, 1e-10, "loss_total");
    for (size_t k = 0; k < 4; k++)
        for (size_t e = 0; e < E; e++) {
            memcpy(r->p[k].c_ham + e * dim, g_ham + r->x.edge_of[e] * dim, dim * sizeof *g_ham);
            memcpy(r->p[k].c_trace + e * pairs, g_trace + r->x.edge_of[e] * pairs, pairs * sizeof *g_trace);
        }
    free(total);
    free(ham);
    free(trace);
    free(g_ham);
    free(g_trace);
}

static void golden_gradients(void **state)
{
    (void)state;
    golden_run r;
    golden_run_new(&r);
    golden_run_start(&r);
    nh_weights w[4], g[4];
    nh_network_d *net[4];
    nh_network_d_tape *tape[4];
    for (size_t k = 0; k < 4; k++) {
        char prefix[32];
        snprintf(prefix, sizeof prefix, "small:range%zu:", k);
        w[k] = rule(&r.m, prefix, true);
        net[k] = nh_network_d_make(&r.p[k], &w[k]);
        OK(nh_network_d_tape_new(NH_TAPE_RECOMPUTE, &tape[k], &err));
        OK(nh_network_d_gradients_new(net[k], &g[k], &err));
        nh_network_d_there(net[k], &r.p[k], tape[k], NULL);
    }
    golden_loss(&r);
    for (size_t k = 0; k < 4; k++)
        nh_network_d_back(net[k], &r.p[k], tape[k], &g[k], NULL);

    /* the norm of every gradient */
    size_t count = golden_count(r.nc, "grad_names", NULL), full = 0;
    char **name = calloc(count, sizeof *name);
    double *norms = golden_read(r.nc, "grad_norms"), *all = golden_read(r.nc, "grad_norm_total");
    int id;
    assert_non_null(name);
    assert_int_equal(nc_inq_varid(r.nc, "grad_names", &id), NC_NOERR);
    assert_int_equal(nc_get_var_string(r.nc, id, name), NC_NOERR);
    double square = 0;
    assert_true(count > 1000);
    for (size_t i = 0; i < count; i++) {
        const size_t k = (size_t)(name[i][5] - '0'), at = nh_params_find(&r.m.params, name[i] + 7);
        assert_true(k < 4 && at < r.m.params.count);
        /* biases of the imaginary half are none of the network's */
        const double found =
            g[k].as_double[at] == NULL ? 0 : norm(r.m.params.param[at].count, g[k].as_double[at]);
        if (!(fabs(found - norms[i]) <= 1e-8 * norms[i] + 1e-16))
            fail_msg("|gradient of %s| is %.12e, expected %.12e", name[i], found, norms[i]);
        square += found * found;

        char variable[256];
        snprintf(variable, sizeof variable, "g_range%zu.%s", k, name[i] + 7);
        if (!golden_has(r.nc, variable)) continue;
        double *expected = golden_read(r.nc, variable);
        assert_close(golden_count(r.nc, variable, NULL), g[k].as_double[at], expected, 1e-8, variable);
        free(expected);
        full++;
    }
    const double total = sqrt(square);
    assert_close(1, &total, all, 1e-8, "grad_norm_total");
    assert_true(full == 32);
    /* nothing that the official program does not have */
    for (size_t k = 0; k < 4; k++)
        for (size_t i = 0; i < r.m.params.count; i++) {
            bool listed = g[k].as_double[i] == NULL;
            for (size_t j = 0; j < count && !listed; j++)
                listed =
                    (size_t)(name[j][5] - '0') == k && strcmp(name[j] + 7, r.m.params.param[i].name) == 0;
            if (!listed) fail_msg("gradient of %s", r.m.params.param[i].name);
        }
    nc_free_string(count, name);
    free(name);
    free(norms);
    free(all);
    for (size_t k = 0; k < 4; k++) {
        nh_network_d_free(net[k]);
        nh_network_d_tape_free(tape[k]);
        nh_weights_free(&w[k]);
        nh_weights_free(&g[k]);
    }
    golden_run_free(&r);
}

/* ---- what must not change the gradients */

/* Largest difference of two sets of gradients, relative to the largest number of each parameter. */
static double distance(const model *m, const nh_weights *a, const nh_weights *b)
{
    double worst = 0;
    for (size_t i = 0; i < m->params.count; i++) {
        assert_int_equal(a->as_double[i] == NULL, b->as_double[i] == NULL);
        if (a->as_double[i] == NULL) continue;
        const double d = relative_error(m->params.param[i].count, a->as_double[i], b->as_double[i]);
        if (!(d <= worst)) worst = d;
    }
    return worst;
}

static void stored_activations(void **state)
{
    model m;
    model_tiny(3, "", *state, &m);
    problem p = problem_random(&m, 1, true, 5, 200, 3);
    nh_weights w = rule(&m, "test:", true);
    for (int threads = 0; threads < 3; threads++) {
        nh_weights a = nh_network_d_gradient(&p, &w, NH_TAPE_RECOMPUTE, threads),
                   b = nh_network_d_gradient(&p, &w, NH_TAPE_STORE, threads);
        assert_true(distance(&m, &a, &b) == 0);
        nh_weights_free(&a);
        nh_weights_free(&b);
    }
    nh_weights_free(&w);
    problem_close(&p);
    model_close(&m);
}

/* Gradients and outputs with our own products and shared distances, and with BLAS and every edge for itself. */
static void kernels_agree(void **state)
{
    model m;
    model_tiny(3, "", *state, &m);
    problem p = problem_random(&m, 1, true, 5, 200, 3);
    const size_t n_ham = p.g.n_edge * p.out.type.dim;
    for (size_t e = 100; e < 200; e++) /* every distance twice, in opposite directions */
        for (size_t x = 0; x < 3; x++)
            p.vector[3 * e + x] = -p.vector[3 * (e - 95) + x];
    problem_measure(&p);
    nh_weights w = rule(&m, "test:", true);
    double *ham = calloc(n_ham, sizeof *ham);
    assert_non_null(ham);
    for (int memory = 0; memory < 2; memory++) {
        p.method = NH_METHOD_REFERENCE;
        nh_weights a = nh_network_d_gradient(&p, &w, (nh_tape_memory)memory, 2);
        memcpy(ham, p.ham, n_ham * sizeof *ham);
        p.method = NH_METHOD_FAST;
        nh_weights b = nh_network_d_gradient(&p, &w, (nh_tape_memory)memory, 2);
        assert_true(norm(n_ham, ham) > 0);
        for (size_t i = 0; i < n_ham; i++)
            ham[i] -= p.ham[i];
        assert_true(norm(n_ham, ham) < 1e-11 * norm(n_ham, p.ham));
        assert_true(distance(&m, &a, &b) < 1e-11);
        nh_weights_free(&a);
        nh_weights_free(&b);
    }
    free(ham);
    nh_weights_free(&w);
    problem_close(&p);
    model_close(&m);
}

static void threads_only_round(void **state)
{
    model m;
    model_tiny(3, "", *state, &m);
    problem p = problem_random(&m, 1, true, 70, 700, 3); /* more than a tile of nodes */
    nh_weights w = rule(&m, "test:", true);
    nh_weights one = nh_network_d_gradient(&p, &w, NH_TAPE_RECOMPUTE, 1);
    for (int threads = 2; threads < 6; threads++) {
        nh_weights a = nh_network_d_gradient(&p, &w, NH_TAPE_RECOMPUTE, threads),
                   b = nh_network_d_gradient(&p, &w, NH_TAPE_RECOMPUTE, threads);
        assert_true(distance(&m, &a, &b) == 0); /* the same at every run */
        assert_true(distance(&m, &a, &one) < 1e-11);
        nh_weights_free(&a);
        nh_weights_free(&b);
    }
    nh_weights_free(&one);
    nh_weights_free(&w);
    problem_close(&p);
    model_close(&m);
}

static void single_precision(void **state)
{
    model m;
    model_tiny(3, "", *state, &m);
    problem p = problem_random(&m, 1, true, 5, 200, 3);
    nh_weights w = rule(&m, "test:", true), v = rule(&m, "test:", false);
    nh_weights exact = nh_network_d_gradient(&p, &w, NH_TAPE_RECOMPUTE, 2);
    for (int memory = 0; memory < 2; memory++) {
        nh_weights g = nh_network_f_gradient(&p, &v, (nh_tape_memory)memory, 2), wide;
        OK(nh_weights_new(&m.params, true, &wide, &err));
        for (size_t i = 0; i < m.params.count; i++) {
            if (g.as_float[i] == NULL) continue;
            wide.as_double[i] = calloc(m.params.param[i].count, sizeof(double));
            for (size_t k = 0; k < m.params.param[i].count; k++)
                wide.as_double[i][k] = (double)g.as_float[i][k];
        }
        assert_true(distance(&m, &wide, &exact) < 1e-3);
        nh_weights_free(&g);
        nh_weights_free(&wide);
    }
    nh_weights_free(&exact);
    nh_weights_free(&w);
    nh_weights_free(&v);
    problem_close(&p);
    model_close(&m);
}

/* One tape for a small graph, a large one, and the small one again; gradients are added. */
static void tape_again(void **state)
{
    model m;
    model_tiny(3, "", *state, &m);
    problem small = problem_random(&m, 0, true, 3, 22, 5), large = problem_random(&m, 0, true, 6, 300, 6);
    nh_weights w = rule(&m, "test:", true);
    for (int memory = 0; memory < 2; memory++) {
        nh_weights fresh = nh_network_d_gradient(&small, &w, (nh_tape_memory)memory, 0), g;
        nh_network_d *net = nh_network_d_make(&small, &w);
        nh_network_d_tape *tape;
        OK(nh_network_d_tape_new((nh_tape_memory)memory, &tape, &err));
        size_t bytes[3];
        problem *order[3] = {&small, &large, &small};
        for (size_t i = 0; i < 3; i++) {
            OK(nh_network_d_gradients_new(net, &g, &err));
            nh_network_d_there(net, order[i], tape, NULL);
            nh_network_d_back(net, order[i], tape, &g, NULL);
            if (i != 1) assert_true(distance(&m, &g, &fresh) == 0);
            if (i != 1) { /* there and back once more: twice the gradient */
                nh_network_d_there(net, order[i], tape, NULL);
                nh_network_d_back(net, order[i], tape, &g, NULL);
                for (size_t k = 0; k < m.params.count; k++)
                    for (size_t n = 0; g.as_double[k] != NULL && n < m.params.param[k].count; n++)
                        g.as_double[k][n] /= 2;
                assert_true(distance(&m, &g, &fresh) < 1e-14);
            }
            nh_weights_free(&g);
            bytes[i] = nh_network_d_tape_bytes(tape);
        }
        assert_true(ON_DEVICE ? bytes[1] == 0 : bytes[1] > bytes[0] && bytes[2] == bytes[1]);
        nh_network_d_tape_free(tape);
        nh_network_d_free(net);
        nh_weights_free(&fresh);
    }
    nh_weights_free(&w);
    problem_close(&small);
    problem_close(&large);
    model_close(&m);
}

/* A kept run answers what a plain one does. */
static void kept_outputs(void **state)
{
    model m;
    model_tiny(3, "", *state, &m);
    problem p = problem_random(&m, 1, true, 5, 200, 3);
    nh_weights w = rule(&m, "test:", true);
    nh_network_d *net = nh_network_d_make(&p, &w);
    const size_t n = p.g.n_edge * p.out.type.dim, pairs = p.g.n_edge * m.types.n_shell_pair;
    double *ham = calloc(n, sizeof *ham), *trace = calloc(pairs, sizeof *trace);
    OK(nh_network_d_forward(net, &p.g, nh_network_d_features, &p, nh_network_d_answers, &p, false, NULL, NULL,
                            NULL, &err));
    memcpy(ham, p.ham, n * sizeof *ham);
    memcpy(trace, p.output_trace, pairs * sizeof *trace);
    for (int memory = 0; memory < 2; memory++) {
        nh_network_d_tape *tape;
        memset(p.ham, 0, n * sizeof *ham);
        memset(p.output_trace, 0, pairs * sizeof *trace);
        OK(nh_network_d_tape_new((nh_tape_memory)memory, &tape, &err));
        nh_network_d_there(net, &p, tape, NULL);
        assert_close(n, p.ham, ham, 1e-13, "edge_ham");
        assert_close(pairs, p.output_trace, trace, 1e-13, "edge_trace");
        nh_network_d_tape_free(tape);
    }
    free(ham);
    free(trace);
    nh_network_d_free(net);
    nh_weights_free(&w);
    problem_close(&p);
    model_close(&m);
}

/* New weights in an old network, from either precision, are a new network. */
static void update(void **state)
{
    (void)state;
    model m;
    model_tiny(3, "", "", &m);
    problem p = problem_random(&m, 1, true, 5, 60, 3), q = problem_random(&m, 1, true, 5, 60, 3);
    nh_weights first = rule(&m, "first:", true), second = rule(&m, "second:", true),
               narrow = rule(&m, "second:", false);
    const size_t n = p.g.n_edge * p.out.type.dim, pairs = p.g.n_edge * m.types.n_shell_pair;
    nh_network_d *net = nh_network_d_make(&p, &first), *other = nh_network_d_make(&q, &second);
    nh_threads *pool;
    OK(nh_threads_new(2, &pool, &err));
    OK(nh_network_d_forward(other, &q.g, nh_network_d_features, &q, nh_network_d_answers, &q, false, NULL,
                            NULL, NULL, &err));
    for (int pass = 0; pass < 2; pass++) {
        OK(nh_network_d_update(net, pass == 0 ? &second : &narrow, pool, &err));
        OK(nh_network_d_forward(net, &p.g, nh_network_d_features, &p, nh_network_d_answers, &p, false, NULL,
                                NULL, NULL, &err));
        assert_close(n, p.ham, q.ham, pass == 0 ? 0.0 : 1e-5, "edge_ham");
        assert_close(pairs, p.output_trace, q.output_trace, pass == 0 ? 0.0 : 1e-5, "edge_trace");
    }
    /* a parameter that is gone: an error that names it, and the network stays as it is */
    const size_t gone = nh_params_find(&m.params, "blocks.1.ga.lin_alpha.3.bias");
    free(second.as_double[gone]);
    second.as_double[gone] = NULL;
    assert_int_equal(nh_network_d_update(net, &second, NULL, &err), -1);
    assert_non_null(strstr(err.text, "blocks.1.ga.lin_alpha.3.bias"));
    OK(nh_network_d_forward(net, &p.g, nh_network_d_features, &p, nh_network_d_answers, &p, false, NULL, NULL,
                            NULL, &err));
    assert_close(n, p.ham, q.ham, 1e-5, "edge_ham");
    nh_network_d_free(net);
    nh_network_d_free(other);
    nh_threads_free(pool);
    nh_weights_free(&first);
    nh_weights_free(&second);
    nh_weights_free(&narrow);
    problem_close(&p);
    problem_close(&q);
    model_close(&m);
}

#ifdef NH_TESTS_ON_DEVICE_H
/* Weights packed on the device, and their gradient summed there over two runs, against a network that got its weights from the
 * host and brought the gradient back; what cannot be is said. */
#define DEFINE_IN_TRAINING(suffix, wide, member, tolerance)                                                  \
    static void in_training_##suffix(const model *m)                                                         \
    {                                                                                                        \
        problem p = problem_random(m, 1, true, 5, 60, 3), q = problem_random(m, 1, true, 5, 60, 3);          \
        nh_weights first = rule(m, "first:", wide), second = rule(m, "second:", wide), g;                    \
        const nhk_training_##suffix##_calls *call = test_device()->call->training_##suffix;                  \
        nh_network_##suffix *net = nh_network_##suffix##_make(&p, &first);                                   \
        nhk_network_##suffix *placed = nh_network_##suffix##_placed(net);                                    \
        nh_network_##suffix##_tape *tape;                                                                    \
        double found, difference = 0, norm = 0;                                                              \
        OK(nh_network_##suffix##_tape_new(NH_TAPE_RECOMPUTE, &tape, &err));                                  \
        OK(nh_network_##suffix##_gradients_new(net, &g, &err));                                              \
        assert_int_equal(call->load(placed, NHK_AVERAGE, &err), -1);                                         \
        assert_string_equal(err.text, "network: the device has no average");                                 \
        OK(call->write(placed, NHK_AVERAGE, second.member, &err));                                           \
        OK(call->load(placed, NHK_AVERAGE, &err));                                                           \
        for (int i = 0; i < 2; i++) {                                                                        \
            nh_network_##suffix##_there(net, &p, tape, NULL);                                                \
            OK(nh_network_##suffix##_backward(net, tape, nh_network_##suffix##_slopes, &p, NULL, NULL, NULL, \
                                              &err));                                                        \
        }                                                                                                    \
        nh_weights expected = nh_network_##suffix##_gradient(&q, &second, NH_TAPE_RECOMPUTE, 0);             \
        assert_close(q.g.n_edge *q.out.type.dim, p.ham, q.ham, tolerance, "edge_ham");                       \
        assert_close(q.g.n_edge * m->types.n_shell_pair, p.output_trace, q.output_trace, tolerance,          \
                     "edge_trace");                                                                          \
        OK(call->norm(placed, &found, &err));                                                                \
        OK(call->read(placed, NHK_GRADIENT, g.member, &err));                                                \
        for (size_t i = 0; i < m->params.count; i++)                                                         \
            for (size_t k = 0; g.member[i] != NULL && k < m->params.param[i].count; k++) {                   \
                const double x = 2 * (double)expected.member[i][k], d = (double)g.member[i][k] - x;          \
                norm += x * x;                                                                               \
                difference += d * d;                                                                         \
            }                                                                                                \
        assert_true(norm > 0 && sqrt(difference / norm) < tolerance);                                        \
        assert_true(fabs(found / sqrt(norm) - 1) < tolerance);                                               \
        OK(call->clear(placed, &err));                                                                       \
        OK(call->norm(placed, &found, &err));                                                                \
        assert_true(found == 0);                                                                             \
        assert_int_equal(call->step(placed, &(nhk_adam){.scale = 1}, 0, &err), -1);                          \
        assert_string_equal(err.text, "network: the device has no weights");                                 \
        const size_t gone = nh_params_find(&m->params, "blocks.1.ga.lin_alpha.3.bias");                      \
        free(second.member[gone]);                                                                           \
        second.member[gone] = NULL;                                                                          \
        assert_int_equal(call->write(placed, NHK_WEIGHTS, second.member, &err), -1);                         \
        assert_string_equal(err.text, "sub-model 1: parameter blocks.1.ga.lin_alpha.3.bias is missing");     \
        nh_weights *const list[] = {&first, &second, &g, &expected};                                         \
        for (size_t i = 0; i < sizeof list / sizeof *list; i++)                                              \
            nh_weights_free(list[i]);                                                                        \
        nh_network_##suffix##_tape_free(tape);                                                               \
        nh_network_##suffix##_free(net);                                                                     \
        problem_close(&p);                                                                                   \
        problem_close(&q);                                                                                   \
    }
DEFINE_IN_TRAINING(d, true, as_double, 1e-12)
DEFINE_IN_TRAINING(f, false, as_float, 2e-5)

static void in_training(void **state)
{
    model m;
    model_tiny(3, "", *state, &m);
    in_training_d(&m);
    in_training_f(&m);
    model_close(&m);
}
#endif

static void odd_cases(void **state)
{
    (void)state;
    model m;
    model_tiny(3, "", "", &m);
    problem p = problem_random(&m, 1, true, 5, 60, 3);
    nh_weights w = rule(&m, "test:", true), g, single;
    nh_network_d *net = nh_network_d_make(&p, &w), *other = nh_network_d_make(&p, &w);
    nh_network_d_tape *tape;
    nh_threads *pool;
    OK(nh_threads_new(2, &pool, &err));
    OK(nh_network_d_tape_new(NH_TAPE_RECOMPUTE, &tape, &err));
    OK(nh_network_d_gradients_new(net, &g, &err));
    assert_int_equal(nh_network_d_tape_bytes(tape), 0);
    /* nothing on the tape; the run of another network; other threads; gradients of the wrong kind */
    assert_int_equal(nh_network_d_backward(net, tape, nh_network_d_slopes, &p, &g, NULL, NULL, &err), -1);
    nh_network_d_there(net, &p, tape, NULL);
    assert_int_equal(nh_network_d_backward(other, tape, nh_network_d_slopes, &p, &g, NULL, NULL, &err), -1);
    if (!ON_DEVICE) {
        assert_int_equal(nh_network_d_backward(net, tape, nh_network_d_slopes, &p, &g, pool, NULL, &err), -1);
        assert_non_null(strstr(err.text, "2 threads"));
        assert_int_equal(nh_network_d_backward(net, tape, nh_network_d_slopes, &p, NULL, NULL, NULL, &err),
                         -1);
        assert_string_equal(err.text, "network: no gradients to add to");
    }
    OK(nh_weights_new(&m.params, false, &single, &err));
    assert_int_equal(nh_network_d_backward(net, tape, nh_network_d_slopes, &p, &single, NULL, NULL, &err),
                     -1);
    /* an edge to nowhere: the tape is empty again */
    p.dst[7] = 5;
    assert_int_equal(
        nh_network_d_forward_keep(net, &p.g, nh_network_d_features, &p, NULL, NULL, tape, NULL, NULL, &err),
        -1);
    p.dst[7] = 0;
    assert_int_equal(nh_network_d_backward(net, tape, nh_network_d_slopes, &p, &g, NULL, NULL, &err), -1);
    /* gradients that are not wanted are left out, the others do not notice; without a sink */
    nh_weights whole = nh_network_d_gradient(&p, &w, NH_TAPE_RECOMPUTE, 0);
    for (size_t i = 0; i < m.params.count; i += 2) {
        free(g.as_double[i]);
        g.as_double[i] = NULL;
    }
    OK(nh_network_d_forward_keep(net, &p.g, nh_network_d_features, &p, NULL, NULL, tape, NULL, NULL, &err));
    nh_network_d_back(net, &p, tape, &g, NULL);
    for (size_t i = 1; i < m.params.count; i += 2)
        if (g.as_double[i] != NULL)
            assert_memory_equal(g.as_double[i], whole.as_double[i], m.params.param[i].count * sizeof(double));
    /* no edge in range: no gradient */
    for (size_t e = 0; e < p.g.n_edge; e++)
        p.distance[e] = 7;
    nh_weights none = nh_network_d_gradient(&p, &w, NH_TAPE_STORE, 2);
    for (size_t i = 0; i < m.params.count; i++)
        for (size_t k = 0; none.as_double[i] != NULL && k < m.params.param[i].count; k++)
            assert_true(none.as_double[i][k] == 0);
    nh_weights_free(&none);
    nh_weights_free(&whole);
    nh_weights_free(&single);
    nh_weights_free(&g);
    nh_weights_free(&w);
    nh_network_d_tape_free(tape);
    nh_network_d_tape_free(NULL);
    nh_network_d_free(net);
    nh_network_d_free(other);
    nh_threads_free(pool);
    problem_close(&p);
    model_close(&m);
}

int main(void)
{
    static char NONE[] = "", OPTIONS[] = "lift: true\nedge_init: paper\n";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(differences),
        cmocka_unit_test(differences_of_variants),
        cmocka_unit_test(differences_of_options),
        cmocka_unit_test(golden_gradients),
        {"stored_activations", stored_activations, NULL, NULL, NONE},
        {"stored_activations, options", stored_activations, NULL, NULL, OPTIONS},
        {"kernels_agree", kernels_agree, NULL, NULL, NONE},
        {"kernels_agree, options", kernels_agree, NULL, NULL, OPTIONS},
        {"threads_only_round", threads_only_round, NULL, NULL, NONE},
        {"threads_only_round, options", threads_only_round, NULL, NULL, OPTIONS},
        {"single_precision", single_precision, NULL, NULL, NONE},
        {"single_precision, options", single_precision, NULL, NULL, OPTIONS},
        {"tape_again", tape_again, NULL, NULL, NONE},
        {"tape_again, options", tape_again, NULL, NULL, OPTIONS},
        {"kept_outputs", kept_outputs, NULL, NULL, NONE},
        {"kept_outputs, options", kept_outputs, NULL, NULL, OPTIONS},
#ifdef NH_TESTS_ON_DEVICE_H
        {"in_training", in_training, NULL, NULL, NONE},
        {"in_training, options", in_training, NULL, NULL, OPTIONS},
#endif
        cmocka_unit_test(update),
        cmocka_unit_test(odd_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
