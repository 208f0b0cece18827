#include "formats/torch/checkpoint.h"

#include "base/memory.h"
#include "formats/torch/pickle.h"
#include "formats/torch/zip.h"

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 64, MOST_TENSORS = 1 << 20, LONGEST_NAME = 512 };

static const struct {
    const char *name, *storage; /* torch.float32, torch.FloatStorage */
    size_t size;
} TYPES[] = {
    [NH_FLOAT16] = {"float16", "HalfStorage", 2},  [NH_BFLOAT16] = {"bfloat16", "BFloat16Storage", 2},
    [NH_FLOAT32] = {"float32", "FloatStorage", 4}, [NH_FLOAT64] = {"float64", "DoubleStorage", 8},
    [NH_INT8] = {"int8", "CharStorage", 1},        [NH_UINT8] = {"uint8", "ByteStorage", 1},
    [NH_INT16] = {"int16", "ShortStorage", 2},     [NH_INT32] = {"int32", "IntStorage", 4},
    [NH_INT64] = {"int64", "LongStorage", 8},      [NH_BOOL] = {"bool", "BoolStorage", 1},
};
enum { N_TYPES = sizeof TYPES / sizeof *TYPES };

const char *nh_dtype_name(nh_dtype t)
{
    return TYPES[t].name;
}

size_t nh_dtype_size(nh_dtype t)
{
    return TYPES[t].size;
}

const char *nh_dtype_storage(nh_dtype t)
{
    return TYPES[t].storage;
}

bool nh_dtype_from_name(const char *name, nh_dtype *out)
{
    for (size_t i = 0; i < N_TYPES; i++)
        if (strcmp(name, TYPES[i].name) == 0) {
            *out = (nh_dtype)i;
            return true;
        }
    return false;
}

typedef struct archive {
    nh_zip *zip;
    size_t *by_name;           /* [n_tensor] tensors in the order of their names */
    char prefix[LONGEST_NAME]; /* "archive/" */
    const unsigned char *pickle_bytes;
    void *owned;
    nh_pickle *pickle;
} archive;

typedef struct reader {
    nh_checkpoint *c;
    archive *a;
    size_t room;
    nh_error *err;
} reader;

/* --- opening --- */

static bool ends_in(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* The entry NAME/data.pkl: NAME is the stem of the file's first name. */
static int find_pickle(archive *a, size_t *entry, nh_error *err)
{
    for (size_t i = 0; i < nh_zip_count(a->zip); i++) {
        const char *name = nh_zip_name(a->zip, i);
        if (strcmp(name, "data.pkl") != 0 && !ends_in(name, "/data.pkl")) continue;
        const size_t n = strlen(name) - strlen("data.pkl");
        if (n >= sizeof a->prefix - 64) continue;
        memcpy(a->prefix, name, n);
        a->prefix[n] = '\0';
        *entry = i;
        return 0;
    }
    return nh_fail(err, "%s: no data.pkl in it: an archive, but none of torch.save%s", nh_zip_path(a->zip),
                   nh_zip_find(a->zip, "constants.pkl") != SIZE_MAX ? " (a TorchScript module)" : "");
}

static int check_byte_order(const archive *a, nh_error *err)
{
    char name[LONGEST_NAME + 16];
    const unsigned char *text;
    void *owned;
    snprintf(name, sizeof name, "%sbyteorder", a->prefix);
    const size_t i = nh_zip_find(a->zip, name);
    if (i == SIZE_MAX) return 0; /* older than 2.1: always little-endian in practice */
    if (nh_zip_data(a->zip, i, &text, &owned, err) != 0) return -1;
    const bool little = nh_zip_size(a->zip, i) == 6 && memcmp(text, "little", 6) == 0;
    free(owned);
    return little ? 0 : nh_fail(err, "%s: written on a big-endian machine", nh_zip_path(a->zip));
}

/* torch.save before 1.6 wrote a bare pickle of this number. */
static bool is_old_torch(const char *path)
{
    static const unsigned char magic[] = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c,
                                          0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};
    unsigned char begin[sizeof magic];
    FILE *f = fopen(path, "rbe");
    const bool old =
        f != NULL && fread(begin, sizeof begin, 1, f) == 1 && memcmp(begin, magic, sizeof magic) == 0;
    if (f != NULL) fclose(f);
    return old;
}

