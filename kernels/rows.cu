#include "kernels/gpu.h"
#include "kernels/ops.h"

#ifndef NH_REAL_DOUBLE
static int *upload_ints(nh_gpu *g, size_t n, const int *from)
{
    int *p = static_cast<int *>(nhk_alloc(g, n, sizeof(int)));
    if (p != nullptr) nhk_upload(g, p, from, n * sizeof(int));
    return p;
}

int *nhk_e3nn_table(nh_gpu *g, const nh_layout *layout)
{
    int *place = static_cast<int *>(malloc((layout->dim + 1) * sizeof(int)));
    if (place == nullptr) {
        nhk_fail(g, "out of memory for a feature type");
        return nullptr;
    }
    for (size_t i = 0; i < layout->n_entry; i++) {
        const nh_layout_entry *e = &layout->entry[i];
        const nh_group *to = &layout->group[e->group];
        for (size_t u = 0; u < e->mul; u++)
            for (size_t m = 0; m < e->rows; m++)
                place[to->offset + m * to->mul + e->first + u] = (int)(e->offset + u * e->rows + m);
    }
    int *out = upload_ints(g, layout->dim, place);
    free(place);
    return out;
}
#endif

/* i runs over the numbers of group blockIdx.y of a tile; t is the row, j the number within the row's group. */
#define GROUP_FOR(l, n)                                                                                      \
    const unsigned group = blockIdx.y, width = (unsigned)l.width[group];                                     \
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x, t, j;                                           \
         i < (unsigned)(n)*width && (t = i / width, j = i % width, true); i += gridDim.x * blockDim.x)

static unsigned widest(const nhk_layout *l)
{
    int w = 0;
    for (int i = 0; i < l->count; i++)
        w = l->width[i] > w ? l->width[i] : w;
    return (unsigned)w;
}

/* A grid with one thread for each number of the widest group. */
static dim3 group_grid(const nh_gpu *g, const nhk_layout *l, size_t n)
{
    return nhk_grid(g, n * widest(l), NHK_BLOCK, (unsigned)l->count);
}

static __global__ void e3nn_kernel(nhk_layout l, const int *place, unsigned n, const real *from, real *to,
                                   bool back)
{
    GROUP_FOR(l, n)
    {
        const size_t tile = (size_t)n * l.offset[group] + i,
                     flat = (size_t)t * l.dim + place[l.offset[group] + j];
        if (back)
            to[flat] = from[tile];
        else
            to[tile] = from[flat];
    }
}

void R(nhk_from_e3nn)(nh_gpu *g, const nh_layout *layout, const int *place, size_t n, const real *x,
                      real *tile)
{
    const nhk_layout l = nhk_layout_of(g, layout);
    if (!nhk_ready(g, n * layout->dim)) return;
    NHK_RUN(g, e3nn_kernel, group_grid(g, &l, n), NHK_BLOCK, 0, l, place, (unsigned)n, x, tile, false);
}

void R(nhk_to_e3nn)(nh_gpu *g, const nh_layout *layout, const int *place, size_t n, const real *tile, real *x)
{
    const nhk_layout l = nhk_layout_of(g, layout);
    if (!nhk_ready(g, n * layout->dim)) return;
    NHK_RUN(g, e3nn_kernel, group_grid(g, &l, n), NHK_BLOCK, 0, l, place, (unsigned)n, tile, x, true);
}

enum { LOAD, ADD, STORE };

static __global__ void rows_kernel(nhk_layout l, unsigned n, const int *row, int base, real *array,
                                   real *tile, int what)
{
    GROUP_FOR(l, n)
    {
        const size_t r = row != nullptr ? (size_t)(row[t] - base) : t, at = (size_t)n * l.offset[group] + i,
                     stored = r * l.dim + l.offset[group] + j;
        if (what == STORE)
            array[stored] = tile[at];
        else
            tile[at] = what == ADD ? tile[at] + array[stored] : array[stored];
    }
}

static void rows(nh_gpu *g, const nh_layout *layout, size_t n, const int *row, int base, const real *array,
                 const real *tile, int what)
{
    const nhk_layout l = nhk_layout_of(g, layout);
    if (!nhk_ready(g, n * layout->dim)) return;
    NHK_RUN(g, rows_kernel, group_grid(g, &l, n), NHK_BLOCK, 0, l, (unsigned)n, row, base,
            const_cast<real *>(array), const_cast<real *>(tile), what);
}

