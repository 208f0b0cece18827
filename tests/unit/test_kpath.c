/* The standard path (crystal/kpath.h): published points of all families of lattices; the same bands whatever cell describes the crystal. */
#include "crystal/kpath.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MOST_ATOMS = 16, MOST_CORNERS = 20 };

typedef struct kpath_case {
    const char *name, *lattice;
    int space_group;
    const char *path;
    double cell[9];
    size_t n_atom;
    int species[MOST_ATOMS];
    double position[3 * MOST_ATOMS]; /* fractional */
    double k[3 * MOST_CORNERS];
} kpath_case;

static const kpath_case CASES[] = {
#include "kpath_cases.inc"
};
enum { N_CASES = sizeof CASES / sizeof *CASES };

/* The crystal of a case described by n1 x n2 x n3 cells of it, sheared by a unimodular matrix, all turned. */
static nh_structure described(const kpath_case *c, const int n[3], const double turn[9])
{
    nh_structure s;
    nh_error err;
    int species = 0;
    for (size_t a = 0; a < c->n_atom; a++)
        species = c->species[a] > species ? c->species[a] : species;
    const size_t cells = (size_t)n[0] * (size_t)n[1] * (size_t)n[2];
    assert_int_equal(nh_structure_new(cells * c->n_atom, (size_t)species + 1, &s, &err), 0);
    for (int t = 0; t <= species; t++)
        s.atomic_number[t] = t + 3;
    double rows[9], cart[3];
    for (size_t j = 0; j < 3; j++) {
        rows[j] = n[0] * c->cell[j] + n[1] * c->cell[3 + j]; /* a1 + a2, a2, a3 - a2 */
        rows[3 + j] = n[1] * c->cell[3 + j];
        rows[6 + j] = n[2] * c->cell[6 + j] - n[1] * c->cell[3 + j];
    }
    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < 3; j++)
            s.lattice[3 * i + j] = rows[3 * i] * turn[3 * j] + rows[3 * i + 1] * turn[3 * j + 1] +
                                   rows[3 * i + 2] * turn[3 * j + 2];
    size_t at = 0;
    for (size_t a = 0; a < c->n_atom; a++)
        for (int i = 0; i < n[0]; i++)
            for (int j = 0; j < n[1]; j++)
                for (int l = 0; l < n[2]; l++, at++) {
                    const double f[3] = {c->position[3 * a] + i, c->position[3 * a + 1] + j,
                                         c->position[3 * a + 2] + l};
                    for (size_t x = 0; x < 3; x++)
                        cart[x] = f[0] * c->cell[x] + f[1] * c->cell[3 + x] + f[2] * c->cell[6 + x];
                    for (size_t x = 0; x < 3; x++)
                        s.position[3 * at + x] =
                            cart[0] * turn[3 * x] + cart[1] * turn[3 * x + 1] + cart[2] * turn[3 * x + 2];
                    s.species[at] = c->species[a];
                }
    return s;
}

static const double STILL[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
static const double TURN[9] = {2 / 3., -1 / 3., 2 / 3., 2 / 3., 2 / 3., -1 / 3., -1 / 3., 2 / 3., 2 / 3.};

/* The case's own cell: described() shears it. */
static nh_structure own_cell(const kpath_case *c)
{
    nh_structure s = described(c, (int[3]){1, 1, 1}, STILL);
    memcpy(s.lattice, c->cell, sizeof c->cell);
    return s;
}

static void published_points(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        const kpath_case *c = &CASES[i];
        nh_structure s = own_cell(c);
        nh_kpath p;
        nh_error err;
        if (nh_kpath_standard(&s, 1e-4, &p, &err) != 0) fail_msg("%s: %s", c->name, err.text);
        char *text = nh_kpath_text(&p);
        assert_non_null(text);
        if (strcmp(p.lattice, c->lattice) != 0 || p.space_group != c->space_group ||
            strstr(text, c->path) == NULL)
            fail_msg("%s: %s", c->name, text);
        for (size_t k = 0; k < p.count; k++)
            for (size_t x = 0; x < 3; x++)
                if (fabs(p.node[k].k[x] - c->k[3 * k + x]) > 1e-6)
                    fail_msg("%s: %s: k%zu is %.9f, not %.9f", c->name, p.node[k].label, x + 1,
                             p.node[k].k[x], c->k[3 * k + x]);
        free(text);
        nh_kpath_free(&p);
        nh_structure_free(&s);
    }
}

