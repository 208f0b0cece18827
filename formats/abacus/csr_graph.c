/* csr_graph.c - from a sparse matrix of ABACUS to pair blocks. */
#include "base/memory.h"
#include "formats/abacus/csr.h"
#include "formats/abacus/orbitals.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

int nh_csr_spinor(const nh_csr *m, const nh_structure *s, size_t *spinor, nh_error *err)
{
    const size_t n = nh_structure_orbitals(s);
    *spinor = m->dimension == n ? 1 : 2;
    if (n > 0 && m->dimension == *spinor * n) return 0;
    return nh_fail(err, "%s: the matrix dimension %zu does not fit the basis: %zu orbitals (%zu with spin)",
                   m->name, m->dimension, n, 2 * n);
}

static double size_of(const nh_csr *m, size_t i)
{
    return m->is_complex ? fabs(m->value[2 * i]) + fabs(m->value[2 * i + 1]) : fabs(m->value[i]);
}

int nh_csr_pairs(const nh_csr *m, const nh_structure *s, size_t *count, nh_pair **pair, nh_error *err)
{
    size_t spinor;
    if (nh_csr_spinor(m, s, &spinor, err)) return -1;
    nh_abacus_place *at = nh_abacus_places(s, NULL);
    size_t *seen =
        NH_ARRAY(size_t, s->n_atom); /* 1 + the last (cell, row atom) in which the atom was a column */
    size_t room = *count;
    int status = at == NULL || seen == NULL ? nh_fail_memory(err, "the blocks of a matrix") : 0;
    for (size_t c = 0; c < m->n_cell && status == 0; c++)
        for (size_t i = m->start[c]; i < m->start[c + 1] && status == 0; i++) {
            const int src = at[(size_t)m->row[i] / spinor].atom, dst = at[(size_t)m->column[i] / spinor].atom;
            const size_t stamp = c * s->n_atom + (size_t)src + 1;
            if (seen[dst] == stamp || size_of(m, i) == 0) continue;
            seen[dst] = stamp;
            if (!nh_grow(pair, &room, *count + 2, sizeof **pair)) {
                status = nh_fail_memory(err, "atom pairs");
                break;
            }
            const int *cell = m->cell[c];
            (*pair)[(*count)++] = (nh_pair){src, dst, {cell[0], cell[1], cell[2]}};
            (*pair)[(*count)++] = (nh_pair){dst, src, {-cell[0], -cell[1], -cell[2]}};
        }
    free(at);
    free(seen);
    return status;
}

/* The blocks of one atom's rows in one cell, found once for each column atom. */
typedef struct block_cache {
    size_t *stamp, *start, *width; /* [n_atom] */
} block_cache;

static int cached_block(const nh_csr *m, const nh_structure *s, const nh_pairs *pairs, block_cache *cache,
                        size_t stamp, int src, int dst, const int cell[3], nh_error *err)
{
    if (cache->stamp[dst] == stamp) return 0;
    const size_t p = nh_pairs_find(pairs, src, dst, cell);
    if (p == SIZE_MAX)
        return nh_fail(err, "%s: no pair (%d, %d, %d %d %d) for a block that is not zero", m->name, src, dst,
                       cell[0], cell[1], cell[2]);
    cache->stamp[dst] = stamp;
    cache->start[dst] = pairs->start[p];
    cache->width[dst] = nh_atom_orbitals(s, (size_t)dst);
    return 0;
}

int nh_csr_scatter(const nh_csr *m, const nh_structure *s, const nh_pairs *pairs, double factor, int n_spin,
                   int spin_block, double *out, nh_error *err)
{
    size_t spinor;
    if (nh_csr_spinor(m, s, &spinor, err)) return -1;
    if (spinor == 2 && (n_spin != 4 || spin_block >= 0))
        return nh_fail(err, "%s: a matrix with spin inside where one without is expected", m->name);
    nh_abacus_place *at = nh_abacus_places(s, NULL);
    block_cache cache = {NH_ARRAY(size_t, s->n_atom), NH_ARRAY(size_t, s->n_atom),
                         NH_ARRAY(size_t, s->n_atom)};
    int status = at == NULL || cache.stamp == NULL || cache.start == NULL || cache.width == NULL
                     ? nh_fail_memory(err, "the blocks of a matrix")
                     : 0;
    for (size_t c = 0; c < m->n_cell && status == 0; c++)
        for (size_t i = m->start[c]; i < m->start[c + 1]; i++) {
            if (size_of(m, i) == 0) continue;
            const size_t row = (size_t)m->row[i], column = (size_t)m->column[i];
            const nh_abacus_place *a = &at[row / spinor], *b = &at[column / spinor];
            if ((status = cached_block(m, s, pairs, &cache, c * s->n_atom + (size_t)a->atom + 1, a->atom,
                                       b->atom, m->cell[c], err)) != 0)
                break;
            const size_t element = cache.start[b->atom] + a->orbital * cache.width[b->atom] + b->orbital;
            const double scale = factor * a->sign * b->sign;
            const double re = scale * m->value[m->is_complex ? 2 * i : i];
            const double im = m->is_complex ? scale * m->value[2 * i + 1] : 0;
            const size_t first = spinor == 2      ? 2 * (row % 2) + column % 2
                                 : spin_block > 0 ? (size_t)spin_block
                                                  : 0;
            const size_t last = spinor == 1 && spin_block < 0 && n_spin == 4 ? 3 : first;
            for (size_t block = first; block <= last; block += 3) {
                double *x = out + 2 * (block * pairs->n_elem + element);
                x[0] += re;
                x[1] += im;
            }
        }
    free(at);
    free(cache.stamp);
    free(cache.start);
    free(cache.width);
    return status;
}
