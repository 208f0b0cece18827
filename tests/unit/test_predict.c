/* From H0 to the corrected Hamiltonian: the official program's numbers, and what must not depend on how the
 * input came. */
#include "golden_graph.h"
#include "made_crystal.h"

#include "base/memory.h"
#include "nextham/embedding.h"
#include "ensemble/predict.h"

#ifndef TEST_DEVICES /* test_kernels_predict.c: on a device */
#define TEST_DEVICES NULL
#endif

static const char SMALL[] =
    "network: nextham-v1\nbasis: 2s1p1d\nmid: 8x0e+4x1o+4x1e+2x2e+2x2o+2x3e+2x3o+2x4e\n"
    "tracegrad: {hidden: 1024, hidden_last: 64, z: 256, scale: 0.2}\n";
/* Fast, for what does not need the official numbers. */
static const char TINY[] =
    "network: nextham-v1\nbasis: 2s1p1d\nsh_lmax: 3\nmid: 4x0e+2x1o+2x1e+1x2e\nheads: 2\nblocks: 2\n"
    "tracegrad: {hidden: 8, hidden_last: 8, z: 8}\ntrace_head: [8]\nedge_scalars: 4\n";

static nh_model *make_model(const char *text, const char *prefix)
{
    nh_config c;
    nh_model *m;
    OK(nh_config_parse(text, "config", &c, &err));
    OK(nh_model_new(&c, true, &m, &err));
    for (size_t r = 0; r < m->n_range; r++) {
        char full[32];
        snprintf(full, sizeof full, "%srange%zu:", prefix, r);
        OK(nh_weights_rule(&m->params, full, &m->weights[r], &err));
    }
    return m;
}

static void predict(const nh_model *m, nh_graph *g, nh_precision precision, bool hermitize,
                    nh_threads *threads)
{
    nh_predict_report report;
    OK(nh_predict(
        m, g, &(nh_predict_options){.precision = precision, .devices = TEST_DEVICES, .hermitize = hermitize},
        threads, &report, NULL, &err));
    /* on a device H0 becomes features there */
    const bool here = TEST_DEVICES == NULL || m->config.input != NH_INPUT_H0 || g->features != NULL;
    assert_true(here == (report.embed > 0));
}

/* Largest difference from the official H_pred, and from H0, over the largest element of the correction. */
static void compare(const golden_graph *x, const double *h_pred, double tolerance)
{
    const nh_graph *g = x->g;
    const size_t n = x->n_orbital;
    double worst = 0, largest = 0, correction = 0;
    for (size_t e = 0; e < x->n_edge; e++)
        for (size_t spin = 0; spin < 4; spin++)
            for (size_t k = 0; k < n * n * 2; k++) {
                const size_t at = 2 * (spin * g->pairs.n_elem + g->pairs.start[x->pair[e]]) + k;
                const double expected = golden_element(x, h_pred, e, spin, k / 2 / n, k / 2 % n, k % 2);
                const double found = g->matrix[NH_H_PRED][at];
                worst = fmax(worst, fabs(found - expected));
                if (isnan(found)) worst = INFINITY;
                largest = fmax(largest, fabs(expected));
                correction = fmax(correction, fabs(expected - g->matrix[NH_H0][at]));
            }
    printf("            H_pred: difference %.1e of H, %.1e of the correction\n", worst / largest,
           worst / correction);
    if (!(worst <= tolerance * fmin(largest, correction)))
        fail_msg("largest difference %g of %g, %g", worst, largest, correction);
}

static void check_golden(const char *file, const char *config, const char *prefix, size_t n_shell,
                         const int *shell_l)
{
    const int nc = golden_open(file);
    golden_graph x = golden_graph_load(nc, n_shell, shell_l);
    double *h_pred = golden_prediction(nc);
    nc_close(nc);
    nh_model *m = make_model(config, prefix);
    predict(m, x.g, NH_DOUBLE, false, NULL);
    compare(&x, h_pred, 1e-10);
    predict(m, x.g, NH_SINGLE, false, NULL);
    compare(&x, h_pred, 5e-5);
    nh_model_free(m);
    free(h_pred);
    golden_graph_free(&x);
}

static void reduced_network(void **state)
{
    (void)state;
    check_golden("network_small.nc", SMALL, "small:", 4, (const int[]){0, 0, 1, 2});
}

