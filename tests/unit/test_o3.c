/* Harmonics, Wigner 3j tensors and rotation matrices: golden numbers and the identities they must fulfil. */
#include "o3/harmonics.h"
#include "o3/irreps.h"
#include "o3/wigner.h"

#include <netcdf.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { LMAX = NH_LMAX, DIM = 2 * LMAX + 1, N_Y = (LMAX + 1) * (LMAX + 1) };

static const double axis[3] = {2.0 / 3, -1.0 / 3, 2.0 / 3};

static int open_golden(const char *name)
{
    const char *const folder = getenv("NH_GOLDEN");
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder != NULL ? folder : "tests/golden", name);
    int file;
    if (nc_open(path, NC_NOWRITE, &file) != NC_NOERR) fail_msg("%s cannot be opened", path);
    return file;
}

static void read_variable(int file, const char *name, double *out)
{
    int id;
    assert_int_equal(nc_inq_varid(file, name, &id), NC_NOERR);
    assert_int_equal(nc_get_var_double(file, id, out), NC_NOERR);
}

static void test_wigner3j_golden(void **state)
{
    (void)state;
    enum { N = 260, SIZE = 218800 };
    double l[N][3], offset[N];
    double *const golden = malloc(SIZE * sizeof *golden);
    const int file = open_golden("wigner3j.nc");
    read_variable(file, "l", &l[0][0]);
    read_variable(file, "offset", offset);
    read_variable(file, "value", golden);
    nc_close(file);
    double worst = 0;
    for (int i = 0; i < N; i++) {
        const int a = (int)l[i][0], b = (int)l[i][1], c = (int)l[i][2];
        double mine[15 * 15 * 15];
        assert_int_equal(nh_wigner3j(a, b, c, mine, NULL), 0);
        for (int k = 0; k < (2 * a + 1) * (2 * b + 1) * (2 * c + 1); k++) {
            const double expected = golden[(int)offset[i] + k];
            worst = fmax(worst, fabs(mine[k] - expected));
            if (fabs(expected) < 1e-14 && mine[k] != 0)
                fail_msg("(%d,%d,%d)[%d] is no exact zero", a, b, c, k);
        }
    }
    free(golden);
    print_message("3j: largest difference %.2g\n", worst);
    assert_true(worst < 1e-14);
}

/* Norm 1 and orthogonality up to the largest degree, where no golden numbers exist: sum_{jk} C[i][j][k]
 * C[i'][j][k] = delta/(2 l1 + 1); and the cyclic symmetry of section 1.3. */
static void test_wigner3j_identities(void **state)
{
    (void)state;
    static const int triple[][3] = {{16, 16, 16}, {16, 15, 3}, {14, 7, 9}, {1, 15, 16}, {8, 7, 6}, {5, 0, 5}};
    double *const c = malloc(DIM * DIM * DIM * sizeof *c), *const d = malloc(DIM * DIM * DIM * sizeof *d);
    for (size_t t = 0; t < sizeof triple / sizeof *triple; t++) {
        const int n1 = 2 * triple[t][0] + 1, n2 = 2 * triple[t][1] + 1, n3 = 2 * triple[t][2] + 1;
        assert_int_equal(nh_wigner3j(triple[t][0], triple[t][1], triple[t][2], c, NULL), 0);
        assert_int_equal(nh_wigner3j(triple[t][1], triple[t][2], triple[t][0], d, NULL), 0);
        for (int i = 0; i < n1; i++)
            for (int k = 0; k < n1; k++) {
                double sum = 0;
                for (int r = 0; r < n2 * n3; r++)
                    sum += c[i * n2 * n3 + r] * c[k * n2 * n3 + r];
                assert_true(fabs(sum - (i == k ? 1.0 / n1 : 0)) < 1e-14);
            }
        for (int i = 0; i < n1; i++)
            for (int j = 0; j < n2; j++)
                for (int k = 0; k < n3; k++)
                    assert_true(fabs(c[(i * n2 + j) * n3 + k] - d[(j * n3 + k) * n1 + i]) < 1e-14);
    }
    /* outside of the triangle */
    assert_int_equal(nh_wigner3j(1, 2, 4, c, NULL), 0);
    for (int i = 0; i < 3 * 5 * 9; i++)
        assert_true(c[i] == 0);
    nh_error err;
    assert_int_equal(nh_wigner3j(1, 17, 16, c, &err), -1);
    assert_non_null(strstr(err.text, "(1,17,16)"));
    assert_int_equal(nh_wigner3j(-1, 1, 1, c, &err), -1);
    free(c);
    free(d);
}

