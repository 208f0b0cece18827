#include "ops/ops.h"
#include "ops/vector.h"

#include <string.h>

enum { LARGEST_ROWS = 2 * NH_LMAX + 1, IN_REGISTERS = 15 };

void R(nh_coupling_forward)(const nh_product *p, size_t n, const real *y, real *m)
{
    for (size_t k = 0; k < p->n_matrix; k++) {
        real *restrict to = m + k * n;
        size_t i = p->first_term[k];
        const size_t end = p->first_term[k + 1];
        if (i == end) {
            memset(to, 0, n * sizeof(real));
            continue;
        }
        const real *restrict a = y + p->term[i].y * n;
        const real v = (real)p->term[i].value;
        for (size_t t = 0; t < n; t++)
            to[t] = v * a[t];
        for (i++; i < end; i++) {
            const real *restrict b = y + p->term[i].y * n;
            const real w = (real)p->term[i].value;
            for (size_t t = 0; t < n; t++)
                to[t] += w * b[t];
        }
    }
}

/* NH_LANES channels of one edge: out[c] = w * sum_a M[a][c] x[a]. `rows` is a constant where it is called, so
 * that x stays in registers. mul, wide: distance between the rows of x and of out; n: between the numbers of
 * M. */
static inline __attribute__((always_inline)) void path_lanes(size_t rows, size_t cols, size_t n,
                                                             const real *m, const real *x, size_t mul,
                                                             const real *w, real *out, size_t wide)
{
    R(nh_vec) v[IN_REGISTERS];
    const R(nh_vec) weight = R(nh_load)(w);
    for (size_t a = 0; a < rows; a++)
        v[a] = R(nh_load)(x + a * mul) * weight;
    for (size_t c = 0; c < cols; c++) {
        R(nh_vec) sum = m[c * n] * v[0];
        for (size_t a = 1; a < rows; a++)
            sum += m[(a * cols + c) * n] * v[a];
        R(nh_store)(out + c * wide, sum);
    }
}

/* The channels first..mul-1, which do not fill a vector: NH_LANES edges at a time instead, channel by
 * channel. */
static void path_rest(size_t first, const nh_product_path *path, size_t cols, size_t n, const real *x,
                      const real *m, const real *w, size_t stride, real *out, size_t wide)
{
    const size_t rows = path->rows, mul = path->mul;
    for (size_t u = first; u < mul; u++) {
        size_t t = 0;
        for (; t + NH_LANES <= n; t += NH_LANES) {
            real v[LARGEST_ROWS * NH_LANES], weighted[NH_LANES];
            for (size_t i = 0; i < NH_LANES; i++)
                for (size_t a = 0; a < rows; a++)
                    v[a * NH_LANES + i] = w[(t + i) * stride + u] * x[((t + i) * rows + a) * mul + u];
            for (size_t c = 0; c < cols; c++) {
                R(nh_vec) sum = {0};
                for (size_t a = 0; a < rows; a++)
                    sum += R(nh_load)(m + (a * cols + c) * n + t) * R(nh_load)(v + a * NH_LANES);
                R(nh_store)(weighted, sum);
                for (size_t i = 0; i < NH_LANES; i++)
                    out[((t + i) * cols + c) * wide + u] = weighted[i];
            }
        }
        for (; t < n; t++)
            for (size_t c = 0; c < cols; c++) {
                real sum = 0;
                for (size_t a = 0; a < rows; a++)
                    sum += m[(a * cols + c) * n + t] * x[(t * rows + a) * mul + u];
                out[(t * cols + c) * wide + u] = sum * w[t * stride + u];
            }
    }
}

static inline __attribute__((always_inline)) void path_rows(size_t rows, const nh_product_path *path,
                                                            size_t cols, size_t n, const real *x,
                                                            const real *m, const real *w, size_t stride,
                                                            real *out, size_t wide)
{
    const size_t mul = path->mul, whole = mul - mul % NH_LANES;
    for (size_t t = 0; t < n && whole > 0; t++) {
        const real *xt = x + t * rows * mul, *wt = w + t * stride;
        real *to = out + t * cols * wide;
        for (size_t u = 0; u < whole; u += NH_LANES)
            path_lanes(rows, cols, n, m + t, xt + u, mul, wt + u, to + u, wide);
    }
    if (whole < mul) path_rest(whole, path, cols, n, x, m, w, stride, out, wide);
}

void R(nh_product_forward)(const nh_product *p, size_t group, size_t n, const real *x, const real *m,
                           const real *w, size_t stride, real *out)
{
    const size_t cols = p->out.group[group].rows, wide = p->out.group[group].mul;
    for (size_t k = p->first_path[group]; k < p->first_path[group + 1]; k++) {
        const nh_product_path *path = &p->path[k];
        const real *from = x + n * p->in.group[path->in].offset, *matrix = m + path->matrix * n,
                   *weight = w + path->weight;
        real *to = out + path->channel;
        if (path->rows > IN_REGISTERS) /* degrees beyond 7 */
            path_rest(0, path, cols, n, from, matrix, weight, stride, to, wide);
        else
            NH_WITH_ROWS(path->rows, rows,
                         path_rows(rows, path, cols, n, from, matrix, weight, stride, to, wide));
    }
}

