/* csr_blocks.c - dialect F of ABACUS's matrices (csr.h): dense blocks of orbitals, from each process its
 * share.
 *
 * A pair of atoms has the rows and columns that one process holds, as indices into the whole matrix, and for
 * each cell R the values row by row. Text: "STEP n", "WORD n_pairs", then for each pair "WORD i j n_row
 * n_column n_R", "WORD rows", "WORD columns", and for each R "WORD Rx Ry Rz" and the values: real, "(re,im)",
 * or re and im. Binary: int32 step, n_pairs; i j n_row n_column n_R; rows; columns; Rx Ry Rz; doubles. */
#include "base/memory.h"
#include "formats/abacus/csr_internal.h"

#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { WORD = 64 };

typedef struct block {
    int cell[3];
    size_t n_row, n_column;
    size_t row, column; /* first of its indices in `index` */
    size_t value;       /* first of its doubles in `value` */
} block;

struct nh_csr_blocks {
    size_t width; /* doubles a value; 0 before it is known */
    long step;    /* from 1; 0 before the first file */
    size_t n_block, block_room;
    block *block;
    size_t n_index, index_room;
    int *index;
    size_t n_value, value_room;
    double *value;
    bool binary;
};

int nh_csr_blocks_new(nh_csr_blocks **out, nh_error *err)
{
    *out = NH_ARRAY(nh_csr_blocks, 1);
    return *out != NULL ? 0 : nh_csr_no_memory(err);
}

void nh_csr_blocks_free(nh_csr_blocks *b)
{
    if (b == NULL) return;
    free(b->block);
    free(b->index);
    free(b->value);
    free(b);
}

static int put_index(nh_csr_blocks *b, long long index, nh_error *err)
{
    if (index < 0 || index >= INT_MAX / 2) return nh_fail(err, "the index of an orbital is %lld", index);
    if (!nh_grow(&b->index, &b->index_room, b->n_index + 1, sizeof *b->index)) return nh_csr_no_memory(err);
    b->index[b->n_index++] = (int)index;
    return 0;
}

static int put_value(nh_csr_blocks *b, double x, nh_error *err)
{
    const block *at = &b->block[b->n_block - 1];
    if (!isfinite(x))
        return nh_fail(err, "a matrix element of cell %d %d %d is not finite", at->cell[0], at->cell[1],
                       at->cell[2]);
    if (!nh_grow(&b->value, &b->value_room, b->n_value + 1, sizeof *b->value)) return nh_csr_no_memory(err);
    b->value[b->n_value++] = x;
    return 0;
}

static int begin_file(nh_csr_blocks *b, long step, nh_error *err)
{
    if (b->step != 0 && b->step != step)
        return nh_fail(err, "blocks of the ionic steps %ld and %ld", b->step, step);
    b->step = step;
    return 0;
}

static int begin_block(nh_csr_blocks *b, const block *pair, const long long cell[3], nh_error *err)
{
    if (!nh_grow(&b->block, &b->block_room, b->n_block + 1, sizeof *b->block)) return nh_csr_no_memory(err);
    block *at = &b->block[b->n_block++];
    *at = *pair;
    at->value = b->n_value;
    for (int k = 0; k < 3; k++) {
        if (cell[k] > INT_MAX / 4 || cell[k] < -(INT_MAX / 4))
            return nh_fail(err, "cell index %lld", cell[k]);
        at->cell[k] = (int)cell[k];
    }
    return 0;
}

/* --- text --- */

static int scan_word(nh_stream *s, const char *what, nh_error *err)
{
    char word[WORD];
    if (nh_scan_word(s, word, sizeof word, what, err)) return -1;
    if (isalpha((unsigned char)word[0])) return 0;
    return nh_fail(err, "%s:%zu: a word that announces %s expected, found '%s'", nh_stream_name(s),
                   nh_stream_line(s), what, word);
}

static int scan_count(nh_stream *s, const char *what, size_t *out, nh_error *err)
{
    long n;
    if (nh_scan_long(s, &n, what, err)) return -1;
    if (n < 0 || n >= INT_MAX / 2)
        return nh_fail(err, "%s:%zu: %s is %ld", nh_stream_name(s), nh_stream_line(s), what, n);
    *out = (size_t)n;
    return 0;
}

static int scan_indices(nh_stream *s, nh_csr_blocks *b, size_t n, nh_error *err)
{
    if (scan_word(s, "the indices of orbitals", err)) return -1;
    for (size_t i = 0; i < n; i++) {
        long x;
        if (nh_scan_long(s, &x, "the index of an orbital", err)) return -1;
        if (put_index(b, x, err)) return nh_fail_at(err, "%s:%zu", nh_stream_name(s), nh_stream_line(s));
    }
    return 0;
}

static bool begins_number(int c)
{
    return isdigit(c) || c == '-' || c == '+' || c == '.';
}

