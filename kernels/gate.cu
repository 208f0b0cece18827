#include "kernels/gpu.h"
#include "kernels/ops.h"

/* docs/network.md 2.3, as lib/ops/gate.c */
#define SILU ((real)1.6791767923989418)
#define SIGMOID ((real)1.8467055342154763)

typedef struct gates {
    int first[NHK_GROUPS];
} gates;

static gates gates_of(const nh_layout *out, const size_t *first)
{
    gates f = {};
    for (size_t i = 0; i < out->count && i < NHK_GROUPS; i++)
        f.first[i] = (int)first[i];
    return f;
}

/* grid.y: group of the output */
static __global__ void gate_kernel(nhk_layout in, nhk_layout out, gates f, unsigned n, const real *x, real *y)
{
    const int k = (int)blockIdx.y, dim = out.width[k], mul = out.mul[k], width = in.width[0];
    NHK_FOR(i, (size_t)n * dim)
    {
        const size_t t = i / dim;
        const int u = (int)(i % dim) % mul;
        if (k == 0 && out.scalar) {
            const real a = x[t * width + u];
            y[i] = SILU * a * nhk_sigmoid(a);
        } else {
            y[(size_t)n * out.offset[k] + i] =
                SIGMOID * nhk_sigmoid(x[t * width + f.first[k] + u]) * x[(size_t)n * in.offset[k] + i];
        }
    }
}

void R(nhk_gate_forward)(nh_gpu *g, const nh_layout *in, const nh_layout *out, const size_t *first, size_t n,
                         const real *x, real *y)
{
    const nhk_layout a = nhk_layout_of(g, in), b = nhk_layout_of(g, out);
    if (!nhk_ready(g, n * out->dim)) return;
    NHK_RUN(g, gate_kernel, nhk_grid(g, n * out->dim, NHK_BLOCK, (unsigned)out->count), NHK_BLOCK, 0, a, b,
            gates_of(out, first), (unsigned)n, x, y);
}

/* grid.y: group; one thread a row and channel */
static __global__ void gate_backward_kernel(nhk_layout in, nhk_layout out, gates f, unsigned n,
                                            const real *gy, const real *x, real *gx)
{
    const int k = (int)blockIdx.y, dim = out.width[k], mul = out.mul[k], width = in.width[0];
    NHK_FOR(i, (size_t)n * mul)
    {
        const size_t t = i / mul;
        const int u = (int)(i % mul);
        if (k == 0 && out.scalar) {
            const real a = x[t * width + u], sigma = nhk_sigmoid(a);
            gx[t * width + u] = SILU * sigma * (1 + a * (1 - sigma)) * gy[i];
            continue;
        }
        const size_t gate = t * width + f.first[k] + u, to = (size_t)n * out.offset[k] + t * dim + u,
                     from = (size_t)n * in.offset[k] + t * dim + u;
        const real sigma = nhk_sigmoid(x[gate]), factor = SIGMOID * sigma;
        real sum = 0;
        for (int m = 0; m < dim; m += mul) {
            sum += gy[to + m] * x[from + m];
            gx[from + m] = factor * gy[to + m];
        }
        gx[gate] = factor * (1 - sigma) * sum;
    }
}

void R(nhk_gate_backward)(nh_gpu *g, const nh_layout *in, const nh_layout *out, const size_t *first, size_t n,
                          const real *gy, const real *x, real *gx)
{
    const nhk_layout a = nhk_layout_of(g, in), b = nhk_layout_of(g, out);
    if (!nhk_ready(g, n * out->dim)) return;
    NHK_RUN(g, gate_backward_kernel, nhk_grid(g, n * out->channels, NHK_BLOCK, (unsigned)out->count),
            NHK_BLOCK, 0, a, b, gates_of(out, first), (unsigned)n, gy, x, gx);
}
