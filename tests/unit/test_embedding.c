/* Wigner-Eckart transforms: golden numbers, selections, covariance (docs/network.md 4). */
#include "base/memory.h"
#include "base/random.h"
#include "nextham/embedding.h"
#include "o3/wigner.h"

#include <netcdf.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { N_SHELL = 9, N = 27, N_OUT = 5832, N_ENTRY = 1108 };

static const int padded[N_SHELL] = {0, 0, 0, 0, 1, 1, 2, 2, 3}; /* 4s2p2d1f */

/* Species of the tests: 0 Zn 4s2p2d1f (27 orbitals), 1 O 2s2p1d (13), 2 Ga 2s2p2d1f (25). */
static const size_t counts[3] = {9, 5, 7};
static const int shells[21] = {0, 0, 0, 0, 1, 1, 2, 2, 3, 0, 0, 1, 1, 2, 0, 0, 1, 1, 2, 2, 3};

typedef struct bench {
    nh_embedding *e;
    nh_structure s;
    size_t slot[21];
} bench;

static int set_up(void **state)
{
    bench *const b = calloc(1, sizeof *b);
    nh_error err = {""};
    if (nh_embedding_new(N_SHELL, padded, &b->e, &err) != 0 || nh_structure_new(3, 3, &b->s, &err) != 0 ||
        nh_structure_set_shells(&b->s, counts, shells, &err) != 0)
        return -1;
    b->s.atomic_number[0] = 30;
    b->s.atomic_number[1] = 8;
    b->s.atomic_number[2] = 31;
    for (int i = 0; i < 3; i++)
        b->s.species[i] = i;
    if (nh_embedding_slots(b->e, &b->s, b->slot, &err) != 0) return -1;
    *state = b;
    return 0;
}

static int tear_down(void **state)
{
    bench *const b = *state;
    nh_embedding_free(b->e);
    nh_structure_free(&b->s);
    free(b);
    return 0;
}

static int open_golden(const char *name)
{
    const char *const folder = getenv("NH_GOLDEN");
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder != NULL ? folder : "tests/golden", name);
    int file;
    if (nc_open(path, NC_NOWRITE, &file) != NC_NOERR) fail_msg("%s cannot be opened", path);
    return file;
}

static void *read_variable(int file, const char *name, size_t count, nc_type type)
{
    int id;
    void *const data = calloc(count, sizeof(double));
    assert_non_null(data);
    assert_int_equal(nc_inq_varid(file, name, &id), NC_NOERR);
    assert_int_equal(type == NC_INT ? nc_get_var_int(file, id, data) : nc_get_var_double(file, id, data),
                     NC_NOERR);
    return data;
}

/* file[k] = stored[perm[k]] of section 4.4, for the 27 padded orbitals. */
static void stored_of_file(size_t stored[N])
{
    static const int perm[4][7] = {{0}, {1, 2, 0}, {2, 4, 0, 3, 1}, {6, 4, 2, 0, 1, 3, 5}};
    size_t n = 0;
    for (int i = 0; i < N_SHELL; i++) {
        for (int k = 0; k < 2 * padded[i] + 1; k++)
            stored[n + (size_t)k] = n + (size_t)perm[padded[i]][k];
        n += (size_t)(2 * padded[i] + 1);
    }
}

static double largest(size_t n, const double *a)
{
    double m = 0;
    for (size_t i = 0; i < n; i++)
        m = fmax(m, fabs(a[i]));
    return m;
}

static double difference(size_t n, const double *a, const double *b)
{
    double m = 0;
    for (size_t i = 0; i < n; i++)
        m = fmax(m, fabs(a[i] - b[i]));
    return m;
}

static void fill(size_t n, double *a, const char *stream)
{
    const uint64_t h = nh_hash(stream);
    for (size_t i = 0; i < n; i++)
        a[i] = nh_hash_uniform(h, i);
}

