#include "base/memory.h"
#include "base/outfile.h"
#include "formats/torch/checkpoint.h"

#include <errno.h>
#include <libdeflate.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A file as torch.save makes it: an archive of stored entries, archive/data.pkl (protocol 2) and one storage a tensor. */

typedef struct bytes {
    unsigned char *data;
    size_t size, room;
    bool failed;
} bytes;

static void put(bytes *b, const void *data, size_t n)
{
    if (b->failed) return;
    if (n > b->room - b->size) {
        const size_t room = 2 * (b->size + n) + 256;
        unsigned char *grown = realloc(b->data, room);
        if (grown == NULL) {
            b->failed = true;
            return;
        }
        b->data = grown;
        b->room = room;
    }
    memcpy(b->data + b->size, data, n);
    b->size += n;
}

static void put_number(bytes *b, uint64_t value, size_t n)
{
    unsigned char little[8];
    for (size_t i = 0; i < n; i++)
        little[i] = (unsigned char)(value >> 8 * i);
    put(b, little, n);
}

static void put_text(bytes *b, const char *text)
{
    put(b, text, strlen(text));
}

/* --- the pickle --- */

static void pickle_text(bytes *b, const char *text)
{
    put_text(b, "X");
    put_number(b, strlen(text), 4);
    put_text(b, text);
}

static void pickle_size(bytes *b, size_t n)
{
    put(b, "\x8a\x08", 2); /* LONG1 of eight bytes */
    put_number(b, n, 8);
}

static size_t count_of(const nh_tensor_out *t)
{
    size_t n = 1;
    for (size_t d = 0; d < t->n_dim; d++)
        n *= t->dim[d];
    return n;
}

/* _rebuild_tensor_v2(("storage", torch.FloatStorage, "7", "cpu", count), 0, shape, strides, False, OrderedDict()) */
static void pickle_tensor(bytes *b, const nh_tensor_out *t, size_t number)
{
    char key[24];
    snprintf(key, sizeof key, "%zu", number);
    put_text(b, "ctorch._utils\n_rebuild_tensor_v2\n((");
    pickle_text(b, "storage");
    put_text(b, "ctorch\n");
    put_text(b, nh_dtype_storage(t->dtype));
    put_text(b, "\n");
    pickle_text(b, key);
    pickle_text(b, "cpu");
    pickle_size(b, count_of(t));
    put_text(b, "tQK");
    put_number(b, 0, 1);
    put_text(b, "(");
    for (size_t d = 0; d < t->n_dim; d++)
        pickle_size(b, t->dim[d]);
    put_text(b, "t(");
    for (size_t d = 0; d < t->n_dim; d++) {
        size_t stride = 1;
        for (size_t e = d + 1; e < t->n_dim; e++)
            stride *= t->dim[e] > 0 ? t->dim[e] : 1;
        pickle_size(b, stride);
    }
    put(b,
        "t\x89"
        "ccollections\nOrderedDict\n)RtR",
        sizeof "t\x89"
               "ccollections\nOrderedDict\n)RtR" -
            1);
}

static void pickle_all(bytes *b, size_t n, const nh_tensor_out *tensor, const char *config)
{
    put(b, "\x80\x02}(", 4);
    if (config != NULL) {
        pickle_text(b, "nextham_config");
        pickle_text(b, config);
    }
    pickle_text(b, "state_dict");
    put_text(b, "ccollections\nOrderedDict\n)R(");
    for (size_t i = 0; i < n; i++) {
        pickle_text(b, tensor[i].name);
        pickle_tensor(b, &tensor[i], i);
    }
    put_text(b, "uu.");
}

/* --- numbers --- */

/* Nearest half, ties to even. */
static uint16_t to_half(double x)
{
    const uint16_t sign = signbit(x) ? 0x8000 : 0;
    x = fabs(x);
    if (isnan(x)) return (uint16_t)(sign | 0x7e00);
    if (x >= 65520) return (uint16_t)(sign | 0x7c00);
    if (x == 0) return sign;
    int exponent;
    frexp(x, &exponent);
    const int shift = exponent - 11 < -24 ? -24 : exponent - 11; /* of the last digit */
    const unsigned digits = (unsigned)rint(ldexp(x, -shift));
    return (uint16_t)(sign |
                      (shift == -24 && digits < 1024 ? digits : digits + (unsigned)(shift + 24) * 1024));
}

