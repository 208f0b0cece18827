/* lcao.h - a crystal in numerical atomic orbitals: S, T, the nonlocal part, H of any density, H0 (docs/h0.md).
 * Structure in, matrices out: the border between Å, eV outside and bohr, Ry inside. */
#ifndef NH_LCAO_LCAO_H
#define NH_LCAO_LCAO_H

#include "crystal/graph.h"
#include "lcao/grid_basis.h"
#include "lcao/potential.h"
#include "lcao/two_centre.h"

typedef struct nh_lcao_task {
    const nh_structure *structure; /* with shells; copied, atoms moved into the home cell */
    const nh_species *species;     /* [structure->n_species]; must outlive the result */
    double ecut;                   /* Ry, of the wave functions: 100; the density has four times as much */
    int n_spin;                    /* 4, or 1: scalar */
    double cutoff;                 /* Å: kept in the graph, the network's edges */
    size_t memory;                 /* bytes: an estimate above it is an error that says both */
    size_t keep;                   /* bytes of them for stored orbital values (nh_grid_basis_task.memory) */
    nh_threads *threads;
    void (*stage)(void *context, const char *what); /* called after each part of the work; may be NULL */
    void *context;
    const nh_device *
        device; /* of the grid: matrix elements, densities, V_H, v_xc; must outlive the result. NULL: the CPU */
} nh_lcao_task;

/* Everything of a crystal that does not depend on the density. */
typedef struct nh_lcao {
    nh_structure structure; /* owned */
    const nh_species *species;
    nh_pairs pairs; /* owned */
    int n_spin;
    double cutoff;
    double n_electron;
    nh_grid *grid;
    nh_two_centre *two_centre;
    nh_grid_basis *basis;
    double *overlap; /* [n_elem] */
    double *kinetic; /* [n_elem] Ry */
    double *fixed;   /* [n_spin][n_elem][2] Ry: T + V_nl */
    double *local;   /* [n_point] Ry */
    double *rho0;    /* [n_point] superposed atomic densities */
    double *core;    /* [n_point]; NULL: no species has one */
    nh_threads *threads;
} nh_lcao;

int nh_lcao_new(const nh_lcao_task *task, nh_lcao **out, nh_error *err);
void nh_lcao_free(nh_lcao *l); /* NULL is fine */

/* The energies of V_H and v_xc of a density, Ry. */
typedef struct nh_density_energies {
    double hartree, xc;
    double v_rho; /* int rho (V_H + v_xc) */
} nh_density_energies;
/* v[n_point] = V_H[rho] + v_xc[rho + core]. */
int nh_lcao_potential(const nh_lcao *l, const double *rho, double *v, nh_density_energies *e, nh_error *err);
/* h[n_spin][n_elem][2] Ry = T + V_nl + <V_loc + v>. */
int nh_lcao_hamiltonian(const nh_lcao *l, const double *v, double *h, nh_error *err);

/* The graph with overlap and h0 (eV), nelec. magnetism: ABACUS's start (docs/h0.md 9). Free with nh_graph_free. */
int nh_lcao_graph(const nh_lcao *l, bool magnetism, nh_graph **out, nh_error *err);

#endif
