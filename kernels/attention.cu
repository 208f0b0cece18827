#include "kernels/gpu.h"
#include "kernels/ops.h"

/* Number `i` of n rows in group k = blockIdx.y: row and head. */
__device__ static inline int head_of(const nhk_layout &l, int k, int heads, size_t i)
{
    const int mul = l.mul[k];
    return (int)(i % mul) / (mul / heads);
}

static dim3 number_grid(const nh_gpu *g, const nh_layout *layout, size_t n)
{
    return nhk_grid(g, n * layout->dim, NHK_BLOCK, (unsigned)layout->count);
}

static __global__ void heads_kernel(nhk_layout l, int heads, unsigned n, unsigned n_row, const int *row,
                                    int base, const real *a, const real *v, real *y)
{
    const int k = (int)blockIdx.y, dim = l.width[k];
    NHK_FOR(i, (size_t)n_row * dim)
    {
        const size_t r = row != nullptr ? (size_t)(row[i / dim] - base) : i / dim;
        y[(size_t)n_row * l.offset[k] + i] =
            a[r * heads + head_of(l, k, heads, i % dim)] * v[(size_t)n * l.offset[k] + r * dim + i % dim];
    }
}

void R(nhk_heads_forward)(nh_gpu *g, const nh_layout *layout, size_t heads, size_t n, size_t n_row,
                          const int *row, int base, const real *a, const real *v, real *y)
{
    const nhk_layout l = nhk_layout_of(g, layout);
    if (!nhk_ready(g, n_row * layout->dim)) return;
    NHK_RUN(g, heads_kernel, number_grid(g, layout, n_row), NHK_BLOCK, 0, l, (int)heads, (unsigned)n,
            (unsigned)n_row, row, base, a, v, y);
}

/* A warp for each listed row and head. */
#define WARP_FOR(item, n)                                                                                    \
    const int lane = threadIdx.x % NHK_WARP;                                                                 \
    for (size_t item = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) / NHK_WARP; item < (n);               \
         item += (size_t)gridDim.x * blockDim.x / NHK_WARP)

/* Column of number i (0 .. rows*mu-1) of head h in group k. */
__device__ static inline int head_column(const nhk_layout &l, int k, int heads, int h, int i)
{
    const int mu = l.mul[k] / heads;
    return i / mu * l.mul[k] + h * mu + i % mu;
}

static __global__ void heads_backward_kernel(nhk_layout l, int heads, unsigned n, unsigned n_row,
                                             const int *row, int base, const real *gy, const real *a,
                                             const real *v, real *ga, real *gv)
{
    WARP_FOR(item, (size_t)n_row * heads)
    {
        const size_t i = item / heads, r = row != nullptr ? (size_t)(row[i] - base) : i;
        const int h = (int)(item % heads);
        const real w = a[r * heads + h];
        real sum = 0;
        for (int k = 0; k < l.count; k++)
            for (int j = lane; j < l.width[k] / heads; j += NHK_WARP) {
                const int column = head_column(l, k, heads, h, j);
                const real g = gy[(size_t)n_row * l.offset[k] + i * l.width[k] + column];
                const size_t at = (size_t)n * l.offset[k] + r * l.width[k] + column;
                sum += g * v[at];
                if (gv != nullptr) gv[at] += w * g;
            }
        sum = nhk_warp_sum(sum);
        if (ga != nullptr && lane == 0) ga[r * heads + h] += sum;
    }
}

void R(nhk_heads_backward)(nh_gpu *g, const nh_layout *layout, size_t heads, size_t n, size_t n_row,
                           const int *row, int base, const real *gy, const real *a, const real *v, real *ga,
                           real *gv, bool add)
{
    const nhk_layout l = nhk_layout_of(g, layout);
    if (!add && ga != nullptr) nhk_zero(g, ga, n * heads * sizeof(real));
    if (!add && gv != nullptr) nhk_zero(g, gv, n * layout->dim * sizeof(real));
    if (!nhk_ready(g, n_row * layout->dim)) return;
    NHK_RUN(g, heads_backward_kernel, nhk_grid(g, n_row * heads * NHK_WARP, NHK_BLOCK), NHK_BLOCK, 0, l,
            (int)heads, (unsigned)n, (unsigned)n_row, row, base, gy, a, v, ga, gv);
}

