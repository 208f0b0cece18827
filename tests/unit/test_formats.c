/* The real-space file: round trip, variables carried along, and files that lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "crystal/neighbours.h"
#include "formats/netcdf/graph.h"

#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/nh_test_formats_XXXXXX";
static char path_a[128], path_b[128];

static int set_up(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL) return -1;
    snprintf(path_a, sizeof path_a, "%s/a.nc", folder);
    snprintf(path_b, sizeof path_b, "%s/b.nc", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path_a);
    unlink(path_b);
    return rmdir(folder);
}

static nh_common common_options(void)
{
    static char command[] = "test_formats --x";
    return (nh_common){.output = "-", .threads = 1, .history = true, .command_line = command};
}

/* Two atoms (s+p and s) in a skew cell, pairs within 4 Å, numbers that tell every element apart. */
static nh_graph *example(void)
{
    nh_error err;
    nh_graph *g = calloc(1, sizeof *g);
    assert_non_null(g);
    assert_int_equal(nh_structure_new(2, 2, &g->structure, &err), 0);
    const double lattice[9] = {3, 0, 0, 0.5, 3.2, 0, 0.1, 0.2, 3.4}, position[6] = {0, 0, 0, 1.4, 1.5, 1.6};
    memcpy(g->structure.lattice, lattice, sizeof lattice);
    memcpy(g->structure.position, position, sizeof position);
    g->structure.species[1] = 1;
    g->structure.atomic_number[0] = 31;
    g->structure.atomic_number[1] = 1;
    assert_int_equal(nh_structure_set_shells(&g->structure, (size_t[]){2, 1}, (int[]){0, 1, 0}, &err), 0);
    g->structure.title = nh_strdup("example");
    size_t n;
    nh_pair *pair;
    assert_int_equal(nh_neighbours(&g->structure, 4.0, &n, &pair, &err), 0);
    assert_int_equal(nh_pairs_build(&g->structure, n, pair, &g->pairs, &err), 0);
    g->cutoff = 4.0;
    g->n_spin = 4;
    g->efermi = 1.25;
    g->nelec = NAN;
    g->rydberg = NH_RYDBERG;
    g->overlap = NH_ARRAY(double, g->pairs.n_elem);
    g->matrix[NH_H0] = NH_ARRAY(double, 8 * g->pairs.n_elem);
    for (size_t i = 0; i < g->pairs.n_elem; i++)
        g->overlap[i] = 0.001 * (double)i;
    for (size_t i = 0; i < 8 * g->pairs.n_elem; i++)
        g->matrix[NH_H0][i] = 1.0 / (1.0 + (double)i);
    return g;
}

static void write_example(const char *path)
{
    nh_error err;
    nh_nc *f;
    const nh_common common = common_options();
    nh_graph *g = example();
    assert_int_equal(nh_nc_create(path, "test", &common, NULL, &f, &err), 0);
    assert_int_equal(nh_graph_write(f, g, false, &err), 0);
    assert_int_equal(nh_nc_commit(f, &err), 0);
    nh_graph_free(g);
}

static int read_back(const char *path, nh_graph **g, nh_error *err)
{
    nh_nc *f;
    *g = NULL;
    if (nh_nc_open(path, &f, err)) return -1;
    const int failure = nh_graph_read(f, ~0u, g, err);
    nh_nc_close(f);
    return failure;
}

static void test_round_trip(void **state)
{
    (void)state;
    nh_error err;
    nh_graph *const a = example(), *b;
    write_example(path_a);
    assert_int_equal(read_back(path_a, &b, &err), 0);
    assert_memory_equal(a->structure.lattice, b->structure.lattice, sizeof a->structure.lattice);
    assert_memory_equal(a->structure.position, b->structure.position, 6 * sizeof(double));
    assert_string_equal(b->structure.title, "example");
    assert_int_equal(a->pairs.count, b->pairs.count);
    assert_memory_equal(a->pairs.pair, b->pairs.pair, a->pairs.count * sizeof *a->pairs.pair);
    assert_memory_equal(a->pairs.start, b->pairs.start, a->pairs.count * sizeof *a->pairs.start);
    assert_memory_equal(a->overlap, b->overlap, a->pairs.n_elem * sizeof(double));
    assert_memory_equal(a->matrix[NH_H0], b->matrix[NH_H0], 8 * a->pairs.n_elem * sizeof(double));
    assert_null(b->matrix[NH_H_LABEL]);
    assert_null(b->features);
    assert_true(b->efermi == 1.25 && isnan(b->nelec) && b->cutoff == 4.0);
    assert_int_equal(nh_graph_require(b, "x", NH_WANT_H0 | NH_WANT_OVERLAP, &err), 0);
    assert_int_equal(nh_graph_require(b, "x.nc", NH_WANT_LABEL, &err), -1);
    assert_non_null(strstr(err.text, "x.nc: no variable h_label"));
    nh_graph_free(a);
    nh_graph_free(b);
}

