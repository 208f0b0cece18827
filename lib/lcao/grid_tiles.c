#include "base/memory.h"
#include "crystal/lattice.h"
#include "crystal/neighbours.h"
#include "lcao/grid_basis_internal.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { EDGE = 8 }; /* points of a tile along each axis, at most: 64 groups */

/* --- pairs by (a, b, R) */

static size_t hash_of(int a, int b, const int cell[3])
{
    uint64_t h = (uint64_t)(uint32_t)a * 0x9E3779B97F4A7C15u;
    h = (h ^ (uint32_t)b) * 0xBF58476D1CE4E5B9u;
    h ^= h >> 29;
    h = (h ^ ((uint64_t)(uint32_t)cell[0] << 32 | (uint32_t)cell[1])) * 0x94D049BB133111EBu;
    h ^= h >> 31;
    h = (h ^ (uint32_t)cell[2]) * 0x9E3779B97F4A7C15u;
    return (size_t)(h ^ h >> 32);
}

static uint32_t find_pair(const nh_grid_basis *b, int i, int j, const int cell[3])
{
    const nh_pair *pair = b->task.pairs->pair;
    for (size_t h = hash_of(i, j, cell);; h++) {
        const uint32_t at = b->hash[h & (b->n_hash - 1)];
        if (at == UINT32_MAX) return at;
        const nh_pair *p = &pair[at];
        if (p->src == i && p->dst == j && p->cell[0] == cell[0] && p->cell[1] == cell[1] &&
            p->cell[2] == cell[2])
            return at;
    }
}

static int make_hash(nh_grid_basis *b, nh_error *err)
{
    const nh_pairs *p = b->task.pairs;
    if (p->count >= UINT32_MAX / 4) return nh_fail(err, "pairs: more than %u", UINT32_MAX / 4);
    for (b->n_hash = 16; b->n_hash < 2 * p->count;)
        b->n_hash *= 2;
    b->hash = NH_ARRAY(uint32_t, b->n_hash);
    b->reverse = NH_ARRAY(size_t, p->count);
    if (b->hash == NULL || b->reverse == NULL) return nh_fail_memory(err, "the index of pairs");
    memset(b->hash, 0xFF, b->n_hash * sizeof *b->hash);
    for (size_t i = 0; i < p->count; i++) {
        size_t h = hash_of(p->pair[i].src, p->pair[i].dst, p->pair[i].cell) & (b->n_hash - 1);
        while (b->hash[h] != UINT32_MAX)
            h = (h + 1) & (b->n_hash - 1);
        b->hash[h] = (uint32_t)i;
    }
    nh_pairs_reverse(p, b->reverse);
    for (size_t i = 0; i < p->count; i++)
        if (b->reverse[i] == SIZE_MAX)
            return nh_fail(err, "pair %zu (%d, %d, %d %d %d): its reverse pair is missing", i, p->pair[i].src,
                           p->pair[i].dst, p->pair[i].cell[0], p->pair[i].cell[1], p->pair[i].cell[2]);
    return 0;
}

/* Every pair that overlaps must have a place. */
static int check_pairs(const nh_grid_basis *b, nh_error *err)
{
    const nh_structure *s = b->task.structure;
    double largest = 0;
    for (size_t x = 0; x < s->n_species; x++)
        largest = fmax(largest, b->table[x].radius);
    size_t count;
    nh_pair *pair;
    if (nh_neighbours(s, 2 * largest * NH_BOHR, &count, &pair, err) != 0) return -1;
    int status = 0;
    for (size_t i = 0; i < count && status == 0; i++) {
        const nh_pair *p = &pair[i];
        double v[3];
        nh_pair_vector(s, p, v);
        const double r = sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]) / NH_BOHR;
        if (r < b->table[s->species[p->src]].radius + b->table[s->species[p->dst]].radius - 1e-6 &&
            find_pair(b, p->src, p->dst, p->cell) == UINT32_MAX)
            status =
                nh_fail(err, "the orbitals of pair (%d, %d, %d %d %d) overlap, and it is not in the list",
                        p->src, p->dst, p->cell[0], p->cell[1], p->cell[2]);
    }
    free(pair);
    return status;
}

