/* base.h - what the sub-models' answers are added to. */
#ifndef NH_ENSEMBLE_BASE_H
#define NH_ENSEMBLE_BASE_H

#include "crystal/graph.h"
#include "nextham/config.h"

/* Whether some sub-model answers for pairs at this distance (Å, rounded). */
bool nh_answered(const nh_config *c, double distance);

/* matrix[n_spin][n_elem][2], H0 of the graph's file, becomes the base of the prediction (network/OPTIONS.md 5): by the rule
 * `h0` as it is, its mean with its time reversal, or zero; with `target: hamiltonian` the real parts of uu and dd are zero
 * in the pairs that some sub-model answers for. */
void nh_base(const nh_config *c, const nh_graph *g, double *matrix);

#endif
