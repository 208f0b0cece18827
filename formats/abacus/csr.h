/* csr.h - ABACUS sparse matrices H(R), S(R), r(R), and the door where their conventions end.
 *
 * The dialects are told apart by what is in the file:
 *   A   text without the STEP line (2.x)
 *   B   text with "STEP: n" (2.3 to 3.8, and get_S, out_mat_r of later ones)
 *   C   text with comments and the structure (since 3.9.0.25)
 *   D   binary, row pointers int32, none where a block is empty (3.x)
 *   D'  the same with row pointers always (large-scale branch)
 *   E   binary, row pointers int64, always there (out_hsr 2)
 *   F   dense blocks, text or binary, one file for each process: PREFIX_0.dat, PREFIX_1.dat, ... (large-scale
 *       branch). The name of any of them stands for all
 * Plain, gzip or xz. Binary files have no mark: they are walked with each layout and must end exactly.
 *
 * A file can hold several ionic steps, one after another. They count from 1, as ABACUS's own "Ionic Step n";
 * the "STEP: n" of the older dialects counts from 0. */
#ifndef NH_FORMATS_ABACUS_CSR_H
#define NH_FORMATS_ABACUS_CSR_H

#include "crystal/pairs.h"
#include "crystal/structure.h"

#include <stdbool.h>

/* The crystal that dialect C has in its header. */
typedef struct nh_csr_crystal {
    double lattice[9]; /* rows, Å; the file has six digits */
    size_t n_atom;     /* 0: there is no crystal in the file */
    double *fraction;  /* [n_atom][3], as ABACUS holds them: the cells of the matrix refer to these; owned */
    int *number;       /* [n_atom] atomic numbers, 0 where the label is no element; owned */
    size_t n_species;
    int *species; /* [n_atom]; owned */
} nh_csr_crystal;

/* The matrix as in the file: ABACUS's order and signs of orbitals, Ry (r: bohr), row = orbital in the home
 * cell. */
typedef struct nh_csr {
    size_t dimension; /* orbitals, times two where spin is inside (nspin 4) */
    size_t n_cell;
    int (*cell)[3]; /* R; owned */
    size_t *start;  /* [n_cell+1] first element of each cell; owned */
    size_t n_value;
    int *row, *column; /* [n_value]; owned */
    double *value;     /* [n_value][2], or [n_value] where the file is real; owned */
    bool is_complex;
    char quantity;       /* 'H', 'S', 'T', 'R' as the file says; 0 where it does not */
    const char *dialect; /* "B (text, STEP line)", static */
    size_t n_step;       /* steps that were read; the last of them is this one */
    long step;           /* its number, from 1; 0 where the file does not say */
    bool folded;         /* gamma_only: all periodic images are summed into the cell 0 0 0 */
    double efermi;       /* eV; NaN where the file does not say (C since 2026) */
    int spins, spin;     /* C: files of the run (2 with nspin 2), and which this is, from 1; 0: not said */
    nh_csr_crystal crystal;
    char *name; /* of the file; owned */
} nh_csr;

/* Reads the last step of the file, or with step > 0 that one of several. Checks everything that does not need
 * the basis: sizes, row pointers, indices, finite numbers, each cell once. */
int nh_csr_read(const char *path, nh_csr *out, nh_error *err);
int nh_csr_read_step(const char *path, long step, nh_csr *out, nh_error *err);
/* data-rR-sparse.csr: the position operator, x, y and z, in bohr; dialects A, B and D. On failure nothing is
 * left to free. */
int nh_csr_read_position(const char *path, long step, nh_csr out[3], nh_error *err);
/* Only what the header of a step says (step 0: the first one): step, quantity, crystal, folded, efermi. */
int nh_csr_peek(const char *path, long step, nh_csr *out, nh_error *err);
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
