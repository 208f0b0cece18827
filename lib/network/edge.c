/* The edges of a block, tile by tile: attention (docs/network.md 3.4) and TraceGrad (3.5). */
#include "network/internal.h"

#include "o3/harmonics.h"

#include <math.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

double R(nh_lap)(double *t)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const double seconds = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec, since = seconds - *t;
    *t = seconds;
    return since;
}

bool R(nh_onsite)(const nh_edges *g, size_t edge)
{
    return g->src[edge] == g->dst[edge] && g->distance[edge] < 1e-5;
}

size_t R(nh_tiles)(size_t n, size_t rows)
{
    return (n + rows - 1) / rows;
}

size_t R(nh_tile_rows)(const nh_run *f, size_t tile, nh_work *w)
{
    const size_t first = tile * f->rows, n = f->n_list - first < f->rows ? f->n_list - first : f->rows;
    for (size_t t = 0; t < n; t++)
        w->row[t] = f->list != NULL ? f->list[first + t] : first + t;
    return n;
}

nh_work R(nh_tile_work)(const nh_run *f, size_t tile, int thread)
{
    nh_work w = f->work[thread];
    if (!f->store) return w;
    nh_carver c = {.base = f->trail[f->block].activations + tile * f->slab};
    R(nh_carve_activations)(f->net, f->rows, &w, &c);
    return w;
}

size_t R(nh_tile_kept)(const nh_run *f, size_t n, nh_work *w)
{
    /* the edge side of the block before the last is needed inside the range only */
    const bool every = f->all || f->block + 2 != f->net->config->blocks;
    size_t kept = 0;
    for (size_t t = 0; t < n; t++)
        if (every || f->slot[w->row[t]] != SIZE_MAX) w->pick[kept++] = t;
    return kept;
}

/* Copies the tile's features to a probe in e3nn order. */
static void probe_rows(const nh_run *f, const nh_layout *layout, size_t n, const real *tile, nh_work *w,
                       real *out)
{
    if (out == NULL) return;
    R(nh_to_e3nn)(layout, n, tile, w->e3nn);
    for (size_t t = 0; t < n; t++)
        memcpy(out + f->order[w->row[t]] * layout->dim, w->e3nn + t * layout->dim,
               layout->dim * sizeof(real));
}

/* 3.2: input features -> e0 (with edge_init: paper, h of OPTIONS.md 2). Tiles of edges in the graph's order.
 */
void R(nh_run_input)(void *run, size_t tile, int thread)
{
    const nh_run *f = run;
    const nh_net *net = f->net;
    nh_work *w = &f->work[thread];
    const size_t first = tile * NH_TILE, left = f->graph->n_edge - first, n = left < NH_TILE ? left : NH_TILE;
    double lap = 0;
    R(nh_lap)(&lap);
    f->source(f->source_context, first, n, w->e3nn);
    R(nh_from_e3nn)(&net->map_input.in, n, w->e3nn, w->tile);
    R(nh_linear_forward)(&net->map_input, n, w->tile, net->input.weight, NULL, false, w->x);
    for (size_t t = 0; t < n; t++)
        w->row[t] = f->position[first + t];
    R(nh_rows_store)(&net->mid, n, w->row, w->x, f->first);
    if (f->probe != NULL && net->config->edge_init == NH_EDGE_INIT_LINEAR)
        probe_rows(f, &net->mid, n, w->x, w, f->probe->edge_init);
    w->times.input += R(nh_lap)(&lap);
}

/* Geometry of the tile's edges: Gaussians, weights of the product, rotations into the edges' frames or
 * matrices of the harmonics. */
