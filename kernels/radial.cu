#include "kernels/gpu.h"
#include "kernels/ops.h"

static __global__ void gaussians_kernel(size_t n, unsigned basis, double step, double factor, const double *r,
                                        size_t ld, real *out)
{
    NHK_FOR(i, n * basis)
    {
        const size_t t = i / basis, k = i % basis;
        const double d =
            r[t] - step * (double)k; /* in double: r - c_k would lose five digits of the exponent */
        out[t * ld + k] = nhk_exp((real)(factor * d * d));
    }
}

void R(nhk_gaussians_forward)(nh_gpu *g, size_t n, size_t basis, double rmax, const double *r, size_t ld,
                              real *out)
{
    const double step = basis > 1 ? rmax / (double)(basis - 1) : 0, width = rmax / 2 / (double)basis;
    if (!nhk_ready(g, n * basis)) return;
    NHK_RUN(g, gaussians_kernel, nhk_grid(g, n * basis, NHK_BLOCK), NHK_BLOCK, 0, n, (unsigned)basis, step,
            -1 / (2 * width * width), r, ld, out);
}

/* The recursion of o3/harmonics.c: its coefficients, by value. */
enum { LARGEST = 8 };
typedef struct recursion {
    double diagonal[LARGEST + 1], up[LARGEST + 1][LARGEST + 1], down[LARGEST + 1][LARGEST + 1];
} recursion;

static __global__ void harmonics_kernel(int lmax, recursion r, size_t n, const double *v, real *y)
{
    NHK_FOR(t, n)
    {
        const double x0 = v[3 * t], y0 = v[3 * t + 1], z0 = v[3 * t + 2],
                     length = sqrt(x0 * x0 + y0 * y0 + z0 * z0),
                     scale = 1 / (length > 1e-12 ? length : 1e-12), nx = x0 * scale, ny = y0 * scale,
                     nz = z0 * scale, square = nx * nx + ny * ny + nz * nz;
        double cosine = 1, sine = 0;
        for (int m = 0; m <= lmax; m++) {
            double last = 0, now = r.diagonal[m];
            for (int l = m;; l++) {
                real *const middle = y + t * (lmax + 1) * (lmax + 1) + l * l + l;
                middle[-m] = (real)(now * sine);
                middle[m] = (real)(now * cosine);
                if (l == lmax) break;
                const double next = r.up[l + 1][m] * (nz * now - r.down[l + 1][m] * square * last);
                last = now;
                now = next;
            }
            const double c = nx * cosine - ny * sine;
            sine = nx * sine + ny * cosine;
            cosine = c;
        }
    }
}

void R(nhk_harmonics_forward)(nh_gpu *g, int lmax, size_t n, const double *v, real *y)
{
    recursion r = {};
    if (lmax > LARGEST) nhk_fail(g, "CUDA: harmonics of degree %d, at most %d", lmax, (int)LARGEST);
    if (!nhk_ready(g, n)) return;
    r.diagonal[0] = 1;
    for (int m = 1; m <= lmax; m++)
        r.diagonal[m] = r.diagonal[m - 1] * (m == 1 ? sqrt(3.0) : sqrt((2 * m + 1) / (2.0 * m)));
    for (int l = 1; l <= lmax; l++)
        for (int m = 0; m < l; m++) {
            const double before = (l - 1) * (l - 1);
            r.up[l][m] = sqrt((4.0 * l * l - 1) / (double)(l * l - m * m));
            r.down[l][m] = m == l - 1 ? 0 : sqrt((before - m * m) / (4 * before - 1));
        }
    NHK_RUN(g, harmonics_kernel, nhk_grid(g, n, NHK_BLOCK), NHK_BLOCK, 0, lmax, r, n, v, y);
}