static void test_coupling(void **state)
{
    (void)state;
    double dense[7 * 9 * 5] = {0}, expected[7 * 9 * 5];
    nh_coupling c;
    assert_int_equal(nh_coupling_new(3, 4, 2, &c, NULL), 0);
    size_t last = 0;
    for (size_t i = 0; i < c.count; i++) {
        const size_t at = ((size_t)c.i1[i] * 9 + c.i2[i]) * 5 + c.i3[i];
        assert_true(i == 0 || at > last);
        assert_true(fabs(c.value[i]) > 1e-14);
        dense[at] = c.value[i];
        last = at;
    }
    assert_int_equal(nh_wigner3j(3, 4, 2, expected, NULL), 0);
    assert_memory_equal(dense, expected, sizeof dense);
    nh_coupling_free(&c);
    /* counts of section 1.3 */
    static const int counted[][4] = {
        {0, 0, 0, 1}, {1, 1, 2, 11}, {2, 2, 2, 25}, {3, 3, 6, 79}, {4, 5, 3, 93}};
    for (size_t i = 0; i < sizeof counted / sizeof *counted; i++) {
        assert_int_equal(nh_coupling_new(counted[i][0], counted[i][1], counted[i][2], &c, NULL), 0);
        assert_int_equal(c.count, counted[i][3]);
        nh_coupling_free(&c);
    }
    assert_int_equal(nh_coupling_new(1, 1, 5, &c, NULL), 0);
    assert_int_equal(c.count, 0);
    nh_coupling_free(&c);
    assert_int_equal(nh_coupling_new(1, 99, 5, &c, NULL), -1);
    nh_coupling_free(&c);
}

static void test_harmonics_golden(void **state)
{
    (void)state;
    double v[49][3], golden[49][49], mine[49][49];
    float single[49][49];
    const int file = open_golden("spherical_harmonics.nc");
    read_variable(file, "vec", &v[0][0]);
    read_variable(file, "sh", &golden[0][0]);
    nc_close(file);
    nh_spherical_harmonics(6, 49, &v[0][0], &mine[0][0]);
    nh_spherical_harmonics_f(6, 49, &v[0][0], &single[0][0]);
    double worst = 0;
    for (int i = 0; i < 49; i++)
        for (int k = 0; k < 49; k++) {
            worst = fmax(worst, fabs(mine[i][k] - golden[i][k]));
            assert_true(single[i][k] == (float)mine[i][k]);
        }
    print_message("harmonics: largest difference %.2g\n", worst);
    assert_true(worst < 1e-13);
    for (int k = 0; k < 49; k++)
        assert_true(mine[46][k] == (k == 0 ? 1 : 0)); /* the zero vector */
}

static void test_harmonics_norm(void **state)
{
    (void)state;
    const double v[4][3] = {{0.3, -1.7, 0.9}, {0, 0, 5}, {0, 0, -1e-7}, {1e3, 0, 0}};
    double y[4][N_Y];
    nh_spherical_harmonics(LMAX, 4, &v[0][0], &y[0][0]);
    for (int i = 0; i < 4; i++)
        for (int l = 0; l <= LMAX; l++) {
            double sum = 0;
            for (int k = l * l; k < (l + 1) * (l + 1); k++)
                sum += y[i][k] * y[i][k];
            assert_true(fabs(sum / (2 * l + 1) - 1) < 1e-13);
        }
    nh_spherical_harmonics(0, 1, v[0], y[0]);
    assert_true(y[0][0] == 1);
}

static void multiply(int n, const double *a, const double *b, double *out)
{
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            out[i * n + j] = 0;
            for (int k = 0; k < n; k++)
                out[i * n + j] += a[i * n + k] * b[k * n + j];
        }
}

