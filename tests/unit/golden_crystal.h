/* golden_crystal.h - the crystal of network_small.nc as a graph with H0, label and overlap, its atoms with
 * the shells that they occupy, in file order (m = -l..l), and its states at the golden k-point. */
#ifndef NH_TESTS_GOLDEN_CRYSTAL_H
#define NH_TESTS_GOLDEN_CRYSTAL_H

#include "check.h"
#include "golden.h"

#include "crystal/graph.h"
#include "nextham/config.h"
#include "training/kspace.h"

typedef struct golden_crystal {
    nh_graph *g;
    size_t n_edge;
    size_t *edge_of;  /* [n_edge] for each golden edge its number in the order of nh_graph_edges */
    size_t n_orbital; /* of the padded basis */
    size_t n_shell;
    size_t stored[27];   /* stored position of each padded orbital in file order */
    double *h0, *dh, *s; /* golden arrays [n_edge][2n][2n][2] */
    nh_kstates states;
    double *vector; /* behind states.vector */
} golden_crystal;

static inline void golden_crystal_free(golden_crystal *x)
{
    nh_graph_free(x->g);
    free(x->edge_of);
    free(x->h0);
    free(x->dh);
    free(x->s);
    free(x->vector);
}

/* Rows of a golden array [n_edge][width] in the order of nh_graph_edges; the caller frees both. */
static inline double *golden_rows(const golden_crystal *x, const double *rows, size_t width)
{
    double *out = calloc(x->n_edge * width + 1, sizeof *out);
    assert_non_null(out);
    for (size_t e = 0; e < x->n_edge; e++)
        memcpy(out + x->edge_of[e] * width, rows + e * width, width * sizeof *out);
    return out;
}

