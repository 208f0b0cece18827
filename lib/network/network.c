/* Packing of one sub-model's weights. */
#include "network/internal.h"

#include "base/memory.h"

#include <cblas.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reads parameters by name and owns what is made of them. After the first failure every call gives NULL. */
typedef struct packer {
    nh_net *net;
    const nh_params *params;
    const nh_weights *weights;
    size_t range;
    char prefix[64];
    nh_error *err;
    bool failed;
} packer;

static void *own(packer *k, size_t count, size_t size)
{
    nh_net *net = k->net;
    if (k->failed) return NULL;
    if (net->n_owned == net->room) {
        const size_t room = net->room > 0 ? 2 * net->room : 256;
        void **grown = realloc(net->owned, room * sizeof *grown);
        if (grown == NULL) goto failed;
        net->owned = grown;
        net->room = room;
    }
    void *p = nh_calloc_aligned(count, size);
    if (p == NULL) goto failed;
    net->owned[net->n_owned++] = p;
    return p;
failed:
    k->failed = true;
    nh_fail_memory(k->err, "the weights of a sub-model");
    return NULL;
}

static void disown_last(nh_net *net)
{
    free(net->owned[--net->n_owned]);
}

/* The parameter prefix+name as reals, `count` of them; owned. */
__attribute__((format(printf, 3, 4))) static real *fetch(packer *k, size_t count, const char *format, ...)
{
    char tail[96], name[192];
    va_list args;
    va_start(args, format);
    vsnprintf(tail, sizeof tail, format, args);
    va_end(args);
    if (k->failed) return NULL;
    snprintf(name, sizeof name, "%s%s", k->prefix, tail);
    const size_t i = nh_params_find(k->params, name);
    const float *single = i < k->weights->count && k->weights->single != NULL ? k->weights->single[i] : NULL;
    const double *wide = i < k->weights->count && k->weights->real != NULL ? k->weights->real[i] : NULL;
    if (single == NULL && wide == NULL) {
        k->failed = true;
        nh_fail(k->err, "sub-model %zu: parameter %s is missing", k->range, name);
        return NULL;
    }
    if (k->params->param[i].count != count) {
        k->failed = true;
        nh_fail(k->err, "sub-model %zu: parameter %s: %zu numbers found, %zu expected", k->range, name,
                k->params->param[i].count, count);
        return NULL;
    }
    real *out = own(k, count, sizeof *out);
    for (size_t n = 0; out != NULL && n < count; n++)
        out[n] = single != NULL ? (real)single[n] : (real)wide[n];
    return out;
}

/* Number of numbers of prefix+name, whatever it is; 0 where there is no such parameter. */
static size_t parameter_count(const packer *k, const char *tail)
{
    char name[192];
    snprintf(name, sizeof name, "%s%s", k->prefix, tail);
    const size_t i = nh_params_find(k->params, name);
    return i < k->params->count ? k->params->param[i].count : 0;
}

static nh_linear pack_linear(packer *k, const nh_linear_map *map, const char *name, bool bias)
{
    nh_linear l = {.map = map};
    char full[96];
    snprintf(full, sizeof full, "%s.tp.weight", name);
    const real *flat = fetch(k, parameter_count(k, full), "%s", full);
    if (flat == NULL) return l;
    real *copy = malloc((map->n_weight > 0 ? map->n_weight : 1) * sizeof *copy);
    if (copy == NULL) {
        k->failed = true;
        nh_fail_memory(k->err, name);
        return l;
    }
    R(nh_linear_pack)(map, flat, copy);
    disown_last(k->net);
    l.weight = own(k, map->n_weight, sizeof *l.weight);
    if (l.weight != NULL) memcpy(l.weight, copy, map->n_weight * sizeof *copy);
    free(copy);
    if (!bias || map->n_bias == 0) return l;
    l.bias = own(k, map->n_bias, sizeof *l.bias);
    for (size_t u = 0; l.bias != NULL && u < map->n_bias; u++) {
        snprintf(full, sizeof full, "%s.bias.%zu", name, map->bias_param[u]);
        const real *b = fetch(k, parameter_count(k, full), "%s", full);
        if (b == NULL) return l;
        l.bias[u] = b[map->bias_index[u]];
        disown_last(k->net);
    }
    return l;
}