static void radial(const nh_run *f, size_t n, nh_work *w)
{
    const nh_net *net = f->net;
    const nh_config *c = net->config;
    const nh_edges *g = f->graph;
    for (size_t t = 0; t < n; t++) {
        const size_t e = f->order[w->row[t]];
        const double *v = g->vector + 3 * e;
        /* the exact length: the rounded one decides about ranges only */
        w->distance[t] = sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
        memcpy(w->vector + 3 * t, v, 3 * sizeof *v);
        w->source[t] = (size_t)g->src[e];
        w->destination[t] = (size_t)g->dst[e];
        w->copies[t] = R(nh_onsite)(g, e) ? (real)c->onsite_copies : 1;
    }
    R(nh_gaussians_forward)(n, c->radial_basis, c->radial_max, w->distance, c->radial_basis, w->gaussians);
    R(nh_radial_weights)(f, n, w);

    if (net->aligned) {
        R(nh_frame_forward)(&net->frame, n, w->vector, w->rotation, w->along);
        return;
    }
    const size_t n_y = net->product.n_harmonic;
    nh_spherical_harmonics(c->sh_lmax, n, w->vector, w->harmonics64);
    for (size_t t = 0; t < n; t++)
        for (size_t k = 0; k < n_y; k++)
            w->harmonics[k * n + t] = (real)w->harmonics64[t * n_y + k];
    R(nh_coupling_forward)(&net->product, n, w->harmonics, w->coupling);
}

/* Applies `l` to group `group` of the product: every group of the map's output that it feeds. With group =
 * SIZE_MAX: the groups that nothing feeds. */
static void apply_group(const nh_linear *l, size_t group, size_t n, const real *x, real *y)
{
    for (size_t o = 0; o < l->map->out.count; o++)
        if (l->map->block[o].in == group) R(nh_linear_group_forward)
    (l->map, o, n, x, l->weight, l->bias, false, y + n * l->map->out.group[o].offset);
}

/* The same for the rows m and -m of the group in the edges' frames. */
static void apply_rows(const nh_run *f, const nh_linear *l, size_t group, int m, size_t n, const real *x, real *y)
{
    for (size_t o = 0; o < l->map->out.count; o++)
        if (l->map->block[o].in == group) R(nh_aligned_linear_forward)
    (&f->net->frame, l->map, o, m, n, x, l->aligned, m == 0 ? l->bias : NULL, y + n * l->map->out.group[o].offset);
}

/* Maps that read a product, and what they make. */
typedef struct reader {
    const nh_linear *map;
    real *to;
} reader;

/* t = DTP(m) with the rows' own weights and the maps after it: of m in w->message, which is left in the edges' frames, and so
 * is what the maps make, where the run is aligned. */
static void message_product(const nh_run *f, size_t n, size_t n_reader, const reader *to, nh_work *w)
{
    const nh_net *net = f->net;
    const nh_product *p = &net->product;
    double lap = 0;
    R(nh_lap)(&lap);
    for (size_t k = 0; k < n_reader; k++)
        apply_group(to[k].map, SIZE_MAX, n, NULL, to[k].to);
    w->times.linear += R(nh_lap)(&lap);
    if (net->aligned) R(nh_rotate)(&net->frame, &net->mid, n, w->rotation, false, w->message);
    for (size_t g = 0; g < p->out.count; g++)
        for (int m = 0; m <= (net->aligned ? p->out.group[g].l : 0); m++) {
            if (net->aligned)
                R(nh_aligned_forward)
            (&net->frame, g, m, n, w->message, w->along, w->weight, p->n_weight, w->product);
            else
                R(nh_product_forward)
            (p, g, n, w->message, w->coupling, w->weight, p->n_weight, w->product);
            w->times.product += R(nh_lap)(&lap);
            for (size_t k = 0; k < n_reader; k++)
                if (net->aligned)
                    apply_rows(f, to[k].map, g, m, n, w->product, to[k].to);
                else
                    apply_group(to[k].map, g, n, w->product, to[k].to);
            w->times.linear += R(nh_lap)(&lap);
        }
}

