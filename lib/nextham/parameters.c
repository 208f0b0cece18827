#include "nextham/parameters.h"

#include "base/memory.h"
#include "base/random.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Types that the linear maps of section 9 run between; nh_params.types. */
typedef struct private_types {
    nh_types t;
    nh_irreps joined;    /* MID+MID+MID, input of pre_lin */
    nh_irreps alpha;     /* scalars of all heads, output of sep_alpha */
    nh_irreps last_node; /* formal node output of the last block */
} private_types;

/* The table while it is being put together. After the first failure every call does nothing. */
typedef struct builder {
    nh_params *table;
    size_t room;
    char prefix[64]; /* of the names: "blocks.0.ga." */
    unsigned acts;   /* of the parameters added next, and whether they may be absent */
    bool optional;
    nh_error *err;
    bool failed;
} builder;

static nh_param *fail(builder *b, const char *what)
{
    if (!b->failed) nh_fail_memory(b->err, what);
    b->failed = true;
    return NULL;
}

/* Adds one parameter: a matrix [rows][columns], or a vector of `columns` numbers where rows = 0. NULL after a
 * failure. */
static nh_param *add(builder *b, const char *name, size_t rows, size_t columns)
{
    nh_params *t = b->table;
    size_t count = columns;
    if (b->failed) return NULL;
    if (rows > 0 && !nh_size_mul(rows, columns, &count)) return fail(b, "a parameter (too large)");
    if (!nh_grow(&t->param, &b->room, t->count + 1, sizeof *t->param))
        return fail(b, "the table of parameters");
    const size_t length = strlen(b->prefix) + strlen(name) + 1;
    char *full = malloc(length);
    if (!full) return fail(b, "the table of parameters");
    snprintf(full, length, "%s%s", b->prefix, name);
    nh_param *p = &t->param[t->count++];
    *p = (nh_param){.name = full,
                    .n_dim = rows > 0 ? 2 : 1,
                    .dim = {rows > 0 ? rows : columns, rows > 0 ? columns : 0},
                    .count = count,
                    .acts = b->acts,
                    .optional = b->optional};
    return p;
}

static void add_vector(builder *b, const char *name, size_t n, nh_param_init init)
{
    nh_param *p = add(b, name, 0, n);
    if (p) p->init = init;
}

/* DENSE, section 2.4. */
static void add_dense(builder *b, const char *name, size_t n_in, size_t n_out, bool bias)
{
    char full[96];
    snprintf(full, sizeof full, "%s.weight", name);
    nh_param *p = add(b, full, n_out, n_in);
    if (p) {
        p->init = NH_INIT_UNIFORM;
        p->bound = 1 / sqrt((double)n_in);
    }
    snprintf(full, sizeof full, "%s.bias", name);
    if (bias) add_vector(b, full, n_out, NH_INIT_ZERO);
}

/* LN (`weight`, `bias`). */
static void add_norm(builder *b, const char *name, size_t n)
{
    char full[96];
    snprintf(full, sizeof full, "%s.weight", name);
    add_vector(b, full, n, NH_INIT_ONE);
    snprintf(full, sizeof full, "%s.bias", name);
    add_vector(b, full, n, NH_INIT_ZERO);
}

/* EQLN, section 2.2. */
static void add_equivariant_norm(builder *b, const char *name, const nh_irreps *type)
{
    char full[96];
    snprintf(full, sizeof full, "%s.affine_weight", name);
    add_vector(b, full, type->channels, NH_INIT_ONE);
    snprintf(full, sizeof full, "%s.affine_bias", name);
    add_vector(b, full, nh_irreps_count(type, 0, 1), NH_INIT_ZERO);
}

/* LIN, section 2.1: the flat vector of blocks, and one bias for each 0e entry of the simplified output. */
static void add_linear(builder *b, const char *name, const nh_irreps *in, const nh_irreps *out, bool bias)
{
    char full[96];
    size_t count = 0;
    if (b->failed) return;
    for (size_t i = 0; i < in->count; i++)
        for (size_t o = 0; o < out->count; o++) {
            const nh_irrep *x = &in->entry[i], *y = &out->entry[o];
            size_t block;
            if (x->l != y->l || x->p != y->p) continue;
            if (!nh_size_mul(x->mul, y->mul, &block) || !nh_size_add(count, block, &count)) {
                fail(b, "a linear map (too large)");
                return;
            }
        }
    snprintf(full, sizeof full, "%s.tp.weight", name);
    nh_param *p = add(b, full, 0, count);
    if (p) {
        p->init = NH_INIT_LINEAR;
        p->in = in;
        p->out_type = out;
    }
    nh_irreps merged = {0};
    if (!bias || b->failed) return;
    if (nh_irreps_simplify(out, &merged, b->err)) {
        b->failed = true;
        return;
    }
    size_t j = 0;
    for (size_t o = 0; o < merged.count; o++)
        if (merged.entry[o].l == 0 && merged.entry[o].p == 1) {
            snprintf(full, sizeof full, "%s.bias.%zu", name, j++);
            add_vector(b, full, merged.entry[o].mul, NH_INIT_ZERO);
        }
    nh_irreps_free(&merged);
}

