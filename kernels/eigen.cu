/* The generalised eigenproblem of many matrices: crystal/eigen.c. Two batches are in hand at a time: while one is solved in the stream of
 * `gpu`, the matrices of the other come, from the Fourier sums in the stream of theirs or from the host in one of this object's own.
 *
 * H and S are row-major, so that the libraries, which think in columns, see their complex conjugates; lower triangles. */
#include "kernels/blas.h"
#include "kernels/fourier.h"
#include "kernels/table.h"

#include <cstdlib>

typedef struct eigen_slot {
    double *h, *s;           /* [batch][n][n][2] on the device */
    double **h_at, **s_at;   /* [batch] on the device: where each of them begins */
    double *h_room, *s_room; /* pinned, [batch][n][n][2]; NULL until asked for */
    cudaEvent_t ready;       /* the matrices are there */
    size_t count;            /* 0: free */
} eigen_slot;

struct nhk_eigen {
    nh_gpu *gpu;
    nhk_eigen_options o;
    cudaStream_t copies;
    eigen_slot slot[NHK_IN_HAND];
    size_t next, oldest;      /* numbers of batches; their slots are these modulo NHK_IN_HAND */
    double *energy, *overlap; /* [batch][n] on the device; overlap: eigenvalues of S, with a threshold */
    int *factor, *info;       /* [batch] on the device */
    double *room;             /* [batch][n][n][2] on the device, with a threshold */
    double *vectors;          /* of the batch solved last: columns, [batch][n][n][2] on the device */
    double *energy_host, *overlap_host; /* pinned, as are the next ones */
    int *factor_host, *info_host;
    double *columns; /* what eigen_vectors brings */
    size_t columns_bytes;
};

static double **table_of(nh_gpu *g, double *first, size_t size, size_t count)
{
    double **list = static_cast<double **>(calloc(count, sizeof *list)), **table = nullptr;
    if (list == nullptr) nhk_fail(g, "out of memory for the eigenproblem");
    for (size_t i = 0; list != nullptr && first != nullptr && i < count; i++)
        list[i] = first + i * size;
    if (list != nullptr) table = nhk_uploaded(g, list, count);
    free(list);
    return table;
}

static void eigen_drop(nhk_eigen *w);

static int eigen_make(nh_gpu *g, const nhk_eigen_options *o, nhk_eigen **out, nh_error *err)
{
    *out = nullptr;
    nhk_eigen *w = static_cast<nhk_eigen *>(calloc(1, sizeof *w));
    if (w == nullptr) return nhk_error(err, "out of memory for the eigenproblem");
    const size_t size = 2 * o->n * o->n;
    w->gpu = g;
    w->o = *o;
    nhk_good(g, cudaSetDevice(g->index), "cudaSetDevice");
    nhk_good(g, cudaStreamCreateWithFlags(&w->copies, cudaStreamNonBlocking), "cudaStreamCreate");
    for (eigen_slot &q : w->slot) {
        q.h = static_cast<double *>(nhk_alloc(g, o->batch, size * sizeof(double)));
        q.s = static_cast<double *>(nhk_alloc(g, o->batch, size * sizeof(double)));
        q.h_at = table_of(g, q.h, size, o->batch);
        q.s_at = table_of(g, q.s, size, o->batch);
        nhk_good(g, cudaEventCreateWithFlags(&q.ready, cudaEventDisableTiming), "cudaEventCreate");
    }
    w->energy = static_cast<double *>(nhk_alloc(g, o->batch, o->n * sizeof(double)));
    w->factor = static_cast<int *>(nhk_alloc(g, o->batch, sizeof(int)));
    w->info = static_cast<int *>(nhk_alloc(g, o->batch, sizeof(int)));
    w->energy_host = static_cast<double *>(nhk_pinned(g, o->batch, o->n * sizeof(double)));
    w->factor_host = static_cast<int *>(nhk_pinned(g, o->batch, sizeof(int)));
    w->info_host = static_cast<int *>(nhk_pinned(g, o->batch, sizeof(int)));
    if (o->threshold > 0) {
        w->overlap = static_cast<double *>(nhk_alloc(g, o->batch, o->n * sizeof(double)));
        w->room = static_cast<double *>(nhk_alloc(g, o->batch, size * sizeof(double)));
        w->overlap_host = static_cast<double *>(nhk_pinned(g, o->batch, o->n * sizeof(double)));
    }
    nhk_zheev_reserve(g, o->vectors || o->threshold > 0, o->n, o->batch, w->slot[0].h, w->energy);
    if (nhk_sync(g, err) == 0) {
        *out = w;
        return 0;
    }
    eigen_drop(w);
    return -1;
}

