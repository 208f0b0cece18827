/* Tetrahedra, densities of states, Fermi level; projections and spin of states. */
#include "check.h"

#include "chain.h"

#include "base/memory.h"
#include "properties/dos.h"
#include "properties/projection.h"
#include "crystal/spectrum.h"

#define assert_near(a, b, within)                                                                            \
    do {                                                                                                     \
        const double nh_a = (a), nh_b = (b);                                                                 \
        if (!(fabs(nh_a - nh_b) <= (within))) fail_msg("%s = %.15g, %s = %.15g", #a, nh_a, #b, nh_b);        \
    } while (0)

/* --- one tetrahedron --- */

static const double CORNERS[][4] = {
    {-1, 0.2, 0.5, 2}, {0, 0, 1, 2},         {0, 1, 1, 2},         {0, 1, 2, 2},
    {0, 0, 0, 1},      {0, 1, 1, 1},         {0, 0, 1, 1},         {-3, -3, -3, -2.5},
    {0, 1e-13, 1, 2},  {0, 1, 1 + 1e-15, 3}, {0.7, 0.7, 0.7, 0.7},
};
enum { N_CORNERS = sizeof CORNERS / sizeof *CORNERS };

/* The integrals of the barycentric coordinates over the part of the tetrahedron with energies below e, by n points that fill it
 * evenly. */
static void by_points(const double v[4], double e, size_t n, double w[4])
{
    for (int i = 0; i < 4; i++)
        w[i] = 0;
    for (size_t q = 0; q < n; q++) {
        /* a cube, mapped on the tetrahedron with equal volumes */
        const double a = ((double)q + 0.5) / (double)n, b = fmod((double)q * 0.7548776662466927, 1),
                     t = fmod((double)q * 0.5698402909980532, 1), r = cbrt(a), s = sqrt(b);
        const double x[4] = {1 - r, r * (1 - s), r * s * (1 - t), r * s * t};
        if (x[0] * v[0] + x[1] * v[1] + x[2] * v[2] + x[3] * v[3] >= e) continue;
        for (int i = 0; i < 4; i++)
            w[i] += x[i] / (double)n;
    }
}

static void weights_of_a_linear_energy(void **state)
{
    (void)state;
    for (size_t q = 0; q < N_CORNERS; q++) {
        const double *v = CORNERS[q], span = fmax(v[3] - v[0], 1e-3);
        double before = 0;
        for (int step = -2; step <= 22; step++) {
            const double e = v[0] + span * (step + 0.37) / 20;
            double w[4], c[4], plain = 0, corrected = 0;
            nh_tetrahedron_weights(v, e, false, w);
            nh_tetrahedron_weights(v, e, true, c);
            for (int i = 0; i < 4; i++) {
                assert_true(w[i] >= -1e-15 && w[i] <= 0.25 + 1e-15);
                assert_true(isfinite(c[i]));
                plain += w[i];
                corrected += c[i];
            }
            const double states = nh_tetrahedron_states(v, e);
            assert_near(plain, states, 1e-14);
            assert_near(corrected, states, 1e-13);
            assert_true(states >= before - 1e-15);
            if (e < v[0]) assert_near(states, 0, 0);
            if (e >= v[3]) assert_near(states, 1, 0);
            before = states;
        }
    }
    for (size_t q = 0; q < 7; q++)
        for (int step = 1; step < 8; step++) {
            const double *v = CORNERS[q], e = v[0] + (v[3] - v[0]) * (step + 0.1) / 8;
            double w[4], expected[4];
            nh_tetrahedron_weights(v, e, false, w);
            by_points(v, e, 40000, expected);
            for (int i = 0; i < 4; i++)
                assert_near(w[i], expected[i], 5e-4);
        }
}

static void density_is_the_derivative(void **state)
{
    (void)state;
    const double h = 1e-6;
    for (size_t q = 0; q < 7; q++)
        for (int step = 0; step < 40; step++) {
            const double *v = CORNERS[q], e = v[0] + (v[3] - v[0]) * (step + 0.4321) / 40;
            const double d = (nh_tetrahedron_states(v, e + h) - nh_tetrahedron_states(v, e - h)) / (2 * h);
            assert_near(nh_tetrahedron_density(v, e), d, 2e-5);
        }
    /* the energies themselves as the function: the integral of e below E is E n(E) - int n */
    const double *v = CORNERS[0], top = 1.3;
    double w[4], below = 0;
    nh_tetrahedron_weights(v, top, false, w);
    const size_t n = 40000;
    for (size_t i = 0; i < n; i++)
        below += nh_tetrahedron_states(v, v[0] + (top - v[0]) * ((double)i + 0.5) / (double)n) *
                 (top - v[0]) / (double)n;
    assert_near(w[0] * v[0] + w[1] * v[1] + w[2] * v[2] + w[3] * v[3],
                top * nh_tetrahedron_states(v, top) - below, 1e-8);
}

/* --- meshes --- */

static void meshes(void **state)
{
    (void)state;
    static const int sizes[][3] = {{4, 3, 2}, {1, 1, 1}, {5, 1, 1}, {1, 4, 1},
                                   {1, 1, 3}, {2, 1, 3}, {1, 2, 2}};
    const double fcc[9] = {0, 2.8, 2.8, 2.8, 0, 2.8, 2.8, 2.8, 0};
    for (size_t q = 0; q < sizeof sizes / sizeof *sizes; q++) {
        nh_kpoints k;
        nh_tetrahedra t;
        OK(nh_kpoints_mesh(sizes[q], true, (double[3]){0}, &k, &err));
        OK(nh_tetrahedra_new(&k, fcc, &t, &err));
        assert_memory_equal(t.n, sizes[q], sizeof t.n);
        /* every corner of a parallelepiped belongs to tetrahedra of the whole volume 1 */
        size_t corner[4], seen[24] = {0};
        for (size_t cell = 0; cell < k.count; cell++)
            for (int m = 0; m < NH_TETRAHEDRA; m++) {
                nh_tetrahedron_corners(&t, cell, m, corner);
                for (int i = 0; i < 4; i++)
                    seen[corner[i]]++;
            }
        for (size_t i = 0; i < k.count; i++)
            assert_int_equal(seen[i], 24);
        for (size_t i = 0; i < k.count; i++) {
            const size_t o = nh_mesh_opposite(sizes[q], i);
            for (size_t x = 0; x < 3; x++) {
                const double sum = k.k[3 * i + x] + k.k[3 * o + x];
                assert_near(sum, round(sum), 1e-12);
            }
        }
        nh_kpoints_free(&k);
    }
    /* the diagonal of fcc that is short goes along b1 - b2 and the like, not along the sum: (000) to (111) is |b1+b2+b3| */
    nh_kpoints k;
    nh_tetrahedra t;
    OK(nh_kpoints_mesh((const int[3]){2, 2, 2}, true, (double[3]){0}, &k, &err));
    OK(nh_tetrahedra_new(&k, fcc, &t, &err));
    double b[9], shortest = INFINITY;
    OK(nh_reciprocal(fcc, b, &err));
    for (int c = 0; c < 4; c++)
        shortest = fmin(shortest, nh_k_length(b, (double[3]){c & 1 ? -1 : 1, c & 2 ? -1 : 1, 1}));
    const unsigned from = t.corner[0][0], to = t.corner[0][3];
    assert_int_equal(from ^ to, 7);
    assert_near(nh_k_length(b, (double[3]){from & 1 ? -1 : 1, from & 2 ? -1 : 1, from & 4 ? -1 : 1}),
                shortest, 1e-12);
    /* what is no such mesh */
    k.k[3 * 5] += 0.01;
    assert_int_equal(nh_tetrahedra_new(&k, fcc, &t, &err), -1);
    assert_non_null(strstr(err.text, "Gamma-centred mesh"));
    nh_kpoints_free(&k);
    OK(nh_kpoints_mesh((const int[3]){2, 2, 2}, false, (double[3]){0}, &k, &err));
    assert_int_equal(nh_tetrahedra_new(&k, fcc, &t, &err), -1);
    nh_kpoints_free(&k);
    OK(nh_kpoints_mesh((const int[3]){2, 2, 2}, true, (double[3]){0}, &k, &err));
    k.weight[1] *= 2;
    assert_int_equal(nh_tetrahedra_new(&k, fcc, &t, &err), -1);
    nh_kpoints_free(&k);
}

/* --- bands --- */

/* E = -2 (cos k1 + cos k2 + cos k3) + a flat band at 10 + one at 12, on an n x n x n mesh. */
static void cubic(const int n[3], nh_bands *b, nh_tetrahedra *t)
{
    const double lattice[9] = {3, 0, 0, 0, 3, 0, 0, 0, 3};
    nh_kpoints k;
    OK(nh_kpoints_mesh(n, true, (double[3]){0}, &k, &err));
    OK(nh_bands_new(&k, 3, b, &err));
    for (size_t i = 0; i < k.count; i++) {
        const double *x = k.k + 3 * i;
        b->energy[3 * i] = 0;
        for (int d = 0; d < 3; d++)
            if (n[d] > 1) b->energy[3 * i] -= 2 * cos(2 * M_PI * x[d]);
        b->energy[3 * i + 1] = 10;
        b->energy[3 * i + 2] = 12;
    }
    OK(nh_tetrahedra_new(&k, lattice, t, &err));
    nh_kpoints_free(&k);
}

/* The part of the zone with E < e, by sums over k1, k2 and the exact part of k3. */
static double cubic_states(double e)
{
    enum { N = 400 };
    double sum = 0;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            const double c = -(e + 2 * cos(M_PI * (i + 0.5) / N) + 2 * cos(M_PI * (j + 0.5) / N)) / 2;
            sum += c >= 1 ? 0 : c <= -1 ? 1 : acos(c) / M_PI;
        }
    return sum / ((double)N * N);
}

