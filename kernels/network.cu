/* A sub-model on a device: its weights, and passes through it, forward and back. */
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
    nh_linear *linears[] = {&b->merge_src, &b->merge_dst, &b->pre_src,   &b->pre_dst,
                            &b->pre_edge,  &b->sep_lin,   &b->sep_alpha, &b->value_lin,
                            &b->proj,      &b->edge_proj, &b->ffn_1,     &b->ffn_2};
    for (nh_linear *l : linears)
        move_linear(d, l);
    move_chain(d, &b->radial, failed);
    move_chain(d, &b->alpha, failed);
    move_chain(d, &b->invariants, failed);
    b->value_weight = on_device(d, b->value_weight);
    b->trace_first = on_device(d, b->trace_first);
    if (b->has_invariants)
        b->seed = static_cast<real *>(nhk_alloc(d->gpu, d->net.config->tg_z, sizeof(real)));
    b->form = b->layer = nullptr; /* training.cu */
}

static void move_network(nhk_net *d, bool *failed)
{
    nh_net *net = &d->net;
    const size_t blocks = net->config->blocks;
    nh_linear *linears[] = {&net->input,     &net->output,   &net->lift_out, &net->init_src,
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
        if (own->form != nullptr)
            nhk_upload(d->gpu, own->form, from->form, own->invariants.width[0] * hidden);
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
    if (nhk_available(g) / 2 < host->n_packed * sizeof(real))
        nhk_pool_free(g, &g->pool); /* what runs have left */
    d->packed = static_cast<real *>(nhk_alloc(g, host->n_packed, sizeof(real)));
    d->net.packed = d->packed;
    d->net.aligned = false; /* products are made with the matrices M */
    d->net.frame = nh_frame{};
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

static void network_connect(nhk_net *d, const NH_NET(_ends) *ends)
{
    d->ends = ends != nullptr ? *ends : NH_NET(_ends){};
}

static void forget_order(nhk_pass *r)
{
    free(r->order);
    free(r->position);
    free(r->out_h);
    free(r->slot_h);
    free(r->tile_partial);
    free(r->s.saved);
    *r = nhk_pass{};
}

static void network_drop(nhk_net *d)
{
    if (d == nullptr) return;
    cudaSetDevice(d->gpu->index);
    nhk_pool_free(d->gpu, &d->kept_pool);
    R(nhk_training_free)(d);
    forget_order(&d->pass);
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

/* ---- memory of a pass */

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

typedef nhk_net arena;
#define OP(name) R(nhk_##name)
#include "network/memory.h"

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

/* Somebody on the device wants to know the edges' numbers. */
static bool named(const nhk_pass *r)
{
    return r->ends.sink != nullptr || r->ends.seed != nullptr;
}

static void take_pass(nhk_net *d)
{
    nhk_pass *r = &d->pass;
    const nh_net *net = &d->net;
    const size_t E = r->n_edge, N = r->n_node;
    const counts n = {E, N, r->n_out, r->n_partial};
    d->pool->next = 0;
    take_list(d, E, false, &r->all);
    take_list(d, r->n_out, true, &r->inside);
    r->position_d = ints(d, E);
    r->slot = ints(d, E);
    r->edge = ints(d, named(r) ? r->n_out : 0);
    r->partial_begin = ints(d, r->n_partial + 1);
    r->node_partial = ints(d, N + 1);
    r->onsite_begin = ints(d, N + 1);
    r->onsite = ints(d, E);
    r->damping = reals(d, r->n_out, 1);
    take_state(net, n, &r->s, d);
    take_work(net, r->s.keep, r->tile, &r->w, d);
    if (!r->s.keep) {
        r->s.merged = reals(d, N, net->heads.dim);
        return;
    }
    r->packed = reals(d, net->n_packed, 1);
    r->incoming = ints(d, N + 1);
    r->outgoing = ints(d, N + 1);
    r->from = ints(d, E);
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
    nhk_pass *r = &d->pass;
    const nh_edges *g = r->graph;
    const size_t E = r->n_edge, N = r->n_node;
    size_t *first = static_cast<size_t *>(calloc(N + 1, sizeof *first));
    r->order = static_cast<size_t *>(calloc(E + 1, sizeof *r->order));
    r->position = static_cast<size_t *>(calloc(E + 1, sizeof *r->position));
    r->slot_h = static_cast<int *>(calloc(E + 1, sizeof *r->slot_h));
    r->out_h = static_cast<int *>(calloc(r->n_out + 1, sizeof *r->out_h));
    r->s.saved = static_cast<nh_saved *>(calloc(d->net.config->blocks, sizeof *r->s.saved));
    const bool good = first && r->order && r->position && r->slot_h && r->out_h && r->s.saved;
    for (size_t e = 0; good && e < E; e++)
        first[(size_t)g->dst[e] + 1]++;
    for (size_t a = 0; good && a < N; a++)
        first[a + 1] += first[a];
    for (size_t e = 0; good && e < E; e++) {
        const size_t position = first[(size_t)g->dst[e]]++;
        r->order[position] = e;
        r->position[e] = position;
    }
    for (size_t i = 0, n = 0; good && i < E; i++) {
        r->slot_h[i] = -1;
        if (!r->s.all && !inside(&d->net, g->distance[r->order[i]])) continue;
        r->out_h[n] = (int)i;
        r->slot_h[i] = (int)n++;
    }
    free(first);
    return good;
}

/* Partial results for tiles of r->tile rows: how many, the first of each tile. */
static bool number_partials(nhk_pass *r)
{
    const nh_edges *g = r->graph;
    free(r->tile_partial);
    r->tile_partial =
        static_cast<size_t *>(calloc(count_tiles(r->n_edge, r->tile) + 1, sizeof *r->tile_partial));
    if (r->tile_partial == nullptr) return false;
    r->n_partial = 0;
    for (size_t i = 0; i < r->n_edge; i++) {
        if (i % r->tile == 0) r->tile_partial[i / r->tile] = r->n_partial;
        if (i % r->tile == 0 || g->dst[r->order[i]] != g->dst[r->order[i - 1]]) r->n_partial++;
    }
    r->tile_partial[count_tiles(r->n_edge, r->tile)] = r->n_partial;
    return true;
}

static void upload_list(nhk_net *d, const nhk_list *l, const int *position, int *n, double *x, real *c)
{
    const nhk_pass *r = &d->pass;
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
static void group_edges(const nhk_pass *r, bool by_src, bool only_onsite, int *begin, int *list)
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
    nhk_pass *r = &d->pass;
    const nh_edges *g = r->graph;
    const size_t E = r->n_edge, N = r->n_node, most = max_of(max_of(E, N), r->n_partial) + 2;
    int *n = static_cast<int *>(calloc(most, sizeof *n)),
        *begin = static_cast<int *>(calloc(N + 2, sizeof *begin));
    double *x = static_cast<double *>(calloc(3 * E + 1, sizeof *x));
    real *c = static_cast<real *>(calloc(E + 1, sizeof *c));
    if (n != nullptr && begin != nullptr && x != nullptr && c != nullptr) {
        upload_list(d, &r->all, nullptr, n, x, c);
        upload_list(d, &r->inside, r->out_h, n, x, c);
        for (size_t e = 0; e < E; e++)
            n[e] = (int)r->position[e];
        nhk_upload(d->gpu, r->position_d, n, E * sizeof *n);
        nhk_upload(d->gpu, r->slot, r->slot_h, E * sizeof *n);
        for (size_t i = 0; i < r->n_out; i++)
            n[i] = (int)r->order[r->out_h[i]];
        if (named(r)) nhk_upload(d->gpu, r->edge, n, r->n_out * sizeof *n);
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
        nhk_upload(d->gpu, r->partial_begin, n, (part + 1) * sizeof *n);
        nhk_upload(d->gpu, r->node_partial, begin, (N + 1) * sizeof *begin);
        group_edges(r, true, true, begin, n);
        nhk_upload(d->gpu, r->onsite_begin, begin, (N + 1) * sizeof *begin);
        nhk_upload(d->gpu, r->onsite, n, (size_t)begin[N] * sizeof *n);
        if (r->s.keep) {
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
static int pass_begin(nhk_net *d, nh_error *err)
{
    nhk_pass *r = &d->pass;
    nh_gpu *g = d->gpu;
    r->n_edge = r->graph->n_edge;
    r->n_node = r->graph->n_node;
    if (r->n_edge > INT32_MAX / 4 || r->n_node > INT32_MAX / 4)
        return nhk_error(err, "CUDA: a graph of %zu edges", r->n_edge);
    for (size_t e = 0; e < r->n_edge; e++)
        r->n_out += r->s.all || inside(&d->net, r->graph->distance[e]);
    bool good = sort_edges(d);
    r->tile = max_of(r->n_edge, SMALLEST_TILE);
    if (r->tile > d->tile) r->tile = d->tile;
    for (; good; r->tile = (r->tile + 1) / 2) {
        good = number_partials(r);
        if (!good) break;
        take_pass(d);
        if (!g->failed) break;
        const bool smaller = g->no_memory && r->tile > SMALLEST_TILE;
        nh_error cause;
        nhk_sync(g, &cause);
        nhk_pool_free(g, d->pool);
        nhk_pool_free(g, &g->pool);                           /* what runs that are not kept have left */
        d->tile = smaller ? (r->tile + 1) / 2 : (size_t)TILE; /* the next run may find more memory */
        if (!smaller)
            return nhk_error(err, "%s; the features of %zu edges do not fit", cause.text, r->n_edge);
    }
    good = good && upload_order(d);
    if (!good) return nhk_error(err, "out of memory for %zu edges", r->n_edge);
    return 0;
}

/* First slot whose position is not below `position`. */
static size_t first_slot(const nhk_pass *r, size_t position)
{
    size_t lo = 0, hi = r->n_out;
    while (lo < hi) {
        const size_t middle = (lo + hi) / 2;
        if ((size_t)r->out_h[middle] < position)
            lo = middle + 1;
        else
            hi = middle;
    }
    return lo;
}

/* ---- host at the ends */

/* Row `to` of the answers that have come down = row `from`, or zeros. */
static void move_answer(real *x, size_t width, size_t from, bool zero, size_t to)
{
    if (zero)
        memset(x + to * width, 0, width * sizeof *x);
    else if (from != to)
        memcpy(x + to * width, x + from * width, width * sizeof *x);
}

static void flush(nhk_net *d, nhk_stage *s)
{
    nhk_pass *r = &d->pass;
    if (!s->busy) return;
    s->busy = false;
    if (!nhk_good(d->gpu, cudaEventSynchronize(s->done), "the work on the device") || d->gpu->failed ||
        s->n == 0)
        return;
    const size_t n = s->n, dim = d->net.map_output.out.dim,
                 pairs = d->net.with_trace ? d->net.types->n_shell_pair : 0;
    s->n = 0;
    size_t *edge = static_cast<size_t *>(malloc(n * sizeof *edge)), kept = 0;
    if (edge == nullptr) {
        nhk_fail(d->gpu, "out of memory for outputs");
        return;
    }
    real *ham = static_cast<real *>(s->p), *trace = ham + n * dim;
    for (size_t i = 0; i < n; i++) { /* with a probe, edges outside the range are among them */
        const size_t e = r->order[r->out_h[s->first + i]];
        const bool outside = !inside(&d->net, r->graph->distance[e]);
        if (outside && !r->everywhere) continue;
        move_answer(ham, dim, i, outside, kept);
        move_answer(trace, pairs, i, outside, kept);
        edge[kept++] = e;
    }
    if (kept > 0 && r->sink != nullptr)
        r->sink(r->sink_context, kept, edge, ham, pairs > 0 ? trace : nullptr);
    free(edge);
}

/* The next of the two stages, with nothing in flight and at least `bytes`; NULL and a failure without memory. A stage that
 * waits for the sink is flushed. */
static nhk_stage *take_stage(nhk_net *d, size_t index, size_t bytes)
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

/* ---- lib/network/block.h on the device */

typedef nhk_pass run;

typedef struct tile {
    const nh_net *net;
    const nh_block *b;
    const nh_state *s;
    nh_work *w;
    const NH_NET(_probe) *probe;
    size_t n, first, slot, kept;
    const int *row, *src, *dst, *kept_row;
    real *gradient;

    nhk_pass *r;
    nh_gpu *gpu;
    const nhk_list *list; /* NULL: of nodes, or of edges in the graph's order */
    const int *pick;      /* positions of the chosen rows; NULL: all */
} tile;

static const int *pairs_table(const tile *a, const nh_layout *layout)
{
    return layout == &a->net->mid ? a->r->d->pairs_mid : a->r->d->pairs_last;
}

#define ON a->gpu,
#define WITH(method) a->gpu,
#define ROWS(list) list, 0
#define ALL nullptr, 0
#define PICKED(a) (a)->pick, (int)(a)->first
#define PAIRS(a, layout) layout, pairs_table(a, layout)
#define LIFT(a) &(a)->r->d->lift
#define TO_E3NN(a) &(a)->net->map_output.out, (a)->r->d->e3nn_out
#define COPY(to, from, n) nhk_copy(a->gpu, to, from, (n) * sizeof(real))
#define ZERO(to, n) nhk_zero(a->gpu, to, (n) * sizeof(real))
#define SPENT(a, part) (void)0

#include "network/block.h"

#include "network/block_back.h"

/* ---- loops */

static void over(nhk_pass *r, size_t n, const nhk_list *l, const int *row, tile_body *body)
{
    for (size_t first = 0; first < n && !r->d->gpu->failed; first += r->tile) {
        tile a = {};
        a.net = r->net;
        a.b = &r->net->block[r->s.block];
        a.s = &r->s;
        a.w = &r->w;
        a.probe = r->probe;
        a.n = n - first < r->tile ? n - first : r->tile;
        a.first = a.slot = first;
        a.row = row != nullptr ? row + first : nullptr;
        if (l != nullptr) {
            a.src = l->src + first;
            a.dst = l->dst + first;
        }
        a.gradient = r->packed;
        a.r = r;
        a.gpu = r->d->gpu;
        a.list = l;
        body(&a);
    }
}

static void over_nodes(nhk_pass *r, tile_body *body)
{
    over(r, r->n_node, nullptr, nullptr, body);
}

static void over_edges(nhk_pass *r, bool all, tile_body *body)
{
    const nhk_list *l = all ? &r->all : &r->inside;
    over(r, l->n, l, l->row, body);
}

static void over_input(nhk_pass *r, tile_body *body)
{
    over(r, r->n_edge, nullptr, r->position_d, body);
}

/* ---- ends */

/* The host reads the next tile while the device works. */
static void features(tile *a)
{
    nhk_pass *r = a->r;
    const nh_layout *in = &a->net->map_input.in;
    const size_t bytes = a->n * in->dim * sizeof(real);
    if (r->ends.source != nullptr) {
        if (!a->gpu->failed) r->ends.source(r->ends.context, a->first, a->n, a->w->e3nn);
    } else {
        nhk_stage *s = take_stage(r->d, a->first / r->tile, bytes);
        if (s == nullptr) return;
        r->source(r->source_context, a->first, a->n, static_cast<real *>(s->p));
        nhk_upload(a->gpu, a->w->e3nn, s->p, bytes);
        mark(r->d, s);
        s->n = 0;
    }
    R(nhk_from_e3nn)(a->gpu, in, r->d->e3nn_in, a->n, a->w->e3nn, a->w->tile);
}

static void answer(tile *a)
{
    nhk_pass *r = a->r;
    const nh_work *w = a->w;
    const size_t n = a->n, dim = a->net->map_output.out.dim,
                 pairs = a->net->with_trace ? a->net->types->n_shell_pair : 0;
    R(nhk_scale_rows)(a->gpu, n, dim, r->damping + a->first, w->e3nn);
    if (r->ends.sink != nullptr) {
        if (!a->gpu->failed)
            r->ends.sink(r->ends.context, n, r->edge + a->first, w->e3nn, pairs > 0 ? w->trace : nullptr);
        return;
    }
    nhk_stage *s = take_stage(r->d, a->first / r->tile, n * (dim + pairs) * sizeof(real));
    if (s == nullptr) return;
    nhk_download(a->gpu, s->p, w->e3nn, n * dim * sizeof(real));
    nhk_download(a->gpu, static_cast<real *>(s->p) + n * dim, w->trace, n * pairs * sizeof(real));
    mark(r->d, s);
    s->first = a->first;
    s->n = n;
}

static void host_seeds(const tile *a)
{
    nhk_pass *r = a->r;
    const size_t n = a->n, dim = a->net->map_output.out.dim,
                 pairs = a->net->with_trace ? a->net->types->n_shell_pair : 0;
    nhk_stage *s = take_stage(r->d, a->first / r->tile, n * (dim + pairs) * sizeof(real));
    size_t *edge = static_cast<size_t *>(malloc((n + 1) * sizeof *edge));
    if (edge == nullptr) nhk_fail(a->gpu, "out of memory for outputs");
    if (s != nullptr && edge != nullptr) {
        for (size_t i = 0; i < n; i++)
            edge[i] = r->order[r->out_h[a->first + i]];
        real *ham = static_cast<real *>(s->p);
        r->seed(r->seed_context, n, edge, ham, pairs > 0 ? ham + n * dim : nullptr);
        nhk_upload(a->gpu, a->w->e3nn, ham, n * dim * sizeof(real));
        nhk_upload(a->gpu, a->w->g_trace, ham + n * dim, n * pairs * sizeof(real));
        s->n = 0;
        mark(r->d, s);
    }
    free(edge);
}

static void seeds(tile *a)
{
    nhk_pass *r = a->r;
    real *g_trace = a->net->with_trace ? a->w->g_trace : nullptr;
    if (r->ends.seed == nullptr)
        host_seeds(a);
    else if (!a->gpu->failed)
        r->ends.seed(r->ends.context, a->n, r->edge + a->first, a->w->e3nn, g_trace);
    R(nhk_scale_rows)(a->gpu, a->n, a->net->map_output.out.dim, r->damping + a->first, a->w->e3nn);
}

/* What row t of a tile is numbered by on the host: an edge, or a node. */
static size_t number_of(const tile *a, size_t t)
{
    const size_t i = a->first + t;
    if (a->list == nullptr) return i;
    return a->r->order[a->list->row != nullptr ? (size_t)a->r->out_h[i] : i];
}

/* One row of a tile x[n] on the host, in e3nn order. */
static void row_to_e3nn(const nh_layout *layout, size_t n, size_t t, const real *x, real *out)
{
    for (size_t i = 0; i < layout->n_entry; i++) {
        const nh_layout_entry *e = &layout->entry[i];
        const nh_group *g = &layout->group[e->group];
        const real *from = x + n * g->offset + t * g->dim + e->first;
        for (size_t u = 0; u < e->mul; u++)
            for (size_t m = 0; m < e->rows; m++)
                out[e->offset + u * e->rows + m] = from[m * g->mul + u];
    }
}

static void show(const tile *a, const nh_layout *layout, size_t width, const real *x, real *out)
{
    if (out == nullptr || a->gpu->failed) return;
    real *copy = static_cast<real *>(malloc((a->n * width + 1) * sizeof *copy));
    if (copy == nullptr) {
        nhk_fail(a->gpu, "out of memory for intermediate results");
        return;
    }
    nhk_download(a->gpu, copy, x, a->n * width * sizeof *copy);
    if (nhk_good(a->gpu, cudaStreamSynchronize(a->gpu->stream), "intermediate results"))
        for (size_t t = 0; t < a->n; t++) {
            real *to = out + number_of(a, t) * width;
            if (layout != nullptr)
                row_to_e3nn(layout, a->n, t, copy, to);
            else
                memcpy(to, copy + t * width, width * sizeof *to);
        }
    free(copy);
}

static void given_factor(const tile *a)
{
    real *factor = static_cast<real *>(malloc((a->n + 1) * sizeof *factor));
    if (factor == nullptr) {
        nhk_fail(a->gpu, "out of memory for factors");
        return;
    }
    for (size_t t = 0; t < a->n; t++)
        factor[t] = a->probe->factor[a->s->block][number_of(a, t)];
    nhk_upload(a->gpu, a->w->factor, factor, a->n * sizeof *factor);
    nhk_good(a->gpu, cudaStreamSynchronize(a->gpu->stream), "factors");
    free(factor);
}

/* ---- nodes */

static void onsite_sum(tile *a)
{
    const nh_layout *mid = &a->net->mid;
    const nhk_pass *r = a->r;
    const real more = (real)a->net->config->onsite_copies - 1;
    R(nhk_rows_sum)(a->gpu, mid, a->n, r->onsite_begin + a->first, r->onsite, nullptr, a->s->first, a->w->x);
    if (more != 0) R(nhk_axpy)(a->gpu, a->n * mid->dim, a->w->x, more, a->w->x, a->w->x);
    R(nhk_rows_store)(a->gpu, mid, a->n, nullptr, 0, a->w->x, a->s->node + a->first * mid->dim);
    if (a->probe != nullptr) show(a, mid, mid->dim, a->w->x, a->probe->node_init);
}

static void begin_nodes(nhk_pass *r)
{
    over_nodes(r, onsite_sum);
}

/* `onsite` lists the on-site edges by node, of which each edge is in one list, so that every edge takes its node's gradient. */
static __global__ void onsite_kernel(unsigned n_node, unsigned dim, real copies, const int *begin,
                                     const int *list, const real *node, real *edge)
{
    NHK_FOR(i, (size_t)n_node * dim)
    {
        const size_t a = i / dim, k = i % dim;
        for (int j = begin[a]; j < begin[a + 1]; j++)
            edge[(size_t)list[j] * dim + k] += copies * node[i];
    }
}

static void begin_nodes_back(nhk_pass *r)
{
    nh_gpu *g = r->d->gpu;
    const size_t dim = r->net->mid.dim;
    if (!nhk_ready(g, r->n_node * dim)) return;
    NHK_RUN(g, onsite_kernel, nhk_grid(g, r->n_node * dim, NHK_BLOCK), NHK_BLOCK, 0, (unsigned)r->n_node,
            (unsigned)dim, (real)r->net->config->onsite_copies, r->onsite_begin, r->onsite, r->s.back.node,
            r->s.back.edge);
}

static void sum_messages(const tile *a, bool last)
{
    const nhk_pass *r = a->r;
    const nh_layout *mid = &a->net->mid;
    const int *slot = last ? r->slot : nullptr;
    R(nhk_rows_sum)(a->gpu, mid, a->n, r->outgoing + a->first, r->from, slot, a->s->back.message,
                    a->w->g_message);
    R(nhk_rows_sum)(a->gpu, mid, a->n, r->incoming + a->first, nullptr, slot, a->s->back.message, a->w->g_y);
}

/* ---- edges: every edge has radial weights of its own, products are made group by group, activations are made again */

static void begin_radial(nhk_pass *, const nh_chain *, bool) {}

static void geometry(tile *a, const nh_chain *radial)
{
    const nh_config *c = a->net->config;
    const nh_work *w = a->w;
    nh_gpu *g = a->gpu;
    const double *vector = a->list->vector + 3 * a->first, *distance = a->list->distance + a->first;
    R(nhk_gaussians_forward)(g, a->n, c->radial_basis, c->radial_max, distance, c->radial_basis,
                             w->gaussians);
    R(nhk_mlp_forward)(g, radial, a->n, w->gaussians, w->radial_hidden, w->weight, false);
    R(nhk_harmonics_forward)(g, c->sh_lmax, a->n, vector, w->harmonics);
    R(nhk_coupling_forward)(g, &a->r->d->product, a->n, w->harmonics, w->coupling);
}

static void radial_back(const tile *a, const nh_chain *radial)
{
    chain_back(a, radial, a->w->g_weight, a->w->gaussians, a->w->radial_hidden, nullptr);
}

static void end_radial_back(nhk_pass *) {}

static void place_activations(tile *) {}

static void attention_again(tile *a)
{
    attention(a);
}

static void into_frame(const tile *, const nh_layout *, real *) {}

static void out_of_frame(const tile *, const nh_layout *, real *) {}

static int parts(const tile *, size_t)
{
    return 1;
}

static void product_part(const tile *a, size_t g, int, const real *x, const real *weight, size_t stride)
{
    R(nhk_product_forward)(a->gpu, &a->r->d->product, g, a->n, x, a->w->coupling, weight, stride,
                           a->w->product);
}

static void product_part_back(const tile *a, size_t g, int, const real *x, const real *weight, size_t stride,
                              real *gx, real *gw)
{
    R(nhk_product_backward)(a->gpu, &a->r->d->product, g, a->n, a->w->g_product, x, a->w->coupling, weight,
                            stride, gx, gw);
}

static void map_part(const tile *a, const nh_linear *l, size_t o, int, const real *x, real *y)
{
    R(nhk_linear_group_forward)(a->gpu, l->map, o, a->n, x, l->weight, l->bias, false, y);
}

static void map_part_back(const tile *a, const nh_linear *l, size_t o, int, const real *gy, const real *x,
                          real *gx, bool add)
{
    R(nhk_linear_group_backward)(a->gpu, l->map, o, a->n, gy, x, l->weight, gx, add, into(a, l->weight),
                                 into(a, l->bias));
}

static void value(tile *a)
{
    value_by_groups(a);
}

static void value_back(tile *a)
{
    value_back_by_groups(a);
}

static void choose(tile *a, bool every)
{
    const nhk_pass *r = a->r;
    const bool ordered = a->list->row != nullptr; /* every row has a slot */
    a->slot = ordered ? a->first : first_slot(r, a->first);
    a->kept = ordered || every ? a->n : first_slot(r, a->first + a->n) - a->slot;
    a->pick = a->kept < a->n ? r->inside.row + a->slot : nullptr;
    a->kept_row = a->kept < a->n ? a->pick : a->row;
}

static void edge_sums(tile *a)
{
    const nhk_pass *r = a->r;
    const nh_layout *layout = &a->net->heads;
    const nh_state *s = a->s;
    const nh_work *w = a->w;
    const size_t heads = a->net->config->heads, *first = &r->tile_partial[a->first / r->tile],
                 part = first[0];
    R(nhk_softmax_partial_forward)(a->gpu, layout, heads, a->n, first[1] - part, r->partial_begin + part,
                                   (int)a->first, w->alpha, a->list->copies + a->first, w->heads,
                                   s->partial_max + part * heads, s->partial_sum + part * heads,
                                   s->partial_value + part * layout->dim);
}

static void edge_sums_back(const tile *a)
{
    const nh_adjoint *back = &a->s->back;
    const nh_work *w = a->w;
    R(nhk_softmax_partial_backward)(a->gpu, &a->net->heads, a->net->config->heads, a->n, a->dst, back->merged,
                                    back->max, back->total, back->dot, w->alpha, a->list->copies + a->first,
                                    w->heads, w->g_alpha, w->g_heads, true);
}

static void node_sums(tile *a)
{
    const nh_layout *heads = &a->net->heads;
    const nh_state *s = a->s;
    real *merged = s->merged + a->first * heads->dim;
    R(nhk_softmax_merge_forward)(a->gpu, heads, a->net->config->heads, a->n, a->r->node_partial + a->first,
                                 s->partial_max, s->partial_sum, s->partial_value, merged);
    R(nhk_rows_load)(a->gpu, heads, a->n, nullptr, 0, merged, a->w->heads);
}

static void node_sums_back(const tile *a)
{
    const nh_layout *heads = &a->net->heads;
    const nh_state *s = a->s;
    const nh_adjoint *back = &s->back;
    const size_t n_head = a->net->config->heads, at_heads = a->first * heads->dim,
                 at_head = a->first * n_head;
    R(nhk_softmax_merge_backward)(a->gpu, heads, n_head, a->n, a->r->node_partial + a->first,
                                  back->merged + at_heads, s->partial_max, s->partial_sum,
                                  s->merged + at_heads, back->max + at_head, back->total + at_head,
                                  back->dot + at_head);
}

/* ---- passes */

/* `everywhere`: zeros for the edges that no block worked on. */
static void run_outside(nhk_net *d)
{
    nhk_pass *r = &d->pass;
    enum { ROWS = 64 };
    const size_t dim = d->net.map_output.out.dim, pairs = d->net.with_trace ? d->net.types->n_shell_pair : 0;
    real *zero = static_cast<real *>(calloc(ROWS * (dim + pairs), sizeof *zero));
    size_t edge[ROWS];
    if (zero == nullptr) {
        nhk_fail(d->gpu, "out of memory for outputs");
        return;
    }
    for (size_t e = 0, n = 0; e < r->n_edge; e++) {
        if (r->slot_h[r->position[e]] < 0) edge[n++] = e;
        if (n == 0 || (n < ROWS && e + 1 < r->n_edge)) continue;
        memset(zero, 0, ROWS * (dim + pairs) * sizeof *zero); /* the sink may have written there */
        r->sink(r->sink_context, n, edge, zero, pairs > 0 ? zero + ROWS * dim : nullptr);
        n = 0;
    }
    free(zero);
}

static int network_forward(nhk_net *d, const nh_edges *graph, NH_NET(_source) *source, void *source_context,
                           NH_NET(_sink) *sink, void *sink_context, bool everywhere,
                           const NH_NET(_probe) *probe, size_t *kept, nh_error *err)
{
    nhk_pass *r = &d->pass;
    const nh_net *net = &d->net;
    nh_gpu *g = d->gpu;
    forget_order(r);
    if (any_probe(probe) && (d->ends.source != nullptr || d->ends.sink != nullptr))
        return nhk_error(err, "network: intermediate results of a run whose ends are on the device");
    r->d = d;
    r->net = net;
    r->graph = graph;
    r->source = source;
    r->source_context = source_context;
    r->sink = sink;
    r->sink_context = sink_context;
    r->ends = d->ends;
    r->everywhere = everywhere;
    r->probe = probe;
    r->s.all = any_probe(probe);
    r->s.keep = kept != nullptr;
    d->pool = r->s.keep ? &d->kept_pool : &g->pool;
    d->kept += r->s.keep; /* what was kept before is gone */
    if (r->s.keep) *kept = d->kept;
    nhk_good(g, cudaSetDevice(g->index), "cudaSetDevice");
    for (nhk_stage &s : d->stage) {
        s.busy = false;
        s.n = 0;
    }
    if (pass_begin(d, err)) {
        forget_order(r);
        return -1;
    }
    if (r->n_out > 0) {
        nhk_zero(g, r->s.trace, r->n_out * net->trace_width * sizeof(real));
        enter_block(r, 0);
        forward(r);
        const size_t tiles = count_tiles(r->n_out, r->tile);
        for (size_t i = tiles; i < tiles + 2; i++) /* the older one first */
            flush(d, &d->stage[i % 2]);
    }
    if (everywhere && r->ends.sink == nullptr && !g->failed) run_outside(d);
    r->filled = r->s.keep && !g->failed;
    return nhk_sync(g, err);
}

static int network_backward(nhk_net *d, size_t kept, NH_NET(_seed) *seed, void *seed_context, nh_error *err)
{
    nhk_pass *r = &d->pass;
    nh_gpu *g = d->gpu;
    if (!r->filled || kept != d->kept)
        return nhk_error(err, "network: no run on the device to go back through");
    nhk_good(g, cudaSetDevice(g->index), "cudaSetDevice");
    r->seed = seed;
    r->seed_context = seed_context;
    if (R(nhk_training_begin)(d) && r->n_out > 0) {
        const size_t mid = d->net.mid.dim * sizeof(real);
        nhk_zero(g, r->packed, d->net.n_packed * sizeof(real));
        nhk_zero(g, r->s.back.edge, r->n_edge * mid);
        nhk_zero(g, r->s.back.node, r->n_node * mid);
        backward(r);
        R(nhk_unpack)(d);
    }
    return nhk_sync(g, err);
}

const NHK_NET(_calls) NHK_NET(_table) = {network_make,    network_drop,    network_update,
                                         network_connect, network_forward, network_backward};
