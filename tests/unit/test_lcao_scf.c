/* Pieces of the self-consistent loop that need no grid: occupations, mixing, half mesh and lattice sums, states. */
#include "base/complex.h"
#include "made_crystal.h"

#include "base/threads.h"
#include "crystal/eigen.h"
#include "crystal/fourier.h"
#include "crystal/kpoints.h"
#include "formats/netcdf/graph.h"
#include "crystal/neighbours.h"
#include "lcao/align.h"
#include "lcao/bloch.h"
#include "lcao/mixing.h"
#include "lcao/occupation.h"
#include "lcao/states.h"

#include <unistd.h>

static void assert_near(double found, double expected, double tolerance)
{
    if (!(fabs(found - expected) <= tolerance))
        fail_msg("%.15g, expected %.15g within %g", found, expected, tolerance);
}

/* --- occupations */

/* One level at each of two k-points, half filled: mu in the middle, occupations erfc((e - mu)/sigma)/2, and the entropy in
 * closed form. */
static void two_levels(void **state)
{
    (void)state;
    const double weight[] = {0.5, 0.5}, energy[] = {-0.02, 0.02}, sigma = 0.01;
    nh_levels l = {
        .n_k = 2, .n_band = 1, .weight = weight, .energy = energy, .electrons_per_band = 2, .n_search = 1};
    double f[2], mu, entropy;
    OK(nh_occupy(&l, 1, sigma, &mu, f, &entropy, &err));
    assert_near(mu, 0, 1e-9);
    assert_near(f[0], 1 + erf(2), 1e-8);
    assert_near(f[1], 1 - erf(2), 1e-8);
    assert_near(entropy, -2 * sigma * exp(-4.0) / (2 * sqrt(M_PI)), 1e-10);
    l.electrons_per_band = 1;
    OK(nh_occupy(&l, 0.5, sigma, &mu, f, &entropy, &err));
    assert_near(f[0], (1 + erf(2)) / 2, 1e-8);
    assert_near(f[0] + f[1], 1, 1e-9);
}

/* In a gap every mu would do: that of the bisection from (lowest - 2 sigma, highest + 2 sigma) is taken, the first
 * midpoint at which the charge is right. */
static void level_in_a_gap(void **state)
{
    (void)state;
    const double weight[] = {1}, energy[] = {0, 1, 5, 7}, sigma = 0.01;
    nh_levels l = {
        .n_k = 1, .n_band = 4, .weight = weight, .energy = energy, .electrons_per_band = 1, .n_search = 4};
    double f[4], mu, entropy;
    OK(nh_occupy(&l, 2, sigma, &mu, f, &entropy, &err));
    assert_near(mu, 3.5, 1e-12); /* (-0.02 + 7.02)/2 */
    l.n_search = 3;
    OK(nh_occupy(&l, 2, sigma, &mu, f, &entropy, &err));
    assert_near(mu, 2.5, 1e-12);
    assert_near(f[3], 0, 0);
    assert_near(entropy, 0, 1e-300);
    assert_true(nh_search_bands(18, 1, 80) == 38);
    assert_true(nh_search_bands(200, 1, 800) == 241);
    assert_true(nh_search_bands(8, 1, 26) == 26);
    assert_true(nh_search_bands(8, 2, 100) == 14);
}

static void electrons_that_do_not_fit(void **state)
{
    (void)state;
    const double weight[] = {1}, energy[] = {0, 1};
    const nh_levels l = {
        .n_k = 1, .n_band = 2, .weight = weight, .energy = energy, .electrons_per_band = 1, .n_search = 2};
    double f[2], mu, entropy;
    assert_int_equal(nh_occupy(&l, 3, 0.01, &mu, f, &entropy, &err), -1);
    assert_non_null(strstr(err.text, "3 electrons"));
    assert_int_equal(nh_occupy(&l, 1, 0, &mu, f, &entropy, &err), -1);
    assert_non_null(strstr(err.text, "smearing"));
    const double bad[] = {NAN, 1};
    const nh_levels wrong = {
        .n_k = 1, .n_band = 2, .weight = weight, .energy = bad, .electrons_per_band = 1, .n_search = 2};
    assert_int_equal(nh_occupy(&wrong, 1, 0.01, &mu, f, &entropy, &err), -1);
    assert_non_null(strstr(err.text, "finite"));
}

