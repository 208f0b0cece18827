/* gauge.h - Gauge MAE: the distance of two Hamiltonians up to a shift mu*S of the zero of energy.
 *
 * A shift of the potential by a constant mu changes H by mu*S and nothing else, so A and H are the same
 * Hamiltonian where A - H = mu*S. Both are complex matrices of four spin blocks uu, ud, du, dd; S stands in
 * uu and dd, and is zero in ud and du. A graph of n_spin = 1 is counted as the four-block matrix it stands
 * for: dd = uu, ud = du = 0.
 *
 * Two rules for mu (d = A - H, elements k of the counted pairs):
 *   NH_GAUGE_L2  the published code's (docs/network.md 8): mu = Re sum d_k S_k / (sum S_k^2 + 1e-6) over
 * the four blocks, one mu for every number of the comparison; means are sums divided by (count + 1e-7).
 *   NH_GAUGE_L1  the paper's: the mu for which the mean is smallest. For a real part that is the weighted
 * median of d/S with weights |S|; for the modulus the minimum of a convex function of one variable. In a
 * table by spin each number has its own mu; in tables by distance, shell pair or pair one mu, that of the
 * modulus over all counted elements and the four blocks, stands for all, so that the rows add up to the
 * total. Imaginary parts, ud and du have no gauge term (S is real and spin-diagonal); their mu is 0 under
 * NH_GAUGE_L1. */
#ifndef NH_CRYSTAL_GAUGE_H
#define NH_CRYSTAL_GAUGE_H

#include "crystal/graph.h"

typedef enum nh_gauge_rule { NH_GAUGE_L1 = 0, NH_GAUGE_L2 = 1 } nh_gauge_rule;

enum { NH_GAUGE_UU = 0, NH_GAUGE_UD, NH_GAUGE_DU, NH_GAUGE_DD, NH_GAUGE_OVERALL, NH_GAUGE_N_REGION };
enum { NH_GAUGE_REAL = 0, NH_GAUGE_IMAGINARY, NH_GAUGE_COMPLEX, NH_GAUGE_N_PART };

typedef struct nh_gauge_number {
    double mae; /* eV; NaN where there is no element */
    double mu;  /* eV */
} nh_gauge_number;

typedef struct nh_gauge_row {
    size_t n_elem;                         /* elements behind the means, spin blocks counted */
    nh_gauge_number part[NH_GAUGE_N_PART]; /* mean |Re|, |Im| and modulus of d - mu*S */
} nh_gauge_row;

/* One comparison; borrows everything. */
typedef struct nh_gauge {
    const nh_graph *graph;   /* pairs, overlap, n_spin */
    const double *a;         /* [n_spin][n_elem][2] eV; NULL is the zero matrix */
    const double *reference; /* the same shape */
    size_t n_pair;           /* pairs that count */
    const size_t *pair; /* [n_pair] their indices (as nh_graph_edges gives); NULL: the first n_pair pairs */
    nh_gauge_rule rule;
} nh_gauge;

/* Rows uu, ud, du, dd, overall. Errors: no overlap, no elements, memory. */
int nh_gauge_by_spin(const nh_gauge *q, nh_gauge_row row[NH_GAUGE_N_REGION], nh_error *err);

/* Rows for limit[i] <= distance < limit[i+1], i < n, Å, distances rounded as everywhere (pairs.h); limit[n+1]
 * ascending. Counted pairs outside all of them still count for mu. */
int nh_gauge_by_distance(const nh_gauge *q, size_t n, const double *limit, nh_gauge_row *row, nh_error *err);

/* Row l1*NH_GAUGE_MAX_L + l2 for the elements between shells of degree l1 (row) and l2 (column). */
enum { NH_GAUGE_MAX_L = 16 };
int nh_gauge_by_shell(const nh_gauge *q, nh_gauge_row row[NH_GAUGE_MAX_L * NH_GAUGE_MAX_L], nh_error *err);

/* Row k for the elements of counted pair k: row[n_pair]. */
int nh_gauge_by_pair(const nh_gauge *q, nh_gauge_row *row, nh_error *err);

/* The blocks of `matrix`, laid out for the pairs of `from`, copied into the layout of `to`: for each of the
 * listed pairs of `to` (as in nh_gauge) the block of the same (i, j, R); the rest is zero. matrix:
 * [n_spin][n_elem][2], or [n_elem] where `overlap` is set. *out is allocated, the caller frees. Error where
 * the crystals differ (lattice or positions by more than 1e-5 Å, elements, shells, n_spin) or a pair is
 * missing. */
int nh_gauge_align(const nh_graph *to, const nh_graph *from, const double *matrix, bool overlap,
                   size_t n_pair, const size_t *pair, double **out, nh_error *err);

#endif
