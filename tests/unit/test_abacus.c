/* ABACUS files: sparse matrices of every dialect, their order of orbitals, structures, logs; and a real run's
 * eigenvalues. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/stream.h"
#include "formats/abacus/csr.h"
#include "formats/abacus/graph.h"
#include "formats/abacus/run.h"
#include "formats/abacus/stru.h"
#include "formats/abacus/orb.h"
#include "formats/abacus/orbitals.h"
#include "formats/abacus/write.h"
#include "formats/structure/file.h"

#include <complex.h>
#include <lapacke.h>
#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TINY "tests/data/abacus_tiny/"

static char scratch[] = "/tmp/nh_test_abacus_XXXXXX";
static char scratch_file[64];

static int set_up(void **state)
{
    (void)state;
    if (mkdtemp(scratch) == NULL) return -1;
    snprintf(scratch_file, sizeof scratch_file, "%s/file", scratch);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(scratch_file);
    return rmdir(scratch);
}

static void put(const void *data, size_t size)
{
    FILE *f = fopen(scratch_file, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static void put_text(const char *text)
{
    put(text, strlen(text));
}

/* --- sparse matrices --- */

/* The table of docs/network.md 4.2: file order from ABACUS's. */
static void orbital_order(void **state)
{
    (void)state;
    static const struct {
        int l, from[7];
        double sign[7];
    } table[] = {
        {0, {0}, {1}},
        {1, {2, 0, 1}, {-1, 1, -1}},
        {2, {4, 2, 0, 1, 3}, {1, -1, 1, -1, 1}},
        {3, {6, 4, 2, 0, 1, 3, 5}, {-1, 1, -1, 1, -1, 1, -1}},
    };
    for (size_t t = 0; t < 4; t++)
        for (size_t to = 0; to < 2 * (size_t)table[t].l + 1; to++) {
            double sign;
            assert_int_equal(nh_abacus_orbital(table[t].l, (size_t)table[t].from[to], &sign), to);
            assert_true(sign == table[t].sign[to]);
        }
}

static void assert_same_matrix(const nh_csr *a, const nh_csr *b)
{
    assert_int_equal(a->dimension, b->dimension);
    assert_int_equal(a->is_complex, b->is_complex);
    assert_int_equal(a->n_value, b->n_value);
    size_t i = 0; /* empty cells may be left out */
    for (size_t c = 0; c < a->n_cell; c++) {
        const size_t n = a->start[c + 1] - a->start[c];
        if (n == 0) continue;
        while (i < b->n_cell && b->start[i + 1] == b->start[i])
            i++;
        assert_true(i < b->n_cell);
        assert_memory_equal(a->cell[c], b->cell[i], sizeof a->cell[c]);
        assert_int_equal(b->start[i + 1] - b->start[i], n);
        i++;
    }
    assert_memory_equal(a->row, b->row, a->n_value * sizeof *a->row);
    assert_memory_equal(a->column, b->column, a->n_value * sizeof *a->column);
    assert_memory_equal(a->value, b->value, a->n_value * (a->is_complex ? 2 : 1) * sizeof *a->value);
}

static void dialects_agree(void **state)
{
    (void)state;
    static const struct {
        const char *reference, *file, *dialect;
        char quantity;
        size_t steps;
    } table[] = {
        {TINY "nspin4/scf/OUT.tiny/data-HR-sparse_SPIN0.csr", TINY "dialects/c.csr.gz", "C", 'H', 1},
        {TINY "nspin4/scf/OUT.tiny/data-HR-sparse_SPIN0.csr", TINY "dialects/steps.csr.gz", "B", 'H', 2},
        {TINY "nspin4/scf/OUT.tiny/data-HR-sparse_SPIN0.csr", TINY "dialects/d.dat", "D ", 0, 1},
        {TINY "nspin4/scf/OUT.tiny/data-HR-sparse_SPIN0.csr", TINY "dialects/d_always.dat", "D'", 0, 1},
        {TINY "nspin4/scf/OUT.tiny/data-HR-sparse_SPIN0.csr", TINY "dialects/e.dat", "E", 0, 1},
        {TINY "nspin1/OUT.tiny/data-HR-sparse_SPIN0.csr", TINY "dialects/real_e.dat", "E", 0, 1},
        {TINY "nspin1/OUT.tiny/data-HR-sparse_SPIN0.csr", TINY "dialects/f_0.dat", "F (bin", 0, 1},
        {TINY "nspin1/OUT.tiny/data-HR-sparse_SPIN0.csr", TINY "dialects/f_text_1.dat", "F (text", 0, 1},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        nh_error err;
        nh_csr a, b;
        assert_int_equal(nh_csr_read(table[i].reference, &a, &err), 0);
        assert_true(a.n_value > 500);
        assert_int_equal(nh_csr_read(table[i].file, &b, &err), 0);
        assert_int_equal(strncmp(b.dialect, table[i].dialect, strlen(table[i].dialect)), 0);
        assert_int_equal(b.quantity, table[i].quantity);
        assert_int_equal(b.n_step, table[i].steps);
        assert_same_matrix(&a, &b);
        nh_csr_free(&a);
        nh_csr_free(&b);
    }
}

