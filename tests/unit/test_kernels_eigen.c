/* H(k) and the eigenproblem of many k-points on a device against the CPU: batches of all sizes, small matrices and large ones, S that is not
 * positive definite, projections; on the emulated device in several orders of blocks and streams. */
#include "one_device.h"

#include "chain.h"

#include "base/memory.h"
#include "crystal/eigen.h"
#include "crystal/eigen_placed.h"
#include "crystal/fourier.h"
#include "crystal/fourier_placed.h"

#include <complex.h>

static nh_threads *threads; /* one, to which BLAS keeps then */

/* Hermitian h[n][n] and s[n][n], the latter with eigenvalues about 1, and `small` of them `least` or so. */
static void random_problem(uint64_t *seed, size_t n, size_t small, double least, double complex *h,
                           double complex *s)
{
    double complex *m = nh_calloc(n * n, sizeof *m);
    assert_non_null(m);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) {
            h[i * n + j] = 4 * noise(seed) + (i == j ? 0 : 4 * noise(seed) * I);
            h[j * n + i] = conj(h[i * n + j]);
            m[i * n + j] = i == j ? 1 + 0.3 * noise(seed) : (noise(seed) + noise(seed) * I) / sqrt((double)n);
        }
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            double complex sum = 0;
            for (size_t k = 0; k <= (i < j ? i : j); k++)
                sum += m[i * n + k] * conj(m[j * n + k]) * (k < small ? least : 1);
            s[i * n + j] = i == j ? creal(sum) : sum;
        }
    free(m);
}

typedef struct problems {
    size_t n, count;
    double complex *h, *s; /* [count][n][n] */
} problems;

static problems problems_new(uint64_t seed, size_t n, size_t count)
{
    problems p = {.n = n,
                  .count = count,
                  .h = nh_calloc(count * n * n, sizeof *p.h),
                  .s = nh_calloc(count * n * n, sizeof *p.s)};
    assert_non_null(p.h);
    assert_non_null(p.s);
    for (size_t i = 0; i < count; i++)
        random_problem(&seed, n, 0, 1, p.h + i * n * n, p.s + i * n * n);
    return p;
}

static void problems_free(problems *p)
{
    free(p->h);
    free(p->s);
}

/* What a solution of all of them leaves. */
typedef struct answers {
    size_t *rank, *first, *count;
    double *energy;
    double complex *vector; /* [count][most][n] */
    nh_error *error;
} answers;

static answers answers_new(const problems *p, size_t most)
{
    answers a = {.rank = nh_calloc(p->count, sizeof *a.rank),
                 .first = nh_calloc(p->count, sizeof *a.first),
                 .count = nh_calloc(p->count, sizeof *a.count),
                 .energy = nh_calloc(p->count * p->n, sizeof *a.energy),
                 .vector = nh_calloc(p->count * p->n * most + 1, sizeof *a.vector),
                 .error = nh_calloc(p->count, sizeof *a.error)};
    assert_true(a.rank && a.first && a.count && a.energy && a.vector && a.error);
    return a;
}

static void answers_free(answers *a)
{
    free(a->rank);
    free(a->first);
    free(a->count);
    free(a->energy);
    free(a->vector);
    free(a->error);
}

