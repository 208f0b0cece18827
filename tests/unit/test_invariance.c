/* Symmetry of the whole network on a real crystal (LiCl, strained and rattled, H0 from ABACUS), standard
 * configuration, four sub-models, double precision, rule weights of docs/network.md 10. docs/network.md
 * 4.6 and 5. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "ensemble/predict.h"
#include "formats/netcdf/graph.h"
#include "nextham/embedding.h"
#include "o3/wigner.h"

#include <complex.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ORBITALS = 27 };

/* What is done to the crystal. */
typedef struct motion {
    const char *name;
    double axis[3], angle; /* rotation; angle 0: none */
    bool inversion;
    double shift[3]; /* Å */
    bool swap;       /* atoms in the opposite order */
    int cell[2][3];  /* lattice vectors by which each atom moves */
} motion;

static nh_model *model; /* cmocka's group state would do too, but every helper needs it */
static nh_graph *crystal;
static nh_threads *threads;

static void check(int status, const nh_error *err)
{
    if (status != 0) fail_msg("%s", err->text);
}

/* A real run on a distorted crystal: at sites of high symmetry the features that symmetry forbids are
 * rounding noise, which each EQLN (x/sqrt(q + 1e-5)) makes 300 times larger, so that no implementation of
 * this network is reproducible there (README, limits). NH_CRYSTAL=graph.nc measures another crystal,
 * NH_CONFIG=config.yaml another network. */
static int load(nh_error *err)
{
    const char *path = getenv("NH_CRYSTAL");
    nh_nc *f;
    if (nh_nc_open(path != NULL ? path : "tests/data/LiCl_rattled.nc", &f, err)) return -1;
    const int status = nh_graph_read(f, NH_WANT_H0, &crystal, err) ||
                       nh_graph_require(crystal, nh_nc_name(f), NH_WANT_H0, err);
    nh_nc_close(f);
    return status;
}

static int set_up(void **state)
{
    (void)state;
    nh_error err;
    const char *path = getenv("NH_CONFIG");
    FILE *f = fopen(path != NULL ? path : "pipelines/standard.yaml", "r");
    if (f == NULL) return -1;
    static char text[8192];
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    nh_config config;
    if (nh_config_parse(text, "standard.yaml", &config, &err) || nh_model_new(&config, true, &model, &err))
        return -1;
    for (size_t r = 0; r < model->n_range; r++)
        if (nh_weights_rule(&model->params,
                            (const char *const[]){"range0:", "range1:", "range2:", "range3:"}[r],
                            &model->weights[r], &err))
            return -1;
    if (load(&err)) {
        print_error("%s\n", err.text);
        return -1;
    }
    return nh_threads_new(2, &threads, &err);
}

static int tear_down(void **state)
{
    (void)state;
    nh_model_free(model);
    nh_graph_free(crystal);
    nh_threads_free(threads);
    return 0;
}

/* --- the crystal moved --- */

static int sign_of(const motion *m, int l)
{
    return m->inversion && l % 2 != 0 ? -1 : 1;
}

/* Orbital rotation of one atom, [n][n]: D_l of its shells, times (-1)^l under inversion. */
static size_t orbital_matrix(const motion *m, const nh_structure *s, int species, double *d)
{
    nh_error err;
    double q[9], dl[15 * 15];
    nh_rotation(m->axis, m->angle, q);
    const size_t n = nh_species_orbitals(s, (size_t)species);
    memset(d, 0, n * n * sizeof *d);
    size_t at = 0;
    for (size_t k = s->shell_start[species]; k < s->shell_start[species + 1]; k++) {
        const int l = s->shell_l[k];
        const size_t width = 2 * (size_t)l + 1;
        check(nh_wigner_d(l, q, dl, &err), &err);
        for (size_t a = 0; a < width; a++)
            for (size_t b = 0; b < width; b++)
                d[(at + a) * n + at + b] = sign_of(m, l) * dl[a * width + b];
        at += width;
    }
    return n;
}

