#include "formats/netcdf/graph.h"

#include "base/memory.h"
#include "crystal/neighbours.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define DIMS(...) ((const char *const[]){__VA_ARGS__})

/* --- reading --- */

static int read_structure(const nh_nc *f, nh_structure *s, nh_error *err)
{
    size_t n_atom, n_species, n_shell;
    if (nh_nc_dim(f, "atom", &n_atom, err) || nh_nc_dim(f, "species", &n_species, err) ||
        nh_nc_dim(f, "shell", &n_shell, err))
        return -1;
    if (n_atom == 0 || n_species == 0) return nh_fail(err, "%s: no atoms", nh_nc_name(f));
    if (n_atom > INT32_MAX || n_species > n_atom)
        return nh_fail(err, "%s: %zu atoms of %zu species", nh_nc_name(f), n_atom, n_species);
    if (nh_structure_new(n_atom, n_species, s, err)) return -1;

    int *const shells = NH_ARRAY(int, n_species), *const l = NH_ARRAY(int, n_shell);
    size_t *const counts = NH_ARRAY(size_t, n_species);
    int failure = shells == NULL || l == NULL || counts == NULL ? nh_fail_memory(err, "shells") : 0;
    if (!failure)
        failure = nh_nc_get_double(f, "lattice", 2, DIMS("xyz", "xyz"), 9, s->lattice, err) ||
                  nh_nc_get_double(f, "position", 2, DIMS("atom", "xyz"), 3 * n_atom, s->position, err) ||
                  nh_nc_get_int(f, "atom_species", 1, DIMS("atom"), n_atom, s->species, err) ||
                  nh_nc_get_int(f, "atomic_number", 1, DIMS("species"), n_species, s->atomic_number, err) ||
                  nh_nc_get_int(f, "species_shells", 1, DIMS("species"), n_species, shells, err) ||
                  nh_nc_get_int(f, "shell_l", 1, DIMS("shell"), n_shell, l, err);
    size_t total = 0;
    for (size_t i = 0; i < n_species && !failure; i++) {
        if (shells[i] < 0 || (size_t)shells[i] > n_shell - total)
            failure =
                nh_fail(err, "%s: variable species_shells: %d shells of species %zu, the file has %zu in all",
                        nh_nc_name(f), shells[i], i, n_shell);
        else
            total += counts[i] = (size_t)shells[i];
    }
    if (!failure && total != n_shell)
        failure = nh_fail(err, "%s: variable species_shells: sum %zu, expected %zu (dimension shell)",
                          nh_nc_name(f), total, n_shell);
    for (size_t i = 0; i < n_shell && !failure; i++)
        if (l[i] < 0 || l[i] > 6)
            failure = nh_fail(err, "%s: variable shell_l: degree %d of shell %zu, expected 0..6",
                              nh_nc_name(f), l[i], i);
    if (!failure) failure = nh_structure_set_shells(s, counts, l, err);
    if (!failure) failure = nh_nc_att_text(f, "title", &s->title, err);
    if (!failure && nh_atoms_check(s, err)) failure = nh_fail_at(err, "%s", nh_nc_name(f));
    free(shells);
    free(l);
    free(counts);
    return failure ? -1 : 0;
}

static int compare_pairs(const nh_pair *a, const nh_pair *b)
{
    if (a->src != b->src) return a->src < b->src ? -1 : 1;
    if (a->dst != b->dst) return a->dst < b->dst ? -1 : 1;
    for (int i = 0; i < 3; i++)
        if (a->cell[i] != b->cell[i]) return a->cell[i] < b->cell[i] ? -1 : 1;
    return 0;
}

