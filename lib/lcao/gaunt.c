#include "lcao/gaunt.h"

#include "base/complex.h"
#include "base/memory.h"
#include "o3/harmonics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    POLAR = 16, /* Gauss-Legendre points: exact up to degree 31 */
    AZIMUTH = 32,
    POINTS = POLAR * AZIMUTH
};

static const double negligible = 1e-12;

static size_t list(const nh_gaunt *g, int l1, int l2, int step)
{
    const int steps = (g->lmax1 < g->lmax2 ? g->lmax1 : g->lmax2) + 1;
    return (size_t)((l1 * (g->lmax2 + 1) + l2) * steps + step);
}

/* Nodes and weights on [-1, 1]. */
static void gauss_legendre(double x[POLAR], double w[POLAR])
{
    for (int i = 0; i < POLAR; i++) {
        double z = cos(M_PI * (i + 0.75) / (POLAR + 0.5)), slope = 1;
        for (int step = 0; step < 20; step++) {
            double p = z, before = 1;
            for (int n = 2; n <= POLAR; n++) {
                const double next = ((2 * n - 1) * z * p - (n - 1) * before) / n;
                before = p;
                p = next;
            }
            slope = POLAR * (z * p - before) / (z * z - 1);
            z -= p / slope;
        }
        x[i] = z;
        w[i] = 2 / ((1 - z * z) * slope * slope);
    }
}

/* Orthonormal harmonics at the points of the sphere, [count][POINTS]; weight[POINTS]. */
static int sphere(int lmax, double **y, double *weight, nh_error *err)
{
    const size_t count = (size_t)((lmax + 1) * (lmax + 1));
    double x[POLAR], w[POLAR];
    gauss_legendre(x, w);
    double *const v = NH_ARRAY(double, 3 * POINTS), *const at = NH_ARRAY(double, POINTS *count);
    *y = NH_ARRAY(double, POINTS *count);
    if (v == NULL || at == NULL || *y == NULL) {
        free(v);
        free(at);
        return nh_fail_memory(err, "harmonics");
    }
    for (size_t i = 0; i < POINTS; i++) {
        const double z = x[i / AZIMUTH], s = sqrt(1 - z * z),
                     angle = 2 * M_PI * (double)(i % AZIMUTH) / AZIMUTH;
        v[3 * i] = s * cos(angle);
        v[3 * i + 1] = s * sin(angle);
        v[3 * i + 2] = z;
        weight[i] = w[i / AZIMUTH] * 2 * M_PI / AZIMUTH;
    }
    nh_spherical_harmonics(lmax, POINTS, v, at);
    const double scale = 1 / sqrt(4 * M_PI); /* from the component normalisation */
    for (size_t i = 0; i < POINTS; i++)
        for (size_t k = 0; k < count; k++)
            (*y)[k * POINTS + i] = scale * at[i * count + k];
    free(v);
    free(at);
    return 0;
}

