/* berry.h - Berry curvatures, topological invariants and effective masses as tables: lines of facts and a
 * header that begin with '#', columns separated by tabs. Write errors are left in the stream. */
#ifndef NH_FORMATS_REPORT_BERRY_H
#define NH_FORMATS_REPORT_BERRY_H

#include "properties/berry.h"
#include "properties/mass.h"
#include "properties/wilson.h"

#include <stdio.h>

/* A row a k-point: k_distance, label, k, Omega in Å^2; with spin-degenerate bands of both spins (times
 * electrons_per_band). */
void nh_curvature_write(FILE *out, const nh_kpoints *k, const double *curvature, double electrons_per_band);

/* The header of planes' rows, and a row: plane, height, invariant, gap, where, smallest link, margin (Z2). */
void nh_plane_header(FILE *out, bool z2);
void nh_plane_row(FILE *out, const nh_wilson *w, int normal, double at);
/* The centres of a plane: a row a line, with the position of the line (fractional). */
void nh_plane_centres(FILE *out, const nh_wilson *w, int normal, double at);

void nh_mass_header(FILE *out);
/* A level at k (fractional), called `name`: its rows, one a direction and band, and where it behaves as one
 * band its principal masses. */
int nh_mass_rows(FILE *out, const nh_mass *m, const char *name, const double k[3], const double *direction,
                 nh_error *err);

#endif
