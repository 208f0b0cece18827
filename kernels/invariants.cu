#include "kernels/gpu.h"
#include "kernels/ops.h"

#include <cmath>

#ifndef NH_REAL_DOUBLE
int *nhk_pairs_table(nh_gpu *g, const nh_layout *layout)
{
    int *table = static_cast<int *>(malloc((layout->pairs + 1) * sizeof *table)), *out = nullptr;
    size_t at = 0;
    if (table == nullptr) nhk_fail(g, "out of memory for the pairs of channels");
    for (size_t k = 0; table != nullptr && k < layout->count; k++) {
        const size_t mul = layout->group[k].mul;
        if (mul > 256) nhk_fail(g, "CUDA: %zu channels of one irrep in TraceGrad, at most 256", mul);
        for (size_t u = 0; u < mul; u++)
            for (size_t v = u; v < mul; v++)
                table[at++] = (int)(k << 16 | (u & 255) << 8 | (v & 255));
    }
    if (table != nullptr) out = static_cast<int *>(nhk_alloc(g, layout->pairs, sizeof *out));
    if (out != nullptr) nhk_upload(g, out, table, layout->pairs * sizeof *out);
    free(table);
    return out;
}
#endif

/* Where the coefficients of each group's channels stand in the flat parameter, [mul][mul][hidden], and what they are scaled
 * with (docs/network.md 3.5). Every irrep is one entry (nextham/config.c), so that groups are entries. */
typedef struct forms {
    size_t at[NHK_GROUPS];
    real scale[NHK_GROUPS];
} forms;

static forms forms_of(nh_gpu *g, const nh_layout *layout, size_t hidden)
{
    forms f = {};
    double count = 0;
    size_t at = 0;
    for (size_t i = 0; i < layout->n_entry; i++)
        count += (double)layout->entry[i].mul * (double)layout->entry[i].mul;
    if (layout->n_entry != layout->count) nhk_fail(g, "CUDA: an irrep occurs twice in TraceGrad");
    for (size_t i = 0; !g->failed && i < layout->n_entry; i++) {
        const nh_layout_entry *e = &layout->entry[i];
        f.at[e->group] = at;
        f.scale[e->group] = (real)(1 / sqrt(count * (double)e->rows));
        at += e->mul * e->mul * hidden;
    }
    return f;
}

static __global__ void pairs_pack_kernel(nhk_layout l, forms f, const int *table, unsigned pairs,
                                         unsigned hidden, const real *flat, real *w)
{
    NHK_FOR(i, (size_t)pairs * hidden)
    {
        const int pair = table[i / hidden], k = pair >> 16, u = pair >> 8 & 255, v = pair & 255,
                  mul = l.mul[k];
        const real *from = flat + f.at[k] + i % hidden, a = from[(size_t)(u * mul + v) * hidden],
                   b = u == v ? 0 : from[(size_t)(v * mul + u) * hidden];
        w[i] = f.scale[k] * (a + b);
    }
}

void R(nhk_pairs_pack)(nh_gpu *g, const nh_layout *layout, const int *table, size_t hidden, const real *flat,
                       real *w)
{
    const nhk_layout l = nhk_layout_of(g, layout);
    const size_t n = layout->pairs * hidden;
    if (!nhk_ready(g, n)) return;
    const forms f = forms_of(g, layout, hidden);
    if (nhk_ready(g, n))
        NHK_RUN(g, pairs_pack_kernel, nhk_grid(g, n, NHK_BLOCK), NHK_BLOCK, 0, l, f, table,
                (unsigned)layout->pairs, (unsigned)hidden, flat, w);
}

/* The two places of a pair are no other pair's. */
static __global__ void pairs_unpack_kernel(nhk_layout l, forms f, const int *table, unsigned pairs,
                                           unsigned hidden, const real *gw, real *flat)
{
    NHK_FOR(i, (size_t)pairs * hidden)
    {
        const int pair = table[i / hidden], k = pair >> 16, u = pair >> 8 & 255, v = pair & 255,
                  mul = l.mul[k];
        real *to = flat + f.at[k] + i % hidden;
        const real x = f.scale[k] * gw[i];
        to[(size_t)(u * mul + v) * hidden] += x;
        if (u != v) to[(size_t)(v * mul + u) * hidden] += x;
    }
}

