#include "ensemble/predict.h"

#include "base/memory.h"
#include "ensemble/base.h"
#include "nextham/embedding.h"

#include <math.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Sub-models packed for one choice of features and answers. */
typedef struct packed {
    size_t n_in, *in, n_out, *out; /* entries of the basis's type (nh_selection.entry); owned; in = NULL: nothing here */
    nh_network_f *f[NH_MAX_RANGES]; /* NULL until a crystal needs it; owned */
    nh_network_d *d[NH_MAX_RANGES];
    size_t last; /* number of the crystal that used it last */
} packed;

struct nh_predictor {
    const nh_model *m;
    nh_precision precision;
    const nh_devices *devices; /* NULL: the CPU */
    nh_threads *servers;       /* one for each device; NULL: the caller is enough */
    nh_kernels kernels;
    nh_types types;
    packed kept[NH_PREDICTOR_KEEPS];
    size_t n_crystal;
};

static void packed_free(packed *k)
{
    for (size_t r = 0; r < NH_MAX_RANGES; r++) {
        nh_network_f_free(k->f[r]);
        nh_network_d_free(k->d[r]);
    }
    free(k->in);
    free(k->out);
    *k = (packed){0};
}

int nh_predictor_new(const nh_model *m, nh_precision precision, nh_kernels kernels, const nh_devices *devices,
                     nh_predictor **out, nh_error *err)
{
    *out = NULL;
    nh_predictor *p = NH_ARRAY(nh_predictor, 1);
    if (!p) return nh_fail_memory(err, "the model");
    *p = (nh_predictor){.m = m, .precision = precision, .kernels = kernels, .devices = devices};
    if (nh_types_new(&m->config, &p->types, err) ||
        (devices && devices->count > 1 && nh_threads_new((int)devices->count, &p->servers, err))) {
        nh_predictor_free(p);
        return -1;
    }
    *out = p;
    return 0;
}

void nh_predictor_free(nh_predictor *p)
{
    if (!p) return;
    for (size_t i = 0; i < NH_PREDICTOR_KEEPS; i++)
        packed_free(&p->kept[i]);
    nh_threads_free(p->servers);
    nh_types_free(&p->types);
    free(p);
}

static bool same_entries(size_t n_kept, const size_t *kept, size_t n, const size_t *entry)
{
    return n_kept == n && memcmp(kept, entry, n * sizeof *kept) == 0;
}

/* The place of this choice: where it is kept, or else the one that was used longest ago, emptied. */
static packed *find_packed(nh_predictor *p, const nh_irreps *input, const size_t *input_entry, const nh_selection *out,
                           nh_error *err)
{
    const size_t n_in = input->count, n_out = out->irreps.count;
    packed *oldest = &p->kept[0];
    for (size_t i = 0; i < NH_PREDICTOR_KEEPS; i++) {
        packed *k = &p->kept[i];
        if (k->in && same_entries(k->n_in, k->in, n_in, input_entry) &&
            same_entries(k->n_out, k->out, n_out, out->entry))
            return k;
        if (k->last < oldest->last) oldest = k;
    }
    packed_free(oldest);
    oldest->n_in = n_in;
    oldest->n_out = n_out;
    oldest->in = NH_ARRAY(size_t, oldest->n_in);
    oldest->out = NH_ARRAY(size_t, oldest->n_out);
    if (!oldest->in || !oldest->out) {
        packed_free(oldest);
        nh_fail_memory(err, "the model");
        return NULL;
    }
    memcpy(oldest->in, input_entry, oldest->n_in * sizeof *oldest->in);
    memcpy(oldest->out, out->entry, oldest->n_out * sizeof *oldest->out);
    return oldest;
}

