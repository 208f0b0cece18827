/* memory.h - allocation with checked sizes. */
#ifndef NH_BASE_MEMORY_H
#define NH_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* Zeroed array of `count` elements of type `type`, or NULL. count = 0 gives a valid, freeable pointer. */
#define NH_ARRAY(type, count) ((type *)nh_calloc((count), sizeof(type)))

void *nh_calloc(size_t count, size_t size);

/* As nh_calloc, aligned to 64 bytes (one cache line, one AVX-512 register); freed with free(). */
void *nh_calloc_aligned(size_t count, size_t size);

/* *out = a*b, or a+b; false (and *out untouched) where that does not fit. */
bool nh_size_mul(size_t a, size_t b, size_t *out);
bool nh_size_add(size_t a, size_t b, size_t *out);

/* Copy of a string, or NULL. The caller frees. */
char *nh_strdup(const char *text);

#endif
