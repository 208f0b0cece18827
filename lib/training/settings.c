#include "training/settings.h"

#include "base/memory.h"
#include "base/stream.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_LIMIT = 1 << 20, MAX_KEY_LEVELS = 8 };

const char *const nh_ablation_names[] = {"input",  "output",  "tracegrad", "ensemble",
                                         "loss-k", "loss-pq", "cut-down",  NULL};

static int get_long(const nh_yaml *map, const char *name, const char *key, long max, long *out, nh_error *err)
{
    size_t value = (size_t)*out;
    if (nh_yaml_get_size(map, name, key, 0, (size_t)max, &value, err)) return -1;
    *out = (long)value;
    return 0;
}

/* --- the sections --- */

static int get_data(const nh_yaml *root, const char *name, const char *folder, nh_settings *s, nh_error *err)
{
    static const char *const known[] = {"train",    "validation",  "test", "cache",
                                        "prefetch", "unconverged", NULL};
    const nh_yaml *map;
    if (nh_yaml_get_map(root, name, "data", known, &map, err) || !map) return map ? -1 : 0;
    return nh_yaml_get_path(map, name, "train", folder, &s->train, err) ||
                   nh_yaml_get_path(map, name, "validation", folder, &s->validation, err) ||
                   nh_yaml_get_path(map, name, "test", folder, &s->test, err) ||
                   nh_yaml_get_bytes(map, name, "cache", &s->cache, err) ||
                   nh_yaml_get_size(map, name, "prefetch", 1, 1000, &s->prefetch, err) ||
                   nh_yaml_get_bool(map, name, "unconverged", &s->unconverged, err)
               ? -1
               : 0;
}

static int get_mesh(const nh_yaml *map, const char *name, int mesh[3], nh_error *err)
{
    const nh_yaml *list = nh_yaml_find(map, "k_mesh");
    if (!list) return 0;
    if (list->kind != NH_YAML_LIST || list->count != 3)
        return nh_fail(err, "%s:%zu: k_mesh: three numbers [n1, n2, n3] expected", name, list->line);
    for (size_t i = 0; i < 3; i++) {
        long n;
        if (nh_yaml_to_long(list->item[i], name, "k_mesh", &n, err)) return -1;
        if (n < 1 || n > 100)
            return nh_fail(err, "%s:%zu: k_mesh: %ld found, numbers from 1 to 100 expected", name, list->line,
                           n);
        mesh[i] = (int)n;
    }
    return 0;
}

/* The words of nh_kshift. */
const char *const nh_k_shift_names[] = {"random", "gamma", "both", NULL};

static int get_loss(const nh_yaml *root, const char *name, nh_loss_settings *l, nh_error *err)
{
    static const char *const known[] = {"kind",     "lambda_c",  "lambda_p", "lambda_q",   "lambda_pq",
                                        "lambda_r", "l1_epochs", "k_mesh",   "k_per_step", "energy_cut",
                                        "cut",      "k_shift",   NULL};
    static const char *const kinds[] = {"reference", "paper", NULL}, *const cuts[] = {"gamma", "per-k", NULL};
    const nh_yaml *map;
    if (nh_yaml_get_map(root, name, "loss", known, &map, err) || !map) return map ? -1 : 0;
    int kind = (int)l->kind, cut = (int)l->cut, shift = (int)l->k_shift;
    if (nh_yaml_get_choice(map, name, "kind", kinds, &kind, err) ||
        nh_yaml_get_choice(map, name, "cut", cuts, &cut, err) ||
        nh_yaml_get_choice(map, name, "k_shift", nh_k_shift_names, &shift, err) ||
        nh_yaml_get_real_in(map, name, "lambda_c", 0, 1, false, &l->lambda_c, err) ||
        nh_yaml_get_real_in(map, name, "lambda_p", 0, 1, false, &l->lambda_p, err) ||
        nh_yaml_get_real_in(map, name, "lambda_q", 0, 1, false, &l->lambda_q, err) ||
        nh_yaml_get_real_in(map, name, "lambda_pq", 0, 1, false, &l->lambda_pq, err) ||
        nh_yaml_get_real_in(map, name, "lambda_r", 0, 1, false, &l->lambda_r, err) ||
        get_long(map, name, "l1_epochs", LONG_MAX, &l->l1_epochs, err) ||
        get_mesh(map, name, l->k_mesh, err) ||
        nh_yaml_get_size(map, name, "k_per_step", 1, 1000000, &l->k_per_step, err) ||
        nh_yaml_get_real_in(map, name, "energy_cut", -1000, 1000, false, &l->energy_cut, err))
        return -1;
    l->kind = (nh_loss_kind)kind;
    l->cut = (nh_kcut)cut;
    l->k_shift = (nh_kshift)shift;
    return 0;
}

