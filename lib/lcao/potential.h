/* potential.h - densities and potentials on the grid (docs/h0.md 6, 7, 9). Ry, bohr. */
#ifndef NH_LCAO_POTENTIAL_H
#define NH_LCAO_POTENTIAL_H

#include "crystal/structure.h"
#include "lcao/grid.h"
#include "lcao/species.h"

/* Sums over the atoms of s (Å): the superposed valence densities scaled to n_electron = sum of z_valence, the core
 * densities, the local pseudopotentials. Each [n_point]; any may be NULL. */
int nh_superposed(const nh_grid *g, const nh_structure *s, const nh_species *species, double *rho,
                  double *core, double *local, nh_threads *threads, nh_error *err);

/* V_H[rho], ADDED to v; returns the energy E_H in *energy (may be NULL). */
int nh_hartree_add(const nh_grid *g, const double *rho, double *v, double *energy, nh_error *err);

/* PBE of rho + core (core may be NULL), unpolarised; v_xc ADDED to v. *energy: E_xc, Ry. */
int nh_pbe_add(const nh_grid *g, const double *rho, const double *core, double *v, double *energy,
               nh_threads *threads, nh_error *err);
/* Spin-polarised PBE with a magnetisation m along z, as ABACUS's zeroth step has it (docs/h0.md 9). */
int nh_pbe_polarised_add(const nh_grid *g, const double *rho, const double *core, const double *m,
                         double *v_up, double *v_down, nh_threads *threads, nh_error *err);

/* Ewald energy of the ions (docs/scf.md 7), Ry. lattice in bohr. */
int nh_ewald(const nh_structure *s, const nh_species *species, double *energy, nh_error *err);

#endif