/* Reading a file leaves nothing of HDF5's behind: netCDF 4.9.0 forgets a property list in each (nc.c). */
/* Chunks that several threads make and unpack, against netCDF's: whole chunks and parts of them along every dimension,
 * floats and doubles. */
static void test_large_variables(void **state)
{
    (void)state;
    static const struct {
        size_t n, length[3], chunk[3];
        nc_type type;
    } cases[] = {{1, {70001}, {9000}, NC_DOUBLE},
                 {1, {65536}, {65536}, NC_DOUBLE},
                 {3, {4, 20011, 2}, {1, 5003, 2}, NC_FLOAT},
                 {3, {7, 300, 41}, {2, 130, 41}, NC_DOUBLE},
                 {3, {5, 130, 111}, {2, 60, 50}, NC_DOUBLE},
                 {2, {513, 129}, {64, 100}, NC_FLOAT}};
    static const char *const dims[] = {"a", "b", "c"};
    const nh_common common = common_options();
    nh_error err;
    nh_threads *threads;
    assert_int_equal(nh_threads_new(3, &threads, &err), 0);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        nh_nc *f;
        size_t count = 1;
        assert_int_equal(nh_nc_create(path_a, "test", &common, NULL, &f, &err), 0);
        for (size_t i = 0; i < cases[c].n; i++) {
            assert_int_equal(nh_nc_def_dim(f, dims[i], cases[c].length[i], &err), 0);
            count *= cases[c].length[i];
        }
        double *const values = NH_ARRAY(double, count), *const found = NH_ARRAY(double, count),
                      *const theirs = NH_ARRAY(double, count);
        float *const single = NH_ARRAY(float, count);
        for (size_t i = 0; i < count; i++)
            values[i] = cases[c].type == NC_FLOAT ? (float)sin((double)i) : sin((double)i);
        assert_int_equal(
            nh_nc_def_var(f, "x", cases[c].type, cases[c].n, dims, cases[c].chunk, NULL, NULL, &err), 0);
        nh_nc_use_threads(f, c % 2 ? threads : NULL);
        assert_int_equal(nh_nc_put_late(f, "x", values, &err), 0);
        assert_int_equal(nh_nc_commit(f, &err), 0);

        assert_int_equal(nh_nc_open(path_a, &f, &err), 0);
        nh_nc_use_threads(f, c % 2 ? NULL : threads);
        assert_int_equal(nh_nc_get_double(f, "x", cases[c].n, dims, count, found, &err), 0);
        assert_memory_equal(found, values, count * sizeof *values);
        assert_int_equal(nh_nc_get_float(f, "x", cases[c].n, dims, count, single, &err), 0);
        for (size_t i = 0; i < count; i++)
            if (single[i] != (float)values[i]) fail_msg("case %zu: number %zu", c, i);
        int id;
        assert_int_equal(nc_inq_varid(nh_nc_id(f), "x", &id), 0);
        assert_int_equal(nc_get_var_double(nh_nc_id(f), id, theirs), 0);
        assert_memory_equal(theirs, values, count * sizeof *values);
        nh_nc_close(f);
        free(values);
        free(found);
        free(theirs);
        free(single);
    }
    nh_threads_free(threads);
}

