#include "lcao/radial.h"

#include "base/memory.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    LANES = 16, /* values of q side by side */
    RENEW =
        64, /* points after which sine and cosine are computed, not rotated: their error stays near 1e-15 */
    FUNCTIONS = 4
};

void nh_simpson(size_t n, const double *rab, double *weight)
{
    const size_t odd = n % 2 == 1 ? n : n - 1;
    for (size_t i = 0; i < n; i++)
        weight[i] = i >= odd || odd < 3      ? 0
                    : i == 0 || i + 1 == odd ? rab[i] / 3
                    : i % 2 == 1             ? 4 * rab[i] / 3
                                             : 2 * rab[i] / 3;
}

typedef struct transforms {
    size_t n, n_function, n_q;
    const double *r, *g, *q;
    double *out;
    bool uniform;
} transforms;

static void one_block(void *context, size_t index, int thread)
{
    (void)thread;
    const transforms *t = context;
    const size_t first = index * LANES, count = t->n_q - first < LANES ? t->n_q - first : LANES;
    double q[LANES], turn_s[LANES], turn_c[LANES], s[LANES] = {0}, c[LANES] = {0},
                                                   sum[FUNCTIONS][LANES] = {{0}};
    const double h = t->n > 1 ? t->r[1] - t->r[0] : 0;
    for (size_t k = 0; k < LANES; k++) {
        q[k] = k < count ? t->q[first + k] : 0;
        turn_s[k] = sin(q[k] * h);
        turn_c[k] = cos(q[k] * h);
    }
    for (size_t i = 0; i < t->n; i++) {
        if (!t->uniform || i % RENEW == 0) {
            for (size_t k = 0; k < LANES; k++) {
                s[k] = sin(q[k] * t->r[i]);
                c[k] = cos(q[k] * t->r[i]);
            }
        }
        for (size_t f = 0; f < t->n_function; f++) {
            const double g = t->g[f * t->n + i];
            for (size_t k = 0; k < LANES; k++)
                sum[f][k] += g * s[k];
        }
        for (size_t k = 0; k < LANES; k++) {
            const double next = s[k] * turn_c[k] + c[k] * turn_s[k];
            c[k] = c[k] * turn_c[k] - s[k] * turn_s[k];
            s[k] = next;
        }
    }
    for (size_t f = 0; f < t->n_function; f++)
        for (size_t k = 0; k < count; k++) {
            double *out = &t->out[f * t->n_q + first + k];
            *out = sum[f][k] / q[k];
            if (q[k] != 0) continue;
            *out = 0;
            for (size_t i = 0; i < t->n; i++)
                *out += t->g[f * t->n + i] * t->r[i];
        }
}

int nh_sine_transforms(size_t n, const double *r, size_t n_function, const double *g, size_t n_q,
                       const double *q, double *out, nh_threads *threads, nh_error *err)
{
    if (n_function > FUNCTIONS) return nh_fail(err, "more than %d radial functions at once", FUNCTIONS);
    transforms t = {
        .n = n, .n_function = n_function, .n_q = n_q, .r = r, .g = g, .q = q, .out = out, .uniform = true};
    for (size_t i = 0; i < n && t.uniform; i++)
        t.uniform = fabs(r[i] - r[0] - (double)i * (r[1] - r[0])) <= 1e-10 * r[n - 1];
    nh_parallel_for(threads, (n_q + LANES - 1) / LANES, one_block, &t);
    return 0;
}

int nh_sine_table_new(size_t n, const double *r, size_t n_function, const double *g, double q_max,
                      nh_threads *threads, nh_sine_table *out, nh_error *err)
{
    *out = (nh_sine_table){.step = 0.03 / fmax(n > 0 ? r[n - 1] : 1, 1), .n_function = n_function};
    out->count = (size_t)ceil(q_max / out->step) + 6;
    double *q = NH_ARRAY(double, out->count);
    out->value = NH_ARRAY(double, n_function * out->count);
    int status = -1;
    if (q == NULL || out->value == NULL) {
        nh_fail_memory(err, "a radial table");
    } else {
        for (size_t i = 0; i < out->count; i++)
            q[i] = fabs((double)i - 2) * out->step;
        status = nh_sine_transforms(n, r, n_function, g, out->count, q, out->value, threads, err);
    }
    free(q);
    if (status != 0) nh_sine_table_free(out);
    return status;
}

void nh_sine_table_free(nh_sine_table *t)
{
    free(t->value);
    t->value = NULL;
}

/* Lagrange's polynomial through the points -2 .. 3 at x in 0 .. 1. */
double nh_sine_table_at(const nh_sine_table *t, size_t function, double q)
{
    const double place = q / t->step;
    size_t i = (size_t)place;
    if (i + 6 > t->count) i = t->count - 6;
    const double x = place - (double)i, *v = t->value + function * t->count + i;
    const double a = x + 2, b = x + 1, c = x - 1, d = x - 2, e = x - 3;
    return -v[0] * (b * x * c * d * e) / 120 + v[1] * (a * x * c * d * e) / 24 -
           v[2] * (a * b * c * d * e) / 12 + v[3] * (a * b * x * d * e) / 12 -
           v[4] * (a * b * x * c * e) / 24 + v[5] * (a * b * x * c * d) / 120;
}
