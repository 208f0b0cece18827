#include "base/random.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdbool.h>

/* Check values of tests/golden/README.md. */
static void rule_of_the_golden_weights(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint64_t hash;
        size_t count;
        double u[4];
    } rows[] = {
        {"range0:input_rs.tp.weight",
         0xf2646f9f4f4efde2u,
         4,
         {0.74266827361984111, 0.24850763694943234, -0.52102784288627646, -0.55651089349047522}},
        {"small:range2:blocks.1.norm_2.affine_bias",
         0x909ae9daaae468f6u,
         4,
         {-0.25245259141523668, -0.91002796063094626, -0.30692084969447486, -0.042799627908830518}},
        {"range3:edge_lin.bias.67", 0x7a939b564e69d1a6u, 1, {-0.30397193312367898}},
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        assert_true(nh_hash(rows[r].name) == rows[r].hash);
        for (size_t i = 0; i < rows[r].count; i++)
            assert_true(nh_hash_uniform(rows[r].hash, i) == rows[r].u[i]);
    }
    assert_true(nh_hash("") == 14695981039346656037u);
}

/* First numbers of xoshiro256** from the state 1, 2, 3, 4, by the authors' reference code. */
static void xoshiro_reference(void **state)
{
    (void)state;
    static const uint64_t expected[] = {11520u,
                                        0u,
                                        1509978240u,
                                        1215971899390074240u,
                                        1216172134540287360u,
                                        607988272756665600u,
                                        16172922978634559625u,
                                        8476171486693032832u,
                                        10595114339597558777u,
                                        2904607092377533576u};
    nh_random r = {{1, 2, 3, 4}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        assert_true(nh_random_bits(&r) == expected[i]);
}

static void streams_are_reproducible_and_distinct(void **state)
{
    (void)state;
    nh_random a, b;
    nh_random_seed(&a, 1, "weights");
    nh_random_seed(&b, 1, "weights");
    for (int i = 0; i < 100; i++)
        assert_true(nh_random_bits(&a) == nh_random_bits(&b));
    nh_random saved = a;
    double next = nh_random_normal(&a);
    assert_true(nh_random_normal(&saved) == next);

    static const char *const streams[] = {"weights", "order", ""};
    uint64_t first[9];
    size_t n = 0;
    for (size_t s = 0; s < 3; s++)
        for (uint64_t seed = 0; seed < 3; seed++) {
            nh_random_seed(&a, seed, streams[s]);
            first[n] = nh_random_bits(&a);
            for (size_t i = 0; i < n; i++)
                assert_true(first[i] != first[n]);
            n++;
        }
}

/* Moments within five standard errors of a fixed stream: fails for a wrong range, scale or formula. */
static void moments(void **state)
{
    (void)state;
    enum { COUNT = 200000 };
    nh_random r;
    nh_random_seed(&r, 7, "moments");
    double u1 = 0, u2 = 0, low = 1, high = 0;
    for (int i = 0; i < COUNT; i++) {
        double u = nh_random_uniform(&r);
        u1 += u;
        u2 += u * u;
        low = fmin(low, u);
        high = fmax(high, u);
    }
    assert_true(low >= 0 && high < 1 && low < 1e-4 && high > 1 - 1e-4);
    assert_true(fabs(u1 / COUNT - 0.5) < 5 * sqrt(1.0 / 12 / COUNT));
    assert_true(fabs(u2 / COUNT - 1.0 / 3) < 5 * sqrt(4.0 / 45 / COUNT));
    double n1 = 0, n2 = 0, n3 = 0, n4 = 0;
    for (int i = 0; i < COUNT; i++) {
        double x = nh_random_normal(&r);
        assert_true(isfinite(x));
        n1 += x;
        n2 += x * x;
        n3 += x * x * x;
        n4 += x * x * x * x;
    }
    assert_true(fabs(n1 / COUNT) < 5 * sqrt(1.0 / COUNT));
    assert_true(fabs(n2 / COUNT - 1) < 5 * sqrt(2.0 / COUNT));
    assert_true(fabs(n3 / COUNT) < 5 * sqrt(15.0 / COUNT));
    assert_true(fabs(n4 / COUNT - 3) < 5 * sqrt(96.0 / COUNT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rule_of_the_golden_weights),
        cmocka_unit_test(xoshiro_reference),
        cmocka_unit_test(streams_are_reproducible_and_distinct),
        cmocka_unit_test(moments),
    };
    return cmocka_run_group_tests_name("random", tests, NULL, NULL);
}