/* Large variables that are not compressed, or in other chunks, are carried compressed, the same numbers. */
static void test_carry_large(void **state)
{
    (void)state;
    enum { A = 3, B = 40001, C = 2, COUNT = A * B * C };
    static const char *const dims[] = {"a", "b", "c"};
    const size_t lengths[] = {A, B, C}, chunk[] = {A, 1000, 1};
    const nh_common common = common_options();
    nh_error err;
    nh_threads *threads;
    double *const values = NH_ARRAY(double, COUNT), *const found = NH_ARRAY(double, COUNT);
    assert_int_equal(nh_threads_new(2, &threads, &err), 0);
    for (size_t i = 0; i < COUNT; i++)
        values[i] = (float)cos((double)i);
    nh_nc *in, *out;
    int id, shuffled, deflated, storage;
    size_t parts[3];
    assert_int_equal(nh_nc_create(path_a, "test", &common, NULL, &out, &err), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(nh_nc_def_dim(out, dims[i], lengths[i], &err), 0);
    /* as other programs write: plain; another order of bytes is netCDF's */
    int dim_id[3], plain, big;
    for (int i = 0; i < 3; i++)
        assert_int_equal(nc_inq_dimid(nh_nc_id(out), dims[i], &dim_id[i]), 0);
    assert_int_equal(nc_def_var(nh_nc_id(out), "plain", NC_FLOAT, 3, dim_id, &plain), 0);
    assert_int_equal(nc_def_var(nh_nc_id(out), "big", NC_DOUBLE, 3, dim_id, &big), 0);
    assert_int_equal(nc_def_var_endian(nh_nc_id(out), big, NC_ENDIAN_BIG), 0);
    assert_int_equal(nh_nc_def_var(out, "odd", NC_DOUBLE, 3, dims, chunk, NULL, NULL, &err), 0);
    assert_int_equal(nc_put_var_double(nh_nc_id(out), plain, values), 0);
    assert_int_equal(nc_put_var_double(nh_nc_id(out), big, values), 0);
    assert_int_equal(nh_nc_put_double(out, "odd", values, &err), 0);
    assert_int_equal(nh_nc_commit(out, &err), 0);

    assert_int_equal(nh_nc_open(path_a, &in, &err), 0);
    assert_int_equal(nh_nc_create(path_b, "test", &common, in, &out, &err), 0);
    nh_nc_use_threads(out, threads);
    assert_int_equal(nh_nc_carry(out, in, NULL, &err), 0);
    assert_int_equal(nh_nc_commit(out, &err), 0);
    nh_nc_close(in);
    assert_int_equal(nh_nc_open(path_b, &in, &err), 0);
    static const char *const names[] = {"plain", "big", "odd"};
    for (int v = 0; v < 3; v++) {
        assert_int_equal(nh_nc_get_double(in, names[v], 3, dims, COUNT, found, &err), 0);
        assert_memory_equal(found, values, COUNT * sizeof *values);
        assert_int_equal(nc_inq_varid(nh_nc_id(in), names[v], &id), 0);
        assert_int_equal(nc_inq_var_deflate(nh_nc_id(in), id, &shuffled, &deflated, NULL), 0);
        assert_true(shuffled && deflated);
        assert_int_equal(nc_inq_var_chunking(nh_nc_id(in), id, &storage, parts), 0);
        assert_true(v == 2 ? memcmp(parts, chunk, sizeof parts) == 0
                           : parts[0] == 1 && parts[1] == 20001 && parts[2] == 2);
    }
    nh_nc_close(in);
    nh_threads_free(threads);
    free(values);
    free(found);
}

/* A compressed chunk with one wrong bit, and numbers that are none: errors. */
static void test_damaged_chunk(void **state)
{
    (void)state;
    enum { COUNT = 80000 };
    static const char *const dims[] = {"a"};
    const nh_common common = common_options();
    nh_error err;
    double *const values = NH_ARRAY(double, COUNT);
    for (int wrong = 0; wrong < 2; wrong++) {
        nh_nc *f;
        for (size_t i = 0; i < COUNT; i++)
            values[i] = sin((double)i);
        if (wrong == 1) values[77] = NAN;
        assert_int_equal(nh_nc_create(path_a, "test", &common, NULL, &f, &err), 0);
        assert_int_equal(nh_nc_def_dim(f, "a", COUNT, &err), 0);
        assert_int_equal(nh_nc_def_var(f, "x", NC_DOUBLE, 1, dims, (size_t[]){COUNT}, NULL, NULL, &err), 0);
        assert_int_equal(nh_nc_put_late(f, "x", values, &err), 0);
        assert_int_equal(nh_nc_commit(f, &err), 0);
        if (wrong == 0) {
            struct stat about;
            assert_int_equal(stat(path_a, &about), 0);
            FILE *const file = fopen(path_a, "r+b");
            assert_non_null(file);
            assert_int_equal(fseek(file, about.st_size / 2, SEEK_SET),
                             0); /* nearly all of the file is the chunk */
            const int byte = getc(file);
            assert_int_equal(fseek(file, about.st_size / 2, SEEK_SET), 0);
            putc(byte ^ 16, file);
            fclose(file);
        }
        assert_int_equal(nh_nc_open(path_a, &f, &err), 0);
        assert_int_equal(nh_nc_get_double(f, "x", 1, dims, COUNT, values, &err), -1);
        assert_non_null(strstr(err.text, wrong == 0 ? "x: NetCDF: HDF error" : "element 77 is nan"));
        nh_nc_close(f);
    }
    free(values);
}

static void test_nothing_left(void **state)
{
    (void)state;
    nh_error err;
    nh_graph *g;
    write_example(path_a);
    assert_int_equal(read_back(path_a, &g, &err), 0);
    nh_graph_free(g);
    const hid_t begin = H5Pcreate(H5P_FILE_CREATE); /* identifiers ascend */
    assert_int_equal(read_back(path_a, &g, &err), 0);
    nh_graph_free(g);
    const hid_t end = H5Pcreate(H5P_FILE_CREATE);
    assert_true(begin > 0 && end > begin + 10 && end < begin + 1000);
    for (hid_t id = begin + 1; id < end; id++)
        assert_true(H5Iis_valid(id) <= 0);
    H5Pclose(begin);
    H5Pclose(end);
}

/* Everything that is in one file and not yet in the other is copied: unknown variables, attributes, strings.
 */
static void test_carry(void **state)
{
    (void)state;
    nh_error err;
    nh_nc *in, *out;
    const nh_common common = common_options();
    write_example(path_a);
    int id, dim, var;
    assert_int_equal(nc_open(path_a, NC_WRITE, &id), 0);
    assert_int_equal(nc_redef(id), 0);
    assert_int_equal(nc_def_dim(id, "mine", 3, &dim), 0);
    assert_int_equal(nc_def_var(id, "note", NC_STRING, 1, &dim, &var), 0);
    assert_int_equal(nc_put_att_text(id, var, "why", 4, "test"), 0);
    const char *words[3] = {"a", "bb", ""};
    assert_int_equal(nc_put_var_string(id, var, words), 0);
    assert_int_equal(nc_close(id), 0);

    assert_int_equal(nh_nc_open(path_a, &in, &err), 0);
    assert_int_equal(nh_nc_create(path_b, "test", &common, in, &out, &err), 0);
    assert_int_equal(nh_nc_carry(out, in, (const char *const[]){"overlap", NULL}, &err), 0);
    assert_int_equal(nh_nc_commit(out, &err), 0);
    nh_nc_close(in);

    nh_graph *a, *b;
    assert_int_equal(read_back(path_a, &a, &err), 0);
    assert_int_equal(read_back(path_b, &b, &err), 0);
    assert_null(b->overlap);
    assert_memory_equal(a->matrix[NH_H0], b->matrix[NH_H0], 8 * a->pairs.n_elem * sizeof(double));
    nh_graph_free(a);
    nh_graph_free(b);
    assert_int_equal(nh_nc_open(path_b, &in, &err), 0);
    char *strings[3], *history;
    assert_int_equal(nh_nc_get_strings(in, "note", 3, strings, &err), 0);
    assert_string_equal(strings[1], "bb");
    for (int i = 0; i < 3; i++)
        free(strings[i]);
    assert_int_equal(nh_nc_att_text(in, "history", &history, &err), 0);
    assert_int_equal(strchr(history, '\n') != NULL, 1); /* two programs, two lines */
    free(history);
    nh_nc_close(in);
}

static void expect_failure(const char *words)
{
    nh_error err = {""};
    nh_graph *g;
    if (read_back(path_a, &g, &err) == 0) {
        nh_graph_free(g);
        fail_msg("a file that lies was read; expected an error about \"%s\"", words);
    }
    if (strstr(err.text, words) == NULL || strstr(err.text, path_a) == NULL)
        fail_msg("error \"%s\" does not name the file and \"%s\"", err.text, words);
}

/* Changes one element of a variable in the file. */
static void spoil(const char *variable, size_t index, double value)
{
    int id, var, n;
    write_example(path_a);
    assert_int_equal(nc_open(path_a, NC_WRITE, &id), 0);
    assert_int_equal(nc_inq_varid(id, variable, &var), 0);
    assert_int_equal(nc_inq_varndims(id, var, &n), 0);
    size_t start[4] = {index, 0, 0, 0};
    assert_int_equal(nc_put_var1_double(id, var, start, &value), 0);
    assert_int_equal(nc_close(id), 0);
}

static void test_files_that_lie(void **state)
{
    (void)state;
    spoil("h0", 1, NAN);
    expect_failure("variable h0");
    spoil("overlap", 3, INFINITY);
    expect_failure("variable overlap");
    spoil("atom_species", 1, 7);
    expect_failure("species");
    spoil("atom_species", 1, -1);
    expect_failure("species");
    spoil("species_shells", 0, 1e6);
    expect_failure("species_shells");
    spoil("species_shells", 0, 1);
    expect_failure("species_shells");
    spoil("shell_l", 0, 99);
    expect_failure("shell_l");
    spoil("shell_l", 0, 1);
    expect_failure("pair_start");
    spoil("pair_src", 0, 5);
    expect_failure("pair 0");
    spoil("pair_cell", 2, 1000000);
    expect_failure("cell index");
    spoil("pair_cell", 2, -3);
    expect_failure("out of order");
    spoil("pair_start", 1, 2e18);
    expect_failure("pair_start");
    spoil("pair_distance", 1, 77);
    expect_failure("pair_distance");
    spoil("position", 1, NAN);
    expect_failure("position");
    spoil("position", 1, 0);
    expect_failure(
        path_a); /* two atoms near each other, or distances that do not fit: an error in any case */
}

static void test_truncated(void **state)
{
    (void)state;
    struct stat info;
    for (int part = 1; part < 8; part++) {
        write_example(path_a);
        assert_int_equal(stat(path_a, &info), 0);
        assert_int_equal(truncate(path_a, info.st_size * part / 8), 0);
        expect_failure("");
    }
    assert_int_equal(truncate(path_a, 0), 0);
    expect_failure("");
}

static void test_foreign(void **state)
{
    (void)state;
    nh_error err;
    nh_nc *f;
    int id;
    assert_int_equal(nc_create(path_a, NC_NETCDF4 | NC_CLOBBER, &id), 0);
    assert_int_equal(nc_close(id), 0);
    assert_int_equal(nh_nc_open(path_a, &f, &err), -1);
    assert_non_null(strstr(err.text, "Conventions"));
    assert_int_equal(nh_nc_open("/nonexistent/x.nc", &f, &err), -1);
    assert_non_null(strstr(err.text, "No such file"));
}

/* An output that is not committed leaves nothing, and an old file under its name stays. */
static void test_abort(void **state)
{
    (void)state;
    nh_error err;
    nh_nc *f;
    const nh_common common = common_options();
    write_example(path_a);
    struct stat before, after;
    assert_int_equal(stat(path_a, &before), 0);
    assert_int_equal(nh_nc_create(path_a, "test", &common, NULL, &f, &err), 0);
    nh_nc_close(f);
    assert_int_equal(stat(path_a, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_int_equal(nh_nc_create("/nonexistent/x.nc", "test", &common, NULL, &f, &err), -1);
    assert_non_null(strstr(err.text, "/nonexistent"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),      cmocka_unit_test(test_carry),
        cmocka_unit_test(test_files_that_lie),  cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_foreign),         cmocka_unit_test(test_abort),
        cmocka_unit_test(test_large_variables), cmocka_unit_test(test_carry_large),
        cmocka_unit_test(test_damaged_chunk),   cmocka_unit_test(test_nothing_left),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
