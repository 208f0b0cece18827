/* internal.h - what the sources of this folder share: the packed sub-model and the state of one pass through it.
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

enum { NH_TILE = 48 };        /* rows that an operation sees at once, on the host */
enum { NH_MOST_LAYERS = 64 }; /* dense maps of a chain */

/* An irreps linear map with its packed weights; bias NULL: none. */
typedef struct nh_linear {
    const nh_linear_map *map;
    real *weight, *bias;
    real *
        aligned; /* after a product in the frame of the edge: as nh_aligned_pack or nh_folded_pack make it from `weight` */
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
    nh_method method;
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
    bool aligned;   /* products in the frame of the edge: all but the reference method */
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
     * of the same shape. form, layer and seed are elsewhere. */
    real *packed;
    size_t n_packed;
    nh_binding *binding;
    size_t n_binding, room_binding;
    void **owned; /* other allocations */
    size_t n_owned, room;
    /* on a device (placed.c); NULL: on the CPU */
    struct R(nhk_network) *placed;
    const struct nh_device *device;
};

/* Takes arrays out of one allocation: with base NULL it measures. Each array begins a cache line. */
typedef struct nh_arena {
    char *base;
    size_t used;
    bool overflow;
} nh_arena;

/* Buffers for a tile of rows: work.def, and on the host those below. */
typedef struct nh_work {
#define BUFFER(name, numbers) real *name;
#define ACTIVATION BUFFER
#define GRADIENT BUFFER
#include "network/work.def"
#undef BUFFER
#undef ACTIVATION
#undef GRADIENT
    /* on the host; the last four with the activations */
    size_t *row, *pick, *edge; /* [rows] */
    double *vector, *harmonics64;
    size_t *source, *destination;
    double *distance;
    real *copies;
} nh_work;

/* What a pass that is kept leaves of a block, by position, slot or node. */
typedef struct nh_saved {
    real *edge;                      /* [n_edge][mid] e, input of the block */
    real *raw;                       /* [n_edge][mid] e' before TraceGrad */
    real *node;                      /* [n_node][mid] n, input of the block */
    real *merged;                    /* [n_node][HEADS] sum over incoming edges of B v */
    real *partial_max, *partial_sum; /* [..][heads] as in nh_state */
    real *factor;                    /* [n_edge] 0.2 k of TraceGrad; the last block's [n_out] */
    real *lifted;                    /* [n_out][mid] o of the last block with a lift */
    real *z;                         /* [n_out][z] */
    char *activations;               /* tiles * slab, NH_TAPE_STORE on the host */
} nh_saved;

/* Gradients of a pass that is kept, between the blocks on the way back. */
typedef struct nh_adjoint {
    real *edge;              /* [n_edge][mid] of the features between blocks */
    real *message;           /* [n_edge][mid] of m */
    real *node;              /* [n_node][mid] of the features between blocks */
    real *normed;            /* [n_node][mid] of n1, what came through the residual */
    real *merged;            /* [n_node][HEADS] */
    real *max, *total, *dot; /* [n_node][heads] of the softmax */
    real *trace;             /* [n_out][trace width] of the sums of the trace head's first layer */
} nh_adjoint;

/* Features of a pass between tiles, on the host or on a device. Edges are numbered by position: sorted by destination, stable.
 * Edges whose outputs are wanted have a slot, 0 .. n_out-1, in the order of their positions. */
typedef struct nh_state {
    bool keep;                    /* for the way back */
    bool all;                     /* every block on all edges: a probe is set */
    size_t block;                 /* in progress; the arrays below are this block's */
    real *first;                  /* [n_edge][mid] what input_rs makes: e0 unless edge_init: paper */
    real *edge, *raw, *edge_next; /* [n_edge][mid] e, e', e after TraceGrad: one array unless kept */
    real *node, *node_next;       /* [n_node][mid] n, n': one array unless kept */
    real *merged;                 /* [n_node][HEADS]; on the host NULL unless kept */
    real *normed, *p, *q;         /* [n_node][mid]: n1, and its two parts of m */
    real *partial_max, *partial_sum, *partial_value; /* [..][heads], [..][heads], [..][HEADS] */
    real *trace;     /* [n_out][trace width] sums of the trace head's first layer */
    nh_saved *saved; /* [blocks] */
    nh_adjoint back;
} nh_state;

typedef struct nh_timer {
    double since; /* seconds of a clock: the last mark */
    nh_network_times times;
} nh_timer;

