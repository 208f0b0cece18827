/* Two-centre integrals and the nonlocal pseudopotential (docs/h0.md 3-5): against closed forms of Gaussians, against the
 * reference crystals where they are, and against their symmetries. */
#include "check.h"

#include "crystal/graph.h"
#include "formats/netcdf/graph.h"
#include "formats/pseudo/orbital.h"
#include "formats/pseudo/upf.h"
#include "lcao/bessel.h"
#include "lcao/integrals.h"
#include "lcao/two_centre.h"
#include "made_species.h"
#include "o3/harmonics.h"

#include <unistd.h>

#define SHARED "../shared/data/"

static void near(double a, double b, double tolerance, const char *what)
{
    if (!(fabs(a - b) <= tolerance))
        fail_msg("%s: %.15g, %.15g expected (%.1e apart)", what, a, b, fabs(a - b));
}

/* --- functions on the sphere ------------------------------------------------------------------------------------- */

static void bessel_functions(void **state)
{
    (void)state;
    enum { N = 700, LMAX = 9 };
    static double r[N], uniform[(LMAX + 1) * N], other[(LMAX + 1) * N];
    for (size_t i = 0; i < N; i++)
        r[i] = 0.05 * (double)i;
    nh_spherical_bessel(LMAX, 1.7, N, r, true, uniform);
    nh_spherical_bessel(LMAX, 1.7, N, r, false, other);
    assert_true(uniform[0] == 1 && uniform[N] == 0);
    for (size_t i = 1; i < N; i++) {
        const double x = 1.7 * r[i];
        near(uniform[i], sin(x) / x, 1e-14, "j0");
        /* sum (2l+1) j_l^2 = 1, complete where x is small */
        double sum = 0;
        for (size_t l = 0; l <= LMAX; l++) {
            near(uniform[l * N + i], other[l * N + i], 1e-13, "equal steps");
            sum += (double)(2 * l + 1) * uniform[l * N + i] * uniform[l * N + i];
        }
        if (x < 2) near(sum, 1, 1e-10, "sum rule");
        near(uniform[N + i],
             x < 0.05 ? x / 3 * (1 - x * x / 10 * (1 - x * x / 28)) : sin(x) / (x * x) - cos(x) / x, 1e-13,
             "j1");
        /* the recursion holds across the border of series and recursion */
        for (size_t l = 1; l < LMAX; l++)
            near(uniform[(l - 1) * N + i] + uniform[(l + 1) * N + i],
                 (double)(2 * l + 1) / x * uniform[l * N + i], 1e-12, "recursion");
    }
}

/* The product of two harmonics is the sum of Gaunt coefficients times harmonics. */
static void gaunt_coefficients(void **state)
{
    (void)state;
    nh_gaunt g;
    OK(nh_gaunt_new(3, 4, &g, &err));
    const double v[3] = {0.3, -1.1, 0.7}, scale = 1 / sqrt(4 * M_PI);
    double y[64];
    nh_spherical_harmonics(7, 1, v, y);
    for (int l1 = 0; l1 <= 3; l1++)
        for (int l2 = 0; l2 <= 4; l2++) {
            double product[7][9] = {{0}};
            for (int step = 0; step <= (l1 < l2 ? l1 : l2); step++) {
                const int L = abs(l1 - l2) + 2 * step;
                const nh_gaunt_term *t;
                const size_t n = nh_gaunt_terms(&g, l1, l2, step, &t);
                for (size_t i = 0; i < n; i++)
                    product[t[i].m1][t[i].m2] += t[i].value * scale * y[L * L + t[i].m];
            }
            for (int m1 = 0; m1 <= 2 * l1; m1++)
                for (int m2 = 0; m2 <= 2 * l2; m2++)
                    near(product[m1][m2], scale * scale * y[l1 * l1 + m1] * y[l2 * l2 + m2], 1e-13,
                         "product");
        }
    nh_gaunt_free(&g);
    assert_int_equal(nh_gaunt_new(8, 8, &g, &err), -1);
}

