#include "formats/netcdf/run_folder.h"

#include "base/memory.h"
#include "base/outfile.h"
#include "base/stream.h"
#include "formats/netcdf/graph.h"
#include "formats/netcdf/model.h"

#include <errno.h>
#include <sys/file.h>
#include <fcntl.h>
#include <hdf5.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { METRICS_LIMIT = 1 << 30 };

struct nh_run_folder {
    const nh_settings *settings;
    const nh_common *common;
    bool needs_h0;
    char *config, *metrics, *script, *last, *best, *k_folder;
    pthread_mutex_t lock; /* netCDF is for one thread at a time */
    int locked;           /* DIR/.lock, held by the run; -1: another process is the leader */
};

static char *in_folder(const char *folder, const char *name)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

void nh_run_folder_free(nh_run_folder *r)
{
    if (!r) return;
    free(r->config);
    free(r->metrics);
    free(r->script);
    free(r->last);
    free(r->best);
    free(r->k_folder);
    pthread_mutex_destroy(&r->lock);
    if (r->locked >= 0) close(r->locked);
    free(r);
}

const char *nh_run_folder_k_folder(const nh_run_folder *r)
{
    return r->k_folder;
}

static int make_folders(const char *path, nh_error *err)
{
    char *copy = nh_strdup(path);
    int status = copy ? 0 : nh_fail_memory(err, path);
    for (char *at = copy; !status && at;) {
        at = strchr(at + 1, '/');
        if (at) *at = '\0';
        if (mkdir(copy, 0777) && errno != EEXIST) status = nh_fail(err, "%s: %s", copy, strerror(errno));
        if (at) *at = '/';
    }
    free(copy);
    return status;
}

static int write_text(const char *path, const char *text, size_t n, nh_error *err)
{
    nh_outfile *o;
    if (nh_outfile_begin(path, &o, err)) return -1;
    FILE *f = nh_outfile_stream(o, err);
    if (!f) {
        nh_outfile_abort(o);
        return -1;
    }
    fwrite(text, 1, n, f);
    return nh_outfile_commit(o, err);
}

/* --- metrics.tsv --- */

static const char *const regions[] = {"uu", "ud", "du", "dd"};

static void put_header(FILE *f, const nh_epoch_report *r)
{
    fputs("epoch\tstep\tlr\tseconds\terror\tloss\tloss_h\tloss_trace\tr\tp\tq\tpq\tmu_"
          "meV\tgradient\tskipped\tval_loss_h\t"
          "val_meV\tval_base_meV\tval_h0_meV",
          f);
    for (size_t i = 0; i < 4; i++)
        fprintf(f, "\tval_%s_meV\tval_base_%s_meV\tval_h0_%s_meV", regions[i], regions[i], regions[i]);
    for (size_t i = 0; i < r->n_range; i++)
        for (size_t k = 0; k < 3; k++)
            fprintf(f, "\tval_%s%g-%g_meV", (const char *const[]){"", "base_", "h0_"}[k], r->limit[i],
                    r->limit[i + 1]);
    fputs("\tbest\n", f);
}

static void put_mev(FILE *f, const nh_epoch_report *r, double ev)
{
    fprintf(f, "\t%.6f", r->validated ? 1e3 * ev : NAN);
}

static void put_row(FILE *f, const nh_epoch_report *r)
{
    const double *t = r->train;
    const nh_metrics *const metrics[] = {&r->prediction, &r->base, &r->h0};
    fprintf(f, "%" PRIu64 "\t%" PRIu64 "\t%.9g\t%.3f\t%s", r->epoch, r->step, r->lr, r->seconds,
            r->squared ? "squared" : "absolute");
    for (size_t i = NH_SUM_TOTAL; i <= NH_SUM_PQ; i++)
        fprintf(f, "\t%.9g", t[i]);
    fprintf(f, "\t%.6g\t%.6g\t%" PRIu64, 1e3 * t[NH_SUM_MU], t[NH_SUM_NORM], r->skipped);
    fprintf(f, "\t%.9g", r->validated ? r->prediction.loss_h : NAN);
    for (size_t k = 0; k < 3; k++)
        put_mev(f, r, metrics[k]->region[NH_GAUGE_OVERALL]);
    for (size_t i = 0; i < 4; i++)
        for (size_t k = 0; k < 3; k++)
            put_mev(f, r, metrics[k]->region[i]);
    for (size_t i = 0; i < r->n_range; i++)
        for (size_t k = 0; k < 3; k++)
            put_mev(f, r, metrics[k]->range[i]);
    fprintf(f, "\t%d\n", r->best);
}

