/* The loss between the outputs of the sub-models and one number (docs/network.md 6, 8, 13): the official
 * program's numbers, and every gradient against differences of the loss. */
#include "golden_crystal.h"

#include "base/random.h"
#include "training/loss.h"

static const int SHELLS[4] = {0, 0, 1, 2};
static const char REDUCED[] = "basis: 2s1p1d\nmid: 8x0e+4x1o+4x1e+2x2e+2x2o+2x3e+2x3o+2x4e\n";
enum { N_PAIR = 16, DIM = 400 };

typedef struct fixture {
    int nc;
    golden_crystal x;
    nh_config config;
    nh_embedding *e;
    nh_selection real;
    nh_loss_data *d;
    double *ham, *trace; /* sums over the sub-models, our order */
    nh_loss_options o;
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->nc = golden_open("network_small.nc");
    f->x = golden_crystal_load(f->nc, 4, SHELLS);
    OK(nh_config_parse(REDUCED, "config", &f->config, &err));
    OK(nh_embedding_new(4, SHELLS, &f->e, &err));
    OK(nh_selection_new(f->e, NH_PART_REAL, NULL, &f->real, &err));
    assert_int_equal(f->real.irreps.dim, DIM);
    OK(nh_loss_data_new(&f->config, f->x.g, f->e, &f->real, true, &f->d, &err));
    assert_int_equal(nh_loss_edges(f->d), f->x.n_edge);
    double *ham = calloc(f->x.n_edge * DIM, sizeof *ham),
           *trace = calloc(f->x.n_edge * N_PAIR, sizeof *trace);
    for (int k = 0; k < 4; k++) {
        char name[32];
        snprintf(name, sizeof name, "edge_ham_%d", k);
        double *h = golden_read(f->nc, name);
        for (size_t e = 0; e < f->x.n_edge; e++)
            for (size_t i = 0; i < DIM; i++)
                ham[e * DIM + i] += h[e * 2 * DIM + i]; /* the real half comes first */
        free(h);
        snprintf(name, sizeof name, "edge_trace_%d", k);
        double *t = golden_read(f->nc, name);
        for (size_t i = 0; i < f->x.n_edge * N_PAIR; i++)
            trace[i] += t[i];
        free(t);
    }
    f->ham = golden_rows(&f->x, ham, DIM);
    f->trace = golden_rows(&f->x, trace, N_PAIR);
    free(ham);
    free(trace);
    f->o = (nh_loss_options){.kind = NH_LOSS_REFERENCE,
                             .lambda_c = 0.2,
                             .lambda_r = 0.99955,
                             .lambda_p = 0.0002,
                             .lambda_q = 0.0001,
                             .lambda_pq = 0.00015};
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    nh_loss_data_free(f->d);
    nh_selection_free(&f->real);
    nh_embedding_free(f->e);
    nh_config_free(&f->config);
    golden_crystal_free(&f->x);
    free(f->ham);
    free(f->trace);
    nc_close(f->nc);
    free(f);
    return 0;
}

static void expect(int nc, const char *name, double found)
{
    double *golden = golden_read(nc, name);
    assert_close(1, &found, golden, 1e-10, name);
    free(golden);
}

static void golden_losses(void **state)
{
    fixture *f = *state;
    for (int squared = 0; squared < 2; squared++) {
        nh_loss_terms t;
        f->o.squared = squared;
        OK(nh_loss_evaluate(
            f->d,
            &(nh_loss_task){
                .options = &f->o, .n_state = 1, .state = &f->x.states, .ham = f->ham, .trace = f->trace},
            &t, &err));
        double *golden = golden_read(f->nc, squared ? "terms_mse" : "terms_l1");
        const double found[5] = {t.r, t.p, t.q, t.pq, t.loss_h};
        for (size_t i = 0; i < 5; i++)
            assert_close(1, &found[i], &golden[i], 1e-10, squared ? "terms_mse" : "terms_l1");
        free(golden);
        expect(f->nc, "mu", t.mu);
        expect(f->nc, "loss_trace", t.loss_trace);
        if (!squared) expect(f->nc, "loss_h", t.loss_h);
        if (!squared) expect(f->nc, "loss_total", t.total);
    }
}

