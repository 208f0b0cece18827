/* poscar.h - VASP structure files (POSCAR, CONTCAR), version 5: with a line of element symbols. */
#ifndef NH_FORMATS_STRUCTURE_POSCAR_H
#define NH_FORMATS_STRUCTURE_POSCAR_H

#include "formats/structure/parser.h"

bool nh_poscar_recognise(const char *text);
int nh_poscar_parse(nh_text *t, const char *latname, nh_structure_file *out, nh_error *err);

#endif
