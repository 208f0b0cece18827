#include "lcao/scf_internal.h"

#include "base/memory.h"
#include "base/progress.h"
#include "lcao/bloch.h"
#include "lcao/mixing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- what the loop and the certificate share */

int nh_scf_space_new(const nh_scf_task *task, nh_scf_space *out, nh_error *err)
{
    const nh_lcao *const l = task->lcao;
    *out = (nh_scf_space){0};
    if (nh_half_mesh(task->mesh, &out->n_k, &out->k, &out->weight, err) != 0) return -1;
    out->p = NH_ARRAY(double, l->pairs.n_elem);
    out->matrix = NH_ARRAY(double, l->pairs.n_elem);
    out->v = NH_ARRAY(double, l->grid->n_point);
    return out->p && out->matrix && out->v ? 0 : nh_fail_memory(err, "the density matrix");
}

void nh_scf_space_free(nh_scf_space *s)
{
    free(s->k);
    free(s->weight);
    free(s->p);
    free(s->v);
    free(s->matrix);
}

int nh_scf_states(const nh_scf_task *task, const nh_scf_space *space, const double *fixed, nh_states **out,
                  nh_error *err)
{
    const nh_lcao *const l = task->lcao;
    const nh_states_task t = {.structure = &l->structure,
                              .pairs = &l->pairs,
                              .n_spin = l->n_spin,
                              .n_k = space->n_k,
                              .k = space->k,
                              .weight = space->weight,
                              .n_electron = l->n_electron,
                              .smearing = task->smearing,
                              .overlap = l->overlap,
                              .fixed = fixed,
                              .memory = task->memory,
                              .threads = l->threads,
                              .ranks = task->ranks};
    return nh_states_new(&t, out, err);
}

int nh_scf_density(const nh_scf_task *task, nh_scf_space *space, nh_states *states, double *rho,
                   double *charge, nh_error *err)
{
    const nh_lcao *const l = task->lcao;
    if (nh_states_density(states, space->p, err) != 0) return -1;
    double sum = 0;
    for (size_t e = 0; e < l->pairs.n_elem; e++)
        sum += space->p[e] * l->overlap[e];
    *charge = sum;
    if (nh_grid_density(l->basis, space->p, rho, err) != 0) return -1;
    const double held = nh_grid_integral(l->grid, rho);
    if (!(held > 0) || !isfinite(held))
        return nh_fail(err, "the density on the grid holds %g electrons", held);
    const double scale = l->n_electron / held;
    for (size_t i = 0; i < l->grid->n_point; i++)
        rho[i] *= scale;
    return 0;
}

int nh_scf_matrix(const nh_scf_task *task, nh_scf_space *space, const double *rho, nh_density_energies *e,
                  nh_error *err)
{
    const nh_lcao *const l = task->lcao;
    if (nh_lcao_potential(l, rho, space->v, e, err) != 0) return -1;
    for (size_t i = 0; i < l->grid->n_point; i++)
        space->v[i] += l->local[i];
    return nh_grid_matrix(l->basis, space->v, space->matrix, err);
}

int nh_scf_symmetric(const nh_lcao *l, const double *h, double **out, nh_error *err)
{
    const size_t numbers = 2 * (size_t)l->n_spin * l->pairs.n_elem;
    double *const copy = NH_ARRAY(double, numbers);
    *out = NULL;
    if (copy == NULL) return nh_fail_memory(err, "the Hamiltonian");
    memcpy(copy, h, numbers * sizeof *copy);
    const nh_graph g = {.structure = l->structure, .pairs = l->pairs, .n_spin = l->n_spin};
    if (nh_hermitize(&g, copy, err) != 0) {
        free(copy);
        return -1;
    }
    nh_time_reversal_average(&g, copy);
    *out = copy;
    return 0;
}

double nh_scf_distance(const nh_lcao *l, const double *a, const double *b)
{
    double sum = 0;
    for (size_t i = 0; i < l->grid->n_point; i++)
        sum += fabs(a[i] - b[i]);
    return sum * l->grid->volume / ((double)l->grid->n_point * l->n_electron);
}

/* --- the loop */

typedef struct loop {
    const nh_scf_task *task;
    nh_scf_space space;
    nh_states *states;
    nh_mixing *mixing;
    double *g2, *weight;      /* [box] of the mixing */
    double complex *in, *out; /* [box] */
    double *rho_out;          /* [n_point] */
    double ewald, best;
} loop;

