#include "ops/ops.h"
#include "ops/vector.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { TOGETHER = 8, LARGEST_ROWS = 2 * NH_LMAX + 1 };

/* ---- rotations */

/* v of some edges: cosine and sine of the polar angle b, and of m times the azimuth a. */
typedef struct angles {
    double polar[2][TOGETHER];
    double cosine[NH_LMAX + 1][TOGETHER], sine[NH_LMAX + 1][TOGETHER];
} angles;

/* hypot: a vector along z up to very small x and y has a direction as good as any other. */
static void find_angles(int lmax, size_t n, const double *v, angles *to, real *along)
{
    for (size_t i = 0; i < TOGETHER; i++) {
        const double *r = v + 3 * (i < n ? i : 0);
        const double radius = hypot(r[0], r[1]), length = hypot(radius, r[2]);
        const bool direction = length > 1e-12; /* as in o3/harmonics.c */
        const double x = radius > 0 && direction ? r[0] / radius : 1,
                     y = radius > 0 && direction ? r[1] / radius : 0;
        to->polar[0][i] = direction ? r[2] / length : 1;
        to->polar[1][i] = direction ? radius / length : 0;
        to->cosine[0][i] = 1;
        to->sine[0][i] = 0;
        for (int m = 1; m <= lmax; m++) {
            to->cosine[m][i] = x * to->cosine[m - 1][i] - y * to->sine[m - 1][i];
            to->sine[m][i] = x * to->sine[m - 1][i] + y * to->cosine[m - 1][i];
        }
        if (i < n) along[i] = direction ? 1 : 0;
    }
}

/* D_l = d_l Z: d_l the rotation about y by -b, [2l+1][2l+1][TOGETHER], Z that about z by -a. */
static void join(int degree, const angles *a, const double *d, size_t n, size_t stride, real *to)
{
    const size_t l = (size_t)degree, width = 2 * l + 1;
    for (size_t i = 0; i < n; i++, to += stride)
        for (size_t row = 0; row < width; row++) {
            const double *below = d + (row * width + l) * TOGETHER + i, *above = below;
            real *restrict out = to + row * width + l;
            out[0] = (real)(row < l ? 0 : *below);
            for (size_t m = 1; m <= l; m++) {
                below -= TOGETHER;
                above += TOGETHER;
                const double cosine = a->cosine[m][i], sine = a->sine[m][i];
                out[m] = (real)(row < l ? -sine * *below : cosine * *above);
                out[-(ptrdiff_t)m] = (real)(row < l ? cosine * *below : sine * *above);
            }
        }
}

void R(nh_frame_forward)(const nh_frame *f, size_t n, const double *v, real *d, real *along)
{
    double even[LARGEST_ROWS * LARGEST_ROWS * TOGETHER], odd[LARGEST_ROWS * LARGEST_ROWS * TOGETHER];
    for (size_t first = 0; first < n;
         first += TOGETHER, v += 3 * TOGETHER, d += TOGETHER * f->n_rotation, along += TOGETHER) {
        const size_t count = n - first < TOGETHER ? n - first : TOGETHER;
        angles a;
        find_angles(f->lmax, count, v, &a, along);
        double one[9][TOGETHER] = {{0}}; /* (y, z, x) */
        for (size_t i = 0; i < TOGETHER; i++) {
            one[0][i] = 1;
            one[4][i] = one[8][i] = a.polar[0][i];
            one[5][i] = a.polar[1][i];
            one[7][i] = -a.polar[1][i];
        }
        memcpy(odd, one, sizeof one);
        if (f->lmax > 0) join(1, &a, odd, count, f->n_rotation, d);
        for (int l = 2; l <= f->lmax; l++) {
            const size_t width = 2 * (size_t)l + 1;
            double *restrict to = l % 2 == 0 ? even : odd;
            const double *restrict lower = l % 2 == 0 ? odd : even;
            memset(to, 0, width * width * TOGETHER * sizeof *to);
            for (size_t k = f->first_turn[l]; k < f->first_turn[l + 1]; k++) {
                const nh_turn *t = &f->turn[k];
                for (size_t i = 0; i < TOGETHER; i++)
                    to[t->to * TOGETHER + i] += t->value * one[t->first][i] * lower[t->lower * TOGETHER + i];
            }
            join(l, &a, to, count, f->n_rotation, d + nh_frame_degree(l));
        }
    }
}

