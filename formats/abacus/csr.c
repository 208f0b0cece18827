#include "formats/abacus/csr_internal.h"

#include "base/memory.h"

#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- a matrix in the making --- */

void nh_csr_crystal_free(nh_csr_crystal *c)
{
    free(c->fraction);
    free(c->number);
    free(c->species);
    *c = (nh_csr_crystal){.n_atom = 0};
}

void nh_csr_free(nh_csr *m)
{
    if (m == NULL) return;
    free(m->cell);
    free(m->start);
    free(m->row);
    free(m->column);
    free(m->value);
    free(m->name);
    nh_csr_crystal_free(&m->crystal);
    *m = (nh_csr){0};
}

int nh_csr_no_memory(nh_error *err)
{
    return nh_fail_memory(err, "the elements of a sparse matrix");
}

int nh_csr_room(nh_csr_builder *b, size_t count, nh_error *err)
{
    size_t values = b->value_room, columns = values, rows = values;
    if (!nh_grow(&b->m.value, &values, count, b->width * sizeof(double)) ||
        !nh_grow(&b->m.column, &columns, count, sizeof(int)) ||
        !nh_grow(&b->m.row, &rows, count, sizeof(int)))
        return nh_csr_no_memory(err);
    b->value_room = rows;
    return 0;
}

static int begin_step(nh_csr *m, long step, size_t dimension, char quantity, const char *dialect,
                      nh_error *err)
{
    if (dimension == 0 || dimension > INT_MAX / 2) return nh_fail(err, "matrix dimension %zu", dimension);
    m->dimension = dimension;
    m->quantity = quantity;
    m->dialect = dialect;
    m->step = step > 0 ? step : 0;
    m->n_cell = 0;
    m->n_value = 0;
    m->start[0] = 0;
    m->n_step++;
    return 0;
}

int nh_csr_begin_step(nh_csr_reading *r, long step, size_t dimension, char quantity, const char *dialect,
                      nh_error *err)
{
    for (size_t i = 0; i < r->count; i++)
        if (begin_step(&r->to[i].m, step, dimension, quantity, dialect, err)) return -1;
    return 0;
}

bool nh_csr_is_wanted(const nh_csr_reading *r)
{
    const nh_csr *m = &r->to[0].m;
    if (m->n_step == 0) return false;
    if (r->wanted == 0) return r->header_only;
    return m->step > 0 ? m->step == r->wanted : m->n_step == (size_t)r->wanted;
}

int nh_csr_begin_cell(nh_csr_builder *b, const long cell[3], nh_error *err)
{
    nh_csr *m = &b->m;
    for (int k = 0; k < 3; k++)
        if (cell[k] > INT_MAX / 4 || cell[k] < -(INT_MAX / 4)) return nh_fail(err, "cell index %ld", cell[k]);
    size_t cells = b->cell_room;
    if (!nh_grow(&m->cell, &cells, m->n_cell + 2, sizeof *m->cell) ||
        !nh_grow(&m->start, &b->cell_room, m->n_cell + 2, sizeof *m->start))
        return nh_csr_no_memory(err);
    for (int k = 0; k < 3; k++)
        m->cell[m->n_cell][k] = (int)cell[k];
    m->start[m->n_cell++] = m->n_value;
    m->start[m->n_cell] = m->n_value;
    return 0;
}

/* Row pointers grow as they come, like the values. */
int nh_csr_put_pointer(nh_csr_builder *b, size_t index, long long value, size_t nnz, nh_error *err)
{
    if (!nh_grow(&b->pointer, &b->pointer_room, index + 1, sizeof *b->pointer)) return nh_csr_no_memory(err);
    if (value < 0 || (unsigned long long)value > nnz || (index == 0 && value != 0) ||
        (index > 0 && (size_t)value < b->pointer[index - 1]) ||
        (index == b->m.dimension && (size_t)value != nnz))
        return nh_fail(err, "row pointer %zu is %lld (0 to %zu, never decreasing, the last one %zu)", index,
                       value, nnz, nnz);
    b->pointer[index] = (size_t)value;
    return 0;
}

