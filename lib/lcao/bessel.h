/* bessel.h - spherical Bessel functions j_l of many arguments at once. */
#ifndef NH_LCAO_BESSEL_H
#define NH_LCAO_BESSEL_H

#include <stdbool.h>
#include <stddef.h>

/* out[l][i] = j_l(q r_i), l = 0..lmax, i < n; q >= 0, r ascending from r_0 >= 0. `uniform`: r has equal steps, which
 * saves most of the sines. To about 1e-14. */
void nh_spherical_bessel(int lmax, double q, size_t n, const double *r, bool uniform, double *out);

#endif
