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

char *nh_strdup(const char *text)
{
    size_t n = strlen(text) + 1;
    char *copy = malloc(n);
    if (copy != NULL) memcpy(copy, text, n);
    return copy;
}
