/* Model files: round trip, and files that are not what they should be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "formats/netcdf/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BOTH = NH_ACTS_HAM | NH_ACTS_TRACE };

static const char TINY[] =
    "network: nextham-v1\nbasis: 1s1p\nsh_lmax: 2\nmid: 2x0e+1x1o\nheads: 2\nblocks: 2\n"
    "radial: {basis: 4, hidden: [3, 3]}\ntracegrad: {hidden: 5, hidden_last: 4, z: 3}\ntrace_head: [4]\n"
    "ranges: [[0, 1], [1, 6]]\nedge_scalars: 3\nalpha_hidden: [3, 3]\n";
static const char NORM[] = "blocks.1.norm_1.affine_weight", TRACE[] = "nonlinear_layers_for_norm_reg.2.bias";

static char folder[] = "/tmp/nh_test_model_XXXXXX";
static char path[128];

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/model.nc", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static nh_model *make(const char *extra, bool as_double)
{
    char text[1024];
    nh_config config;
    nh_model *m = NULL;
    nh_error err = {""};
    snprintf(text, sizeof text, "%s%s", TINY, extra);
    if (nh_config_parse(text, "tiny", &config, &err) || nh_model_new(&config, as_double, &m, &err))
        fail_msg("%s", err.text);
    for (size_t r = 0; r < m->n_range; r++)
        if (nh_weights_init(&m->params, 3, r, &m->weights[r], &err)) fail_msg("%s", err.text);
    return m;
}

static void save(const nh_model *m)
{
    char command[] = "test_model";
    const nh_common common = {.output = path, .threads = 1, .history = true, .command_line = command};
    nh_nc *f;
    nh_error err = {""};
    if (nh_nc_create(path, "test_model", &common, NULL, &f, &err) || nh_model_write(f, m, false, &err) ||
        nh_nc_commit(f, &err))
        fail_msg("%s", err.text);
}

static void save_tiny(const char *extra)
{
    nh_model *m = make(extra, false);
    save(m);
    nh_model_free(m);
}

static void leave_out(nh_weights *w, size_t i)
{
    free(w->as_float[i]);
    w->as_float[i] = NULL;
}

/* The tiny model without the parameter NORM of one sub-model. */
static void save_without_norm(size_t range)
{
    nh_model *m = make("", false);
    leave_out(&m->weights[range], nh_params_find(&m->params, NORM));
    save(m);
    nh_model_free(m);
}

static nh_model *load(unsigned acts)
{
    nh_model *m = NULL;
    nh_error err = {""};
    if (nh_model_read(path, acts, NULL, &m, &err)) fail_msg("%s", err.text);
    return m;
}

static void assert_refused(const char *expected)
{
    nh_model *m = NULL;
    nh_error err = {""};
    if (!nh_model_read(path, BOTH, NULL, &m, &err)) fail_msg("accepted; expected: %s", expected);
    assert_null(m);
    if (strncmp(err.text, path, strlen(path))) fail_msg("'%s' does not begin with the file's name", err.text);
    if (!strstr(err.text, expected)) fail_msg("'%s' lacks '%s'", err.text, expected);
}

/* Opens the file to spoil it; group "": the root. */
static int spoil(const char *group, int *file)
{
    int id;
    assert_int_equal(nc_open(path, NC_WRITE, file), 0);
    if (group[0] == '\0') return *file;
    assert_int_equal(nc_inq_grp_ncid(*file, group, &id), 0);
    return id;
}

static int variable(int group, const char *name)
{
    int id;
    if (nc_inq_varid(group, name, &id)) fail_msg("no variable %s", name);
    return id;
}

static void check_round_trip(bool as_double)
{
    nh_model *a = make("", as_double);
    uint64_t hash_a, hash_b;
    nh_error err;
    save(a);
    nh_model *b = load(BOTH);
    char *text_a = nh_config_text(&a->config), *text_b = nh_config_text(&b->config);
    assert_string_equal(text_a, text_b);
    assert_int_equal(b->n_range, 2);
    assert_int_equal(b->n_unknown, 0);
    for (size_t r = 0; r < 2; r++)
        for (size_t i = 0; i < a->params.count; i++) {
            const size_t n = a->params.param[i].count;
            if (!a->params.param[i].acts) continue;
            if (as_double)
                assert_memory_equal(a->weights[r].as_double[i], b->weights[r].as_double[i],
                                    n * sizeof(double));
            else
                assert_memory_equal(a->weights[r].as_float[i], b->weights[r].as_float[i], n * sizeof(float));
        }
    assert_int_equal(nh_model_hash(a, NULL, &hash_a, &err), 0);
    assert_int_equal(nh_model_hash(b, NULL, &hash_b, &err), 0);
    assert_true(hash_a == hash_b);
    const size_t k = nh_params_find(&b->params, NORM);
    if (as_double)
        b->weights[1].as_double[k][2] = 1 + 1e-15;
    else
        b->weights[1].as_float[k][2] = 1 + 1e-6F;
    assert_int_equal(nh_model_hash(b, NULL, &hash_b, &err), 0);
    assert_true(hash_a != hash_b);
    free(text_a);
    free(text_b);
    nh_model_free(a);
    nh_model_free(b);
}

