/* gpu.h - what the sources of kernels/ share: the CUDA runtime or its emulation, the open device, launches, helpers for
 * kernels. */
#ifndef NH_KERNELS_GPU_H
#define NH_KERNELS_GPU_H

#ifdef NHK_EMULATE
#include "kernels/emu/emu.h"
#else
#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <cusolverDn.h>
/* grid and block: dim3 or numbers; `shared`: bytes of dynamic shared memory. */
#define NHK_LAUNCH(kernel, grid, block, shared, stream, ...)                                                 \
    kernel<<<grid, block, shared, stream>>>(__VA_ARGS__)
/* The block's dynamic shared memory as an array of `type`. */
#define NHK_SHARED(type, name)                                                                               \
    extern __shared__ __align__(16) unsigned char nhk_shared_memory[];                                       \
    type *name = reinterpret_cast<type *>(nhk_shared_memory)
#endif

#include "base/real.h"
#include "kernels/memory.h"
#include "plan/layout.h"

#include <cstdint>
#include <cstdio>

/* Device memory that grows: pieces in the order in which they are asked for. */
typedef struct nhk_pool {
    struct {
        void *p;
        size_t bytes;
    } piece[256];
    size_t next;
} nhk_pool;

struct nh_gpu {
    int index;
    cudaStream_t stream;
    char name[256];
    int processors; /* streaming multiprocessors */
#ifndef NHK_EMULATE
    cublasHandle_t blas;
    cusolverDnHandle_t solver; /* NULL until it is needed */
    cusolverDnParams_t solver_params;
    void *solver_host; /* its work space on the host */
    size_t solver_host_bytes;
#endif
    bool failed, no_memory;
    size_t up, down; /* bytes copied to and from the device */
    nh_error error;  /* of the first failure */
    struct {
        void *p;
        size_t bytes;
    } scratch[2];
    size_t resident; /* bytes of crystals that stay for the loss */
    nhk_pool pool;   /* of runs that are not kept, of all sub-models on the device */
};

/* cuBLAS and cuSOLVER, which open and close with the device: blas.cu. */
void nhk_blas_open(nh_gpu *g, bool tf32);
void nhk_blas_close(nh_gpu *g);

/* Keeps the first failure. */
void nhk_fail(nh_gpu *g, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* True where `e` is success, else keeps "WHAT: ..." */
bool nhk_good(nh_gpu *g, cudaError_t e, const char *what);
/* True where launches make sense: nothing has failed, and there is work. */
static inline bool nhk_ready(const nh_gpu *g, size_t work)
{
    return !g->failed && work > 0;
}
/* `bytes` of device memory that the next caller overwrites; NULL and a failure where there is not enough. They grow. */
enum {
    NHK_SCRATCH_SUMS /* of chunks; work space of libraries */,
    NHK_SCRATCH_ROWS /* of what is to be summed */
};
void *nhk_scratch(nh_gpu *g, int which, size_t bytes);

/* The next piece, of count*size bytes; NULL and a failure where there is not enough. `next` = 0 begins again. */
void *nhk_take(nh_gpu *g, nhk_pool *pool, size_t count, size_t size);
void nhk_pool_free(nh_gpu *g, nhk_pool *pool);

/* nh_fail for this archive, which has nothing of libnextham. */
int nhk_error(nh_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Launches kernel(args) with `block` threads on as many blocks as `work` threads need (kernels step by the grid). */
enum { NHK_BLOCK = 256, NHK_WARP = 32 };
static inline dim3 nhk_grid(const nh_gpu *g, size_t work, unsigned block, unsigned y = 1)
{
    const size_t wanted = (work + block - 1) / block, most = (size_t)g->processors * 64;
    return dim3((unsigned)(wanted < most ? wanted : most), y, 1);
}
#define NHK_RUN(g, kernel, grid, block, shared, ...)                                                         \
    do {                                                                                                     \
        NHK_LAUNCH(kernel, grid, block, shared, (g)->stream, __VA_ARGS__);                                   \
        nhk_good(g, cudaGetLastError(), #kernel);                                                            \
    } while (0)

/* ---- layouts by value, for kernels */

enum { NHK_GROUPS = 24 };
typedef struct nhk_layout {
    int count, dim, channels;
    int offset[NHK_GROUPS], width[NHK_GROUPS] /* rows*mul */, mul[NHK_GROUPS], rows[NHK_GROUPS],
        channel[NHK_GROUPS];
    bool scalar; /* group 0 is 0e */
} nhk_layout;
/* Fails (for nhk_sync) where there are more than NHK_GROUPS groups. */
nhk_layout nhk_layout_of(nh_gpu *g, const nh_layout *layout);

/* ---- in kernels */

#define NHK_FOR(i, n)                                                                                        \
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < (n);                                  \
         i += (size_t)gridDim.x * blockDim.x)

__device__ static inline float nhk_exp(float x)
{
    return expf(x);
}
__device__ static inline double nhk_exp(double x)
{
    return exp(x);
}
__device__ static inline float nhk_sqrt(float x)
{
    return sqrtf(x);
}
__device__ static inline double nhk_sqrt(double x)
{
    return sqrt(x);
}
template <typename T> __device__ static inline T nhk_sigmoid(T x)
{
    return 1 / (1 + nhk_exp(-x));
}
/* Sum over the lanes of a warp, and their largest number, the same bits in all of them. */
#ifdef NHK_EMULATE
#define nhk_warp_sum(x)                                                                                      \
    emu_warp_sum(x, __LINE__) /* the same sums with one exchange instead of five: for speed */
#else
template <typename T> __device__ static inline T nhk_warp_sum(T x)
{
    for (int d = NHK_WARP / 2; d > 0; d /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, d);
    return x;
}
#endif
template <typename T> __device__ static inline T nhk_warp_max(T x)
{
    for (int d = NHK_WARP / 2; d > 0; d /= 2) {
        const T y = __shfl_xor_sync(0xffffffffu, x, d);
        x = y > x ? y : x;
    }
    return x;
}

/* n numbers or records of the host in memory of their own on the device; NULL after an error. The caller frees (nhk_free). */
template <typename T> static inline T *nhk_uploaded(nh_gpu *g, const T *from, size_t n)
{
    T *p = static_cast<T *>(nhk_alloc(g, n, sizeof(T)));
    if (p != nullptr) nhk_upload(g, p, from, n * sizeof(T));
    return p;
}

#endif
