/* Orthogonal orbitals: bands of H~(R) on the mesh and between its points, the ceiling, the position
 * operator. */
#include "made_crystal.h"

#include "crystal/eigen.h"
#include "crystal/fourier.h"
#include "properties/lowdin.h"

#include <complex.h>
#define lapack_complex_double double complex
#define lapack_complex_float float complex
#include <lapacke.h>

/* S = 1 + `strength` times numbers that fall off, r with the Hermiticity that it has with S, a Hermitian
 * H. */
static nh_graph *example(int n_spin, double strength, double **position)
{
    nh_graph *const g = made_crystal(n_spin, 5);
    const size_t n = g->pairs.n_elem;
    double *const h = made_matrix(g, NH_H_LABEL);
    nh_graph one = *g;
    one.n_spin = 1;
    g->overlap = calloc(n, sizeof *g->overlap);
    *position = calloc(3 * n, sizeof **position);
    double *const s = calloc(2 * n, sizeof *s);
    assert_true(g->overlap != NULL && *position != NULL && s != NULL);
    for (size_t p = 0; p < g->pairs.count; p++) {
        const nh_pair *const q = &g->pairs.pair[p];
        const double fall = exp(-1.2 * g->pairs.distance[p]);
        const size_t columns = nh_atom_orbitals(&g->structure, (size_t)q->dst);
        for (size_t i = g->pairs.start[p]; i < g->pairs.start[p + 1]; i++) {
            s[2 * i] = strength * fall * made_number(3 * i + 1);
            if (g->pairs.distance[p] == 0 && (i - g->pairs.start[p]) % (columns + 1) == 0) s[2 * i] += 1;
            for (int b = 0; b < n_spin; b++)
                h[2 * ((size_t)b * n + i)] = fall * made_number(5 * i + (size_t)b);
        }
    }
    OK(nh_hermitize(&one, s, &err));
    OK(nh_hermitize(g, h, &err));
    for (size_t i = 0; i < n; i++)
        g->overlap[i] = s[2 * i];
    /* r = (r_a + r_b + R) / 2 S + a symmetric part: r_ba(-R) = r_ab(R) - R S_ab(R) */
    for (int c = 0; c < 3; c++) {
        for (size_t i = 0; i < n; i++) {
            s[2 * i] = 0.1 * strength * made_number(7 * i + (size_t)c);
            s[2 * i + 1] = 0;
        }
        OK(nh_hermitize(&one, s, &err));
        for (size_t p = 0; p < g->pairs.count; p++) {
            const nh_pair *const q = &g->pairs.pair[p];
            const double *const a = g->structure.position + 3 * q->src;
            double v[3];
            nh_pair_vector(&g->structure, q, v); /* b + R - a */
            const double middle = a[c] + v[c] / 2;
            for (size_t i = g->pairs.start[p]; i < g->pairs.start[p + 1]; i++)
                (*position)[(size_t)c * n + i] =
                    middle * g->overlap[i] + s[2 * i] * exp(-1.2 * g->pairs.distance[p]);
        }
    }
    free(s);
    return g;
}

/* Energies of sum_R exp(2 pi i k.R) H~(R) / weight. */
static void bands(const nh_lowdin *l, const double k[3], double *energy)
{
    const size_t n = l->basis;
    double complex *const h = calloc(n * n, sizeof *h);
    assert_non_null(h);
    for (size_t c = 0; c < l->n_cell; c++) {
        const double angle = 2 * M_PI * (k[0] * l->cell[c][0] + k[1] * l->cell[c][1] + k[2] * l->cell[c][2]);
        for (size_t i = 0; i < n * n; i++)
            h[i] += cexp(I * angle) / l->weight[c] *
                    (l->h[2 * (c * n * n + i)] + I * l->h[2 * (c * n * n + i) + 1]);
    }
    for (size_t a = 0; a < n; a++)
        for (size_t b = 0; b < n; b++)
            assert_true(cabs(h[a * n + b] - conj(h[b * n + a])) < 1e-10);
    assert_int_equal(LAPACKE_zheevd(LAPACK_COL_MAJOR, 'N', 'L', (lapack_int)n, h, (lapack_int)n, energy), 0);
    free(h);
}

