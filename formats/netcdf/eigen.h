/* eigen.h - the eigenvalue file eig.nc (schema eigen.cdl beside this file). */
#ifndef NH_FORMATS_NETCDF_EIGEN_H
#define NH_FORMATS_NETCDF_EIGEN_H

#include "crystal/bands.h"
#include "properties/projection.h"
#include "formats/netcdf/nc.h"

/* Defines the file's dimensions and variables and writes the k-points and, as attributes, the electrons.
 * `basis` > 0: with eigenvector(kpoint, band, basis, ri), to be filled by nh_eigen_put_vectors. `ragged`:
 * with band_index(kpoint) and band_count(kpoint), for k-points that differ in their bands. The energies need
 * not be known yet. */
int nh_eigen_define(nh_nc *f, const nh_bands *b, size_t basis, bool ragged, nh_error *err);
/* Energies, Fermi level, and the attribute band_first, the number (from 1) of the first band. */
int nh_eigen_put(nh_nc *f, const nh_bands *b, nh_error *err);
/* All bands of one k-point: vector[n_band][basis][2], NaN where there is none. */
int nh_eigen_put_vectors(nh_nc *f, size_t k, size_t n_band, size_t basis, const double *vector,
                         nh_error *err);
/* How many eigenvectors of S were projected out at each k-point, dropped[n_k]: overlap_dropped(kpoint). */
int nh_eigen_put_dropped(nh_nc *f, size_t n_k, const size_t *dropped, nh_error *err);
/* What geneig --against adds: s_norm, s_condition, h_difference_norm, the attributes against and
 * h_difference_mu. */
int nh_eigen_put_condition(nh_nc *f, const nh_condition *c, const char *against, nh_error *err);

/* What geneig --project and --spin add: projection(kpoint, band, group) with group_name(group) and the attribute
 * projected_by; spin(kpoint, band, xyz). */
int nh_eigen_put_weights(nh_nc *f, const nh_state_weights *w, nh_error *err);
/* What there is of it, for the bands of the file; n_group 0, spin NULL: not there. */
int nh_eigen_read_weights(const nh_nc *f, const nh_bands *b, nh_state_weights *out, nh_error *err);

/* Reads everything but eigenvectors, projections and spin. */
int nh_eigen_read(const nh_nc *f, nh_bands *out, nh_error *err);

#endif
