/* ranks.h - several processes that train one model (MPI, where the Makefile has found it; else there is one). */
#ifndef NH_TRAINING_RANKS_H
#define NH_TRAINING_RANKS_H

#include "base/error.h"
#include "nextham/parameters.h"

typedef struct nh_ranks {
    int rank, count; /* {0, 1}: alone, and every function below does nothing */
    int group;       /* MPI's number of it */
} nh_ranks;

/* How the processes share the work: groups of `crystal.count` of them have a crystal at a time, and a part of the
 * sub-models each. */
typedef struct nh_team {
    nh_ranks all;
    nh_ranks crystal; /* the group of this process */
    nh_ranks peers;   /* the processes of equal place in all groups, which have the same sub-models */
} nh_team;
#define NH_ALONE ((nh_team){{0, 1, 0}, {0, 1, 0}, {0, 1, 0}})

/* Joins the others if the program was started by mpirun or srun; asking for that in a build without MPI is an error. */
int nh_ranks_begin(nh_ranks *out, nh_error *err);
void nh_ranks_end(const nh_ranks *r);
/* Groups of `a_crystal` processes (0: of as many as are of use for n_part sub-models), which must divide the number of all
 * and be at most n_part. Called by all of them, which then fail alike. One process alone is never an error. */
int nh_team_new(nh_ranks all, size_t a_crystal, size_t n_part, nh_team *out, nh_error *err);
/* Ends all processes; for failures that the others do not know of. Does not return unless alone. */
void nh_ranks_abort(const nh_ranks *r, int status);

/* x[i] <- sum over the ranks, the same bits on all of them. */
void nh_ranks_sum(const nh_ranks *r, size_t n, double *x);
int nh_ranks_sum_weights(const nh_ranks *r, const nh_params *p, nh_weights *w, nh_error *err);
/* All get the numbers that rank `owner` has. */
void nh_ranks_share_weights(const nh_ranks *r, int owner, const nh_params *p, nh_weights *w);
/* Largest of the ranks' numbers. */
int nh_ranks_max(const nh_ranks *r, int x);

#endif
