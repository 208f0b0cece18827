/* verify.h - does an overlap matrix fit its structure and these orbitals? */
#ifndef NH_LCAO_VERIFY_H
#define NH_LCAO_VERIFY_H

#include "lcao/two_centre.h"

/* The overlap made again from the structure: *largest difference. One beyond 1e-5 is an error that names what is wrong as far
 * as the numbers tell: the basis, the order of the orbitals, the order of the atoms, the cells, or the structure. Of the
 * species only the orbitals are used. */
int nh_overlap_verify(const nh_structure *s, const nh_pairs *pairs, const double *overlap,
                      const nh_species *species, nh_threads *threads, double *largest, nh_error *err);

#endif
