/* A sub-model on a device, forward: lib/network's forward.c, edge.c and node.c. */
#include "kernels/network.h"
#include "kernels/table.h"

#include <cstdlib>
#include <cstring>

enum { TILE = 8192, SMALLEST_TILE = 64 };

/* ---- weights */

static real *on_device(const nhk_net *d, const real *weight)
{
    return weight != nullptr ? d->packed + (weight - d->host->packed) : nullptr;
}

static void move_linear(const nhk_net *d, nh_linear *l)
{
    l->weight = on_device(d, l->weight);
    l->bias = on_device(d, l->bias);
}

static void free_chain(nh_chain *m)
{
    free(m->weight);
    *m = nh_chain{};
}

/* The chain with lists of its own, all in one allocation. */
static void move_chain(const nhk_net *d, nh_chain *m, bool *failed)
{
    if (m->layers == 0) return;
    const size_t n = m->layers;
    real **list = static_cast<real **>(calloc(4 * n, sizeof *list));
    if (list == nullptr) {
        *failed = true;
        *m = nh_chain{};
        return;
    }
    for (size_t i = 0; i < n; i++) {
        list[i] = on_device(d, m->weight[i]);
        list[n + i] = on_device(d, m->bias[i]);
        if (m->gain == nullptr) continue;
        list[2 * n + i] = on_device(d, m->gain[i]);
        list[3 * n + i] = on_device(d, m->shift[i]);
    }
    m->weight = list;
    m->bias = list + n;
    if (m->gain != nullptr) {
        m->gain = list + 2 * n;
        m->shift = list + 3 * n;
    }
}

static void move_block(nhk_net *d, nh_block *b, bool *failed)
{
    real **norms[] = {b->norm_1, b->norm_edge, b->norm_2};
    for (real **norm : norms)
        for (size_t i = 0; i < 2; i++)
            norm[i] = on_device(d, norm[i]);
    nh_linear *linears[] = {&b->merge_src, &b->merge_dst, &b->pre_src,   &b->pre_dst,   &b->pre_edge, &b->sep_lin,
                            &b->sep_alpha, &b->value_lin, &b->proj,      &b->edge_proj, &b->ffn_1,    &b->ffn_2};
    for (nh_linear *l : linears)
        move_linear(d, l);
    move_chain(d, &b->radial, failed);
    move_chain(d, &b->alpha, failed);
    move_chain(d, &b->invariants, failed);
    b->value_weight = on_device(d, b->value_weight);
    b->trace_first = on_device(d, b->trace_first);
    if (b->has_invariants) b->seed = static_cast<real *>(nhk_alloc(d->gpu, d->net.config->tg_z, sizeof(real)));
    b->form = b->layer = nullptr; /* training.cu */
}

static void move_network(nhk_net *d, bool *failed)
{
    nh_net *net = &d->net;
    const size_t blocks = net->config->blocks;
    nh_linear *linears[] = {&net->input,    &net->output,    &net->lift_out, &net->init_src,
                            &net->init_edge, &net->init_dst, &net->init_lin};
    for (nh_linear *l : linears)
        move_linear(d, l);
    move_chain(d, &net->init_radial, failed);
    move_chain(d, &net->trace, failed);
    net->lift_weight = on_device(d, net->lift_weight);
    net->trace_bias = on_device(d, net->trace_bias);
    net->block = static_cast<nh_block *>(calloc(blocks, sizeof *net->block));
    if (net->block == nullptr) {
        *failed = true;
        return;
    }
    for (size_t k = 0; k < blocks; k++) {
        net->block[k] = d->host->block[k];
        move_block(d, &net->block[k], failed);
    }
}

void R(nhk_upload_tracegrad)(nhk_net *d)
{
    const size_t z = d->net.config->tg_z;
    for (size_t k = 0; k < d->net.config->blocks; k++) {
        const nh_block *own = &d->net.block[k], *from = &d->host->block[k];
        if (!own->has_invariants) continue;
        const size_t hidden = own->form_hidden * sizeof(real);
        nhk_upload(d->gpu, own->seed, from->seed, z * sizeof(real));
        if (own->form != nullptr) nhk_upload(d->gpu, own->form, from->form, own->invariants.width[0] * hidden);
        if (own->layer != nullptr) nhk_upload(d->gpu, own->layer, from->layer, z * hidden);
    }
}

static int network_update(nhk_net *d, nh_error *err)
{
    nhk_upload(d->gpu, d->packed, d->host->packed, d->host->n_packed * sizeof(real));
    R(nhk_upload_tracegrad)(d);
    return nhk_sync(d->gpu, err);
}

static void network_drop(nhk_net *d);

static int network_make(nh_gpu *g, const nh_net *host, nhk_net **out, nh_error *err)
{
    *out = nullptr;
    nhk_net *d = static_cast<nhk_net *>(calloc(1, sizeof *d));
    if (d == nullptr) return nhk_error(err, "out of memory for a sub-model");
    bool failed = false;
    d->gpu = g;
    d->host = host;
    d->net = *host;
    d->tile = TILE;
    if (nhk_available(g) / 2 < host->n_packed * sizeof(real)) nhk_pool_free(g, &g->pool); /* what runs have left */
    d->packed = static_cast<real *>(nhk_alloc(g, host->n_packed, sizeof(real)));
    move_network(d, &failed);
    if (failed) nhk_fail(g, "out of memory for a sub-model");
    if (!g->failed) {
        nhk_product_new(g, &host->product, &d->product);
        if (host->config->lift) nhk_lift_new(g, &host->lift, &d->lift);
        d->e3nn_in = nhk_e3nn_table(g, &host->map_input.in);
        d->e3nn_out = nhk_e3nn_table(g, &host->map_output.out);
        d->pairs_mid = nhk_pairs_table(g, &host->mid);
        d->pairs_last = nhk_pairs_table(g, &host->last);
        for (nhk_stage &s : d->stage)
            nhk_good(g, cudaEventCreateWithFlags(&s.done, cudaEventDisableTiming), "cudaEventCreate");
    }
    if (g->failed || network_update(d, err)) {
        if (g->failed) nhk_sync(g, err);
        network_drop(d);
        return -1;
    }
    *out = d;
    return 0;
}

static void network_connect(nhk_net *d, const NH_NET(_ends) * ends)
{
    d->ends = ends != nullptr ? *ends : NH_NET(_ends){};
}

static void forget_order(nhk_run *r)
{
    free(r->order);
    free(r->place);
    free(r->out);
    free(r->slot);
    free(r->tile_part);
    free(r->trail);
    *r = nhk_run{};
}

