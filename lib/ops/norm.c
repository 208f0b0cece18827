#include "ops/ops.h"
#include "ops/vector.h"

#include <math.h>

void R(nh_norm_forward)(const nh_layout *layout, size_t n, const real *x, const real *gain, const real *shift,
                        real *y)
{
    const real eps = (real)1e-5;
    for (size_t g = 0; g < layout->count; g++) {
        const nh_group *group = &layout->group[g];
        const bool scalar = group->l == 0 && group->p > 0;
        const size_t mul = group->mul, dim = group->dim;
        const real *w = gain + group->channel;
        for (size_t t = 0; t < n; t++) {
            const real *restrict from = x + n * group->offset + t * dim;
            real *to = y + n * group->offset + t * dim;
            const real mean = scalar ? R(nh_sum)(dim, from) / (real)dim : 0;
            for (size_t i = 0; i < dim; i++)
                to[i] = from[i] - mean;
            const real scale = 1 / NH_SQRT(R(nh_dot)(dim, to, to) / (real)dim + eps);
            for (size_t m = 0; m < group->rows; m++)
                for (size_t u = 0; u < mul; u++)
                    to[m * mul + u] *= scale * w[u];
            for (size_t u = 0; scalar && u < mul; u++)
                to[u] += shift[u];
        }
    }
}
