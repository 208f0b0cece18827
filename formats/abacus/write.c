#include "formats/abacus/write.h"

#include "base/memory.h"
#include "base/outfile.h"
#include "crystal/lattice.h"
#include "formats/abacus/orbitals.h"
#include "formats/abacus/stru.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double negligible = 1e-8; /* Ry: less than ABACUS's eight digits show */

/* A pair as it is written: `src` and `dst` count the atoms of the file. */
typedef struct entry {
    int cell[3];
    size_t src, dst, pair;
} entry;

/* One matrix, one row of it after the other. */
typedef struct writing {
    const nh_graph *g;
    const nh_abacus_output *how;
    const double *h; /* NULL: the overlap */
    int nspin;
    size_t spinor;       /* rows for each orbital: 2 with nspin 4 */
    size_t n_atom;       /* of the file, as of the structure */
    size_t *atom;        /* [n_atom] the structure's, for each of the file */
    size_t *first;       /* [n_atom+1] first orbital of each atom of the file */
    nh_structure placed; /* the atoms in the home cell */
    nh_abacus_place *place;
    entry *list; /* [n] sorted by cell, src, dst */
    size_t n;
    size_t dimension;
    /* the row at hand */
    size_t count;
    int32_t *column;  /* [dimension] */
    double *value;    /* [dimension][2] */
    int64_t *pointer; /* [dimension+1] of the cell at hand */
    FILE *out;
} writing;

static int compare_entries(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    for (int k = 0; k < 3; k++)
        if (x->cell[k] != y->cell[k]) return x->cell[k] < y->cell[k] ? -1 : 1;
    if (x->src != y->src) return x->src < y->src ? -1 : 1;
    return x->dst < y->dst ? -1 : x->dst > y->dst;
}

/* How many lattice vectors each atom is moved by on its way into the home cell. */
static int place_atoms(writing *w, int (*shift)[3], nh_error *err)
{
    const nh_structure *s = &w->g->structure;
    if (nh_structure_copy(s, &w->placed, err)) return -1;
    nh_structure_wrap(&w->placed);
    double inverse[9];
    nh_lattice_inverse(s->lattice, inverse);
    for (size_t i = 0; i < s->n_atom; i++) {
        double moved[3], f[3];
        for (size_t k = 0; k < 3; k++)
            moved[k] = w->placed.position[3 * i + k] - s->position[3 * i + k];
        nh_lattice_apply(moved, inverse, f);
        for (int k = 0; k < 3; k++) {
            if (!(fabs(f[k]) < INT_MAX / 4)) return nh_fail(err, "atom %zu is too far away", i + 1);
            shift[i][k] = (int)nearbyint(f[k]);
        }
    }
    return 0;
}

static int list_pairs(writing *w, nh_error *err)
{
    const nh_structure *s = &w->g->structure;
    const nh_pairs *pairs = &w->g->pairs;
    int(*shift)[3] = (int(*)[3])nh_calloc(s->n_atom, sizeof *shift);
    size_t *rank = NH_ARRAY(size_t, s->n_atom);
    w->list = NH_ARRAY(entry, pairs->count);
    w->n = pairs->count;
    int status = shift == NULL || rank == NULL || w->list == NULL
                     ? nh_fail_memory(err, "the pairs of a matrix")
                     : place_atoms(w, shift, err);
    for (size_t k = 0; k < s->n_atom && status == 0; k++)
        rank[w->atom[k]] = k;
    for (size_t p = 0; p < pairs->count && status == 0; p++) {
        const nh_pair *q = &pairs->pair[p];
        entry *e = &w->list[p];
        *e = (entry){.src = rank[q->src], .dst = rank[q->dst], .pair = p};
        for (int k = 0; k < 3; k++)
            e->cell[k] = q->cell[k] + shift[q->src][k] - shift[q->dst][k];
    }
    free(shift);
    free(rank);
    if (status == 0) qsort(w->list, w->n, sizeof *w->list, compare_entries);
    return status;
}

