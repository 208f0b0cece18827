/* optcond - optical conductivity and dielectric function of a Hamiltonian. */
#include "base/memory.h"
#include "base/outfile.h"
#include "base/progress.h"
#include "base/ranks.h"
#include "crystal/lattice.h"
#include "formats/netcdf/operators.h"
#include "formats/report/optics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const FORMATS[] = {"columns", "json", "gnuplot", NULL};
static const char *const BROADENINGS[] = {"lorentzian", "gaussian", NULL};
static const double HERMITIAN_WITHIN = 1e-6 * NH_RYDBERG;
enum { MOST_ENERGIES = 1000000 };

typedef struct arguments {
    nh_list matrices;
    int mesh[3], broadening, component, format;
    bool has_mesh, gamma, has_efermi, has_nelec, with_position, drude, has_drude_eta, has_picture;
    double energy[2], step, eta, adaptive, temperature, degenerate, efermi, nelec, drude_eta;
    const char *picture, *title;
} arguments;

typedef struct job {
    const arguments *a;
    const nh_program *program;
    const nh_common *common;
    nh_ranks ranks;
    nh_operators operators;
    nh_kpoints k;
    size_t n_energy, n_curve;
    double *energy;
    nh_matrix matrix[NH_N_MATRIX];
    nh_optics_curve curve[NH_N_MATRIX];
} job;

static void job_free(job *j)
{
    for (size_t i = 0; i < j->n_curve; i++)
        nh_optics_free(&j->curve[i].optics);
    free(j->energy);
    nh_kpoints_free(&j->k);
    nh_operators_close(&j->operators);
}

/* Longest step between neighbours of the mesh, 1/Å. */
static int mesh_spacing(const job *j, double *spacing, nh_error *err)
{
    double b[9];
    if (nh_reciprocal(j->operators.graph->structure.lattice, b, err) != 0) return -1;
    *spacing = 0;
    for (size_t x = 0; x < 3; x++) {
        const double *v = b + 3 * x, length = sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
        if (j->a->mesh[x] > 1) *spacing = fmax(*spacing, length / j->a->mesh[x]);
    }
    return 0;
}

static int fill(const job *j, const nh_bands *b, nh_optics_curve *c, nh_filling *f, nh_error *err)
{
    const arguments *a = j->a;
    const char *name = nh_nc_name(j->operators.file);
    *f = (nh_filling){a->efermi, NH_BOLTZMANN * a->temperature};
    c->nelec = a->has_nelec ? a->nelec : j->operators.electrons.nelec;
    c->mu_from = a->has_efermi ? "--efermi" : "fills the mesh";
    if (!a->has_efermi) {
        if (!(c->nelec > 0))
            return nh_fail(err, "%s: no number of electrons (attribute nelec): give --nelec or --efermi",
                           name);
        if (nh_filling_find(b, c->nelec, f->kt, f, err) != 0) return nh_fail_at(err, "%s", name);
    }
    c->mu = f->mu;
    if (nh_optics_rows(b, f) == 0)
        return nh_fail(err, "%s: no state holds an electron at a chemical potential of %g eV", name, f->mu);
    return 0;
}

