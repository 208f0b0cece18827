/* network.h - a sub-model on a device: what network.cu (forward) and backward.cu share. Compiled twice.
 *
 * The order of the operations is that of lib/network (forward.c, edge.c, node.c, backward.c), function by function, with
 * thousands of rows in a tile instead of 64 and without threads. Differences: inner activations are always made again on
 * the way back; there are no probes. A change there is made here too; tests/unit/test_kernels_network.c compares. */
#ifndef NH_KERNELS_NETWORK_H
#define NH_KERNELS_NETWORK_H

#include "kernels/gpu.h"
#include "kernels/ops.h"

extern "C" {
#include "network/internal.h"
}

/* Edges that a loop goes over: all by position (row NULL), or those of `out`. Arrays are on the device. */
typedef struct nhk_list {
    size_t n;
    const int *row;               /* [n] positions; NULL: 0, 1, .. */
    int *src, *dst;               /* [n] */
    double *vector, *distance;    /* [n][3], [n] Å */
    real *copies;                 /* [n] */
} nhk_list;

/* Buffers for a tile of rows; the names are those of nh_work. */
typedef struct nhk_work {
    real *e3nn, *tile, *x, *y, *harmonics, *product, *weighted, *result;
    real *pairs, *pairs_gradient, *hidden, *gradient, *scratch, *z, *z_kept, *factor;
    real *trace_in, *trace_hidden, *trace, *lifted, *lift;
    real *gaussians, *radial_hidden, *weight, *coupling, *message, *gate_in, *value;
    real *scalars, *alpha_in, *alpha_hidden, *alpha, *heads;
    real *g_tile, *g_x, *g_y, *g_message, *g_value, *g_weight, *g_product, *g_gate_in, *g_scalars, *g_alpha_in, *g_alpha,
        *g_heads, *g_weighted, *g_result, *g_trace, *g_z, *chain_room, *invariants_room, *g_first, *g_lift;
} nhk_work;

/* A pinned buffer of the host that a copy is in flight to or from. */
typedef struct nhk_stage {
    void *p;
    size_t bytes;
    cudaEvent_t done;
    bool busy;
    size_t first, n; /* rows of `out` that wait for the sink */
} nhk_stage;

typedef struct nhk_run {
    const nh_edges *graph;
    NH_NET(_source) * source;
    NH_NET(_sink) * sink;
    NH_NET(_seed) * seed;
    NH_NET(_ends) ends; /* in place of the three, where they are not NULL */
    void *source_context, *sink_context, *seed_context;
    bool keep, filled;
    size_t tile; /* rows */
    size_t n_edge, n_node, n_out, n_part;
    /* on the host */
    size_t *order, *place; /* edge at each position, and its inverse */
    int *out, *slot;       /* positions of the outputs; slot of each position, or -1 */
    size_t *tile_part;     /* [tiles+1] */
    /* on the device */
    nhk_list all, inside;
    int *edge_d; /* [n_out] numbers of the edges, for `ends` */
    int *place_d, *slot_d, *part_begin, *node_part, *onsite_begin, *onsite, *incoming, *outgoing, *from;
    real *damping;            /* [n_out] */
    real *first;              /* what the input map makes */
    real *edge, *raw, *edge_next, *node, *node_next, *merged, *normed, *p, *q;
    real *part_max, *part_sum, *part_value, *trace;
    nh_trail *trail; /* [blocks], on the host, arrays on the device */
    /* gradients */
    real *g_edge, *g_message, *g_node, *g_normed, *g_merged, *g_max, *g_total, *g_dot, *g_trace, *g_packed;
    nhk_work w;
    size_t block;
} nhk_run;

/* A sub-model in training (training.cu). Every array holds the numbers of all parameters that the sub-model uses, parameter
 * after parameter. */
typedef struct nhk_training {
    size_t n;      /* numbers in an array */
    size_t *first; /* [params->count] of each parameter, SIZE_MAX: not used; on the host; NULL: not in training */
    int *source;   /* [n_packed] number that a packed weight is a copy of; -1: of none */
    double *norm;
    real *array[NHK_N_ARRAYS]; /* NULL until it is written */
} nhk_training;

struct R(nhk_network) {
    nh_gpu *gpu;
    const nh_net *host;
    nh_net net;   /* the host's, with weights on the device */
    real *packed; /* [n_packed] */
    nhk_product product;
    nhk_lift lift;
    int *e3nn_in, *e3nn_out, *pairs_mid, *pairs_last;
    size_t tile; /* rows that fitted last time */
    nhk_pool kept_pool, *pool; /* of the run that is kept; of the run in progress: this, or the device's */
    nhk_stage stage[2];
    nhk_run run;
    NH_NET(_ends) ends; /* of the next run */
    size_t kept; /* number of the last run that was kept */
    nhk_training training;
};
typedef struct R(nhk_network) nhk_net;
#define NHK_NET(name) NH_PASTE(R(nhk_network), name) /* nhk_network_f_table and so on */
#define NHK_TRAINING(name) NH_PASTE(R(nhk_training), name)

/* Row numbers and stored rows of a tile that begins at `first` of the list, for the row operations: a contiguous tile is
 * reached by the pointer alone. */
static inline const int *nhk_rows(const nhk_list *l, size_t first)
{
    return l->row != nullptr ? l->row + first : nullptr;
}
static inline real *nhk_at(const nhk_list *l, size_t first, real *array, size_t width)
{
    return l->row != nullptr ? array : array + first * width;
}

/* First slot whose position is not below `position`. */
size_t R(nhk_first_slot)(const nhk_run *r, size_t position);
/* The slots that a tile of the list has, *first .. returned - 1, and how to find their rows in the tile. */
size_t R(nhk_tile_slots)(const nhk_run *r, const nhk_list *l, size_t first, size_t n, size_t *slot);
/* The next of the two stages, with nothing in flight and at least `bytes`; NULL and a failure without memory. A stage that
 * waits for the sink is flushed. */
nhk_stage *R(nhk_stage_take)(nhk_net *d, size_t index, size_t bytes);

/* Features of edges first.. in the graph's order, in a tile: w->tile of type map_input.in. */
void R(nhk_features)(nhk_net *d, size_t first, size_t n);
void R(nhk_enter_block)(nhk_net *d, size_t k);
void R(nhk_attention)(nhk_net *d, const nh_block *b, const nhk_list *l, size_t first, size_t n);
void R(nhk_node_begin)(nhk_net *d);
void R(nhk_init_nodes)(nhk_net *d);
void R(nhk_init_message)(nhk_net *d, const nhk_list *l, size_t first, size_t n);
const nhk_list *R(nhk_block_list)(const nhk_net *d);      /* of attention */
const nhk_list *R(nhk_tracegrad_list)(const nhk_net *d);  /* of TraceGrad */
/* Gradients are summed into run.g_packed. */
void R(nhk_run_backward)(nhk_net *d);
/* Tables and an empty gradient, where they are not there yet; false and a failure without memory. */
bool R(nhk_training_begin)(nhk_net *d);
void R(nhk_training_free)(nhk_net *d);
/* The gradient of the parameters += what run.g_packed says. */
void R(nhk_unpack)(nhk_net *d);
/* What packed weights are made of, or go with: the seeds; forms and layers, where there is room for them. */
void R(nhk_upload_tracegrad)(nhk_net *d);

#endif
