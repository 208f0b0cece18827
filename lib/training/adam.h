/* adam.h - Adam (Kingma, Ba 2015) on the weights of one sub-model, as PyTorch computes it (docs/network.md
 * 7). `threads` (may be NULL) share the parameters; the result does not depend on them. */
#ifndef NH_TRAINING_ADAM_H
#define NH_TRAINING_ADAM_H

#include "base/threads.h"
#include "device/kernels.h"
#include "nextham/parameters.h"
#include "training/settings.h"

/* Zeroed arrays for every parameter that `like` has, in its precision. */
int nh_weights_zero_like(const nh_params *p, const nh_weights *like, nh_weights *out, nh_error *err);
void nh_weights_clear(const nh_params *p, nh_weights *w, nh_threads *threads);    /* all zero */
void nh_weights_copy(const nh_params *p, nh_weights *to, const nh_weights *from); /* to = from */
double nh_weights_norm(const nh_params *p, const nh_weights *w); /* 2-norm of all numbers, summed in double */

/* Step number `step` (from 1) with learning rate lr: m <- b1 m + (1-b1) g, v <- b2 v + (1-b2) g^2,
 * w <- w - lr/(1-b1^step) m / (sqrt(v/(1-b2^step)) + eps), g = factor*gradient (+ weight_decay*w for kind
 * adam; adamw takes lr*weight_decay*w from w beforehand). Numbers in the precision of the weights. */
void nh_adam_step(const nh_optimizer_settings *o, const nh_params *p, double lr, uint64_t step, double factor,
                  const nh_weights *gradient, nh_weights *m, nh_weights *v, nh_weights *w,
                  nh_threads *threads);

/* The factors of that step, the same for all parameters, for the kernels
 * (kernels/adam.cu). */
nhk_adam nh_adam_numbers(const nh_optimizer_settings *o, double lr, uint64_t step, double factor);

/* average <- decay*average + (1-decay)*w */
void nh_weights_average(const nh_params *p, double decay, const nh_weights *w, nh_weights *average,
                        nh_threads *threads);

#endif
