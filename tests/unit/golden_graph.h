/* golden_graph.h - the crystal of a golden network file as a graph with H0: every atom with the whole padded basis (zeros at
 * unoccupied positions), orbitals in file order (m = -l..l). */
#ifndef NH_TESTS_GOLDEN_GRAPH_H
#define NH_TESTS_GOLDEN_GRAPH_H

#include "check.h"
#include "golden.h"

#include "crystal/graph.h"
#include "nextham/embedding.h"

typedef struct golden_graph {
    nh_graph *g;
    size_t n_edge, n_orbital;
    size_t *pair;      /* [n_edge] pair of each golden edge */
    size_t stored[27]; /* stored position of each orbital in m order (docs/network.md 4.4) */
} golden_graph;

static inline void golden_graph_free(golden_graph *x)
{
    nh_graph_free(x->g);
    free(x->pair);
}

/* Element of a golden block [2n][2n][2] in m order. */
static inline double golden_element(const golden_graph *x, const double *blocks, size_t e, size_t spin,
                                    size_t i, size_t j, size_t ri)
{
    const size_t n = x->n_orbital, row = spin / 2 * n + x->stored[i], column = spin % 2 * n + x->stored[j];
    return blocks[((e * 2 * n + row) * 2 * n + column) * 2 + ri];
}

static inline golden_graph golden_graph_load(int nc, size_t n_shell, const int *shell_l)
{
    static const int perm[4][7] = {{0}, {1, 2, 0}, {2, 4, 0, 3, 1}, {6, 4, 2, 0, 1, 3, 5}};
    golden_graph x = {.g = calloc(1, sizeof *x.g)};
    nh_graph *g = x.g;
    size_t n_atom;
    assert_non_null(g);
    golden_count(nc, "positions", &n_atom);
    double *lattice = golden_read(nc, "lattice"), *position = golden_read(nc, "positions");
    OK(nh_structure_new(n_atom, 1, &g->structure, &err));
    memcpy(g->structure.lattice, lattice, 9 * sizeof *lattice);
    memcpy(g->structure.position, position, 3 * n_atom * sizeof *position);
    free(lattice);
    free(position);
    g->structure.atomic_number[0] = 26;
    OK(nh_structure_set_shells(&g->structure, &n_shell, shell_l, &err));
    for (size_t i = 0; i < n_shell; i++) {
        const size_t first = x.n_orbital, n = (size_t)(2 * shell_l[i] + 1);
        x.n_orbital += n;
        assert_true(x.n_orbital <= sizeof x.stored / sizeof *x.stored);
        for (size_t k = 0; k < n; k++)
            x.stored[first + k] = first + (size_t)perm[shell_l[i]][k];
    }
    int *src = golden_ints(nc, "edge_src"), *dst = golden_ints(nc, "edge_dst"),
        *cell = golden_ints(nc, "edge_R");
    golden_count(nc, "edge_src", &x.n_edge);
    nh_pair *pair = calloc(x.n_edge, sizeof *pair), *sorted = calloc(x.n_edge, sizeof *pair);
    x.pair = calloc(x.n_edge, sizeof *x.pair);
    assert_true(pair && sorted && x.pair);
    for (size_t e = 0; e < x.n_edge; e++)
        pair[e] = (nh_pair){src[e], dst[e], {cell[3 * e], cell[3 * e + 1], cell[3 * e + 2]}};
    memcpy(sorted, pair, x.n_edge * sizeof *pair);
    OK(nh_pairs_build(&g->structure, x.n_edge, sorted, &g->pairs, &err));
    assert_int_equal(g->pairs.count, x.n_edge);
    for (size_t e = 0; e < x.n_edge; e++)
        x.pair[e] = nh_pairs_find(&g->pairs, pair[e].src, pair[e].dst, pair[e].cell);
    free(src);
    free(dst);
    free(cell);
    free(pair);
    g->cutoff = 8;
    g->n_spin = 4;
    g->efermi = g->nelec = NAN;
    g->rydberg = NH_RYDBERG;
    g->matrix[NH_H0] = calloc(8 * g->pairs.n_elem, sizeof(double));
    assert_non_null(g->matrix[NH_H0]);
    double *h0 = golden_read(nc, "H0");
    const size_t n = x.n_orbital;
    for (size_t e = 0; e < x.n_edge; e++)
        for (size_t spin = 0; spin < 4; spin++)
            for (size_t k = 0; k < n * n * 2; k++)
                g->matrix[NH_H0][2 * (spin * g->pairs.n_elem + g->pairs.start[x.pair[e]]) + k] =
                    golden_element(&x, h0, e, spin, k / 2 / n, k / 2 % n, k % 2);
    free(h0);
    return x;
}

/* The network's input of all edges, [n_edge][*dim], from the file; where it has that of the edges H0_irreps_edge alone: made
 * from H0, and compared with those. The caller frees. */
static inline double *golden_features(int nc, size_t n_shell, const int *shell_l, size_t *dim)
{
    size_t n_edge, n_row;
    golden_count(nc, "edge_src", &n_edge);
    const size_t n_number = golden_count(nc, "H0_irreps", &n_row);
    *dim = n_number / n_row;
    double *official = golden_read(nc, "H0_irreps");
    if (n_row == n_edge) return official;
    golden_graph x = golden_graph_load(nc, n_shell, shell_l);
    nh_embedding *e;
    nh_selection all;
    OK(nh_embedding_new(n_shell, shell_l, &e, &err));
    OK(nh_selection_new(e, NH_PART_ALL, NULL, &all, &err));
    assert_int_equal(all.irreps.dim, *dim);
    size_t *slot = calloc(n_shell, sizeof *slot);
    double *features = calloc(n_edge * *dim, sizeof *features);
    assert_true(slot && features);
    OK(nh_embedding_slots(e, &x.g->structure, slot, &err));
    nh_edges_to_irreps(&(nh_transform){e, &all, &x.g->structure, slot}, x.g, x.g->matrix[NH_H0], n_edge,
                       x.pair, 1, NULL, features);
    int *edge = golden_ints(nc, "H0_irreps_edge");
    for (size_t i = 0; i < n_row; i++)
        assert_close(*dim, features + (size_t)edge[i] * *dim, official + i * *dim, 1e-14, "H0_irreps");
    free(edge);
    free(slot);
    free(official);
    nh_selection_free(&all);
    nh_embedding_free(e);
    golden_graph_free(&x);
    return features;
}

/* The predicted Hamiltonian in the golden order, [n_edge][2n][2n][2]: H_pred, or where the file lacks it H0 + dH_uu_real in the
 * real parts of uu and dd. The caller frees. */
static inline double *golden_prediction(int nc)
{
    size_t n_edge;
    golden_count(nc, "edge_src", &n_edge);
    if (golden_has(nc, "H_pred")) return golden_read(nc, "H_pred");
    double *h = golden_read(nc, "H0"), *d = golden_read(nc, "dH_uu_real");
    const size_t m = golden_count(nc, "dH_uu_real", NULL) / n_edge, n = (size_t)lround(sqrt((double)m));
    assert_true(n * n == m && golden_count(nc, "H0", NULL) == n_edge * 8 * m);
    for (size_t e = 0; e < n_edge; e++)
        for (size_t s = 0; s < 2; s++)
            for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j < n; j++)
                    h[((e * 2 * n + s * n + i) * 2 * n + s * n + j) * 2] += d[(e * n + i) * n + j];
    free(d);
    return h;
}

#endif
