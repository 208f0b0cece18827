/* The network against the reference implementation's numbers and against its own symmetries. */
#include "check.h"
#include "golden_graph.h"
#include "model.h"

#include "base/memory.h"
#include "network/network.h"
#include "o3/wigner.h"

/* ---- a graph with features */

typedef struct crystal {
    nh_edges edges;
    int *src, *dst;
    double *vector, *distance;
    double *features; /* [n_edge][dim], e3nn order */
    size_t dim;
} crystal;

static void crystal_measure(crystal *c)
{
    for (size_t e = 0; e < c->edges.n_edge; e++) {
        const double *v = c->vector + 3 * e;
        c->distance[e] = round(sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]) * 1e8) / 1e8;
    }
    c->edges.src = c->src;
    c->edges.dst = c->dst;
    c->edges.vector = c->vector;
    c->edges.distance = c->distance;
}

static crystal crystal_new(size_t n_node, size_t n_edge, size_t dim)
{
    crystal c = {.edges = {.n_node = n_node, .n_edge = n_edge}, .dim = dim};
    c.src = calloc(n_edge + 1, sizeof *c.src);
    c.dst = calloc(n_edge + 1, sizeof *c.dst);
    c.vector = calloc(3 * n_edge + 1, sizeof *c.vector);
    c.distance = calloc(n_edge + 1, sizeof *c.distance);
    c.features = calloc(n_edge * dim + 1, sizeof *c.features);
    assert_true(c.src && c.dst && c.vector && c.distance && c.features);
    return c;
}

static void crystal_close(crystal *c)
{
    free(c->src);
    free(c->dst);
    free(c->vector);
    free(c->distance);
    free(c->features);
}

static crystal crystal_golden(int nc, const nh_config *config)
{
    crystal c = {.features = NULL};
    c.features = golden_features(nc, config->n_shell, config->shell_l, &c.dim);
    golden_count(nc, "edge_src", &c.edges.n_edge);
    golden_count(nc, "positions", &c.edges.n_node);
    c.src = golden_ints(nc, "edge_src");
    c.dst = golden_ints(nc, "edge_dst");
    c.vector = golden_read(nc, "edge_vec");
    c.distance = calloc(c.edges.n_edge, sizeof *c.distance);
    assert_non_null(c.distance);
    crystal_measure(&c);
    return c;
}

/* ---- one run, in either precision, all results as doubles */

typedef struct options {
    size_t range;
    const char *prefix; /* of the rule weights */
    bool single, trace, everywhere, probes;
    int threads;                  /* 0: no pool */
    const size_t *input, *wanted; /* entries of OUT; NULL: all */
    size_t n_input, n_wanted;
    nh_method method;
} options;

typedef struct result {
    size_t n_edge, n_node, dim, pairs, blocks;
    double *ham, *trace; /* outside the range: what the sink left, initially 0 */
    unsigned char *seen; /* times that the sink got each edge */
    /* probes */
    double *node_init, *edge_init, *ham_nomask, *trace_nomask;
    double *node[8], *edge[8], *z[8], *y[8], *edge_tg[8];
} result;

static void result_close(result *r)
{
    double *list[] = {r->ham, r->trace, r->node_init, r->edge_init, r->ham_nomask, r->trace_nomask};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        free(list[i]);
    for (size_t k = 0; k < 8; k++) {
        free(r->node[k]);
        free(r->edge[k]);
        free(r->z[k]);
        free(r->y[k]);
        free(r->edge_tg[k]);
    }
    free(r->seen);
}

typedef struct stream {
    const crystal *crystal;
    const size_t *offset; /* of the input's numbers in the complete vector; NULL: all of them */
    size_t n_offset;
    result *result;
} stream;

