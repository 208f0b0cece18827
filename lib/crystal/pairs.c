#include "crystal/pairs.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>

static int compare(const nh_pair *a, const nh_pair *b)
{
    if (a->src != b->src) return a->src < b->src ? -1 : 1;
    if (a->dst != b->dst) return a->dst < b->dst ? -1 : 1;
    for (int k = 0; k < 3; k++)
        if (a->cell[k] != b->cell[k]) return a->cell[k] < b->cell[k] ? -1 : 1;
    return 0;
}

static int compare_void(const void *a, const void *b)
{
    return compare(a, b);
}

/* Sorted copy: a counting sort by src, then each atom's few pairs by themselves, so that the whole is nearly
 * linear. */
static int sort_pairs(size_t n_atom, size_t count, const nh_pair *pair, nh_pair *sorted, nh_error *err)
{
    size_t *next = NH_ARRAY(size_t, n_atom + 1);
    if (next == NULL) return nh_fail_memory(err, "atom pairs");
    for (size_t p = 0; p < count; p++)
        next[pair[p].src + 1]++;
    for (size_t i = 0; i < n_atom; i++)
        next[i + 1] += next[i];
    for (size_t p = 0; p < count; p++)
        sorted[next[pair[p].src]++] = pair[p];
    for (size_t i = 0, first = 0; i < n_atom; first = next[i++])
        qsort(sorted + first, next[i] - first, sizeof *sorted, compare_void);
    free(next);
    return 0;
}

int nh_pairs_build(const nh_structure *s, size_t count, nh_pair *pair, nh_pairs *out, nh_error *err)
{
    *out = (nh_pairs){0};
    nh_pair *sorted = NULL;
    for (size_t p = 0; p < count; p++)
        if (pair[p].src < 0 || (size_t)pair[p].src >= s->n_atom || pair[p].dst < 0 ||
            (size_t)pair[p].dst >= s->n_atom) {
            nh_fail(err, "pair %zu: atoms %d and %d of %zu", p, pair[p].src, pair[p].dst, s->n_atom);
            goto fail;
        }
    sorted = NH_ARRAY(nh_pair, count);
    if (sorted == NULL) {
        nh_fail_memory(err, "atom pairs");
        goto fail;
    }
    if (sort_pairs(s->n_atom, count, pair, sorted, err)) goto fail;
    free(pair);
    pair = NULL;
    size_t kept = 0;
    for (size_t p = 0; p < count; p++)
        if (kept == 0 || compare(&sorted[kept - 1], &sorted[p]) != 0) sorted[kept++] = sorted[p];

    *out = (nh_pairs){.count = kept, .pair = sorted};
    out->distance = NH_ARRAY(double, kept);
    out->start = NH_ARRAY(size_t, kept + 1);
    if (out->distance == NULL || out->start == NULL) {
        nh_pairs_free(out);
        return nh_fail_memory(err, "atom pairs");
    }
    for (size_t p = 0; p < kept; p++) {
        double v[3];
        nh_pair_vector(s, &sorted[p], v);
        out->distance[p] = sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
        size_t block;
        if (!nh_size_mul(nh_atom_orbitals(s, (size_t)sorted[p].src),
                         nh_atom_orbitals(s, (size_t)sorted[p].dst), &block) ||
            !nh_size_add(out->start[p], block, &out->start[p + 1])) {
            nh_pairs_free(out);
            return nh_fail(err, "the pair blocks have too many elements");
        }
    }
    out->n_elem = out->start[kept];
    return 0;
fail:
    free(pair);
    free(sorted);
    return -1;
}

void nh_pairs_free(nh_pairs *p)
{
    if (p == NULL) return;
    free(p->pair);
    free(p->distance);
    free(p->start);
    *p = (nh_pairs){0};
}

size_t nh_pairs_find(const nh_pairs *p, int src, int dst, const int cell[3])
{
    const nh_pair wanted = {src, dst, {cell[0], cell[1], cell[2]}};
    size_t low = 0, high = p->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = compare(&p->pair[middle], &wanted);
        if (order == 0) return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return SIZE_MAX;
}

void nh_pairs_reverse(const nh_pairs *p, size_t *reverse)
{
    for (size_t i = 0; i < p->count; i++) {
        const nh_pair *q = &p->pair[i];
        reverse[i] = nh_pairs_find(p, q->dst, q->src, (int[3]){-q->cell[0], -q->cell[1], -q->cell[2]});
    }
}

/* Each step changes its sign exactly under (i,j,R) -> (j,i,-R), so both have the same length to the last bit.
 */
void nh_pair_vector(const nh_structure *s, const nh_pair *pair, double v[3])
{
    const double *from = s->position + 3 * (size_t)pair->src;
    const double *to = s->position + 3 * (size_t)pair->dst;
    for (int k = 0; k < 3; k++) {
        const double shift = pair->cell[0] * s->lattice[k] + pair->cell[1] * s->lattice[3 + k] +
                             pair->cell[2] * s->lattice[6 + k];
        v[k] = (to[k] - from[k]) + shift;
    }
}

double nh_round_distance(double r)
{
    return nearbyint(r * 1e8) / 1e8;
}