static void simple_cubic_band(void **state)
{
    (void)state;
    nh_bands b;
    nh_tetrahedra t;
    cubic((const int[3]){24, 24, 24}, &b, &t);
    nh_dos_task task = {.bands = &b, .n_band = 3, .tetrahedra = &t};
    enum { N = 61 };
    double total[N], dos[N], below[N];
    OK(nh_dos_count(&task, -6, 0.2, N, total, NULL, &err));
    for (int i = 0; i < N; i++)
        assert_near(total[i], cubic_states(-6 + 0.2 * i), 2e-3);
    assert_near(total[30], 0.5, 1e-3); /* symmetric */
    OK(nh_dos_density(&task, -6, 0.2, N, dos, below, NULL, NULL, &err));
    for (int i = 5; i < N - 5; i++) { /* the mean over each step */
        const double expected = (cubic_states(-5.9 + 0.2 * i) - cubic_states(-6.1 + 0.2 * i)) / 0.2;
        assert_near(dos[i], expected, 0.02 * expected);
    }
    assert_near(dos[30], 0.1427, 0.002); /* the known value at the centre, 0.143/t */
    /* flat bands: a step each, wherever the grid is */
    double three[3];
    OK(nh_dos_count(&task, 9.99, 1, 3, three, NULL, &err));
    assert_near(three[0], 1, 1e-12);
    assert_near(three[1], 2, 1e-12);
    assert_near(three[2], 2, 1e-12);
    /* everything is counted, whatever the step */
    for (double step = 0.05; step < 3; step *= 3) {
        const size_t n = (size_t)(20 / step) + 3;
        double *d = NH_ARRAY(double, n), *c = NH_ARRAY(double, n), sum = 0;
        OK(nh_dos_density(&task, -6.5, step, n, d, c, NULL, NULL, &err));
        for (size_t i = 0; i < n; i++)
            sum += d[i] * step;
        assert_near(sum, 3, 1e-11);
        free(d);
        free(c);
    }
    nh_bands_free(&b);
}

