/* vector.h - short vectors and the elementary functions that the operations share. For sources that are
 * compiled twice.
 *
 * R(nh_vec) is one register of numbers in GCC's and clang's vector extension: plain operators, on any
 * machine. */
#ifndef NH_OPS_VECTOR_H
#define NH_OPS_VECTOR_H

#include "base/real.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef NH_VECTOR /* bytes of a register; a wider one than the machine has is right too, and slow */
#if defined __AVX512F__
#define NH_VECTOR 64
#elif defined __AVX__
#define NH_VECTOR 32
#else
#define NH_VECTOR 16
#endif
#endif
enum { NH_LANES = NH_VECTOR / sizeof(real) };
typedef real R(nh_vec)
    __attribute__((vector_size(NH_VECTOR), aligned(sizeof(real)), may_alias)); /* no alignment needed */

static inline R(nh_vec) R(nh_load)(const real *p)
{
    return *(const R(nh_vec) *)p;
}

static inline void R(nh_store)(real *p, R(nh_vec) v)
{
    *(R(nh_vec) *)p = v;
}

/* Half a register, where a whole one holds 64 bytes: channels come in groups of 8, which a register of 16 numbers is too wide
 * for. Elsewhere the same as a whole one. */
#define NH_HALF_VECTOR (NH_VECTOR > 32 ? NH_VECTOR / 2 : NH_VECTOR)
enum { NH_HALF = NH_HALF_VECTOR / sizeof(real) };
typedef real R(nh_half) __attribute__((vector_size(NH_HALF_VECTOR), aligned(sizeof(real)), may_alias));

static inline R(nh_half) R(nh_load_half)(const real *p)
{
    return *(const R(nh_half) *)p;
}

static inline void R(nh_store_half)(real *p, R(nh_half) v)
{
    *(R(nh_half) *)p = v;
}

/* `call` with the constant `name` = mul for the widths of the published networks, so that loops over channels have a number of
 * rounds that the compiler knows; with `name` = mul for others. */
#define NH_WITH_WIDTH(mul, name, call)                                                                       \
    do {                                                                                                     \
        NH_WHERE(1, mul, name, call)                                                                         \
        NH_WHERE(4, mul, name, call)                                                                         \
        NH_WHERE(8, mul, name, call)                                                                         \
        NH_WHERE(16, mul, name, call)                                                                        \
        NH_WHERE(32, mul, name, call)                                                                        \
        {                                                                                                    \
            const size_t name = (mul);                                                                       \
            call;                                                                                            \
        }                                                                                                    \
    } while (0)
/* The same for the components 2l+1 of degrees up to 7. */
#define NH_WITH_ROWS(rows, name, call)                                                                       \
    do {                                                                                                     \
        NH_WHERE(1, rows, name, call)                                                                        \
        NH_WHERE(3, rows, name, call)                                                                        \
        NH_WHERE(5, rows, name, call)                                                                        \
        NH_WHERE(7, rows, name, call)                                                                        \
        NH_WHERE(9, rows, name, call)                                                                        \
        NH_WHERE(11, rows, name, call)                                                                       \
        NH_WHERE(13, rows, name, call)                                                                       \
        NH_WHERE(15, rows, name, call)                                                                       \
        {                                                                                                    \
            const size_t name = (rows);                                                                      \
            call;                                                                                            \
        }                                                                                                    \
    } while (0)
#define NH_WHERE(number, value, name, call)                                                                  \
    if ((value) == (number)) {                                                                               \
        enum { name = (number) };                                                                            \
        call;                                                                                                \
        break;                                                                                               \
    }

static inline R(nh_vec) R(nh_splat)(real x)
{
    return x - (R(nh_vec)){0};
}

static inline real R(nh_half_sum)(R(nh_half) v)
{
    real s = 0;
    for (int i = 0; i < NH_HALF; i++)
        s += v[i];
    return s;
}

/* The two halves of a whole register, added. */
static inline R(nh_half) R(nh_fold)(R(nh_vec) v)
{
#if NH_VECTOR > 32
    R(nh_half) half[2];
    memcpy(half, &v, sizeof half);
    return half[0] + half[1];
#else
    return v;
#endif
}

/* sum_i x_i */
static inline real R(nh_sum)(size_t n, const real *x)
{
    R(nh_vec) v = {0};
    size_t i = 0;
    for (; i + NH_LANES <= n; i += NH_LANES)
        v += R(nh_load)(x + i);
    R(nh_half) h = R(nh_fold)(v);
    for (; i + NH_HALF <= n; i += NH_HALF)
        h += R(nh_load_half)(x + i);
    real s = R(nh_half_sum)(h);
    for (; i < n; i++)
        s += x[i];
    return s;
}

/* sum_i x_i y_i */
static inline real R(nh_dot)(size_t n, const real *x, const real *y)
{
    R(nh_vec) v = {0};
    size_t i = 0;
    for (; i + NH_LANES <= n; i += NH_LANES)
        v += R(nh_load)(x + i) * R(nh_load)(y + i);
    R(nh_half) h = R(nh_fold)(v);
    for (; i + NH_HALF <= n; i += NH_HALF)
        h += R(nh_load_half)(x + i) * R(nh_load_half)(y + i);
    real s = R(nh_half_sum)(h);
    for (; i < n; i++)
        s += x[i] * y[i];
    return s;
}

/* exp(x) without branches or calls, so that loops over it become vector code; relative error below 2 units in
 * the last place. x is reduced to |r| <= ln(2)/2 by a multiple k of ln 2, taken from the low bits of x/ln2
 * + 1.5*2^(mantissa bits). Results below the smallest normal number are 0, those above 2^127 (2^1023) are
 * held there; a NaN stays one. */
#ifdef NH_REAL_DOUBLE
static inline double R(nh_exp)(double x)
{
    const double top = 709.0, bottom = -708.0, magic = 6755399441055744.0;
    double y = x > top ? top : x;
    y = y < bottom ? bottom : y;
    const double shifted = y * 1.4426950408889634 + magic;
    const double k = shifted - magic;
    const double r = (y - k * 6.93147180369123816490e-01) - k * 1.90821492927058770002e-10;
    double p = 1.0 / 6227020800.0;
    p = p * r + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    uint64_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 1023) << 52;
    double scale;
    memcpy(&scale, &bits, sizeof scale);
    return x < bottom ? 0.0 : p * scale;
}
#else
static inline float R(nh_exp)(float x)
{
    const float top = 88.0F, bottom = -87.0F, magic = 12582912.0F;
    float y = x > top ? top : x;
    y = y < bottom ? bottom : y;
    const float shifted = y * 1.44269504F + magic;
    const float k = shifted - magic;
    const float r = (y - k * 0.693359375F) + k * 2.12194440e-4F;
    float p = 1.0F / 5040.0F;
    p = p * r + 1.0F / 720.0F;
    p = p * r + 1.0F / 120.0F;
    p = p * r + 1.0F / 24.0F;
    p = p * r + 1.0F / 6.0F;
    p = p * r + 0.5F;
    p = p * r + 1.0F;
    p = p * r + 1.0F;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127) << 23;
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return x < bottom ? 0.0F : p * scale;
}
#endif

static inline real R(nh_sigmoid)(real x)
{
    return 1 / (1 + R(nh_exp)(-x));
}

#endif
