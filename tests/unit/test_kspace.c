/* States of the label Hamiltonian, and the file that keeps them. */
#include "golden.h"
#include "made_crystal.h"

#include "crystal/fourier.h"
#include "crystal/graph.h"
#include "training/kspace.h"
#include "training/loss.h"

#include <complex.h>
#include <sys/stat.h>
#include <unistd.h>

/* The made crystal with Hermitian H0 and label, S near 1. */
static nh_graph *crystal(int n_spin)
{
    nh_graph *g = made_crystal(n_spin, 8.5);
    g->efermi = 0.5;
    g->overlap = calloc(g->pairs.n_elem, sizeof(double));
    made_matrix(g, NH_H0);
    made_matrix(g, NH_H_LABEL);
    size_t *reverse = calloc(g->pairs.count, sizeof *reverse);
    nh_pairs_reverse(&g->pairs, reverse);
    for (size_t p = 0; p < g->pairs.count; p++) {
        const nh_pair *a = &g->pairs.pair[p];
        const size_t rows = nh_atom_orbitals(&g->structure, (size_t)a->src),
                     columns = nh_atom_orbitals(&g->structure, (size_t)a->dst);
        const double fade = exp(-0.8 * g->pairs.distance[p]);
        for (size_t i = 0; i < rows * columns; i++) {
            const size_t at = g->pairs.start[p] + i,
                         back = g->pairs.start[reverse[p]] + i % columns * rows + i / columns;
            const bool onsite = g->pairs.distance[p] == 0;
            g->overlap[at] =
                onsite ? (i / columns == i % columns) : 0.01 * fade * (made_number(at) + made_number(back));
            for (size_t s = 0; s < (size_t)n_spin; s++)
                for (size_t r = 0; r < 2; r++) {
                    const double h0 = made_number(2 * at + r + 7919 * s) * fade * 3;
                    g->matrix[NH_H0][2 * (s * g->pairs.n_elem + at) + r] = h0;
                    g->matrix[NH_H_LABEL][2 * (s * g->pairs.n_elem + at) + r] =
                        h0 + 0.2 * made_number(3 * at + r + 104729 * s) * fade;
                }
        }
    }
    free(reverse);
    OK(nh_hermitize(g, g->matrix[NH_H0], &err));
    OK(nh_hermitize(g, g->matrix[NH_H_LABEL], &err));
    return g;
}

static double complex times(const double complex *m, size_t n, const double complex *a,
                            const double complex *b)
{
    double complex sum = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            sum += conj(a[i]) * m[i * n + j] * b[j];
    return sum;
}

/* Rows are eigenvectors of H(k), S-normalised, in ascending order; the graph does not change. */
static void eigenvectors(void **state)
{
    (void)state;
    for (int n_spin = 1; n_spin <= 4; n_spin += 3) {
        nh_graph *g = crystal(n_spin);
        const size_t n = 2 * g->pairs.n_elem * (size_t)n_spin;
        double *before = malloc(n * sizeof *before);
        memcpy(before, g->matrix[NH_H_LABEL], n * sizeof *before);
        const double k[6] = {0.13, -0.27, 0.41, 0, 0, 0};
        const size_t basis = 14 * (n_spin == 4 ? 2 : 1), size = basis * basis;
        double *energy = calloc(2 * basis, sizeof *energy), *h = calloc(2 * size, sizeof *h),
               *o = calloc(2 * size, sizeof *o);
        double complex *c = calloc(2 * size, sizeof *c);
        OK(nh_kspace_solve(g, 2, k, NULL, energy, (double *)c, &err));
        assert_memory_equal(before, g->matrix[NH_H_LABEL], n * sizeof *before);
        nh_fourier *f;
        OK(nh_fourier_new(g, NH_H_LABEL, NULL, &f, &err));
        assert_int_equal(nh_fourier_basis(f), basis);
        for (size_t i = 0; i < 2; i++) {
            OK(nh_fourier_at(f, 1, k + 3 * i, h, o, &err));
            for (size_t a = 0; a < basis; a++)
                for (size_t b = 0; b < basis; b++) {
                    const double complex *ca = c + i * size + a * basis, *cb = c + i * size + b * basis;
                    assert_true(cabs(times((double complex *)o, basis, ca, cb) - (a == b)) < 1e-11);
                    assert_true(cabs(times((double complex *)h, basis, ca, cb) -
                                     (a == b ? energy[i * basis + a] : 0)) < 1e-10);
                }
            for (size_t a = 1; a < basis; a++)
                assert_true(energy[i * basis + a] >= energy[i * basis + a - 1]);
        }
        nh_fourier_free(f);
        free(before);
        free(energy);
        free(h);
        free(o);
        free(c);
        nh_graph_free(g);
    }
}