/* L.sigma has the eigenvalues l and -l-1: x^2 + x = l(l+1). [Lx, Ly] = i Lz. L_z of (x, y, z) is known. */
static void angular_momentum(void **state)
{
    (void)state;
    double a[3 * 49];
    nh_angular_momentum(1, a); /* y, z, x; L_z x = i y: <y|L_z|x> = i */
    near(a[2 * 9 + 0 * 3 + 2], 1, 1e-15, "<y|Lz|x>/i");
    for (int l = 0; l <= 3; l++) {
        const int n = 2 * l + 1;
        nh_angular_momentum(l, a);
        const double *const x = a, *const y = a + n * n, *const z = a + 2 * n * n;
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++) {
                double commutator = 0, square = 0;
                for (int k = 0; k < n; k++) {
                    commutator += x[i * n + k] * y[k * n + j] - y[i * n + k] * x[k * n + j];
                    for (int axis = 0; axis < 3; axis++)
                        square -= a[(axis * n + i) * n + k] * a[(axis * n + k) * n + j];
                }
                near(-commutator, -z[i * n + j], 1e-13, "[Lx, Ly] = i Lz"); /* i i (xy - yx) = i i z */
                near(square, i == j ? l * (l + 1) : 0, 1e-13, "L^2");
                for (int axis = 0; axis < 3; axis++)
                    near(a[(axis * n + i) * n + j], -a[(axis * n + j) * n + i], 1e-14, "antisymmetric");
            }
        /* (L.sigma)^2 + L.sigma = l(l+1) follows from the commutators with (sigma.A)(sigma.A) = A^2 + i sigma.(A x A);
         * the projectors P = (l+1 + L.sigma)/(2l+1), (l - L.sigma)/(2l+1) are then idempotent. */
    }
}

/* --- Gaussians ------------------------------------------------------------------------------------------------------ */

/* s functions exp(-a r^2) at 0 and exp(-b r^2) at v, normalised: S, T (Ry) and their first derivatives. */
typedef struct closed {
    double s, t, ds[3], dt[3], dds[3][3], ddt[3][3];
} closed;

static closed closed_form(double a, double b, const double v[3])
{
    closed c;
    const double mu = a * b / (a + b), r2 = v[0] * v[0] + v[1] * v[1] + v[2] * v[2];
    c.s = pow(4 * a * b / ((a + b) * (a + b)), 0.75) * exp(-mu * r2);
    const double g = 6 * mu - 4 * mu * mu * r2; /* T = g S */
    c.t = g * c.s;
    for (int i = 0; i < 3; i++) {
        c.ds[i] = -2 * mu * v[i] * c.s;
        c.dt[i] = g * c.ds[i] - 8 * mu * mu * v[i] * c.s;
    }
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            const double delta = i == j;
            c.dds[i][j] = -2 * mu * (delta * c.s + v[i] * c.ds[j]);
            c.ddt[i][j] = g * c.dds[i][j] - 8 * mu * mu * (v[j] * c.ds[i] + v[i] * c.ds[j] + delta * c.s);
        }
    return c;
}

static const double box[9] = {14, 0, 0, 0, 14, 0, 0, 0, 14};

static nh_structure made_structure(size_t n_atom, const double *position, const int *species,
                                   size_t n_species, const nh_species *of)
{
    nh_structure s;
    OK(nh_structure_new(n_atom, n_species, &s, &err));
    memcpy(s.lattice, box, sizeof box);
    memcpy(s.position, position, 3 * n_atom * sizeof *position);
    memcpy(s.species, species, n_atom * sizeof *species);
    size_t count[4];
    int l[64];
    for (size_t i = 0, n = 0; i < n_species; i++) {
        s.atomic_number[i] = (int)i + 1;
        count[i] = of[i].orbital.n_shell;
        for (size_t k = 0; k < count[i]; k++)
            l[n++] = of[i].orbital.l[k];
    }
    OK(nh_structure_set_shells(&s, count, l, &err));
    return s;
}

