/* trainer.h - the loop: epochs over the training list, validation, reports, checkpoints.
 *
 * Files are the caller's business (nh_trainer_hooks), so that this library knows no file format but the list
 * of names. */
#ifndef NH_TRAINING_TRAINER_H
#define NH_TRAINING_TRAINER_H

#include "training/step.h"

#include <signal.h>

/* Means over the crystals of a list. */
typedef struct nh_metrics {
    size_t n_crystal;
    double loss_h;                    /* absolute errors, whatever training uses; NaN for H0 */
    double region[NH_GAUGE_N_REGION]; /* Gauge MAE, eV */
    double range[2 * NH_MAX_RANGES];  /* mean over the crystals that have such pairs; NaN: none has */
} nh_metrics;

typedef struct nh_epoch_report {
    uint64_t epoch, step, skipped /* steps of this epoch */;
    double lr, seconds; /* of training, validation and all; seconds of all runs of this epoch */
    bool squared;
    double train[NH_N_SUMS]; /* means; see state.h */
    size_t n_range;
    const double *limit;             /* [n_range+1] Å */
    bool validated, best;            /* best: the lowest so far */
    nh_metrics h0, base, prediction; /* of the validation list, or training alone where there is none */
    size_t kept;                     /* crystals in memory */
    double kept_bytes;
} nh_epoch_report;

typedef struct nh_trainer_hooks {
    void *context;
    /* Reads a crystal's file: NH_WANT_* of crystal/graph.h; 0: everything but the matrices, with a check that
     * they are there. Called from another thread, too: calls of all hooks exclude each other by
     * themselves. */
    int (*read)(void *context, const char *path, unsigned want, nh_graph **out, nh_error *err);
    int (*save)(void *context, const nh_train_state *s, nh_error *err);
    /* A model with these weights [n_range], the best so far; *r is the report of its epoch. Called with
     * `save`, and at the end. */
    int (*save_best)(void *context, const nh_train_state *s, nh_weights *weights, const nh_epoch_report *r,
                     nh_error *err);
    int (*row)(void *context, const nh_train_state *s, const nh_epoch_report *r, nh_error *err);
} nh_trainer_hooks;

typedef struct nh_trainer nh_trainer;

/* What a trainer works with. Borrowed: all of it must outlive the trainer. */
typedef struct nh_trainer_task {
    const nh_settings *settings;
    nh_train_state *state;
    const nh_trainer_hooks *hooks;
    nh_team team;
    const nh_device *device; /* nh_stepper_place */
    int threads;
    const char *k_folder; /* sample.h */
    bool quiet;
} nh_trainer_task;

/* Reads the lists. With several processes, all of which have the same settings and state, each group of the team takes
 * its share of every step (accumulate crystals each) and of the validation; only the first process saves and reports. */
int nh_trainer_new(const nh_trainer_task *task, nh_trainer **out, nh_error *err);
void nh_trainer_free(nh_trainer *t); /* NULL is fine */

/* Every listed file: there, complete, of one cutoff, Rydberg factor and basis with the network, and with each
 * other in the shells of each element. Errors name list and line, and the file. */
int nh_trainer_check(nh_trainer *t, nh_error *err);

/* Continues from the state until the last epoch, or until *stop is not 0 and the step in progress is done:
 * then the state is saved and *stopped is true. The state is saved every checkpoint_steps steps and at the
 * end; a killed run continues from there and repeats what came after. */
int nh_trainer_run(nh_trainer *t, const volatile sig_atomic_t *stop, bool *stopped, nh_error *err);

/* Scores on one of the lists, 0 training, 1 validation, 2 test (n_crystal = 0 where it is not there): of the
 * weights in the state, of the network's base without a correction (with the file's H0 in *h0, may be
 * NULL). */
typedef enum nh_evaluated { NH_EVALUATE_PREDICTION, NH_EVALUATE_BASE } nh_evaluated;
int nh_trainer_evaluate(nh_trainer *t, int list, nh_evaluated what, const volatile sig_atomic_t *stop,
                        bool *stopped, nh_metrics *out, nh_metrics *h0, nh_error *err);
const nh_stepper *nh_trainer_stepper(const nh_trainer *t);

#endif
