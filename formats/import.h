/* import.h - from what a user has (a structure file, matrices, ABACUS run folders) to a graph: finds the
 * files, the basis, the Fermi level and the number of electrons. */
#ifndef NH_FORMATS_IMPORT_H
#define NH_FORMATS_IMPORT_H

#include "base/options.h"
#include "formats/abacus/graph.h"

typedef struct nh_import_settings {
    const char *structure;  /* file, "-" for standard input; not used with `abacus` */
    double cutoff, rydberg; /* Å, eV */
    double efermi, nelec;   /* NaN: what the log says */
    nh_list h0, label;      /* file names, also several in one with commas between them */
    /* The rest may be NULL. `abacus`: a run folder, or one that has the runs h0/ and scf/; with `abacus_h0`
     * the label's. */
    const char *overlap, *position, *log, *basis, *orbital_dir, *abacus, *abacus_h0;
    int step;       /* ionic step of the matrices (csr.h), from 1; 0: the only one */
    bool no_verify; /* the overlap is not compared with that of the structure */
} nh_import_settings;

/* Remarks go to `messages`; `threads` read (both may be NULL). Free the graph with nh_graph_free. */
int nh_import(const nh_import_settings *set, nh_threads *threads, const nh_log *messages, nh_graph **out,
              nh_error *err);

#endif
