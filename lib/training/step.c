#include "training/step.h"

#include "base/memory.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* One sub-model. */
typedef struct part {
    nh_submodel *net;
    size_t range;
    bool trained;
    nh_threads *inner; /* its own threads; NULL: the caller's */
    double norm;
    int status;
    nh_error error;
} part;

struct nh_stepper {
    const nh_settings *settings;
    nh_train_state *state;
    nh_team team;
    nh_types types;
    nh_embedding *embedding;
    nh_selection all, output; /* all of OUT; what is asked of the networks */
    nh_irreps input;          /* what they see of all, or of the elements */
    size_t *input_entry, *seen_at;
    nh_sample_kind crystals;
    const nh_submodel_kind *kind;
    nh_threads *threads;
    bool side_by_side; /* sub-models share the threads out among themselves */
    size_t n_part;
    part *part;               /* of this process */
    int owner[NH_MAX_RANGES]; /* of each sub-model: rank in team.crystal, -1: nobody's */
    size_t n_limit;
    double limit[2 * NH_MAX_RANGES + 2];
    bool with_trace, average;
    size_t room; /* edges that the buffers below have room for */
    double *ham, *trace, *g_ham, *g_trace;
    const nh_device *device; /* NULL: the CPU */
    nhk_outputs *outputs;    /* outputs and loss on it; NULL: here */
    bool on_device;          /* those of the crystal in hand */
    /* the loop in progress */
    const nh_sample *crystal;
    bool keep;
    double lr, factor;
};