static void network_drop(nhk_net *d)
{
    if (d == nullptr) return;
    cudaSetDevice(d->gpu->index);
    nhk_pool_free(d->gpu, &d->kept_pool);
    R(nhk_training_free)(d);
    forget_order(&d->run);
    for (nhk_stage &s : d->stage) {
        cudaFreeHost(s.p);
        if (s.done != nullptr) cudaEventDestroy(s.done);
    }
    nhk_product_free(d->gpu, &d->product);
    nhk_lift_free(d->gpu, &d->lift);
    int *tables[] = {d->e3nn_in, d->e3nn_out, d->pairs_mid, d->pairs_last};
    for (int *t : tables)
        nhk_free(d->gpu, t);
    for (size_t k = 0; d->net.block != nullptr && k < d->net.config->blocks; k++) {
        nh_block *b = &d->net.block[k];
        if (b->has_invariants) nhk_free(d->gpu, b->seed);
        free_chain(&b->radial);
        free_chain(&b->alpha);
        free_chain(&b->invariants);
    }
    free(d->net.block);
    free_chain(&d->net.init_radial);
    free_chain(&d->net.trace);
    nhk_free(d->gpu, d->packed);
    free(d);
}

/* ---- memory of a run */

static void *take(nhk_net *d, size_t count, size_t size)
{
    return nhk_take(d->gpu, d->pool, count, size);
}

static real *reals(nhk_net *d, size_t rows, size_t width)
{
    return static_cast<real *>(take(d, rows * width, sizeof(real)));
}

static int *ints(nhk_net *d, size_t n)
{
    return static_cast<int *>(take(d, n, sizeof(int)));
}

