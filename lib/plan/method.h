/* method.h - the two ways in which the host computes the network; both give the same numbers up to rounding. */
#ifndef NH_PLAN_METHOD_H
#define NH_PLAN_METHOD_H

/* FAST: matrix products for tiles (ops/gemm.c) and tensor products in the frame of the edge (plan/frame.h).
 * REFERENCE: BLAS and the explicit coupling matrices M (plan/product.h); slower, used by tests. */
typedef enum nh_method { NH_METHOD_FAST, NH_METHOD_REFERENCE } nh_method;

#endif