/* RAD of all weights of the product, section 2.6: dtp_rad after the prefix. */
static void add_radial(builder *b, const nh_config *c, const nh_types *t)
{
    const size_t length = strlen(b->prefix);
    snprintf(b->prefix + length, sizeof b->prefix - length, "dtp_rad.");
    add_dense(b, "net.0", c->radial_basis, c->radial_hidden[0], true);
    add_norm(b, "net.1", c->radial_hidden[0]);
    add_dense(b, "net.3", c->radial_hidden[0], c->radial_hidden[1], true);
    add_norm(b, "net.4", c->radial_hidden[1]);
    add_dense(b, "net.6", c->radial_hidden[1], t->n_weight, false);
    nh_param *offset = add(b, "offset", 0, t->n_weight);
    if (offset) {
        offset->init = NH_INIT_UNIFORM;
        offset->bound = 1 / sqrt((double)c->radial_hidden[1]);
    }
    b->prefix[length] = '\0';
}

/* network/OPTIONS.md 2. */
static void add_edge_init(builder *b, const nh_config *c, const private_types *types)
{
    if (c->edge_init == NH_EDGE_INIT_LINEAR) return;
    snprintf(b->prefix, sizeof b->prefix, "edge_init.");
    add_linear(b, "pre_lin", &types->joined, &types->t.mid, true);
    add_radial(b, c, &types->t);
    add_linear(b, "lin", &types->t.dtp_out, &types->t.mid, true);
    b->prefix[0] = '\0';
}

static void add_attention(builder *b, const nh_config *c, const private_types *types, bool last)
{
    const nh_types *t = &types->t;
    add_linear(b, "merge_src", &t->mid, &t->mid, true);
    add_linear(b, "merge_dst", &t->mid, &t->mid, false);
    add_linear(b, "pre_lin", &types->joined, &t->mid, true);
    const size_t length = strlen(b->prefix);
    snprintf(b->prefix + length, sizeof b->prefix - length, "sep_act.");
    add_radial(b, c, t);
    b->prefix[length] = '\0';
    add_linear(b, "sep_act.lin", &t->dtp_out, &t->gate_in, true);
    add_linear(b, "sep_alpha", &t->dtp_out, &types->alpha, true);
    add_vector(b, "sep_value.dtp.tp.weight", t->n_weight, NH_INIT_NORMAL);
    add_linear(b, "sep_value.lin", &t->dtp_out, &t->heads, true);
    add_dense(b, "lin_alpha.0", c->radial_basis + c->alpha_scalars, c->alpha_hidden[0], true);
    add_norm(b, "lin_alpha.1", c->alpha_hidden[0]);
    add_dense(b, "lin_alpha.3", c->alpha_hidden[0], c->alpha_hidden[1], true);
    add_norm(b, "lin_alpha.4", c->alpha_hidden[1]);
    add_dense(b, "lin_alpha.6", c->alpha_hidden[1], c->heads, true);
    const builder live = *b;
    if (last) { /* the node output of the last block is used by nothing */
        b->acts = 0;
        b->optional = true;
    }
    add_linear(b, "proj", &t->heads, &t->mid, true);
    b->acts = live.acts;
    b->optional = live.optional;
    add_linear(b, "edge_proj", &t->heads, last ? &t->post : &t->mid, true);
}

