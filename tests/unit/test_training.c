/* The trainer's parts: settings, schedule, Adam, lists and prefetch, and whole training steps: the ten-step runs of the
 * official program. */
#include "golden_crystal.h"

#include "training/adam.h"
#include "training/schedule.h"
#include "training/step.h"
#include "training/loader.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef TEST_DEVICE /* test_kernels_training.c: on a device */
#define TEST_DEVICE NULL
#endif
#ifndef LAST_STEP
#define LAST_STEP 10
#endif

static char folder[] = "/tmp/nh_training_XXXXXX";

static char *in_folder(const char *name)
{
    static char path[4][256];
    static int next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static char *write_file(const char *name, const char *text)
{
    char *path = in_folder(name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
    return path;
}

/* --- settings --- */

static const char complete[] = "network: {basis: 2s1p, mid: 4x0e+2x1o, ranges: [[0, 1], [1, 3]]}\n"
                               "data: {train: a.list, validation: sub/b.list, cache: 500 MB}\n"
                               "run_dir: runs/x\n"
                               "optimizer: {lr: 1e-3, beta: [0.8, 0.9]}\n";

static void settings_defaults(void **state)
{
    (void)state;
    nh_settings s;
    char *file = write_file("a.yaml", complete), *cwd = getcwd(NULL, 0), path[512];
    OK(nh_settings_read(file, 0, NULL, &s, NULL, &err));
    /* formats/README.md */
    assert_true(s.optimizer.lr == 1e-3 && s.optimizer.beta[0] == 0.8 && s.optimizer.beta[1] == 0.9);
    assert_true(s.optimizer.eps == 1e-8 && s.optimizer.weight_decay == 0 && s.optimizer.clip == 0 &&
                s.optimizer.ema == 0);
    assert_true(s.loss.kind == NH_LOSS_REFERENCE && s.loss.lambda_c == 0.2 && s.loss.lambda_p == 0.0002);
    assert_true(s.loss.lambda_q == 0.0001 && s.loss.lambda_pq == 0.00015 && s.loss.l1_epochs == 131);
    assert_true(fabs(s.loss.lambda_r - 0.99955) < 1e-15 && s.loss.k_mesh[2] == 4 && s.loss.energy_cut == 10);
    assert_true(s.schedule.epochs == 100 && s.schedule.warmup == 5 && s.schedule.warmup_lr == 1e-6);
    assert_true(s.schedule.min_lr == 1e-5 && s.seed == 1 && !s.as_double && s.accumulate == 1 &&
                s.cache == 5e8);
    assert_true(s.has_network && s.network.n_range == 2 && s.checkpoint_steps == 200 && s.ablate == 0);
    snprintf(path, sizeof path, "%s/sub/b.list", folder);
    assert_string_equal(s.validation, path); /* relative to the file */
    assert_null(s.test);
    snprintf(path, sizeof path, "%s/runs/x", cwd);
    assert_string_equal(s.run_dir, path); /* relative to the working folder */
    free(cwd);
    nh_settings_free(&s);
}

static void settings_overrides(void **state)
{
    (void)state;
    nh_settings s;
    char *file = write_file("a.yaml", complete), *cwd = getcwd(NULL, 0), path[512];
    bool from = true;
    const char *const set[] = {"optimizer.lr=2e-3",    "run_dir=/r",         "data.train=c.list",
                               "ensemble=[1]",         "network.heads=2",    "ablate=[tracegrad, loss-pq]",
                               "optimizer.kind=adamw", "loss.lambda_pq=0.1", "schedule.epochs=7"};
    OK(nh_settings_read(file, sizeof set / sizeof *set, set, &s, &from, &err));
    assert_false(from);
    assert_true(s.optimizer.lr == 2e-3 && s.optimizer.beta[0] == 0.8 && s.optimizer.kind == NH_ADAMW);
    assert_true(s.n_ensemble == 1 && s.ensemble[0] == 1 && s.network.heads == 2 && s.network.n_range == 2);
    assert_true(s.schedule.epochs == 7 && s.ablate == (NH_ABLATE_TRACEGRAD | NH_ABLATE_LOSS_PQ));
    assert_string_equal(s.run_dir, "/r");
    snprintf(path, sizeof path, "%s/c.list", cwd);
    assert_string_equal(s.train, path);
    free(cwd);
    OK(nh_settings_ablate(&s, &s.network, &err));
    assert_true(s.network.tg_scale == 0 && s.loss.lambda_pq == 0 && s.loss.lambda_p == 0.0002 &&
                s.network.n_range == 2);
    assert_true(fabs(s.loss.lambda_r - 0.9997) < 1e-12);

    /* what is written is what was used, and reads the same again */
    char *text = nh_settings_text(&s, &s.network), *again;
    assert_non_null(text);
    nh_settings copy;
    OK(nh_settings_read(write_file("b.yaml", text), 0, NULL, &copy, NULL, &err));
    OK(nh_settings_ablate(&copy, &copy.network, &err));
    again = nh_settings_text(&copy, &copy.network);
    assert_string_equal(text, again);
    free(text);
    free(again);
    nh_settings_free(&copy);
    nh_settings_free(&s);
}

/* The lines of b that a lacks: the settings that an ablation has changed. */
static char *changes(const char *a, const char *b)
{
    char *text = NULL, *copy = strdup(b);
    size_t size;
    FILE *f = open_memstream(&text, &size);
    assert_true(f && copy);
    for (char *rest = copy, *line; (line = strsep(&rest, "\n"));) {
        const size_t n = strlen(line);
        bool found = n == 0;
        for (const char *at = a; !found && (at = strstr(at, line)); at++)
            found = (at == a || at[-1] == '\n') && at[n] == '\n';
        if (!found) fprintf(f, "%s\n", line + strspn(line, " "));
    }
    fclose(f);
    free(copy);
    return text;
}

/* Each ablation changes what formats/README.md says, and nothing else. */
static void each_ablation(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"input", "input: elements\n"},
        {"output", "target: hamiltonian\n"},
        {"tracegrad", "tracegrad: {hidden: 1024, hidden_last: 512, z: 256, scale: 0}\n"},
        {"ensemble", "ranges: [[0, 3]]\n"},
        {"loss-k", "lambda_p: 0\nlambda_q: 0\nlambda_pq: 0\nlambda_r: 1\n"},
        {"loss-pq", "lambda_pq: 0\nlambda_r: 0.9997\n"},
        {"cut-down", "h0: none\ninput: elements\n"},
    };
    char *file = write_file("a.yaml", complete);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        nh_settings with, without;
        char set[64], expected[256];
        const char *override = set;
        snprintf(set, sizeof set, "ablate=[%s]", cases[i][0]);
        OK(nh_settings_read(file, 0, NULL, &without, NULL, &err));
        OK(nh_settings_read(file, 1, &override, &with, NULL, &err));
        for (int twice = 0; twice < 2; twice++)
            OK(nh_settings_ablate(&with, &with.network, &err));
        char *before = nh_settings_text(&without, &without.network),
             *after = nh_settings_text(&with, &with.network), *changed = changes(before, after);
        snprintf(expected, sizeof expected, "%sablate: [%s]\n", cases[i][1], cases[i][0]);
        assert_string_equal(changed, expected);
        free(before);
        free(after);
        free(changed);
        /* what needs other parameters, or another meaning of them, cannot go on from a model that is there */
        const bool other = strstr("input output ensemble cut-down", cases[i][0]) != NULL;
        with.init = strdup("model.nc");
        assert_int_equal(nh_settings_ablate(&with, &with.network, &err), other ? -1 : 0);
        if (other) assert_non_null(strstr(err.text, "needs a network of its own"));
        nh_settings_free(&with);
        nh_settings_free(&without);
    }
}