static void golden_trace_label(void **state)
{
    fixture *f = *state;
    double *mu = golden_read(f->nc, "mu"), *rows = golden_read(f->nc, "trace_label"),
           *mask_rows = golden_read(f->nc, "trace_mask");
    double *golden = golden_rows(&f->x, rows, N_PAIR), *golden_mask = golden_rows(&f->x, mask_rows, N_PAIR);
    double *label = calloc(f->x.n_edge * N_PAIR, sizeof *label);
    bool *mask = calloc(f->x.n_edge * N_PAIR, sizeof *mask);
    OK(nh_loss_trace_label(f->d, NH_LOSS_REFERENCE, *mu, label, mask, &err));
    assert_close(f->x.n_edge * N_PAIR, label, golden, 1e-10, "trace_label");
    for (size_t i = 0; i < f->x.n_edge * N_PAIR; i++)
        assert_int_equal(mask[i], golden_mask[i] != 0);
    free(mu);
    free(rows);
    free(mask_rows);
    free(golden);
    free(golden_mask);
    free(label);
    free(mask);
}

static void golden_gauge_mae(void **state)
{
    fixture *f = *state;
    nh_gauge_row region[NH_GAUGE_N_REGION], range[2];
    const double limit[3] = {0, 6, INFINITY};
    OK(nh_loss_gauge_mae(f->d, f->ham, false, region, 2, limit, range, &err));
    expect(f->nc, "gauge_mae", region[NH_GAUGE_OVERALL].part[NH_GAUGE_COMPLEX].mae);
    expect(f->nc, "gauge_mae_mu", region[NH_GAUGE_OVERALL].part[NH_GAUGE_COMPLEX].mu);
    assert_int_equal(range[0].n_elem + range[1].n_elem, region[NH_GAUGE_OVERALL].n_elem);
    OK(nh_loss_gauge_mae(f->d, NULL, false, region, 0, NULL, NULL, &err));
    expect(f->nc, "gauge_mae_baseline", region[NH_GAUGE_OVERALL].part[NH_GAUGE_COMPLEX].mae);
}

/* --- gradients --------------------------------------------------------------------------------------------
 */

static double dot(size_t n, const double *a, const double *b)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static double *noise(size_t n, double scale, const char *stream)
{
    double *x = calloc(n + 1, sizeof *x);
    assert_non_null(x);
    const uint64_t h = nh_hash(stream);
    for (size_t i = 0; i < n; i++)
        x[i] = scale * nh_hash_uniform(h, i);
    return x;
}

/* One setting of the loss with everything that goes into it. */
typedef struct setting {
    const nh_loss_data *d;
    nh_loss_options o;
    size_t n_state, dim, n_pair;
    const nh_kstates *state;
    const double *ham, *trace;
} setting;

/* At ham + a*v + b*w and trace + c*x (any of v, w, x may be NULL). */
static nh_loss_terms at(const setting *s, double a, const double *v, double b, const double *w, double c,
                        const double *x)
{
    const size_t n = nh_loss_edges(s->d) * s->dim, m = nh_loss_edges(s->d) * s->n_pair;
    double *ham = calloc(n, sizeof *ham), *trace = calloc(m, sizeof *trace);
    assert_true(ham && trace);
    for (size_t i = 0; i < n; i++)
        ham[i] = s->ham[i] + (v ? a * v[i] : 0) + (w ? b * w[i] : 0);
    for (size_t i = 0; i < m && s->trace; i++)
        trace[i] = s->trace[i] + (x ? c * x[i] : 0);
    nh_loss_terms t;
    OK(nh_loss_evaluate(s->d,
                        &(nh_loss_task){.options = &s->o,
                                        .n_state = s->n_state,
                                        .state = s->state,
                                        .ham = ham,
                                        .trace = s->trace ? trace : NULL},
                        &t, &err));
    free(ham);
    free(trace);
    return t;
}

