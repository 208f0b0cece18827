#include "training/adam.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

static bool has(const nh_weights *w, size_t i)
{
    return w->as_double ? w->as_double[i] != NULL : w->as_float[i] != NULL;
}

int nh_weights_zero_like(const nh_params *p, const nh_weights *like, nh_weights *out, nh_error *err)
{
    if (nh_weights_new(p, like->as_double != NULL, out, err)) return -1;
    for (size_t i = 0; i < p->count; i++) {
        if (!has(like, i)) continue;
        void *values = nh_calloc_aligned(p->param[i].count, like->as_double ? sizeof(double) : sizeof(float));
        if (!values) {
            nh_weights_free(out);
            return nh_fail_memory(err, p->param[i].name);
        }
        if (like->as_double)
            out->as_double[i] = values;
        else
            out->as_float[i] = values;
    }
    return 0;
}

/* What one of the loops below needs; the parameters are its indices. */
typedef struct loop {
    const nh_params *p;
    const nh_weights *read;
    nh_weights *write;
    double decay;
    /* Adam */
    nhk_adam adam;
    nh_weights *m, *v;
} loop;

static void clear_one(void *context, size_t i, int thread)
{
    const loop *l = context;
    (void)thread;
    if (!has(l->write, i)) return;
    if (l->write->as_double)
        memset(l->write->as_double[i], 0, l->p->param[i].count * sizeof(double));
    else
        memset(l->write->as_float[i], 0, l->p->param[i].count * sizeof(float));
}

void nh_weights_clear(const nh_params *p, nh_weights *w, nh_threads *threads)
{
    nh_parallel_for(threads, p->count, clear_one, &(loop){.p = p, .write = w});
}

void nh_weights_copy(const nh_params *p, nh_weights *to, const nh_weights *from)
{
    for (size_t i = 0; i < p->count; i++) {
        if (!has(to, i) || !has(from, i)) continue;
        if (to->as_double)
            memcpy(to->as_double[i], from->as_double[i], p->param[i].count * sizeof(double));
        else
            memcpy(to->as_float[i], from->as_float[i], p->param[i].count * sizeof(float));
    }
}

double nh_weights_norm(const nh_params *p, const nh_weights *w)
{
    enum { LANES = 8 }; /* sums that are under way at once */
    double sum = 0;
    for (size_t i = 0; i < p->count; i++) {
        double part[LANES] = {0};
        for (size_t k = 0; has(w, i) && k < p->param[i].count; k += LANES)
            for (size_t j = 0; j < LANES && k + j < p->param[i].count; j++) {
                const double x = w->as_double ? w->as_double[i][k + j] : (double)w->as_float[i][k + j];
                part[j] += x * x;
            }
        for (size_t j = 0; j < LANES; j++)
            sum += part[j];
    }
    return sqrt(sum);
}

/* The same text for float and double. */
#define STEP(real, suffix, root)                                                                             \
    static void step_##suffix(const nhk_adam *o, size_t n, const real *restrict g, real *restrict m,         \
                              real *restrict v, real *restrict w)                                            \
    {                                                                                                        \
        const real b1 = (real)o->beta[0], b2 = (real)o->beta[1], a1 = (real)(1 - o->beta[0]),                \
                   a2 = (real)(1 - o->beta[1]), eps = (real)o->eps, f = (real)o->factor,                     \
                   rate = (real)o->size, c = (real)o->scale, decay = (real)o->decay, keep = (real)o->keep;   \
        for (size_t k = 0; k < n; k++) {                                                                     \
            const real x = keep * w[k], gk = f * g[k] + decay * w[k];                                        \
            m[k] = b1 * m[k] + a1 * gk;                                                                      \
            v[k] = b2 * v[k] + a2 * gk * gk;                                                                 \
            w[k] = x - rate * m[k] / (root(v[k]) * c + eps);                                                 \
        }                                                                                                    \
    }
STEP(float, f, sqrtf)
STEP(double, d, sqrt)

nhk_adam nh_adam_numbers(const nh_optimizer_settings *o, double lr, uint64_t step, double factor)
{
    return (nhk_adam){.beta = {o->beta[0], o->beta[1]},
                      .eps = o->eps,
                      .factor = factor,
                      .size = lr / (1 - pow(o->beta[0], (double)step)),
                      .scale = 1 / sqrt(1 - pow(o->beta[1], (double)step)),
                      .decay = o->kind == NH_ADAM ? o->weight_decay : 0,
                      .keep = o->kind == NH_ADAMW ? 1 - lr * o->weight_decay : 1};
}

static void step_one(void *context, size_t i, int thread)
{
    const loop *l = context;
    const nh_weights *g = l->read, *w = l->write;
    (void)thread;
    if (!has(w, i) || !has(g, i)) return;
    const size_t n = l->p->param[i].count;
    if (w->as_double)
        step_d(&l->adam, n, g->as_double[i], l->m->as_double[i], l->v->as_double[i], w->as_double[i]);
    else
        step_f(&l->adam, n, g->as_float[i], l->m->as_float[i], l->v->as_float[i], w->as_float[i]);
}

void nh_adam_step(const nh_optimizer_settings *o, const nh_params *p, double lr, uint64_t step, double factor,
                  const nh_weights *gradient, nh_weights *m, nh_weights *v, nh_weights *w,
                  nh_threads *threads)
{
    loop l = {
        .p = p, .read = gradient, .write = w, .adam = nh_adam_numbers(o, lr, step, factor), .m = m, .v = v};
    nh_parallel_for(threads, p->count, step_one, &l);
}

static void average_one(void *context, size_t i, int thread)
{
    const loop *l = context;
    const nh_weights *w = l->read, *average = l->write;
    (void)thread;
    if (!has(w, i) || !has(average, i)) return;
    for (size_t k = 0; k < l->p->param[i].count; k++)
        if (w->as_double)
            average->as_double[i][k] += (1 - l->decay) * (w->as_double[i][k] - average->as_double[i][k]);
        else
            average->as_float[i][k] += (float)(1 - l->decay) * (w->as_float[i][k] - average->as_float[i][k]);
}

void nh_weights_average(const nh_params *p, double decay, const nh_weights *w, nh_weights *average,
                        nh_threads *threads)
{
    nh_parallel_for(threads, p->count, average_one,
                    &(loop){.p = p, .read = w, .write = average, .decay = decay});
}
