/* scf.h - the self-consistent loop (docs/scf.md): from an nh_lcao to the converged Hamiltonian, and how far a given
 * Hamiltonian is from it. */
#ifndef NH_LCAO_SCF_H
#define NH_LCAO_SCF_H

#include "base/ranks.h"
#include "lcao/lcao.h"

/* One iteration, as the table prints it and the file keeps it. */
typedef struct nh_scf_step {
    double drho;   /* int |rho_out - rho_in| / N_el; NaN (and no energy): the states of `start` */
    double energy; /* total, Ry */
    double efermi; /* Ry */
    double seconds;
} nh_scf_step;

typedef struct nh_scf_energies {
    double band, one_electron, hartree, xc, ewald, entropy, total; /* Ry, as ABACUS names them */
} nh_scf_energies;

typedef struct nh_scf_task {
    const nh_lcao *lcao;
    int mesh[3];      /* Gamma-centred */
    double smearing;  /* Ry; 0.01 */
    double threshold; /* of drho; 1e-7 */
    size_t max_iterations;
    double mixing, kerker; /* beta 0.7, g0 0.1 bohr^-2 */
    size_t history;        /* 8 */
    const double
        *start; /* [n_spin][n_elem][2] Ry: an H whose density begins the loop; NULL: superposed atoms */
    void (*log)(void *context, size_t iteration, const nh_scf_step *step); /* may be NULL */
    void *context;
    double memory;         /* bytes for matrices in k (states.h) */
    const nh_ranks *ranks; /* processes that share the k-points (states.h); NULL: alone. All get the result */
} nh_scf_task;

typedef struct nh_scf_result {
    bool converged;
    size_t n_step;
    nh_scf_step *step; /* [n_step] with `start` the first one is that of its states; owned */
    double *h;         /* [n_spin][n_elem][2] Ry; owned */
    double *rho;       /* [n_point]; owned */
    double efermi;     /* Ry */
    nh_scf_energies energy;
    double charge;             /* sum_R tr P S^T: n_electron to rounding */
    size_t n_k, n_band;        /* of the half mesh */
    double *k, *weight, *band; /* [n_k][3], [n_k], [n_k][n_band] Ry; owned */
} nh_scf_result;

/* No convergence in max_iterations is no error: `converged` says it. */
int nh_scf(const nh_scf_task *task, nh_scf_result *out, nh_error *err);
void nh_scf_result_free(nh_scf_result *r); /* what it owns */

/* The certificate of a Hamiltonian H: its density, and from that density H' again. */
typedef struct nh_scf_check {
    double *residual;   /* [n_spin][n_elem][2] Ry: H' - H; owned */
    double gauge_mae;   /* eV, of the residual (crystal/gauge.h, pairs within the cutoff) */
    double drho;        /* int |rho[H] - rho of H'| ..: int |rho_out[H'] - rho_out[H]| / N_el */
    double shift;       /* eV: median of the band errors, a change of the zero of energy */
    double band_energy; /* eV a cell: sum of the occupied first-order band errors, each less the shift */
    size_t n_k, n_band;
    /* [n_k][3], [n_k][n_band] eV: bands of H and <n|H' - H|n> up to 10 eV above the Fermi level, NaN above; owned */
    double *k, *band, *band_error;
    double mean_band_error; /* eV: mean |band_error - shift| */
    double efermi;          /* eV, of H */
} nh_scf_check;
int nh_scf_check_new(const nh_scf_task *task, const double *h, nh_scf_check *out, nh_error *err);
void nh_scf_check_free(nh_scf_check *c);

#endif
