#include "ensemble/floor.h"

#include "base/memory.h"
#include "ensemble/base.h"
#include "nextham/embedding.h"
#include "o3/wigner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* D of a pair of shells is sum_{L,a} d_L[a] C^{l1 l2 L}[m][n][a] (docs/network.md 4.5). The C of different
 * (L,a) are orthogonal, so that the projection acts on each d_L by itself: it keeps the span of an
 * orthonormal list of directions. spin-average: d_L is the entry (L), all or nothing. uu: d_L[a] = A_L[a][0]
 * + A_L[a][z], whose second part is made of the entries (L,J), columns C^{L 1 J}[a][z][.]. */
typedef struct degree {
    int l;
    double *coupling;  /* [2l1+1][2l2+1][2L+1] */
    size_t n;          /* directions kept */
    double *direction; /* [n][2L+1] */
} degree;

typedef struct shell_pair {
    size_t count; /* of L; 0: not made yet */
    degree *degree;
} shell_pair;

typedef struct projection {
    const nh_config *config;
    nh_types types;
    int lmax;
    shell_pair *pair; /* [(lmax+1)^2] by degrees of the shells */
} projection;

/* Whether an output of this irrep can be non-zero. */
static bool reachable(const nh_types *t, int l, int p)
{
    return nh_irreps_count(&t->mid, l, p) > 0 || nh_irreps_count(&t->lift, l, p) > 0;
}

/* Adds v[n] to the orthonormal directions unless it depends on them. */
static void add_direction(degree *d, const double *v)
{
    const size_t n = 2 * (size_t)d->l + 1;
    double *to = d->direction + d->n * n, square = 0;
    memcpy(to, v, n * sizeof *to);
    for (int pass = 0; pass < 2; pass++)
        for (size_t k = 0; k < d->n; k++) {
            double dot = 0;
            for (size_t a = 0; a < n; a++)
                dot += d->direction[k * n + a] * to[a];
            for (size_t a = 0; a < n; a++)
                to[a] -= dot * d->direction[k * n + a];
        }
    for (size_t a = 0; a < n; a++)
        square += to[a] * to[a];
    if (square < 1e-16) return;
    for (size_t a = 0; a < n; a++)
        to[a] /= sqrt(square);
    d->n++;
}

static int make_degree(const projection *q, int l1, int l2, int L, degree *d, nh_error *err)
{
    enum { WIDEST = 2 * NH_LMAX + 1 };
    const size_t n = 2 * (size_t)L + 1;
    const int p = (l1 + l2) % 2 != 0 ? -1 : 1;
    *d = (degree){.l = L,
                  .coupling = NH_ARRAY(double, (size_t)((2 * l1 + 1) * (2 * l2 + 1)) * n),
                  .direction = NH_ARRAY(double, (n + 1) * n)};
    if (d->coupling == NULL || d->direction == NULL) return nh_fail_memory(err, "floor");
    if (nh_wigner3j(l1, l2, L, d->coupling, err) != 0) return -1;
    double v[WIDEST];
    for (size_t a = 0; reachable(&q->types, L, p) && a < n; a++) {
        memset(v, 0, n * sizeof *v);
        v[a] = 1;
        add_direction(d, v);
    }
    if (q->config->reconstruct != NH_RECONSTRUCT_UU) return 0;
    for (int J = abs(L - 1); J <= L + 1; J++) {
        const size_t rows = 2 * (size_t)J + 1, z = 1;
        if (!reachable(&q->types, J, p)) continue;
        double *c = NH_ARRAY(double, n * 3 * rows);
        if (c == NULL) return nh_fail_memory(err, "floor");
        const int status = nh_wigner3j(L, 1, J, c, err);
        for (size_t b = 0; status == 0 && b < rows && d->n < n; b++) {
            for (size_t a = 0; a < n; a++)
                v[a] = c[(a * 3 + z) * rows + b];
            add_direction(d, v);
        }
        free(c);
        if (status != 0) return -1;
    }
    return 0;
}