static void eigen_drop(nhk_eigen *w)
{
    if (w == nullptr) return;
    nh_gpu *g = w->gpu;
    cudaSetDevice(g->index);
    if (w->copies != nullptr) cudaStreamDestroy(w->copies);
    for (eigen_slot &q : w->slot) {
        if (q.ready != nullptr) cudaEventDestroy(q.ready);
        void *const arrays[] = {q.h, q.s, q.h_at, q.s_at};
        for (void *p : arrays)
            nhk_free(g, p);
        nhk_pinned_free(q.h_room);
        nhk_pinned_free(q.s_room);
    }
    void *const arrays[] = {w->energy, w->overlap, w->factor, w->info, w->room};
    for (void *p : arrays)
        nhk_free(g, p);
    void *const host[] = {w->energy_host, w->overlap_host, w->factor_host, w->info_host, w->columns};
    for (void *p : host)
        nhk_pinned_free(p);
    free(w);
}

static eigen_slot *free_slot(nhk_eigen *w, nh_error *err)
{
    eigen_slot *q = &w->slot[w->next % NHK_IN_HAND];
    if (q->count == 0) return q;
    nhk_error(err, "the eigenproblem: %d batches wait", (int)NHK_IN_HAND);
    return nullptr;
}

static int eigen_room(nhk_eigen *w, double **h, double **s, nh_error *err)
{
    eigen_slot *q = free_slot(w, err);
    if (q == nullptr) return -1;
    nhk_good(w->gpu, cudaSetDevice(w->gpu->index), "cudaSetDevice");
    const size_t bytes = 2 * w->o.n * w->o.n * sizeof(double);
    if (q->h_room == nullptr) q->h_room = static_cast<double *>(nhk_pinned(w->gpu, w->o.batch, bytes));
    if (q->s_room == nullptr) q->s_room = static_cast<double *>(nhk_pinned(w->gpu, w->o.batch, bytes));
    *h = q->h_room;
    *s = q->s_room;
    return w->gpu->failed ? nhk_sync(w->gpu, err) : 0;
}

static int eigen_queue(nhk_eigen *w, size_t count, nhk_fourier *f, const double *phase, nh_error *err)
{
    nh_gpu *g = w->gpu;
    eigen_slot *q = free_slot(w, err);
    const size_t bytes = count * 2 * w->o.n * w->o.n * sizeof(double);
    if (q == nullptr) return -1;
    if (count == 0 || count > w->o.batch)
        return nhk_error(err, "the eigenproblem: %zu matrices in a batch", count);
    nhk_good(g, cudaSetDevice(g->index), "cudaSetDevice");
    cudaStream_t stream = w->copies;
    if (f != nullptr) {
        if (nhk_fourier_queue(f, count, phase, q->h, q->s, &stream, err)) return -1;
    } else if (nhk_good(g, cudaMemcpyAsync(q->h, q->h_room, bytes, cudaMemcpyHostToDevice, stream),
                        "copy to the device")) {
        nhk_good(g, cudaMemcpyAsync(q->s, q->s_room, bytes, cudaMemcpyHostToDevice, stream),
                 "copy to the device");
    }
    nhk_good(g, cudaEventRecord(q->ready, stream), "cudaEventRecord");
    if (g->failed) return nhk_sync(g, err);
    q->count = count;
    w->next++;
    return 0;
}

/* ---- the steps that are no library's */

/* A warp for each matrix. Where S was no good, info > 0, a problem that is: L = 1, H = 0 (`mend`), so that what follows has finite
 * numbers. L of an S that is singular to working precision, min L_ii^2 <= eps max L_ii^2, counts as no good: info = n. (The CPU estimates the
 * condition, which is never better.) Bytes: 16 n of a good matrix. */
