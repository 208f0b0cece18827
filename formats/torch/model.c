#include "formats/torch/model.h"

#include "base/memory.h"
#include "formats/torch/checkpoint.h"

#include <ctype.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* --- which network --- */

typedef struct version {
    const char *name, *config;
    size_t norm, input, merge, offset; /* lengths of the four tensors of docs/network-v11.md 4 */
} version;

static const version VERSIONS[] = {
    {"V1", "network: nextham-v1\nbasis: 4s2p2d1f\nreconstruct: uu\n", 104, 11264, 1856, 1160},
    {"V1.1",
     "network: nextham-v1\nbasis: 4s2p2d1f\nmid: "
     "32x0e+16x0o+16x1o+16x1e+8x2e+8x2o+8x3e+8x3o+8x4e+8x4o+4x5e+4x5o+1x6e+1x6o+1x7e\n"
     "tracegrad: {hidden: 1024, hidden_last: 512, z: 256, scale: 0}\nreconstruct: uu\nrydberg: 13.6\n",
     139, 12880, 2211, 2385},
};
enum { N_VERSIONS = sizeof VERSIONS / sizeof *VERSIONS };

static int find_version(const nh_checkpoint *c, const version **out, nh_error *err)
{
    static const char *const names[] = {"blocks.0.norm_1.affine_weight", "input_rs.tp.weight",
                                        "blocks.0.ga.merge_src.tp.weight",
                                        "blocks.0.ga.sep_act.dtp_rad.offset"};
    size_t found[4];
    for (size_t i = 0; i < 4; i++) {
        const size_t t = nh_checkpoint_find(c, names[i]);
        if (t == SIZE_MAX)
            return nh_fail(
                err,
                "%s: no tensor %s: not a checkpoint of this network (--key says where else the weights are)",
                c->path, names[i]);
        found[i] = c->tensor[t].count;
    }
    for (size_t v = 0; v < N_VERSIONS; v++)
        if (found[0] == VERSIONS[v].norm && found[1] == VERSIONS[v].input && found[2] == VERSIONS[v].merge &&
            found[3] == VERSIONS[v].offset) {
            *out = &VERSIONS[v];
            return 0;
        }
    return nh_fail(err,
                   "%s: neither V1 nor V1.1: %s, %s, %s, %s have %zu, %zu, %zu, %zu numbers, expected 104, "
                   "11264, 1856, 1160 or 139, 12880, "
                   "2211, 2385 (--network describes another one)",
                   c->path, names[0], names[1], names[2], names[3], found[0], found[1], found[2], found[3]);
}

static int choose_config(const nh_torch_task *task, const nh_checkpoint *first, nh_config *out,
                         const char **name, nh_error *err)
{
    const version *v = NULL;
    *name = "the network of --network";
    if (task->config == NULL) {
        if (find_version(first, &v, err) != 0) return -1;
        *name = v->name;
    }
    if ((v != NULL ? nh_config_parse(v->config, v->name, out, err)
                   : nh_config_read(task->config, out, err)) != 0)
        return -1;
    if (!isnan(task->rydberg)) out->rydberg = task->rydberg;
    if (task->onsite_copies > 0) out->onsite_copies = task->onsite_copies;
    return 0;
}

/* --- a growing text --- */

static int add_text(char **text, size_t *length, const char *more, nh_error *err)
{
    const size_t n = strlen(more);
    size_t room = 256;
    while (room < *length + n + 1)
        room *= 2;
    char *grown = realloc(*text, room);
    if (grown == NULL) return nh_fail_memory(err, "the names of tensors");
    memcpy(grown + *length, more, n + 1);
    *text = grown;
    *length += n;
    return 0;
}

static void shape_text(size_t n, const size_t *dim, char *text, size_t size)
{
    size_t at = 0;
    snprintf(text, size, "-");
    for (size_t d = 0; d < n && at < size; d++)
        at += (size_t)snprintf(text + at, size - at, "%s%zu", d > 0 ? "x" : "", dim[d]);
}

/* --- import --- */

typedef struct import {
    nh_model *m;
    nh_unused *unused;
    size_t unknown; /* tensors that neither the network nor the official program's dead parts have */
    char first_unknown[128];
} import;

