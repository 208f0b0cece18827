#include "lcao/bessel.h"

#include <math.h>

enum { STEP = 32 }; /* points whose sines come from one by the addition theorem */

/* x^l/(2l+1)!! sum_k (-x^2/2)^k / (k! (2l+3)(2l+5)..(2l+2k+1)) */
static double series(int l, double x)
{
    double leading = 1;
    for (int i = 1; i <= l; i++)
        leading *= x / (2 * i + 1);
    double term = 1, sum = 1;
    for (int k = 1; k < 60 && fabs(term) > 1e-18; k++) {
        term *= -0.5 * x * x / (k * (2.0 * (l + k) + 1));
        sum += term;
    }
    return leading * sum;
}

static void sines(double q, size_t n, const double *restrict r, bool uniform, double *restrict sine,
                  double *restrict cosine)
{
    if (!uniform) {
        for (size_t i = 0; i < n; i++)
            sincos(q * r[i], &sine[i], &cosine[i]);
        return;
    }
    double s[STEP], c[STEP];
    for (size_t i = 0; i < STEP && i < n; i++)
        sincos(q * (r[i] - r[0]), &s[i], &c[i]);
    for (size_t first = 0; first < n; first += STEP) {
        const size_t m = n - first < STEP ? n - first : STEP;
        double s0, c0;
        sincos(q * r[first], &s0, &c0);
        for (size_t i = 0; i < m; i++) {
            sine[first + i] = s0 * c[i] + c0 * s[i];
            cosine[first + i] = c0 * c[i] - s0 * s[i];
        }
    }
}

void nh_spherical_bessel(int lmax, double q, size_t n, const double *r, bool uniform, double *out)
{
    /* The upward recursion loses (2l-1)!!/x^l below x = l or so: the series stands there. */
    const double least = fmax(2, 0.75 * lmax);
    size_t small = 0;
    while (small < n && q * r[small] < least)
        small++;
    for (int l = 0; l <= lmax; l++)
        for (size_t i = 0; i < small; i++)
            out[(size_t)l * n + i] = series(l, q * r[i]);
    /* In pieces, so that the cosines need no memory but the stack's. */
    enum { PIECE = 8 * STEP };
    double cosine[PIECE], inverse[PIECE];
    for (size_t first = small; first < n; first += PIECE) {
        const size_t m = n - first < PIECE ? n - first : PIECE;
        double *const j0 = out + first;
        sines(q, m, r + first, uniform, j0, cosine);
        for (size_t i = 0; i < m; i++) {
            inverse[i] = 1 / (q * r[first + i]);
            j0[i] *= inverse[i];
        }
        if (lmax == 0) continue;
        double *const j1 = out + n + first;
        for (size_t i = 0; i < m; i++)
            j1[i] = (j0[i] - cosine[i]) * inverse[i];
        for (int l = 2; l <= lmax; l++) {
            double *restrict const now = out + (size_t)l * n + first;
            const double *const before = now - n, *const earlier = before - n;
            const double factor = 2 * l - 1;
            for (size_t i = 0; i < m; i++)
                now[i] = factor * inverse[i] * before[i] - earlier[i];
        }
    }
}