static size_t max_of(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t widest(const nh_chain *m)
{
    size_t width = 0;
    for (size_t i = 1; i < m->layers; i++)
        width = max_of(width, m->width[i]);
    return width;
}

/* carve_work of forward.c */
static void take_work(nhk_net *d, size_t rows)
{
    nhk_work *w = &d->run.w;
    const nh_net *net = &d->net;
    const nh_config *c = net->config;
    const nh_layout *post = &net->map_post.out, *in = &net->map_input.in, *out = &net->map_output.out;
    const size_t mid = net->mid.dim, z = c->tg_z, result = max_of(mid, post->dim),
                 border = max_of(max_of(in->dim, out->dim), result), x = max_of(mid, net->last.dim),
                 alpha_in = c->radial_basis + c->alpha_scalars;
    size_t product = 0, lift = 0, hidden = 0, pairs = 0, room = 0,
           chain = max_of(widest(&net->block[0].radial), widest(&net->block[0].alpha));
    for (size_t g = 0; g < net->product.out.count; g++)
        product = max_of(product, net->product.out.group[g].dim);
    for (size_t g = 0; g < net->lift.out.count; g++)
        lift = max_of(lift, net->lift.out.group[g].dim);
    for (size_t k = 0; k < c->blocks; k++) {
        const nh_chain *m = &net->block[k].invariants;
        const nh_layout *type = k + 1 == c->blocks ? &net->last : &net->mid;
        if (!net->block[k].has_invariants) continue;
        hidden = max_of(hidden, R(nhk_mlp_hidden_size)(m));
        pairs = max_of(pairs, type->pairs);
        chain = max_of(chain, widest(m));
        room = max_of(room, R(nhk_invariants_work)(type, m));
    }
    if (net->with_trace) chain = max_of(chain, widest(&net->trace));
    const size_t tg = pairs > 0 ? z : 0, trace = net->with_trace ? net->types->n_shell_pair : 0;
    w->e3nn = reals(d, rows, border);
    w->tile = reals(d, rows, border);
    w->x = reals(d, rows, x);
    w->y = reals(d, rows, mid);
    w->harmonics = reals(d, rows, net->product.n_harmonic);
    w->product = reals(d, rows, product);
    w->weighted = reals(d, rows, net->heads.dim);
    w->result = reals(d, rows, result);
    w->pairs = reals(d, rows, pairs);
    w->pairs_gradient = reals(d, rows, pairs);
    w->hidden = reals(d, rows, hidden);
    w->gradient = reals(d, rows, tg);
    w->scratch = reals(d, rows, tg);
    w->z = reals(d, rows, tg);
    w->z_kept = reals(d, rows, tg);
    w->factor = reals(d, rows, 1);
    w->trace_in = reals(d, rows, net->trace_width);
    w->trace_hidden = reals(d, rows, trace > 0 ? R(nhk_mlp_hidden_size)(&net->trace) : 0);
    w->trace = reals(d, rows, trace);
    w->lifted = reals(d, rows, c->lift ? mid : 0);
    w->lift = reals(d, rows, lift);
    w->gaussians = reals(d, rows, c->radial_basis);
    w->radial_hidden = reals(d, rows, R(nhk_mlp_hidden_size)(&net->block[0].radial));
    w->weight = reals(d, rows, net->product.n_weight);
    w->coupling = reals(d, rows, net->product.n_matrix);
    w->message = reals(d, rows, mid);
    w->gate_in = reals(d, rows, net->gate_in.dim);
    w->value = reals(d, rows, mid);
    w->scalars = reals(d, rows, c->alpha_scalars);
    w->alpha_in = reals(d, rows, alpha_in);
    w->alpha_hidden = reals(d, rows, R(nhk_mlp_hidden_size)(&net->block[0].alpha));
    w->alpha = reals(d, rows, c->heads);
    w->heads = reals(d, rows, net->heads.dim);
    if (!d->run.keep) return;
    w->g_tile = reals(d, rows, border);
    w->g_x = reals(d, rows, x);
    w->g_y = reals(d, rows, mid);
    w->g_message = reals(d, rows, mid);
    w->g_value = reals(d, rows, mid);
    w->g_weight = reals(d, rows, net->product.n_weight);
    w->g_product = reals(d, rows, product);
    w->g_gate_in = reals(d, rows, net->gate_in.dim);
    w->g_scalars = reals(d, rows, c->alpha_scalars);
    w->g_alpha_in = reals(d, rows, alpha_in);
    w->g_alpha = reals(d, rows, c->heads);
    w->g_heads = reals(d, rows, net->heads.dim);
    w->g_weighted = reals(d, rows, net->heads.dim);
    w->g_result = reals(d, rows, result);
    w->g_trace = reals(d, rows, max_of(net->trace_width, trace));
    w->g_z = reals(d, rows, tg);
    w->chain_room = reals(d, rows, 2 * chain);
    w->invariants_room = reals(d, rows, room);
    w->g_first = reals(d, rows, c->lift ? mid : 0);
    w->g_lift = reals(d, rows, lift);
}

static void take_list(nhk_net *d, size_t n, bool rows, nhk_list *l)
{
    l->n = n;
    l->row = rows ? ints(d, n) : nullptr;
    l->src = ints(d, n);
    l->dst = ints(d, n);
    l->vector = static_cast<double *>(take(d, 3 * n, sizeof(double)));
    l->distance = static_cast<double *>(take(d, n, sizeof(double)));
    l->copies = reals(d, n, 1);
}

static void take_trail(nhk_net *d)
{
    nhk_run *r = &d->run;
    const nh_net *net = &d->net;
    const size_t blocks = net->config->blocks, mid = net->mid.dim, heads = net->config->heads, E = r->n_edge,
                 N = r->n_node;
    real *edge = reals(d, E, mid);
    for (size_t k = 0; k < blocks; k++) {
        const bool last = k + 1 == blocks, add = net->block[k].has_invariants && net->config->tg_scale > 0;
        nh_trail t = {};
        t.edge = edge;
        t.node = reals(d, N, mid);
        if (!last) {
            t.raw = reals(d, E, mid);
            edge = add ? reals(d, E, mid) : t.raw;
            t.merged = reals(d, N, net->heads.dim);
            t.partial_max = reals(d, r->n_part, heads);
            t.partial_sum = reals(d, r->n_part, heads);
            t.factor = reals(d, add ? E : 0, 1);
        } else if (net->config->lift) {
            t.factor = reals(d, add ? r->n_out : 0, 1);
            t.lifted = reals(d, r->n_out, mid);
        }
        t.z = reals(d, net->with_trace ? r->n_out : 0, net->config->tg_z);
        r->trail[k] = t;
    }
    r->g_edge = reals(d, E, mid);
    r->g_message = reals(d, E, mid);
    r->g_node = reals(d, N, mid);
    r->g_normed = reals(d, N, mid);
    r->g_merged = reals(d, N, net->heads.dim);
    r->g_max = reals(d, N, heads);
    r->g_total = reals(d, N, heads);
    r->g_dot = reals(d, N, heads);
    r->g_trace = reals(d, r->n_out, net->trace_width);
    r->g_packed = reals(d, net->n_packed, 1);
    r->incoming = ints(d, N + 1);
    r->outgoing = ints(d, N + 1);
    r->from = ints(d, E);
}

/* Somebody on the device wants to know the edges' numbers. */
static bool named(const nhk_run *r)
{
    return r->ends.sink != nullptr || r->ends.seed != nullptr;
}

static void take_run(nhk_net *d)
{
    nhk_run *r = &d->run;
    const nh_net *net = &d->net;
    const size_t mid = net->mid.dim, heads = net->config->heads, E = r->n_edge, N = r->n_node;
    d->pool->next = 0;
    take_list(d, E, false, &r->all);
    take_list(d, r->n_out, true, &r->inside);
    r->place_d = ints(d, E);
    r->slot_d = ints(d, E);
    r->edge_d = ints(d, named(r) ? r->n_out : 0);
    r->part_begin = ints(d, r->n_part + 1);
    r->node_part = ints(d, N + 1);
    r->onsite_begin = ints(d, N + 1);
    r->onsite = ints(d, E);
    r->damping = reals(d, r->n_out, 1);
    r->normed = reals(d, N, mid);
    r->p = reals(d, N, mid);
    r->q = reals(d, N, mid);
    r->part_value = reals(d, r->n_part, net->heads.dim);
    r->trace = reals(d, r->n_out, net->trace_width);
    take_work(d, r->tile);
    if (r->keep) {
        take_trail(d);
        r->first = net->config->edge_init == NH_EDGE_INIT_PAPER ? reals(d, E, mid) : r->trail[0].edge;
        return;
    }
    r->first = r->edge = r->raw = r->edge_next = reals(d, E, mid);
    r->node = r->node_next = reals(d, N, mid);
    r->merged = reals(d, N, net->heads.dim);
    r->part_max = reals(d, r->n_part, heads);
    r->part_sum = reals(d, r->n_part, heads);
}

/* ---- order of the edges */

static bool onsite(const nh_edges *g, size_t e)
{
    return g->src[e] == g->dst[e] && g->distance[e] < 1e-5;
}

static bool inside(const nh_net *net, double distance)
{
    return distance >= net->lo && distance < net->hi;
}

static size_t count_tiles(size_t n, size_t rows)
{
    return (n + rows - 1) / rows;
}

/* Positions: by destination, otherwise in the graph's order; the positions of the outputs. */
static bool sort_edges(nhk_net *d)
{
    nhk_run *r = &d->run;
    const nh_edges *g = r->graph;
    const size_t E = r->n_edge, N = r->n_node;
    size_t *first = static_cast<size_t *>(calloc(N + 1, sizeof *first));
    r->order = static_cast<size_t *>(calloc(E + 1, sizeof *r->order));
    r->place = static_cast<size_t *>(calloc(E + 1, sizeof *r->place));
    r->slot = static_cast<int *>(calloc(E + 1, sizeof *r->slot));
    r->out = static_cast<int *>(calloc(r->n_out + 1, sizeof *r->out));
    r->trail = static_cast<nh_trail *>(calloc(d->net.config->blocks, sizeof *r->trail));
    const bool good = first && r->order && r->place && r->slot && r->out && r->trail;
    for (size_t e = 0; good && e < E; e++)
        first[(size_t)g->dst[e] + 1]++;
    for (size_t a = 0; good && a < N; a++)
        first[a + 1] += first[a];
    for (size_t e = 0; good && e < E; e++) {
        const size_t position = first[(size_t)g->dst[e]]++;
        r->order[position] = e;
        r->place[e] = position;
    }
    for (size_t i = 0, n = 0; good && i < E; i++) {
        r->slot[i] = -1;
        if (!inside(&d->net, g->distance[r->order[i]])) continue;
        r->out[n] = (int)i;
        r->slot[i] = (int)n++;
    }
    free(first);
    return good;
}

/* Partial results for tiles of r->tile rows: how many, the first of each tile. */
static bool number_parts(nhk_run *r)
{
    const nh_edges *g = r->graph;
    free(r->tile_part);
    r->tile_part = static_cast<size_t *>(calloc(count_tiles(r->n_edge, r->tile) + 1, sizeof *r->tile_part));
    if (r->tile_part == nullptr) return false;
    r->n_part = 0;
    for (size_t i = 0; i < r->n_edge; i++) {
        if (i % r->tile == 0) r->tile_part[i / r->tile] = r->n_part;
        if (i % r->tile == 0 || g->dst[r->order[i]] != g->dst[r->order[i - 1]]) r->n_part++;
    }
    r->tile_part[count_tiles(r->n_edge, r->tile)] = r->n_part;
    return true;
}

static void upload_list(nhk_net *d, const nhk_list *l, const int *position, int *n, double *x, real *c)
{
    const nhk_run *r = &d->run;
    const nh_edges *g = r->graph;
    if (l->row != nullptr) nhk_upload(d->gpu, const_cast<int *>(l->row), position, l->n * sizeof *n);
    for (size_t i = 0; i < l->n; i++)
        n[i] = g->src[r->order[position != nullptr ? (size_t)position[i] : i]];
    nhk_upload(d->gpu, l->src, n, l->n * sizeof *n);
    for (size_t i = 0; i < l->n; i++)
        n[i] = g->dst[r->order[position != nullptr ? (size_t)position[i] : i]];
    nhk_upload(d->gpu, l->dst, n, l->n * sizeof *n);
    for (size_t i = 0; i < l->n; i++) {
        const size_t e = r->order[position != nullptr ? (size_t)position[i] : i];
        memcpy(x + 3 * i, g->vector + 3 * e, 3 * sizeof *x);
        c[i] = onsite(g, e) ? (real)d->net.config->onsite_copies : 1;
    }
    nhk_upload(d->gpu, l->vector, x, 3 * l->n * sizeof *x);
    nhk_upload(d->gpu, l->copies, c, l->n * sizeof *c);
    for (size_t i = 0; i < l->n; i++) /* the exact length: the rounded one decides about ranges only */
        x[i] = sqrt(x[3 * i] * x[3 * i] + x[3 * i + 1] * x[3 * i + 1] + x[3 * i + 2] * x[3 * i + 2]);
    nhk_upload(d->gpu, l->distance, x, l->n * sizeof *x);
    if (position == nullptr) return;
    for (size_t i = 0; i < l->n; i++)
        c[i] = (real)(d->net.config->output_scale * exp(-d->net.config->decay * x[i]));
    nhk_upload(d->gpu, r->damping, c, l->n * sizeof *c);
}

/* Edges of each node: those that `chosen` says, grouped by src or dst; begin[n_node+1]. */
static void group_edges(const nhk_run *r, bool by_src, bool only_onsite, int *begin, int *list)
{
    const nh_edges *g = r->graph;
    memset(begin, 0, (r->n_node + 1) * sizeof *begin);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < r->n_edge; i++) {
            const size_t e = r->order[i], node = (size_t)(by_src ? g->src[e] : g->dst[e]);
            if (only_onsite && !onsite(g, e)) continue;
            if (pass == 0)
                begin[node + 1]++;
            else
                list[begin[node]++] = (int)i;
        }
        for (size_t a = 0; pass == 0 && a < r->n_node; a++)
            begin[a + 1] += begin[a];
    }
    for (size_t a = r->n_node; a > 0; a--) /* each has moved to its end */
        begin[a] = begin[a - 1];
    begin[0] = 0;
}

