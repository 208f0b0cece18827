#include "properties/filling.h"

#include <math.h>

static const double ENOUGH = 1e-9; /* electrons */

double nh_filling_at(const nh_filling *f, double energy)
{
    const double x = (energy - f->mu) / f->kt;
    return x > 0 ? exp(-x) / (1 + exp(-x)) : 1 / (1 + exp(x));
}

double nh_filling_slope(const nh_filling *f, double energy)
{
    const double x = exp(-fabs(energy - f->mu) / f->kt);
    return x / ((1 + x) * (1 + x) * f->kt);
}

/* Electrons at f less `nelec`; without cancellation of large numbers that a gap's narrow tails would drown
 * in: 1e-9 is far above the rounding of some thousand electrons. */
static double excess(const nh_bands *b, const nh_filling *f, double nelec)
{
    double sum = 0;
    for (size_t k = 0; k < b->k.count; k++) {
        double here = 0;
        for (size_t i = 0; i < b->n_band; i++)
            if (!isnan(b->energy[k * b->n_band + i])) here += nh_filling_at(f, b->energy[k * b->n_band + i]);
        sum += b->k.weight[k] * here;
    }
    return b->electrons_per_band * sum - nelec;
}

/* The lowest mu where the excess is above `level`. */
static double crossing(const nh_bands *b, double nelec, double kt, double level, double lo, double hi)
{
    for (int i = 0; i < 200 && hi - lo > 1e-13 * (1 + fabs(hi)); i++) {
        const nh_filling f = {0.5 * (lo + hi), kt};
        if (excess(b, &f, nelec) > level)
            hi = f.mu;
        else
            lo = f.mu;
    }
    return 0.5 * (lo + hi);
}

int nh_filling_find(const nh_bands *b, double nelec, double kt, nh_filling *out, nh_error *err)
{
    double lo = INFINITY, hi = -INFINITY;
    if (!(nelec > 0)) return nh_fail(err, "%g electrons", nelec);
    if (!(kt > 0)) return nh_fail(err, "a temperature above zero expected, found kT = %g eV", kt);
    for (size_t i = 0; i < b->k.count * b->n_band; i++)
        if (!isnan(b->energy[i])) {
            lo = fmin(lo, b->energy[i]);
            hi = fmax(hi, b->energy[i]);
        }
    *out = (nh_filling){hi + 50 * kt, kt};
    const double most = nelec + excess(b, out, nelec);
    if (!(most > nelec + 1e-6))
        return nh_fail(err, "the bands hold %.10g electrons, %.10g are there", most, nelec);
    lo -= 50 * kt;
    hi += 50 * kt;
    out->mu = 0.5 * (crossing(b, nelec, kt, -ENOUGH, lo, hi) + crossing(b, nelec, kt, ENOUGH, lo, hi));
    return 0;
}