/* Channels of one edge that fill a vector, or half of one: x[c] = sum_a d[c*row + a*step] x[a]. `rows` is a constant where it
 * is called. */
static inline __attribute__((always_inline)) void rotate_lanes(size_t rows, const real *d, size_t row,
                                                               size_t step, real *x, size_t mul)
{
    R(nh_vec) v[LARGEST_ROWS];
    for (size_t a = 0; a < rows; a++)
        v[a] = R(nh_load)(x + a * mul);
    for (size_t c = 0; c < rows; c++) {
        R(nh_vec) sum = d[c * row] * v[0];
        for (size_t a = 1; a < rows; a++)
            sum += d[c * row + a * step] * v[a];
        R(nh_store)(x + c * mul, sum);
    }
}

static inline __attribute__((always_inline)) void rotate_half(size_t rows, const real *d, size_t row,
                                                              size_t step, real *x, size_t mul)
{
    R(nh_half) v[LARGEST_ROWS];
    for (size_t a = 0; a < rows; a++)
        v[a] = R(nh_load_half)(x + a * mul);
    for (size_t c = 0; c < rows; c++) {
        R(nh_half) sum = d[c * row] * v[0];
        for (size_t a = 1; a < rows; a++)
            sum += d[c * row + a * step] * v[a];
        R(nh_store_half)(x + c * mul, sum);
    }
}

static inline __attribute__((always_inline)) void rotate_rows(size_t rows, const real *d, bool back, real *x,
                                                              size_t mul)
{
    const size_t row = back ? 1 : rows, step = back ? rows : 1;
    size_t whole = 0;
    for (; whole + NH_LANES <= mul; whole += NH_LANES)
        rotate_lanes(rows, d, row, step, x + whole, mul);
    for (; whole + NH_HALF <= mul; whole += NH_HALF)
        rotate_half(rows, d, row, step, x + whole, mul);
    if (whole == mul) return;
    real rest[LARGEST_ROWS * NH_HALF] = {0}; /* channels that do not fill a vector, and zeros */
    for (size_t a = 0; a < rows; a++)
        for (size_t u = whole; u < mul; u++)
            rest[a * NH_HALF + u - whole] = x[a * mul + u];
    rotate_half(rows, d, row, step, rest, NH_HALF);
    for (size_t a = 0; a < rows; a++)
        for (size_t u = whole; u < mul; u++)
            x[a * mul + u] = rest[a * NH_HALF + u - whole];
}

void R(nh_rotate)(const nh_frame *f, const nh_layout *layout, size_t n, const real *d, bool back, real *x)
{
    for (size_t g = 0; g < layout->count; g++) {
        const nh_group *group = &layout->group[g];
        if (group->l == 0) continue;
        const real *from = d + nh_frame_degree(group->l);
        real *to = x + n * group->offset;
        NH_WITH_ROWS(group->rows, rows,
                     for (size_t t = 0; t < n; t++, from += f->n_rotation, to += group->dim)
                         rotate_rows(rows, from, back, to, group->mul));
    }
}

/* ---- product and linear map, weights of each edge */

/* Rows m and -m of group g. */
static const struct nh_frame_row *row_of(const nh_frame *f, size_t g, int m)
{
    return &f->row[g * ((size_t)f->lmax + 1) + (size_t)m];
}

/* What a path takes part in the rows m and -m with. */
typedef struct part {
    const nh_product_path *path;
    size_t column, plus, minus; /* of the rows; offsets of the components of x in an edge's group */
    real c, opposite;           /* factor of row m, of row -m */
} part;

