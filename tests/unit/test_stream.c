#include "base/stream.h"
#include "base/memory.h"
#include "base/random.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <float.h>
#include <limits.h>
#include <lzma.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

typedef struct bytes {
    size_t count;
    unsigned char *data;
} bytes;

static char folder[] = "/tmp/nh_test_stream_XXXXXX";
static char path[64];

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL) return -1;
    snprintf(path, sizeof path, "%s/file", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void write_file(const void *data, size_t count)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, count, f), count);
    assert_int_equal(fclose(f), 0);
}

static nh_stream *open_text(const char *text)
{
    write_file(text, strlen(text));
    nh_stream *s = NULL;
    nh_error err;
    if (nh_stream_open(path, &s, &err) != 0) fail_msg("%s", err.text);
    return s;
}

/* Text of several buffers, not periodic in any power of two. */
static bytes long_text(void)
{
    bytes b = {.count = 0, .data = malloc(3500000)};
    assert_non_null(b.data);
    nh_random r;
    nh_random_seed(&r, 1, "text");
    while (b.count < 3400000)
        b.count += (size_t)sprintf((char *)b.data + b.count, "%.8e%c", nh_random_normal(&r),
                                   nh_random_uniform(&r) < 0.1 ? '\n' : ' ');
    return b;
}

static bytes gzip_bytes(const void *data, size_t count)
{
    z_stream z = {0};
    bytes b = {.count = 0, .data = malloc(count + 1000)};
    assert_non_null(b.data);
    assert_int_equal(deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)data;
    z.avail_in = (uInt)count;
    z.next_out = b.data;
    z.avail_out = (uInt)(count + 1000);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    b.count = count + 1000 - z.avail_out;
    deflateEnd(&z);
    return b;
}

static bytes xz_bytes(const void *data, size_t count)
{
    size_t room = lzma_stream_buffer_bound(count);
    bytes b = {.count = 0, .data = malloc(room)};
    assert_non_null(b.data);
    assert_int_equal(lzma_easy_buffer_encode(0, LZMA_CHECK_CRC64, NULL, data, count, b.data, &b.count, room),
                     LZMA_OK);
    return b;
}

static bytes join(bytes a, bytes b)
{
    bytes both = {.count = a.count + b.count, .data = malloc(a.count + b.count)};
    assert_non_null(both.data);
    memcpy(both.data, a.data, a.count);
    memcpy(both.data + a.count, b.data, b.count);
    free(a.data);
    free(b.data);
    return both;
}

/* The stream gives exactly these bytes, then ends without an error. */
static void check_bytes(nh_stream *s, const unsigned char *data, size_t count)
{
    unsigned char *got = malloc(count + 1);
    assert_non_null(got);
    size_t n = 0;
    /* Both ways to read, in turns. */
    while (n < count) {
        size_t step = n % 1000 + 1 < count - n ? n % 1000 + 1 : count - n;
        assert_int_equal(nh_stream_read(s, got + n, step), step);
        n += step;
        if (n < count) {
            assert_int_equal(nh_stream_peek(s), data[n]);
            got[n++] = (unsigned char)nh_stream_get(s);
        }
    }
    assert_memory_equal(got, data, count);
    free(got);
    assert_int_equal(nh_stream_peek(s), -1);
    assert_int_equal(nh_stream_get(s), -1);
    nh_error err;
    assert_int_equal(nh_stream_status(s, &err), 0);
}

static void check_file(bytes file, const unsigned char *data, size_t count)
{
    write_file(file.data, file.count);
    nh_stream *s = NULL;
    assert_int_equal(nh_stream_open(path, &s, NULL), 0);
    check_bytes(s, data, count);
    nh_stream_close(s);
}

