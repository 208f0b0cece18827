#include "lcao/grid_basis.h"

#include "base/memory.h"
#include "crystal/lattice.h"
#include "lcao/orbital_table.h"

#include <cblas.h>
#include <limits.h>
#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The cell's points are cut into tiles. The orbitals that reach a tile, those of periodic images of atoms,
 * are a matrix Phi (orbitals x points), and all that is done with them are products of matrices:
 *
 *   matrix elements   Phi V Phi^T, of which one half is computed: where V > 0 as the square of sqrt(V) Phi,
 * where V < 0 as minus that of sqrt(-V) Phi; density           rho = sum over orbitals of Phi o (P Phi), with
 * the upper triangle of P alone.
 *
 * Atoms and cells of the images are in order, so that of a pair of images p < q the block (a, b, R) is the
 * one with a < b, or a = b and R > 0, and the other one is its transpose. */

enum {
    EDGE = 5,   /* points of a tile along each axis, about */
    PANEL = 48, /* orbitals of P taken at a time, at least */
    STRIPES = 16,
    SPINS = 200 /* looks at a counter before the thread lets others run */
};

typedef struct image {
    int32_t atom;
    int16_t cell[3]; /* T: the atom is at tau + T */
} image;

typedef struct tile {
    uint32_t from[3], to[3]; /* points */
} tile;

/* What each thread has for itself. */
typedef struct scratch {
    double *x, *y, *z, *scale, *v; /* [points] of the tile, in the order of Phi's columns */
    size_t *point;                 /* [points] place in the grid */
    size_t *own_point;             /* [points] the same in the tile's own order */
    uint32_t *own;                 /* [points] place in the tile's own order */
    double *phi, *other;           /* [orbitals][stride] */
    double *square;                /* [orbitals][orbitals] */
    size_t *offset;                /* [images+1] first orbital of an image */
    double seconds, flops;
    size_t tiles;
} scratch;

