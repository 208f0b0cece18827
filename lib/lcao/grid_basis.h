/* grid_basis.h - the orbitals on the grid, by tiles: matrix elements of a potential, and the density of a density
 * matrix (docs/h0.md 8, docs/scf.md 5). The two hot loops of h0build and nhscf. */
#ifndef NH_LCAO_GRID_BASIS_H
#define NH_LCAO_GRID_BASIS_H

#include "crystal/pairs.h"
#include "device/device.h"
#include "lcao/grid.h"
#include "lcao/species.h"

typedef struct nh_grid_basis nh_grid_basis;

typedef struct nh_grid_basis_task {
    const nh_grid *grid;
    const nh_structure *structure; /* atoms in the home cell, Å */
    const nh_species *species;
    const nh_pairs *pairs; /* holds every pair that overlaps (nh_lcao_pairs), with its reverse */
    size_t memory; /* bytes that stored orbital values may take; beyond it they are made again each time */
    nh_threads *threads;
} nh_grid_basis_task;

/* What the task points at must outlive it. */
int nh_grid_basis_new(const nh_grid_basis_task *task, nh_grid_basis **out, nh_error *err);
void nh_grid_basis_free(nh_grid_basis *b); /* NULL is fine */
/* From now on matrices and densities are the device's, which must outlive the basis (NULL: the CPU). */
int nh_grid_basis_place(nh_grid_basis *b, const nh_device *device, nh_error *err);

/* h[n_elem] = <phi_a0 | v | phi_bR>, v[n_point] Ry: complete, both a pair and its reverse; zero where nothing overlaps.
 * Same bytes for any number of threads. */
int nh_grid_matrix(const nh_grid_basis *b, const double *v, double *h, nh_error *err);
/* rho[n_point] = sum P_ab(R) phi_a(r) phi_b(r - R), p[n_elem] with P_ab(R) = P_ba(-R). */
int nh_grid_density(const nh_grid_basis *b, const double *p, double *rho, nh_error *err);

/* What the tile loops have done so far: tiles, floating-point operations, seconds of all threads, bytes stored. */
typedef struct nh_grid_work {
    size_t tiles, stored;
    double flops, seconds;
} nh_grid_work;
nh_grid_work nh_grid_basis_work(const nh_grid_basis *b);

#endif
