/* Gauge MAE against direct sums and brute-force minima, on a random Hamiltonian of a real neighbour list. */
#include "base/complex.h"
#include "random.h"

#include "crystal/gauge.h"
#include "crystal/neighbours.h"

#include "base/memory.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N_REGION = NH_GAUGE_N_REGION };

/* Zincblende GaAs-like cell with small bases (2s1p and 1s1p1d), pairs within 6 Å, Hamiltonians with the
 * traits of real ones: decay, zeros of S, real and imaginary parts, a prediction that shares some imaginary
 * parts with the reference. */
static nh_graph *crystal(int n_spin)
{
    nh_error err;
    nh_graph *g = calloc(1, sizeof *g);
    assert_non_null(g);
    assert_int_equal(nh_structure_new(2, 2, &g->structure, &err), 0);
    const double lattice[9] = {0, 2.8, 2.8, 2.8, 0, 2.8, 2.8, 2.8, 0},
                 position[6] = {0, 0, 0, 1.4, 1.4, 1.45};
    memcpy(g->structure.lattice, lattice, sizeof lattice);
    memcpy(g->structure.position, position, sizeof position);
    g->structure.species[1] = 1;
    g->structure.atomic_number[0] = 31;
    g->structure.atomic_number[1] = 33;
    assert_int_equal(
        nh_structure_set_shells(&g->structure, (size_t[]){3, 3}, (int[]){0, 0, 1, 0, 1, 2}, &err), 0);
    size_t count;
    nh_pair *pair;
    assert_int_equal(nh_neighbours(&g->structure, 6.0, &count, &pair, &err), 0);
    assert_int_equal(nh_pairs_build(&g->structure, count, pair, &g->pairs, &err), 0);
    g->cutoff = 6.0;
    g->n_spin = n_spin;
    g->rydberg = NH_RYDBERG;
    g->efermi = g->nelec = NAN;
    uint64_t state = 7;
    const size_t n = g->pairs.n_elem;
    g->overlap = NH_ARRAY(double, n);
    for (int m = 0; m < NH_N_MATRIX; m++)
        g->matrix[m] = NH_ARRAY(double, 2 * n * (size_t)n_spin);
    for (size_t p = 0; p < g->pairs.count; p++)
        for (size_t e = g->pairs.start[p]; e < g->pairs.start[p + 1]; e++) {
            const double decay = exp(-0.7 * g->pairs.distance[p]);
            g->overlap[e] = e % 5 == 2 ? 0.0 : decay * uniform(&state);
            for (size_t b = 0; b < (size_t)n_spin; b++)
                for (size_t c = 0; c < 2; c++) {
                    const size_t k = 2 * (b * n + e) + c;
                    const double label = 10 * decay * uniform(&state);
                    g->matrix[NH_H_LABEL][k] = label;
                    g->matrix[NH_H0][k] = c == 1 ? label : label + 0.02 * decay * uniform(&state);
                    g->matrix[NH_H_PRED][k] =
                        c == 1 && e % 2 == 0 ? label : label + 0.01 * decay * uniform(&state);
                }
        }
    return g;
}

/* The counted elements in one array: every second pair, so that the list of pairs matters. */
typedef struct sample {
    size_t n_pair, pair[4096];
} sample;

static nh_gauge comparison(const nh_graph *g, const double *a, nh_gauge_rule rule, sample *s)
{
    s->n_pair = 0;
    for (size_t p = 0; p < g->pairs.count; p += 2)
        s->pair[s->n_pair++] = p;
    return (nh_gauge){g, a, g->matrix[NH_H_LABEL], s->n_pair, s->pair, rule};
}