static int row(void *context, const nh_train_state *s, const nh_epoch_report *r, nh_error *err)
{
    nh_run_folder *run = context;
    FILE *f = fopen(run->metrics, "ae");
    if (!f) return nh_fail(err, "%s: %s", run->metrics, strerror(errno));
    if (ftell(f) == 0) put_header(f, r);
    put_row(f, r);
    const bool bad = fflush(f) || ferror(f);
    if (fclose(f) || bad) return nh_fail(err, "%s: %s", run->metrics, strerror(errno));
    if (run->common->quiet) return 0;
    fprintf(stderr, "epoch %" PRIu64 "/%ld lr %.3g loss %.6g trace %.4g", r->epoch + 1,
            run->settings->schedule.epochs, r->lr, r->train[NH_SUM_LOSS_H], r->train[NH_SUM_TRACE]);
    if (r->validated)
        fprintf(stderr, " validation %.4f meV (base %.4f, H0 %.4f)%s",
                1e3 * r->prediction.region[NH_GAUGE_OVERALL], 1e3 * r->base.region[NH_GAUGE_OVERALL],
                1e3 * r->h0.region[NH_GAUGE_OVERALL], r->best ? " best" : "");
    if (s->skipped) fprintf(stderr, " skipped %" PRIu64, s->skipped);
    fprintf(stderr, " %.1f s\n", r->seconds);
    if (run->common->verbose && r->epoch == 0)
        fprintf(stderr, "%zu crystals in memory, %.0f MB\n", r->kept, r->kept_bytes / 1e6);
    return 0;
}

/* Keeps the rows of epochs below `epoch`. */
static int cut_metrics(const nh_run_folder *run, uint64_t epoch, nh_error *err)
{
    char *text = NULL;
    if (access(run->metrics, F_OK)) return 0;
    if (nh_read_text(run->metrics, METRICS_LIMIT, &text, err)) return -1;
    const char *at = text;
    while (*at) {
        const char *end = strchr(at, '\n');
        char *number;
        const unsigned long long value = strtoull(at, &number, 10);
        if (!end || (number != at && value >= epoch)) break; /* a line without its end was never finished */
        at = end + 1;
    }
    const int status = write_text(run->metrics, text, (size_t)(at - text), err);
    free(text);
    return status;
}

static const char script_text[] =
    "# Training curves: gnuplot metrics.gp, in this folder. Needs gnuplot 5.\n"
    "# gnuplot -e \"picture='other.svg'\" metrics.gp writes another picture (.png, .svg).\n"
    "if (!exists('picture')) picture = 'metrics.png'\n"
    "if (strlen(picture) > 4 && picture[strlen(picture)-3:] eq '.svg') {\n"
    "  set terminal svg size 1000,1100 dynamic font 'sans,13' background rgb 'white'\n"
    "} else {\n"
    "  set terminal pngcairo size 1000,1100\n"
    "}\n"
    "set output picture\n"
    "set datafile separator tab\n"
    "set key autotitle columnhead\n"
    "set key outside right\n"
    "set grid\n"
    "set logscale y\n"
    "set multiplot layout 3,1\n"
    "set ylabel 'loss'\n"
    "plot for [c in 'loss_h r p q pq loss_trace'] 'metrics.tsv' using 'epoch':c with lines\n"
    "set ylabel 'validation Gauge MAE (meV)'\n"
    "plot 'metrics.tsv' using 'epoch':'val_h0_meV' with lines dt 2 lc 'black', '' using "
    "'epoch':'val_base_meV' with lines dt 3 lc 'black', '' using 'epoch':'val_meV' "
    "with lines lw 2\n"
    "set xlabel 'epoch'\n"
    "set ylabel 'learning rate'\n"
    "plot 'metrics.tsv' using 'epoch':'lr' with lines\n"
    "unset multiplot\n";

