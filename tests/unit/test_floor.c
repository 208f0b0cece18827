/* The error that an architecture leaves: against what networks of that architecture really do. */
#include "check.h"
#include "random.h"

#include "base/memory.h"
#include "crystal/neighbours.h"
#include "ensemble/base.h"
#include "ensemble/floor.h"
#include "ensemble/predict.h"

static const char NETWORK[] = "basis: 1s1p1d1f\ncutoff: 5\nmid: 3x0e+2x1o+2x1e+2x2e+2x2o+2x3e+2x3o+2x4e\n"
                              "heads: 1\nblocks: 2\nsh_lmax: 3\nradial: {basis: 8, max: 6, hidden: [8, 8]}\n"
                              "tracegrad: {hidden: 8, hidden_last: 8, z: 8}\ntrace_head: [8]\n"
                              "ranges: [[0, 2.5], [2.5, 4]]\nalpha_hidden: [8, 8]\nedge_scalars: 4\n%s";

static nh_config config_new(const char *more)
{
    char text[1024];
    nh_config c;
    snprintf(text, sizeof text, NETWORK, more);
    OK(nh_config_parse(text, "test", &c, &err));
    return c;
}

/* Two atoms with one shell of each degree up to f, all pairs within 5 Å; H0, label and S random, Hermitian.
 */
static nh_graph *graph_new(bool overlap)
{
    nh_graph *g = calloc(1, sizeof *g);
    assert_non_null(g);
    OK(nh_structure_new(2, 1, &g->structure, &err));
    const double lattice[9] = {4.1, 0.2, 0, 0, 4.3, -0.1, 0.3, 0, 4.6},
                 position[6] = {0, 0, 0, 1.2, 1.1, 1.7};
    const int shell[4] = {0, 1, 2, 3};
    const size_t count = 4;
    memcpy(g->structure.lattice, lattice, sizeof lattice);
    memcpy(g->structure.position, position, sizeof position);
    g->structure.atomic_number[0] = 31;
    OK(nh_structure_set_shells(&g->structure, &count, shell, &err));
    nh_pair *pair;
    size_t n;
    OK(nh_neighbours(&g->structure, 5, &n, &pair, &err));
    OK(nh_pairs_build(&g->structure, n, pair, &g->pairs, &err));
    g->cutoff = 5;
    g->n_spin = 4;
    g->efermi = g->nelec = NAN;
    g->rydberg = NH_RYDBERG;
    uint64_t s = 3;
    for (int m = 0; m < 2; m++) {
        g->matrix[m] = NH_ARRAY(double, 8 * g->pairs.n_elem);
        assert_non_null(g->matrix[m]);
        for (size_t i = 0; i < 8 * g->pairs.n_elem; i++)
            g->matrix[m][i] = uniform(&s);
        OK(nh_hermitize(g, g->matrix[m], &err));
    }
    if (!overlap) return g;
    g->overlap = NH_ARRAY(double, g->pairs.n_elem);
    assert_non_null(g->overlap);
    for (size_t i = 0; i < g->pairs.n_elem; i++)
        g->overlap[i] = uniform(&s);
    return g;
}

/* H0 + the correction of a network with random weights, in matrix[NH_H_PRED]. */
static void predict(const nh_config *c, nh_graph *g, uint64_t seed)
{
    nh_model *m;
    char *text = nh_config_text(c);
    nh_config copy;
    OK(nh_config_parse(text, "test", &copy, &err));
    OK(nh_model_new(&copy, true, &m, &err));
    for (size_t r = 0; r < m->n_range; r++)
        OK(nh_weights_init(&m->params, seed, r, &m->weights[r], &err));
    OK(nh_predict(m, g, &(nh_predict_options){.precision = NH_DOUBLE}, NULL, NULL, NULL, &err));
    nh_model_free(m);
    free(text);
}

static const char *const RULES[] = {
    "reconstruct: spin-average\n",
    "reconstruct: uu\n",
    "reconstruct: spin-average\nlift: true\n",
    "reconstruct: uu\nlift: true\nedge_init: paper\n",
    "reconstruct: uu\nh0: time-reversal\n",
    "reconstruct: uu\nh0: time-reversal\ntarget: hamiltonian\n",
    "reconstruct: uu\ninput: elements\nh0: none\n",
};

