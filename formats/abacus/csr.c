#include "formats/abacus/csr.h"

#include "base/memory.h"
#include "base/stream.h"
#include "formats/abacus/orbitals.h"

#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 512, WORD = 64, MOST_HEADER_LINES = 10000000 };

/* Room that grows as numbers really come, so that a header that lies cannot ask for terabytes. */
typedef struct builder {
    nh_csr m;
    size_t cell_room, value_room, width; /* width: doubles a value, 0 before the first one is seen */
    size_t *pointer;                     /* [dimension+1] row pointers of the block at hand */
    size_t pointer_room;
} builder;

void nh_csr_free(nh_csr *m)
{
    if (m == NULL) return;
    free(m->cell);
    free(m->start);
    free(m->row);
    free(m->column);
    free(m->value);
    free(m->name);
    *m = (nh_csr){0};
}

static int no_memory(nh_error *err)
{
    return nh_fail_memory(err, "the elements of a sparse matrix");
}

static int ensure_values(builder *b, size_t count, nh_error *err)
{
    size_t values = b->value_room, columns = values, rows = values;
    if (!nh_grow(&b->m.value, &values, count, b->width * sizeof(double)) ||
        !nh_grow(&b->m.column, &columns, count, sizeof(int)) ||
        !nh_grow(&b->m.row, &rows, count, sizeof(int)))
        return no_memory(err);
    b->value_room = rows;
    return 0;
}

static int begin_step(builder *b, size_t dimension, char quantity, const char *dialect, nh_error *err)
{
    nh_csr *m = &b->m;
    if (dimension == 0 || dimension > INT_MAX / 2) return nh_fail(err, "matrix dimension %zu", dimension);
    m->dimension = dimension;
    m->quantity = quantity;
    m->dialect = dialect;
    m->n_cell = 0;
    m->n_value = 0;
    m->n_step++;
    return 0;
}

static int begin_cell(builder *b, const long cell[3], nh_error *err)
{
    nh_csr *m = &b->m;
    for (int k = 0; k < 3; k++)
        if (cell[k] > INT_MAX / 4 || cell[k] < -(INT_MAX / 4)) return nh_fail(err, "cell index %ld", cell[k]);
    size_t cells = b->cell_room;
    if (!nh_grow(&m->cell, &cells, m->n_cell + 2, sizeof *m->cell) ||
        !nh_grow(&m->start, &b->cell_room, m->n_cell + 2, sizeof *m->start))
        return no_memory(err);
    for (int k = 0; k < 3; k++)
        m->cell[m->n_cell][k] = (int)cell[k];
    m->start[m->n_cell++] = m->n_value;
    m->start[m->n_cell] = m->n_value;
    return 0;
}

/* Row pointers grow as they come, like the values. */
static int put_pointer(builder *b, size_t index, long long value, size_t nnz, nh_error *err)
{
    if (!nh_grow(&b->pointer, &b->pointer_room, index + 1, sizeof *b->pointer)) return no_memory(err);
    if (value < 0 || (unsigned long long)value > nnz || (index == 0 && value != 0) ||
        (index > 0 && (size_t)value < b->pointer[index - 1]) ||
        (index == b->m.dimension && (size_t)value != nnz))
        return nh_fail(err, "row pointer %zu is %lld (0 to %zu, never decreasing, the last one %zu)", index,
                       value, nnz, nnz);
    b->pointer[index] = (size_t)value;
    return 0;
}

/* The block's values and columns lie at the end of the arrays: rows from the row pointers. */
static void end_cell(builder *b, size_t nnz)
{
    nh_csr *m = &b->m;
    int *row = m->row + m->n_value;
    for (size_t r = 0; r < m->dimension; r++)
        for (size_t i = b->pointer[r]; i < b->pointer[r + 1]; i++)
            row[i] = (int)r;
    m->n_value += nnz;
    m->start[m->n_cell] = m->n_value;
}

/* --- text --- */

static int fail_here(nh_stream *s, nh_error *err)
{
    return nh_fail_at(err, "%s:%zu", nh_stream_name(s), nh_stream_line(s));
}

/* Skips comment lines; *pointers tells whether one of them announced row pointers (dialect C, empty blocks).
 */
static int skip_comments(nh_stream *s, bool *pointers)
{
    char line[LINE];
    int c;
    while ((c = nh_skip_space(s)) == '#') {
        nh_stream_line_text(s, line, sizeof line);
        if (pointers != NULL && strcasestr(line, "row pointer") != NULL) *pointers = true;
    }
    return c;
}

