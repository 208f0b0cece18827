/* Structures, neighbour search (against brute force), pairs, adjoint pairs of matrices. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/random.h"
#include "crystal/graph.h"
#include "crystal/neighbours.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static nh_structure crystal(size_t n_atom, const double lattice[9])
{
    nh_structure s;
    nh_error err;
    assert_int_equal(nh_structure_new(n_atom, 1, &s, &err), 0);
    memcpy(s.lattice, lattice, sizeof s.lattice);
    s.atomic_number[0] = 14;
    return s;
}

/* Atoms at random fractional coordinates in [low, high). */
static nh_structure random_crystal(nh_random *r, size_t n_atom, const double lattice[9], double low,
                                   double high)
{
    nh_structure s = crystal(n_atom, lattice);
    for (size_t i = 0; i < n_atom; i++) {
        double f[3];
        for (int d = 0; d < 3; d++)
            f[d] = low + (high - low) * nh_random_uniform(r);
        for (int k = 0; k < 3; k++)
            s.position[3 * i + (size_t)k] = f[0] * lattice[k] + f[1] * lattice[3 + k] + f[2] * lattice[6 + k];
    }
    return s;
}

static double height(const double a[9], int d)
{
    const double *b = a + 3 * ((d + 1) % 3), *c = a + 3 * ((d + 2) % 3), *e = a + 3 * d;
    const double n[3] = {b[1] * c[2] - b[2] * c[1], b[2] * c[0] - b[0] * c[2], b[0] * c[1] - b[1] * c[0]};
    return fabs(e[0] * n[0] + e[1] * n[1] + e[2] * n[2]) / sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2]);
}

/* Every pair, every cell that can matter. Atoms at most `spread` cells away from the home cell. */
static size_t brute_force(const nh_structure *s, double cutoff, int spread, nh_pair **out)
{
    int most[3];
    for (int d = 0; d < 3; d++)
        most[d] = (int)ceil(cutoff / height(s->lattice, d)) + 2 * spread + 1;
    size_t n = 0, room = 1024;
    nh_pair *pair = malloc(room * sizeof *pair);
    assert_non_null(pair);
    for (int i = 0; i < (int)s->n_atom; i++)
        for (int j = 0; j < (int)s->n_atom; j++)
            for (int x = -most[0]; x <= most[0]; x++)
                for (int y = -most[1]; y <= most[1]; y++)
                    for (int z = -most[2]; z <= most[2]; z++) {
                        const nh_pair p = {i, j, {x, y, z}};
                        double v[3];
                        nh_pair_vector(s, &p, v);
                        if (!(nh_round_distance(sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2])) < cutoff))
                            continue;
                        if (n == room) assert_non_null(pair = realloc(pair, (room *= 2) * sizeof *pair));
                        pair[n++] = p;
                    }
    *out = pair;
    return n;
}

static void assert_same_as_brute_force(const nh_structure *s, double cutoff, int spread)
{
    nh_error err;
    size_t count;
    nh_pair *found, *expected;
    assert_int_equal(nh_neighbours(s, cutoff, &count, &found, &err), 0);
    const size_t n = brute_force(s, cutoff, spread, &expected);
    nh_pairs a, b;
    assert_int_equal(count, n);
    assert_int_equal(nh_pairs_build(s, count, found, &a, &err), 0);
    assert_int_equal(nh_pairs_build(s, n, expected, &b, &err), 0);
    assert_int_equal(a.count, n); /* no pair twice */
    assert_int_equal(b.count, n);
    assert_memory_equal(a.pair, b.pair, n * sizeof *a.pair);
    nh_pairs_free(&a);
    nh_pairs_free(&b);
}

static void neighbours_random_cells(void **state)
{
    (void)state;
    nh_random r;
    nh_random_seed(&r, 5, "cells");
    for (int trial = 0; trial < 60; trial++) {
        double a[9];
        do
            for (int k = 0; k < 9; k++)
                a[k] = 8 * nh_random_uniform(&r) - 4;
        while (height(a, 0) < 0.8 || height(a, 1) < 0.8 || height(a, 2) < 0.8);
        nh_structure s = random_crystal(&r, 1 + (size_t)trial % 7, a, -1.5, 2.5);
        assert_same_as_brute_force(&s, 1 + 4 * nh_random_uniform(&r), 3);
        nh_structure_free(&s);
    }
}

