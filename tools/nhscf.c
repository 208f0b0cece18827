/* nhscf - the self-consistent Hamiltonian of a crystal, or how far a given one is from it (docs/scf.md). */
#include "base/memory.h"
#include "base/options.h"
#include "base/ranks.h"
#include "base/threads.h"
#include "device/choice.h"
#include "device/device.h"
#include "formats/netcdf/graph.h"
#include "formats/netcdf/scf.h"
#include "formats/pseudo/library.h"
#include "lcao/align.h"
#include "lcao/bloch.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NOT_CONVERGED = 3 }; /* exit status */
static const char *const MATRIX_NAMES[] = {"h0", "h_pred", "h_label", NULL};
static const nh_matrix MATRICES[] = {NH_H0, NH_H_PRED, NH_H_LABEL};

typedef struct arguments {
    bool check, json, has_start, has_mesh, has_ecut;
    int start, mesh[3], iterations, history, precision;
    double smearing, threshold, mixing, kerker, ecut, memory;
    nh_library library;
    nh_checked device;
} arguments;

/* A run: the file, the crystal in its orbitals, and where the pairs of the file are among those of the crystal. */
typedef struct job {
    const nh_program *program;
    const arguments *a;
    const nh_common *common;
    nh_ranks
        ranks; /* processes that share the k-points; the first one reads no more than the others, but writes and talks */
    nh_nc *in;
    nh_graph *g;
    nh_threads *threads;
    nh_device *device; /* of the grid; NULL: the CPU */
    nh_species *species;
    double ecut; /* Ry */
    nh_lcao *l;
    nh_graph *own; /* of l: overlap, h0 */
    size_t *index; /* [g->pairs.count] */
    bool same;     /* the pairs of the file are those of l, one by one */
    nh_scf_task task;
} job;

static void job_free(job *j)
{
    nh_graph_free(j->own);
    nh_lcao_free(j->l);
    nh_device_close(j->device);
    if (j->species != NULL) nh_species_free(j->species, j->g->structure.n_species);
    free(j->species);
    nh_graph_free(j->g);
    nh_threads_free(j->threads);
    nh_nc_close(j->in);
    free(j->index);
}

static nh_matrix start_matrix(const arguments *a)
{
    return a->has_start ? MATRICES[a->start] : a->check ? NH_H_PRED : NH_H0;
}

static int read_input(job *j, nh_error *err)
{
    static const unsigned want[NH_N_MATRIX] = {
        [NH_H0] = NH_WANT_H0, [NH_H_LABEL] = NH_WANT_LABEL, [NH_H_PRED] = NH_WANT_PRED};
    const arguments *const a = j->a;
    if (j->ranks.count > 1 && strcmp(nh_input(j->common), "-") == 0)
        return nh_fail(err, "several processes cannot read one standard input: the name of a file expected");
    if (nh_nc_open(nh_input(j->common), &j->in, err) != 0) return -1;
    const unsigned start = want[start_matrix(a)];
    if (nh_graph_read(j->in, NH_WANT_H0 | NH_WANT_PRED | NH_WANT_OVERLAP | start, &j->g, err) != 0) return -1;
    /* H0 is made where the file has none; a loop that begins with it begins with the superposed atoms themselves. */
    return start == NH_WANT_H0 ? 0 : nh_graph_require(j->g, nh_nc_name(j->in), start, err);
}

/* The overlap of the file against that of the structure and the orbitals: other files, moved atoms. */
static int verify_overlap(const job *j, nh_error *err)
{
    const double enough = 1e-5; /* float, and files of nine digits, are within 1e-7 */
    double largest;
    size_t where;
    if (j->g->overlap == NULL) return 0;
    if (nh_lcao_compare_overlap(j->l, j->g, j->index, &largest, &where, err) != 0)
        return nh_fail_at(err, "%s: overlap", nh_nc_name(j->in));
    const nh_pair *const p = &j->l->pairs.pair[where];
    if (largest > enough)
        return nh_fail(err,
                       "%s: overlap: differs by %.2e from that of the structure and the orbital files (atoms "
                       "%d, %d, cell %d %d %d): "
                       "other orbitals, or other positions",
                       nh_nc_name(j->in), largest, p->src, p->dst, p->cell[0], p->cell[1], p->cell[2]);
    return 0;
}

