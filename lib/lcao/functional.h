/* functional.h - PBE at one point (docs/h0.md 7, 9): energies per volume and their derivatives, Hartree and
 * bohr. */
#ifndef NH_LCAO_FUNCTIONAL_H
#define NH_LCAO_FUNCTIONAL_H

/* Of a density n > 0: energy a particle and potential of exchange plus correlation; the correlation alone,
 * which the gradient part goes on from. */
typedef struct nh_lda {
    double e, v;
    double ec, vc;
} nh_lda;
nh_lda nh_lda_at(double n);

/* Gradient part, sigma = |grad n|^2: f, df/dn, df/dsigma. */
typedef struct nh_gga {
    double f, n, sigma;
} nh_gga;
nh_gga nh_pbe_gradient(double n, double sigma, const nh_lda *lda);

/* Two spins, zeta = (up - down)/n: energy a particle and the potentials of up and down. */
typedef struct nh_lda_polarised {
    double e, v[2];
} nh_lda_polarised;
nh_lda_polarised nh_lda_polarised_at(double n, double zeta);

/* Exchange of one spin's density: f, df/dn_s, df/dsigma_ss. */
nh_gga nh_pbe_exchange_of_spin(double n, double sigma);
/* Correlation of both, sigma that of the sum, |zeta| < 1: f, df/dn_up, df/dn_down, df/dsigma. */
typedef struct nh_gga_correlation {
    double f, n[2], sigma;
} nh_gga_correlation;
nh_gga_correlation nh_pbe_correlation_polarised(double n, double zeta, double sigma);

#endif