/* A small matrix in every way of writing that a reader by tokens must not mind. */
static void text_variants(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "STEP: 0\nMatrix Dimension of H(R): 2\nMatrix number of H(R): 2\n0 0 0 2\n 1.5 -2e-1\n 0 1\n 0 1 "
        "2\n-1 0 2 1\n 3\n 0\n 0 0 1\n",
        "Matrix Dimension of H(R): 2\nMatrix number of H(R): 2\n0 0 0 2 1.5 -2e-1 0 1 0 1 2 -1 0 2 1 3 0 0 0 "
        "1",
        "step: 7\n\nMATRIX DIMENSION OF H(R): 2\r\nmatrix number of H(R): 2\r\n0\n0 "
        "0\n2\n1.5\n-2e-1\n0\n1\n0 1\n2\n-1 0 2 1 3 0\n0 0 1\n\n\n",
        "\n\nSTEP: 0\nMatrix Dimension of H(R): 2\nMatrix number of H(R): 1\n5 5 5 0\n"
        "STEP: 1\nMatrix Dimension of H(R): 2\nMatrix number of H(R): 3\n0 0 0 2\n 1.5 -2e-1\n 0 1\n 0 1 "
        "2\n9 9 9 0\n-1 0 2 1\n 3\n 0\n 0 0 1\n",
        " --- Ionic Step 1 ---\n # print H matrix in real space H(R)\n 2 # number of localized basis\n 9 # "
        "number of Bravais lattice vector R\n"
        "\n X\n 1\n 1 0 0\n 0 1 0\n 0 0 1\n H\n 1\n Direct\n 0 0 0\n\n #---#\n # CSR format #\n #---#\n\n -1 "
        "-1 -1 1\n # CSR values\n 8\n # CSR column "
        "indices\n 0\n # CSR row pointers\n 0 1 1\n"
        " --- Ionic Step 2 ---\n # print H matrix in real space H(R)\n 2 # number of localized basis\n "
        "#---#\n # CSR format #\n #---#\n"
        " 0 0 0 2\n # CSR values\n 1.5 -2e-1\n # CSR column indices\n 0 1\n # CSR row pointers\n 0 1 2\n"
        " 3 3 3 0\n # CSR values\n # CSR column indices\n # CSR row pointers\n 0 0 0\n"
        " -1 0 2 1\n # CSR values\n 3\n # CSR column indices\n 0\n # CSR row pointers\n 0 0 1\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        nh_error err = {""};
        nh_csr m;
        put_text(texts[i]);
        assert_int_equal(nh_csr_read(scratch_file, &m, &err), 0);
        assert_int_equal(m.dimension, 2);
        assert_int_equal(m.n_value, 3);
        assert_false(m.is_complex);
        const int rows[] = {0, 1, 1}, columns[] = {0, 1, 0};
        const double values[] = {1.5, -0.2, 3};
        assert_memory_equal(m.row, rows, sizeof rows);
        assert_memory_equal(m.column, columns, sizeof columns);
        assert_memory_equal(m.value, values, sizeof values);
        assert_int_equal(m.cell[m.n_cell - 1][0], -1);
        assert_int_equal(m.cell[m.n_cell - 1][2], 2);
        nh_csr_free(&m);
    }
}

