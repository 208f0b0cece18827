/* stru.h - ABACUS structure files (STRU). */
#ifndef NH_FORMATS_ABACUS_STRU_H
#define NH_FORMATS_ABACUS_STRU_H

#include "formats/structure/parser.h"

#include <stdio.h>

bool nh_stru_recognise(const char *text);
/* All coordinate modes of the manual; of what stands after x y z the moment is kept. Positions are moved into
 * the home cell as nh_structure_wrap does. `latname` (INPUT) gives the lattice where the file has no
 * LATTICE_VECTORS. Sections may stand in any order; the i-th block of ATOMIC_POSITIONS is the i-th
 * species. */
int nh_stru_parse(nh_text *t, const char *latname, nh_structure_file *out, nh_error *err);

/* Writes a STRU. Species with labels (of a STRU) stay what they are, with their moments; others of the same
 * element and basis are one. Atoms of a species together, otherwise in their order. pseudo, orbital:
 * [n_species] names of files for each species; orbital may be NULL. */
void nh_stru_write_file(FILE *out, const nh_structure_file *file, const char *const *pseudo,
                        const char *const *orbital);
void nh_stru_write(FILE *out, const nh_structure *s, const char *const *pseudo, const char *const *orbital);
size_t nh_stru_types(const nh_structure_file *file); /* species that it will have */
/* The atoms in the order in which nh_stru_write writes them: atom[n_atom]. */
void nh_stru_order(const nh_structure *s, size_t *atom);

#endif
