#include "training/submodel.h"

#include "base/memory.h"
#include "base/real.h"
#include "training/adam.h"

#include <stdlib.h>

#define NH_NET(name) NH_PASTE(R(nh_network), name)
#define CALLS(s) ((s)->device->call->R(training))

struct nh_submodel {
    R(nh_network) *net;
    NH_NET(_tape) *tape;
    size_t n_input, n_output, n_pair; /* widths of the rows */
    bool with_trace;
    /* of training; params NULL: not trained */
    nh_submodel_numbers numbers;
    nh_weights gradient; /* with a device: room for copies of the device's */
    const nh_device *device;
    R(nhk_network) *placed; /* NULL: on the CPU */
    /* of the run in progress */
    const nh_sample *crystal;
    double *ham, *trace;
    const double *g_ham, *g_trace;
};

static void features(void *context, size_t first, size_t n, real *out)
{
    const nh_submodel *s = context;
    R(nh_feature_rows_take)(&s->crystal->rows, s->n_input, first, n, out);
}

static void receive(void *context, size_t n, const size_t *edge, const real *ham, const real *trace)
{
    const nh_submodel *s = context;
    for (size_t k = 0; k < n; k++) {
        double *row = s->ham + edge[k] * s->n_output;
        for (size_t i = 0; i < s->n_output; i++)
            row[i] = (double)ham[k * s->n_output + i];
        if (!trace || !s->trace) continue;
        row = s->trace + edge[k] * s->n_pair;
        for (size_t i = 0; i < s->n_pair; i++)
            row[i] = (double)trace[k * s->n_pair + i];
    }
}

static void seed(void *context, size_t n, const size_t *edge, real *g_ham, real *g_trace)
{
    const nh_submodel *s = context;
    for (size_t k = 0; k < n; k++) {
        const double *row = s->g_ham + edge[k] * s->n_output;
        for (size_t i = 0; i < s->n_output; i++)
            g_ham[k * s->n_output + i] = (real)row[i];
        if (!g_trace) continue;
        row = s->g_trace ? s->g_trace + edge[k] * s->n_pair : NULL;
        for (size_t i = 0; i < s->n_pair; i++)
            g_trace[k * s->n_pair + i] = row ? (real)row[i] : 0;
    }
}

static void drop(nh_submodel *s)
{
    if (!s) return;
    NH_NET(_free)(s->net);
    NH_NET(_tape_free)(s->tape);
    nh_weights_free(&s->gradient);
    free(s);
}

static int make(const nh_model *m, const nh_types *types, size_t range, const nh_irreps *input,
                const size_t *input_entry, const nh_selection *output, bool with_trace, nh_tape_memory memory,
                nh_method method, nh_submodel **out, nh_error *err)
{
    nh_submodel *s = NH_ARRAY(nh_submodel, 1);
    *out = NULL;
    if (!s) return nh_fail_memory(err, "sub-model");
    s->n_input = input->dim;
    s->n_output = output->irreps.dim;
    s->n_pair = types->n_shell_pair;
    s->with_trace = with_trace;
    if (NH_NET(_new)(&m->config, types, &m->params, &m->weights[range], range, input, input_entry,
                     &output->irreps, output->entry, with_trace, method, NULL, &s->net, err) ||
        NH_NET(_tape_new)(memory, &s->tape, err)) {
        drop(s);
        return -1;
    }
    *out = s;
    return 0;
}

static int train(nh_submodel *s, const nh_submodel_numbers *numbers, nh_error *err)
{
    if (NH_NET(_gradients_new)(s->net, &s->gradient, err)) return -1;
    s->numbers = *numbers;
    return 0;
}

/* The arrays that are on the device, with their numbers on the host (NULL: there is none). The gradient is not among them. */
enum { N_SHARED = 4 };
static const nh_weights *shared(const nh_submodel *s, size_t i, nhk_array *which)
{
    const nhk_array name[N_SHARED] = {NHK_WEIGHTS, NHK_FIRST_MOMENT, NHK_SECOND_MOMENT, NHK_AVERAGE};
    const nh_weights *const numbers[N_SHARED] = {s->numbers.weights, s->numbers.m, s->numbers.v,
                                                 s->numbers.average};
    *which = name[i];
    return numbers[i];
}

static int place(nh_submodel *s, const nh_device *device, nh_error *err)
{
    if (NH_NET(_place)(s->net, device, err)) return -1;
    s->device = device;
    s->placed = NH_NET(_placed)(s->net);
    for (size_t i = 0; s->placed && s->numbers.params && i < N_SHARED; i++) {
        nhk_array which;
        const nh_weights *w = shared(s, i, &which);
        if (w && CALLS(s)->write(s->placed, which, w->NH_NATIVE, err)) return -1;
    }
    return 0;
}