static int get_optimizer(const nh_yaml *root, const char *name, nh_optimizer_settings *o, nh_error *err)
{
    static const char *const known[] = {"kind", "lr", "beta", "eps", "weight_decay", "clip", "ema", NULL};
    static const char *const kinds[] = {"adam", "adamw", NULL};
    const nh_yaml *map;
    if (nh_yaml_get_map(root, name, "optimizer", known, &map, err) || !map) return map ? -1 : 0;
    int kind = (int)o->kind;
    if (nh_yaml_get_choice(map, name, "kind", kinds, &kind, err) ||
        nh_yaml_get_real_in(map, name, "lr", 0, 1000, false, &o->lr, err) ||
        nh_yaml_get_real_in(map, name, "eps", 0, 1, true, &o->eps, err) ||
        nh_yaml_get_real_in(map, name, "weight_decay", 0, 1000, false, &o->weight_decay, err) ||
        nh_yaml_get_real_in(map, name, "clip", 0, 1e30, false, &o->clip, err) ||
        nh_yaml_get_real_in(map, name, "ema", 0, 0.999999999, false, &o->ema, err))
        return -1;
    o->kind = (nh_optimizer_kind)kind;
    const nh_yaml *beta = nh_yaml_find(map, "beta");
    if (!beta) return 0;
    if (beta->kind != NH_YAML_LIST || beta->count != 2)
        return nh_fail(err, "%s:%zu: beta: two numbers [b1, b2] expected", name, beta->line);
    for (size_t i = 0; i < 2; i++) {
        if (nh_yaml_to_real(beta->item[i], name, "beta", &o->beta[i], err)) return -1;
        if (!(o->beta[i] >= 0 && o->beta[i] < 1))
            return nh_fail(err, "%s:%zu: beta: %g found, 0 <= beta < 1 expected", name, beta->line,
                           o->beta[i]);
    }
    return 0;
}

static int get_schedule(const nh_yaml *root, const char *name, nh_schedule_settings *s, nh_error *err)
{
    static const char *const known[] = {"kind", "epochs", "warmup", "warmup_lr", "min_lr", NULL};
    static const char *const kinds[] = {"cosine", "constant", NULL};
    const nh_yaml *map;
    if (nh_yaml_get_map(root, name, "schedule", known, &map, err) || !map) return map ? -1 : 0;
    int kind = (int)s->kind;
    if (nh_yaml_get_choice(map, name, "kind", kinds, &kind, err) ||
        get_long(map, name, "epochs", 1000000000, &s->epochs, err) ||
        get_long(map, name, "warmup", 1000000000, &s->warmup, err) ||
        nh_yaml_get_real_in(map, name, "warmup_lr", 0, 1000, false, &s->warmup_lr, err) ||
        nh_yaml_get_real_in(map, name, "min_lr", 0, 1000, false, &s->min_lr, err))
        return -1;
    s->kind = (nh_schedule_kind)kind;
    return 0;
}

