#include "lcao/lcao.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- the crystal */

static int copy_pairs(const nh_structure *s, const nh_pairs *from, nh_pairs *out, nh_error *err)
{
    nh_pair *const pair = NH_ARRAY(nh_pair, from->count);
    if (pair == NULL) return nh_fail_memory(err, "pairs");
    memcpy(pair, from->pair, from->count * sizeof *pair);
    return nh_pairs_build(s, from->count, pair, out, err);
}

/* Pairs that overlap, that a projector couples, or that are closer than the cutoff. */
static int find_pairs(const nh_structure *s, const nh_species *species, double cutoff, nh_pairs *out, nh_error *err)
{
    size_t n_coupled, n_near, n;
    nh_pair *coupled = NULL, *near = NULL, *all = NULL;
    int status = nh_lcao_pairs(s, species, &n_coupled, &coupled, err);
    if (status == 0) status = nh_neighbours(s, cutoff, &n_near, &near, err);
    if (status == 0) {
        if (nh_size_add(n_coupled, n_near, &n)) all = NH_ARRAY(nh_pair, n);
        if (all == NULL) status = nh_fail_memory(err, "pairs");
    }
    if (status == 0) {
        memcpy(all, coupled, n_coupled * sizeof *all);
        memcpy(all + n_coupled, near, n_near * sizeof *all);
        status = nh_pairs_build(s, n, all, out, err);
    }
    free(coupled);
    free(near);
    return status;
}

static int check_task(const nh_lcao_task *t, nh_error *err)
{
    const nh_structure *const s = t->structure;
    if (t->n_spin != 1 && t->n_spin != 4) return nh_fail(err, "%d spin blocks, 1 or 4 expected", t->n_spin);
    for (size_t i = 0; i < s->n_species; i++) {
        const size_t first = s->shell_start[i], n = s->shell_start[i + 1] - first;
        const nh_orbital_set *const o = &t->species[i].orbital;
        if (n != o->n_shell || memcmp(s->shell_l + first, o->l, n * sizeof *o->l) != 0)
            return nh_fail(err, "%s: shells of the structure and of its orbitals differ", nh_element_symbol(s->atomic_number[i]));
    }
    return nh_structure_check(s, err);
}

/* Numbers of points of the grid, as nh_grid_new will choose them or a little more. */
static double count_points(const nh_structure *s, double ecut)
{
    double points = 1;
    for (int i = 0; i < 3; i++) {
        const double *const a = s->lattice + 3 * i;
        const double length = sqrt(a[0] * a[0] + a[1] * a[1] + a[2] * a[2]) / NH_BOHR;
        points *= 1.07 * (2 * floor(length * sqrt(4 * ecut) / (2 * M_PI)) + 1); /* 2^a 3^b 5^c are close to each other */
    }
    return points;
}

static double count_bytes(const nh_lcao_task *t, size_t n_elem)
{
    /* On the grid: what nh_lcao keeps, potential and density, gradients and transforms of PBE. In pairs: S, T, the fixed
     * part, H0 twice (made, and written), the matrix of the grid and work space. */
    enum { ON_GRID = 16, IN_PAIRS = 5 };
    return sizeof(double) * (ON_GRID * count_points(t->structure, t->ecut) + ((double)IN_PAIRS + 6 * t->n_spin) * (double)n_elem);
}

int nh_lcao_estimate(const nh_lcao_task *task, double *bytes, nh_error *err)
{
    nh_pairs pairs = {0};
    if (check_task(task, err) != 0 || find_pairs(task->structure, task->species, task->cutoff, &pairs, err) != 0) return -1;
    *bytes = count_bytes(task, pairs.n_elem);
    nh_pairs_free(&pairs);
    return 0;
}

