/* ops.h - the operations of lib/ops on a device: the same names with nhk_ for nh_, the same packed weights, the same
 * features (grouped by irrep, channel fastest), the same results up to the order of sums. All pointers to numbers are on
 * the device, tables (layouts, maps, chains' lists of pointers) on the host. What differs from lib/ops/ops.h:
 *
 * - row[n] are int on the device, NULL: rows 0, 1, .. ; row numbers are taken less `base`
 * - harmonics and coupling matrices of an edge lie together: y[n][n_harmonic], m[n][n_matrix]
 * - softmax: all partial results of a tile (or all nodes) in one call
 * - the product is given its tables on the device, and so are to_e3nn and the pairs
 *
 * Sums are taken in an order that depends on the shapes alone. Each comment gives launch geometry, bytes and
 * multiply-adds; s is the size of a number, n the rows, dim the numbers in a row. */
#ifndef NHK_OPS_PASS
#ifndef NH_KERNELS_OPS_H
#define NH_KERNELS_OPS_H

#include "kernels/memory.h"
#include "ops/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

/* place[dim] on the device: number k of a stored row is number place[k] in e3nn order. */
int *nhk_e3nn_table(nh_gpu *g, const nh_layout *layout);
/* table[pairs] on the device: the two channels of each pair, 65536 group + 256 u + v. Fails beyond 256 channels. */
int *nhk_pairs_table(nh_gpu *g, const nh_layout *layout);

/* plan/product.h on the device. */
typedef struct nhk_product {
    const nh_product *host;
    void *path;               /* of the kernels */
    int *channel_path;        /* [out.channels] path that makes a channel of the output */
    int *first_term, *term_y; /* [n_matrix+1], [..] */
    double *term_value;       /* [..] */
} nhk_product;
/* `host` must outlive it. nhk_product_free also after a failure. */
void nhk_product_new(nh_gpu *g, const nh_product *host, nhk_product *out);
void nhk_product_free(nh_gpu *g, nhk_product *p);

/* plan/lift.h on the device. */
typedef struct nhk_lift {
    const nh_lift *host;
    void *path, *term;
    int *channel_path; /* [out.channels] */
} nhk_lift;
void nhk_lift_new(nh_gpu *g, const nh_lift *host, nhk_lift *out);
void nhk_lift_free(nh_gpu *g, nhk_lift *p);

/* The tables of nh_embedding_tables on the device. nhk_embedding_free also after a failure. */
nhk_embedding nhk_embedding_new(nh_gpu *g, const nhk_embedding *host);
void nhk_embedding_free(nh_gpu *g, nhk_embedding *t);

#define NHK_OPS_PASS
#define NH_REAL float
#define NH_NAME(name) name##_f
#include "kernels/ops.h"
#undef NH_REAL
#undef NH_NAME
#define NH_REAL double
#define NH_NAME(name) name##_d
#include "kernels/ops.h"
#undef NH_REAL
#undef NH_NAME
#undef NHK_OPS_PASS

#ifdef __cplusplus
}
#endif
#endif
#else

/* ---- rows and tiles (rows.cu): one thread a number, grid.y = groups where the layout is grouped; 2 n dim s bytes */

void NH_NAME(nhk_from_e3nn)(nh_gpu *g, const nh_layout *layout, const int *place, size_t n, const NH_REAL *x,
                            NH_REAL *tile);
void NH_NAME(nhk_to_e3nn)(nh_gpu *g, const nh_layout *layout, const int *place, size_t n, const NH_REAL *tile,
                          NH_REAL *x);
void NH_NAME(nhk_rows_load)(nh_gpu *g, const nh_layout *layout, size_t n, const int *row, int base,
                            const NH_REAL *array, NH_REAL *tile);
void NH_NAME(nhk_rows_store)(nh_gpu *g, const nh_layout *layout, size_t n, const int *row, int base,
                             const NH_REAL *tile, NH_REAL *array);
void NH_NAME(nhk_rows_add)(nh_gpu *g, const nh_layout *layout, size_t n, const int *row, int base,
                           const NH_REAL *array, NH_REAL *tile);
/* Row t of the tile = sum over i = begin[t]..begin[t+1]-1 of the stored rows list[i] (NULL: i), without those whose
 * slot is negative (slot NULL: all): nh_rows_load_backward, gathered. */