/* Fills an allocated list of pairs from the file; checks indices, order and the starts of the blocks. */
static int read_pair_list(const nh_nc *f, const nh_structure *s, size_t n_pair, size_t n_elem, nh_pair *pair,
                          nh_error *err)
{
    int *const src = NH_ARRAY(int, n_pair), *const dst = NH_ARRAY(int, n_pair),
               *const cell = NH_ARRAY(int, 3 * n_pair);
    long long *const start = NH_ARRAY(long long, n_pair);
    int failure =
        src == NULL || dst == NULL || cell == NULL || start == NULL ? nh_fail_memory(err, "pairs") : 0;
    if (!failure)
        failure = nh_nc_get_int(f, "pair_src", 1, DIMS("pair"), n_pair, src, err) ||
                  nh_nc_get_int(f, "pair_dst", 1, DIMS("pair"), n_pair, dst, err) ||
                  nh_nc_get_int(f, "pair_cell", 2, DIMS("pair", "xyz"), 3 * n_pair, cell, err) ||
                  nh_nc_get_int64(f, "pair_start", 1, DIMS("pair"), n_pair, start, err);
    size_t expected = 0;
    for (size_t p = 0; p < n_pair && !failure; p++) {
        if (src[p] < 0 || dst[p] < 0 || (size_t)src[p] >= s->n_atom || (size_t)dst[p] >= s->n_atom) {
            failure = nh_fail(err, "%s: pair %zu: atoms %d and %d, expected indices below %zu", nh_nc_name(f),
                              p, src[p], dst[p], s->n_atom);
            break;
        }
        pair[p] = (nh_pair){src[p], dst[p], {cell[3 * p], cell[3 * p + 1], cell[3 * p + 2]}};
        for (int i = 0; i < 3; i++)
            if (pair[p].cell[i] < -32768 || pair[p].cell[i] > 32767)
                failure = nh_fail(err, "%s: pair %zu: cell index %d, expected a small number", nh_nc_name(f),
                                  p, pair[p].cell[i]);
        if (!failure && p > 0 && compare_pairs(&pair[p - 1], &pair[p]) >= 0)
            failure = nh_fail(
                err, "%s: pair %zu: out of order (expected ascending src, dst, cell without repetition)",
                nh_nc_name(f), p);
        if (!failure && (start[p] < 0 || (unsigned long long)start[p] != expected))
            failure = nh_fail(
                err,
                "%s: variable pair_start: element %zu is %lld, expected %zu from the orbitals of its atoms",
                nh_nc_name(f), p, start[p], expected);
        expected += nh_atom_orbitals(s, (size_t)src[p]) * nh_atom_orbitals(s, (size_t)dst[p]);
    }
    if (!failure && expected != n_elem)
        failure = nh_fail(err, "%s: dimension elem: %zu, expected %zu from the orbitals of the pairs",
                          nh_nc_name(f), n_elem, expected);
    free(src);
    free(dst);
    free(cell);
    free(start);
    return failure ? -1 : 0;
}

static int read_pairs(const nh_nc *f, nh_graph *g, nh_error *err)
{
    size_t n_pair, n_elem;
    if (nh_nc_dim(f, "pair", &n_pair, err) || nh_nc_dim(f, "elem", &n_elem, err)) return -1;
    nh_pair *const pair = NH_ARRAY(nh_pair, n_pair);
    if (pair == NULL) return nh_fail_memory(err, "pairs");
    if (read_pair_list(f, &g->structure, n_pair, n_elem, pair, err)) {
        free(pair);
        return -1;
    }
    if (nh_pairs_build(&g->structure, n_pair, pair, &g->pairs, err)) return -1;
    double *const distance = NH_ARRAY(double, n_pair);
    if (distance == NULL) return nh_fail_memory(err, "pairs");
    int failure = nh_nc_get_double(f, "pair_distance", 1, DIMS("pair"), n_pair, distance, err);
    for (size_t p = 0; p < n_pair && !failure; p++)
        if (fabs(distance[p] - g->pairs.distance[p]) > 1e-4)
            failure = nh_fail(err, "%s: variable pair_distance: element %zu is %.8f, the positions give %.8f",
                              nh_nc_name(f), p, distance[p], g->pairs.distance[p]);
    free(distance);
    return failure ? -1 : 0;
}