static int read_values(nh_stream *s, builder *b, size_t nnz, nh_error *err)
{
    const bool is_complex = skip_comments(s, NULL) == '(';
    const size_t width = is_complex ? 2 : 1;
    if (b->width != 0 && b->width != width)
        return nh_fail(err, "%s:%zu: real and complex values in one file", nh_stream_name(s),
                       nh_stream_line(s));
    b->width = width;
    b->m.is_complex = is_complex;
    const size_t step = 1 << 16;
    for (size_t done = 0; done < nnz;) {
        const size_t upto = nnz - done > step ? done + step : nnz;
        if (ensure_values(b, b->m.n_value + upto, err)) return -1;
        double *value = b->m.value + b->m.n_value * width;
        for (; done < upto; done++) {
            if (is_complex) {
                if (nh_scan_complex(s, value + 2 * done, "a complex matrix element", err)) return -1;
            } else if (nh_scan_real(s, value + done, "a matrix element", err)) {
                return -1;
            }
            for (size_t k = 0; k < width; k++)
                if (!isfinite(value[width * done + k]))
                    return nh_fail(err, "%s:%zu: matrix element %zu of cell %d %d %d is not finite",
                                   nh_stream_name(s), nh_stream_line(s), done + 1,
                                   b->m.cell[b->m.n_cell - 1][0], b->m.cell[b->m.n_cell - 1][1],
                                   b->m.cell[b->m.n_cell - 1][2]);
        }
    }
    return 0;
}

static int read_indices(nh_stream *s, builder *b, size_t nnz, nh_error *err)
{
    int *column = b->m.column + b->m.n_value;
    skip_comments(s, NULL);
    for (size_t i = 0; i < nnz; i++) {
        long c;
        if (nh_scan_long(s, &c, "a column index", err)) return -1;
        if (c < 0 || (size_t)c >= b->m.dimension)
            return nh_fail(err, "%s:%zu: column index %ld in a matrix of dimension %zu", nh_stream_name(s),
                           nh_stream_line(s), c, b->m.dimension);
        column[i] = (int)c;
    }
    return 0;
}

static int read_pointers(nh_stream *s, builder *b, size_t nnz, nh_error *err)
{
    skip_comments(s, NULL);
    for (size_t i = 0; i <= b->m.dimension; i++) {
        long p;
        if (nh_scan_long(s, &p, "a row pointer", err)) return -1;
        if (put_pointer(b, i, p, nnz, err)) return fail_here(s, err);
    }
    return 0;
}

/* "Rx Ry Rz nnz" and, where nnz > 0, three lists. `first` is Rx, already taken. */
static int read_block(nh_stream *s, builder *b, const char *first, nh_error *err)
{
    char *end;
    long cell[3] = {strtol(first, &end, 10)}, nnz;
    if (end == first || *end != '\0')
        return nh_fail(err, "%s:%zu: a cell index expected, found '%s'", nh_stream_name(s), nh_stream_line(s),
                       first);
    for (int k = 1; k < 3; k++)
        if (nh_scan_long(s, &cell[k], "a cell index", err)) return -1;
    if (nh_scan_long(s, &nnz, "the number of elements of a cell", err)) return -1;
    if (nnz < 0 || (unsigned long long)nnz > (unsigned long long)b->m.dimension * b->m.dimension)
        return nh_fail(err, "%s:%zu: %ld elements in a matrix of dimension %zu", nh_stream_name(s),
                       nh_stream_line(s), nnz, b->m.dimension);
    if (begin_cell(b, cell, err)) return fail_here(s, err);
    if (nnz == 0) {
        bool pointers = false;
        if (nh_skip_space(s) == '#') skip_comments(s, &pointers);
        return pointers ? read_pointers(s, b, 0, err) : 0;
    }
    const size_t n = (size_t)nnz;
    if (read_values(s, b, n, err) || read_indices(s, b, n, err) || read_pointers(s, b, n, err)) return -1;
    end_cell(b, n);
    return 0;
}

static bool begins_with(const char *line, const char *word)
{
    while (isspace((unsigned char)*line))
        line++;
    return strncasecmp(line, word, strlen(word)) == 0;
}