/* The files that the graph was made with, where it names them, are those at hand. */
static int verify_names(const job *j, nh_error *err)
{
    static const char *const names[] = {"orbital_hash", "pseudo_hash"};
    int status = 0;
    for (int pseudo = 0; pseudo < 2 && status == 0; pseudo++) {
        char *there = NULL, *const here = nh_library_names(&j->g->structure, j->species, pseudo);
        status = here == NULL ? nh_fail_memory(err, "the names of the basis")
                              : nh_nc_att_text(j->in, names[pseudo], &there, err);
        if (status == 0 && there != NULL && strcmp(here, there) != 0)
            status = nh_fail(err, "made with other %s: %s is \"%s\", of the files here \"%s\"",
                             pseudo ? "pseudopotentials" : "orbitals", names[pseudo], there, here);
        free(there);
        free(here);
    }
    return status;
}

/* What the matrices were made with. */
static int write_names(const job *j, nh_nc *out, nh_error *err)
{
    char *const orbital = nh_library_names(&j->g->structure, j->species, false), *const pseudo =
                                                                                     nh_library_names(
                                                                                         &j->g->structure,
                                                                                         j->species, true);
    const int status = orbital == NULL || pseudo == NULL
                           ? nh_fail_memory(err, "the names of the basis")
                           : nh_nc_set_text(out, "orbital_hash", orbital, err) ||
                                 nh_nc_set_text(out, "pseudo_hash", pseudo, err) ||
                                 nh_nc_set_double(out, "ecut", j->ecut, err);
    free(orbital);
    free(pseudo);
    return status != 0 ? -1 : 0;
}

static int make_crystal(job *j, nh_error *err)
{
    const arguments *const a = j->a;
    nh_library library = a->library;
    library.spin_orbit = j->g->n_spin == 4;
    if (nh_library_read_known(&library, &j->g->structure, &j->species, err) || verify_names(j, err))
        return nh_fail_at(err, "%s", nh_nc_name(j->in));
    const double gigabyte = 1e9;
    j->ecut = a->ecut;
    if (!a->has_ecut && nh_nc_att_double(j->in, "ecut", &j->ecut, err) != 0) return -1;
    const nh_lcao_task task = {.structure = &j->g->structure,
                               .species = j->species,
                               .ecut = j->ecut,
                               .n_spin = j->g->n_spin,
                               .cutoff = j->g->cutoff,
                               .memory = (size_t)(a->memory * gigabyte),
                               .keep = (size_t)(a->memory * gigabyte / 2),
                               .threads = j->threads,
                               .device = j->device};
    if (nh_lcao_new(&task, &j->l, err) != 0) return nh_fail_at(err, "%s", nh_nc_name(j->in));
    j->index = NH_ARRAY(size_t, j->g->pairs.count);
    if (j->index == NULL) return nh_fail_memory(err, "pairs");
    if (nh_lcao_match(j->l, j->g, j->index, err) != 0) return nh_fail_at(err, "%s", nh_nc_name(j->in));
    j->same = j->g->pairs.count == j->l->pairs.count;
    for (size_t p = 0; p < j->g->pairs.count && j->same; p++)
        j->same = j->index[p] == p &&
                  memcmp(j->g->pairs.pair[p].cell, j->l->pairs.pair[p].cell, sizeof(int[3])) == 0;
    return verify_overlap(j, err);
}

/* A matrix of the file in Ry, for the pairs of the crystal; allocated. */
static int aligned(const job *j, nh_matrix m, double **out, nh_error *err)
{
    if (nh_lcao_align(j->l, j->g, j->index, j->g->matrix[m], (size_t)j->l->n_spin, 2, out, err) != 0)
        return nh_fail_at(err, "%s: %s", nh_nc_name(j->in), nh_matrix_name(m));
    for (size_t i = 0; i < 2 * (size_t)j->l->n_spin * j->l->pairs.n_elem; i++)
        (*out)[i] /= j->g->rydberg;
    return 0;
}

/* --- the output */

/* The crystal's own graph with what is known of it, in eV: S and H0 of the file where it has them and its pairs are the
 * same, else made here. */
