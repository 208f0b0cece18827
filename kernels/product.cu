#include "kernels/gpu.h"
#include "kernels/ops.h"

/* nh_product_path with what kernels need of the layouts. */
typedef struct path {
    int in_offset, in_dim, in_mul, in_group, rows, mul, matrix, weight, channel;
} path;

/* Rows of x that a thread holds: degrees up to 4, or up to 7. */
enum { FEW = 9, MANY = 15 };

#ifndef NH_REAL_DOUBLE
void nhk_product_new(nh_gpu *g, const nh_product *host, nhk_product *out)
{
    *out = nhk_product{};
    out->host = host;
    const size_t groups = host->out.count, n_path = host->first_path[groups],
                 n_term = host->first_term[host->n_matrix];
    path *paths = static_cast<path *>(calloc(n_path + 1, sizeof *paths));
    int *channel = static_cast<int *>(calloc(host->out.channels + 1, sizeof *channel)),
        *first = static_cast<int *>(calloc(host->n_matrix + 1, sizeof *first)),
        *y = static_cast<int *>(calloc(n_term + 1, sizeof *y));
    double *value = static_cast<double *>(calloc(n_term + 1, sizeof *value));
    if (paths == nullptr || channel == nullptr || first == nullptr || y == nullptr || value == nullptr) {
        nhk_fail(g, "out of memory for the tensor product");
        goto done;
    }
    for (size_t o = 0; o < groups; o++)
        for (size_t k = host->first_path[o]; k < host->first_path[o + 1]; k++) {
            const nh_product_path *p = &host->path[k];
            const nh_group *in = &host->in.group[p->in];
            paths[k] = path{(int)in->offset, (int)in->dim,   (int)in->mul,   (int)p->in,     (int)p->rows,
                            (int)p->mul,     (int)p->matrix, (int)p->weight, (int)p->channel};
            if (p->rows > MANY) nhk_fail(g, "CUDA: features of degree %zu, at most 7", (p->rows - 1) / 2);
            for (size_t u = 0; u < p->mul; u++)
                channel[host->out.group[o].channel + p->channel + u] = (int)k;
        }
    for (size_t k = 0; k <= host->n_matrix; k++)
        first[k] = (int)host->first_term[k];
    for (size_t i = 0; i < n_term; i++) {
        y[i] = (int)host->term[i].y;
        value[i] = host->term[i].value;
    }
    out->path = nhk_uploaded(g, paths, n_path);
    out->channel_path = nhk_uploaded(g, channel, host->out.channels);
    out->first_term = nhk_uploaded(g, first, host->n_matrix + 1);
    out->term_y = nhk_uploaded(g, y, n_term);
    out->term_value = nhk_uploaded(g, value, n_term);
done:
    free(paths);
    free(channel);
    free(first);
    free(y);
    free(value);
}

void nhk_product_free(nh_gpu *g, nhk_product *p)
{
    nhk_free(g, p->path);
    nhk_free(g, p->channel_path);
    nhk_free(g, p->first_term);
    nhk_free(g, p->term_y);
    nhk_free(g, p->term_value);
    *p = nhk_product{};
}
#endif

static __global__ void coupling_kernel(unsigned n, unsigned n_matrix, unsigned n_y, const int *first,
                                       const int *term_y, const double *value, const real *y, real *m)
{
    NHK_FOR(i, (size_t)n * n_matrix)
    {
        const size_t t = i / n_matrix, k = i % n_matrix;
        real sum = 0;
        for (int j = first[k]; j < first[k + 1]; j++)
            sum += (real)value[j] * y[t * n_y + term_y[j]];
        m[i] = sum;
    }
}

void R(nhk_coupling_forward)(nh_gpu *g, const nhk_product *p, size_t n, const real *y, real *m)
{
    const size_t n_matrix = p->host->n_matrix;
    if (!nhk_ready(g, n * n_matrix)) return;
    NHK_RUN(g, coupling_kernel, nhk_grid(g, n * n_matrix, NHK_BLOCK), NHK_BLOCK, 0, (unsigned)n,
            (unsigned)n_matrix, (unsigned)p->host->n_harmonic, p->first_term, p->term_y, p->term_value, y, m);
}

/* One edge and channel of the output group: out[c] = w sum_a M[a][c] x[a]. */
template <int MOST>
static __global__ void product_kernel(unsigned n, unsigned wide, int cols, const path *paths,
                                      const int *channel_path, unsigned n_matrix, const real *x,
                                      const real *m, const real *w, size_t stride, real *out)
{
    NHK_FOR(i, (size_t)n * wide)
    {
        const size_t t = i / wide;
        const int channel = (int)(i % wide);
        const path p = paths[channel_path[channel]];
        const int u = channel - p.channel;
        const real *from = x + (size_t)n * p.in_offset + t * p.in_dim + u,
                   *matrix = m + t * n_matrix + p.matrix, weight = w[t * stride + p.weight + u];
        real v[MOST];
#pragma unroll
        for (int a = 0; a < MOST; a++)
            v[a] = a < p.rows ? from[a * p.in_mul] * weight : 0;
        for (int c = 0; c < cols; c++) {
            real sum = 0;
#pragma unroll
            for (int a = 0; a < MOST; a++)
                if (a < p.rows) sum += matrix[a * cols + c] * v[a];
            out[(t * cols + c) * wide + channel] = sum;
        }
    }
}

