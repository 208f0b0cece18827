/* Berry curvature, Chern numbers, Z2 invariants, effective masses of models with known answers. */
#include "fine_model.h"

#include "properties/berry.h"
#include "properties/mass.h"
#include "properties/optics.h"
#include "properties/wilson.h"

typedef struct hop {
    int src, dst, cell[3];
    double overlap;
    double complex h[4]; /* uu ud du dd; without spin the first */
} hop;

/* A graph of hops, of each of which the reverse is added (an on-site one is its own: half of it counts
 * twice). Atoms have the same number of s shells. */
static nh_graph *model_of(const double lattice[9], size_t n_atom, const double *position, size_t shells,
                          int n_spin, size_t n_hop, const hop *list)
{
    const int degrees[4] = {0};
    nh_graph *g = calloc(1, sizeof *g);
    nh_pair *pair = calloc(2 * n_hop + n_atom, sizeof *pair);
    assert_true(g != NULL && pair != NULL);
    OK(nh_structure_new(n_atom, 1, &g->structure, &err));
    memcpy(g->structure.lattice, lattice, 9 * sizeof *lattice);
    memcpy(g->structure.position, position, 3 * n_atom * sizeof *position);
    g->structure.atomic_number[0] = 1;
    OK(nh_structure_set_shells(&g->structure, &shells, degrees, &err));
    for (size_t i = 0; i < n_hop; i++) {
        const int *c = list[i].cell, n = (int)shells;
        pair[2 * i] = (nh_pair){list[i].src / n, list[i].dst / n, {c[0], c[1], c[2]}};
        pair[2 * i + 1] = (nh_pair){list[i].dst / n, list[i].src / n, {-c[0], -c[1], -c[2]}};
    }
    for (size_t a = 0; a < n_atom; a++)
        pair[2 * n_hop + a] = (nh_pair){(int)a, (int)a, {0}};
    OK(nh_pairs_build(&g->structure, 2 * n_hop + n_atom, pair, &g->pairs, &err));
    g->n_spin = n_spin;
    g->efermi = g->nelec = NAN;
    const size_t n_elem = g->pairs.n_elem;
    g->overlap = calloc(n_elem, sizeof *g->overlap);
    double *h = g->matrix[NH_H_LABEL] = calloc(2 * (size_t)n_spin * n_elem, sizeof *h);
    assert_true(g->overlap != NULL && h != NULL);
    for (size_t a = 0; a < n_atom; a++) {
        const size_t p = nh_pairs_find(&g->pairs, (int)a, (int)a, (const int[3]){0});
        for (size_t s = 0; s < shells; s++)
            g->overlap[g->pairs.start[p] + s * (shells + 1)] = 1;
    }
    for (size_t i = 0; i < n_hop; i++)
        for (int back = 0; back < 2; back++) {
            const hop *q = &list[i];
            const int sign = back ? -1 : 1, src = back ? q->dst : q->src, dst = back ? q->src : q->dst,
                      n = (int)shells;
            const int cell[3] = {sign * q->cell[0], sign * q->cell[1], sign * q->cell[2]};
            const size_t e = g->pairs.start[nh_pairs_find(&g->pairs, src / n, dst / n, cell)] +
                             (size_t)(src % n * n + dst % n);
            g->overlap[e] += q->overlap;
            for (int s = 0; s < n_spin; s++) {
                const int t = back && s % 3 != 0 ? 3 - s : s;
                const double complex v = back ? conj(q->h[t]) : q->h[t];
                h[2 * ((size_t)s * n_elem + e)] += creal(v);
                h[2 * ((size_t)s * n_elem + e) + 1] += cimag(v);
            }
        }
    return g;
}

static nh_wilson wilson_of(const nh_graph *g, const nh_fourier *f, size_t occupied, int normal, double at,
                           bool half)
{
    nh_wilson w;
    const nh_wilson_task t = {.name = "model",
                              .fourier = f,
                              .structure = &g->structure,
                              .occupied = occupied,
                              .normal = normal,
                              .at = at,
                              .points = half ? 24 : 12,
                              .lines = half ? 6 : 12,
                              .half = half,
                              .threads = 2};
    OK(nh_wilson_new(&t, &w, &err));
    return w;
}