/* One crystal with one model. */
typedef struct job {
    const nh_model *m;
    nh_kernels kernels;
    nh_graph *g;
    const nh_devices *devices;
    const nh_types *types;
    packed *packed;
    nh_embedding *embedding;
    size_t *slot;              /* padded slot of each shell of each species */
    size_t *edge;              /* [n_edge] pair of each edge */
    size_t *row;               /* [n_edge] feature row of each edge; NULL where H0 is embedded here */
    nh_selection in;           /* what the feature vectors hold of OUT; empty with `input: elements` */
    const nh_irreps *input;    /* type of the feature vectors, and where its entries are in the network's */
    const size_t *input_entry; /* complete one */
    bool *even;       /* [in.irreps.dim] numbers of them that the network sees, the others are 0; NULL: all */
    nh_selection out; /* what is asked of edge_lin */
    int *src, *dst;
    double *vector, *distance;
    nh_edges edges;
    double scale;                   /* model's Rydberg factor over the graph's */
    size_t orbitals;                /* of the largest species */
    nhk_crystal **placed;    /* [devices] features and corrections are made there, too; NULL: here. Owned */
    nhk_embedding tables[2]; /* of `in` and `out`, for them */
    nhk_block *block;        /* [n_edge] */
    _Atomic uint_fast64_t embed_ns; /* summed over threads */
    atomic_bool no_memory;          /* a callback could not get its buffer */
    nh_precision precision;
    nh_threads *threads; /* of the sub-models on the CPU */
    nh_predict_report *report;
    nh_progress *progress;
    size_t n_server; /* threads that run sub-models side by side */
    bool wanted[NH_MAX_RANGES], told[NH_MAX_RANGES]; /* told: the progress knows of it */
    nh_error error[NH_MAX_RANGES]; /* empty text: none */
} job;

static size_t device_count(const job *j)
{
    return j->devices ? j->devices->count : 0;
}

/* From now on the device's features and corrections are made here. */
static void drop_crystal(job *j, size_t device)
{
    if (j->placed[device]) j->devices->device[device]->call->crystal_free(j->placed[device]);
    j->placed[device] = NULL;
}

static void job_free(job *j)
{
    for (size_t i = 0; j->placed && i < device_count(j); i++)
        drop_crystal(j, i);
    free(j->placed);
    for (size_t i = 0; i < 2; i++)
        nh_embedding_tables_free(&j->tables[i]);
    free(j->block);
    nh_embedding_free(j->embedding);
    nh_selection_free(&j->in);
    free(j->even);
    nh_selection_free(&j->out);
    free(j->slot);
    free(j->edge);
    free(j->row);
    free(j->src);
    free(j->dst);
    free(j->vector);
    free(j->distance);
}

/* --- the edges --- */

static int find_edges(job *j, nh_error *err)
{
    const nh_graph *g = j->g;
    const nh_config *c = &j->m->config;
    if (g->cutoff < c->cutoff)
        return nh_fail(err, "the graph was made with cutoff %g Å, the model needs %g Å (mkgraph --cutoff)",
                       g->cutoff, c->cutoff);
    const size_t n = nh_graph_edges(g, c->cutoff, NULL);
    if (n == 0) return nh_fail(err, "no pair of atoms within the model's cutoff of %g Å", c->cutoff);
    j->edge = NH_ARRAY(size_t, n);
    j->src = NH_ARRAY(int, n);
    j->dst = NH_ARRAY(int, n);
    j->vector = nh_calloc(n, 3 * sizeof *j->vector);
    j->distance = NH_ARRAY(double, n);
    if (!j->edge || !j->src || !j->dst || !j->vector || !j->distance) return nh_fail_memory(err, "the edges");
    nh_graph_edges(g, c->cutoff, j->edge);
    for (size_t e = 0; e < n; e++) {
        const nh_pair *p = &g->pairs.pair[j->edge[e]];
        j->src[e] = p->src;
        j->dst[e] = p->dst;
        nh_pair_vector(&g->structure, p, &j->vector[3 * e]);
        j->distance[e] = nh_round_distance(g->pairs.distance[j->edge[e]]);
    }
    j->edges = (nh_edges){.n_node = g->structure.n_atom,
                          .n_edge = n,
                          .src = j->src,
                          .dst = j->dst,
                          .vector = j->vector,
                          .distance = j->distance};
    return 0;
}