/* --- last.nc, best.nc --- */

static const char *const sum_name = "epoch_sums", *const random_name = "random_state";

static int put_counter(nh_nc *f, const char *name, size_t n, const uint64_t *value, nh_error *err)
{
    unsigned long long numbers[4];
    for (size_t i = 0; i < n; i++)
        numbers[i] = value[i];
    const int status = nc_put_att_ulonglong(nh_nc_id(f), NC_GLOBAL, name, NC_UINT64, n, numbers);
    return status ? nh_fail(err, "%s: attribute %s: %s", nh_nc_name(f), name, nc_strerror(status)) : 0;
}

static int get_counter(const nh_nc *f, const char *name, size_t n, uint64_t *value, nh_error *err)
{
    unsigned long long numbers[4];
    size_t length = 0;
    int status = nc_inq_attlen(nh_nc_id(f), NC_GLOBAL, name, &length);
    if (!status && length == n) status = nc_get_att_ulonglong(nh_nc_id(f), NC_GLOBAL, name, numbers);
    if (status || length != n)
        return nh_fail(err, "%s: attribute %s: %s", nh_nc_name(f), name,
                       status ? nc_strerror(status) : "wrong length: not a state of nhtrain");
    for (size_t i = 0; i < n; i++)
        value[i] = numbers[i];
    return 0;
}

static const void *values_of(const nh_weights *w, size_t i)
{
    return w->as_double ? (const void *)w->as_double[i] : w->as_float ? (const void *)w->as_float[i] : NULL;
}

/* Group NAME with one variable range<r> for each trained sub-model: its numbers in the order of the parameter table. (A
 * variable for each parameter, as the weights have, would take netCDF longer to write than an epoch may last.) */
static int put_group(nh_nc *f, const char *name, const nh_train_state *s, const nh_weights *all,
                     nh_error *err)
{
    const nh_params *p = &s->model->params;
    int group, dim, variable, status = nc_def_grp(nh_nc_id(f), name, &group);
    for (size_t r = 0; !status && r < s->model->n_range; r++) {
        const nh_weights *w = &all[r];
        char part[32], length[32];
        size_t count = 0;
        if (!s->trained[r]) continue;
        snprintf(part, sizeof part, "range%zu", r);
        snprintf(length, sizeof length, "values%zu", r);
        for (size_t i = 0; i < p->count; i++)
            count += values_of(w, i) ? p->param[i].count : 0;
        status = nc_def_dim(group, length, count, &dim);
        if (!status)
            status = nc_def_var(group, part, w->as_double ? NC_DOUBLE : NC_FLOAT, 1, &dim, &variable);
        if (!status) status = nc_def_var_chunking(group, variable, NC_CONTIGUOUS, NULL);
        if (!status) status = nc_def_var_fill(group, variable, NC_NOFILL, NULL);
        size_t first = 0;
        for (size_t i = 0; !status && i < p->count; i++) {
            if (!values_of(w, i)) continue;
            status = w->as_double
                         ? nc_put_vara_double(group, variable, &first, &p->param[i].count, w->as_double[i])
                         : nc_put_vara_float(group, variable, &first, &p->param[i].count, w->as_float[i]);
            first += p->param[i].count;
        }
    }
    return status ? nh_fail(err, "%s: group %s: %s", nh_nc_name(f), name, nc_strerror(status)) : 0;
}

