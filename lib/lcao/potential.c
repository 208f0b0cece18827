#include "lcao/potential.h"

#include "base/memory.h"
#include "crystal/lattice.h"
#include "lcao/radial.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What is superposed. */
enum { RHO, CORE, LOCAL, KINDS };

/* --- one species: x(|G|) of docs/h0.md 6 for every shell */

enum {
    DIRECT_SHELLS = 20000, /* more lengths than this are interpolated: a table is as long as that */
};

typedef struct radial_of {
    bool wanted[KINDS];
    double *value[KINDS]; /* [n_shell]; owned */
} radial_of;

/* The integrands with Simpson's weights; the order of the functions is that of KINDS. */
static void integrands(const nh_pseudo *p, const double *weight, double *g)
{
    const size_t n = p->n_mesh;
    for (size_t i = 0; i < n; i++) {
        const double r = p->r[i], w = weight[i];
        g[RHO * n + i] = r > 0 ? w * p->rho_atom[i] / r : 0; /* 4 pi r^2 rho: zero at r = 0 */
        g[CORE * n + i] = p->core != NULL ? 4 * M_PI * w * r * p->core[i] : 0;
        g[LOCAL * n + i] = 4 * M_PI * w * (r * p->local[i] + 2 * p->z_valence * erf(r));
    }
}

static int radial_functions(const nh_grid *grid, const nh_pseudo *p, nh_threads *threads, radial_of *out,
                            nh_error *err)
{
    const size_t n = p->n_mesh, n_q = grid->n_shell;
    double *weight = NH_ARRAY(double, n), *g = NH_ARRAY(double, KINDS *n);
    double *value = NULL;
    nh_sine_table table = {.value = NULL};
    int status = -1;
    if (weight == NULL || g == NULL) {
        nh_fail_memory(err, "radial integrals");
        goto done;
    }
    nh_simpson(n, p->rab, weight);
    integrands(p, weight, g);
    const bool direct = n_q <= DIRECT_SHELLS;
    if (direct) {
        value = NH_ARRAY(double, KINDS *n_q);
        if (value == NULL) {
            nh_fail_memory(err, "radial integrals");
            goto done;
        }
        if (nh_sine_transforms(n, p->r, KINDS, g, n_q, grid->shell_q, value, threads, err) != 0) goto done;
    } else if (nh_sine_table_new(n, p->r, KINDS, g, grid->shell_q[n_q - 1], threads, &table, err) != 0) {
        goto done;
    }
    for (int kind = 0; kind < KINDS; kind++) {
        if (!out->wanted[kind]) continue;
        out->value[kind] = NH_ARRAY(double, n_q);
        if (out->value[kind] == NULL) {
            nh_fail_memory(err, "radial integrals");
            goto done;
        }
        for (size_t k = 0; k < n_q; k++)
            out->value[kind][k] = (direct ? value[(size_t)kind * n_q + k]
                                          : nh_sine_table_at(&table, (size_t)kind, grid->shell_q[k])) /
                                  grid->volume;
    }
    if (out->wanted[LOCAL]) {
        /* The long range was taken off as 2Z erf(r)/r; at q = 0 all of 2Z/r is (docs/h0.md 6). */
        double *local = out->value[LOCAL];
        for (size_t k = 1; k < n_q; k++) {
            const double q2 = grid->shell_q[k] * grid->shell_q[k];
            local[k] -= 8 * M_PI * p->z_valence * exp(-q2 / 4) / (q2 * grid->volume);
        }
        local[0] = 0;
        for (size_t i = 0; i < n; i++)
            local[0] +=
                4 * M_PI / grid->volume * weight[i] * p->r[i] * (p->r[i] * p->local[i] + 2 * p->z_valence);
    }
    status = 0;
done:
    free(weight);
    free(g);
    free(value);
    nh_sine_table_free(&table);
    return status;
}

/* --- structure factors: exp(-iG.tau) is a product of three phases; in a plane of given h1 the sum over atoms
 * is a product of matrices, A(h2, a) = e1(a, h1) e2(a, h2) times e3(a, h3) */

enum { ATOMS = 128 }; /* in one product: A stays in the cache */

typedef struct superposition {
    const nh_grid *grid;
    const size_t *first_atom; /* [n_species+1] into the phases: atoms species by species */
    size_t n_species, n_atom;
    const double complex *e1, *e2, *e3; /* [n0][n_atom], [n1][n_atom], [n_atom][n2/2+1] */
    const radial_of *radial;            /* [n_species] */
    double complex *sum[KINDS];         /* [n_g]; NULL: not wanted */
    const size_t *first_wave;           /* [n0+1] */
    double complex *a, *s;              /* [thread][n1][ATOMS], [thread][n1][n2/2+1] */
} superposition;

