/* Files of torch.save (formats/torch): types of numbers there and back, and damaged files by the thousand. The real ones are in tests/cli/checkpoint.bats. */
#include "base/random.h"
#include "formats/torch/checkpoint.h"
#include "formats/torch/pickle.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char path[] = "/tmp/test_torch_XXXXXX";

static int make_path(void **state)
{
    (void)state;
    const int file = mkstemp(path);
    return file < 0 || close(file) != 0 ? -1 : 0;
}

static int remove_path(void **state)
{
    (void)state;
    return unlink(path);
}

/* What each type keeps of some numbers. */
static void types(void **state)
{
    (void)state;
    static const double given[] = {0, -0.0, 1, -2.5, 1.0 / 3, 65504, 6e-8, 5e-8, 1e-3, 100.25};
    enum { N = sizeof given / sizeof *given };
    static const double half[N] = {0,
                                   -0.0,
                                   1,
                                   -2.5,
                                   0.333251953125,
                                   65504,
                                   5.9604644775390625e-8,
                                   5.9604644775390625e-8,
                                   0.0010004043579101562,
                                   100.25};
    static const double bfloat[N] = {0,
                                     -0.0,
                                     1,
                                     -2.5,
                                     0.333984375,
                                     65536,
                                     6.007030606269836e-8,
                                     5.005858838558197e-08,
                                     0.00099945068359375,
                                     100};
    const size_t dim[2] = {2, 5};
    nh_tensor_out t[4];
    static const char *const names[] = {"half", "bfloat", "single", "double"};
    static const nh_dtype kinds[] = {NH_FLOAT16, NH_BFLOAT16, NH_FLOAT32, NH_FLOAT64};
    for (size_t i = 0; i < 4; i++)
        t[i] = (nh_tensor_out){.name = names[i], .dtype = kinds[i], .n_dim = 2, .dim = dim, .values = given};
    nh_error err;
    nh_checkpoint *c = NULL;
    if (nh_checkpoint_write(path, 4, t, "some: text\n", &err) != 0 ||
        nh_checkpoint_open(path, NULL, &c, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(c->n_tensor, 4);
    assert_string_equal(c->skipped, "nextham_config");
    for (size_t i = 0; i < 4; i++) {
        double back[N];
        const size_t at = nh_checkpoint_find(c, names[i]);
        assert_int_equal(c->tensor[at].dtype, kinds[i]);
        assert_int_equal(nh_checkpoint_values(c, at, back, &err), 0);
        for (size_t k = 0; k < N; k++) {
            const double expected = i == 0   ? half[k]
                                    : i == 1 ? bfloat[k]
                                    : i == 2 ? (double)(float)given[k]
                                             : given[k];
            if (back[k] != expected || signbit(back[k]) != signbit(expected))
                fail_msg("%s: %.17g became %.17g, expected %.17g", names[i], given[k], back[k], expected);
        }
    }
    nh_checkpoint_free(c);
}

/* Every half is its own nearest half. */
static void all_halves(void **state)
{
    (void)state;
    enum { N = 0x7c00 };
    double *values = malloc(N * sizeof *values), *back = malloc(N * sizeof *back);
    assert_true(values != NULL && back != NULL);
    for (int h = 0; h < N; h++)
        values[h] = h >> 10 > 0 ? ldexp(1024 + (h & 1023), (h >> 10) - 25) : ldexp(h, -24);
    const size_t dim[1] = {N};
    const nh_tensor_out t = {.name = "all", .dtype = NH_FLOAT16, .n_dim = 1, .dim = dim, .values = values};
    nh_error err;
    nh_checkpoint *c;
    assert_int_equal(nh_checkpoint_write(path, 1, &t, NULL, &err), 0);
    assert_int_equal(nh_checkpoint_open(path, "state_dict", &c, &err), 0);
    assert_int_equal(nh_checkpoint_values(c, 0, back, &err), 0);
    assert_memory_equal(values, back, N * sizeof *values);
    nh_checkpoint_free(c);
    free(values);
    free(back);
}

/* A written file whose pickle says something else: the first `from` becomes `to`, of the same length; no checksum in its way. */
static void rewrite(const char *from, const char *to, size_t n)
{
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    unsigned char bytes[8192];
    const size_t size = fread(bytes, 1, sizeof bytes, f);
    unsigned char *at = memmem(bytes, size, from, n);
    assert_non_null(at);
    memcpy(at, to, n);
    /* Checksums of 0 are not compared: in the local header and in the directory. */
    for (unsigned char *d = memmem(bytes, size, "PK\1\2", 4); d != NULL;
         d = memmem(d + 4, size - (size_t)(d + 4 - bytes), "PK\1\2", 4))
        memset(d + 16, 0, 4);
    rewind(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    fclose(f);
}

/* Elements outside of the storage, memory on the file's word: refused. */
static void shapes_that_lie(void **state)
{
    (void)state;
    static const double values[6] = {1, 2, 3, 4, 5, 6};
    static const size_t dim[2] = {2, 3};
#define NUMBER(n) "\x8a\x08" n "\0\0\0\0\0\0\0"
    static const struct {
        const char *from, *to;
        size_t n;
        const char *message;
    } cases[] = {
        {NUMBER("\3") "t(", NUMBER("\4") "t(", 12, "outside of its storage"}, /* shape 2x4 */
        {"t(" NUMBER("\3"), "t(" NUMBER("\4"), 12, "outside of its storage"}, /* stride 4 */
        {NUMBER("\2") NUMBER("\3"), NUMBER("\2") "\x8a\x08\0\0\0\0\0\0\0\x40", 20,
         "outside of its storage"}, /* shape 2 x 2^62 */
        {NUMBER("\2") NUMBER("\3"), NUMBER("\2") "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\xff", 20,
         "outside of its storage"},
        {NUMBER("\6"), NUMBER("\7"), 10, "a storage of 7 numbers in 48 bytes"},
        {"DoubleStorage", "DoubleStoragX", 13, "numbers of type DoubleStoragX"},
        {"_rebuild_tensor_v2", "_rebuild_tensor_v9", 18, "calls torch._utils._rebuild_tensor_v9"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const nh_tensor_out t = {.name = "a", .dtype = NH_FLOAT64, .n_dim = 2, .dim = dim, .values = values};
        nh_error err;
        nh_checkpoint *c;
        assert_int_equal(nh_checkpoint_write(path, 1, &t, NULL, &err), 0);
        rewrite(cases[i].from, cases[i].to, cases[i].n);
        assert_int_equal(nh_checkpoint_open(path, NULL, &c, &err), -1);
        if (strstr(err.text, cases[i].message) == NULL) fail_msg("case %zu: %s", i, err.text);
    }
}

static unsigned char *slurp(const char *name, size_t *size)
{
    FILE *f = fopen(name, "rb");
    if (f == NULL) return NULL;
    unsigned char *bytes = malloc(1 << 20);
    *size = bytes != NULL ? fread(bytes, 1, 1 << 20, f) : 0;
    fclose(f);
    return bytes;
}

/* Thousands of damaged files: an error or a checkpoint whose values can be read, never anything else. */
static void damaged(void **state)
{
    (void)state;
    static const char *const files[] = {"tests/data/torch/dict/model_range0_curr.pth.tar",
                                        "tests/data/torch/module/model_range0_curr.pth.tar"};
    nh_random random;
    nh_random_seed(&random, 7, "damage");
    size_t failed = 0;
    for (size_t f = 0; f < 2; f++) {
        size_t size = 0;
        unsigned char *whole = slurp(files[f], &size), *bytes = malloc(1 << 20);
        if (whole == NULL || bytes == NULL) skip();
        for (int n = 0; n < 1500; n++) {
            memcpy(bytes, whole, size);
            const int hits = 1 + n % 4;
            for (int h = 0; h < hits; h++) {
                /* The pickle comes first, the directory last: hit these more often than numbers. */
                const double u = nh_random_uniform(&random), v = nh_random_uniform(&random);
                const size_t at = u < 0.6   ? (size_t)(v * 30000)
                                  : u < 0.9 ? size - 1 - (size_t)(v * 12000)
                                            : (size_t)(v * (double)size);
                bytes[at % size] = (unsigned char)(nh_random_uniform(&random) * 256);
            }
            FILE *out = fopen(path, "wb");
            assert_non_null(out);
            assert_int_equal(fwrite(bytes, 1, size, out), size);
            fclose(out);
            nh_error err = {""};
            nh_checkpoint *c;
            if (nh_checkpoint_open(path, NULL, &c, &err) != 0) {
                assert_true(err.text[0] != '\0' && strchr(err.text, '\n') == NULL);
                failed++;
                continue;
            }
            for (size_t t = 0; t < c->n_tensor; t++) {
                double *values = malloc((c->tensor[t].count + 1) * sizeof *values);
                assert_non_null(values);
                if (nh_checkpoint_values(c, t, values, &err) != 0) assert_true(err.text[0] != '\0');
                free(values);
            }
            nh_checkpoint_free(c);
        }
        free(whole);
        free(bytes);
    }
    assert_true(failed > 500);
}

/* Pickles without their archive: the checksum does not protect these. */
static void damaged_pickles(void **state)
{
    (void)state;
    static const char *const files[] = {"tests/data/torch/dict/model_range0_curr.pth.tar",
                                        "tests/data/torch/module/model_range0_curr.pth.tar"};
    nh_random random;
    nh_random_seed(&random, 8, "damage");
    size_t failed = 0, read = 0;
    for (size_t f = 0; f < 2; f++) {
        size_t size = 0;
        unsigned char *whole = slurp(files[f], &size);
        if (whole == NULL) skip();
        const unsigned char *begin = memmem(whole, size, "\x80\x02", 2);
        assert_non_null(begin);
        const size_t length = 16000;
        unsigned char *bytes = malloc(length);
        assert_non_null(bytes);
        for (int n = 0; n < 3000; n++) {
            memcpy(bytes, begin, length);
            for (int h = 0; h < 1 + n % 3; h++)
                bytes[(size_t)(nh_random_uniform(&random) * (double)length)] =
                    (unsigned char)(nh_random_uniform(&random) * 256);
            nh_error err = {""};
            nh_pickle *p;
            if (nh_pickle_read(bytes, length, "pickle", &p, &err) != 0) {
                assert_true(err.text[0] != '\0' && strchr(err.text, '\n') == NULL);
                failed++;
                continue;
            }
            read++;
            assert_non_null(nh_pickle_root(p));
            nh_pickle_free(p);
        }
        free(bytes);
        free(whole);
    }
    assert_true(failed > 100);
    (void)read;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types),   cmocka_unit_test(all_halves),      cmocka_unit_test(shapes_that_lie),
        cmocka_unit_test(damaged), cmocka_unit_test(damaged_pickles),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
