/* ops.h - the operations that the network is made of (docs/network.md 2 and 3), forward and backward.
 * What each one computes is fixed by its arguments alone: shapes (a layout or table of lib/plan, and n rows),
 * inputs, weights, output. Kernels for other devices mirror these one to one.
 *
 * Every function exists for float (suffix _f) and for double (_d). x, y and the like are tiles of n rows in
 * the grouped layout (plan/layout.h) where a layout is given, and plain matrices [n][width] otherwise.
 * Nothing is allocated, nothing can fail; output never overlaps input unless said. Row counts times 2l+1 must
 * fit an int (they are tiles).
 *
 * X_backward goes from the gradient of X's output to those of its inputs. In all of them: g.. of an output is
 * read only; gx and the like, gradients of an input, are written (added to where `add`), NULL: not wanted;
 * gradients of parameters are always added to (+=), in the parameter's packed form, NULL: not wanted. A
 * gradient has the shape of what it belongs to. Y and r, and what comes from them alone, are constants. */
#ifndef NH_OPS_PASS
#ifndef NH_OPS_OPS_H
#define NH_OPS_OPS_H

#include "plan/frame.h"
#include "plan/layout.h"
#include "plan/lift.h"
#include "plan/product.h"

#define NH_OPS_PASS
#define NH_REAL float
#define NH_NAME(name) name##_f
#include "ops/ops.h"
#undef NH_REAL
#undef NH_NAME
#define NH_REAL double
#define NH_NAME(name) name##_d
#include "ops/ops.h"
#undef NH_REAL
#undef NH_NAME
#undef NH_OPS_PASS

#endif
#else

/* ---- matrix products (gemm.c) */

/* C[m][n] = A B, added to C where `add`: A[m][k], or its transpose [k][m]; B[k][n], or its transpose [n][k]. lda, ldb
 * and ldc: from row to row, as stored. Row-major. Our own: a row of C does not depend on the others. */
void NH_NAME(nh_gemm)(nh_method method, bool a_transposed, bool b_transposed, size_t m, size_t n, size_t k,
                      const NH_REAL *a, size_t lda, const NH_REAL *b, size_t ldb, bool add, NH_REAL *c,
                      size_t ldc);

/* A matrix B[k][n], or its transpose, as panels of columns one after another, for many products with few rows:
 * how many numbers; the panels; and C[m][n] = A B with them (our own kernels). */
size_t NH_NAME(nh_panels_size)(size_t n, size_t k);
void NH_NAME(nh_panels)(bool b_transposed, size_t n, size_t k, const NH_REAL *b, size_t ldb, NH_REAL *panels);
void NH_NAME(nh_gemm_panels)(size_t m, size_t n, size_t k, const NH_REAL *a, size_t lda,
                             const NH_REAL *panels, bool add, NH_REAL *c, size_t ldc);

/* ---- rows and tiles (rows.c) */

/* Tile from e3nn-order vectors x[n][dim], and back. */
void NH_NAME(nh_from_e3nn)(const nh_layout *layout, size_t n, const NH_REAL *x, NH_REAL *tile);
void NH_NAME(nh_to_e3nn)(const nh_layout *layout, size_t n, const NH_REAL *tile, NH_REAL *x);
/* Tile from the stored rows row[t] (NULL: 0, 1, ..) of array[...][dim], back to them, or added to the tile. */
void NH_NAME(nh_rows_load)(const nh_layout *layout, size_t n, const size_t *row, const NH_REAL *array,
                           NH_REAL *tile);
void NH_NAME(nh_rows_store)(const nh_layout *layout, size_t n, const size_t *row, const NH_REAL *tile,
                            NH_REAL *array);
void NH_NAME(nh_rows_add)(const nh_layout *layout, size_t n, const size_t *row, const NH_REAL *array,
                          NH_REAL *tile);
/* array[row[t]] += row t of the tile, in the order of the tile: backward of load and add (that of store is
 * load, and from_e3nn and to_e3nn are each other's). */
void NH_NAME(nh_rows_load_backward)(const nh_layout *layout, size_t n, const size_t *row, const NH_REAL *tile,
                                    NH_REAL *array);

