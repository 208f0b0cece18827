/* base.h - what the corrections of the sub-models are added to. */
#ifndef NH_ENSEMBLE_BASE_H
#define NH_ENSEMBLE_BASE_H

#include "crystal/graph.h"
#include "nextham/config.h"

/* Whether this distance (Å, rounded) is in the range of a sub-model. */
bool nh_answered(const nh_config *c, double distance);

/* matrix[n_spin][n_elem][2], H0 of the graph's file, becomes the base of the prediction (network/OPTIONS.md
 * 5): by the rule `h0` as it is, its mean with its time reversal, or zero; with `target: hamiltonian` the
 * real parts of uu and dd are zero in the pairs within the range of a sub-model. */
void nh_base(const nh_config *c, const nh_graph *g, double *matrix);

#endif
