/* lcao_case.h - crystals with pseudopotentials and orbitals for the tests of lib/lcao: Si and GaAs from the
 * files in
 * ../shared/data, where they are. */
#ifndef NH_TESTS_LCAO_CASE_H
#define NH_TESTS_LCAO_CASE_H

#include "base/memory.h"
#include "check.h"
#include "crystal/structure.h"
#include "formats/pseudo/orbital.h"
#include "formats/pseudo/upf.h"
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

#endif
