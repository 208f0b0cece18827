/* correction.h - H0 plus the correction D of the network: the prediction (docs/network.md 5). */
#ifndef NH_ENSEMBLE_CORRECTION_H
#define NH_ENSEMBLE_CORRECTION_H

#include "crystal/graph.h"

/* Adds d[n], real, eV of the graph's matrices, to the elements first..first+n-1 of all pairs (nh_pairs.start) of
 * h_pred[n_spin][n_elem][2]: to the real parts of uu and dd. Calls for elements that do not overlap may run side by side. */
void nh_add_correction(const nh_graph *g, size_t first, size_t n, const double *d, double *h_pred);

#endif