/* Row t of the tile = sum of the stored rows list[k] (NULL: k itself), k = begin[t] .. begin[t+1]-1, less those whose slot
 * is SIZE_MAX (slot NULL: none). */
void NH_NAME(nh_rows_sum)(const nh_layout *layout, size_t n, const size_t *begin, const size_t *list,
                          const size_t *slot, const NH_REAL *array, NH_REAL *tile);
/* Matrices: to[n][width_to] from column at_to on = `width` columns of from[..][width_from] from at_from on, rows `row`
 * (NULL: 0, 1, ..) of `from`; or, where `back`, rows `row` of `to` from those of `from` in order. */
void NH_NAME(nh_columns)(size_t n, size_t width, const NH_REAL *from, size_t width_from, size_t at_from,
                         NH_REAL *to, size_t width_to, size_t at_to, const size_t *row, bool back);
/* The first channels of each group of a tile x of `many`, as many as `few` has of that irrep, to a tile y of `few`; and
 * back (added to x where `add`). `many` has every irrep of `few`. */
void NH_NAME(nh_take_channels)(const nh_layout *many, const nh_layout *few, size_t n, const NH_REAL *x,
                               NH_REAL *y);
void NH_NAME(nh_put_channels)(const nh_layout *many, const nh_layout *few, size_t n, const NH_REAL *y,
                              bool add, NH_REAL *x);
/* y[i] = x[i] + factor z[i]; y may be x */
void NH_NAME(nh_axpy)(size_t n, const NH_REAL *x, NH_REAL factor, const NH_REAL *z, NH_REAL *y);
/* x[t][width] *= factor[t] */
void NH_NAME(nh_scale_rows)(size_t n, size_t width, const NH_REAL *factor, NH_REAL *x);
/* x[n][width] = value[width] in each row; or x += value */
void NH_NAME(nh_fill_rows)(size_t n, size_t width, const NH_REAL *value, bool add, NH_REAL *x);
/* sum[width] += sum_t a[t*ld + i] b[t*ld + i] (b NULL: a alone), in the order of the rows */
void NH_NAME(nh_column_sums)(size_t n, size_t width, size_t ld, const NH_REAL *a, const NH_REAL *b,
                             NH_REAL *sum);

/* ---- linear (linear.c): docs/network.md 2.1 */

/* Packs tp.weight (flat) and the biases for a map; gather by map->source. */
void NH_NAME(nh_linear_pack)(const nh_linear_map *map, const NH_REAL *flat, NH_REAL *weight);
/* y_o[t][m][w] = sum_u W[u][w] x_i[t][m][u] for every group of the output, + bias[n_bias] on 0e (NULL: none);
 * added to y where `add`. */
void NH_NAME(nh_linear_forward)(const nh_linear_map *map, size_t n, const NH_REAL *x, const NH_REAL *weight,
                                const NH_REAL *bias, bool add, NH_REAL *y);
/* The same for one group of the output; x, y are the matrices of the groups involved. */
void NH_NAME(nh_linear_group_forward)(const nh_linear_map *map, size_t group, size_t n, const NH_REAL *x,
                                      const NH_REAL *weight, const NH_REAL *bias, bool add, NH_REAL *y);
/* flat += the packed gradient at the places that nh_linear_pack read. */
void NH_NAME(nh_linear_unpack_add)(const nh_linear_map *map, const NH_REAL *packed, NH_REAL *flat);
/* gx_i[t][m][u] = sum_w W[u][w] gy_o[t][m][w], 0 for groups of the input that feed nothing; gw += x^T gy,
 * gbias[n_bias] += sum_t gy. x may be NULL where gw is. */
void NH_NAME(nh_linear_backward)(const nh_linear_map *map, size_t n, const NH_REAL *gy, const NH_REAL *x,
                                 const NH_REAL *weight, NH_REAL *gx, bool add, NH_REAL *gw, NH_REAL *gbias);
/* The same for one group of the output; gy, x, gx are the matrices of the groups involved, weight, gw, gbias
 * whole. A group that nothing feeds has gbias only. */