/* Cells that a plain cell list gets wrong or slow: smaller than the cutoff, flat, left-handed, sheared by
 * many cells. */
static void neighbours_odd_cells(void **state)
{
    (void)state;
    const double cells[][9] = {
        {1.1, 0, 0, 0, 1.2, 0, 0, 0, 1.3},   {2, 0, 0, 0, 2, 0, 0, 0, 40},
        {0, 3, 0, 3, 0, 0, 0, 0, 3},         {3, 0, 0, 27.3, 3.1, 0, 5.2, -17.7, 3.2},
        {30, 0, 0, 29.5, 2, 0, 0.3, 0.1, 3}, {4, 0, 0, -2, 3.5, 0, 1.9, 1.1, 0.9},
    };
    nh_random r;
    nh_random_seed(&r, 6, "odd");
    for (size_t c = 0; c < sizeof cells / sizeof cells[0]; c++) {
        nh_structure s = random_crystal(&r, 4, cells[c], -0.5, 1.5);
        assert_same_as_brute_force(&s, 4.5, 2);
        nh_structure_free(&s);
    }
}

static void neighbours_ties(void **state)
{
    (void)state;
    /* Simple cubic, 4.000 Å: shells of 6 at a, 12 at sqrt 2 a, 8 at sqrt 3 a, 6 at 2 a; the cutoff itself is
     * outside. */
    nh_structure s = crystal(1, (double[9]){4, 0, 0, 0, 4, 0, 0, 0, 4});
    const struct {
        double cutoff;
        size_t count;
    } shells[] = {{4, 1}, {4.0000001, 7}, {8, 27}, {8.0000001, 33}, {3.99999999, 1}};
    nh_error err;
    for (size_t i = 0; i < sizeof shells / sizeof shells[0]; i++) {
        size_t count;
        nh_pair *pair;
        assert_int_equal(nh_neighbours(&s, shells[i].cutoff, &count, &pair, &err), 0);
        assert_int_equal(count, shells[i].count);
        free(pair);
        assert_same_as_brute_force(&s, shells[i].cutoff, 0);
    }
    nh_structure_free(&s);
}

/* A rotation moves every distance by rounding; the ties of a cubic crystal must fall on the same side. */
static void neighbours_rotated(void **state)
{
    (void)state;
    nh_error err;
    for (int step = 0; step < 40; step++) {
        const double t = 0.37 * step, c = cos(t), n = sin(t), u = cos(0.7 * t), w = sin(0.7 * t);
        const double q[9] = {c, -n, 0, n * u, c * u, -w, n * w, c * w, u};
        double a[9];
        for (int i = 0; i < 3; i++)
            for (int k = 0; k < 3; k++)
                a[3 * i + k] = 4 * q[3 * k + i];
        nh_structure s = crystal(2, a);
        for (int k = 0; k < 3; k++)
            s.position[3 + k] = (a[k] + a[3 + k]) / 2;
        size_t count;
        nh_pair *pair;
        assert_int_equal(nh_neighbours(&s, 8, &count, &pair, &err), 0);
        free(pair);
        /* Two atoms: each sees 27 of its own lattice (itself too) and those of the other one. */
        size_t expected = 2 * 27;
        for (int x = -3; x < 3; x++)
            for (int y = -3; y < 3; y++)
                for (int z = -3; z <= 3; z++)
                    expected +=
                        (2 * x + 1) * (2 * x + 1) + (2 * y + 1) * (2 * y + 1) + 4 * z * z < 16 ? 2 : 0;
        assert_int_equal(count, expected);
        nh_structure_free(&s);
    }
}