/* One pass through the network on the host. */
typedef struct nh_pass {
    nh_state s;
    const nh_net *net;
    const nh_edges *graph;
    const NH_NET(_probe) *probe;
    NH_NET(_source) *source;
    void *source_context;
    NH_NET(_sink) *sink;
    void *sink_context;
    bool everywhere;
    nh_threads *pool;
    int threads;
    size_t *order;             /* [n_edge] edge at each position */
    size_t *position;          /* [n_edge] its inverse */
    size_t n_out, *out;        /* positions of the edges with a slot: those inside the range, or all */
    size_t *slot;              /* [n_edge] slot of a position, or SIZE_MAX */
    size_t rows_all, rows_out; /* rows in a tile of all positions, of out */
    size_t *tile_partial;      /* [tiles+1] first partial result of each tile of positions */
    size_t *node_partial;      /* [n_node+1] first partial result of each node */
    nh_work *work;             /* [threads], of NH_TILE rows */
    nh_timer *timer;           /* [threads] */
    /* The product's radial weights are functions of the distance alone: they are made on knots, which are the edges'
     * distances, equal ones once, or the points of a grid where those are fewer (knots.c). */
    size_t n_knot;
    double step;            /* Å: of the grid, whose knot 1 is at 0; 0: no grid */
    double *knot;           /* [n_knot] Å, ascending unless the method is the reference one */
    size_t *knot_of;        /* [n_edge] knot of each position; in a grid, the first of four */
    const nh_chain *radial; /* that knot_weight was made with */
    bool every_knot;
    real *knot_weight; /* [n_knot][n_weight] */
    /* passes that are kept */
    bool store;
    size_t slab; /* bytes of a tile's activations */
    /* the way back */
    bool backward; /* in progress */
    NH_NET(_seed) *seed;
    void *seed_context;
    size_t n_chunk;          /* parts that loops over tiles are cut into, each with its own sums: */
    real **packed;           /* [n_chunk] -> [n_packed] gradients of the packed weights */
    real **knot_gradient;    /* [n_chunk] -> [n_knot][n_weight] of knot_weight */
    real **form;             /* [blocks] gradients of the bilinear form */
    size_t *incoming;        /* [n_node+1] first position of each destination */
    size_t *outgoing, *from; /* [n_node+1] and the positions of each source */
} nh_pass;

struct NH_NET(_tape) {
    nh_tape_memory memory;
    bool filled;   /* `pass` is one that can be gone back through */
    size_t placed; /* number of the pass on a device */
    char *room;
    size_t size;
    nh_pass pass;
};
typedef struct NH_NET(_tape) nh_tape;

/* pass.c: memory and order of the edges for a pass whose net, graph, threads, keep, all and store are set. *room of *size bytes
 * is used, or replaced where it is too small. */
int R(nh_pass_begin)(nh_pass *f, char **room, size_t *size, nh_error *err);
/* The activations of `rows` rows. */
void R(nh_take_activations)(const nh_net *net, size_t rows, nh_work *w, nh_arena *c);
size_t R(nh_tiles)(size_t n, size_t rows);
bool R(nh_onsite)(const nh_edges *g, size_t edge);
/* Whether the sub-model answers for edges of this length. */
bool R(nh_inside)(const nh_net *net, double distance);
/* Å: the exact length; the rounded one decides about ranges only. */
double R(nh_length)(const nh_edges *g, size_t edge);

/* knots.c: counts the knots of a pass, and sets the grid (before memory is taken); fills knot and knot_of. */
int R(nh_count_knots)(nh_pass *f, nh_error *err);
int R(nh_set_knots)(nh_pass *f, nh_error *err);
/* Radial weights on the knots that f's current block (`all`: every edge) needs. */
void R(nh_make_knots)(nh_pass *f, const nh_chain *radial, bool all);
/* Whether those are among the n knots from `first`. */
bool R(nh_knots_needed)(const nh_pass *f, size_t first, size_t n);
/* weight[n][n_weight] of the n edges at the positions first.. or, where `row` is not NULL, row[n]. */
void R(nh_radial_weights)(const nh_pass *f, size_t n, const size_t *row, size_t first, const double *distance,
                          real *weight);

/* host.c: f->s.block forward, and back: the gradients of what it made, f->s.back.edge and .node, become those of what it was
 * given. */
void R(nh_enter_block)(nh_pass *f, size_t k);
void R(nh_run_block)(nh_pass *f);
void R(nh_block_back)(nh_pass *f);
/* Seconds since *mark, which becomes now. */
double R(nh_seconds)(double *mark);

/* gradient.c: clears the sums of the way back; brings them to the parameters. */
void R(nh_back_begin)(nh_pass *f);
void R(nh_back_end)(nh_pass *f, real **gradient);

/* The same as nh_network_X, for a network on a device (placed.c). */
int R(nh_placed_forward)(const nh_net *net, const nh_edges *g, NH_NET(_source) *source, void *source_context,
                         NH_NET(_sink) *sink, void *sink_context, bool everywhere,
                         const NH_NET(_probe) *probe, size_t *kept, nh_error *err);
int R(nh_placed_backward)(const nh_net *net, size_t kept, NH_NET(_seed) *seed, void *seed_context,
                          nh_weights *gradient, nh_error *err);
int R(nh_placed_update)(nh_net *net, nh_error *err);
void R(nh_placed_free)(nh_net *net);

#endif
