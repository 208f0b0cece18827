#include "training/schedule.h"

#include <math.h>

double nh_learning_rate(const nh_schedule_settings *s, double lr, long epoch)
{
    const double pi = 3.14159265358979323846;
    if (epoch < s->warmup) return s->warmup_lr + (double)epoch * (lr - s->warmup_lr) / (double)s->warmup;
    if (s->kind == NH_SCHEDULE_CONSTANT) return lr;
    if (epoch >= s->epochs) return s->min_lr;
    return s->min_lr + (lr - s->min_lr) / 2 * (1 + cos(pi * (double)epoch / (double)s->epochs));
}