/* --- the file
 * ----------------------------------------------------------------------------------------------- */

static char folder[64], path[96];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/test_kspace.XXXXXX");
    if (mkdtemp(folder) == NULL) return -1;
    snprintf(path, sizeof path, "%s/a.kcache", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    chmod(path, 0600);
    unlink(path);
    return rmdir(folder); /* fails where a temporary was left behind */
}

static const nh_kspace_options mesh = {{2, 3, 2}, 1.0, NH_KCUT_GAMMA, NH_KSHIFT_RANDOM};

static bool opened_anew(const nh_graph *g, const nh_kspace_options *o)
{
    nh_kcache *c;
    bool made;
    OK(nh_kcache_open(path, g, o, NULL, &c, &made, &err));
    nh_kcache_free(c);
    return made;
}

/* What is read back is what nh_kspace_solve gives, to single precision, on a mesh with one common shift. */
static void kept_states(void **state)
{
    (void)state;
    nh_graph *g = crystal(4);
    nh_kcache *c;
    bool made;
    nh_threads *threads;
    OK(nh_threads_new(2, &threads, &err));
    OK(nh_kcache_open(path, g, &mesh, threads, &c, &made, &err));
    nh_threads_free(threads);
    assert_true(made);
    assert_int_equal(nh_kcache_count(c), 12);
    assert_true(nh_kcache_efermi(c) == 0.5);
    const size_t basis = 28;
    double gamma[28], *vector = calloc(2 * basis * basis, sizeof *vector);
    OK(nh_kspace_solve(g, 1, (const double[3]){0, 0, 0}, NULL, gamma, NULL, &err));
    size_t first = 0;
    while (gamma[first] < 1.5)
        first++;
    assert_true(first > 2 && first < basis - 2);
    double shift[3] = {0};
    for (size_t i = 0; i < 12; i++) {
        nh_kstates s;
        double *buffer;
        OK(nh_kcache_read(c, i, &s, &buffer, &err));
        assert_true(s.vector == buffer && s.n_band == basis && s.n_basis == basis);
        assert_int_equal(s.n_p, first - 1);
        for (int x = 0; x < 3; x++) {
            const double turn = s.k[x] * mesh.mesh[x], part = turn - floor(turn + 1e-12);
            if (i == 0) shift[x] = part;
            assert_true(fabs(part - shift[x]) < 1e-9 && s.k[x] >= 0 && s.k[x] < 1);
        }
        OK(nh_kspace_solve(g, 1, s.k, NULL, NULL, vector, &err));
        for (size_t j = 0; j < 2 * basis * basis; j++)
            assert_true(buffer[j] == (double)(float)vector[j]);
        free(buffer);
    }
    assert_true(shift[0] > 0 && shift[1] > 0 && shift[0] != shift[1]);
    nh_kcache_free(c);
    assert_false(opened_anew(g, &mesh));
    free(vector);
    nh_graph_free(g);
}

/* The points of a mesh that has Gamma and the borders of the zone, alone and behind those of the shifted one. */
static void meshes_at_gamma(void **state)
{
    (void)state;
    nh_graph *g = crystal(4);
    nh_kspace_options o = mesh;
    nh_kcache *shifted;
    OK(nh_kcache_open(path, g, &o, NULL, &shifted, NULL, &err));
    double k[12][3];
    for (size_t i = 0; i < 12; i++) {
        nh_kstates s;
        double *buffer;
        OK(nh_kcache_read(shifted, i, &s, &buffer, &err));
        memcpy(k[i], s.k, sizeof k[i]);
        free(buffer);
    }
    nh_kcache_free(shifted);
    for (int both = 0; both < 2; both++) {
        nh_kcache *c;
        const size_t first = both ? 12 : 0;
        o.shift = both ? NH_KSHIFT_BOTH : NH_KSHIFT_GAMMA;
        assert_true(opened_anew(g, &o));
        OK(nh_kcache_open(path, g, &o, NULL, &c, NULL, &err));
        assert_int_equal(nh_kcache_count(c), first + 12);
        assert_int_equal(nh_kspace_points(&o), first + 12);
        for (size_t i = 0; i < first + 12; i++) {
            const size_t at = i - first; /* first index fastest */
            const double centred[3] = {(double)(at % 2) / 2, (double)(at / 2 % 3) / 3, (double)(at / 6) / 2};
            nh_kstates s;
            double *buffer;
            OK(nh_kcache_read(c, i, &s, &buffer, &err));
            for (int x = 0; x < 3; x++)
                assert_true(fabs(s.k[x] - (i < first ? k[i][x] : centred[x])) < 1e-12);
            free(buffer);
        }
        nh_kcache_free(c);
    }
    nh_graph_free(g);
}