/* Along one direction alone tetrahedra give the exact result of linear interpolation: at the mesh energies the exact number. */
static void chain_band(void **state)
{
    (void)state;
    for (int direction = 0; direction < 3; direction++) {
        int n[3] = {1, 1, 1};
        nh_bands b;
        nh_tetrahedra t;
        n[direction] = 20;
        cubic(n, &b, &t);
        const nh_dos_task task = {.bands = &b, .n_band = 3, .tetrahedra = &t};
        for (int i = 0; i <= 10; i++) {
            double states;
            OK(nh_dos_count(&task, -2 * cos(M_PI * i / 10) + 1e-13, 0, 1, &states, NULL, &err));
            assert_near(states, i / 10.0, 1e-9);
            if (i == 10) break;
            OK(nh_dos_count(&task, -cos(M_PI * i / 10) - cos(M_PI * (i + 1) / 10), 0, 1, &states, NULL,
                            &err));
            assert_near(states, (i + 0.5) / 10, 1e-12); /* half-way between two mesh points */
        }
        nh_bands_free(&b);
    }
}

/* The energy of the half-filled cubic band: with the correction the error falls faster. */
static void correction(void **state)
{
    (void)state;
    enum { N = 300 };
    double exact = 0; /* int_{E<0} E = -int_{-6}^{0} n(E) dE */
    for (int i = 0; i < N; i++)
        exact -= cubic_states(-6 + 6 * (i + 0.5) / N) * 6 / N;
    double plain[2], corrected[2];
    for (int q = 0; q < 2; q++) {
        nh_bands b;
        nh_tetrahedra t;
        nh_dos_level level;
        double electrons;
        const int n = q == 0 ? 12 : 24;
        cubic((const int[3]){n, n, n}, &b, &t);
        nh_dos_task task = {.bands = &b, .n_band = 3, .tetrahedra = &t};
        OK(nh_dos_fermi(&task, 0.5, &level, &err));
        assert_false(level.insulator);
        assert_near(level.efermi, 0, 1e-3);
        corrected[q] = fabs(level.energy - exact);
        task.n_column = 1;
        task.weight = b.energy;
        OK(nh_dos_count(&task, level.efermi, 0, 1, &electrons, &plain[q], &err));
        assert_near(electrons, 0.5, 1e-9);
        plain[q] = fabs(plain[q] - exact);
        nh_bands_free(&b);
    }
    assert_true(plain[1] < 0.3 * plain[0] && plain[1] > 0.2 * plain[0]); /* n^-2 */
    assert_true(corrected[0] < 0.05 * plain[0] && corrected[1] < 0.2 * corrected[0]);
}

