/* orbitals.h - ABACUS's order and signs of orbitals against ours (docs/network.md 4.2). */
#ifndef NH_FORMATS_ABACUS_ORBITALS_H
#define NH_FORMATS_ABACUS_ORBITALS_H

#include "crystal/structure.h"

/* ABACUS orders m = 0, +1, -1, +2, -2, ... with the sign (-1)^m. For each orbital of a shell of degree l in
 * that order: its place in m = -l..l; *sign is the factor. */
size_t nh_abacus_orbital(int l, size_t index, double *sign);

/* Where a row (or column) of a matrix of ABACUS without spin goes. */
typedef struct nh_abacus_place {
    int atom;
    unsigned orbital; /* in its atom, our order */
    double sign;
} nh_abacus_place;

/* The places of all rows, atom after atom as `atom` lists them ([n_atom]; NULL: as they are). The caller
 * frees; NULL where there is no memory. */
nh_abacus_place *nh_abacus_places(const nh_structure *s, const size_t *atom);

#endif
