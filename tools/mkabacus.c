/* mkabacus - structure in, the input of an ABACUS run out. */
#include "base/options.h"
#include "formats/abacus/input.h"
#include "formats/structure/file.h"

#include <stdio.h>

/* One line about a wrong command line, or NULL. */
static const char *misuse(const nh_abacus_input *in, const char *folder)
{
    if (folder == NULL) return "--outdir missing";
    if (in->pseudo_dir == NULL || in->orbital_dir == NULL) return "--pseudo-dir and --orbital-dir are needed";
    if (!(in->spacing > 0)) return "--kspacing: a positive number expected";
    for (int d = 0; d < 3; d++)
        if (in->mesh[d] < 0) return "--mesh: three positive numbers expected";
    return NULL;
}

int main(int argc, char **argv)
{
    static const char *const runs[] = {"h0", "scf", NULL}, *const spins[] = {"4", "1", NULL};
    nh_abacus_input in = {.spacing = 0.35};
    const char *folder = NULL;
    int run = 0, spin = 0;
    const nh_option options[] = {
        {NH_OPT_STRING, 0, "outdir", "DIR", (void *)&folder, NULL, NULL,
         "folder of the run; made where it is missing"},
        {NH_OPT_CHOICE, 0, "run", NULL, &run, runs, NULL,
         "h0: one step from superposed atomic densities; scf: to self-consistency, for labels [h0]"},
        {NH_OPT_STRING, 0, "pseudo-dir", "DIR", (void *)&in.pseudo_dir, NULL, NULL,
         "folder with the pseudopotentials, El.upf or El_*.upf"},
        {NH_OPT_STRING, 0, "orbital-dir", "DIR", (void *)&in.orbital_dir, NULL, NULL,
         "folder with the orbitals, El_*.orb"},
        {NH_OPT_CHOICE, 0, "nspin", NULL, &spin, spins, NULL, "4: spin-orbit coupling; 1: no spin [4]"},
        {NH_OPT_REAL, 0, "kspacing", "X", &in.spacing, NULL, NULL,
         "largest distance of k-points, 1/Å with the factor 2 pi [0.35]"},
        {NH_OPT_INTS3, 0, "mesh", "N1 N2 N3", in.mesh, NULL, NULL,
         "k-points, Gamma-centred [from --kspacing]"},
        {NH_OPT_LIST, 0, "set", "KEY=VALUE", &in.set, NULL, NULL,
         "a keyword of INPUT, in place of the usual value or beside the others; repeatable"},
    };
    const nh_program program = {
        .name = "mkabacus",
        .summary = "structure in, the input of an ABACUS run out",
        .synopsis =
            (const char *const[]){"[options] --pseudo-dir DIR --orbital-dir DIR --outdir DIR [STRUCTURE]",
                                  NULL},
        .description = "Reads a crystal (ABACUS STRU, VASP POSCAR, CIF, extended XYZ: told apart by their "
                       "contents) and writes INPUT, KPT and STRU "
                       "for a run of ABACUS that leaves H(R) and S(R): with --run h0 the zeroth-step "
                       "Hamiltonian, that of superposed atomic "
                       "densities, with --run scf the self-consistent one. Both runs of a crystal need the "
                       "same options.\n"
                       "\n"
                       "The keywords are those of this project's data: PBE by the pseudopotentials, 100 Ry, "
                       "Gaussian smearing of "
                       "0.01 Ry, scf_thr 1e-6, no symmetry. --set changes them.\n"
                       "\n"
                       "STRU lists the atoms element by element: mkgraph --abacus reads them in that order. "
                       "Species of a STRU keep their labels, masses and starting moments.",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .max_inputs = 1,
        .no_output = true,
        .example = "mkabacus --pseudo-dir pseudo --orbital-dir orbital --outdir run/h0 POSCAR && (cd run/h0 "
                   "&& abacus)\n"
                   "mkabacus --run scf --mesh 6 6 6 --set ecutwfc=80 --pseudo-dir pseudo --orbital-dir "
                   "orbital --outdir run/scf POSCAR\n"
                   "mkgraph --abacus run -o graph.nc",
        .see_also = "mkgraph(1)",
    };
    nh_common common;
    const int exit_status = nh_parse(&program, argc, argv, &common);
    if (exit_status >= 0) return exit_status;
    int status = 0;
    nh_error err;
    const char *wrong = misuse(&in, folder);
    if (wrong != NULL) {
        fprintf(stderr, "%s: %s\n", program.name, wrong);
        status = 2;
    } else {
        nh_structure_file file = {0};
        in.zeroth = run == 0;
        in.nspin = spin == 0 ? 4 : 1;
        if (nh_structure_file_read(nh_input(&common), NULL, &file, &err) ||
            nh_abacus_input_write(&in, &file, folder, &err))
            status = nh_report(&program, &err);
        if (status == 0 && file.remark != NULL) nh_warn(&program, &common, "%s", file.remark);
        if (status == 0 && file.moment != NULL && in.nspin == 1)
            nh_warn(&program, &common, "STRU has starting moments, which nspin 1 has no use for");
        nh_structure_file_free(&file);
    }
    nh_list_free(&in.set);
    nh_common_free(&common);
    return status;
}