static bool upload_order(nhk_net *d)
{
    nhk_run *r = &d->run;
    const nh_edges *g = r->graph;
    const size_t E = r->n_edge, N = r->n_node, most = max_of(max_of(E, N), r->n_part) + 2;
    int *n = static_cast<int *>(calloc(most, sizeof *n)), *begin = static_cast<int *>(calloc(N + 2, sizeof *begin));
    double *x = static_cast<double *>(calloc(3 * E + 1, sizeof *x));
    real *c = static_cast<real *>(calloc(E + 1, sizeof *c));
    if (n != nullptr && begin != nullptr && x != nullptr && c != nullptr) {
        upload_list(d, &r->all, nullptr, n, x, c);
        upload_list(d, &r->inside, r->out, n, x, c);
        for (size_t e = 0; e < E; e++)
            n[e] = (int)r->place[e];
        nhk_upload(d->gpu, r->place_d, n, E * sizeof *n);
        nhk_upload(d->gpu, r->slot_d, r->slot, E * sizeof *n);
        for (size_t i = 0; i < r->n_out; i++)
            n[i] = (int)r->order[r->out[i]];
        if (named(r)) nhk_upload(d->gpu, r->edge_d, n, r->n_out * sizeof *n);
        /* partial results: first position of each, first one of each node */
        size_t part = 0;
        memset(begin, 0, (N + 2) * sizeof *begin);
        for (size_t i = 0; i < E; i++) {
            const int node = g->dst[r->order[i]];
            if (i % r->tile != 0 && node == g->dst[r->order[i - 1]]) continue;
            n[part++] = (int)i;
            begin[node + 1]++;
        }
        n[part] = (int)E;
        for (size_t a = 0; a < N; a++)
            begin[a + 1] += begin[a];
        nhk_upload(d->gpu, r->part_begin, n, (part + 1) * sizeof *n);
        nhk_upload(d->gpu, r->node_part, begin, (N + 1) * sizeof *begin);
        group_edges(r, true, true, begin, n);
        nhk_upload(d->gpu, r->onsite_begin, begin, (N + 1) * sizeof *begin);
        nhk_upload(d->gpu, r->onsite, n, (size_t)begin[N] * sizeof *n);
        if (r->keep) {
            group_edges(r, false, false, begin, n);
            nhk_upload(d->gpu, r->incoming, begin, (N + 1) * sizeof *begin);
            group_edges(r, true, false, begin, n);
            nhk_upload(d->gpu, r->outgoing, begin, (N + 1) * sizeof *begin);
            nhk_upload(d->gpu, r->from, n, E * sizeof *n);
        }
    }
    const bool good = n != nullptr && begin != nullptr && x != nullptr && c != nullptr;
    free(n);
    free(begin);
    free(x);
    free(c);
    return good;
}

/* Order and memory, in tiles that fit. */
static int run_new(nhk_net *d, nh_error *err)
{
    nhk_run *r = &d->run;
    nh_gpu *g = d->gpu;
    r->n_edge = r->graph->n_edge;
    r->n_node = r->graph->n_node;
    if (r->n_edge > INT32_MAX / 4 || r->n_node > INT32_MAX / 4)
        return nhk_error(err, "CUDA: a graph of %zu edges", r->n_edge);
    for (size_t e = 0; e < r->n_edge; e++)
        r->n_out += inside(&d->net, r->graph->distance[e]);
    bool good = sort_edges(d);
    r->tile = max_of(r->n_edge, SMALLEST_TILE);
    if (r->tile > d->tile) r->tile = d->tile;
    for (; good; r->tile = (r->tile + 1) / 2) {
        good = number_parts(r);
        if (!good) break;
        take_run(d);
        if (!g->failed) break;
        const bool smaller = g->no_memory && r->tile > SMALLEST_TILE;
        nh_error cause;
        nhk_sync(g, &cause);
        nhk_pool_free(g, d->pool);
        nhk_pool_free(g, &g->pool); /* what runs that are not kept have left */
        d->tile = smaller ? (r->tile + 1) / 2 : (size_t)TILE; /* the next run may find more memory */
        if (!smaller) return nhk_error(err, "%s; the features of %zu edges do not fit", cause.text, r->n_edge);
    }
    good = good && upload_order(d);
    if (!good) return nhk_error(err, "out of memory for %zu edges", r->n_edge);
    return 0;
}

size_t R(nhk_first_slot)(const nhk_run *r, size_t position)
{
    size_t lo = 0, hi = r->n_out;
    while (lo < hi) {
        const size_t middle = (lo + hi) / 2;
        if ((size_t)r->out[middle] < position)
            lo = middle + 1;
        else
            hi = middle;
    }
    return lo;
}

size_t R(nhk_tile_slots)(const nhk_run *r, const nhk_list *l, size_t first, size_t n, size_t *slot)
{
    *slot = l->row != nullptr ? first : R(nhk_first_slot)(r, first);
    return l->row != nullptr ? first + n : R(nhk_first_slot)(r, first + n);
}

/* ---- host at the ends */

static void flush(nhk_net *d, nhk_stage *s)
{
    nhk_run *r = &d->run;
    if (!s->busy) return;
    s->busy = false;
    if (!nhk_good(d->gpu, cudaEventSynchronize(s->done), "the work on the device") || d->gpu->failed || s->n == 0) return;
    const size_t n = s->n, dim = d->net.map_output.out.dim;
    s->n = 0;
    size_t *edge = static_cast<size_t *>(malloc(n * sizeof *edge));
    if (edge == nullptr) {
        nhk_fail(d->gpu, "out of memory for outputs");
        return;
    }
    for (size_t i = 0; i < n; i++)
        edge[i] = r->order[r->out[s->first + i]];
    const real *ham = static_cast<const real *>(s->p);
    if (r->sink != nullptr) r->sink(r->sink_context, n, edge, ham, d->net.with_trace ? ham + n * dim : nullptr);
    free(edge);
}