static void ablations_together(void **state)
{
    (void)state;
    nh_settings s;
    char *file = write_file("a.yaml", complete);
    const char *const ensemble[] = {"ablate=[ensemble, loss-k]"};
    OK(nh_settings_read(file, 1, ensemble, &s, NULL, &err));
    OK(nh_settings_ablate(&s, &s.network, &err));
    assert_true(s.network.n_range == 1 && s.network.range[0][0] == 0 && s.network.range[0][1] == 3);
    assert_true(s.loss.lambda_p == 0 && s.loss.lambda_q == 0 && s.loss.lambda_pq == 0 &&
                s.loss.lambda_r == 1);
    assert_true(s.network.tg_scale == 0.2);
    nh_settings_free(&s);
}

static void refuse_settings(const char *text, const char *set, const char *message)
{
    nh_settings s;
    bool from;
    char *file = write_file("wrong.yaml", text);
    if (nh_settings_read(file, set ? 1 : 0, &set, &s, &from, &err) == 0) {
        const int status = nh_settings_check(&s, file, &err);
        nh_settings_free(&s);
        if (status == 0) fail_msg("accepted: %s %s", text, set ? set : "");
        from = false;
    }
    assert_int_equal(from, set != NULL);
    if (!strstr(err.text, message)) fail_msg("'%s' lacks '%s'", err.text, message);
    if (!strstr(err.text, set ? "--set" : "wrong.yaml")) fail_msg("'%s' does not name its source", err.text);
    assert_null(strchr(err.text, '\n'));
}