static nh_pairs made_pairs(const nh_structure *s, const nh_species *species)
{
    size_t n;
    nh_pair *pair;
    nh_pairs out;
    OK(nh_lcao_pairs(s, species, &n, &pair, &err));
    OK(nh_pairs_build(s, n, pair, &out, &err));
    return out;
}

/* x, y, z among the m = -1, 0, 1 = y, z, x of a p shell */
static const int place[3] = {2, 0, 1};

static void gaussian_integrals(void **state)
{
    (void)state;
    const double a = 0.9, b = 1.3;
    const int sp[2] = {0, 1};
    const double alpha[2][2] = {{a, a}, {b, b}};
    nh_species species[2] = {{.orbital = made_orbitals(2, sp, alpha[0], 6.5)},
                             {.orbital = made_orbitals(2, sp, alpha[1], 5.5)}};
    const double position[6] = {0.2, 0.1, -0.3, 0.9, -0.5, 0.4};
    nh_structure s =
        made_structure(2, position, (int[]){1, 0}, 2, species); /* the first atom is of the second species */
    nh_pairs pairs = made_pairs(&s, species);
    nh_two_centre *t;
    const nh_two_centre_task task = {.n_species = 2, .species = species};
    OK(nh_two_centre_new(&task, &t, &err));
    double *const S = NH_ARRAY(double, pairs.n_elem), *const T = NH_ARRAY(double, pairs.n_elem);
    double *const x = NH_ARRAY(double, 3 * pairs.n_elem), *const alone = NH_ARRAY(double, pairs.n_elem);
    OK(nh_two_centre_matrices(t, &s, &pairs, S, T, x, NULL, &err));
    OK(nh_two_centre_matrices(t, &s, &pairs, alone, NULL, NULL, NULL, &err));
    assert_memory_equal(S, alone, pairs.n_elem * sizeof *S);
    const size_t pair = nh_pairs_find(&pairs, 0, 1, (int[]){0, 0, 0});
    assert_true(pair != SIZE_MAX);
    double v[3];
    nh_pair_vector(&s, &pairs.pair[pair], v);
    for (int k = 0; k < 3; k++)
        v[k] /= NH_BOHR;
    const closed c = closed_form(b, a, v); /* rows: alpha = b */
    const double *const so = S + pairs.start[pair], *const to = T + pairs.start[pair];
    near(so[0], c.s, 1e-10, "<s|s>");
    near(to[0], c.t, 1e-9, "<s|T|s>");
    for (int i = 0; i < 3; i++) {
        near(so[1 + place[i]], c.ds[i] / sqrt(a), 1e-10, "<s|p>");
        near(to[1 + place[i]], c.dt[i] / sqrt(a), 1e-9, "<s|T|p>");
        near(so[4 * (1 + place[i])], -c.ds[i] / sqrt(b), 1e-10, "<p|s>");
        near(to[4 * (1 + place[i])], -c.dt[i] / sqrt(b), 1e-9, "<p|T|s>");
        for (int j = 0; j < 3; j++) {
            near(so[4 * (1 + place[i]) + 1 + place[j]], -c.dds[i][j] / sqrt(a * b), 1e-10, "<p|p>");
            near(to[4 * (1 + place[i]) + 1 + place[j]], -c.ddt[i][j] / sqrt(a * b), 1e-9, "<p|T|p>");
        }
        /* the product of two s functions is a Gaussian about (a A + b B)/(a + b) */
        const double centre = (b * s.position[i] + a * s.position[3 + i]) / (a + b) / NH_BOHR;
        const double *const xo = x + (size_t)i * pairs.n_elem + pairs.start[pair];
        near(xo[0], centre * c.s, 1e-9, "<s|r|s>");
        for (int j = 0; j < 3; j++) /* derivative by the second centre */
            near(xo[1 + place[j]], (centre * c.ds[j] + (i == j ? a / (a + b) : 0) * c.s) / sqrt(a), 1e-9,
                 "<s|r|p>");
    }
    const size_t site = nh_pairs_find(&pairs, 1, 1, (int[]){0, 0, 0});
    for (size_t i = 0; i < 16; i++)
        near(S[pairs.start[site] + i], i % 5 == 0, 1e-12, "on site");
    near(T[pairs.start[site]], 3 * a, 1e-9, "on-site T of s");
    near(T[pairs.start[site] + 5], 5 * a, 1e-9, "on-site T of p");
    /* <phi_a| r |phi_b R> = (<phi_b| r |phi_a -R> + R <phi_b|phi_a -R>)^T */
    size_t *const reverse = NH_ARRAY(size_t, pairs.count);
    nh_pairs_reverse(&pairs, reverse);
    for (size_t p = 0; p < pairs.count; p++)
        for (size_t k = 0; k < 3; k++) {
            const double shift = box[4 * k] * pairs.pair[p].cell[k] / NH_BOHR;
            for (size_t i = 0; i < 4; i++)
                for (size_t j = 0; j < 4; j++) {
                    const size_t here = pairs.start[p] + 4 * i + j,
                                 there = pairs.start[reverse[p]] + 4 * j + i;
                    near(x[k * pairs.n_elem + here], x[k * pairs.n_elem + there] + shift * S[there], 1e-9,
                         "hermitian r");
                    assert_true(S[here] == S[there] && T[here] == T[there]);
                }
        }
    free(reverse);
    free(S);
    free(T);
    free(x);
    free(alone);
    nh_two_centre_free(t);
    nh_pairs_free(&pairs);
    nh_structure_free(&s);
    nh_species_free(species, 2);
}