static int read_matrices(const nh_nc *f, unsigned want, nh_graph *g, nh_error *err)
{
    const size_t n_elem = g->pairs.n_elem;
    if ((want & NH_WANT_OVERLAP) && nh_nc_has(f, "overlap")) {
        g->overlap = NH_ARRAY(double, n_elem);
        if (g->overlap == NULL) return nh_fail_memory(err, "overlap");
        if (nh_nc_get_double(f, "overlap", 1, DIMS("elem"), n_elem, g->overlap, err)) return -1;
    }
    for (int m = 0; m < NH_N_MATRIX; m++) {
        const char *const name = nh_matrix_name((nh_matrix)m);
        if (!(want & (1u << m)) || !nh_nc_has(f, name)) continue;
        size_t count;
        if (!nh_size_mul(n_elem, 2 * (size_t)g->n_spin, &count))
            return nh_fail(err, "%s: variable %s: too large", nh_nc_name(f), name);
        g->matrix[m] = NH_ARRAY(double, count);
        if (g->matrix[m] == NULL) return nh_fail_memory(err, name);
        if (nh_nc_get_double(f, name, 3, DIMS("spin", "elem", "ri"), count, g->matrix[m], err)) return -1;
    }
    return 0;
}

static int read_feature_values(const nh_nc *f, nh_features *x, nh_error *err)
{
    size_t count;
    if (!nh_size_mul(x->n_edge, x->n_component, &count))
        return nh_fail(err, "%s: variable feature: too large", nh_nc_name(f));
    if (!nh_nc_has(f, "feature")) return nh_fail(err, "%s: no variable feature", nh_nc_name(f));
    if (!nh_nc_is_single(f, "feature")) {
        x->value_double = NH_ARRAY(double, count);
        if (x->value_double == NULL) return nh_fail_memory(err, "features");
        return nh_nc_get_double(f, "feature", 2, DIMS("edge", "component"), count, x->value_double, err);
    }
    x->value = NH_ARRAY(float, count);
    if (x->value == NULL) return nh_fail_memory(err, "features");
    return nh_nc_get_float(f, "feature", 2, DIMS("edge", "component"), count, x->value, err);
}

static int read_features(const nh_nc *f, nh_graph *g, nh_error *err)
{
    nh_features *const x = calloc(1, sizeof *x);
    if (x == NULL) return nh_fail_memory(err, "features");
    int *edge_pair = NULL;
    int failure = nh_nc_dim(f, "edge", &x->n_edge, err) || nh_nc_dim(f, "component", &x->n_component, err);
    if (!failure) {
        edge_pair = NH_ARRAY(int, x->n_edge);
        x->edge_pair = NH_ARRAY(size_t, x->n_edge);
        if (edge_pair == NULL || x->edge_pair == NULL) failure = nh_fail_memory(err, "features");
    }
    if (!failure)
        failure = nh_nc_get_int(f, "edge_pair", 1, DIMS("edge"), x->n_edge, edge_pair, err) ||
                  read_feature_values(f, x, err) || nh_nc_att_text(f, "irreps", &x->irreps, err) ||
                  nh_nc_att_text(f, "shell_pairs", &x->shell_pairs, err);
    if (!failure && (x->irreps == NULL || x->shell_pairs == NULL))
        failure =
            nh_fail(err, "%s: variable feature without the attributes irreps and shell_pairs", nh_nc_name(f));
    for (size_t e = 0; e < x->n_edge && !failure; e++) {
        if (edge_pair[e] < 0 || (size_t)edge_pair[e] >= g->pairs.count)
            failure = nh_fail(err, "%s: variable edge_pair: element %zu is %d, expected an index below %zu",
                              nh_nc_name(f), e, edge_pair[e], g->pairs.count);
        else
            x->edge_pair[e] = (size_t)edge_pair[e];
    }
    free(edge_pair);
    if (failure) {
        nh_features_free(x);
        return -1;
    }
    g->features = x;
    return 0;
}

