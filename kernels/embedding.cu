/* Wigner-Eckart transforms of pair blocks, both ways: nextham/embedding.c. Every number is the sum of one sparse row, whose coefficients are
 * the products of the two couplings that the host applies one after another. */
#include "kernels/gpu.h"
#include "kernels/ops.h"

#ifndef NH_REAL_DOUBLE
nhk_embedding nhk_embedding_new(nh_gpu *g, const nhk_embedding *host)
{
    nhk_embedding t = *host;
    const size_t slots = (size_t)t.n_slot, pairs = slots * slots;
    t.number = nhk_uploaded(g, host->number, (size_t)t.dim);
    t.first = nhk_uploaded(g, host->first, (size_t)t.n_species * slots);
    t.orbital_start = nhk_uploaded(g, host->orbital_start, (size_t)t.n_species + 1);
    t.orbital = nhk_uploaded(g, host->orbital, (size_t)t.n_orbital);
    t.offset = nhk_uploaded(g, host->offset, pairs);
    t.down_row = nhk_uploaded(g, host->down_row, pairs);
    t.width = nhk_uploaded(g, host->width, slots);
    t.up_start = nhk_uploaded(g, host->up_start, (size_t)t.n_up_row + 1);
    t.down_start = nhk_uploaded(g, host->down_start, (size_t)t.n_down_row + 1);
    t.up = nhk_uploaded(g, host->up, (size_t)t.n_up);
    t.down = nhk_uploaded(g, host->down, (size_t)t.n_down);
    return t;
}

void nhk_embedding_free(nh_gpu *g, nhk_embedding *t)
{
    void *list[] = {t->number, t->first,    t->orbital_start, t->orbital, t->offset, t->down_row,
                    t->width,  t->up_start, t->down_start,    t->up,      t->down};
    for (void *p : list)
        nhk_free(g, p);
    *t = nhk_embedding{};
}
#endif

/* The sub-block that a number of an edge's vector is made of: its row, first element, and the block's columns. */
__device__ static inline bool find_sub_block(const nhk_embedding *t, const nhk_block *b, const nhk_number *k,
                                             int *row, size_t *at, int *columns)
{
    if (k->row < 0 || b->a < 0) return false;
    const int i = t->first[b->a * t->n_slot + k->slot[0]], j = t->first[b->b * t->n_slot + k->slot[1]];
    if (i < 0 || j < 0) return false;
    *row = k->row;
    *columns = t->orbital_start[b->b + 1] - t->orbital_start[b->b];
    *at = b->start + (size_t)i * *columns + j;
    return true;
}

/* Re or Im (c = 0, 1) of a channel of one element, whose spin blocks are `stride` numbers apart; without the factor 1/sqrt2. */
__device__ static inline double channel_of(int channel, int c, int spin_blocks, const double *x,
                                           size_t stride)
{
    if (spin_blocks == 1) return channel == 0 ? 2 * x[c] : 0;
    if (channel == 0) return x[c] + x[3 * stride + c];
    if (channel == 2) return x[c] - x[3 * stride + c];
    if (channel == 3) return x[stride + c] + x[2 * stride + c];
    return c == 0 ? x[2 * stride + 1] - x[stride + 1] : x[stride] - x[2 * stride];
}

static __global__ void up_kernel(nhk_embedding t, unsigned n, const nhk_block *edge, int spin_blocks,
                                 const double *matrix, size_t origin, size_t stride, double scale, real *out)
{
    NHK_FOR(i, (size_t)n * t.dim)
    {
        const nhk_block b = edge[i / t.dim];
        const nhk_number k = t.number[i % t.dim];
        int row, columns;
        size_t at;
        double sum = 0;
        if (find_sub_block(&t, &b, &k, &row, &at, &columns))
            for (int q = t.up_start[row]; q < t.up_start[row + 1]; q++) {
                const nhk_up u = t.up[q];
                const double *x = matrix + 2 * (at - origin + (size_t)u.i * columns + u.j);
                sum += u.dual * channel_of(u.channel, k.imaginary, spin_blocks, x, 2 * stride);
            }
        out[i] = (real)(scale * sum);
    }
}

