/* csr_binary.c - dialects D, D' and E of ABACUS's sparse matrices (csr.h). */
#include "base/memory.h"
#include "formats/abacus/csr_internal.h"

#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The layouts that exist: they carry no mark, so a file is walked with each and must end exactly. */
typedef struct layout {
    const char *name;
    bool pointers_always;
    size_t pointer_size;
    size_t width; /* doubles a value */
} layout;

static const layout layouts[] = {
    {"D (binary, int32)", false, 4, 1},
    {"D (binary, int32, complex)", false, 4, 2},
    {"D' (binary, int32, pointers always)", true, 4, 1},
    {"D' (binary, int32, pointers always, complex)", true, 4, 2},
    {"E (binary, int64)", true, 8, 1},
    {"E (binary, int64, complex)", true, 8, 2},
};

typedef struct bytes {
    const unsigned char *data;
    size_t size, at;
} bytes;

static bool take_int(bytes *f, long long *out, size_t width)
{
    if (f->size - f->at < width) return false;
    if (width == 4) {
        int32_t x;
        memcpy(&x, f->data + f->at, sizeof x);
        *out = x;
    } else {
        int64_t x;
        memcpy(&x, f->data + f->at, sizeof x);
        *out = x;
    }
    f->at += width;
    return true;
}

static bool skip(bytes *f, size_t count, size_t size)
{
    size_t n;
    if (!nh_size_mul(count, size, &n) || f->size - f->at < n) return false;
    f->at += n;
    return true;
}

/* The elements of one matrix in one cell. */
typedef struct binary_part {
    size_t nnz, value, column, pointer; /* places in the file; pointer = 0: none */
} binary_part;

typedef struct binary_block {
    long cell[3];
    binary_part part[3]; /* of each matrix */
} binary_block;

static bool take_part(bytes *f, const layout *l, size_t dimension, binary_part *out)
{
    long long n;
    if (!take_int(f, &n, 4) || n < 0 || (unsigned long long)n > (unsigned long long)dimension * dimension)
        return false;
    *out = (binary_part){.nnz = (size_t)n, .value = f->at};
    if (!skip(f, out->nnz * l->width, sizeof(double))) return false;
    out->column = f->at;
    if (!skip(f, out->nnz, 4)) return false;
    if (out->nnz == 0 && !l->pointers_always) return true;
    out->pointer = f->at;
    if (!skip(f, dimension + 1, l->pointer_size)) return false;
    bytes first = {f->data, f->size, out->pointer}, last = {f->data, f->size, f->at - l->pointer_size};
    long long begin, end;
    return take_int(&first, &begin, l->pointer_size) && take_int(&last, &end, l->pointer_size) &&
           begin == 0 && (size_t)end == out->nnz;
}

static bool take_block(bytes *f, const layout *l, size_t parts, size_t dimension, binary_block *out)
{
    for (int k = 0; k < 3; k++) {
        long long x;
        if (!take_int(f, &x, 4)) return false;
        out->cell[k] = (long)x;
    }
    for (size_t i = 0; i < parts; i++)
        if (!take_part(f, l, dimension, &out->part[i])) return false;
    return true;
}

static bool take_step_header(bytes *f, long *step, size_t *dimension, long long *n_cell)
{
    long long first, n;
    if (!take_int(f, &first, 4) || !take_int(f, &n, 4) || !take_int(f, n_cell, 4)) return false;
    *step = (long)first + 1;
    *dimension = (size_t)n;
    return first >= 0 && n > 0 && n <= INT_MAX / 2 && *n_cell >= 0;
}

static bool fits(bytes f, const layout *l, size_t parts)
{
    while (f.at < f.size) {
        size_t dimension;
        long step;
        long long n_cell;
        binary_block block;
        if (!take_step_header(&f, &step, &dimension, &n_cell)) return false;
        for (long long i = 0; i < n_cell; i++)
            if (!take_block(&f, l, parts, dimension, &block)) return false;
    }
    return true;
}

