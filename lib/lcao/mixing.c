#include "lcao/mixing.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define lapack_complex_double double complex
#define lapack_complex_float float complex
#include <lapacke.h>

struct nh_mixing {
    nh_mixing_task task;
    size_t count, next;       /* remembered; place of the next one */
    double complex *input;    /* [history][n] */
    double complex *residual; /* [history][n] output - input */
    double *product;          /* [history][history] <R_i|R_j> */
    double *metric;           /* [n] weight / G^2, 0 where G is 0 */
    double *step;             /* [n] beta K(G) */
    double *system, *share;   /* [history + 1]^2, [history + 1] */
    lapack_int *pivot;
};

int nh_mixing_new(const nh_mixing_task *task, nh_mixing **out, nh_error *err)
{
    *out = NULL;
    if (task->history == 0) return nh_fail(err, "mixing: a history of at least 1 expected");
    nh_mixing *m = NH_ARRAY(nh_mixing, 1);
    if (m == NULL) return nh_fail_memory(err, "mixing");
    *m = (nh_mixing){.task = *task};
    const size_t size = task->history + 1;
    size_t numbers;
    if (nh_size_mul(task->history, task->n, &numbers)) {
        m->input = NH_ARRAY(double complex, numbers);
        m->residual = NH_ARRAY(double complex, numbers);
    }
    m->product = NH_ARRAY(double, task->history * task->history);
    m->metric = NH_ARRAY(double, task->n);
    m->step = NH_ARRAY(double, task->n);
    m->system = NH_ARRAY(double, size *size);
    m->share = NH_ARRAY(double, size);
    m->pivot = NH_ARRAY(lapack_int, size);
    if (!m->input || !m->residual || !m->product || !m->metric || !m->step || !m->system || !m->share ||
        !m->pivot) {
        nh_mixing_free(m);
        return nh_fail_memory(err, "the history of densities");
    }
    for (size_t i = 0; i < task->n; i++) {
        const double g2 = task->g2[i];
        m->metric[i] = g2 > 0 ? task->weight[i] / g2 : 0;
        m->step[i] = g2 > 0 ? task->beta * fmax(g2 / (g2 + task->kerker), 0.1) : 0;
    }
    *out = m;
    return 0;
}

void nh_mixing_free(nh_mixing *m)
{
    if (m == NULL) return;
    free(m->input);
    free(m->residual);
    free(m->product);
    free(m->metric);
    free(m->step);
    free(m->system);
    free(m->share);
    free(m->pivot);
    free(m);
}

void nh_mixing_forget(nh_mixing *m)
{
    m->count = m->next = 0;
}

static double product_of(const nh_mixing *m, const double complex *a, const double complex *b)
{
    double sum = 0;
    for (size_t i = 0; i < m->task.n; i++)
        sum += m->metric[i] * (creal(a[i]) * creal(b[i]) + cimag(a[i]) * cimag(b[i]));
    return sum;
}

/* Shares c with sum 1 that make |sum c_i R_i| smallest. False: the remembered residuals depend on each other. */
static bool find_shares(nh_mixing *m, double scale)
{
    const size_t n = m->count, size = n + 1;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++)
            m->system[i * size + j] = m->product[i * m->task.history + j] / scale;
        m->system[i * size + n] = m->system[n * size + i] = 1;
        m->share[i] = 0;
    }
    m->system[n * size + n] = 0;
    m->share[n] = 1;
    if (LAPACKE_dsysv(LAPACK_COL_MAJOR, 'L', (lapack_int)size, 1, m->system, (lapack_int)size, m->pivot,
                      m->share, (lapack_int)size) != 0)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!(fabs(m->share[i]) < 1e8)) return false;
    return true;
}

int nh_mixing_step(nh_mixing *m, double complex *input, const double complex *output, nh_error *err)
{
    const size_t n = m->task.n, history = m->task.history, at = m->next;
    double complex *const residual = m->residual + at * n;
    for (size_t i = 0; i < n; i++)
        residual[i] = output[i] - input[i];
    memcpy(m->input + at * n, input, n * sizeof *input);
    m->next = (at + 1) % history;
    if (m->count < history) m->count++;
    for (size_t j = 0; j < m->count; j++)
        m->product[at * history + j] = m->product[j * history + at] =
            product_of(m, residual, m->residual + j * n);
    const double scale = m->product[at * history + at];
    if (!isfinite(scale)) return nh_fail(err, "mixing: densities that are not finite");
    if (!(scale > 0)) return 0; /* the residual vanishes: the input stays */

    if (!find_shares(m, scale)) { /* begin again from this iteration */
        memmove(m->input, m->input + at * n, n * sizeof *input);
        memmove(m->residual, residual, n * sizeof *residual);
        m->product[0] = scale;
        m->count = 1;
        m->next = 1 % history;
        m->share[0] = 1;
    }
    memset(input, 0, n * sizeof *input);
    for (size_t j = 0; j < m->count; j++) {
        const double share = m->share[j];
        const double complex *const a = m->input + j * n, *const r = m->residual + j * n;
        for (size_t i = 0; i < n; i++)
            input[i] += share * (a[i] + m->step[i] * r[i]);
    }
    return 0;
}
