#include "crystal/neighbours.h"
#include "lcao/two_centre.h"

#include "base/memory.h"
#include "lcao/two_centre_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PAIRS = 16 }; /* that a thread takes at once */

int nh_two_centre_new(const nh_two_centre_task *task, nh_two_centre **out, nh_error *err)
{
    *out = NULL;
    nh_two_centre *const t = NH_ARRAY(nh_two_centre, 1);
    if (t == NULL) return nh_fail_memory(err, "two-centre integrals");
    *t = (nh_two_centre){.n_species = task->n_species, .species = task->species};
    double radius = 0, other = 0;
    int lmax = 0, lmax_other = 0;
    for (size_t i = 0; i < task->n_species; i++) {
        const nh_orbital_set *const o = &task->species[i].orbital;
        radius = fmax(radius, nh_orbital_radius(o));
        if (task->projectors) other = fmax(other, nh_projector_radius(&task->species[i].pseudo));
        for (size_t k = 0; k < o->n_shell; k++)
            if (o->l[k] > lmax) lmax = o->l[k];
        for (size_t k = 0; task->projectors && k < task->species[i].pseudo.n_projector; k++)
            if (task->species[i].pseudo.projector[k].l > lmax_other)
                lmax_other = task->species[i].pseudo.projector[k].l;
    }
    if (lmax_other < lmax + 1) lmax_other = lmax + 1; /* orbitals times r */
    t->mesh = nh_q_mesh_for(radius + fmax(radius, other));
    t->orbital = NH_ARRAY(nh_radial, t->n_species);
    if (task->projectors) t->projector = NH_ARRAY(nh_radial, t->n_species);
    int status = t->orbital != NULL && (!task->projectors || t->projector != NULL)
                     ? nh_gaunt_new(lmax > 1 ? lmax : 1, lmax_other, &t->gaunt, err)
                     : nh_fail_memory(err, "two-centre integrals");
    for (size_t i = 0; i < t->n_species && status == 0; i++) {
        status = nh_radial_orbitals(&t->species[i].orbital, t->mesh, task->threads, &t->orbital[i], err);
        if (status == 0 && task->projectors)
            status =
                nh_radial_projectors(&t->species[i].pseudo, t->mesh, task->threads, &t->projector[i], err);
    }
    if (status != 0) {
        nh_two_centre_free(t);
        return -1;
    }
    *out = t;
    return 0;
}

void nh_two_centre_free(nh_two_centre *t)
{
    if (t == NULL) return;
    for (size_t i = 0; t->orbital != NULL && i < t->n_species; i++)
        nh_radial_free(&t->orbital[i]);
    for (size_t i = 0; t->projector != NULL && i < t->n_species; i++)
        nh_radial_free(&t->projector[i]);
    free(t->orbital);
    free(t->projector);
    nh_gaunt_free(&t->gaunt);
    free(t);
}

/* --- pairs --------------------------------------------------------------------------------------------------- */

void nh_pair_vector_bohr(const nh_structure *s, const nh_pair *pair, double v[3])
{
    nh_pair_vector(s, pair, v);
    for (int k = 0; k < 3; k++)
        v[k] /= NH_BOHR;
}

static double length(const double v[3])
{
    return sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
}

typedef struct pair_list {
    size_t count, room;
    nh_pair *pair;
} pair_list;

static int append(pair_list *list, const nh_pair *pair, nh_error *err)
{
    if (!nh_grow(&list->pair, &list->room, list->count + 1, sizeof *pair))
        return nh_fail_memory(err, "atom pairs");
    list->pair[list->count++] = *pair;
    return 0;
}

static int by_destination(const void *a, const void *b)
{
    const nh_pair *const x = a, *const y = b;
    return x->dst != y->dst ? (x->dst < y->dst ? -1 : 1) : 0;
}

/* All pairs (a, b) of the atoms around each c whose projectors reach them: near (a, c, R), sorted by c. */
static int couple(size_t count, const nh_pair *near, pair_list *list, nh_error *err)
{
    for (size_t first = 0, end; first < count; first = end) {
        for (end = first; end < count && near[end].dst == near[first].dst;)
            end++;
        for (size_t i = first; i < end; i++)
            for (size_t j = first; j < end; j++) {
                const nh_pair *const a = &near[i], *const b = &near[j]; /* b is in cell -R_b, seen from c */
                const nh_pair pair = {
                    a->src,
                    b->src,
                    {a->cell[0] - b->cell[0], a->cell[1] - b->cell[1], a->cell[2] - b->cell[2]}};
                if (append(list, &pair, err)) return -1;
            }
    }
    return 0;
}

