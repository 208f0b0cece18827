#include "properties/sweep.h"

#include "base/memory.h"
#include "crystal/spectrum.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>

/* From this size on LAPACK's own threads pay, and several k-points at a time would take too much memory. */
enum { LARGE_BASIS = 1500 };

/* What a thread has. */
typedef struct worker {
    nh_eigen *eigen;
    double *h, *s, *energy, *vector; /* [batch][basis][basis][2] twice; [basis]; [basis][basis][2] */
} worker;

/* A chunk is a fixed number of k-points that one thread sums in their order; chunks are added in order,
 * too. */
typedef struct sweeper {
    const nh_sweep *task;
    size_t batch, basis, first, end; /* this rank's k-points: first .. end-1 */
    size_t at;                       /* first k-point of the round */
    int n_thread;
    worker *worker;
    double *sum; /* [n_thread][n_sum] of the chunks of a round */
    nh_error *error;
} sweeper;

int nh_sweep_threads(const nh_sweep *s)
{
    const bool large = nh_fourier_basis(s->fourier) >= LARGE_BASIS;
    return large ? 1 : s->n_k < (size_t)s->threads ? (int)s->n_k : s->threads;
}

static int solve_one(const sweeper *v, worker *w, size_t index, size_t offset, int thread, double *sum,
                     nh_error *err)
{
    const nh_sweep *t = v->task;
    const nh_band_choice all = {.kind = NH_BANDS_ALL};
    const size_t size = 2 * v->basis * v->basis;
    size_t rank, first, count;
    const double *k = t->k + 3 * index;
    if (nh_eigen_solve(w->eigen, w->h + offset * size, w->s + offset * size, &all, v->basis, &rank, w->energy,
                       &first, &count, w->vector, err) != 0 ||
        t->take(t->context, index, thread, w->energy, w->vector, sum, err) != 0)
        return nh_fail_at(err, "%s: k-point %zu (%g %g %g)", t->name, index + 1, k[0], k[1], k[2]);
    return 0;
}

static void run_chunk(void *context, size_t index, int thread)
{
    const sweeper *v = context;
    const nh_sweep *t = v->task;
    worker *w = &v->worker[thread];
    nh_error *err = &v->error[index];
    double *sum = v->sum + index * t->n_sum;
    const size_t first = v->at + index * v->batch, n = v->end - first < v->batch ? v->end - first : v->batch;
    memset(sum, 0, t->n_sum * sizeof *sum);
    err->text[0] = '\0';
    int status = nh_fourier_at(t->fourier, n, t->k + 3 * first, w->h, w->s, err);
    for (size_t i = 0; i < n && status == 0; i++)
        status = solve_one(v, w, first + i, i, thread, sum, err);
    if (status == 0) nh_progress_add(t->progress, n);
}

static int sweeper_new(const nh_sweep *t, sweeper *v, nh_error *err)
{
    const size_t basis = nh_fourier_basis(t->fourier), size = 2 * basis * basis;
    const nh_ranks alone = {0, 1, 0}, *r = t->ranks != NULL ? t->ranks : &alone;
    *v = (sweeper){
        .task = t, .basis = basis, .batch = nh_fourier_batch(t->fourier), .n_thread = nh_sweep_threads(t)};
    v->first = t->n_k * (size_t)r->rank / (size_t)r->count;
    v->end = t->n_k * ((size_t)r->rank + 1) / (size_t)r->count;
    const size_t n = (size_t)v->n_thread;
    size_t room;
    v->worker = NH_ARRAY(worker, n);
    v->error = NH_ARRAY(nh_error, n);
    v->sum = nh_size_mul(n, t->n_sum, &room) ? NH_ARRAY(double, room) : NULL;
    if (v->worker == NULL || v->error == NULL || v->sum == NULL)
        return nh_fail_memory(err, "the sums over k");
    for (size_t i = 0; i < n; i++) {
        worker *w = &v->worker[i];
        w->h = nh_calloc_aligned(v->batch, size * sizeof *w->h);
        w->s = nh_calloc_aligned(v->batch, size * sizeof *w->s);
        w->energy = NH_ARRAY(double, basis);
        w->vector = nh_calloc_aligned(1, size * sizeof *w->vector);
        if (w->h == NULL || w->s == NULL || w->energy == NULL || w->vector == NULL)
            return nh_fail_memory(err, "the eigenproblem");
        if (nh_eigen_new(basis, 0, true, &w->eigen, err) != 0) return -1;
    }
    return 0;
}

