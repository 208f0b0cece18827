#include "lcao/species.h"

#include <stdlib.h>

double nh_orbital_radius(const nh_orbital_set *o)
{
    return o->n_mesh > 0 ? (double)(o->n_mesh - 1) * o->dr : 0;
}

size_t nh_orbital_count(const nh_orbital_set *o)
{
    size_t n = 0;
    for (size_t i = 0; i < o->n_shell; i++)
        n += 2 * (size_t)o->l[i] + 1;
    return n;
}

void nh_orbital_set_free(nh_orbital_set *o)
{
    if (o == NULL) return;
    free(o->l);
    free(o->f);
    *o = (nh_orbital_set){0};
}

double nh_projector_radius(const nh_pseudo *p)
{
    double radius = 0;
    for (size_t i = 0; i < p->n_projector; i++) {
        const double r = p->r_full[p->projector[i].n - 1];
        if (r > radius) radius = r;
    }
    return radius;
}

void nh_pseudo_free(nh_pseudo *p)
{
    if (p == NULL) return;
    free(p->r);
    free(p->rab);
    free(p->local);
    free(p->rho_atom);
    free(p->core);
    free(p->r_full);
    free(p->rab_full);
    for (size_t i = 0; p->projector != NULL && i < p->n_projector; i++)
        free(p->projector[i].f);
    free(p->projector);
    free(p->d);
    *p = (nh_pseudo){0};
}

void nh_species_free(nh_species *s, size_t count)
{
    for (size_t i = 0; s != NULL && i < count; i++) {
        nh_orbital_set_free(&s[i].orbital);
        nh_pseudo_free(&s[i].pseudo);
    }
}