/* Queues batch after batch, two of them in hand; f and k, or the matrices of p. */
static answers solve(const problems *p, const nh_fourier *f, const double *k, double threshold,
                     const nh_band_choice *choice, size_t most)
{
    answers a = answers_new(p, most);
    const size_t n = p->n, size = n * n;
    nh_eigen_many *w;
    OK(nh_eigen_many_new(device, n, p->count, threshold, most > 0, &w, &err));
    const size_t batch = nh_eigen_many_batch(w);
    assert_true(batch >= 1 && batch <= (p->count + 1) / 2);
    for (size_t at = 0, queued = 0; at < p->count; at += batch) {
        for (; queued < p->count && queued < at + 2 * batch; queued += batch) {
            const size_t more = p->count - queued < batch ? p->count - queued : batch;
            if (f == NULL) {
                double *h, *s;
                OK(nh_eigen_many_room(w, &h, &s, &err));
                memcpy(h, p->h + queued * size, more * size * sizeof *p->h);
                memcpy(s, p->s + queued * size, more * size * sizeof *p->s);
            }
            OK(nh_eigen_many_queue(w, more, f, f != NULL ? k + 3 * queued : NULL, &err));
        }
        OK(nh_eigen_many_solve(w, choice, most, a.rank + at, a.energy + at * n, a.first + at, a.count + at,
                               most > 0 ? (double *)(a.vector + at * most * n) : NULL, threads, a.error + at,
                               &err));
    }
    nh_eigen_many_free(w);
    return a;
}

/* The same from nh_eigen_solve. */
static answers solve_on_cpu(const problems *p, double threshold, const nh_band_choice *choice, size_t most)
{
    answers a = answers_new(p, most);
    const size_t n = p->n, size = n * n;
    double complex *h = nh_calloc(size, sizeof *h), *s = nh_calloc(size, sizeof *s);
    nh_eigen *w;
    assert_true(h && s);
    OK(nh_eigen_new(n, threshold, most > 0, &w, &err));
    for (size_t i = 0; i < p->count; i++) {
        memcpy(h, p->h + i * size, size * sizeof *h);
        memcpy(s, p->s + i * size, size * sizeof *s);
        a.error[i].text[0] = '\0';
        nh_eigen_solve(w, (double *)h, (double *)s, choice, most, &a.rank[i], a.energy + i * n, &a.first[i],
                       &a.count[i], most > 0 ? (double *)(a.vector + i * most * n) : NULL, &a.error[i]);
    }
    nh_eigen_free(w);
    free(h);
    free(s);
    return a;
}

/* Equal up to rounding, and H C = E S C, C^dagger S C = 1. Vectors are not compared one by one: those of near energies mix. */
static void compare(const problems *p, const answers *cpu, const answers *found, size_t most, double within)
{
    const size_t n = p->n;
    for (size_t i = 0; i < p->count; i++) {
        assert_string_equal(found->error[i].text, cpu->error[i].text);
        if (cpu->error[i].text[0] != '\0') continue;
        assert_int_equal(found->rank[i], cpu->rank[i]);
        assert_int_equal(found->first[i], cpu->first[i]);
        assert_int_equal(found->count[i], cpu->count[i]);
        for (size_t b = 0; b < n; b++) {
            const double x = cpu->energy[i * n + b], y = found->energy[i * n + b];
            if (b < cpu->rank[i] ? !(fabs(x - y) <= within * (1 + fabs(x))) : !isnan(x) || !isnan(y))
                fail_msg("n = %zu, matrix %zu, band %zu: %.15g, %.15g expected", n, i, b, y, x);
        }
        const double complex *h = p->h + i * n * n, *s = p->s + i * n * n, *c = found->vector + i * most * n;
        for (size_t b = 0; most > 0 && b < found->count[i]; b++) {
            double complex norm[2] = {0};
            for (size_t r = 0; r < n; r++) {
                double complex residual = 0, sc = 0;
                for (size_t q = 0; q < n; q++) {
                    residual += (h[r * n + q] - found->energy[i * n + found->first[i] + b] * s[r * n + q]) *
                                c[b * n + q];
                    sc += s[r * n + q] * c[b * n + q];
                }
                /* with a projection it is zero in what is left only */
                if (cpu->rank[i] == n) assert_true(cabs(residual) < 1e3 * within);
                norm[0] += conj(c[b * n + r]) * sc;
                if (b > 0) norm[1] += conj(c[(b - 1) * n + r]) * sc;
            }
            assert_true(cabs(norm[0] - 1) < 100 * within && cabs(norm[1]) < 100 * within);
        }
    }
}

