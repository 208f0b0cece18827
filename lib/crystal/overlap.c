#include "crystal/overlap.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>

static const double some = 1e-4;    /* an overlap that is well inside the orbitals */
static const double nothing = 1e-7; /* what single precision leaves of a zero */

static double largest(const nh_pairs *pairs, size_t p, const double *overlap)
{
    double x = 0;
    for (size_t i = pairs->start[p]; i < pairs->start[p + 1]; i++)
        x = fmax(x, fabs(overlap[i]));
    return x;
}

/* Of the pairs of two species: the furthest that overlaps, the nearest that does not. */
typedef struct extremes {
    size_t inside, outside; /* SIZE_MAX: none */
} extremes;

int nh_overlap_check(const nh_structure *s, const nh_pairs *pairs, const double *overlap, nh_error *err)
{
    const size_t n = s->n_species;
    extremes *const of = NH_ARRAY(extremes, n * n);
    if (of == NULL) return nh_fail_memory(err, "a check of the overlap");
    for (size_t i = 0; i < n * n; i++)
        of[i] = (extremes){SIZE_MAX, SIZE_MAX};
    for (size_t p = 0; p < pairs->count; p++) {
        size_t a = (size_t)s->species[pairs->pair[p].src], b = (size_t)s->species[pairs->pair[p].dst];
        if (a > b) {
            const size_t other = a;
            a = b;
            b = other;
        }
        extremes *const e = &of[a * n + b];
        if (pairs->start[p] == pairs->start[p + 1]) continue; /* no orbitals */
        const double x = largest(pairs, p, overlap), r = pairs->distance[p];
        if (x > some && (e->inside == SIZE_MAX || r > pairs->distance[e->inside])) e->inside = p;
        if (x < nothing && (e->outside == SIZE_MAX || r < pairs->distance[e->outside])) e->outside = p;
    }
    int status = 0;
    for (size_t i = 0; i < n * n && status == 0; i++) {
        const size_t in = of[i].inside, out = of[i].outside;
        if (in == SIZE_MAX || out == SIZE_MAX || !(pairs->distance[out] < pairs->distance[in])) continue;
        const nh_pair *const a = &pairs->pair[in], *const b = &pairs->pair[out];
        status = nh_fail(err,
                         "atoms %d and %d, cell %d %d %d, are %.3f Å apart and do not overlap; atoms %d and "
                         "%d, cell %d %d %d, of "
                         "the same elements, are %.3f Å apart and overlap by %.2g: the overlap belongs to "
                         "another structure, order "
                         "of atoms or convention of cells",
                         b->src + 1, b->dst + 1, b->cell[0], b->cell[1], b->cell[2], pairs->distance[out],
                         a->src + 1, a->dst + 1, a->cell[0], a->cell[1], a->cell[2], pairs->distance[in],
                         largest(pairs, in, overlap));
    }
    free(of);
    return status;
}