/* --- tiles and the images that reach them */

/* Part i of n points cut into `parts` nearly equal parts. */
static uint32_t cut(size_t n, size_t parts, size_t i)
{
    return (uint32_t)(n * i / parts);
}

static int make_tiles(nh_grid_basis *b, size_t parts[3], nh_error *err)
{
    const nh_grid *g = b->task.grid;
    b->n_tile = 1;
    size_t pairs[3]; /* of points along each axis: a tile has whole ones, but for the last point of an odd
                        number */
    for (int x = 0; x < 3; x++) {
        pairs[x] = (g->n[x] + 1) / 2;
        parts[x] = (2 * pairs[x] + EDGE - 1) / EDGE;
        b->n_tile *= parts[x];
    }
    b->tiles = NH_ARRAY(nh_grid_tile, b->n_tile);
    if (b->tiles == NULL) return nh_fail_memory(err, "the tiles of the grid");
    for (size_t t = 0; t < b->n_tile; t++) {
        const size_t at[3] = {t / (parts[1] * parts[2]), t / parts[2] % parts[1], t % parts[2]};
        for (int x = 0; x < 3; x++) {
            const uint32_t end = 2 * cut(pairs[x], parts[x], at[x] + 1);
            b->tiles[t].from[x] = 2 * cut(pairs[x], parts[x], at[x]);
            b->tiles[t].to[x] = end < g->n[x] ? end : (uint32_t)g->n[x];
        }
    }
    for (size_t k = 0; k < NH_GROUP; k++)
        for (size_t x = 0; x < 3; x++)
            b->lane[x][k] = (double)(k / 4) * g->lattice[x] / (double)g->n[0] +
                            (double)(k / 2 % 2) * g->lattice[3 + x] / (double)g->n[1] +
                            (double)(k % 2) * g->lattice[6 + x] / (double)g->n[2];
    return 0;
}

size_t nh_grid_groups(const nh_grid_tile *t, uint32_t first[NH_GROUPS_MAX][3])
{
    size_t n = 0;
    for (uint32_t i = t->from[0]; i < t->to[0]; i += 2)
        for (uint32_t j0 = t->from[1]; j0 < t->to[1]; j0 += 4)
            for (uint32_t k0 = t->from[2]; k0 < t->to[2]; k0 += 4)
                for (uint32_t j = j0; j < j0 + 4 && j < t->to[1]; j += 2)
                    for (uint32_t k = k0; k < k0 + 4 && k < t->to[2]; k += 2) {
                        first[n][0] = i;
                        first[n][1] = j;
                        first[n++][2] = k;
                    }
    return n;
}

void nh_grid_bohr(const nh_grid *g, const double at[3], double out[3])
{
    const double f[3] = {at[0] / (double)g->n[0], at[1] / (double)g->n[1], at[2] / (double)g->n[2]};
    nh_lattice_apply(f, g->lattice, out);
}

static double distance(const double a[3], const double b[3])
{
    return sqrt((a[0] - b[0]) * (a[0] - b[0]) + (a[1] - b[1]) * (a[1] - b[1]) +
                (a[2] - b[2]) * (a[2] - b[2]));
}

/* The groups with a point within `radius` of the place. */
static uint64_t groups_within(const nh_grid_basis *b, const nh_grid_tile *t, const double place[3],
                              double radius)
{
    const nh_grid *g = b->task.grid;
    uint32_t first[NH_GROUPS_MAX][3];
    const size_t n = nh_grid_groups(t, first);
    const double limit = radius * radius;
    uint64_t within = 0;
    for (size_t i = 0; i < n; i++) {
        const double at[3] = {first[i][0], first[i][1], first[i][2]};
        double corner[3], least = INFINITY;
        nh_grid_bohr(g, at, corner);
        for (size_t k = 0; k < NH_GROUP; k++) {
            const double x = corner[0] - place[0] + b->lane[0][k], y = corner[1] - place[1] + b->lane[1][k],
                         z = corner[2] - place[2] + b->lane[2][k];
            least = fmin(least, x * x + y * y + z * z);
        }
        if (least < limit) within |= (uint64_t)1 << i;
    }
    return within;
}