/* --- Haldane's honeycomb --- */

static const double HONEYCOMB[9] = {2.4, 0, 0, -1.2, 2.0784609690826528, 0, 0, 0, 20};
static const double SITES[6] = {0, 0, 0, 1.2, 0.69282032302755092, 0};

/* Mass M in units of the hopping; overlap between neighbours. */
static nh_graph *haldane(double mass, double turn, double overlap)
{
    const double complex t2 = 0.15 * cexp(I * turn), back = conj(t2);
    const hop list[] = {
        {0, 0, {0}, 0, {0.5 * mass}},     {1, 1, {0}, 0, {-0.5 * mass}},     {0, 1, {0, 0, 0}, overlap, {1}},
        {0, 1, {-1, 0, 0}, overlap, {1}}, {0, 1, {-1, -1, 0}, overlap, {1}}, {0, 0, {1, 0, 0}, 0, {t2}},
        {0, 0, {0, 1, 0}, 0, {t2}},       {0, 0, {-1, -1, 0}, 0, {t2}},      {1, 1, {1, 0, 0}, 0, {back}},
        {1, 1, {0, 1, 0}, 0, {back}},     {1, 1, {-1, -1, 0}, 0, {back}}};
    return model_of(HONEYCOMB, 2, SITES, 1, 1, sizeof list / sizeof *list, list);
}

/* Flux of the curvature of the lowest band through the zone, over 2 pi. */
static double curvature_flux(const nh_graph *g, const nh_fourier *f, const nh_velocity *v, int n,
                             double sigma[3])
{
    nh_kpoints k;
    OK(nh_kpoints_mesh((const int[]){n, n, 1}, true, (const double[3]){0}, &k, &err));
    double *curvature = calloc(3 * k.count, sizeof *curvature), sum = 0;
    const nh_curvature_task t = {
        .name = "model", .fourier = f, .velocity = v, .k = &k, .rows = 1, .degenerate = 1e-6, .threads = 2};
    OK(nh_curvature(&t, curvature, &err));
    for (size_t i = 0; i < k.count; i++)
        sum += k.weight[i] * curvature[3 * i + 2];
    const double *a = g->structure.lattice;
    nh_hall_conductivity(&k, curvature, nh_lattice_volume(a), 1, sigma);
    free(curvature);
    nh_kpoints_free(&k);
    return sum * 2 * M_PI / (a[0] * a[4] - a[1] * a[3]);
}

static void test_haldane(void **state)
{
    (void)state;
    const double masses[3] = {0, 0.5, 1.5}, turns[2] = {M_PI / 2, -M_PI / 2};
    for (int overlap = 0; overlap < 2; overlap++)
        for (int m = 0; m < 3; m++)
            for (int turn = 0; turn < 2; turn++) {
                nh_graph *g = haldane(masses[m], turns[turn], 0.1 * overlap);
                nh_fourier *f;
                nh_velocity *v;
                double sigma[3];
                OK(nh_fourier_new(g, NH_H_LABEL, NULL, &f, &err));
                OK(nh_velocity_new(g, f, NULL, &v, &err));
                nh_wilson w = wilson_of(g, f, 1, 2, 0.3, false);
                assert_true(fabs(w.chern - round(w.chern)) < 1e-9);
                assert_int_equal(abs((int)lround(w.chern)), m < 2);
                const double flux = curvature_flux(g, f, v, 60, sigma);
                assert_true(fabs(flux - w.chern) < 2e-3); /* also its sign */
                /* -e^2/h a layer of 20 Å */
                assert_true(fabs(sigma[2] + w.chern * NH_E2_OVER_HBAR / (2 * M_PI) / 20e-10) < 2e-3 * 2e4);
                assert_true(w.gap > 0.1 && w.link > 0.5);
                /* the flow of the centre says the same */
                double turnings = 0;
                for (size_t i = 0; i < w.lines; i++) {
                    const double step = w.centre[(i + 1) % w.lines] - w.centre[i];
                    turnings += step - round(step);
                }
                assert_true(fabs(fabs(turnings) - fabs(w.chern)) < 1e-9);
                nh_wilson_free(&w);
                nh_velocity_free(v);
                nh_fourier_free(f);
                nh_graph_free(g);
            }
}

