/* berry - Berry curvature, anomalous Hall conductivity, Chern numbers, Z2 invariants, effective masses. */
#include "base/memory.h"
#include "base/outfile.h"
#include "base/progress.h"
#include "base/ranks.h"
#include "crystal/lattice.h"
#include "properties/optics.h"
#include "formats/abacus/kpt.h"
#include "formats/netcdf/operators.h"
#include "formats/report/berry.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const nh_matrix MATRICES[] = {NH_H_PRED, NH_H0, NH_H_LABEL};
static const char *const MATRIX_NAMES[] = {"h_pred", "h0", "h_label", NULL};
typedef enum quantity { CURVATURE, HALL, CHERN, Z2, MASS } quantity;
static const char *const QUANTITIES[] = {"curvature", "hall", "chern", "z2", "mass", NULL};
static const char *const PLANES[] = {"1", "2", "3", NULL};
static const double HERMITIAN_WITHIN = 1e-6 * NH_RYDBERG, MAGNETIC = 1e-3, ZERO_SLOPE = 1e-6;
static const double WEAK_LINK = 0.3;
enum { DEFAULT_MESH = 24, REFINEMENTS = 30 };

typedef struct arguments {
    nh_kpoint_options k;
    nh_list directions;
    int matrix, quantity, plane, occupied, band;
    bool has_occupied, has_efermi, has_nelec, has_temperature, with_position, has_plane, has_height, centres,
        average, has_band;
    double efermi, nelec, temperature, degenerate, slope, height;
    const char *at;
} arguments;

typedef struct job {
    const arguments *a;
    const nh_program *program;
    const nh_common *common;
    nh_ranks ranks;
    nh_operators operators;
    nh_kpoints k;
    const char *file;
} job;

/* Bands that the electrons fill; 0 where they fill no whole number, and no error then. */
static size_t whole_bands(const job *j)
{
    const nh_electrons *e = &j->operators.electrons;
    if (j->a->has_occupied) return (size_t)j->a->occupied;
    const double bands = (j->a->has_nelec ? j->a->nelec : e->nelec) / e->electrons_per_band,
                 whole = round(bands);
    return fabs(bands - whole) < 1e-6 && whole >= 1 && whole < 1e9 ? (size_t)whole : 0;
}

static int occupied_bands(const job *j, size_t *occupied, nh_error *err)
{
    *occupied = whole_bands(j);
    if (*occupied > 0) return 0;
    return nh_fail(err, "%s: the electrons (%g) fill no whole number of bands: give --occupied or --nelec",
                   j->file, j->a->has_nelec ? j->a->nelec : j->operators.electrons.nelec);
}

/* --- curvature, Hall conductivity --- */

static int energies_on(const job *j, nh_bands *b, nh_error *err)
{
    nh_sweep s = {
        .name = j->file, .fourier = j->operators.fourier, .threads = j->common->threads, .ranks = &j->ranks};
    s.progress = nh_progress_start(j->program->name, "k-points (energies)", j->k.count,
                                   j->common->quiet || j->ranks.rank > 0);
    const int status = nh_sweep_energies(&s, &j->k, b, err);
    nh_progress_end(s.progress);
    if (status == 0) b->electrons_per_band = j->operators.electrons.electrons_per_band;
    return status;
}

/* Which bands are full: those below --efermi, on a mesh those that the electrons fill at a temperature, or
 * --occupied. */
static int fill(const job *j, nh_curvature_task *t, nh_error *err)
{
    const arguments *a = j->a;
    const double nelec = a->has_nelec ? a->nelec : j->operators.electrons.nelec;
    const bool by_mesh = a->quantity == HALL && !a->has_occupied && !a->has_efermi;
    if (!a->has_efermi && !by_mesh) return occupied_bands(j, &t->rows, err);
    nh_bands b;
    if (energies_on(j, &b, err) != 0) return -1;
    t->filling = (nh_filling){a->efermi, NH_BOLTZMANN * a->temperature};
    int status = 0;
    if (by_mesh)
        status =
            !(nelec > 0)
                ? nh_fail(err,
                          "no number of electrons (attribute nelec): give --nelec, --efermi or --occupied")
                : nh_filling_find(&b, nelec, t->filling.kt, &t->filling, err);
    t->rows = status == 0 ? nh_optics_rows(&b, &t->filling) : 0;
    nh_bands_free(&b);
    if (status == 0 && t->rows == 0)
        status = nh_fail(err, "no state holds an electron at a chemical potential of %g eV", t->filling.mu);
    return status == 0 ? 0 : nh_fail_at(err, "%s", j->file);
}