static void sweeper_free(sweeper *v)
{
    for (size_t i = 0; v->worker != NULL && i < (size_t)v->n_thread; i++) {
        worker *w = &v->worker[i];
        nh_eigen_free(w->eigen);
        free(w->h);
        free(w->s);
        free(w->energy);
        free(w->vector);
    }
    free(v->worker);
    free(v->error);
    free(v->sum);
}

static int run_rounds(sweeper *v, nh_threads *threads, double *total, nh_error *err)
{
    const nh_sweep *t = v->task;
    for (v->at = v->first; v->at < v->end;) {
        const size_t left = (v->end - v->at + v->batch - 1) / v->batch,
                     n = left < (size_t)v->n_thread ? left : (size_t)v->n_thread;
        nh_parallel_for(threads, n, run_chunk, v);
        for (size_t i = 0; i < n; i++) {
            if (v->error[i].text[0] != '\0') return nh_fail(err, "%s", v->error[i].text);
            for (size_t x = 0; x < t->n_sum; x++)
                total[x] += v->sum[i * t->n_sum + x];
        }
        v->at += n * v->batch;
    }
    return 0;
}

int nh_sweep_run(const nh_sweep *task, double *total, nh_error *err)
{
    sweeper v;
    nh_threads *threads = NULL;
    for (size_t x = 0; x < task->n_sum; x++)
        total[x] = 0;
    int status = sweeper_new(task, &v, err);
    if (status == 0) status = nh_threads_new(v.n_thread, &threads, err);
    if (status == 0 && v.n_thread < task->threads && v.basis >= LARGE_BASIS)
        openblas_set_num_threads(task->threads);
    if (status == 0) status = run_rounds(&v, threads, total, err);
    nh_threads_free(threads);
    sweeper_free(&v);
    if (status == 0 && task->ranks != NULL) nh_ranks_sum(task->ranks, task->n_sum, total);
    return status;
}

int nh_sweep_energies(const nh_sweep *s, const nh_kpoints *k, nh_bands *out, nh_error *err)
{
    const size_t basis = nh_fourier_basis(s->fourier);
    const nh_ranks alone = {0, 1, 0}, *r = s->ranks != NULL ? s->ranks : &alone;
    const size_t first = k->count * (size_t)r->rank / (size_t)r->count,
                 end = k->count * ((size_t)r->rank + 1) / (size_t)r->count;
    nh_spectrum v;
    if (nh_bands_new(k, basis, out, err) != 0) return -1;
    if (nh_spectrum_new(end - first, basis, &v, err) != 0) {
        nh_bands_free(out);
        return -1;
    }
    const nh_spectrum_task task = {.name = s->name,
                                   .n_k = end - first,
                                   .basis = basis,
                                   .k = k->k + 3 * first,
                                   .fourier = s->fourier,
                                   .choice = {.kind = NH_BANDS_ALL},
                                   .threads = s->threads,
                                   .progress = s->progress};
    const int status = end > first ? nh_spectrum_solve(&task, &v, err) : 0;
    memset(out->energy, 0, k->count * basis * sizeof *out->energy);
    memcpy(out->energy + first * basis, v.energy, (end - first) * basis * sizeof *out->energy);
    if (status == 0) nh_ranks_sum(r, k->count * basis, out->energy);
    nh_spectrum_free(&v);
    if (status != 0) nh_bands_free(out);
    return status;
}