static bool is_float(nh_dtype t)
{
    return t == NH_FLOAT16 || t == NH_BFLOAT16 || t == NH_FLOAT32 || t == NH_FLOAT64;
}

static int take_parameter(const nh_checkpoint *c, size_t tensor, const nh_param *p, nh_weights *w, size_t i,
                          nh_error *err)
{
    const nh_tensor *t = &c->tensor[tensor];
    bool same = t->n_dim == p->n_dim;
    for (size_t d = 0; same && d < t->n_dim; d++)
        same = t->dim[d] == p->dim[d];
    if (!same) {
        char found[160], expected[160];
        shape_text(t->n_dim, t->dim, found, sizeof found);
        shape_text(p->n_dim, p->dim, expected, sizeof expected);
        return nh_fail(err, "%s: tensor %s: shape %s, expected %s", c->path, t->name, found, expected);
    }
    if (!is_float(t->dtype))
        return nh_fail(err, "%s: tensor %s: weights of type %s", c->path, t->name, nh_dtype_name(t->dtype));
    double *values = NH_ARRAY(double, t->count);
    if (values == NULL) return nh_fail_memory(err, t->name);
    int status = nh_checkpoint_values(c, tensor, values, err);
    for (size_t k = 0; status == 0 && k < t->count; k++)
        if (!isfinite(values[k]))
            status = nh_fail(err, "%s: tensor %s: element %zu is %g", c->path, t->name, k, values[k]);
    if (status == 0 && w->as_float != NULL) {
        float *single = nh_calloc_aligned(t->count, sizeof *single);
        if (single == NULL) status = nh_fail_memory(err, t->name);
        for (size_t k = 0; status == 0 && k < t->count; k++)
            single[k] = (float)values[k];
        w->as_float[i] = single;
    } else if (status == 0) {
        w->as_double[i] = nh_calloc_aligned(t->count, sizeof(double));
        if (w->as_double[i] == NULL)
            status = nh_fail_memory(err, t->name);
        else
            memcpy(w->as_double[i], values, t->count * sizeof *values);
    }
    free(values);
    return status;
}

/* Appends a tensor that the network does not use. */
static int keep_unused(const nh_checkpoint *c, size_t tensor, size_t range, size_t *length, nh_unused *u,
                       nh_error *err)
{
    const nh_tensor *t = &c->tensor[tensor];
    char line[1024], shape[160];
    shape_text(t->n_dim, t->dim, shape, sizeof shape);
    snprintf(line, sizeof line, "%s %s %s\n", t->name, nh_dtype_name(t->dtype), shape);
    if (add_text(&u->index[range], length, line, err) != 0) return -1;
    if (nh_checkpoint_values(c, tensor, u->values[range] + u->count[range], err) != 0) return -1;
    for (size_t k = 0; k < t->count && !is_float(t->dtype); k++)
        if (fabs(u->values[range][u->count[range] + k]) > 0x1p53)
            return nh_fail(err, "%s: tensor %s: an integer beyond 2^53 cannot be kept", c->path, t->name);
    u->count[range] += t->count;
    return 0;
}

