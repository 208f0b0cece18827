#include "training/trainer.h"

#include "base/memory.h"
#include "base/progress.h"
#include "crystal/basis_names.h"
#include "training/adam.h"
#include "training/schedule.h"
#include "training/loader.h"

#include <math.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

enum { TRAIN, VALIDATION, TEST, N_LISTS };

struct nh_trainer {
    const nh_settings *settings;
    nh_train_state *state;
    const nh_trainer_hooks *hooks;
    nh_team team;
    bool quiet;
    nh_stepper *stepper;
    nh_sample_kind kind;
    char *list[N_LISTS]; /* names of the lists, borrowed */
    nh_names names[N_LISTS];
    size_t first[N_LISTS + 1]; /* number of each list's first crystal in the loader */
    nh_loader *loader;
    size_t unsaved;   /* steps since the state was saved */
    nh_weights *best; /* [n_range] of the best epoch since then; written with the state */
    bool have_best;
    nh_epoch_report best_report;
    bool have_base;
    nh_metrics h0, base; /* of the validation list */
};

static const char *path_of(const nh_trainer *t, size_t index, int *list, size_t *line)
{
    for (int l = 0; l < N_LISTS; l++)
        if (index < t->first[l + 1]) {
            const size_t i = index - t->first[l];
            if (list) *list = l;
            if (line) *line = t->names[l].line[i];
            return t->names[l].name[i];
        }
    return NULL;
}

static int make_crystal(void *context, size_t index, void **thing, size_t *bytes, nh_error *err)
{
    nh_trainer *t = context;
    const char *path = path_of(t, index, NULL, NULL);
    nh_graph *g;
    nh_sample *c;
    if (t->hooks->read(t->hooks->context, path, NH_WANT_H0 | NH_WANT_LABEL | NH_WANT_OVERLAP, &g, err))
        return -1;
    if (nh_sample_new(&t->kind, path, g, &c, err)) return -1;
    *thing = c;
    *bytes = c->bytes;
    return 0;
}

static void drop_crystal(void *context, void *thing)
{
    (void)context;
    nh_sample_free(thing);
}

void nh_trainer_free(nh_trainer *t)
{
    if (!t) return;
    nh_loader_free(t->loader);
    for (size_t r = 0; t->best && r < t->state->model->n_range; r++)
        nh_weights_free(&t->best[r]);
    free(t->best);
    for (int l = 0; l < N_LISTS; l++)
        nh_names_free(&t->names[l]);
    nh_stepper_free(t->stepper);
    free(t);
}

int nh_trainer_new(const nh_trainer_task *task, nh_trainer **out, nh_error *err)
{
    const nh_settings *s = task->settings;
    nh_train_state *state = task->state;
    nh_trainer *t = NH_ARRAY(nh_trainer, 1);
    *out = NULL;
    if (!t) return nh_fail_memory(err, "training");
    t->settings = s;
    t->state = state;
    t->hooks = task->hooks;
    t->team = task->team;
    t->quiet = task->quiet || task->team.all.rank > 0;
    t->list[TRAIN] = s->train;
    t->list[VALIDATION] = s->validation;
    t->list[TEST] = s->test;
    int status = 0;
    for (int l = 0; !status && l < N_LISTS; l++) {
        if (t->list[l]) status = nh_names_read(t->list[l], &t->names[l], err);
        t->first[l + 1] = t->first[l] + t->names[l].count;
    }
    if (!status) status = nh_stepper_new(s, state, task->team, task->threads, &t->stepper, err);
    if (!status) status = nh_stepper_place(t->stepper, task->device, err);
    const nh_model *m = state->model;
    if (!status && !(t->best = NH_ARRAY(nh_weights, m->n_range))) status = nh_fail_memory(err, "best model");
    for (size_t r = 0; !status && r < m->n_range; r++)
        status = nh_weights_zero_like(&m->params, &m->weights[r], &t->best[r], err);
    if (!status) {
        t->kind = *nh_stepper_kind(t->stepper);
        t->kind.k_folder = task->k_folder;
        status = nh_loader_new(t->first[N_LISTS], s->cache, s->prefetch, make_crystal, drop_crystal, t,
                               &t->loader, err);
    }
    if (status)
        nh_trainer_free(t);
    else
        *out = t;
    return status;
}

const nh_stepper *nh_trainer_stepper(const nh_trainer *t)
{
    return t->stepper;
}

/* --- the check before training --- */

