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

enum { NH_TILE = 48 }; /* rows that an operation sees at once */

/* An irreps linear map with its packed weights; bias NULL: none. */
typedef struct nh_linear {
    const nh_linear_map *map;
    real *weight, *bias;
    real *aligned; /* after a product in the frame of the edge: as nh_aligned_pack or nh_folded_pack make it from `weight` */
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
    nh_kernels kernels;
    const nh_config *config;
    const nh_types *types;
    const nh_params *params;
    size_t range;
    double lo, hi;
    bool with_trace;
    /* layouts, owned */
    nh_layout mid, heads, gate_in, last /* of the last block's TraceGrad: first entries of POST */;
    size_t *gate_first; /* [mid.count] */
    nh_product product;
    bool aligned;   /* products in the frame of the edge: all but the reference kernels */
    nh_frame frame; /* of `product`, where aligned */
    nh_linear_map map_input, map_mid, map_pre[3], map_sep_lin, map_sep_alpha, map_value, map_proj, map_post,
        map_ffn, map_output;
    nh_linear input, output;
    /* OPTIONS.md: the lift and its part of edge_lin; the product in the initial edge features, pre_lin cut
     * as in a block. Empty without the option. */
    nh_lift lift;
    nh_linear_map map_lift, map_init;
    nh_linear lift_out, init_src, init_edge, init_dst, init_lin;
    nh_chain init_radial;
    real *lift_weight;
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
    /* on a device (placed.c); NULL: on the CPU */
    struct R(nhk_network) * placed;
    const struct nh_device *device;
};

/* Carves arrays out of one allocation: with base NULL it measures. Each array begins a cache line. */
typedef struct nh_carver {
    char *base;
    size_t used;
    bool overflow;
} nh_carver;
void *R(nh_carve)(nh_carver *c, size_t rows, size_t per_row, size_t size);

/* Buffers of one thread, for NH_TILE rows. */
typedef struct nh_work {
    size_t *row, *pick, *edge; /* [NH_TILE] */
    double *vector, *harmonics64;
    real *e3nn, *tile; /* widest type at the borders */
    real *x, *y;       /* MID */
    real *harmonics, *product;
    real *weighted, *result; /* HEADS, MID or POST */
    real *pairs, *pairs_gradient, *hidden, *gradient, *scratch, *z;
    real *trace_in, *trace_hidden, *trace;
    real *lifted, *lift; /* o: MID; a group of LIFT */
    real *gaussians, *radial_hidden, *weight;
    /* what attention makes on a tile, needed again on the way back: R(nh_carve_activations) */
    size_t *source, *destination;
    double *distance;
    real *coupling, *copies;
    real *rotation, *along; /* in place of coupling in the frame of the edge */
    real *message, *gate_in, *value; /* MID, GIN, MID */
    real *scalars, *alpha_in, *alpha_hidden, *alpha, *heads;
    /* gradients of those of like name, and room for the chains; NULL unless the run is kept */
    real *g_tile, *g_x, *g_y, *g_message, *g_value, *g_weight, *g_product, *g_gate_in;
    real *g_scalars, *g_alpha_in, *g_alpha, *g_heads, *g_weighted, *g_result;
    real *g_trace, *g_z, *chain_room, *invariants_room;
    real *g_first, *g_lift; /* of f as the product's first factor; as `lift` */
    nh_network_times times;
} nh_work;
void R(nh_carve_activations)(const nh_net *net, size_t rows, nh_work *w, nh_carver *c);

/* What a kept run leaves of a block, by position, slot (of f->out) or node. */
typedef struct nh_trail {
    real *edge;                      /* [n_edge][mid] e, input of the block */
    real *raw;                       /* [n_edge][mid] e' before TraceGrad */
    real *node;                      /* [n_node][mid] n, input of the block */
    real *merged;                    /* [n_node][HEADS] sum over incoming edges of B v */
    real *partial_max, *partial_sum; /* [..][heads] as in nh_run */
    real *factor;                    /* [n_edge] 0.2 k of TraceGrad; the last block's [n_out] */
    real *lifted;                    /* [n_out][mid] o of the last block with a lift */
    real *z;                         /* [n_out][z] */
    char *activations;               /* tiles * slab, NH_TAPE_STORE */
} nh_trail;