static void add_block(builder *b, const nh_config *c, const private_types *types, size_t k)
{
    const nh_types *t = &types->t;
    const bool last = k + 1 == c->blocks;
    b->acts = NH_ACTS_HAM | NH_ACTS_TRACE;
    b->optional = false;
    snprintf(b->prefix, sizeof b->prefix, "blocks.%zu.", k);
    add_equivariant_norm(b, "norm_1", &t->mid);
    add_equivariant_norm(b, "norm_edge", &t->mid);
    snprintf(b->prefix, sizeof b->prefix, "blocks.%zu.ga.", k);
    add_attention(b, c, types, last);
    snprintf(b->prefix, sizeof b->prefix, "blocks.%zu.", k);
    if (last) {
        b->acts = 0;
        b->optional = true;
    }
    add_equivariant_norm(b, "norm_2", &t->mid);
    add_linear(b, "ffn.fctp_1", &t->mid, &t->gate_in, true);
    add_linear(b, "ffn.fctp_2", &t->mid, &t->mid, true);
    if (last) add_linear(b, "ffn_shortcut", &t->mid, &types->last_node, true);
}

/* TraceGrad of block k (section 3.5). Its gradient y reaches the Hamiltonian except in the last block
 * (without a lift) and where scale is 0. (The last bias drops out of y; it is listed with its module.) */
static void add_tracegrad(builder *b, const nh_config *c, const nh_types *t, size_t k)
{
    const bool last = k + 1 == c->blocks;
    const bool gradient = (!last || c->lift) && c->tg_scale > 0;
    const size_t hidden = last ? c->tg_hidden_last : c->tg_hidden;
    size_t squares = 0, count;
    const nh_irreps *type = last ? &t->last : &t->mid;
    for (size_t i = 0; i < type->count; i++)
        squares += type->entry[i].mul * type->entry[i].mul;
    b->acts = NH_ACTS_TRACE | (gradient ? NH_ACTS_HAM : 0);
    b->optional = !(c->tg_scale > 0);
    snprintf(b->prefix, sizeof b->prefix, "edge_feature_nonlin_block.%zu.", k);
    if (!nh_size_mul(squares, hidden, &count)) {
        fail(b, "TraceGrad (too large)");
        return;
    }
    add_vector(b, "fctp.weight", count, NH_INIT_NORMAL);
    for (size_t layer = 0; layer < 4; layer++) {
        char name[64];
        snprintf(name, sizeof name, "nonlinear_layers.%zu", 3 * layer);
        add_dense(b, name, layer == 0 ? hidden : c->tg_z, c->tg_z, true);
        snprintf(name, sizeof name, "nonlinear_layers.%zu", 3 * layer + 1);
        if (layer < 3) add_norm(b, name, c->tg_z);
    }
}

/* The element table, OPTIONS.md 4: LIN from 120x0e to MID under the name and in the shape of a table of rows. */
static void add_elements(builder *b, const nh_types *t)
{
    nh_param *p = add(b, "ele_embed.weight", NH_N_ELEMENT, t->mid.entry[0].mul);
    if (p) p->init = NH_INIT_NORMAL;
}

static void add_all(builder *b, const nh_config *c, const private_types *types)
{
    const nh_types *t = &types->t;
    b->acts = NH_ACTS_HAM | NH_ACTS_TRACE;
    if (c->input == NH_INPUT_H0)
        add_linear(b, "input_rs", &t->in, &t->mid, false);
    else
        add_elements(b, t);
    add_edge_init(b, c, types);
    for (size_t k = 0; k < c->blocks; k++)
        add_block(b, c, types, k);
    for (size_t k = 0; k < c->blocks; k++)
        add_tracegrad(b, c, t, k);
    b->acts = NH_ACTS_TRACE;
    b->optional = !(c->tg_scale > 0);
    b->prefix[0] = '\0';
    for (size_t i = 0; i <= c->n_trace_head; i++) {
        char name[64];
        snprintf(name, sizeof name, "nonlinear_layers_for_norm_reg.%zu", 2 * i);
        add_dense(b, name, i == 0 ? c->blocks * c->tg_z : c->trace_head[i - 1],
                  i < c->n_trace_head ? c->trace_head[i] : t->n_shell_pair, true);
    }
    b->acts = NH_ACTS_HAM;
    b->optional = false;
    if (c->lift) add_vector(b, "lift.tp.weight", t->n_lift_weight, NH_INIT_NORMAL);
    add_linear(b, "edge_lin", &t->to_lin, &t->out, true);
}

static void private_types_free(private_types *t)
{
    if (!t) return;
    nh_types_free(&t->t);
    nh_irreps_free(&t->joined);
    nh_irreps_free(&t->alpha);
    nh_irreps_free(&t->last_node);
    free(t);
}

