/* A step of training with outputs and loss on the device, and with too little memory for them there, against the CPU's. */
#include "golden_crystal.h"
#include "one_device.h"

#include "training/adam.h"
#include "training/step.h"

#include <unistd.h>

static const int SHELLS[4] = {0, 0, 1, 2};
static const char SETTINGS[] = "network: {basis: 2s1p1d, sh_lmax: 3, mid: 4x0e+2x1o+2x1e+2x2e, heads: 2, "
                               "blocks: 2, trace_head: [8], edge_scalars: 4,\n"
                               "  tracegrad: {hidden: 8, hidden_last: 8, z: 8}, radial: {basis: 16, max: "
                               "8.0, hidden: [16, 16]}, ranges: [[0, 3], [3, 6]]}\n"
                               "run_dir: none\n";

typedef struct training {
    nh_settings settings;
    nh_train_state state;
    nh_stepper *stepper;
    golden_crystal golden;
    nh_sample *crystal;
    nh_loss_terms terms, evaluated;
    nh_sample_metrics metrics;
} training;

/* The gradients of one crystal, and its errors; `on`: NULL for the CPU. `room`: the crystal finds some there. */
static void train(training *t, bool as_double, bool squared, const nh_device *on, bool room)
{
    char path[] = "/tmp/nh-test-XXXXXX";
    nh_config config;
    nh_model *m;
    const int file = mkstemp(path), nc = golden_open("network_small.nc");
    assert_true(file >= 0 && write(file, SETTINGS, sizeof SETTINGS - 1) == (ssize_t)(sizeof SETTINGS - 1));
    close(file);
    OK(nh_settings_read(path, 0, NULL, &t->settings, NULL, &err));
    unlink(path);
    t->settings.as_double = as_double;
    char *text = nh_config_text(&t->settings.network);
    OK(nh_config_parse(text, "config", &config, &err));
    free(text);
    OK(nh_model_new(&config, as_double, &m, &err));
    for (size_t r = 0; r < m->n_range; r++) {
        char prefix[48];
        snprintf(prefix, sizeof prefix, "range%zu:", r);
        OK(nh_weights_rule(&m->params, prefix, &m->weights[r], &err));
    }
    OK(nh_train_state_new(&t->settings, m, false, &t->state, &err));
    OK(nh_stepper_new(&t->settings, &t->state, NH_ALONE, 1, &t->stepper, &err));
    OK(nh_stepper_place(t->stepper, on, &err));
    nh_sample_kind kind = *nh_stepper_kind(t->stepper);
    kind.with_k = false; /* the states are the golden ones */
    t->golden = golden_crystal_load(nc, 4, SHELLS);
    nc_close(nc);
    OK(nh_sample_new(&kind, "golden", t->golden.g, &t->crystal, &err));
    t->golden.g = NULL;
#ifndef NH_REAL_DEVICE
    if (!room) { /* it asks once */
        bool ready;
        emu_memory(400000);
        OK(nh_loss_begin(t->crystal->loss, on, &(nh_loss_task){.with_gradients = true}, &ready, &err));
        emu_memory((size_t)8 << 30);
        assert_false(ready);
    }
#else
    (void)room;
#endif
    OK(nh_stepper_evaluate(t->stepper, t->crystal, false, 0, &t->metrics, &t->evaluated,
                           &err)); /* outputs that the next run must not see */
    OK(nh_stepper_add_at(t->stepper, t->crystal, squared, 1, &t->golden.states, &t->terms, &err));
}

static void end(training *t)
{
    nh_sample_free(t->crystal);
    golden_crystal_free(&t->golden);
    nh_stepper_free(t->stepper);
    nh_train_state_free(&t->state);
    nh_settings_free(&t->settings);
}

static void expect(double found, double expected, double tolerance, const char *what)
{
    if (!(fabs(found - expected) <= tolerance * fabs(expected)))
        fail_msg("%s: %.15g, on the CPU %.15g", what, found, expected);
}

static void compare(const training *a, const training *b, double tolerance)
{
    const nh_params *p = &a->state.model->params;
    expect(a->terms.total, b->terms.total, tolerance, "loss");
    expect(a->terms.loss_trace, b->terms.loss_trace, tolerance, "trace loss");
    expect(a->terms.pq, b->terms.pq, tolerance, "t_PQ");
    expect(a->evaluated.loss_h, b->evaluated.loss_h, tolerance, "loss of a metrics");
    expect(a->metrics.region[NH_GAUGE_OVERALL].part[NH_GAUGE_COMPLEX].mae,
           b->metrics.region[NH_GAUGE_OVERALL].part[NH_GAUGE_COMPLEX].mae, tolerance, "Gauge MAE");
    for (size_t r = 0; r < a->state.model->n_range; r++) {
        const nh_weights *x = nh_stepper_gradient(a->stepper, r), *y = nh_stepper_gradient(b->stepper, r);
        const double norm = nh_weights_norm(p, y);
        double difference = 0;
        assert_true(norm > 0);
        for (size_t i = 0; i < p->count; i++)
            for (size_t k = 0; k < p->param[i].count; k++) {
                const double u = x->as_double && x->as_double[i] ? x->as_double[i][k]
                                 : x->as_float && x->as_float[i] ? (double)x->as_float[i][k]
                                                                 : 0,
                             v = y->as_double && y->as_double[i] ? y->as_double[i][k]
                                 : y->as_float && y->as_float[i] ? (double)y->as_float[i][k]
                                                                 : 0;
                difference += (u - v) * (u - v);
            }
        if (!(sqrt(difference) <= tolerance * norm))
            fail_msg("gradient of range%zu: %g of %g", r, sqrt(difference), norm);
    }
}

static void steps(void **state)
{
    (void)state;
    for (int as_double = 0; as_double < 2; as_double++) {
        training here = {0}, there = {0};
        train(&here, as_double, as_double, NULL, true);
        train(&there, as_double, as_double, device, true);
        assert_false(nh_stepper_on_device(here.stepper));
        assert_true(nh_stepper_on_device(there.stepper));
        compare(&there, &here, as_double ? 1e-9 : 2e-3);
        end(&here);
        end(&there);
    }
}

#ifndef NH_REAL_DEVICE
/* A quarter of the memory is too little for the crystal: its sub-models run there, its loss here. */
static void little_memory(void **state)
{
    (void)state;
    training here = {0}, there = {0};
    train(&here, true, false, NULL, true);
    train(&there, true, false, device, false);
    assert_false(nh_stepper_on_device(there.stepper));
    compare(&there, &here, 1e-9);
    end(&here);
    end(&there);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps),
#ifndef NH_REAL_DEVICE
        cmocka_unit_test(little_memory),
#endif
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
