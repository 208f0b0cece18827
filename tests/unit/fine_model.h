/* fine_model.h - overlapping orbitals of which everything is known: combinations of a finer set of
 * orthonormal functions, each with a sharp position. */
#ifndef NH_TESTS_FINE_MODEL_H
#define NH_TESTS_FINE_MODEL_H

#include "check.h"

#include "base/complex.h"
#include "crystal/graph.h"
#include "crystal/lattice.h"

enum { FINE = 4, REACH = 1, FINE_HOP = 1, FAR = 4 };

typedef struct fine_model {
    size_t n_orbital;
    double lattice[9], site[FINE][3];
    /* weight of the function of site s in cell (x, y) in orbital a */
    double weight[FINE][2 * FAR + 1][2 * FAR + 1][FINE];
    double complex hop[2 * FINE_HOP + 1][2 * FINE_HOP + 1][FINE][FINE]; /* H between (s, 0) and (t, cell) */
} fine_model;

static inline double fine_number(size_t *seed)
{
    const double x = (double)++*seed;
    return 0.5 * (sin(12.9898 * x + 4.1) + sin(78.233 * x));
}

/* overlap 0: the orbitals are sites. No symmetry, and no time reversal with `magnetic`. */
static inline fine_model fine_model_new(size_t n_orbital, double overlap, bool magnetic)
{
    fine_model m = {.n_orbital = n_orbital, .lattice = {3.1, 0.2, 0, 0.7, 2.8, 0, 0, 0, 10}};
    size_t seed = 7;
    for (size_t s = 0; s < FINE; s++)
        for (size_t x = 0; x < 3; x++)
            m.site[s][x] = 0.9 * (double)s * (x == 0) + 0.8 * fine_number(&seed);
    for (size_t a = 0; a < n_orbital; a++)
        for (int x = -REACH; x <= REACH; x++)
            for (int y = -REACH; y <= REACH; y++)
                for (size_t s = 0; s < FINE; s++)
                    m.weight[a][x + FAR][y + FAR][s] =
                        overlap * fine_number(&seed) / (1 + 2 * (x * x + y * y)) +
                        (x == 0 && y == 0 && s == a ? 1 : 0);
    for (int x = -FINE_HOP; x <= FINE_HOP; x++)
        for (int y = -FINE_HOP; y <= FINE_HOP; y++)
            for (size_t s = 0; s < FINE; s++)
                for (size_t t = 0; t < FINE; t++) {
                    const double re = fine_number(&seed), im = fine_number(&seed);
                    double complex v = 0.4 * CMPLX(re, magnetic ? im : 0) / (1 + x * x + y * y);
                    if (x == 0 && y == 0 && s == t) v += 3 * (double)s;
                    m.hop[x + FINE_HOP][y + FINE_HOP][s][t] += 0.5 * v;
                    m.hop[FINE_HOP - x][FINE_HOP - y][t][s] += 0.5 * conj(v);
                }
    return m;
}

/* Moves orbital a by a cell: another function of the same Bloch sum. */
static inline void fine_model_move(fine_model *m, size_t a, int dx, int dy)
{
    const fine_model old = *m;
    for (int x = -FAR; x <= FAR; x++)
        for (int y = -FAR; y <= FAR; y++)
            for (size_t s = 0; s < FINE; s++) {
                const bool in = abs(x - dx) <= FAR && abs(y - dy) <= FAR;
                m->weight[a][x + FAR][y + FAR][s] = in ? old.weight[a][x - dx + FAR][y - dy + FAR][s] : 0;
            }
}

static inline double fine_weight(const fine_model *m, size_t a, int x, int y, size_t s)
{
    return abs(x) <= FAR && abs(y) <= FAR ? m->weight[a][x + FAR][y + FAR][s] : 0;
}

/* <a 0| A |b R> for A = 1, the three positions, H. */
static inline void fine_elements(const fine_model *m, size_t a, size_t b, const int r[2], double *overlap,
                                 double position[3], double complex *h)
{
    *overlap = 0;
    *h = 0;
    memset(position, 0, 3 * sizeof *position);
    for (int x = -FAR; x <= FAR; x++)
        for (int y = -FAR; y <= FAR; y++)
            for (size_t s = 0; s < FINE; s++) {
                const double wa = fine_weight(m, a, x, y, s), wb = fine_weight(m, b, x - r[0], y - r[1], s);
                if (wa == 0) continue;
                const double cell[3] = {x, y, 0};
                double at[3];
                nh_lattice_apply(cell, m->lattice, at);
                *overlap += wa * wb;
                for (size_t c = 0; c < 3; c++)
                    position[c] += wa * wb * (at[c] + m->site[s][c]);
                for (int dx = -FINE_HOP; dx <= FINE_HOP; dx++)
                    for (int dy = -FINE_HOP; dy <= FINE_HOP; dy++)
                        for (size_t t = 0; t < FINE; t++)
                            *h += wa * m->hop[dx + FINE_HOP][dy + FINE_HOP][s][t] *
                                  fine_weight(m, b, x + dx - r[0], y + dy - r[1], t);
            }
}