static void test_golden_entries(void **state)
{
    bench *const b = *state;
    const int file = open_golden("wignereckart.nc");
    int *const lp = read_variable(file, "irreps_lp", 2 * N_ENTRY, NC_INT);
    nc_close(file);
    nh_selection all;
    assert_int_equal(nh_selection_new(b->e, NH_PART_ALL, NULL, &all, NULL), 0);
    assert_int_equal(all.irreps.count, N_ENTRY);
    assert_int_equal(all.irreps.dim, N_OUT);
    assert_int_equal(all.imaginary, N_OUT / 2);
    for (size_t i = 0; i < N_ENTRY; i++) {
        assert_int_equal(all.irreps.entry[i].l, lp[2 * i]);
        assert_int_equal(all.irreps.entry[i].p, lp[2 * i + 1]);
        assert_int_equal(all.entry[i], i);
    }
    nh_selection_free(&all);
    free(lp);
}

static void test_golden_transform(void **state)
{
    bench *const b = *state;
    const int file = open_golden("wignereckart.nc");
    double *const h = read_variable(file, "H", 3 * 54 * 54 * 2, NC_DOUBLE);
    double *const x = read_variable(file, "x", 3 * N_OUT, NC_DOUBLE);
    double *const y = read_variable(file, "y", 3 * N_OUT, NC_DOUBLE);
    double *const y_flat = read_variable(file, "y_H_flat", 3 * 4 * N * N * 2, NC_DOUBLE);
    nc_close(file);
    size_t stored[N];
    stored_of_file(stored);
    nh_selection all;
    assert_int_equal(nh_selection_new(b->e, NH_PART_ALL, NULL, &all, NULL), 0);
    double *const block = NH_ARRAY(double, 8 * N * N), *const back = NH_ARRAY(double, 8 * N * N);
    double *const vector = NH_ARRAY(double, N_OUT), *const again = NH_ARRAY(double, N_OUT);
    double forward = 0, backward = 0, round_trip = 0;
    for (size_t k = 0; k < 3; k++) {
        for (size_t s = 0; s < 4; s++)
            for (size_t i = 0; i < N; i++)
                for (size_t j = 0; j < N; j++)
                    for (size_t r = 0; r < 2; r++)
                        block[((s * N + i) * N + j) * 2 + r] =
                            h[((k * 54 + s / 2 * N + stored[i]) * 54 + s % 2 * N + stored[j]) * 2 + r];
        nh_block_to_irreps(&(nh_transform){b->e, &all, &b->s, b->slot}, 0, 0, 4, block, 2 * N * N, 1, vector);
        forward = fmax(forward, difference(N_OUT, vector, x + k * N_OUT) / largest(N_OUT, x + k * N_OUT));
        nh_irreps_to_block(&(nh_transform){b->e, &all, &b->s, b->slot}, 0, 0, vector, back);
        round_trip = fmax(round_trip, difference(8 * N * N, block, back) / largest(8 * N * N, block));

        /* y_H_flat: per spin the shell pairs one after another, in stored order */
        nh_irreps_to_block(&(nh_transform){b->e, &all, &b->s, b->slot}, 0, 0, y + k * N_OUT, back);
        nh_block_to_irreps(&(nh_transform){b->e, &all, &b->s, b->slot}, 0, 0, 4, back, 2 * N * N, 1, again);
        round_trip = fmax(round_trip, difference(N_OUT, again, y + k * N_OUT) / largest(N_OUT, again));
        size_t at = k * 4 * N * N * 2;
        for (size_t s = 0; s < 4; s++)
            for (size_t p = 0, row = 0; p < N_SHELL; row += (size_t)(2 * padded[p++] + 1))
                for (size_t q = 0, column = 0; q < N_SHELL; column += (size_t)(2 * padded[q++] + 1)) {
                    const size_t n1 = (size_t)(2 * padded[p] + 1), n2 = (size_t)(2 * padded[q] + 1);
                    for (size_t i = row; i < row + n1; i++)
                        for (size_t j = column; j < column + n2; j++)
                            for (size_t r = 0; r < 2; r++) {
                                const size_t flat =
                                    at + ((stored[i] - row) * n2 + stored[j] - column) * 2 + r;
                                backward =
                                    fmax(backward, fabs(back[((s * N + i) * N + j) * 2 + r] - y_flat[flat]));
                            }
                    at += 2 * n1 * n2;
                }
    }
    backward /= largest(3 * 4 * N * N * 2, y_flat);
    print_message("block -> vector %.2g, vector -> block %.2g, round trip %.2g\n", forward, backward,
                  round_trip);
    assert_true(forward < 1e-12);
    assert_true(backward < 1e-12);
    assert_true(round_trip < 1e-12);
    nh_selection_free(&all);
    free(h);
    free(x);
    free(y);
    free(y_flat);
    free(block);
    free(back);
    free(vector);
    free(again);
}

