/* Feature types: text, sums, order (docs/network.md 1.1, 3.1). */
#include "base/memory.h"
#include "o3/irreps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static nh_irreps parse(const char *text)
{
    nh_irreps a;
    nh_error err = {""};
    if (nh_irreps_parse(text, &a, &err) != 0) fail_msg("%s", err.text);
    return a;
}

static void assert_text(const nh_irreps *a, const char *expected)
{
    char *const text = nh_irreps_text(a);
    assert_non_null(text);
    assert_string_equal(text, expected);
    free(text);
}

static void test_parse(void **state)
{
    (void)state;
    nh_irreps a = parse(" 32x0e + 16x1o+1e+8x2e ");
    assert_int_equal(a.count, 4);
    assert_int_equal(a.channels, 57);
    assert_int_equal(a.dim, 32 + 48 + 3 + 40);
    assert_int_equal(a.entry[2].mul, 1);
    assert_int_equal(a.entry[2].p, 1);
    assert_int_equal(a.entry[1].p, -1);
    assert_int_equal(a.entry[3].offset, 83);
    assert_int_equal(a.entry[3].channel, 49);
    assert_text(&a, "32x0e+16x1o+1x1e+8x2e");
    nh_irreps_free(&a);

    a = parse("");
    assert_int_equal(a.count, 0);
    assert_int_equal(a.dim, 0);
    assert_text(&a, "");
    nh_irreps_free(&a);
}

static void test_parse_errors(void **state)
{
    (void)state;
    static const struct {
        const char *text, *what;
    } bad[] = {
        {"xx", "irreps 'xx': entry 'xx': a multiplicity or a degree"},
        {"32x", "degree expected after 'x'"},
        {"32x0", "parity 'e' or 'o'"},
        {"32x0q", "parity 'e' or 'o'"},
        {"3 x0e", "parity 'e' or 'o'"},
        {"-3x0e", "a multiplicity or a degree"},
        {"32x0e+", "entry ''"},
        {"+1e", "entry ''"},
        {"1e++1o", "entry ''"},
        {"1e 1o", "'+' expected before '1o'"},
        {"1e+1o 2e", "'+' expected before '2e'"},
        {"1x17e", "degree too large"},
        {"0x1e", "multiplicity 0 of 1e"},
        {"99999999999999999999999x0e", "a multiplicity or a degree"},
        {"18446744073709551615x16e", "too large"},
        {"4611686018427387904x0e+4611686018427387904x0e", "too large"},
        {"1e\n+;", "entry ';'"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        nh_irreps a;
        nh_error err = {""};
        assert_int_equal(nh_irreps_parse(bad[i].text, &a, &err), -1);
        if (strstr(err.text, bad[i].what) == NULL) fail_msg("'%s' gives '%s'", bad[i].text, err.text);
        assert_null(a.entry);
        assert_int_equal(nh_irreps_parse(bad[i].text, &a, NULL), -1);
    }
}

static void test_build(void **state)
{
    (void)state;
    nh_irreps a;
    nh_error err;
    assert_int_equal(
        nh_irreps_build(2, (const size_t[]){2, 3}, (const int[]){0, 5}, (const int[]){1, -1}, &a, &err), 0);
    assert_text(&a, "2x0e+3x5o");
    nh_irreps_free(&a);
    assert_int_equal(nh_irreps_build(1, (const size_t[]){1}, (const int[]){-1}, (const int[]){1}, &a, &err),
                     -1);
    assert_non_null(strstr(err.text, "irreps: entry 0: degree -1"));
    assert_int_equal(nh_irreps_build(1, (const size_t[]){1}, (const int[]){1}, (const int[]){0}, &a, &err),
                     -1);
    assert_non_null(strstr(err.text, "parity 0"));
    assert_int_equal(
        nh_irreps_build(1, (const size_t[]){SIZE_MAX / 2}, (const int[]){1}, (const int[]){1}, &a, &err), -1);
    assert_non_null(strstr(err.text, "too large"));
}

static void test_algebra(void **state)
{
    (void)state;
    nh_error err;
    nh_irreps a = parse("2x0e+1o"), b = parse("1o+3x0e"), c, d;
    assert_int_equal(nh_irreps_concat(&a, &b, &c, &err), 0);
    assert_text(&c, "2x0e+1x1o+1x1o+3x0e");
    assert_int_equal(c.dim, 2 + 3 + 3 + 3);
    assert_int_equal(nh_irreps_count(&c, 0, 1), 5);
    assert_int_equal(nh_irreps_count(&c, 1, -1), 2);
    assert_int_equal(nh_irreps_count(&c, 1, 1), 0);
    assert_int_equal(nh_irreps_simplify(&c, &d, &err), 0);
    assert_text(&d, "2x0e+2x1o+3x0e"); /* only neighbours merge */
    assert_int_equal(d.dim, c.dim);
    assert_false(nh_irreps_equal(&c, &d));
    nh_irreps_free(&d);
    assert_int_equal(nh_irreps_copy(&c, &d, &err), 0);
    assert_true(nh_irreps_equal(&c, &d));
    assert_ptr_not_equal(c.entry, d.entry);
    nh_irreps_free(&d);
    assert_int_equal(nh_irreps_times(&a, 4, &d, &err), 0);
    assert_text(&d, "8x0e+4x1o");
    nh_irreps_free(&d);
    assert_int_equal(nh_irreps_times(&a, SIZE_MAX / 2 + 1, &d, &err), -1);
    assert_null(d.entry);
    nh_irreps_free(&a);
    nh_irreps_free(&b);
    nh_irreps_free(&c);
}

static void test_sort(void **state)
{
    (void)state;
    nh_error err;
    nh_irreps a = parse("1x2o+2x1o+3x1e+4x0e+5x1o+6x0o+7x2e"), b;
    size_t source[7];
    assert_int_equal(nh_irreps_sort(&a, NH_EVEN_FIRST, &b, source, &err), 0);
    assert_text(&b, "4x0e+6x0o+3x1e+2x1o+5x1o+7x2e+1x2o");
    const size_t even_first[7] = {3, 5, 2, 1, 4, 6, 0};
    assert_memory_equal(source, even_first, sizeof source);
    assert_int_equal(b.entry[4].offset, 4 + 6 + 9 + 6);
    nh_irreps_free(&b);
    assert_int_equal(nh_irreps_sort(&a, NH_NATURAL, &b, NULL, &err), 0);
    assert_text(&b, "6x0o+4x0e+2x1o+5x1o+3x1e+1x2o+7x2e");
    nh_irreps_free(&b);
    nh_irreps_free(&a);

    /* HEADS of the standard network (section 3.1) */
    a = parse("32x0e+16x1o+16x1e+8x2e+8x2o+8x3e+8x3o+8x4e");
    assert_int_equal(a.channels, 104);
    assert_int_equal(a.dim, 392);
    nh_irreps c;
    assert_int_equal(nh_irreps_times(&a, 4, &b, &err), 0);
    assert_int_equal(nh_irreps_sort(&b, NH_EVEN_FIRST, &c, NULL, &err), 0);
    assert_text(&c, "128x0e+64x1e+64x1o+32x2e+32x2o+32x3e+32x3o+32x4e");
    nh_irreps_free(&a);
    nh_irreps_free(&b);
    nh_irreps_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),   cmocka_unit_test(test_parse_errors), cmocka_unit_test(test_build),
        cmocka_unit_test(test_algebra), cmocka_unit_test(test_sort),
    };
    return cmocka_run_group_tests_name("irreps", tests, NULL, NULL);
}
