/* crystals.h - the crystals that timings are taken on, without matrices. */
#ifndef NH_TESTS_BENCH_CRYSTALS_H
#define NH_TESTS_BENCH_CRYSTALS_H

#include "base/memory.h"
#include "crystal/graph.h"
#include "crystal/neighbours.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct cell {
    double lattice[9]; /* Å */
    size_t n_atom, n_species;
    const double (*position)[3]; /* fractional */
    const int *species, *atomic_number;
    const char *const *shells;
} cell;

/* The size of Ca2Au4: 6 atoms in 130 Å^3, some 560 edges within 8 Å; slightly shaken. */
static const cell SIX = {
    .lattice = {4.65, 0, 0, -2.325, 4.027, 0, 0, 0, 6.96},
    .n_atom = 6,
    .n_species = 2,
    .position = (const double[][3]){{0, 0, 0},
                                    {0.333, 0.667, 0.02},
                                    {0.5, 0.02, 0.26},
                                    {0.03, 0.5, 0.5},
                                    {0.5, 0.5, 0.74},
                                    {0.667, 0.3, 0.51}},
    .species = (const int[]){0, 0, 1, 1, 1, 1},
    .atomic_number = (const int[]){20, 79},
    .shells = (const char *const[]){"4s2p1d", "4s2p2d1f"},
};
/* Silicon, 8 atoms. */
static const cell SILICON = {
    .lattice = {5.431, 0, 0, 0, 5.431, 0, 0, 0, 5.431},
    .n_atom = 8,
    .n_species = 1,
    .position = (const double[][3]){{0, 0, 0},
                                    {0, 0.5, 0.5},
                                    {0.5, 0, 0.5},
                                    {0.5, 0.5, 0},
                                    {0.25, 0.25, 0.25},
                                    {0.25, 0.75, 0.75},
                                    {0.75, 0.25, 0.75},
                                    {0.75, 0.75, 0.25}},
    .species = (const int[]){0, 0, 0, 0, 0, 0, 0, 0},
    .atomic_number = (const int[]){14},
    .shells = (const char *const[]){"2s2p1d"},
};

static inline int set_shells(const cell *c, nh_structure *s, nh_error *err)
{
    size_t n[2] = {0}, total = 0;
    int *part[2] = {NULL}, all[32];
    int status = 0;
    for (size_t i = 0; status == 0 && i < c->n_species; i++) {
        status = nh_shells_parse(c->shells[i], &n[i], &part[i], err);
        for (size_t k = 0; status == 0 && k < n[i]; k++)
            all[total++] = part[i][k];
    }
    if (status == 0) status = nh_structure_set_shells(s, n, all, err);
    free(part[0]);
    free(part[1]);
    return status;
}

/* The cell repeated along each axis, with every pair within 8 Å; nh_graph_free. */
static inline int make_crystal(const cell *c, size_t copies, nh_graph **out, nh_error *err)
{
    nh_graph *g = *out = calloc(1, sizeof *g);
    if (g == NULL) return nh_fail_memory(err, "a crystal");
    nh_structure *s = &g->structure;
    g->cutoff = 8;
    g->n_spin = 4;
    g->rydberg = NH_RYDBERG;
    g->efermi = g->nelec = NAN;
    if (nh_structure_new(c->n_atom * copies * copies * copies, c->n_species, s, err) != 0) return -1;
    for (size_t x = 0; x < 9; x++)
        s->lattice[x] = (double)copies * c->lattice[x];
    memcpy(s->atomic_number, c->atomic_number, c->n_species * sizeof(int));
    size_t a = 0;
    for (size_t i = 0; i < copies; i++)
        for (size_t j = 0; j < copies; j++)
            for (size_t k = 0; k < copies; k++)
                for (size_t b = 0; b < c->n_atom; b++, a++) {
                    s->species[a] = c->species[b];
                    for (size_t x = 0; x < 3; x++)
                        s->position[3 * a + x] = (c->position[b][0] + (double)i) * c->lattice[x] +
                                                 (c->position[b][1] + (double)j) * c->lattice[3 + x] +
                                                 (c->position[b][2] + (double)k) * c->lattice[6 + x];
                }
    size_t count;
    nh_pair *pair;
    if (set_shells(c, s, err) != 0 || nh_neighbours(s, g->cutoff, &count, &pair, err) != 0) return -1;
    return nh_pairs_build(s, count, pair, &g->pairs, err);
}

#endif