/* --- the types of input and output --- */

/* The features that came with the graph: their type, and the row of each edge. */
static int use_features(job *j, const bool *used, nh_error *err)
{
    const nh_features *x = j->g->features;
    const size_t n_pair = nh_embedding_pairs(j->embedding), n_shell = j->m->config.n_shell;
    if (nh_selection_parse(j->embedding, x->shell_pairs, x->irreps, &j->in, err)) {
        char *basis = nh_shells_text(n_shell, j->m->config.shell_l);
        nh_fail_at(err, "the features were made for another basis than the model's %s", basis ? basis : "");
        free(basis);
        return -1;
    }
    if (j->in.irreps.dim != x->n_component)
        return nh_fail(err, "feature: %zu components, %zu expected from its attribute shell_pairs",
                       x->n_component, j->in.irreps.dim);
    size_t k = 0;
    for (size_t p = 0; p < n_pair; p++) {
        while (k < j->in.n_pair && j->in.pair[k] < p)
            k++;
        if (used[p] && (k == j->in.n_pair || j->in.pair[k] != p))
            return nh_fail(err,
                           "feature: attribute shell_pairs lacks %zu,%zu, which atoms of this crystal have",
                           p / n_shell, p % n_shell);
    }
    size_t *of_pair = malloc((j->g->pairs.count + 1) * sizeof *of_pair);
    j->row = NH_ARRAY(size_t, j->edges.n_edge);
    if (!of_pair || !j->row) {
        free(of_pair);
        return nh_fail_memory(err, "the edges");
    }
    int status = 0;
    for (size_t p = 0; p < j->g->pairs.count; p++)
        of_pair[p] = SIZE_MAX;
    for (size_t i = 0; i < x->n_edge; i++)
        of_pair[x->edge_pair[i]] = i;
    for (size_t e = 0; !status && e < j->edges.n_edge; e++) {
        j->row[e] = of_pair[j->edge[e]];
        if (j->row[e] == SIZE_MAX)
            status = nh_fail(err,
                             "no feature for the pair %d-%d, %g Å apart: made with a smaller cutoff than the "
                             "model's %g Å?",
                             j->src[e], j->dst[e], j->distance[e], j->m->config.cutoff);
    }
    free(of_pair);
    return status;
}

static int choose_types(job *j, nh_error *err)
{
    static const size_t only_entry = 0;
    const nh_config *c = &j->m->config;
    const bool elements = c->input == NH_INPUT_ELEMENTS;
    const nh_structure *s = &j->g->structure;
    j->slot = NH_ARRAY(size_t, s->shell_start[s->n_species]);
    if (!j->slot) return nh_fail_memory(err, "the padded basis");
    if (nh_embedding_new(c->n_shell, c->shell_l, &j->embedding, err)) return -1;
    if (nh_embedding_slots(j->embedding, s, j->slot, err))
        return nh_fail_at(err, "the model is for another basis");
    bool *used = NH_ARRAY(bool, nh_embedding_pairs(j->embedding));
    if (!used) return nh_fail_memory(err, "the padded basis");
    nh_embedding_used(j->embedding, j->g, j->slot, j->edges.n_edge, j->edge, used);
    int status = 0;
    if (elements)
        j->input_entry = &only_entry;
    else if (!(status = j->g->features ? use_features(j, used, err)
                                       : nh_selection_new(j->embedding, NH_PART_ALL, used, &j->in, err)))
        j->input_entry = j->in.entry;
    j->input = elements ? &j->types->in : &j->in.irreps;
    if (!status)
        status = nh_selection_new(j->embedding,
                                  c->reconstruct == NH_RECONSTRUCT_UU ? NH_PART_REAL : NH_PART_SCALAR, used,
                                  &j->out, err);
    free(used);
    if (!status && !elements && c->h0 == NH_H0_TIME_REVERSAL) {
        j->even = NH_ARRAY(bool, j->in.irreps.dim);
        if (!j->even) return nh_fail_memory(err, "feature vectors");
        nh_selection_time_even(j->embedding, &j->in, j->even);
    }
    for (size_t i = 0; i < s->n_species; i++)
        if (nh_species_orbitals(s, i) > j->orbitals) j->orbitals = nh_species_orbitals(s, i);
    return status;
}