static int prepare(writing *w, nh_error *err)
{
    const nh_structure *s = &w->g->structure;
    w->n_atom = s->n_atom;
    if (!nh_size_mul(nh_structure_orbitals(s), w->spinor, &w->dimension) || w->dimension > INT_MAX / 2)
        return nh_fail(err, "a matrix of more rows than ABACUS can have");
    w->atom = NH_ARRAY(size_t, s->n_atom);
    w->first = NH_ARRAY(size_t, s->n_atom + 1);
    w->column = NH_ARRAY(int32_t, w->dimension);
    w->value = NH_ARRAY(double, 2 * w->dimension);
    w->pointer = NH_ARRAY(int64_t, w->dimension + 1);
    if (w->atom == NULL || w->first == NULL || w->column == NULL || w->value == NULL || w->pointer == NULL)
        return nh_fail_memory(err, "a row of a matrix");
    nh_stru_order(s, w->atom);
    for (size_t k = 0; k < s->n_atom; k++)
        w->first[k + 1] = w->first[k] + nh_atom_orbitals(s, w->atom[k]);
    if ((w->place = nh_abacus_places(s, w->atom)) == NULL) return nh_fail_memory(err, "the orbitals");
    return list_pairs(w, err);
}

static void writing_free(writing *w)
{
    free(w->atom);
    free(w->first);
    free(w->place);
    free(w->list);
    free(w->column);
    free(w->value);
    free(w->pointer);
    nh_structure_free(&w->placed);
}

/* x / unit, moved to the neighbour whose product with `unit` is x, where that is so. */
static double in_units(double x, double unit)
{
    const double q = x / unit;
    if (q * unit == x) return q;
    const double up = nextafter(q, INFINITY), down = nextafter(q, -INFINITY);
    return up * unit == x ? up : down * unit == x ? down : q;
}

/* Spin block (uu, ud, du, dd) of the graph for the spins of a row and a column; -1: zero. */
static int spin_block(const writing *w, size_t s, size_t t)
{
    if (w->spinor == 1) return w->g->n_spin == 4 && w->nspin == 2 && w->how->spin == 1 ? 3 : 0;
    if (w->g->n_spin == 4) return (int)(2 * s + t);
    return s == t ? 0 : -1;
}

static void element(const writing *w, size_t e, size_t s, size_t t, double sign, double out[2])
{
    out[0] = out[1] = 0;
    if (w->h == NULL) {
        if (s == t) out[0] = sign * w->g->overlap[e];
        return;
    }
    const int block = spin_block(w, s, t);
    if (block < 0) return;
    const double *x = w->h + 2 * ((size_t)block * w->g->pairs.n_elem + e);
    out[0] = sign * in_units(x[0], w->g->rydberg) + 0.0; /* no -0 */
    out[1] = sign * in_units(x[1], w->g->rydberg) + 0.0;
}

/* Row `row` of the cell whose pairs are list[begin..end): column, value, count. */
static void make_row(writing *w, size_t begin, size_t end, size_t row)
{
    const size_t orbital = row / w->spinor, s = row % w->spinor;
    const nh_abacus_place *a = &w->place[orbital];
    w->count = 0;
    for (size_t i = begin; i < end; i++) {
        const entry *e = &w->list[i];
        const size_t first = w->first[e->dst], n = w->first[e->dst + 1] - first;
        for (size_t c = 0; c < n; c++) {
            const nh_abacus_place *b = &w->place[first + c];
            const size_t x = w->g->pairs.start[e->pair] + a->orbital * n + b->orbital;
            for (size_t t = 0; t < w->spinor; t++) {
                double *v = w->value + 2 * w->count;
                element(w, x, s, t, a->sign * b->sign, v);
                if (!(hypot(v[0], v[1]) > w->how->threshold)) continue;
                w->column[w->count++] = (int32_t)((first + c) * w->spinor + t);
            }
        }
    }
}

