/* nhinfer - features and a model in, Hamiltonian out. */
#include "base/memory.h"
#include "base/options.h"
#include "base/progress.h"
#include "base/stream.h"
#include "crystal/basis_names.h"
#include "device/choice.h"
#include "formats/netcdf/graph.h"
#include "formats/netcdf/model.h"
#include "formats/shipped.h"
#include "ensemble/predict.h"

#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { LIST_LIMIT = 64 << 20 };

typedef struct arguments {
    const char *model, *batch, *outdir;
    int precision, method;
    nh_checked device;
    bool hermitize, timing, keep_features, strict;
} arguments;

typedef struct session {
    const nh_program *program;
    const arguments *a;
    const nh_common *common;
    nh_model *model;
    nh_predictor *predictor;
    char hash[17];
    nh_threads *threads;
    nh_devices devices;
    double load; /* s: the model */
} session;

typedef struct crystal_times {
    double load, write;
    nh_predict_report predict;
} crystal_times;

/* --- one crystal --- */

static int write_output(const session *s, const char *path, const nh_nc *in, const nh_graph *g, nh_error *err)
{
    static const char *const without[] = {"h_pred", "feature", "edge_pair", NULL}, *const with[] = {"h_pred",
                                                                                                    NULL};
    nh_nc *out;
    if (nh_nc_create(path, "nhinfer", s->common, in, &out, err)) return -1;
    nh_nc_use_threads(out, s->threads);
    int status = nh_nc_set_text(out, "model", s->a->model, err) ||
                 nh_nc_set_text(out, "model_hash", s->hash, err) ||
                 nh_nc_carry(out, in, s->a->keep_features ? with : without, err) ||
                 nh_graph_put_matrix(out, g, NH_H_PRED, nh_nc_is_single(in, "h0"), err);
    if (!status && !s->a->keep_features) /* they describe the features that were left out */
        status = nh_nc_drop_att(out, "irreps", err) || nh_nc_drop_att(out, "shell_pairs", err) ||
                 nh_nc_drop_att(out, "padded_basis", err);
    if (!status) return nh_nc_commit(out, err);
    nh_nc_close(out);
    return -1;
}

/* Features count shells in the padded basis that h0embed was told. */
static int check_features(const session *s, const nh_nc *in, nh_error *err)
{
    char *theirs = NULL;
    const nh_config *c = &s->model->config;
    if (nh_nc_att_text(in, "padded_basis", &theirs, err)) return -1;
    if (!theirs) return 0;
    char *ours = nh_shells_text(c->n_shell, c->shell_l);
    int status = ours ? 0 : nh_fail_memory(err, "the padded basis");
    size_t n_shell = 0;
    int *shell_l = NULL;
    if (!status && nh_shells_parse(theirs, &n_shell, &shell_l, err))
        status = nh_fail_at(err, "%s: attribute padded_basis", nh_nc_name(in));
    if (!status && (n_shell != c->n_shell || memcmp(shell_l, c->shell_l, n_shell * sizeof *shell_l)))
        status = nh_fail(
            err, "%s: features for the padded basis %s, but the model %s is for %s (h0embed --basis %s)",
            nh_nc_name(in), theirs, s->a->model, ours, ours);
    free(shell_l);
    free(ours);
    free(theirs);
    return status;
}

/* Before anything is computed: elements that the model has not been trained on. What it says about them is a guess. */
static int check_elements(const session *s, const nh_nc *in, const nh_graph *g, nh_error *err)
{
    const nh_elements *known = &s->model->elements;
    if (!known->known) return 0;
    char *unseen = nh_elements_unseen(known, &g->structure);
    if (!unseen) return nh_fail_memory(err, "the elements");
    int status = 0;
    if (unseen[0] != '\0' && s->a->strict)
        status = nh_fail(err, "%s: %s: not in the training data of %s", nh_nc_name(in), unseen, s->a->model);
    else if (unseen[0] != '\0')
        nh_warn(s->program, s->common,
                "%s: %s: not in the training data of %s; the prediction may be worse than H0", nh_nc_name(in),
                unseen, s->a->model);
    free(unseen);
    return status;
}