static void write_filling(const job *j, const nh_curvature_task *t, FILE *out)
{
    fprintf(out, "# matrix: %s; positions: %s\n", MATRIX_NAMES[j->a->matrix],
            j->a->with_position ? "position_matrix of the file" : "the middle of two atoms (--no-position)");
    if (t->filling.kt > 0)
        fprintf(out, "# chemical potential: %.6f eV, %g K\n", t->filling.mu, j->a->temperature);
    else
        fprintf(out, "# filled bands: %zu\n", t->rows);
}

static void write_hall(const job *j, const double *curvature, FILE *out)
{
    const nh_operators *q = &j->operators;
    double sigma[3];
    nh_hall_conductivity(&j->k, curvature, fabs(nh_lattice_volume(q->graph->structure.lattice)),
                         q->electrons.electrons_per_band, sigma);
    fprintf(out, "#mesh\tsigma_yz_S/m\tsigma_zx_S/m\tsigma_xy_S/m\n%dx%dx%d\t%.8g\t%.8g\t%.8g\n",
            j->a->k.mesh[0], j->a->k.mesh[1], j->a->k.mesh[2], sigma[0], sigma[1], sigma[2]);
}

static int run_curvature(job *j, FILE *out, nh_error *err)
{
    const arguments *a = j->a;
    const nh_operators *q = &j->operators;
    nh_error note;
    if (a->has_plane) {
        double shift[3] = {0};
        shift[a->plane] = a->height;
        if (nh_kpoints_mesh(a->k.mesh, true, shift, &j->k, err) != 0) return -1;
    } else if (nh_kpoint_options_read(&a->k, &q->graph->structure, &j->k, &note, err) != 0)
        return -1;
    else if (note.text[0] != '\0' && !j->common->quiet && j->ranks.rank == 0)
        fprintf(stderr, "%s: path: %s\n", j->program->name, note.text);
    nh_curvature_task t = {.name = j->file,
                           .fourier = q->fourier,
                           .velocity = q->velocity,
                           .k = &j->k,
                           .degenerate = a->degenerate,
                           .threads = j->common->threads,
                           .ranks = &j->ranks};
    if (fill(j, &t, err) != 0) return -1;
    double *curvature = NH_ARRAY(double, 3 * j->k.count);
    if (curvature == NULL) return nh_fail_memory(err, "the curvature");
    t.progress =
        nh_progress_start(j->program->name, "k-points", j->k.count, j->common->quiet || j->ranks.rank > 0);
    const int status = nh_curvature(&t, curvature, err);
    nh_progress_end(t.progress);
    if (status == 0 && out != NULL) {
        write_filling(j, &t, out);
        if (a->quantity == HALL)
            write_hall(j, curvature, out);
        else
            nh_curvature_write(out, &j->k, curvature, q->electrons.electrons_per_band);
    }
    free(curvature);
    return status;
}

/* --- planes --- */