static void test_sizes(void **state)
{
    (void)state;
    static const struct {
        size_t n, count;
    } cases[] = {{1, 1}, {1, 5}, {2, 2}, {3, 7}, {33, 1}, {33, 4}, {64, 9}};
    const nh_band_choice all = {.kind = NH_BANDS_ALL},
                         some = {.kind = NH_BANDS_NEAREST, .count = 2, .centre = 0.5};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        problems p = problems_new(c + 1, cases[c].n, cases[c].count);
        for (int vectors = 0; vectors < 2; vectors++) {
            const nh_band_choice *choice = c % 2 == 0 ? &all : &some;
            const size_t most = vectors ? p.n : 0;
            answers cpu = solve_on_cpu(&p, 0, choice, most), found = solve(&p, NULL, NULL, 0, choice, most);
            compare(&p, &cpu, &found, most, 1e-11);
            answers_free(&cpu);
            answers_free(&found);
        }
        problems_free(&p);
    }
}

/* Beyond NHK_BATCHED: one after another. */
static void test_large(void **state)
{
    (void)state;
    const nh_band_choice some = {.kind = NH_BANDS_INDEX, .first = 100, .count = 3};
    problems p = problems_new(5, NHK_BATCHED + 1, 2);
    answers cpu = solve_on_cpu(&p, 0, &some, 3), found = solve(&p, NULL, NULL, 0, &some, 3);
    compare(&p, &cpu, &found, 3, 1e-10);
    answers_free(&found);
    p.s[p.n * p.n + 7 * p.n + 7] = -1; /* the second one's S */
    found = solve(&p, NULL, NULL, 0, &some, 3);
    assert_string_equal(found.error[0].text, "");
    assert_non_null(
        strstr(found.error[1].text, "the overlap matrix is not positive definite: smallest eigenvalue -1."));
    answers_free(&cpu);
    answers_free(&found);
    problems_free(&p);
}

/* Some of a batch have an S that is not positive definite, or singular: these say so, the others are solved. */
static void test_not_positive(void **state)
{
    (void)state;
    enum { N = 6, COUNT = 7 };
    const nh_band_choice all = {.kind = NH_BANDS_ALL};
    problems p = problems_new(11, N, COUNT);
    for (size_t i = 0; i < COUNT; i += 2) {
        double complex *s = p.s + i * N * N;
        if (i == 2) {
            s[N + 1] = -s[N + 1];
            continue;
        }
        if (i == 6) continue;
        memset(s, 0, N * N * sizeof *s);
        for (size_t d = 0; d < N; d++)
            s[d * N + d] = i == 4 && d == 3 ? 1e-17 : d == N - 1 && i == 0 ? -1e-3 : 2;
    }
    answers cpu = solve_on_cpu(&p, 0, &all, N), found = solve(&p, NULL, NULL, 0, &all, N);
    assert_non_null(strstr(found.error[0].text,
                           "smallest eigenvalue -1.000e-03, largest 2.000e+00 (--s-threshold projects out)"));
    assert_non_null(strstr(found.error[4].text, "smallest eigenvalue 1.000e-17"));
    assert_true(found.error[2].text[0] != '\0' && found.error[6].text[0] == '\0');
    compare(&p, &cpu, &found, N, 1e-11);
    answers_free(&cpu);
    answers_free(&found);
    problems_free(&p);
}