/* --- values of a tensor --- */

static float from_half(uint16_t h)
{
    const int exponent = h >> 10 & 31;
    const double fraction = h & 1023, sign = h & 0x8000 ? -1 : 1;
    if (exponent == 31) return fraction > 0 ? NAN : (float)(sign * INFINITY);
    return (float)(sign * (exponent > 0 ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24)));
}

static double number(nh_dtype t, const unsigned char *p)
{
    uint16_t u16;
    uint32_t u32;
    float f;
    double d;
    int16_t i16;
    int32_t i32;
    int64_t i64;
    switch (t) {
    case NH_FLOAT16:
        memcpy(&u16, p, 2);
        return (double)from_half(u16);
    case NH_BFLOAT16:
        memcpy(&u16, p, 2);
        u32 = (uint32_t)u16 << 16;
        memcpy(&f, &u32, 4);
        return (double)f;
    case NH_FLOAT32:
        memcpy(&f, p, 4);
        return (double)f;
    case NH_FLOAT64:
        memcpy(&d, p, 8);
        return d;
    case NH_INT8:
        return (double)(int8_t)p[0];
    case NH_UINT8:
        return (double)p[0];
    case NH_INT16:
        memcpy(&i16, p, 2);
        return (double)i16;
    case NH_INT32:
        memcpy(&i32, p, 4);
        return (double)i32;
    case NH_INT64:
        memcpy(&i64, p, 8);
        return (double)i64;
    case NH_BOOL:
        return (double)(p[0] != 0);
    }
    return NAN;
}

int nh_checkpoint_values(const nh_checkpoint *c, size_t tensor, double *values, nh_error *err)
{
    const nh_tensor *t = &c->tensor[tensor];
    const archive *a = c->file;
    if (t->count == 0) return 0;
    const unsigned char *bytes;
    void *owned;
    if (nh_zip_data(a->zip, t->storage, &bytes, &owned, err) != 0) return -1;
    size_t index[NH_TENSOR_DIMS] = {0};
    for (size_t n = 0; n < t->count; n++) {
        size_t at = t->offset;
        for (size_t d = 0; d < t->n_dim; d++)
            at += index[d] * t->stride[d];
        values[n] = number(t->dtype, bytes + at * TYPES[t->dtype].size);
        for (size_t d = t->n_dim; d-- > 0 && ++index[d] == t->dim[d];)
            index[d] = 0;
    }
    free(owned);
    return 0;
}

/* --- from the pickle to tensors --- */

static int size_of(const nh_py *v, size_t *out)
{
    if (v == NULL || v->kind != NH_PY_INT || v->integer < 0) return -1;
    *out = (size_t)v->integer;
    return 0;
}

static bool is_tensor(const nh_py *v)
{
    return v != NULL && v->kind == NH_PY_OBJECT && v->callable->kind == NH_PY_GLOBAL &&
           (nh_py_is_global(v->callable, "torch._utils", "_rebuild_tensor_v2") ||
            nh_py_is_global(v->callable, "torch._utils", "_rebuild_tensor") ||
            nh_py_is_global(v->callable, "torch._utils", "_rebuild_parameter") ||
            nh_py_is_global(v->callable, "torch._utils", "_rebuild_parameter_with_state"));
}

/* ("storage", torch.FloatStorage, "12", "cpu", 4096) */
static int read_storage(const reader *r, const char *name, const nh_py *v, nh_tensor *t, size_t *numbers)
{
    const nh_py *id = v->kind == NH_PY_PERSISTENT ? v->argument : NULL;
    if (id == NULL || id->kind != NH_PY_TUPLE || id->count != 5 || !nh_py_is_text(id->item[0], "storage") ||
        id->item[1]->kind != NH_PY_GLOBAL || id->item[2]->kind != NH_PY_TEXT ||
        size_of(id->item[4], numbers) != 0)
        return nh_fail(r->err, "%s: tensor %s: its storage is not described as PyTorch does", r->c->path,
                       name);
    size_t i = 0;
    while (i < N_TYPES && !nh_py_is_global(id->item[1], "torch", TYPES[i].storage))
        i++;
    if (i == N_TYPES)
        return nh_fail(r->err, "%s: tensor %s: numbers of type %.*s are not read", r->c->path, name,
                       (int)(id->item[1]->name_length < 40 ? id->item[1]->name_length : 40),
                       id->item[1]->name);
    t->dtype = (nh_dtype)i;
    char entry[LONGEST_NAME + 64];
    if (id->item[2]->length > 40)
        return nh_fail(r->err, "%s: tensor %s: a storage with a long name", r->c->path, name);
    snprintf(entry, sizeof entry, "%sdata/%.*s", r->a->prefix, (int)id->item[2]->length, id->item[2]->text);
    t->storage = nh_zip_find(r->a->zip, entry);
    if (t->storage == SIZE_MAX) {
        if (*numbers == 0) return 0;
        return nh_fail(r->err, "%s: tensor %s: no entry %s in the archive", r->c->path, name, entry);
    }
    if (*numbers > nh_zip_size(r->a->zip, t->storage) / TYPES[i].size)
        return nh_fail(r->err, "%s: tensor %s: a storage of %zu numbers in %zu bytes", r->c->path, name,
                       *numbers, nh_zip_size(r->a->zip, t->storage));
    return 0;
}

