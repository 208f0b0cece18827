/* made_species.h - species made of Gaussians: their integrals are known in closed form. */
#ifndef NH_TESTS_MADE_SPECIES_H
#define NH_TESTS_MADE_SPECIES_H

#include "base/memory.h"
#include "lcao/species.h"

#include <math.h>
#include <string.h>

/* r^l exp(-alpha r^2), normalised: int f^2 r^2 dr = 1. */
static inline double made_gaussian(int l, double alpha, double r)
{
    double norm = 4 / sqrt(M_PI) * pow(2 * alpha, 1.5); /* 2 (2 alpha)^(l+3/2) / Gamma(l + 3/2) */
    for (int i = 1; i <= l; i++)
        norm *= 2 * alpha / (i + 0.5);
    return sqrt(norm) * pow(r, l) * exp(-alpha * r * r);
}

/* Orbitals of n shells, ascending l, on a mesh of 0.01 bohr that ends at `radius` (f is not exactly zero there: choose
 * alpha radius^2 large). */
static inline nh_orbital_set made_orbitals(size_t n, const int *l, const double *alpha, double radius)
{
    nh_orbital_set o = {
        .n_shell = n, .l = NH_ARRAY(int, n), .n_mesh = (size_t)(radius / 0.01 + 1.5), .dr = 0.01};
    o.f = NH_ARRAY(double, n *o.n_mesh);
    for (size_t i = 0; i < n; i++) {
        o.l[i] = l[i];
        for (size_t k = 0; k < o.n_mesh; k++)
            o.f[i * o.n_mesh + k] = made_gaussian(l[i], alpha[i], (double)k * o.dr);
    }
    strcpy(o.hash, "made");
    return o;
}

/* A pseudopotential of z electrons whose charges are Gaussians: local -2 z erf(r)/r, density of width 1/sqrt(alpha), core
 * of half an electron where `core`; projectors r^l exp(-gamma r^2) with j and the diagonal d (j NaN: scalar). */
static inline nh_pseudo made_pseudo(const char *element, double z, double alpha, bool core, size_t n,
                                    const int *l, const double *j, const double *gamma, const double *d)
{
    nh_pseudo p = {.z_valence = z,
                   .spin_orbit = n == 0 || !isnan(j[0]),
                   .n_mesh = 1001,
                   .n_full = 1001,
                   .n_projector = n};
    snprintf(p.element, sizeof p.element, "%s", element);
    p.r = NH_ARRAY(double, p.n_mesh);
    p.rab = NH_ARRAY(double, p.n_mesh);
    p.r_full = NH_ARRAY(double, p.n_mesh);
    p.rab_full = NH_ARRAY(double, p.n_mesh);
    p.local = NH_ARRAY(double, p.n_mesh);
    p.rho_atom = NH_ARRAY(double, p.n_mesh);
    p.core = core ? NH_ARRAY(double, p.n_mesh) : NULL;
    p.projector = NH_ARRAY(nh_projector, n);
    p.d = NH_ARRAY(double, n *n);
    for (size_t i = 0; i < p.n_mesh; i++) {
        const double r = 0.01 * (double)i, charge = pow(alpha / M_PI, 1.5) * exp(-alpha * r * r);
        p.r[i] = p.r_full[i] = r;
        p.rab[i] = p.rab_full[i] = 0.01;
        p.local[i] = i == 0 ? -4 * z / sqrt(M_PI) : -2 * z * erf(r) / r;
        p.rho_atom[i] = z * 4 * M_PI * r * r * charge;
        if (core) p.core[i] = 0.5 * pow(2 / M_PI, 1.5) * exp(-2 * r * r);
    }
    for (size_t i = 0; i < n; i++) {
        const size_t end = 401;
        p.projector[i] = (nh_projector){.l = l[i], .j = j[i], .n = end, .f = NH_ARRAY(double, end)};
        for (size_t k = 0; k < end; k++)
            p.projector[i].f[k] = p.r[k] * made_gaussian(l[i], gamma[i], p.r[k]);
        p.d[i * n + i] = d[i];
    }
    strcpy(p.hash, "made");
    return p;
}

#endif
