/* The mean of a Hamiltonian with its time reversal: of the matrix, of its irreps vectors, and as a model's
 * rule. */
#include "golden.h"
#include "made_crystal.h"

#include "base/random.h"
#include "ensemble/predict.h"
#include "nextham/embedding.h"

#include <complex.h>

/* The made crystal, its H0 Hermitian and without any other symmetry. */
static nh_graph *crystal(int n_spin)
{
    nh_graph *g = made_crystal(n_spin, 8);
    double *h0 = made_matrix(g, NH_H0);
    for (size_t i = 0; i < 2 * (size_t)n_spin * g->pairs.n_elem; i++)
        h0[i] = nh_hash_uniform(1, i);
    OK(nh_hermitize(g, h0, &err));
    return g;
}

static double *copy(const nh_graph *g, const double *m)
{
    const size_t n = 2 * (size_t)g->n_spin * g->pairs.n_elem;
    double *c = malloc(n * sizeof *c);
    assert_non_null(c);
    memcpy(c, m, n * sizeof *c);
    return c;
}

/* T H T^-1 = sigma_y H* sigma_y, by its definition. */
static void reverse_time(const nh_graph *g, const double *from, double *to)
{
    static const double complex y[2][2] = {{0, -I}, {I, 0}};
    const size_t n = g->pairs.n_elem;
    const double complex *h = (const double complex *)from;
    double complex *r = (double complex *)to;
    for (size_t i = 0; i < n; i++)
        for (size_t s = 0; s < 2; s++)
            for (size_t t = 0; t < 2; t++) {
                double complex sum = 0;
                for (size_t a = 0; a < 2; a++)
                    for (size_t b = 0; b < 2; b++)
                        sum += y[s][a] * conj(h[(2 * a + b) * n + i]) * y[b][t];
                r[(2 * s + t) * n + i] = sum;
            }
}

static void average_of_a_matrix(void **state)
{
    (void)state;
    nh_graph *g = crystal(4);
    const size_t n = 8 * g->pairs.n_elem;
    double *h = copy(g, g->matrix[NH_H0]), *reversed = copy(g, h);
    reverse_time(g, g->matrix[NH_H0], reversed);
    nh_time_reversal_average(g, h);
    for (size_t i = 0; i < n; i++)
        assert_true(fabs(h[i] - (g->matrix[NH_H0][i] + reversed[i]) / 2) < 1e-15);
    reverse_time(g, h, reversed);
    for (size_t i = 0; i < n; i++)
        assert_true(h[i] == reversed[i]); /* its own time reversal, exactly */
    double largest;
    OK(nh_hermiticity(g, h, &largest, NULL, &err));
    assert_true(largest < 1e-15);
    double *again = copy(g, h);
    nh_time_reversal_average(g, again);
    assert_memory_equal(h, again, n * sizeof *h); /* nothing is left to take off */
    free(again);
    free(h);
    free(reversed);
    nh_graph_free(g);

    g = crystal(1);
    h = copy(g, g->matrix[NH_H0]);
    nh_time_reversal_average(g, h);
    for (size_t i = 0; i < 2 * g->pairs.n_elem; i++)
        assert_true(h[i] == (i % 2 ? 0 : g->matrix[NH_H0][i]));
    free(h);
    nh_graph_free(g);
}

/* The vector of the mean is the vector with the odd numbers 0. */
static void average_of_a_vector(void **state)
{
    (void)state;
    nh_graph *g = crystal(4);
    nh_embedding *e;
    nh_selection s;
    size_t slot[8];
    OK(nh_embedding_new(5, (const int[]){0, 0, 1, 1, 2}, &e, &err));
    OK(nh_embedding_slots(e, &g->structure, slot, &err));
    OK(nh_selection_new(e, NH_PART_ALL, NULL, &s, &err));
    const size_t dim = s.irreps.dim, n = 9;
    size_t edge[9];
    for (size_t i = 0; i < n; i++)
        edge[i] = i * g->pairs.count / n;
    bool *even = calloc(dim, sizeof *even);
    double *a = calloc(n * dim, sizeof *a), *b = calloc(n * dim, sizeof *b), *h = copy(g, g->matrix[NH_H0]);
    nh_selection_time_even(e, &s, even);
    nh_edges_to_irreps(&(nh_transform){e, &s, &g->structure, slot}, g, h, n, edge, 1, NULL, a);
    nh_time_reversal_average(g, h);
    nh_edges_to_irreps(&(nh_transform){e, &s, &g->structure, slot}, g, h, n, edge, 1, NULL, b);
    size_t count = 0;
    for (size_t i = 0; i < n * dim; i++) {
        assert_true(fabs(b[i] - (even[i % dim] ? a[i] : 0)) < 1e-13);
        count += fabs(a[i]) > 0 && !even[i % dim];
    }
    assert_true(count > n * 100);
    free(even);
    free(a);
    free(b);
    free(h);
    nh_selection_free(&s);
    nh_embedding_free(e);
    nh_graph_free(g);
}