/* --- mixing */

enum { WAVES = 7 };

/* A linear map in place of the crystal: out = fixed + A (in - fixed), A = -dielectric response, strongest for long waves.
 * Pulay's combination of n linearly independent iterations solves n unknowns exactly. */
static void mixing_solves_a_linear_model(void **state)
{
    (void)state;
    double g2[WAVES], weight[WAVES];
    double complex fixed[WAVES], in[WAVES], out[WAVES];
    for (int i = 0; i < WAVES; i++) {
        g2[i] = 0.3 * i;
        weight[i] = i == 0 ? 1 : 2;
        fixed[i] = CMPLX(1.0 + i, 0.3 * i);
        in[i] = i == 0 ? fixed[0] : CMPLX(0.2 * i, -0.7);
    }
    const nh_mixing_task task = {
        .n = WAVES, .g2 = g2, .weight = weight, .history = 8, .beta = 0.7, .kerker = 0.1};
    nh_mixing *m;
    OK(nh_mixing_new(&task, &m, &err));
    double distance = 0;
    for (int step = 0; step < 16; step++) {
        distance = 0;
        for (int i = 0; i < WAVES; i++) {
            distance += cabs(in[i] - fixed[i]);
            out[i] = fixed[i] - (i == 0 ? 0 : 3.0 / (1 + g2[i])) * (in[i] - fixed[i]);
        }
        OK(nh_mixing_step(m, in, out, &err));
    }
    assert_true(distance < 1e-9);
    assert_true(cabs(in[0] - fixed[0]) < 1e-14); /* the charge */
    nh_mixing_free(m);

    /* The first step is beta K(G) of the residual; K has a floor of 0.1. */
    OK(nh_mixing_new(
        &(nh_mixing_task){.n = WAVES, .g2 = g2, .weight = weight, .history = 1, .beta = 0.5, .kerker = 100},
        &m, &err));
    for (int i = 0; i < WAVES; i++) {
        in[i] = 1;
        out[i] = 2;
    }
    OK(nh_mixing_step(m, in, out, &err));
    assert_true(cabs(in[0] - 1) == 0 && cabs(in[1] - 1.05) < 1e-15 && cabs(in[6] - 1.05) < 1e-15);
    OK(nh_mixing_step(m, in, in, &err)); /* no residual: it stays */
    assert_true(cabs(in[1] - 1.05) < 1e-15);
    out[3] = NAN;
    assert_int_equal(nh_mixing_step(m, in, out, &err), -1);
    nh_mixing_free(m);
}

/* --- lattice sums */

static void half_meshes(void **state)
{
    (void)state;
    const int meshes[][3] = {{6, 6, 6}, {1, 1, 1}, {4, 3, 1}, {5, 5, 5}};
    const size_t expected[] = {112, 1, 7, 63};
    for (size_t m = 0; m < 4; m++) {
        size_t n;
        double *k, *w, sum = 0;
        OK(nh_half_mesh(meshes[m], &n, &k, &w, &err));
        assert_true(n == expected[m]);
        for (size_t i = 0; i < n; i++)
            sum += w[i];
        assert_near(sum, 1, 1e-13);
        assert_true(k[0] == 0 && k[1] == 0 && k[2] == 0);
        free(k);
        free(w);
    }
    int mesh[3];
    nh_default_mesh((const double[]){4, 0, 0, 0, 2.9, 0.3, 0, 0, 45}, mesh);
    assert_true(mesh[0] == 5 && mesh[1] == 7 && mesh[2] == 1);
    size_t n;
    double *k, *w;
    assert_int_equal(nh_half_mesh((int[]){4, 0, 4}, &n, &k, &w, &err), -1);
    assert_int_equal(nh_half_mesh((int[]){100000, 100000, 100000}, &n, &k, &w, &err), -1);
}

