/* dos - eigenvalues on a mesh in, density of states out. */
#include "base/memory.h"
#include "base/options.h"
#include "base/outfile.h"
#include "base/progress.h"
#include "properties/dos.h"
#include "crystal/spectrum.h"
#include "formats/netcdf/eigen.h"
#include "formats/netcdf/graph.h"
#include "formats/netcdf/kspace.h"
#include "formats/report/dosplot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const nh_matrix MATRICES[] = {NH_H_PRED, NH_H0, NH_H_LABEL};
static const char *const MATRIX_NAMES[] = {"h_pred", "h0", "h_label", NULL};
static const char *const METHODS[] = {"tetrahedron", "gaussian", NULL};
static const char *const FORMATS[] = {"tsv", "gnuplot", "json", "summary", NULL};
static const double MESH_LENGTH = 25;     /* Å */
static const double TIME_REVERSAL = 1e-6; /* eV: no energy can differ by more at k and -k */
static const double HERMITIAN = 1e-6 * NH_RYDBERG;
enum { MOST_POINTS = 2000000, POPULATIONS_SHOWN = 12 };

typedef struct arguments {
    int matrix, method, project, format, mesh[3];
    bool has_matrix, has_mesh, has_width, has_window, has_project, has_efermi, has_nelec, has_threshold;
    bool spin, absolute, integrated, has_picture;
    double width, step, window[2], efermi, nelec, threshold;
    const char *title, *name, *picture;
} arguments;

/* The states of a mesh and what is known of them. */
typedef struct states {
    nh_bands bands;
    nh_state_weights weights;
} states;

static void states_free(states *s)
{
    nh_bands_free(&s->bands);
    nh_state_weights_free(&s->weights);
}

/* --- states of a file --- */

static int read_states(const nh_nc *in, const arguments *a, states *s, nh_error *err)
{
    const char *file = nh_nc_name(in);
    if (nh_eigen_read(in, &s->bands, err) != 0) return -1;
    if (!a->has_project && !a->spin) return 0;
    if (nh_eigen_read_weights(in, &s->bands, &s->weights, err) != 0) return -1;
    if (a->has_project && s->weights.n_group == 0)
        return nh_fail(err, "%s: no projections in it: geneig --project %s, or give the real-space file",
                       file, nh_group_kinds[a->project]);
    if (a->spin && s->weights.spin == NULL)
        return nh_fail(err, "%s: no <sigma> in it: geneig --spin, or give the real-space file", file);
    if (a->has_project && nh_state_weights_merge(&s->weights, (nh_group_kind)a->project, err) != 0)
        return nh_fail_at(err, "%s", file);
    return 0;
}

/* --- states of a Hamiltonian --- */

static int weigh(void *context, size_t k, int thread, size_t count, const double *s, const double *vector,
                 nh_error *err)
{
    (void)err;
    nh_weigher_take(context, k, thread, count, s, vector);
    return 0;
}

/* The part of a mesh that is solved: of k and -k the first, where time reversal makes them the same. */
typedef struct half_mesh {
    size_t count;
    double *k;     /* [count][3] */
    size_t *point; /* [mesh] where in the list the energies of each point are */
    bool *turned;  /* [mesh] those of -k: spins point the other way */
} half_mesh;

static void half_mesh_free(half_mesh *h)
{
    free(h->k);
    free(h->point);
    free(h->turned);
}

static int half_mesh_new(const nh_kpoints *k, const int n[3], bool half, half_mesh *h, nh_error *err)
{
    *h = (half_mesh){.k = NH_ARRAY(double, 3 * k->count),
                     .point = NH_ARRAY(size_t, k->count),
                     .turned = NH_ARRAY(bool, k->count)};
    if (h->k == NULL || h->point == NULL || h->turned == NULL) return nh_fail_memory(err, "the mesh");
    for (size_t i = 0; i < k->count; i++) {
        const size_t opposite = half ? nh_mesh_opposite(n, i) : i;
        h->turned[i] = opposite < i;
        h->point[i] = h->turned[i] ? h->point[opposite] : h->count;
        if (h->turned[i]) continue;
        memcpy(h->k + 3 * h->count, k->k + 3 * i, 3 * sizeof *h->k);
        h->count++;
    }
    return 0;
}

