/* V_H and v_xc on a device: lib/lcao/potential.c and xc.c, whose formulas at a point are the same text (lcao/functional.h). */
#include "kernels/fft.h"
#include "kernels/table.h"
#include "lcao/functional.h"

#include <cstdlib>
#include <vector>

enum { CHUNK = 1024 /* points or waves whose energy one warp sums, whichever grid there is */ };

typedef struct waves {
    size_t n, points;
    int n0, n1, half; /* of the box [n0][n1][half] */
    const short (*h)[3];
    double b[9];
} waves;

struct nhk_potential {
    nh_gpu *gpu;
    waves w; /* h is on the device */
    double volume;
    nhk_fft *fft;
    double *f, *v, *grad[3]; /* [points] */
    double *box;             /* [n0][n1][half][2] */
    double *x, *y;           /* [n][2] */
    double *sum;             /* [chunks] */
};

static size_t chunks(size_t n)
{
    return (n + CHUNK - 1) / CHUNK;
}

/* Places of G and of -G in the box; the latter only in the plane h3 = 0. */
__device__ static inline size_t place_of(const waves &w, int h0, int h1, int h2)
{
    return ((size_t)(h0 < 0 ? h0 + w.n0 : h0) * w.n1 + (h1 < 0 ? h1 + w.n1 : h1)) * w.half + h2;
}

/* G_axis = h . b. By value: an index into an array would put that into local memory. */
typedef struct axis_of {
    double b0, b1, b2;
} axis_of;

__device__ static inline double component(const waves &w, size_t i, const axis_of &a)
{
    return w.h[i][0] * a.b0 + w.h[i][1] * a.b1 + w.h[i][2] * a.b2;
}

/* x = the sphere's part of the box, scaled. Bytes: 38 a wave. */
static __global__ void pick_kernel(waves w, const double *box, double *x)
{
    const double scale = 1.0 / (double)w.points;
    NHK_FOR(i, w.n)
    {
        const size_t at = 2 * place_of(w, w.h[i][0], w.h[i][1], w.h[i][2]);
        x[2 * i] = scale * box[at];
        x[2 * i + 1] = scale * box[at + 1];
    }
}

/* y = or += iG_axis times that. Bytes: 54 a wave. */
static __global__ void pick_derivative_kernel(waves w, axis_of axis, bool add, const double *box, double *y)
{
    const double scale = 1.0 / (double)w.points;
    NHK_FOR(i, w.n)
    {
        const size_t at = 2 * place_of(w, w.h[i][0], w.h[i][1], w.h[i][2]);
        const double q = scale * component(w, i, axis), re = -q * box[at + 1], im = q * box[at];
        y[2 * i] = add ? y[2 * i] + re : re;
        y[2 * i + 1] = add ? y[2 * i + 1] + im : im;
    }
}

/* The box, zero before, from the sphere: x, or iG_axis x. Bytes: 38 a wave. */
static __global__ void spread_kernel(waves w, bool derive, axis_of axis, const double *x, double *box)
{
    NHK_FOR(i, w.n)
    {
        double re = x[2 * i], im = x[2 * i + 1];
        if (derive) {
            const double q = component(w, i, axis), was = re;
            re = -q * im;
            im = q * was;
        }
        const int h0 = w.h[i][0], h1 = w.h[i][1], h2 = w.h[i][2];
        const size_t at = 2 * place_of(w, h0, h1, h2);
        box[at] = re;
        box[at + 1] = im;
        if (h2 != 0 || (h0 == 0 && h1 == 0)) continue;
        const size_t mirror = 2 * place_of(w, -h0, -h1, 0);
        box[mirror] = re;
        box[mirror + 1] = -im;
    }
}

/* x <- 8 pi x/G^2, sum[chunk] of weight 8 pi |x|^2/G^2. A warp for each chunk. Bytes: 38 a wave. */
static __global__ void hartree_kernel(waves w, double *x, double *sum)
{
    const size_t warps = (size_t)gridDim.x * blockDim.x / NHK_WARP, all = (w.n + CHUNK - 1) / CHUNK;
    const int lane = (int)(threadIdx.x % NHK_WARP);
    for (size_t chunk = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) / NHK_WARP; chunk < all;
         chunk += warps) {
        double energy = 0;
        for (size_t i = chunk * CHUNK + lane; i < w.n && i < (chunk + 1) * CHUNK; i += NHK_WARP) {
            double q2 = 0;
            for (int axis = 0; axis < 3; axis++) {
                const double q =
                    w.h[i][0] * w.b[axis] + w.h[i][1] * w.b[3 + axis] + w.h[i][2] * w.b[6 + axis];
                q2 += q * q;
            }
            const double kernel = i == 0 ? 0 : 8 * M_PI / q2;
            energy += 2 * kernel * (x[2 * i] * x[2 * i] + x[2 * i + 1] * x[2 * i + 1]);
            x[2 * i] *= kernel;
            x[2 * i + 1] *= kernel;
        }
        energy = nhk_warp_sum(energy);
        if (lane == 0) sum[chunk] = energy;
    }
}