nhk_stage *R(nhk_stage_take)(nhk_net *d, size_t index, size_t bytes)
{
    nhk_stage *s = &d->stage[index % 2];
    flush(d, s);
    if (bytes <= s->bytes) return s;
    cudaFreeHost(s->p);
    s->p = nullptr;
    s->bytes = 0;
    if (!nhk_good(d->gpu, cudaMallocHost(&s->p, bytes), "pinned memory")) return nullptr;
    s->bytes = bytes;
    return s;
}

static void mark(nhk_net *d, nhk_stage *s)
{
    s->busy = nhk_good(d->gpu, cudaEventRecord(s->done, d->gpu->stream), "cudaEventRecord");
}

void R(nhk_features)(nhk_net *d, size_t first, size_t n)
{
    nhk_run *r = &d->run;
    nhk_work *w = &r->w;
    const nh_layout *in = &d->net.map_input.in;
    if (r->ends.source != nullptr) {
        if (!d->gpu->failed) r->ends.source(r->ends.context, first, n, w->e3nn);
    } else {
        nhk_stage *s = R(nhk_stage_take)(d, first / r->tile, n * in->dim * sizeof(real));
        if (s == nullptr) return;
        r->source(r->source_context, first, n, static_cast<real *>(s->p));
        nhk_upload(d->gpu, w->e3nn, s->p, n * in->dim * sizeof(real));
        mark(d, s);
        s->n = 0;
    }
    R(nhk_from_e3nn)(d->gpu, in, d->e3nn_in, n, w->e3nn, w->tile);
}

/* 3.2: input features -> e0 (with edge_init: paper, h of OPTIONS.md 2). Tiles of edges in the graph's order; the host
 * reads the next one while the device works. */
static void run_input(nhk_net *d)
{
    nhk_run *r = &d->run;
    const nh_net *net = &d->net;
    nhk_work *w = &r->w;
    nh_gpu *g = d->gpu;
    for (size_t first = 0; first < r->n_edge && !g->failed; first += r->tile) {
        const size_t n = r->n_edge - first < r->tile ? r->n_edge - first : r->tile;
        R(nhk_features)(d, first, n);
        R(nhk_linear_forward)(g, &net->map_input, n, w->tile, net->input.weight, nullptr, false, w->x);
        R(nhk_rows_store)(g, &net->mid, n, r->place_d + first, 0, w->x, r->first);
    }
}

/* ---- nodes */

/* Calls body for tiles of nodes. */
template <typename F> static void over_nodes(const nhk_run *r, F body)
{
    for (size_t first = 0; first < r->n_node; first += r->tile)
        body(first, r->n_node - first < r->tile ? r->n_node - first : r->tile);
}

template <typename F> static void over_list(const nhk_run *r, const nhk_list *l, F body)
{
    for (size_t first = 0; first < l->n; first += r->tile)
        body(first, l->n - first < r->tile ? l->n - first : r->tile);
}

/* 3.2: n0 = sum of e0 over the on-site edges, each as often as onsite_copies says. */
static void begin_nodes(nhk_net *d)
{
    nhk_run *r = &d->run;
    const nh_layout *mid = &d->net.mid;
    const real more = (real)d->net.config->onsite_copies - 1;
    over_nodes(r, [=](size_t first, size_t n) {
        R(nhk_rows_sum)(d->gpu, mid, n, r->onsite_begin + first, r->onsite, nullptr, r->first, r->w.x);
        if (more != 0) R(nhk_axpy)(d->gpu, n * mid->dim, r->w.x, more, r->w.x, r->w.x);
        R(nhk_rows_store)(d->gpu, mid, n, nullptr, 0, r->w.x, r->node + first * mid->dim);
    });
}

void R(nhk_init_nodes)(nhk_net *d)
{
    nhk_run *r = &d->run;
    const nh_layout *mid = &d->net.mid;
    const nh_linear *part[2] = {&d->net.init_src, &d->net.init_dst};
    over_nodes(r, [=](size_t first, size_t n) {
        R(nhk_rows_load)(d->gpu, mid, n, nullptr, 0, r->node + first * mid->dim, r->w.x);
        for (size_t i = 0; i < 2; i++) {
            R(nhk_linear_forward)(d->gpu, part[i]->map, n, r->w.x, part[i]->weight, part[i]->bias, false, r->w.y);
            R(nhk_rows_store)(d->gpu, mid, n, nullptr, 0, r->w.y, (i == 0 ? r->p : r->q) + first * mid->dim);
        }
    });
}

void R(nhk_node_begin)(nhk_net *d)
{
    nhk_run *r = &d->run;
    nh_gpu *g = d->gpu;
    const nh_layout *mid = &d->net.mid;
    const nh_block *b = &d->net.block[r->block];
    const nhk_work *w = &r->w;
    over_nodes(r, [=](size_t first, size_t n) {
        const size_t at = first * mid->dim;
        R(nhk_rows_load)(g, mid, n, nullptr, 0, r->node + at, w->x);
        R(nhk_norm_forward)(g, mid, n, w->x, d->net.config->norm_eps, b->norm_1[0], b->norm_1[1], w->x);
        R(nhk_rows_store)(g, mid, n, nullptr, 0, w->x, r->normed + at);
        R(nhk_linear_forward)(g, b->merge_src.map, n, w->x, b->merge_src.weight, b->merge_src.bias, false, w->value);
        R(nhk_linear_forward)(g, b->pre_src.map, n, w->value, b->pre_src.weight, b->pre_src.bias, false, w->y);
        R(nhk_rows_store)(g, mid, n, nullptr, 0, w->y, r->p + at);
        R(nhk_linear_forward)(g, b->merge_dst.map, n, w->x, b->merge_dst.weight, nullptr, false, w->value);
        R(nhk_linear_forward)(g, b->pre_dst.map, n, w->value, b->pre_dst.weight, nullptr, false, w->y);
        R(nhk_rows_store)(g, mid, n, nullptr, 0, w->y, r->q + at);
    });
}

static void node_end(nhk_net *d)
{
    nhk_run *r = &d->run;
    nh_gpu *g = d->gpu;
    const nh_net *net = &d->net;
    const nh_layout *mid = &net->mid, *heads = &net->heads;
    const nh_block *b = &net->block[r->block];
    const nhk_work *w = &r->w;
    over_nodes(r, [=](size_t first, size_t n) {
        const size_t at = first * mid->dim;
        R(nhk_softmax_merge_forward)
        (g, heads, net->config->heads, n, r->node_part + first, r->part_max, r->part_sum, r->part_value,
         r->merged + first * heads->dim);
        R(nhk_rows_load)(g, heads, n, nullptr, 0, r->merged + first * heads->dim, w->heads);
        R(nhk_linear_forward)(g, b->proj.map, n, w->heads, b->proj.weight, b->proj.bias, false, w->x);
        R(nhk_rows_add)(g, mid, n, nullptr, 0, r->normed + at, w->x);
        R(nhk_norm_forward)(g, mid, n, w->x, d->net.config->norm_eps, b->norm_2[0], b->norm_2[1], w->x);
        R(nhk_linear_forward)(g, b->ffn_1.map, n, w->x, b->ffn_1.weight, b->ffn_1.bias, false, w->gate_in);
        R(nhk_gate_forward)(g, &net->gate_in, mid, net->gate_first, n, w->gate_in, w->value);
        R(nhk_linear_forward)(g, b->ffn_2.map, n, w->value, b->ffn_2.weight, b->ffn_2.bias, true, w->x);
        R(nhk_rows_store)(g, mid, n, nullptr, 0, w->x, r->node_next + at);
    });
}