/* The same conductivity from the Kubo formula at photon energy zero. */
static void test_hall_is_kubo(void **state)
{
    (void)state;
    nh_graph *g = haldane(0.5, M_PI / 2, 0);
    nh_fourier *f;
    nh_velocity *v;
    nh_kpoints k;
    nh_optics o;
    const double energy = 0;
    double sigma[3];
    OK(nh_fourier_new(g, NH_H_LABEL, NULL, &f, &err));
    OK(nh_velocity_new(g, f, NULL, &v, &err));
    OK(nh_kpoints_mesh((const int[]){24, 24, 1}, true, (const double[3]){0}, &k, &err));
    const nh_optics_task t = {.name = "model",
                              .fourier = f,
                              .velocity = v,
                              .k = &k,
                              .volume = nh_lattice_volume(HONEYCOMB),
                              .electrons_per_band = 1,
                              .filling = {0, 1e-3},
                              .rows = 1,
                              .n_energy = 1,
                              .energy = &energy,
                              .eta = 1e-5,
                              .degenerate = 1e-6,
                              .threads = 1};
    OK(nh_optics_new(&t, &o, &err));
    curvature_flux(g, f, v, 24, sigma);
    assert_true(fabs(sigma[2]) > 1000);
    assert_true(fabs(o.sigma[2] - sigma[2]) < 1e-6 * fabs(sigma[2]));
    assert_true(fabs(o.sigma[6] + sigma[2]) < 1e-6 * fabs(sigma[2]));
    nh_optics_free(&o);
    nh_kpoints_free(&k);
    nh_velocity_free(v);
    nh_fourier_free(f);
    nh_graph_free(g);
}

/* H = sin x s_x + sin y s_y + (m + cos x + cos y) s_z: Omega of the lower band is d.(d_x d x d_y d)/(2
 * |d|^3). */