/* affine_weight and affine_bias, the gains in the order of the groups. */
static void pack_norm(packer *k, const char *name, real *norm[2])
{
    const nh_layout *mid = &k->net->mid;
    const real *flat = fetch(k, mid->channels, "%s.affine_weight", name);
    norm[0] = own(k, mid->channels, sizeof(real));
    norm[1] = fetch(k, mid->group[0].mul, "%s.affine_bias", name);
    if (k->failed) return;
    for (size_t i = 0, channel = 0; i < mid->n_entry; i++)
        for (size_t u = 0; u < mid->entry[i].mul; u++, channel++)
            norm[0][mid->group[mid->entry[i].group].channel + mid->entry[i].first + u] = flat[channel];
}

/* An empty chain of `layers` maps with the given widths. */
static nh_chain new_chain(packer *k, size_t layers, const size_t *width, bool norm, double eps)
{
    nh_chain m = {.layers = layers, .eps = (real)eps};
    size_t *w = own(k, layers + 1, sizeof *w);
    m.weight = own(k, layers, sizeof *m.weight);
    m.bias = own(k, layers, sizeof *m.bias);
    if (norm) {
        m.gain = own(k, layers, sizeof *m.gain);
        m.shift = own(k, layers, sizeof *m.shift);
    }
    if (!k->failed) memcpy(w, width, (layers + 1) * sizeof *w);
    m.width = w;
    return m;
}

/* Dense layer i and its LN: name.(step*i), name.(step*i+1). */
static void pack_layer(packer *k, nh_chain *m, size_t i, const char *name, size_t number, bool weight)
{
    if (k->failed) return;
    const size_t in = m->width[i], out = m->width[i + 1];
    if (weight) m->weight[i] = fetch(k, in * out, "%s.%zu.weight", name, number);
    m->bias[i] = fetch(k, out, "%s.%zu.bias", name, number);
    if (m->gain == NULL || i + 1 == m->layers || k->failed) return;
    m->gain[i] = fetch(k, out, "%s.%zu.weight", name, number + 1);
    m->shift[i] = fetch(k, out, "%s.%zu.bias", name, number + 1);
}

static void pack_attention(packer *k, nh_block *b, bool last)
{
    nh_net *net = k->net;
    const nh_config *c = net->config;
    b->merge_src = pack_linear(k, &net->map_mid, "ga.merge_src", true);
    b->merge_dst = pack_linear(k, &net->map_mid, "ga.merge_dst", false);
    b->pre_src = pack_linear(k, &net->map_pre[0], "ga.pre_lin", true);
    b->pre_dst = pack_linear(k, &net->map_pre[1], "ga.pre_lin", false);
    b->pre_edge = pack_linear(k, &net->map_pre[2], "ga.pre_lin", false);

    const size_t n_weight = net->product.n_weight;
    const size_t radial[4] = {c->radial_basis, c->radial_hidden[0], c->radial_hidden[1], n_weight};
    b->radial = new_chain(k, 3, radial, true, 1e-5);
    pack_layer(k, &b->radial, 0, "ga.sep_act.dtp_rad.net", 0, true);
    pack_layer(k, &b->radial, 1, "ga.sep_act.dtp_rad.net", 3, true);
    if (!k->failed) {
        b->radial.weight[2] = fetch(k, radial[2] * n_weight, "ga.sep_act.dtp_rad.net.6.weight");
        b->radial.bias[2] = fetch(k, n_weight, "ga.sep_act.dtp_rad.offset");
    }
    b->sep_lin = pack_linear(k, &net->map_sep_lin, "ga.sep_act.lin", true);
    b->sep_alpha = pack_linear(k, &net->map_sep_alpha, "ga.sep_alpha", true);
    b->value_weight = fetch(k, n_weight, "ga.sep_value.dtp.tp.weight");
    b->value_lin = pack_linear(k, &net->map_value, "ga.sep_value.lin", true);
    const size_t alpha[4] = {c->radial_basis + c->alpha_scalars, c->alpha_hidden[0], c->alpha_hidden[1],
                             c->heads};
    b->alpha = new_chain(k, 3, alpha, true, 1e-6);
    for (size_t i = 0; i < 3; i++)
        pack_layer(k, &b->alpha, i, "ga.lin_alpha", 3 * i, true);
    if (!last) b->proj = pack_linear(k, &net->map_proj, "ga.proj", true);
    b->edge_proj = pack_linear(k, last ? &net->map_post : &net->map_proj, "ga.edge_proj", true);
}

