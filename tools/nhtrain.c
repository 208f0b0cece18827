/* nhtrain - labelled files in, a model out. */
#include "base/memory.h"
#include "base/options.h"
#include "device/choice.h"
#include "formats/netcdf/run_folder.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SILENT = 1 }; /* another process has failed, and says so */

typedef struct arguments {
    const char *config, *resume;
    nh_list set;
    nh_checked device;
    bool history;
} arguments;

/* Set by SIGINT and SIGTERM: the step in progress is finished and the state saved. A second one ends the program as usual. */
static volatile sig_atomic_t stop_signal;

static void note_signal(int number)
{
    stop_signal = number;
}

static void catch_signals(void)
{
    static const int signals[] = {SIGINT, SIGTERM};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        struct sigaction action, before;
        memset(&action, 0, sizeof action);
        action.sa_handler = note_signal;
        action.sa_flags = (int)SA_RESETHAND;
        sigemptyset(&action.sa_mask);
        if (sigaction(signals[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(signals[i], &action, NULL);
    }
}

static void print_line(const char *name, double h0, double base, double prediction)
{
    printf("%-12s %10.4f %10.4f %10.4f %8.3f\n", name, 1e3 * h0, 1e3 * base, 1e3 * prediction,
           h0 / prediction);
}

/* base: what the network corrects; H0 itself, or its average over time reversal. */
static void print_metrics(const char *name, const nh_metrics *h0, const nh_metrics *base, const nh_metrics *p,
                          size_t n_range, const double *limit)
{
    printf("%s: %zu crystals, Gauge MAE (meV)\n%-12s %10s %10s %10s %8s\n", name, p->n_crystal, "", "H0",
           "base", "prediction", "H0/pred");
    print_line("overall", h0->region[NH_GAUGE_OVERALL], base->region[NH_GAUGE_OVERALL],
               p->region[NH_GAUGE_OVERALL]);
    for (size_t i = 0; i < n_range; i++) {
        char text[64];
        snprintf(text, sizeof text, "%g-%g", limit[i], limit[i + 1]);
        print_line(text, h0->range[i], base->range[i], p->range[i]);
    }
}

/* The best model on the test list. */
static int test(const nh_settings *s, const nh_trainer_hooks *hooks, const nh_device *device,
                const nh_common *common, nh_error *err)
{
    nh_settings best_settings = *s;
    nh_train_state best = {0};
    nh_trainer *t = NULL;
    nh_model *m = NULL;
    nh_metrics h0, base, metrics;
    const double *limit;
    bool stopped = false;
    char *path = NULL;
    if (asprintf(&path, "%s/best.nc", s->run_dir) < 0) return nh_fail_memory(err, "best.nc");
    best_settings.init = path;
    best_settings.train = best_settings.validation = NULL;
    best_settings.ablate = 0;
    best_settings.optimizer.ema = 0;
    best_settings.loss.lambda_p = best_settings.loss.lambda_q = best_settings.loss.lambda_pq = 0;
    const nh_trainer_task task = {.settings = &best_settings,
                                  .state = &best,
                                  .hooks = hooks,
                                  .team = NH_ALONE,
                                  .device = device,
                                  .threads = common->threads,
                                  .quiet = common->quiet};
    int status = nh_run_folder_first_model(&best_settings, &m, err) ||
                         nh_train_state_new(&best_settings, m, false, &best, err) ||
                         nh_trainer_new(&task, &t, err) ||
                         nh_trainer_evaluate(t, 2, NH_EVALUATE_BASE, &stop_signal, &stopped, &base, &h0, err)
                     ? -1
                     : 0;
    if (!status && !stopped)
        status =
            nh_trainer_evaluate(t, 2, NH_EVALUATE_PREDICTION, &stop_signal, &stopped, &metrics, NULL, err);
    if (!status && !stopped) {
        const size_t n = nh_stepper_limits(nh_trainer_stepper(t), &limit);
        print_metrics(s->test, &h0, &base, &metrics, n, limit);
    }
    nh_trainer_free(t);
    nh_train_state_free(&best);
    free(path);
    return status;
}

/* Settings and the state to begin with; both are the caller's, also after a failure. */
static int prepare(const arguments *a, nh_settings *s, nh_train_state *state, bool *from_command_line,
                   nh_error *err)
{
    char *config = NULL, *last = NULL, *folder = NULL;
    int status = 0;
    *from_command_line = false;
    if (a->resume &&
        (asprintf(&folder, "run_dir=%s", a->resume) < 0 ||
         asprintf(&config, "%s/config.yaml", a->resume) < 0 || asprintf(&last, "%s/last.nc", a->resume) < 0))
        status = nh_fail_memory(err, a->resume);
    const char *file = a->config ? a->config : config;
    const char **set = NH_ARRAY(const char *, a->set.count + 1);
    if (!set) status = nh_fail_memory(err, "--set");
    size_t n = 0;
    for (; set && n < a->set.count; n++)
        set[n] = a->set.item[n];
    if (set && folder) set[n++] = folder;
    if (!status) status = nh_settings_read(file, n, set, s, from_command_line, err);
    if (!status) status = nh_settings_check(s, file, err);
    if (!status && a->resume) {
        if (!s->init) status = nh_settings_ablate(s, &s->network, err);
        if (!status) status = nh_run_folder_read_state(s, last, state, err);
        if (!status && s->init) status = nh_settings_ablate(s, &state->model->config, err);
    } else if (!status) {
        nh_model *m;
        status = nh_run_folder_first_model(s, &m, err);
        if (!status) status = nh_train_state_new(s, m, s->init == NULL, state, err);
    }
    free(set);
    free(config);
    free(last);
    free(folder);
    return status;
}

/* True if no process has failed. The one that has says why; the others say nothing. */
static bool all_well(const nh_ranks *ranks, int status)
{
    return nh_ranks_max(ranks, status != 0) == 0;
}

static int train(const arguments *a, const nh_common *common, const nh_settings *s, nh_train_state *state,
                 nh_team team, const nh_device *device, nh_error *err)
{
    const nh_ranks ranks = team.all;
    nh_run_folder *run = NULL;
    nh_trainer *t = NULL;
    bool stopped = false;
    int status = nh_run_folder_open(s, state, a->resume != NULL, ranks.rank == 0, common, &run, err);
    if (!all_well(&ranks, status)) {
        nh_run_folder_free(run);
        return status ? -1 : SILENT;
    }
    const nh_trainer_hooks hooks = nh_run_folder_hooks(run);
    const nh_trainer_task task = {.settings = s,
                                  .state = state,
                                  .hooks = &hooks,
                                  .team = team,
                                  .device = device,
                                  .threads = common->threads,
                                  .k_folder = nh_run_folder_k_folder(run),
                                  .quiet = common->quiet};
    status = nh_trainer_new(&task, &t, err);
    if (!status && ranks.rank == 0) status = nh_trainer_check(t, err);
    const bool well = all_well(&ranks, status);
    if (well) {
        status = nh_trainer_run(t, &stop_signal, &stopped, err);
        if (status && ranks.count > 1) { /* the others wait for this one */
            fprintf(stderr, "nhtrain: %s\n", err->text);
            nh_ranks_abort(&ranks, 1);
        }
    }
    if (!status && stopped && ranks.rank == 0 && !common->quiet)
        fprintf(stderr,
                "nhtrain: stopped in epoch %" PRIu64 " after %" PRIu64
                " of its crystals; go on with: nhtrain --resume %s\n",
                state->epoch + 1, state->position, s->run_dir);
    nh_trainer_free(t);
    if (well && !status && !stopped && ranks.rank == 0 && s->test)
        status = test(s, &hooks, device, common, err);
    nh_run_folder_free(run);
    return well || status ? status : SILENT;
}

static int run(const nh_program *program, const arguments *a, const nh_common *common)
{
    nh_settings settings = {0};
    nh_train_state state = {0};
    nh_error err = {""};
    nh_ranks ranks;
    catch_signals();
    if (nh_ranks_begin(&ranks, &err)) return nh_report(program, &err);
    bool from_command_line;
    nh_device *device = NULL;
    nh_error note = {""};
    int status = prepare(a, &settings, &state, &from_command_line, &err);
    if (!status) status = nh_device_open(a->device.text, nh_device_local_rank(), &device, &note, &err);
    if (!status && note.text[0] && ranks.rank == 0) nh_warn(program, common, "%s", note.text);
    const bool prepared = all_well(&ranks, status);
    if (!prepared && !status) status = SILENT;
    nh_team team;
    if (prepared) status = nh_team_new(ranks, settings.processes, state.model->n_range, &team, &err);
    const bool joined = prepared && !status;
    if (joined) status = train(a, common, &settings, &state, team, device, &err);
    /* What all of them find is said once. */
    if (status && status != SILENT && (ranks.rank == 0 || joined)) nh_report(program, &err);
    if (status) status = !prepared && from_command_line ? 2 : 1;
    nh_device_close(device);
    nh_train_state_free(&state);
    nh_settings_free(&settings);
    nh_ranks_end(&ranks);
    return status ? status : stop_signal ? 128 + stop_signal : 0;
}

int main(int argc, char **argv)
{
    static const char *const synopsis[] = {"-c train.yaml [--set KEY=VALUE ...]",
                                           "--resume RUN_DIR [-c train.yaml] [--set KEY=VALUE ...]", NULL};
    arguments a = {.device = NH_DEVICE_ONE, .history = true};
    const nh_option on_device = NH_DEVICE_ONE_ROW(a.device);
    const nh_option options[] = {
        {NH_OPT_STRING, 'c', "config", "FILE", &a.config, NULL, NULL, "settings of the run, YAML"},
        {NH_OPT_STRING, 0, "resume", "RUN_DIR", &a.resume, NULL, NULL,
         "continue the run in this folder (with its config.yaml, unless -c is given)"},
        {NH_OPT_LIST, 0, "set", "KEY=VALUE", &a.set, NULL, NULL,
         "use this value in place of the file's; nested keys with dots: optimizer.lr=1e-3"},
        {NH_OPT_UNSET, 0, "no-history", NULL, &a.history, NULL, NULL,
         "write no history attribute: the same run, the same bytes"},
    };
    const nh_program program = {
        .name = "nhtrain",
        .summary = "labelled crystals in, a model out",
        .synopsis = synopsis,
        .description =
            "Trains the sub-models of a network on crystals with h0, h_label and overlap (files of mkgraph, "
            "named in "
            "lists). One YAML file says data, network, loss, optimiser, schedule; formats/README.md lists "
            "its keys.\n\n"
            "The folder run_dir gets config.yaml (every setting with the value used), metrics.tsv (one row "
            "an epoch; "
            "gnuplot metrics.gp draws it), last.nc (the state, saved every checkpoint.every_steps steps and "
            "at the end "
            "of each epoch) and best.nc (the model with the lowest Gauge MAE on the validation list, for "
            "nhinfer). "
            "Ctrl-C and SIGTERM finish the step in progress and save the state; --resume continues from "
            "there, "
            "with one "
            "thread bit for bit as if nothing had happened.\n\n"
            "Where the settings name a test list, the errors of the best model on it are printed at the "
            "end.\n\n"
            "mpirun -n N nhtrain ...: N processes share the crystals of a step; a step has accumulate "
            "crystals of each. With parallel: ensemble, or a number, groups of processes share a crystal, "
            "each "
            "with a part of the sub-models; a step has then accumulate crystals of each group.",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .computes = true,
        .device = &on_device,
        .no_output = true,
        .example = "nhtrain -c pipelines/train-tiny.yaml --set run_dir=/tmp/tiny\nnhtrain --resume /tmp/tiny "
                   "--set schedule.epochs=20",
        .see_also = "mkgraph(1), nhinfer(1), gaugemae(1), nhmodel(1)"};
    nh_common common;
    int status = nh_parse(&program, argc, argv, &common);
    if (status != -1) return status;
    common.history = a.history;
    if (!a.config && !a.resume) {
        fprintf(stderr, "nhtrain: --config or --resume missing (nhtrain --help)\n");
        status = 2;
    } else {
        status = run(&program, &a, &common);
    }
    nh_list_free(&a.set);
    nh_common_free(&common);
    return status;
}