/* A band of s orbitals at the corners of the cell, the sum over its lattice of exp(-R^2/9) cos(k R): both cells have the same lattice. */
static double band(const double cell[9], const double k[3])
{
    enum { REACH = 9 };
    double e = 0;
    for (int i = -REACH; i <= REACH; i++)
        for (int j = -REACH; j <= REACH; j++)
            for (int l = -REACH; l <= REACH; l++) {
                double r2 = 0;
                for (size_t x = 0; x < 3; x++) {
                    const double r = i * cell[x] + j * cell[3 + x] + l * cell[6 + x];
                    r2 += r * r;
                }
                e += exp(-r2 / 9) * cos(2 * acos(-1) * (i * k[0] + j * k[1] + l * k[2]));
            }
    return e;
}

static void the_same_bands_from_another_cell(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        const kpath_case *c = &CASES[i];
        nh_structure s = own_cell(c), t = described(c, (int[3]){1, 1, 1}, TURN);
        nh_kpath p, q;
        nh_error err;
        assert_int_equal(nh_kpath_standard(&s, 1e-4, &p, &err), 0);
        assert_int_equal(nh_kpath_standard(&t, 1e-4, &q, &err), 0);
        assert_string_equal(p.lattice, q.lattice);
        assert_int_equal(p.count, q.count);
        for (size_t k = 0; k < p.count; k++)
            for (int middle = 0; middle < 2; middle++) {
                if (middle == 1 && (k + 1 == p.count || p.node[k].jump)) continue;
                double a[3], b[3];
                for (size_t x = 0; x < 3; x++) {
                    a[x] = middle ? 0.6 * p.node[k].k[x] + 0.4 * p.node[k + 1].k[x] : p.node[k].k[x];
                    b[x] = middle ? 0.6 * q.node[k].k[x] + 0.4 * q.node[k + 1].k[x] : q.node[k].k[x];
                }
                const double e = band(s.lattice, a), f = band(t.lattice, b);
                if (fabs(e - f) > 1e-5)
                    fail_msg("%s: %s: %.8f in one cell, %.8f in the other", c->name, p.node[k].label, e, f);
            }
        nh_kpath_free(&p);
        nh_kpath_free(&q);
        nh_structure_free(&s);
        nh_structure_free(&t);
    }
}

/* Lengths of the segments do not depend on the cell either, supercells included; the number of primitive cells is told. */
static void supercells(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        const kpath_case *c = &CASES[i];
        nh_structure s = own_cell(c), t = described(c, (int[3]){2, 1, 3}, TURN);
        nh_kpath p, q;
        nh_error err;
        double b[9], d[9];
        assert_int_equal(nh_kpath_standard(&s, 1e-4, &p, &err), 0);
        assert_int_equal(nh_kpath_standard(&t, 1e-4, &q, &err), 0);
        assert_int_equal(nh_reciprocal(s.lattice, b, &err), 0);
        assert_int_equal(nh_reciprocal(t.lattice, d, &err), 0);
        assert_true(fabs(q.primitive_cells - 6 * p.primitive_cells) < 1e-6);
        for (size_t k = 0; k + 1 < p.count; k++) {
            double u[3], v[3];
            for (size_t x = 0; x < 3; x++) {
                u[x] = p.node[k + 1].k[x] - p.node[k].k[x];
                v[x] = q.node[k + 1].k[x] - q.node[k].k[x];
            }
            if (!p.node[k].jump) assert_true(fabs(nh_k_length(b, u) - nh_k_length(d, v)) < 1e-5);
        }
        nh_kpath_free(&p);
        nh_kpath_free(&q);
        nh_structure_free(&s);
        nh_structure_free(&t);
    }
}

/* A rattled crystal has no symmetry, unless the tolerance says so. */
static void tolerance(void **state)
{
    (void)state;
    nh_structure s = own_cell(&CASES[3]);
    s.position[4] += 0.02;
    nh_kpath p;
    nh_error err;
    assert_int_equal(nh_kpath_standard(&s, 1e-3, &p, &err), 0);
    assert_string_not_equal(p.lattice, "cF2");
    nh_kpath_free(&p);
    assert_int_equal(nh_kpath_standard(&s, 0.1, &p, &err), 0);
    assert_string_equal(p.lattice, "cF2");
    nh_kpath_free(&p);
    memset(s.lattice, 0, sizeof s.lattice);
    assert_int_equal(nh_kpath_standard(&s, 0.1, &p, &err), -1);
    assert_non_null(strstr(err.text, "no volume"));
    nh_structure_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_points),
        cmocka_unit_test(the_same_bands_from_another_cell),
        cmocka_unit_test(supercells),
        cmocka_unit_test(tolerance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
