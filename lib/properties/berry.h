/* berry.h - Berry curvature of filled bands.
 *
 * Omega_ab = d_a A_b - d_b A_a of the Berry connection A (velocity.h), as a vector Omega_x = Omega_yz, ... Of
 * filled bands
 *   Omega = sum_n<m (f_n - f_m) (-2) Im p^a_nm p^b_mn / (E_n - E_m)^2 + sum_n f_n outside_n,
 * where `outside` (nh_velocity_outside) is what the span of the orbitals lacks: the sum is the curvature of
 * the states as functions in space, and its integral over a closed plane 2 pi times an integer. X. Wang et
 * al., Phys. Rev. B 74, 195118 (2006); docs/physics.md 3. */
#ifndef NH_PROPERTIES_BERRY_H
#define NH_PROPERTIES_BERRY_H

#include "properties/filling.h"
#include "crystal/kpoints.h"
#include "properties/sweep.h"
#include "properties/velocity.h"

typedef struct nh_curvature_task {
    const char *name; /* of the matrices, for messages */
    const nh_fourier *fourier;
    const nh_velocity *velocity;
    const nh_kpoints *k;
    size_t rows;        /* bands that hold electrons (nh_optics_rows), or all that are filled */
    nh_filling filling; /* kt = 0: the lowest `rows` bands are full, the others empty */
    /* eV > 0: pairs of states closer than this do not count; between a full and an empty band with kt = 0
     * they are an error */
    double degenerate;
    int threads;
    const nh_ranks *ranks; /* NULL: alone */
    nh_progress *progress; /* k-points; may be NULL */
} nh_curvature_task;

/* curvature[k.count][3], Å^2, of one spin where there is no spin. */
int nh_curvature(const nh_curvature_task *task, double *curvature, nh_error *err);
/* Intrinsic anomalous Hall conductivity sigma[3] = (yz, zx, xy) in S/m of the curvatures on a mesh:
 * -(e^2/hbar V) sum_k w_k Omega. */
void nh_hall_conductivity(const nh_kpoints *k, const double *curvature, double volume,
                          double electrons_per_band, double sigma[3]);

#endif