/* Many distances, for which there are tables, against the integrals of a few. */
static void tables(void **state)
{
    (void)state;
    const int l[4] = {0, 1, 2, 3};
    const double alpha[4] = {0.8, 6, 2.5, 1.2};
    nh_orbital_set o = made_orbitals(4, l, alpha, 6);
    const nh_q_mesh mesh = nh_q_mesh_for(12);
    nh_radial a;
    nh_gaunt g;
    nh_threads *threads;
    OK(nh_threads_new(2, &threads, &err));
    OK(nh_radial_orbitals(&o, mesh, threads, &a, &err));
    OK(nh_gaunt_new(3, 4, &g, &err));
    enum { MANY = 3000, FEW = 20 };
    static double many[MANY], few[FEW], wanted[FEW];
    for (size_t i = 0; i < MANY; i++)
        many[i] = 12.5 * (double)(MANY - i) / MANY;
    for (size_t i = 0; i < FEW; i++)
        few[i] = wanted[i] = 12.5 * (double)(1 + 149 * i) / MANY;
    nh_integrals_task task = {&a, &a, &g, mesh, true, MANY, many, threads};
    nh_integrals *table, *exact;
    OK(nh_integrals_new(&task, &table, &err));
    task.n_distance = FEW;
    task.distance = few;
    OK(nh_integrals_new(&task, &exact, &err));
    double *const work = NH_ARRAY(double, nh_integrals_work(table)), s[2][256], t[2][256], worst[2] = {0};
    for (size_t i = 0; i < FEW; i++) {
        const double v[3] = {0.6 * wanted[i], 0, -0.8 * wanted[i]};
        nh_integrals_block(table, v, s[0], t[0], work);
        nh_integrals_block(exact, v, s[1], t[1], work);
        for (size_t k = 0; k < 256; k++) {
            worst[0] = fmax(worst[0], fabs(s[0][k] - s[1][k]));
            worst[1] = fmax(worst[1], fabs(t[0][k] - t[1][k]));
        }
    }
    if (!(worst[0] < 1e-12 && worst[1] < 1e-10)) fail_msg("tables: S %.1e, T %.1e Ry", worst[0], worst[1]);
    nh_integrals_free(table);
    nh_integrals_free(exact);
    free(work);
    nh_radial_free(&a);
    nh_gaunt_free(&g);
    nh_orbital_set_free(&o);
    nh_threads_free(threads);
}

