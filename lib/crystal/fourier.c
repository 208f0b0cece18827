#include "crystal/fourier.h"
#include "base/complex.h"
#include "crystal/fourier_internal.h"
#include "crystal/fourier_placed.h"

#include "base/memory.h"
#include "device/device.h"

#include <cblas.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The pairs (i, j, all R) with i <= j. In the file they follow each other, so that for one atom pair the sum
 * over R is a matrix product, phases [k][R] x blocks [R][n_i n_j]. */
typedef struct group {
    size_t first, count; /* pairs */
    size_t src, dst;     /* atoms */
} group;

struct nh_fourier {
    const nh_graph *graph;
    const double *matrix;
    size_t n_orbital, n_group, n_cell, widest,
        longest;     /* largest block, largest number of cells in a group */
    size_t *orbital; /* [n_atom+1] first orbital of each atom */
    group *groups;
    int (*cell)[3];  /* distinct R */
    size_t *cell_of; /* [pair] index into cell */
    const nh_device *device;
    nhk_fourier *placed; /* NULL: on the CPU */
};

static int compare_cells(const void *pa, const void *pb)
{
    const int *a = pa, *b = pb;
    for (int x = 0; x < 3; x++)
        if (a[x] != b[x]) return a[x] < b[x] ? -1 : 1;
    return 0;
}

static int list_cells(nh_fourier *f, nh_error *err)
{
    const nh_pairs *p = &f->graph->pairs;
    f->cell = nh_calloc(p->count, sizeof *f->cell);
    f->cell_of = NH_ARRAY(size_t, p->count);
    if (f->cell == NULL || f->cell_of == NULL) return nh_fail_memory(err, "the cells of the pairs");
    for (size_t i = 0; i < p->count; i++)
        memcpy(f->cell[i], p->pair[i].cell, sizeof f->cell[i]);
    qsort(f->cell, p->count, sizeof *f->cell, compare_cells);
    for (size_t i = 0; i < p->count; i++)
        if (i == 0 || compare_cells(f->cell[f->n_cell - 1], f->cell[i]) != 0)
            memmove(f->cell[f->n_cell++], f->cell[i], sizeof f->cell[i]);
    for (size_t i = 0; i < p->count; i++) {
        const int(*found)[3] = bsearch(p->pair[i].cell, f->cell, f->n_cell, sizeof *f->cell, compare_cells);
        f->cell_of[i] = (size_t)(found - (const int(*)[3])f->cell);
    }
    return 0;
}

static int list_groups(nh_fourier *f, nh_error *err)
{
    const nh_pairs *p = &f->graph->pairs;
    for (int pass = 0; pass < 2; pass++) {
        size_t n = 0;
        for (size_t i = 0, end; i < p->count; i = end) {
            const nh_pair *a = &p->pair[i];
            for (end = i + 1; end < p->count && p->pair[end].src == a->src && p->pair[end].dst == a->dst;)
                end++;
            if (a->src > a->dst) continue;
            if (pass == 1)
                f->groups[n] =
                    (group){.first = i, .count = end - i, .src = (size_t)a->src, .dst = (size_t)a->dst};
            n++;
            size_t width = p->start[i + 1] - p->start[i];
            f->widest = width > f->widest ? width : f->widest;
            f->longest = end - i > f->longest ? end - i : f->longest;
        }
        if (pass == 1) break;
        f->n_group = n;
        f->groups = NH_ARRAY(group, n);
        if (f->groups == NULL) return nh_fail_memory(err, "the atom pairs");
    }
    if (f->widest > INT_MAX || f->longest > INT_MAX)
        return nh_fail(err, "an atom pair with more than %d elements", INT_MAX);
    return 0;
}

