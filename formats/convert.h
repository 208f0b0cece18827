/* convert.h - a graph from whatever a user has, into whatever other programs read. */
#ifndef NH_FORMATS_CONVERT_H
#define NH_FORMATS_CONVERT_H

#include "formats/import.h"
#include "formats/netcdf/nc.h"

typedef enum nh_format {
    NH_FORMAT_GRAPH,         /* graph.nc */
    NH_FORMAT_ABACUS_CSR,    /* a folder with STRU, H(R), S(R): dialect C of formats/abacus/csr.h */
    NH_FORMAT_ABACUS_TEXT,   /* B */
    NH_FORMAT_ABACUS_BINARY, /* E */
    NH_FORMAT_DEEPH,         /* a folder: the layout of 2025 */
    NH_FORMAT_DEEPH_OLD,
    NH_FORMAT_WANNIER90 /* NAME_hr.dat, NAME_tb.dat, NAME_centres.xyz, NAME.win */
} nh_format;

/* For NH_OPT_CHOICE, in the order of nh_format. */
extern const char *const nh_format_names[];

/* What was found. */
typedef struct nh_found {
    nh_graph *graph;
    double *position; /* [3][n_elem] <a| r |b R>, Å; NULL where the input has none */
    bool is_graph;    /* it was a graph.nc */
} nh_found;

/* Reads `path` ("-": a graph from standard input): graph.nc, a folder of DeepH of either layout, an ABACUS
 * run folder. `set` gives what such a folder may lack: basis, efermi, nelec; its cutoff where it is not
 * NaN. What is known and is not read (npz of HamGNN, files of OpenMX, SIESTA and Wannier90) is refused by
 * name. */
int nh_convert_read(const char *path, const nh_import_settings *set, nh_threads *threads,
                    const nh_log *messages, nh_found *out, nh_error *err);
void nh_found_free(nh_found *f);

/* Writes structure, S and one matrix to a folder that is new or empty, as a run of ABACUS would have left
 * them. STRU names files "Ga.upf" and "Ga_2s2p1d.orb" for the elements: their shells are known, their
 * names are not. */
int nh_convert_to_abacus(const nh_graph *g, nh_matrix which, nh_format format, const char *folder,
                         nh_error *err);

#endif