static void expect_slope(double found, double expected, double scale, const char *what)
{
    const double error = fabs(found - expected) / scale;
    if (getenv("NH_VERBOSE")) fprintf(stderr, "%-36s %.2e\n", what, error);
    if (!(error < 2e-6)) fail_msg("%s: slope %.12g, differences say %.12g", what, found, expected);
}

/* g_ham and g_trace against central differences. loss_h has mu as a constant: along a direction in which mu,
 * an affine function of ham, does not change, differences of loss_h are its derivative. The trace loss may be
 * followed along any direction. */
static void check_gradient(const setting *s, const char *what)
{
    const size_t n = nh_loss_edges(s->d) * s->dim, m = nh_loss_edges(s->d) * s->n_pair;
    const bool paper = s->o.kind == NH_LOSS_PAPER, smooth = paper || s->o.squared;
    const double step = smooth ? 1e-4 : 1e-8;
    double *g = calloc(n, sizeof *g), *plain = calloc(n, sizeof *plain), *gt = calloc(m, sizeof *gt);
    double *v = noise(n, 1, "first"), *w = noise(n, 1, "second"), *x = noise(m, 1, "third");
    nh_loss_terms t, t0;
    OK(nh_loss_evaluate(s->d,
                        &(nh_loss_task){.options = &s->o,
                                        .n_state = s->n_state,
                                        .state = s->state,
                                        .ham = s->ham,
                                        .trace = s->trace,
                                        .g_ham = g,
                                        .g_trace = gt},
                        &t, &err));
    setting no_trace = *s;
    no_trace.o.lambda_c = 0;
    no_trace.trace = NULL;
    OK(nh_loss_evaluate(
        s->d,
        &(nh_loss_task){
            .options = &no_trace.o, .n_state = s->n_state, .state = s->state, .ham = s->ham, .g_ham = plain},
        &t0, &err));
    assert_true(t0.loss_h == t.loss_h && t0.total == t.total && t.total == t.loss_h && t.loss_h > 0);

    const double mu_v = at(&no_trace, 1, v, 0, NULL, 0, NULL).mu - t.mu,
                 mu_w = at(&no_trace, 0, NULL, 1, w, 0, NULL).mu - t.mu;
    double *u = calloc(n, sizeof *u); /* mu does not change along u */
    const double size = hypot(mu_v, mu_w);
    for (size_t i = 0; i < n; i++)
        u[i] = (v[i] * mu_w - w[i] * mu_v) / size;
    const nh_loss_terms up = at(&no_trace, step, u, 0, NULL, 0, NULL),
                        down = at(&no_trace, -step, u, 0, NULL, 0, NULL);
    assert_true(fabs(up.mu - t.mu) < 1e-13 * size + 1e-15);
    const double scale = sqrt(dot(n, plain, plain));
    expect_slope(dot(n, plain, u), (up.loss_h - down.loss_h) / (2 * step), scale, what);

    if (s->o.lambda_c > 0) {
        /* total = (1 - c) loss_h(mu fixed) + c * ratio * loss_trace, ratio fixed; in the paper's, of the R
         * part. */
        const double c = s->o.lambda_c, h = 1e-7;
        const double ratio = paper ? s->o.lambda_r * t.r / t.loss_trace : t.loss_h / t.loss_trace;
        const double ham_slope =
            (at(s, h, v, 0, NULL, 0, NULL).loss_trace - at(s, -h, v, 0, NULL, 0, NULL).loss_trace) / (2 * h);
        const double trace_slope =
            (at(s, 0, NULL, 0, NULL, h, x).loss_trace - at(s, 0, NULL, 0, NULL, -h, x).loss_trace) / (2 * h);
        if (!paper)
            expect_slope(dot(n, g, v) - (1 - c) * dot(n, plain, v), c * ratio * ham_slope, scale,
                         "  trace label through mu");
        assert_true(paper || fabs(c * ratio * ham_slope) > 1e-5 * scale); /* there is something to see */
        expect_slope(dot(m, gt, x), c * ratio * trace_slope, sqrt(dot(m, gt, gt)), "  edge_trace");
    }
    free(g);
    free(plain);
    free(gt);
    free(u);
    free(v);
    free(w);
    free(x);
}