static int make_plane(const job *j, size_t occupied, int normal, double at, nh_wilson *w, nh_error *err)
{
    const nh_operators *q = &j->operators;
    const int *mesh = j->a->k.mesh;
    const bool half = j->a->quantity == Z2;
    const size_t lines = j->a->k.has_mesh ? (size_t)mesh[(normal + 2) % 3] : DEFAULT_MESH;
    nh_wilson_task t = {.name = j->file,
                        .fourier = q->fourier,
                        .structure = &q->graph->structure,
                        .occupied = occupied,
                        .normal = normal,
                        .at = at,
                        .points = j->a->k.has_mesh ? (size_t)mesh[(normal + 1) % 3] : DEFAULT_MESH,
                        .lines = half ? lines / 2 + 1 : lines,
                        .half = half,
                        .threads = j->common->threads};
    t.progress = nh_progress_start(j->program->name, "lines", t.lines, j->common->quiet);
    const int status = nh_wilson_new(&t, w, err);
    nh_progress_end(t.progress);
    if (status != 0) return -1;
    if (w->link < WEAK_LINK || w->unsettled > 0)
        nh_warn(j->program, j->common,
                "plane k%d = %g: the mesh is coarse (smallest link %.2f%s): check with a finer --mesh",
                normal + 1, at, w->link, w->unsettled > 0 ? ", centres that jump between lines" : "");
    return 0;
}

static int run_chern(job *j, FILE *out, nh_error *err)
{
    const arguments *a = j->a;
    size_t occupied;
    if (occupied_bands(j, &occupied, err) != 0) return -1;
    fprintf(out, "# matrix: %s; filled bands: %zu\n", MATRIX_NAMES[a->matrix], occupied);
    nh_plane_header(out, false);
    for (int normal = a->has_plane ? a->plane : 0; normal <= (a->has_plane ? a->plane : 2); normal++) {
        nh_wilson w;
        if (make_plane(j, occupied, normal, a->height, &w, err) != 0) return -1;
        nh_plane_row(out, &w, normal, a->height);
        if (a->centres) nh_plane_centres(out, &w, normal, a->height);
        nh_wilson_free(&w);
    }
    return 0;
}

/* Largest element by which the Hamiltonian and its time reversal differ, eV; leaves their mean with
 * `average`. */
static int check_time_reversal(job *j, bool average, double *magnetic, nh_error *err)
{
    nh_graph *g = j->operators.graph;
    double *h = g->matrix[MATRICES[j->a->matrix]];
    const size_t n = 2 * (size_t)g->n_spin * g->pairs.n_elem;
    double *copy = NH_ARRAY(double, n);
    if (copy == NULL) return nh_fail_memory(err, "the time reversal");
    memcpy(copy, h, n * sizeof *h);
    nh_time_reversal_average(g, copy);
    *magnetic = 0;
    for (size_t i = 0; i < n; i++)
        *magnetic = fmax(*magnetic, 2 * fabs(copy[i] - h[i]));
    if (average) memcpy(h, copy, n * sizeof *h);
    free(copy);
    return 0;
}

/* The planes k = 0 and k = 1/2 of each axis. A surface state of the strong kind: the two differ, the same for
 * all axes. */
static int run_z2(job *j, FILE *out, nh_error *err)
{
    const arguments *a = j->a;
    size_t occupied;
    int invariant[3][2] = {{0}};
    if (occupied_bands(j, &occupied, err) != 0) return -1;
    if (occupied % 2 != 0) return nh_fail(err, "%s: %zu filled bands: pairs expected", j->file, occupied);
    fprintf(out, "# matrix: %s; filled bands: %zu\n", MATRIX_NAMES[a->matrix], occupied);
    nh_plane_header(out, true);
    for (int normal = a->has_plane ? a->plane : 0; normal <= (a->has_plane ? a->plane : 2); normal++)
        for (int edge = 0; edge < 2; edge++) {
            nh_wilson w;
            double margin;
            if (make_plane(j, occupied, normal, 0.5 * edge, &w, err) != 0) return -1;
            invariant[normal][edge] = nh_wilson_z2(&w, &margin);
            nh_plane_row(out, &w, normal, 0.5 * edge);
            if (a->centres) nh_plane_centres(out, &w, normal, 0.5 * edge);
            nh_wilson_free(&w);
        }
    if (a->has_plane) return 0;
    const int strong = invariant[0][0] ^ invariant[0][1];
    if (strong != (invariant[1][0] ^ invariant[1][1]) || strong != (invariant[2][0] ^ invariant[2][1]))
        return nh_fail(err, "%s: the six planes do not agree on the strong index: a finer --mesh", j->file);
    fprintf(out, "# Z2 = %d;(%d%d%d)\n", strong, invariant[0][1], invariant[1][1], invariant[2][1]);
    return 0;
}