static int import_range(import *im, const nh_checkpoint *c, size_t range, nh_error *err)
{
    nh_model *m = im->m;
    nh_unused *u = im->unused;
    bool has_double = false;
    size_t rest = 0, length = 0, types = 0;
    for (size_t t = 0; t < c->n_tensor; t++) {
        const bool parameter = nh_params_find(&m->params, c->tensor[t].name) != SIZE_MAX;
        has_double = has_double || (parameter && c->tensor[t].dtype == NH_FLOAT64);
        if (!parameter)
            rest += c->tensor[t].count; /* each is bounded by a file's size, and their number by 2^20 */
    }
    if (has_double) {
        nh_weights_free(&m->weights[range]);
        if (nh_weights_new(&m->params, true, &m->weights[range], err) != 0) return -1;
    }
    u->values[range] = NH_ARRAY(double, rest);
    if (u->values[range] == NULL || add_text(&u->index[range], &length, "", err) != 0 ||
        add_text(&u->types[range], &types, "", err) != 0)
        return nh_fail_memory(err, "tensors that the network does not use");
    for (size_t t = 0; t < c->n_tensor; t++) {
        const char *name = c->tensor[t].name;
        const size_t i = nh_params_find(&m->params, name);
        if (i == SIZE_MAX) {
            if (c->tensor[t].count > 0 && !nh_param_known_dead(name) && im->unknown++ == 0)
                snprintf(im->first_unknown, sizeof im->first_unknown, "%s", name);
            if (keep_unused(c, t, range, &length, u, err) != 0) return -1;
            continue;
        }
        if (take_parameter(c, t, &m->params.param[i], &m->weights[range], i, err) != 0) return -1;
        if (c->tensor[t].dtype != NH_FLOAT32) {
            char line[640];
            snprintf(line, sizeof line, "%s %s\n", name, nh_dtype_name(c->tensor[t].dtype));
            if (add_text(&u->types[range], &types, line, err) != 0) return -1;
        }
    }
    for (size_t i = 0; i < m->params.count; i++) {
        const nh_param *p = &m->params.param[i];
        if (p->optional || nh_checkpoint_find(c, p->name) != SIZE_MAX) continue;
        char expected[160];
        shape_text(p->n_dim, p->dim, expected, sizeof expected);
        return nh_fail(err, "%s: no tensor %s (shape %s expected)", c->path, p->name, expected);
    }
    return 0;
}

/* The number behind "range" in a file's name; -1: none. */
static long range_of(const char *path)
{
    const char *slash = strrchr(path, '/'), *at = strstr(slash != NULL ? slash : path, "range");
    return at != NULL && isdigit((unsigned char)at[5]) ? strtol(at + 5, NULL, 10) : -1;
}

static int unused_new(size_t n, nh_unused *u, nh_error *err)
{
    *u = (nh_unused){.n_range = n,
                     .index = NH_ARRAY(char *, n),
                     .types = NH_ARRAY(char *, n),
                     .count = NH_ARRAY(size_t, n),
                     .values = NH_ARRAY(double *, n)};
    return u->index != NULL && u->types != NULL && u->count != NULL && u->values != NULL
               ? 0
               : nh_fail_memory(err, "tensors that the network does not use");
}

static int check_files(const nh_torch_task *task, const nh_config *config, nh_error *err)
{
    if (task->n_file != config->n_range)
        return nh_fail(err, "%zu files, expected %zu: one for each distance range of the network",
                       task->n_file, config->n_range);
    for (size_t r = 0; r < task->n_file; r++) {
        const long number = range_of(task->file[r]);
        if (number >= 0 && (size_t)number != r)
            return nh_fail(err, "%s: file %zu is for range %zu, its name says range %ld", task->file[r],
                           r + 1, r, number);
    }
    return 0;
}

int nh_torch_import(const nh_torch_task *task, nh_model **out, nh_unused *unused, nh_error *note,
                    nh_error *err)
{
    nh_config config = {0};
    nh_checkpoint *c = NULL;
    const char *name = "";
import im = {.unused = unused };
    char where[64] = "", skipped[256] = "";
    *out = NULL;
    *unused = (nh_unused){0};
    note->text[0] = '\0';
    int status = nh_checkpoint_open(task->file[0], task->key, &c, err);
    if (status == 0) status = choose_config(task, c, &config, &name, err);
    if (status == 0) status = check_files(task, &config, err);
    if (status == 0) status = unused_new(config.n_range, unused, err);
    if (status == 0)
        status = nh_model_new(&config, false, &im.m, err);
    else
        nh_config_free(&config);
    for (size_t r = 0; status == 0 && r < task->n_file; r++) {
        if (r > 0) {
            nh_checkpoint_free(c);
            c = NULL;
            status = nh_checkpoint_open(task->file[r], task->key, &c, err);
        }
        if (status == 0) status = import_range(&im, c, r, err);
        if (status == 0 && r == 0) {
            snprintf(where, sizeof where, "%s", c->key);
            snprintf(skipped, sizeof skipped, "%s", c->skipped);
        }
    }
    nh_checkpoint_free(c);
    if (status != 0) {
        nh_model_free(im.m);
        nh_unused_free(unused);
        return -1;
    }
    nh_fail(note, "%s, weights from %s%s%s", name, where[0] != '\0' ? where : "the whole file",
            skipped[0] != '\0' ? "; not read: " : "", skipped);
    if (im.unknown > 0) {
        const size_t at = strlen(note->text);
        snprintf(note->text + at, sizeof note->text - at,
                 "; %zu tensors are unknown and act on nothing, the first: %s", im.unknown, im.first_unknown);
    }
    *out = im.m;
    return 0;
}