#define DEFINE_RUN(real, net)                                                                                \
    static void net##_test_source(void *context, size_t first, size_t n, real *out)                          \
    {                                                                                                        \
        const stream *s = context;                                                                           \
        const size_t dim = s->offset != NULL ? s->n_offset : s->crystal->dim;                                \
        for (size_t t = 0; t < n; t++)                                                                       \
            for (size_t i = 0; i < dim; i++)                                                                 \
                out[t * dim + i] =                                                                           \
                    (real)s->crystal                                                                         \
                        ->features[(first + t) * s->crystal->dim + (s->offset != NULL ? s->offset[i] : i)];  \
    }                                                                                                        \
    static void net##_test_sink(void *context, size_t n, const size_t *edge, const real *ham,                \
                                const real *trace)                                                           \
    {                                                                                                        \
        result *r = ((const stream *)context)->result;                                                       \
        for (size_t t = 0; t < n; t++) {                                                                     \
            r->seen[edge[t]]++;                                                                              \
            for (size_t i = 0; i < r->dim; i++)                                                              \
                r->ham[edge[t] * r->dim + i] = (double)ham[t * r->dim + i];                                  \
            for (size_t i = 0; trace != NULL && i < r->pairs; i++)                                           \
                r->trace[edge[t] * r->pairs + i] = (double)trace[t * r->pairs + i];                          \
        }                                                                                                    \
    }                                                                                                        \
    static real *net##_room(bool wanted, size_t n)                                                           \
    {                                                                                                        \
        real *p = wanted ? calloc(n + 1, sizeof *p) : NULL;                                                  \
        assert_true(!wanted || p != NULL);                                                                   \
        return p;                                                                                            \
    }                                                                                                        \
    static double *net##_doubles(real *p, size_t n)                                                          \
    {                                                                                                        \
        double *d = p != NULL ? calloc(n + 1, sizeof *d) : NULL;                                             \
        for (size_t i = 0; d != NULL && i < n; i++)                                                          \
            d[i] = (double)p[i];                                                                             \
        free(p);                                                                                             \
        return d;                                                                                            \
    }                                                                                                        \
    static void net##_run(const model *m, const nh_weights *w, const stream *s, const nh_irreps *in,         \
                          const size_t *in_entry, const nh_irreps *out, const size_t *out_entry,             \
                          const options *o)                                                                  \
    {                                                                                                        \
        result *r = s->result;                                                                               \
        const nh_edges *g = &s->crystal->edges;                                                              \
        const size_t E = g->n_edge, N = g->n_node, mid = m->types.mid.dim, z = m->config.tg_z,               \
                     B = m->config.blocks;                                                                   \
        net *n = NULL;                                                                                       \
        nh_threads *pool = NULL;                                                                             \
        real *node[8] = {0}, *edge[8] = {0}, *zs[8] = {0}, *ys[8] = {0}, *tg[8] = {0};                       \
        const bool p = o->probes;                                                                            \
        for (size_t k = 0; k < B; k++) {                                                                     \
            const bool last = k + 1 == B;                                                                    \
            node[k] = net##_room(p && !last, N * mid);                                                       \
            edge[k] = net##_room(p, E * (last ? m->types.post.dim : mid));                                   \
            zs[k] = net##_room(p && (o->trace || !last), E * z);                                             \
            ys[k] = net##_room(p && !last, E * mid);                                                         \
            tg[k] = net##_room(p && !last, E * mid);                                                         \
        }                                                                                                    \
        net##_probe probe = {.node_init = net##_room(p, N * mid),                                            \
                             .edge_init = net##_room(p, E * mid),                                            \
                             .node = node,                                                                   \
                             .edge = edge,                                                                   \
                             .z = zs,                                                                        \
                             .y = ys,                                                                        \
                             .edge_tg = tg,                                                                  \
                             .ham_nomask = net##_room(p, E * r->dim),                                        \
                             .trace_nomask = net##_room(p && o->trace, E * r->pairs)};                       \
        if (o->threads > 0) OK(nh_threads_new(o->threads, &pool, &err));                                     \
        OK(net##_new(&m->config, &m->types, &m->params, w, o->range, in, in_entry, out, out_entry, o->trace, \
                     o->method, pool, &n, &err));                                                            \
        OK(net##_forward(n, g, net##_test_source, (void *)s, net##_test_sink, (void *)s, o->everywhere,      \
                         p ? &probe : NULL, pool, NULL, &err));                                              \
        net##_free(n);                                                                                       \
        nh_threads_free(pool);                                                                               \
        r->node_init = net##_doubles(probe.node_init, N * mid);                                              \
        r->edge_init = net##_doubles(probe.edge_init, E * mid);                                              \
        r->ham_nomask = net##_doubles(probe.ham_nomask, E * r->dim);                                         \
        r->trace_nomask = net##_doubles(probe.trace_nomask, E * r->pairs);                                   \
        for (size_t k = 0; k < B; k++) {                                                                     \
            r->node[k] = net##_doubles(node[k], N * mid);                                                    \
            r->edge[k] = net##_doubles(edge[k], E * (k + 1 == B ? m->types.post.dim : mid));                 \
            r->z[k] = net##_doubles(zs[k], E * z);                                                           \
            r->y[k] = net##_doubles(ys[k], E * mid);                                                         \
            r->edge_tg[k] = net##_doubles(tg[k], E * mid);                                                   \
        }                                                                                                    \
    }