/* v = LIN(DTP(gated)) from w->value to w->heads, out of the edges' frames. */
static void value_product(const nh_run *f, const nh_block *b, size_t n, nh_work *w)
{
    const nh_net *net = f->net;
    const nh_linear *l = &b->value_lin;
    double lap = 0;
    R(nh_lap)(&lap);
    apply_group(l, SIZE_MAX, n, NULL, w->heads);
    if (net->aligned) {
        R(nh_folded_forward)(&net->frame, l->map, n, w->value, w->along, l->aligned, l->bias, w->product, w->heads);
        w->times.linear += R(nh_lap)(&lap);
        R(nh_rotate)(&net->frame, &net->heads, n, w->rotation, true, w->heads);
        w->times.product += R(nh_lap)(&lap);
        return;
    }
    for (size_t g = 0; g < net->product.out.count; g++) {
        R(nh_product_forward)(&net->product, g, n, w->value, w->coupling, b->value_weight, 0, w->product);
        w->times.product += R(nh_lap)(&lap);
        apply_group(l, g, n, w->product, w->heads);
        w->times.linear += R(nh_lap)(&lap);
    }
}

void R(nh_init_message)(const nh_run *f, size_t n, nh_work *w)
{
    const nh_net *net = f->net;
    const nh_linear *l = &net->init_edge;
    double lap = 0;
    R(nh_lap)(&lap);
    radial(f, n, w);
    w->times.radial += R(nh_lap)(&lap);
    R(nh_rows_load)(&net->mid, n, w->row, f->first, w->x);
    R(nh_linear_forward)(l->map, n, w->x, l->weight, NULL, false, w->message);
    R(nh_rows_add)(&net->mid, n, w->source, f->p, w->message);
    R(nh_rows_add)(&net->mid, n, w->destination, f->q, w->message);
    w->times.linear += R(nh_lap)(&lap);
}

/* OPTIONS.md 2: e0 = h + LIN(DTP(m)). Tiles of positions. */
void R(nh_run_init_edges)(void *run, size_t tile, int thread)
{
    const nh_run *f = run;
    const nh_net *net = f->net;
    nh_work *w = &f->work[thread];
    const size_t n = R(nh_tile_rows)(f, tile, w);
    R(nh_init_message)(f, n, w);
    const reader to = {&net->init_lin, w->value};
    message_product(f, n, 1, &to, w);
    double lap = 0;
    R(nh_lap)(&lap);
    if (net->aligned) R(nh_rotate)(&net->frame, &net->mid, n, w->rotation, true, w->value);
    for (size_t i = 0; i < n * net->mid.dim; i++)
        w->x[i] += w->value[i];
    R(nh_rows_store)(&net->mid, n, w->row, w->x, f->edge);
    if (f->probe != NULL) probe_rows(f, &net->mid, n, w->x, w, f->probe->edge_init);
    w->times.input += R(nh_lap)(&lap);
}

/* A = lin_alpha([g(r), c]) */
static void scores(const nh_run *f, const nh_block *b, size_t n, nh_work *w)
{
    const size_t basis = f->net->config->radial_basis, scalars = f->net->config->alpha_scalars,
                 width = basis + scalars;
    for (size_t t = 0; t < n; t++) {
        memcpy(w->alpha_in + t * width, w->gaussians + t * basis, basis * sizeof(real));
        memcpy(w->alpha_in + t * width + basis, w->scalars + t * scalars, scalars * sizeof(real));
    }
    R(nh_mlp_forward)(&b->alpha, n, w->alpha_in, w->alpha_hidden, w->alpha, false);
}

/* The tile's contribution to the sums over incoming edges, one partial result per run of equal destinations.
 */
static void partial_sums(const nh_run *f, size_t tile, size_t n, nh_work *w)
{
    const nh_layout *layout = &f->net->heads;
    const size_t heads = f->net->config->heads;
    size_t part = f->tile_partial[tile];
    for (size_t first = 0, end; first < n; first = end, part++) {
        for (end = first + 1; end < n && w->destination[end] == w->destination[first];)
            end++;
        R(nh_softmax_partial_forward)
        (layout, heads, n, first, end - first, w->alpha, w->copies, w->heads, f->partial_max + part * heads,
         f->partial_sum + part * heads, f->partial_value + part * layout->dim);
    }
}

