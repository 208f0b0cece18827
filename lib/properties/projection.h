/* projection.h - which part of a state is on which elements, atoms and shells, and where its spin points.
 *
 * R. S. Mulliken, J. Chem. Phys. 23, 1833 (1955): the state sum C_a phi_a with C^dagger S C = 1 has on a group of orbitals
 * the weight
 *   w = Re sum_{a in group, s} C*_as (S C)_as,
 * and the weights of all groups have the sum 1. One weight can be a little negative or larger than 1. The spin of a state,
 *   <sigma_i> = sum_{a, s, s'} C*_as (sigma_i)_ss' (S C)_as',
 * does not depend on how it is shared among groups. Where states are degenerate both are those of the vectors that the
 * solver chose: only their sum over the degenerate states has a meaning. */
#ifndef NH_PROPERTIES_PROJECTION_H
#define NH_PROPERTIES_PROJECTION_H

#include "crystal/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { NH_GROUP_NAME = 32 }; /* bytes, the final NUL included */

/* Ga; Ga1 (numbers of atoms from 1); Ga-d; Ga1-d. */
typedef enum nh_group_kind {
    NH_BY_ELEMENT,
    NH_BY_ATOM,
    NH_BY_SHELL,
    NH_BY_ATOM_SHELL,
    NH_N_GROUP_KIND
} nh_group_kind;
extern const char
    *const nh_group_kinds[NH_N_GROUP_KIND + 1]; /* "element", "atom", "shell", "atom-shell", NULL */

/* The orbitals of a crystal in groups. Shells of one l on an atom or element are one group. */
typedef struct nh_projection {
    nh_group_kind kind;
    size_t n_group, n_orbital;
    char (*name)[NH_GROUP_NAME]; /* [n_group]; owned */
    size_t *group;               /* [n_orbital]; owned */
} nh_projection;

/* Fails for a structure without basis. */
int nh_projection_new(const nh_structure *s, nh_group_kind kind, nh_projection *out, nh_error *err);
void nh_projection_free(nh_projection *p);

/* What is known of the states of a list of k-points. */
typedef struct nh_state_weights {
    size_t n_k, n_band, n_group; /* n_group 0: no projections */
    nh_group_kind kind;
    char (*name)[NH_GROUP_NAME]; /* [n_group]; owned */
    double *weight; /* [n_k][n_band][n_group], NaN where there is no state; NULL where n_group is 0; owned */
    double *spin;   /* [n_k][n_band][3] <sigma_x>, <sigma_y>, <sigma_z>; NULL: not known; owned */
} nh_state_weights;

/* All NaN. `p` NULL: no projections. */
int nh_state_weights_new(size_t n_k, size_t n_band, const nh_projection *p, bool spin, nh_state_weights *out,
                         nh_error *err);
void nh_state_weights_free(nh_state_weights *w);
/* Adds up the groups to coarser ones: elements from any kind, atoms and shells from atom-shell. Fails for others. */
int nh_state_weights_merge(nh_state_weights *w, nh_group_kind kind, nh_error *err);

/* Takes the states of a k-point as they are solved (the `measure` of crystal/spectrum.h). */
typedef struct nh_weigher {
    nh_projection by; /* n_group 0: no projections */
    nh_state_weights states;
    size_t basis;
    int n_thread;
    double **work; /* [n_thread][n_band][basis][2]; owned, as all else */
} nh_weigher;

/* For up to n_band bands at each of n_k k-points. `kind` NULL: no projections. Fails where a Hamiltonian without spin is asked
 * for it. */
int nh_weigher_new(const nh_graph *g, const nh_group_kind *kind, bool spin, size_t n_k, size_t n_band,
                   int n_thread, nh_weigher *out, nh_error *err);
void nh_weigher_free(nh_weigher *w);
/* The first `count` bands of k-point k, from S(k) [basis][basis][2] and their vectors [count][basis][2] (crystal/eigen.h; the
 * basis is orbital-major, spin fastest), by thread number `thread`; several at a time. */
void nh_weigher_take(nh_weigher *w, size_t k, int thread, size_t count, const double *s,
                     const double *vector);

#ifdef __cplusplus
}
#endif

#endif