void R(nhk_rows_load)(nh_gpu *g, const nh_layout *layout, size_t n, const int *row, int base,
                      const real *array, real *tile)
{
    rows(g, layout, n, row, base, array, tile, LOAD);
}

void R(nhk_rows_store)(nh_gpu *g, const nh_layout *layout, size_t n, const int *row, int base,
                       const real *tile, real *array)
{
    rows(g, layout, n, row, base, array, tile, STORE);
}

void R(nhk_rows_add)(nh_gpu *g, const nh_layout *layout, size_t n, const int *row, int base,
                     const real *array, real *tile)
{
    rows(g, layout, n, row, base, array, tile, ADD);
}

static __global__ void rows_sum_kernel(nhk_layout l, unsigned n, const int *begin, const int *list,
                                       const int *slot, const real *array, real *tile)
{
    GROUP_FOR(l, n)
    {
        real sum = 0;
        for (int k = begin[t]; k < begin[t + 1]; k++) {
            const int r = list != nullptr ? list[k] : k;
            if (slot == nullptr || slot[r] >= 0) sum += array[(size_t)r * l.dim + l.offset[group] + j];
        }
        tile[(size_t)n * l.offset[group] + i] = sum;
    }
}

void R(nhk_rows_sum)(nh_gpu *g, const nh_layout *layout, size_t n, const int *begin, const int *list,
                     const int *slot, const real *array, real *tile)
{
    const nhk_layout l = nhk_layout_of(g, layout);
    if (!nhk_ready(g, n * layout->dim)) return;
    NHK_RUN(g, rows_sum_kernel, group_grid(g, &l, n), NHK_BLOCK, 0, l, (unsigned)n, begin, list, slot, array,
            tile);
}

static __global__ void columns_kernel(unsigned n, unsigned width, const real *from, size_t width_from,
                                      size_t at_from, real *to, size_t width_to, size_t at_to, const int *row,
                                      int base, bool back)
{
    NHK_FOR(i, (size_t)n * width)
    {
        const size_t t = i / width, k = i % width, r = row != nullptr ? (size_t)(row[t] - base) : t;
        to[(back ? r : t) * width_to + at_to + k] = from[(back ? t : r) * width_from + at_from + k];
    }
}

void R(nhk_columns)(nh_gpu *g, size_t n, size_t width, const real *from, size_t width_from, size_t at_from,
                    real *to, size_t width_to, size_t at_to, const int *row, int base, bool back)
{
    if (!nhk_ready(g, n * width)) return;
    NHK_RUN(g, columns_kernel, nhk_grid(g, n * width, NHK_BLOCK), NHK_BLOCK, 0, (unsigned)n, (unsigned)width,
            from, width_from, at_from, to, width_to, at_to, row, base, back);
}

/* One group. */
static __global__ void channels_kernel(unsigned n, unsigned mul, unsigned mul_from, unsigned mul_to,
                                       const real *from, real *to, bool add)
{
    NHK_FOR(i, (size_t)n * mul)
    {
        const size_t r = i / mul, u = i % mul;
        const real v = from[r * mul_from + u];
        to[r * mul_to + u] = add ? to[r * mul_to + u] + v : v;
    }
}

static const nh_group *same_irrep(const nh_layout *l, const nh_group *of)
{
    for (size_t i = 0; i < l->count; i++)
        if (l->group[i].l == of->l && l->group[i].p == of->p) return &l->group[i];
    return nullptr;
}

static void channels(nh_gpu *g, const nh_layout *many, const nh_layout *few, size_t n, const real *x,
                     const real *y, bool take, bool add)
{
    for (size_t k = 0; k < few->count; k++) {
        const nh_group *a = &few->group[k], *b = same_irrep(many, a);
        const size_t rows = n * a->rows;
        if (b == nullptr || !nhk_ready(g, rows * a->mul)) continue;
        const real *few_at = y + n * a->offset, *many_at = x + n * b->offset;
        NHK_RUN(g, channels_kernel, nhk_grid(g, rows * a->mul, NHK_BLOCK), NHK_BLOCK, 0, (unsigned)rows,
                (unsigned)a->mul, (unsigned)(take ? b->mul : a->mul), (unsigned)(take ? a->mul : b->mul),
                take ? many_at : few_at, const_cast<real *>(take ? few_at : many_at), add);
    }
}

void R(nhk_take_channels)(nh_gpu *g, const nh_layout *many, const nh_layout *few, size_t n, const real *x,
                          real *y)
{
    channels(g, many, few, n, x, y, true, false);
}

