#include "crystal/neighbours.h"
#include "lcao/lcao.h"

#include "base/memory.h"
#include "crystal/lattice.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Å: no two nuclei of a crystal are as near as that; a cell in the wrong unit has such. */
static const double nearest_atoms = 0.4;

/* --- what is needed, and what it takes ------------------------------------------------------------------------- */

static int copy_structure(const nh_structure *from, nh_structure *to, nh_error *err)
{
    if (nh_structure_new(from->n_atom, from->n_species, to, err)) return -1;
    memcpy(to->lattice, from->lattice, sizeof to->lattice);
    memcpy(to->position, from->position, 3 * from->n_atom * sizeof *to->position);
    memcpy(to->species, from->species, from->n_atom * sizeof *to->species);
    memcpy(to->atomic_number, from->atomic_number, from->n_species * sizeof *to->atomic_number);
    size_t *const counts = NH_ARRAY(size_t, from->n_species);
    int status = counts != NULL ? 0 : nh_fail_memory(err, "a structure");
    for (size_t i = 0; i < from->n_species && status == 0; i++)
        counts[i] = from->shell_start[i + 1] - from->shell_start[i];
    if (status == 0) status = nh_structure_set_shells(to, counts, from->shell_l, err);
    if (status == 0 && from->title != NULL && (to->title = nh_strdup(from->title)) == NULL)
        status = nh_fail_memory(err, "a structure");
    free(counts);
    if (status != 0) nh_structure_free(to);
    return status;
}

static int check_shells(const nh_structure *s, const nh_species *species, nh_error *err)
{
    for (size_t i = 0; i < s->n_species; i++) {
        const nh_orbital_set *const o = &species[i].orbital;
        const size_t first = s->shell_start[i], n = s->shell_start[i + 1] - first;
        if (n != o->n_shell || memcmp(s->shell_l + first, o->l, n * sizeof *o->l) != 0)
            return nh_fail(err, "%s: the structure's shells are not those of the orbitals",
                           nh_element_symbol(s->atomic_number[i]));
    }
    return 0;
}

static int check_distances(const nh_structure *s, nh_error *err)
{
    size_t n;
    nh_pair *pair;
    if (nh_neighbours(s, nearest_atoms, &n, &pair, err)) return -1;
    int status = 0;
    for (size_t i = 0; i < n && status == 0; i++) {
        double v[3];
        nh_pair_vector(s, &pair[i], v);
        const double r = sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
        if (pair[i].src == pair[i].dst && r == 0) continue;
        if (pair[i].src == pair[i].dst)
            status = nh_fail(err, "the cell is too small: atom %d is %.2g Å from its own image; Å expected",
                             pair[i].src + 1, r);
        else
            status = nh_fail(err, "atoms %d and %d are %.2g Å apart: on one spot, or the lattice is not in Å",
                             pair[i].src + 1, pair[i].dst + 1, r);
    }
    free(pair);
    return status;
}

/* Pairs within the cutoff, overlapping, or coupled by a projector. */
static int make_pairs(const nh_structure *s, const nh_species *species, double cutoff, nh_pairs *out,
                      nh_error *err)
{
    size_t n, near;
    nh_pair *pair, *within;
    if (nh_lcao_pairs(s, species, &n, &pair, err)) return -1;
    if (nh_neighbours(s, cutoff, &near, &within, err)) {
        free(pair);
        return -1;
    }
    size_t all, bytes;
    nh_pair *const both = nh_size_add(n, near, &all) && nh_size_mul(all, sizeof *pair, &bytes)
                              ? realloc(pair, bytes + 1)
                              : NULL;
    if (both == NULL) {
        free(pair);
        free(within);
        return nh_fail_memory(err, "atom pairs");
    }
    memcpy(both + n, within, near * sizeof *within);
    free(within);
    return nh_pairs_build(s, all, both, out, err);
}

/* Numbers of the grid along each axis to within its rounding (docs/h0.md 6), multiplied. */
static double grid_points(const double lattice[9], double ecut)
{
    double points = 1;
    for (int d = 0; d < 3; d++) {
        const double *const a = lattice + 3 * d;
        const double length = sqrt(a[0] * a[0] + a[1] * a[1] + a[2] * a[2]) / NH_BOHR;
        points *= 1.05 * (2 * floor(length * sqrt(ecut) / (2 * M_PI)) + 1);
    }
    return points;
}

