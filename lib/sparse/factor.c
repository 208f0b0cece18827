#include "sparse/factor.h"

#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

double nh_memory_available(void)
{
    double kilobytes = NAN;
    FILE *f = fopen("/proc/meminfo", "r");
    char line[128];
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "MemAvailable: %lf kB", &kilobytes) == 1) break;
    if (f != NULL) fclose(f);
    return isnan(kilobytes) ? (double)sysconf(_SC_AVPHYS_PAGES) * (double)sysconf(_SC_PAGESIZE)
                            : 1024 * kilobytes;
}

#ifdef NH_MUMPS

#include <dmumps_c.h>

/* MUMPS's own numbers, from 1 as in its manual. */
#define ICNTL(i) icntl[(i)-1]
#define INFOG(i) infog[(i)-1]
#define RINFOG(i) rinfog[(i)-1]
enum { START = -1, END = -2, ANALYSE = 1, FACTORISE = 2, SOLVE = 3, SYMMETRIC = 2, COMM_WORLD = -987654 };

struct nh_factor {
    const nh_sparse *a;
    nh_sparse_kind kind;
    bool real, started;
    size_t n, elements; /* rows of the real matrix */
    int *row, *column;
    double *value;
    double *part; /* real parts of vectors */
    size_t room;
    DMUMPS_STRUC_C mumps;
};

bool nh_factor_available(void)
{
    return true;
}

static int call(DMUMPS_STRUC_C *m, int job)
{
    m->job = job;
    dmumps_c(m);
    return m->INFOG(1);
}

static int start(DMUMPS_STRUC_C *m, nh_error *err)
{
    memset(m, 0, sizeof *m);
    m->par = 1;
    m->sym = SYMMETRIC;
    m->comm_fortran = COMM_WORLD;
    if (call(m, START) != 0) return nh_fail(err, "MUMPS does not start (%d)", m->INFOG(1));
    for (int i = 1; i <= 3; i++)
        m->ICNTL(i) = -1; /* no messages */
    m->ICNTL(4) = 0;
    m->ICNTL(10) = 0; /* no refinement: A^-1 is one operator for all vectors */
    m->ICNTL(13) = 1; /* no parallel root, which would hide its negative pivots */
    return 0;
}

static int failed(const DMUMPS_STRUC_C *m, const char *what, nh_error *err)
{
    const int why = m->INFOG(1);
    if (why == -7 || why == -13 || why == -19) return nh_fail_memory(err, "the sparse factorisation");
    return nh_fail(err, "MUMPS: %s failed (INFOG %d, %d)", what, why, m->INFOG(2));
}

/* The order of elimination of the atoms with the fewest operations among MUMPS's orderings; position[n_atom]. Rows of
 * an atom have one pattern: the graph of the atoms is small, and there is time to try them all. */
static int order_atoms(const nh_sparse *a, size_t *position, nh_error *err)
{
    /* Not PORD (4): it ends the process where a graph has no separators. */
    static const int ORDERINGS[] = {0, 6, 3, 5}; /* AMD, QAMD, SCOTCH, METIS */
    const size_t n = nh_sparse_atom_count(a), pairs = nh_sparse_atom_pairs(a, NULL, NULL);
    int *row = NH_ARRAY(int, pairs + n), *column = NH_ARRAY(int, pairs + n), status = -1;
    double best = INFINITY;
    DMUMPS_STRUC_C m;
    if (row == NULL || column == NULL) {
        nh_fail_memory(err, "the sparse factorisation");
        goto done;
    }
    nh_sparse_atom_pairs(a, row, column);
    for (size_t i = 0; i < n; i++)
        row[pairs + i] = column[pairs + i] = (int)i + 1;
    for (size_t o = 0; o < sizeof ORDERINGS / sizeof *ORDERINGS; o++) {
        if (start(&m, err) != 0) goto done;
        m.n = (int)n;
        m.nnz = (MUMPS_INT8)(pairs + n);
        m.irn = row;
        m.jcn = column;
        m.ICNTL(6) = 0;
        m.ICNTL(7) = ORDERINGS[o];
        m.ICNTL(12) = 1;
        if (call(&m, ANALYSE) >= 0 && m.RINFOG(1) < best) {
            best = m.RINFOG(1);
            for (size_t i = 0; i < n; i++)
                position[i] = (size_t)m.sym_perm[i] - 1;
        }
        call(&m, END);
    }
    status = isinf(best) ? nh_fail(err, "MUMPS: no order of elimination") : 0;
done:
    free(row);
    free(column);
    return status;
}

/* Rows follow the order of their atoms. perm[n]: the place of each row, from 1. */
static int order_rows(const nh_factor *f, int *perm, nh_error *err)
{
    const size_t n_atom = nh_sparse_atom_count(f->a);
    size_t *position = NH_ARRAY(size_t, n_atom), *start_of = NH_ARRAY(size_t, n_atom + 1),
           *atom = NH_ARRAY(size_t, f->n);
    int status = -1;
    if (position == NULL || start_of == NULL || atom == NULL) {
        nh_fail_memory(err, "the sparse factorisation");
        goto done;
    }
    if (order_atoms(f->a, position, err) != 0) goto done;
    nh_sparse_atoms(f->a, f->kind, f->real, atom);
    for (size_t i = 0; i < f->n; i++)
        start_of[position[atom[i]] + 1]++;
    for (size_t i = 0; i < n_atom; i++)
        start_of[i + 1] += start_of[i];
    for (size_t i = 0; i < f->n; i++)
        perm[i] = (int)start_of[position[atom[i]]]++ + 1;
    status = 0;
done:
    free(position);
    free(start_of);
    free(atom);
    return status;
}

