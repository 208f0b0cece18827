/* Packing of one sub-model's weights. */
#include "network/internal.h"

#include "base/memory.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Lists the bindings of all parameters that the sub-model uses; after the first failure every call does
 * nothing. Places in the packed weights are known when all have been listed: until then, slot[i] is to point
 * to number at[i] of them. */
typedef struct packer {
    nh_net *net;
    const nh_weights *weights;
    char prefix[64];
    real ***slot;
    size_t *at, n_slot, room;
    nh_error *err;
    bool failed;
} packer;

static bool grow(packer *k, void *list, size_t *room, size_t count, size_t size)
{
    if (k->failed || count < *room) return !k->failed;
    const size_t wanted = *room > 0 ? 2 * *room : 256;
    void *old, *grown;
    memcpy(&old, list, sizeof old);
    grown = realloc(old, wanted * size);
    if (grown == NULL) {
        k->failed = true;
        nh_fail_memory(k->err, "the weights of a sub-model");
        return false;
    }
    memcpy(list, &grown, sizeof grown);
    *room = wanted;
    return true;
}

static void *own(packer *k, size_t count, size_t size)
{
    nh_net *net = k->net;
    if (!grow(k, &net->owned, &net->room, net->n_owned, sizeof *net->owned)) return NULL;
    void *p = nh_calloc_aligned(count, size);
    if (p == NULL) {
        k->failed = true;
        nh_fail_memory(k->err, "the weights of a sub-model");
        return NULL;
    }
    net->owned[net->n_owned++] = p;
    return p;
}

/* Room for `count` packed weights, to be found at *slot; returns their place. */
static size_t place(packer *k, size_t count, real **slot)
{
    size_t room = k->room;
    if (!grow(k, &k->slot, &room, k->n_slot, sizeof *k->slot)) return 0;
    if (!grow(k, &k->at, &k->room, k->n_slot, sizeof *k->at)) return 0;
    const size_t at = k->net->n_packed;
    k->slot[k->n_slot] = slot;
    k->at[k->n_slot++] = at;
    k->net->n_packed += (count + 15) / 16 * 16; /* each begins a cache line */
    return at;
}

static void bind(packer *k, nh_binding binding)
{
    nh_net *net = k->net;
    if (grow(k, &net->binding, &net->room_binding, net->n_binding, sizeof *net->binding))
        net->binding[net->n_binding++] = binding;
}

/* Index of the parameter prefix+name, which must be among the weights; count: its numbers, 0: any. */
__attribute__((format(printf, 3, 4))) static size_t find(packer *k, size_t count, const char *format, ...)
{
    char tail[96], name[192];
    va_list args;
    va_start(args, format);
    vsnprintf(tail, sizeof tail, format, args);
    va_end(args);
    if (k->failed) return 0;
    snprintf(name, sizeof name, "%s%s", k->prefix, tail);
    const size_t i = nh_params_find(k->net->params, name);
    const bool present =
        i < k->weights->count && ((k->weights->as_float != NULL && k->weights->as_float[i]) ||
                                  (k->weights->as_double != NULL && k->weights->as_double[i]));
    if (!present) {
        k->failed = true;
        nh_fail(k->err, "sub-model %zu: parameter %s is missing", k->net->range, name);
        return 0;
    }
    if (count > 0 && k->net->params->param[i].count != count) {
        k->failed = true;
        nh_fail(k->err, "sub-model %zu: parameter %s: %zu numbers found, %zu expected", k->net->range, name,
                k->net->params->param[i].count, count);
        return 0;
    }
    return i;
}

/* `count` numbers as they are. */
static void bind_all(packer *k, size_t param, size_t count, real **slot)
{
    bind(k,
         (nh_binding){
             .kind = NH_BIND_ROWS, .param = param, .rows = 1, .count = count, .at = place(k, count, slot)});
}

static void bind_weight(packer *k, const nh_linear_map *map, size_t param, nh_linear *l)
{
    l->map = map;
    bind(k,
         (nh_binding){
             .kind = NH_BIND_LINEAR, .param = param, .map = map, .at = place(k, map->n_weight, &l->weight)});
}