static int make_graph(job *j, nh_error *err)
{
    if (nh_lcao_graph(j->l, false, &j->own, err) != 0) return -1;
    j->own->rydberg = j->g->rydberg;
    if (j->g->matrix[NH_H_PRED] == NULL || j->same) return 0;
    const size_t numbers = 2 * (size_t)j->l->n_spin * j->l->pairs.n_elem;
    if (aligned(j, NH_H_PRED, &j->own->matrix[NH_H_PRED], err) != 0) return -1;
    for (size_t i = 0; i < numbers; i++)
        j->own->matrix[NH_H_PRED][i] *= j->own->rydberg;
    return 0;
}

/* Everything of the input but what is written anew. */
static int carry(const job *j, nh_nc *out, nh_error *err)
{
    enum { MOST = 16 };
    const char *skip[MOST] = {NULL};
    size_t n = 0;
    if (!j->a->check) skip[n++] = "h_label";
    for (const char *const *v = j->a->check ? nh_scf_check_variables : nh_scf_variables;
         *v != NULL && n + 1 < MOST; v++)
        skip[n++] = *v;
    return nh_nc_carry(out, j->in, skip, err);
}

static int write_label(job *j, const nh_scf_result *r, nh_error *err)
{
    nh_nc *out = NULL;
    if (make_graph(j, err) != 0) return -1;
    nh_graph *const g = j->own;
    const size_t numbers = 2 * (size_t)g->n_spin * g->pairs.n_elem;
    const bool single = j->a->precision == 0;
    g->matrix[NH_H_LABEL] = NH_ARRAY(double, numbers);
    if (g->matrix[NH_H_LABEL] == NULL) return nh_fail_memory(err, "the Hamiltonian");
    for (size_t i = 0; i < numbers; i++)
        g->matrix[NH_H_LABEL][i] = r->h[i] * g->rydberg;
    g->efermi = r->efermi * NH_RYDBERG;
    g->nelec = j->l->n_electron;
    int status = nh_nc_create(j->common->output, j->program->name, j->common, j->in, &out, err);
    if (status == 0) nh_nc_use_threads(out, j->threads);
    if (status == 0) status = nh_scf_put(out, &j->task, r, err);
    if (status == 0) status = write_names(j, out, err);
    if (status == 0 && j->same) {
        /* The file's own S and H0 stay where it has them. */
        status =
            nh_nc_set_double(out, "efermi", g->efermi, err) || nh_nc_set_double(out, "nelec", g->nelec, err)
                ? -1
                : 0;
        if (status == 0) status = carry(j, out, err);
        if (status == 0 && j->g->matrix[NH_H0] == NULL)
            status = nh_graph_put_matrix(out, g, NH_H0, single, err);
        if (status == 0 && j->g->overlap == NULL) status = nh_graph_put_overlap(out, g, single, err);
        if (status == 0) status = nh_graph_put_matrix(out, g, NH_H_LABEL, single, err);
    } else if (status == 0) {
        status = nh_graph_write(out, g, single, err);
    }
    if (status == 0) {
        status = nh_nc_commit(out, err);
        out = NULL;
    }
    nh_nc_close(out);
    return status;
}

static int write_check(job *j, const nh_scf_check *c, nh_error *err)
{
    nh_nc *out = NULL;
    int status = nh_nc_create(j->common->output, j->program->name, j->common, j->in, &out, err);
    if (status == 0) nh_nc_use_threads(out, j->threads);
    if (status == 0) status = nh_scf_check_put(out, &j->task, nh_matrix_name(start_matrix(j->a)), c, err);
    if (status == 0) status = carry(j, out, err);
    if (status == 0) {
        status = nh_nc_commit(out, err);
        out = NULL;
    }
    nh_nc_close(out);
    return status;
}

/* --- the two jobs */

static void print_step(void *context, size_t iteration, const nh_scf_step *step)
{
    const job *const j = context;
    if (j->common->quiet || j->ranks.rank != 0) return;
    if (iteration == 1)
        fprintf(stderr, "%4s %12s %20s %14s %8s\n", "it", "drho", "energy (eV)", "Fermi (eV)", "seconds");
    if (isnan(step->drho))
        fprintf(stderr, "%4zu %12s %20s %14.6f %8.2f\n", iteration, "-", "-", step->efermi * NH_RYDBERG,
                step->seconds);
    else
        fprintf(stderr, "%4zu %12.3e %20.8f %14.6f %8.2f\n", iteration, step->drho, step->energy * NH_RYDBERG,
                step->efermi * NH_RYDBERG, step->seconds);
}