static void wrong_settings(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"netwrok: {}\n", ":1: unknown key netwrok"},
        {"run_dir: a\noptimizer: {lr: fast}\n", ":2: lr: number expected, found 'fast'"},
        {"optimizer:\n  lr: -1\n", ":2: lr: -1 found"},
        {"optimizer: {beta: [0.9]}\n", ":1: beta: two numbers"},
        {"optimizer: {beta: [0.9, 1]}\n", "beta: 1 found"},
        {"optimizer: {kind: sgd}\n", "kind: 'sgd' found, adam or adamw expected"},
        {"loss: {kind: mine}\n", "kind: 'mine' found, reference or paper expected"},
        {"loss: {lambda_x: 1}\n", ":1: unknown key lambda_x"},
        {"loss: {lambda_p: 0.5, lambda_q: 0.6}\n", "above 1"},
        {"loss: {lambda_r: 0.5}\n", "lambda_r: with kind reference"},
        {"loss: {k_mesh: [4, 4]}\n", "k_mesh: three numbers"},
        {"loss: {k_mesh: [4, 0, 4]}\n", "k_mesh: 0 found"},
        {"loss: [1]\n", "loss: a map expected"},
        {"schedule: {epochs: 1.5}\n", "epochs: integer expected"},
        {"seed: -4\n", "seed: '-4' found"},
        {"seed: 99999999999999999999\n", "seed:"},
        {"precision: half\n", "precision: 'half' found"},
        {"ensemble: [0, 0]\n", "ensemble: 0 stands twice"},
        {"ensemble: [-1]\n", "ensemble: -1 is no sub-model"},
        {"ablate: [tracegrad, dropout]\n", "ablate: 'dropout' found"},
        {"accumulate: 0\n", "accumulate: 0 found"},
        {"parallel: 0\n", ":1: parallel: data, ensemble or a number of processes from 1 to 64 expected"},
        {"parallel: [2]\n", "parallel: data, ensemble"},
        {"data: {cache: much}\n", "cache: 'much' found"},
        {"data: {train: [a, b]}\n", "train: text expected"},
        {"network: {heads: 0}\n", ":1: heads: 0 found"},
        {"network: [1]\n", "network: a map, or the name of a file"},
        {"network: nowhere.yaml\n", "nowhere.yaml: No such file"},
        {"checkpoint: {every_steps: 0}\n", "every_steps: 0 found"},
        {"network: {heads: 2}\ninit: m.nc\n", ":2: init: the network is the model's"},
        {"- a\n", "map of settings expected"},
        {"run_dir: a\n", "neither network nor init"},
        {"network: {heads: 2}\nrun_dir: a\n", "no train"},
        {"network: {heads: 2}\ndata: {train: /dev/null}\n", "no run_dir"},
        {"network: {heads: 2}\ndata: {train: gone.list}\nrun_dir: a\n", "gone.list: No such file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuse_settings(cases[i][0], NULL, cases[i][1]);
    refuse_settings("run_dir: a\n", "optimizer.lr=fast", "--set optimizer.lr=fast:2: lr: number expected");
    refuse_settings("run_dir: a\n", "optimizr.lr=1", "unknown key optimizr");
    refuse_settings("run_dir: a\n", "lr", "KEY=VALUE expected");
    refuse_settings("run_dir: a\n", "=1", "KEY=VALUE expected");
    refuse_settings("run_dir: a\n", "a b=1", "the key is none");
}

/* --- schedule, Adam --- */