void NH_NAME(nh_linear_group_backward)(const nh_linear_map *map, size_t group, size_t n, const NH_REAL *gy,
                                       const NH_REAL *x, const NH_REAL *weight, NH_REAL *gx, bool add,
                                       NH_REAL *gw, NH_REAL *gbias);

/* ---- norms and gate (norm.c, gate.c) */

/* Equivariant layer norm, docs/network.md 2.2, one group per entry: gain[channels] in the order of the groups,
 * shift[mul of 0e]; eps > 0 is added to the mean square under the root (OPTIONS.md 3). y may be x. */
void NH_NAME(nh_norm_forward)(const nh_layout *layout, size_t n, const NH_REAL *x, double eps,
                              const NH_REAL *gain, const NH_REAL *shift, NH_REAL *y);
/* x: the input (not the output). gx may be gy where not `add`. */
void NH_NAME(nh_norm_backward)(const nh_layout *layout, size_t n, const NH_REAL *gy, const NH_REAL *x,
                               double eps, const NH_REAL *gain, NH_REAL *gx, bool add, NH_REAL *ggain,
                               NH_REAL *gshift);
/* Gate, docs/network.md 2.3: x of `in` (GIN), y of `out`; first[g] = column of x's 0e matrix with the gate of the
 * first channel of y's group g (first[0] is not used). */
void NH_NAME(nh_gate_forward)(const nh_layout *in, const nh_layout *out, const size_t *first, size_t n,
                              const NH_REAL *x, NH_REAL *y);
/* gx of `in`, all of it written. */
void NH_NAME(nh_gate_backward)(const nh_layout *in, const nh_layout *out, const size_t *first, size_t n,
                               const NH_REAL *gy, const NH_REAL *x, NH_REAL *gx);

/* ---- dense layers (dense.c): docs/network.md 2.4 */

/* A chain of DENSE, each but the last followed by LN (where gain is not NULL) and silu. */
typedef struct NH_NAME(nh_mlp) {
    size_t layers;       /* dense maps, at least 1 */
    const size_t *width; /* [layers+1]: of the input, of each hidden layer, of the output */
    NH_REAL **weight;    /* [layers] -> [width[i+1]][width[i]] */
    /* [2][layers] -> panels of the weights' transposes (forward) and of the weights (backward), which products
     * are faster with; NULL: not there */
    NH_REAL **panels;
    NH_REAL **bias;          /* [layers], NULL: none */
    NH_REAL **gain, **shift; /* [layers-1], of LN; all NULL: no LN */
    NH_REAL eps;
    nh_method method;
} NH_NAME(nh_mlp);
/* Numbers that the hidden layers take per row: each its activation and its normalised sum, and one
 * 1/sqrt(var+eps). */
size_t NH_NAME(nh_mlp_hidden_size)(const NH_NAME(nh_mlp) *m);
/* y[n][width[layers]] = the chain of x[n][width[0]], added where `add`; y = NULL: hidden layers only.
 * hidden[n*hidden_size] is kept for the gradient. */
void NH_NAME(nh_mlp_forward)(const NH_NAME(nh_mlp) *m, size_t n, const NH_REAL *x, NH_REAL *hidden,
                             NH_REAL *y, bool add);
/* Activation of the last hidden layer [n][width[layers-1]] within `hidden`. */
const NH_REAL *NH_NAME(nh_mlp_last_hidden)(const NH_NAME(nh_mlp) *m, size_t n, const NH_REAL *hidden);
/* Gradient of the input gx[n][width[0]] from g[n][width[layers-1]], the gradient of the last hidden
 * activation; g and scratch[n * widest hidden layer] are overwritten. */
void NH_NAME(nh_mlp_input_gradient)(const NH_NAME(nh_mlp) *m, size_t n, NH_REAL *g, const NH_REAL *hidden,
                                    NH_REAL *scratch, NH_REAL *gx);
/* Where the gradients of a chain's parameters are added, shaped like the chain's; each table may be NULL, and
 * so may its elements. */
typedef struct NH_NAME(nh_mlp_gradient) {
    NH_REAL **weight, **bias; /* [layers] */
    NH_REAL **gain, **shift;  /* [layers-1] */
} NH_NAME(nh_mlp_gradient);
/* gy[n][width[layers]], x and hidden of nh_mlp_forward; scratch[n * 2 * widest hidden layer];
 * gx[n][width[0]]; g NULL: gx only. */
