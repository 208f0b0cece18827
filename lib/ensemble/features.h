/* features.h - the input of the network for each edge: its H0 block as an irreps vector (docs/network.md
 * 4.4), or with `input: elements` half a one for the element of each end.
 *
 * Made where they are needed (nh_edge_features), or read from rows that are kept (nh_feature_rows). */
#ifndef NH_ENSEMBLE_FEATURES_H
#define NH_ENSEMBLE_FEATURES_H

#include "ensemble/edges.h"
#include "nextham/embedding.h"

/* How vectors are made. What it points to is borrowed. */
typedef struct nh_edge_features {
    const nh_graph *graph;
    const nh_edge_list *list;
    size_t dim; /* numbers of a vector */
    /* Of the elements: the number that each species counts in, [n_species]; NULL: of H0. */
    const size_t *species_at;
    /* Of H0. */
    nh_transform transform; /* selection NH_PART_ALL; dim is its irreps.dim */
    double scale;           /* H0 is multiplied with it */
    const bool *even;       /* [dim] the numbers that are not left 0 (nh_selection_time_even); NULL: all */
} nh_edge_features;

/* The vector of one edge, out[dim]. */
void nh_edge_feature(const nh_edge_features *f, size_t edge, double *out);

/* Vectors that are kept, float or double, a row for each edge, with those of their numbers alone that the
 * crystal has. */
typedef struct nh_feature_run {
    size_t from, to, count; /* numbers of a row, and the first of them in the network's vector */
} nh_feature_run;

typedef struct nh_feature_rows {
    const float *as_float; /* [rows][width], one of the two */
    const double *as_double;
    size_t width;
    const size_t *row; /* [n_edge] row of each edge; NULL: edge e has row e */
    double scale;      /* the numbers are multiplied with it */
    size_t n_run;
    const nh_feature_run *run; /* ascending in `to`, without overlap; the other numbers of a vector are 0 */
} nh_feature_rows;

/* Features of edges first..first+n-1 as the network's source gives them (network.h): out[n][dim].
 * Thread-safe. */
void nh_feature_rows_take_f(const nh_feature_rows *r, size_t dim, size_t first, size_t n, float *out);
void nh_feature_rows_take_d(const nh_feature_rows *r, size_t dim, size_t first, size_t n, double *out);

#endif
