#include "ensemble/predict.h"

#include "base/memory.h"
#include "ensemble/base.h"
#include "ensemble/correction.h"
#include "ensemble/predict_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct nh_predictor {
    const nh_model *m;
    nh_predict_options o;
    nh_threads *servers; /* one for each device; NULL: the caller is enough */
    nh_types types;
    nh_packed kept[NH_PREDICTOR_KEEPS];
    size_t n_crystal;
};

static void packed_free(nh_packed *k)
{
    for (size_t r = 0; r < NH_MAX_RANGES; r++) {
        nh_network_f_free(k->f[r]);
        nh_network_d_free(k->d[r]);
    }
    free(k->in);
    free(k->out);
    *k = (nh_packed){0};
}

int nh_predictor_new(const nh_model *m, const nh_predict_options *o, nh_predictor **out, nh_error *err)
{
    *out = NULL;
    nh_predictor *p = NH_ARRAY(nh_predictor, 1);
    if (!p) return nh_fail_memory(err, "the model");
    *p = (nh_predictor){.m = m, .o = *o};
    if (nh_types_new(&m->config, &p->types, err) ||
        (o->devices && o->devices->count > 1 && nh_threads_new((int)o->devices->count, &p->servers, err))) {
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
static nh_packed *find_packed(nh_predictor *p, const nh_irreps *input, const size_t *input_entry,
                              const nh_selection *out, nh_error *err)
{
    const size_t n_in = input->count, n_out = out->irreps.count;
    nh_packed *oldest = &p->kept[0];
    for (size_t i = 0; i < NH_PREDICTOR_KEEPS; i++) {
        nh_packed *k = &p->kept[i];
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

static size_t device_count(const nh_predict_job *j)
{
    return j->devices ? j->devices->count : 0;
}

/* From now on the device's features and corrections are made here. */
static void drop_crystal(nh_predict_job *j, size_t device)
{
    if (j->placed[device]) j->devices->device[device]->call->crystal->drop(j->placed[device]);
    j->placed[device] = NULL;
}

static void job_free(nh_predict_job *j)
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
    free(j->row);
    free(j->run);
    free(j->species_at);
    nh_edge_list_free(&j->list);
}

/* --- the types of input and output --- */

/* The features that came with the graph: their type, and the row of each edge. */
static int use_features(nh_predict_job *j, const bool *used, nh_error *err)
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
    j->row = NH_ARRAY(size_t, j->list.edges.n_edge);
    if (!of_pair || !j->row) {
        free(of_pair);
        return nh_fail_memory(err, "the edges");
    }
    int status = 0;
    for (size_t p = 0; p < j->g->pairs.count; p++)
        of_pair[p] = SIZE_MAX;
    for (size_t i = 0; i < x->n_edge; i++)
        of_pair[x->edge_pair[i]] = i;
    for (size_t e = 0; !status && e < j->list.edges.n_edge; e++) {
        j->row[e] = of_pair[j->list.pair[e]];
        if (j->row[e] == SIZE_MAX)
            status = nh_fail(err,
                             "no feature for the pair %d-%d, %g Å apart: made with a smaller cutoff than the "
                             "model's %g Å?",
                             j->list.src[e], j->list.dst[e], j->list.distance[e], j->m->config.cutoff);
    }
    free(of_pair);
    return status;
}

static int choose_types(nh_predict_job *j, nh_error *err)
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
    nh_embedding_used(j->embedding, j->g, j->slot, j->list.edges.n_edge, j->list.pair, used);
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

/* What devices need to know of the crystal. */
static int prepare_placing(nh_predict_job *j, nh_error *err)
{
    const nh_graph *g = j->g;
    const int *species = g->structure.species;
    if (device_count(j) == 0) return 0;
    j->placed = NH_ARRAY(nhk_crystal *, device_count(j));
    j->block = NH_ARRAY(nhk_block, j->list.edges.n_edge);
    if (!j->placed || !j->block) return nh_fail_memory(err, "the edges");
    for (size_t e = 0; e < j->list.edges.n_edge; e++)
        j->block[e] =
            (nhk_block){g->pairs.start[j->list.pair[e]], species[j->list.src[e]], species[j->list.dst[e]]};
    const bool embed = j->m->config.input == NH_INPUT_H0 && !g->features;
    return (embed && nh_embedding_tables(&(nh_transform){j->embedding, &j->in, &g->structure, j->slot},
                                         j->even, &j->tables[0], err)) ||
                   nh_embedding_tables(&(nh_transform){j->embedding, &j->out, &g->structure, j->slot}, NULL,
                                       &j->tables[1], err)
               ? -1
               : 0;
}

/* Takes the crystal to the device, where there is room: then H0 goes up once for all of its sub-models (unless its features
 * came with it, or none are made of it), and their corrections come down once. */
static int place(nh_predict_job *j, size_t device, nh_error *err)
{
    const nh_graph *g = j->g;
    const nh_device *d = j->devices->device[device];
    const bool embed = j->m->config.input == NH_INPUT_H0 && !g->features;
    const nhk_crystal_input in = {.n_edge = j->list.edges.n_edge,
                                  .n_elem = g->pairs.n_elem,
                                  .spin_blocks = g->n_spin,
                                  .edge = j->block,
                                  .matrix = embed ? g->matrix[NH_H0] : NULL,
                                  .in = &j->tables[0],
                                  .out = &j->tables[1],
                                  .scale = j->scale};
    return d->call->crystal->make(d->gpu, &in, &j->placed[device], err);
}

/* The corrections that were made on the devices; a block's is zero on all of them but one. */
static int take_corrections(nh_predict_job *j, nh_error *err)
{
    const nh_graph *g = j->g;
    double *d = NH_ARRAY(double, g->pairs.n_elem);
    int status = d ? 0 : nh_fail_memory(err, "the corrections");
    for (size_t i = 0; !status && i < device_count(j); i++) {
        if (!j->placed[i]) continue;
        status = j->devices->device[i]->call->crystal->corrections(j->placed[i], d, err);
        if (!status) nh_add_correction(g, 0, g->pairs.n_elem, d, g->matrix[NH_H_PRED]);
    }
    free(d);
    return status;
}

static bool any_within(const nh_predict_job *j, size_t range)
{
    for (size_t e = 0; e < j->list.edges.n_edge; e++)
        if (nh_config_range_of(&j->m->config, j->list.distance[e]) == range) return true;
    return false;
}

/* The sub-models of one server, in order: those of a device, or all of them. A failure ends it. */
static int run_some(nh_predict_job *j, size_t server)
{
    for (size_t r = server; r < j->m->n_range; r += j->n_server) {
        nh_error *err = &j->error[r];
        if (!j->wanted[r]) continue;
        const double begin = nh_seconds();
        int status =
            j->precision == NH_DOUBLE ? nh_predict_forward_d(j, r, err) : nh_predict_forward_f(j, r, err);
        j->report->forward[r] = nh_seconds() - begin;
        if (!status && atomic_load(&j->no_memory)) status = nh_fail_memory(err, "feature vectors");
        if (status) return -1;
        if (!j->told[r]) nh_progress_add(j->progress, j->list.edges.n_edge);
        j->told[r] = true;
    }
    return 0;
}

static void serve(void *context, size_t index, int thread)
{
    nh_predict_job *j = context;
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
static int run_sub_models(nh_predict_job *j, nh_threads *servers, nh_error *err)
{
    const size_t n = j->m->n_range;
    const double begin = nh_seconds();
    for (size_t r = 0; r < n; r++) {
        j->wanted[r] = any_within(j, r); /* else this sub-model has no edge to answer for */
        if (!j->wanted[r]) continue;
        if (j->precision == NH_DOUBLE ? nh_predict_pack_d(j, r, err) : nh_predict_pack_f(j, r, err))
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

/* Where the feature vectors come from: the graph, its H0, or its elements. */
static int describe_features(nh_predict_job *j, nh_error *err)
{
    const nh_graph *g = j->g;
    const nh_structure *s = &g->structure;
    const size_t dim = j->input->dim;
    if (j->row) {
        const nh_features *x = g->features;
        j->run = nh_calloc(dim, sizeof *j->run);
        if (!j->run) return nh_fail_memory(err, "feature vectors");
        j->rows = (nh_feature_rows){.as_float = x->value,
                                    .as_double = x->value_double,
                                    .width = dim,
                                    .row = j->row,
                                    .scale = j->scale,
                                    .run = j->run};
        for (size_t i = 0; i < dim; i++) {
            if (j->even && !j->even[i]) continue;
            nh_feature_run *last = j->rows.n_run > 0 ? &j->run[j->rows.n_run - 1] : NULL;
            if (last && last->from + last->count == i)
                last->count++;
            else
                j->run[j->rows.n_run++] = (nh_feature_run){.from = i, .to = i, .count = 1};
        }
        return 0;
    }
    j->features = (nh_edge_features){.graph = g,
                                     .list = &j->list,
                                     .dim = dim,
                                     .transform = {j->embedding, &j->in, &g->structure, j->slot},
                                     .scale = j->scale,
                                     .even = j->even};
    if (j->m->config.input != NH_INPUT_ELEMENTS) return 0;
    j->features.species_at = j->species_at = NH_ARRAY(size_t, s->n_species);
    if (!j->species_at) return nh_fail_memory(err, "feature vectors");
    for (size_t i = 0; i < s->n_species; i++)
        j->species_at[i] = (size_t)s->atomic_number[i]; /* 1..118, checked by the reader */
    return 0;
}

static int prepare(nh_predictor *p, nh_predict_job *j, nh_error *err)
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
    if (nh_edge_list_new(g, j->m->config.cutoff, &j->list, err) || choose_types(j, err) ||
        describe_features(j, err))
        return -1;
    j->packed = find_packed(p, j->input, j->input_entry, &j->out, err);
    if (!j->packed) return -1;
    j->packed->last = ++p->n_crystal;
    return 0;
}

/* Weights of a run that diverged, or an H0 in another unit, give numbers that are none. */
static int check_finite(const nh_graph *g, nh_error *err)
{
    const double *h = g->matrix[NH_H_PRED];
    const size_t n = 2 * (size_t)g->n_spin * g->pairs.n_elem;
    for (size_t i = 0; i < n; i++)
        if (!isfinite(h[i]))
            return nh_fail(err,
                           "the prediction is not finite (element %zu of h_pred is %g): weights that "
                           "diverged, or an H0 of wrong size",
                           i / 2, h[i]);
    return 0;
}

int nh_predictor_run(nh_predictor *p, nh_graph *g, nh_threads *threads, nh_predict_report *report,
                     nh_progress *progress, nh_error *err)
{
    nh_predict_report unused;
    if (!report) report = &unused;
    nh_predict_job j = {.m = p->m,
                        .g = g,
                        .types = &p->types,
                        .method = p->o.method,
                        .devices = p->o.devices,
                        .precision = p->o.precision,
                        .report = report,
                        .progress = progress};
    *report = (nh_predict_report){0};
    const double begin = nh_seconds();
    /* A pool of one also keeps BLAS to one thread: its sums would depend on how many it uses. */
    nh_threads *own = NULL;
    int status = threads ? 0 : nh_threads_new(1, &own, err);
    j.threads = threads ? threads : own;
    if (!status) status = prepare(p, &j, err);
    report->n_edge = j.list.edges.n_edge;
    report->setup = nh_seconds() - begin;
    if (!status) status = run_sub_models(&j, p->servers, err);
    report->embed = 1e-9 * (double)atomic_load(&j.embed_ns);
    const double end = nh_seconds();
    if (!status && j.placed) status = take_corrections(&j, err);
    if (!status && p->o.hermitize) status = nh_hermitize(g, g->matrix[NH_H_PRED], err);
    if (!status) status = check_finite(g, err);
    report->finish = nh_seconds() - end;
    job_free(&j);
    nh_threads_free(own);
    return status;
}

int nh_predict(const nh_model *m, nh_graph *g, const nh_predict_options *o, nh_threads *threads,
               nh_predict_report *report, nh_progress *progress, nh_error *err)
{
    nh_predictor *p;
    if (nh_predictor_new(m, o, &p, err)) return -1;
    const int status = nh_predictor_run(p, g, threads, report, progress, err);
    nh_predictor_free(p);
    return status;
}
