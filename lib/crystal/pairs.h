/* pairs.h - atom pairs (i, j, R) and the layout of their orbital blocks (formats/README.md, real-space
 * file). */
#ifndef NH_CRYSTAL_PAIRS_H
#define NH_CRYSTAL_PAIRS_H

#include "crystal/structure.h"

#include <stddef.h>
#include <stdint.h>

typedef struct nh_pair {
    int src, dst;
    int cell[3]; /* R: the neighbour sits at r_dst + R.lattice */
} nh_pair;

typedef struct nh_pairs {
    size_t count;
    nh_pair *pair;    /* sorted by (src, dst, n1, n2, n3), no duplicates; owned */
    double *distance; /* Å; owned */
    size_t *start;    /* [count+1] first element of the pair's row-major n_src x n_dst block; owned */
    size_t n_elem;    /* = start[count] */
} nh_pairs;

/* Sorts `pair` (taken over: owned by *out from now on, freed on failure too), drops duplicates, fills in
 * distances and starts. */
int nh_pairs_build(const nh_structure *s, size_t count, nh_pair *pair, nh_pairs *out, nh_error *err);
void nh_pairs_free(nh_pairs *p);

/* Index of (src, dst, cell), or SIZE_MAX. Binary search. */
size_t nh_pairs_find(const nh_pairs *p, int src, int dst, const int cell[3]);
/* Index of (j, i, -R) for each pair; SIZE_MAX where it is absent. reverse[count]. */
void nh_pairs_reverse(const nh_pairs *p, size_t *reverse);
/* v = r_dst + R - r_src, Å. */
void nh_pair_vector(const nh_structure *s, const nh_pair *pair, double v[3]);
/* Rounds to 1e-8 Å, as all distances are before they are compared: a rotated crystal keeps its edges
 * (docs/network.md 1). */
double nh_round_distance(double r);

#endif