static __global__ void factor_kernel(size_t n, size_t count, bool mend, int *info, double *s, double *h)
{
    for (size_t i = blockIdx.x; i < count; i += gridDim.x) {
        double *l = s + 2 * n * n * i, *a = h + 2 * n * n * i, least = -HUGE_VAL, most = -HUGE_VAL;
        for (size_t k = threadIdx.x; k < n; k += blockDim.x) {
            const double d = l[2 * k * (n + 1)];
            least = -d > least ? -d : least;
            most = d > most ? d : most;
        }
        least = -nhk_warp_max(least);
        most = nhk_warp_max(most);
        const int before = info[i];
        __syncwarp();
        const bool bad = before != 0 || !(least * least > 2.220446049250313e-16 * most * most);
        if (bad && before == 0 && threadIdx.x == 0) info[i] = (int)n;
        for (size_t k = threadIdx.x; bad && mend && k < n * n; k += blockDim.x) {
            l[2 * k] = k % (n + 1) == 0;
            l[2 * k + 1] = a[2 * k] = a[2 * k + 1] = 0;
        }
    }
}

/* X = U s^-1/2 of the eigenvectors of S in columns, zero where the eigenvalue is below the threshold. A thread for each number; bytes:
 * 32 n^2 a matrix. */
static __global__ void scale_kernel(size_t n, size_t count, double threshold, const double *overlap,
                                    double *u)
{
    NHK_FOR(k, count * n * n)
    {
        const double value = overlap[k / n];
        const double factor = value >= threshold ? 1 / sqrt(value) : 0;
        u[2 * k] *= factor;
        u[2 * k + 1] *= factor;
    }
}

/* The rows and columns of X^dagger H X that belong to dropped eigenvectors are zero. On their diagonal goes a number that is larger than
 * every other eigenvalue, a hundredth more than the 1-norm (with |re| + |im|), so that their energies are the last ones and their vectors are
 * apart. A block for each matrix, a warp for a column; bytes: 16 n^2 a matrix, 2 n^2 additions. */
static __global__ void pad_kernel(size_t n, size_t count, double threshold, const double *overlap, double *h)
{
    NHK_SHARED(double, part);
    const size_t warp = threadIdx.x / NHK_WARP, warps = blockDim.x / NHK_WARP;
    for (size_t i = blockIdx.x; i < count; i += gridDim.x) {
        double *a = h + 2 * n * n * i, norm = 0;
        for (size_t c = warp; c < n; c += warps) {
            double sum = 0;
            for (size_t k = threadIdx.x % NHK_WARP; k < 2 * n; k += NHK_WARP)
                sum += fabs(a[2 * n * c + k]);
            sum = nhk_warp_sum(sum);
            norm = sum > norm ? sum : norm;
        }
        if (threadIdx.x % NHK_WARP == 0) part[warp] = norm;
        __syncthreads();
        for (size_t k = 0; k < warps; k++)
            norm = part[k] > norm ? part[k] : norm;
        for (size_t c = threadIdx.x; c < n; c += blockDim.x)
            if (!(overlap[n * i + c] >= threshold)) a[2 * c * (n + 1)] = norm > 0 ? 1.01 * norm : 1;
        __syncthreads(); /* part is written again */
    }
}

/* ---- a batch */

/* S = L L^dagger; H <- L^-1 H L^-dagger; its eigenvectors Z; L^-dagger Z. */
static void solve_small(nhk_eigen *w, const eigen_slot *q)
{
    nh_gpu *g = w->gpu;
    const size_t n = w->o.n, count = q->count;
    nhk_zpotrf_batched(g, n, count, q->s_at, w->factor);
    if (nhk_ready(g, count))
        NHK_RUN(g, factor_kernel, (unsigned)(count < 65535 ? count : 65535), NHK_WARP, 0, n, count, true,
                w->factor, q->s, q->h);
    nhk_ztrsm_batched(g, NHK_LEFT, n, count, q->s_at, q->h_at);
    nhk_ztrsm_batched(g, NHK_RIGHT_ADJOINT, n, count, q->s_at, q->h_at);
    nhk_zheev_batched(g, w->o.vectors, n, count, q->h, w->energy, w->info);
    if (w->o.vectors) nhk_ztrsm_batched(g, NHK_LEFT_ADJOINT, n, count, q->s_at, q->h_at);
}

/* One after another. */
static void solve_large(nhk_eigen *w, const eigen_slot *q)
{
    nh_gpu *g = w->gpu;
    const size_t n = w->o.n, size = 2 * n * n;
    nhk_zero(g, w->factor, q->count * sizeof *w->factor);
    for (size_t i = 0; i < q->count; i++)
        nhk_zhegvd(g, w->o.vectors, n, q->h + i * size, q->s + i * size, w->energy + i * n, w->info + i);
    if (nhk_ready(g, q->count))
        NHK_RUN(g, factor_kernel, (unsigned)(q->count < 65535 ? q->count : 65535), NHK_WARP, 0, n, q->count,
                false, w->factor, q->s, q->h);
}