static void bad_matrices(void **state)
{
    (void)state;
#define HEAD "STEP: 0\nMatrix Dimension of H(R): 2\nMatrix number of H(R): 1\n"
#define HEAD_C " --- Ionic Step 1 ---\n # print H0 matrix in real space H0(R); "
    static const struct {
        const char *text, *complaint;
    } table[] = {
        {"", "empty"},
        {"\n \n", "empty"},
        {"hello world, this is no matrix\n", "no ABACUS sparse matrix"},
        {"STEP: 0\n", "Matrix Dimension"},
        {"STEP: 0\nMatrix Dimension of H(R): two\n", "Matrix Dimension"},
        {"STEP: 0\nMatrix Dimension of H(R): 0\nMatrix number of H(R): 0\n", "dimension"},
        {"STEP: 0\nMatrix Dimension of H(R): 2\nMatrix number of H(R): -1\n", "Matrix number"},
        {HEAD, "cell index"},
        {HEAD "0 0 0\n", "number of elements"},
        {HEAD "0 0 0 -1\n", "-1 elements"},
        {HEAD "0 0 0 5\n", "5 elements"},
        {HEAD "0 0 99999999999 1\n", "cell index"},
        {HEAD "0 0 0 2\n1.0\n", "end"},
        {HEAD "0 0 0 2\n1.0 nan\n0 1\n0 1 2\n", "not finite"},
        {HEAD "0 0 0 2\n1.0 inf\n0 1\n0 1 2\n", "not finite"},
        {HEAD "0 0 0 2\n(1,0) (1,nan)\n0 1\n0 1 2\n", "not finite"},
        {HEAD "0 0 0 2\n1.0 (1,0)\n0 1\n0 1 2\n", "matrix element"},
        {HEAD "0 0 0 2\n1.0 abc\n0 1\n0 1 2\n", "abc"},
        {HEAD "0 0 0 2\n1.0 2.0\n0 2\n0 1 2\n", "column index 2"},
        {HEAD "0 0 0 2\n1.0 2.0\n0 -1\n0 1 2\n", "column index -1"},
        {HEAD "0 0 0 2\n1.0 2.0\n0 1\n0 2 1\n", "row pointer"},
        {HEAD "0 0 0 2\n1.0 2.0\n0 1\n1 1 2\n", "row pointer"},
        {HEAD "0 0 0 2\n1.0 2.0\n0 1\n0 1 3\n", "row pointer"},
        {HEAD "0 0 0 2\n1.0 2.0\n0 1\n0 1 1\n", "row pointer"},
        {HEAD "0 0 0 2\n1.0 2.0\n0 1\n0 1\n", "end"},
        {HEAD "0 0 0 0\n0 0 1 0\n", "after the last cell"},
        {"STEP: 0\nMatrix Dimension of H(R): 2\nMatrix number of H(R): 2\n0 0 0 0\n0 0 0 0\n", "twice"},
        {"STEP: 0\nMatrix Dimension of H(R): 2000000000\nMatrix number of H(R): 1\n0 0 0 0\n", "dimension"},
        {HEAD_C "h0_type=core\n", "core"},
        {HEAD_C "h0_type=x; formula=T + V_nl + V_loc; unit=Ry\n", "core"},
        {HEAD_C "unit=Hartree\n", "unit"},
        {HEAD_C "unit=Ry\n 2 # number of localized basis\n", "CSR"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        nh_error err = {""};
        nh_csr m;
        put_text(table[i].text);
        assert_int_equal(nh_csr_read(scratch_file, &m, &err), -1);
        if (strstr(err.text, table[i].complaint) == NULL || strstr(err.text, scratch_file) == NULL)
            fail_msg("case %zu: \"%s\" does not name %s and \"%s\"", i, err.text, scratch_file,
                     table[i].complaint);
    }
    nh_error err;
    nh_csr m;
    assert_int_equal(nh_csr_read("/nonexistent/file", &m, &err), -1);
    assert_non_null(strstr(err.text, "/nonexistent/file"));
}

/* Every truncation of every dialect is an error, never a crash, never half a matrix. Some cuts between cells
 * leave a whole file of dialect C, whose header does not count what is stored. */
static void truncated_matrices(void **state)
{
    (void)state;
    static const char *const files[] = {TINY "nspin1/OUT.tiny/data-SR-sparse_SPIN0.csr",
                                        TINY "dialects/d.dat",
                                        TINY "dialects/e.dat",
                                        TINY "dialects/f_0.dat",
                                        TINY "dialects/f_text_1.dat",
                                        TINY "dialects/steps.csr.gz"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        nh_error err;
        FILE *f = fopen(files[i], "rb");
        assert_non_null(f);
        char *data = malloc(1 << 20);
        const size_t n = fread(data, 1, 1 << 20, f);
        fclose(f);
        assert_true(n > 1000 && n < 1 << 20);
        for (size_t cut = 0; cut < n - 3; cut += 1 + n / 97) { /* the last bytes may be a newline */
            nh_csr m;
            put(data, cut);
            assert_int_equal(nh_csr_read(scratch_file, &m, &err), -1);
        }
        free(data);
    }
}

/* Single bits changed at random: read or refused, indices always inside, numbers finite. */
static void corrupted_matrices(void **state)
{
    (void)state;
    static const char *const files[] = {TINY "dialects/e.dat", TINY "dialects/f_0.dat",
                                        TINY "dialects/f_text_1.dat",
                                        TINY "nspin4/scf/OUT.tiny/data-HR-sparse_SPIN0.csr"};
    uint64_t seed = 12345;
    for (size_t file = 0; file < sizeof files / sizeof files[0]; file++) {
        FILE *f = fopen(files[file], "rb");
        assert_non_null(f);
        unsigned char *data = malloc(1 << 20);
        const size_t n = fread(data, 1, 1 << 20, f);
        fclose(f);
        size_t refused = 0;
        for (int trial = 0; trial < 300; trial++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            const size_t at = (size_t)(seed >> 33) % n;
            const unsigned char kept = data[at];
            data[at] ^= (unsigned char)(1u << (seed >> 20 & 7));
            nh_error err;
            nh_csr m;
            put(data, n);
            if (nh_csr_read(scratch_file, &m, &err) == 0) {
                for (size_t i = 0; i < m.n_value; i++)
                    assert_true(m.row[i] >= 0 && (size_t)m.row[i] < m.dimension && m.column[i] >= 0 &&
                                (size_t)m.column[i] < m.dimension);
                for (size_t i = 0; i < m.n_value * (m.is_complex ? 2 : 1); i++)
                    assert_true(isfinite(m.value[i]));
                nh_csr_free(&m);
            } else {
                refused++;
            }
            data[at] = kept;
        }
        assert_true(refused > 10);
        free(data);
    }
}

/* The pairs of a matrix behind those that are there, which have no room to spare: 255 of them were once
 * followed by two in room for 256. */
static void pairs_behind_others(void **state)
{
    (void)state;
    static const size_t counts[] = {0, 1, 14, 15, 16, 254, 255, 256, 257, 511};
    nh_structure s;
    nh_error err;
    assert_int_equal(nh_structure_new(2, 1, &s, &err), 0);
    assert_int_equal(nh_structure_set_shells(&s, (size_t[]){1}, (int[]){0}, &err), 0);
    nh_csr m = {.dimension = 2,
                .n_cell = 1,
                .cell = (int[][3]){{1, 0, -1}},
                .start = (size_t[]){0, 1},
                .n_value = 1,
                .row = (int[]){0},
                .column = (int[]){1},
                .value = (double[]){0.5},
                .name = (char[]){"made here"}};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        size_t n = counts[i];
        nh_pair *pair = n > 0 ? calloc(n, sizeof *pair) : NULL;
        for (size_t p = 0; p < n; p++)
            pair[p] = (nh_pair){(int)p, 0, {0, 0, 0}};
        assert_int_equal(nh_csr_pairs(&m, &s, &n, &pair, &err), 0);
        assert_int_equal(n, counts[i] + 2);
        assert_true(malloc_usable_size(pair) >= n * sizeof *pair);
        for (size_t p = 0; p < counts[i]; p++)
            assert_int_equal(pair[p].src, p);
        assert_memory_equal(&pair[n - 2], &((nh_pair){0, 1, {1, 0, -1}}), sizeof *pair);
        assert_memory_equal(&pair[n - 1], &((nh_pair){1, 0, {-1, 0, 1}}), sizeof *pair);
        free(pair);
    }
    nh_structure_free(&s);
}

/* --- structures --- */

static void set_tiny_shells(nh_structure *s)
{
    nh_error err;
    assert_int_equal(nh_structure_set_shells(s, (size_t[]){3, 2}, (int[]){0, 0, 1, 0, 1}, &err), 0);
}

