/* functional.h - PBE at one point (docs/h0.md 7, 9): energies per volume and their derivatives, Hartree and
 * bohr. One text for the host and for the kernels of a device. */
#ifndef NH_LCAO_FUNCTIONAL_H
#define NH_LCAO_FUNCTIONAL_H

#include <math.h>

#if defined __CUDACC__
#define NH_BOTH __device__ static inline
#else
#define NH_BOTH static inline
#endif

/* Of a density n > 0: energy a particle and potential of exchange plus correlation; the correlation alone,
 * which the gradient part goes on from. */
typedef struct nh_lda {
    double e, v;
    double ec, vc;
} nh_lda;

/* Gradient part, sigma = |grad n|^2: f, df/dn, df/dsigma. */
typedef struct nh_gga {
    double f, n, sigma;
} nh_gga;

/* Two spins, zeta = (up - down)/n: energy a particle and the potentials of up and down. */
typedef struct nh_lda_polarised {
    double e, v[2];
} nh_lda_polarised;

/* Correlation of two spins: f, df/dn_up, df/dn_down, df/dsigma. */
typedef struct nh_gga_correlation {
    double f, n[2], sigma;
} nh_gga_correlation;

/* PBE's constants: Perdew, Burke, Ernzerhof 1996, in the digits of libxc. */
static const double NH_PBE_KAPPA = 0.804, NH_PBE_MU = 0.2195149727645171, NH_PBE_GAMMA = 0.031090690869654895,
                    NH_PBE_BETA = 0.06672455060314922;
static const double NH_PW_SECOND = 1.709921; /* f''(0) of the interpolation in zeta */

/* Perdew and Wang 1992: -2A (1 + a1 rs) ln(1 + 1/(2A (b1 rs^1/2 + b2 rs + b3 rs^3/2 + b4 rs^2))), and its
 * derivative by rs. */
NH_BOTH double nh_perdew_wang(double a, double a1, double b1, double b2, double b3, double b4, double rs,
                              double root, double *slope)
{
    const double q = 2 * a * (b1 * root + b2 * rs + b3 * rs * root + b4 * rs * rs);
    const double dq = 2 * a * (0.5 * b1 / root + b2 + 1.5 * b3 * root + 2 * b4 * rs);
    const double logarithm = log1p(1 / q), front = -2 * a * (1 + a1 * rs);
    *slope = -2 * a * a1 * logarithm - front * dq / (q * (q + 1));
    return front * logarithm;
}

/* Of the unpolarised gas, of the polarised one, and minus the stiffness. */
NH_BOTH double nh_pw_plain(double rs, double root, double *slope)
{
    return nh_perdew_wang(0.031091, 0.2137, 7.5957, 3.5876, 1.6382, 0.49294, rs, root, slope);
}
NH_BOTH double nh_pw_ferro(double rs, double root, double *slope)
{
    return nh_perdew_wang(0.015545, 0.20548, 14.1189, 6.1977, 3.3662, 0.62517, rs, root, slope);
}
NH_BOTH double nh_pw_stiffness(double rs, double root, double *slope)
{
    return nh_perdew_wang(0.016887, 0.11125, 10.357, 3.6231, 0.88026, 0.49671, rs, root, slope);
}

NH_BOTH double nh_wigner_seitz(double n)
{
    return cbrt(3 / (4 * M_PI * n));
}

NH_BOTH nh_lda nh_lda_at(double n)
{
    const double rs = nh_wigner_seitz(n);
    const double ex = -0.75 / M_PI * cbrt(9 * M_PI / 4) / rs;
    double slope;
    const double ec = nh_pw_plain(rs, sqrt(rs), &slope), vc = ec - rs / 3 * slope;
    const nh_lda out = {ex + ec, 4.0 / 3 * ex + vc, ec, vc};
    return out;
}

/* Exchange less that of the uniform gas, of an unpolarised density. */
NH_BOTH nh_gga nh_exchange_gradient(double n, double sigma)
{
    const double kf = cbrt(3 * M_PI * M_PI * n);
    const double s2 = sigma / (4 * kf * kf * n * n), uniform = -3 * kf / (4 * M_PI);
    const double d = 1 + NH_PBE_MU * s2 / NH_PBE_KAPPA, enhancement = NH_PBE_KAPPA - NH_PBE_KAPPA / d,
                 slope = NH_PBE_MU / (d * d);
    const nh_gga out = {n * uniform * enhancement, uniform * (4.0 / 3 * enhancement - 8.0 / 3 * s2 * slope),
                        uniform * slope / (4 * kf * kf * n)};
    return out;
}

