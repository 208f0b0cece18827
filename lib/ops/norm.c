#include "ops/ops.h"
#include "ops/vector.h"

#include <math.h>

/* y[rows][mul] = x[rows][mul] scale w[mul]; y may be x */
static void scale_rows(size_t rows, size_t mul, real scale, const real *w, const real *x, real *y)
{
    for (size_t m = 0; m < rows; m++, x += mul, y += mul) {
        size_t u = 0;
        for (; u + NH_HALF <= mul; u += NH_HALF)
            R(nh_store_half)(y + u, R(nh_load_half)(x + u) * (scale * R(nh_load_half)(w + u)));
        for (; u < mul; u++)
            y[u] = x[u] * (scale * w[u]);
    }
}

void R(nh_norm_forward)(const nh_layout *layout, size_t n, const real *x, double eps, const real *gain,
                        const real *shift, real *y)
{
    for (size_t g = 0; g < layout->count; g++) {
        const nh_group *group = &layout->group[g];
        const bool scalar = group->l == 0 && group->p > 0;
        const size_t mul = group->mul, dim = group->dim;
        const real *w = gain + group->channel, *from = x + n * group->offset;
        real *to = y + n * group->offset;
        for (size_t t = 0; t < n; t++, from += dim, to += dim) {
            const real *row = from;
            if (scalar) { /* only these have a mean to be taken off */
                const real mean = R(nh_sum)(dim, from) / (real)dim;
                for (size_t i = 0; i < dim; i++)
                    to[i] = from[i] - mean;
                row = to;
            }
            scale_rows(group->rows, mul, 1 / NH_SQRT(R(nh_dot)(dim, row, row) / (real)dim + (real)eps), w,
                       row, to);
            for (size_t u = 0; scalar && u < mul; u++)
                to[u] += shift[u];
        }
    }
}

/* sum_i a_i b_i (c_i - mean) */
static real centred_dot(size_t n, const real *a, const real *b, const real *c, real mean)
{
    R(nh_vec) v = {0};
    size_t i = 0;
    for (; i + NH_LANES <= n; i += NH_LANES)
        v += R(nh_load)(a + i) * R(nh_load)(b + i) * (R(nh_load)(c + i) - mean);
    R(nh_half) h = R(nh_fold)(v);
    for (; i + NH_HALF <= n; i += NH_HALF)
        h += R(nh_load_half)(a + i) * R(nh_load_half)(b + i) * (R(nh_load_half)(c + i) - mean);
    real s = R(nh_half_sum)(h);
    for (; i < n; i++)
        s += a[i] * b[i] * (c[i] - mean);
    return s;
}

/* With h = (x - mean) scale and g = gy gain: gx = scale (g - mean(g) - h mean(g h)), where the means over g
 * are of the 0e group only, whose x is centred. */
void R(nh_norm_backward)(const nh_layout *layout, size_t n, const real *gy, const real *x, double eps,
                         const real *gain, real *gx, bool add, real *ggain, real *gshift)
{
    for (size_t k = 0; k < layout->count; k++) {
        const nh_group *group = &layout->group[k];
        const bool scalar = group->l == 0 && group->p > 0;
        const size_t mul = group->mul, dim = group->dim;
        const real *w = gain + group->channel;
        for (size_t t = 0; t < n; t++) {
            const size_t at = n * group->offset + t * dim;
            const real *from = x + at, *g = gy + at;
            const real mean = scalar ? R(nh_sum)(dim, from) / (real)dim : 0;
            real square = 0, slope = 0;
            for (size_t m = 0; m < group->rows; m++)
                slope += centred_dot(mul, w, g + m * mul, from + m * mul, mean);
            if (scalar) {
                for (size_t i = 0; i < dim; i++)
                    square += (from[i] - mean) * (from[i] - mean);
            } else {
                square = R(nh_dot)(dim, from, from);
            }
            const real scale = 1 / NH_SQRT(square / (real)dim + (real)eps),
                       level = scalar ? R(nh_dot)(mul, w, g) / (real)dim : 0;
            slope *= scale * scale / (real)dim;
            for (size_t m = 0; ggain != NULL && m < group->rows; m++) {
                real *restrict to = ggain + group->channel;
                for (size_t u = 0; u < mul; u++)
                    to[u] += g[m * mul + u] * (from[m * mul + u] - mean) * scale;
            }
            for (size_t u = 0; scalar && gshift != NULL && u < mul; u++)
                gshift[u] += g[u];
            for (size_t m = 0; gx != NULL && m < group->rows; m++) {
                real *to = gx + at + m * mul;
                const real *gm = g + m * mul, *xm = from + m * mul;
                if (!add) { /* to may be gm: the same element is read before it is written */
                    for (size_t u = 0; u < mul; u++)
                        to[u] = scale * (gm[u] * w[u] - level - (xm[u] - mean) * slope);
                } else {
                    for (size_t u = 0; u < mul; u++)
                        to[u] += scale * (gm[u] * w[u] - level - (xm[u] - mean) * slope);
                }
            }
        }
    }
}