/* --- the nonlocal part ---------------------------------------------------------------------------------------------- */

static const double rows_of_rotation[9] = {0.36, 0.48, -0.8, -0.8, 0.6, 0, 0.48, 0.64, 0.6};

typedef struct world {
    nh_species species[2];
    nh_structure s;
    nh_pairs pairs;
    nh_two_centre *t;
    double *v; /* [4][n_elem][2] */
} world;

static void world_new(world *w, bool rotated, const double d[4], nh_threads *threads)
{
    const int l[3] = {0, 1, 2}, lp[4] = {0, 1, 1, 2};
    const double alpha[3] = {0.9, 1.1, 1.4}, j[4] = {0.5, 0.5, 1.5, 2.5}, gamma[4] = {2, 2.5, 3, 3.5};
    for (int i = 0; i < 2; i++)
        w->species[i] = (nh_species){.orbital = made_orbitals(3, l, alpha, 5),
                                     .pseudo = made_pseudo("X", 4, 1, false, 4, lp, j, gamma, d)};
    double position[9] = {0.2, 0.1, -0.3, 0.9, -0.5, 0.4, -1.3, 1.1, 0.8};
    w->s = made_structure(3, position, (int[]){1, 0, 1}, 2, w->species);
    if (rotated) {
        const nh_structure was = w->s;
        for (size_t i = 0; i < 3; i++) {
            double a[3], p[3];
            for (size_t k = 0; k < 3; k++) {
                a[k] = p[k] = 0;
                for (size_t m = 0; m < 3; m++) {
                    a[k] += rows_of_rotation[3 * k + m] * was.lattice[3 * i + m];
                    p[k] += rows_of_rotation[3 * k + m] * was.position[3 * i + m];
                }
            }
            memcpy(w->s.lattice + 3 * i, a, sizeof a);
            memcpy(w->s.position + 3 * i, p, sizeof p);
        }
    }
    w->pairs = made_pairs(&w->s, w->species);
    const nh_two_centre_task task = {2, w->species, true, threads};
    OK(nh_two_centre_new(&task, &w->t, &err));
    w->v = NH_ARRAY(double, 8 * w->pairs.n_elem);
    OK(nh_nonlocal_add(w->t, &w->s, &w->pairs, 4, w->v, threads, &err));
}

static void world_free(world *w)
{
    free(w->v);
    nh_two_centre_free(w->t);
    nh_pairs_free(&w->pairs);
    nh_structure_free(&w->s);
    nh_species_free(w->species, 2);
}

static const double some_d[4] = {1.5, -2, 1, 3};

/* One s projector on each atom: a product of two closed forms. */
static void nonlocal_closed_form(void **state)
{
    (void)state;
    world w;
    world_new(&w, false, (double[]){1.5, 0, 0, 0}, NULL);
    const size_t pair = nh_pairs_find(&w.pairs, 0, 1, (int[]){0, 0, 0});
    double expected = 0;
    for (size_t c = 0; c < 3; c++) {
        double u[3], v[3];
        for (size_t k = 0; k < 3; k++) {
            u[k] = (w.s.position[3 * c + k] - w.s.position[k]) / NH_BOHR;
            v[k] = (w.s.position[3 * c + k] - w.s.position[3 + k]) / NH_BOHR;
        }
        expected += 1.5 * closed_form(0.9, 2, u).s * closed_form(0.9, 2, v).s;
    }
    near(w.v[2 * w.pairs.start[pair]], expected, 1e-9, "<s|V|s>");
    for (size_t i = 0; i < w.pairs.n_elem; i++) /* no spin-orbit coupling by s projectors */
        assert_true(w.v[2 * i + 1] == 0 && w.v[2 * (w.pairs.n_elem + i)] == 0);
    world_free(&w);
}

