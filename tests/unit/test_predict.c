/* From H0 to the corrected Hamiltonian: the official program's numbers, and what must not depend on how the
 * input came. */
#include "made_crystal.h"

#include "base/memory.h"
#include "nextham/embedding.h"
#include "ensemble/predict.h"

#include <netcdf.h>

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

/* --- golden files --- */

static double *get(int file, const char *name, size_t *count)
{
    int id, n, dim[NC_MAX_VAR_DIMS];
    if (nc_inq_varid(file, name, &id)) fail_msg("no variable %s", name);
    nc_inq_var(file, id, NULL, NULL, &n, dim, NULL);
    *count = 1;
    for (int i = 0; i < n; i++) {
        size_t length;
        nc_inq_dimlen(file, dim[i], &length);
        *count *= length;
    }
    double *values = calloc(*count + 1, sizeof *values);
    assert_non_null(values);
    assert_int_equal(nc_get_var_double(file, id, values), 0);
    return values;
}

/* The golden crystal as a graph: every atom with the whole padded basis (zeros at unoccupied positions), m =
 * -l..l order. */
typedef struct golden {
    nh_graph *g;
    size_t n_edge, n_orbital;
    size_t *pair;   /* [n_edge] pair of each golden edge */
    size_t *stored; /* [n_orbital] stored position of each orbital in m order (docs/network.md 4.4) */
    double *h_pred; /* [n_edge][2 n][2 n][2] stored order */
} golden;

static void golden_free(golden *x)
{
    nh_graph_free(x->g);
    free(x->pair);
    free(x->stored);
    free(x->h_pred);
}

/* Element of a golden block [2n][2n][2] in m order. */
static double golden_element(const golden *x, const double *blocks, size_t e, size_t spin, size_t i, size_t j,
                             size_t ri)
{
    const size_t n = x->n_orbital, row = spin / 2 * n + x->stored[i], column = spin % 2 * n + x->stored[j];
    return blocks[((e * 2 * n + row) * 2 * n + column) * 2 + ri];
}

static golden load_golden(const char *path, size_t n_shell, const int *shell_l)
{
    static const int perm[4][7] = {{0}, {1, 2, 0}, {2, 4, 0, 3, 1}, {6, 4, 2, 0, 1, 3, 5}};
    golden x = {0};
    int file;
    size_t n_atom, count;
    if (nc_open(path, NC_NOWRITE, &file)) fail_msg("%s cannot be read", path);
    x.g = calloc(1, sizeof *x.g);
    nh_graph *g = x.g;
    double *lattice = get(file, "lattice", &count), *position = get(file, "positions", &n_atom);
    n_atom /= 3;
    OK(nh_structure_new(n_atom, 1, &g->structure, &err));
    memcpy(g->structure.lattice, lattice, 9 * sizeof *lattice);
    memcpy(g->structure.position, position, 3 * n_atom * sizeof *position);
    free(lattice);
    free(position);
    g->structure.atomic_number[0] = 26;
    OK(nh_structure_set_shells(&g->structure, &n_shell, shell_l, &err));
    for (size_t i = 0; i < n_shell; i++)
        x.n_orbital += (size_t)(2 * shell_l[i] + 1);
    x.stored = calloc(x.n_orbital, sizeof *x.stored);
    for (size_t i = 0, first = 0; i < n_shell; first += (size_t)(2 * shell_l[i++] + 1))
        for (size_t k = 0; k < (size_t)(2 * shell_l[i] + 1); k++)
            x.stored[first + k] = first + (size_t)perm[shell_l[i]][k];
    double *src = get(file, "edge_src", &x.n_edge), *dst = get(file, "edge_dst", &count),
           *cell = get(file, "edge_R", &count);
    nh_pair *pair = calloc(x.n_edge, sizeof *pair), *sorted = calloc(x.n_edge, sizeof *pair);
    for (size_t e = 0; e < x.n_edge; e++)
        pair[e] = (nh_pair){
            (int)src[e], (int)dst[e], {(int)cell[3 * e], (int)cell[3 * e + 1], (int)cell[3 * e + 2]}};
    memcpy(sorted, pair, x.n_edge * sizeof *pair);
    OK(nh_pairs_build(&g->structure, x.n_edge, sorted, &g->pairs, &err));
    assert_int_equal(g->pairs.count, x.n_edge);
    x.pair = calloc(x.n_edge, sizeof *x.pair);
    for (size_t e = 0; e < x.n_edge; e++)
        x.pair[e] = nh_pairs_find(&g->pairs, pair[e].src, pair[e].dst, pair[e].cell);
    free(src);
    free(dst);
    free(cell);
    free(pair);
    g->cutoff = 8;
    g->n_spin = 4;
    g->efermi = g->nelec = NAN;
    g->rydberg = NH_RYDBERG;
    g->matrix[NH_H0] = calloc(8 * g->pairs.n_elem, sizeof(double));
    double *h0 = get(file, "H0", &count);
    const size_t n = x.n_orbital;
    for (size_t e = 0; e < x.n_edge; e++)
        for (size_t spin = 0; spin < 4; spin++)
            for (size_t k = 0; k < n * n * 2; k++)
                g->matrix[NH_H0][2 * (spin * g->pairs.n_elem + g->pairs.start[x.pair[e]]) + k] =
                    golden_element(&x, h0, e, spin, k / 2 / n, k / 2 % n, k % 2);
    free(h0);
    x.h_pred = get(file, "H_pred", &count);
    assert_int_equal(count, x.n_edge * 8 * n * n);
    nc_close(file);
    return x;
}

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
    OK(nh_predict(m, g,
                  &(nh_predict_options){.precision = precision, .devices = TEST_DEVICES,
                                        .hermitize = hermitize}, threads, &report, NULL, &err));
    /* on a device H0 becomes features there */
    const bool here = TEST_DEVICES == NULL || m->config.input != NH_INPUT_H0 || g->features != NULL;
    assert_true(here == (report.embed > 0));
}