/* Symmetric real blocks x_ij(R) = x_ji(-R) that fade with the distance. */
static double *symmetric_matrix(const nh_graph *g, size_t seed)
{
    double *x = calloc(g->pairs.n_elem, sizeof *x);
    size_t *reverse = calloc(g->pairs.count, sizeof *reverse);
    nh_pairs_reverse(&g->pairs, reverse);
    for (size_t p = 0; p < g->pairs.count; p++) {
        const size_t rows = nh_atom_orbitals(&g->structure, (size_t)g->pairs.pair[p].src),
                     columns = nh_atom_orbitals(&g->structure, (size_t)g->pairs.pair[p].dst);
        for (size_t i = 0; i < rows * columns; i++) {
            const size_t at = g->pairs.start[p] + i,
                         back = g->pairs.start[reverse[p]] + i % columns * rows + i / columns;
            x[at] = exp(-0.8 * g->pairs.distance[p]) * (made_number(at + seed) + made_number(back + seed));
        }
    }
    free(reverse);
    return x;
}

static void sums_are_those_of_the_definition(void **state)
{
    (void)state;
    nh_graph *g = made_crystal(1, 6.5);
    const size_t n = nh_structure_orbitals(&g->structure);
    double *x = symmetric_matrix(g, 17);
    size_t n_k, *start = calloc(g->structure.n_atom + 1, sizeof *start);
    double *k, *weight;
    nh_orbital_start(&g->structure, start);
    OK(nh_half_mesh((int[]){3, 2, 2}, &n_k, &k, &weight, &err));
    nh_threads *threads;
    OK(nh_threads_new(2, &threads, &err));
    nh_bloch *b;
    OK(nh_bloch_new(&g->structure, &g->pairs, n_k, k, threads, &b, &err));
    double complex *a = calloc(n_k * n * n, sizeof *a), *expected = calloc(n_k * n * n, sizeof *a),
                   *general = calloc(n_k * n * n, sizeof *a);
    double *interleaved = calloc(2 * g->pairs.n_elem, sizeof(double));
    for (size_t p = 0; p < g->pairs.count; p++) {
        const nh_pair *pair = &g->pairs.pair[p];
        const size_t rows = nh_atom_orbitals(&g->structure, (size_t)pair->src),
                     columns = nh_atom_orbitals(&g->structure, (size_t)pair->dst);
        for (size_t q = 0; q < n_k; q++)
            for (size_t i = 0; i < rows * columns; i++)
                expected[(q * n + start[pair->src] + i / columns) * n + start[pair->dst] + i % columns] +=
                    cexp(2 * M_PI * I *
                         (k[3 * q] * pair->cell[0] + k[3 * q + 1] * pair->cell[1] +
                          k[3 * q + 2] * pair->cell[2])) *
                    x[g->pairs.start[p] + i];
    }
    for (size_t e = 0; e < g->pairs.n_elem; e++)
        interleaved[2 * e] = x[e];
    nh_bloch_sum(b, x, 1, true, a);
    nh_bloch_sum(b, interleaved, 2, false, general);
    for (size_t i = 0; i < n_k * n * n; i++) {
        assert_true(cabs(a[i] - expected[i]) < 1e-13);
        assert_true(cabs(general[i] - expected[i]) < 1e-13);
    }

    /* Back: the sum over the whole mesh of e^(-ikR) a(k) gives x(R) and its images R + mesh; with one cell each the
     * blocks themselves. Here against the definition. */
    double *p = calloc(g->pairs.n_elem, sizeof *p);
    nh_bloch_back(b, weight, a, p);
    for (size_t q = 0; q < g->pairs.count; q++) {
        const nh_pair *pair = &g->pairs.pair[q];
        const size_t rows = nh_atom_orbitals(&g->structure, (size_t)pair->src),
                     columns = nh_atom_orbitals(&g->structure, (size_t)pair->dst);
        for (size_t i = 0; i < rows * columns; i++) {
            double sum = 0;
            for (size_t c = 0; c < n_k; c++)
                sum += weight[c] * creal(cexp(-2 * M_PI * I *
                                              (k[3 * c] * pair->cell[0] + k[3 * c + 1] * pair->cell[1] +
                                               k[3 * c + 2] * pair->cell[2])) *
                                         expected[(c * n + start[pair->src] + i / columns) * n +
                                                  start[pair->dst] + i % columns]);
            assert_near(p[g->pairs.start[q] + i], sum, 1e-13);
        }
    }
    nh_bloch_free(b);
    nh_threads_free(threads);
    free(a);
    free(expected);
    free(general);
    free(interleaved);
    free(p);
    free(start);
    free(x);
    free(k);
    free(weight);
    nh_graph_free(g);
}