static void fermi_level(void **state)
{
    (void)state;
    nh_bands b;
    nh_tetrahedra t;
    nh_dos_level level;
    nh_threads *threads;
    cubic((const int[3]){6, 6, 6}, &b, &t);
    OK(nh_threads_new(3, &threads, &err));
    for (int gaussian = 0; gaussian < 2; gaussian++) {
        nh_dos_task task = {.bands = &b, .n_band = 3, .tetrahedra = gaussian ? NULL : &t, .width = 0.2};
        for (double nelec = 0.1; nelec < 1; nelec += 0.2) {
            double electrons[2];
            OK(nh_dos_fermi(&task, nelec, &level, &err));
            assert_int_equal(level.gap.occupied, 0);
            assert_true(level.density > 0);
            OK(nh_dos_count(&task, level.efermi, 0, 1, electrons, NULL, &err));
            assert_near(electrons[0], nelec, 1e-8);
            OK(nh_dos_count(&task, level.efermi - 5e-4, 1e-3, 2, electrons, NULL, &err));
            assert_near(level.density, (electrons[1] - electrons[0]) / 1e-3, 1e-3);
            task.threads = threads; /* they do not matter */
            double again;
            OK(nh_dos_count(&task, level.efermi - 5e-4, 0, 1, &again, NULL, &err));
            assert_true(again == electrons[0]);
            task.threads = NULL;
        }
        OK(nh_dos_fermi(&task, 1, &level, &err)); /* between 6 and 10 eV */
        assert_true(level.insulator);
        assert_near(level.efermi, 8, 1e-12);
        assert_near(level.gap.vbm, 6, 1e-12);
        assert_near(level.energy, 0, 1e-9); /* a full band */
        OK(nh_dos_fermi(&task, 2, &level, &err));
        assert_near(level.efermi, 11, 1e-12);
        assert_int_equal(nh_dos_fermi(&task, 3.1, &level, &err), -1);
        assert_non_null(strstr(err.text, "the bands hold 3 electrons, 3.1"));
        assert_int_equal(nh_dos_fermi(&task, -1, &level, &err), -1);
    }
    nh_threads_free(threads);
    size_t n_band, dropped;
    OK(nh_dos_bands(&b, &n_band, &dropped, &err));
    assert_int_equal(n_band, 3);
    b.energy[3 * 7 + 2] = NAN;
    OK(nh_dos_bands(&b, &n_band, &dropped, &err));
    assert_int_equal(n_band, 2);
    assert_int_equal(dropped, 1);
    b.first[5] = 1;
    assert_int_equal(nh_dos_bands(&b, &n_band, &dropped, &err), -1);
    for (size_t k = 0; k < b.k.count; k++)
        b.first[k] = 4; /* what is below counts as full */
    nh_dos_task task = {.bands = &b, .n_band = 2, .tetrahedra = &t};
    OK(nh_dos_fermi(&task, 4.5, &level, &err));
    assert_near(level.efermi, 0, 0.05);
    assert_int_equal(nh_dos_fermi(&task, 3, &level, &err), -1);
    b.k.mode = NH_K_PATH;
    assert_int_equal(nh_dos_bands(&b, &n_band, &dropped, &err), -1);
    nh_bands_free(&b);
}