/* "Matrix Dimension of H(R): 76": the number and the letter. */
static int header_number(nh_stream *s, const char *line, const char *words, long *out, char *quantity,
                         nh_error *err)
{
    const char *colon = strrchr(line, ':'), *of = strcasestr(line, " of ");
    char *end = NULL;
    if (colon != NULL) *out = strtol(colon + 1, &end, 10);
    if (!begins_with(line, words) || colon == NULL || end == colon + 1 || *out < 0)
        return nh_fail(err, "%s:%zu: \"%s of H(R): N\" expected, \"%.60s\" found", nh_stream_name(s),
                       nh_stream_line(s) - 1, words, line);
    if (of != NULL && quantity != NULL) *quantity = (char)toupper((unsigned char)of[4]);
    return 0;
}

/* One step of dialects A and B; `line` is its first line, and that of the next step afterwards ("" at the
 * end). */
static int read_step_ab(nh_stream *s, builder *b, char line[LINE], nh_error *err)
{
    const bool step = begins_with(line, "STEP");
    long dimension, n_cell;
    char quantity = 0;
    if (step) {
        nh_skip_space(s);
        nh_stream_line_text(s, line, LINE);
    }
    if (header_number(s, line, "Matrix Dimension", &dimension, &quantity, err)) return -1;
    nh_skip_space(s);
    nh_stream_line_text(s, line, LINE);
    if (header_number(s, line, "Matrix number", &n_cell, NULL, err)) return -1;
    if (begin_step(b, (size_t)dimension, quantity, step ? "B (text, STEP line)" : "A (text, no STEP line)",
                   err))
        return fail_here(s, err);
    for (long i = 0; i < n_cell; i++) {
        char first[WORD];
        if (nh_scan_word(s, first, sizeof first, "a cell index", err) || read_block(s, b, first, err))
            return -1;
    }
    line[0] = '\0';
    if (nh_skip_space(s) != -1) nh_stream_line_text(s, line, LINE);
    return 0;
}

/* " # print H matrix in real space H(R)"; what follows "print" names the matrix. A bare-ion "core"
 * Hamiltonian and other units than Ry are refused: both would pass for what they are not. */
static int read_title_c(nh_stream *s, const char *line, char *quantity, nh_error *err)
{
    const char *print = strcasestr(line, "print ");
    if (print == NULL) return 0;
    *quantity = (char)toupper((unsigned char)print[6]);
    const char *formula = strcasestr(line, "formula=");
    if (strcasestr(line, "h0_type=core") != NULL || (formula != NULL && strstr(formula, "V_H") == NULL))
        return nh_fail(
            err,
            "%s:%zu: a core Hamiltonian without the potential of the atomic densities is no zeroth-step "
            "Hamiltonian",
            nh_stream_name(s), nh_stream_line(s) - 1);
    const char *unit = strcasestr(line, "unit=");
    if (unit != NULL && strncasecmp(unit + 5, "Ry", 2) != 0)
        return nh_fail(err, "%s:%zu: unit Ry expected, \"%.20s\" found", nh_stream_name(s),
                       nh_stream_line(s) - 1, unit);
    return 0;
}

/* One step of dialect C: comments, the structure (not used), the box of comments about the format, blocks up
 * to the next step (the number of cells in the header counts those that were left out). */
static int read_step_c(nh_stream *s, builder *b, char line[LINE], nh_error *err)
{
    size_t dimension = 0;
    char quantity = 0;
    bool box = false;
    for (size_t n = 0;; n++) {
        const char *comment = strchr(line, '#');
        if (read_title_c(s, line, &quantity, err)) return -1;
        if (comment != NULL && strcasestr(comment, "localized basis") != NULL)
            dimension = strtoul(line, NULL, 10);
        if (comment != NULL && strcasestr(comment, "CSR") != NULL) box = true;
        const int next = nh_skip_space(s);
        if (box && next != '#') break;
        if (next == -1 || n > MOST_HEADER_LINES)
            return nh_fail(err, "%s:%zu: the comment \"CSR format\" expected, found the end",
                           nh_stream_name(s), nh_stream_line(s));
        nh_stream_line_text(s, line, LINE);
    }
    if (begin_step(b, dimension, quantity, "C (text, comments)", err)) return fail_here(s, err);
    line[0] = '\0';
    while (skip_comments(s, NULL) != -1) {
        char first[WORD];
        if (nh_scan_word(s, first, sizeof first, "a cell index", err)) return -1;
        if (strncmp(first, "--", 2) == 0) {
            strcpy(line, first);
            nh_stream_line_text(s, line + strlen(first), LINE - strlen(first));
            return 0;
        }
        if (read_block(s, b, first, err)) return -1;
    }
    return 0;
}