static int scan_reals(nh_stream *s, nh_csr_blocks *b, size_t n, nh_error *err)
{
    for (size_t i = 0; i < n; i++) {
        double x;
        if (nh_scan_real(s, &x, "a matrix element", err)) return -1;
        if (put_value(b, x, err)) return nh_fail_at(err, "%s:%zu", nh_stream_name(s), nh_stream_line(s));
    }
    return 0;
}

static int scan_values(nh_stream *s, nh_csr_blocks *b, size_t n, nh_error *err)
{
    if (n == 0) return 0;
    if (nh_skip_space(s) == '(') {
        if (b->width == 1)
            return nh_fail(err, "%s:%zu: real and complex values in one file", nh_stream_name(s),
                           nh_stream_line(s));
        b->width = 2;
        for (size_t i = 0; i < n; i++) {
            double x[2];
            if (nh_scan_complex(s, x, "a complex matrix element", err)) return -1;
            if (put_value(b, x[0], err) || put_value(b, x[1], err))
                return nh_fail_at(err, "%s:%zu", nh_stream_name(s), nh_stream_line(s));
        }
        return 0;
    }
    if (scan_reals(s, b, n, err)) return -1;
    /* re and im without brackets: as many numbers again before the next word */
    if (b->width == 0) b->width = begins_number(nh_skip_space(s)) ? 2 : 1;
    return b->width == 2 ? scan_reals(s, b, n, err) : 0;
}

static int scan_pair(nh_stream *s, nh_csr_blocks *b, nh_error *err)
{
    size_t atom[2], n_cell = 0, n;
    block pair = {.n_row = 0};
    if (scan_word(s, "a pair of atoms", err) || scan_count(s, "an atom", &atom[0], err) ||
        scan_count(s, "an atom", &atom[1], err) || scan_count(s, "the number of rows", &pair.n_row, err) ||
        scan_count(s, "the number of columns", &pair.n_column, err) ||
        scan_count(s, "the number of cells", &n_cell, err))
        return -1;
    pair.row = b->n_index;
    if (scan_indices(s, b, pair.n_row, err)) return -1;
    pair.column = b->n_index;
    if (scan_indices(s, b, pair.n_column, err)) return -1;
    if (!nh_size_mul(pair.n_row, pair.n_column, &n)) return nh_csr_no_memory(err);
    for (size_t i = 0; i < n_cell; i++) {
        long cell[3];
        if (scan_word(s, "a cell", err)) return -1;
        for (int k = 0; k < 3; k++)
            if (nh_scan_long(s, &cell[k], "a cell index", err)) return -1;
        if (begin_block(b, &pair, (long long[3]){cell[0], cell[1], cell[2]}, err))
            return nh_fail_at(err, "%s:%zu", nh_stream_name(s), nh_stream_line(s));
        if (scan_values(s, b, n, err)) return -1;
    }
    return 0;
}

int nh_csr_blocks_text(nh_csr_blocks *b, nh_stream *s, long step, size_t n_pair, nh_error *err)
{
    if (begin_file(b, step, err)) return nh_fail_at(err, "%s", nh_stream_name(s));
    for (size_t i = 0; i < n_pair; i++)
        if (scan_pair(s, b, err)) return -1;
    if (nh_skip_space(s) == -1) return 0;
    return nh_fail(err, "%s:%zu: something after the last block", nh_stream_name(s), nh_stream_line(s));
}

/* --- binary --- */

typedef struct cursor {
    const unsigned char *data;
    size_t size, at;
} cursor;

static bool take(cursor *f, size_t n, int *out)
{
    if ((f->size - f->at) / sizeof(int32_t) < n) return false;
    for (size_t i = 0; i < n && out != NULL; i++) {
        int32_t x;
        memcpy(&x, f->data + f->at + i * sizeof x, sizeof x);
        out[i] = x;
    }
    f->at += n * sizeof(int32_t);
    return true;
}

/* Walks the file with `width` doubles a value, and puts what it finds into b (NULL: only walks). -1: does not
 * fit. */
static int walk(cursor f, size_t width, nh_csr_blocks *b, nh_error *err)
{
    int head[2], pair[5];
    if (!take(&f, 2, head) || head[0] < 0 || head[1] < 0) return -1;
    if (b != NULL && begin_file(b, (long)head[0] + 1, err)) return -1;
    for (int p = 0; p < head[1]; p++) {
        if (!take(&f, 5, pair)) return -1;
        for (int k = 0; k < 5; k++)
            if (pair[k] < 0) return -1;
        const size_t n_row = (size_t)pair[2], n_column = (size_t)pair[3];
        const cursor index = f;
        size_t n;
        if (!take(&f, n_row, NULL) || !take(&f, n_column, NULL) || !nh_size_mul(n_row, n_column, &n) ||
            !nh_size_mul(n, width * sizeof(double), &n))
            return -1;
        const block of = {.n_row = n_row,
                          .n_column = n_column,
                          .row = b != NULL ? b->n_index : 0,
                          .column = b != NULL ? b->n_index + n_row : 0};
        cursor i = index;
        for (int x; b != NULL && i.at < f.at;)
            if (!take(&i, 1, &x) || put_index(b, x, err)) return -1;
        for (int r = 0; r < pair[4]; r++) {
            int cell[3];
            if (!take(&f, 3, cell) || f.size - f.at < n) return -1;
            if (b != NULL && begin_block(b, &of, (long long[3]){cell[0], cell[1], cell[2]}, err)) return -1;
            for (size_t v = 0; b != NULL && v < n; v += sizeof(double)) {
                double x;
                memcpy(&x, f.data + f.at + v, sizeof x);
                if (put_value(b, x, err)) return -1;
            }
            f.at += n;
        }
    }
    return f.at == f.size ? 0 : -1;
}