void R(nhk_pairs_unpack_add)(nh_gpu *g, const nh_layout *layout, const int *table, size_t hidden,
                             const real *gw, real *flat)
{
    const nhk_layout l = nhk_layout_of(g, layout);
    const size_t n = layout->pairs * hidden;
    if (!nhk_ready(g, n)) return;
    const forms f = forms_of(g, layout, hidden);
    if (nhk_ready(g, n))
        NHK_RUN(g, pairs_unpack_kernel, nhk_grid(g, n, NHK_BLOCK), NHK_BLOCK, 0, l, f, table,
                (unsigned)layout->pairs, (unsigned)hidden, gw, flat);
}

/* dx NULL: q = x_u . x_v; else the tangent x_u . dx_v + dx_u . x_v */
static __global__ void pairs_kernel(nhk_layout l, const int *table, unsigned n, unsigned pairs, const real *x,
                                    const real *dx, real *q)
{
    NHK_FOR(i, (size_t)n * pairs)
    {
        const size_t t = i / pairs;
        const int pair = table[i % pairs], k = pair >> 16, u = pair >> 8 & 255, v = pair & 255,
                  mul = l.mul[k];
        const size_t at = (size_t)n * l.offset[k] + t * l.width[k];
        real sum = 0;
        for (int m = 0; m < l.width[k]; m += mul)
            sum += dx == nullptr ? x[at + m + u] * x[at + m + v]
                                 : x[at + m + u] * dx[at + m + v] + dx[at + m + u] * x[at + m + v];
        q[i] = sum;
    }
}

static void pairs(nh_gpu *g, const nh_layout *layout, const int *table, size_t n, const real *x,
                  const real *dx, real *q)
{
    const nhk_layout l = nhk_layout_of(g, layout);
    if (!nhk_ready(g, n * layout->pairs)) return;
    NHK_RUN(g, pairs_kernel, nhk_grid(g, n * layout->pairs, NHK_BLOCK), NHK_BLOCK, 0, l, table, (unsigned)n,
            (unsigned)layout->pairs, x, dx, q);
}

void R(nhk_pairs_forward)(nh_gpu *g, const nh_layout *layout, const int *table, size_t n, const real *x,
                          real *q)
{
    pairs(g, layout, table, n, x, nullptr, q);
}

void R(nhk_pairs_tangent_forward)(nh_gpu *g, const nh_layout *layout, const int *table, size_t n,
                                  const real *x, const real *dx, real *dq)
{
    pairs(g, layout, table, n, x, dx, dq);
}

/* grid.y: group, whose pairs begin at first[group]; one row and number u of component m: sum over v of the pair's
 * coefficient (twice that of (u,u)) times x_v. */
typedef struct firsts {
    int at[NHK_GROUPS];
} firsts;

static __global__ void pairs_backward_kernel(nhk_layout l, firsts first, unsigned n, unsigned n_pair,
                                             const real *g, const real *x, real *gx, bool add)
{
    const int k = (int)blockIdx.y, mul = l.mul[k], dim = l.width[k];
    NHK_FOR(i, (size_t)n * dim)
    {
        const size_t t = i / dim, at = (size_t)n * l.offset[k] + i;
        const int u = (int)(i % dim) % mul;
        const real *gt = g + t * n_pair + first.at[k], *row = x + at - u;
        real sum = 0;
        for (int v = 0; v < mul; v++) {
            const int lo = u < v ? u : v, hi = u < v ? v : u;
            sum += (u == v ? 2 : 1) * gt[lo * mul - lo * (lo - 1) / 2 + hi - lo] * row[v];
        }
        gx[at] = add ? gx[at] + sum : sum;
    }
}

void R(nhk_pairs_backward)(nh_gpu *g, const nh_layout *layout, size_t n, const real *gq, const real *x,
                           real *gx, bool add)
{
    const nhk_layout l = nhk_layout_of(g, layout);
    firsts first = {};
    for (size_t k = 0; k + 1 < layout->count && k + 1 < NHK_GROUPS; k++)
        first.at[k + 1] = first.at[k] + (int)(layout->group[k].mul * (layout->group[k].mul + 1) / 2);
    if (!nhk_ready(g, n * layout->dim)) return;
    NHK_RUN(g, pairs_backward_kernel, nhk_grid(g, n * layout->dim, NHK_BLOCK, (unsigned)layout->count),
            NHK_BLOCK, 0, l, first, (unsigned)n, (unsigned)layout->pairs, gq, x, gx, add);
}

