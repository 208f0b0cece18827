#include "crystal/spectrum.h"

#include "base/memory.h"
#include "crystal/eigen_placed.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* From this size on LAPACK's own threads pay, and several k-points at a time would take too much memory. */
enum { LARGE_BASIS = 1500 };

int nh_spectrum_new(size_t n_k, size_t basis, nh_spectrum *out, nh_error *err)
{
    size_t room;
    *out = (nh_spectrum){.n_k = n_k, .basis = basis};
    if (nh_size_mul(n_k, basis, &room)) out->energy = NH_ARRAY(double, room);
    out->first = NH_ARRAY(size_t, n_k);
    out->count = NH_ARRAY(size_t, n_k);
    out->rank = NH_ARRAY(size_t, n_k);
    out->s_smallest = NH_ARRAY(double, n_k);
    out->s_largest = NH_ARRAY(double, n_k);
    if (!out->energy || !out->first || !out->count || !out->rank || !out->s_smallest || !out->s_largest) {
        nh_spectrum_free(out);
        return nh_fail_memory(err, "band energies");
    }
    for (size_t k = 0; k < n_k; k++)
        out->s_smallest[k] = out->s_largest[k] = NAN;
    return 0;
}

void nh_spectrum_free(nh_spectrum *s)
{
    free(s->energy);
    free(s->first);
    free(s->count);
    free(s->rank);
    free(s->s_smallest);
    free(s->s_largest);
    *s = (nh_spectrum){0};
}

/* Each group of k-points is read or assembled, solved, and given away in order. */
typedef struct solver {
    const nh_spectrum_task *task;
    nh_spectrum *out;
    size_t group, n_thread; /* k-points at a time; work spaces */
    nh_threads *threads;
    nh_eigen **work; /* [n_thread]; on the device `many` instead */
    nh_eigen_many *many;
    size_t queued;   /* k-points that the device has been given */
    double *h, *s;   /* [group][basis][basis][2]; not on the device */
    double *vector;  /* [group][most][basis][2] or NULL */
    double *kept;    /* [n_thread][basis][basis][2] S(k), for `measure`; else NULL */
    nh_error *error; /* [group] */
    size_t at, end;  /* first k-point of the group; behind the last of all groups */
} solver;

/* Numbers of a k-point's vectors. */
static size_t vector_size(const solver *v)
{
    return 2 * v->task->most * v->task->basis;
}

static void clear_behind(const solver *v, size_t index)
{
    const size_t size = vector_size(v);
    for (size_t i = 2 * v->out->count[v->at + index] * v->task->basis; v->vector && i < size; i++)
        v->vector[index * size + i] = NAN;
}

static void solve_one(void *context, size_t index, int thread)
{
    solver *v = context;
    nh_spectrum *s = v->out;
    const size_t basis = v->task->basis, size = 2 * basis * basis, k = v->at + index;
    double *vector = v->vector ? v->vector + index * vector_size(v) : NULL;
    double *kept = v->kept ? v->kept + (size_t)thread * size : NULL;
    v->error[index].text[0] = '\0';
    if (kept) memcpy(kept, v->s + index * size, size * sizeof *kept); /* the solution overwrites it */
    if (nh_eigen_solve(v->work[thread], v->h + index * size, v->s + index * size, &v->task->choice,
                       v->task->most, &s->rank[k], s->energy + k * basis, &s->first[k], &s->count[k], vector,
                       &v->error[index]) == 0) {
        clear_behind(v, index);
        if (kept) v->task->measure(v->task->context, k, thread, s->count[k], kept, vector, &v->error[index]);
    }
    nh_eigen_overlap(v->work[thread], &s->s_smallest[k], &s->s_largest[k]);
}

static int solve_group(solver *v, size_t n, nh_error *err)
{
    const nh_spectrum_task *t = v->task;
    if (t->fourier ? nh_fourier_many(t->fourier, n, t->k + 3 * v->at, v->h, v->s, v->threads, err)
                   : t->read(t->context, v->at, n, v->h, v->s, err))
        return -1;
    nh_parallel_for(v->threads, n, solve_one, v);
    return 0;
}

