/* The nonlocal pseudopotential with spin-orbit coupling (docs/h0.md 5):
 *   V = sum_c B_c (D0 + i D.sigma) B_c^T,   B_c[a] = <phi_a|beta_c>,
 * D0 real symmetric, the three matrices of D real antisymmetric. */
#include "lcao/two_centre.h"

#include "base/memory.h"
#include "lcao/two_centre_internal.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS = 4 }; /* D0, D_z, D_x, D_y */

/* An atom that the projectors of c reach; c stands in the home cell. */
typedef struct near_atom {
    int atom, centre;
    int cell[3]; /* of the atom */
    size_t row;  /* its first row in B of c */
} near_atom;

typedef struct nonlocal {
    const nh_two_centre *t;
    const nh_structure *s;
    const nh_pairs *pairs;
    int n_spin;
    size_t parts; /* 4, or 1 without spin */
    nh_integrals **coupling;
    double **d; /* [species][parts][np][np] */
    size_t n_near;
    near_atom *near;           /* c after c, in each by atom */
    size_t *first;             /* [n_atom+1] into near, by c */
    size_t *rows;              /* [n_atom] of B of c */
    size_t *b_start;           /* [n_atom+1] */
    double *b;                 /* [rows of c][np of c], c after c */
    size_t *seen_first, *seen; /* by atom: the places in near where it stands */
    size_t *pair_first;        /* [n_atom+1] the pairs of each atom */
    size_t n_scratch;
    double *scratch; /* [thread][n_scratch] */
    double *v;
    size_t *missing; /* [n_atom] 1: a block is not in the pairs */
} nonlocal;

/* --- the matrices D --------------------------------------------------------------------------------------------- */

static int make_d(const nh_pseudo *p, const nh_radial *beta, size_t parts, double **out, nh_error *err)
{
    enum { LARGEST = 13 };
    const size_t np = beta->n_orbital;
    double *const d = *out = NH_ARRAY(double, parts *np *np);
    if (d == NULL) return nh_fail_memory(err, "projectors");
    for (size_t i = 0; i < p->n_projector; i++)
        for (size_t j = 0; j < p->n_projector; j++) {
            const double dij = p->d[i * p->n_projector + j];
            const int l = p->projector[i].l, n = 2 * l + 1;
            if (dij == 0 || p->projector[j].l != l) continue;
            /* P = scalar + vector L.sigma */
            double scalar = 1, vector = 0;
            if (p->spin_orbit && l > 0) {
                if (fabs(p->projector[i].j - p->projector[j].j) > 0.1) continue;
                const bool up = p->projector[i].j > l;
                scalar = (up ? l + 1 : l) / (double)n;
                vector = (up ? 1 : -1) / (double)n;
            }
            double a[3 * LARGEST * LARGEST];
            nh_angular_momentum(l, a);
            static const int axis[PARTS - 1] = {2, 0, 1};
            for (int m = 0; m < n; m++) {
                double *const row = d + (beta->first[i] + (size_t)m) * np + beta->first[j];
                row[m] = dij * scalar;
                for (size_t part = 1; part < parts; part++)
                    for (int k = 0; k < n; k++)
                        row[part * np * np + (size_t)k] = dij * vector * a[(axis[part - 1] * n + m) * n + k];
            }
        }
    return 0;
}

/* --- B ------------------------------------------------------------------------------------------------------------ */

static int by_centre(const void *a, const void *b)
{
    const near_atom *const x = a, *const y = b;
    if (x->centre != y->centre) return x->centre < y->centre ? -1 : 1;
    if (x->atom != y->atom) return x->atom < y->atom ? -1 : 1;
    for (int k = 0; k < 3; k++)
        if (x->cell[k] != y->cell[k]) return x->cell[k] < y->cell[k] ? -1 : 1;
    return 0;
}