/* --- masses --- */

static int read_directions(const arguments *a, size_t *count, double **out, nh_error *err)
{
    static const char *const axes[] = {"1 0 0", "0 1 0", "0 0 1"};
    const bool given = a->directions.count > 0;
    *count = given ? a->directions.count : 3;
    *out = NH_ARRAY(double, 3 * *count);
    if (*out == NULL) return nh_fail_memory(err, "the directions");
    for (size_t i = 0; i < *count; i++) {
        const char *text = given ? a->directions.item[i] : axes[i];
        char rest;
        double *d = *out + 3 * i;
        if (sscanf(text, "%lf %lf %lf %c", d, d + 1, d + 2, &rest) != 3 ||
            !(d[0] * d[0] + d[1] * d[1] + d[2] * d[2] > 0) || !isfinite(d[0] + d[1] + d[2]))
            return nh_fail(err, "--direction: three numbers expected, not all 0, found \"%s\"", text);
    }
    return 0;
}

/* From a k-point of the mesh to where the slopes vanish, by Newton's steps of at most a step of the mesh.
 * Stays where the level is degenerate. *flat: whether it ended where that is so. */
static int refine(const job *j, size_t band, double k[3], bool *flat, nh_error *err)
{
    const double *lattice = j->operators.graph->structure.lattice;
    const double first[3] = {k[0], k[1], k[2]};
    *flat = false;
    for (int i = 0; i < REFINEMENTS && !*flat; i++) {
        nh_mass m;
        double value[3], axis[9], step[3] = {0};
        if (nh_mass_at(j->operators.fourier, lattice, k, band, j->a->degenerate, j->a->slope, 0, NULL, &m,
                       err) != 0)
            return -1;
        if (!m.tensor) {
            *flat = true;
            nh_mass_free(&m);
            break;
        }
        const double *g = m.gradient;
        *flat = sqrt(g[0] * g[0] + g[1] * g[1] + g[2] * g[2]) < ZERO_SLOPE;
        if (nh_mass_principal(m.inverse_mass, value, axis, err) != 0) return -1;
        for (size_t x = 0; x < 3; x++) {
            const double *v = axis + 3 * x, slope = v[0] * g[0] + v[1] * g[1] + v[2] * g[2];
            const double curvature = NH_HBAR2_OVER_M * value[x];
            if (fabs(slope) < ZERO_SLOPE) continue; /* also where a band is flat */
            for (size_t c = 0; c < 3; c++)
                step[c] -= slope / curvature * v[c];
        }
        nh_mass_free(&m);
        double longest = 0;
        for (size_t x = 0; x < 3; x++) {
            const double *a = lattice + 3 * x,
                         turn = (a[0] * step[0] + a[1] * step[1] + a[2] * step[2]) / (2 * M_PI);
            longest = fmax(longest, fabs(turn) * j->a->k.mesh[x]);
            step[x] = turn;
        }
        for (size_t x = 0; x < 3 && !*flat; x++)
            k[x] += step[x] / fmax(1, 2 * longest);
    }
    for (size_t x = 0; x < 3; x++) /* another extremum is not what was asked for */
        if (!(fabs(k[x] - first[x]) * j->a->k.mesh[x] < 1.5)) *flat = false;
    if (!*flat) memcpy(k, first, sizeof first);
    return 0;
}

static int write_level(const job *j, FILE *out, const char *name, size_t band, const double k[3],
                       size_t count, const double *direction, nh_error *err)
{
    nh_mass m;
    if (nh_mass_at(j->operators.fourier, j->operators.graph->structure.lattice, k, band, j->a->degenerate,
                   j->a->slope, count, direction, &m, err) != 0)
        return nh_fail_at(err, "%s", j->file);
    const int status = nh_mass_rows(out, &m, name, k, direction, err);
    nh_mass_free(&m);
    return status;
}