static int make_grid(const nh_lcao_task *t, nh_lcao *l, nh_error *err)
{
    double lattice[9];
    bool core = false;
    for (int i = 0; i < 9; i++)
        lattice[i] = l->structure.lattice[i] / NH_BOHR;
    if (nh_grid_new(lattice, 4 * t->ecut, t->threads, &l->grid, err) != 0) return -1;
    for (size_t i = 0; i < l->structure.n_species; i++)
        core = core || t->species[i].pseudo.core != NULL;
    l->local = nh_calloc_aligned(l->grid->n_point, sizeof *l->local);
    l->rho0 = nh_calloc_aligned(l->grid->n_point, sizeof *l->rho0);
    if (core) l->core = nh_calloc_aligned(l->grid->n_point, sizeof *l->core);
    if (l->local == NULL || l->rho0 == NULL || (core && l->core == NULL)) return nh_fail_memory(err, "the grid");
    return nh_superposed(l->grid, &l->structure, t->species, l->rho0, l->core, l->local, t->threads, err);
}

static int make_matrices(const nh_lcao_task *t, nh_lcao *l, nh_error *err)
{
    const size_t n = l->pairs.n_elem;
    const nh_two_centre_task task = {.n_species = l->structure.n_species,
                                     .species = t->species,
                                     .kinetic = true,
                                     .projectors = true,
                                     .threads = t->threads};
    l->overlap = nh_calloc_aligned(n, sizeof *l->overlap);
    l->kinetic = nh_calloc_aligned(n, sizeof *l->kinetic);
    l->fixed = nh_calloc_aligned(n, 2 * (size_t)t->n_spin * sizeof *l->fixed);
    if (l->overlap == NULL || l->kinetic == NULL || l->fixed == NULL) return nh_fail_memory(err, "matrices");
    if (nh_two_centre_new(&task, &l->two_centre, err) ||
        nh_two_centre_matrices(l->two_centre, &l->structure, &l->pairs, l->overlap, l->kinetic, NULL, t->threads, err) ||
        nh_nonlocal_add(l->two_centre, &l->structure, &l->pairs, t->n_spin, l->fixed, t->threads, err))
        return -1;
    for (size_t s = 0; s < (size_t)t->n_spin; s += 3)
        for (size_t e = 0; e < n; e++)
            l->fixed[2 * (s * n + e)] += l->kinetic[e];
    return 0;
}

int nh_lcao_new(const nh_lcao_task *task, nh_lcao **out, nh_error *err)
{
    *out = NULL;
    if (check_task(task, err) != 0) return -1;
    nh_lcao *l = NH_ARRAY(nh_lcao, 1);
    if (l == NULL) return nh_fail_memory(err, "the crystal");
    *l = (nh_lcao){.species = task->species, .n_spin = task->n_spin, .cutoff = task->cutoff, .threads = task->threads};
    int status = nh_structure_copy(task->structure, &l->structure, err);
    if (status == 0) {
        nh_structure_wrap(&l->structure);
        for (size_t a = 0; a < l->structure.n_atom; a++)
            l->n_electron += task->species[l->structure.species[a]].pseudo.z_valence;
        status = find_pairs(&l->structure, task->species, task->cutoff, &l->pairs, err);
    }
    if (status == 0) {
        const double bytes = count_bytes(task, l->pairs.n_elem), gigabyte = 1e9;
        if (bytes > (double)task->memory)
            status = nh_fail(err, "memory: about %.2f GB needed, %.2f GB allowed", bytes / gigabyte, (double)task->memory / gigabyte);
    }
    if (status == 0) status = make_grid(task, l, err);
    if (status == 0) status = make_matrices(task, l, err);
    if (status == 0) {
        const nh_grid_basis_task basis = {.grid = l->grid,
                                          .structure = &l->structure,
                                          .species = task->species,
                                          .pairs = &l->pairs,
                                          .memory = task->keep,
                                          .threads = task->threads};
        status = nh_grid_basis_new(&basis, &l->basis, err);
    }
    if (status != 0) {
        nh_lcao_free(l);
        return -1;
    }
    *out = l;
    return 0;
}

