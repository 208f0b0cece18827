/* The losses on a device against the host's, which the golden numbers hold: values and gradients, both kinds, squared or not, with and without
 * padding, traces, spin and k-points, on the golden crystal and on random ones. */
#include "golden_crystal.h"
#include "one_device.h"

#include "base/random.h"
#include "made_crystal.h"
#include "training/loss.h"

static const int SHELLS[4] = {0, 0, 1, 2};
enum { N_PAIR = 16 };

static double *noise(size_t n, double scale, const char *stream)
{
    double *x = calloc(n + 1, sizeof *x);
    assert_non_null(x);
    const uint64_t h = nh_hash(stream);
    for (size_t i = 0; i < n; i++)
        x[i] = scale * nh_hash_uniform(h, i);
    return x;
}

static void compare(const char *what, size_t n, const double *found, const double *expected)
{
    double worst = 0, largest = 0;
    for (size_t i = 0; i < n; i++) {
        worst = fmax(worst, isfinite(found[i]) ? fabs(found[i] - expected[i]) : INFINITY);
        largest = fmax(largest, fabs(expected[i]));
    }
    if (getenv("NH_VERBOSE")) fprintf(stderr, "%-40s %.1e of %.3e\n", what, worst, largest);
    if (worst > 1e-12 * largest) fail_msg("%s: %g of %g", what, worst, largest);
}

/* One crystal, one loss: everything against the host, in three orders of the blocks with the same bits. */
typedef struct setting {
    nh_loss_data *d;
    size_t dim, n_state;
    const nh_kstates *state;
    const double *ham, *trace; /* NULL: none */
} setting;

static void check(const char *what, const setting *s, const nh_loss_options *o, bool gradients)
{
    const nhk_calls *call = device->call;
    const size_t edges = nh_loss_edges(s->d), n = edges * s->dim, m = s->trace ? edges * N_PAIR : 0;
    double *g_ham = noise(n, 1, "x"), *g_trace = noise(m, 1, "x"), *found[3], *found_trace[3];
    nh_loss_terms expected, t[3];
    nhk_outputs *x;
    bool ready;
    OK(nh_loss_evaluate(s->d,
                        &(nh_loss_task){.options = o,
                                        .n_state = s->n_state,
                                        .state = s->state,
                                        .ham = s->ham,
                                        .trace = s->trace,
                                        .g_ham = gradients ? g_ham : NULL,
                                        .g_trace = gradients ? g_trace : NULL},
                        &expected, &err));
    OK(call->outputs->make(device->gpu, s->dim, s->trace ? N_PAIR : 0, &x, &err));
    for (uint64_t i = 0; i < 3; i++) {
        emu_seed(7 * i);
        found[i] = noise(n, 1, "y");
        found_trace[i] = noise(m, 1, "y");
        OK(nh_loss_begin(
            s->d, device,
            &(nh_loss_task){
                .n_state = s->n_state, .state = s->state, .outputs = x, .with_gradients = gradients},
            &ready, &err));
        assert_true(ready);
        OK(call->outputs->upload(x, s->ham, s->trace, &err));
        OK(nh_loss_evaluate(s->d,
                            &(nh_loss_task){.options = o,
                                            .n_state = s->n_state,
                                            .state = s->state,
                                            .outputs = x,
                                            .with_trace = s->trace != NULL,
                                            .with_gradients = gradients},
                            &t[i], &err));
        if (gradients) OK(call->outputs->download(x, true, found[i], found_trace[i], &err));
        assert_memory_equal(&t[0], &t[i], sizeof t[0]);
        assert_memory_equal(found[0], found[i], n * sizeof(double));
        if (m > 0) assert_memory_equal(found_trace[0], found_trace[i], m * sizeof(double));
    }
    emu_seed(0);
    const double a[] = {t[0].total, t[0].loss_h, t[0].loss_trace, t[0].r, t[0].p, t[0].q, t[0].pq, t[0].mu},
                 b[] = {expected.total, expected.loss_h, expected.loss_trace, expected.r,
                        expected.p,     expected.q,      expected.pq,         expected.mu};
    for (size_t i = 0; i < sizeof a / sizeof *a; i++)
        compare(what, 1, &a[i], &b[i]);
    assert_true(expected.loss_h > 0 && (s->n_state == 0) == (expected.pq == 0));
    if (gradients) compare(what, n, found[0], g_ham);
    if (gradients && m > 0) compare(what, m, found_trace[0], g_trace);
    call->outputs->drop(x);
    for (size_t i = 0; i < 3; i++) {
        free(found[i]);
        free(found_trace[i]);
    }
    free(g_ham);
    free(g_trace);
}

