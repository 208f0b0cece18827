#include "crystal/neighbours.h"
#include "lcao/grid_basis.h"

#include "base/memory.h"
#include "lcao/grid_basis_internal.h"

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
    STRIPES = 16,
    SPINS = 200 /* looks at a counter before the thread lets others run */
};

typedef nh_grid_image image;

/* What each thread has for itself. */
typedef struct nh_grid_scratch {
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

/* Part i of n cut into `parts` nearly equal parts. */
static size_t cut(size_t n, size_t parts, size_t i)
{
    return n * i / parts;
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
        n += nh_grid_orbitals(b, im) * im->groups * NH_GROUP;
        uint8_t rank = 0;
        for (uint64_t rest = im->reached; rest != 0; rest &= rest - 1)
            w->rank[p][__builtin_ctzll(rest)] = rank++;
    }
    w->start[count] = n;
    return n;
}

/* The tile's points, group after group; returns their number. */
static size_t list_points(const nh_grid_basis *b, const nh_grid_tile *t, scratch *w)
{
    const nh_grid *g = b->task.grid;
    uint32_t first[NH_GROUPS_MAX][3];
    const size_t n = nh_grid_groups(t, first);
    for (size_t i = 0; i < n; i++) {
        const double at[3] = {first[i][0], first[i][1], first[i][2]};
        double corner[3];
        nh_grid_bohr(g, at, corner);
        for (size_t k = 0; k < NH_GROUP; k++) {
            const size_t to = i * NH_GROUP + k;
            w->point[to] = nh_grid_point(g, t, first[i], k);
            w->present[to] = w->point[to] != SIZE_MAX ? 1 : 0;
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
        double place[3];
        nh_grid_image_place(b, im, place);
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
            more += nh_grid_orbitals(b, &b->images[p]) * b->images[p].groups * NH_GROUP;
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
    if (nh_grid_tiles_make(b, err) != 0 || make_scratch(b, err) != 0 || store(b, err) != 0) goto fail;
    *out = b;
    return 0;
fail:
    nh_grid_basis_free(b);
    return -1;
}

void nh_grid_basis_free(nh_grid_basis *b)
{
    if (b == NULL) return;
    if (b->placed != NULL) b->device->call->tiles->drop(b->placed);
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
    const size_t orbitals = nh_grid_orbitals(b, &im[p]), parts = (orbitals + NH_ROWS_MAX - 1) / NH_ROWS_MAX;
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
            const size_t columns = nh_grid_orbitals(b, &im[q]), skip = q == p ? first : 0;
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
    const size_t n_image = b->first_image[t + 1] - b->first_image[t], rows = nh_grid_orbitals(b, &im[p]);
    for (size_t q = p; q < n_image; q++) {
        if ((im[p].reached & im[q].reached) == 0) continue;
        const size_t columns = nh_grid_orbitals(b, &im[q]);
        const uint32_t pair = nh_grid_pair_of(b, &im[p], &im[q]);
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
    const nh_pairs *pairs = b->task.pairs;
    const size_t n_atom = b->task.structure->n_atom;
    matrix_loop loop = {.b = b, .v = v, .h = h, .n_stripe = n_atom < STRIPES ? n_atom : STRIPES};
    for (size_t i = 0; i < STRIPES; i++)
        atomic_init(&loop.turn[i], 0);
    if (b->placed != NULL) {
        if (nh_grid_device_matrix(b, v, h, err) != 0) return -1;
    } else {
        memset(h, 0, pairs->n_elem * sizeof *h);
        nh_parallel_for(b->task.threads, b->n_tile, matrix_of_tile, &loop);
    }
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
    const size_t orbitals = nh_grid_orbitals(b, &im[p]), parts = (orbitals + NH_ROWS_MAX - 1) / NH_ROWS_MAX;
    for (size_t part = 0; part < parts; part++) {
        const size_t first = cut(orbitals, parts, part), rows = cut(orbitals, parts, part + 1) - first;
        double sum[NH_ROWS_MAX * NH_CHUNK * NH_GROUP] __attribute__((aligned(64))) = {0};
        for (size_t i = 0; i < count; i++) {
            const size_t q = w->seen[i], columns = nh_grid_orbitals(b, &im[q]);
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
            w->pair[q] = nh_grid_pair_of(b, &im[p], &im[q]);
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
    if (b->placed != NULL) return nh_grid_device_density(b, p, rho, err);
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
