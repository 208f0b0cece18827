#include "plan/frame.h"

#include "base/memory.h"
#include "o3/wigner.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

/* A rotation about y joins components m >= 0 with one another, and m < 0. */
static bool turns(size_t l, size_t a, size_t b)
{
    return (a < l) == (b < l);
}

/* D_l = (2l+1) C^{1 l-1 l} (D_1 x D_{l-1}) C^{1 l-1 l} as in o3/wigner.c, without what is zero for a rotation about y. The
 * rows |m| < l need one pair of the sum on the left alone: with D_1's row z (m = 0), C couples m of l-1 with m of l only, and
 * is at least 1/sqrt(l) of its row. Lists the terms at turn[*count].., or counts them where turn is NULL. */
static int list_turns(int degree, nh_turn *turn, size_t *count, nh_error *err)
{
    nh_coupling c;
    if (nh_coupling_new(1, degree - 1, degree, &c, err) != 0) return -1;
    const size_t l = (size_t)degree, n = 2 * l + 1, n_lower = n - 2;
    for (size_t a = 0; a < c.count; a++)
        for (size_t b = 0; b < c.count; b++) {
            const bool middle = c.i3[a] > 0 && c.i3[a] < n - 1;
            if (middle && c.i1[a] != 1) continue;
            if (!turns(1, c.i1[a], c.i1[b]) || !turns(l - 1, c.i2[a], c.i2[b]) || !turns(l, c.i3[a], c.i3[b]))
                continue;
            if (turn != NULL)
                turn[*count] = (nh_turn){.first = (unsigned char)(3 * c.i1[a] + c.i1[b]),
                                         .lower = (unsigned short)(c.i2[a] * n_lower + c.i2[b]),
                                         .to = (unsigned short)(c.i3[a] * n + c.i3[b]),
                                         .value = middle ? c.value[b] / c.value[a]
                                                         : (double)n * c.value[a] * c.value[b]};
            (*count)++;
        }
    nh_coupling_free(&c);
    return 0;
}

static int fill_turns(nh_frame *f, nh_error *err)
{
    size_t count = 0;
    for (int l = 2; l <= f->lmax; l++)
        if (list_turns(l, NULL, &count, err) != 0) return -1;
    f->turn = NH_ARRAY(nh_turn, count);
    f->first_turn = NH_ARRAY(size_t, (size_t)f->lmax + 2);
    if (f->turn == NULL || f->first_turn == NULL) return nh_fail_memory(err, "frames of the edges");
    count = 0;
    for (int l = 2; l <= f->lmax; l++) {
        if (list_turns(l, f->turn, &count, err) != 0) return -1;
        f->first_turn[l + 1] = count;
    }
    return 0;
}

static int degree_of(const nh_product *p, const nh_frame_path *path)
{
    return p->in.group[p->path[path->path].in].l;
}

/* The paths of output group g in the frame's order, and what its rows take of them. */
static void order_paths(nh_frame *f, size_t g, size_t *n_constant)
{
    const nh_product *p = f->product;
    const nh_group *out = &p->out.group[g];
    const size_t first = p->first_path[g], end = p->first_path[g + 1];
    size_t n = first, channel = 0;
    struct nh_frame_row *row = f->row + g * ((size_t)f->lmax + 1);
    for (int step = 0; step < 2 * (f->lmax + 1); step++) {
        const bool odd = step <= f->lmax;
        const int l1 = odd ? step : 2 * f->lmax + 1 - step;
        for (size_t k = first; k < end; k++) {
            const nh_group *in = &p->in.group[p->path[k].in];
            if (in->l != l1 || (nh_frame_natural(in) != nh_frame_natural(out)) != odd) continue;
            f->path[n++] =
                (nh_frame_path){.path = k, .channel = channel, .constant = *n_constant, .odd = odd};
            const int most = l1 < out->l ? l1 : out->l;
            *n_constant += (size_t)most + 1;
            for (int m = odd ? 1 : 0; m <= most; m++) {
                if (row[m].count == 0) row[m].first = channel;
                row[m].count += p->path[k].mul;
            }
            channel += p->path[k].mul;
        }
    }
    for (int m = 0; m <= out->l; m++)
        if (row[m].count > f->most) f->most = row[m].count;
}

