/* The guard: an overlap against its structure, with and without the orbitals. Every way of being wrong that is named. */
#include "check.h"

#include "crystal/neighbours.h"
#include "crystal/overlap.h"
#include "lcao/verify.h"
#include "made_species.h"

typedef struct crystal {
    nh_species species[2];
    nh_structure s;
    nh_pairs pairs;
    double *overlap;
} crystal;

static void crystal_new(crystal *c)
{
    static const int l[2][3] = {{0, 1, 2}, {0, 0, 1}};
    static const double alpha[2][3] = {{0.5, 0.6, 0.8}, {0.4, 0.9, 0.7}};
    static const double lattice[9] = {4.1, 0.2, 0, 0, 4.3, 0.1, 0.3, 0, 4.6};
    static const double position[9] = {0.1, 0.2, 0.3, 1.9, 2.2, 0.6, 2.3, 0.4, 2.6};
    for (int i = 0; i < 2; i++)
        c->species[i] = (nh_species){.orbital = made_orbitals(3, l[i], alpha[i], 6)};
    OK(nh_structure_new(3, 2, &c->s, &err));
    memcpy(c->s.lattice, lattice, sizeof lattice);
    memcpy(c->s.position, position, sizeof position);
    c->s.species[1] = c->s.species[2] = 1;
    c->s.atomic_number[0] = 5;
    c->s.atomic_number[1] = 7;
    OK(nh_structure_set_shells(&c->s, (size_t[]){3, 3}, (int[]){0, 1, 2, 0, 0, 1}, &err));
    size_t n;
    nh_pair *pair;
    OK(nh_neighbours(&c->s, 8, &n, &pair, &err)); /* orbitals reach 6.35 Å */
    OK(nh_pairs_build(&c->s, n, pair, &c->pairs, &err));
    c->overlap = NH_ARRAY(double, c->pairs.n_elem);
    nh_two_centre *t;
    const nh_two_centre_task task = {2, c->species, false, NULL};
    OK(nh_two_centre_new(&task, &t, &err));
    OK(nh_two_centre_matrices(t, &c->s, &c->pairs, c->overlap, NULL, NULL, NULL, &err));
    nh_two_centre_free(t);
}

static void crystal_free(crystal *c)
{
    free(c->overlap);
    nh_pairs_free(&c->pairs);
    nh_structure_free(&c->s);
    nh_species_free(c->species, 2);
}

/* The same pairs, whose distances are those of the structure as it is now. */
static void measure_again(crystal *c)
{
    nh_pair *const pair = NH_ARRAY(nh_pair, c->pairs.count);
    memcpy(pair, c->pairs.pair, c->pairs.count * sizeof *pair);
    const size_t n = c->pairs.count;
    nh_pairs_free(&c->pairs);
    OK(nh_pairs_build(&c->s, n, pair, &c->pairs, &err));
}

static void refused(const crystal *c, const char *complaint)
{
    double largest;
    assert_int_equal(nh_overlap_verify(&c->s, &c->pairs, c->overlap, c->species, NULL, &largest, &err), -1);
    if (strstr(err.text, complaint) == NULL) fail_msg("\"%s\" does not say \"%s\"", err.text, complaint);
}

static void right_one(void **state)
{
    (void)state;
    crystal c;
    double largest;
    crystal_new(&c);
    OK(nh_overlap_check(&c.s, &c.pairs, c.overlap, &err));
    OK(nh_overlap_verify(&c.s, &c.pairs, c.overlap, c.species, NULL, &largest, &err));
    assert_true(largest == 0);
    for (size_t i = 0; i < c.pairs.n_elem; i++) /* as a file in single precision has it */
        c.overlap[i] = (double)(float)c.overlap[i];
    OK(nh_overlap_check(&c.s, &c.pairs, c.overlap, &err));
    OK(nh_overlap_verify(&c.s, &c.pairs, c.overlap, c.species, NULL, &largest, &err));
    assert_true(largest > 0 && largest < 1e-7);
    for (size_t i = 0; i < c.pairs.n_elem; i++) /* orthogonal atoms */
        c.overlap[i] = 0;
    OK(nh_overlap_check(&c.s, &c.pairs, c.overlap, &err));
    crystal_free(&c);
}

/* An atom outside the home cell whose matrices count from inside. */
static void moved_by_a_lattice_vector(void **state)
{
    (void)state;
    crystal c;
    crystal_new(&c);
    for (size_t k = 0; k < 3; k++)
        c.s.position[3 + k] -= c.s.lattice[3 + k];
    measure_again(&c);
    refused(&c, "stands in another cell");
    assert_int_equal(nh_overlap_check(&c.s, &c.pairs, c.overlap, &err), -1);
    assert_non_null(strstr(err.text, "do not overlap"));
    crystal_free(&c);
}

static void atoms_in_another_order(void **state)
{
    (void)state;
    crystal c;
    crystal_new(&c);
    for (size_t k = 0; k < 3; k++) {
        const double x = c.s.position[3 + k];
        c.s.position[3 + k] = c.s.position[6 + k];
        c.s.position[6 + k] = x;
    }
    measure_again(&c);
    refused(&c, "another order");
    crystal_free(&c);
}

static void orbitals_in_another_order(void **state)
{
    (void)state;
    crystal c;
    crystal_new(&c);
    /* columns of the p shell of the second species: (y, z, x) as (z, x, y) with signs */
    for (size_t p = 0; p < c.pairs.count; p++) {
        const nh_pair *const q = &c.pairs.pair[p];
        const size_t rows = nh_atom_orbitals(&c.s, (size_t)q->src),
                     columns = nh_atom_orbitals(&c.s, (size_t)q->dst);
        if (c.s.species[q->dst] != 1) continue;
        for (size_t i = 0; i < rows; i++) {
            double *const x = c.overlap + c.pairs.start[p] + i * columns + 2;
            const double y = x[0];
            x[0] = x[1];
            x[1] = -x[2];
            x[2] = -y;
        }
    }
    refused(&c, "another order, or other signs");
    crystal_free(&c);
}

static void other_orbitals(void **state)
{
    (void)state;
    crystal c;
    crystal_new(&c);
    nh_orbital_set_free(&c.species[1].orbital);
    c.species[1].orbital = made_orbitals(3, (int[]){0, 0, 1}, (double[]){0.5, 0.9, 0.7}, 6);
    refused(&c, "another structure, or other orbitals");
    nh_orbital_set_free(&c.species[1].orbital);
    c.species[1].orbital = made_orbitals(3, (int[]){0, 1, 1}, (double[]){0.5, 0.9, 0.7}, 6);
    refused(&c, "the basis of N is 2s1p, its orbital file has 1s2p");
    crystal_free(&c);
}

static void another_structure(void **state)
{
    (void)state;
    crystal c;
    crystal_new(&c);
    for (int k = 0; k < 9; k++)
        c.s.lattice[k] *= 1.01;
    measure_again(&c);
    refused(&c, "another structure");
    for (int k = 0; k < 9; k++)
        c.s.lattice[k] *= 1.3;
    measure_again(&c);
    OK(nh_overlap_check(&c.s, &c.pairs, c.overlap,
                        &err)); /* a scale alone cannot be seen without the orbitals */
    crystal_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_one),
        cmocka_unit_test(moved_by_a_lattice_vector),
        cmocka_unit_test(atoms_in_another_order),
        cmocka_unit_test(orbitals_in_another_order),
        cmocka_unit_test(other_orbitals),
        cmocka_unit_test(another_structure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