static int get_group(const nh_nc *f, const char *name, const nh_train_state *s, nh_weights *all,
                     nh_error *err)
{
    const nh_params *p = &s->model->params;
    int group, dim, variable, n_dim, status = nc_inq_grp_ncid(nh_nc_id(f), name, &group);
    for (size_t r = 0; !status && r < s->model->n_range; r++) {
        const nh_weights *w = &all[r];
        char part[32];
        size_t count = 0, length = 0, first = 0;
        if (!s->trained[r]) continue;
        snprintf(part, sizeof part, "range%zu", r);
        for (size_t i = 0; i < p->count; i++)
            count += values_of(w, i) ? p->param[i].count : 0;
        status = nc_inq_varid(group, part, &variable);
        if (!status) status = nc_inq_varndims(group, variable, &n_dim);
        if (!status && n_dim == 1) {
            status = nc_inq_vardimid(group, variable, &dim);
            if (!status) status = nc_inq_dimlen(group, dim, &length);
        }
        if (!status && length != count)
            return nh_fail(err, "%s: group %s: variable %s: %zu numbers, %zu expected", nh_nc_name(f), name,
                           part, length, count);
        for (size_t i = 0; !status && i < p->count; i++) {
            if (!values_of(w, i)) continue;
            status = w->as_double
                         ? nc_get_vara_double(group, variable, &first, &p->param[i].count, w->as_double[i])
                         : nc_get_vara_float(group, variable, &first, &p->param[i].count, w->as_float[i]);
            first += p->param[i].count;
        }
    }
    return status ? nh_fail(err, "%s: group %s: %s", nh_nc_name(f), name, nc_strerror(status)) : 0;
}

static int put_provenance(nh_nc *f, const nh_run_folder *run, uint64_t epoch, const char *metrics,
                          nh_error *err)
{
    const nh_settings *s = run->settings;
    char seed[32], number[32];
    snprintf(seed, sizeof seed, "%" PRIu64, s->seed);
    snprintf(number, sizeof number, "%" PRIu64, epoch);
    return nh_nc_set_text(f, "provenance", "trained by nhtrain", err) ||
                   nh_nc_set_text(f, "dataset", s->train, err) || nh_nc_set_text(f, "seed", seed, err) ||
                   nh_nc_set_text(f, "epoch", number, err) || nh_nc_set_text(f, "metrics", metrics, err)
               ? -1
               : 0;
}

static int put_state(nh_nc *f, const nh_train_state *s, nh_error *err)
{
    if (put_counter(f, random_name, 4, s->random.state, err) || put_counter(f, "step", 1, &s->step, err) ||
        put_counter(f, "updates", 1, &s->updates, err) || put_counter(f, "epochs_done", 1, &s->epoch, err) ||
        put_counter(f, "position", 1, &s->position, err) || put_counter(f, "skipped", 1, &s->skipped, err) ||
        put_counter(f, "best_epoch", 1, &s->best_epoch, err) || nh_nc_set_double(f, "best", s->best, err))
        return -1;
    const int status = nc_put_att_double(nh_nc_id(f), NC_GLOBAL, sum_name, NC_DOUBLE, NH_N_SUMS, s->sum);
    if (status) return nh_fail(err, "%s: attribute %s: %s", nh_nc_name(f), sum_name, nc_strerror(status));
    return put_group(f, "adam_m", s, s->m, err) || put_group(f, "adam_v", s, s->v, err) ||
                   (s->average && put_group(f, "average", s, s->average, err))
               ? -1
               : 0;
}

static int save(void *context, const nh_train_state *s, nh_error *err)
{
    nh_run_folder *run = context;
    nh_nc *f = NULL;
    pthread_mutex_lock(&run->lock);
    int status = nh_nc_create(run->last, "nhtrain", run->common, NULL, &f, err);
    if (!status) {
        status = put_provenance(f, run, s->epoch, "state of a training run", err) ||
                         nh_model_write(f, s->model, false, err) || put_state(f, s, err)
                     ? -1
                     : 0;
        if (status)
            nh_nc_close(f);
        else
            status = nh_nc_commit(f, err);
    }
    pthread_mutex_unlock(&run->lock);
    return status;
}