/* --s-threshold: matrices of a batch lose different numbers of eigenvectors of S; one keeps none. */
static void test_projection(void **state)
{
    (void)state;
    enum { COUNT = 5 };
    static const size_t sizes[] = {4, 35, NHK_BATCHED + 1};
    const nh_band_choice all = {.kind = NH_BANDS_ALL}, window = {.kind = NH_BANDS_WINDOW, .lo = -1, .hi = 2};
    for (size_t c = 0; c < 3; c++) {
        const size_t n = sizes[c], count = c < 2 ? COUNT : 1, most = n;
        problems p = problems_new(20 + c, n, count);
        uint64_t seed = c;
        for (size_t i = 0; i < count; i++)
            random_problem(&seed, n, count == 1 ? 2 : i, i == 3 ? -1e-9 : 1e-9, p.h + i * n * n,
                           p.s + i * n * n);
        if (n == 4) { /* all of them are small */
            for (size_t k = 0; k < 16; k++)
                p.s[4 * 16 + k] = k % 5 == 0 ? 1e-8 : 0;
        }
        const nh_band_choice *choice = c == 1 ? &window : &all;
        answers cpu = solve_on_cpu(&p, 1e-5, choice, most), found = solve(&p, NULL, NULL, 1e-5, choice, most);
        compare(&p, &cpu, &found, c < 2 ? most : 0, 1e-9);
        assert_int_equal(found.rank[0], count == 1 ? n - 2 : n);
        for (size_t i = 1; i < count && c < 2; i++)
            if (n != 4 || i < 4) assert_int_equal(found.rank[i], n - i);
        if (n == 4)
            assert_string_equal(
                found.error[4].text,
                "no eigenvalue of the overlap matrix reaches the threshold 1e-05: the largest is 1.000e-08");
        answers_free(&cpu);
        answers_free(&found);
        problems_free(&p);
    }
}

/* From H(R), S(R) through sums on the device; any order of streams gives the same bits. */
static void test_from_sums(void **state)
{
    (void)state;
    enum { COUNT = 13 };
    const nh_band_choice all = {.kind = NH_BANDS_ALL};
    for (size_t atoms = 1; atoms < 4; atoms += 2) {
        nh_graph *g = random_chain(atoms, 3);
        nh_fourier *f;
        double k[COUNT][3];
        for (size_t i = 0; i < COUNT; i++)
            for (size_t x = 0; x < 3; x++)
                k[i][x] = 0.07 * (double)i + 0.2 * (double)x;
        OK(nh_fourier_new(g, NH_H_LABEL, NULL, &f, &err));
        const size_t n = nh_fourier_basis(f);
        problems p = problems_new(1, n, COUNT);
        OK(nh_fourier_at(f, COUNT, k[0], (double *)p.h, (double *)p.s, &err));
        OK(nh_fourier_place(f, device, &err));
        answers cpu = solve_on_cpu(&p, 0, &all, n), first = {0};
        for (uint64_t seed = 0; seed < 6; seed++) {
            emu_seed(seed);
            answers found = solve(&p, f, k[0], 0, &all, n);
            compare(&p, &cpu, &found, n, 1e-11);
            if (seed == 0) {
                first = found;
                continue;
            }
            assert_memory_equal(first.energy, found.energy, COUNT * n * sizeof *first.energy);
            assert_memory_equal(first.vector, found.vector, COUNT * n * n * sizeof *first.vector);
            answers_free(&found);
        }
        emu_seed(0);
        answers_free(&cpu);
        answers_free(&first);
        nh_fourier_free(f);
        problems_free(&p);
        nh_graph_free(g);
    }
}

/* An S(k) that is not positive definite at some k-points: the message has its eigenvalues although it never came down. */
static void test_sums_not_positive(void **state)
{
    (void)state;
    enum { COUNT = 5 };
    const nh_band_choice all = {.kind = NH_BANDS_ALL};
    const double k[COUNT][3] = {{0.1}, {0.2}, {0.3}, {0.4}, {0.5}};
    nh_graph *g = random_chain(1, 3); /* with both neighbours, S = 1 + 2 s cos(2 pi k) nearly */
    for (size_t p = 0; p < g->pairs.count; p++)
        if (g->pairs.pair[p].cell[0] == 1 || g->pairs.pair[p].cell[0] == -1)
            g->overlap[g->pairs.start[p]] = 0.7;
    nh_fourier *f;
    OK(nh_fourier_new(g, NH_H_LABEL, NULL, &f, &err));
    problems p = problems_new(1, nh_fourier_basis(f), COUNT);
    OK(nh_fourier_at(f, COUNT, k[0], (double *)p.h, (double *)p.s, &err));
    OK(nh_fourier_place(f, device, &err));
    answers cpu = solve_on_cpu(&p, 0, &all, p.n), found = solve(&p, f, k[0], 0, &all, p.n);
    assert_string_equal(found.error[0].text, "");
    assert_non_null(
        strstr(found.error[4].text, "the overlap matrix is not positive definite: smallest eigenvalue -"));
    compare(&p, &cpu, &found, p.n, 1e-10);
    answers_free(&cpu);
    answers_free(&found);
    problems_free(&p);
    nh_fourier_free(f);
    nh_graph_free(g);
}