static void nonlocal_symmetries(void **state)
{
    (void)state;
    nh_threads *threads;
    OK(nh_threads_new(2, &threads, &err));
    world w, two;
    world_new(&w, false, some_d, NULL);
    world_new(&two, false, some_d, threads);
    nh_threads_free(threads);
    const size_t n = w.pairs.n_elem;
    assert_memory_equal(w.v, two.v, 8 * n * sizeof *w.v); /* whatever the number of threads */
    world_free(&two);
    size_t *const reverse = NH_ARRAY(size_t, w.pairs.count);
    nh_pairs_reverse(&w.pairs, reverse);
    double spin = 0;
    for (size_t i = 0; i < n; i++) { /* time reversal: dd = uu*, du = -ud* */
        const double *const uu = w.v + 2 * i, *const ud = uu + 2 * n, *const du = ud + 2 * n,
                            *const dd = du + 2 * n;
        assert_true(uu[0] == dd[0] && uu[1] == -dd[1] && ud[0] == -du[0] && ud[1] == du[1]);
        spin = fmax(spin, fabs(ud[1]));
    }
    assert_true(spin > 0.01);
    for (size_t p = 0; p < w.pairs.count; p++)
        for (size_t s = 0; s < 4; s++)
            for (size_t i = 0; i < 9; i++)
                for (size_t j = 0; j < 9; j++) {
                    static const size_t adjoint[4] = {0, 2, 1, 3};
                    const double *const here = w.v + 2 * (s * n + w.pairs.start[p] + 9 * i + j);
                    const double *const there =
                        w.v + 2 * (adjoint[s] * n + w.pairs.start[reverse[p]] + 9 * j + i);
                    assert_true(here[0] == there[0] && here[1] == -there[1]);
                }
    /* without spin: the mean of uu and dd */
    double *const scalar = NH_ARRAY(double, 2 * n);
    OK(nh_nonlocal_add(w.t, &w.s, &w.pairs, 1, scalar, NULL, &err));
    for (size_t i = 0; i < n; i++) {
        near(scalar[2 * i], w.v[2 * i], 1e-13, "scalar");
        assert_true(scalar[2 * i + 1] == 0);
    }
    /* a pair is missing */
    w.pairs.pair[0].cell[0] += 50;
    assert_int_equal(nh_nonlocal_add(w.t, &w.s, &w.pairs, 1, scalar, NULL, &err), -1);
    free(scalar);
    free(reverse);
    world_free(&w);
}

/* Norms of the blocks of two shells do not change when the crystal turns: every harmonic up to L = 4. */
static void rotated_crystal(void **state)
{
    (void)state;
    static const size_t first[4] = {0, 1, 4, 9};
    world w[2];
    double *matrix[2];
    for (int k = 0; k < 2; k++) {
        world_new(&w[k], k == 1, some_d, NULL);
        matrix[k] = NH_ARRAY(double, 2 * w[k].pairs.n_elem);
        OK(nh_two_centre_matrices(w[k].t, &w[k].s, &w[k].pairs, matrix[k], matrix[k] + w[k].pairs.n_elem,
                                  NULL, NULL, &err));
    }
    assert_int_equal(w[0].pairs.count, w[1].pairs.count);
    const size_t n = w[0].pairs.n_elem;
    for (size_t p = 0; p < w[0].pairs.count; p++)
        for (size_t a = 0; a < 3; a++)
            for (size_t b = 0; b < 3; b++) {
                double norm[2][3] = {{0}};
                for (int k = 0; k < 2; k++)
                    for (size_t i = first[a]; i < first[a + 1]; i++)
                        for (size_t j = first[b]; j < first[b + 1]; j++) {
                            const size_t e = w[k].pairs.start[p] + 9 * i + j;
                            norm[k][0] += matrix[k][e] * matrix[k][e];
                            norm[k][1] += matrix[k][n + e] * matrix[k][n + e];
                            for (size_t s = 0; s < 8; s++) {
                                const double x = w[k].v[2 * ((s / 2) * n + e) + s % 2];
                                norm[k][2] += x * x;
                            }
                        }
                for (int i = 0; i < 3; i++)
                    near(norm[1][i], norm[0][i], 1e-10 * (1 + norm[0][i]), "norm of a block");
            }
    for (int k = 0; k < 2; k++) {
        free(matrix[k]);
        world_free(&w[k]);
    }
}

