#include "base/real.h"
#include "ops/ops.h"

#include <string.h>

void R(nh_from_e3nn)(const nh_layout *layout, size_t n, const real *x, real *tile)
{
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < layout->n_entry; i++) {
            const nh_layout_entry *e = &layout->entry[i];
            const nh_group *g = &layout->group[e->group];
            const real *from = x + t * layout->dim + e->offset;
            real *to = tile + n * g->offset + t * g->dim + e->first;
            for (size_t u = 0; u < e->mul; u++)
                for (size_t m = 0; m < e->rows; m++)
                    to[m * g->mul + u] = from[u * e->rows + m];
        }
}

void R(nh_to_e3nn)(const nh_layout *layout, size_t n, const real *tile, real *x)
{
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < layout->n_entry; i++) {
            const nh_layout_entry *e = &layout->entry[i];
            const nh_group *g = &layout->group[e->group];
            const real *from = tile + n * g->offset + t * g->dim + e->first;
            real *to = x + t * layout->dim + e->offset;
            for (size_t u = 0; u < e->mul; u++)
                for (size_t m = 0; m < e->rows; m++)
                    to[u * e->rows + m] = from[m * g->mul + u];
        }
}

void R(nh_rows_load)(const nh_layout *layout, size_t n, const size_t *row, const real *array, real *tile)
{
    for (size_t t = 0; t < n; t++)
        for (size_t g = 0; g < layout->count; g++) {
            const nh_group *group = &layout->group[g];
            memcpy(tile + n * group->offset + t * group->dim, array + row[t] * layout->dim + group->offset,
                   group->dim * sizeof(real));
        }
}

void R(nh_rows_store)(const nh_layout *layout, size_t n, const size_t *row, const real *tile, real *array)
{
    for (size_t t = 0; t < n; t++)
        for (size_t g = 0; g < layout->count; g++) {
            const nh_group *group = &layout->group[g];
            memcpy(array + row[t] * layout->dim + group->offset, tile + n * group->offset + t * group->dim,
                   group->dim * sizeof(real));
        }
}

void R(nh_rows_add)(const nh_layout *layout, size_t n, const size_t *row, const real *array, real *tile)
{
    for (size_t t = 0; t < n; t++)
        for (size_t g = 0; g < layout->count; g++) {
            const nh_group *group = &layout->group[g];
            const real *restrict from = array + row[t] * layout->dim + group->offset;
            real *restrict to = tile + n * group->offset + t * group->dim;
            for (size_t i = 0; i < group->dim; i++)
                to[i] += from[i];
        }
}

void R(nh_rows_load_backward)(const nh_layout *layout, size_t n, const size_t *row, const real *tile,
                              real *array)
{
    for (size_t t = 0; t < n; t++)
        for (size_t g = 0; g < layout->count; g++) {
            const nh_group *group = &layout->group[g];
            const real *restrict from = tile + n * group->offset + t * group->dim;
            real *restrict to = array + row[t] * layout->dim + group->offset;
            for (size_t i = 0; i < group->dim; i++)
                to[i] += from[i];
        }
}
