/* made_crystal.h - a small crystal of our own, without symmetry and without matrices. */
#ifndef NH_TESTS_MADE_CRYSTAL_H
#define NH_TESTS_MADE_CRYSTAL_H

#include "check.h"

#include "crystal/graph.h"
#include "crystal/neighbours.h"

/* Two species (Li, Ga) of the given shells in a skew cell, every pair within the cutoff. */
static inline nh_graph *made_crystal_of(int n_spin, double cutoff, const size_t n_shell[2],
                                        const int *shell_l)
{
    static const double lattice[9] = {4.1, 0, 0, 0.5, 4.4, 0, 0.1, 0.2, 4.9},
                        position[6] = {0, 0, 0, 1.4, 1.5, 1.6};
    size_t count;
    nh_pair *pair;
    nh_graph *g = calloc(1, sizeof *g);
    assert_non_null(g);
    OK(nh_structure_new(2, 2, &g->structure, &err));
    memcpy(g->structure.lattice, lattice, sizeof lattice);
    memcpy(g->structure.position, position, sizeof position);
    g->structure.species[1] = 1;
    g->structure.atomic_number[0] = 3;
    g->structure.atomic_number[1] = 31;
    OK(nh_structure_set_shells(&g->structure, n_shell, shell_l, &err));
    OK(nh_neighbours(&g->structure, cutoff, &count, &pair, &err));
    OK(nh_pairs_build(&g->structure, count, pair, &g->pairs, &err));
    g->cutoff = cutoff;
    g->n_spin = n_spin;
    g->rydberg = NH_RYDBERG;
    g->efermi = g->nelec = NAN;
    return g;
}

/* 2s1p and 1s1p1d. */
static inline nh_graph *made_crystal(int n_spin, double cutoff)
{
    return made_crystal_of(n_spin, cutoff, (const size_t[]){3, 3}, (const int[]){0, 0, 1, 0, 1, 2});
}

/* One of its matrices, zero; 2 n_spin n_elem numbers. */
static inline double *made_matrix(nh_graph *g, nh_matrix m)
{
    g->matrix[m] = calloc(2 * (size_t)g->n_spin * g->pairs.n_elem, sizeof(double));
    assert_non_null(g->matrix[m]);
    return g->matrix[m];
}

static inline double made_number(size_t i)
{
    return sin(1.7 * (double)i + 0.3);
}

#endif
