/* run.h - the folder of an ABACUS run: which files are where, INPUT, running_scf.log. */
#ifndef NH_FORMATS_ABACUS_RUN_H
#define NH_FORMATS_ABACUS_RUN_H

#include "base/error.h"
#include "crystal/structure.h"

#include <stdbool.h>

#include <stddef.h>

/* What a log says; absent things are NaN, 0, NULL. */
typedef struct nh_abacus_log {
    double efermi; /* eV: the last EFERMI line, or the last row E_Fermi */
    double nelec;  /* AUTOSET number of electrons */
    int nspin;
    size_t n_type;
    size_t *n_shell; /* [n_type] shells of each atom type, in the order of STRU; owned */
    int *shell_l;    /* their degrees, type after type; owned */
    size_t n_atom;
    double *position; /* [n_atom][3] the first list of coordinates; owned */
    double unit;      /* Å for Cartesian positions; 0: fractional */
} nh_abacus_log;

int nh_abacus_log_read(const char *path, nh_abacus_log *out, nh_error *err);
void nh_abacus_log_free(nh_abacus_log *log);
/* ABACUS's own choice among the periodic images of each atom, where the log lists the same atoms (within 1e-5
 * of the lattice vectors): `s` is moved by lattice vectors onto it. Returns true where it was used. */
bool nh_abacus_log_adopt(const nh_abacus_log *log, nh_structure *s);

typedef struct nh_abacus_run {
    char *folder;
    char *stru;
    char *hamiltonian[2]; /* second one: spin down of nspin 2 */
    char *overlap;
    char *log;
    char *orbital_dir; /* from INPUT, relative to the run folder resolved */
    char *latname;
    int nspin;    /* INPUT's; 0 where it does not say */
    double nelec; /* INPUT's; 0: ABACUS counts */
    double nelec_delta;
    long scf_nmax; /* 1: the Hamiltonian is the zeroth-step one; 0 where INPUT does not say */
} nh_abacus_run;

/* Finds the files; what is absent stays NULL, but STRU must be there. */
int nh_abacus_run_find(const char *folder, nh_abacus_run *out, nh_error *err);
void nh_abacus_run_free(nh_abacus_run *run);
/* True where the folder looks like a run (has STRU or INPUT). */
bool nh_abacus_is_run(const char *folder);

#endif
