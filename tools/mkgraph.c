/* mkgraph - structure (and matrices) in, graph out. */
#include "base/options.h"
#include "formats/netcdf/graph.h"
#include "formats/import.h"

#include <math.h>
#include <stdio.h>

/* Where the remarks of the import go. */
typedef struct listener {
    const nh_program *program;
    const nh_common *common;
} listener;

static void say(void *context, bool warning, const char *text)
{
    const listener *l = context;
    if (warning)
        nh_warn(l->program, l->common, "%s", text);
    else if (l->common->verbose > 0)
        nh_remark(l->program->name, "%s", text);
}

static int write_graph(const nh_program *program, const nh_common *common, const nh_graph *g, bool single,
                       nh_threads *threads, nh_error *err)
{
    nh_nc *f;
    if (nh_nc_create(common->output, program->name, common, NULL, &f, err)) return -1;
    nh_nc_use_threads(f, threads);
    if (nh_graph_write(f, g, single, err)) {
        nh_nc_close(f);
        return -1;
    }
    return nh_nc_commit(f, err);
}

/* One line about options that do not go together, or NULL. */
static const char *misuse(const nh_import_settings *set, const nh_common *common)
{
    const bool files = set->h0.count > 0 || set->label.count > 0 || set->overlap != NULL ||
                       set->position != NULL || set->log != NULL;
    if (set->abacus == NULL && set->abacus_h0 != NULL) return "--abacus-h0 goes with --abacus";
    if (set->abacus != NULL && (files || common->inputs.count > 0))
        return "--abacus finds structure, matrices and log by itself: they cannot be given as well";
    if (set->step < 0) return "--step: a number from 1 expected";
    if (!(set->cutoff > 0)) return "--cutoff: a positive length expected";
    if (!(set->rydberg > 0)) return "--rydberg: a positive energy expected";
    return NULL;
}

