/* Products in the frame of the edge against those with the matrices M, which are compared with the reference implementation
 * in test_ops.c: values and all gradients, for directions where a frame is easily wrong. */
#include "check.h"
#include "golden.h"
#include "random.h"

#include "o3/harmonics.h"
#include "o3/wigner.h"
#include "ops/ops.h"

/* The reduced network's; widths that fill a vector and that do not; V1.1's degrees and widths; degrees far
 * apart; harmonics of degree 1 alone. */
static const char *const CONFIG[] = {
    "{basis: 2s1p1d, mid: 8x0e+4x1o+4x1e+2x2e+2x2o+2x3e+2x3o+2x4e}",
    "{basis: 2s1p1d, mid: 9x0e+3x0o+7x1o+16x1e+5x2e+1x3o+11x3e}",
    "{basis: 2s1p1d, mid: 32x0e+16x0o+16x1o+16x1e+8x2e+8x2o+8x3e+8x3o+8x4e+8x4o+4x5e+4x5o+1x6e+1x6o+1x7e}",
    "{basis: 2s1p1d, mid: 4x0e+3x2o+2x7o, sh_lmax: 7}",
    "{basis: 2s1p1d, mid: 6x0e+5x1e+4x4e, sh_lmax: 1}",
};
enum { N_CONFIG = sizeof CONFIG / sizeof *CONFIG };

/* Along the axes and close to them, in the planes, without a direction twice, anywhere, and very short. */
static const double VECTOR[][3] = {{0, 0, 2},       {0, 0, -2},          {1.5, 0, 0},        {-1.5, 0, 0},
                                   {0, 3, 0},       {0, -3, 0},          {0, 0, 0},          {1e-9, 0, 1},
                                   {0, -1e-17, -2}, {1e-160, 2e-160, 1}, {2, 1e-12, 0},      {1, 1, 0},
                                   {0, -1, 1},      {0.3, -1.7, 2.2},    {-1.1, -0.4, -3.9}, {4.5, 3.1, 0.2},
                                   {-0.2, 2.8, 1},  {1e-3, 2e-3, -3e-3}, {5.9, -4.1, -1e-4}, {0, 0, 0},
                                   {0, 1e-9, -2e-9}};
enum { N = sizeof VECTOR / sizeof *VECTOR };

typedef struct model {
    nh_config config;
    nh_types types;
    nh_product product;
    nh_frame frame;
    nh_linear_map gates, heads; /* weights of each edge; shared */
} model;

static void model_open(const char *text, model *m)
{
    OK(nh_config_parse(text, "test", &m->config, &err));
    OK(nh_types_new(&m->config, &m->types, &err));
    OK(nh_product_new(&m->types, &m->product, &err));
    OK(nh_frame_new(&m->product, &m->frame, &err));
    OK(nh_linear_map_new(&m->types.dtp_out, 0, NULL, &m->types.gate_in, 0, NULL, 0, &m->gates, &err));
    OK(nh_linear_map_new(&m->types.dtp_out, 0, NULL, &m->types.heads, 0, NULL, 0, &m->heads, &err));
}

static void model_close(model *m)
{
    nh_linear_map_free(&m->gates);
    nh_linear_map_free(&m->heads);
    nh_frame_free(&m->frame);
    nh_product_free(&m->product);
    nh_types_free(&m->types);
    nh_config_free(&m->config);
}

/* Rows take what their paths say; the order is one of all channels. */
static void tables(void **state)
{
    (void)state;
    for (size_t c = 0; c < N_CONFIG; c++) {
        model m;
        model_open(CONFIG[c], &m);
        const nh_product *p = &m.product;
        for (size_t g = 0; g < p->out.count; g++) {
            size_t next = 0;
            for (size_t k = p->first_path[g]; k < p->first_path[g + 1]; k++) {
                const nh_frame_path *path = &m.frame.path[k];
                const nh_product_path *of = &p->path[path->path];
                const int l1 = p->in.group[of->in].l, l3 = p->out.group[g].l;
                assert_int_equal(path->channel, next);
                assert_int_equal(path->odd, (l1 + (int)of->j + l3) % 2);
                next += of->mul;
                for (int row = 0; row <= l3; row++) {
                    const struct nh_frame_row *r = &m.frame.row[g * ((size_t)m.frame.lmax + 1) + (size_t)row];
                    const bool inside =
                        path->channel >= r->first && path->channel + of->mul <= r->first + r->count;
                    assert_int_equal(inside, l1 >= row && (row > 0 || !path->odd));
                }
            }
            assert_int_equal(next, p->out.group[g].mul);
        }
        model_close(&m);
    }
}

#define real double
#define R(name) name##_d
#define TOLERANCE 1e-13
#include "frame_cases.inc"
#undef real
#undef R
#undef TOLERANCE

#define real float
#define R(name) name##_f
#define TOLERANCE 2e-6
#include "frame_cases.inc"

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables),           cmocka_unit_test(rotations_d),
        cmocka_unit_test(rotations_f),      cmocka_unit_test(own_weights_d),
        cmocka_unit_test(own_weights_f),    cmocka_unit_test(shared_weights_d),
        cmocka_unit_test(shared_weights_f),
    };
    return cmocka_run_group_tests_name("frames of the edges", tests, NULL, NULL);
}
