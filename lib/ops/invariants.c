#include "ops/ops.h"
#include "ops/vector.h"

#include <math.h>
#include <string.h>

/* X of docs/network.md 3.5 */
static double path_count(const nh_layout *layout)
{
    double count = 0;
    for (size_t i = 0; i < layout->n_entry; i++)
        count += (double)layout->entry[i].mul * (double)layout->entry[i].mul;
    return count;
}

/* Where the pairs of a group begin. */
static size_t first_pair(const nh_layout *layout, size_t group)
{
    size_t pair = 0;
    for (size_t g = 0; g < group; g++)
        pair += layout->group[g].mul * (layout->group[g].mul + 1) / 2;
    return pair;
}

void R(nh_pairs_pack)(const nh_layout *layout, size_t hidden, const real *flat, real *w)
{
    const double count = path_count(layout);
    size_t block = 0;
    for (size_t i = 0; i < layout->n_entry; i++) {
        const nh_layout_entry *e = &layout->entry[i];
        const real scale = (real)(1 / sqrt(count * (double)e->rows));
        real *to = w + first_pair(layout, e->group) * hidden;
        for (size_t u = 0; u < e->mul; u++)
            for (size_t v = u; v < e->mul; v++, to += hidden) {
                const real *a = flat + block + (u * e->mul + v) * hidden,
                           *b = flat + block + (v * e->mul + u) * hidden;
                for (size_t c = 0; c < hidden; c++)
                    to[c] = u == v ? scale * a[c] : scale * (a[c] + b[c]);
            }
        block += e->mul * e->mul * hidden;
    }
}

void R(nh_pairs_unpack_add)(const nh_layout *layout, size_t hidden, const real *gw, real *flat)
{
    const double count = path_count(layout);
    size_t block = 0;
    for (size_t i = 0; i < layout->n_entry; i++) {
        const nh_layout_entry *e = &layout->entry[i];
        const real scale = (real)(1 / sqrt(count * (double)e->rows));
        const real *from = gw + first_pair(layout, e->group) * hidden;
        for (size_t u = 0; u < e->mul; u++)
            for (size_t v = u; v < e->mul; v++, from += hidden) {
                real *a = flat + block + (u * e->mul + v) * hidden,
                     *b = flat + block + (v * e->mul + u) * hidden;
                for (size_t c = 0; c < hidden; c++)
                    a[c] += scale * from[c];
                for (size_t c = 0; u != v && c < hidden; c++)
                    b[c] += scale * from[c];
            }
        block += e->mul * e->mul * hidden;
    }
}

void R(nh_pairs_forward)(const nh_layout *layout, size_t n, const real *x, real *q)
{
    for (size_t t = 0; t < n; t++)
        for (size_t g = 0; g < layout->count; g++) {
            const nh_group *group = &layout->group[g];
            const size_t mul = group->mul;
            const real *a = x + n * group->offset + t * group->dim;
            for (size_t u = 0; u < mul; u++) {
                real *restrict to = q;
                for (size_t v = u; v < mul; v++)
                    to[v - u] = a[u] * a[v];
                for (size_t m = 1; m < group->rows; m++) {
                    const real *restrict row = a + m * mul;
                    for (size_t v = u; v < mul; v++)
                        to[v - u] += row[u] * row[v];
                }
                q += mul - u;
            }
        }
}

/* One row of one group with mul a multiple of NH_HALF, a vector of columns of y at a time in registers: the matrix of the
 * pairs' coefficients is symmetric with a doubled diagonal, square[u][v]. mul is a constant where it is called. */
static inline __attribute__((always_inline)) void
pairs_gradient_lanes(size_t rows, size_t mul, const real *square, const real *a, bool add, real *b)
{
    size_t first = 0;
    for (; first + NH_LANES <= mul; first += NH_LANES)
        for (size_t m = 0; m < rows; m++) {
            R(nh_vec) sum = {0};
            if (add) sum = R(nh_load)(b + m * mul + first);
            for (size_t v = 0; v < mul; v++)
                sum += a[m * mul + v] * R(nh_load)(square + v * mul + first);
            R(nh_store)(b + m * mul + first, sum);
        }
    for (; first + NH_HALF <= mul; first += NH_HALF)
        for (size_t m = 0; m < rows; m++) {
            R(nh_half) sum = {0};
            if (add) sum = R(nh_load_half)(b + m * mul + first);
            for (size_t v = 0; v < mul; v++)
                sum += a[m * mul + v] * R(nh_load_half)(square + v * mul + first);
            R(nh_store_half)(b + m * mul + first, sum);
        }
}

void R(nh_pairs_backward)(const nh_layout *layout, size_t n, const real *g, const real *x, real *y, bool add)
{
    enum { LARGEST = 64 };
    real square[LARGEST * LARGEST];
    for (size_t t = 0; t < n; t++)
        for (size_t k = 0; k < layout->count; k++) {
            const nh_group *group = &layout->group[k];
            const size_t mul = group->mul;
            const real *a = x + n * group->offset + t * group->dim;
            real *b = y + n * group->offset + t * group->dim;
            if (mul <= LARGEST && mul % NH_HALF == 0) {
                for (size_t u = 0; u < mul; u++) {
                    memcpy(square + u * mul + u, g, (mul - u) * sizeof(real));
                    for (size_t v = u; v < mul; v++)
                        square[v * mul + u] = g[v - u];
                    square[u * mul + u] = 2 * g[0];
                    g += mul - u;
                }
                NH_WITH_WIDTH(mul, width, pairs_gradient_lanes(group->rows, width, square, a, add, b));
                continue;
            }
            if (!add) memset(b, 0, group->dim * sizeof(real));
            for (size_t u = 0; u < mul; u++) {
                /* the pair (u,v) gives y_u += g x_v and y_v += g x_u; (u,u) gives both */
                for (size_t m = 0; m < group->rows; m++) {
                    const real *restrict from = a + m * mul;
                    real *restrict to = b + m * mul;
                    to[u] += R(nh_dot)(mul - u, g, from + u);
                    for (size_t v = u; v < mul; v++)
                        to[v] += g[v - u] * from[u];
                }
                g += mul - u;
            }
        }
}

