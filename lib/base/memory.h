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

/* Arrays that grow. `array` is the address of the pointer to one, which is NULL at first and freed with free(). False where there is no
 * memory, or no size_t for it: the array is then as it was. New elements are not cleared.
 *
 * Room for `wanted` elements of `size` bytes; *room says for how many there is room, 0 at first. It at least doubles. */
bool nh_grow(void *array, size_t *room, size_t wanted, size_t size);
/* Room for one element more than `count`, in an array that no other function made larger: then its room follows from `count`. */
bool nh_grow_one(void *array, size_t count, size_t size);

/* Copy of a string, or NULL. The caller frees. */
char *nh_strdup(const char *text);

#endif
