/* cif.h - crystallographic information files (CIF 1.1, core dictionary): one crystal without disorder.
 *
 * Read: the cell, the symmetry operations (or, where there are none, a space group whose setting is beyond
 * doubt: symmetry.h), the sites with fractional coordinates. The atoms are the images of each site under
 * the operations, one site after another. A site that its stabiliser moves by less than 0.05 Å stands on a
 * special position: it takes the mean, which is exact there though the file says 0.3333.
 *
 * Refused, because a crystal made of it would be a guess: occupancies other than 1, several crystals in
 * one file, magnetic groups, Cartesian coordinates, atoms nearer than 0.3 Å, multiplicities or a formula
 * (`_chemical_formula_sum`) that the atoms do not have, operations that are no group or not as many as the
 * named one has.
 *
 * a lies along x, b in the plane of x and y. */
#ifndef NH_FORMATS_STRUCTURE_CIF_H
#define NH_FORMATS_STRUCTURE_CIF_H

#include "formats/structure/parser.h"

bool nh_cif_recognise(const char *text);
int nh_cif_parse(nh_text *t, const char *latname, nh_structure_file *out, nh_error *err);

#endif