int nh_factor_new(const nh_sparse *a, nh_sparse_kind kind, bool real, nh_factor **out, nh_error *err)
{
    *out = NULL;
    nh_factor *f = NH_ARRAY(nh_factor, 1);
    if (f == NULL) return nh_fail_memory(err, "the sparse factorisation");
    f->a = a;
    f->kind = kind;
    f->real = real;
    f->n = nh_sparse_basis(a, kind) * (real ? 1 : 2);
    f->elements = nh_sparse_elements(a, kind, real);
    f->row = NH_ARRAY(int, f->elements);
    f->column = NH_ARRAY(int, f->elements);
    f->value = NH_ARRAY(double, f->elements);
    int *perm = NH_ARRAY(int, f->n), status = -1;
    if (f->row == NULL || f->column == NULL || f->value == NULL || perm == NULL) {
        nh_fail_memory(err, "the sparse factorisation");
        goto done;
    }
    nh_sparse_pattern(a, kind, real, f->row, f->column);
    if (order_rows(f, perm, err) != 0 || start(&f->mumps, err) != 0) goto done;
    f->started = true;
    DMUMPS_STRUC_C *m = &f->mumps;
    m->n = (int)f->n;
    m->nnz = (MUMPS_INT8)f->elements;
    m->irn = f->row;
    m->jcn = f->column;
    m->perm_in = perm;
    m->ICNTL(6) = 0;  /* no permutation by values, which are not known yet */
    m->ICNTL(7) = 1;  /* the given order */
    m->ICNTL(12) = 1; /* not one of pairs of rows */
    status = call(m, ANALYSE) < 0 ? failed(m, "the analysis", err) : 0;
    m->perm_in = NULL;
done:
    free(perm);
    if (status == 0)
        *out = f;
    else
        nh_factor_free(f);
    return status;
}

void nh_factor_free(nh_factor *f)
{
    if (f == NULL) return;
    if (f->started) call(&f->mumps, END);
    free(f->row);
    free(f->column);
    free(f->value);
    free(f->part);
    free(f);
}

nh_factor_facts nh_factor_expect(const nh_factor *f)
{
    const DMUMPS_STRUC_C *m = &f->mumps;
    const double entries = m->INFOG(20);
    return (nh_factor_facts){.size = f->n,
                             .elements = f->elements,
                             .entries = entries < 0 ? -1e6 * entries : entries,
                             .operations = m->RINFOG(1),
                             .bytes = 1e6 * m->INFOG(17) + 16 * (double)f->elements};
}

int nh_factor_at(nh_factor *f, double sigma, size_t *below, bool *singular, nh_error *err)
{
    enum { WORK_IS_SMALL = -9, WORK_IS_SMALL_TOO = -8, IS_SINGULAR = -10, MOST_ROOM = 400 };
    DMUMPS_STRUC_C *m = &f->mumps;
    nh_sparse_values(f->a, f->kind, f->real, sigma, f->value);
    m->a = f->value;
    int why = call(m, FACTORISE);
    /* Pivots that are put off make fronts grow beyond the estimate. */
    while ((why == WORK_IS_SMALL || why == WORK_IS_SMALL_TOO) && m->ICNTL(14) < MOST_ROOM) {
        m->ICNTL(14) *= 2;
        why = call(m, FACTORISE);
    }
    *singular = why == IS_SINGULAR;
    *below = 0;
    if (*singular) return 0;
    if (why < 0) return failed(m, "the factorisation", err);
    const size_t negative = (size_t)m->INFOG(12);
    *below = f->real ? negative : negative / 2;
    *singular =
        !f->real && negative % 2 != 0; /* of a pair of equal eigenvalues one on each side of 0: rounding */
    return 0;
}

int nh_factor_solve(nh_factor *f, size_t p, double *x, nh_error *err)
{
    DMUMPS_STRUC_C *m = &f->mumps;
    double *b = x;
    if (f->real) {
        if (p * f->n > f->room) {
            free(f->part);
            f->part = NH_ARRAY(double, p * f->n);
            f->room = f->part != NULL ? p * f->n : 0;
        }
        if (f->part == NULL) return nh_fail_memory(err, "the sparse factorisation");
        for (size_t i = 0; i < p * f->n; i++)
            f->part[i] = x[2 * i];
        b = f->part;
    }
    m->rhs = b;
    m->nrhs = (int)p;
    m->lrhs = (int)f->n;
    if (call(m, SOLVE) < 0) return failed(m, "the solution", err);
    for (size_t i = 0; f->real && i < p * f->n; i++) {
        x[2 * i] = b[i];
        x[2 * i + 1] = 0;
    }
    return 0;
}

#else

bool nh_factor_available(void)
{
    return false;
}

int nh_factor_new(const nh_sparse *a, nh_sparse_kind kind, bool real, nh_factor **out, nh_error *err)
{
    (void)a, (void)kind, (void)real;
    *out = NULL;
    return nh_fail(err, "this program was built without MUMPS (libmumps-seq-dev): no sparse solver");
}

void nh_factor_free(nh_factor *f)
{
    (void)f;
}

nh_factor_facts nh_factor_expect(const nh_factor *f)
{
    (void)f;
    return (nh_factor_facts){0};
}

int nh_factor_at(nh_factor *f, double sigma, size_t *below, bool *singular, nh_error *err)
{
    (void)f, (void)sigma, (void)below, (void)singular;
    return nh_fail(err, "no sparse solver");
}

int nh_factor_solve(nh_factor *f, size_t p, double *x, nh_error *err)
{
    (void)f, (void)p, (void)x;
    return nh_fail(err, "no sparse solver");
}

#endif
