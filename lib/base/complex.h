/* complex.h - <complex.h>, with CMPLX of C11 also where the C library defines it for gcc alone (glibc and clang). */
#ifndef NH_BASE_COMPLEX_H
#define NH_BASE_COMPLEX_H

#include <complex.h>

#ifndef CMPLX
#define CMPLX(re, im) __builtin_complex((double)(re), (double)(im))
#endif

#endif
