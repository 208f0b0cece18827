#include "base/stream.h"

#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <float.h>
#include <limits.h>
#include <lzma.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum {
    CHUNK = 1 << 20,  /* size of the buffers */
    MAX_NUMBER = 4096 /* longest text of a number */
};
static const uint64_t XZ_MEMORY = (uint64_t)1 << 30;

typedef enum format { PLAIN, GZIP, XZ } format;

struct nh_stream {
    char *name;
    int fd;
    format format;
    /* Text: next..end of `text`, and text[end] = '\0', so that scanning for digits needs no bounds. */
    char *text;
    size_t next, end;
    size_t line;
    bool text_ends; /* nothing will follow text[end] */
    /* Bytes of the file that are not decompressed yet. */
    unsigned char *raw;
    size_t raw_next, raw_end;
    bool raw_ends;
    bool between; /* gzip: a member is complete */
    z_stream gzip;
    lzma_stream xz;
    bool failed;
    nh_error error;
};

static void fail_stream(nh_stream *s, const char *what)
{
    if (!s->failed) nh_fail(&s->error, "%s: %s", s->name, what);
    s->failed = true;
    s->text_ends = true;
    s->raw_ends = true;
}

/* Up to `size` bytes from the file to `to`; 0 at its end and on an error. */
static size_t read_file(nh_stream *s, void *to, size_t size)
{
    ssize_t got;
    do
        got = read(s->fd, to, size);
    while (got < 0 && errno == EINTR);
    if (got < 0) fail_stream(s, strerror(errno));
    if (got <= 0) s->raw_ends = true;
    return got > 0 ? (size_t)got : 0;
}

static void read_raw(nh_stream *s)
{
    if (s->raw_next < s->raw_end || s->raw_ends) return;
    s->raw_next = 0;
    s->raw_end = read_file(s, s->raw, CHUNK);
}

static size_t fill_plain(nh_stream *s, char *to, size_t room)
{
    size_t have = s->raw_end - s->raw_next;
    if (have == 0) return s->raw_ends ? 0 : read_file(s, to, room);
    if (have > room) have = room;
    memcpy(to, s->raw + s->raw_next, have);
    s->raw_next += have;
    return have;
}

/* After the last member gzip files may be padded with zeros (tapes, block devices). Anything else is no gzip.
 */
static bool only_padding(nh_stream *s)
{
    for (;;) {
        read_raw(s);
        if (s->raw_next == s->raw_end) return true;
        for (; s->raw_next < s->raw_end; s->raw_next++)
            if (s->raw[s->raw_next] != 0) return false;
    }
}

static size_t fill_gzip(nh_stream *s, char *to, size_t room)
{
    size_t made = 0;
    while (made == 0 && !s->failed) {
        read_raw(s);
        if (s->raw_next == s->raw_end) {
            if (!s->between && !s->failed) fail_stream(s, "unexpected end of gzip data");
            return 0;
        }
        if (s->between) {
            if (s->raw[s->raw_next] != 0x1f) {
                if (!only_padding(s)) fail_stream(s, "bytes that are no gzip data after the gzip data");
                return 0;
            }
            inflateReset(&s->gzip);
            s->between = false;
        }
        s->gzip.next_in = s->raw + s->raw_next;
        s->gzip.avail_in = (uInt)(s->raw_end - s->raw_next);
        s->gzip.next_out = (Bytef *)to;
        s->gzip.avail_out = (uInt)room;
        int status = inflate(&s->gzip, Z_NO_FLUSH);
        s->raw_next = s->raw_end - s->gzip.avail_in;
        made = room - s->gzip.avail_out;
        if (status == Z_STREAM_END)
            s->between = true;
        else if (status != Z_OK && status != Z_BUF_ERROR)
            fail_stream(s, status == Z_MEM_ERROR ? "out of memory for gzip data" : "corrupt gzip data");
    }
    return made;
}

