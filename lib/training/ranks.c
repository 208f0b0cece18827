#include "training/ranks.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

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
    *out = NH_ALONE.all;
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

int nh_team_new(nh_ranks all, size_t a_crystal, size_t n_part, nh_team *out, nh_error *err)
{
    const size_t count = (size_t)all.count;
    *out = NH_ALONE;
    if (count == 1) return 0;
    size_t size = a_crystal ? a_crystal : n_part;
    while (!a_crystal && count % size != 0)
        size--;
    if (count % size != 0)
        return nh_fail(err, "parallel: %zu processes a crystal do not divide the %zu that there are", size, count);
    if (size > n_part)
        return nh_fail(err, "parallel: %zu processes a crystal, but only %zu sub-models", size, n_part);
    out->all = out->crystal = out->peers = all;
    if (size == 1) out->crystal = NH_ALONE.crystal;
    if (size == count) out->peers = NH_ALONE.peers;
#ifdef NH_MPI
    if (size > 1 && size < count) { /* MPI frees the groups at its end */
        MPI_Comm crystal, peers;
        MPI_Comm_split(MPI_Comm_f2c(all.group), all.rank / (int)size, all.rank, &crystal);
        MPI_Comm_split(MPI_Comm_f2c(all.group), all.rank % (int)size, all.rank, &peers);
        out->crystal = ranks_of(crystal);
        out->peers = ranks_of(peers);
    }
#endif
    return 0;
}

void nh_ranks_end(const nh_ranks *r)
{
#ifdef NH_MPI
    if (r->count > 1) MPI_Finalize();
#else
    (void)r;
#endif
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

int nh_ranks_sum_weights(const nh_ranks *r, const nh_params *p, nh_weights *w, nh_error *err)
{
    if (r->count == 1) return 0;
    size_t count = 0, at;
    for (size_t i = 0; i < p->count; i++)
        count += (w->real ? (void *)w->real[i] : (void *)w->single[i]) ? p->param[i].count : 0;
    double *all = NH_ARRAY(double, count);
    if (!all) return nh_fail_memory(err, "gradients");
    for (int back = 0; back < 2; back++) {
        at = 0;
        for (size_t i = 0; i < p->count; i++) {
            if (!(w->real ? (void *)w->real[i] : (void *)w->single[i])) continue;
            for (size_t k = 0; k < p->param[i].count; k++, at++) {
                if (!back)
                    all[at] = w->real ? w->real[i][k] : (double)w->single[i][k];
                else if (w->real)
                    w->real[i][k] = all[at];
                else
                    w->single[i][k] = (float)all[at];
            }
        }
        if (!back) nh_ranks_sum(r, count, all);
    }
    free(all);
    return 0;
}

void nh_ranks_share_weights(const nh_ranks *r, int owner, const nh_params *p, nh_weights *w)
{
#ifdef NH_MPI
    for (size_t i = 0; r->count > 1 && i < p->count; i++) {
        char *values = w->real ? (char *)w->real[i] : (char *)w->single[i];
        const size_t bytes = p->param[i].count * (w->real ? sizeof(double) : sizeof(float));
        for (size_t at = 0; values && at < bytes; at += PIECE)
            MPI_Bcast(values + at, (int)(bytes - at < PIECE ? bytes - at : PIECE), MPI_BYTE, owner,
                      MPI_Comm_f2c(r->group));
    }
#else
    (void)r;
    (void)owner;
    (void)p;
    (void)w;
#endif
}