static int read_text(nh_stream *s, builder *b, const char head[4], nh_error *err)
{
    char line[LINE] = "";
    size_t n = 0;
    for (int i = 0; i < 4; i++)
        if (n > 0 || !isspace((unsigned char)head[i])) line[n++] = head[i];
    if (n == 0) nh_skip_space(s);
    char *const end = memchr(line, '\n', n);
    if (end == NULL)
        nh_stream_line_text(s, line + n, sizeof line - n);
    else if (end[1] !=
             '\0') /* a line of one or two characters: the rest of the four belongs to the next one */
        return nh_fail(err, "%s:1: no ABACUS sparse matrix: STEP, Matrix Dimension or a comment expected",
                       nh_stream_name(s));
    else
        *end = '\0';
    while (line[0] != '\0') {
        int status;
        if (begins_with(line, "STEP") || begins_with(line, "Matrix"))
            status = read_step_ab(s, b, line, err);
        else if (begins_with(line, "---") || begins_with(line, "#"))
            status = read_step_c(s, b, line, err);
        else
            status = nh_fail(
                err, "%s:%zu: no ABACUS sparse matrix: STEP, Matrix Dimension or a comment expected%s",
                nh_stream_name(s), nh_stream_line(s) > 1 ? nh_stream_line(s) - 1 : 1,
                b->m.n_step > 0 ? " after the last cell" : "");
        if (status != 0) return -1;
    }
    return 0;
}

/* --- binary --- */

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

typedef struct binary_block {
    long cell[3];
    size_t nnz, value, column, pointer; /* places in the file; pointer = 0: none */
} binary_block;