int nh_graph_read(const nh_nc *f, unsigned want, nh_graph **out, nh_error *err)
{
    *out = NULL;
    nh_graph *g = calloc(1, sizeof *g);
    if (g == NULL) return nh_fail_memory(err, nh_nc_name(f));
    g->cutoff = NAN;
    g->efermi = NAN;
    g->nelec = NAN;
    g->rydberg = NH_RYDBERG;
    double converged = NAN;
    size_t n_spin;
    int failure = nh_nc_dim(f, "spin", &n_spin, err);
    if (!failure && n_spin != 1 && n_spin != 4)
        failure = nh_fail(err, "%s: dimension spin: %zu, expected 1 or 4", nh_nc_name(f), n_spin);
    if (!failure) {
        g->n_spin = (int)n_spin;
        failure = read_structure(f, &g->structure, err) || read_pairs(f, g, err) ||
                  nh_nc_att_double(f, "cutoff", &g->cutoff, err) ||
                  nh_nc_att_double(f, "efermi", &g->efermi, err) ||
                  nh_nc_att_double(f, "nelec", &g->nelec, err) ||
                  nh_nc_att_double(f, "rydberg", &g->rydberg, err) ||
                  nh_nc_att_double(f, "converged", &converged, err) ||
                  nh_nc_att_text(f, "orbital_hash", &g->orbital_hash, err) ||
                  nh_nc_att_text(f, "pseudo_hash", &g->pseudo_hash, err);
    }
    g->convergence = isnan(converged) ? 0 : converged > 0 ? 1 : -1;
    if (!failure && !(g->cutoff > 0))
        failure = nh_fail(err, "%s: attribute cutoff: expected a positive number of Å", nh_nc_name(f));
    if (!failure && !(g->rydberg > 13 && g->rydberg < 14))
        failure = nh_fail(err, "%s: attribute rydberg: found %g, expected about 13.6 (eV)", nh_nc_name(f),
                          g->rydberg);
    if (!failure) failure = read_matrices(f, want, g, err);
    if (!failure && (want & NH_WANT_FEATURES) && nh_nc_has(f, "feature")) failure = read_features(f, g, err);
    if (failure) {
        nh_graph_free(g);
        return -1;
    }
    *out = g;
    return 0;
}

int nh_graph_require(const nh_graph *g, const char *file, unsigned need, nh_error *err)
{
    static const char *const made_by[NH_N_MATRIX] = {"mkgraph --h0 or --abacus-h0 puts it in",
                                                     "mkgraph --label or --abacus puts it in",
                                                     "nhinfer puts it in"};
    for (int m = 0; m < NH_N_MATRIX; m++)
        if ((need & (1u << m)) && g->matrix[m] == NULL)
            return nh_fail(err, "%s: no variable %s (%s)", file, nh_matrix_name((nh_matrix)m), made_by[m]);
    if ((need & NH_WANT_OVERLAP) && g->overlap == NULL)
        return nh_fail(err, "%s: no variable overlap (mkgraph --overlap or --abacus puts it in)", file);
    if ((need & NH_WANT_FEATURES) && g->features == NULL)
        return nh_fail(err, "%s: no variable feature (h0embed puts it in)", file);
    return 0;
}

/* --- writing --- */

static int write_structure(nh_nc *f, const nh_structure *s, nh_error *err)
{
    const size_t n_shell = s->shell_start[s->n_species];
    if (nh_nc_def_dim(f, "xyz", 3, err) || nh_nc_def_dim(f, "ri", 2, err) ||
        nh_nc_def_dim(f, "atom", s->n_atom, err) || nh_nc_def_dim(f, "species", s->n_species, err) ||
        nh_nc_def_dim(f, "shell", n_shell, err) ||
        nh_nc_def_var(f, "lattice", NC_DOUBLE, 2, DIMS("xyz", "xyz"), NULL, "angstrom",
                      "lattice vectors, one a row", err) ||
        nh_nc_def_var(f, "position", NC_DOUBLE, 2, DIMS("atom", "xyz"), NULL, "angstrom",
                      "Cartesian positions", err) ||
        nh_nc_def_var(f, "atom_species", NC_INT, 1, DIMS("atom"), NULL, "1", "species of each atom", err) ||
        nh_nc_def_var(f, "atomic_number", NC_INT, 1, DIMS("species"), NULL, "1", NULL, err) ||
        nh_nc_def_var(f, "species_shells", NC_INT, 1, DIMS("species"), NULL, "1", "number of radial shells",
                      err) ||
        nh_nc_def_var(f, "shell_l", NC_INT, 1, DIMS("shell"), NULL, "1",
                      "degree of each shell, species after species", err))
        return -1;
    int *const shells = NH_ARRAY(int, s->n_species);
    if (shells == NULL) return nh_fail_memory(err, "shells");
    for (size_t i = 0; i < s->n_species; i++)
        shells[i] = (int)(s->shell_start[i + 1] - s->shell_start[i]);
    const int failure = nh_nc_put_double(f, "lattice", s->lattice, err) ||
                        nh_nc_put_double(f, "position", s->position, err) ||
                        nh_nc_put_int(f, "atom_species", s->species, err) ||
                        nh_nc_put_int(f, "atomic_number", s->atomic_number, err) ||
                        nh_nc_put_int(f, "species_shells", shells, err) ||
                        (n_shell > 0 && nh_nc_put_int(f, "shell_l", s->shell_l, err)) ||
                        (s->title != NULL && nh_nc_set_text(f, "title", s->title, err));
    free(shells);
    return failure ? -1 : 0;
}

