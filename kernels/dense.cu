#include "kernels/blas.h"
#include "kernels/ops.h"

#ifdef NH_REAL_DOUBLE
#define GEMM nhk_gemm_d
#else
#define GEMM nhk_gemm_f
#endif

void R(nhk_dense_forward)(nh_gpu *g, size_t n, size_t in, size_t out, const real *x, const real *weight,
                          const real *bias, bool add, real *y)
{
    if (n == 0 || out == 0) return;
    if (bias != nullptr) R(nhk_fill_rows)(g, n, out, bias, add, y);
    GEMM(g, false, true, n, out, in, x, in, weight, in, add || bias != nullptr ? 1 : 0, y, out);
}

void R(nhk_dense_backward)(nh_gpu *g, size_t n, size_t in, size_t out, const real *gy, const real *x,
                           const real *weight, real *gx, bool add, real *gw, real *gbias)
{
    if (n == 0 || in == 0 || out == 0) return;
    if (gx != nullptr) GEMM(g, false, false, n, in, out, gy, out, weight, in, add ? 1 : 0, gx, in);
    if (gw != nullptr) GEMM(g, true, false, out, in, n, gy, out, x, in, 1, gw, in);
    if (gbias != nullptr) R(nhk_column_sums)(g, n, out, out, gy, nullptr, gbias);
}

/* ---- hidden layers: a warp a row */

#define WARP_FOR(t, n)                                                                                       \
    const unsigned lane = threadIdx.x % NHK_WARP;                                                            \
    for (size_t t = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) / NHK_WARP; t < (n);                     \
         t += (size_t)gridDim.x * blockDim.x / NHK_WARP)

static dim3 warp_grid(const nh_gpu *g, size_t n)
{
    return nhk_grid(g, n * NHK_WARP, NHK_BLOCK);
}

/* silu and its first two derivatives */
__device__ static inline real silu_slope(real a)
{
    const real sigma = nhk_sigmoid(a);
    return sigma * (1 + a * (1 - sigma));
}

__device__ static inline real silu_bend(real a)
{
    const real sigma = nhk_sigmoid(a);
    return sigma * (1 - sigma) * (2 + a * (1 - 2 * sigma));
}

/* s = silu(h w + b) after h <- (h - mean)/sqrt(var + eps); gain NULL: s = silu(h). */
static __global__ void norm_silu_kernel(size_t n, unsigned width, real eps, const real *gain,
                                        const real *shift, real *h, real *s, real *scale)
{
    WARP_FOR(t, n)
    {
        real *ht = h + t * width, *st = s + t * width;
        if (gain == nullptr) {
            for (unsigned i = lane; i < width; i += NHK_WARP)
                st[i] = ht[i] * nhk_sigmoid(ht[i]);
            continue;
        }
        real mean = 0, square = 0;
        for (unsigned i = lane; i < width; i += NHK_WARP)
            mean += ht[i];
        mean = nhk_warp_sum(mean) / (real)width;
        for (unsigned i = lane; i < width; i += NHK_WARP)
            square += (ht[i] - mean) * (ht[i] - mean);
        const real factor = 1 / nhk_sqrt(nhk_warp_sum(square) / (real)width + eps);
        for (unsigned i = lane; i < width; i += NHK_WARP) {
            const real x = (ht[i] - mean) * factor, a = x * gain[i] + shift[i];
            ht[i] = x;
            st[i] = a * nhk_sigmoid(a);
        }
        if (lane == 0) scale[t] = factor;
    }
}

static __global__ void silu_kernel(size_t n, real *x)
{
    NHK_FOR(i, n)
    x[i] *= nhk_sigmoid(x[i]);
}

void R(nhk_silu_forward)(nh_gpu *g, size_t n, real *x)
{
    if (nhk_ready(g, n)) NHK_RUN(g, silu_kernel, nhk_grid(g, n, NHK_BLOCK), NHK_BLOCK, 0, n, x);
}

/* g *= silu'(x w + b); gain NULL: silu'(x). */
static __global__ void silu_backward_kernel(size_t n, unsigned width, const real *gain, const real *shift,
                                            const real *x, real *g)
{
    NHK_FOR(i, n * width)
    g[i] *= silu_slope(gain != nullptr ? x[i] * gain[i % width] + shift[i % width] : x[i]);
}

static void silu_backward(nh_gpu *g, size_t n, size_t width, const real *gain, const real *shift,
                          const real *x, real *gy)
{
    if (nhk_ready(g, n * width))
        NHK_RUN(g, silu_backward_kernel, nhk_grid(g, n * width, NHK_BLOCK), NHK_BLOCK, 0, n, (unsigned)width,
                gain, shift, x, gy);
}

void R(nhk_silu_backward)(nh_gpu *g, size_t n, const real *x, real *gy)
{
    silu_backward(g, 1, n, nullptr, nullptr, x, gy);
}