/* .. and orbitals or pseudopotentials of other files: the same numbers mean something else there. */
static int check_files(const session *s, const nh_nc *in, const char *what, const char *known,
                       const char *names, nh_error *err)
{
    char *const differ = nh_basis_names_differ(names, known);
    if (!differ) return nh_fail_memory(err, "names of the basis");
    int status = 0;
    if (differ[0] != '\0' && s->a->strict)
        status = nh_fail(err, "%s: %s: other %s files than in the training data of %s", nh_nc_name(in),
                         differ, what, s->a->model);
    else if (differ[0] != '\0')
        nh_warn(s->program, s->common, "%s: %s: other %s files than in the training data of %s",
                nh_nc_name(in), differ, what, s->a->model);
    free(differ);
    return status;
}

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static int infer(const session *s, const char *input, const char *output, bool show, crystal_times *times,
                 nh_error *err)
{
    nh_nc *in;
    nh_graph *g = NULL;
    const double begin = nh_seconds();
    if (same_file(output, s->a->model)) return nh_fail(err, "%s: the output would replace the model", output);
    if (nh_nc_open(input, &in, err)) return -1;
    nh_nc_use_threads(in, s->threads);
    const nh_config *c = &s->model->config;
    const unsigned h0 = nh_config_needs_h0(c) ? NH_WANT_H0 : 0;
    int status = nh_graph_read(in, h0 | (c->input == NH_INPUT_H0 ? NH_WANT_FEATURES : 0), &g, err);
    if (!status) status = nh_graph_require(g, nh_nc_name(in), h0, err);
    if (!status && g->features) status = check_features(s, in, err);
    if (!status) status = check_elements(s, in, g, err);
    if (!status) status = check_files(s, in, "orbital", s->model->orbital_hash, g->orbital_hash, err);
    if (!status) status = check_files(s, in, "pseudopotential", s->model->pseudo_hash, g->pseudo_hash, err);
    times->load = nh_seconds() - begin;
    if (!status) {
        const size_t work = s->model->n_range * nh_graph_edges(g, s->model->config.cutoff, NULL);
        nh_progress *progress = nh_progress_start("nhinfer", "edges", work, !show || s->common->quiet);
        status = nh_predictor_run(s->predictor, g, s->threads, &times->predict, progress, err);
        nh_progress_end(progress);
        if (status) nh_fail_at(err, "%s with %s", nh_nc_name(in), s->a->model);
    }
    if (!status) status = nh_model_check_map(s->model, s->a->model, err);
    const double done = nh_seconds();
    if (!status) status = write_output(s, output, in, g, err);
    times->write = nh_seconds() - done;
    nh_graph_free(g);
    nh_nc_close(in);
    return status;
}

static void print_times(const session *s, const char *input, const crystal_times *t)
{
    const nh_predict_report *p = &t->predict;
    const nh_network_times *n = &p->part;
    fprintf(stderr, "%s: %zu edges, %s precision, %d threads", input, p->n_edge,
            s->a->precision == NH_DOUBLE ? "double" : "single", nh_threads_count(s->threads));
    for (size_t i = 0; i < s->devices.count; i++) {
        const nh_device *d = s->devices.device[i];
        fprintf(stderr, "%s%s", i == 0 ? ", sub-models on " : ", ", d->call->name(d->gpu));
    }
    fprintf(stderr, "\n");
    fprintf(stderr, "%-28s %10s\n", "step", "seconds");
    fprintf(stderr, "%-28s %10.4f\n", "load model", s->load);
    fprintf(stderr, "%-28s %10.4f\n", "load crystal", t->load);
    fprintf(stderr, "%-28s %10.4f\n", "pack weights", p->setup);
    for (size_t r = 0; r < s->model->n_range; r++)
        fprintf(stderr, "forward range%zu %-14s %10.4f\n", r, "", p->forward[r]);
    if (s->devices.count > 1) fprintf(stderr, "%-28s %10.4f\n", "all of them", p->sub_models);
    fprintf(stderr, "%-28s %10.4f\n", "Hermitian mean", p->finish);
    fprintf(stderr, "%-28s %10.4f\n", "write", t->write);
    fprintf(stderr, "%-28s %10.4f\n", "all",
            s->load + t->load + p->setup + p->sub_models + p->finish + t->write);
    if (s->devices.count > 0) return;
    fprintf(stderr, "of forward, summed over threads:\n");
    fprintf(stderr, "  %-26s %10.4f\n  %-26s %10.4f\n  %-26s %10.4f\n  %-26s %10.4f\n  %-26s %10.4f\n",
            "embed H0", p->embed, "input map", n->input, "nodes", n->node, "radial", n->radial,
            "tensor products", n->product);
    fprintf(stderr, "  %-26s %10.4f\n  %-26s %10.4f\n  %-26s %10.4f\n  %-26s %10.4f\n", "linear maps",
            n->linear, "attention", n->attention, "TraceGrad", n->tracegrad, "output map", n->output);
}