static int fill_constants(nh_frame *f, nh_error *err)
{
    const nh_product *p = f->product;
    const size_t n = 2 * (size_t)NH_LMAX + 1;
    double *tensor = NH_ARRAY(double, n *n *n);
    int status = tensor != NULL ? 0 : nh_fail_memory(err, "frames of the edges");
    for (size_t g = 0; g < p->out.count && status == 0; g++)
        for (size_t k = p->first_path[g]; k < p->first_path[g + 1] && status == 0; k++) {
            const nh_frame_path *path = &f->path[k];
            const int l1 = degree_of(p, path), j = (int)p->path[path->path].j, l3 = p->out.group[g].l;
            status = nh_wigner3j(l1, j, l3, tensor, err);
            for (int m = path->odd ? 1 : 0; m <= l1 && m <= l3 && status == 0; m++) {
                const int a = path->odd ? l1 - m : l1 + m;
                f->constant[path->constant + (size_t)m] =
                    sqrt((2.0 * l3 + 1) * (2.0 * j + 1)) *
                    tensor[(a * (2 * j + 1) + j) * (2 * l3 + 1) + l3 + m];
            }
        }
    free(tensor);
    return status;
}

int nh_frame_new(const nh_product *p, nh_frame *out, nh_error *err)
{
    *out = (nh_frame){.product = p, .most = p->in.channels};
    for (size_t g = 0; g < p->in.count; g++)
        if (p->in.group[g].l > out->lmax) out->lmax = p->in.group[g].l;
    for (size_t g = 0; g < p->out.count; g++)
        if (nh_layout_find(&p->in, p->out.group[g].l, p->out.group[g].p) == SIZE_MAX)
            return nh_fail(err,
                           "frames of the edges: degree %d, parity %d is made of features that have none",
                           p->out.group[g].l, p->out.group[g].p);
    out->n_rotation = nh_frame_degree(out->lmax + 1);
    const size_t n_path = p->first_path[p->out.count];
    out->path = NH_ARRAY(nh_frame_path, n_path);
    out->row = NH_ARRAY(struct nh_frame_row, p->out.count * ((size_t)out->lmax + 1));
    out->constant = NH_ARRAY(double, n_path *((size_t)out->lmax + 1)); /* at most */
    size_t n_constant = 0;
    int status = out->path != NULL && out->row != NULL && out->constant != NULL
                     ? 0
                     : nh_fail_memory(err, "frames of the edges");
    for (size_t g = 0; g < p->out.count && status == 0; g++)
        order_paths(out, g, &n_constant);
    if (!status) status = fill_constants(out, err);
    if (!status) status = fill_turns(out, err);
    if (status != 0) nh_frame_free(out);
    return status;
}

size_t nh_frame_columns(const nh_frame *f, bool natural, int m)
{
    const nh_layout *in = &f->product->in;
    size_t n = 0;
    for (size_t i = 0; i < in->count; i++)
        if (in->group[i].l >= m && (m > 0 || nh_frame_natural(&in->group[i]) == natural))
            n += in->group[i].mul;
    return n;
}

size_t nh_folded_size(const nh_frame *f, const nh_linear_map *map)
{
    const nh_layout *in = &f->product->in;
    size_t n = 0;
    for (size_t o = 0; o < map->out.count; o++) {
        const nh_group *to = &map->out.group[o];
        if (map->block[o].in == SIZE_MAX) continue;
        for (int m = 0; m <= to->l; m++)
            n += nh_frame_columns(f, nh_frame_natural(to), m) * to->mul;
        n += in->group[nh_layout_find(in, to->l, to->p)].mul * to->mul;
    }
    return n;
}

void nh_frame_free(nh_frame *f)
{
    free(f->turn);
    free(f->first_turn);
    free(f->path);
    free(f->constant);
    free(f->row);
    *f = (nh_frame){0};
}
