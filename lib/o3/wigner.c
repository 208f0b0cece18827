#include "o3/wigner.h"

#include "base/memory.h"
#include "o3/irreps.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { DIM_MAX = 2 * NH_LMAX + 1, BINOMIAL_MAX = 3 * NH_LMAX + 1 };

/* Pascal's triangle; the largest number, C(49,24) = 6.3e13, is exact in a double too. */
typedef struct binomials {
    int64_t c[BINOMIAL_MAX + 1][BINOMIAL_MAX + 1];
} binomials;

static void binomials_fill(binomials *b)
{
    memset(b, 0, sizeof *b);
    for (int n = 0; n <= BINOMIAL_MAX; n++) {
        b->c[n][0] = 1;
        for (int k = 1; k <= n; k++)
            b->c[n][k] = b->c[n - 1][k - 1] + b->c[n - 1][k];
    }
}

static int64_t choose(const binomials *b, int n, int k)
{
    return k < 0 || k > n ? 0 : b->c[n][k];
}

/* <l1 m1 l2 m2 | l3 m1+m2>, Condon-Shortley. Racah's sum as a sum of products of three binomials: every
 * product is below 2^(l1+l2+l3) <= 2^48, so the sum, where the cancellation is, is exact in 64 bit integers.
 */
static double clebsch_gordan(const binomials *b, int l1, int m1, int l2, int m2, int l3)
{
    const int m3 = m1 + m2;
    const int u = l1 + l2 - l3, v = l1 - l2 + l3, w = -l1 + l2 + l3;
    int64_t sum = 0;
    for (int k = 0; k <= u; k++) {
        const int64_t term = choose(b, u, k) * choose(b, v, l1 - m1 - k) * choose(b, w, l2 + m2 - k);
        sum += k % 2 == 0 ? term : -term;
    }
    const double top = (double)choose(b, 2 * l1, u) * (double)choose(b, 2 * l2, u);
    const double bottom = (double)choose(b, l1 + l2 + l3 + 1, u) * (double)choose(b, 2 * l3, l3 - m3) *
                          ((double)choose(b, 2 * l1, l1 - m1) * (double)choose(b, 2 * l2, l2 - m2));
    return (double)sum * sqrt(top / bottom);
}

/* The two real components that the complex component m contains (Q_l of section 1.3): columns l+|m| and
 * l-|m|, each with a power of i as phase, times 1/sqrt(2) unless m = 0. */
typedef struct real_part {
    int count;
    int column[2];
    int phase[2]; /* exponent of i */
    bool root;    /* factor 1/sqrt(2) */
} real_part;

static real_part real_parts(int l, int m)
{
    const int turn = 3 * l; /* (-i)^l */
    if (m == 0) return (real_part){.count = 1, .column = {l, 0}, .phase = {turn, 0}, .root = false};
    const int a = m < 0 ? -m : m;
    const int sign = m > 0 && m % 2 != 0 ? 2 : 0;
    return (real_part){.count = 2,
                       .column = {l + a, l - a},
                       .phase = {turn + sign, turn + sign + (m < 0 ? 3 : 1)},
                       .root = true};
}

static int check_degrees(int l1, int l2, int l3, nh_error *err)
{
    const int l[3] = {l1, l2, l3};
    for (int i = 0; i < 3; i++)
        if (l[i] < 0 || l[i] > NH_LMAX)
            return nh_fail(err, "Wigner 3j (%d,%d,%d): degrees must be within 0..%d", l1, l2, l3, NH_LMAX);
    return 0;
}

int nh_wigner3j(int l1, int l2, int l3, double *out, nh_error *err)
{
    if (check_degrees(l1, l2, l3, err) != 0) return -1;
    const int n1 = 2 * l1 + 1, n2 = 2 * l2 + 1, n3 = 2 * l3 + 1;
    memset(out, 0, (size_t)n1 * (size_t)n2 * (size_t)n3 * sizeof *out);
    if (l3 < abs(l1 - l2) || l3 > l1 + l2) return 0;
    binomials b;
    binomials_fill(&b);
    for (int m1 = -l1; m1 <= l1; m1++) {
        for (int m2 = -l2; m2 <= l2; m2++) {
            const int m3 = m1 + m2;
            if (m3 < -l3 || m3 > l3) continue;
            const real_part p1 = real_parts(l1, m1), p2 = real_parts(l2, m2), p3 = real_parts(l3, m3);
            /* The sum of all squares of the coefficients is 2 l3 + 1. Terms of one element differ in sign
             * only, so that what cancels, cancels to an exact zero. */
            const int roots = p1.root + p2.root + p3.root;
            const double value =
                clebsch_gordan(&b, l1, m1, l2, m2, l3) / sqrt((double)(2 * l3 + 1) * (double)(1 << roots));
            for (int i = 0; i < p1.count; i++)
                for (int j = 0; j < p2.count; j++)
                    for (int k = 0; k < p3.count; k++) {
                        const int phase =
                            (p1.phase[i] + p2.phase[j] + 3 * p3.phase[k]) % 4; /* conj(i^n) = i^(3n) */
                        if (phase % 2 != 0) continue;                          /* imaginary parts cancel */
                        double *const c = &out[(p1.column[i] * n2 + p2.column[j]) * n3 + p3.column[k]];
                        *c += phase == 0 ? value : -value;
                    }
        }
    }
    return 0;
}