/* Seconds an atom, silicon-like density in a cube. */
static double search_time(size_t side)
{
    const double step = 2.7;
    const double edge = step * (double)side;
    nh_structure s = crystal(side * side * side, (double[9]){edge, 0, 0, 0, edge, 0, 0, 0, edge});
    nh_random r;
    nh_random_seed(&r, side, "large");
    for (size_t i = 0; i < s.n_atom; i++) {
        const size_t n[3] = {i / side / side, i / side % side, i % side};
        for (size_t k = 0; k < 3; k++)
            s.position[3 * i + k] = step * (double)n[k] + 0.3 * nh_random_uniform(&r);
    }
    double best = INFINITY;
    for (int repeat = 0; repeat < 2; repeat++) {
        nh_error err;
        size_t count;
        nh_pair *pair;
        const clock_t begin = clock(); /* of this process: others do not matter */
        assert_int_equal(nh_neighbours(&s, 5, &count, &pair, &err), 0);
        best = fmin(best, (double)(clock() - begin) / CLOCKS_PER_SEC);
        free(pair);
    }
    best /= (double)s.n_atom;
    nh_structure_free(&s);
    return best;
}

static void neighbours_linear(void **state)
{
    (void)state;
    const double small = search_time(10), large = search_time(47); /* 1000 and 103823 atoms */
    print_message("neighbour search: %.2f us an atom for 10^3 atoms, %.2f for 10^5\n", 1e6 * small,
                  1e6 * large);
    assert_true(large < 5 * small); /* quadratic would be 100 times */
}

static void neighbours_bad_input(void **state)
{
    (void)state;
    nh_error err;
    nh_structure s = crystal(1, (double[9]){4, 0, 0, 0, 4, 0, 0, 0, 4});
    size_t count;
    nh_pair *pair;
    const double bad[] = {0, -1, NAN, INFINITY};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(nh_neighbours(&s, bad[i], &count, &pair, &err), -1);
    s.lattice[8] = 0;
    assert_int_equal(nh_neighbours(&s, 4, &count, &pair, &err), -1);
    nh_structure_free(&s);
}

static void pairs_sorted_and_found(void **state)
{
    (void)state;
    nh_error err;
    nh_random r;
    nh_random_seed(&r, 9, "pairs");
    nh_structure s = random_crystal(&r, 5, (double[9]){4, 0, 0, 1, 4, 0, 0, 2, 5}, -1, 2);
    assert_int_equal(nh_structure_set_shells(&s, (size_t[]){3}, (int[]){0, 1, 2}, &err), 0);
    size_t count;
    nh_pair *pair;
    assert_int_equal(nh_neighbours(&s, 6, &count, &pair, &err), 0);
    assert_non_null(pair = realloc(pair, 2 * count * sizeof *pair));
    memcpy(pair + count, pair, count * sizeof *pair); /* all twice */
    nh_pairs p;
    assert_int_equal(nh_pairs_build(&s, 2 * count, pair, &p, &err), 0);
    assert_int_equal(p.count, count);
    assert_int_equal(p.n_elem, count * 81);
    size_t *reverse = NH_ARRAY(size_t, p.count);
    nh_pairs_reverse(&p, reverse);
    for (size_t i = 0; i < p.count; i++) {
        assert_int_equal(nh_pairs_find(&p, p.pair[i].src, p.pair[i].dst, p.pair[i].cell), i);
        assert_true(reverse[i] < p.count);
        assert_int_equal(reverse[reverse[i]], i);
        assert_true(p.distance[i] == p.distance[reverse[i]]); /* to the last bit */
        assert_int_equal(p.start[i], 81 * i);
    }
    assert_true(nh_pairs_find(&p, 0, 0, (int[3]){50, 0, 0}) == SIZE_MAX);
    free(reverse);
    nh_pairs_free(&p);
    pair = malloc(sizeof *pair);
    assert_non_null(pair);
    *pair = (nh_pair){0, 5, {0, 0, 0}};
    assert_int_equal(nh_pairs_build(&s, 1, pair, &p, &err), -1);
    nh_structure_free(&s);
}

