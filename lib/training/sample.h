/* sample.h - a labelled crystal prepared for training: edges, features, loss data, k-space states. */
#ifndef NH_TRAINING_SAMPLE_H
#define NH_TRAINING_SAMPLE_H

#include "ensemble/features.h"
#include "training/loss.h"

/* What all crystals of a run have in common. */
typedef struct nh_sample_kind {
    const nh_config *config;
    const nh_embedding *embedding; /* of the padded basis */
    const nh_selection *input;     /* all of OUT */
    /* [input->irreps.dim] where the networks see each of its numbers; SIZE_MAX: not at all. Neither is used with
     * `input: elements` */
    const size_t *seen_at;
    const nh_selection *output; /* what is asked of them */
    bool as_double;             /* precision of the features */
    bool padding;               /* loss.h */
    bool with_k;                /* k-space states are wanted */
    nh_kspace_options k;
    size_t n_limit; /* ranges of distance of the errors of H0: limit[n_limit+1], Å */
    const double *limit;
    const char *k_folder; /* folder for the states if the crystal's own folder is read-only */
} nh_sample_kind;

/* Gauge MAE by region and by range of distance (loss.h, nh_loss_gauge_mae). */
typedef struct nh_sample_metrics {
    nh_gauge_row region[NH_GAUGE_N_REGION];
    nh_gauge_row range[2 * NH_MAX_RANGES + 2];
} nh_sample_metrics;

typedef struct nh_sample {
    char *name;      /* its file */
    nh_graph *graph; /* in the place of its H0: what the sub-models' answers are added to (ensemble/base.h) */
    nh_edge_list list;
    nh_loss_data *loss;
    nh_sample_metrics h0; /* of the file's H0; NaN where it has none */
    nh_kcache *k;         /* NULL without k-space terms */
    size_t bytes;         /* of memory, about */
    nh_feature_rows rows; /* what the networks see, of the shell pairs or elements that occur here */
    /* private: what `rows` points to */
    nh_feature_run *run;
    float *as_float;
    double *as_double;
} nh_sample;

/* Takes g (with label, overlap, and h0 where the network needs it) over, also on failure. Errors name `path`:
 * no such matrices, a smaller cutoff than the network's, more shells than its basis has, another Rydberg
 * factor. */
int nh_sample_new(const nh_sample_kind *kind, const char *path, nh_graph *g, nh_sample **out, nh_error *err);
void nh_sample_free(nh_sample *c); /* NULL is fine */

/* The checks of nh_sample_new that need no matrices. */
int nh_sample_check(const nh_sample_kind *kind, const char *path, const nh_graph *g, nh_error *err);

#endif
