/* stream.h - foreign text: bytes from a file or a pipe, plain, gzip or xz (told apart by their first bytes),
 * and tokens from the bytes. Real files have lines of gigabytes; nothing here works by line. */
#ifndef NH_BASE_STREAM_H
#define NH_BASE_STREAM_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct nh_stream nh_stream;

/* Opens `path` ("-": standard input). The stream keeps a copy of the name for messages. */
int nh_stream_open(const char *path, nh_stream **out, nh_error *err);
void nh_stream_close(nh_stream *s); /* NULL is fine */
const char *nh_stream_name(const nh_stream *s);
size_t nh_stream_line(const nh_stream *s); /* line of the next byte, from 1 */

/* Next byte without taking it, or taking it; -1 at the end. A read or decompression error (a truncated gzip
 * file is one) also gives -1 and is kept: nh_stream_status tells. */
int nh_stream_peek(nh_stream *s);
int nh_stream_get(nh_stream *s);
/* Up to `size` bytes as they are (binary files; lines are not counted); fewer at the end or on an error. */
size_t nh_stream_read(nh_stream *s, void *to, size_t size);
int nh_stream_status(const nh_stream *s, nh_error *err);

/* Tokens. Each skips white space first and fails at the end of the file with "NAME:LINE: ... expected".
 * nh_scan_real parses what strtod parses in the C locale, correctly rounded, and is fast on `%.8e` text; it
 * accepts nan and inf, which the caller has to refuse, and Fortran's D exponents. `what` names what is read,
 * for the message. A number may be followed by punctuation, not by a letter, digit, sign or dot ("1.5Ry"). */
int nh_scan_real(nh_stream *s, double *out, const char *what, nh_error *err);
int nh_scan_long(nh_stream *s, long *out, const char *what, nh_error *err);
int nh_scan_word(nh_stream *s, char *buffer, size_t size, const char *what, nh_error *err);
/* "(re,im)", spaces allowed inside. */
int nh_scan_complex(nh_stream *s, double out[2], const char *what, nh_error *err);
int nh_skip_space(nh_stream *s); /* skips white space, returns the next byte (peeked) or -1 */
int nh_skip_line(nh_stream *s);  /* skips up to and including the next '\n'; -1 at the end */
/* Rest of the line without its '\n' into buffer (cut to size-1); returns -1 at the end of the file. For
 * headers only. */
int nh_stream_line_text(nh_stream *s, char *buffer, size_t size);

/* A whole small text file (at most `limit` bytes) as one NUL-terminated string, for STRU, KPT, INPUT, YAML.
 * The caller frees. */
int nh_read_text(const char *path, size_t limit, char **out, nh_error *err);

#endif