static void pack_tracegrad(packer *k, nh_block *b, bool last)
{
    const nh_net *net = k->net;
    const nh_config *c = net->config;
    const nh_layout *layout = last ? &net->scalars : &net->mid;
    const size_t hidden = last ? c->tg_hidden_last : c->tg_hidden, z = c->tg_z;
    const size_t width[5] = {layout->pairs, z, z, z, z};
    b->invariants = new_chain(k, 4, width, true, 1e-6);
    for (size_t i = 0; i < 4; i++)
        pack_layer(k, &b->invariants, i, "nonlinear_layers", 3 * i, i > 0);
    /* first layer after bilinear form: [z][hidden] times [pairs][hidden]^T */
    real *first = own(k, z * layout->pairs, sizeof *first), *seed = own(k, z, sizeof *seed);
    const real *layer = fetch(k, z * hidden, "nonlinear_layers.0.weight");
    const real *flat = fetch(k, parameter_count(k, "fctp.weight"), "fctp.weight");
    real *form = own(k, layout->pairs * hidden, sizeof *form);
    if (k->failed) return;
    R(nh_pairs_pack)(layout, hidden, flat, form);
    NH_GEMM(CblasRowMajor, CblasNoTrans, CblasTrans, (int)z, (int)layout->pairs, (int)hidden, 1, layer,
            (int)hidden, form, (int)hidden, 0, first, (int)layout->pairs);
    for (int i = 0; i < 3; i++)
        disown_last(k->net);
    b->invariants.weight[0] = first;
    for (size_t i = 0; i < z; i++)
        for (size_t j = 0; j < z; j++)
            seed[j] += b->invariants.weight[3][i * z + j];
    b->seed = seed;
    b->has_invariants = true;
}

static void pack_trace_head(packer *k)
{
    nh_net *net = k->net;
    const nh_config *c = net->config;
    const size_t z = c->tg_z, layers = c->n_trace_head, width = c->trace_head[0], all = c->blocks * z;
    k->prefix[0] = '\0';
    net->trace_width = width;
    for (size_t b = 0; b < c->blocks && !k->failed; b++) {
        net->block[b].trace_first = own(k, width * z, sizeof(real));
        const real *first = fetch(k, width * all, "nonlinear_layers_for_norm_reg.0.weight");
        if (k->failed) return;
        for (size_t i = 0; i < width; i++)
            memcpy(net->block[b].trace_first + i * z, first + i * all + b * z, z * sizeof(real));
        disown_last(net);
    }
    net->trace_bias = fetch(k, width, "nonlinear_layers_for_norm_reg.0.bias");
    size_t *widths = own(k, layers + 1, sizeof *widths);
    if (k->failed) return;
    memcpy(widths, c->trace_head, layers * sizeof *widths);
    widths[layers] = net->types->n_shell_pair;
    net->trace = new_chain(k, layers, widths, false, 0);
    for (size_t i = 0; i < layers; i++)
        pack_layer(k, &net->trace, i, "nonlinear_layers_for_norm_reg", 2 * (i + 1), true);
}

