/* run.h - the folder of an ABACUS run: which files are where, INPUT, running_scf.log. */
#ifndef NH_FORMATS_ABACUS_RUN_H
#define NH_FORMATS_ABACUS_RUN_H

#include "base/error.h"
#include "crystal/structure.h"

#include <stdbool.h>

#include <stddef.h>

/* What a log says of one ionic step. */
typedef struct nh_abacus_log_step {
    long number;     /* from 1 */
    double efermi;   /* eV: the last EFERMI line, or the last row E_Fermi; NaN */
    int convergence; /* of the density: 1; -1: not achieved; 0: nothing is said */
} nh_abacus_log_step;

/* What a log says; absent things are NaN, 0, NULL. */
typedef struct nh_abacus_log {
    double nelec; /* "AUTOSET number of electrons", "Autoset the number of electrons" */
    int nspin;
    size_t n_type;
    size_t *n_shell; /* [n_type] shells of each atom type, in the order of STRU; owned */
    int *shell_l;    /* their degrees, type after type; owned */
    size_t n_atom;
    double *position;         /* [n_atom][3] the first list of coordinates; owned */
    double unit;              /* Å for Cartesian positions; 0: fractional */
    size_t n_step;            /* ionic steps, at least 1 */
    nh_abacus_log_step *step; /* [n_step]; owned */
    bool relaxed; /* the relaxation has converged: the last step's atoms were not moved any more */
} nh_abacus_log;

/* The step, from 1; 0: the last one. All NaN and 0 where the log does not have it. */
nh_abacus_log_step nh_abacus_log_of_step(const nh_abacus_log *log, long number);

int nh_abacus_log_read(const char *path, nh_abacus_log *out, nh_error *err);
void nh_abacus_log_free(nh_abacus_log *log);
/* ABACUS's own choice among the periodic images of each atom, where the log lists the same atoms (within 1e-5
 * of the lattice vectors): `s` is moved by lattice vectors onto it. Returns true where it was used. */
bool nh_abacus_log_adopt(const nh_abacus_log *log, nh_structure *s);

/* File names are NULL where there is none. */
typedef struct nh_abacus_run {
    char *folder, *output; /* the run's, and its OUT.suffix */
    char *stru;            /* may be missing where the matrices have the structure in their headers */
    bool has_stru;
    char *hamiltonian[2]; /* second one: spin down of nspin 2 */
    char *zeroth[2]; /* H0 of programs that write it beside H (data-H0R-sparse_SPIN0.csr, h0rs1_nao.csr) */
    char *overlap;
    char *position; /* data-rR-sparse.csr */
    char *log;
    char *orbital_dir; /* from INPUT, relative to the run folder resolved */
    char *latname;
    char *calculation; /* INPUT's; scf where it does not say */
    int nspin;         /* INPUT's, else 1, its default; 0 where there is no INPUT */
    bool gamma_only;
    double nelec; /* INPUT's; 0: ABACUS counts */
    double nelec_delta;
    long scf_nmax; /* 1: the Hamiltonian is the zeroth-step one; 0 where INPUT does not say */
    long step;     /* the ionic step in the names of the files (hrs1g3_nao.csr), from 1; 0: they have none */
} nh_abacus_run;

/* Finds the files: STRU or H must be there. `step` > 0 chooses among files that have it in their names, else
 * the last of them is taken. Files that only other versions or kinds of runs can have left beside these are
 * an error that names both. */
int nh_abacus_run_find(const char *folder, long step, nh_abacus_run *out, nh_error *err);
/* The structure file of an ionic step (1 and 0: the run's STRU): what ABACUS wrote after the step before, or
 * at its end. Where there is none that surely is of this step: an error that says what to do. The caller
 * frees *path. */
int nh_abacus_run_structure(const nh_abacus_run *run, const nh_abacus_log *log, long step, char **path,
                            nh_error *err);
void nh_abacus_run_free(nh_abacus_run *run);
/* True where the folder looks like a run (has STRU or INPUT). */
bool nh_abacus_is_run(const char *folder);

#endif
