/* predict_internal.h - one run of a predictor: what predict.c prepares and predict_io.c, for float and for double, runs. */
#ifndef NH_ENSEMBLE_PREDICT_INTERNAL_H
#define NH_ENSEMBLE_PREDICT_INTERNAL_H

#include "ensemble/features.h"
#include "ensemble/predict.h"

#include <stdatomic.h>
#include <stdint.h>

/* Sub-models packed for one choice of features and answers. */
typedef struct nh_packed {
    size_t n_in, *in, n_out, *out;  /* entries of the basis's type (nh_selection.entry); owned;
                                         in = NULL: nothing here */
    nh_network_f *f[NH_MAX_RANGES]; /* NULL until a crystal needs it; owned */
    nh_network_d *d[NH_MAX_RANGES];
    size_t last; /* number of the crystal that used it last */
} nh_packed;

/* One crystal with one model. */
typedef struct nh_predict_job {
    const nh_model *m;
    nh_method method;
    nh_graph *g;
    const nh_devices *devices;
    const nh_types *types;
    nh_packed *packed;
    nh_embedding *embedding;
    size_t *slot;              /* padded slot of each shell of each species */
    size_t *row;               /* [n_edge] feature row of each edge; NULL where H0 is embedded here */
    nh_selection in;           /* what the feature vectors hold of OUT; empty with `input: elements` */
    const nh_irreps *input;    /* type of the feature vectors, and where its entries are in the network's */
    const size_t *input_entry; /* complete one */
    bool *even;       /* [in.irreps.dim] numbers of them that the network sees, the others are 0; NULL: all */
    nh_selection out; /* what is asked of edge_lin */
    nh_edge_list list;
    nh_edge_features features; /* where they are made here */
    nh_feature_rows rows;      /* where they came with the graph */
    nh_feature_run *run;       /* of `rows`; owned */
    size_t *species_at;        /* [n_species] atomic numbers, with `input: elements` */
    double scale;              /* model's Rydberg factor over the graph's */
    size_t orbitals;           /* of the largest species */
    nhk_crystal **placed;      /* [devices] features and corrections are made there, too; NULL: here. Owned */
    nhk_embedding tables[2];   /* of `in` and `out`, for them */
    nhk_block *block;          /* [n_edge] */
    _Atomic uint_fast64_t embed_ns; /* summed over threads */
    atomic_bool no_memory;          /* a callback could not get its buffer */
    nh_precision precision;
    nh_threads *threads; /* of the sub-models on the CPU */
    nh_predict_report *report;
    nh_progress *progress;
    size_t n_server;                                 /* threads that run sub-models side by side */
    bool wanted[NH_MAX_RANGES], told[NH_MAX_RANGES]; /* told: the progress knows of it */
    nh_error error[NH_MAX_RANGES];                   /* empty text: none */
} nh_predict_job;

/* NULL: the CPU. The same one for every crystal, as packed sub-models stay there. */
static inline const nh_device *nh_job_device(const nh_predict_job *j, size_t range)
{
    return j->devices && j->devices->count > 0 ? j->devices->device[range % j->devices->count] : NULL;
}

/* Packs the sub-model, where it is not kept, and takes it to its device. */
int nh_predict_pack_f(nh_predict_job *j, size_t range, nh_error *err);
int nh_predict_pack_d(nh_predict_job *j, size_t range, nh_error *err);
/* Runs it: its corrections are added to h_pred. A lack of memory in between sets j->no_memory. */
int nh_predict_forward_f(nh_predict_job *j, size_t range, nh_error *err);
int nh_predict_forward_d(nh_predict_job *j, size_t range, nh_error *err);

#endif
