/* The grid of a cell, transforms, superposed densities and potentials, PBE, Ewald sum. */
#include "lcao_case.h"

#include "base/random.h"
#include "lcao/functional.h"
#include "lcao/grid.h"
#include "lcao/potential.h"
#include "lcao/radial.h"

static void near(double found, double expected, double tolerance)
{
    if (!(fabs(found - expected) <= tolerance))
        fail_msg("%.12g expected, found %.12g, differing by %.3g", expected, found, found - expected);
}

static void new_grid(const double lattice[9], double ecut, nh_threads *threads, nh_grid **g)
{
    OK(nh_grid_new(lattice, ecut, threads, g, &err));
}

/* Sizes and numbers of plane waves in ABACUS's logs. */
static void sizes_are_those_of_abacus(void **state)
{
    (void)state;
    static const double fcc[9] = {0, 0.5, 0.5, 0.5, 0, 0.5, 0.5, 0.5, 0};
    static const struct {
        double a;
        size_t n, waves;
    } cases[] = {
        {5.431, 48, 36613}, {5.653, 50, 41151}, {4.212, 36, 16889}, {4.078, 36, 15473}, {6.462, 60, 61527}};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        double lattice[9];
        for (int i = 0; i < 9; i++)
            lattice[i] = cases[c].a / NH_BOHR * fcc[i];
        nh_grid *g;
        new_grid(lattice, 400, NULL, &g);
        for (int x = 0; x < 3; x++)
            assert_int_equal(g->n[x], cases[c].n);
        assert_int_equal(g->n_wave, cases[c].waves);
        assert_int_equal(2 * g->n_g - 1, g->n_wave);
        double sum = 0;
        for (size_t i = 0; i < g->n_g; i++)
            sum += g->weight[i];
        assert_true(sum == (double)g->n_wave);
        if (c == 0) assert_int_equal(g->n_shell, 358);
        if (c == 1) assert_int_equal(g->n_shell, 388);
        nh_grid_free(g);
    }
}

static const double SKEWED[9] = {5.1, 0.3, -0.2, 1.1, 4.4, 0.5, -0.7, 0.9, 6.3};

/* A few waves put in by hand come out, and the other way round; anything on the grid through the box. */
static void transforms_are_inverse(void **state)
{
    (void)state;
    nh_threads *threads;
    OK(nh_threads_new(3, &threads, &err));
    for (int turn = 0; turn < 3; turn++) {
        nh_grid *g;
        new_grid(SKEWED, turn == 0 ? 60 : turn == 1 ? 43 : 20, threads, &g); /* sizes even and odd */
        double *f = NH_ARRAY(double, g->n_point), *back = NH_ARRAY(double, g->n_point);
        double complex *x = NH_ARRAY(double complex, g->n_g), *y = NH_ARRAY(double complex, g->n_g);
        double complex *box = NH_ARRAY(double complex, nh_grid_box_size(g));
        nh_random random;
        nh_random_seed(&random, 7, "grid");
        for (size_t i = 0; i < g->n_g; i++)
            x[i] = CMPLX(nh_random_uniform(&random) - 0.5, i == 0 ? 0 : nh_random_uniform(&random) - 0.5);
        nh_grid_to_real(g, x, f);
        /* one point as a plain sum */
        const size_t at[3] = {1, 2, 3};
        double sum = 0;
        for (size_t i = 0; i < g->n_g; i++) {
            double turns = 0;
            for (int k = 0; k < 3; k++)
                turns += g->h[i][k] * (double)at[k] / (double)g->n[k];
            sum += g->weight[i] * creal(x[i] * cexp(CMPLX(0, 2 * M_PI * turns)));
        }
        near(f[(at[0] * g->n[1] + at[1]) * g->n[2] + at[2]], sum, 1e-12);
        nh_grid_to_sphere(g, f, y);
        for (size_t i = 0; i < g->n_g; i++)
            assert_true(cabs(y[i] - x[i]) < 1e-14);
        near(nh_grid_integral(g, f), creal(x[0]) * g->volume, 1e-10);
        for (size_t i = 0; i < g->n_point; i++)
            f[i] = nh_random_uniform(&random);
        nh_grid_to_box(g, f, box);
        nh_grid_to_sphere(g, f, y);
        for (size_t i = 0; i < g->n_g; i++)
            assert_true(cabs(box[g->box[i]] - y[i]) < 1e-14);
        nh_grid_from_box(g, box, back);
        for (size_t i = 0; i < g->n_point; i++)
            near(back[i], f[i], 1e-13);
        free(f);
        free(back);
        free(x);
        free(y);
        free(box);
        nh_grid_free(g);
    }
    nh_threads_free(threads);
}