static void plain_gzip_and_xz(void **state)
{
    (void)state;
    bytes text = long_text();
    size_t half = text.count / 2 + 77;
    check_file(text, text.data, text.count);

    bytes b = gzip_bytes(text.data, text.count);
    check_file(b, text.data, text.count);
    free(b.data);
    b = xz_bytes(text.data, text.count);
    check_file(b, text.data, text.count);
    free(b.data);

    /* Several members in one file, as `cat a.gz b.gz` or bgzip make them. */
    b = join(gzip_bytes(text.data, half), gzip_bytes(text.data + half, text.count - half));
    check_file(b, text.data, text.count);
    free(b.data);
    b = join(xz_bytes(text.data, half), xz_bytes(text.data + half, text.count - half));
    check_file(b, text.data, text.count);
    free(b.data);

    bytes zeros = {.count = 1024, .data = calloc(1024, 1)};
    b = join(gzip_bytes(text.data, 1000), zeros);
    check_file(b, text.data, 1000);
    free(b.data);

    /* Nothing, compressed or not; fewer bytes than a magic number has. */
    b = gzip_bytes("", 0);
    check_file(b, text.data, 0);
    free(b.data);
    b = xz_bytes("", 0);
    check_file(b, text.data, 0);
    free(b.data);
    check_file((bytes){0, text.data}, text.data, 0);
    check_file((bytes){1, text.data}, text.data, 1);
    free(text.data);
}

static void pipe_in_small_pieces(void **state)
{
    (void)state;
    bytes text = long_text();
    bytes b = gzip_bytes(text.data, text.count);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        size_t step = 1;
        for (size_t i = 0; i < b.count; i += step, step = i < 10 ? 1 : 7919) {
            size_t n = step < b.count - i ? step : b.count - i;
            if (write(ends[1], b.data + i, n) != (ssize_t)n) _exit(1);
        }
        _exit(0);
    }
    close(ends[1]);
    int before = dup(STDIN_FILENO);
    dup2(ends[0], STDIN_FILENO);
    close(ends[0]);
    nh_stream *s = NULL;
    assert_int_equal(nh_stream_open("-", &s, NULL), 0);
    assert_string_equal(nh_stream_name(s), "standard input");
    check_bytes(s, text.data, text.count);
    nh_stream_close(s);
    dup2(before, STDIN_FILENO);
    close(before);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    free(b.data);
    free(text.data);
}

/* Reads everything; the message of the error that must come. */
static void expect_failure(const unsigned char *data, size_t count, char message[1024])
{
    write_file(data, count);
    nh_stream *s = NULL;
    nh_error err = {""};
    assert_int_equal(nh_stream_open(path, &s, &err), 0);
    while (nh_stream_get(s) != -1)
        continue;
    assert_int_equal(nh_stream_status(s, &err), -1);
    assert_int_equal(strncmp(err.text, path, strlen(path)), 0);
    strcpy(message, err.text + strlen(path));
    double x;
    assert_int_equal(nh_scan_real(s, &x, "number", &err), -1);
    assert_string_equal(err.text + strlen(path), message);
    nh_stream_close(s);
}

static void truncated_and_corrupt(void **state)
{
    (void)state;
    char text[3000], message[1024];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('a' + i * i % 26);
    bytes gz = gzip_bytes(text, sizeof text), xz = xz_bytes(text, sizeof text);
    for (size_t n = 2; n < gz.count; n++) {
        expect_failure(gz.data, n, message);
        assert_string_equal(message, ": unexpected end of gzip data");
    }
    for (size_t n = 6; n < xz.count; n++) {
        expect_failure(xz.data, n, message);
        assert_string_equal(message, ": unexpected end of xz data");
    }
    /* The check sum stands in the last 8 bytes (gzip), the index in the last 28 (xz). */
    gz.data[gz.count - 6] ^= 1;
    expect_failure(gz.data, gz.count, message);
    assert_string_equal(message, ": corrupt gzip data");
    gz.data[gz.count - 6] ^= 1;
    xz.data[xz.count / 2] ^= 0x10;
    expect_failure(xz.data, xz.count, message);
    assert_string_equal(message, ": corrupt xz data");
    free(xz.data);

    bytes tail = {.count = 5, .data = malloc(5)};
    assert_non_null(tail.data);
    memcpy(tail.data, "tail\n", 5);
    bytes both = join(gz, tail);
    expect_failure(both.data, both.count, message);
    assert_string_equal(message, ": bytes that are no gzip data after the gzip data");
    free(both.data);
}

