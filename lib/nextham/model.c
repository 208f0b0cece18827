#include "nextham/model.h"

#include "base/memory.h"
#include "base/random.h"

#include <stdlib.h>
#include <string.h>

int nh_model_new(nh_config *config, bool as_double, nh_model **out, nh_error *err)
{
    nh_model *m = nh_calloc(1, sizeof *m);
    *out = NULL;
    if (!m) {
        nh_config_free(config);
        return nh_fail_memory(err, "model");
    }
    m->config = *config;
    *config = (nh_config){0};
    if (nh_params_new(&m->config, &m->params, err)) goto fail;
    m->weights = nh_calloc(m->config.n_range, sizeof *m->weights);
    if (!m->weights) {
        nh_fail_memory(err, "weights");
        goto fail;
    }
    for (; m->n_range < m->config.n_range; m->n_range++)
        if (nh_weights_new(&m->params, as_double, &m->weights[m->n_range], err)) goto fail;
    *out = m;
    return 0;
fail:
    nh_model_free(m);
    return -1;
}

void nh_model_free(nh_model *m)
{
    if (!m) return;
    for (size_t r = 0; r < m->n_range; r++)
        nh_weights_free(&m->weights[r]);
    free(m->weights);
    nh_params_free(&m->params);
    nh_config_free(&m->config);
    free(m);
}

/* FNV-1a by words of eight bytes; the bytes that remain as one word more. */
static uint64_t mix(uint64_t h, size_t n, const void *bytes)
{
    const unsigned char *at = bytes;
    uint64_t word;
    for (; n >= sizeof word; n -= sizeof word, at += sizeof word) {
        memcpy(&word, at, sizeof word);
        h = (h ^ word) * UINT64_C(1099511628211);
        h ^= h >> 32; /* else a bit would only ever move up */
    }
    word = 0;
    memcpy(&word, at, n);
    return (h ^ word) * UINT64_C(1099511628211);
}

int nh_model_hash(const nh_model *m, uint64_t *out, nh_error *err)
{
    char *text = nh_config_text(&m->config);
    if (!text) return nh_fail_memory(err, "the config text");
    uint64_t h = nh_hash(text);
    free(text);
    for (size_t r = 0; r < m->n_range; r++)
        for (size_t i = 0; i < m->params.count; i++) {
            const nh_weights *w = &m->weights[r];
            const size_t count = m->params.param[i].count;
            if (w->real && w->real[i]) h = mix(h, count * sizeof(double), w->real[i]);
            if (w->single && w->single[i]) h = mix(h, count * sizeof(float), w->single[i]);
        }
    *out = h;
    return 0;
}
