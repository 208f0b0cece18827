/* matrix.h - H(k) and S(k) of a large crystal, sparse: the blocks of its atom pairs.
 *
 * The pattern is that of the crystal: an element is there where H or S of any cell R has it. It is found once;
 * the values are filled in for each k-point. Products take whole blocks; a factorisation gets the elements one
 * by one, of A = H - sigma S, as those of a real symmetric matrix:
 *   - A itself where it is real: at k-points that are their own negative, without spin-orbit coupling;
 *   - otherwise its real form, of twice the size: element a_rc becomes the block
 *         Re a_rc  -Im a_rc
 *         Im a_rc   Re a_rc,
 *     so that vectors of complex numbers are vectors of the real form as they lie in memory. Every eigenvalue of A
 *     is there twice. A real LDL^T of it takes half the operations, and the same memory, of a complex LU of A,
 *     and it gives the inertia, which LU does not. */
#ifndef NH_SPARSE_MATRIX_H
#define NH_SPARSE_MATRIX_H

#include "crystal/fourier.h"

#include <stdbool.h>
#include <stddef.h>

/* H and S, or S alone: then without the spin, and 1 in place of S. */
typedef enum nh_sparse_kind { NH_SPARSE_H, NH_SPARSE_S } nh_sparse_kind;

typedef struct nh_sparse nh_sparse;

/* f must outlive it. */
int nh_sparse_new(const nh_fourier *f, nh_sparse **out, nh_error *err);
void nh_sparse_free(nh_sparse *a); /* NULL is fine */
size_t nh_sparse_basis(const nh_sparse *a, nh_sparse_kind kind);

/* The matrices at k[3], fractional. */
int nh_sparse_fill(nh_sparse *a, const double *k, nh_error *err);
/* Are those last filled in real (no imaginary part above 1e-12 eV, or 1e-12)? */
bool nh_sparse_is_real(const nh_sparse *a, nh_sparse_kind kind);

/* Elements of the upper triangle of A as a factorisation takes it (above). */
size_t nh_sparse_elements(const nh_sparse *a, nh_sparse_kind kind, bool real);
/* Their rows and columns, from 1; row <= column. */
void nh_sparse_pattern(const nh_sparse *a, nh_sparse_kind kind, bool real, int *row, int *column);
/* Their values: of H - sigma S, or S - sigma. */
void nh_sparse_values(const nh_sparse *a, nh_sparse_kind kind, bool real, double sigma, double *value);
/* The atom of each row: rows of an atom have the same pattern, or nearly; atom[basis, twice that if not real].
 * And the pattern of the atoms: pairs i < j, row and column from 1; NULL to count them. Returns their number. */
void nh_sparse_atoms(const nh_sparse *a, nh_sparse_kind kind, bool real, size_t *atom);
size_t nh_sparse_atom_pairs(const nh_sparse *a, int *row, int *column);
size_t nh_sparse_atom_count(const nh_sparse *a);

/* y <- M x for p vectors, x and y [p][basis][2]: M = H, or S (kind NH_SPARSE_H: of the basis with spin). */
int nh_sparse_times_h(const nh_sparse *a, size_t p, const double *x, double *y, nh_error *err);
int nh_sparse_times_s(const nh_sparse *a, nh_sparse_kind kind, size_t p, const double *x, double *y,
                      nh_error *err);

#endif