static void full_network(void **state)
{
    (void)state;
    check_golden("network_full.nc", "network: nextham-v1", "", 9, (const int[]){0, 0, 0, 0, 1, 1, 2, 2, 3});
}

/* What the complete golden files say of the prediction is what those without H_pred are compared with. */
static void correction_of_the_golden_file(void **state)
{
    (void)state;
    const int nc = golden_open("network_small.nc");
    size_t n_edge;
    const size_t count = golden_count(nc, "H0", &n_edge);
    double *h0 = golden_read(nc, "H0"), *h_pred = golden_read(nc, "H_pred"),
           *d = golden_read(nc, "dH_uu_real");
    const size_t n = 10;
    assert_int_equal(count, n_edge * 8 * n * n);
    for (size_t k = 0; k < count; k++) {
        const size_t row = k / (4 * n) % (2 * n), column = k / 2 % (2 * n), e = k / (8 * n * n);
        const double x = k % 2 == 0 && row / n == column / n ? d[(e * n + row % n) * n + column % n] : 0;
        assert_true(fabs(h_pred[k] - h0[k] - x) < 1e-13);
    }
    free(h0);
    free(h_pred);
    free(d);
    nc_close(nc);
}

/* --- a small crystal of our own --- */

/* A crystal of made_crystal.h with a Hermitian H0. */
static nh_graph *with_h0(nh_graph *g)
{
    double *h0 = made_matrix(g, NH_H0);
    for (size_t p = 0; p < g->pairs.count; p++)
        for (size_t i = 2 * g->pairs.start[p]; i < 2 * g->pairs.start[p + 1]; i++)
            for (size_t s = 0; s < (size_t)g->n_spin; s++)
                h0[2 * s * g->pairs.n_elem + i] =
                    made_number(i + 7919 * s) * exp(-0.3 * g->pairs.distance[p]);
    OK(nh_hermitize(g, h0, &err));
    return g;
}

static nh_graph *crystal(int n_spin)
{
    return with_h0(made_crystal(n_spin, 8.5));
}

static double *copy_prediction(const nh_graph *g)
{
    const size_t count = 2 * (size_t)g->n_spin * g->pairs.n_elem;
    double *copy = malloc(count * sizeof *copy);
    memcpy(copy, g->matrix[NH_H_PRED], count * sizeof *copy);
    return copy;
}

static double difference(const nh_graph *g, const double *a, const double *b)
{
    double worst = 0;
    for (size_t i = 0; i < 2 * (size_t)g->n_spin * g->pairs.n_elem; i++)
        worst = fmax(worst, fabs(a[i] - b[i]));
    return worst;
}

/* The correction sits in the real parts of uu and dd, alike, within the ranges; nothing else moves. */
static void where_the_correction_sits(void **state)
{
    (void)state;
    nh_graph *g = crystal(4);
    nh_model *m = make_model(TINY, "");
    predict(m, g, NH_DOUBLE, false, NULL);
    double inside = 0, within[4] = {0};
    for (size_t p = 0; p < g->pairs.count; p++)
        for (size_t i = 2 * g->pairs.start[p]; i < 2 * g->pairs.start[p + 1]; i++) {
            double d[4];
            for (size_t s = 0; s < 4; s++)
                d[s] = g->matrix[NH_H_PRED][2 * s * g->pairs.n_elem + i] -
                       g->matrix[NH_H0][2 * s * g->pairs.n_elem + i];
            assert_true(d[1] == 0 && d[2] == 0);
            assert_true(fabs(d[0] - d[3]) < 1e-14);
            if (i % 2 == 1 || g->pairs.distance[p] >= 6) assert_true(d[0] == 0 && d[3] == 0);
            inside = fmax(inside, fabs(d[0]));
            for (size_t r = 0; r < 4; r++)
                if (g->pairs.distance[p] >= m->config.range[r][0] &&
                    g->pairs.distance[p] < m->config.range[r][1])
                    within[r] = fmax(within[r], fabs(d[0]));
        }
    assert_true(inside > 1e-3);
    assert_true(within[0] > 0 && within[1] == 0 && within[2] > 0 &&
                within[3] > 0); /* no pair between 1 and 2 Å */
    nh_model_free(m);
    nh_graph_free(g);
}

