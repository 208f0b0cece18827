#include "ensemble/correction.h"

void nh_add_correction(const nh_graph *g, size_t first, size_t n, const double *d, double *h_pred)
{
    for (size_t spin = 0; spin < (size_t)g->n_spin; spin += 3) { /* uu and dd */
        double *to = h_pred + 2 * (spin * g->pairs.n_elem + first);
        for (size_t i = 0; i < n; i++)
            to[2 * i] += d[i];
    }
}
