/* Every operation of lib/ops in both precisions against the reference implementation's numbers for each
 * module. */
#include "ops_tools.h"

#define real double
#define R(name) name##_d
#define TOLERANCE 1e-10
#include "ops_cases.inc"
#undef real
#undef R
#undef TOLERANCE

#define real float
#define R(name) name##_f
#define TOLERANCE 5e-5
#include "ops_cases.inc"

/* Layout of a type with a repeated irrep: entries of one irrep are neighbours in its group; the way back is
 * exact. */
static void layout(void **state)
{
    (void)state;
    nh_irreps type;
    nh_layout l;
    OK(nh_irreps_parse("2x1o+3x0e+1x1e+1x1o+2x0e", &type, &err));
    OK(nh_layout_new(&type, &l, &err));
    assert_int_equal(l.count, 3);
    assert_int_equal(l.group[0].mul, 5);
    assert_int_equal(l.group[1].p, 1);
    assert_int_equal(l.group[2].mul, 3);
    assert_int_equal(l.entry[3].first, 2);
    assert_int_equal(l.entry[4].first, 3);
    assert_int_equal(l.dim, type.dim);
    double x[2 * 17], tile[2 * 17], back[2 * 17];
    assert_int_equal(type.dim, 17);
    for (size_t i = 0; i < 34; i++)
        x[i] = (double)i;
    nh_from_e3nn_d(&l, 2, x, tile);
    assert_true(tile[0] == 6 && tile[5] == 23);                                    /* 0e: row 0, row 1 */
    assert_true(tile[2 * 8] == 0 && tile[2 * 8 + 1] == 3 && tile[2 * 8 + 3] == 1); /* 1o: channel fastest */
    nh_to_e3nn_d(&l, 2, tile, back);
    assert_memory_equal(x, back, sizeof x);
    nh_layout_free(&l);
    nh_irreps_free(&type);
}

/* Biases belong to the simplified type: 2x0e+3x0e is one bias of 5, 1o in between makes two. */
static void biases(void **state)
{
    (void)state;
    nh_irreps in, out;
    nh_linear_map map;
    OK(nh_irreps_parse("2x0e", &in, &err));
    OK(nh_irreps_parse("2x0e+3x0e+1x1o+4x0e", &out, &err));
    const size_t entry[] = {1, 3};
    OK(nh_linear_map_new(&in, 0, NULL, &out, 2, entry, 0, &map, &err));
    assert_int_equal(map.n_bias, 7);
    assert_int_equal(map.bias_param[0], 0);
    assert_int_equal(map.bias_index[0], 2);
    assert_int_equal(map.bias_param[3], 1);
    assert_int_equal(map.bias_index[6], 3);
    /* weights: blocks 2x2, 2x3, (none), 2x4 for the one input entry */
    assert_int_equal(map.source[0], 4);
    assert_int_equal(map.source[3], 10);
    assert_int_equal(map.source[7], 7);
    nh_linear_map_free(&map);
    const size_t beyond = 9;
    assert_int_equal(nh_linear_map_new(&in, 1, &beyond, &out, 0, NULL, 0, &map, &err), -1);
    nh_irreps_free(&in);
    nh_irreps_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layout),
        cmocka_unit_test(biases),
        cmocka_unit_test(linear_map_d),
        cmocka_unit_test(linear_map_f),
        cmocka_unit_test(layer_norm_d),
        cmocka_unit_test(layer_norm_f),
        cmocka_unit_test(gate_d),
        cmocka_unit_test(gate_f),
        cmocka_unit_test(radial_d),
        cmocka_unit_test(radial_f),
        cmocka_unit_test(product_d),
        cmocka_unit_test(product_f),
        cmocka_unit_test(ffn_d),
        cmocka_unit_test(ffn_f),
        cmocka_unit_test(graph_attention_d),
        cmocka_unit_test(graph_attention_f),
        cmocka_unit_test(transblock_d),
        cmocka_unit_test(transblock_f),
        cmocka_unit_test(tracegrad_d),
        cmocka_unit_test(tracegrad_f),
        cmocka_unit_test(exponential_d),
        cmocka_unit_test(exponential_f),
    };
    return cmocka_run_group_tests_name("operations", tests, NULL, NULL);
}