/* S = U s U^dagger, X = U s^-1/2 above the threshold; H <- X^dagger H X; its eigenvectors Z; X Z. */
static void solve_projected(nhk_eigen *w, const eigen_slot *q)
{
    nh_gpu *g = w->gpu;
    const size_t n = w->o.n, count = q->count;
    nhk_zheev_batched(g, true, n, count, q->s, w->overlap, w->factor);
    if (nhk_ready(g, count))
        NHK_RUN(g, scale_kernel, nhk_grid(g, count * n * n, NHK_BLOCK), NHK_BLOCK, 0, n, count,
                w->o.threshold, w->overlap, q->s);
    nhk_zgemm_batched(g, false, n, count, q->h, q->s, w->room);
    nhk_zgemm_batched(g, true, n, count, q->s, w->room, q->h);
    if (nhk_ready(g, count))
        NHK_RUN(g, pad_kernel, (unsigned)(count < 65535 ? count : 65535), NHK_BLOCK,
                NHK_BLOCK / NHK_WARP * sizeof(double), n, count, w->o.threshold, w->overlap, q->h);
    nhk_zheev_batched(g, w->o.vectors, n, count, q->h, w->energy, w->info);
    if (w->o.vectors) nhk_zgemm_batched(g, false, n, count, q->s, q->h, w->room);
}

static int eigen_solve(nhk_eigen *w, nhk_eigen_result *r, nh_error *err)
{
    nh_gpu *g = w->gpu;
    eigen_slot *q = &w->slot[w->oldest % NHK_IN_HAND];
    const size_t n = w->o.n, count = q->count;
    if (count == 0) return nhk_error(err, "the eigenproblem: no batch waits");
    nhk_good(g, cudaSetDevice(g->index), "cudaSetDevice");
    nhk_good(g, cudaStreamWaitEvent(g->stream, q->ready, 0), "cudaStreamWaitEvent");
    const bool project = w->o.threshold > 0;
    if (project)
        solve_projected(w, q);
    else if (n <= NHK_BATCHED && w->o.batch > 1)
        solve_small(w, q);
    else
        solve_large(w, q);
    w->vectors = project ? w->room : q->h;
    nhk_download(g, w->energy_host, w->energy, count * n * sizeof(double));
    if (project) nhk_download(g, w->overlap_host, w->overlap, count * n * sizeof(double));
    nhk_download(g, w->factor_host, w->factor, count * sizeof(int));
    nhk_download(g, w->info_host, w->info, count * sizeof(int));
    q->count = 0;
    w->oldest++;
    if (nhk_sync(g, err)) return -1;
    *r = nhk_eigen_result{count, w->energy_host, w->overlap_host, w->factor_host, w->info_host, q->s_room};
    for (size_t i = 0; i < count; i++)
        if (!project && w->info_host[i] > (int)n) { /* zhegvd's way to say it */
            w->factor_host[i] = w->info_host[i] - (int)n;
            w->info_host[i] = 0;
        }
    return 0;
}

static int eigen_vectors(nhk_eigen *w, size_t count, const size_t *first, const size_t *columns, size_t most,
                         const double **out, nh_error *err)
{
    nh_gpu *g = w->gpu;
    const size_t n = w->o.n, row = 2 * n * most, bytes = count * row * sizeof(double);
    nhk_good(g, cudaSetDevice(g->index), "cudaSetDevice");
    if (bytes > w->columns_bytes) {
        nhk_pinned_free(w->columns);
        w->columns_bytes = 0;
        w->columns = static_cast<double *>(nhk_pinned(g, count, row * sizeof(double)));
        if (!g->failed) w->columns_bytes = bytes;
    }
    for (size_t i = 0; i < count; i++)
        nhk_download(g, w->columns + i * row, w->vectors + 2 * n * (n * i + first[i]),
                     2 * n * columns[i] * sizeof(double));
    *out = w->columns;
    return nhk_sync(g, err);
}

const nhk_eigen_calls nhk_eigen_table = {eigen_make,  eigen_drop,  eigen_room,
                                         eigen_queue, eigen_solve, eigen_vectors};
