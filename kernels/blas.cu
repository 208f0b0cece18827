/* cuBLAS and cuSOLVER, or their doubles. cuBLAS thinks in columns: a row-major product is the product of the transposed
 * matrices in the opposite order. */
#include "kernels/blas.h"

#ifdef NHK_EMULATE

#include <cblas.h>
#include <complex.h>
#define lapack_complex_double double _Complex
#define lapack_complex_float float _Complex
#include <lapacke.h>

void nhk_blas_open(nh_gpu *, bool)
{
}

void nhk_blas_close(nh_gpu *)
{
}

#define GEMM(name, real, call)                                                                                    \
    void name(nh_gpu *g, bool across_a, bool across_b, size_t m, size_t n, size_t k, const real *a, size_t lda,   \
              const real *b, size_t ldb, real beta, real *c, size_t ldc)                                          \
    {                                                                                                             \
        if (!nhk_ready(g, m * n)) return;                                                                         \
        emu_enqueue(g->stream, #name, [=] {                                                                       \
            call(CblasRowMajor, across_a ? CblasTrans : CblasNoTrans, across_b ? CblasTrans : CblasNoTrans,       \
                 (int)m, (int)n, (int)k, 1, a, (int)lda, b, (int)ldb, beta, c, (int)ldc);                         \
        });                                                                                                       \
    }
GEMM(nhk_gemm_f, float, cblas_sgemm)
GEMM(nhk_gemm_d, double, cblas_dgemm)

void nhk_zgemm(nh_gpu *g, bool across_a, bool across_b, size_t m, size_t n, size_t k, const double *a, size_t lda,
               const double *b, size_t ldb, double *c, size_t ldc)
{
    if (!nhk_ready(g, m * n)) return;
    emu_enqueue(g->stream, "nhk_zgemm", [=] {
        const double one[2] = {1, 0}, zero[2] = {0, 0};
        cblas_zgemm(CblasRowMajor, across_a ? CblasTrans : CblasNoTrans, across_b ? CblasTrans : CblasNoTrans, (int)m,
                    (int)n, (int)k, one, a, (int)lda, b, (int)ldb, zero, c, (int)ldc);
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

#else

static bool blas_good(nh_gpu *g, cublasStatus_t s, const char *what)
{
    if (s != CUBLAS_STATUS_SUCCESS)
        nhk_fail(g, "CUDA device %d: %s: %s", g->index, what, cublasGetStatusString(s));
    return s == CUBLAS_STATUS_SUCCESS;
}

static bool solver_good(nh_gpu *g, cusolverStatus_t s, const char *what)
{
    if (s != CUSOLVER_STATUS_SUCCESS) nhk_fail(g, "CUDA device %d: %s: cuSOLVER status %d", g->index, what, (int)s);
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
    if (g->solver != nullptr) cusolverDnDestroy(g->solver);
    if (g->blas != nullptr) cublasDestroy(g->blas);
}

#define GEMM(name, real, call)                                                                                    \
    void name(nh_gpu *g, bool across_a, bool across_b, size_t m, size_t n, size_t k, const real *a, size_t lda,   \
              const real *b, size_t ldb, real beta, real *c, size_t ldc)                                          \
    {                                                                                                             \
        const real one = 1;                                                                                       \
        if (!nhk_ready(g, m * n)) return;                                                                         \
        blas_good(g,                                                                                              \
                  call(g->blas, across_b ? CUBLAS_OP_T : CUBLAS_OP_N, across_a ? CUBLAS_OP_T : CUBLAS_OP_N,       \
                       (int)n, (int)m, (int)k, &one, b, (int)ldb, a, (int)lda, &beta, c, (int)ldc),               \
                  #call);                                                                                         \
    }
GEMM(nhk_gemm_f, float, cublasSgemm)
GEMM(nhk_gemm_d, double, cublasDgemm)

void nhk_zgemm(nh_gpu *g, bool across_a, bool across_b, size_t m, size_t n, size_t k, const double *a, size_t lda,
               const double *b, size_t ldb, double *c, size_t ldc)
{
    const cuDoubleComplex one = {1, 0}, zero = {0, 0};
    if (!nhk_ready(g, m * n)) return;
    blas_good(g,
              cublasZgemm(g->blas, across_b ? CUBLAS_OP_T : CUBLAS_OP_N, across_a ? CUBLAS_OP_T : CUBLAS_OP_N, (int)n,
                          (int)m, (int)k, &one, reinterpret_cast<const cuDoubleComplex *>(b), (int)ldb,
                          reinterpret_cast<const cuDoubleComplex *>(a), (int)lda, &zero,
                          reinterpret_cast<cuDoubleComplex *>(c), (int)ldc),
              "cublasZgemm");
}

void nhk_zhegvd(nh_gpu *g, bool vectors, size_t n, double *a, double *b, double *energy, int *info)
{
    if (!nhk_ready(g, n)) return;
    if (g->solver == nullptr && (!solver_good(g, cusolverDnCreate(&g->solver), "cusolverDnCreate") ||
                                 !solver_good(g, cusolverDnSetStream(g->solver, g->stream), "cusolverDnSetStream")))
        return;
    cuDoubleComplex *h = reinterpret_cast<cuDoubleComplex *>(a), *s = reinterpret_cast<cuDoubleComplex *>(b);
    const cusolverEigMode_t mode = vectors ? CUSOLVER_EIG_MODE_VECTOR : CUSOLVER_EIG_MODE_NOVECTOR;
    int size = 0;
    if (!solver_good(g,
                     cusolverDnZhegvd_bufferSize(g->solver, CUSOLVER_EIG_TYPE_1, mode, CUBLAS_FILL_MODE_LOWER, (int)n, h,
                                                 (int)n, s, (int)n, energy, &size),
                     "cusolverDnZhegvd_bufferSize"))
        return;
    void *work = nhk_scratch(g, NHK_SCRATCH_SUMS, (size_t)size * sizeof(cuDoubleComplex));
    if (work == nullptr) return;
    solver_good(g,
                cusolverDnZhegvd(g->solver, CUSOLVER_EIG_TYPE_1, mode, CUBLAS_FILL_MODE_LOWER, (int)n, h, (int)n, s,
                                 (int)n, energy, static_cast<cuDoubleComplex *>(work), size, info),
                "cusolverDnZhegvd");
}

#endif
