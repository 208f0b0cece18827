#include "base/real.h"
#include "ensemble/predict_internal.h"

#include "base/memory.h"
#include "ensemble/correction.h"

#include <stdlib.h>
#include <string.h>

/* The callbacks of the network (network.h). */
#define NH_NET(name) NH_PASTE(R(nh_network), name)

static void source(void *context, size_t first, size_t n, real *out)
{
    nh_predict_job *j = context;
    const size_t dim = j->input->dim;
    const double begin = nh_seconds();
    double *vector = NULL;
    if (j->row) {
        R(nh_feature_rows_take)(&j->rows, dim, first, n, out);
    } else if ((vector = NH_ARRAY(double, dim))) {
        for (size_t e = first; e < first + n; e++, out += dim) {
            nh_edge_feature(&j->features, e, vector);
            for (size_t i = 0; i < dim; i++)
                out[i] = (real)vector[i];
        }
        free(vector);
    } else {
        atomic_store(&j->no_memory, true);
        memset(out, 0, n * dim * sizeof *out);
    }
    atomic_fetch_add(&j->embed_ns, (uint_fast64_t)(1e9 * (nh_seconds() - begin)));
}

/* Every edge has a block of its own, and its length is in one sub-model's range at the most, so that sub-models may do
 * this side by side. */
static void sink(void *context, size_t n, const size_t *edge, const real *ham, const real *trace)
{
    nh_predict_job *j = context;
    const nh_graph *g = j->g;
    const int *species = g->structure.species;
    const size_t dim = j->out.irreps.dim;
    double *vector = NH_ARRAY(double, dim), *d = NH_ARRAY(double, j->orbitals * j->orbitals);
    (void)trace;
    if (!vector || !d) atomic_store(&j->no_memory, true);
    for (size_t k = 0; vector && d && k < n; k++) {
        const size_t e = edge[k], start = g->pairs.start[j->list.pair[e]],
                     count = g->pairs.start[j->list.pair[e] + 1] - start;
        for (size_t i = 0; i < dim; i++)
            vector[i] = (double)ham[k * dim + i];
        nh_irreps_to_correction(&(nh_transform){j->embedding, &j->out, &g->structure, j->slot},
                                species[j->list.src[e]], species[j->list.dst[e]], vector, d);
        for (size_t i = 0; i < count; i++)
            d[i] /= j->scale;
        nh_add_correction(g, start, count, d, g->matrix[NH_H_PRED]);
    }
    free(vector);
    free(d);
}

static R(nh_network) **kept(nh_predict_job *j, size_t range)
{
#ifdef NH_REAL_DOUBLE
    return &j->packed->d[range];
#else
    return &j->packed->f[range];
#endif
}

int R(nh_predict_pack)(nh_predict_job *j, size_t range, nh_error *err)
{
    const nh_model *m = j->m;
    R(nh_network) **net = kept(j, range);
    if (*net) return 0;
    if (NH_NET(_new)(&m->config, j->types, &m->params, &m->weights[range], range, j->input, j->input_entry,
                     &j->out.irreps, j->out.entry, false, j->method, j->threads, net, err))
        return -1;
    j->report->n_packed++;
    if (!NH_NET(_place)(*net, nh_job_device(j, range), err)) return 0;
    NH_NET(_free)(*net);
    *net = NULL;
    return -1;
}

int R(nh_predict_forward)(nh_predict_job *j, size_t range, nh_error *err)
{
    R(nh_network) *net = *kept(j, range);
    const nh_device *device = nh_job_device(j, range);
    if (device) {
        nhk_crystal *crystal = j->placed[range % j->devices->count];
        NH_NET(_ends) ends = {0};
        if (crystal) device->call->crystal->R(ends)(crystal, &ends);
        NH_NET(_connect)(net, &ends);
    }
    return NH_NET(_forward)(net, &j->list.edges, source, j, sink, j, false, NULL, j->threads,
                            &j->report->part, err);
}