static void files_that_cannot_be_read(void **state)
{
    (void)state;
    nh_stream *s = NULL;
    nh_error err;
    assert_int_equal(nh_stream_open("/nowhere/h.csr", &s, &err), -1);
    assert_null(s);
    assert_string_equal(err.text, "/nowhere/h.csr: No such file or directory");
    assert_int_equal(nh_stream_open("/tmp", &s, &err), -1);
    assert_string_equal(err.text, "/tmp: Is a directory");
    nh_stream_close(NULL);
}

static bool same(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

/* Every number is the one that strtod gives, bit for bit. */
static void check_numbers(const char *text, size_t count)
{
    nh_stream *s = open_text(text);
    nh_error err;
    const char *p = text;
    for (size_t i = 0; i < count; i++) {
        double x = 0;
        char *end;
        if (nh_scan_real(s, &x, "number", &err) != 0) fail_msg("%s", err.text);
        double expected = strtod(p, &end);
        if (!same(x, expected)) fail_msg("%.30s: %.17g found, %.17g expected", p, x, expected);
        p = end;
    }
    assert_int_equal(nh_skip_space(s), -1);
    nh_stream_close(s);
}

static void numbers_are_those_of_strtod(void **state)
{
    (void)state;
    static const char *const formats[] = {"%.8e ", "%.17g\n", "%.15e\t", "%.18e ", "%.14f  ",
                                          "%.3f ", "%a ",     "%.0e ",   "%.40g ", "%+.9E\r\n"};
    enum { COUNT = 8000 };
    size_t room = (size_t)COUNT * 400;
    char *text = malloc(room);
    assert_non_null(text);
    nh_random r;
    nh_random_seed(&r, 3, "numbers");
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++) {
        size_t used = 0;
        for (int i = 0; i < COUNT; i++) {
            /* Half of physical size, a quarter over a wide range, a quarter any bit pattern. */
            double x = nh_random_normal(&r);
            if (i % 4 == 2) x *= pow(10, 60 * nh_random_uniform(&r) - 30);
            if (i % 4 == 3) {
                uint64_t bits = nh_random_bits(&r);
                memcpy(&x, &bits, sizeof x);
                if (isnan(x)) x = NAN; /* strtod gives one pattern only */
                if (isnan(x) && signbit(x)) x = -x;
            }
            _Pragma("GCC diagnostic push");
            _Pragma("GCC diagnostic ignored \"-Wformat-nonliteral\"");
            used += (size_t)snprintf(text + used, room - used, formats[f], x);
            _Pragma("GCC diagnostic pop");
        }
        check_numbers(text, COUNT);
    }
    free(text);
}

/* Ties, the ends of the range, and integers with 16 to 20 digits around powers of two: where rounding goes
 * wrong first. */
