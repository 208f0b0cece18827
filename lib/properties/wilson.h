/* wilson.h - topology of gapped bands: Chern numbers and Z2 invariants from overlaps of neighbouring
 * k-points.
 *
 * The link from k to k + q is M_nm = <u_n(k)|u_m(k+q)>, which needs the orbitals' matrix elements of
 * exp(-iq.r). Taken is the phase of r at the middle of two atoms a and b,
 *   M = C(k)^dagger F S(k + q/2) F C(k + q),   F = diag(exp(-iq.t_a/2)),
 * exact to first order in q but for dipoles within atoms. Nothing topological depends on it: it is the
 * overlap of the same states in a frame of orbitals that is smooth and periodic in k, deformed without
 * closing a gap (docs/physics.md 4), and C(k) has the period of the reciprocal lattice.
 *
 * Chern number of a plane: sum over its squares of the phase of the product of det M about each (T. Fukui, Y.
 * Hatsugai, H. Suzuki, J. Phys. Soc. Jpn. 74, 1674 (2005)), an integer on any mesh, and the right one on a
 * fine enough mesh. Wannier centres of a line: minus the phases of the eigenvalues of the product of the
 * unitary parts of M along it, over 2 pi. Z2 of a plane that time reversal maps to itself: how often the
 * middle of their largest gap passes a centre from k = 0 to 1/2, modulo 2 (A. A. Soluyanov, D. Vanderbilt,
 * Phys. Rev. B 83, 235401 (2011)). */
#ifndef NH_PROPERTIES_WILSON_H
#define NH_PROPERTIES_WILSON_H

#include "base/progress.h"
#include "crystal/fourier.h"

typedef struct nh_wilson_task {
    const char *name; /* of the matrices, for messages */
    const nh_fourier *fourier;
    const nh_structure *structure;
    size_t occupied; /* bands */
    /* The plane k[normal] = at (fractional). Lines along axis (normal + 1) % 3 with `points` k-points each,
     * `lines` of them along axis (normal + 2) % 3: over the zone, or from 0 to 1/2, both included. */
    int normal;
    double at;
    size_t points, lines;
    /* With `half`, lines are added between two of them, down to 1/64 of their distance, until no centre
     * moves by 0.3 of the largest gap from one to the next, or comes as near to its middle. */
    bool half;
    int threads;
    nh_progress *progress; /* lines; may be NULL */
} nh_wilson_task;

typedef struct nh_wilson {
    size_t lines, occupied;
    double *where;  /* [lines] fractional coordinate of each line across the others, ascending; owned */
    double *centre; /* [lines][occupied] of each line, ascending in [0, 1), in units of the lattice vector
                       along it; owned */
    double *flux;   /* [lines] Berry flux between a line and the next (periodic), over 2 pi; NULL with
                       `half`; owned */
    double chern;   /* their sum; NaN with `half` */
    double gap;     /* eV, the smallest direct gap above the occupied bands */
    double k_gap[3];
    double link;      /* smallest singular value of all links: near 1 on a fine mesh, 0 where states are lost
                    between k-points */
    size_t unsettled; /* with `half`: steps between lines that stayed too long */
} nh_wilson;

/* Fails where the gap closes (below 1e-6 eV). */
int nh_wilson_new(const nh_wilson_task *task, nh_wilson *out, nh_error *err);
void nh_wilson_free(nh_wilson *w);

/* Z2 of a plane with `half`. *margin: smallest distance of the middle of the largest gap of a line from a
 * centre of the next, over the gap: 1/2 at best, below 0.3 only where steps are unsettled. */
int nh_wilson_z2(const nh_wilson *w, double *margin);

#endif
