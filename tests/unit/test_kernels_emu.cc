/* The emulation itself: it must compute what CUDA computes, and catch each class of mistakes. Faults abort, so each one
 * runs in a process of its own whose message is looked at. */
#include "kernels/gpu.h"

#include <csetjmp>
#include <cstdarg>
#include <cstdlib>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

extern "C" {
#include <cmocka.h>
}

static nh_gpu *open_gpu(int index = 0)
{
    nh_gpu *g;
    nh_error err;
    nh_gpu_options o = {};
    o.index = index;
    if (nhk_table()->open(&o, &g, &err)) fail_msg("%s", err.text);
    return g;
}

static void sync(nh_gpu *g)
{
    nh_error err;
    if (nhk_sync(g, &err)) fail_msg("%s", err.text);
}

/* What a process that runs body says on stderr before it is aborted; "" where it is not. */
static std::string fault_of(void (*body)(void))
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], 2);
        close(ends[0]);
        body();
        _exit(0);
    }
    close(ends[1]);
    std::string said;
    char buffer[4096];
    for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;)
        said.append(buffer, (size_t)n);
    close(ends[0]);
    int status;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT ? said : "";
}

static void expect_fault(void (*body)(void), const char *text)
{
    const std::string said = fault_of(body);
    if (said.find(text) == std::string::npos) fail_msg("'%s' expected, found '%s'", text, said.c_str());
}

/* ---- what works */

static __global__ void block_sums(size_t n, const double *x, double *sum)
{
    NHK_SHARED(double, part);
    double s = 0;
    NHK_FOR(i, n)
    s += x[i];
    s = nhk_warp_sum(s);
    if (threadIdx.x % NHK_WARP == 0) part[threadIdx.x / NHK_WARP] = s;
    __syncthreads();
    if (threadIdx.x > 0) return;
    for (unsigned w = 1; w < blockDim.x / NHK_WARP; w++)
        s += part[w];
    sum[blockIdx.x] = s;
}

static void sums_of_blocks(void **)
{
    enum { N = 10007, BLOCKS = 7 };
    nh_gpu *g = open_gpu();
    double x[N], sum[3][BLOCKS];
    for (int i = 0; i < N; i++)
        x[i] = i;
    double *dx = static_cast<double *>(nhk_alloc(g, N, sizeof *x)),
           *ds = static_cast<double *>(nhk_alloc(g, BLOCKS, 8));
    nhk_upload(g, dx, x, sizeof x);
    for (int k = 0; k < 3; k++) {
        emu_seed((uint64_t)k * 77);
        NHK_RUN(g, block_sums, BLOCKS, 128, 4 * sizeof(double), (size_t)N, dx, ds);
        nhk_download(g, sum[k], ds, sizeof sum[k]);
        sync(g);
    }
    emu_seed(0);
    double all = 0;
    for (int b = 0; b < BLOCKS; b++) {
        all += sum[0][b];
        assert_true(sum[0][b] == sum[1][b] && sum[0][b] == sum[2][b]);
    }
    assert_true(all == (double)N * (N - 1) / 2);
    nhk_free(g, dx);
    nhk_free(g, ds);
    nhk_table()->close(g);
    assert_int_equal(emu_leaks(), 0);
}

/* Threads of the host side by side, on three devices and two of them on one, with barriers and shared memory. */
static void sum_often(int index, bool *good)
{
    enum { N = 1000, BLOCKS = 3 };
    nh_gpu *g = open_gpu(index);
    double x[N], sum[BLOCKS];
    *good = true;
    for (int turn = 0; turn < 20; turn++) {
        for (int i = 0; i < N; i++)
            x[i] = i + turn * index;
        double *dx = nhk_uploaded(g, x, N), *ds = static_cast<double *>(nhk_alloc(g, BLOCKS, sizeof *ds));
        NHK_RUN(g, block_sums, BLOCKS, 64, 2 * sizeof(double), (size_t)N, dx, ds);
        nhk_download(g, sum, ds, sizeof sum);
        *good = *good && nhk_sync(g, nullptr) == 0 &&
                sum[0] + sum[1] + sum[2] == N * (N - 1) / 2 + N * turn * index;
        nhk_free(g, dx);
        nhk_free(g, ds);
    }
    nhk_table()->close(g);
}

static void threads_and_devices(void **)
{
    enum { N = 4 };
    bool good[N];
    emu_devices(3);
    std::thread thread[N];
    for (int i = 0; i < N; i++)
        thread[i] = std::thread(sum_often, i % 3, &good[i]);
    for (int i = 0; i < N; i++) {
        thread[i].join();
        assert_true(good[i]);
    }
    emu_devices(2);
    assert_int_equal(emu_leaks(), 0);
}