/* The hidden layers of TraceGrad's chain on a tile, z of the rows that have a slot added to the trace head's
 * first layer, and y where it is wanted. */
static void invariants(const nh_run *f, const nh_block *b, const nh_layout *layout, size_t n, const real *x,
                       bool gradient, real *z_probe, real *y, nh_work *w)
{
    const nh_chain *m = &b->invariants;
    const size_t z = m->width[4];
    R(nh_pairs_forward)(layout, n, x, w->pairs);
    R(nh_mlp_forward)(m, n, w->pairs, w->hidden, NULL, false);
    const real *last = R(nh_mlp_last_hidden)(m, n, w->hidden);
    if (f->net->with_trace || z_probe != NULL) {
        R(nh_dense_forward)(m->kernels, n, z, z, last, m->weight[3], m->bias[3], false, w->z);
        for (size_t t = 0; z_probe != NULL && t < n; t++)
            memcpy(z_probe + f->order[w->row[t]] * z, w->z + t * z, z * sizeof(real));
    }
    if (f->net->with_trace) {
        /* rows are in ascending order of position, so those with a slot have consecutive ones */
        size_t kept = 0, slot = SIZE_MAX;
        for (size_t t = 0; t < n; t++) {
            const size_t s = f->slot[w->row[t]];
            if (s == SIZE_MAX) continue;
            if (slot == SIZE_MAX) slot = s;
            if (kept != t) memcpy(w->z + kept * z, w->z + t * z, z * sizeof(real));
            kept++;
        }
        if (kept > 0) R(nh_dense_forward)
        (m->kernels, kept, z, f->net->trace_width, w->z, b->trace_first, NULL, true,
         f->trace + slot * f->net->trace_width);
        if (kept > 0 && f->keep) memcpy(f->trail[f->block].z + slot * z, w->z, kept * z * sizeof(real));
    }
    if (!gradient) return;
    for (size_t t = 0; t < n; t++)
        memcpy(w->gradient + t * z, b->seed, z * sizeof(real));
    R(nh_mlp_input_gradient)(m, n, w->gradient, w->hidden, w->scratch, w->pairs_gradient);
    R(nh_pairs_gradient)(layout, n, x, w->pairs_gradient, y);
}

/* x += k y with the probe's k */
static void add_given(const nh_run *f, size_t n, nh_work *w, real *x)
{
    const nh_layout *mid = &f->net->mid;
    for (size_t t = 0; t < n; t++) {
        const real k = f->probe->factor[f->block][f->order[w->row[t]]];
        for (size_t g = 0; g < mid->count; g++)
            for (size_t i = 0, at = n * mid->group[g].offset + t * mid->group[g].dim; i < mid->group[g].dim;
                 i++)
                x[at + i] += k * w->y[at + i];
    }
}