/* to = W from W^dagger for one pair block, all four spin blocks; both are [4][stride][2] at the block's first
 * element. */
static void move_block(const motion *m, const nh_structure *s, int species_src, int species_dst,
                       const double *from, size_t from_stride, double *to, size_t to_stride)
{
    static double da[MAX_ORBITALS * MAX_ORBITALS], db[MAX_ORBITALS * MAX_ORBITALS];
    const size_t na = orbital_matrix(m, s, species_src, da), nb = orbital_matrix(m, s, species_dst, db);
    double raw[8];
    complex double u[2][2], turned[4][MAX_ORBITALS * MAX_ORBITALS], half[MAX_ORBITALS * MAX_ORBITALS];
    nh_rotation_su2(m->axis, m->angle, raw);
    for (int i = 0; i < 4; i++)
        u[i / 2][i % 2] = raw[2 * i] + I * raw[2 * i + 1];
    for (size_t spin = 0; spin < 4; spin++) {
        const double *x = from + 2 * spin * from_stride;
        for (size_t i = 0; i < na; i++)
            for (size_t j = 0; j < nb; j++) {
                half[i * nb + j] = 0;
                for (size_t k = 0; k < na; k++)
                    half[i * nb + j] += da[i * na + k] * (x[2 * (k * nb + j)] + I * x[2 * (k * nb + j) + 1]);
            }
        for (size_t i = 0; i < na; i++)
            for (size_t j = 0; j < nb; j++) {
                turned[spin][i * nb + j] = 0;
                for (size_t k = 0; k < nb; k++)
                    turned[spin][i * nb + j] += half[i * nb + k] * db[j * nb + k];
            }
    }
    for (size_t s1 = 0; s1 < 2; s1++)
        for (size_t s2 = 0; s2 < 2; s2++)
            for (size_t i = 0; i < na * nb; i++) {
                complex double sum = 0;
                for (size_t t1 = 0; t1 < 2; t1++)
                    for (size_t t2 = 0; t2 < 2; t2++)
                        sum += u[s1][t1] * turned[2 * t1 + t2][i] * conj(u[s2][t2]);
                to[2 * ((2 * s1 + s2) * to_stride + i)] = creal(sum);
                to[2 * ((2 * s1 + s2) * to_stride + i) + 1] = cimag(sum);
            }
}

/* The pair of the moved crystal that pair p has become. */
static nh_pair moved_pair(const motion *m, const nh_pair *p)
{
    nh_pair q = *p;
    for (int k = 0; k < 3; k++)
        q.cell[k] += m->cell[p->src][k] - m->cell[p->dst][k];
    if (m->swap) {
        q.src = 1 - p->src;
        q.dst = 1 - p->dst;
    }
    return q;
}

static void move_vector(const motion *m, const double v[3], double out[3])
{
    double q[9];
    nh_rotation(m->axis, m->angle, q);
    for (int i = 0; i < 3; i++)
        out[i] = (m->inversion ? -1 : 1) * (q[3 * i] * v[0] + q[3 * i + 1] * v[1] + q[3 * i + 2] * v[2]);
}

