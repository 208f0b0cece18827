/* csr.h - ABACUS sparse matrices H(R), S(R), and the door where their conventions end.
 *
 * The text and binary dialects are told apart by what is in the file (names of csr.c: A to E):
 *   A  text without the STEP line (2.x)            D   binary, row pointers int32, none where a block is
 * empty (3.x) B  text with "STEP: n" (3.x)                   D'  the same with row pointers always
 * (large-scale branch) C  text with comments and the structure (3.11) E   binary, row pointers int64, always
 * there (out_hsr 2) Plain, gzip or xz. A file with several steps (MD) gives its last one. */
#ifndef NH_FORMATS_ABACUS_CSR_H
#define NH_FORMATS_ABACUS_CSR_H

#include "crystal/pairs.h"
#include "crystal/structure.h"

#include <stdbool.h>

/* The matrix as in the file: ABACUS's order and signs of orbitals, Ry, row = orbital in the home cell. */
typedef struct nh_csr {
    size_t dimension; /* orbitals, times two where spin is inside (nspin 4) */
    size_t n_cell;
    int (*cell)[3]; /* R; owned */
    size_t *start;  /* [n_cell+1] first element of each cell; owned */
    size_t n_value;
    int *row, *column; /* [n_value]; owned */
    double *value;     /* [n_value][2], or [n_value] where the file is real; owned */
    bool is_complex;
    char quantity;       /* 'H', 'S', 'T' as the file says; 0 where it does not */
    const char *dialect; /* "B (text, STEP line)", static */
    size_t n_step;       /* steps in the file */
    char *name;          /* of the file; owned */
} nh_csr;

/* Checks everything that does not need the basis: sizes, row pointers, indices, finite numbers, each cell
 * once. */
int nh_csr_read(const char *path, nh_csr *out, nh_error *err);
void nh_csr_free(nh_csr *m);

/* Spin components inside the matrix, 1 or 2: dimension over orbitals of the basis; else an error that names
 * both. */
int nh_csr_spinor(const nh_csr *m, const nh_structure *s, size_t *spinor, nh_error *err);

/* Atom pairs of all blocks with an element that is not zero, and their reverse pairs, appended to *pair
 * (grown, owned by the caller). */
int nh_csr_pairs(const nh_csr *m, const nh_structure *s, size_t *count, nh_pair **pair, nh_error *err);

/* Adds the matrix times `factor` into `out`, [4 or 1 spin blocks][n_elem][2], in the file order of
 * docs/network.md 4.2. spin_block < 0: a matrix with spin inside fills all four; one without fills every
 * diagonal spin block of `n_spin`. spin_block = 0 or 3: a matrix without spin fills that one (nspin 2). */
int nh_csr_scatter(const nh_csr *m, const nh_structure *s, const nh_pairs *pairs, double factor, int n_spin,
                   int spin_block, double *out, nh_error *err);

#endif
