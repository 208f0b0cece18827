#include "lcao/verify.h"

#include "base/memory.h"
#include "lcao/two_centre_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double tolerance = 1e-5; /* programs differ by 1e-7, files in single precision likewise */
static const double telling = 1e-3;   /* blocks smaller than that could be anything */

typedef struct verifying {
    const nh_structure *s;
    const nh_pairs *pairs;
    const nh_species *species;
    const double *given, *made; /* [n_elem] */
    size_t pair;                /* a wrong one, with the largest numbers */
} verifying;

static int check_basis(const nh_structure *s, const nh_species *species, nh_error *err)
{
    for (size_t i = 0; i < s->n_species; i++) {
        const size_t first = s->shell_start[i], n = s->shell_start[i + 1] - first;
        const nh_orbital_set *const o = &species[i].orbital;
        if (n == o->n_shell && memcmp(s->shell_l + first, o->l, n * sizeof *o->l) == 0) continue;
        char *const has = nh_shells_text(n, s->shell_l + first), *const wanted =
                                                                     nh_shells_text(o->n_shell, o->l);
        nh_fail(err, "the basis of %s is %s, its orbital file has %s", nh_element_symbol(s->atomic_number[i]),
                has != NULL ? has : "another", wanted != NULL ? wanted : "other shells");
        free(has);
        free(wanted);
        return -1;
    }
    return 0;
}

static double difference(size_t n, const double *a, const double *b)
{
    double x = 0;
    for (size_t i = 0; i < n; i++)
        x = fmax(x, fabs(a[i] - b[i]));
    return x;
}

static double norm(size_t n, const double *a)
{
    double x = 0;
    for (size_t i = 0; i < n; i++)
        x += a[i] * a[i];
    return sqrt(x);
}

static size_t block_size(const nh_pairs *pairs, size_t p)
{
    return pairs->start[p + 1] - pairs->start[p];
}

/* Blocks of two shells have the right norms everywhere, but the wrong elements: their order or signs. */
static bool other_order(const verifying *v)
{
    const nh_structure *const s = v->s;
    for (size_t p = 0; p < v->pairs->count; p++) {
        const nh_pair *const q = &v->pairs->pair[p];
        const size_t a = (size_t)s->species[q->src], b = (size_t)s->species[q->dst];
        const size_t columns = nh_species_orbitals(s, b);
        size_t row = 0;
        for (size_t i = s->shell_start[a]; i < s->shell_start[a + 1]; i++) {
            const size_t n_row = 2 * (size_t)s->shell_l[i] + 1;
            size_t column = 0;
            for (size_t j = s->shell_start[b]; j < s->shell_start[b + 1]; j++) {
                const size_t n_column = 2 * (size_t)s->shell_l[j] + 1;
                double given = 0, made = 0;
                for (size_t k = 0; k < n_row; k++) {
                    const size_t at = v->pairs->start[p] + (row + k) * columns + column;
                    given = hypot(given, norm(n_column, v->given + at));
                    made = hypot(made, norm(n_column, v->made + at));
                }
                if (fabs(given - made) > tolerance * (double)(n_row * n_column)) return false;
                column += n_column;
            }
            row += n_row;
        }
    }
    return true;
}

/* The cell of the same two atoms that the wrong block belongs to. */
static int other_cell(const verifying *v, nh_threads *threads, bool *found, nh_pair *cell, nh_error *err)
{
    enum { REACH = 2, SIDE = 2 * REACH + 1, CELLS = SIDE * SIDE * SIDE };
    const nh_pair wrong = v->pairs->pair[v->pair];
    const size_t size = block_size(v->pairs, v->pair);
    nh_pair *const pair = NH_ARRAY(nh_pair, 2 * CELLS);
    nh_pairs list;
    if (pair == NULL) return nh_fail_memory(err, "atom pairs");
    for (int i = 0; i < CELLS; i++) {
        nh_pair *const q = &pair[2 * i];
        *q = wrong;
        q->cell[0] += i / (SIDE * SIDE) - REACH;
        q->cell[1] += i / SIDE % SIDE - REACH;
        q->cell[2] += i % SIDE - REACH;
        pair[2 * i + 1] = (nh_pair){q->dst, q->src, {-q->cell[0], -q->cell[1], -q->cell[2]}};
    }
    *found = false;
    if (nh_pairs_build(v->s, 2 * CELLS, pair, &list, err)) return -1;
    double *const made = NH_ARRAY(double, list.n_elem);
    nh_two_centre *t = NULL;
    const nh_two_centre_task task = {v->s->n_species, v->species, false, threads};
    int status = made != NULL ? nh_two_centre_new(&task, &t, err) : nh_fail_memory(err, "an overlap");
    if (status == 0) status = nh_two_centre_matrices(t, v->s, &list, made, NULL, NULL, threads, err);
    for (size_t p = 0; p < list.count && status == 0 && !*found; p++)
        if (list.pair[p].src == wrong.src && list.pair[p].dst == wrong.dst &&
            difference(size, v->given + v->pairs->start[v->pair], made + list.start[p]) < tolerance) {
            *found = true;
            *cell = list.pair[p];
        }
    nh_two_centre_free(t);
    nh_pairs_free(&list);
    free(made);
    return status;
}