static void bind_linear(packer *k, const nh_linear_map *map, const char *name, bool bias, nh_linear *l)
{
    bind_weight(k, map, find(k, 0, "%s.tp.weight", name), l);
    if (!bias || map->n_bias == 0) return;
    const size_t at = place(k, map->n_bias, &l->bias);
    for (size_t u = 0, end; u < map->n_bias; u = end) {
        for (end = u + 1; end < map->n_bias && map->bias_param[end] == map->bias_param[u] &&
                          map->bias_index[end] == map->bias_index[end - 1] + 1;)
            end++;
        bind(k, (nh_binding){.kind = NH_BIND_ROWS,
                             .param = find(k, 0, "%s.bias.%zu", name, map->bias_param[u]),
                             .from = map->bias_index[u],
                             .rows = 1,
                             .count = end - u,
                             .at = at + u});
    }
}

/* A map after a product in the frame of the edge; `shared`: one whose weights all edges share. Nothing with the method reference. */
static void place_aligned(packer *k, bool shared, nh_linear *l)
{
    if (k->failed || !k->net->aligned) return;
    place(k, shared ? nh_folded_size(&k->net->frame, l->map) : l->map->n_weight, &l->aligned);
}

/* affine_weight and affine_bias, the gains in the order of the groups. */
static void bind_norm(packer *k, const char *name, real *norm[2])
{
    const nh_layout *mid = &k->net->mid;
    const size_t gain = find(k, mid->channels, "%s.affine_weight", name),
                 at = place(k, mid->channels, &norm[0]);
    for (size_t i = 0, channel = 0; i < mid->n_entry; channel += mid->entry[i++].mul)
        bind(k, (nh_binding){.kind = NH_BIND_ROWS,
                             .param = gain,
                             .from = channel,
                             .rows = 1,
                             .count = mid->entry[i].mul,
                             .at = at + mid->group[mid->entry[i].group].channel + mid->entry[i].first});
    bind_all(k, find(k, mid->group[0].mul, "%s.affine_bias", name), mid->group[0].mul, &norm[1]);
}

/* An empty chain of `layers` maps with the given widths. */
static nh_chain new_chain(packer *k, size_t layers, const size_t *width, bool norm, double eps)
{
    nh_chain m = {.layers = layers, .eps = (real)eps, .method = k->net->method};
    size_t *w = own(k, layers + 1, sizeof *w);
    m.weight = own(k, layers, sizeof *m.weight);
    m.bias = own(k, layers, sizeof *m.bias);
    if (k->net->method == NH_METHOD_FAST) m.panels = own(k, 2 * layers, sizeof *m.panels);
    for (size_t i = 0; m.panels != NULL && i < layers; i++) {
        m.panels[i] = own(k, R(nh_panels_size)(width[i + 1], width[i]), sizeof(real));
        m.panels[layers + i] = own(k, R(nh_panels_size)(width[i], width[i + 1]), sizeof(real));
    }
    if (norm) {
        m.gain = own(k, layers, sizeof *m.gain);
        m.shift = own(k, layers, sizeof *m.shift);
    }
    if (!k->failed) memcpy(w, width, (layers + 1) * sizeof *w);
    m.width = w;
    return m;
}

/* Dense layer i and its LN: name.(step*i), name.(step*i+1). */
static void bind_layer(packer *k, nh_chain *m, size_t i, const char *name, size_t number, bool weight)
{
    if (k->failed) return;
    const size_t in = m->width[i], out = m->width[i + 1];
    if (weight) bind_all(k, find(k, in * out, "%s.%zu.weight", name, number), in * out, &m->weight[i]);
    bind_all(k, find(k, out, "%s.%zu.bias", name, number), out, &m->bias[i]);
    if (m->gain == NULL || i + 1 == m->layers) return;
    bind_all(k, find(k, out, "%s.%zu.weight", name, number + 1), out, &m->gain[i]);
    bind_all(k, find(k, out, "%s.%zu.bias", name, number + 1), out, &m->shift[i]);
}

/* RAD, section 2.6. */
static void bind_radial(packer *k, const char *name, nh_chain *m)
{
    const nh_config *c = k->net->config;
    const size_t n_weight = k->net->product.n_weight;
    const size_t radial[4] = {c->radial_basis, c->radial_hidden[0], c->radial_hidden[1], n_weight};
    char net[64];
    snprintf(net, sizeof net, "%s.net", name);
    *m = new_chain(k, 3, radial, true, 1e-5);
    bind_layer(k, m, 0, net, 0, true);
    bind_layer(k, m, 1, net, 3, true);
    if (k->failed) return;
    bind_all(k, find(k, radial[2] * n_weight, "%s.6.weight", net), radial[2] * n_weight, &m->weight[2]);
    bind_all(k, find(k, n_weight, "%s.offset", name), n_weight, &m->bias[2]);
}

