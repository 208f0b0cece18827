/* Velocities, Berry curvature and conductivities of orbitals of which everything is known. */
#include "fine_model.h"

#include "crystal/eigen.h"
#include "properties/optics.h"

enum { N = 3 };

typedef struct fixture {
    fine_model model;
    nh_graph *graph;
    double *position;
    nh_fourier *fourier;
    nh_velocity *velocity;
} fixture;

static fixture fixture_of(fine_model m, int n_spin, const double shift[3], bool with_position)
{
    fixture f = {.model = m};
    f.graph = fine_graph(&m, n_spin, &f.position);
    for (size_t x = 0; x < 3 && shift != NULL; x++)
        for (size_t e = 0; e < f.graph->pairs.n_elem; e++)
            f.position[x * f.graph->pairs.n_elem + e] += shift[x] * f.graph->overlap[e];
    OK(nh_fourier_new(f.graph, NH_H_LABEL, NULL, &f.fourier, &err));
    OK(nh_velocity_new(f.graph, f.fourier, with_position ? f.position : NULL, &f.velocity, &err));
    return f;
}

static fixture fixture_new(size_t n_orbital, double overlap, bool magnetic)
{
    return fixture_of(fine_model_new(n_orbital, overlap, magnetic), 1, NULL, true);
}

static void fixture_free(fixture *f)
{
    nh_velocity_free(f->velocity);
    nh_fourier_free(f->fourier);
    nh_graph_free(f->graph);
    free(f->position);
}

static void states_at(const fixture *f, const double k[3], double *energy, double complex *vector)
{
    const size_t n = nh_fourier_basis(f->fourier);
    double *h = calloc(2 * n * n, sizeof *h), *s = calloc(2 * n * n, sizeof *s);
    const nh_band_choice all = {.kind = NH_BANDS_ALL};
    size_t rank, first, count;
    nh_eigen *w;
    OK(nh_fourier_at(f->fourier, 1, k, h, s, &err));
    OK(nh_eigen_new(n, 0, true, &w, &err));
    OK(nh_eigen_solve(w, h, s, &all, n, &rank, energy, &first, &count, (double *)vector, &err));
    nh_eigen_free(w);
    free(h);
    free(s);
}

static double complex dot(const double complex *a, const double complex *b)
{
    double complex sum = 0;
    for (size_t s = 0; s < FINE; s++)
        sum += conj(a[s]) * b[s];
    return sum;
}

/* The periodic functions of all states at k, with the phases of u0 where that is given. */
static void periodic_at(const fixture *f, const double k[3], double *energy, double complex u[N][FINE],
                        double complex u0[N][FINE])
{
    double complex c[N][N];
    states_at(f, k, energy, c[0]);
    for (size_t n = 0; n < N; n++) {
        fine_periodic(&f->model, k, c[n], u[n]);
        if (u0 == NULL) continue;
        const double complex overlap = dot(u[n], u0[n]), phase = overlap / cabs(overlap);
        for (size_t s = 0; s < FINE; s++)
            u[n][s] *= phase;
    }
}

static const double K[3] = {0.13, 0.29, 0};

/* p_nm = delta_nm dE_n + i (E_n - E_m) <u_n| i d/dk |u_m>, by differences. */
static void test_velocity_is_the_connection(void **state)
{
    (void)state;
    fixture f = fixture_new(N, 0.5, true);
    double energy[N], high[N], low[N], step = 1e-4;
    double complex c[N][N], u[N][FINE], up[N][FINE], down[N][FINE], p[3][N][N];
    nh_velocity_work *w;
    OK(nh_velocity_work_new(f.velocity, N, &w, &err));
    states_at(&f, K, energy, c[0]);
    OK(nh_velocity_at(f.velocity, w, K, 0, N, energy, (double *)c, (double *)p, &err));
    periodic_at(&f, K, energy, u, NULL);
    for (size_t axis = 0; axis < 2; axis++) {
        double k[3];
        fine_step(&f.model, K, axis == 0 ? step : 0, axis == 1 ? step : 0, k);
        periodic_at(&f, k, high, up, u);
        fine_step(&f.model, K, axis == 0 ? -step : 0, axis == 1 ? -step : 0, k);
        periodic_at(&f, k, low, down, u);
        for (size_t n = 0; n < N; n++)
            for (size_t m = 0; m < N; m++) {
                const double complex a = I * (dot(u[n], up[m]) - dot(u[n], down[m])) / (2 * step);
                const double complex expected =
                    n == m ? (high[n] - low[n]) / (2 * step) : I * (energy[n] - energy[m]) * a;
                assert_true(cabs(p[axis][n][m] - expected) < 1e-6);
            }
    }
    /* some rows alone */
    double complex some[3][2][N];
    OK(nh_velocity_at(f.velocity, w, K, 1, 2, energy, (double *)c, (double *)some, &err));
    for (size_t n = 0; n < 2; n++)
        for (size_t m = 0; m < N; m++)
            assert_true(cabs(some[1][n][m] - p[1][n + 1][m]) < 1e-12);
    nh_velocity_work_free(w);
    fixture_free(&f);
}

