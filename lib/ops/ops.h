/* ops.h - the operations that the network is made of (network.md section 2), one C function each, forward.
 * What each one computes is fixed by its arguments alone: shapes (a layout or table of lib/plan, and n rows),
 * inputs, weights, output. Kernels for other devices mirror these one to one.
 *
 * Every function exists for float (suffix _f) and for double (_d). x, y and the like are tiles of n rows in
 * the grouped layout (plan/layout.h) where a layout is given, and plain matrices [n][width] otherwise.
 * Nothing is allocated, nothing can fail; output never overlaps input unless said. Row counts times 2l+1 must
 * fit an int (they are tiles). */
#ifndef NH_OPS_PASS
#ifndef NH_OPS_OPS_H
#define NH_OPS_OPS_H

#include "plan/layout.h"
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

/* ---- rows and tiles (rows.c) */

/* Tile from e3nn-order vectors x[n][dim], and back. */
void NH_NAME(nh_from_e3nn)(const nh_layout *layout, size_t n, const NH_REAL *x, NH_REAL *tile);
void NH_NAME(nh_to_e3nn)(const nh_layout *layout, size_t n, const NH_REAL *tile, NH_REAL *x);
/* Tile from the stored rows row[t] of array[...][dim], back to them, or added to the tile. */
void NH_NAME(nh_rows_load)(const nh_layout *layout, size_t n, const size_t *row, const NH_REAL *array,
                           NH_REAL *tile);
void NH_NAME(nh_rows_store)(const nh_layout *layout, size_t n, const size_t *row, const NH_REAL *tile,
                            NH_REAL *array);
void NH_NAME(nh_rows_add)(const nh_layout *layout, size_t n, const size_t *row, const NH_REAL *array,
                          NH_REAL *tile);

/* ---- linear (linear.c): network.md 2.1 */

/* Packs tp.weight (flat) and the biases for a map; gather by map->source. */
void NH_NAME(nh_linear_pack)(const nh_linear_map *map, const NH_REAL *flat, NH_REAL *weight);
/* y_o[t][m][w] = sum_u W[u][w] x_i[t][m][u] for every group of the output, + bias[n_bias] on 0e (NULL: none);
 * added to y where `add`. */
void NH_NAME(nh_linear_forward)(const nh_linear_map *map, size_t n, const NH_REAL *x, const NH_REAL *weight,
                                const NH_REAL *bias, bool add, NH_REAL *y);
/* The same for one group of the output; x, y are the matrices of the groups involved. */
void NH_NAME(nh_linear_group_forward)(const nh_linear_map *map, size_t group, size_t n, const NH_REAL *x,
                                      const NH_REAL *weight, const NH_REAL *bias, bool add, NH_REAL *y);

/* ---- norms and gate (norm.c, gate.c) */

/* Equivariant layer norm, network.md 2.2, one group per entry: gain[channels] in the order of the groups,
 * shift[mul of 0e]. y may be x. */
void NH_NAME(nh_norm_forward)(const nh_layout *layout, size_t n, const NH_REAL *x, const NH_REAL *gain,
                              const NH_REAL *shift, NH_REAL *y);
/* Gate, network.md 2.3: x of `in` (GIN), y of `out`; first[g] = column of x's 0e matrix with the gate of the
 * first channel of y's group g (first[0] is not used). */
void NH_NAME(nh_gate_forward)(const nh_layout *in, const nh_layout *out, const size_t *first, size_t n,
                              const NH_REAL *x, NH_REAL *y);

/* ---- dense layers (dense.c): network.md 2.4 */

/* A chain of DENSE, each but the last followed by LN (where gain is not NULL) and silu. */
typedef struct NH_NAME(nh_mlp) {
    size_t layers;           /* dense maps, at least 1 */
    const size_t *width;     /* [layers+1]: of the input, of each hidden layer, of the output */
    NH_REAL **weight;        /* [layers] -> [width[i+1]][width[i]] */
    NH_REAL **bias;          /* [layers], NULL: none */
    NH_REAL **gain, **shift; /* [layers-1], of LN; all NULL: no LN */
    NH_REAL eps;
} NH_NAME(nh_mlp);
/* Numbers that the hidden layers take per row: each its activation and its normalised sum, and one
 * 1/sqrt(var+eps). */
