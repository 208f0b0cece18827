#include "lcao/transform.h"

#include "base/memory.h"
#include "lcao/bessel.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>

enum { Q_BLOCK = 16 };           /* values of q that a thread takes at once */
static const double q_max = 160; /* 1/bohr: kinetic energies to 4e-10 Ry */

nh_q_mesh nh_q_mesh_for(double reach)
{
    const double dq = M_PI / (reach + 1);
    return (nh_q_mesh){.dq = dq, .n = (size_t)ceil(q_max / dq) + 1};
}

/* Functions on one mesh in r, times r^2 and the weights of the integral. */
typedef struct transform {
    nh_radial *out;
    nh_q_mesh mesh;
    size_t n_r;
    const double *r;
    bool uniform;
    const double *g; /* [out->n][n_r] */
    double *bessel;  /* [thread][(lmax+1) n_r] */
} transform;

static void transform_block(void *context, size_t index, int thread)
{
    const transform *const t = context;
    const size_t size = (size_t)(t->out->lmax + 1) * t->n_r;
    double *const j = t->bessel + (size_t)thread * size;
    const size_t end = (index + 1) * Q_BLOCK < t->mesh.n ? (index + 1) * Q_BLOCK : t->mesh.n;
    for (size_t q = index * Q_BLOCK; q < end; q++) {
        nh_spherical_bessel(t->out->lmax, (double)q * t->mesh.dq, t->n_r, t->r, t->uniform, j);
        for (size_t i = 0; i < t->out->n; i++)
            t->out->f[i * t->mesh.n + q] =
                cblas_ddot((int)t->n_r, t->g + i * t->n_r, 1, j + (size_t)t->out->l[i] * t->n_r, 1);
    }
}

static bool equal_steps(size_t n, const double *r)
{
    const double step = (r[n - 1] - r[0]) / (double)(n - 1);
    for (size_t i = 0; i < n; i++)
        if (fabs(r[i] - r[0] - (double)i * step) > 1e-12 * r[n - 1]) return false;
    return true;
}

/* out->l is set; g is [out->n][n_r]. */
static int run(nh_radial *out, nh_q_mesh mesh, size_t n_r, const double *r, const double *g,
               nh_threads *threads, nh_error *err)
{
    out->first = NH_ARRAY(size_t, out->n);
    size_t numbers = 0, scratch = 0;
    for (size_t i = 0; i < out->n; i++)
        if (out->l[i] > out->lmax) out->lmax = out->l[i];
    if (nh_size_mul(out->n, mesh.n, &numbers)) out->f = NH_ARRAY(double, numbers);
    scratch = (size_t)nh_threads_count(threads) * (size_t)(out->lmax + 1) * n_r;
    double *const bessel = NH_ARRAY(double, scratch);
    if (out->first == NULL || out->f == NULL || bessel == NULL) {
        free(bessel);
        return nh_fail_memory(err, "radial functions");
    }
    for (size_t i = 0; i < out->n; i++) {
        out->first[i] = out->n_orbital;
        out->n_orbital += 2 * (size_t)out->l[i] + 1;
    }
    transform t = {out, mesh, n_r, r, n_r > 1 && equal_steps(n_r, r), g, bessel};
    if (out->n > 0) nh_parallel_for(threads, (mesh.n + Q_BLOCK - 1) / Q_BLOCK, transform_block, &t);
    free(bessel);
    return 0;
}

/* Orbitals (moment: times r) with n functions, function i from shell from[i]. */
static int run_orbitals(const nh_orbital_set *o, const size_t *from, bool moment, nh_q_mesh mesh,
                        nh_threads *threads, nh_radial *out, nh_error *err)
{
    size_t numbers;
    double *const r = NH_ARRAY(double, o->n_mesh);
    double *const g = nh_size_mul(out->n, o->n_mesh, &numbers) ? NH_ARRAY(double, numbers) : NULL;
    int status = r != NULL && g != NULL ? 0 : nh_fail_memory(err, "radial functions");
    if (status == 0) {
        for (size_t i = 0; i < o->n_mesh; i++)
            r[i] = (double)i * o->dr;
        for (size_t k = 0; k < out->n; k++)
            for (size_t i = 0; i < o->n_mesh; i++) {
                /* Trapezoidal: the integrand is even at 0 and smooth at the end, where f is zero. */
                const double weight = sqrt(2 / M_PI) * o->dr * (i == o->n_mesh - 1 ? 0.5 : 1);
                g[k * o->n_mesh + i] =
                    weight * r[i] * r[i] * (moment ? r[i] : 1) * o->f[from[k] * o->n_mesh + i];
            }
        status = run(out, mesh, o->n_mesh, r, g, threads, err);
    }
    free(r);
    free(g);
    return status;
}

static int orbitals(const nh_orbital_set *o, bool moment, nh_q_mesh mesh, nh_threads *threads, nh_radial *out,
                    nh_error *err)
{
    *out = (nh_radial){.radius = nh_orbital_radius(o)};
    size_t *const from = NH_ARRAY(size_t, 2 * o->n_shell);
    out->l = NH_ARRAY(int, 2 * o->n_shell);
    int status = from != NULL && out->l != NULL ? 0 : nh_fail_memory(err, "radial functions");
    for (size_t i = 0; status == 0 && i < o->n_shell; i++) {
        const int l = o->l[i];
        from[out->n] = i;
        out->l[out->n++] = moment ? l + 1 : l;
        if (!moment || l == 0) continue;
        from[out->n] = i;
        out->l[out->n++] = l - 1;
    }
    if (status == 0) status = run_orbitals(o, from, moment, mesh, threads, out, err);
    free(from);
    if (status != 0) nh_radial_free(out);
    return status;
}

int nh_radial_orbitals(const nh_orbital_set *o, nh_q_mesh mesh, nh_threads *threads, nh_radial *out,
                       nh_error *err)
{
    return orbitals(o, false, mesh, threads, out, err);
}

int nh_radial_moments(const nh_orbital_set *o, nh_q_mesh mesh, nh_threads *threads, nh_radial *out,
                      nh_error *err)
{
    return orbitals(o, true, mesh, threads, out, err);
}

int nh_radial_projectors(const nh_pseudo *p, nh_q_mesh mesh, nh_threads *threads, nh_radial *out,
                         nh_error *err)
{
    *out = (nh_radial){.n = p->n_projector, .radius = nh_projector_radius(p)};
    size_t n_r = 1;
    for (size_t i = 0; i < p->n_projector; i++)
        if (p->projector[i].n > n_r) n_r = p->projector[i].n;
    out->l = NH_ARRAY(int, out->n);
    double *const g = NH_ARRAY(double, out->n *n_r);
    int status = out->l != NULL && g != NULL ? 0 : nh_fail_memory(err, "radial functions");
    if (status == 0) {
        for (size_t k = 0; k < out->n; k++) {
            const nh_projector *const beta = &p->projector[k];
            out->l[k] = beta->l;
            for (size_t i = 0; i < beta->n; i++)
                g[k * n_r + i] = sqrt(2 / M_PI) * p->rab_full[i] * (i == beta->n - 1 ? 0.5 : 1) *
                                 p->r_full[i] * beta->f[i];
        }
        status = run(out, mesh, n_r, p->r_full, g, threads, err);
    }
    free(g);
    if (status != 0) nh_radial_free(out);
    return status;
}

void nh_radial_free(nh_radial *r)
{
    if (r == NULL) return;
    free(r->l);
    free(r->first);
    free(r->f);
    *r = (nh_radial){0};
}
