/* predict.h - the ensemble applied to a crystal: H0 in, corrected Hamiltonian out (docs/network.md 3.7, 4
 * and 5). */
#ifndef NH_ENSEMBLE_PREDICT_H
#define NH_ENSEMBLE_PREDICT_H

#include "crystal/graph.h"
#include "base/progress.h"
#include "device/device.h"
#include "network/network.h"
#include "nextham/model.h"

#include <stdbool.h>

typedef enum nh_precision { NH_SINGLE = 0, NH_DOUBLE = 1 } nh_precision;

typedef struct nh_predict_report {
    size_t n_edge;   /* directed edges within the model's cutoff */
    size_t n_packed; /* sub-models whose weights were packed for this crystal */
    double setup;    /* s: edges, packed weights; all sub-models */
    double embed;    /* s: features made on the host, summed over threads and sub-models; part of `forward` */
    double forward[NH_MAX_RANGES]; /* s of each sub-model */
    double sub_models;             /* s: all of them, less than their sum where several devices work */
    nh_network_times part;         /* of all sub-models */
    double finish;                 /* s: the Hermitian mean */
} nh_predict_report;

/* How a model is applied; zeros: in single precision, on the CPU. */
typedef struct nh_predict_options {
    nh_precision precision;
    nh_method method;
    const nh_devices
        *devices;   /* NULL or none: the CPU. Of n devices each has every n-th sub-model and a thread of
                                  its own, which runs them one after another */
    bool hermitize; /* H_pred becomes the mean over (i,j,R) and (j,i,-R) */
} nh_predict_options;

/* A model with the packed weights of its sub-models, for several crystals. Packed weights depend on the shell
 * pairs of a crystal; those of the last NH_PREDICTOR_KEEPS sets of shell pairs are kept, each about as large
 * as the model. One thread at a time. */
enum { NH_PREDICTOR_KEEPS = 4 };
typedef struct nh_predictor nh_predictor;
/* `m` and the devices must outlive it. */
int nh_predictor_new(const nh_model *m, const nh_predict_options *o, nh_predictor **out, nh_error *err);
void nh_predictor_free(nh_predictor *p); /* NULL is fine */

/* Fills g->matrix[NH_H_PRED] (allocated here where it is NULL): the base that the model makes of H0 (base.h;
 * g's own h0 stays as it is; with `h0: time-reversal` the mean with the time reversal is the network's input,
 * too), plus the correction D of section 5, by the model's rule `reconstruct`, in the real parts of the uu
 * and dd blocks of the pairs within the sub-models' ranges. eV.
 *
 * The network's edges are the pairs within the *model's* cutoff, its input is g->features where there are
 * any, and else embedded from H0 here, tile by tile (with `input: elements` the atoms' elements). The model's
 * Rydberg factor against the graph's (docs/network-v11.md 4): input times model/graph, correction times
 * graph/model. A graph with n_spin = 1 has uu = dd = H0, and one corrected block.
 *
 * Errors: no H0 where the model needs it, a graph with a smaller cutoff, an element with more shells than the
 * model's basis, features that were made for another basis or lack an edge. `threads`, `report` and
 * `progress` (n_edge for each sub-model, when it is done) may be NULL. On a device H0 becomes features there,
 * and the corrections come down once, where there is room (kernels/README.md). Deterministic: the same
 * numbers for every number of threads and of devices (as long as the crystal fits: a device with less memory
 * than it asks for takes sums in shorter pieces), and whatever crystals came before. */
int nh_predictor_run(nh_predictor *p, nh_graph *g, nh_threads *threads, nh_predict_report *report,
                     nh_progress *progress, nh_error *err);

/* The same for one crystal. */
int nh_predict(const nh_model *m, nh_graph *g, const nh_predict_options *o, nh_threads *threads,
               nh_predict_report *report, nh_progress *progress, nh_error *err);

#endif
