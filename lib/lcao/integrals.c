#include "lcao/integrals.h"

#include "base/memory.h"
#include "lcao/bessel.h"
#include "o3/harmonics.h"
#include "o3/irreps.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    R_BLOCK = 16, /* distances whose integrals a thread makes at once */
    NODES = 8,    /* of the interpolation in the table */
    BEFORE = 3    /* of them below the interval */
};
static const double table_step = 0.01; /* bohr: with eight nodes better than 1e-8 Ry */
static const double same = 1e-10;      /* bohr: distances that differ by less are one */

struct nh_integrals {
    const nh_radial *a, *b;
    const nh_gaunt *gaunt;
    nh_q_mesh mesh;
    int lmax;          /* of L */
    size_t n_integral; /* I_L of all pairs of functions, ordered by L */
    size_t *of_degree; /* [lmax+2] first integral of each L */
    size_t *integral;  /* [a->n][b->n][steps] place of L = |la-lb| + 2 step */
    size_t steps;
    bool exact; /* distance[] are those that occur; else R = (i - BEFORE) table_step */
    size_t n_distance;
    double *distance;
    double *row[2];  /* overlap, kinetic: [n_distance][n_integral]; kinetic may be NULL */
    size_t *angular; /* [la][lb] first of the contracted coefficients, step after step */
    size_t n_angular;
};

/* --- making -------------------------------------------------------------------------------------------------- */

static int least(int a, int b)
{
    return a < b ? a : b;
}

static int number_integrals(nh_integrals *c, nh_error *err)
{
    const nh_radial *const a = c->a, *const b = c->b;
    c->lmax = a->lmax + b->lmax;
    c->steps = (size_t)least(a->lmax, b->lmax) + 1;
    const size_t nl = (size_t)b->lmax + 1;
    c->of_degree = NH_ARRAY(size_t, (size_t)c->lmax + 2);
    c->integral = NH_ARRAY(size_t, a->n * b->n * c->steps);
    c->angular = NH_ARRAY(size_t, ((size_t)a->lmax + 1) * nl);
    if (c->of_degree == NULL || c->integral == NULL || c->angular == NULL)
        return nh_fail_memory(err, "two-centre integrals");
    for (int L = 0; L <= c->lmax; L++) {
        for (size_t i = 0; i < a->n; i++)
            for (size_t j = 0; j < b->n; j++) {
                const int low = abs(a->l[i] - b->l[j]), high = a->l[i] + b->l[j];
                if (L >= low && L <= high && (L - low) % 2 == 0)
                    c->integral[(i * b->n + j) * c->steps + (size_t)(L - low) / 2] = c->n_integral++;
            }
        c->of_degree[L + 1] = c->n_integral;
    }
    for (int la = 0; la <= a->lmax; la++)
        for (int lb = 0; lb <= b->lmax; lb++) {
            c->angular[(size_t)la * nl + (size_t)lb] = c->n_angular;
            c->n_angular += (size_t)((least(la, lb) + 1) * (2 * la + 1) * (2 * lb + 1));
        }
    return 0;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Distances: those that occur where they are few, else a mesh. */
static int choose_distances(nh_integrals *c, const nh_integrals_task *task, nh_error *err)
{
    const double reach = c->a->radius + c->b->radius;
    const size_t table = (size_t)ceil(reach / table_step) + NODES;
    double *const x = task->distance;
    qsort(x, task->n_distance, sizeof *x, ascending);
    size_t different = 0;
    double last = -1;
    for (size_t i = 0; i < task->n_distance && x[i] < reach; i++)
        if (x[i] - last > same) {
            different++;
            last = x[i];
        }
    c->exact = different < table;
    c->n_distance = c->exact ? different : table;
    c->distance = NH_ARRAY(double, c->n_distance);
    if (c->distance == NULL) return nh_fail_memory(err, "two-centre integrals");
    if (!c->exact) {
        for (size_t i = 0; i < table; i++)
            c->distance[i] = ((double)i - BEFORE) * table_step;
        return 0;
    }
    size_t n = 0;
    for (size_t i = 0; i < task->n_distance && x[i] < reach; i++)
        if (n == 0 || x[i] - c->distance[n - 1] > same) c->distance[n++] = x[i];
    return 0;
}

typedef struct making {
    nh_integrals *c;
    const double *q;    /* [mesh.n] */
    const double *f[2]; /* [n_integral][mesh.n] F_a F_b q^2 dq, and times q^2 */
    double *bessel;     /* [thread][(lmax+1) R_BLOCK mesh.n] */
    double *one;        /* [thread][(lmax+1) mesh.n] */
} making;

/* I_L(R) = sum_q (F_a F_b q^2 dq) j_L(qR) of a few R: one matrix product for each L. */
static void make_rows(void *context, size_t index, int thread)
{
    const making *const m = context;
    nh_integrals *const c = m->c;
    const size_t nq = c->mesh.n, degrees = (size_t)c->lmax + 1;
    double *const j = m->bessel + (size_t)thread * degrees * R_BLOCK * nq;
    double *const one = m->one + (size_t)thread * degrees * nq;
    const size_t first = index * R_BLOCK,
                 n = c->n_distance - first < R_BLOCK ? c->n_distance - first : R_BLOCK;
    for (size_t i = 0; i < n; i++) {
        const double r = c->distance[first + i];
        nh_spherical_bessel(c->lmax, fabs(r), nq, m->q, true, one);
        for (size_t L = 0; L < degrees; L++) {
            double *const to = j + (L * R_BLOCK + i) * nq;
            const double sign = r < 0 && L % 2 == 1 ? -1 : 1; /* the table goes on evenly or oddly beyond 0 */
            for (size_t k = 0; k < nq; k++)
                to[k] = sign * one[L * nq + k];
        }
    }
    for (int kind = 0; kind < 2 && c->row[kind] != NULL; kind++)
        for (size_t L = 0; L < degrees; L++) {
            const size_t at = c->of_degree[L], count = c->of_degree[L + 1] - at;
            if (count == 0) continue;
            cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, (int)count, (int)nq, 1,
                        j + L * R_BLOCK * nq, (int)nq, m->f[kind] + at * nq, (int)nq, 0,
                        c->row[kind] + first * c->n_integral + at, (int)c->n_integral);
        }
}