static nh_loss_options heavy(nh_loss_kind kind, bool squared)
{
    /* weights with which every term counts */
    return (nh_loss_options){kind, squared, 0.2, 0.5, 0.2, 0.13, 0.17};
}

static void gradients(void **state)
{
    fixture *f = *state;
    nh_kstates two[2] = {f->x.states, f->x.states};
    two[1].k[0] = -0.31;
    two[1].n_p = 9;
    for (int squared = 0; squared < 2; squared++)
        for (size_t n_state = 0; n_state < 3; n_state++) {
            const setting s = {f->d,    heavy(NH_LOSS_REFERENCE, squared), n_state, DIM, N_PAIR, two, f->ham,
                               f->trace};
            check_gradient(&s, squared ? "reference, squared" : "reference, absolute");
        }
    for (size_t n_state = 0; n_state < 3; n_state++) {
        const setting s = {f->d, heavy(NH_LOSS_PAPER, true), n_state, DIM, N_PAIR, two, f->ham, f->trace};
        check_gradient(&s, "paper");
    }
}

/* Fewer shell pairs answered, no padding, and the scalar part alone (spin-average). */
static void gradients_of_other_selections(void **state)
{
    fixture *f = *state;
    nh_config config;
    OK(nh_config_parse("basis: 2s1p1d\nreconstruct: spin-average\nranges: [[0, 3]]\n", "config", &config,
                       &err));
    nh_selection scalar;
    OK(nh_selection_new(f->e, NH_PART_SCALAR, NULL, &scalar, &err));
    for (int padding = 0; padding < 2; padding++) {
        nh_loss_data *d;
        OK(nh_loss_data_new(&config, f->x.g, f->e, &scalar, padding, &d, &err));
        double *ham = noise(f->x.n_edge * scalar.irreps.dim, 0.1, "ham");
        setting s = {d,       heavy(NH_LOSS_REFERENCE, true), 1, scalar.irreps.dim, N_PAIR, &f->x.states, ham,
                     f->trace};
        check_gradient(&s, padding ? "spin-average" : "spin-average without padding");
        s.o = heavy(NH_LOSS_PAPER, true);
        check_gradient(&s, padding ? "spin-average, paper" : "spin-average without padding, paper");
        /* Out of range, and without padding where no orbitals are, nothing is asked of the network. */
        double *g = calloc(f->x.n_edge * scalar.irreps.dim, sizeof *g);
        nh_loss_terms t;
        s.o.kind = NH_LOSS_REFERENCE;
        OK(nh_loss_evaluate(
            d,
            &(nh_loss_task){
                .options = &s.o, .n_state = 1, .state = s.state, .ham = ham, .trace = s.trace, .g_ham = g},
            &t, &err));
        size_t silent = 0, rows = 0;
        for (size_t e = 0; e < f->x.n_edge; e++) {
            const bool outside = f->x.g->pairs.distance[e] >= 3;
            for (size_t i = 0; i < scalar.irreps.dim; i++) {
                if (outside) assert_true(g[e * scalar.irreps.dim + i] == 0);
                silent += !outside && g[e * scalar.irreps.dim + i] == 0;
            }
            rows += !outside;
        }
        assert_true(rows > 3 && rows < f->x.n_edge);
        assert_true(padding ? silent == 0 : silent > 100);
        free(g);
        free(ham);
        nh_loss_data_free(d);
    }
    nh_selection_free(&scalar);
    nh_config_free(&config);
}