static size_t fill_xz(nh_stream *s, char *to, size_t room)
{
    s->xz.next_out = (uint8_t *)to;
    s->xz.avail_out = room;
    while (s->xz.avail_out == room && !s->failed) {
        read_raw(s);
        if (s->failed) return 0;
        s->xz.next_in = s->raw + s->raw_next;
        s->xz.avail_in = s->raw_end - s->raw_next;
        lzma_ret status = lzma_code(&s->xz, s->raw_ends ? LZMA_FINISH : LZMA_RUN);
        s->raw_next = s->raw_end - s->xz.avail_in;
        switch (status) {
        case LZMA_OK:
            break;
        case LZMA_STREAM_END:
            return room - s->xz.avail_out;
        case LZMA_BUF_ERROR:
            if (s->raw_ends) fail_stream(s, "unexpected end of xz data");
            break;
        case LZMA_MEM_ERROR:
            fail_stream(s, "out of memory for xz data");
            break;
        case LZMA_MEMLIMIT_ERROR:
            fail_stream(s, "xz data need more than 1 GiB to decompress");
            break;
        default:
            fail_stream(s, "corrupt xz data");
        }
    }
    return room - s->xz.avail_out;
}

/* Makes at least `need` bytes lie at text[next..end), fewer only at the end of the stream. need <= CHUNK. */
static void fill(nh_stream *s, size_t need)
{
    if (s->end - s->next >= need || s->text_ends) return;
    if (s->next > 0) memmove(s->text, s->text + s->next, s->end - s->next);
    s->end -= s->next;
    s->next = 0;
    while (s->end < need && !s->text_ends) {
        char *to = s->text + s->end;
        size_t room = CHUNK + MAX_NUMBER - s->end;
        size_t got = s->format == GZIP ? fill_gzip(s, to, room)
                     : s->format == XZ ? fill_xz(s, to, room)
                                       : fill_plain(s, to, room);
        s->end += got;
        if (got == 0) s->text_ends = true;
    }
    s->text[s->end] = '\0';
}

int nh_stream_open(const char *path, nh_stream **out, nh_error *err)
{
    static const unsigned char xz_magic[6] = {0xfd, '7', 'z', 'X', 'Z', 0};
    *out = NULL;
    nh_stream *s = NH_ARRAY(nh_stream, 1);
    if (s == NULL) return nh_fail_memory(err, path);
    bool standard = strcmp(path, "-") == 0;
    s->fd = standard ? STDIN_FILENO : -1;
    s->line = 1;
    s->name = nh_strdup(standard ? "standard input" : path);
    s->text = NH_ARRAY(char, CHUNK + MAX_NUMBER + 1);
    s->raw = NH_ARRAY(unsigned char, CHUNK);
    if (s->name == NULL || s->text == NULL || s->raw == NULL) {
        nh_stream_close(s);
        return nh_fail_memory(err, path);
    }
    if (!standard && (s->fd = open(path, O_RDONLY | O_CLOEXEC)) < 0) {
        nh_fail(err, "%s: %s", path, strerror(errno));
        nh_stream_close(s);
        return -1;
    }
    /* A pipe may give the first bytes one by one. */
    while (s->raw_end < sizeof xz_magic && !s->raw_ends)
        s->raw_end += read_file(s, s->raw + s->raw_end, CHUNK - s->raw_end);
    if (s->raw_end >= 2 && s->raw[0] == 0x1f && s->raw[1] == 0x8b) {
        if (inflateInit2(&s->gzip, 15 + 16) != Z_OK)
            fail_stream(s, "out of memory for gzip data");
        else
            s->format = GZIP;
    } else if (s->raw_end >= sizeof xz_magic && memcmp(s->raw, xz_magic, sizeof xz_magic) == 0) {
        if (lzma_stream_decoder(&s->xz, XZ_MEMORY, LZMA_CONCATENATED) != LZMA_OK)
            fail_stream(s, "out of memory for xz data");
        else
            s->format = XZ;
    }
    if (s->failed) {
        nh_stream_status(s, err);
        nh_stream_close(s);
        return -1;
    }
    *out = s;
    return 0;
}

