/* Sparse H(k) - sigma S(k): blocks, factorisation, inertia, states and Fermi level, all against the dense solution, on supercells of
 * small crystals built in memory. */
#include "base/complex.h"
#include "chain.h"

#include "check.h"

#include "base/memory.h"
#include "crystal/bands.h"
#include "crystal/spectrum.h"
#include "sparse/lanczos.h"
#include "sparse/nearest.h"

#define assert_near(a, b, within)                                                                            \
    do {                                                                                                     \
        const double nh_a = (a), nh_b = (b);                                                                 \
        if (!(fabs(nh_a - nh_b) <= (within))) fail_msg("%s = %.15g, %s = %.15g", #a, nh_a, #b, nh_b);        \
    } while (0)

static const double GENERAL[3] = {0.13, 0, 0}, GAMMA[3] = {0, 0, 0}, EDGE[3] = {0.5, 0, 0};

/* `cells` cells of g in a row along the first axis, as one: the same crystal. g is freed. */
static nh_graph *supercell(nh_graph *g, int cells)
{
    const size_t n = g->structure.n_atom;
    nh_graph *big = calloc(1, sizeof *big);
    assert_non_null(big);
    OK(nh_structure_new(n * (size_t)cells, g->structure.n_species, &big->structure, &err));
    memcpy(big->structure.lattice, g->structure.lattice, sizeof big->structure.lattice);
    for (size_t x = 0; x < 3; x++)
        big->structure.lattice[x] *= cells;
    for (size_t i = 0; i < n * (size_t)cells; i++) {
        for (size_t x = 0; x < 3; x++)
            big->structure.position[3 * i + x] =
                g->structure.position[3 * (i % n) + x] + (double)(i / n) * g->structure.lattice[x];
        big->structure.species[i] = g->structure.species[i % n];
    }
    memcpy(big->structure.atomic_number, g->structure.atomic_number,
           g->structure.n_species * sizeof *g->structure.atomic_number);
    const int shells[] = {0, 1};
    const size_t n_shell = nh_structure_orbitals(&g->structure) / n == 4 ? 2 : 1;
    OK(nh_structure_set_shells(&big->structure, &n_shell, shells, &err));
    const size_t count = g->pairs.count * (size_t)cells;
    nh_pair *pair = malloc(count * sizeof *pair);
    assert_non_null(pair);
    for (int pass = 0; pass < 2; pass++) { /* the pairs, then, sorted and with their places, the blocks */
        for (int c = 0; c < cells; c++)
            for (size_t p = 0; p < g->pairs.count; p++) {
                const nh_pair *from = &g->pairs.pair[p];
                const int to = c + from->cell[0], wrapped = ((to % cells) + cells) % cells;
                const nh_pair made = {from->src + c * (int)n,
                                      from->dst + wrapped * (int)n,
                                      {(to - wrapped) / cells, from->cell[1], from->cell[2]}};
                if (pass == 0) {
                    pair[(size_t)c * g->pairs.count + p] = made;
                    continue;
                }
                const size_t at = nh_pairs_find(&big->pairs, made.src, made.dst, made.cell);
                const size_t width = g->pairs.start[p + 1] - g->pairs.start[p];
                assert_true(at != SIZE_MAX);
                memcpy(big->overlap + big->pairs.start[at], g->overlap + g->pairs.start[p],
                       width * sizeof(double));
                for (int s = 0; s < g->n_spin; s++)
                    memcpy(big->matrix[NH_H_LABEL] +
                               2 * ((size_t)s * big->pairs.n_elem + big->pairs.start[at]),
                           g->matrix[NH_H_LABEL] + 2 * ((size_t)s * g->pairs.n_elem + g->pairs.start[p]),
                           2 * width * sizeof(double));
            }
        if (pass == 1) break;
        OK(nh_pairs_build(&big->structure, count, pair, &big->pairs, &err));
        assert_int_equal(big->pairs.count, count);
        big->cutoff = g->cutoff;
        big->n_spin = g->n_spin;
        big->rydberg = g->rydberg;
        big->efermi = big->nelec = NAN;
        big->overlap = calloc(big->pairs.n_elem, sizeof(double));
        big->matrix[NH_H_LABEL] = calloc(2 * (size_t)g->n_spin * big->pairs.n_elem, sizeof(double));
        assert_non_null(big->overlap);
        assert_non_null(big->matrix[NH_H_LABEL]);
    }
    nh_graph_free(g);
    return big;
}

/* Spin, no symmetry: 8 functions an atom. */
static nh_graph *with_spin(int cells)
{
    return supercell(random_chain(2, 11), cells);
}

/* No spin, real, mirror symmetric: bands E(k) = E(-k), folded into degenerate pairs, real at k = 0 and 1/2. */
static nh_graph *without_spin(int cells)
{
    const int shells[] = {0};
    nh_graph *g = make_chain(1, 3.0, 1, shells, 2, 1);
    static const double h[3] = {-4, 1.5, 0.4}, s[3] = {1, 0.2, 0.05};
    for (size_t p = 0; p < g->pairs.count; p++) {
        const int r = abs(g->pairs.pair[p].cell[0]);
        g->matrix[NH_H_LABEL][2 * p] = h[r];
        g->overlap[p] = s[r];
    }
    return supercell(g, cells);
}

typedef struct problem {
    nh_graph *graph;
    nh_fourier *fourier;
    size_t n;
    nh_kpoints k;
    nh_spectrum dense; /* all bands */
} problem;

static void solve_dense(problem *p)
{
    const nh_spectrum_task t = {.name = "dense",
                                .n_k = p->k.count,
                                .basis = p->n,
                                .k = p->k.k,
                                .fourier = p->fourier,
                                .choice = {.kind = NH_BANDS_ALL},
                                .threads = 1};
    OK(nh_spectrum_new(p->k.count, p->n, &p->dense, &err));
    OK(nh_spectrum_solve(&t, &p->dense, &err));
}

static problem open_problem(nh_graph *g, size_t n_k, const double k[][3])
{
    problem p = {.graph = g};
    OK(nh_fourier_new(g, NH_H_LABEL, NULL, &p.fourier, &err));
    p.n = nh_fourier_basis(p.fourier);
    OK(nh_kpoints_new(n_k, NH_K_LIST, &p.k, &err));
    memcpy(p.k.k, k, 3 * n_k * sizeof(double));
    return p;
}

static void close_problem(problem *p)
{
    nh_spectrum_free(&p->dense);
    nh_kpoints_free(&p->k);
    nh_fourier_free(p->fourier);
    nh_graph_free(p->graph);
}

typedef struct heard {
    int warnings, notes;
    char text[512];
    const problem *p;
    size_t count;
    double worst; /* of |H C - E S C|, |C^dagger S C - 1| */
    const nh_spectrum *found;
} heard;

static void hear(void *context, bool warning, const char *text)
{
    heard *h = context;
    if (warning)
        h->warnings++;
    else
        h->notes++;
    snprintf(h->text, sizeof h->text, "%s", text);
}

static nh_nearest_task task_of(const problem *p, size_t count, double centre, heard *h)
{
    *h = (heard){.p = p, .count = count};
    return (nh_nearest_task){.name = "file",
                             .fourier = p->fourier,
                             .n_k = p->k.count,
                             .k = p->k.k,
                             .count = count,
                             .centre = centre,
                             .context = h,
                             .threads = 1,
                             .say = hear};
}

/* Vectors against the dense matrices. */
static int check_vectors(void *context, size_t k, const double *vector, nh_error *e)
{
    heard *x = context;
    const size_t n = x->p->n;
    double complex *h = nh_calloc(n * n, sizeof *h), *s = nh_calloc(n * n, sizeof *s);
    if (nh_fourier_at(x->p->fourier, 1, x->p->k.k + 3 * k, (double *)h, (double *)s, e) != 0) return -1;
    for (size_t b = 0; b < x->count; b++) {
        const double complex *c = (const double complex *)vector + b * n;
        const double energy = x->found->energy[k * n + x->found->first[k] + b];
        double complex norm = 0;
        double largest = 0, at_largest = 0;
        for (size_t i = 0; i < n; i++) {
            double complex rest = 0, sc = 0;
            for (size_t j = 0; j < n; j++) {
                rest += (h[i * n + j] - energy * s[i * n + j]) * c[j];
                sc += s[i * n + j] * c[j];
            }
            norm += conj(c[i]) * sc;
            x->worst = fmax(x->worst, cabs(rest));
            if (cabs(c[i]) > largest * (1 + 1e-9)) {
                largest = cabs(c[i]);
                at_largest = cabs(c[i] - largest);
            }
        }
        x->worst = fmax(x->worst, fmax(cabs(norm - 1), at_largest));
    }
    free(h);
    free(s);
    return 0;
}

/* The bands nearest to some energies: the same bands, numbers and energies as the dense ones. */
static void compare_nearest(problem *p, size_t count, bool vectors)
{
    nh_spectrum v;
    heard h;
    OK(nh_spectrum_new(p->k.count, p->n, &v, &err));
    for (int i = 0; i < 4; i++) { /* below all, at the bottom, inside, above all */
        const double *e = p->dense.energy;
        const double at[4] = {e[0] - 3, e[2] + 1e-3, e[p->n / 2] + 0.011, e[p->n - 1] + 1};
        nh_nearest_task t = task_of(p, count, at[i], &h);
        t.vectors = vectors;
        t.take = check_vectors;
        h.found = &v;
        OK(nh_nearest_solve(&t, &v, &err));
        assert_near(h.worst, 0, 1e-9);
        const nh_band_choice choice = {.kind = NH_BANDS_NEAREST, .count = count, .centre = at[i]};
        for (size_t k = 0; k < p->k.count; k++) {
            const double *all = p->dense.energy + k * p->n, *some = v.energy + k * p->n;
            size_t first, n_band;
            nh_bands_choose(&choice, p->n, all, &first, &n_band);
            assert_int_equal(v.count[k], count);
            /* of a degenerate pair at the end of the choice either may be taken */
            if (first != v.first[k]) assert_near(all[first] + all[first + count], 2 * at[i], 2e-9);
            for (size_t b = 0; b < p->n; b++)
                if (b >= v.first[k] && b < v.first[k] + count)
                    assert_near(some[b], all[b], 1e-10);
                else
                    assert_true(isnan(some[b]));
        }
    }
    nh_spectrum_free(&v);
}

static void test_blocks(void **state)
{
    (void)state;
    for (int spin = 0; spin < 2; spin++) {
        problem p = open_problem(spin ? with_spin(3) : without_spin(9), 1, &GENERAL);
        enum { P = 3 };
        const size_t n = p.n;
        double complex *h = nh_calloc(n * n, sizeof *h), *s = nh_calloc(n * n, sizeof *s),
                       *x = nh_calloc(P * n, sizeof *x), *y = nh_calloc(P * n, sizeof *y);
        uint64_t seed = 3;
        nh_sparse *a;
        OK(nh_fourier_at(p.fourier, 1, GENERAL, (double *)h, (double *)s, &err));
        OK(nh_sparse_new(p.fourier, &a, &err));
        OK(nh_sparse_fill(a, GENERAL, &err));
        assert_int_equal(nh_sparse_basis(a, NH_SPARSE_H), n);
        for (size_t i = 0; i < P * n; i++)
            x[i] = CMPLX(noise(&seed), noise(&seed));
        for (int which = 0; which < 2; which++) {
            const double complex *m = which ? s : h;
            if (which)
                OK(nh_sparse_times_s(a, NH_SPARSE_H, P, (double *)x, (double *)y, &err));
            else
                OK(nh_sparse_times_h(a, P, (double *)x, (double *)y, &err));
            for (size_t v = 0; v < P; v++)
                for (size_t i = 0; i < n; i++) {
                    double complex sum = 0;
                    for (size_t j = 0; j < n; j++)
                        sum += m[i * n + j] * x[v * n + j];
                    assert_near(cabs(sum - y[v * n + i]), 0, 1e-12);
                }
        }
        /* The real form: its elements are those of H - sigma S. */
        const size_t count = nh_sparse_elements(a, NH_SPARSE_H, false);
        int *row = NH_ARRAY(int, count), *column = NH_ARRAY(int, count);
        double *value = NH_ARRAY(double, count), *whole = NH_ARRAY(double, 4 * n * n);
        nh_sparse_pattern(a, NH_SPARSE_H, false, row, column);
        nh_sparse_values(a, NH_SPARSE_H, false, 0.7, value);
        for (size_t i = 0; i < count; i++) {
            assert_true(row[i] >= 1 && row[i] <= column[i] && (size_t)column[i] <= 2 * n);
            whole[2 * n * (size_t)(row[i] - 1) + (size_t)column[i] - 1] += value[i];
        }
        for (size_t i = 0; i < n; i++)
            for (size_t j = i; j < n; j++) {
                const double complex z = h[i * n + j] - 0.7 * s[i * n + j];
                assert_near(whole[2 * n * (2 * i) + 2 * j], creal(z), 1e-13);
                assert_near(whole[2 * n * (2 * i + 1) + 2 * j + 1], creal(z), 1e-13);
                assert_near(whole[2 * n * (2 * i) + 2 * j + 1], -cimag(z), 1e-13);
                if (i < j) assert_near(whole[2 * n * (2 * i + 1) + 2 * j], cimag(z), 1e-13);
            }
        assert_false(nh_sparse_is_real(a, NH_SPARSE_H));
        OK(nh_sparse_fill(a, EDGE, &err));
        assert_int_equal(nh_sparse_is_real(a, NH_SPARSE_H), !spin);
        assert_true(nh_sparse_is_real(a, NH_SPARSE_S));
        if (!spin) assert_true(count < 2 * n * n); /* sparse, indeed */
        nh_sparse_free(a);
        free(h), free(s), free(x), free(y), free(row), free(column), free(value), free(whole);
        close_problem(&p);
    }
}

static void test_inertia(void **state)
{
    (void)state;
    if (!nh_factor_available()) skip();
    const double k[2][3] = {{0.13, 0, 0}, {0.5, 0, 0}};
    for (int spin = 0; spin < 2; spin++) {
        problem p = open_problem(spin ? with_spin(5) : without_spin(40), 2, k);
        solve_dense(&p);
        nh_sparse *a;
        OK(nh_sparse_new(p.fourier, &a, &err));
        for (size_t q = 0; q < 2; q++) {
            nh_factor *f;
            OK(nh_sparse_fill(a, k[q], &err));
            OK(nh_factor_new(a, NH_SPARSE_H, nh_sparse_is_real(a, NH_SPARSE_H), &f, &err));
            const nh_factor_facts facts = nh_factor_expect(f);
            assert_int_equal(facts.size, p.n * (spin || q == 0 ? 2 : 1));
            assert_true(facts.entries > 0 && facts.operations > 0 && facts.bytes > 8 * facts.entries);
            const double *e = p.dense.energy + q * p.n;
            for (size_t i = 0; i + 1 < p.n; i += 3) {
                size_t below;
                bool singular;
                if (e[i + 1] - e[i] < 1e-6) continue;
                OK(nh_factor_at(f, (e[i] + e[i + 1]) / 2, &below, &singular, &err));
                assert_false(singular);
                assert_int_equal(below, i + 1);
            }
            nh_factor_free(f);
        }
        nh_sparse_free(a);
        close_problem(&p);
    }
}

static void test_nearest(void **state)
{
    (void)state;
    if (!nh_factor_available()) skip();
    const double k[3][3] = {{0.13, 0, 0}, {0, 0, 0}, {0.5, 0, 0}};
    problem p = open_problem(with_spin(14), 2, k); /* 224 functions */
    solve_dense(&p);
    compare_nearest(&p, 6, true);
    compare_nearest(&p, 30, false);
    close_problem(&p);
    p = open_problem(without_spin(301), 3, k); /* degenerate pairs, real and complex */
    solve_dense(&p);
    compare_nearest(&p, 5, true);
    compare_nearest(&p, 24, true);
    close_problem(&p);
    p = open_problem(with_spin(1), 1, k); /* smaller than a block: the whole space */
    solve_dense(&p);
    compare_nearest(&p, 1, true);
    compare_nearest(&p, p.n, true);
    close_problem(&p);
}

/* sigma on a state, also on a degenerate one: the same bands, and it is said. */
static void test_sigma_on_state(void **state)
{
    (void)state;
    if (!nh_factor_available()) skip();
    problem p = open_problem(without_spin(301), 1, &GAMMA);
    solve_dense(&p);
    nh_spectrum v;
    OK(nh_spectrum_new(1, p.n, &v, &err));
    for (size_t at = 0; at < p.n; at += 43) {
        heard h;
        const nh_nearest_task t = task_of(&p, 4, p.dense.energy[at], &h);
        OK(nh_nearest_solve(&t, &v, &err));
        assert_int_equal(h.warnings, 1);
        assert_non_null(strstr(h.text, "is on a state"));
        size_t first, count;
        nh_bands_choose(&(nh_band_choice){.kind = NH_BANDS_NEAREST, .count = 4, .centre = t.centre}, p.n,
                        p.dense.energy, &first, &count);
        for (size_t b = 0; b < 4; b++)
            assert_near(v.energy[v.first[0] + b], p.dense.energy[v.first[0] + b], 1e-10);
        assert_near(fabs(v.energy[v.first[0]] - t.centre) + fabs(v.energy[v.first[0] + 3] - t.centre),
                    fabs(p.dense.energy[first] - t.centre) + fabs(p.dense.energy[first + 3] - t.centre),
                    1e-9);
    }
    nh_spectrum_free(&v);
    close_problem(&p);
}

static void test_overlap(void **state)
{
    (void)state;
    if (!nh_factor_available()) skip();
    /* S(k) = 1 + 2 s cos(k): its smallest eigenvalue in a cell of 40 is 1 - 2 s at Gamma. */
    const double smallest[3] = {0.3, 2e-7, -0.01};
    for (int i = 0; i < 3; i++) {
        problem p = open_problem(without_spin(40), 1, &GAMMA);
        for (size_t q = 0; q < p.graph->pairs.count; q++) {
            const double d = p.graph->pairs.distance[q];
            p.graph->overlap[q] = d < 0.1 ? 1 : d < 3.1 ? (1 - smallest[i]) / 2 : 0;
        }
        nh_fourier_free(p.fourier);
        OK(nh_fourier_new(p.graph, NH_H_LABEL, NULL, &p.fourier, &err));
        nh_spectrum v;
        heard h;
        const nh_nearest_task t = task_of(&p, 3, -5, &h);
        OK(nh_spectrum_new(1, p.n, &v, &err));
        const int status = nh_nearest_solve(&t, &v, &err);
        if (status != (i == 2 ? -1 : 0)) fail_msg("%d: %s", i, err.text);
        if (i == 0) assert_true(isnan(v.s_smallest[0]));
        if (i == 1) {
            assert_near(v.s_smallest[0], 2e-7, 1e-12);
            assert_near(v.s_largest[0], 2, 0.1);
        }
        if (i == 2) {
            assert_non_null(
                strstr(err.text,
                       "file: k-point 1 (0 0 0): the overlap matrix is not positive definite: 1 eigenvalue"));
        }
        nh_spectrum_free(&v);
        close_problem(&p);
    }
}

static void test_memory(void **state)
{
    (void)state;
    if (!nh_factor_available()) skip();
    problem p = open_problem(without_spin(40), 1, &GAMMA);
    nh_spectrum v;
    heard h;
    nh_nearest_task t = task_of(&p, 3, -5, &h);
    OK(nh_spectrum_new(1, p.n, &v, &err));
    t.memory = 1000;
    assert_int_equal(nh_nearest_solve(&t, &v, &err), -1);
    assert_non_null(strstr(err.text, "--memory"));
    assert_int_equal(h.notes, 1);
    assert_true(nh_memory_available() > 1e6);
    nh_spectrum_free(&v);
    close_problem(&p);
}

/* The level of a mesh, of metals and of insulators, from few states, is that of all of them. */
static void test_fermi_level(void **state)
{
    (void)state;
    if (!nh_factor_available()) skip();
    const double k[4][3] = {{0, 0, 0}, {0.2, 0, 0}, {0.37, 0, 0}, {0.5, 0, 0}};
    for (int spin = 0; spin < 2; spin++) {
        problem p = open_problem(spin ? with_spin(6) : without_spin(150), 4, k);
        solve_dense(&p);
        const double per_band = spin ? 1 : 2, electrons[3] = {7, floor((double)p.n * per_band / 2) - 0.5, 61};
        nh_bands b;
        OK(nh_bands_new(&p.k, p.n, &b, &err));
        memcpy(b.energy, p.dense.energy, 4 * p.n * sizeof *b.energy);
        b.electrons_per_band = per_band;
        for (int i = 0; i < 3; i++) {
            double expected, level, vbm, cbm;
            heard h;
            const nh_nearest_task t = task_of(&p, 1, i == 1 ? 40 : -7, &h);
            OK(nh_fermi_level(&b, electrons[i], &expected, &err));
            OK(nh_nearest_fermi(&t, &p.k, electrons[i], per_band, &level, &vbm, &cbm, &err));
            assert_near(level, expected, 1e-9);
            double below = -INFINITY, above = INFINITY;
            for (size_t e = 0; e < 4 * p.n; e++)
                if (b.energy[e] <= level + 1e-9)
                    below = fmax(below, b.energy[e]);
                else
                    above = fmin(above, b.energy[e]);
            assert_near(vbm, below, 1e-9);
            assert_near(cbm, above, 1e-9);
        }
        double level, vbm, cbm;
        heard h;
        const nh_nearest_task t = task_of(&p, 1, 0, &h);
        assert_int_equal(
            nh_nearest_fermi(&t, &p.k, 2 * per_band * (double)p.n, per_band, &level, &vbm, &cbm, &err), -1);
        assert_non_null(strstr(err.text, "do not fill"));
        nh_bands_free(&b);
        close_problem(&p);
    }
}

/* A diagonal operator with an eigenvalue of multiplicity 7: blocks of two see two of it at first; the rest comes from new
 * vectors. */
enum { DIAGONAL = 60, MANY = 7 };

static int divide(void *context, size_t p, double *x, nh_error *e)
{
    (void)e;
    const double *energy = context;
    for (size_t i = 0; i < p * DIAGONAL; i++)
        for (int part = 0; part < 2; part++)
            x[2 * i + (size_t)part] /= energy[i % DIAGONAL];
    return 0;
}

static int copy(void *context, size_t p, const double *x, double *y, nh_error *e)
{
    (void)context;
    (void)e;
    memcpy(y, x, 2 * p * DIAGONAL * sizeof *y);
    return 0;
}

static void test_refresh(void **state)
{
    (void)state;
    double energy[DIAGONAL];
    for (size_t i = 0; i < DIAGONAL; i++)
        energy[i] = i < MANY ? -0.5 : 1 + 0.3 * (double)i;
    for (int real = 0; real < 2; real++) {
        const nh_lanczos_operator o = {DIAGONAL, real == 1, energy, divide, copy};
        nh_lanczos *l;
        const double *theta;
        size_t have = 0;
        OK(nh_lanczos_new(&o, 12, 2, &l, &err));
        for (int round = 0; round < 8 && have < MANY; round++) {
            if (round > 0) OK(nh_lanczos_refresh(l, &err));
            const size_t found = nh_lanczos_found(l, NULL, NULL, NULL);
            OK(nh_lanczos_run(l, found + 1 < 3 ? 3 : found + 1, false, &err));
            have = 0;
            for (size_t i = 0; i < nh_lanczos_found(l, &theta, NULL, NULL); i++)
                have += fabs(theta[i] + 2) < 1e-9;
            if (round == 0) assert_true(have < MANY);
        }
        assert_int_equal(have, MANY);
        nh_lanczos_free(l);
        OK(nh_lanczos_new(&o, 6, 2, &l, &err)); /* three from each side */
        OK(nh_lanczos_run(l, 4, true, &err));
        assert_true(nh_lanczos_found(l, &theta, NULL, NULL) >= 4);
        assert_near(theta[0], -2, 1e-9);
        assert_near(theta[1], 1 / energy[MANY], 1e-9);
        assert_near(theta[3], 1 / energy[MANY + 1], 1e-9);
        nh_lanczos_free(l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks),         cmocka_unit_test(test_inertia), cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_sigma_on_state), cmocka_unit_test(test_overlap), cmocka_unit_test(test_memory),
        cmocka_unit_test(test_fermi_level),    cmocka_unit_test(test_refresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