/* The tiles that one atom reaches, as many of its images as that takes. */
typedef struct reached {
    uint32_t tile;
    int16_t cell[3];
    uint64_t groups;
} reached;

typedef struct reach {
    const nh_grid_basis *basis;
    const size_t *parts;
    reached **list; /* [n_atom] owned */
    size_t *count;  /* [n_atom] */
    atomic_int failed;
} reach;

static long floor_of(long a, long n)
{
    return a >= 0 ? a / n : -((n - 1 - a) / n);
}

/* In cells of the atom's home frame the tile (u0, u1, u2), any integers, is tile u mod parts of cell
 * floor(u/parts), which is reached by the image in cell -floor(u/parts) of the home cell's tile. */
static void reach_of_atom(void *context, size_t atom, int thread)
{
    (void)thread;
    reach *r = context;
    const nh_grid_basis *b = r->basis;
    const nh_grid *g = b->task.grid;
    const double *origin = b->origin + 3 * atom;
    const double radius = b->table[b->task.structure->species[atom]].radius;
    double inverse[9], f[3];
    nh_lattice_inverse(g->lattice, inverse);
    nh_lattice_apply(origin, inverse, f);
    long low[3], high[3];
    for (int x = 0; x < 3; x++) {
        const double *q = g->reciprocal + 3 * x;
        const double wide = radius * sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2]) / (2 * M_PI),
                     parts = (double)r->parts[x];
        low[x] = (long)floor((f[x] - wide) * parts) - 1;
        high[x] = (long)ceil((f[x] + wide) * parts) + 1;
    }
    size_t room = 0;
    long u[3];
    for (u[0] = low[0]; u[0] <= high[0]; u[0]++)
        for (u[1] = low[1]; u[1] <= high[1]; u[1]++)
            for (u[2] = low[2]; u[2] <= high[2]; u[2]++) {
                long cell[3], at[3];
                double shift[3], place[3], middle[3], centre[3], around = 0;
                for (int x = 0; x < 3; x++) {
                    const long n = (long)r->parts[x];
                    cell[x] = -floor_of(u[x], n);
                    at[x] = u[x] + cell[x] * n;
                    shift[x] = (double)cell[x];
                }
                const size_t index =
                    ((size_t)at[0] * r->parts[1] + (size_t)at[1]) * r->parts[2] + (size_t)at[2];
                const nh_grid_tile *t = &b->tiles[index];
                nh_lattice_apply(shift, g->lattice, place);
                for (int x = 0; x < 3; x++) {
                    place[x] += origin[x];
                    middle[x] = 0.5 * ((double)t->from[x] + (double)t->to[x] - 1);
                }
                nh_grid_bohr(g, middle, centre);
                /* No point is farther from the centre than half of the three edges together. */
                for (int x = 0; x < 3; x++) {
                    const double *a = g->lattice + 3 * x;
                    around += 0.5 * (double)(t->to[x] - t->from[x]) / (double)g->n[x] *
                              sqrt(a[0] * a[0] + a[1] * a[1] + a[2] * a[2]);
                }
                if (distance(place, centre) >= radius + around) continue;
                const uint64_t groups = groups_within(b, t, place, radius);
                if (groups == 0) continue;
                if (r->count[atom] == room) {
                    room = room == 0 ? 1024 : 2 * room;
                    reached *more = realloc(r->list[atom], room * sizeof *more);
                    if (more == NULL) {
                        atomic_store(&r->failed, 1);
                        return;
                    }
                    r->list[atom] = more;
                }
                r->list[atom][r->count[atom]++] = (reached){
                    (uint32_t)index, {(int16_t)cell[0], (int16_t)cell[1], (int16_t)cell[2]}, groups};
            }
}

static int by_place(const void *pa, const void *pb)
{
    const nh_grid_image *a = pa, *b = pb;
    if (a->atom != b->atom) return a->atom < b->atom ? -1 : 1;
    for (int x = 0; x < 3; x++)
        if (a->cell[x] != b->cell[x]) return a->cell[x] < b->cell[x] ? -1 : 1;
    return 0;
}