/* S <- (S + S^T)/2 over the pairs (i,j,R), (j,i,-R). */
static int symmetrise_overlap(nh_graph *g, nh_error *err)
{
    const nh_pairs *p = &g->pairs;
    size_t *reverse = NH_ARRAY(size_t, p->count);
    if (reverse == NULL) return nh_fail_memory(err, "the reverse pairs");
    nh_pairs_reverse(p, reverse);
    int status = 0;
    for (size_t i = 0; i < p->count && status == 0; i++) {
        size_t back = reverse[i], rows = nh_atom_orbitals(&g->structure, (size_t)p->pair[i].src);
        const int *c = p->pair[i].cell;
        if (back == SIZE_MAX) {
            status = nh_fail(err, "pair %zu (%d, %d, %d %d %d): its reverse pair is missing", i,
                             p->pair[i].src, p->pair[i].dst, c[0], c[1], c[2]);
            break;
        }
        if (back < i) continue;
        size_t columns = rows > 0 ? (p->start[i + 1] - p->start[i]) / rows : 0;
        double *a = g->overlap + p->start[i], *b = g->overlap + p->start[back];
        for (size_t r = 0; r < rows && status == 0; r++)
            for (size_t k = 0; k < columns; k++) {
                double *x = &a[r * columns + k], *y = &b[k * rows + r];
                if (!(fabs(*x - *y) <= 1e-6)) {
                    status = nh_fail(
                        err,
                        "overlap: not symmetric: %g and %g in pair %zu (%d, %d, %d %d %d) and its reverse",
                        *x, *y, i, p->pair[i].src, p->pair[i].dst, c[0], c[1], c[2]);
                    break;
                }
                *x = *y = 0.5 * (*x + *y);
            }
    }
    free(reverse);
    return status;
}

int nh_fourier_new(nh_graph *g, nh_matrix m, double *anti, nh_fourier **out, nh_error *err)
{
    *out = NULL;
    if (g->matrix[m] == NULL) return nh_fail(err, "no variable %s", nh_matrix_name(m));
    if (g->overlap == NULL) return nh_fail(err, "no variable overlap");
    if (g->pairs.count == 0 || nh_structure_orbitals(&g->structure) == 0) return nh_fail(err, "no orbitals");
    double largest = 0;
    if (nh_hermiticity(g, g->matrix[m], &largest, NULL, err) != 0 || symmetrise_overlap(g, err) != 0)
        return -1;
    if (largest > 0 && nh_hermitize(g, g->matrix[m], err) != 0) return -1;
    if (anti != NULL) *anti = 0.5 * largest;

    nh_fourier *f = NH_ARRAY(nh_fourier, 1);
    if (f == NULL) return nh_fail_memory(err, "the Fourier sums");
    f->graph = g;
    f->matrix = g->matrix[m];
    f->n_orbital = nh_structure_orbitals(&g->structure);
    f->orbital = NH_ARRAY(size_t, g->structure.n_atom + 1);
    if (f->orbital == NULL) {
        nh_fail_memory(err, "the Fourier sums");
        goto fail;
    }
    nh_orbital_start(&g->structure, f->orbital);
    if (list_cells(f, err) != 0 || list_groups(f, err) != 0) goto fail;
    *out = f;
    return 0;
fail:
    nh_fourier_free(f);
    return -1;
}

void nh_fourier_free(nh_fourier *f)
{
    if (f == NULL) return;
    if (f->placed != NULL) f->device->call->fourier->drop(f->placed);
    free(f->orbital);
    free(f->groups);
    free(f->cell);
    free(f->cell_of);
    free(f);
}

int nh_fourier_place(nh_fourier *f, const nh_device *device, nh_error *err)
{
    if (device == NULL) return 0;
    const nh_pairs *p = &f->graph->pairs;
    nhk_fourier_group *groups = nh_calloc(f->n_group, sizeof *groups);
    int *cell = NH_ARRAY(int, p->count), status = -1;
    if (groups == NULL || cell == NULL || p->count > INT_MAX || 2 * f->n_orbital > INT_MAX) {
        nh_fail_memory(err, "the Fourier sums");
        goto done;
    }
    for (size_t i = 0; i < f->n_group; i++) {
        const group *a = &f->groups[i];
        groups[i] = (nhk_fourier_group){.start = p->start[a->first],
                                        .width = (int)(p->start[a->first + 1] - p->start[a->first]),
                                        .first = (int)a->first,
                                        .count = (int)a->count,
                                        .row = (int)f->orbital[a->src],
                                        .column = (int)f->orbital[a->dst],
                                        .columns = (int)(f->orbital[a->dst + 1] - f->orbital[a->dst])};
    }
    for (size_t i = 0; i < p->count; i++)
        cell[i] = (int)f->cell_of[i];
    const nhk_fourier_input in = {.n_group = f->n_group,
                                  .n_pair = p->count,
                                  .n_cell = f->n_cell,
                                  .n_elem = p->n_elem,
                                  .basis = nh_fourier_basis(f),
                                  .spin_blocks = f->graph->n_spin == 4 ? 4 : 1,
                                  .group = groups,
                                  .cell_of = cell,
                                  .matrix = f->matrix,
                                  .overlap = f->graph->overlap};
    f->device = device;
    status = device->call->fourier->make(device->gpu, &in, &f->placed, err);
done:
    free(groups);
    free(cell);
    return status;
}

