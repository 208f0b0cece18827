/* lcao_case.h - crystals with pseudopotentials and orbitals for the tests of lib/lcao: Si and GaAs from the
 * files in
 * ../shared/data, where they are. */
#ifndef NH_TESTS_LCAO_CASE_H
#define NH_TESTS_LCAO_CASE_H

#include "base/memory.h"
#include "base/random.h"
#include "check.h"
#include "crystal/neighbours.h"
#include "crystal/pairs.h"
#include "crystal/structure.h"
#include "formats/pseudo/orbital.h"
#include "formats/pseudo/upf.h"
#include "lcao/grid_basis.h"
#include "lcao/species.h"

#include <unistd.h>

typedef struct lcao_case {
    nh_structure structure;
    nh_species species[2];
    size_t n_species;
    double lattice[9]; /* bohr */
} lcao_case;

static inline void lcao_case_free(lcao_case *c)
{
    nh_structure_free(&c->structure);
    nh_species_free(c->species, c->n_species);
}

static inline void lcao_case_shells(lcao_case *c)
{
    size_t counts[2], n = 0;
    int l[64];
    for (size_t s = 0; s < c->n_species; s++) {
        counts[s] = c->species[s].orbital.n_shell;
        for (size_t i = 0; i < counts[s]; i++)
            l[n++] = c->species[s].orbital.l[i];
    }
    OK(nh_structure_set_shells(&c->structure, counts, l, &err));
}

/* Two atoms in a face-centred cubic cell, the second at a quarter of the diagonal. */
static inline void lcao_case_fcc(lcao_case *c, double a, size_t n_species)
{
    static const double unit[9] = {0, 0.5, 0.5, 0.5, 0, 0.5, 0.5, 0.5, 0};
    OK(nh_structure_new(2, n_species, &c->structure, &err));
    c->n_species = n_species;
    for (int i = 0; i < 9; i++) {
        c->structure.lattice[i] = a * unit[i];
        c->lattice[i] = a * unit[i] / NH_BOHR;
    }
    for (int x = 0; x < 3; x++)
        c->structure.position[3 + x] = a / 4;
    c->structure.species[1] = n_species == 2 ? 1 : 0;
}

/* "Si" or "GaAs" */
static inline void lcao_case_read(lcao_case *c, const char *name)
{
    const bool si = strcmp(name, "Si") == 0;
    static const char *const files[3][3] = {{"Si", "Si.upf", "Si_gga_7au_100Ry_2s2p1d.orb"},
                                            {"Ga", "Ga.upf", "Ga_gga_8au_100Ry_2s2p2d1f.orb"},
                                            {"As", "As.upf", "As_gga_7au_100Ry_2s2p1d.orb"}};
    if (access("../shared/data/pseudo/Si.upf", R_OK) != 0) skip();
    memset(c, 0, sizeof *c);
    lcao_case_fcc(c, si ? 5.431 : 5.653, si ? 1 : 2);
    for (size_t s = 0; s < c->n_species; s++) {
        const char *const *f = files[si ? 0 : s + 1];
        char path[512];
        c->structure.atomic_number[s] = nh_atomic_number(f[0]);
        snprintf(path, sizeof path, "../shared/data/pseudo/%s", f[1]);
        OK(nh_upf_read(path, f[0], true, &c->species[s].pseudo, &err));
        snprintf(path, sizeof path, "../shared/data/orbital/%s", f[2]);
        OK(nh_orbital_read(path, f[0], &c->species[s].orbital, &err));
    }
    lcao_case_shells(c);
}

/* --- orbitals that are Gaussians */

/* Shells r^l exp(-a r^2), normalised, cut where they are below 1e-13. */
typedef struct gaussians {
    size_t n;
    int l[4];
    double a[4];
} gaussians;

static inline double norm_of(int l, double a)
{
    return sqrt(2 * pow(2 * a, l + 1.5) / tgamma(l + 1.5));
}