/* Mean over a region of |Re|, |Im| or modulus of d - mu S by one plain loop. */
static double plain_mean(const nh_gauge *q, int region, int part, double mu)
{
    double sum = 0;
    size_t count = 0;
    const size_t n = q->graph->pairs.n_elem;
    for (int b = 0; b < 4; b++) {
        if (region != NH_GAUGE_OVERALL && region != b) continue;
        for (size_t k = 0; k < q->n_pair; k++)
            for (size_t e = q->graph->pairs.start[q->pair[k]]; e < q->graph->pairs.start[q->pair[k] + 1];
                 e++) {
                const size_t at = 2 * ((size_t)b * n + e);
                double complex d = -CMPLX(q->reference[at], q->reference[at + 1]);
                if (q->a != NULL) d += CMPLX(q->a[at], q->a[at + 1]);
                if (b == 0 || b == 3) d -= mu * q->graph->overlap[e];
                sum += part == NH_GAUGE_REAL        ? fabs(creal(d))
                       : part == NH_GAUGE_IMAGINARY ? fabs(cimag(d))
                                                    : cabs(d);
                count++;
            }
    }
    return sum / (double)count;
}

static void assert_close(double found, double expected, double relative)
{
    if (!(fabs(found - expected) <= relative * fabs(expected)))
        fail_msg("found %.17g, expected %.17g", found, expected);
}

static const double *candidate(const nh_graph *g, int i)
{
    return i == 0 ? NULL : g->matrix[i == 1 ? NH_H0 : NH_H_PRED];
}

static void l2_is_the_published_formula(void **state)
{
    (void)state;
    nh_graph *g = crystal(4);
    sample s;
    for (int i = 0; i < 3; i++) {
        const nh_gauge q = comparison(g, candidate(g, i), NH_GAUGE_L2, &s);
        nh_gauge_row row[N_REGION];
        nh_error err;
        assert_int_equal(nh_gauge_by_spin(&q, row, &err), 0);
        double num = 0, den = 0;
        size_t count = 0;
        const size_t n = g->pairs.n_elem;
        for (size_t k = 0; k < s.n_pair; k++)
            for (size_t e = g->pairs.start[s.pair[k]]; e < g->pairs.start[s.pair[k] + 1]; e++, count++)
                for (size_t b = 0; b < 4; b += 3) {
                    num += ((q.a != NULL ? q.a[2 * (b * n + e)] : 0) - q.reference[2 * (b * n + e)]) *
                           g->overlap[e];
                    den += g->overlap[e] * g->overlap[e];
                }
        const double mu = num / (den + 1e-6);
        for (int r = 0; r < N_REGION; r++) {
            const size_t rows = count * (r == NH_GAUGE_OVERALL ? 4 : 1);
            assert_int_equal(row[r].n_elem, rows);
            for (int p = 0; p < NH_GAUGE_N_PART; p++) {
                assert_close(row[r].part[p].mu, mu, 1e-12);
                const double mean = plain_mean(&q, r, p, mu) * (double)rows / ((double)rows + 1e-7);
                assert_true(fabs(row[r].part[p].mae - mean) <= 1e-12 * mean + 1e-15);
            }
        }
    }
    nh_graph_free(g);
}

/* A piecewise linear function has its minimum at a kink: try all of them. The modulus is convex: scan,
 * refine, scan again. */
