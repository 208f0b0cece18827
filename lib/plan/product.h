/* product.h - the depthwise tensor product (docs/network.md 2.7) as tables, independent of the precision. */
#ifndef NH_PLAN_PRODUCT_H
#define NH_PLAN_PRODUCT_H

#include "nextham/config.h"
#include "plan/layout.h"

/* The harmonics Y of an edge are contracted with the 3j tensors first: for each distinct triple (l1,j,l3)
 * that a path has, the matrix M[a][c] = sqrt(2 l3+1) sum_b C^{l1 j l3}[a][b][c] Y_j[b]        [2l1+1][2l3+1]
 * which all paths with that triple and all their channels share. The matrices of an edge lie one after
 * another (n_matrix numbers). On the CPU this is the reference; plan/frame.h is faster. */
typedef struct nh_product_term {
    size_t y; /* index in Y, j*j + b */
    double value;
} nh_product_term;

typedef struct nh_product_path {
    size_t in;   /* group of x */
    size_t rows; /* 2l1+1 */
    size_t j;    /* degree of the harmonics */
    size_t mul;
    size_t matrix;  /* offset of M */
    size_t weight;  /* first weight */
    size_t channel; /* first channel in the output group */
} nh_product_path;

typedef struct nh_product {
    nh_layout in, out;
    size_t n_harmonic; /* (sh_lmax+1)^2 */
    size_t n_weight;
    size_t n_matrix;
    size_t *first_term;    /* [n_matrix+1] terms of each number of M; owned */
    nh_product_term *term; /* owned */
    nh_product_path *path; /* by output group; owned */
    size_t *first_path;    /* [out.count+1]; owned */
} nh_product;

/* Tables for the types of a configuration. */
int nh_product_new(const nh_types *t, nh_product *out, nh_error *err);
void nh_product_free(nh_product *p);

#endif
