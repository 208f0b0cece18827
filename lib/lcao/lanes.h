/* lanes.h - one register of doubles, for loops over points of the grid. */
#ifndef NH_LCAO_LANES_H
#define NH_LCAO_LANES_H

#include <stddef.h>
#include <stdint.h>

#if defined __AVX512F__
#define NH_REGISTER 64 /* bytes */
#elif defined __AVX__
#define NH_REGISTER 32
#else
#define NH_REGISTER 16
#endif
enum { NH_WIDE = NH_REGISTER / sizeof(double) };
typedef double nh_wide
    __attribute__((vector_size(NH_REGISTER), aligned(8), may_alias)); /* at any place in memory */
typedef int64_t nh_wide_bits __attribute__((vector_size(NH_REGISTER), aligned(8), may_alias));

#define NH_INLINE static inline __attribute__((always_inline))

#endif
