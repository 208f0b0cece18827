#include "kernels/gpu.h"
#include "kernels/ops.h"

/* A warp for each row t and group k of the layout. */
#define WARP_FOR(l, n)                                                                                       \
    const unsigned lane = threadIdx.x % NHK_WARP;                                                            \
    for (size_t item = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) / NHK_WARP;                           \
         item < (size_t)(n)*l.count; item += (size_t)gridDim.x * blockDim.x / NHK_WARP)

static __global__ void norm_kernel(nhk_layout l, unsigned n, const real *x, real eps, const real *gain,
                                   const real *shift, real *y)
{
    WARP_FOR(l, n)
    {
        const int k = (int)(item % l.count), dim = l.width[k], mul = l.mul[k];
        const bool scalar = l.scalar && k == 0;
        const size_t at = (size_t)n * l.offset[k] + item / l.count * dim;
        const real *from = x + at, *w = gain + l.channel[k];
        real mean = 0, square = 0;
        if (scalar) {
            for (int i = lane; i < dim; i += NHK_WARP)
                mean += from[i];
            mean = nhk_warp_sum(mean) / (real)dim;
        }
        for (int i = lane; i < dim; i += NHK_WARP)
            square += (from[i] - mean) * (from[i] - mean);
        const real scale = 1 / nhk_sqrt(nhk_warp_sum(square) / (real)dim + eps);
        for (int i = lane; i < dim; i += NHK_WARP)
            y[at + i] = (from[i] - mean) * scale * w[i % mul] + (scalar ? shift[i] : 0);
    }
}

void R(nhk_norm_forward)(nh_gpu *g, const nh_layout *layout, size_t n, const real *x, double eps,
                         const real *gain, const real *shift, real *y)
{
    const nhk_layout l = nhk_layout_of(g, layout);
    if (!nhk_ready(g, n * layout->dim)) return;
    NHK_RUN(g, norm_kernel, nhk_grid(g, n * layout->count * NHK_WARP, NHK_BLOCK), NHK_BLOCK, 0, l,
            (unsigned)n, x, (real)eps, gain, shift, y);
}

/* As nh_norm_backward; by_row[n][channels] receives the rows' parts of the gain's gradient (NULL: not wanted). */
static __global__ void norm_backward_kernel(nhk_layout l, unsigned n, const real *gy, const real *x, real eps,
                                            const real *gain, real *gx, bool add, real *by_row)
{
    WARP_FOR(l, n)
    {
        const int k = (int)(item % l.count), dim = l.width[k], mul = l.mul[k];
        const bool scalar = l.scalar && k == 0;
        const size_t t = item / l.count, at = (size_t)n * l.offset[k] + t * dim;
        const real *from = x + at, *g = gy + at, *w = gain + l.channel[k];
        real mean = 0, square = 0, slope = 0, level = 0;
        if (scalar) {
            for (int i = lane; i < dim; i += NHK_WARP)
                mean += from[i];
            mean = nhk_warp_sum(mean) / (real)dim;
        }
        for (int i = lane; i < dim; i += NHK_WARP) {
            const real c = from[i] - mean, wg = w[i % mul] * g[i];
            square += c * c;
            slope += wg * c;
            level += wg;
        }
        const real scale = 1 / nhk_sqrt(nhk_warp_sum(square) / (real)dim + eps);
        slope = nhk_warp_sum(slope) * scale * scale / (real)dim;
        level = nhk_warp_sum(level) / (real)dim;
        if (!scalar) level = 0;
        for (int u = lane; by_row != nullptr && u < mul; u += NHK_WARP) {
            real sum = 0;
            for (int i = u; i < dim; i += mul)
                sum += g[i] * (from[i] - mean) * scale;
            by_row[t * l.channels + l.channel[k] + u] = sum;
        }
        __syncwarp(); /* gx may be gy: other lanes have read it */
        for (int i = lane; gx != nullptr && i < dim; i += NHK_WARP) {
            const real v = scale * (g[i] * w[i % mul] - level - (from[i] - mean) * slope);
            gx[at + i] = add ? gx[at + i] + v : v;
        }
    }
}

void R(nhk_norm_backward)(nh_gpu *g, const nh_layout *layout, size_t n, const real *gy, const real *x,
                          double eps, const real *gain, real *gx, bool add, real *ggain, real *gshift)
{
    const nhk_layout l = nhk_layout_of(g, layout);
    if (!nhk_ready(g, n * layout->dim)) return;
    if (l.scalar && gshift != nullptr) /* before gx, which may be gy */
        R(nhk_column_sums)(g, n, (size_t)l.mul[0], (size_t)l.mul[0], gy, nullptr, gshift);
    real *by_row = nullptr;
    if (ggain != nullptr) {
        by_row = static_cast<real *>(nhk_scratch(g, NHK_SCRATCH_ROWS, n * layout->channels * sizeof(real)));
        if (by_row == nullptr) return;
    }
    NHK_RUN(g, norm_backward_kernel, nhk_grid(g, n * layout->count * NHK_WARP, NHK_BLOCK), NHK_BLOCK, 0, l,
            (unsigned)n, gy, x, (real)eps, gain, gx, add, by_row);
    if (by_row != nullptr)
        R(nhk_column_sums)(g, n, layout->channels, layout->channels, by_row, nullptr, ggain);
}