size_t nh_fourier_basis(const nh_fourier *f)
{
    return f->graph->n_spin == 4 ? 2 * f->n_orbital : f->n_orbital;
}

/* Adds block[i][j] of spin (s1, s2) as rows `row` x columns `column` of the upper triangle, and its adjoint
 * below. */
static void place(const group *g, const size_t *orbital, size_t n_spin, size_t s1, size_t s2, size_t basis,
                  const double complex *block, double complex *to)
{
    size_t row = orbital[g->src], rows = orbital[g->src + 1] - row;
    size_t column = orbital[g->dst], columns = orbital[g->dst + 1] - column;
    for (size_t i = 0; i < rows; i++) {
        size_t a = (row + i) * n_spin + s1;
        for (size_t j = 0; j < columns; j++) {
            size_t b = (column + j) * n_spin + s2;
            double complex v = block[i * columns + j];
            if (a < b) {
                to[a * basis + b] = v;
                to[b * basis + a] = conj(v);
            } else if (a == b) {
                to[a * basis + a] = creal(v);
            }
        }
    }
}

/* phase[n][n_cell] = exp(2 pi i k.R) */
static void make_phases(const nh_fourier *f, size_t n, const double *k, double complex *phase)
{
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < f->n_cell; c++) {
            double turn = 0;
            for (size_t x = 0; x < 3; x++)
                turn += k[3 * i + x] * f->cell[c][x];
            turn -= floor(turn);
            phase[i * f->n_cell + c] = CMPLX(cos(2 * M_PI * turn), sin(2 * M_PI * turn));
        }
}

int nh_fourier_queue(const nh_fourier *f, size_t n, const double *k, nhk_eigen *to, nh_error *err)
{
    double complex *phase = NH_ARRAY(double complex, n * f->n_cell);
    if (phase == NULL) return nh_fail_memory(err, "the Fourier sums");
    make_phases(f, n, k, phase);
    const int status = f->device->call->eigen->queue(to, n, f->placed, (const double *)phase, err);
    free(phase);
    return status;
}

static size_t block_width(const nh_fourier *f, const group *a)
{
    return f->graph->pairs.start[a->first + 1] - f->graph->pairs.start[a->first];
}

/* sum[n][width] = phase[n][cells of a] x H(R) of one spin block. */
static void sum_h(const nh_fourier *f, const group *a, size_t spin, size_t n, const double complex *phase,
                  double complex *sum)
{
    const nh_pairs *pairs = &f->graph->pairs;
    const double *blocks = f->matrix + 2 * (spin * pairs->n_elem + pairs->start[a->first]);
    const int cells = (int)a->count, columns = (int)block_width(f, a);
    const double complex one = 1, zero = 0;
    cblas_zgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n, columns, cells, &one, phase, cells, blocks,
                columns, &zero, sum, columns);
}

/* The same for S or another real matrix[n_elem]: phases and sums are [2n], real parts before imaginary ones. */
static void sum_s(const nh_fourier *f, const group *a, const double *matrix, size_t n, const double *phase,
                  double *sum)
{
    const double *blocks = matrix + f->graph->pairs.start[a->first];
    const int cells = (int)a->count, columns = (int)block_width(f, a);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, 2 * (int)n, columns, cells, 1, phase, cells,
                blocks, columns, 0, sum, columns);
}

const int (*nh_fourier_cells(const nh_fourier *f, size_t *count))[3]
{
    *count = f->n_cell;
    return (const int(*)[3])f->cell;
}