#define STRU_HEAD                                                                                            \
    "ATOMIC_SPECIES # label mass\nGa 69.7 Ga.upf upf201\nAs 74.9 As.upf // the "                             \
    "anion\n\nNUMERICAL_ORBITAL\nGa_x_8au_2s2p2d1f.orb\n"                                                    \
    "As_x_7au_2s2p1d.orb\n\nLATTICE_CONSTANT\n3.7794522492515404 // 2 Angstrom\nLATTICE_VECTORS\n2 0 0 // "  \
    "a1\n0.5 2 0\n0 0.25 2\n\n"                                                                              \
    "ATOMIC_POSITIONS\n"

/* The same two atoms in every mode: (0.1, 0.2, 0.3) and (0.5, 0.25, 0.75) of the lattice. */
static void coordinate_modes(void **state)
{
    (void)state;
    const double lattice[9] = {4, 0, 0, 1, 4, 0, 0, 0.5, 4};
    const double f[6] = {0.1, 0.2, 0.3, 0.5, 0.25, 0.75};
    double r[6];
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 3; k++)
            r[3 * i + k] =
                f[3 * i] * lattice[k] + f[3 * i + 1] * lattice[3 + k] + f[3 * i + 2] * lattice[6 + k];
    const double middle[3] = {2.5, 2.25, 2}, bohr = 0.529177210903;
    const struct {
        const char *name;
        double scale;
        int centre[3];
    } modes[] = {
        {"Direct", 0, {0, 0, 0}},
        {"Cartesian", 2, {0, 0, 0}},
        {"Cartesian_au", bohr, {0, 0, 0}},
        {"Cartesian_angstrom", 1, {0, 0, 0}},
        {"Cartesian_angstrom_center_xy", 1, {1, 1, 0}},
        {"Cartesian_angstrom_center_xz", 1, {1, 0, 1}},
        {"Cartesian_angstrom_center_yz", 1, {0, 1, 1}},
        {"Cartesian_angstrom_center_xyz", 1, {1, 1, 1}},
    };
    for (size_t m = 0; m < sizeof modes / sizeof modes[0]; m++) {
        double x[6];
        for (int i = 0; i < 6; i++)
            x[i] =
                modes[m].scale == 0 ? f[i] : (r[i] - modes[m].centre[i % 3] * middle[i % 3]) / modes[m].scale;
        char text[2048];
        snprintf(
            text, sizeof text,
            STRU_HEAD
            "%s\n\nGa #label\n0.0 #magnetism\n1 #number\n%.15g %.15g %.15g m 1 1 0 mag 1 0 0\nAs\n1.0\n1\n"
            "%.15g %.15g %.15g 1 1 1 v 0 0 0\n",
            modes[m].name, x[0], x[1], x[2], x[3], x[4], x[5]);
        put_text(text);
        nh_error err = {""};
        nh_structure_file file;
        assert_int_equal(nh_structure_file_read(scratch_file, NULL, &file, &err), 0);
        assert_string_equal(file.format, "ABACUS STRU");
        const nh_structure *s = &file.structure;
        assert_int_equal(s->n_atom, 2);
        assert_int_equal(s->atomic_number[s->species[1]], 33);
        assert_string_equal(file.orbital_file[0], "Ga_x_8au_2s2p2d1f.orb");
        for (int i = 0; i < 9; i++)
            assert_true(fabs(s->lattice[i] - lattice[i]) < 1e-12);
        for (int i = 0; i < 6; i++)
            if (fabs(s->position[i] - r[i]) > 1e-12)
                fail_msg("%s: %.15g %.15g", modes[m].name, s->position[i], r[i]);
        nh_structure_file_free(&file);
    }
}

static void home_cell(void **state)
{
    (void)state;
    put_text(STRU_HEAD "Direct\nGa\n0\n2\n-1e-14 1.0 -2.25\n0.5 0.5 12.75\nAs\n0\n1\n0.99999999 0 0\n");
    nh_error err = {""};
    nh_structure_file file;
    assert_int_equal(nh_structure_file_read(scratch_file, NULL, &file, &err), 0);
    const double f[9] = {0, 0, 0.75, 0.5, 0.5, 0.75, 0.99999999, 0, 0}, *a = file.structure.lattice;
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++) {
            const double r = f[3 * i] * a[k] + f[3 * i + 1] * a[3 + k] + f[3 * i + 2] * a[6 + k];
            assert_true(fabs(file.structure.position[3 * i + k] - r) < 1e-10);
        }
    nh_structure_file_free(&file);
}

