/* fourier.h - the sums of fourier.cu for others on the same device. */
#ifndef NH_KERNELS_FOURIER_H
#define NH_KERNELS_FOURIER_H

#include "kernels/gpu.h"

/* As fourier_at of the table, with h and s on the device, queued in the stream *stream of the sums. Errors: -1, and nothing is queued any more. */
int nhk_fourier_queue(nhk_fourier *f, size_t n, const double *phase, double *h, double *s,
                      cudaStream_t *stream, nh_error *err);

#endif
