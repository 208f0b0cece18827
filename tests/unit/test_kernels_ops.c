/* The kernels against the operations of lib/ops that they mirror, forward and backward, in both precisions: on random tiles
 * of awkward sizes (no row, one, odd numbers, hub nodes with most of the edges), each with three orders of the blocks, which
 * must give the same bits. The golden numbers are held by test_kernels_network, _gradient and _predict. */
#include "golden.h"
#include "one_device.h"

#include "kernels/ops.h"
#include "nextham/config.h"
#include "o3/harmonics.h"
#include "training/adam.h"

static nh_gpu *gpu;

static double uniform(uint64_t *s)
{
    *s += 0x9E3779B97F4A7C15u;
    uint64_t z = *s;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-52 - 1;
}

/* Types and tables of a small network with all that the options need; multiplicities that are no powers of two. */
typedef struct tables {
    nh_config config;
    nh_types types;
    nh_layout mid, heads, gate, last;
    nh_linear_map map, post;
    nh_product product;
    nh_lift lift;
    size_t first[32];
    nhk_product product_d;
    nhk_lift lift_d;
    int *e3nn, *pairs;
} tables;

static const char *const NETWORKS[] = {
    "{basis: 2s1p1d, mid: 6x0e+5x1o+3x1e+2x2e+1x2o, heads: 3, edge_scalars: 6, lift: true}",
    "{basis: 2s1p1d, sh_lmax: 3, mid: 8x0e+4x1o+4x1e+2x2e+2x2o+2x3e+2x3o+2x5e, heads: 2, edge_scalars: 8, "
    "lift: true}"};

static tables tables_new(const char *text)
{
    tables t = {0};
    OK(nh_config_parse(text, "test", &t.config, &err));
    OK(nh_types_new(&t.config, &t.types, &err));
    OK(nh_layout_new(&t.types.mid, &t.mid, &err));
    OK(nh_layout_new(&t.types.heads, &t.heads, &err));
    OK(nh_layout_new(&t.types.gate_in, &t.gate, &err));
    OK(nh_layout_new(&t.types.last, &t.last, &err));
    OK(nh_linear_map_new(&t.types.heads, 0, NULL, &t.types.mid, 0, NULL, 0, &t.map, &err));
    OK(nh_linear_map_new(&t.types.mid, 0, NULL, &t.types.post, 0, NULL, 0, &t.post,
                         &err)); /* parts that nothing feeds */
    OK(nh_product_new(&t.types, &t.product, &err));
    OK(nh_lift_new(&t.types, NULL, &t.lift, &err));
    size_t next = t.mid.group[0].mul;
    for (size_t i = 0; i < t.mid.n_entry; i++) {
        if (t.mid.entry[i].group == 0) continue;
        t.first[t.mid.entry[i].group] = next;
        next += t.mid.entry[i].mul;
    }
    return t;
}

static void tables_upload(tables *t)
{
    nhk_product_new(gpu, &t->product, &t->product_d);
    nhk_lift_new(gpu, &t->lift, &t->lift_d);
    t->e3nn = nhk_e3nn_table(gpu, &t->mid);
    t->pairs = nhk_pairs_table(gpu, &t->mid);
    OK(nhk_sync(gpu, &err));
}

static void tables_free(tables *t)
{
    nhk_product_free(gpu, &t->product_d);
    nhk_lift_free(gpu, &t->lift_d);
    nhk_free(gpu, t->e3nn);
    nhk_free(gpu, t->pairs);
    nh_layout_free(&t->mid);
    nh_layout_free(&t->heads);
    nh_layout_free(&t->gate);
    nh_layout_free(&t->last);
    nh_linear_map_free(&t->map);
    nh_linear_map_free(&t->post);
    nh_product_free(&t->product);
    nh_lift_free(&t->lift);
    nh_types_free(&t->types);
    nh_config_free(&t->config);
}

static const size_t SIZES[] = {0, 1, 2, 33, 70};
enum { N_SIZES = sizeof SIZES / sizeof *SIZES };

/* Chains of three dense maps. */
enum { LAYERS = 3 };
static const size_t CHAIN[LAYERS + 1] = {19, 33, 7, 5};

