/* frame.h - the tensor product (plan/product.h) in the frame of the edge as tables, independent of the
 * precision.
 *
 * Where the z axis is the direction of the edge, only the components m = 0 of the harmonics are not zero,
 * sqrt(2j+1), and a path (l1,j,l3) couples x[m] with out[m] where l1+j+l3 is even, x[-m] with out[m] where it
 * is odd, by one number for each |m| <= min(l1,l3):
 *     even: out[m] = c x[m], out[-m] = c x[-m];     odd: out[m] = c x[-m], out[-m] = -c x[m], 0 for m = 0;
 *     c = sqrt((2 l3+1)(2j+1)) C^{l1 j l3}[l1 +- m][j][l3 + m].
 * Exact: the product is equivariant. Whether a path is even follows from the groups that it joins
 * (nh_frame_natural), since (-1)^j is the product of their parities. A row m of the output's group takes
 * channels of paths with l1 >= |m| only. They lie side by side when paths stand in this order: odd ones, l1
 * ascending, then even ones, l1 descending. No row is empty: every group of the result is one of x, too
 * (docs/network.md 2.7), which the path with j = 0 joins with it. */
#ifndef NH_PLAN_FRAME_H
#define NH_PLAN_FRAME_H

#include "plan/product.h"

/* One term of a number of d_l, the rotation about y by -b of degree l, out of those of d_1 and d_{l-1}. */
typedef struct nh_turn {
    unsigned char first;      /* index in d_1[3][3] */
    unsigned short to, lower; /* indices in d_l and d_{l-1} */
    double value;
} nh_turn;

typedef struct nh_frame_path {
    size_t path;     /* in product->path */
    size_t channel;  /* first channel in the output group, in the order of the frame */
    size_t constant; /* c for |m| = 0.. min(l1,l3) */
    bool odd;
} nh_frame_path;

typedef struct nh_frame {
    const nh_product *product; /* not owned */
    int lmax;                  /* of x, and so of the result */
    size_t n_rotation;         /* numbers of an edge's rotation: D_1, D_2, .. D_lmax, [2l+1][2l+1] each */
    nh_turn *turn;             /* owned */
    size_t *first_turn;        /* [lmax+2] those of each degree from 2; owned */
    nh_frame_path *path;       /* of output group g: product->first_path[g]..; owned */
    double *constant;          /* owned */
    struct nh_frame_row {
        size_t first, count; /* channels that the rows m and -m take */
    } * row;                 /* [out.count][lmax+1]; owned */
    size_t most;             /* largest number of channels of a row, or of a group of x */
} nh_frame;

/* Tables for a product, which must outlive them. */
int nh_frame_new(const nh_product *p, nh_frame *out, nh_error *err);
void nh_frame_free(nh_frame *f);

/* Where D_l is in an edge's rotation, l >= 1: sum of (2k+1)^2 for 1 <= k < l. */
static inline size_t nh_frame_degree(int l)
{
    const size_t n = (size_t)l;
    return n * (4 * n * n - 1) / 3 - 1;
}

/* Whether the group has the parity of the harmonics of its degree. A path is odd where one of its groups (of
 * x, of the result) is natural and the other is not; all other paths are even. */
static inline bool nh_frame_natural(const nh_group *g)
{
    return (g->p > 0) == (g->l % 2 == 0);
}

/* With weights that all edges share, the product and the linear map after it fold into one matrix for each
 * group of the map's output and each |m|. It acts on the components m (odd paths: -m) of all channels of x
 * and has K x cout numbers, K = nh_frame_columns. One more matrix, from the group of x with the same irrep,
 * is for edges without a direction. Returns the size of all these matrices. */
size_t nh_folded_size(const nh_frame *f, const nh_linear_map *map);
/* Channels of x that the rows m and -m of natural (or not) groups take: groups with l >= m, at m = 0 those
 * joined by even paths. */
size_t nh_frame_columns(const nh_frame *f, bool natural, int m);

#endif
