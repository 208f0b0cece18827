#include "base/real.h"
#include "ops/ops.h"

#include <stdint.h>
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

/* Row t of a tile is stored row row[t], or t itself. */
static size_t stored(const size_t *row, size_t t)
{
    return row != NULL ? row[t] : t;
}

void R(nh_rows_load)(const nh_layout *layout, size_t n, const size_t *row, const real *array, real *tile)
{
    for (size_t t = 0; t < n; t++)
        for (size_t g = 0; g < layout->count; g++) {
            const nh_group *group = &layout->group[g];
            memcpy(tile + n * group->offset + t * group->dim,
                   array + stored(row, t) * layout->dim + group->offset, group->dim * sizeof(real));
        }
}

void R(nh_rows_store)(const nh_layout *layout, size_t n, const size_t *row, const real *tile, real *array)
{
    for (size_t t = 0; t < n; t++)
        for (size_t g = 0; g < layout->count; g++) {
            const nh_group *group = &layout->group[g];
            memcpy(array + stored(row, t) * layout->dim + group->offset,
                   tile + n * group->offset + t * group->dim, group->dim * sizeof(real));
        }
}

void R(nh_rows_add)(const nh_layout *layout, size_t n, const size_t *row, const real *array, real *tile)
{
    for (size_t t = 0; t < n; t++)
        for (size_t g = 0; g < layout->count; g++) {
            const nh_group *group = &layout->group[g];
            const real *restrict from = array + stored(row, t) * layout->dim + group->offset;
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
            real *restrict to = array + stored(row, t) * layout->dim + group->offset;
            for (size_t i = 0; i < group->dim; i++)
                to[i] += from[i];
        }
}

void R(nh_rows_sum)(const nh_layout *layout, size_t n, const size_t *begin, const size_t *list,
                    const size_t *slot, const real *array, real *tile)
{
    for (size_t t = 0; t < n; t++) {
        for (size_t g = 0; g < layout->count; g++)
            memset(tile + n * layout->group[g].offset + t * layout->group[g].dim, 0,
                   layout->group[g].dim * sizeof(real));
        for (size_t i = begin[t]; i < begin[t + 1]; i++) {
            const size_t r = stored(list, i);
            if (slot != NULL && slot[r] == SIZE_MAX) continue;
            for (size_t g = 0; g < layout->count; g++) {
                const size_t dim = layout->group[g].dim, offset = layout->group[g].offset;
                const real *restrict from = array + r * layout->dim + offset;
                real *restrict to = tile + n * offset + t * dim;
                for (size_t k = 0; k < dim; k++)
                    to[k] += from[k];
            }
        }
    }
}

void R(nh_columns)(size_t n, size_t width, const real *from, size_t width_from, size_t at_from, real *to,
                   size_t width_to, size_t at_to, const size_t *row, bool back)
{
    for (size_t t = 0; t < n; t++) {
        const size_t r = stored(row, t);
        memcpy(to + (back ? r : t) * width_to + at_to, from + (back ? t : r) * width_from + at_from,
               width * sizeof(real));
    }
}

void R(nh_take_channels)(const nh_layout *many, const nh_layout *few, size_t n, const real *x, real *y)
{
    for (size_t g = 0; g < few->count; g++) {
        const nh_group *to = &few->group[g], *from = &many->group[nh_layout_find(many, to->l, to->p)];
        for (size_t i = 0; i < n * to->rows; i++)
            memcpy(y + n * to->offset + i * to->mul, x + n * from->offset + i * from->mul,
                   to->mul * sizeof(real));
    }
}

void R(nh_put_channels)(const nh_layout *many, const nh_layout *few, size_t n, const real *y, bool add,
                        real *x)
{
    for (size_t g = 0; g < few->count; g++) {
        const nh_group *from = &few->group[g], *to = &many->group[nh_layout_find(many, from->l, from->p)];
        for (size_t i = 0; i < n * from->rows; i++) {
            const real *restrict a = y + n * from->offset + i * from->mul;
            real *restrict b = x + n * to->offset + i * to->mul;
            for (size_t u = 0; u < from->mul; u++)
                b[u] = add ? b[u] + a[u] : a[u];
        }
    }
}

/* ---- plain matrices */

void R(nh_axpy)(size_t n, const real *x, real factor, const real *z, real *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] + factor * z[i];
}

void R(nh_scale_rows)(size_t n, size_t width, const real *factor, real *x)
{
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < width; i++)
            x[t * width + i] *= factor[t];
}

void R(nh_fill_rows)(size_t n, size_t width, const real *value, bool add, real *x)
{
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < width; i++)
            x[t * width + i] = add ? x[t * width + i] + value[i] : value[i];
}

void R(nh_column_sums)(size_t n, size_t width, size_t ld, const real *a, const real *b, real *restrict sum)
{
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < width; i++)
            sum[i] += b != NULL ? a[t * ld + i] * b[t * ld + i] : a[t * ld + i];
}