/* The curvature of each band: sum over states and what is outside their span, against the phase about a small
 * square. */
static void test_curvature(void **state)
{
    (void)state;
    fixture f = fixture_new(N, 0.5, true);
    double energy[N], outside[N][3], step = 2e-3;
    double complex c[N][N], p[3][N][N], u[4][N][FINE];
    static const double corner[4][2] = {{-1, -1}, {1, -1}, {1, 1}, {-1, 1}};
    nh_velocity_work *w;
    OK(nh_velocity_work_new(f.velocity, N, &w, &err));
    states_at(&f, K, energy, c[0]);
    OK(nh_velocity_at(f.velocity, w, K, 0, N, energy, (double *)c, (double *)p, &err));
    OK(nh_velocity_outside(f.velocity, w, K, 0, N, (double *)c, outside[0], &err));
    for (size_t i = 0; i < 4; i++) {
        double k[3], unused[N];
        fine_step(&f.model, K, 0.5 * step * corner[i][0], 0.5 * step * corner[i][1], k);
        periodic_at(&f, k, unused, u[i], NULL);
    }
    double largest = 0;
    for (size_t n = 0; n < N; n++) {
        double omega = outside[n][2];
        for (size_t m = 0; m < N; m++)
            if (m != n)
                omega -=
                    2 * cimag(p[0][n][m] * p[1][m][n]) / ((energy[n] - energy[m]) * (energy[n] - energy[m]));
        double complex loop = 1;
        for (size_t i = 0; i < 4; i++)
            loop *= dot(u[i][n], u[(i + 1) % 4][n]);
        const double expected = -carg(loop) / (step * step);
        largest = fmax(largest, fabs(outside[n][2]));
        assert_true(fabs(omega - expected) < 1e-4 * (1 + fabs(expected)));
    }
    assert_true(largest > 1e-2); /* that part was tested, too */
    nh_velocity_work_free(w);
    fixture_free(&f);
}

/* --- conductivity --- */

enum { PHOTONS = 40 };

static nh_optics_task task_of(const fixture *f, const nh_kpoints *k, double nelec, const double *energy,
                              size_t n_energy, nh_bands *bands)
{
    nh_optics_task t = {.name = "model",
                        .fourier = f->fourier,
                        .velocity = f->velocity,
                        .k = k,
                        .volume = fabs(nh_lattice_volume(f->model.lattice)),
                        .electrons_per_band = f->graph->n_spin == 1 ? 2 : 1,
                        .n_energy = n_energy,
                        .energy = energy,
                        .eta = 0.15,
                        .spacing = 0.2,
                        .degenerate = 1e-6,
                        .threads = 2};
    const nh_sweep s = {.name = "model", .fourier = f->fourier, .threads = 1};
    OK(nh_sweep_energies(&s, k, bands, &err));
    bands->electrons_per_band = t.electrons_per_band;
    OK(nh_filling_find(bands, nelec, 0.05, &t.filling, &err));
    t.rows = nh_optics_rows(bands, &t.filling);
    return t;
}

static nh_optics conductivity(const fixture *f, double nelec, const double *energy, size_t n_energy)
{
    nh_kpoints k;
    nh_bands b;
    nh_optics o;
    OK(nh_kpoints_mesh((const int[]){6, 5, 1}, true, (const double[3]){0}, &k, &err));
    nh_optics_task t = task_of(f, &k, nelec, energy, n_energy, &b);
    OK(nh_optics_new(&t, &o, &err));
    nh_bands_free(&b);
    nh_kpoints_free(&k);
    return o;
}