void R(nh_pairs_tangent_forward)(const nh_layout *layout, size_t n, const real *x, const real *dx, real *dq)
{
    for (size_t t = 0; t < n; t++)
        for (size_t g = 0; g < layout->count; g++) {
            const nh_group *group = &layout->group[g];
            const size_t mul = group->mul, at = n * group->offset + t * group->dim;
            const real *a = x + at, *d = dx + at;
            for (size_t u = 0; u < mul; u++) {
                real *restrict to = dq;
                for (size_t v = u; v < mul; v++)
                    to[v - u] = a[u] * d[v] + d[u] * a[v];
                for (size_t m = 1; m < group->rows; m++) {
                    const real *restrict am = a + m * mul, *restrict dm = d + m * mul;
                    for (size_t v = u; v < mul; v++)
                        to[v - u] += am[u] * dm[v] + dm[u] * am[v];
                }
                dq += mul - u;
            }
        }
}

/* scale |x|/(|y|+1e-5) of row t */
static real tracegrad_factor(const nh_layout *layout, size_t n, size_t t, double scale, const real *x,
                             const real *y)
{
    real xx = 0, yy = 0;
    for (size_t g = 0; g < layout->count; g++) {
        const nh_group *group = &layout->group[g];
        const size_t at = n * group->offset + t * group->dim;
        xx += R(nh_dot)(group->dim, x + at, x + at);
        yy += R(nh_dot)(group->dim, y + at, y + at);
    }
    return (real)scale * NH_SQRT(xx) / (NH_SQRT(yy) + (real)1e-5);
}

void R(nh_tracegrad_factor_forward)(const nh_layout *layout, size_t n, double scale, const real *x,
                                    const real *y, real *k)
{
    for (size_t t = 0; t < n; t++)
        k[t] = tracegrad_factor(layout, n, t, scale, x, y);
}

void R(nh_tracegrad_add_forward)(const nh_layout *layout, size_t n, const real *k, const real *y, real *x)
{
    for (size_t t = 0; t < n; t++) {
        for (size_t g = 0; g < layout->count; g++) {
            const nh_group *group = &layout->group[g];
            const real *restrict from = y + n * group->offset + t * group->dim;
            real *restrict to = x + n * group->offset + t * group->dim;
            for (size_t i = 0; i < group->dim; i++)
                to[i] += k[t] * from[i];
        }
    }
}

void R(nh_tracegrad_add_backward)(const nh_layout *layout, size_t n, const real *k, const real *g, real *gy)
{
    for (size_t i = 0; i < layout->count; i++) {
        const nh_group *group = &layout->group[i];
        for (size_t t = 0; t < n; t++) {
            const size_t at = n * group->offset + t * group->dim;
            for (size_t j = 0; j < group->dim; j++)
                gy[at + j] = k[t] * g[at + j];
        }
    }
}

static size_t widest_hidden(const R(nh_mlp) *m)
{
    size_t widest = 0;
    for (size_t i = 1; i < m->layers; i++)
        if (m->width[i] > widest) widest = m->width[i];
    return widest;
}

size_t R(nh_invariants_work)(const nh_layout *layout, const R(nh_mlp) *m)
{
    return 4 * layout->pairs + R(nh_mlp_jvp_size)(m) + 4 * widest_hidden(m);
}

void R(nh_invariants_backward)(const nh_layout *layout, const R(nh_mlp) *m, size_t n, const real *gz,
                               const real *gy, const real *x, real *work, real *gx, bool add,
                               const R(nh_mlp_gradient) *g)
{
    const size_t both = 2 * n * layout->pairs, tangent = n * layout->pairs;
    real *q = work, *gq = q + both, *kept = gq + both, *scratch = kept + n * R(nh_mlp_jvp_size)(m);
    R(nh_pairs_forward)(layout, n, x, q);
    if (gy == NULL) {
        if (gz == NULL) {
            if (gx != NULL && !add) memset(gx, 0, n * layout->dim * sizeof(real));
            return;
        }
        R(nh_mlp_forward)(m, n, q, kept, NULL, false);
        R(nh_mlp_backward)(m, n, gz, q, kept, scratch, gx != NULL ? gq : NULL, false, g);
        if (gx != NULL) R(nh_pairs_backward)(layout, n, gq, x, gx, add);
        return;
    }
    R(nh_pairs_tangent_forward)(layout, n, x, gy, q + tangent);
    R(nh_mlp_jvp_forward)(m, n, q, kept, NULL);
    R(nh_mlp_jvp_backward)(m, n, gz, NULL, q, kept, scratch, gx != NULL ? gq : NULL, g);
    if (gx == NULL) return;
    R(nh_pairs_backward)(layout, n, gq, x, gx, add);
    R(nh_pairs_backward)(layout, n, gq + tangent, gy, gx, true);
}