static int most_rows(const nh_product *p)
{
    size_t most = 0;
    for (size_t i = 0; i < p->in.count; i++)
        most = p->in.group[i].rows > most ? p->in.group[i].rows : most;
    return (int)most;
}

void R(nhk_product_forward)(nh_gpu *g, const nhk_product *p, size_t group, size_t n, const real *x,
                            const real *m, const real *w, size_t stride, real *out)
{
    const nh_group *to = &p->host->out.group[group];
    const size_t work = n * to->mul;
    if (!nhk_ready(g, work)) return;
    const path *paths = static_cast<const path *>(p->path);
    const int *channel = p->channel_path + to->channel;
    if (most_rows(p->host) <= FEW)
        NHK_RUN(g, product_kernel<FEW>, nhk_grid(g, work, NHK_BLOCK), NHK_BLOCK, 0, (unsigned)n,
                (unsigned)to->mul, (int)to->rows, paths, channel, (unsigned)p->host->n_matrix, x, m, w,
                stride, out);
    else
        NHK_RUN(g, product_kernel<MANY>, nhk_grid(g, work, NHK_BLOCK), NHK_BLOCK, 0, (unsigned)n,
                (unsigned)to->mul, (int)to->rows, paths, channel, (unsigned)p->host->n_matrix, x, m, w,
                stride, out);
}

/* grid.y: group of the input; one edge and channel of it, over the paths first..end-1 that begin there. */
template <int MOST>
static __global__ void product_backward_kernel(nhk_layout in, unsigned n, unsigned wide, int cols,
                                               const path *paths, int first, int end, unsigned n_matrix,
                                               const real *gout, const real *x, const real *m, const real *w,
                                               size_t stride, real *gx, real *gw, size_t gw_stride)
{
    const int k = (int)blockIdx.y, mul = in.mul[k], rows = in.rows[k];
    NHK_FOR(i, (size_t)n * mul)
    {
        const size_t t = i / mul, at = (size_t)n * in.offset[k] + t * in.width[k] + i % mul;
        const int u = (int)(i % mul);
        real sum[MOST], v[MOST];
#pragma unroll
        for (int a = 0; a < MOST; a++)
            sum[a] = 0;
        for (int j = first; j < end; j++) {
            const path p = paths[j];
            if (p.in_group != k || u >= p.mul) continue;
            const real *matrix = m + t * n_matrix + p.matrix, weight = w[t * stride + p.weight + u];
            real total = 0;
#pragma unroll
            for (int a = 0; a < MOST; a++)
                v[a] = 0;
            for (int c = 0; c < cols; c++) {
                const real g = gout[(t * cols + c) * wide + p.channel + u];
#pragma unroll
                for (int a = 0; a < MOST; a++)
                    if (a < rows) v[a] += matrix[a * cols + c] * g;
            }
#pragma unroll
            for (int a = 0; a < MOST; a++)
                if (a < rows) {
                    total += x[at + (size_t)a * mul] * v[a];
                    sum[a] += weight * v[a];
                }
            if (gw != nullptr) gw[t * gw_stride + p.weight + u] = total;
        }
        if (gx == nullptr) continue;
#pragma unroll
        for (int a = 0; a < MOST; a++)
            if (a < rows) gx[at + (size_t)a * mul] += sum[a];
    }
}

void R(nhk_product_backward)(nh_gpu *g, const nhk_product *p, size_t group, size_t n, const real *gout,
                             const real *x, const real *m, const real *w, size_t stride, real *gx, real *gw)
{
    const nh_product *h = p->host;
    const nh_group *to = &h->out.group[group];
    const nhk_layout in = nhk_layout_of(g, &h->in);
    const size_t work = n * h->in.channels;
    const int first = (int)h->first_path[group], end = (int)h->first_path[group + 1];
    if (!nhk_ready(g, work)) return;
    /* weights that all rows share: the rows' parts, summed afterwards; this group's weights are a few ranges */
    real *by_row = gw;
    size_t by_row_stride = stride;
    if (gw != nullptr && stride == 0) {
        by_row_stride = h->n_weight;
        by_row = static_cast<real *>(nhk_scratch(g, NHK_SCRATCH_ROWS, n * by_row_stride * sizeof(real)));
        if (by_row == nullptr) return;
    }
    const path *paths = static_cast<const path *>(p->path);
    const dim3 grid = nhk_grid(g, work, NHK_BLOCK, (unsigned)h->in.count);
    if (most_rows(h) <= FEW)
        NHK_RUN(g, product_backward_kernel<FEW>, grid, NHK_BLOCK, 0, in, (unsigned)n, (unsigned)to->mul,
                (int)to->rows, paths, first, end, (unsigned)h->n_matrix, gout, x, m, w, stride, gx, by_row,
                by_row_stride);
    else
        NHK_RUN(g, product_backward_kernel<MANY>, grid, NHK_BLOCK, 0, in, (unsigned)n, (unsigned)to->mul,
                (int)to->rows, paths, first, end, (unsigned)h->n_matrix, gout, x, m, w, stride, gx, by_row,
                by_row_stride);
    if (gw == nullptr || stride > 0) return;
    for (int j = first; j < end; j++)
        R(nhk_column_sums)(g, n, h->path[j].mul, h->n_weight, by_row + h->path[j].weight, nullptr,
                           gw + h->path[j].weight);
}