/* From the solved points to all of them. */
static int unfold(const half_mesh *h, const nh_spectrum *v, const nh_weigher *w, const arguments *a,
                  states *s, nh_error *err)
{
    const size_t n_k = s->bands.k.count, n_band = s->bands.n_band;
    if (nh_state_weights_new(n_k, n_band, a->has_project ? &w->by : NULL, a->spin, &s->weights, err) != 0)
        return -1;
    const size_t n_group = s->weights.n_group;
    for (size_t i = 0; i < n_k; i++) {
        const size_t from = h->point[i];
        memcpy(s->bands.energy + i * n_band, v->energy + from * n_band, n_band * sizeof(double));
        if (n_group > 0)
            memcpy(s->weights.weight + i * n_band * n_group, w->states.weight + from * n_band * n_group,
                   n_band * n_group * sizeof(double));
        for (size_t x = 0; a->spin && x < 3 * n_band; x++)
            s->weights.spin[3 * n_band * i + x] =
                (h->turned[i] ? -1 : 1) * w->states.spin[3 * n_band * from + x];
    }
    return 0;
}

static int solve_mesh(const nh_program *program, const nh_common *common, const arguments *a,
                      const char *file, nh_graph *g, const int mesh[3], states *s, nh_error *err)
{
    const nh_matrix m = MATRICES[a->matrix];
    const nh_group_kind kind = (nh_group_kind)a->project;
    const bool weighs = a->has_project || a->spin;
    double anti = 0;
    nh_fourier *f = NULL;
    nh_kpoints k = {0};
    nh_spectrum v = {0};
    nh_weigher w = {0};
    half_mesh h = {0};
    int status = nh_fourier_new(g, m, &anti, &f, err);
    if (status != 0) return nh_fail_at(err, "%s", file);
    if (anti > HERMITIAN)
        nh_warn(program, common, "%s: %s is not Hermitian; what is left out is up to %.3e eV", file,
                nh_matrix_name(m), anti);
    const size_t basis = nh_fourier_basis(f);
    const bool half = nh_time_reversal_defect(g, g->matrix[m]) <= TIME_REVERSAL;
    status = nh_kpoints_mesh(mesh, true, (double[3]){0}, &k, err);
    if (status == 0) status = half_mesh_new(&k, mesh, half, &h, err);
    if (status == 0) status = nh_bands_new(&k, basis, &s->bands, err);
    if (status == 0) status = nh_spectrum_new(h.count, basis, &v, err);
    if (status == 0 && weighs) {
        status = nh_weigher_new(g, a->has_project ? &kind : NULL, a->spin, h.count, basis, common->threads,
                                &w, err);
        if (status != 0) nh_fail_at(err, "%s", file);
    }
    if (status == 0) {
        const nh_spectrum_task task = {
            .name = file,
            .n_k = h.count,
            .basis = basis,
            .k = h.k,
            .fourier = f,
            .threshold = a->has_threshold ? a->threshold : 0,
            .choice = {.kind = NH_BANDS_ALL, .count = basis},
            .most = weighs ? basis : 0,
            .measure = weighs ? weigh : NULL,
            .context = &w,
            .threads = common->threads,
            .progress = nh_progress_start(program->name, "k-points", h.count, common->quiet)};
        status = nh_spectrum_solve(&task, &v, err);
        nh_progress_end(task.progress);
    }
    if (status == 0) status = unfold(&h, &v, &w, a, s, err);
    nh_weigher_free(&w);
    nh_spectrum_free(&v);
    half_mesh_free(&h);
    nh_kpoints_free(&k);
    nh_fourier_free(f);
    return status;
}

