#include "ensemble/features.h"

#include <string.h>

void nh_edge_feature(const nh_edge_features *f, size_t edge, double *out)
{
    const nh_graph *g = f->graph;
    const int *species = g->structure.species;
    const int a = species[f->list->edges.src[edge]], b = species[f->list->edges.dst[edge]];
    if (f->species_at) {
        memset(out, 0, f->dim * sizeof *out);
        out[f->species_at[a]] += 0.5;
        out[f->species_at[b]] += 0.5;
        return;
    }
    nh_block_to_irreps(&f->transform, a, b, g->n_spin,
                       g->matrix[NH_H0] + 2 * g->pairs.start[f->list->pair[edge]], 2 * g->pairs.n_elem,
                       f->scale, out);
    for (size_t i = 0; f->even && i < f->dim; i++)
        if (!f->even[i]) out[i] = 0;
}