/* --- states */

typedef struct filled {
    double *p, fermi, band_energy, charge;
    nh_states *states;
    double *k, *weight;
    size_t n_k;
} filled;

static filled fill(const nh_graph *g, const double *h, const double *grid, const int mesh[3],
                   double n_electron, nh_threads *threads)
{
    filled f = {.p = calloc(g->pairs.n_elem, sizeof(double))};
    OK(nh_half_mesh(mesh, &f.n_k, &f.k, &f.weight, &err));
    const nh_states_task task = {.structure = &g->structure,
                                 .pairs = &g->pairs,
                                 .n_spin = g->n_spin,
                                 .n_k = f.n_k,
                                 .k = f.k,
                                 .weight = f.weight,
                                 .n_electron = n_electron,
                                 .smearing = 0.01,
                                 .overlap = g->overlap,
                                 .fixed = h,
                                 .threads = threads};
    OK(nh_states_new(&task, &f.states, &err));
    OK(nh_states_solve(f.states, grid, &err));
    OK(nh_states_density(f.states, f.p, &err));
    f.fermi = nh_states_fermi(f.states);
    f.band_energy = nh_states_band_energy(f.states);
    for (size_t e = 0; e < g->pairs.n_elem; e++)
        f.charge += f.p[e] * g->overlap[e];
    return f;
}

static void empty(filled *f)
{
    nh_states_free(f->states);
    free(f->p);
    free(f->k);
    free(f->weight);
}

/* The made crystal with S near 1 and a Hermitian H that is its own time reversal. */
static nh_graph *crystal(int n_spin)
{
    nh_graph *g = made_crystal(n_spin, 6.5);
    g->overlap = symmetric_matrix(g, 5);
    for (size_t p = 0; p < g->pairs.count; p++) {
        const size_t columns = nh_atom_orbitals(&g->structure, (size_t)g->pairs.pair[p].dst);
        for (size_t e = g->pairs.start[p]; e < g->pairs.start[p + 1]; e++) {
            const size_t i = e - g->pairs.start[p];
            g->overlap[e] = g->pairs.distance[p] == 0 ? i / columns == i % columns : 0.01 * g->overlap[e];
        }
    }
    double *h = made_matrix(g, NH_H0);
    for (size_t i = 0; i < 2 * (size_t)n_spin * g->pairs.n_elem; i++)
        h[i] = made_number(3 * i);
    OK(nh_hermitize(g, g->matrix[NH_H0], &err));
    nh_time_reversal_average(g, g->matrix[NH_H0]);
    return g;
}