/* Shape and strides; every element lies in the storage. */
static int read_shape(const reader *r, const char *name, const nh_py *shape, const nh_py *stride,
                      size_t numbers, nh_tensor *t)
{
    if (shape->kind == NH_PY_OBJECT && shape->argument->kind == NH_PY_TUPLE && shape->argument->count == 1)
        shape = shape->argument->item[0]; /* torch.Size */
    if (shape->kind != NH_PY_TUPLE || stride->kind != NH_PY_TUPLE || shape->count != stride->count ||
        shape->count > NH_TENSOR_DIMS)
        return nh_fail(r->err, "%s: tensor %s: its shape is not described as PyTorch does", r->c->path, name);
    t->n_dim = shape->count;
    t->count = 1;
    size_t last = t->offset;
    bool good = true;
    for (size_t d = 0; good && d < t->n_dim; d++) {
        size_t reach = 0;
        good = size_of(shape->item[d], &t->dim[d]) == 0 && size_of(stride->item[d], &t->stride[d]) == 0 &&
               nh_size_mul(t->count, t->dim[d], &t->count) &&
               (t->dim[d] == 0 ||
                (nh_size_mul(t->dim[d] - 1, t->stride[d], &reach) && nh_size_add(last, reach, &last)));
    }
    /* A stride of 0 repeats numbers: more elements than the storage has would be memory on the file's word. */
    if (!good || (t->count > 0 && (last >= numbers || t->count > numbers)))
        return nh_fail(r->err, "%s: tensor %s: its elements lie outside of its storage", r->c->path, name);
    return 0;
}

static int add_tensor(reader *r, const char *name, const nh_py *v)
{
    nh_checkpoint *c = r->c;
    const nh_py *args = v->argument;
    if (args->kind == NH_PY_TUPLE && args->count >= 1 && is_tensor(args->item[0]))
        args = args->item[0]->argument; /* a parameter around a tensor */
    if (args->kind != NH_PY_TUPLE || args->count < 4)
        return nh_fail(r->err, "%s: tensor %s: not described as PyTorch does", c->path, name);
    if (c->n_tensor == MOST_TENSORS)
        return nh_fail(r->err, "%s: more than %d tensors", c->path, MOST_TENSORS);
    if (c->n_tensor == r->room) {
        const size_t room = r->room > 0 ? 2 * r->room : 512;
        nh_tensor *grown = realloc(c->tensor, room * sizeof *grown);
        if (grown == NULL) return nh_fail_memory(r->err, "the tensors of a checkpoint");
        c->tensor = grown;
        r->room = room;
    }
    nh_tensor t = {0};
    size_t numbers = 0;
    if (read_storage(r, name, args->item[0], &t, &numbers) != 0) return -1;
    if (size_of(args->item[1], &t.offset) != 0)
        return nh_fail(r->err, "%s: tensor %s: not described as PyTorch does", c->path, name);
    if (read_shape(r, name, args->item[2], args->item[3], numbers, &t) != 0) return -1;
    t.name = nh_strdup(strncmp(name, "module.", 7) == 0 ? name + 7 : name);
    if (t.name == NULL) return nh_fail_memory(r->err, "the tensors of a checkpoint");
    c->tensor[c->n_tensor++] = t;
    return 0;
}

