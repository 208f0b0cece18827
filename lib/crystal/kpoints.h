/* kpoints.h - k-points: meshes, paths, lists; their weights, labels and distances along a path. */
#ifndef NH_CRYSTAL_KPOINTS_H
#define NH_CRYSTAL_KPOINTS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { NH_K_LABEL = 32 }; /* bytes of a label, the final NUL included */

typedef enum nh_k_mode { NH_K_LIST = 0, NH_K_PATH = 1, NH_K_MESH = 2 } nh_k_mode;

typedef struct nh_kpoints {
    size_t count;
    double *k;        /* [count][3] fractional; owned */
    double *weight;   /* [count], sum 1; owned */
    double *distance; /* [count] length along the path, 1/Å with the 2 pi in it; 0 on a mesh; owned */
    char (*label)[NH_K_LABEL]; /* [count] "" where a point has none; owned */
    nh_k_mode mode;
} nh_kpoints;

/* A corner of a path. */
typedef struct nh_k_node {
    double k[3]; /* fractional */
    char label[NH_K_LABEL];
    size_t points; /* points from here up to, and without, the next corner; at least 1 */
    bool jump;     /* the path is broken here: the next corner follows without a step in distance */
} nh_k_node;

/* Zeroed arrays for `count` points, equal weights. */
int nh_kpoints_new(size_t count, nh_k_mode mode, nh_kpoints *out, nh_error *err);
void nh_kpoints_free(nh_kpoints *k);

/* b[3][3]: rows b1, b2, b3 with a_i . b_j = 2 pi delta_ij, 1/Å. Fails for a lattice without volume. */
int nh_reciprocal(const double lattice[9], double b[9], nh_error *err);
/* Length of a fractional vector, 1/Å. */
double nh_k_length(const double b[9], const double k[3]);

/* The mesh of n[0] x n[1] x n[2] points in ABACUS's order (first index fastest) and by its formulas, i
 * = 1..n: Gamma-centred (i - 1 + shift)/n, Monkhorst-Pack (2 i - n - 1 + shift)/(2 n). */
int nh_kpoints_mesh(const int n[3], bool gamma, const double shift[3], nh_kpoints *out, nh_error *err);

/* At least length/|a_i| points along each lattice vector (length in Å): the same density of points for any cell. */
void nh_mesh_of_length(const double lattice[9], double length, int n[3]);
/* Index of -k of point i of a Gamma-centred mesh. */
size_t nh_mesh_opposite(const int n[3], size_t i);

/* "G 0 0 0; X .5 0 .5; U 5/8 1/4 5/8 | K 3/8 3/8 3/4; G 0 0 0": corners between ';' (label optional, numbers
 * or fractions),
 * '|' in place of ';' breaks the path. *node is allocated, the caller frees. Every corner gets `points`. */
int nh_path_parse(const char *text, size_t points, size_t *count, nh_k_node **node, nh_error *err);
/* Shares `total` points among the segments by their lengths (largest remainder, at least one each). */
int nh_path_share(const double lattice[9], size_t total, size_t count, nh_k_node *node, nh_error *err);
/* Points of a path: from each corner `points` of them with equal steps to the next one; a jump or the last
 * corner is one point. */
int nh_kpoints_path(const double lattice[9], size_t count, const nh_k_node *node, nh_kpoints *out,
                    nh_error *err);

/* Sets `distance` to the length of the polygon through the points; jump[i] (may be NULL): no length between
 * i-1 and i. */
int nh_kpoints_distances(const double lattice[9], const bool *jump, nh_kpoints *k, nh_error *err);
/* Divides the weights by their sum, which must be positive, with no weight negative. */
int nh_kpoints_normalise(nh_kpoints *k, nh_error *err);

#ifdef __cplusplus
}
#endif

#endif