static int write_pairs(nh_nc *f, const nh_pairs *p, nh_error *err)
{
    if (nh_nc_def_dim(f, "pair", p->count, err) || nh_nc_def_dim(f, "elem", p->n_elem, err) ||
        nh_nc_def_var(f, "pair_src", NC_INT, 1, DIMS("pair"), NULL, "1", "atom of the rows, home cell",
                      err) ||
        nh_nc_def_var(f, "pair_dst", NC_INT, 1, DIMS("pair"), NULL, "1",
                      "atom of the columns, cell pair_cell", err) ||
        nh_nc_def_var(f, "pair_cell", NC_INT, 2, DIMS("pair", "xyz"), NULL, "1", "R in lattice vectors",
                      err) ||
        nh_nc_def_var(f, "pair_distance", NC_DOUBLE, 1, DIMS("pair"), NULL, "angstrom", NULL, err) ||
        nh_nc_def_var(f, "pair_start", NC_INT64, 1, DIMS("pair"), NULL, "1",
                      "first element of the pair's block", err))
        return -1;
    int *const buffer = NH_ARRAY(int, 3 * p->count);
    long long *const start = NH_ARRAY(long long, p->count);
    int failure = buffer == NULL || start == NULL ? nh_fail_memory(err, "pairs") : 0;
    for (size_t i = 0; i < p->count && !failure; i++)
        buffer[i] = p->pair[i].src;
    if (!failure) failure = nh_nc_put_int(f, "pair_src", buffer, err);
    for (size_t i = 0; i < p->count && !failure; i++)
        buffer[i] = p->pair[i].dst;
    if (!failure) failure = nh_nc_put_int(f, "pair_dst", buffer, err);
    for (size_t i = 0; i < p->count && !failure; i++) {
        memcpy(buffer + 3 * i, p->pair[i].cell, sizeof p->pair[i].cell);
        start[i] = (long long)p->start[i];
    }
    if (!failure)
        failure = nh_nc_put_int(f, "pair_cell", buffer, err) ||
                  nh_nc_put_int64(f, "pair_start", start, err) ||
                  nh_nc_put_double(f, "pair_distance", p->distance, err);
    free(buffer);
    free(start);
    return failure ? -1 : 0;
}

int nh_graph_put_matrix(nh_nc *f, const nh_graph *g, nh_matrix m, bool single, nh_error *err)
{
    static const char *const long_name[NH_N_MATRIX] = {
        "zeroth-step Hamiltonian", "self-consistent Hamiltonian", "predicted Hamiltonian"};
    const char *const name = nh_matrix_name(m);
    return nh_nc_def_dim(f, "spin", (size_t)g->n_spin, err) ||
                   nh_nc_def_dim(f, "elem", g->pairs.n_elem, err) || nh_nc_def_dim(f, "ri", 2, err) ||
                   nh_nc_def_var(f, name, single ? NC_FLOAT : NC_DOUBLE, 3, DIMS("spin", "elem", "ri"), NULL,
                                 "eV", long_name[m], err) ||
                   nh_nc_put_late(f, name, g->matrix[m], err)
               ? -1
               : 0;
}

