/* chain.h - chains of atoms with pairs and matrices, built in memory. */
#ifndef NH_TESTS_CHAIN_H
#define NH_TESTS_CHAIN_H

#include "crystal/graph.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static inline double noise(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 11) / (double)(1ull << 53) - 0.5;
}

/* n_atom atoms along x with the given shells, lattice a x 20 x 20 Å, all pairs with cells up to +-reach.
 * Matrices zero. */
static inline nh_graph *make_chain(size_t n_atom, double a, size_t n_shell, const int *shells, int reach,
                                   int n_spin)
{
    nh_error why;
    nh_graph *g = calloc(1, sizeof *g);
    assert_non_null(g);
    assert_int_equal(nh_structure_new(n_atom, 1, &g->structure, &why), 0);
    g->structure.lattice[0] = a;
    g->structure.lattice[4] = g->structure.lattice[8] = 20;
    g->structure.atomic_number[0] = 14;
    for (size_t i = 0; i < n_atom; i++)
        g->structure.position[3 * i] = a * (double)i / (double)n_atom;
    assert_int_equal(nh_structure_set_shells(&g->structure, &n_shell, shells, &why), 0);
    const size_t cells = (size_t)(2 * reach + 1), count = n_atom * n_atom * cells;
    nh_pair *pair = malloc(count * sizeof *pair);
    assert_non_null(pair);
    for (size_t i = 0; i < count; i++)
        pair[i] =
            (nh_pair){(int)(i / cells / n_atom), (int)(i / cells % n_atom), {(int)(i % cells) - reach, 0, 0}};
    assert_int_equal(nh_pairs_build(&g->structure, count, pair, &g->pairs, &why), 0);
    g->cutoff = 8;
    g->n_spin = n_spin;
    g->efermi = g->nelec = NAN;
    g->rydberg = NH_RYDBERG;
    g->overlap = calloc(g->pairs.n_elem, sizeof(double));
    g->matrix[NH_H_LABEL] = calloc(g->pairs.n_elem * (size_t)n_spin * 2, sizeof(double));
    assert_non_null(g->overlap);
    assert_non_null(g->matrix[NH_H_LABEL]);
    return g;
}

/* n_atom atoms with s and p, spin; random Hermitian H, random symmetric S close to 1. */
static inline nh_graph *random_chain(size_t n_atom, uint64_t seed)
{
    const int shells[] = {0, 1};
    nh_error why;
    nh_graph *g = make_chain(n_atom, 2.0 * (double)n_atom, 2, shells, 2, 4);
    const nh_pairs *p = &g->pairs;
    for (size_t i = 0; i < 4 * p->n_elem * 2; i++)
        g->matrix[NH_H_LABEL][i] = 4 * noise(&seed);
    assert_int_equal(nh_hermitize(g, g->matrix[NH_H_LABEL], &why), 0);
    size_t *reverse = malloc(p->count * sizeof *reverse);
    assert_non_null(reverse);
    nh_pairs_reverse(p, reverse);
    for (size_t i = 0; i < p->count; i++)
        for (size_t r = 0; r < 4; r++)
            for (size_t c = 0; c < 4; c++) {
                const bool unit = reverse[i] == i && r == c;
                const double v = unit ? 1 : 0.05 * noise(&seed);
                if (reverse[i] >= i)
                    g->overlap[p->start[i] + 4 * r + c] = g->overlap[p->start[reverse[i]] + 4 * c + r] = v;
            }
    free(reverse);
    return g;
}

#endif