static uint16_t to_bfloat(double x)
{
    const float f = (float)x;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if (isnan(f)) return 0x7fc0;
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static void put_value(bytes *b, nh_dtype type, double x)
{
    const float f = (float)x;
    switch (type) {
    case NH_FLOAT16:
        put_number(b, to_half(x), 2);
        break;
    case NH_BFLOAT16:
        put_number(b, to_bfloat(x), 2);
        break;
    case NH_FLOAT32:
        put(b, &f, 4);
        break;
    case NH_FLOAT64:
        put(b, &x, 8);
        break;
    case NH_INT8:
    case NH_UINT8:
    case NH_INT16:
    case NH_INT32:
    case NH_INT64:
        put_number(b, (uint64_t)(int64_t)x, nh_dtype_size(type));
        break;
    case NH_BOOL:
        put_number(b, x != 0, 1);
        break;
    }
}

/* --- the archive --- */

typedef struct writer {
    FILE *out;
    bytes directory;
    uint64_t at;
    size_t entries;
    bool failed;
} writer;

static void write_out(writer *w, const void *data, size_t n)
{
    w->failed = w->failed || fwrite(data, 1, n, w->out) != n;
    w->at += n;
}

static void entry(writer *w, const char *name, const bytes *b)
{
    enum { ALIGN = 64 };
    const size_t length = strlen(name);
    /* PyTorch maps storages: numbers begin at multiples of 64 bytes, after a padding field "FB". */
    const size_t bare = (size_t)((w->at + 30 + length + 4) % ALIGN), padding = bare > 0 ? ALIGN - bare : 0;
    const uint32_t crc = libdeflate_crc32(0, b->data, b->size);
    const uint64_t begin = w->at;
    bytes header = {0};
    put_number(&header, 0x04034b50, 4);
    const uint64_t common[] = {0, 0x0800, 0, 0,
                               0x0021}; /* version, UTF-8, stored, midnight, 1 January 1980 */
    for (size_t i = 0; i < 5; i++)
        put_number(&header, common[i], 2);
    put_number(&header, crc, 4);
    put_number(&header, b->size, 4);
    put_number(&header, b->size, 4);
    put_number(&header, length, 2);
    put_number(&header, padding + 4, 2);
    put_text(&header, name);
    put_text(&header, "FB");
    put_number(&header, padding, 2);
    for (size_t i = 0; i < padding; i++)
        put_text(&header, "Z");
    bytes *d = &w->directory;
    put_number(d, 0x02014b50, 4);
    put_number(d, 0, 2);
    for (size_t i = 0; i < 5; i++)
        put_number(d, common[i], 2);
    put_number(d, crc, 4);
    put_number(d, b->size, 4);
    put_number(d, b->size, 4);
    put_number(d, length, 2);
    put_number(d, 0, 2); /* extra, comment, volume, attributes */
    put_number(d, 0, 2);
    put_number(d, 0, 2);
    put_number(d, 0, 2);
    put_number(d, 0, 4);
    put_number(d, begin, 4);
    put_text(d, name);
    w->failed = w->failed || header.failed || d->failed || b->failed;
    if (!w->failed) {
        write_out(w, header.data, header.size);
        write_out(w, b->data, b->size);
        w->entries++;
    }
    free(header.data);
}

static void finish(writer *w)
{
    bytes end = {0};
    put_number(&end, 0x06054b50, 4);
    put_number(&end, 0, 4);
    put_number(&end, w->entries, 2);
    put_number(&end, w->entries, 2);
    put_number(&end, w->directory.size, 4);
    put_number(&end, w->at, 4);
    put_number(&end, 0, 2);
    w->failed = w->failed || end.failed;
    if (!w->failed) {
        write_out(w, w->directory.data, w->directory.size);
        write_out(w, end.data, end.size);
    }
    free(end.data);
}

static void write_entries(writer *w, size_t n, const nh_tensor_out *tensor, const char *config)
{
    bytes b = {0};
    pickle_all(&b, n, tensor, config);
    entry(w, "archive/data.pkl", &b);
    b.size = 0;
    put_text(&b, "little");
    entry(w, "archive/byteorder", &b);
    for (size_t i = 0; i < n && !w->failed; i++) {
        char name[40];
        snprintf(name, sizeof name, "archive/data/%zu", i);
        b.size = 0;
        for (size_t k = 0; k < count_of(&tensor[i]); k++)
            put_value(&b, tensor[i].dtype,
                      tensor[i].values != NULL ? tensor[i].values[k] : (double)tensor[i].single[k]);
        entry(w, name, &b);
    }
    b.size = 0;
    put_text(&b, "3\n");
    entry(w, "archive/version", &b);
    finish(w);
    free(b.data);
}

int nh_checkpoint_write(const char *path, size_t n, const nh_tensor_out *tensor, const char *config,
                        nh_error *err)
{
    uint64_t size = 0;
    for (size_t i = 0; i < n; i++)
        size += count_of(&tensor[i]) * nh_dtype_size(tensor[i].dtype) + 1024;
    if (size > UINT32_MAX || n > 65000)
        return nh_fail(err, "%s: %zu tensors of %llu bytes do not fit in an archive without zip64", path, n,
                       (unsigned long long)size);
    nh_outfile *o;
    if (nh_outfile_begin(path, &o, err) != 0) return -1;
    writer w = {.out = nh_outfile_stream(o, err)};
    if (w.out == NULL) {
        nh_outfile_abort(o);
        return -1;
    }
    write_entries(&w, n, tensor, config);
    const bool memory = w.directory.failed;
    free(w.directory.data);
    if (!w.failed) return nh_outfile_commit(o, err);
    const int cause = errno;
    nh_outfile_abort(o);
    return memory ? nh_fail_memory(err, "a checkpoint") : nh_fail(err, "%s: %s", path, strerror(cause));
}