/* Bytes at the peak: of nh_lcao_new, or of making H with it. */
static double needed(const nh_lcao_task *task, const nh_structure *s, size_t n_elem)
{
    enum { GRID_ARRAYS = 14 }; /* rho, core, local, v, gradients, transforms */
    const double points = grid_points(s->lattice, 4 * task->ecut), numbers = (double)n_elem;
    return 8 * (GRID_ARRAYS * points + numbers * (4 + 4 * task->n_spin)) + (double)task->keep + 5e7;
}

/* --- the parts --------------------------------------------------------------------------------------------------- */

static void say(const nh_lcao_task *task, const char *what)
{
    if (task->stage != NULL) task->stage(task->context, what);
}

static int make_matrices(nh_lcao *l, const nh_lcao_task *task, nh_error *err)
{
    const size_t n = l->pairs.n_elem;
    size_t numbers;
    if (!nh_size_mul(2 * (size_t)l->n_spin, n, &numbers)) return nh_fail_memory(err, "the matrices");
    l->overlap = NH_ARRAY(double, n);
    l->kinetic = NH_ARRAY(double, n);
    l->fixed = NH_ARRAY(double, numbers);
    if (l->overlap == NULL || l->kinetic == NULL || l->fixed == NULL)
        return nh_fail_memory(err, "the matrices");
    const nh_two_centre_task tables = {l->structure.n_species, l->species, true, l->threads};
    if (nh_two_centre_new(&tables, &l->two_centre, err) ||
        nh_two_centre_matrices(l->two_centre, &l->structure, &l->pairs, l->overlap, l->kinetic, NULL,
                               l->threads, err))
        return -1;
    say(task, "overlap and kinetic energy");
    if (nh_nonlocal_add(l->two_centre, &l->structure, &l->pairs, l->n_spin, l->fixed, l->threads, err))
        return -1;
    for (int s = 0; s < l->n_spin; s += 3) /* uu and dd; or the only one */
        for (size_t e = 0; e < n; e++)
            l->fixed[2 * ((size_t)s * n + e)] += l->kinetic[e];
    say(task, "nonlocal pseudopotential");
    return 0;
}

static int make_grid(nh_lcao *l, const nh_lcao_task *task, nh_error *err)
{
    double lattice[9];
    for (int i = 0; i < 9; i++)
        lattice[i] = l->structure.lattice[i] / NH_BOHR;
    if (nh_grid_new(lattice, 4 * task->ecut, l->threads, &l->grid, err)) return -1;
    bool core = false;
    for (size_t i = 0; i < l->structure.n_species; i++)
        core = core || l->species[i].pseudo.core != NULL;
    l->local = NH_ARRAY(double, l->grid->n_point);
    l->rho0 = NH_ARRAY(double, l->grid->n_point);
    if (core) l->core = NH_ARRAY(double, l->grid->n_point);
    if (l->local == NULL || l->rho0 == NULL || (core && l->core == NULL))
        return nh_fail_memory(err, "the grid");
    if (nh_superposed(l->grid, &l->structure, l->species, l->rho0, l->core, l->local, l->threads, err))
        return -1;
    say(task, "densities of the atoms");
    const nh_grid_basis_task basis = {l->grid, &l->structure, l->species, &l->pairs, task->keep, l->threads};
    if (nh_grid_basis_new(&basis, &l->basis, err) || nh_grid_place(l->grid, task->device, err) ||
        nh_grid_basis_place(l->basis, task->device, err))
        return -1;
    say(task, "tiles");
    return 0;
}

