#include "kernels/blas.h"
#include "kernels/ops.h"

#ifdef NH_REAL_DOUBLE
#define GEMM nhk_gemm_d
#else
#define GEMM nhk_gemm_f
#endif

static __global__ void pack_kernel(size_t n, const int *source, const real *flat, real *weight)
{
    NHK_FOR(i, n)
    if (source[i] >= 0) weight[i] = flat[source[i]];
}

void R(nhk_linear_pack)(nh_gpu *g, size_t n, const int *source, const real *flat, real *weight)
{
    if (nhk_ready(g, n))
        NHK_RUN(g, pack_kernel, nhk_grid(g, n, NHK_BLOCK), NHK_BLOCK, 0, n, source, flat, weight);
}

static __global__ void unpack_kernel(size_t n, const int *source, const real *packed, real *flat)
{
    NHK_FOR(i, n)
    if (source[i] >= 0) flat[source[i]] += packed[i];
}

void R(nhk_linear_unpack_add)(nh_gpu *g, size_t n, const int *source, const real *packed, real *flat)
{
    if (nhk_ready(g, n))
        NHK_RUN(g, unpack_kernel, nhk_grid(g, n, NHK_BLOCK), NHK_BLOCK, 0, n, source, packed, flat);
}

void R(nhk_linear_group_forward)(nh_gpu *g, const nh_linear_map *map, size_t group, size_t n, const real *x,
                                 const real *weight, const real *bias, bool add, real *y)
{
    const nh_linear_block *b = &map->block[group];
    const size_t rows = n * map->out.group[group].rows;
    const bool biased = bias != nullptr && group == 0 && map->n_bias > 0, fed = b->in != SIZE_MAX;
    if (rows == 0) return;
    if (!fed && !add && !biased) nhk_zero(g, y, rows * b->cout * sizeof(real));
    if (biased) R(nhk_fill_rows)(g, n, b->cout, bias, add, y);
    if (fed)
        GEMM(g, false, false, rows, b->cout, b->cin, x, b->cin, weight + b->weight, b->cout,
             add || biased ? 1 : 0, y, b->cout);
}

void R(nhk_linear_forward)(nh_gpu *g, const nh_linear_map *map, size_t n, const real *x, const real *weight,
                           const real *bias, bool add, real *y)
{
    for (size_t k = 0; k < map->out.count; k++) {
        const size_t in = map->block[k].in;
        R(nhk_linear_group_forward)(g, map, k, n, in == SIZE_MAX ? nullptr : x + n * map->in.group[in].offset,
                                    weight, bias, add, y + n * map->out.group[k].offset);
    }
}

void R(nhk_linear_group_backward)(nh_gpu *g, const nh_linear_map *map, size_t group, size_t n, const real *gy,
                                  const real *x, const real *weight, real *gx, bool add, real *gw,
                                  real *gbias)
{
    const nh_linear_block *b = &map->block[group];
    const size_t rows = n * map->out.group[group].rows, cin = b->cin, cout = b->cout;
    if (rows == 0) return;
    if (b->in != SIZE_MAX && gx != nullptr)
        GEMM(g, false, true, rows, cin, cout, gy, cout, weight + b->weight, cout, add ? 1 : 0, gx, cin);
    if (b->in != SIZE_MAX && gw != nullptr)
        GEMM(g, true, false, cin, cout, rows, x, cin, gy, cout, 1, gw + b->weight, cout);
    if (gbias != nullptr && group == 0 && map->n_bias > 0)
        R(nhk_column_sums)(g, n, cout, cout, gy, nullptr, gbias);
}

void R(nhk_linear_backward)(nh_gpu *g, const nh_linear_map *map, size_t n, const real *gy, const real *x,
                            const real *weight, real *gx, bool add, real *gw, real *gbias)
{
    for (size_t i = 0; gx != nullptr && !add && i < map->in.count; i++) {
        const nh_group *in = &map->in.group[i];
        bool feeds = false;
        for (size_t k = 0; k < map->out.count; k++)
            feeds = feeds || map->block[k].in == i;
        if (!feeds) nhk_zero(g, gx + n * in->offset, n * in->dim * sizeof(real));
    }
    for (size_t k = 0; k < map->out.count; k++) {
        const size_t in = map->block[k].in, at = in == SIZE_MAX ? 0 : n * map->in.group[in].offset;
        R(nhk_linear_group_backward)(g, map, k, n, gy + n * map->out.group[k].offset,
                                     x != nullptr ? x + at : nullptr, weight,
                                     gx != nullptr ? gx + at : nullptr, add, gw, gbias);
    }
}
