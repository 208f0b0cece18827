#include "nextham/model.h"

#include "base/memory.h"
#include "base/random.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

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
    free(m->orbital_hash);
    free(m->pseudo_hash);
    nh_params_free(&m->params);
    nh_config_free(&m->config);
    if (m->map) munmap(m->map, m->map_size);
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

typedef struct hashing {
    const nh_model *m;
    uint64_t *of; /* [n_range][params]: 0 where there is no weight */
} hashing;

static void hash_one(void *context, size_t index, int thread)
{
    (void)thread;
    const hashing *h = context;
    const nh_weights *w = &h->m->weights[index / h->m->params.count];
    const size_t i = index % h->m->params.count, count = h->m->params.param[i].count;
    const uint64_t begin = UINT64_C(14695981039346656037);
    if (w->as_double && w->as_double[i]) h->of[index] = mix(begin, count * sizeof(double), w->as_double[i]);
    if (w->as_float && w->as_float[i]) h->of[index] = mix(begin, count * sizeof(float), w->as_float[i]);
}

int nh_model_hash(const nh_model *m, nh_threads *threads, uint64_t *out, nh_error *err)
{
    const size_t n = m->n_range * m->params.count;
    char *text = nh_config_text(&m->config);
    const hashing h = {.m = m, .of = NH_ARRAY(uint64_t, n)};
    int status = text && h.of ? 0 : nh_fail_memory(err, "the hash of a model");
    if (!status) {
        nh_parallel_for(threads, n, hash_one, (void *)&h);
        *out = mix(nh_hash(text), n * sizeof *h.of, h.of);
    }
    free(text);
    free(h.of);
    return status;
}
