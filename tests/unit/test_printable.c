/* Text on its way to a terminal. */
#include "base/options.h"
#include "base/printable.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void expect(const char *text, const char *printed)
{
    char *got = NULL;
    size_t n = 0;
    FILE *to = open_memstream(&got, &n);
    assert_non_null(to);
    nh_put_printable(to, text);
    fclose(to);
    assert_string_equal(got, printed);
    free(got);
}

static void test_plain(void **state)
{
    (void)state;
    expect("", "");
    expect("GaAs.nc: 5.65 \xc3\x85, \xe2\x82\xac, \xf0\x9f\x98\x80",
           "GaAs.nc: 5.65 \xc3\x85, \xe2\x82\xac, \xf0\x9f\x98\x80");
}

static void test_controls(void **state)
{
    (void)state;
    expect("a\033[31mred\033]0;title\007", "a\\x1b[31mred\\x1b]0;title\\x07");
    expect("two\nlines\r\t\x7f", "two\\x0alines\\x0d\\x09\\x7f");
    expect("\xc2\x9b"
           "31m\xc2\xa0",
           "\\xc2\\x9b31m\xc2\xa0"); /* U+009B is CSI; U+00A0 is a space */
}

static void test_not_utf8(void **state)
{
    (void)state;
    expect("\x9b"
           "31m \xff \xc3",
           "\\x9b31m \\xff \\xc3");
    expect("\xe2\x82 \xf0\x9f\x98", "\\xe2\\x82 \\xf0\\x9f\\x98"); /* cut off */
    expect("\xc0\x9b", "\\xc0\\x9b");                              /* longer than need be */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_plain), cmocka_unit_test(test_controls),
                                       cmocka_unit_test(test_not_utf8)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
