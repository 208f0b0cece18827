/* network.h - one sub-model of the ensemble, forward and backward (docs/network.md 3). Exists for float
 * and double: the sources of this folder are compiled twice (base/real.h); nh_network_f and nh_network_d are
 * what others use. */
#ifndef NH_NETWORK_NETWORK_H
#define NH_NETWORK_NETWORK_H

#include "base/threads.h"
#include "nextham/parameters.h"
#include "plan/layout.h"

/* The graph as the network sees it. Edges may be in any order; sums are taken in an order that does not
 * depend on it being sorted. */
typedef struct nh_edges {
    size_t n_node, n_edge;
    const int *src, *dst;   /* [n_edge] */
    const double *vector;   /* [n_edge][3] Å */
    const double *distance; /* [n_edge] Å, rounded (nh_round_distance) */
} nh_edges;

/* Seconds spent, for --timing; summed over threads where a part runs in several. forward adds to what is
 * there. product: rotations too; linear: with the second product of attention in it (nh_folded_forward). */
typedef struct nh_network_times {
    double input, node, radial, product, linear, attention, tracegrad, output;
} nh_network_times;

struct nh_device;     /* device/device.h */
struct nhk_network_f; /* device/kernels.h */
struct nhk_network_d;

/* What a tape keeps of the inner activations of a forward run: nothing (they are made again, tile by tile, on
 * the way back), or all of them. The gradients are the same numbers. */
typedef enum nh_tape_memory { NH_TAPE_RECOMPUTE, NH_TAPE_STORE } nh_tape_memory;