void R(nhk_block_to_irreps)(nh_gpu *g, const nhk_embedding *t, size_t n, const nhk_block *edge,
                            int spin_blocks, const double *matrix, size_t origin, size_t stride, double scale,
                            real *out)
{
    if (!nhk_ready(g, n * t->dim)) return;
    NHK_RUN(g, up_kernel, nhk_grid(g, n * t->dim, NHK_BLOCK), NHK_BLOCK, 0, *t, (unsigned)n, edge,
            spin_blocks, matrix, origin, stride, scale, out);
}

static __global__ void down_kernel(nhk_embedding t, unsigned n, const nhk_block *edge, const int *which,
                                   const real *vector, double scale, bool add, double *d)
{
    for (size_t e = blockIdx.x; e < n; e += gridDim.x) {
        const nhk_block b = edge[which != nullptr ? (size_t)which[e] : e];
        if (b.a < 0) continue;
        const nhk_orbital *row = t.orbital + t.orbital_start[b.a], *column = t.orbital + t.orbital_start[b.b];
        const int columns = t.orbital_start[b.b + 1] - t.orbital_start[b.b],
                  elements = (t.orbital_start[b.a + 1] - t.orbital_start[b.a]) * columns;
        for (int i = (int)threadIdx.x; i < elements; i += (int)blockDim.x) {
            const nhk_orbital p = row[i / columns], q = column[i % columns];
            const int pair = p.slot * t.n_slot + q.slot, offset = t.offset[pair];
            double sum = 0;
            if (offset >= 0) {
                const int at = t.down_row[pair] + p.m * t.width[q.slot] + q.m;
                const real *v = vector + e * t.dim + offset;
                for (int k = t.down_start[at]; k < t.down_start[at + 1]; k++)
                    sum += t.down[k].value * (double)v[t.down[k].number];
            }
            double *to = d + b.start + i;
            *to = (add ? *to : 0) + sum / scale;
        }
    }
}

void R(nhk_irreps_to_correction)(nh_gpu *g, const nhk_embedding *t, size_t n, const nhk_block *edge,
                                 const int *which, const real *vector, double scale, bool add, double *d)
{
    if (!nhk_ready(g, n)) return;
    NHK_RUN(g, down_kernel, nhk_grid(g, n, 1), 128, 0, *t, (unsigned)n, edge, which, vector, scale, add, d);
}

static __global__ void adjoint_kernel(nhk_embedding t, unsigned n, const nhk_block *edge, const double *g_d,
                                      double scale, real *vector)
{
    NHK_FOR(i, (size_t)n * t.dim)
    {
        const nhk_block b = edge[i / t.dim];
        const nhk_number k = t.number[i % t.dim];
        int row, columns;
        size_t at;
        double sum = 0;
        if (find_sub_block(&t, &b, &k, &row, &at, &columns))
            for (int q = t.up_start[row]; q < t.up_start[row + 1]; q++) {
                const nhk_up u = t.up[q]; /* D has the channels 0 and z only */
                if (u.channel == 0 || u.channel == 2) sum += u.value * g_d[at + (size_t)u.i * columns + u.j];
            }
        vector[i] = (real)(k.imaginary ? 0 : sum / scale);
    }
}

void R(nhk_correction_to_irreps_adjoint)(nh_gpu *g, const nhk_embedding *t, size_t n, const nhk_block *edge,
                                         const double *g_d, double scale, real *vector)
{
    if (!nhk_ready(g, n * t->dim)) return;
    NHK_RUN(g, adjoint_kernel, nhk_grid(g, n * t->dim, NHK_BLOCK), NHK_BLOCK, 0, *t, (unsigned)n, edge, g_d,
            scale, vector);
}