static void projections_add_up(void **state)
{
    (void)state;
    nh_bands b;
    nh_tetrahedra t;
    uint64_t seed = 5;
    cubic((const int[3]){5, 4, 3}, &b, &t);
    const size_t n_state = 3 * b.k.count;
    double *weight = NH_ARRAY(double, 3 * n_state);
    for (size_t i = 0; i < n_state; i++) {
        weight[3 * i] = noise(&seed);
        weight[3 * i + 1] = noise(&seed);
        weight[3 * i + 2] = 1 - weight[3 * i] - weight[3 * i + 1];
    }
    for (int gaussian = 0; gaussian < 2; gaussian++) {
        enum { N = 200 };
        const nh_dos_task task = {.bands = &b,
                                  .n_band = 3,
                                  .tetrahedra = gaussian ? NULL : &t,
                                  .width = 0.1,
                                  .n_column = 3,
                                  .weight = weight,
                                  .corrected = true};
        double dos[N], below[N], column[3 * N], counted[3 * N], sum = 0;
        OK(nh_dos_density(&task, -7, 0.1, N, dos, below, column, counted, &err));
        for (size_t i = 0; i < N; i++) {
            assert_near(column[3 * i] + column[3 * i + 1] + column[3 * i + 2], dos[i], 1e-12);
            assert_near(counted[3 * i] + counted[3 * i + 1] + counted[3 * i + 2], below[i], 1e-12);
            sum += 0.1 * column[3 * i];
        }
        assert_near(below[N - 1], 3, 1e-12);
        assert_near(counted[3 * N - 3], sum, 1e-11);
    }
    free(weight);
    nh_bands_free(&b);
}

/* --- projections of states --- */

typedef struct solved {
    nh_spectrum spectrum;
    nh_weigher weigher;
} solved;

static int weigh(void *context, size_t k, int thread, size_t count, const double *s, const double *vector,
                 nh_error *e)
{
    (void)e;
    nh_weigher_take(&((solved *)context)->weigher, k, thread, count, s, vector);
    return 0;
}

static void solve(nh_graph *g, size_t n_k, const double *k, const nh_group_kind *kind, bool spin, solved *out)
{
    nh_fourier *f;
    OK(nh_fourier_new(g, NH_H_LABEL, NULL, &f, &err));
    const size_t basis = nh_fourier_basis(f);
    OK(nh_spectrum_new(n_k, basis, &out->spectrum, &err));
    OK(nh_weigher_new(g, kind, spin, n_k, basis, 2, &out->weigher, &err));
    const nh_spectrum_task task = {.name = "test",
                                   .n_k = n_k,
                                   .basis = basis,
                                   .k = k,
                                   .fourier = f,
                                   .choice = {.kind = NH_BANDS_ALL, .count = basis},
                                   .most = basis,
                                   .measure = weigh,
                                   .context = out,
                                   .threads = 2};
    OK(nh_spectrum_solve(&task, &out->spectrum, &err));
    nh_fourier_free(f);
}

static void solved_free(solved *s)
{
    nh_spectrum_free(&s->spectrum);
    nh_weigher_free(&s->weigher);
}

/* Two hydrogen-like orbitals with overlap: the two halves of the bonding state are equal, whatever S; names and merging. */
static void mulliken(void **state)
{
    (void)state;
    const double k[] = {0, 0, 0, 0.13, 0, 0, 0.5, 0, 0, 0.31, 0.2, 0.4};
    nh_graph *g = random_chain(3, 11);
    const nh_group_kind kind = NH_BY_ATOM_SHELL;
    solved s;
    solve(g, 4, k, &kind, true, &s);
    nh_state_weights *w = &s.weigher.states;
    assert_int_equal(w->n_group, 6);
    assert_string_equal(w->name[0], "Si1-s");
    assert_string_equal(w->name[3], "Si2-p");
    for (size_t i = 0; i < 4 * w->n_band; i++) {
        double sum = 0, spin = 0;
        for (size_t q = 0; q < 6; q++)
            sum += w->weight[6 * i + q];
        for (size_t x = 0; x < 3; x++)
            spin += w->spin[3 * i + x] * w->spin[3 * i + x];
        assert_near(sum, 1, 1e-12);
        assert_true(spin <= 1 + 1e-12);
    }
    double *fine = NH_ARRAY(double, 6 * 4 * w->n_band);
    memcpy(fine, w->weight, 6 * 4 * w->n_band * sizeof *fine);
    nh_state_weights copy;
    OK(nh_state_weights_new(4, w->n_band, &s.weigher.by, false, &copy, &err));
    memcpy(copy.weight, fine, 6 * 4 * w->n_band * sizeof *fine);
    OK(nh_state_weights_merge(w, NH_BY_SHELL, &err));
    assert_int_equal(w->n_group, 2);
    assert_string_equal(w->name[1], "Si-p");
    for (size_t i = 0; i < 4 * w->n_band; i++)
        assert_near(w->weight[2 * i + 1], fine[6 * i + 1] + fine[6 * i + 3] + fine[6 * i + 5], 1e-14);
    assert_int_equal(nh_state_weights_merge(w, NH_BY_ATOM, &err), -1);
    assert_non_null(strstr(err.text, "by shell do not give those by atom"));
    OK(nh_state_weights_merge(w, NH_BY_ELEMENT, &err));
    assert_int_equal(w->n_group, 1);
    assert_near(w->weight[3], 1, 1e-12);
    OK(nh_state_weights_merge(&copy, NH_BY_ATOM, &err));
    assert_string_equal(copy.name[2], "Si3");
    assert_near(copy.weight[2], fine[4] + fine[5], 1e-14);
    nh_state_weights_free(&copy);
    free(fine);
    solved_free(&s);
    nh_graph_free(g);
}

