/* fft.h - transforms of real functions on a grid [n0][n1][n2]: cuFFT, with FFTW behind it in the emulation. Half-complex numbers
 * [n0][n1][n2/2+1][2]; nothing is scaled. Queued in the device's stream; failures as everywhere here (device/kernels.h). */
#ifndef NH_KERNELS_FFT_H
#define NH_KERNELS_FFT_H

#include "kernels/gpu.h"

typedef struct nhk_fft nhk_fft;
/* NULL after a failure. */
nhk_fft *nhk_fft_new(nh_gpu *g, const int n[3]);
void nhk_fft_free(nhk_fft *f); /* NULL is fine */
void nhk_fft_forward(nhk_fft *t, const double *f, double *half);
void nhk_fft_backward(nhk_fft *t, double *half, double *f); /* half is overwritten */

#endif