static int compare_sizes(const void *a, const void *b)
{
    const size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

static int get_ensemble(const nh_yaml *root, const char *name, nh_settings *s, nh_error *err)
{
    const nh_yaml *list = nh_yaml_find(root, "ensemble");
    if (!list) return 0;
    if (list->kind == NH_YAML_SCALAR && !strcmp(list->text, "all")) return 0;
    if (list->kind != NH_YAML_LIST || list->count == 0 || list->count > NH_MAX_RANGES)
        return nh_fail(err, "%s:%zu: ensemble: a list of sub-models, as [0, 1], or all expected", name,
                       list->line);
    free(s->ensemble);
    s->n_ensemble = 0;
    s->ensemble = NH_ARRAY(size_t, list->count);
    if (!s->ensemble) return nh_fail_memory(err, "ensemble");
    for (size_t i = 0; i < list->count; i++) {
        long r = 0;
        if (nh_yaml_to_long(list->item[i], name, "ensemble", &r, err)) return -1;
        if (r < 0 || r >= NH_MAX_RANGES)
            return nh_fail(err, "%s:%zu: ensemble: %ld is no sub-model", name, list->item[i]->line, r);
        for (size_t k = 0; k < i; k++)
            if (s->ensemble[k] == (size_t)r)
                return nh_fail(err, "%s:%zu: ensemble: %ld stands twice", name, list->item[i]->line, r);
        s->ensemble[s->n_ensemble++] = (size_t)r;
    }
    qsort(s->ensemble, s->n_ensemble, sizeof *s->ensemble, compare_sizes);
    return 0;
}

static int get_ablations(const nh_yaml *root, const char *name, unsigned *out, nh_error *err)
{
    const nh_yaml *list = nh_yaml_find(root, "ablate");
    if (!list) return 0;
    if (list->kind != NH_YAML_LIST)
        return nh_fail(err, "%s:%zu: ablate: a list, as [tracegrad, loss-pq], expected", name, list->line);
    *out = 0;
    for (size_t i = 0; i < list->count; i++) {
        const nh_yaml *item = list->item[i];
        size_t k = 0;
        while (nh_ablation_names[k] &&
               (item->kind != NH_YAML_SCALAR || strcmp(nh_ablation_names[k], item->text)))
            k++;
        if (!nh_ablation_names[k])
            return nh_fail(
                err,
                "%s:%zu: ablate: '%.60s' found; there are input, output, tracegrad, ensemble, loss-k, "
                "loss-pq and cut-down",
                name, item->line, item->kind == NH_YAML_SCALAR ? item->text : "");
        *out |= 1u << k;
    }
    return 0;
}

/* data, ensemble, or how many processes share a crystal. */
static int get_parallel(const nh_yaml *root, const char *name, size_t *out, nh_error *err)
{
    const nh_yaml *node = nh_yaml_find(root, "parallel");
    if (!node) return 0;
    if (node->kind == NH_YAML_SCALAR && !strcmp(node->text, "data"))
        *out = 1;
    else if (node->kind == NH_YAML_SCALAR && !strcmp(node->text, "ensemble"))
        *out = 0;
    else if (nh_yaml_get_size(root, name, "parallel", 1, NH_MAX_RANGES, out, NULL))
        return nh_fail(err, "%s:%zu: parallel: data, ensemble or a number of processes from 1 to %d expected",
                       name, node->line, NH_MAX_RANGES);
    return 0;
}

static int get_seed(const nh_yaml *root, const char *name, uint64_t *out, nh_error *err)
{
    const char *text = NULL;
    if (nh_yaml_get_text(root, name, "seed", &text, err)) return -1;
    if (!text) return 0;
    char *end;
    errno = 0;
    const unsigned long long value = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end || errno)
        return nh_fail(err, "%s:%zu: seed: '%.60s' found, a number from 0 to 18446744073709551615 expected",
                       name, nh_yaml_line(root, "seed"), text);
    *out = value;
    return 0;
}