static void shells_and_elements(void **state)
{
    (void)state;
    nh_error err;
    size_t n;
    int *l;
    assert_int_equal(nh_shells_parse("4s2p2d1f", &n, &l, &err), 0);
    const int expected[] = {0, 0, 0, 0, 1, 1, 2, 2, 3};
    assert_int_equal(n, 9);
    assert_memory_equal(l, expected, sizeof expected);
    char *text = nh_shells_text(n, l);
    assert_string_equal(text, "4s2p2d1f");
    free(text);
    free(l);
    const char *const bad[] = {"", "s", "4", "4x", "4s2", "0s", "-1s", "4s 2p", "999999s", "4S"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(nh_shells_parse(bad[i], &n, &l, &err), -1);
    assert_int_equal(nh_atomic_number("Ga"), 31);
    assert_int_equal(nh_atomic_number("Fe1"), 26);
    assert_int_equal(nh_atomic_number("U"), 92);
    assert_int_equal(nh_atomic_number("Xx"), 0);
    assert_int_equal(nh_atomic_number(""), 0);
    assert_int_equal(nh_atomic_number("1"), 0);
    for (int z = 1; z <= 118; z++)
        assert_int_equal(nh_atomic_number(nh_element_symbol(z)), z);
    assert_null(nh_element_symbol(0));
    assert_null(nh_element_symbol(119));
}

static void structure_counts(void **state)
{
    (void)state;
    nh_error err;
    nh_structure s;
    assert_int_equal(nh_structure_new(3, 2, &s, &err), 0);
    s.species[1] = s.species[2] = 1;
    s.atomic_number[0] = 42;
    s.atomic_number[1] = 16;
    assert_int_equal(nh_structure_orbitals(&s), 0);
    assert_int_equal(nh_structure_set_shells(&s, (size_t[]){2, 3}, (int[]){0, 2, 0, 0, 1}, &err), 0);
    size_t start[4];
    nh_orbital_start(&s, start);
    assert_int_equal(start[1], 6);
    assert_int_equal(start[2], 11);
    assert_int_equal(start[3], 16);
    assert_int_equal(nh_structure_orbitals(&s), 16);
    char *text = nh_structure_formula(&s);
    assert_string_equal(text, "MoS2");
    free(text);
    assert_int_equal(nh_structure_set_shells(&s, (size_t[]){1, 0}, (int[]){-1}, &err), -1);
    nh_structure_free(&s);
}

static void structure_checks(void **state)
{
    (void)state;
    nh_error err;
    nh_structure s = crystal(2, (double[9]){4, 0, 0, 0, 4, 0, 0, 0, 4});
    s.position[3] = 2;
    assert_int_equal(nh_atoms_check(&s, &err), 0);
    s.position[3] = 8.0005; /* on the first atom, two cells away */
    assert_int_equal(nh_atoms_check(&s, &err), -1);
    assert_non_null(strstr(err.text, "one spot"));
    s.position[3] = NAN;
    assert_int_equal(nh_atoms_check(&s, &err), -1);
    s.position[3] = 2;
    s.species[1] = 1;
    assert_int_equal(nh_atoms_check(&s, &err), -1);
    s.species[1] = 0;
    s.atomic_number[0] = 119;
    assert_int_equal(nh_atoms_check(&s, &err), -1);
    s.atomic_number[0] = 14;
    s.lattice[4] = 0;
    s.lattice[3] = 5;
    assert_int_equal(nh_atoms_check(&s, &err), -1);
    assert_non_null(strstr(err.text, "volume"));
    nh_structure_free(&s);
}

static nh_graph *random_graph(int n_spin)
{
    nh_error err;
    nh_graph *g = NH_ARRAY(nh_graph, 1);
    nh_random r;
    nh_random_seed(&r, 11, "graph");
    g->structure = random_crystal(&r, 2, (double[9]){3, 0, 0, 1, 3, 0, 0, 1, 3}, 0, 1);
    g->n_spin = n_spin;
    g->cutoff = 3.5;
    assert_int_equal(nh_structure_set_shells(&g->structure, (size_t[]){2}, (int[]){0, 1}, &err), 0);
    size_t count;
    nh_pair *pair;
    assert_int_equal(nh_neighbours(&g->structure, 3.5, &count, &pair, &err), 0);
    assert_int_equal(nh_pairs_build(&g->structure, count, pair, &g->pairs, &err), 0);
    const size_t n = 2 * (size_t)n_spin * g->pairs.n_elem;
    g->matrix[NH_H0] = NH_ARRAY(double, n);
    for (size_t i = 0; i < n; i++)
        g->matrix[NH_H0][i] = nh_random_normal(&r);
    return g;
}

static void adjoint_pairs(void **state)
{
    (void)state;
    for (int n_spin = 1; n_spin <= 4; n_spin += 3) {
        nh_error err;
        nh_graph *g = random_graph(n_spin);
        double *h = g->matrix[NH_H0], largest;
        size_t where;
        assert_int_equal(nh_hermiticity(g, h, &largest, &where, &err), 0);
        assert_true(largest > 1);
        assert_int_equal(nh_hermitize(g, h, &err), 0);
        assert_int_equal(nh_hermiticity(g, h, &largest, &where, &err), 0);
        assert_true(largest == 0);
        const size_t n = 2 * (size_t)n_spin * g->pairs.n_elem;
        double *again = NH_ARRAY(double, n);
        memcpy(again, h, n * sizeof *h);
        assert_int_equal(nh_hermitize(g, again, &err), 0);
        assert_memory_equal(again, h, n * sizeof *h);
        free(again);
        /* One element of a spin-flip (or the only) block moved: found, at that pair or its reverse. */
        const size_t p = g->pairs.count / 3, block = n_spin == 4 ? 1 : 0;
        h[2 * (block * g->pairs.n_elem + g->pairs.start[p] + 2)] += 1e-3;
        assert_int_equal(nh_hermiticity(g, h, &largest, &where, &err), 0);
        const nh_pair *q = &g->pairs.pair[p];
        const size_t reverse =
            nh_pairs_find(&g->pairs, q->dst, q->src, (int[3]){-q->cell[0], -q->cell[1], -q->cell[2]});
        assert_true(where == p || where == reverse);
        assert_true(fabs(largest - 1e-3) < 1e-12);
        nh_graph_free(g);
    }
}

static void missing_reverse_pair(void **state)
{
    (void)state;
    nh_error err;
    nh_graph *g = random_graph(1);
    double largest;
    g->pairs.pair[0].cell[0] = -9; /* still first */
    assert_int_equal(nh_hermiticity(g, g->matrix[NH_H0], &largest, NULL, &err), -1);
    assert_int_equal(nh_hermitize(g, g->matrix[NH_H0], &err), -1);
    nh_graph_free(g);
}

static void edges_and_names(void **state)
{
    (void)state;
    nh_error err;
    nh_graph *g = random_graph(1);
    assert_int_equal(nh_graph_edges(g, 3.5, NULL), g->pairs.count);
    size_t *edge = NH_ARRAY(size_t, g->pairs.count);
    const size_t n = nh_graph_edges(g, 2.9, edge);
    assert_true(n > 0 && n < g->pairs.count);
    for (size_t e = 0; e < n; e++)
        assert_true(g->pairs.distance[edge[e]] < 2.9 && (e == 0 || edge[e] > edge[e - 1]));
    free(edge);
    nh_graph_free(g);
    nh_matrix m;
    for (int i = 0; i < NH_N_MATRIX; i++) {
        assert_int_equal(nh_matrix_from_name(nh_matrix_name((nh_matrix)i), &m, &err), 0);
        assert_int_equal(m, i);
    }
    assert_int_equal(nh_matrix_from_name("h", &m, &err), -1);
    nh_graph_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shells_and_elements),  cmocka_unit_test(structure_counts),
        cmocka_unit_test(structure_checks),     cmocka_unit_test(neighbours_random_cells),
        cmocka_unit_test(neighbours_odd_cells), cmocka_unit_test(neighbours_ties),
        cmocka_unit_test(neighbours_rotated),   cmocka_unit_test(neighbours_linear),
        cmocka_unit_test(neighbours_bad_input), cmocka_unit_test(pairs_sorted_and_found),
        cmocka_unit_test(adjoint_pairs),        cmocka_unit_test(missing_reverse_pair),
        cmocka_unit_test(edges_and_names),
    };
    return cmocka_run_group_tests_name("crystal", tests, NULL, NULL);
}