/* The same of H C = E S C. */
static void exact(nh_graph *g, const double k[3], double *energy)
{
    nh_fourier *f;
    nh_eigen *w;
    OK(nh_fourier_new(g, NH_H_LABEL, NULL, &f, &err));
    const size_t n = nh_fourier_basis(f);
    double *const h = calloc(2 * n * n, sizeof *h), *const s = calloc(2 * n * n, sizeof *s);
    size_t rank, first, count;
    const nh_band_choice all = {.kind = NH_BANDS_ALL};
    assert_true(h != NULL && s != NULL);
    OK(nh_fourier_at(f, 1, k, h, s, &err));
    OK(nh_eigen_new(n, 0, false, &w, &err));
    OK(nh_eigen_solve(w, h, s, &all, 0, &rank, energy, &first, &count, NULL, &err));
    nh_eigen_free(w);
    nh_fourier_free(f);
    free(h);
    free(s);
}

static double difference(nh_graph *g, const nh_lowdin *l, const double k[3], double below)
{
    double *const a = calloc(l->basis, sizeof *a), *const b = calloc(l->basis, sizeof *b), largest = 0;
    assert_true(a != NULL && b != NULL);
    bands(l, k, a);
    exact(g, k, b);
    for (size_t i = 0; i < l->basis; i++)
        if (b[i] <= below) largest = fmax(largest, fabs(a[i] - b[i]));
    free(a);
    free(b);
    return largest;
}

static void on_and_off_the_mesh(void **state)
{
    (void)state;
    for (int n_spin = 1; n_spin <= 4; n_spin += 3) {
        double *position, last = 1;
        nh_graph *const g = example(n_spin, 0.3, &position);
        g->efermi = 0;
        nh_threads *threads;
        OK(nh_threads_new(2, &threads, &err));
        for (int n = 3; n <= 7; n += 2) {
            nh_lowdin *l;
            OK(nh_lowdin_new(g, NH_H_LABEL, NULL, (const int[]){n, n - 1, n}, NAN, threads, &l, &err));
            assert_null(l->r);
            assert_int_equal(l->basis, l->n_orbital * (n_spin == 4 ? 2 : 1));
            double sum = 0;
            for (size_t c = 0; c < l->n_cell; c++)
                sum += 1.0 / l->weight[c];
            assert_true(fabs(sum - n * n * (n - 1)) < 1e-9);
            assert_true(l->smallest > 0.1 && l->smallest < 1);
            assert_true(difference(g, l, (const double[]){1.0 / n, 2.0 / (n - 1), -1.0 / n}, INFINITY) <
                        1e-10);
            const double off = difference(g, l, (const double[]){0.5 / n, 0.5 / (n - 1), 1.5 / n}, INFINITY);
            assert_true(off < last / 2);
            assert_true(l->error > 0 && l->error < 20 * off + 1e-9 && off < 20 * l->error);
            last = off;
            nh_lowdin_free(l);
        }
        assert_true(last < 1e-2);
        nh_threads_free(threads);
        nh_graph_free(g);
        free(position);
    }
}

static void a_ceiling(void **state)
{
    (void)state;
    double *position, energy[64];
    nh_graph *const g = example(1, 0.3, &position);
    nh_lowdin *l;
    const double k[3] = {0.25, 0.5, 0.75};
    exact(g, k, energy);
    const double ceiling = (energy[5] + energy[6]) / 2;
    OK(nh_lowdin_new(g, NH_H_LABEL, NULL, (const int[]){4, 4, 4}, ceiling, NULL, &l, &err));
    assert_true(difference(g, l, k, ceiling) < 1e-10);
    bands(l, k, energy);
    for (size_t i = 6; i < l->basis; i++)
        assert_true(fabs(energy[i] - ceiling) < 1e-10);
    assert_true(isnan(l->error_below) && l->error >= 0);
    nh_lowdin_free(l);
    nh_graph_free(g);
    free(position);
}