/* The edges of the gap on the mesh, and from there. */
static int write_edges(job *j, FILE *out, size_t count, const double *direction, nh_error *err)
{
    size_t occupied;
    nh_bands b;
    nh_gap gap;
    if (occupied_bands(j, &occupied, err) != 0 ||
        nh_kpoints_mesh(j->a->k.mesh, j->a->k.gamma, (const double[3]){0}, &j->k, err) != 0 ||
        energies_on(j, &b, err) != 0)
        return -1;
    const bool found = nh_band_gap(&b, (double)occupied * b.electrons_per_band, &gap);
    nh_bands_free(&b);
    if (!found) return nh_fail(err, "%s: %zu filled bands: no gap to look for", j->file, occupied);
    if (gap.cbm <= gap.vbm)
        nh_warn(j->program, j->common, "the bands overlap by %.3g eV: edges of bands, not of a gap",
                gap.vbm - gap.cbm);
    for (int edge = 0; edge < 2; edge++) {
        const char *const name = edge == 0 ? "vbm" : "cbm";
        const size_t band = occupied - 1 + (size_t)edge;
        double k[3];
        bool flat;
        memcpy(k, j->k.k + 3 * (edge == 0 ? gap.k_vbm : gap.k_cbm), sizeof k);
        if (refine(j, band, k, &flat, err) != 0) return -1;
        if (!flat)
            nh_warn(j->program, j->common, "%s: no extremum found near (%g %g %g) of the mesh: masses there",
                    name, k[0], k[1], k[2]);
        if (write_level(j, out, name, band, k, count, direction, err) != 0) return -1;
    }
    return 0;
}

static int run_mass(job *j, FILE *out, nh_error *err)
{
    const arguments *a = j->a;
    size_t n_direction, n_node, occupied = 0;
    double *direction = NULL;
    nh_k_node *node = NULL;
    int status = read_directions(a, &n_direction, &direction, err);
    if (status == 0) {
        fprintf(out, "# matrix: %s\n", MATRIX_NAMES[a->matrix]);
        nh_mass_header(out);
    }
    if (status == 0 && a->at == NULL) {
        status = write_edges(j, out, n_direction, direction, err);
    } else if (status == 0 && nh_path_parse(a->at, 1, &n_node, &node, err) != 0) {
        status = nh_fail_at(err, "--at");
    } else if (status == 0 && n_node != 1) {
        status = nh_fail(err, "--at: one k-point expected, found \"%s\"", a->at);
    } else if (status == 0) {
        if (!a->has_band) status = occupied_bands(j, &occupied, err);
        const size_t first = a->has_band ? (size_t)a->band - 1 : occupied - 1,
                     end = a->has_band ? first + 1 : first + 2;
        for (size_t band = first; band < end && status == 0; band++)
            status = write_level(j, out,
                                 a->has_band     ? "band"
                                 : band == first ? "valence"
                                                 : "conduction",
                                 band, node->k, n_direction, direction, err);
    }
    free(node);
    free(direction);
    return status;
}

/* --- the program --- */

static int compute(job *j, FILE *out, nh_error *err)
{
    switch ((quantity)j->a->quantity) {
    case CURVATURE:
    case HALL:
        return run_curvature(j, out, err);
    case CHERN:
        return run_chern(j, out, err);
    case Z2:
        return run_z2(j, out, err);
    case MASS:
        return run_mass(j, out, err);
    }
    return 0;
}