void nh_stepper_free(nh_stepper *t)
{
    if (!t) return;
    if (t->outputs) t->device->call->outputs->drop(t->outputs);
    for (size_t i = 0; i < t->n_part; i++) {
        t->kind->drop(t->part[i].net);
        nh_threads_free(t->part[i].inner);
    }
    free(t->part);
    nh_threads_free(t->threads);
    nh_selection_free(&t->all);
    nh_irreps_free(&t->input);
    free(t->input_entry);
    free(t->seen_at);
    nh_selection_free(&t->output);
    nh_embedding_free(t->embedding);
    nh_types_free(&t->types);
    free(t->ham);
    free(t->trace);
    free(t->g_ham);
    free(t->g_trace);
    free(t);
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The bounds of all ranges and the cutoff, each once. */
static void find_limits(nh_stepper *t)
{
    const nh_config *c = &t->state->model->config;
    double all[2 * NH_MAX_RANGES + 2];
    size_t n = 0;
    all[n++] = 0;
    all[n++] = c->cutoff;
    for (size_t r = 0; r < c->n_range; r++)
        for (size_t i = 0; i < 2; i++)
            all[n++] = fmin(c->range[r][i], c->cutoff);
    qsort(all, n, sizeof *all, compare);
    for (size_t i = 0; i < n; i++)
        if (t->n_limit == 0 || all[i] > t->limit[t->n_limit - 1]) t->limit[t->n_limit++] = all[i];
}

/* True where the sub-model's output is zero whatever it sees. */
static bool silent(const nh_params *p, const nh_weights *w)
{
    for (size_t i = 0; i < p->count; i++) {
        if (strncmp(p->param[i].name, "edge_lin.", 9)) continue;
        for (size_t k = 0; k < p->param[i].count; k++)
            if ((w->as_double && w->as_double[i] && w->as_double[i][k] != 0) ||
                (w->as_float && w->as_float[i] && w->as_float[i][k] != 0))
                return false;
    }
    return true;
}

/* Zeroes the columns of edge_lin that lead to outputs nobody asks for: they never get a gradient, and zeros compress. */
static void clear_unused(const nh_params *p, const nh_selection *output, nh_weights *w)
{
    const size_t at = nh_params_find(p, "edge_lin.tp.weight");
    if (at == SIZE_MAX) return;
    const nh_irreps *in = p->param[at].in, *out = p->param[at].out_type;
    size_t first = 0;
    for (size_t i = 0; i < in->count; i++) {
        size_t next = 0; /* of the selection's entries, which ascend */
        for (size_t o = 0; o < out->count; o++) {
            while (next < output->irreps.count && output->entry[next] < o)
                next++;
            if (in->entry[i].l != out->entry[o].l || in->entry[i].p != out->entry[o].p) continue;
            const size_t n = in->entry[i].mul * out->entry[o].mul;
            if (next == output->irreps.count || output->entry[next] != o) {
                if (w->as_double && w->as_double[at]) memset(w->as_double[at] + first, 0, n * sizeof(double));
                if (w->as_float && w->as_float[at]) memset(w->as_float[at] + first, 0, n * sizeof(float));
            }
            first += n;
        }
    }
}

static int make_parts(nh_stepper *t, int threads, nh_error *err)
{
    nh_train_state *s = t->state;
    nh_model *m = s->model;
    const nh_tape_memory memory = t->settings->memory == NH_MEMORY_STORE ? NH_TAPE_STORE : NH_TAPE_RECOMPUTE;
    t->part = NH_ARRAY(part, m->n_range);
    if (!t->part) return nh_fail_memory(err, "sub-models");
    size_t found = 0;
    for (size_t r = 0; r < m->n_range; r++) {
        t->owner[r] = -1;
        if (!s->trained[r] && silent(&m->params, &m->weights[r])) continue;
        t->owner[r] = (int)(found++ % (size_t)t->team.crystal.count);
        if (t->owner[r] != t->team.crystal.rank) continue;
        part *p = &t->part[t->n_part++];
        p->range = r;
        p->trained = s->trained[r];
        nh_weights *average = s->average ? &s->average[r] : NULL;
        const nh_submodel_numbers numbers = {&m->params, &m->weights[r], &s->m[r], &s->v[r], average};
        if (p->trained && s->fresh) {
            clear_unused(&m->params, &t->output, &m->weights[r]);
            if (average) clear_unused(&m->params, &t->output, average);
        }
        if (t->kind->make(m, &t->types, r, &t->input, t->input_entry, &t->output, t->with_trace, memory,
                          t->settings->method, &p->net, err) ||
            (p->trained && t->kind->train(p->net, &numbers, err)))
            return nh_fail_at(err, "sub-model range%zu", r);
    }
    const int outer = threads < (int)t->n_part ? threads : (int)t->n_part;
    t->side_by_side = outer > 1;
    if (outer > 1 && threads / outer > 1)
        for (size_t i = 0; i < t->n_part; i++)
            if (nh_threads_new(threads / outer, &t->part[i].inner, err)) return -1;
    return 0;
}

/* The entries that the networks see: all, or those that a Hamiltonian with time reversal has. (nhinfer gives the others too;
 * they are zero.) */
static int choose_input(nh_stepper *t, nh_error *err)
{
    const nh_irreps *all = &t->all.irreps;
    if (t->state->model->config.input == NH_INPUT_ELEMENTS) {
        t->input_entry = NH_ARRAY(size_t, 1);
        return t->input_entry ? nh_irreps_copy(&t->types.in, &t->input, err)
                              : nh_fail_memory(err, "feature vectors");
    }
    bool *even = NH_ARRAY(bool, all->dim);
    size_t *mul = NH_ARRAY(size_t, all->count), n = 0, at = 0, to = 0;
    int *l = NH_ARRAY(int, all->count), *p = NH_ARRAY(int, all->count);
    t->input_entry = NH_ARRAY(size_t, all->count);
    t->seen_at = NH_ARRAY(size_t, all->dim);
    int status =
        even && mul && l && p && t->input_entry && t->seen_at ? 0 : nh_fail_memory(err, "feature vectors");
    if (!status && t->state->model->config.h0 == NH_H0_TIME_REVERSAL)
        nh_selection_time_even(t->embedding, &t->all, even);
    else if (!status)
        memset(even, 1, all->dim * sizeof *even);
    for (size_t i = 0; !status && i < all->count; i++) {
        const size_t width = all->entry[i].mul * (size_t)(2 * all->entry[i].l + 1);
        for (size_t k = 0; k < width; k++)
            t->seen_at[at + k] = even[at] ? to + k : SIZE_MAX;
        if (even[at]) {
            mul[n] = all->entry[i].mul;
            l[n] = all->entry[i].l;
            p[n] = all->entry[i].p;
            t->input_entry[n++] = t->all.entry[i];
            to += width;
        }
        at += width;
    }
    if (!status) status = nh_irreps_build(n, mul, l, p, &t->input, err);
    free(even);
    free(mul);
    free(l);
    free(p);
    return status;
}

int nh_stepper_new(const nh_settings *s, nh_train_state *state, nh_team team, int threads, nh_stepper **out,
                   nh_error *err)
{
    const nh_config *c = &state->model->config;
    nh_stepper *t = NH_ARRAY(nh_stepper, 1);
    *out = NULL;
    if (!t) return nh_fail_memory(err, "training");
    t->settings = s;
    t->state = state;
    t->team = team;
    t->kind = s->as_double ? nh_submodel_kind_d() : nh_submodel_kind_f();
    t->with_trace = s->loss.lambda_c > 0;
    const bool padding = s->loss.kind == NH_LOSS_REFERENCE;
    const nh_embedding_part answer = c->reconstruct == NH_RECONSTRUCT_UU ? NH_PART_REAL : NH_PART_SCALAR;
    if (nh_threads_new(threads, &t->threads, err) || nh_types_new(c, &t->types, err) ||
        nh_embedding_new(c->n_shell, c->shell_l, &t->embedding, err) ||
        nh_selection_new(t->embedding, NH_PART_ALL, NULL, &t->all, err) || choose_input(t, err) ||
        nh_selection_new(t->embedding, answer, NULL, &t->output, err) || make_parts(t, threads, err)) {
        nh_stepper_free(t);
        return -1;
    }
    const nh_loss_settings *l = &s->loss;
    t->crystals = (nh_sample_kind){.config = c,
                                   .embedding = t->embedding,
                                   .input = &t->all,
                                   .seen_at = t->seen_at,
                                   .output = &t->output,
                                   .as_double = s->as_double,
                                   .padding = padding,
                                   .with_k = l->lambda_p > 0 || l->lambda_q > 0 || l->lambda_pq > 0,
                                   .k = {.mesh = {l->k_mesh[0], l->k_mesh[1], l->k_mesh[2]},
                                         .energy_cut = l->energy_cut,
                                         .cut = l->cut,
                                         .shift = l->k_shift}};
    find_limits(t);
    t->crystals.limit = t->limit;
    t->crystals.n_limit = t->n_limit - 1;
    *out = t;
    return 0;
}

int nh_stepper_place(nh_stepper *t, const nh_device *device, nh_error *err)
{
    if (!device) return 0;
    t->side_by_side = false; /* a device serves one thread */
    for (size_t i = 0; i < t->n_part; i++)
        if (t->kind->place(t->part[i].net, device, err))
            return nh_fail_at(err, "sub-model range%zu", t->part[i].range);
    t->device = device;
    if (t->team.crystal.count > 1) return 0; /* outputs are summed over processes: on the host */
    return device->call->outputs->make(device->gpu, t->output.irreps.dim,
                                       t->with_trace ? t->types.n_shell_pair : 0, &t->outputs, err);
}

const nh_sample_kind *nh_stepper_kind(const nh_stepper *t)
{
    return &t->crystals;
}

size_t nh_stepper_k_points(const nh_stepper *t)
{
    return t->crystals.with_k ? nh_kspace_points(&t->crystals.k) : 0;
}

size_t nh_stepper_limits(const nh_stepper *t, const double **limit)
{
    *limit = t->limit;
    return t->n_limit - 1;
}

bool nh_stepper_on_device(const nh_stepper *t)
{
    return t->on_device;
}

const nh_weights *nh_stepper_gradient(const nh_stepper *t, size_t range)
{
    for (size_t i = 0; i < t->n_part; i++)
        if (t->part[i].range == range && t->part[i].trained) return t->kind->gradient(t->part[i].net, NULL);
    return NULL;
}

/* --- loops over the sub-models --- */

static int for_parts(nh_stepper *t, void (*body)(void *stepper, size_t part, int thread), nh_error *err)
{
    if (t->side_by_side)
        nh_parallel_for(t->threads, t->n_part, body, t);
    else
        for (size_t i = 0; i < t->n_part; i++)
            body(t, i, 0);
    for (size_t i = 0; i < t->n_part; i++)
        if (t->part[i].status) {
            if (err) *err = t->part[i].error;
            return nh_fail_at(err, "sub-model range%zu", t->part[i].range);
        }
    return 0;
}

static nh_threads *threads_of(const nh_stepper *t, const part *p)
{
    return t->side_by_side ? p->inner : t->threads;
}

static void run_forward(void *stepper, size_t i, int thread)
{
    nh_stepper *t = stepper;
    part *p = &t->part[i];
    (void)thread;
    p->status = t->kind->forward(p->net, t->crystal, t->keep && p->trained, t->ham, t->trace,
                                 threads_of(t, p), &p->error);
}

static void run_backward(void *stepper, size_t i, int thread)
{
    nh_stepper *t = stepper;
    part *p = &t->part[i];
    (void)thread;
    p->status = !p->trained ? 0
                            : t->kind->backward(p->net, t->g_ham, t->with_trace ? t->g_trace : NULL,
                                                threads_of(t, p), &p->error);
}

static void run_norm(void *stepper, size_t i, int thread)
{
    nh_stepper *t = stepper;
    part *p = &t->part[i];
    (void)thread;
    p->norm = 0;
    p->status = p->trained ? t->kind->norm(p->net, &p->norm, &p->error) : 0;
    p->norm *= t->factor;
}

static void run_step(void *stepper, size_t i, int thread)
{
    nh_stepper *t = stepper;
    part *p = &t->part[i];
    const nh_optimizer_settings *o = &t->settings->optimizer;
    (void)thread;
    const double factor = o->clip > 0 && p->norm > o->clip ? t->factor * (o->clip / p->norm) : t->factor;
    p->status = !p->trained ? 0
                            : t->kind->step(p->net, o, t->lr, t->state->updates + 1, factor, threads_of(t, p),
                                            &p->error);
}

static void run_clear(void *stepper, size_t i, int thread)
{
    nh_stepper *t = stepper;
    part *p = &t->part[i];
    (void)thread;
    p->status = p->trained ? t->kind->clear(p->net, threads_of(t, p), &p->error) : 0;
}

static void run_load(void *stepper, size_t i, int thread)
{
    nh_stepper *t = stepper;
    part *p = &t->part[i];
    (void)thread;
    p->status = p->trained ? t->kind->load(p->net, t->average, threads_of(t, p), &p->error) : 0;
}

static void run_fetch(void *stepper, size_t i, int thread)
{
    nh_stepper *t = stepper;
    part *p = &t->part[i];
    (void)thread;
    p->status = p->trained ? t->kind->fetch(p->net, &p->error) : 0;
}

/* --- the steps --- */

static int make_room(nh_stepper *t, size_t n_edge, nh_error *err)
{
    const size_t dim = t->output.irreps.dim, n_pair = t->types.n_shell_pair;
    size_t ham, trace;
    if (n_edge > t->room) {
        free(t->ham);
        free(t->trace);
        free(t->g_ham);
        free(t->g_trace);
        t->ham = t->trace = t->g_ham = t->g_trace = NULL;
        t->room = 0;
        if (!nh_size_mul(n_edge, dim, &ham) || !nh_size_mul(n_edge, n_pair, &trace))
            return nh_fail_memory(err, "outputs");
        t->ham = NH_ARRAY(double, ham);
        t->g_ham = NH_ARRAY(double, ham);
        t->trace = NH_ARRAY(double, trace);
        t->g_trace = NH_ARRAY(double, trace);
        if (!t->ham || !t->g_ham || !t->trace || !t->g_trace) return nh_fail_memory(err, "outputs");
        t->room = n_edge;
    }
    /* Beyond the ranges no sub-model answers. */
    memset(t->ham, 0, n_edge * dim * sizeof *t->ham);
    memset(t->trace, 0, n_edge * n_pair * sizeof *t->trace);
    return 0;
}

/* The sub-models with their outputs on the device, where there is room for them and for the loss. */
static int forward_there(nh_stepper *t, const nh_sample *c, size_t n_state, const nh_kstates *states,
                         nh_error *err)
{
    if (!t->outputs) return 0;
    const nh_loss_task task = {
        .n_state = n_state, .state = states, .outputs = t->outputs, .with_gradients = t->keep};
    if (nh_loss_begin(c->loss, t->device, &task, &t->on_device, err)) return -1;
    if (!t->on_device) return 0;
    for (size_t i = 0; i < t->n_part; i++)
        t->kind->connect(t->part[i].net, t->device, t->outputs);
    if (for_parts(t, run_forward, NULL) == 0) return 0;
    t->device->call->outputs->drop(
        t->outputs); /* perhaps the sub-models need the room; from now on the loss is the host's */
    t->outputs = NULL;
    t->on_device = false;
    return 0;
}

/* Outputs of all sub-models on a crystal, for the loss at these states. */
static int forward(nh_stepper *t, const nh_sample *c, bool keep, size_t n_state, const nh_kstates *states,
                   nh_error *err)
{
    t->crystal = c;
    t->keep = keep;
    t->on_device = false;
    if (forward_there(t, c, n_state, states, err)) return -1;
    if (t->on_device) return 0;
    for (size_t i = 0; t->device && i < t->n_part; i++)
        t->kind->connect(t->part[i].net, t->device, NULL);
    if (make_room(t, c->list.edges.n_edge, err) || for_parts(t, run_forward, err)) return -1;
    nh_ranks_sum(&t->team.crystal, c->list.edges.n_edge * t->output.irreps.dim, t->ham);
    if (t->with_trace) nh_ranks_sum(&t->team.crystal, c->list.edges.n_edge * t->types.n_shell_pair, t->trace);
    return 0;
}

/* The loss; with gradients into g_ham and g_trace. */
static int evaluate(nh_stepper *t, const nh_sample *c, bool squared, bool gradients, size_t n_state,
                    const nh_kstates *states, nh_loss_terms *terms, nh_error *err)
{
    const nh_loss_settings *l = &t->settings->loss;
    const nh_loss_options o = {.kind = l->kind,
                               .squared = squared,
                               .lambda_c = l->lambda_c,
                               .lambda_r = l->lambda_r,
                               .lambda_p = l->lambda_p,
                               .lambda_q = l->lambda_q,
                               .lambda_pq = l->lambda_pq};
    const nh_loss_task there = {.options = &o,
                                .n_state = n_state,
                                .state = states,
                                .outputs = t->outputs,
                                .with_trace = t->with_trace,
                                .with_gradients = gradients},
                       here = {.options = &o,
                               .n_state = n_state,
                               .state = states,
                               .ham = t->ham,
                               .trace = t->with_trace ? t->trace : NULL,
                               .g_ham = gradients ? t->g_ham : NULL,
                               .g_trace = gradients && t->with_trace ? t->g_trace : NULL,
                               .threads = t->threads};
    return nh_loss_evaluate(c->loss, t->on_device ? &there : &here, terms, err);
}

/* The states at n_k k-points of a crystal; free_states. */
static int read_states(const nh_sample *c, size_t n_k, const size_t *k, nh_kstates **states, double ***buffer,
                       nh_error *err)
{
    *states = NH_ARRAY(nh_kstates, n_k);
    *buffer = NH_ARRAY(double *, n_k);
    if (!*states || !*buffer) return nh_fail_memory(err, "k-space states");
    for (size_t i = 0; i < n_k; i++)
        if (nh_kcache_read(c->k, k[i], &(*states)[i], &(*buffer)[i], err)) return -1;
    return 0;
}

static void free_states(size_t n_k, nh_kstates *states, double **buffer)
{
    for (size_t i = 0; buffer && i < n_k; i++)
        free(buffer[i]);
    free(buffer);
    free(states);
}

int nh_stepper_add_at(nh_stepper *t, const nh_sample *c, bool squared, size_t n_state,
                      const nh_kstates *states, nh_loss_terms *terms, nh_error *err)
{
    int status = forward(t, c, true, n_state, states, err) ||
                         evaluate(t, c, squared, true, n_state, states, terms, err)
                     ? -1
                     : 0;
    /* A loss that is not finite spoils the step: the caller skips it, and its gradient would be worth nothing. */
    if (!status && isfinite(terms->loss_h)) status = for_parts(t, run_backward, err);
    return status ? nh_fail_at(err, "%s", c->name) : 0;
}

int nh_stepper_add(nh_stepper *t, const nh_sample *c, bool squared, size_t n_k, const size_t *k,
                   nh_loss_terms *terms, nh_error *err)
{
    nh_kstates *states = NULL;
    double **buffer = NULL;
    if (!c->k) n_k = 0;
    int status = read_states(c, n_k, k, &states, &buffer, err);
    if (!status) status = nh_stepper_add_at(t, c, squared, n_k, states, terms, err);
    free_states(n_k, states, buffer);
    return status;
}

int nh_stepper_apply(nh_stepper *t, double lr, size_t count, bool skip, double *norm, bool *done,
                     nh_error *err)
{
    t->lr = lr;
    t->factor = 1 / (double)count;
    *norm = NAN;
    int status = 0;
    for (size_t i = 0; !status && !skip && i < t->n_part; i++)
        if (t->part[i].trained) status = t->kind->sum(t->part[i].net, &t->team.peers, err);
    if (!status && !skip) status = for_parts(t, run_norm, err);
    if (!status && !skip) {
        double sum = 0;
        for (size_t i = 0; i < t->n_part; i++)
            sum += t->part[i].norm * t->part[i].norm;
        nh_ranks_sum(&t->team.crystal, 1, &sum);
        *norm = sqrt(sum);
    }
    *done = !status && !skip && isfinite(*norm);
    if (*done) {
        status = for_parts(t, run_step, err);
        t->state->updates++;
    }
    return status ? status : for_parts(t, run_clear, err);
}

int nh_stepper_gather(nh_stepper *t, nh_error *err)
{
    nh_train_state *s = t->state;
    if (for_parts(t, run_fetch, err)) return -1;
    for (size_t r = 0; r < s->model->n_range; r++) {
        nh_weights *const list[] = {&s->model->weights[r], &s->m[r], &s->v[r],
                                    s->average ? &s->average[r] : NULL};
        for (size_t i = 0; s->trained[r] && i < sizeof list / sizeof *list; i++)
            if (list[i]) nh_ranks_share_weights(&t->team.crystal, t->owner[r], &s->model->params, list[i]);
    }
    return 0;
}

int nh_stepper_load(nh_stepper *t, bool average, nh_error *err)
{
    t->average = average;
    return for_parts(t, run_load, err);
}

/* The sums of the sub-models' outputs from the device: t->ham. */
static int fetch(nh_stepper *t, const nh_sample *c, nh_error *err)
{
    if (make_room(t, c->list.edges.n_edge, err)) return -1;
    return t->device->call->outputs->download(t->outputs, false, t->ham, NULL, err);
}

int nh_stepper_evaluate(nh_stepper *t, const nh_sample *c, bool base, size_t k, nh_sample_metrics *out,
                        nh_loss_terms *terms, nh_error *err)
{
    nh_kstates *states = NULL;
    double **buffer = NULL;
    const size_t n_k = c->k && !base ? 1 : 0;
    int status = 0;
    if (!base) {
        status = read_states(c, n_k, &k, &states, &buffer, err);
        if (!status) status = forward(t, c, false, n_k, states, err);
        if (!status && t->on_device) status = fetch(t, c, err);
        if (!status) status = evaluate(t, c, false, false, n_k, states, terms, err);
        free_states(n_k, states, buffer);
    }
    if (!status)
        status = nh_loss_gauge_mae(c->loss, base ? NULL : t->ham, true, out->region, t->n_limit - 1, t->limit,
                                   out->range, err);
    return status ? nh_fail_at(err, "%s", c->name) : 0;
}