/* Device memory of a case. */
enum { MOST = 64 };
static void *held[MOST];
static size_t n_held;

static void *hold(void *p)
{
    assert_true(n_held < MOST);
    return held[n_held++] = p;
}

static void release(void)
{
    while (n_held > 0)
        nhk_free(gpu, held[--n_held]);
}

static int *ints(size_t n, const int *x)
{
    int *d = hold(nhk_alloc(gpu, n, sizeof *d));
    nhk_upload(gpu, d, x, n * sizeof *d);
    return d;
}

/* Results of the first order of blocks, which the others must repeat bit for bit. */
enum { MOST_RESULTS = 256 };
static struct {
    size_t bytes;
    void *p;
} result[MOST_RESULTS];
static size_t n_result, at_result;
static bool repeating;

static void same_bits(const char *what, size_t bytes, const void *p)
{
    assert_true(at_result < MOST_RESULTS);
    if (repeating) {
        assert_int_equal(result[at_result].bytes, bytes);
        if (memcmp(result[at_result].p, p, bytes) != 0)
            fail_msg("%s: differs with the order of the blocks", what);
    } else {
        result[at_result].bytes = bytes;
        result[at_result].p = malloc(bytes + 1);
        assert_non_null(result[at_result].p);
        memcpy(result[at_result].p, p, bytes);
        n_result++;
    }
    at_result++;
}

/* Calls body with each network, number of rows and order of blocks. */
static void each(void (*body)(tables *t, size_t n))
{
    for (size_t k = 0; k < sizeof NETWORKS / sizeof *NETWORKS; k++) {
        tables t = tables_new(NETWORKS[k]);
        tables_upload(&t);
        for (size_t i = 0; i < N_SIZES; i++) {
            for (uint64_t seed = 0; seed < 3; seed++) {
                emu_seed(1000 * seed);
                repeating = seed > 0;
                at_result = 0;
                body(&t, SIZES[i]);
                OK(nhk_sync(gpu, &err));
                release();
            }
            while (n_result > 0)
                free(result[--n_result].p);
        }
        tables_free(&t);
    }
    emu_seed(0);
}

/* Weights of one parameter: *values are its numbers, double where `wide`. */
static nh_weights one_parameter(bool wide, void *values)
{
    nh_weights w = {.count = 1};
    if (wide)
        w.as_double = values;
    else
        w.as_float = values;
    return w;
}

#define real double
#define R(name) name##_d
#define TOLERANCE 1e-12
#include "kernels_cases.inc"
#undef real
#undef R
#undef TOLERANCE

#define real float
#define R(name) name##_f
#define TOLERANCE 1e-4
#include "kernels_cases.inc"
#undef real
#undef R

/* What the kernels cannot do is said. */
static void limits(void **state)
{
    (void)state;
    nhk_product p;
    tables t = tables_new("{basis: 2s1p1d1f, mid: 4x0e+2x1o+1x8e, heads: 2, edge_scalars: 4}");
    nhk_product_new(gpu, &t.product, &p);
    assert_int_equal(nhk_sync(gpu, &err), -1);
    assert_string_equal(err.text, "CUDA: features of degree 8, at most 7");
    nhk_product_free(gpu, &p);
    tables_free(&t);
    nhk_harmonics_forward_d(gpu, 9, 1, NULL, NULL);
    assert_int_equal(nhk_sync(gpu, &err), -1);
    assert_string_equal(err.text, "CUDA: harmonics of degree 9, at most 8");
}

static int open_gpu(void **state)
{
    const int status = open_device(state);
    gpu = status == 0 ? device->gpu : NULL;
    return status;
}

int main(void)
{
#define BOTH(name) cmocka_unit_test(name##_d), cmocka_unit_test(name##_f)
    const struct CMUnitTest tests[] = {
        BOTH(rows),       BOTH(sums),       BOTH(linear),    BOTH(norm),
        BOTH(gate),       BOTH(chains),     BOTH(tangents),  BOTH(geometry),
        BOTH(product),    BOTH(lift),       BOTH(heads),     BOTH(softmax),
        BOTH(invariants), BOTH(parameters), BOTH(optimiser), cmocka_unit_test(limits)};
    return cmocka_run_group_tests(tests, open_gpu, close_device);
}