static bool takes_part(const nh_frame *f, size_t group, size_t k, int m, part *to)
{
    const nh_frame_path *path = &f->path[k];
    const nh_product_path *of = &f->product->path[path->path];
    const int l1 = f->product->in.group[of->in].l;
    if (l1 < m || (path->odd && m == 0)) return false;
    const real c = (real)f->constant[path->constant + (size_t)m];
    const size_t above = (size_t)(l1 + m) * of->mul, below = (size_t)(l1 - m) * of->mul;
    *to = (part){.path = of,
                 .column = path->channel - row_of(f, group, m)->first,
                 .plus = path->odd ? below : above,
                 .minus = path->odd ? above : below,
                 .c = c,
                 .opposite = path->odd ? -c : c};
    return true;
}

/* The columns of a path, of row m and, where `both`, row -m: to[t][u] = c w[t][u] x[t][u]. mul is a constant where it is called;
 * dim, wide: numbers of an edge in x, in a row; along NULL: ones. */
static inline __attribute__((always_inline)) void columns(size_t mul, bool both, const part *a, size_t n,
                                                          size_t dim, const real *x, const real *along,
                                                          const real *restrict w, size_t stride, size_t wide,
                                                          real *restrict to)
{
    const real *restrict plus = x + a->plus, *restrict minus = x + a->minus;
    real *restrict opposite = to + n * wide; /* the rows -m after the rows m */
    for (size_t t = 0; t < n; t++, plus += dim, minus += dim, w += stride, to += wide, opposite += wide) {
        const real factor = along != NULL ? along[t] : 1, c = factor * a->c, d = factor * a->opposite;
        for (size_t u = 0; u < mul; u++)
            to[u] = c * w[u] * plus[u];
        for (size_t u = 0; both && u < mul; u++)
            opposite[u] = d * w[u] * minus[u];
    }
}

void R(nh_aligned_forward)(const nh_frame *f, size_t group, int m, size_t n, const real *x, const real *along,
                           const real *w, size_t stride, real *out)
{
    const nh_product *p = f->product;
    const size_t wide = row_of(f, group, m)->count;
    for (size_t k = p->first_path[group]; k < p->first_path[group + 1]; k++) {
        part a;
        if (!takes_part(f, group, k, m, &a)) continue;
        const size_t mul = a.path->mul, dim = a.path->rows * mul;
        const real *from = x + n * p->in.group[a.path->in].offset, *weight = w + a.path->weight,
                   *direction = a.path->j > 0 ? along : NULL;
        real *to = out + a.column;
        NH_WITH_WIDTH(mul, width,
                      columns(width, m > 0, &a, n, dim, from, direction, weight, stride, wide, to));
    }
}

/* gx[t][u] += c w[t][u] g[t][u], gw[t][u] += c x[t][u] g[t][u] over the columns of a path as in `columns`. */
static inline __attribute__((always_inline)) void columns_back(size_t mul, bool both, const part *a, size_t n,
                                                               size_t dim, const real *x, const real *along,
                                                               const real *restrict w, size_t stride,
                                                               size_t wide, const real *restrict g, real *gx,
                                                               real *restrict gw)
{
    const real *restrict plus = x + a->plus, *restrict minus = x + a->minus,
                         *restrict opposite = g + n * wide;
    real *restrict gplus = gx + a->plus, *restrict gminus =
                                             gx + a->minus; /* m > 0: apart; m = 0: the second is not used */
    for (size_t t = 0; t < n; t++) {
        const real factor = along != NULL ? along[t] : 1, c = factor * a->c, d = factor * a->opposite;
        for (size_t u = 0; u < mul; u++) {
            gplus[u] += c * w[u] * g[u];
            gw[u] += c * plus[u] * g[u];
        }
        for (size_t u = 0; both && u < mul; u++) {
            gminus[u] += d * w[u] * opposite[u];
            gw[u] += d * minus[u] * opposite[u];
        }
        plus += dim, minus += dim, gplus += dim, gminus += dim, w += stride, gw += stride, g += wide,
            opposite += wide;
    }
}

