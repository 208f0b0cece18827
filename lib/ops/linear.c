#include "base/real.h"
#include "ops/ops.h"

#include <cblas.h>
#include <stdint.h>
#include <string.h>

void R(nh_linear_pack)(const nh_linear_map *map, const real *flat, real *weight)
{
    for (size_t i = 0; i < map->n_weight; i++)
        weight[i] = flat[map->source[i]];
}

void R(nh_linear_group_forward)(const nh_linear_map *map, size_t group, size_t n, const real *x,
                                const real *weight, const real *bias, bool add, real *y)
{
    const nh_linear_block *b = &map->block[group];
    const size_t rows = n * map->out.group[group].rows;
    if (rows == 0) return;
    if (b->in == SIZE_MAX) {
        if (!add) memset(y, 0, rows * b->cout * sizeof(real));
    } else {
        NH_GEMM(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)b->cout, (int)b->cin, 1, x,
                (int)b->cin, weight + b->weight, (int)b->cout, add ? 1 : 0, y, (int)b->cout);
    }
    if (bias == NULL || group != 0 || map->n_bias == 0) return;
    for (size_t t = 0; t < n; t++)
        for (size_t u = 0; u < b->cout; u++)
            y[t * b->cout + u] += bias[u];
}

void R(nh_linear_forward)(const nh_linear_map *map, size_t n, const real *x, const real *weight,
                          const real *bias, bool add, real *y)
{
    for (size_t g = 0; g < map->out.count; g++) {
        const size_t in = map->block[g].in;
        R(nh_linear_group_forward)
        (map, g, n, in == SIZE_MAX ? NULL : x + n * map->in.group[in].offset, weight, bias, add,
         y + n * map->out.group[g].offset);
    }
}
