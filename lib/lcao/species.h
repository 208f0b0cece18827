/* species.h - what an element brings into a calculation with numerical atomic orbitals: its orbitals and its
 * norm-conserving pseudopotential (docs/h0.md 2). Filled by readers in formats/.
 *
 * Units in all of lib/lcao: Rydberg and bohr (e^2 = 2, hbar^2/2m = 1). eV and Å begin at nh_lcao (lcao.h). */
#ifndef NH_LCAO_SPECIES_H
#define NH_LCAO_SPECIES_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define NH_BOHR 0.529177210903 /* Å */

enum { NH_HASH_TEXT = 33 }; /* bytes of a hash as text, the final NUL included */

/* Orbitals phi = f(r) Y_lm of a species, on r = i dr. Shells in ascending l, as in the file inside an l. */
typedef struct nh_orbital_set {
    size_t n_shell;
    int *l;                  /* [n_shell]; owned */
    size_t n_mesh;           /* f is zero from r = (n_mesh - 1) dr on */
    double dr;               /* bohr */
    double *f;               /* [n_shell][n_mesh], int f^2 r^2 dr = 1; owned */
    char hash[NH_HASH_TEXT]; /* of the file's content */
} nh_orbital_set;

double nh_orbital_radius(const nh_orbital_set *o); /* bohr */
size_t nh_orbital_count(const nh_orbital_set *o);  /* sum of 2l+1 */
void nh_orbital_set_free(nh_orbital_set *o);       /* what it owns */

/* A projector: r beta(r), zero from point n on. */
typedef struct nh_projector {
    int l;
    double j; /* l +- 1/2; NaN without spin-orbit coupling */
    size_t n;
    double *f; /* [n] r times beta; owned */
} nh_projector;

/* A fully relativistic (or scalar) norm-conserving pseudopotential. */
typedef struct nh_pseudo {
    char element[4];
    double z_valence;
    bool spin_orbit;  /* the projectors have j */
    size_t n_mesh;    /* odd, already cut at pseudo_rcut (docs/h0.md 2) for local, rho_atom and core */
    double *r, *rab;  /* [n_mesh] bohr; owned */
    double *local;    /* [n_mesh] Ry; owned */
    double *rho_atom; /* [n_mesh] 4 pi r^2 rho, scaled to hold z_valence; owned */
    double *core;     /* [n_mesh] the core density itself; NULL: none; owned */
    size_t n_full;    /* points of the projectors' mesh */
    double *r_full, *rab_full; /* [n_full]; owned */
    size_t n_projector;
    nh_projector *projector; /* owned */
    double *d;               /* [n_projector][n_projector] Ry, zero between different l or j; owned */
    char hash[NH_HASH_TEXT]; /* of the file's content */
} nh_pseudo;

double nh_projector_radius(const nh_pseudo *p); /* bohr, the largest; 0 without projectors */
void nh_pseudo_free(nh_pseudo *p);              /* what it owns */

typedef struct nh_species {
    nh_orbital_set orbital;
    nh_pseudo pseudo;
} nh_species;

void nh_species_free(nh_species *s, size_t count); /* each of them, not the array */

#endif