DEFINE_RUN(float, nh_network_f)
DEFINE_RUN(double, nh_network_d)

/* Entries of OUT as a type, and the offsets of their numbers in the complete vector. */
static size_t *choose(const model *m, const size_t *entry, size_t n, nh_irreps *type, size_t *list,
                      size_t *dim)
{
    size_t *mul = calloc(n + 1, sizeof *mul), count = 0;
    int *l = calloc(n + 1, sizeof *l), *p = calloc(n + 1, sizeof *p);
    size_t *offset = calloc(m->types.out.dim + 1, sizeof *offset);
    assert_true(mul && l && p && offset);
    for (size_t i = 0; i < n; i++) {
        list[i] = entry != NULL ? entry[i] : i;
        const nh_irrep *e = &m->types.out.entry[list[i]];
        mul[i] = e->mul;
        l[i] = e->l;
        p[i] = e->p;
        for (size_t k = 0; k < e->mul * (size_t)(2 * e->l + 1); k++)
            offset[count++] = e->offset + k;
    }
    OK(nh_irreps_build(n, mul, l, p, type, &err));
    *dim = count;
    free(mul);
    free(l);
    free(p);
    return offset;
}

static result run(const model *m, const crystal *c, const options *o)
{
    const size_t all = m->types.out.count;
    nh_irreps in = {0}, out = {0};
    size_t in_dim, out_dim;
    size_t *in_list = calloc(all + 1, sizeof *in_list), *out_list = calloc(all + 1, sizeof *out_list);
    assert_true(in_list && out_list);
    size_t *in_offset = choose(m, o->input, o->input != NULL ? o->n_input : all, &in, in_list, &in_dim);
    size_t *out_offset =
        choose(m, o->wanted, o->wanted != NULL ? o->n_wanted : all, &out, out_list, &out_dim);
    nh_weights w;
    OK(nh_weights_new(&m->params, !o->single, &w, &err));
    OK(nh_weights_rule(&m->params, o->prefix, &w, &err));
    result r = {.n_edge = c->edges.n_edge,
                .n_node = c->edges.n_node,
                .dim = out_dim,
                .pairs = m->types.n_shell_pair,
                .blocks = m->config.blocks};
    r.ham = calloc(r.n_edge * r.dim + 1, sizeof *r.ham);
    r.trace = calloc(r.n_edge * r.pairs + 1, sizeof *r.trace);
    r.seen = calloc(r.n_edge + 1, 1);
    assert_true(r.ham && r.trace && r.seen);
    const stream s = {
        .crystal = c, .offset = o->input != NULL ? in_offset : NULL, .n_offset = in_dim, .result = &r};
    if (o->single)
        nh_network_f_run(m, &w, &s, &in, in_list, &out, out_list, o);
    else
        nh_network_d_run(m, &w, &s, &in, in_list, &out, out_list, o);
    nh_weights_free(&w);
    nh_irreps_free(&in);
    nh_irreps_free(&out);
    free(in_list);
    free(out_list);
    free(in_offset);
    free(out_offset);
    return r;
}

/* ---- golden numbers */

static void compare(int nc, const char *name, const double *found, double tolerance)
{
    size_t rows;
    const size_t n = golden_count(nc, name, &rows);
    assert_non_null(found);
    double *expected = golden_read(nc, name);
    assert_close(n, found, expected, tolerance, name);
    free(expected);
}

static void compare_outputs(int nc, const model *m, const crystal *c, size_t range, const result *r,
                            double tolerance)
{
    char name[64];
    snprintf(name, sizeof name, "edge_ham_%zu", range);
    compare(nc, name, r->ham, tolerance);
    snprintf(name, sizeof name, "edge_trace_%zu", range);
    compare(nc, name, r->trace, tolerance);
    for (size_t e = 0; e < r->n_edge; e++) {
        const bool inside =
            c->distance[e] >= m->config.range[range][0] && c->distance[e] < m->config.range[range][1];
        assert_int_equal(r->seen[e], inside ? 1 : 0);
    }
}