static void photons(double *energy)
{
    for (size_t i = 0; i < PHOTONS; i++)
        energy[i] = 0.25 * (double)i;
}

static void same(const nh_optics *a, const nh_optics *b, double within)
{
    double largest = 0;
    for (size_t i = 0; i < 18 * a->n_energy; i++)
        largest = fmax(largest, fabs(a->sigma[i]));
    for (size_t i = 0; i < 18 * a->n_energy; i++)
        assert_true(fabs(a->sigma[i] - b->sigma[i]) <= within * largest);
    for (size_t i = 0; i < 9; i++)
        assert_true(fabs(a->drude[i] - b->drude[i]) <= within * fabs(a->drude[0]));
}

/* Another origin, another home cell of an orbital, spin (each level twice, mixed as LAPACK likes): the same,
 * in a metal. */
static void test_invariance(void **state)
{
    (void)state;
    double energy[PHOTONS];
    photons(energy);
    fixture f = fixture_new(N, 0.4, true);
    nh_optics o = conductivity(&f, 2.7, energy, PHOTONS);
    assert_true(o.drude[0] > 1e-3 && fabs(o.sigma[2]) > 1);

    fixture shifted = fixture_of(f.model, 1, (const double[]){0.7, -1.9, 0.4}, true);
    nh_optics other = conductivity(&shifted, 2.7, energy, PHOTONS);
    same(&o, &other, 1e-9);
    nh_optics_free(&other);
    fixture_free(&shifted);

    fine_model moved = f.model;
    fine_model_move(&moved, 1, 2, -1);
    fixture g = fixture_of(moved, 1, NULL, true);
    other = conductivity(&g, 2.7, energy, PHOTONS);
    same(&o, &other, 1e-9);
    nh_optics_free(&other);
    fixture_free(&g);

    fixture spins = fixture_of(f.model, 4, NULL, true);
    other = conductivity(&spins, 2.7, energy, PHOTONS);
    same(&o, &other, 1e-9);
    nh_optics_free(&other);
    fixture_free(&spins);

    nh_optics_free(&o);
    fixture_free(&f);
}

/* Without a position matrix: exact where the orbitals are points. */
static void test_middle_of_atoms(void **state)
{
    (void)state;
    double energy[PHOTONS];
    photons(energy);
    for (int overlap = 0; overlap < 2; overlap++) {
        const fine_model m = fine_model_new(N, 0.4 * overlap, false);
        fixture f = fixture_of(m, 1, NULL, true), g = fixture_of(m, 1, NULL, false);
        nh_optics a = conductivity(&f, 2, energy, PHOTONS), b = conductivity(&g, 2, energy, PHOTONS);
        double largest = 0;
        for (size_t i = 0; i < 18 * PHOTONS; i++)
            largest = fmax(largest, fabs(a.sigma[i] - b.sigma[i]) / fabs(a.sigma[18 * 12]));
        assert_true(overlap == 0 ? largest < 1e-9 : largest > 1e-3);
        nh_optics_free(&a);
        nh_optics_free(&b);
        fixture_free(&f);
        fixture_free(&g);
    }
}

static void test_threads_do_not_matter(void **state)
{
    (void)state;
    double energy[PHOTONS];
    photons(energy);
    fixture f = fixture_new(N, 0.4, true);
    nh_kpoints k;
    nh_bands b;
    nh_optics one, three;
    OK(nh_kpoints_mesh((const int[]){7, 5, 1}, true, (const double[3]){0}, &k, &err));
    nh_optics_task t = task_of(&f, &k, 2.7, energy, PHOTONS, &b);
    t.threads = 1;
    OK(nh_optics_new(&t, &one, &err));
    t.threads = 3;
    OK(nh_optics_new(&t, &three, &err));
    assert_memory_equal(one.sigma, three.sigma, 18 * PHOTONS * sizeof *one.sigma);
    nh_optics_free(&one);
    nh_optics_free(&three);
    nh_bands_free(&b);
    nh_kpoints_free(&k);
    fixture_free(&f);
}

