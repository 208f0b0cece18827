/* dos.h - numbers of states as functions of energy: densities of states, their projections, Fermi level, gap.
 *
 * What is computed is N(E), the number of electrons that the states below E hold, in the whole or each state times a weight
 * of its own (a projection). A density of states is the difference of two N(E) over a step of energy, so that it adds up to
 * the right number on any grid, and flat bands and van Hove singularities need no care.
 *
 *   tetrahedra (properties/tetrahedra.h): exact for energies that are linear between the points of the mesh;
 *   Gaussians: each state is a Gaussian of a given width, N(E) = sum w/2 erfc((e - E)/(sqrt(2) width)); any list of
 *   k-points that samples the zone with its weights. */
#ifndef NH_PROPERTIES_DOS_H
#define NH_PROPERTIES_DOS_H

#include "base/threads.h"
#include "crystal/bands.h"
#include "properties/tetrahedra.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nh_dos_task {
    const nh_bands *bands;
    size_t n_band;                   /* columns of the bands that all k-points have (nh_dos_bands) */
    const nh_tetrahedra *tetrahedra; /* NULL: Gaussians */
    double width;                    /* eV, standard deviation of the Gaussians */
    size_t n_column;
    const double *weight; /* [k.count][bands->n_band][n_column]; NULL where n_column is 0 */
    bool corrected;       /* columns by tetrahedra: with Bloechl's correction */
    nh_threads *threads;  /* may be NULL */
} nh_dos_task;

/* The columns that are filled at every k-point, where they are the same bands at all of them; `*dropped`: the others. Fails
 * for k-points along a path, for bands chosen by energy, and where nothing is left. */
int nh_dos_bands(const nh_bands *b, size_t *n_band, size_t *dropped, nh_error *err);

/* N at the energies lo, lo + step, ... (n of them), of one cell: total[n], and with the weights column[n][n_column] (NULL
 * where there are none). The bands below the first one of the list count as full in `total`. */
int nh_dos_count(const nh_dos_task *t, double lo, double step, size_t n, double *total, double *column,
                 nh_error *err);

typedef struct nh_dos_level {
    double efermi; /* eV: N(efermi) = nelec; in a gap its middle */
    bool insulator;
    nh_gap gap; /* where nelec is a whole number of bands: edges at points of the mesh; else occupied = 0 */
    double density; /* of states at efermi, electrons/eV; 0 in a gap */
    double
        energy; /* eV, sum of the energies of the occupied states of the bands given (tetrahedra: corrected) */
} nh_dos_level;

/* Fermi level of nelec electrons by the same integration. Fails where the bands do not hold them. */
int nh_dos_fermi(const nh_dos_task *t, double nelec, nh_dos_level *out, nh_error *err);

/* Density of states on the grid lo, lo + step, ..., each the mean over one step about its energy, electrons/eV: dos[n],
 * column[n][n_column]; below[n]: N at the energies themselves. `column_below` (NULL: not wanted): N of the columns there. */
int nh_dos_density(const nh_dos_task *t, double lo, double step, size_t n, double *dos, double *below,
                   double *column, double *column_below, nh_error *err);

#ifdef __cplusplus
}
#endif

#endif