/* Charge, band energy tr P H where H is real and the same for both spins, and the same bytes by any number of threads. */
static void density_matrix_of_a_made_crystal(void **state)
{
    (void)state;
    for (int n_spin = 1; n_spin <= 4; n_spin += 3) {
        nh_graph *g = crystal(n_spin);
        const size_t n_elem = g->pairs.n_elem;
        double *real = symmetric_matrix(g, 91), *h = calloc(2 * (size_t)n_spin * n_elem, sizeof *h);
        nh_threads *threads;
        OK(nh_threads_new(3, &threads, &err));
        filled a = fill(g, h, real, (int[]){2, 3, 2}, 6, NULL),
               b = fill(g, h, real, (int[]){2, 3, 2}, 6, threads);
        assert_near(a.charge, 6, 1e-9);
        assert_memory_equal(a.p, b.p, n_elem * sizeof *a.p);
        double energy = 0;
        for (size_t e = 0; e < n_elem; e++)
            energy += a.p[e] * real[e];
        assert_near(energy, a.band_energy, 1e-10);
        empty(&a);
        empty(&b);
        nh_threads_free(threads);
        free(real);
        free(h);
        nh_graph_free(g);
    }
}

/* The half mesh gives the bands and the density matrix of the whole one: here against eigenvectors at all k-points. */
static void half_mesh_is_the_whole_one(void **state)
{
    (void)state;
    nh_graph *g = crystal(4);
    const int mesh[3] = {2, 3, 2};
    const double zero_shift[3] = {0};
    filled f = fill(g, g->matrix[NH_H0], NULL, mesh, 7, NULL);
    nh_kpoints all;
    nh_fourier *fourier;
    OK(nh_kpoints_mesh(mesh, true, zero_shift, &all, &err));
    OK(nh_fourier_new(g, NH_H0, NULL, &fourier, &err));
    const size_t basis = nh_fourier_basis(fourier);
    double *h = calloc(2 * basis * basis, sizeof *h), *s = calloc(2 * basis * basis, sizeof *s),
           *energy = calloc(basis, sizeof *energy);
    nh_eigen *eigen;
    OK(nh_eigen_new(basis, 0, false, &eigen, &err));
    double charge = 0, band = 0;
    for (size_t k = 0; k < all.count; k++) {
        size_t rank, first, count;
        const nh_band_choice choice = {.kind = NH_BANDS_ALL};
        OK(nh_fourier_at(fourier, 1, all.k + 3 * k, h, s, &err));
        OK(nh_eigen_solve(eigen, h, s, &choice, 0, &rank, energy, &first, &count, NULL, &err));
        for (size_t b = 0; b < basis; b++) {
            const double occupied = erfc((energy[b] - f.fermi) / 0.01) / 2;
            charge += occupied / (double)all.count;
            band += occupied * energy[b] / (double)all.count;
        }
        for (size_t q = 0; q < f.n_k; q++)
            if (memcmp(f.k + 3 * q, all.k + 3 * k, 3 * sizeof(double)) == 0)
                for (size_t b = 0; b < basis; b++)
                    assert_near(nh_states_energy(f.states)[q * basis + b], energy[b], 1e-11);
    }
    assert_near(charge, 7, 1e-9);
    assert_near(band, f.band_energy, 1e-9);
    assert_near(f.charge, 7, 1e-9);

    /* To first order a change of H moves the bands as nh_states_expect says: S itself moves them all by 1. */
    double *change = calloc(8 * g->pairs.n_elem, sizeof *change),
           *moved = calloc(f.n_k * basis, sizeof *moved);
    for (size_t e = 0; e < g->pairs.n_elem; e++)
        change[2 * e] = change[6 * g->pairs.n_elem + 2 * e] = g->overlap[e];
    OK(nh_states_solve(f.states, NULL, &err));
    OK(nh_states_expect(f.states, change, 1e9, basis, moved, &err));
    for (size_t i = 0; i < f.n_k * basis; i++)
        assert_near(moved[i], 1, 1e-11);
    OK(nh_states_solve(f.states, NULL, &err));
    OK(nh_states_expect(f.states, g->matrix[NH_H0], nh_states_fermi(f.states), basis, moved, &err));
    for (size_t i = 0; i < f.n_k * basis; i++) {
        const double e = nh_states_energy(f.states)[i];
        if (e <= nh_states_fermi(f.states))
            assert_near(moved[i], e, 1e-10);
        else
            assert_true(isnan(moved[i]));
    }
    free(change);
    free(moved);
    free(h);
    free(s);
    free(energy);
    nh_eigen_free(eigen);
    nh_fourier_free(fourier);
    nh_kpoints_free(&all);
    empty(&f);
    nh_graph_free(g);
}

