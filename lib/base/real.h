/* real.h - sources that are compiled twice, for float and for double.
 *
 * A source in the Makefile's list TWICE is compiled with NH_REAL_DOUBLE defined and without. In it `real` is
 * the number type, R(nh_X) gives nh_X_d or nh_X_f, and the BLAS calls have the right letter. The header of such
 * a source declares both versions: it includes itself once for each type (see lib/ops/ops.h). NH_NATIVE is the
 * member of nh_weights that has numbers of this type. */
#ifndef NH_BASE_REAL_H
#define NH_BASE_REAL_H

#define NH_PASTE2(a, b) a##b
#define NH_PASTE(a, b) NH_PASTE2(a, b)

#ifdef NH_REAL_DOUBLE
typedef double real;
#define R(name) NH_PASTE(name, _d)
#define NH_GEMM cblas_dgemm
#define NH_GEMV cblas_dgemv
#define NH_EXP exp
#define NH_SQRT sqrt
#define NH_NATIVE as_double
#else
typedef float real;
#define R(name) NH_PASTE(name, _f)
#define NH_GEMM cblas_sgemm
#define NH_GEMV cblas_sgemv
#define NH_EXP expf
#define NH_SQRT sqrtf
#define NH_NATIVE as_float
#endif

#endif