/* Largest difference from the official H_pred, and from H0, over the largest element of the correction. */
static void compare(const golden *x, double tolerance)
{
    const nh_graph *g = x->g;
    const size_t n = x->n_orbital;
    double worst = 0, largest = 0, correction = 0;
    for (size_t e = 0; e < x->n_edge; e++)
        for (size_t spin = 0; spin < 4; spin++)
            for (size_t k = 0; k < n * n * 2; k++) {
                const size_t at = 2 * (spin * g->pairs.n_elem + g->pairs.start[x->pair[e]]) + k;
                const double expected = golden_element(x, x->h_pred, e, spin, k / 2 / n, k / 2 % n, k % 2);
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

static void check_golden(const char *path, const char *config, const char *prefix, size_t n_shell,
                         const int *shell_l)
{
    golden x = load_golden(path, n_shell, shell_l);
    nh_model *m = make_model(config, prefix);
    predict(m, x.g, NH_DOUBLE, false, NULL);
    compare(&x, 1e-10);
    predict(m, x.g, NH_SINGLE, false, NULL);
    compare(&x, 5e-5);
    nh_model_free(m);
    golden_free(&x);
}

static void reduced_network(void **state)
{
    (void)state;
    const char *folder = getenv("NH_GOLDEN");
    char path[512];
    snprintf(path, sizeof path, "%s/network_small.nc", folder ? folder : "tests/golden");
    check_golden(path, SMALL, "small:", 4, (const int[]){0, 0, 1, 2});
}

static void full_network(void **state)
{
    (void)state;
    static const char path[] = "../shared/golden/network_full.nc";
    FILE *f = fopen(path, "rb");
    if (!f) skip();
    fclose(f);
    check_golden(path, "network: nextham-v1", "", 9, (const int[]){0, 0, 0, 0, 1, 1, 2, 2, 3});
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
        {{3, 3}, {0, 0, 1, 0, 1, 2}, 3}, {{3, 3}, {0, 0, 1, 0, 1, 2}, 0}, {{2, 2}, {0, 1, 0, 1}, 3}, {{2, 1}, {0, 1, 0}, 0},
        {{3, 3}, {0, 0, 1, 0, 1, 2}, 0}, {{1, 1}, {0, 0}, 3},             {{3, 1}, {0, 0, 1, 0}, 3}, {{3, 3}, {0, 0, 1, 0, 1, 2}, 0},
        {{2, 1}, {0, 2, 0}, 3},          {{3, 3}, {0, 0, 1, 0, 1, 2}, 0}, {{2, 2}, {0, 1, 0, 1}, 3}, {{3, 1}, {0, 0, 1, 0}, 0},
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
                fail_msg("crystal %zu: %zu sub-models packed, %zu expected", i, report.n_packed, crystals[i].packed);
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
        nh_block_to_irreps(e, &s, &g->structure, slot, g->structure.species[p->src],
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
                    &(nh_predict_options){.precision = NH_SINGLE, .devices = TEST_DEVICES,
                                          .hermitize = true}, NULL, NULL, NULL, &err))
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
