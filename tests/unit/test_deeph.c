/* Folders of DeepH: both layouts there and back, bit for bit; the order of orbitals, spins and atoms by
 * files made by hand; files that lie. */
#include "made_crystal.h"

#include "formats/deeph/blocks.h"
#include "formats/deeph/deeph.h"

#include <dirent.h>
#include <hdf5.h>
#include <sys/stat.h>
#include <unistd.h>

static char scratch[] = "/tmp/nh_test_deeph_XXXXXX";
static char folder[64];

static int set_up(void **state)
{
    (void)state;
    if (mkdtemp(scratch) == NULL) return -1;
    snprintf(folder, sizeof folder, "%s/deeph", scratch);
    return 0;
}

/* The folder and what is in it. */
static void clear(void)
{
    DIR *const d = opendir(folder);
    if (d == NULL) return;
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        if (e->d_name[0] != '.') unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    rmdir(folder);
}

static int tear_down(void **state)
{
    (void)state;
    clear();
    return rmdir(scratch);
}

/* --- there and back --- */

/* A graph with a Hermitian matrix and a symmetric overlap, atoms Li, Ga; with `mixed` Ga, Li, Ga, whose
 * elements do not stand together. */
static nh_graph *example(int n_spin, bool mixed)
{
    nh_graph *g;
    if (mixed) {
        static const double lattice[9] = {4.1, 0, 0, 0.5, 4.4, 0, 0.1, 0.2, 4.9};
        static const double position[9] = {0, 0, 0, 1.4, 1.5, 1.6, 2.9, 3.1, 3.3};
        g = calloc(1, sizeof *g);
        assert_non_null(g);
        OK(nh_structure_new(3, 2, &g->structure, &err));
        memcpy(g->structure.lattice, lattice, sizeof lattice);
        memcpy(g->structure.position, position, sizeof position);
        memcpy(g->structure.species, (int[]){0, 1, 0}, 3 * sizeof(int));
        memcpy(g->structure.atomic_number, (int[]){31, 3}, 2 * sizeof(int));
        OK(nh_structure_set_shells(&g->structure, (size_t[]){3, 2}, (int[]){0, 1, 2, 1, 3}, &err));
        size_t count;
        nh_pair *pair;
        OK(nh_neighbours(&g->structure, 5, &count, &pair, &err));
        OK(nh_pairs_build(&g->structure, count, pair, &g->pairs, &err));
        g->cutoff = 5;
        g->n_spin = n_spin;
        g->rydberg = NH_RYDBERG;
        g->efermi = g->nelec = NAN;
    } else {
        g = made_crystal(n_spin, 5);
        g->efermi = 1.0 / 3;
        g->nelec = 7;
    }
    double *const h = made_matrix(g, NH_H_PRED);
    for (size_t i = 0; i < 2 * (size_t)n_spin * g->pairs.n_elem; i++)
        h[i] = n_spin == 1 && i % 2 == 1 ? 0 : made_number(i) / 3;
    OK(nh_hermitize(g, h, &err));
    for (size_t i = 1; n_spin == 1 && i < 2 * g->pairs.n_elem; i += 2)
        h[i] = 0; /* not -0 */
    /* the overlap: the symmetric part of other numbers */
    nh_graph one = *g;
    one.n_spin = 1;
    double *const s = calloc(2 * g->pairs.n_elem, sizeof *s);
    g->overlap = calloc(g->pairs.n_elem, sizeof *g->overlap);
    assert_true(s != NULL && g->overlap != NULL);
    for (size_t i = 0; i < g->pairs.n_elem; i++)
        s[2 * i] = made_number(3 * i + 1);
    OK(nh_hermitize(&one, s, &err));
    for (size_t i = 0; i < g->pairs.n_elem; i++)
        g->overlap[i] = s[2 * i];
    free(s);
    return g;
}

