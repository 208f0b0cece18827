/* ranks.h - several processes that work together (MPI, where the Makefile has found it; else there is
 * one). */
#ifndef NH_BASE_RANKS_H
#define NH_BASE_RANKS_H

#include "base/error.h"

#include <stddef.h>

typedef struct nh_ranks {
    int rank, count; /* {0, 1}: alone, and every function below does nothing */
    int group;       /* MPI's number of it */
} nh_ranks;

/* Joins the others if the program was started by mpirun or srun; in a build without MPI that is an error. */
int nh_ranks_begin(nh_ranks *out, nh_error *err);
void nh_ranks_end(const nh_ranks *r);
/* Ends all processes; for failures that the others do not know of. Does not return unless alone. */
void nh_ranks_abort(const nh_ranks *r, int status);

/* Processes on this machine, as the launcher says; where it does not, all of them. */
int nh_ranks_here(const nh_ranks *r);

/* x[i] <- sum over the ranks, the same bits on all of them. */
void nh_ranks_sum(const nh_ranks *r, size_t n, double *x);
/* Largest of the ranks' numbers. */
int nh_ranks_max(const nh_ranks *r, int x);
/* All get the bytes that rank `owner` has. */
void nh_ranks_share(const nh_ranks *r, int owner, size_t bytes, void *values);
/* Rank 0 gets the bytes that rank `owner` has; called by these two. */
void nh_ranks_bring(const nh_ranks *r, int owner, size_t bytes, void *values);
/* 0 if `status` is 0 on all ranks. Otherwise all fail, with the message of the first one that did: what a rank of status 0
 * returns is -1. */
int nh_ranks_agree(const nh_ranks *r, int status, nh_error *err);
/* Those that give the same `part`, in their order. Called by all. */
nh_ranks nh_ranks_split(const nh_ranks *r, int part);

#endif