int nh_lcao_pairs(const nh_structure *s, const nh_species *species, size_t *count, nh_pair **pair,
                  nh_error *err)
{
    *count = 0;
    *pair = NULL;
    double radius = 0, other = 0;
    for (size_t i = 0; i < s->n_species; i++) {
        radius = fmax(radius, nh_orbital_radius(&species[i].orbital));
        other = fmax(other, nh_projector_radius(&species[i].pseudo));
    }
    size_t n;
    nh_pair *found;
    if (nh_neighbours(s, (radius + fmax(radius, other)) * NH_BOHR, &n, &found, err)) return -1;
    pair_list list = {0};
    int status = 0;
    size_t near = 0; /* of orbitals and projectors: kept in front of `found` */
    for (size_t i = 0; i < n && status == 0; i++) {
        const nh_pair q = found[i];
        double v[3];
        nh_pair_vector_bohr(s, &q, v);
        const nh_species *const a = &species[s->species[q.src]], *const b = &species[s->species[q.dst]];
        const double r = length(v), ra = nh_orbital_radius(&a->orbital);
        if (b->pseudo.n_projector > 0 && r < ra + nh_projector_radius(&b->pseudo)) found[near++] = q;
        if (r < ra + nh_orbital_radius(&b->orbital)) status = append(&list, &q, err);
    }
    if (status == 0) {
        qsort(found, near, sizeof *found, by_destination);
        status = couple(near, found, &list, err);
    }
    free(found);
    if (status != 0) {
        free(list.pair);
        return -1;
    }
    *count = list.count;
    *pair = list.pair;
    return 0;
}

int nh_pair_distances(const nh_structure *s, const nh_pairs *pairs, size_t s1, size_t s2, double reach,
                      size_t *count, double **distance, nh_error *err)
{
    *count = 0;
    if ((*distance = NH_ARRAY(double, pairs->count)) == NULL) return nh_fail_memory(err, "distances");
    for (size_t p = 0; p < pairs->count; p++) {
        const nh_pair *const q = &pairs->pair[p];
        if ((size_t)s->species[q->src] != s1 || (size_t)s->species[q->dst] != s2) continue;
        double v[3];
        nh_pair_vector_bohr(s, q, v);
        const double r = length(v);
        if (r < reach) (*distance)[(*count)++] = r;
    }
    return 0;
}

int nh_species_integrals_new(const nh_two_centre *t, const nh_structure *s, const nh_pairs *pairs,
                             const nh_radial *a, const nh_radial *b, bool kinetic, bool half,
                             nh_threads *threads, nh_integrals ***out, nh_error *err)
{
    if ((*out = NH_ARRAY(nh_integrals *, t->n_species * t->n_species)) == NULL)
        return nh_fail_memory(err, "two-centre integrals");
    int status = 0;
    for (size_t i = 0; i < t->n_species && status == 0; i++)
        for (size_t j = half ? i : 0; j < t->n_species && status == 0; j++) {
            nh_integrals_task task = {&a[i], &b[j], &t->gaunt, t->mesh, kinetic, 0, NULL, threads};
            status = nh_pair_distances(s, pairs, i, j, a[i].radius + b[j].radius, &task.n_distance,
                                       &task.distance, err);
            if (status == 0) status = nh_integrals_new(&task, &(*out)[i * t->n_species + j], err);
            free(task.distance);
        }
    if (status != 0) {
        nh_species_integrals_free(*out, t->n_species);
        *out = NULL;
    }
    return status;
}

void nh_species_integrals_free(nh_integrals **c, size_t n_species)
{
    for (size_t i = 0; c != NULL && i < n_species * n_species; i++)
        nh_integrals_free(c[i]);
    free(c);
}

size_t nh_species_integrals_work(nh_integrals **c, size_t n_species)
{
    size_t most = 0;
    for (size_t i = 0; i < n_species * n_species; i++)
        if (c[i] != NULL && nh_integrals_work(c[i]) > most) most = nh_integrals_work(c[i]);
    return most;
}

/* --- overlap and kinetic energy -------------------------------------------------------------------------------- */

typedef struct filling {
    const nh_two_centre *t;
    const nh_structure *s;
    const nh_pairs *pairs;
    nh_integrals **coupling; /* rows of the smaller species */
    const size_t *reverse;
    size_t n_work;
    double *work; /* [thread][n_work] */
    double *overlap, *kinetic;
    /* for the position */
    nh_integrals **moment;
    const nh_radial *moments;
    double *position;
} filling;

