/* The Wigner-Eckart kernels against nextham/embedding.c in both precisions: random bases, one and four spin blocks, shells that an atom
 * lacks, selections that lack shell pairs, edges that have no block, hub atoms; 0, 1, odd numbers of edges; three orders of the blocks. */
#include "one_device.h"

#include "base/random.h"
#include "kernels/ops.h"
#include "network/network.h"
#include "nextham/embedding.h"

static nh_gpu *gpu;

enum { SPECIES = 3, MOST_SHELLS = 16 };

/* A basis, three species that have a part of its shells each, and n edges between them; atom 0, which has all shells, is a hub. */
typedef struct fixture {
    int l[MOST_SHELLS];
    size_t n_shell, slot[SPECIES * MOST_SHELLS];
    nh_embedding *e;
    nh_structure s;
    nh_selection part;
    bool *even;
    size_t n, n_elem;
    nhk_block edge[80];
    double *matrix; /* [4][n_elem][2], or one block */
} fixture;

/* The transform to and from the part of the vectors that the fixture has. */
#define PART(f) (&(nh_transform){(f)->e, &(f)->part, &(f)->s, (f)->slot})

static double *noise(size_t n, uint64_t seed)
{
    double *x = calloc(n + 1, sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = nh_hash_uniform(seed, i);
    return x;
}

static fixture fixture_new(uint64_t seed, size_t n, nh_embedding_part part)
{
    fixture f = {.n = n};
    nh_random r;
    nh_random_seed(&r, seed, "bases");
    size_t counts[SPECIES] = {0}, total = 0;
    int shell_l[SPECIES * MOST_SHELLS];
    for (int l = 0; l <= 3; l++) /* degrees ascend, as in every basis */
        for (int k = 0; k < (l == 0 ? 2 : 1) + (nh_random_uniform(&r) < 0.4); k++)
            f.l[f.n_shell++] = l;
    for (size_t a = 0; a < SPECIES; a++)
        for (size_t i = 0; i < f.n_shell; i++)
            if (a == 0 || i == a || nh_random_uniform(&r) < 0.5) {
                shell_l[total++] = f.l[i];
                counts[a]++;
            }
    OK(nh_embedding_new(f.n_shell, f.l, &f.e, &err));
    OK(nh_structure_new(SPECIES, SPECIES, &f.s, &err));
    OK(nh_structure_set_shells(&f.s, counts, shell_l, &err));
    for (int a = 0; a < SPECIES; a++)
        f.s.atomic_number[a] = a + 1;
    OK(nh_embedding_slots(f.e, &f.s, f.slot, &err));
    bool *used = calloc(nh_embedding_pairs(f.e), sizeof *used);
    assert_non_null(used);
    for (size_t p = 0; p < nh_embedding_pairs(f.e); p++)
        used[p] = p == 0 || nh_random_uniform(&r) < 0.8;
    OK(nh_selection_new(f.e, part, seed % 2 ? used : NULL, &f.part, &err));
    free(used);
    for (size_t e = 0; e < n; e++) {
        const int other = (int)(3 * nh_random_uniform(&r));
        f.edge[e] = (nhk_block){f.n_elem, e % 3 == 2 ? other : 0, e % 3 == 2 ? (int)e % 2 : other};
        f.n_elem +=
            nh_species_orbitals(&f.s, (size_t)f.edge[e].a) * nh_species_orbitals(&f.s, (size_t)f.edge[e].b) +
            e % 2;
    }
    f.matrix = noise(8 * f.n_elem, seed);
    f.even = calloc(f.part.irreps.dim + 1, sizeof *f.even);
    assert_non_null(f.even);
    if (part == NH_PART_ALL) nh_selection_time_even(f.e, &f.part, f.even);
    return f;
}

static void fixture_free(fixture *f)
{
    nh_selection_free(&f->part);
    nh_embedding_free(f->e);
    nh_structure_free(&f->s);
    free(f->matrix);
    free(f->even);
}

static void *up(const void *from, size_t bytes)
{
    void *p = nhk_alloc(gpu, bytes, 1);
    nhk_upload(gpu, p, from, bytes);
    return p;
}

/* The kernel's n numbers in three orders of the blocks: the same bits. `run` writes to out (of n numbers of `size` bytes, `first` before). */
typedef void launch(void *context, void *out);
static void in_orders(size_t n, size_t size, const void *first, launch *run, void *context, void *found)
{
    void *out = nhk_alloc(gpu, n, size), *again = calloc(n + 1, size);
    assert_non_null(again);
    for (uint64_t seed = 0; seed < 3; seed++) {
        emu_seed(seed);
        if (first != NULL) nhk_upload(gpu, out, first, n * size);
        run(context, out);
        nhk_download(gpu, seed == 0 ? found : again, out, n * size);
        OK(nhk_sync(gpu, &err));
        if (seed > 0) assert_memory_equal(found, again, n * size);
    }
    emu_seed(0);
    nhk_free(gpu, out);
    free(again);
}

static void expect(const char *what, size_t n, const double *found, const double *expected, double tolerance)
{
    double worst = 0, largest = 0;
    for (size_t i = 0; i < n; i++) {
        worst = fmax(worst, isfinite(found[i]) ? fabs(found[i] - expected[i]) : INFINITY);
        largest = fmax(largest, fabs(expected[i]));
    }
    if (worst > tolerance * largest) fail_msg("%s: %g of %g", what, worst, largest);
}

typedef struct call {
    const fixture *f;
    const nhk_embedding *t;
    const nhk_block *edge;
    const int *which;
    const void *x; /* on the device */
    size_t origin, stride;
    int spin_blocks;
    bool add;
} call;

static const double SCALE = 1.3;

#define CASES(real, suffix, tolerance)                                                                       \
    static void up_##suffix(void *context, void *out)                                                        \
    {                                                                                                        \
        const call *c = context;                                                                             \
        nhk_block_to_irreps_##suffix(gpu, c->t, c->f->n, c->edge, c->spin_blocks, c->x, c->origin,           \
                                     c->stride, SCALE, out);                                                 \
    }                                                                                                        \
    static void down_##suffix(void *context, void *out)                                                      \
    {                                                                                                        \
        const call *c = context;                                                                             \
        nhk_irreps_to_correction_##suffix(gpu, c->t, c->f->n, c->edge, c->which, c->x, SCALE, c->add, out);  \
    }                                                                                                        \
    static void adjoint_##suffix(void *context, void *out)                                                   \
    {                                                                                                        \
        const call *c = context;                                                                             \
        nhk_correction_to_irreps_adjoint_##suffix(gpu, c->t, c->f->n, c->edge, c->x, SCALE, out);            \
    }                                                                                                        \
    static void blocks_to_irreps_##suffix(const fixture *f, int n_spin, bool masked)                         \
    {                                                                                                        \
        const size_t dim = f->part.irreps.dim, count = f->n * dim, origin = f->n > 0 ? f->edge[0].start : 0; \
        double *expected = calloc(count + 1, sizeof *expected), *wide = calloc(count + 1, sizeof *wide);     \
        real *found = calloc(count + 1, sizeof *found);                                                      \
        nhk_embedding host;                                                                                  \
        assert_true(expected &&wide &&found);                                                                \
        OK(nh_embedding_tables(PART(f), masked ? f->even : NULL, &host, &err));                              \
        nhk_embedding t = nhk_embedding_new(gpu, &host);                                                     \
        nhk_block *edge = up(f->edge, f->n * sizeof *edge);                                                  \
        double *matrix = up(f->matrix, 2 * (size_t)n_spin * f->n_elem * sizeof *matrix);                     \
        call c = {.f = f,                                                                                    \
                  .t = &t,                                                                                   \
                  .edge = edge,                                                                              \
                  .x = matrix,                                                                               \
                  .origin = origin,                                                                          \
                  .stride = f->n_elem,                                                                       \
                  .spin_blocks = n_spin};                                                                    \
        in_orders(count, sizeof *found, NULL, up_##suffix, &c, found);                                       \
        for (size_t e = 0; e < f->n; e++) {                                                                  \
            double *row = expected + e * dim;                                                                \
            nh_block_to_irreps(PART(f), f->edge[e].a, f->edge[e].b, n_spin,                                  \
                               f->matrix + 2 * (f->edge[e].start - origin), 2 * f->n_elem, SCALE, row);      \
            for (size_t i = 0; masked && i < dim; i++)                                                       \
                if (!f->even[i]) row[i] = 0;                                                                 \
        }                                                                                                    \
        for (size_t i = 0; i < count; i++)                                                                   \
            wide[i] = (double)found[i];                                                                      \
        expect("nhk_block_to_irreps", count, wide, expected, tolerance);                                     \
        nhk_embedding_free(gpu, &t);                                                                         \
        nh_embedding_tables_free(&host);                                                                     \
        nhk_free(gpu, edge);                                                                                 \
        nhk_free(gpu, matrix);                                                                               \
        free(expected);                                                                                      \
        free(wide);                                                                                          \
        free(found);                                                                                         \
    }                                                                                                        \
    static void corrections_##suffix(const fixture *f, bool add)                                             \
    {                                                                                                        \
        const size_t dim = f->part.irreps.dim, count = f->n * dim;                                           \
        double *numbers = noise(count, 7), *d = noise(f->n_elem, 8),                                         \
               *found_d = calloc(f->n_elem + 1, sizeof *d);                                                  \
        double *expected = calloc(count + 1, sizeof *expected), *wide = calloc(count + 1, sizeof *wide),     \
               *room = noise(4096, 0);                                                                       \
        real *vector = calloc(count + 1, sizeof *vector), *found = calloc(count + 1, sizeof *found);         \
        int which[80];                                                                                       \
        nhk_block edges[80]; /* every seventh without a block */                                             \
        nhk_embedding host;                                                                                  \
        assert_true(found_d &&expected &&wide &&vector &&found);                                             \
        for (size_t i = 0; i < count; i++)                                                                   \
            vector[i] = (real)numbers[i];                                                                    \
        for (size_t e = 0; e < f->n; e++) {                                                                  \
            which[e] = (int)(f->n - 1 - e);                                                                  \
            edges[e] = f->edge[e];                                                                           \
            if (e % 7 == 5) edges[e].a = -1;                                                                 \
        }                                                                                                    \
        OK(nh_embedding_tables(PART(f), NULL, &host, &err));                                                 \
        nhk_embedding t = nhk_embedding_new(gpu, &host);                                                     \
        call c = {.f = f, .t = &t, .edge = up(edges, f->n * sizeof *edges), .add = add};                     \
        void *x = up(vector, count * sizeof *vector), *list = up(which, f->n * sizeof *which);               \
        c.x = x;                                                                                             \
        c.which = list;                                                                                      \
        in_orders(f->n_elem, sizeof *d, d, down_##suffix, &c, found_d);                                      \
        double *g_d = noise(f->n_elem, 9);                                                                   \
        void *seed = up(g_d, f->n_elem * sizeof *g_d);                                                       \
        c.x = seed;                                                                                          \
        in_orders(count, sizeof *found, NULL, adjoint_##suffix, &c, found);                                  \
        for (size_t k = 0; k < f->n; k++) {                                                                  \
            const nhk_block b = edges[which[k]];                                                             \
            if (b.a < 0) continue;                                                                           \
            double in[8192];                                                                                 \
            assert_true(dim <= 8192);                                                                        \
            for (size_t i = 0; i < dim; i++)                                                                 \
                in[i] = (double)vector[k * dim + i];                                                         \
            const size_t n =                                                                                 \
                nh_species_orbitals(&f->s, (size_t)b.a) * nh_species_orbitals(&f->s, (size_t)b.b);           \
            assert_true(n <= 4096);                                                                          \
            nh_irreps_to_correction(PART(f), b.a, b.b, in, room);                                            \
            for (size_t i = 0; i < n; i++)                                                                   \
                d[b.start + i] = (add ? d[b.start + i] : 0) + room[i] / SCALE;                               \
        }                                                                                                    \
        expect("nhk_irreps_to_correction", f->n_elem, found_d, d, 1e-14);                                    \
        for (size_t e = 0; e < f->n; e++) {                                                                  \
            if (edges[e].a < 0) continue;                                                                    \
            nh_correction_to_irreps_adjoint(PART(f), edges[e].a, edges[e].b, g_d + edges[e].start,           \
                                            expected + e * dim);                                             \
            for (size_t i = 0; i < dim; i++)                                                                 \
                expected[e * dim + i] /= SCALE;                                                              \
        }                                                                                                    \
        for (size_t i = 0; i < count; i++)                                                                   \
            wide[i] = (double)found[i];                                                                      \
        expect("nhk_correction_to_irreps_adjoint", count, wide, expected, tolerance);                        \
        nhk_embedding_free(gpu, &t);                                                                         \
        nh_embedding_tables_free(&host);                                                                     \
        nhk_free(gpu, x);                                                                                    \
        nhk_free(gpu, list);                                                                                 \
        nhk_free(gpu, seed);                                                                                 \
        nhk_free(gpu, (void *)(uintptr_t)c.edge);                                                            \
        void *const all[] = {numbers, d, found_d, expected, wide, room, vector, found, g_d};                 \
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)                                                \
            free(all[i]);                                                                                    \
    }
CASES(double, d, 1e-14)
CASES(float, f, 1e-7)

static const size_t SIZES[] = {0, 1, 2, 13};
enum { N_SIZES = sizeof SIZES / sizeof *SIZES };

static void up_test(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_SIZES; i++) {
        fixture f = fixture_new(i + 1, SIZES[i], NH_PART_ALL);
        for (int masked = 0; masked < 2; masked++)
            for (int n_spin = 1; n_spin <= 4; n_spin += 3) {
                blocks_to_irreps_d(&f, n_spin, masked);
                if (masked) blocks_to_irreps_f(&f, n_spin, masked);
            }
        fixture_free(&f);
    }
}

static void down_test(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_SIZES; i++)
        for (int part = NH_PART_ALL; part <= NH_PART_SCALAR; part++) {
            fixture f = fixture_new(2 * i + (size_t)part, SIZES[i], (nh_embedding_part)part);
            for (int add = 0; add < 2; add++)
                corrections_d(&f, add);
            corrections_f(&f, true);
            fixture_free(&f);
        }
}