/* Numbers do not depend on the number of threads, bit for bit. */
static void threads_do_not_matter(void **state)
{
    (void)state;
    nh_graph *g = crystal(4);
    nh_model *m = make_model(TINY, "");
    nh_threads *threads;
    for (int precision = NH_SINGLE; precision <= NH_DOUBLE; precision++) {
        predict(m, g, (nh_precision)precision, true, NULL);
        double *alone = copy_prediction(g);
        OK(nh_threads_new(3, &threads, &err));
        predict(m, g, (nh_precision)precision, true, threads);
        nh_threads_free(threads);
        assert_memory_equal(alone, g->matrix[NH_H_PRED], 8 * g->pairs.n_elem * sizeof(double));
        free(alone);
    }
    nh_model_free(m);
    nh_graph_free(g);
}

/* One predictor for many crystals: the numbers of each alone, bit for bit; weights are packed for a new set
 * of shell pairs only, and again after too many others. */
static void many_crystals(void **state)
{
    (void)state;
    static const struct {
        size_t n_shell[2];
        int shell_l[6];
        size_t packed; /* no pair of these crystals is in the second of the four ranges */
    } crystals[] = {
        {{3, 3}, {0, 0, 1, 0, 1, 2}, 3}, {{3, 3}, {0, 0, 1, 0, 1, 2}, 0}, {{2, 2}, {0, 1, 0, 1}, 3},
        {{2, 1}, {0, 1, 0}, 0},          {{3, 3}, {0, 0, 1, 0, 1, 2}, 0}, {{1, 1}, {0, 0}, 3},
        {{3, 1}, {0, 0, 1, 0}, 3},       {{3, 3}, {0, 0, 1, 0, 1, 2}, 0}, {{2, 1}, {0, 2, 0}, 3},
        {{3, 3}, {0, 0, 1, 0, 1, 2}, 0}, {{2, 2}, {0, 1, 0, 1}, 3},       {{3, 1}, {0, 0, 1, 0}, 0},
    };
    nh_model *m = make_model(TINY, "");
    for (int precision = NH_SINGLE; precision <= NH_DOUBLE; precision++) {
        nh_predictor *p;
        const nh_predict_options o = {
            .precision = (nh_precision)precision, .devices = TEST_DEVICES, .hermitize = true};
        OK(nh_predictor_new(m, &o, &p, &err));
        for (size_t i = 0; i < sizeof crystals / sizeof *crystals; i++) {
            nh_graph *g = with_h0(made_crystal_of(4, 8.5, crystals[i].n_shell, crystals[i].shell_l));
            nh_predict_report report;
            predict(m, g, (nh_precision)precision, true, NULL);
            double *alone = copy_prediction(g);
            OK(nh_predictor_run(p, g, NULL, &report, NULL, &err));
            assert_memory_equal(alone, g->matrix[NH_H_PRED], 8 * g->pairs.n_elem * sizeof(double));
            if (report.n_packed != crystals[i].packed)
                fail_msg("crystal %zu: %zu sub-models packed, %zu expected", i, report.n_packed,
                         crystals[i].packed);
            free(alone);
            nh_graph_free(g);
        }
        nh_predictor_free(p);
    }
    nh_predictor_free(NULL);
    nh_model_free(m);
}

static void hermitian(void **state)
{
    (void)state;
    nh_graph *g = crystal(4);
    double largest;
    static const char *const rules[] = {"uu", "spin-average"};
    for (size_t i = 0; i < 2; i++) {
        char text[1024];
        snprintf(text, sizeof text, "%sreconstruct: %s\n", TINY, rules[i]);
        nh_model *m = make_model(text, "");
        predict(m, g, NH_DOUBLE, false, NULL);
        OK(nh_hermiticity(g, g->matrix[NH_H_PRED], &largest, NULL, &err));
        assert_true(largest > 1e-6);
        predict(m, g, NH_DOUBLE, true, NULL);
        OK(nh_hermiticity(g, g->matrix[NH_H_PRED], &largest, NULL, &err));
        assert_true(largest == 0);
        nh_model_free(m);
    }
    nh_graph_free(g);
}