static void test_misuse(void **state)
{
    (void)state;
    nh_eigen_many *w;
    double *h, *s;
    const nh_band_choice all = {.kind = NH_BANDS_ALL};
    size_t rank, first, count;
    double energy;
    nh_error each;
    OK(nh_eigen_many_new(device, 1, 3, 0, false, &w, &err));
    assert_int_equal(nh_eigen_many_batch(w), 2);
    assert_int_equal(nh_eigen_many_solve(w, &all, 0, &rank, &energy, &first, &count, NULL, NULL, &each, &err),
                     -1);
    assert_string_equal(err.text, "the eigenproblem: no batch waits");
    for (int i = 0; i < 2; i++) {
        OK(nh_eigen_many_room(w, &h, &s, &err));
        h[0] = 3;
        s[0] = 1;
        h[1] = s[1] = 0;
        OK(nh_eigen_many_queue(w, 1, NULL, NULL, &err));
    }
    assert_int_equal(nh_eigen_many_queue(w, 1, NULL, NULL, &err), -1);
    assert_string_equal(err.text, "the eigenproblem: 2 batches wait");
    OK(nh_eigen_many_solve(w, &all, 0, &rank, &energy, &first, &count, NULL, NULL, &each, &err));
    assert_true(rank == 1 && energy == 3 && count == 1);
    nh_eigen_many_free(w);
}

#ifndef NH_REAL_DEVICE
/* With little memory batches are smaller; with none there is one line. */
static void test_memory(void **state)
{
    (void)state;
    enum { N = 40, COUNT = 16 };
    const nh_band_choice all = {.kind = NH_BANDS_ALL};
    problems p = problems_new(31, N, COUNT);
    answers cpu = solve_on_cpu(&p, 0, &all, N);
    nh_eigen_many *w;
    emu_memory(10 * N * N * 16);
    OK(nh_eigen_many_new(device, N, COUNT, 0, true, &w, &err));
    assert_int_equal(nh_eigen_many_batch(w), 2);
    nh_eigen_many_free(w);
    answers found = solve(&p, NULL, NULL, 0, &all, N);
    compare(&p, &cpu, &found, N, 1e-11);
    emu_memory(3 * N * N * 16);
    assert_int_equal(nh_eigen_many_new(device, N, COUNT, 0, true, &w, &err), -1);
    assert_non_null(strstr(err.text, "CUDA device 0: out of memory"));
    assert_null(w);
    emu_memory((size_t)8 << 30);
    assert_int_equal(emu_leaks(), 0);
    answers_free(&cpu);
    answers_free(&found);
    problems_free(&p);
}
#endif

static int open_both(void **state)
{
    if (nh_threads_new(1, &threads, &err) == 0) return open_device(state);
    print_error("%s\n", err.text);
    return -1;
}

static int close_both(void **state)
{
    nh_threads_free(threads);
    return close_device(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),        cmocka_unit_test(test_large),
        cmocka_unit_test(test_not_positive), cmocka_unit_test(test_projection),
        cmocka_unit_test(test_from_sums),    cmocka_unit_test(test_sums_not_positive),
        cmocka_unit_test(test_misuse),
#ifndef NH_REAL_DEVICE
        cmocka_unit_test(test_memory),
#endif
    };
    return cmocka_run_group_tests(tests, open_both, close_both);
}