/* The crystal after the motion, with its H0; map[p] is where pair p has gone. */
static nh_graph *moved_crystal(const motion *m, size_t *map)
{
    nh_error err;
    const nh_structure *s = &crystal->structure;
    nh_graph *g = calloc(1, sizeof *g);
    assert_non_null(g);
    check(nh_structure_new(s->n_atom, s->n_species, &g->structure, &err), &err);
    for (size_t k = 0; k < 3; k++)
        move_vector(m, s->lattice + 3 * k, g->structure.lattice + 3 * k);
    for (size_t a = 0; a < s->n_atom; a++) {
        const size_t to = m->swap ? 1 - a : a;
        double r[3];
        for (size_t k = 0; k < 3; k++)
            r[k] = s->position[3 * a + k] + m->cell[a][0] * s->lattice[k] +
                   m->cell[a][1] * s->lattice[3 + k] + m->cell[a][2] * s->lattice[6 + k] + m->shift[k];
        move_vector(m, r, g->structure.position + 3 * to);
        g->structure.species[to] = s->species[a];
    }
    memcpy(g->structure.atomic_number, s->atomic_number, s->n_species * sizeof(int));
    size_t counts[2] = {s->shell_start[1], s->shell_start[2] - s->shell_start[1]};
    check(nh_structure_set_shells(&g->structure, counts, s->shell_l, &err), &err);
    nh_pair *pair = NH_ARRAY(nh_pair, crystal->pairs.count);
    assert_non_null(pair);
    for (size_t p = 0; p < crystal->pairs.count; p++)
        pair[p] = moved_pair(m, &crystal->pairs.pair[p]);
    check(nh_pairs_build(&g->structure, crystal->pairs.count, pair, &g->pairs, &err), &err);
    assert_int_equal(g->pairs.count, crystal->pairs.count);
    g->cutoff = crystal->cutoff;
    g->n_spin = 4;
    g->efermi = g->nelec = NAN;
    g->rydberg = NH_RYDBERG;
    g->matrix[NH_H0] = NH_ARRAY(double, 8 * g->pairs.n_elem);
    assert_non_null(g->matrix[NH_H0]);
    for (size_t p = 0; p < crystal->pairs.count; p++) {
        const nh_pair q = moved_pair(m, &crystal->pairs.pair[p]);
        map[p] = nh_pairs_find(&g->pairs, q.src, q.dst, q.cell);
        assert_true(map[p] != SIZE_MAX);
        move_block(m, s, s->species[crystal->pairs.pair[p].src], s->species[crystal->pairs.pair[p].dst],
                   crystal->matrix[NH_H0] + 2 * crystal->pairs.start[p], crystal->pairs.n_elem,
                   g->matrix[NH_H0] + 2 * g->pairs.start[map[p]], g->pairs.n_elem);
    }
    return g;
}

/* --- the outputs of the network, summed over the sub-models --- */

typedef struct outputs {
    size_t n_edge, *edge_pair;
    size_t dim, n_trace;
    double *ham, *trace; /* edge_ham [n_edge][dim], edge_trace [n_edge][n_trace] */
    nh_selection all;
} outputs;

typedef struct feed {
    const double *features;
    outputs *out;
} feed;

static void source(void *context, size_t first, size_t n, double *out)
{
    const feed *f = context;
    memcpy(out, f->features + first * f->out->dim, n * f->out->dim * sizeof *out);
}

static void sink(void *context, size_t n, const size_t *edge, const double *ham, const double *trace)
{
    outputs *o = ((feed *)context)->out;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < o->dim; k++)
            o->ham[edge[i] * o->dim + k] += ham[i * o->dim + k];
        for (size_t k = 0; k < o->n_trace; k++)
            o->trace[edge[i] * o->n_trace + k] += trace[i * o->n_trace + k];
    }
}