/* A block into its pair and, transposed, into the reverse. On site: the mean of both. */
static void put(const filling *f, size_t pair, size_t reverse, bool turned, size_t rows, size_t columns,
                const double *block, double *matrix)
{
    double *const here = matrix + f->pairs->start[pair], *const there = matrix + f->pairs->start[reverse];
    double *const straight = turned ? there : here, *const across = turned ? here : there;
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++) {
            const double x = pair == reverse ? 0.5 * (block[i * columns + j] + block[j * columns + i])
                                             : block[i * columns + j];
            straight[i * columns + j] = x;
            across[j * rows + i] = x;
        }
}

static void fill(void *context, size_t index, int thread)
{
    const filling *const f = context;
    double *const work = f->work + (size_t)thread * f->n_work;
    const size_t end = (index + 1) * PAIRS < f->pairs->count ? (index + 1) * PAIRS : f->pairs->count;
    for (size_t p = index * PAIRS; p < end; p++) {
        if (f->reverse[p] < p) continue;
        const nh_pair *const q = &f->pairs->pair[p];
        size_t a = (size_t)f->s->species[q->src], b = (size_t)f->s->species[q->dst];
        double v[3];
        nh_pair_vector_bohr(f->s, q, v);
        const bool turned = a > b; /* seen from the other atom */
        if (turned) {
            const size_t other = a;
            a = b;
            b = other;
            for (int k = 0; k < 3; k++)
                v[k] = -v[k];
        }
        const size_t rows = f->t->orbital[a].n_orbital, columns = f->t->orbital[b].n_orbital;
        double *const block = work, *const second = block + rows * columns;
        nh_integrals_block(f->coupling[a * f->t->n_species + b], v, block, f->kinetic != NULL ? second : NULL,
                           second + rows * columns);
        if (f->overlap != NULL) put(f, p, f->reverse[p], turned, rows, columns, block, f->overlap);
        if (f->kinetic != NULL) put(f, p, f->reverse[p], turned, rows, columns, second, f->kinetic);
    }
}

/* --- position: r Y_1k Y_lm is a sum of harmonics of l + 1 and l - 1 --------------------------------------------- */

/* to[k][rows][b] += sqrt(4pi/3) sum_m' G(1 k, l m, l' m') <a| r f_b Y_l'm'>, the orbitals of one shell. */
static void add_moment(const nh_gaunt *g, int l, int l_moment, size_t rows, const double *from,
                       size_t from_width, double *const to[3], size_t to_width)
{
    static const int axis[3] = {1, 2, 0}; /* m = -1, 0, 1 is y, z, x */
    const nh_gaunt_term *t;
    const int low = abs(l - 1);
    const size_t n = nh_gaunt_terms(g, 1, l, (l_moment - low) / 2, &t);
    const double scale = sqrt(4 * M_PI / 3);
    for (size_t i = 0; i < n; i++)
        for (size_t row = 0; row < rows; row++)
            to[axis[t[i].m1]][row * to_width + (size_t)t[i].m2] +=
                scale * t[i].value * from[row * from_width + (size_t)t[i].m];
}

static void fill_position(void *context, size_t index, int thread)
{
    const filling *const f = context;
    const nh_structure *const s = f->s;
    double *const work = f->work + (size_t)thread * f->n_work;
    const size_t end = (index + 1) * PAIRS < f->pairs->count ? (index + 1) * PAIRS : f->pairs->count;
    for (size_t p = index * PAIRS; p < end; p++) {
        const nh_pair *const q = &f->pairs->pair[p];
        const size_t a = (size_t)s->species[q->src], b = (size_t)s->species[q->dst];
        const nh_radial *const orbital = &f->t->orbital[b], *const moment = &f->moments[b];
        const size_t rows = f->t->orbital[a].n_orbital, columns = orbital->n_orbital,
                     width = moment->n_orbital;
        double v[3];
        nh_pair_vector_bohr(s, q, v);
        nh_integrals_block(f->moment[a * f->t->n_species + b], v, work, NULL, work + rows * width);
        double *to[3];
        for (int k = 0; k < 3; k++) {
            /* r = (r - r_b) + r_b */
            const double centre = (s->position[3 * (size_t)q->dst + (size_t)k] + q->cell[0] * s->lattice[k] +
                                   q->cell[1] * s->lattice[3 + k] + q->cell[2] * s->lattice[6 + k]) /
                                  NH_BOHR;
            to[k] = f->position + (size_t)k * f->pairs->n_elem + f->pairs->start[p];
            for (size_t i = 0; i < rows * columns; i++)
                to[k][i] = centre * f->overlap[f->pairs->start[p] + i];
        }
        for (size_t shell = 0, m = 0; shell < orbital->n; shell++) {
            double *const at[3] = {to[0] + orbital->first[shell], to[1] + orbital->first[shell],
                                   to[2] + orbital->first[shell]};
            const int l = orbital->l[shell];
            for (int k = l == 0 ? 1 : 2; k > 0; k--, m++) /* l + 1, l - 1 */
                add_moment(&f->t->gaunt, l, moment->l[m], rows, work + moment->first[m], width, at, columns);
        }
    }
}

