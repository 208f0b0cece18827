#include "ops/ops.h"
#include "ops/vector.h"

/* Second moments of silu and sigmoid as the reference estimated them (docs/network.md 2.3): not the exact
 * integrals. */
static const double SILU = 1.6791767923989418, SIGMOID = 1.8467055342154763;

/* The components of a group times their gates, which are `width` apart. */
static void open_gates(size_t mul, size_t rows, size_t n, const real *gate, size_t width,
                       const real *restrict a, real *restrict row)
{
    for (size_t t = 0; t < n; t++, gate += width, a += rows * mul, row += rows * mul) {
        for (size_t u = 0; u < mul; u++)
            row[u] = (real)SIGMOID * R(nh_sigmoid)(gate[u]);
        /* the first component holds the factors until the others have used them */
        for (size_t m = rows; m-- > 0;)
            for (size_t u = 0; u < mul; u++)
                row[m * mul + u] = row[u] * a[m * mul + u];
    }
}

static inline __attribute__((always_inline)) void gates_back(size_t mul, size_t rows, size_t n,
                                                             const real *restrict gate, size_t width,
                                                             const real *restrict a, const real *restrict g,
                                                             real *restrict ggate, real *restrict ga)
{
    const size_t dim = rows * mul;
    for (size_t t = 0; t < n; t++, gate += width, ggate += width, a += dim, g += dim, ga += dim) {
        /* the first component holds the factors, the gates' gradient the sums over m */
        for (size_t u = 0; u < mul; u++) {
            ggate[u] = 0;
            ga[u] = (real)SIGMOID * R(nh_sigmoid)(gate[u]);
        }
        for (size_t m = rows; m-- > 0;)
            for (size_t u = 0; u < mul; u++) {
                const size_t i = m * mul + u;
                ggate[u] += g[i] * a[i];
                ga[i] = ga[u] * g[i];
            }
        for (size_t u = 0; u < mul; u++) {
            const real sigma = R(nh_sigmoid)(gate[u]);
            ggate[u] *= (real)SIGMOID * sigma * (1 - sigma);
        }
    }
}

void R(nh_gate_forward)(const nh_layout *in, const nh_layout *out, const size_t *first, size_t n,
                        const real *x, real *y)
{
    const size_t width = in->group[0].mul;
    for (size_t g = 0; g < out->count; g++) {
        const nh_group *to = &out->group[g];
        real *restrict b = y + n * to->offset;
        if (to->l == 0 && to->p > 0) {
            for (size_t t = 0; t < n; t++)
                for (size_t u = 0; u < to->mul; u++) {
                    const real a = x[t * width + u];
                    b[t * to->mul + u] = (real)SILU * a * R(nh_sigmoid)(a);
                }
            continue;
        }
        const real *gate = x + first[g], *a = x + n * in->group[g].offset;
        open_gates(to->mul, to->rows, n, gate, width, a, b);
    }
}

void R(nh_gate_backward)(const nh_layout *in, const nh_layout *out, const size_t *first, size_t n,
                         const real *gy, const real *x, real *gx)
{
    const size_t width = in->group[0].mul;
    for (size_t k = 0; k < out->count; k++) {
        const nh_group *to = &out->group[k];
        const real *g = gy + n * to->offset;
        if (to->l == 0 && to->p > 0) {
            for (size_t t = 0; t < n; t++) {
                const real *restrict a = x + t * width, *restrict gt = g + t * to->mul;
                real *restrict ga = gx + t * width;
                for (size_t u = 0; u < to->mul; u++) {
                    const real sigma = R(nh_sigmoid)(a[u]);
                    ga[u] = (real)SILU * sigma * (1 + a[u] * (1 - sigma)) * gt[u];
                }
            }
            continue;
        }
        const size_t gates = first[k], at = n * in->group[k].offset;
        NH_WITH_WIDTH(to->mul, mul,
                      gates_back(mul, to->rows, n, x + gates, width, x + at, g, gx + gates, gx + at));
    }
}