static void make_products(const nh_integrals *c, const double *q, double *f0, double *f1)
{
    const size_t nq = c->mesh.n;
    for (size_t i = 0; i < c->a->n; i++)
        for (size_t j = 0; j < c->b->n; j++)
            for (size_t step = 0; step <= (size_t)least(c->a->l[i], c->b->l[j]); step++) {
                const size_t at = c->integral[(i * c->b->n + j) * c->steps + step];
                const double *const x = c->a->f + i * nq, *const y = c->b->f + j * nq;
                for (size_t k = 0; k < nq; k++) {
                    const double value = x[k] * y[k] * q[k] * q[k] * c->mesh.dq;
                    f0[at * nq + k] = value;
                    if (f1 != NULL) f1[at * nq + k] = value * q[k] * q[k];
                }
            }
}

static int make(nh_integrals *c, bool kinetic, nh_threads *threads, nh_error *err)
{
    const size_t nq = c->mesh.n, degrees = (size_t)c->lmax + 1, n_thread = (size_t)nh_threads_count(threads);
    double *const q = NH_ARRAY(double, nq), *const f0 = NH_ARRAY(double, c->n_integral *nq);
    double *const f1 = kinetic ? NH_ARRAY(double, c->n_integral *nq) : NULL;
    double *const bessel = NH_ARRAY(double, n_thread *degrees *R_BLOCK *nq);
    double *const one = NH_ARRAY(double, n_thread *degrees *nq);
    c->row[0] = NH_ARRAY(double, c->n_distance * c->n_integral);
    if (kinetic) c->row[1] = NH_ARRAY(double, c->n_distance * c->n_integral);
    const bool good = q != NULL && f0 != NULL && bessel != NULL && one != NULL && c->row[0] != NULL &&
                      (!kinetic || (f1 != NULL && c->row[1] != NULL));
    if (good) {
        for (size_t k = 0; k < nq; k++)
            q[k] = (double)k * c->mesh.dq;
        make_products(c, q, f0, f1);
        making m = {c, q, {f0, f1}, bessel, one};
        nh_parallel_for(threads, (c->n_distance + R_BLOCK - 1) / R_BLOCK, make_rows, &m);
    }
    free(q);
    free(f0);
    free(f1);
    free(bessel);
    free(one);
    return good ? 0 : nh_fail_memory(err, "two-centre integrals");
}

int nh_integrals_new(const nh_integrals_task *task, nh_integrals **out, nh_error *err)
{
    *out = NULL;
    nh_integrals *const c = NH_ARRAY(nh_integrals, 1);
    if (c == NULL) return nh_fail_memory(err, "two-centre integrals");
    *c = (nh_integrals){.a = task->a, .b = task->b, .gaunt = task->gaunt, .mesh = task->mesh};
    if (number_integrals(c, err) || choose_distances(c, task, err) ||
        make(c, task->kinetic, task->threads, err)) {
        nh_integrals_free(c);
        return -1;
    }
    *out = c;
    return 0;
}

