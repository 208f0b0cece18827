#include "ops/ops.h"
#include "ops/vector.h"

void R(nh_gaussians_forward)(size_t n, size_t basis, double rmax, const double *r, size_t ld, real *g)
{
    const double step = basis > 1 ? rmax / (double)(basis - 1) : 0, width = rmax / 2 / (double)basis;
    const double factor = -1 / (2 * width * width);
    for (size_t t = 0; t < n; t++)
        for (size_t k = 0; k < basis; k++) {
            /* the argument in double: in single precision r - c_k would lose five digits of the exponent */
            const double d = r[t] - step * (double)(int)k;
            g[t * ld + k] = R(nh_exp)((real)(factor * d * d));
        }
}