/* A warp a row. */
static __global__ void factor_kernel(nhk_layout l, unsigned n, real scale, const real *x, const real *y,
                                     real *k)
{
    const int lane = threadIdx.x % NHK_WARP;
    for (size_t t = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) / NHK_WARP; t < n;
         t += (size_t)gridDim.x * blockDim.x / NHK_WARP) {
        real xx = 0, yy = 0;
        for (int i = 0; i < l.count; i++) {
            const size_t at = (size_t)n * l.offset[i] + t * l.width[i];
            for (int j = lane; j < l.width[i]; j += NHK_WARP) {
                xx += x[at + j] * x[at + j];
                yy += y[at + j] * y[at + j];
            }
        }
        xx = nhk_warp_sum(xx);
        yy = nhk_warp_sum(yy);
        if (lane == 0) k[t] = scale * nhk_sqrt(xx) / (nhk_sqrt(yy) + (real)1e-5);
    }
}

void R(nhk_tracegrad_factor_forward)(nh_gpu *g, const nh_layout *layout, size_t n, double scale,
                                     const real *x, const real *y, real *k)
{
    const nhk_layout l = nhk_layout_of(g, layout);
    if (!nhk_ready(g, n * layout->dim)) return;
    NHK_RUN(g, factor_kernel, nhk_grid(g, n * NHK_WARP, NHK_BLOCK), NHK_BLOCK, 0, l, (unsigned)n, (real)scale,
            x, y, k);
}

/* grid.y: group. to = from k, or to += from k */
static __global__ void scaled_kernel(nhk_layout l, unsigned n, const real *k, const real *from, real *to,
                                     bool add)
{
    const int group = (int)blockIdx.y, dim = l.width[group];
    NHK_FOR(i, (size_t)n * dim)
    {
        const size_t at = (size_t)n * l.offset[group] + i;
        const real v = k[i / dim] * from[at];
        to[at] = add ? to[at] + v : v;
    }
}

static void scaled(nh_gpu *g, const nh_layout *layout, size_t n, const real *k, const real *from, real *to,
                   bool add)
{
    const nhk_layout l = nhk_layout_of(g, layout);
    if (!nhk_ready(g, n * layout->dim)) return;
    NHK_RUN(g, scaled_kernel, nhk_grid(g, n * layout->dim, NHK_BLOCK, (unsigned)layout->count), NHK_BLOCK, 0,
            l, (unsigned)n, k, from, to, add);
}

void R(nhk_tracegrad_add_forward)(nh_gpu *g, const nh_layout *layout, size_t n, const real *k, const real *y,
                                  real *x)
{
    scaled(g, layout, n, k, y, x, true);
}

void R(nhk_tracegrad_add_backward)(nh_gpu *g, const nh_layout *layout, size_t n, const real *k,
                                   const real *gx, real *gy)
{
    scaled(g, layout, n, k, gx, gy, false);
}

static size_t widest_hidden(const R(nh_mlp) *m)
{
    size_t widest = 0;
    for (size_t i = 1; i < m->layers; i++)
        if (m->width[i] > widest) widest = m->width[i];
    return widest;
}

size_t R(nhk_invariants_work)(const nh_layout *layout, const R(nh_mlp) *m)
{
    return 4 * layout->pairs + R(nhk_mlp_jvp_size)(m) + 4 * widest_hidden(m);
}

void R(nhk_invariants_backward)(nh_gpu *g, const nh_layout *layout, const int *table, const R(nh_mlp) *m,
                                size_t n, const real *gz, const real *gy, const real *x, real *work, real *gx,
                                bool add, const R(nh_mlp_gradient) *gradient)
{
    const size_t both = 2 * n * layout->pairs, tangent = n * layout->pairs;
    real *q = work, *gq = q + both, *kept = gq + both, *scratch = kept + n * R(nhk_mlp_jvp_size)(m);
    R(nhk_pairs_forward)(g, layout, table, n, x, q);
    if (gy == nullptr) {
        if (gz == nullptr) {
            if (gx != nullptr && !add) nhk_zero(g, gx, n * layout->dim * sizeof(real));
            return;
        }
        R(nhk_mlp_forward)(g, m, n, q, kept, nullptr, false);
        R(nhk_mlp_backward)(g, m, n, gz, q, kept, scratch, gx != nullptr ? gq : nullptr, false, gradient);
        if (gx != nullptr) R(nhk_pairs_backward)(g, layout, n, gq, x, gx, add);
        return;
    }
    R(nhk_pairs_tangent_forward)(g, layout, table, n, x, gy, q + tangent);
    R(nhk_mlp_jvp_forward)(g, m, n, q, kept, nullptr);
    R(nhk_mlp_jvp_backward)(g, m, n, gz, nullptr, q, kept, scratch, gx != nullptr ? gq : nullptr, gradient);
    if (gx == nullptr) return;
    R(nhk_pairs_backward)(g, layout, n, gq, x, gx, add);
    R(nhk_pairs_backward)(g, layout, n, gq + tangent, gy, gx, true);
}
