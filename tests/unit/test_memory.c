/* Checked sizes, and arrays that grow: room for what was asked, contents kept, sizes that do not fit refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"

#include <malloc.h>
#include <stdlib.h>

/* AddressSanitizer ends the program where malloc finds no memory, unless it is told that this is what is tested. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static void sizes(void **state)
{
    (void)state;
    size_t x = 7;
    assert_true(nh_size_mul(SIZE_MAX / 3, 3, &x) && x == SIZE_MAX / 3 * 3);
    assert_true(nh_size_mul(0, SIZE_MAX, &x) && x == 0);
    assert_true(nh_size_mul(SIZE_MAX, 0, &x) && x == 0);
    x = 7;
    assert_false(nh_size_mul(SIZE_MAX / 3 + 1, 3, &x));
    assert_false(nh_size_add(SIZE_MAX, 1, &x));
    assert_int_equal(x, 7);
    assert_null(NH_ARRAY(double, SIZE_MAX / 4));
    assert_null(nh_calloc_aligned(SIZE_MAX / 4, 8));
}

static void grows(void **state)
{
    (void)state;
    int *a = NULL;
    size_t room = 0, moves = 0;
    for (size_t n = 0; n < 10000; n++) {
        const size_t before = room;
        assert_true(nh_grow(&a, &room, n + 1, sizeof *a));
        assert_true(room > n && malloc_usable_size(a) >= room * sizeof *a);
        assert_true(room == before || room >= 2 * before);
        moves += room != before;
        a[n] = (int)n;
    }
    assert_true(moves < 20);
    /* several at once, more than twice as many */
    assert_true(nh_grow(&a, &room, 1000000, sizeof *a));
    assert_true(room >= 1000000);
    for (size_t n = 0; n < 10000; n++)
        assert_int_equal(a[n], n);
    /* no size_t for it: all stays as it is */
    int *const kept = a;
    const size_t before = room;
    assert_false(nh_grow(&a, &room, SIZE_MAX / 2, sizeof *a));
    assert_false(nh_grow(&a, &room, SIZE_MAX, 1));
    assert_true(a == kept && room == before && a[9999] == 9999);
    free(a);
}

/* An array that came with as many elements as it has room for. */
static void grows_from_a_full_one(void **state)
{
    (void)state;
    for (size_t n = 1; n < 600; n++) {
        double *a = malloc(n * sizeof *a);
        size_t room = n;
        a[n - 1] = 1;
        assert_true(nh_grow(&a, &room, n + 2, sizeof *a));
        assert_true(room >= n + 2 && malloc_usable_size(a) >= room * sizeof *a);
        assert_true(a[n - 1] == 1);
        free(a);
    }
}

static void grows_one_by_one(void **state)
{
    (void)state;
    double(*a)[3] = NULL;
    for (size_t n = 0; n < 5000; n++) {
        assert_true(nh_grow_one(&a, n, sizeof *a));
        assert_true(malloc_usable_size(a) >= (n + 1) * sizeof *a);
        a[n][2] = (double)n;
    }
    for (size_t n = 0; n < 5000; n++)
        assert_true(a[n][2] == (double)n);
    double(*const kept)[3] = a;
    assert_false(nh_grow_one(&a, SIZE_MAX / 2 + 1, sizeof *a));
    assert_false(nh_grow_one(&a, (size_t)1 << 62, sizeof *a));
    assert_true(a == kept);
    free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),
        cmocka_unit_test(grows),
        cmocka_unit_test(grows_from_a_full_one),
        cmocka_unit_test(grows_one_by_one),
    };
    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