/* Rashba: H = 2 t cos k + 2 a sin k sigma_y; in a magnetic field along z as well, H = ... + m sigma_z. The spins are
 * parallel or antiparallel to (0, 2 a sin k, m), and the overlap 1 + 2 s cos k does not change that. */
static void rashba(void **state)
{
    (void)state;
    const double t = -1, a = 0.4, m = 0.3, overlap = 0.2;
    const int shell[] = {0};
    nh_graph *g = make_chain(1, 3.0, 1, shell, 1, 4);
    const size_t n = 2 * g->pairs.n_elem;
    double *h = g->matrix[NH_H_LABEL];
    for (size_t p = 0; p < 3; p++) {
        const int cell = g->pairs.pair[p].cell[0];
        g->overlap[p] = cell == 0 ? 1 : overlap;
        h[2 * p] = cell == 0 ? m : t;
        h[3 * n + 2 * p] = cell == 0 ? -m : t;
        /* 2 a sin k = a (e^ik - e^-ik)/i; sigma_y ud = -i: ud(R) = -a for R = 1, +a for R = -1; du = -ud */
        h[n + 2 * p] = -a * cell;
        h[2 * n + 2 * p] = a * cell;
    }
    double k[3 * 9] = {0};
    for (int i = 0; i < 9; i++)
        k[3 * i] = 0.02 + 0.11 * i;
    solved s;
    solve(g, 9, k, NULL, true, &s);
    for (size_t i = 0; i < 9; i++) {
        const double x = 2 * M_PI * k[3 * i], field = 2 * a * sin(x), size = hypot(field, m),
                     norm = 1 + 2 * overlap * cos(x);
        for (size_t band = 0; band < 2; band++) {
            const double sign = band == 0 ? -1 : 1, *spin = s.weigher.states.spin + 3 * (2 * i + band);
            assert_near(s.spectrum.energy[2 * i + band], (2 * t * cos(x) + sign * size) / norm, 1e-12);
            assert_near(spin[0], 0, 1e-12);
            assert_near(spin[1], sign * field / size, 1e-12);
            assert_near(spin[2], sign * m / size, 1e-12);
        }
    }
    solved_free(&s);
    /* time reversal: the field breaks it by 2 m in uu - dd*; without it, it holds */
    assert_near(nh_time_reversal_defect(g, h), 2 * m, 1e-14);
    h[2] = h[3 * n + 2] = 0.7;
    assert_near(nh_time_reversal_defect(g, h), 0, 0);
    nh_weigher w;
    g->n_spin = 1;
    assert_int_equal(nh_weigher_new(g, NULL, true, 1, 1, 1, &w, &err), -1);
    assert_non_null(strstr(err.text, "without spin"));
    nh_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_of_a_linear_energy),
        cmocka_unit_test(density_is_the_derivative),
        cmocka_unit_test(meshes),
        cmocka_unit_test(simple_cubic_band),
        cmocka_unit_test(chain_band),
        cmocka_unit_test(correction),
        cmocka_unit_test(fermi_level),
        cmocka_unit_test(projections_add_up),
        cmocka_unit_test(mulliken),
        cmocka_unit_test(rashba),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
