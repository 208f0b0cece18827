/* write.h - files of Wannier90 (its user guide, "Files"): NAME_hr.dat and NAME_tb.dat with H~(R) in eV,
 * and in NAME_tb.dat the lattice and the position operator in Å; NAME_centres.xyz and NAME.win with what
 * PythTB wants to know. WannierTools, PythTB, PYATB and others read them.
 *
 * The orbitals are Löwdin's (properties/lowdin.h), in the graph's order: atom after atom, shell after shell,
 * m = -l..l; with spin all up, then all down. Numbers have 12 digits after the point. Without a position
 * matrix r is diagonal, with each orbital at its atom. The first line of each file says how well the bands
 * come out between the points of the mesh. */
#ifndef NH_FORMATS_WANNIER90_WRITE_H
#define NH_FORMATS_WANNIER90_WRITE_H

#include "properties/lowdin.h"

/* `name`: path of the files without "_hr.dat". `what`: of the matrix, for the first line. */
int nh_wannier90_write(const char *name, const nh_graph *g, const nh_lowdin *l, const char *what,
                       nh_error *err);
/* "mesh 9 x 9 x 9, ...": what is to be known about the truncation, for the first line and for the user. */
void nh_wannier90_quality(const nh_lowdin *l, char *out, size_t size);

#endif
