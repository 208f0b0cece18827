#include "lcao/grid_basis.h"

#include "base/memory.h"
#include "crystal/lattice.h"
#include "lcao/orbital_table.h"
#include "lcao/tile_kernels.h"

#include <limits.h>
#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The cell's points are cut into tiles, and those of a tile into groups of 2 x 2 x 2. The orbitals that reach
 * a tile are those of periodic images of atoms; an image has values only in the groups that it reaches,
 * phi[orbital][group][8].
 *
 *   matrix elements   for each pair of images p <= q the products of all of their orbitals over the groups
 * that both reach; density           for each image p the sums over the orbitals of q >= p with P, q > p
 * counted twice, times those of p.
 *
 * Atoms and cells of the images are in order, so that of a pair of images p < q the block (a, b, R) is the
 * one with a < b, or a = b and R > 0, and the other one is its transpose. Dense products of matrices over
 * whole tiles (docs/h0.md 8) do the same with two fifths more operations: a tile is large beside the distance
 * in which an orbital ends. */

enum {
    EDGE = 8, /* points of a tile along each axis, at most: 64 groups */
    STRIPES = 16,
    SPINS = 200 /* looks at a counter before the thread lets others run */
};

typedef struct image {
    int32_t atom;
    int16_t cell[3];  /* T: the atom is at tau + T */
    uint16_t groups;  /* how many it reaches */
    uint64_t reached; /* a bit for each */
} image;

typedef struct tile {
    uint32_t from[3], to[3]; /* points */
} tile;

/* What each thread has for itself. */
typedef struct scratch {
    double *x, *y, *z, *present; /* [points] of the tile, group after group; present: 0 for a point that the
                                    tile's odd edge lacks */
    double *near_x, *near_y, *near_z, *near_present; /* [points] those of the groups that an image reaches */
    double *v, *near_v;                              /* [points] */
    size_t *point;                                   /* [points] place in the grid */
    double *phi;                                     /* [image][orbital][group][8] */
    double *scaled;                                  /* [NH_ROWS_MAX][points] */
    double *blocks;                                  /* [p <= q][orbital of p][orbital of q] */
    size_t *start;                                   /* [images+1] into phi */
    uint8_t (*rank)[NH_GROUPS_MAX];         /* [images] of a group among those that the image reaches */
    nh_group_pair (*common)[NH_GROUPS_MAX]; /* [images] groups that image p shares with q */
    size_t *n_common;                       /* [images] */
    uint32_t *pair;                         /* [images] of image p with q */
    size_t *seen;                           /* [images] the q that reach a chunk */
    const double *(*row)[NH_CHUNK];         /* [images] where their orbitals begin in it */
    size_t (*stride)[NH_CHUNK];
    double seconds, flops;
    size_t tiles;
} scratch;

struct nh_grid_basis {
    nh_grid_basis_task task;
    nh_orbital_table *table;  /* [n_species] */
    double *origin;           /* [n_atom][3] bohr */
    double lane[3][NH_GROUP]; /* points of a group from its first one, bohr */
    size_t n_tile;
    tile *tiles;
    size_t *first_image; /* [n_tile+1] */
    image *images;
    size_t n_hash;   /* a power of two */
    uint32_t *hash;  /* [n_hash] pairs by (a, b, R); UINT32_MAX: empty */
    size_t *reverse; /* [pairs] */
    size_t most_orbitals, most_images, most_numbers;
    size_t n_stored; /* the first tiles, whose orbitals are kept */
    size_t *place;   /* [n_stored+1] into `stored` */
    double *stored;
    scratch *work; /* [threads] */
};

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
    b->tiles = NH_ARRAY(tile, b->n_tile);
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

/* First points of the tile's groups, as points of the grid; neighbours in the list are neighbours in space.
 */
static size_t list_groups(const tile *t, uint32_t first[NH_GROUPS_MAX][3])
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

