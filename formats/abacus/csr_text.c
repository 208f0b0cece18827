/* csr_text.c - dialects A, B and C of ABACUS's sparse matrices (csr.h). Their lines reach gigabytes: read by
 * token. */
#include "base/memory.h"
#include "formats/abacus/csr_internal.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 4096, WORD = 64, MOST_HEADER_LINES = 10000000 };

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

static int read_values(nh_stream *s, nh_csr_builder *b, size_t nnz, nh_error *err)
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
        if (nh_csr_room(b, b->m.n_value + upto, err)) return -1;
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

static int read_indices(nh_stream *s, nh_csr_builder *b, size_t nnz, nh_error *err)
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

static int read_pointers(nh_stream *s, nh_csr_builder *b, size_t nnz, nh_error *err)
{
    skip_comments(s, NULL);
    for (size_t i = 0; i <= b->m.dimension; i++) {
        long p;
        if (nh_scan_long(s, &p, "a row pointer", err)) return -1;
        if (nh_csr_put_pointer(b, i, p, nnz, err)) return fail_here(s, err);
    }
    return 0;
}

/* "nnz" and, where it is not 0, three lists. */
static int read_elements(nh_stream *s, nh_csr_builder *b, nh_error *err)
{
    long nnz;
    if (nh_scan_long(s, &nnz, "the number of elements of a cell", err)) return -1;
    if (nnz < 0 || (unsigned long long)nnz > (unsigned long long)b->m.dimension * b->m.dimension)
        return nh_fail(err, "%s:%zu: %ld elements in a matrix of dimension %zu", nh_stream_name(s),
                       nh_stream_line(s), nnz, b->m.dimension);
    if (nnz == 0) {
        bool pointers = false;
        if (nh_skip_space(s) == '#') skip_comments(s, &pointers);
        return pointers ? read_pointers(s, b, 0, err) : 0;
    }
    const size_t n = (size_t)nnz;
    if (read_values(s, b, n, err) || read_indices(s, b, n, err) || read_pointers(s, b, n, err)) return -1;
    nh_csr_end_cell(b, n);
    return 0;
}

/* "Rx Ry Rz" and the elements of each matrix. `first` is Rx, already taken. */
static int read_block(nh_stream *s, nh_csr_reading *r, const char *first, nh_error *err)
{
    char *end;
    long cell[3] = {strtol(first, &end, 10)};
    if (end == first || *end != '\0')
        return nh_fail(err, "%s:%zu: a cell index expected, found '%s'", nh_stream_name(s), nh_stream_line(s),
                       first);
    for (int k = 1; k < 3; k++)
        if (nh_scan_long(s, &cell[k], "a cell index", err)) return -1;
    for (size_t i = 0; i < r->count; i++) {
        if (nh_csr_begin_cell(&r->to[i], cell, err)) return fail_here(s, err);
        if (read_elements(s, &r->to[i], err)) return -1;
    }
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
 * end). blocks->is_f: it is F. */