static void one_plane(void *context, size_t plane, int thread)
{
    const superposition *t = context;
    const nh_grid *g = t->grid;
    const size_t first = t->first_wave[plane], last = t->first_wave[plane + 1], half = g->n[2] / 2 + 1;
    if (first == last) return;
    int low = g->h[first][1], high = low, top = 0;
    for (size_t w = first; w < last; w++) {
        if (g->h[w][1] < low) low = g->h[w][1];
        if (g->h[w][1] > high) high = g->h[w][1];
        if (g->h[w][2] > top) top = g->h[w][2];
    }
    const int rows = high - low + 1, columns = top + 1;
    double complex *a = t->a + (size_t)thread * g->n[1] * ATOMS, *s = t->s + (size_t)thread * g->n[1] * half;
    for (size_t x = 0; x < t->n_species; x++) {
        for (size_t from = t->first_atom[x]; from < t->first_atom[x + 1]; from += ATOMS) {
            const size_t rest = t->first_atom[x + 1] - from, count = rest < ATOMS ? rest : ATOMS;
            for (int row = 0; row < rows; row++) {
                const size_t h2 = (size_t)(low + row + (low + row < 0 ? (int)g->n[1] : 0));
                for (size_t k = 0; k < count; k++)
                    a[(size_t)row * count + k] =
                        t->e1[plane * t->n_atom + from + k] * t->e2[h2 * t->n_atom + from + k];
            }
            const double complex one = 1, beta = from == t->first_atom[x] ? 0 : 1;
            cblas_zgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, columns, (int)count, &one, a,
                        (int)count, t->e3 + from * half, (int)half, &beta, s, columns);
        }
        if (t->first_atom[x] == t->first_atom[x + 1]) continue;
        for (int kind = 0; kind < KINDS; kind++) {
            const double *radial = t->radial[x].value[kind];
            if (radial == NULL) continue;
            for (size_t w = first; w < last; w++)
                t->sum[kind][w] += radial[g->shell[w]] * s[(g->h[w][1] - low) * columns + g->h[w][2]];
        }
    }
}

/* exp(-2 pi i h x) for the index's signed h */
static double complex phase(size_t index, size_t n, double x)
{
    const double h = index <= n / 2 ? (double)index : (double)index - (double)n;
    double turn = h * x;
    turn -= floor(turn);
    return CMPLX(cos(2 * M_PI * turn), -sin(2 * M_PI * turn));
}

static int make_phases(const nh_grid *g, const nh_structure *s, size_t *first_atom, double complex **e,
                       nh_error *err)
{
    const size_t half = g->n[2] / 2 + 1, n_atom = s->n_atom;
    const size_t length[3] = {g->n[0], g->n[1], half};
    for (int x = 0; x < 3; x++) {
        e[x] = NH_ARRAY(double complex, length[x] * n_atom);
        if (e[x] == NULL) return nh_fail_memory(err, "structure factors");
    }
    double inverse[9];
    nh_lattice_inverse(s->lattice, inverse);
    size_t place = 0;
    for (size_t x = 0; x < s->n_species; x++) {
        first_atom[x] = place;
        for (size_t a = 0; a < n_atom; a++) {
            if (s->species[a] != (int)x) continue;
            double f[3];
            nh_lattice_apply(s->position + 3 * a, inverse, f);
            for (size_t h = 0; h < g->n[0]; h++)
                e[0][h * n_atom + place] = phase(h, g->n[0], f[0]);
            for (size_t h = 0; h < g->n[1]; h++)
                e[1][h * n_atom + place] = phase(h, g->n[1], f[1]);
            for (size_t h = 0; h < half; h++)
                e[2][place * half + h] = phase(h, 2 * half, f[2]);
            place++;
        }
    }
    first_atom[s->n_species] = place;
    return 0;
}