static void round_trip(void **state)
{
    (void)state;
    check_round_trip(false);
    check_round_trip(true);
}

/* Contiguous, unfiltered, little-endian: the file can be mapped. */
static void layout_of_the_file(void **state)
{
    (void)state;
    int file, storage, endian, shuffle, deflate, level;
    save_tiny("");
    const int group = spoil("range1", &file), v = variable(group, "blocks.0.ga.lin_alpha.0.weight");
    assert_int_equal(nc_inq_var_chunking(group, v, &storage, NULL), 0);
    assert_int_equal(storage, NC_CONTIGUOUS);
    assert_int_equal(nc_inq_var_endian(group, v, &endian), 0);
    assert_int_equal(endian, NC_ENDIAN_LITTLE);
    assert_int_equal(nc_inq_var_deflate(group, v, &shuffle, &deflate, &level), 0);
    assert_false(shuffle || deflate);
    nc_close(file);
}

static void missing_parameter(void **state)
{
    (void)state;
    save_without_norm(1);
    assert_refused("group range1: no variable blocks.1.norm_1.affine_weight (shape 3 expected)");
}

static void wrong_shape(void **state)
{
    (void)state;
    int file, dim[2], id;
    save_without_norm(0);
    const int group = spoil("range0", &file);
    nc_def_dim(group, "a", 2, &dim[0]);
    nc_def_dim(group, "b", 7, &dim[1]);
    assert_int_equal(nc_def_var(group, NORM, NC_FLOAT, 2, dim, &id), 0);
    nc_close(file);
    assert_refused("group range0: variable blocks.1.norm_1.affine_weight: shape 2x7, expected 3");
}

static void wrong_type(void **state)
{
    (void)state;
    int file, dim, id;
    save_without_norm(0);
    const int group = spoil("range0", &file);
    nc_def_dim(group, "a", 3, &dim);
    assert_int_equal(nc_def_var(group, NORM, NC_INT, 1, &dim, &id), 0);
    nc_close(file);
    assert_refused("variable blocks.1.norm_1.affine_weight: neither float nor double");
}

static void put_number(const char *name, size_t index, float value)
{
    int file;
    const int group = spoil("range1", &file);
    assert_int_equal(nc_put_var1_float(group, variable(group, name), &index, &value), 0);
    nc_close(file);
}

static void numbers_that_are_no_weights(void **state)
{
    (void)state;
    save_tiny("");
    put_number(NORM, 2, NAN);
    assert_refused(
        "group range1: variable blocks.1.norm_1.affine_weight: element 2 is nan, expected a finite number");
    put_number(NORM, 2, -INFINITY);
    assert_refused("element 2 is -inf");
    put_number(NORM, 2, NC_FILL_FLOAT);
    assert_refused("never written");
    put_number(NORM, 2, 1e20F); /* large, but a number */
    nh_model_free(load(BOTH));
    put_number(TRACE, 1, NAN);
    assert_refused("nonlinear_layers_for_norm_reg.2.bias: element 1 is nan");
    nh_model_free(load(NH_ACTS_HAM)); /* not read for the Hamiltonian */
    nh_model *m = make("", true);
    m->weights[0].as_double[nh_params_find(&m->params, NORM)][1] = NAN;
    save(m);
    nh_model_free(m);
    assert_refused("group range0: variable blocks.1.norm_1.affine_weight: element 1 is nan");
}

static void only_what_reaches_the_hamiltonian(void **state)
{
    (void)state;
    save_tiny("");
    nh_model *m = load(NH_ACTS_HAM);
    assert_non_null(m->weights[0].as_float[nh_params_find(&m->params, NORM)]);
    assert_non_null(m->weights[1].as_float[nh_params_find(&m->params, "edge_lin.bias.1")]);
    assert_non_null(
        m->weights[0].as_float[nh_params_find(&m->params, "edge_feature_nonlin_block.0.fctp.weight")]);
    assert_null(m->weights[0].as_float[nh_params_find(&m->params, TRACE)]);
    nh_model_free(m);
}