static void compare_probes(int nc, const result *r, double tolerance)
{
    if (golden_has(nc, "r0_node_init")) compare(nc, "r0_node_init", r->node_init, tolerance);
    if (golden_has(nc, "r0_edge_init")) compare(nc, "r0_edge_init", r->edge_init, tolerance);
    if (golden_has(nc, "r0_edge_ham_nomask")) compare(nc, "r0_edge_ham_nomask", r->ham_nomask, tolerance);
    if (golden_has(nc, "r0_edge_trace_nomask"))
        compare(nc, "r0_edge_trace_nomask", r->trace_nomask, tolerance);
    for (size_t k = 0; k < r->blocks; k++) {
        char name[64];
        const struct {
            const char *text;
            const double *found;
            bool last; /* used in the last block too */
        } list[] = {{"node", r->node[k], false},
                    {"edge", r->edge[k], true},
                    {"z", r->z[k], true},
                    {"y", r->y[k], false},
                    {"edge_tg", r->edge_tg[k], false}};
        for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
            if (k + 1 == r->blocks && !list[i].last) continue;
            snprintf(name, sizeof name, "r0_%s_%zu", list[i].text, k);
            if (!strcmp(name, "r0_edge_3") && !golden_has(nc, name))
                continue; /* too large to be shipped, and ham_nomask is made of it */
            compare(nc, name, list[i].found, tolerance);
        }
    }
}

static void golden_case(const char *file, const char *config, const char *prefix, bool single,
                        nh_method method)
{
    const double tolerance = single ? 5e-5 : 1e-10;
    const int nc = golden_open(file);
    model m;
    model_open(config, "", &m);
    crystal c = crystal_golden(nc, &m.config);
    assert_int_equal(c.dim, m.types.out.dim);
    for (size_t k = 0; k < m.config.n_range; k++) {
        char text[64];
        snprintf(text, sizeof text, "%srange%zu:", prefix, k);
        options o = {
            .range = k, .prefix = text, .single = single, .trace = true, .threads = 2, .method = method};
        result r = run(&m, &c, &o);
        compare_outputs(nc, &m, &c, k, &r, tolerance);
        result_close(&r);
        if (k > 0) continue;
        o.probes = true;
        r = run(&m, &c, &o);
        compare_outputs(nc, &m, &c, k, &r, tolerance);
        compare_probes(nc, &r, tolerance);
        result_close(&r);
    }
    crystal_close(&c);
    model_close(&m);
    nc_close(nc);
}

static void small_double(void **state)
{
    (void)state;
    golden_case("network_small.nc", "tests/data/network_small.yaml", "small:", false, NH_METHOD_FAST);
}

static void small_single(void **state)
{
    (void)state;
    golden_case("network_small.nc", "tests/data/network_small.yaml", "small:", true, NH_METHOD_FAST);
}

/* The plain version is right, too. */
static void small_reference(void **state)
{
    (void)state;
    for (int single = 0; single < 2; single++)
        golden_case("network_small.nc", "tests/data/network_small.yaml", "small:", single == 1,
                    NH_METHOD_REFERENCE);
}

static void full_double(void **state)
{
    (void)state;
    golden_case("network_full.nc", "tests/data/network_standard.yaml", "", false, NH_METHOD_FAST);
}

static void full_single(void **state)
{
    (void)state;
    golden_case("network_full.nc", "tests/data/network_standard.yaml", "", true, NH_METHOD_FAST);
}

/* ---- properties, on the reduced network */

typedef struct fixture {
    model model;
    crystal crystal;
    result plain; /* sub-model 3, double, trace, everywhere */
} fixture;

static const options usual = {
    .range = 3, .prefix = "small:range3:", .trace = true, .everywhere = true, .threads = 2};

static int open_fixture(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    model_open("tests/data/network_small.yaml", "", &f->model);
    const int nc = golden_open("network_small.nc");
    f->crystal = crystal_golden(nc, &f->model.config);
    nc_close(nc);
    f->plain = run(&f->model, &f->crystal, &usual);
    *state = f;
    return 0;
}

