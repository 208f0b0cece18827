#include "lcao/functional.h"

#include <math.h>

/* Perdew and Wang 1992: -2A (1 + a1 rs) ln(1 + 1/(2A (b1 rs^1/2 + b2 rs + b3 rs^3/2 + b4 rs^2))) */
typedef struct perdew_wang {
    double a, a1, b[4];
} perdew_wang;
static const perdew_wang PLAIN = {0.031091, 0.2137, {7.5957, 3.5876, 1.6382, 0.49294}},
                         FERRO = {0.015545, 0.20548, {14.1189, 6.1977, 3.3662, 0.62517}},
                         STIFFNESS = {0.016887, 0.11125, {10.357, 3.6231, 0.88026, 0.49671}};
static const double SECOND_OF_F = 1.709921; /* f''(0) of the interpolation in zeta */

/* PBE's constants: Perdew, Burke, Ernzerhof 1996, in the digits of libxc. */
static const double KAPPA = 0.804, MU = 0.2195149727645171, GAMMA = 0.031090690869654895,
                    BETA = 0.06672455060314922;

/* The value and its derivative by rs. */
static double correlation(const perdew_wang *p, double rs, double root, double *slope)
{
    const double q = 2 * p->a * (p->b[0] * root + p->b[1] * rs + p->b[2] * rs * root + p->b[3] * rs * rs);
    const double dq = 2 * p->a * (0.5 * p->b[0] / root + p->b[1] + 1.5 * p->b[2] * root + 2 * p->b[3] * rs);
    const double logarithm = log1p(1 / q), front = -2 * p->a * (1 + p->a1 * rs);
    *slope = -2 * p->a * p->a1 * logarithm - front * dq / (q * (q + 1));
    return front * logarithm;
}

static double wigner_seitz(double n)
{
    return cbrt(3 / (4 * M_PI * n));
}

nh_lda nh_lda_at(double n)
{
    const double rs = wigner_seitz(n);
    const double ex = -0.75 / M_PI * cbrt(9 * M_PI / 4) / rs;
    double slope;
    const double ec = correlation(&PLAIN, rs, sqrt(rs), &slope), vc = ec - rs / 3 * slope;
    return (nh_lda){.e = ex + ec, .v = 4.0 / 3 * ex + vc, .ec = ec, .vc = vc};
}

/* Exchange less that of the uniform gas, of an unpolarised density. */
static nh_gga exchange_gradient(double n, double sigma)
{
    const double kf = cbrt(3 * M_PI * M_PI * n);
    const double s2 = sigma / (4 * kf * kf * n * n), uniform = -3 * kf / (4 * M_PI);
    const double d = 1 + MU * s2 / KAPPA, enhancement = KAPPA - KAPPA / d, slope = MU / (d * d);
    return (nh_gga){.f = n * uniform * enhancement,
                    .n = uniform * (4.0 / 3 * enhancement - 8.0 / 3 * s2 * slope),
                    .sigma = uniform * slope / (4 * kf * kf * n)};
}

nh_gga nh_pbe_gradient(double n, double sigma, const nh_lda *lda)
{
    nh_gga out = exchange_gradient(n, sigma);
    const double kf = cbrt(3 * M_PI * M_PI * n);
    const double e = exp(-lda->ec / GAMMA), a = BETA / GAMMA / (e - 1);
    const double t2 = M_PI * sigma / (16 * kf * n * n), y = a * t2, d = 1 + y + y * y;
    const double x = (1 + y) / d, dx = -y * (2 + y) / (d * d), z = x + y * dx;
    const double s = 1 + BETA / GAMMA * t2 * x, h = GAMMA * log(s);
    out.f += n * h;
    out.n += h + BETA / s * (-7.0 / 3 * t2 * z + t2 * t2 * dx * a * a * e / BETA * (lda->vc - lda->ec));
    out.sigma += BETA / s * z * M_PI / (16 * kf * n);
    return out;
}

/* --- two spins */

/* Correlation a particle; n times its derivative by n, and its derivative by zeta. */
typedef struct polarised_correlation {
    double e, n, zeta;
} polarised_correlation;

