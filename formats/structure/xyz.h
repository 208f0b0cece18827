/* xyz.h - extended XYZ: one frame with Lattice="..." and Properties=... in its second line, Å. */
#ifndef NH_FORMATS_STRUCTURE_XYZ_H
#define NH_FORMATS_STRUCTURE_XYZ_H

#include "formats/structure/parser.h"

bool nh_xyz_recognise(const char *text);
int nh_xyz_parse(nh_text *t, const char *latname, nh_structure_file *out, nh_error *err);

#endif