static int close_fixture(void **state)
{
    fixture *f = *state;
    result_close(&f->plain);
    crystal_close(&f->crystal);
    model_close(&f->model);
    free(f);
    return 0;
}

/* Copies the crystal with edge e at index[e] and node a called node[a] (NULL: as they are). */
static crystal rearranged(const crystal *c, const size_t *index, const int *node)
{
    crystal d = crystal_new(c->edges.n_node, c->edges.n_edge, c->dim);
    for (size_t e = 0; e < c->edges.n_edge; e++) {
        const size_t to = index != NULL ? index[e] : e;
        d.src[to] = node != NULL ? node[c->src[e]] : c->src[e];
        d.dst[to] = node != NULL ? node[c->dst[e]] : c->dst[e];
        memcpy(d.vector + 3 * to, c->vector + 3 * e, 3 * sizeof(double));
        memcpy(d.features + to * c->dim, c->features + e * c->dim, c->dim * sizeof(double));
    }
    crystal_measure(&d);
    return d;
}

/* Row index[e] of a -> row e of the result; the caller frees. */
static double *rows_back(const double *a, size_t n, size_t dim, const size_t *index)
{
    double *b = calloc(n * dim + 1, sizeof *b);
    assert_non_null(b);
    for (size_t e = 0; e < n; e++)
        memcpy(b + e * dim, a + index[e] * dim, dim * sizeof *b);
    return b;
}

static void threads_do_not_matter(void **state)
{
    const fixture *f = *state;
    for (int single = 0; single < 2; single++) {
        options o = usual;
        o.single = single != 0;
        o.threads = 1;
        result one = run(&f->model, &f->crystal, &o);
        o.threads = 3;
        result three = run(&f->model, &f->crystal, &o);
        assert_memory_equal(one.ham, three.ham, one.n_edge * one.dim * sizeof(double));
        assert_memory_equal(one.trace, three.trace, one.n_edge * one.pairs * sizeof(double));
        result_close(&one);
        result_close(&three);
    }
}

static void everywhere_gives_zeros(void **state)
{
    const fixture *f = *state;
    const double *range = f->model.config.range[3];
    size_t outside = 0;
    for (size_t e = 0; e < f->plain.n_edge; e++) {
        assert_int_equal(f->plain.seen[e], 1);
        if (f->crystal.distance[e] >= range[0] && f->crystal.distance[e] < range[1]) continue;
        outside++;
        for (size_t i = 0; i < f->plain.dim; i++)
            assert_true(f->plain.ham[e * f->plain.dim + i] == 0);
        for (size_t i = 0; i < f->plain.pairs; i++)
            assert_true(f->plain.trace[e * f->plain.pairs + i] == 0);
    }
    assert_true(outside > 0 && outside < f->plain.n_edge);
}

static void order_of_edges(void **state)
{
    const fixture *f = *state;
    const size_t n = f->plain.n_edge;
    size_t *index = calloc(n, sizeof *index);
    assert_non_null(index);
    for (size_t e = 0; e < n; e++)
        index[e] = (e * 37 + 11) % n; /* 37 and the 65 edges have no common factor */
    crystal c = rearranged(&f->crystal, index, NULL);
    result r = run(&f->model, &c, &usual);
    double *ham = rows_back(r.ham, n, r.dim, index), *trace = rows_back(r.trace, n, r.pairs, index);
    assert_close(n * r.dim, ham, f->plain.ham, 1e-10, "order of edges, ham");
    assert_close(n * r.pairs, trace, f->plain.trace, 1e-10, "order of edges, trace");
    free(ham);
    free(trace);
    free(index);
    result_close(&r);
    crystal_close(&c);
}

static void order_of_atoms(void **state)
{
    const fixture *f = *state;
    const int node[3] = {2, 0, 1};
    assert_int_equal(f->crystal.edges.n_node, 3);
    crystal c = rearranged(&f->crystal, NULL, node);
    result r = run(&f->model, &c, &usual);
    assert_close(r.n_edge * r.dim, r.ham, f->plain.ham, 1e-10, "order of atoms, ham");
    assert_close(r.n_edge * r.pairs, r.trace, f->plain.trace, 1e-10, "order of atoms, trace");
    result_close(&r);
    crystal_close(&c);
}

/* x -> D x for vectors of type OUT: every entry by its D_l, times its parity where the rotation is improper.
 */