static void there_and_back(void **state)
{
    (void)state;
    for (int layout = NH_DEEPH_OLD; layout <= NH_DEEPH_NEW; layout++)
        for (int n_spin = 1; n_spin <= 4; n_spin += 3) {
            nh_graph *const g = example(n_spin, false), *back;
            OK(nh_deeph_write(folder, (nh_deeph_layout)layout, g, NH_H_PRED, &err));
            assert_int_equal(nh_deeph_recognise(folder), layout);
            OK(nh_deeph_read(folder, NAN, NULL, &back, &err));
            assert_int_equal(back->n_spin, n_spin);
            assert_int_equal(back->pairs.count, g->pairs.count);
            assert_memory_equal(back->pairs.pair, g->pairs.pair, g->pairs.count * sizeof *g->pairs.pair);
            assert_int_equal(back->pairs.n_elem, g->pairs.n_elem);
            assert_memory_equal(back->structure.position, g->structure.position, 6 * sizeof(double));
            assert_memory_equal(back->structure.lattice, g->structure.lattice, 9 * sizeof(double));
            assert_memory_equal(back->structure.shell_l, g->structure.shell_l, 6 * sizeof(int));
            assert_memory_equal(back->overlap, g->overlap, g->pairs.n_elem * sizeof(double));
            assert_null(back->matrix[NH_H_LABEL]);
            assert_non_null(back->matrix[NH_H_PRED]);
            assert_memory_equal(back->matrix[NH_H_PRED], g->matrix[NH_H_PRED],
                                2 * (size_t)n_spin * g->pairs.n_elem * sizeof(double));
            assert_true(back->efermi == g->efermi && back->nelec == 7 && back->cutoff == 5);
            nh_graph_free(back);
            nh_graph_free(g);
            clear();
        }
}

/* Elements that do not stand together: the old layout keeps the order, the new one groups, and blocks go
 * along. */
static void grouped(void **state)
{
    (void)state;
    nh_graph *const g = example(4, true), *back;
    OK(nh_deeph_write(folder, NH_DEEPH_NEW, g, NH_H_PRED, &err));
    OK(nh_deeph_read(folder, NAN, NULL, &back, &err));
    clear();
    static const int moved[3] = {0, 2, 1}; /* Ga, Ga, Li */
    assert_int_equal(back->pairs.count, g->pairs.count);
    for (size_t p = 0; p < g->pairs.count; p++) {
        const nh_pair *const q = &g->pairs.pair[p];
        const size_t other = nh_pairs_find(&back->pairs, moved[q->src], moved[q->dst], q->cell);
        assert_true(other != SIZE_MAX);
        const size_t size = g->pairs.start[p + 1] - g->pairs.start[p];
        for (size_t spin = 0; spin < 4; spin++)
            assert_memory_equal(back->matrix[NH_H_PRED] +
                                    2 * (spin * back->pairs.n_elem + back->pairs.start[other]),
                                g->matrix[NH_H_PRED] + 2 * (spin * g->pairs.n_elem + g->pairs.start[p]),
                                2 * size * sizeof(double));
        assert_memory_equal(back->overlap + back->pairs.start[other], g->overlap + g->pairs.start[p],
                            size * sizeof(double));
    }
    nh_graph_free(back);

    OK(nh_deeph_write(folder, NH_DEEPH_OLD, g, NH_H_PRED, &err));
    OK(nh_deeph_read(folder, NAN, NULL, &back, &err));
    clear();
    assert_memory_equal(back->pairs.pair, g->pairs.pair, g->pairs.count * sizeof *g->pairs.pair);
    assert_memory_equal(back->matrix[NH_H_PRED], g->matrix[NH_H_PRED], 8 * g->pairs.n_elem * sizeof(double));
    nh_graph_free(back);
    nh_graph_free(g);
}

static void refused_to_write(void **state)
{
    (void)state;
    nh_graph *g = example(1, false);
    g->matrix[NH_H_PRED][1] = 0.1;
    assert_int_equal(nh_deeph_write(folder, NH_DEEPH_NEW, g, NH_H_PRED, &err), -1);
    assert_non_null(strstr(err.text, "imaginary"));
    assert_int_equal(nh_deeph_write(folder, NH_DEEPH_NEW, g, NH_H0, &err), -1);
    assert_non_null(strstr(err.text, "no h0"));
    g->matrix[NH_H_PRED][1] = 0;
    OK(nh_deeph_write(folder, NH_DEEPH_NEW, g, NH_H_PRED, &err));
    assert_int_equal(nh_deeph_write(folder, NH_DEEPH_OLD, g, NH_H_PRED, &err), -1);
    assert_non_null(strstr(err.text, "not empty"));
    clear();
    g->structure.atomic_number[1] = 3; /* the same element with other shells */
    assert_int_equal(nh_deeph_write(folder, NH_DEEPH_NEW, g, NH_H_PRED, &err), -1);
    assert_non_null(strstr(err.text, "different orbital shells"));
    assert_int_equal(access(folder, F_OK), -1);
    OK(nh_deeph_write(folder, NH_DEEPH_OLD, g, NH_H_PRED, &err));
    clear();
    nh_graph_free(g);
}

