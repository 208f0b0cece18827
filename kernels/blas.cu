/* cuBLAS and cuSOLVER, or their doubles. cuBLAS thinks in columns: a row-major product is the product of the transposed
 * matrices in the opposite order. */
#include "kernels/blas.h"

#include <cstdlib>

#ifdef NHK_EMULATE

#include <cblas.h>
#include <complex.h>
#define lapack_complex_double double _Complex
#define lapack_complex_float float _Complex
#include <lapacke.h>

void nhk_blas_open(nh_gpu *, bool) {}

void nhk_blas_close(nh_gpu *) {}

#define GEMM(name, real, call)                                                                               \
    void name(nh_gpu *g, bool across_a, bool across_b, size_t m, size_t n, size_t k, const real *a,          \
              size_t lda, const real *b, size_t ldb, real beta, real *c, size_t ldc)                         \
    {                                                                                                        \
        if (!nhk_ready(g, m * n)) return;                                                                    \
        emu_enqueue(g->stream, #name, [=] {                                                                  \
            call(CblasRowMajor, across_a ? CblasTrans : CblasNoTrans, across_b ? CblasTrans : CblasNoTrans,  \
                 (int)m, (int)n, (int)k, 1, a, (int)lda, b, (int)ldb, beta, c, (int)ldc);                    \
        });                                                                                                  \
    }
GEMM(nhk_gemm_f, float, cblas_sgemm)
GEMM(nhk_gemm_d, double, cblas_dgemm)

void nhk_zgemm(nh_gpu *g, bool across_a, bool across_b, size_t m, size_t n, size_t k, const double *a,
               size_t lda, const double *b, size_t ldb, double *c, size_t ldc)
{
    if (!nhk_ready(g, m * n)) return;
    emu_enqueue(g->stream, "nhk_zgemm", [=] {
        const double one[2] = {1, 0}, zero[2] = {0, 0};
        cblas_zgemm(CblasRowMajor, across_a ? CblasTrans : CblasNoTrans, across_b ? CblasTrans : CblasNoTrans,
                    (int)m, (int)n, (int)k, one, a, (int)lda, b, (int)ldb, zero, c, (int)ldc);
    });
}

void nhk_zhegvd(nh_gpu *g, bool vectors, size_t n, double *a, double *b, double *energy, int *info)
{
    if (!nhk_ready(g, n)) return;
    emu_enqueue(g->stream, "nhk_zhegvd", [=] {
        *info = (int)LAPACKE_zhegvd(LAPACK_COL_MAJOR, 1, vectors ? 'V' : 'N', 'L', (lapack_int)n,
                                    reinterpret_cast<lapack_complex_double *>(a), (lapack_int)n,
                                    reinterpret_cast<lapack_complex_double *>(b), (lapack_int)n, energy);
    });
}

typedef lapack_complex_double complex_t;
static inline complex_t *complex_of(double *a)
{
    return reinterpret_cast<complex_t *>(a);
}

void nhk_zpotrf_batched(nh_gpu *g, size_t n, size_t count, double *const *a, int *info)
{
    if (!nhk_ready(g, n * count)) return;
    emu_enqueue(g->stream, "nhk_zpotrf_batched", [=] {
        for (size_t i = 0; i < count; i++)
            info[i] =
                (int)LAPACKE_zpotrf(LAPACK_COL_MAJOR, 'L', (lapack_int)n, complex_of(a[i]), (lapack_int)n);
    });
}

void nhk_ztrsm_batched(nh_gpu *g, nhk_side side, size_t n, size_t count, double *const *l, double *const *x)
{
    if (!nhk_ready(g, n * count)) return;
    emu_enqueue(g->stream, "nhk_ztrsm_batched", [=] {
        const double one[2] = {1, 0};
        for (size_t i = 0; i < count; i++)
            cblas_ztrsm(CblasColMajor, side == NHK_RIGHT_ADJOINT ? CblasRight : CblasLeft, CblasLower,
                        side == NHK_LEFT ? CblasNoTrans : CblasConjTrans, CblasNonUnit, (int)n, (int)n, one,
                        l[i], (int)n, x[i], (int)n);
    });
}

void nhk_zheev_reserve(nh_gpu *, bool, size_t, size_t, double *, double *) {}