static int solve_states(const nh_program *program, const nh_common *common, const arguments *a,
                        const nh_nc *in, states *s, nh_error *err)
{
    const nh_matrix m = MATRICES[a->matrix];
    const unsigned want = 1u << m | NH_WANT_OVERLAP;
    const char *file = nh_nc_name(in);
    nh_graph *g = NULL;
    nh_electrons e = {0};
    int mesh[3] = {a->mesh[0], a->mesh[1], a->mesh[2]};
    int status = nh_graph_read(in, want, &g, err);
    if (status == 0) status = nh_graph_require(g, file, want, err);
    if (status == 0 && !a->has_mesh) {
        nh_mesh_of_length(g->structure.lattice, MESH_LENGTH, mesh);
        if (!common->quiet)
            fprintf(stderr,
                    "%s: mesh %d x %d x %d (without --mesh: %g Å over the length of each lattice vector)\n",
                    program->name, mesh[0], mesh[1], mesh[2], MESH_LENGTH);
    }
    if (status == 0) status = solve_mesh(program, common, a, file, g, mesh, s, err);
    if (status == 0) status = nh_electrons_of(g, m, &e, err);
    if (status == 0) {
        s->bands.nelec = e.nelec;
        s->bands.electrons_per_band = e.electrons_per_band;
        s->bands.title = e.title;
        s->bands.matrix = e.matrix;
        s->bands.has_lattice = e.has_lattice;
        memcpy(s->bands.lattice, e.lattice, sizeof e.lattice);
        e.title = e.matrix = NULL;
        /* as geneig: without the label's, a file's level is H0's, which says nothing of a prediction */
        if (m != NH_H_PRED || nh_nc_has(in, "h_label")) s->bands.efermi = e.efermi;
    }
    nh_electrons_free(&e);
    nh_graph_free(g);
    return status;
}

/* Returns 2 where the command line does not fit the file. */
static int open_states(const nh_program *program, const nh_common *common, const arguments *a, states *s,
                       nh_error *err)
{
    nh_nc *in = NULL;
    if (nh_nc_open(nh_input(common), &in, err) != 0) return -1;
    int status;
    if (nh_nc_has(in, "eigenvalue")) {
        if (a->has_mesh || a->has_matrix || a->has_threshold) {
            nh_fail(err, "%s: eigenvalues: no --mesh, --matrix, --s-threshold", nh_nc_name(in));
            status = 2;
        } else {
            status = read_states(in, a, s, err);
        }
    } else if (nh_nc_has(in, "pair_src")) {
        status = solve_states(program, common, a, in, s, err);
    } else {
        status = nh_fail(
            err, "%s: neither eigenvalues (variable eigenvalue) nor a real-space file (variable pair_src)",
            nh_nc_name(in));
    }
    nh_nc_close(in);
    return status;
}

/* --- density of states --- */

/* The input as messages name it. */
static const char *input_name(const nh_common *common)
{
    return strcmp(nh_input(common), "-") == 0 ? "(standard input)" : nh_input(common);
}

/* Projections and spin side by side: one row a state. */
static int columns_of(const states *s, size_t *n, double **weight, nh_error *err)
{
    const nh_state_weights *w = &s->weights;
    const size_t spins = w->spin != NULL ? 3 : 0, state = s->bands.k.count * s->bands.n_band;
    size_t size;
    *n = w->n_group + spins;
    if (!nh_size_mul(state, *n, &size) || (*weight = NH_ARRAY(double, size)) == NULL)
        return nh_fail_memory(err, "the projections");
    for (size_t i = 0; i < state; i++) {
        if (w->n_group > 0)
            memcpy(*weight + i * *n, w->weight + i * w->n_group, w->n_group * sizeof **weight);
        if (spins > 0) memcpy(*weight + i * *n + w->n_group, w->spin + 3 * i, spins * sizeof **weight);
    }
    return 0;
}