/* Without overlap nothing changes: H~ = H, A~ = A, as far as the mesh reaches. */
static void orthogonal(void **state)
{
    (void)state;
    double *position;
    nh_graph *const g = example(4, 0, &position);
    nh_lowdin *l;
    int mesh[3];
    nh_lowdin_mesh(g, mesh);
    OK(nh_lowdin_new(g, NH_H_LABEL, position, mesh, NAN, NULL, &l, &err));
    assert_true(fabs(l->smallest - 1) < 1e-12 && l->error < 1e-10);
    const size_t n = l->n_orbital, first[2] = {0, nh_atom_orbitals(&g->structure, 0)};
    for (size_t p = 0; p < g->pairs.count; p++) {
        const nh_pair *const q = &g->pairs.pair[p];
        size_t c = 0;
        while (c < l->n_cell && memcmp(l->cell[c], q->cell, sizeof q->cell) != 0)
            c++;
        if (c == l->n_cell || l->weight[c] != 1) continue; /* another image of it is nearer, or as near */
        const size_t columns = nh_atom_orbitals(&g->structure, (size_t)q->dst);
        for (size_t i = g->pairs.start[p]; i < g->pairs.start[p + 1]; i++) {
            const size_t a = first[q->src] + (i - g->pairs.start[p]) / columns,
                         b = first[q->dst] + (i - g->pairs.start[p]) % columns;
            for (size_t s = 0; s < 4; s++)
                for (size_t part = 0; part < 2; part++)
                    assert_true(
                        fabs(l->h[2 * ((c * 2 * n + (s / 2) * n + a) * 2 * n + (s % 2) * n + b) + part] -
                             g->matrix[NH_H_LABEL][2 * (s * g->pairs.n_elem + i) + part]) < 1e-12);
            for (size_t k = 0; k < 3; k++)
                assert_true(fabs(l->r[2 * (((k * l->n_cell + c) * n + a) * n + b)] -
                                 position[k * g->pairs.n_elem + i]) < 1e-10);
        }
    }
    nh_lowdin_free(l);
    nh_graph_free(g);
    free(position);
}

/* r + t S is the operator of another origin: A~ grows by t on the diagonal. One that does not belong to S
 * is refused. */
static void positions(void **state)
{
    (void)state;
    double *position;
    nh_graph *const g = example(1, 0.3, &position);
    nh_lowdin *l, *moved;
    const int mesh[3] = {5, 5, 5};
    const size_t n_elem = g->pairs.n_elem;
    OK(nh_lowdin_new(g, NH_H_LABEL, position, mesh, NAN, NULL, &l, &err));
    const double t[3] = {0.7, -1.1, 2.3};
    for (size_t k = 0; k < 3; k++)
        for (size_t i = 0; i < n_elem; i++)
            position[k * n_elem + i] += t[k] * g->overlap[i];
    OK(nh_lowdin_new(g, NH_H_LABEL, position, mesh, NAN, NULL, &moved, &err));
    const size_t n = l->n_orbital;
    for (size_t k = 0; k < 3; k++)
        for (size_t c = 0; c < l->n_cell; c++) {
            const bool home = l->cell[c][0] == 0 && l->cell[c][1] == 0 && l->cell[c][2] == 0;
            for (size_t i = 0; i < n * n; i++) {
                const size_t at = 2 * ((k * l->n_cell + c) * n * n + i);
                assert_true(fabs(moved->r[at] - l->r[at] - (home && i % (n + 1) == 0 ? t[k] : 0)) < 1e-9);
                assert_true(fabs(moved->r[at + 1] - l->r[at + 1]) < 1e-9);
            }
        }
    nh_lowdin_free(l);
    nh_lowdin_free(moved);
    position[g->pairs.start[1]] += 0.1;
    assert_int_equal(nh_lowdin_new(g, NH_H_LABEL, position, mesh, NAN, NULL, &l, &err), -1);
    assert_non_null(strstr(err.text, "does not belong to the overlap"));
    nh_graph_free(g);
    free(position);
}

static void refused(void **state)
{
    (void)state;
    double *position;
    nh_graph *g = example(1, 0.3, &position);
    nh_lowdin *l;
    assert_int_equal(nh_lowdin_new(g, NH_H_LABEL, NULL, (const int[]){0, 1, 1}, NAN, NULL, &l, &err), -1);
    assert_int_equal(nh_lowdin_new(g, NH_H_LABEL, NULL, (const int[]){1, 65, 1}, NAN, NULL, &l, &err), -1);
    assert_int_equal(nh_lowdin_new(g, NH_H0, NULL, (const int[]){1, 1, 1}, NAN, NULL, &l, &err), -1);
    assert_null(l);
    nh_graph_free(g);
    free(position);
    g = example(1, 12, &position); /* far from positive definite */
    assert_int_equal(nh_lowdin_new(g, NH_H_LABEL, NULL, (const int[]){3, 3, 3}, NAN, NULL, &l, &err), -1);
    assert_non_null(strstr(err.text, "singular"));
    nh_graph_free(g);
    free(position);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(on_and_off_the_mesh), cmocka_unit_test(a_ceiling), cmocka_unit_test(orthogonal),
        cmocka_unit_test(positions),           cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests_name("lowdin", tests, NULL, NULL);
}
