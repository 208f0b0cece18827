/* The loss between the outputs of the sub-models and one number (network.md 6, 8, 13): the official program's
 * numbers, and every gradient against differences of the loss. */
#include "golden_crystal.h"

#include "base/random.h"
#include "training/loss.h"

static const int SHELLS[4] = {0, 0, 1, 2};
static const char REDUCED[] = "basis: 2s1p1d\nmid: 8x0e+4x1o+4x1e+2x2e+2x2o+2x3e+2x3o+2x4e\n";
enum { N_PAIR = 16, DIM = 400 };

static nh_error err;
#define OK(call)                                                                                             \
    do {                                                                                                     \
        if ((call) != 0) fail_msg("%s", err.text);                                                           \
    } while (0)

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
        OK(nh_loss_evaluate(f->d, &f->o, 1, &f->x.states, f->ham, f->trace, NULL, &t, NULL, NULL, &err));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(golden_losses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(golden_trace_label, set_up, tear_down),
        cmocka_unit_test_setup_teardown(golden_gauge_mae, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
