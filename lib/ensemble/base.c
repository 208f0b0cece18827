#include "ensemble/base.h"

#include <stdint.h>
#include <string.h>

bool nh_answered(const nh_config *c, double distance)
{
    return distance < c->cutoff && nh_config_range_of(c, distance) != SIZE_MAX;
}

void nh_base(const nh_config *c, const nh_graph *g, double *matrix)
{
    const nh_pairs *p = &g->pairs;
    if (c->h0 == NH_H0_NONE) memset(matrix, 0, 2 * (size_t)g->n_spin * p->n_elem * sizeof *matrix);
    if (c->h0 == NH_H0_TIME_REVERSAL) nh_time_reversal_average(g, matrix);
    if (c->target == NH_TARGET_CORRECTION) return;
    for (size_t k = 0; k < p->count; k++) {
        if (!nh_answered(c, nh_round_distance(p->distance[k]))) continue;
        for (size_t spin = 0; spin < (size_t)g->n_spin; spin += 3) /* uu and dd */
            for (size_t i = p->start[k]; i < p->start[k + 1]; i++)
                matrix[2 * (spin * p->n_elem + i)] = 0;
    }
}
