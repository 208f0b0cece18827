#include "crystal/condition.h"

#include "base/complex.h"
#include "base/memory.h"

#define lapack_complex_double double complex
#define lapack_complex_float float complex
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The k-points are gone through twice: the norms need mu, and mu needs all of them. */
typedef struct work {
    const nh_fourier *a, *b;
    const nh_kpoints *k;
    nh_condition *out;
    bool norms;
    double *moment;  /* [n_k][2] tr((A-B) S), tr(S S) */
    nh_error *error; /* [n_k] */
} work;

/* Ascending; destroys m. */
static int eigenvalues(size_t n, double complex *m, double *values, nh_error *err)
{
    const lapack_int size = (lapack_int)n;
    const lapack_int info = LAPACKE_zheevd(LAPACK_COL_MAJOR, 'N', 'L', size, m, size, values);
    return info == 0 ? 0 : nh_fail(err, "zheevd of LAPACK failed (info %d)", (int)info);
}

/* `d` (A - B, becomes A - B - mu S), `s`: [n][n], destroyed. */
static int measure_norms(nh_condition *c, size_t k, size_t n, double complex *d, double complex *s,
                         double *values, nh_error *err)
{
    for (size_t i = 0; i < n * n; i++)
        d[i] -= c->mu * s[i];
    if (eigenvalues(n, d, values, err)) return -1;
    c->h_norm[k] = fmax(fabs(values[0]), fabs(values[n - 1]));
    if (eigenvalues(n, s, values, err)) return -1;
    c->s_norm[k] = values[n - 1];
    c->s_condition[k] = values[0] > 0 ? values[n - 1] / values[0] : (double)INFINITY;
    return 0;
}

static void measure(void *context, size_t k, int thread)
{
    (void)thread;
    work *w = context;
    const size_t n = nh_fourier_basis(w->a), size = n * n;
    double complex *m = nh_calloc_aligned(3 * size, sizeof *m);
    double *values = NH_ARRAY(double, n);
    nh_error *err = &w->error[k];
    err->text[0] = '\0';
    if (m == NULL || values == NULL) {
        nh_fail_memory(err, "norms");
    } else if (nh_fourier_at(w->a, 1, w->k->k + 3 * k, (double *)m, (double *)(m + size), err) == 0 &&
               nh_fourier_at(w->b, 1, w->k->k + 3 * k, (double *)(m + 2 * size), NULL, err) == 0) {
        double complex *d = m, *s = m + size;
        double ds = 0, ss = 0;
        for (size_t i = 0; i < size; i++) {
            d[i] -= m[2 * size + i];
            ds += creal(d[i] * conj(s[i]));
            ss += creal(s[i] * conj(s[i]));
        }
        w->moment[2 * k] = ds;
        w->moment[2 * k + 1] = ss;
        if (w->norms) measure_norms(w->out, k, n, d, s, values, err);
    }
    free(m);
    free(values);
}

static int run(work *w, nh_threads *threads, nh_error *err)
{
    nh_parallel_for(threads, w->k->count, measure, w);
    for (size_t k = 0; k < w->k->count; k++)
        if (w->error[k].text[0] != '\0') return nh_fail(err, "k-point %zu: %s", k + 1, w->error[k].text);
    return 0;
}

int nh_condition_new(const nh_fourier *a, const nh_fourier *b, const nh_kpoints *k, nh_threads *threads,
                     nh_condition *out, nh_error *err)
{
    const size_t n_k = k->count;
    *out = (nh_condition){.n_k = n_k};
    out->s_norm = NH_ARRAY(double, n_k);
    out->s_condition = NH_ARRAY(double, n_k);
    out->h_norm = NH_ARRAY(double, n_k);
    work w = {.a = a,
              .b = b,
              .k = k,
              .out = out,
              .moment = NH_ARRAY(double, 2 * n_k),
              .error = NH_ARRAY(nh_error, n_k)};
    int status = out->s_norm && out->s_condition && out->h_norm && w.moment && w.error
                     ? 0
                     : nh_fail_memory(err, "norms");
    if (status == 0) status = run(&w, threads, err);
    if (status == 0) {
        double ds = 0, ss = 0;
        for (size_t i = 0; i < n_k; i++) {
            ds += k->weight[i] * w.moment[2 * i];
            ss += k->weight[i] * w.moment[2 * i + 1];
        }
        out->mu = ss > 0 ? ds / ss : 0;
        w.norms = true;
        status = run(&w, threads, err);
    }
    free(w.moment);
    free(w.error);
    if (status != 0) nh_condition_free(out);
    return status;
}

void nh_condition_free(nh_condition *c)
{
    free(c->s_norm);
    free(c->s_condition);
    free(c->h_norm);
    *c = (nh_condition){0};
}

double nh_condition_bound(const nh_condition *c, size_t k, double shift)
{
    return c->s_condition[k] / c->s_norm[k] * c->h_norm[k] + fabs(c->mu + shift);
}