static void bad_cells_are_refused(void **state)
{
    (void)state;
    nh_grid *g;
    const double flat[9] = {1, 0, 0, 0, 1, 0, 1, 1, 0}, long_one[9] = {1e6, 0, 0, 0, 5, 0, 0, 0, 5};
    assert_int_equal(nh_grid_new(flat, 100, NULL, &g, &err), -1);
    assert_non_null(strstr(err.text, "volume"));
    assert_int_equal(nh_grid_new(long_one, 100, NULL, &g, &err), -1);
    assert_non_null(strstr(err.text, "too long"));
    assert_int_equal(nh_grid_new(SKEWED, -1, NULL, &g, &err), -1);
    assert_int_equal(nh_grid_new(SKEWED, NAN, NULL, &g, &err), -1);
    assert_null(g);
}

/* int 4 pi r^2 exp(-a r^2) sin(qr)/(qr) dr = (pi/a)^(3/2) exp(-q^2/4a): on a uniform mesh, on a logarithmic
 * one, by the table. */
static void sine_transforms_of_gaussians(void **state)
{
    (void)state;
    enum { N = 1501, Q = 300 };
    static double r[N], rab[N], w[N], g[2 * N], q[Q], out[2 * Q];
    for (int mesh = 0; mesh < 2; mesh++) {
        for (int i = 0; i < N; i++) {
            r[i] = mesh == 0 ? 0.01 * i : 1e-4 * (exp(0.008 * i) - 1);
            rab[i] = mesh == 0 ? 0.01 : 0.008 * (r[i] + 1e-4);
        }
        nh_simpson(N, rab, w);
        for (int i = 0; i < N; i++) {
            g[i] = w[i] * 4 * M_PI * r[i] * exp(-r[i] * r[i]);
            g[N + i] = w[i] * 4 * M_PI * r[i] * exp(-0.3 * r[i] * r[i]);
        }
        for (int i = 0; i < Q; i++)
            q[i] = 0.0667 * i;
        OK(nh_sine_transforms(N, r, 2, g, Q, q, out, NULL, &err));
        nh_sine_table table;
        OK(nh_sine_table_new(N, r, 2, g, q[Q - 1], NULL, &table, &err));
        for (size_t i = 0; i < Q; i++)
            for (size_t k = 0; k < 2; k++) {
                const double a = k == 0 ? 1 : 0.3, largest = pow(M_PI / a, 1.5);
                if (q[i] < 8) near(out[k * Q + i], largest * exp(-q[i] * q[i] / (4 * a)), 2e-7 * largest);
                near(nh_sine_table_at(&table, k, q[i]), out[k * Q + i], 1e-11 * largest);
            }
        nh_sine_table_free(&table);
    }
}

/* --- the functional */