/* ---- edges */

static void radial(nhk_net *d, const nh_chain *chain, const nhk_list *l, size_t first, size_t n)
{
    const nh_config *c = d->net.config;
    const nhk_work *w = &d->run.w;
    nh_gpu *g = d->gpu;
    R(nhk_gaussians_forward)(g, n, c->radial_basis, c->radial_max, l->distance + first, c->radial_basis, w->gaussians);
    R(nhk_mlp_forward)(g, chain, n, w->gaussians, w->radial_hidden, w->weight, false);
    R(nhk_harmonics_forward)(g, c->sh_lmax, n, l->vector + 3 * first, w->harmonics);
    R(nhk_coupling_forward)(g, &d->product, n, w->harmonics, w->coupling);
}

static void apply_group(nh_gpu *g, const nh_linear *l, size_t group, size_t n, const real *x, real *y)
{
    for (size_t o = 0; o < l->map->out.count; o++)
        if (l->map->block[o].in == group) R(nhk_linear_group_forward)
    (g, l->map, o, n, x, l->weight, l->bias, false, y + n * l->map->out.group[o].offset);
}

void R(nhk_init_message)(nhk_net *d, const nhk_list *l, size_t first, size_t n)
{
    nhk_run *r = &d->run;
    const nh_net *net = &d->net;
    const nhk_work *w = &r->w;
    nh_gpu *g = d->gpu;
    radial(d, &net->init_radial, l, first, n);
    R(nhk_rows_load)(g, &net->mid, n, nhk_rows(l, first), 0, nhk_at(l, first, r->first, net->mid.dim), w->x);
    R(nhk_linear_forward)(g, net->init_edge.map, n, w->x, net->init_edge.weight, nullptr, false, w->message);
    R(nhk_rows_add)(g, &net->mid, n, l->src + first, 0, r->p, w->message);
    R(nhk_rows_add)(g, &net->mid, n, l->dst + first, 0, r->q, w->message);
}

/* OPTIONS.md 2: e0 = h + LIN(DTP(m)). */
static void init_edges(nhk_net *d)
{
    nhk_run *r = &d->run;
    const nh_net *net = &d->net;
    const nhk_work *w = &r->w;
    nh_gpu *g = d->gpu;
    const nhk_list *l = &r->all;
    over_list(r, l, [=](size_t first, size_t n) {
        R(nhk_init_message)(d, l, first, n);
        apply_group(g, &net->init_lin, SIZE_MAX, n, nullptr, w->value);
        for (size_t k = 0; k < net->product.out.count; k++) {
            R(nhk_product_forward)
            (g, &d->product, k, n, w->message, w->coupling, w->weight, net->product.n_weight, w->product);
            apply_group(g, &net->init_lin, k, n, w->product, w->value);
        }
        R(nhk_axpy)(g, n * net->mid.dim, w->x, 1, w->value, w->x);
        R(nhk_rows_store)(g, &net->mid, n, nullptr, 0, w->x, nhk_at(l, first, r->edge, net->mid.dim));
    });
}

void R(nhk_attention)(nhk_net *d, const nh_block *b, const nhk_list *l, size_t first, size_t n)
{
    nhk_run *r = &d->run;
    const nh_net *net = &d->net;
    const nhk_work *w = &r->w;
    nh_gpu *g = d->gpu;
    const size_t basis = net->config->radial_basis, scalars = net->config->alpha_scalars, width = basis + scalars;
    radial(d, &b->radial, l, first, n);

    R(nhk_rows_load)(g, &net->mid, n, nhk_rows(l, first), 0, nhk_at(l, first, r->edge, net->mid.dim), w->x);
    R(nhk_norm_forward)(g, &net->mid, n, w->x, d->net.config->norm_eps, b->norm_edge[0], b->norm_edge[1], w->x);
    R(nhk_linear_forward)(g, b->pre_edge.map, n, w->x, b->pre_edge.weight, nullptr, false, w->message);
    R(nhk_rows_add)(g, &net->mid, n, l->src + first, 0, r->p, w->message);
    R(nhk_rows_add)(g, &net->mid, n, l->dst + first, 0, r->q, w->message);
    apply_group(g, &b->sep_lin, SIZE_MAX, n, nullptr, w->gate_in);
    apply_group(g, &b->sep_alpha, SIZE_MAX, n, nullptr, w->scalars);
    apply_group(g, &b->value_lin, SIZE_MAX, n, nullptr, w->heads);
    for (size_t k = 0; k < net->product.out.count; k++) {
        R(nhk_product_forward)
        (g, &d->product, k, n, w->message, w->coupling, w->weight, net->product.n_weight, w->product);
        apply_group(g, &b->sep_lin, k, n, w->product, w->gate_in);
        apply_group(g, &b->sep_alpha, k, n, w->product, w->scalars);
    }
    R(nhk_columns)(g, n, basis, w->gaussians, basis, 0, w->alpha_in, width, 0, nullptr, 0, false);
    R(nhk_columns)(g, n, scalars, w->scalars, scalars, 0, w->alpha_in, width, basis, nullptr, 0, false);
    R(nhk_mlp_forward)(g, &b->alpha, n, w->alpha_in, w->alpha_hidden, w->alpha, false);
    R(nhk_gate_forward)(g, &net->gate_in, &net->mid, net->gate_first, n, w->gate_in, w->value);
    for (size_t k = 0; k < net->product.out.count; k++) {
        R(nhk_product_forward)(g, &d->product, k, n, w->value, w->coupling, b->value_weight, 0, w->product);
        apply_group(g, &b->value_lin, k, n, w->product, w->heads);
    }
}

/* Hidden layers of TraceGrad's chain, z of the rows that have a slot added to the trace head's first layer, and y where
 * it is wanted. */