int nh_superposed(const nh_grid *g, const nh_structure *s, const nh_species *species, double *rho,
                  double *core, double *local, nh_threads *threads, nh_error *err)
{
    double *const out[KINDS] = {[RHO] = rho, [CORE] = core, [LOCAL] = local};
    const size_t n_threads = (size_t)nh_threads_count(threads), half = g->n[2] / 2 + 1;
    double complex *e[3] = {NULL, NULL, NULL}, *a = NULL, *factor = NULL;
    superposition t = {.grid = g, .n_species = s->n_species, .n_atom = s->n_atom};
    size_t *first_atom = NH_ARRAY(size_t, s->n_species + 1), *first_wave = NH_ARRAY(size_t, g->n[0] + 1);
    radial_of *radial = NH_ARRAY(radial_of, s->n_species);
    int status = -1;
    a = NH_ARRAY(double complex, n_threads * g->n[1] * ATOMS);
    factor = NH_ARRAY(double complex, n_threads * g->n[1] * half);
    if (first_atom == NULL || first_wave == NULL || radial == NULL || a == NULL || factor == NULL) {
        nh_fail_memory(err, "structure factors");
        goto done;
    }
    for (int kind = 0; kind < KINDS; kind++) {
        if (out[kind] == NULL) continue;
        t.sum[kind] = NH_ARRAY(double complex, g->n_g);
        if (t.sum[kind] == NULL) {
            nh_fail_memory(err, "superposed densities and potentials");
            goto done;
        }
    }
    double n_electron = 0;
    for (size_t x = 0; x < s->n_species; x++) {
        const nh_pseudo *p = &species[x].pseudo;
        for (int kind = 0; kind < KINDS; kind++)
            radial[x].wanted[kind] = out[kind] != NULL && (kind != CORE || p->core != NULL);
        if (radial_functions(g, p, threads, &radial[x], err) != 0) goto done;
    }
    for (size_t i = 0; i < s->n_atom; i++)
        n_electron += species[s->species[i]].pseudo.z_valence;
    if (make_phases(g, s, first_atom, e, err) != 0) goto done;
    for (size_t w = 0; w < g->n_g; w++) /* waves are sorted by h1 as the box is */
        first_wave[g->box[w] / (g->n[1] * half) + 1] = w + 1;
    for (size_t i = 0; i < g->n[0]; i++)
        if (first_wave[i + 1] < first_wave[i]) first_wave[i + 1] = first_wave[i];
    t.first_atom = first_atom;
    t.e1 = e[0];
    t.e2 = e[1];
    t.e3 = e[2];
    t.radial = radial;
    t.first_wave = first_wave;
    t.a = a;
    t.s = factor;
    nh_parallel_for(threads, g->n[0], one_plane, &t);
    if (rho != NULL) {
        const double charge = creal(t.sum[RHO][0]) * g->volume;
        if (!(charge > 0)) {
            nh_fail(err, "pseudopotentials: the atoms' densities hold %g electrons", charge);
            goto done;
        }
        for (size_t w = 0; w < g->n_g; w++)
            t.sum[RHO][w] *= n_electron / charge;
    }
    for (int kind = 0; kind < KINDS; kind++)
        if (out[kind] != NULL) nh_grid_to_real(g, t.sum[kind], out[kind]);
    status = 0;
done:
    for (size_t x = 0; x < s->n_species && radial != NULL; x++)
        for (int kind = 0; kind < KINDS; kind++)
            free(radial[x].value[kind]);
    for (int kind = 0; kind < KINDS; kind++)
        free(t.sum[kind]);
    for (int x = 0; x < 3; x++)
        free(e[x]);
    free(first_atom);
    free(first_wave);
    free(radial);
    free(a);
    free(factor);
    return status;
}

/* --- V_H */

int nh_hartree_add(const nh_grid *g, const double *rho, double *v, double *energy, nh_error *err)
{
    double complex *x = NH_ARRAY(double complex, g->n_g);
    double *hartree = NH_ARRAY(double, g->n_point);
    if (x == NULL || hartree == NULL) {
        free(x);
        free(hartree);
        return nh_fail_memory(err, "the Hartree potential");
    }
    if (g->placed != NULL) {
        double e;
        const int status = g->device->call->potential->hartree(g->placed, rho, hartree, &e, err);
        for (size_t i = 0; i < g->n_point && status == 0; i++)
            v[i] += hartree[i];
        if (energy != NULL && status == 0) *energy = e;
        free(x);
        free(hartree);
        return status;
    }
    nh_grid_to_sphere(g, rho, x);
    double sum = 0;
    x[0] = 0; /* the constant is zero: the cell is neutral with the ions */
    for (size_t w = 1; w < g->n_g; w++) {
        const double q = g->shell_q[g->shell[w]], kernel = 8 * M_PI / (q * q);
        sum += g->weight[w] * kernel * (creal(x[w]) * creal(x[w]) + cimag(x[w]) * cimag(x[w]));
        x[w] *= kernel;
    }
    if (energy != NULL) *energy = 0.5 * g->volume * sum;
    nh_grid_to_real(g, x, hartree);
    for (size_t i = 0; i < g->n_point; i++)
        v[i] += hartree[i];
    free(x);
    free(hartree);
    return 0;
}
