/* blas.h - a thin layer over cuBLAS and cuSOLVER, with CBLAS and LAPACKE behind it in the emulation. Matrices are on the
 * device and row-major. Queued in the device's stream; failures as everywhere here (device/kernels.h). */
#ifndef NH_KERNELS_BLAS_H
#define NH_KERNELS_BLAS_H

#include "kernels/gpu.h"

/* c[m][n] = a b + beta c, where a is [m][k] (or [k][m] if across_a), b [k][n] (or [n][k] if across_b); ld.: numbers from
 * one row to the next. Nothing is done where m or n is 0. */
void nhk_gemm_f(nh_gpu *g, bool across_a, bool across_b, size_t m, size_t n, size_t k, const float *a,
                size_t lda, const float *b, size_t ldb, float beta, float *c, size_t ldc);
void nhk_gemm_d(nh_gpu *g, bool across_a, bool across_b, size_t m, size_t n, size_t k, const double *a,
                size_t lda, const double *b, size_t ldb, double beta, double *c, size_t ldc);

/* `count` products c[m][n] = a b, one after another in memory: a [m][k], b [k][n], or [n][k] if across_b. */
void nhk_gemm_batched(nh_gpu *g, bool across_b, size_t m, size_t n, size_t k, size_t count, const double *a,
                      const double *b, double *c);

/* c[m][n] = a b of complex numbers, otherwise as nhk_gemm; across: transposed, not conjugated. */
void nhk_zgemm(nh_gpu *g, bool across_a, bool across_b, size_t m, size_t n, size_t k, const double *a,
               size_t lda, const double *b, size_t ldb, double *c, size_t ldc);

/* LAPACK's zhegvd for A C = E B C with both matrices n x n on the device, lower triangles in column-major order: energy[n]
 * on the device, eigenvectors in the columns of a where `vectors`; b becomes its Cholesky factor. *info on the device as
 * in LAPACK. The work space is the device's scratch. */
void nhk_zhegvd(nh_gpu *g, bool vectors, size_t n, double *a, double *b, double *energy, int *info);

/* For `count` matrices n x n at once, column-major, in arrays [count][n][n][2] or by tables of pointers to each, all on the device, as are
 * energy[count][n] and info[count].
 *
 * zpotrf: the Cholesky factor in the lower triangle. ztrsm: x <- l^-1 x, x <- l^-dagger x, x <- x l^-dagger with it. zheev: eigenvalues of a's
 * lower triangle, eigenvectors in its columns where `vectors`; up to n = NHK_BATCHED together, larger ones one after another (zheevd). The work
 * space, the device's scratch, is taken beforehand by _reserve, so that too large a batch is known early. zgemm: c = a b, or a^dagger b. */
void nhk_zpotrf_batched(nh_gpu *g, size_t n, size_t count, double *const *a, int *info);
typedef enum nhk_side { NHK_LEFT, NHK_LEFT_ADJOINT, NHK_RIGHT_ADJOINT } nhk_side;
void nhk_ztrsm_batched(nh_gpu *g, nhk_side side, size_t n, size_t count, double *const *l, double *const *x);
void nhk_zheev_reserve(nh_gpu *g, bool vectors, size_t n, size_t count, double *a, double *energy);
void nhk_zheev_batched(nh_gpu *g, bool vectors, size_t n, size_t count, double *a, double *energy, int *info);
void nhk_zgemm_batched(nh_gpu *g, bool adjoint, size_t n, size_t count, const double *a, const double *b,
                       double *c);

#endif