bool nh_csr_blocks_fit(const unsigned char *data, size_t size)
{
    const cursor f = {data, size, 0};
    return walk(f, 1, NULL, NULL) == 0 || walk(f, 2, NULL, NULL) == 0;
}

int nh_csr_blocks_binary(nh_csr_blocks *b, const unsigned char *data, size_t size, nh_error *err)
{
    const cursor f = {data, size, 0};
    const bool real = walk(f, 1, NULL, NULL) == 0, is_complex = walk(f, 2, NULL, NULL) == 0;
    b->binary = true;
    if (real && is_complex) return walk(f, 1, b, err); /* no block at all */
    const size_t width = real ? 1 : 2;
    if (b->width != 0 && b->width != width) return nh_fail(err, "real and complex values in one matrix");
    b->width = width;
    return walk(f, width, b, err);
}

/* --- together --- */

static int compare_blocks(const void *a, const void *b)
{
    const block *x = a, *y = b;
    for (int k = 0; k < 3; k++)
        if (x->cell[k] != y->cell[k]) return x->cell[k] < y->cell[k] ? -1 : 1;
    return x->value < y->value ? -1 : x->value > y->value;
}

typedef struct element {
    int row, column;
    size_t value;
} element;

static int compare_elements(const void *a, const void *b)
{
    const element *x = a, *y = b;
    if (x->row != y->row) return x->row < y->row ? -1 : 1;
    return x->column < y->column ? -1 : x->column > y->column;
}

/* The blocks [first, last) of one cell: their elements that are not zero, sorted. */
static int finish_cell(const nh_csr_blocks *b, size_t first, size_t last, element **list, size_t *room,
                       nh_csr_builder *to, nh_error *err)
{
    size_t n = 0;
    for (size_t i = first; i < last; i++) {
        const block *at = &b->block[i];
        if (!nh_grow(list, room, n + at->n_row * at->n_column, sizeof **list)) return nh_csr_no_memory(err);
        for (size_t k = 0; k < at->n_row * at->n_column; k++) {
            const size_t v = at->value + k * b->width;
            if (b->value[v] == 0 && (b->width == 1 || b->value[v + 1] == 0)) continue;
            (*list)[n++] =
                (element){b->index[at->row + k / at->n_column], b->index[at->column + k % at->n_column], v};
        }
    }
    if (n > 0) qsort(*list, n, sizeof **list, compare_elements);
    nh_csr *m = &to->m;
    const int *cell = b->block[first].cell;
    if (nh_csr_begin_cell(to, (long[3]){cell[0], cell[1], cell[2]}, err) ||
        nh_csr_room(to, m->n_value + n, err))
        return -1;
    for (size_t i = 0; i < n; i++) {
        const element *e = &(*list)[i];
        if (i > 0 && compare_elements(e - 1, e) == 0)
            return nh_fail(err, "row %d, column %d of cell %d %d %d is there twice", e->row, e->column,
                           cell[0], cell[1], cell[2]);
        const size_t at = m->n_value++;
        m->row[at] = e->row;
        m->column[at] = e->column;
        memcpy(m->value + at * b->width, b->value + e->value, b->width * sizeof *b->value);
    }
    m->start[m->n_cell] = m->n_value;
    return 0;
}

int nh_csr_blocks_finish(nh_csr_blocks *b, nh_csr_reading *r, nh_error *err)
{
    nh_csr_builder *to = &r->to[0];
    int largest = -1;
    for (size_t i = 0; i < b->n_index; i++)
        if (b->index[i] > largest) largest = b->index[i];
    if (largest < 0) return nh_fail(err, "no blocks in the files of all processes");
    if (b->width == 0) b->width = 1;
    to->width = b->width;
    to->m.is_complex = b->width == 2;
    if (nh_csr_begin_step(r, b->step, (size_t)largest + 1, 0,
                          b->binary ? "F (binary, blocks)" : "F (text, blocks)", err))
        return -1;
    if (b->n_block > 0) qsort(b->block, b->n_block, sizeof *b->block, compare_blocks);
    element *list = NULL;
    size_t room = 0;
    int status = 0;
    for (size_t first = 0, last; first < b->n_block && status == 0; first = last) {
        for (last = first + 1; last < b->n_block &&
                               memcmp(b->block[last].cell, b->block[first].cell, sizeof b->block->cell) == 0;)
            last++;
        status = finish_cell(b, first, last, &list, &room, to, err);
    }
    free(list);
    return status;
}
