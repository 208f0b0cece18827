/* ops_tools.h - modules of the golden files made from the operations of lib/ops, for the tests of both
 * passes. Included once as it is, then once per precision with `real`, R(name) and TOLERANCE defined. */
#ifndef NH_TESTS_OPS_TOOLS_H
#define NH_TESTS_OPS_TOOLS_H

#include "check.h"
#include "golden.h"

#include "ops/ops.h"

static inline nh_irreps type_of(int nc, const char *attribute)
{
    nh_irreps type;
    char *text = golden_text(nc, attribute);
    OK(nh_irreps_parse(text, &type, &err));
    free(text);
    return type;
}

/* Types and tables of the reduced network that the module files were made with. */
typedef struct architecture {
    nh_config config;
    nh_types types;
    nh_product product;
} architecture;

static inline architecture reduced(void)
{
    architecture a;
    OK(nh_config_parse("{basis: 2s1p1d, mid: 8x0e+4x1o+4x1e+2x2e+2x2o+2x3e+2x3o+2x4e}", "reduced", &a.config,
                       &err));
    OK(nh_types_new(&a.config, &a.types, &err));
    OK(nh_product_new(&a.types, &a.product, &err));
    return a;
}

static inline void close_architecture(architecture *a)
{
    nh_product_free(&a->product);
    nh_types_free(&a->types);
    nh_config_free(&a->config);
}

enum { MOST_GROUPS = 32 };

/* Column of the gates of each group's first channel: gates stand in the order of the type's entries. */
static inline void find_gates(const nh_layout *out, size_t first[MOST_GROUPS])
{
    size_t next = out->group[0].mul;
    memset(first, 0, MOST_GROUPS * sizeof *first);
    for (size_t i = 0; i < out->n_entry; i++) {
        if (out->entry[i].group == 0) continue;
        first[out->entry[i].group] = next;
        next += out->entry[i].mul;
    }
}

#else