static void bad_structures(void **state)
{
    (void)state;
    static const struct {
        const char *text, *complaint;
    } table[] = {
        {"", "no structure file"},
        {"just\nsome\ntext\n", "no structure file"},
        {STRU_HEAD, "kind of coordinates"},
        {STRU_HEAD "Polar\nGa\n0\n1\n0 0 0\n", "Polar"},
        {STRU_HEAD "Direct\n", "no atoms"},
        {STRU_HEAD "Direct\nIn\n0\n1\n0 0 0\n", "In"},
        {STRU_HEAD "Direct\nGa\n0\n2\n0 0 0\n", "atom 2 of 2"},
        {STRU_HEAD "Direct\nGa\n0\n1\n0 zero 0\n", "zero"},
        {STRU_HEAD "Direct\nGa\n0\n1\n0 nan 0\n", "not finite"},
        {STRU_HEAD "Direct\nGa\n0\n-1\n", "number of atoms"},
        {STRU_HEAD "Direct\nGa\n0\n2\n0 0 0\n1.0 0 0\n", "one spot"},
        {"LATTICE_CONSTANT\n1\nATOMIC_SPECIES\nGa 1 x\nATOMIC_POSITIONS\nDirect\nGa\n0\n1\n0 0 0\n",
         "LATTICE_VECTORS"},
        {"LATTICE_CONSTANT\n-1\nATOMIC_SPECIES\nGa 1 x\nATOMIC_POSITIONS\nDirect\nGa\n0\n1\n0 0 0\n",
         "lattice constant"},
        {"LATTICE_CONSTANT\n5\nLATTICE_VECTORS\n1 0 0\n0 1 0\n1 1 0\nATOMIC_SPECIES\nGa 1 "
         "x\nATOMIC_POSITIONS\nDirect\nGa\n0\n1\n0 0 0\n",
         "volume"},
        {"LATTICE_CONSTANT\n5\nLATTICE_VECTORS\n1 0 0\n0 1 0\n0 0 1\nATOMIC_SPECIES\nQq 1 "
         "x\nATOMIC_POSITIONS\nDirect\nQq\n0\n1\n0 0 0\n",
         "Qq"},
        {"title\n1.0\n4 0 0\n0 4 0\n0 0 4\n2\nDirect\n0 0 0\n", "symbols"},
        {"title\n1.0\n4 0 0\n0 4 0\n0 0 4\nGa As\n1\nDirect\n0 0 0\n", "numbers of atoms"},
        {"title\n1.0\n4 0 0\n0 4 0\n0 0 4\nGa\n2\nDirect\n0 0 0\n", "atom 2 of 2"},
        {"title\n0.0\n4 0 0\n0 4 0\n0 0 4\nGa\n1\nDirect\n0 0 0\n", "scale"},
        {"2\nLattice=\"4 0 0 0 4 0 0 0 4\"\nGa 0 0 0\n", "atom 2 of 2"},
        {"1\nLattice=\"4 0 0 0 4 0 0 0\"\nGa 0 0 0\n", "nine numbers"},
        {"1\nLattice=\"4 0 0 0 4 0 0 0 4\" Properties=pos:R:3\n0 0 0\n", "species"},
        {"1\nLattice=\"4 0 0 0 4 0 0 0 4\"\nGa 0 0 0\n1\nLattice=\"4 0 0 0 4 0 0 0 4\"\nGa 0 0 0\n",
         "more than one frame"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        nh_error err = {""};
        nh_structure_file file;
        put_text(table[i].text);
        assert_int_equal(nh_structure_file_read(scratch_file, NULL, &file, &err), -1);
        if (strstr(err.text, table[i].complaint) == NULL || strstr(err.text, scratch_file) == NULL)
            fail_msg("case %zu: \"%s\" does not name %s and \"%s\"", i, err.text, scratch_file,
                     table[i].complaint);
    }
}

static void latnames(void **state)
{
    (void)state;
    static const struct {
        const char *name, *parameters;
        double volume; /* a^3 */
    } table[] = {{"sc", "", 1},
                 {"fcc", "", 0.25},
                 {"bcc", "", 0.5},
                 {"hexagonal", "1.5", 1.29903810567666},
                 {"st", "2", 2},
                 {"so", "2 3", 6},
                 {"trigonal", "0.5", 0.70710678118655}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char text[512];
        snprintf(text, sizeof text,
                 "ATOMIC_SPECIES\nGa 1 x\nLATTICE_CONSTANT\n1.8897261246257702\nLATTICE_PARAMETERS\n%s\n"
                 "ATOMIC_POSITIONS\nDirect\nGa\n0\n1\n0 0 0\n",
                 table[i].parameters);
        put_text(text);
        nh_error err = {""};
        nh_structure_file file;
        assert_int_equal(nh_structure_file_read(scratch_file, table[i].name, &file, &err), 0);
        const double *a = file.structure.lattice;
        const double volume = fabs(a[0] * (a[4] * a[8] - a[5] * a[7]) + a[1] * (a[5] * a[6] - a[3] * a[8]) +
                                   a[2] * (a[3] * a[7] - a[4] * a[6]));
        assert_true(fabs(volume - table[i].volume) < 1e-12);
        nh_structure_file_free(&file);
        assert_int_equal(nh_structure_file_read(scratch_file, NULL, &file, &err), -1);
        assert_int_equal(nh_structure_file_read(scratch_file, "triclinic", &file, &err), -1);
        assert_non_null(strstr(err.text, "triclinic"));
    }
}

static void poscar_and_xyz(void **state)
{
    (void)state;
    static const struct {
        const char *text, *format;
    } table[] = {
        {"GaAs, a comment\n2.0\n1 0 0\n0 1.5 0\n0 0 2\nGa As\n1 1\nSelective dynamics\nDirect\n0 0 0 T T "
         "F\n0.25 0.5 0.75 T T T\n",
         "VASP POSCAR"},
        {"12\n-24.0\n1 0 0\n0 1.5 0\n0 0 2\nGa/abc As_d\n1 1\nCartesian\n0 0 0\n0.25 0.75 1.5 As\n",
         "VASP POSCAR"},
        {"s\n2 2 2\n1 0 0\n0 1.5 0\n0 0 2\nGa As\n1 1\nkartesisch\n0 0 0\n0.25 0.75 1.5\n\n0 0 0\n",
         "VASP POSCAR"},
        {"2\nProperties=species:S:1:pos:R:3:forces:R:3 energy=-1 Lattice=\"2 0 0 0 3 0 0 0 4\" pbc=\"T T "
         "T\"\nGa 0 0 0 1 2 3\n"
         "As 0.5 1.5 3 1 2 3\n",
         "extended XYZ"},
        {"2\nlattice='2 0 0 0 3 0 0 0 4' properties=id:I:1:pos:R:3:Z:I:1\n7 0 0 0 31\n8 0.5 1.5 3 33\n",
         "extended XYZ"},
        {"2\nLattice=\"2 0 0 0 3 0 0 0 4\"\nGa 0 0 0\nAs 0.5 1.5 3", "extended XYZ"},
    };
    const double lattice[9] = {2, 0, 0, 0, 3, 0, 0, 0, 4}, position[6] = {0, 0, 0, 0.5, 1.5, 3};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        nh_error err = {""};
        nh_structure_file file;
        put_text(table[i].text);
        if (nh_structure_file_read(scratch_file, NULL, &file, &err)) fail_msg("case %zu: %s", i, err.text);
        assert_string_equal(file.format, table[i].format);
        const nh_structure *s = &file.structure;
        assert_int_equal(s->n_atom, 2);
        assert_int_equal(s->atomic_number[s->species[0]], 31);
        assert_int_equal(s->atomic_number[s->species[1]], 33);
        for (int k = 0; k < 9; k++)
            assert_true(fabs(s->lattice[k] - lattice[k]) < 1e-12);
        for (int k = 0; k < 6; k++)
            assert_true(fabs(s->position[k] - position[k]) < 1e-12);
        nh_structure_file_free(&file);
    }
}