static int fill(nh_lcao *l, const nh_lcao_task *task, nh_error *err)
{
    if (task->n_spin != 1 && task->n_spin != 4)
        return nh_fail(err, "%d spin blocks: 1 or 4 expected", task->n_spin);
    if (!(task->ecut > 0))
        return nh_fail(err, "an energy cutoff of %g Ry: a positive one expected", task->ecut);
    if (copy_structure(task->structure, &l->structure, err) || check_shells(&l->structure, l->species, err) ||
        check_distances(&l->structure, err))
        return -1;
    nh_structure_wrap(&l->structure);
    if (make_pairs(&l->structure, l->species, task->cutoff, &l->pairs, err)) return -1;
    for (size_t i = 0; i < l->structure.n_atom; i++)
        l->n_electron += l->species[l->structure.species[i]].pseudo.z_valence;
    const double bytes = needed(task, &l->structure, l->pairs.n_elem);
    if (bytes > (double)task->memory)
        return nh_fail(err, "about %.1f GB are needed, %.1f GB are allowed", bytes * 1e-9,
                       (double)task->memory * 1e-9);
    say(task, "pairs");
    return make_matrices(l, task, err) || make_grid(l, task, err) ? -1 : 0;
}

int nh_lcao_new(const nh_lcao_task *task, nh_lcao **out, nh_error *err)
{
    *out = NULL;
    nh_lcao *const l = NH_ARRAY(nh_lcao, 1);
    if (l == NULL) return nh_fail_memory(err, "a crystal");
    *l = (nh_lcao){
        .species = task->species, .n_spin = task->n_spin, .cutoff = task->cutoff, .threads = task->threads};
    if (fill(l, task, err)) {
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
    nh_grid_free(l->grid);
    nh_two_centre_free(l->two_centre);
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

/* --- H of a density ---------------------------------------------------------------------------------------------- */

int nh_lcao_potential(const nh_lcao *l, const double *rho, double *v, nh_density_energies *e, nh_error *err)
{
    const size_t n = l->grid->n_point;
    double hartree, xc;
    memset(v, 0, n * sizeof *v);
    if (nh_hartree_add(l->grid, rho, v, &hartree, err) ||
        nh_pbe_add(l->grid, rho, l->core, v, &xc, l->threads, err))
        return -1;
    if (e == NULL) return 0;
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += rho[i] * v[i];
    *e = (nh_density_energies){hartree, xc, sum * l->grid->volume / (double)n};
    return 0;
}

/* h = T + V_nl + <up> in uu, <down> in dd; down NULL: the same. */
static int add_local(const nh_lcao *l, const double *up, const double *down, double *h, nh_error *err)
{
    const size_t n = l->pairs.n_elem;
    double *const part = NH_ARRAY(double, n);
    if (part == NULL) return nh_fail_memory(err, "a Hamiltonian");
    memcpy(h, l->fixed, 2 * (size_t)l->n_spin * n * sizeof *h);
    int status = 0;
    for (int s = 0; s < l->n_spin && status == 0; s += 3) {
        if (s == 0 || down != NULL) status = nh_grid_matrix(l->basis, s == 0 ? up : down, part, err);
        for (size_t e = 0; e < n && status == 0; e++)
            h[2 * ((size_t)s * n + e)] += part[e];
    }
    free(part);
    return status;
}

int nh_lcao_hamiltonian(const nh_lcao *l, const double *v, double *h, nh_error *err)
{
    double *const all = NH_ARRAY(double, l->grid->n_point);
    if (all == NULL) return nh_fail_memory(err, "a potential");
    for (size_t i = 0; i < l->grid->n_point; i++)
        all[i] = l->local[i] + v[i];
    const int status = add_local(l, all, NULL, h, err);
    free(all);
    return status;
}

/* The magnetisation that ABACUS starts with where STRU gives none: sqrt(3) on each atom, in its density's shape. */
static int magnetisation(const nh_lcao *l, double *m, nh_error *err)
{
    nh_species *const scaled = NH_ARRAY(nh_species, l->structure.n_species);
    int status = scaled != NULL ? 0 : nh_fail_memory(err, "a magnetisation");
    for (size_t i = 0; i < l->structure.n_species && status == 0; i++) {
        const nh_pseudo *const p = &l->species[i].pseudo;
        scaled[i] = l->species[i];
        scaled[i].pseudo.z_valence = sqrt(3);
        scaled[i].pseudo.rho_atom = NH_ARRAY(double, p->n_mesh);
        if (scaled[i].pseudo.rho_atom == NULL) {
            status = nh_fail_memory(err, "a magnetisation");
            break;
        }
        for (size_t k = 0; k < p->n_mesh; k++)
            scaled[i].pseudo.rho_atom[k] = p->rho_atom[k] * sqrt(3) / p->z_valence;
    }
    if (status == 0) status = nh_superposed(l->grid, &l->structure, scaled, m, NULL, NULL, l->threads, err);
    for (size_t i = 0; scaled != NULL && i < l->structure.n_species; i++)
        if (scaled[i].pseudo.rho_atom != l->species[i].pseudo.rho_atom) free(scaled[i].pseudo.rho_atom);
    free(scaled);
    return status;
}

static int magnetic_hamiltonian(const nh_lcao *l, double *h, nh_error *err)
{
    const size_t n = l->grid->n_point;
    double *const up = NH_ARRAY(double, n), *const down = NH_ARRAY(double, n), *const m = NH_ARRAY(double, n);
    int status = up != NULL && down != NULL && m != NULL ? magnetisation(l, m, err)
                                                         : nh_fail_memory(err, "a magnetisation");
    if (status == 0) {
        memcpy(up, l->local, n * sizeof *up);
        status = nh_hartree_add(l->grid, l->rho0, up, NULL, err);
    }
    if (status == 0) {
        memcpy(down, up, n * sizeof *down);
        status = nh_pbe_polarised_add(l->grid, l->rho0, l->core, m, up, down, l->threads, err);
    }
    free(m);
    if (status == 0) status = add_local(l, up, down, h, err);
    free(up);
    free(down);
    return status;
}

static int zeroth_hamiltonian(const nh_lcao *l, double *h, nh_error *err)
{
    double *const v = NH_ARRAY(double, l->grid->n_point);
    if (v == NULL) return nh_fail_memory(err, "a potential");
    int status = nh_lcao_potential(l, l->rho0, v, NULL, err);
    for (size_t i = 0; i < l->grid->n_point; i++)
        v[i] += l->local[i];
    if (status == 0) status = add_local(l, v, NULL, h, err);
    free(v);
    return status;
}

static int copy_pairs(const nh_structure *s, const nh_pairs *from, nh_pairs *to, nh_error *err)
{
    nh_pair *const pair = NH_ARRAY(nh_pair, from->count);
    if (pair == NULL) return nh_fail_memory(err, "atom pairs");
    memcpy(pair, from->pair, from->count * sizeof *pair);
    return nh_pairs_build(s, from->count, pair, to, err);
}

int nh_lcao_graph(const nh_lcao *l, bool magnetism, nh_graph **out, nh_error *err)
{
    *out = NULL;
    if (magnetism && l->n_spin != 4) return nh_fail(err, "a magnetisation needs four spin blocks");
    const size_t n = l->pairs.n_elem;
    nh_graph *const g = NH_ARRAY(nh_graph, 1);
    if (g == NULL) return nh_fail_memory(err, "a graph");
    *g = (nh_graph){.cutoff = l->cutoff,
                    .n_spin = l->n_spin,
                    .efermi = NAN,
                    .nelec = l->n_electron,
                    .rydberg = NH_RYDBERG};
    int status = copy_structure(&l->structure, &g->structure, err);
    if (status == 0) status = copy_pairs(&g->structure, &l->pairs, &g->pairs, err);
    if (status == 0) {
        g->overlap = NH_ARRAY(double, n);
        g->matrix[NH_H0] = NH_ARRAY(double, 2 * (size_t)l->n_spin * n);
        if (g->overlap == NULL || g->matrix[NH_H0] == NULL) status = nh_fail_memory(err, "a graph");
    }
    if (status == 0) {
        memcpy(g->overlap, l->overlap, n * sizeof *g->overlap);
        status = magnetism ? magnetic_hamiltonian(l, g->matrix[NH_H0], err)
                           : zeroth_hamiltonian(l, g->matrix[NH_H0], err);
    }
    if (status != 0) {
        nh_graph_free(g);
        return -1;
    }
    for (size_t i = 0; i < 2 * (size_t)l->n_spin * n; i++)
        g->matrix[NH_H0][i] *= NH_RYDBERG;
    *out = g;
    return 0;
}