void nh_lcao_free(nh_lcao *l)
{
    if (l == NULL) return;
    nh_grid_basis_free(l->basis);
    nh_two_centre_free(l->two_centre);
    nh_grid_free(l->grid);
    nh_pairs_free(&l->pairs);
    nh_structure_free(&l->structure);
    free(l->overlap);
    free(l->kinetic);
    free(l->fixed);
    free(l->local);
    free(l->rho0);
    free(l->core);
    free(l);
}

/* --- H of a density */

int nh_lcao_potential(const nh_lcao *l, const double *rho, double *v, nh_density_energies *e, nh_error *err)
{
    nh_density_energies d;
    memset(v, 0, l->grid->n_point * sizeof *v);
    if (nh_hartree_add(l->grid, rho, v, &d.hartree, err) || nh_pbe_add(l->grid, rho, l->core, v, &d.xc, l->threads, err))
        return -1;
    double sum = 0;
    for (size_t i = 0; i < l->grid->n_point; i++)
        sum += rho[i] * v[i];
    d.v_rho = sum * l->grid->volume / (double)l->grid->n_point;
    if (e != NULL) *e = d;
    return 0;
}

/* h[n_elem][2] = fixed[n_elem][2] + <V_loc + v>; v is overwritten, matrix[n_elem] is work space. */
static int add_grid(const nh_lcao *l, const double *fixed, double *v, double *matrix, double *h, nh_error *err)
{
    for (size_t i = 0; i < l->grid->n_point; i++)
        v[i] += l->local[i];
    if (nh_grid_matrix(l->basis, v, matrix, err) != 0) return -1;
    for (size_t e = 0; e < l->pairs.n_elem; e++) {
        h[2 * e] = fixed[2 * e] + matrix[e];
        h[2 * e + 1] = fixed[2 * e + 1];
    }
    return 0;
}

int nh_lcao_hamiltonian(const nh_lcao *l, const double *v, double *h, nh_error *err)
{
    const size_t n = l->pairs.n_elem;
    double *const all = nh_calloc_aligned(l->grid->n_point, sizeof *all), *const matrix = nh_calloc_aligned(n, sizeof *matrix);
    int status = all != NULL && matrix != NULL ? 0 : nh_fail_memory(err, "the Hamiltonian");
    if (status == 0) {
        memcpy(all, v, l->grid->n_point * sizeof *all);
        status = add_grid(l, l->fixed, all, matrix, h, err);
    }
    if (status == 0 && l->n_spin == 4) {
        const double *const fixed = l->fixed + 6 * n;
        memcpy(h + 2 * n, l->fixed + 2 * n, 4 * n * sizeof *h); /* ud, du */
        for (size_t e = 0; e < n; e++) {
            h[6 * n + 2 * e] = fixed[2 * e] + matrix[e];
            h[6 * n + 2 * e + 1] = fixed[2 * e + 1];
        }
    }
    free(all);
    free(matrix);
    return status;
}

/* The magnetisation with which ABACUS starts (docs/h0.md 9): each atom's density, scaled to sqrt 3 electrons. */
static int make_magnetisation(const nh_lcao *l, double *m, nh_error *err)
{
    const size_t count = l->structure.n_species;
    nh_species *const scaled = NH_ARRAY(nh_species, count);
    int status = scaled != NULL ? 0 : nh_fail_memory(err, "the magnetisation");
    for (size_t i = 0; i < count && status == 0; i++) {
        scaled[i] = l->species[i];
        nh_pseudo *const p = &scaled[i].pseudo;
        const double scale = sqrt(3) / p->z_valence;
        p->z_valence = sqrt(3);
        p->rho_atom = NH_ARRAY(double, p->n_mesh);
        if (p->rho_atom == NULL) status = nh_fail_memory(err, "the magnetisation");
        for (size_t r = 0; r < p->n_mesh && status == 0; r++)
            p->rho_atom[r] = scale * l->species[i].pseudo.rho_atom[r];
    }
    if (status == 0) status = nh_superposed(l->grid, &l->structure, scaled, m, NULL, NULL, l->threads, err);
    for (size_t i = 0; i < count && scaled != NULL; i++)
        if (scaled[i].pseudo.rho_atom != l->species[i].pseudo.rho_atom) free(scaled[i].pseudo.rho_atom);
    free(scaled);
    return status;
}