/* The pairs of each atom in a cell follow each other: *at moves with the rows. */
static void next_row(writing *w, size_t end, size_t row, size_t *at)
{
    const size_t orbital = row / w->spinor;
    while (*at < end && w->first[w->list[*at].src + 1] <= orbital)
        ++*at;
    size_t stop = *at;
    if (*at < end && w->first[w->list[*at].src] <= orbital)
        while (stop < end && w->list[stop].src == w->list[*at].src)
            stop++;
    make_row(w, *at, stop, row);
}

/* --- the two ways to write --- */

static void text_value(writing *w, const double v[2])
{
    const int digits = w->how->digits > 0 ? w->how->digits : 8;
    if (w->nspin == 4)
        fprintf(w->out, " (%.*e,%.*e)", digits, v[0], digits, v[1]);
    else
        fprintf(w->out, " %.*e", digits, v[0]);
}

/* ABACUS puts 8 values in a line and 16 indices; its first line has one less. */
static void text_break(writing *w, size_t index, size_t line)
{
    if (w->how->dialect == NH_ABACUS_CSR && (index + 1) % line == 0) fputc('\n', w->out);
}

static void text_head(writing *w, const int cell[3], size_t n)
{
    fprintf(w->out, "%s%d %d %d %zu\n", w->how->dialect == NH_ABACUS_CSR ? " " : "", cell[0], cell[1],
            cell[2], n);
}

static void text_title(writing *w, const char *title)
{
    if (w->how->dialect == NH_ABACUS_CSR) fprintf(w->out, " # CSR %s\n", title);
}

static void write_cell_text(writing *w, size_t begin, size_t end)
{
    const size_t n = (size_t)w->pointer[w->dimension];
    const bool comments = w->how->dialect == NH_ABACUS_CSR;
    if (n == 0 && comments) return;
    text_head(w, w->list[begin].cell, n);
    if (n == 0) return;
    text_title(w, "values");
    size_t at = begin, done = 1;
    for (size_t row = 0; row < w->dimension; row++) {
        next_row(w, end, row, &at);
        for (size_t i = 0; i < w->count; i++) {
            text_value(w, w->value + 2 * i);
            if (done < n) text_break(w, done++, 8);
        }
    }
    fputc('\n', w->out);
    text_title(w, "column indices");
    at = begin;
    done = 1;
    for (size_t row = 0; row < w->dimension; row++) {
        next_row(w, end, row, &at);
        for (size_t i = 0; i < w->count; i++) {
            fprintf(w->out, " %" PRId32, w->column[i]);
            if (done < n) text_break(w, done++, 16);
        }
    }
    fputc('\n', w->out);
    text_title(w, "row pointers");
    for (size_t row = 0; row <= w->dimension; row++) {
        fprintf(w->out, " %" PRId64, w->pointer[row]);
        if (row < w->dimension) text_break(w, row, 16);
    }
    fputs(comments ? "\n\n" : "\n", w->out);
}

static void write_cell_binary(writing *w, size_t begin, size_t end)
{
    const int64_t n = w->pointer[w->dimension];
    const int *cell = w->list[begin].cell;
    const int32_t head[4] = {cell[0], cell[1], cell[2], (int32_t)n};
    fwrite(head, sizeof head, 1, w->out);
    size_t at = begin;
    for (size_t row = 0; row < w->dimension; row++) {
        next_row(w, end, row, &at);
        for (size_t i = 0; i < w->count && w->nspin != 4; i++)
            fwrite(w->value + 2 * i, sizeof(double), 1, w->out);
        if (w->nspin == 4) fwrite(w->value, 2 * sizeof(double), w->count, w->out);
    }
    at = begin;
    for (size_t row = 0; row < w->dimension; row++) {
        next_row(w, end, row, &at);
        fwrite(w->column, sizeof *w->column, w->count, w->out);
    }
    fwrite(w->pointer, sizeof *w->pointer, w->dimension + 1, w->out);
}

/* --- heads --- */

