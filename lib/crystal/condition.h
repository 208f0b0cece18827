/* condition.h - how far an error of H(k) can move the bands: kappa(S)/||S|| ||dH|| (the paper's Appendix F;
 * 2-norms).
 *
 * Let A and B be two Hamiltonians with one overlap S. Band by band, their energies differ by at most ||S^-1||
 * ||A - B||, and ||S^-1|| = kappa(S)/||S||. That is large where S is nearly singular: there, small errors
 * make ghost states. A shift mu*S moves every energy by mu and is no error. Hence
 *     |E_A - E_B - mu| <= kappa(S)/||S|| ||A - B - mu*S||     for every mu. */
#ifndef NH_CRYSTAL_CONDITION_H
#define NH_CRYSTAL_CONDITION_H

#include "crystal/fourier.h"
#include "crystal/kpoints.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nh_condition {
    size_t n_k;
    double *s_norm; /* [n_k] largest eigenvalue of S(k); owned */
    double
        *s_condition; /* [n_k] largest over smallest; INFINITY where S(k) is not positive definite; owned */
    double *h_norm;   /* [n_k] eV: 2-norm of A(k) - B(k) - mu*S(k); owned */
    double mu; /* eV: least squares, Re sum tr((A-B) S) / sum tr(S S) over the k-points with their weights */
} nh_condition;

/* a, b: of one crystal, with the same pairs and overlap. */
int nh_condition_new(const nh_fourier *a, const nh_fourier *b, const nh_kpoints *k, nh_threads *threads,
                     nh_condition *out, nh_error *err);
void nh_condition_free(nh_condition *c);

/* The bound of |E_A + shift - E_B| at a k-point, eV. */
double nh_condition_bound(const nh_condition *c, size_t k, double shift);

#ifdef __cplusplus
}
#endif

#endif
