#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int nh_fail(nh_error *err, const char *format, ...)
{
    if (err == NULL) return -1;
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    return -1;
}

int nh_fail_memory(nh_error *err, const char *what)
{
    return nh_fail(err, "out of memory for %s", what);
}

int nh_fail_at(nh_error *err, const char *format, ...)
{
    if (err == NULL) return -1;
    char tail[sizeof err->text];
    memcpy(tail, err->text, sizeof tail);
    va_list args;
    va_start(args, format);
    int used = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    if (used >= 0 && (size_t)used < sizeof err->text)
        snprintf(err->text + used, sizeof err->text - (size_t)used, ": %.*s",
                 (int)(sizeof err->text - (size_t)used - 3), tail);
    return -1;
}
