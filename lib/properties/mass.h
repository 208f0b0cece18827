/* mass.h - slopes and effective masses of bands at a k-point, by k.p perturbation theory with all states.
 *
 * In the basis of the states at k0, H(k0 + t d) and S(k0 + t d) are expanded to t^2 along a direction d
 * (Cartesian, unit length), with derivatives h1, s1, h2, s2 of the Fourier sums; S^-1/2 H S^-1/2 has the
 * terms
 *   H1 = h1 - (s1 E + E s1)/2,
 *   H2 = h2/2 - (s2 E + E s2)/4 + 3/8 (s1 s1 E + E s1 s1) - (s1 h1 + h1 s1)/2 + s1 E s1/4,
 * and states G that are degenerate at k0 obey t H1_GG + t^2 (H2 + sum over m outside G of H1 H1/(E_G -
 * E_m))_GG: exact second derivatives of the bands, degenerate or not. P.-O. Löwdin, J. Chem. Phys. 19, 1396
 * (1951). */
#ifndef NH_PROPERTIES_MASS_H
#define NH_PROPERTIES_MASS_H

#include "crystal/fourier.h"

typedef struct nh_mass {
    /* The level: bands first .. first+count-1, from 0, that are degenerate with the one asked for. */
    size_t first, count;
    double energy; /* eV, their mean */
    size_t n_direction;
    double *slope; /* [n_direction][count] dE/dt, eV Å, ascending; owned */
    /* [n_direction][count] m_e/m, in the order of the slopes, ascending where those are equal; owned */
    double *inverse;
    bool tensor;            /* the level behaves as one band: without slopes, or not degenerate */
    double gradient[3];     /* eV Å, with tensor */
    double inverse_mass[9]; /* m_e/m, Cartesian, with tensor */
} nh_mass;

/* At k (fractional), of band `band` (from 0). Bands within `degenerate` eV of it belong to the level; slopes
 * that differ by less than `same_slope` eV Å count as equal, and then the masses mix.
 * direction[n_direction][3] Cartesian, of any length but zero. */
int nh_mass_at(const nh_fourier *f, const double lattice[9], const double k[3], size_t band,
               double degenerate, double same_slope, size_t n_direction, const double *direction,
               nh_mass *out, nh_error *err);
void nh_mass_free(nh_mass *m);
/* Principal values (ascending) and axes (rows) of an inverse mass tensor. */
int nh_mass_principal(const double inverse_mass[9], double value[3], double axis[9], nh_error *err);

#endif
