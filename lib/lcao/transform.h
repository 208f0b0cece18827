/* transform.h - radial functions as their Bessel transforms F(q) = sqrt(2/pi) int r^2 f(r) j_l(qr) dr (docs/h0.md 4). */
#ifndef NH_LCAO_TRANSFORM_H
#define NH_LCAO_TRANSFORM_H

#include "base/threads.h"
#include "lcao/species.h"

/* q = i dq, i < n. */
typedef struct nh_q_mesh {
    double dq; /* 1/bohr */
    size_t n;
} nh_q_mesh;

/* Fine enough for distances up to `reach` (bohr): the sampling theorem; up to q = 160. */
nh_q_mesh nh_q_mesh_for(double reach);

/* Functions f(r) Y_lm on one atom. Orbital `first[i] + m + l` is function i with m = -l..l. */
typedef struct nh_radial {
    size_t n;
    int *l;        /* [n]; owned */
    size_t *first; /* [n]; owned */
    int lmax;
    size_t n_orbital;
    double radius; /* bohr: zero beyond it */
    double *f;     /* [n][mesh.n]; owned */
} nh_radial;

/* The orbitals of a set; its orbitals times r, each with l + 1 and, where there is one, l - 1 (in this order); the
 * projectors of a pseudopotential. */
int nh_radial_orbitals(const nh_orbital_set *o, nh_q_mesh mesh, nh_threads *threads, nh_radial *out,
                       nh_error *err);
int nh_radial_moments(const nh_orbital_set *o, nh_q_mesh mesh, nh_threads *threads, nh_radial *out,
                      nh_error *err);
int nh_radial_projectors(const nh_pseudo *p, nh_q_mesh mesh, nh_threads *threads, nh_radial *out,
                         nh_error *err);
void nh_radial_free(nh_radial *r); /* what it owns */

#endif
