/* Devices and their memory; the archive as one table. */
#include "kernels/gpu.h"

#include "kernels/table.h"

#include <cstdarg>
#include <cstdlib>
#include <cstring>

static void format_into(nh_error *e, const char *format, va_list args)
{
    vsnprintf(e->text, sizeof e->text, format, args);
}

int nhk_error(nh_error *err, const char *format, ...)
{
    if (err == nullptr) return -1;
    va_list args;
    va_start(args, format);
    format_into(err, format, args);
    va_end(args);
    return -1;
}

void nhk_fail(nh_gpu *g, const char *format, ...)
{
    if (g->failed) return;
    g->failed = true;
    va_list args;
    va_start(args, format);
    format_into(&g->error, format, args);
    va_end(args);
}

bool nhk_good(nh_gpu *g, cudaError_t e, const char *what)
{
    if (e == cudaSuccess) return true;
    nhk_fail(g, "CUDA device %d: %s: %s", g->index, what, cudaGetErrorString(e));
    return false;
}

static int gpu_count(int *n, nh_error *err)
{
    *n = 0;
    const cudaError_t e = cudaGetDeviceCount(n);
    if (e != cudaSuccess) return nhk_error(err, "no CUDA device: %s", cudaGetErrorString(e));
    return *n > 0 ? 0 : nhk_error(err, "no CUDA device");
}

static void gpu_close(nh_gpu *g);

static int gpu_open(const nh_gpu_options *o, nh_gpu **out, nh_error *err)
{
    int n;
    cudaDeviceProp p;
    *out = nullptr;
    if (gpu_count(&n, err)) return -1;
    if (o->index < 0 || o->index >= n)
        return nhk_error(err, "no CUDA device %d: there %s %d, counted from 0", o->index,
                         n == 1 ? "is" : "are", n);
    nh_gpu *g = static_cast<nh_gpu *>(calloc(1, sizeof *g));
    if (g == nullptr) return nhk_error(err, "out of memory for the CUDA device");
    g->index = o->index;
    if (nhk_good(g, cudaSetDevice(o->index), "cudaSetDevice") &&
        nhk_good(g, cudaGetDeviceProperties(&p, o->index), "cudaGetDeviceProperties") &&
        nhk_good(g, cudaStreamCreateWithFlags(&g->stream, cudaStreamNonBlocking), "cudaStreamCreate")) {
        snprintf(g->name, sizeof g->name, "%s", p.name);
        g->processors = p.multiProcessorCount > 0 ? p.multiProcessorCount : 1;
        if (p.major < 8) nhk_fail(g, "CUDA device %d: %s is older than sm_80", o->index, p.name);
        nhk_blas_open(g, o->tf32);
    }
    if (!g->failed) {
        *out = g;
        return 0;
    }
    nhk_error(err, "%s", g->error.text);
    gpu_close(g);
    return -1;
}

static void gpu_close(nh_gpu *g)
{
    if (g == nullptr) return;
    cudaSetDevice(g->index);
    nhk_blas_close(g);
    for (int i = 0; i < 2; i++)
        cudaFree(g->scratch[i].p);
    nhk_pool_free(g, &g->pool);
    if (g->stream != nullptr) cudaStreamDestroy(g->stream);
    free(g);
}

static const char *gpu_name(const nh_gpu *g)
{
    return g->name;
}

int nhk_sync(nh_gpu *g, nh_error *err)
{
    nhk_good(g, cudaStreamSynchronize(g->stream), "the work on the device");
    nhk_good(g, cudaGetLastError(), "the work on the device");
    const int status = g->failed ? nhk_error(err, "%s", g->error.text) : 0;
    g->failed = g->no_memory = false;
    return status;
}

size_t nhk_available(nh_gpu *g)
{
    size_t available = 0, total;
    nhk_good(g, cudaSetDevice(g->index), "cudaSetDevice");
    nhk_good(g, cudaMemGetInfo(&available, &total), "cudaMemGetInfo");
    return available;
}

void *nhk_alloc(nh_gpu *g, size_t count, size_t size)
{
    void *p = nullptr;
    if (g->failed || count == 0 || size == 0) return nullptr;
    const bool fits = count <= SIZE_MAX / size;
    nhk_good(g, cudaSetDevice(g->index), "cudaSetDevice");
    const cudaError_t e = fits ? cudaMalloc(&p, count * size) : cudaErrorMemoryAllocation;
    if (e == cudaSuccess) return p;
    cudaGetLastError(); /* it is not sticky: the caller may ask for less */
    g->no_memory = e == cudaErrorMemoryAllocation;
    nhk_fail(g, "CUDA device %d: out of memory (%.0f MB wanted, %.0f MB free)", g->index,
             1e-6 * (double)count * (double)size, 1e-6 * (double)nhk_available(g));
    return nullptr;
}

