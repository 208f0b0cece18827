#include "sparse/matrix.h"

#include "base/complex.h"
#include "base/memory.h"

#include <cblas.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double REAL_WITHIN = 1e-12;

struct nh_sparse {
    const nh_fourier *fourier;
    size_t n_atom, n_block, n_elem, n_orbital, n_spin, spin_blocks; /* n_spin: 2 with spin, 1 without */
    const size_t *orbital; /* [n_atom+1] first orbital; the Fourier sums' */
    nh_fourier_block *block;
    unsigned char *keep;   /* [n_elem] bit s: spin block s of H (or S in it) is not zero; bit 4: S */
    double complex *h, *s; /* [spin_blocks][n_elem], [n_elem] */
    bool real_h, real_s;
};

enum { KEEP_S = 16 };

int nh_sparse_new(const nh_fourier *f, nh_sparse **out, nh_error *err)
{
    *out = NULL;
    nh_sparse *a = NH_ARRAY(nh_sparse, 1);
    if (a == NULL) return nh_fail_memory(err, "the sparse matrices");
    a->fourier = f;
    a->n_block = nh_fourier_blocks(f, NULL, &a->n_elem);
    a->orbital = nh_fourier_orbitals(f, &a->n_atom);
    a->n_orbital = a->orbital[a->n_atom];
    a->n_spin = nh_fourier_basis(f) / a->n_orbital;
    a->spin_blocks = a->n_spin * a->n_spin;
    a->block = NH_ARRAY(nh_fourier_block, a->n_block);
    a->keep = NH_ARRAY(unsigned char, a->n_elem);
    size_t room;
    if (nh_size_mul(a->spin_blocks, a->n_elem, &room)) a->h = NH_ARRAY(double complex, room);
    a->s = NH_ARRAY(double complex, a->n_elem);
    if (a->block == NULL || a->keep == NULL || a->h == NULL || a->s == NULL) {
        nh_sparse_free(a);
        return nh_fail_memory(err, "the sparse matrices");
    }
    const size_t basis = a->n_spin * a->n_orbital;
    if (basis > INT_MAX / 2) {
        nh_sparse_free(a);
        return nh_fail(err, "%zu basis functions: at most %d are possible", basis, INT_MAX / 2);
    }
    nh_fourier_blocks(f, a->block, NULL);
    nh_fourier_pattern(f, a->keep);
    /* H - sigma S has what either has. */
    for (size_t e = 0; e < a->n_elem; e++)
        if (a->keep[e] & KEEP_S)
            for (size_t s = 0; s < a->n_spin; s++)
                a->keep[e] |= (unsigned char)(1u << (s * a->n_spin + s));
    *out = a;
    return 0;
}

void nh_sparse_free(nh_sparse *a)
{
    if (a == NULL) return;
    free(a->block);
    free(a->keep);
    free(a->h);
    free(a->s);
    free(a);
}

size_t nh_sparse_basis(const nh_sparse *a, nh_sparse_kind kind)
{
    return kind == NH_SPARSE_H ? a->n_spin * a->n_orbital : a->n_orbital;
}

static bool is_real(size_t n, const double complex *x)
{
    for (size_t i = 0; i < n; i++)
        if (fabs(cimag(x[i])) > REAL_WITHIN) return false;
    return true;
}

int nh_sparse_fill(nh_sparse *a, const double *k, nh_error *err)
{
    if (nh_fourier_at_blocks(a->fourier, k, (double *)a->h, (double *)a->s, err) != 0) return -1;
    for (size_t e = 0; e < a->n_elem; e++)
        if (!isfinite(creal(a->s[e])) || !isfinite(cimag(a->s[e])))
            return nh_fail(err, "overlap: not finite");
    for (size_t e = 0; e < a->spin_blocks * a->n_elem; e++)
        if (!isfinite(creal(a->h[e])) || !isfinite(cimag(a->h[e])))
            return nh_fail(err, "the Hamiltonian: not finite");
    a->real_s = is_real(a->n_elem, a->s);
    a->real_h = a->real_s && is_real(a->spin_blocks * a->n_elem, a->h);
    return 0;
}