/* --- features for the network, corrections from it --- */

/* Feature vector of one edge, from H0 or the elements of its atoms. */
static void embed_edge(const job *j, size_t e, double *out)
{
    const nh_graph *g = j->g;
    const int *species = g->structure.species, *element = g->structure.atomic_number;
    if (j->m->config.input == NH_INPUT_ELEMENTS) {
        memset(out, 0, j->input->dim * sizeof *out);
        out[element[species[j->src[e]]]] += 0.5;
        out[element[species[j->dst[e]]]] += 0.5;
        return;
    }
    nh_block_to_irreps(j->embedding, &j->in, &g->structure, j->slot, species[j->src[e]], species[j->dst[e]],
                       g->n_spin, g->matrix[NH_H0] + 2 * g->pairs.start[j->edge[e]], 2 * g->pairs.n_elem,
                       j->scale, out);
}

/* Adds one edge's correction to its block; every edge has its own, and its length is in one sub-model's range at the most (ranges do not
 * overlap), so that sub-models may do this side by side. */
static void add_correction(const job *j, size_t e, const double *ham, double *d)
{
    const nh_graph *g = j->g;
    const int *species = g->structure.species;
    const int a = species[j->src[e]], b = species[j->dst[e]];
    const size_t n =
        nh_species_orbitals(&g->structure, (size_t)a) * nh_species_orbitals(&g->structure, (size_t)b);
    nh_irreps_to_correction(j->embedding, &j->out, &g->structure, j->slot, a, b, ham, d);
    for (int spin = 0; spin < g->n_spin; spin += 3) { /* uu and dd */
        double *block =
            g->matrix[NH_H_PRED] + 2 * ((size_t)spin * g->pairs.n_elem + g->pairs.start[j->edge[e]]);
        for (size_t i = 0; i < n; i++)
            block[2 * i] += d[i] / j->scale;
    }
}

/* NULL: the CPU. The same one for every crystal, as packed sub-models stay there. */
static const nh_device *device_of(const job *j, size_t range)
{
    const size_t n = device_count(j);
    return n > 0 ? j->devices->device[range % n] : NULL;
}

static void give_up(job *j)
{
    atomic_store(&j->no_memory, true);
}

static void count_time(job *j, double begin)
{
    atomic_fetch_add(&j->embed_ns, (uint_fast64_t)(1e9 * (nh_seconds() - begin)));
}