static void per_k_cut(void **state)
{
    (void)state;
    nh_graph *g = crystal(4);
    nh_kspace_options o = mesh;
    o.cut = NH_KCUT_PER_K;
    double here[28];
    OK(nh_kspace_solve(g, 1, (const double[3]){0.1, 0.2, 0.3}, NULL, here, NULL, &err));
    o.energy_cut = here[14] - g->efermi; /* inside a band: k-points differ */
    nh_kcache *c;
    OK(nh_kcache_open(path, g, &o, NULL, &c, NULL, &err));
    size_t least = 28, most = 0;
    for (size_t i = 0; i < 12; i++) {
        nh_kstates s;
        double *buffer, energy[28];
        OK(nh_kcache_read(c, i, &s, &buffer, &err));
        OK(nh_kspace_solve(g, 1, s.k, NULL, energy, NULL, &err));
        assert_true(s.n_p > 0 && energy[s.n_p - 1] < here[14] && energy[s.n_p] >= here[14]);
        least = s.n_p < least ? s.n_p : least;
        most = s.n_p > most ? s.n_p : most;
        free(buffer);
    }
    assert_true(most > least); /* this crystal can tell the two rules apart */
    nh_kcache_free(c);
    /* The cut is not in the file. */
    assert_false(opened_anew(g, &mesh));
    o.energy_cut = 1e6;
    OK(nh_kcache_open(path, g, &o, NULL, &c, NULL, &err));
    nh_kstates s;
    double *buffer;
    OK(nh_kcache_read(c, 0, &s, &buffer, &err));
    assert_int_equal(s.n_p, 28);
    free(buffer);
    nh_kcache_free(c);
    nh_graph_free(g);
}

static void made_anew_where_it_does_not_fit(void **state)
{
    (void)state;
    nh_graph *g = crystal(4);
    nh_kspace_options o = mesh;
    assert_true(opened_anew(g, &o));
    assert_false(opened_anew(g, &o));
    o.mesh[0] = 3;
    assert_true(opened_anew(g, &o));
    g->matrix[NH_H_LABEL][0] += 1e-9;
    assert_true(opened_anew(g, &o));
    g->overlap[0] += 1e-9;
    assert_true(opened_anew(g, &o));
    g->matrix[NH_H0][0] += 1; /* H0 is no part of it */
    assert_false(opened_anew(g, &o));
    /* damage that opening sees: length, header, energies */
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(truncate(path, info.st_size - 1), 0);
    assert_true(opened_anew(g, &o));
    for (long at = 0; at < 936; at += 37) {
        FILE *f = fopen(path, "r+b");
        fseek(f, at, SEEK_SET);
        const int byte = fgetc(f);
        fseek(f, at, SEEK_SET);
        fputc(byte ^ 4, f);
        fclose(f);
        if (!opened_anew(g, &o)) fail_msg("a changed byte %ld is not seen", at);
    }
    nh_graph_free(g);
}

static void damaged_vectors(void **state)
{
    (void)state;
    nh_graph *g = crystal(4);
    nh_kcache *c;
    OK(nh_kcache_open(path, g, &mesh, NULL, &c, NULL, &err));
    nh_kstates s;
    double *buffer;
    assert_int_equal(nh_kcache_read(c, 12, &s, &buffer, &err), -1);
    FILE *f = fopen(path, "r+b");
    fseek(f, -5, SEEK_END);
    fputc('x', f);
    fclose(f);
    OK(nh_kcache_read(c, 10, &s, &buffer, &err));
    free(buffer);
    assert_int_equal(nh_kcache_read(c, 11, &s, &buffer, &err), -1);
    assert_null(buffer);
    assert_non_null(strstr(err.text, path));
    assert_non_null(strstr(err.text, "damaged"));
    unlink(path);
    assert_int_equal(nh_kcache_read(c, 0, &s, &buffer, &err), -1);
    nh_kcache_free(c);
    nh_graph_free(g);
}