void NH_NAME(nhk_rows_sum)(nh_gpu *g, const nh_layout *layout, size_t n, const int *begin, const int *list,
                           const int *slot, const NH_REAL *array, NH_REAL *tile);
/* Matrices: to[n][width_to] from column at_to on = `width` columns of from[..][width_from] from at_from on, rows `row`
 * less base (NULL: 0, 1, ..) of `from`; or, where `back`, rows `row` of `to` from those of `from` in order. */
void NH_NAME(nhk_columns)(nh_gpu *g, size_t n, size_t width, const NH_REAL *from, size_t width_from,
                          size_t at_from, NH_REAL *to, size_t width_to, size_t at_to, const int *row,
                          int base, bool back);
/* The channels 0..mul-1 of each group of `few` out of a tile of `many` that has those irreps, and back (added where
 * `add`). */
void NH_NAME(nhk_take_channels)(nh_gpu *g, const nh_layout *many, const nh_layout *few, size_t n,
                                const NH_REAL *x, NH_REAL *y);
void NH_NAME(nhk_put_channels)(nh_gpu *g, const nh_layout *many, const nh_layout *few, size_t n,
                               const NH_REAL *y, bool add, NH_REAL *x);
/* y[i] = x[i] + factor z[i] */
void NH_NAME(nhk_axpy)(nh_gpu *g, size_t n, const NH_REAL *x, NH_REAL factor, const NH_REAL *z, NH_REAL *y);
/* x[t][width] *= factor[t] */
void NH_NAME(nhk_scale_rows)(nh_gpu *g, size_t n, size_t width, const NH_REAL *factor, NH_REAL *x);
/* x[n][width] = value[width] in each row; or x += value */
void NH_NAME(nhk_fill_rows)(nh_gpu *g, size_t n, size_t width, const NH_REAL *value, bool add, NH_REAL *x);
/* sum[width] += sum_t a[t*ld + i] b[t*ld + i] (b NULL: a alone), in two steps of fixed order; n width s (2 n width s)
 * bytes. */
void NH_NAME(nhk_column_sums)(nh_gpu *g, size_t n, size_t width, size_t ld, const NH_REAL *a,
                              const NH_REAL *b, NH_REAL *sum);

/* ---- linear (linear.cu): one GEMM a group of the output; sum over groups of n (2l+1) cin cout multiply-adds */

void NH_NAME(nhk_linear_forward)(nh_gpu *g, const nh_linear_map *map, size_t n, const NH_REAL *x,
                                 const NH_REAL *weight, const NH_REAL *bias, bool add, NH_REAL *y);
void NH_NAME(nhk_linear_group_forward)(nh_gpu *g, const nh_linear_map *map, size_t group, size_t n,
                                       const NH_REAL *x, const NH_REAL *weight, const NH_REAL *bias, bool add,
                                       NH_REAL *y);
void NH_NAME(nhk_linear_backward)(nh_gpu *g, const nh_linear_map *map, size_t n, const NH_REAL *gy,
                                  const NH_REAL *x, const NH_REAL *weight, NH_REAL *gx, bool add, NH_REAL *gw,
                                  NH_REAL *gbias);
void NH_NAME(nhk_linear_group_backward)(nh_gpu *g, const nh_linear_map *map, size_t group, size_t n,
                                        const NH_REAL *gy, const NH_REAL *x, const NH_REAL *weight,
                                        NH_REAL *gx, bool add, NH_REAL *gw, NH_REAL *gbias);

/* ---- parameters (linear.cu, invariants.cu, adam.cu): one thread a number; nothing is counted but bytes */

/* weight[i] = flat[source[i]] where source[n] is not negative (on the device; no two alike), and the way back: nh_linear_pack
 * and _unpack_add, for as many maps, and rows of other parameters, as there are. n (2 s + 4) bytes; n (3 s + 4) */
void NH_NAME(nhk_linear_pack)(nh_gpu *g, size_t n, const int *source, const NH_REAL *flat, NH_REAL *weight);
void NH_NAME(nhk_linear_unpack_add)(nh_gpu *g, size_t n, const int *source, const NH_REAL *packed,
                                    NH_REAL *flat);
/* The bilinear form of TraceGrad, w[pairs][hidden], with the pairs' table: 3 pairs hidden s bytes; 5 */
void NH_NAME(nhk_pairs_pack)(nh_gpu *g, const nh_layout *layout, const int *table, size_t hidden,
                             const NH_REAL *flat, NH_REAL *w);