void nh_stream_close(nh_stream *s)
{
    if (s == NULL) return;
    if (s->format == GZIP) inflateEnd(&s->gzip);
    if (s->format == XZ) lzma_end(&s->xz);
    if (s->fd > STDIN_FILENO) close(s->fd);
    free(s->raw);
    free(s->text);
    free(s->name);
    free(s);
}

const char *nh_stream_name(const nh_stream *s)
{
    return s->name;
}

size_t nh_stream_line(const nh_stream *s)
{
    return s->line;
}

int nh_stream_peek(nh_stream *s)
{
    fill(s, 1);
    return s->next < s->end ? (unsigned char)s->text[s->next] : -1;
}

int nh_stream_get(nh_stream *s)
{
    fill(s, 1);
    if (s->next == s->end) return -1;
    unsigned char byte = (unsigned char)s->text[s->next++];
    if (byte == '\n') s->line++;
    return byte;
}

size_t nh_stream_read(nh_stream *s, void *to, size_t size)
{
    size_t done = 0;
    while (done < size) {
        fill(s, 1);
        size_t have = s->end - s->next;
        if (have == 0) break;
        if (have > size - done) have = size - done;
        memcpy((char *)to + done, s->text + s->next, have);
        s->next += have;
        done += have;
    }
    return done;
}