static void transform(const nh_irreps *type, const double q[9], bool improper, size_t n, double *x)
{
    double *d[NH_LMAX + 1] = {0};
    for (size_t i = 0; i < type->count; i++) {
        const nh_irrep *e = &type->entry[i];
        const size_t m = (size_t)(2 * e->l + 1);
        if (d[e->l] == NULL) {
            d[e->l] = calloc(m * m, sizeof(double));
            assert_non_null(d[e->l]);
            OK(nh_wigner_d(e->l, q, d[e->l], &err));
        }
        for (size_t t = 0; t < n; t++)
            for (size_t u = 0; u < e->mul; u++) {
                double *v = x + t * type->dim + e->offset + u * m, y[2 * NH_LMAX + 1] = {0};
                for (size_t a = 0; a < m; a++)
                    for (size_t b = 0; b < m; b++)
                        y[a] += d[e->l][a * m + b] * v[b];
                for (size_t a = 0; a < m; a++)
                    v[a] = improper ? e->p * y[a] : y[a];
            }
    }
    for (int l = 0; l <= NH_LMAX; l++)
        free(d[l]);
}

static void rotated(const fixture *f, const double q[9], bool improper, const char *what)
{
    const nh_irreps *out = &f->model.types.out;
    crystal c = rearranged(&f->crystal, NULL, NULL);
    for (size_t e = 0; e < c.edges.n_edge; e++) {
        const double *v = f->crystal.vector + 3 * e;
        for (size_t i = 0; i < 3; i++) {
            const double x = q[3 * i] * v[0] + q[3 * i + 1] * v[1] + q[3 * i + 2] * v[2];
            c.vector[3 * e + i] = improper ? -x : x;
        }
    }
    crystal_measure(&c);
    transform(out, q, improper, c.edges.n_edge, c.features);
    result r = run(&f->model, &c, &usual);
    double *expected = calloc(r.n_edge * r.dim, sizeof *expected);
    assert_non_null(expected);
    memcpy(expected, f->plain.ham, r.n_edge * r.dim * sizeof *expected);
    transform(out, q, improper, r.n_edge, expected);
    assert_close(r.n_edge * r.dim, r.ham, expected, 1e-10, what);
    assert_close(r.n_edge * r.pairs, r.trace, f->plain.trace, 1e-10, what);
    free(expected);
    result_close(&r);
    crystal_close(&c);
}

static void rotation(void **state)
{
    const double axis[3] = {2.0 / 7, -3.0 / 7, 6.0 / 7};
    double q[9];
    nh_rotation(axis, 1.234, q);
    rotated(*state, q, false, "rotation");
    rotated(*state, q, true, "rotation and inversion");
}

