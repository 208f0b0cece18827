/* golden.h - arrays of the golden netCDF files, for the unit tests. */
#ifndef NH_TESTS_GOLDEN_H
#define NH_TESTS_GOLDEN_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <netcdf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Path of a golden file; NULL where it is neither in $NH_GOLDEN (tests/golden) nor in ../shared/golden. */
static inline const char *golden_path(const char *name, char path[512])
{
    const char *folder = getenv("NH_GOLDEN");
    snprintf(path, 512, "%s/%s", folder != NULL ? folder : "tests/golden", name);
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        snprintf(path, 512, "../shared/golden/%s", name);
        f = fopen(path, "rb");
    }
    if (f == NULL) return NULL;
    fclose(f);
    return path;
}

static inline int golden_open(const char *name)
{
    char path[512];
    int nc = -1;
    const char *found = golden_path(name, path);
    if (found == NULL) fail_msg("%s not found", name);
    assert_int_equal(nc_open(found, NC_NOWRITE, &nc), NC_NOERR);
    return nc;
}

static inline bool golden_has(int nc, const char *name)
{
    int id;
    return nc_inq_varid(nc, name, &id) == NC_NOERR;
}

/* Number of elements of a variable; rows: its first dimension (1 for a scalar). */
static inline size_t golden_count(int nc, const char *name, size_t *rows)
{
    int id, n_dim, dim[NC_MAX_VAR_DIMS];
    if (nc_inq_varid(nc, name, &id) != NC_NOERR) fail_msg("no variable %s", name);
    assert_int_equal(nc_inq_varndims(nc, id, &n_dim), NC_NOERR);
    assert_int_equal(nc_inq_vardimid(nc, id, dim), NC_NOERR);
    size_t count = 1;
    if (rows != NULL) *rows = 1;
    for (int i = 0; i < n_dim; i++) {
        size_t length;
        assert_int_equal(nc_inq_dimlen(nc, dim[i], &length), NC_NOERR);
        count *= length;
        if (i == 0 && rows != NULL) *rows = length;
    }
    return count;
}

/* All elements; the caller frees. */
static inline double *golden_read(int nc, const char *name)
{
    int id;
    double *x = malloc((golden_count(nc, name, NULL) + 1) * sizeof *x);
    assert_non_null(x);
    assert_int_equal(nc_inq_varid(nc, name, &id), NC_NOERR);
    assert_int_equal(nc_get_var_double(nc, id, x), NC_NOERR);
    return x;
}

static inline int *golden_ints(int nc, const char *name)
{
    int id;
    int *x = malloc((golden_count(nc, name, NULL) + 1) * sizeof *x);
    assert_non_null(x);
    assert_int_equal(nc_inq_varid(nc, name, &id), NC_NOERR);
    assert_int_equal(nc_get_var_int(nc, id, x), NC_NOERR);
    return x;
}

/* Global text attribute; the caller frees. */
static inline char *golden_text(int nc, const char *name)
{
    size_t n = 0;
    assert_int_equal(nc_inq_attlen(nc, NC_GLOBAL, name, &n), NC_NOERR);
    char *text = calloc(n + 1, 1);
    assert_non_null(text);
    assert_int_equal(nc_get_att_text(nc, NC_GLOBAL, name, text), NC_NOERR);
    return text;
}

/* Largest |a - b| over the largest |b|; the largest |a| where b vanishes; infinite where a has a NaN. */
static inline double relative_error(size_t n, const double *a, const double *b)
{
    double difference = 0, scale = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = fabs(a[i] - b[i]);
        if (!(d <= difference)) difference = isnan(d) ? INFINITY : d;
        if (fabs(b[i]) > scale) scale = fabs(b[i]);
    }
    return scale > 0 ? difference / scale : difference;
}

#define assert_close(n, a, b, tolerance, what)                                                               \
    do {                                                                                                     \
        const double error_ = relative_error((n), (a), (b));                                                 \
        if (getenv("NH_VERBOSE") != NULL)                                                                    \
            fprintf(stderr, "%-28s %.2e (%.0e allowed)\n", (what), error_, (double)(tolerance));             \
        if (!(error_ <= (tolerance)))                                                                        \
            fail_msg("%s: relative error %.3e, %.1e allowed", (what), error_, (double)(tolerance));          \
    } while (0)

#endif