static void bad_crystals(void **state)
{
    (void)state;
    nh_graph *g = crystal(4);
    nh_kcache *c;
    const nh_kspace_options none = {{0, 1, 1}, 1, NH_KCUT_GAMMA, NH_KSHIFT_RANDOM};
    assert_int_equal(nh_kcache_open(path, g, &none, NULL, &c, NULL, &err), -1);
    assert_non_null(strstr(err.text, "mesh"));
    assert_int_equal(nh_kcache_open("/nonexistent/a.kcache", g, &mesh, NULL, &c, NULL, &err), -1);
    assert_non_null(strstr(err.text, "/nonexistent/a.kcache"));
    g->efermi = NAN;
    assert_int_equal(nh_kcache_open(path, g, &mesh, NULL, &c, NULL, &err), -1);
    assert_non_null(strstr(err.text, "efermi"));
    g->nelec = 7;
    OK(nh_kcache_open(path, g, &mesh, NULL, &c, NULL, &err));
    assert_true(isfinite(nh_kcache_efermi(c)));
    nh_kcache_free(c);
    unlink(path);
    for (size_t i = 0; i < g->pairs.n_elem; i++)
        g->overlap[i] = -g->overlap[i];
    assert_int_equal(nh_kcache_open(path, g, &mesh, NULL, &c, NULL, &err), -1);
    assert_non_null(strstr(err.text, "positive definite"));
    assert_null(c);
    free(g->matrix[NH_H_LABEL]);
    g->matrix[NH_H_LABEL] = NULL;
    assert_int_equal(nh_kcache_open(path, g, &mesh, NULL, &c, NULL, &err), -1);
    assert_non_null(strstr(err.text, "h_label"));
    nh_graph_free(g);
}

/* --- the k-space terms against H(k) of fourier.h
 * ------------------------------------------------------------ */

/* The paper's sums run over all pairs: those beyond the network's cutoff, too, have the label in the truth
 * and H0 in the prediction. The prediction here is Hermitian, so that fourier.h can be asked for its H(k). */