/* What a network predicts has no floor, and the rest of any label is orthogonal to it. */
static void networks_are_inside(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof RULES / sizeof *RULES; k++) {
        nh_config c = config_new(RULES[k]);
        nh_graph *g = graph_new(false);
        const size_t n = 8 * g->pairs.n_elem;
        double *base = malloc(n * sizeof *base), *found, *rest;
        assert_non_null(base);
        memcpy(base, g->matrix[NH_H0], n * sizeof *base);
        nh_base(&c, g, base);
        OK(nh_floor(&c, g, g->matrix[NH_H0], g->matrix[NH_H_LABEL], g->pairs.count, NULL, &rest, &err));
        for (uint64_t seed = 1; seed < 3; seed++) {
            double largest = 0, correction = 0, dot = 0, size = 0;
            predict(&c, g, seed);
            OK(nh_floor(&c, g, g->matrix[NH_H0], g->matrix[NH_H_PRED], g->pairs.count, NULL, &found, &err));
            for (size_t i = 0; i < n; i++) {
                const double d = g->matrix[NH_H_PRED][i] - base[i], r = g->matrix[NH_H_LABEL][i] - rest[i];
                largest = fmax(largest, fabs(found[i] - g->matrix[NH_H_PRED][i]));
                correction = fmax(correction, fabs(d));
                dot += d * r;
                size += fabs(d * r);
            }
            assert_true(correction > 1e-3);
            assert_true(largest < 1e-12 * correction + 1e-15);
            assert_true(fabs(dot) < 1e-11 * size);
            free(found);
        }
        free(rest);
        free(base);
        nh_config_free(&c);
        nh_graph_free(g);
    }
}

/* Dimension of the space of D for a pair of shells: the trace of the projection. docs/network.md 4.3, 5. */
static void dimensions(void **state)
{
    (void)state;
    /* d-f: 35 numbers in 1o..5o; f-f: 49 in 0e..6e; without a lift 4o 5o 5e 6e are lost, of which uu has
     * some through 3o (4o: 7 of 9) and 4e (5e: 9 of 11) */
    static const struct {
        const char *rule;
        size_t dd, df, ff;
    } expected[] = {{"reconstruct: spin-average\n", 25, 15, 25},
                    {"reconstruct: uu\n", 25, 22, 34},
                    {"reconstruct: uu\nlift: true\n", 25, 35, 49},
                    {"reconstruct: spin-average\nlift: true\n", 25, 35, 49},
                    {"reconstruct: uu\nlift: true\nranges: [[6, 7]]\n", 0, 0, 0}};
    nh_graph *g = graph_new(false);
    const int here[3] = {0, 0, 0};
    const size_t pair = nh_pairs_find(&g->pairs, 0, 1, here), n = 8 * g->pairs.n_elem;
    double *zero = NH_ARRAY(double, n), *unit = NH_ARRAY(double, n), *found;
    assert_true(pair != SIZE_MAX && zero != NULL && unit != NULL);
    for (size_t k = 0; k < sizeof expected / sizeof *expected; k++) {
        nh_config c = config_new("");
        char text[1024];
        nh_config_free(&c);
        snprintf(text, sizeof text, NETWORK, expected[k].rule);
        if (strstr(expected[k].rule, "ranges") != NULL) {
            char *old = strstr(text, "ranges: [[0, 2.5], [2.5, 4]]\n");
            memmove(old, old + strlen("ranges: [[0, 2.5], [2.5, 4]]\n"),
                    strlen(old + strlen("ranges: [[0, 2.5], [2.5, 4]]\n")) + 1);
        }
        OK(nh_config_parse(text, "test", &c, &err));
        double trace[4][4] = {{0}};
        static const int degree[16] = {0, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3};
        for (size_t i = 0; i < 256; i++) {
            const size_t uu = 2 * (g->pairs.start[pair] + i), dd = uu + 6 * g->pairs.n_elem;
            if (degree[i / 16] < 2 || degree[i % 16] < 2) continue;
            unit[uu] = unit[dd] = 1;
            OK(nh_floor(&c, g, zero, unit, g->pairs.count, NULL, &found, &err));
            assert_true(found[uu] == found[dd]);
            trace[degree[i / 16]][degree[i % 16]] += found[uu];
            unit[uu] = unit[dd] = 0;
            free(found);
        }
        assert_true(fabs(trace[2][2] - (double)expected[k].dd) < 1e-10);
        assert_true(fabs(trace[2][3] - (double)expected[k].df) < 1e-10);
        assert_true(fabs(trace[3][2] - (double)expected[k].df) < 1e-10);
        assert_true(fabs(trace[3][3] - (double)expected[k].ff) < 1e-10);
        nh_config_free(&c);
    }
    free(zero);
    free(unit);
    nh_graph_free(g);
}

