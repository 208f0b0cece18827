/* two_centre.h - integrals of two functions on two atoms: overlap, kinetic energy, position, and orbitals with
 * projectors (docs/h0.md 4, 5). Radial integrals of each pair of species at the distances that occur, or from tables.
 *
 * Orbitals in the house's order: shells of the species, m = -l..l, no Condon-Shortley sign. */
#ifndef NH_LCAO_TWO_CENTRE_H
#define NH_LCAO_TWO_CENTRE_H

#include "base/threads.h"
#include "crystal/pairs.h"
#include "lcao/species.h"

typedef struct nh_two_centre nh_two_centre;

/* The Bessel transforms of all species' orbitals, and with `projectors` of those, too; `species` [n_species] must outlive
 * it. Threads may be NULL. */
typedef struct nh_two_centre_task {
    size_t n_species;
    const nh_species *species;
    bool projectors;
    nh_threads *threads;
} nh_two_centre_task;
int nh_two_centre_new(const nh_two_centre_task *task, nh_two_centre **out, nh_error *err);
void nh_two_centre_free(nh_two_centre *t); /* NULL is fine */

/* All pairs (i, j, R) whose orbitals overlap (distance < rc_i + rc_j), or that a projector couples. *pair is
 * allocated, the caller frees; unsorted, complete (with their reverse). s: atoms anywhere, positions as they are. */
int nh_lcao_pairs(const nh_structure *s, const nh_species *species, size_t *count, nh_pair **pair,
                  nh_error *err);

/* overlap[n_elem]; kinetic[n_elem] Ry; position[3][n_elem] bohr, <phi_a| r |phi_b> with r from the origin of the home
 * cell. Any may be NULL. Zero in pairs that do not overlap. */
int nh_two_centre_matrices(const nh_two_centre *t, const nh_structure *s, const nh_pairs *pairs,
                           double *overlap, double *kinetic, double *position, nh_threads *threads,
                           nh_error *err);

/* The nonlocal pseudopotential, ADDED to v[n_spin][n_elem][2] Ry (uu, ud, du, dd; n_spin 1: its spin average, real).
 * Hermitian to rounding. A pair that is not in `pairs` but is coupled is an error. */
int nh_nonlocal_add(const nh_two_centre *t, const nh_structure *s, const nh_pairs *pairs, int n_spin,
                    double *v, nh_threads *threads, nh_error *err);

#endif
