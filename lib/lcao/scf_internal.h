/* scf_internal.h - what the loop (scf.c) and the certificate (check.c) share. */
#ifndef NH_LCAO_SCF_INTERNAL_H
#define NH_LCAO_SCF_INTERNAL_H

#include "lcao/scf.h"
#include "lcao/states.h"

/* The mesh of a task, and arrays that both need. */
typedef struct nh_scf_space {
    size_t n_k;
    double *k, *weight;
    double *p;      /* [n_elem] density matrix */
    double *v;      /* [n_point] V_H + v_xc, then the whole potential */
    double *matrix; /* [n_elem] the part of H that the grid makes */
} nh_scf_space;
int nh_scf_space_new(const nh_scf_task *task, nh_scf_space *out, nh_error *err);
void nh_scf_space_free(nh_scf_space *s);

/* States of `fixed`, Hermitian and its own time reversal. */
int nh_scf_states(const nh_scf_task *task, const nh_scf_space *space, const double *fixed, nh_states **out,
                  nh_error *err);
/* The density of the states, scaled to the number of electrons; *charge = sum_R tr P S^T before. */
int nh_scf_density(const nh_scf_task *task, nh_scf_space *space, nh_states *states, double *rho,
                   double *charge, nh_error *err);
/* space->matrix = <V_loc + V_H + v_xc> of rho. */
int nh_scf_matrix(const nh_scf_task *task, nh_scf_space *space, const double *rho, nh_density_energies *e,
                  nh_error *err);
/* The Hermitian part of h[n_spin][n_elem][2] that is its own time reversal; a new array. */
int nh_scf_symmetric(const nh_lcao *l, const double *h, double **out, nh_error *err);
/* int |a - b| / N_el */
double nh_scf_distance(const nh_lcao *l, const double *a, const double *b);

#endif
