#include "training/state.h"

#include "base/memory.h"
#include "training/adam.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void nh_train_state_free(nh_train_state *s)
{
    if (!s) return;
    for (size_t r = 0; s->model && r < s->model->n_range; r++) {
        if (s->m) nh_weights_free(&s->m[r]);
        if (s->v) nh_weights_free(&s->v[r]);
        if (s->average) nh_weights_free(&s->average[r]);
    }
    free(s->m);
    free(s->v);
    free(s->average);
    free(s->trained);
    nh_model_free(s->model);
    *s = (nh_train_state){0};
}

/* A sub-model that answers zero everywhere. */
static void silence(const nh_params *p, nh_weights *w)
{
    for (size_t i = 0; i < p->count; i++) {
        if (strncmp(p->param[i].name, "edge_lin.", 9)) continue;
        if (w->as_double && w->as_double[i]) memset(w->as_double[i], 0, p->param[i].count * sizeof(double));
        if (w->as_float && w->as_float[i]) memset(w->as_float[i], 0, p->param[i].count * sizeof(float));
    }
}

int nh_train_state_new(const nh_settings *s, nh_model *model, bool fresh, nh_train_state *out, nh_error *err)
{
    const size_t n = model->n_range;
    *out = (nh_train_state){.model = model, .fresh = fresh, .best = INFINITY};
    out->trained = NH_ARRAY(bool, n);
    out->m = NH_ARRAY(nh_weights, n);
    out->v = NH_ARRAY(nh_weights, n);
    if (s->optimizer.ema > 0) out->average = NH_ARRAY(nh_weights, n);
    int status = out->trained && out->m && out->v && (out->average || !(s->optimizer.ema > 0))
                     ? 0
                     : nh_fail_memory(err, "state of the training");
    for (size_t i = 0; !status && i < (s->n_ensemble ? s->n_ensemble : n); i++) {
        const size_t r = s->n_ensemble ? s->ensemble[i] : i;
        if (r >= n)
            status = nh_fail(err, "ensemble: sub-model %zu asked for, the network has %zu", r, n);
        else
            out->trained[r] = true;
    }
    for (size_t r = 0; !status && r < n; r++) {
        if (fresh && (s->zero_output || !out->trained[r])) silence(&model->params, &model->weights[r]);
        if (!out->trained[r]) continue;
        status = nh_weights_zero_like(&model->params, &model->weights[r], &out->m[r], err) ||
                         nh_weights_zero_like(&model->params, &model->weights[r], &out->v[r], err) ||
                         (out->average &&
                          nh_weights_zero_like(&model->params, &model->weights[r], &out->average[r], err))
                     ? -1
                     : 0;
        if (!status && out->average) nh_weights_copy(&model->params, &out->average[r], &model->weights[r]);
    }
    nh_random_seed(&out->random, s->seed, "k-points");
    if (status) nh_train_state_free(out);
    return status;
}

void nh_epoch_order(uint64_t seed, uint64_t epoch, size_t n, size_t *order)
{
    char stream[64];
    nh_random random;
    snprintf(stream, sizeof stream, "order of epoch %llu", (unsigned long long)epoch);
    nh_random_seed(&random, seed, stream);
    for (size_t i = 0; i < n; i++)
        order[i] = i;
    for (size_t i = n; i > 1; i--) {
        const size_t k = (size_t)(nh_random_uniform(&random) * (double)i), last = order[i - 1];
        order[i - 1] = order[k];
        order[k] = last;
    }
}