/* The callbacks of the network (network.h), for float and double. */
#define CALLBACKS(real, suffix)                                                                              \
    static void source_##suffix(void *context, size_t first, size_t n, real *out)                            \
    {                                                                                                        \
        job *j = context;                                                                                    \
        const size_t dim = j->input->dim;                                                                    \
        const double begin = nh_seconds();                                                                   \
        const nh_features *x = j->m->config.input == NH_INPUT_H0 ? j->g->features : NULL;                    \
        double *buffer = x ? NULL : NH_ARRAY(double, dim);                                                   \
        if (!x && !buffer) {                                                                                 \
            give_up(j);                                                                                      \
            memset(out, 0, n *dim * sizeof *out);                                                            \
            return;                                                                                          \
        }                                                                                                    \
        for (size_t e = first; e < first + n; e++, out += dim) {                                             \
            if (!x) {                                                                                        \
                embed_edge(j, e, buffer);                                                                    \
                for (size_t i = 0; i < dim; i++)                                                             \
                    out[i] = (real)buffer[i];                                                                \
            } else if (x->value_double) {                                                                    \
                for (size_t i = 0; i < dim; i++)                                                             \
                    out[i] = (real)(j->scale * x->value_double[j->row[e] * dim + i]);                        \
            } else {                                                                                         \
                for (size_t i = 0; i < dim; i++)                                                             \
                    out[i] = (real)(j->scale * (double)x->value[j->row[e] * dim + i]);                       \
            }                                                                                                \
            for (size_t i = 0; j->even && i < dim; i++)                                                      \
                if (!j->even[i]) out[i] = 0;                                                                 \
        }                                                                                                    \
        free(buffer);                                                                                        \
        count_time(j, begin);                                                                                \
    }                                                                                                        \
                                                                                                             \
    static void sink_##suffix(void *context, size_t n, const size_t *edge, const real *ham,                  \
                              const real *trace)                                                             \
    {                                                                                                        \
        job *j = context;                                                                                    \
        const size_t dim = j->out.irreps.dim;                                                                \
        double *vector = NH_ARRAY(double, dim), *d = NH_ARRAY(double, j->orbitals * j->orbitals);            \
        (void)trace;                                                                                         \
        if (!vector || !d) give_up(j);                                                                       \
        for (size_t k = 0; vector && d && k < n; k++) {                                                      \
            for (size_t i = 0; i < dim; i++)                                                                 \
                vector[i] = (double)ham[k * dim + i];                                                        \
            add_correction(j, edge[k], vector, d);                                                           \
        }                                                                                                    \
        free(vector);                                                                                        \
        free(d);                                                                                             \
    }                                                                                                        \
                                                                                                             \
    static int pack_##suffix(job *j, size_t range, nh_threads *threads, nh_error *err)                       \
    {                                                                                                        \
        const nh_model *m = j->m;                                                                            \
        nh_network_##suffix **net = &j->packed->suffix[range];                                               \
        if (*net) return 0;                                                                                  \
        if (nh_network_##suffix##_new(&m->config, j->types, &m->params, &m->weights[range], range, j->input, \
                                      j->input_entry, &j->out.irreps, j->out.entry, false, j->kernels,       \
                                      threads, net, err))                                                    \
            return -1;                                                                                       \
        j->report->n_packed++;                                                                               \
        if (!nh_network_##suffix##_place(*net, device_of(j, range), err)) return 0;                          \
        nh_network_##suffix##_free(*net);                                                                    \
        *net = NULL;                                                                                         \
        return -1;                                                                                           \
    }                                                                                                        \
                                                                                                             \
    static int run_##suffix(job *j, size_t range, nh_error *err)                                             \
    {                                                                                                        \
        nh_network_##suffix *net = j->packed->suffix[range];                                                 \
        const nh_device *device = device_of(j, range);                                                       \
        if (device) {                                                                                        \
            nhk_crystal *crystal = j->placed[range % device_count(j)];                                       \
            nh_network_##suffix##_ends ends = {0};                                                           \
            if (crystal) device->call->crystal_ends_##suffix(crystal, &ends);                                \
            nh_network_##suffix##_connect(net, &ends);                                                       \
        }                                                                                                    \
        return nh_network_##suffix##_forward(net, &j->edges, source_##suffix, j, sink_##suffix, j, false,    \
                                             NULL, j->threads, &j->report->part, err);                       \
    }
CALLBACKS(float, f)
CALLBACKS(double, d)

/* What devices need to know of the crystal. */
static int prepare_placing(job *j, nh_error *err)
{
    const nh_graph *g = j->g;
    const int *species = g->structure.species;
    if (device_count(j) == 0) return 0;
    j->placed = NH_ARRAY(nhk_crystal *, device_count(j));
    j->block = NH_ARRAY(nhk_block, j->edges.n_edge);
    if (!j->placed || !j->block) return nh_fail_memory(err, "the edges");
    for (size_t e = 0; e < j->edges.n_edge; e++)
        j->block[e] = (nhk_block){g->pairs.start[j->edge[e]], species[j->src[e]], species[j->dst[e]]};
    const bool embed = j->m->config.input == NH_INPUT_H0 && !g->features;
    return (embed && nh_embedding_tables(j->embedding, &j->in, &g->structure, j->slot, j->even, &j->tables[0], err)) ||
                   nh_embedding_tables(j->embedding, &j->out, &g->structure, j->slot, NULL, &j->tables[1], err)
               ? -1
               : 0;
}