void NH_NAME(nh_mlp_backward)(const NH_NAME(nh_mlp) *m, size_t n, const NH_REAL *gy, const NH_REAL *x,
                              const NH_REAL *hidden, NH_REAL *scratch, NH_REAL *gx, bool add,
                              const NH_NAME(nh_mlp_gradient) *g);
/* The chain and its derivative along a direction: x[2n][width[0]] = n rows of values, then n rows of tangents
 * dx; y[2n][width[layers]] = values, then tangents dy (y = NULL: hidden layers only). kept[n*jvp_size]. */
size_t NH_NAME(nh_mlp_jvp_size)(const NH_NAME(nh_mlp) *m);
void NH_NAME(nh_mlp_jvp_forward)(const NH_NAME(nh_mlp) *m, size_t n, const NH_REAL *x, NH_REAL *kept,
                                 NH_REAL *y);
/* Gradient of sum(gy y) + sum(gdy dy), gy and gdy [n][width[layers]]: gx[2n][width[0]] with respect to x,
 * then dx. gy NULL: zeros; gdy NULL: ones. scratch[n * 4 * widest hidden layer]. */
void NH_NAME(nh_mlp_jvp_backward)(const NH_NAME(nh_mlp) *m, size_t n, const NH_REAL *gy, const NH_REAL *gdy,
                                  const NH_REAL *x, const NH_REAL *kept, NH_REAL *scratch, NH_REAL *gx,
                                  const NH_NAME(nh_mlp_gradient) *g);
/* Fills the panels of a layer from its weights. */
void NH_NAME(nh_mlp_panels)(const NH_NAME(nh_mlp) *m, size_t layer);
/* x = silu(x), n numbers */
void NH_NAME(nh_silu_forward)(size_t n, NH_REAL *x);
/* g *= silu'(x), x as before nh_silu_forward */
void NH_NAME(nh_silu_backward)(size_t n, const NH_REAL *x, NH_REAL *g);
/* y[n][out] (+)= x[n][in] weight[out][in]^T + bias */
void NH_NAME(nh_dense_forward)(nh_method method, size_t n, size_t in, size_t out, const NH_REAL *x,
                               const NH_REAL *weight, const NH_REAL *bias, bool add, NH_REAL *y);
/* gx[n][in] = gy weight, gw[out][in] += gy^T x, gbias[out] += sum_t gy. x may be NULL where gw is. (A product
 * of weights F[z][p] = L[z][h] B[p][h]^T is nh_dense_forward(z, h, p, L, B): its backward is this one too.)
 */
void NH_NAME(nh_dense_backward)(nh_method method, size_t n, size_t in, size_t out, const NH_REAL *gy,
                                const NH_REAL *x, const NH_REAL *weight, NH_REAL *gx, bool add, NH_REAL *gw,
                                NH_REAL *gbias);

/* ---- radial basis (radial.c): docs/network.md 2.5 */

/* g[t*ld + k] = exp(-(r_t - c_k)^2/(2w^2)), c_k = rmax*k/(basis-1), w = rmax/2/basis */
void NH_NAME(nh_gaussians_forward)(size_t n, size_t basis, double rmax, const double *r, size_t ld,
                                   NH_REAL *g);

/* ---- depthwise tensor product (product.c): docs/network.md 2.7 */

/* m[k][n] = the matrices M of n edges (plan/product.h), edge fastest, from y[n_harmonic][n]. */
void NH_NAME(nh_coupling_forward)(const nh_product *p, size_t n, const NH_REAL *y, NH_REAL *m);
/* One group of the output, out[n][2l+1][mul]: out[t][c][channel+u] = w[t*stride + weight + u] sum_a M_t[a][c]
 * x[t][a][u] over the group's paths. stride 0: all rows share the weights. */
void NH_NAME(nh_product_forward)(const nh_product *p, size_t group, size_t n, const NH_REAL *x,
                                 const NH_REAL *m, const NH_REAL *w, size_t stride, NH_REAL *out);
