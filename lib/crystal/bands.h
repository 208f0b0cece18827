/* bands.h - band energies: Fermi level, gap, and how two sets of bands differ. */
#ifndef NH_CRYSTAL_BANDS_H
#define NH_CRYSTAL_BANDS_H

#include "crystal/condition.h"
#include "crystal/kpoints.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nh_bands {
    nh_kpoints k;
    size_t n_band;        /* columns */
    double *energy;       /* [k.count][n_band] eV, ascending; NaN where a k-point has fewer bands; owned */
    size_t *first;        /* [k.count] index, from 0, of the band in column 0; owned */
    double efermi, nelec; /* NaN where not known */
    double electrons_per_band; /* 2 without spin, otherwise 1 */
    char *title, *matrix;      /* formula, and the Hamiltonian ("h_pred"); may be NULL; owned */
    bool has_lattice;
    double lattice[9]; /* rows a1, a2, a3, Å; where the file says it */
    char *against; /* the Hamiltonian that `condition` bounds the distance to; NULL: no such numbers; owned */
    nh_condition condition; /* owned */
} nh_bands;

int nh_bands_new(const nh_kpoints *k, size_t n_band, nh_bands *out,
                 nh_error *err); /* copies k; energies NaN */
void nh_bands_free(nh_bands *b);
/* Energy of band `band` (from 0) at a k-point; NaN where there is none. */
double nh_band_energy(const nh_bands *b, size_t k, size_t band);

/* Fermi level of `nelec` electrons that fill the states of these k-points (with their weights) from below:
 * half-way to the next state where the last one is full. Bands below the first column count as full. Fails
 * where the bands do not hold that many. */
int nh_fermi_level(const nh_bands *b, double nelec, double *efermi, nh_error *err);

typedef struct nh_gap {
    double vbm, cbm;     /* eV */
    size_t k_vbm, k_cbm; /* where */
    size_t occupied;     /* bands */
} nh_gap;
/* Highest occupied and lowest empty energies where nelec fills a whole number of bands; cbm < vbm: bands
 * overlap. False where it does not, or where one of the two bands is not among those given at some k-point.
 */
bool nh_band_gap(const nh_bands *b, double nelec, nh_gap *gap);

typedef struct nh_band_errors {
    double shift;     /* eV; added to the bands before they are compared: the median of reference - bands */
    double mean, max; /* eV, of |bands + shift - reference| over the states */
    size_t n_state;
    size_t first, n_band;         /* bands first .. first+n_band-1, from 0 */
    double *band_mean, *band_max; /* [n_band], NaN where a band has no state; owned */
    size_t n_k;
    double *k_max;  /* [n_k] largest difference at each k-point, NaN where it has no state; owned */
    size_t *k_band; /* [n_k] the band of it; owned */
    double median_k, threshold; /* median of k_max; max(0.1 eV, 5 median) */
    bool *ghost;                /* [n_k] k_max > threshold; owned */
    size_t n_ghost;
} nh_band_errors;

/* Compares band by band at the same k-points, over the states whose reference energy is at most `top` (eV,
 * absolute). Fails where the k-points differ or no state is left. */
int nh_band_compare(const nh_bands *b, const nh_bands *reference, double top, nh_band_errors *out,
                    nh_error *err);
void nh_band_errors_free(nh_band_errors *e);

#ifdef __cplusplus
}
#endif

#endif
