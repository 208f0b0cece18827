/* orbital_table.h - the orbitals of a species at points: radial functions by a table, real harmonics by
 * recursion. */
#ifndef NH_LCAO_ORBITAL_TABLE_H
#define NH_LCAO_ORBITAL_TABLE_H

#include "lcao/species.h"

enum {
    NH_LANES_OF_POINTS = 8, /* points evaluated side by side */
    NH_ORBITAL_LMAX = 6
};

typedef struct nh_orbital_table {
    size_t n_shell, n_orbital;
    const int *l; /* [n_shell]; borrowed */
    int lmax;
    double radius, step; /* bohr */
    size_t n_row;        /* mesh points */
    size_t width;        /* n_shell, rounded up to lanes */
    double *row;         /* [n_row][2][width] f and step * df/dr of every shell; owned */
    /* Recursion of the harmonics: N_mm = diagonal[m], N_lm = up[l][m] (z N_(l-1)m - down[l][m] N_(l-2)m). */
    double diagonal[NH_ORBITAL_LMAX + 1];
    double up[NH_ORBITAL_LMAX + 1][NH_ORBITAL_LMAX + 1], down[NH_ORBITAL_LMAX + 1][NH_ORBITAL_LMAX + 1];
} nh_orbital_table;

int nh_orbital_table_new(const nh_orbital_set *o, nh_orbital_table *out, nh_error *err);
void nh_orbital_table_free(nh_orbital_table *t); /* what it owns */

/* phi[i * stride + k] = scale[k] * orbital i at point k, relative to the atom: x, y, z [n], n a multiple of
 * NH_LANES_OF_POINTS. Zero from the radius on. */
void nh_orbitals_at(const nh_orbital_table *t, size_t n, const double *x, const double *y, const double *z,
                    const double origin[3], const double *scale, double *phi, size_t stride);

#endif