static polarised_correlation correlation_of(double n, double zeta)
{
    const double rs = wigner_seitz(n), root = sqrt(rs);
    double plain_slope, ferro_slope, stiff_slope;
    const double plain = correlation(&PLAIN, rs, root, &plain_slope),
                 ferro = correlation(&FERRO, rs, root, &ferro_slope),
                 stiff = -correlation(&STIFFNESS, rs, root, &stiff_slope);
    stiff_slope = -stiff_slope;
    const double up = cbrt(1 + zeta), down = cbrt(1 - zeta), norm = 2 * cbrt(2) - 2;
    const double f = ((1 + zeta) * up + (1 - zeta) * down - 2) / norm, df = 4.0 / 3 * (up - down) / norm;
    const double z3 = zeta * zeta * zeta, z4 = z3 * zeta;
    const double stiffness = f / SECOND_OF_F * (1 - z4), full = f * z4;
    const double slope = plain_slope + stiff_slope * stiffness + (ferro_slope - plain_slope) * full;
    return (polarised_correlation){.e = plain + stiff * stiffness + (ferro - plain) * full,
                                   .n = -rs / 3 * slope,
                                   .zeta = stiff / SECOND_OF_F * (df * (1 - z4) - 4 * z3 * f) +
                                           (ferro - plain) * (df * z4 + 4 * z3 * f)};
}

nh_lda_polarised nh_lda_polarised_at(double n, double zeta)
{
    const polarised_correlation c = correlation_of(n, zeta);
    nh_lda_polarised out = {.e = c.e};
    for (int s = 0; s < 2; s++) {
        const double sign = s == 0 ? 1 : -1, of_spin = 0.5 * n * (1 + sign * zeta);
        const double vx = -cbrt(6 * of_spin / M_PI);
        out.v[s] = vx + c.e + c.n + (sign - zeta) * c.zeta;
        out.e += 0.75 * vx * of_spin / n;
    }
    return out;
}

/* E_x[n_up, n_down] = (E_x[2 n_up] + E_x[2 n_down])/2 */
nh_gga nh_pbe_exchange_of_spin(double n, double sigma)
{
    const nh_gga whole = exchange_gradient(2 * n, 4 * sigma);
    return (nh_gga){.f = 0.5 * whole.f, .n = whole.n, .sigma = 2 * whole.sigma};
}

nh_gga_correlation nh_pbe_correlation_polarised(double n, double zeta, double sigma)
{
    const polarised_correlation c = correlation_of(n, zeta);
    const double up = cbrt(1 + zeta), down = cbrt(1 - zeta);
    const double phi = 0.5 * (up * up + down * down), dphi = (1 / up - 1 / down) / 3;
    const double g = GAMMA * phi * phi * phi, ratio = BETA / GAMMA, u = c.e / g;
    const double kf = cbrt(3 * M_PI * M_PI * n);
    const double e = exp(-u), a = ratio / (e - 1);
    const double t2 = M_PI * sigma / (16 * phi * phi * kf * n * n), y = a * t2, d = 1 + y + y * y;
    const double x = (1 + y) / d, dx = -y * (2 + y) / (d * d), z = x + y * dx;
    const double s = 1 + ratio * t2 * x, h = g * log(s);
    const double by_s = g * ratio / s,
                 by_u = t2 * t2 * dx * a * a * e / ratio;            /* dS/ratio = z dt2 + by_u du */
    const double by_n = by_s * (-7.0 / 3 * t2 * z + by_u * c.n / g); /* n dH/dn */
    const double by_zeta =
        3 * h * dphi / phi + by_s * (-2 * t2 * z * dphi / phi + by_u * (c.zeta / g - 3 * u * dphi / phi));
    return (nh_gga_correlation){.f = n * h,
                                .n = {h + by_n + (1 - zeta) * by_zeta, h + by_n - (1 + zeta) * by_zeta},
                                .sigma = by_s * z * M_PI / (16 * phi * phi * kf * n)};
}