/* "prefix" + key, as text that a terminal can be shown. */
static int join(const reader *r, const char *prefix, const nh_py *key, const char *after,
                char out[LONGEST_NAME])
{
    if (key->kind != NH_PY_TEXT) return nh_fail(r->err, "%s: %s: a name that is no text", r->c->path, prefix);
    const int n = snprintf(out, LONGEST_NAME, "%s%.*s%s", prefix,
                           (int)(key->length < LONGEST_NAME ? key->length : LONGEST_NAME), key->text, after);
    if (n < 0 || n >= LONGEST_NAME || key->length >= LONGEST_NAME)
        return nh_fail(r->err, "%s: a name of more than %d characters", r->c->path, LONGEST_NAME - 1);
    for (const char *c = out; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || (unsigned char)*c >= 127)
            return nh_fail(r->err, "%s: a name with a character that is not printable ASCII", r->c->path);
    return 0;
}

static bool holds_tensors(const nh_py *v)
{
    if (v == NULL || (v->kind != NH_PY_DICT && v->kind != NH_PY_OBJECT)) return false;
    for (size_t i = 0; i + 1 < v->count; i += 2)
        if (is_tensor(v->item[i + 1])) return true;
    return false;
}

/* The dictionary of a module's attributes; NULL where it is none. */
static const nh_py *attributes(const nh_py *v)
{
    if (v == NULL || v->kind != NH_PY_OBJECT || v->state == NULL) return NULL;
    const nh_py *state = v->state;
    if (state->kind == NH_PY_TUPLE && state->count == 2) state = state->item[0]; /* with slots */
    return state->kind == NH_PY_DICT && nh_py_get(state, "_modules") != NULL &&
                   nh_py_get(state, "_parameters") != NULL
               ? state
               : NULL;
}

static int add_dictionary(reader *r, const nh_py *v, const char *prefix)
{
    char name[LONGEST_NAME];
    for (size_t i = 0; i + 1 < v->count; i += 2)
        if (is_tensor(v->item[i + 1]) &&
            (join(r, prefix, v->item[i], "", name) != 0 || add_tensor(r, name, v->item[i + 1]) != 0))
            return -1;
    return 0;
}

static int add_module(reader *r, const nh_py *module, const char *prefix, int depth)
{
    const nh_py *state = attributes(module);
    if (state == NULL) return 0; /* a member that is no module: None, a compiled function */
    if (depth == DEEPEST) return nh_fail(r->err, "%s: modules within modules, %d deep", r->c->path, DEEPEST);
    static const char *const own[] = {"_parameters", "_buffers"};
    for (size_t i = 0; i < 2; i++) {
        const nh_py *d = nh_py_get(state, own[i]);
        if (d != NULL && add_dictionary(r, d, prefix) != 0) return -1;
    }
    const nh_py *inner = nh_py_get(state, "_modules");
    for (size_t i = 0; i + 1 < inner->count; i += 2) {
        char name[LONGEST_NAME];
        if (join(r, prefix, inner->item[i], ".", name) != 0 ||
            add_module(r, inner->item[i + 1], name, depth + 1) != 0)
            return -1;
    }
    return 0;
}

static int set_texts(nh_checkpoint *c, const nh_py *root, const nh_py *weights, const char *key,
                     nh_error *err)
{
    size_t size = 1;
    char *list = malloc(LONGEST_NAME);
    if (list == NULL) return nh_fail_memory(err, "a checkpoint");
    list[0] = '\0';
    for (size_t i = 0; root != weights && i + 1 < root->count; i += 2) {
        const nh_py *k = root->item[i];
        if (root->item[i + 1] == weights || k->kind != NH_PY_TEXT || size + k->length + 3 > LONGEST_NAME)
            continue;
        size += (size_t)snprintf(list + size - 1, LONGEST_NAME - size, "%s%.*s", size > 1 ? ", " : "",
                                 (int)k->length, k->text);
    }
    for (char *at = list; *at != '\0'; at++)
        if ((unsigned char)*at < ' ' || (unsigned char)*at >= 127) *at = '?';
    c->skipped = list;
    c->key = nh_strdup(key);
    return c->key != NULL ? 0 : nh_fail_memory(err, "a checkpoint");
}