/* Initial edge features, OPTIONS.md 2. */
static void bind_edge_init(packer *k)
{
    nh_net *net = k->net;
    snprintf(k->prefix, sizeof k->prefix, "edge_init.");
    bind_linear(k, &net->map_pre[0], "pre_lin", true, &net->init_src);
    bind_linear(k, &net->map_pre[1], "pre_lin", false, &net->init_edge);
    bind_linear(k, &net->map_pre[2], "pre_lin", false, &net->init_dst);
    bind_radial(k, "dtp_rad", &net->init_radial);
    bind_linear(k, &net->map_init, "lin", true, &net->init_lin);
    place_aligned(k, false, &net->init_lin);
    k->prefix[0] = '\0';
}

static void bind_attention(packer *k, nh_block *b, bool last)
{
    nh_net *net = k->net;
    const nh_config *c = net->config;
    bind_linear(k, &net->map_mid, "ga.merge_src", true, &b->merge_src);
    bind_linear(k, &net->map_mid, "ga.merge_dst", false, &b->merge_dst);
    bind_linear(k, &net->map_pre[0], "ga.pre_lin", true, &b->pre_src);
    bind_linear(k, &net->map_pre[1], "ga.pre_lin", false, &b->pre_dst);
    bind_linear(k, &net->map_pre[2], "ga.pre_lin", false, &b->pre_edge);

    const size_t n_weight = net->product.n_weight;
    bind_radial(k, "ga.sep_act.dtp_rad", &b->radial);
    if (k->failed) return;
    bind_linear(k, &net->map_sep_lin, "ga.sep_act.lin", true, &b->sep_lin);
    bind_linear(k, &net->map_sep_alpha, "ga.sep_alpha", true, &b->sep_alpha);
    place_aligned(k, false, &b->sep_lin);
    place_aligned(k, false, &b->sep_alpha);
    bind_all(k, find(k, n_weight, "ga.sep_value.dtp.tp.weight"), n_weight, &b->value_weight);
    bind_linear(k, &net->map_value, "ga.sep_value.lin", true, &b->value_lin);
    place_aligned(k, true, &b->value_lin);
    const size_t alpha[4] = {c->radial_basis + c->alpha_scalars, c->alpha_hidden[0], c->alpha_hidden[1],
                             c->heads};
    b->alpha = new_chain(k, 3, alpha, true, 1e-6);
    for (size_t i = 0; i < 3; i++)
        bind_layer(k, &b->alpha, i, "ga.lin_alpha", 3 * i, true);
    if (!last) bind_linear(k, &net->map_proj, "ga.proj", true, &b->proj);
    bind_linear(k, last ? &net->map_post : &net->map_proj, "ga.edge_proj", true, &b->edge_proj);
}

static void bind_tracegrad(packer *k, nh_block *b, bool last)
{
    const nh_net *net = k->net;
    const nh_config *c = net->config;
    const nh_layout *layout = last ? &net->last : &net->mid;
    const size_t hidden = last ? c->tg_hidden_last : c->tg_hidden, z = c->tg_z;
    const size_t width[5] = {layout->pairs, z, z, z, z};
    b->invariants = new_chain(k, 4, width, true, 1e-6);
    for (size_t i = 0; i < 4; i++)
        bind_layer(k, &b->invariants, i, "nonlinear_layers", 3 * i, i > 0);
    b->form_hidden = hidden;
    b->form = own(k, layout->pairs * hidden, sizeof(real));
    b->layer = own(k, z * hidden, sizeof(real));
    b->seed = own(k, z, sizeof(real));
    bind(k, (nh_binding){
                .kind = NH_BIND_FORM, .param = find(k, 0, "fctp.weight"), .block = b, .layout = layout});
    bind(k, (nh_binding){.kind = NH_BIND_LAYER,
                         .param = find(k, z * hidden, "nonlinear_layers.0.weight"),
                         .count = z * hidden,
                         .block = b});
    if (!k->failed) place(k, z * layout->pairs, &b->invariants.weight[0]);
    b->has_invariants = true;
}