static int run_scf(job *j, bool *converged, nh_error *err)
{
    nh_scf_result r;
    double *start = NULL;
    if (start_matrix(j->a) != NH_H0 && aligned(j, start_matrix(j->a), &start, err) != 0) return -1;
    j->task.start = start;
    j->task.log = print_step;
    j->task.context = j;
    int status = nh_scf(&j->task, &r, err);
    free(start);
    if (status != 0) return nh_fail_at(err, "%s", nh_nc_name(j->in));
    *converged = r.converged;
    if (j->ranks.rank == 0) status = write_label(j, &r, err);
    if (status == 0 && !r.converged)
        status = nh_fail(err, "%s: not converged after %zu iterations: drho %.2e, %.0e asked for",
                         nh_nc_name(j->in), r.n_step, r.step[r.n_step - 1].drho, j->task.threshold);
    nh_scf_result_free(&r);
    return status;
}

static void print_quoted(const char *text)
{
    putchar('"');
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            printf("\\%c", *c);
        else if ((unsigned char)*c < 0x20)
            printf("\\u%04x", (unsigned)(unsigned char)*c);
        else
            putchar(*c);
    }
    putchar('"');
}

static void print_check(const job *j, const nh_scf_check *c)
{
    const char *const matrix = nh_matrix_name(start_matrix(j->a));
    const double mev = 1e3;
    if (j->a->json) {
        printf("{\"file\": ");
        print_quoted(nh_nc_name(j->in));
        printf(", \"matrix\": \"%s\", \"gauge_mae_meV\": %.6g, \"drho\": %.6g, \"band_energy_meV\": %.6g, "
               "\"shift_meV\": %.6g, \"mean_band_error_meV\": %.6g, \"efermi_eV\": %.9g}\n",
               matrix, c->gauge_mae * mev, c->drho, c->band_energy * mev, c->shift * mev,
               c->mean_band_error * mev, c->efermi);
        return;
    }
    printf("%s of %s, against the Hamiltonian of its own density\n", matrix, nh_nc_name(j->in));
    printf("  residual, Gauge MAE         %12.4g meV\n", c->gauge_mae * mev);
    printf("  change of the density       %12.3e per electron\n", c->drho);
    printf("  bands, first order, mean    %12.4g meV    (shift %.4g meV)\n", c->mean_band_error * mev,
           c->shift * mev);
    printf("  band energy                 %12.4g meV a cell\n", c->band_energy * mev);
}

static int run_check(job *j, nh_error *err)
{
    nh_scf_check c;
    double *h;
    if (j->g->matrix[start_matrix(j->a)] == NULL) { /* only H0 can be made */
        nh_graph *own;
        if (nh_lcao_graph(j->l, false, &own, err) != 0) return -1;
        h = own->matrix[NH_H0];
        own->matrix[NH_H0] = NULL;
        nh_graph_free(own);
        for (size_t i = 0; i < 2 * (size_t)j->l->n_spin * j->l->pairs.n_elem; i++)
            h[i] /= NH_RYDBERG;
    } else if (aligned(j, start_matrix(j->a), &h, err) != 0) {
        return -1;
    }
    int status = nh_scf_check_new(&j->task, h, &c, err);
    free(h);
    if (status != 0) return nh_fail_at(err, "%s", nh_nc_name(j->in));
    if (j->ranks.rank == 0) {
        if (strcmp(j->common->output, "-") != 0) status = write_check(j, &c, err);
        if (status == 0) print_check(j, &c);
    }
    nh_scf_check_free(&c);
    return status;
}

