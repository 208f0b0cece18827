#include "ops/ops.h"
#include "ops/vector.h"

/* Second moments of silu and sigmoid as the reference estimated them (network.md 2.3): not the exact
 * integrals. */
static const double SILU = 1.6791767923989418, SIGMOID = 1.8467055342154763;

void R(nh_gate_forward)(const nh_layout *in, const nh_layout *out, const size_t *first, size_t n,
                        const real *x, real *y)
{
    const size_t width = in->group[0].mul;
    for (size_t g = 0; g < out->count; g++) {
        const nh_group *to = &out->group[g];
        const real *gate = x + first[g];
        real *restrict b = y + n * to->offset;
        if (to->l == 0 && to->p > 0) {
            for (size_t t = 0; t < n; t++)
                for (size_t u = 0; u < to->mul; u++) {
                    const real a = x[t * width + u];
                    b[t * to->mul + u] = (real)SILU * a * R(nh_sigmoid)(a);
                }
            continue;
        }
        const real *restrict a = x + n * in->group[g].offset;
        for (size_t t = 0; t < n; t++) {
            real *restrict row = b + t * to->dim;
            for (size_t u = 0; u < to->mul; u++)
                row[u] = (real)SIGMOID * R(nh_sigmoid)(gate[t * width + u]);
            /* the first component holds the factors until the others have used them */
            for (size_t m = to->rows; m-- > 0;)
                for (size_t u = 0; u < to->mul; u++)
                    row[m * to->mul + u] = row[u] * a[t * to->dim + m * to->mul + u];
        }
    }
}
