/* k-points, Fourier sums, eigenproblem and band comparison on crystals built in memory. */
#include "base/complex.h"
#include "chain.h"

#include "base/memory.h"
#include "crystal/bands.h"
#include "crystal/eigen.h"
#include "crystal/fourier.h"
#include "crystal/kpoints.h"
#include "formats/abacus/kpt.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define assert_near(a, b, within)                                                                            \
    do {                                                                                                     \
        const double nh_a = (a), nh_b = (b);                                                                 \
        if (!(fabs(nh_a - nh_b) <= (within))) fail_msg("%s = %.15g, %s = %.15g", #a, nh_a, #b, nh_b);        \
    } while (0)

/* --- crystals --- */

/* One s orbital: on-site energy e, hopping t and overlap s to both neighbours. */
static nh_graph *simple_chain(double e, double t, double s)
{
    const int shells[] = {0};
    nh_graph *g = make_chain(1, 3.0, 1, shells, 1, 1);
    for (size_t p = 0; p < 3; p++) {
        const bool home = g->pairs.pair[p].cell[0] == 0;
        g->matrix[NH_H_LABEL][2 * p] = home ? e : t;
        g->overlap[p] = home ? 1 : s;
    }
    return g;
}

static void assemble(const nh_fourier *f, const double k[3], double complex **h, double complex **s)
{
    nh_error err;
    const size_t n = nh_fourier_basis(f);
    *h = nh_calloc_aligned(n * n, sizeof **h);
    *s = nh_calloc_aligned(n * n, sizeof **s);
    assert_int_equal(nh_fourier_at(f, 1, k, (double *)*h, (double *)*s, &err), 0);
}

static void energies(nh_graph *g, const double k[3], double *e)
{
    nh_error err;
    nh_fourier *f;
    nh_eigen *w;
    double complex *h, *s;
    size_t rank, first, count;
    const nh_band_choice all = {.kind = NH_BANDS_ALL};
    if (nh_fourier_new(g, NH_H_LABEL, NULL, &f, &err) != 0) fail_msg("%s", err.text);
    assemble(f, k, &h, &s);
    assert_int_equal(nh_eigen_new(nh_fourier_basis(f), 0, false, &w, &err), 0);
    if (nh_eigen_solve(w, (double *)h, (double *)s, &all, 0, &rank, e, &first, &count, NULL, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(rank, nh_fourier_basis(f));
    nh_eigen_free(w);
    nh_fourier_free(f);
    free(h);
    free(s);
}

/* --- Fourier and eigenproblem --- */

/* A matrix that is large enough for the two-stage reduction, with S = 1: the energies that come with vectors. */
static void test_two_stage(void **state)
{
    (void)state;
    enum { N = 520 };
    nh_error err;
    uint64_t seed = 5;
    double complex *h = nh_calloc(N * N, sizeof *h), *s = nh_calloc(N * N, sizeof *s);
    double *e[2] = {NH_ARRAY(double, N), NH_ARRAY(double, N)};
    for (int vectors = 0; vectors < 2; vectors++) {
        nh_eigen *w;
        size_t rank, first, count;
        seed = 5;
        memset(s, 0, N * N * sizeof *s);
        for (size_t i = 0; i < N; i++) {
            s[i * N + i] = 1;
            for (size_t j = 0; j <= i; j++) {
                h[i * N + j] = CMPLX(noise(&seed), i == j ? 0 : noise(&seed));
                h[j * N + i] = conj(h[i * N + j]);
            }
        }
        assert_int_equal(nh_eigen_new(N, 0, vectors == 1, &w, &err), 0);
        assert_int_equal(nh_eigen_solve(w, (double *)h, (double *)s, &(nh_band_choice){.kind = NH_BANDS_ALL},
                                        0, &rank, e[vectors], &first, &count, NULL, &err),
                         0);
        nh_eigen_free(w);
    }
    for (size_t i = 0; i < N; i++)
        assert_near(e[0][i], e[1][i], 1e-10);
    for (int i = 0; i < 2; i++)
        free(e[i]);
    free(h);
    free(s);
}

/* The extreme eigenvalues of S: 3, and `least` of two functions that are nearly the same; NaN where S is good. */
static void test_overlap_estimate(void **state)
{
    (void)state;
    enum { N = 40 };
    nh_error err;
    const double least[2] = {3e-7, 1e-3};
    double complex *h = nh_calloc(N * N, sizeof *h), *s = nh_calloc(N * N, sizeof *s);
    double *e = NH_ARRAY(double, N);
    for (int good = 0; good < 2; good++)
        for (int projected = 0; projected < 2; projected++) {
            nh_eigen *w;
            size_t rank, first, count;
            double smallest, largest;
            for (size_t i = 0; i < N; i++)
                for (size_t j = 0; j < N; j++) {
                    h[i * N + j] = i == j ? 1 : 0;
                    s[i * N + j] = i == j ? (i == 7 ? 3 : 1) : 0;
                }
            s[1] = s[N] = 1 - least[good];
            assert_int_equal(nh_eigen_new(N, projected ? 1e-9 : 0, true, &w, &err), 0);
            assert_int_equal(nh_eigen_solve(w, (double *)h, (double *)s,
                                            &(nh_band_choice){.kind = NH_BANDS_ALL}, 0, &rank, e, &first,
                                            &count, NULL, &err),
                             0);
            nh_eigen_overlap(w, &smallest, &largest);
            if (good && !projected) {
                assert_true(isnan(smallest) && isnan(largest));
            } else {
                assert_near(smallest, least[good], 0.05 * least[good]);
                assert_near(largest, 3, 0.15);
            }
            nh_eigen_free(w);
        }
    free(e);
    free(h);
    free(s);
}

static void test_chain(void **state)
{
    (void)state;
    const double e = -1.5, t = -0.8;
    for (int with_overlap = 0; with_overlap < 2; with_overlap++) {
        const double s = with_overlap ? 0.12 : 0;
        nh_graph *g = simple_chain(e, t, s);
        for (int i = 0; i <= 20; i++) {
            const double k[3] = {-0.7 + 0.1 * i, 0.3, -4}, c = 2 * cos(2 * M_PI * k[0]);
            double found;
            energies(g, k, &found);
            assert_near(found, (e + t * c) / (1 + s * c), 1e-13);
        }
        nh_graph_free(g);
    }
}

/* Against the sum written down directly. */
static void test_assembly(void **state)
{
    (void)state;
    nh_error err;
    nh_graph *g = random_chain(2, 1);
    nh_fourier *f;
    double anti = -1;
    assert_int_equal(nh_fourier_new(g, NH_H_LABEL, &anti, &f, &err), 0);
    assert_near(anti, 0, 0);
    const size_t n = nh_fourier_basis(f);
    assert_int_equal(n, 16);
    const double k[3] = {0.237, -0.41, 0.9};
    double complex *h, *s;
    assemble(f, k, &h, &s);
    double complex direct[16][16] = {{0}}, overlap[16][16] = {{0}};
    for (size_t p = 0; p < g->pairs.count; p++) {
        const nh_pair *q = &g->pairs.pair[p];
        const double complex phase =
            cexp(2 * M_PI * I * (k[0] * q->cell[0] + k[1] * q->cell[1] + k[2] * q->cell[2]));
        for (size_t spin = 0; spin < 4; spin++)
            for (size_t a = 0; a < 4; a++)
                for (size_t b = 0; b < 4; b++) {
                    const size_t element = g->pairs.start[p] + 4 * a + b;
                    const double *v = g->matrix[NH_H_LABEL] + 2 * (spin * g->pairs.n_elem + element);
                    const size_t row = 2 * (4 * (size_t)q->src + a) + spin / 2,
                                 column = 2 * (4 * (size_t)q->dst + b) + spin % 2;
                    direct[row][column] += phase * (v[0] + I * v[1]);
                    if (spin == 0 || spin == 3) overlap[row][column] += phase * g->overlap[element];
                }
    }
    for (size_t a = 0; a < n; a++)
        for (size_t b = 0; b < n; b++) {
            assert_near(cabs(h[a * n + b] - direct[a][b]), 0, 1e-13);
            assert_near(cabs(s[a * n + b] - overlap[a][b]), 0, 1e-14);
            assert_true(h[a * n + b] == conj(h[b * n + a]));
            assert_true(s[a * n + b] == conj(s[b * n + a]));
        }
    free(h);
    free(s);
    nh_fourier_free(f);
    nh_graph_free(g);
}

/* Many k-points at once, on threads, are the same bits as the same batches one after another. */
static void test_batches(void **state)
{
    (void)state;
    nh_error err;
    nh_graph *g = random_chain(2, 2);
    nh_fourier *f;
    nh_kpoints k;
    nh_threads *threads;
    assert_int_equal(nh_fourier_new(g, NH_H_LABEL, NULL, &f, &err), 0);
    assert_int_equal(nh_kpoints_mesh((int[3]){19, 1, 1}, true, (double[3]){0}, &k, &err), 0);
    assert_int_equal(nh_threads_new(3, &threads, &err), 0);
    const size_t size = 2 * 16 * 16;
    double *one = calloc(19 * size, sizeof *one), *many = calloc(19 * size, sizeof *many),
           *s = calloc(19 * size, sizeof *s);
    assert_int_equal(nh_fourier_many(f, 19, k.k, one, s, NULL, &err), 0);
    assert_int_equal(nh_fourier_many(f, 19, k.k, many, NULL, threads, &err), 0);
    assert_memory_equal(one, many, 19 * size * sizeof *one);
    for (size_t i = 0; i < 19; i++) {
        assert_int_equal(nh_fourier_at(f, 1, k.k + 3 * i, many, NULL, &err), 0);
        for (size_t e = 0; e < size; e++)
            assert_near(many[e], one[i * size + e], 1e-13);
    }
    free(one);
    free(many);
    free(s);
    nh_threads_free(threads);
    nh_kpoints_free(&k);
    nh_fourier_free(f);
    nh_graph_free(g);
}

/* H C = E S C and C^dagger S C = 1, all bands and every kind of choice; energies do not depend on the choice.
 */
static void test_vectors(void **state)
{
    (void)state;
    nh_error err;
    nh_graph *g = random_chain(2, 3);
    nh_fourier *f;
    assert_int_equal(nh_fourier_new(g, NH_H_LABEL, NULL, &f, &err), 0);
    enum { N = 16 };
    const double k[3] = {0.31, 0.2, 0.1};
    double complex *h, *s, *h2, *s2, c[N][N];
    double all[N], e[N];
    assemble(f, k, &h, &s);
    nh_eigen *w;
    assert_int_equal(nh_eigen_new(N, 0, true, &w, &err), 0);
    const nh_band_choice choices[] = {{.kind = NH_BANDS_ALL},
                                      {.kind = NH_BANDS_INDEX, .first = 4, .count = 5},
                                      {.kind = NH_BANDS_INDEX, .first = 15, .count = 1},
                                      {.kind = NH_BANDS_WINDOW, .lo = -3, .hi = 2},
                                      {.kind = NH_BANDS_WINDOW, .lo = 1e4, .hi = 2e4},
                                      {.kind = NH_BANDS_NEAREST, .count = 3, .centre = 0.5}};
    for (size_t q = 0; q < sizeof choices / sizeof *choices; q++) {
        size_t rank, first, count;
        assemble(f, k, &h2, &s2);
        if (nh_eigen_solve(w, (double *)h2, (double *)s2, &choices[q], N, &rank, e, &first, &count,
                           (double *)c, &err) != 0)
            fail_msg("%s", err.text);
        if (q == 0) memcpy(all, e, sizeof all);
        assert_memory_equal(all, e, sizeof all);
        for (size_t i = 0; i < N; i++)
            if (choices[q].kind == NH_BANDS_WINDOW)
                assert_int_equal(e[i] >= choices[q].lo && e[i] <= choices[q].hi,
                                 i >= first && i < first + count);
        if (choices[q].kind == NH_BANDS_NEAREST || choices[q].kind == NH_BANDS_INDEX)
            assert_int_equal(count, choices[q].count);
        for (size_t i = 0; i < N && choices[q].kind == NH_BANDS_NEAREST; i++)
            if (i < first || i >= first + count)
                for (size_t j = first; j < first + count; j++)
                    assert_true(fabs(e[i] - 0.5) >= fabs(e[j] - 0.5));
        for (size_t i = 0; i < count; i++)
            for (size_t j = 0; j < count; j++) {
                double complex norm = 0;
                for (size_t a = 0; a < N; a++)
                    for (size_t b = 0; b < N; b++)
                        norm += conj(c[i][a]) * s[a * N + b] * c[j][b];
                assert_near(cabs(norm - (i == j)), 0, 1e-12);
            }
        for (size_t i = 0; i < count; i++)
            for (size_t a = 0; a < N; a++) {
                double complex residual = 0;
                for (size_t b = 0; b < N; b++)
                    residual += (h[a * N + b] - e[first + i] * s[a * N + b]) * c[i][b];
                assert_near(cabs(residual), 0, 1e-11);
            }
        free(h2);
        free(s2);
    }
    nh_eigen_free(w);
    free(h);
    free(s);
    nh_fourier_free(f);
    nh_graph_free(g);
}

/* The same crystal with atom 1 counted to the next cell, (0,1,R) -> (0,1,R-1): a similarity transformation of
 * H(k). */
static void test_origin(void **state)
{
    (void)state;
    nh_error err;
    nh_graph *g = random_chain(2, 4), *moved = random_chain(2, 4);
    moved->structure.position[3] += moved->structure.lattice[0];
    nh_pairs_free(&moved->pairs);
    nh_pair *pair = malloc(g->pairs.count * sizeof *pair);
    assert_non_null(pair);
    for (size_t p = 0; p < g->pairs.count; p++) {
        pair[p] = g->pairs.pair[p];
        pair[p].cell[0] += pair[p].src - pair[p].dst;
    }
    assert_int_equal(nh_pairs_build(&moved->structure, g->pairs.count, pair, &moved->pairs, &err), 0);
    for (size_t p = 0; p < g->pairs.count; p++) {
        const nh_pair *q = &g->pairs.pair[p];
        const int cell[3] = {q->cell[0] + q->src - q->dst, 0, 0};
        const size_t to = nh_pairs_find(&moved->pairs, q->src, q->dst, cell);
        assert_true(to != SIZE_MAX);
        memcpy(moved->overlap + moved->pairs.start[to], g->overlap + g->pairs.start[p], 16 * sizeof(double));
        for (size_t spin = 0; spin < 4; spin++)
            memcpy(moved->matrix[NH_H_LABEL] + 2 * (spin * g->pairs.n_elem + moved->pairs.start[to]),
                   g->matrix[NH_H_LABEL] + 2 * (spin * g->pairs.n_elem + g->pairs.start[p]),
                   32 * sizeof(double));
    }
    double a[16], b[16];
    for (int i = 0; i < 7; i++) {
        const double k[3] = {0.13 * i, 0, 0};
        energies(g, k, a);
        energies(moved, k, b);
        for (size_t n = 0; n < 16; n++)
            assert_near(a[n], b[n], 1e-10);
    }
    nh_graph_free(g);
    nh_graph_free(moved);
}

static void test_not_hermitian(void **state)
{
    (void)state;
    nh_error err;
    nh_graph *g = simple_chain(0, -1, 0.1);
    nh_fourier *f;
    double anti, e;
    g->matrix[NH_H_LABEL][0] += 0.02; /* R = -1 and R = 1 differ by it now */
    assert_int_equal(nh_fourier_new(g, NH_H_LABEL, &anti, &f, &err), 0);
    assert_near(anti, 0.01, 1e-15);
    nh_fourier_free(f);
    energies(g, (double[3]){0}, &e);
    assert_near(e, 2 * -0.99 / 1.2, 1e-13);
    g->overlap[0] += 1e-3;
    assert_int_equal(nh_fourier_new(g, NH_H_LABEL, NULL, &f, &err), -1);
    assert_non_null(strstr(err.text, "overlap: not symmetric"));
    assert_int_equal(nh_fourier_new(g, NH_H_PRED, NULL, &f, &err), -1);
    assert_non_null(strstr(err.text, "h_pred"));
    nh_graph_free(g);
}

static int solve_two(double s12, double threshold, size_t *rank, double e[2], nh_error *err)
{
    double h[8] = {-1, 0, 0.5, 0.25, 0.5, -0.25, 2, 0}, s[8] = {1, 0, 0, s12, 0, -s12, 1, 0};
    const nh_band_choice all = {.kind = NH_BANDS_ALL};
    size_t first, count;
    double c[8];
    nh_eigen *w;
    assert_int_equal(nh_eigen_new(2, threshold, true, &w, err), 0);
    const int status = nh_eigen_solve(w, h, s, &all, 2, rank, e, &first, &count, c, err);
    nh_eigen_free(w);
    return status;
}

static void test_singular_overlap(void **state)
{
    (void)state;
    nh_error err;
    size_t rank;
    double e[2];
    assert_int_equal(solve_two(0.9, 0, &rank, e, &err), 0);
    /* S with eigenvalues -0.2 and 2.2; exactly singular; singular to working precision. */
    const double singular[] = {1.2, 1, 1 - 1e-16};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(solve_two(singular[i], 0, &rank, e, &err), -1);
        assert_non_null(strstr(err.text, "not positive definite"));
    }
    assert_int_equal(solve_two(1.2, 0, &rank, e, &err), -1);
    assert_non_null(strstr(err.text, "smallest eigenvalue -2.000e-01"));
    /* One mode is left, x = (1, -i)/sqrt(2) or (1, i)/sqrt(2): the eigenvector of S to 1 + s12. */
    assert_int_equal(solve_two(1.2, 1e-5, &rank, e, &err), 0);
    assert_int_equal(rank, 1);
    assert_true(isnan(e[1]));
    const double complex x[2] = {1, -I}, h01 = 0.5 + 0.25 * I;
    const double expected = creal(-1 + 2 + 2 * creal(conj(x[0]) * h01 * x[1])) / (2 * 2.2);
    assert_near(e[0], expected, 1e-13);
    assert_int_equal(solve_two(0.5, 10, &rank, e, &err), -1);
    assert_non_null(strstr(err.text, "threshold"));
}

/* --- k-points --- */

static const double CUBIC[9] = {2 * M_PI, 0, 0, 0, 2 * M_PI, 0, 0, 0, 2 * M_PI}; /* b_i of length 1 */

static void test_path(void **state)
{
    (void)state;
    nh_error err;
    size_t count;
    nh_k_node *node;
    nh_kpoints k;
    assert_int_equal(
        nh_path_parse("G 0 0 0; X .5 0 0; 1/4 1/4 0 | R 1/2 1/2 1/2; G 0 0 0;", 4, &count, &node, &err), 0);
    assert_int_equal(count, 5);
    assert_string_equal(node[2].label, "");
    assert_true(node[2].jump);
    assert_near(node[2].k[1], 0.25, 0);
    assert_int_equal(nh_kpoints_path(CUBIC, count, node, &k, &err), 0);
    assert_int_equal(k.count, 4 + 4 + 1 + 4 + 1);
    assert_string_equal(k.label[0], "G");
    assert_string_equal(k.label[4], "X");
    assert_string_equal(k.label[9], "R");
    assert_string_equal(k.label[13], "G");
    assert_near(k.k[3 * 1], 0.125, 1e-15);
    assert_near(k.distance[4], 0.5, 1e-14);
    assert_near(k.distance[8], 0.5 + sqrt(0.125), 1e-14);
    assert_near(k.distance[9], k.distance[8], 0);
    assert_near(k.distance[13], k.distance[8] + sqrt(0.75), 1e-14);
    nh_kpoints_free(&k);
    for (size_t total = 5; total < 60; total += 9) {
        assert_int_equal(nh_path_share(CUBIC, total, count, node, &err), 0);
        assert_int_equal(nh_kpoints_path(CUBIC, count, node, &k, &err), 0);
        assert_int_equal(k.count, total);
        nh_kpoints_free(&k);
    }
    assert_int_equal(nh_path_share(CUBIC, 4, count, node, &err), -1);
    free(node);
    const char *bad[] = {"",
                         "G 0 0",
                         "G 0 0 0 0",
                         "0 0 x",
                         "G 0 0 0;; X 0 0 1",
                         "1/0 0 0",
                         "G nan 0 0",
                         "0 0 1e999",
                         "aLabelOfMoreThanThirtyOneCharacters 0 0 0"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(nh_path_parse(bad[i], 4, &count, &node, &err), -1);
        assert_non_null(strstr(err.text, "path:"));
    }
    const double flat[9] = {1, 0, 0, 2, 0, 0, 0, 0, 1};
    assert_int_equal(nh_kpoints_path(flat, 1, &(nh_k_node){.points = 1}, &k, &err), -1);
}

static void test_mesh(void **state)
{
    (void)state;
    nh_error err;
    nh_kpoints k;
    assert_int_equal(nh_kpoints_mesh((int[3]){4, 1, 3}, false, (double[3]){0}, &k, &err), 0);
    const double x[4] = {-0.375, -0.125, 0.125, 0.375}, z[3] = {-1.0 / 3, 0, 1.0 / 3};
    for (size_t i = 0; i < 12; i++) {
        assert_near(k.k[3 * i], x[i % 4], 1e-15);
        assert_near(k.k[3 * i + 1], 0, 0);
        assert_near(k.k[3 * i + 2], z[i / 4], 1e-15);
        assert_near(k.weight[i], 1.0 / 12, 1e-16);
    }
    nh_kpoints_free(&k);
    assert_int_equal(nh_kpoints_mesh((int[3]){3, 1, 1}, true, (double[3]){0.5, 0, 0}, &k, &err), 0);
    assert_near(k.k[3], 0.5, 1e-15);
    nh_kpoints_free(&k);
    assert_int_equal(nh_kpoints_mesh((int[3]){3, 0, 1}, true, (double[3]){0}, &k, &err), -1);
    assert_int_equal(
        nh_kpoints_mesh((int[3]){2000000000, 2000000000, 2000000000}, true, (double[3]){0}, &k, &err), -1);
}

static int read_text(const char *text, bool list, double lattice_constant, nh_kpoints *k, nh_error *err)
{
    char name[] = "/tmp/nh_test_kpt_XXXXXX";
    const int id = mkstemp(name);
    assert_true(id >= 0);
    assert_int_equal(write(id, text, strlen(text)), (ssize_t)strlen(text));
    close(id);
    const int status =
        list ? nh_klist_read(name, CUBIC, k, err) : nh_kpt_read(name, CUBIC, lattice_constant, k, err);
    unlink(name);
    return status;
}

static void test_kpt(void **state)
{
    (void)state;
    nh_error err;
    nh_kpoints k;
    if (read_text("K_POINTS\n0 // mesh\nGamma\n2 2 1 0 0 0\n", false, NAN, &k, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(k.count, 4);
    assert_int_equal(k.mode, NH_K_MESH);
    assert_near(k.k[3], 0.5, 0);
    nh_kpoints_free(&k);
    assert_int_equal(read_text("K_POINTS\n\n0\nMP\n2 2 2\n", false, NAN, &k, &err), 0);
    assert_near(k.k[0], -0.25, 0);
    nh_kpoints_free(&k);
    assert_int_equal(read_text("K_POINTS\n2\nDirect\n0 0 0 1\n.5 .5 0 3 # M\n", false, NAN, &k, &err), 0);
    assert_near(k.weight[1], 0.75, 1e-15);
    assert_string_equal(k.label[1], "M");
    assert_near(k.distance[1], sqrt(0.5), 1e-14);
    nh_kpoints_free(&k);
    /* 2 pi/a with a = 2 pi Å is b: the same numbers as fractional ones. */
    assert_int_equal(
        read_text("K_POINTS\n1\nCartesian\n0.5 0.25 0 1\n", false, 2 * M_PI / 0.529177210903, &k, &err), 0);
    assert_near(k.k[0], 0.5, 1e-14);
    assert_near(k.k[1], 0.25, 1e-14);
    nh_kpoints_free(&k);
    assert_int_equal(read_text("K_POINTS\n1\nCartesian\n0.5 0.25 0 1\n", false, NAN, &k, &err), -1);
    assert_non_null(strstr(err.text, "LATTICE_CONSTANT"));
    const char *line =
        "K_POINTS\n5\nLine\n0 0 0 20 # G\n0.5 0 0 10 # X\n.5 .5 0 1 // M\n0 0 .5 5 #Z\n0 0 0 1 # G\n";
    assert_int_equal(read_text(line, false, NAN, &k, &err), 0);
    assert_int_equal(k.mode, NH_K_PATH);
    assert_int_equal(k.count, 20 + 10 + 1 + 5 + 1);
    assert_string_equal(k.label[30], "M");
    assert_string_equal(k.label[31], "Z");
    assert_near(k.distance[31], k.distance[30], 0);
    assert_near(k.distance[36], 1.5, 1e-14);
    nh_kpoints_free(&k);

    const char *bad[] = {"",
                         "KPT\n0\nGamma\n1 1 1\n",
                         "K_POINTS\nGamma\n",
                         "K_POINTS\n0\nDirect\n0 0 0 1\n",
                         "K_POINTS\n2\nGamma\n1 1 1 0 0 0\n",
                         "K_POINTS\n0\nGamma\n1 1\n",
                         "K_POINTS\n0\nGamma\n1 -1 1 0 0 0\n",
                         "K_POINTS\n0\nGamma\n2 2 2 0\n",
                         "K_POINTS\n2\nDirect\n0 0 0 1\n",
                         "K_POINTS\n1\nDirect\n0 0 nan 1\n",
                         "K_POINTS\n1\nDirect\n0 0 0\n",
                         "K_POINTS\n2\nDirect\n0 0 0 0\n0 0 0 0\n",
                         "K_POINTS\n2\nDirect\n0 0 0 2\n0 0 0 -1\n",
                         "K_POINTS\n2\nLine\n0 0 0 0\n0 0 1 1\n",
                         "K_POINTS\n2\nZigzag\n0 0 0 0\n0 0 1 1\n",
                         "K_POINTS\n99999999999\nDirect\n0 0 0 0\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (read_text(bad[i], false, NAN, &k, &err) == 0) fail_msg("accepted: %s", bad[i]);
        assert_non_null(strstr(err.text, "/tmp/nh_test_kpt_"));
    }
}

static void test_list(void **state)
{
    (void)state;
    nh_error err;
    nh_kpoints k;
    assert_int_equal(read_text("# comment\n0 0 0 1 G\n\n0.5 0 0 3 # no label\n0 0 .5 4 Z", true, 0, &k, &err),
                     0);
    assert_int_equal(k.count, 3);
    assert_near(k.weight[1], 0.375, 1e-15);
    assert_string_equal(k.label[2], "Z");
    nh_kpoints_free(&k);
    assert_int_equal(read_text("0 0 0 G\n0.5 0 0\n", true, 0, &k, &err), 0);
    assert_string_equal(k.label[0], "G");
    assert_near(k.weight[0], 0.5, 0);
    nh_kpoints_free(&k);
    const char *bad[] = {"",          "# nothing\n", "0 0\n", "0 0 0 1\n0 0 0\n", "0 0 0 1 G extra\n",
                         "0 0 inf\n", "0 0 0 -1\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (read_text(bad[i], true, 0, &k, &err) == 0) fail_msg("accepted: %s", bad[i]);
}

/* --- bands --- */

static void make_bands(size_t n_k, size_t n_band, nh_bands *b)
{
    nh_error err;
    nh_kpoints k;
    assert_int_equal(nh_kpoints_mesh((int[3]){(int)n_k, 1, 1}, true, (double[3]){0}, &k, &err), 0);
    assert_int_equal(nh_bands_new(&k, n_band, b, &err), 0);
    nh_kpoints_free(&k);
}

static void test_fermi_level(void **state)
{
    (void)state;
    nh_error err;
    nh_bands b;
    nh_gap gap;
    double level;
    enum { N = 100 };
    make_bands(N, 2, &b);
    for (size_t k = 0; k < N; k++) { /* -2..0 and 1..3, in different places */
        b.energy[2 * k] = -1 - cos(2 * M_PI * b.k.k[3 * k]);
        b.energy[2 * k + 1] = 2 + cos(2 * M_PI * b.k.k[3 * k]);
    }
    b.electrons_per_band = 2;
    assert_int_equal(nh_fermi_level(&b, 2, &level, &err), 0);
    assert_near(level, 0.5, 1e-12);
    assert_true(nh_band_gap(&b, 2, &gap));
    assert_near(gap.cbm - gap.vbm, 1, 1e-12);
    assert_int_equal(gap.k_vbm, N / 2);
    assert_int_equal(gap.occupied, 1);
    assert_false(nh_band_gap(&b, 1, &gap)); /* half-filled band */
    assert_false(nh_band_gap(&b, 4, &gap)); /* nothing above */
    assert_int_equal(nh_fermi_level(&b, 1, &level, &err), 0);
    assert_near(level, -1, 0.07);
    assert_int_equal(nh_fermi_level(&b, 4, &level, &err), 0);
    assert_near(level, 3, 1e-12);
    assert_int_equal(nh_fermi_level(&b, 4.01, &level, &err), -1);
    assert_int_equal(nh_fermi_level(&b, 0, &level, &err), -1);
    assert_int_equal(nh_fermi_level(&b, NAN, &level, &err), -1);
    /* The same columns as bands 3 and 4: two full ones lie below. */
    for (size_t k = 0; k < N; k++)
        b.first[k] = 2;
    assert_int_equal(nh_fermi_level(&b, 6, &level, &err), 0);
    assert_near(level, 0.5, 1e-12);
    assert_true(nh_band_gap(&b, 6, &gap));
    assert_int_equal(nh_fermi_level(&b, 3, &level, &err), -1);
    nh_bands_free(&b);
}

static void test_compare(void **state)
{
    (void)state;
    nh_error err;
    nh_bands a, b;
    nh_band_errors e;
    enum { N = 20, BANDS = 4 };
    make_bands(N, BANDS, &a);
    make_bands(N, BANDS, &b);
    for (size_t k = 0; k < N; k++)
        for (size_t i = 0; i < BANDS; i++) {
            b.energy[k * BANDS + i] = 5 * (double)i + cos(0.3 * (double)k);
            a.energy[k * BANDS + i] =
                b.energy[k * BANDS + i] - 0.25 + ((k + i) % 2 ? 0.01 : -0.01) * (double)(i == 1);
        }
    a.energy[7 * BANDS + 2] -= 0.3;   /* a ghost */
    a.energy[11 * BANDS + 2] -= 0.09; /* not one */
    a.energy[3 * BANDS + 3] -= 4;     /* above `top`: does not count */
    assert_int_equal(nh_band_compare(&a, &b, 12, &e, &err), 0);
    assert_near(e.shift, 0.25, 1e-12);
    assert_int_equal(e.n_state, 3 * N);
    assert_near(e.max, 0.3, 1e-12);
    assert_near(e.mean, (0.01 * N + 0.39) / (3 * N), 1e-12);
    assert_near(e.band_mean[0], 0, 1e-12);
    assert_near(e.band_mean[1], 0.01, 1e-12);
    assert_near(e.band_max[2], 0.3, 1e-12);
    assert_true(isnan(e.band_mean[3]));
    assert_near(e.median_k, 0.01, 1e-12);
    assert_near(e.threshold, 0.1, 1e-12);
    assert_int_equal(e.n_ghost, 1);
    assert_true(e.ghost[7]);
    assert_int_equal(e.k_band[7], 2);
    nh_band_errors_free(&e);
    /* Where all k-points are bad, five times the median decides. */
    for (size_t k = 0; k < N; k++)
        a.energy[k * BANDS + 1] += (k % 2 ? 0.1 : -0.1);
    assert_int_equal(nh_band_compare(&a, &b, 12, &e, &err), 0);
    assert_near(e.threshold, 5 * e.median_k, 1e-12);
    assert_int_equal(e.n_ghost, 0);
    nh_band_errors_free(&e);
    /* A file that begins with band 2 is compared by the numbers of its bands. */
    for (size_t k = 0; k < N; k++) {
        memmove(a.energy + k * BANDS, b.energy + k * BANDS + 1, (BANDS - 1) * sizeof(double));
        a.energy[k * BANDS + BANDS - 1] = NAN;
        a.first[k] = 1;
    }
    assert_int_equal(nh_band_compare(&a, &b, 100, &e, &err), 0);
    assert_int_equal(e.n_state, 3 * N);
    assert_near(e.max, 0, 1e-12);
    nh_band_errors_free(&e);
    assert_int_equal(nh_band_compare(&a, &b, -100, &e, &err), -1);
    b.k.k[9] += 1e-3;
    assert_int_equal(nh_band_compare(&a, &b, 100, &e, &err), -1);
    assert_non_null(strstr(err.text, "k-point 4"));
    nh_bands_free(&a);
    nh_bands_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_stage),
        cmocka_unit_test(test_overlap_estimate),
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_assembly),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_origin),
        cmocka_unit_test(test_not_hermitian),
        cmocka_unit_test(test_singular_overlap),
        cmocka_unit_test(test_path),
        cmocka_unit_test(test_mesh),
        cmocka_unit_test(test_kpt),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_fermi_level),
        cmocka_unit_test(test_compare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
