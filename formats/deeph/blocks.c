#include "formats/deeph/blocks.h"

#include "base/memory.h"
#include "crystal/neighbours.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { FARTHEST_CELL = 32767 }; /* as in graph.nc */

size_t nh_deeph_orbital(nh_deeph_layout layout, int l, size_t m)
{
    static const unsigned char p[3] = {2, 0, 1}, d[5] = {2, 4, 0, 3, 1}; /* x y z; z2 x2-y2 xy xz yz */
    if (layout == NH_DEEPH_NEW) return m;
    if (l == 1) return p[m];
    if (l == 2) return d[m];
    const size_t step = (m + 1) / 2; /* 0 +1 -1 +2 -2 */
    return m % 2 == 1 ? (size_t)l + step : (size_t)l - step;
}

/* The shells of a species in the order of l: order[i] is the shell that comes i-th. */
static void sort_shells(size_t n, const int *l, size_t *order)
{
    size_t at = 0;
    for (int degree = 0; at < n; degree++)
        for (size_t i = 0; i < n; i++)
            if (l[i] == degree) order[at++] = i;
}

int nh_deeph_set_shells(nh_structure *s, const size_t *count, const int *l, size_t *rank, nh_error *err)
{
    size_t total = 0, first = 0;
    for (size_t i = 0; i < s->n_species; i++)
        total += count[i];
    for (size_t i = 0; i < total; i++)
        if (l[i] < 0 || l[i] > 6) return nh_fail(err, "orbital shell of degree %d (0 to 6 expected)", l[i]);
    int *const sorted = NH_ARRAY(int, total);
    if (sorted == NULL) return nh_fail_memory(err, "the basis");
    for (size_t i = 0; i < s->n_species; first += count[i++]) {
        sort_shells(count[i], l + first, rank + first);
        for (size_t k = 0; k < count[i]; k++)
            sorted[first + k] = l[first + rank[first + k]];
    }
    const int status = nh_structure_set_shells(s, count, sorted, err);
    free(sorted);
    return status;
}

/* place[] of an atom with the n shells l. rank NULL: they stand in the folder as here. */
static void find_places(nh_deeph_layout layout, size_t n, const int *l, const size_t *rank, int *place)
{
    for (size_t i = 0, start = 0; i < n; i++) {
        size_t in_folder = 0; /* orbitals before it there */
        for (size_t k = 0; k < n; k++)
            if (rank != NULL ? rank[k] < rank[i] : k < i) in_folder += 2 * (size_t)l[k] + 1;
        const size_t width = 2 * (size_t)l[i] + 1;
        for (size_t m = 0; m < width; m++)
            place[in_folder + m] = (int)(start + nh_deeph_orbital(layout, l[i], m));
        start += width;
    }
}

int nh_deeph_order_new(const nh_structure *s, nh_deeph_layout layout, const size_t *rank, nh_deeph_order *out,
                       nh_error *err)
{
    *out = (nh_deeph_order){.structure = s};
    if ((out->first = NH_ARRAY(size_t, s->n_atom + 1)) == NULL) return nh_fail_memory(err, "the basis");
    nh_orbital_start(s, out->first);
    if ((out->place = NH_ARRAY(int, out->first[s->n_atom])) == NULL) {
        nh_deeph_order_free(out);
        return nh_fail_memory(err, "the basis");
    }
    for (size_t a = 0; a < s->n_atom; a++) {
        const size_t first = s->shell_start[s->species[a]], n = s->shell_start[s->species[a] + 1] - first;
        find_places(layout, n, s->shell_l + first, rank != NULL ? rank + first : NULL,
                    out->place + out->first[a]);
    }
    return 0;
}

void nh_deeph_order_free(nh_deeph_order *o)
{
    free(o->first);
    free(o->place);
    *o = (nh_deeph_order){.structure = NULL};
}

static size_t orbitals(const nh_deeph_order *o, size_t atom)
{
    return o->first[atom + 1] - o->first[atom];
}

size_t nh_deeph_rows(const nh_deeph_matrix *m, const nh_deeph_order *o, size_t atom)
{
    return orbitals(o, atom) * (m->spin ? 2 : 1);
}

int nh_deeph_add(nh_deeph_matrix *m, const nh_deeph_order *o, const long long key[5], nh_error *err)
{
    const long long n_atom = (long long)o->structure->n_atom;
    for (int k = 0; k < 5; k++)
        if (k < 3 ? key[k] < -FARTHEST_CELL || key[k] > FARTHEST_CELL : key[k] < 0 || key[k] >= n_atom)
            return nh_fail(err, "%s: block [%lld, %lld, %lld, %lld, %lld]: %s", m->file, key[0], key[1],
                           key[2], key[3], key[4],
                           k < 3 ? "cells of small numbers expected" : "no such atom");
    if (!nh_grow_one(&m->key, m->count, sizeof *m->key) ||
        !nh_grow_one(&m->start, m->count + 1, sizeof *m->start))
        return nh_fail_memory(err, "the blocks of a matrix");
    if (m->count == 0) m->start[0] = 0;
    for (int k = 0; k < 5; k++)
        m->key[m->count][k] = (int)key[k];
    const size_t size = nh_deeph_rows(m, o, (size_t)key[3]) * nh_deeph_rows(m, o, (size_t)key[4]);
    m->start[m->count + 1] = m->start[m->count] + size;
    m->count++;
    return 0;
}