bool nh_sparse_is_real(const nh_sparse *a, nh_sparse_kind kind)
{
    return kind == NH_SPARSE_H ? a->real_h : a->real_s;
}

/* The elements in their order: counted, or with rows and columns, or with values. */
typedef struct elements {
    size_t count;
    int *row, *column;
    double *value;
    double sigma;
} elements;

static inline void put(elements *e, size_t row, size_t column, double value)
{
    if (e->row != NULL) {
        e->row[e->count] = (int)(row < column ? row : column) + 1;
        e->column[e->count] = (int)(row < column ? column : row) + 1;
    }
    if (e->value != NULL) e->value[e->count] = value;
    e->count++;
}

/* Element z in row r and column c >= r of A. */
static inline void put_complex(elements *e, bool real, size_t r, size_t c, double complex z)
{
    if (real) {
        put(e, r, c, creal(z));
    } else {
        put(e, 2 * r, 2 * c, creal(z));
        put(e, 2 * r + 1, 2 * c + 1, creal(z));
        if (r == c) return;
        put(e, 2 * r, 2 * c + 1, -cimag(z));
        put(e, 2 * r + 1, 2 * c, cimag(z));
    }
}

static void walk(const nh_sparse *a, nh_sparse_kind kind, bool real, elements *out)
{
    const size_t n_spin = kind == NH_SPARSE_H ? a->n_spin : 1;
    out->count = 0;
    for (size_t q = 0; q < a->n_block; q++) {
        const nh_fourier_block *b = &a->block[q];
        const size_t row = a->orbital[b->src], rows = a->orbital[b->src + 1] - row;
        const size_t column = a->orbital[b->dst], columns = a->orbital[b->dst + 1] - column;
        for (size_t i = 0; i < rows; i++)
            for (size_t s1 = 0; s1 < n_spin; s1++) {
                const size_t r = (row + i) * n_spin + s1;
                for (size_t j = 0; j < columns; j++)
                    for (size_t s2 = 0; s2 < n_spin; s2++) {
                        const size_t c = (column + j) * n_spin + s2, e = b->at + i * columns + j;
                        if (r > c) continue;
                        const size_t spin = s1 * n_spin + s2;
                        if (r != c && !(a->keep[e] & (kind == NH_SPARSE_H ? 1u << spin : KEEP_S))) continue;
                        double complex z = kind == NH_SPARSE_H ? a->h[spin * a->n_elem + e] : a->s[e];
                        if (kind == NH_SPARSE_H && s1 == s2) z -= out->sigma * a->s[e];
                        if (kind == NH_SPARSE_S && r == c) z -= out->sigma;
                        put_complex(out, real, r, c, z);
                    }
            }
    }
}

size_t nh_sparse_elements(const nh_sparse *a, nh_sparse_kind kind, bool real)
{
    elements e = {0};
    walk(a, kind, real, &e);
    return e.count;
}

void nh_sparse_pattern(const nh_sparse *a, nh_sparse_kind kind, bool real, int *row, int *column)
{
    elements e = {.row = row, .column = column};
    walk(a, kind, real, &e);
}

void nh_sparse_values(const nh_sparse *a, nh_sparse_kind kind, bool real, double sigma, double *value)
{
    elements e = {.value = value, .sigma = sigma};
    walk(a, kind, real, &e);
}

size_t nh_sparse_atom_count(const nh_sparse *a)
{
    return a->n_atom;
}

void nh_sparse_atoms(const nh_sparse *a, nh_sparse_kind kind, bool real, size_t *atom)
{
    const size_t width = (kind == NH_SPARSE_H ? a->n_spin : 1) * (real ? 1 : 2);
    for (size_t i = 0; i < a->n_atom; i++)
        for (size_t r = width * a->orbital[i]; r < width * a->orbital[i + 1]; r++)
            atom[r] = i;
}