/* A graph without spin gives what the same graph with uu = dd and ud = du = 0 gives. */
static void without_spin(void **state)
{
    (void)state;
    nh_graph *one = crystal(1), *four = crystal(4);
    nh_model *m = make_model(TINY, "");
    const size_t n = 2 * four->pairs.n_elem;
    memset(four->matrix[NH_H0] + n, 0, 2 * n * sizeof(double));
    memcpy(four->matrix[NH_H0], one->matrix[NH_H0], n * sizeof(double));
    memcpy(four->matrix[NH_H0] + 3 * n, one->matrix[NH_H0], n * sizeof(double));
    predict(m, one, NH_DOUBLE, true, NULL);
    predict(m, four, NH_DOUBLE, true, NULL);
    for (size_t i = 0; i < n; i++) {
        assert_true(one->matrix[NH_H_PRED][i] == four->matrix[NH_H_PRED][i]);
        assert_true(one->matrix[NH_H_PRED][i] == four->matrix[NH_H_PRED][3 * n + i]);
    }
    nh_model_free(m);
    nh_graph_free(one);
    nh_graph_free(four);
}

/* docs/network-v11.md 4: the same physics in two factors gives the same correction in two factors, and the
 * factor is not applied twice. */
static void rydberg_factor(void **state)
{
    (void)state;
    nh_graph *ev = crystal(4), *old = crystal(4);
    char text[1024];
    snprintf(text, sizeof text, "%srydberg: 13.6\n", TINY);
    nh_model *m = make_model(text, "");
    const double factor = 13.6 / NH_RYDBERG;
    const size_t n = 8 * ev->pairs.n_elem;
    for (size_t i = 0; i < n; i++)
        old->matrix[NH_H0][i] *= factor;
    old->rydberg = 13.6;
    predict(m, ev, NH_DOUBLE, false, NULL);
    predict(m, old, NH_DOUBLE, false, NULL);
    for (size_t i = 0; i < n; i++)
        assert_true(fabs(ev->matrix[NH_H_PRED][i] * factor - old->matrix[NH_H_PRED][i]) < 1e-11);
    /* the graph in the model's own factor: as a model without the key sees these numbers */
    nh_model *plain = make_model(TINY, "");
    double *mine = copy_prediction(old);
    old->rydberg = NH_RYDBERG;
    predict(plain, old, NH_DOUBLE, false, NULL);
    assert_true(difference(old, mine, old->matrix[NH_H_PRED]) == 0);
    predict(m, old, NH_DOUBLE, false, NULL); /* and it is not ignored */
    assert_true(difference(old, mine, old->matrix[NH_H_PRED]) > 1e-8);
    free(mine);
    nh_model_free(m);
    nh_model_free(plain);
    nh_graph_free(ev);
    nh_graph_free(old);
}

/* Features of all edges within `cutoff`, as h0embed makes them for the padded basis. */
static void embed(nh_graph *g, size_t n_shell, const int *shell_l, double cutoff)
{
    nh_embedding *e;
    nh_selection s;
    nh_features *x = calloc(1, sizeof *x);
    x->n_edge = nh_graph_edges(g, cutoff, NULL);
    x->edge_pair = calloc(x->n_edge, sizeof *x->edge_pair);
    nh_graph_edges(g, cutoff, x->edge_pair);
    OK(nh_embedding_new(n_shell, shell_l, &e, &err));
    size_t *slot = calloc(g->structure.shell_start[g->structure.n_species], sizeof *slot);
    OK(nh_embedding_slots(e, &g->structure, slot, &err));
    bool *used = calloc(nh_embedding_pairs(e), sizeof *used);
    nh_embedding_used(e, g, slot, x->n_edge, x->edge_pair, used);
    OK(nh_selection_new(e, NH_PART_ALL, used, &s, &err));
    x->n_component = s.irreps.dim;
    x->value_double = calloc(x->n_edge * x->n_component, sizeof(double));
    for (size_t i = 0; i < x->n_edge; i++) {
        const nh_pair *p = &g->pairs.pair[x->edge_pair[i]];
        nh_block_to_irreps(&(nh_transform){e, &s, &g->structure, slot}, g->structure.species[p->src],
                           g->structure.species[p->dst], g->n_spin,
                           g->matrix[NH_H0] + 2 * g->pairs.start[x->edge_pair[i]], 2 * g->pairs.n_elem, 1,
                           x->value_double + i * x->n_component);
    }
    x->irreps = nh_irreps_text(&s.irreps);
    x->shell_pairs = nh_selection_text(e, &s);
    g->features = x;
    free(used);
    free(slot);
    nh_selection_free(&s);
    nh_embedding_free(e);
}