static void invariants(nhk_net *d, const nh_block *b, const nh_layout *layout, const int *table, const nhk_list *l,
                       size_t first, size_t n, const real *x, bool gradient, real *y)
{
    nhk_run *r = &d->run;
    const nh_net *net = &d->net;
    const nhk_work *w = &r->w;
    nh_gpu *g = d->gpu;
    const nh_chain *m = &b->invariants;
    const size_t z = m->width[4], width = net->trace_width;
    R(nhk_pairs_forward)(g, layout, table, n, x, w->pairs);
    R(nhk_mlp_forward)(g, m, n, w->pairs, w->hidden, nullptr, false);
    if (net->with_trace) {
        size_t slot;
        const size_t kept = R(nhk_tile_slots)(r, l, first, n, &slot) - slot;
        const real *last = R(nhk_mlp_last_hidden)(m, n, w->hidden), *chosen = last;
        if (kept < n) {
            R(nhk_columns)(g, kept, z, last, z, 0, w->z_kept, z, 0, r->inside.row + slot, (int)first, false);
            chosen = w->z_kept;
        }
        R(nhk_dense_forward)(g, kept, z, z, chosen, m->weight[3], m->bias[3], false, w->z);
        R(nhk_dense_forward)(g, kept, z, width, w->z, b->trace_first, nullptr, true, r->trace + slot * width);
        if (r->keep) nhk_copy(g, r->trail[r->block].z + slot * z, w->z, kept * z * sizeof(real));
    }
    if (!gradient) return;
    R(nhk_fill_rows)(g, n, z, b->seed, false, w->gradient);
    R(nhk_mlp_input_gradient)(g, m, n, w->gradient, w->hidden, w->scratch, w->pairs_gradient);
    R(nhk_pairs_backward)(g, layout, n, w->pairs_gradient, x, y, false);
}

/* x += k y; k is kept at `factors` + rows of the list. */
static void add_gradient(nhk_net *d, const nhk_list *l, size_t first, size_t n, real *factors, real *x)
{
    const nh_layout *mid = &d->net.mid;
    const nhk_work *w = &d->run.w;
    R(nhk_tracegrad_factor_forward)(d->gpu, mid, n, d->net.config->tg_scale, x, w->y, w->factor);
    if (factors != nullptr)
        R(nhk_columns)
        (d->gpu, n, 1, w->factor, 1, 0, nhk_at(l, first, factors, 1), 1, 0, nhk_rows(l, first), 0, true);
    R(nhk_tracegrad_add_forward)(d->gpu, mid, n, w->factor, w->y, x);
}

/* TraceGrad of blocks that are not the last: from e' to the edge features of the next block. */
static void tracegrad(nhk_net *d)
{
    nhk_run *r = &d->run;
    const nh_net *net = &d->net;
    const nhk_work *w = &r->w;
    nh_gpu *g = d->gpu;
    const nhk_list *l = R(nhk_tracegrad_list)(d);
    const nh_block *b = &net->block[r->block];
    const bool add = net->config->tg_scale > 0;
    over_list(r, l, [=](size_t first, size_t n) {
        R(nhk_rows_load)(g, &net->mid, n, nhk_rows(l, first), 0, nhk_at(l, first, r->raw, net->mid.dim), w->x);
        invariants(d, b, &net->mid, d->pairs_mid, l, first, n, w->x, add, w->y);
        if (!add) return;
        add_gradient(d, l, first, n, r->keep ? r->trail[r->block].factor : nullptr, w->x);
        R(nhk_rows_store)
        (g, &net->mid, n, nhk_rows(l, first), 0, w->x, nhk_at(l, first, r->edge_next, net->mid.dim));
    });
}

/* TraceGrad of the last block, and with a lift f (w->x), o (w->lifted and in w->result). */
static void last_tracegrad(nhk_net *d, const nh_block *b, size_t first, size_t n)
{
    nhk_run *r = &d->run;
    const nh_net *net = &d->net;
    const nhk_work *w = &r->w;
    nh_gpu *g = d->gpu;
    const bool gradient = net->config->lift && net->config->tg_scale > 0;
    R(nhk_take_channels)(g, &net->map_post.out, &net->last, n, w->result, w->x);
    if (b->has_invariants)
        invariants(d, b, &net->last, d->pairs_last, &r->inside, first, n, w->x, gradient, w->y);
    if (!net->config->lift) return;
    nhk_copy(g, w->lifted, w->x, n * net->mid.dim * sizeof(real));
    nhk_list slots = {}; /* by slot, not by position */
    if (gradient) add_gradient(d, &slots, first, n, r->keep ? r->trail[r->block].factor : nullptr, w->lifted);
    if (r->keep)
        R(nhk_rows_store)
    (g, &net->mid, n, nullptr, 0, w->lifted, r->trail[r->block].lifted + first * net->mid.dim);
    R(nhk_put_channels)(g, &net->map_post.out, &net->last, n, w->lifted, false, w->result);
}

/* OPTIONS.md 1.3: the part of edge_lin that the products feed, added to w->tile. */
static void lift(nhk_net *d, size_t n)
{
    const nh_net *net = &d->net;
    const nhk_work *w = &d->run.w;
    const nh_linear *l = &net->lift_out;
    for (size_t k = 0; k < net->lift.out.count; k++) {
        R(nhk_lift_forward)(d->gpu, &d->lift, k, n, w->x, w->lifted, net->lift_weight, w->lift);
        for (size_t o = 0; o < l->map->out.count; o++)
            if (l->map->block[o].in == k) R(nhk_linear_group_forward)
        (d->gpu, l->map, o, n, w->lift, l->weight, nullptr, true, w->tile + n * l->map->out.group[o].offset);
    }
}

/* 3.6: outputs of the tile's edges from e' of type POST in w->result. */
static void output(nhk_net *d, size_t first, size_t n)
{
    nhk_run *r = &d->run;
    const nh_net *net = &d->net;
    const nhk_work *w = &r->w;
    nh_gpu *g = d->gpu;
    const size_t dim = net->map_output.out.dim, pairs = net->types->n_shell_pair, width = net->trace_width;
    R(nhk_linear_forward)(g, &net->map_output, n, w->result, net->output.weight, net->output.bias, false, w->tile);
    if (net->config->lift) lift(d, n);
    R(nhk_to_e3nn)(g, &net->map_output.out, d->e3nn_out, n, w->tile, w->e3nn);
    R(nhk_scale_rows)(g, n, dim, r->damping + first, w->e3nn);
    if (net->with_trace) {
        real *sums = r->trace + first * width;
        R(nhk_fill_rows)(g, n, width, net->trace_bias, true, sums);
        nhk_copy(g, w->trace_in, sums, n * width * sizeof(real));
        R(nhk_silu_forward)(g, n * width, w->trace_in);
        R(nhk_mlp_forward)(g, &net->trace, n, w->trace_in, w->trace_hidden, w->trace, false);
    }
    if (r->ends.sink != nullptr) {
        if (!g->failed) r->ends.sink(r->ends.context, n, r->edge_d + first, w->e3nn, net->with_trace ? w->trace : nullptr);
        return;
    }
    const size_t trace = net->with_trace ? pairs : 0;
    nhk_stage *s = R(nhk_stage_take)(d, first / r->tile, n * (dim + trace) * sizeof(real));
    if (s == nullptr) return;
    nhk_download(g, s->p, w->e3nn, n * dim * sizeof(real));
    nhk_download(g, static_cast<real *>(s->p) + n * dim, w->trace, n * trace * sizeof(real));
    mark(d, s);
    s->first = first;
    s->n = n;
}

