#include "training/adam.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

static bool has(const nh_weights *w, size_t i)
{
    return w->real ? w->real[i] != NULL : w->single[i] != NULL;
}

int nh_weights_zero_like(const nh_params *p, const nh_weights *like, nh_weights *out, nh_error *err)
{
    if (nh_weights_new(p, like->real != NULL, out, err)) return -1;
    for (size_t i = 0; i < p->count; i++) {
        if (!has(like, i)) continue;
        void *values = nh_calloc_aligned(p->param[i].count, like->real ? sizeof(double) : sizeof(float));
        if (!values) {
            nh_weights_free(out);
            return nh_fail_memory(err, p->param[i].name);
        }
        if (like->real)
            out->real[i] = values;
        else
            out->single[i] = values;
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
    if (l->write->real)
        memset(l->write->real[i], 0, l->p->param[i].count * sizeof(double));
    else
        memset(l->write->single[i], 0, l->p->param[i].count * sizeof(float));
}

void nh_weights_clear(const nh_params *p, nh_weights *w, nh_threads *threads)
{
    nh_parallel_for(threads, p->count, clear_one, &(loop){.p = p, .write = w});
}

void nh_weights_copy(const nh_params *p, nh_weights *to, const nh_weights *from)
{
    for (size_t i = 0; i < p->count; i++) {
        if (!has(to, i) || !has(from, i)) continue;
        if (to->real)
            memcpy(to->real[i], from->real[i], p->param[i].count * sizeof(double));
        else
            memcpy(to->single[i], from->single[i], p->param[i].count * sizeof(float));
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
                const double x = w->real ? w->real[i][k + j] : (double)w->single[i][k + j];
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
    if (w->real)
        step_d(&l->adam, n, g->real[i], l->m->real[i], l->v->real[i], w->real[i]);
    else
        step_f(&l->adam, n, g->single[i], l->m->single[i], l->v->single[i], w->single[i]);
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
        if (w->real)
            average->real[i][k] += (1 - l->decay) * (w->real[i][k] - average->real[i][k]);
        else
            average->single[i][k] += (float)(1 - l->decay) * (w->single[i][k] - average->single[i][k]);
}

void nh_weights_average(const nh_params *p, double decay, const nh_weights *w, nh_weights *average,
                        nh_threads *threads)
{
    nh_parallel_for(threads, p->count, average_one,
                    &(loop){.p = p, .read = w, .write = average, .decay = decay});
}