void R(nh_aligned_backward)(const nh_frame *f, size_t group, int m, size_t n, const real *gout, const real *x,
                            const real *along, const real *w, size_t stride, real *gx, real *gw)
{
    const nh_product *p = f->product;
    const size_t wide = row_of(f, group, m)->count;
    for (size_t k = p->first_path[group]; k < p->first_path[group + 1]; k++) {
        part a;
        if (!takes_part(f, group, k, m, &a)) continue;
        const size_t mul = a.path->mul, dim = a.path->rows * mul, at = n * p->in.group[a.path->in].offset;
        const real *weight = w + a.path->weight, *direction = a.path->j > 0 ? along : NULL,
                   *g = gout + a.column;
        real *to = gx + at, *to_w = gw + a.path->weight;
        NH_WITH_WIDTH(
            mul, width,
            columns_back(width, m > 0, &a, n, dim, x + at, direction, weight, stride, wide, g, to, to_w));
    }
}

void R(nh_aligned_pack)(const nh_frame *f, const nh_linear_map *map, const real *weight, real *aligned)
{
    const nh_product *p = f->product;
    for (size_t o = 0; o < map->out.count; o++) {
        const nh_linear_block *b = &map->block[o];
        if (b->in == SIZE_MAX) continue;
        for (size_t k = p->first_path[b->in]; k < p->first_path[b->in + 1]; k++) {
            const nh_product_path *path = &p->path[f->path[k].path];
            memcpy(aligned + b->weight + f->path[k].channel * b->cout,
                   weight + b->weight + path->channel * b->cout, path->mul * b->cout * sizeof(real));
        }
    }
}

void R(nh_aligned_unpack_add)(const nh_frame *f, const nh_linear_map *map, const real *galigned,
                              real *gweight)
{
    const nh_product *p = f->product;
    for (size_t o = 0; o < map->out.count; o++) {
        const nh_linear_block *b = &map->block[o];
        if (b->in == SIZE_MAX) continue;
        for (size_t k = p->first_path[b->in]; k < p->first_path[b->in + 1]; k++) {
            const nh_product_path *path = &p->path[f->path[k].path];
            const real *restrict from = galigned + b->weight + f->path[k].channel * b->cout;
            real *restrict to = gweight + b->weight + path->channel * b->cout;
            for (size_t i = 0; i < path->mul * b->cout; i++)
                to[i] += from[i];
        }
    }
}

void R(nh_aligned_linear_forward)(const nh_frame *f, const nh_linear_map *map, size_t o, int m, size_t n,
                                  const real *x, const real *aligned, const real *bias, real *y)
{
    const nh_linear_block *b = &map->block[o];
    const nh_group *to = &map->out.group[o];
    const struct nh_frame_row *row = row_of(f, b->in, m);
    for (int sign = 1; sign >= (m > 0 ? -1 : 1); sign -= 2, x += n * row->count) {
        real *out = y + (size_t)(to->l + sign * m) * to->mul;
        R(nh_gemm)(map->method, false, false, n, b->cout, row->count, x, row->count,
                   aligned + b->weight + row->first * b->cout, b->cout, false, out, to->dim);
    }
    if (bias == NULL || o != 0 || map->n_bias == 0) return;
    for (size_t t = 0; t < n; t++)
        for (size_t u = 0; u < b->cout; u++)
            y[t * b->cout + u] += bias[u];
}

void R(nh_aligned_linear_backward)(const nh_frame *f, const nh_linear_map *map, size_t o, int m, size_t n,
                                   const real *gy, const real *x, const real *aligned, real *gx, bool add,
                                   real *galigned, real *gbias)
{
    const nh_linear_block *b = &map->block[o];
    const nh_group *to = &map->out.group[o];
    const struct nh_frame_row *row = row_of(f, b->in, m);
    const size_t at = b->weight + row->first * b->cout;
    for (int sign = 1; sign >= (m > 0 ? -1 : 1); sign -= 2, x += n * row->count, gx += n * row->count) {
        const real *g = gy + (size_t)(to->l + sign * m) * to->mul;
        R(nh_gemm)(map->method, false, true, n, row->count, b->cout, g, to->dim, aligned + at, b->cout, add,
                   gx, row->count);
        R(nh_gemm)(map->method, true, false, row->count, b->cout, n, x, row->count, g, to->dim, true,
                   galigned + at, b->cout);
    }
    for (size_t t = 0; gbias != NULL && o == 0 && map->n_bias > 0 && t < n; t++)
        for (size_t u = 0; u < b->cout; u++)
            gbias[u] += gy[t * b->cout + u];
}

