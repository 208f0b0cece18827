/* states.h - the states of a Hamiltonian on a mesh of k-points, and their density matrix (docs/scf.md 2-4).
 * S(k), T + V_nl and their reduction to an orthonormal basis are made once; an iteration brings a real matrix of the
 * grid, the same for both spins. Energies in Ry.
 *
 * Time reversal is taken for granted: of k and -k one is solved, so H must be its own time reversal. */
#ifndef NH_LCAO_STATES_H
#define NH_LCAO_STATES_H

#include "base/complex.h"
#include "base/ranks.h"
#include "base/threads.h"
#include "crystal/pairs.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct nh_states nh_states;

typedef struct nh_states_task {
    const nh_structure *structure;
    const nh_pairs *pairs;
    int n_spin; /* 4, or 1 */
    size_t n_k;
    const double *k, *weight; /* nh_half_mesh */
    double n_electron, smearing;
    const double *overlap; /* [n_elem] */
    const double *fixed;   /* [n_spin][n_elem][2]: T + V_nl, or another Hermitian matrix */
    double memory;         /* bytes that matrices in k may take; 0: as many as there are */
    nh_threads *threads;
    const nh_ranks *
        ranks; /* each solves a part of the k-points, and all have all results; NULL: alone. The density matrix is
                              the same on all ranks, and to rounding for any number of them */
} nh_states_task;

/* What the task points at must outlive it. Small matrices are solved by k-point, one a thread; large ones (1000 states or
 * more) one after another by LAPACK's own threads, where the last bits depend on their number. An S(k) that is not positive definite is an error. */
int nh_states_new(const nh_states_task *task, nh_states **out, nh_error *err);
void nh_states_free(nh_states *s); /* NULL is fine */
size_t nh_states_bands(const nh_states *s);

/* Solves fixed + grid (grid[n_elem] real, in uu and dd; NULL: nothing) at all k-points, finds the Fermi level, and the
 * occupations. The arrays below are those of the last call. */
int nh_states_solve(nh_states *s, const double *grid, nh_error *err);
const double *nh_states_energy(const nh_states *s);     /* [n_k][n_band] */
const double *nh_states_occupation(const nh_states *s); /* [n_k][n_band] electrons */
double nh_states_fermi(const nh_states *s);
double nh_states_entropy(const nh_states *s);     /* -TS */
double nh_states_band_energy(const nh_states *s); /* sum_k w_k sum_n f e */

/* The density matrix of the occupied states, p[n_elem]: sum over spins, real, p_ij(R) = p_ji(-R). After nh_states_solve;
 * once for each. */
int nh_states_density(nh_states *s, double *p, nh_error *err);
/* For each k-point the expectation values error[n_k][most] of a Hermitian change[n_spin][n_elem][2] in its lowest states,
 * up to energy `top` and at most `most` of them, NaN behind. In place of nh_states_density. */
int nh_states_expect(nh_states *s, const double *change, double top, size_t most, double *error,
                     nh_error *err);

#endif