static __global__ void lanes(int *out)
{
    const int lane = (int)threadIdx.x % 32;
    int *mine = out + 6 * threadIdx.x;
    mine[0] = __shfl_sync(0xffffffffu, 10 * lane, 5);
    mine[1] = __shfl_xor_sync(0xffffffffu, 10 * lane, 3);
    mine[2] = __shfl_down_sync(0xffffffffu, 10 * lane, 4);
    mine[3] = (int)__ballot_sync(0xffffffffu, lane % 3 == 0);
    mine[4] = __any_sync(0xffffffffu, lane == 31) + 2 * __all_sync(0xffffffffu, lane < 31);
    mine[5] = -1;
    if (lane < 8) mine[5] = __shfl_xor_sync(0xffu, lane, 1); /* a part of the warp */
}

static void warp_functions(void **)
{
    nh_gpu *g = open_gpu();
    int out[64][6], *d = static_cast<int *>(nhk_alloc(g, 64 * 6, sizeof(int)));
    NHK_RUN(g, lanes, 1, 64, 0, d);
    nhk_download(g, out, d, sizeof out);
    sync(g);
    for (int t = 0; t < 64; t++) {
        const int lane = t % 32;
        assert_int_equal(out[t][0], 50);
        assert_int_equal(out[t][1], 10 * (lane ^ 3));
        assert_int_equal(out[t][2], 10 * (lane + 4 > 31 ? lane : lane + 4));
        assert_int_equal((unsigned)out[t][3], 0x49249249u);
        assert_int_equal(out[t][4], 1);
        assert_int_equal(out[t][5], lane < 8 ? lane ^ 1 : -1);
    }
    nhk_free(g, d);
    nhk_table()->close(g);
}

static __global__ void count(int n, int *counter, int *largest)
{
    NHK_FOR(i, (size_t)n)
    {
        atomicAdd(counter, (int)i);
        atomicMax(largest, (int)(i * 7 % 101));
    }
}

static void integer_atomics(void **)
{
    nh_gpu *g = open_gpu();
    int out[2], *d = static_cast<int *>(nhk_alloc(g, 2, sizeof(int)));
    nhk_zero(g, d, sizeof out);
    NHK_RUN(g, count, 3, 64, 0, 1000, d, d + 1);
    nhk_download(g, out, d, sizeof out);
    sync(g);
    assert_int_equal(out[0], 499500);
    assert_int_equal(out[1], 100);
    nhk_free(g, d);
    nhk_table()->close(g);
}

static __global__ void add(int n, const int *a, int *b)
{
    NHK_FOR(i, (size_t)n)
    b[i] = a[i] + 1;
}

/* Work on one stream that needs what another one makes: right with an event, in any order; without it the emulation
 * shows the mistake for some seeds. */
static bool chained(nh_gpu *g, cudaStream_t other, cudaEvent_t e, bool wait)
{
    enum { N = 100 };
    int *p = static_cast<int *>(nhk_alloc(g, N, sizeof(int))),
        *q = static_cast<int *>(nhk_alloc(g, N, sizeof(int))), out[N];
    nhk_zero(g, p, N * sizeof(int));
    nhk_zero(g, q, N * sizeof(int));
    sync(g);
    NHK_LAUNCH(add, 1, 64, 0, g->stream, (int)N, static_cast<const int *>(p), p);
    cudaEventRecord(e, g->stream);
    if (wait) cudaStreamWaitEvent(other, e, 0);
    NHK_LAUNCH(add, 1, 64, 0, other, (int)N, static_cast<const int *>(p), q);
    cudaStreamSynchronize(other);
    nhk_download(g, out, q, sizeof out);
    sync(g);
    nhk_free(g, p);
    nhk_free(g, q);
    return out[0] == 2 && out[N - 1] == 2;
}

static void streams_and_events(void **)
{
    nh_gpu *g = open_gpu();
    cudaStream_t other;
    cudaEvent_t e;
    cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
    cudaEventCreateWithFlags(&e, cudaEventDefault);
    int wrong = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        emu_seed(seed);
        assert_true(chained(g, other, e, true));
        wrong += !chained(g, other, e, false);
    }
    assert_true(wrong > 0);
    emu_seed(0);
    cudaEventDestroy(e);
    cudaStreamDestroy(other);
    nhk_table()->close(g);
}

/* What is in a stream has not happened until somebody waits; pinned memory is read when the copy happens. */
static void nothing_happens_early(void **)
{
    nh_gpu *g = open_gpu();
    int *d = static_cast<int *>(nhk_alloc(g, 1, sizeof(int))), *pinned, pageable = 5, out = -1;
    assert_int_equal(cudaMallocHost((void **)&pinned, sizeof(int)), cudaSuccess);
    *pinned = 5;
    nhk_upload(g, d, pinned, sizeof(int));
    *pinned = 6; /* too early: the copy takes it */
    nhk_download(g, pinned, d, sizeof(int));
    assert_int_equal(*pinned, 6);
    sync(g);
    assert_int_equal(*pinned, 6);
    nhk_upload(g, d, &pageable, sizeof(int));
    pageable = 6; /* allowed: pageable memory was read */
    nhk_download(g, &out, d, sizeof(int));
    sync(g);
    assert_int_equal(out, 5);
    cudaFreeHost(pinned);
    nhk_free(g, d);
    nhk_table()->close(g);
}

