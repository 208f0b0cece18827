/* optics.h - optical conductivities as a table, as JSON, and as a gnuplot script that makes a picture as it
 * is. */
#ifndef NH_FORMATS_REPORT_OPTICS_H
#define NH_FORMATS_REPORT_OPTICS_H

#include "properties/optics.h"

#include <stdio.h>

typedef struct nh_optics_curve {
    const char *name; /* of the Hamiltonian */
    nh_optics optics;
    double mu;           /* eV */
    const char *mu_from; /* in words */
    double nelec;        /* NaN: not known */
} nh_optics_curve;

/* 0: the mean of xx, yy, zz; 1 .. 9: xx, xy, ..., zz; 10: all nine */
extern const char *const nh_optics_components[]; /* "mean", "xx", ..., "all", NULL */

typedef struct nh_optics_plot {
    const char *title; /* may be NULL */
    size_t n_curve;
    const nh_optics_curve *curve;
    const double *energy; /* [n_energy] eV */
    double eta;           /* eV */
    bool exact;           /* a Lorentzian of one width: epsilon at E + i eta (nh_light_of) */
    int component;
    const int *mesh;                   /* [3] */
    const char *broadening, *position; /* in words */
    double temperature;                /* K */
    bool drude;                        /* the Drude term is in */
    const char *picture;               /* what the gnuplot script writes */
} nh_optics_plot;

typedef enum nh_optics_format { NH_OPTICS_COLUMNS, NH_OPTICS_JSON, NH_OPTICS_GNUPLOT } nh_optics_format;

/* Columns: lines of facts that begin with '#', the last of them the header with units; a row a photon energy.
 * Of one component sigma, epsilon, n, kappa, absorption and reflectivity for each Hamiltonian; of all nine
 * sigma alone. Write errors are left in the stream. */
void nh_optics_write(FILE *out, const nh_optics_plot *p, nh_optics_format format);

#endif