/* A network of its own file stands there as a name until load_network puts the file's map in its place. */
static int get_network(const nh_yaml *root, const char *name, const char *network_name, nh_settings *s,
                       nh_error *err)
{
    const nh_yaml *map = nh_yaml_find(root, "network");
    if (!map) return 0;
    if (map->kind == NH_YAML_LIST)
        return nh_fail(err, "%s:%zu: network: a map, or the name of a file, expected", name, map->line);
    if (map->kind == NH_YAML_SCALAR) return 0;
    nh_config_free(&s->network);
    s->has_network = nh_config_from_yaml(map, network_name ? network_name : name, &s->network, err) == 0;
    return s->has_network ? 0 : -1;
}

static int get_all(const nh_yaml *root, const char *name, const char *network_name, const char *folder,
                   const char *run_folder, nh_settings *s, nh_error *err)
{
    static const char *const known[] = {"network",    "init",     "data",    "run_dir",    "seed",
                                        "precision",  "ensemble", "loss",    "optimizer",  "schedule",
                                        "accumulate", "memory",   "ablate",  "checkpoint", "zero_output",
                                        "parallel",   "method",   "kernels", NULL};
    static const char *const precisions[] = {"single", "double", NULL},
                             *const methods[] = {"fast", "reference", NULL},
                             *const memories[] = {"store", "recompute", NULL},
                             *const checkpoint_keys[] = {"every_steps", NULL};
    const nh_yaml *checkpoint;
    int precision = s->as_double, memory = (int)s->memory, method = (int)s->method;
    if (root->kind != NH_YAML_MAP)
        return nh_fail(err, "%s:%zu: a map of settings expected", name, root->line);
    if (nh_yaml_check_keys(root, name, known, err) ||
        nh_yaml_get_bool(root, name, "zero_output", &s->zero_output, err) ||
        get_network(root, name, network_name, s, err) ||
        nh_yaml_get_path(root, name, "init", folder, &s->init, err) || get_data(root, name, folder, s, err) ||
        nh_yaml_get_path(root, name, "run_dir", run_folder, &s->run_dir, err) ||
        get_seed(root, name, &s->seed, err) ||
        nh_yaml_get_choice(root, name, "precision", precisions, &precision, err) ||
        get_ensemble(root, name, s, err) || get_loss(root, name, &s->loss, err) ||
        get_optimizer(root, name, &s->optimizer, err) || get_schedule(root, name, &s->schedule, err) ||
        nh_yaml_get_size(root, name, "accumulate", 1, 1000000, &s->accumulate, err) ||
        nh_yaml_get_choice(root, name, "memory", memories, &memory, err) ||
        nh_yaml_get_choice(root, name, "kernels", methods, &method, err) || /* the older name */
        nh_yaml_get_choice(root, name, "method", methods, &method, err) ||
        get_ablations(root, name, &s->ablate, err) || get_parallel(root, name, &s->processes, err) ||
        nh_yaml_get_map(root, name, "checkpoint", checkpoint_keys, &checkpoint, err))
        return -1;
    s->as_double = precision == 1;
    s->memory = (nh_memory_kind)memory;
    s->method = (nh_method)method;
    return checkpoint
               ? nh_yaml_get_size(checkpoint, name, "every_steps", 1, 1000000000, &s->checkpoint_steps, err)
               : 0;
}

/* --- the file, and what the command line puts in its place --- */

static nh_settings defaults(void)
{
    return (nh_settings){.cache = 4e9,
                         .prefetch = 2,
                         .seed = 1,
                         .loss = {.kind = NH_LOSS_REFERENCE,
                                  .lambda_c = 0.2,
                                  .lambda_p = 0.0002,
                                  .lambda_q = 0.0001,
                                  .lambda_pq = 0.00015,
                                  .lambda_r = NAN,
                                  .l1_epochs = 131,
                                  .k_mesh = {4, 4, 4},
                                  .k_per_step = 1,
                                  .energy_cut = 10.0},
                         .optimizer = {.lr = 5e-4, .beta = {0.9, 0.999}, .eps = 1e-8},
                         .schedule = {.epochs = 100, .warmup = 5, .warmup_lr = 1e-6, .min_lr = 1e-5},
                         .accumulate = 1,
                         .processes = 1,
                         .checkpoint_steps = 200};
}

