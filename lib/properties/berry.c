#include "properties/berry.h"

#include "base/complex.h"
#include "base/memory.h"
#include "properties/optics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct bench { /* of one thread */
    nh_velocity_work *work;
    double complex *p; /* [3][rows][basis] */
    double *outside;   /* [rows][3] */
} bench;

typedef struct sums {
    const nh_curvature_task *task;
    bench *bench;
    double *curvature;
} sums;

static double filled(const nh_curvature_task *t, size_t n, double energy)
{
    return t->filling.kt > 0 ? nh_filling_at(&t->filling, energy) : n < t->rows ? 1 : 0;
}

static int take(void *context, size_t index, int thread, const double *energy, const double *vector,
                double *sum, nh_error *err)
{
    const sums *s = context;
    const nh_curvature_task *t = s->task;
    bench *w = &s->bench[thread];
    const size_t basis = nh_fourier_basis(t->fourier), rows = t->rows;
    const double *k = t->k->k + 3 * index;
    double *out = s->curvature + 3 * index;
    (void)sum;
    if (nh_velocity_at(t->velocity, w->work, k, 0, rows, energy, vector, (double *)w->p, err) != 0 ||
        nh_velocity_outside(t->velocity, w->work, k, 0, rows, vector, w->outside, err) != 0)
        return -1;
    for (size_t n = 0; n < rows; n++) {
        const double here = filled(t, n, energy[n]);
        for (size_t x = 0; x < 3; x++)
            out[x] += here * w->outside[3 * n + x];
        for (size_t m = n + 1; m < basis; m++) {
            const double gap = energy[m] - energy[n], moved = here - filled(t, m, energy[m]);
            if (gap <= t->degenerate) {
                if (t->filling.kt > 0 || moved == 0) continue;
                return nh_fail(err, "bands %zu and %zu are %.3g eV apart: no curvature of the bands below",
                               n + 1, m + 1, gap);
            }
            for (size_t x = 0; x < 3; x++) {
                const double complex *a = w->p + ((x + 1) % 3) * rows * basis,
                                     *b = w->p + ((x + 2) % 3) * rows * basis;
                out[x] -= 2 * moved * cimag(a[n * basis + m] * conj(b[n * basis + m])) / (gap * gap);
            }
        }
    }
    return 0;
}

int nh_curvature(const nh_curvature_task *task, double *curvature, nh_error *err)
{
    sums s = {.task = task, .curvature = curvature};
    const nh_sweep sweep = {.name = task->name,
                            .fourier = task->fourier,
                            .n_k = task->k->count,
                            .k = task->k->k,
                            .take = take,
                            .context = &s,
                            .threads = task->threads,
                            .ranks = task->ranks,
                            .progress = task->progress};
    const size_t basis = nh_fourier_basis(task->fourier), n_thread = (size_t)nh_sweep_threads(&sweep);
    double none;
    if (task->rows == 0 || task->rows > basis || (task->filling.kt <= 0 && task->rows == basis))
        return nh_fail(err, "%zu filled bands of %zu: no curvature", task->rows, basis);
    if (!(task->degenerate > 0))
        return nh_fail(err, "a limit of degeneracy above zero expected, found %g eV", task->degenerate);
    int status = 0;
    s.bench = NH_ARRAY(bench, n_thread);
    if (s.bench == NULL) return nh_fail_memory(err, "the curvature");
    for (size_t i = 0; i < n_thread && status == 0; i++) {
        bench *w = &s.bench[i];
        w->p = nh_calloc_aligned(3 * task->rows, basis * sizeof *w->p);
        w->outside = NH_ARRAY(double, 3 * task->rows);
        status = w->p == NULL || w->outside == NULL
                     ? nh_fail_memory(err, "the curvature")
                     : nh_velocity_work_new(task->velocity, task->rows, &w->work, err);
    }
    memset(curvature, 0, 3 * task->k->count * sizeof *curvature);
    if (status == 0) status = nh_sweep_run(&sweep, &none, err);
    if (status == 0 && task->ranks != NULL) nh_ranks_sum(task->ranks, 3 * task->k->count, curvature);
    for (size_t i = 0; i < n_thread; i++) {
        nh_velocity_work_free(s.bench[i].work);
        free(s.bench[i].p);
        free(s.bench[i].outside);
    }
    free(s.bench);
    return status;
}

void nh_hall_conductivity(const nh_kpoints *k, const double *curvature, double volume,
                          double electrons_per_band, double sigma[3])
{
    for (size_t x = 0; x < 3; x++) {
        double sum = 0;
        for (size_t i = 0; i < k->count; i++)
            sum += k->weight[i] * curvature[3 * i + x];
        sigma[x] = -1e10 * electrons_per_band * NH_E2_OVER_HBAR / volume * sum;
    }
}