/* loss_h without k-points by its formula, mu held where the loss says it is: no gradient goes through it. */
static void real_space_by_hand(void **state)
{
    fixture *f = *state;
    const nh_graph *g = f->x.g;
    nh_loss_options o = heavy(NH_LOSS_REFERENCE, false);
    o.lambda_c = 0;
    nh_loss_data *d;
    OK(nh_loss_data_new(&f->config, g, f->e, &f->real, false, &d, &err));
    nh_loss_terms t;
    double *found = calloc(f->x.n_edge * DIM, sizeof *found), *h = calloc(8 * g->pairs.n_elem, sizeof *h);
    OK(nh_loss_evaluate(d, &(nh_loss_task){.options = &o, .ham = f->ham, .g_ham = found}, &t, &err));
    OK(nh_loss_predict(d, f->ham, false, h, &err));
    const size_t n = g->pairs.n_elem;
    double num = 0, den = 0, sum = 0;
    for (size_t b = 0; b < 4; b += 3)
        for (size_t i = 0; i < n; i++) {
            num += (h[2 * (b * n + i)] - g->matrix[NH_H_LABEL][2 * (b * n + i)]) * g->overlap[i];
            den += g->overlap[i] * g->overlap[i];
        }
    const double mu = num / den;
    assert_true(fabs(t.mu - mu) < 1e-12 * fabs(mu));
    size_t slot[16];
    OK(nh_embedding_slots(f->e, &g->structure, slot, &err));
    double *expected = calloc(f->x.n_edge * DIM, sizeof *expected), block[100];
    for (size_t e = 0; e < f->x.n_edge; e++) {
        for (size_t i = g->pairs.start[e]; i < g->pairs.start[e + 1]; i++) {
            block[i - g->pairs.start[e]] = 0;
            for (size_t b = 0; b < 4; b++) {
                const bool diagonal = b == 0 || b == 3;
                const double x = g->matrix[NH_H_LABEL][2 * (b * n + i)] - h[2 * (b * n + i)] +
                                 (diagonal ? mu * g->overlap[i] : 0);
                sum += fabs(x) / (4 * (double)n);
                if (diagonal) block[i - g->pairs.start[e]] -= o.lambda_r * (x > 0 ? 1 : -1) / (4 * (double)n);
            }
        }
        nh_correction_to_irreps_adjoint(
            &(nh_transform){f->e, &f->real, &g->structure, slot}, g->structure.species[g->pairs.pair[e].src],
            g->structure.species[g->pairs.pair[e].dst], block, expected + e * DIM);
    }
    for (size_t e = 0; e < f->x.n_edge; e++) /* beyond 6 Å no sub-model answers */
        if (g->pairs.distance[e] >= 6) memset(expected + e * DIM, 0, DIM * sizeof *expected);
    assert_close(1, &t.r, &sum, 1e-12, "t_R by hand");
    assert_close(f->x.n_edge * DIM, found, expected, 1e-10, "its gradient by hand");
    free(expected);
    free(found);
    free(h);
    nh_loss_data_free(d);
}