static void pack(packer *k)
{
    nh_net *net = k->net;
    const nh_config *c = net->config;
    net->input = pack_linear(k, &net->map_input, "input_rs", false);
    net->output = pack_linear(k, &net->map_output, "edge_lin", true);
    net->block = own(k, c->blocks, sizeof *net->block);
    for (size_t i = 0; i < c->blocks && !k->failed; i++) {
        const bool last = i + 1 == c->blocks;
        nh_block *b = &net->block[i];
        snprintf(k->prefix, sizeof k->prefix, "blocks.%zu.", i);
        pack_norm(k, "norm_1", b->norm_1);
        pack_norm(k, "norm_edge", b->norm_edge);
        pack_attention(k, b, last);
        if (!last) {
            pack_norm(k, "norm_2", b->norm_2);
            b->ffn_1 = pack_linear(k, &net->map_ffn, "ffn.fctp_1", true);
            b->ffn_2 = pack_linear(k, &net->map_mid, "ffn.fctp_2", true);
        }
        snprintf(k->prefix, sizeof k->prefix, "edge_feature_nonlin_block.%zu.", i);
        if (net->with_trace || (!last && c->tg_scale > 0)) pack_tracegrad(k, b, last);
    }
    if (net->with_trace) pack_trace_head(k);
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

static int check_selection(const nh_types *t, const nh_irreps *chosen, const size_t *entry, const char *what,
                           nh_error *err)
{
    for (size_t i = 0; i < chosen->count; i++) {
        const bool known = entry[i] < t->out.count;
        const nh_irrep *a = &chosen->entry[i], *b = known ? &t->out.entry[entry[i]] : a;
        if (!known || a->l != b->l || a->p != b->p || a->mul != b->mul)
            return nh_fail(err, "network: %s entry %zu does not fit entry %zu of the basis's %zu", what, i,
                           entry[i], t->out.count);
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
    nh_irreps two = {0}, joined = {0}, alpha = {0}, scalars = {0};
    size_t *part = NH_ARRAY(size_t, 3 * t->mid.count);
    int status = part != NULL ? 0 : nh_fail_memory(err, "network");
    for (size_t i = 0; status == 0 && i < 3 * t->mid.count; i++)
        part[i] = i;
    if (!status) status = check_selection(t, input, input_entry, "input", err);
    if (!status) status = check_selection(t, wanted, wanted_entry, "output", err);
    if (!status) status = nh_irreps_concat(&t->mid, &t->mid, &two, err);
    if (!status) status = nh_irreps_concat(&two, &t->mid, &joined, err);
    if (!status) status = nh_irreps_build(1, &alpha_count, &zero, &even, &alpha, err);
    if (!status) status = nh_irreps_build(1, &c->edge_scalars, &zero, &even, &scalars, err);
    if (!status) status = nh_layout_new(&t->mid, &net->mid, err);
    if (!status) status = nh_layout_new(&t->heads, &net->heads, err);
    if (!status) status = nh_layout_new(&t->gate_in, &net->gate_in, err);
    if (!status) status = nh_layout_new(&scalars, &net->scalars, err);
    if (!status) status = find_gates(net, err);
    if (!status) status = nh_product_new(t, &net->product, err);
    if (!status)
        status =
            nh_linear_map_new(&t->out, input->count, input_entry, &t->mid, 0, NULL, 0, &net->map_input, err);
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
        status = nh_linear_map_new(&t->post, 0, NULL, &t->out, wanted->count, wanted_entry, 0,
                                   &net->map_output, err);
    free(part);
    nh_irreps_free(&two);
    nh_irreps_free(&joined);
    nh_irreps_free(&alpha);
    nh_irreps_free(&scalars);
    return status;
}

int NH_NET(_new)(const nh_config *c, const nh_types *t, const nh_params *p, const nh_weights *w, size_t range,
                 const nh_irreps *input, const size_t *input_entry, const nh_irreps *wanted,
                 const size_t *wanted_entry, bool with_trace, nh_net **out, nh_error *err)
{
    *out = NULL;
    if (range >= c->n_range) return nh_fail(err, "network: sub-model %zu of %zu", range, c->n_range);
    nh_net *net = NH_ARRAY(nh_net, 1);
    if (net == NULL) return nh_fail_memory(err, "network");
    net->config = c;
    net->types = t;
    net->lo = c->range[range][0];
    net->hi = c->range[range][1];
    net->with_trace = with_trace;
    packer k = {.net = net, .params = p, .weights = w, .range = range, .err = err};
    if (make_tables(net, input, input_entry, wanted, wanted_entry, err) == 0) {
        pack(&k);
        if (!k.failed) {
            *out = net;
            return 0;
        }
    }
    NH_NET(_free)(net);
    return -1;
}

void NH_NET(_free)(nh_net *net)
{
    if (net == NULL) return;
    for (size_t i = 0; i < net->n_owned; i++)
        free(net->owned[i]);
    free(net->owned);
    nh_layout_free(&net->mid);
    nh_layout_free(&net->heads);
    nh_layout_free(&net->gate_in);
    nh_layout_free(&net->scalars);
    free(net->gate_first);
    nh_product_free(&net->product);
    nh_linear_map *map[] = {&net->map_input,  &net->map_mid,     &net->map_pre[0],    &net->map_pre[1],
                            &net->map_pre[2], &net->map_sep_lin, &net->map_sep_alpha, &net->map_value,
                            &net->map_proj,   &net->map_post,    &net->map_ffn,       &net->map_output};
    for (size_t i = 0; i < sizeof map / sizeof *map; i++)
        nh_linear_map_free(map[i]);
    free(net);
}