/* A golden array in this precision; the caller frees. */
static inline real *R(load)(int nc, const char *format, const char *name)
{
    char full[128];
    snprintf(full, sizeof full, format, name);
    double *d = golden_read(nc, full);
    const size_t n = golden_count(nc, full, NULL);
    real *x = calloc(n + 1, sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = (real)d[i];
    free(d);
    return x;
}

static inline real *R(room)(size_t n)
{
    real *x = calloc(n + 1, sizeof *x);
    assert_non_null(x);
    return x;
}

static inline void R(check)(int nc, const char *name, const real *found)
{
    const size_t n = golden_count(nc, name, NULL);
    double *expected = golden_read(nc, name), *d = calloc(n + 1, sizeof *d);
    assert_non_null(d);
    for (size_t i = 0; i < n; i++)
        d[i] = (double)found[i];
    assert_close(n, d, expected, TOLERANCE, name);
    free(expected);
    free(d);
}

/* The same for a tile. */
static inline void R(check_tile)(int nc, const char *name, const nh_layout *layout, const real *tile)
{
    size_t n;
    const size_t count = golden_count(nc, name, &n);
    assert_int_equal(count, n * layout->dim);
    real *x = R(room)(n * layout->dim);
    R(nh_to_e3nn)(layout, n, tile, x);
    R(check)(nc, name, x);
    free(x);
}

static inline real *R(load_tile)(int nc, const char *name, const nh_layout *layout)
{
    size_t n;
    const size_t count = golden_count(nc, name, &n);
    assert_int_equal(count, n * layout->dim);
    real *x = R(load)(nc, "%s", name), *tile = R(room)(n * layout->dim);
    R(nh_from_e3nn)(layout, n, x, tile);
    free(x);
    return tile;
}

typedef struct R(linear) {
    nh_linear_map map;
    real *weight, *bias;
} R(linear);

/* The map NAME.tp.weight, NAME.bias.j of a file ("" : tp.weight), on some entries of its input. */
static inline R(linear) R(linear_open)(int nc, const char *name, const nh_irreps *in, size_t n_in,
                                       const size_t *in_entry, const nh_irreps *out, size_t limit, bool bias)
{
    R(linear) l = {0};
    char full[96];
    OK(nh_linear_map_new(in, n_in, in_entry, out, 0, NULL, limit, &l.map, &err));
    real *flat = R(load)(nc, "p.%stp.weight", name);
    l.weight = R(room)(l.map.n_weight);
    R(nh_linear_pack)(&l.map, flat, l.weight);
    free(flat);
    if (!bias) return l;
    l.bias = R(room)(l.map.n_bias);
    for (size_t u = 0; u < l.map.n_bias; u++) {
        snprintf(full, sizeof full, "p.%sbias.%zu", name, l.map.bias_param[u]);
        real *b = R(load)(nc, "%s", full);
        l.bias[u] = b[l.map.bias_index[u]];
        free(b);
    }
    return l;
}

static inline real *R(linear_apply)(const R(linear) *l, size_t n, const real *x)
{
    real *y = R(room)(n * l->map.out.dim);
    R(nh_linear_forward)(&l->map, n, x, l->weight, l->bias, false, y);
    return y;
}

static inline void R(linear_close)(R(linear) *l)
{
    nh_linear_map_free(&l->map);
    free(l->weight);
    free(l->bias);
}

/* Parameters NAMEaffine_weight (in the order of the groups) and NAMEaffine_bias of an EQLN. */
static inline void R(norm_open)(int nc, const char *name, const nh_layout *layout, real **gain, real **shift)
{
    char full[64];
    snprintf(full, sizeof full, "%saffine_weight", name);
    real *flat = R(load)(nc, "p.%s", full);
    *gain = R(room)(layout->channels);
    snprintf(full, sizeof full, "%saffine_bias", name);
    *shift = R(load)(nc, "p.%s", full);
    size_t channel = 0;
    for (size_t i = 0; i < layout->n_entry; i++)
        for (size_t u = 0; u < layout->entry[i].mul; u++)
            (*gain)[layout->group[layout->entry[i].group].channel + layout->entry[i].first + u] =
                flat[channel++];
    free(flat);
}

/* EQLN of a file's parameters, in place. */
static inline void R(norm)(int nc, const char *name, const nh_layout *layout, size_t n, real *x)
{
    real *gain, *shift;
    R(norm_open)(nc, name, layout, &gain, &shift);
    R(nh_norm_forward)(layout, n, x, 1e-5, gain, shift, x);
    free(gain);
    free(shift);
}

static inline real *R(gate_apply)(const nh_layout *in, const nh_layout *out, size_t n, const real *x)
{
    size_t first[MOST_GROUPS];
    find_gates(out, first);
    real *y = R(room)(n * out->dim);
    R(nh_gate_forward)(in, out, first, n, x, y);
    return y;
}

/* A chain whose layers are NAME.number[i] (weight, bias) and LN at NAME.(number[i]+1). */
typedef struct R(chain) {
    R(nh_mlp) mlp;
    size_t width[8];
    real *weight[8], *bias[8], *gain[8], *shift[8];
} R(chain);

static inline R(chain) *R(chain_open)(int nc, const char *name, size_t layers, double eps, const char *offset)
{
    R(chain) *c = calloc(1, sizeof *c);
    assert_non_null(c);
    for (size_t i = 0; i < layers; i++) {
        char full[96];
        size_t rows, count;
        snprintf(full, sizeof full, "p.%s.%zu.weight", name, 3 * i);
        count = golden_count(nc, full, &rows);
        c->width[i] = count / rows;
        c->width[i + 1] = rows;
        c->weight[i] = R(load)(nc, "%s", full);
        snprintf(full, sizeof full, "p.%s.%zu.bias", name, 3 * i);
        c->bias[i] = R(load)(nc, "%s", i + 1 == layers && offset != NULL ? offset : full);
        if (i + 1 == layers) continue;
        snprintf(full, sizeof full, "p.%s.%zu.weight", name, 3 * i + 1);
        c->gain[i] = R(load)(nc, "%s", full);
        snprintf(full, sizeof full, "p.%s.%zu.bias", name, 3 * i + 1);
        c->shift[i] = R(load)(nc, "%s", full);
    }
    c->mlp = (R(nh_mlp)){.layers = layers,
                         .width = c->width,
                         .weight = c->weight,
                         .bias = c->bias,
                         .gain = c->gain,
                         .shift = c->shift,
                         .eps = (real)eps};
    return c;
}

static inline void R(chain_close)(R(chain) *c)
{
    for (size_t i = 0; i < 8; i++) {
        free(c->weight[i]);
        free(c->bias[i]);
        free(c->gain[i]);
        free(c->shift[i]);
    }
    free(c);
}

static inline real *R(chain_apply)(const R(chain) *c, size_t n, const real *x, real **hidden)
{
    real *h = R(room)(n * R(nh_mlp_hidden_size)(&c->mlp)), *y = R(room)(n * c->width[c->mlp.layers]);
    R(nh_mlp_forward)(&c->mlp, n, x, h, y, false);
    if (hidden != NULL)
        *hidden = h;
    else
        free(h);
    return y;
}

/* All groups of the product as one tile. */
static inline real *R(product_apply)(const nh_product *p, size_t n, const real *x, const real *y,
                                     const real *w, size_t stride)
{
    real *transposed = R(room)(n * p->n_harmonic), *m = R(room)(n * p->n_matrix),
         *out = R(room)(n * p->out.dim);
    for (size_t t = 0; t < n; t++)
        for (size_t k = 0; k < p->n_harmonic; k++)
            transposed[k * n + t] = y[t * p->n_harmonic + k];
    R(nh_coupling_forward)(p, n, transposed, m);
    for (size_t g = 0; g < p->out.count; g++)
        R(nh_product_forward)(p, g, n, x, m, w, stride, out + n * p->out.group[g].offset);
    free(transposed);
    free(m);
    return out;
}

#endif