static const int PADDED[] = {0, 0, 1, 2};

static void features_or_h0(void **state)
{
    (void)state;
    nh_graph *g = crystal(4);
    char text[1024];
    snprintf(text, sizeof text, "%srydberg: 13.6\n", TINY);
    nh_model *m = make_model(text, "");
    predict(m, g, NH_DOUBLE, true, NULL);
    double *from_h0 = copy_prediction(g);
    embed(g, 4, PADDED, 8.5); /* more edges than the model's */
    predict(m, g, NH_DOUBLE, true, NULL);
    assert_true(difference(g, from_h0, g->matrix[NH_H_PRED]) < 1e-13);
    size_t onsite = 0;
    while (g->pairs.distance[g->features->edge_pair[onsite]] > 0)
        onsite++;
    g->features->value_double[onsite * g->features->n_component] += 0.1; /* they are really used */
    predict(m, g, NH_DOUBLE, true, NULL);
    assert_true(difference(g, from_h0, g->matrix[NH_H_PRED]) > 1e-8);
    free(from_h0);
    nh_model_free(m);
    nh_graph_free(g);
}

/* Re D: what the prediction has more than `base` in uu. */
static double *uu_correction(const nh_graph *g, const double *base)
{
    double *d = malloc(g->pairs.n_elem * sizeof *d);
    assert_non_null(d);
    for (size_t i = 0; i < g->pairs.n_elem; i++)
        d[i] = g->matrix[NH_H_PRED][2 * i] - (base ? base[2 * i] : 0);
    return d;
}

static double largest_difference(size_t n, const double *a, const double *b)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++)
        worst = fmax(worst, fabs(a[i] - b[i]));
    return worst;
}

/* input: elements: the correction depends on the elements, and on H0 no more. */
static void elements_in_place_of_h0(void **state)
{
    (void)state;
    char text[1024];
    for (int elements = 0; elements < 2; elements++) {
        nh_graph *g = crystal(4);
        const size_t n = g->pairs.n_elem;
        snprintf(text, sizeof text, "%sinput: %s\n", TINY, elements ? "elements" : "h0");
        nh_model *m = make_model(text, "");
        predict(m, g, NH_DOUBLE, false, NULL);
        double *d = uu_correction(g, g->matrix[NH_H0]);
        /* other atoms */
        g->structure.atomic_number[1] = 49;
        predict(m, g, NH_DOUBLE, false, NULL);
        double *other = uu_correction(g, g->matrix[NH_H0]);
        assert_true((largest_difference(n, d, other) > 1e-6) == (elements != 0));
        g->structure.atomic_number[1] = 31;
        /* another H0, in the graph and as features */
        for (size_t i = 0; i < 8 * n; i++)
            g->matrix[NH_H0][i] *= 1 + 0.2 * made_number(i);
        if (elements) embed(g, 4, PADDED, 8);
        predict(m, g, NH_DOUBLE, false, NULL);
        free(other);
        other = uu_correction(g, g->matrix[NH_H0]);
        const double change = largest_difference(n, d, other);
        assert_true(elements ? change < 1e-13 : change > 1e-6);
        free(d);
        free(other);
        nh_model_free(m);
        nh_graph_free(g);
    }
}

/* target: hamiltonian: the network's answer stands in the place of the real parts that it corrects otherwise,
 * and the rest is as before. h0: none: nothing else is there, and no H0 is needed. */
