/* The optimiser's loops: lib/training/adam.c, on all parameters of a sub-model at once. */
#include "kernels/gpu.h"
#include "kernels/ops.h"

/* nhk_adam in the precision of the weights: STEP of adam.c. */
typedef struct adam {
    real b1, b2, a1, a2, eps, f, rate, c, decay, keep;
} adam;

static __global__ void adam_kernel(size_t n, adam o, const real *g, real *m, real *v, real *w)
{
    NHK_FOR(k, n)
    {
        const real x = o.keep * w[k], gk = o.f * g[k] + o.decay * w[k], mk = o.b1 * m[k] + o.a1 * gk,
                   vk = o.b2 * v[k] + o.a2 * gk * gk;
        m[k] = mk;
        v[k] = vk;
        w[k] = x - o.rate * mk / (nhk_sqrt(vk) * o.c + o.eps);
    }
}

void R(nhk_adam_step)(nh_gpu *g, const nhk_adam *o, size_t n, const real *gradient, real *m, real *v, real *w)
{
    const adam a = {(real)o->beta[0], (real)o->beta[1], (real)(1 - o->beta[0]), (real)(1 - o->beta[1]),
                    (real)o->eps,     (real)o->factor,  (real)o->size,          (real)o->scale,
                    (real)o->decay,   (real)o->keep};
    if (nhk_ready(g, n))
        NHK_RUN(g, adam_kernel, nhk_grid(g, n, NHK_BLOCK), NHK_BLOCK, 0, n, a, gradient, m, v, w);
}

static __global__ void average_kernel(size_t n, real part, const real *w, real *average)
{
    NHK_FOR(k, n)
    average[k] += part * (w[k] - average[k]);
}

void R(nhk_weights_average)(nh_gpu *g, size_t n, double decay, const real *w, real *average)
{
    if (nhk_ready(g, n))
        NHK_RUN(g, average_kernel, nhk_grid(g, n, NHK_BLOCK), NHK_BLOCK, 0, n, (real)(1 - decay), w, average);
}

/* Chunks of fixed size, so that the order of the sum does not depend on the device. */
enum { CHUNK = 8192 };

/* A warp a chunk. */
static __global__ void squares_kernel(size_t n, size_t chunks, const real *x, double *partial)
{
    const unsigned lane = threadIdx.x % NHK_WARP;
    for (size_t chunk = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) / NHK_WARP; chunk < chunks;
         chunk += (size_t)gridDim.x * blockDim.x / NHK_WARP) {
        const size_t first = chunk * CHUNK, end = first + CHUNK < n ? first + CHUNK : n;
        double sum = 0;
        for (size_t k = first + lane; k < end; k += NHK_WARP)
            sum += (double)x[k] * (double)x[k];
        sum = nhk_warp_sum(sum);
        if (lane == 0) partial[chunk] = sum;
    }
}

/* One warp. */
static __global__ void root_kernel(size_t chunks, const double *partial, double *norm)
{
    double sum = 0;
    for (size_t k = threadIdx.x; k < chunks; k += NHK_WARP)
        sum += partial[k];
    sum = nhk_warp_sum(sum);
    if (threadIdx.x == 0) *norm = nhk_sqrt(sum);
}

void R(nhk_weights_norm)(nh_gpu *g, size_t n, const real *x, double *norm)
{
    const size_t chunks = (n + CHUNK - 1) / CHUNK;
    if (!nhk_ready(g, n)) return;
    double *partial = static_cast<double *>(nhk_scratch(g, NHK_SCRATCH_SUMS, chunks * sizeof *partial));
    if (partial == nullptr) return;
    NHK_RUN(g, squares_kernel, nhk_grid(g, chunks * NHK_WARP, NHK_BLOCK), NHK_BLOCK, 0, n, chunks, x,
            partial);
    NHK_RUN(g, root_kernel, 1, NHK_WARP, 0, chunks, partial, norm);
}
