/* floor.h - the part of H that an architecture cannot correct, whatever its weights (network/OPTIONS.md
 * 1.1). */
#ifndef NH_ENSEMBLE_FLOOR_H
#define NH_ENSEMBLE_FLOOR_H

#include "crystal/graph.h"
#include "nextham/config.h"

/* H0 plus the best correction that a network of this configuration can make: one real matrix D for uu and dd,
 * the same in both; nothing in ud, du and imaginary parts; nothing in pairs outside the sub-models' ranges;
 * of D only what the output irreps that can be non-zero make by the rule `reconstruct`. Best: the orthogonal
 * projection P, block by block, of reference + mu S - H0, with the shift mu of the potential (gauge.h) for
 * which the least squares of what remains over the pairs that count, (1-P)(reference - H0 + mu S), are least.
 * H0 as base.h has it (`h0` = NULL: zero). `h0`, `reference` and *out: [n_spin][n_elem][2], eV;
 * pair[n_pair] as in nh_gauge; without an overlap mu = 0. The caller frees *out. Error where an element has
 * more shells than the configuration's basis. */
int nh_floor(const nh_config *c, const nh_graph *g, const double *h0, const double *reference, size_t n_pair,
             const size_t *pair, double **out, nh_error *err);

#endif