static int private_types_new(const nh_config *c, private_types **out, nh_error *err)
{
    const int zero = 0, even = 1;
    const size_t alpha = c->heads * c->alpha_scalars;
    nh_irreps two = {0};
    private_types *t = nh_calloc(1, sizeof *t);
    *out = NULL;
    if (!t) return nh_fail_memory(err, "feature types");
    int status = nh_types_new(c, &t->t, err);
    if (!status) status = nh_irreps_concat(&c->mid, &c->mid, &two, err);
    if (!status) status = nh_irreps_concat(&two, &c->mid, &t->joined, err);
    if (!status) status = nh_irreps_build(1, &alpha, &zero, &even, &t->alpha, err);
    if (!status) status = nh_irreps_build(1, &c->tg_hidden_last, &zero, &even, &t->last_node, err);
    nh_irreps_free(&two);
    if (status)
        private_types_free(t);
    else
        *out = t;
    return status;
}

int nh_params_new(const nh_config *c, nh_params *out, nh_error *err)
{
    private_types *types;
    builder b = {.table = out, .err = err};
    *out = (nh_params){0};
    if (private_types_new(c, &types, err)) return -1;
    out->types = types;
    add_all(&b, c, types);
    if (!b.failed) return 0;
    nh_params_free(out);
    return -1;
}

void nh_params_free(nh_params *p)
{
    if (!p) return;
    for (size_t i = 0; i < p->count; i++)
        free(p->param[i].name);
    free(p->param);
    private_types_free(p->types);
    *p = (nh_params){0};
}

size_t nh_params_find(const nh_params *p, const char *name)
{
    for (size_t i = 0; i < p->count; i++)
        if (!strcmp(p->param[i].name, name)) return i;
    return SIZE_MAX;
}