void nhk_zheev_batched(nh_gpu *g, bool vectors, size_t n, size_t count, double *a, double *energy, int *info)
{
    if (!nhk_ready(g, n * count)) return;
    emu_enqueue(g->stream, "nhk_zheev_batched", [=] {
        for (size_t i = 0; i < count; i++)
            info[i] = (int)LAPACKE_zheevd(LAPACK_COL_MAJOR, vectors ? 'V' : 'N', 'L', (lapack_int)n,
                                          complex_of(a + 2 * n * n * i), (lapack_int)n, energy + n * i);
    });
}

void nhk_zgemm_batched(nh_gpu *g, bool adjoint, size_t n, size_t count, const double *a, const double *b,
                       double *c)
{
    if (!nhk_ready(g, n * count)) return;
    emu_enqueue(g->stream, "nhk_zgemm_batched", [=] {
        const double one[2] = {1, 0}, zero[2] = {0, 0};
        for (size_t i = 0, at = 0; i < count; i++, at += 2 * n * n)
            cblas_zgemm(CblasColMajor, adjoint ? CblasConjTrans : CblasNoTrans, CblasNoTrans, (int)n, (int)n,
                        (int)n, one, a + at, (int)n, b + at, (int)n, zero, c + at, (int)n);
    });
}

void nhk_gemm_batched(nh_gpu *g, bool across_b, size_t m, size_t n, size_t k, size_t count, const double *a,
                      const double *b, double *c)
{
    if (!nhk_ready(g, m * n * count)) return;
    emu_enqueue(g->stream, "nhk_gemm_batched", [=] {
        for (size_t i = 0; i < count; i++)
            cblas_dgemm(CblasRowMajor, CblasNoTrans, across_b ? CblasTrans : CblasNoTrans, (int)m, (int)n,
                        (int)k, 1, a + i * m * k, (int)k, b + i * k * n, (int)(across_b ? k : n), 0,
                        c + i * m * n, (int)n);
    });
}

#else

static bool blas_good(nh_gpu *g, cublasStatus_t s, const char *what)
{
    if (s != CUBLAS_STATUS_SUCCESS)
        nhk_fail(g, "CUDA device %d: %s: %s", g->index, what, cublasGetStatusString(s));
    return s == CUBLAS_STATUS_SUCCESS;
}

static bool solver_good(nh_gpu *g, cusolverStatus_t s, const char *what)
{
    if (s != CUSOLVER_STATUS_SUCCESS)
        nhk_fail(g, "CUDA device %d: %s: cuSOLVER status %d", g->index, what, (int)s);
    return s == CUSOLVER_STATUS_SUCCESS;
}

void nhk_blas_open(nh_gpu *g, bool tf32)
{
    if (g->failed || !blas_good(g, cublasCreate(&g->blas), "cublasCreate")) return;
    blas_good(g, cublasSetStream(g->blas, g->stream), "cublasSetStream");
    blas_good(g, cublasSetMathMode(g->blas, tf32 ? CUBLAS_TF32_TENSOR_OP_MATH : CUBLAS_DEFAULT_MATH),
              "cublasSetMathMode");
}

void nhk_blas_close(nh_gpu *g)
{
    if (g->solver_params != nullptr) cusolverDnDestroyParams(g->solver_params);
    if (g->solver != nullptr) cusolverDnDestroy(g->solver);
    free(g->solver_host);
    if (g->blas != nullptr) cublasDestroy(g->blas);
}

