/* write.h - matrices of a graph in ABACUS's own files: to start a run from a predicted H, and for programs
 * that read ABACUS's output (PYATB).
 *
 * Written as ABACUS does: Ry, its order and signs of orbitals, spin innermost, and the atoms in the order and
 * in the cell in which ABACUS reads them from the STRU of nh_stru_write (stru.h): species after species,
 * inside the home cell (nh_structure_wrap). Cells R are shifted along. Both files of a graph, H and S, have
 * the same cells, sorted, also those in which a matrix is zero. */
#ifndef NH_FORMATS_ABACUS_WRITE_H
#define NH_FORMATS_ABACUS_WRITE_H

#include "crystal/graph.h"

/* csr.h describes them. */
typedef enum nh_abacus_dialect {
    NH_ABACUS_TEXT,   /* B: "STEP: 0", ABACUS 2.3 to 3.8, PYATB */
    NH_ABACUS_CSR,    /* C: comments, the structure inside, since 3.9.0.25 */
    NH_ABACUS_BINARY, /* E: int32, row pointers int64 (out_hsr 2) */
} nh_abacus_dialect;

typedef struct nh_abacus_output {
    nh_abacus_dialect dialect;
    /* Of the run: 1, 2 or 4; 0: 4 where the graph has spin, else 1. With 1 and 2 a matrix must be real, with 1
     * the same for both spins, and without blocks ud and du: else an error. */
    int nspin;
    int spin;         /* nspin 2, H: 0 up, 1 down */
    int digits;       /* text: digits after the point; 0: ABACUS's 8. 16 gives every double back */
    double threshold; /* no elements that are not larger (Ry for H); 0: no zeros. ABACUS: 1e-10 */
} nh_abacus_output;

/* Writes the Hamiltonian `which` of g (or with `overlap` its S) to `path` ("-": standard output). In Ry:
 * H / g->rydberg, and that double of which the product with g->rydberg is H again, where there is one. A
 * matrix of nspin 4 is complex, S too. Needs, beside the graph, memory for one row and for the row pointers
 * of a cell. Errors: the graph has no such matrix; it does not fit `nspin`; numbers that are not finite; the
 * file. */
int nh_abacus_write_matrix(const nh_graph *g, bool overlap, nh_matrix which, const nh_abacus_output *how,
                           const char *path, nh_error *err);

/* The name that ABACUS gives the file: data-HR-sparse_SPIN0.csr, hrs1_nao.csr, sr_nao.dat, ... Static. */
const char *nh_abacus_matrix_name(nh_abacus_dialect dialect, bool overlap, int spin);

#endif
