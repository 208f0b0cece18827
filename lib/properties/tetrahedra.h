/* tetrahedra.h - integrals over the Brillouin zone by the linear tetrahedron method.
 *
 * P. E. Bloechl, O. Jepsen, O. K. Andersen, Phys. Rev. B 49, 16223 (1994): each parallelepiped of a mesh is cut into six
 * tetrahedra about its shortest main diagonal (Sec. III). In a tetrahedron the energy and what is integrated are linear
 * between the corners, so that the integral over its occupied part is a sum over the corners with weights that are known in
 * closed form (Appendix B). The correction of Eq. (22) adds to them, in first order, the curvature of a band at its Fermi
 * surface.
 *
 * Corners of equal energy are no exception here: the closed forms are chosen by half-open intervals between the sorted
 * energies, in which no denominator is zero. A tetrahedron that has four equal ones is filled in one step. */
#ifndef NH_PROPERTIES_TETRAHEDRA_H
#define NH_PROPERTIES_TETRAHEDRA_H

#include "crystal/kpoints.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { NH_TETRAHEDRA = 6 }; /* of a parallelepiped of the mesh */

typedef struct nh_tetrahedra {
    int n[3];                          /* the mesh: the k-points in the order of nh_kpoints_mesh */
    size_t n_cell;                     /* parallelepipeds, as many as k-points */
    unsigned corner[NH_TETRAHEDRA][4]; /* bits 1, 2, 4: one step further along k1, k2, k3 */
} nh_tetrahedra;

/* For k-points that are a Gamma-centred mesh, complete and in the order of nh_kpoints_mesh; others are an error. `lattice`
 * (rows, Å) is needed for the lengths of the diagonals; NULL: the diagonal is k1 + k2 + k3. */
int nh_tetrahedra_new(const nh_kpoints *k, const double *lattice, nh_tetrahedra *out, nh_error *err);
/* The k-points at the corners of tetrahedron `t` of a parallelepiped. */
void nh_tetrahedron_corners(const nh_tetrahedra *m, size_t cell, int t, size_t corner[4]);

/* In a tetrahedron of volume 1, with corner energies in ascending order: */

/* Number of states below e, 0 .. 1. */
double nh_tetrahedron_states(const double energy[4], double e);
/* Density of states at e, its derivative (Appendix C); 0 at the step of four equal energies. */
double nh_tetrahedron_density(const double energy[4], double e);
/* Weights of the corners for the integral over the states below e; their sum is nh_tetrahedron_states. `corrected`: with
 * Bloechl's correction, whose sum is 0. */
void nh_tetrahedron_weights(const double energy[4], double e, bool corrected, double weight[4]);

#ifdef __cplusplus
}
#endif

#endif
