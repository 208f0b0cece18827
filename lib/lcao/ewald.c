#include "base/complex.h"
#include "lcao/potential.h"

#include "base/memory.h"
#include "crystal/lattice.h"
#include "crystal/neighbours.h"
#include "crystal/neighbours.h"
#include "crystal/pairs.h"

#include <math.h>
#include <stdlib.h>

enum { HALF_WIDTH = 6 }; /* erfc(6) and exp(-36) are below the rounding error of the sum */

static double length_of(const double *a)
{
    return sqrt(a[0] * a[0] + a[1] * a[1] + a[2] * a[2]);
}

/* sum over pairs i, j and cells of Z_i Z_j erfc(eta r)/r, without r = 0 */
static int real_part(const nh_structure *s, const nh_species *species, double eta, double *sum, nh_error *err)
{
    size_t count;
    nh_pair *pair;
    if (nh_neighbours(s, HALF_WIDTH / eta * NH_BOHR, &count, &pair, err) != 0) return -1;
    for (size_t i = 0; i < count; i++) {
        double v[3];
        nh_pair_vector(s, &pair[i], v);
        const double r = length_of(v) / NH_BOHR;
        if (pair[i].src == pair[i].dst && pair[i].cell[0] == 0 && pair[i].cell[1] == 0 &&
            pair[i].cell[2] == 0)
            continue;
        *sum += species[s->species[pair[i].src]].pseudo.z_valence *
                species[s->species[pair[i].dst]].pseudo.z_valence * erfc(eta * r) / r;
    }
    free(pair);
    return 0;
}

/* (4 pi/Omega) sum_(G != 0) exp(-G^2/(4 eta^2))/G^2 |sum_i Z_i exp(iG.tau_i)|^2: one of each pair G, -G,
 * twice. Along the third axis the phase of an atom goes on by a rotation. */
static int reciprocal_part(const nh_structure *s, const nh_species *species, double eta, double volume,
                           double *sum, nh_error *err)
{
    double inverse[9], b[9], *fraction = NH_ARRAY(double, 3 * s->n_atom);
    double complex *now = NH_ARRAY(double complex, s->n_atom), *turn = NH_ARRAY(double complex, s->n_atom);
    if (fraction == NULL || now == NULL || turn == NULL) {
        free(fraction);
        free(now);
        free(turn);
        return nh_fail_memory(err, "the Ewald sum");
    }
    nh_lattice_inverse(s->lattice, inverse);
    for (int i = 0; i < 3; i++)
        for (int x = 0; x < 3; x++)
            b[3 * i + x] = 2 * M_PI * NH_BOHR * inverse[3 * x + i];
    for (size_t i = 0; i < s->n_atom; i++) {
        nh_lattice_apply(s->position + 3 * i, inverse, fraction + 3 * i);
        turn[i] = cexp(CMPLX(0, 2 * M_PI * fraction[3 * i + 2]));
    }
    const double largest = 2 * eta * HALF_WIDTH;
    int limit[3];
    for (int i = 0; i < 3; i++)
        limit[i] = (int)floor(largest * length_of(s->lattice + 3 * i) / NH_BOHR / (2 * M_PI));
    for (int h = -limit[0]; h <= limit[0]; h++)
        for (int k = -limit[1]; k <= limit[1]; k++) {
            const int from = h > 0 || (h == 0 && k >= 0) ? 0 : 1; /* half of space, with l >= 0 */
            for (size_t i = 0; i < s->n_atom; i++)
                now[i] = species[s->species[i]].pseudo.z_valence *
                         cexp(CMPLX(0, 2 * M_PI *
                                           (h * fraction[3 * i] + k * fraction[3 * i + 1] +
                                            from * fraction[3 * i + 2])));
            for (int l = from; l <= limit[2]; l++) {
                double complex factor = 0;
                for (size_t i = 0; i < s->n_atom; i++) {
                    factor += now[i];
                    now[i] *= turn[i];
                }
                double q2 = 0;
                for (int x = 0; x < 3; x++) {
                    const double q = h * b[x] + k * b[3 + x] + l * b[6 + x];
                    q2 += q * q;
                }
                if (q2 > largest * largest || (h == 0 && k == 0 && l == 0)) continue;
                *sum += 2 * 4 * M_PI / volume * exp(-q2 / (4 * eta * eta)) / q2 *
                        (creal(factor) * creal(factor) + cimag(factor) * cimag(factor));
            }
        }
    free(fraction);
    free(now);
    free(turn);
    return 0;
}

int nh_ewald(const nh_structure *s, const nh_species *species, double *energy, nh_error *err)
{
    const double volume = fabs(nh_lattice_volume(s->lattice)) / (NH_BOHR * NH_BOHR * NH_BOHR);
    if (!(volume > 0)) return nh_fail(err, "Ewald sum: a lattice with volume expected");
    /* Both sums grow as the number of atoms to the power 3/2. */
    const double eta = 2.5 * pow((double)s->n_atom, 1.0 / 6) / cbrt(volume);
    double charge = 0, squares = 0, sum = 0;
    for (size_t i = 0; i < s->n_atom; i++) {
        const double z = species[s->species[i]].pseudo.z_valence;
        charge += z;
        squares += z * z;
    }
    if (real_part(s, species, eta, &sum, err) != 0 ||
        reciprocal_part(s, species, eta, volume, &sum, err) != 0)
        return -1;
    *energy = sum - 2 * eta / sqrt(M_PI) * squares - M_PI / (volume * eta * eta) * charge * charge;
    return 0;
}
