/* emu.h - the CUDA execution model on the host, as far as the kernels use it: for tests and for nothing else.
 *
 * A source of kernels/ that includes gpu.h is compiled as C++ against this header where NHK_EMULATE is defined, and by
 * nvcc otherwise. What is there, and all that kernels may use:
 *
 *   kernels      __global__, __device__, threadIdx, blockIdx, blockDim, gridDim, NHK_LAUNCH, NHK_SHARED (dynamic shared
 *                memory), __syncthreads, __syncwarp, __shfl_sync, __shfl_xor_sync, __shfl_down_sync, __ballot_sync,
 *                __any_sync, __all_sync, atomicAdd, atomicMax on int and unsigned
 *   host         the cuda... functions below, with the meaning that the CUDA documentation gives them
 *
 * Threads of a block are fibers, blocks run one after another in an order shuffled by emu_seed. Work given to a stream
 * waits there until somebody synchronises; then streams are served in an order shuffled by the seed, as events allow, so
 * that a missing synchronisation shows as stale numbers. The current device is one of each host thread, as with CUDA, and
 * several host threads can work at once, on one device in turn, on different ones side by side. A fault prints one line "emu: WHERE: WHAT" and aborts:
 *
 *   - access beyond the end or before the beginning of device memory, after cudaFree, or by the host at all
 *     (device memory is out of reach except while work runs); numbers never written are NaN
 *   - work in a stream, an event or memory of another device than the one where it should be
 *   - a barrier that not all threads of the block reach, or different ones; the same for warp functions and their mask
 *   - too many threads, too much shared memory, an empty grid; shared memory that was never written is NaN
 *   - memory not freed when emu_leaks asks
 */
#ifndef NHK_EMU_EMU_H
#define NHK_EMU_EMU_H

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <math.h>
#include <tuple>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__ __restrict

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};
extern __thread dim3 threadIdx, blockIdx, blockDim, gridDim;

/* ---- host side */

typedef enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorNotReady = 600,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101
} cudaError_t;
typedef struct emu_stream *cudaStream_t;
typedef struct emu_event *cudaEvent_t;
typedef enum cudaMemcpyKind {
    cudaMemcpyHostToHost,
    cudaMemcpyHostToDevice,
    cudaMemcpyDeviceToHost,
    cudaMemcpyDeviceToDevice,
    cudaMemcpyDefault
} cudaMemcpyKind;
typedef struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem, sharedMemPerBlockOptin;
    int major, minor, multiProcessorCount, memoryBusWidth, l2CacheSize;
} cudaDeviceProp;
enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2, cudaEventDefault = 0 };
typedef enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize } cudaFuncAttribute;
typedef enum cudaDeviceAttr { cudaDevAttrClockRate, cudaDevAttrMemoryClockRate } cudaDeviceAttr;

const char *cudaGetErrorString(cudaError_t e);
cudaError_t cudaGetLastError(void);
cudaError_t cudaGetDeviceCount(int *n);
cudaError_t cudaSetDevice(int index);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int index);
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int index);
cudaError_t cudaMemGetInfo(size_t *available, size_t *total);
cudaError_t cudaMalloc(void **p, size_t bytes);
cudaError_t cudaFree(void *p);
cudaError_t cudaMallocHost(void **p, size_t bytes);
cudaError_t cudaFreeHost(void *p);
/* Host memory that is not from cudaMallocHost is read when this is called, as on the real device. */
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t s);
cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t s);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t s);
cudaError_t cudaStreamSynchronize(cudaStream_t s);
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned flags);
cudaError_t cudaDeviceSynchronize(void);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t e);
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s);
cudaError_t cudaEventSynchronize(cudaEvent_t e);
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to);
template <typename F> cudaError_t cudaFuncSetAttribute(F *, cudaFuncAttribute, int bytes)
{
    return bytes <= 227 * 1024 ? cudaSuccess : cudaErrorInvalidValue;
}

/* ---- for tests */

