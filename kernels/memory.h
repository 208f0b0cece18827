/* memory.h - device memory and copies, for the kernels and their tests: gpu.cu. */
#ifndef NH_KERNELS_MEMORY_H
#define NH_KERNELS_MEMORY_H

#include "device/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* As `sync` of nhk_calls. */
int nhk_sync(nh_gpu *g, nh_error *err);
/* Bytes of device memory that are free. */
size_t nhk_available(nh_gpu *g);
/* Device memory; NULL (and a failure for nhk_sync) where there is not enough. 0 bytes give NULL without a failure. */
void *nhk_alloc(nh_gpu *g, size_t count, size_t size);
void nhk_free(nh_gpu *g, void *p); /* waits; NULL is fine */
/* As `pinned` and `pinned_free` of nhk_calls. */
void *nhk_pinned(nh_gpu *g, size_t count, size_t size);
void nhk_pinned_free(void *p);
/* Copies in the order of the stream; `from` may be changed after nhk_upload returns, `to` is there after nhk_sync. */
void nhk_upload(nh_gpu *g, void *to, const void *from, size_t bytes);
void nhk_download(nh_gpu *g, void *to, const void *from, size_t bytes);
void nhk_copy(nh_gpu *g, void *to, const void *from, size_t bytes);
void nhk_zero(nh_gpu *g, void *p, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