static int find_near(nonlocal *w, nh_error *err)
{
    const nh_structure *const s = w->s;
    const nh_two_centre *const t = w->t;
    w->near = NH_ARRAY(near_atom, w->pairs->count);
    w->first = NH_ARRAY(size_t, s->n_atom + 1);
    w->rows = NH_ARRAY(size_t, s->n_atom);
    w->b_start = NH_ARRAY(size_t, s->n_atom + 1);
    w->seen_first = NH_ARRAY(size_t, s->n_atom + 1);
    w->seen = NH_ARRAY(size_t, w->pairs->count);
    w->pair_first = NH_ARRAY(size_t, s->n_atom + 1);
    if (w->near == NULL || w->first == NULL || w->rows == NULL || w->b_start == NULL ||
        w->seen_first == NULL || w->seen == NULL || w->pair_first == NULL)
        return nh_fail_memory(err, "projectors");
    for (size_t p = 0; p < w->pairs->count; p++) {
        const nh_pair *const q = &w->pairs->pair[p];
        const nh_radial *const beta = &t->projector[s->species[q->dst]];
        double v[3];
        nh_pair_vector_bohr(s, q, v);
        if (beta->n == 0 || sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]) >=
                                t->orbital[s->species[q->src]].radius + beta->radius)
            continue;
        w->near[w->n_near++] = (near_atom){q->src, q->dst, {-q->cell[0], -q->cell[1], -q->cell[2]}, 0};
    }
    qsort(w->near, w->n_near, sizeof *w->near, by_centre);
    for (size_t i = 0; i < w->n_near; i++) {
        near_atom *const a = &w->near[i];
        w->first[a->centre + 1]++;
        w->seen_first[a->atom + 1]++;
        a->row = w->rows[a->centre];
        w->rows[a->centre] += t->orbital[s->species[a->atom]].n_orbital;
    }
    for (size_t p = 0; p < w->pairs->count; p++)
        w->pair_first[w->pairs->pair[p].src + 1]++;
    for (size_t c = 0; c < s->n_atom; c++) {
        w->pair_first[c + 1] += w->pair_first[c];
        w->first[c + 1] += w->first[c];
        w->seen_first[c + 1] += w->seen_first[c];
        size_t size;
        if (!nh_size_mul(w->rows[c], t->projector[s->species[c]].n_orbital, &size) ||
            !nh_size_add(w->b_start[c], size, &w->b_start[c + 1]))
            return nh_fail_memory(err, "projectors");
    }
    size_t *const next = NH_ARRAY(size_t, s->n_atom);
    if (next == NULL) return nh_fail_memory(err, "projectors");
    for (size_t i = 0; i < w->n_near; i++) {
        const size_t a = (size_t)w->near[i].atom;
        w->seen[w->seen_first[a] + next[a]++] = i;
    }
    free(next);
    return 0;
}

static void make_b(void *context, size_t c, int thread)
{
    const nonlocal *const w = context;
    const nh_structure *const s = w->s;
    const size_t np = w->t->projector[s->species[c]].n_orbital;
    double *const work = w->scratch + (size_t)thread * w->n_scratch;
    for (size_t i = w->first[c]; i < w->first[c + 1]; i++) {
        const near_atom *const a = &w->near[i];
        const nh_pair pair = {a->atom, (int)c, {-a->cell[0], -a->cell[1], -a->cell[2]}};
        double v[3];
        nh_pair_vector_bohr(s, &pair, v);
        nh_integrals_block(w->coupling[(size_t)s->species[a->atom] * w->t->n_species + (size_t)s->species[c]],
                           v, w->b + w->b_start[c] + a->row * np, NULL, work);
    }
}

/* --- V ------------------------------------------------------------------------------------------------------------ */