typedef struct gradient {
    double *g[3];
} gradient;

/* v and h from n and its gradient, which h replaces; sum[chunk] of the energy. A warp for each chunk. Bytes: 64 a point. */
static __global__ void pbe_kernel(size_t points, const double *n, gradient grad, double *v, double *sum)
{
    const size_t warps = (size_t)gridDim.x * blockDim.x / NHK_WARP, all = (points + CHUNK - 1) / CHUNK;
    const int lane = (int)(threadIdx.x % NHK_WARP);
    for (size_t chunk = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) / NHK_WARP; chunk < all;
         chunk += warps) {
        double energy = 0;
        for (size_t i = chunk * CHUNK + lane; i < points && i < (chunk + 1) * CHUNK; i += NHK_WARP) {
            double sigma = 0;
            for (int axis = 0; axis < 3; axis++)
                sigma += grad.g[axis][i] * grad.g[axis][i];
            const nh_pbe_point at = nh_pbe_at(fabs(n[i]), sigma);
            v[i] = at.v;
            energy += at.e;
            for (int axis = 0; axis < 3; axis++)
                grad.g[axis][i] *= at.h;
        }
        energy = nhk_warp_sum(energy);
        if (lane == 0) sum[chunk] = energy;
    }
}

/* Bytes: 24 a point. */
static __global__ void subtract_kernel(size_t points, const double *a, double *v)
{
    NHK_FOR(i, points)
    v[i] -= a[i];
}

static void potential_drop(nhk_potential *p);

static int potential_make(nh_gpu *g, const nhk_potential_input *in, nhk_potential **out, nh_error *err)
{
    *out = nullptr;
    nhk_potential *p = static_cast<nhk_potential *>(calloc(1, sizeof *p));
    if (p == nullptr) return nhk_error(err, "out of memory for the potential");
    p->gpu = g;
    p->volume = in->volume;
    p->w.n = in->n_wave;
    p->w.points = (size_t)in->n[0] * (size_t)in->n[1] * (size_t)in->n[2];
    p->w.n0 = in->n[0];
    p->w.n1 = in->n[1];
    p->w.half = in->n[2] / 2 + 1;
    for (int i = 0; i < 9; i++)
        p->w.b[i] = in->reciprocal[i];
    p->w.h = nhk_uploaded(g, in->wave, in->n_wave);
    double **const on_grid[] = {&p->f, &p->v, &p->grad[0], &p->grad[1], &p->grad[2]};
    for (double **r : on_grid)
        *r = static_cast<double *>(nhk_alloc(g, p->w.points, sizeof(double)));
    p->box = static_cast<double *>(
        nhk_alloc(g, (size_t)in->n[0] * (size_t)in->n[1] * (size_t)p->w.half, 2 * sizeof(double)));
    p->x = static_cast<double *>(nhk_alloc(g, in->n_wave, 2 * sizeof(double)));
    p->y = static_cast<double *>(nhk_alloc(g, in->n_wave, 2 * sizeof(double)));
    p->sum = static_cast<double *>(
        nhk_alloc(g, chunks(p->w.points > in->n_wave ? p->w.points : in->n_wave), sizeof(double)));
    p->fft = nhk_fft_new(g, in->n);
    if (nhk_sync(g, err) == 0) {
        *out = p;
        return 0;
    }
    potential_drop(p);
    return -1;
}

static void potential_drop(nhk_potential *p)
{
    if (p == nullptr) return;
    nhk_fft_free(p->fft);
    const void *arrays[] = {p->w.h,     p->f,   p->v, p->grad[0], p->grad[1],
                            p->grad[2], p->box, p->x, p->y,       p->sum};
    for (const void *a : arrays)
        nhk_free(p->gpu, const_cast<void *>(a));
    free(p);
}

