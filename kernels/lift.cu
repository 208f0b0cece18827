#include "kernels/gpu.h"
#include "kernels/ops.h"

typedef struct path {
    int first, second, mul, weight, channel, term, n_term;
} path;
typedef struct term {
    int a, b, c;
    double value;
} term;

enum { LARGEST = 15 }; /* components of a feature: degrees up to 7 */

#ifndef NH_REAL_DOUBLE
void nhk_lift_new(nh_gpu *g, const nh_lift *host, nhk_lift *out)
{
    *out = nhk_lift{};
    out->host = host;
    const size_t groups = host->out.count, n_path = groups > 0 ? host->first_path[groups] : 0;
    size_t n_term = 0;
    for (size_t k = 0; k < n_path; k++)
        n_term += host->path[k].n_term;
    path *paths = static_cast<path *>(calloc(n_path + 1, sizeof *paths));
    term *terms = static_cast<term *>(calloc(n_term + 1, sizeof *terms));
    int *channel = static_cast<int *>(calloc(host->out.channels + 1, sizeof *channel));
    if (paths == nullptr || terms == nullptr || channel == nullptr) {
        nhk_fail(g, "out of memory for the lift");
        goto done;
    }
    for (size_t i = 0; i < host->in.count; i++)
        if (host->in.group[i].rows > LARGEST)
            nhk_fail(g, "CUDA: features of degree %d, at most 7", host->in.group[i].l);
    for (size_t o = 0; o < groups; o++)
        for (size_t k = host->first_path[o]; k < host->first_path[o + 1]; k++) {
            const nh_lift_product *p = &host->path[k];
            paths[k] = path{(int)p->first,   (int)p->second, (int)p->mul,   (int)p->weight,
                            (int)p->channel, (int)p->term,   (int)p->n_term};
            for (size_t u = 0; u < p->mul; u++)
                channel[host->out.group[o].channel + p->channel + u] = (int)k;
        }
    for (size_t i = 0; i < n_term; i++)
        terms[i] = term{host->term[i].a, host->term[i].b, host->term[i].c, host->term[i].value};
    out->path = nhk_uploaded(g, paths, n_path);
    out->term = nhk_uploaded(g, terms, n_term);
    out->channel_path = nhk_uploaded(g, channel, host->out.channels);
done:
    free(paths);
    free(terms);
    free(channel);
}

void nhk_lift_free(nh_gpu *g, nhk_lift *p)
{
    nhk_free(g, p->path);
    nhk_free(g, p->term);
    nhk_free(g, p->channel_path);
    *p = nhk_lift{};
}
#endif

/* One edge and channel of the output group; the path's terms are ordered by c. */
static __global__ void lift_kernel(nhk_layout in, unsigned n, unsigned wide, int cols, const path *paths,
                                   const term *terms, const int *channel_path, const real *x, const real *y,
                                   const real *w, real *out)
{
    NHK_FOR(i, (size_t)n * wide)
    {
        const size_t t = i / wide;
        const int channel = (int)(i % wide);
        const path p = paths[channel_path[channel]];
        const int u = channel - p.channel;
        const real *a = x + (size_t)n * in.offset[p.first] + t * in.width[p.first] + u,
                   *b = y + (size_t)n * in.offset[p.second] + t * in.width[p.second] + u,
                   weight = w[p.weight + u];
        int j = p.term;
        for (int c = 0; c < cols; c++) {
            real sum = 0;
            for (; j < p.term + p.n_term && terms[j].c == c; j++)
                sum +=
                    (real)terms[j].value * a[terms[j].a * in.mul[p.first]] * b[terms[j].b * in.mul[p.second]];
            out[(t * cols + c) * wide + channel] = weight * sum;
        }
    }
}

