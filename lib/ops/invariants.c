#include "ops/ops.h"
#include "ops/vector.h"

#include <math.h>
#include <string.h>

void R(nh_pairs_pack)(const nh_layout *layout, size_t hidden, const real *flat, real *w)
{
    double count = 0;
    for (size_t i = 0; i < layout->n_entry; i++)
        count += (double)layout->entry[i].mul * (double)layout->entry[i].mul;
    size_t block = 0;
    for (size_t i = 0; i < layout->n_entry; i++) {
        const nh_layout_entry *e = &layout->entry[i];
        const real scale = (real)(1 / sqrt(count * (double)e->rows));
        real *to = w;
        for (size_t g = 0; g < e->group; g++)
            to += layout->group[g].mul * (layout->group[g].mul + 1) / 2 * hidden;
        for (size_t u = 0; u < e->mul; u++)
            for (size_t v = u; v < e->mul; v++, to += hidden) {
                const real *a = flat + block + (u * e->mul + v) * hidden,
                           *b = flat + block + (v * e->mul + u) * hidden;
                for (size_t c = 0; c < hidden; c++)
                    to[c] = u == v ? scale * a[c] : scale * (a[c] + b[c]);
            }
        block += e->mul * e->mul * hidden;
    }
}

void R(nh_pairs_forward)(const nh_layout *layout, size_t n, const real *x, real *q)
{
    for (size_t t = 0; t < n; t++)
        for (size_t g = 0; g < layout->count; g++) {
            const nh_group *group = &layout->group[g];
            const size_t mul = group->mul;
            const real *a = x + n * group->offset + t * group->dim;
            for (size_t u = 0; u < mul; u++) {
                real *restrict to = q;
                for (size_t v = u; v < mul; v++)
                    to[v - u] = a[u] * a[v];
                for (size_t m = 1; m < group->rows; m++) {
                    const real *restrict row = a + m * mul;
                    for (size_t v = u; v < mul; v++)
                        to[v - u] += row[u] * row[v];
                }
                q += mul - u;
            }
        }
}

/* One row of one group with mul a multiple of NH_LANES, NH_LANES columns of y at a time in registers: the
 * matrix of the pairs' coefficients is symmetric with a doubled diagonal, square[u][v]. */
static void pairs_gradient_lanes(size_t rows, size_t mul, const real *square, const real *a, real *b)
{
    for (size_t first = 0; first < mul; first += NH_LANES)
        for (size_t m = 0; m < rows; m++) {
            R(nh_vec) sum = {0};
            for (size_t v = 0; v < mul; v++)
                sum += a[m * mul + v] * R(nh_load)(square + v * mul + first);
            R(nh_store)(b + m * mul + first, sum);
        }
}

void R(nh_pairs_gradient)(const nh_layout *layout, size_t n, const real *x, const real *g, real *y)
{
    enum { LARGEST = 64 };
    real square[LARGEST * LARGEST];
    for (size_t t = 0; t < n; t++)
        for (size_t k = 0; k < layout->count; k++) {
            const nh_group *group = &layout->group[k];
            const size_t mul = group->mul;
            const real *a = x + n * group->offset + t * group->dim;
            real *b = y + n * group->offset + t * group->dim;
            if (mul <= LARGEST && mul % NH_LANES == 0) {
                for (size_t u = 0; u < mul; u++) {
                    memcpy(square + u * mul + u, g, (mul - u) * sizeof(real));
                    for (size_t v = u; v < mul; v++)
                        square[v * mul + u] = g[v - u];
                    square[u * mul + u] = 2 * g[0];
                    g += mul - u;
                }
                pairs_gradient_lanes(group->rows, mul, square, a, b);
                continue;
            }
            memset(b, 0, group->dim * sizeof(real));
            for (size_t u = 0; u < mul; u++) {
                /* the pair (u,v) gives y_u += g x_v and y_v += g x_u; (u,u) gives both */
                for (size_t m = 0; m < group->rows; m++) {
                    const real *restrict from = a + m * mul;
                    real *restrict to = b + m * mul;
                    to[u] += R(nh_dot)(mul - u, g, from + u);
                    for (size_t v = u; v < mul; v++)
                        to[v] += g[v - u] * from[u];
                }
                g += mul - u;
            }
        }
}

void R(nh_tracegrad_add_forward)(const nh_layout *layout, size_t n, double scale, const real *y, real *x)
{
    for (size_t t = 0; t < n; t++) {
        real xx = 0, yy = 0;
        for (size_t g = 0; g < layout->count; g++) {
            const nh_group *group = &layout->group[g];
            const size_t at = n * group->offset + t * group->dim;
            xx += R(nh_dot)(group->dim, x + at, x + at);
            yy += R(nh_dot)(group->dim, y + at, y + at);
        }
        const real k = (real)scale * NH_SQRT(xx) / (NH_SQRT(yy) + (real)1e-5);
        for (size_t g = 0; g < layout->count; g++) {
            const nh_group *group = &layout->group[g];
            const real *restrict from = y + n * group->offset + t * group->dim;
            real *restrict to = x + n * group->offset + t * group->dim;
            for (size_t i = 0; i < group->dim; i++)
                to[i] += k * from[i];
        }
    }
}