int nh_stream_status(const nh_stream *s, nh_error *err)
{
    if (!s->failed) return 0;
    return nh_fail(err, "%s", s->error.text);
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

int nh_skip_space(nh_stream *s)
{
    for (;;) {
        /* The '\0' behind the text is no space. */
        const char *p = s->text + s->next;
        while (is_space(*p)) {
            if (*p == '\n') s->line++;
            p++;
        }
        s->next = (size_t)(p - s->text);
        if (s->next < s->end) return (unsigned char)*p;
        if (s->text_ends) return -1;
        fill(s, 1);
    }
}

int nh_skip_line(nh_stream *s)
{
    fill(s, 1);
    if (s->next == s->end) return -1;
    while (s->next < s->end) {
        const char *newline = memchr(s->text + s->next, '\n', s->end - s->next);
        if (newline != NULL) {
            s->next = (size_t)(newline - s->text) + 1;
            s->line++;
            return 0;
        }
        s->next = s->end;
        fill(s, 1);
    }
    return 0;
}

int nh_stream_line_text(nh_stream *s, char *buffer, size_t size)
{
    fill(s, 1);
    buffer[0] = '\0';
    if (s->next == s->end) return -1;
    size_t used = 0;
    bool cut = false;
    for (int c = nh_stream_get(s); c != -1 && c != '\n'; c = nh_stream_get(s)) {
        if (used + 1 < size)
            buffer[used++] = (char)c;
        else
            cut = true;
    }
    if (!cut && used > 0 && buffer[used - 1] == '\r') used--;
    buffer[used] = '\0';
    return 0;
}

/* "NAME:LINE: WHAT expected, found ..." with the next token, or the reason why the stream has ended. */
static int fail_token(nh_stream *s, const char *what, nh_error *err)
{
    if (s->failed) return nh_stream_status(s, err);
    fill(s, 64);
    if (s->next == s->end) return nh_fail(err, "%s:%zu: %s expected, found the end", s->name, s->line, what);
    char found[33];
    size_t n = 0;
    while (n < sizeof found - 1 && s->next + n < s->end && !is_space(s->text[s->next + n])) {
        char c = s->text[s->next + n];
        found[n++] = c >= ' ' && c != 0x7f ? c : '?';
    }
    found[n] = '\0';
    return nh_fail(err, "%s:%zu: %s expected, found '%s'", s->name, s->line, what, found);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A number must not run into a name or another number: "1.5Ry", "1.0-123", "2.3.4" are errors. */
static bool ends_number(char c)
{
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return !letter && !is_digit(c) && c != '.' && c != '_' && c != '+' && c != '-';
}

/* m * 10^e, correctly rounded, in the cases where one operation on exact operands does it (Clinger 1990):
 * m and 10^|e| exact in double; or both exact in the 64-bit mantissa of an x87 number, and its rounding to 53
 * bits not a tie, which alone could be rounded the wrong way twice. */
static bool scale_exact(uint64_t m, long e, double *out)
{
    static const double power[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (m == 0) {
        *out = 0;
        return true;
    }
    if (m <= (uint64_t)1 << 53 && e >= -22 && e <= 22) {
        *out = e < 0 ? (double)m / power[-e] : (double)m * power[e];
        return true;
    }
#if LDBL_MANT_DIG == 64
    static const long double long_power[] = {
        1e0L,  1e1L,  1e2L,  1e3L,  1e4L,  1e5L,  1e6L,  1e7L,  1e8L,  1e9L,  1e10L, 1e11L, 1e12L, 1e13L,
        1e14L, 1e15L, 1e16L, 1e17L, 1e18L, 1e19L, 1e20L, 1e21L, 1e22L, 1e23L, 1e24L, 1e25L, 1e26L, 1e27L};
    if (e >= -27 && e <= 27) {
        long double value = e < 0 ? (long double)m / long_power[-e] : (long double)m * long_power[e];
        uint64_t mantissa;
        memcpy(&mantissa, &value, sizeof mantissa);
        if ((mantissa & 0x7ff) == 0x400) return false;
        *out = (double)value;
        return true;
    }
#endif
    return false;
}

/* The common case: [sign] digits [. digits] [e [sign] digits], at most 19 digits, exactly scalable. Returns
 * the end of the number, NULL where strtod has to do it. */
static const char *parse_fast(const char *p, double *out)
{
    bool negative = *p == '-';
    if (*p == '-' || *p == '+') p++;
    const char *start = p;
    uint64_t m = 0;
    while (is_digit(*p))
        m = 10 * m + (uint64_t)(*p++ - '0');
    ptrdiff_t digits = p - start;
    long exponent = 0;
    if (*p == '.') {
        const char *fraction = ++p;
        while (is_digit(*p))
            m = 10 * m + (uint64_t)(*p++ - '0');
        exponent = fraction - p;
        digits += p - fraction;
    }
    if (digits == 0 || digits > 19) return NULL;
    if (*p == 'e' || *p == 'E' || *p == 'd' || *p == 'D') {
        p++;
        bool minus = *p == '-';
        if (*p == '-' || *p == '+') p++;
        long e = 0;
        start = p;
        while (is_digit(*p) && p - start < 6)
            e = 10 * e + (*p++ - '0');
        if (p == start) return NULL;
        exponent += minus ? -e : e;
    }
    double value;
    if (!ends_number(*p) || !scale_exact(m, exponent, &value)) return NULL;
    *out = negative ? -value : value;
    return p;
}

/* Everything else that strtod knows, and Fortran's D exponent. *length is that of the number. */
static bool parse_slow(const char *p, size_t available, double *out, size_t *length)
{
    char copy[MAX_NUMBER];
    size_t n = 0;
    bool hexadecimal = false;
    while (n < available && n < sizeof copy - 1 && !ends_number(p[n])) {
        copy[n] = p[n];
        hexadecimal |= p[n] == 'x' || p[n] == 'X';
        n++;
    }
    if (n == sizeof copy - 1) return false;
    copy[n] = '\0';
    for (size_t i = 0; i < n && !hexadecimal; i++)
        if (copy[i] == 'd' || copy[i] == 'D') copy[i] = 'e';
    char *end;
    *out = strtod(copy, &end);
    *length = n;
    return n > 0 && *end == '\0';
}

int nh_scan_real(nh_stream *s, double *out, const char *what, nh_error *err)
{
    nh_skip_space(s);
    fill(s, MAX_NUMBER);
    const char *start = s->text + s->next;
    const char *end = parse_fast(start, out);
    if (end != NULL) {
        s->next = (size_t)(end - s->text);
        return 0;
    }
    size_t length;
    if (!parse_slow(start, s->end - s->next, out, &length)) return fail_token(s, what, err);
    s->next += length;
    return 0;
}

int nh_scan_long(nh_stream *s, long *out, const char *what, nh_error *err)
{
    nh_skip_space(s);
    fill(s, MAX_NUMBER);
    const char *p = s->text + s->next;
    bool negative = *p == '-';
    if (*p == '-' || *p == '+') p++;
    const char *start = p;
    /* Summed on the negative side, where LONG_MIN fits. */
    long value = 0;
    bool fits = true;
    for (; is_digit(*p); p++) {
        int digit = *p - '0';
        fits = fits && value >= (LONG_MIN + digit) / 10;
        if (fits) value = 10 * value - digit;
    }
    if (p == start || !ends_number(*p)) return fail_token(s, what, err);
    if (!negative && value == LONG_MIN) fits = false;
    if (!fits)
        return nh_fail(err, "%s:%zu: %s out of range: %.*s", s->name, s->line, what,
                       (int)(p - start < 40 ? p - start : 40), start);
    *out = negative ? value : -value;
    s->next = (size_t)(p - s->text);
    return 0;
}

int nh_scan_word(nh_stream *s, char *buffer, size_t size, const char *what, nh_error *err)
{
    if (nh_skip_space(s) == -1) return fail_token(s, what, err);
    size_t line = s->line, used = 0;
    for (int c = nh_stream_peek(s); c != -1 && !is_space((char)c); c = nh_stream_peek(s)) {
        if (used + 1 >= size)
            return nh_fail(err, "%s:%zu: %s expected, found a word of more than %zu characters", s->name,
                           line, what, size - 1);
        buffer[used++] = (char)c;
        s->next++;
    }
    buffer[used] = '\0';
    return s->failed ? nh_stream_status(s, err) : 0;
}

int nh_scan_complex(nh_stream *s, double out[2], const char *what, nh_error *err)
{
    if (nh_skip_space(s) != '(') return fail_token(s, what, err);
    s->next++;
    if (nh_scan_real(s, &out[0], what, err) != 0) return -1;
    if (nh_skip_space(s) != ',') return fail_token(s, what, err);
    s->next++;
    if (nh_scan_real(s, &out[1], what, err) != 0) return -1;
    if (nh_skip_space(s) != ')') return fail_token(s, what, err);
    s->next++;
    return 0;
}

int nh_read_text(const char *path, size_t limit, char **out, nh_error *err)
{
    *out = NULL;
    nh_stream *s;
    if (nh_stream_open(path, &s, err) != 0) return -1;
    size_t used = 0, room = 0;
    char *text = NULL;
    do {
        /* One byte more than allowed tells a file that is too long; one more is for the '\0'. */
        size_t wanted = room == 0 ? 4096 : 2 * room;
        if (wanted > limit + 1) wanted = limit + 1;
        char *grown = realloc(text, wanted + 1);
        if (grown == NULL) {
            nh_fail_memory(err, s->name);
            goto fail;
        }
        text = grown;
        room = wanted;
        used += nh_stream_read(s, text + used, room - used);
    } while (used == room && room <= limit);
    if (nh_stream_status(s, err) != 0) goto fail;
    if (used > limit) {
        nh_fail(err, "%s: more than %zu bytes", s->name, limit);
        goto fail;
    }
    if (memchr(text, '\0', used) != NULL) {
        nh_fail(err, "%s: text expected, found binary data", s->name);
        goto fail;
    }
    text[used] = '\0';
    nh_stream_close(s);
    *out = text;
    return 0;
fail:
    free(text);
    nh_stream_close(s);
    return -1;
}