/* Gradients of a kept run, on its way back. */
typedef struct nh_return {
    NH_NET(_seed) * seed;
    void *seed_context;
    real *edge;                 /* [n_edge][mid] of the features between blocks */
    real *message;              /* [n_edge][mid] of m */
    real *node;                 /* [n_node][mid] of the features between blocks */
    real *normed;               /* [n_node][mid] of n1, what came through the residual */
    real *merged;               /* [n_node][HEADS] */
    real *max, *total, *dot;    /* [n_node][heads] of the softmax */
    real *trace;                /* [n_out][trace width] of the sums of the trace head's first layer */
    size_t n_chunk;             /* parts that loops over tiles are cut into, each with its own sums: */
    real **packed;              /* [n_chunk] -> [n_packed] gradients of the packed weights */
    real **knot;                /* [n_chunk] -> [n_knot][n_weight] those of f->knot_weight */
    R(nh_mlp_gradient) * chain; /* [n_chunk] tables to point into them */
    real **form;                /* [blocks] gradients of the bilinear form */
    size_t *incoming;           /* [n_node+1] first position of each destination */
    size_t *outgoing, *from;    /* [n_node+1] and the positions of each source */
} nh_return;

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
    size_t *order;                /* [n_edge] edge at each position */
    size_t *position;             /* [n_edge] its inverse */
    size_t n_out, *out;           /* positions that the last block works on: inside the range, or all */
    size_t *slot;                 /* [n_edge] index of a position in out, or SIZE_MAX */
    size_t rows_all, rows_out;    /* rows in a tile of all positions, of out */
    real *first;                  /* [n_edge][mid] what input_rs makes: e0 unless edge_init: paper */
    real *edge, *raw, *edge_next; /* [n_edge][mid] e, e', e after TraceGrad: one array unless kept */
    real *node, *node_next;       /* [n_node][mid] n, n': one array unless kept */
    real *merged;                 /* [n_node][HEADS] or NULL: not kept */
    real *normed, *p, *q;         /* [n_node][mid]: n1, and its two parts of m */
    size_t *tile_partial;         /* [tiles+1] first partial result of each tile of positions */
    size_t *node_partial;         /* [n_node+1] first partial result of each node */
    real *partial_max, *partial_sum, *partial_value; /* [..][heads], [..][heads], [..][HEADS] */
    real *trace;   /* [n_out][trace width] sums of the trace head's first layer */
    nh_work *work; /* [threads] */
    /* The product's radial weights are functions of the distance alone: they are made on knots, which are the edges'
     * distances, equal ones once, or the points of a grid where that are fewer (knots.c). */
    size_t n_knot;
    double step;            /* Å: of the grid, whose knot 1 is at 0; 0: no grid */
    double *knot;           /* [n_knot] Å, ascending unless kernels are the reference ones */
    size_t *knot_of;        /* [n_edge] knot of each position; in a grid, the first of four */
    const nh_chain *radial; /* that knot_weight was made with */
    real *knot_weight;      /* [n_knot][n_weight] */
    /* kept runs */
    bool keep, store;
    int threads;
    size_t slab; /* bytes of a tile's activations */
    nh_trail *trail;
    nh_return back;
    /* the loop in progress */
    bool every_knot;
    size_t block, n_list, rows;
    const size_t *list; /* positions; NULL: all */
} nh_run;

struct NH_NET(_tape) {
    nh_tape_memory memory;
    bool filled;   /* run is one that can be gone back through */
    size_t placed; /* number of the run on a device */
    char *room;
    size_t size;
    nh_run run;
};
typedef struct NH_NET(_tape) nh_tape;

