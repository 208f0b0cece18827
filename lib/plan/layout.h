/* layout.h - how the operations see features, independent of the precision.
 *
 * A feature type is split into groups, one per distinct irrep (l,p), even-first (0e 0o 1e 1o ...); the
 * entries of the type with that irrep are the group's channels, in order. A tile of n rows (nodes or edges)
 * holds the groups one after another, each a matrix [n][2l+1][mul], channel fastest, beginning at n*offset:
 * an irreps linear map is then one GEMM per group. A single row (n = 1) is the same thing and is how features
 * of all nodes or edges are stored. e3nn order ([mul][2l+1] per entry) exists at the borders only. */
#ifndef NH_PLAN_LAYOUT_H
#define NH_PLAN_LAYOUT_H

#include "o3/irreps.h"
#include "plan/method.h"

typedef struct nh_group {
    int l, p;
    size_t mul;     /* channels */
    size_t rows;    /* 2l+1 */
    size_t dim;     /* rows*mul */
    size_t offset;  /* sum of earlier dims */
    size_t channel; /* sum of earlier muls */
} nh_group;

typedef struct nh_layout_entry {
    size_t group, first; /* where the entry's channels are */
    size_t mul, rows;
    size_t offset; /* first number of the entry in e3nn order */
} nh_layout_entry;

typedef struct nh_layout {
    size_t count;
    nh_group *group; /* owned */
    size_t n_entry;
    nh_layout_entry *entry; /* the entries of the type, in its order; owned */
    size_t channels, dim;
    size_t pairs; /* sum over groups of mul*(mul+1)/2: quadratic invariants (docs/network.md 3.5) */
} nh_layout;

int nh_layout_new(const nh_irreps *a, nh_layout *out, nh_error *err);
void nh_layout_free(nh_layout *l);
/* Index of the group (l,p), or SIZE_MAX. */
size_t nh_layout_find(const nh_layout *l, int degree, int parity);

/* An irreps linear map (docs/network.md 2.1) between two layouts: for each group of the output a dense matrix
 * [cin][cout], and where its numbers come from in the flat parameter `tp.weight`. */
typedef struct nh_linear_block {
    size_t in; /* group of the input, or SIZE_MAX: the output is zero (plus bias) */
    size_t cin, cout;
    size_t weight; /* offset of the matrix in the packed weights */
} nh_linear_block;

typedef struct nh_linear_map {
    nh_method method;
    nh_layout in, out;
    nh_linear_block *block; /* [out.count]; owned */
    size_t n_weight;
    size_t *source;     /* [n_weight] index into tp.weight; owned */
    size_t n_bias;      /* channels of the output's 0e group (group 0), or 0 */
    size_t *bias_param; /* [n_bias] j of bias.j; owned */
    size_t *bias_index; /* [n_bias] index in it; owned */
} nh_linear_map;

/* The map from the entries in_entry[n_in] of `in` to the entries out_entry[n_out] of `out` (NULL: all of
 * them), of each output entry only the first out_limit channels (0: all). `in` and `out` are the complete
 * types that the parameter belongs to. */
int nh_linear_map_new(const nh_irreps *in, size_t n_in, const size_t *in_entry, const nh_irreps *out,
                      size_t n_out, const size_t *out_entry, size_t out_limit, nh_linear_map *map,
                      nh_error *err);
void nh_linear_map_free(nh_linear_map *map);

#endif
