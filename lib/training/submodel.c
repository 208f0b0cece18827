#include "training/submodel.h"

#include "base/memory.h"
#include "base/real.h"

#include <stdlib.h>

#define NH_NET(name) NH_PASTE(R(nh_network), name)

struct nh_submodel {
    R(nh_network) * net;
    NH_NET(_tape) * tape;
    size_t n_input, n_output, n_pair; /* widths of the rows */
    bool with_trace;
    /* of the run in progress */
    const nh_crystal *crystal;
    double *ham, *trace;
    const double *g_ham, *g_trace;
};

static void features(void *context, size_t first, size_t n, real *out)
{
    const nh_submodel *s = context;
    R(nh_crystal_features)(s->crystal, s->n_input, first, n, out);
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
    free(s);
}

static int make(const nh_model *m, const nh_types *types, size_t range, const nh_irreps *input,
                const size_t *input_entry, const nh_selection *output, bool with_trace, nh_tape_memory memory,
                nh_kernels kernels, nh_submodel **out, nh_error *err)
{
    nh_submodel *s = NH_ARRAY(nh_submodel, 1);
    *out = NULL;
    if (!s) return nh_fail_memory(err, "sub-model");
    s->n_input = input->dim;
    s->n_output = output->irreps.dim;
    s->n_pair = types->n_shell_pair;
    s->with_trace = with_trace;
    if (NH_NET(_new)(&m->config, types, &m->params, &m->weights[range], range, input, input_entry,
                     &output->irreps, output->entry, with_trace, kernels, NULL, &s->net, err) ||
        NH_NET(_tape_new)(memory, &s->tape, err)) {
        drop(s);
        return -1;
    }
    *out = s;
    return 0;
}

static int place(nh_submodel *s, const nh_device *device, nh_error *err)
{
    return NH_NET(_place)(s->net, device, err);
}

#ifdef NH_REAL_DOUBLE
#define ENDS outputs_ends_d
#else
#define ENDS outputs_ends_f
#endif

static void connect(nh_submodel *s, const nh_device *device, nhk_outputs *outputs)
{
    NH_NET(_ends) ends = {0};
    if (outputs) device->call->ENDS(outputs, &ends);
    NH_NET(_connect)(s->net, &ends);
}

static int update(nh_submodel *s, const nh_weights *w, nh_threads *threads, nh_error *err)
{
    return NH_NET(_update)(s->net, w, threads, err);
}

static int gradients(const nh_submodel *s, nh_weights *out, nh_error *err)
{
    return NH_NET(_gradients_new)(s->net, out, err);
}

static int forward(nh_submodel *s, const nh_crystal *c, bool keep, double *ham, double *trace,
                   nh_threads *threads, nh_error *err)
{
    s->crystal = c;
    s->ham = ham;
    s->trace = trace;
    if (!keep)
        return NH_NET(_forward)(s->net, &c->edges, features, s, receive, s, false, NULL, threads, NULL, err);
    return NH_NET(_forward_keep)(s->net, &c->edges, features, s, receive, s, s->tape, threads, NULL, err);
}

static int backward(nh_submodel *s, const double *g_ham, const double *g_trace, nh_weights *gradient,
                    nh_threads *threads, nh_error *err)
{
    s->g_ham = g_ham;
    s->g_trace = g_trace;
    return NH_NET(_backward)(s->net, s->tape, seed, s, gradient, threads, NULL, err);
}

const nh_submodel_kind *R(nh_submodel_kind)(void)
{
    static const nh_submodel_kind kind = {make, drop, place, connect, update, gradients, forward, backward};
    return &kind;
}