/* Exchange and correlation; `lda` at the same n. */
NH_BOTH nh_gga nh_pbe_gradient(double n, double sigma, const nh_lda *lda)
{
    nh_gga out = nh_exchange_gradient(n, sigma);
    const double kf = cbrt(3 * M_PI * M_PI * n);
    const double e = exp(-lda->ec / NH_PBE_GAMMA), a = NH_PBE_BETA / NH_PBE_GAMMA / (e - 1);
    const double t2 = M_PI * sigma / (16 * kf * n * n), y = a * t2, d = 1 + y + y * y;
    const double x = (1 + y) / d, dx = -y * (2 + y) / (d * d), z = x + y * dx;
    const double s = 1 + NH_PBE_BETA / NH_PBE_GAMMA * t2 * x, h = NH_PBE_GAMMA * log(s);
    out.f += n * h;
    out.n += h + NH_PBE_BETA / s *
                     (-7.0 / 3 * t2 * z + t2 * t2 * dx * a * a * e / NH_PBE_BETA * (lda->vc - lda->ec));
    out.sigma += NH_PBE_BETA / s * z * M_PI / (16 * kf * n);
    return out;
}

/* Thresholds of the two parts, as ABACUS has them. */
static const double NH_SMALL_LDA = 1e-10, NH_SMALL_GRADIENT = 1e-6, NH_SMALL_SIGMA = 1e-10;

/* All of it, Ry: potential without the divergence, energy per volume, h = factor grad n, of which the
 * divergence is taken off. n >= 0. */
typedef struct nh_pbe_point {
    double v, e, h;
} nh_pbe_point;
NH_BOTH nh_pbe_point nh_pbe_at(double n, double sigma)
{
    nh_pbe_point out = {0, 0, 0};
    if (!(n > NH_SMALL_LDA)) return out;
    const nh_lda lda = nh_lda_at(n);
    out.v = 2 * lda.v;
    out.e = 2 * lda.e * n;
    if (!(n > NH_SMALL_GRADIENT) || !(sigma > NH_SMALL_SIGMA)) return out;
    const nh_gga gga = nh_pbe_gradient(n, sigma, &lda);
    out.v += 2 * gga.n;
    out.e += 2 * gga.f;
    out.h = 4 * gga.sigma;
    return out;
}

/* --- two spins */

/* Correlation a particle; n times its derivative by n, and its derivative by zeta. */
typedef struct nh_pw_correlation {
    double e, n, zeta;
} nh_pw_correlation;

NH_BOTH nh_pw_correlation nh_correlation_of(double n, double zeta)
{
    const double rs = nh_wigner_seitz(n), root = sqrt(rs);
    double plain_slope, ferro_slope, stiff_slope;
    const double plain = nh_pw_plain(rs, root, &plain_slope), ferro = nh_pw_ferro(rs, root, &ferro_slope),
                 stiff = -nh_pw_stiffness(rs, root, &stiff_slope);
    stiff_slope = -stiff_slope;
    const double up = cbrt(1 + zeta), down = cbrt(1 - zeta), norm = 2 * cbrt(2.0) - 2;
    const double f = ((1 + zeta) * up + (1 - zeta) * down - 2) / norm, df = 4.0 / 3 * (up - down) / norm;
    const double z3 = zeta * zeta * zeta, z4 = z3 * zeta;
    const double stiffness = f / NH_PW_SECOND * (1 - z4), full = f * z4;
    const double slope = plain_slope + stiff_slope * stiffness + (ferro_slope - plain_slope) * full;
    const nh_pw_correlation out = {plain + stiff * stiffness + (ferro - plain) * full, -rs / 3 * slope,
                                   stiff / NH_PW_SECOND * (df * (1 - z4) - 4 * z3 * f) +
                                       (ferro - plain) * (df * z4 + 4 * z3 * f)};
    return out;
}

NH_BOTH nh_lda_polarised nh_lda_polarised_at(double n, double zeta)
{
    const nh_pw_correlation c = nh_correlation_of(n, zeta);
    nh_lda_polarised out = {c.e, {0, 0}};
    for (int s = 0; s < 2; s++) {
        const double sign = s == 0 ? 1 : -1, of_spin = 0.5 * n * (1 + sign * zeta);
        const double vx = -cbrt(6 * of_spin / M_PI);
        out.v[s] = vx + c.e + c.n + (sign - zeta) * c.zeta;
        out.e += 0.75 * vx * of_spin / n;
    }
    return out;
}

/* E_x[n_up, n_down] = (E_x[2 n_up] + E_x[2 n_down])/2 */
NH_BOTH nh_gga nh_pbe_exchange_of_spin(double n, double sigma)
{
    const nh_gga whole = nh_exchange_gradient(2 * n, 4 * sigma);
    const nh_gga out = {0.5 * whole.f, whole.n, 2 * whole.sigma};
    return out;
}

/* zeta: |zeta| < 1; sigma: that of the sum. */
NH_BOTH nh_gga_correlation nh_pbe_correlation_polarised(double n, double zeta, double sigma)
{
    const nh_pw_correlation c = nh_correlation_of(n, zeta);
    const double up = cbrt(1 + zeta), down = cbrt(1 - zeta);
    const double phi = 0.5 * (up * up + down * down), dphi = (1 / up - 1 / down) / 3;
    const double g = NH_PBE_GAMMA * phi * phi * phi, ratio = NH_PBE_BETA / NH_PBE_GAMMA, u = c.e / g;
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
    const nh_gga_correlation out = {n * h,
                                    {h + by_n + (1 - zeta) * by_zeta, h + by_n - (1 + zeta) * by_zeta},
                                    by_s * z * M_PI / (16 * phi * phi * kf * n)};
    return out;
}

#endif
