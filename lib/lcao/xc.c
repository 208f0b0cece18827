#include "lcao/potential.h"

#include "base/memory.h"
#include "lcao/functional.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double SMALL_SPIN = 1e-10; /* exchange of one spin's density, as ABACUS has it (docs/h0.md 9) */
static const double LARGEST_ZETA = 1 - 1e-6; /* in the gradient part, whose derivative is infinite at 1 */

/* --- gradient and divergence on the sphere */

typedef struct waves {
    const nh_grid *g;
    const double complex *x;
    double complex *to;
    int axis;
} waves;

enum { BATCH = 4096 };

static double component(const nh_grid *g, size_t w, int axis)
{
    const double *b = g->reciprocal + axis;
    return g->h[w][0] * b[0] + g->h[w][1] * b[3] + g->h[w][2] * b[6];
}

static size_t end_of(size_t index, size_t n)
{
    return (index + 1) * BATCH < n ? (index + 1) * BATCH : n;
}

static void derive(void *context, size_t index, int thread)
{
    (void)thread;
    const waves *d = context;
    for (size_t w = index * BATCH; w < end_of(index, d->g->n_g); w++) {
        const double q = component(d->g, w, d->axis);
        d->to[w] = CMPLX(-q * cimag(d->x[w]), q * creal(d->x[w]));
    }
}

static void derive_add(void *context, size_t index, int thread)
{
    (void)thread;
    const waves *d = context;
    for (size_t w = index * BATCH; w < end_of(index, d->g->n_g); w++) {
        const double q = component(d->g, w, d->axis);
        d->to[w] += CMPLX(-q * cimag(d->x[w]), q * creal(d->x[w]));
    }
}

static size_t batches(size_t n)
{
    return (n + BATCH - 1) / BATCH;
}

/* Room for the waves of a function and of one more. */
typedef struct room {
    double complex *x, *y;
} room;

static void gradient(const nh_grid *g, const double *f, const room *r, nh_threads *threads,
                     double *const to[3])
{
    nh_grid_to_sphere(g, f, r->x);
    for (int axis = 0; axis < 3; axis++) {
        waves d = {g, r->x, r->y, axis};
        nh_parallel_for(threads, batches(g->n_g), derive, &d);
        nh_grid_to_real(g, r->y, to[axis]);
    }
}

/* to = div h */
static void divergence(const nh_grid *g, double *const h[3], const room *r, nh_threads *threads, double *to)
{
    memset(r->y, 0, g->n_g * sizeof *r->y);
    for (int axis = 0; axis < 3; axis++) {
        nh_grid_to_sphere(g, h[axis], r->x);
        waves d = {g, r->x, r->y, axis};
        nh_parallel_for(threads, batches(g->n_g), derive_add, &d);
    }
    nh_grid_to_real(g, r->y, to);
}

/* --- unpolarised */

typedef struct points {
    size_t n;
    const double *n_total;
    double *grad[3]; /* grad n, replaced by h */
    double *v;
    double *energy; /* of each batch */
} points;

static void at_points(void *context, size_t index, int thread)
{
    (void)thread;
    const points *p = context;
    double energy = 0;
    for (size_t i = index * BATCH; i < end_of(index, p->n); i++) {
        double *const grad[3] = {&p->grad[0][i], &p->grad[1][i], &p->grad[2][i]};
        const double n = fabs(p->n_total[i]);
        const double sigma = *grad[0] * *grad[0] + *grad[1] * *grad[1] + *grad[2] * *grad[2];
        const nh_pbe_point at = nh_pbe_at(n, sigma);
        p->v[i] += at.v;
        energy += at.e;
        for (int x = 0; x < 3; x++)
            *grad[x] *= at.h;
    }
    p->energy[index] = energy;
}

typedef struct difference {
    size_t n;
    const double *a;
    double *to;
} difference;

static void subtract(void *context, size_t index, int thread)
{
    (void)thread;
    const difference *d = context;
    for (size_t i = index * BATCH; i < end_of(index, d->n); i++)
        d->to[i] -= d->a[i];
}

static int pbe_of_device(const nh_grid *g, const double *rho, const double *core, double *v, double *energy,
                         nh_error *err)
{
    const size_t n = g->n_point;
    double *density = NH_ARRAY(double, n), *xc = NH_ARRAY(double, n), e;
    int status = -1;
    if (density == NULL || xc == NULL) {
        nh_fail_memory(err, "exchange and correlation");
    } else {
        for (size_t i = 0; i < n; i++)
            density[i] = rho[i] + (core != NULL ? core[i] : 0);
        status = g->device->call->potential->pbe(g->placed, density, xc, &e, err);
        for (size_t i = 0; i < n && status == 0; i++)
            v[i] += xc[i];
        if (energy != NULL && status == 0) *energy = e;
    }
    free(density);
    free(xc);
    return status;
}

