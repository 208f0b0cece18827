#include "lcao/occupation.h"

#include <math.h>
#include <stdbool.h>

static double filling(double energy, double mu, double smearing)
{
    return erfc((energy - mu) / smearing) / 2;
}

/* Electrons below mu in the bands that are searched. */
static double electrons_at(const nh_levels *l, double mu, double smearing)
{
    double sum = 0;
    for (size_t k = 0; k < l->n_k; k++) {
        double here = 0;
        for (size_t b = 0; b < l->n_search; b++)
            here += filling(l->energy[k * l->n_band + b], mu, smearing);
        sum += l->weight[k] * here;
    }
    return sum * l->electrons_per_band;
}

size_t nh_search_bands(double n_electron, double electrons_per_band, size_t n_band)
{
    const double full = electrons_per_band > 1 ? ceil(n_electron / 2) : n_electron;
    const double more = full + (electrons_per_band > 1 ? 10 : 20), share = floor(1.2 * full) + 1;
    const double bands = fmax(more, share);
    return bands < (double)n_band ? (size_t)bands : n_band;
}

int nh_occupy(const nh_levels *l, double n_electron, double smearing, double *mu, double *occupation,
              double *entropy, nh_error *err)
{
    enum { MOST_HALVINGS = 100 };
    const double enough = 1e-10; /* electrons: ABACUS's, so that the level in a gap is the same */
    if (l->n_k == 0 || l->n_search == 0 || l->n_search > l->n_band)
        return nh_fail(err, "occupations: no bands");
    if (!(smearing > 0))
        return nh_fail(err, "occupations: a smearing of %g Ry, a positive one expected", smearing);
    double low = INFINITY, high = -INFINITY;
    for (size_t k = 0; k < l->n_k; k++) {
        low = fmin(low, l->energy[k * l->n_band]);
        high = fmax(high, l->energy[k * l->n_band + l->n_search - 1]);
    }
    if (!isfinite(low) || !isfinite(high)) return nh_fail(err, "occupations: energies that are not finite");
    low -= 2 * smearing;
    high += 2 * smearing;
    const double most = electrons_at(l, high, smearing), least = electrons_at(l, low, smearing);
    if (most - n_electron < -enough || least - n_electron > enough)
        return nh_fail(err, "occupations: %g electrons, but the bands hold %.6f to %.6f", n_electron, least,
                       most);
    *mu = (low + high) / 2;
    for (int i = 0; i < MOST_HALVINGS; i++) {
        *mu = (low + high) / 2;
        const double excess = electrons_at(l, *mu, smearing) - n_electron;
        if (fabs(excess) < enough) break;
        if (excess < 0)
            low = *mu;
        else
            high = *mu;
    }
    double sum = 0;
    for (size_t k = 0; k < l->n_k; k++) {
        double here = 0;
        for (size_t b = 0; b < l->n_band; b++) {
            const double x = (*mu - l->energy[k * l->n_band + b]) / smearing;
            const bool there = b < l->n_search;
            occupation[k * l->n_band + b] = there ? l->electrons_per_band * erfc(-x) / 2 : 0;
            here += there ? exp(-x * x) : 0;
        }
        sum += l->weight[k] * here;
    }
    *entropy = -sum * l->electrons_per_band * smearing / (2 * sqrt(M_PI));
    return 0;
}
