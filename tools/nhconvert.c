/* nhconvert - a Hamiltonian in one program's format in, in another's out. */
#include "base/options.h"
#include "formats/convert.h"
#include "formats/deeph/deeph.h"
#include "formats/netcdf/graph.h"
#include "formats/wannier90/write.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* In the order in which one of them is taken where the user does not say. */
static const nh_matrix MATRICES[] = {NH_H_PRED, NH_H_LABEL, NH_H0};
static const char *const MATRIX_NAMES[] = {"h_pred", "h_label", "h0", NULL};

typedef struct arguments {
    int to, matrix;
    bool to_given, matrix_given, mesh_given, ceiling_given;
    int mesh[3];
    double ceiling; /* eV above the Fermi level */
    nh_import_settings import;
} arguments;

/* Where the remarks of the readers go. */
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
        fprintf(stderr, "%s: %s\n", l->program->name, text);
}

static int write_graph(const nh_program *program, const nh_common *common, const nh_graph *g,
                       nh_threads *threads, nh_error *err)
{
    nh_nc *f;
    if (nh_nc_create(common->output, program->name, common, NULL, &f, err)) return -1;
    nh_nc_use_threads(f, threads);
    if (nh_graph_write(f, g, false, err)) {
        nh_nc_close(f);
        return -1;
    }
    return nh_nc_commit(f, err);
}

/* The matrix to write: the one that is asked for, else the first of MATRICES, which is said where there
 * are others. */
static int choose_matrix(const arguments *a, const nh_program *program, const nh_common *common,
                         const nh_graph *g, nh_matrix *out, nh_error *err)
{
    size_t n = 0;
    for (size_t i = sizeof MATRICES / sizeof *MATRICES; i-- > 0;) {
        const nh_matrix m = MATRICES[i];
        if (g->matrix[m] == NULL) continue;
        *out = m;
        n++;
    }
    if (a->matrix_given) *out = MATRICES[a->matrix];
    if (n == 0 || g->matrix[*out] == NULL)
        return nh_fail(err, "%s: no %s to write", nh_input(common),
                       n == 0 ? "Hamiltonian" : nh_matrix_name(*out));
    if (n > 1 && !a->matrix_given && !common->quiet)
        fprintf(stderr, "%s: %s, one of %zu matrices (--matrix chooses)\n", program->name,
                nh_matrix_name(*out), n);
    return 0;
}

/* What it costs to have orthogonal orbitals is said, and stands in the files, too. */
static int write_wannier90(const nh_program *program, const arguments *a, const nh_common *common,
                           nh_found *in, nh_matrix which, nh_threads *threads, nh_error *err)
{
    nh_lowdin *l;
    int mesh[3];
    char what[256], quality[256];
    if (in->graph->overlap == NULL) return nh_fail(err, "%s: no overlap", nh_input(common));
    nh_lowdin_mesh(in->graph, mesh);
    if (a->mesh_given) memcpy(mesh, a->mesh, sizeof mesh);
    const double ceiling = in->graph->efermi + (a->ceiling > 0 ? a->ceiling : NAN);
    if (a->ceiling_given && isnan(in->graph->efermi))
        return nh_fail(err, "%s: the Fermi level is not known, above which --ceiling counts (--efermi)",
                       nh_input(common));
    if (nh_lowdin_new(in->graph, which, in->position, mesh, ceiling, threads, &l, err))
        return nh_fail_at(err, "%s", nh_input(common));
    nh_wannier90_quality(l, quality, sizeof quality);
    if (!common->quiet)
        fprintf(stderr, "%s: %s; %s\n", program->name, quality,
                l->r != NULL ? "r from the position matrix"
                             : "no position matrix: orbitals stand at their atoms");
    const char *const title = in->graph->structure.title;
    snprintf(what, sizeof what, "%.150s %s", title != NULL ? title : "", nh_matrix_name(which));
    const int status = nh_wannier90_write(common->output, in->graph, l, what, err);
    nh_lowdin_free(l);
    return status;
}

