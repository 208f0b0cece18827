/* library.h - the orbitals and pseudopotentials of a structure's elements, from folders or the names that STRU has. */
#ifndef NH_FORMATS_PSEUDO_LIBRARY_H
#define NH_FORMATS_PSEUDO_LIBRARY_H

#include "formats/structure/parser.h"
#include "lcao/species.h"

typedef struct nh_library {
    /* NULL: environment NEXTHAM_PSEUDO, NEXTHAM_ORBITAL, else ABACUS_PSEUDO, ABACUS_ORBITAL, else none */
    const char *pseudo, *orbital;
    const char
        *structure; /* path of the structure file: a name in STRU may be relative to its folder. NULL: none */
    bool spin_orbit; /* the projectors must have j */
} nh_library;

/* Reads both files of every species and sets the structure's shells. *out: [n_species]; nh_species_free and free. A name in
 * STRU is looked for in the folder, where there is one, else beside the structure file; without a name, the folder's file of
 * the element (El.upf, El_*.upf; El_*.orb). */
int nh_library_read(const nh_library *l, nh_structure_file *file, nh_species **out, nh_error *err);

/* Both files of every species by element, for a structure whose shells are known: those of the orbitals must be the same. */
int nh_library_read_known(const nh_library *l, const nh_structure *s, nh_species **out, nh_error *err);

/* The orbitals alone; pseudopotentials stay empty, the structure's shells as they are. */
int nh_library_read_orbitals(const nh_library *l, const nh_structure_file *file, nh_species **out,
                             nh_error *err);

/* "Ga:1f0c.. As:99a1..": the hash of each species' orbital or pseudopotential file. The caller frees; NULL: no memory. */
char *nh_library_names(const nh_structure *s, const nh_species *species, bool pseudo);

#endif