/* ---- product and linear map, weights shared: one matrix */

/* What rows m and -m of (un)natural groups take of group g of x: offsets of the components in an edge's group, sign of the
 * second one. */
typedef struct source {
    size_t plus, minus;
    real sign;
} source;

static bool takes_group(const nh_group *g, bool natural, int m, source *to)
{
    const bool odd = nh_frame_natural(g) != natural;
    const size_t above = (size_t)(g->l + m) * g->mul, below = (size_t)(g->l - m) * g->mul;
    if (g->l < m || (odd && m == 0)) return false;
    *to = (source){.plus = odd ? below : above, .minus = odd ? above : below, .sign = odd ? -1 : 1};
    return true;
}

/* These components of all groups, [n or 2n][nh_frame_columns], from x; zeros for edges without a direction. */
static void gather(const nh_frame *f, bool natural, int m, size_t n, const real *x, const real *along,
                   real *to)
{
    const nh_layout *in = &f->product->in;
    const size_t wide = nh_frame_columns(f, natural, m);
    for (size_t i = 0; i < in->count; i++) {
        const nh_group *g = &in->group[i];
        source s;
        if (!takes_group(g, natural, m, &s)) continue;
        const real *from = x + n * g->offset;
        for (size_t t = 0; t < n; t++, from += g->dim) {
            real *restrict row = to + t * wide, *restrict opposite = row + n * wide;
            for (size_t u = 0; u < g->mul; u++)
                row[u] = along[t] * from[s.plus + u];
            for (size_t u = 0; u < g->mul && m > 0; u++)
                opposite[u] = along[t] * s.sign * from[s.minus + u];
        }
        to += g->mul;
    }
}

/* Its transpose, added. */
static void scatter(const nh_frame *f, bool natural, int m, size_t n, const real *from, const real *along,
                    real *gx)
{
    const nh_layout *in = &f->product->in;
    const size_t wide = nh_frame_columns(f, natural, m);
    for (size_t i = 0; i < in->count; i++) {
        const nh_group *g = &in->group[i];
        source s;
        if (!takes_group(g, natural, m, &s)) continue;
        real *restrict to = gx + n * g->offset;
        for (size_t t = 0; t < n; t++, to += g->dim) {
            const real *restrict row = from + t * wide, *restrict opposite = row + n * wide;
            for (size_t u = 0; u < g->mul; u++)
                to[s.plus + u] += along[t] * row[u];
            for (size_t u = 0; u < g->mul && m > 0; u++)
                to[s.minus + u] += along[t] * s.sign * opposite[u];
        }
        from += g->mul;
    }
}

/* First column of group i of x among those. */
static size_t column_of(const nh_frame *f, bool natural, int m, size_t i)
{
    const nh_layout *in = &f->product->in;
    source s;
    size_t n = 0;
    for (size_t k = 0; k < i; k++)
        n += takes_group(&in->group[k], natural, m, &s) ? in->group[k].mul : 0;
    return n;
}

/* Whether rows of natural (or not) groups with m have a matrix for group o of the map's output. */
static bool has_matrix(const nh_linear_map *map, bool natural, int m, size_t o)
{
    const nh_group *to = &map->out.group[o];
    return map->block[o].in != SIZE_MAX && to->l >= m && nh_frame_natural(to) == natural;
}

