/* overlap.h - does an overlap matrix fit its structure? What can be said without the orbitals. */
#ifndef NH_CRYSTAL_OVERLAP_H
#define NH_CRYSTAL_OVERLAP_H

#include "crystal/graph.h"

/* Orbitals end at a radius: of two pairs of the same elements, the nearer one overlaps if the further one does. Where that is
 * not so, edges and blocks belong to different structures, orders of atoms, or cells. No overlap at all between atoms (an
 * orthogonal basis) is fine. */
int nh_overlap_check(const nh_structure *s, const nh_pairs *pairs, const double *overlap, nh_error *err);

#endif
