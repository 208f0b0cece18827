#include "formats/netcdf/scf.h"

#include "base/memory.h"
#include "crystal/graph.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define DIMS(...) ((const char *const[]){__VA_ARGS__})

const char *const nh_scf_variables[] = {"scf_drho",   "scf_energy", "scf_efermi", "scf_kpoint",
                                        "scf_weight", "scf_band",   NULL},
                  *const nh_scf_check_variables[] = {"check_kpoint", "check_band", "check_band_error", NULL};

/* A variable of `count` numbers times `factor`. */
static int put(nh_nc *f, const char *name, size_t n_dims, const char *const *dims, const char *units,
               const char *text, size_t count, const double *from, double factor, nh_error *err)
{
    double *const scaled = NH_ARRAY(double, count);
    if (scaled == NULL) return nh_fail_memory(err, name);
    for (size_t i = 0; i < count; i++)
        scaled[i] = from[i] * factor;
    const int status = nh_nc_def_var(f, name, NC_DOUBLE, n_dims, dims, NULL, units, text, err) ||
                               nh_nc_put_double(f, name, scaled, err)
                           ? -1
                           : 0;
    free(scaled);
    return status;
}

/* Attributes PREFIX_mesh, PREFIX_smearing. */
static int put_settings(nh_nc *f, const char *prefix, const nh_scf_task *task, nh_error *err)
{
    char name[64], mesh[64];
    snprintf(mesh, sizeof mesh, "%d %d %d", task->mesh[0], task->mesh[1], task->mesh[2]);
    snprintf(name, sizeof name, "%s_mesh", prefix);
    if (nh_nc_set_text(f, name, mesh, err) != 0) return -1;
    snprintf(name, sizeof name, "%s_smearing", prefix);
    return nh_nc_set_double(f, name, task->smearing * NH_RYDBERG, err);
}

static int put_energies(nh_nc *f, const nh_scf_energies *e, nh_error *err)
{
    const struct {
        const char *name;
        double value;
    } terms[] = {
        {"energy_total", e->total},     {"energy_band", e->band}, {"energy_one_electron", e->one_electron},
        {"energy_hartree", e->hartree}, {"energy_xc", e->xc},     {"energy_ewald", e->ewald},
        {"energy_entropy", e->entropy}};
    for (size_t i = 0; i < sizeof terms / sizeof *terms; i++)
        if (nh_nc_set_double(f, terms[i].name, terms[i].value * NH_RYDBERG, err) != 0) return -1;
    return 0;
}

static int put_steps(nh_nc *f, const nh_scf_result *r, nh_error *err)
{
    double *const row = NH_ARRAY(double, 3 * r->n_step);
    if (row == NULL) return nh_fail_memory(err, "iterations");
    for (size_t i = 0; i < r->n_step; i++) {
        row[i] = r->step[i].drho;
        row[r->n_step + i] = r->step[i].energy;
        row[2 * r->n_step + i] = r->step[i].efermi;
    }
    const char *const *const dims = DIMS("scf_iteration");
    const int status =
        nh_nc_def_dim(f, "scf_iteration", r->n_step, err) ||
                put(f, "scf_drho", 1, dims, "1", "|rho_out - rho_in| per electron", r->n_step, row, 1, err) ||
                put(f, "scf_energy", 1, dims, "eV", "total energy", r->n_step, row + r->n_step, NH_RYDBERG,
                    err) ||
                put(f, "scf_efermi", 1, dims, "eV", "Fermi level", r->n_step, row + 2 * r->n_step, NH_RYDBERG,
                    err)
            ? -1
            : 0;
    free(row);
    return status;
}

/* Lowest empty minus highest occupied energy on the mesh; 0 where bands overlap or one is half filled. */
static double gap_of(const nh_scf_task *task, const nh_scf_result *r)
{
    const double full = task->lcao->n_electron / (task->lcao->n_spin == 4 ? 1 : 2);
    if (full < 1 || full + 1 > (double)r->n_band || fabs(full - rint(full)) > 1e-6) return 0;
    const size_t n = (size_t)rint(full);
    double top = -INFINITY, bottom = INFINITY;
    for (size_t k = 0; k < r->n_k; k++) {
        top = fmax(top, r->band[k * r->n_band + n - 1]);
        bottom = fmin(bottom, r->band[k * r->n_band + n]);
    }
    return fmax(0, bottom - top);
}

int nh_scf_put(nh_nc *f, const nh_scf_task *task, const nh_scf_result *r, nh_error *err)
{
    const double drho = r->step[r->n_step - 1].drho;
    if (put_settings(f, "scf", task, err) || nh_nc_set_double(f, "converged", r->converged ? 1 : 0, err) ||
        nh_nc_set_double(f, "scf_threshold", task->threshold, err) ||
        nh_nc_set_double(f, "scf_residual", drho, err) ||
        nh_nc_set_double(f, "gap", gap_of(task, r) * NH_RYDBERG, err) || put_energies(f, &r->energy, err) ||
        put_steps(f, r, err))
        return -1;
    return nh_nc_def_dim(f, "xyz", 3, err) || nh_nc_def_dim(f, "scf_k", r->n_k, err) ||
                   nh_nc_def_dim(f, "scf_state", r->n_band, err) ||
                   put(f, "scf_kpoint", 2, DIMS("scf_k", "xyz"), "1", "fractional; of k and -k one",
                       3 * r->n_k, r->k, 1, err) ||
                   put(f, "scf_weight", 1, DIMS("scf_k"), "1", "weights, sum 1", r->n_k, r->weight, 1, err) ||
                   put(f, "scf_band", 2, DIMS("scf_k", "scf_state"), "eV", "energies of the last iteration",
                       r->n_k * r->n_band, r->band, NH_RYDBERG, err)
               ? -1
               : 0;
}

int nh_scf_check_put(nh_nc *f, const nh_scf_task *task, const char *matrix, const nh_scf_check *c,
                     nh_error *err)
{
    if (put_settings(f, "check", task, err) || nh_nc_set_text(f, "check_matrix", matrix, err) ||
        nh_nc_set_double(f, "check_gauge_mae", c->gauge_mae, err) ||
        nh_nc_set_double(f, "check_drho", c->drho, err) ||
        nh_nc_set_double(f, "check_band_energy", c->band_energy, err) ||
        nh_nc_set_double(f, "check_shift", c->shift, err) ||
        nh_nc_set_double(f, "check_mean_band_error", c->mean_band_error, err) ||
        nh_nc_set_double(f, "check_efermi", c->efermi, err))
        return -1;
    return nh_nc_def_dim(f, "xyz", 3, err) || nh_nc_def_dim(f, "check_k", c->n_k, err) ||
                   nh_nc_def_dim(f, "check_state", c->n_band, err) ||
                   put(f, "check_kpoint", 2, DIMS("check_k", "xyz"), "1", "fractional; of k and -k one",
                       3 * c->n_k, c->k, 1, err) ||
                   put(f, "check_band", 2, DIMS("check_k", "check_state"), "eV",
                       "energies of the Hamiltonian", c->n_k * c->n_band, c->band, 1, err) ||
                   put(f, "check_band_error", 2, DIMS("check_k", "check_state"), "eV",
                       "first-order change of each towards the Hamiltonian of its density",
                       c->n_k * c->n_band, c->band_error, 1, err)
               ? -1
               : 0;
}