/* A warp for each part and head. */
static __global__ void partial_sums_kernel(int heads, unsigned n_part, const int *begin, int base,
                                           const real *a, const real *copies, real *max, real *sum)
{
    WARP_FOR(item, (size_t)n_part * heads)
    {
        const size_t p = item / heads, h = item % heads;
        const int first = begin[p] - base, end = begin[p + 1] - base;
        real top = a[(size_t)first * heads + h], total = 0;
        for (int t = first + lane; t < end; t += NHK_WARP)
            top = a[(size_t)t * heads + h] > top ? a[(size_t)t * heads + h] : top;
        top = nhk_warp_max(top);
        for (int t = first + lane; t < end; t += NHK_WARP)
            total += copies[t] * nhk_exp(a[(size_t)t * heads + h] - top);
        total = nhk_warp_sum(total);
        if (lane > 0) continue;
        max[item] = top;
        sum[item] = total;
    }
}

/* grid.y: group; one part and number of it. */
static __global__ void partial_values_kernel(nhk_layout l, int heads, unsigned n, unsigned n_part,
                                             const int *begin, int base, const real *a, const real *copies,
                                             const real *v, const real *max, real *value)
{
    const int k = (int)blockIdx.y, dim = l.width[k];
    NHK_FOR(i, (size_t)n_part * dim)
    {
        const size_t p = i / dim, j = i % dim;
        const int h = head_of(l, k, heads, j);
        const real top = max[p * heads + h], *from = v + (size_t)n * l.offset[k] + j;
        real sum = 0;
        for (int t = begin[p] - base; t < begin[p + 1] - base; t++)
            sum += copies[t] * nhk_exp(a[(size_t)t * heads + h] - top) * from[(size_t)t * dim];
        value[p * l.dim + l.offset[k] + j] = sum;
    }
}

void R(nhk_softmax_partial_forward)(nh_gpu *g, const nh_layout *layout, size_t heads, size_t n, size_t n_part,
                                    const int *begin, int base, const real *a, const real *copies,
                                    const real *v, real *max, real *sum, real *value)
{
    const nhk_layout l = nhk_layout_of(g, layout);
    if (!nhk_ready(g, n_part * layout->dim)) return;
    NHK_RUN(g, partial_sums_kernel, nhk_grid(g, n_part * heads * NHK_WARP, NHK_BLOCK), NHK_BLOCK, 0,
            (int)heads, (unsigned)n_part, begin, base, a, copies, max, sum);
    NHK_RUN(g, partial_values_kernel, number_grid(g, layout, n_part), NHK_BLOCK, 0, l, (int)heads,
            (unsigned)n, (unsigned)n_part, begin, base, a, copies, v, max, value);
}

/* Largest maximum, and denominator, of a node's partial results. */
__device__ static inline void merge(int heads, int h, int first, int end, const real *max, const real *sum,
                                    real *top, real *total)
{
    real m = first < end ? max[(size_t)first * heads + h] : 0, s = 0;
    for (int i = first; i < end; i++)
        m = max[(size_t)i * heads + h] > m ? max[(size_t)i * heads + h] : m;
    for (int i = first; i < end; i++)
        s += sum[(size_t)i * heads + h] * nhk_exp(max[(size_t)i * heads + h] - m);
    *top = m;
    *total = s + (real)1e-16;
}

static __global__ void merge_kernel(nhk_layout l, int heads, unsigned n_node, const int *begin,
                                    const real *max, const real *sum, const real *value, real *y)
{
    const int k = (int)blockIdx.y, dim = l.width[k];
    NHK_FOR(i, (size_t)n_node * dim)
    {
        const size_t node = i / dim, column = l.offset[k] + i % dim;
        const int h = head_of(l, k, heads, i % dim), first = begin[node], end = begin[node + 1];
        real top, total, out = 0;
        merge(heads, h, first, end, max, sum, &top, &total);
        for (int p = first; p < end; p++)
            out += nhk_exp(max[(size_t)p * heads + h] - top) / total * value[(size_t)p * l.dim + column];
        y[node * l.dim + column] = out;
    }
}