static nh_model *model(const char *rule)
{
    char text[512];
    snprintf(text, sizeof text,
             "basis: 2s1p1d\nsh_lmax: 3\nmid: 4x0e+2x1o+2x1e+1x2e\nheads: 2\nblocks: 2\n"
             "tracegrad: {hidden: 8, hidden_last: 8, z: 8}\ntrace_head: [8]\nedge_scalars: 4\n"
             "reconstruct: spin-average\nh0: %s\n",
             rule);
    nh_config c;
    nh_model *m;
    OK(nh_config_parse(text, "config", &c, &err));
    OK(nh_model_new(&c, true, &m, &err));
    for (size_t r = 0; r < m->n_range; r++) {
        char prefix[32];
        snprintf(prefix, sizeof prefix, "range%zu:", r);
        OK(nh_weights_rule(&m->params, prefix, &m->weights[r], &err));
    }
    return m;
}

/* A model with the rule on H0 is one without it on the mean; from features too; and H0 itself stays. */
static void rule_of_a_model(void **state)
{
    (void)state;
    for (int n_spin = 1; n_spin <= 4; n_spin += 3) {
        nh_graph *g = crystal(n_spin);
        nh_model *given = model("as-given"), *mean = model("time-reversal");
        const size_t n = 2 * (size_t)n_spin * g->pairs.n_elem;
        double *h0 = copy(g, g->matrix[NH_H0]);
        OK(nh_predict(mean, g, &(nh_predict_options){.precision = NH_DOUBLE, .hermitize = true}, NULL, NULL,
                      NULL, &err));
        assert_memory_equal(h0, g->matrix[NH_H0], n * sizeof *h0);
        double *found = copy(g, g->matrix[NH_H_PRED]);
        OK(nh_predict(given, g, &(nh_predict_options){.precision = NH_DOUBLE, .hermitize = true}, NULL, NULL,
                      NULL, &err));
        double difference = 0;
        for (size_t i = 0; i < n; i++)
            difference = fmax(difference, fabs(found[i] - g->matrix[NH_H_PRED][i]));
        assert_true(difference > 0.1);
        nh_time_reversal_average(g, g->matrix[NH_H0]);
        OK(nh_predict(given, g, &(nh_predict_options){.precision = NH_DOUBLE, .hermitize = true}, NULL, NULL,
                      NULL, &err));
        for (size_t i = 0; i < n; i++)
            assert_true(fabs(found[i] - g->matrix[NH_H_PRED][i]) < 1e-12);

        /* features of the H0 as given */
        memcpy(g->matrix[NH_H0], h0, n * sizeof *h0);
        nh_embedding *e;
        nh_selection s;
        size_t slot[8];
        nh_features *x = g->features = calloc(1, sizeof *x);
        OK(nh_embedding_new(4, (const int[]){0, 0, 1, 2}, &e, &err));
        OK(nh_embedding_slots(e, &g->structure, slot, &err));
        OK(nh_selection_new(e, NH_PART_ALL, NULL, &s, &err));
        x->n_edge = nh_graph_edges(g, 8, NULL);
        x->edge_pair = calloc(x->n_edge, sizeof *x->edge_pair);
        nh_graph_edges(g, 8, x->edge_pair);
        x->n_component = s.irreps.dim;
        x->value_double = calloc(x->n_edge * x->n_component, sizeof(double));
        nh_edges_to_irreps(&(nh_transform){e, &s, &g->structure, slot}, g, h0, x->n_edge, x->edge_pair, 1,
                           NULL, x->value_double);
        x->irreps = nh_irreps_text(&s.irreps);
        x->shell_pairs = nh_selection_text(e, &s);
        OK(nh_predict(mean, g, &(nh_predict_options){.precision = NH_DOUBLE, .hermitize = true}, NULL, NULL,
                      NULL, &err));
        for (size_t i = 0; i < n; i++)
            assert_true(fabs(found[i] - g->matrix[NH_H_PRED][i]) < 1e-12);
        nh_selection_free(&s);
        nh_embedding_free(e);
        free(found);
        free(h0);
        nh_model_free(given);
        nh_model_free(mean);
        nh_graph_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(average_of_a_matrix),
        cmocka_unit_test(average_of_a_vector),
        cmocka_unit_test(rule_of_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