/* From v and A of the tile: e' in r->raw, or the outputs in the last block, and partial sums for the nodes. */
static void finish_edges(nhk_net *d, const nh_block *b, const nhk_list *l, size_t first, size_t n)
{
    nhk_run *r = &d->run;
    const nh_net *net = &d->net;
    const nhk_work *w = &r->w;
    nh_gpu *g = d->gpu;
    const size_t heads = net->config->heads, blocks = net->config->blocks;
    const bool last = r->block + 1 == blocks;
    if (!last) {
        const size_t tile = first / r->tile, part = r->tile_part[tile];
        R(nhk_softmax_partial_forward)
        (g, &net->heads, heads, n, r->tile_part[tile + 1] - part, r->part_begin + part, (int)first, w->alpha,
         l->copies + first, w->heads, r->part_max + part * heads, r->part_sum + part * heads,
         r->part_value + part * net->heads.dim);
    }
    /* the edge side of the block before the last is needed inside the range only */
    const bool every = r->block + 2 != blocks;
    size_t kept = n, slot = 0;
    if (!every) kept = R(nhk_tile_slots)(r, l, first, n, &slot) - slot;
    const int *pick = every ? nullptr : r->inside.row + slot;
    R(nhk_heads_forward)(g, &net->heads, heads, n, kept, pick, (int)first, w->alpha, w->heads, w->weighted);
    const nh_layout *type = &b->edge_proj.map->out;
    R(nhk_linear_forward)
    (g, b->edge_proj.map, kept, w->weighted, b->edge_proj.weight, b->edge_proj.bias, false, w->result);
    if (!last) {
        R(nhk_rows_store)(g, type, kept, pick, 0, w->result, every ? r->raw + first * type->dim : r->raw);
        return;
    }
    if (b->has_invariants || net->config->lift) last_tracegrad(d, b, first, n);
    output(d, first, n);
}

const nhk_list *R(nhk_block_list)(const nhk_net *d)
{
    return d->run.block + 1 < d->net.config->blocks ? &d->run.all : &d->run.inside;
}

const nhk_list *R(nhk_tracegrad_list)(const nhk_net *d)
{
    const bool all = d->net.config->tg_scale > 0 && d->run.block + 2 < d->net.config->blocks;
    return all ? &d->run.all : &d->run.inside;
}

void R(nhk_enter_block)(nhk_net *d, size_t k)
{
    nhk_run *r = &d->run;
    r->block = k;
    if (!r->keep) return;
    const bool last = k + 1 == d->net.config->blocks;
    const nh_trail *t = &r->trail[k];
    r->edge = t->edge;
    r->raw = t->raw;
    r->edge_next = last ? nullptr : t[1].edge;
    r->node = t->node;
    r->node_next = last ? nullptr : t[1].node;
    r->merged = t->merged;
    r->part_max = t->partial_max;
    r->part_sum = t->partial_sum;
}

static void run_block(nhk_net *d)
{
    nhk_run *r = &d->run;
    const nhk_list *l = R(nhk_block_list)(d);
    const nh_block *b = &d->net.block[r->block];
    R(nhk_node_begin)(d);
    over_list(r, l, [=](size_t first, size_t n) {
        R(nhk_attention)(d, b, l, first, n);
        finish_edges(d, b, l, first, n);
    });
    if (r->block + 1 == d->net.config->blocks) return;
    node_end(d);
    if (b->has_invariants) tracegrad(d);
}

/* `everywhere`: zeros for the edges that no block worked on. */
static void run_outside(nhk_net *d)
{
    nhk_run *r = &d->run;
    enum { ROWS = 64 };
    const size_t dim = d->net.map_output.out.dim, pairs = d->net.with_trace ? d->net.types->n_shell_pair : 0;
    real *zero = static_cast<real *>(calloc(ROWS * (dim + pairs), sizeof *zero));
    size_t edge[ROWS];
    if (zero == nullptr) {
        nhk_fail(d->gpu, "out of memory for outputs");
        return;
    }
    for (size_t e = 0, n = 0; e < r->n_edge; e++) {
        if (r->slot[r->place[e]] < 0) edge[n++] = e;
        if (n == 0 || (n < ROWS && e + 1 < r->n_edge)) continue;
        memset(zero, 0, ROWS * (dim + pairs) * sizeof *zero); /* the sink may have written there */
        r->sink(r->sink_context, n, edge, zero, pairs > 0 ? zero + ROWS * dim : nullptr);
        n = 0;
    }
    free(zero);
}

static int network_forward(nhk_net *d, const nh_edges *graph, NH_NET(_source) * source, void *source_context,
                           NH_NET(_sink) * sink, void *sink_context, bool everywhere, size_t *kept, nh_error *err)
{
    nhk_run *r = &d->run;
    const nh_net *net = &d->net;
    nh_gpu *g = d->gpu;
    forget_order(r);
    r->graph = graph;
    r->source = source;
    r->source_context = source_context;
    r->sink = sink;
    r->sink_context = sink_context;
    r->ends = d->ends;
    r->keep = kept != nullptr;
    d->pool = r->keep ? &d->kept_pool : &g->pool;
    d->kept += r->keep; /* what was kept before is gone */
    if (r->keep) *kept = d->kept;
    nhk_good(g, cudaSetDevice(g->index), "cudaSetDevice");
    for (nhk_stage &s : d->stage) {
        s.busy = false;
        s.n = 0;
    }
    if (run_new(d, err)) {
        forget_order(r);
        return -1;
    }
    if (r->n_out > 0) {
        nhk_zero(g, r->trace, r->n_out * net->trace_width * sizeof(real));
        R(nhk_enter_block)(d, 0);
        run_input(d);
        begin_nodes(d);
        if (net->config->edge_init == NH_EDGE_INIT_PAPER) {
            R(nhk_init_nodes)(d);
            init_edges(d);
        }
        for (size_t k = 0; k < net->config->blocks; k++) {
            R(nhk_enter_block)(d, k);
            run_block(d);
        }
        const size_t tiles = count_tiles(r->n_out, r->tile);
        for (size_t i = tiles; i < tiles + 2; i++) /* the older one first */
            flush(d, &d->stage[i % 2]);
    }
    if (everywhere && r->ends.sink == nullptr && !g->failed) run_outside(d);
    r->filled = r->keep && !g->failed;
    return nhk_sync(g, err);
}

static int network_backward(nhk_net *d, size_t kept, NH_NET(_seed) * seed, void *seed_context, nh_error *err)
{
    nhk_run *r = &d->run;
    nh_gpu *g = d->gpu;
    if (!r->filled || kept != d->kept) return nhk_error(err, "network: no run on the device to go back through");
    nhk_good(g, cudaSetDevice(g->index), "cudaSetDevice");
    r->seed = seed;
    r->seed_context = seed_context;
    if (R(nhk_training_begin)(d) && r->n_out > 0) {
        R(nhk_run_backward)(d);
        R(nhk_unpack)(d);
    }
    return nhk_sync(g, err);
}

const NHK_NET(_calls) NHK_NET(_table) = {network_make,    network_drop,    network_update,
                                         network_connect, network_forward, network_backward};