/* TraceGrad and the trace head may be absent where the gradient's scale is 0, and only there. */
static void trace_parameters(void **state)
{
    (void)state;
    nh_model *m = make("decay: 0.1\n", false);
    const size_t k = nh_params_find(&m->params, TRACE);
    leave_out(&m->weights[1], k);
    save(m);
    nh_model_free(m);
    assert_refused("group range1: no variable nonlinear_layers_for_norm_reg.2.bias");

    nh_config c;
    nh_error err = {""};
    char *text = strdup(TINY), *scale = strstr(text, "z: 3");
    char with_scale[sizeof TINY + 32];
    snprintf(with_scale, sizeof with_scale, "%.*sz: 3, scale: 0%s", (int)(scale - text), text, scale + 4);
    free(text);
    assert_int_equal(nh_config_parse(with_scale, "tiny", &c, &err), 0);
    assert_int_equal(nh_model_new(&c, false, &m, &err), 0);
    for (size_t r = 0; r < m->n_range; r++) {
        assert_int_equal(nh_weights_init(&m->params, 3, r, &m->weights[r], &err), 0);
        for (size_t i = 0; i < m->params.count; i++)
            if (m->params.param[i].acts == NH_ACTS_TRACE) leave_out(&m->weights[r], i);
    }
    save(m);
    nh_model_free(m);
    m = load(BOTH);
    assert_null(m->weights[0].as_float[k]);
    assert_null(
        m->weights[0].as_float[nh_params_find(&m->params, "edge_feature_nonlin_block.0.fctp.weight")]);
    nh_model_free(m);
}

static void unknown_and_dead_variables(void **state)
{
    (void)state;
    int file, dim, none, id;
    save_tiny("");
    const int group = spoil("range0", &file);
    nc_def_dim(group, "a", 7, &dim);
    nc_def_dim(group, "none", NC_UNLIMITED, &none); /* netCDF's way to a length of 0 */
    nc_def_var(group, "blocks.0.ga_edge.proj.bias.0", NC_FLOAT, 1, &dim, &id);
    nc_def_var(group, "blocks.0.gate.tp.weight", NC_FLOAT, 1, &none, &id);
    nc_def_var(group, "blocks.0.surprise", NC_FLOAT, 1, &dim, &id);
    nc_def_var(group, "another", NC_FLOAT, 1, &dim, &id);
    nc_close(file);
    nh_model *m = load(BOTH);
    assert_int_equal(m->n_unknown, 2);
    assert_string_equal(m->unknown, "blocks.0.surprise");
    assert_int_equal(m->n_dead, 7);
    nh_model_free(m);
}

static void config_attribute(void **state)
{
    (void)state;
    static const char bad[] = "network: nextham-v1\nheads: 0";
    int file;
    save_tiny("");
    spoil("", &file);
    nc_put_att_text(file, NC_GLOBAL, "config", strlen(bad), bad);
    nc_close(file);
    assert_refused("attribute config:2: heads: 0 found");
    spoil("", &file);
    nc_del_att(file, NC_GLOBAL, "config");
    nc_close(file);
    assert_refused("no attribute config: not a model file");
}

static void put_config(const char *ranges)
{
    char text[1024];
    int file;
    const char *line = strstr(TINY, "ranges");
    snprintf(text, sizeof text, "%.*sranges: %s%s", (int)(line - TINY), TINY, ranges, strchr(line, '\n'));
    spoil("", &file);
    nc_put_att_text(file, NC_GLOBAL, "config", strlen(text), text);
    nc_close(file);
}

static void groups(void **state)
{
    (void)state;
    int file;
    save_tiny("");
    put_config("[[0, 1], [1, 6], [6, 7]]");
    assert_refused("no group range2; the model's config has 3 ranges");
    put_config("[[0, 6]]");
    assert_refused("group range1 is there, but the model's config has only 1 ranges");
    assert_int_equal(nc_create(path, NC_NETCDF4 | NC_CLOBBER, &file), 0);
    nc_put_att_text(file, NC_GLOBAL, "Conventions", 9, "NextHAM-1");
    nc_put_att_text(file, NC_GLOBAL, "config", strlen(TINY), TINY);
    nc_close(file);
    assert_refused("no groups (range0, ...): not a model file");
}

static void damaged_files(void **state)
{
    (void)state;
    struct stat status;
    save_tiny("");
    assert_int_equal(stat(path, &status), 0);
    for (int part = 1; part < 8; part++) {
        save_tiny("");
        assert_int_equal(truncate(path, status.st_size * part / 8), 0);
        assert_refused(path);
    }
    FILE *f = fopen(path, "w");
    fputs("no netCDF\n", f);
    fclose(f);
    assert_refused(path);
    unlink(path);
    assert_refused("No such file");
    save_tiny("");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(layout_of_the_file),
        cmocka_unit_test(missing_parameter),
        cmocka_unit_test(wrong_shape),
        cmocka_unit_test(wrong_type),
        cmocka_unit_test(numbers_that_are_no_weights),
        cmocka_unit_test(only_what_reaches_the_hamiltonian),
        cmocka_unit_test(trace_parameters),
        cmocka_unit_test(unknown_and_dead_variables),
        cmocka_unit_test(config_attribute),
        cmocka_unit_test(groups),
        cmocka_unit_test(damaged_files),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