/* A crystal on a device with `memory` bytes beside its tables: the features of all edges in tiles of five, and two runs' corrections, against the host.
 * False where it found no room. */
static bool crystal_in(const fixture *f, const nh_selection *answers, size_t memory)
{
    enum { TILE = 5 };
    const size_t dim = f->part.irreps.dim, n_out = answers->irreps.dim;
    nhk_embedding in, out;
    nhk_crystal *c;
    nh_network_d_ends ends;
    OK(nh_embedding_tables(PART(f), NULL, &in, &err));
    OK(nh_embedding_tables(&(nh_transform){f->e, answers, &f->s, f->slot}, NULL, &out, &err));
    const nhk_crystal_input input = {f->n, f->n_elem, 4, f->edge, f->matrix, &in, &out, SCALE};
    const size_t before = nhk_available(gpu);
    nhk_embedding on[2] = {nhk_embedding_new(gpu, &in), nhk_embedding_new(gpu, &out)};
    void *edge = up(f->edge, f->n * sizeof *f->edge);
    const size_t tables = before - nhk_available(gpu);
    for (size_t i = 0; i < 2; i++)
        nhk_embedding_free(gpu, &on[i]);
    nhk_free(gpu, edge);
    emu_memory(tables + memory);
    OK(device->call->crystal->make(gpu, &input, &c, &err));
    emu_memory((size_t)8 << 30);
    const bool there = c != NULL;
    if (there) {
        double *found = noise(f->n * dim, 0), *row = noise(dim, 0), *answer = noise(f->n * n_out, 3),
               *d = noise(f->n_elem, 0), *expected = calloc(f->n_elem + 1, sizeof *expected),
               *block = noise(4096, 0);
        double *tile = nhk_alloc(gpu, TILE * dim, sizeof *tile),
               *vector = up(answer, f->n * n_out * sizeof *answer);
        int which[80];
        assert_non_null(expected);
        device->call->crystal->ends_d(c, &ends);
        for (size_t first = 0; first < f->n; first += TILE) {
            const size_t n = f->n - first < TILE ? f->n - first : TILE;
            ends.source(ends.context, first, n, tile);
            nhk_download(gpu, found + first * dim, tile, n * dim * sizeof *tile);
            OK(nhk_sync(gpu, &err));
        }
        for (size_t e = 0; e < f->n; e++) {
            nh_block_to_irreps(PART(f), f->edge[e].a, f->edge[e].b, 4, f->matrix + 2 * f->edge[e].start,
                               2 * f->n_elem, SCALE, row);
            expect("features of a crystal", dim, found + e * dim, row, 1e-14);
            which[e] = (int)e;
        }
        int *list = up(which, f->n * sizeof *which);
        for (int run = 0; run < 2; run++) /* the second one answers for the edges from the third on */
            if (f->n > 2 || run == 0)
                ends.sink(ends.context, f->n - 2 * (size_t)run, list + 2 * run,
                          vector + 2 * (size_t)run * n_out, NULL);
        OK(device->call->crystal->corrections(c, d, &err));
        for (size_t e = 0; e < f->n; e++) {
            const nhk_block b = f->edge[e];
            const size_t n =
                nh_species_orbitals(&f->s, (size_t)b.a) * nh_species_orbitals(&f->s, (size_t)b.b);
            nh_irreps_to_correction(&(nh_transform){f->e, answers, &f->s, f->slot}, b.a, b.b,
                                    answer + e * n_out, block);
            for (size_t i = 0; i < n; i++)
                expected[b.start + i] = (e < 2 ? 1 : 2) * block[i] / SCALE;
        }
        expect("corrections of a crystal", f->n_elem, d, expected, 1e-14);
        nhk_free(gpu, tile);
        nhk_free(gpu, vector);
        nhk_free(gpu, list);
        double *const all[] = {found, row, answer, d, expected, block};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            free(all[i]);
    }
    device->call->crystal->drop(c);
    nh_embedding_tables_free(&in);
    nh_embedding_tables_free(&out);
    return there;
}

