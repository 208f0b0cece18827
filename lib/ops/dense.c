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

void R(nh_dense_forward)(nh_kernels kernels, size_t n, size_t in, size_t out, const real *x,
                         const real *weight, const real *bias, bool add, real *y)
{
    if (n == 0 || out == 0) return;
    R(nh_gemm)(kernels, false, true, n, out, in, x, in, weight, in, add, y, out);
    add_bias(n, out, bias, y);
}

/* Panels of layer i for the way forward (0) or back (1), or NULL. */
static real *panels_of(const R(nh_mlp) * m, size_t way, size_t i)
{
    return m->panels != NULL && m->kernels == NH_KERNELS_FAST ? m->panels[way * m->layers + i] : NULL;
}

void R(nh_mlp_panels)(const R(nh_mlp) * m, size_t layer)
{
    const size_t in = m->width[layer], out = m->width[layer + 1];
    R(nh_panels)(true, out, in, m->weight[layer], in, panels_of(m, 0, layer));
    R(nh_panels)(false, in, out, m->weight[layer], in, panels_of(m, 1, layer));
}

/* Layer i of a chain. */
static void layer_forward(const R(nh_mlp) * m, size_t i, size_t n, const real *x, const real *bias, bool add,
                          real *y)
{
    const size_t in = m->width[i], out = m->width[i + 1];
    const real *panels = panels_of(m, 0, i);
    if (panels == NULL) {
        R(nh_dense_forward)(m->kernels, n, in, out, x, m->weight[i], bias, add, y);
        return;
    }
    R(nh_gemm_panels)(n, out, in, x, in, panels, add, y, out);
    add_bias(n, out, bias, y);
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
        layer_forward(m, i, n, x, m->bias[i], false, h);
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
    if (y != NULL) layer_forward(m, last, n, x, m->bias[last], add, y);
}

void R(nh_dense_backward)(nh_kernels kernels, size_t n, size_t in, size_t out, const real *gy, const real *x,
                          const real *weight, real *gx, bool add, real *gw, real *gbias)
{
    if (n == 0 || in == 0 || out == 0) return;
    if (gx != NULL) R(nh_gemm)(kernels, false, false, n, in, out, gy, out, weight, in, add, gx, in);
    if (gw != NULL) R(nh_gemm)(kernels, true, false, out, in, n, gy, out, x, in, true, gw, in);
    if (gbias != NULL) R(nh_column_sums)(n, out, out, gy, NULL, gbias);
}