/* Points as orbitals: m/hbar^2 sum f_n <d^2 H>_n = transitions + Fermi surface, exactly. For an insulator and
 * a metal. */
static void test_f_sum(void **state)
{
    (void)state;
    const double energy[1] = {1};
    fixture f = fixture_new(N, 0, true);
    for (int metal = 0; metal < 2; metal++) {
        nh_kpoints k;
        nh_bands b;
        nh_optics o;
        OK(nh_kpoints_mesh((const int[]){24, 24, 1}, true, (const double[3]){0}, &k, &err));
        nh_optics_task t = task_of(&f, &k, metal ? 2.7 : 2, energy, 1, &b);
        if (metal) { /* hot enough for this mesh */
            OK(nh_filling_find(&b, 2.7, 0.3, &t.filling, &err));
            t.rows = N;
        }
        OK(nh_optics_new(&t, &o, &err));
        double expected[2] = {0};
        for (size_t i = 0; i < k.count; i++) {
            double e[N];
            double complex c[N][N];
            states_at(&f, k.k + 3 * i, e, c[0]);
            for (size_t p = 0; p < f.graph->pairs.count; p++) {
                const nh_pair *q = &f.graph->pairs.pair[p];
                const double *h = f.graph->matrix[NH_H_LABEL] + 2 * p;
                double v[3];
                nh_pair_vector(&f.graph->structure, q, v);
                for (size_t n = 0; n < N; n++)
                    for (size_t x = 0; x < 2; x++)
                        expected[x] -= 2 * k.weight[i] * nh_filling_at(&t.filling, e[n]) * v[x] * v[x] /
                                       NH_HBAR2_OVER_M *
                                       creal(conj(c[n][q->src]) * CMPLX(h[0], h[1]) * c[n][q->dst] *
                                             cexp(I * fine_turn(k.k + 3 * i, q->cell[0], q->cell[1])));
            }
        }
        for (size_t x = 0; x < 2; x++)
            assert_true(fabs(o.effective[x] + o.drude_electrons[x] - expected[x]) < 1e-5 * fabs(expected[x]));
        assert_true(metal ? o.drude_electrons[0] > 1e-2 : o.drude_electrons[0] < 1e-6);
        nh_optics_free(&o);
        nh_bands_free(&b);
        nh_kpoints_free(&k);
    }
    fixture_free(&f);
}

/* Im sigma(E) = -(2 E/pi) P int Re sigma/(x^2 - E^2) dx, and half of pi times a sum of electrons is under Re
 * sigma. */
static void test_kramers_kronig(void **state)
{
    (void)state;
    enum { LONG = 30000 };
    const double step = 0.01;
    double *energy = calloc(LONG, sizeof *energy);
    for (size_t i = 0; i < LONG; i++)
        energy[i] = ((double)i + 0.5) * step;
    fixture f = fixture_new(N, 0.4, true);
    nh_kpoints k;
    nh_bands b;
    OK(nh_kpoints_mesh((const int[]){2, 2, 1}, false, (const double[3]){0}, &k, &err));
    for (int gaussian = 0; gaussian < 2; gaussian++) {
        nh_optics o;
        nh_optics_task t = task_of(&f, &k, 2, energy, LONG, &b);
        t.broadening = gaussian ? NH_GAUSSIAN : NH_LORENTZIAN;
        OK(nh_optics_new(&t, &o, &err));
        double largest = 0, under = 0;
        for (size_t i = 0; i < LONG; i++) {
            largest = fmax(largest, fabs(o.sigma[18 * i]));
            under += o.sigma[18 * i] * step;
        }
        /* the middles between the photon energies: the principal value by symmetry */
        for (double at = 1; at < 12; at += 1) {
            const size_t near = (size_t)lround(at / step);
            double sum = 0;
            for (size_t i = 0; i < LONG; i++)
                sum += o.sigma[18 * i] / (energy[i] * energy[i] - at * at) * step;
            const double im = 0.5 * (o.sigma[18 * near + 1] + o.sigma[18 * (near - 1) + 1]);
            assert_true(fabs(im + 2 * at / M_PI * sum) < 4e-3 * largest);
        }
        const double electrons = under * 1e-10 * 2 * t.volume / (M_PI * NH_E2_OVER_HBAR * NH_HBAR2_OVER_M);
        assert_true(fabs(electrons / o.effective[0] - 1) < (gaussian ? 1e-5 : 2e-3));
        nh_optics_free(&o);
        nh_bands_free(&b);
    }
    nh_kpoints_free(&k);
    fixture_free(&f);
    free(energy);
}