void NH_NAME(nhk_pairs_unpack_add)(nh_gpu *g, const nh_layout *layout, const int *table, size_t hidden,
                                   const NH_REAL *gw, NH_REAL *flat);
/* training/adam.h on n numbers: the step, 7 n s bytes; the average, 3 n s; the 2-norm, *norm on the device: sums in double,
 * one warp a chunk of 8192 numbers, then one warp for all chunks, n s bytes. */
void NH_NAME(nhk_adam_step)(nh_gpu *g, const nhk_adam *o, size_t n, const NH_REAL *gradient, NH_REAL *m,
                            NH_REAL *v, NH_REAL *w);
void NH_NAME(nhk_weights_average)(nh_gpu *g, size_t n, double decay, const NH_REAL *w, NH_REAL *average);
void NH_NAME(nhk_weights_norm)(nh_gpu *g, size_t n, const NH_REAL *x, double *norm);

/* ---- norm and gate (norm.cu: one warp a row and group; gate.cu: one thread a number, or a channel on the way back);
 * 2 n dim s bytes forward, 3 n dim s backward */

void NH_NAME(nhk_norm_forward)(nh_gpu *g, const nh_layout *layout, size_t n, const NH_REAL *x, double eps,
                               const NH_REAL *gain, const NH_REAL *shift, NH_REAL *y);
void NH_NAME(nhk_norm_backward)(nh_gpu *g, const nh_layout *layout, size_t n, const NH_REAL *gy,
                                const NH_REAL *x, double eps, const NH_REAL *gain, NH_REAL *gx, bool add,
                                NH_REAL *ggain, NH_REAL *gshift);
void NH_NAME(nhk_gate_forward)(nh_gpu *g, const nh_layout *in, const nh_layout *out, const size_t *first,
                               size_t n, const NH_REAL *x, NH_REAL *y);
void NH_NAME(nhk_gate_backward)(nh_gpu *g, const nh_layout *in, const nh_layout *out, const size_t *first,
                                size_t n, const NH_REAL *gy, const NH_REAL *x, NH_REAL *gx);

/* ---- dense layers (dense.cu): GEMMs, and between them one warp a row: 3 n width s bytes a hidden layer. The chain's
 * lists are on the host, what they point to on the device. */

void NH_NAME(nhk_dense_forward)(nh_gpu *g, size_t n, size_t in, size_t out, const NH_REAL *x,
                                const NH_REAL *weight, const NH_REAL *bias, bool add, NH_REAL *y);
void NH_NAME(nhk_dense_backward)(nh_gpu *g, size_t n, size_t in, size_t out, const NH_REAL *gy,
                                 const NH_REAL *x, const NH_REAL *weight, NH_REAL *gx, bool add, NH_REAL *gw,
                                 NH_REAL *gbias);
size_t NH_NAME(nhk_mlp_hidden_size)(const NH_NAME(nh_mlp) *m);
void NH_NAME(nhk_mlp_forward)(nh_gpu *g, const NH_NAME(nh_mlp) *m, size_t n, const NH_REAL *x,
                              NH_REAL *hidden, NH_REAL *y, bool add);
const NH_REAL *NH_NAME(nhk_mlp_last_hidden)(const NH_NAME(nh_mlp) *m, size_t n, const NH_REAL *hidden);
void NH_NAME(nhk_mlp_input_gradient)(nh_gpu *g, const NH_NAME(nh_mlp) *m, size_t n, NH_REAL *gy,
                                     const NH_REAL *hidden, NH_REAL *scratch, NH_REAL *gx);
void NH_NAME(nhk_mlp_backward)(nh_gpu *g, const NH_NAME(nh_mlp) *m, size_t n, const NH_REAL *gy,
                               const NH_REAL *x, const NH_REAL *hidden, NH_REAL *scratch, NH_REAL *gx,
                               bool add, const NH_NAME(nh_mlp_gradient) *gradient);
size_t NH_NAME(nhk_mlp_jvp_size)(const NH_NAME(nh_mlp) *m);
void NH_NAME(nhk_mlp_jvp_forward)(nh_gpu *g, const NH_NAME(nh_mlp) *m, size_t n, const NH_REAL *x,
                                  NH_REAL *kept, NH_REAL *y);