void nh_deeph_matrix_free(nh_deeph_matrix *m)
{
    free(m->key);
    free(m->start);
    free(m->value);
    *m = (nh_deeph_matrix){.file = NULL};
}

int nh_deeph_pairs(const nh_structure *s, size_t n, const nh_deeph_matrix *m, double cutoff, nh_pairs *out,
                   nh_error *err)
{
    size_t count = 0, room = 0, wanted;
    nh_pair *pair = NULL;
    if (nh_neighbours(s, cutoff, &count, &pair, err)) return -1;
    room = wanted = count;
    for (size_t i = 0; i < n; i++)
        wanted += 2 * m[i].count;
    if (!nh_grow(&pair, &room, wanted, sizeof *pair)) {
        free(pair);
        return nh_fail_memory(err, "atom pairs");
    }
    for (size_t i = 0; i < n; i++)
        for (size_t b = 0; b < m[i].count; b++) {
            const int *const k = m[i].key[b];
            pair[count++] = (nh_pair){k[3], k[4], {k[0], k[1], k[2]}};
            pair[count++] = (nh_pair){k[4], k[3], {-k[0], -k[1], -k[2]}};
        }
    return nh_pairs_build(s, count, pair, out, err);
}

int nh_deeph_scatter(const nh_deeph_matrix *m, const nh_deeph_order *o, const nh_graph *g, double *to,
                     nh_error *err)
{
    bool *const seen = NH_ARRAY(bool, g->pairs.count);
    if (seen == NULL) return nh_fail_memory(err, "atom pairs");
    int status = 0;
    for (size_t b = 0; b < m->count && status == 0; b++) {
        const int *const k = m->key[b];
        const size_t p = nh_pairs_find(&g->pairs, k[3], k[4], k);
        if (p == SIZE_MAX || seen[p]) {
            status = nh_fail(err, "%s: block [%d, %d, %d], atoms %d and %d, %s", m->file, k[0], k[1], k[2],
                             k[3] + 1, k[4] + 1, p == SIZE_MAX ? "has no pair" : "is there twice");
            break;
        }
        seen[p] = true;
        const size_t i = (size_t)k[3], j = (size_t)k[4], rows = orbitals(o, i), columns = orbitals(o, j);
        const int *const row_place = o->place + o->first[i], *const column_place = o->place + o->first[j];
        const size_t n_spin = m->spin ? 2 : 1;
        const double *from = m->value + 2 * m->start[b];
        for (size_t si = 0; si < n_spin; si++)
            for (size_t r = 0; r < rows; r++)
                for (size_t sj = 0; sj < n_spin; sj++)
                    for (size_t c = 0; c < columns; c++, from += 2) {
                        const size_t element =
                            g->pairs.start[p] + (size_t)row_place[r] * columns + (size_t)column_place[c];
                        double *const x = to + 2 * ((2 * si + sj) * g->pairs.n_elem + element);
                        x[0] = from[0];
                        x[1] = from[1];
                    }
    }
    for (size_t b = 0; b < m->count && status == 0; b++) {
        const int *const k = m->key[b], back[3] = {-k[0], -k[1], -k[2]};
        size_t i = m->start[b];
        if (seen[nh_pairs_find(&g->pairs, k[4], k[3], back)]) continue;
        while (i < m->start[b + 1] && m->value[2 * i] == 0 && m->value[2 * i + 1] == 0)
            i++;
        if (i < m->start[b + 1])
            status = nh_fail(err, "%s: block [%d, %d, %d], atoms %d and %d, is there without its reverse",
                             m->file, k[0], k[1], k[2], k[3] + 1, k[4] + 1);
    }
    free(seen);
    return status;
}

void nh_deeph_gather(const nh_graph *g, const nh_deeph_order *o, const double *matrix, int n_spin,
                     size_t width, size_t p, double *to)
{
    const nh_pair *const pair = &g->pairs.pair[p];
    const size_t i = (size_t)pair->src, j = (size_t)pair->dst, rows = orbitals(o, i),
                 columns = orbitals(o, j);
    const int *const row_place = o->place + o->first[i], *const column_place = o->place + o->first[j];
    const size_t n = n_spin == 4 ? 2 : 1;
    for (size_t si = 0; si < n; si++)
        for (size_t r = 0; r < rows; r++)
            for (size_t sj = 0; sj < n; sj++)
                for (size_t c = 0; c < columns; c++, to += width) {
                    const size_t element =
                        g->pairs.start[p] + (size_t)row_place[r] * columns + (size_t)column_place[c];
                    memcpy(to, matrix + width * ((2 * si + sj) * g->pairs.n_elem + element),
                           width * sizeof *to);
                }
}