static int open_input(job *j, nh_error *err)
{
    const arguments *a = j->a;
    nh_operators *q = &j->operators;
    const nh_matrix m = MATRICES[a->matrix];
    const bool velocities = a->quantity == CURVATURE || a->quantity == HALL;
    double magnetic = 0;
    if (nh_operators_open(nh_input(j->common), 1u << m, velocities && a->with_position, q, err) != 0)
        return -1;
    j->file = nh_nc_name(q->file);
    if (a->quantity == Z2) {
        if (q->graph->n_spin != 4)
            return nh_fail(err, "%s: one spin block: Z2 needs spin-orbit coupling", j->file);
        if (check_time_reversal(j, a->average, &magnetic, err) != 0) return -1;
        if (magnetic > MAGNETIC && !a->average)
            return nh_fail(err,
                           "%s: %s and its time reversal differ by up to %.3g eV: no Z2 (--time-reversal "
                           "takes their mean)",
                           j->file, MATRIX_NAMES[a->matrix], magnetic);
        if (a->average)
            nh_warn(j->program, j->common,
                    "--time-reversal: the mean of %s and its time reversal, up to %.3g eV apart",
                    MATRIX_NAMES[a->matrix], magnetic);
    }
    if (nh_operators_choose(q, m, err) != 0) return -1;
    if (q->anti > HERMITIAN_WITHIN && j->ranks.rank == 0)
        nh_warn(j->program, j->common, "%s: %s is not Hermitian; what is left out is up to %.3e eV", j->file,
                MATRIX_NAMES[a->matrix], q->anti);
    if (velocities && !a->with_position && j->ranks.rank == 0)
        nh_warn(j->program, j->common,
                "--no-position: r between two orbitals is the middle of their atoms: dipoles within atoms "
                "and bonds "
                "are left out: right for models, worthless in the basis of a DFT code");
    return 0;
}

static int run(job *j, nh_error *err)
{
    nh_outfile *o = NULL;
    FILE *out = NULL;
    if (nh_ranks_begin(&j->ranks, err) != 0) return -1;
    if (j->ranks.count > 1 && j->a->quantity > HALL)
        return nh_fail(err, "%s: several processes share curvature and hall only",
                       QUANTITIES[j->a->quantity]);
    if (open_input(j, err) != 0) return -1;
    if (j->ranks.rank > 0) return compute(j, NULL, err);
    if (nh_outfile_begin(j->common->output, &o, err) != 0) return -1;
    out = nh_outfile_stream(o, err);
    if (out == NULL || compute(j, out, err) != 0) {
        nh_outfile_abort(o);
        return -1;
    }
    return nh_outfile_commit(o, err);
}

static int check_planes(const arguments *a, nh_error *err)
{
    const bool planes = a->quantity == CHERN || a->quantity == Z2;
    if (planes && (a->k.kpath != NULL || a->k.path != NULL || a->k.list != NULL))
        return nh_fail(err, "--compute %s: planes of --mesh, not --kpath, --path, --kpoints",
                       QUANTITIES[a->quantity]);
    if (a->has_plane && a->quantity == CURVATURE && (!a->k.has_mesh || a->k.mesh[a->plane] != 1))
        return nh_fail(err, "--plane %d: --mesh with 1 as its number %d expected", a->plane + 1,
                       a->plane + 1);
    if (a->has_plane && !planes && a->quantity != CURVATURE)
        return nh_fail(err, "--plane belongs to --compute curvature, chern and z2");
    if (a->has_height && (a->quantity == Z2 || (a->quantity != CHERN && !a->has_plane)))
        return nh_fail(err, "--height belongs to --compute chern and to --plane with curvature");
    if (a->centres && !planes) return nh_fail(err, "--centres belongs to --compute chern and z2");
    if (a->average && a->quantity != Z2) return nh_fail(err, "--time-reversal belongs to --compute z2");
    for (int x = 0; planes && a->k.has_mesh && x < 3; x++)
        if (a->k.mesh[x] < 4 && !(a->has_plane && x == a->plane))
            return nh_fail(err,
                           "--mesh: at least 4 k-points along each axis of a plane expected, found %d %d %d",
                           a->k.mesh[0], a->k.mesh[1], a->k.mesh[2]);
    return 0;
}