/* The Fermi level: by filling, or what is known without. */
static int find_level(const arguments *a, const char *file, const nh_dos_task *t, double nelec,
                      nh_dos_level *level, bool *filled, double *efermi, const char **from, nh_error *err)
{
    const nh_bands *b = t->bands;
    *filled = nelec > 0;
    *efermi = NAN;
    *from = "not known";
    if (*filled) {
        if (nh_dos_fermi(t, nelec, level, err) != 0) return nh_fail_at(err, "%s", file);
        *efermi = level->efermi;
        *from = a->has_nelec ? "--nelec fills the bands" : "the file's electrons fill the bands";
    }
    if (a->has_efermi) {
        *efermi = a->efermi;
        *from = "--efermi";
    } else if (!*filled && !isnan(b->efermi)) {
        *efermi = b->efermi;
        *from = "from the file";
    } else if (!*filled && !a->absolute) {
        return nh_fail(
            err,
            "%s: neither a Fermi level nor a number of electrons: give --efermi or --nelec (--absolute "
            "takes energies as they are)",
            file);
    }
    return 0;
}

/* The grid has a point at `zero`. */
static int make_grid(const arguments *a, const nh_dos_task *t, double zero, nh_dos_table *table,
                     size_t n_column, nh_error *err)
{
    const nh_bands *b = t->bands;
    double lo = a->window[0], hi = a->window[1], lowest = INFINITY, highest = -INFINITY;
    for (size_t k = 0; k < b->k.count; k++) {
        lowest = fmin(lowest, b->energy[k * b->n_band]);
        highest = fmax(highest, b->energy[k * b->n_band + t->n_band - 1]);
    }
    const double margin = a->step + (t->tetrahedra != NULL ? 0 : 8 * t->width);
    if (!isfinite(lo)) lo = lowest - zero - margin;
    if (!isfinite(hi)) hi = highest - zero + margin;
    const double first = floor(lo / a->step + 1e-6), count = ceil(hi / a->step - 1e-6) - first + 1;
    if (!(count >= 1 && count <= MOST_POINTS))
        return nh_fail(err, "%g to %g eV in steps of %g eV: at most %d points are possible", lo, hi, a->step,
                       MOST_POINTS);
    if (nh_dos_table_new((size_t)count, n_column, table, err) != 0) return -1;
    for (size_t i = 0; i < table->n; i++)
        table->energy[i] = zero + a->step * (first + (double)i);
    return 0;
}

static int fill_table(const arguments *a, const nh_dos_task *t, const nh_state_weights *w,
                      nh_dos_table *table, nh_error *err)
{
    static const char *const spin[] = {"sigma_x", "sigma_y", "sigma_z"};
    double *density = table->column, *counted = NULL;
    for (size_t q = 0; q < t->n_column; q++)
        snprintf(table->name[q], NH_GROUP_NAME, "%s", q < w->n_group ? w->name[q] : spin[q - w->n_group]);
    if (a->integrated && t->n_column > 0) {
        counted = NH_ARRAY(double, table->n * t->n_column);
        if (counted == NULL) return nh_fail_memory(err, "the density of states");
    }
    const int status = nh_dos_density(t, table->energy[0], a->step, table->n, table->dos, table->below,
                                      density, counted, err);
    if (status == 0 && counted != NULL) {
        free(table->column);
        table->column = counted;
        table->counts = true;
        return 0;
    }
    free(counted);
    return status;
}

static int write_output(const nh_common *common, const nh_dosplot *p, int format, nh_error *err)
{
    nh_outfile *o = NULL;
    if (nh_outfile_begin(common->output, &o, err) != 0) return -1;
    FILE *out = nh_outfile_stream(o, err);
    if (out == NULL) {
        nh_outfile_abort(o);
        return -1;
    }
    nh_dosplot_write(out, p, (nh_dosplot_format)format);
    return nh_outfile_commit(o, err);
}

static void tell(const nh_program *program, const nh_common *common, const nh_dosplot *p)
{
    if (common->quiet) return;
    fprintf(stderr, "%s: %s; ", program->name, p->method);
    if (!isnan(p->table->efermi))
        fprintf(stderr, "Fermi level %.6f eV (%s)", p->table->efermi, p->efermi_from);
    else
        fprintf(stderr, "no Fermi level");
    if (p->level != NULL && p->level->insulator)
        fprintf(stderr, ", gap %.6f eV", p->level->gap.cbm - p->level->gap.vbm);
    else if (p->level != NULL)
        fprintf(stderr, ", no gap, %.4g electrons/eV there", p->level->density);
    fputc('\n', stderr);
}

