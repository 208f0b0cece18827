/* bandplot.h - bands as a table, as JSON, and as a gnuplot script that makes a picture as it is. */
#ifndef NH_FORMATS_REPORT_BANDPLOT_H
#define NH_FORMATS_REPORT_BANDPLOT_H

#include "crystal/bands.h"
#include "formats/report/dosplot.h"

#include <stdio.h>

typedef struct nh_band_curve {
    const nh_bands *bands;
    const char *name; /* legend */
    double zero; /* eV; what is subtracted from the energies: the Fermi level, less the shift where curves are
                    aligned */
    double efermi;           /* eV */
    const char *efermi_from; /* in words */
} nh_band_curve;

typedef struct nh_bandplot {
    const char *title; /* may be NULL */
    nh_band_curve curve;
    size_t n_reference;
    const nh_band_curve *reference;
    const nh_band_errors *errors; /* of curve against reference[0]; NULL without references */
    double top;                   /* eV above the reference's Fermi level: the errors' limit */
    bool has_gap;
    nh_gap gap;
    /* Parts of the states of `curve` on groups of orbitals, and their spin. The table is then one row a state, the picture has
     * fat bands: rings whose areas are the parts of the state; with spin_axis >= 0 the colour is <sigma> along it. */
    const nh_state_weights *states; /* NULL: not asked for */
    int spin_axis;                  /* 0, 1, 2; -1: none */
    const nh_dos_table *dos;        /* gnuplot: drawn beside the bands; NULL: none */
    double window[2];               /* eV relative to the Fermi level; may be infinite */
    const char *picture;            /* what the gnuplot script writes */
} nh_bandplot;

enum {
    NH_BANDPLOT_GROUPS = 7
}; /* at most so many projections are drawn: those with most of the states shown */

typedef enum nh_bandplot_format {
    NH_BANDPLOT_TSV,
    NH_BANDPLOT_GNUPLOT,
    NH_BANDPLOT_JSON,
    NH_BANDPLOT_SUMMARY,
    NH_BANDPLOT_KPOINTS
} nh_bandplot_format;

/* Summary: a header and one row of what the comparison and the gap say. K-points: a header and a row for each
 * k-point, with the largest difference there and, where the bands know it (nh_bands.against is the reference's
 * matrix), its bound. Both are separated by tabs; "nan" or "-" stand for what is not known.
 * Table: lines of facts beginning with '#', the last of them the header; then k_distance, label ('-': none)
 * and the bands that enter the window somewhere, eV relative to the Fermi level. Write errors are left in the
 * stream. */
void nh_bandplot_write(FILE *out, const nh_bandplot *p, nh_bandplot_format format);

#endif