/* --- the dielectric function, fillings, bad input --- */

static void test_light(void **state)
{
    (void)state;
    /* one oscillator: epsilon = 1 + W/(w0^2 - z^2), sigma = -i eps0 z (epsilon - 1) */
    const double complex z = CMPLX(2, 0.1), chi = 30 / (16 - z * z), s = -I * NH_EPS0_OVER_HBAR * z * chi;
    nh_light l = nh_light_of((const double[]){creal(s), cimag(s)}, 2, 0.1, true);
    const double complex n = csqrt(1 + chi);
    assert_true(fabs(l.epsilon[0] - creal(1 + chi)) < 1e-12 && fabs(l.epsilon[1] - cimag(chi)) < 1e-12);
    assert_true(fabs(l.n - creal(n)) < 1e-12 && fabs(l.kappa - cimag(n)) < 1e-12 && l.kappa > 0);
    /* 4 pi kappa/wavelength: 2 eV are 619.92 nm */
    assert_true(fabs(l.absorption - 4 * M_PI * l.kappa / 619.9210e-7) < 1e-3 * l.absorption);
    assert_true(fabs(l.reflectivity - pow(cabs((n - 1) / (n + 1)), 2)) < 1e-12);
    assert_true(isnan(nh_light_of((const double[]){1, 0}, 0, 0, true).n));
}

static void test_filling(void **state)
{
    (void)state;
    nh_kpoints k;
    nh_bands b;
    nh_filling f;
    OK(nh_kpoints_new(1, NH_K_LIST, &k, &err));
    OK(nh_bands_new(&k, 3, &b, &err));
    memcpy(b.energy, (const double[]){-1, 3, 4}, 3 * sizeof(double));
    b.electrons_per_band = 2;
    OK(nh_filling_find(&b, 2, 0.025, &f, &err));
    assert_true(fabs(f.mu - 1) < 0.05); /* the middle of the gap */
    OK(nh_filling_find(&b, 3, 0.025, &f, &err));
    assert_true(fabs(f.mu - 3) < 1e-6);
    assert_true(fabs(nh_filling_at(&f, 3) - 0.5) < 1e-5 && fabs(nh_filling_slope(&f, 3) - 10) < 1e-3);
    assert_true(nh_filling_at(&f, 1e6) == 0 && nh_filling_at(&f, -1e6) == 1);
    assert_int_equal(nh_filling_find(&b, 6, 0.025, &f, &err), -1);
    assert_string_equal(err.text, "the bands hold 6 electrons, 6 are there");
    assert_int_equal(nh_filling_find(&b, -1, 0.025, &f, &err), -1);
    assert_int_equal(nh_filling_find(&b, 1, 0, &f, &err), -1);
    nh_bands_free(&b);
    nh_kpoints_free(&k);
}

static void test_wrong_position(void **state)
{
    (void)state;
    fixture f = fixture_new(N, 0.4, true);
    nh_velocity *v;
    f.position[3] += 0.1;
    assert_int_equal(nh_velocity_new(f.graph, f.fourier, f.position, &v, &err), -1);
    assert_non_null(strstr(err.text, "position_matrix: pair 3 "));
    assert_null(v);
    f.position[3] = NAN;
    assert_int_equal(nh_velocity_new(f.graph, f.fourier, f.position, &v, &err), -1);
    fixture_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_velocity_is_the_connection),
        cmocka_unit_test(test_curvature),
        cmocka_unit_test(test_invariance),
        cmocka_unit_test(test_middle_of_atoms),
        cmocka_unit_test(test_threads_do_not_matter),
        cmocka_unit_test(test_f_sum),
        cmocka_unit_test(test_kramers_kronig),
        cmocka_unit_test(test_light),
        cmocka_unit_test(test_filling),
        cmocka_unit_test(test_wrong_position),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