static void remark(const job *j, const nh_optics_curve *c)
{
    const nh_optics *o = &c->optics;
    const double last = j->energy[j->n_energy - 1];
    if (j->ranks.rank != 0) return;
    if (!j->common->quiet)
        fprintf(stderr,
                "%s: %s: mu %.4f eV; f-sum: %.3f electrons between bands, %.3f at the Fermi surface, of %g; "
                "lowest "
                "transition %.4g eV\n",
                j->program->name, c->name, c->mu, (o->effective[0] + o->effective[1] + o->effective[2]) / 3,
                (o->drude_electrons[0] + o->drude_electrons[1] + o->drude_electrons[2]) / 3, c->nelec,
                o->lowest);
    if (!(o->lowest <= last))
        nh_warn(j->program, j->common,
                "%s: no transition up to %g eV: the table holds tails of the broadening only", c->name, last);
    if (o->spread > 2 * j->a->eta && j->a->adaptive == 0)
        nh_warn(j->program, j->common,
                "%s: the mesh is coarse for eta = %g eV: transitions move by %.2g eV on average from a "
                "k-point to the "
                "next (--mesh, --eta or --adaptive)",
                c->name, j->a->eta, o->spread);
    if (!j->a->drude && o->drude[0] + o->drude[4] + o->drude[8] > 1e-2)
        nh_warn(
            j->program, j->common,
            "%s: the Fermi surface has a Drude weight of (%.3f eV)^2, which is not in the table (--drude)",
            c->name, sqrt((o->drude[0] + o->drude[4] + o->drude[8]) / 3));
}

static int compute(job *j, nh_matrix m, nh_optics_curve *c, nh_error *err)
{
    const arguments *a = j->a;
    nh_operators *q = &j->operators;
    nh_bands bands;
    if (nh_operators_choose(q, m, err) != 0) return -1;
    const char *file = nh_nc_name(q->file);
    if (q->anti > HERMITIAN_WITHIN && j->ranks.rank == 0)
        nh_warn(j->program, j->common, "%s: %s is not Hermitian; what is left out is up to %.3e eV", file,
                nh_matrix_name(m), q->anti);
    nh_optics_task t = {.name = file,
                        .fourier = q->fourier,
                        .velocity = q->velocity,
                        .k = &j->k,
                        .volume = fabs(nh_lattice_volume(q->graph->structure.lattice)),
                        .electrons_per_band = q->electrons.electrons_per_band,
                        .n_energy = j->n_energy,
                        .energy = j->energy,
                        .eta = a->eta,
                        .broadening = (nh_broadening)a->broadening,
                        .adaptive = a->adaptive,
                        .degenerate = a->degenerate,
                        .threads = j->common->threads,
                        .ranks = &j->ranks};
    const bool quiet = j->common->quiet || j->ranks.rank != 0;
    nh_sweep energies = {.name = file, .fourier = q->fourier, .threads = t.threads, .ranks = t.ranks};
    energies.progress = nh_progress_start(j->program->name, "k-points (energies)", j->k.count, quiet);
    int status = nh_sweep_energies(&energies, &j->k, &bands, err);
    nh_progress_end(energies.progress);
    if (status != 0) return -1;
    bands.electrons_per_band = t.electrons_per_band;
    status = fill(j, &bands, c, &t.filling, err);
    if (status == 0) status = mesh_spacing(j, &t.spacing, err);
    t.rows = status == 0 ? nh_optics_rows(&bands, &t.filling) : 0;
    nh_bands_free(&bands);
    if (status != 0) return -1;
    t.progress = nh_progress_start(j->program->name, "k-points", j->k.count, quiet);
    status = nh_optics_new(&t, &c->optics, err);
    nh_progress_end(t.progress);
    if (status != 0) return -1;
    remark(j, c);
    if (a->drude) nh_optics_add_drude(&c->optics, j->energy, a->has_drude_eta ? a->drude_eta : a->eta);
    return 0;
}

static int make_energies(job *j, nh_error *err)
{
    const double *e = j->a->energy, n = floor((e[1] - e[0]) / j->a->step + 1e-9) + 1;
    if (!(n <= MOST_ENERGIES))
        return nh_fail(err, "--energy %g:%g in steps of %g eV: more than %d rows", e[0], e[1], j->a->step,
                       MOST_ENERGIES);
    j->n_energy = (size_t)n;
    j->energy = NH_ARRAY(double, j->n_energy);
    if (j->energy == NULL) return nh_fail_memory(err, "photon energies");
    for (size_t i = 0; i < j->n_energy; i++)
        j->energy[i] = e[0] + (double)i * j->a->step;
    return 0;
}