static void test_two_level_curvature(void **state)
{
    (void)state;
    const double m = -1.2, a = 3;
    const double lattice[9] = {a, 0, 0, 0, a, 0, 0, 0, 10}, origin[3] = {0};
    /* sin x = (e^ix - e^-ix)/2i: H(R = +x) = s_x/2i + s_z/2 */
    const hop list[] = {{0, 0, {0}, 0, {0.5 * m}},        {1, 1, {0}, 0, {-0.5 * m}},
                        {0, 0, {1, 0, 0}, 0, {0.5}},      {1, 1, {1, 0, 0}, 0, {-0.5}},
                        {0, 1, {1, 0, 0}, 0, {-0.5 * I}}, {1, 0, {1, 0, 0}, 0, {-0.5 * I}},
                        {0, 0, {0, 1, 0}, 0, {0.5}},      {1, 1, {0, 1, 0}, 0, {-0.5}},
                        {0, 1, {0, 1, 0}, 0, {-0.5}},     {1, 0, {0, 1, 0}, 0, {0.5}}};
    nh_graph *g = model_of(lattice, 1, origin, 2, 1, sizeof list / sizeof *list, list);
    nh_fourier *f;
    nh_velocity *v;
    nh_kpoints k;
    OK(nh_fourier_new(g, NH_H_LABEL, NULL, &f, &err));
    OK(nh_velocity_new(g, f, NULL, &v, &err));
    OK(nh_kpoints_mesh((const int[]){5, 7, 1}, true, (const double[3]){0}, &k, &err));
    double curvature[35][3];
    nh_curvature_task t = {
        .name = "model", .fourier = f, .velocity = v, .k = &k, .rows = 1, .degenerate = 1e-6, .threads = 1};
    OK(nh_curvature(&t, curvature[0], &err));
    for (size_t i = 0; i < k.count; i++) {
        const double x = 2 * M_PI * k.k[3 * i], y = 2 * M_PI * k.k[3 * i + 1];
        const double d[3] = {sin(x), sin(y), m + cos(x) + cos(y)}, dx[3] = {cos(x), 0, -sin(x)},
                     dy[3] = {0, cos(y), -sin(y)};
        const double cross[3] = {dx[1] * dy[2] - dx[2] * dy[1], dx[2] * dy[0] - dx[0] * dy[2],
                                 dx[0] * dy[1] - dx[1] * dy[0]};
        const double size = sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]),
                     expected = a * a * (d[0] * cross[0] + d[1] * cross[1] + d[2] * cross[2]) /
                                (2 * size * size * size);
        assert_true(fabs(curvature[i][2] - expected) < 1e-9 * (1 + fabs(expected)));
        assert_true(fabs(curvature[i][0]) < 1e-9);
    }
    t.degenerate = 100;
    assert_int_equal(nh_curvature(&t, curvature[0], &err), -1);
    assert_non_null(strstr(err.text, "bands 1 and 2 are"));
    t.rows = 2;
    assert_int_equal(nh_curvature(&t, curvature[0], &err), -1);
    nh_kpoints_free(&k);
    nh_velocity_free(v);
    nh_fourier_free(f);
    nh_graph_free(g);
}

/* Overlapping orbitals with dipoles: with time reversal the curvatures at k and -k cancel; without it the
 * flux through the zone is an integer all the same, as only the whole curvature's is. */
static void test_whole_curvature(void **state)
{
    (void)state;
    for (int magnetic = 0; magnetic < 2; magnetic++) {
        const fine_model m = fine_model_new(3, 0.4, magnetic);
        double *position, sigma[3];
        nh_graph *g = fine_graph(&m, 1, &position);
        nh_fourier *f;
        nh_velocity *v;
        OK(nh_fourier_new(g, NH_H_LABEL, NULL, &f, &err));
        OK(nh_velocity_new(g, f, position, &v, &err));
        const double flux = curvature_flux(g, f, v, 32, sigma);
        nh_wilson w = wilson_of(g, f, 1, 2, 0, false);
        assert_true(fabs(flux - w.chern) < (magnetic ? 1e-3 : 1e-9));
        nh_wilson_free(&w);
        nh_velocity_free(v);
        nh_fourier_free(f);
        nh_graph_free(g);
        free(position);
    }
}

/* --- Kane and Mele's honeycomb, Fu, Kane and Mele's diamond --- */

/* staggered potential, Rashba term, overlap between neighbours. */
static nh_graph *kane_mele(double staggered, double rashba, double overlap)
{
    hop list[11] = {{0, 0, {0}, 0, {0.5 * staggered, 0, 0, 0.5 * staggered}},
                    {1, 1, {0}, 0, {-0.5 * staggered, 0, 0, -0.5 * staggered}}};
    static const int near[3][3] = {{0, 0, 0}, {-1, 0, 0}, {-1, -1, 0}},
                     next[3][3] = {{1, 0, 0}, {0, 1, 0}, {-1, -1, 0}};
    for (size_t i = 0; i < 3; i++) {
        double d[3], cell[3] = {near[i][0], near[i][1], 0};
        nh_lattice_apply(cell, HONEYCOMB, d);
        for (size_t x = 0; x < 3; x++)
            d[x] += SITES[3 + x] - SITES[x];
        const double length = sqrt(d[0] * d[0] + d[1] * d[1]);
        /* i rashba (s x d)_z = i rashba (s_x d_y - s_y d_x) */
        const double complex ud = I * rashba * (d[1] / length + I * d[0] / length),
                             du = I * rashba * (d[1] / length - I * d[0] / length);
        list[2 + i] = (hop){0, 1, {near[i][0], near[i][1], 0}, overlap, {1, ud, du, 1}};
        for (int site = 0; site < 2; site++) {
            const double complex s = (site == 0 ? 0.1 : -0.1) * I;
            list[5 + 3 * (size_t)site + i] = (hop){site, site, {next[i][0], next[i][1], 0}, 0, {s, 0, 0, -s}};
        }
    }
    return model_of(HONEYCOMB, 2, SITES, 1, 4, 11, list);
}