static int save_best(void *context, const nh_train_state *s, nh_weights *weights, const nh_epoch_report *r,
                     nh_error *err)
{
    nh_run_folder *run = context;
    nh_nc *f = NULL;
    char text[256];
    if (r->validated)
        snprintf(text, sizeof text, "validation Gauge MAE %.4f meV (H0: %.4f meV), %zu crystals",
                 1e3 * r->prediction.region[NH_GAUGE_OVERALL], 1e3 * r->h0.region[NH_GAUGE_OVERALL],
                 r->prediction.n_crystal);
    else
        snprintf(text, sizeof text, "training loss_h %.6g, no validation", r->train[NH_SUM_LOSS_H]);
    pthread_mutex_lock(&run->lock);
    int status = nh_nc_create(run->best, "nhtrain", run->common, NULL, &f, err);
    if (!status) {
        nh_model m = *s->model;
        m.weights = weights;
        status = put_provenance(f, run, r->epoch, text, err) || nh_model_write(f, &m, false, err) ? -1 : 0;
        if (status)
            nh_nc_close(f);
        else
            status = nh_nc_commit(f, err);
    }
    pthread_mutex_unlock(&run->lock);
    return status;
}

/* --- reading --- */

static int read_crystal(void *context, const char *path, unsigned want, nh_graph **out, nh_error *err)
{
    static const struct {
        const char *name;
        const char *what;
    } needed[] = {
        {"h0", "the zeroth-step Hamiltonian"}, {"h_label", "the label to learn"}, {"overlap", "the overlap"}};
    nh_run_folder *run = context;
    nh_nc *f = NULL;
    *out = NULL;
    pthread_mutex_lock(&run->lock);
    /* Each thread has its own error stack in HDF5, and prints it where nobody says that it should not. */
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    int status = nh_nc_open(path, &f, err);
    if (!status) status = nh_graph_read(f, want, out, err);
    for (size_t i = run->needs_h0 ? 0 : 1; !status && i < sizeof needed / sizeof *needed; i++)
        if (!nh_nc_has(f, needed[i].name))
            status = nh_fail(err, "%s: no variable %s: %s is needed for training", path, needed[i].name,
                             needed[i].what);
    nh_nc_close(f);
    pthread_mutex_unlock(&run->lock);
    if (status) {
        nh_graph_free(*out);
        *out = NULL;
    }
    return status;
}

nh_trainer_hooks nh_run_folder_hooks(nh_run_folder *r)
{
    return (nh_trainer_hooks){
        .context = r, .read = read_crystal, .save = save, .save_best = save_best, .row = row};
}

/* The same model in the other precision. Takes m over. */
static int convert(nh_model *m, bool as_double, nh_model **out, nh_error *err)
{
    int status = 0;
    for (size_t r = 0; !status && r < m->n_range; r++) {
        nh_weights *from = &m->weights[r], to;
        if ((from->as_double != NULL) == as_double) continue;
        status = nh_weights_new(&m->params, as_double, &to, err);
        if (status) break;
        for (size_t i = 0; !status && i < m->params.count; i++) {
            const size_t n = m->params.param[i].count;
            if (!values_of(from, i)) continue;
            void *values = nh_calloc_aligned(n, as_double ? sizeof(double) : sizeof(float));
            if (!values) {
                status = nh_fail_memory(err, m->params.param[i].name);
                break;
            }
            if (as_double)
                to.as_double[i] = values;
            else
                to.as_float[i] = values;
            for (size_t k = 0; k < n; k++)
                if (as_double)
                    to.as_double[i][k] = (double)from->as_float[i][k];
                else
                    to.as_float[i][k] = (float)from->as_double[i][k];
        }
        nh_weights_free(from);
        *from = to;
    }
    if (status)
        nh_model_free(m);
    else
        *out = m;
    return status;
}