static int check_arguments(const arguments *a, nh_error *err)
{
    if (a->has_occupied && a->occupied < 1)
        return nh_fail(err, "--occupied: at least 1 expected, found %d", a->occupied);
    if (a->has_occupied + a->has_nelec + a->has_efermi > 1)
        return nh_fail(err, "one of --occupied, --nelec, --efermi expected, found several");
    if (a->has_nelec && !(a->nelec > 0))
        return nh_fail(err, "--nelec: a positive number expected, found %g", a->nelec);
    if (a->has_efermi && a->quantity > HALL)
        return nh_fail(err, "--efermi belongs to --compute curvature and hall");
    if (!(a->temperature > 0))
        return nh_fail(err, "--temperature: a positive number expected, found %g", a->temperature);
    if (!(a->degenerate > 0))
        return nh_fail(err, "--degenerate: a positive number expected, found %g", a->degenerate);
    if (!(a->slope > 0)) return nh_fail(err, "--slope: a positive number expected, found %g", a->slope);
    if (a->has_band && (a->band < 1 || a->at == NULL))
        return nh_fail(err, "--band: a number from 1, beside --at, expected");
    if ((a->at != NULL || a->directions.count > 0) && a->quantity != MASS)
        return nh_fail(err, "--at, --band, --direction belong to --compute mass");
    if (a->quantity == MASS && (a->at != NULL) == a->k.has_mesh)
        return nh_fail(err, "--compute mass: --at K, or --mesh to look for the edges of the gap, expected");
    if (a->quantity == HALL && !a->k.has_mesh) return nh_fail(err, "--compute hall: --mesh expected");
    if (check_planes(a, err) != 0) return -1;
    if (a->quantity == CHERN || a->quantity == Z2 || (a->quantity == MASS && a->at != NULL)) return 0;
    return nh_kpoint_options_check(&a->k, err);
}