static int describe(const nh_dos_task *t, const arguments *a, char *text, size_t size)
{
    const size_t n_k = t->bands->k.count;
    if (t->tetrahedra != NULL) {
        const int *n = t->tetrahedra->n;
        return snprintf(text, size, "tetrahedra on a %dx%dx%d mesh", n[0], n[1], n[2]);
    }
    return snprintf(text, size, "Gaussians of standard deviation %g eV at %zu k-points", a->width, n_k);
}

static int prepare(const nh_program *program, const nh_common *common, const arguments *a, const states *s,
                   nh_tetrahedra *tetrahedra, nh_dos_task *t, nh_error *err)
{
    const char *file = input_name(common);
    size_t dropped;
    if (nh_dos_bands(&s->bands, &t->n_band, &dropped, err) != 0) return nh_fail_at(err, "%s", file);
    if (dropped > 0)
        nh_warn(program, common, "%s: %zu bands are missing at some k-points: left out, with all above them",
                file, dropped);
    if (a->method == 1) return 0;
    if (nh_tetrahedra_new(&s->bands.k, s->bands.has_lattice ? s->bands.lattice : NULL, tetrahedra, err) !=
        0) {
        const nh_error why = *err;
        return nh_fail(err, "%s: %s (geneig --mesh N1 N2 N3 --gamma; or --method gaussian)", file, why.text);
    }
    if (!s->bands.has_lattice)
        nh_warn(program, common, "%s: no lattice in it: tetrahedra about the diagonal k1 + k2 + k3", file);
    t->tetrahedra = tetrahedra;
    return 0;
}

static int make_dos(const nh_program *program, const nh_common *common, const arguments *a, const states *s,
                    nh_error *err)
{
    const char *file = input_name(common), *from;
    nh_tetrahedra tetrahedra;
    nh_dos_task t = {.bands = &s->bands, .width = a->width, .corrected = true};
    nh_dos_level level;
    nh_dos_table table = {0};
    double *weight = NULL, *population = NULL, efermi;
    char method[128];
    bool filled;
    const double nelec = a->has_nelec ? a->nelec : s->bands.nelec;
    int status = prepare(program, common, a, s, &tetrahedra, &t, err);
    if (status == 0) status = nh_threads_new(common->threads, &t.threads, err);
    if (status == 0) status = find_level(a, file, &t, nelec, &level, &filled, &efermi, &from, err);
    if (status == 0) status = columns_of(s, &t.n_column, &weight, err);
    if (status == 0) {
        t.weight = weight;
        const double zero = a->absolute ? 0 : efermi;
        status = make_grid(a, &t, zero, &table, t.n_column, err);
        if (status == 0) status = fill_table(a, &t, &s->weights, &table, err);
        if (status == 0 && !isnan(efermi) && t.n_column > 0) {
            double electrons;
            population = NH_ARRAY(double, t.n_column);
            status = population == NULL ? nh_fail_memory(err, "the projections")
                                        : nh_dos_count(&t, efermi, 0, 1, &electrons, population, err);
        }
    }
    if (status == 0) {
        describe(&t, a, method, sizeof method);
        table.efermi = efermi;
        nh_dosplot p = {.table = &table,
                        .title = a->title != NULL ? a->title : s->bands.title,
                        .name = a->name != NULL           ? a->name
                                : s->bands.matrix != NULL ? s->bands.matrix
                                                          : "bands",
                        .method = method,
                        .efermi_from = from,
                        .absolute = a->absolute,
                        .zero = a->absolute ? 0 : efermi,
                        .nelec = nelec,
                        .k = &s->bands.k,
                        .level = filled ? &level : NULL,
                        .population = population,
                        .window = {a->window[0], a->window[1]},
                        .picture = a->picture};
        tell(program, common, &p);
        status = write_output(common, &p, a->format, err);
    }
    free(weight);
    free(population);
    nh_dos_table_free(&table);
    nh_threads_free(t.threads);
    return status;
}

