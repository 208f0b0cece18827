#include "ensemble/base.h"

#include <string.h>

bool nh_answered(const nh_config *c, double distance)
{
    for (size_t r = 0; distance < c->cutoff && r < c->n_range; r++)
        if (distance >= c->range[r][0] && distance < c->range[r][1]) return true;
    return false;
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