/* The positions of a tile of the current list, in w->row; returns how many. */
size_t R(nh_tile_rows)(const nh_run *f, size_t tile, nh_work *w);
/* The same for a tile of nodes. */
size_t R(nh_tile_nodes)(const nh_run *f, size_t tile, nh_work *w);
size_t R(nh_tiles)(size_t n, size_t rows);
/* Attention on the n rows of w->row, up to v in w->heads and A in w->alpha. */
void R(nh_attention)(const nh_run *f, const nh_block *b, size_t n, nh_work *w);
/* Buffers of a thread, with activations that lie on the tape where they are stored there. */
nh_work R(nh_tile_work)(const nh_run *f, size_t tile, int thread);
/* Rows of the tile that the block's e' is needed of, in w->pick; returns how many. */
size_t R(nh_tile_kept)(const nh_run *f, size_t n, nh_work *w);
/* knots.c: counts the knots of a run, and sets the grid (before memory is carved); fills knot and knot_of. */
int R(nh_count_knots)(nh_run *f, nh_error *err);
int R(nh_set_knots)(nh_run *f, nh_error *err);
/* Radial weights on the knots that f's current block (`all`: every edge) needs. */
void R(nh_make_knots)(nh_run *f, const nh_chain *radial, bool all, nh_threads *threads);
/* Whether those are among the n knots from `first`. */
bool R(nh_knots_needed)(const nh_run *f, size_t first, size_t n);
/* w->weight of the n rows of w->row. */
void R(nh_radial_weights)(const nh_run *f, size_t n, nh_work *w);
/* Points the run at block k's arrays. */
void R(nh_enter_block)(nh_run *f, size_t k);

/* m of the initial edge features on the n rows of w->row, h in w->x. */
void R(nh_init_message)(const nh_run *f, size_t n, nh_work *w);
/* The first entries of POST out of a tile of n rows (x of type `last`), and back into it, or added to it. */
void R(nh_take_last)(const nh_net *net, size_t n, const real *post, real *x);
void R(nh_put_last)(const nh_net *net, size_t n, const real *x, bool add, real *post);

/* Bodies for nh_parallel_for over tiles (edge.c, node.c). */
void R(nh_run_input)(void *run, size_t tile, int thread);
void R(nh_run_init_nodes)(void *run, size_t tile, int thread);
void R(nh_run_init_edges)(void *run, size_t tile, int thread);
void R(nh_run_edges)(void *run, size_t tile, int thread);
void R(nh_run_tracegrad)(void *run, size_t tile, int thread);
void R(nh_run_outside)(void *run, size_t tile, int thread);
void R(nh_run_node_begin)(void *run, size_t tile, int thread);
void R(nh_run_node_end)(void *run, size_t tile, int thread);

/* Makes all positions, or those of f->out, the list that loops go over. */
void R(nh_choose_list)(nh_run *f, bool all);
/* Whether TraceGrad of f->block works on all edges: y changes the features of every edge that is used again,
 * z is for the outputs alone. */
bool R(nh_tracegrad_all)(const nh_run *f);
/* Adds the threads' times to *t (NULL: to nothing). */
void R(nh_add_times)(const nh_run *f, nh_network_times *t);
/* Whether the sub-model answers for edges of this length. */
bool R(nh_inside)(const nh_net *net, double distance);
/* Factor of edge_ham beside the window: output_scale * exp(-decay r), r in Å. */
double R(nh_damping)(const nh_net *net, double r);
/* Back through f->block: f->back.edge and .node, the gradients of what it made, become those of what it was
 * given. Before the first, after the last: clears the sums; brings them to the parameters. */
void R(nh_back_begin)(nh_run *f, nh_threads *threads);
void R(nh_block_back)(nh_run *f, nh_threads *threads);
void R(nh_back_end)(nh_run *f, real **gradient, nh_threads *threads);
bool R(nh_onsite)(const nh_edges *g, size_t edge);
/* The same as nh_network_X, for a network on a device (placed.c). */
int R(nh_placed_forward)(const nh_net *net, const nh_edges *g, NH_NET(_source) * source, void *source_context,
                         NH_NET(_sink) * sink, void *sink_context, bool everywhere, size_t *kept, nh_error *err);
int R(nh_placed_backward)(const nh_net *net, size_t kept, NH_NET(_seed) * seed, void *seed_context, nh_weights *gradient,
                          nh_error *err);
int R(nh_placed_update)(nh_net *net, nh_error *err);
void R(nh_placed_free)(nh_net *net);
/* Seconds since *t; *t becomes now. */
double R(nh_lap)(double *t);

#endif