static void test_kane_mele(void **state)
{
    (void)state;
    const double staggered[3] = {0, 0.3, 1.5};
    for (int i = 0; i < 3; i++)
        for (int rashba = 0; rashba < 2; rashba++) {
            nh_graph *g = kane_mele(staggered[i], 0.05 * rashba, 0.08 * rashba);
            nh_fourier *f;
            double margin;
            OK(nh_fourier_new(g, NH_H_LABEL, NULL, &f, &err));
            nh_wilson w = wilson_of(g, f, 2, 2, 0, true);
            assert_int_equal(nh_wilson_z2(&w, &margin), i < 2);
            assert_true(margin >= 0.3 && w.unsettled == 0 && isnan(w.chern) && w.flux == NULL);
            /* pairs at the ends */
            assert_true(fabs(sin(M_PI * (w.centre[1] - w.centre[0]))) < 1e-6);
            nh_wilson_free(&w);
            w = wilson_of(g, f, 2, 2, 0, false);
            assert_true(fabs(w.chern) < 1e-9);
            nh_wilson_free(&w);
            nh_fourier_free(f);
            nh_graph_free(g);
        }
}

/* Phys. Rev. Lett. 98, 106803 (2007): the bond along (111) is 1 + delta. */
static nh_graph *diamond(double delta)
{
    static const double lattice[9] = {0, 2, 2, 2, 0, 2, 2, 2, 0}, sites[6] = {0, 0, 0, 1, 1, 1};
    static const int near[4][3] = {{0, 0, 0}, {-1, 0, 0}, {0, -1, 0}, {0, 0, -1}};
    double bond[4][3];
    hop list[4 + 12];
    size_t n = 0;
    for (size_t i = 0; i < 4; i++) {
        const double cell[3] = {near[i][0], near[i][1], near[i][2]};
        nh_lattice_apply(cell, lattice, bond[i]);
        for (size_t x = 0; x < 3; x++)
            bond[i][x] += sites[3 + x];
        const double t = i == 0 ? 1 + delta : 1;
        list[n++] = (hop){0, 1, {near[i][0], near[i][1], near[i][2]}, 0, {t, 0, 0, t}};
    }
    /* from site 0 by bond i to 1 and back by bond j; from site 1 the other way round. i (8 lambda/a^2) s.(d1
     * x d2), a = 4 */
    for (int site = 0; site < 2; site++)
        for (size_t i = 0; i < 4; i++)
            for (size_t j = i + 1; j < 4; j++) {
                double d1[3], d2[3];
                for (size_t x = 0; x < 3; x++) {
                    d1[x] = site == 0 ? bond[i][x] : -bond[i][x];
                    d2[x] = site == 0 ? -bond[j][x] : bond[j][x];
                }
                const double c[3] = {d1[1] * d2[2] - d1[2] * d2[1], d1[2] * d2[0] - d1[0] * d2[2],
                                     d1[0] * d2[1] - d1[1] * d2[0]};
                const double complex s = I * 8 * 0.125 / 16;
                hop q = {
                    site, site, {0}, 0, {s * c[2], s * (c[0] - I * c[1]), s * (c[0] + I * c[1]), -s * c[2]}};
                for (size_t x = 0; x < 3; x++)
                    q.cell[x] = site == 0 ? near[i][x] - near[j][x] : near[j][x] - near[i][x];
                list[n++] = q;
            }
    return model_of(lattice, 2, sites, 1, 4, n, list);
}

