/* Channel-wise product of two features (network/OPTIONS.md 1.3). */
#include "ops/ops.h"
#include "ops/vector.h"

#include <string.h>

enum { LARGEST_ROWS = 2 * NH_LMAX + 1 };

/* `count` channels, at most a vector; the rest is zero. */
static inline R(nh_vec) load_some(const real *p, size_t count)
{
    if (count == NH_LANES) return R(nh_load)(p);
    R(nh_vec) v = {0};
    for (size_t i = 0; i < count; i++)
        v[i] = p[i];
    return v;
}

static inline void store_some(real *p, size_t count, R(nh_vec) v)
{
    if (count == NH_LANES) {
        R(nh_store)(p, v);
        return;
    }
    for (size_t i = 0; i < count; i++)
        p[i] = v[i];
}

/* Channels u.. of one row: rows of x `mul` apart into v. */
static inline void load_rows(size_t rows, size_t mul, size_t count, const real *x, R(nh_vec) *v)
{
    for (size_t a = 0; a < rows; a++)
        v[a] = load_some(x + a * mul, count);
}

static inline size_t channels(const nh_lift_product *path, size_t u)
{
    return path->mul - u < NH_LANES ? path->mul - u : NH_LANES;
}

void R(nh_lift_forward)(const nh_lift *p, size_t group, size_t n, const real *x, const real *y, const real *w,
                        real *out)
{
    const size_t cols = p->out.group[group].rows, wide = p->out.group[group].mul;
    for (size_t k = p->first_path[group]; k < p->first_path[group + 1]; k++) {
        const nh_lift_product *path = &p->path[k];
        const nh_group *i = &p->in.group[path->first], *j = &p->in.group[path->second];
        const real *from_x = x + n * i->offset, *from_y = y + n * j->offset;
        const nh_lift_term *begin = p->term + path->term, *end = begin + path->n_term;
        for (size_t t = 0; t < n; t++)
            for (size_t u = 0; u < path->mul; u += NH_LANES) {
                const size_t count = channels(path, u);
                R(nh_vec) f[LARGEST_ROWS], o[LARGEST_ROWS];
                load_rows(i->rows, i->mul, count, from_x + t * i->dim + u, f);
                load_rows(j->rows, j->mul, count, from_y + t * j->dim + u, o);
                const R(nh_vec) weight = load_some(w + path->weight + u, count);
                real *to = out + t * cols * wide + path->channel + u;
                const nh_lift_term *term = begin;
                for (size_t c = 0; c < cols; c++) {
                    R(nh_vec) sum = {0};
                    for (; term < end && term->c == c; term++)
                        sum += (real)term->value * f[term->a] * o[term->b];
                    store_some(to + c * wide, count, weight * sum);
                }
            }
    }
}

void R(nh_lift_backward)(const nh_lift *p, size_t group, size_t n, const real *gout, const real *x,
                         const real *y, const real *w, real *gx, real *gy, real *gw)
{
    const size_t cols = p->out.group[group].rows, wide = p->out.group[group].mul;
    for (size_t k = p->first_path[group]; k < p->first_path[group + 1]; k++) {
        const nh_lift_product *path = &p->path[k];
        const nh_group *i = &p->in.group[path->first], *j = &p->in.group[path->second];
        const real *from_x = x + n * i->offset, *from_y = y + n * j->offset;
        const nh_lift_term *begin = p->term + path->term, *end = begin + path->n_term;
        for (size_t u = 0; u < path->mul; u += NH_LANES) {
            const size_t count = channels(path, u);
            const R(nh_vec) weight = load_some(w + path->weight + u, count);
            R(nh_vec) total = {0};
            for (size_t t = 0; t < n; t++) {
                /* gf, go: gradients of f and o for a weight of one */
                R(nh_vec) f[LARGEST_ROWS], o[LARGEST_ROWS], gf[LARGEST_ROWS], go[LARGEST_ROWS];
                const real *g = gout + t * cols * wide + path->channel + u;
                load_rows(i->rows, i->mul, count, from_x + t * i->dim + u, f);
                load_rows(j->rows, j->mul, count, from_y + t * j->dim + u, o);
                memset(gf, 0, i->rows * sizeof *gf);
                memset(go, 0, j->rows * sizeof *go);
                for (const nh_lift_term *term = begin; term < end;) {
                    const unsigned c = term->c;
                    const R(nh_vec) gc = load_some(g + c * wide, count);
                    for (; term < end && term->c == c; term++) {
                        const R(nh_vec) v = (real)term->value * gc;
                        gf[term->a] += v * o[term->b];
                        go[term->b] += v * f[term->a];
                    }
                }
                for (size_t a = 0; a < i->rows; a++)
                    total += f[a] * gf[a];
                for (size_t a = 0; gx != NULL && a < i->rows; a++) {
                    real *to = gx + n * i->offset + t * i->dim + a * i->mul + u;
                    store_some(to, count, load_some(to, count) + weight * gf[a]);
                }
                for (size_t b = 0; gy != NULL && b < j->rows; b++) {
                    real *to = gy + n * j->offset + t * j->dim + b * j->mul + u;
                    store_some(to, count, load_some(to, count) + weight * go[b]);
                }
            }
            if (gw != NULL)
                store_some(gw + path->weight + u, count, load_some(gw + path->weight + u, count) + total);
        }
    }
}