/* --- unused tensors in a model file --- */

void nh_unused_free(nh_unused *u)
{
    for (size_t r = 0; r < u->n_range; r++) {
        if (u->index != NULL) free(u->index[r]);
        if (u->types != NULL) free(u->types[r]);
        if (u->values != NULL) free(u->values[r]);
    }
    free(u->index);
    free(u->types);
    free(u->count);
    free(u->values);
    *u = (nh_unused){0};
}

static void names_of(size_t range, char values[32], char index[32], char types[32])
{
    snprintf(values, 48, "unused%zu", range);
    snprintf(index, 48, "unused%zu_index", range);
    snprintf(types, 48, "types%zu", range);
}

int nh_unused_put(nh_nc *f, const nh_unused *u, nh_error *err)
{
    for (size_t r = 0; r < u->n_range; r++) {
        char values[48], index[48], types[48];
        names_of(r, values, index, types);
        if (u->types[r][0] != '\0' && nh_nc_set_text(f, types, u->types[r], err) != 0) return -1;
        if (u->index[r][0] == '\0') continue;
        if (nh_nc_set_text(f, index, u->index[r], err) != 0) return -1;
        if (u->count[r] == 0) continue;
        bool single = true;
        for (size_t k = 0; k < u->count[r] && single; k++)
            single = !isfinite(u->values[r][k]) || (fabs(u->values[r][k]) <= (double)FLT_MAX &&
                                                    (double)(float)u->values[r][k] == u->values[r][k]);
        const char *dims[] = {values};
        if (nh_nc_def_dim(f, values, u->count[r], err) != 0 ||
            nh_nc_def_var(f, values, single ? NC_FLOAT : NC_DOUBLE, 1, dims, NULL, NULL,
                          "tensors that the network does not use", err) != 0 ||
            nh_nc_put_double(f, values, u->values[r], err) != 0)
            return -1;
    }
    return 0;
}

int nh_unused_get(const nh_nc *f, size_t n_range, nh_unused *out, nh_error *err)
{
    int status = unused_new(n_range, out, err);
    for (size_t r = 0; status == 0 && r < n_range; r++) {
        char values[48], index[48], types[48], number[52];
        names_of(r, values, index, types);
        status = nh_nc_att_text(f, index, &out->index[r], err) != 0 ||
                         nh_nc_att_text(f, types, &out->types[r], err) != 0
                     ? -1
                     : 0;
        if (status == 0 && out->index[r] == NULL) out->index[r] = nh_strdup("");
        if (status == 0 && out->types[r] == NULL) out->types[r] = nh_strdup("");
        if (status == 0 && (out->index[r] == NULL || out->types[r] == NULL))
            status = nh_fail_memory(err, "the names of tensors");
        if (status != 0 || !nh_nc_has(f, values)) continue;
        const char *dims[] = {values};
        snprintf(number, sizeof number, "?%s", values); /* what is not used may be NaN */
        status = nh_nc_dim(f, values, &out->count[r], err);
        if (status == 0 && (out->values[r] = NH_ARRAY(double, out->count[r])) == NULL)
            status = nh_fail_memory(err, "tensors that the network does not use");
        if (status == 0) status = nh_nc_get_double(f, number, 1, dims, out->count[r], out->values[r], err);
    }
    if (status != 0) nh_unused_free(out);
    return status;
}

/* --- export --- */

