/* occupation.h - how electrons fill the bands of a mesh: Gaussian smearing, Fermi level, entropy (docs/scf.md 3).
 * Energies in Ry. */
#ifndef NH_LCAO_OCCUPATION_H
#define NH_LCAO_OCCUPATION_H

#include "base/error.h"

#include <stddef.h>

typedef struct nh_levels {
    size_t n_k, n_band;
    const double *weight;      /* [n_k], sum 1 */
    const double *energy;      /* [n_k][n_band] ascending */
    double electrons_per_band; /* 1 with spin, 2 without */
    size_t n_search;           /* these lowest bands take electrons: nh_search_bands */
} nh_levels;

/* ABACUS's number of bands for so many electrons, at most n_band: the bracket of the bisection hangs on it, and with it
 * the Fermi level in a gap. */
size_t nh_search_bands(double n_electron, double electrons_per_band, size_t n_band);

/* The Fermi level *mu by ABACUS's bisection, occupation[n_k][n_band] = electrons in each state, *entropy = -TS. Fails
 * where the bands do not hold the electrons. */
int nh_occupy(const nh_levels *l, double n_electron, double smearing, double *mu, double *occupation,
              double *entropy, nh_error *err);

#endif