static void hard_numbers(void **state)
{
    (void)state;
    static const char *const hard[] = {"9007199254740993",
                                       "9007199254740992",
                                       "9007199254740991e22",
                                       "9007199254740993e0",
                                       "9007199254740993.0000000000000000001",
                                       "18014398509481985",
                                       "18446744073709551615",
                                       "18446744073709551616",
                                       "9999999999999999999",
                                       "99999999999999999999",
                                       "1.00000000000000011102230246251565404236316680908203125",
                                       "1.00000000000000011102230246251565404236316680908203124",
                                       "1.00000000000000011102230246251565404236316680908203126",
                                       "1.0000000000000001110",
                                       "9214843084008499",
                                       "5e-324",
                                       "2.4703282292062327e-324",
                                       "2.4703282292062328e-324",
                                       "2.2250738585072011e-308",
                                       "1.7976931348623157e308",
                                       "1.7976931348623159e308",
                                       "1e23",
                                       "8.5e22",
                                       "1e22",
                                       "1e-22",
                                       "3e-23",
                                       "1e27",
                                       "1e-27",
                                       "1e28",
                                       "7e-28",
                                       "0",
                                       "-0",
                                       "-0.0e-400",
                                       "0e999999999999",
                                       "1e-999999999999",
                                       "1e400",
                                       "-1e400",
                                       ".5",
                                       "5.",
                                       "+.5E+1",
                                       "0000000000000000000000000000001",
                                       "0.00000000000000000000000000000001",
                                       "1e+05",
                                       "1e0000000000005",
                                       "0x1.8p3",
                                       "0xde",
                                       "inf",
                                       "-INFINITY",
                                       "nan"};
    for (size_t i = 0; i < sizeof hard / sizeof *hard; i++)
        check_numbers(hard[i], 1);

    char text[64];
    nh_random r;
    nh_random_seed(&r, 4, "integers");
    for (int i = 0; i < 300; i++) {
        /* Exactly half-way between two doubles, and one beside it. */
        uint64_t m = nh_random_bits(&r) >> 11 << 1 | 1;
        snprintf(text, sizeof text, "%llu", (unsigned long long)(m | (uint64_t)1 << 53));
        check_numbers(text, 1);
        snprintf(text, sizeof text, "%llu", (unsigned long long)nh_random_bits(&r));
        check_numbers(text, 1);
    }
}

static void fortran_and_punctuation(void **state)
{
    (void)state;
    nh_stream *s = open_text("1D-3 -2.5d+02 1.00000000000000000000000001D1,3)4;5 ( 1.5 , -2e0\n) (3,4)x");
    nh_error err;
    double x = 0, z[2];
    assert_int_equal(nh_scan_real(s, &x, "a", &err), 0);
    assert_true(same(x, 1e-3));
    assert_int_equal(nh_scan_real(s, &x, "a", &err), 0);
    assert_true(same(x, -250));
    assert_int_equal(nh_scan_real(s, &x, "a", &err), 0);
    assert_true(same(x, 10));
    assert_int_equal(nh_stream_get(s), ',');
    assert_int_equal(nh_scan_real(s, &x, "a", &err), 0);
    assert_true(same(x, 3));
    assert_int_equal(nh_stream_get(s), ')');
    assert_int_equal(nh_scan_real(s, &x, "a", &err), 0);
    assert_int_equal(nh_stream_get(s), ';');
    assert_int_equal(nh_scan_real(s, &x, "a", &err), 0);
    assert_int_equal(nh_scan_complex(s, z, "z", &err), 0);
    assert_true(same(z[0], 1.5) && same(z[1], -2));
    assert_int_equal(nh_stream_line(s), 2);
    assert_int_equal(nh_scan_complex(s, z, "z", &err), 0);
    assert_true(same(z[0], 3) && same(z[1], 4));
    assert_int_equal(nh_stream_get(s), 'x');
    nh_stream_close(s);
}

static void integers_and_words(void **state)
{
    (void)state;
    nh_stream *s = open_text("  0 -7\n+12\t9223372036854775807 -9223372036854775808\n\nSTEP: word");
    nh_error err;
    static const long expected[] = {0, -7, 12, LONG_MAX, LONG_MIN};
    for (size_t i = 0; i < 5; i++) {
        long n = 1;
        assert_int_equal(nh_scan_long(s, &n, "index", &err), 0);
        assert_true(n == expected[i]);
    }
    char word[8];
    assert_int_equal(nh_stream_line(s), 2);
    assert_int_equal(nh_scan_word(s, word, sizeof word, "keyword", &err), 0);
    assert_string_equal(word, "STEP:");
    assert_int_equal(nh_stream_line(s), 4);
    assert_int_equal(nh_scan_word(s, word, 5, "keyword", &err), 0);
    assert_string_equal(word, "word");
    nh_stream_close(s);
}