static int check_arguments(const arguments *a, nh_error *err)
{
    if (a->has_width && a->method != 1) return nh_fail(err, "--width belongs to --method gaussian");
    if (!(a->width > 0)) return nh_fail(err, "--width: a positive number expected, found %g", a->width);
    if (!(a->step > 0)) return nh_fail(err, "--step: a positive number expected, found %g", a->step);
    if (a->has_efermi && a->has_nelec) return nh_fail(err, "--efermi or --nelec expected, found both");
    if (a->has_nelec && !(a->nelec > 0))
        return nh_fail(err, "--nelec: a positive number expected, found %g", a->nelec);
    if (a->has_threshold && !(a->threshold > 0))
        return nh_fail(err, "--s-threshold: a positive number expected, found %g", a->threshold);
    if (a->has_mesh && (a->mesh[0] < 1 || a->mesh[1] < 1 || a->mesh[2] < 1))
        return nh_fail(err, "--mesh: three positive numbers expected, found %d %d %d", a->mesh[0], a->mesh[1],
                       a->mesh[2]);
    if (a->has_picture && a->format != NH_DOSPLOT_GNUPLOT)
        return nh_fail(err, "--picture belongs to --format gnuplot");
    if (a->integrated && !a->has_project && !a->spin)
        return nh_fail(err, "--integrated belongs to --project and --spin");
    return 0;
}