/* TraceGrad of blocks that are not the last: from e' to the edge features of the next block. */
void R(nh_run_tracegrad)(void *run, size_t tile, int thread)
{
    const nh_run *f = run;
    const nh_net *net = f->net;
    const nh_block *b = &net->block[f->block];
    const NH_NET(_probe) *probe = f->probe;
    nh_work *w = &f->work[thread];
    const double scale = net->config->tg_scale;
    double lap = 0;
    R(nh_lap)(&lap);
    const size_t n = R(nh_tile_rows)(f, tile, w);
    R(nh_rows_load)(&net->mid, n, w->row, f->raw, w->x);
    invariants(f, b, &net->mid, n, w->x, scale > 0,
               probe != NULL && probe->z != NULL ? probe->z[f->block] : NULL, w->y, w);
    if (scale > 0) {
        if (probe != NULL && probe->y != NULL) probe_rows(f, &net->mid, n, w->y, w, probe->y[f->block]);
        if (f->keep) {
            R(nh_tracegrad_factor_forward)(&net->mid, n, scale, w->x, w->y, w->z);
            for (size_t t = 0; t < n; t++)
                f->trail[f->block].factor[w->row[t]] = w->z[t];
        }
        if (probe != NULL && probe->factor != NULL)
            add_given(f, n, w, w->x);
        else
            R(nh_tracegrad_add_forward)(&net->mid, n, scale, w->y, w->x);
        R(nh_rows_store)(&net->mid, n, w->row, w->x, f->edge_next);
    }
    if (probe != NULL && probe->edge_tg != NULL)
        probe_rows(f, &net->mid, n, w->x, w, probe->edge_tg[f->block]);
    w->times.tracegrad += R(nh_lap)(&lap);
}

/* Matrices of the groups of `last` and POST, whose first channels are those of `last`. */
void R(nh_take_last)(const nh_net *net, size_t n, const real *post, real *x)
{
    const nh_layout *type = &net->map_post.out, *last = &net->last;
    for (size_t g = 0; g < last->count; g++) {
        const nh_group *to = &last->group[g], *from = &type->group[nh_layout_find(type, to->l, to->p)];
        for (size_t i = 0; i < n * to->rows; i++)
            memcpy(x + n * to->offset + i * to->mul, post + n * from->offset + i * from->mul,
                   to->mul * sizeof(real));
    }
}

void R(nh_put_last)(const nh_net *net, size_t n, const real *x, bool add, real *post)
{
    const nh_layout *type = &net->map_post.out, *last = &net->last;
    for (size_t g = 0; g < last->count; g++) {
        const nh_group *from = &last->group[g], *to = &type->group[nh_layout_find(type, from->l, from->p)];
        for (size_t i = 0; i < n * from->rows; i++) {
            const real *a = x + n * from->offset + i * from->mul;
            real *b = post + n * to->offset + i * to->mul;
            for (size_t u = 0; u < from->mul; u++)
                b[u] = add ? b[u] + a[u] : a[u];
        }
    }
}

/* TraceGrad of the last block, and with a lift f (w->x), o (w->lifted and in w->result). */
static void last_tracegrad(const nh_run *f, const nh_block *b, size_t n, nh_work *w)
{
    const nh_net *net = f->net;
    const NH_NET(_probe) *probe = f->probe;
    const size_t k = f->block, mid = net->mid.dim;
    const double scale = net->config->tg_scale;
    const bool gradient = net->config->lift && scale > 0;
    R(nh_take_last)(net, n, w->result, w->x);
    if (b->has_invariants)
        invariants(f, b, &net->last, n, w->x, gradient,
                   probe != NULL && probe->z != NULL ? probe->z[k] : NULL, w->y, w);
    if (!net->config->lift) return;
    memcpy(w->lifted, w->x, n * mid * sizeof(real));
    for (size_t t = 0; t < n; t++)
        w->edge[t] = f->slot[w->row[t]];
    if (gradient) {
        if (probe != NULL && probe->y != NULL) probe_rows(f, &net->mid, n, w->y, w, probe->y[k]);
        if (f->keep) {
            R(nh_tracegrad_factor_forward)(&net->mid, n, scale, w->x, w->y, w->z);
            for (size_t t = 0; t < n; t++)
                f->trail[k].factor[w->edge[t]] = w->z[t];
        }
        if (probe != NULL && probe->factor != NULL)
            add_given(f, n, w, w->lifted);
        else
            R(nh_tracegrad_add_forward)(&net->mid, n, scale, w->y, w->lifted);
    }
    if (probe != NULL && probe->edge_tg != NULL) probe_rows(f, &net->mid, n, w->lifted, w, probe->edge_tg[k]);
    if (f->keep) R(nh_rows_store)(&net->mid, n, w->edge, w->lifted, f->trail[k].lifted);
    R(nh_put_last)(net, n, w->lifted, false, w->result);
}

