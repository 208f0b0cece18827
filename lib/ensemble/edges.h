/* edges.h - the edges of a crystal's graph, as the network sees them: the pairs within a cutoff. */
#ifndef NH_ENSEMBLE_EDGES_H
#define NH_ENSEMBLE_EDGES_H

#include "crystal/graph.h"
#include "network/network.h"

typedef struct nh_edge_list {
    nh_edges
        edges; /* in the order of nh_graph_edges; vectors and rounded distances in Å. Its arrays belong to the list */
    size_t *pair; /* [n_edge] index of each edge in the graph's pairs; owned */
    /* private: what `edges` points to */
    int *src, *dst;
    double *vector, *distance;
} nh_edge_list;

/* The pairs with rounded distance < cutoff (Å). Errors: the graph was made with a smaller cutoff, no such pair, memory; *out is then
 * empty. */
int nh_edge_list_new(const nh_graph *g, double cutoff, nh_edge_list *out, nh_error *err);
void nh_edge_list_free(nh_edge_list *l); /* leaves it empty; an empty one is fine */

#endif