/* From the gradient of h w + b to that of the sum before the norm, in place. */
static __global__ void norm_backward_kernel(size_t n, unsigned width, const real *gain, const real *h,
                                            const real *scale, real *g)
{
    WARP_FOR(t, n)
    {
        const real *ht = h + t * width;
        real *gt = g + t * width, mean = 0, slope = 0;
        for (unsigned i = lane; i < width; i += NHK_WARP) {
            gt[i] *= gain[i];
            mean += gt[i];
            slope += gt[i] * ht[i];
        }
        mean = nhk_warp_sum(mean) / (real)width;
        slope = nhk_warp_sum(slope) / (real)width;
        for (unsigned i = lane; i < width; i += NHK_WARP)
            gt[i] = scale[t] * (gt[i] - mean - ht[i] * slope);
    }
}

/* After norm_silu: h[2n], s[2n], the tangents (of the sum) in the second half of h. */
static __global__ void tangent_kernel(size_t n, unsigned width, const real *gain, const real *shift, real *h,
                                      real *s, const real *scale, real *c)
{
    WARP_FOR(t, n)
    {
        const real *ht = h + t * width;
        real *d = h + (n + t) * width, *ds = s + (n + t) * width, mean = 0, slope = 0;
        if (gain == nullptr) {
            for (unsigned i = lane; i < width; i += NHK_WARP)
                ds[i] = silu_slope(ht[i]) * d[i];
            continue;
        }
        for (unsigned i = lane; i < width; i += NHK_WARP) {
            mean += d[i];
            slope += d[i] * ht[i];
        }
        mean = nhk_warp_sum(mean) / (real)width;
        slope = nhk_warp_sum(slope) / (real)width;
        for (unsigned i = lane; i < width; i += NHK_WARP) {
            d[i] = scale[t] * (d[i] - mean - ht[i] * slope);
            ds[i] = silu_slope(ht[i] * gain[i] + shift[i]) * gain[i] * d[i];
        }
        if (lane == 0) c[t] = slope;
    }
}

/* g, d: gradients of silu(a) and of its tangent silu'(a) da, replaced by those of a and da, where a = h w + b and
 * da = w dh; gain NULL: a = h. */
static __global__ void silu_both_kernel(size_t n, unsigned width, const real *gain, const real *shift,
                                        const real *h, const real *dh, real *g, real *d)
{
    NHK_FOR(i, n * width)
    {
        const real w = gain != nullptr ? gain[i % width] : 1,
                   a = gain != nullptr ? h[i] * w + shift[i % width] : h[i], slope = silu_slope(a);
        g[i] = g[i] * slope + d[i] * silu_bend(a) * w * dh[i];
        d[i] *= slope;
    }
}

/* As norm_silu_both_backward of lib/ops/dense.c, after the sums over rows. */
static __global__ void norm_both_kernel(size_t n, unsigned width, const real *gain, const real *h,
                                        const real *dh, const real *scale, const real *c, real *g, real *d)
{
    WARP_FOR(t, n)
    {
        const size_t at = t * width;
        const real *ht = h + at, *dht = dh + at, factor = scale[t], sc = factor * c[t];
        real *gt = g + at, *dt = d + at, mean_d = 0, d_h = 0, d_dh = 0, mean = 0, slope = 0;
        for (unsigned i = lane; i < width; i += NHK_WARP) {
            gt[i] *= gain[i];
            dt[i] *= gain[i];
            mean_d += dt[i];
            d_h += dt[i] * ht[i];
            d_dh += dt[i] * dht[i];
        }
        mean_d = nhk_warp_sum(mean_d) / (real)width;
        d_h = nhk_warp_sum(d_h) / (real)width;
        d_dh = nhk_warp_sum(d_dh) / (real)width;
        for (unsigned i = lane; i < width; i += NHK_WARP) {
            gt[i] -= sc * dt[i] + d_h * (dht[i] + sc * ht[i]);
            dt[i] = factor * (dt[i] - mean_d - ht[i] * d_h);
            mean += gt[i];
            slope += gt[i] * ht[i];
        }
        mean = nhk_warp_sum(mean) / (real)width;
        slope = nhk_warp_sum(slope) / (real)width + d_dh;
        for (unsigned i = lane; i < width; i += NHK_WARP)
            gt[i] = factor * (gt[i] - mean - ht[i] * slope);
    }
}

/* ---- chains */

#define OP(name) R(nhk_##name)
#define DEVICE nh_gpu *gpu,
#define ON gpu,

#include "ops/chain.h"

static void layer_forward(nh_gpu *g, const R(nh_mlp) *m, size_t i, size_t n, size_t n_bias, const real *x,
                          bool add, real *y)
{
    const size_t in = m->width[i], out = m->width[i + 1];
    const real *bias = m->bias[i];
    R(nhk_dense_forward)(g, n, in, out, x, m->weight[i], n_bias == n ? bias : nullptr, add, y);
    if (n_bias < n && bias != nullptr) R(nhk_fill_rows)(g, n_bias, out, bias, true, y);
}