/* Takes the crystal to the device, where there is room: then H0 goes up once for all of its sub-models (unless its features
 * came with it, or none are made of it), and their corrections come down once. */
static int place(job *j, size_t device, nh_error *err)
{
    const nh_graph *g = j->g;
    const nh_device *d = j->devices->device[device];
    const bool embed = j->m->config.input == NH_INPUT_H0 && !g->features;
    const nhk_crystal_input in = {.n_edge = j->edges.n_edge,
                                  .n_elem = g->pairs.n_elem,
                                  .spin_blocks = g->n_spin,
                                  .edge = j->block,
                                  .matrix = embed ? g->matrix[NH_H0] : NULL,
                                  .in = &j->tables[0],
                                  .out = &j->tables[1],
                                  .scale = j->scale};
    return d->call->crystal_new(d->gpu, &in, &j->placed[device], err);
}

/* The corrections that were made on the devices; a block's is zero on all of them but one. */
static int take_corrections(job *j, nh_error *err)
{
    const nh_graph *g = j->g;
    double *d = NH_ARRAY(double, g->pairs.n_elem);
    int status = d ? 0 : nh_fail_memory(err, "the corrections");
    for (size_t i = 0; !status && i < device_count(j); i++) {
        if (!j->placed[i]) continue;
        status = j->devices->device[i]->call->crystal_corrections(j->placed[i], d, err);
        for (size_t spin = 0; !status && spin < (size_t)g->n_spin; spin += 3) { /* uu and dd */
            double *block = g->matrix[NH_H_PRED] + 2 * spin * g->pairs.n_elem;
            for (size_t k = 0; k < g->pairs.n_elem; k++)
                block[2 * k] += d[k];
        }
    }
    free(d);
    return status;
}

static bool any_within(const job *j, size_t range)
{
    const double *bounds = j->m->config.range[range];
    for (size_t e = 0; e < j->edges.n_edge; e++)
        if (j->distance[e] >= bounds[0] && j->distance[e] < bounds[1]) return true;
    return false;
}

/* The sub-models of one server, in order: those of a device, or all of them. A failure ends it. */
static int run_some(job *j, size_t server)
{
    for (size_t r = server; r < j->m->n_range; r += j->n_server) {
        nh_error *err = &j->error[r];
        if (!j->wanted[r]) continue;
        const double begin = nh_seconds();
        int status = j->precision == NH_DOUBLE ? run_d(j, r, err) : run_f(j, r, err);
        j->report->forward[r] = nh_seconds() - begin;
        if (!status && atomic_load(&j->no_memory)) status = nh_fail_memory(err, "feature vectors");
        if (status) return -1;
        if (!j->told[r]) nh_progress_add(j->progress, j->edges.n_edge);
        j->told[r] = true;
    }
    return 0;
}

static void serve(void *context, size_t index, int thread)
{
    job *j = context;
    const bool on_device = device_count(j) > 0;
    bool any = false;
    (void)thread;
    for (size_t r = index; r < j->m->n_range; r += j->n_server)
        any = any || j->wanted[r];
    if (!any) return;
    if (on_device && place(j, index, &j->error[index])) return;
    if (run_some(j, index) == 0 || !on_device || !j->placed[index]) return;
    /* Without the crystal on the device there is more room for the sub-models, and nothing has come down yet. */
    drop_crystal(j, index);
    for (size_t r = index; r < j->m->n_range; r += j->n_server)
        j->error[r].text[0] = '\0';
    run_some(j, index);
}

