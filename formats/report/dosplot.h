/* dosplot.h - a density of states as a table, as JSON, and as a gnuplot script that makes a picture as it is. */
#ifndef NH_FORMATS_REPORT_DOSPLOT_H
#define NH_FORMATS_REPORT_DOSPLOT_H

#include "properties/dos.h"
#include "properties/projection.h"

#include <stdio.h>

/* The curves. Energies are on the scale of the Hamiltonian. */
typedef struct nh_dos_table {
    size_t n, n_column;
    double *energy;              /* [n] eV, ascending; owned, as all else */
    double *dos;                 /* [n] electrons/eV a cell */
    double *below;               /* [n] electrons below each energy */
    char (*name)[NH_GROUP_NAME]; /* [n_column] */
    double *column; /* [n][n_column] of the projections: electrons/eV, or electrons where `counts` */
    bool counts;
    double efermi; /* eV; NaN: not known */
} nh_dos_table;

int nh_dos_table_new(size_t n, size_t n_column, nh_dos_table *out, nh_error *err); /* zeros; efermi NaN */
void nh_dos_table_free(nh_dos_table *t);

typedef struct nh_dosplot {
    const nh_dos_table *table;
    const char *title, *name,
        *method;             /* title may be NULL; name of the Hamiltonian; how it was integrated, in words */
    const char *efermi_from; /* in words */
    bool absolute;           /* energies on the scale of the Hamiltonian */
    double zero;             /* eV: what is subtracted from the energies */
    double nelec;            /* NaN: not known */
    const nh_kpoints *k;     /* of the gap's edges */
    const nh_dos_level *level; /* NULL: no electrons have been filled in */
    const double
        *population;     /* [n_column] electrons of the projections below the Fermi level; NULL: not known */
    double window[2];    /* eV relative to `zero`, of the picture */
    const char *picture; /* what the gnuplot script writes */
} nh_dosplot;

typedef enum nh_dosplot_format {
    NH_DOSPLOT_TSV,
    NH_DOSPLOT_GNUPLOT,
    NH_DOSPLOT_JSON,
    NH_DOSPLOT_SUMMARY
} nh_dosplot_format;

/* Table: lines of facts beginning with '#', the last of them the header; then energy, density of states, electrons below, and
 * the projections. Summary: a header and one row. Write errors are left in the stream. */
void nh_dosplot_write(FILE *out, const nh_dosplot *p, nh_dosplot_format format);

/* Reads a table ("-": standard input); its Fermi level must be among the facts, from which its energies count. */
int nh_dos_table_read(const char *path, nh_dos_table *out, nh_error *err);

/* Colours of curves number 0, 1, ...: those of Okabe and Ito, which colour-blind people can tell apart. */
const char *nh_plot_colour(size_t number);

#endif