static void test_diamond(void **state)
{
    (void)state;
    for (int strong = 0; strong < 2; strong++) {
        nh_graph *g = diamond(strong ? 0.4 : -0.4);
        nh_fourier *f;
        double margin;
        OK(nh_fourier_new(g, NH_H_LABEL, NULL, &f, &err));
        for (int normal = 0; normal < 3; normal++) {
            nh_wilson zero = wilson_of(g, f, 2, normal, 0, true),
                      edge = wilson_of(g, f, 2, normal, 0.5, true);
            assert_int_equal(nh_wilson_z2(&edge, &margin), 1);
            assert_int_equal(nh_wilson_z2(&zero, &margin), !strong);
            nh_wilson_free(&zero);
            nh_wilson_free(&edge);
        }
        nh_fourier_free(f);
        nh_graph_free(g);
    }
}

static void test_no_gap(void **state)
{
    (void)state;
    nh_graph *g = haldane(0, 0, 0); /* graphene: closed at K */
    nh_fourier *f;
    nh_wilson w;
    OK(nh_fourier_new(g, NH_H_LABEL, NULL, &f, &err));
    nh_wilson_task t = {.name = "model",
                        .fourier = f,
                        .structure = &g->structure,
                        .occupied = 1,
                        .normal = 2,
                        .points = 12,
                        .lines = 12,
                        .threads = 1};
    assert_int_equal(nh_wilson_new(&t, &w, &err), -1);
    assert_non_null(strstr(err.text, "no gap above band 1"));
    t.occupied = 2;
    assert_int_equal(nh_wilson_new(&t, &w, &err), -1);
    assert_non_null(strstr(err.text, "2 filled bands of 2"));
    t.occupied = 1;
    t.lines = 1;
    assert_int_equal(nh_wilson_new(&t, &w, &err), -1);
    nh_fourier_free(f);
    nh_graph_free(g);
}

/* --- masses --- */

static const double AXES[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};

/* E = (e + 2 t cos x)/(1 + 2 s cos x), x = ka. */
static void test_chain_mass(void **state)
{
    (void)state;
    const double a = 2.5, e = 0.7, t = -1.3, s = 0.15;
    const double lattice[9] = {a, 0, 0, 0, 20, 0, 0, 0, 20}, origin[3] = {0};
    const hop list[] = {{0, 0, {0}, 0, {0.5 * e}}, {0, 0, {1, 0, 0}, s, {t}}};
    nh_graph *g = model_of(lattice, 1, origin, 1, 1, 2, list);
    nh_fourier *f;
    OK(nh_fourier_new(g, NH_H_LABEL, NULL, &f, &err));
    for (double k = 0; k < 0.5; k += 0.1) {
        const double c = cos(2 * M_PI * k), x = sin(2 * M_PI * k), n = e + 2 * t * c, d = 1 + 2 * s * c;
        const double n1 = -2 * t * x, d1 = -2 * s * x, n2 = -2 * t * c, d2 = -2 * s * c;
        const double first = (n1 - n / d * d1) / d, second = (n2 - 2 * first * d1 - n / d * d2) / d;
        nh_mass m;
        OK(nh_mass_at(f, lattice, (const double[]){k, 0.2, 0}, 0, 1e-6, 1e-4, 3, AXES, &m, &err));
        assert_true(m.count == 1 && m.tensor && fabs(m.energy - n / d) < 1e-12);
        assert_true(fabs(m.slope[0] - a * first) < 1e-10 && fabs(m.gradient[0] - a * first) < 1e-10);
        assert_true(fabs(m.inverse[0] - a * a * second / NH_HBAR2_OVER_M) < 1e-10);
        assert_true(fabs(m.inverse_mass[0] - m.inverse[0]) < 1e-10 && fabs(m.inverse_mass[4]) < 1e-10 &&
                    m.inverse[1] == 0);
        nh_mass_free(&m);
    }
    nh_mass m;
    assert_int_equal(nh_mass_at(f, lattice, (const double[3]){0}, 1, 1e-6, 1e-4, 3, AXES, &m, &err), -1);
    assert_int_equal(
        nh_mass_at(f, lattice, (const double[3]){0}, 0, 1e-6, 1e-4, 1, (const double[3]){0}, &m, &err), -1);
    nh_fourier_free(f);
    nh_graph_free(g);
}