/* Packs the sub-models and lets the devices' threads (NULL: the caller) run them. */
static int run_sub_models(job *j, nh_threads *servers, nh_error *err)
{
    const size_t n = j->m->n_range;
    const double begin = nh_seconds();
    for (size_t r = 0; r < n; r++) {
        j->wanted[r] = any_within(j, r); /* else this sub-model has no edge to answer for */
        if (!j->wanted[r]) continue;
        if (j->precision == NH_DOUBLE ? pack_d(j, r, j->threads, err) : pack_f(j, r, j->threads, err))
            return nh_fail_at(err, "sub-model range%zu", r);
    }
    if (prepare_placing(j, err)) return -1;
    const double ready = nh_seconds();
    j->n_server = servers ? (size_t)nh_threads_count(servers) : 1;
    nh_parallel_for(servers, j->n_server, serve, j);
    j->report->setup += ready - begin;
    j->report->sub_models = nh_seconds() - ready;
    for (size_t r = 0; r < n; r++)
        if (j->error[r].text[0]) return nh_fail(err, "sub-model range%zu: %s", r, j->error[r].text);
    return 0;
}

static int prepare(nh_predictor *p, job *j, nh_error *err)
{
    nh_graph *g = j->g;
    size_t count, bytes;
    if (!g->matrix[NH_H0] && nh_config_needs_h0(&j->m->config)) return nh_fail(err, "the graph has no h0");
    if (!nh_size_mul(g->pairs.n_elem, 2 * (size_t)g->n_spin, &count) ||
        !nh_size_mul(count, sizeof(double), &bytes))
        return nh_fail_memory(err, "h_pred");
    if (!g->matrix[NH_H_PRED]) g->matrix[NH_H_PRED] = malloc(bytes > 0 ? bytes : 1);
    if (!g->matrix[NH_H_PRED]) return nh_fail_memory(err, "h_pred");
    if (g->matrix[NH_H0]) memcpy(g->matrix[NH_H_PRED], g->matrix[NH_H0], bytes);
    nh_base(&j->m->config, g, g->matrix[NH_H_PRED]);
    j->scale = j->m->config.rydberg / g->rydberg;
    if (find_edges(j, err) || choose_types(j, err)) return -1;
    j->packed = find_packed(p, j->input, j->input_entry, &j->out, err);
    if (!j->packed) return -1;
    j->packed->last = ++p->n_crystal;
    return 0;
}

int nh_predict(const nh_model *m, nh_graph *g, nh_precision precision, nh_kernels kernels, const nh_devices *devices,
               bool hermitize, nh_threads *threads, nh_predict_report *report, nh_progress *progress, nh_error *err)
{
    nh_predictor *p;
    if (nh_predictor_new(m, precision, kernels, devices, &p, err)) return -1;
    const int status = nh_predictor_run(p, g, hermitize, threads, report, progress, err);
    nh_predictor_free(p);
    return status;
}

int nh_predictor_run(nh_predictor *p, nh_graph *g, bool hermitize, nh_threads *threads, nh_predict_report *report,
                     nh_progress *progress, nh_error *err)
{
    nh_predict_report unused;
    if (!report) report = &unused;
    job j = {.m = p->m, .g = g, .types = &p->types, .kernels = p->kernels, .devices = p->devices, .precision = p->precision,
             .report = report, .progress = progress};
    *report = (nh_predict_report){0};
    const double begin = nh_seconds();
    /* A pool of one also keeps BLAS to one thread: its sums would depend on how many it uses. */
    nh_threads *own = NULL;
    int status = threads ? 0 : nh_threads_new(1, &own, err);
    j.threads = threads ? threads : own;
    if (!status) status = prepare(p, &j, err);
    report->n_edge = j.edges.n_edge;
    report->setup = nh_seconds() - begin;
    if (!status) status = run_sub_models(&j, p->servers, err);
    report->embed = 1e-9 * (double)atomic_load(&j.embed_ns);
    const double end = nh_seconds();
    if (!status && j.placed) status = take_corrections(&j, err);
    if (!status && hermitize) status = nh_hermitize(g, g->matrix[NH_H_PRED], err);
    report->finish = nh_seconds() - end;
    job_free(&j);
    nh_threads_free(own);
    return status;
}