static void test_wigner_d(void **state)
{
    (void)state;
    double q[9], q2[9], product[9];
    nh_rotation(axis, 1.1, q);
    nh_rotation((const double[3]){0.6, 0, -0.8}, -2.3, q2);
    multiply(3, q, q2, product);
    const double v[3] = {0.3, 0.7, -1.2};
    double turned[3] = {0};
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++)
            turned[i] += q[3 * i + k] * v[k];
    double y[N_Y], y_turned[N_Y];
    nh_spherical_harmonics(LMAX, 1, v, y);
    nh_spherical_harmonics(LMAX, 1, turned, y_turned);
    double d[DIM * DIM], d2[DIM * DIM], both[DIM * DIM], expected[DIM * DIM];
    for (int l = 0; l <= LMAX; l++) {
        const int n = 2 * l + 1;
        assert_int_equal(nh_wigner_d(l, q, d, NULL), 0);
        for (int i = 0; i < n; i++) { /* Y(Q v) = D Y(v) */
            double sum = 0;
            for (int k = 0; k < n; k++)
                sum += d[i * n + k] * y[l * l + k];
            assert_true(fabs(sum - y_turned[l * l + i]) < 1e-13);
        }
        for (int i = 0; i < n; i++) /* D D^T = 1 */
            for (int j = 0; j < n; j++) {
                double sum = 0;
                for (int k = 0; k < n; k++)
                    sum += d[i * n + k] * d[j * n + k];
                assert_true(fabs(sum - (i == j)) < 1e-13);
            }
        assert_int_equal(nh_wigner_d(l, q2, d2, NULL), 0); /* D(Q) D(Q2) = D(Q Q2) */
        assert_int_equal(nh_wigner_d(l, product, both, NULL), 0);
        multiply(n, d, d2, expected);
        for (int i = 0; i < n * n; i++)
            assert_true(fabs(both[i] - expected[i]) < 1e-13);
    }
}

/* The SU(2) matrix covers the same rotation: u (v.sigma) u^+ = (Q v).sigma. */
static void test_su2(void **state)
{
    (void)state;
    double q[9], flat[8], u[2][2][2];
    nh_rotation(axis, 0.7, q);
    nh_rotation_su2(axis, 0.7, flat);
    memcpy(u, flat, sizeof u);
    for (int k = 0; k < 3; k++) {
        double s[2][2][2] = {{{0}}}, t[2][2][2] = {{{0}}};
        if (k == 0) s[0][1][0] = s[1][0][0] = 1;
        if (k == 1) s[0][1][1] = -1, s[1][0][1] = 1;
        if (k == 2) s[0][0][0] = 1, s[1][1][0] = -1;
        for (int a = 0; a < 2; a++)
            for (int b = 0; b < 2; b++)
                for (int c = 0; c < 2; c++)
                    for (int d = 0; d < 2; d++) { /* t[a][d] = u[a][b] s[b][c] conj(u[d][c]) */
                        const double re = u[a][b][0] * s[b][c][0] - u[a][b][1] * s[b][c][1];
                        const double im = u[a][b][0] * s[b][c][1] + u[a][b][1] * s[b][c][0];
                        t[a][d][0] += re * u[d][c][0] + im * u[d][c][1];
                        t[a][d][1] += im * u[d][c][0] - re * u[d][c][1];
                    }
        assert_true(fabs(t[0][1][0] - q[k]) < 1e-15);     /* x: column k of Q */
        assert_true(fabs(t[1][0][1] - q[3 + k]) < 1e-15); /* y */
        assert_true(fabs(t[0][0][0] - q[6 + k]) < 1e-15); /* z */
        assert_true(fabs(t[0][0][0] + t[1][1][0]) < 1e-15);
    }
}

static void test_not_a_rotation(void **state)
{
    (void)state;
    nh_error err;
    double d[25];
    const double mirror[9] = {1, 0, 0, 0, 1, 0, 0, 0, -1}, stretched[9] = {1, 0, 0, 0, 1.1, 0, 0, 0, 1};
    const double broken[9] = {NAN, 0, 0, 0, 1, 0, 0, 0, 1};
    assert_int_equal(nh_wigner_d(2, mirror, d, &err), -1);
    assert_non_null(strstr(err.text, "determinant -1"));
    assert_int_equal(nh_wigner_d(2, stretched, d, &err), -1);
    assert_non_null(strstr(err.text, "differs from 1"));
    assert_int_equal(nh_wigner_d(2, broken, d, &err), -1);
    double q[9];
    nh_rotation(axis, 1, q);
    assert_int_equal(nh_wigner_d(NH_LMAX + 1, q, d, &err), -1);
    assert_int_equal(nh_wigner_d(-1, q, d, &err), -1);
    assert_non_null(strstr(err.text, "degree -1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wigner3j_golden),
        cmocka_unit_test(test_wigner3j_identities),
        cmocka_unit_test(test_coupling),
        cmocka_unit_test(test_harmonics_golden),
        cmocka_unit_test(test_harmonics_norm),
        cmocka_unit_test(test_wigner_d),
        cmocka_unit_test(test_su2),
        cmocka_unit_test(test_not_a_rotation),
    };
    return cmocka_run_group_tests_name("o3", tests, NULL, NULL);
}