static void run_network(const nh_graph *g, const nh_embedding *emb, const size_t *slot, outputs *o)
{
    nh_error err;
    nh_types types;
    check(nh_types_new(&model->config, &types, &err), &err);
    o->n_edge = nh_graph_edges(g, 8.0, NULL);
    o->edge_pair = NH_ARRAY(size_t, o->n_edge);
    nh_graph_edges(g, 8.0, o->edge_pair);
    bool *used = NH_ARRAY(bool, nh_embedding_pairs(emb));
    nh_embedding_used(emb, g, slot, o->n_edge, o->edge_pair, used);
    check(nh_selection_new(emb, NH_PART_ALL, used, &o->all, &err), &err);
    free(used);
    o->dim = o->all.irreps.dim;
    o->n_trace = types.n_shell_pair;
    o->ham = NH_ARRAY(double, o->n_edge * o->dim);
    o->trace = NH_ARRAY(double, o->n_edge * o->n_trace);
    double *features = NH_ARRAY(double, o->n_edge * o->dim), *vector = NH_ARRAY(double, 3 * o->n_edge),
           *distance = NH_ARRAY(double, o->n_edge);
    int *src = NH_ARRAY(int, o->n_edge), *dst = NH_ARRAY(int, o->n_edge);
    for (size_t e = 0; e < o->n_edge; e++) {
        const nh_pair *p = &g->pairs.pair[o->edge_pair[e]];
        src[e] = p->src;
        dst[e] = p->dst;
        nh_pair_vector(&g->structure, p, vector + 3 * e);
        distance[e] = nh_round_distance(g->pairs.distance[o->edge_pair[e]]);
    }
    nh_edges_to_irreps(&(nh_transform){emb, &o->all, &g->structure, slot}, g, g->matrix[NH_H0], o->n_edge,
                       o->edge_pair, 1.0, threads, features);
    const nh_edges edges = {g->structure.n_atom, o->n_edge, src, dst, vector, distance};
    feed f = {features, o};
    for (size_t r = 0; r < model->n_range; r++) {
        nh_network_d *net;
        check(nh_network_d_new(&model->config, &types, &model->params, &model->weights[r], r, &o->all.irreps,
                               o->all.entry, &o->all.irreps, o->all.entry, true, NH_METHOD_FAST, NULL, &net,
                               &err),
              &err);
        check(nh_network_d_forward(net, &edges, source, &f, sink, &f, false, NULL, threads, NULL, &err),
              &err);
        nh_network_d_free(net);
    }
    free(features);
    free(vector);
    free(distance);
    free(src);
    free(dst);
    nh_types_free(&types);
}

static void outputs_free(outputs *o)
{
    free(o->edge_pair);
    free(o->ham);
    free(o->trace);
    nh_selection_free(&o->all);
}

/* Largest |a - b| over largest |a|, of edges matched by the map; `turn` tells how a row of a is moved before.
 */
typedef struct residuals {
    double ham, trace, block;
} residuals;

static void grow(double *largest, double value)
{
    if (!(value <= *largest)) *largest = value; /* a NaN grows too */
}

