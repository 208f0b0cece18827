/* text.h - small text files (STRU, POSCAR, XYZ, INPUT) held in memory, line after line, token after token. */
#ifndef NH_FORMATS_TEXT_H
#define NH_FORMATS_TEXT_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum { NH_TEXT_LIMIT = 1 << 30, NH_TEXT_TOKENS = 64 };

typedef struct nh_text {
    const char *name; /* of the file, for messages */
    char *at;         /* the rest; lines and tokens are cut out of it in place */
    size_t line;      /* number of the line last taken, from 1 */
} nh_text;

/* The next line without its end, or NULL after the last one. Points into the text. */
char *nh_text_line(nh_text *t);
/* Cuts the line at '#' and at "//", the comments of ABACUS. */
void nh_text_uncomment(char *line);
/* Cuts a line into its words; those after the first NH_TEXT_TOKENS are dropped. Returns their number. */
size_t nh_text_split(char *line, char *token[NH_TEXT_TOKENS]);
/* The next line that has words, without comments where `comments`; 0 after the last one. */
size_t nh_text_next(nh_text *t, bool comments, char *token[NH_TEXT_TOKENS]);

/* A whole token as a finite number, or "NAME:LINE: WHAT expected, "TOKEN" found". */
int nh_text_real(const nh_text *t, const char *token, const char *what, double *out, nh_error *err);
int nh_text_count(const nh_text *t, const char *token, const char *what, size_t *out, nh_error *err);
/* "NAME:LINE: ...". Returns -1. */
int nh_text_fail(const nh_text *t, nh_error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* True where the whole token is a number. */
bool nh_text_is_real(const char *token);

#endif