static void l1_is_the_smallest_of_all(void **state)
{
    (void)state;
    nh_graph *g = crystal(4);
    sample s;
    for (int i = 0; i < 3; i++) {
        nh_gauge q = comparison(g, candidate(g, i), NH_GAUGE_L1, &s);
        q.n_pair = s.n_pair = 24; /* few enough for a brute force */
        nh_gauge_row row[N_REGION];
        nh_error err;
        assert_int_equal(nh_gauge_by_spin(&q, row, &err), 0);
        const size_t n = g->pairs.n_elem;
        for (int r = 0; r < N_REGION; r++) {
            double best = plain_mean(&q, r, NH_GAUGE_REAL, 0);
            for (size_t b = 0; b < 4; b += 3)
                for (size_t k = 0; k < s.n_pair; k++)
                    for (size_t e = g->pairs.start[s.pair[k]]; e < g->pairs.start[s.pair[k] + 1]; e++) {
                        const size_t at = 2 * (b * n + e);
                        if (g->overlap[e] == 0.0) continue;
                        const double mu = ((q.a != NULL ? q.a[at] : 0) - q.reference[at]) / g->overlap[e];
                        best = fmin(best, plain_mean(&q, r, NH_GAUGE_REAL, mu));
                    }
            assert_close(row[r].part[NH_GAUGE_REAL].mae, best, 1e-13);

            double centre = 0, width = 40;
            best = INFINITY;
            for (int level = 0; level < 40; level++) {
                double at = centre;
                for (int j = -8; j <= 8; j++) {
                    const double mu = centre + width * j / 8, f = plain_mean(&q, r, NH_GAUGE_COMPLEX, mu);
                    if (f < best) {
                        best = f;
                        at = mu;
                    }
                }
                centre = at;
                width *= 0.5;
            }
            assert_close(row[r].part[NH_GAUGE_COMPLEX].mae, best, 1e-12);
            const double imaginary = plain_mean(&q, r, NH_GAUGE_IMAGINARY, 0);
            assert_true(fabs(row[r].part[NH_GAUGE_IMAGINARY].mae - imaginary) <= 1e-13 * imaginary);

            for (int p = 0; p < NH_GAUGE_N_PART; p++) {
                const double again = plain_mean(&q, r, p, row[r].part[p].mu);
                assert_true(fabs(row[r].part[p].mae - again) <= 1e-13 * again);
                if (r == NH_GAUGE_UD || r == NH_GAUGE_DU || p == NH_GAUGE_IMAGINARY)
                    assert_true(row[r].part[p].mu == 0.0);
            }
        }
    }
    nh_graph_free(g);
}

static void pure_shift_is_no_distance(void **state)
{
    (void)state;
    nh_graph *g = crystal(4);
    const double shift = -3.25;
    double *a = g->matrix[NH_H_PRED];
    const size_t n = g->pairs.n_elem;
    memcpy(a, g->matrix[NH_H_LABEL], 8 * n * sizeof *a);
    for (size_t e = 0; e < n; e++)
        for (size_t b = 0; b < 4; b += 3)
            a[2 * (b * n + e)] += shift * g->overlap[e];
    for (int rule = NH_GAUGE_L1; rule <= NH_GAUGE_L2; rule++) {
        sample s;
        const nh_gauge q = comparison(g, a, (nh_gauge_rule)rule, &s);
        nh_gauge_row row[N_REGION];
        nh_error err;
        assert_int_equal(nh_gauge_by_spin(&q, row, &err), 0);
        /* the 1e-6 in the published denominator leaves a trace */
        const double slack = rule == NH_GAUGE_L2 ? 1e-6 : 1e-12;
        for (int r = 0; r < N_REGION; r++)
            for (int p = 0; p < NH_GAUGE_N_PART; p++)
                assert_true(row[r].part[p].mae < slack);
        assert_true(fabs(row[NH_GAUGE_OVERALL].part[NH_GAUGE_COMPLEX].mu - shift) < slack);
        assert_true(fabs(row[NH_GAUGE_UU].part[NH_GAUGE_REAL].mu - shift) < slack);
    }
    nh_graph_free(g);
}