/* The same on the device, which is given the next group before it solves this one. */
static int solve_group_placed(solver *v, size_t n, nh_error *err)
{
    const nh_spectrum_task *t = v->task;
    nh_spectrum *s = v->out;
    const size_t at = v->at;
    for (; v->queued < v->end && v->queued < at + 2 * v->group; v->queued += v->group) {
        const size_t more = v->end - v->queued < v->group ? v->end - v->queued : v->group;
        double *h, *overlap;
        if (!t->fourier && (nh_eigen_many_room(v->many, &h, &overlap, err) ||
                            t->read(t->context, v->queued, more, h, overlap, err)))
            return -1;
        if (nh_eigen_many_queue(v->many, more, t->fourier, t->k + 3 * v->queued, err)) return -1;
    }
    if (nh_eigen_many_solve(v->many, &t->choice, t->most, s->rank + at, s->energy + at * t->basis,
                            s->first + at, s->count + at, v->vector, v->threads, v->error, err))
        return -1;
    for (size_t i = 0; i < n; i++) {
        clear_behind(v, i);
        if (!v->kept || v->error[i].text[0]) continue;
        if (nh_fourier_at(t->fourier, 1, t->k + 3 * (at + i), NULL, v->kept, err)) return -1;
        t->measure(t->context, at + i, 0, s->count[at + i], v->kept, v->vector + i * vector_size(v),
                   &v->error[i]);
    }
    return 0;
}

static void solver_free(solver *v)
{
    for (size_t i = 0; i < v->n_thread && v->work; i++)
        nh_eigen_free(v->work[i]);
    free(v->work);
    nh_eigen_many_free(v->many);
    free(v->h);
    free(v->s);
    free(v->vector);
    free(v->kept);
    free(v->error);
    nh_threads_free(v->threads);
}

static int solver_new(const nh_spectrum_task *t, nh_spectrum *out, solver *v, nh_error *err)
{
    const size_t end = t->end > 0 ? t->end : t->n_k, n_k = end - t->first, basis = t->basis,
                 size = 2 * basis * basis;
    const bool blas_threads = !t->device && (basis >= LARGE_BASIS || n_k < (size_t)t->threads);
    size_t room;
    *v = (solver){.task = t,
                  .out = out,
                  .n_thread = blas_threads ? 1 : (size_t)t->threads,
                  .at = t->first,
                  .queued = t->first,
                  .end = end};
    v->group = blas_threads ? 1 : v->n_thread * (t->fourier ? nh_fourier_batch(t->fourier) : 1);
    v->group = v->group < n_k ? v->group : n_k;
    if (t->device) {
        if (nh_eigen_many_new(t->device, basis, n_k, t->threshold, t->most > 0, &v->many, err)) return -1;
        v->group = nh_eigen_many_batch(v->many);
    } else {
        v->work = NH_ARRAY(nh_eigen *, v->n_thread);
        v->h = nh_calloc_aligned(v->group, size * sizeof *v->h);
        v->s = nh_calloc_aligned(v->group, size * sizeof *v->s);
        if (!v->work || !v->h || !v->s) return nh_fail_memory(err, "the eigenproblem");
    }
    v->error = NH_ARRAY(nh_error, v->group);
    if (t->most > 0 && nh_size_mul(2 * basis * sizeof(double), t->most, &room))
        v->vector = nh_calloc_aligned(v->group, room);
    if (t->measure && t->device && !t->fourier)
        return nh_fail(err, "S(k) of a file is not at hand beside a device's solution");
    if (t->measure) v->kept = nh_calloc_aligned(v->n_thread, size * sizeof *v->kept);
    if (!v->error || (t->most > 0 && !v->vector) || (t->measure && !v->kept))
        return nh_fail_memory(err, "the eigenproblem");
    if (nh_threads_new((int)v->n_thread, &v->threads, err)) return -1;
    for (size_t i = 0; v->work && i < v->n_thread; i++)
        if (nh_eigen_new(basis, t->threshold, t->most > 0 || t->as_with_vectors, &v->work[i], err)) return -1;
    if (blas_threads) openblas_set_num_threads(t->threads);
    return 0;
}

int nh_spectrum_solve(const nh_spectrum_task *task, nh_spectrum *out, nh_error *err)
{
    solver v;
    int status = solver_new(task, out, &v, err);
    for (; !status && v.at < v.end; v.at += v.group) {
        const size_t n = v.end - v.at < v.group ? v.end - v.at : v.group;
        status = task->device ? solve_group_placed(&v, n, err) : solve_group(&v, n, err);
        for (size_t i = 0; !status && i < n; i++) {
            const double *k = task->k + 3 * (v.at + i);
            if (v.error[i].text[0])
                status = nh_fail(err, "%s: k-point %zu (%g %g %g): %s", task->name, v.at + i + 1, k[0], k[1],
                                 k[2], v.error[i].text);
            else if (v.vector && task->take)
                status = task->take(task->context, v.at + i, v.vector + i * vector_size(&v), err);
        }
        nh_progress_add(task->progress, n);
    }
    solver_free(&v);
    return status;
}
