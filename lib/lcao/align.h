/* align.h - matrices of a file laid out for the pairs of an nh_lcao, whose atoms stand in the home cell: an atom that was
 * moved by a lattice vector changes the cell labels R of its pairs. */
#ifndef NH_LCAO_ALIGN_H
#define NH_LCAO_ALIGN_H

#include "crystal/graph.h"
#include "lcao/lcao.h"

/* The pair of `l` for each pair of g, index[g->pairs.count]; SIZE_MAX: l has none. Error where lattice, atoms, elements or
 * shells differ by more than a move by lattice vectors. */
int nh_lcao_match(const nh_lcao *l, const nh_graph *g, size_t *index, nh_error *err);
/* matrix [n_block][g->pairs.n_elem][width] for the pairs of l: *out [n_block][l->pairs.n_elem][width], allocated, the
 * caller frees. Blocks that g lacks are zero; one of g that is not zero and has no place is an error. */
int nh_lcao_align(const nh_lcao *l, const nh_graph *g, const size_t *index, const double *matrix,
                  size_t n_block, size_t width, double **out, nh_error *err);
/* Largest |S of g - S of l|, on the pairs of l; *where: the pair of l. Needs g->overlap. */
int nh_lcao_compare_overlap(const nh_lcao *l, const nh_graph *g, const size_t *index, double *largest,
                            size_t *where, nh_error *err);

#endif