static void shift_changes_mu_and_nothing_else(void **state)
{
    (void)state;
    nh_graph *g = crystal(4);
    const double shift = 1.5;
    const size_t n = g->pairs.n_elem;
    double *a = NH_ARRAY(double, 8 * n);
    memcpy(a, g->matrix[NH_H_PRED], 8 * n * sizeof *a);
    for (size_t e = 0; e < n; e++)
        for (size_t b = 0; b < 4; b += 3)
            a[2 * (b * n + e)] += shift * g->overlap[e];
    sample s;
    nh_gauge_row before[N_REGION], after[N_REGION];
    nh_error err;
    nh_gauge q = comparison(g, g->matrix[NH_H_PRED], NH_GAUGE_L1, &s);
    assert_int_equal(nh_gauge_by_spin(&q, before, &err), 0);
    q.a = a;
    assert_int_equal(nh_gauge_by_spin(&q, after, &err), 0);
    for (int r = 0; r < N_REGION; r++)
        for (int p = 0; p < NH_GAUGE_N_PART; p++)
            assert_close(after[r].part[p].mae, before[r].part[p].mae, 1e-11);
    /* the kinks of the median stay the same elements; the modulus has a smooth, flat minimum */
    assert_true(fabs(after[NH_GAUGE_DD].part[NH_GAUGE_REAL].mu - before[NH_GAUGE_DD].part[NH_GAUGE_REAL].mu -
                     shift) < 1e-10);
    assert_true(fabs(after[NH_GAUGE_OVERALL].part[NH_GAUGE_COMPLEX].mu -
                     before[NH_GAUGE_OVERALL].part[NH_GAUGE_COMPLEX].mu - shift) < 1e-6);
    free(a);
    nh_graph_free(g);
}

static void groups_add_up(const nh_gauge *q, const nh_gauge_row *group, size_t n_group)
{
    nh_gauge_row whole[N_REGION];
    nh_error err;
    assert_int_equal(nh_gauge_by_spin(q, whole, &err), 0);
    const nh_gauge_row *all = &whole[NH_GAUGE_OVERALL];
    const double extra = q->rule == NH_GAUGE_L2 ? 1e-7 : 0; /* in the published denominators */
    size_t count = 0;
    double sum = 0;
    for (size_t i = 0; i < n_group; i++) {
        if (group[i].n_elem == 0) {
            assert_true(isnan(group[i].part[NH_GAUGE_COMPLEX].mae));
            continue;
        }
        count += group[i].n_elem;
        sum += ((double)group[i].n_elem + extra) * group[i].part[NH_GAUGE_COMPLEX].mae;
        assert_true(group[i].part[NH_GAUGE_COMPLEX].mu == all->part[NH_GAUGE_COMPLEX].mu);
    }
    assert_int_equal(count, all->n_elem);
    assert_close(sum / ((double)count + extra), all->part[NH_GAUGE_COMPLEX].mae, 1e-12);
}

static void distance_and_shell_rows_add_up(void **state)
{
    (void)state;
    nh_graph *g = crystal(4);
    static const double limit[6] = {0, 1, 2, 4, 6, INFINITY};
    for (int rule = NH_GAUGE_L1; rule <= NH_GAUGE_L2; rule++) {
        sample s;
        const nh_gauge q = comparison(g, g->matrix[NH_H_PRED], (nh_gauge_rule)rule, &s);
        nh_gauge_row by_distance[5];
        static nh_gauge_row by_shell[NH_GAUGE_MAX_L * NH_GAUGE_MAX_L];
        nh_error err;
        assert_int_equal(nh_gauge_by_distance(&q, 5, limit, by_distance, &err), 0);
        assert_int_equal(by_distance[1].n_elem, 0);
        assert_true(by_distance[2].n_elem > 0 && by_distance[3].n_elem > 0);
        groups_add_up(&q, by_distance, 5);
        assert_int_equal(nh_gauge_by_shell(&q, by_shell, &err), 0);
        groups_add_up(&q, by_shell, NH_GAUGE_MAX_L * NH_GAUGE_MAX_L);
        /* only As has d shells: d-d elements come from As-As pairs alone, 25 in each, four spin blocks */
        size_t arsenic = 0;
        for (size_t k = 0; k < s.n_pair; k++)
            arsenic += g->pairs.pair[s.pair[k]].src == 1 && g->pairs.pair[s.pair[k]].dst == 1;
        assert_int_equal(by_shell[2 * NH_GAUGE_MAX_L + 2].n_elem, 4 * 25 * arsenic);
    }
    nh_graph_free(g);
}