int nh_gaunt_new(int lmax1, int lmax2, nh_gaunt *out, nh_error *err)
{
    *out = (nh_gaunt){.lmax1 = lmax1, .lmax2 = lmax2};
    if (lmax1 < 0 || lmax2 < 0 || lmax1 + lmax2 > 15)
        return nh_fail(err, "harmonics of degrees %d and %d are too many", lmax1, lmax2);
    const int least = lmax1 < lmax2 ? lmax1 : lmax2;
    size_t most = 0;
    for (int l1 = 0; l1 <= lmax1; l1++)
        for (int l2 = 0; l2 <= lmax2; l2++)
            for (int L = abs(l1 - l2); L <= l1 + l2; L += 2)
                most += (size_t)((2 * l1 + 1) * (2 * l2 + 1) * (2 * L + 1));
    double *y = NULL, weight[POINTS];
    out->start = NH_ARRAY(size_t, list(out, lmax1, lmax2, least) + 2);
    out->term = NH_ARRAY(nh_gaunt_term, most);
    if (out->start == NULL || out->term == NULL || sphere(lmax1 + lmax2, &y, weight, err)) {
        free(y);
        nh_gaunt_free(out);
        return nh_fail_memory(err, "Gaunt coefficients");
    }
    size_t n = 0;
    for (int l1 = 0; l1 <= lmax1; l1++)
        for (int l2 = 0; l2 <= lmax2; l2++)
            for (int step = 0; step <= least; step++) {
                const int L = abs(l1 - l2) + 2 * step;
                for (int m1 = 0; L <= l1 + l2 && m1 <= 2 * l1; m1++)
                    for (int m2 = 0; m2 <= 2 * l2; m2++) {
                        const double *const a = y + (size_t)(l1 * l1 + m1) * POINTS;
                        const double *const b = y + (size_t)(l2 * l2 + m2) * POINTS;
                        double product[POINTS];
                        for (size_t i = 0; i < POINTS; i++)
                            product[i] = weight[i] * a[i] * b[i];
                        for (int m = 0; m <= 2 * L; m++) {
                            const double *const c = y + (size_t)(L * L + m) * POINTS;
                            double sum = 0;
                            for (size_t i = 0; i < POINTS; i++)
                                sum += product[i] * c[i];
                            if (fabs(sum) > negligible) out->term[n++] = (nh_gaunt_term){m1, m2, m, sum};
                        }
                    }
                out->start[list(out, l1, l2, step) + 1] = n;
            }
    free(y);
    return 0;
}

void nh_gaunt_free(nh_gaunt *g)
{
    if (g == NULL) return;
    free(g->start);
    free(g->term);
    *g = (nh_gaunt){0};
}

size_t nh_gaunt_terms(const nh_gaunt *g, int l1, int l2, int step, const nh_gaunt_term **term)
{
    const size_t i = list(g, l1, l2, step);
    *term = g->term + g->start[i];
    return g->start[i + 1] - g->start[i];
}

/* real_m = sum_mu c[m][mu] Y_l^mu with Condon-Shortley's Y (docs/h0.md 5). */
static void to_complex(int l, double complex *c)
{
    const int n = 2 * l + 1;
    memset(c, 0, (size_t)(n * n) * sizeof *c);
    const double half = sqrt(0.5);
    c[l * n + l] = 1;
    for (int m = 1; m <= l; m++) {
        const double sign = m % 2 == 0 ? 1 : -1;
        c[(l + m) * n + l - m] = half;
        c[(l + m) * n + l + m] = sign * half;
        c[(l - m) * n + l - m] = I * half;
        c[(l - m) * n + l + m] = -I * sign * half;
    }
}

void nh_angular_momentum(int l, double *a)
{
    enum { MOST = 33 };
    const int n = 2 * l + 1;
    double complex c[MOST * MOST], lp[MOST * MOST];
    if (n > MOST) return;
    to_complex(l, c);
    for (int axis = 0; axis < 3; axis++) {
        /* L_x = (L+ + L-)/2, L_y = (L+ - L-)/2i, L_z in the complex basis */
        memset(lp, 0, sizeof lp);
        for (int mu = -l; mu <= l; mu++) {
            const int at = mu + l;
            if (axis == 2) lp[at * n + at] = mu;
            if (axis == 2 || mu == l) continue;
            const double up = sqrt((double)(l * (l + 1) - mu * (mu + 1))); /* <mu+1|L+|mu> */
            lp[(at + 1) * n + at] = axis == 0 ? 0.5 * up : -0.5 * I * up;
            lp[at * n + at + 1] = axis == 0 ? 0.5 * up : 0.5 * I * up;
        }
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++) {
                double complex sum = 0;
                for (int p = 0; p < n; p++)
                    for (int q = 0; q < n; q++)
                        sum += conj(c[i * n + p]) * lp[p * n + q] * c[j * n + q];
                a[(axis * n + i) * n + j] = cimag(sum);
            }
    }
}