/* All kinds of loss; weights with which every term counts. */
static void check_kinds(const char *what, setting s)
{
    const double *trace = s.trace;
    for (int kind = 0; kind < 3; kind++)
        for (size_t n = 0; n <= s.n_state; n++) {
            nh_loss_options o = {
                kind == 2 ? NH_LOSS_PAPER : NH_LOSS_REFERENCE, kind == 1, 0.2, 0.5, 0.2, 0.13, 0.17};
            setting one = s;
            one.n_state = n;
            check(what, &one, &o, true);
            if (n != 1) continue;
            check(what, &one, &o, false);
            o.lambda_c = 0;
            one.trace = NULL;
            check(what, &one, &o, true);
            one.trace = trace;
        }
}

static void golden(void **state)
{
    (void)state;
    const int nc = golden_open("network_small.nc");
    golden_crystal x = golden_crystal_load(nc, 4, SHELLS);
    nh_embedding *e;
    OK(nh_embedding_new(4, SHELLS, &e, &err));
    nh_kstates two[2] = {x.states, x.states};
    two[1].k[0] = -0.31;
    two[1].n_p = 9;
    for (int average = 0; average < 2; average++)
        for (int padding = 0; padding < 2; padding++) {
            nh_config c;
            nh_selection part;
            setting s = {.n_state = 2, .state = two};
            OK(nh_config_parse(average ? "basis: 2s1p1d\nreconstruct: spin-average\nranges: [[0, 3]]\n"
                                       : "basis: 2s1p1d\n",
                               "config", &c, &err));
            OK(nh_selection_new(e, average ? NH_PART_SCALAR : NH_PART_REAL, NULL, &part, &err));
            OK(nh_loss_data_new(&c, x.g, e, &part, padding, &s.d, &err));
            s.dim = part.irreps.dim;
            double *ham = noise(x.n_edge * s.dim, 0.1, "ham"),
                   *trace = noise(x.n_edge * N_PAIR, 0.3, "trace");
            s.ham = ham;
            s.trace = trace;
            check_kinds(average ? "golden crystal, spin-average" : "golden crystal", s);
            nh_loss_data_free(s.d);
            nh_selection_free(&part);
            nh_config_free(&c);
            free(ham);
            free(trace);
        }
    nh_embedding_free(e);
    golden_crystal_free(&x);
    nc_close(nc);
}

/* The official program's loss. */
static void golden_numbers(void **state)
{
    (void)state;
    enum { DIM = 400 };
    const int nc = golden_open("network_small.nc");
    golden_crystal x = golden_crystal_load(nc, 4, SHELLS);
    nh_config c;
    nh_embedding *e;
    nh_selection part;
    nh_loss_data *d;
    nhk_outputs *out;
    bool ready;
    OK(nh_config_parse("basis: 2s1p1d\n", "config", &c, &err));
    OK(nh_embedding_new(4, SHELLS, &e, &err));
    OK(nh_selection_new(e, NH_PART_REAL, NULL, &part, &err));
    OK(nh_loss_data_new(&c, x.g, e, &part, true, &d, &err));
    double *ham = noise(x.n_edge * DIM, 0, "ham"), *trace = noise(x.n_edge * N_PAIR, 0, "trace");
    for (int k = 0; k < 4; k++) {
        char name[32];
        snprintf(name, sizeof name, "edge_ham_%d", k);
        double *h = golden_read(nc, name);
        snprintf(name, sizeof name, "edge_trace_%d", k);
        double *t = golden_read(nc, name);
        for (size_t i = 0; i < x.n_edge * DIM; i++)
            ham[i] += h[i / DIM * 2 * DIM + i % DIM];
        for (size_t i = 0; i < x.n_edge * N_PAIR; i++)
            trace[i] += t[i];
        free(h);
        free(t);
    }
    double *rows = golden_rows(&x, ham, DIM), *trace_rows = golden_rows(&x, trace, N_PAIR);
    OK(device->call->outputs->make(device->gpu, DIM, N_PAIR, &out, &err));
    OK(nh_loss_begin(d, device, &(nh_loss_task){.n_state = 1, .state = &x.states, .outputs = out}, &ready,
                     &err));
    assert_true(ready);
    OK(device->call->outputs->upload(out, rows, trace_rows, &err));
    for (int squared = 0; squared < 2; squared++) {
        const nh_loss_options o = {NH_LOSS_REFERENCE, squared, 0.2, 0.99955, 0.0002, 0.0001, 0.00015};
        nh_loss_terms t;
        OK(nh_loss_evaluate(
            d,
            &(nh_loss_task){
                .options = &o, .n_state = 1, .state = &x.states, .outputs = out, .with_trace = true},
            &t, &err));
        double *official = golden_read(nc, squared ? "terms_mse" : "terms_l1"), *mu = golden_read(nc, "mu"),
               *loss_trace = golden_read(nc, "loss_trace");
        const double found[5] = {t.r, t.p, t.q, t.pq, t.loss_h};
        for (size_t i = 0; i < 5; i++)
            assert_close(1, &found[i], &official[i], 1e-10, squared ? "terms_mse" : "terms_l1");
        assert_close(1, &t.mu, mu, 1e-10, "mu");
        assert_close(1, &t.loss_trace, loss_trace, 1e-10, "loss_trace");
        free(official);
        free(mu);
        free(loss_trace);
    }
    device->call->outputs->drop(out);
    nh_loss_data_free(d);
    nh_selection_free(&part);
    nh_embedding_free(e);
    nh_config_free(&c);
    golden_crystal_free(&x);
    free(ham);
    free(trace);
    free(rows);
    free(trace_rows);
    nc_close(nc);
}