void nh_csr_end_cell(nh_csr_builder *b, size_t nnz)
{
    nh_csr *m = &b->m;
    int *row = m->row + m->n_value;
    for (size_t r = 0; r < m->dimension; r++)
        for (size_t i = b->pointer[r]; i < b->pointer[r + 1]; i++)
            row[i] = (int)r;
    m->n_value += nnz;
    m->start[m->n_cell] = m->n_value;
}

/* --- files --- */

static int compare_cells(const void *a, const void *b)
{
    const int *x = a, *y = b;
    for (int k = 0; k < 3; k++)
        if (x[k] != y[k]) return x[k] < y[k] ? -1 : 1;
    return 0;
}

static int check_cells_differ(const nh_csr *m, nh_error *err)
{
    if (m->n_cell < 2) return 0;
    int(*sorted)[3] = (int(*)[3])nh_calloc(m->n_cell, sizeof *sorted);
    if (sorted == NULL) return nh_fail_memory(err, "the cells of a sparse matrix");
    memcpy(sorted, m->cell, m->n_cell * sizeof *sorted);
    qsort(sorted, m->n_cell, sizeof *sorted, compare_cells);
    int status = 0;
    for (size_t i = 1; i < m->n_cell && status == 0; i++)
        if (compare_cells(sorted[i - 1], sorted[i]) == 0)
            status = nh_fail(err, "%s: cell %d %d %d is there twice", m->name, sorted[i][0], sorted[i][1],
                             sorted[i][2]);
    free(sorted);
    return status;
}

/* Takes the first bytes and what follows them. *blocks: the file is F, and has been added to `all`. */
static int read_stream(nh_stream *s, nh_csr_reading *r, nh_csr_blocks *all, bool *blocks, nh_error *err)
{
    char head[4] = {' ', ' ', ' ', ' '};
    bool binary = false;
    for (int i = 0; i < 4; i++) {
        const int c = nh_stream_get(s);
        if (c == -1) break;
        head[i] = (char)c;
        binary = binary || c == 0; /* the step number; text has no such byte */
    }
    *blocks = false;
    if (!binary) {
        nh_csr_block_head second = {false, 0, 0};
        if (nh_csr_read_text(s, r, head, &second, err)) return -1;
        *blocks = second.is_f;
        return *blocks ? nh_csr_blocks_text(all, s, second.step, second.n_pair, err) : 0;
    }
    unsigned char *data = NULL;
    size_t size;
    int status = nh_csr_read_binary(s, r, head, &data, &size, blocks, err);
    if (status == 0 && *blocks && nh_csr_blocks_binary(all, data, size, err))
        status = nh_fail_at(err, "%s", nh_stream_name(s));
    free(data);
    return status;
}

static int read_file(const char *path, nh_csr_reading *r, nh_csr_blocks *all, bool *blocks, nh_error *err)
{
    nh_stream *s;
    if (nh_stream_open(path, &s, err)) return -1;
    int status = read_stream(s, r, all, blocks, err);
    if (status == 0) status = nh_stream_status(s, err);
    nh_stream_close(s);
    return status;
}

/* "PREFIX_12.dat.gz": the length of "PREFIX_", the number, and what follows it; false for other names. */
static bool split_rank(const char *path, size_t *prefix, unsigned long *rank, const char **ending)
{
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
    const char *dot = strstr(name, ".dat");
    const char *digit = dot;
    while (digit != NULL && digit > name && isdigit((unsigned char)digit[-1]))
        digit--;
    if (dot == NULL || digit == dot || digit == name || digit[-1] != '_' || dot - digit > 9) return false;
    *prefix = (size_t)(digit - path);
    *rank = strtoul(digit, NULL, 10);
    *ending = dot;
    return true;
}

/* The files of a folder whose names differ from the given one in their number only: the largest number, and
 * how many. */