/* Adds the parts x [parts][part] of one block to (a, b, R) and its reverse. */
static void add_block(const nonlocal *w, size_t pair, size_t reverse, size_t rows, size_t columns,
                      const double *x, size_t part)
{
    const size_t n = w->pairs->n_elem;
    double *const here = w->v + 2 * w->pairs->start[pair], *const there = w->v + 2 * w->pairs->start[reverse];
    const bool on_site = pair == reverse;
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++) {
            double y[PARTS] = {0};
            for (size_t k = 0; k < w->parts; k++) {
                y[k] = x[k * part + i * columns + j];
                if (on_site) /* exactly symmetric, antisymmetric */
                    y[k] = 0.5 * (y[k] + (k == 0 ? 1 : -1) * x[k * part + j * columns + i]);
            }
            /* uu = V0 + i Vz, ud = Vy + i Vx, du = -Vy + i Vx, dd = V0 - i Vz; the reverse is the adjoint */
            const double block[4][2] = {{y[0], y[1]}, {y[3], y[2]}, {-y[3], y[2]}, {y[0], -y[1]}};
            static const int adjoint[4] = {0, 2, 1, 3};
            for (int spin = 0; spin < w->n_spin; spin++) {
                double *const to = here + 2 * ((size_t)spin * n + i * columns + j);
                to[0] += block[spin][0];
                to[1] += block[spin][1];
                if (on_site) continue;
                double *const back = there + 2 * ((size_t)spin * n + j * rows + i);
                back[0] += block[adjoint[spin]][0];
                back[1] -= block[adjoint[spin]][1];
            }
        }
}

/* What the projectors of one centre put between `atom`, at the place `a` of near, and all from `atom` on: into sum
 * [parts][part], where the blocks of the atom's pairs stand one after another. */
static void add_centre(nonlocal *w, size_t atom, const near_atom *a, double *scratch, double *sum,
                       size_t part)
{
    const nh_structure *const s = w->s;
    const size_t n_a = w->t->orbital[s->species[atom]].n_orbital,
                 first = w->pairs->start[w->pair_first[atom]];
    const size_t c = (size_t)a->centre, np = w->t->projector[s->species[c]].n_orbital;
    const double *const b = w->b + w->b_start[c], *const d = w->d[s->species[c]];
    double *const bd = scratch, *const x = bd + w->parts * n_a * np;
    for (size_t k = 0; k < w->parts; k++)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n_a, (int)np, (int)np, 1, b + a->row * np,
                    (int)np, d + k * np * np, (int)np, 0, bd + k * n_a * np, (int)np);
    size_t from = w->first[c];
    while ((size_t)w->near[from].atom < atom)
        from++;
    const size_t row = w->near[from].row, width = w->rows[c] - row;
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)(w->parts * n_a), (int)width, (int)np, 1, bd,
                (int)np, b + row * np, (int)np, 0, x, (int)width);
    for (size_t i = from; i < w->first[c + 1]; i++) {
        const near_atom *const other = &w->near[i];
        const int cell[3] = {other->cell[0] - a->cell[0], other->cell[1] - a->cell[1],
                             other->cell[2] - a->cell[2]};
        const size_t pair = nh_pairs_find(w->pairs, a->atom, other->atom, cell);
        if (pair == SIZE_MAX) {
            w->missing[atom] = 1;
            continue;
        }
        const size_t columns = w->t->orbital[s->species[other->atom]].n_orbital;
        for (size_t k = 0; k < w->parts; k++) {
            double *restrict to = sum + k * part + w->pairs->start[pair] - first;
            const double *restrict from_x = x + k * n_a * width + other->row - row;
            for (size_t m = 0; m < n_a; m++, to += columns, from_x += width)
                for (size_t j = 0; j < columns; j++)
                    to[j] += from_x[j];
        }
    }
}

/* All blocks (a, b >= a, R) of one atom a, and their reverse: first summed over the centres, then written once. */
static void add_atom(void *context, size_t atom, int thread)
{
    nonlocal *const w = context;
    const nh_pairs *const pairs = w->pairs;
    const size_t first = w->pair_first[atom], end = w->pair_first[atom + 1];
    const size_t part = pairs->start[end] - pairs->start[first];
    double *const sum = w->scratch + (size_t)thread * w->n_scratch, *const scratch = sum + w->parts * part;
    memset(sum, 0, w->parts * part * sizeof *sum);
    for (size_t k = w->seen_first[atom]; k < w->seen_first[atom + 1]; k++)
        add_centre(w, atom, &w->near[w->seen[k]], scratch, sum, part);
    const size_t rows = w->t->orbital[w->s->species[atom]].n_orbital;
    for (size_t p = first; p < end; p++) {
        const nh_pair *const q = &pairs->pair[p];
        if ((size_t)q->dst < atom) continue;
        const size_t reverse =
            nh_pairs_find(pairs, q->dst, q->src, (int[3]){-q->cell[0], -q->cell[1], -q->cell[2]});
        if (reverse == SIZE_MAX)
            w->missing[atom] = 1;
        else if (p <= reverse)
            add_block(w, p, reverse, rows, w->t->orbital[w->s->species[q->dst]].n_orbital,
                      sum + pairs->start[p] - pairs->start[first], part);
    }
}