static void point_at(const nh_grid *g, const double at[3], double out[3])
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
static uint64_t groups_within(const nh_grid_basis *b, const tile *t, const double place[3], double radius)
{
    const nh_grid *g = b->task.grid;
    uint32_t first[NH_GROUPS_MAX][3];
    const size_t n = list_groups(t, first);
    const double limit = radius * radius;
    uint64_t within = 0;
    for (size_t i = 0; i < n; i++) {
        const double at[3] = {first[i][0], first[i][1], first[i][2]};
        double corner[3], least = INFINITY;
        point_at(g, at, corner);
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
                const tile *t = &b->tiles[index];
                nh_lattice_apply(shift, g->lattice, place);
                for (int x = 0; x < 3; x++) {
                    place[x] += origin[x];
                    middle[x] = 0.5 * ((double)t->from[x] + (double)t->to[x] - 1);
                }
                point_at(g, middle, centre);
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
    const image *a = pa, *b = pb;
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
    b->images = NH_ARRAY(image, b->first_image[b->n_tile]);
    if (b->images == NULL) goto memory;
    size_t *next = NH_ARRAY(size_t, b->n_tile);
    if (next == NULL) goto memory;
    for (size_t a = 0; a < s->n_atom; a++)
        for (size_t i = 0; i < r.count[a]; i++) {
            const reached *x = &r.list[a][i];
            b->images[b->first_image[x->tile] + next[x->tile]++] =
                (image){(int32_t)a,
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

static size_t orbitals_of(const nh_grid_basis *b, const image *im)
{
    return b->table[b->task.structure->species[im->atom]].n_orbital;
}

/* --- phi of a tile */

/* Where each image begins, and the ranks of its groups; returns the number of numbers. */
static size_t make_starts(const nh_grid_basis *b, size_t t, scratch *w)
{
    size_t n = 0;
    const size_t first = b->first_image[t], count = b->first_image[t + 1] - first;
    for (size_t p = 0; p < count; p++) {
        const image *im = &b->images[first + p];
        w->start[p] = n;
        n += orbitals_of(b, im) * im->groups * NH_GROUP;
        uint8_t rank = 0;
        for (uint64_t rest = im->reached; rest != 0; rest &= rest - 1)
            w->rank[p][__builtin_ctzll(rest)] = rank++;
    }
    w->start[count] = n;
    return n;
}

/* The tile's points, group after group; returns their number. */
static size_t list_points(const nh_grid_basis *b, const tile *t, scratch *w)
{
    const nh_grid *g = b->task.grid;
    uint32_t first[NH_GROUPS_MAX][3];
    const size_t n = list_groups(t, first);
    for (size_t i = 0; i < n; i++) {
        const double at[3] = {first[i][0], first[i][1], first[i][2]};
        double corner[3];
        point_at(g, at, corner);
        for (size_t k = 0; k < NH_GROUP; k++) {
            const size_t p[3] = {first[i][0] + k / 4, first[i][1] + k / 2 % 2, first[i][2] + k % 2};
            const bool in = p[0] < t->to[0] && p[1] < t->to[1] && p[2] < t->to[2];
            const size_t to = i * NH_GROUP + k;
            w->present[to] = in ? 1 : 0;
            w->point[to] = in ? (p[0] * g->n[1] + p[1]) * g->n[2] + p[2] : SIZE_MAX;
            w->x[to] = corner[0] + b->lane[0][k];
            w->y[to] = corner[1] + b->lane[1][k];
            w->z[to] = corner[2] + b->lane[2][k];
        }
    }
    return n * NH_GROUP;
}

/* to = those of the tile's groups in `from`, one after another. */
static void take_groups(uint64_t groups, const double *from, double *to)
{
    for (; groups != 0; groups &= groups - 1, to += NH_GROUP)
        memcpy(to, from + NH_GROUP * (size_t)__builtin_ctzll(groups), NH_GROUP * sizeof *to);
}

static void make_phi(const nh_grid_basis *b, size_t t, const scratch *w, double *phi)
{
    for (size_t p = b->first_image[t]; p < b->first_image[t + 1]; p++) {
        const image *im = &b->images[p];
        const double shift[3] = {im->cell[0], im->cell[1], im->cell[2]};
        double place[3];
        nh_lattice_apply(shift, b->task.grid->lattice, place);
        for (int x = 0; x < 3; x++)
            place[x] += b->origin[3 * (size_t)im->atom + (size_t)x];
        take_groups(im->reached, w->x, w->near_x);
        take_groups(im->reached, w->y, w->near_y);
        take_groups(im->reached, w->z, w->near_z);
        take_groups(im->reached, w->present, w->near_present);
        const size_t n = (size_t)im->groups * NH_GROUP;
        nh_orbitals_at(&b->table[b->task.structure->species[im->atom]], n, w->near_x, w->near_y, w->near_z,
                       place, w->near_present, phi + w->start[p - b->first_image[t]], n);
    }
}

/* The tile's phi, stored or made now. */
static const double *phi_of(const nh_grid_basis *b, size_t t, scratch *w)
{
    if (t < b->n_stored) return b->stored + b->place[t];
    make_phi(b, t, w, w->phi);
    return w->phi;
}

/* --- the basis */

static void store_tile(void *context, size_t t, int thread)
{
    nh_grid_basis *b = context;
    scratch *w = &b->work[thread];
    make_starts(b, t, w);
    list_points(b, &b->tiles[t], w);
    make_phi(b, t, w, b->stored + b->place[t]);
}

static int store(nh_grid_basis *b, nh_error *err)
{
    const size_t limit = b->task.memory / sizeof(double);
    size_t numbers = 0;
    b->place = NH_ARRAY(size_t, b->n_tile + 1);
    if (b->place == NULL) return nh_fail_memory(err, "stored orbitals");
    for (size_t t = 0; t < b->n_tile; t++) {
        size_t more = 0;
        for (size_t p = b->first_image[t]; p < b->first_image[t + 1]; p++)
            more += orbitals_of(b, &b->images[p]) * b->images[p].groups * NH_GROUP;
        if (more > limit - numbers) break;
        numbers += more;
        b->place[++b->n_stored] = numbers;
    }
    if (b->n_stored == 0) return 0;
    b->stored = nh_calloc(numbers, sizeof *b->stored);
    if (b->stored == NULL) return nh_fail_memory(err, "stored orbitals");
    nh_parallel_for(b->task.threads, b->n_stored, store_tile, b);
    return 0;
}

static int make_scratch(nh_grid_basis *b, nh_error *err)
{
    enum { POINTS = NH_GROUPS_MAX * NH_GROUP, ARRAYS = 10 };
    const size_t threads = (size_t)nh_threads_count(b->task.threads), images = b->most_images;
    size_t blocks;
    if (!nh_size_mul(b->most_orbitals, b->most_orbitals, &blocks))
        return nh_fail_memory(err, "the orbitals of a tile");
    b->work = NH_ARRAY(scratch, threads);
    if (b->work == NULL) return nh_fail_memory(err, "the orbitals of a tile");
    for (size_t i = 0; i < threads; i++) {
        scratch *w = &b->work[i];
        double **const arrays[ARRAYS] = {&w->x,      &w->y,      &w->z,      &w->present,
                                         &w->near_x, &w->near_y, &w->near_z, &w->near_present,
                                         &w->v,      &w->near_v};
        bool found = true;
        for (int a = 0; a < ARRAYS; a++)
            found = (*arrays[a] = nh_calloc_aligned(POINTS, sizeof(double))) != NULL && found;
        w->point = NH_ARRAY(size_t, POINTS);
        w->phi = nh_calloc_aligned(b->most_numbers, sizeof *w->phi);
        w->scaled = nh_calloc_aligned(NH_ROWS_MAX * POINTS, sizeof *w->scaled);
        w->blocks = nh_calloc_aligned(blocks, sizeof *w->blocks);
        w->start = NH_ARRAY(size_t, images + 1);
        w->rank = nh_calloc(images, sizeof *w->rank);
        w->common = nh_calloc(images, sizeof *w->common);
        w->n_common = NH_ARRAY(size_t, images);
        w->pair = NH_ARRAY(uint32_t, images);
        w->seen = NH_ARRAY(size_t, images);
        w->row = nh_calloc(images, sizeof *w->row);
        w->stride = nh_calloc(images, sizeof *w->stride);
        if (!found || w->point == NULL || w->phi == NULL || w->scaled == NULL || w->blocks == NULL ||
            w->start == NULL || w->rank == NULL || w->common == NULL || w->n_common == NULL ||
            w->pair == NULL || w->seen == NULL || w->row == NULL || w->stride == NULL)
            return nh_fail_memory(err, "the orbitals of a tile");
    }
    return 0;
}

int nh_grid_basis_new(const nh_grid_basis_task *task, nh_grid_basis **out, nh_error *err)
{
    *out = NULL;
    const nh_structure *s = task->structure;
    nh_grid_basis *b = NH_ARRAY(nh_grid_basis, 1);
    if (b == NULL) return nh_fail_memory(err, "the orbitals on the grid");
    b->task = *task;
    b->table = NH_ARRAY(nh_orbital_table, s->n_species);
    b->origin = NH_ARRAY(double, 3 * s->n_atom);
    if (b->table == NULL || b->origin == NULL) {
        nh_fail_memory(err, "the orbitals on the grid");
        goto fail;
    }
    for (size_t i = 0; i < 3 * s->n_atom; i++)
        b->origin[i] = s->position[i] / NH_BOHR;
    for (size_t x = 0; x < s->n_species; x++)
        if (nh_orbital_table_new(&task->species[x].orbital, &b->table[x], err) != 0) goto fail;
    size_t parts[3];
    if (make_hash(b, err) != 0 || check_pairs(b, err) != 0 || make_tiles(b, parts, err) != 0 ||
        find_images(b, parts, err) != 0 || make_scratch(b, err) != 0 || store(b, err) != 0)
        goto fail;
    *out = b;
    return 0;
fail:
    nh_grid_basis_free(b);
    return -1;
}

void nh_grid_basis_free(nh_grid_basis *b)
{
    if (b == NULL) return;
    for (size_t x = 0; x < b->task.structure->n_species && b->table != NULL; x++)
        nh_orbital_table_free(&b->table[x]);
    const size_t threads = (size_t)nh_threads_count(b->task.threads);
    for (size_t i = 0; i < threads && b->work != NULL; i++) {
        scratch *w = &b->work[i];
        void *const arrays[] = {
            w->x,        w->y,     w->z,   w->present, w->near_x,       w->near_y, w->near_z, w->v,
            w->near_v,   w->point, w->phi, w->scaled,  w->blocks,       w->start,  w->common, w->rank,
            w->n_common, w->seen,  w->row, w->stride,  w->near_present, w->pair};
        for (size_t a = 0; a < sizeof arrays / sizeof arrays[0]; a++)
            free(arrays[a]);
    }
    free(b->work);
    free(b->table);
    free(b->origin);
    free(b->tiles);
    free(b->first_image);
    free(b->images);
    free(b->hash);
    free(b->reverse);
    free(b->place);
    free(b->stored);
    free(b);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint32_t pair_of(const nh_grid_basis *b, const image *p, const image *q)
{
    const int cell[3] = {q->cell[0] - p->cell[0], q->cell[1] - p->cell[1], q->cell[2] - p->cell[2]};
    return find_pair(b, p->atom, q->atom, cell);
}

/* --- matrix elements */

/* Sums into blocks are taken in the order of the tiles, whichever thread has them: a tile adds to the rows of
 * a stripe of atoms when the one before has done so. */
typedef struct matrix_loop {
    const nh_grid_basis *b;
    const double *v;
    double *h;
    size_t n_stripe;
    atomic_size_t turn[STRIPES]; /* the tile whose turn it is */
} matrix_loop;

static void wait_for(const atomic_size_t *turn, size_t t)
{
    for (int looks = 0; atomic_load_explicit(turn, memory_order_acquire) != t; looks++)
        if (looks >= SPINS) sched_yield();
}

/* The groups of p and those of q >= p that are the same. */
static void find_common(const image *im, size_t n_image, size_t p, scratch *w)
{
    for (size_t q = p; q < n_image; q++) {
        size_t n = 0;
        for (uint64_t both = im[p].reached & im[q].reached; both != 0; both &= both - 1) {
            const int g = __builtin_ctzll(both);
            w->common[q][n++] =
                (nh_group_pair){(uint16_t)(NH_GROUP * w->rank[p][g]), (uint16_t)(NH_GROUP * w->rank[q][g])};
        }
        w->n_common[q] = n;
    }
}

/* The blocks of image p with all q >= p, one after another; of the one with itself the upper triangle.
 * Returns their end. */
static double *blocks_of_image(const nh_grid_basis *b, size_t t, size_t p, const double *phi, scratch *w,
                               double *to)
{
    const image *im = b->images + b->first_image[t];
    const size_t n_image = b->first_image[t + 1] - b->first_image[t], n = (size_t)im[p].groups * NH_GROUP;
    const size_t orbitals = orbitals_of(b, &im[p]), parts = (orbitals + NH_ROWS_MAX - 1) / NH_ROWS_MAX;
    find_common(im, n_image, p, w);
    take_groups(im[p].reached, w->v, w->near_v);
    double *end = to;
    for (size_t part = 0; part < parts; part++) {
        const size_t first = cut(orbitals, parts, part), rows = cut(orbitals, parts, part + 1) - first;
        for (size_t i = 0; i < rows; i++) {
            const double *from = phi + w->start[p] + (first + i) * n;
            for (size_t k = 0; k < n; k++)
                w->scaled[i * n + k] = w->near_v[k] * from[k];
        }
        end = to;
        for (size_t q = p; q < n_image; q++) {
            if (w->n_common[q] == 0) continue;
            const size_t columns = orbitals_of(b, &im[q]), skip = q == p ? first : 0;
            const size_t stride = (size_t)im[q].groups * NH_GROUP;
            nh_tile_product(w->n_common[q], w->common[q], rows, w->scaled, n, columns - skip,
                            phi + w->start[q] + skip * stride, stride, end + first * columns + skip, columns);
            w->flops += 2 * NH_GROUP * (double)(w->n_common[q] * rows * (columns - skip));
            end += orbitals * columns;
        }
    }
    return end;
}

/* Adds the blocks of image p; returns their end. */
static const double *add_blocks(const nh_grid_basis *b, size_t t, size_t p, const double *from, double *h)
{
    const image *im = b->images + b->first_image[t];
    const size_t n_image = b->first_image[t + 1] - b->first_image[t], rows = orbitals_of(b, &im[p]);
    for (size_t q = p; q < n_image; q++) {
        if ((im[p].reached & im[q].reached) == 0) continue;
        const size_t columns = orbitals_of(b, &im[q]);
        const uint32_t pair = pair_of(b, &im[p], &im[q]);
        if (pair != UINT32_MAX) { /* else they do not overlap (check_pairs), only share a group */
            double *to = h + b->task.pairs->start[pair];
            if (p != q)
                for (size_t k = 0; k < rows * columns; k++)
                    to[k] += from[k];
            else
                for (size_t i = 0; i < rows; i++)
                    for (size_t j = i; j < columns; j++)
                        to[i * columns + j] += from[i * columns + j];
        }
        from += rows * columns;
    }
    return from;
}

static void matrix_of_tile(void *context, size_t t, int thread)
{
    matrix_loop *loop = context;
    const nh_grid_basis *b = loop->b;
    const image *im = b->images + b->first_image[t];
    const size_t n_image = b->first_image[t + 1] - b->first_image[t];
    scratch *w = &b->work[thread];
    double began = now();
    make_starts(b, t, w);
    const size_t points = list_points(b, &b->tiles[t], w);
    const double *phi = phi_of(b, t, w), dv = b->task.grid->volume / (double)b->task.grid->n_point;
    for (size_t k = 0; k < points; k++)
        w->v[k] = w->point[k] != SIZE_MAX ? dv * loop->v[w->point[k]] : 0;
    double *end = w->blocks;
    for (size_t p = 0; p < n_image; p++)
        end = blocks_of_image(b, t, p, phi, w, end);
    w->seconds += now() - began;
    size_t p = 0;
    const double *from = w->blocks;
    for (size_t stripe = 0; stripe < loop->n_stripe; stripe++) {
        wait_for(&loop->turn[stripe], t);
        began = now();
        for (; p < n_image && (size_t)im[p].atom * loop->n_stripe / b->task.structure->n_atom == stripe; p++)
            from = add_blocks(b, t, p, from, loop->h);
        atomic_store_explicit(&loop->turn[stripe], t + 1, memory_order_release);
        w->seconds += now() - began;
    }
    w->tiles++;
}

/* What the tiles left out: the lower triangles of (a, a, 0), and the reverse of every block that they wrote
 * (that with a < b, or with a = b and R > 0). */
static void complete_block(void *context, size_t i, int thread)
{
    (void)thread;
    const matrix_loop *loop = context;
    const nh_pairs *pairs = loop->b->task.pairs;
    const size_t back = loop->b->reverse[i];
    if (back < i) return;
    const size_t rows = nh_atom_orbitals(loop->b->task.structure, (size_t)pairs->pair[i].src),
                 columns = nh_atom_orbitals(loop->b->task.structure, (size_t)pairs->pair[i].dst);
    double *a = loop->h + pairs->start[i], *to = loop->h + pairs->start[back];
    if (back == i) {
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < r; c++)
                a[r * columns + c] = a[c * columns + r];
        return;
    }
    const nh_pair *p = &pairs->pair[i];
    const int *c = p->cell, ahead = c[0] != 0 ? c[0] : c[1] != 0 ? c[1] : c[2];
    const bool written = p->src < p->dst || (p->src == p->dst && ahead > 0);
    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < columns; k++) {
            if (written)
                to[k * rows + r] = a[r * columns + k];
            else
                a[r * columns + k] = to[k * rows + r];
        }
}

int nh_grid_matrix(const nh_grid_basis *b, const double *v, double *h, nh_error *err)
{
    (void)err;
    const nh_pairs *pairs = b->task.pairs;
    const size_t n_atom = b->task.structure->n_atom;
    matrix_loop loop = {.b = b, .v = v, .h = h, .n_stripe = n_atom < STRIPES ? n_atom : STRIPES};
    for (size_t i = 0; i < STRIPES; i++)
        atomic_init(&loop.turn[i], 0);
    memset(h, 0, pairs->n_elem * sizeof *h);
    nh_parallel_for(b->task.threads, b->n_tile, matrix_of_tile, &loop);
    nh_parallel_for(b->task.threads, pairs->count, complete_block, &loop);
    return 0;
}

/* --- density */

typedef struct density_loop {
    const nh_grid_basis *b;
    const double *p;
    double *rho;
} density_loop;

static const double NO_VALUES[NH_GROUP] __attribute__((aligned(64))) = {0};

/* Adds to rho what image p has in a chunk of its groups: group[n] of the tile, n up to NH_CHUNK. */
static void density_in_chunk(const density_loop *loop, size_t t, size_t p, const int *group, size_t n,
                             const double *phi, scratch *w, double *rho)
{
    const nh_grid_basis *b = loop->b;
    const image *im = b->images + b->first_image[t];
    const size_t n_image = b->first_image[t + 1] - b->first_image[t],
                 stride = (size_t)im[p].groups * NH_GROUP;
    uint64_t chunk = 0;
    for (size_t g = 0; g < n; g++)
        chunk |= (uint64_t)1 << group[g];
    /* p itself comes last: what the others give counts twice. */
    size_t count = 0;
    for (size_t turn = p + 1; turn <= n_image; turn++) {
        const size_t q = turn < n_image ? turn : p;
        if ((im[q].reached & chunk) == 0 || w->pair[q] == UINT32_MAX) continue;
        for (size_t g = 0; g < NH_CHUNK; g++) {
            const bool has = g < n && (im[q].reached >> group[g] & 1) != 0;
            w->stride[count][g] = has ? (size_t)im[q].groups * NH_GROUP : 0;
            w->row[count][g] = has ? phi + w->start[q] + (size_t)NH_GROUP * w->rank[q][group[g]] : NO_VALUES;
        }
        w->seen[count++] = q;
    }
    const size_t orbitals = orbitals_of(b, &im[p]), parts = (orbitals + NH_ROWS_MAX - 1) / NH_ROWS_MAX;
    for (size_t part = 0; part < parts; part++) {
        const size_t first = cut(orbitals, parts, part), rows = cut(orbitals, parts, part + 1) - first;
        double sum[NH_ROWS_MAX * NH_CHUNK * NH_GROUP] __attribute__((aligned(64))) = {0};
        for (size_t i = 0; i < count; i++) {
            const size_t q = w->seen[i], columns = orbitals_of(b, &im[q]);
            const double *density = loop->p + b->task.pairs->start[w->pair[q]];
            if (q == p)
                for (size_t k = 0; k < rows * NH_CHUNK * NH_GROUP; k++)
                    sum[k] *= 2;
            nh_tile_sums(rows, density + first * columns, columns, columns, w->row[i], w->stride[i], sum);
            w->flops +=
                2 * NH_GROUP * (double)(rows * columns * (size_t)__builtin_popcountll(im[q].reached & chunk));
        }
        for (size_t g = 0; g < n; g++)
            for (size_t i = 0; i < rows; i++) {
                const double *a = phi + w->start[p] + (first + i) * stride +
                                  (size_t)NH_GROUP * w->rank[p][group[g]],
                             *c = sum + (i * NH_CHUNK + g) * NH_GROUP;
                for (size_t k = 0; k < NH_GROUP; k++)
                    rho[NH_GROUP * (size_t)group[g] + k] += a[k] * c[k];
            }
    }
}

static void density_of_tile(void *context, size_t t, int thread)
{
    const density_loop *loop = context;
    const nh_grid_basis *b = loop->b;
    const image *im = b->images + b->first_image[t];
    const size_t n_image = b->first_image[t + 1] - b->first_image[t];
    scratch *w = &b->work[thread];
    const double began = now();
    make_starts(b, t, w);
    const size_t points = list_points(b, &b->tiles[t], w);
    const double *phi = phi_of(b, t, w);
    double *rho = w->v;
    for (size_t k = 0; k < points; k++)
        rho[k] = 0;
    for (size_t p = 0; p < n_image; p++) {
        for (size_t q = p; q < n_image; q++)
            w->pair[q] = pair_of(b, &im[p], &im[q]);
        for (uint64_t rest = im[p].reached; rest != 0;) {
            int group[NH_CHUNK];
            size_t n = 0;
            for (; n < NH_CHUNK && rest != 0; rest &= rest - 1)
                group[n++] = __builtin_ctzll(rest);
            density_in_chunk(loop, t, p, group, n, phi, w, rho);
        }
    }
    for (size_t k = 0; k < points; k++)
        if (w->point[k] != SIZE_MAX) loop->rho[w->point[k]] = rho[k];
    w->tiles++;
    w->seconds += now() - began;
}

int nh_grid_density(const nh_grid_basis *b, const double *p, double *rho, nh_error *err)
{
    (void)err;
    density_loop loop = {b, p, rho};
    nh_parallel_for(b->task.threads, b->n_tile, density_of_tile, &loop);
    return 0;
}

nh_grid_work nh_grid_basis_work(const nh_grid_basis *b)
{
    nh_grid_work out = {.stored = b->n_stored > 0 ? b->place[b->n_stored] * sizeof(double) : 0};
    for (int i = 0; i < nh_threads_count(b->task.threads); i++) {
        out.tiles += b->work[i].tiles;
        out.flops += b->work[i].flops;
        out.seconds += b->work[i].seconds;
    }
    return out;
}
