/* Matrices written as ABACUS does, and read back: every dialect, nspin 1, 2, 4, atoms in another order and
 * cell. */
#include "check.h"
#include "made_crystal.h"

#include "base/memory.h"
#include "base/stream.h"
#include "formats/abacus/csr.h"
#include "formats/abacus/graph.h"
#include "formats/abacus/stru.h"
#include "formats/abacus/write.h"
#include "formats/structure/file.h"

#include <unistd.h>

#define TINY "tests/data/abacus_tiny/"
#define UP TINY "nspin2/OUT.tiny/data-HR-sparse_SPIN0.csr"
#define DOWN TINY "nspin2/OUT.tiny/data-HR-sparse_SPIN1.csr"
#define SPINOR TINY "nspin4/scf/OUT.tiny/data-HR-sparse_SPIN0.csr"
#define SPINOR_S TINY "nspin4/scf/OUT.tiny/data-SR-sparse_SPIN0.csr.gz"
#define PLAIN TINY "nspin1/OUT.tiny/data-HR-sparse_SPIN0.csr"
#define PLAIN_S TINY "nspin1/OUT.tiny/data-SR-sparse_SPIN0.csr"

static char scratch[] = "/tmp/nh_test_abacus_write_XXXXXX";
static char written[64];

static int set_up(void **state)
{
    (void)state;
    if (mkdtemp(scratch) == NULL) return -1;
    snprintf(written, sizeof written, "%s/file", scratch);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(written);
    return rmdir(scratch);
}

static nh_graph *graph_of(const char *stru, const nh_abacus_sources *sources, bool shells)
{
    nh_structure_file f;
    nh_graph *g = NULL;
    OK(nh_structure_file_read(stru, NULL, &f, &err));
    if (shells)
        OK(nh_structure_set_shells(&f.structure, (size_t[]){3, 2}, (int[]){0, 0, 1, 0, 1}, &err));
    else
        OK(nh_structure_set_shells(&f.structure, (size_t[]){3, 3}, (int[]){0, 0, 1, 0, 1, 2}, &err));
    nh_structure_file_forget(&f);
    OK(nh_abacus_graph(&f.structure, sources, 5, NH_RYDBERG, NULL, NULL, &g, &err));
    return g;
}

/* Elements and cells of two files, but for cells without elements. Several doubles in Ry give the same one in
 * eV: the digits of text tell which it was. */
static void assert_same_file(const char *a_name, const char *b_name, bool text)
{
    nh_csr a, b;
    OK(nh_csr_read(a_name, &a, &err));
    OK(nh_csr_read(b_name, &b, &err));
    assert_int_equal(a.dimension, b.dimension);
    assert_int_equal(a.is_complex, b.is_complex);
    assert_int_equal(a.n_value, b.n_value);
    assert_true(a.n_value > 100);
    for (size_t c = 0, i = 0; c < a.n_cell; c++) {
        const size_t n = a.start[c + 1] - a.start[c];
        if (n == 0) continue;
        while (i < b.n_cell && b.start[i + 1] == b.start[i])
            i++;
        assert_true(i < b.n_cell);
        assert_memory_equal(a.cell[c], b.cell[i], sizeof a.cell[c]);
        assert_int_equal(b.start[i + 1] - b.start[i], n);
        i++;
    }
    assert_memory_equal(a.row, b.row, a.n_value * sizeof *a.row);
    assert_memory_equal(a.column, b.column, a.n_value * sizeof *a.column);
    for (size_t i = 0; i < a.n_value * (a.is_complex ? 2 : 1); i++)
        assert_true(fabs(a.value[i] - b.value[i]) <= (text ? 0 : 3e-16) * fabs(a.value[i]));
    nh_csr_free(&a);
    nh_csr_free(&b);
}