/* Potentials are derivatives of the energies, by differences; two equal spins are the unpolarised case. */
static void functional_is_consistent(void **state)
{
    (void)state;
    static const double densities[] = {3e-4, 0.02, 0.7, 12}, zetas[] = {-0.7, 0, 0.3, 0.95};
    for (size_t a = 0; a < 4; a++) {
        const double n = densities[a], d = 1e-5 * n;
        const nh_lda l = nh_lda_at(n), more = nh_lda_at(n + d), less = nh_lda_at(n - d);
        near(l.v, ((n + d) * more.e - (n - d) * less.e) / (2 * d), 1e-8 * fabs(l.v));
        for (size_t b = 0; b < 4; b++) {
            const double sigma = pow(n, 8.0 / 3) * (b == 0   ? 0.01
                                                    : b == 1 ? 1
                                                    : b == 2 ? 30
                                                             : 300),
                         ds = 1e-5 * sigma;
            const nh_gga g = nh_pbe_gradient(n, sigma, &l);
            const double slope =
                (nh_pbe_gradient(n + d, sigma, &more).f - nh_pbe_gradient(n - d, sigma, &less).f) / (2 * d);
            near(g.n, slope, 1e-7 * fabs(l.v));
            near(g.sigma,
                 (nh_pbe_gradient(n, sigma + ds, &l).f - nh_pbe_gradient(n, sigma - ds, &l).f) / (2 * ds),
                 1e-7 * fabs(l.v) * n / sigma);

            /* unpolarised as two equal spins */
            const nh_lda_polarised same = nh_lda_polarised_at(n, 0);
            near(same.e, l.e, 1e-14 * fabs(l.e));
            near(same.v[0], l.v, 1e-14 * fabs(l.v));
            near(same.v[1], l.v, 1e-14 * fabs(l.v));
            const nh_gga x = nh_pbe_exchange_of_spin(n / 2, sigma / 4);
            const nh_gga_correlation c = nh_pbe_correlation_polarised(n, 0, sigma);
            near(2 * x.f + c.f, g.f, 1e-13 * fabs(l.v) * n);
            near(x.n + c.n[0], g.n, 1e-13 * fabs(l.v));
            near(0.5 * x.sigma + c.sigma, g.sigma, 1e-13 * fabs(l.v) * n / sigma);

            /* polarised, by differences of up and down */
            const double zeta = zetas[b], spin[2] = {0.5 * n * (1 + zeta), 0.5 * n * (1 - zeta)};
            const nh_lda_polarised p = nh_lda_polarised_at(n, zeta);
            const nh_gga_correlation q = nh_pbe_correlation_polarised(n, zeta, sigma);
            for (int s = 0; s < 2; s++) {
                double e[2], f[2];
                const double step = 1e-4 * spin[s];
                for (int sign = 0; sign < 2; sign++) {
                    double moved[2] = {spin[0], spin[1]};
                    moved[s] += sign == 0 ? step : -step;
                    const double total = moved[0] + moved[1], z = (moved[0] - moved[1]) / total;
                    e[sign] = total * nh_lda_polarised_at(total, z).e;
                    f[sign] = nh_pbe_correlation_polarised(total, z, sigma).f;
                }
                near(p.v[s], (e[0] - e[1]) / (2 * step), 1e-6 * fabs(l.v));
                near(q.n[s], (f[0] - f[1]) / (2 * step), 1e-6 * fabs(l.v));
            }
            near(q.sigma,
                 (nh_pbe_correlation_polarised(n, zeta, sigma + ds).f -
                  nh_pbe_correlation_polarised(n, zeta, sigma - ds).f) /
                     (2 * ds),
                 1e-7 * fabs(l.v) * n / sigma);
        }
    }
}