static void layer_backward(nh_gpu *g, const R(nh_mlp) *m, size_t i, size_t n, const real *gy, const real *x,
                           real *gx, bool add, real *gw, real *gbias)
{
    R(nhk_dense_backward)(g, n, m->width[i], m->width[i + 1], gy, x, m->weight[i], gx, add, gw, gbias);
}

/* Gain or shift of a hidden layer, or NULL. */
static const real *of_layer(real *const *list, size_t i)
{
    return list != nullptr ? list[i] : nullptr;
}

static void hidden_forward(nh_gpu *g, const R(nh_mlp) *m, size_t i, size_t n, real *h, real *s, real *scale)
{
    const size_t width = m->width[i + 1];
    if (nhk_ready(g, n * width))
        NHK_RUN(g, norm_silu_kernel, warp_grid(g, n), NHK_BLOCK, 0, n, (unsigned)width, m->eps,
                of_layer(m->gain, i), of_layer(m->shift, i), h, s, scale);
}

static void hidden_backward(nh_gpu *g, const R(nh_mlp) *m, size_t i, size_t n, const real *h,
                            const real *scale, real *gy, real *ggain, real *gshift)
{
    const size_t width = m->width[i + 1];
    const real *gain = of_layer(m->gain, i);
    if (!nhk_ready(g, n * width)) return;
    silu_backward(g, n, width, gain, of_layer(m->shift, i), h, gy);
    if (gain == nullptr) return;
    if (ggain != nullptr) R(nhk_column_sums)(g, n, width, width, gy, h, ggain);
    if (gshift != nullptr) R(nhk_column_sums)(g, n, width, width, gy, nullptr, gshift);
    NHK_RUN(g, norm_backward_kernel, warp_grid(g, n), NHK_BLOCK, 0, n, (unsigned)width, gain, h, scale, gy);
}

static void both_forward(nh_gpu *g, const R(nh_mlp) *m, size_t i, size_t n, real *h, real *s, real *scale,
                         real *slope)
{
    const size_t width = m->width[i + 1];
    hidden_forward(g, m, i, n, h, s, scale);
    if (nhk_ready(g, n * width))
        NHK_RUN(g, tangent_kernel, warp_grid(g, n), NHK_BLOCK, 0, n, (unsigned)width, of_layer(m->gain, i),
                of_layer(m->shift, i), h, s, scale, slope);
}

static void both_backward(nh_gpu *g, const R(nh_mlp) *m, size_t i, size_t n, const real *h, const real *scale,
                          const real *slope, real *now, real *ggain, real *gshift)
{
    const size_t width = m->width[i + 1], half = n * width;
    const real *gain = of_layer(m->gain, i);
    if (!nhk_ready(g, half)) return;
    NHK_RUN(g, silu_both_kernel, nhk_grid(g, half, NHK_BLOCK), NHK_BLOCK, 0, n, (unsigned)width, gain,
            of_layer(m->shift, i), h, h + half, now, now + half);
    if (gain == nullptr) return;
    /* values and tangents at once: 2n rows of g h */
    if (ggain != nullptr) R(nhk_column_sums)(g, 2 * n, width, width, now, h, ggain);
    if (gshift != nullptr) R(nhk_column_sums)(g, n, width, width, now, nullptr, gshift);
    NHK_RUN(g, norm_both_kernel, warp_grid(g, n), NHK_BLOCK, 0, n, (unsigned)width, gain, h, h + half, scale,
            slope, now, now + half);
}

static void last_both_backward(nh_gpu *g, const R(nh_mlp) *m, size_t n, const real *gy, const real *gdy,
                               const real *x, real *gx, real *gw, real *gbias)
{
    const size_t in = m->width[m->layers - 1], out = m->width[m->layers];
    const real *weight = m->weight[m->layers - 1];
    const size_t half = n * in;
    if (gy != nullptr)
        R(nhk_dense_backward)(g, n, in, out, gy, x, weight, gx, false, gw, gbias);
    else if (gx != nullptr)
        nhk_zero(g, gx, half * sizeof(real));
    if (gdy != nullptr) {
        R(nhk_dense_backward)(g, n, in, out, gdy, x + half, weight, gx != nullptr ? gx + half : nullptr,
                              false, gw, nullptr);
        return;
    }
    /* a seed of ones: every row of the gradient is the sum of the weight's rows, and every row of gw that of x */
    real *ones = static_cast<real *>(nhk_scratch(g, NHK_SCRATCH_ROWS, in * sizeof(real)));
    if (ones == nullptr) return;
    if (gx != nullptr) {
        nhk_zero(g, ones, in * sizeof(real));
        R(nhk_column_sums)(g, out, in, in, weight, nullptr, ones);
        R(nhk_fill_rows)(g, n, in, ones, false, gx + half);
    }
    if (gw != nullptr) {
        nhk_zero(g, ones, in * sizeof(real));
        R(nhk_column_sums)(g, n, in, in, x + half, nullptr, ones);
        R(nhk_fill_rows)(g, out, in, ones, true, gw);
    }
}