/* NH_LANES channels of one edge: v[a] = sum_c M[a][c] g[c], gx[a] += w v[a], gw = sum_a x[a] v[a]. As in
 * path_lanes; gx or gw may be NULL, gw is added to where `sum`. */
static inline __attribute__((always_inline)) void backward_lanes(size_t rows, size_t cols, size_t n,
                                                                 const real *m, const real *g, size_t wide,
                                                                 const real *x, size_t mul, const real *w,
                                                                 real *gx, real *gw, bool sum)
{
    R(nh_vec) v[IN_REGISTERS];
    const R(nh_vec) first = R(nh_load)(g);
    for (size_t a = 0; a < rows; a++)
        v[a] = m[a * cols * n] * first;
    for (size_t c = 1; c < cols; c++) {
        const R(nh_vec) gc = R(nh_load)(g + c * wide);
        for (size_t a = 0; a < rows; a++)
            v[a] += m[(a * cols + c) * n] * gc;
    }
    if (gw != NULL) {
        R(nh_vec) total = R(nh_load)(x) * v[0];
        for (size_t a = 1; a < rows; a++)
            total += R(nh_load)(x + a * mul) * v[a];
        if (sum) total += R(nh_load)(gw);
        R(nh_store)(gw, total);
    }
    if (gx == NULL) return;
    const R(nh_vec) weight = R(nh_load)(w);
    for (size_t a = 0; a < rows; a++)
        R(nh_store)(gx + a * mul, R(nh_load)(gx + a * mul) + weight * v[a]);
}

/* The channels first..mul-1, one at a time. */
static void backward_rest(size_t first, const nh_product_path *path, size_t cols, size_t n, const real *g,
                          size_t wide, const real *x, const real *m, const real *w, size_t stride, real *gx,
                          real *gw)
{
    const size_t rows = path->rows, mul = path->mul;
    for (size_t t = 0; t < n; t++)
        for (size_t u = first; u < mul; u++) {
            real total = 0;
            for (size_t a = 0; a < rows; a++) {
                const size_t at = (t * rows + a) * mul + u;
                real v = 0;
                for (size_t c = 0; c < cols; c++)
                    v += m[(a * cols + c) * n + t] * g[(t * cols + c) * wide + u];
                total += x[at] * v;
                if (gx != NULL) gx[at] += w[t * stride + u] * v;
            }
            if (gw == NULL) continue;
            real *to = gw + t * stride + u;
            *to = stride == 0 ? *to + total : total;
        }
}

static inline __attribute__((always_inline)) void
backward_rows(size_t rows, const nh_product_path *path, size_t cols, size_t n, const real *g, size_t wide,
              const real *x, const real *m, const real *w, size_t stride, real *gx, real *gw)
{
    const size_t mul = path->mul, whole = mul - mul % NH_LANES;
    for (size_t t = 0; t < n && whole > 0; t++)
        for (size_t u = 0; u < whole; u += NH_LANES) {
            const size_t at = t * rows * mul + u;
            backward_lanes(rows, cols, n, m + t, g + t * cols * wide + u, wide, x + at, mul,
                           w + t * stride + u, gx != NULL ? gx + at : NULL,
                           gw != NULL ? gw + t * stride + u : NULL, stride == 0);
        }
    if (whole < mul) backward_rest(whole, path, cols, n, g, wide, x, m, w, stride, gx, gw);
}

void R(nh_product_backward)(const nh_product *p, size_t group, size_t n, const real *gout, const real *x,
                            const real *m, const real *w, size_t stride, real *gx, real *gw)
{
    const size_t cols = p->out.group[group].rows, wide = p->out.group[group].mul;
    for (size_t k = p->first_path[group]; k < p->first_path[group + 1]; k++) {
        const nh_product_path *path = &p->path[k];
        const size_t at = n * p->in.group[path->in].offset;
        const real *g = gout + path->channel, *from = x + at, *matrix = m + path->matrix * n,
                   *weight = w + path->weight;
        real *to = gx != NULL ? gx + at : NULL, *to_w = gw != NULL ? gw + path->weight : NULL;
        if (path->rows > IN_REGISTERS) /* degrees beyond 7 */
            backward_rest(0, path, cols, n, g, wide, from, matrix, weight, stride, to, to_w);
        else
            NH_WITH_ROWS(path->rows, rows,
                         backward_rows(rows, path, cols, n, g, wide, from, matrix, weight, stride, to, to_w));
    }
}