/* gout[n][2l+1][mul] of the group. gx (the whole tile of p->in) is ADDED to: several groups contribute. gw:
 * with a stride the rows' weights are inputs, gw[t*stride + ..] is written for the paths of this group, so
 * that all groups together write all of it; with stride 0 it is added to, summed over the rows. */
void NH_NAME(nh_product_backward)(const nh_product *p, size_t group, size_t n, const NH_REAL *gout,
                                  const NH_REAL *x, const NH_REAL *m, const NH_REAL *w, size_t stride,
                                  NH_REAL *gx, NH_REAL *gw);

/* ---- the same in the frame of the edge, with the linear map after it (frame.c): plan/frame.h */

/* The rotations d[n][n_rotation] of n displacements v[n][3] that turn v onto the z axis, and along[n]: 1, or 0 where v is
 * shorter than 1e-12: no direction, d is that of (0,0,1) and paths with j > 0 give nothing. In double precision inside. */
void NH_NAME(nh_frame_forward)(const nh_frame *f, size_t n, const double *v, NH_REAL *d, NH_REAL *along);
/* x[t][c][u] = sum_a D_t[c][a] x[t][a][u] in place, into the frames of the edges; `back`: D transposed, out of them. The one
 * is the other's backward. */
void NH_NAME(nh_rotate)(const nh_frame *f, const nh_layout *layout, size_t n, const NH_REAL *d, bool back,
                        NH_REAL *x);
/* The rows m and -m of one group of the product, of x in the frame, the channels that paths reach: out[n][count] of row m, then
 * as many of row -m where m > 0. w, stride: as in nh_product_forward. */
void NH_NAME(nh_aligned_forward)(const nh_frame *f, size_t group, int m, size_t n, const NH_REAL *x,
                                 const NH_REAL *along, const NH_REAL *w, size_t stride, NH_REAL *out);
/* gout as out. gx (the whole tile) and gw (of all rows, or with stride 0 summed over them) are ADDED to: several groups and
 * rows contribute. */
void NH_NAME(nh_aligned_backward)(const nh_frame *f, size_t group, int m, size_t n, const NH_REAL *gout,
                                  const NH_REAL *x, const NH_REAL *along, const NH_REAL *w, size_t stride,
                                  NH_REAL *gx, NH_REAL *gw);
/* The packed weights of a map that reads the product, with its channels in the frame's order: as many numbers. */
void NH_NAME(nh_aligned_pack)(const nh_frame *f, const nh_linear_map *map, const NH_REAL *weight,
                              NH_REAL *aligned);
/* gweight += gradient of the packed weights from that of `aligned`: its transpose. */
void NH_NAME(nh_aligned_unpack_add)(const nh_frame *f, const nh_linear_map *map, const NH_REAL *galigned,
                                    NH_REAL *gweight);
/* Rows m and -m of group o of the map's output, a tile's y[n][2l+1][mul], from those of the product. bias: as in
 * nh_linear_forward, with m = 0. The group is one that is fed. */
void NH_NAME(nh_aligned_linear_forward)(const nh_frame *f, const nh_linear_map *map, size_t o, int m,
                                        size_t n, const NH_REAL *x, const NH_REAL *aligned,
                                        const NH_REAL *bias, NH_REAL *y);
/* gx as x; gbias with m = 0. */
void NH_NAME(nh_aligned_linear_backward)(const nh_frame *f, const nh_linear_map *map, size_t o, int m,
                                         size_t n, const NH_REAL *gy, const NH_REAL *x,
                                         const NH_REAL *aligned, NH_REAL *gx, bool add, NH_REAL *galigned,
                                         NH_REAL *gbias);
/* Product with the weights w[n_weight] that all edges share and the map after it in one: the matrices folded[nh_folded_size],
 * and y of the map's output, but for groups that nothing feeds, from x, both in the frame; room[2n * f->most]. */
void NH_NAME(nh_folded_pack)(const nh_frame *f, const nh_linear_map *map, const NH_REAL *w,
                             const NH_REAL *weight, NH_REAL *folded);
void NH_NAME(nh_folded_forward)(const nh_frame *f, const nh_linear_map *map, size_t n, const NH_REAL *x,
                                const NH_REAL *along, const NH_REAL *folded, const NH_REAL *bias,
                                NH_REAL *room, NH_REAL *y);