static int run(job *j, bool *converged, nh_error *err)
{
    const arguments *const a = j->a;
    nh_error note;
    if (nh_ranks_begin(&j->ranks, err) || nh_threads_new(j->common->threads, &j->threads, err) ||
        nh_device_open(a->device.text, nh_device_local_rank(), &j->device, &note, err))
        return -1;
    if (note.text[0] != '\0') nh_warn(j->program, j->common, "%s", note.text);
    if (read_input(j, err) || make_crystal(j, err)) return -1;
    j->task = (nh_scf_task){.lcao = j->l,
                            .mesh = {a->mesh[0], a->mesh[1], a->mesh[2]},
                            .smearing = a->smearing / NH_RYDBERG,
                            .threshold = a->threshold,
                            .max_iterations = (size_t)a->iterations,
                            .mixing = a->mixing,
                            .kerker = a->kerker,
                            .history = (size_t)a->history,
                            .memory = a->memory * 1e9,
                            .ranks = &j->ranks};
    if (!a->has_mesh) nh_default_mesh(j->l->structure.lattice, j->task.mesh);
    return a->check ? run_check(j, err) : run_scf(j, converged, err);
}

/* What is wrong with the command line; NULL: nothing. */
static const char *misuse(const arguments *a)
{
    if (a->has_mesh && (a->mesh[0] < 1 || a->mesh[1] < 1 || a->mesh[2] < 1))
        return "--mesh: three positive numbers expected";
    if (!(a->smearing > 0)) return "--smearing: a positive number expected";
    if (!(a->threshold > 0)) return "--threshold: a positive number expected";
    if (a->iterations < 1) return "--max-iterations: at least 1 expected";
    if (a->history < 1) return "--history: at least 1 expected";
    if (!(a->mixing > 0 && a->mixing <= 1)) return "--mixing: a number above 0, at most 1, expected";
    if (!(a->kerker >= 0)) return "--kerker: a number of at least 0 expected";
    if (!(a->ecut > 0)) return "--ecut: a positive number expected";
    if (!(a->memory > 0)) return "--memory: a positive number expected";
    if (a->json && !a->check) return "--json belongs to --check";
    return NULL;
}