static void an_overlap_that_is_none(void **state)
{
    (void)state;
    nh_graph *g = crystal(1);
    for (size_t e = 0; e < g->pairs.n_elem; e++)
        g->overlap[e] = -g->overlap[e];
    size_t n_k;
    double *k, *weight;
    OK(nh_half_mesh((int[]){1, 1, 2}, &n_k, &k, &weight, &err));
    nh_states *s;
    const nh_states_task task = {.structure = &g->structure,
                                 .pairs = &g->pairs,
                                 .n_spin = 1,
                                 .n_k = n_k,
                                 .k = k,
                                 .weight = weight,
                                 .n_electron = 2,
                                 .smearing = 0.01,
                                 .overlap = g->overlap,
                                 .fixed = g->matrix[NH_H0]};
    assert_int_equal(nh_states_new(&task, &s, &err), -1);
    assert_non_null(strstr(err.text, "k = (0, 0, 0): the overlap matrix is not positive definite"));
    free(k);
    free(weight);
    nh_graph_free(g);
}

/* Opens a copy of a reference file with the attribute that it lacks. */
static void open_reference(const char *path, nh_nc **file)
{
    char copy[] = "/tmp/nextham-reference-XXXXXX", command[512];
    const int handle = mkstemp(copy), status = handle < 0 ? -1 : close(handle);
    assert_int_equal(status, 0);
    snprintf(command, sizeof command, "cp %s %s", path, copy);
    assert_int_equal(system(command), 0);
    int id;
    const double cutoff = 8;
    assert_int_equal(nc_open(copy, NC_WRITE, &id), 0);
    assert_int_equal(nc_put_att_double(id, NC_GLOBAL, "cutoff", NC_DOUBLE, 1, &cutoff), 0);
    assert_int_equal(nc_close(id), 0);
    OK(nh_nc_open(copy, file, &err));
    unlink(copy);
}

/* Converged Hamiltonians: their bands give the Fermi level and the energies that a converged run wrote. */
static void converged_hamiltonians(void **state)
{
    (void)state;
    const char *const names[] = {"Si", "GaAs", "Au"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[256];
        snprintf(path, sizeof path, "../shared/data/h0ref/%s.nc", names[i]);
        if (access(path, R_OK) != 0) skip();
        nh_nc *file;
        nh_graph *g;
        double band = 0, entropy = 0;
        open_reference(path, &file);
        OK(nh_graph_read(file, NH_WANT_LABEL | NH_WANT_OVERLAP, &g, &err));
        OK(nh_nc_att_double(file, "E_band_Ry", &band, &err));
        OK(nh_nc_att_double(file, "TS_Ry", &entropy, &err));
        nh_nc_close(file);
        const size_t numbers = 8 * g->pairs.n_elem;
        for (size_t e = 0; e < numbers; e++)
            g->matrix[NH_H_LABEL][e] /= NH_RYDBERG;
        OK(nh_hermitize(g, g->matrix[NH_H_LABEL], &err));
        const int n = strcmp(names[i], "Au") == 0 ? 8 : 6;
        nh_threads *threads;
        OK(nh_threads_new(2, &threads, &err));
        filled f = fill(g, g->matrix[NH_H_LABEL], NULL, (int[]){n, n, n}, g->nelec, threads);
        assert_near(f.fermi, g->efermi / NH_RYDBERG, 1e-6);
        assert_near(f.band_energy, band, 1e-7);
        assert_near(fabs(nh_states_entropy(f.states)), fabs(entropy), 1e-8);
        assert_near(f.charge, g->nelec, 2e-10);
        empty(&f);
        nh_threads_free(threads);
        nh_graph_free(g);
    }
}