/* gx (the whole tile) is ADDED to; room[4n * f->most]. gw and gweight from gfolded: the transpose of nh_folded_pack. */
void NH_NAME(nh_folded_backward)(const nh_frame *f, const nh_linear_map *map, size_t n, const NH_REAL *gy,
                                 const NH_REAL *x, const NH_REAL *along, const NH_REAL *folded, NH_REAL *room,
                                 NH_REAL *gx, NH_REAL *gfolded, NH_REAL *gbias);
void NH_NAME(nh_folded_unpack_add)(const nh_frame *f, const nh_linear_map *map, const NH_REAL *w,
                                   const NH_REAL *weight, const NH_REAL *gfolded, NH_REAL *gw,
                                   NH_REAL *gweight);

/* ---- channel-wise product of two features (lift.c): network/OPTIONS.md 1.3 */

/* One group of the output, out[n][2l+1][mul]: out[t][c][channel+u] = w[weight + u] sum_ab sqrt(2l+1)
 * C[a][b][c] x[t][a][u] y[t][b][u] over the group's paths; x, y: tiles of p->in; w[n_weight]. */
void NH_NAME(nh_lift_forward)(const nh_lift *p, size_t group, size_t n, const NH_REAL *x, const NH_REAL *y,
                              const NH_REAL *w, NH_REAL *out);
/* gout[n][2l+1][mul] of the group. gx and gy (whole tiles) are ADDED to: several groups contribute; so is gw.
 */
void NH_NAME(nh_lift_backward)(const nh_lift *p, size_t group, size_t n, const NH_REAL *gout,
                               const NH_REAL *x, const NH_REAL *y, const NH_REAL *w, NH_REAL *gx, NH_REAL *gy,
                               NH_REAL *gw);

/* ---- attention (attention.c): docs/network.md 3.4. Channel u of a group with heads*mu channels belongs to head u
 * div mu. */

/* y = (a . v) for the rows row[n_row] of the tile v of n rows: a[t][heads]; y is a tile of n_row rows. */
void NH_NAME(nh_heads_forward)(const nh_layout *layout, size_t heads, size_t n, size_t n_row,
                               const size_t *row, const NH_REAL *a, const NH_REAL *v, NH_REAL *y);
/* gy: tile of n_row rows; ga[n][heads], gv: tile of n rows; 0 for the rows not in row[] unless `add`. */
void NH_NAME(nh_heads_backward)(const nh_layout *layout, size_t heads, size_t n, size_t n_row,
                                const size_t *row, const NH_REAL *gy, const NH_REAL *a, const NH_REAL *v,
                                NH_REAL *ga, NH_REAL *gv, bool add);
/* Rows first..first+count-1 of a tile, all with the same destination: max[heads] of a, sum[heads] = sum_t
 * copies[t] exp(a-max), value[dim] = sum_t copies[t] exp(a-max) v_t (one stored row). */
void NH_NAME(nh_softmax_partial_forward)(const nh_layout *layout, size_t heads, size_t n, size_t first,
                                         size_t count, const NH_REAL *a, const NH_REAL *copies,
                                         const NH_REAL *v, NH_REAL *max, NH_REAL *sum, NH_REAL *value);
/* Merges `count` partial results of one node: y[dim] = sum_e B_e v_e with B as in 3.4 (1e-16 in the
 * denominator); 0 for none. */
void NH_NAME(nh_softmax_merge_forward)(const nh_layout *layout, size_t heads, size_t count,
                                       const NH_REAL *max, const NH_REAL *sum, const NH_REAL *value,
                                       NH_REAL *y);
/* What the edges of a node need for the backward pass, from its partial results, its y and the gradient
 * gy[dim]: max_all[heads] over all edges, total[heads] = the denominator, dot[heads] = gy . y over a head's
 * numbers. */
void NH_NAME(nh_softmax_merge_backward)(const nh_layout *layout, size_t heads, size_t count,
                                        const NH_REAL *gy, const NH_REAL *max, const NH_REAL *sum,
                                        const NH_REAL *y, NH_REAL *max_all, NH_REAL *total, NH_REAL *dot);