static int prepare(nonlocal *w, nh_threads *threads, nh_error *err)
{
    const nh_two_centre *const t = w->t;
    size_t n_orbital = 0, np = 0, rows = 0, numbers;
    if ((w->d = NH_ARRAY(double *, t->n_species)) == NULL ||
        (w->missing = NH_ARRAY(size_t, w->s->n_atom)) == NULL)
        return nh_fail_memory(err, "projectors");
    for (size_t i = 0; i < t->n_species; i++) {
        if (make_d(&t->species[i].pseudo, &t->projector[i], w->parts, &w->d[i], err)) return -1;
        if (t->orbital[i].n_orbital > n_orbital) n_orbital = t->orbital[i].n_orbital;
        if (t->projector[i].n_orbital > np) np = t->projector[i].n_orbital;
    }
    if (find_near(w, err) || nh_species_integrals_new(t, w->s, w->pairs, t->orbital, t->projector, false,
                                                      false, threads, &w->coupling, err))
        return -1;
    for (size_t c = 0; c < w->s->n_atom; c++)
        if (w->rows[c] > rows) rows = w->rows[c];
    size_t blocks = 0; /* elements of an atom's pairs, at most */
    for (size_t a = 0; a < w->s->n_atom; a++) {
        const size_t n = w->pairs->start[w->pair_first[a + 1]] - w->pairs->start[w->pair_first[a]];
        if (n > blocks) blocks = n;
    }
    w->n_scratch = w->parts * (n_orbital * (np + rows) + blocks);
    if (nh_species_integrals_work(w->coupling, t->n_species) > w->n_scratch)
        w->n_scratch = nh_species_integrals_work(w->coupling, t->n_species);
    if (nh_size_mul((size_t)nh_threads_count(threads), w->n_scratch, &numbers))
        w->scratch = NH_ARRAY(double, numbers);
    w->b = NH_ARRAY(double, w->b_start[w->s->n_atom]);
    return w->scratch != NULL && w->b != NULL ? 0 : nh_fail_memory(err, "projectors");
}

int nh_nonlocal_add(const nh_two_centre *t, const nh_structure *s, const nh_pairs *pairs, int n_spin,
                    double *v, nh_threads *threads, nh_error *err)
{
    nonlocal w = {.t = t, .s = s, .pairs = pairs, .n_spin = n_spin, .parts = n_spin == 1 ? 1 : PARTS, .v = v};
    int status =
        t->projector != NULL ? prepare(&w, threads, err) : nh_fail(err, "no tables of the projectors");
    if (status == 0) {
        nh_parallel_for(threads, s->n_atom, make_b, &w);
        nh_parallel_for(threads, s->n_atom, add_atom, &w);
        for (size_t a = 0; a < s->n_atom && status == 0; a++)
            if (w.missing[a] != 0)
                status =
                    nh_fail(err, "atom %zu: projectors couple it to one that is in none of its pairs", a + 1);
    }
    nh_species_integrals_free(w.coupling, t->n_species);
    for (size_t i = 0; w.d != NULL && i < t->n_species; i++)
        free(w.d[i]);
    free(w.d);
    free(w.near);
    free(w.first);
    free(w.rows);
    free(w.b_start);
    free(w.b);
    free(w.seen_first);
    free(w.seen);
    free(w.pair_first);
    free(w.scratch);
    free(w.missing);
    return status;
}
