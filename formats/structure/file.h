/* file.h - a crystal from a structure file of any known format, told apart by what is in it. */
#ifndef NH_FORMATS_STRUCTURE_FILE_H
#define NH_FORMATS_STRUCTURE_FILE_H

#include "formats/structure/parser.h"

/* Reads `path` ("-": standard input) and checks the structure. `latname` is INPUT's (STRU files without
 * lattice vectors), NULL where not known. A new format is one line in the table of file.c. */
int nh_structure_file_read(const char *path, const char *latname, nh_structure_file *out, nh_error *err);
void nh_structure_file_free(nh_structure_file *f);
/* Frees the names of the files, whose number is the structure's, before the structure goes elsewhere. */
void nh_structure_file_forget(nh_structure_file *f);

#endif