/* v_xc is the derivative of E_xc: the energy of a density moved by a little changes by int v drho. */
static void potential_is_the_energys_derivative(void **state)
{
    (void)state;
    nh_grid *g;
    new_grid(SKEWED, 120, NULL, &g);
    const size_t n = g->n_point;
    double *rho = NH_ARRAY(double, n), *change = NH_ARRAY(double, n), *moved = NH_ARRAY(double, n),
           *v = NH_ARRAY(double, n), *none = NH_ARRAY(double, n);
    for (size_t i = 0; i < n; i++) {
        const double x = 2 * M_PI * (double)(i / (g->n[1] * g->n[2])) / (double)g->n[0],
                     y = 2 * M_PI * (double)(i / g->n[2] % g->n[1]) / (double)g->n[1],
                     z = 2 * M_PI * (double)(i % g->n[2]) / (double)g->n[2];
        rho[i] = 0.2 + 0.06 * cos(x) + 0.05 * sin(y + z) + 0.03 * cos(2 * z);
        change[i] = cos(x + y) + 0.3 * sin(2 * y - z);
    }
    double energy[2], middle;
    OK(nh_pbe_add(g, rho, NULL, v, &middle, NULL, &err));
    for (int sign = 0; sign < 2; sign++) {
        for (size_t i = 0; i < n; i++)
            moved[i] = rho[i] + (sign == 0 ? 1e-5 : -1e-5) * change[i];
        OK(nh_pbe_add(g, moved, NULL, none, &energy[sign], NULL, &err));
    }
    double expected = 0;
    for (size_t i = 0; i < n; i++)
        expected += v[i] * change[i] * g->volume / (double)n;
    near((energy[0] - energy[1]) / 2e-5, expected, 1e-7 * fabs(middle));
    /* no magnetisation: both spins see the same */
    double *m = NH_ARRAY(double, n), *up = NH_ARRAY(double, n), *down = NH_ARRAY(double, n);
    OK(nh_pbe_polarised_add(g, rho, NULL, m, up, down, NULL, &err));
    for (size_t i = 0; i < n; i++) {
        near(up[i], v[i], 1e-12);
        near(down[i], v[i], 1e-12);
    }
    free(rho);
    free(change);
    free(moved);
    free(v);
    free(none);
    free(m);
    free(up);
    free(down);
    nh_grid_free(g);
}

/* NaCl's Madelung constant: -1.74756459463318 e^2/r a pair of ions of opposite charge; here all charges are
 * positive, so that of the fcc crystal of one ion, -4.58487507 Z^2/(2 a), e^2 = 2. */
static void ewald_of_known_crystals(void **state)
{
    (void)state;
    lcao_case c = {.n_species = 0};
    lcao_case_fcc(&c, 4, 1);
    c.species[0].pseudo.z_valence = 3;
    double primitive, bcc;
    OK(nh_ewald(&c.structure, c.species, &primitive, &err));
    /* a body-centred cubic cell of two atoms: -3.63923345 Z^2 e^2/(2 a) an atom */
    for (int i = 0; i < 9; i++)
        c.structure.lattice[i] = i % 4 == 0 ? 3 : 0;
    for (int x = 0; x < 3; x++)
        c.structure.position[3 + x] = 1.5;
    OK(nh_ewald(&c.structure, c.species, &bcc, &err));
    near(bcc, -2 * 3.6392334493 * 9 / (3 / NH_BOHR), 1e-8 * fabs(bcc));
    /* atoms moved by lattice vectors change nothing */
    c.structure.position[0] += 3;
    c.structure.position[4] -= 6;
    double moved;
    OK(nh_ewald(&c.structure, c.species, &moved, &err));
    near(moved, bcc, 1e-11 * fabs(bcc));
    lcao_case_free(&c);
    assert_true(primitive < 0);
}

/* --- docs/h0.md 11 */

