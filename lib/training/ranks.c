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

int nh_ranks_begin(nh_ranks *out, nh_error *err)
{
    *out = (nh_ranks){0, 1};
    if (!launched()) return 0;
#ifdef NH_MPI
    int level;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level) != MPI_SUCCESS ||
        level < MPI_THREAD_FUNNELED)
        return nh_fail(err, "MPI does not start with threads");
    MPI_Comm_rank(MPI_COMM_WORLD, &out->rank);
    MPI_Comm_size(MPI_COMM_WORLD, &out->count);
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
    if (r->rank == 0)
        MPI_Reduce(MPI_IN_PLACE, x, (int)n, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
    else
        MPI_Reduce(x, NULL, (int)n, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
    MPI_Bcast(x, (int)n, MPI_DOUBLE, 0, MPI_COMM_WORLD);
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
    if (r->count > 1) MPI_Allreduce(&x, &most, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    return most;
#else
    (void)r;
    return x;
#endif
}

int nh_ranks_sum_weights(const nh_ranks *r, const nh_params *p, nh_weights *w, nh_error *err)
{
    if (r->count == 1) return 0;
    size_t count = 0, at = 0;
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
        enum { PIECE = 1 << 24 }; /* MPI counts with int */
        for (at = 0; !back && at < count; at += PIECE)
            nh_ranks_sum(r, count - at < PIECE ? count - at : PIECE, all + at);
    }
    free(all);
    return 0;
}