/* edge_ham entry by entry with D_l and parity, edge_trace unchanged, the four-spin blocks with W. */
static residuals compare(const motion *m, const nh_graph *g, const size_t *map, const nh_embedding *emb,
                         const size_t *slot, const outputs *a, const outputs *b)
{
    nh_error err;
    double q[9], dl[15 * 15], scale[3] = {0, 0, 0};
    residuals r = {0, 0, 0};
    nh_rotation(m->axis, m->angle, q);
    assert_int_equal(a->n_edge, b->n_edge);
    assert_int_equal(a->dim, b->dim);
    size_t *edge_of = NH_ARRAY(size_t, g->pairs.count); /* edge of each pair of the moved crystal */
    for (size_t e = 0; e < b->n_edge; e++)
        edge_of[b->edge_pair[e]] = e;
    static double before[8 * MAX_ORBITALS * MAX_ORBITALS], after[8 * MAX_ORBITALS * MAX_ORBITALS],
        turned[8 * MAX_ORBITALS * MAX_ORBITALS];
    for (size_t e = 0; e < a->n_edge; e++) {
        const size_t f = edge_of[map[a->edge_pair[e]]];
        const double *x = a->ham + e * a->dim, *y = b->ham + f * b->dim;
        for (size_t k = 0; k < a->all.irreps.count; k++) {
            const nh_irrep *ir = &a->all.irreps.entry[k];
            const size_t width = 2 * (size_t)ir->l + 1;
            check(nh_wigner_d(ir->l, q, dl, &err), &err);
            for (size_t i = 0; i < width; i++) {
                double sum = 0;
                for (size_t j = 0; j < width; j++)
                    sum += dl[i * width + j] * x[ir->offset + j];
                grow(&r.ham, fabs((m->inversion ? ir->p : 1) * sum - y[ir->offset + i]));
                grow(&scale[0], fabs(y[ir->offset + i]));
            }
        }
        for (size_t k = 0; k < a->n_trace; k++) {
            grow(&r.trace, fabs(a->trace[e * a->n_trace + k] - b->trace[f * b->n_trace + k]));
            grow(&scale[1], fabs(a->trace[e * a->n_trace + k]));
        }
        const nh_pair *p = &crystal->pairs.pair[a->edge_pair[e]];
        const int sa = crystal->structure.species[p->src], sb = crystal->structure.species[p->dst];
        const size_t n = nh_species_orbitals(&crystal->structure, (size_t)sa) *
                         nh_species_orbitals(&crystal->structure, (size_t)sb);
        nh_irreps_to_block(&(nh_transform){emb, &a->all, &crystal->structure, slot}, sa, sb, x, before);
        nh_irreps_to_block(&(nh_transform){emb, &b->all, &crystal->structure, slot}, sa, sb, y, after);
        move_block(m, &crystal->structure, sa, sb, before, n, turned, n);
        for (size_t i = 0; i < 8 * n; i++) {
            grow(&r.block, fabs(turned[i] - after[i]));
            grow(&scale[2], fabs(after[i]));
        }
    }
    free(edge_of);
    assert_true(scale[0] > 1e-3 && scale[1] > 1e-3 && scale[2] > 1e-3); /* the network does something */
    return (residuals){r.ham / scale[0], r.trace / scale[1], r.block / scale[2]};
}

/* Breaking of H_pred by the rule: largest |W H_pred W^+ - H_pred of the moved crystal| over the largest
 * correction. */
static double breaking(const motion *m, nh_graph *moved, const size_t *map, nh_reconstruct rule)
{
    nh_error err;
    model->config.reconstruct = rule;
    check(nh_predict(model, crystal, &(nh_predict_options){.precision = NH_DOUBLE, .hermitize = true},
                     threads, NULL, NULL, &err),
          &err);
    check(nh_predict(model, moved, &(nh_predict_options){.precision = NH_DOUBLE, .hermitize = true}, threads,
                     NULL, NULL, &err),
          &err);
    const nh_structure *s = &crystal->structure;
    static double turned[8 * MAX_ORBITALS * MAX_ORBITALS];
    double largest = 0, correction = 0;
    for (size_t p = 0; p < crystal->pairs.count; p++) {
        const nh_pair *pair = &crystal->pairs.pair[p];
        const size_t n = crystal->pairs.start[p + 1] - crystal->pairs.start[p];
        move_block(m, s, s->species[pair->src], s->species[pair->dst],
                   crystal->matrix[NH_H_PRED] + 2 * crystal->pairs.start[p], crystal->pairs.n_elem, turned,
                   n);
        for (size_t spin = 0; spin < 4; spin++)
            for (size_t i = 0; i < 2 * n; i++) {
                const double moved_value =
                    moved->matrix[NH_H_PRED]
                                 [2 * (spin * moved->pairs.n_elem + moved->pairs.start[map[p]]) + i];
                const size_t at = 2 * (spin * crystal->pairs.n_elem + crystal->pairs.start[p]) + i;
                grow(&largest, fabs(turned[2 * spin * n + i] - moved_value));
                grow(&correction, fabs(crystal->matrix[NH_H_PRED][at] - crystal->matrix[NH_H0][at]));
            }
    }
    assert_true(correction > 1e-3);
    return largest / correction;
}