struct nh_grid_basis {
    nh_grid_basis_task task;
    nh_orbital_table *table; /* [n_species] */
    double *origin;          /* [n_atom][3] bohr */
    size_t n_tile;
    tile *tiles;
    size_t *first_image; /* [n_tile+1] */
    image *images;
    size_t n_hash;   /* a power of two */
    uint32_t *hash;  /* [n_hash] pairs by (a, b, R); UINT32_MAX: empty */
    size_t *reverse; /* [pairs] */
    size_t most_points, most_orbitals, most_images, stride;
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
    for (int x = 0; x < 3; x++) {
        parts[x] = (g->n[x] + EDGE / 2) / EDGE;
        if (parts[x] == 0) parts[x] = 1;
        b->n_tile *= parts[x];
    }
    b->tiles = NH_ARRAY(tile, b->n_tile);
    if (b->tiles == NULL) return nh_fail_memory(err, "the tiles of the grid");
    for (size_t t = 0; t < b->n_tile; t++) {
        const size_t at[3] = {t / (parts[1] * parts[2]), t / parts[2] % parts[1], t % parts[2]};
        size_t points = 1;
        for (int x = 0; x < 3; x++) {
            b->tiles[t].from[x] = cut(g->n[x], parts[x], at[x]);
            b->tiles[t].to[x] = cut(g->n[x], parts[x], at[x] + 1);
            points *= b->tiles[t].to[x] - b->tiles[t].from[x];
        }
        b->most_points = points > b->most_points ? points : b->most_points;
    }
    return 0;
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

/* Whether some point of the tile is within `radius` of the place. */
static bool reaches(const nh_grid *g, const tile *t, const double place[3], double radius)
{
    double corner[3], step[3][3];
    const double at[3] = {t->from[0], t->from[1], t->from[2]};
    point_at(g, at, corner);
    for (int a = 0; a < 3; a++)
        for (int x = 0; x < 3; x++)
            step[a][x] = g->lattice[3 * a + x] / (double)g->n[a];
    const double limit = radius * radius;
    for (uint32_t i = 0; i < t->to[0] - t->from[0]; i++)
        for (uint32_t j = 0; j < t->to[1] - t->from[1]; j++) {
            double row[3];
            for (int x = 0; x < 3; x++)
                row[x] = corner[x] + i * step[0][x] + j * step[1][x] - place[x];
            for (uint32_t k = 0; k < t->to[2] - t->from[2]; k++) {
                const double x = row[0] + k * step[2][0], y = row[1] + k * step[2][1],
                             z = row[2] + k * step[2][2];
                if (x * x + y * y + z * z < limit) return true;
            }
        }
    return false;
}

/* The tiles that one atom reaches, as many of its images as that takes. */
typedef struct reached {
    uint32_t tile;
    int16_t cell[3];
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
                double shift[3], place[3], middle[3], centre[3], half[3] = {0, 0, 0};
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
                double around = 0;
                for (int x = 0; x < 3; x++) {
                    const double *a = g->lattice + 3 * x;
                    half[x] = 0.5 * (double)(t->to[x] - t->from[x] - 1) / (double)g->n[x];
                    around += half[x] * sqrt(a[0] * a[0] + a[1] * a[1] + a[2] * a[2]);
                }
                const double d = distance(place, centre);
                if (d >= radius + around || !reaches(g, t, place, radius)) continue;
                if (r->count[atom] == room) {
                    room = room == 0 ? 1024 : 2 * room;
                    reached *more = realloc(r->list[atom], room * sizeof *more);
                    if (more == NULL) {
                        atomic_store(&r->failed, 1);
                        return;
                    }
                    r->list[atom] = more;
                }
                r->list[atom][r->count[atom]++] =
                    (reached){(uint32_t)index, {(int16_t)cell[0], (int16_t)cell[1], (int16_t)cell[2]}};
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
                (image){(int32_t)a, {x->cell[0], x->cell[1], x->cell[2]}};
        }
    free(next);
    for (size_t t = 0; t < b->n_tile; t++) {
        const size_t first = b->first_image[t], n = b->first_image[t + 1] - first;
        qsort(b->images + first, n, sizeof *b->images, by_place);
        size_t orbitals = 0;
        for (size_t i = first; i < first + n; i++)
            orbitals += b->table[s->species[b->images[i].atom]].n_orbital;
        b->most_orbitals = orbitals > b->most_orbitals ? orbitals : b->most_orbitals;
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

static size_t points_of(const tile *t)
{
    return (size_t)(t->to[0] - t->from[0]) * (t->to[1] - t->from[1]) * (t->to[2] - t->from[2]);
}

/* A row of Phi begins at a cache line; a stride of a power of two would put all rows at one place of the
 * cache. */
static size_t stride_of(size_t points)
{
    const size_t n = (points + NH_LANES_OF_POINTS - 1) / NH_LANES_OF_POINTS * NH_LANES_OF_POINTS;
    return n % 32 == 0 ? n + NH_LANES_OF_POINTS : n;
}

/* --- Phi of a tile */

/* First orbital of each image; returns the number of orbitals. */
static size_t make_offsets(const nh_grid_basis *b, size_t t, scratch *w)
{
    size_t n = 0;
    const size_t first = b->first_image[t], count = b->first_image[t + 1] - first;
    for (size_t p = 0; p < count; p++) {
        w->offset[p] = n;
        n += b->table[b->task.structure->species[b->images[first + p].atom]].n_orbital;
    }
    w->offset[count] = n;
    return n;
}

/* The tile's points in their own order. */
static size_t list_points(const nh_grid_basis *b, const tile *t, scratch *w)
{
    const nh_grid *g = b->task.grid;
    size_t n = 0;
    for (size_t i = t->from[0]; i < t->to[0]; i++)
        for (size_t j = t->from[1]; j < t->to[1]; j++)
            for (size_t k = t->from[2]; k < t->to[2]; k++)
                w->point[n++] = (i * g->n[1] + j) * g->n[2] + k;
    return n;
}

/* phi[orbital][stride] of the points in w->point, times w->scale. */
static void make_phi(const nh_grid_basis *b, size_t t, size_t n, scratch *w, double *phi)
{
    const nh_grid *g = b->task.grid;
    const size_t padded = (n + NH_LANES_OF_POINTS - 1) / NH_LANES_OF_POINTS * NH_LANES_OF_POINTS;
    double step[3][3];
    for (int a = 0; a < 3; a++)
        for (int x = 0; x < 3; x++)
            step[a][x] = g->lattice[3 * a + x] / (double)g->n[a];
    for (size_t k = 0; k < padded; k++) {
        const size_t at = w->point[k < n ? k : n - 1];
        const double i = (double)(at / (g->n[1] * g->n[2])), j = (double)(at / g->n[2] % g->n[1]),
                     l = (double)(at % g->n[2]);
        w->x[k] = i * step[0][0] + j * step[1][0] + l * step[2][0];
        w->y[k] = i * step[0][1] + j * step[1][1] + l * step[2][1];
        w->z[k] = i * step[0][2] + j * step[1][2] + l * step[2][2];
        if (k >= n) w->scale[k] = 0;
    }
    for (size_t p = b->first_image[t]; p < b->first_image[t + 1]; p++) {
        const image *im = &b->images[p];
        const double shift[3] = {im->cell[0], im->cell[1], im->cell[2]};
        double place[3];
        nh_lattice_apply(shift, g->lattice, place);
        for (int x = 0; x < 3; x++)
            place[x] += b->origin[3 * (size_t)im->atom + (size_t)x];
        nh_orbitals_at(&b->table[b->task.structure->species[im->atom]], padded, w->x, w->y, w->z, place,
                       w->scale, phi + w->offset[p - b->first_image[t]] * b->stride, b->stride);
    }
}

/* --- the basis */

static void store_tile(void *context, size_t t, int thread)
{
    nh_grid_basis *b = context;
    scratch *w = &b->work[thread];
    make_offsets(b, t, w);
    const size_t n = list_points(b, &b->tiles[t], w);
    for (size_t k = 0; k < n; k++)
        w->scale[k] = 1;
    make_phi(b, t, n, w, b->stored + b->place[t]);
}

static int store(nh_grid_basis *b, nh_error *err)
{
    const nh_structure *s = b->task.structure;
    size_t numbers = 0, limit = b->task.memory / sizeof(double);
    b->place = NH_ARRAY(size_t, b->n_tile + 1);
    if (b->place == NULL) return nh_fail_memory(err, "stored orbitals");
    for (size_t t = 0; t < b->n_tile; t++) {
        size_t orbitals = 0;
        for (size_t p = b->first_image[t]; p < b->first_image[t + 1]; p++)
            orbitals += b->table[s->species[b->images[p].atom]].n_orbital;
        const size_t more = orbitals * b->stride;
        if (more > limit - numbers) break;
        numbers += more;
        b->place[++b->n_stored] = numbers;
    }
    if (b->n_stored == 0) return 0;
    b->stored = nh_calloc_aligned(numbers, sizeof *b->stored);
    if (b->stored == NULL) return nh_fail_memory(err, "stored orbitals");
    nh_parallel_for(b->task.threads, b->n_stored, store_tile, b);
    return 0;
}

static int make_scratch(nh_grid_basis *b, nh_error *err)
{
    const size_t threads = (size_t)nh_threads_count(b->task.threads);
    b->stride = stride_of(b->most_points);
    size_t phi, square;
    if (!nh_size_mul(b->most_orbitals, b->stride, &phi) ||
        !nh_size_mul(b->most_orbitals, b->most_orbitals, &square) || b->most_orbitals > INT_MAX)
        return nh_fail_memory(err, "the orbitals of a tile");
    b->work = NH_ARRAY(scratch, threads);
    if (b->work == NULL) return nh_fail_memory(err, "the orbitals of a tile");
    for (size_t i = 0; i < threads; i++) {
        scratch *w = &b->work[i];
        w->x = nh_calloc_aligned(b->stride, sizeof *w->x);
        w->y = nh_calloc_aligned(b->stride, sizeof *w->y);
        w->z = nh_calloc_aligned(b->stride, sizeof *w->z);
        w->scale = nh_calloc_aligned(b->stride, sizeof *w->scale);
        w->v = nh_calloc_aligned(b->stride, sizeof *w->v);
        w->point = NH_ARRAY(size_t, b->stride);
        w->own_point = NH_ARRAY(size_t, b->stride);
        w->own = NH_ARRAY(uint32_t, b->stride);
        w->phi = nh_calloc_aligned(phi, sizeof *w->phi);
        w->other = nh_calloc_aligned(phi, sizeof *w->other);
        w->square = nh_calloc_aligned(square, sizeof *w->square);
        w->offset = NH_ARRAY(size_t, b->most_images + 1);
        if (w->x == NULL || w->y == NULL || w->z == NULL || w->scale == NULL || w->v == NULL ||
            w->point == NULL || w->own_point == NULL || w->own == NULL || w->phi == NULL ||
            w->other == NULL || w->square == NULL || w->offset == NULL)
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
        free(w->x);
        free(w->y);
        free(w->z);
        free(w->scale);
        free(w->v);
        free(w->point);
        free(w->own_point);
        free(w->own);
        free(w->phi);
        free(w->other);
        free(w->square);
        free(w->offset);
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

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void wait_for(const atomic_size_t *turn, size_t t)
{
    for (int looks = 0; atomic_load_explicit(turn, memory_order_acquire) != t; looks++)
        if (looks >= SPINS) sched_yield();
}

/* Adds the blocks of one image's rows. */
static void scatter_rows(const nh_grid_basis *b, size_t t, size_t p, const scratch *w, size_t n, double *h)
{
    const image *im = b->images + b->first_image[t];
    const size_t count = b->first_image[t + 1] - b->first_image[t];
    const size_t rows = w->offset[p + 1] - w->offset[p];
    for (size_t q = p; q < count; q++) {
        const int cell[3] = {im[q].cell[0] - im[p].cell[0], im[q].cell[1] - im[p].cell[1],
                             im[q].cell[2] - im[p].cell[2]};
        const uint32_t pair = find_pair(b, im[p].atom, im[q].atom, cell);
        if (pair == UINT32_MAX) continue; /* they do not overlap (check_pairs) */
        const size_t columns = w->offset[q + 1] - w->offset[q];
        double *to = h + b->task.pairs->start[pair];
        const double *from = w->square + w->offset[p] * n + w->offset[q];
        for (size_t i = 0; i < rows; i++)
            for (size_t j = p == q ? i : 0; j < columns; j++)
                to[i * columns + j] += from[i * n + j];
    }
}

/* The points with V > 0, then the others; their scales are sqrt(|V| dV). Returns how many are in front. */
static size_t sort_by_sign(const nh_grid_basis *b, const tile *t, const double *v, size_t n, scratch *w)
{
    const double dv = b->task.grid->volume / (double)b->task.grid->n_point;
    list_points(b, t, w);
    size_t positive = 0;
    for (size_t k = 0; k < n; k++) {
        w->own_point[k] = w->point[k];
        w->v[k] = v[w->point[k]];
        positive += w->v[k] > 0;
    }
    size_t up = 0, down = positive;
    for (size_t k = 0; k < n; k++) {
        const size_t to = w->v[k] > 0 ? up++ : down++;
        w->own[to] = (uint32_t)k;
        w->point[to] = w->own_point[k];
        w->scale[to] = sqrt(fabs(w->v[k]) * dv);
    }
    return positive;
}

/* Stored orbitals, in the order of the signs and scaled. */
static void scale_stored(const double *stored, size_t orbitals, size_t n, size_t stride, bool sorted,
                         const scratch *w)
{
    const double *scale = w->scale;
    for (size_t i = 0; i < orbitals; i++) {
        const double *from = stored + i * stride;
        double *to = w->phi + i * stride;
        if (sorted)
            for (size_t k = 0; k < n; k++)
                to[k] = scale[k] * from[k];
        else
            for (size_t k = 0; k < n; k++)
                to[k] = scale[k] * from[w->own[k]];
    }
}

static void matrix_of_tile(void *context, size_t t, int thread)
{
    matrix_loop *loop = context;
    const nh_grid_basis *b = loop->b;
    scratch *w = &b->work[thread];
    const double began = now();
    const image *images = b->images + b->first_image[t];
    const size_t n_image = b->first_image[t + 1] - b->first_image[t], points = points_of(&b->tiles[t]);
    const size_t n = make_offsets(b, t, w), positive = sort_by_sign(b, &b->tiles[t], loop->v, points, w);
    if (n > 0) {
        if (t < b->n_stored)
            scale_stored(b->stored + b->place[t], n, points, b->stride, positive == 0 || positive == points,
                         w);
        else
            make_phi(b, t, points, w, w->phi);
        const int rows = (int)n, stride = (int)b->stride, up = (int)positive, down = (int)(points - positive);
        /* By columns the lower triangle, by rows the upper one. */
        if (up > 0)
            cblas_dsyrk(CblasColMajor, CblasLower, CblasTrans, rows, up, 1, w->phi, stride, 0, w->square,
                        rows);
        if (down > 0)
            cblas_dsyrk(CblasColMajor, CblasLower, CblasTrans, rows, down, -1, w->phi + up, stride,
                        up > 0 ? 1 : 0, w->square, rows);
    }
    size_t p = 0;
    double waited = 0;
    for (size_t stripe = 0; stripe < loop->n_stripe; stripe++) {
        const double from = now();
        wait_for(&loop->turn[stripe], t);
        waited += now() - from;
        for (; p < n_image && (size_t)images[p].atom * loop->n_stripe / b->task.structure->n_atom == stripe;
             p++)
            scatter_rows(b, t, p, w, n, loop->h);
        atomic_store_explicit(&loop->turn[stripe], t + 1, memory_order_release);
    }
    w->tiles++;
    w->flops += (double)n * (double)n * (double)points;
    w->seconds += now() - began - waited;
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

/* square[n][n]: of the images' blocks those with p <= q, twice where p < q. */
static void gather(const nh_grid_basis *b, size_t t, const double *density, size_t n, const scratch *w)
{
    const image *im = b->images + b->first_image[t];
    const size_t count = b->first_image[t + 1] - b->first_image[t];
    for (size_t p = 0; p < count; p++)
        for (size_t q = p; q < count; q++) {
            const int cell[3] = {im[q].cell[0] - im[p].cell[0], im[q].cell[1] - im[p].cell[1],
                                 im[q].cell[2] - im[p].cell[2]};
            const uint32_t pair = find_pair(b, im[p].atom, im[q].atom, cell);
            const size_t rows = w->offset[p + 1] - w->offset[p], columns = w->offset[q + 1] - w->offset[q];
            const double *from = pair != UINT32_MAX ? density + b->task.pairs->start[pair] : NULL;
            const double factor = p == q ? 1 : 2;
            double *to = w->square + w->offset[p] * n + w->offset[q];
            for (size_t i = 0; i < rows; i++)
                for (size_t j = 0; j < columns; j++)
                    to[i * n + j] = from != NULL ? factor * from[i * columns + j] : 0;
        }
}

static void density_of_tile(void *context, size_t t, int thread)
{
    const density_loop *loop = context;
    const nh_grid_basis *b = loop->b;
    scratch *w = &b->work[thread];
    const double began = now();
    const size_t n_image = b->first_image[t + 1] - b->first_image[t], stride = b->stride;
    const size_t n = make_offsets(b, t, w), points = list_points(b, &b->tiles[t], w);
    const double *phi = w->phi;
    double *rho = w->v, *u = w->other;
    for (size_t k = 0; k < points; k++)
        rho[k] = 0;
    if (t < b->n_stored) {
        phi = b->stored + b->place[t];
    } else {
        for (size_t k = 0; k < points; k++)
            w->scale[k] = 1;
        make_phi(b, t, points, w, w->phi);
    }
    gather(b, t, loop->p, n, w);
    /* Columns of P by panels of whole images, rows down to the panel's last image; below the diagonal block
     * of a panel the blocks p > q are taken as zero, image by image. */
    for (size_t first = 0, last; first < n_image; first = last) {
        const size_t column = w->offset[first];
        for (last = first + 1; last < n_image && w->offset[last] - column < PANEL;)
            last++;
        const size_t columns = w->offset[last] - column;
        for (size_t p = first; p < last; p++)
            for (size_t i = w->offset[p]; i < w->offset[p + 1]; i++)
                for (size_t j = column; j < w->offset[p]; j++)
                    w->square[i * n + j] = 0;
        cblas_dgemm(CblasColMajor, CblasNoTrans, CblasTrans, (int)points, (int)columns, (int)w->offset[last],
                    1, phi, (int)stride, w->square + column, (int)n, 0, u, (int)stride);
        for (size_t j = 0; j < columns; j++) {
            const double *a = phi + (column + j) * stride, *c = u + j * stride;
            for (size_t k = 0; k < points; k++)
                rho[k] += a[k] * c[k];
        }
    }
    for (size_t k = 0; k < points; k++)
        loop->rho[w->point[k]] = rho[k];
    w->tiles++;
    w->flops += (double)n * (double)n * (double)points;
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