/* weight[n][n_cell]; the sums of fourier_internal.h. */
static int sum_blocks(const nh_fourier *f, size_t n, const double complex *weight, const double *overlap,
                      double *h, double *s, nh_error *err)
{
    const nh_graph *g = f->graph;
    const size_t spin_blocks = g->n_spin == 4 ? 4 : 1, n_spin = spin_blocks == 4 ? 2 : 1,
                 basis = f->n_orbital * n_spin;
    const size_t size = basis * basis;
    int status = -1;
    /* S is real: its weights are a real matrix with the rows (re k1, re k2, ..., im k1, ...). */
    double complex *p = NH_ARRAY(double complex, n * f->longest);
    double *real_weight = NH_ARRAY(double, 2 * n * f->longest),
           *real_sum = NH_ARRAY(double, 2 * n * f->widest);
    double complex *sum = NH_ARRAY(double complex, n * f->widest);
    if (p == NULL || real_weight == NULL || real_sum == NULL || sum == NULL || n > INT_MAX / 2) {
        nh_fail_memory(err, "the Fourier sums");
        goto done;
    }
    if (h != NULL) memset(h, 0, n * size * sizeof(double complex));
    if (s != NULL) memset(s, 0, n * size * sizeof(double complex));
    for (size_t q = 0; q < f->n_group; q++) {
        const group *a = &f->groups[q];
        const size_t width = block_width(f, a);
        if (width == 0) continue;
        for (size_t i = 0; i < n; i++)
            for (size_t r = 0; r < a->count; r++) {
                double complex v = weight[i * f->n_cell + f->cell_of[a->first + r]];
                p[i * a->count + r] = v;
                real_weight[i * a->count + r] = creal(v);
                real_weight[(n + i) * a->count + r] = cimag(v);
            }
        for (size_t spin = 0; spin < spin_blocks && h != NULL; spin++) {
            sum_h(f, a, spin, n, p, sum);
            for (size_t i = 0; i < n; i++)
                place(a, f->orbital, n_spin, spin / n_spin, spin % n_spin, basis, sum + i * width,
                      (double complex *)h + i * size);
        }
        if (s == NULL) continue;
        sum_s(f, a, overlap, n, real_weight, real_sum);
        for (size_t i = 0; i < n; i++) {
            for (size_t e = 0; e < width; e++)
                sum[e] = CMPLX(real_sum[i * width + e], real_sum[(n + i) * width + e]);
            for (size_t spin = 0; spin < n_spin; spin++)
                place(a, f->orbital, n_spin, spin, spin, basis, sum, (double complex *)s + i * size);
        }
    }
    status = 0;
done:
    free(p);
    free(real_weight);
    free(real_sum);
    free(sum);
    return status;
}

int nh_fourier_weighted(const nh_fourier *f, size_t n, const double *weight, const double *blocks, double *h,
                        double *s, nh_error *err)
{
    return sum_blocks(f, n, (const double complex *)weight, blocks != NULL ? blocks : f->graph->overlap, h, s,
                      err);
}

int nh_fourier_at(const nh_fourier *f, size_t n, const double *k, double *h, double *s, nh_error *err)
{
    double complex *phase = NH_ARRAY(double complex, n * f->n_cell);
    if (phase == NULL) return nh_fail_memory(err, "the Fourier sums");
    make_phases(f, n, k, phase);
    const int status = f->placed != NULL
                           ? f->device->call->fourier->at(f->placed, n, (const double *)phase, h, s, err)
                           : sum_blocks(f, n, phase, f->graph->overlap, h, s, err);
    free(phase);
    return status;
}

size_t nh_fourier_blocks(const nh_fourier *f, nh_fourier_block *block, size_t *n_elem)
{
    size_t at = 0;
    for (size_t q = 0; q < f->n_group; q++) {
        if (block != NULL) block[q] = (nh_fourier_block){f->groups[q].src, f->groups[q].dst, at};
        at += block_width(f, &f->groups[q]);
    }
    if (n_elem != NULL) *n_elem = at;
    return f->n_group;
}

const size_t *nh_fourier_orbitals(const nh_fourier *f, size_t *n_atom)
{
    *n_atom = f->graph->structure.n_atom;
    return f->orbital;
}