int main(int argc, char **argv)
{
    arguments a = {.k = NH_KPOINT_DEFAULTS,
                   .temperature = 300,
                   .degenerate = 1e-4,
                   .slope = 1e-4,
                   .with_position = true};
    const nh_option options[] = {
        {NH_OPT_CHOICE, 0, "compute", NULL, &a.quantity, QUANTITIES, NULL,
         "Berry curvature at k-points; anomalous Hall conductivity by a mesh; Chern numbers of planes; Z2 "
         "invariants; effective "
         "masses [curvature]"},
        {NH_OPT_CHOICE, 0, "matrix", NULL, &a.matrix, MATRIX_NAMES, NULL, "the Hamiltonian [h_pred]"},
        {NH_OPT_UNSET, 0, "no-position", NULL, &a.with_position, NULL, NULL,
         "curvature, hall: the middle of the two atoms in place of the position matrix: for models of "
         "point-like "
         "orbitals only"},
        {NH_OPT_REAL, 0, "degenerate", "E", &a.degenerate, NULL, NULL,
         "states within E eV of each other count as one level [1e-4]"},
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "Filled bands (one of)"},
        {NH_OPT_INT, 0, "occupied", "N", &a.occupied, NULL, &a.has_occupied,
         "the lowest N bands [as many as the file's electrons fill]"},
        {NH_OPT_REAL, 0, "nelec", "N", &a.nelec, NULL, &a.has_nelec, "electrons of the cell [from the file]"},
        {NH_OPT_REAL, 0, "efermi", "E", &a.efermi, NULL, &a.has_efermi,
         "curvature, hall: chemical potential, eV, on the scale of the Hamiltonian [hall: the electrons fill "
         "the mesh]"},
        {NH_OPT_REAL, 0, "temperature", "KELVIN", &a.temperature, NULL, &a.has_temperature,
         "of the Fermi function [300]"},
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "Planes"},
        {NH_OPT_CHOICE, 0, "plane", NULL, &a.plane, PLANES, &a.has_plane,
         "chern, z2: the plane of this fractional coordinate alone [all three]; curvature: --mesh lies in "
         "it"},
        {NH_OPT_REAL, 0, "height", "X", &a.height, NULL, &a.has_height,
         "its value there; z2 takes 0 and 1/2 [0]"},
        {NH_OPT_FLAG, 0, "centres", NULL, &a.centres, NULL, NULL,
         "chern, z2: the Wannier centres of each line, too"},
        {NH_OPT_FLAG, 0, "time-reversal", NULL, &a.average, NULL, NULL,
         "z2: of the mean of the Hamiltonian and its time reversal"},
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "Masses"},
        {NH_OPT_STRING, 0, "at", "K1 K2 K3", (void *)&a.at, NULL, NULL,
         "k-point, fractional [the edges of the gap, looked for from --mesh on]"},
        {NH_OPT_INT, 0, "band", "N", &a.band, NULL, &a.has_band,
         "band at --at, from 1 [the two about the gap]"},
        {NH_OPT_REAL, 0, "slope", "X", &a.slope, NULL, NULL,
         "bands whose slopes at a meeting point differ by less than X eV Å have their masses mixed, as if "
         "without slopes [1e-4]"},
        {NH_OPT_LIST, 0, "direction", "\"X Y Z\"", &a.directions, NULL, NULL,
         "Cartesian direction; repeatable [x, y, z]"},
        NH_KPOINT_OPTION_ROWS(a.k),
    };
    static const char *const synopsis[] = {
        "[--compute curvature] --path PATH | --mesh N1 N2 N3 [--plane 1|2|3 --height X] [-o TABLE] [ham.nc]",
        "--compute hall --mesh N1 N2 N3 [-o TABLE] [ham.nc]",
        "--compute chern|z2 [--mesh N1 N2 N3] [--plane 1|2|3] [-o TABLE] [ham.nc]",
        "--compute mass --at \"K1 K2 K3\" [--band N] | --mesh N1 N2 N3 [-o TABLE] [ham.nc]", NULL};
    const nh_program program = {
        .name = "berry",
        .summary = "Berry curvature, Hall conductivity, Chern numbers, Z2 invariants, effective masses of a "
                   "Hamiltonian",
        .synopsis = synopsis,
        .description =
            "curvature: sum over the filled bands, Å^2, as a vector (yz, zx, xy), at k-points of a path, a "
            "mesh, a plane. It is the "
            "curvature of the states as functions in space: what orbitals of a finite basis leave out is "
            "added. hall: minus "
            "e^2/hbar times its mean over the mesh by the volume, S/m. Both need the position matrix "
            "(h0build --position).\n\n"
            "chern: the integral of the curvature over planes of the Brillouin zone over 2 pi, from overlaps "
            "of neighbouring "
            "k-points: an integer. Positive is along axis 1 to 2, 2 to 3, or 3 to 1. z2: the invariants of "
            "the six planes that "
            "time reversal maps to themselves, by the flow of Wannier centres; Z2 = strong;(weak). --mesh is "
            "24 24 24 where it is "
            "not given. The table says the smallest gap that was met, the smallest singular value of the "
            "links (near 1 on a fine mesh) "
            "and, for z2, how far centres stay from the middle of the largest gap, by its size.\n\n"
            "mass: slopes and masses (electron masses, negative for holes) by perturbation theory with all "
            "bands: exact second derivatives. Where "
            "bands meet, each has its own mass in each direction; otherwise principal masses follow with "
            "their axes. With --mesh the edges "
            "of the gap are looked for on it, and followed to where the slope vanishes.\n\n"
            "With mpirun, curvature and hall share the k-points among the processes. docs/physics.md has the "
            "formulas.",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .max_inputs = 1,
        .computes = true,
        .example = "berry --path auto ham.nc > curvature.tsv\n"
                   "berry --plane 3 --mesh 60 60 1 ham.nc > plane.tsv\n"
                   "berry --compute z2 --matrix h_label --mesh 16 16 16 Bi2Se3.nc\n"
                   "berry --compute mass --mesh 6 6 6 --gamma ham.nc",
        .see_also = "optcond(1), h0build(1), geneig(1)",
    };
    nh_common common;
    nh_error err;
    int status = nh_parse(&program, argc, argv, &common);
    if (status >= 0) return status;
    job j = {.a = &a, .program = &program, .common = &common, .ranks = {0, 1, 0}};
    if (check_arguments(&a, &err) != 0) {
        nh_report(&program, &err);
        status = 2;
    } else {
        status = run(&j, &err) != 0 ? nh_report(&program, &err) : 0;
        if (status != 0) nh_ranks_abort(&j.ranks, status); /* others may wait for this process */
        nh_ranks_end(&j.ranks);
    }
    nh_kpoints_free(&j.k);
    nh_operators_close(&j.operators);
    nh_list_free(&a.directions);
    nh_common_free(&common);
    return status;
}