static void orbital_files(void **state)
{
    (void)state;
    nh_error err = {""};
    size_t n;
    int *l;
    put_text("------\nElement                     Ag\nRadius Cutoff(a.u.)  7\nLmax  3\nNumber of Sorbital--> "
             "      4\n"
             "Number of Porbital-->       2\nNumber of Dorbital-->       0\nNumber of Forbital-->       "
             "1\n-----\nSUMMARY  END\n");
    assert_int_equal(nh_orb_read_shells(scratch_file, &n, &l, &err), 0);
    const int expected[] = {0, 0, 0, 0, 1, 1, 3};
    assert_int_equal(n, 7);
    assert_memory_equal(l, expected, sizeof expected);
    free(l);
    put_text("nothing of that kind\n");
    assert_int_equal(nh_orb_read_shells(scratch_file, &n, &l, &err), -1);
    assert_true(nh_orb_name_shells("dir_1s/Ga_gga_8au_100Ry_4s1f.orb", &n, &l));
    assert_int_equal(n, 5);
    assert_int_equal(l[4], 3);
    free(l);
    assert_false(nh_orb_name_shells("Ga.orb", &n, &l));
    assert_false(nh_orb_name_shells("Ga_2s2p", &n, &l));
    assert_true(fabs(nh_orb_name_radius("Ga_gga_8au_100Ry_4s1f.orb") - 8 * 0.529177210903) < 1e-12);
    assert_true(isnan(nh_orb_name_radius("Ga.orb")));
}

/* --- runs --- */

static void logs(void **state)
{
    (void)state;
    nh_error err = {""};
    nh_abacus_log log;
    assert_int_equal(nh_abacus_log_read("pipelines/GaAs/scf/OUT.ABACUS/running_scf.log.xz", &log, &err), 0);
    assert_true(nh_abacus_log_of_step(&log, 0).efermi == 7.709013411);
    assert_true(log.nelec == 18);
    assert_int_equal(log.nspin, 4);
    assert_int_equal(log.n_type, 2);
    assert_int_equal(log.n_shell[0], 7);
    assert_int_equal(log.n_shell[1], 5);
    const int shells[] = {0, 0, 1, 1, 2, 2, 3, 0, 0, 1, 1, 2};
    assert_memory_equal(log.shell_l, shells, sizeof shells);
    assert_int_equal(log.n_atom, 2);
    assert_true(fabs(log.position[3] * log.unit - 1.41325) < 1e-9);
    nh_abacus_log_free(&log);
    put_text(" E_Fermi   1.0  13.6\n E_Fermi_up  2.0  27.2\n E_Fermi  1.5   20.4\n");
    assert_int_equal(nh_abacus_log_read(scratch_file, &log, &err), 0);
    assert_true(nh_abacus_log_of_step(&log, 0).efermi == 20.4);
    assert_true(isnan(log.nelec));
    nh_abacus_log_free(&log);
    put_text(" EFERMI = 1.25 eV\n EFERMI = 6.5 eV\n E_Fermi  1.5   20.4\n EFERMI = 0.5 Ry\n");
    assert_int_equal(nh_abacus_log_read(scratch_file, &log, &err), 0);
    assert_true(nh_abacus_log_of_step(&log, 0).efermi == 6.5);
    nh_abacus_log_free(&log);
    put_text("no log at all\n");
    assert_int_equal(nh_abacus_log_read(scratch_file, &log, &err), -1);
}

static void run_folders(void **state)
{
    (void)state;
    nh_error err = {""};
    nh_abacus_run run;
    assert_int_equal(nh_abacus_run_find("pipelines/GaAs/h0", 0, &run, &err), 0);
    assert_int_equal(run.scf_nmax, 1);
    assert_int_equal(run.nspin, 4);
    assert_string_equal(run.hamiltonian[0], "pipelines/GaAs/h0/OUT.ABACUS/data-HR-sparse_SPIN0.csr.xz");
    assert_null(run.hamiltonian[1]);
    assert_null(run.overlap);
    nh_abacus_run_free(&run);
    assert_int_equal(nh_abacus_run_find(TINY "nspin2", 0, &run, &err), 0);
    assert_int_equal(run.scf_nmax, 2);
    assert_int_equal(run.nspin, 2);
    assert_string_equal(run.hamiltonian[1], TINY "nspin2/OUT.tiny/data-HR-sparse_SPIN1.csr");
    assert_string_equal(run.overlap, TINY "nspin2/OUT.tiny/data-SR-sparse_SPIN0.csr");
    nh_abacus_run_free(&run);
    assert_int_equal(nh_abacus_run_find("tests", 0, &run, &err), -1);
    assert_non_null(strstr(err.text, "tests"));
    assert_true(nh_abacus_is_run(TINY "nspin1"));
    assert_false(nh_abacus_is_run(TINY));
}

