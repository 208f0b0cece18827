/* scf.h - what nhscf adds to a real-space file: the run's settings, its iterations, energies and bands; the certificate of
 * a Hamiltonian (schema graph.cdl). */
#ifndef NH_FORMATS_NETCDF_SCF_H
#define NH_FORMATS_NETCDF_SCF_H

#include "formats/netcdf/nc.h"
#include "lcao/scf.h"

/* The variables that each of the functions below writes, NULL-terminated: those of an earlier run are not carried along. */
extern const char *const nh_scf_variables[], *const nh_scf_check_variables[];

int nh_scf_put(nh_nc *f, const nh_scf_task *task, const nh_scf_result *r, nh_error *err);
int nh_scf_check_put(nh_nc *f, const nh_scf_task *task, const char *matrix, const nh_scf_check *c,
                     nh_error *err);

#endif