static inline void make_gaussians(const gaussians *s, double radius, nh_orbital_set *o)
{
    o->n_shell = s->n;
    o->dr = 0.01;
    o->n_mesh = (size_t)lround(radius / o->dr) + 1;
    o->l = NH_ARRAY(int, s->n);
    o->f = NH_ARRAY(double, s->n * o->n_mesh);
    for (size_t i = 0; i < s->n; i++) {
        o->l[i] = s->l[i];
        for (size_t k = 0; k + 1 < o->n_mesh; k++) {
            const double r = o->dr * (double)k;
            o->f[i * o->n_mesh + k] = norm_of(s->l[i], s->a[i]) * pow(r, s->l[i]) * exp(-s->a[i] * r * r);
        }
    }
}

static const gaussians FIRST = {3, {0, 1, 2}, {0.9, 0.8, 0.85}}, SECOND = {2, {0, 1}, {0.8, 1.1}};

/* A skewed cell with two species. */
static inline void made_case(lcao_case *c)
{
    static const double lattice[9] = {3.1, 0.2, -0.1, 0.7, 2.7, 0.3, -0.4, 0.5, 3.4}; /* Å */
    static const double position[6] = {0.1, 0.2, 0.05, 1.9, 1.6, 2.1};
    memset(c, 0, sizeof *c);
    OK(nh_structure_new(2, 2, &c->structure, &err));
    c->n_species = 2;
    for (int i = 0; i < 9; i++) {
        c->structure.lattice[i] = lattice[i];
        c->lattice[i] = lattice[i] / NH_BOHR;
    }
    memcpy(c->structure.position, position, sizeof position);
    c->structure.species[1] = 1;
    make_gaussians(&FIRST, 6.2, &c->species[0].orbital);
    make_gaussians(&SECOND, 6, &c->species[1].orbital);
    lcao_case_shells(c);
}

/* All pairs that overlap. */
static inline void pairs_of(const lcao_case *c, nh_pairs *pairs)
{
    double radius[2] = {0, 0};
    for (size_t s = 0; s < c->n_species; s++)
        radius[s] = (double)(c->species[s].orbital.n_mesh - 1) * c->species[s].orbital.dr * NH_BOHR;
    size_t count, kept = 0;
    nh_pair *pair;
    OK(nh_neighbours(&c->structure, 2 * fmax(radius[0], radius[1]), &count, &pair, &err));
    for (size_t i = 0; i < count; i++) {
        double v[3];
        nh_pair_vector(&c->structure, &pair[i], v);
        if (sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]) <
            radius[c->structure.species[pair[i].src]] + radius[c->structure.species[pair[i].dst]])
            pair[kept++] = pair[i];
    }
    OK(nh_pairs_build(&c->structure, kept, pair, pairs, &err));
}

static inline void new_basis(const lcao_case *c, const nh_grid *g, const nh_pairs *pairs, size_t memory,
                             nh_threads *threads, nh_grid_basis **b)
{
    const nh_grid_basis_task task = {g, &c->structure, c->species, pairs, memory, threads};
    OK(nh_grid_basis_new(&task, b, &err));
}

static inline double largest_of(const double *x, size_t n)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(x[i]));
    return largest;
}

static inline void symmetric_random(const nh_pairs *pairs, const nh_structure *s, const double *overlap,
                                    double *p)
{
    size_t *reverse = NH_ARRAY(size_t, pairs->count);
    nh_pairs_reverse(pairs, reverse);
    nh_random random;
    nh_random_seed(&random, 5, "density");
    for (size_t i = 0; i < pairs->n_elem; i++)
        p[i] = overlap[i] * (1 + 0.2 * nh_random_normal(&random));
    for (size_t i = 0; i < pairs->count; i++) {
        const size_t rows = nh_atom_orbitals(s, (size_t)pairs->pair[i].src),
                     columns = nh_atom_orbitals(s, (size_t)pairs->pair[i].dst);
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < columns; c++)
                p[pairs->start[reverse[i]] + c * rows + r] = p[pairs->start[i] + r * columns + c];
    }
    free(reverse);
}

#endif