int main(int argc, char **argv)
{
    static const char *const precisions[] = {"single", "double", NULL};
    nh_import_settings set = {.cutoff = 8, .rydberg = NH_RYDBERG, .efermi = NAN, .nelec = NAN};
    int precision = 1;
    const nh_option options[] = {
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "What to read"},
        {NH_OPT_STRING, 0, "abacus", "RUN", (void *)&set.abacus, NULL, NULL,
         "ABACUS run folder, or a folder that has the runs h0/ and scf/"},
        {NH_OPT_STRING, 0, "abacus-h0", "RUN0", (void *)&set.abacus_h0, NULL, NULL,
         "run folder of the zeroth step; --abacus then names the label's"},
        {NH_OPT_LIST, 0, "h0", "CSR", &set.h0, NULL, NULL, "zeroth-step H(R); nspin 2: two files, UP,DOWN"},
        {NH_OPT_LIST, 0, "label", "CSR", &set.label, NULL, NULL, "self-consistent H(R), likewise"},
        {NH_OPT_STRING, 0, "overlap", "CSR", (void *)&set.overlap, NULL, NULL, "S(R)"},
        {NH_OPT_STRING, 0, "position", "CSR", (void *)&set.position, NULL, NULL,
         "r(R), data-rR-sparse.csr: variable position_matrix"},
        {NH_OPT_INT, 0, "step", "N", &set.step, NULL, NULL,
         "ionic step of the matrices, from 1, of files that hold several [the only one]"},
        {NH_OPT_STRING, 0, "log", "FILE", (void *)&set.log, NULL, NULL,
         "running_scf.log: Fermi level, electrons, shells"},
        {NH_OPT_STRING, 0, "basis", "El:SHELLS,...", (void *)&set.basis, NULL, NULL,
         "orbital shells, as Ga:2s2p2d1f,As:2s2p1d"},
        {NH_OPT_STRING, 0, "orbital-dir", "DIR", (void *)&set.orbital_dir, NULL, NULL,
         "take the shells from the .orb files in DIR"},
        {NH_OPT_FLAG, 0, "no-verify", NULL, &set.no_verify, NULL, NULL,
         "take S(R) as it is: do not compare it with that of the structure"},
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "What to write"},
        {NH_OPT_REAL, 0, "cutoff", "R", &set.cutoff, NULL, NULL, "all pairs closer than R Å are stored [8]"},
        {NH_OPT_REAL, 0, "efermi", "E", &set.efermi, NULL, NULL, "Fermi level in eV [from the log]"},
        {NH_OPT_REAL, 0, "nelec", "N", &set.nelec, NULL, NULL, "electrons in the cell [from the log]"},
        {NH_OPT_REAL, 0, "rydberg", "E", &set.rydberg, NULL, NULL,
         "Ry in eV, kept as an attribute [13.605698066]"},
        {NH_OPT_CHOICE, 0, "precision", NULL, &precision, precisions, NULL, "of the matrices [double]"},
    };
    const nh_program program = {
        .name = "mkgraph",
        .summary = "structure (and matrices) in, graph out",
        .synopsis = (const char *const[]){"[options] [STRUCTURE] [-o GRAPH.nc]",
                                          "[options] --abacus RUN [--abacus-h0 RUN0] [-o GRAPH.nc]", NULL},
        .description =
            "Reads a crystal (ABACUS STRU, VASP POSCAR, CIF, extended XYZ: told apart by their "
            "contents) and, where given, "
            "ABACUS's sparse matrices (text or binary, plain, gzip or xz, every dialect since "
            "2.x; nspin 1, 2, 4), and "
            "writes one netCDF file with structure, atom pairs and matrix blocks in eV. Energies, "
            "orbital order and signs "
            "are converted here and nowhere else.\n"
            "\n"
            "Pairs are those closer than the cutoff and those of every non-zero block; without "
            "the far blocks the bands are wrong.\n"
            "\n"
            "With --abacus, mkgraph finds the files itself. A folder with h0/ and scf/ gives "
            "both matrices. A single "
            "run gives h0 if its INPUT says scf_nmax 1, and the label otherwise. Fermi level and "
            "number of electrons are "
            "those of the label's log, or of the header of its file. S(R) is taken from the label's "
            "run, or from the other.\n"
            "\n"
            "Shells come from --basis or --orbital-dir, else from the log, else from the names of "
            "the .orb files in STRU, "
            "else from their headers in INPUT's orbital_dir.\n"
            "\n"
            "ABACUS moves atoms into the home cell when it reads STRU, and the cells of its "
            "matrices refer to these positions. The written structure has them.\n"
            "\n"
            "Relaxations and MD: the matrices are of one ionic step. mkgraph takes the structure that "
            "belongs to it (header of the file, STRU_ION2_D, STRU_MD_2, STRU_ION_D of a relaxation "
            "that converged), or asks. --step chooses among several. Files of another run in the same "
            "folder, and gamma_only matrices, which are no H(R), are refused.\n"
            "\n"
            "Checked: sizes, indices, finite numbers, no two atoms on one spot, H(R) = "
            "H(-R)^dagger within 1e-6 Ry, S real, "
            "symmetric, the same for both spins, orthonormal harmonics on each atom, no overlap "
            "further than orbitals reach.\n"
            "\n"
            "Where the .orb files are at hand (--orbital-dir, INPUT's orbital_dir, beside STRU, "
            "$NEXTHAM_ORBITAL), S(R) "
            "is made again from the structure. One that differs is refused, with what seems "
            "wrong: basis, order of "
            "orbitals or atoms, cells, or the structure. Without them, a nearer pair of the same "
            "elements must overlap "
            "where a further one does. --no-verify turns both off.",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .min_inputs = 0,
        .max_inputs = 1,
        .computes = true,
        .example = "mkgraph --abacus GaAs -o graph.nc\n"
                   "mkgraph STRU --h0 h0.csr.gz --label hr.csr.gz --overlap sr.csr.gz --log running_scf.log "
                   "-o graph.nc\n"
                   "mkgraph POSCAR --basis Ga:2s2p2d1f,As:2s2p1d -o graph.nc",
        .see_also = "h0embed(1), nhinfer(1), fourier(1), gaugemae(1)",
    };
    nh_common common;
    const int exit_status = nh_parse(&program, argc, argv, &common);
    if (exit_status >= 0) return exit_status;
    const char *wrong = misuse(&set, &common);
    if (wrong != NULL) {
        fprintf(stderr, "%s: %s\n", program.name, wrong);
        nh_common_free(&common);
        nh_list_free(&set.h0);
        nh_list_free(&set.label);
        return 2;
    }

    set.structure = nh_input(&common);
    nh_error err;
    listener l = {&program, &common};
    const nh_log messages = {say, &l};
    nh_graph *g = NULL;
    nh_threads *threads = NULL;
    int status = nh_threads_new(common.threads, &threads, &err);
    if (status == 0) status = nh_import(&set, threads, &messages, &g, &err);
    if (status == 0) status = write_graph(&program, &common, g, precision == 0, threads, &err);
    nh_threads_free(threads);
    nh_graph_free(g);
    nh_common_free(&common);
    nh_list_free(&set.h0);
    nh_list_free(&set.label);
    return status == 0 ? 0 : nh_report(&program, &err);
}
