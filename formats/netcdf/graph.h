/* graph.h - the real-space file: graph.nc, embedded.nc, ham.nc (formats/README.md; schema graph.cdl beside
 * this file). */
#ifndef NH_FORMATS_NETCDF_GRAPH_H
#define NH_FORMATS_NETCDF_GRAPH_H

#include "crystal/graph.h"
#include "formats/netcdf/nc.h"

/* Reads structure and pairs, and the matrices in `want` (NH_WANT_* of crystal/graph.h) that the file has:
 * absent ones stay NULL. Checks sizes, index ranges, order, finite numbers. Free with nh_graph_free. */
int nh_graph_read(const nh_nc *f, unsigned want, nh_graph **out, nh_error *err);
/* Error "FILE: no variable h0: ..." where a matrix is NULL; `need` as `want`. */
int nh_graph_require(const nh_graph *g, const char *file, unsigned need, nh_error *err);

/* Defines and writes all that g holds but its features. `single`: matrices as float. They are written on
 * commit: g must live until then (nh_nc_put_late). */
int nh_graph_write(nh_nc *f, const nh_graph *g, bool single, nh_error *err);
/* Adds one matrix to a file that already has the pairs (after nh_nc_carry); it must live until commit,
 * too. */
int nh_graph_put_matrix(nh_nc *f, const nh_graph *g, nh_matrix m, bool single, nh_error *err);
int nh_graph_put_overlap(nh_nc *f, const nh_graph *g, bool single, nh_error *err);
/* [3][n_elem] Å; must live until commit. */
int nh_graph_put_position(nh_nc *f, const double *position, bool single, nh_error *err);
/* What a feature vector holds, as the file says it. */
typedef struct nh_feature_type {
    size_t n_component;
    bool as_double;
    const char *irreps, *shell_pairs, *padded_basis;
} nh_feature_type;
/* Defines the features of n_edge edges and writes edge_pair; the values follow with nh_nc_put_slab (variable
 * "feature"): for a large cell they are the largest array of all. */
int nh_graph_def_features(nh_nc *f, size_t n_edge, const size_t *edge_pair, const nh_feature_type *type,
                          nh_error *err);

#endif