static axis_of axis_number(const nhk_potential *p, int axis)
{
    const axis_of none = {0, 0, 0}, a = {p->w.b[axis < 0 ? 0 : axis], p->w.b[axis < 0 ? 0 : 3 + axis],
                                         p->w.b[axis < 0 ? 0 : 6 + axis]};
    return axis < 0 ? none : a;
}

/* axis -1: not a derivative */
static void spread(nhk_potential *p, int axis, const double *x, double *to)
{
    nh_gpu *g = p->gpu;
    nhk_zero(g, p->box, (size_t)p->w.n0 * (size_t)p->w.n1 * (size_t)p->w.half * 2 * sizeof(double));
    if (nhk_ready(g, p->w.n))
        NHK_RUN(g, spread_kernel, nhk_grid(g, p->w.n, NHK_BLOCK), NHK_BLOCK, 0, p->w, axis >= 0,
                axis_number(p, axis), x, p->box);
    nhk_fft_backward(p->fft, p->box, to);
}

static void pick(nhk_potential *p, const double *f, double *x)
{
    nh_gpu *g = p->gpu;
    nhk_fft_forward(p->fft, f, p->box);
    if (nhk_ready(g, p->w.n))
        NHK_RUN(g, pick_kernel, nhk_grid(g, p->w.n, NHK_BLOCK), NHK_BLOCK, 0, p->w, p->box, x);
}

/* v to the host, and the energy: the chunks' sums in order. */
static int finish(nhk_potential *p, size_t n_chunk, double factor, double *v, double *energy, nh_error *err)
{
    std::vector<double> sum(n_chunk);
    nhk_download(p->gpu, sum.data(), p->sum, n_chunk * sizeof(double));
    nhk_download(p->gpu, v, p->v, p->w.points * sizeof(double));
    if (nhk_sync(p->gpu, err) != 0) return -1;
    *energy = 0;
    for (const double s : sum)
        *energy += s;
    *energy *= factor;
    return 0;
}

static int potential_hartree(nhk_potential *p, const double *rho, double *v, double *energy, nh_error *err)
{
    nh_gpu *g = p->gpu;
    nhk_good(g, cudaSetDevice(g->index), "cudaSetDevice");
    nhk_upload(g, p->f, rho, p->w.points * sizeof(double));
    pick(p, p->f, p->x);
    if (nhk_ready(g, p->w.n))
        NHK_RUN(g, hartree_kernel, nhk_grid(g, chunks(p->w.n) * NHK_WARP, NHK_BLOCK), NHK_BLOCK, 0, p->w,
                p->x, p->sum);
    spread(p, -1, p->x, p->v);
    return finish(p, chunks(p->w.n), 0.5 * p->volume, v, energy, err);
}

static int potential_pbe(nhk_potential *p, const double *rho, double *v, double *energy, nh_error *err)
{
    nh_gpu *g = p->gpu;
    const size_t points = p->w.points;
    nhk_good(g, cudaSetDevice(g->index), "cudaSetDevice");
    nhk_upload(g, p->f, rho, points * sizeof(double));
    pick(p, p->f, p->x);
    for (int axis = 0; axis < 3; axis++)
        spread(p, axis, p->x, p->grad[axis]);
    const gradient grad = {{p->grad[0], p->grad[1], p->grad[2]}};
    if (nhk_ready(g, points))
        NHK_RUN(g, pbe_kernel, nhk_grid(g, chunks(points) * NHK_WARP, NHK_BLOCK), NHK_BLOCK, 0, points, p->f,
                grad, p->v, p->sum);
    for (int axis = 0; axis < 3; axis++) {
        nhk_fft_forward(p->fft, p->grad[axis], p->box);
        if (nhk_ready(g, p->w.n))
            NHK_RUN(g, pick_derivative_kernel, nhk_grid(g, p->w.n, NHK_BLOCK), NHK_BLOCK, 0, p->w,
                    axis_number(p, axis), axis > 0, p->box, p->y);
    }
    spread(p, -1, p->y, p->f);
    if (nhk_ready(g, points))
        NHK_RUN(g, subtract_kernel, nhk_grid(g, points, NHK_BLOCK), NHK_BLOCK, 0, points, p->f, p->v);
    return finish(p, chunks(points), p->volume / (double)points, v, energy, err);
}

const nhk_potential_calls nhk_potential_table = {potential_make, potential_drop, potential_hartree,
                                                 potential_pbe};
