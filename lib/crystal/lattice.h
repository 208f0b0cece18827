/* lattice.h - three vectors a1, a2, a3 as the rows of a matrix, Å. */
#ifndef NH_CRYSTAL_LATTICE_H
#define NH_CRYSTAL_LATTICE_H

/* a1 . (a2 x a3), Å^3; negative for a left-handed lattice. */
double nh_lattice_volume(const double a[9]);
/* The inverse matrix; the volume must not be zero. */
void nh_lattice_inverse(const double a[9], double inverse[9]);
/* Row vector times matrix: Cartesian from fractional coordinates with the lattice, fractional from Cartesian ones with its
 * inverse. */
void nh_lattice_apply(const double x[3], const double a[9], double out[3]);

#endif