/* --- matrices of a file, for atoms moved into the home cell */

/* The crystal with its second atom moved by (1, -2, 0): every block keeps its two atoms and their vector. */
static void moved_atoms_keep_their_blocks(void **state)
{
    (void)state;
    nh_graph *home = crystal(4), *away = crystal(4);
    const int move[3] = {1, -2, 0};
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 3; i++)
            away->structure.position[3 + i] += move[c] * away->structure.lattice[3 * c + i];
    size_t count;
    nh_pair *pair;
    nh_pairs_free(&away->pairs);
    OK(nh_neighbours(&away->structure, 6.5, &count, &pair, &err));
    OK(nh_pairs_build(&away->structure, count, pair, &away->pairs, &err));
    assert_true(away->pairs.n_elem == home->pairs.n_elem);
    /* numbers that tell the vector between the atoms */
    for (size_t p = 0; p < count; p++) {
        double v[3];
        nh_pair_vector(&away->structure, &away->pairs.pair[p], v);
        for (size_t e = away->pairs.start[p]; e < away->pairs.start[p + 1]; e++)
            away->overlap[e] = v[0] + 10 * v[1] + 100 * v[2] + (double)(e - away->pairs.start[p]);
    }
    nh_lcao l = {.structure = home->structure, .pairs = home->pairs, .n_spin = 4, .overlap = home->overlap};
    size_t *index = calloc(count, sizeof *index), where;
    double *aligned, largest;
    OK(nh_lcao_match(&l, away, index, &err));
    OK(nh_lcao_align(&l, away, index, away->overlap, 1, 1, &aligned, &err));
    for (size_t p = 0; p < count; p++) {
        double v[3];
        nh_pair_vector(&home->structure, &home->pairs.pair[p], v);
        for (size_t e = home->pairs.start[p]; e < home->pairs.start[p + 1]; e++) {
            assert_near(aligned[e], v[0] + 10 * v[1] + 100 * v[2] + (double)(e - home->pairs.start[p]), 1e-9);
            home->overlap[e] = aligned[e];
        }
    }
    OK(nh_lcao_compare_overlap(&l, away, index, &largest, &where, &err));
    assert_near(largest, 0, 0);
    home->overlap[home->pairs.start[3]] += 0.25;
    OK(nh_lcao_compare_overlap(&l, away, index, &largest, &where, &err));
    assert_near(largest, 0.25, 1e-12);
    assert_true(where == 3);
    free(aligned);

    /* a block without a place, and other crystals */
    index[0] = SIZE_MAX;
    assert_int_equal(nh_lcao_align(&l, away, index, away->overlap, 1, 1, &aligned, &err), -1);
    assert_non_null(strstr(err.text, "pair 0"));
    away->structure.position[4] += 0.01;
    assert_int_equal(nh_lcao_match(&l, away, index, &err), -1);
    assert_non_null(strstr(err.text, "atom 1: another position"));
    away->structure.atomic_number[0] = 11;
    assert_int_equal(nh_lcao_match(&l, away, index, &err), -1);
    assert_non_null(strstr(err.text, "atom 0: another element"));
    away->structure.lattice[0] += 0.01;
    assert_int_equal(nh_lcao_match(&l, away, index, &err), -1);
    assert_non_null(strstr(err.text, "lattice"));
    free(index);
    nh_graph_free(home);
    nh_graph_free(away);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_levels),
        cmocka_unit_test(level_in_a_gap),
        cmocka_unit_test(electrons_that_do_not_fit),
        cmocka_unit_test(mixing_solves_a_linear_model),
        cmocka_unit_test(half_meshes),
        cmocka_unit_test(sums_are_those_of_the_definition),
        cmocka_unit_test(density_matrix_of_a_made_crystal),
        cmocka_unit_test(half_mesh_is_the_whole_one),
        cmocka_unit_test(an_overlap_that_is_none),
        cmocka_unit_test(converged_hamiltonians),
        cmocka_unit_test(moved_atoms_keep_their_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