/* A graph with one block is the four-block graph with uu = dd and ud = du = 0; its bands are there twice. */
static void without_spin(void **state)
{
    fixture *f = *state;
    nh_graph *four = f->x.g, one = *four;
    const size_t n = 2 * four->pairs.n_elem, basis = f->x.states.n_basis / 2, band = basis;
    for (int m = NH_H0; m <= NH_H_LABEL; m++) {
        memcpy(four->matrix[m] + 3 * n, four->matrix[m], n * sizeof(double));
        memset(four->matrix[m] + n, 0, 2 * n * sizeof(double));
    }
    one.n_spin = 1;
    double *single = noise(2 * band * basis, 0.3, "states"), *twice = calloc(8 * band * basis, sizeof *twice);
    for (size_t b = 0; b < 2 * band; b++)
        for (size_t i = 0; i < basis; i++)
            for (size_t r = 0; r < 2; r++)
                twice[2 * (b * 2 * basis + 2 * i + b % 2) + r] = single[2 * (b / 2 * basis + i) + r];
    const nh_kstates s1 = {{0.1, 0.2, -0.3}, band, basis, 7, single},
                     s2 = {{0.1, 0.2, -0.3}, 2 * band, 2 * basis, 14, twice};
    nh_loss_data *d1, *d2;
    OK(nh_loss_data_new(&f->config, &one, f->e, &f->real, true, &d1, &err));
    OK(nh_loss_data_new(&f->config, four, f->e, &f->real, true, &d2, &err));
    double *g1 = calloc(f->x.n_edge * DIM, sizeof *g1), *g2 = calloc(f->x.n_edge * DIM, sizeof *g2);
    for (int kind = 0; kind < 3; kind++) {
        const nh_loss_options o = heavy(kind == 2 ? NH_LOSS_PAPER : NH_LOSS_REFERENCE, kind == 1);
        nh_loss_terms a, b;
        OK(nh_loss_evaluate(
            d1,
            &(nh_loss_task){
                .options = &o, .n_state = 1, .state = &s1, .ham = f->ham, .trace = f->trace, .g_ham = g1},
            &a, &err));
        OK(nh_loss_evaluate(
            d2,
            &(nh_loss_task){
                .options = &o, .n_state = 1, .state = &s2, .ham = f->ham, .trace = f->trace, .g_ham = g2},
            &b, &err));
        const double x[] = {a.total, a.r, a.p, a.q, a.pq, a.mu, a.loss_trace},
                     y[] = {b.total, b.r, b.p, b.q, b.pq, b.mu, b.loss_trace};
        for (size_t i = 0; i < sizeof x / sizeof *x; i++)
            assert_close(1, &x[i], &y[i], 1e-11, "without spin");
        assert_close(f->x.n_edge * DIM, g1, g2, 1e-10, "gradient without spin");
    }
    nh_loss_data_free(d1);
    nh_loss_data_free(d2);
    free(g1);
    free(g2);
    free(single);
    free(twice);
}

/* Loss and gradients are the same bits for every number of threads. */
static void threads_do_not_matter(void **state)
{
    fixture *f = *state;
    const size_t n = f->x.n_edge * DIM;
    double *g[2] = {calloc(n, sizeof(double)), calloc(n, sizeof(double))};
    nh_loss_terms t[2];
    for (int i = 0; i < 2; i++) {
        nh_threads *threads;
        OK(nh_threads_new(1 + 2 * i, &threads, &err));
        OK(nh_loss_evaluate(f->d,
                            &(nh_loss_task){.options = &f->o,
                                            .n_state = 1,
                                            .state = &f->x.states,
                                            .ham = f->ham,
                                            .trace = f->trace,
                                            .g_ham = g[i],
                                            .threads = threads},
                            &t[i], &err));
        nh_threads_free(threads);
    }
    assert_memory_equal(&t[0], &t[1], sizeof t[0]);
    assert_memory_equal(g[0], g[1], n * sizeof(double));
    free(g[0]);
    free(g[1]);
}

/* A perfect prediction, up to mu*S: no error, no gradient that is not a number. */
static void perfect_prediction(void **state)
{
    fixture *f = *state;
    nh_graph *g = f->x.g;
    memcpy(g->matrix[NH_H_LABEL], g->matrix[NH_H0], 8 * g->pairs.n_elem * sizeof(double));
    memset(f->ham, 0, f->x.n_edge * DIM * sizeof(double));
    double *grad = calloc(f->x.n_edge * DIM, sizeof *grad),
           *trace = calloc(f->x.n_edge * N_PAIR, sizeof *trace),
           *gt = calloc(f->x.n_edge * N_PAIR, sizeof *gt);
    nh_loss_terms t;
    OK(nh_loss_evaluate(f->d,
                        &(nh_loss_task){.options = &f->o,
                                        .n_state = 1,
                                        .state = &f->x.states,
                                        .ham = f->ham,
                                        .trace = trace,
                                        .g_ham = grad,
                                        .g_trace = gt},
                        &t, &err));
    assert_true(t.loss_h == 0 && t.loss_trace == 0 && t.mu == 0);
    for (size_t i = 0; i < f->x.n_edge * DIM; i++)
        assert_true(grad[i] == 0);
    for (size_t i = 0; i < f->x.n_edge * N_PAIR; i++)
        assert_true(gt[i] == 0);
    free(grad);
    free(trace);
    free(gt);
}

