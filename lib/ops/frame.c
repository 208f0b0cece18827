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
        const double x = radius > 0 && direction ? r[0] / radius : 1, y = radius > 0 && direction ? r[1] / radius : 0;
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
    for (size_t first = 0; first < n; first += TOGETHER, v += 3 * TOGETHER, d += TOGETHER * f->n_rotation, along += TOGETHER) {
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

/* NH_LANES channels of one edge: x[c] = sum_a d[c*row + a*step] x[a]. `rows` is a constant where it is called. */
static inline __attribute__((always_inline)) void rotate_lanes(size_t rows, const real *d, size_t row, size_t step, real *x,
                                                               size_t mul)
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

static inline __attribute__((always_inline)) void rotate_rows(size_t rows, const real *d, bool back, real *x, size_t mul)
{
    const size_t row = back ? 1 : rows, step = back ? rows : 1, whole = mul - mul % NH_LANES;
    for (size_t u = 0; u < whole; u += NH_LANES)
        rotate_lanes(rows, d, row, step, x + u, mul);
    if (whole == mul) return;
    real rest[LARGEST_ROWS * NH_LANES] = {0}; /* channels that do not fill a vector, and zeros */
    for (size_t a = 0; a < rows; a++)
        for (size_t u = whole; u < mul; u++)
            rest[a * NH_LANES + u - whole] = x[a * mul + u];
    rotate_lanes(rows, d, row, step, rest, NH_LANES);
    for (size_t a = 0; a < rows; a++)
        for (size_t u = whole; u < mul; u++)
            x[a * mul + u] = rest[a * NH_LANES + u - whole];
}

void R(nh_rotate)(const nh_frame *f, const nh_layout *layout, size_t n, const real *d, bool back, real *x)
{
    for (size_t g = 0; g < layout->count; g++) {
        const nh_group *group = &layout->group[g];
        if (group->l == 0) continue;
        const real *from = d + nh_frame_degree(group->l);
        real *to = x + n * group->offset;
        for (size_t t = 0; t < n; t++, from += f->n_rotation, to += group->dim)
            switch (group->l) {
            case 1:
                rotate_rows(3, from, back, to, group->mul);
                break;
            case 2:
                rotate_rows(5, from, back, to, group->mul);
                break;
            case 3:
                rotate_rows(7, from, back, to, group->mul);
                break;
            case 4:
                rotate_rows(9, from, back, to, group->mul);
                break;
            case 5:
                rotate_rows(11, from, back, to, group->mul);
                break;
            case 6:
                rotate_rows(13, from, back, to, group->mul);
                break;
            case 7:
                rotate_rows(15, from, back, to, group->mul);
                break;
            default:
                rotate_rows(group->rows, from, back, to, group->mul);
            }
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

void R(nh_aligned_forward)(const nh_frame *f, size_t group, int m, size_t n, const real *x, const real *along, const real *w,
                           size_t stride, real *out)
{
    const nh_product *p = f->product;
    const size_t wide = row_of(f, group, m)->count;
    for (size_t k = p->first_path[group]; k < p->first_path[group + 1]; k++) {
        part a;
        if (!takes_part(f, group, k, m, &a)) continue;
        const size_t mul = a.path->mul, whole = mul - mul % NH_LANES, dim = a.path->rows * mul;
        const real *from = x + n * p->in.group[a.path->in].offset, *weight = w + a.path->weight;
        real *to = out + a.column;
        const size_t opposite = n * wide; /* the rows -m after the rows m */
        for (size_t t = 0; t < n; t++, from += dim, weight += stride, to += wide) {
            const real factor = a.path->j > 0 ? along[t] : 1, c = factor * a.c, d = factor * a.opposite;
            size_t u = 0;
            for (; u < whole; u += NH_LANES) {
                const R(nh_vec) scale = R(nh_load)(weight + u);
                R(nh_store)(to + u, c * scale * R(nh_load)(from + a.plus + u));
                if (m > 0) R(nh_store)(to + opposite + u, d * scale * R(nh_load)(from + a.minus + u));
            }
            for (; u < mul; u++) {
                to[u] = c * weight[u] * from[a.plus + u];
                if (m > 0) to[opposite + u] = d * weight[u] * from[a.minus + u];
            }
        }
    }
}

void R(nh_aligned_pack)(const nh_frame *f, const nh_linear_map *map, const real *weight, real *aligned)
{
    const nh_product *p = f->product;
    for (size_t o = 0; o < map->out.count; o++) {
        const nh_linear_block *b = &map->block[o];
        for (size_t k = b->in == SIZE_MAX ? 0 : p->first_path[b->in]; b->in != SIZE_MAX && k < p->first_path[b->in + 1]; k++) {
            const nh_product_path *path = &p->path[f->path[k].path];
            memcpy(aligned + b->weight + f->path[k].channel * b->cout, weight + b->weight + path->channel * b->cout,
                   path->mul * b->cout * sizeof(real));
        }
    }
}

void R(nh_aligned_linear_forward)(const nh_frame *f, const nh_linear_map *map, size_t o, int m, size_t n, const real *x,
                                  const real *aligned, const real *bias, real *y)
{
    const nh_linear_block *b = &map->block[o];
    const nh_group *to = &map->out.group[o];
    const struct nh_frame_row *row = row_of(f, b->in, m);
    for (int sign = 1; sign >= (m > 0 ? -1 : 1); sign -= 2, x += n * row->count) {
        real *out = y + (size_t)(to->l + sign * m) * to->mul;
        if (row->count > 0) R(nh_gemm)
        (map->kernels, false, false, n, b->cout, row->count, x, row->count, aligned + b->weight + row->first * b->cout, b->cout,
         false, out, to->dim);
        for (size_t t = 0; t < n && row->count == 0; t++)
            memset(out + t * to->dim, 0, to->mul * sizeof(real));
    }
    if (bias == NULL || o != 0 || map->n_bias == 0) return;
    for (size_t t = 0; t < n; t++)
        for (size_t u = 0; u < b->cout; u++)
            y[t * b->cout + u] += bias[u];
}

/* ---- product and linear map, weights shared: one matrix */

/* The components that rows m and -m of (un)natural groups take, [n or 2n][nh_frame_columns], from x. */
static void gather(const nh_frame *f, bool natural, int m, size_t n, const real *x, real *to)
{
    const nh_layout *in = &f->product->in;
    const size_t wide = nh_frame_columns(f, natural, m), opposite = n * wide;
    for (size_t i = 0; i < in->count; i++) {
        const nh_group *g = &in->group[i];
        const bool odd = nh_frame_natural(g) != natural;
        if (g->l < m || (odd && m == 0)) continue;
        const real *from = x + n * g->offset, sign = odd ? -1 : 1;
        const size_t above = (size_t)(g->l + m) * g->mul, below = (size_t)(g->l - m) * g->mul;
        for (size_t t = 0; t < n; t++, from += g->dim) {
            const real *plus = from + (odd ? below : above), *minus = from + (odd ? above : below);
            real *restrict row = to + t * wide;
            for (size_t u = 0; u < g->mul; u++)
                row[u] = plus[u];
            for (size_t u = 0; u < g->mul && m > 0; u++)
                row[opposite + u] = sign * minus[u];
        }
        to += g->mul;
    }
}

/* First column of group i of x among those. */
static size_t column_of(const nh_frame *f, bool natural, int m, size_t i)
{
    const nh_layout *in = &f->product->in;
    size_t n = 0;
    for (size_t k = 0; k < i; k++)
        if (in->group[k].l >= m && (m > 0 || nh_frame_natural(&in->group[k]) == natural)) n += in->group[k].mul;
    return n;
}

/* to[mul][cout] += c w[mul] from[mul][cout] */
static void add_scaled(size_t mul, size_t cout, real c, const real *w, const real *restrict from, real *restrict to)
{
    for (size_t u = 0; u < mul; u++)
        for (size_t i = 0; i < cout; i++)
            to[u * cout + i] += c * w[u] * from[u * cout + i];
}

/* The matrices lie in the order of these loops: for natural groups and others, for each m, for each group of the output; then
 * those of edges without a direction. */
void R(nh_folded_pack)(const nh_frame *f, const nh_linear_map *map, const real *w, const real *weight, real *folded)
{
    const nh_product *p = f->product;
    memset(folded, 0, nh_folded_size(f, map) * sizeof(real));
    for (int natural = 0; natural < 2; natural++)
        for (int m = 0; m <= f->lmax; m++) {
            const size_t rows = nh_frame_columns(f, natural, m);
            for (size_t o = 0; o < map->out.count; o++) {
                const nh_group *to = &map->out.group[o];
                const nh_linear_block *b = &map->block[o];
                if (b->in == SIZE_MAX || to->l < m || nh_frame_natural(to) != natural) continue;
                for (size_t k = p->first_path[b->in]; k < p->first_path[b->in + 1]; k++) {
                    part a;
                    if (!takes_part(f, b->in, k, m, &a)) continue;
                    add_scaled(a.path->mul, b->cout, a.c, w + a.path->weight, weight + b->weight + a.path->channel * b->cout,
                               folded + column_of(f, natural, m, a.path->in) * b->cout);
                }
                folded += rows * b->cout;
            }
        }
    for (size_t o = 0; o < map->out.count; o++) {
        const nh_group *to = &map->out.group[o];
        const nh_linear_block *b = &map->block[o];
        const size_t same = nh_layout_find(&p->in, to->l, to->p);
        if (b->in == SIZE_MAX || same == SIZE_MAX) continue;
        for (size_t k = p->first_path[b->in]; k < p->first_path[b->in + 1]; k++) {
            part a;
            if (takes_part(f, b->in, k, 0, &a) && a.path->j == 0)
                add_scaled(a.path->mul, b->cout, a.c, w + a.path->weight, weight + b->weight + a.path->channel * b->cout, folded);
        }
        folded += p->in.group[same].mul * b->cout;
    }
}

/* The rows of edges without a direction, anew. */
static void without_direction(const nh_frame *f, const nh_linear_map *map, size_t n, const real *x, const real *along,
                              const real *folded, real *y)
{
    const nh_layout *in = &f->product->in;
    for (size_t o = 0; o < map->out.count; o++) {
        const nh_group *to = &map->out.group[o];
        const size_t same = nh_layout_find(in, to->l, to->p);
        if (map->block[o].in == SIZE_MAX) continue;
        for (size_t t = 0; t < n; t++) {
            real *out = y + n * to->offset + t * to->dim;
            if (along[t] > 0) continue;
            if (same == SIZE_MAX)
                memset(out, 0, to->dim * sizeof(real));
            else
                R(nh_gemm)
            (map->kernels, false, false, to->rows, to->mul, in->group[same].mul,
             x + n * in->group[same].offset + t * in->group[same].dim, in->group[same].mul, folded, to->mul, false, out, to->mul);
        }
        if (same != SIZE_MAX) folded += in->group[same].mul * to->mul;
    }
}

void R(nh_folded_forward)(const nh_frame *f, const nh_linear_map *map, size_t n, const real *x, const real *along,
                          const real *folded, const real *bias, real *room, real *y)
{
    for (int natural = 0; natural < 2; natural++)
        for (int m = 0; m <= f->lmax; m++) {
            const size_t rows = nh_frame_columns(f, natural, m);
            gather(f, natural, m, n, x, room);
            for (size_t o = 0; o < map->out.count; o++) {
                const nh_group *to = &map->out.group[o];
                if (map->block[o].in == SIZE_MAX || to->l < m || nh_frame_natural(to) != natural) continue;
                real *out = y + n * to->offset + (size_t)to->l * to->mul;
                for (int side = 0; side < (m > 0 ? 2 : 1); side++) {
                    real *at = side == 0 ? out + (size_t)m * to->mul : out - (size_t)m * to->mul;
                    if (rows > 0) R(nh_gemm)
                    (map->kernels, false, false, n, to->mul, rows, room + (size_t)side * n * rows, rows, folded, to->mul, false, at,
                     to->dim);
                    for (size_t t = 0; t < n && rows == 0; t++)
                        memset(at + t * to->dim, 0, to->mul * sizeof(real));
                }
                folded += rows * to->mul;
            }
        }
    without_direction(f, map, n, x, along, folded, y);
    for (size_t t = 0; t < n && bias != NULL && map->n_bias > 0 && map->block[0].in != SIZE_MAX; t++)
        for (size_t u = 0; u < map->n_bias; u++)
            y[t * map->n_bias + u] += bias[u];
}