void nh_settings_free(nh_settings *s)
{
    if (!s) return;
    nh_config_free(&s->network);
    free(s->init);
    free(s->train);
    free(s->validation);
    free(s->test);
    free(s->run_dir);
    free(s->ensemble);
    *s = (nh_settings){0};
}

static char *folder_of(const char *path)
{
    char *real = strcmp(path, "-") ? realpath(path, NULL) : getcwd(NULL, 0);
    if (real && strcmp(path, "-")) {
        char *slash = strrchr(real, '/');
        slash[slash == real] = '\0';
    }
    return real;
}

/* `network: file.yaml`: the file's map in the place of its name. *network_name: the file, owned by the
 * caller. */
static int load_network(nh_yaml *root, const char *name, const char *folder, char **network_name,
                        nh_error *err)
{
    nh_yaml *node = NULL;
    size_t at = 0;
    if (root->kind != NH_YAML_MAP) return 0;
    for (; at < root->count; at++)
        if (!strcmp(root->key[at], "network")) {
            node = root->item[at];
            break;
        }
    if (!node || node->kind != NH_YAML_SCALAR) return 0;
    free(*network_name);
    *network_name = NULL;
    if (nh_yaml_get_path(root, name, "network", folder, network_name, err)) return -1;
    if (!*network_name)
        return nh_fail(err, "%s:%zu: network: a map, or the name of a file, expected", name, node->line);
    char *text = NULL;
    nh_yaml *tree = NULL;
    if (nh_read_text(*network_name, TEXT_LIMIT, &text, err) ||
        nh_yaml_parse(text, *network_name, &tree, err)) {
        free(text);
        return nh_fail_at(err, "%s:%zu: network", name, node->line);
    }
    free(text);
    /* As nh_config_parse: the keys may stand one level down. */
    if (tree->kind == NH_YAML_MAP && tree->count == 1 && !strcmp(tree->key[0], "network") &&
        tree->item[0]->kind == NH_YAML_MAP) {
        nh_yaml *inner = tree->item[0];
        tree->item[0] = node;
        root->item[at] = inner;
        nh_yaml_free(tree);
    } else {
        nh_yaml_free(node);
        root->item[at] = tree;
    }
    return 0;
}

/* Moves what `from` has into `to`: maps key by key, all else as a whole. */
static int merge(nh_yaml *to, nh_yaml *from, nh_error *err)
{
    for (size_t i = 0; i < from->count; i++) {
        size_t k = 0;
        while (k < to->count && strcmp(to->key[k], from->key[i]))
            k++;
        if (k < to->count && to->item[k]->kind == NH_YAML_MAP && from->item[i]->kind == NH_YAML_MAP) {
            if (merge(to->item[k], from->item[i], err)) return -1;
        } else if (k < to->count) {
            nh_yaml *old = to->item[k];
            to->item[k] = from->item[i];
            from->item[i] = old;
        } else {
            if (!nh_grow_one(&to->key, to->count, sizeof *to->key) ||
                !nh_grow_one(&to->item, to->count, sizeof *to->item))
                return nh_fail_memory(err, "settings");
            to->key[to->count] = from->key[i];
            to->item[to->count++] = from->item[i];
            from->key[i] = NULL;
            from->item[i] = NULL;
        }
    }
    return 0;
}

/* "a.b=value" as a tree of maps. */
static int parse_override(const char *text, const char *name, nh_yaml **out, nh_error *err)
{
    const char *equals = strchr(text, '=');
    char *yaml = NULL;
    size_t size = 0, levels = 0;
    if (!equals || equals == text || text[0] == '.' || equals[-1] == '.')
        return nh_fail(err, "%s: KEY=VALUE expected", name);
    FILE *f = open_memstream(&yaml, &size);
    if (!f) return nh_fail_memory(err, name);
    for (const char *at = text; at < equals; at++) {
        if (*at == '.')
            fprintf(f, ":\n%*s", (int)++levels, "");
        else if (isalnum((unsigned char)*at) || *at == '_' || *at == '-')
            fputc(*at, f);
        else
            levels = MAX_KEY_LEVELS;
    }
    fprintf(f, ": %s\n", equals + 1);
    if (fclose(f)) {
        free(yaml);
        return nh_fail_memory(err, name);
    }
    int status = levels >= MAX_KEY_LEVELS ? nh_fail(err, "%s: the key is none", name)
                                          : nh_yaml_parse(yaml, name, out, err);
    free(yaml);
    return status;
}