/* What only the trace loss would train, where a model file may be without it. */
static void drop_optional(nh_model *m)
{
    for (size_t r = 0; r < m->n_range; r++)
        for (size_t i = 0; i < m->params.count; i++) {
            if (!m->params.param[i].optional) continue;
            void **values = m->weights[r].as_double ? (void **)&m->weights[r].as_double[i]
                                                    : (void **)&m->weights[r].as_float[i];
            free(*values);
            *values = NULL;
        }
}

int nh_run_folder_first_model(nh_settings *s, nh_model **out, nh_error *err)
{
    nh_model *m = NULL;
    *out = NULL;
    if (s->init) {
        if (nh_model_read(s->init, NH_ACTS_HAM | NH_ACTS_TRACE, NULL, &m, err)) return -1;
        if (nh_settings_ablate(s, &m->config, err)) {
            nh_model_free(m);
            return -1;
        }
        return convert(m, s->as_double, out, err);
    }
    if (nh_settings_ablate(s, &s->network, err)) return -1;
    nh_config copy;
    char *text = nh_config_text(&s->network);
    if (!text) return nh_fail_memory(err, "network");
    int status = nh_config_parse(text, "network", &copy, err);
    free(text);
    if (status || nh_model_new(&copy, s->as_double, &m, err)) return -1;
    for (size_t r = 0; !status && r < m->n_range; r++)
        status = nh_weights_init(&m->params, s->seed, r, &m->weights[r], err);
    if (!status && !(s->loss.lambda_c > 0)) drop_optional(m);
    if (status)
        nh_model_free(m);
    else
        *out = m;
    return status;
}

static int read_state(const nh_nc *f, const nh_settings *s, nh_train_state *out, nh_error *err)
{
    nh_model *m;
    const char *name = nh_nc_name(f);
    *out = (nh_train_state){0};
    if (nh_model_read_from(f, NH_ACTS_HAM | NH_ACTS_TRACE, &m, err)) return -1;
    for (size_t r = 0; r < m->n_range; r++)
        if ((m->weights[r].as_double != NULL) != s->as_double) {
            nh_model_free(m);
            return nh_fail(err, "%s: precision: the run to resume has the other one", name);
        }
    if (s->has_network) {
        char *theirs = nh_config_text(&m->config), *ours = nh_config_text(&s->network);
        const bool same = theirs && ours && !strcmp(theirs, ours);
        free(theirs);
        free(ours);
        if (!same) {
            nh_model_free(m);
            return nh_fail(err, "%s: network: the run to resume has another one", name);
        }
    }
    if (nh_train_state_new(s, m, false, out, err)) return -1;
    int status = get_counter(f, random_name, 4, out->random.state, err) ||
                 get_counter(f, "step", 1, &out->step, err) ||
                 get_counter(f, "updates", 1, &out->updates, err) ||
                 get_counter(f, "epochs_done", 1, &out->epoch, err) ||
                 get_counter(f, "position", 1, &out->position, err) ||
                 get_counter(f, "skipped", 1, &out->skipped, err) ||
                 get_counter(f, "best_epoch", 1, &out->best_epoch, err) ||
                 nh_nc_att_double(f, "best", &out->best, err);
    size_t n = 0;
    if (!status && (nc_inq_attlen(nh_nc_id(f), NC_GLOBAL, sum_name, &n) || n != NH_N_SUMS ||
                    nc_get_att_double(nh_nc_id(f), NC_GLOBAL, sum_name, out->sum)))
        status = nh_fail(err, "%s: attribute %s: not a state of this nhtrain", name, sum_name);
    if (!status)
        status = get_group(f, "adam_m", out, out->m, err) || get_group(f, "adam_v", out, out->v, err) ||
                 (out->average && get_group(f, "average", out, out->average, err));
    if (status) nh_train_state_free(out);
    return status ? -1 : 0;
}

