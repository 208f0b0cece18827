/* The backward pass of every operation of lib/ops: against finite differences of its forward pass, and
 * against the reference implementation's gradients of whole modules. */
#include "ops_tools.h"

enum { WIDEST = 11 };            /* of the hidden layers of the chains */
enum { RUNS = 3, RUN_ROWS = 9 }; /* runs of edges with one destination, and all edges */

/* Gradients of an operation in double, in the order of its cases. */
enum { MOST_RECORDS = 128 };
typedef struct record {
    const char *operation;
    size_t count, next;
    double *g[MOST_RECORDS];
} record;

/* The rule of docs/network.md 10: in [-1, 1) */
static double random_number(const char *seed, size_t i)
{
    uint64_t h = 14695981039346656037U;
    for (const char *c = seed; *c != '\0'; c++)
        h = (h ^ (uint64_t)(unsigned char)*c) * 1099511628211U;
    uint64_t z = h + ((uint64_t)i + 1) * 0x9E3779B97F4A7C15U;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    z = z ^ (z >> 31);
    return (double)(z >> 11) * 0x1p-52 - 1;
}

static nh_layout layout_of(const char *text)
{
    nh_irreps type;
    nh_layout layout;
    OK(nh_irreps_parse(text, &type, &err));
    OK(nh_layout_new(&type, &layout, &err));
    nh_irreps_free(&type);
    return layout;
}

#define real double
#define R(name) name##_d
#define TOLERANCE 1e-9
#include "ops_tools.h"
#include "backward_cases.inc"
#include "backward_golden.inc"
#undef real
#undef R
#undef TOLERANCE

#define real float
#define R(name) name##_f
#define TOLERANCE 1e-4
#include "ops_tools.h"
#include "backward_cases.inc"
#include "backward_golden.inc"
#undef real
#undef R

#define CASE(name)                                                                                           \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        (void)state;                                                                                         \
        record r = {.operation = #name};                                                                     \
        name##_case_d(&r);                                                                                   \
        name##_case_f(&r);                                                                                   \
        assert_int_equal(r.next, r.count);                                                                   \
        for (size_t i = 0; i < r.count; i++)                                                                 \
            free(r.g[i]);                                                                                    \
    }

CASE(rows)
CASE(linear)
CASE(norm)
CASE(gate)
CASE(chain)
CASE(tangent)
CASE(silu)
CASE(weights)
CASE(product)
CASE(heads)
CASE(softmax)
CASE(pairs)
CASE(invariants)
CASE(factor)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows),
        cmocka_unit_test(linear),
        cmocka_unit_test(norm),
        cmocka_unit_test(gate),
        cmocka_unit_test(chain),
        cmocka_unit_test(tangent),
        cmocka_unit_test(silu),
        cmocka_unit_test(weights),
        cmocka_unit_test(product),
        cmocka_unit_test(heads),
        cmocka_unit_test(softmax),
        cmocka_unit_test(pairs),
        cmocka_unit_test(invariants),
        cmocka_unit_test(factor),
        cmocka_unit_test(golden_tracegrad_d),
        cmocka_unit_test(golden_tracegrad_f),
        cmocka_unit_test(golden_transblock_d),
        cmocka_unit_test(golden_transblock_f),
    };
    return cmocka_run_group_tests_name("backward", tests, NULL, NULL);
}