/* Atoms with fewer shells, spin strides larger than the block, a factor, and a selection: all against the
 * complete one. */
static void test_selection(void **state)
{
    bench *const b = *state;
    enum { N1 = 25, N2 = 13, BLOCK = N1 * N2, STRIDE = 2 * BLOCK + 34 };
    double *const block = NH_ARRAY(double, 4 * STRIDE), *const back = NH_ARRAY(double, 8 * BLOCK);
    fill(4 * STRIDE, block, "block");
    nh_selection all, some, parsed;
    bool used[N_SHELL * N_SHELL];
    nh_graph g = {.structure = b->s};
    nh_pair pair[2] = {{.src = 2, .dst = 1}, {.src = 1, .dst = 0}};
    g.pairs.pair = pair;
    g.pairs.count = 2;
    const size_t edge[1] = {0};
    nh_embedding_used(b->e, &g, b->slot, 1, edge, used);
    size_t n_used = 0;
    for (size_t i = 0; i < N_SHELL * N_SHELL; i++)
        n_used += used[i];
    assert_int_equal(n_used, 7 * 5);
    assert_true(used[8 * N_SHELL + 6]); /* f of Ga, d of O */
    assert_false(used[2 * N_SHELL]);    /* Ga has no third s */
    assert_int_equal(nh_selection_new(b->e, NH_PART_ALL, NULL, &all, NULL), 0);
    assert_int_equal(nh_selection_new(b->e, NH_PART_ALL, used, &some, NULL), 0);
    assert_int_equal(some.n_pair, 7 * 5);
    assert_int_equal(some.irreps.dim, 8 * BLOCK);

    double *const whole = NH_ARRAY(double, N_OUT), *const part = NH_ARRAY(double, some.irreps.dim);
    nh_block_to_irreps(&(nh_transform){b->e, &all, &b->s, b->slot}, 2, 1, 4, block, STRIDE, 0.5, whole);
    nh_block_to_irreps(&(nh_transform){b->e, &some, &b->s, b->slot}, 2, 1, 4, block, STRIDE, 0.5, part);
    size_t nonzero = 0;
    for (size_t i = 0; i < N_OUT; i++)
        nonzero += whole[i] != 0;
    assert_int_equal(nonzero, 8 * BLOCK);
    for (size_t i = 0; i < some.irreps.count; i++) { /* the entries are those of OUT that `entry` names */
        const nh_irrep *const a = &some.irreps.entry[i], *const o = &all.irreps.entry[some.entry[i]];
        assert_int_equal(a->l, o->l);
        assert_int_equal(a->p, o->p);
        assert_memory_equal(part + a->offset, whole + o->offset, (size_t)(2 * a->l + 1) * sizeof(double));
    }
    nh_irreps_to_block(&(nh_transform){b->e, &some, &b->s, b->slot}, 2, 1, part, back);
    for (size_t s = 0; s < 4; s++)
        for (size_t i = 0; i < 2 * BLOCK; i++)
            assert_true(fabs(back[s * 2 * BLOCK + i] - 0.5 * block[s * STRIDE + i]) < 1e-14);

    char *const text = nh_selection_text(b->e, &some), *const irreps = nh_irreps_text(&some.irreps);
    assert_non_null(text);
    assert_memory_equal(text, "0,0 0,1 0,4 ", 12);
    assert_int_equal(nh_selection_parse(b->e, text, irreps, &parsed, NULL), 0);
    assert_int_equal(parsed.n_pair, some.n_pair);
    assert_memory_equal(parsed.pair, some.pair, some.n_pair * sizeof *some.pair);
    assert_memory_equal(parsed.offset, some.offset, some.n_pair * sizeof *some.offset);
    assert_memory_equal(parsed.entry, some.entry, some.irreps.count * sizeof *some.entry);
    nh_selection_free(&parsed);

    /* spin = 1: uu = dd, nothing else; equal to the four-spin block that says so */
    for (size_t i = 0; i < 2 * BLOCK; i++) {
        block[3 * STRIDE + i] = block[i];
        block[STRIDE + i] = block[2 * STRIDE + i] = 0;
    }
    nh_block_to_irreps(&(nh_transform){b->e, &all, &b->s, b->slot}, 2, 1, 4, block, STRIDE, 1, whole);
    double *const one = NH_ARRAY(double, N_OUT);
    nh_block_to_irreps(&(nh_transform){b->e, &all, &b->s, b->slot}, 2, 1, 1, block, STRIDE, 1, one);
    assert_true(difference(N_OUT, one, whole) == 0);
    assert_true(largest(N_OUT, one) > 0.1);

    free(block);
    free(back);
    free(whole);
    free(part);
    free(one);
    free(text);
    free(irreps);
    nh_selection_free(&all);
    nh_selection_free(&some);
}