void nh_integrals_free(nh_integrals *c)
{
    if (c == NULL) return;
    free(c->of_degree);
    free(c->integral);
    free(c->angular);
    free(c->distance);
    free(c->row[0]);
    free(c->row[1]);
    free(c);
}

/* --- using --------------------------------------------------------------------------------------------------- */

size_t nh_integrals_work(const nh_integrals *c)
{
    return c->n_angular + 2 * c->n_integral;
}

/* sum over M of (-1)^((la-lb-L)/2) 4 pi G Y_LM, [2la+1][2lb+1] for each (la, lb, L). */
static void contract_angles(const nh_integrals *c, const double v[3], double *out)
{
    double y[(NH_LMAX + 1) * (NH_LMAX + 1)];
    nh_spherical_harmonics(c->lmax, 1, v, y);
    memset(out, 0, c->n_angular * sizeof *out);
    const double scale = sqrt(4 * M_PI); /* 4 pi, and 1/sqrt(4 pi) of the component normalisation */
    for (int la = 0; la <= c->a->lmax; la++)
        for (int lb = 0; lb <= c->b->lmax; lb++)
            for (int step = 0; step <= least(la, lb); step++) {
                const int L = abs(la - lb) + 2 * step, width = 2 * lb + 1;
                const double sign = (la - lb - L) / 2 % 2 == 0 ? scale : -scale;
                double *const to = out + c->angular[(size_t)(la * (c->b->lmax + 1) + lb)] +
                                   (size_t)(step * (2 * la + 1) * width);
                const nh_gaunt_term *t;
                const size_t n = nh_gaunt_terms(c->gaunt, la, lb, step, &t);
                for (size_t i = 0; i < n; i++)
                    to[t[i].m1 * width + t[i].m2] += sign * t[i].value * y[L * L + t[i].m];
            }
}

/* The integrals at distance r: a row of the table, or interpolated into `space`. */
static const double *integrals(const nh_integrals *c, const double *row, double r, double *space)
{
    if (c->exact) {
        size_t low = 0, high = c->n_distance;
        while (high - low > 1) {
            const size_t middle = low + (high - low) / 2;
            if (c->distance[middle] <= r + 0.5 * same) /* r may have been rounded otherwise */
                low = middle;
            else
                high = middle;
        }
        return row + low * c->n_integral;
    }
    /* Lagrange: nodes 0..NODES-1 around x */
    const double at = r / table_step;
    const size_t cell = (size_t)floor(at); /* the nodes' first row: R = (cell - BEFORE) table_step */
    const double x = at - (double)cell + BEFORE;
    memset(space, 0, c->n_integral * sizeof *space);
    for (int k = 0; k < NODES; k++) {
        double weight = 1;
        for (int other = 0; other < NODES; other++)
            if (other != k) weight *= (x - other) / (k - other);
        const double *const from = row + (cell + (size_t)k) * c->n_integral;
        for (size_t i = 0; i < c->n_integral; i++)
            space[i] += weight * from[i];
    }
    return space;
}

void nh_integrals_block(const nh_integrals *c, const double v[3], double *overlap, double *kinetic,
                        double *work)
{
    const nh_radial *const a = c->a, *const b = c->b;
    const double r = sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
    double *const block[2] = {overlap, kinetic};
    if (r >= a->radius + b->radius) {
        for (int kind = 0; kind < 2; kind++)
            if (block[kind] != NULL) memset(block[kind], 0, a->n_orbital * b->n_orbital * sizeof(double));
        return;
    }
    double *const angle = work;
    contract_angles(c, v, angle);
    for (int kind = 0; kind < 2; kind++) {
        if (block[kind] == NULL || c->row[kind] == NULL) continue;
        const double *const value =
            integrals(c, c->row[kind], r, work + c->n_angular + (size_t)kind * c->n_integral);
        for (size_t i = 0; i < a->n; i++)
            for (size_t j = 0; j < b->n; j++) {
                const int la = a->l[i], lb = b->l[j], width = 2 * lb + 1;
                const size_t size = (size_t)((2 * la + 1) * width);
                const double *const from = angle + c->angular[(size_t)(la * (b->lmax + 1) + lb)];
                const size_t *const place = c->integral + (i * b->n + j) * c->steps;
                double *const to = block[kind] + a->first[i] * b->n_orbital + b->first[j];
                for (int m1 = 0; m1 <= 2 * la; m1++)
                    for (int m2 = 0; m2 < width; m2++) {
                        double sum = 0;
                        for (int step = 0; step <= least(la, lb); step++)
                            sum += from[(size_t)step * size + (size_t)(m1 * width + m2)] * value[place[step]];
                        to[(size_t)m1 * b->n_orbital + (size_t)m2] = sum;
                    }
            }
    }
}
