/* neighbours.h - which atoms are near each other. */
#ifndef NH_CRYSTAL_NEIGHBOURS_H
#define NH_CRYSTAL_NEIGHBOURS_H

#include "crystal/pairs.h"

#ifdef __cplusplus
extern "C" {
#endif

/* All pairs with rounded distance < cutoff, on-site pairs included; linear in the number of atoms (cell
 * list). *pair is allocated, the caller frees; unsorted. Atoms may lie outside the home cell. */
int nh_neighbours(const nh_structure *s, double cutoff, size_t *count, nh_pair **pair, nh_error *err);

/* Checks what every program relies on: nh_structure_check, and no two atoms on one spot (closer than 1e-3 Å, periodic
 * images included). */
int nh_atoms_check(const nh_structure *s, nh_error *err);

#ifdef __cplusplus
}
#endif

#endif