/* With H0 on the device as a whole, in pieces, and not at all. */
static void crystals(void **state)
{
    (void)state;
    fixture f = fixture_new(4, 13, NH_PART_ALL);
    nh_selection answers;
    OK(nh_selection_new(f.e, NH_PART_REAL, NULL, &answers, &err));
    assert_true(crystal_in(&f, &answers, (size_t)1 << 30));
#ifndef NH_REAL_DEVICE
    const size_t block = nh_species_orbitals(&f.s, 0) * nh_species_orbitals(&f.s, 0),
                 fixed = f.n_elem * sizeof(double);
    assert_true(crystal_in(&f, &answers, 4 * (fixed + 3 * block * 8 * sizeof(double))));
    assert_true(crystal_in(&f, &answers, 4 * (fixed + block * 8 * sizeof(double))));
    assert_false(crystal_in(&f, &answers, 4 * (fixed + block * 8 * sizeof(double)) - 4 * 8));
    assert_false(crystal_in(&f, &answers, 2 * fixed));
#endif
    nh_selection_free(&answers);
    fixture_free(&f);
}

static int open_gpu(void **state)
{
    const int status = open_device(state);
    gpu = status == 0 ? device->gpu : NULL;
    return status;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(up_test), cmocka_unit_test(down_test),
                                       cmocka_unit_test(crystals)};
    return cmocka_run_group_tests(tests, open_gpu, close_device);
}
