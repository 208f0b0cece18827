/* stru.h - ABACUS structure files (STRU). */
#ifndef NH_FORMATS_ABACUS_STRU_H
#define NH_FORMATS_ABACUS_STRU_H

#include "formats/structure/parser.h"

#include <stdio.h>

bool nh_stru_recognise(const char *text);
/* All coordinate modes of the manual; per-atom flags after x y z are not kept. Positions are moved into the
 * home cell as nh_structure_wrap does. `latname` (INPUT) gives the lattice where the file has no
 * LATTICE_VECTORS. */
int nh_stru_parse(nh_text *t, const char *latname, nh_structure_file *out, nh_error *err);

/* Writes a STRU: species by element in the order of their first atom's species, atoms of a species together. pseudo, orbital:
 * [n_species] names of files for each species of `s`; may be NULL (no orbitals). */
void nh_stru_order(const nh_structure *s,
                   size_t *atom); /* [n_atom]: the atoms in the order in which they will stand there */
size_t nh_stru_types(const nh_structure *s); /* species that it will have */
void nh_stru_write(FILE *out, const nh_structure *s, const char *const *pseudo, const char *const *orbital);

#endif
