/* internal.h - what the sources of this folder share: the packed sub-model and the state of one forward run.
 * Compiled twice. */
#ifndef NH_NETWORK_INTERNAL_H
#define NH_NETWORK_INTERNAL_H

#include "base/real.h"
#include "network/network.h"
#include "ops/ops.h"

/* nh_network_f_new and so on. */
#define NH_NET(name) NH_PASTE(R(nh_network), name)
typedef R(nh_network) nh_net;
typedef R(nh_mlp) nh_chain;

enum { NH_TILE = 64 }; /* rows that an operation sees at once */

/* An irreps linear map with its packed weights; bias NULL: none. */
typedef struct nh_linear {
    const nh_linear_map *map;
    real *weight, *bias;
} nh_linear;

/* Which numbers of which parameter are where in the packed weights. The same list packs the weights, packs
 * them again after a step of training, and brings gradients back to the parameters. */
typedef enum nh_binding_kind {
    NH_BIND_ROWS,   /* rows of `count` numbers, the first at `from`, `stride` apart, to consecutive places */
    NH_BIND_LINEAR, /* tp.weight through `map` */
    NH_BIND_FORM,   /* fctp.weight to block->form, outside the packed weights */
    NH_BIND_LAYER   /* the layer after it, to block->layer */
} nh_binding_kind;

typedef struct nh_binding {
    nh_binding_kind kind;
    size_t param;
    size_t from, rows, count, stride;
    size_t at; /* in the packed weights */
    const nh_linear_map *map;
    struct nh_block *block;
    const nh_layout *layout;
} nh_binding;

typedef struct nh_block {
    real *norm_1[2], *norm_edge[2], *norm_2[2]; /* gain, shift */
    /* pre_lin acts on (p_src, q_dst, e): its first two parts are applied to the nodes, before the gather */
    nh_linear merge_src, merge_dst, pre_src, pre_dst, pre_edge;
    nh_linear sep_lin, sep_alpha, value_lin, proj, edge_proj, ffn_1, ffn_2;
    nh_chain radial, alpha;
    real *value_weight;
    /* TraceGrad: the bilinear form and the first layer are one matrix [z][pairs] (linear after linear). */
    nh_chain invariants;
    real *form;  /* [pairs][form_hidden] bilinear form, symmetrised */
    real *layer; /* [z][form_hidden] */
    size_t form_hidden;
    real *seed;        /* [z] d(sum z)/d(last hidden activation) */
    real *trace_first; /* [trace width][z] this block's part of the trace head's first layer; NULL without
                          trace */
    bool has_invariants;
} nh_block;

struct R(nh_network) {
    const nh_config *config;
    const nh_types *types;
    const nh_params *params;
    size_t range;
    double lo, hi;
    bool with_trace;
    /* layouts, owned */
    nh_layout mid, heads, gate_in, scalars /* of the last block's TraceGrad */;
    size_t *gate_first; /* [mid.count] */
    nh_product product;
    nh_linear_map map_input, map_mid, map_pre[3], map_sep_lin, map_sep_alpha, map_value, map_proj, map_post,
        map_ffn, map_output;
    nh_linear input, output;
    nh_block *block;
    real *trace_bias; /* of the trace head's first layer */
    size_t trace_width;
    nh_chain trace; /* the layers after it */
    /* All weights that the pointers above lead to lie in one array, and so do their gradients in another one
     * of the same shape: R(nh_gradient_of). form, layer and seed are elsewhere. */
    real *packed;
    size_t n_packed;
    nh_binding *binding;
    size_t n_binding, room_binding;
    void **owned; /* other allocations */
    size_t n_owned, room;
};

/* Buffers of one thread, for NH_TILE rows. */
typedef struct nh_work {
    size_t *row, *source, *destination, *pick; /* [NH_TILE] */
    double *distance, *vector, *harmonics64;
    real *e3nn, *tile;             /* widest type at the borders */
    real *x, *message, *value, *y; /* MID */
    real *gaussians, *radial_hidden, *weight, *harmonics, *coupling, *product;
    real *gate_in, *scalars, *alpha_in, *alpha_hidden, *alpha, *copies;
    real *heads, *weighted, *result; /* HEADS, HEADS, MID or POST */
    real *pairs, *pairs_gradient, *hidden, *gradient, *scratch, *z;
    real *trace_hidden, *trace;
    nh_network_times times;
    void *block; /* the allocation all of them lie in */
} nh_work;

/* One forward run. Edges are numbered by position: sorted by destination, stable. */
typedef struct nh_run {
    const nh_net *net;
    const nh_edges *graph;
    const NH_NET(_probe) * probe;
    bool all; /* every block on all edges: a probe is set */
    NH_NET(_source) * source;
    void *source_context;
    NH_NET(_sink) * sink;
    void *sink_context;
    bool everywhere;
    size_t *order;        /* [n_edge] edge at each position */
    size_t *position;     /* [n_edge] its inverse */
    size_t n_out, *out;   /* positions that the last block works on: inside the range, or all */
    size_t *slot;         /* [n_edge] index of a position in out, or SIZE_MAX */
    real *edge, *node;    /* [..][mid] stored rows */
    real *normed, *p, *q; /* [n_node][mid]: n1, and its two parts of m */
    size_t *tile_partial; /* [tiles+1] first partial result of each tile of positions */
    size_t *node_partial; /* [n_node+1] first partial result of each node */
    real *partial_max, *partial_sum, *partial_value; /* [..][heads], [..][heads], [..][HEADS] */
    real *trace;   /* [n_out][trace width] sums of the trace head's first layer */
    nh_work *work; /* [threads] */
    /* the loop in progress */
    size_t block, n_list;
    const size_t *list; /* positions; NULL: all */
} nh_run;

/* Bodies for nh_parallel_for over tiles (edge.c, node.c). */
void R(nh_run_input)(void *run, size_t tile, int thread);
void R(nh_run_edges)(void *run, size_t tile, int thread);
void R(nh_run_tracegrad)(void *run, size_t tile, int thread);
void R(nh_run_outside)(void *run, size_t tile, int thread);
void R(nh_run_node_begin)(void *run, size_t tile, int thread);
void R(nh_run_node_end)(void *run, size_t tile, int thread);

bool R(nh_onsite)(const nh_edges *g, size_t edge);
/* Seconds since *t; *t becomes now. */
double R(nh_lap)(double *t);

#endif