static int apply_override(nh_yaml *root, const char *set, const char *cwd, char **network_name, nh_error *err)
{
    char *name = NULL;
    nh_yaml *tree = NULL;
    nh_settings unused = defaults();
    char *other_network = NULL;
    if (asprintf(&name, "--set %s", set) < 0) return nh_fail_memory(err, "--set");
    int status = parse_override(set, name, &tree, err);
    if (!status) status = load_network(tree, name, cwd, &other_network, err);
    /* By itself first, for messages that say where the value comes from. */
    if (!status) status = get_all(tree, name, other_network, cwd, cwd, &unused, err);
    /* Names are relative to the working folder here: they are made absolute before the file's folder is put
     * before them. */
    const struct {
        const char *section, *key;
        const char *value;
    } paths[] = {{NULL, "init", unused.init},
                 {NULL, "run_dir", unused.run_dir},
                 {"data", "train", unused.train},
                 {"data", "validation", unused.validation},
                 {"data", "test", unused.test}};
    for (size_t i = 0; !status && i < sizeof paths / sizeof *paths; i++) {
        const nh_yaml *map = paths[i].section ? nh_yaml_find(tree, paths[i].section) : tree;
        for (size_t k = 0; map && paths[i].value && k < map->count; k++) {
            if (strcmp(map->key[k], paths[i].key)) continue;
            free(map->item[k]->text);
            map->item[k]->text = nh_strdup(paths[i].value);
            if (!map->item[k]->text) status = nh_fail_memory(err, name);
        }
    }
    if (!status) status = merge(root, tree, err);
    if (!status && other_network) {
        free(*network_name);
        *network_name = other_network;
        other_network = NULL;
    }
    nh_settings_free(&unused);
    nh_yaml_free(tree);
    free(other_network);
    free(name);
    return status;
}

int nh_settings_read(const char *path, size_t n_set, const char *const *set, nh_settings *out,
                     bool *from_command_line, nh_error *err)
{
    const char *name = strcmp(path, "-") ? path : "(standard input)";
    char *text = NULL, *network_name = NULL, *folder = NULL, *cwd = getcwd(NULL, 0);
    nh_yaml *root = NULL;
    bool unused_flag, *given = from_command_line ? from_command_line : &unused_flag;
    *out = defaults();
    *given = false;
    int status = cwd ? 0 : nh_fail(err, "the working folder: %s", strerror(errno));
    if (!status) status = nh_read_text(path, TEXT_LIMIT, &text, err);
    if (!status && !(folder = folder_of(path))) status = nh_fail(err, "%s: %s", name, strerror(errno));
    if (!status) status = nh_yaml_parse(text, name, &root, err);
    if (!status) status = load_network(root, name, folder, &network_name, err);
    if (!status) status = get_all(root, name, network_name, folder, cwd, out, err);
    if (!status && n_set > 0) {
        for (size_t i = 0; !status && i < n_set; i++)
            status = apply_override(root, set[i], cwd, &network_name, err);
        if (status) *given = true;
        if (!status) {
            nh_settings_free(out);
            *out = defaults();
            status = get_all(root, name, network_name, folder, cwd, out, err);
        }
    }
    if (!status && out->loss.kind == NH_LOSS_REFERENCE) {
        const double rest = 1 - out->loss.lambda_p - out->loss.lambda_q - out->loss.lambda_pq;
        const nh_yaml *loss = nh_yaml_find(root, "loss");
        if (!isnan(out->loss.lambda_r) && fabs(out->loss.lambda_r - rest) > 1e-9)
            status = nh_fail(
                err, "%s:%zu: lambda_r: with kind reference it is 1 - lambda_p - lambda_q - lambda_pq = %g",
                name, nh_yaml_line(loss, "lambda_r"), rest);
        else if (rest < 0)
            status = nh_fail(err, "%s:%zu: lambda_p + lambda_q + lambda_pq is above 1", name,
                             nh_yaml_line(loss, "lambda_p"));
        out->loss.lambda_r = rest;
    }
    if (!status && isnan(out->loss.lambda_r))
        out->loss.lambda_r = 1 - out->loss.lambda_p - out->loss.lambda_q - out->loss.lambda_pq;
    if (!status && out->init && nh_yaml_find(root, "network"))
        status = nh_fail(err, "%s:%zu: init: the network is the model's, so `network` must not stand there",
                         name, nh_yaml_line(root, "init"));
    if (status) nh_settings_free(out);
    nh_yaml_free(root);
    free(text);
    free(network_name);
    free(folder);
    free(cwd);
    return status;
}