/* Elements of one shell pair, moved away from the reference, show in their row and in no other. */
static void shell_rows_are_the_right_elements(void **state)
{
    (void)state;
    nh_graph *g = crystal(4);
    double *a = g->matrix[NH_H_PRED];
    const size_t n = g->pairs.n_elem;
    memcpy(a, g->matrix[NH_H_LABEL], 8 * n * sizeof *a);
    for (size_t p = 0; p < g->pairs.count; p++)
        if (g->pairs.pair[p].src == 0 &&
            g->pairs.pair[p].dst == 1) /* Ga row p (2..4), As column d (4..8) of 9 */
            for (size_t i = 2; i < 5; i++)
                for (size_t j = 4; j < 9; j++)
                    a[2 * (n + g->pairs.start[p] + 9 * i + j)] += 0.001;
    sample s;
    const nh_gauge q = comparison(g, a, NH_GAUGE_L1, &s);
    static nh_gauge_row row[NH_GAUGE_MAX_L * NH_GAUGE_MAX_L];
    nh_error err;
    assert_int_equal(nh_gauge_by_shell(&q, row, &err), 0);
    for (size_t t = 0; t < NH_GAUGE_MAX_L * NH_GAUGE_MAX_L; t++) {
        if (row[t].n_elem == 0) continue;
        if (t == 1 * NH_GAUGE_MAX_L + 2)
            assert_true(row[t].part[NH_GAUGE_COMPLEX].mae > 1e-5);
        else
            assert_true(row[t].part[NH_GAUGE_COMPLEX].mae < 1e-14);
    }
    nh_graph_free(g);
}

/* n_spin = 1 stands for dd = uu, ud = du = 0. */
static void one_block_counts_as_four(void **state)
{
    (void)state;
    nh_graph *one = crystal(1), *four = crystal(4);
    const size_t n = one->pairs.n_elem;
    memcpy(four->overlap, one->overlap, n * sizeof *one->overlap);
    for (int m = 0; m < NH_N_MATRIX; m++) {
        memset(four->matrix[m], 0, 8 * n * sizeof(double));
        memcpy(four->matrix[m], one->matrix[m], 2 * n * sizeof(double));
        memcpy(four->matrix[m] + 6 * n, one->matrix[m], 2 * n * sizeof(double));
    }
    static const double limit[3] = {0, 3, 5};
    for (int rule = NH_GAUGE_L1; rule <= NH_GAUGE_L2; rule++)
        for (int i = 0; i < 3; i++) {
            sample s;
            const nh_gauge q1 = comparison(one, candidate(one, i), (nh_gauge_rule)rule, &s);
            const nh_gauge q4 = comparison(four, candidate(four, i), (nh_gauge_rule)rule, &s);
            nh_gauge_row a[N_REGION], b[N_REGION];
            nh_error err;
            assert_int_equal(nh_gauge_by_spin(&q1, a, &err), 0);
            assert_int_equal(nh_gauge_by_spin(&q4, b, &err), 0);
            for (int r = 0; r < N_REGION; r++) {
                assert_int_equal(a[r].n_elem, b[r].n_elem);
                for (int p = 0; p < NH_GAUGE_N_PART; p++)
                    assert_true(fabs(a[r].part[p].mae - b[r].part[p].mae) <= 1e-12 * b[r].part[p].mae);
            }
            assert_int_equal(nh_gauge_by_distance(&q1, 2, limit, a, &err), 0);
            assert_int_equal(nh_gauge_by_distance(&q4, 2, limit, b, &err), 0);
            for (int r = 0; r < 2; r++) {
                assert_int_equal(a[r].n_elem, b[r].n_elem);
                assert_close(a[r].part[NH_GAUGE_COMPLEX].mae, b[r].part[NH_GAUGE_COMPLEX].mae, 1e-9);
            }
        }
    nh_graph_free(one);
    nh_graph_free(four);
}