int nh_pbe_add(const nh_grid *g, const double *rho, const double *core, double *v, double *energy,
               nh_threads *threads, nh_error *err)
{
    if (g->placed != NULL) return pbe_of_device(g, rho, core, v, energy, err);
    const size_t n = g->n_point;
    room r = {NH_ARRAY(double complex, g->n_g), NH_ARRAY(double complex, g->n_g)};
    double *density = NH_ARRAY(double, n), *sum = NH_ARRAY(double, batches(n));
    points p = {.n = n, .n_total = density, .v = v, .energy = sum};
    bool room_left = r.x != NULL && r.y != NULL && density != NULL && sum != NULL;
    for (int x = 0; x < 3; x++)
        room_left = (p.grad[x] = NH_ARRAY(double, n)) != NULL && room_left;
    int status = -1;
    if (!room_left) {
        nh_fail_memory(err, "exchange and correlation");
    } else {
        for (size_t i = 0; i < n; i++)
            density[i] = rho[i] + (core != NULL ? core[i] : 0);
        gradient(g, density, &r, threads, p.grad);
        nh_parallel_for(threads, batches(n), at_points, &p);
        divergence(g, p.grad, &r, threads, density);
        difference d = {n, density, v};
        nh_parallel_for(threads, batches(n), subtract, &d);
        if (energy != NULL) {
            *energy = 0;
            for (size_t i = 0; i < batches(n); i++)
                *energy += sum[i];
            *energy *= g->volume / (double)n;
        }
        status = 0;
    }
    free(r.x);
    free(r.y);
    free(density);
    free(sum);
    for (int x = 0; x < 3; x++)
        free(p.grad[x]);
    return status;
}

/* --- polarised */

typedef struct spins {
    size_t n;
    const double *rho, *core, *m; /* core may be NULL */
    double *grad[2][3];           /* of the density of each spin, replaced by h */
    double *v[2];
} spins;

static void at_spins(void *context, size_t index, int thread)
{
    (void)thread;
    const spins *p = context;
    for (size_t i = index * BATCH; i < end_of(index, p->n); i++) {
        const double core = p->core != NULL ? p->core[i] : 0, n = fabs(p->rho[i] + core);
        if (n > NH_SMALL_LDA) {
            const nh_lda_polarised lda = nh_lda_polarised_at(n, fmax(-1, fmin(1, p->m[i] / n)));
            for (int s = 0; s < 2; s++)
                p->v[s][i] += 2 * lda.v[s];
        }
        double grad[2][3], sigma = 0, factor[2] = {0, 0}, mixed = 0;
        for (int x = 0; x < 3; x++) {
            for (int s = 0; s < 2; s++)
                grad[s][x] = p->grad[s][x][i];
            sigma += (grad[0][x] + grad[1][x]) * (grad[0][x] + grad[1][x]);
        }
        double of_spin[2];
        for (int s = 0; s < 2; s++) {
            const double sign = s == 0 ? 1 : -1;
            of_spin[s] = 0.5 * (p->rho[i] + sign * p->m[i] + core);
            const double square = grad[s][0] * grad[s][0] + grad[s][1] * grad[s][1] + grad[s][2] * grad[s][2];
            if (!(of_spin[s] > SMALL_SPIN)) continue;
            const nh_gga x = nh_pbe_exchange_of_spin(of_spin[s], square);
            p->v[s][i] += 2 * x.n;
            factor[s] = 4 * x.sigma;
        }
        if (n > NH_SMALL_GRADIENT) {
            const double zeta = (of_spin[0] - of_spin[1]) / n;
            const nh_gga_correlation c =
                nh_pbe_correlation_polarised(n, fmax(-LARGEST_ZETA, fmin(LARGEST_ZETA, zeta)), sigma);
            for (int s = 0; s < 2; s++)
                p->v[s][i] += 2 * c.n[s];
            mixed = 4 * c.sigma;
        }
        for (int x = 0; x < 3; x++)
            for (int s = 0; s < 2; s++)
                p->grad[s][x][i] = factor[s] * grad[s][x] + mixed * (grad[0][x] + grad[1][x]);
    }
}

int nh_pbe_polarised_add(const nh_grid *g, const double *rho, const double *core, const double *m,
                         double *v_up, double *v_down, nh_threads *threads, nh_error *err)
{
    const size_t n = g->n_point;
    room r = {NH_ARRAY(double complex, g->n_g), NH_ARRAY(double complex, g->n_g)};
    double *density = NH_ARRAY(double, n);
    spins p = {.n = n, .rho = rho, .core = core, .m = m, .v = {v_up, v_down}};
    bool room_left = r.x != NULL && r.y != NULL && density != NULL;
    for (int s = 0; s < 2; s++)
        for (int x = 0; x < 3; x++)
            room_left = (p.grad[s][x] = NH_ARRAY(double, n)) != NULL && room_left;
    if (room_left) {
        for (int s = 0; s < 2; s++) {
            for (size_t i = 0; i < n; i++)
                density[i] = 0.5 * (rho[i] + (s == 0 ? m[i] : -m[i]) + (core != NULL ? core[i] : 0));
            gradient(g, density, &r, threads, p.grad[s]);
        }
        nh_parallel_for(threads, batches(n), at_spins, &p);
        for (int s = 0; s < 2; s++) {
            divergence(g, p.grad[s], &r, threads, density);
            difference d = {n, density, p.v[s]};
            nh_parallel_for(threads, batches(n), subtract, &d);
        }
    }
    free(r.x);
    free(r.y);
    free(density);
    for (int s = 0; s < 2; s++)
        for (int x = 0; x < 3; x++)
            free(p.grad[s][x]);
    return room_left ? 0 : nh_fail_memory(err, "exchange and correlation of two spins");
}