static void check_message(int status, const nh_error *err, const char *expected)
{
    assert_int_equal(status, -1);
    assert_int_equal(strncmp(err->text, path, strlen(path)), 0);
    assert_string_equal(err->text + strlen(path), expected);
}

static void messages(void **state)
{
    (void)state;
    static const char *const not_real[] = {"1.5Ry", "1.0-123", "2.3.4", "x",   "-",
                                           ".",     "1e",      "1e+",   "--1", "1e5e5",
                                           "(1)",   "\x01",    "1.5_2", "-x",  "infinit"};
    static const char *const not_long[] = {"1.5", "1e3", "x", "-", "+-1", "12a", "(1"};
    char expected[128];
    nh_error err;
    double x = 42, z[2] = {0, 0};
    long n = 42;
    for (size_t i = 0; i < sizeof not_real / sizeof *not_real; i++) {
        nh_stream *s = open_text(not_real[i]);
        snprintf(expected, sizeof expected, ":1: Fermi energy expected, found '%s'",
                 not_real[i][0] == 1 ? "?" : not_real[i]);
        check_message(nh_scan_real(s, &x, "Fermi energy", &err), &err, expected);
        nh_stream_close(s);
    }
    for (size_t i = 0; i < sizeof not_long / sizeof *not_long; i++) {
        nh_stream *s = open_text(not_long[i]);
        snprintf(expected, sizeof expected, ":1: column index expected, found '%s'", not_long[i]);
        check_message(nh_scan_long(s, &n, "column index", &err), &err, expected);
        nh_stream_close(s);
    }
    assert_true(n == 42);

    nh_stream *s = open_text("1\n\n  ");
    assert_int_equal(nh_scan_real(s, &x, "number", &err), 0);
    check_message(nh_scan_real(s, &x, "number", &err), &err, ":3: number expected, found the end");
    check_message(nh_scan_long(s, &n, "index", &err), &err, ":3: index expected, found the end");
    char word[4];
    check_message(nh_scan_word(s, word, sizeof word, "word", &err), &err, ":3: word expected, found the end");
    nh_stream_close(s);

    s = open_text("longer");
    check_message(nh_scan_word(s, word, sizeof word, "element", &err), &err,
                  ":1: element expected, found a word of more than 3 characters");
    nh_stream_close(s);
    s = open_text("9223372036854775808");
    check_message(nh_scan_long(s, &n, "index", &err), &err, ":1: index out of range: 9223372036854775808");
    nh_stream_close(s);
    s = open_text("-9223372036854775809");
    assert_int_equal(nh_scan_long(s, &n, "index", &err), -1);
    nh_stream_close(s);

    static const char *const not_complex[] = {"1.0", "(1.0 2.0)", "(1.0,2.0", "(1.0,)", "(,1)", "(1,2,3)"};
    for (size_t i = 0; i < sizeof not_complex / sizeof *not_complex; i++) {
        s = open_text(not_complex[i]);
        assert_int_equal(nh_scan_complex(s, z, "element", &err), -1);
        assert_non_null(strstr(err.text, ":1: element expected, found "));
        nh_stream_close(s);
    }

    /* A number without an end: an error, not an overflow. */
    char *digits = malloc(100001);
    assert_non_null(digits);
    memset(digits, '1', 100000);
    digits[100000] = '\0';
    s = open_text(digits);
    assert_int_equal(nh_scan_real(s, &x, "number", &err), -1);
    nh_stream_close(s);
    free(digits);
}

