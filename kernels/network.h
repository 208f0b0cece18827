/* network.h - a sub-model on a device: what network.cu (its passes) and training.cu share. Compiled twice.
 *
 * What a pass does to a tile is lib/network's block.h and block_back.h, for thousands of rows at once and in the order of the
 * device's stream. Here are the weights on the device, the lists of edges, the memory, and what block.h leaves open. */
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
    const int *row;            /* [n] positions; NULL: 0, 1, .. */
    int *src, *dst;            /* [n] */
    double *vector, *distance; /* [n][3], [n] Å */
    real *copies;              /* [n] */
} nhk_list;

/* A pinned buffer of the host that a copy is in flight to or from. */
typedef struct nhk_stage {
    void *p;
    size_t bytes;
    cudaEvent_t done;
    bool busy;
    size_t first, n; /* rows of `out` that wait for the sink */
} nhk_stage;

/* One pass through the sub-model. Arrays are on the device unless said. */
typedef struct nhk_pass {
    nh_state s; /* `saved` on the host */
    struct R(nhk_network) *d;
    const nh_net *net;
    const nh_edges *graph;
    NH_NET(_source) *source;
    NH_NET(_sink) *sink;
    NH_NET(_seed) *seed;
    NH_NET(_ends) ends; /* in place of the three, where they are not NULL */
    void *source_context, *sink_context, *seed_context;
    const NH_NET(_probe) *probe; /* on the host */
    bool everywhere;
    bool filled;
    size_t tile; /* rows */
    size_t n_edge, n_node, n_out, n_partial;
    /* on the host */
    size_t *order, *position; /* edge at each position, and its inverse */
    int *out_h, *slot_h;      /* positions of the outputs; slot of each position, or -1 */
    size_t *tile_partial;     /* [tiles+1] */

    nhk_list all, inside;
    int *edge; /* [n_out] numbers of the edges, for `ends` */
    int *position_d, *slot, *partial_begin, *node_partial, *onsite_begin, *onsite, *incoming, *outgoing,
        *from;
    real *damping; /* [n_out] */
    real *packed;  /* [n_packed] gradients of the packed weights */
    nh_work w;
} nhk_pass;

/* A sub-model in training (training.cu). Every array holds the numbers of all parameters that the sub-model uses, parameter
 * after parameter. */
typedef struct nhk_training {
    size_t n; /* numbers in an array */
    size_t *
        first; /* [params->count] of each parameter, SIZE_MAX: not used; on the host; NULL: not in training */
    int *source; /* [n_packed] number that a packed weight is a copy of; -1: of none */
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
    size_t tile;               /* rows that fitted last time */
    nhk_pool kept_pool, *pool; /* of the pass that is kept; of the one in progress: this, or the device's */
    nhk_stage stage[2];
    nhk_pass pass;
    NH_NET(_ends) ends; /* of the next pass */
    size_t kept;        /* number of the last pass that was kept */
    nhk_training training;
};
typedef struct R(nhk_network) nhk_net;
#define NHK_NET(name) NH_PASTE(R(nhk_network), name) /* nhk_network_f_table and so on */
#define NHK_TRAINING(name) NH_PASTE(R(nhk_training), name)

/* Tables and an empty gradient, where they are not there yet; false and a failure without memory. */
bool R(nhk_training_begin)(nhk_net *d);
void R(nhk_training_free)(nhk_net *d);
/* The gradient of the parameters += what pass.packed says. */
void R(nhk_unpack)(nhk_net *d);
/* What packed weights are made of, or go with: the seeds; forms and layers, where there is room for them. */
void R(nhk_upload_tracegrad)(nhk_net *d);

#endif
