/* embedding.h - Hamiltonian blocks <-> irreps vectors: the Wigner-Eckart transforms of docs/network.md 4,
 * on pair blocks in the file's order (m = -l..l, no permutation needed), for any padded basis.
 */
#ifndef NH_NEXTHAM_EMBEDDING_H
#define NH_NEXTHAM_EMBEDDING_H

#include "base/threads.h"
#include "crystal/graph.h"
#include "device/kernels.h"
#include "o3/irreps.h"

#include <stdbool.h>
#include <stddef.h>

/* Tables for one padded basis: for each shell pair (i, j) of slots, i outer, its entries of OUT and the
 * sparse 3j of its degrees. */
typedef struct nh_embedding nh_embedding;

/* `shell_l[n_shell]`: degrees of the padded slots (0,0,0,0,1,1,2,2,3 for 4s2p2d1f). */
int nh_embedding_new(size_t n_shell, const int *shell_l, nh_embedding **out, nh_error *err);
void nh_embedding_free(nh_embedding *e); /* NULL is fine */

size_t nh_embedding_pairs(const nh_embedding *e); /* n_shell^2 */
/* Padded slot of each shell of each species: slot[shell] for the structure's shell_l; the n-th shell of
 * degree l takes the n-th slot of that degree; a species with more shells than slots is an error that names
 * the element. */
int nh_embedding_slots(const nh_embedding *e, const nh_structure *s, size_t *slot, nh_error *err);
/* used[n_shell^2]: shell pairs that some pair of atoms in the list of edges (indices into g->pairs) occupies.
 */
void nh_embedding_used(const nh_embedding *e, const nh_graph *g, const size_t *slot, size_t n_edge,
                       const size_t *edge, bool *used);

/* A selection of OUT: for the shell pairs with used[] (NULL: all), the entries `part` asks for, in OUT's
 * order (docs/network.md 4.3). */
typedef enum nh_embedding_part {
    NH_PART_ALL,   /* real half, then imaginary half: what a feature vector holds */
    NH_PART_REAL,  /* real half only: what `reconstruct: uu` needs */
    NH_PART_SCALAR /* the entries (L), no (L,J), of the real half: what `reconstruct: spin-average` needs */
} nh_embedding_part;

typedef struct nh_selection {
    nh_embedding_part part;
    size_t n_pair;    /* shell pairs selected */
    size_t *pair;     /* their indices i*n_shell+j; owned */
    size_t *offset;   /* [n_pair] first number of the pair's real half in a vector; owned */
    size_t imaginary; /* distance from a real number to its imaginary partner (NH_PART_ALL; else 0) */
    nh_irreps irreps; /* type of the vector: entries of multiplicity 1; owned */
    size_t *entry;    /* [irreps.count] index of each entry in the complete OUT of the basis; owned */
} nh_selection;
int nh_selection_new(const nh_embedding *e, nh_embedding_part part, const bool *used, nh_selection *out,
                     nh_error *err);
void nh_selection_free(nh_selection *s);
/* The attribute shell_pairs: "0,0 0,1 ..." in slots; and back (with the attribute irreps checked against it).
 */
char *nh_selection_text(const nh_embedding *e, const nh_selection *s);
int nh_selection_parse(const nh_embedding *e, const char *shell_pairs, const char *irreps, nh_selection *out,
                       nh_error *err);

/* What a transform of the blocks of a structure needs to know. Borrowed. */
typedef struct nh_transform {
    const nh_embedding *embedding;
    const nh_selection *selection; /* what the vectors hold */
    const nh_structure *structure;
    const size_t *slot; /* nh_embedding_slots */
} nh_transform;

/* docs/network.md 4.4: block of the pair (complex, [4][n_elem of the pair] spin blocks `spin_stride` doubles
 * apart, row-major n_src x n_dst, ri fastest) times `scale` -> vector out[selection irreps.dim]
 * (NH_PART_ALL). `block` points at the pair's first element of spin uu. n_spin = 1: uu = dd = block, ud = du
 * = 0. Shell pairs that the atoms lack give zeros. Thread-safe. */
void nh_block_to_irreps(const nh_transform *f, int species_src, int species_dst, int n_spin,
                        const double *block, size_t spin_stride, double scale, double *out);
/* nh_block_to_irreps for n edges of the graph (indices into g->pairs) and one of its matrices:
 * out[n][selection irreps.dim]. f->structure is the graph's. */
void nh_edges_to_irreps(const nh_transform *f, const nh_graph *g, const double *matrix, size_t n,
                        const size_t *edge, double scale, nh_threads *threads, double *out);
/* even[irreps.dim] for NH_PART_ALL: numbers that time reversal does not change (real parts of entries (L),
 * imaginary parts of (L,J)); it changes the sign of the others. The vector of nh_time_reversal_average(H) is
 * that of H with the others 0. */
void nh_selection_time_even(const nh_embedding *e, const nh_selection *s, bool *even);
/* docs/network.md 4.5: vector (NH_PART_ALL) -> block, all four spin blocks: block[4][n_src*n_dst][2]
 * contiguous. */
void nh_irreps_to_block(const nh_transform *f, int species_src, int species_dst, const double *vector,
                        double *block);
/* Largest |difference| (eV) between the blocks of n edges and those that their vectors [n][irreps.dim] give
 * back. */
int nh_round_trip(const nh_transform *f, const nh_graph *g, const double *matrix, size_t n,
                  const size_t *edge, const double *vector, nh_threads *threads, double *largest,
                  nh_error *err);
/* docs/network.md 5: D[n_src*n_dst] (real) of a vector: Re X_uu from NH_PART_ALL or NH_PART_REAL; Re(X_uu +
 * X_dd)/2 from NH_PART_SCALAR. */
void nh_irreps_to_correction(const nh_transform *f, int species_src, int species_dst, const double *vector,
                             double *d);
/* Its transpose: vector[selection irreps.dim] with <vector, v> = sum of g_d * (D of v) for every v. Written,
 * not added. */
void nh_correction_to_irreps_adjoint(const nh_transform *f, int species_src, int species_dst,
                                     const double *g_d, double *vector);

/* The same transforms as tables for the kernels (device/kernels.h), for blocks of the structure's species.
 * even[irreps.dim] (NULL: all): the numbers that are not left 0 on the way up. nh_embedding_tables_free, also
 * of a struct of zeros. */
int nh_embedding_tables(const nh_transform *f, const bool *even, nhk_embedding *out, nh_error *err);
void nh_embedding_tables_free(nhk_embedding *t);

#endif
