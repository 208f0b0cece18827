/* velocity.h - velocity, Berry connection and curvature of Bloch states in a basis of overlapping orbitals.
 *
 * Orbitals |aR>, Bloch sums |a k> = sum_R exp(ik.R) |aR> (no phases of positions), states C_n with H C_n =
 * E_n S C_n, C_n^dagger S C_m = delta_nm. Of the position matrices r_ab(R) = <a0| r |bR> the part without R,
 *   r'_ab(R) = r_ab(R) - R S_ab(R)/2,   P(k) = sum_R exp(ik.R) r'(R),
 * is Hermitian. <u_ak| i d/dk |u_bk> is D(k) = sum_R exp(ik.R) (r_ab(R) - R S_ab(R)) = P + (i/2) dS/dk. Then
 *   A_nm  = i C_n^dagger S dC_m/dk + C_n^dagger D C_m    (Berry connection)
 *   p_nm  = hbar v_nm = delta_nm dE_n/dk + i (E_n - E_m) A_nm
 *         = C_n^dagger [dH/dk - (E_n + E_m)/2 dS/dk + i (E_n - E_m) P] C_m,
 * which has no denominators: degenerate states need no care, and a shift of the origin or of an atom's home
 * cell changes nothing. C. Wang et al., Phys. Rev. B 74, 195118 (2006) for orthogonal functions; G. Jin, D.
 * Zheng, L. He, J. Phys.: Condens. Matter 33, 325503 (2021) for numerical orbitals; derived in
 * docs/physics.md 1. */
#ifndef NH_PROPERTIES_VELOCITY_H
#define NH_PROPERTIES_VELOCITY_H

#include "crystal/fourier.h"

typedef struct nh_velocity nh_velocity;
typedef struct nh_velocity_work nh_velocity_work; /* of one thread */

/* Of the matrices of f, whose graph is g; both must outlive it. position[3][n_elem] Å as in graph.nc
 * (copied); NULL: the middle of the two atoms in place of it, r_ab(R) = (t_a + t_b + R)/2 S_ab(R), which
 * leaves out the dipoles within atoms and bonds (right for models only). Fails where the reverse pair's
 * position is not the transpose less R S within 1e-3 Å. */
int nh_velocity_new(const nh_graph *g, const nh_fourier *f, const double *position, nh_velocity **out,
                    nh_error *err);
void nh_velocity_free(nh_velocity *v); /* NULL is fine */

/* For up to `rows` states at a time. */
int nh_velocity_work_new(const nh_velocity *v, size_t rows, nh_velocity_work **out, nh_error *err);
void nh_velocity_work_free(nh_velocity_work *w); /* NULL is fine */

/* p[3][rows][basis][2], eV Å: p_nm of the states n = first .. first+rows-1 and all m, Cartesian.
 * energy[basis], vector[basis][basis][2]: all states at k (fractional). */
int nh_velocity_at(const nh_velocity *v, nh_velocity_work *w, const double k[3], size_t first, size_t rows,
                   const double *energy, const double *vector, double *p, nh_error *err);
/* outside[rows][3], Å^2: what the part of du_n/dk outside the span of the orbitals adds to the Berry
 * curvature Omega_x = Omega_yz, Omega_y = Omega_zx, Omega_z = Omega_xy of each state,
 *   C_n^dagger (d_a P_b - d_b P_a) C_n + 2 Im sum_m (C_m^dagger D_a C_n)^* (C_m^dagger D_b C_n). */
int nh_velocity_outside(const nh_velocity *v, nh_velocity_work *w, const double k[3], size_t first,
                        size_t rows, const double *vector, double *outside, nh_error *err);

#endif