void NH_NAME(nhk_mlp_jvp_backward)(nh_gpu *g, const NH_NAME(nh_mlp) *m, size_t n, const NH_REAL *gy,
                                   const NH_REAL *gdy, const NH_REAL *x, const NH_REAL *kept,
                                   NH_REAL *scratch, NH_REAL *gx, const NH_NAME(nh_mlp_gradient) *gradient);
void NH_NAME(nhk_silu_forward)(nh_gpu *g, size_t n, NH_REAL *x);
void NH_NAME(nhk_silu_backward)(nh_gpu *g, size_t n, const NH_REAL *x, NH_REAL *gy);

/* ---- geometry (radial.cu): one thread a Gaussian, one an edge */

void NH_NAME(nhk_gaussians_forward)(nh_gpu *g, size_t n, size_t basis, double rmax, const double *r,
                                    size_t ld, NH_REAL *out);
/* o3/harmonics.h in double precision, rounded at the end: v[n][3] -> y[n][(lmax+1)^2] */
void NH_NAME(nhk_harmonics_forward)(nh_gpu *g, int lmax, size_t n, const double *v, NH_REAL *y);

/* ---- depthwise tensor product (product.cu): one thread an edge and number of M; one an edge and channel of the output
 * group, x in registers, M read by all channels of a path at once. Sum over paths of n mul (2l1+1)(2l3+1) multiply-adds;
 * n (x + weights + M of the group's paths + out) s bytes */

void NH_NAME(nhk_coupling_forward)(nh_gpu *g, const nhk_product *p, size_t n, const NH_REAL *y, NH_REAL *m);
void NH_NAME(nhk_product_forward)(nh_gpu *g, const nhk_product *p, size_t group, size_t n, const NH_REAL *x,
                                  const NH_REAL *m, const NH_REAL *w, size_t stride, NH_REAL *out);
/* One thread an edge and channel of the *input*, over the group's paths from it: no two threads add to one number. */
void NH_NAME(nhk_product_backward)(nh_gpu *g, const nhk_product *p, size_t group, size_t n,
                                   const NH_REAL *gout, const NH_REAL *x, const NH_REAL *m, const NH_REAL *w,
                                   size_t stride, NH_REAL *gx, NH_REAL *gw);

/* ---- channel-wise product of two features (lift.cu): as the tensor product */

void NH_NAME(nhk_lift_forward)(nh_gpu *g, const nhk_lift *p, size_t group, size_t n, const NH_REAL *x,
                               const NH_REAL *y, const NH_REAL *w, NH_REAL *out);
void NH_NAME(nhk_lift_backward)(nh_gpu *g, const nhk_lift *p, size_t group, size_t n, const NH_REAL *gout,
                                const NH_REAL *x, const NH_REAL *y, const NH_REAL *w, NH_REAL *gx,
                                NH_REAL *gy, NH_REAL *gw);

/* ---- attention (attention.cu): one thread a number; one warp a sum */

void NH_NAME(nhk_heads_forward)(nh_gpu *g, const nh_layout *layout, size_t heads, size_t n, size_t n_row,
                                const int *row, int base, const NH_REAL *a, const NH_REAL *v, NH_REAL *y);
void NH_NAME(nhk_heads_backward)(nh_gpu *g, const nh_layout *layout, size_t heads, size_t n, size_t n_row,
                                 const int *row, int base, const NH_REAL *gy, const NH_REAL *a,
                                 const NH_REAL *v, NH_REAL *ga, NH_REAL *gv, bool add);
/* n_part runs of rows with one destination each: rows begin[p]-base .. begin[p+1]-base-1. */
void NH_NAME(nhk_softmax_partial_forward)(nh_gpu *g, const nh_layout *layout, size_t heads, size_t n,
                                          size_t n_part, const int *begin, int base, const NH_REAL *a,
                                          const NH_REAL *copies, const NH_REAL *v, NH_REAL *max, NH_REAL *sum,
                                          NH_REAL *value);
/* n_node nodes with the partial results begin[a] .. begin[a+1]-1 of max, sum, value each: y[n_node][dim]. */
void NH_NAME(nhk_softmax_merge_forward)(nh_gpu *g, const nh_layout *layout, size_t heads, size_t n_node,
                                        const int *begin, const NH_REAL *max, const NH_REAL *sum,
                                        const NH_REAL *value, NH_REAL *y);