/* The log decides between periodic images where the structure file is between two. */
static void log_decides_images(void **state)
{
    (void)state;
    nh_error err = {""};
    nh_structure_file file;
    put_text(STRU_HEAD "Direct\nGa\n0\n1\n0.9999999999999 0 0\nAs\n0\n1\n0.25 0.25 0.25\n");
    assert_int_equal(nh_structure_file_read(scratch_file, NULL, &file, &err), 0);
    double there[6] = {0, 0, 0, 0.25, 0.25, 0.25};
    nh_abacus_log log = {.n_atom = 2, .position = there};
    assert_true(nh_abacus_log_adopt(&log, &file.structure));
    assert_true(fabs(file.structure.position[0]) < 1e-10);
    there[3] = 0.26; /* another crystal: not used */
    there[0] = 1;
    assert_false(nh_abacus_log_adopt(&log, &file.structure));
    assert_true(fabs(file.structure.position[0]) < 1e-10);
    nh_structure_file_free(&file);
}

static nh_graph *graph_of(const char *stru, const nh_abacus_sources *sources, nh_error *err)
{
    nh_structure_file file;
    assert_int_equal(nh_structure_file_read(stru, NULL, &file, err), 0);
    set_tiny_shells(&file.structure);
    nh_structure_file_forget(&file); /* the graph takes the structure over, and with it their number */
    nh_graph *g;
    nh_abacus_graph(&file.structure, sources, 4, NH_RYDBERG, NULL, NULL, &g, err);
    nh_structure_file_free(&file);
    return g;
}

/* Elements in the project's order, written by the script that made the run (its own conversion). */
static void tiny_elements(void **state)
{
    (void)state;
    nh_error err = {""};
    const nh_abacus_sources sources = {.h0 = {TINY "nspin4/h0/OUT.tiny/data-HR-sparse_SPIN0.csr.gz"},
                                       .label = {TINY "nspin4/scf/OUT.tiny/data-HR-sparse_SPIN0.csr"},
                                       .overlap = TINY "nspin4/scf/OUT.tiny/data-SR-sparse_SPIN0.csr.gz"};
    nh_graph *g = graph_of(TINY "nspin4/scf/STRU", &sources, &err);
    assert_non_null(g);
    assert_int_equal(g->n_spin, 4);
    FILE *f = fopen(TINY "expected.tsv", "r");
    assert_non_null(f);
    char line[256];
    size_t lines = 0;
    while (fgets(line, sizeof line, f) != NULL) {
        int src, dst, cell[3];
        size_t spin, a, b;
        double re, im;
        if (line[0] == '#') continue;
        assert_int_equal(sscanf(line, "%d %d %d %d %d %zu %zu %zu %lf %lf", &src, &dst, &cell[0], &cell[1],
                                &cell[2], &spin, &a, &b, &re, &im),
                         10);
        const size_t p = nh_pairs_find(&g->pairs, src, dst, cell);
        assert_true(p != SIZE_MAX);
        const size_t i =
            spin * g->pairs.n_elem + g->pairs.start[p] + a * nh_atom_orbitals(&g->structure, (size_t)dst) + b;
        assert_true(fabs(g->matrix[NH_H_LABEL][2 * i] - re) < 1e-14);
        assert_true(fabs(g->matrix[NH_H_LABEL][2 * i + 1] - im) < 1e-14);
        lines++;
    }
    fclose(f);
    assert_true(lines > 300);
    const size_t p = nh_pairs_find(&g->pairs, 0, 0, (int[3]){0, 0, 0});
    assert_true(g->overlap[g->pairs.start[p]] == 1);
    assert_true(g->overlap[g->pairs.start[p] + 1] == 0.3);
    nh_graph_free(g);
}

/* nspin 2: up and down, nothing between them; a spinless matrix beside one with spin counts for both spins.
 */
static void spin_files(void **state)
{
    (void)state;
    nh_error err = {""};
    const char *up = TINY "nspin2/OUT.tiny/data-HR-sparse_SPIN0.csr",
               *down = TINY "nspin2/OUT.tiny/data-HR-sparse_SPIN1.csr";
    const nh_abacus_sources sources = {.h0 = {up}, .label = {up, down}};
    nh_graph *g = graph_of(TINY "nspin2/STRU", &sources, &err);
    assert_non_null(g);
    assert_int_equal(g->n_spin, 4);
    assert_null(g->overlap);
    const size_t n = 2 * g->pairs.n_elem;
    const double *h = g->matrix[NH_H_LABEL], *h0 = g->matrix[NH_H0];
    assert_memory_equal(h0, h0 + 3 * n, n * sizeof *h0);
    assert_memory_equal(h, h0, n * sizeof *h);
    double difference = 0;
    for (size_t i = 0; i < n; i++) {
        assert_true(h[n + i] == 0 && h[2 * n + i] == 0 && h0[n + i] == 0);
        difference = fmax(difference, fabs(h[i] - h[3 * n + i]));
    }
    assert_true(difference > 0.1);
    nh_graph_free(g);
    const nh_abacus_sources one = {.label = {up}, .overlap = TINY "nspin1/OUT.tiny/data-SR-sparse_SPIN0.csr"};
    assert_non_null(g = graph_of(TINY "nspin1/STRU", &one, &err));
    assert_int_equal(g->n_spin, 1);
    nh_graph_free(g);
    const nh_abacus_sources mixed = {.label = {up, TINY "nspin4/scf/OUT.tiny/data-HR-sparse_SPIN0.csr"}};
    assert_null(graph_of(TINY "nspin1/STRU", &mixed, &err));
    assert_non_null(strstr(err.text, "nspin 2"));
    const nh_abacus_sources swapped = {.overlap = up};
    assert_null(graph_of(TINY "nspin1/STRU", &swapped, &err));
    assert_non_null(strstr(err.text, "S(R) expected"));
}

/* --- a real run against its own eigenvalues --- */

typedef double complex number;

/* Full H(k), S(k), orbital-major with spin as two diagonal blocks (any order of the basis has the same
 * eigenvalues). */