int main(int argc, char **argv)
{
    static const char *const precisions[] = {"single", "double", NULL};
    arguments a = {.smearing = 0.01 * NH_RYDBERG,
                   .threshold = 1e-7,
                   .iterations = 100,
                   .mixing = 0.7,
                   .kerker = 0.1,
                   .history = 8,
                   .ecut = 100,
                   .precision = 1,
                   .memory = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / 1e9,
                   .device = NH_DEVICE_ONE};
    const nh_option on_device = NH_DEVICE_ONE_ROW(a.device);
    const nh_option options[] = {
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "The crystal"},
        {NH_OPT_STRING, 0, "pseudo-dir", "DIR", &a.library.pseudo, NULL, NULL,
         "folder with the pseudopotentials, El.upf or El_*.upf [$NEXTHAM_PSEUDO, $ABACUS_PSEUDO]"},
        {NH_OPT_STRING, 0, "orbital-dir", "DIR", &a.library.orbital, NULL, NULL,
         "folder with the orbitals, El_*.orb [$NEXTHAM_ORBITAL, $ABACUS_ORBITAL]"},
        {NH_OPT_REAL, 0, "ecut", "E", &a.ecut, NULL, &a.has_ecut,
         "plane-wave cutoff in Ry; the density's grid has four times as much [the graph's, or 100]"},
        {NH_OPT_REAL, 0, "memory", "GB", &a.memory, NULL, NULL,
         "most memory; half of it keeps orbital values on the grid, which are made anew each time where it "
         "is too little [that of the machine]"},
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "The loop"},
        {NH_OPT_CHOICE, 0, "start", NULL, &a.start, MATRIX_NAMES, &a.has_start,
         "Hamiltonian whose states make the first density; h0: superposed atoms [h0]"},
        {NH_OPT_INTS3, 0, "mesh", "N1 N2 N3", a.mesh, NULL, &a.has_mesh,
         "Gamma-centred k-mesh [about 20 Å / |a_i| points]"},
        {NH_OPT_REAL, 0, "smearing", "EV", &a.smearing, NULL, NULL, "Gaussian smearing, eV [0.136: 0.01 Ry]"},
        {NH_OPT_REAL, 0, "threshold", "X", &a.threshold, NULL, NULL,
         "end where the density changes by less than X per electron; slabs: 1e-8 [1e-7]"},
        {NH_OPT_INT, 0, "max-iterations", "N", &a.iterations, NULL, NULL, "most iterations [100]"},
        {NH_OPT_REAL, 0, "mixing", "BETA", &a.mixing, NULL, NULL,
         "share of the residual in the next density [0.7]"},
        {NH_OPT_REAL, 0, "kerker", "G0", &a.kerker, NULL, NULL,
         "damping of long waves, 1/bohr^2; 0: none [0.1]"},
        {NH_OPT_INT, 0, "history", "N", &a.history, NULL, NULL, "densities that are remembered [8]"},
        {NH_OPT_CHOICE, 0, "precision", NULL, &a.precision, precisions, NULL,
         "matrices as float or double [double]"},
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "The certificate"},
        {NH_OPT_FLAG, 0, "check", NULL, &a.check, NULL, NULL,
         "no loop: how far --start [h_pred] is from the Hamiltonian of its own density; -o keeps it"},
        {NH_OPT_FLAG, 0, "json", NULL, &a.json, NULL, NULL, "the certificate as one JSON object"},
    };
    static const char *const synopsis[] = {"[options] [-o LABEL.nc] [GRAPH.nc]",
                                           "--check [--json] [options] [-o OUT.nc] HAM.nc", NULL};
    const nh_program program = {
        .name = "nhscf",
        .summary = "graph in, self-consistent Hamiltonian out; or how far a predicted one is from it",
        .synopsis = synopsis,
        .description =
            "The self-consistent loop of density functional theory (PBE, numerical atomic orbitals, "
            "norm-conserving "
            "pseudopotentials; nonmagnetic) for the crystal of a graph file. The output is the input with "
            "h_label, the Fermi "
            "level efermi, the energies energy_* (eV) and the iterations; overlap and h0 are made where the "
            "input has none. "
            "Spin follows the input: four spin blocks with spin-orbit coupling, or one without.\n\n"
            "The orbital files must have the shells of the graph, and its overlap must be theirs. Where the "
            "atoms of the file "
            "are not in the home cell, or its pairs are others, the output has the pairs of the orbitals and "
            "projectors, and "
            "only S, h0, h_pred and h_label.\n\n"
            "--start h_pred begins with the density of a prediction, which counts as one iteration.\n\n"
            "--check needs no label: from the density of H comes H' again. Printed are the residual H' - H "
            "as a Gauge MAE, what "
            "the density of H' would still change, and what the residual does to the bands up to 10 eV above "
            "the Fermi level, "
            "to first order: <n|H' - H|n> less its median.\n\n"
            "Small matrices are shared among threads by k-point, large ones solved one after another with a "
            "threaded LAPACK. Several "
            "processes (mpirun -n 4 nhscf ...) share the k-points; each does the work on the grid.\n\n"
            "With --device cuda the grid is the device's: matrix elements, densities, Hartree and "
            "exchange-correlation potentials; the eigenproblems stay on the CPU.\n\n"
            "A loop that does not converge ends with exit status 3; the file is written and has converged = "
            "0.",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .max_inputs = 1,
        .computes = true,
        .device = &on_device,
        .example = "h0build GaAs.vasp | nhscf --mesh 6 6 6 -o label.nc\n"
                   "nhscf --start h_pred --mesh 6 6 6 -o refined.nc ham.nc\n"
                   "nhscf --check --mesh 6 6 6 ham.nc",
        .see_also = "h0build(1), nhinfer(1), gaugemae(1)",
    };
    nh_common common;
    const int status = nh_parse(&program, argc, argv, &common);
    if (status >= 0) return status;
    const char *const wrong = misuse(&a);
    if (wrong != NULL) {
        fprintf(stderr, "%s: %s\n", program.name, wrong);
        nh_common_free(&common);
        return 2;
    }
    nh_error err;
    bool converged = true;
    job j = {.program = &program, .a = &a, .common = &common, .ranks = {0, 1, 0}};
    int failure = run(&j, &converged, &err);
    if (failure != 0 && converged) { /* others may wait for this process */
        failure = nh_report(&program, &err);
        nh_ranks_abort(&j.ranks, failure);
    } else if (failure != 0) {
        if (j.ranks.rank == 0) nh_report(&program, &err);
        failure = NOT_CONVERGED;
    }
    nh_ranks_end(&j.ranks);
    job_free(&j);
    nh_common_free(&common);
    return failure;
}
