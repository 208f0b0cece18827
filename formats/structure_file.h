/* structure_file.h - a crystal from a structure file of any known format, told apart by what is in it. */
#ifndef NH_FORMATS_STRUCTURE_FILE_H
#define NH_FORMATS_STRUCTURE_FILE_H

#include "crystal/structure.h"
#include "formats/text.h"

typedef struct nh_structure_file {
    nh_structure structure; /* no shells yet: a structure file does not know them */
    const char *format;     /* name of the format, static */
    char **orbital_file; /* [n_species] names in STRU's NUMERICAL_ORBITAL; NULL where there are none; owned */
} nh_structure_file;

/* Reads `path` ("-": standard input) and checks the structure. `latname` is INPUT's (STRU files without
 * lattice vectors), NULL where not known. */
int nh_structure_file_read(const char *path, const char *latname, nh_structure_file *out, nh_error *err);
void nh_structure_file_free(nh_structure_file *f);

/* One format: a new one is one line in the table of structure_file.c. Parsers fill `out` (empty on entry,
 * freed by the caller on failure too). */
typedef bool nh_structure_recognise(const char *text);
typedef int nh_structure_parse(nh_text *t, const char *latname, nh_structure_file *out, nh_error *err);

#endif
