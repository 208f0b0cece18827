/* ranks.h - several processes that train one model (MPI, where the Makefile has found it; else there is one). */
#ifndef NH_TRAINING_RANKS_H
#define NH_TRAINING_RANKS_H

#include "base/error.h"
#include "nextham/parameters.h"

typedef struct nh_ranks {
    int rank, count; /* {0, 1}: alone, and every function below does nothing */
} nh_ranks;

/* Joins the others if the program was started by mpirun or srun; asking for that in a build without MPI is an error. */
int nh_ranks_begin(nh_ranks *out, nh_error *err);
void nh_ranks_end(const nh_ranks *r);
/* Ends all processes; for failures that the others do not know of. Does not return unless alone. */
void nh_ranks_abort(const nh_ranks *r, int status);

/* x[i] <- sum over the ranks, the same bits on all of them. */
void nh_ranks_sum(const nh_ranks *r, size_t n, double *x);
int nh_ranks_sum_weights(const nh_ranks *r, const nh_params *p, nh_weights *w, nh_error *err);
/* Largest of the ranks' numbers. */
int nh_ranks_max(const nh_ranks *r, int x);

#endif