/* H0 with that magnetisation: uu sees v_up, dd sees v_down. */
static int magnetic_hamiltonian(const nh_lcao *l, double *h, nh_error *err)
{
    const size_t n = l->pairs.n_elem, n_point = l->grid->n_point;
    double *const up = nh_calloc_aligned(n_point, sizeof *up), *const down = nh_calloc_aligned(n_point, sizeof *down),
                  *const m = nh_calloc_aligned(n_point, sizeof *m), *const matrix = nh_calloc_aligned(n, sizeof *matrix);
    int status = up && down && m && matrix ? 0 : nh_fail_memory(err, "the magnetisation");
    if (status == 0 && l->n_spin != 4) status = nh_fail(err, "a magnetisation needs four spin blocks");
    if (status == 0) status = make_magnetisation(l, m, err);
    if (status == 0) status = nh_hartree_add(l->grid, l->rho0, up, NULL, err);
    if (status == 0) {
        memcpy(down, up, n_point * sizeof *up);
        status = nh_pbe_polarised_add(l->grid, l->rho0, l->core, m, up, down, l->threads, err);
    }
    if (status == 0) {
        memcpy(h, l->fixed, 8 * n * sizeof *h);
        status = add_grid(l, l->fixed, up, matrix, h, err);
    }
    if (status == 0) status = add_grid(l, l->fixed + 6 * n, down, matrix, h + 6 * n, err);
    free(up);
    free(down);
    free(m);
    free(matrix);
    return status;
}

static int plain_hamiltonian(const nh_lcao *l, double *h, nh_error *err)
{
    double *const v = nh_calloc_aligned(l->grid->n_point, sizeof *v);
    int status = v != NULL ? 0 : nh_fail_memory(err, "the potential");
    if (status == 0) status = nh_lcao_potential(l, l->rho0, v, NULL, err);
    if (status == 0) status = nh_lcao_hamiltonian(l, v, h, err);
    free(v);
    return status;
}

int nh_lcao_graph(const nh_lcao *l, bool magnetism, nh_graph **out, nh_error *err)
{
    const size_t n = l->pairs.n_elem, numbers = 2 * (size_t)l->n_spin * n;
    *out = NULL;
    nh_graph *g = NH_ARRAY(nh_graph, 1);
    if (g == NULL) return nh_fail_memory(err, "the graph");
    *g = (nh_graph){.cutoff = l->cutoff, .n_spin = l->n_spin, .efermi = NAN, .nelec = l->n_electron, .rydberg = NH_RYDBERG};
    g->overlap = NH_ARRAY(double, n);
    g->matrix[NH_H0] = NH_ARRAY(double, numbers);
    int status = g->overlap != NULL && g->matrix[NH_H0] != NULL ? 0 : nh_fail_memory(err, "the graph");
    if (status == 0) status = nh_structure_copy(&l->structure, &g->structure, err);
    if (status == 0) status = copy_pairs(&g->structure, &l->pairs, &g->pairs, err);
    if (status == 0) {
        memcpy(g->overlap, l->overlap, n * sizeof *g->overlap);
        status = magnetism ? magnetic_hamiltonian(l, g->matrix[NH_H0], err) : plain_hamiltonian(l, g->matrix[NH_H0], err);
    }
    for (size_t i = 0; i < numbers && status == 0; i++)
        g->matrix[NH_H0][i] *= NH_RYDBERG;
    if (status != 0) {
        nh_graph_free(g);
        return -1;
    }
    *out = g;
    return 0;
}