void R(nhk_put_channels)(nh_gpu *g, const nh_layout *many, const nh_layout *few, size_t n, const real *y,
                         bool add, real *x)
{
    channels(g, many, few, n, x, y, false, add);
}

static __global__ void axpy_kernel(size_t n, const real *x, real factor, const real *z, real *y)
{
    NHK_FOR(i, n)
    y[i] = x[i] + factor * z[i];
}

void R(nhk_axpy)(nh_gpu *g, size_t n, const real *x, real factor, const real *z, real *y)
{
    if (nhk_ready(g, n)) NHK_RUN(g, axpy_kernel, nhk_grid(g, n, NHK_BLOCK), NHK_BLOCK, 0, n, x, factor, z, y);
}

static __global__ void scale_rows_kernel(unsigned n, unsigned width, const real *factor, real *x)
{
    NHK_FOR(i, (size_t)n * width)
    x[i] *= factor[i / width];
}

void R(nhk_scale_rows)(nh_gpu *g, size_t n, size_t width, const real *factor, real *x)
{
    if (nhk_ready(g, n * width))
        NHK_RUN(g, scale_rows_kernel, nhk_grid(g, n * width, NHK_BLOCK), NHK_BLOCK, 0, (unsigned)n,
                (unsigned)width, factor, x);
}

static __global__ void fill_rows_kernel(unsigned n, unsigned width, const real *value, bool add, real *x)
{
    NHK_FOR(i, (size_t)n * width)
    x[i] = add ? x[i] + value[i % width] : value[i % width];
}

void R(nhk_fill_rows)(nh_gpu *g, size_t n, size_t width, const real *value, bool add, real *x)
{
    if (nhk_ready(g, n * width))
        NHK_RUN(g, fill_rows_kernel, nhk_grid(g, n * width, NHK_BLOCK), NHK_BLOCK, 0, (unsigned)n,
                (unsigned)width, value, add, x);
}

/* Chunks of rows of fixed size, so that the order of the sum does not depend on the device. */
enum { CHUNK = 256, COLUMNS = 32, ROWS = 8 };

/* Block: COLUMNS x ROWS threads; each thread sums every ROWS-th row of the chunk, the block its threads in shared memory. */
static __global__ void chunk_sums_kernel(unsigned n, unsigned width, size_t ld, const real *a, const real *b,
                                         real *partial)
{
    NHK_SHARED(real, part);
    const unsigned column = blockIdx.x * COLUMNS + threadIdx.x, chunk = blockIdx.y, first = chunk * CHUNK,
                   end = first + CHUNK < n ? first + CHUNK : n;
    real sum = 0;
    for (unsigned t = first + threadIdx.y; column < width && t < end; t += ROWS)
        sum += b != nullptr ? a[t * ld + column] * b[t * ld + column] : a[t * ld + column];
    part[threadIdx.y * COLUMNS + threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y > 0 || column >= width) return;
    for (unsigned k = 1; k < ROWS; k++)
        sum += part[k * COLUMNS + threadIdx.x];
    partial[(size_t)chunk * width + column] = sum;
}

static __global__ void add_chunks_kernel(unsigned chunks, unsigned width, const real *partial, real *sum)
{
    NHK_FOR(i, width)
    {
        real s = 0;
        for (unsigned k = 0; k < chunks; k++)
            s += partial[(size_t)k * width + i];
        sum[i] += s;
    }
}

void R(nhk_column_sums)(nh_gpu *g, size_t n, size_t width, size_t ld, const real *a, const real *b, real *sum)
{
    const size_t at_once = (size_t)CHUNK * 32768; /* grid.y */
    for (size_t first = 0; first < n; first += at_once) {
        const size_t rows = n - first < at_once ? n - first : at_once, chunks = (rows + CHUNK - 1) / CHUNK;
        if (!nhk_ready(g, width)) return;
        real *partial = static_cast<real *>(nhk_scratch(g, NHK_SCRATCH_SUMS, chunks * width * sizeof(real)));
        if (partial == nullptr) return;
        NHK_RUN(g, chunk_sums_kernel, dim3((unsigned)((width + COLUMNS - 1) / COLUMNS), (unsigned)chunks),
                dim3(COLUMNS, ROWS), COLUMNS * ROWS * sizeof(real), (unsigned)rows, (unsigned)width, ld,
                a + first * ld, b != nullptr ? b + first * ld : nullptr, partial);
        NHK_RUN(g, add_chunks_kernel, nhk_grid(g, width, NHK_BLOCK), NHK_BLOCK, 0, (unsigned)chunks,
                (unsigned)width, partial, sum);
    }
}
