/* filling.h - electrons in the bands of a mesh by the Fermi function. */
#ifndef NH_PROPERTIES_FILLING_H
#define NH_PROPERTIES_FILLING_H

#include "crystal/bands.h"

#define NH_BOLTZMANN 8.617333262e-5 /* eV/K, exact in the SI of 2019 */

typedef struct nh_filling {
    double mu, kt; /* eV; kt > 0 */
} nh_filling;

/* 1/(exp((E - mu)/kt) + 1), and minus its derivative by E, 1/eV. */
double nh_filling_at(const nh_filling *f, double energy);
double nh_filling_slope(const nh_filling *f, double energy);

/* The chemical potential of `nelec` electrons in these bands, all of them from the lowest on; in a gap the
 * middle of where the number of electrons is right to 1e-9. Fails where the bands do not hold so many. */
int nh_filling_find(const nh_bands *b, double nelec, double kt, nh_filling *out, nh_error *err);

#endif