static void bind_trace_head(packer *k)
{
    nh_net *net = k->net;
    const nh_config *c = net->config;
    const size_t z = c->tg_z, layers = c->n_trace_head, width = c->trace_head[0], all = c->blocks * z;
    k->prefix[0] = '\0';
    net->trace_width = width;
    const size_t first = find(k, width * all, "nonlinear_layers_for_norm_reg.0.weight");
    for (size_t b = 0; b < c->blocks && !k->failed; b++)
        bind(k, (nh_binding){.kind = NH_BIND_ROWS,
                             .param = first,
                             .from = b * z,
                             .rows = width,
                             .count = z,
                             .stride = all,
                             .at = place(k, width * z, &net->block[b].trace_first)});
    bind_all(k, find(k, width, "nonlinear_layers_for_norm_reg.0.bias"), width, &net->trace_bias);
    if (!k->failed && layers > NH_MOST_LAYERS) {
        k->failed = true;
        nh_fail(k->err, "sub-model %zu: a trace head of %zu layers, at most %d", net->range, layers,
                (int)NH_MOST_LAYERS);
    }
    size_t *widths = own(k, layers + 1, sizeof *widths);
    if (k->failed) return;
    memcpy(widths, c->trace_head, layers * sizeof *widths);
    widths[layers] = net->types->n_shell_pair;
    net->trace = new_chain(k, layers, widths, false, 0);
    for (size_t i = 0; i < layers; i++)
        bind_layer(k, &net->trace, i, "nonlinear_layers_for_norm_reg", 2 * (i + 1), true);
}

static void bind_network(packer *k)
{
    nh_net *net = k->net;
    const nh_config *c = net->config;
    bind_weight(k, &net->map_input,
                find(k, 0, "%s", c->input == NH_INPUT_H0 ? "input_rs.tp.weight" : "ele_embed.weight"),
                &net->input);
    if (c->edge_init == NH_EDGE_INIT_PAPER) bind_edge_init(k);
    bind_linear(k, &net->map_output, "edge_lin", true, &net->output);
    if (c->lift) {
        bind_linear(k, &net->map_lift, "edge_lin", false, &net->lift_out);
        bind_all(k, find(k, net->lift.n_weight, "lift.tp.weight"), net->lift.n_weight, &net->lift_weight);
    }
    net->block = own(k, c->blocks, sizeof *net->block);
    for (size_t i = 0; i < c->blocks && !k->failed; i++) {
        const bool last = i + 1 == c->blocks;
        nh_block *b = &net->block[i];
        snprintf(k->prefix, sizeof k->prefix, "blocks.%zu.", i);
        bind_norm(k, "norm_1", b->norm_1);
        bind_norm(k, "norm_edge", b->norm_edge);
        bind_attention(k, b, last);
        if (!last) {
            bind_norm(k, "norm_2", b->norm_2);
            bind_linear(k, &net->map_ffn, "ffn.fctp_1", true, &b->ffn_1);
            bind_linear(k, &net->map_mid, "ffn.fctp_2", true, &b->ffn_2);
        }
        snprintf(k->prefix, sizeof k->prefix, "edge_feature_nonlin_block.%zu.", i);
        if (net->with_trace || ((!last || c->lift) && c->tg_scale > 0)) bind_tracegrad(k, b, last);
    }
    if (net->with_trace) bind_trace_head(k);
    net->packed = own(k, net->n_packed, sizeof *net->packed);
    for (size_t i = 0; net->packed != NULL && i < k->n_slot; i++)
        *k->slot[i] = net->packed + k->at[i];
}

/* Numbers of parameter i as reals: in place, or converted to `room`. */
static const real *numbers(const nh_net *net, const nh_weights *w, size_t i, real *room)
{
#ifdef NH_REAL_DOUBLE
    double **same = w->as_double;
    float **other = w->as_float;
#else
    float **same = w->as_float;
    double **other = w->as_double;
#endif
    if (same != NULL && same[i] != NULL) return same[i];
    for (size_t n = 0; n < net->params->param[i].count; n++)
        room[n] = (real)other[i][n];
    return room;
}

typedef struct packing {
    nh_net *net;
    const nh_weights *weights;
    real *room; /* NULL: not needed */
} packing;