static int find_images(nh_grid_basis *b, const size_t parts[3], nh_error *err)
{
    const nh_structure *s = b->task.structure;
    reach r = {.basis = b, .parts = parts, .list = nh_calloc(s->n_atom, sizeof *r.list)};
    r.count = NH_ARRAY(size_t, s->n_atom);
    b->first_image = NH_ARRAY(size_t, b->n_tile + 1);
    int status = -1;
    if (r.list == NULL || r.count == NULL || b->first_image == NULL) goto memory;
    nh_parallel_for(b->task.threads, s->n_atom, reach_of_atom, &r);
    if (atomic_load(&r.failed) != 0) goto memory;
    for (size_t a = 0; a < s->n_atom; a++)
        for (size_t i = 0; i < r.count[a]; i++)
            b->first_image[r.list[a][i].tile + 1]++;
    for (size_t t = 0; t < b->n_tile; t++) {
        const size_t n = b->first_image[t + 1];
        b->most_images = n > b->most_images ? n : b->most_images;
        b->first_image[t + 1] += b->first_image[t];
    }
    b->images = NH_ARRAY(nh_grid_image, b->first_image[b->n_tile]);
    if (b->images == NULL) goto memory;
    size_t *next = NH_ARRAY(size_t, b->n_tile);
    if (next == NULL) goto memory;
    for (size_t a = 0; a < s->n_atom; a++)
        for (size_t i = 0; i < r.count[a]; i++) {
            const reached *x = &r.list[a][i];
            b->images[b->first_image[x->tile] + next[x->tile]++] =
                (nh_grid_image){(int32_t)a,
                                {x->cell[0], x->cell[1], x->cell[2]},
                                (uint16_t)__builtin_popcountll(x->groups),
                                x->groups};
        }
    free(next);
    for (size_t t = 0; t < b->n_tile; t++) {
        const size_t first = b->first_image[t], n = b->first_image[t + 1] - first;
        qsort(b->images + first, n, sizeof *b->images, by_place);
        size_t orbitals = 0, numbers = 0;
        for (size_t i = first; i < first + n; i++) {
            const size_t more = b->table[s->species[b->images[i].atom]].n_orbital;
            orbitals += more;
            numbers += more * b->images[i].groups * NH_GROUP;
        }
        b->most_orbitals = orbitals > b->most_orbitals ? orbitals : b->most_orbitals;
        b->most_numbers = numbers > b->most_numbers ? numbers : b->most_numbers;
    }
    status = 0;
    goto done;
memory:
    nh_fail_memory(err, "the orbitals of the tiles");
done:
    for (size_t a = 0; a < s->n_atom && r.list != NULL; a++)
        free(r.list[a]);
    free(r.list);
    free(r.count);
    return status;
}

void nh_grid_image_place(const nh_grid_basis *b, const nh_grid_image *im, double out[3])
{
    const double shift[3] = {im->cell[0], im->cell[1], im->cell[2]};
    nh_lattice_apply(shift, b->task.grid->lattice, out);
    for (int x = 0; x < 3; x++)
        out[x] += b->origin[3 * (size_t)im->atom + (size_t)x];
}

size_t nh_grid_point(const nh_grid *g, const nh_grid_tile *t, const uint32_t first[3], size_t k)
{
    const size_t p[3] = {first[0] + k / 4, first[1] + k / 2 % 2, first[2] + k % 2};
    if (p[0] >= t->to[0] || p[1] >= t->to[1] || p[2] >= t->to[2]) return SIZE_MAX;
    return (p[0] * g->n[1] + p[1]) * g->n[2] + p[2];
}

uint32_t nh_grid_pair_of(const nh_grid_basis *b, const nh_grid_image *p, const nh_grid_image *q)
{
    const int cell[3] = {q->cell[0] - p->cell[0], q->cell[1] - p->cell[1], q->cell[2] - p->cell[2]};
    return find_pair(b, p->atom, q->atom, cell);
}

int nh_grid_tiles_make(nh_grid_basis *b, nh_error *err)
{
    size_t parts[3];
    if (make_hash(b, err) != 0 || check_pairs(b, err) != 0 || make_tiles(b, parts, err) != 0) return -1;
    return find_images(b, parts, err);
}