/* The group of x that edges without a direction take for group o of the map's output; NULL: nothing feeds it. */
static const nh_group *same_group(const nh_frame *f, const nh_linear_map *map, size_t o)
{
    const nh_group *to = &map->out.group[o];
    const nh_layout *in = &f->product->in;
    return map->block[o].in != SIZE_MAX ? &in->group[nh_layout_find(in, to->l, to->p)] : NULL;
}

/* A path's share in a matrix: matrix[mul][cout] at `folded` += c w[mul] W[mul][cout], W at `weight`. */
typedef void share(void *context, const part *a, size_t cout, size_t weight, size_t folded);

/* The matrices lie in the order of these loops: for natural groups and others, for each m, for each group of the output; then
 * those of edges without a direction. */
static void each_share(const nh_frame *f, const nh_linear_map *map, share *body, void *context)
{
    const nh_product *p = f->product;
    size_t folded = 0;
    part a;
    for (int natural = 0; natural < 2; natural++)
        for (int m = 0; m <= f->lmax; m++)
            for (size_t o = 0; o < map->out.count; o++) {
                const nh_linear_block *b = &map->block[o];
                if (!has_matrix(map, natural, m, o)) continue;
                for (size_t k = p->first_path[b->in]; k < p->first_path[b->in + 1]; k++)
                    if (takes_part(f, b->in, k, m, &a))
                        body(context, &a, b->cout, b->weight + a.path->channel * b->cout,
                             folded + column_of(f, natural, m, a.path->in) * b->cout);
                folded += nh_frame_columns(f, natural, m) * b->cout;
            }
    for (size_t o = 0; o < map->out.count; o++) {
        const nh_linear_block *b = &map->block[o];
        const nh_group *same = same_group(f, map, o);
        if (same == NULL) continue;
        for (size_t k = p->first_path[b->in]; k < p->first_path[b->in + 1]; k++)
            if (takes_part(f, b->in, k, 0, &a) && a.path->j == 0)
                body(context, &a, b->cout, b->weight + a.path->channel * b->cout, folded);
        folded += same->mul * b->cout;
    }
}

typedef struct folding {
    const real *w, *weight, *gfolded;
    real *folded, *gw, *gweight;
} folding;

static void fold(void *context, const part *a, size_t cout, size_t weight, size_t folded)
{
    const folding *c = context;
    const real *restrict from = c->weight + weight;
    real *restrict to = c->folded + folded;
    for (size_t u = 0; u < a->path->mul; u++)
        for (size_t i = 0; i < cout; i++)
            to[u * cout + i] += a->c * c->w[a->path->weight + u] * from[u * cout + i];
}

static void unfold(void *context, const part *a, size_t cout, size_t weight, size_t folded)
{
    const folding *c = context;
    const real *restrict g = c->gfolded + folded, *restrict from = c->weight + weight;
    real *restrict to = c->gweight + weight;
    for (size_t u = 0; u < a->path->mul; u++) {
        const real scale = a->c * c->w[a->path->weight + u];
        c->gw[a->path->weight + u] += a->c * R(nh_dot)(cout, g + u * cout, from + u * cout);
        for (size_t i = 0; i < cout; i++)
            to[u * cout + i] += scale * g[u * cout + i];
    }
}

void R(nh_folded_pack)(const nh_frame *f, const nh_linear_map *map, const real *w, const real *weight,
                       real *folded)
{
    folding c = {.w = w, .weight = weight, .folded = folded};
    memset(folded, 0, nh_folded_size(f, map) * sizeof(real));
    each_share(f, map, fold, &c);
}

void R(nh_folded_unpack_add)(const nh_frame *f, const nh_linear_map *map, const real *w, const real *weight,
                             const real *gfolded, real *gw, real *gweight)
{
    folding c = {.w = w, .weight = weight, .gfolded = gfolded, .gw = gw, .gweight = gweight};
    each_share(f, map, unfold, &c);
}