static void pack_one(void *context, size_t index, int thread)
{
    (void)thread;
    const packing *p = context;
    const nh_binding *b = &p->net->binding[index];
    const real *from = numbers(p->net, p->weights, b->param, p->room);
    real *to = p->net->packed + b->at;
    switch (b->kind) {
    case NH_BIND_ROWS:
        for (size_t i = 0; i < b->rows; i++)
            memcpy(to + i * b->count, from + b->from + i * b->stride, b->count * sizeof *to);
        break;
    case NH_BIND_LINEAR:
        R(nh_linear_pack)(b->map, from, to);
        break;
    case NH_BIND_FORM:
        R(nh_pairs_pack)(b->layout, b->block->form_hidden, from, b->block->form);
        break;
    case NH_BIND_LAYER:
        memcpy(b->block->layer, from, b->count * sizeof *to);
        break;
    }
}

/* First layer after the bilinear form, as one matrix: a slab of its rows. */
enum { SLABS = 4 };
static void join_layers(void *context, size_t index, int thread)
{
    (void)thread;
    const packing *p = context;
    nh_block *b = &p->net->block[index / SLABS];
    if (!b->has_invariants) return;
    const size_t z = b->invariants.width[1], pairs = b->invariants.width[0], part = index % SLABS,
                 first = z * part / SLABS, n = z * (part + 1) / SLABS - first;
    R(nh_dense_forward)(p->net->method, n, b->form_hidden, pairs, b->layer + first * b->form_hidden, b->form,
                        NULL, false, b->invariants.weight[0] + first * pairs);
    if (part > 0) return;
    memset(b->seed, 0, z * sizeof *b->seed);
    for (size_t i = 0; i < z; i++)
        for (size_t j = 0; j < z; j++)
            b->seed[j] += b->invariants.weight[3][i * z + j];
}

/* A chain of block i: three, and those of the network as the last block's fourth and fifth. */
enum { CHAINS = 5 };
static void fill_panels(void *context, size_t index, int thread)
{
    (void)thread;
    nh_net *net = ((const packing *)context)->net;
    const nh_block *b = &net->block[index / CHAINS];
    const bool last = index / CHAINS + 1 == net->config->blocks;
    const nh_chain *const chain[CHAINS] = {&b->invariants, &b->radial, &b->alpha, last ? &net->trace : NULL,
                                           last ? &net->init_radial : NULL};
    const nh_chain *m = chain[index % CHAINS];
    for (size_t i = 0; m != NULL && i < m->layers; i++)
        if (m->weight[i] != NULL) R(nh_mlp_panels)(m, i);
}

/* The maps after products, as the frame of the edge has them: of a block, the network's with the first. */
static void align(void *context, size_t index, int thread)
{
    (void)thread;
    const nh_net *net = ((const packing *)context)->net;
    const nh_block *b = &net->block[index];
    const nh_linear *const list[] = {&b->sep_lin, &b->sep_alpha, index == 0 ? &net->init_lin : NULL};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (list[i] != NULL && list[i]->aligned != NULL)
            R(nh_aligned_pack)(&net->frame, list[i]->map, list[i]->weight, list[i]->aligned);
    R(nh_folded_pack)(&net->frame, b->value_lin.map, b->value_weight, b->value_lin.weight,
                      b->value_lin.aligned);
}

static int pack(nh_net *net, const nh_weights *w, nh_threads *threads, nh_error *err)
{
    packing p = {.net = net, .weights = w};
    size_t largest = 0;
    for (size_t k = 0; k < net->n_binding; k++) {
        const size_t i = net->binding[k].param;
        const bool single = w->as_float != NULL && i < w->count && w->as_float[i] != NULL,
                   wide = w->as_double != NULL && i < w->count && w->as_double[i] != NULL;
        if (!single && !wide)
            return nh_fail(err, "sub-model %zu: parameter %s is missing", net->range,
                           net->params->param[i].name);
        if (!(sizeof(real) == sizeof(float) ? single : wide) && net->params->param[i].count > largest)
            largest = net->params->param[i].count;
    }
    if (largest > 0) {
        p.room = malloc(largest * sizeof *p.room);
        if (p.room == NULL) return nh_fail_memory(err, "the weights of a sub-model");
    }
    nh_parallel_for(p.room == NULL ? threads : NULL /* the room is one */, net->n_binding, pack_one, &p);
    nh_parallel_for(threads, net->config->blocks * SLABS, join_layers, &p);
    if (net->method == NH_METHOD_FAST)
        nh_parallel_for(threads, net->config->blocks * CHAINS, fill_panels, &p);
    if (net->aligned) nh_parallel_for(threads, net->config->blocks, align, &p);
    free(p.room);
    return 0;
}