static int count_ranks(const char *path, size_t prefix, const char *ending, unsigned long *last,
                       size_t *count, nh_error *err)
{
    const char *slash = strrchr(path, '/');
    const size_t folder_length = slash != NULL ? (size_t)(slash - path) : 0;
    char *folder = slash == NULL ? nh_strdup(".") : strndup(path, folder_length > 0 ? folder_length : 1);
    if (folder == NULL) return nh_fail_memory(err, "a file name");
    const char *name = slash != NULL ? slash + 1 : path;
    const size_t length = prefix - (size_t)(name - path);
    DIR *dir = opendir(folder);
    free(folder);
    if (dir == NULL) return nh_fail(err, "%s: its folder cannot be read", path);
    *last = 0;
    *count = 0;
    for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
        size_t their_prefix;
        unsigned long rank;
        const char *their_ending;
        if (strncmp(e->d_name, name, length) != 0 ||
            !split_rank(e->d_name, &their_prefix, &rank, &their_ending) || their_prefix != length ||
            strcmp(their_ending, ending) != 0)
            continue;
        ++*count;
        if (rank > *last) *last = rank;
    }
    closedir(dir);
    return 0;
}

/* The files of the other processes. */
static int read_ranks(const char *path, nh_csr_reading *r, nh_csr_blocks *all, nh_error *err)
{
    size_t prefix, count;
    unsigned long rank = 0, last = 0;
    const char *ending;
    if (!split_rank(path, &prefix, &rank, &ending)) return 0;
    if (count_ranks(path, prefix, ending, &last, &count, err)) return -1;
    int status = 0;
    for (unsigned long i = 0; i <= last && status == 0; i++) {
        char *other = NULL;
        bool blocks = true;
        if (i == rank) continue;
        if (asprintf(&other, "%.*s%lu%s", (int)prefix, path, i, ending) < 0)
            return nh_fail_memory(err, "a file name");
        status = read_file(other, r, all, &blocks, err);
        if (status == 0 && !blocks) status = nh_fail(err, "%s: not a file of blocks as %s is", other, path);
        free(other);
    }
    return status;
}

static int read_all(const char *path, nh_csr_reading *r, nh_csr_blocks *all, nh_error *err)
{
    bool blocks = false;
    for (size_t i = 0; i < r->count; i++) {
        nh_csr *m = &r->to[i].m;
        m->efermi = NAN;
        m->start = NH_ARRAY(size_t, 1);
        m->name = nh_strdup(strcmp(path, "-") == 0 ? "standard input" : path);
        if (m->start == NULL || m->name == NULL) return nh_csr_no_memory(err);
    }
    if (read_file(path, r, all, &blocks, err)) return -1;
    const nh_csr *m = &r->to[0].m;
    if (blocks) {
        if (r->count > 1) return nh_fail(err, "%s: blocks of one matrix, r(R) expected", m->name);
        if (read_ranks(path, r, all, err)) return -1;
        if (nh_csr_blocks_finish(all, r, err)) return nh_fail_at(err, "%s", m->name);
    }
    if (m->n_step == 0) return nh_fail(err, "%s: no ABACUS sparse matrix: empty", m->name);
    if (r->wanted > 0 && m->n_step > 1 && !nh_csr_is_wanted(r))
        return nh_fail(err, "%s: no ionic step %ld; the last one is %ld", m->name, r->wanted,
                       m->step > 0 ? m->step : (long)m->n_step);
    return check_cells_differ(m, err);
}

static int read_matrices(const char *path, long step, bool header_only, size_t count, nh_csr *out,
                         nh_error *err)
{
    nh_csr_builder to[3] = {{.width = 0}};
    nh_csr_reading r = {.to = to, .count = count, .wanted = step, .header_only = header_only};
    nh_csr_blocks *all = NULL;
    int status = nh_csr_blocks_new(&all, err);
    if (status == 0) status = read_all(path, &r, all, err);
    nh_csr_blocks_free(all);
    for (size_t i = 0; i < count; i++) {
        free(to[i].pointer);
        if (status != 0) nh_csr_free(&to[i].m);
        out[i] = to[i].m;
    }
    return status;
}

int nh_csr_read(const char *path, nh_csr *out, nh_error *err)
{
    return read_matrices(path, 0, false, 1, out, err);
}

int nh_csr_read_step(const char *path, long step, nh_csr *out, nh_error *err)
{
    return read_matrices(path, step, false, 1, out, err);
}

int nh_csr_read_position(const char *path, long step, nh_csr out[3], nh_error *err)
{
    return read_matrices(path, step, false, 3, out, err);
}

int nh_csr_peek(const char *path, long step, nh_csr *out, nh_error *err)
{
    return read_matrices(path, step, true, 1, out, err);
}