static int write_all(const job *j, nh_error *err)
{
    const arguments *a = j->a;
    nh_outfile *o = NULL;
    const nh_optics_plot p = {
        .title = a->title != NULL ? a->title : j->operators.electrons.title,
        .n_curve = j->n_curve,
        .curve = j->curve,
        .energy = j->energy,
        .eta = a->eta,
        .exact = a->broadening == NH_LORENTZIAN && a->adaptive == 0 && !a->has_drude_eta,
        .component = a->component,
        .mesh = a->mesh,
        .broadening = a->adaptive > 0 ? a->broadening == NH_LORENTZIAN ? "adaptive Lorentzians, at least"
                                                                       : "adaptive Gaussians, at least"
                      : a->broadening == NH_LORENTZIAN ? "Lorentzians"
                                                       : "Gaussians",
        .position =
            a->with_position ? "position_matrix of the file" : "the middle of two atoms (--no-position)",
        .temperature = a->temperature,
        .drude = a->drude,
        .picture = a->picture};
    if (nh_outfile_begin(j->common->output, &o, err) != 0) return -1;
    FILE *out = nh_outfile_stream(o, err);
    if (out == NULL) {
        nh_outfile_abort(o);
        return -1;
    }
    nh_optics_write(out, &p, (nh_optics_format)a->format);
    return nh_outfile_commit(o, err);
}

static int run(job *j, nh_error *err)
{
    const arguments *a = j->a;
    unsigned want = 0;
    for (size_t i = 0; i < j->n_curve; i++)
        want |= 1u << j->matrix[i];
    if (nh_ranks_begin(&j->ranks, err) != 0 ||
        nh_operators_open(nh_input(j->common), want, a->with_position, &j->operators, err) != 0 ||
        nh_kpoints_mesh(a->mesh, a->gamma, (const double[3]){0}, &j->k, err) != 0 ||
        make_energies(j, err) != 0)
        return -1;
    if (!a->with_position && j->ranks.rank == 0)
        nh_warn(j->program, j->common,
                "--no-position: r between two orbitals is the middle of their atoms: dipoles within atoms "
                "and bonds "
                "are left out: right for models, worthless in the basis of a DFT code");
    for (size_t i = 0; i < j->n_curve; i++) {
        j->curve[i].name = nh_matrix_name(j->matrix[i]);
        if (compute(j, j->matrix[i], &j->curve[i], err) != 0) return -1;
    }
    return j->ranks.rank == 0 ? write_all(j, err) : 0;
}

/* The matrices by name, in the order given. */
static int choose_matrices(const arguments *a, job *j, nh_error *err)
{
    if (a->matrices.count > NH_N_MATRIX) return nh_fail(err, "--matrix: each at most once");
    for (size_t i = 0; i < a->matrices.count; i++) {
        if (nh_matrix_from_name(a->matrices.item[i], &j->matrix[i], err) != 0)
            return nh_fail_at(err, "--matrix");
        for (size_t x = 0; x < i; x++)
            if (j->matrix[x] == j->matrix[i])
                return nh_fail(err, "--matrix: %s is there twice", a->matrices.item[i]);
    }
    j->n_curve = a->matrices.count;
    if (j->n_curve == 0) j->matrix[j->n_curve++] = NH_H_PRED;
    return 0;
}