void R(nhk_softmax_merge_forward)(nh_gpu *g, const nh_layout *layout, size_t heads, size_t n_node,
                                  const int *begin, const real *max, const real *sum, const real *value,
                                  real *y)
{
    const nhk_layout l = nhk_layout_of(g, layout);
    if (!nhk_ready(g, n_node * layout->dim)) return;
    NHK_RUN(g, merge_kernel, number_grid(g, layout, n_node), NHK_BLOCK, 0, l, (int)heads, (unsigned)n_node,
            begin, max, sum, value, y);
}

/* A warp for each node and head. */
static __global__ void merge_backward_kernel(nhk_layout l, int heads, unsigned n_node, const int *begin,
                                             const real *gy, const real *max, const real *sum, const real *y,
                                             real *max_all, real *total, real *dot)
{
    WARP_FOR(item, (size_t)n_node * heads)
    {
        const size_t node = item / heads;
        const int h = (int)(item % heads);
        real top, all, product = 0;
        merge(heads, h, begin[node], begin[node + 1], max, sum, &top, &all);
        for (int k = 0; k < l.count; k++)
            for (int j = lane; j < l.width[k] / heads; j += NHK_WARP) {
                const size_t at = node * l.dim + l.offset[k] + head_column(l, k, heads, h, j);
                product += gy[at] * y[at];
            }
        product = nhk_warp_sum(product);
        if (lane > 0) continue;
        max_all[item] = top;
        total[item] = all;
        dot[item] = product;
    }
}

void R(nhk_softmax_merge_backward)(nh_gpu *g, const nh_layout *layout, size_t heads, size_t n_node,
                                   const int *begin, const real *gy, const real *max, const real *sum,
                                   const real *y, real *max_all, real *total, real *dot)
{
    const nhk_layout l = nhk_layout_of(g, layout);
    if (!nhk_ready(g, n_node * layout->dim)) return;
    NHK_RUN(g, merge_backward_kernel, nhk_grid(g, n_node * heads * NHK_WARP, NHK_BLOCK), NHK_BLOCK, 0, l,
            (int)heads, (unsigned)n_node, begin, gy, max, sum, y, max_all, total, dot);
}

/* A warp for each row and head. */
static __global__ void partial_backward_kernel(nhk_layout l, int heads, unsigned n, const int *node,
                                               const real *gy, const real *max_all, const real *total,
                                               const real *dot, const real *a, const real *copies,
                                               const real *v, real *ga, real *gv, bool add)
{
    WARP_FOR(item, (size_t)n * heads)
    {
        const size_t t = item / heads, at_head = (size_t)node[t] * heads + item % heads;
        const int h = (int)(item % heads);
        const real b = copies[t] * nhk_exp(a[item] - max_all[at_head]) / total[at_head];
        real product = 0;
        for (int k = 0; k < l.count; k++)
            for (int j = lane; j < l.width[k] / heads; j += NHK_WARP) {
                const int column = head_column(l, k, heads, h, j);
                const real g = gy[(size_t)node[t] * l.dim + l.offset[k] + column];
                const size_t at = (size_t)n * l.offset[k] + t * l.width[k] + column;
                product += g * v[at];
                if (gv != nullptr) gv[at] = add ? gv[at] + b * g : b * g;
            }
        product = nhk_warp_sum(product);
        if (ga == nullptr || lane > 0) continue;
        ga[item] = (add ? ga[item] : 0) + b * (product - dot[at_head]);
    }
}

void R(nhk_softmax_partial_backward)(nh_gpu *g, const nh_layout *layout, size_t heads, size_t n,
                                     const int *node, const real *gy, const real *max_all, const real *total,
                                     const real *dot, const real *a, const real *copies, const real *v,
                                     real *ga, real *gv, bool add)
{
    const nhk_layout l = nhk_layout_of(g, layout);
    if (!nhk_ready(g, n * layout->dim)) return;
    NHK_RUN(g, partial_backward_kernel, nhk_grid(g, n * heads * NHK_WARP, NHK_BLOCK), NHK_BLOCK, 0, l,
            (int)heads, (unsigned)n, node, gy, max_all, total, dot, a, copies, v, ga, gv, add);
}
