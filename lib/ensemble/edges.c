#include "ensemble/edges.h"

#include "base/memory.h"

#include <stdlib.h>

void nh_edge_list_free(nh_edge_list *l)
{
    free(l->pair);
    free(l->src);
    free(l->dst);
    free(l->vector);
    free(l->distance);
    *l = (nh_edge_list){0};
}

int nh_edge_list_new(const nh_graph *g, double cutoff, nh_edge_list *out, nh_error *err)
{
    *out = (nh_edge_list){0};
    if (g->cutoff < cutoff)
        return nh_fail(err, "the graph was made with cutoff %g Å, the model needs %g Å (mkgraph --cutoff)",
                       g->cutoff, cutoff);
    const size_t n = nh_graph_edges(g, cutoff, NULL);
    if (n == 0) return nh_fail(err, "no pair of atoms within the cutoff of %g Å", cutoff);
    nh_edge_list l = {.pair = NH_ARRAY(size_t, n),
                      .src = NH_ARRAY(int, n),
                      .dst = NH_ARRAY(int, n),
                      .vector = nh_calloc(n, 3 * sizeof(double)),
                      .distance = NH_ARRAY(double, n)};
    if (!l.pair || !l.src || !l.dst || !l.vector || !l.distance) {
        nh_edge_list_free(&l);
        return nh_fail_memory(err, "the edges");
    }
    nh_graph_edges(g, cutoff, l.pair);
    for (size_t e = 0; e < n; e++) {
        const nh_pair *p = &g->pairs.pair[l.pair[e]];
        l.src[e] = p->src;
        l.dst[e] = p->dst;
        nh_pair_vector(&g->structure, p, &l.vector[3 * e]);
        l.distance[e] = nh_round_distance(g->pairs.distance[l.pair[e]]);
    }
    l.edges = (nh_edges){.n_node = g->structure.n_atom,
                         .n_edge = n,
                         .src = l.src,
                         .dst = l.dst,
                         .vector = l.vector,
                         .distance = l.distance};
    *out = l;
    return 0;
}