#define GEMM(name, real, call)                                                                               \
    void name(nh_gpu *g, bool across_a, bool across_b, size_t m, size_t n, size_t k, const real *a,          \
              size_t lda, const real *b, size_t ldb, real beta, real *c, size_t ldc)                         \
    {                                                                                                        \
        const real one = 1;                                                                                  \
        if (!nhk_ready(g, m * n)) return;                                                                    \
        blas_good(g,                                                                                         \
                  call(g->blas, across_b ? CUBLAS_OP_T : CUBLAS_OP_N, across_a ? CUBLAS_OP_T : CUBLAS_OP_N,  \
                       (int)n, (int)m, (int)k, &one, b, (int)ldb, a, (int)lda, &beta, c, (int)ldc),          \
                  #call);                                                                                    \
    }
GEMM(nhk_gemm_f, float, cublasSgemm)
GEMM(nhk_gemm_d, double, cublasDgemm)

/* True where there is work and a solver to do it. */
static bool with_solver(nh_gpu *g, size_t work)
{
    if (!nhk_ready(g, work)) return false;
    return g->solver_params != nullptr ||
           (solver_good(g, cusolverDnCreate(&g->solver), "cusolverDnCreate") &&
            solver_good(g, cusolverDnSetStream(g->solver, g->stream), "cusolverDnSetStream") &&
            solver_good(g, cusolverDnCreateParams(&g->solver_params), "cusolverDnCreateParams"));
}

static cuDoubleComplex *complex_of(double *a)
{
    return reinterpret_cast<cuDoubleComplex *>(a);
}

static cusolverEigMode_t mode_of(bool vectors)
{
    return vectors ? CUSOLVER_EIG_MODE_VECTOR : CUSOLVER_EIG_MODE_NOVECTOR;
}

void nhk_zgemm(nh_gpu *g, bool across_a, bool across_b, size_t m, size_t n, size_t k, const double *a,
               size_t lda, const double *b, size_t ldb, double *c, size_t ldc)
{
    const cuDoubleComplex one = {1, 0}, zero = {0, 0};
    if (!nhk_ready(g, m * n)) return;
    blas_good(g,
              cublasZgemm(g->blas, across_b ? CUBLAS_OP_T : CUBLAS_OP_N, across_a ? CUBLAS_OP_T : CUBLAS_OP_N,
                          (int)n, (int)m, (int)k, &one, reinterpret_cast<const cuDoubleComplex *>(b),
                          (int)ldb, reinterpret_cast<const cuDoubleComplex *>(a), (int)lda, &zero,
                          reinterpret_cast<cuDoubleComplex *>(c), (int)ldc),
              "cublasZgemm");
}

void nhk_zhegvd(nh_gpu *g, bool vectors, size_t n, double *a, double *b, double *energy, int *info)
{
    if (!with_solver(g, n)) return;
    cuDoubleComplex *h = complex_of(a), *s = complex_of(b);
    const cusolverEigMode_t mode = mode_of(vectors);
    int size = 0;
    if (!solver_good(g,
                     cusolverDnZhegvd_bufferSize(g->solver, CUSOLVER_EIG_TYPE_1, mode, CUBLAS_FILL_MODE_LOWER,
                                                 (int)n, h, (int)n, s, (int)n, energy, &size),
                     "cusolverDnZhegvd_bufferSize"))
        return;
    void *work = nhk_scratch(g, NHK_SCRATCH_SUMS, (size_t)size * sizeof(cuDoubleComplex));
    if (work == nullptr) return;
    solver_good(g,
                cusolverDnZhegvd(g->solver, CUSOLVER_EIG_TYPE_1, mode, CUBLAS_FILL_MODE_LOWER, (int)n, h,
                                 (int)n, s, (int)n, energy, static_cast<cuDoubleComplex *>(work), size, info),
                "cusolverDnZhegvd");
}

void nhk_zpotrf_batched(nh_gpu *g, size_t n, size_t count, double *const *a, int *info)
{
    if (!with_solver(g, n * count)) return;
    solver_good(g,
                cusolverDnZpotrfBatched(g->solver, CUBLAS_FILL_MODE_LOWER, (int)n,
                                        reinterpret_cast<cuDoubleComplex **>(const_cast<double **>(a)),
                                        (int)n, info, (int)count),
                "cusolverDnZpotrfBatched");
}

void nhk_ztrsm_batched(nh_gpu *g, nhk_side side, size_t n, size_t count, double *const *l, double *const *x)
{
    const cuDoubleComplex one = {1, 0};
    if (!nhk_ready(g, n * count)) return;
    blas_good(g,
              cublasZtrsmBatched(g->blas, side == NHK_RIGHT_ADJOINT ? CUBLAS_SIDE_RIGHT : CUBLAS_SIDE_LEFT,
                                 CUBLAS_FILL_MODE_LOWER, side == NHK_LEFT ? CUBLAS_OP_N : CUBLAS_OP_C,
                                 CUBLAS_DIAG_NON_UNIT, (int)n, (int)n, &one,
                                 reinterpret_cast<const cuDoubleComplex *const *>(l), (int)n,
                                 reinterpret_cast<cuDoubleComplex *const *>(x), (int)n, (int)count),
              "cublasZtrsmBatched");
}

/* Work space of one call: for a batch on the device, and on the host; of zheevd, in numbers. */
typedef struct heev_room {
    size_t device, host;
    int numbers;
} heev_room;

static void *heev_work(nh_gpu *g, bool vectors, size_t n, size_t count, double *a, double *energy,
                       heev_room *room)
{
    *room = heev_room{};
    if (!with_solver(g, n * count)) return nullptr;
    if (n > NHK_BATCHED) {
        if (!solver_good(g,
                         cusolverDnZheevd_bufferSize(g->solver, mode_of(vectors), CUBLAS_FILL_MODE_LOWER,
                                                     (int)n, complex_of(a), (int)n, energy, &room->numbers),
                         "cusolverDnZheevd_bufferSize"))
            return nullptr;
        room->device = (size_t)room->numbers * sizeof(cuDoubleComplex);
    } else if (!solver_good(g,
                            cusolverDnXsyevBatched_bufferSize(g->solver, g->solver_params, mode_of(vectors),
                                                              CUBLAS_FILL_MODE_LOWER, (int64_t)n, CUDA_C_64F,
                                                              a, (int64_t)n, CUDA_R_64F, energy, CUDA_C_64F,
                                                              &room->device, &room->host, (int64_t)count),
                            "cusolverDnXsyevBatched_bufferSize")) {
        return nullptr;
    }
    if (room->host > g->solver_host_bytes) {
        nhk_good(g, cudaStreamSynchronize(g->stream), "the work on the device"); /* it may use the old one */
        free(g->solver_host);
        g->solver_host = malloc(room->host);
        g->solver_host_bytes = g->solver_host != nullptr ? room->host : 0;
        if (g->solver_host == nullptr) nhk_fail(g, "out of memory for the eigenproblem");
    }
    return nhk_scratch(g, NHK_SCRATCH_SUMS, room->device > 0 ? room->device : 1);
}

void nhk_zheev_reserve(nh_gpu *g, bool vectors, size_t n, size_t count, double *a, double *energy)
{
    heev_room room;
    heev_work(g, vectors, n, count, a, energy, &room);
}

void nhk_zheev_batched(nh_gpu *g, bool vectors, size_t n, size_t count, double *a, double *energy, int *info)
{
    heev_room room;
    void *work = heev_work(g, vectors, n, count, a, energy, &room);
    if (work == nullptr || g->failed) return;
    if (n <= NHK_BATCHED) {
        solver_good(g,
                    cusolverDnXsyevBatched(g->solver, g->solver_params, mode_of(vectors),
                                           CUBLAS_FILL_MODE_LOWER, (int64_t)n, CUDA_C_64F, a, (int64_t)n,
                                           CUDA_R_64F, energy, CUDA_C_64F, work, room.device, g->solver_host,
                                           room.host, info, (int64_t)count),
                    "cusolverDnXsyevBatched");
        return;
    }
    for (size_t i = 0; i < count; i++)
        solver_good(g,
                    cusolverDnZheevd(g->solver, mode_of(vectors), CUBLAS_FILL_MODE_LOWER, (int)n,
                                     complex_of(a + 2 * n * n * i), (int)n, energy + n * i,
                                     static_cast<cuDoubleComplex *>(work), room.numbers, info + i),
                    "cusolverDnZheevd");
}

void nhk_zgemm_batched(nh_gpu *g, bool adjoint, size_t n, size_t count, const double *a, const double *b,
                       double *c)
{
    const cuDoubleComplex one = {1, 0}, zero = {0, 0};
    const long long size = (long long)n * (long long)n;
    if (!nhk_ready(g, n * count)) return;
    blas_good(g,
              cublasZgemmStridedBatched(g->blas, adjoint ? CUBLAS_OP_C : CUBLAS_OP_N, CUBLAS_OP_N, (int)n,
                                        (int)n, (int)n, &one, reinterpret_cast<const cuDoubleComplex *>(a),
                                        (int)n, size, reinterpret_cast<const cuDoubleComplex *>(b), (int)n,
                                        size, &zero, complex_of(c), (int)n, size, (int)count),
              "cublasZgemmStridedBatched");
}

void nhk_gemm_batched(nh_gpu *g, bool across_b, size_t m, size_t n, size_t k, size_t count, const double *a,
                      const double *b, double *c)
{
    const double one = 1, zero = 0;
    if (!nhk_ready(g, m * n * count)) return;
    blas_good(g,
              cublasDgemmStridedBatched(g->blas, across_b ? CUBLAS_OP_T : CUBLAS_OP_N, CUBLAS_OP_N, (int)n,
                                        (int)m, (int)k, &one, b, (int)(across_b ? k : n), (long long)(k * n),
                                        a, (int)k, (long long)(m * k), &zero, c, (int)n, (long long)(m * n),
                                        (int)count),
              "cublasDgemmStridedBatched");
}

#endif
