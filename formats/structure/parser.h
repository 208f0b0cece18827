/* parser.h - the interface of a parser of structure files. */
#ifndef NH_FORMATS_STRUCTURE_PARSER_H
#define NH_FORMATS_STRUCTURE_PARSER_H

#include "crystal/structure.h"
#include "formats/text.h"

typedef struct nh_structure_file {
    nh_structure structure; /* no shells yet: a structure file does not know them */
    const char *format;     /* name of the format, static */
    char **orbital_file; /* [n_species] names in STRU's NUMERICAL_ORBITAL; NULL where there are none; owned */
    char **pseudo_file;  /* [n_species] those in ATOMIC_SPECIES, likewise; a single one may be NULL */
    char **label; /* [n_species] STRU's labels of the species (Fe1, Fe2); NULL in other formats; owned */
    double *mass; /* [n_species] STRU's, NULL in other formats; owned */
    /* Starting moments of STRU, Bohr magnetons; NULL where no atom has one. moment: [n_atom][3]; moment_size:
     * [n_atom] numbers that the atom has, 0, 1 or 3; both owned. magnetism: [n_species] of all its atoms;
     * owned. */
    double *magnetism, *moment;
    int *moment_size;
    const char *remark; /* something that the user should know, static; NULL */
} nh_structure_file;

/* True where `text` looks like the format. */
typedef bool nh_structure_recognise(const char *text);
/* Parsers fill `out` (empty on entry, freed by the caller on failure too). `latname` is INPUT's (STRU files
 * without lattice vectors), NULL where not known. */
typedef int nh_structure_parse(nh_text *t, const char *latname, nh_structure_file *out, nh_error *err);

#endif