static bool ends_in(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

static bool begins_with_one_of(const char *text, const char *const *start)
{
    for (; *start; start++)
        if (!strncmp(text, *start, strlen(*start))) return true;
    return false;
}

bool nh_param_known_dead(const char *name)
{
    static const char *const root[] = {"ele_embed.", "norm.", "head.", NULL};
    static const char *const in_block[] = {"ga.alpha_dot", "ga_edge.",     "update_edge.",
                                           "node_update.", "edge_update.", NULL};
    if (begins_with_one_of(name, root)) return true;
    /* Buffers of the library that the official code is built on. */
    if (ends_in(name, "output_mask") || strstr(name, "_w3j_") || ends_in(name, ".mul.weight") ||
        ends_in(name, "sep_act.dtp.tp.weight"))
        return true;
    if (strncmp(name, "blocks.", 7) || !isdigit((unsigned char)name[7])) return false;
    const char *rest = name + 7;
    while (isdigit((unsigned char)*rest))
        rest++;
    return *rest == '.' && begins_with_one_of(rest + 1, in_block);
}

/* --- weights --- */

int nh_weights_new(const nh_params *p, bool as_double, nh_weights *out, nh_error *err)
{
    *out = (nh_weights){.count = p->count};
    if (as_double)
        out->as_double = NH_ARRAY(double *, p->count);
    else
        out->as_float = NH_ARRAY(float *, p->count);
    if (out->as_double || out->as_float) return 0;
    out->count = 0;
    return nh_fail_memory(err, "weights");
}

void nh_weights_free(nh_weights *w)
{
    if (!w) return;
    const uintptr_t begin = (uintptr_t)w->map;
    for (size_t i = 0; i < w->count; i++) {
        void *values = w->as_float ? (void *)w->as_float[i] : (void *)w->as_double[i];
        if (begin == 0 || (uintptr_t)values - begin >= w->map_size) free(values);
    }
    free(w->as_float);
    free(w->as_double);
    *w = (nh_weights){0};
}

static int allocate(const nh_param *p, nh_weights *w, size_t i, nh_error *err)
{
    const bool fresh = w->as_double ? !w->as_double[i] : !w->as_float[i];
    if (fresh && w->as_double) w->as_double[i] = nh_calloc_aligned(p->count, sizeof(double));
    if (fresh && !w->as_double) w->as_float[i] = nh_calloc_aligned(p->count, sizeof(float));
    return (w->as_double ? (void *)w->as_double[i] : (void *)w->as_float[i]) ? 0
                                                                             : nh_fail_memory(err, p->name);
}

static void put(nh_weights *w, size_t i, size_t at, double value)
{
    if (w->as_double)
        w->as_double[i][at] = value;
    else
        w->as_float[i][at] = (float)value;
}

/* Normal numbers over sqrt(fan-in): the channels that feed the output entry (section 7). */
static void init_linear(const nh_param *p, nh_random *random, nh_weights *w, size_t index)
{
    size_t at = 0;
    for (size_t i = 0; i < p->in->count; i++)
        for (size_t o = 0; o < p->out_type->count; o++) {
            const nh_irrep *x = &p->in->entry[i], *y = &p->out_type->entry[o];
            if (x->l != y->l || x->p != y->p) continue;
            const double scale = 1 / sqrt((double)nh_irreps_count(p->in, y->l, y->p));
            for (size_t k = 0; k < x->mul * y->mul; k++)
                put(w, index, at++, scale * nh_random_normal(random));
        }
}

int nh_weights_init(const nh_params *p, uint64_t seed, size_t range, nh_weights *w, nh_error *err)
{
    for (size_t i = 0; i < p->count; i++) {
        const nh_param *a = &p->param[i];
        char stream[160];
        nh_random random;
        if (!a->acts) continue;
        if (allocate(a, w, i, err)) return -1;
        snprintf(stream, sizeof stream, "init:range%zu:%s", range, a->name);
        nh_random_seed(&random, seed, stream);
        switch (a->init) {
        case NH_INIT_ZERO:
            for (size_t k = 0; k < a->count; k++)
                put(w, i, k, 0);
            break;
        case NH_INIT_ONE:
            for (size_t k = 0; k < a->count; k++)
                put(w, i, k, 1);
            break;
        case NH_INIT_LINEAR:
            init_linear(a, &random, w, i);
            break;
        case NH_INIT_NORMAL:
            for (size_t k = 0; k < a->count; k++)
                put(w, i, k, nh_random_normal(&random));
            break;
        case NH_INIT_UNIFORM:
            for (size_t k = 0; k < a->count; k++)
                put(w, i, k, a->bound * (2 * nh_random_uniform(&random) - 1));
            break;
        }
    }
    return 0;
}

static bool ends_in_number_then(const char *name, const char *last)
{
    const size_t n = strlen(name), m = strlen(last);
    return n > m + 1 && !strcmp(name + n - m, last) && isdigit((unsigned char)name[n - m - 1]);
}

/* The table of section 10; first rule that fits. */
static void rule(const nh_param *p, double *base, double *scale)
{
    const char *name = p->name;
    *base = 0;
    *scale = 0.1;
    if (ends_in(name, "affine_weight"))
        *base = 1;
    else if (ends_in(name, "sep_value.dtp.tp.weight"))
        *scale = 1.7;
    else if (ends_in(name, "merge_src.tp.weight") || ends_in(name, "merge_dst.tp.weight") ||
             ends_in(name, "fctp_1.tp.weight") || ends_in(name, "fctp_2.tp.weight"))
        *scale = 0.4;
    else if (ends_in(name, ".tp.weight"))
        *scale = 0.2;
    else if (ends_in(name, "fctp.weight"))
        *scale = 1.7;
    else if (ends_in(name, "dtp_rad.offset"))
        *scale = 0.3;
    else if (ends_in(name, ".weight") && p->n_dim == 2)
        *scale = sqrt(3.0 / (double)p->dim[1]);
    else if (ends_in_number_then(name, ".weight"))
        *base = 1;
}

int nh_weights_rule(const nh_params *p, const char *prefix, nh_weights *w, nh_error *err)
{
    for (size_t i = 0; i < p->count; i++) {
        const nh_param *a = &p->param[i];
        char name[256];
        double base, scale;
        if (!a->acts) continue;
        if (allocate(a, w, i, err)) return -1;
        snprintf(name, sizeof name, "%s%s", prefix, a->name);
        const uint64_t h = nh_hash(name);
        rule(a, &base, &scale);
        for (size_t k = 0; k < a->count; k++)
            put(w, i, k, base + scale * nh_hash_uniform(h, k));
    }
    return 0;
}

void nh_weights_round(const nh_params *p, nh_weights *w, int bits)
{
    for (size_t i = 0; i < p->count; i++) {
        if (w->as_double ? !w->as_double[i] : !w->as_float[i]) continue;
        for (size_t k = 0; k < p->param[i].count; k++) {
            int exponent;
            const double x = frexp(w->as_double ? w->as_double[i][k] : (double)w->as_float[i][k], &exponent);
            put(w, i, k, ldexp(rint(ldexp(x, bits + 1)), exponent - bits - 1));
        }
    }
}
