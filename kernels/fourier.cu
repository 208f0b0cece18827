/* H(k) and S(k) from H(R) and S(R), which stay on the device: crystal/fourier.c. */
#include "kernels/fourier.h"
#include "kernels/table.h"

#include <cstdlib>

struct nhk_fourier {
    nh_gpu *gpu;
    nhk_fourier_input in; /* its pointers are on the device */
    double *phase, *h, *s;
    size_t room, phases; /* k-points that h and s, and phase, have room for */
};

static void fourier_drop(nhk_fourier *f);

static int fourier_make(nh_gpu *g, const nhk_fourier_input *in, nhk_fourier **out, nh_error *err)
{
    *out = nullptr;
    nhk_fourier *f = static_cast<nhk_fourier *>(calloc(1, sizeof *f));
    if (f == nullptr) return nhk_error(err, "out of memory for the Fourier sums");
    f->gpu = g;
    f->in = *in;
    f->in.group = nhk_uploaded(g, in->group, in->n_group);
    f->in.cell_of = nhk_uploaded(g, in->cell_of, in->n_pair);
    f->in.matrix = nhk_uploaded(g, in->matrix, 2 * in->n_elem * (size_t)in->spin_blocks);
    f->in.overlap = nhk_uploaded(g, in->overlap, in->n_elem);
    if (nhk_sync(g, err) == 0) {
        *out = f;
        return 0;
    }
    fourier_drop(f);
    return -1;
}

static void fourier_drop(nhk_fourier *f)
{
    if (f == nullptr) return;
    const void *arrays[] = {f->in.group, f->in.cell_of, f->in.matrix, f->in.overlap, f->phase, f->h, f->s};
    for (const void *p : arrays)
        nhk_free(f->gpu, const_cast<void *>(p));
    free(f);
}

/* v as element (i, j) of the block of a pair of atoms in spin block (s1, s2): in the upper triangle, its conjugate below. */
__device__ static inline void place(const nhk_fourier_group *q, size_t basis, int n_spin, int s1, int s2,
                                    int i, int j, double re, double im, double *to)
{
    const size_t a = (size_t)(q->row + i) * n_spin + s1, b = (size_t)(q->column + j) * n_spin + s2;
    if (a > b) return;
    to[2 * (a * basis + b)] = re;
    to[2 * (a * basis + b) + 1] = a == b ? 0 : im;
    if (a == b) return;
    to[2 * (b * basis + a)] = re;
    to[2 * (b * basis + a) + 1] = -im;
}

/* A block for each pair of atoms, a thread for each element of its spin blocks; phases [n][n_cell] of the k-points. Bytes: 16
 * an element of H and cell, and 32 an element and k-point; 4 multiply-adds an element, cell and k-point. */
static __global__ void matrix_kernel(nhk_fourier_input in, unsigned n, const double *phase, double *h)
{
    const int n_spin = in.spin_blocks == 4 ? 2 : 1;
    for (size_t g = blockIdx.x; g < in.n_group; g += gridDim.x) {
        const nhk_fourier_group q = in.group[g];
        for (int i = (int)threadIdx.x; i < q.width * in.spin_blocks; i += (int)blockDim.x) {
            const int spin = i / q.width, e = i % q.width;
            const double *block = in.matrix + 2 * (spin * in.n_elem + q.start + e);
            for (unsigned k = 0; k < n; k++) {
                double re = 0, im = 0;
                for (int r = 0; r < q.count; r++) {
                    const double *p = phase + 2 * (k * in.n_cell + in.cell_of[q.first + r]),
                                 x = block[2 * (size_t)r * q.width], y = block[2 * (size_t)r * q.width + 1];
                    re += p[0] * x - p[1] * y;
                    im += p[0] * y + p[1] * x;
                }
                place(&q, in.basis, n_spin, spin / n_spin, spin % n_spin, e / q.columns, e % q.columns, re,
                      im, h + 2 * k * in.basis * in.basis);
            }
        }
    }
}