void nhk_free(nh_gpu *g, void *p)
{
    if (p == nullptr) return;
    cudaSetDevice(g->index);
    nhk_good(g, cudaFree(p), "cudaFree");
}

void *nhk_pinned(nh_gpu *g, size_t count, size_t size)
{
    void *p = nullptr;
    if (g->failed || count == 0 || size == 0) return nullptr;
    const cudaError_t e =
        count <= SIZE_MAX / size ? cudaMallocHost(&p, count * size) : cudaErrorMemoryAllocation;
    if (e == cudaSuccess) return p;
    cudaGetLastError();
    nhk_good(g, e, "pinned memory");
    return nullptr;
}

void nhk_pinned_free(void *p)
{
    cudaFreeHost(p);
}

void nhk_upload(nh_gpu *g, void *to, const void *from, size_t bytes)
{
    if (!nhk_ready(g, bytes)) return;
    g->up += bytes;
    nhk_good(g, cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, g->stream), "copy to the device");
}

void nhk_download(nh_gpu *g, void *to, const void *from, size_t bytes)
{
    if (!nhk_ready(g, bytes)) return;
    g->down += bytes;
    nhk_good(g, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, g->stream), "copy from the device");
}

void nhk_copy(nh_gpu *g, void *to, const void *from, size_t bytes)
{
    if (!nhk_ready(g, bytes)) return;
    nhk_good(g, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, g->stream), "copy on the device");
}

void nhk_zero(nh_gpu *g, void *p, size_t bytes)
{
    if (nhk_ready(g, bytes)) nhk_good(g, cudaMemsetAsync(p, 0, bytes, g->stream), "cudaMemset");
}

static void gpu_traffic(const nh_gpu *g, size_t *up, size_t *down)
{
    *up = g->up;
    *down = g->down;
}

void *nhk_scratch(nh_gpu *g, int which, size_t bytes)
{
    auto *s = &g->scratch[which];
    if (bytes <= s->bytes) return s->p;
    nhk_free(g, s->p);
    s->bytes = 0;
    s->p = nhk_alloc(g, bytes, 1);
    if (s->p != nullptr) s->bytes = bytes;
    return s->p;
}

void *nhk_take(nh_gpu *g, nhk_pool *pool, size_t count, size_t size)
{
    if (g->failed) return nullptr;
    if (pool->next == sizeof pool->piece / sizeof *pool->piece) {
        nhk_fail(g, "CUDA: a network with too many blocks");
        return nullptr;
    }
    auto *one = &pool->piece[pool->next++];
    if (count <= one->bytes / size) return one->p;
    nhk_free(g, one->p);
    one->bytes = 0;
    one->p = nhk_alloc(g, count, size);
    if (one->p != nullptr) one->bytes = count * size;
    return one->p;
}

void nhk_pool_free(nh_gpu *g, nhk_pool *pool)
{
    for (auto &one : pool->piece)
        nhk_free(g, one.p);
    *pool = nhk_pool{};
}

nhk_layout nhk_layout_of(nh_gpu *g, const nh_layout *layout)
{
    nhk_layout l = {};
    if (layout->count > NHK_GROUPS) {
        nhk_fail(g, "CUDA: a feature type with %zu irreps, at most %d", layout->count, (int)NHK_GROUPS);
        return l;
    }
    l.count = (int)layout->count;
    l.dim = (int)layout->dim;
    l.channels = (int)layout->channels;
    l.scalar = layout->count > 0 && layout->group[0].l == 0 && layout->group[0].p > 0;
    for (size_t i = 0; i < layout->count; i++) {
        const nh_group *from = &layout->group[i];
        l.offset[i] = (int)from->offset;
        l.width[i] = (int)from->dim;
        l.mul[i] = (int)from->mul;
        l.rows[i] = (int)from->rows;
        l.channel[i] = (int)from->channel;
    }
    return l;
}

/* ---- the archive as one table */

const nhk_calls *nhk_table(void)
{
    static const nhk_calls table = {NHK_VERSION,
                                    gpu_count,
                                    gpu_open,
                                    gpu_close,
                                    gpu_name,
                                    nhk_sync,
                                    nhk_pinned,
                                    nhk_pinned_free,
                                    gpu_traffic,
                                    &nhk_network_f_table,
                                    &nhk_network_d_table,
                                    &nhk_training_f_table,
                                    &nhk_training_d_table,
                                    &nhk_crystal_table,
                                    &nhk_outputs_table,
                                    &nhk_loss_table,
                                    &nhk_fourier_table,
                                    &nhk_eigen_table,
                                    &nhk_tiles_table,
                                    &nhk_potential_table};
    return &table;
}