void R(nh_folded_forward)(const nh_frame *f, const nh_linear_map *map, size_t n, const real *x,
                          const real *along, const real *folded, const real *bias, real *room, real *y)
{
    for (int natural = 0; natural < 2; natural++)
        for (int m = 0; m <= f->lmax; m++) {
            const size_t wide = nh_frame_columns(f, natural, m);
            gather(f, natural, m, n, x, along, room);
            for (size_t o = 0; o < map->out.count; o++) {
                const nh_group *to = &map->out.group[o];
                if (!has_matrix(map, natural, m, o)) continue;
                for (int sign = 1; sign >= (m > 0 ? -1 : 1); sign -= 2) {
                    real *out = y + n * to->offset + (size_t)(to->l + sign * m) * to->mul;
                    R(nh_gemm)(map->method, false, false, n, to->mul, wide, room + (sign > 0 ? 0 : n * wide),
                               wide, folded, to->mul, false, out, to->dim);
                }
                folded += wide * to->mul;
            }
        }
    for (size_t o = 0; o < map->out.count; o++) {
        const nh_group *to = &map->out.group[o];
        const nh_group *from = same_group(f, map, o);
        if (from == NULL) continue;
        for (size_t t = 0; t < n; t++)
            if (along[t] <= 0)
                R(nh_gemm)(map->method, false, false, to->rows, to->mul, from->mul,
                           x + n * from->offset + t * from->dim, from->mul, folded, to->mul, true,
                           y + n * to->offset + t * to->dim, to->mul);
        folded += from->mul * to->mul;
    }
    for (size_t t = 0; t < n && bias != NULL && map->n_bias > 0 && map->block[0].in != SIZE_MAX; t++)
        for (size_t u = 0; u < map->n_bias; u++)
            y[t * map->n_bias + u] += bias[u];
}

void R(nh_folded_backward)(const nh_frame *f, const nh_linear_map *map, size_t n, const real *gy,
                           const real *x, const real *along, const real *folded, real *room, real *gx,
                           real *gfolded, real *gbias)
{
    real *groom = room + 2 * n * f->most;
    for (int natural = 0; natural < 2; natural++)
        for (int m = 0; m <= f->lmax; m++) {
            const size_t wide = nh_frame_columns(f, natural, m);
            bool any = false;
            gather(f, natural, m, n, x, along, room);
            for (size_t o = 0; o < map->out.count; o++) {
                const nh_group *to = &map->out.group[o];
                if (!has_matrix(map, natural, m, o)) continue;
                for (int sign = 1; sign >= (m > 0 ? -1 : 1); sign -= 2) {
                    const real *g = gy + n * to->offset + (size_t)(to->l + sign * m) * to->mul;
                    const size_t at = sign > 0 ? 0 : n * wide;
                    R(nh_gemm)(map->method, false, true, n, wide, to->mul, g, to->dim, folded, to->mul, any,
                               groom + at, wide);
                    R(nh_gemm)(map->method, true, false, wide, to->mul, n, room + at, wide, g, to->dim, true,
                               gfolded, to->mul);
                }
                any = true;
                folded += wide * to->mul;
                gfolded += wide * to->mul;
            }
            if (any) scatter(f, natural, m, n, groom, along, gx);
        }
    for (size_t o = 0; o < map->out.count; o++) {
        const nh_group *to = &map->out.group[o];
        const nh_group *from = same_group(f, map, o);
        if (from == NULL) continue;
        for (size_t t = 0; t < n; t++) {
            const real *g = gy + n * to->offset + t * to->dim;
            const size_t at = n * from->offset + t * from->dim;
            if (along[t] > 0) continue;
            R(nh_gemm)(map->method, false, true, to->rows, from->mul, to->mul, g, to->mul, folded, to->mul,
                       true, gx + at, from->mul);
            R(nh_gemm)(map->method, true, false, from->mul, to->mul, to->rows, x + at, from->mul, g, to->mul,
                       true, gfolded, to->mul);
        }
        folded += from->mul * to->mul;
        gfolded += from->mul * to->mul;
    }
    for (size_t t = 0; t < n && gbias != NULL && map->n_bias > 0 && map->block[0].in != SIZE_MAX; t++)
        for (size_t u = 0; u < map->n_bias; u++)
            gbias[u] += gy[t * map->n_bias + u];
}