/* |G|^2 of the whole box, half of the vectors, and how many each stands for. */
static void fill_box(const nh_grid *g, double *g2, double *weight)
{
    const double *const b = g->reciprocal;
    const size_t half = g->n[2] / 2 + 1;
    size_t at = 0;
    for (size_t i = 0; i < g->n[0]; i++)
        for (size_t j = 0; j < g->n[1]; j++)
            for (size_t l = 0; l < half; l++, at++) {
                const double h[3] = {(double)i - (2 * i > g->n[0] ? (double)g->n[0] : 0),
                                     (double)j - (2 * j > g->n[1] ? (double)g->n[1] : 0), (double)l};
                double sum = 0;
                for (int c = 0; c < 3; c++) {
                    const double x = h[0] * b[c] + h[1] * b[3 + c] + h[2] * b[6 + c];
                    sum += x * x;
                }
                g2[at] = sum;
                weight[at] = l == 0 || 2 * l == g->n[2] ? 1 : 2;
            }
}

static int prepare(const nh_scf_task *task, loop *w, nh_scf_result *out, nh_error *err)
{
    const nh_lcao *const l = task->lcao;
    const size_t box = nh_grid_box_size(l->grid), n_point = l->grid->n_point;
    w->task = task;
    w->best = INFINITY;
    if (task->max_iterations == 0) return nh_fail(err, "self-consistent loop: at least 1 iteration expected");
    if (nh_scf_space_new(task, &w->space, err) != 0) return -1;
    w->g2 = NH_ARRAY(double, box);
    w->weight = NH_ARRAY(double, box);
    w->in = nh_calloc_aligned(box, sizeof *w->in);
    w->out = nh_calloc_aligned(box, sizeof *w->out);
    w->rho_out = nh_calloc_aligned(n_point, sizeof *w->rho_out);
    out->rho = nh_calloc_aligned(n_point, sizeof *out->rho);
    out->step = NH_ARRAY(nh_scf_step, task->max_iterations + 1);
    out->h = NH_ARRAY(double, 2 * (size_t)l->n_spin * l->pairs.n_elem);
    if (!w->g2 || !w->weight || !w->in || !w->out || !w->rho_out || !out->rho || !out->step || !out->h)
        return nh_fail_memory(err, "the self-consistent loop");
    fill_box(l->grid, w->g2, w->weight);
    const nh_mixing_task m = {.n = box,
                              .g2 = w->g2,
                              .weight = w->weight,
                              .history = task->history,
                              .beta = task->mixing,
                              .kerker = task->kerker};
    return nh_mixing_new(&m, &w->mixing, err) || nh_scf_states(task, &w->space, l->fixed, &w->states, err) ||
                   nh_ewald(&l->structure, l->species, &w->ewald, err)
               ? -1
               : 0;
}

static void loop_free(loop *w)
{
    nh_scf_space_free(&w->space);
    nh_states_free(w->states);
    nh_mixing_free(w->mixing);
    free(w->g2);
    free(w->weight);
    free(w->in);
    free(w->out);
    free(w->rho_out);
}

static void keep_step(const nh_scf_task *task, nh_scf_result *out, const nh_scf_step *step)
{
    out->step[out->n_step++] = *step;
    if (task->log) task->log(task->context, out->n_step, step);
}

/* The density that the loop begins with: superposed atoms, or that of a Hamiltonian, which counts as an iteration. */
static int begin(loop *w, nh_scf_result *out, nh_error *err)
{
    const nh_scf_task *const task = w->task;
    const nh_lcao *const l = task->lcao;
    if (task->start == NULL) {
        memcpy(out->rho, l->rho0, l->grid->n_point * sizeof *out->rho);
        return 0;
    }
    const double since = nh_seconds();
    double *h;
    nh_states *states = NULL;
    if (nh_scf_symmetric(l, task->start, &h, err) != 0) return -1;
    int status = nh_scf_states(task, &w->space, h, &states, err);
    if (status == 0) status = nh_states_solve(states, NULL, err);
    if (status == 0) status = nh_scf_density(task, &w->space, states, out->rho, &out->charge, err);
    if (status == 0) {
        const nh_scf_step step = {
            .drho = NAN, .energy = NAN, .efermi = nh_states_fermi(states), .seconds = nh_seconds() - since};
        keep_step(task, out, &step);
    }
    nh_states_free(states);
    free(h);
    return status;
}