static void write_ucell(writing *w)
{
    const nh_structure *s = &w->placed;
    double inverse[9];
    nh_lattice_inverse(s->lattice, inverse);
    fprintf(w->out, " user_defined_lattice\n 1\n");
    for (int k = 0; k < 3; k++)
        fprintf(w->out, " %.15g %.15g %.15g\n", s->lattice[3 * k], s->lattice[3 * k + 1],
                s->lattice[3 * k + 2]);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t k = 0, n; k < w->n_atom; k += n) {
            const int species = s->species[w->atom[k]];
            for (n = 1; k + n < w->n_atom && s->species[w->atom[k + n]] == species;)
                n++;
            if (pass == 0)
                fprintf(w->out, " %s", nh_element_symbol(s->atomic_number[species]));
            else
                fprintf(w->out, " %zu", n);
        }
        fputc('\n', w->out);
    }
    fprintf(w->out, " Direct\n");
    for (size_t k = 0; k < w->n_atom; k++) {
        double f[3];
        nh_lattice_apply(s->position + 3 * w->atom[k], inverse, f);
        fprintf(w->out, " %.15g %.15g %.15g\n", f[0], f[1], f[2]);
    }
}

static void write_head(writing *w, size_t n_cell)
{
    const char letter = w->h == NULL ? 'S' : 'H';
    const int32_t head[3] = {0, (int32_t)w->dimension, (int32_t)n_cell};
    switch (w->how->dialect) {
    case NH_ABACUS_BINARY:
        fwrite(head, sizeof head, 1, w->out);
        return;
    case NH_ABACUS_TEXT:
        fprintf(w->out, "STEP: 0\nMatrix Dimension of %c(R): %zu\nMatrix number of %c(R): %zu\n", letter,
                w->dimension, letter, n_cell);
        return;
    case NH_ABACUS_CSR:
        break;
    }
    fprintf(w->out, " --- Ionic Step 1 ---\n # print %c matrix in real space %c(R)\n", letter, letter);
    fprintf(w->out, " %d # number of spin directions\n %d # spin index",
            w->nspin == 2 && w->h != NULL ? 2 : 1, w->nspin == 2 && w->h != NULL ? w->how->spin + 1 : 1);
    if (w->h != NULL && isfinite(w->g->efermi)) fprintf(w->out, ", E_Fermi = %.10g eV", w->g->efermi);
    fprintf(w->out, "\n %zu # number of localized basis\n %zu # number of Bravais lattice vector R\n\n",
            w->dimension, n_cell);
    write_ucell(w);
    fprintf(w->out, "\n #----------------------------------------------------------------------#\n"
                    " #                               CSR Format                             #\n"
                    " # The outer loop corresponds to the number of Bravais lattice vectors. #\n"
                    " # The first line contains the index of the Bravais lattice vector      #\n"
                    " # (Rx, Ry, Rz), followed by the number of non-zero elements.           #\n"
                    " # The subsequent lines consist of three blocks of data, which are      #\n"
                    " # values, column indices, row pointers.                                #\n"
                    " #----------------------------------------------------------------------#\n\n");
}

static size_t end_of_cell(const writing *w, size_t begin)
{
    size_t end = begin + 1;
    while (end < w->n && memcmp(w->list[end].cell, w->list[begin].cell, sizeof w->list->cell) == 0)
        end++;
    return end;
}

static int write_matrix(writing *w, nh_error *err)
{
    size_t n_cell = 0;
    for (size_t i = 0; i < w->n; i = end_of_cell(w, i))
        n_cell++;
    write_head(w, n_cell);
    for (size_t begin = 0, end; begin < w->n; begin = end) {
        end = end_of_cell(w, begin);
        size_t at = begin;
        for (size_t row = 0; row < w->dimension; row++) {
            next_row(w, end, row, &at);
            w->pointer[row + 1] = w->pointer[row] + (int64_t)w->count;
        }
        if (w->pointer[w->dimension] > INT32_MAX)
            return nh_fail(err, "cell %d %d %d has more elements than ABACUS's files can count",
                           w->list[begin].cell[0], w->list[begin].cell[1], w->list[begin].cell[2]);
        if (w->how->dialect == NH_ABACUS_BINARY)
            write_cell_binary(w, begin, end);
        else
            write_cell_text(w, begin, end);
    }
    return 0;
}