/* Against differences of energies; each level twice with spins. */
static void test_mass_of_overlapping_orbitals(void **state)
{
    (void)state;
    enum { N = 3 };
    const double k0[3] = {0.13, 0.29, 0}, step = 2e-3, direction[6] = {1, 0, 0, 3, -4, 0};
    const fine_model model = fine_model_new(N, 0.5, true);
    double *position;
    nh_graph *one = fine_graph(&model, 1, &position);
    free(position);
    nh_graph *two = fine_graph(&model, 4, &position);
    free(position);
    nh_fourier *f, *spins;
    OK(nh_fourier_new(one, NH_H_LABEL, NULL, &f, &err));
    OK(nh_fourier_new(two, NH_H_LABEL, NULL, &spins, &err));
    for (size_t band = 0; band < N; band++) {
        nh_mass m, s;
        OK(nh_mass_at(f, model.lattice, k0, band, 1e-6, 1e-4, 2, direction, &m, &err));
        OK(nh_mass_at(spins, model.lattice, k0, 2 * band + 1, 1e-6, 1e-4, 2, direction, &s, &err));
        assert_true(s.first == 2 * band && s.count == 2 && s.tensor);
        for (size_t d = 0; d < 2; d++) {
            nh_kpoints k;
            nh_bands b;
            OK(nh_kpoints_new(3, NH_K_LIST, &k, &err));
            for (int i = 0; i < 3; i++)
                fine_step(&model, k0, (i - 1) * step * (d == 0 ? 1 : 0.6),
                          (i - 1) * step * (d == 0 ? 0 : -0.8), k.k + 3 * i);
            const nh_sweep sweep = {.name = "model", .fourier = f, .threads = 1};
            OK(nh_sweep_energies(&sweep, &k, &b, &err));
            const double low = b.energy[band], here = b.energy[N + band], high = b.energy[2 * N + band];
            const double inverse = (high - 2 * here + low) / (step * step) / NH_HBAR2_OVER_M;
            assert_true(fabs(m.slope[d] - (high - low) / (2 * step)) < 1e-4);
            assert_true(fabs(m.inverse[d] - inverse) < 1e-4 * (1 + fabs(inverse)));
            for (size_t i = 0; i < 2; i++)
                assert_true(fabs(s.inverse[2 * d + i] - m.inverse[d]) < 1e-8 &&
                            fabs(s.slope[2 * d + i] - m.slope[d]) < 1e-8);
            nh_bands_free(&b);
            nh_kpoints_free(&k);
        }
        double value[3], axis[9], along = 0;
        const double unit[2] = {0.6, -0.8};
        for (size_t x = 0; x < 2; x++)
            for (size_t y = 0; y < 2; y++)
                along += unit[x] * unit[y] * s.inverse_mass[3 * x + y];
        assert_true(fabs(along - m.inverse[1]) < 1e-8);
        OK(nh_mass_principal(m.inverse_mass, value, axis, &err));
        assert_true(value[0] <= value[1] && value[1] <= value[2]);
        assert_true(fabs(value[0] + value[1] + value[2] - m.inverse_mass[0] - m.inverse_mass[4]) < 1e-9);
        nh_mass_free(&m);
        nh_mass_free(&s);
    }
    nh_fourier_free(f);
    nh_fourier_free(spins);
    nh_graph_free(one);
    nh_graph_free(two);
}

/* p_x and p_y on a square lattice: degenerate at Gamma, of different masses along each direction; no
 * tensor. */
