/* deeph.h - folders of DeepH: structure, basis, H(R) and S(R) in HDF5 files. Units, orders and indices of
 * DeepH end here.
 *
 * Old layout (DeepH-pack 0.2, DeepH-E3): lat.dat, rlat.dat, site_positions.dat (vectors are columns, Å),
 * element.dat, orbital_types.dat, info.json; hamiltonians.h5, overlaps.h5 with a dataset "[Rx, Ry, Rz, i,
 * j]" for each block, atoms from 1. Orbitals in OpenMX's order: p is x, y, z, d is z2, x2-y2, xy, xz, yz,
 * beyond that m = 0, 1, -1, 2, -2, ...
 *
 * New layout (DeepH-dock, DeepH-pack 2025; its page "Key concepts"): POSCAR, info.json; hamiltonian.h5,
 * overlap.h5 with atom_pairs [n][5] (R, i, j from 0), chunk_shapes [n][2], chunk_boundaries [n+1],
 * entries. Orbitals m = -l..l. Atoms of an element stand together. Every file has the same pairs.
 *
 * Both: eV, H(R) = <0| H |R>, real harmonics without the Condon-Shortley sign; with spin the blocks are
 * [[uu, ud], [du, dd]], complex. S has no spin. Prediction of DeepH: hamiltonians_pred.h5,
 * hamiltonian_pred.h5.
 *
 * info.json has no place for some things that a graph knows. They are in its entry "nextham" (matrix,
 * cutoff, nelec, rydberg), which DeepH does not look at. */
#ifndef NH_FORMATS_DEEPH_DEEPH_H
#define NH_FORMATS_DEEPH_DEEPH_H

#include "crystal/graph.h"
#include "formats/abacus/graph.h" /* nh_log */
#include "formats/deeph/layout.h"

/* By the files that are there. */
nh_deeph_layout nh_deeph_recognise(const char *folder);

/* Pairs: those of all files and, where `cutoff` > 0, all nearer ones; NaN: the cutoff that "nextham" says,
 * else 8 Å. H is h_label, or what "nextham" says; that of a _pred file h_pred. Checked: sizes against the
 * basis before memory is taken, indices, each block once, finite numbers, S symmetric. An H that is not
 * Hermitian within 1e-5 eV is a warning with the amount: predictions of other networks are not. Free with
 * nh_graph_free. */
int nh_deeph_read(const char *folder, double cutoff, const nh_log *messages, nh_graph **out, nh_error *err);

/* Writes S and the matrix into a folder that is new or empty. All pairs of the graph are written, those of
 * zeros, too. Errors: the matrix or S is missing; without spin, imaginary parts; in the new layout, shells
 * that differ between atoms of an element. */
int nh_deeph_write(const char *folder, nh_deeph_layout layout, const nh_graph *g, nh_matrix which,
                   nh_error *err);

#endif
