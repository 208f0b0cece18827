/* kspace.h - the reciprocal-space file hk.nc (schema kspace.cdl beside this file), and the k-point variables
 * that it shares with the eigenvalue file. */
#ifndef NH_FORMATS_NETCDF_KSPACE_H
#define NH_FORMATS_NETCDF_KSPACE_H

#include "crystal/graph.h"
#include "crystal/kpoints.h"
#include "formats/netcdf/nc.h"

/* What eigenvalues inherit from the crystal they belong to. */
typedef struct nh_electrons {
    double efermi, nelec;      /* eV, electrons of the cell; NaN where not known */
    double electrons_per_band; /* 1; 2 without spin */
    char *title, *matrix;      /* formula; "h0", "h_label", "h_pred"; may be NULL; owned */
    bool has_lattice;
    double lattice[9]; /* rows a1, a2, a3, Å */
} nh_electrons;

void nh_electrons_free(nh_electrons *e);
int nh_electrons_of(const nh_graph *g, nh_matrix m, nh_electrons *out, nh_error *err);
int nh_electrons_read(const nh_nc *f, nh_electrons *out, nh_error *err);
int nh_electrons_write(nh_nc *f, const nh_electrons *e, nh_error *err);

/* Dimensions kpoint and xyz, variables kpoint, k_weight, k_distance, k_label, attribute k_mode. */
int nh_kpoints_write(nh_nc *f, const nh_kpoints *k, nh_error *err);
/* Weights are equal, distances 0, labels empty where the file has none. */
int nh_kpoints_read(const nh_nc *f, nh_kpoints *out, nh_error *err);

typedef struct nh_kspace {
    nh_kpoints k;
    size_t basis;
    nh_electrons electrons;
} nh_kspace;

void nh_kspace_free(nh_kspace *s);
/* All but the matrices. */
int nh_kspace_read(const nh_nc *f, nh_kspace *out, nh_error *err);
int nh_kspace_write(nh_nc *f, const nh_kspace *s, nh_error *err);
/* The matrices of k-points first .. first+n-1: [n][basis][basis][2]. Reading makes them Hermitian, *anti
 * becomes at least the largest |A - A^dagger|/2 that was found (eV). An S that is not Hermitian within 1e-6
 * is an error. */
int nh_kspace_get(const nh_nc *f, const nh_kspace *s, size_t first, size_t n, double *h, double *sk,
                  double *anti, nh_error *err);
int nh_kspace_put(nh_nc *f, const nh_kspace *s, size_t first, size_t n, const double *h, const double *sk,
                  nh_error *err);

#endif