size_t nh_sparse_atom_pairs(const nh_sparse *a, int *row, int *column)
{
    size_t n = 0;
    for (size_t q = 0; q < a->n_block; q++) {
        if (a->block[q].src == a->block[q].dst) continue;
        if (row != NULL) {
            row[n] = (int)a->block[q].src + 1;
            column[n] = (int)a->block[q].dst + 1;
        }
        n++;
    }
    return n;
}

/* From [p][n_orbital * n_spin] to [n_orbital][n_spin][p] and back: then a block times all vectors is one product. */
static void gather(size_t n, size_t p, const double complex *x, double complex *to)
{
    for (size_t v = 0; v < p; v++)
        for (size_t i = 0; i < n; i++)
            to[i * p + v] = x[v * n + i];
}

static void scatter(size_t n, size_t p, const double complex *x, double complex *to)
{
    for (size_t v = 0; v < p; v++)
        for (size_t i = 0; i < n; i++)
            to[v * n + i] = x[i * p + v];
}

/* y += B x and, off the diagonal, its adjoint: B = the blocks of spin (s1, s2) of `m`. Rows of x and y: an orbital,
 * `row` numbers, of which the product takes `width` from the given places on. The blocks i = j are Hermitian only with
 * their spins together, and complete. */
static void add_blocks(const nh_sparse *a, const double complex *m, size_t row, size_t width, size_t from,
                       size_t to, bool adjoint, const double complex *x, double complex *y)
{
    const double complex one = 1;
    for (size_t q = 0; q < a->n_block; q++) {
        const nh_fourier_block *b = &a->block[q];
        const size_t i = a->orbital[b->src], j = a->orbital[b->dst];
        const int rows = (int)(a->orbital[b->src + 1] - i), columns = (int)(a->orbital[b->dst + 1] - j);
        if (adjoint && i == j) continue;
        if (adjoint)
            cblas_zgemm(CblasRowMajor, CblasConjTrans, CblasNoTrans, columns, (int)width, rows, &one,
                        m + b->at, columns, x + i * row + from, (int)row, &one, y + j * row + to, (int)row);
        else
            cblas_zgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, (int)width, columns, &one, m + b->at,
                        columns, x + j * row + from, (int)row, &one, y + i * row + to, (int)row);
    }
}

static int times(const nh_sparse *a, const double complex *m, size_t spin_blocks, size_t n_spin, size_t p,
                 const double *x, double *y, nh_error *err)
{
    const size_t n = a->n_orbital * n_spin, row = n_spin * p;
    double complex *in = NH_ARRAY(double complex, n *p), *out = NH_ARRAY(double complex, n *p);
    int status = -1;
    if (in == NULL || out == NULL) {
        nh_fail_memory(err, "a sparse product");
        goto done;
    }
    gather(n, p, (const double complex *)x, in);
    if (spin_blocks == 1) { /* the same for both spins */
        add_blocks(a, m, row, row, 0, 0, false, in, out);
        add_blocks(a, m, row, row, 0, 0, true, in, out);
    } else {
        for (size_t s1 = 0; s1 < n_spin; s1++)
            for (size_t s2 = 0; s2 < n_spin; s2++) {
                const double complex *part = m + (s1 * n_spin + s2) * a->n_elem;
                add_blocks(a, part, row, p, s2 * p, s1 * p, false, in, out);
                add_blocks(a, part, row, p, s1 * p, s2 * p, true, in, out);
            }
    }
    scatter(n, p, out, (double complex *)y);
    status = 0;
done:
    free(in);
    free(out);
    return status;
}

int nh_sparse_times_h(const nh_sparse *a, size_t p, const double *x, double *y, nh_error *err)
{
    return times(a, a->h, a->spin_blocks, a->n_spin, p, x, y, err);
}

int nh_sparse_times_s(const nh_sparse *a, nh_sparse_kind kind, size_t p, const double *x, double *y,
                      nh_error *err)
{
    return times(a, a->s, 1, kind == NH_SPARSE_H ? a->n_spin : 1, p, x, y, err);
}