int nh_graph_put_overlap(nh_nc *f, const nh_graph *g, bool single, nh_error *err)
{
    return nh_nc_def_dim(f, "elem", g->pairs.n_elem, err) ||
                   nh_nc_def_var(f, "overlap", single ? NC_FLOAT : NC_DOUBLE, 1, DIMS("elem"), NULL, "1",
                                 "overlap of the orbitals (spinless)", err) ||
                   nh_nc_put_late(f, "overlap", g->overlap, err)
               ? -1
               : 0;
}

int nh_graph_put_position(nh_nc *f, const double *position, bool single, nh_error *err)
{
    return nh_nc_def_var(f, "position_matrix", single ? NC_FLOAT : NC_DOUBLE, 2, DIMS("xyz", "elem"), NULL,
                         "angstrom",
                         "<phi_a| r |phi_b in cell R>, from the origin of the home cell (spinless)", err) ||
                   nh_nc_put_late(f, "position_matrix", position, err)
               ? -1
               : 0;
}

int nh_graph_def_features(nh_nc *f, size_t n_edge, const size_t *edge_pair, const nh_feature_type *type,
                          nh_error *err)
{
    const size_t chunk[2] = {n_edge < 64 ? (n_edge > 0 ? n_edge : 1) : 64, type->n_component};
    if (nh_nc_def_dim(f, "edge", n_edge, err) || nh_nc_def_dim(f, "component", type->n_component, err) ||
        nh_nc_def_var(f, "edge_pair", NC_INT, 1, DIMS("edge"), NULL, "1", "pair of each directed edge",
                      err) ||
        nh_nc_def_var(f, "feature", type->as_double ? NC_DOUBLE : NC_FLOAT, 2, DIMS("edge", "component"),
                      chunk, "eV", "inverse Wigner-Eckart transform of the zeroth-step block", err) ||
        nh_nc_set_text(f, "irreps", type->irreps, err) ||
        nh_nc_set_text(f, "shell_pairs", type->shell_pairs, err) ||
        nh_nc_set_text(f, "padded_basis", type->padded_basis, err))
        return -1;
    int *const pair = NH_ARRAY(int, n_edge);
    if (pair == NULL) return nh_fail_memory(err, "features");
    for (size_t e = 0; e < n_edge; e++)
        pair[e] = (int)edge_pair[e];
    const int failure = nh_nc_put_int(f, "edge_pair", pair, err);
    free(pair);
    return failure;
}

int nh_graph_write(nh_nc *f, const nh_graph *g, bool single, nh_error *err)
{
    if (write_structure(f, &g->structure, err) || write_pairs(f, &g->pairs, err) ||
        nh_nc_def_dim(f, "spin", (size_t)g->n_spin, err) || nh_nc_set_double(f, "cutoff", g->cutoff, err) ||
        nh_nc_set_double(f, "rydberg", g->rydberg, err) ||
        (!isnan(g->efermi) && nh_nc_set_double(f, "efermi", g->efermi, err)) ||
        (!isnan(g->nelec) && nh_nc_set_double(f, "nelec", g->nelec, err)) ||
        (g->convergence != 0 && nh_nc_set_double(f, "converged", g->convergence > 0, err)) ||
        (g->orbital_hash != NULL && nh_nc_set_text(f, "orbital_hash", g->orbital_hash, err)) ||
        (g->pseudo_hash != NULL && nh_nc_set_text(f, "pseudo_hash", g->pseudo_hash, err)))
        return -1;
    if (g->overlap != NULL && nh_graph_put_overlap(f, g, single, err) != 0) return -1;
    for (int m = 0; m < NH_N_MATRIX; m++)
        if (g->matrix[m] != NULL && nh_graph_put_matrix(f, g, (nh_matrix)m, single, err)) return -1;
    return g->position_matrix != NULL ? nh_graph_put_position(f, g->position_matrix, single, err) : 0;
}