/* --- many crystals --- */

typedef struct task {
    char *input, *output; /* owned */
    size_t line;
} task;

typedef struct tasks {
    size_t count;
    task *task;
} tasks;

static void tasks_free(tasks *t)
{
    for (size_t i = 0; i < t->count; i++) {
        free(t->task[i].input);
        free(t->task[i].output);
    }
    free(t->task);
}

/* `name` as it stands if it is absolute, else under `folder`. */
static char *under(const char *folder, const char *name)
{
    char *path = NULL;
    if (name[0] == '/' || !strcmp(folder, ".")) return nh_strdup(name);
    return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

/* One line of the list: INPUT, or INPUT<tab>NAME. */
static int add_task(tasks *t, const arguments *a, const char *folder, size_t number, char *line,
                    nh_error *err)
{
    char *name = strchr(line, '\t');
    if (name) *name++ = '\0';
    const char *slash = strrchr(line, '/');
    if (!name) name = slash ? (char *)(slash + 1) : line;
    if (name[0] == '\0' || strchr(name, '/'))
        return nh_fail(err, "%s:%zu: '%s' is no name for an output", a->batch, number, name);
    task *one = &t->task[t->count++];
    one->line = number;
    one->input = under(folder, line);
    if (asprintf(&one->output, "%s/%s", a->outdir, name) < 0) one->output = NULL;
    return one->input && one->output ? 0 : nh_fail_memory(err, "the list of inputs");
}

static int compare_outputs(const void *a, const void *b)
{
    const task *const *x = a, *const *y = b;
    const int order = strcmp((*x)->output, (*y)->output);
    return order ? order : ((*x)->line > (*y)->line) - ((*x)->line < (*y)->line);
}

/* Two crystals must not be written to one file. */
static int check_outputs(const tasks *t, const arguments *a, nh_error *err)
{
    int status = 0;
    const task **sorted = NH_ARRAY(const task *, t->count);
    if (!sorted) return nh_fail_memory(err, "the list of inputs");
    for (size_t i = 0; i < t->count; i++)
        sorted[i] = &t->task[i];
    qsort(sorted, t->count, sizeof *sorted, compare_outputs);
    for (size_t i = 1; i < t->count && !status; i++)
        if (!strcmp(sorted[i - 1]->output, sorted[i]->output))
            status = nh_fail(err,
                             "%s:%zu: would be written to %s, as line %zu; name the output in a second "
                             "column (after a tab)",
                             a->batch, sorted[i]->line, sorted[i]->output, sorted[i - 1]->line);
    free(sorted);
    return status;
}

static int read_list(const arguments *a, tasks *t, nh_error *err)
{
    char *text, *copy = nh_strdup(a->batch);
    size_t lines = 1, number = 0;
    *t = (tasks){0};
    if (!copy) return nh_fail_memory(err, "the list of inputs");
    if (nh_read_text(a->batch, LIST_LIMIT, &text, err)) {
        free(copy);
        return -1;
    }
    const char *folder = strcmp(a->batch, "-") ? dirname(copy) : ".";
    for (const char *c = text; *c; c++)
        lines += *c == '\n';
    t->task = NH_ARRAY(task, lines);
    int status = t->task ? 0 : nh_fail_memory(err, "the list of inputs");
    for (char *rest = text, *line; !status && (line = strsep(&rest, "\n"));) {
        number++;
        line[strcspn(line, "\r")] = '\0';
        if (line[0] != '\0' && line[0] != '#') status = add_task(t, a, folder, number, line, err);
    }
    free(text);
    free(copy);
    if (!status && t->count == 0) status = nh_fail(err, "%s: no inputs", a->batch);
    return status ? status : check_outputs(t, a, err);
}

static int infer_all(const session *s, nh_error *err)
{
    tasks t;
    size_t failures = 0;
    int status = read_list(s->a, &t, err);
    if (!status && mkdir(s->a->outdir, 0777) && errno != EEXIST)
        status = nh_fail(err, "%s: %s", s->a->outdir, strerror(errno));
    nh_progress *progress =
        status ? NULL : nh_progress_start("nhinfer", "crystals", t.count, s->common->quiet);
    for (size_t i = 0; !status && i < t.count; i++) {
        crystal_times times = {0};
        if (infer(s, t.task[i].input, t.task[i].output, false, &times, err)) {
            failures++;
            nh_report(s->program, err);
        } else if (s->a->timing) {
            print_times(s, t.task[i].input, &times);
        }
        nh_progress_add(progress, 1);
    }
    nh_progress_end(progress);
    if (failures) status = nh_fail(err, "%s: %zu of %zu crystals failed", s->a->batch, failures, t.count);
    tasks_free(&t);
    return status;
}

/* --- the command line --- */

static int load(session *s, nh_error *err)
{
    const double begin = nh_seconds();
    uint64_t hash;
    if (nh_threads_new(s->common->threads, &s->threads, err) ||
        nh_model_read(s->a->model, NH_ACTS_HAM, s->threads, &s->model, err) ||
        nh_model_hash(s->model, s->threads, &hash, err))
        return -1;
    snprintf(s->hash, sizeof s->hash, "%016" PRIx64, hash);
    if (s->model->n_unknown)
        nh_warn(s->program, s->common, "%s: %zu unknown variables are not used, %s the first", s->a->model,
                s->model->n_unknown, s->model->unknown);
    if (s->a->strict && !s->model->elements.known)
        return nh_fail(
            err, "%s: no attribute elements: which elements the model was trained on is not known (--strict)",
            s->a->model);
    s->load = nh_seconds() - begin;
    nh_error note;
    if (nh_devices_open(s->a->device.text, s->model->n_range, &s->devices, &note, err)) return -1;
    if (note.text[0]) nh_warn(s->program, s->common, "%s", note.text);
    const nh_predict_options o = {.precision = (nh_precision)s->a->precision,
                                  .method = (nh_method)s->a->method,
                                  .devices = &s->devices,
                                  .hermitize = s->a->hermitize};
    return nh_predictor_new(s->model, &o, &s->predictor, err);
}

static int run(session *s, nh_error *err)
{
    crystal_times times = {0};
    if (load(s, err)) return -1;
    if (s->a->batch) return infer_all(s, err);
    if (infer(s, nh_input(s->common), s->common->output, true, &times, err)) return -1;
    if (s->a->timing) print_times(s, nh_input(s->common), &times);
    return 0;
}

/* What the parser cannot know. Returns 0, or 2 after a line about it. */
static int check(const arguments *a, const nh_common *c)
{
    const char *wrong = NULL;
    if (!a->batch != !a->outdir)
        wrong = "--batch and --outdir go together";
    else if (a->batch && (c->inputs.count > 0 || strcmp(c->output, "-")))
        wrong = "with --batch the inputs stand in the list, the outputs go to --outdir";
    else if (!a->batch && a->model && !strcmp(a->model, "-") && !strcmp(nh_input(c), "-"))
        wrong = "model and crystal cannot both come from standard input";
    else if (a->batch && a->model && !strcmp(a->model, "-") && !strcmp(a->batch, "-"))
        wrong = "model and list cannot both come from standard input";
    if (wrong) fprintf(stderr, "nhinfer: %s (nhinfer --help)\n", wrong);
    return wrong ? 2 : 0;
}

int main(int argc, char **argv)
{
    static const char *const precisions[] = {"single", "double", NULL};
    static const char *const methods[] = {"fast", "reference", NULL};
    static const char *const synopsis[] = {"[-m MODEL.nc] [options] [-o ham.nc] [embedded.nc|graph.nc]",
                                           "[-m MODEL.nc] [options] --batch LIST --outdir DIR", NULL};
    arguments a = {
        .precision = NH_SINGLE, .method = NH_METHOD_FAST, .device = NH_DEVICE_SEVERAL, .hermitize = true};
    const nh_option on_device = NH_DEVICE_SEVERAL_ROW(a.device);
    const nh_option options[] = {
        {NH_OPT_STRING, 'm', "model", "FILE", &a.model, NULL, NULL,
         "model file [$NEXTHAM_MODEL, $NEXTHAM_DATA/model.nc, or the one that came with the programs]"},
        {NH_OPT_CHOICE, 0, "precision", NULL, &a.precision, precisions, NULL,
         "precision of the network [single]"},
        {NH_OPT_CHOICE, 0, "method", NULL, &a.method, methods, NULL,
         "fast: made for tiles, radial functions shared; reference: BLAS, every edge for itself [fast]"},
        {NH_OPT_CHOICE, 0, "kernels", NULL, &a.method, methods, NULL, "the older name of --method"},
        {NH_OPT_UNSET, 0, "no-hermitize", NULL, &a.hermitize, NULL, NULL,
         "do not make the prediction Hermitian"},
        {NH_OPT_FLAG, 0, "keep-features", NULL, &a.keep_features, NULL, NULL,
         "carry the input's features along (large)"},
        {NH_OPT_FLAG, 0, "strict", NULL, &a.strict, NULL, NULL,
         "refuse crystals with elements that the model was not trained on [a warning]"},
        {NH_OPT_FLAG, 0, "timing", NULL, &a.timing, NULL, NULL, "print where the time went"},
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "Many crystals"},
        {NH_OPT_STRING, 0, "batch", "LIST", &a.batch, NULL, NULL,
         "file with one input a line, relative to the list"},
        {NH_OPT_STRING, 0, "outdir", "DIR", &a.outdir, NULL, NULL,
         "folder for their outputs; made where it is missing"},
    };
    const nh_program program = {
        .name = "nhinfer",
        .summary = "features and a model in, Hamiltonian out",
        .synopsis = synopsis,
        .description =
            "Runs the ensemble of the model on a crystal and adds h_pred, the corrected Hamiltonian in eV, "
            "to what the input has. Each sub-model corrects the pairs within its range of distances; beyond "
            "the last range h_pred is "
            "the zeroth-step h0. The "
            "features of h0embed are used where the input has them; a plain real-space file is embedded on "
            "the way, which is better for a large cell. The features are not carried along unless "
            "--keep-features is given.\n\n"
            "The prediction is made Hermitian over the pairs (i,j,R) and (j,i,-R); --no-hermitize leaves "
            "that out, as the published "
            "program does. Where model and input have different Rydberg factors, the input is converted to "
            "the model's factor and the correction back.\n\n"
            "With --batch the model is loaded once, and its weights are packed once for crystals of the same "
            "orbitals. A line of the list is the name of an input (relative "
            "names start from the list's "
            "folder), and, after a tab, the name of its output in DIR where it is not the input's own. A "
            "crystal that "
            "fails is reported, and the others are still predicted; the exit status is then 1.\n\n"
            "With --device cuda the sub-models are shared out among all CUDA devices that the process sees "
            "(CUDA_VISIBLE_DEVICES), "
            "one after another on each; cuda:1 uses one of them, cuda:0,2 two. The prediction does not "
            "depend on their number.\n\n"
            "The attributes model and model_hash of the output say which model was used.",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .max_inputs = 1,
        .computes = true,
        .device = &on_device,
        .example = "nhinfer -m model.nc embedded.nc -o ham.nc\nmkgraph --abacus GaAs | nhinfer -m model.nc "
                   "--timing > ham.nc",
        .see_also = "mkgraph(1), h0embed(1), nhmodel(1), fourier(1), gaugemae(1)"};
    nh_common common;
    nh_error err;
    int status = nh_parse(&program, argc, argv, &common);
    if (status != -1) return status;
    status = check(&a, &common);
    if (!status) {
        session s = {.program = &program, .a = &a, .common = &common};
        const bool asked = a.model != NULL;
        char *const found = nh_find_model(a.model, &err);
        a.model = found;
        if (found != NULL && !asked) nh_warn(&program, &common, "with the model %s", found);
        if (found == NULL || run(&s, &err)) status = nh_report(&program, &err);
        nh_threads_free(s.threads);
        nh_predictor_free(s.predictor);
        nh_devices_close(&s.devices);
        nh_model_free(s.model);
        free(found);
    }
    nh_common_free(&common);
    return status;
}