int main(int argc, char **argv)
{
    arguments a = {.picture = "dos.png", .width = 0.1, .step = 0.02, .window = {-INFINITY, INFINITY}};
    const nh_option options[] = {
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "Integration"},
        {NH_OPT_CHOICE, 0, "method", NULL, &a.method, METHODS, NULL,
         "linear tetrahedra with Bloechl's corrections, on a Gamma-centred mesh; or a Gaussian for each "
         "state "
         "[tetrahedron]"},
        {NH_OPT_REAL, 0, "width", "E", &a.width, NULL, &a.has_width,
         "standard deviation of the Gaussians, eV [0.1]"},
        {NH_OPT_RANGE, 0, "window", "LO:HI", a.window, NULL, &a.has_window,
         "energies, eV relative to the Fermi level, or with --absolute as they are [all bands; gnuplot: "
         "-10:10]"},
        {NH_OPT_REAL, 0, "step", "E", &a.step, NULL, NULL, "step of the energies, eV [0.02]"},
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "Zero of energy"},
        {NH_OPT_REAL, 0, "nelec", "N", &a.nelec, NULL, &a.has_nelec,
         "electrons that fill the bands [the file's]"},
        {NH_OPT_REAL, 0, "efermi", "E", &a.efermi, NULL, &a.has_efermi,
         "Fermi level, eV [from filling the bands; where the electrons are not known, the file's]"},
        {NH_OPT_FLAG, 0, "absolute", NULL, &a.absolute, NULL, NULL,
         "energies on the scale of the Hamiltonian"},
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "Projections"},
        {NH_OPT_CHOICE, 0, "project", NULL, &a.project, nh_group_kinds, &a.has_project,
         "a column for each element, atom or shell (Mulliken); of eigenvalues it needs geneig --project"},
        {NH_OPT_FLAG, 0, "spin", NULL, &a.spin, NULL, NULL,
         "columns for <sigma_x>, <sigma_y>, <sigma_z>; of eigenvalues it needs geneig --spin"},
        {NH_OPT_FLAG, 0, "integrated", NULL, &a.integrated, NULL, NULL,
         "in these columns the number of electrons below each energy, with Bloechl's correction"},
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "From a real-space file"},
        {NH_OPT_INTS3, 0, "mesh", "N1 N2 N3", a.mesh, NULL, &a.has_mesh,
         "Gamma-centred mesh [25 Å over the length of each lattice vector]"},
        {NH_OPT_CHOICE, 0, "matrix", NULL, &a.matrix, MATRIX_NAMES, &a.has_matrix,
         "the Hamiltonian [h_pred]"},
        {NH_OPT_REAL, 0, "s-threshold", "X", &a.threshold, NULL, &a.has_threshold,
         "project out the eigenvectors of S(k) with eigenvalues below X [an S that is not positive definite "
         "is an "
         "error]"},
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "Output"},
        {NH_OPT_CHOICE, 0, "format", NULL, &a.format, FORMATS, NULL,
         "a table, a script for gnuplot, JSON, or one row with Fermi level and gap [tsv]"},
        {NH_OPT_STRING, 0, "title", "TEXT", (void *)&a.title, NULL, NULL, "title [from the file]"},
        {NH_OPT_STRING, 0, "name", "TEXT", (void *)&a.name, NULL, NULL,
         "name of the bands [name of the matrix]"},
        {NH_OPT_STRING, 0, "picture", "FILE", (void *)&a.picture, NULL, &a.has_picture,
         "picture that the gnuplot script makes, .png, .svg or .pdf [dos.png]"},
    };
    static const char *const synopsis[] = {
        "[--method tetrahedron|gaussian] [--project element|atom|shell|atom-shell] [--format "
        "tsv|gnuplot|json|summary] "
        "[-o FILE] [eig.nc]",
        "[...] [--mesh N1 N2 N3] [--matrix h_pred|h0|h_label] [-o FILE] ham.nc",
        NULL,
    };
    const nh_program program = {
        .name = "dos",
        .summary = "eigenvalues or a Hamiltonian in, density of states out, with Fermi level and gap",
        .synopsis = synopsis,
        .description = "The input is the eigenvalues of a mesh (geneig --mesh N1 N2 N3 --gamma), or a "
                       "real-space file, whose "
                       "bands are then computed on a mesh; of k and -k only one, where the Hamiltonian is "
                       "its own time reversal. "
                       "Energies are relative to the Fermi level.\n\n"
                       "A density of states is the number of electrons in each step of energy over the step, "
                       "so that the column "
                       "adds up to the number of electrons whatever the step; the next column is the number "
                       "of electrons below "
                       "the energy. Both count the states of one cell, and two electrons a state without "
                       "spin. The Fermi level is "
                       "the energy where that number is the number of electrons of the file, or the middle "
                       "of a gap. Gap, edges, "
                       "the density at the Fermi level, the sum of the occupied energies and the electrons "
                       "of each projection are "
                       "in the lines with '#'.\n\n"
                       "Projections are Mulliken's and add up to the whole; single ones can be a little "
                       "negative. Bloechl's "
                       "correction changes the numbers of electrons of the projections (--integrated, and "
                       "below the Fermi level) "
                       "and the sum of energies. It does not change the total, nor is it in the projected "
                       "densities, whose "
                       "derivative it would be.",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .max_inputs = 1,
        .computes = true,
        .example = "dos --mesh 12 12 12 --project element -o dos.tsv ham.nc\n"
                   "geneig --mesh 12 12 12 --gamma --project atom-shell -o eig.nc ham.nc && dos --project "
                   "shell eig.nc\n"
                   "dos --format gnuplot --picture dos.svg eig.nc | gnuplot",
        .see_also = "geneig(1), bandplot-data(1), gnuplot(1)",
    };
    nh_common common;
    nh_error err;
    int status = nh_parse(&program, argc, argv, &common);
    if (status >= 0) return status;
    if (check_arguments(&a, &err) != 0) {
        nh_report(&program, &err);
        status = 2;
    } else {
        states s = {0};
        if (a.format == NH_DOSPLOT_GNUPLOT && !a.has_window) { /* all bands would fill no readable picture */
            a.window[0] = -10;
            a.window[1] = 10;
        }
        status = open_states(&program, &common, &a, &s, &err);
        if (status == 0) status = make_dos(&program, &common, &a, &s, &err);
        if (status != 0) nh_report(&program, &err);
        status = status < 0 ? 1 : status;
        states_free(&s);
    }
    nh_common_free(&common);
    return status;
}