int NH_NET(_update)(nh_net *net, const nh_weights *w, nh_threads *threads, nh_error *err)
{
    if (pack(net, w, threads, err) != 0) return -1;
    return net->placed != NULL ? R(nh_placed_update)(net, err) : 0;
}

/* Column of GIN's scalars with the gate of the first channel of each group of MID. */
static int find_gates(nh_net *net, nh_error *err)
{
    const nh_layout *mid = &net->mid;
    net->gate_first = NH_ARRAY(size_t, mid->count);
    if (net->gate_first == NULL) return nh_fail_memory(err, "network");
    size_t next = mid->group[0].mul;
    for (size_t i = 0; i < mid->n_entry; i++) {
        if (mid->entry[i].group == 0) continue;
        net->gate_first[mid->entry[i].group] = next;
        next += mid->entry[i].mul;
    }
    return 0;
}

enum { N_MAP = 14 };
static nh_linear_map *linear_map(nh_net *net, size_t i)
{
    nh_linear_map *const map[N_MAP] = {
        &net->map_input,     &net->map_mid,   &net->map_pre[0], &net->map_pre[1], &net->map_pre[2],
        &net->map_sep_lin,   &net->map_value, &net->map_proj,   &net->map_post,   &net->map_ffn,
        &net->map_sep_alpha, &net->map_lift,  &net->map_init,   &net->map_output};
    return map[i];
}

static int check_selection(const nh_irreps *all, const nh_irreps *chosen, const size_t *entry,
                           const char *what, nh_error *err)
{
    for (size_t i = 0; i < chosen->count; i++) {
        const bool known = entry[i] < all->count;
        const nh_irrep *a = &chosen->entry[i], *b = known ? &all->entry[entry[i]] : a;
        if (!known || a->l != b->l || a->p != b->p || a->mul != b->mul)
            return nh_fail(err, "network: %s entry %zu does not fit entry %zu of the basis's %zu", what, i,
                           entry[i], all->count);
    }
    return 0;
}

