#include "formats/text.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *nh_text_line(nh_text *t)
{
    if (*t->at == '\0') return NULL;
    char *line = t->at, *end = strchr(line, '\n');
    t->at = end != NULL ? end + 1 : line + strlen(line);
    if (end != NULL) *end = '\0';
    t->line++;
    const size_t n = strlen(line);
    if (n > 0 && line[n - 1] == '\r') line[n - 1] = '\0';
    return line;
}

void nh_text_uncomment(char *line)
{
    char *hash = strchr(line, '#');
    if (hash != NULL) *hash = '\0';
    char *slashes = strstr(line, "//");
    if (slashes != NULL) *slashes = '\0';
}

size_t nh_text_split(char *line, char *token[NH_TEXT_TOKENS])
{
    size_t n = 0;
    for (char *at = line; n < NH_TEXT_TOKENS;) {
        while (isspace((unsigned char)*at))
            at++;
        if (*at == '\0') break;
        token[n++] = at;
        while (*at != '\0' && !isspace((unsigned char)*at))
            at++;
        if (*at != '\0') *at++ = '\0';
    }
    return n;
}

size_t nh_text_next(nh_text *t, bool comments, char *token[NH_TEXT_TOKENS])
{
    for (char *line; (line = nh_text_line(t)) != NULL;) {
        if (comments) nh_text_uncomment(line);
        const size_t n = nh_text_split(line, token);
        if (n > 0) return n;
    }
    return 0;
}

int nh_text_fail(const nh_text *t, nh_error *err, const char *format, ...)
{
    char text[sizeof err->text / 2];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return nh_fail(err, "%s:%zu: %s", t->name, t->line, text);
}

int nh_text_real(const nh_text *t, const char *token, const char *what, double *out, nh_error *err)
{
    char *end;
    const double x = strtod(token, &end);
    if (end == token || *end != '\0')
        return nh_text_fail(t, err, "%s expected, \"%.40s\" found", what, token);
    if (!isfinite(x)) return nh_text_fail(t, err, "%s is not finite (\"%.40s\")", what, token);
    *out = x;
    return 0;
}

int nh_text_count(const nh_text *t, const char *token, const char *what, size_t *out, nh_error *err)
{
    char *end;
    errno = 0;
    const long n = strtol(token, &end, 10);
    if (end == token || *end != '\0' || errno != 0 || n < 0 || n > INT_MAX)
        return nh_text_fail(t, err, "%s expected, \"%.40s\" found", what, token);
    *out = (size_t)n;
    return 0;
}

bool nh_text_is_real(const char *token)
{
    char *end;
    (void)strtod(token, &end);
    return end != token && *end == '\0';
}