static int read_step_ab(nh_stream *s, nh_csr_reading *r, char line[LINE], nh_csr_block_head *blocks,
                        nh_error *err)
{
    const bool has_step = !begins_with(line, "Matrix");
    long dimension, n_cell, step = 0;
    char quantity = 0;
    if (has_step) {
        step = strtol(line + strcspn(line, "0123456789-"), NULL, 10) + 1;
        nh_skip_space(s);
        nh_stream_line_text(s, line, LINE);
        const char *number = line + strcspn(line, "0123456789");
        if (!begins_with(line, "Matrix") && r->to[0].m.n_step == 0 && isdigit((unsigned char)*number)) {
            *blocks = (nh_csr_block_head){true, step, strtoul(number, NULL, 10)};
            return 0;
        }
    }
    if (header_number(s, line, "Matrix Dimension", &dimension, &quantity, err)) return -1;
    if ((quantity == 'R') != (r->count == 3))
        return nh_fail(err, "%s:%zu: %s", nh_stream_name(s), nh_stream_line(s) - 1,
                       quantity == 'R' ? "a position matrix r(R), one of H(R) or S(R) expected"
                                       : "a position matrix r(R) expected");
    nh_skip_space(s);
    nh_stream_line_text(s, line, LINE);
    if (header_number(s, line, "Matrix number", &n_cell, NULL, err)) return -1;
    if (nh_csr_begin_step(r, step, (size_t)dimension, quantity,
                          has_step ? "B (text, STEP line)" : "A (text, no STEP line)", err))
        return fail_here(s, err);
    if (r->header_only && nh_csr_is_wanted(r)) return 0;
    for (long i = 0; i < n_cell; i++) {
        char first[WORD];
        if (nh_scan_word(s, first, sizeof first, "a cell index", err) || read_block(s, r, first, err))
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

/* The lines of the structure in dialect C, one after another: name of the lattice, its constant in Å, three
 * vectors in units of it, labels, counts, "Direct", coordinates. */
typedef struct crystal_lines {
    size_t n; /* lines that were taken */
    double constant;
    size_t n_type, n_listed; /* species; atoms that the counts announce */
    int number[256];         /* atomic number of each species */
    size_t last[256];        /* atoms up to and with each species */
    size_t type;             /* species of the next atom */
    nh_csr_crystal c;
} crystal_lines;

static int fail_crystal(nh_stream *s, const char *what, const char *line, nh_error *err)
{
    return nh_fail(err, "%s:%zu: %s expected in the structure of the header, \"%.40s\" found",
                   nh_stream_name(s), nh_stream_line(s) - 1, what, line);
}

static int three_reals(const char *line, double x[3])
{
    char rest;
    return sscanf(line, "%lf %lf %lf %c", &x[0], &x[1], &x[2], &rest) == 3 && isfinite(x[0]) &&
           isfinite(x[1]) && isfinite(x[2]);
}

static int take_labels(nh_stream *s, crystal_lines *l, char *line, nh_error *err)
{
    for (char *rest = line, *word; (word = strsep(&rest, " \t\r")) != NULL;) {
        if (*word == '\0') continue;
        if (l->n_type == sizeof l->number / sizeof *l->number)
            return fail_crystal(s, "at most 256 species", line, err);
        l->number[l->n_type++] = nh_atomic_number(word);
    }
    return l->n_type > 0 ? 0 : fail_crystal(s, "labels of the species", line, err);
}

static int take_counts(nh_stream *s, crystal_lines *l, char *line, nh_error *err)
{
    size_t type = 0;
    for (char *at = line, *end;; at = end, type++) {
        const long count = strtol(at, &end, 10);
        if (end == at) break;
        if (type == l->n_type || count < 0 || count > 1000000000)
            return fail_crystal(s, "the number of atoms of each species", line, err);
        l->n_listed += (size_t)count;
        l->last[type] = l->n_listed;
    }
    return type == l->n_type && l->n_listed > 0
               ? 0
               : fail_crystal(s, "the number of atoms of each species", line, err);
}

static int take_atom(nh_stream *s, crystal_lines *l, const char *line, nh_error *err)
{
    double x[3];
    if (!three_reals(line, x) || l->c.n_atom == l->n_listed)
        return fail_crystal(s, "coordinates of as many atoms as announced", line, err);
    if (!nh_grow_one(&l->c.fraction, l->c.n_atom, 3 * sizeof *l->c.fraction) ||
        !nh_grow_one(&l->c.number, l->c.n_atom, sizeof *l->c.number) ||
        !nh_grow_one(&l->c.species, l->c.n_atom, sizeof *l->c.species))
        return nh_fail_memory(err, "the atoms");
    const size_t before = l->type;
    while (l->last[l->type] <= l->c.n_atom)
        l->type++;
    l->c.n_species += l->c.n_atom == 0 || l->type != before; /* species without atoms do not count */
    memcpy(l->c.fraction + 3 * l->c.n_atom, x, sizeof x);
    l->c.species[l->c.n_atom] = (int)l->c.n_species - 1;
    l->c.number[l->c.n_atom++] = l->number[l->type];
    return 0;
}

static int take_crystal_line(nh_stream *s, crystal_lines *l, char *line, nh_error *err)
{
    const size_t n = l->n++;
    double x[3];
    char rest;
    if (n == 0) return 0; /* the name of the lattice */
    if (n == 1)
        return sscanf(line, "%lf %c", &l->constant, &rest) == 1 && l->constant > 0 && isfinite(l->constant)
                   ? 0
                   : fail_crystal(s, "the lattice constant", line, err);
    if (n < 5) {
        if (!three_reals(line, x)) return fail_crystal(s, "a lattice vector", line, err);
        for (size_t k = 0; k < 3; k++)
            l->c.lattice[3 * (n - 2) + k] = x[k] * l->constant;
        return 0;
    }
    if (n == 5) return take_labels(s, l, line, err);
    if (n == 6) return take_counts(s, l, line, err);
    if (n == 7) return begins_with(line, "Direct") ? 0 : fail_crystal(s, "\"Direct\"", line, err);
    return take_atom(s, l, line, err);
}

/* What the header of one step says. */
typedef struct header_c {
    size_t dimension;
    long step;
    char quantity;
    bool in_crystal, box, folded;
    int spins, spin;
    double efermi;
    crystal_lines crystal;
} header_c;

static int take_header_line(nh_stream *s, header_c *h, char *line, nh_error *err)
{
    const char *comment = strchr(line, '#');
    if (read_title_c(s, line, &h->quantity, err)) return -1;
    if (begins_with(line, "---")) {
        const char *number = line + strcspn(line, "0123456789");
        h->step = strtol(number, NULL, 10);
        return 0;
    }
    if (comment == NULL) return h->in_crystal ? take_crystal_line(s, &h->crystal, line, err) : 0;
    if (strcasestr(comment, "localized basis") != NULL) h->dimension = strtoul(line, NULL, 10);
    if (strcasestr(comment, "Bravais") != NULL && isdigit((unsigned char)line[strspn(line, " ")]))
        h->in_crystal = true;
    if (strcasestr(comment, "spin directions") != NULL) h->spins = atoi(line);
    if (strcasestr(comment, "spin index") != NULL) h->spin = atoi(line);
    if (strcasestr(comment, "CSR") != NULL) h->box = true;
    if (strcasestr(comment, "gamma-only") != NULL) h->folded = true;
    const char *efermi = strcasestr(comment, "E_Fermi");
    double x;
    if (efermi != NULL && sscanf(efermi, "E_Fermi = %lf eV", &x) == 1 && isfinite(x)) h->efermi = x;
    return 0;
}

/* One step of dialect C: comments, the structure, the box of comments about the format, blocks up to the next
 * step (the number of cells in the header counts those that were left out). */
static int read_header_c(nh_stream *s, header_c *h, char line[LINE], nh_error *err)
{
    for (size_t n = 0;; n++) {
        if (take_header_line(s, h, line, err)) return -1;
        const int next = nh_skip_space(s);
        if (h->box && next != '#') break;
        if (next == -1 || n > MOST_HEADER_LINES)
            return nh_fail(err, "%s:%zu: the comment \"CSR format\" expected, found the end",
                           nh_stream_name(s), nh_stream_line(s));
        nh_stream_line_text(s, line, LINE);
    }
    if (h->crystal.n > 0 && (h->crystal.n < 9 || h->crystal.c.n_atom != h->crystal.n_listed))
        return nh_fail(err, "%s:%zu: the structure in the header ends after %zu of %zu atoms",
                       nh_stream_name(s), nh_stream_line(s), h->crystal.c.n_atom, h->crystal.n_listed);
    return 0;
}

static int read_step_c(nh_stream *s, nh_csr_reading *r, char line[LINE], nh_error *err)
{
    header_c h = {.efermi = NAN};
    nh_csr *m = &r->to[0].m;
    int status = read_header_c(s, &h, line, err);
    nh_csr_crystal_free(&m->crystal);
    m->crystal = h.crystal.c;
    m->efermi = h.efermi;
    m->folded = h.folded;
    m->spins = h.spins;
    m->spin = h.spin;
    if (status == 0 && r->count > 1) status = nh_fail(err, "%s: a position matrix r(R) expected", m->name);
    if (status == 0 && nh_csr_begin_step(r, h.step, h.dimension, h.quantity, "C (text, comments)", err))
        status = fail_here(s, err);
    if (status != 0 || (r->header_only && nh_csr_is_wanted(r))) return status;
    line[0] = '\0';
    while (status == 0 && skip_comments(s, NULL) != -1) {
        char first[WORD];
        if (nh_scan_word(s, first, sizeof first, "a cell index", err)) return -1;
        if (strncmp(first, "--", 2) == 0) {
            strcpy(line, first);
            nh_stream_line_text(s, line + strlen(first), LINE - strlen(first));
            return 0;
        }
        status = read_block(s, r, first, err);
    }
    return status;
}

int nh_csr_read_text(nh_stream *s, nh_csr_reading *r, const char head[4], nh_csr_block_head *blocks,
                     nh_error *err)
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
    while (line[0] != '\0' && !blocks->is_f && !nh_csr_is_wanted(r)) {
        int status;
        if (begins_with(line, "STEP") || begins_with(line, "IONIC_STEP") || begins_with(line, "Matrix"))
            status = read_step_ab(s, r, line, blocks, err);
        else if (begins_with(line, "---") || begins_with(line, "#"))
            status = read_step_c(s, r, line, err);
        else
            status = nh_fail(
                err, "%s:%zu: no ABACUS sparse matrix: STEP, Matrix Dimension or a comment expected%s",
                nh_stream_name(s), nh_stream_line(s) > 1 ? nh_stream_line(s) - 1 : 1,
                r->to[0].m.n_step > 0 ? " after the last cell" : "");
        if (status != 0) return -1;
    }
    return 0;
}
