/* grid.h - the real-space grid of a cell, its sphere of plane waves |G|^2 <= E, and the transforms between them
 * (docs/h0.md 6). A function on the grid is double [n[0]][n[1]][n[2]], last index fastest, point (i, j, k) at
 * i/n0 a1 + j/n1 a2 + k/n2 a3. On the sphere only half of the vectors is kept, real functions having X(-G) = X(G)*. */
#ifndef NH_LCAO_GRID_H
#define NH_LCAO_GRID_H

#include "base/complex.h"
#include "base/error.h"
#include "base/threads.h"
#include "device/device.h"

#include <stddef.h>
#include <stdint.h>

typedef struct nh_grid {
    double lattice[9];    /* rows, bohr */
    double reciprocal[9]; /* rows, 1/bohr, a_i . b_j = 2 pi delta_ij */
    double volume;        /* bohr^3 */
    double ecut;          /* Ry, of the density */
    size_t n[3], n_point; /* ABACUS's rule: 2^a 3^b 5^c */
    size_t n_wave;        /* all |G|^2 <= ecut, both G and -G */
    size_t n_g;           /* those kept: G = 0 first; of each pair G, -G one */
    size_t *box;          /* [n_g] place of G in the half-complex transform [n0][n1][n2/2+1]; owned */
    int16_t (*h)[3];      /* [n_g] G = sum h_i b_i; owned */
    double *weight;       /* [n_g] 1 for G = 0, else 2: sum over the whole sphere = sum weight; owned */
    size_t n_shell;       /* distinct lengths */
    double *shell_q;      /* [n_shell] |G|, ascending, 0 first; owned */
    uint32_t *shell;      /* [n_g]; owned */
    struct nh_fft *fft;   /* plans and work space; owned */
    const nh_device *device;
    nhk_potential *placed; /* NULL: V_H and v_xc are the CPU's; owned */
} nh_grid;

int nh_grid_new(const double lattice[9], double ecut, nh_threads *threads, nh_grid **out, nh_error *err);
void nh_grid_free(nh_grid *g); /* NULL is fine */
/* From now on V_H and v_xc (potential.h, unpolarised) are the device's, which must outlive the grid (NULL: the CPU). */
int nh_grid_place(nh_grid *g, const nh_device *device, nh_error *err);

/* X(G) = (1/n_point) sum_r f(r) exp(-iG.r), and back: f(r) = sum over the whole sphere. Not from two threads at once. */
void nh_grid_to_sphere(const nh_grid *g, const double *f, double complex *x);
void nh_grid_to_real(const nh_grid *g, const double complex *x, double *f);
/* The same for the whole box, half-complex [n0][n1][n2/2+1]: nothing is cut off. nh_grid_box_size complex numbers. */
size_t nh_grid_box_size(const nh_grid *g);
void nh_grid_to_box(const nh_grid *g, const double *f, double complex *x);
void nh_grid_from_box(const nh_grid *g, double complex *x, double *f); /* x is overwritten */

/* sum over the cell f dV */
double nh_grid_integral(const nh_grid *g, const double *f);

#endif