/* The pair of other atoms of the same species that the wrong block belongs to, or SIZE_MAX. */
static size_t other_atoms(const verifying *v)
{
    const nh_structure *const s = v->s;
    const nh_pair *const wrong = &v->pairs->pair[v->pair];
    for (size_t p = 0; p < v->pairs->count; p++) {
        const nh_pair *const q = &v->pairs->pair[p];
        if (s->species[q->src] == s->species[wrong->src] && s->species[q->dst] == s->species[wrong->dst] &&
            difference(block_size(v->pairs, p), v->given + v->pairs->start[v->pair],
                       v->made + v->pairs->start[p]) < tolerance)
            return p;
    }
    return SIZE_MAX;
}

static int name_the_fault(const verifying *v, double largest, nh_threads *threads, nh_error *err)
{
    const nh_pair *const p = &v->pairs->pair[v->pair];
    const bool speaks = norm(block_size(v->pairs, v->pair), v->given + v->pairs->start[v->pair]) > telling;
    if (other_order(v))
        return nh_fail(err,
                       "the overlap differs from that of the structure by %.2g, but not in the norms of its "
                       "shells: the orbitals "
                       "of a shell have another order, or other signs",
                       largest);
    bool found = false;
    nh_pair cell = {0};
    if (speaks && other_cell(v, threads, &found, &cell, err)) return -1;
    if (found)
        return nh_fail(err,
                       "the overlap of atoms %d and %d in cell %d %d %d is that of cell %d %d %d: an atom "
                       "stands in another cell than "
                       "the matrices say",
                       p->src + 1, p->dst + 1, p->cell[0], p->cell[1], p->cell[2], cell.cell[0], cell.cell[1],
                       cell.cell[2]);
    const size_t other = speaks ? other_atoms(v) : SIZE_MAX;
    if (other != SIZE_MAX)
        return nh_fail(err,
                       "the overlap of atoms %d and %d in cell %d %d %d is that of atoms %d and %d in cell "
                       "%d %d %d: the atoms are in "
                       "another order",
                       p->src + 1, p->dst + 1, p->cell[0], p->cell[1], p->cell[2],
                       v->pairs->pair[other].src + 1, v->pairs->pair[other].dst + 1,
                       v->pairs->pair[other].cell[0], v->pairs->pair[other].cell[1],
                       v->pairs->pair[other].cell[2]);
    return nh_fail(err,
                   "the overlap differs from that of the structure by %.2g (atoms %d and %d, cell %d %d %d, "
                   "%.3f Å apart): another "
                   "structure, or other orbitals",
                   largest, p->src + 1, p->dst + 1, p->cell[0], p->cell[1], p->cell[2],
                   v->pairs->distance[v->pair]);
}

int nh_overlap_verify(const nh_structure *s, const nh_pairs *pairs, const double *overlap,
                      const nh_species *species, nh_threads *threads, double *largest, nh_error *err)
{
    *largest = 0;
    if (check_basis(s, species, err)) return -1;
    double *const made = NH_ARRAY(double, pairs->n_elem);
    nh_two_centre *t = NULL;
    const nh_two_centre_task task = {s->n_species, species, false, threads};
    int status = made != NULL ? nh_two_centre_new(&task, &t, err) : nh_fail_memory(err, "an overlap");
    if (status == 0) status = nh_two_centre_matrices(t, s, pairs, made, NULL, NULL, threads, err);
    nh_two_centre_free(t);
    verifying v = {s, pairs, species, overlap, made, SIZE_MAX};
    double most = -1;
    for (size_t p = 0; p < pairs->count && status == 0; p++) {
        const size_t n = block_size(pairs, p);
        const double d = difference(n, overlap + pairs->start[p], made + pairs->start[p]);
        *largest = fmax(*largest, d);
        const double size = norm(n, overlap + pairs->start[p]);
        if (!(d <= tolerance) && size > most) {
            most = size;
            v.pair = p;
        }
    }
    if (status == 0 && v.pair != SIZE_MAX) status = name_the_fault(&v, *largest, threads, err);
    free(made);
    return status;
}