static void schedule(void **state)
{
    (void)state;
    const nh_schedule_settings s = {.epochs = 100, .warmup = 5, .warmup_lr = 1e-6, .min_lr = 1e-5};
    /* docs/network.md 7: 1e-6 + n*(lr-1e-6)/5, then 1e-5 + (lr-1e-5)/2 (1 + cos(pi n/N)) */
    const double expected[][2] = {{0, 1e-6},     {1, 1.008e-4}, {4, 4.002e-4},
                                  {50, 2.55e-4}, {100, 1e-5},   {250, 1e-5}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        assert_true(fabs(nh_learning_rate(&s, 5e-4, (long)expected[i][0]) - expected[i][1]) < 1e-12);
    assert_true(fabs(nh_learning_rate(&s, 5e-4, 5) -
                     (1e-5 + 2.45e-4 * (1 + cos(3.14159265358979323846 * 0.05)))) < 1e-15);
    nh_schedule_settings constant = s;
    constant.kind = NH_SCHEDULE_CONSTANT;
    assert_true(nh_learning_rate(&constant, 5e-4, 5) == 5e-4 &&
                nh_learning_rate(&constant, 5e-4, 400) == 5e-4);
}

/* Adam written out on one number, in the textbook's form. */
static void adam_by_hand(void **state)
{
    (void)state;
    double w = 0.5, m = 0, v = 0;
    nh_param param = {.name = (char[]){"x"}, .count = 1};
    const nh_params p = {.count = 1, .param = &param};
    for (int kind = 0; kind < 2; kind++) {
        const nh_optimizer_settings o = {
            .kind = (nh_optimizer_kind)kind, .beta = {0.9, 0.99}, .eps = 1e-3, .weight_decay = 0.1};
        double wi = 0.5, mi = 0, vi = 0, gi, *pw = &wi, *pm = &mi, *pv = &vi, *pg = &gi;
        nh_weights W = {.count = 1, .as_double = &pw}, M = {.count = 1, .as_double = &pm},
                   V = {.count = 1, .as_double = &pv}, G = {.count = 1, .as_double = &pg};
        w = 0.5, m = v = 0;
        for (int step = 1; step <= 5; step++) {
            const double lr = 0.01 * step, raw = sin(step);
            gi = raw / 0.25;
            nh_adam_step(&o, &p, lr, (uint64_t)step, 0.25, &G, &M, &V, &W, NULL);
            double g = raw;
            if (kind == NH_ADAM)
                g += 0.1 * w;
            else
                w -= lr * 0.1 * w;
            m = 0.9 * m + 0.1 * g;
            v = 0.99 * v + 0.01 * g * g;
            w -= lr * (m / (1 - pow(0.9, step))) / (sqrt(v / (1 - pow(0.99, step))) + 1e-3);
            assert_true(fabs(w - wi) < 1e-15);
        }
    }
}

static void epoch_orders(void **state)
{
    (void)state;
    size_t a[50], b[50], seen[50] = {0};
    nh_epoch_order(1, 3, 50, a);
    nh_epoch_order(1, 3, 50, b);
    assert_memory_equal(a, b, sizeof a);
    for (size_t i = 0; i < 50; i++)
        seen[a[i]]++;
    for (size_t i = 0; i < 50; i++)
        assert_int_equal(seen[i], 1);
    nh_epoch_order(1, 4, 50, b);
    assert_memory_not_equal(a, b, sizeof a);
    nh_epoch_order(2, 3, 50, b);
    assert_memory_not_equal(a, b, sizeof a);
}

/* --- lists and loader --- */

static void lists(void **state)
{
    (void)state;
    nh_names n;
    char expected[256];
    OK(nh_names_read(write_file("l.list", "# comment\na.nc\r\n\n/abs/b.nc\nsub/c.nc"), &n, &err));
    assert_int_equal(n.count, 3);
    snprintf(expected, sizeof expected, "%s/a.nc", folder);
    assert_string_equal(n.name[0], expected);
    assert_string_equal(n.name[1], "/abs/b.nc");
    assert_int_equal(n.line[0], 2);
    assert_int_equal(n.line[2], 5);
    nh_names_free(&n);
    assert_int_equal(nh_names_read(write_file("l.list", "# nothing\n"), &n, &err), -1);
    assert_non_null(strstr(err.text, "no names of files"));
}

typedef struct counts {
    atomic_int made[8], alive, most;
    int fail;
} counts;

static int make(void *context, size_t index, void **thing, size_t *bytes, nh_error *e)
{
    counts *c = context;
    if (c->fail >= 0 && index == (size_t)c->fail) return nh_fail(e, "thing %zu: broken", index);
    c->made[index]++;
    const int alive = ++c->alive;
    if (alive > c->most) c->most = alive;
    size_t *number = malloc(sizeof *number);
    assert_non_null(number);
    *number = index;
    *thing = number;
    *bytes = 100;
    return 0;
}

static void drop(void *context, void *thing)
{
    counts *c = context;
    c->alive--;
    free(thing);
}

static void pass(nh_loader *s, size_t n, const size_t *order)
{
    OK(nh_loader_plan(s, n, order, &err));
    for (size_t i = 0; i < n; i++) {
        void *thing;
        OK(nh_loader_take(s, &thing, &err));
        assert_int_equal(*(size_t *)thing, order[i]);
        nh_loader_release(s, thing);
    }
}

static void loader(void **state)
{
    (void)state;
    const size_t order[8] = {3, 1, 4, 0, 5, 2, 7, 6}, twice[3] = {2, 2, 2};
    void *thing;
    nh_loader *s;
    counts c = {.fail = -1};
    /* room for three of eight: they are made once, the others anew each time; never more than the three, two ahead and one in
     * use */
    OK(nh_loader_new(8, 350, 2, make, drop, &c, &s, &err));
    for (int i = 0; i < 3; i++)
        pass(s, 8, order);
    double bytes;
    assert_int_equal(nh_loader_kept(s, &bytes), 3);
    assert_true(bytes == 300);
    assert_int_equal(c.made[3], 1);
    assert_int_equal(c.made[1], 1);
    assert_int_equal(c.made[4], 1);
    assert_int_equal(c.made[6], 3);
    assert_true(c.most <= 6);
    pass(s, 3, twice);
    /* a plan that is given up */
    OK(nh_loader_plan(s, 8, order, &err));
    OK(nh_loader_take(s, &thing, &err));
    nh_loader_release(s, thing);
    pass(s, 8, order);
    assert_int_equal(nh_loader_take(s, &thing, &err), -1);
    nh_loader_free(s);
    assert_int_equal(c.alive, 0);
    /* everything fits */
    c = (counts){.fail = -1};
    OK(nh_loader_new(8, 1e9, 8, make, drop, &c, &s, &err));
    for (int i = 0; i < 3; i++)
        pass(s, 8, order);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(c.made[i], 1);
    nh_loader_free(s);
    assert_int_equal(c.alive, 0);
    /* an error comes out in its turn */
    c = (counts){.fail = 4};
    OK(nh_loader_new(8, 0, 8, make, drop, &c, &s, &err));
    OK(nh_loader_plan(s, 8, order, &err));
    for (int i = 0; i < 2; i++) {
        OK(nh_loader_take(s, &thing, &err));
        nh_loader_release(s, thing);
    }
    assert_int_equal(nh_loader_take(s, &thing, &err), -1);
    assert_string_equal(err.text, "thing 4: broken");
    nh_loader_free(s);
    assert_int_equal(c.alive, 0);
}

/* --- whole steps --- */

static const int SHELLS[4] = {0, 0, 1, 2};

typedef struct training {
    nh_settings settings;
    nh_train_state state;
    nh_stepper *stepper;
    golden_crystal golden;
    nh_sample *crystal;
} training;

/* The network of the official numbers, and a fast one where there is no need of them. */
static const char SMALL[] = "network: {basis: 2s1p1d, mid: 8x0e+4x1o+4x1e+2x2e+2x2o+2x3e+2x3o+2x4e,\n"
                            "  tracegrad: {hidden: 1024, hidden_last: 64}}\nrun_dir: none\n",
                  TINY[] = "network: {basis: 2s1p1d, sh_lmax: 3, mid: 4x0e+2x1o+2x1e+1x2e, heads: 2, blocks: "
                           "2, edge_scalars: 4,\n"
                           "  tracegrad: {hidden: 8, hidden_last: 8, z: 8}, trace_head: [8], ranges: [[0, "
                           "3], [3, 5], [5, 8]]}\nrun_dir: none\n";

/* only: the sub-model that is trained; NO_ONE: all of them. */
enum { NO_ONE = 99 };
static void begin_part(training *t, const char *network, bool as_double, int threads, nh_memory_kind memory,
                       double ema, size_t only, bool fresh)
{
    nh_config config;
    nh_model *m;
    const int nc = golden_open("network_small.nc");
    OK(nh_settings_read(write_file("t.yaml", network), 0, NULL, &t->settings, NULL, &err));
    t->settings.as_double = as_double;
    t->settings.memory = memory;
    t->settings.optimizer.ema = ema;
    char *text = nh_config_text(&t->settings.network);
    OK(nh_config_parse(text, "config", &config, &err));
    free(text);
    OK(nh_model_new(&config, as_double, &m, &err));
    for (size_t r = 0; r < m->n_range; r++) {
        char prefix[48];
        snprintf(prefix, sizeof prefix, "small:range%zu:", r);
        OK(nh_weights_rule(&m->params, prefix, &m->weights[r], &err));
    }
    if (only != NO_ONE) {
        t->settings.ensemble = calloc(1, sizeof(size_t));
        assert_non_null(t->settings.ensemble);
        t->settings.ensemble[0] = only;
        t->settings.n_ensemble = 1;
    }
    OK(nh_train_state_new(&t->settings, m, fresh, &t->state, &err));
    OK(nh_stepper_new(&t->settings, &t->state, NH_ALONE, threads, &t->stepper, &err));
    OK(nh_stepper_place(t->stepper, TEST_DEVICE, &err));
    nh_sample_kind kind = *nh_stepper_kind(t->stepper);
    kind.with_k = false; /* the states are the golden ones */
    t->golden = golden_crystal_load(nc, 4, SHELLS);
    nc_close(nc);
    OK(nh_sample_new(&kind, "golden", t->golden.g, &t->crystal, &err));
    t->golden.g = NULL;
}

static void begin(training *t, const char *network, bool as_double, int threads, nh_memory_kind memory,
                  double ema)
{
    begin_part(t, network, as_double, threads, memory, ema, NO_ONE, false);
}

static void end(training *t)
{
    nh_sample_free(t->crystal);
    golden_crystal_free(&t->golden);
    nh_stepper_free(t->stepper);
    nh_train_state_free(&t->state);
    nh_settings_free(&t->settings);
}

static void step(training *t, bool squared, double lr, nh_loss_terms *terms)
{
    double norm;
    bool done;
    OK(nh_stepper_add_at(t->stepper, t->crystal, squared, 1, &t->golden.states, terms, &err));
    OK(nh_stepper_apply(t->stepper, lr, 1, false, &norm, &done, &err));
    assert_true(done);
}

static void golden_run(bool squared, const char *name, bool as_double, double tolerance)
{
    training t;
    begin(&t, SMALL, as_double, 2, squared ? NH_MEMORY_RECOMPUTE : NH_MEMORY_STORE, 0);
    const int nc = golden_open("network_small.nc");
    double *golden = golden_read(nc, name);
    for (int s = 0; s <= LAST_STEP; s++) {
        nh_loss_terms l;
        step(&t, squared, 1e-3, &l);
        const double found[4] = {l.total, l.loss_h, l.loss_trace, l.mu};
        for (int i = 0; i < 4; i++)
            if (!(fabs(found[i] - golden[4 * s + i]) <= tolerance * fabs(golden[4 * s + i])))
                fail_msg("%s: step %d, number %d: %.12g, official program %.12g", name, s, i, found[i],
                         golden[4 * s + i]);
    }
    free(golden);
    nc_close(nc);
    end(&t);
}

static void ten_steps_absolute(void **state)
{
    (void)state;
    golden_run(false, "adam_l1", true, 1e-8);
}

static void ten_steps_squared(void **state)
{
    (void)state;
    golden_run(true, "adam_mse", true, 1e-8);
}

static void ten_steps_single(void **state)
{
    (void)state;
    golden_run(false, "adam_l1", false, 2e-3);
}

static uint64_t hash(const training *t)
{
    uint64_t h;
    OK(nh_stepper_gather(t->stepper, &err));
    OK(nh_model_hash(t->state.model, NULL, &h, &err));
    return h;
}

static void close_weights(const nh_params *p, const nh_weights *a, const nh_weights *b, double tolerance)
{
    for (size_t i = 0; i < p->count; i++)
        for (size_t k = 0; a->as_double[i] && k < p->param[i].count; k++)
            if (!(fabs(a->as_double[i][k] - b->as_double[i][k]) <= tolerance))
                fail_msg("%s[%zu]: %.17g, %.17g", p->param[i].name, k, a->as_double[i][k],
                         b->as_double[i][k]);
}

static void close_models(const training *a, const training *b, double tolerance)
{
    OK(nh_stepper_gather(a->stepper, &err));
    OK(nh_stepper_gather(b->stepper, &err));
    for (size_t r = 0; r < a->state.model->n_range; r++)
        close_weights(&a->state.model->params, &a->state.model->weights[r], &b->state.model->weights[r],
                      tolerance);
}

/* One thread or one for each sub-model: the same bits. */
static void threads_do_not_matter(void **state)
{
    (void)state;
    training a, b;
    nh_loss_terms l;
    begin(&a, TINY, false, 1, NH_MEMORY_STORE, 0);
    begin(&b, TINY, false, 4, NH_MEMORY_STORE, 0);
    for (int i = 0; i < 2; i++) {
        step(&a, false, 1e-3, &l);
        step(&b, false, 1e-3, &l);
    }
    assert_int_equal(hash(&a), hash(&b));
    end(&a);
    end(&b);
}

/* Two equal crystals accumulated are one; a skipped step changes nothing; clipping is by the sub-model's norm. */
static void accumulate_skip_clip(void **state)
{
    (void)state;
    training a, b;
    nh_loss_terms l;
    double norm, unclipped;
    bool done;
    begin(&a, TINY, true, 1, NH_MEMORY_STORE, 0);
    begin(&b, TINY, true, 2, NH_MEMORY_STORE, 0);
    step(&a, false, 1e-3, &l);
    for (int i = 0; i < 2; i++)
        OK(nh_stepper_add_at(b.stepper, b.crystal, false, 1, &b.golden.states, &l, &err));
    OK(nh_stepper_apply(b.stepper, 1e-3, 2, false, &norm, &done, &err));
    assert_true(done);
    close_models(&a, &b, 1e-10);
    assert_int_equal(b.state.updates, 1);

    const uint64_t before = hash(&b);
    OK(nh_stepper_add_at(b.stepper, b.crystal, false, 1, &b.golden.states, &l, &err));
    OK(nh_stepper_apply(b.stepper, 1e-3, 1, true, &norm, &done, &err));
    assert_false(done);
    assert_int_equal(hash(&b), before);
    assert_int_equal(b.state.updates, 1);
    /* and leaves no gradient behind */
    step(&a, false, 1e-3, &l);
    step(&b, false, 1e-3, &l);
    close_models(&a, &b, 1e-9);
    const uint64_t now = hash(&b);

    /* a gradient that is not a number, of a loss that is one */
    const double weight = b.settings.loss.lambda_c;
    b.settings.loss.lambda_c = NAN;
    OK(nh_stepper_add_at(b.stepper, b.crystal, false, 1, &b.golden.states, &l, &err));
    assert_true(isfinite(l.loss_h));
    OK(nh_stepper_apply(b.stepper, 1e-3, 1, false, &norm, &done, &err));
    assert_false(done);
    assert_true(isnan(norm));
    assert_int_equal(hash(&b), now);
    b.settings.loss.lambda_c = weight;

    /* clipped gradients enter m scaled to the bound: m/0.1 less what was there before */
    OK(nh_stepper_add_at(b.stepper, b.crystal, false, 1, &b.golden.states, &l, &err));
    const nh_params *p = &b.state.model->params;
    unclipped = nh_weights_norm(p, nh_stepper_gradient(b.stepper, 1));
    assert_true(unclipped > 0);
    b.settings.optimizer.clip = unclipped / 10;
    nh_weights before_m;
    OK(nh_weights_zero_like(p, &b.state.m[1], &before_m, &err));
    nh_weights_copy(p, &before_m, &b.state.m[1]);
    OK(nh_stepper_apply(b.stepper, 1e-3, 1, false, &norm, &done, &err));
    assert_true(done && norm >= unclipped);
    OK(nh_stepper_gather(b.stepper, &err));
    for (size_t i = 0; i < p->count; i++)
        for (size_t k = 0; before_m.as_double[i] && k < p->param[i].count; k++)
            before_m.as_double[i][k] = b.state.m[1].as_double[i][k] - 0.9 * before_m.as_double[i][k];
    assert_true(fabs(nh_weights_norm(p, &before_m) / (0.1 * unclipped / 10) - 1) < 1e-9);
    nh_weights_free(&before_m);
    end(&a);
    end(&b);
}

/* nh_stepper_load: the averages answer, then the weights again; the averages are those of the weights after each step. */
static void averages(void **state)
{
    (void)state;
    enum { STEPS = 3 };
    training t;
    nh_sample_metrics j[STEPS];
    nh_loss_terms l, terms[STEPS];
    begin(&t, TINY, true, 1, NH_MEMORY_STORE, 0.75);
    const nh_params *p = &t.state.model->params;
    nh_weights expected;
    OK(nh_weights_zero_like(p, &t.state.average[1], &expected, &err));
    nh_weights_copy(p, &expected, &t.state.model->weights[1]);
    for (int s = 0; s < STEPS; s++) {
        step(&t, false, 1e-2, &l);
        OK(nh_stepper_gather(t.stepper, &err));
        for (size_t i = 0; i < p->count; i++)
            for (size_t k = 0; expected.as_double[i] && k < p->param[i].count; k++)
                expected.as_double[i][k] =
                    0.75 * expected.as_double[i][k] + 0.25 * t.state.model->weights[1].as_double[i][k];
    }
    close_weights(p, &t.state.average[1], &expected, 1e-14);
    for (int s = 0; s < STEPS; s++) {
        OK(nh_stepper_load(t.stepper, s == 1, &err));
        OK(nh_stepper_evaluate(t.stepper, t.crystal, false, 0, &j[s], &terms[s], &err));
    }
    assert_true(terms[0].loss_h == terms[2].loss_h && terms[0].loss_h != terms[1].loss_h);
    /* as a network that has the averages for weights */
    for (size_t r = 0; r < t.state.model->n_range; r++)
        nh_weights_copy(p, &t.state.model->weights[r], &t.state.average[r]);
    nh_stepper *other;
    OK(nh_stepper_new(&t.settings, &t.state, NH_ALONE, 1, &other, &err));
    OK(nh_stepper_evaluate(other, t.crystal, false, 0, &j[0], &terms[0], &err));
    assert_true(fabs(terms[0].loss_h / terms[1].loss_h - 1) < 1e-12);
    nh_stepper_free(other);
    nh_weights_free(&expected);
    end(&t);
}

#ifdef NH_TESTS_ON_DEVICE_H
/* What a step sends: features, tables of the graph and what the loss needs of the crystal up, the sums of the loss and the norm
 * down; nothing that is as large as the weights, and nothing at all for the update. */
static void traffic(void **state)
{
    (void)state;
    training t;
    nh_loss_terms l;
    double norm;
    bool done;
    enum { LOSS_SUMS = 16 }; /* numbers, at most: four, and five for the k-point */
    size_t up[3], down[3], weights = 0;
    begin_part(&t, SMALL, false, 1, NH_MEMORY_STORE, 0, 1, true); /* the others say nothing */
    const nh_model *m = t.state.model;
    const nh_weights *g = nh_stepper_gradient(t.stepper, 1);
    for (size_t i = 0; i < m->params.count; i++)
        weights += g->as_float[i] ? m->params.param[i].count * sizeof(float) : 0;
    test_device()->call->traffic(test_device()->gpu, &up[0], &down[0]);
    OK(nh_stepper_add_at(t.stepper, t.crystal, false, 1, &t.golden.states, &l, &err));
    test_device()->call->traffic(test_device()->gpu, &up[1], &down[1]);
    OK(nh_stepper_apply(t.stepper, 1e-3, 1, false, &norm, &done, &err));
    test_device()->call->traffic(test_device()->gpu, &up[2], &down[2]);
    assert_true(done);
    assert_true(nh_stepper_on_device(t.stepper));
    assert_true(down[1] > down[0] && down[1] - down[0] <= LOSS_SUMS * sizeof(double));
    assert_true(up[1] > up[0] && up[1] - up[0] < weights / 10);
    assert_int_equal(up[2] - up[1], 0);
    assert_int_equal(down[2] - down[1], sizeof norm);
    end(&t);
}
#endif

/* The metrics of the trainer are that of the official program: its Gauge MAE is of the plain prediction and H0. */
static void metrics_of_h0(void **state)
{
    (void)state;
    training t;
    begin(&t, TINY, true, 1, NH_MEMORY_STORE, 0);
    const int nc = golden_open("network_small.nc");
    double *golden = golden_read(nc, "gauge_mae_baseline");
    assert_true(fabs(t.crystal->h0.region[NH_GAUGE_OVERALL].part[NH_GAUGE_COMPLEX].mae / *golden - 1) <
                1e-10);
    free(golden);
    nc_close(nc);
    end(&t);
}

/* Sub-models that are not trained: they answer as before where they come from a file, and not at all in a fresh model. */
static void part_of_the_ensemble(void **state)
{
    (void)state;
    training t;
    nh_loss_terms all, some, one;
    begin(&t, TINY, true, 2, NH_MEMORY_STORE, 0);
    OK(nh_stepper_add_at(t.stepper, t.crystal, false, 1, &t.golden.states, &all, &err));
    end(&t);
    for (int fresh = 0; fresh < 2; fresh++) {
        begin_part(&t, TINY, true, 2, NH_MEMORY_STORE, 0, 2, fresh == 1);
        const nh_params *p = &t.state.model->params;
        OK(nh_stepper_add_at(t.stepper, t.crystal, false, 1, &t.golden.states, fresh ? &one : &some, &err));
        assert_null(nh_stepper_gradient(t.stepper, 0));
        assert_true(nh_weights_norm(p, nh_stepper_gradient(t.stepper, 2)) > 0);
        const double *bias = t.state.model->weights[1].as_double[nh_params_find(p, "edge_lin.tp.weight")];
        assert_true(fresh ? bias[0] == 0 : bias[0] != 0);
        end(&t);
    }
    /* to rounding: runs that are kept for the way back take the edges in other tiles */
    assert_true(fabs(some.loss_h / all.loss_h - 1) < 1e-14 &&
                fabs(some.loss_trace / all.loss_trace - 1) < 1e-14);
    assert_true(one.loss_h != all.loss_h);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_defaults),
        cmocka_unit_test(settings_overrides),
        cmocka_unit_test(each_ablation),
        cmocka_unit_test(ablations_together),
        cmocka_unit_test(wrong_settings),
        cmocka_unit_test(schedule),
        cmocka_unit_test(adam_by_hand),
        cmocka_unit_test(epoch_orders),
        cmocka_unit_test(lists),
        cmocka_unit_test(loader),
        cmocka_unit_test(ten_steps_absolute),
        cmocka_unit_test(ten_steps_squared),
        cmocka_unit_test(ten_steps_single),
        cmocka_unit_test(accumulate_skip_clip),
        cmocka_unit_test(averages),
#ifdef NH_TESTS_ON_DEVICE_H
        cmocka_unit_test(traffic),
#endif
        cmocka_unit_test(metrics_of_h0),
        cmocka_unit_test(part_of_the_ensemble),
        cmocka_unit_test(threads_do_not_matter),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
