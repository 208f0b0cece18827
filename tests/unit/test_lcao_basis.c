/* Orbitals on the grid: values, matrix elements of a potential, density of a density matrix. */
#include "lcao_case.h"

#include "base/random.h"
#include "crystal/lattice.h"
#include "crystal/neighbours.h"
#include "crystal/pairs.h"
#include "lcao/grid.h"
#include "lcao/grid_basis.h"
#include "lcao/orbital_table.h"
#include "lcao/potential.h"
#include "o3/harmonics.h"

static void near(double found, double expected, double tolerance)
{
    if (!(fabs(found - expected) <= tolerance))
        fail_msg("%.15g expected, found %.15g, differing by %.3g", expected, found, found - expected);
}

/* Values of the table against the closed form, at any place; zero beyond the radius; the atom's own place. */
static void orbital_values(void **state)
{
    (void)state;
    const gaussians s = {4, {0, 1, 2, 3}, {0.9, 0.8, 0.85, 1.2}};
    nh_orbital_set o = {.n_shell = 0};
    make_gaussians(&s, 6.2, &o);
    nh_orbital_table t;
    OK(nh_orbital_table_new(&o, &t, &err));
    assert_int_equal(t.n_orbital, 16);
    enum { N = 64 };
    double x[N], y[N], z[N], scale[N], phi[16 * N];
    const double origin[3] = {0.3, -0.2, 0.7};
    nh_random random;
    nh_random_seed(&random, 3, "orbitals");
    for (int k = 0; k < N; k++) {
        x[k] = origin[0] + (k == 0 ? 0 : 4 * nh_random_normal(&random));
        y[k] = origin[1] + (k < 2 ? 0 : nh_random_normal(&random));
        z[k] = origin[2] + (k == 0 ? 0 : nh_random_normal(&random));
        scale[k] = 1 + k % 3;
    }
    nh_orbitals_at(&t, N, x, y, z, origin, scale, phi, N);
    for (int k = 0; k < N; k++) {
        const double v[3] = {x[k] - origin[0], y[k] - origin[1], z[k] - origin[2]};
        const double r = sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
        double harmonics[16];
        nh_spherical_harmonics(3, 1, v, harmonics);
        for (int l = 0; l < 4; l++)
            for (int m = 0; m < 2 * l + 1; m++) {
                const double f = r < 6.2 ? norm_of(l, s.a[l]) * pow(r, l) * exp(-s.a[l] * r * r) : 0;
                near(phi[(l * l + m) * N + k], scale[k] * f * harmonics[l * l + m] / sqrt(4 * M_PI), 2e-9);
            }
    }
    nh_orbital_table_free(&t);
    o.l[2] = 7;
    assert_int_equal(nh_orbital_table_new(&o, &t, &err), -1);
    assert_non_null(strstr(err.text, "found 7"));
    o.l[2] = 2;
    o.n_mesh = 3;
    assert_int_equal(nh_orbital_table_new(&o, &t, &err), -1);
    nh_orbital_set_free(&o);
}

/* --- the plain loops: every point, every pair of images that reach it */

typedef struct plain_image {
    int atom, cell[3];
} plain_image;

typedef struct plain {
    const lcao_case *c;
    const nh_grid *g;
    const nh_pairs *pairs;
    nh_orbital_table table[2];
    size_t n;
    plain_image *image;
} plain;

static void plain_new(const lcao_case *c, const nh_grid *g, const nh_pairs *pairs, int reach, plain *out)
{
    *out = (plain){.c = c, .g = g, .pairs = pairs};
    for (size_t s = 0; s < c->n_species; s++)
        OK(nh_orbital_table_new(&c->species[s].orbital, &out->table[s], &err));
    const int side = 2 * reach + 1;
    out->image = nh_calloc((size_t)(side * side * side) * c->structure.n_atom, sizeof *out->image);
    for (int a = 0; a < (int)c->structure.n_atom; a++)
        for (int i = 0; i < side * side * side; i++)
            out->image[out->n++] =
                (plain_image){a, {i / (side * side) - reach, i / side % side - reach, i % side - reach}};
}

static void plain_free(plain *p)
{
    for (size_t s = 0; s < p->c->n_species; s++)
        nh_orbital_table_free(&p->table[s]);
    free(p->image);
}

