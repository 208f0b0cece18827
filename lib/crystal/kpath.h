/* kpath.h - the standard path through the Brillouin zone of a crystal.
 *
 * Points, labels and paths of Y. Hinuma, G. Pizzi, Y. Kumagai, F. Oba, I. Tanaka, Comput. Mater. Sci. 128, 140
 * (2017), for the 14 Bravais lattices in their 28 variants (those that time reversal makes enough: the bands of a
 * crystal without magnetisation are the same at k and -k). spglib finds the space group and the standard cell; the
 * points come back in the fractional coordinates of the user's own cell, whatever that is: primitive,
 * conventional, turned, a supercell (there the bands are folded). */
#ifndef NH_CRYSTAL_KPATH_H
#define NH_CRYSTAL_KPATH_H

#include "crystal/kpoints.h"
#include "crystal/structure.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { NH_SPACE_GROUP_TEXT = 16, NH_LATTICE_TEXT = 4 };

typedef struct nh_kpath {
    size_t count;
    nh_k_node *node;                         /* [count] each with one point up to the next corner; owned */
    int space_group;                         /* 1 .. 230 */
    char international[NH_SPACE_GROUP_TEXT]; /* "Fm-3m" */
    char lattice[NH_LATTICE_TEXT];           /* the variant of the Bravais lattice: "cF2" */
    double primitive_cells;                  /* that the user's cell holds */
} nh_kpath;

/* `symprec`: Å within which atoms count as equivalent. A crystal that is rattled by more has no symmetry left and gets
 * the path of a triclinic lattice. Gamma is labelled "GAMMA", the point G of tI2 "G". */
int nh_kpath_standard(const nh_structure *s, double symprec, nh_kpath *out, nh_error *err);
void nh_kpath_free(nh_kpath *p);
/* "Fm-3m (225), lattice cF2: GAMMA X U|K GAMMA L W X". The caller frees; NULL without memory. */
char *nh_kpath_text(const nh_kpath *p);

#ifdef __cplusplus
}
#endif

#endif
