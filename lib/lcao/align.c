#include "lcao/align.h"

#include "base/memory.h"
#include "crystal/lattice.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = 32768 }; /* cells further away than that do not occur */

/* By how many lattice vectors each atom was moved: move[n_atom][3]. */
static int find_moves(const nh_structure *to, const nh_structure *from, int *move, nh_error *err)
{
    const double near = 1e-4; /* Å */
    double inverse[9];
    if (to->n_atom != from->n_atom)
        return nh_fail(err, "%zu atoms, but %zu expected", from->n_atom, to->n_atom);
    for (int i = 0; i < 9; i++)
        if (fabs(to->lattice[i] - from->lattice[i]) > near) return nh_fail(err, "another lattice");
    nh_lattice_inverse(to->lattice, inverse);
    for (size_t a = 0; a < to->n_atom; a++) {
        const int species = to->species[a], other = from->species[a];
        const size_t first = to->shell_start[species], n = to->shell_start[species + 1] - first;
        if (to->atomic_number[species] != from->atomic_number[other] ||
            from->shell_start[other + 1] - from->shell_start[other] != n ||
            memcmp(to->shell_l + first, from->shell_l + from->shell_start[other], n * sizeof *to->shell_l) !=
                0)
            return nh_fail(err, "atom %zu: another element or other shells", a);
        double by[3], turns[3], rest[3];
        for (int c = 0; c < 3; c++)
            by[c] = to->position[3 * a + (size_t)c] - from->position[3 * a + (size_t)c];
        nh_lattice_apply(by, inverse, turns);
        for (int c = 0; c < 3; c++) {
            if (!(fabs(turns[c]) < ROOM)) return nh_fail(err, "atom %zu: another position", a);
            move[3 * a + (size_t)c] = (int)lrint(turns[c]);
            turns[c] -= rint(turns[c]);
        }
        nh_lattice_apply(turns, to->lattice, rest);
        for (int c = 0; c < 3; c++)
            if (fabs(rest[c]) > near) return nh_fail(err, "atom %zu: another position", a);
    }
    return 0;
}

int nh_lcao_match(const nh_lcao *l, const nh_graph *g, size_t *index, nh_error *err)
{
    int *const move = NH_ARRAY(int, 3 * g->structure.n_atom);
    if (move == NULL) return nh_fail_memory(err, "atoms");
    const int status = find_moves(&l->structure, &g->structure, move, err);
    for (size_t p = 0; p < g->pairs.count && status == 0; p++) {
        const nh_pair *const pair = &g->pairs.pair[p];
        int cell[3];
        for (int c = 0; c < 3; c++) /* r_dst + R - r_src stays what it was */
            cell[c] = pair->cell[c] - move[3 * pair->dst + c] + move[3 * pair->src + c];
        index[p] = nh_pairs_find(&l->pairs, pair->src, pair->dst, cell);
    }
    free(move);
    return status;
}

int nh_lcao_align(const nh_lcao *l, const nh_graph *g, const size_t *index, const double *matrix,
                  size_t n_block, size_t width, double **out, nh_error *err)
{
    const double nothing =
        1e-5; /* numbers below it may be lost: files of ABACUS end at 1e-10 Ry, single precision at 2e-7 */
    size_t size;
    double *copy = NULL;
    *out = NULL;
    if (nh_size_mul(l->pairs.n_elem, n_block * width, &size)) copy = NH_ARRAY(double, size);
    if (copy == NULL) return nh_fail_memory(err, "a matrix");
    for (size_t p = 0; p < g->pairs.count; p++) {
        const size_t begin = g->pairs.start[p], n = width * (g->pairs.start[p + 1] - begin);
        for (size_t b = 0; b < n_block; b++) {
            const double *const from = matrix + width * (b * g->pairs.n_elem + begin);
            if (index[p] != SIZE_MAX) {
                memcpy(copy + width * (b * l->pairs.n_elem + l->pairs.start[index[p]]), from,
                       n * sizeof *copy);
                continue;
            }
            for (size_t i = 0; i < n; i++)
                if (fabs(from[i]) > nothing) {
                    free(copy);
                    return nh_fail(
                        err,
                        "pair %zu (atoms %d, %d, %.4f Å): %g where neither orbitals nor projectors reach", p,
                        g->pairs.pair[p].src, g->pairs.pair[p].dst, g->pairs.distance[p], from[i]);
                }
        }
    }
    *out = copy;
    return 0;
}

int nh_lcao_compare_overlap(const nh_lcao *l, const nh_graph *g, const size_t *index, double *largest,
                            size_t *where, nh_error *err)
{
    double *s;
    if (nh_lcao_align(l, g, index, g->overlap, 1, 1, &s, err) != 0) return -1;
    *largest = 0;
    *where = 0;
    for (size_t p = 0; p < l->pairs.count; p++)
        for (size_t e = l->pairs.start[p]; e < l->pairs.start[p + 1]; e++) {
            const double d = fabs(s[e] - l->overlap[e]);
            if (d > *largest) {
                *largest = d;
                *where = p;
            }
        }
    free(s);
    return 0;
}
