/* h0build - structure in, graph with its zeroth-step Hamiltonian out. */
#include "base/memory.h"
#include "base/options.h"
#include "base/progress.h"
#include "device/choice.h"
#include "device/device.h"
#include "formats/netcdf/graph.h"
#include "formats/pseudo/library.h"
#include "formats/structure/file.h"
#include "lcao/lcao.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DIMS(...) ((const char *const[]){__VA_ARGS__})

typedef struct arguments {
    nh_library library;
    double ecut, cutoff, memory; /* Ry, Å, GB */
    int spin, precision;
    bool kinetic, position, magnetism;
    nh_checked device;
} arguments;

/* The stages of the work, told as they end. */
typedef struct listener {
    const nh_program *program;
    const nh_common *common;
    nh_progress *progress;
    double begin;
} listener;

enum { STAGES = 7 };

static void stage(void *context, const char *what)
{
    listener *const l = context;
    const double now = nh_seconds();
    nh_progress_add(l->progress, 1);
    if (l->common->verbose > 0) fprintf(stderr, "%s: %.3f s  %s\n", l->program->name, now - l->begin, what);
    l->begin = now;
}

/* Memory of the machine in bytes: the limit where none is given. */
static double machine_memory(void)
{
    return (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
}

/* r(R) between all orbitals, Å: [3][n_elem]. */
static int make_position(const nh_lcao *l, double **out, nh_error *err)
{
    size_t numbers;
    *out = nh_size_mul(3, l->pairs.n_elem, &numbers) ? NH_ARRAY(double, numbers) : NULL;
    if (*out == NULL) return nh_fail_memory(err, "the position");
    if (nh_two_centre_matrices(l->two_centre, &l->structure, &l->pairs, NULL, NULL, *out, l->threads, err))
        return -1;
    for (size_t i = 0; i < numbers; i++)
        (*out)[i] *= NH_BOHR;
    return 0;
}

/* What else the file has: the grid, T and r. They live until the file is committed. */
static int write_more(const arguments *a, const nh_lcao *l, nh_nc *f, const double *kinetic,
                      const double *position, nh_error *err)
{
    const int n[3] = {(int)l->grid->n[0], (int)l->grid->n[1], (int)l->grid->n[2]};
    const nc_type type = a->precision == 0 ? NC_FLOAT : NC_DOUBLE;
    int status =
        nh_nc_set_double(f, "ecut", a->ecut, err) ||
        nh_nc_set_text(f, "h0_from", a->magnetism ? "h0build, with ABACUS's magnetisation" : "h0build", err);
    if (status == 0) status = nh_nc_set_ints(f, "grid", 3, n, err);
    if (status == 0 && kinetic != NULL)
        status = nh_nc_def_var(f, "kinetic", type, 1, DIMS("elem"), NULL, "eV", "kinetic energy (spinless)",
                               err) ||
                 nh_nc_put_late(f, "kinetic", kinetic, err);
    if (status == 0 && position != NULL) status = nh_graph_put_position(f, position, a->precision == 0, err);
    return status != 0 ? -1 : 0;
}

static int write_graph(const arguments *a, const nh_program *program, const nh_common *common,
                       const nh_lcao *l, const nh_graph *g, nh_threads *threads, nh_error *err)
{
    nh_nc *f = NULL;
    double *kinetic = NULL, *position = NULL;
    int status = a->position ? make_position(l, &position, err) : 0;
    if (status == 0 && a->kinetic) {
        kinetic = NH_ARRAY(double, l->pairs.n_elem);
        if (kinetic == NULL) status = nh_fail_memory(err, "the kinetic energy");
        for (size_t i = 0; i < l->pairs.n_elem && status == 0; i++)
            kinetic[i] = NH_RYDBERG * l->kinetic[i];
    }
    if (status == 0) status = nh_nc_create(common->output, program->name, common, NULL, &f, err);
    if (status == 0) {
        nh_nc_use_threads(f, threads);
        status = nh_graph_write(f, g, a->precision == 0, err) || write_more(a, l, f, kinetic, position, err);
        if (status == 0)
            status = nh_nc_commit(f, err);
        else
            nh_nc_close(f);
    }
    free(kinetic);
    free(position);
    return status != 0 ? -1 : 0;
}

static int run(const arguments *a, const nh_program *program, const nh_common *common, nh_error *err)
{
    nh_structure_file file = {.format = NULL};
    nh_species *species = NULL;
    nh_lcao *l = NULL;
    nh_graph *g = NULL;
    nh_threads *threads = NULL;
    nh_device *device = NULL;
    nh_error note;
    nh_library library = a->library;
    const char *const input = nh_input(common);
    library.spin_orbit = a->spin == 0;
    library.structure = strcmp(input, "-") != 0 ? input : NULL;
    listener to = {program, common, nh_progress_start(program->name, "steps", STAGES, common->quiet),
                   nh_seconds()};
    int status = nh_threads_new(common->threads, &threads, err);
    if (status == 0) status = nh_device_open(a->device.text, nh_device_local_rank(), &device, &note, err);
    if (status == 0 && note.text[0] != '\0') nh_warn(program, common, "%s", note.text);
    if (status == 0) status = nh_structure_file_read(input, NULL, &file, err);
    if (status == 0 && file.remark != NULL) nh_warn(program, common, "%s: %s", input, file.remark);
    if (status == 0 && file.moment != NULL)
        nh_warn(program, common, "%s: its starting moments are not used", input);
    if (status == 0 && file.structure.title == NULL &&
        (file.structure.title = nh_structure_formula(&file.structure)) == NULL)
        status = nh_fail_memory(err, "the title");
    if (status == 0) status = nh_library_read(&library, &file, &species, err);
    if (status == 0) stage(&to, "orbitals and pseudopotentials");
    const nh_lcao_task task = {&file.structure,
                               species,
                               a->ecut,
                               a->spin == 0 ? 4 : 1,
                               a->cutoff,
                               (size_t)(a->memory * 1e9),
                               0,
                               threads,
                               stage,
                               &to,
                               device};
    if (status == 0 && nh_lcao_new(&task, &l, err)) status = nh_fail_at(err, "%s", input);
    if (status == 0) status = nh_lcao_graph(l, a->magnetism, &g, err);
    if (status == 0) {
        g->orbital_hash = nh_library_names(&l->structure, species, false);
        g->pseudo_hash = nh_library_names(&l->structure, species, true);
        if (g->orbital_hash == NULL || g->pseudo_hash == NULL)
            status = nh_fail_memory(err, "the names of the basis");
    }
    if (status == 0) stage(&to, "Hamiltonian");
    nh_progress_end(to.progress);
    to.progress = NULL;
    if (status == 0 && common->verbose > 0 && device == NULL) {
        const nh_grid_work w = nh_grid_basis_work(l->basis);
        fprintf(stderr,
                "%s: grid %zu x %zu x %zu, %zu pairs, %g electrons; %zu tiles, %.3g Gflop at %.3g Gflop/s\n",
                program->name, l->grid->n[0], l->grid->n[1], l->grid->n[2], l->pairs.count, l->n_electron,
                w.tiles, w.flops * 1e-9, w.flops * 1e-9 / w.seconds);
    }
    if (status == 0) status = write_graph(a, program, common, l, g, threads, err);
    if (status == 0 && common->verbose > 0) stage(&to, "file");
    nh_graph_free(g);
    nh_lcao_free(l);
    nh_device_close(device);
    if (species != NULL) nh_species_free(species, file.structure.n_species);
    free(species);
    nh_structure_file_free(&file);
    nh_threads_free(threads);
    return status;
}

/* One line about options that do not go together, or NULL. */
static const char *misuse(const arguments *a)
{
    if (!(a->ecut > 0)) return "--ecut: a positive energy expected";
    if (!(a->cutoff > 0)) return "--cutoff: a positive length expected";
    if (!(a->memory > 0)) return "--memory: a positive size expected";
    if (a->magnetism && a->spin != 0) return "--abacus-magnetism goes with --nspin 4";
    return NULL;
}

int main(int argc, char **argv)
{
    static const char *const spins[] = {"4", "1", NULL}, *const precisions[] = {"single", "double", NULL};
    arguments a = {
        .ecut = 100, .cutoff = 8, .memory = machine_memory() * 1e-9, .precision = 1, .device = NH_DEVICE_ONE};
    const nh_option on_device = NH_DEVICE_ONE_ROW(a.device);
    const nh_option options[] = {
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "What to read"},
        {NH_OPT_STRING, 0, "pseudo-dir", "DIR", (void *)&a.library.pseudo, NULL, NULL,
         "folder with the pseudopotentials, El.upf or El_*.upf [$NEXTHAM_PSEUDO, $ABACUS_PSEUDO]"},
        {NH_OPT_STRING, 0, "orbital-dir", "DIR", (void *)&a.library.orbital, NULL, NULL,
         "folder with the orbitals, El_*.orb [$NEXTHAM_ORBITAL, $ABACUS_ORBITAL]"},
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "What to compute"},
        {NH_OPT_REAL, 0, "ecut", "E", &a.ecut, NULL, NULL,
         "plane-wave cutoff in Ry; the density's grid has four times as much [100]"},
        {NH_OPT_CHOICE, 0, "nspin", NULL, &a.spin, spins, NULL, "4: spin-orbit coupling; 1: no spin [4]"},
        {NH_OPT_REAL, 0, "cutoff", "R", &a.cutoff, NULL, NULL, "all pairs closer than R Å are stored [8]"},
        {NH_OPT_FLAG, 0, "abacus-magnetism", NULL, &a.magnetism, NULL, NULL,
         "start with the magnetisation that ABACUS sets where STRU has none"},
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "What to write"},
        {NH_OPT_FLAG, 0, "kinetic", NULL, &a.kinetic, NULL, NULL,
         "also the kinetic energy, variable kinetic"},
        {NH_OPT_FLAG, 0, "position", NULL, &a.position, NULL, NULL,
         "also r(R) between the orbitals, variable position_matrix"},
        {NH_OPT_CHOICE, 0, "precision", NULL, &a.precision, precisions, NULL, "of the matrices [double]"},
        {NH_OPT_REAL, 0, "memory", "GB", &a.memory, NULL, NULL,
         "a crystal that would need more is refused [what the machine has]"},
    };
    const nh_program program = {
        .name = "h0build",
        .summary = "structure in, graph with its zeroth-step Hamiltonian out",
        .synopsis = (const char *const[]){"[options] [STRUCTURE] [-o GRAPH.nc]", NULL},
        .description =
            "Reads a crystal (ABACUS STRU, VASP POSCAR, CIF, extended XYZ: told apart by their contents) and "
            "computes the overlap and the "
            "zeroth-step Hamiltonian of its numerical atomic orbitals: kinetic energy, norm-conserving "
            "pseudopotentials with spin-orbit "
            "coupling, Hartree and PBE potentials of the superposed densities of the neutral atoms. No other "
            "program is needed, no "
            "k-points, no self-consistency; time and memory grow linearly with the number of atoms.\n"
            "\n"
            "The numbers are those of ABACUS 3.8 with the same files, to about 1e-4 meV on average "
            "(docs/h0.md).\n"
            "\n"
            "A STRU names its own files, which are looked for in the folders, where they are given, or "
            "beside it. For other formats the "
            "folders' file of each element is taken. Pseudopotentials are norm-conserving UPF of version 2, "
            "made for PBE, and fully "
            "relativistic unless --nspin 1.\n"
            "\n"
            "H0 has no magnetisation. ABACUS 3.8 gives every atom one where nspin is 4 and STRU has none, so "
            "that its own zeroth step "
            "differs in uu and dd; --abacus-magnetism does the same, for models that were trained on such "
            "runs.\n"
            "\n"
            "With --device cuda the grid is the device's: matrix elements, densities, Hartree and "
            "exchange-correlation potentials; what has "
            "two centres is the CPU's.\n"
            "\n"
            "The file says which orbitals and pseudopotentials it was made with (attributes orbital_hash and "
            "pseudo_hash: a hash of each "
            "file's content).",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .max_inputs = 1,
        .computes = true,
        .device = &on_device,
        .example = "h0build --pseudo-dir pseudo --orbital-dir orbital POSCAR | nhinfer -m model.nc | geneig "
                   "--path auto | "
                   "bandplot-data > bands.gp\n"
                   "h0build -v --position STRU -o graph.nc",
        .see_also = "nhinfer(1), nhscf(1), mkgraph(1), fourier(1)",
    };
    nh_common common;
    const int exit_status = nh_parse(&program, argc, argv, &common);
    if (exit_status >= 0) return exit_status;
    int status;
    nh_error err;
    const char *const wrong = misuse(&a);
    if (wrong != NULL) {
        fprintf(stderr, "%s: %s\n", program.name, wrong);
        status = 2;
    } else {
        status = run(&a, &program, &common, &err) != 0 ? nh_report(&program, &err) : 0;
    }
    nh_common_free(&common);
    return status;
}