size_t NH_NAME(nh_mlp_hidden_size)(const NH_NAME(nh_mlp) * m);
/* y[n][width[layers]] = the chain of x[n][width[0]], added where `add`; y = NULL: hidden layers only.
 * hidden[n*hidden_size] is kept for the gradient. */
void NH_NAME(nh_mlp_forward)(const NH_NAME(nh_mlp) * m, size_t n, const NH_REAL *x, NH_REAL *hidden,
                             NH_REAL *y, bool add);
/* Activation of the last hidden layer [n][width[layers-1]] within `hidden`. */
const NH_REAL *NH_NAME(nh_mlp_last_hidden)(const NH_NAME(nh_mlp) * m, size_t n, const NH_REAL *hidden);
/* Gradient of the input gx[n][width[0]] from g[n][width[layers-1]], the gradient of the last hidden
 * activation; g and scratch[n * widest hidden layer] are overwritten. */
void NH_NAME(nh_mlp_input_gradient)(const NH_NAME(nh_mlp) * m, size_t n, NH_REAL *g, const NH_REAL *hidden,
                                    NH_REAL *scratch, NH_REAL *gx);
/* x = silu(x), n numbers */
void NH_NAME(nh_silu_forward)(size_t n, NH_REAL *x);
/* y[n][out] (+)= x[n][in] weight[out][in]^T + bias */
void NH_NAME(nh_dense_forward)(size_t n, size_t in, size_t out, const NH_REAL *x, const NH_REAL *weight,
                               const NH_REAL *bias, bool add, NH_REAL *y);

/* ---- radial basis (radial.c): network.md 2.5 */

/* g[t*ld + k] = exp(-(r_t - c_k)^2/(2w^2)), c_k = rmax*k/(basis-1), w = rmax/2/basis */
void NH_NAME(nh_gaussians_forward)(size_t n, size_t basis, double rmax, const double *r, size_t ld,
                                   NH_REAL *g);

/* ---- depthwise tensor product (product.c): network.md 2.7 */

/* m[k][n] = the matrices M of n edges (plan/product.h), edge fastest, from y[n_harmonic][n]. */
void NH_NAME(nh_coupling_forward)(const nh_product *p, size_t n, const NH_REAL *y, NH_REAL *m);
/* One group of the output, out[n][2l+1][mul]: out[t][c][channel+u] = w[t*stride + weight + u] sum_a M_t[a][c]
 * x[t][a][u] over the group's paths. stride 0: all rows share the weights. */
void NH_NAME(nh_product_forward)(const nh_product *p, size_t group, size_t n, const NH_REAL *x,
                                 const NH_REAL *m, const NH_REAL *w, size_t stride, NH_REAL *out);

/* ---- attention (attention.c): network.md 3.4. Channel u of a group with heads*mu channels belongs to head u
 * div mu. */

/* y = (a . v) for the rows row[n_row] of the tile v of n rows: a[t][heads]; y is a tile of n_row rows. */
void NH_NAME(nh_heads_forward)(const nh_layout *layout, size_t heads, size_t n, size_t n_row,
                               const size_t *row, const NH_REAL *a, const NH_REAL *v, NH_REAL *y);
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

/* ---- TraceGrad (invariants.c): network.md 3.5 */

/* q[n][layout->pairs] = x_i[u] . x_i[v], u <= v, v fastest, group after group. */
void NH_NAME(nh_pairs_forward)(const nh_layout *layout, size_t n, const NH_REAL *x, NH_REAL *q);
/* y = gradient with respect to x of sum_pairs g q, g[n][pairs]. */
void NH_NAME(nh_pairs_gradient)(const nh_layout *layout, size_t n, const NH_REAL *x, const NH_REAL *g,
                                NH_REAL *y);
/* Symmetrised fctp.weight with its 1/sqrt(X(2l+1)): w[pairs][hidden] from flat (blocks [mul][mul][hidden] in
 * the order of the entries), so that u = q w. */
void NH_NAME(nh_pairs_pack)(const nh_layout *layout, size_t hidden, const NH_REAL *flat, NH_REAL *w);
/* x += scale |x|/(|y|+1e-5) y, norms over each row. */
void NH_NAME(nh_tracegrad_add_forward)(const nh_layout *layout, size_t n, double scale, const NH_REAL *y,
                                       NH_REAL *x);

#endif
