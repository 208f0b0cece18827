/* library.h - the pseudopotential and the orbital file of every element of a crystal, looked for in folders. */
#ifndef NH_FORMATS_PSEUDO_LIBRARY_H
#define NH_FORMATS_PSEUDO_LIBRARY_H

#include "crystal/structure.h"
#include "lcao/species.h"

typedef struct nh_library {
    const char *pseudo_dir;  /* NULL: $NEXTHAM_PSEUDO, $ABACUS_PSEUDO, $ABACUS_PP_PATH, or the working folder */
    const char *orbital_dir; /* NULL: $NEXTHAM_ORBITAL, $ABACUS_ORBITAL, $ABACUS_ORB_PATH, or the working folder */
    /* Names of the files of each species, in those folders or with a path of their own; NULL (the array, or one of them):
     * the one file of the element (nh_element_file). */
    const char *const *pseudo_file, *const *orbital_file;
    bool spin_orbit; /* pseudopotentials without spin-orbit coupling are an error */
} nh_library;

/* Reads the files of all species of s: *out [s->n_species] is allocated, the caller frees with nh_library_free. Where s
 * has shells they must be those of the orbital files. */
int nh_library_read(const nh_library *library, const nh_structure *s, nh_species **out, nh_error *err);
void nh_library_free(nh_species *species, size_t count); /* NULL is fine */

#endif
