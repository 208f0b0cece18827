#include "base/real.h"
#include "ops/ops.h"

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
        R(nh_gemm)(map->method, false, false, rows, b->cout, b->cin, x, b->cin, weight + b->weight, b->cout,
                   add, y, b->cout);
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
        R(nh_linear_group_forward)(map, g, n, in == SIZE_MAX ? NULL : x + n * map->in.group[in].offset,
                                   weight, bias, add, y + n * map->out.group[g].offset);
    }
}

void R(nh_linear_unpack_add)(const nh_linear_map *map, const real *packed, real *flat)
{
    for (size_t i = 0; i < map->n_weight; i++)
        flat[map->source[i]] += packed[i];
}

void R(nh_linear_group_backward)(const nh_linear_map *map, size_t group, size_t n, const real *gy,
                                 const real *x, const real *weight, real *gx, bool add, real *gw, real *gbias)
{
    const nh_linear_block *b = &map->block[group];
    const size_t rows = n * map->out.group[group].rows, cin = b->cin, cout = b->cout;
    if (rows == 0) return;
    if (b->in != SIZE_MAX && gx != NULL)
        R(nh_gemm)(map->method, false, true, rows, cin, cout, gy, cout, weight + b->weight, cout, add, gx,
                   cin);
    if (b->in != SIZE_MAX && gw != NULL)
        R(nh_gemm)(map->method, true, false, cin, cout, rows, x, cin, gy, cout, true, gw + b->weight, cout);
    if (gbias == NULL || group != 0 || map->n_bias == 0) return;
    for (size_t t = 0; t < n; t++)
        for (size_t u = 0; u < b->cout; u++)
            gbias[u] += gy[t * b->cout + u];
}

void R(nh_linear_backward)(const nh_linear_map *map, size_t n, const real *gy, const real *x,
                           const real *weight, real *gx, bool add, real *gw, real *gbias)
{
    for (size_t i = 0; gx != NULL && !add && i < map->in.count; i++) {
        const nh_group *in = &map->in.group[i];
        bool feeds = false;
        for (size_t g = 0; g < map->out.count; g++)
            feeds = feeds || map->block[g].in == i;
        if (!feeds) memset(gx + n * in->offset, 0, n * in->dim * sizeof(real));
    }
    for (size_t g = 0; g < map->out.count; g++) {
        const size_t in = map->block[g].in, at = in == SIZE_MAX ? 0 : n * map->in.group[in].offset;
        R(nh_linear_group_backward)(map, g, n, gy + n * map->out.group[g].offset, x != NULL ? x + at : NULL,
                                    weight, gx != NULL ? gx + at : NULL, add, gw, gbias);
    }
}
