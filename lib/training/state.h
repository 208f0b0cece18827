/* state.h - the state of a training run between two steps: all that a killed run needs to continue bit for
 * bit. With a device, weights, moments and averages live there; here they are as of the last
 * nh_stepper_gather (step.h). */
#ifndef NH_TRAINING_STATE_H
#define NH_TRAINING_STATE_H

#include "base/random.h"
#include "nextham/model.h"
#include "training/loss.h"
#include "training/settings.h"

/* Sums over the steps of the epoch in progress. */
enum {
    NH_SUM_TOTAL,
    NH_SUM_LOSS_H,
    NH_SUM_TRACE,
    NH_SUM_R,
    NH_SUM_P,
    NH_SUM_Q,
    NH_SUM_PQ,
    NH_SUM_MU,
    NH_SUM_NORM,    /* gradient's 2-norm, all sub-models together; over steps, not crystals */
    NH_SUM_STEPS,   /* steps behind it */
    NH_SUM_COUNT,   /* crystals behind the others */
    NH_SUM_SKIPPED, /* crystals of skipped steps */
    NH_SUM_SECONDS,
    NH_N_SUMS
};

typedef struct nh_train_state {
    nh_model *model;     /* weights as they are trained; owned */
    bool fresh;          /* weights of the seeded initialisation, not of a file */
    bool *trained;       /* [n_range] sub-models that are; owned */
    nh_weights *m, *v;   /* [n_range] of Adam; empty (count 0) where not trained; owned */
    nh_weights *average; /* [n_range] moving averages; NULL without; owned */
    nh_random random;    /* draws k-points */
    uint64_t step;       /* steps begun; skipped ones too */
    uint64_t updates;    /* steps of the optimiser */
    uint64_t epoch;      /* in progress, from 0 */
    uint64_t position;   /* crystals of it that are done */
    uint64_t skipped;    /* steps without a finite loss, of the whole run */
    double best; /* lowest validation Gauge MAE so far, eV (without validation: training loss); infinity at
                    first */
    uint64_t best_epoch;
    double sum[NH_N_SUMS];
} nh_train_state;

/* Takes `model` (with weights) over, also on failure. Fresh moments; the random state from the seed.
 * Sub-models that are not trained keep their weights where `keep_others` (they come from a model file), else
 * their outputs are made zero, so that they correct nothing. */
int nh_train_state_new(const nh_settings *s, nh_model *model, bool keep_others, nh_train_state *out,
                       nh_error *err);
void nh_train_state_free(nh_train_state *s);

/* Order of the crystals in an epoch: a permutation of 0..n-1, a function of seed and epoch. */
void nh_epoch_order(uint64_t seed, uint64_t epoch, size_t n, size_t *order);

#endif
