/* kspace.h - what the k-space terms of the loss need of a crystal: eigenvectors of its label Hamiltonian on a
 * mesh of k-points, the split of the bands into P and Q, and the file that keeps them (docs/network.md
 * 6.1).
 *
 * A shifted mesh has one random common shift, a function of the crystal alone: runs with different seeds may
 * share a file at the same time. It misses Gamma and the borders of the zone, where S is nearly singular and
 * ghost states occur; a mesh centred at Gamma has these points. Eigenvectors come from *all* pairs of the
 * file, so that they are S-normalised exactly. They are stored in single precision, as the published code has
 * them, and used in double. */
#ifndef NH_TRAINING_KSPACE_H
#define NH_TRAINING_KSPACE_H

#include "base/threads.h"
#include "crystal/graph.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum nh_kcut {
    NH_KCUT_GAMMA, /* the same number of bands at every k: 1 less than the index, from 0, of the first band at
                      Gamma with E >= E_F + energy_cut */
    NH_KCUT_PER_K  /* at each k the bands with E < E_F + energy_cut */
} nh_kcut;

typedef enum nh_kshift {
    NH_KSHIFT_RANDOM, /* one mesh, shifted */
    NH_KSHIFT_GAMMA,  /* one mesh, centred at Gamma */
    NH_KSHIFT_BOTH    /* the one, then the other */
} nh_kshift;

typedef struct nh_kspace_options {
    int mesh[3];
    double energy_cut; /* eV above the Fermi level */
    nh_kcut cut;
    nh_kshift shift;
} nh_kspace_options;

size_t nh_kspace_points(const nh_kspace_options *o); /* of a crystal */

/* The bands at one k-point, as the loss takes them. Rows of `vector` are bands, ascending in energy, columns
 * the orbitals of the cell, spin fastest (fourier.h); C^dagger S(k) C = 1. A crystal without spin has
 * orbitals alone. */
typedef struct nh_kstates {
    double k[3]; /* fractional */
    size_t n_band, n_basis;
    size_t n_p;           /* bands of P; the rest is Q */
    const double *vector; /* [n_band][n_basis][2] */
} nh_kstates;

/* Energies energy[n][basis] and eigenvectors vector[n][basis][basis][2] of g's label at n k-points k[n][3];
 * either may be NULL. g is not changed. Fails without label or overlap, and where S(k) is not positive
 * definite. */
int nh_kspace_solve(const nh_graph *g, size_t n, const double *k, nh_threads *threads, double *energy,
                    double *vector, nh_error *err);

/* A crystal's states in a file. */
typedef struct nh_kcache nh_kcache;

/* Opens the cache `path` of a crystal, or makes it first where it is absent, unreadable or of another label,
 * overlap, mesh or version (a hash of all of them says so): written beside and renamed, so that a killed run
 * leaves no half-written file, and several processes may make the same one. E_F is g's, or that of g's
 * electrons on this mesh where g has none. The energy cut is applied on opening and is not part of the file.
 * Keeps `path`, energies and the splits in memory, no vectors and no open file. *made (may be NULL): it was
 * computed now. */
int nh_kcache_open(const char *path, const nh_graph *g, const nh_kspace_options *o, nh_threads *threads,
                   nh_kcache **out, bool *made, nh_error *err);
void nh_kcache_free(nh_kcache *c);          /* NULL is fine */
size_t nh_kcache_count(const nh_kcache *c); /* k-points */
double nh_kcache_efermi(const nh_kcache *c);
/* Reads the states at k-point i: *out with `vector` in a buffer that the caller frees (free(*buffer)). */
int nh_kcache_read(const nh_kcache *c, size_t i, nh_kstates *out, double **buffer, nh_error *err);

#endif