/* --- checks and ablations --- */

static int readable(const char *file, const char *path, const char *key, nh_error *err)
{
    if (!file || access(file, R_OK) == 0) return 0;
    return nh_fail(err, "%s: %s: %s: %s", path, key, file, strerror(errno));
}

int nh_settings_check(const nh_settings *s, const char *path, nh_error *err)
{
    if (!s->has_network && !s->init) return nh_fail(err, "%s: neither network nor init is there", path);
    if (!s->train) return nh_fail(err, "%s: data: no train", path);
    if (!s->run_dir) return nh_fail(err, "%s: no run_dir", path);
    return readable(s->train, path, "data: train", err) ||
                   readable(s->validation, path, "data: validation", err) ||
                   readable(s->test, path, "data: test", err) || readable(s->init, path, "init", err)
               ? -1
               : 0;
}

int nh_settings_ablate(nh_settings *s, nh_config *network, nh_error *err)
{
    if (s->ablate & NH_ABLATE_LOSS_K) s->loss.lambda_p = s->loss.lambda_q = s->loss.lambda_pq = 0;
    if (s->ablate & NH_ABLATE_LOSS_PQ) s->loss.lambda_pq = 0;
    if (s->ablate & (NH_ABLATE_LOSS_K | NH_ABLATE_LOSS_PQ) && s->loss.kind == NH_LOSS_REFERENCE)
        s->loss.lambda_r = 1 - s->loss.lambda_p - s->loss.lambda_q - s->loss.lambda_pq;
    if (s->ablate & NH_ABLATE_TRACEGRAD) network->tg_scale = 0;
    const unsigned other = NH_ABLATE_INPUT | NH_ABLATE_OUTPUT | NH_ABLATE_CUT_DOWN | NH_ABLATE_ENSEMBLE;
    for (size_t i = 0; s->init && nh_ablation_names[i]; i++)
        if (s->ablate & other & 1u << i)
            return nh_fail(err, "ablate: %s needs a network of its own, not that of init",
                           nh_ablation_names[i]);
    if (s->ablate & NH_ABLATE_INPUT) network->input = NH_INPUT_ELEMENTS;
    if (s->ablate & NH_ABLATE_OUTPUT) network->target = NH_TARGET_HAMILTONIAN;
    if (s->ablate & NH_ABLATE_CUT_DOWN) {
        network->input = NH_INPUT_ELEMENTS;
        network->h0 = NH_H0_NONE;
    }
    if (s->ablate & NH_ABLATE_ENSEMBLE) {
        double lo = network->range[0][0], hi = network->range[0][1];
        for (size_t i = 1; i < network->n_range; i++) {
            lo = fmin(lo, network->range[i][0]);
            hi = fmax(hi, network->range[i][1]);
        }
        network->n_range = 1;
        network->range[0][0] = lo;
        network->range[0][1] = hi;
        s->n_ensemble = 0;
    }
    return 0;
}
