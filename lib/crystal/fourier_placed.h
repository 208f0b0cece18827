/* fourier_placed.h - the sums of fourier.h on a device. */
#ifndef NH_CRYSTAL_FOURIER_PLACED_H
#define NH_CRYSTAL_FOURIER_PLACED_H

#include "crystal/fourier.h"

struct nh_device; /* device/device.h */
struct nhk_eigen; /* device/kernels.h */

/* From now on the sums are taken on the device (NULL: on the CPU, as before), which must outlive f, and by one thread at a
 * time. Once. */
int nh_fourier_place(nh_fourier *f, const struct nh_device *device, nh_error *err);
/* Queues H(k), S(k) of n k-points for the eigenproblem `to` on the same device, where they stay; f is placed. */
int nh_fourier_queue(const nh_fourier *f, size_t n, const double *k, struct nhk_eigen *to, nh_error *err);

#endif
