/* ranks.h - how several processes (base/ranks.h) train one model. */
#ifndef NH_TRAINING_RANKS_H
#define NH_TRAINING_RANKS_H

#include "base/ranks.h"
#include "nextham/parameters.h"

/* How the processes share the work: groups of `crystal.count` of them have a crystal at a time, and a part of
 * the sub-models each. */
typedef struct nh_team {
    nh_ranks all;
    nh_ranks crystal; /* the group of this process */
    nh_ranks peers;   /* the processes with the same sub-models, one in each group */
} nh_team;
#define NH_ALONE ((nh_team){{0, 1, 0}, {0, 1, 0}, {0, 1, 0}})

/* Groups of `a_crystal` processes, which must divide the number of all and be at most n_part (0: as many as
 * n_part sub-models can use). Called by all processes; all fail alike. One process alone is never an
 * error. */
int nh_team_new(nh_ranks all, size_t a_crystal, size_t n_part, nh_team *out, nh_error *err);
int nh_ranks_sum_weights(const nh_ranks *r, const nh_params *p, nh_weights *w, nh_error *err);
/* All get the numbers that rank `owner` has. */
void nh_ranks_share_weights(const nh_ranks *r, int owner, const nh_params *p, nh_weights *w);

#endif