static int check_arguments(const arguments *a, nh_error *err)
{
    if (!a->has_mesh) return nh_fail(err, "--mesh expected");
    for (int x = 0; x < 3; x++)
        if (a->mesh[x] < 1)
            return nh_fail(err, "--mesh: three positive numbers expected, found %d %d %d", a->mesh[0],
                           a->mesh[1], a->mesh[2]);
    if (!(a->step > 0)) return nh_fail(err, "--step: a positive number expected, found %g", a->step);
    if (!(a->energy[0] >= 0) || !isfinite(a->energy[1]))
        return nh_fail(err, "--energy: photon energies from 0 on expected, found %g:%g", a->energy[0],
                       a->energy[1]);
    if (!(a->eta > 0)) return nh_fail(err, "--eta: a positive number expected, found %g", a->eta);
    if (!(a->adaptive >= 0))
        return nh_fail(err, "--adaptive: a number above zero expected, found %g", a->adaptive);
    if (!(a->degenerate > 0))
        return nh_fail(err, "--degenerate: a positive number expected, found %g", a->degenerate);
    if (!(a->temperature > 0))
        return nh_fail(err, "--temperature: a positive number expected, found %g", a->temperature);
    if (a->has_efermi && a->has_nelec) return nh_fail(err, "--efermi or --nelec expected, found both");
    if (a->has_nelec && !(a->nelec > 0))
        return nh_fail(err, "--nelec: a positive number expected, found %g", a->nelec);
    if (a->has_drude_eta && (!a->drude || !(a->drude_eta > 0)))
        return nh_fail(err, "--drude-eta: a positive number beside --drude expected");
    if (a->has_picture && a->format != NH_OPTICS_GNUPLOT)
        return nh_fail(err, "--picture belongs to --format gnuplot");
    if (a->format == NH_OPTICS_GNUPLOT && strcmp(nh_optics_components[a->component], "all") == 0)
        return nh_fail(err, "--component all: a picture has one component");
    return 0;
}

