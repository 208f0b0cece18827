#include "base/memory.h"
#include "crystal/gauge.h"
#include "lcao/scf_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int compare_numbers(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Gauge MAE of the residual, pairs within the cutoff. */
static int gauge_of(const nh_lcao *l, nh_scf_check *out, nh_error *err)
{
    const nh_graph g = {.structure = l->structure,
                        .pairs = l->pairs,
                        .n_spin = l->n_spin,
                        .cutoff = l->cutoff,
                        .overlap = l->overlap};
    const size_t n_edge = nh_graph_edges(&g, l->cutoff, NULL),
                 numbers = 2 * (size_t)l->n_spin * l->pairs.n_elem;
    size_t *const edge = NH_ARRAY(size_t, n_edge);
    double *const zero = NH_ARRAY(double, numbers);
    int status = edge && zero ? 0 : nh_fail_memory(err, "the residual");
    if (status == 0) {
        nh_graph_edges(&g, l->cutoff, edge);
        const nh_gauge q = {.graph = &g,
                            .a = out->residual,
                            .reference = zero,
                            .n_pair = n_edge,
                            .pair = edge,
                            .rule = NH_GAUGE_L2};
        nh_gauge_row row[NH_GAUGE_N_REGION];
        status = nh_gauge_by_spin(&q, row, err);
        if (status == 0) out->gauge_mae = row[NH_GAUGE_OVERALL].part[NH_GAUGE_COMPLEX].mae * NH_RYDBERG;
    }
    free(edge);
    free(zero);
    return status;
}

/* The bands of H and what the residual does to them, to first order. */
static int bands_of(const nh_scf_space *space, nh_states *states, nh_scf_check *out, nh_error *err)
{
    enum { WINDOW = 10 }; /* eV above the Fermi level */
    const double top = nh_states_fermi(states) + WINDOW / NH_RYDBERG;
    const size_t n_k = space->n_k, all = nh_states_bands(states);
    const double *const energy = nh_states_energy(states), *const f = nh_states_occupation(states);
    size_t n_band = 0, n = 0;
    for (size_t k = 0; k < n_k; k++)
        for (size_t b = n_band; b < all && energy[k * all + b] <= top; b++)
            n_band = b + 1;
    double *const sorted = NH_ARRAY(double, n_k *n_band);
    out->band = NH_ARRAY(double, n_k *n_band);
    out->band_error = NH_ARRAY(double, n_k *n_band);
    if (!sorted || !out->band || !out->band_error) {
        free(sorted);
        return nh_fail_memory(err, "bands");
    }
    if (nh_states_expect(states, out->residual, top, n_band, out->band_error, err) != 0) {
        free(sorted);
        return -1;
    }
    for (size_t k = 0; k < n_k; k++)
        for (size_t b = 0; b < n_band; b++) {
            double *const error = &out->band_error[k * n_band + b];
            *error *= NH_RYDBERG;
            out->band[k * n_band + b] = energy[k * all + b] * NH_RYDBERG;
            if (isfinite(*error)) sorted[n++] = *error;
        }
    qsort(sorted, n, sizeof *sorted, compare_numbers);
    out->shift = n == 0 ? 0 : n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += fabs(sorted[i] - out->shift);
    free(sorted);
    out->mean_band_error = n > 0 ? sum / (double)n : 0;
    for (size_t k = 0; k < n_k; k++)
        for (size_t b = 0; b < n_band; b++)
            if (f[k * all + b] > 0 && isfinite(out->band_error[k * n_band + b]))
                out->band_energy +=
                    space->weight[k] * f[k * all + b] * (out->band_error[k * n_band + b] - out->shift);
    out->n_k = n_k;
    out->n_band = n_band;
    return 0;
}

int nh_scf_check_new(const nh_scf_task *task, const double *h, nh_scf_check *out, nh_error *err)
{
    const nh_lcao *const l = task->lcao;
    const size_t n_elem = l->pairs.n_elem, numbers = 2 * (size_t)l->n_spin * n_elem,
                 n_point = l->grid->n_point;
    nh_scf_space space = {0};
    nh_states *states = NULL, *after = NULL;
    nh_density_energies energies;
    double *symmetric = NULL, charge;
    *out = (nh_scf_check){0};
    double *const first = nh_calloc_aligned(n_point, sizeof *first), *const second = nh_calloc_aligned(
                                                                         n_point, sizeof *second);
    out->residual = NH_ARRAY(double, numbers);
    int status = first && second && out->residual ? 0 : nh_fail_memory(err, "the residual");
    if (status == 0) status = nh_scf_space_new(task, &space, err);
    if (status == 0) status = nh_scf_symmetric(l, h, &symmetric, err);
    if (status == 0) status = nh_scf_states(task, &space, symmetric, &states, err);
    if (status == 0) status = nh_states_solve(states, NULL, err);
    if (status == 0) status = nh_scf_density(task, &space, states, first, &charge, err);
    if (status == 0) status = nh_scf_matrix(task, &space, first, &energies, err);
    if (status == 0) {
        memcpy(out->residual, l->fixed, numbers * sizeof *out->residual);
        for (int s = 0; s < l->n_spin; s += 3)
            for (size_t e = 0; e < n_elem; e++)
                out->residual[2 * ((size_t)s * n_elem + e)] += space.matrix[e];
        for (size_t i = 0; i < numbers; i++)
            out->residual[i] -= h[i];
        out->efermi = nh_states_fermi(states) * NH_RYDBERG;
        status = gauge_of(l, out, err);
    }
    if (status == 0) status = bands_of(&space, states, out, err);
    if (status == 0) status = nh_scf_states(task, &space, l->fixed, &after, err);
    if (status == 0) status = nh_states_solve(after, space.matrix, err);
    if (status == 0) status = nh_scf_density(task, &space, after, second, &charge, err);
    if (status == 0) {
        out->drho = nh_scf_distance(l, first, second);
        out->k = space.k;
        space.k = NULL;
    }
    nh_states_free(states);
    nh_states_free(after);
    nh_scf_space_free(&space);
    free(symmetric);
    free(first);
    free(second);
    if (status != 0) nh_scf_check_free(out);
    return status;
}

void nh_scf_check_free(nh_scf_check *c)
{
    free(c->residual);
    free(c->k);
    free(c->band);
    free(c->band_error);
    *c = (nh_scf_check){0};
}