static double square_of_rest(const nh_graph *g, const double *a, double *shift)
{
    double as = 0, ss = 0, sum = 0;
    const size_t n = g->pairs.n_elem;
    for (size_t block = 0; block < 4; block += 3)
        for (size_t i = 0; i < n; i++) {
            as += (a[2 * (block * n + i)] - g->matrix[NH_H_LABEL][2 * (block * n + i)]) * g->overlap[i];
            ss += g->overlap[i] * g->overlap[i];
        }
    *shift = as / ss;
    for (size_t k = 0; k < 8 * n; k++) {
        const size_t block = k / (2 * n), i = k / 2 % n;
        const double s = k % 2 == 0 && (block == 0 || block == 3) ? g->overlap[i] : 0;
        sum += pow(a[k] - g->matrix[NH_H_LABEL][k] - *shift * s, 2);
    }
    return sum;
}

/* No multiple of what a network adds to the floor comes closer to the label, up to mu S with the best mu. */
static void best_up_to_a_shift(void **state)
{
    (void)state;
    for (size_t k = 0; k < 4; k++) {
        nh_config c = config_new(RULES[k]);
        nh_graph *g = graph_new(true);
        const size_t n = 8 * g->pairs.n_elem;
        double *found, *other = NH_ARRAY(double, n), mu, at;
        assert_non_null(other);
        OK(nh_floor(&c, g, g->matrix[NH_H0], g->matrix[NH_H_LABEL], g->pairs.count, NULL, &found, &err));
        const double least = square_of_rest(g, found, &mu);
        predict(&c, g, 5);
        for (int sign = -1; sign <= 1; sign += 2) {
            for (size_t i = 0; i < n; i++)
                other[i] = found[i] + 1e-3 * sign * (g->matrix[NH_H_PRED][i] - g->matrix[NH_H0][i]);
            assert_true(square_of_rest(g, other, &at) > least);
        }
        /* a shifted label has the same floor */
        for (size_t i = 0; i < g->pairs.n_elem; i++) {
            g->matrix[NH_H_LABEL][2 * i] += 0.7 * g->overlap[i];
            g->matrix[NH_H_LABEL][2 * (3 * g->pairs.n_elem + i)] += 0.7 * g->overlap[i];
        }
        free(found);
        OK(nh_floor(&c, g, g->matrix[NH_H0], g->matrix[NH_H_LABEL], g->pairs.count, NULL, &found, &err));
        assert_true(fabs(square_of_rest(g, found, &at) - least) < 1e-10 * least);
        assert_true(fabs(at - mu + 0.7) < 1e-9);
        free(found);
        free(other);
        nh_config_free(&c);
        nh_graph_free(g);
    }
}

static void no_slot(void **state)
{
    (void)state;
    nh_config c;
    nh_graph *g = graph_new(true);
    double *found;
    OK(nh_config_parse("basis: 1s1p1d\n", "test", &c, &err));
    assert_int_equal(
        nh_floor(&c, g, g->matrix[NH_H0], g->matrix[NH_H_LABEL], g->pairs.count, NULL, &found, &err), -1);
    assert_null(found);
    assert_non_null(strstr(err.text, "Ga"));
    nh_config_free(&c);
    nh_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_are_inside),
        cmocka_unit_test(dimensions),
        cmocka_unit_test(best_up_to_a_shift),
        cmocka_unit_test(no_slot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