static bool take_block(bytes *f, const layout *l, size_t dimension, binary_block *out)
{
    long long x[4];
    for (int k = 0; k < 4; k++)
        if (!take_int(f, &x[k], 4)) return false;
    if (x[3] < 0 || (unsigned long long)x[3] > (unsigned long long)dimension * dimension) return false;
    *out = (binary_block){.cell = {(long)x[0], (long)x[1], (long)x[2]}, .nnz = (size_t)x[3], .value = f->at};
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

static bool take_step_header(bytes *f, size_t *dimension, long long *n_cell)
{
    long long step, n;
    if (!take_int(f, &step, 4) || !take_int(f, &n, 4) || !take_int(f, n_cell, 4)) return false;
    *dimension = (size_t)n;
    return step >= 0 && n > 0 && n <= INT_MAX / 2 && *n_cell >= 0;
}

static bool fits(bytes f, const layout *l)
{
    while (f.at < f.size) {
        size_t dimension;
        long long n_cell;
        binary_block block;
        if (!take_step_header(&f, &dimension, &n_cell)) return false;
        for (long long i = 0; i < n_cell; i++)
            if (!take_block(&f, l, dimension, &block)) return false;
    }
    return true;
}

static int store_block(const bytes *f, const layout *l, const binary_block *block, builder *b, nh_error *err)
{
    if (begin_cell(b, block->cell, err)) return -1;
    if (block->nnz == 0) return 0;
    nh_csr *m = &b->m;
    if (ensure_values(b, m->n_value + block->nnz, err)) return -1;
    double *value = m->value + m->n_value * l->width;
    memcpy(value, f->data + block->value, block->nnz * l->width * sizeof *value);
    for (size_t i = 0; i < block->nnz * l->width; i++)
        if (!isfinite(value[i]))
            return nh_fail(err, "matrix element %zu of cell %ld %ld %ld is not finite", i / l->width + 1,
                           block->cell[0], block->cell[1], block->cell[2]);
    bytes column = {f->data, f->size, block->column}, pointer = {f->data, f->size, block->pointer};
    for (size_t i = 0; i < block->nnz; i++) {
        long long c = -1;
        take_int(&column, &c, 4);
        if (c < 0 || (size_t)c >= m->dimension)
            return nh_fail(err, "column index %lld in a matrix of dimension %zu", c, m->dimension);
        m->column[m->n_value + i] = (int)c;
    }
    for (size_t i = 0; i <= m->dimension; i++) {
        long long p = -1;
        take_int(&pointer, &p, l->pointer_size);
        if (put_pointer(b, i, p, block->nnz, err)) return -1;
    }
    end_cell(b, block->nnz);
    return 0;
}

static int store_steps(bytes f, const layout *l, builder *b, nh_error *err)
{
    b->width = l->width;
    b->m.is_complex = l->width == 2;
    while (f.at < f.size) {
        size_t dimension;
        long long n_cell;
        binary_block block;
        if (!take_step_header(&f, &dimension, &n_cell) || begin_step(b, dimension, 0, l->name, err))
            return -1;
        for (long long i = 0; i < n_cell; i++)
            if (!take_block(&f, l, dimension, &block) || store_block(&f, l, &block, b, err)) return -1;
    }
    return 0;
}

static int read_binary(nh_stream *s, builder *b, const char head[4], nh_error *err)
{
    unsigned char *data = NULL;
    size_t size = 4, room = 0, got;
    if (!nh_grow(&data, &room, 1 << 16, 1)) return no_memory(err);
    memcpy(data, head, 4);
    while ((got = nh_stream_read(s, data + size, room - size)) > 0) {
        size += got;
        if (size == room && !nh_grow(&data, &room, room + 1, 1)) {
            free(data);
            return no_memory(err);
        }
    }
    const bytes f = {data, size, 0};
    const size_t n = sizeof layouts / sizeof layouts[0];
    size_t i = 0;
    int status = nh_stream_status(s, err);
    while (status == 0 && i < n && !fits(f, &layouts[i]))
        i++;
    if (status == 0 && i == n)
        status = nh_fail(err, "%s: neither text nor a binary sparse matrix of ABACUS (or cut off)",
                         nh_stream_name(s));
    if (status == 0 && store_steps(f, &layouts[i], b, err)) status = nh_fail_at(err, "%s", nh_stream_name(s));
    free(data);
    return status;
}

/* --- both --- */

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

int nh_csr_read(const char *path, nh_csr *out, nh_error *err)
{
    *out = (nh_csr){0};
    nh_stream *s;
    if (nh_stream_open(path, &s, err)) return -1;
    builder b = {.width = 0};
    char head[4] = {' ', ' ', ' ', ' '};
    int status = 0;
    if ((b.m.start = NH_ARRAY(size_t, 1)) == NULL || (b.m.name = nh_strdup(nh_stream_name(s))) == NULL)
        status = no_memory(err);
    bool binary = false;
    for (int i = 0; i < 4 && status == 0; i++) {
        const int c = nh_stream_get(s);
        if (c == -1) break;
        head[i] = (char)c;
        binary = binary || c == 0; /* the step number; text has no such byte */
    }
    if (status == 0) {
        status = binary ? read_binary(s, &b, head, err) : read_text(s, &b, head, err);
    }
    if (status == 0) status = nh_stream_status(s, err);
    if (status == 0 && b.m.n_step == 0)
        status = nh_fail(err, "%s: no ABACUS sparse matrix: empty", nh_stream_name(s));
    if (status == 0) status = check_cells_differ(&b.m, err);
    nh_stream_close(s);
    free(b.pointer);
    if (status != 0) {
        nh_csr_free(&b.m);
        return -1;
    }
    *out = b.m;
    return 0;
}

/* --- to pair blocks --- */

int nh_csr_spinor(const nh_csr *m, const nh_structure *s, size_t *spinor, nh_error *err)
{
    const size_t n = nh_structure_orbitals(s);
    *spinor = m->dimension == n ? 1 : 2;
    if (n > 0 && m->dimension == *spinor * n) return 0;
    return nh_fail(err, "%s: the matrix dimension %zu does not fit the basis: %zu orbitals (%zu with spin)",
                   m->name, m->dimension, n, 2 * n);
}

static double size_of(const nh_csr *m, size_t i)
{
    return m->is_complex ? fabs(m->value[2 * i]) + fabs(m->value[2 * i + 1]) : fabs(m->value[i]);
}

int nh_csr_pairs(const nh_csr *m, const nh_structure *s, size_t *count, nh_pair **pair, nh_error *err)
{
    size_t spinor;
    if (nh_csr_spinor(m, s, &spinor, err)) return -1;
    nh_abacus_place *at = nh_abacus_places(s, NULL);
    size_t *seen =
        NH_ARRAY(size_t, s->n_atom); /* 1 + the last (cell, row atom) in which the atom was a column */
    size_t room = *count;
    int status = at == NULL || seen == NULL ? nh_fail_memory(err, "the blocks of a matrix") : 0;
    for (size_t c = 0; c < m->n_cell && status == 0; c++)
        for (size_t i = m->start[c]; i < m->start[c + 1] && status == 0; i++) {
            const int src = at[(size_t)m->row[i] / spinor].atom, dst = at[(size_t)m->column[i] / spinor].atom;
            const size_t stamp = c * s->n_atom + (size_t)src + 1;
            if (seen[dst] == stamp || size_of(m, i) == 0) continue;
            seen[dst] = stamp;
            if (!nh_grow(pair, &room, *count + 2, sizeof **pair)) {
                status = no_memory(err);
                break;
            }
            const int *cell = m->cell[c];
            (*pair)[(*count)++] = (nh_pair){src, dst, {cell[0], cell[1], cell[2]}};
            (*pair)[(*count)++] = (nh_pair){dst, src, {-cell[0], -cell[1], -cell[2]}};
        }
    free(at);
    free(seen);
    return status;
}

/* The blocks of one atom's rows in one cell, found once for each column atom. */
typedef struct block_cache {
    size_t *stamp, *start, *width; /* [n_atom] */
} block_cache;

static int cached_block(const nh_csr *m, const nh_structure *s, const nh_pairs *pairs, block_cache *cache,
                        size_t stamp, int src, int dst, const int cell[3], nh_error *err)
{
    if (cache->stamp[dst] == stamp) return 0;
    const size_t p = nh_pairs_find(pairs, src, dst, cell);
    if (p == SIZE_MAX)
        return nh_fail(err, "%s: no pair (%d, %d, %d %d %d) for a block that is not zero", m->name, src, dst,
                       cell[0], cell[1], cell[2]);
    cache->stamp[dst] = stamp;
    cache->start[dst] = pairs->start[p];
    cache->width[dst] = nh_atom_orbitals(s, (size_t)dst);
    return 0;
}

int nh_csr_scatter(const nh_csr *m, const nh_structure *s, const nh_pairs *pairs, double factor, int n_spin,
                   int spin_block, double *out, nh_error *err)
{
    size_t spinor;
    if (nh_csr_spinor(m, s, &spinor, err)) return -1;
    if (spinor == 2 && (n_spin != 4 || spin_block >= 0))
        return nh_fail(err, "%s: a matrix with spin inside where one without is expected", m->name);
    nh_abacus_place *at = nh_abacus_places(s, NULL);
    block_cache cache = {NH_ARRAY(size_t, s->n_atom), NH_ARRAY(size_t, s->n_atom),
                         NH_ARRAY(size_t, s->n_atom)};
    int status = at == NULL || cache.stamp == NULL || cache.start == NULL || cache.width == NULL
                     ? nh_fail_memory(err, "the blocks of a matrix")
                     : 0;
    for (size_t c = 0; c < m->n_cell && status == 0; c++)
        for (size_t i = m->start[c]; i < m->start[c + 1]; i++) {
            if (size_of(m, i) == 0) continue;
            const size_t row = (size_t)m->row[i], column = (size_t)m->column[i];
            const nh_abacus_place *a = &at[row / spinor], *b = &at[column / spinor];
            if ((status = cached_block(m, s, pairs, &cache, c * s->n_atom + (size_t)a->atom + 1, a->atom,
                                       b->atom, m->cell[c], err)) != 0)
                break;
            const size_t element = cache.start[b->atom] + a->orbital * cache.width[b->atom] + b->orbital;
            const double scale = factor * a->sign * b->sign;
            const double re = scale * m->value[m->is_complex ? 2 * i : i];
            const double im = m->is_complex ? scale * m->value[2 * i + 1] : 0;
            const size_t first = spinor == 2      ? 2 * (row % 2) + column % 2
                                 : spin_block > 0 ? (size_t)spin_block
                                                  : 0;
            const size_t last = spinor == 1 && spin_block < 0 && n_spin == 4 ? 3 : first;
            for (size_t block = first; block <= last; block += 3) {
                double *x = out + 2 * (block * pairs->n_elem + element);
                x[0] += re;
                x[1] += im;
            }
        }
    free(at);
    free(cache.stamp);
    free(cache.start);
    free(cache.width);
    return status;
}