static void intermediate_numbers(const char *name)
{
    const bool si = strcmp(name, "Si") == 0;
    lcao_case c;
    lcao_case_read(&c, name);
    nh_threads *threads;
    OK(nh_threads_new(2, &threads, &err));
    nh_grid *g;
    new_grid(c.lattice, 400, threads, &g);
    near(g->volume, si ? 270.256419 : 304.770948, 1e-6);
    const size_t n = g->n_point, at = (1 * g->n[1] + 2) * g->n[2] + 3;
    double *rho = NH_ARRAY(double, n), *core = NH_ARRAY(double, n), *v = NH_ARRAY(double, n),
           *xc = NH_ARRAY(double, n);
    OK(nh_superposed(g, &c.structure, c.species, rho, core, v, threads, &err));
    near(nh_grid_integral(g, rho), si ? 8 : 18, 1e-10);
    near(nh_grid_integral(g, core), si ? 2 * 0.724254858 : 7.957212163, 1e-8);
    near(nh_grid_integral(g, v) / g->volume, si ? 0.138342211 : 0.179072940, 1e-9);
    near(rho[at], si ? 0.033934679 : 1.856032388, 1e-9);
    near(core[at], si ? 0.103460341 : 1.297157433, 1e-9);
    double hartree, energy, ewald;
    OK(nh_hartree_add(g, rho, v, &hartree, &err));
    near(hartree, si ? 0.809152625 : 54.438233780, 3e-8);
    near(v[at], si ? -3.400169811 : -3.461983973, 1e-8);
    OK(nh_pbe_add(g, rho, core, xc, &energy, threads, &err));
    near(energy, si ? -6.080938183 : -45.053408088,
         1e-6); /* those numbers are libxc's, whose A has one digit more */
    near(xc[at], si ? -1.157456750 : -3.151005600, 1e-7);
    double v_rho = 0, mean = 0;
    for (size_t i = 0; i < n; i++) {
        v_rho += xc[i] * rho[i] * g->volume / (double)n;
        mean += (v[i] + xc[i]) / (double)n;
    }
    near(v_rho, si ? -6.322845983 : -31.122652052, 1e-7);
    near(mean, si ? -0.561270854 : -0.523805193, 1e-7);
    OK(nh_ewald(&c.structure, c.species, &ewald, &err));
    near(ewald, si ? -16.795850575 : -93.021632584, 1e-8);
    free(rho);
    free(core);
    free(v);
    free(xc);
    nh_grid_free(g);
    nh_threads_free(threads);
    lcao_case_free(&c);
}

static void silicon(void **state)
{
    (void)state;
    intermediate_numbers("Si");
}

static void gallium_arsenide(void **state)
{
    (void)state;
    intermediate_numbers("GaAs");
}

/* Any number of threads gives the same bytes. */
static void threads_change_nothing(void **state)
{
    (void)state;
    lcao_case c;
    lcao_case_read(&c, "GaAs");
    double *all[2][3];
    for (int turn = 0; turn < 2; turn++) {
        nh_threads *threads;
        OK(nh_threads_new(turn == 0 ? 1 : 5, &threads, &err));
        nh_grid *g;
        new_grid(c.lattice, 100, threads, &g);
        for (int i = 0; i < 3; i++)
            all[turn][i] = NH_ARRAY(double, g->n_point);
        OK(nh_superposed(g, &c.structure, c.species, all[turn][0], all[turn][1], all[turn][2], threads,
                         &err));
        OK(nh_hartree_add(g, all[turn][0], all[turn][2], NULL, &err));
        double energy;
        OK(nh_pbe_add(g, all[turn][0], all[turn][1], all[turn][2], &energy, threads, &err));
        for (int i = 0; i < 3 && turn == 1; i++) {
            assert_memory_equal(all[0][i], all[1][i], g->n_point * sizeof(double));
            free(all[0][i]);
            free(all[1][i]);
        }
        nh_grid_free(g);
        nh_threads_free(threads);
    }
    lcao_case_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_those_of_abacus), cmocka_unit_test(transforms_are_inverse),
        cmocka_unit_test(bad_cells_are_refused),     cmocka_unit_test(sine_transforms_of_gaussians),
        cmocka_unit_test(functional_is_consistent),  cmocka_unit_test(potential_is_the_energys_derivative),
        cmocka_unit_test(ewald_of_known_crystals),   cmocka_unit_test(silicon),
        cmocka_unit_test(gallium_arsenide),          cmocka_unit_test(threads_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
