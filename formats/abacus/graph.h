/* graph.h - a structure and the sparse matrices of ABACUS put together as a graph. */
#ifndef NH_FORMATS_ABACUS_GRAPH_H
#define NH_FORMATS_ABACUS_GRAPH_H

#include "base/threads.h"
#include "crystal/graph.h"

/* Receives remarks: what was detected (warning = false), and what is odd but no error (true). */
typedef struct nh_log {
    void (*say)(void *context, bool warning, const char *text);
    void *context;
} nh_log;

typedef struct nh_abacus_sources {
    const char *h0[2],
        *label[2]; /* file names, NULL where absent; two of a kind: spin up and down (nspin 2) */
    const char *overlap;
    const double *radius; /* [n_species] Å, beyond which orbitals are zero; NaN or NULL where not known */
} nh_abacus_sources;

/* Pairs: the union of all non-zero blocks and of all pairs within the cutoff. Matrices in eV (factor
 * `rydberg`), file order, spin = 4 where any Hamiltonian has spin (and where there is none at all), else 1.
 * The structure must have its shells; it is taken over (emptied) where this succeeds. Checks: dimensions
 * against the basis, H(R) = H(-R)^dagger within 1e-6 Ry, S real and symmetric, S_ud = 0, S_uu = S_dd, on-site
 * blocks of S those of orthogonal harmonics, no overlap beyond the radii. The files are read side by side by
 * `threads` (may be NULL). */
int nh_abacus_graph(nh_structure *s, const nh_abacus_sources *sources, double cutoff, double rydberg,
                    nh_threads *threads, const nh_log *messages, nh_graph **out, nh_error *err);

#endif