static int store_part(const bytes *f, const layout *l, const long cell[3], const binary_part *part,
                      nh_csr_builder *b, nh_error *err)
{
    nh_csr *m = &b->m;
    if (nh_csr_begin_cell(b, cell, err)) return -1;
    if (part->nnz == 0) return 0;
    if (nh_csr_room(b, m->n_value + part->nnz, err)) return -1;
    double *value = m->value + m->n_value * l->width;
    memcpy(value, f->data + part->value, part->nnz * l->width * sizeof *value);
    for (size_t i = 0; i < part->nnz * l->width; i++)
        if (!isfinite(value[i]))
            return nh_fail(err, "matrix element %zu of cell %ld %ld %ld is not finite", i / l->width + 1,
                           cell[0], cell[1], cell[2]);
    bytes column = {f->data, f->size, part->column}, pointer = {f->data, f->size, part->pointer};
    for (size_t i = 0; i < part->nnz; i++) {
        long long c = -1;
        take_int(&column, &c, 4);
        if (c < 0 || (size_t)c >= m->dimension)
            return nh_fail(err, "column index %lld in a matrix of dimension %zu", c, m->dimension);
        m->column[m->n_value + i] = (int)c;
    }
    for (size_t i = 0; i <= m->dimension; i++) {
        long long p = -1;
        take_int(&pointer, &p, l->pointer_size);
        if (nh_csr_put_pointer(b, i, p, part->nnz, err)) return -1;
    }
    nh_csr_end_cell(b, part->nnz);
    return 0;
}

static int store_steps(bytes f, const layout *l, nh_csr_reading *r, nh_error *err)
{
    for (size_t i = 0; i < r->count; i++) {
        r->to[i].width = l->width;
        r->to[i].m.is_complex = l->width == 2;
    }
    while (f.at < f.size && !nh_csr_is_wanted(r)) {
        size_t dimension;
        long step;
        long long n_cell;
        binary_block block;
        if (!take_step_header(&f, &step, &dimension, &n_cell) ||
            nh_csr_begin_step(r, step, dimension, 0, l->name, err))
            return -1;
        for (long long i = 0; i < n_cell; i++) {
            if (!take_block(&f, l, r->count, dimension, &block)) return -1;
            for (size_t k = 0; k < r->count; k++)
                if (store_part(&f, l, block.cell, &block.part[k], &r->to[k], err)) return -1;
        }
    }
    return 0;
}

static int read_bytes(nh_stream *s, const char head[4], unsigned char **data, size_t *size, nh_error *err)
{
    size_t room = 0, got;
    if (!nh_grow(data, &room, 1 << 16, 1)) return nh_csr_no_memory(err);
    memcpy(*data, head, 4);
    *size = 4;
    while ((got = nh_stream_read(s, *data + *size, room - *size)) > 0) {
        *size += got;
        if (*size == room && !nh_grow(data, &room, room + 1, 1)) return nh_csr_no_memory(err);
    }
    return nh_stream_status(s, err);
}

int nh_csr_read_binary(nh_stream *s, nh_csr_reading *r, const char head[4], unsigned char **data,
                       size_t *size, bool *blocks, nh_error *err)
{
    *data = NULL;
    if (read_bytes(s, head, data, size, err)) return -1;
    const bytes f = {*data, *size, 0};
    const size_t n = sizeof layouts / sizeof layouts[0];
    size_t i = 0;
    while (i < n && !fits(f, &layouts[i], r->count))
        i++;
    if (i < n) return store_steps(f, &layouts[i], r, err) ? nh_fail_at(err, "%s", nh_stream_name(s)) : 0;
    *blocks = nh_csr_blocks_fit(*data, *size);
    if (*blocks) return 0;
    return nh_fail(err, "%s: neither text nor a binary sparse matrix of ABACUS (or cut off)",
                   nh_stream_name(s));
}
