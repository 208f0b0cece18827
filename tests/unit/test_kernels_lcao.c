/* Matrix elements and the density on a device against the CPU; on the emulated one in several orders of
 * blocks and with little memory, in which the tiles come in many batches. */
#include "one_device.h"

#include "lcao_case.h"

#include "lcao/grid.h"
#include "lcao/potential.h"

static void compare(size_t n, const double *found, const double *expected)
{
    const double scale = largest_of(expected, n);
    assert_true(scale > 0.01);
    for (size_t i = 0; i < n; i++)
        if (!(fabs(found[i] - expected[i]) <= 2e-14 * scale))
            fail_msg("number %zu of %zu: %.15g expected, found %.15g", i, n, expected[i], found[i]);
}

static void against_the_cpu(void **state)
{
    (void)state;
    lcao_case c;
    made_case(&c);
    nh_grid *g;
    OK(nh_grid_new(c.lattice, 20, NULL, &g, &err));
    nh_pairs pairs;
    pairs_of(&c, &pairs);
    const size_t n = g->n_point;
    double *v = NH_ARRAY(double, n), *h = NH_ARRAY(double, pairs.n_elem), *p = NH_ARRAY(double, pairs.n_elem),
           *rho = NH_ARRAY(double, n), *found = NH_ARRAY(double, pairs.n_elem > n ? pairs.n_elem : n),
           *first = NH_ARRAY(double, pairs.n_elem);
    for (size_t i = 0; i < n; i++)
        v[i] = sin(2 * M_PI * (double)i / (double)n) - 0.2;
    nh_grid_basis *b;
    new_basis(&c, g, &pairs, 0, NULL, &b);
    OK(nh_grid_matrix(b, v, h, &err));
    symmetric_random(&pairs, &c.structure, h, p);
    OK(nh_grid_density(b, p, rho, &err));
    for (unsigned turn = 0; turn < 4; turn++) {
        emu_seed(turn);
        emu_memory(turn == 3 ? (size_t)40 << 20 : (size_t)8 << 30);
        OK(nh_grid_basis_place(b, device, &err));
        OK(nh_grid_matrix(b, v, found, &err));
        compare(pairs.n_elem, found, h);
        if (turn == 0) memcpy(first, found, pairs.n_elem * sizeof *found);
        if (turn < 3) assert_memory_equal(first, found, pairs.n_elem * sizeof *found);
        OK(nh_grid_density(b, p, found, &err));
        compare(n, found, rho);
    }
    emu_memory((size_t)8 << 30);
    nh_grid_basis_free(b);
    free(v);
    free(h);
    free(p);
    free(rho);
    free(found);
    free(first);
    nh_pairs_free(&pairs);
    nh_grid_free(g);
    lcao_case_free(&c);
}

/* V_H and v_xc with a core density; the energies. */
static void potentials(void **state)
{
    (void)state;
    lcao_case c;
    made_case(&c);
    for (int turn = 0; turn < 2; turn++) {
        nh_grid *g;
        OK(nh_grid_new(c.lattice, turn == 0 ? 20 : 13, NULL, &g, &err));
        const size_t n = g->n_point;
        double *rho = NH_ARRAY(double, n), *core = NH_ARRAY(double, n), *v[2][2], e[2][2];
        for (size_t i = 0; i < n; i++) {
            const double x = 2 * M_PI * (double)(i / (g->n[1] * g->n[2])) / (double)g->n[0],
                         z = 2 * M_PI * (double)(i % g->n[2]) / (double)g->n[2];
            rho[i] = i % 5 == 0 ? -1e-8 : 0.1 + 0.09 * sin(x) * cos(2 * z); /* also below all thresholds */
            core[i] = i % 5 == 0 ? 0 : 0.05 * (1 + cos(z));
        }
        for (int on = 0; on < 2; on++) {
            if (on == 1) OK(nh_grid_place(g, device, &err));
            for (int k = 0; k < 2; k++) {
                v[on][k] = NH_ARRAY(double, n);
                v[on][k][3] = 7; /* added to */
            }
            OK(nh_hartree_add(g, rho, v[on][0], &e[on][0], &err));
            OK(nh_pbe_add(g, rho, core, v[on][1], &e[on][1], NULL, &err));
        }
        for (int k = 0; k < 2; k++) {
            compare(n, v[1][k], v[0][k]);
            assert_true(fabs(e[1][k] - e[0][k]) <= 1e-13 * fabs(e[0][k]));
            free(v[0][k]);
            free(v[1][k]);
        }
        free(rho);
        free(core);
        nh_grid_free(g);
    }
    lcao_case_free(&c);
}

#ifndef NH_REAL_DEVICE
/* Too little for one tile: an error, and the CPU goes on. */
static void too_little_memory(void **state)
{
    (void)state;
    lcao_case c;
    made_case(&c);
    nh_grid *g;
    OK(nh_grid_new(c.lattice, 20, NULL, &g, &err));
    nh_pairs pairs;
    pairs_of(&c, &pairs);
    nh_grid_basis *b;
    new_basis(&c, g, &pairs, 0, NULL, &b);
    emu_memory((size_t)1 << 20);
    assert_int_equal(nh_grid_basis_place(b, device, &err), -1);
    assert_non_null(strstr(err.text, "memory"));
    emu_memory((size_t)8 << 30);
    double *v = NH_ARRAY(double, g->n_point), *h = NH_ARRAY(double, pairs.n_elem);
    v[0] = 1;
    OK(nh_grid_matrix(b, v, h, &err));
    assert_true(largest_of(h, pairs.n_elem) > 0);
    free(v);
    free(h);
    nh_grid_basis_free(b);
    nh_pairs_free(&pairs);
    nh_grid_free(g);
    lcao_case_free(&c);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_the_cpu),
        cmocka_unit_test(potentials),
#ifndef NH_REAL_DEVICE
        cmocka_unit_test(too_little_memory),
#endif
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