#ifdef NH_REAL_DOUBLE
#define ENDS ends_d
#else
#define ENDS ends_f
#endif

static void connect(nh_submodel *s, const nh_device *device, nhk_outputs *outputs)
{
    NH_NET(_ends) ends = {0};
    if (outputs) device->call->outputs->ENDS(outputs, &ends);
    NH_NET(_connect)(s->net, &ends);
}

static int forward(nh_submodel *s, const nh_sample *c, bool keep, double *ham, double *trace,
                   nh_threads *threads, nh_error *err)
{
    s->crystal = c;
    s->ham = ham;
    s->trace = trace;
    if (!keep)
        return NH_NET(_forward)(s->net, &c->list.edges, features, s, receive, s, false, NULL, threads, NULL,
                                err);
    return NH_NET(_forward_keep)(s->net, &c->list.edges, features, s, receive, s, s->tape, threads, NULL,
                                 err);
}

static int backward(nh_submodel *s, const double *g_ham, const double *g_trace, nh_threads *threads,
                    nh_error *err)
{
    s->g_ham = g_ham;
    s->g_trace = g_trace;
    return NH_NET(_backward)(s->net, s->tape, seed, s, s->placed ? NULL : &s->gradient, threads, NULL, err);
}

static int clear(nh_submodel *s, nh_threads *threads, nh_error *err)
{
    if (s->placed) return CALLS(s)->clear(s->placed, err);
    nh_weights_clear(s->numbers.params, &s->gradient, threads);
    return 0;
}

static const nh_weights *gradient(nh_submodel *s, nh_error *err)
{
    if (s->placed && CALLS(s)->read(s->placed, NHK_GRADIENT, s->gradient.NH_NATIVE, err)) return NULL;
    return &s->gradient;
}

static int sum(nh_submodel *s, const nh_ranks *ranks, nh_error *err)
{
    if (ranks->count == 1) return 0;
    if (!gradient(s, err) || nh_ranks_sum_weights(ranks, s->numbers.params, &s->gradient, err)) return -1;
    return s->placed ? CALLS(s)->write(s->placed, NHK_GRADIENT, s->gradient.NH_NATIVE, err) : 0;
}

static int norm(nh_submodel *s, double *out, nh_error *err)
{
    if (s->placed) return CALLS(s)->norm(s->placed, out, err);
    *out = nh_weights_norm(s->numbers.params, &s->gradient);
    return 0;
}

static int step(nh_submodel *s, const nh_optimizer_settings *o, double lr, uint64_t number, double factor,
                nh_threads *threads, nh_error *err)
{
    const nh_submodel_numbers *n = &s->numbers;
    if (s->placed) {
        const nhk_adam adam = nh_adam_numbers(o, lr, number, factor);
        return CALLS(s)->step(s->placed, &adam, o->ema, err);
    }
    nh_adam_step(o, n->params, lr, number, factor, &s->gradient, n->m, n->v, n->weights, threads);
    if (n->average) nh_weights_average(n->params, o->ema, n->weights, n->average, threads);
    return NH_NET(_update)(s->net, n->weights, threads, err);
}

static int load(nh_submodel *s, bool average, nh_threads *threads, nh_error *err)
{
    average = average && s->numbers.average;
    if (s->placed) return CALLS(s)->load(s->placed, average ? NHK_AVERAGE : NHK_WEIGHTS, err);
    return NH_NET(_update)(s->net, average ? s->numbers.average : s->numbers.weights, threads, err);
}

static int fetch(nh_submodel *s, nh_error *err)
{
    for (size_t i = 0; s->placed && i < N_SHARED; i++) {
        nhk_array which;
        const nh_weights *w = shared(s, i, &which);
        if (w && CALLS(s)->read(s->placed, which, w->NH_NATIVE, err)) return -1;
    }
    return 0;
}

const nh_submodel_kind *R(nh_submodel_kind)(void)
{
    static const nh_submodel_kind kind = {.make = make,
                                          .drop = drop,
                                          .train = train,
                                          .place = place,
                                          .connect = connect,
                                          .forward = forward,
                                          .backward = backward,
                                          .clear = clear,
                                          .sum = sum,
                                          .norm = norm,
                                          .step = step,
                                          .load = load,
                                          .fetch = fetch,
                                          .gradient = gradient};
    return &kind;
}