/* D from the complete vector, its real half, its scalars: all three from the block's own elements. */
static void test_correction(void **state)
{
    bench *const b = *state;
    enum { N1 = 13, N2 = 27, BLOCK = N1 * N2 };
    nh_selection all, real, scalar;
    assert_int_equal(nh_selection_new(b->e, NH_PART_ALL, NULL, &all, NULL), 0);
    assert_int_equal(nh_selection_new(b->e, NH_PART_REAL, NULL, &real, NULL), 0);
    assert_int_equal(nh_selection_new(b->e, NH_PART_SCALAR, NULL, &scalar, NULL), 0);
    assert_int_equal(real.irreps.dim, 2916);
    assert_int_equal(scalar.irreps.dim, 729);
    assert_int_equal(real.imaginary, 0);
    double *const block = NH_ARRAY(double, 8 * BLOCK), *const vector = NH_ARRAY(double, N_OUT);
    double *const scalars = NH_ARRAY(double, scalar.irreps.dim), *const d = NH_ARRAY(double, BLOCK);
    fill(N_OUT, vector,
         "vector"); /* with numbers also where the atoms have no orbitals: they must not matter */
    nh_irreps_to_block(&(nh_transform){b->e, &all, &b->s, b->slot}, 1, 0, vector, block);
    for (size_t i = 0; i < scalar.irreps.count; i++)
        memcpy(scalars + scalar.irreps.entry[i].offset, vector + all.irreps.entry[scalar.entry[i]].offset,
               (size_t)(2 * scalar.irreps.entry[i].l + 1) * sizeof(double));
    nh_irreps_to_correction(&(nh_transform){b->e, &all, &b->s, b->slot}, 1, 0, vector, d);
    for (size_t i = 0; i < BLOCK; i++)
        assert_true(fabs(d[i] - block[2 * i]) < 1e-13);
    nh_irreps_to_correction(&(nh_transform){b->e, &real, &b->s, b->slot}, 1, 0, vector, d);
    for (size_t i = 0; i < BLOCK; i++)
        assert_true(fabs(d[i] - block[2 * i]) < 1e-13);
    nh_irreps_to_correction(&(nh_transform){b->e, &scalar, &b->s, b->slot}, 1, 0, scalars, d);
    for (size_t i = 0; i < BLOCK; i++)
        assert_true(fabs(d[i] - (block[2 * i] + block[2 * (3 * BLOCK + i)]) / 2) < 1e-13);
    free(block);
    free(vector);
    free(scalars);
    free(d);
    nh_selection_free(&all);
    nh_selection_free(&real);
    nh_selection_free(&scalar);
}