int nh_coupling_new(int l1, int l2, int l3, nh_coupling *out, nh_error *err)
{
    *out = (nh_coupling){.l1 = l1, .l2 = l2, .l3 = l3};
    if (check_degrees(l1, l2, l3, err) != 0) return -1;
    const size_t n1 = (size_t)(2 * l1 + 1), n2 = (size_t)(2 * l2 + 1), n3 = (size_t)(2 * l3 + 1);
    double *const dense = NH_ARRAY(double, n1 *n2 *n3);
    if (dense == NULL) return nh_fail_memory(err, "Wigner 3j");
    if (nh_wigner3j(l1, l2, l3, dense, err) != 0) goto fail;
    const double threshold = 1e-14;
    size_t count = 0;
    for (size_t i = 0; i < n1 * n2 * n3; i++)
        if (fabs(dense[i]) > threshold) count++;
    out->i1 = NH_ARRAY(unsigned char, count);
    out->i2 = NH_ARRAY(unsigned char, count);
    out->i3 = NH_ARRAY(unsigned char, count);
    out->value = NH_ARRAY(double, count);
    if (out->i1 == NULL || out->i2 == NULL || out->i3 == NULL || out->value == NULL) {
        nh_fail_memory(err, "Wigner 3j");
        goto fail;
    }
    for (size_t i = 0; i < n1 * n2 * n3; i++) {
        if (fabs(dense[i]) <= threshold) continue;
        out->i1[out->count] = (unsigned char)(i / (n2 * n3));
        out->i2[out->count] = (unsigned char)(i / n3 % n2);
        out->i3[out->count] = (unsigned char)(i % n3);
        out->value[out->count++] = dense[i];
    }
    free(dense);
    return 0;
fail:
    free(dense);
    nh_coupling_free(out);
    return -1;
}

void nh_coupling_free(nh_coupling *c)
{
    if (c == NULL) return;
    free(c->i1);
    free(c->i2);
    free(c->i3);
    free(c->value);
    *c = (nh_coupling){0};
}

static int check_rotation(const double q[9], nh_error *err)
{
    double worst = 0;
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            double dot = i == j ? -1 : 0;
            for (int k = 0; k < 3; k++)
                dot += q[3 * i + k] * q[3 * j + k];
            worst = isfinite(dot) ? fmax(worst, fabs(dot)) : INFINITY;
        }
    if (!(worst < 1e-6)) return nh_fail(err, "rotation matrix: Q Q^T differs from 1 by %.3g", worst);
    const double det = q[0] * (q[4] * q[8] - q[5] * q[7]) - q[1] * (q[3] * q[8] - q[5] * q[6]) +
                       q[2] * (q[3] * q[7] - q[4] * q[6]);
    if (det < 0) return nh_fail(err, "rotation matrix: determinant -1, a proper rotation expected");
    return 0;
}

int nh_wigner_d(int l, const double q[9], double *out, nh_error *err)
{
    if (l < 0 || l > NH_LMAX)
        return nh_fail(err, "Wigner D matrix: degree %d is not within 0..%d", l, NH_LMAX);
    if (check_rotation(q, err) != 0) return -1;
    if (l == 0) {
        out[0] = 1;
        return 0;
    }
    static const int axis[3] = {1, 2, 0}; /* m = -1, 0, 1 are y, z, x */
    double first[3][3];
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            first[i][j] = q[3 * axis[i] + axis[j]];
    double lower[DIM_MAX * DIM_MAX];
    memcpy(out, first, sizeof first);
    for (int k = 2; k <= l; k++) {
        const size_t n = (size_t)(2 * k + 1), n_lower = n - 2;
        memcpy(lower, out, n_lower * n_lower * sizeof *lower);
        memset(out, 0, n * n * sizeof *out);
        nh_coupling c;
        if (nh_coupling_new(1, k - 1, k, &c, err) != 0) return -1;
        for (size_t a = 0; a < c.count; a++)
            for (size_t b = 0; b < c.count; b++)
                out[c.i3[a] * n + c.i3[b]] += (double)n * c.value[a] * c.value[b] * first[c.i1[a]][c.i1[b]] *
                                              lower[c.i2[a] * n_lower + c.i2[b]];
        nh_coupling_free(&c);
    }
    return 0;
}

void nh_rotation(const double n[3], double angle, double q[9])
{
    const double c = cos(angle), s = sin(angle);
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            q[3 * i + j] = (i == j ? c : 0) + (1 - c) * n[i] * n[j];
    q[1] -= s * n[2], q[2] += s * n[1];
    q[3] += s * n[2], q[5] -= s * n[0];
    q[6] -= s * n[1], q[7] += s * n[0];
}

void nh_rotation_su2(const double n[3], double angle, double u[8])
{
    const double c = cos(angle / 2), s = sin(angle / 2);
    const double matrix[8] = {c, -s * n[2], -s * n[1], -s * n[0], s * n[1], -s * n[0], c, s * n[2]};
    memcpy(u, matrix, sizeof matrix);
}
