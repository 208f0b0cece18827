/* optics.h - optical conductivity of independent electrons (Kubo-Greenwood), and what follows from it.
 *
 * With p_nm = hbar v_nm (velocity.h), f the Fermi function and z = E + i eta for a photon of energy E,
 *   sigma_ab(E) = (i e^2/hbar V) sum_k w_k sum_nm (f_n - f_m)/(E_m - E_n) p^a_nm p^b_mn / (z - (E_m - E_n)),
 * over pairs whose energies differ by more than `degenerate`; V: volume of the cell. R. Kubo, J. Phys. Soc.
 * Jpn. 12, 570 (1957); J. R. Yates, X. Wang, D. Vanderbilt, I. Souza, Phys. Rev. B 75, 195121 (2007). Pairs
 * that differ by less, and n = m, are the Fermi surface's: the Drude weight
 *   D_ab = (e^2/eps0 V) sum_k w_k sum_nm -f'((E_n + E_m)/2) p^a_nm p^b_mn = (hbar omega_p)^2,
 * which adds i eps0 D / (hbar z) to sigma and is kept apart. docs/physics.md 2. */
#ifndef NH_PROPERTIES_OPTICS_H
#define NH_PROPERTIES_OPTICS_H

#include "properties/filling.h"
#include "crystal/kpoints.h"
#include "properties/sweep.h"
#include "properties/velocity.h"

#define NH_HBAR2_OVER_M 7.619964231    /* eV Å^2 */
#define NH_E2_OVER_HBAR 2.434134807e-4 /* S */
#define NH_E2_OVER_EPS0 180.9512801    /* eV Å */
#define NH_EPS0_OVER_HBAR 13451.88685  /* S/m a eV of photon energy: eps0 omega */
#define NH_HBAR_C_CM 1.973269804e-5    /* eV cm */

typedef enum nh_broadening {
    NH_LORENTZIAN, /* 1/(E + i eta - E_mn) */
    NH_GAUSSIAN    /* -i pi exp(-(x/eta)^2)/(eta sqrt(pi)) and its Hilbert transform, x = E - E_mn */
} nh_broadening;

typedef struct nh_optics_task {
    const char *name; /* of the matrices, for messages */
    const nh_fourier *fourier;
    const nh_velocity *velocity;
    const nh_kpoints *k;
    double volume; /* Å^3 */
    double electrons_per_band;
    nh_filling filling;
    size_t rows; /* bands that hold electrons: at least 1e-12 of one somewhere (nh_optics_rows) */
    size_t n_energy;
    const double *energy; /* [n_energy] of photons, eV, ascending */
    double eta;           /* eV > 0 */
    nh_broadening broadening;
    double adaptive;   /* 0: eta for all; else adaptive * |dE_mn/dk| * spacing where that is more than eta */
    double spacing;    /* of the mesh, 1/Å */
    double degenerate; /* eV > 0 */
    int threads;
    const nh_ranks *ranks; /* NULL: alone */
    nh_progress *progress; /* k-points; may be NULL */
} nh_optics_task;

typedef struct nh_optics {
    size_t n_energy;
    double *sigma;   /* [n_energy][3][3][2] S/m, without the Drude term; owned */
    double drude[9]; /* D_ab, eV^2 */
    /* electrons by the f-sum rule, all transitions: (m/hbar^2) sum 2 |p^a_nm|^2/(E_m - E_n) */
    double effective[3];
    double drude_electrons[3]; /* the same of the Drude term: (m V / e^2) times its weight */
    double lowest; /* eV, of the transitions with f_n - f_m above 0.01; infinite where there is none */
    /* eV: how far the transitions up to the last photon energy move between neighbouring k-points, mean by
     * weight, of a sample of the k-points; NaN where there are none */
    double spread;
} nh_optics;

/* The number of bands, from the lowest, that hold electrons. */
size_t nh_optics_rows(const nh_bands *b, const nh_filling *f);
int nh_optics_new(const nh_optics_task *task, nh_optics *out, nh_error *err);
void nh_optics_free(nh_optics *o);

/* Adds the Drude term with its own width, eV. */
void nh_optics_add_drude(nh_optics *o, const double *energy, double eta);

/* What light sees of one component, or of the mean of the three diagonal ones. */
typedef struct nh_light {
    double epsilon[2];   /* 1 + i sigma/(eps0 z); NaN at z = 0 */
    double n, kappa;     /* (n + i kappa)^2 = epsilon */
    double absorption;   /* 2 E kappa/(hbar c), 1/cm */
    double reflectivity; /* at normal incidence */
} nh_light;
/* z = E + i eta, with the broadening's eta where it is the same for all and Lorentzian: then epsilon is that
 * of the same complex frequency as sigma, finite at E = 0 in an insulator; otherwise eta = 0. `diagonal`: 1
 * is added. */
nh_light nh_light_of(const double sigma[2], double energy, double eta, bool diagonal);

#endif