/* Rows first..first+count-1 of a tile of n, all with the destination that gy, max_all, total and dot belong
 * to: gv_t = B_t gy, ga_t = B_t (gy . v_t - dot), B_t = copies[t] exp(a_t - max_all)/total. Other rows are
 * left as they are. */
void NH_NAME(nh_softmax_partial_backward)(const nh_layout *layout, size_t heads, size_t n, size_t first,
                                          size_t count, const NH_REAL *gy, const NH_REAL *max_all,
                                          const NH_REAL *total, const NH_REAL *dot, const NH_REAL *a,
                                          const NH_REAL *copies, const NH_REAL *v, NH_REAL *ga, NH_REAL *gv,
                                          bool add);

/* ---- TraceGrad (invariants.c): docs/network.md 3.5 */

/* q[n][layout->pairs] = x_i[u] . x_i[v], u <= v, v fastest, group after group. */
void NH_NAME(nh_pairs_forward)(const nh_layout *layout, size_t n, const NH_REAL *x, NH_REAL *q);
/* dq = derivative of q along dx: x_u . dx_v + dx_u . x_v. Bilinear and symmetric: the gradient of sum(g dq)
 * with respect to x is nh_pairs_backward at dx. */
void NH_NAME(nh_pairs_tangent_forward)(const nh_layout *layout, size_t n, const NH_REAL *x, const NH_REAL *dx,
                                       NH_REAL *dq);
/* gx = gradient with respect to x of sum(gq q), gq[n][pairs]. */
void NH_NAME(nh_pairs_backward)(const nh_layout *layout, size_t n, const NH_REAL *gq, const NH_REAL *x,
                                NH_REAL *gx, bool add);
/* Symmetrised fctp.weight with its 1/sqrt(X(2l+1)): w[pairs][hidden] from flat (blocks [mul][mul][hidden] in
 * the order of the entries), so that u = q w. */
void NH_NAME(nh_pairs_pack)(const nh_layout *layout, size_t hidden, const NH_REAL *flat, NH_REAL *w);
/* flat += gradient of fctp.weight from that of w: its transpose. */
void NH_NAME(nh_pairs_unpack_add)(const nh_layout *layout, size_t hidden, const NH_REAL *gw, NH_REAL *flat);
/* k[n] = scale |x|/(|y|+1e-5), norms over each row. */
void NH_NAME(nh_tracegrad_factor_forward)(const nh_layout *layout, size_t n, double scale, const NH_REAL *x,
                                          const NH_REAL *y, NH_REAL *k);
/* x += k y with k[n] of nh_tracegrad_factor_forward */
void NH_NAME(nh_tracegrad_add_forward)(const nh_layout *layout, size_t n, const NH_REAL *k, const NH_REAL *y,
                                       NH_REAL *x);
/* gy_t = k_t g_t; k is a constant for backpropagation, so that gx = g: nothing to do. gy may be g. */
void NH_NAME(nh_tracegrad_add_backward)(const nh_layout *layout, size_t n, const NH_REAL *k, const NH_REAL *g,
                                        NH_REAL *gy);
/* Backward of all of 3.5 from x to z = the chain m of q(x) and y = d(sum z)/dx, second derivatives included:
 * the gradient of sum(gz z) + sum(gy y). m's first layer takes q (bilinear form and first layer in one
 * matrix); gz[n][width[layers]], NULL: zeros; gy, gx: tiles of `layout`; gy NULL: z only. Values are computed
 * anew: work[n*invariants_work]. sum(gy y) is the derivative of sum z along gy, so this is reverse mode
 * through nh_mlp_jvp_forward with the tangent dq(x, gy). */
size_t NH_NAME(nh_invariants_work)(const nh_layout *layout, const NH_NAME(nh_mlp) *m);
void NH_NAME(nh_invariants_backward)(const nh_layout *layout, const NH_NAME(nh_mlp) *m, size_t n,
                                     const NH_REAL *gz, const NH_REAL *gy, const NH_REAL *x, NH_REAL *work,
                                     NH_REAL *gx, bool add, const NH_NAME(nh_mlp_gradient) *g);

#endif