static const motion motions[] = {
    {.name = "rotation", .axis = {0.48, -0.6, 0.64}, .angle = 1.234},
    {.name = "inversion", .axis = {0, 0, 1}, .inversion = true},
    {.name = "translation", .axis = {0, 0, 1}, .shift = {0.37, -1.41, 12.3}},
    {.name = "permutation of the atoms", .axis = {0, 0, 1}, .swap = true},
    {.name = "choice of the cell origin", .axis = {0, 0, 1}, .cell = {{0, 1, -2}, {1, 0, 3}}},
    {.name = "all of them at once",
     .axis = {0.6, 0, 0.8},
     .angle = -2.5,
     .inversion = true,
     .shift = {5, 1, 2},
     .swap = true,
     .cell = {{1, 1, 0}, {-1, 2, 0}}},
};

static void test_motion(void **state)
{
    const motion *const m = *state;
    nh_error err;
    size_t *map = NH_ARRAY(size_t, crystal->pairs.count), slot[12];
    nh_graph *moved = moved_crystal(m, map);
    nh_embedding *emb;
    check(nh_embedding_new(model->config.n_shell, model->config.shell_l, &emb, &err), &err);
    check(nh_embedding_slots(emb, &crystal->structure, slot, &err), &err);
    outputs a, b;
    run_network(crystal, emb, slot, &a);
    run_network(moved, emb, slot, &b);
    const residuals r = compare(m, moved, map, emb, slot, &a, &b);
    const double spin_average = breaking(m, moved, map, NH_RECONSTRUCT_SPIN_AVERAGE);
    const double uu = breaking(m, moved, map, NH_RECONSTRUCT_UU);
    print_message("# %s: edge_ham %.1e, edge_trace %.1e, four-spin block %.1e, H_pred spin-average %.1e, uu "
                  "%.1e (relative)\n",
                  m->name, r.ham, r.trace, r.block, spin_average, uu);
    assert_true(r.ham < 1e-10);
    assert_true(r.trace < 1e-10);
    assert_true(r.block < 1e-10);
    assert_true(spin_average < 1e-10);
    /* The published rule is not covariant under rotations, and is under everything else. */
    if (m->angle != 0)
        assert_true(uu > 1e-3);
    else
        assert_true(uu < 1e-10);
    outputs_free(&a);
    outputs_free(&b);
    nh_embedding_free(emb);
    nh_graph_free(moved);
    free(map);
}

/* Whatever the network says, the written H is exactly Hermitian. */
static void test_hermitian(void **state)
{
    (void)state;
    nh_error err;
    double largest;
    size_t where;
    for (int rule = 0; rule < 2; rule++) {
        model->config.reconstruct = rule == 0 ? NH_RECONSTRUCT_UU : NH_RECONSTRUCT_SPIN_AVERAGE;
        check(nh_predict(model, crystal, &(nh_predict_options){.precision = NH_DOUBLE, .hermitize = true},
                         threads, NULL, NULL, &err),
              &err);
        check(nh_hermiticity(crystal, crystal->matrix[NH_H_PRED], &largest, &where, &err), &err);
        assert_true(largest == 0);
        check(nh_predict(model, crystal, &(nh_predict_options){.precision = NH_DOUBLE}, threads, NULL, NULL,
                         &err),
              &err);
        check(nh_hermiticity(crystal, crystal->matrix[NH_H_PRED], &largest, &where, &err), &err);
        assert_true(largest > 1e-6); /* nothing in the network enforces it (docs/network.md, trap 9) */
    }
}

int main(void)
{
    struct CMUnitTest tests[sizeof motions / sizeof *motions + 1];
    size_t n = 0;
    for (; n < sizeof motions / sizeof *motions; n++)
        tests[n] =
            (struct CMUnitTest){motions[n].name, test_motion, NULL, NULL, (void *)(uintptr_t)&motions[n]};
    tests[n] = (struct CMUnitTest)cmocka_unit_test(test_hermitian);
#ifdef __SANITIZE_ADDRESS__ /* ten times slower: one motion, which is all of them */
    cmocka_set_test_filter("all of them at once");
#endif
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