/* Made crystals with one and four spin blocks, a cutoff of the network below that of the file, and another Rydberg factor. */
static void made(void **state)
{
    (void)state;
    for (int n_spin = 1; n_spin <= 4; n_spin += 3) {
        nh_graph *g = made_crystal(n_spin, 6);
        const size_t numbers = 2 * (size_t)n_spin * g->pairs.n_elem,
                     basis = (n_spin == 4 ? 2 : 1) * nh_structure_orbitals(&g->structure), band = basis - 1;
        g->matrix[NH_H0] = noise(numbers, 1, "h0");
        g->matrix[NH_H_LABEL] = noise(numbers, 1, "label");
        g->overlap = noise(g->pairs.n_elem, 0.5, "overlap");
        g->rydberg = 13.6;
        double *vector = noise(2 * band * basis, 0.4, "states");
        const nh_kstates states[2] = {{{0.1, 0.2, -0.3}, band, basis, 5, vector},
                                      {{0.4, 0, 0.25}, band, basis, 0, vector}};
        nh_config c;
        nh_embedding *e;
        nh_selection part;
        OK(nh_config_parse("basis: 2s1p1d\ncutoff: 5\nranges: [[0, 2], [2, 4.5]]\n", "config", &c, &err));
        OK(nh_embedding_new(4, SHELLS, &e, &err));
        OK(nh_selection_new(e, NH_PART_REAL, NULL, &part, &err));
        for (int padding = 0; padding < 2; padding++) {
            setting s = {.n_state = 1, .state = states, .dim = part.irreps.dim};
            OK(nh_loss_data_new(&c, g, e, &part, padding, &s.d, &err));
            assert_true(nh_loss_edges(s.d) < g->pairs.count);
            double *ham = noise(nh_loss_edges(s.d) * s.dim, 0.1, "ham"),
                   *trace = noise(nh_loss_edges(s.d) * N_PAIR, 0.3, "trace");
            s.ham = ham;
            s.trace = trace;
            check_kinds(n_spin == 1 ? "made crystal without spin" : "made crystal", s);
            nh_loss_terms t;
            bool ready;
            nhk_outputs *x; /* no P: its terms are 0 */
            const nh_loss_options o = {NH_LOSS_REFERENCE, true, 0, 0.5, 0.2, 0.13, 0.17};
            OK(device->call->outputs->make(device->gpu, s.dim, 0, &x, &err));
            OK(nh_loss_begin(
                s.d, device,
                &(nh_loss_task){.n_state = 1, .state = &states[1], .outputs = x, .with_gradients = true},
                &ready, &err));
            assert_true(ready);
            OK(nh_loss_evaluate(
                s.d,
                &(nh_loss_task){
                    .options = &o, .n_state = 1, .state = &states[1], .outputs = x, .with_gradients = true},
                &t, &err));
            assert_true(t.p == 0 && t.pq == 0 && t.q > 0);
            const nh_kstates wrong = {.n_basis = basis + 1, .n_band = 1, .vector = vector};
            assert_int_equal(
                nh_loss_begin(
                    s.d, device,
                    &(nh_loss_task){.n_state = 1, .state = &wrong, .outputs = x, .with_gradients = true},
                    &ready, &err),
                -1);
            assert_non_null(strstr(err.text, "the crystal has"));
            device->call->outputs->drop(x);
            nh_loss_data_free(s.d);
            free(ham);
            free(trace);
        }
        nh_selection_free(&part);
        nh_embedding_free(e);
        nh_config_free(&c);
        nh_graph_free(g);
        free(vector);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(golden_numbers), cmocka_unit_test(golden),
                                       cmocka_unit_test(made)};
    return cmocka_run_group_tests(tests, open_device, close_device);
}