static void projection_free(projection *q)
{
    const size_t width = (size_t)q->lmax + 1;
    for (size_t i = 0; q->pair != NULL && i < width * width; i++) {
        for (size_t k = 0; k < q->pair[i].count; k++) {
            free(q->pair[i].degree[k].coupling);
            free(q->pair[i].degree[k].direction);
        }
        free(q->pair[i].degree);
    }
    free(q->pair);
    nh_types_free(&q->types);
}

static int projection_new(const nh_config *c, const nh_structure *s, projection *q, nh_error *err)
{
    *q = (projection){.config = c};
    if (nh_types_new(c, &q->types, err) != 0) return -1;
    for (size_t k = 0; k < s->shell_start[s->n_species]; k++)
        if (s->shell_l[k] > q->lmax) q->lmax = s->shell_l[k];
    const size_t width = (size_t)q->lmax + 1;
    q->pair = NH_ARRAY(shell_pair, width * width);
    if (q->pair == NULL) return nh_fail_memory(err, "floor");
    for (int l1 = 0; l1 <= q->lmax; l1++)
        for (int l2 = 0; l2 <= q->lmax; l2++) {
            shell_pair *p = &q->pair[(size_t)l1 * width + (size_t)l2];
            p->degree = NH_ARRAY(degree, (size_t)(l1 + l2 - abs(l1 - l2) + 1));
            if (p->degree == NULL) return nh_fail_memory(err, "floor");
            for (int L = abs(l1 - l2); L <= l1 + l2; L++)
                if (make_degree(q, l1, l2, L, &p->degree[p->count++], err) != 0) return -1;
        }
    return 0;
}

/* The sub-block d [2l1+1][2l2+1], rows `stride` apart, projected in place. */
static void project(const projection *q, int l1, int l2, double *d, size_t stride)
{
    enum { WIDEST = 2 * NH_LMAX + 1 };
    const shell_pair *p = &q->pair[(size_t)l1 * ((size_t)q->lmax + 1) + (size_t)l2];
    const size_t rows = 2 * (size_t)l1 + 1, cols = 2 * (size_t)l2 + 1;
    double sum[WIDEST * WIDEST] = {0};
    for (size_t k = 0; k < p->count; k++) {
        const degree *g = &p->degree[k];
        const size_t n = 2 * (size_t)g->l + 1;
        double x[WIDEST] = {0}, y[WIDEST] = {0};
        for (size_t i = 0; i < rows * cols; i++)
            for (size_t a = 0; a < n; a++)
                x[a] += (double)n * g->coupling[i * n + a] * d[i / cols * stride + i % cols];
        for (size_t v = 0; v < g->n; v++) {
            double dot = 0;
            for (size_t a = 0; a < n; a++)
                dot += g->direction[v * n + a] * x[a];
            for (size_t a = 0; a < n; a++)
                y[a] += dot * g->direction[v * n + a];
        }
        for (size_t i = 0; i < rows * cols; i++)
            for (size_t a = 0; a < n; a++)
                sum[i] += g->coupling[i * n + a] * y[a];
    }
    for (size_t i = 0; i < rows * cols; i++)
        d[i / cols * stride + i % cols] = sum[i];
}

/* y = P x for the block of one pair, row-major. */
static void project_pair(const projection *q, const nh_graph *g, size_t pair, const double *x, double *y)
{
    const nh_structure *s = &g->structure;
    const nh_pair *p = &g->pairs.pair[pair];
    const size_t a = (size_t)s->species[p->src], b = (size_t)s->species[p->dst];
    const size_t n = g->pairs.start[pair + 1] - g->pairs.start[pair], cols = nh_species_orbitals(s, b);
    if (!nh_answered(q->config, nh_round_distance(g->pairs.distance[pair]))) {
        memset(y, 0, n * sizeof *y);
        return;
    }
    memcpy(y, x, n * sizeof *y);
    size_t row = 0;
    for (size_t i = s->shell_start[a]; i < s->shell_start[a + 1]; i++) {
        size_t col = 0;
        for (size_t j = s->shell_start[b]; j < s->shell_start[b + 1]; j++) {
            project(q, s->shell_l[i], s->shell_l[j], y + row * cols + col, cols);
            col += 2 * (size_t)s->shell_l[j] + 1;
        }
        row += 2 * (size_t)s->shell_l[i] + 1;
    }
}

