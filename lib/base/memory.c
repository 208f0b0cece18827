#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

bool nh_size_mul(size_t a, size_t b, size_t *out)
{
    if (b != 0 && a > SIZE_MAX / b) return false;
    *out = a * b;
    return true;
}

bool nh_size_add(size_t a, size_t b, size_t *out)
{
    if (a > SIZE_MAX - b) return false;
    *out = a + b;
    return true;
}

void *nh_calloc(size_t count, size_t size)
{
    size_t bytes;
    if (!nh_size_mul(count, size, &bytes))
        return NULL; /* calloc says so too; AddressSanitizer's ends the program */
    return calloc(count > 0 ? count : 1, size);
}

void *nh_calloc_aligned(size_t count, size_t size)
{
    size_t bytes, padded;
    if (!nh_size_mul(count, size, &bytes) || !nh_size_add(bytes, ALIGNMENT, &padded)) return NULL;
    padded -= padded % ALIGNMENT;
    if (padded == 0) padded = ALIGNMENT;
    void *p = aligned_alloc(ALIGNMENT, padded);
    if (p != NULL) memset(p, 0, padded);
    return p;
}

static bool resize(void *array, size_t count, size_t size)
{
    size_t bytes;
    void *old;
    if (!nh_size_mul(count, size, &bytes)) return false;
    memcpy(&old, array, sizeof old); /* a T ** is no void ** */
    void *const grown = realloc(old, bytes > 0 ? bytes : 1);
    if (grown == NULL) return false;
    memcpy(array, &grown, sizeof grown);
    return true;
}

bool nh_grow(void *array, size_t *room, size_t wanted, size_t size)
{
    enum { LEAST = 16 };
    size_t count;
    if (wanted <= *room) return true;
    if (!nh_size_mul(*room, 2, &count) || count < wanted) count = wanted;
    if (count < LEAST) count = LEAST;
    if (!resize(array, count, size)) return false;
    *room = count;
    return true;
}

bool nh_grow_one(void *array, size_t count, size_t size)
{
    size_t room = 1;
    if ((count & (count - 1)) != 0) return true; /* full at every power of two */
    if (count > 0 && !nh_size_mul(count, 2, &room)) return false;
    return resize(array, room, size);
}

char *nh_strdup(const char *text)
{
    size_t n = strlen(text) + 1;
    char *copy = malloc(n);
    if (copy != NULL) memcpy(copy, text, n);
    return copy;
}