/* --- what can be written --- */

static int check_value(const nh_graph *g, double x, size_t pair, nh_error *err)
{
    const nh_pair *p = &g->pairs.pair[pair];
    if (isfinite(x)) return 0;
    return nh_fail(err, "an element of atoms %d and %d, cell %d %d %d, is not finite", p->src + 1, p->dst + 1,
                   p->cell[0], p->cell[1], p->cell[2]);
}

/* Finite numbers; without spin inside the file no more than it can say. */
static int check_matrix(const writing *w, nh_error *err)
{
    const nh_graph *g = w->g;
    const size_t n = g->pairs.n_elem;
    double imaginary = 0, flip = 0, polarised = 0;
    for (size_t p = 0; p < g->pairs.count; p++)
        for (size_t e = g->pairs.start[p]; e < g->pairs.start[p + 1]; e++) {
            if (w->h == NULL) {
                if (check_value(g, g->overlap[e], p, err)) return -1;
                continue;
            }
            for (int block = 0; block < g->n_spin; block++) {
                const double *x = w->h + 2 * ((size_t)block * n + e);
                if (check_value(g, x[0], p, err) || check_value(g, x[1], p, err)) return -1;
                imaginary = fmax(imaginary, fabs(x[1]));
                if (block == 1 || block == 2) flip = fmax(flip, hypot(x[0], x[1]));
                if (block == 3) polarised = fmax(polarised, fabs(x[0] - w->h[2 * e]));
            }
        }
    const double least = negligible * g->rydberg;
    if (w->nspin == 4) return 0;
    if (flip > least)
        return nh_fail(err, "the matrix mixes spins (up to %.3g eV): nspin 4 expected, not %d", flip,
                       w->nspin);
    if (imaginary > least)
        return nh_fail(err, "the matrix has imaginary parts (up to %.3g eV): nspin 4 expected, not %d",
                       imaginary, w->nspin);
    if (w->nspin == 1 && polarised > least)
        return nh_fail(err, "the spins differ (up to %.3g eV): nspin 2 or 4 expected, not 1", polarised);
    return 0;
}

int nh_abacus_write_matrix(const nh_graph *g, bool overlap, nh_matrix which, const nh_abacus_output *how,
                           const char *path, nh_error *err)
{
    writing w = {.g = g, .how = how, .nspin = how->nspin != 0 ? how->nspin : g->n_spin == 4 ? 4 : 1};
    if (!overlap && (w.h = g->matrix[which]) == NULL)
        return nh_fail(err, "no matrix %s to write", nh_matrix_name(which));
    if (overlap && g->overlap == NULL) return nh_fail(err, "no overlap to write");
    if (w.nspin != 1 && w.nspin != 2 && w.nspin != 4)
        return nh_fail(err, "nspin %d (1, 2 or 4 expected)", w.nspin);
    w.spinor = w.nspin == 4 ? 2 : 1;
    nh_outfile *o = NULL;
    int status = check_matrix(&w, err) || prepare(&w, err) || nh_outfile_begin(path, &o, err) ? -1 : 0;
    if (status == 0 && (w.out = nh_outfile_stream(o, err)) == NULL) status = -1;
    if (status == 0) status = write_matrix(&w, err);
    if (status == 0)
        status = nh_outfile_commit(o, err);
    else
        nh_outfile_abort(o);
    writing_free(&w);
    return status;
}

const char *nh_abacus_matrix_name(nh_abacus_dialect dialect, bool overlap, int spin)
{
    static const char *const names[][3] = {
        [NH_ABACUS_TEXT] = {"data-HR-sparse_SPIN0.csr", "data-HR-sparse_SPIN1.csr",
                            "data-SR-sparse_SPIN0.csr"},
        [NH_ABACUS_CSR] = {"hrs1_nao.csr", "hrs2_nao.csr", "sr_nao.csr"},
        [NH_ABACUS_BINARY] = {"hrs1_nao.dat", "hrs2_nao.dat", "sr_nao.dat"},
    };
    return names[dialect][overlap ? 2 : spin == 1];
}
