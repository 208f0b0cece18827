/* graph.h - a structure and the sparse matrices of ABACUS put together as a graph. */
#ifndef NH_FORMATS_ABACUS_GRAPH_H
#define NH_FORMATS_ABACUS_GRAPH_H

#include "base/threads.h"
#include "crystal/graph.h"

#include <stdbool.h>

/* Receives remarks: what was detected (warning = false), and what is odd but no error (true). */
typedef struct nh_log {
    void (*say)(void *context, bool warning, const char *text);
    void *context;
} nh_log;
/* Hands a remark on. Nothing where `messages`, or its function, is NULL. */
__attribute__((format(printf, 3, 4))) void nh_log_say(const nh_log *messages, bool warning,
                                                      const char *format, ...);

typedef struct nh_abacus_sources {
    /* File names, NULL where absent; two of a kind: spin up and down (nspin 2). position: r(R). */
    const char *h0[2], *label[2], *overlap, *position;
    /* Ionic step of label, overlap and position, from 1. 0: a file with several of them is refused, unless
     * its header has the structure. */
    long step;
    bool gamma_only;      /* INPUT says so: matrices with the cell 0 0 0 alone are folded, and refused */
    const double *radius; /* [n_species] Å, beyond which orbitals are zero; NaN or NULL where not known */
} nh_abacus_sources;

/* Pairs: the union of all non-zero blocks and of all pairs within the cutoff. Matrices in eV (factor
 * `rydberg`), file order, spin = 4 where any Hamiltonian has spin (and where there is none at all), else 1.
 * The structure must have its shells; it is taken over (emptied) where this succeeds. Checks: dimensions
 * against the basis, H(R) = H(-R)^dagger within 1e-6 Ry, S real and symmetric, S_ud = 0, S_uu = S_dd, on-site
 * blocks of S those of orthogonal harmonics, no overlap beyond the radii, the crystal in the headers of
 * dialect C that of the structure (atoms are moved by lattice vectors onto it), no gamma_only matrices. The
 * files are read side by side by `threads` (may be NULL). */
int nh_abacus_graph(nh_structure *s, const nh_abacus_sources *sources, double cutoff, double rydberg,
                    nh_threads *threads, const nh_log *messages, nh_graph **out, nh_error *err);

#endif
