#include "lcao/bloch.h"

#include "base/memory.h"

#include <cblas.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The pairs of two atoms i, j: they follow each other in the list, and so do their blocks. */
typedef struct group {
    size_t first, count;               /* pairs */
    size_t rows, columns, row, column; /* of a block, and where it stands in a(k) */
    bool upper;                        /* i <= j */
} group;

struct nh_bloch {
    const nh_pairs *pairs;
    nh_threads *threads;
    size_t n_k, n; /* k-points, orbitals */
    size_t n_group;
    group *group;
    size_t *reverse;  /* [pairs] */
    uint32_t *cell;   /* [pairs] row of its R in `phase` */
    double *phase;    /* [cells][n_k][2] cos, sin of 2 pi k.R */
    double **scratch; /* [threads]: phases, blocks and result of the largest group */
    size_t most_phase, most_in, most_out;
};

void nh_default_mesh(const double lattice[9], int n[3])
{
    const double length = 20; /* Å */
    for (int i = 0; i < 3; i++) {
        const double *const a = lattice + 3 * i,
                            points = rint(length / sqrt(a[0] * a[0] + a[1] * a[1] + a[2] * a[2]));
        n[i] = points > 1 ? (int)fmin(points, 1000) : 1;
    }
}

int nh_half_mesh(const int n[3], size_t *count, double **k, double **weight, nh_error *err)
{
    size_t all = 1;
    *k = *weight = NULL;
    for (int i = 0; i < 3; i++) {
        if (n[i] < 1) return nh_fail(err, "k-mesh: %d points along an axis, at least 1 expected", n[i]);
        if (!nh_size_mul(all, (size_t)n[i], &all) || all > INT_MAX)
            return nh_fail(err, "k-mesh: %d x %d x %d points are too many", n[0], n[1], n[2]);
    }
    double *const point = NH_ARRAY(double, 3 * all), *const w = NH_ARRAY(double, all);
    if (point == NULL || w == NULL) {
        free(point);
        free(w);
        return nh_fail_memory(err, "k-points");
    }
    size_t kept = 0, index = 0;
    for (int l = 0; l < n[2]; l++)
        for (int j = 0; j < n[1]; j++)
            for (int i = 0; i < n[0]; i++, index++) {
                const int minus[3] = {(n[0] - i) % n[0], (n[1] - j) % n[1], (n[2] - l) % n[2]};
                const size_t other =
                    ((size_t)minus[2] * (size_t)n[1] + (size_t)minus[1]) * (size_t)n[0] + (size_t)minus[0];
                if (other < index) continue;
                point[3 * kept] = (double)i / n[0];
                point[3 * kept + 1] = (double)j / n[1];
                point[3 * kept + 2] = (double)l / n[2];
                w[kept++] = (other == index ? 1.0 : 2.0) / (double)all;
            }
    *count = kept;
    *k = point;
    *weight = w;
    return 0;
}

static int compare_cells(const void *a, const void *b)
{
    const int *const x = a, *const y = b;
    for (int i = 0; i < 3; i++)
        if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
    return 0;
}

/* The distinct cells of the pairs, and their phases. */
static int find_cells(nh_bloch *b, const double *k, nh_error *err)
{
    const nh_pairs *const pairs = b->pairs;
    int(*const cell)[3] = nh_calloc(pairs->count, sizeof *cell);
    if (cell == NULL) return nh_fail_memory(err, "cells");
    for (size_t p = 0; p < pairs->count; p++)
        memcpy(cell[p], pairs->pair[p].cell, sizeof cell[p]);
    qsort(cell, pairs->count, sizeof *cell, compare_cells);
    size_t n = 0;
    for (size_t p = 0; p < pairs->count; p++)
        if (n == 0 || compare_cells(cell[n - 1], cell[p]) != 0) memmove(cell[n++], cell[p], sizeof *cell);
    size_t numbers = 0;
    if (nh_size_mul(n, 2 * b->n_k, &numbers)) b->phase = NH_ARRAY(double, numbers);
    b->cell = NH_ARRAY(uint32_t, pairs->count);
    const bool good = b->phase != NULL && b->cell != NULL;
    for (size_t p = 0; p < pairs->count && good; p++) {
        const int(*const found)[3] = bsearch(pairs->pair[p].cell, cell, n, sizeof *cell, compare_cells);
        b->cell[p] = (uint32_t)(found - (const int(*)[3])cell);
    }
    for (size_t c = 0; c < n && good; c++)
        for (size_t i = 0; i < b->n_k; i++) {
            const double turns =
                k[3 * i] * cell[c][0] + k[3 * i + 1] * cell[c][1] + k[3 * i + 2] * cell[c][2];
            const double angle = 2 * M_PI * (turns - rint(turns));
            b->phase[2 * (c * b->n_k + i)] = cos(angle);
            b->phase[2 * (c * b->n_k + i) + 1] = sin(angle);
        }
    free(cell);
    return good ? 0 : nh_fail_memory(err, "phases");
}

