#include "ops/ops.h"
#include "ops/vector.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

void R(nh_dense_forward)(size_t n, size_t in, size_t out, const real *x, const real *weight, const real *bias,
                         bool add, real *y)
{
    if (n == 0 || out == 0) return;
    NH_GEMM(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, (int)out, (int)in, 1, x, (int)in, weight,
            (int)in, add ? 1 : 0, y, (int)out);
    if (bias == NULL) return;
    for (size_t t = 0; t < n; t++) {
        real *restrict row = y + t * out;
        for (size_t i = 0; i < out; i++)
            row[i] += bias[i];
    }
}

/* s = silu(h w + b) after h <- (h - mean)/sqrt(var + eps), one row; returns the scale. */
static real norm_silu(size_t n, real eps, const real *restrict gain, const real *restrict shift,
                      real *restrict h, real *restrict s)
{
    const real mean = R(nh_sum)(n, h) / (real)n;
    for (size_t i = 0; i < n; i++)
        h[i] -= mean;
    const real scale = 1 / NH_SQRT(R(nh_dot)(n, h, h) / (real)n + eps);
    for (size_t i = 0; i < n; i++) {
        h[i] *= scale;
        const real a = h[i] * gain[i] + shift[i];
        s[i] = a * R(nh_sigmoid)(a);
    }
    return scale;
}

static void silu(size_t n, const real *restrict h, real *restrict s)
{
    for (size_t i = 0; i < n; i++)
        s[i] = h[i] * R(nh_sigmoid)(h[i]);
}

void R(nh_silu_forward)(size_t n, real *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] *= R(nh_sigmoid)(x[i]);
}

size_t R(nh_mlp_hidden_size)(const R(nh_mlp) * m)
{
    size_t size = 0;
    for (size_t i = 1; i < m->layers; i++)
        size += 2 * m->width[i] + 1;
    return size;
}

const real *R(nh_mlp_last_hidden)(const R(nh_mlp) * m, size_t n, const real *hidden)
{
    size_t before = 0;
    for (size_t i = 1; i + 1 < m->layers; i++)
        before += 2 * m->width[i] + 1;
    return hidden + n * before;
}

/* Layer i of `hidden` is: activation [n][width], normalised sum [n][width], scale [n]. */
void R(nh_mlp_forward)(const R(nh_mlp) * m, size_t n, const real *x, real *hidden, real *y, bool add)
{
    for (size_t i = 0; i + 1 < m->layers; i++) {
        const size_t width = m->width[i + 1];
        real *s = hidden, *h = s + n * width, *scale = h + n * width;
        R(nh_dense_forward)(n, m->width[i], width, x, m->weight[i], m->bias[i], false, h);
        for (size_t t = 0; t < n; t++) {
            if (m->gain != NULL)
                scale[t] = norm_silu(width, m->eps, m->gain[i], m->shift[i], h + t * width, s + t * width);
            else
                silu(width, h + t * width, s + t * width);
        }
        hidden = scale + n;
        x = s;
    }
    const size_t last = m->layers - 1;
    if (y != NULL)
        R(nh_dense_forward)(n, m->width[last], m->width[last + 1], x, m->weight[last], m->bias[last], add, y);
}

/* Gradient of the pre-activation sum from that of the activation, one row, in place. */
static void norm_silu_gradient(size_t n, const real *restrict gain, const real *restrict shift,
                               const real *restrict h, real scale, real *restrict g)
{
    for (size_t i = 0; i < n; i++) {
        const real a = h[i] * gain[i] + shift[i], sigma = R(nh_sigmoid)(a);
        g[i] *= sigma * (1 + a * (1 - sigma)) * gain[i];
    }
    const real mean = R(nh_sum)(n, g) / (real)n, slope = R(nh_dot)(n, g, h) / (real)n;
    for (size_t i = 0; i < n; i++)
        g[i] = scale * (g[i] - mean - h[i] * slope);
}

static void silu_gradient(size_t n, const real *restrict h, real *restrict g)
{
    for (size_t i = 0; i < n; i++) {
        const real sigma = R(nh_sigmoid)(h[i]);
        g[i] *= sigma * (1 + h[i] * (1 - sigma));
    }
}

void R(nh_mlp_input_gradient)(const R(nh_mlp) * m, size_t n, real *g, const real *hidden, real *scratch,
                              real *gx)
{
    if (n == 0) return;
    hidden += n * R(nh_mlp_hidden_size)(m);
    for (size_t i = m->layers - 1; i-- > 0;) {
        const size_t width = m->width[i + 1], below = m->width[i];
        const real *scale = hidden - n, *h = scale - n * width;
        hidden = h - n * width;
        for (size_t t = 0; t < n; t++) {
            if (m->gain != NULL)
                norm_silu_gradient(width, m->gain[i], m->shift[i], h + t * width, scale[t], g + t * width);
            else
                silu_gradient(width, h + t * width, g + t * width);
        }
        real *to = i == 0 ? gx : scratch;
        NH_GEMM(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n, (int)below, (int)width, 1, g, (int)width,
                m->weight[i], (int)below, 0, to, (int)below);
        scratch = g;
        g = to;
    }
}