/* --- folders made by hand --- */

static void put(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *const f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

static hid_t create(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    const hid_t f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(f >= 0);
    return f;
}

static void dataset(hid_t file, const char *name, hid_t type, int rank, const hsize_t *dim, const void *from)
{
    const hid_t space = H5Screate_simple(rank, dim, NULL);
    const hid_t id = H5Dcreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(id >= 0);
    assert_true(H5Dwrite(id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, from) >= 0);
    H5Dclose(id);
    H5Sclose(space);
}

static hid_t complex_type(void)
{
    const hid_t type = H5Tcreate(H5T_COMPOUND, 16);
    H5Tinsert(type, "r", 0, H5T_NATIVE_DOUBLE);
    H5Tinsert(type, "i", 8, H5T_NATIVE_DOUBLE);
    return type;
}

/* One atom in a wide cell with the shells of `types`; H of n x n, here with the element of orbitals a and
 * b set. */
static void old_atom(const char *types, const char *info)
{
    clear();
    assert_int_equal(mkdir(folder, 0777), 0);
    put("lat.dat", "20 0 0\n0 21 0\n0 0 22\n");
    put("site_positions.dat", "1\n2\n3\n");
    put("element.dat", "31\n");
    put("orbital_types.dat", types);
    put("info.json", info);
}

/* The element (a, b) of the only block, spins s, t, in DeepH's order comes out at (i, j) of ours. */
static void old_element(const char *types, size_t n, size_t a, size_t b, size_t i, size_t j)
{
    double h[64 * 64] = {0};
    nh_graph *g;
    h[a * n + b] = h[b * n + a] = 0.75;
    old_atom(types, "{\"isspinful\": false, \"fermi_level\": 0.5}");
    const hid_t f = create("hamiltonians.h5");
    dataset(f, "[0, 0, 0, 1, 1]", H5T_NATIVE_DOUBLE, 2, (hsize_t[]){n, n}, h);
    H5Fclose(f);
    OK(nh_deeph_read(folder, 6, NULL, &g, &err));
    assert_int_equal(g->pairs.count, 1);
    assert_int_equal(g->n_spin, 1);
    assert_true(g->efermi == 0.5 && isnan(g->nelec) && g->overlap == NULL);
    for (size_t k = 0; k < n * n; k++)
        if (g->matrix[NH_H_LABEL][2 * k] != (k == i * n + j || k == j * n + i ? 0.75 : 0))
            fail_msg("%s: (%zu, %zu): element %zu", types, a, b, k);
    nh_graph_free(g);
}

static void orders(void **state)
{
    (void)state;
    /* p x y z; ours y z x */
    old_element("1", 3, 0, 1, 2, 0);
    old_element("1", 3, 2, 2, 1, 1);
    /* d z2 x2-y2 xy xz yz; ours xy yz z2 xz x2-y2 */
    old_element("2", 5, 0, 1, 2, 4);
    old_element("2", 5, 2, 3, 0, 3);
    old_element("2", 5, 4, 4, 1, 1);
    /* f 0 1 -1 2 -2 3 -3 */
    old_element("3", 7, 0, 1, 3, 4);
    old_element("3", 7, 2, 3, 2, 5);
    old_element("3", 7, 4, 5, 1, 6);
    old_element("3", 7, 6, 6, 0, 0);
    /* shells that are not sorted: p s d s -> s s p d */
    old_element("1 0 2 0", 10, 3, 9, 0, 1);
    old_element("1 0 2 0", 10, 0, 4, 4, 7);
    /* every order is one: each place once */
    for (int layout = NH_DEEPH_OLD; layout <= NH_DEEPH_NEW; layout++)
        for (int l = 0; l <= 6; l++) {
            unsigned seen = 0;
            for (size_t m = 0; m <= 2 * (size_t)l; m++)
                seen |= 1u << nh_deeph_orbital((nh_deeph_layout)layout, l, m);
            assert_int_equal(seen, (1u << (2 * l + 1)) - 1);
        }
}

static const long long one_pair[5] = {0, 0, 0, 0, 0}, two_by_two[2] = {2, 2}, bounds[2] = {0, 4};

/* [[uu, ud], [du, dd]] of one s orbital, in both layouts; an overlap that is stored with spin. */
static void spins(void **state)
{
    (void)state;
    static const double h[8] = {1, 0, 0.25, 0.5, 0.25, -0.5, 2, 0}, s[8] = {1, 0, 0, 0, 0, 0, 1, 0};
    nh_graph *g;
    const hid_t complex = complex_type();
    for (int layout = NH_DEEPH_OLD; layout <= NH_DEEPH_NEW; layout++) {
        old_atom("0", "{\"isspinful\": true, \"fermi_level\": null}");
        if (layout == NH_DEEPH_OLD) {
            const hid_t f = create("hamiltonians_pred.h5");
            dataset(f, "[0, 0, 0, 1, 1]", complex, 2, (hsize_t[]){2, 2}, h);
            H5Fclose(f);
        } else {
            clear();
            assert_int_equal(mkdir(folder, 0777), 0);
            put("POSCAR", "one\n1.0\n20 0 0\n0 21 0\n0 0 22\nGa\n1\nDirect\n0 0 0\n");
            put("info.json",
                "{\"spinful\": true, \"elements_orbital_map\": {\"Ga\": [0]}, \"fermi_energy_eV\": NaN, "
                "\"atoms_quantity\": 1, \"orbits_quantity\": 1, \"orthogonal_basis\": false}");
            const char *const names[] = {"hamiltonian_pred.h5", "overlap.h5"};
            for (int i = 0; i < 2; i++) {
                const hid_t f = create(names[i]);
                dataset(f, "atom_pairs", H5T_NATIVE_LLONG, 2, (hsize_t[]){1, 5}, one_pair);
                dataset(f, "chunk_shapes", H5T_NATIVE_LLONG, 2, (hsize_t[]){1, 2}, two_by_two);
                dataset(f, "chunk_boundaries", H5T_NATIVE_LLONG, 1, (hsize_t[]){2}, bounds);
                dataset(f, "entries", complex, 1, (hsize_t[]){4}, i == 0 ? h : s);
                H5Fclose(f);
            }
        }
        OK(nh_deeph_read(folder, 6, NULL, &g, &err));
        assert_int_equal(g->n_spin, 4);
        assert_true(isnan(g->efermi));
        assert_null(g->matrix[NH_H_LABEL]);
        assert_memory_equal(g->matrix[NH_H_PRED], h, sizeof h);
        assert_true(layout == NH_DEEPH_OLD ? g->overlap == NULL : g->overlap[0] == 1);
        nh_graph_free(g);
    }
    H5Tclose(complex);
    clear();
}

/* --- files that lie --- */

static void refused(const char *message)
{
    nh_graph *g = NULL;
    err.text[0] = '\0';
    if (nh_deeph_read(folder, 6, NULL, &g, &err) == 0) fail_msg("\"%s\" was read", message);
    assert_null(g);
    if (strstr(err.text, message) == NULL || strchr(err.text, '\n') != NULL)
        fail_msg("no \"%s\" in \"%s\"", message, err.text);
}

static void old_lies(void **state)
{
    (void)state;
    static const double x[16] = {1, 2, 3, 4}, nan_[4] = {1, NAN, NAN, 1};
    const char *const good = "{\"isspinful\": false}";
    const hsize_t one[2] = {1, 1}, two[2] = {2, 2};
    static const struct {
        const char *file, *text, *message;
    } text[] = {
        {"info.json", "{}", "no isspinful"},
        {"info.json", "[1]", "no isspinful"},
        {"info.json", "{\"isspinful\": 3}", "isspinful"},
        {"info.json", "{\"isspinful\": false", "info.json"},
        {"info.json", "{\"isspinful\": false, \"isorthogonal\": true}", "orthogonal basis"},
        {"info.json", "{\"isspinful\": false, \"nsites\": 2}", "nsites is 2"},
        {"info.json", "{\"isspinful\": false, \"norbits\": 7}", "norbits is 7"},
        {"info.json", "{\"isspinful\": false, \"fermi_level\": \"high\"}", "fermi_level"},
        {"info.json", "{\"isspinful\": false, \"nextham\": {\"cutoff\": 1e9}}", "cutoff"},
        {"info.json", "{\"isspinful\": false, \"nextham\": {\"matrix\": \"h\"}}", "matrix"},
        {"lat.dat", "1 0 0 0 1 0 0 0", "8 numbers"},
        {"lat.dat", "1 0 0 0 1 0 0 0 nan", "not finite"},
        {"lat.dat", "1 0 0 0 1 0 0 0 0", "no volume"},
        {"element.dat", "200", "no atomic number"},
        {"element.dat", "1.5", "no atomic number"},
        {"element.dat", "", "0 atoms"},
        {"element.dat", "31 33", "for 2 atoms"},
        {"site_positions.dat", "1 2 3 4", "4 numbers"},
        {"orbital_types.dat", "0\n0\n", "more lines"},
        {"orbital_types.dat", "7\n", "degree 7"},
        {"orbital_types.dat", "s\n", "degree of a shell expected"},
        {"orbital_types.dat", "\n", "0 lines"},
    };
    for (size_t i = 0; i < sizeof text / sizeof text[0]; i++) {
        old_atom("0", good);
        put(text[i].file, text[i].text);
        refused(text[i].message);
    }
    old_atom("0", good);
    refused("neither hamiltonians.h5 nor overlaps.h5");
    put("hamiltonians.h5", "no HDF5");
    refused("no complete HDF5 file");

    static const struct {
        const char *name, *message;
        int size, nan;
    } block[] = {
        {"[0, 0, 0, 1, 1]", "is 2 x 2, but the basis says 1 x 1", 2, 0},
        {"[0, 0, 0, 1, 2]", "no such atom", 1, 0},
        {"[0, 0, 0, 0, 1]", "no such atom", 1, 0},
        {"[0, 0, 99999999, 1, 1]", "cells of small numbers", 1, 0},
        {"[0, 0, 0, 1]", "is no name of a block", 1, 0},
        {"[0, 0, 0, 1, 1] ", "is no name of a block", 1, 0},
        {"matrix", "is no name of a block", 1, 0},
        {"[0, 0, 1, 1, 1]", "without its reverse", 1, 0},
    };
    for (size_t i = 0; i < sizeof block / sizeof block[0]; i++) {
        old_atom("0", good);
        const hid_t f = create("hamiltonians.h5");
        dataset(f, block[i].name, H5T_NATIVE_DOUBLE, 2, block[i].size == 2 ? two : one, x);
        H5Fclose(f);
        refused(block[i].message);
    }
    old_atom("0 0", good);
    hid_t f = create("hamiltonians.h5");
    dataset(f, "[0, 0, 0, 1, 1]", H5T_NATIVE_DOUBLE, 2, two, nan_);
    H5Fclose(f);
    refused("number 1 is not finite");

    old_atom("0", good); /* the same block in two spellings */
    f = create("hamiltonians.h5");
    dataset(f, "[0, 0, 0, 1, 1]", H5T_NATIVE_DOUBLE, 2, one, x);
    dataset(f, "[0,0,0,1,1]", H5T_NATIVE_DOUBLE, 2, one, x);
    H5Fclose(f);
    refused("is there twice");

    old_atom("0", good);
    f = create("hamiltonians.h5");
    dataset(f, "[0, 0, 0, 1, 1]", H5T_NATIVE_DOUBLE, 1, one, x);
    H5Fclose(f);
    refused("1 dimensions, 2 expected");

    old_atom("0", good);
    f = create("hamiltonians.h5");
    const hid_t text_type = H5Tcopy(H5T_C_S1);
    dataset(f, "[0, 0, 0, 1, 1]", text_type, 2, one, x);
    H5Tclose(text_type);
    H5Fclose(f);
    refused("numbers expected");

    old_atom("0", good);
    f = create("hamiltonians.h5");
    H5Lcreate_external("/etc/passwd", "/", f, "[0, 0, 0, 1, 1]", H5P_DEFAULT, H5P_DEFAULT);
    H5Fclose(f);
    refused("link into another file");

    old_atom("0", "{\"isspinful\": false}"); /* an overlap that is not symmetric */
    f = create("overlaps.h5");
    dataset(f, "[0, 0, 0, 1, 1]", H5T_NATIVE_DOUBLE, 2, one, x);
    dataset(f, "[0, 0, 1, 1, 1]", H5T_NATIVE_DOUBLE, 2, one, x + 1);
    dataset(f, "[0, 0, -1, 1, 1]", H5T_NATIVE_DOUBLE, 2, one, x + 2);
    H5Fclose(f);
    refused("not the transpose");
    clear();
}

static void new_folder(const long long *key, const long long *shape, const long long *bound, hsize_t n_entry)
{
    static const double entry[16] = {1};
    clear();
    assert_int_equal(mkdir(folder, 0777), 0);
    put("POSCAR", "one\n1.0\n20 0 0\n0 21 0\n0 0 22\nGa\n1\nDirect\n0 0 0\n");
    put("info.json", "{\"spinful\": false, \"elements_orbital_map\": {\"Ga\": [0, 0]}}");
    const hid_t f = create("hamiltonian.h5");
    dataset(f, "atom_pairs", H5T_NATIVE_LLONG, 2, (hsize_t[]){1, 5}, key);
    dataset(f, "chunk_shapes", H5T_NATIVE_LLONG, 2, (hsize_t[]){1, 2}, shape);
    dataset(f, "chunk_boundaries", H5T_NATIVE_LLONG, 1, (hsize_t[]){2}, bound);
    dataset(f, "entries", H5T_NATIVE_DOUBLE, 1, &n_entry, entry);
    H5Fclose(f);
}

static void new_lies(void **state)
{
    (void)state;
    nh_graph *g;
    new_folder(one_pair, two_by_two, bounds, 4);
    OK(nh_deeph_read(folder, 6, NULL, &g, &err));
    nh_graph_free(g);
    new_folder((long long[]){0, 0, 0, 0, 1}, two_by_two, bounds, 4);
    refused("no such atom");
    new_folder(one_pair, (long long[]){1000000000000, 1000000000000}, bounds, 4);
    refused("but the basis says 2 x 2");
    new_folder(one_pair, (long long[]){-2, -2}, bounds, 4);
    refused("a negative number");
    new_folder(one_pair, two_by_two, (long long[]){1, 5}, 4);
    refused("block 0 is from 1 to 5");
    new_folder(one_pair, two_by_two, (long long[]){0, -4}, 4);
    refused("block 0 is from 0 to -4");
    new_folder(one_pair, two_by_two, bounds, 3);
    refused("3 numbers, the blocks have 4");

    new_folder(one_pair, two_by_two, bounds, 4);
    put("info.json", "{\"spinful\": false, \"elements_orbital_map\": {\"As\": [0, 0]}}");
    refused("no list of shells for Ga");
    put("info.json", "{\"spinful\": false, \"elements_orbital_map\": {\"Ga\": [0, -1]}}");
    refused("a shell of degree -1");
    put("info.json", "{\"spinful\": false}");
    refused("no map elements_orbital_map");
    put("info.json", "{\"spinful\": true, \"split_hkb\": true, \"elements_orbital_map\": {\"Ga\": [0]}}");
    refused("split into two files");

    /* a file of a few kilobytes that announces 8 PB: chunks that were never written */
    new_folder(one_pair, two_by_two, bounds, 4);
    hid_t f = create("hamiltonian.h5");
    const hsize_t huge[2] = {200000000000000, 5}, chunk[2] = {1024, 5};
    const hid_t made = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(2, huge, NULL);
    H5Pset_chunk(made, 2, chunk);
    H5Pset_deflate(made, 1);
    H5Dclose(H5Dcreate2(f, "atom_pairs", H5T_NATIVE_LLONG, space, H5P_DEFAULT, made, H5P_DEFAULT));
    H5Pclose(made);
    H5Sclose(space);
    H5Fclose(f);
    refused("fewer numbers than its sizes say");
    f = create("hamiltonian.h5");
    H5Fclose(f);
    refused("no dataset \"atom_pairs\"");
    clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back), cmocka_unit_test(grouped), cmocka_unit_test(refused_to_write),
        cmocka_unit_test(orders),         cmocka_unit_test(spins),   cmocka_unit_test(old_lies),
        cmocka_unit_test(new_lies),
    };
    return cmocka_run_group_tests_name("deeph", tests, set_up, tear_down);
}
