#include "o3/harmonics.h"

#include "o3/irreps.h"

#include <assert.h>
#include <math.h>

enum { COUNT_MAX = (NH_LMAX + 1) * (NH_LMAX + 1) };

/* Coefficients of the recursion over l at fixed m of N_lm(z) = sqrt2 K_lm P_l^m / sin^m (without the sqrt2
 * for m = 0), N_lm = up[l][m] ( z N_{l-1,m} - down[l][m] |n|^2 N_{l-2,m} ),     N_mm = diagonal[m], a
 * homogeneous polynomial of n: the zero vector gives zeros without a special case. */
typedef struct recursion {
    double diagonal[NH_LMAX + 1];
    double up[NH_LMAX + 1][NH_LMAX + 1], down[NH_LMAX + 1][NH_LMAX + 1];
} recursion;

static void recursion_fill(int lmax, recursion *r)
{
    r->diagonal[0] = 1;
    for (int m = 1; m <= lmax; m++)
        r->diagonal[m] = r->diagonal[m - 1] * (m == 1 ? sqrt(3) : sqrt((2 * m + 1) / (2.0 * m)));
    for (int l = 1; l <= lmax; l++)
        for (int m = 0; m < l; m++) {
            const double before = (l - 1) * (l - 1);
            r->up[l][m] = sqrt((4.0 * l * l - 1) / (double)(l * l - m * m));
            r->down[l][m] = m == l - 1 ? 0 : sqrt((before - m * m) / (4 * before - 1));
        }
}

static void harmonics(int lmax, const recursion *r, const double v[3], double *y)
{
    const double length = sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
    const double scale = 1 / fmax(length, 1e-12);
    const double nx = v[0] * scale, ny = v[1] * scale, nz = v[2] * scale;
    const double square = nx * nx + ny * ny + nz * nz;
    double cosine = 1,
           sine = 0; /* sin^m t cos(m f), sin^m t sin(m f) = real and imaginary part of (nx + i ny)^m */
    for (int m = 0; m <= lmax; m++) {
        double last = 0, now = r->diagonal[m];
        for (int l = m;; l++) {
            double *const middle = &y[l * l + l];
            middle[-m] = now * sine;
            middle[m] = now * cosine; /* m = 0: after the sine, which is 0 there */
            if (l == lmax) break;
            const double next = r->up[l + 1][m] * (nz * now - r->down[l + 1][m] * square * last);
            last = now;
            now = next;
        }
        const double c = nx * cosine - ny * sine;
        sine = nx * sine + ny * cosine;
        cosine = c;
    }
}

void nh_spherical_harmonics(int lmax, size_t n, const double *v, double *out)
{
    assert(lmax >= 0 && lmax <= NH_LMAX);
    recursion r;
    recursion_fill(lmax, &r);
    const size_t count = (size_t)((lmax + 1) * (lmax + 1));
    for (size_t i = 0; i < n; i++)
        harmonics(lmax, &r, &v[3 * i], &out[count * i]);
}

void nh_spherical_harmonics_f(int lmax, size_t n, const double *v, float *out)
{
    assert(lmax >= 0 && lmax <= NH_LMAX);
    recursion r;
    recursion_fill(lmax, &r);
    const size_t count = (size_t)((lmax + 1) * (lmax + 1));
    double y[COUNT_MAX];
    for (size_t i = 0; i < n; i++) {
        harmonics(lmax, &r, &v[3 * i], y);
        for (size_t k = 0; k < count; k++)
            out[count * i + k] = (float)y[k];
    }
}