/* Numbers across every boundary of the buffers, between very long lines. */
static void long_lines(void **state)
{
    (void)state;
    enum { COUNT = 400000 };
    char *text = malloc((size_t)COUNT * 12);
    assert_non_null(text);
    size_t used = 0;
    for (int i = 0; i < COUNT; i++)
        used += (size_t)sprintf(text + used, "%d.%d%s", i, i % 7, i % 150000 == 149999 ? "\n" : " ");
    nh_stream *s = open_text(text);
    nh_error err;
    for (int i = 0; i < COUNT; i++) {
        double x = 0;
        if (nh_scan_real(s, &x, "number", &err) != 0) fail_msg("%s", err.text);
        if (fabs(x - (i + 0.1 * (i % 7))) > 1e-9) fail_msg("number %d is %.17g", i, x);
        if (nh_stream_line(s) != (size_t)(1 + i / 150000))
            fail_msg("number %d in line %zu", i, nh_stream_line(s));
    }
    nh_stream_close(s);
    free(text);
}

static void lines(void **state)
{
    (void)state;
    nh_stream *s = open_text("first line\r\n\nthird\nfourth");
    char line[6];
    assert_int_equal(nh_stream_line_text(s, line, sizeof line), 0);
    assert_string_equal(line, "first");
    assert_int_equal(nh_stream_line(s), 2);
    assert_int_equal(nh_stream_line_text(s, line, sizeof line), 0);
    assert_string_equal(line, "");
    assert_int_equal(nh_skip_line(s), 0);
    assert_int_equal(nh_stream_line(s), 4);
    assert_int_equal(nh_stream_peek(s), 'f');
    assert_int_equal(nh_skip_line(s), 0);
    assert_int_equal(nh_skip_line(s), -1);
    assert_int_equal(nh_stream_line_text(s, line, sizeof line), -1);
    nh_stream_close(s);
    s = open_text("a \r\n");
    assert_int_equal(nh_stream_line_text(s, line, sizeof line), 0);
    assert_string_equal(line, "a ");
    assert_int_equal(nh_skip_line(s), -1);
    nh_stream_close(s);
}

static void whole_files(void **state)
{
    (void)state;
    char *text = NULL;
    nh_error err;
    bytes long_one = long_text();
    write_file(long_one.data, 100000);
    assert_int_equal(nh_read_text(path, 100000, &text, &err), 0);
    assert_int_equal(strlen(text), 100000);
    assert_memory_equal(text, long_one.data, 100000);
    free(text);
    check_message(nh_read_text(path, 99999, &text, &err), &err, ": more than 99999 bytes");
    assert_null(text);
    bytes gz = gzip_bytes(long_one.data, 100000);
    write_file(gz.data, gz.count);
    assert_int_equal(nh_read_text(path, 1 << 20, &text, &err), 0);
    assert_int_equal(strlen(text), 100000);
    free(text);
    write_file(gz.data, gz.count / 2);
    check_message(nh_read_text(path, 1 << 20, &text, &err), &err, ": unexpected end of gzip data");
    free(gz.data);
    free(long_one.data);

    write_file("", 0);
    assert_int_equal(nh_read_text(path, 10, &text, &err), 0);
    assert_string_equal(text, "");
    free(text);
    write_file("a\0b", 3);
    check_message(nh_read_text(path, 10, &text, &err), &err, ": text expected, found binary data");
    assert_int_equal(nh_read_text("/nowhere", 10, &text, &err), -1);
    assert_string_equal(err.text, "/nowhere: No such file or directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_gzip_and_xz),
        cmocka_unit_test(pipe_in_small_pieces),
        cmocka_unit_test(truncated_and_corrupt),
        cmocka_unit_test(files_that_cannot_be_read),
        cmocka_unit_test(numbers_are_those_of_strtod),
        cmocka_unit_test(hard_numbers),
        cmocka_unit_test(fortran_and_punctuation),
        cmocka_unit_test(integers_and_words),
        cmocka_unit_test(messages),
        cmocka_unit_test(long_lines),
        cmocka_unit_test(lines),
        cmocka_unit_test(whole_files),
    };
    return cmocka_run_group_tests_name("stream", tests, make_folder, remove_folder);
}
