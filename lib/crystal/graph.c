#include "crystal/graph.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[NH_N_MATRIX] = {
    [NH_H0] = "h0", [NH_H_LABEL] = "h_label", [NH_H_PRED] = "h_pred"};

void nh_features_free(nh_features *features)
{
    if (features == NULL) return;
    free(features->edge_pair);
    free(features->value);
    free(features->value_double);
    free(features->irreps);
    free(features->shell_pairs);
    free(features);
}

void nh_graph_free(nh_graph *g)
{
    if (g == NULL) return;
    nh_structure_free(&g->structure);
    nh_pairs_free(&g->pairs);
    free(g->overlap);
    free(g->position_matrix);
    for (int m = 0; m < NH_N_MATRIX; m++)
        free(g->matrix[m]);
    nh_features_free(g->features);
    free(g->orbital_hash);
    free(g->pseudo_hash);
    free(g);
}

const char *nh_matrix_name(nh_matrix m)
{
    return names[m];
}

int nh_matrix_from_name(const char *name, nh_matrix *out, nh_error *err)
{
    for (int m = 0; m < NH_N_MATRIX; m++)
        if (strcmp(name, names[m]) == 0) {
            *out = (nh_matrix)m;
            return 0;
        }
    return nh_fail(err, "no matrix is called \"%s\" (h0, h_label, h_pred)", name);
}

size_t nh_graph_edges(const nh_graph *g, double cutoff, size_t *edge)
{
    size_t n = 0;
    for (size_t p = 0; p < g->pairs.count; p++)
        if (nh_round_distance(g->pairs.distance[p]) < cutoff) {
            if (edge != NULL) edge[n] = p;
            n++;
        }
    return n;
}

/* A spin block of a pair seen from both sides: element (a, b) of block (s, t) and its partner, element (b, a)
 * of block (t, s) of the reverse pair. */
typedef struct two_sides {
    bool begun;
    size_t pair, reverse, spin;
    size_t n_src, n_dst;
    size_t here, there; /* first elements */
} two_sides;

/* The next block, from one of zeros on, each once. 1; 0 after the last one; -1 where a pair has no reverse.
 * An on-site pair is its own reverse: its blocks meet each of their elements twice. */
static int next_block(const nh_graph *g, two_sides *t, nh_error *err)
{
    if (t->begun && ++t->spin == (size_t)g->n_spin) {
        t->spin = 0;
        t->pair++;
    }
    for (; t->pair < g->pairs.count; t->pair++) {
        const nh_pair *q = &g->pairs.pair[t->pair];
        if (t->spin == 0)
            t->reverse =
                nh_pairs_find(&g->pairs, q->dst, q->src, (int[3]){-q->cell[0], -q->cell[1], -q->cell[2]});
        if (t->reverse == SIZE_MAX)
            return nh_fail(err, "pair (%d, %d, %d %d %d) has no reverse pair", q->src, q->dst, q->cell[0],
                           q->cell[1], q->cell[2]);
        if (t->reverse < t->pair) continue;
        const size_t transposed = t->spin == 1 ? 2 : t->spin == 2 ? 1 : t->spin;
        t->begun = true;
        t->n_src = nh_atom_orbitals(&g->structure, (size_t)q->src);
        t->n_dst = nh_atom_orbitals(&g->structure, (size_t)q->dst);
        t->here = t->spin * g->pairs.n_elem + g->pairs.start[t->pair];
        t->there = transposed * g->pairs.n_elem + g->pairs.start[t->reverse];
        return 1;
    }
    return 0;
}

int nh_hermiticity(const nh_graph *g, const double *matrix, double *largest, size_t *where, nh_error *err)
{
    double worst = 0;
    size_t place = 0;
    two_sides t = {0};
    int more = 0;
    while (!isnan(worst) && (more = next_block(g, &t, err)) > 0) {
        const double *h = matrix + 2 * t.here, *k = matrix + 2 * t.there;
        for (size_t a = 0; a < t.n_src && !isnan(worst); a++)
            for (size_t b = 0; b < t.n_dst; b++) {
                const double *x = h + 2 * (a * t.n_dst + b), *y = k + 2 * (b * t.n_src + a);
                const double re = x[0] - y[0], im = x[1] + y[1], square = re * re + im * im;
                if (square <= worst) continue; /* a NaN gets through and stays */
                worst = square;
                place = t.pair;
                if (isnan(worst)) break;
            }
    }
    if (more < 0) return -1;
    *largest = sqrt(worst);
    if (where != NULL) *where = place;
    return 0;
}

int nh_hermitize(const nh_graph *g, double *matrix, nh_error *err)
{
    two_sides t = {0};
    int more;
    while ((more = next_block(g, &t, err)) > 0) {
        double *h = matrix + 2 * t.here, *k = matrix + 2 * t.there;
        for (size_t a = 0; a < t.n_src; a++)
            for (size_t b = 0; b < t.n_dst; b++) {
                double *x = h + 2 * (a * t.n_dst + b), *y = k + 2 * (b * t.n_src + a);
                /* On-site blocks meet each element twice; the second time it is Hermitian already. */
                const double re = (x[0] + y[0]) / 2, im = (x[1] - y[1]) / 2;
                x[0] = y[0] = re;
                x[1] = im;
                y[1] = -im;
                if (x == y) x[1] = 0;
            }
    }
    return more;
}

void nh_time_reversal_average(const nh_graph *g, double *matrix)
{
    const size_t n = 2 * g->pairs.n_elem;
    if (g->n_spin == 1) {
        for (size_t i = 1; i < n; i += 2)
            matrix[i] = 0;
        return;
    }
    double *uu = matrix, *ud = uu + n, *du = ud + n, *dd = du + n;
    for (size_t re = 0, im = 1; re < n; re += 2, im += 2) {
        dd[re] = uu[re] = (uu[re] + dd[re]) / 2;
        uu[im] = (uu[im] - dd[im]) / 2;
        dd[im] = -uu[im];
        ud[re] = (ud[re] - du[re]) / 2;
        du[re] = -ud[re];
        du[im] = ud[im] = (ud[im] + du[im]) / 2;
    }
}

double nh_time_reversal_defect(const nh_graph *g, const double *matrix)
{
    const size_t n = 2 * g->pairs.n_elem;
    double largest = 0;
    if (g->n_spin == 1) {
        for (size_t i = 1; i < n; i += 2)
            largest = fmax(largest, 2 * fabs(matrix[i]));
        return largest;
    }
    const double *uu = matrix, *ud = uu + n, *du = ud + n, *dd = du + n;
    for (size_t re = 0, im = 1; re < n; re += 2, im += 2) {
        largest = fmax(largest, hypot(uu[re] - dd[re], uu[im] + dd[im]));
        largest = fmax(largest, hypot(ud[re] + du[re], ud[im] - du[im]));
    }
    return largest;
}
