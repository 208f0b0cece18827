#include "ops/ops.h"
#include "ops/vector.h"

#include <string.h>

void R(nh_heads_forward)(const nh_layout *layout, size_t heads, size_t n, size_t n_row, const size_t *row,
                         const real *a, const real *v, real *y)
{
    for (size_t g = 0; g < layout->count; g++) {
        const nh_group *group = &layout->group[g];
        const size_t mu = group->mul / heads;
        for (size_t i = 0; i < n_row; i++) {
            const real *restrict from = v + n * group->offset + row[i] * group->dim;
            real *restrict to = y + n_row * group->offset + i * group->dim;
            for (size_t m = 0; m < group->rows; m++)
                for (size_t h = 0; h < heads; h++) {
                    const real w = a[row[i] * heads + h];
                    for (size_t u = 0; u < mu; u++)
                        *to++ = w * *from++;
                }
        }
    }
}

void R(nh_softmax_partial_forward)(const nh_layout *layout, size_t heads, size_t n, size_t first,
                                   size_t count, const real *a, const real *copies, const real *v, real *max,
                                   real *sum, real *value)
{
    for (size_t h = 0; h < heads; h++) {
        max[h] = a[first * heads + h];
        sum[h] = 0;
        for (size_t t = first; t < first + count; t++)
            if (a[t * heads + h] > max[h]) max[h] = a[t * heads + h];
    }
    memset(value, 0, layout->dim * sizeof(real));
    for (size_t t = first; t < first + count; t++)
        for (size_t h = 0; h < heads; h++) {
            const real w = copies[t] * R(nh_exp)(a[t * heads + h] - max[h]);
            sum[h] += w;
            for (size_t g = 0; g < layout->count; g++) {
                const nh_group *group = &layout->group[g];
                const size_t mu = group->mul / heads;
                const real *restrict from = v + n * group->offset + t * group->dim + h * mu;
                real *restrict to = value + group->offset + h * mu;
                for (size_t m = 0; m < group->rows; m++)
                    for (size_t u = 0; u < mu; u++)
                        to[m * group->mul + u] += w * from[m * group->mul + u];
            }
        }
}

void R(nh_softmax_merge_forward)(const nh_layout *layout, size_t heads, size_t count, const real *max,
                                 const real *sum, const real *value, real *y)
{
    memset(y, 0, layout->dim * sizeof(real));
    for (size_t h = 0; h < heads && count > 0; h++) {
        real top = max[h], total = 0;
        for (size_t i = 1; i < count; i++)
            if (max[i * heads + h] > top) top = max[i * heads + h];
        for (size_t i = 0; i < count; i++)
            total += sum[i * heads + h] * R(nh_exp)(max[i * heads + h] - top);
        total += (real)1e-16;
        for (size_t i = 0; i < count; i++) {
            const real w = R(nh_exp)(max[i * heads + h] - top) / total;
            for (size_t g = 0; g < layout->count; g++) {
                const nh_group *group = &layout->group[g];
                const size_t mu = group->mul / heads;
                const real *restrict from = value + i * layout->dim + group->offset + h * mu;
                real *restrict to = y + group->offset + h * mu;
                for (size_t m = 0; m < group->rows; m++)
                    for (size_t u = 0; u < mu; u++)
                        to[m * group->mul + u] += w * from[m * group->mul + u];
            }
        }
    }
}

void R(nh_heads_backward)(const nh_layout *layout, size_t heads, size_t n, size_t n_row, const size_t *row,
                          const real *gy, const real *a, const real *v, real *ga, real *gv, bool add)
{
    if (!add && ga != NULL) memset(ga, 0, n * heads * sizeof(real));
    if (!add && gv != NULL) memset(gv, 0, n * layout->dim * sizeof(real));
    for (size_t k = 0; k < layout->count; k++) {
        const nh_group *group = &layout->group[k];
        const size_t mu = group->mul / heads;
        for (size_t i = 0; i < n_row; i++) {
            const size_t at = n * group->offset + row[i] * group->dim;
            const real *g = gy + n_row * group->offset + i * group->dim;
            for (size_t m = 0, j = 0; m < group->rows; m++)
                for (size_t h = 0; h < heads; h++, j += mu) {
                    if (ga != NULL) ga[row[i] * heads + h] += R(nh_dot)(mu, g + j, v + at + j);
                    if (gv == NULL) continue;
                    const real w = a[row[i] * heads + h];
                    real *restrict to = gv + at + j;
                    for (size_t u = 0; u < mu; u++)
                        to[u] += w * g[j + u];
                }
        }
    }
}

void R(nh_softmax_merge_backward)(const nh_layout *layout, size_t heads, size_t count, const real *gy,
                                  const real *max, const real *sum, const real *y, real *max_all, real *total,
                                  real *dot)
{
    for (size_t h = 0; h < heads; h++) {
        real top = count > 0 ? max[h] : 0, all = 0;
        for (size_t i = 1; i < count; i++)
            if (max[i * heads + h] > top) top = max[i * heads + h];
        for (size_t i = 0; i < count; i++)
            all += sum[i * heads + h] * R(nh_exp)(max[i * heads + h] - top);
        max_all[h] = top;
        total[h] = all + (real)1e-16;
        dot[h] = 0;
        for (size_t g = 0; g < layout->count; g++) {
            const nh_group *group = &layout->group[g];
            const size_t mu = group->mul / heads;
            for (size_t m = 0; m < group->rows; m++) {
                const size_t at = group->offset + m * group->mul + h * mu;
                dot[h] += R(nh_dot)(mu, gy + at, y + at);
            }
        }
    }
}

void R(nh_softmax_partial_backward)(const nh_layout *layout, size_t heads, size_t n, size_t first,
                                    size_t count, const real *gy, const real *max_all, const real *total,
                                    const real *dot, const real *a, const real *copies, const real *v,
                                    real *ga, real *gv, bool add)
{
    for (size_t t = first; t < first + count; t++)
        for (size_t h = 0; h < heads; h++) {
            const real b = copies[t] * R(nh_exp)(a[t * heads + h] - max_all[h]) / total[h];
            real product = 0;
            for (size_t k = 0; k < layout->count; k++) {
                const nh_group *group = &layout->group[k];
                const size_t mu = group->mul / heads, at = n * group->offset + t * group->dim;
                for (size_t m = 0; m < group->rows; m++) {
                    const size_t column = m * group->mul + h * mu;
                    const real *g = gy + group->offset + column;
                    product += R(nh_dot)(mu, g, v + at + column);
                    if (gv == NULL) continue;
                    real *restrict to = gv + at + column;
                    for (size_t u = 0; u < mu; u++)
                        to[u] = add ? to[u] + b * g[u] : b * g[u];
                }
            }
            if (ga == NULL) continue;
            real *to = ga + t * heads + h;
            *to = (add ? *to : 0) + b * (product - dot[h]);
        }
}