/* d[n_elem] = real mean of uu and dd of target - h. */
static void mean_correction(const nh_graph *g, const double *target, const double *h, double *d)
{
    const size_t dd = g->n_spin == 4 ? 3 * g->pairs.n_elem : 0;
    for (size_t i = 0; i < g->pairs.n_elem; i++)
        d[i] = (target[2 * i] - h[2 * i] + target[2 * (dd + i)] - h[2 * (dd + i)]) / 2;
}

/* The mu for which |(1-P)(d + mu S)| is least, over the pairs that count. */
static double best_shift(const projection *q, const nh_graph *g, const double *d, size_t n_pair,
                         const size_t *pair, double *room)
{
    double ds = 0, ss = 0;
    for (size_t k = 0; g->overlap != NULL && k < n_pair; k++) {
        const size_t p = pair != NULL ? pair[k] : k, start = g->pairs.start[p],
                     n = g->pairs.start[p + 1] - start;
        const double *overlap = g->overlap + start;
        project_pair(q, g, p, overlap, room);
        for (size_t i = 0; i < n; i++) {
            const double rest = overlap[i] - room[i];
            ds += rest * d[start + i]; /* (1-P) is symmetric: once is enough */
            ss += rest * rest;
        }
    }
    return ss > 1e-12 ? -ds / ss : 0;
}

/* The crystal's shells have slots in the basis of the configuration. */
static int check_basis(const nh_config *c, const nh_structure *s, nh_error *err)
{
    nh_embedding *e;
    if (nh_embedding_new(c->n_shell, c->shell_l, &e, err) != 0) return -1;
    size_t *slot = NH_ARRAY(size_t, s->shell_start[s->n_species]);
    const int status = slot != NULL ? nh_embedding_slots(e, s, slot, err) : nh_fail_memory(err, "floor");
    free(slot);
    nh_embedding_free(e);
    return status;
}

int nh_floor(const nh_config *c, const nh_graph *g, const double *h0, const double *reference, size_t n_pair,
             const size_t *pair, double **out, nh_error *err)
{
    const size_t n_elem = g->pairs.n_elem, n = (size_t)g->n_spin * n_elem * 2,
                 dd = g->n_spin == 4 ? 3 * n_elem : 0;
    projection q;
    size_t largest = 0;
    double *d = NULL, *block = NULL;
    int status = -1;
    *out = NULL;
    if (check_basis(c, &g->structure, err) != 0) return -1;
    if (projection_new(c, &g->structure, &q, err) != 0) goto done;
    for (size_t k = 0; k < g->pairs.count; k++)
        if (g->pairs.start[k + 1] - g->pairs.start[k] > largest)
            largest = g->pairs.start[k + 1] - g->pairs.start[k];
    d = NH_ARRAY(double, n_elem);
    block = NH_ARRAY(double, largest);
    *out = NH_ARRAY(double, n);
    if (d == NULL || block == NULL || *out == NULL) {
        nh_fail_memory(err, "floor");
        goto done;
    }
    if (h0 != NULL) memcpy(*out, h0, n * sizeof **out);
    nh_base(c, g, *out);
    mean_correction(g, reference, *out, d);
    const double mu = best_shift(&q, g, d, n_pair, pair, block);
    for (size_t i = 0; g->overlap != NULL && i < n_elem; i++)
        d[i] += mu * g->overlap[i];
    for (size_t k = 0; k < g->pairs.count; k++) {
        const size_t start = g->pairs.start[k];
        project_pair(&q, g, k, d + start, block);
        for (size_t i = 0; i < g->pairs.start[k + 1] - start; i++) {
            (*out)[2 * (start + i)] += block[i];
            if (dd > 0) (*out)[2 * (dd + start + i)] += block[i];
        }
    }
    status = 0;
done:
    if (status != 0) {
        free(*out);
        *out = NULL;
    }
    free(d);
    free(block);
    projection_free(&q);
    return status;
}