static void paper_by_hand(void **state)
{
    (void)state;
    nh_graph *g = crystal(4);
    nh_config config;
    OK(nh_config_parse("basis: 2s1p1d\ncutoff: 6\nranges: [[0, 5]]\nreconstruct: spin-average\n", "config",
                       &config, &err));
    nh_embedding *e;
    nh_selection all, scalar;
    OK(nh_embedding_new(config.n_shell, config.shell_l, &e, &err));
    OK(nh_selection_new(e, NH_PART_ALL, NULL, &all, &err));
    OK(nh_selection_new(e, NH_PART_SCALAR, NULL, &scalar, &err));
    const size_t n_edge = nh_graph_edges(g, 6, NULL), n = g->pairs.n_elem;
    size_t *edge = calloc(n_edge, sizeof *edge), slot[8];
    nh_graph_edges(g, 6, edge);
    assert_true(n_edge < g->pairs.count);
    OK(nh_embedding_slots(e, &g->structure, slot, &err));
    /* ham: the scalar part of a Hermitian matrix */
    double *matrix = calloc(8 * n, sizeof *matrix), *vector = calloc(n_edge * all.irreps.dim, sizeof *vector),
           *ham = calloc(n_edge * scalar.irreps.dim, sizeof *ham);
    for (size_t i = 0; i < 8 * n; i++)
        matrix[i] = 0.1 * made_number(5 * i);
    OK(nh_hermitize(g, matrix, &err));
    nh_edges_to_irreps(&(nh_transform){e, &all, &g->structure, slot}, g, matrix, n_edge, edge, 1, NULL,
                       vector);
    for (size_t i = 0; i < n_edge; i++)
        for (size_t p = 0; p < all.n_pair; p++)
            for (size_t k = 0;
                 k < (p + 1 < scalar.n_pair ? scalar.offset[p + 1] : scalar.irreps.dim) - scalar.offset[p];
                 k++)
                ham[i * scalar.irreps.dim + scalar.offset[p] + k] =
                    vector[i * all.irreps.dim + all.offset[p] + k];
    nh_loss_data *d;
    OK(nh_loss_data_new(&config, g, e, &scalar, false, &d, &err));
    assert_int_equal(nh_loss_edges(d), n_edge);
    g->matrix[NH_H_PRED] = calloc(8 * n, sizeof(double));
    OK(nh_loss_predict(d, ham, false, g->matrix[NH_H_PRED], &err));
    double largest;
    OK(nh_hermiticity(g, g->matrix[NH_H_PRED], &largest, NULL, &err));
    assert_true(largest < 1e-14);

    const size_t basis = 28;
    const double k[3] = {0.13, -0.27, 0.41};
    double energy[28];
    double complex *c = calloc(basis * basis, sizeof *c), *h = calloc(basis * basis, sizeof *h),
                   *t = calloc(basis * basis, sizeof *t);
    OK(nh_kspace_solve(g, 1, k, NULL, energy, (double *)c, &err));
    nh_fourier *f;
    OK(nh_fourier_new(g, NH_H_PRED, NULL, &f, &err));
    OK(nh_fourier_at(f, 1, k, (double *)h, NULL, &err));
    nh_fourier_free(f);
    OK(nh_fourier_new(g, NH_H_LABEL, NULL, &f, &err));
    OK(nh_fourier_at(f, 1, k, (double *)t, NULL, &err));
    nh_fourier_free(f);
    const nh_kstates s = {{k[0], k[1], k[2]}, basis, basis, 11, (const double *)c};
    nh_loss_terms terms;
    const nh_loss_options o = {NH_LOSS_PAPER, true, 0, 0.5, 0.2, 0.13, 0.17};
    OK(nh_loss_evaluate(d, &(nh_loss_task){.options = &o, .n_state = 1, .state = &s, .ham = ham}, &terms,
                        &err));
    double p = 0, q = 0, pq = 0, trace_p = 0, trace_q = 0, shift = 0, square = 0, count = 0;
    for (size_t a = 0; a < basis; a++) {
        const double off = creal(times(h, basis, c + a * basis, c + a * basis)) - energy[a];
        *(a < 11 ? &trace_p : &trace_q) += off;
        for (size_t b = 0; b < basis; b++) {
            /* the truth is the diagonal of energies */
            const double complex x =
                (a == b ? energy[a] + terms.mu : 0) - times(h, basis, c + a * basis, c + b * basis);
            const double error = creal(x) * creal(x) + cimag(x) * cimag(x);
            if (a < 11 && b < 11) p += error / (11 * 11);
            if (a >= 11 && b >= 11) q += error / (17 * 17);
            if (a < 11 && b >= 11) pq += error / (11 * 17);
        }
    }
    assert_close(1, &terms.p, &p, 1e-10, "P");
    assert_close(1, &terms.q, &q, 1e-10, "Q");
    assert_close(1, &terms.pq, &pq, 1e-10, "PQ");
    double r = 0;
    for (size_t i = 0; i < n_edge; i++)
        for (size_t b = 0; b < 4; b++)
            for (size_t j = g->pairs.start[edge[i]]; j < g->pairs.start[edge[i] + 1]; j++) {
                const size_t at = 2 * (b * n + j);
                const double overlap = b == 0 || b == 3 ? g->overlap[j] : 0;
                const double re = g->matrix[NH_H_PRED][at] - g->matrix[NH_H_LABEL][at],
                             im = g->matrix[NH_H_PRED][at + 1] - g->matrix[NH_H_LABEL][at + 1];
                shift += re * overlap;
                square += overlap * overlap;
                count++;
                r += (re - terms.mu * overlap) * (re - terms.mu * overlap) + im * im;
            }
    r /= count;
    assert_close(1, &terms.r, &r, 1e-12, "R");
    const double mu = (0.5 / count * shift + 0.2 / 121 * trace_p + 0.13 / 289 * trace_q) /
                      (0.5 / count * square + 0.2 / 11 + 0.13 / 17);
    assert_close(1, &terms.mu, &mu, 1e-10, "mu");
    const double total = 0.5 * r + 0.2 * p + 0.13 * q + 0.17 * pq;
    assert_close(1, &terms.total, &total, 1e-12, "total");
    nh_loss_data_free(d);
    nh_selection_free(&all);
    nh_selection_free(&scalar);
    nh_embedding_free(e);
    nh_config_free(&config);
    free(edge);
    free(matrix);
    free(vector);
    free(ham);
    free(c);
    free(h);
    free(t);
    nh_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(eigenvectors),
        cmocka_unit_test_setup_teardown(kept_states, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(meshes_at_gamma, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(per_k_cut, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(made_anew_where_it_does_not_fit, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(damaged_vectors, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(bad_crystals, make_folder, remove_folder),
        cmocka_unit_test(paper_by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