#define NH_NETWORK_DECLARE(real, name)                                                                                                        \
    typedef struct name name;                                                                                                                 \
                                                                                                                                              \
    /* Features of edges first..first+n-1: out[n][n_component], the entries of `input` (below) in e3nn       \
     * order. Called from several threads at once. */                                \
    typedef void name##_source(void *context, size_t first, size_t n, real *out);                                                             \
    /* Outputs of some edges: edge[n] indices, ham[n][dim of `wanted`] = edge_ham (with window and decay),   \
     * trace[n][n_pair] = edge_trace or NULL. Called from several threads at once, each edge once. */                                \
    typedef void name##_sink(void *context, size_t n, const size_t *edge, const real *ham,                                                    \
                             const real *trace);                                                                                              \
                                                                                                                                              \
    /* Intermediate results for tests, e3nn order, any pointer may be NULL: node_init[n_node][mid],          \
     * edge_init[n_edge][mid], node[k], edge[k] after block k (edge[last] has type POST), z[k], y[k],        \
     * edge_tg[k] of TraceGrad (the last block's y and edge_tg with a lift only); ham_nomask, trace_nomask:  \
     * outputs of all edges without window and decay. Setting any makes every block run on all edges. */                                \
    typedef struct name##_probe {                                                                                                             \
        real *node_init, *edge_init;                                                                                                          \
        real **node, **edge, **z, **y, **edge_tg;                                                                                             \
        real *ham_nomask, *trace_nomask;                                                                                                      \
        /* given, not found: factor 0.2 k of TraceGrad for block k's edges [n_edge], in place of the run's   \
         * own (the gradients take it as a constant) */                                \
        const real **factor;                                                                                                                  \
    } name##_probe;                                                                                                                           \
                                                                                                                                              \
    /* Prepares one sub-model: packs the weights for the kernels. `input` is the type of the feature vectors \
     * and input_entry[] the index of each of its entries in t->in (parts of input_rs.tp.weight);            \
     * `wanted`/wanted_entry the same for the outputs (columns of edge_lin). `with_trace`: edge_trace too.   \
     * The config, types and params must outlive the object; the weights not. `threads` (NULL: none) pack.   \
     */                                \
    int name##_new(const nh_config *c, const nh_types *t, const nh_params *p, const nh_weights *w,                                            \
                   size_t range, const nh_irreps *input, const size_t *input_entry, const nh_irreps *wanted,                                  \
                   const size_t *wanted_entry, bool with_trace, nh_method method, nh_threads *threads,                                        \
                   name **out, nh_error *err);                                                                                                \
    void name##_free(name *net); /* NULL is fine */                                                                                           \
    /* Ends of a run that stay on the device: functions that queue their work there and return, with all arrays there. edge[n] are the      \
     * numbers of the edges. NULL: the callback of the host, as below. There is no `everywhere` with a sink on the device. */ \
    typedef struct name##_ends {                                                                                                              \
        void *context;                                                                                                                        \
        void (*source)(void *context, size_t first, size_t n, real *out);                                                                     \
        void (*sink)(void *context, size_t n, const int *edge, const real *ham, const real *trace);                                           \
        void (*seed)(void *context, size_t n, const int *edge, real *g_ham, real *g_trace);                                                   \
    } name##_ends;                                                                                                                            \
    /* The runs of a network that is placed have these ends from now on, in place of the callbacks (NULL: the callbacks). A run that is    \
     * kept goes back with the ends that it had. */  \
    void name##_connect(name *net, const name##_ends *ends);                                                                                  \
    /* From now on the network runs on the device (NULL: on the CPU, as before), which must outlive it: all of \
     * the functions below, with its own memory in place of the tape's; `threads` and `times` are not used.    \
     * A probe's arrays are on the host; ends on the device and a probe exclude each other. Once for each      \
     * network. */                              \
    int name##_place(name *net, const struct nh_device *device, nh_error *err);                                                               \
    /* Runs it. Only edges inside the sub-model's distance range reach the sink (all of them if              \
     * `everywhere`: outside, zeros). `threads`, `probe`, `times` may be NULL. Deterministic: the same       \
     * numbers for every number of threads. */                                \
    int name##_forward(const name *net, const nh_edges *g, name##_source *source, void *source_context,                                       \
                       name##_sink *sink, void *sink_context, bool everywhere, const name##_probe *probe,                                     \
                       nh_threads *threads, nh_network_times *times, nh_error *err);                                                          \
                                                                                                                                              \
    /* ---- training */                                                                                                                       \
                                                                                                                                              \
    /* Takes new values of the weights (same table, same parameters present as at _new); allocates nothing   \
     * where they have the network's precision. On an error (a parameter is missing) the network is as       \
     * before. */                                \
    int name##_update(name *net, const nh_weights *w, nh_threads *threads, nh_error *err);                                                    \
    /* Arrays of zeros, of the network's precision, for each parameter that this sub-model's outputs depend  \
     * on; NULL for the others. nh_weights_free. */                                \
    int name##_gradients_new(const name *net, nh_weights *out, nh_error *err);                                                                \
                                                                                                                                              \
    /* What a forward run leaves for the backward run; empty at first. It grows to the largest graph that it \
     * has seen and is used again and again, for any sub-model with the same config and the same selection   \
     * of inputs and outputs. */                                \
    typedef struct name##_tape name##_tape;                                                                                                   \
    int name##_tape_new(nh_tape_memory memory, name##_tape **out, nh_error *err);                                                             \
    void name##_tape_free(name##_tape *tape); /* NULL is fine */                                                                              \
    size_t name##_tape_bytes(const name##_tape *tape);                                                                                        \
                                                                                                                                              \
    /* As _forward (every edge in range reaches the sink once, no others), and keeps in `tape` what          \
     * _backward needs. The graph, the arrays that it points to and the source must live until then. sink    \
     * may be NULL. */                                \
    int name##_forward_keep(const name *net, const nh_edges *g, name##_source *source, void *source_context,                                  \
                            name##_sink *sink, void *sink_context, name##_tape *tape, nh_threads *threads,                                    \
                            nh_network_times *times, nh_error *err);                                                                          \
    /* Gradient of the loss with respect to the outputs of some edges, as the sink got them: g_ham[n][dim of \
     * `wanted`] and g_trace[n][n_pair] (NULL without trace) to be filled, all of both. Called from several  \
     * threads at once, for each edge in range once. */                                \
    typedef void name##_seed(void *context, size_t n, const size_t *edge, real *g_ham, real *g_trace);                                        \
    /* Adds the gradient of the loss with respect to every parameter to `gradient` (shapes as the weights;   \
     * arrays of the network's precision; NULL: not wanted), for the run that `tape` holds and the weights   \
     * that it was made with. The source is called again. Sums are taken in an order that is fixed for a     \
     * number of threads, which must be that of the forward run. On a device `gradient` may be NULL: what is \
     * added to is then the gradient there, which no call without NULL leaves as it was. */                                \
    int name##_backward(const name *net, name##_tape *tape, name##_seed *seed, void *seed_context,                                            \
                        nh_weights *gradient, nh_threads *threads, nh_network_times *times, nh_error *err);

NH_NETWORK_DECLARE(float, nh_network_f)
NH_NETWORK_DECLARE(double, nh_network_d)

/* The network on its device, for what device->call->training_f and _d offer beside the above; NULL: on the CPU. */
struct nhk_network_f *nh_network_f_placed(const nh_network_f *net);
struct nhk_network_d *nh_network_d_placed(const nh_network_d *net);

#endif
