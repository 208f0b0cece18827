<<<<<<< HEAD
/* library.h - the orbitals and pseudopotentials of a structure's elements, from folders or the names that STRU has. */
#ifndef NH_FORMATS_PSEUDO_LIBRARY_H
#define NH_FORMATS_PSEUDO_LIBRARY_H

#include "formats/structure/parser.h"
#include "lcao/species.h"

typedef struct nh_library {
    /* NULL: environment NEXTHAM_PSEUDO, NEXTHAM_ORBITAL, else ABACUS_PSEUDO, ABACUS_ORBITAL, else none */
    const char *pseudo, *orbital;
    const char *structure; /* path of the structure file: a name in STRU may be relative to its folder. NULL: none */
    bool spin_orbit;       /* the projectors must have j */
} nh_library;

/* Whether a folder of orbitals is at hand at all. */
bool nh_library_has_orbitals(const nh_library *l);

/* Reads both files of every species and sets the structure's shells. *out: [n_species]; nh_species_free and free. A name in
 * STRU is looked for in the folder, where there is one, else beside the structure file; without a name, the folder's file of
 * the element (El.upf, El_*.upf; El_*.orb). */
int nh_library_read(const nh_library *l, nh_structure_file *file, nh_species **out, nh_error *err);

/* The orbitals alone, by element, for a structure whose shells are known; pseudopotentials stay empty. */
int nh_library_read_orbitals(const nh_library *l, const nh_structure *s, nh_species **out, nh_error *err);

/* "Ga:1f0c.. As:99a1..": the hash of each species' orbital or pseudopotential file. The caller frees; NULL: no memory. */
char *nh_library_names(const nh_structure *s, const nh_species *species, bool pseudo);
=======
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
>>>>>>> scf

#endif