/* h += v dV phi phi, or rho += P phi phi, at all points. */
static void plain_loop(const plain *p, const double *v, double *h, const double *density, double *rho)
{
    const nh_grid *g = p->g;
    const nh_structure *s = &p->c->structure;
    double(*values)[NH_LANES_OF_POINTS] = nh_calloc(p->n * 32, sizeof *values);
    bool *here = NH_ARRAY(bool, p->n);
    for (size_t point = 0; point < g->n_point; point++) {
        const double f[3] = {(double)(point / (g->n[1] * g->n[2])) / (double)g->n[0],
                             (double)(point / g->n[2] % g->n[1]) / (double)g->n[1],
                             (double)(point % g->n[2]) / (double)g->n[2]};
        double r[3], x[8], y[8], z[8];
        const double one[8] = {1, 0, 0, 0, 0, 0, 0, 0};
        nh_lattice_apply(f, g->lattice, r);
        for (int k = 0; k < 8; k++) {
            x[k] = r[0];
            y[k] = r[1];
            z[k] = r[2];
        }
        for (size_t i = 0; i < p->n; i++) {
            const plain_image *im = &p->image[i];
            const double cell[3] = {im->cell[0], im->cell[1], im->cell[2]};
            double place[3];
            nh_lattice_apply(cell, g->lattice, place);
            for (int k = 0; k < 3; k++)
                place[k] += s->position[3 * im->atom + k] / NH_BOHR;
            const nh_orbital_table *t = &p->table[s->species[im->atom]];
            const double d = hypot(hypot(r[0] - place[0], r[1] - place[1]), r[2] - place[2]);
            here[i] = d < t->radius;
            if (here[i]) nh_orbitals_at(t, 8, x, y, z, place, one, values[i * 32], 8);
        }
        double sum = 0;
        for (size_t i = 0; i < p->n; i++)
            for (size_t j = 0; j < p->n && here[i]; j++) {
                if (!here[j]) continue;
                const plain_image *a = &p->image[i], *b = &p->image[j];
                const int cell[3] = {b->cell[0] - a->cell[0], b->cell[1] - a->cell[1],
                                     b->cell[2] - a->cell[2]};
                const size_t pair = nh_pairs_find(p->pairs, a->atom, b->atom, cell);
                assert_true(pair != SIZE_MAX);
                const size_t rows = p->table[s->species[a->atom]].n_orbital,
                             columns = p->table[s->species[b->atom]].n_orbital, start = p->pairs->start[pair];
                for (size_t m = 0; m < rows; m++)
                    for (size_t n = 0; n < columns; n++) {
                        const double product = values[i * 32 + m][0] * values[j * 32 + n][0];
                        if (h != NULL)
                            h[start + m * columns + n] += v[point] * product * g->volume / (double)g->n_point;
                        else
                            sum += density[start + m * columns + n] * product;
                    }
            }
        if (rho != NULL) rho[point] = sum;
    }
    free(values);
    free(here);
}

/* Matrix and density against the plain loops, stored, partly stored and made again, by any number of threads.
 */