static int make_tables(nh_net *net, const nh_irreps *input, const size_t *input_entry,
                       const nh_irreps *wanted, const size_t *wanted_entry, nh_error *err)
{
    const nh_types *t = net->types;
    const nh_config *c = net->config;
    const int zero = 0, even = 1;
    const size_t alpha_count = c->heads * c->alpha_scalars;
    const size_t n_part = 3 * t->mid.count + t->to_lin.count;
    nh_irreps two = {0}, joined = {0}, alpha = {0};
    size_t *part = NH_ARRAY(size_t, n_part);
    int status = part != NULL ? 0 : nh_fail_memory(err, "network");
    for (size_t i = 0; status == 0 && i < n_part; i++)
        part[i] = i;
    if (!status) status = check_selection(&t->in, input, input_entry, "input", err);
    if (!status) status = check_selection(&t->out, wanted, wanted_entry, "output", err);
    if (!status) status = nh_irreps_concat(&t->mid, &t->mid, &two, err);
    if (!status) status = nh_irreps_concat(&two, &t->mid, &joined, err);
    if (!status) status = nh_irreps_build(1, &alpha_count, &zero, &even, &alpha, err);
    if (!status) status = nh_layout_new(&t->mid, &net->mid, err);
    if (!status) status = nh_layout_new(&t->heads, &net->heads, err);
    if (!status) status = nh_layout_new(&t->gate_in, &net->gate_in, err);
    if (!status) status = nh_layout_new(&t->last, &net->last, err);
    if (!status) status = find_gates(net, err);
    if (!status) status = nh_product_new(t, &net->product, err);
    if (!status && net->aligned) status = nh_frame_new(&net->product, &net->frame, err);
    if (!status)
        status =
            nh_linear_map_new(&t->in, input->count, input_entry, &t->mid, 0, NULL, 0, &net->map_input, err);
    if (!status) status = nh_linear_map_new(&t->mid, 0, NULL, &t->mid, 0, NULL, 0, &net->map_mid, err);
    for (size_t i = 0; i < 3 && !status; i++)
        status = nh_linear_map_new(&joined, t->mid.count, part + i * t->mid.count, &t->mid, 0, NULL, 0,
                                   &net->map_pre[i], err);
    if (!status)
        status = nh_linear_map_new(&t->dtp_out, 0, NULL, &t->gate_in, 0, NULL, 0, &net->map_sep_lin, err);
    if (!status)
        status = nh_linear_map_new(&t->dtp_out, 0, NULL, &alpha, 0, NULL, c->alpha_scalars,
                                   &net->map_sep_alpha, err);
    if (!status)
        status = nh_linear_map_new(&t->dtp_out, 0, NULL, &t->heads, 0, NULL, 0, &net->map_value, err);
    if (!status) status = nh_linear_map_new(&t->heads, 0, NULL, &t->mid, 0, NULL, 0, &net->map_proj, err);
    if (!status) status = nh_linear_map_new(&t->heads, 0, NULL, &t->post, 0, NULL, 0, &net->map_post, err);
    if (!status) status = nh_linear_map_new(&t->mid, 0, NULL, &t->gate_in, 0, NULL, 0, &net->map_ffn, err);
    if (!status)
        status = nh_linear_map_new(&t->to_lin, t->post.count, part, &t->out, wanted->count, wanted_entry, 0,
                                   &net->map_output, err);
    if (!status && c->lift) status = nh_lift_new(t, wanted, &net->lift, err);
    for (size_t i = 0; !status && c->lift && i < net->lift.out.count; i++)
        part[i] = t->post.count + net->lift.entry[i];
    if (!status && c->lift)
        status = nh_linear_map_new(&t->to_lin, net->lift.out.count, part, &t->out, wanted->count,
                                   wanted_entry, 0, &net->map_lift, err);
    if (!status && c->edge_init == NH_EDGE_INIT_PAPER)
        status = nh_linear_map_new(&t->dtp_out, 0, NULL, &t->mid, 0, NULL, 0, &net->map_init, err);
    free(part);
    nh_irreps_free(&two);
    nh_irreps_free(&joined);
    nh_irreps_free(&alpha);
    return status;
}

int NH_NET(_new)(const nh_config *c, const nh_types *t, const nh_params *p, const nh_weights *w, size_t range,
                 const nh_irreps *input, const size_t *input_entry, const nh_irreps *wanted,
                 const size_t *wanted_entry, bool with_trace, nh_method method, nh_threads *threads,
                 nh_net **out, nh_error *err)
{
    *out = NULL;
    if (range >= c->n_range) return nh_fail(err, "network: sub-model %zu of %zu", range, c->n_range);
    nh_net *net = NH_ARRAY(nh_net, 1);
    if (net == NULL) return nh_fail_memory(err, "network");
    net->method = method;
    net->aligned = method == NH_METHOD_FAST;
    net->config = c;
    net->types = t;
    net->lo = c->range[range][0];
    net->hi = c->range[range][1];
    net->with_trace = with_trace;
    net->params = p;
    net->range = range;
    packer k = {.net = net, .weights = w, .err = err};
    int status = make_tables(net, input, input_entry, wanted, wanted_entry, err);
    for (size_t i = 0; i < N_MAP; i++)
        linear_map(net, i)->method = method;
    if (status == 0) {
        bind_network(&k);
        status = k.failed ? -1 : pack(net, w, threads, err);
    }
    free(k.slot);
    free(k.at);
    if (status == 0)
        *out = net;
    else
        NH_NET(_free)(net);
    return status;
}

void NH_NET(_free)(nh_net *net)
{
    if (net == NULL) return;
    R(nh_placed_free)(net);
    for (size_t i = 0; i < net->n_owned; i++)
        free(net->owned[i]);
    free(net->owned);
    free(net->binding);
    nh_layout_free(&net->mid);
    nh_layout_free(&net->heads);
    nh_layout_free(&net->gate_in);
    nh_layout_free(&net->last);
    free(net->gate_first);
    nh_frame_free(&net->frame);
    nh_product_free(&net->product);
    nh_lift_free(&net->lift);
    for (size_t i = 0; i < N_MAP; i++)
        nh_linear_map_free(linear_map(net, i));
    free(net);
}