/* Its graph, one s orbital an atom, and position[3][n_elem] (free both). n_spin 4: uu = dd, and nothing
 * else. */
static inline nh_graph *fine_graph(const fine_model *m, int n_spin, double **position)
{
    const int far = 2 * FAR;
    const size_t n = m->n_orbital, side = (size_t)(2 * far + 1);
    nh_graph *g = calloc(1, sizeof *g);
    nh_pair *pair = calloc(n * n * side * side, sizeof *pair);
    size_t count = 0;
    assert_non_null(g);
    assert_non_null(pair);
    OK(nh_structure_new(n, 1, &g->structure, &err));
    memcpy(g->structure.lattice, m->lattice, sizeof m->lattice);
    for (size_t a = 0; a < n; a++)
        memcpy(g->structure.position + 3 * a, m->site[a], sizeof m->site[a]);
    g->structure.atomic_number[0] = 1;
    OK(nh_structure_set_shells(&g->structure, (const size_t[]){1}, (const int[]){0}, &err));
    for (int i = 0; i < (int)n; i++)
        for (int j = 0; j < (int)n; j++)
            for (int x = -far; x <= far; x++)
                for (int y = -far; y <= far; y++) {
                    double s, r[3];
                    double complex h;
                    fine_elements(m, (size_t)i, (size_t)j, (const int[]){x, y}, &s, r, &h);
                    if (s != 0 || h != 0 || (i == j && x == 0 && y == 0))
                        pair[count++] = (nh_pair){i, j, {x, y, 0}};
                }
    OK(nh_pairs_build(&g->structure, count, pair, &g->pairs, &err));
    g->n_spin = n_spin;
    g->rydberg = NH_RYDBERG;
    g->efermi = g->nelec = NAN;
    const size_t n_elem = g->pairs.n_elem;
    g->overlap = calloc(n_elem, sizeof *g->overlap);
    double *h = g->matrix[NH_H_LABEL] = calloc(2 * (size_t)n_spin * n_elem, sizeof *h);
    *position = calloc(3 * n_elem, sizeof **position);
    assert_true(g->overlap != NULL && h != NULL && *position != NULL);
    for (size_t e = 0; e < g->pairs.count; e++) {
        const nh_pair *q = &g->pairs.pair[e];
        double r[3];
        double complex v;
        fine_elements(m, (size_t)q->src, (size_t)q->dst, q->cell, &g->overlap[e], r, &v);
        for (size_t x = 0; x < 3; x++)
            (*position)[x * n_elem + e] = r[x];
        for (size_t spin = 0; spin < (size_t)n_spin; spin += 3) {
            h[2 * (spin * n_elem + e)] = creal(v);
            h[2 * (spin * n_elem + e) + 1] = cimag(v);
        }
    }
    return g;
}

static inline double fine_turn(const double k[3], int x, int y)
{
    return 2 * M_PI * (k[0] * x + k[1] * y);
}

/* The cell-periodic function u[FINE] of a state C[n_orbital] at k (fractional). */
static inline void fine_periodic(const fine_model *m, const double k[3], const double complex *c,
                                 double complex *u)
{
    double inverse[9], wave[3];
    nh_lattice_inverse(m->lattice, inverse);
    for (size_t x = 0; x < 3; x++) /* 2 pi k.b */
        wave[x] = 2 * M_PI * (inverse[3 * x] * k[0] + inverse[3 * x + 1] * k[1] + inverse[3 * x + 2] * k[2]);
    for (size_t s = 0; s < FINE; s++) {
        u[s] = 0;
        for (size_t a = 0; a < m->n_orbital; a++)
            for (int x = -FAR; x <= FAR; x++)
                for (int y = -FAR; y <= FAR; y++)
                    u[s] += c[a] * fine_weight(m, a, x, y, s) * cexp(-I * fine_turn(k, x, y));
        u[s] *= cexp(-I * (wave[0] * m->site[s][0] + wave[1] * m->site[s][1] + wave[2] * m->site[s][2]));
    }
}

/* k + dk, dk Cartesian in 1/Å. */
static inline void fine_step(const fine_model *m, const double k[3], double dx, double dy, double out[3])
{
    for (size_t x = 0; x < 3; x++)
        out[x] = k[x] + (m->lattice[3 * x] * dx + m->lattice[3 * x + 1] * dy) / (2 * M_PI);
}

#endif
