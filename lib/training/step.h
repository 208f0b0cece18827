/* step.h - one step of training: outputs of the sub-models on a crystal, the loss of their sum, gradients,
 * Adam.
 *
 * The sub-models run side by side, one or more threads each: the graphs are small and the sub-models cost
 * about the same. Results do not depend on the number of threads as long as no sub-model has more than one,
 * and else are fixed for a number of threads. */
#ifndef NH_TRAINING_STEP_H
#define NH_TRAINING_STEP_H

#include "training/ranks.h"
#include "training/state.h"
#include "training/submodel.h"

typedef struct nh_stepper nh_stepper;

/* For the sub-models of `state`: those that are trained and those that only predict (nh_train_state_new).
 * Settings and state must outlive it. `threads` >= 1. The processes of the team that share a crystal have a
 * part of these sub-models each, and call nh_stepper_add, _apply, _evaluate and _gather together; gradients
 * are summed over the others, and `count` in nh_stepper_apply is that of all of them. */
int nh_stepper_new(const nh_settings *s, nh_train_state *state, nh_team team, int threads, nh_stepper **out,
                   nh_error *err);
/* The sub-models run on the device (NULL: on the CPU), which must outlive the stepper, one after another, and
 * what is trained lives there: gradients, weights, moments, averages. So does the loss, with its gradients by
 * the outputs: sums alone come down, where there is room (nh_loss_begin) and where the processes do not share
 * crystals; else, and in nh_stepper_evaluate for the errors, outputs come down. Where several processes share
 * the crystals of a step, the gradients are summed on the CPU. */
int nh_stepper_place(nh_stepper *t, const nh_device *device, nh_error *err);
void nh_stepper_free(nh_stepper *t); /* NULL is fine */
/* What the crystals of this run have in common (k_folder: NULL). Lives as long as the stepper. */
const nh_sample_kind *nh_stepper_kind(const nh_stepper *t);
size_t nh_stepper_k_points(const nh_stepper *t); /* of the mesh; 0: the loss has no k-space terms */

/* Adds one crystal's gradient at n_k of its k-points (indices; one may stand there several times). *terms:
 * its loss. */
int nh_stepper_add(nh_stepper *t, const nh_sample *c, bool squared, size_t n_k, const size_t *k,
                   nh_loss_terms *terms, nh_error *err);
/* The same at states that are given. */
int nh_stepper_add_at(nh_stepper *t, const nh_sample *c, bool squared, size_t n_state,
                      const nh_kstates *states, nh_loss_terms *terms, nh_error *err);
/* Takes the step with the mean of the `count` gradients that were added, then clears them. *norm: 2-norm of
 * that mean over all sub-models, before clipping. Where it is not finite, or `skip`, nothing changes and
 * *done is false. state->updates counts the steps that were taken. */
int nh_stepper_apply(nh_stepper *t, double lr, size_t count, bool skip, double *norm, bool *done,
                     nh_error *err);

/* Copies what has been trained, on a device and by other processes, into the state. Until then, weights,
 * moments and averages of the state are the old ones. */
int nh_stepper_gather(nh_stepper *t, nh_error *err);

/* The weights that nh_stepper_add and _evaluate use: the averages (if there are), or those that are
 * trained. */
int nh_stepper_load(nh_stepper *t, bool average, nh_error *err);

/* Errors of the Hermitian prediction for a crystal, with the loss (absolute errors) at one of its k-points;
 * `base`: of no correction, and *terms is left alone. */
int nh_stepper_evaluate(nh_stepper *t, const nh_sample *c, bool base, size_t k, nh_sample_metrics *out,
                        nh_loss_terms *terms, nh_error *err);
/* Bounds of metrics.range: n+1 ascending distances, Å; the last is the cutoff. */
size_t nh_stepper_limits(const nh_stepper *t, const double **limit);

/* For tests: whether outputs and loss of the last crystal were on the device. */
bool nh_stepper_on_device(const nh_stepper *t);
/* For tests: the gradients added so far of sub-model r, until the next call; NULL: there are none. */
const nh_weights *nh_stepper_gradient(const nh_stepper *t, size_t range);

#endif