static void bad_input_is_an_error(void **state)
{
    (void)state;
    nh_graph *g = crystal(4);
    sample s;
    nh_gauge q = comparison(g, g->matrix[NH_H0], NH_GAUGE_L1, &s);
    nh_gauge_row row[N_REGION];
    nh_error err;
    q.n_pair = 0;
    assert_int_equal(nh_gauge_by_spin(&q, row, &err), -1);
    assert_non_null(strstr(err.text, "no matrix elements"));
    q.n_pair = s.n_pair;
    double *overlap = g->overlap;
    g->overlap = NULL;
    assert_int_equal(nh_gauge_by_spin(&q, row, &err), -1);
    assert_non_null(strstr(err.text, "no overlap"));
    g->overlap = overlap;
    nh_graph_free(g);
}

static void align_finds_the_same_pairs(void **state)
{
    (void)state;
    nh_graph *g = crystal(4), *h = crystal(4);
    nh_error err;
    double *out;
    /* a file with one more pair in front: everything sits elsewhere */
    nh_pair *more = NH_ARRAY(nh_pair, g->pairs.count + 1);
    memcpy(more, g->pairs.pair, g->pairs.count * sizeof *more);
    more[g->pairs.count] = (nh_pair){0, 0, {-9, 0, 0}};
    nh_pairs_free(&h->pairs);
    assert_int_equal(nh_pairs_build(&h->structure, g->pairs.count + 1, more, &h->pairs, &err), 0);
    const size_t ng = g->pairs.n_elem, nh = h->pairs.n_elem;
    double *matrix = NH_ARRAY(double, 8 * nh);
    for (size_t b = 0; b < 4; b++)
        for (size_t p = 0; p < g->pairs.count; p++) {
            const size_t at =
                nh_pairs_find(&h->pairs, g->pairs.pair[p].src, g->pairs.pair[p].dst, g->pairs.pair[p].cell);
            memcpy(matrix + 2 * (b * nh + h->pairs.start[at]),
                   g->matrix[NH_H0] + 2 * (b * ng + g->pairs.start[p]),
                   2 * (g->pairs.start[p + 1] - g->pairs.start[p]) * sizeof *matrix);
        }
    assert_int_equal(nh_gauge_align(g, h, matrix, false, g->pairs.count, NULL, &out, &err), 0);
    assert_memory_equal(out, g->matrix[NH_H0], 8 * ng * sizeof *out);
    free(out);
    free(matrix);
    /* the other way round one pair is missing */
    assert_int_equal(nh_gauge_align(h, g, g->matrix[NH_H0], false, h->pairs.count, NULL, &out, &err), -1);
    assert_non_null(strstr(err.text, "no pair (0, 0, R = -9 0 0)"));
    h->structure.position[3] += 1e-3;
    assert_int_equal(nh_gauge_align(g, h, g->matrix[NH_H0], false, 1, NULL, &out, &err), -1);
    assert_non_null(strstr(err.text, "another crystal: atom 1"));
    h->structure.position[3] -= 1e-3;
    h->structure.shell_l[0] = 1;
    assert_int_equal(nh_gauge_align(g, h, g->matrix[NH_H0], false, 1, NULL, &out, &err), -1);
    assert_non_null(strstr(err.text, "another basis"));
    nh_graph_free(g);
    nh_graph_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(l2_is_the_published_formula),    cmocka_unit_test(l1_is_the_smallest_of_all),
        cmocka_unit_test(pure_shift_is_no_distance),      cmocka_unit_test(shift_changes_mu_and_nothing_else),
        cmocka_unit_test(distance_and_shell_rows_add_up), cmocka_unit_test(shell_rows_are_the_right_elements),
        cmocka_unit_test(one_block_counts_as_four),       cmocka_unit_test(bad_input_is_an_error),
        cmocka_unit_test(align_finds_the_same_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