extern "C" {
/* Order of blocks and streams; 0: ascending. */
void emu_seed(uint64_t seed);
/* Bytes of memory each device has (default 8 GiB); what is taken already stays. Devices there are (default 2). */
void emu_memory(size_t bytes);
void emu_devices(int n);
/* Allocations of device and pinned memory that live, and the most bytes of one device's memory that ever did. */
size_t emu_leaks(void);
size_t emu_peak(void);
/* Kernels that ran since the last call. */
size_t emu_launches(void);
}

/* ---- for the BLAS double and the launch macro */

/* Appends work to a stream; during it device memory can be reached. */
void emu_enqueue(cudaStream_t s, const char *name, std::function<void()> work);
void emu_run_grid(const char *name, dim3 grid, dim3 block, size_t shared, const std::function<void()> &body);
void emu_check_launch(const char *name, dim3 grid, dim3 block, size_t shared);

template <typename... P, typename... A>
void emu_launch(const char *name, dim3 grid, dim3 block, size_t shared, cudaStream_t s, void (*kernel)(P...),
                A... a)
{
    emu_check_launch(name, grid, block, shared);
    std::tuple<P...> bound(a...); /* arguments have their values at the launch, as on the device */
    emu_enqueue(s, name,
                [=] { emu_run_grid(name, grid, block, shared, [&] { std::apply(kernel, bound); }); });
}
#define NHK_LAUNCH(kernel, grid, block, shared, stream, ...)                                                 \
    emu_launch(#kernel, grid, block, shared, stream, kernel, __VA_ARGS__)

/* ---- in kernels */

void *emu_shared(void);
#define NHK_SHARED(type, name) type *name = static_cast<type *>(emu_shared())

void emu_barrier(int line);
#define __syncthreads() emu_barrier(__LINE__)

/* All lanes of the mask deposit `bytes` at `value` and see what the others did: table[lane]. */
const void *emu_exchange(unsigned mask, const void *value, size_t bytes, int line);
static inline int emu_lane(void)
{
    return (int)((threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32);
}
template <typename T> T emu_shuffle(unsigned mask, T value, int source, int line)
{
    const char *all = static_cast<const char *>(emu_exchange(mask, &value, sizeof value, line));
    T out;
    memcpy(&out, all + 16 * (source & 31), sizeof out);
    return out;
}
template <typename T> T emu_shuffle_down(unsigned mask, T value, int delta, int line)
{
    const int from = emu_lane() + delta;
    return emu_shuffle(mask, value, from > 31 ? emu_lane() : from, line);
}
#define __shfl_sync(mask, value, source) emu_shuffle(mask, value, source, __LINE__)
#define __shfl_xor_sync(mask, value, with) emu_shuffle(mask, value, emu_lane() ^ (with), __LINE__)
#define __shfl_down_sync(mask, value, delta) emu_shuffle_down(mask, value, delta, __LINE__)
template <typename T> T emu_warp_sum(T value, int line)
{
    const char *all = static_cast<const char *>(emu_exchange(0xffffffffu, &value, sizeof value, line));
    T lane[32];
    for (int i = 0; i < 32; i++)
        memcpy(&lane[i], all + 16 * i, sizeof lane[i]);
    for (int d = 16; d > 0; d /= 2)
        for (int i = 0; i < d; i++)
            lane[i] += lane[i + d];
    return lane[0];
}
unsigned emu_ballot(unsigned mask, bool yes, int line);
#define __ballot_sync(mask, yes) emu_ballot(mask, yes, __LINE__)
#define __any_sync(mask, yes) (emu_ballot(mask, yes, __LINE__) != 0)
#define __all_sync(mask, yes) (emu_ballot(mask, yes, __LINE__) == (mask))
#define __syncwarp() emu_ballot(0xffffffffu, true, __LINE__)
template <typename T> T atomicAdd(T *p, T value)
{
    static_assert(sizeof(T) == sizeof(int) && T(0.5F) == T(0),
                  "float atomics are in no fixed order: not for kernels");
    const T old = *p;
    *p = old + value;
    return old;
}
template <typename T> T atomicMax(T *p, T value)
{
    const T old = *p;
    if (value > old) *p = value;
    return old;
}
template <typename T> T __ldg(const T *p)
{
    return *p;
}

#endif