enum { MAX_ELEMENTS = 128 };

/* Shells of each element as the first file that has it lists them. */
typedef struct basis_table {
    char *shells[MAX_ELEMENTS];
    size_t file[MAX_ELEMENTS];
} basis_table;

static int check_basis(const nh_trainer *t, basis_table *b, const nh_graph *g, size_t index, nh_error *err)
{
    const nh_structure *s = &g->structure;
    for (size_t k = 0; k < s->n_species; k++) {
        const int z = s->atomic_number[k];
        if (z < 0 || z >= MAX_ELEMENTS) continue;
        const size_t first = s->shell_start[k];
        char *text = nh_shells_text(s->shell_start[k + 1] - first, s->shell_l + first);
        if (!text) return nh_fail_memory(err, "shells");
        if (!b->shells[z]) {
            b->shells[z] = text;
            b->file[z] = index;
            continue;
        }
        const bool same = !strcmp(b->shells[z], text);
        if (!same)
            nh_fail(err, "%s: mixed bases: %s has the shells %s here and %s in %s",
                    path_of(t, index, NULL, NULL), nh_element_symbol(z), text, b->shells[z],
                    path_of(t, b->file[z], NULL, NULL));
        free(text);
        if (!same) return -1;
    }
    return 0;
}

/* Files of one element must be the same in all training data. `known`: of those before. */
static int check_files(char **known, const char *names, const char *what, const char *path, nh_error *err)
{
    char *const differ = nh_basis_names_differ(*known, names);
    int status = differ == NULL ? nh_fail_memory(err, "names of the basis")
                 : *differ != '\0'
                     ? nh_fail(err, "%s: mixed bases: another %s file of %s than in the files before", path,
                               what, differ)
                     : nh_basis_names_join(known, names, err);
    free(differ);
    return status;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(**(char *const *const *)a, **(char *const *const *)b);
}

/* repeated[i]: name i of the list is one of several, and not the one that counts (for a crystal to have a larger weight). */
static int find_repeated(const nh_names *names, bool *repeated, nh_error *err)
{
    char ***sorted = NH_ARRAY(char **, names->count + 1);
    if (!sorted) return nh_fail_memory(err, "names of the crystals");
    for (size_t i = 0; i < names->count; i++)
        sorted[i] = &names->name[i];
    qsort(sorted, names->count, sizeof *sorted, compare_names);
    for (size_t i = 1; i < names->count; i++)
        repeated[sorted[i] - names->name] = strcmp(*sorted[i - 1], *sorted[i]) == 0;
    free(sorted);
    return 0;
}

int nh_trainer_check(nh_trainer *t, nh_error *err)
{
    basis_table b = {0};
    nh_elements seen = {0};
    char *orbitals = NULL, *pseudos = NULL;
    bool *repeated = NH_ARRAY(bool, t->names[TRAIN].count + 1);
    int status = repeated ? find_repeated(&t->names[TRAIN], repeated, err)
                          : nh_fail_memory(err, "names of the crystals");
    nh_progress *progress = nh_progress_start("check", "files", t->first[N_LISTS], t->quiet);
    for (size_t i = 0; !status && i < t->first[N_LISTS]; i++) {
        int list;
        size_t line;
        nh_graph *g = NULL;
        const char *path = path_of(t, i, &list, &line);
        status = t->hooks->read(t->hooks->context, path, 0, &g, err);
        if (!status && g->convergence < 0 && !t->settings->unconverged)
            status = nh_fail(
                err,
                "%s: the self-consistency of its label did not converge (unconverged: true in data takes it)",
                path);
        if (!status) status = nh_sample_check(&t->kind, path, g, err);
        if (!status) status = check_basis(t, &b, g, i, err);
        if (!status && list == TRAIN) {
            if (!repeated[i]) nh_elements_add(&seen, &g->structure);
            status = check_files(&orbitals, g->orbital_hash, "orbital", path, err);
            if (!status) status = check_files(&pseudos, g->pseudo_hash, "pseudopotential", path, err);
        }
        nh_graph_free(g);
        if (status) nh_fail_at(err, "%s:%zu", t->list[list], line);
        nh_progress_add(progress, 1);
    }
    nh_progress_end(progress);
    for (size_t z = 0; z < MAX_ELEMENTS; z++)
        free(b.shells[z]);
    free(repeated);
    if (!status) nh_elements_join(&t->state->model->elements, &seen);
    if (!status) status = nh_basis_names_join(&t->state->model->orbital_hash, orbitals, err);
    if (!status) status = nh_basis_names_join(&t->state->model->pseudo_hash, pseudos, err);
    free(orbitals);
    free(pseudos);
    return status;
}