void R(nhk_lift_forward)(nh_gpu *g, const nhk_lift *p, size_t group, size_t n, const real *x, const real *y,
                         const real *w, real *out)
{
    const nhk_layout in = nhk_layout_of(g, &p->host->in);
    const nh_group *to = &p->host->out.group[group];
    if (!nhk_ready(g, n * to->mul)) return;
    NHK_RUN(g, lift_kernel, nhk_grid(g, n * to->mul, NHK_BLOCK), NHK_BLOCK, 0, in, (unsigned)n,
            (unsigned)to->mul, (int)to->rows, static_cast<const path *>(p->path),
            static_cast<const term *>(p->term), p->channel_path + to->channel, x, y, w, out);
}

/* grid.y: group of the input; one edge and channel of it, over the paths first..end-1 that it is a factor of. */
static __global__ void lift_backward_kernel(nhk_layout in, unsigned n, unsigned wide, int cols,
                                            const path *paths, const term *terms, int first, int end,
                                            const real *gout, const real *x, const real *y, const real *w,
                                            real *gx, real *gy, real *by_row, unsigned n_weight)
{
    const int k = (int)blockIdx.y, mul = in.mul[k], rows = in.rows[k];
    NHK_FOR(i, (size_t)n * mul)
    {
        const size_t t = i / mul, at = (size_t)n * in.offset[k] + t * in.width[k] + i % mul;
        const int u = (int)(i % mul);
        real ga[LARGEST] = {}, gb[LARGEST] = {};
        for (int q = first; q < end; q++) {
            const path p = paths[q];
            if ((p.first != k && p.second != k) || u >= p.mul) continue;
            const real *a = x + (size_t)n * in.offset[p.first] + t * in.width[p.first] + u,
                       *b = y + (size_t)n * in.offset[p.second] + t * in.width[p.second] + u,
                       *g = gout + t * cols * wide + p.channel + u, weight = w[p.weight + u];
            real total = 0;
            for (int j = p.term; j < p.term + p.n_term; j++) {
                const real v = (real)terms[j].value * g[terms[j].c * wide],
                           va = a[terms[j].a * in.mul[p.first]], vb = b[terms[j].b * in.mul[p.second]];
                if (p.first == k) ga[terms[j].a] += weight * v * vb;
                if (p.second == k) gb[terms[j].b] += weight * v * va;
                total += v * va * vb;
            }
            if (by_row != nullptr && p.first == k) by_row[t * n_weight + p.weight + u] = total;
        }
        for (int a = 0; a < rows; a++) {
            if (gx != nullptr) gx[at + (size_t)a * mul] += ga[a];
            if (gy != nullptr) gy[at + (size_t)a * mul] += gb[a];
        }
    }
}

void R(nhk_lift_backward)(nh_gpu *g, const nhk_lift *p, size_t group, size_t n, const real *gout,
                          const real *x, const real *y, const real *w, real *gx, real *gy, real *gw)
{
    const nh_lift *h = p->host;
    const nhk_layout in = nhk_layout_of(g, &h->in);
    const nh_group *to = &h->out.group[group];
    const size_t work = n * h->in.channels;
    if (!nhk_ready(g, work)) return;
    real *by_row = nullptr;
    if (gw != nullptr) {
        by_row = static_cast<real *>(nhk_scratch(g, NHK_SCRATCH_ROWS, n * h->n_weight * sizeof(real)));
        if (by_row == nullptr) return;
    }
    const int first = (int)h->first_path[group], end = (int)h->first_path[group + 1];
    NHK_RUN(g, lift_backward_kernel, nhk_grid(g, work, NHK_BLOCK, (unsigned)h->in.count), NHK_BLOCK, 0, in,
            (unsigned)n, (unsigned)to->mul, (int)to->rows, static_cast<const path *>(p->path),
            static_cast<const term *>(p->term), first, end, gout, x, y, w, gx, gy, by_row,
            (unsigned)h->n_weight);
    for (int j = first; gw != nullptr && j < end; j++)
        R(nhk_column_sums)(g, n, h->path[j].mul, h->n_weight, by_row + h->path[j].weight, nullptr,
                           gw + h->path[j].weight);
}