static void memory_ends(void **)
{
    nh_gpu *g = open_gpu();
    nh_error err;
    emu_memory(1 << 20);
    void *p = nhk_alloc(g, 1 << 19, 1), *q = nhk_alloc(g, 1 << 20, 1);
    assert_non_null(p);
    assert_null(q);
    assert_int_equal(nhk_sync(g, &err), -1);
    assert_non_null(strstr(err.text, "CUDA device 0: out of memory (1 MB wanted, 1 MB free)"));
    nhk_free(g, p);
    assert_null(nhk_alloc(g, SIZE_MAX / 2, 8));
    assert_int_equal(nhk_sync(g, &err), -1);
    emu_memory((size_t)8 << 30);
    nhk_table()->close(g);
}

static void no_device(void **)
{
    nh_gpu *g;
    nh_error err;
    nh_gpu_options o = {};
    o.index = 2;
    assert_int_equal(nhk_table()->open(&o, &g, &err), -1);
    assert_string_equal(err.text, "no CUDA device 2: there are 2, counted from 0");
    emu_devices(0);
    assert_int_equal(nhk_table()->open(&o, &g, &err), -1);
    assert_string_equal(err.text, "no CUDA device: no CUDA-capable device is detected");
    emu_devices(2);
}

/* ---- what is caught */

static __global__ void write_at(int *p, long i)
{
    if (threadIdx.x == 0) p[i] = 1;
}

static void at(long i, bool freed)
{
    nh_gpu *g = open_gpu();
    int *p = static_cast<int *>(nhk_alloc(g, 1024, sizeof(int)));
    if (freed) nhk_free(g, p);
    NHK_RUN(g, write_at, 1, 32, 0, p, i);
    sync(g);
}

static void behind_the_end(void)
{
    at(1024, false);
}

static void before_the_beginning(void)
{
    at(-1, false);
}

static void after_free(void)
{
    at(5, true);
}

#ifndef __SANITIZE_ADDRESS__   /* which reports it itself */
static void in_the_slack(void) /* within the alignment behind 10 numbers */
{
    nh_gpu *g = open_gpu();
    int *p = static_cast<int *>(nhk_alloc(g, 10, sizeof(int)));
    NHK_RUN(g, write_at, 1, 32, 0, p, 12L);
    sync(g);
}
#endif

static void free_twice(void)
{
    nh_gpu *g = open_gpu();
    void *p = nhk_alloc(g, 10, 1);
    nhk_free(g, p);
    nhk_free(g, p);
}

static void from_the_host(void)
{
    nh_gpu *g = open_gpu();
    volatile int *p = static_cast<int *>(nhk_alloc(g, 1024, sizeof(int)));
    p[3] = 1;
}

/* Device 0's stream while device 1 is the current one; device 0's memory in a kernel, or in a copy, on device 1. */
static void in_another_stream(void)
{
    nh_gpu *g = open_gpu(0);
    int *p = static_cast<int *>(nhk_alloc(g, 1, sizeof(int)));
    open_gpu(1);
    NHK_RUN(g, write_at, 1, 32, 0, p, 0L);
}

static void memory_of_another_device(void)
{
    nh_gpu *g = open_gpu(0);
    int *p = static_cast<int *>(nhk_alloc(g, 1, sizeof(int)));
    g = open_gpu(1);
    NHK_RUN(g, write_at, 1, 32, 0, p, 0L);
    sync(g);
}

static void copy_to_another_device(void)
{
    int x = 0;
    nh_gpu *g = open_gpu(0);
    int *p = static_cast<int *>(nhk_alloc(g, 1, sizeof(int)));
    nhk_upload(open_gpu(1), p, &x, sizeof x);
}

static void copy_too_much(void)
{
    nh_gpu *g = open_gpu();
    char *p = static_cast<char *>(nhk_alloc(g, 10, 1)), from[20] = {};
    nhk_upload(g, p, from, 11);
}

static void copy_the_wrong_way(void)
{
    nh_gpu *g = open_gpu();
    char *p = static_cast<char *>(nhk_alloc(g, 10, 1)), to[20];
    nhk_upload(g, to, p, 10);
}

static __global__ void half_a_barrier(int)
{
    if (threadIdx.x < 16) return;
    __syncthreads();
}

static void threads_that_have_ended(void)
{
    nh_gpu *g = open_gpu();
    NHK_LAUNCH(half_a_barrier, 1, 64, 0, g->stream, 0);
    sync(g);
}