/* Direct sum of D_l over the shells of a species. */
static double *orbital_rotation(const nh_structure *s, size_t species, const double q[9])
{
    const size_t n = nh_species_orbitals(s, species);
    double *const d = NH_ARRAY(double, n *n);
    size_t first = 0;
    for (size_t i = s->shell_start[species]; i < s->shell_start[species + 1]; i++) {
        const size_t k = (size_t)(2 * s->shell_l[i] + 1);
        double flat[(2 * NH_LMAX + 1) * (2 * NH_LMAX + 1)];
        assert_int_equal(nh_wigner_d(s->shell_l[i], q, flat, NULL), 0);
        for (size_t a = 0; a < k; a++)
            for (size_t b = 0; b < k; b++)
                d[(first + a) * n + first + b] = flat[a * k + b];
        first += k;
    }
    return d;
}

/* out = d1 in d2^T for `stride` interleaved numbers an element. */
static void sandwich(size_t n1, size_t n2, const double *d1, const double *d2, size_t stride,
                     const double *in, double *out)
{
    double *const half = NH_ARRAY(double, n1 *n2);
    for (size_t a = 0; a < n1; a++)
        for (size_t j = 0; j < n2; j++)
            for (size_t i = 0; i < n1; i++)
                half[a * n2 + j] += d1[a * n1 + i] * in[(i * n2 + j) * stride];
    for (size_t a = 0; a < n1; a++)
        for (size_t c = 0; c < n2; c++) {
            double sum = 0;
            for (size_t j = 0; j < n2; j++)
                sum += d2[c * n2 + j] * half[a * n2 + j];
            out[(a * n2 + c) * stride] = sum;
        }
    free(half);
}

/* <adjoint of g, v> = <g, D of v> for every part. */
static void test_correction_adjoint(void **state)
{
    bench *const b = *state;
    static const nh_embedding_part parts[3] = {NH_PART_ALL, NH_PART_REAL, NH_PART_SCALAR};
    for (int i = 0; i < 3; i++)
        for (int pair = 0; pair < 9; pair++) {
            nh_selection s;
            double g[N * N], d[N * N];
            bool used[N_SHELL * N_SHELL];
            for (size_t k = 0; k < N_SHELL * N_SHELL; k++)
                used[k] = i == 0 || k % 5 != 3; /* shell pairs that are not selected, too */
            assert_int_equal(nh_selection_new(b->e, parts[i], used, &s, NULL), 0);
            double *const v = calloc(s.irreps.dim, sizeof *v), *const w = calloc(s.irreps.dim, sizeof *w);
            fill(s.irreps.dim, v, "vector");
            fill(s.irreps.dim, w, "to be overwritten");
            fill(N * N, g, "gradient");
            nh_irreps_to_correction(&(nh_transform){b->e, &s, &b->s, b->slot}, pair / 3, pair % 3, v, d);
            nh_correction_to_irreps_adjoint(&(nh_transform){b->e, &s, &b->s, b->slot}, pair / 3, pair % 3, g,
                                            w);
            const size_t n = nh_species_orbitals(&b->s, (size_t)(pair / 3)) *
                             nh_species_orbitals(&b->s, (size_t)(pair % 3));
            double left = 0, right = 0;
            for (size_t k = 0; k < s.irreps.dim; k++)
                left += v[k] * w[k];
            for (size_t k = 0; k < n; k++)
                right += g[k] * d[k];
            assert_true(fabs(left - right) < 1e-11 && fabs(right) > 1e-3);
            free(v);
            free(w);
            nh_selection_free(&s);
        }
}