/* "NAME TYPE N1xN2": the next line of an index, which is left behind it; names lie in the index, whose blanks become NUL. */
static int next_line(char **at, nh_tensor_out *t, size_t dim[NH_TENSOR_DIMS], size_t *count, nh_error *err)
{
    char *line = strsep(at, "\n"), *name = strsep(&line, " "), *type = strsep(&line, " "), *shape = line;
    *t = (nh_tensor_out){.name = name, .dim = dim};
    *count = 1;
    if (shape == NULL || !nh_dtype_from_name(type, &t->dtype))
        return nh_fail(err, "the index of unused tensors is broken at %s", name != NULL ? name : "its end");
    for (char *word; strcmp(shape, "-") != 0 && (word = strsep(&shape, "x")) != NULL;) {
        char *end;
        errno = 0;
        const unsigned long long n = strtoull(word, &end, 10);
        if (t->n_dim == NH_TENSOR_DIMS || end == word || *end != '\0' || errno != 0 ||
            !nh_size_mul(*count, (size_t)n, count))
            return nh_fail(err, "the index of unused tensors is broken at %s", name);
        dim[t->n_dim++] = (size_t)n;
        if (shape == NULL) break;
    }
    return 0;
}

static nh_dtype type_of(const char *types, const char *name, bool as_double)
{
    const size_t n = strlen(name);
    for (const char *at = types; at != NULL && *at != '\0';
         at = strchr(at, '\n') != NULL ? strchr(at, '\n') + 1 : NULL) {
        if (strncmp(at, name, n) != 0 || at[n] != ' ') continue;
        char word[16];
        nh_dtype t;
        if (sscanf(at + n, "%15s", word) == 1 && nh_dtype_from_name(word, &t)) return t;
    }
    return as_double ? NH_FLOAT64 : NH_FLOAT32;
}

static int export_range(const nh_model *m, const nh_unused *u, size_t range, const char *path,
                        const char *config, nh_error *err)
{
    size_t most = m->params.count, n = 0, used = 0;
    for (const char *at = u->index[range]; *at != '\0'; at++)
        most += *at == '\n';
    char *index = nh_strdup(u->index[range]);
    nh_tensor_out *t = NH_ARRAY(nh_tensor_out, most);
    size_t(*dim)[NH_TENSOR_DIMS] = calloc(most, sizeof *dim);
    int status =
        index == NULL || t == NULL || dim == NULL ? nh_fail_memory(err, "the tensors of a checkpoint") : 0;
    const nh_weights *w = &m->weights[range];
    for (size_t i = 0; status == 0 && i < m->params.count; i++) {
        const nh_param *p = &m->params.param[i];
        if (w->as_float != NULL ? w->as_float[i] == NULL : w->as_double[i] == NULL) continue;
        t[n++] = (nh_tensor_out){.name = p->name,
                                 .dtype = type_of(u->types[range], p->name, w->as_double != NULL),
                                 .n_dim = p->n_dim,
                                 .dim = p->dim,
                                 .values = w->as_double != NULL ? w->as_double[i] : NULL,
                                 .single = w->as_float != NULL ? w->as_float[i] : NULL};
    }
    char *at = index;
    while (status == 0 && at != NULL && *at != '\0') {
        size_t count;
        status = next_line(&at, &t[n], dim[n], &count, err);
        if (status == 0 && count > u->count[range] - used)
            status = nh_fail(err, "the index of unused tensors does not fit their numbers");
        if (status != 0) break;
        t[n].values = u->values[range] != NULL ? u->values[range] + used : NULL;
        used += count;
        n++;
    }
    if (status == 0) status = nh_checkpoint_write(path, n, t, config, err);
    free(dim);
    free(t);
    free(index);
    return status;
}

int nh_torch_export(const nh_model *m, const nh_unused *unused, const char *folder, nh_error *err)
{
    if (mkdir(folder, 0777) != 0 && errno != EEXIST) return nh_fail(err, "%s: %s", folder, strerror(errno));
    char *config = nh_config_text(&m->config);
    if (config == NULL) return nh_fail_memory(err, "the config text");
    int status = 0;
    for (size_t r = 0; status == 0 && r < m->n_range; r++) {
        char *path;
        if (asprintf(&path, "%s/model_range%zu_curr.pth.tar", folder, r) < 0) {
            status = nh_fail_memory(err, "a file name");
            break;
        }
        status = export_range(m, unused, r, path, config, err);
        free(path);
    }
    free(config);
    return status;
}