static __global__ void two_barriers(int)
{
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
}

static void different_barriers(void)
{
    nh_gpu *g = open_gpu();
    NHK_LAUNCH(two_barriers, 1, 64, 0, g->stream, 0);
    sync(g);
}

static __global__ void half_a_warp(int *p)
{
    if (threadIdx.x < 16) p[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1, 1);
}

static void lanes_that_are_not_there(void)
{
    nh_gpu *g = open_gpu();
    int *p = static_cast<int *>(nhk_alloc(g, 32, sizeof(int)));
    NHK_RUN(g, half_a_warp, 1, 32, 0, p);
    sync(g);
}

static __global__ void without_me(int *p)
{
    p[threadIdx.x] = __shfl_xor_sync(0xfffffffeu, 1, 1);
}

static void a_mask_without_the_caller(void)
{
    nh_gpu *g = open_gpu();
    int *p = static_cast<int *>(nhk_alloc(g, 32, sizeof(int)));
    NHK_RUN(g, without_me, 1, 32, 0, p);
    sync(g);
}

static void an_empty_grid(void)
{
    nh_gpu *g = open_gpu();
    NHK_RUN(g, write_at, 0, 32, 0, (int *)nullptr, 0L);
}

static void too_many_threads(void)
{
    nh_gpu *g = open_gpu();
    NHK_RUN(g, write_at, 1, 2048, 0, (int *)nullptr, 0L);
}

static __global__ void uses_shared(int *p)
{
    NHK_SHARED(int, s);
    if (threadIdx.x == 0) p[0] = s[0];
}

static void shared_without_any(void)
{
    nh_gpu *g = open_gpu();
    int *p = static_cast<int *>(nhk_alloc(g, 1, sizeof(int)));
    NHK_RUN(g, uses_shared, 1, 32, 0, p);
    sync(g);
}

static void faults(void **)
{
    expect_fault(
        behind_the_end,
        "emu: write_at, block (0,0,0), thread (0,0,0): access out of bounds: byte 4096 of allocation");
    expect_fault(before_the_beginning, "access out of bounds: byte -4 of allocation");
    expect_fault(after_free, "after cudaFree, at byte 20");
    expect_fault(free_twice, "is freed twice");
    expect_fault(from_the_host, "emu: host: the host touches device memory, byte 12 of allocation");
    expect_fault(in_another_stream, "write_at: a stream of device 0 while device 1 is the current one");
    expect_fault(memory_of_another_device, "device 1 touches memory of device 0, byte 0 of allocation");
    expect_fault(copy_to_another_device, "a copy in a stream of device 1 touches allocation");
    expect_fault(copy_too_much, "a copy of 11 bytes goes beyond allocation");
    expect_fault(copy_the_wrong_way, "a copy in a direction that its addresses do not have");
    expect_fault(threads_that_have_ended, "this thread has ended before it");
    expect_fault(different_barriers, "threads wait at different __syncthreads");
    expect_fault(lanes_that_are_not_there, "waits for this lane, which has ended");
    expect_fault(a_mask_without_the_caller, "leaves out the lane that calls");
    expect_fault(an_empty_grid, "a grid of 0 x 1 x 1 blocks");
    expect_fault(too_many_threads, "blocks of 2048 threads");
    expect_fault(shared_without_any, "shared memory is used, the launch gave none");
#ifndef __SANITIZE_ADDRESS__
    expect_fault(in_the_slack, "was written 8 bytes behind its end");
#endif
}

/* Memory that was never written is NaN: of the device, and shared. */
static __global__ void copy_shared(float *p)
{
    NHK_SHARED(float, s);
    if (threadIdx.x == 0) s[0] = 1;
    __syncthreads();
    if (threadIdx.x < 2) p[threadIdx.x] = s[threadIdx.x];
}

static void unwritten_memory_is_nan(void **)
{
    nh_gpu *g = open_gpu();
    float out[4], *p = static_cast<float *>(nhk_alloc(g, 4, sizeof(float)));
    NHK_RUN(g, copy_shared, 1, 32, 2 * sizeof(float), p);
    nhk_download(g, out, p, sizeof out);
    sync(g);
    assert_true(out[0] == 1 && isnan(out[1]) && isnan(out[2]) && isnan(out[3]));
    nhk_free(g, p);
    nhk_table()->close(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_of_blocks),
        cmocka_unit_test(warp_functions),
        cmocka_unit_test(integer_atomics),
        cmocka_unit_test(streams_and_events),
        cmocka_unit_test(nothing_happens_early),
        cmocka_unit_test(memory_ends),
        cmocka_unit_test(no_device),
        cmocka_unit_test(faults),
        cmocka_unit_test(unwritten_memory_is_nan),
        cmocka_unit_test(threads_and_devices),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
