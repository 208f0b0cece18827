#include "ops/ops.h"
#include "ops/vector.h"

#include <math.h>
#include <string.h>

static void add_bias(size_t n, size_t out, const real *restrict bias, real *restrict y)
{
    for (size_t t = 0; bias != NULL && t < n; t++)
        for (size_t i = 0; i < out; i++)
            y[t * out + i] += bias[i];
}

void R(nh_dense_forward)(nh_method method, size_t n, size_t in, size_t out, const real *x, const real *weight,
                         const real *bias, bool add, real *y)
{
    if (n == 0 || out == 0) return;
    R(nh_gemm)(method, false, true, n, out, in, x, in, weight, in, add, y, out);
    add_bias(n, out, bias, y);
}

/* Panels of layer i for the way forward (0) or back (1), or NULL. */
static real *panels_of(const R(nh_mlp) *m, size_t way, size_t i)
{
    return m->panels != NULL && m->method == NH_METHOD_FAST ? m->panels[way * m->layers + i] : NULL;
}

void R(nh_mlp_panels)(const R(nh_mlp) *m, size_t layer)
{
    const size_t in = m->width[layer], out = m->width[layer + 1];
    R(nh_panels)(true, out, in, m->weight[layer], in, panels_of(m, 0, layer));
    R(nh_panels)(false, in, out, m->weight[layer], in, panels_of(m, 1, layer));
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

void R(nh_dense_backward)(nh_method method, size_t n, size_t in, size_t out, const real *gy, const real *x,
                          const real *weight, real *gx, bool add, real *gw, real *gbias)
{
    if (n == 0 || in == 0 || out == 0) return;
    if (gx != NULL) R(nh_gemm)(method, false, false, n, in, out, gy, out, weight, in, add, gx, in);
    if (gw != NULL) R(nh_gemm)(method, true, false, out, in, n, gy, out, x, in, true, gw, in);
    if (gbias != NULL) R(nh_column_sums)(n, out, out, gy, NULL, gbias);
}

/* Gradient of the pre-activation sum from that of the activation, one row, in place; ggain and gshift are
 * added to, or NULL. */
static void norm_silu_backward(size_t n, const real *restrict gain, const real *restrict shift,
                               const real *restrict h, real scale, real *restrict g, real *restrict ggain,
                               real *restrict gshift)
{
    for (size_t i = 0; i < n; i++) {
        const real a = h[i] * gain[i] + shift[i], sigma = R(nh_sigmoid)(a);
        g[i] *= sigma * (1 + a * (1 - sigma));
    }
    for (size_t i = 0; ggain != NULL && i < n; i++)
        ggain[i] += g[i] * h[i];
    for (size_t i = 0; gshift != NULL && i < n; i++)
        gshift[i] += g[i];
    for (size_t i = 0; i < n; i++)
        g[i] *= gain[i];
    const real mean = R(nh_sum)(n, g) / (real)n, slope = R(nh_dot)(n, g, h) / (real)n;
    for (size_t i = 0; i < n; i++)
        g[i] = scale * (g[i] - mean - h[i] * slope);
}

void R(nh_silu_backward)(size_t n, const real *restrict x, real *restrict g)
{
    for (size_t i = 0; i < n; i++) {
        const real sigma = R(nh_sigmoid)(x[i]);
        g[i] *= sigma * (1 + x[i] * (1 - sigma));
    }
}

/* d <- tangent of the normalised sum h from that of the sum, ds = tangent of the activation. Returns the mean
 * of (tangent of the sum) h. */
static real norm_silu_tangent(size_t n, const real *restrict gain, const real *restrict shift,
                              const real *restrict h, real scale, real *restrict d, real *restrict ds)
{
    const real mean = R(nh_sum)(n, d) / (real)n, slope = R(nh_dot)(n, d, h) / (real)n;
    for (size_t i = 0; i < n; i++) {
        d[i] = scale * (d[i] - mean - h[i] * slope);
        const real a = h[i] * gain[i] + shift[i], sigma = R(nh_sigmoid)(a);
        ds[i] = sigma * (1 + a * (1 - sigma)) * gain[i] * d[i];
    }
    return slope;
}

/* g, d: gradients of silu(a) and of its tangent silu'(a) da, replaced by those of a and da. */
static void silu_both_backward(size_t n, const real *restrict a, const real *restrict da, real *restrict g,
                               real *restrict d)
{
    for (size_t i = 0; i < n; i++) {
        const real sigma = R(nh_sigmoid)(a[i]), slope = sigma * (1 + a[i] * (1 - sigma)),
                   bend = sigma * (1 - sigma) * (2 + a[i] * (1 - 2 * sigma));
        g[i] = g[i] * slope + d[i] * bend * da[i];
        d[i] *= slope;
    }
}

/* One row of a layer backward through values and tangents: g, d from the gradients of the activation and its
 * tangent to those of the sum p and its tangent dp. With h = scale (p - mean), the tangent of h is
 * dh = scale (dp - mean(dp) - h c), c = mean(dp h): h, scale and c depend on p too. */
static void norm_silu_both_backward(size_t n, const real *restrict gain, const real *restrict shift,
                                    const real *restrict h, const real *restrict dh, real scale, real c,
                                    real *restrict g, real *restrict d, real *restrict ggain,
                                    real *restrict gshift)
{
    for (size_t i = 0; i < n; i++) {
        const real a = h[i] * gain[i] + shift[i], sigma = R(nh_sigmoid)(a),
                   slope = sigma * (1 + a * (1 - sigma)),
                   bend = sigma * (1 - sigma) * (2 + a * (1 - 2 * sigma));
        g[i] = g[i] * slope + d[i] * bend * gain[i] * dh[i];
        d[i] *= slope;
    }
    for (size_t i = 0; ggain != NULL && i < n; i++)
        ggain[i] += g[i] * h[i] + d[i] * dh[i];
    for (size_t i = 0; gshift != NULL && i < n; i++)
        gshift[i] += g[i];
    for (size_t i = 0; i < n; i++) {
        g[i] *= gain[i];
        d[i] *= gain[i];
    }
    const real mean_d = R(nh_sum)(n, d) / (real)n, d_h = R(nh_dot)(n, d, h) / (real)n,
               d_dh = R(nh_dot)(n, d, dh) / (real)n, sc = scale * c;
    /* through h in dh: -scale (d c + dp mean(d h)), where dp = dh/scale + h c + a constant, which drops out
     * because the mean of h is 0 */
    for (size_t i = 0; i < n; i++) {
        g[i] -= sc * d[i] + d_h * (dh[i] + sc * h[i]);
        d[i] = scale * (d[i] - mean_d - h[i] * d_h);
    }
    /* d_dh: through scale in dh */
    const real mean = R(nh_sum)(n, g) / (real)n, slope = R(nh_dot)(n, g, h) / (real)n + d_dh;
    for (size_t i = 0; i < n; i++)
        g[i] = scale * (g[i] - mean - h[i] * slope);
}

/* --- chains */

#define OP(name) R(nh_##name)
#define DEVICE
#define ON

#include "ops/chain.h"

static void layer_forward(const R(nh_mlp) *m, size_t i, size_t n, size_t n_bias, const real *x, bool add,
                          real *y)
{
    const size_t in = m->width[i], out = m->width[i + 1];
    const real *panels = panels_of(m, 0, i);
    if (panels != NULL)
        R(nh_gemm_panels)(n, out, in, x, in, panels, add, y, out);
    else
        R(nh_dense_forward)(m->method, n, in, out, x, m->weight[i], NULL, add, y);
    add_bias(n_bias, out, m->bias[i], y);
}

static void layer_backward(const R(nh_mlp) *m, size_t i, size_t n, const real *gy, const real *x, real *gx,
                           bool add, real *gw, real *gbias)
{
    const size_t in = m->width[i], out = m->width[i + 1];
    const real *panels = panels_of(m, 1, i);
    if (panels != NULL && gx != NULL) R(nh_gemm_panels)(n, in, out, gy, out, panels, add, gx, in);
    R(nh_dense_backward)(m->method, n, in, out, gy, x, m->weight[i], panels == NULL ? gx : NULL, add, gw,
                         gbias);
}

static void hidden_forward(const R(nh_mlp) *m, size_t i, size_t n, real *h, real *s, real *scale)
{
    const size_t width = m->width[i + 1];
    for (size_t t = 0; t < n; t++) {
        if (m->gain != NULL)
            scale[t] = norm_silu(width, m->eps, m->gain[i], m->shift[i], h + t * width, s + t * width);
        else
            silu(width, h + t * width, s + t * width);
    }
}

static void hidden_backward(const R(nh_mlp) *m, size_t i, size_t n, const real *h, const real *scale, real *g,
                            real *ggain, real *gshift)
{
    const size_t width = m->width[i + 1];
    for (size_t t = 0; t < n; t++) {
        if (m->gain != NULL)
            norm_silu_backward(width, m->gain[i], m->shift[i], h + t * width, scale[t], g + t * width, ggain,
                               gshift);
        else
            R(nh_silu_backward)(width, h + t * width, g + t * width);
    }
}

static void both_forward(const R(nh_mlp) *m, size_t i, size_t n, real *h, real *s, real *scale, real *slope)
{
    const size_t width = m->width[i + 1], half = n * width;
    for (size_t t = 0; t < n; t++) {
        real *ht = h + t * width, *st = s + t * width;
        if (m->gain != NULL) {
            scale[t] = norm_silu(width, m->eps, m->gain[i], m->shift[i], ht, st);
            slope[t] = norm_silu_tangent(width, m->gain[i], m->shift[i], ht, scale[t], ht + half, st + half);
        } else {
            silu(width, ht, st);
            memcpy(st + half, ht + half, width * sizeof(real));
            R(nh_silu_backward)(width, ht, st + half);
        }
    }
}

static void both_backward(const R(nh_mlp) *m, size_t i, size_t n, const real *h, const real *scale,
                          const real *slope, real *g, real *ggain, real *gshift)
{
    const size_t width = m->width[i + 1], half = n * width;
    for (size_t t = 0; t < n; t++) {
        const real *ht = h + t * width;
        real *gt = g + t * width;
        if (m->gain != NULL)
            norm_silu_both_backward(width, m->gain[i], m->shift[i], ht, ht + half, scale[t], slope[t], gt,
                                    gt + half, ggain, gshift);
        else
            silu_both_backward(width, ht, ht + half, gt, gt + half);
    }
}

static void last_both_backward(const R(nh_mlp) *m, size_t n, const real *gy, const real *gdy, const real *x,
                               real *gx, real *gw, real *gbias)
{
    const size_t in = m->width[m->layers - 1], out = m->width[m->layers];
    const real *weight = m->weight[m->layers - 1];
    const size_t half = n * in;
    if (gy != NULL)
        R(nh_dense_backward)(m->method, n, in, out, gy, x, weight, gx, false, gw, gbias);
    else if (gx != NULL)
        memset(gx, 0, half * sizeof(real));
    if (gdy != NULL) {
        R(nh_dense_backward)(m->method, n, in, out, gdy, x + half, weight, gx != NULL ? gx + half : NULL,
                             false, gw, NULL);
        return;
    }
    if (gx != NULL) {
        real *first = gx + half;
        memset(first, 0, in * sizeof(real));
        R(nh_column_sums)(out, in, in, weight, NULL, first);
        for (size_t t = 1; t < n; t++)
            memcpy(first + t * in, first, in * sizeof(real));
    }
    for (size_t o = 0; gw != NULL && o < out; o++)
        R(nh_column_sums)(n, in, in, x + half, NULL, gw + o * in);
}