/* --- metrics --- */

static void add_metrics(nh_metrics *s, size_t n_range, size_t *in_range, const nh_sample_metrics *j)
{
    for (size_t i = 0; i < NH_GAUGE_N_REGION; i++)
        s->region[i] += j->region[i].part[NH_GAUGE_COMPLEX].mae;
    for (size_t i = 0; i < n_range; i++)
        if (j->range[i].n_elem > 0) {
            s->range[i] += j->range[i].part[NH_GAUGE_COMPLEX].mae;
            in_range[i]++;
        }
    s->n_crystal++;
}

/* Over the groups; the processes of a group have the same numbers. */
static void sum_metrics(const nh_trainer *t, nh_metrics *s, size_t n_range, size_t *in_range)
{
    double count = (double)s->n_crystal, in[2 * NH_MAX_RANGES + 2];
    for (size_t i = 0; i < n_range; i++)
        in[i] = (double)in_range[i];
    nh_ranks_sum(&t->team.peers, 1, &count);
    nh_ranks_sum(&t->team.peers, 1, &s->loss_h);
    nh_ranks_sum(&t->team.peers, NH_GAUGE_N_REGION, s->region);
    nh_ranks_sum(&t->team.peers, n_range, s->range);
    nh_ranks_sum(&t->team.peers, n_range, in);
    s->n_crystal = (size_t)count;
    for (size_t i = 0; i < n_range; i++)
        in_range[i] = (size_t)in[i];
}

static void mean_metrics(nh_metrics *s, size_t n_range, const size_t *in_range)
{
    for (size_t i = 0; i < NH_GAUGE_N_REGION; i++)
        s->region[i] /= (double)s->n_crystal;
    for (size_t i = 0; i < n_range; i++)
        s->range[i] = in_range[i] ? s->range[i] / (double)in_range[i] : NAN;
    s->loss_h /= (double)s->n_crystal;
}

int nh_trainer_evaluate(nh_trainer *t, int list, nh_evaluated what, const volatile sig_atomic_t *stop,
                        bool *stopped, nh_metrics *out, nh_metrics *h0, nh_error *err)
{
    const double *limit;
    const size_t n = t->names[list].count, n_range = nh_stepper_limits(t->stepper, &limit);
    const size_t n_k = nh_stepper_k_points(t->stepper);
    size_t in_range[2][2 * NH_MAX_RANGES + 2] = {{0}};
    nh_metrics unused;
    if (!h0) h0 = &unused;
    *out = *h0 = (nh_metrics){0};
    h0->loss_h = NAN;
    if (what == NH_EVALUATE_BASE) out->loss_h = NAN;
    *stopped = false;
    size_t *order = NH_ARRAY(size_t, n);
    if (!order) return nh_fail_memory(err, "order of the crystals");
    size_t own = 0;
    const size_t first = (size_t)t->team.peers.rank, stride = (size_t)t->team.peers.count;
    for (size_t i = first; i < n; i += stride)
        order[own++] = t->first[list] + i;
    int status = nh_loader_plan(t->loader, own, order, err);
    free(order);
    for (size_t i = first; !status && i < n; i += stride) {
        void *thing;
        nh_sample_metrics metrics;
        nh_loss_terms terms = {0};
        if (nh_ranks_max(&t->team.crystal, *stop != 0)) break; /* a group stops together */
        status = nh_loader_take(t->loader, &thing, err);
        if (status) break;
        const nh_sample *c = thing;
        /* A k-point of its own for each crystal, the same ones every time. */
        status = nh_stepper_evaluate(t->stepper, c, what == NH_EVALUATE_BASE, n_k ? i % n_k : 0, &metrics,
                                     &terms, err);
        if (!status) {
            add_metrics(out, n_range, in_range[0], &metrics);
            add_metrics(h0, n_range, in_range[1], &c->h0);
            out->loss_h += terms.loss_h;
        }
        nh_loader_release(t->loader, thing);
    }
    if (status) return -1;
    *stopped = nh_ranks_max(&t->team.all, *stop != 0) != 0;
    if (*stopped) return 0;
    sum_metrics(t, out, n_range, in_range[0]);
    sum_metrics(t, h0, n_range, in_range[1]);
    mean_metrics(out, n_range, in_range[0]);
    mean_metrics(h0, n_range, in_range[1]);
    return 0;
}