/* Section 4.6: H -> W H W^+ turns every entry of the vector with its D_l, and the spin-averaged correction
 * with the orbitals. The correction Re X_uu of the published rule does not: it holds a z component. */
static void test_covariance(void **state)
{
    bench *const b = *state;
    enum { N1 = 27, N2 = 25, BLOCK = N1 * N2 };
    const double axis[3] = {0.48, -0.6, 0.64}, angle = 1.9;
    double q[9], u[8];
    nh_rotation(axis, angle, q);
    nh_rotation_su2(axis, angle, u);
    double *const d1 = orbital_rotation(&b->s, 0, q), *const d2 = orbital_rotation(&b->s, 2, q);
    double *const block = NH_ARRAY(double, 8 * BLOCK), *const turned = NH_ARRAY(double, 8 * BLOCK);
    double *const space = NH_ARRAY(double, 8 * BLOCK), *const back = NH_ARRAY(double, 8 * BLOCK);
    fill(8 * BLOCK, block, "covariance");
    for (size_t s = 0; s < 4; s++)
        for (size_t r = 0; r < 2; r++)
            sandwich(N1, N2, d1, d2, 2, block + s * 2 * BLOCK + r, space + s * 2 * BLOCK + r);
    for (size_t a = 0; a < 2; a++)
        for (size_t c = 0; c < 2; c++)
            for (size_t e = 0; e < 2; e++)
                for (size_t f = 0; f < 2; f++) {
                    const double *const x = u + 2 * (2 * a + e), *const y = u + 2 * (2 * c + f);
                    const double re = x[0] * y[0] + x[1] * y[1],
                                 im = x[1] * y[0] - x[0] * y[1]; /* u[a][e] conj(u[c][f]) */
                    for (size_t i = 0; i < BLOCK; i++) {
                        const double *const from = space + ((2 * e + f) * BLOCK + i) * 2;
                        double *const to = turned + ((2 * a + c) * BLOCK + i) * 2;
                        to[0] += re * from[0] - im * from[1];
                        to[1] += re * from[1] + im * from[0];
                    }
                }

    nh_selection all, scalar;
    assert_int_equal(nh_selection_new(b->e, NH_PART_ALL, NULL, &all, NULL), 0);
    assert_int_equal(nh_selection_new(b->e, NH_PART_SCALAR, NULL, &scalar, NULL), 0);
    double *const vector = NH_ARRAY(double, N_OUT), *const direct = NH_ARRAY(double, N_OUT);
    double *const rotated = NH_ARRAY(double, N_OUT);
    nh_block_to_irreps(&(nh_transform){b->e, &all, &b->s, b->slot}, 0, 2, 4, block, 2 * BLOCK, 1, vector);
    nh_block_to_irreps(&(nh_transform){b->e, &all, &b->s, b->slot}, 0, 2, 4, turned, 2 * BLOCK, 1, direct);
    for (int l = 0; l <= 7; l++) {
        double d[15 * 15];
        const size_t n = (size_t)(2 * l + 1);
        assert_int_equal(nh_wigner_d(l, q, d, NULL), 0);
        for (size_t k = 0; k < all.irreps.count; k++)
            for (size_t i = 0; i < n && all.irreps.entry[k].l == l; i++)
                for (size_t j = 0; j < n; j++)
                    rotated[all.irreps.entry[k].offset + i] +=
                        d[i * n + j] * vector[all.irreps.entry[k].offset + j];
    }
    const double vectors = difference(N_OUT, direct, rotated) / largest(N_OUT, vector);
    nh_irreps_to_block(&(nh_transform){b->e, &all, &b->s, b->slot}, 0, 2, rotated, back);
    const double blocks = difference(8 * BLOCK, back, turned) / largest(8 * BLOCK, block);

    double *const before = NH_ARRAY(double, BLOCK), *const after = NH_ARRAY(double, BLOCK);
    double *const expected = NH_ARRAY(double, BLOCK), *const scalars = NH_ARRAY(double, scalar.irreps.dim);
    nh_irreps_to_correction(&(nh_transform){b->e, &all, &b->s, b->slot}, 0, 2, vector, before);
    nh_irreps_to_correction(&(nh_transform){b->e, &all, &b->s, b->slot}, 0, 2, rotated, after);
    sandwich(N1, N2, d1, d2, 1, before, expected);
    const double uu = difference(BLOCK, after, expected) / largest(BLOCK, before);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < scalar.irreps.count; i++)
            memcpy(scalars + scalar.irreps.entry[i].offset,
                   (pass == 0 ? vector : rotated) + all.irreps.entry[scalar.entry[i]].offset,
                   (size_t)(2 * scalar.irreps.entry[i].l + 1) * sizeof(double));
        nh_irreps_to_correction(&(nh_transform){b->e, &scalar, &b->s, b->slot}, 0, 2, scalars,
                                pass == 0 ? before : after);
    }
    sandwich(N1, N2, d1, d2, 1, before, expected);
    const double average = difference(BLOCK, after, expected) / largest(BLOCK, before);
    print_message("rotation: vectors %.2g, four-spin blocks %.2g, spin average %.2g; Re uu breaks by %.2g\n",
                  vectors, blocks, average, uu);
    assert_true(vectors < 1e-13);
    assert_true(blocks < 1e-13);
    assert_true(average < 1e-13);
    assert_true(uu > 0.1);

    free(d1);
    free(d2);
    free(block);
    free(turned);
    free(space);
    free(back);
    free(vector);
    free(direct);
    free(rotated);
    free(before);
    free(after);
    free(expected);
    free(scalars);
    nh_selection_free(&all);
    nh_selection_free(&scalar);
}