static int make_position(const nh_two_centre *t, filling *f, nh_threads *threads, nh_error *err)
{
    nh_radial *const moments = NH_ARRAY(nh_radial, t->n_species);
    nh_integrals **coupling = NULL;
    double *work = NULL;
    int status = moments != NULL ? 0 : nh_fail_memory(err, "position");
    size_t block = 0;
    for (size_t i = 0; i < t->n_species && status == 0; i++) {
        status = nh_radial_moments(&t->species[i].orbital, t->mesh, threads, &moments[i], err);
        if (moments[i].n_orbital > block) block = moments[i].n_orbital;
    }
    if (status == 0)
        status = nh_species_integrals_new(t, f->s, f->pairs, t->orbital, moments, false, false, threads,
                                          &coupling, err);
    if (status == 0) {
        f->n_work = block * block + nh_species_integrals_work(coupling, t->n_species);
        work = NH_ARRAY(double, (size_t)nh_threads_count(threads) * f->n_work);
        if (work == NULL) status = nh_fail_memory(err, "position");
    }
    if (status == 0) {
        f->work = work;
        f->moment = coupling;
        f->moments = moments;
        nh_parallel_for(threads, (f->pairs->count + PAIRS - 1) / PAIRS, fill_position, f);
    }
    free(work);
    nh_species_integrals_free(coupling, t->n_species);
    for (size_t i = 0; moments != NULL && i < t->n_species; i++)
        nh_radial_free(&moments[i]);
    free(moments);
    return status;
}

int nh_two_centre_matrices(const nh_two_centre *t, const nh_structure *s, const nh_pairs *pairs,
                           double *overlap, double *kinetic, double *position, nh_threads *threads,
                           nh_error *err)
{
    filling f = {
        .t = t, .s = s, .pairs = pairs, .overlap = overlap, .kinetic = kinetic, .position = position};
    size_t *const reverse = NH_ARRAY(size_t, pairs->count);
    double *own = NULL, *work = NULL;
    size_t block = 0;
    int status = reverse != NULL ? 0 : nh_fail_memory(err, "two-centre integrals");
    if (position != NULL && overlap == NULL) {
        own = NH_ARRAY(double, pairs->n_elem);
        f.overlap = own;
        if (own == NULL) status = nh_fail_memory(err, "the overlap");
    }
    if (status == 0) {
        nh_pairs_reverse(pairs, reverse);
        for (size_t p = 0; p < pairs->count && status == 0; p++)
            if (reverse[p] == SIZE_MAX)
                status = nh_fail(err, "the pair of atoms %d and %d has no reverse", pairs->pair[p].src + 1,
                                 pairs->pair[p].dst + 1);
    }
    if (status == 0)
        status = nh_species_integrals_new(t, s, pairs, t->orbital, t->orbital, kinetic != NULL, true, threads,
                                          &f.coupling, err);
    if (status == 0) {
        for (size_t i = 0; i < t->n_species; i++)
            if (t->orbital[i].n_orbital > block) block = t->orbital[i].n_orbital;
        f.n_work = 2 * block * block + nh_species_integrals_work(f.coupling, t->n_species);
        work = NH_ARRAY(double, (size_t)nh_threads_count(threads) * f.n_work);
        if (work == NULL) status = nh_fail_memory(err, "two-centre integrals");
    }
    if (status == 0) {
        f.work = work;
        f.reverse = reverse;
        nh_parallel_for(threads, (pairs->count + PAIRS - 1) / PAIRS, fill, &f);
        if (position != NULL) status = make_position(t, &f, threads, err);
    }
    nh_species_integrals_free(f.coupling, t->n_species);
    free(reverse);
    free(own);
    free(work);
    return status;
}