static int convert(const nh_program *program, const arguments *a, const nh_common *common, nh_error *err)
{
    listener l = {program, common};
    const nh_log messages = {say, &l};
    nh_found in;
    nh_threads *threads = NULL;
    nh_matrix which = NH_H_LABEL;
    if (nh_threads_new(common->threads, &threads, err)) return -1;
    int status = nh_convert_read(nh_input(common), &a->import, threads, &messages, &in, err);
    if (status == 0 && a->to == NH_FORMAT_GRAPH) {
        status = in.is_graph ? nh_fail(err, "%s: is a graph.nc already", nh_input(common))
                             : write_graph(program, common, in.graph, threads, err);
    } else if (status == 0) {
        status = choose_matrix(a, program, common, in.graph, &which, err);
        if (status == 0)
            status = a->to == NH_FORMAT_WANNIER90
                         ? write_wannier90(program, a, common, &in, which, threads, err)
                     : a->to == NH_FORMAT_DEEPH
                         ? nh_deeph_write(common->output, NH_DEEPH_NEW, in.graph, which, err)
                     : a->to == NH_FORMAT_DEEPH_OLD
                         ? nh_deeph_write(common->output, NH_DEEPH_OLD, in.graph, which, err)
                         : nh_convert_to_abacus(in.graph, which, (nh_format)a->to, common->output, err);
    }
    nh_found_free(&in);
    nh_threads_free(threads);
    return status;
}

/* One line about options that do not go together, or NULL. */
static const char *misuse(const arguments *a, const nh_common *common)
{
    if (!a->to_given) return "--to FORMAT is needed";
    if (a->to != NH_FORMAT_GRAPH && strcmp(common->output, "-") == 0)
        return "-o NAME is needed: this format is several files";
    if (a->to == NH_FORMAT_GRAPH && a->matrix_given) return "--matrix: a graph gets all matrices";
    if (a->mesh_given && a->to != NH_FORMAT_WANNIER90) return "--mesh goes with --to wannier90";
    if (a->ceiling_given && a->to != NH_FORMAT_WANNIER90) return "--ceiling goes with --to wannier90";
    if (a->ceiling < 0) return "--ceiling: an energy above the Fermi level, or 0, expected";
    if (!isnan(a->import.cutoff) && !(a->import.cutoff > 0)) return "--cutoff: a positive length expected";
    return NULL;
}