static void inversion(void **state)
{
    const double one[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    rotated(*state, one, true, "inversion");
}

/* onsite_copies: 2 is the same as every on-site edge standing twice in the list. */
static void onsite_copies(void **state)
{
    const fixture *f = *state;
    model twice;
    model_open("tests/data/network_small.yaml", "onsite_copies: 2\n", &twice);
    const size_t n = f->crystal.edges.n_edge;
    crystal c = crystal_new(f->crystal.edges.n_node, n + f->crystal.edges.n_node, f->crystal.dim);
    size_t extra = n;
    for (size_t e = 0; e < n; e++) {
        const bool onsite = f->crystal.src[e] == f->crystal.dst[e] && f->crystal.distance[e] < 1e-5;
        for (size_t k = 0; k < (onsite ? 2U : 1U); k++) {
            const size_t to = k == 0 ? e : extra++;
            c.src[to] = f->crystal.src[e];
            c.dst[to] = f->crystal.dst[e];
            memcpy(c.vector + 3 * to, f->crystal.vector + 3 * e, 3 * sizeof(double));
            memcpy(c.features + to * c.dim, f->crystal.features + e * c.dim, c.dim * sizeof(double));
        }
    }
    assert_int_equal(extra, c.edges.n_edge);
    crystal_measure(&c);
    result a = run(&twice, &f->crystal, &usual), b = run(&f->model, &c, &usual);
    assert_close(n * a.dim, a.ham, b.ham, 1e-11, "on-site copies");
    assert_true(relative_error(n * a.dim, a.ham, f->plain.ham) > 1e-4);
    result_close(&a);
    result_close(&b);
    crystal_close(&c);
    model_close(&twice);
}

/* Without its gradient TraceGrad changes edge_trace only, and is not needed for edge_ham. */
static void no_gradient(void **state)
{
    const fixture *f = *state;
    model m;
    char *text = read_text("tests/data/network_small.yaml");
    char *at = strstr(text, "hidden_last: 64");
    assert_non_null(at);
    memcpy(at, "scale: 0       ", 15);
    strcat(text, "\n");
    OK(nh_config_parse(text, "test", &m.config, &err));
    free(text);
    OK(nh_types_new(&m.config, &m.types, &err));
    OK(nh_params_new(&m.config, &m.params, &err));
    options o = usual;
    result with = run(&m, &f->crystal, &o);
    o.trace = false;
    result without = run(&m, &f->crystal, &o);
    assert_memory_equal(with.ham, without.ham, with.n_edge * with.dim * sizeof(double));
    assert_true(relative_error(with.n_edge * with.dim, with.ham, f->plain.ham) > 1e-4);
    o.probes = true; /* every block on every edge */
    result probed = run(&m, &f->crystal, &o);
    assert_close(with.n_edge * with.dim, probed.ham, with.ham, 1e-11, "all edges");
    result_close(&with);
    result_close(&without);
    result_close(&probed);
    model_close(&m);
}

/* A selection of inputs equals zeros elsewhere; a selection of outputs equals those columns. */
static void selections(void **state)
{
    const fixture *f = *state;
    const nh_irreps *out = &f->model.types.out;
    size_t *entry = calloc(out->count, sizeof *entry), n = 0, dim;
    assert_non_null(entry);
    for (size_t i = 0; i < out->count; i++)
        if (i % 3 != 1) entry[n++] = i;
    crystal c = rearranged(&f->crystal, NULL, NULL);
    for (size_t e = 0; e < c.edges.n_edge; e++)
        for (size_t i = 1; i < out->count; i += 3)
            memset(c.features + e * c.dim + out->entry[i].offset, 0,
                   (size_t)(2 * out->entry[i].l + 1) * sizeof(double));
    options o = usual;
    result all = run(&f->model, &c, &o);
    o.input = o.wanted = entry;
    o.n_input = o.n_wanted = n;
    result some = run(&f->model, &f->crystal, &o);
    size_t *list = calloc(n, sizeof *list);
    nh_irreps type;
    assert_non_null(list);
    size_t *offset = choose(&f->model, entry, n, &type, list, &dim);
    assert_int_equal(dim, some.dim);
    double *expected = calloc(all.n_edge * dim, sizeof *expected);
    assert_non_null(expected);
    for (size_t e = 0; e < all.n_edge; e++)
        for (size_t i = 0; i < dim; i++)
            expected[e * dim + i] = all.ham[e * all.dim + offset[i]];
    assert_close(all.n_edge * dim, some.ham, expected, 1e-12, "selection");
    nh_irreps_free(&type);
    free(offset);
    free(list);
    free(expected);
    free(entry);
    result_close(&all);
    result_close(&some);
    crystal_close(&c);
}

static void odd_graphs(void **state)
{
    const fixture *f = *state;
    crystal none = crystal_new(2, 0, f->crystal.dim);
    result r = run(&f->model, &none, &usual);
    result_close(&r);
    crystal nothing = crystal_new(0, 0, f->crystal.dim);
    r = run(&f->model, &nothing, &usual);
    result_close(&r);
    crystal_close(&none);
    crystal_close(&nothing);
    /* atoms that no edge touches, in front and behind, change nothing for the others */
    const int node[3] = {1, 4, 5};
    crystal c = rearranged(&f->crystal, NULL, node);
    c.edges.n_node = 7;
    r = run(&f->model, &c, &usual);
    assert_close(r.n_edge * r.dim, r.ham, f->plain.ham, 1e-12, "lonely atoms");
    result_close(&r);
    crystal_close(&c);
}

static void bad_input(void **state)
{
    const fixture *f = *state;
    const model *m = &f->model;
    nh_weights w;
    nh_network_d *net = NULL;
    size_t *all = calloc(m->types.out.count, sizeof *all);
    assert_non_null(all);
    for (size_t i = 0; i < m->types.out.count; i++)
        all[i] = i;
    OK(nh_weights_new(&m->params, true, &w, &err));
    OK(nh_weights_rule(&m->params, "small:range0:", &w, &err));
    const size_t lost = nh_params_find(&m->params, "blocks.1.ga.edge_proj.bias.0");
    assert_true(lost < m->params.count);
    free(w.as_double[lost]);
    w.as_double[lost] = NULL;
    assert_int_equal(nh_network_d_new(&m->config, &m->types, &m->params, &w, 0, &m->types.out, all,
                                      &m->types.out, all, true, NH_METHOD_FAST, NULL, &net, &err),
                     -1);
    assert_null(net);
    assert_non_null(strstr(err.text, "blocks.1.ga.edge_proj.bias.0 is missing"));
    OK(nh_weights_rule(&m->params, "small:range0:", &w, &err));
    all[0] = m->types.out.count;
    assert_int_equal(nh_network_d_new(&m->config, &m->types, &m->params, &w, 0, &m->types.out, all,
                                      &m->types.out, all, true, NH_METHOD_FAST, NULL, &net, &err),
                     -1);
    all[0] = 0;
    OK(nh_network_d_new(&m->config, &m->types, &m->params, &w, 0, &m->types.out, all, &m->types.out, all,
                        true, NH_METHOD_FAST, NULL, &net, &err));
    const int zero = 0, three = 3;
    const double v[3] = {0}, r = 0;
    const nh_edges g = {.n_node = 3, .n_edge = 1, .src = &zero, .dst = &three, .vector = v, .distance = &r};
    assert_int_equal(nh_network_d_forward(net, &g, NULL, NULL, NULL, NULL, false, NULL, NULL, NULL, &err),
                     -1);
    assert_non_null(strstr(err.text, "edge 0"));
    nh_network_d_free(net);
    nh_weights_free(&w);
    free(all);
}

/* The wide network with degrees up to 7: rotated input gives rotated output. */
static void v11_rotation(void **state)
{
    (void)state;
    fixture f = {0};
    model_open("tests/data/network_v11.yaml", "", &f.model);
    const size_t dim = f.model.types.out.dim;
    f.crystal = crystal_new(2, 6, dim);
    const int src[6] = {0, 1, 0, 1, 0, 1}, dst[6] = {0, 1, 1, 0, 0, 1};
    const double vector[6][3] = {{0, 0, 0},          {0, 0, 0},   {1.1, 2.2, 3.3},
                                 {-1.1, -2.2, -3.3}, {0, 4.5, 1}, {4, -2, 1.5}};
    memcpy(f.crystal.src, src, sizeof src);
    memcpy(f.crystal.dst, dst, sizeof dst);
    memcpy(f.crystal.vector, vector, sizeof vector);
    uint64_t s = 1;
    for (size_t i = 0; i < 6 * dim; i++) {
        s = s * 6364136223846793005U + 1442695040888963407U;
        f.crystal.features[i] = (double)(s >> 11) * 0x1p-52 - 1;
    }
    crystal_measure(&f.crystal);
    f.plain = run(&f.model, &f.crystal, &usual);
    const double axis[3] = {2.0 / 3, -1.0 / 3, 2.0 / 3};
    double q[9];
    nh_rotation(axis, 0.7, q);
    rotated(&f, q, true, "V1.1, improper rotation");
    result_close(&f.plain);
    crystal_close(&f.crystal);
    model_close(&f.model);
}

int main(void)
{
    const struct CMUnitTest golden[] = {
        cmocka_unit_test(small_double), cmocka_unit_test(small_single), cmocka_unit_test(small_reference),
        cmocka_unit_test(full_double),  cmocka_unit_test(full_single),  cmocka_unit_test(v11_rotation),
    };
    const struct CMUnitTest properties[] = {
        cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(everywhere_gives_zeros),
        cmocka_unit_test(order_of_edges),
        cmocka_unit_test(order_of_atoms),
        cmocka_unit_test(rotation),
        cmocka_unit_test(inversion),
        cmocka_unit_test(onsite_copies),
        cmocka_unit_test(no_gradient),
        cmocka_unit_test(selections),
        cmocka_unit_test(odd_graphs),
        cmocka_unit_test(bad_input),
    };
    return cmocka_run_group_tests_name("golden", golden, NULL, NULL) +
           cmocka_run_group_tests_name("properties", properties, open_fixture, close_fixture);
}