static inline golden_crystal golden_crystal_load(int nc, size_t n_shell, const int *shell_l)
{
    static const int perm[4][7] = {{0}, {1, 2, 0}, {2, 4, 0, 3, 1}, {6, 4, 2, 0, 1, 3, 5}};
    golden_crystal x = {.n_shell = n_shell};
    size_t first[16] = {0}, n_atom;
    for (size_t i = 0; i < n_shell; i++) {
        const size_t n = (size_t)(2 * shell_l[i] + 1);
        first[i + 1] = first[i] + n;
        for (size_t k = 0; k < n; k++)
            x.stored[first[i] + k] = first[i] + (size_t)perm[shell_l[i]][k];
    }
    const size_t n = x.n_orbital = first[n_shell];
    golden_count(nc, "positions", &n_atom);
    int *occupied = golden_ints(nc, "occupied"), *src = golden_ints(nc, "edge_src"),
        *dst = golden_ints(nc, "edge_dst"), *cell = golden_ints(nc, "edge_R");
    double *lattice = golden_read(nc, "lattice"), *position = golden_read(nc, "positions");
    golden_count(nc, "edge_src", &x.n_edge);

    /* every atom a species of its own */
    nh_graph *g = x.g = calloc(1, sizeof *g);
    assert_non_null(g);
    OK(nh_structure_new(n_atom, n_atom, &g->structure, &err));
    memcpy(g->structure.lattice, lattice, 9 * sizeof *lattice);
    memcpy(g->structure.position, position, 3 * n_atom * sizeof *position);
    size_t counts[16] = {0}, total = 0;
    size_t place[16][27]; /* padded orbital of each orbital of each atom */
    int l[256];
    for (size_t a = 0; a < n_atom; a++) {
        size_t at = 0;
        g->structure.species[a] = (int)a;
        g->structure.atomic_number[a] = 5 + (int)a;
        for (size_t i = 0; i < n_shell; i++) {
            if (!occupied[a * n + first[i]]) continue;
            l[total++] = shell_l[i];
            counts[a]++;
            for (size_t k = first[i]; k < first[i + 1]; k++) {
                assert_int_equal(occupied[a * n + k], 1);
                place[a][at++] = k;
            }
        }
    }
    OK(nh_structure_set_shells(&g->structure, counts, l, &err));
    nh_pair *pair = calloc(x.n_edge, sizeof *pair);
    assert_non_null(pair);
    for (size_t e = 0; e < x.n_edge; e++)
        pair[e] = (nh_pair){src[e], dst[e], {cell[3 * e], cell[3 * e + 1], cell[3 * e + 2]}};
    OK(nh_pairs_build(&g->structure, x.n_edge, pair, &g->pairs, &err));
    assert_int_equal(g->pairs.count, x.n_edge);
    g->cutoff = 8;
    g->n_spin = 4;
    g->efermi = g->nelec = NAN;
    g->rydberg = NH_RYDBERG;
    assert_int_equal(nh_graph_edges(g, g->cutoff, NULL), x.n_edge); /* all pairs: edge = pair */
    x.edge_of = calloc(x.n_edge, sizeof *x.edge_of);
    x.h0 = golden_read(nc, "H0");
    x.dh = golden_read(nc, "dH");
    x.s = golden_read(nc, "S");
    g->matrix[NH_H0] = calloc(8 * g->pairs.n_elem, sizeof(double));
    g->matrix[NH_H_LABEL] = calloc(8 * g->pairs.n_elem, sizeof(double));
    g->overlap = calloc(g->pairs.n_elem, sizeof(double));
    assert_true(x.edge_of && g->matrix[NH_H0] && g->matrix[NH_H_LABEL] && g->overlap);
    for (size_t e = 0; e < x.n_edge; e++) {
        const size_t p = nh_pairs_find(&g->pairs, src[e], dst[e], &cell[3 * e]);
        x.edge_of[e] = p;
        const size_t rows = nh_atom_orbitals(&g->structure, (size_t)src[e]),
                     columns = nh_atom_orbitals(&g->structure, (size_t)dst[e]);
        for (size_t s = 0; s < 4; s++)
            for (size_t i = 0; i < rows; i++)
                for (size_t j = 0; j < columns; j++) {
                    const size_t row = s / 2 * n + x.stored[place[src[e]][i]],
                                 column = s % 2 * n + x.stored[place[dst[e]][j]],
                                 from = 2 * ((e * 2 * n + row) * 2 * n + column),
                                 at = g->pairs.start[p] + i * columns + j,
                                 to = 2 * (s * g->pairs.n_elem + at);
                    for (size_t r = 0; r < 2; r++) {
                        g->matrix[NH_H0][to + r] = x.h0[from + r];
                        g->matrix[NH_H_LABEL][to + r] = x.h0[from + r] + x.dh[from + r];
                    }
                    if (s == 0) g->overlap[at] = x.s[from];
                }
    }
    /* states: golden columns are atom-major padded, spin-major in the atom */
    size_t n_band, start[17] = {0};
    golden_count(nc, "wavefunctions", &n_band);
    nh_orbital_start(&g->structure, start);
    const size_t basis = 2 * start[n_atom];
    double *u = golden_read(nc, "wavefunctions"), *k = golden_read(nc, "kpoint");
    int *cut = golden_ints(nc, "band_cut");
    x.vector = calloc(n_band * basis * 2, sizeof *x.vector);
    assert_non_null(x.vector);
    for (size_t b = 0; b < n_band; b++)
        for (size_t a = 0; a < n_atom; a++)
            for (size_t i = 0; i < start[a + 1] - start[a]; i++)
                for (size_t s = 0; s < 2; s++)
                    for (size_t r = 0; r < 2; r++)
                        x.vector[2 * (b * basis + 2 * (start[a] + i) + s) + r] =
                            u[2 * ((b * n_atom + a) * 2 * n + s * n + x.stored[place[a][i]]) + r];
    x.states = (nh_kstates){
        .k = {k[0], k[1], k[2]}, .n_band = n_band, .n_basis = basis, .n_p = (size_t)*cut, .vector = x.vector};
    free(u);
    free(k);
    free(cut);
    free(lattice);
    free(position);
    free(occupied);
    free(src);
    free(dst);
    free(cell);
    return x;
}

#endif