static void targets(void **state)
{
    (void)state;
    char text[1024];
    nh_graph *g = crystal(4);
    const size_t n = g->pairs.n_elem;
    nh_model *m = make_model(TINY, "");
    predict(m, g, NH_DOUBLE, false, NULL);
    double *expected = copy_prediction(g);
    size_t moved = 0;
    for (size_t p = 0; p < g->pairs.count; p++)
        for (size_t i = 2 * g->pairs.start[p]; g->pairs.distance[p] < 6 && i < 2 * g->pairs.start[p + 1];
             i += 2)
            for (size_t s = 0; s < 4; s += 3, moved++)
                expected[2 * s * n + i] -= g->matrix[NH_H0][2 * s * n + i];
    assert_true(moved > 0 && moved < n);
    nh_model_free(m);
    snprintf(text, sizeof text, "%starget: hamiltonian\n", TINY);
    m = make_model(text, "");
    predict(m, g, NH_DOUBLE, false, NULL);
    assert_true(difference(g, expected, g->matrix[NH_H_PRED]) < 1e-13);
    free(expected);
    nh_model_free(m);

    snprintf(text, sizeof text, "%sinput: elements\n", TINY);
    m = make_model(text, "");
    predict(m, g, NH_DOUBLE, false, NULL);
    double *d = uu_correction(g, g->matrix[NH_H0]);
    nh_model_free(m);
    snprintf(text, sizeof text, "%sinput: elements\nh0: none\n", TINY);
    m = make_model(text, "");
    predict(m, g, NH_DOUBLE, true, NULL);
    double *with_h0 = copy_prediction(g);
    predict(m, g, NH_DOUBLE, false, NULL);
    for (size_t i = 0; i < n; i++)
        for (size_t s = 0; s < 4; s++) {
            const double *x = g->matrix[NH_H_PRED] + 2 * (s * n + i);
            assert_true(x[1] == 0 && (s == 0 || s == 3 ? fabs(x[0] - d[i]) < 1e-13 : x[0] == 0));
        }
    free(d);
    free(g->matrix[NH_H0]);
    g->matrix[NH_H0] = NULL;
    predict(m, g, NH_DOUBLE, true, NULL);
    assert_memory_equal(with_h0, g->matrix[NH_H_PRED], 8 * n * sizeof(double));
    free(with_h0);
    nh_model_free(m);
    nh_graph_free(g);
}

static void assert_refused(const nh_model *m, nh_graph *g, const char *expected)
{
    if (!nh_predict(m, g,
                    &(nh_predict_options){.precision = NH_SINGLE, .devices = TEST_DEVICES, .hermitize = true},
                    NULL, NULL, NULL, &err))
        fail_msg("accepted; expected: %s", expected);
    if (!strstr(err.text, expected)) fail_msg("'%s' lacks '%s'", err.text, expected);
}

static void wrong_input(void **state)
{
    (void)state;
    nh_graph *g = crystal(4);
    nh_model *m = make_model(TINY, "");
    g->cutoff = 7.5;
    assert_refused(m, g, "the graph was made with cutoff 7.5 Å, the model needs 8 Å");
    g->cutoff = 8.5;
    double *h0 = g->matrix[NH_H0];
    g->matrix[NH_H0] = NULL;
    assert_refused(m, g, "the graph has no h0");
    char elements[1024];
    snprintf(elements, sizeof elements, "%sinput: elements\ntarget: hamiltonian\n", TINY);
    nh_model *other = make_model(elements, "");
    assert_refused(other, g, "the graph has no h0"); /* what the network does not answer with comes from it */
    nh_model_free(other);
    g->matrix[NH_H0] = h0;
    embed(g, 4, PADDED, 7.5);
    assert_refused(m, g, "no feature for the pair");
    nh_features_free(g->features);
    embed(g, 5, (const int[]){0, 0, 1, 1, 2}, 8);
    assert_refused(m, g, "the features were made for another basis than the model's 2s1p1d");
    nh_features_free(g->features);
    embed(g, 4, PADDED, 8);
    g->features->n_component--;
    assert_refused(m, g, "components");
    nh_features_free(g->features);
    g->features = NULL;
    nh_model_free(m);
    char text[1024];
    snprintf(text, sizeof text, "network: nextham-v1\nbasis: 2s1p\n%s", strstr(TINY, "sh_lmax"));
    m = make_model(text, "");
    assert_refused(m, g, "the model is for another basis: basis of Ga");
    assert_refused(m, g, "2s1p");
    nh_model_free(m);
    nh_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reduced_network),
        cmocka_unit_test(full_network),
        cmocka_unit_test(correction_of_the_golden_file),
        cmocka_unit_test(where_the_correction_sits),
        cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(many_crystals),
        cmocka_unit_test(hermitian),
        cmocka_unit_test(without_spin),
        cmocka_unit_test(rydberg_factor),
        cmocka_unit_test(features_or_h0),
        cmocka_unit_test(elements_in_place_of_h0),
        cmocka_unit_test(targets),
        cmocka_unit_test(wrong_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
