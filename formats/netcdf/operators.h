/* operators.h - Hamiltonian, overlap and position of a real-space file, ready for what needs velocities. */
#ifndef NH_FORMATS_NETCDF_OPERATORS_H
#define NH_FORMATS_NETCDF_OPERATORS_H

#include "properties/velocity.h"
#include "formats/netcdf/graph.h"
#include "formats/netcdf/kspace.h"

/* position_matrix(xyz, elem), Å: *out [3][n_elem], the caller frees; NULL where the file has none. */
int nh_position_read(const nh_nc *f, const nh_graph *g, double **out, nh_error *err);

typedef struct nh_operators {
    nh_nc *file;
    nh_graph *graph;
    double *position; /* NULL: not in the file, or not asked for */
    nh_electrons electrons;
    nh_fourier *fourier;
    nh_velocity *velocity;
    double anti; /* eV: what is not Hermitian in the matrix, and is left out */
} nh_operators;

/* Opens a file with the matrices in `want` (NH_WANT_*) and the overlap. `position`: its position matrix is
 * needed; a file without one is an error that says where to get it. */
int nh_operators_open(const char *path, unsigned want, bool position, nh_operators *out, nh_error *err);
/* Makes fourier, velocity, electrons and anti those of matrix m. */
int nh_operators_choose(nh_operators *o, nh_matrix m, nh_error *err);
void nh_operators_close(nh_operators *o);

#endif
