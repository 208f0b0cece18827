/* integrals.h - integrals between the functions of one atom and those of another: tables of I_L(R) and their
 * contraction with harmonics (docs/h0.md 4). */
#ifndef NH_LCAO_INTEGRALS_H
#define NH_LCAO_INTEGRALS_H

#include "lcao/gaunt.h"
#include "lcao/transform.h"

typedef struct nh_integrals nh_integrals;

typedef struct nh_integrals_task {
    const nh_radial *a, *b; /* with their gaunt, must outlive the result */
    const nh_gaunt *gaunt;
    nh_q_mesh mesh;
    bool kinetic; /* also T */
    size_t
        n_distance; /* the distances (bohr) that will be asked for. Few different ones: the integrals of just these */
    double *distance; /* [n_distance]; sorted in place */
    nh_threads *threads;
} nh_integrals_task;

int nh_integrals_new(const nh_integrals_task *task, nh_integrals **out, nh_error *err);
void nh_integrals_free(nh_integrals *c); /* NULL is fine */

/* Doubles of work space that nh_integrals_block needs. */
size_t nh_integrals_work(const nh_integrals *c);
/* overlap, kinetic [a->n_orbital][b->n_orbital] = <f_a at 0| 1, -nabla^2 (Ry) |f_b at v>, v in bohr; kinetic may be NULL.
 * Zero at distances from a->radius + b->radius on. |v| must be one of the distances of the task. */
void nh_integrals_block(const nh_integrals *c, const double v[3], double *overlap, double *kinetic,
                        double *work);

#endif