/* OPTIONS.md 1.3: the part of edge_lin that the products feed, added to w->tile. */
static void lift(const nh_net *net, size_t n, nh_work *w)
{
    const nh_linear *l = &net->lift_out;
    for (size_t g = 0; g < net->lift.out.count; g++) {
        R(nh_lift_forward)(&net->lift, g, n, w->x, w->lifted, net->lift_weight, w->lift);
        for (size_t o = 0; o < l->map->out.count; o++)
            if (l->map->block[o].in == g) R(nh_linear_group_forward)
        (l->map, o, n, w->lift, l->weight, NULL, true, w->tile + n * l->map->out.group[o].offset);
    }
}

double R(nh_damping)(const nh_net *net, double r)
{
    return net->config->output_scale * exp(-net->config->decay * r);
}

/* 3.6: outputs of the tile's edges from e' of type POST in w->result. */
static void output(const nh_run *f, size_t n, nh_work *w)
{
    const nh_net *net = f->net;
    const NH_NET(_probe) *probe = f->probe;
    const size_t dim = net->map_output.out.dim, pairs = net->types->n_shell_pair, width = net->trace_width;
    R(nh_linear_forward)
    (&net->map_output, n, w->result, net->output.weight, net->output.bias, false, w->tile);
    if (net->config->lift) lift(net, n, w);
    if (probe != NULL) probe_rows(f, &net->map_output.out, n, w->tile, w, probe->ham_nomask);
    R(nh_to_e3nn)(&net->map_output.out, n, w->tile, w->e3nn);
    if (net->with_trace) {
        real *first = f->trace + f->slot[w->row[0]] * width; /* a tile of f->out: consecutive slots */
        for (size_t t = 0; t < n; t++)
            for (size_t i = 0; i < width; i++)
                first[t * width + i] += net->trace_bias[i];
        memcpy(w->trace_in, first, n * width * sizeof(real));
        R(nh_silu_forward)(n * width, w->trace_in);
        R(nh_mlp_forward)(&net->trace, n, w->trace_in, w->trace_hidden, w->trace, false);
        for (size_t t = 0; probe != NULL && probe->trace_nomask != NULL && t < n; t++)
            memcpy(probe->trace_nomask + f->order[w->row[t]] * pairs, w->trace + t * pairs,
                   pairs * sizeof(real));
    }
    size_t kept = 0;
    for (size_t t = 0; t < n; t++) {
        const size_t e = f->order[w->row[t]];
        const bool inside = R(nh_inside)(net, f->graph->distance[e]);
        if (!inside && !f->everywhere) continue;
        const real factor = inside ? (real)R(nh_damping)(net, w->distance[t]) : 0;
        real *to = w->e3nn + kept * dim;
        const real *from = w->e3nn + t * dim;
        for (size_t i = 0; i < dim; i++)
            to[i] = inside ? from[i] * factor : 0;
        for (size_t i = 0; net->with_trace && i < pairs; i++)
            w->trace[kept * pairs + i] = inside ? w->trace[t * pairs + i] : 0;
        w->pick[kept++] = e;
    }
    if (kept > 0 && f->sink != NULL)
        f->sink(f->sink_context, kept, w->pick, w->e3nn, net->with_trace ? w->trace : NULL);
}

