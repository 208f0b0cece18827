/* schedule.h - the learning rate of an epoch (docs/network.md 7). */
#ifndef NH_TRAINING_SCHEDULE_H
#define NH_TRAINING_SCHEDULE_H

#include "training/settings.h"

/* Rate of epoch n (from 0). cosine: warm-up w epochs linear from warmup_lr, without reaching lr; then min_lr
 * + (lr - min_lr)/2 (1 + cos(pi n/epochs)), not shifted by the warm-up; min_lr from `epochs` on. constant:
 * the same warm-up, then lr. */
double nh_learning_rate(const nh_schedule_settings *s, double lr, long epoch);

#endif