int main(int argc, char **argv)
{
    arguments a = {.energy = {0, 10},
                   .step = 0.02,
                   .eta = 0.1,
                   .temperature = 300,
                   .degenerate = 1e-4,
                   .with_position = true,
                   .picture = "optcond.png"};
    const nh_option options[] = {
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "Hamiltonian and k-points"},
        {NH_OPT_LIST, 0, "matrix", "NAME", &a.matrices, NULL, NULL,
         "h_pred, h0 or h_label; repeatable: one after another in the same table or picture [h_pred]"},
        {NH_OPT_INTS3, 0, "mesh", "N1 N2 N3", a.mesh, NULL, &a.has_mesh,
         "Monkhorst-Pack mesh, by ABACUS's formula"},
        {NH_OPT_FLAG, 0, "gamma", NULL, &a.gamma, NULL, NULL, "--mesh: centred at Gamma"},
        {NH_OPT_UNSET, 0, "no-position", NULL, &a.with_position, NULL, NULL,
         "the middle of the two atoms in place of the position matrix: for models of point-like orbitals "
         "only"},
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "Electrons"},
        {NH_OPT_REAL, 0, "efermi", "E", &a.efermi, NULL, &a.has_efermi,
         "chemical potential, eV, on the scale of the Hamiltonian [the file's electrons fill the mesh]"},
        {NH_OPT_REAL, 0, "nelec", "N", &a.nelec, NULL, &a.has_nelec, "electrons of the cell [from the file]"},
        {NH_OPT_REAL, 0, "temperature", "KELVIN", &a.temperature, NULL, NULL, "of the Fermi function [300]"},
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "Spectrum"},
        {NH_OPT_RANGE, 0, "energy", "LO:HI", a.energy, NULL, NULL, "photon energies, eV [0:10]"},
        {NH_OPT_REAL, 0, "step", "E", &a.step, NULL, NULL, "between them, eV [0.02]"},
        {NH_OPT_REAL, 0, "eta", "E", &a.eta, NULL, NULL,
         "broadening, eV: half width of a Lorentzian; exp(-(E/eta)^2) [0.1]"},
        {NH_OPT_CHOICE, 0, "broadening", NULL, &a.broadening, BROADENINGS, NULL,
         "shape of a line [lorentzian]"},
        {NH_OPT_REAL, 0, "adaptive", "X", &a.adaptive, NULL, NULL,
         "broaden each transition by X times the change of its energy between neighbouring k-points, where "
         "that is more "
         "than --eta [0: all by --eta]"},
        {NH_OPT_REAL, 0, "degenerate", "E", &a.degenerate, NULL, NULL,
         "states within E eV of each other count as one level: what is between them belongs to the Drude "
         "term [1e-4]"},
        {NH_OPT_FLAG, 0, "drude", NULL, &a.drude, NULL, NULL, "add the Drude term of the Fermi surface"},
        {NH_OPT_REAL, 0, "drude-eta", "E", &a.drude_eta, NULL, &a.has_drude_eta, "its width, eV [--eta]"},
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "Output"},
        {NH_OPT_CHOICE, 0, "component", NULL, &a.component, nh_optics_components, NULL,
         "of the tensor; mean: of xx, yy, zz; all: sigma alone, all nine [mean]"},
        {NH_OPT_CHOICE, 0, "format", NULL, &a.format, FORMATS, NULL,
         "a table, JSON with all components, or a script for gnuplot [columns]"},
        {NH_OPT_STRING, 0, "title", "TEXT", (void *)&a.title, NULL, NULL, "title [from the file]"},
        {NH_OPT_STRING, 0, "picture", "FILE", (void *)&a.picture, NULL, &a.has_picture,
         "picture that the gnuplot script makes, .png, .svg or .pdf [optcond.png]"},
    };
    static const char *const synopsis[] = {
        "--mesh N1 N2 N3 [--matrix h_pred|h0|h_label]... [--energy LO:HI] [--eta E] [-o TABLE] [ham.nc]",
        NULL};
    const nh_program program = {
        .name = "optcond",
        .summary = "optical conductivity of a Hamiltonian, its dielectric function and absorption",
        .synopsis = synopsis,
        .description = "Kubo-Greenwood conductivity of independent electrons, sigma(E) in S/m (1 S/cm = 100 "
                       "S/m), from the velocities of "
                       "all states on a mesh, and from it the dielectric function 1 + i sigma/(eps0 omega), "
                       "refractive index n + i "
                       "kappa, absorption coefficient (1/cm) and reflectivity. No excitons, no local fields, "
                       "no scissors.\n\n"
                       "Velocities need the position operator between the orbitals: graph.nc of h0build "
                       "--position, or what nhinfer and "
                       "nhscf made of it. docs/physics.md has the formulas.\n\n"
                       "What the Fermi surface of a metal contributes, its Drude weight, is printed apart, "
                       "as the square of a plasma "
                       "frequency, and added with --drude only. The f-sum rule is printed in electrons: "
                       "those of the transitions and "
                       "those at the Fermi surface together are the valence electrons if the basis were "
                       "complete and the potential "
                       "local.\n\n"
                       "With mpirun the k-points are shared among the processes.",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .max_inputs = 1,
        .computes = true,
        .example = "h0build --position --pseudo-dir pseudo --orbital-dir orbital POSCAR | nhinfer -m "
                   "pipelines/model.nc -o ham.nc\n"
                   "optcond --mesh 12 12 12 ham.nc > optcond.tsv\n"
                   "optcond --mesh 12 12 12 --matrix h0 --matrix h_pred --format gnuplot ham.nc | gnuplot",
        .see_also = "h0build(1), nhinfer(1), berry(1), gnuplot(1)",
    };
    nh_common common;
    nh_error err;
    int status = nh_parse(&program, argc, argv, &common);
    if (status >= 0) return status;
    job j = {.a = &a, .program = &program, .common = &common, .ranks = {0, 1, 0}};
    if (check_arguments(&a, &err) != 0 || choose_matrices(&a, &j, &err) != 0) {
        nh_report(&program, &err);
        status = 2;
    } else if ((status = run(&j, &err)) != 0) {
        status = nh_report(&program, &err);
        nh_ranks_abort(&j.ranks, status); /* others may wait for this process */
    }
    if (status != 2) nh_ranks_end(&j.ranks);
    job_free(&j);
    nh_list_free(&a.matrices);
    nh_common_free(&common);
    return status;
}