static void find_groups(nh_bloch *b, const nh_structure *s, const size_t *start)
{
    const nh_pairs *const pairs = b->pairs;
    b->n_group = 0;
    for (size_t p = 0; p < pairs->count; p++) {
        const nh_pair *const at = &pairs->pair[p];
        group *last = b->n_group > 0 ? &b->group[b->n_group - 1] : NULL;
        if (last == NULL || pairs->pair[last->first].src != at->src ||
            pairs->pair[last->first].dst != at->dst) {
            last = &b->group[b->n_group++];
            *last = (group){.first = p,
                            .rows = nh_atom_orbitals(s, (size_t)at->src),
                            .columns = nh_atom_orbitals(s, (size_t)at->dst),
                            .row = start[at->src],
                            .column = start[at->dst],
                            .upper = at->src <= at->dst};
        }
        last->count++;
    }
    for (size_t i = 0; i < b->n_group; i++) {
        const size_t count = b->group[i].count, size = b->group[i].rows * b->group[i].columns;
        if (count * 2 * b->n_k > b->most_phase) b->most_phase = count * 2 * b->n_k;
        if (count * size > b->most_in) b->most_in = count * size;
        if (2 * b->n_k * size > b->most_out) b->most_out = 2 * b->n_k * size;
    }
}

int nh_bloch_new(const nh_structure *s, const nh_pairs *pairs, size_t n_k, const double *k,
                 nh_threads *threads, nh_bloch **out, nh_error *err)
{
    *out = NULL;
    if (n_k == 0 || n_k > INT_MAX / 2) return nh_fail(err, "%zu k-points", n_k);
    nh_bloch *b = NH_ARRAY(nh_bloch, 1);
    if (b == NULL) return nh_fail_memory(err, "lattice sums");
    *b = (nh_bloch){.pairs = pairs, .threads = threads, .n_k = n_k, .n = nh_structure_orbitals(s)};
    const size_t n_thread = (size_t)nh_threads_count(threads);
    size_t *const start = NH_ARRAY(size_t, s->n_atom + 1);
    b->group = NH_ARRAY(group, pairs->count);
    b->reverse = NH_ARRAY(size_t, pairs->count);
    b->scratch = NH_ARRAY(double *, n_thread);
    int status = start && b->group && b->reverse && b->scratch ? 0 : nh_fail_memory(err, "lattice sums");
    if (status == 0) {
        nh_orbital_start(s, start);
        find_groups(b, s, start);
        nh_pairs_reverse(pairs, b->reverse);
        for (size_t p = 0; p < pairs->count && status == 0; p++)
            if (b->reverse[p] == SIZE_MAX)
                status = nh_fail(err, "pair %zu (atoms %d, %d): its reverse is missing", p,
                                 pairs->pair[p].src, pairs->pair[p].dst);
    }
    free(start);
    if (status == 0) status = find_cells(b, k, err);
    for (size_t t = 0; t < n_thread && status == 0; t++) {
        b->scratch[t] = nh_calloc_aligned(b->most_phase + b->most_in + b->most_out, sizeof(double));
        if (b->scratch[t] == NULL) status = nh_fail_memory(err, "lattice sums");
    }
    if (status != 0) {
        nh_bloch_free(b);
        return -1;
    }
    *out = b;
    return 0;
}

void nh_bloch_free(nh_bloch *b)
{
    if (b == NULL) return;
    for (int t = 0; t < nh_threads_count(b->threads) && b->scratch != NULL; t++)
        free(b->scratch[t]);
    free(b->scratch);
    free(b->group);
    free(b->reverse);
    free(b->cell);
    free(b->phase);
    free(b);
}

size_t nh_bloch_orbitals(const nh_bloch *b)
{
    return b->n;
}

typedef struct sums {
    const nh_bloch *b;
    const double *x, *weight;
    size_t stride;
    bool symmetric;
    double complex *a;
    const double complex *d;
    double *p;
} sums;