static void against_plain_loops(void **state)
{
    (void)state;
    lcao_case c;
    made_case(&c);
    nh_grid *g;
    OK(nh_grid_new(c.lattice, 40, NULL, &g, &err));
    nh_pairs pairs;
    pairs_of(&c, &pairs);
    const size_t n = g->n_point;
    double *v = NH_ARRAY(double, n), *expected = NH_ARRAY(double, pairs.n_elem),
           *h = NH_ARRAY(double, pairs.n_elem), *first = NH_ARRAY(double, pairs.n_elem),
           *p = NH_ARRAY(double, pairs.n_elem), *rho = NH_ARRAY(double, n),
           *expected_rho = NH_ARRAY(double, n), *first_rho = NH_ARRAY(double, n);
    for (size_t i = 0; i < n; i++) { /* both signs, and zeros, in many tiles */
        const double a = 2 * M_PI * (double)i / (double)n,
                     b = 2 * M_PI * (double)(i % g->n[2]) / (double)g->n[2];
        v[i] = sin(a) + 0.7 * cos(2 * b) - 0.2;
        if (i % 97 == 0) v[i] = 0;
    }
    plain all;
    plain_new(&c, g, &pairs, 4, &all);
    plain_loop(&all, v, expected, NULL, NULL);
    symmetric_random(&pairs, &c.structure, expected, p);
    plain_loop(&all, NULL, NULL, p, expected_rho);
    const double scale = largest_of(expected, pairs.n_elem), rho_scale = largest_of(expected_rho, n);
    assert_true(scale > 0.1);
    for (int turn = 0; turn < 4; turn++) {
        nh_threads *threads;
        OK(nh_threads_new(turn == 0 ? 1 : turn + 2, &threads, &err));
        nh_grid_basis *b;
        new_basis(&c, g, &pairs, turn == 2 ? (size_t)1 << 30 : turn == 3 ? (size_t)1 << 20 : 0, threads, &b);
        const nh_grid_work before = nh_grid_basis_work(b);
        assert_true(turn < 2 ? before.stored == 0 : before.stored > 0);
        if (turn == 3) assert_true(before.stored <= (size_t)1 << 20);
        OK(nh_grid_matrix(b, v, h, &err));
        OK(nh_grid_density(b, p, rho, &err));
        const nh_grid_work work = nh_grid_basis_work(b);
        assert_true(work.tiles > 0 && work.flops > 0 && work.seconds > 0);
        for (size_t i = 0; i < pairs.n_elem; i++)
            near(h[i], expected[i], 1e-14 * scale);
        for (size_t i = 0; i < n; i++)
            near(rho[i], expected_rho[i], 2e-14 * rho_scale);
        if (turn == 0) {
            memcpy(first, h, pairs.n_elem * sizeof *h);
            memcpy(first_rho, rho, n * sizeof *rho);
        } else if (turn == 1) { /* stored orbitals are scaled at another place: other rounding */
            assert_memory_equal(first, h, pairs.n_elem * sizeof *h);
            assert_memory_equal(first_rho, rho, n * sizeof *rho);
        }
        size_t *reverse = NH_ARRAY(size_t, pairs.count);
        nh_pairs_reverse(&pairs, reverse);
        for (size_t i = 0; i < pairs.count; i++) {
            const size_t rows = nh_atom_orbitals(&c.structure, (size_t)pairs.pair[i].src),
                         columns = nh_atom_orbitals(&c.structure, (size_t)pairs.pair[i].dst);
            for (size_t r = 0; r < rows; r++)
                for (size_t k = 0; k < columns; k++)
                    assert_true(h[pairs.start[i] + r * columns + k] ==
                                h[pairs.start[reverse[i]] + k * rows + r]);
        }
        free(reverse);
        nh_grid_basis_free(b);
        nh_threads_free(threads);
    }
    plain_free(&all);
    free(v);
    free(expected);
    free(h);
    free(first);
    free(p);
    free(rho);
    free(expected_rho);
    free(first_rho);
    nh_pairs_free(&pairs);
    nh_grid_free(g);
    lcao_case_free(&c);
}

/* v = 1 gives the overlap, which Gaussians have in closed form; the density of P holds tr P S electrons. */
static void overlap_and_charge(void **state)
{
    (void)state;
    lcao_case c;
    made_case(&c);
    nh_threads *threads;
    OK(nh_threads_new(2, &threads, &err));
    nh_grid *g;
    OK(nh_grid_new(c.lattice, 160, threads, &g, &err));
    nh_pairs pairs;
    pairs_of(&c, &pairs);
    nh_grid_basis *b;
    new_basis(&c, g, &pairs, 0, threads, &b);
    const size_t n = g->n_point;
    double *v = NH_ARRAY(double, n), *s = NH_ARRAY(double, pairs.n_elem), *p = NH_ARRAY(double, pairs.n_elem);
    for (size_t i = 0; i < n; i++)
        v[i] = 1;
    OK(nh_grid_matrix(b, v, s, &err));
    const double a[2][2] = {{FIRST.a[0], FIRST.a[1]}, {SECOND.a[0], SECOND.a[1]}};
    for (size_t i = 0; i < pairs.count; i++) {
        const int x = c.structure.species[pairs.pair[i].src], y = c.structure.species[pairs.pair[i].dst];
        const size_t columns = nh_atom_orbitals(&c.structure, (size_t)pairs.pair[i].dst);
        double r[3];
        nh_pair_vector(&c.structure, &pairs.pair[i], r);
        for (int k = 0; k < 3; k++)
            r[k] /= NH_BOHR;
        const double r2 = r[0] * r[0] + r[1] * r[1] + r[2] * r[2];
        const double *block = s + pairs.start[i];
        /* s with s */
        double sum = a[x][0] + a[y][0], product = a[x][0] * a[y][0] / sum;
        const double y00 = 1 / sqrt(4 * M_PI), y1 = sqrt(3 / (4 * M_PI));
        near(block[0],
             y00 * y00 * norm_of(0, a[x][0]) * norm_of(0, a[y][0]) * pow(M_PI / sum, 1.5) *
                 exp(-product * r2),
             1e-8);
        /* s with p (y, z, x): the derivative by the second centre */
        sum = a[x][0] + a[y][1];
        product = a[x][0] * a[y][1] / sum;
        const double front = y00 * y1 * norm_of(0, a[x][0]) * norm_of(1, a[y][1]) * pow(M_PI / sum, 1.5) *
                             exp(-product * r2) * (-2 * product) / (2 * a[y][1]);
        for (int m = 0; m < 3; m++)
            near(block[1 + m], front * r[(m + 1) % 3], 1e-8);
        (void)columns;
    }
    symmetric_random(&pairs, &c.structure, s, p);
    double trace = 0;
    for (size_t i = 0; i < pairs.n_elem; i++)
        trace += p[i] * s[i];
    OK(nh_grid_density(b, p, v, &err));
    near(nh_grid_integral(g, v), trace, 1e-12 * trace);
    free(v);
    free(s);
    free(p);
    nh_grid_basis_free(b);
    nh_pairs_free(&pairs);
    nh_grid_free(g);
    nh_threads_free(threads);
    lcao_case_free(&c);
}