static int read_weights(reader *r, const char *key)
{
    static const char *const usual[] = {"state_dict", "model_state_dict", "model", "net", "module"};
    const nh_py *root = nh_pickle_root(r->a->pickle), *weights = NULL;
    const char *found = "";
    if (key != NULL) {
        weights = nh_py_get(root, key);
        found = key;
        if (!holds_tensors(weights) && attributes(weights) == NULL)
            return nh_fail(r->err, "%s: no dictionary of tensors and no module under the key %s", r->c->path,
                           key);
    } else if (holds_tensors(root) || attributes(root) != NULL) {
        weights = root;
    }
    for (size_t i = 0; weights == NULL && i < sizeof usual / sizeof *usual; i++) {
        const nh_py *v = nh_py_get(root, usual[i]);
        if (!holds_tensors(v) && attributes(v) == NULL) continue;
        weights = v;
        found = usual[i];
    }
    if (weights == NULL)
        return nh_fail(r->err, "%s: neither a dictionary of tensors, nor one under state_dict, nor a module",
                       r->c->path);
    if (set_texts(r->c, root, weights, found, r->err) != 0) return -1;
    return attributes(weights) != NULL ? add_module(r, weights, "", 0) : add_dictionary(r, weights, "");
}

static int compare_names(const void *a, const void *b, void *context)
{
    const nh_tensor *t = context;
    return strcmp(t[*(const size_t *)a].name, t[*(const size_t *)b].name);
}

static int sort_names(nh_checkpoint *c, archive *a, nh_error *err)
{
    a->by_name = NH_ARRAY(size_t, c->n_tensor);
    if (a->by_name == NULL) return nh_fail_memory(err, "the tensors of a checkpoint");
    for (size_t i = 0; i < c->n_tensor; i++)
        a->by_name[i] = i;
    qsort_r(a->by_name, c->n_tensor, sizeof *a->by_name, compare_names, c->tensor);
    for (size_t i = 1; i < c->n_tensor; i++)
        if (compare_names(&a->by_name[i - 1], &a->by_name[i], c->tensor) == 0)
            return nh_fail(err, "%s: two tensors are called %s", c->path, c->tensor[a->by_name[i]].name);
    return 0;
}

int nh_checkpoint_open(const char *path, const char *key, nh_checkpoint **out, nh_error *err)
{
    *out = NULL;
    nh_checkpoint *c = nh_calloc(1, sizeof *c);
    archive *a = nh_calloc(1, sizeof *a);
    if (c == NULL || a == NULL || (c->path = nh_strdup(path)) == NULL) {
        free(c);
        free(a);
        return nh_fail_memory(err, "a checkpoint");
    }
    c->file = a;
    size_t entry = 0;
    int status =
        is_old_torch(path)
            ? nh_fail(err, "%s: written by PyTorch before 1.6: load it with a newer one and save it again",
                      path)
            : nh_zip_open(path, &a->zip, err);
    if (status == 0) status = find_pickle(a, &entry, err);
    if (status == 0) status = check_byte_order(a, err);
    if (status == 0) status = nh_zip_data(a->zip, entry, &a->pickle_bytes, &a->owned, err);
    if (status == 0)
        status = nh_pickle_read(a->pickle_bytes, nh_zip_size(a->zip, entry), path, &a->pickle, err);
    reader r = {.c = c, .a = a, .err = err};
    if (status == 0) status = read_weights(&r, key);
    if (status == 0 && c->n_tensor == 0) status = nh_fail(err, "%s: no tensors in it", path);
    if (status == 0) status = sort_names(c, a, err);
    if (status != 0)
        nh_checkpoint_free(c);
    else
        *out = c;
    return status;
}

void nh_checkpoint_free(nh_checkpoint *c)
{
    if (c == NULL) return;
    archive *a = c->file;
    if (a != NULL) {
        nh_pickle_free(a->pickle);
        free(a->by_name);
        free(a->owned);
        nh_zip_close(a->zip);
        free(a);
    }
    for (size_t i = 0; i < c->n_tensor; i++)
        free(c->tensor[i].name);
    free(c->tensor);
    free(c->skipped);
    free(c->key);
    free(c->path);
    free(c);
}

size_t nh_checkpoint_find(const nh_checkpoint *c, const char *name)
{
    const archive *a = c->file;
    size_t low = 0, high = c->n_tensor;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = strcmp(c->tensor[a->by_name[middle]].name, name);
        if (order == 0) return a->by_name[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return SIZE_MAX;
}