/* --- the loop --- */

/* The best model first: if the run is killed in between, that epoch is done again and gives it again. */
static int save(nh_trainer *t, nh_error *err)
{
    t->unsaved = 0;
    if (nh_stepper_gather(t->stepper, err)) return -1;
    if (t->team.all.rank > 0) return 0;
    if (t->have_best && t->hooks->save_best(t->hooks->context, t->state, t->best, &t->best_report, err))
        return -1;
    t->have_best = false;
    return t->hooks->save(t->hooks->context, t->state, err);
}

/* Whether crystal i of a step is this group's. */
static bool is_own(const nh_trainer *t, size_t i)
{
    return i % (size_t)t->team.peers.count == (size_t)t->team.peers.rank;
}

/* One step with the next `count` crystals of the epoch, of which the plan has this group's share. */
static int train_step(nh_trainer *t, double lr, bool squared, size_t count, nh_error *err)
{
    nh_train_state *s = t->state;
    const size_t n_k = nh_stepper_k_points(t->stepper), per_step = t->settings->loss.k_per_step;
    size_t *k = NH_ARRAY(size_t, per_step);
    double norm, sum[NH_N_SUMS] = {0};
    bool skip = false, done;
    int status = k ? 0 : nh_fail_memory(err, "k-points");
    for (size_t i = 0; !status && i < count; i++) {
        void *crystal;
        nh_loss_terms l = {0};
        /* Every process draws for all, so that their numbers stay the same. */
        for (size_t j = 0; j < per_step && n_k > 0; j++)
            k[j] = (size_t)(nh_random_uniform(&s->random) * (double)n_k);
        if (!is_own(t, i)) continue;
        status = nh_loader_take(t->loader, &crystal, err);
        if (status) break;
        status = nh_stepper_add(t->stepper, crystal, squared, n_k ? per_step : 0, k, &l, err);
        nh_loader_release(t->loader, crystal);
        const double terms[] = {l.total, l.loss_h, l.loss_trace, l.r, l.p, l.q, l.pq, l.mu};
        for (size_t j = 0; j < sizeof terms / sizeof *terms; j++)
            sum[NH_SUM_TOTAL + j] += terms[j];
        skip = skip || !isfinite(l.loss_h);
    }
    free(k);
    if (!status) {
        nh_ranks_sum(&t->team.peers, NH_N_SUMS, sum);
        skip = nh_ranks_max(&t->team.all, skip) != 0;
    }
    if (!status) status = nh_stepper_apply(t->stepper, lr, count, skip, &norm, &done, err);
    if (status) return -1;
    t->unsaved++;
    s->step++;
    s->position += count;
    if (!done) {
        s->skipped++;
        s->sum[NH_SUM_SKIPPED]++;
        return 0;
    }
    for (size_t j = NH_SUM_TOTAL; j <= NH_SUM_MU; j++)
        s->sum[j] += sum[j];
    s->sum[NH_SUM_NORM] += norm;
    s->sum[NH_SUM_STEPS]++;
    s->sum[NH_SUM_COUNT] += (double)count;
    return 0;
}

/* What is left of the epoch in progress; *stopped: the state is saved in the middle of it. */
static int train_epoch(nh_trainer *t, double lr, bool squared, const volatile sig_atomic_t *stop,
                       bool *stopped, nh_error *err)
{
    const nh_settings *o = t->settings;
    nh_train_state *s = t->state;
    const size_t n = t->names[TRAIN].count;
    size_t *order = NH_ARRAY(size_t, n);
    if (!order) return nh_fail_memory(err, "order of the crystals");
    nh_epoch_order(o->seed, s->epoch, n, order);
    const size_t step = o->accumulate * (size_t)t->team.peers.count;
    size_t own = 0;
    for (size_t i = s->position; i < n; i++)
        if (is_own(t, (i - s->position) % step)) order[own++] = order[i];
    int status = own > 0 ? nh_loader_plan(t->loader, own, order, err) : 0;
    free(order);
    char name[64];
    snprintf(name, sizeof name, "epoch %llu", (unsigned long long)s->epoch);
    nh_progress *progress = nh_progress_start(name, "crystals", n, t->quiet);
    nh_progress_add(progress, s->position);
    double last = nh_seconds();
    while (!status && s->position < n && !*stopped) {
        const size_t left = n - s->position, count = left < step ? left : step;
        status = train_step(t, lr, squared, count, err);
        const double now = nh_seconds();
        s->sum[NH_SUM_SECONDS] += now - last;
        last = now;
        nh_progress_add(progress, count);
        if (!status) *stopped = nh_ranks_max(&t->team.all, *stop != 0) != 0;
        if (!status && (*stopped || (t->unsaved >= o->checkpoint_steps && s->position < n)))
            status = save(t, err);
    }
    nh_progress_end(progress);
    return status;
}