/* Atoms outside the home cell, given with their cells, are the same crystal. */
static void cells_of_atoms(void **state)
{
    (void)state;
    lcao_case c;
    made_case(&c);
    nh_grid *g;
    OK(nh_grid_new(c.lattice, 40, NULL, &g, &err));
    double *v = NH_ARRAY(double, g->n_point), *h[2];
    for (size_t i = 0; i < g->n_point; i++)
        v[i] = 1 + cos(0.01 * (double)i);
    nh_pairs pairs[2];
    for (int turn = 0; turn < 2; turn++) {
        for (int x = 0; x < 3 && turn == 1; x++)
            c.structure.position[3 + x] += 2 * c.structure.lattice[x] - c.structure.lattice[6 + x];
        pairs_of(&c, &pairs[turn]);
        h[turn] = NH_ARRAY(double, pairs[turn].n_elem);
        nh_grid_basis *b;
        new_basis(&c, g, &pairs[turn], 0, NULL, &b);
        OK(nh_grid_matrix(b, v, h[turn], &err));
        nh_grid_basis_free(b);
    }
    assert_int_equal(pairs[0].n_elem, pairs[1].n_elem);
    for (size_t i = 0; i < pairs[0].count; i++) {
        const nh_pair *p = &pairs[0].pair[i];
        const int shift = p->dst - p->src, cell[3] = {p->cell[0] - 2 * shift, p->cell[1], p->cell[2] + shift};
        const size_t other = nh_pairs_find(&pairs[1], p->src, p->dst, cell);
        assert_true(other != SIZE_MAX);
        for (size_t k = 0; k < pairs[0].start[i + 1] - pairs[0].start[i]; k++)
            near(h[1][pairs[1].start[other] + k], h[0][pairs[0].start[i] + k], 1e-13);
    }
    for (int turn = 0; turn < 2; turn++) {
        nh_pairs_free(&pairs[turn]);
        free(h[turn]);
    }
    free(v);
    nh_grid_free(g);
    lcao_case_free(&c);
}

/* A list without one of the pairs, and one without a reverse. */
static void missing_pairs(void **state)
{
    (void)state;
    lcao_case c;
    made_case(&c);
    nh_grid *g;
    OK(nh_grid_new(c.lattice, 20, NULL, &g, &err));
    for (int turn = 0; turn < 2; turn++) {
        nh_pairs all, less;
        pairs_of(&c, &all);
        nh_pair *pair = nh_calloc(all.count, sizeof *pair);
        size_t n = 0;
        for (size_t i = 0; i < all.count; i++) {
            const nh_pair *p = &all.pair[i];
            const bool out = p->src != p->dst && p->cell[0] == 0 && p->cell[1] == 0 && p->cell[2] == 0;
            if (!out || (turn == 1 && p->src == 0)) pair[n++] = *p;
        }
        assert_int_equal(n, all.count - (turn == 0 ? 2 : 1));
        OK(nh_pairs_build(&c.structure, n, pair, &less, &err));
        const nh_grid_basis_task task = {g, &c.structure, c.species, &less, 0, NULL};
        nh_grid_basis *b;
        assert_int_equal(nh_grid_basis_new(&task, &b, &err), -1);
        assert_null(b);
        assert_non_null(strstr(err.text, turn == 0 ? "overlap" : "reverse"));
        nh_pairs_free(&less);
        nh_pairs_free(&all);
    }
    nh_grid_free(g);
    lcao_case_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(orbital_values),     cmocka_unit_test(against_plain_loops),
        cmocka_unit_test(overlap_and_charge), cmocka_unit_test(cells_of_atoms),
        cmocka_unit_test(missing_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