/* The same for S, which is real and the same for both spins. */
static __global__ void overlap_kernel(nhk_fourier_input in, unsigned n, const double *phase, double *s)
{
    const int n_spin = in.spin_blocks == 4 ? 2 : 1;
    for (size_t g = blockIdx.x; g < in.n_group; g += gridDim.x) {
        const nhk_fourier_group q = in.group[g];
        for (int e = (int)threadIdx.x; e < q.width; e += (int)blockDim.x)
            for (unsigned k = 0; k < n; k++) {
                double re = 0, im = 0;
                for (int r = 0; r < q.count; r++) {
                    const double *p = phase + 2 * (k * in.n_cell + in.cell_of[q.first + r]),
                                 x = in.overlap[q.start + e + (size_t)r * q.width];
                    re += p[0] * x;
                    im += p[1] * x;
                }
                for (int spin = 0; spin < n_spin; spin++)
                    place(&q, in.basis, n_spin, spin, spin, e / q.columns, e % q.columns, re, im,
                          s + 2 * k * in.basis * in.basis);
            }
    }
}

static void make_room(nhk_fourier *f, size_t n)
{
    nh_gpu *g = f->gpu;
    const size_t size = 2 * f->in.basis * f->in.basis;
    if (n <= f->room) return;
    nhk_free(g, f->h);
    nhk_free(g, f->s);
    f->room = 0;
    f->h = static_cast<double *>(nhk_alloc(g, n * size, sizeof(double)));
    f->s = static_cast<double *>(nhk_alloc(g, n * size, sizeof(double)));
    if (!g->failed) f->room = n;
}

static void queue(nhk_fourier *f, size_t n, const double *phase, double *h, double *s)
{
    nh_gpu *g = f->gpu;
    const size_t bytes = n * 2 * f->in.basis * f->in.basis * sizeof(double);
    const dim3 grid = nhk_grid(g, f->in.n_group, 1);
    if (n > f->phases) {
        nhk_free(g, f->phase);
        f->phase = static_cast<double *>(nhk_alloc(g, n * f->in.n_cell, 2 * sizeof(double)));
        f->phases = f->phase != nullptr ? n : 0;
    }
    nhk_upload(g, f->phase, phase, n * f->in.n_cell * 2 * sizeof(double));
    if (h != nullptr && nhk_ready(g, n * f->in.n_group)) {
        nhk_zero(g, h, bytes);
        NHK_RUN(g, matrix_kernel, grid, 128, 0, f->in, (unsigned)n, f->phase, h);
    }
    if (s != nullptr && nhk_ready(g, n * f->in.n_group)) {
        nhk_zero(g, s, bytes);
        NHK_RUN(g, overlap_kernel, grid, 128, 0, f->in, (unsigned)n, f->phase, s);
    }
}

int nhk_fourier_queue(nhk_fourier *f, size_t n, const double *phase, double *h, double *s,
                      cudaStream_t *stream, nh_error *err)
{
    nhk_good(f->gpu, cudaSetDevice(f->gpu->index), "cudaSetDevice");
    queue(f, n, phase, h, s);
    *stream = f->gpu->stream;
    return f->gpu->failed ? nhk_sync(f->gpu, err) : 0;
}

static int fourier_at(nhk_fourier *f, size_t n, const double *phase, double *h, double *s, nh_error *err)
{
    nh_gpu *g = f->gpu;
    const size_t bytes = n * 2 * f->in.basis * f->in.basis * sizeof(double);
    nhk_good(g, cudaSetDevice(g->index), "cudaSetDevice");
    make_room(f, n);
    queue(f, n, phase, h != nullptr ? f->h : nullptr, s != nullptr ? f->s : nullptr);
    if (h != nullptr) nhk_download(g, h, f->h, bytes);
    if (s != nullptr) nhk_download(g, s, f->s, bytes);
    return nhk_sync(g, err);
}

const nhk_fourier_calls nhk_fourier_table = {fourier_make, fourier_drop, fourier_at};