void NH_NAME(nhk_softmax_merge_backward)(nh_gpu *g, const nh_layout *layout, size_t heads, size_t n_node,
                                         const int *begin, const NH_REAL *gy, const NH_REAL *max,
                                         const NH_REAL *sum, const NH_REAL *y, NH_REAL *max_all,
                                         NH_REAL *total, NH_REAL *dot);
/* All n rows of the tile; node[n] = destination of each, a row of gy[..][dim], max_all, total, dot[..][heads]. */
void NH_NAME(nhk_softmax_partial_backward)(nh_gpu *g, const nh_layout *layout, size_t heads, size_t n,
                                           const int *node, const NH_REAL *gy, const NH_REAL *max_all,
                                           const NH_REAL *total, const NH_REAL *dot, const NH_REAL *a,
                                           const NH_REAL *copies, const NH_REAL *v, NH_REAL *ga, NH_REAL *gv,
                                           bool add);

/* ---- TraceGrad (invariants.cu): one thread a pair, n pairs (2l+1) multiply-adds; one a channel on the way back,
 * n channels mul (2l+1); one warp a row for norms */

void NH_NAME(nhk_pairs_forward)(nh_gpu *g, const nh_layout *layout, const int *table, size_t n,
                                const NH_REAL *x, NH_REAL *q);
void NH_NAME(nhk_pairs_tangent_forward)(nh_gpu *g, const nh_layout *layout, const int *table, size_t n,
                                        const NH_REAL *x, const NH_REAL *dx, NH_REAL *dq);
void NH_NAME(nhk_pairs_backward)(nh_gpu *g, const nh_layout *layout, size_t n, const NH_REAL *gq,
                                 const NH_REAL *x, NH_REAL *gx, bool add);
void NH_NAME(nhk_tracegrad_factor_forward)(nh_gpu *g, const nh_layout *layout, size_t n, double scale,
                                           const NH_REAL *x, const NH_REAL *y, NH_REAL *k);
/* x += k y with k[n] of nhk_tracegrad_factor_forward */
void NH_NAME(nhk_tracegrad_add_forward)(nh_gpu *g, const nh_layout *layout, size_t n, const NH_REAL *k,
                                        const NH_REAL *y, NH_REAL *x);
void NH_NAME(nhk_tracegrad_add_backward)(nh_gpu *g, const nh_layout *layout, size_t n, const NH_REAL *k,
                                         const NH_REAL *gx, NH_REAL *gy);
size_t NH_NAME(nhk_invariants_work)(const nh_layout *layout, const NH_NAME(nh_mlp) *m);
void NH_NAME(nhk_invariants_backward)(nh_gpu *g, const nh_layout *layout, const int *table,
                                      const NH_NAME(nh_mlp) *m, size_t n, const NH_REAL *gz,
                                      const NH_REAL *gy, const NH_REAL *x, NH_REAL *work, NH_REAL *gx,
                                      bool add, const NH_NAME(nh_mlp_gradient) *gradient);

/* ---- Wigner-Eckart (embedding.cu), sums in double. About 10 terms a number: nnz of the rows multiply-adds, and 24 bytes of table for each,
 * which stay in the caches; else the blocks, 16 bytes an element and spin block, and the vectors. `edge` is on the device. */

/* nh_block_to_irreps for n edges, one thread a number: matrix[spin_blocks][stride][2] holds the elements from `origin` on -> out[n][dim] */
void NH_NAME(nhk_block_to_irreps)(nh_gpu *g, const nhk_embedding *t, size_t n, const nhk_block *edge,
                                  int spin_blocks, const double *matrix, size_t origin, size_t stride,
                                  double scale, NH_REAL *out);
/* nh_irreps_to_correction over `scale`, one block of threads an edge, one thread an element: vector[n][dim] of the edges which[n]
 * (NULL: 0, 1, ..), whose blocks are d[edge.start..]; added or written. */
void NH_NAME(nhk_irreps_to_correction)(nh_gpu *g, const nhk_embedding *t, size_t n, const nhk_block *edge,
                                       const int *which, const NH_REAL *vector, double scale, bool add,
                                       double *d);
/* nh_correction_to_irreps_adjoint over `scale`, one thread a number: g_d[edge.start..] -> vector[n][dim], zeros without a block */
void NH_NAME(nhk_correction_to_irreps_adjoint)(nh_gpu *g, const nhk_embedding *t, size_t n,
                                               const nhk_block *edge, const double *g_d, double scale,
                                               NH_REAL *vector);

#endif