void R(nh_attention)(const nh_run *f, const nh_block *b, size_t n, nh_work *w)
{
    const nh_net *net = f->net;
    double lap = 0;
    R(nh_lap)(&lap);
    radial(f, n, w);
    w->times.radial += R(nh_lap)(&lap);

    R(nh_rows_load)(&net->mid, n, w->row, f->edge, w->x);
    R(nh_norm_forward)(&net->mid, n, w->x, net->config->norm_eps, b->norm_edge[0], b->norm_edge[1], w->x);
    R(nh_linear_forward)(b->pre_edge.map, n, w->x, b->pre_edge.weight, NULL, false, w->message);
    R(nh_rows_add)(&net->mid, n, w->source, f->p, w->message);
    R(nh_rows_add)(&net->mid, n, w->destination, f->q, w->message);
    w->times.linear += R(nh_lap)(&lap);

    const reader to[] = {{&b->sep_lin, w->gate_in}, {&b->sep_alpha, w->scalars}};
    message_product(f, n, 2, to, w);
    R(nh_lap)(&lap);
    scores(f, b, n, w);
    R(nh_gate_forward)(&net->gate_in, &net->mid, net->gate_first, n, w->gate_in, w->value);
    w->times.attention += R(nh_lap)(&lap);
    value_product(f, b, n, w);
}

/* From v and A of the tile: e' in f->raw, or the outputs in the last block, and partial sums for the nodes.
 */
static void finish_edges(const nh_run *f, const nh_block *b, size_t tile, size_t n, nh_work *w)
{
    const nh_net *net = f->net;
    const bool last = f->block + 1 == net->config->blocks;
    double lap = 0;
    R(nh_lap)(&lap);
    if (!last) partial_sums(f, tile, n, w);
    const size_t kept = R(nh_tile_kept)(f, n, w);
    R(nh_heads_forward)(&net->heads, net->config->heads, n, kept, w->pick, w->alpha, w->heads, w->weighted);
    w->times.attention += R(nh_lap)(&lap);
    if (kept == 0) return;
    R(nh_linear_forward)
    (b->edge_proj.map, kept, w->weighted, b->edge_proj.weight, b->edge_proj.bias, false, w->result);
    w->times.linear += R(nh_lap)(&lap);
    const nh_layout *type = &b->edge_proj.map->out;
    if (f->probe != NULL && f->probe->edge != NULL)
        probe_rows(f, type, n, w->result, w, f->probe->edge[f->block]);
    if (!last) {
        for (size_t i = 0; i < kept; i++)
            w->row[i] = w->row[w->pick[i]];
        R(nh_rows_store)(type, kept, w->row, w->result, f->raw);
        w->times.linear += R(nh_lap)(&lap);
        return;
    }
    if (b->has_invariants || net->config->lift) {
        last_tracegrad(f, b, n, w);
        w->times.tracegrad += R(nh_lap)(&lap);
    }
    output(f, n, w);
    w->times.output += R(nh_lap)(&lap);
}

void R(nh_run_edges)(void *run, size_t tile, int thread)
{
    const nh_run *f = run;
    const nh_block *b = &f->net->block[f->block];
    nh_work w = R(nh_tile_work)(f, tile, thread);
    const size_t n = R(nh_tile_rows)(f, tile, &w);
    R(nh_attention)(f, b, n, &w);
    finish_edges(f, b, tile, n, &w);
    f->work[thread].times = w.times;
}

/* `everywhere`: zeros for the edges that no block worked on. Tiles of edges in the graph's order. */
void R(nh_run_outside)(void *run, size_t tile, int thread)
{
    const nh_run *f = run;
    const nh_net *net = f->net;
    nh_work *w = &f->work[thread];
    const size_t first = tile * NH_TILE, left = f->graph->n_edge - first, n = left < NH_TILE ? left : NH_TILE;
    size_t kept = 0;
    for (size_t e = first; e < first + n; e++)
        if (f->slot[f->position[e]] == SIZE_MAX) w->pick[kept++] = e;
    if (kept == 0) return;
    memset(w->e3nn, 0, kept * net->map_output.out.dim * sizeof(real));
    if (net->with_trace) memset(w->trace, 0, kept * net->types->n_shell_pair * sizeof(real));
    f->sink(f->sink_context, kept, w->pick, w->e3nn, net->with_trace ? w->trace : NULL);
}