static void test_errors(void **state)
{
    bench *const b = *state;
    nh_error err;
    nh_embedding *e;
    const int bad[2] = {0, 8}, small[3] = {0, 0, 1};
    assert_int_equal(nh_embedding_new(2, bad, &e, &err), -1);
    assert_non_null(strstr(err.text, "shell 1 has degree 8"));
    assert_int_equal(nh_embedding_new(0, bad, &e, &err), -1);

    assert_int_equal(nh_embedding_new(3, small, &e, &err), 0);
    size_t slot[21];
    assert_int_equal(nh_embedding_slots(e, &b->s, slot, &err), -1);
    assert_non_null(strstr(err.text, "Zn"));
    assert_non_null(strstr(err.text, "2s1p"));
    nh_selection s;
    static const char *const pairs[] = {
        "0,3", "0;1", "0,", "0,1x", "0,1 0,1", "1,0 0,1", "99999999999999999999,0", "a"};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (nh_selection_parse(e, pairs[i], "1x0e", &s, &err) != -1) fail_msg("'%s' was accepted", pairs[i]);
        assert_non_null(strstr(err.text, "shell_pairs"));
        assert_null(s.pair);
    }
    assert_int_equal(nh_selection_parse(e, "0,0 2,2", "1x0e+1x1e", &s, &err), -1);
    assert_non_null(strstr(err.text, "attribute irreps"));
    assert_int_equal(nh_selection_parse(e, "0,0", "1x0e+1xqe", &s, &err), -1);
    assert_non_null(strstr(err.text, "attribute irreps"));
    assert_int_equal(nh_selection_parse(e, "0,0 0,1", "1x0e+1x1e+1x0e+1x1e+1x0e+1x1e+1x0e+1x1e", &s, &err),
                     0);
    assert_int_equal(s.n_pair, 2);
    nh_selection_free(&s);
    nh_embedding_free(e);
    nh_embedding_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_entries),     cmocka_unit_test(test_golden_transform),
        cmocka_unit_test(test_selection),          cmocka_unit_test(test_correction),
        cmocka_unit_test(test_covariance),         cmocka_unit_test(test_errors),
        cmocka_unit_test(test_correction_adjoint),
    };
    return cmocka_run_group_tests_name("embedding", tests, set_up, tear_down);
}