int nh_run_folder_read_state(const nh_settings *s, const char *path, nh_train_state *out, nh_error *err)
{
    nh_nc *f;
    if (nh_nc_open(path, &f, err)) return -1;
    const int status = read_state(f, s, out, err);
    nh_nc_close(f);
    return status;
}

/* --- the folder --- */

/* One run at a time: two would write each other's files. The system gives the lock back however a process ends. */
static int lock_folder(const char *dir, int *out, nh_error *err)
{
    char *path = in_folder(dir, ".lock");
    if (!path) return nh_fail_memory(err, dir);
    const int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    free(path);
    if (file < 0) return nh_fail(err, "%s/.lock: %s", dir, strerror(errno));
    const bool locked = flock(file, LOCK_EX | LOCK_NB) == 0;
    if (!locked && errno == EWOULDBLOCK) {
        close(file);
        return nh_fail(err, "%s: another nhtrain works in this folder", dir);
    }
    if (locked) nh_outfile_remove_left(dir); /* each as large as a state */
    *out = file;                             /* file systems without locks: nothing to hold */
    return 0;
}

/* A run that was killed before it saved anything left rows of nothing: it begins again. */
static int forget_rows(const nh_run_folder *r, const char *dir, nh_error *err)
{
    if (access(r->metrics, F_OK) != 0) return 0;
    if (!r->common->quiet)
        fprintf(stderr, "nhtrain: %s: a run that ended before its first state was saved: begun again\n", dir);
    return unlink(r->metrics) == 0 ? 0 : nh_fail(err, "%s: %s", r->metrics, strerror(errno));
}

int nh_run_folder_open(const nh_settings *s, const nh_train_state *state, bool resume, bool leader,
                       const nh_common *common, nh_run_folder **out, nh_error *err)
{
    const char *dir = s->run_dir;
    nh_run_folder *r = NH_ARRAY(nh_run_folder, 1);
    *out = NULL;
    if (!r) return nh_fail_memory(err, dir);
    pthread_mutex_init(&r->lock, NULL);
    r->locked = -1;
    r->settings = s;
    r->common = common;
    r->needs_h0 = nh_config_needs_h0(&state->model->config);
    r->config = in_folder(dir, "config.yaml");
    r->metrics = in_folder(dir, "metrics.tsv");
    r->script = in_folder(dir, "metrics.gp");
    r->last = in_folder(dir, "last.nc");
    r->best = in_folder(dir, "best.nc");
    r->k_folder = in_folder(dir, "kcache");
    char *text = nh_settings_text(s, &state->model->config);
    int status = r->config && r->metrics && r->script && r->last && r->best && r->k_folder && text
                     ? 0
                     : nh_fail_memory(err, dir);
    nh_yaml *again = NULL;
    if (!status && leader && nh_yaml_parse(text, r->config, &again, err)) /* a name that is no UTF-8 */
        status = nh_fail_at(err, "the settings could not be read again");
    nh_yaml_free(again);
    if (!status && leader && !resume && !access(r->last, F_OK))
        status = nh_fail(err, "%s: holds a run already: --resume it, or choose another run_dir", dir);
    if (!status && leader) status = make_folders(r->k_folder, err);
    if (!status && leader) status = lock_folder(dir, &r->locked, err);
    if (!status && leader && !resume && !access(r->last, F_OK)) /* of a run that ended meanwhile */
        status = nh_fail(err, "%s: holds a run already: --resume it, or choose another run_dir", dir);
    if (!status && leader && !resume) status = forget_rows(r, dir, err);
    if (!status && leader) status = write_text(r->config, text, strlen(text), err);
    if (!status && leader) status = write_text(r->script, script_text, sizeof script_text - 1, err);
    if (!status && leader && resume) status = cut_metrics(r, state->epoch, err);
    free(text);
    if (status)
        nh_run_folder_free(r);
    else
        *out = r;
    return status;
}