void nh_fourier_pattern(const nh_fourier *f, unsigned char *kept)
{
    const nh_pairs *p = &f->graph->pairs;
    const size_t spin_blocks = f->graph->n_spin == 4 ? 4 : 1;
    for (size_t q = 0; q < f->n_group; q++) {
        const group *a = &f->groups[q];
        const size_t width = block_width(f, a);
        memset(kept, 0, width);
        for (size_t i = a->first; i < a->first + a->count; i++) {
            for (size_t spin = 0; spin < spin_blocks; spin++) {
                const double *h = f->matrix + 2 * (spin * p->n_elem + p->start[i]);
                for (size_t e = 0; e < width; e++)
                    if (h[2 * e] != 0 || h[2 * e + 1] != 0) kept[e] |= (unsigned char)(1u << spin);
            }
            for (size_t e = 0; e < width; e++)
                if (f->graph->overlap[p->start[i] + e] != 0) kept[e] |= 16;
        }
        kept += width;
    }
}

int nh_fourier_at_blocks(const nh_fourier *f, const double *k, double *h, double *s, nh_error *err)
{
    const size_t spin_blocks = f->graph->n_spin == 4 ? 4 : 1;
    size_t n_elem, at = 0;
    nh_fourier_blocks(f, NULL, &n_elem);
    double complex *phase = NH_ARRAY(double complex, f->n_cell), *p = NH_ARRAY(double complex, f->longest);
    double *real_phase = NH_ARRAY(double, 2 * f->longest), *real_sum = NH_ARRAY(double, 2 * f->widest);
    int status = 0;
    if (phase == NULL || p == NULL || real_phase == NULL || real_sum == NULL) {
        status = nh_fail_memory(err, "the Fourier sums");
        goto done;
    }
    make_phases(f, 1, k, phase);
    for (size_t q = 0; q < f->n_group; q++) {
        const group *a = &f->groups[q];
        const size_t width = block_width(f, a);
        if (width == 0) continue;
        for (size_t r = 0; r < a->count; r++) {
            p[r] = phase[f->cell_of[a->first + r]];
            real_phase[r] = creal(p[r]);
            real_phase[a->count + r] = cimag(p[r]);
        }
        for (size_t spin = 0; spin < spin_blocks; spin++)
            sum_h(f, a, spin, 1, p, (double complex *)h + spin * n_elem + at);
        sum_s(f, a, f->graph->overlap, 1, real_phase, real_sum);
        for (size_t e = 0; e < width; e++) {
            s[2 * (at + e)] = real_sum[e];
            s[2 * (at + e) + 1] = real_sum[width + e];
        }
        at += width;
    }
done:
    free(phase);
    free(p);
    free(real_phase);
    free(real_sum);
    return status;
}

size_t nh_fourier_batch(const nh_fourier *f)
{
    return nh_fourier_basis(f) <= 512 ? 8 : 1;
}

typedef struct batches {
    const nh_fourier *f;
    size_t n, batch, size; /* k-points, k-points a batch, numbers a matrix */
    const double *k;
    double *h, *s;
    nh_error *error; /* [batches] empty text: none */
} batches;

static void run_batch(void *context, size_t index, int thread)
{
    (void)thread;
    const batches *b = context;
    const size_t first = index * b->batch, n = b->n - first < b->batch ? b->n - first : b->batch;
    nh_fourier_at(b->f, n, b->k + 3 * first, b->h != NULL ? b->h + first * b->size : NULL,
                  b->s != NULL ? b->s + first * b->size : NULL, &b->error[index]);
}

int nh_fourier_many(const nh_fourier *f, size_t n, const double *k, double *h, double *s, nh_threads *threads,
                    nh_error *err)
{
    const size_t batch = nh_fourier_batch(f), basis = nh_fourier_basis(f), count = (n + batch - 1) / batch;
    batches b = {.f = f, .n = n, .batch = batch, .size = 2 * basis * basis, .k = k, .h = h, .s = s};
    b.error = NH_ARRAY(nh_error, count);
    if (b.error == NULL) return nh_fail_memory(err, "the Fourier sums");
    nh_parallel_for(f->placed != NULL ? NULL : threads, count, run_batch, &b);
    int status = 0;
    for (size_t i = 0; i < count && status == 0; i++)
        if (b.error[i].text[0] != '\0') status = nh_fail(err, "%s", b.error[i].text);
    free(b.error);
    return status;
}