/* --- the published orbitals and the reference crystals ------------------------------------------------------------- */

static int read_element(const char *element, const char *orbital, nh_species *out)
{
    char path[256];
    snprintf(path, sizeof path, SHARED "orbital/%s_%s.orb", element, orbital);
    if (access(path, R_OK) != 0) return -1;
    OK(nh_orbital_read(path, element, &out->orbital, &err));
    snprintf(path, sizeof path, SHARED "pseudo/%s.upf", element);
    OK(nh_upf_read(path, element, true, &out->pseudo, &err));
    return 0;
}

/* docs/h0.md 11 */
static void published_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *element, *orbital;
        double s, t, site;
    } table[] = {{"Si", "gga_7au_100Ry_2s2p1d", 0.5204501876, 0.1316171633, 0.5579343051},
                 {"Ga", "gga_8au_100Ry_2s2p2d1f", 0.5669387451, 0.1345935202, 0.5167085543}};
    for (size_t i = 0; i < 2; i++) {
        nh_species species;
        if (read_element(table[i].element, table[i].orbital, &species)) skip();
        const nh_q_mesh mesh = nh_q_mesh_for(2 * nh_orbital_radius(&species.orbital));
        nh_radial a;
        nh_gaunt g;
        nh_integrals *c;
        double distance[2] = {3, 0}, s[1024], t[1024];
        OK(nh_radial_orbitals(&species.orbital, mesh, NULL, &a, &err));
        OK(nh_gaunt_new(3, 3, &g, &err));
        const nh_integrals_task task = {&a, &a, &g, mesh, true, 2, distance, NULL};
        OK(nh_integrals_new(&task, &c, &err));
        double *const work = NH_ARRAY(double, nh_integrals_work(c));
        nh_integrals_block(c, (double[]){0, 0, 3}, s, t, work);
        near(s[0], table[i].s, 1e-9, "S(s1, s1)");
        near(t[0], table[i].t, 2e-9, "T(s1, s1)");
        nh_integrals_block(c, (double[]){0, 0, 0}, s, t, work);
        near(t[0], table[i].site, 2e-9, "T(s1, s1) on site");
        free(work);
        nh_integrals_free(c);
        nh_gaunt_free(&g);
        nh_radial_free(&a);
        nh_species_free(&species, 1);
    }
}

/* The reference files say no cutoff, which a graph must have: it is added to a copy. */
static nh_nc *open_reference(const char *name)
{
    char copy[] = "/tmp/nh_test_lcao_XXXXXX", command[256];
    const int file = mkstemp(copy);
    assert_true(file >= 0);
    close(file);
    snprintf(command, sizeof command, "cp " SHARED "h0ref/%s.nc %s", name, copy);
    assert_int_equal(system(command), 0);
    int id;
    const double cutoff = 8;
    assert_int_equal(nc_open(copy, NC_WRITE, &id), NC_NOERR);
    assert_int_equal(nc_put_att_double(id, NC_GLOBAL, "cutoff", NC_DOUBLE, 1, &cutoff), NC_NOERR);
    assert_int_equal(nc_close(id), NC_NOERR);
    nh_nc *f;
    OK(nh_nc_open(copy, &f, &err));
    unlink(copy);
    return f;
}