static void layer_backward(const R(nh_mlp) * m, size_t i, size_t n, const real *gy, const real *x, real *gx,
                           bool add, real *gw, real *gbias)
{
    const size_t in = m->width[i], out = m->width[i + 1];
    const real *panels = panels_of(m, 1, i);
    if (panels != NULL && gx != NULL) R(nh_gemm_panels)(n, in, out, gy, out, panels, add, gx, in);
    R(nh_dense_backward)
    (m->kernels, n, in, out, gy, x, m->weight[i], panels == NULL ? gx : NULL, add, gw, gbias);
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

/* Element i of a table of gradients that may be absent. */
static real *entry(real **table, size_t i)
{
    return table != NULL ? table[i] : NULL;
}

static size_t widest_hidden(const R(nh_mlp) * m)
{
    size_t widest = 0;
    for (size_t i = 1; i < m->layers; i++)
        if (m->width[i] > widest) widest = m->width[i];
    return widest;
}

void R(nh_mlp_input_gradient)(const R(nh_mlp) * m, size_t n, real *g, const real *hidden, real *scratch,
                              real *gx)
{
    if (n == 0) return;
    hidden += n * R(nh_mlp_hidden_size)(m);
    for (size_t i = m->layers - 1; i-- > 0;) {
        const size_t width = m->width[i + 1];
        const real *scale = hidden - n, *h = scale - n * width;
        hidden = h - n * width;
        for (size_t t = 0; t < n; t++) {
            if (m->gain != NULL)
                norm_silu_backward(width, m->gain[i], m->shift[i], h + t * width, scale[t], g + t * width,
                                   NULL, NULL);
            else
                R(nh_silu_backward)(width, h + t * width, g + t * width);
        }
        real *to = i == 0 ? gx : scratch;
        layer_backward(m, i, n, g, NULL, to, false, NULL, NULL);
        scratch = g;
        g = to;
    }
}

void R(nh_mlp_backward)(const R(nh_mlp) * m, size_t n, const real *gy, const real *x, const real *hidden,
                        real *scratch, real *gx, bool add, const R(nh_mlp_gradient) * gradient)
{
    const R(nh_mlp_gradient) none = {0}, *to = gradient != NULL ? gradient : &none;
    const size_t last = m->layers - 1;
    if (n == 0) return;
    real *g = scratch, *other = scratch + n * widest_hidden(m);
    layer_backward(m, last, n, gy, last > 0 ? R(nh_mlp_last_hidden)(m, n, hidden) : x, last > 0 ? g : gx,
                   last > 0 ? false : add, entry(to->weight, last), entry(to->bias, last));
    hidden += n * R(nh_mlp_hidden_size)(m);
    for (size_t i = last; i-- > 0;) {
        const size_t width = m->width[i + 1], below = m->width[i];
        const real *scale = hidden - n, *h = scale - n * width;
        hidden = h - n * width;
        for (size_t t = 0; t < n; t++) {
            if (m->gain != NULL)
                norm_silu_backward(width, m->gain[i], m->shift[i], h + t * width, scale[t], g + t * width,
                                   entry(to->gain, i), entry(to->shift, i));
            else
                R(nh_silu_backward)(width, h + t * width, g + t * width);
        }
        /* below this layer in `hidden`: activation, sum and scale of the layer before */
        const real *input = i == 0 ? x : hidden - n * (2 * below + 1);
        layer_backward(m, i, n, g, input, i == 0 ? gx : other, i == 0 ? add : false, entry(to->weight, i),
                       entry(to->bias, i));
        real *swap = g;
        g = other;
        other = swap;
    }
}

size_t R(nh_mlp_jvp_size)(const R(nh_mlp) * m)
{
    size_t size = 0;
    for (size_t i = 1; i < m->layers; i++)
        size += 4 * m->width[i] + 2;
    return size;
}

/* Rows of values and rows of tangents through layer i: the bias acts on the values alone. */
static void layer_both(const R(nh_mlp) * m, size_t i, size_t n, const real *x, real *y)
{
    layer_forward(m, i, 2 * n, x, NULL, false, y);
    add_bias(n, m->width[i + 1], m->bias[i], y);
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

/* Layer i of `kept` is: activation and its tangent [2n][width], normalised sum and its tangent [2n][width],
 * scale [n], mean of (tangent of the sum) times (normalised sum) [n]. */
void R(nh_mlp_jvp_forward)(const R(nh_mlp) * m, size_t n, const real *x, real *kept, real *y)
{
    for (size_t i = 0; i + 1 < m->layers; i++) {
        const size_t width = m->width[i + 1], half = n * width;
        real *s = kept, *h = s + 2 * half, *scale = h + 2 * half, *slope = scale + n;
        layer_both(m, i, n, x, h);
        for (size_t t = 0; t < n; t++) {
            real *ht = h + t * width, *st = s + t * width;
            if (m->gain != NULL) {
                scale[t] = norm_silu(width, m->eps, m->gain[i], m->shift[i], ht, st);
                slope[t] =
                    norm_silu_tangent(width, m->gain[i], m->shift[i], ht, scale[t], ht + half, st + half);
            } else {
                silu(width, ht, st);
                memcpy(st + half, ht + half, width * sizeof(real));
                R(nh_silu_backward)(width, ht, st + half);
            }
        }
        kept = slope + n;
        x = s;
    }
    const size_t last = m->layers - 1;
    if (y != NULL) layer_both(m, last, n, x, y);
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

/* Gradients of the last map's input from gy and gdy as nh_mlp_jvp_backward takes them; NULL: not wanted. */
static void last_both_backward(nh_kernels kernels, size_t n, size_t in, size_t out, const real *gy,
                               const real *gdy, const real *x, const real *weight, real *gx, real *gw,
                               real *gbias)
{
    const size_t half = n * in;
    if (gy != NULL)
        R(nh_dense_backward)(kernels, n, in, out, gy, x, weight, gx, false, gw, gbias);
    else if (gx != NULL)
        memset(gx, 0, half * sizeof(real));
    if (gdy != NULL) {
        R(nh_dense_backward)
        (kernels, n, in, out, gdy, x + half, weight, gx != NULL ? gx + half : NULL, false, gw, NULL);
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

void R(nh_mlp_jvp_backward)(const R(nh_mlp) * m, size_t n, const real *gy, const real *gdy, const real *x,
                            const real *kept, real *scratch, real *gx, const R(nh_mlp_gradient) * gradient)
{
    const R(nh_mlp_gradient) none = {0}, *to = gradient != NULL ? gradient : &none;
    const size_t last = m->layers - 1;
    if (n == 0) return;
    real *g = scratch, *other = scratch + 2 * n * widest_hidden(m);
    kept += n * R(nh_mlp_jvp_size)(m);
    last_both_backward(m->kernels, n, m->width[last], m->width[last + 1], gy, gdy,
                       last > 0 ? kept - n * (4 * m->width[last] + 2) : x, m->weight[last], last > 0 ? g : gx,
                       entry(to->weight, last), entry(to->bias, last));
    for (size_t i = last; i-- > 0;) {
        const size_t width = m->width[i + 1], below = m->width[i], half = n * width;
        const real *slope = kept - n, *scale = slope - n, *h = scale - 2 * half;
        kept = h - 2 * half;
        for (size_t t = 0; t < n; t++) {
            const real *ht = h + t * width;
            real *gt = g + t * width;
            if (m->gain != NULL)
                norm_silu_both_backward(width, m->gain[i], m->shift[i], ht, ht + half, scale[t], slope[t], gt,
                                        gt + half, entry(to->gain, i), entry(to->shift, i));
            else
                silu_both_backward(width, ht, ht + half, gt, gt + half);
        }
        const real *input = i == 0 ? x : kept - n * (4 * below + 2);
        layer_backward(m, i, 2 * n, g, input, i == 0 ? gx : other, false, entry(to->weight, i), NULL);
        if (entry(to->bias, i) != NULL) R(nh_column_sums)(n, width, width, g, NULL, to->bias[i]);
        real *swap = g;
        g = other;
        other = swap;
    }
}
