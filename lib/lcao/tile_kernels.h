/* tile_kernels.h - the two products of grid_basis.c. A tile's points are in groups of eight; an image of an
 * atom has values only in the groups that it reaches, [orbital][group][8], so that a product of two images
 * runs over the groups of both. */
#ifndef NH_LCAO_TILE_KERNELS_H
#define NH_LCAO_TILE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum {
    NH_GROUP = 8,       /* points */
    NH_GROUPS_MAX = 64, /* in a tile */
    NH_ROWS_MAX = 5     /* orbitals whose sums are in registers */
};

/* Where a group begins in the rows of the first image, and in those of the second. */
typedef struct nh_group_pair {
    uint16_t a, b;
} nh_group_pair;

/* m[i * ld + j] = sum over the points of n groups of a_i b_j: rows 1 .. NH_ROWS_MAX of a, all columns of b.
 */
void nh_tile_product(size_t n, const nh_group_pair *at, size_t rows, const double *a, size_t stride_a,
                     size_t columns, const double *b, size_t stride_b, double *m, size_t ld);

enum { NH_CHUNK = 4 }; /* groups whose sums are in registers */

/* sum[i][g][8] += sum_j p[i * ld + j] b_j(group g): b[g] is the first row of group g, stride[g] from row to
 * row. */
void nh_tile_sums(size_t rows, const double *p, size_t ld, size_t columns, const double *const b[NH_CHUNK],
                  const size_t stride[NH_CHUNK], double *sum);

#endif