static void reference_crystal(const char *name, size_t n, const char *const elements[][2])
{
    nh_species species[2];
    for (size_t i = 0; i < n; i++)
        if (read_element(elements[i][0], elements[i][1], &species[i])) skip();
    nh_nc *const f = open_reference(name);
    nh_graph *g;
    OK(nh_graph_read(f, NH_WANT_OVERLAP | NH_WANT_H0, &g, &err));
    const size_t ne = g->pairs.n_elem;
    double *const kinetic = NH_ARRAY(double, ne), *const s = NH_ARRAY(double, ne),
                  *const t = NH_ARRAY(double, ne);
    double *const v = NH_ARRAY(double, 8 * ne);
    OK(nh_nc_get_double(f, "kinetic", 1, (const char *const[]){"elem"}, ne, kinetic, &err));
    nh_pairs pairs = made_pairs(&g->structure, species);
    nh_two_centre *two;
    nh_threads *threads;
    OK(nh_threads_new(2, &threads, &err));
    const nh_two_centre_task task = {n, species, true, threads};
    OK(nh_two_centre_new(&task, &two, &err));
    OK(nh_two_centre_matrices(two, &g->structure, &g->pairs, s, t, NULL, threads, &err));
    for (size_t p = 0; p < pairs.count; p++) /* the file has all pairs that we have */
        if (nh_pairs_find(&g->pairs, pairs.pair[p].src, pairs.pair[p].dst, pairs.pair[p].cell) == SIZE_MAX)
            fail_msg("%s: pair %zu of ours is not in the file", name, p);
    OK(nh_nonlocal_add(two, &g->structure, &g->pairs, 4, v, threads, &err));
    double worst[3] = {0};
    for (size_t e = 0; e < ne; e++) {
        worst[0] = fmax(worst[0], fabs(s[e] - g->overlap[e]));
        worst[1] = fmax(worst[1], fabs(NH_RYDBERG * t[e] - kinetic[e]));
        /* what is imaginary or flips spins in H0 is the nonlocal part's */
        const double *const h = g->matrix[NH_H0];
        for (size_t part = 1; part < 8; part++) {
            if (part == 6) continue; /* real part of dd */
            const size_t at = 2 * ((part / 2) * ne + e) + part % 2;
            worst[2] = fmax(worst[2], fabs(NH_RYDBERG * v[at] - h[at]));
        }
    }
    print_message("%s: S %.1e, T %.1e eV, spin-orbit %.1e eV; %zu and %zu pairs\n", name, worst[0], worst[1],
                  worst[2], pairs.count, g->pairs.count);
    assert_true(worst[0] < 1e-7 && worst[1] < 1e-6 && worst[2] < 1e-6);
    nh_threads_free(threads);
    nh_two_centre_free(two);
    nh_pairs_free(&pairs);
    free(kinetic);
    free(s);
    free(t);
    free(v);
    nh_graph_free(g);
    nh_nc_close(f);
    nh_species_free(species, n);
}

static void reference_silicon(void **state)
{
    (void)state;
    static const char *const elements[][2] = {{"Si", "gga_7au_100Ry_2s2p1d"}};
    reference_crystal("Si", 1, elements);
}

static void reference_gallium_arsenide(void **state)
{
    (void)state;
    static const char *const elements[][2] = {{"Ga", "gga_8au_100Ry_2s2p2d1f"},
                                              {"As", "gga_7au_100Ry_2s2p1d"}};
    reference_crystal("GaAs", 2, elements);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bessel_functions),
        cmocka_unit_test(gaunt_coefficients),
        cmocka_unit_test(angular_momentum),
        cmocka_unit_test(gaussian_integrals),
        cmocka_unit_test(tables),
        cmocka_unit_test(nonlocal_closed_form),
        cmocka_unit_test(nonlocal_symmetries),
        cmocka_unit_test(rotated_crystal),
        cmocka_unit_test(published_numbers),
        cmocka_unit_test(reference_silicon),
        cmocka_unit_test(reference_gallium_arsenide),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