/* What was read is written as it was: the same numbers in the same places. */
static void files_of_abacus(void **state)
{
    (void)state;
    static const char letter[] = {[NH_ABACUS_TEXT] = 'B', [NH_ABACUS_CSR] = 'C', [NH_ABACUS_BINARY] = 'E'};
    static const struct {
        const char *stru;
        nh_abacus_sources sources;
        int nspin, spin;
        bool overlap;
        const char *same;
    } table[] = {
        {TINY "nspin4/scf/STRU", {.label = {SPINOR}, .overlap = SPINOR_S}, 0, 0, false, SPINOR},
        {TINY "nspin4/scf/STRU", {.label = {SPINOR}, .overlap = SPINOR_S}, 4, 0, true, SPINOR_S},
        {TINY "nspin1/STRU", {.label = {PLAIN}, .overlap = PLAIN_S}, 0, 0, false, PLAIN},
        {TINY "nspin1/STRU", {.label = {PLAIN}, .overlap = PLAIN_S}, 0, 0, true, PLAIN_S},
        {TINY "nspin2/STRU", {.label = {UP, DOWN}, .overlap = PLAIN_S}, 2, 0, false, UP},
        {TINY "nspin2/STRU", {.label = {UP, DOWN}, .overlap = PLAIN_S}, 2, 1, false, DOWN},
        {TINY "nspin2/STRU", {.label = {UP, DOWN}, .overlap = PLAIN_S}, 2, 0, true, PLAIN_S},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        for (int d = NH_ABACUS_TEXT; d <= NH_ABACUS_BINARY; d++) {
            nh_graph *g = graph_of(table[i].stru, &table[i].sources, true);
            const nh_abacus_output how = {
                .dialect = (nh_abacus_dialect)d, .nspin = table[i].nspin, .spin = table[i].spin};
            OK(nh_abacus_write_matrix(g, table[i].overlap, NH_H_LABEL, &how, written, &err));
            assert_same_file(table[i].same, written, d != NH_ABACUS_BINARY);
            nh_csr m;
            OK(nh_csr_read(written, &m, &err));
            assert_int_equal(m.dialect[0], letter[d]);
            assert_int_equal(m.quantity, d == NH_ABACUS_BINARY ? 0 : table[i].overlap ? 'S' : 'H');
            nh_csr_free(&m);
            nh_graph_free(g);
        }
}

static char *whole(const char *path)
{
    char *text;
    OK(nh_read_text(path, (size_t)1 << 26, &text, &err));
    return text;
}

/* A run of ABACUS 3.8, byte for byte as ABACUS itself wrote it. */
static void as_abacus_wrote_it(void **state)
{
    (void)state;
    static const char hr[] = "pipelines/GaAs/scf/OUT.ABACUS/data-HR-sparse_SPIN0.csr.xz";
    const nh_abacus_sources sources = {.label = {hr}};
    nh_structure_file f;
    nh_graph *g = NULL;
    OK(nh_structure_file_read("pipelines/GaAs/scf/STRU", NULL, &f, &err));
    OK(nh_structure_set_shells(&f.structure, (size_t[]){7, 5}, (int[]){0, 0, 1, 1, 2, 2, 3, 0, 0, 1, 1, 2},
                               &err));
    nh_structure_file_forget(&f);
    OK(nh_abacus_graph(&f.structure, &sources, 5, NH_RYDBERG, NULL, NULL, &g, &err));
    const nh_abacus_output how = {.dialect = NH_ABACUS_TEXT};
    OK(nh_abacus_write_matrix(g, false, NH_H_LABEL, &how, written, &err));
    char *a = whole(hr), *b = whole(written);
    assert_true(strcmp(a, b) == 0);
    free(a);
    free(b);
    nh_graph_free(g);
}

/* The spinless matrix of a graph as one of nspin 4: on both spins. */
static void spinless_as_spinor(void **state)
{
    (void)state;
    const nh_abacus_sources plain = {.label = {PLAIN}};
    nh_graph *g = graph_of(TINY "nspin1/STRU", &plain, true);
    const nh_abacus_output how = {.dialect = NH_ABACUS_BINARY, .nspin = 4};
    OK(nh_abacus_write_matrix(g, false, NH_H_LABEL, &how, written, &err));
    const nh_abacus_sources back = {.label = {written}};
    nh_graph *h = graph_of(TINY "nspin1/STRU", &back, true);
    assert_int_equal(h->n_spin, 4);
    const size_t n = 2 * g->pairs.n_elem;
    assert_int_equal(h->pairs.n_elem, g->pairs.n_elem);
    assert_memory_equal(h->matrix[NH_H_LABEL], g->matrix[NH_H_LABEL], n * sizeof(double));
    assert_memory_equal(h->matrix[NH_H_LABEL] + 3 * n, g->matrix[NH_H_LABEL], n * sizeof(double));
    nh_graph_free(g);
    nh_graph_free(h);
}

/* A Hermitian matrix of any numbers; `unit` 1 writes the doubles themselves. */
static void fill(nh_graph *g, bool real)
{
    double *h = made_matrix(g, NH_H_PRED);
    for (size_t i = 0; i < 2 * (size_t)g->n_spin * g->pairs.n_elem; i++)
        h[i] = real && i % 2 == 1 ? 0 : made_number(i) * 13;
    OK(nh_hermitize(g, h, &err));
}

static void every_digit(void **state)
{
    (void)state;
    for (int d = NH_ABACUS_TEXT; d <= NH_ABACUS_BINARY; d++)
        for (int n_spin = 1; n_spin <= 4; n_spin += 3) {
            nh_graph *g = made_crystal(n_spin, 5);
            fill(g, n_spin == 1);
            g->rydberg = 1;
            const nh_abacus_output how = {.dialect = (nh_abacus_dialect)d, .digits = 16};
            OK(nh_abacus_write_matrix(g, false, NH_H_PRED, &how, written, &err));
            nh_csr m;
            OK(nh_csr_read(written, &m, &err));
            double *back = calloc(2 * (size_t)n_spin * g->pairs.n_elem, sizeof *back);
            assert_non_null(back);
            OK(nh_csr_scatter(&m, &g->structure, &g->pairs, 1, n_spin, -1, back, &err));
            for (size_t i = 0; i < 2 * (size_t)n_spin * g->pairs.n_elem; i++)
                assert_true(back[i] == g->matrix[NH_H_PRED][i]);
            free(back);
            nh_csr_free(&m);
            nh_graph_free(g);
        }
}

/* Atoms of two species in turn, outside the home cell: the file belongs to the STRU that ABACUS reads. */
static void order_and_cell(void **state)
{
    (void)state;
    static const size_t as_written[4] = {0, 2, 1, 3}; /* file -> graph */
    for (int d = NH_ABACUS_TEXT; d <= NH_ABACUS_BINARY; d++) {
        nh_graph *g = calloc(1, sizeof *g);
        assert_non_null(g);
        nh_structure *s = &g->structure;
        OK(nh_structure_new(4, 2, s, &err));
        memcpy(s->lattice, (double[9]){4.1, 0, 0, 0.5, 4.4, 0, 0.1, 0.2, 4.9}, sizeof s->lattice);
        memcpy(s->position, (double[12]){-0.3, 0.1, 0.2, 1.4, 1.5, 1.6, 6, -4, 2.2, 3, 3, 12.1},
               12 * sizeof *s->position);
        memcpy(s->species, (int[4]){0, 1, 0, 1}, sizeof(int[4]));
        s->atomic_number[0] = 3;
        s->atomic_number[1] = 31;
        OK(nh_structure_set_shells(s, (size_t[]){3, 3}, (int[]){0, 0, 1, 0, 1, 2}, &err));
        size_t count;
        nh_pair *pair;
        OK(nh_neighbours(s, 5, &count, &pair, &err));
        OK(nh_pairs_build(s, count, pair, &g->pairs, &err));
        g->cutoff = 5;
        g->n_spin = 4;
        g->rydberg = NH_RYDBERG;
        g->efermi = g->nelec = NAN;
        fill(g, false);
        const nh_abacus_output how = {.dialect = (nh_abacus_dialect)d, .digits = 16};
        OK(nh_abacus_write_matrix(g, false, NH_H_PRED, &how, written, &err));
        char stru[80];
        snprintf(stru, sizeof stru, "%s/STRU", scratch);
        FILE *f = fopen(stru, "w");
        assert_non_null(f);
        nh_stru_write(f, s, (const char *[]){"Li.upf", "Ga.upf"}, NULL);
        assert_int_equal(fclose(f), 0);
        const nh_abacus_sources sources = {.label = {written}};
        nh_graph *h = graph_of(stru, &sources, false);
        unlink(stru);
        assert_int_equal(h->pairs.count, g->pairs.count);
        assert_int_equal(h->pairs.n_elem, g->pairs.n_elem);
        for (size_t p = 0; p < h->pairs.count; p++) {
            const nh_pair *q = &h->pairs.pair[p];
            double v[3];
            nh_pair_vector(&h->structure, q, v);
            size_t found = SIZE_MAX;
            for (size_t o = 0; o < g->pairs.count; o++) {
                const nh_pair *r = &g->pairs.pair[o];
                double u[3];
                nh_pair_vector(s, r, u);
                if (as_written[q->src] == (size_t)r->src && as_written[q->dst] == (size_t)r->dst &&
                    fabs(u[0] - v[0]) + fabs(u[1] - v[1]) + fabs(u[2] - v[2]) < 1e-9)
                    found = o;
            }
            assert_true(found != SIZE_MAX);
            const size_t n = g->pairs.start[found + 1] - g->pairs.start[found];
            for (int block = 0; block < 4; block++)
                for (size_t e = 0; e < 2 * n; e++) {
                    const double
                        x = g->matrix[NH_H_PRED]
                                     [2 * ((size_t)block * g->pairs.n_elem + g->pairs.start[found]) + e],
                        y = h->matrix[NH_H_LABEL]
                                     [2 * ((size_t)block * h->pairs.n_elem + h->pairs.start[p]) + e];
                    assert_true(fabs(x - y) <= 2e-16 * fabs(x));
                }
        }
        nh_graph_free(g);
        nh_graph_free(h);
    }
}

static void refused(const nh_graph *g, bool overlap, nh_matrix which, int nspin, const char *why)
{
    nh_error e = {""};
    const nh_abacus_output how = {.nspin = nspin};
    assert_int_equal(nh_abacus_write_matrix(g, overlap, which, &how, written, &e), -1);
    if (strstr(e.text, why) == NULL) fail_msg("no \"%s\" in \"%s\"", why, e.text);
    assert_int_not_equal(access(written, F_OK), 0);
}

static void what_does_not_fit(void **state)
{
    (void)state;
    unlink(written);
    nh_graph *g = made_crystal(4, 5);
    refused(g, false, NH_H_PRED, 0, "no matrix h_pred");
    refused(g, true, NH_H_PRED, 0, "no overlap");
    fill(g, false);
    refused(g, false, NH_H_PRED, 3, "nspin 3");
    refused(g, false, NH_H_PRED, 1, "mixes spins");
    const size_t n = 2 * g->pairs.n_elem;
    double *h = g->matrix[NH_H_PRED];
    memset(h + n, 0, 2 * n * sizeof *h);
    refused(g, false, NH_H_PRED, 2, "imaginary");
    for (size_t i = 1; i < 4 * n; i += 2)
        h[i] = 0;
    refused(g, false, NH_H_PRED, 1, "spins differ");
    h[3 * n + 4] = NAN;
    refused(g, false, NH_H_PRED, 4, "not finite");
    nh_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_of_abacus),    cmocka_unit_test(as_abacus_wrote_it),
        cmocka_unit_test(spinless_as_spinor), cmocka_unit_test(every_digit),
        cmocka_unit_test(order_and_cell),     cmocka_unit_test(what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