static void bloch_sum(const nh_graph *g, const double k[3], number *h, number *s)
{
    const size_t n = nh_structure_orbitals(&g->structure), dim = 2 * n;
    size_t *first = NH_ARRAY(size_t, g->structure.n_atom + 1);
    nh_orbital_start(&g->structure, first);
    for (size_t p = 0; p < g->pairs.count; p++) {
        const nh_pair *q = &g->pairs.pair[p];
        const number phase = cexp(2 * M_PI * I * (k[0] * q->cell[0] + k[1] * q->cell[1] + k[2] * q->cell[2]));
        const size_t n_dst = nh_atom_orbitals(&g->structure, (size_t)q->dst);
        for (size_t i = g->pairs.start[p]; i < g->pairs.start[p + 1]; i++) {
            const size_t a = first[q->src] + (i - g->pairs.start[p]) / n_dst;
            const size_t b = first[q->dst] + (i - g->pairs.start[p]) % n_dst;
            for (size_t spin = 0; spin < 4; spin++) {
                const double *x = g->matrix[NH_H_LABEL] + 2 * (spin * g->pairs.n_elem + i);
                h[(spin / 2 * n + a) * dim + spin % 2 * n + b] += phase * (x[0] + I * x[1]);
            }
            s[a * dim + b] += phase * g->overlap[i];
            s[(n + a) * dim + n + b] += phase * g->overlap[i];
        }
    }
    free(first);
}

/* Bands of k-point `index` (from 1) in istate.info, and its fractional coordinates from the file kpoints. */
static size_t read_bands(size_t index, double k[3], double *band, size_t most)
{
    nh_error err;
    char *text;
    assert_int_equal(nh_read_text("pipelines/GaAs/scf/OUT.ABACUS/kpoints", 1 << 20, &text, &err), 0);
    const char *at = strstr(text, "DIRECT_X");
    for (size_t i = 0; i < index; i++)
        assert_non_null(at = strchr(at, '\n') + 1);
    size_t found;
    assert_int_equal(sscanf(at, "%zu %lf %lf %lf", &found, &k[0], &k[1], &k[2]), 4);
    assert_int_equal(found, index);
    free(text);
    assert_int_equal(nh_read_text("pipelines/GaAs/scf/OUT.ABACUS/istate.info.xz", 1 << 24, &text, &err), 0);
    char words[64];
    snprintf(words, sizeof words, "Kpoint = %zu ", index);
    assert_non_null(at = strstr(text, words));
    size_t n = 0;
    double e;
    while ((at = strchr(at, '\n')) != NULL && n < most && sscanf(at + 1, "%*u %lf %*f", &e) == 1) {
        band[n++] = e;
        at++;
    }
    free(text);
    return n;
}

static void real_eigenvalues(void **state)
{
    (void)state;
    nh_error err = {""};
    nh_structure_file file;
    assert_int_equal(nh_structure_file_read("pipelines/GaAs/scf/STRU", NULL, &file, &err), 0);
    const int shells[] = {0, 0, 1, 1, 2, 2, 3, 0, 0, 1, 1, 2};
    assert_int_equal(nh_structure_set_shells(&file.structure, (size_t[]){7, 5}, shells, &err), 0);
    const double radius[2] = {nh_orb_name_radius(file.orbital_file[0]),
                              nh_orb_name_radius(file.orbital_file[1])};
    const nh_abacus_sources sources = {.label = {"pipelines/GaAs/scf/OUT.ABACUS/data-HR-sparse_SPIN0.csr.xz"},
                                       .overlap = "pipelines/GaAs/scf/OUT.ABACUS/data-SR-sparse_SPIN0.csr.xz",
                                       .radius = radius};
    nh_structure_file_forget(&file);
    nh_graph *g;
    if (nh_abacus_graph(&file.structure, &sources, 8, NH_RYDBERG, NULL, NULL, &g, &err))
        fail_msg("%s", err.text);
    const size_t dim = 2 * nh_structure_orbitals(&g->structure);
    number *h = NH_ARRAY(number, dim * dim), *s = NH_ARRAY(number, dim * dim);
    double *w = NH_ARRAY(double, dim), *band = NH_ARRAY(double, dim), worst = 0;
    const size_t points[] = {1, 2, 59, 120, 216};
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        double k[3];
        const size_t n = read_bands(points[i], k, band, dim);
        assert_true(n > 20);
        memset(h, 0, dim * dim * sizeof *h);
        memset(s, 0, dim * dim * sizeof *s);
        bloch_sum(g, k, h, s);
        assert_int_equal(LAPACKE_zhegv(LAPACK_ROW_MAJOR, 1, 'N', 'U', (lapack_int)dim,
                                       (lapack_complex_double *)h, (lapack_int)dim,
                                       (lapack_complex_double *)s, (lapack_int)dim, w),
                         0);
        for (size_t b = 0; b < n; b++)
            worst = fmax(worst, fabs(w[b] - band[b]));
    }
    print_message("GaAs: eigenvalues differ from ABACUS's by at most %.2g eV\n", worst);
    assert_true(worst < 1e-5);
    free(h);
    free(s);
    free(w);
    free(band);
    nh_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(orbital_order),
        cmocka_unit_test(dialects_agree),
        cmocka_unit_test(text_variants),
        cmocka_unit_test(bad_matrices),
        cmocka_unit_test(truncated_matrices),
        cmocka_unit_test(corrupted_matrices),
        cmocka_unit_test(pairs_behind_others),
        cmocka_unit_test(coordinate_modes),
        cmocka_unit_test(home_cell),
        cmocka_unit_test(bad_structures),
        cmocka_unit_test(latnames),
        cmocka_unit_test(poscar_and_xyz),
        cmocka_unit_test(orbital_files),
        cmocka_unit_test(logs),
        cmocka_unit_test(run_folders),
        cmocka_unit_test(log_decides_images),
        cmocka_unit_test(tiny_elements),
        cmocka_unit_test(spin_files),
        cmocka_unit_test(real_eigenvalues),
    };
    return cmocka_run_group_tests_name("abacus", tests, set_up, tear_down);
}
