#include "base/ranks.h"

#include <stdbool.h>
#include <stdlib.h>

#ifdef NH_MPI
#include <mpi.h>
#endif

/* Started by a launcher with more than one process. */
static bool launched(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_SIZE"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *text = getenv(names[i]);
        if (text && atoi(text) > 1) return true;
    }
    return false;
}

enum { PIECE = 1 << 24 }; /* MPI counts with int */

#ifdef NH_MPI
static nh_ranks ranks_of(MPI_Comm group)
{
    nh_ranks r = {.group = MPI_Comm_c2f(group)};
    MPI_Comm_rank(group, &r.rank);
    MPI_Comm_size(group, &r.count);
    return r;
}
#endif

int nh_ranks_begin(nh_ranks *out, nh_error *err)
{
    *out = (nh_ranks){0, 1, 0};
    if (!launched()) return 0;
#ifdef NH_MPI
    int level;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level) != MPI_SUCCESS ||
        level < MPI_THREAD_FUNNELED)
        return nh_fail(err, "MPI does not start with threads");
    *out = ranks_of(MPI_COMM_WORLD);
    return 0;
#else
    return nh_fail(
        err, "started as one of several processes, but built without MPI (make needs pkg-config ompi-c)");
#endif
}

void nh_ranks_end(const nh_ranks *r)
{
#ifdef NH_MPI
    if (r->count > 1) MPI_Finalize();
#else
    (void)r;
#endif
}

int nh_ranks_here(const nh_ranks *r)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS"};
    for (size_t i = 0; i < sizeof names / sizeof *names && r->count > 1; i++) {
        const char *text = getenv(names[i]);
        const int n = text != NULL ? atoi(text) : 0;
        if (n >= 1 && n <= r->count) return n;
    }
    return r->count;
}

void nh_ranks_abort(const nh_ranks *r, int status)
{
#ifdef NH_MPI
    if (r->count > 1) MPI_Abort(MPI_COMM_WORLD, status);
#else
    (void)r;
    (void)status;
#endif
}

void nh_ranks_sum(const nh_ranks *r, size_t n, double *x)
{
#ifdef NH_MPI
    /* Summed on one rank and sent to all: the same bits everywhere, whatever the library's algorithm. */
    if (r->count == 1) return;
    const MPI_Comm group = MPI_Comm_f2c(r->group);
    for (size_t at = 0; at < n; at += PIECE) {
        const int count = (int)(n - at < PIECE ? n - at : PIECE);
        if (r->rank == 0)
            MPI_Reduce(MPI_IN_PLACE, x + at, count, MPI_DOUBLE, MPI_SUM, 0, group);
        else
            MPI_Reduce(x + at, NULL, count, MPI_DOUBLE, MPI_SUM, 0, group);
        MPI_Bcast(x + at, count, MPI_DOUBLE, 0, group);
    }
#else
    (void)r;
    (void)n;
    (void)x;
#endif
}

int nh_ranks_max(const nh_ranks *r, int x)
{
#ifdef NH_MPI
    int most = x;
    if (r->count > 1) MPI_Allreduce(&x, &most, 1, MPI_INT, MPI_MAX, MPI_Comm_f2c(r->group));
    return most;
#else
    (void)r;
    return x;
#endif
}

nh_ranks nh_ranks_split(const nh_ranks *r, int part)
{
#ifdef NH_MPI
    if (r->count == 1) return *r;
    MPI_Comm group; /* MPI frees it at its end */
    MPI_Comm_split(MPI_Comm_f2c(r->group), part, r->rank, &group);
    return ranks_of(group);
#else
    (void)part;
    return *r;
#endif
}

void nh_ranks_share(const nh_ranks *r, int owner, size_t bytes, void *values)
{
#ifdef NH_MPI
    for (size_t at = 0; r->count > 1 && at < bytes; at += PIECE)
        MPI_Bcast((char *)values + at, (int)(bytes - at < PIECE ? bytes - at : PIECE), MPI_BYTE, owner,
                  MPI_Comm_f2c(r->group));
#else
    (void)r;
    (void)owner;
    (void)bytes;
    (void)values;
#endif
}

void nh_ranks_bring(const nh_ranks *r, int owner, size_t bytes, void *values)
{
#ifdef NH_MPI
    const MPI_Comm group = MPI_Comm_f2c(r->group);
    for (size_t at = 0; owner != 0 && at < bytes; at += PIECE) {
        const int count = (int)(bytes - at < PIECE ? bytes - at : PIECE);
        if (r->rank == owner)
            MPI_Send((char *)values + at, count, MPI_BYTE, 0, 0, group);
        else
            MPI_Recv((char *)values + at, count, MPI_BYTE, owner, 0, group, MPI_STATUS_IGNORE);
    }
#else
    (void)r;
    (void)owner;
    (void)bytes;
    (void)values;
#endif
}

int nh_ranks_agree(const nh_ranks *r, int status, nh_error *err)
{
    if (r->count == 1) return status;
    const int most = nh_ranks_max(r, status != 0 ? r->count - r->rank : 0);
    if (most == 0) return 0;
    nh_ranks_share(r, r->count - most, sizeof err->text, err->text);
    return status != 0 ? status : -1;
}