int main(int argc, char **argv)
{
    arguments a = {.ceiling = 10,
                   .import = {.cutoff = NAN, .rydberg = NH_RYDBERG, .efermi = NAN, .nelec = NAN}};
    const nh_option options[] = {
        {NH_OPT_CHOICE, 0, "to", NULL, &a.to, nh_format_names, &a.to_given, "what to write"},
        {NH_OPT_CHOICE, 0, "matrix", NULL, &a.matrix, MATRIX_NAMES, &a.matrix_given,
         "which Hamiltonian [the first of these that there is]"},
        {NH_OPT_INTS3, 0, "mesh", "N1 N2 N3", a.mesh, NULL, &a.mesh_given,
         "wannier90: k-points along each axis [as many as cells that blocks reach]"},
        {NH_OPT_REAL, 0, "ceiling", "E", &a.ceiling, NULL, &a.ceiling_given,
         "wannier90: bands further than E eV above the Fermi level end there; 0: they do not [10]"},
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "What the input may lack"},
        {NH_OPT_STRING, 0, "basis", "El:SHELLS,...", (void *)&a.import.basis, NULL, NULL,
         "ABACUS: orbital shells, as Ga:2s2p2d1f,As:2s2p1d"},
        {NH_OPT_STRING, 0, "orbital-dir", "DIR", (void *)&a.import.orbital_dir, NULL, NULL,
         "ABACUS: take the shells from the .orb files in DIR"},
        {NH_OPT_REAL, 0, "cutoff", "R", &a.import.cutoff, NULL, NULL,
         "ABACUS, DeepH: all pairs closer than R Å are stored [8, or what the folder says]"},
        {NH_OPT_REAL, 0, "efermi", "E", &a.import.efermi, NULL, NULL, "Fermi level in eV"},
        {NH_OPT_REAL, 0, "nelec", "N", &a.import.nelec, NULL, NULL, "electrons in the cell"},
    };
    const nh_program program = {
        .name = "nhconvert",
        .summary = "a Hamiltonian in one program's format in, in another's out",
        .synopsis = (const char *const[]){"--to FORMAT [options] IN -o OUT", NULL},
        .description =
            "Reads a graph.nc, a folder of DeepH (either layout) or a run of ABACUS (every dialect), told "
            "apart by what is in "
            "them (-v says what was found), and writes one of\n"
            "\n"
            "graph: a graph.nc, for the other programs.\n"
            "\n"
            "abacus-text, abacus-csr, abacus-binary: a folder with STRU, H(R) and S(R) as ABACUS 2.3 to 3.8, "
            "ABACUS since 3.9.0.25, or its "
            "option out_hsr 2 write them, with all digits. Energies are in Ry, orbitals in ABACUS's order "
            "and signs. STRU names "
            "files such as Ga.upf and Ga_2s2p2d1f.orb: put there those that belong to the matrix.\n"
            "\n"
            "deeph, deeph-old: a folder for DeepH-dock and DeepH-pack of 2025 (POSCAR, info.json, "
            "hamiltonian.h5, overlap.h5), or "
            "of DeepH-pack 0.2 and DeepH-E3 (lat.dat, ..., hamiltonians.h5, overlaps.h5). All pairs of the "
            "graph are "
            "written, so that both files have the same ones. What DeepH does not know (electrons, cutoff) is "
            "in info.json under "
            "\"nextham\". The new layout keeps atoms of an element together: their order may change.\n"
            "\n"
            "wannier90: OUT_hr.dat, OUT_tb.dat, OUT_centres.xyz and OUT.win, for WannierTools, PythTB, "
            "PYATB. These programs "
            "want orthogonal orbitals: Loewdin's, S(k)^-1/2 times the given ones, on the mesh. Bands are "
            "exact on the mesh. "
            "Between its points they suffer from the reach of S(k)^-1/2, which is long where S is "
            "ill-conditioned. Bands far above "
            "the Fermi level suffer most and pull the others along: --ceiling puts them at one energy. How "
            "much is left is "
            "measured at six points, printed, and written into the first line of the files; a denser --mesh "
            "makes it less. Orbitals are atom after atom, m = "
            "-l..l, with spin all up, then all down. Where the graph has position_matrix (h0build "
            "--position), r in "
            "OUT_tb.dat is that of the same orbitals; else each orbital stands at its atom.\n"
            "\n"
            "A folder that is written is new or empty. One matrix goes out: --matrix.",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .min_inputs = 0,
        .max_inputs = 1,
        .computes = true,
        .example = "nhconvert --to deeph ham.nc -o deeph\n"
                   "nhconvert --to abacus-text --matrix h_pred ham.nc -o abacus\n"
                   "nhconvert --to wannier90 --mesh 6 6 6 ham.nc -o GaAs\n"
                   "nhconvert -v --to graph deeph -o graph.nc",
        .see_also = "mkgraph(1), nhinfer(1), geneig(1)",
    };
    nh_common common;
    const int exit_status = nh_parse(&program, argc, argv, &common);
    if (exit_status >= 0) return exit_status;
    const char *const wrong = misuse(&a, &common);
    if (wrong != NULL) {
        fprintf(stderr, "%s: %s\n", program.name, wrong);
        nh_common_free(&common);
        return 2;
    }
    nh_error err;
    const int status = convert(&program, &a, &common, &err);
    nh_common_free(&common);
    return status == 0 ? 0 : nh_report(&program, &err);
}
