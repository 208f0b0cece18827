#include "base/progress.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* What a loop of four steps of 0.15 s writes to stderr, when that is the descriptor fd. */
static void run_loop(int fd, size_t total, bool quiet)
{
    int before = dup(STDERR_FILENO);
    dup2(fd, STDERR_FILENO);
    nh_progress *p = nh_progress_start("forward", "edges", total, quiet);
    for (int i = 0; i < 4; i++) {
        usleep(150000);
        nh_progress_add(p, 100);
    }
    nh_progress_end(p);
    dup2(before, STDERR_FILENO);
    close(before);
}

/* Master and slave of a pseudo-terminal with the given number of columns; false where there are none. */
static bool open_terminal(int ends[2], unsigned short columns)
{
    ends[0] = posix_openpt(O_RDWR | O_NOCTTY);
    if (ends[0] < 0 || grantpt(ends[0]) != 0 || unlockpt(ends[0]) != 0) return false;
    ends[1] = open(ptsname(ends[0]), O_RDWR | O_NOCTTY);
    struct winsize size = {.ws_col = columns, .ws_row = 24};
    return ends[1] >= 0 && ioctl(ends[1], TIOCSWINSZ, &size) == 0;
}

static size_t read_terminal(int fd, char *text, size_t size)
{
    size_t used = 0;
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    while (used + 1 < size && poll(&ready, 1, 100) > 0) {
        ssize_t n = read(fd, text + used, size - 1 - used);
        if (n <= 0) break;
        used += (size_t)n;
    }
    text[used] = '\0';
    return used;
}

static void bar_on_a_terminal(void **state)
{
    (void)state;
    static const unsigned short widths[] = {100, 60, 20};
    for (size_t w = 0; w < 3; w++) {
        int ends[2] = {-1, -1};
        if (!open_terminal(ends, widths[w])) skip();
        run_loop(ends[1], 1000, false);
        char text[4000];
        size_t n = read_terminal(ends[0], text, sizeof text);
        close(ends[0]);
        close(ends[1]);
        assert_true(n > 0);
        assert_null(strchr(text, '\n'));
        /* Every piece between returns fits into the line, the last ones wipe it. */
        for (const char *p = text; *p != '\0';) {
            size_t length = strcspn(p, "\r");
            assert_true(length < widths[w]);
            p += length + (p[length] == '\r' ? 1 : 0);
        }
        assert_int_equal(text[n - 1], '\r');
        const char *wipe = strrchr(text, '#');
        if (w == 0) {
            assert_non_null(wipe);
            assert_non_null(strstr(text, "forward ["));
            assert_non_null(strstr(text, "/1000 edges, "));
            assert_non_null(strstr(text, " edges/s, 0:0"));
            assert_non_null(strstr(text, " left"));
        }
        size_t blanks = 0;
        for (size_t i = n - 1; i > 0 && text[i - 1] == ' '; i--)
            blanks++;
        assert_true(blanks >= 15 && blanks < widths[w]);
    }
}

static void unknown_total(void **state)
{
    (void)state;
    int ends[2] = {-1, -1};
    if (!open_terminal(ends, 100)) skip();
    run_loop(ends[1], 0, false);
    char text[4000];
    read_terminal(ends[0], text, sizeof text);
    close(ends[0]);
    close(ends[1]);
    assert_non_null(strstr(text, "forward: 200 edges, "));
    assert_null(strstr(text, "left"));
}

static void quiet_and_not_a_terminal(void **state)
{
    (void)state;
    int ends[2] = {-1, -1};
    if (!open_terminal(ends, 100)) skip();
    run_loop(ends[1], 1000, true);
    char text[4000];
    assert_int_equal(read_terminal(ends[0], text, sizeof text), 0);
    close(ends[0]);
    close(ends[1]);
    /* In a log the first line comes after 30 s. */
    FILE *f = tmpfile();
    assert_non_null(f);
    run_loop(fileno(f), 1000, false);
    assert_int_equal(lseek(fileno(f), 0, SEEK_END), 0);
    fclose(f);
}

static void nothing_to_report_to(void **state)
{
    (void)state;
    nh_progress_add(NULL, 1);
    nh_progress_end(NULL);
    double a = nh_seconds();
    usleep(20000);
    double b = nh_seconds();
    assert_true(b - a >= 0.02 && b - a < 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bar_on_a_terminal),
        cmocka_unit_test(unknown_total),
        cmocka_unit_test(quiet_and_not_a_terminal),
        cmocka_unit_test(nothing_to_report_to),
    };
    return cmocka_run_group_tests_name("progress", tests, NULL, NULL);
}