/* H of out->rho, its states, their density in w->rho_out. */
static int iterate(loop *w, nh_scf_result *out, nh_error *err)
{
    const nh_scf_task *const task = w->task;
    const double since = nh_seconds();
    nh_density_energies d;
    if (nh_scf_matrix(task, &w->space, out->rho, &d, err) ||
        nh_states_solve(w->states, w->space.matrix, err) ||
        nh_scf_density(task, &w->space, w->states, w->rho_out, &out->charge, err))
        return -1;
    out->efermi = nh_states_fermi(w->states);
    nh_scf_energies *const e = &out->energy;
    e->band = nh_states_band_energy(w->states);
    e->one_electron = e->band - d.v_rho;
    e->hartree = d.hartree;
    e->xc = d.xc;
    e->ewald = w->ewald;
    e->entropy = nh_states_entropy(w->states);
    e->total = e->one_electron + e->hartree + e->xc + e->ewald + e->entropy;
    const nh_scf_step step = {.drho = nh_scf_distance(task->lcao, w->rho_out, out->rho),
                              .energy = e->total,
                              .efermi = out->efermi,
                              .seconds = nh_seconds() - since};
    if (!isfinite(step.drho) || !isfinite(step.energy))
        return nh_fail(err, "self-consistent loop: iteration %zu is not finite", out->n_step + 1);
    keep_step(task, out, &step);
    return 0;
}

/* The next density in out->rho. */
static int mix(loop *w, nh_scf_result *out, nh_error *err)
{
    enum { MUCH = 20 }; /* a residual so many times the best one says that the history misleads */
    const nh_grid *const g = w->task->lcao->grid;
    const double drho = out->step[out->n_step - 1].drho;
    if (drho > MUCH * w->best) nh_mixing_forget(w->mixing);
    w->best = fmin(w->best, drho);
    nh_grid_to_box(g, out->rho, w->in);
    nh_grid_to_box(g, w->rho_out, w->out);
    if (nh_mixing_step(w->mixing, w->in, w->out, err) != 0) return -1;
    nh_grid_from_box(g, w->in, out->rho);
    return 0;
}

/* What the last iteration leaves: H, bands. */
static int finish(loop *w, nh_scf_result *out, nh_error *err)
{
    const nh_lcao *const l = w->task->lcao;
    const size_t n_elem = l->pairs.n_elem, n_band = nh_states_bands(w->states);
    memcpy(out->h, l->fixed, 2 * (size_t)l->n_spin * n_elem * sizeof *out->h);
    for (int s = 0; s < l->n_spin; s += 3)
        for (size_t e = 0; e < n_elem; e++)
            out->h[2 * ((size_t)s * n_elem + e)] += w->space.matrix[e];
    out->band = NH_ARRAY(double, w->space.n_k *n_band);
    if (out->band == NULL) return nh_fail_memory(err, "bands");
    memcpy(out->band, nh_states_energy(w->states), w->space.n_k * n_band * sizeof *out->band);
    out->n_k = w->space.n_k;
    out->n_band = n_band;
    out->k = w->space.k;
    out->weight = w->space.weight;
    w->space.k = w->space.weight = NULL;
    return 0;
}

int nh_scf(const nh_scf_task *task, nh_scf_result *out, nh_error *err)
{
    loop w = {0};
    *out = (nh_scf_result){0};
    int status = prepare(task, &w, out, err);
    if (status == 0) status = begin(&w, out, err);
    for (size_t i = 0; i < task->max_iterations && status == 0; i++) {
        status = iterate(&w, out, err);
        if (status != 0) break;
        out->converged = out->step[out->n_step - 1].drho < task->threshold;
        if (out->converged || i + 1 == task->max_iterations) break;
        status = mix(&w, out, err);
    }
    if (status == 0) status = finish(&w, out, err);
    loop_free(&w);
    if (status != 0) nh_scf_result_free(out);
    return status;
}

void nh_scf_result_free(nh_scf_result *r)
{
    free(r->step);
    free(r->h);
    free(r->rho);
    free(r->k);
    free(r->weight);
    free(r->band);
    *r = (nh_scf_result){0};
}