/* The phases of the group's cells, one row of 2 n_k numbers each. */
static const double *phases_of(const nh_bloch *b, const group *g, double *to)
{
    const size_t row = 2 * b->n_k;
    for (size_t i = 0; i < g->count; i++)
        memcpy(to + i * row, b->phase + b->cell[g->first + i] * row, row * sizeof *to);
    return to;
}

static void sum_group(void *context, size_t index, int thread)
{
    const sums *const v = context;
    const nh_bloch *const b = v->b;
    const group *const g = &b->group[index];
    if (v->symmetric && !g->upper) return;
    const size_t size = g->rows * g->columns, begin = b->pairs->start[g->first], n = b->n;
    double *const scratch = b->scratch[thread], *const in = scratch + b->most_phase,
                  *const out = in + b->most_in;
    const double *const phase = phases_of(b, g, scratch), *x = v->x + begin;
    if (v->stride != 1) {
        for (size_t e = 0; e < g->count * size; e++)
            in[e] = v->x[(begin + e) * v->stride];
        x = in;
    }
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)(2 * b->n_k), (int)size, (int)g->count, 1,
                phase, (int)(2 * b->n_k), x, (int)size, 0, out, (int)size);
    const bool mirror = v->symmetric && g->row != g->column, diagonal = v->symmetric && g->row == g->column;
    for (size_t k = 0; k < b->n_k; k++) {
        double complex *const a = v->a + k * n * n;
        const double *const re = out + 2 * k * size, *const im = re + size;
        for (size_t i = 0; i < g->rows; i++)
            for (size_t j = 0; j < g->columns; j++)
                a[(g->row + i) * n + g->column + j] = CMPLX(re[i * g->columns + j], im[i * g->columns + j]);
        for (size_t j = 0; j < g->columns && mirror; j++)
            for (size_t i = 0; i < g->rows; i++)
                a[(g->column + j) * n + g->row + i] = CMPLX(re[i * g->columns + j], -im[i * g->columns + j]);
        for (size_t i = 0; i < g->rows && diagonal; i++) {
            a[(g->row + i) * n + g->row + i] = re[i * g->columns + i];
            for (size_t j = 0; j < i; j++)
                a[(g->row + i) * n + g->row + j] = conj(a[(g->row + j) * n + g->row + i]);
        }
    }
}

void nh_bloch_sum(const nh_bloch *b, const double *x, size_t stride, bool symmetric, double complex *a)
{
    memset(a, 0, b->n_k * b->n * b->n * sizeof *a);
    sums v = {.b = b, .x = x, .stride = stride, .symmetric = symmetric, .a = a};
    nh_parallel_for(b->threads, b->n_group, sum_group, &v);
}

static void back_group(void *context, size_t index, int thread)
{
    const sums *const v = context;
    const nh_bloch *const b = v->b;
    const group *const g = &b->group[index];
    if (!g->upper) return;
    const size_t size = g->rows * g->columns, n = b->n;
    double *const scratch = b->scratch[thread], *const in = scratch + b->most_phase + b->most_in;
    const double *const phase = phases_of(b, g, scratch);
    for (size_t k = 0; k < b->n_k; k++) {
        const double complex *const d = v->d + k * n * n;
        double *const re = in + 2 * k * size, *const im = re + size;
        const double w = v->weight[k];
        for (size_t i = 0; i < g->rows; i++)
            for (size_t j = 0; j < g->columns; j++) {
                re[i * g->columns + j] = w * creal(d[(g->row + i) * n + g->column + j]);
                im[i * g->columns + j] = w * cimag(d[(g->row + i) * n + g->column + j]);
            }
    }
    /* Re e^(-ix) d = cos x Re d + sin x Im d */
    double *const p = v->p + b->pairs->start[g->first];
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)g->count, (int)size, (int)(2 * b->n_k), 1,
                phase, (int)(2 * b->n_k), in, (int)size, 0, p, (int)size);
    for (size_t i = 0; i < g->count; i++) {
        const size_t pair = g->first + i, reverse = b->reverse[pair];
        if (g->row == g->column && reverse < pair) continue; /* made from its reverse */
        const double *const from = p + i * size;
        double *const to = v->p + b->pairs->start[reverse];
        for (size_t c = 0; c < g->columns; c++)
            for (size_t r = 0; r < g->rows; r++)
                if (reverse != pair || r < c) to[c * g->rows + r] = from[r * g->columns + c];
    }
}

void nh_bloch_back(const nh_bloch *b, const double *weight, const double complex *d, double *p)
{
    sums v = {.b = b, .weight = weight, .d = d, .p = p};
    nh_parallel_for(b->threads, b->n_group, back_group, &v);
}