static void nan_is_seen(void **state)
{
    fixture *f = *state;
    nh_loss_terms t;
    size_t e = 0;
    while (f->x.g->pairs.distance[e] >= 6) /* nothing is asked there */
        e++;
    f->ham[e * DIM] = NAN;
    OK(nh_loss_evaluate(
        f->d,
        &(nh_loss_task){
            .options = &f->o, .n_state = 1, .state = &f->x.states, .ham = f->ham, .trace = f->trace},
        &t, &err));
    assert_true(isnan(t.loss_h) && isnan(t.total));
}

static void refuse(int status, const char *text)
{
    assert_int_equal(status, -1);
    if (strstr(err.text, text) == NULL) fail_msg("'%s' expected in '%s'", text, err.text);
}

static void bad_input(void **state)
{
    fixture *f = *state;
    nh_loss_data *d;
    nh_loss_terms t;
    nh_graph g = *f->x.g;
    g.matrix[NH_H_LABEL] = NULL;
    refuse(nh_loss_data_new(&f->config, &g, f->e, &f->real, true, &d, &err), "no h_label");
    assert_null(d);
    g = *f->x.g;
    g.overlap = NULL;
    refuse(nh_loss_data_new(&f->config, &g, f->e, &f->real, true, &d, &err), "no overlap");
    g = *f->x.g;
    g.cutoff = 7.9;
    refuse(nh_loss_data_new(&f->config, &g, f->e, &f->real, true, &d, &err), "cutoff");
    bool used[N_PAIR] = {true};
    nh_selection few, scalar;
    OK(nh_selection_new(f->e, NH_PART_REAL, used, &few, &err));
    OK(nh_selection_new(f->e, NH_PART_SCALAR, NULL, &scalar, &err));
    refuse(nh_loss_data_new(&f->config, f->x.g, f->e, &few, true, &d, &err), "lacks the shell pair 0,1");
    refuse(nh_loss_data_new(&f->config, f->x.g, f->e, &scalar, true, &d, &err), "reconstruct");
    nh_selection_free(&few);
    nh_selection_free(&scalar);
    nh_embedding *small;
    OK(nh_embedding_new(2, (const int[]){0, 1}, &small, &err));
    refuse(nh_loss_data_new(&f->config, f->x.g, small, &f->real, true, &d, &err), "more shells");
    nh_embedding_free(small);
    nh_kstates s = f->x.states;
    s.n_basis--;
    refuse(nh_loss_evaluate(
               f->d,
               &(nh_loss_task){.options = &f->o, .n_state = 1, .state = &s, .ham = f->ham, .trace = f->trace},
               &t, &err),
           "orbitals");
    s = f->x.states;
    s.n_p = s.n_band + 1;
    refuse(nh_loss_evaluate(
               f->d,
               &(nh_loss_task){.options = &f->o, .n_state = 1, .state = &s, .ham = f->ham, .trace = f->trace},
               &t, &err),
           "in P");
    refuse(nh_loss_evaluate(
               f->d, &(nh_loss_task){.options = &f->o, .n_state = 1, .state = &f->x.states, .ham = f->ham},
               &t, &err),
           "lambda_c");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(golden_losses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(golden_trace_label, set_up, tear_down),
        cmocka_unit_test_setup_teardown(golden_gauge_mae, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gradients, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gradients_of_other_selections, set_up, tear_down),
        cmocka_unit_test_setup_teardown(real_space_by_hand, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_spin, set_up, tear_down),
        cmocka_unit_test_setup_teardown(threads_do_not_matter, set_up, tear_down),
        cmocka_unit_test_setup_teardown(perfect_prediction, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nan_is_seen, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_input, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
