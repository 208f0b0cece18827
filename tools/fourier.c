/* fourier - H(R), S(R) to H(k), S(k). */
#include "base/memory.h"
#include "base/progress.h"
#include "crystal/fourier.h"
#include "crystal/fourier_placed.h"
#include "device/choice.h"
#include "device/device.h"
#include "formats/netcdf/graph.h"
#include "formats/abacus/kpt.h"
#include "formats/netcdf/kspace.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const nh_matrix MATRICES[] = {NH_H_PRED, NH_H0, NH_H_LABEL};
static const char *const MATRIX_NAMES[] = {"h_pred", "h0", "h_label", NULL};
static const double HERMITIAN_WITHIN = 1e-6 * NH_RYDBERG;

typedef struct arguments {
    int matrix;
    nh_kpoint_options k;
    nh_checked device;
} arguments;

/* A few k-points at a time: what is in memory does not grow with their number. */
static int transform(const nh_fourier *f, const nh_device *device, const nh_kspace *s, nh_nc *out,
                     const nh_common *common, nh_error *err)
{
    nh_threads *threads = NULL;
    nh_progress *progress = NULL;
    size_t group = nh_fourier_batch(f) * (size_t)common->threads;
    group = group < s->k.count ? group : s->k.count;
    double *h = nh_device_room(device, group, 2 * s->basis * s->basis * sizeof *h);
    double *overlap = nh_device_room(device, group, 2 * s->basis * s->basis * sizeof *overlap);
    int status = h == NULL || overlap == NULL ? nh_fail_memory(err, "H(k)")
                                              : nh_threads_new(common->threads, &threads, err);
    if (status == 0) progress = nh_progress_start("fourier", "k-points", s->k.count, common->quiet);
    for (size_t first = 0; first < s->k.count && status == 0; first += group) {
        const size_t n = s->k.count - first < group ? s->k.count - first : group;
        status = nh_fourier_many(f, n, s->k.k + 3 * first, h, overlap, threads, err);
        if (status == 0) status = nh_kspace_put(out, s, first, n, h, overlap, err);
        nh_progress_add(progress, n);
    }
    nh_progress_end(progress);
    nh_threads_free(threads);
    nh_device_room_free(device, h);
    nh_device_room_free(device, overlap);
    return status;
}

static int run(const nh_program *program, const arguments *a, const nh_common *common, nh_error *err)
{
    const nh_matrix m = MATRICES[a->matrix];
    const unsigned want = 1u << m | NH_WANT_OVERLAP;
    nh_nc *in = NULL, *out = NULL;
    nh_graph *g = NULL;
    nh_fourier *f = NULL;
    nh_device *device = NULL;
    nh_kspace s = {0};
    nh_error note;
    double anti;
    int status = -1;
    if (nh_device_open(a->device.text, nh_device_local_rank(), &device, &note, err) != 0) return -1;
    if (note.text[0] != '\0') nh_warn(program, common, "%s", note.text);
    if (nh_nc_open(nh_input(common), &in, err) != 0 || nh_graph_read(in, want, &g, err) != 0 ||
        nh_graph_require(g, nh_nc_name(in), want, err) != 0 ||
        nh_kpoint_options_read(&a->k, &g->structure, &s.k, &note, err) != 0)
        goto done;
    if (note.text[0] != '\0' && !common->quiet) nh_remark(program->name, "path: %s", note.text);
    if (nh_fourier_new(g, m, &anti, &f, err) != 0) {
        nh_fail_at(err, "%s", nh_nc_name(in));
        goto done;
    }
    if (anti > HERMITIAN_WITHIN)
        nh_warn(program, common, "%s: %s is not Hermitian; what is left out is up to %.3e eV", nh_nc_name(in),
                nh_matrix_name(m), anti);
    s.basis = nh_fourier_basis(f);
    if (nh_fourier_place(f, device, err) != 0 || nh_electrons_of(g, m, &s.electrons, err) != 0 ||
        nh_nc_create(common->output, program->name, common, in, &out, err) != 0 ||
        nh_kspace_write(out, &s, err) != 0 || transform(f, device, &s, out, common, err) != 0)
        goto done;
    nh_nc *finished = out;
    out = NULL;
    status = nh_nc_commit(finished, err);
done:
    nh_nc_close(out);
    nh_kspace_free(&s);
    nh_fourier_free(f);
    nh_device_close(device);
    nh_graph_free(g);
    nh_nc_close(in);
    return status;
}

int main(int argc, char **argv)
{
    arguments a = {.k = NH_KPOINT_DEFAULTS, .device = NH_DEVICE_ONE};
    const nh_option on_device = NH_DEVICE_ONE_ROW(a.device);
    const nh_option options[] = {
        {NH_OPT_CHOICE, 0, "matrix", NULL, &a.matrix, MATRIX_NAMES, NULL,
         "the Hamiltonian to transform [h_pred]"},
        NH_KPOINT_OPTION_ROWS(a.k),
    };
    static const char *const synopsis[] = {
        "[--matrix h_pred|h0|h_label] --kpath FILE [-o hk.nc] [ham.nc]",
        "[--matrix ...] --path auto|\"G 0 0 0; X .5 0 .5; ...\" [-n N | --total N] [-o hk.nc] [ham.nc]",
        "[--matrix ...] --mesh N1 N2 N3 [--gamma] [-o hk.nc] [ham.nc]",
        "[--matrix ...] --kpoints FILE [-o hk.nc] [ham.nc]",
        NULL,
    };
    const nh_program program = {
        .name = "fourier",
        .summary = "H(R) in, H(k) out: Hamiltonian and overlap at given k-points",
        .synopsis = synopsis,
        .description = "Reads a real-space file (graph.nc, ham.nc) and writes H(k) = sum over R of exp(2 pi "
                       "i k.R) H(R), and S(k) in the same "
                       "way, k fractional, as complete Hermitian matrices. Basis: orbital after orbital, "
                       "spin up before spin down in each; "
                       "orbitals alone where the file has no spin.\n\n"
                       "If a matrix is not Hermitian (nhinfer --no-hermitize), its Hermitian part is used, "
                       "with a warning.\n\n"
                       "A file is written a few k-points at a time. A netCDF image can go through a pipe "
                       "only as a whole: for large cells give geneig the real-space file itself; it stores "
                       "no H(k).",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .max_inputs = 1,
        .computes = true,
        .device = &on_device,
        .example = "fourier --path auto ham.nc | geneig | bandplot-data --format gnuplot > bands.gp\n"
                   "fourier --path \"L .5 .5 .5; G 0 0 0; X .5 0 .5\" -n 40 ham.nc | geneig -o eig.nc\n"
                   "fourier --matrix h_label --kpath KPT -o hk.nc graph.nc",
        .see_also = "nhinfer(1), geneig(1), bandplot-data(1)",
    };
    nh_common common;
    nh_error err;
    int status = nh_parse(&program, argc, argv, &common);
    if (status >= 0) return status;
    if (nh_kpoint_options_check(&a.k, &err) != 0) {
        nh_report(&program, &err);
        status = 2;
    } else {
        status = run(&program, &a, &common, &err) == 0 ? 0 : nh_report(&program, &err);
    }
    nh_common_free(&common);
    return status;
}