static void test_degenerate_masses(void **state)
{
    (void)state;
    const double a = 2, sigma = 1, pi = -0.3, mix = 0.2;
    const double lattice[9] = {a, 0, 0, 0, a, 0, 0, 0, 20}, origin[3] = {0},
                 direction[6] = {1, 0, 0, 1, 1, 0};
    const hop list[] = {{0, 0, {1, 0, 0}, 0, {sigma}}, {0, 0, {0, 1, 0}, 0, {pi}},
                        {1, 1, {1, 0, 0}, 0, {pi}},    {1, 1, {0, 1, 0}, 0, {sigma}},
                        {0, 1, {1, 1, 0}, 0, {mix}},   {0, 1, {-1, -1, 0}, 0, {mix}},
                        {0, 1, {1, -1, 0}, 0, {-mix}}, {0, 1, {-1, 1, 0}, 0, {-mix}}};
    nh_graph *g = model_of(lattice, 1, origin, 2, 1, sizeof list / sizeof *list, list);
    nh_fourier *f;
    nh_mass m;
    OK(nh_fourier_new(g, NH_H_LABEL, NULL, &f, &err));
    OK(nh_mass_at(f, lattice, (const double[3]){0}, 0, 1e-6, 1e-4, 2, direction, &m, &err));
    assert_true(m.count == 2 && !m.tensor);
    const double unit = a * a / NH_HBAR2_OVER_M;
    assert_true(fabs(m.inverse[0] + 2 * sigma * unit) < 1e-9 && fabs(m.inverse[1] + 2 * pi * unit) < 1e-9);
    /* diagonal: -(sigma + pi) -+ 4 mix, of H_xy = -4 mix sin x sin y */
    assert_true(fabs(m.inverse[2] - (-(sigma + pi) - 4 * mix) * unit) < 1e-9 &&
                fabs(m.inverse[3] - (-(sigma + pi) + 4 * mix) * unit) < 1e-9);
    assert_true(fabs(m.slope[0]) < 1e-12 && fabs(m.slope[3]) < 1e-12);
    nh_mass_free(&m);
    nh_fourier_free(f);
    nh_graph_free(g);
}

/* Rashba's chain: E = 2 t cos x -+ 2 r sin x: opposite slopes at Gamma. */
static void test_crossing(void **state)
{
    (void)state;
    const double a = 2, t = -0.5, r = 0.1;
    const double lattice[9] = {a, 0, 0, 0, 20, 0, 0, 0, 20}, origin[3] = {0};
    const hop list[] = {{0, 0, {1, 0, 0}, 0, {t, -r, r, t}}};
    nh_graph *g = model_of(lattice, 1, origin, 1, 4, 1, list);
    nh_fourier *f;
    nh_mass m;
    OK(nh_fourier_new(g, NH_H_LABEL, NULL, &f, &err));
    OK(nh_mass_at(f, lattice, (const double[3]){0}, 1, 1e-6, 1e-4, 1, AXES, &m, &err));
    assert_true(m.count == 2 && !m.tensor);
    assert_true(fabs(m.slope[0] + 2 * r * a) < 1e-9 && fabs(m.slope[1] - 2 * r * a) < 1e-9);
    for (size_t i = 0; i < 2; i++)
        assert_true(fabs(m.inverse[i] + 2 * t * a * a / NH_HBAR2_OVER_M) < 1e-9);
    nh_mass_free(&m);
    nh_fourier_free(f);
    nh_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_haldane),
        cmocka_unit_test(test_hall_is_kubo),
        cmocka_unit_test(test_two_level_curvature),
        cmocka_unit_test(test_whole_curvature),
        cmocka_unit_test(test_kane_mele),
        cmocka_unit_test(test_diamond),
        cmocka_unit_test(test_no_gap),
        cmocka_unit_test(test_chain_mass),
        cmocka_unit_test(test_mass_of_overlapping_orbitals),
        cmocka_unit_test(test_degenerate_masses),
        cmocka_unit_test(test_crossing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