static int validate(nh_trainer *t, nh_epoch_report *r, const volatile sig_atomic_t *stop, bool *stopped,
                    nh_error *err)
{
    if (t->names[VALIDATION].count == 0) return 0;
    if (!t->have_base) {
        if (nh_trainer_evaluate(t, VALIDATION, NH_EVALUATE_BASE, stop, stopped, &t->base, &t->h0, err))
            return -1;
        if (*stopped) return 0;
        t->have_base = true;
    }
    if (t->state->average && nh_stepper_load(t->stepper, true, err)) return -1;
    int status =
        nh_trainer_evaluate(t, VALIDATION, NH_EVALUATE_PREDICTION, stop, stopped, &r->prediction, NULL, err);
    if (t->state->average && nh_stepper_load(t->stepper, false, status ? NULL : err)) status = -1;
    r->h0 = t->h0;
    r->base = t->base;
    r->validated = true;
    return status;
}

static int finish_epoch(nh_trainer *t, nh_epoch_report *r, nh_error *err)
{
    nh_train_state *s = t->state;
    const double count = s->sum[NH_SUM_COUNT];
    for (size_t i = NH_SUM_TOTAL; i <= NH_SUM_MU; i++)
        r->train[i] = count > 0 ? s->sum[i] / count : NAN;
    r->train[NH_SUM_NORM] = count > 0 ? s->sum[NH_SUM_NORM] / s->sum[NH_SUM_STEPS] : NAN;
    r->step = s->step;
    r->skipped = (uint64_t)s->sum[NH_SUM_SKIPPED];
    r->seconds = s->sum[NH_SUM_SECONDS];
    r->n_range = nh_stepper_limits(t->stepper, &r->limit);
    r->kept = nh_loader_kept(t->loader, &r->kept_bytes);
    const double score = r->validated ? r->prediction.region[NH_GAUGE_OVERALL] : r->train[NH_SUM_LOSS_H];
    r->best = score < s->best;
    if (r->best) {
        s->best = score;
        s->best_epoch = s->epoch;
        if (nh_stepper_gather(t->stepper, err)) return -1;
        for (size_t i = 0; i < s->model->n_range; i++)
            nh_weights_copy(&s->model->params, &t->best[i],
                            s->average && s->trained[i] ? &s->average[i] : &s->model->weights[i]);
        t->best_report = *r;
        t->have_best = true;
    }
    if (t->team.all.rank == 0 && t->hooks->row(t->hooks->context, s, r, err)) return -1;
    s->epoch++;
    s->position = 0;
    memset(s->sum, 0, sizeof s->sum);
    /* After the first epoch, too: a killed run that has rows can be resumed. */
    const bool due = s->epoch == 1 || s->epoch >= (uint64_t)t->settings->schedule.epochs;
    return due || t->unsaved >= t->settings->checkpoint_steps ? save(t, err) : 0;
}

int nh_trainer_run(nh_trainer *t, const volatile sig_atomic_t *stop, bool *stopped, nh_error *err)
{
    const nh_settings *o = t->settings;
    nh_train_state *s = t->state;
    *stopped = false;
    while (s->epoch < (uint64_t)o->schedule.epochs) {
        nh_epoch_report r = {.epoch = s->epoch,
                             .lr = nh_learning_rate(&o->schedule, o->optimizer.lr, (long)s->epoch),
                             .squared = s->epoch >= (uint64_t)o->loss.l1_epochs};
        if (train_epoch(t, r.lr, r.squared, stop, stopped, err)) return -1;
        if (*stopped) return 0;
        const double begin = nh_seconds();
        if (validate(t, &r, stop, stopped, err)) return -1;
        s->sum[NH_SUM_SECONDS] += nh_seconds() - begin;
        if (*stopped) return save(t, err); /* validation is done again */
        if (finish_epoch(t, &r, err)) return -1;
    }
    return 0;
}
