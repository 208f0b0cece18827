/* geneig - H(k) C = E S(k) C. */
#include "base/memory.h"
#include "base/progress.h"
#include "base/ranks.h"
#include "crystal/fourier_placed.h"
#include "crystal/share.h"
#include "crystal/spectrum.h"
#include "device/choice.h"
#include "device/device.h"
#include "formats/netcdf/eigen.h"
#include "formats/netcdf/graph.h"
#include "formats/abacus/kpt.h"
#include "formats/netcdf/kspace.h"
#include "properties/projection.h"
#include "sparse/nearest.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const nh_matrix MATRICES[] = {NH_H_PRED, NH_H0, NH_H_LABEL};
static const char *const MATRIX_NAMES[] = {"h_pred", "h0", "h_label", NULL};
static const char *const EFERMI[] = {"auto", NULL};
static const char *const SOLVERS[] = {"auto", "dense", "sparse", NULL};
enum { SOLVER_AUTO, SOLVER_DENSE, SOLVER_SPARSE };
/* Basis functions below which the sparse solver is not even asked what it would take. */
enum { SPARSE_BASIS = 1000 };
static const double HERMITIAN_WITHIN = 1e-6 * NH_RYDBERG;

typedef struct arguments {
    nh_kpoint_options k;
    nh_checked device;
    int matrix, against, nev, project;
    bool has_matrix, has_against, has_bands, has_window, has_nev, has_sigma, has_threshold, vectors;
    bool has_project, spin;
    double bands[2], window[2], sigma, threshold;
    int fermi_mesh[3];
    bool has_fermi_mesh, has_solver, has_memory;
    int solver;
    double memory; /* GB */
    bool has_efermi, has_nelec;
    int efermi;
    double nelec;
} arguments;

/* Where matrices come from: a reciprocal-space file, or a real-space file and Fourier sums. */
typedef struct source {
    const nh_program *program;
    const nh_common *common; /* quiet on all ranks but the first */
    nh_ranks ranks;          /* processes that share the k-points; the first one writes */
    bool failed;             /* on all ranks: they know it of each other */
    nh_nc *in;
    nh_graph *graph; /* NULL: reciprocal-space file */
    nh_fourier *fourier;
    nh_device *device; /* NULL: the CPU */
    nh_kspace s;
    double anti;
    double filled;   /* Fermi level by --fermi-mesh or --efermi auto; NaN without */
    double vbm, cbm; /* by --efermi auto; NaN without */
} source;

static void source_close(source *q)
{
    nh_kspace_free(&q->s);
    nh_fourier_free(q->fourier);
    nh_device_close(q->device);
    nh_graph_free(q->graph);
    nh_nc_close(q->in);
}

/* A failure of one process is one of all, before one waits for another. */
static int together(source *q, int status, nh_error *err)
{
    if (q->failed) return status;
    status = nh_ranks_agree(&q->ranks, status, err);
    q->failed = status != 0;
    return status;
}

/* Each process reads the input: a pipe has it for one. */
static int check_file(const source *q, nh_error *err)
{
    const char *name = nh_input(q->common);
    struct stat about;
    if (q->ranks.count == 1) return 0;
    if (strcmp(name, "-") == 0 || (stat(name, &about) == 0 && !S_ISREG(about.st_mode)))
        return nh_fail(err, "%s: several processes cannot read one pipe: the name of a file expected",
                       strcmp(name, "-") == 0 ? "standard input" : name);
    return 0;
}

static void warn_hermitian(const source *q, const char *what)
{
    if (q->anti > HERMITIAN_WITHIN)
        nh_warn(q->program, q->common, "%s: %s is not Hermitian; what is left out is up to %.3e eV",
                nh_nc_name(q->in), what, q->anti);
}

static int open_graph(source *q, const arguments *a, nh_error *err)
{
    const nh_matrix m = MATRICES[a->matrix];
    nh_error note;
    const unsigned want = 1u << m | NH_WANT_OVERLAP | (a->has_against ? 1u << MATRICES[a->against] : 0);
    if (nh_graph_read(q->in, want, &q->graph, err) != 0 ||
        nh_graph_require(q->graph, nh_nc_name(q->in), want, err) != 0 ||
        nh_kpoint_options_read(&a->k, &q->graph->structure, &q->s.k, &note, err) != 0)
        return -1;
    if (note.text[0] != '\0' && !q->common->quiet) nh_remark(q->program->name, "path: %s", note.text);
    if (nh_fourier_new(q->graph, m, &q->anti, &q->fourier, err) != 0)
        return nh_fail_at(err, "%s", nh_nc_name(q->in));
    if (nh_fourier_place(q->fourier, q->device, err) != 0) return -1;
    warn_hermitian(q, nh_matrix_name(m));
    q->s.basis = nh_fourier_basis(q->fourier);
    if (nh_electrons_of(q->graph, m, &q->s.electrons, err) != 0) return -1;
    /* A file's Fermi level is that of its self-consistent Hamiltonian, the common zero of all bands from it; without one it is
     * H0's and says nothing of a prediction. */
    if (m == NH_H_PRED && !nh_nc_has(q->in, "h_label")) q->s.electrons.efermi = NAN;
    return 0;
}

/* Returns -1 after a failure, 2 where the command line does not fit the file. */
static int source_open(source *q, const arguments *a, nh_error *err)
{
    nh_error note;
    if (check_file(q, err) != 0) return -1;
    if (nh_device_open(a->device.text, nh_device_local_rank(), &q->device, &note, err) != 0) return -1;
    if (note.text[0] != '\0') nh_warn(q->program, q->common, "%s", note.text);
    if (nh_nc_open(nh_input(q->common), &q->in, err) != 0) return -1;
    const bool kspace = nh_nc_has(q->in, "hk"), real_space = nh_nc_has(q->in, "pair_src");
    if (!kspace && !real_space)
        return nh_fail(
            err,
            "%s: neither a reciprocal-space file (variable hk) nor a real-space file (variable pair_src)",
            nh_nc_name(q->in));
    if (kspace) {
        if (a->has_project || a->spin) {
            nh_fail(
                err,
                "%s: a reciprocal-space file does not say which atom an orbital belongs to: --project and "
                "--spin need the real-space file (ham.nc)",
                nh_nc_name(q->in));
            return 2;
        }
        if (nh_kpoint_options_given(&a->k) || a->has_matrix || a->has_against || a->has_fermi_mesh) {
            nh_fail(err,
                    "%s: a reciprocal-space file has its k-points and its matrix: no --kpath, --path, "
                    "--mesh, --kpoints, --matrix, --against, --fermi-mesh",
                    nh_nc_name(q->in));
            return 2;
        }
        return nh_kspace_read(q->in, &q->s, err);
    }
    if (nh_kpoint_options_check(&a->k, err) != 0) {
        nh_fail_at(err, "%s: a real-space file", nh_nc_name(q->in));
        return 2;
    }
    return open_graph(q, a, err);
}

static int choose_bands(const arguments *a, size_t basis, const char *name, nh_band_choice *out,
                        nh_error *err)
{
    *out = (nh_band_choice){.kind = NH_BANDS_ALL, .count = basis};
    if (a->has_bands) {
        const double last = isinf(a->bands[1]) ? (double)basis : a->bands[1];
        if (last > (double)basis || a->bands[0] > (double)basis)
            return nh_fail(err, "%s: --bands: band %.0f asked for, there are %zu", name,
                           fmax(last, a->bands[0]), basis);
        *out = (nh_band_choice){.kind = NH_BANDS_INDEX, .first = (size_t)a->bands[0] - 1};
        out->count = (size_t)last - out->first;
    } else if (a->has_window) {
        *out = (nh_band_choice){.kind = NH_BANDS_WINDOW, .lo = a->window[0], .hi = a->window[1]};
    } else if (a->has_nev) {
        if ((size_t)a->nev > basis)
            return nh_fail(err, "%s: --nev: %d bands asked for, there are %zu", name, a->nev, basis);
        *out = (nh_band_choice){.kind = NH_BANDS_NEAREST, .count = (size_t)a->nev, .centre = a->sigma};
    }
    return 0;
}

/* What the solution of all k-points needs of this program: matrices of a reciprocal-space file, and where vectors go. */
typedef struct job {
    source *q;
    nh_nc *out; /* NULL: vectors are not written */
    size_t most;
    nh_weigher *weigher;           /* NULL: no projections, no spin */
    const nh_spectrum_task *dense; /* which of the two; the other is NULL */
    const nh_nearest_task *sparse;
    nh_spectrum *spectrum;
    size_t first; /* of several processes: `kept` has the vectors from this k-point on */
    double *kept; /* NULL: they are written at once */
} job;

static int read_matrices(void *context, size_t first, size_t n, double *h, double *s, nh_error *err)
{
    source *q = ((job *)context)->q;
    return nh_kspace_get(q->in, &q->s, first, n, h, s, &q->anti, err);
}

static int take_vectors(void *context, size_t k, const double *vector, nh_error *err)
{
    const job *j = context;
    const size_t size = 2 * j->most * j->q->s.basis;
    if (j->kept != NULL) memcpy(j->kept + (k - j->first) * size, vector, size * sizeof *vector);
    if (j->kept != NULL || j->out == NULL) return 0;
    return nh_eigen_put_vectors(j->out, k, j->most, j->q->s.basis, vector, err);
}

static int put_vectors(void *context, size_t k, const double *vector, nh_error *err)
{
    const job *j = context;
    return nh_eigen_put_vectors(j->out, k, j->most, j->q->s.basis, vector, err);
}

/* The k-points first..end-1, for the processes that share them. */
static int solve_part(void *context, size_t first, size_t end, double *kept, nh_error *err)
{
    job *j = context;
    j->first = first;
    j->kept = kept;
    if (j->sparse != NULL) {
        nh_nearest_task part = *j->sparse;
        part.first = first;
        part.end = end;
        return nh_nearest_solve(&part, j->spectrum, err);
    }
    nh_spectrum_task part = *j->dense;
    part.first = first;
    part.end = end;
    return nh_spectrum_solve(&part, j->spectrum, err);
}

/* How the processes share the k-points; vectors: numbers of a k-point that go to the first one. */
static nh_share share_of(const source *q, bool sparse, size_t vectors)
{
    const size_t batch = sparse || q->fourier == NULL ? 1 : nh_fourier_batch(q->fourier);
    return nh_share_of(&q->ranks, q->s.k.count, batch, vectors * sizeof(double),
                       sparse ? 1 : q->common->threads);
}

static void warn_idle(const source *q, bool sparse)
{
    const nh_share share = share_of(q, sparse, 0);
    const size_t count = (size_t)q->ranks.count, busy = nh_share_busy(&share);
    char why[64] = "";
    if (busy < q->s.k.count && busy < count)
        snprintf(why, sizeof why, " (small matrices: %zu k-points at a time)", share.chunk);
    if (busy < count)
        nh_warn(q->program, q->common, "%s: %zu processes for %zu k-points: %zu have nothing to do%s",
                nh_nc_name(q->in), count, q->s.k.count, count - busy, why);
}

/* By all processes; `write`: with vectors for the file. */
static int solve_shared(job *j, const nh_share *share, bool write, nh_error *err)
{
    source *q = j->q;
    const nh_share_task task = {.out = j->spectrum,
                                .solve = solve_part,
                                .vector_size = write ? 2 * j->most * q->s.basis : 0,
                                .take = put_vectors,
                                .context = j};
    const int status = nh_share_solve(share, &task, err);
    q->failed = status != 0;
    return status;
}

static void say(void *context, bool warning, const char *text)
{
    const source *q = ((job *)context)->q;
    if (warning)
        nh_warn(q->program, q->common, "%s", text);
    else if (!q->common->quiet)
        fprintf(stderr, "%s: sparse: %s\n", q->program->name, text);
}

/* What this process may use where --memory does not say it: the processes of a machine share it. 0: all. */
static double own_memory(const source *q)
{
    const int here = nh_ranks_here(&q->ranks);
    return here > 1 ? nh_memory_available() / here : 0;
}

static nh_nearest_task sparse_task(const source *q, const arguments *a, job *j)
{
    return (nh_nearest_task){.name = nh_nc_name(q->in),
                             .fourier = q->fourier,
                             .n_k = q->s.k.count,
                             .k = q->s.k.k,
                             .count = a->has_nev ? (size_t)a->nev : 1,
                             .centre = a->sigma,
                             .vectors = a->vectors,
                             .take = take_vectors,
                             .context = j,
                             .threads = q->common->threads,
                             .memory = a->has_memory ? 1e9 * a->memory : own_memory(q),
                             .say = say};
}

/* What keeps the sparse solver from this, or NULL. */
static const char *only_dense(const source *q, const arguments *a)
{
    if (q->graph == NULL) return "a reciprocal-space file has dense matrices";
    if (!a->has_nev) return "it needs --nev";
    if (a->has_threshold) return "it has no --s-threshold";
    if (a->has_project || a->spin) return "it has no --project and no --spin";
    if (q->device != NULL) return "it has no --device";
    return nh_factor_available() ? NULL : "this program was built without MUMPS (libmumps-seq-dev)";
}

/* Sparse or dense: as asked for, or what is faster. */
static int choose_solver(const source *q, const arguments *a, bool *sparse, nh_error *err)
{
    const char *why = only_dense(q, a);
    *sparse = a->solver == SOLVER_SPARSE;
    if (*sparse && why != NULL) return nh_fail(err, "%s: --solver sparse: %s", nh_nc_name(q->in), why);
    if (a->solver != SOLVER_AUTO || why != NULL || q->s.basis < SPARSE_BASIS) return 0;
    nh_factor_facts facts;
    bool real;
    job j = {.q = NULL};
    const nh_nearest_task task = sparse_task(q, a, &j);
    if (nh_nearest_expect(&task, &facts, &real, err) != 0) return -1;
    *sparse = nh_nearest_pay(&facts, q->s.basis, (size_t)a->nev);
    return 0;
}

static int solve_sparse(source *q, const arguments *a, size_t most, nh_nc *out, nh_spectrum *spectrum,
                        nh_error *err)
{
    job j = {.q = q, .out = out, .most = most, .spectrum = spectrum};
    nh_nearest_task task = sparse_task(q, a, &j);
    const nh_share share = share_of(q, true, a->vectors ? 2 * most * q->s.basis : 0);
    j.sparse = &task;
    task.progress = nh_progress_start(q->program->name, "k-points", nh_share_count(&share), q->common->quiet);
    const int status = solve_shared(&j, &share, a->vectors, err);
    nh_progress_end(task.progress);
    return status;
}

static int weigh(void *context, size_t k, int thread, size_t count, const double *s, const double *vector,
                 nh_error *err)
{
    (void)err;
    nh_weigher_take(((const job *)context)->weigher, k, thread, count, s, vector);
    return 0;
}

/* most > 0: with vectors, `most` at each k-point: written to `out` (NULL: not), and given to `weigher` (NULL: not). Otherwise
 * energies alone; with --vectors, --project, --spin as they will be then. */
static int solve_all(source *q, const arguments *a, const nh_band_choice *choice, size_t most, nh_nc *out,
                     nh_weigher *weigher, nh_spectrum *spectrum, nh_error *err)
{
    const bool write = most > 0 && a->vectors;
    const nh_share share = share_of(q, false, write ? 2 * most * q->s.basis : 0);
    job j = {.q = q, .out = out, .most = most, .weigher = weigher, .spectrum = spectrum};
    const nh_spectrum_task task = {.name = nh_nc_name(q->in),
                                   .n_k = q->s.k.count,
                                   .basis = q->s.basis,
                                   .k = q->s.k.k,
                                   .fourier = q->fourier,
                                   .read = read_matrices,
                                   .threshold = a->threshold,
                                   .choice = *choice,
                                   .most = most,
                                   .as_with_vectors = a->vectors || a->has_project || a->spin,
                                   .take = take_vectors,
                                   .measure = weigher != NULL ? weigh : NULL,
                                   .context = &j,
                                   .threads = q->common->threads,
                                   .device = q->device,
                                   .progress = nh_progress_start(q->program->name, "k-points",
                                                                 nh_share_count(&share), q->common->quiet)};
    j.dense = &task;
    const int status = solve_shared(&j, &share, write, err);
    nh_progress_end(task.progress);
    if (status == 0 && weigher != NULL) {
        const nh_state_weights *w = &weigher->states;
        if (w->weight != NULL) nh_share_rows(&share, w->n_band * w->n_group * sizeof *w->weight, w->weight);
        if (w->spin != NULL) nh_share_rows(&share, w->n_band * 3 * sizeof *w->spin, w->spin);
    }
    return status;
}

/* Says where the overlap matrix is nearly singular: there, small errors of H(k) make ghost states. */
static void warn_overlap(const source *q, const arguments *a, const nh_spectrum *v)
{
    size_t n = 0, worst = 0;
    for (size_t k = 0; k < v->n_k; k++) {
        if (!(v->s_smallest[k] < NH_SMALL_OVERLAP)) continue;
        if (n++ == 0 || v->s_smallest[k] < v->s_smallest[worst]) worst = k;
    }
    if (n == 0) return;
    const double *k = q->s.k.k + 3 * worst, small = v->s_smallest[worst], large = v->s_largest[worst];
    char kappa[48] = "";
    if (small > 0) snprintf(kappa, sizeof kappa, ", kappa(S) %.1e", large / small);
    nh_warn(
        q->program, q->common,
        "%s: the overlap matrix is ill-conditioned at %zu of %zu k-points, most at k-point %zu (%g %g %g): "
        "smallest eigenvalue %.1e%s%s",
        nh_nc_name(q->in), n, v->n_k, worst + 1, k[0], k[1], k[2], small, kappa,
        a->has_threshold ? "" : " (--s-threshold projects out)");
}

/* The chosen columns of all energies. */
static int pack(const source *q, const nh_spectrum *v, size_t n_band, nh_bands *b, nh_error *err)
{
    if (nh_bands_new(&q->s.k, n_band, b, err) != 0) return -1;
    const nh_electrons *e = &q->s.electrons;
    b->efermi = e->efermi;
    b->nelec = e->nelec;
    b->electrons_per_band = e->electrons_per_band;
    b->has_lattice = e->has_lattice;
    memcpy(b->lattice, e->lattice, sizeof b->lattice);
    if ((e->title != NULL && (b->title = nh_strdup(e->title)) == NULL) ||
        (e->matrix != NULL && (b->matrix = nh_strdup(e->matrix)) == NULL)) {
        nh_bands_free(b);
        return nh_fail_memory(err, "attributes");
    }
    for (size_t k = 0; k < b->k.count; k++) {
        b->first[k] = v->first[k];
        memcpy(b->energy + k * n_band, v->energy + k * v->basis + v->first[k],
               v->count[k] * sizeof *b->energy);
    }
    return 0;
}

/* Fermi level of a mesh from all energies; NaN where the k-points are no mesh, the number of electrons is not
 * known, or there are fewer states (a projected S), or not all energies are known. */
static int mesh_fermi_level(const nh_kspace *s, const nh_spectrum *v, bool all_known, double *efermi,
                            nh_error *err)
{
    *efermi = NAN;
    if (!all_known || s->k.mode != NH_K_MESH || !(s->electrons.nelec > 0)) return 0;
    double states = 0;
    for (size_t k = 0; k < s->k.count; k++)
        for (size_t i = 0; i < s->basis; i++)
            if (!isnan(v->energy[k * s->basis + i])) states += s->k.weight[k];
    if (states * s->electrons.electrons_per_band < s->electrons.nelec - 1e-7)
        return 0; /* as nh_fermi_level has it */
    size_t *zero = NH_ARRAY(size_t, s->k.count);
    if (zero == NULL) return nh_fail_memory(err, "the bands");
    const nh_bands all = {.k = s->k,
                          .n_band = s->basis,
                          .energy = v->energy,
                          .first = zero,
                          .electrons_per_band = s->electrons.electrons_per_band};
    const int status = nh_fermi_level(&all, s->electrons.nelec, efermi, err);
    free(zero);
    return status;
}

/* --fermi-mesh: all bands of the same matrix on a Gamma-centred mesh, filled. */
static int find_fermi_level(source *q, const arguments *a, nh_error *err)
{
    nh_kspace mesh = q->s;
    nh_spectrum v;
    if (!(q->s.electrons.nelec > 0))
        return nh_fail(err, "%s: --fermi-mesh: the file has no number of electrons (attribute nelec)",
                       nh_nc_name(q->in));
    if (nh_kpoints_mesh(a->fermi_mesh, true, (double[3]){0}, &mesh.k, err) != 0) return -1;
    const nh_kspace own = q->s;
    q->s = mesh;
    int status = nh_spectrum_new(mesh.k.count, mesh.basis, &v, err);
    if (status == 0) {
        const nh_band_choice all = {.kind = NH_BANDS_ALL, .count = mesh.basis};
        status = solve_all(q, a, &all, 0, NULL, NULL, &v, err);
        if (status == 0) status = mesh_fermi_level(&mesh, &v, true, &q->filled, err);
        if (status == 0 && isnan(q->filled))
            status = nh_fail(err, "%s: --fermi-mesh: %g electrons do not fill these bands", nh_nc_name(q->in),
                             mesh.electrons.nelec);
        nh_spectrum_free(&v);
    }
    q->s = own;
    nh_kpoints_free(&mesh.k);
    return status;
}

/* --efermi auto: the level that fills the bands of these k-points, and the states on both sides of it. */
static int find_level_here(source *q, const arguments *a, bool sparse, nh_error *err)
{
    const nh_electrons *e = &q->s.electrons;
    int status;
    if (a->has_nelec) q->s.electrons.nelec = a->nelec;
    if (!(e->nelec > 0))
        return nh_fail(err, "%s: --efermi auto: the file has no number of electrons: give --nelec",
                       nh_nc_name(q->in));
    if (sparse) {
        job j = {.q = q};
        nh_nearest_task task = sparse_task(q, a, &j);
        if (!a->has_sigma) task.centre = isnan(e->efermi) ? 0 : e->efermi;
        task.ranks = &q->ranks;
        status = nh_nearest_fermi(&task, &q->s.k, e->nelec, e->electrons_per_band, &q->filled, &q->vbm,
                                  &q->cbm, err);
        q->failed = status != 0;
    } else {
        nh_spectrum v;
        nh_bands b;
        const nh_band_choice all = {.kind = NH_BANDS_ALL, .count = q->s.basis};
        if (nh_spectrum_new(q->s.k.count, q->s.basis, &v, err) != 0) return -1;
        status = solve_all(q, a, &all, 0, NULL, NULL, &v, err);
        if (status == 0 && (status = nh_bands_new(&q->s.k, q->s.basis, &b, err)) == 0) {
            b.electrons_per_band = e->electrons_per_band;
            const size_t n = q->s.k.count * q->s.basis;
            memcpy(b.energy, v.energy, n * sizeof *b.energy);
            status = nh_fermi_level(&b, e->nelec, &q->filled, err);
            q->vbm = -INFINITY;
            q->cbm = INFINITY;
            for (size_t i = 0; i < n && status == 0; i++) {
                if (b.energy[i] <= q->filled) q->vbm = fmax(q->vbm, b.energy[i]);
                if (b.energy[i] > q->filled) q->cbm = fmin(q->cbm, b.energy[i]);
            }
            nh_bands_free(&b);
        }
        nh_spectrum_free(&v);
    }
    if (status != 0) return nh_fail_at(err, "%s: --efermi auto", nh_nc_name(q->in));
    if (!q->common->quiet)
        fprintf(
            stderr,
            "%s: %g electrons at %zu k-points: Fermi level %.6f eV, states at %.6f and %.6f eV beside it\n",
            q->program->name, e->nelec, q->s.k.count, q->filled, q->vbm, q->cbm);
    return 0;
}

static int write_facts(nh_nc *out, const source *q, const nh_spectrum *v, const nh_bands *b,
                       double mesh_level, const arguments *a, nh_error *err)
{
    const bool known = !isnan(q->s.electrons.efermi), filled = !isnan(q->filled);
    char from[64] = "input";
    if (a->has_efermi)
        snprintf(from, sizeof from, "these k-points");
    else if (filled)
        snprintf(from, sizeof from, "mesh %dx%dx%d", a->fermi_mesh[0], a->fermi_mesh[1], a->fermi_mesh[2]);
    else if (!known)
        snprintf(from, sizeof from, "mesh");
    if (nh_eigen_put(out, b, err) != 0) return -1;
    if ((known || filled || !isnan(mesh_level)) && nh_nc_set_text(out, "efermi_from", from, err) != 0)
        return -1;
    if (!isnan(mesh_level) && nh_nc_set_double(out, "efermi_mesh", mesh_level, err) != 0) return -1;
    if (a->has_efermi && isfinite(q->vbm) && isfinite(q->cbm) &&
        (nh_nc_set_double(out, "state_below_efermi", q->vbm, err) != 0 ||
         nh_nc_set_double(out, "state_above_efermi", q->cbm, err) != 0))
        return -1;
    if (!a->has_threshold) return 0;
    size_t dropped = 0, worst = 0;
    size_t *each = NH_ARRAY(size_t, b->k.count);
    if (each == NULL) return nh_fail_memory(err, "bands");
    for (size_t k = 0; k < b->k.count; k++) {
        each[k] = v->basis - v->rank[k];
        dropped += each[k];
        worst = each[k] > worst ? each[k] : worst;
    }
    const int status = nh_eigen_put_dropped(out, b->k.count, each, err);
    free(each);
    if (dropped > 0)
        nh_warn(q->program, q->common,
                "%zu eigenvectors of S with eigenvalues below %g projected out at %zu k-points, at most %zu "
                "at one",
                dropped, a->threshold, b->k.count, worst);
    return status != 0 || nh_nc_set_double(out, "s_threshold", a->threshold, err) != 0 ||
                   nh_nc_set_double(out, "s_dropped", (double)dropped, err) != 0
               ? -1
               : 0;
}

/* The numbers of --against. */
static int write_condition(nh_nc *out, const source *q, const arguments *a, nh_error *err)
{
    nh_condition c = {0};
    nh_fourier *one = NULL, *other = NULL; /* both on the CPU, for several threads */
    nh_threads *threads = NULL;
    int status = nh_fourier_new(q->graph, MATRICES[a->matrix], NULL, &one, err);
    if (status == 0) status = nh_fourier_new(q->graph, MATRICES[a->against], NULL, &other, err);
    if (status == 0) status = nh_threads_new(q->common->threads, &threads, err);
    if (status == 0) status = nh_condition_new(one, other, &q->s.k, threads, &c, err);
    if (status == 0) status = nh_eigen_put_condition(out, &c, MATRIX_NAMES[a->against], err);
    nh_condition_free(&c);
    nh_threads_free(threads);
    nh_fourier_free(one);
    nh_fourier_free(other);
    return status == 0 ? 0 : nh_fail_at(err, "%s", nh_nc_name(q->in));
}

/* The most bands that the window has at a k-point, of what was solved without vectors. */
static int count_window(const source *q, const arguments *a, const nh_spectrum *v, size_t *most,
                        nh_error *err)
{
    *most = 0;
    for (size_t k = 0; k < v->n_k; k++)
        *most = v->count[k] > *most ? v->count[k] : *most;
    return *most > 0 ? 0
                     : nh_fail(err, "%s: no band between %g and %g eV at any of %zu k-points",
                               nh_nc_name(q->in), a->window[0], a->window[1], v->n_k);
}

static int create(const source *q, const arguments *a, size_t n_band, bool ragged, nh_nc **out, nh_error *err)
{
    nh_bands b = {0};
    if (nh_bands_new(&q->s.k, n_band, &b, err) != 0) return -1;
    b.electrons_per_band = q->s.electrons.electrons_per_band;
    b.nelec = q->s.electrons.nelec;
    b.title = q->s.electrons.title;
    b.matrix = q->s.electrons.matrix;
    b.has_lattice = q->s.electrons.has_lattice;
    memcpy(b.lattice, q->s.electrons.lattice, sizeof b.lattice);
    int status = nh_nc_create(q->common->output, q->program->name, q->common, q->in, out, err);
    if (status == 0) status = nh_eigen_define(*out, &b, a->vectors ? q->s.basis : 0, ragged, err);
    b.title = b.matrix = NULL; /* not its own */
    nh_bands_free(&b);
    return status;
}

static int write_bands(nh_nc *out, const source *q, const arguments *a, const nh_spectrum *v, size_t n_band,
                       bool sparse, nh_error *err)
{
    nh_bands b;
    double mesh_level;
    if (mesh_fermi_level(&q->s, v, !sparse, &mesh_level, err) != 0) return -1;
    if (pack(q, v, n_band, &b, err) != 0) return -1;
    if (!isnan(q->filled)) b.efermi = q->filled;
    if (isnan(b.efermi)) b.efermi = mesh_level;
    int status = write_facts(out, q, v, &b, mesh_level, a, err);
    nh_bands_free(&b);
    if (status == 0 && a->has_against) status = write_condition(out, q, a, err);
    return status;
}

static int new_weigher(const source *q, const arguments *a, size_t most, nh_weigher *out, nh_error *err)
{
    const nh_group_kind kind = (nh_group_kind)a->project;
    return nh_weigher_new(q->graph, a->has_project ? &kind : NULL, a->spin, q->s.k.count, most,
                          q->common->threads, out, err) == 0
               ? 0
               : nh_fail_at(err, "%s", nh_nc_name(q->in));
}

/* What the processes have left out to make a file's matrices Hermitian: the largest. */
static void share_anti(source *q)
{
    double most = q->anti;
    for (int owner = 0; owner < q->ranks.count; owner++) {
        double anti = q->anti;
        nh_ranks_share(&q->ranks, owner, sizeof anti, &anti);
        most = fmax(most, anti);
    }
    q->anti = most;
}

static int solve(source *q, const arguments *given, nh_error *err)
{
    arguments own = *given; /* --nev without --sigma: about the Fermi level */
    const arguments *a = &own;
    nh_band_choice choice;
    nh_spectrum v;
    nh_nc *out = NULL;
    nh_weigher weigher = {0};
    const bool weighs = a->has_project || a->spin;
    bool sparse;
    if (choose_solver(q, a, &sparse, err) != 0) return -1;
    warn_idle(q, sparse);
    if (a->has_efermi && find_level_here(q, a, sparse, err) != 0) return -1;
    if (!a->has_sigma) own.sigma = q->filled;
    if (choose_bands(a, q->s.basis, nh_nc_name(q->in), &choice, err) != 0 ||
        nh_spectrum_new(q->s.k.count, q->s.basis, &v, err) != 0)
        return -1;
    /* The number of bands in a window is known only after all energies are; the others' is known now. */
    const bool window = choice.kind == NH_BANDS_WINDOW;
    size_t n_band = choice.count;
    int status = a->has_fermi_mesh ? find_fermi_level(q, a, err) : 0;
    if (status == 0 && window) status = solve_all(q, a, &choice, 0, NULL, NULL, &v, err);
    if (status == 0 && window) status = count_window(q, a, &v, &n_band, err);
    if (status == 0 && q->ranks.rank == 0)
        status =
            create(q, a, n_band, window || choice.kind == NH_BANDS_NEAREST || a->has_threshold, &out, err);
    if (status == 0 && weighs) status = new_weigher(q, a, n_band, &weigher, err);
    if (status == 0 && sparse)
        status = solve_sparse(q, a, n_band, out, &v, err);
    else if (status == 0 && (!window || a->vectors || weighs))
        status = solve_all(q, a, &choice, a->vectors || weighs ? n_band : 0, a->vectors ? out : NULL,
                           weighs ? &weigher : NULL, &v, err);
    if (status == 0 && q->graph == NULL) {
        share_anti(q);
        warn_hermitian(q, "hk");
    }
    if (status == 0) warn_overlap(q, a, &v);
    if (q->ranks.rank > 0) goto done;
    if (status == 0) status = write_bands(out, q, a, &v, n_band, sparse, err);
    if (status == 0 && weighs) status = nh_eigen_put_weights(out, &weigher.states, err);
    if (status == 0) {
        status = nh_nc_commit(out, err);
        out = NULL;
    }
done:
    nh_nc_close(out);
    nh_weigher_free(&weigher);
    nh_spectrum_free(&v);
    return status;
}

static int check_arguments(const arguments *a, nh_error *err)
{
    if (a->has_bands + a->has_window + (a->has_nev || a->has_sigma) > 1)
        return nh_fail(err, "one of --bands, --window, --nev expected, found several");
    if (a->has_sigma && !a->has_nev) return nh_fail(err, "--sigma: with --nev");
    if (a->has_nev && !a->has_sigma && !a->has_efermi)
        return nh_fail(err, "--nev and --sigma belong together (or --efermi auto: about the Fermi level)");
    if (a->has_efermi && a->has_fermi_mesh)
        return nh_fail(err, "--efermi auto and --fermi-mesh: two ways to one number");
    if (a->has_nelec && !a->has_efermi) return nh_fail(err, "--nelec: with --efermi auto");
    if (a->has_nelec && !(a->nelec > 0))
        return nh_fail(err, "--nelec: a positive number expected, found %g", a->nelec);
    if (a->has_nev && a->nev < 1) return nh_fail(err, "--nev: at least 1 expected, found %d", a->nev);
    if (a->has_bands &&
        (a->bands[0] < 1 || a->bands[0] != floor(a->bands[0]) || a->bands[1] != floor(a->bands[1])))
        return nh_fail(err, "--bands: numbers of bands from 1 expected, found %g:%g", a->bands[0],
                       a->bands[1]);
    if (a->has_threshold && !(a->threshold > 0))
        return nh_fail(err, "--s-threshold: a positive number expected, found %g", a->threshold);
    if (a->has_memory && !(a->memory > 0))
        return nh_fail(err, "--memory: a positive number expected, found %g", a->memory);
    if (a->has_fermi_mesh && (a->fermi_mesh[0] < 1 || a->fermi_mesh[1] < 1 || a->fermi_mesh[2] < 1))
        return nh_fail(err, "--fermi-mesh: three positive numbers expected, found %d %d %d", a->fermi_mesh[0],
                       a->fermi_mesh[1], a->fermi_mesh[2]);
    if (a->has_threshold && a->has_against)
        return nh_fail(err, "--against: the bound is of the whole overlap matrix: not with --s-threshold");
    return 0;
}

int main(int argc, char **argv)
{
    arguments a = {.k = NH_KPOINT_DEFAULTS,
                   .device = NH_DEVICE_ONE,
                   .bands = {1, INFINITY},
                   .window = {-INFINITY, INFINITY}};
    const nh_option on_device = NH_DEVICE_ONE_ROW(a.device);
    const nh_option options[] = {
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "Bands (one of; all without)"},
        {NH_OPT_RANGE, 0, "bands", "LO:HI", a.bands, NULL, &a.has_bands,
         "bands LO to HI, counted from 1, both included"},
        {NH_OPT_RANGE, 0, "window", "EMIN:EMAX", a.window, NULL, &a.has_window,
         "bands with EMIN <= E <= EMAX, eV, on the scale of the Hamiltonian (not relative to the Fermi "
         "level)"},
        {NH_OPT_INT, 0, "nev", "N", &a.nev, NULL, &a.has_nev,
         "the N bands nearest to --sigma; of large crystals by sparse matrices (--solver)"},
        {NH_OPT_REAL, 0, "sigma", "E", &a.sigma, NULL, &a.has_sigma, "energy for --nev, eV"},
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "Solution"},
        {NH_OPT_CHOICE, 0, "solver", NULL, &a.solver, SOLVERS, &a.has_solver,
         "for --nev from a real-space file: dense, sparse, or the faster one [auto]"},
        {NH_OPT_REAL, 0, "memory", "GB", &a.memory, NULL, &a.has_memory,
         "of the sparse solver; a crystal that would need more is refused [what the machine has free]"},
        {NH_OPT_FLAG, 0, "vectors", NULL, &a.vectors, NULL, NULL, "write eigenvectors too, C^dagger S C = 1"},
        {NH_OPT_REAL, 0, "s-threshold", "X", &a.threshold, NULL, &a.has_threshold,
         "project out the eigenvectors of S(k) with eigenvalues below X; missing bands are NaN, at the top "
         "[no projection: an S "
         "that is not positive definite is an error]"},
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "From a real-space file"},
        {NH_OPT_CHOICE, 0, "project", NULL, &a.project, nh_group_kinds, &a.has_project,
         "also write which part of each state is on which elements, atoms or shells (Mulliken)"},
        {NH_OPT_FLAG, 0, "spin", NULL, &a.spin, NULL, NULL,
         "also write <sigma_x>, <sigma_y>, <sigma_z> of each state"},
        {NH_OPT_CHOICE, 0, "matrix", NULL, &a.matrix, MATRIX_NAMES, &a.has_matrix,
         "the Hamiltonian [h_pred]"},
        {NH_OPT_CHOICE, 0, "against", NULL, &a.against, MATRIX_NAMES, &a.has_against,
         "also write the norms that bound how far these bands can be from those of another Hamiltonian of "
         "the file"},
        {NH_OPT_INTS3, 0, "fermi-mesh", "N1 N2 N3", a.fermi_mesh, NULL, &a.has_fermi_mesh,
         "Fermi level: fill the bands of the same Hamiltonian on this Gamma-centred mesh first [the file's, "
         "if it has "
         "h_label; else by bandplot-data, from the k-points that are asked for]"},
        {NH_OPT_CHOICE, 0, "efermi", NULL, &a.efermi, EFERMI, &a.has_efermi,
         "auto: Fermi level by filling the bands of these k-points; for large crystals by counting. --sigma "
         "is "
         "then this level where it is not given"},
        {NH_OPT_REAL, 0, "nelec", "N", &a.nelec, NULL, &a.has_nelec,
         "electrons for --efermi auto [the file's]"},
        NH_KPOINT_OPTION_ROWS(a.k),
    };
    static const char *const synopsis[] = {
        "[--bands LO:HI | --window EMIN:EMAX | --nev N --sigma E|--efermi auto] [--vectors] [-o eig.nc] "
        "[hk.nc]",
        "[...] [--matrix h_pred|h0|h_label] --path PATH | --mesh N1 N2 N3 | --kpath FILE | --kpoints FILE "
        "[-o eig.nc] ham.nc",
        NULL,
    };
    const nh_program program = {
        .name = "geneig",
        .summary = "H(k) C = E S(k) C: band energies and eigenvectors at each k-point",
        .synopsis = synopsis,
        .description =
            "Solves the generalised Hermitian eigenproblem with LAPACK, dense, or for a few bands of a large "
            "crystal "
            "sparse. The input is the "
            "output of fourier, read a few "
            "k-points at a time, or a real-space file with any k-point option of fourier: then "
            "H(k) is assembled when it is needed "
            "and never stored. The two kinds of files are told apart by their variables.\n\n"
            "Small matrices are shared among threads by k-point, large ones one after another "
            "with a threaded BLAS. With --device cuda H(k) is assembled and solved on the device, "
            "many small matrices at "
            "once; only energies and vectors come back.\n\n"
            "The sparse solver takes H(k) and S(k) as sparse matrices, factorises H - sigma S with MUMPS and "
            "finds "
            "the bands nearest to --sigma by a block Lanczos iteration with its inverse. The inertia of the "
            "factorisation counts the bands below, at --sigma and at both ends of what was found: none is "
            "missing, "
            "and each has its number among all. Where H and S are real (k-points that are their own "
            "negative, no "
            "spin-orbit coupling) it computes in real numbers. It says beforehand how much memory it needs. "
            "A --sigma "
            "on a band is moved a little, which is said.\n\n"
            "The number of electrons is carried from the input, and the Fermi level, but for a "
            "prediction in a file "
            "without h_label, whose level would be H0's. On a mesh, "
            "where the electrons are known, the "
            "level found by filling these bands is the attribute efermi_mesh, and efermi too if "
            "the input has none. --fermi-mesh fills bands on a mesh of its own.\n\n"
            "--efermi auto fills the bands of the k-points given, with their weights, as bandplot-data does "
            "where no "
            "level is known: the level is half-way between the last state filled and the next, or on a state "
            "that is "
            "filled in part. The sparse solver finds it without all bands: it counts the states below trial "
            "energies "
            "until a few are left, and solves for those. Both states are printed and are in the file.\n\n"
            "An overlap matrix that is not positive definite is an error that names the k-point "
            "and the smallest eigenvalue.\n\n"
            "With mpirun the processes share the k-points, for both solvers, and the first one writes the "
            "file: "
            "the same as that of one process. Each reads the whole input, which is therefore a file, no "
            "pipe, "
            "and has its own --threads; those of one machine share its memory. Matrices of up to 512 basis "
            "functions are shared eight k-points at a time.\n\n"
            "--against: with D(k) = H(k) - H'(k) - mu S(k), where mu is the least-squares shift "
            "over all k-points, no "
            "energy of H is further than kappa(S)/||S|| ||D|| from that of H' plus mu (2-norms; "
            "kappa: largest over "
            "smallest eigenvalue). The file gets ||S||, kappa(S) and ||D|| of every k-point; "
            "bandplot-data --format "
            "kpoints sets the bound beside the difference.",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .max_inputs = 1,
        .computes = true,
        .device = &on_device,
        .example = "geneig --path auto --total 200 -o eig.nc ham.nc\n"
                   "geneig --path \"L .5 .5 .5; G 0 0 0; X .5 0 .5\" --total 200 -o eig.nc ham.nc\n"
                   "geneig --matrix h_label --mesh 8 8 8 --gamma -o eig.nc graph.nc\n"
                   "fourier --kpath KPT ham.nc | geneig --bands 1:40 --vectors -o eig.nc",
        .see_also = "fourier(1), bandplot-data(1)",
    };
    nh_common common;
    nh_error err;
    int status = nh_parse(&program, argc, argv, &common);
    if (status >= 0) return status;
    if (check_arguments(&a, &err) != 0) {
        nh_report(&program, &err);
        status = 2;
    } else {
        source q = {.program = &program,
                    .common = &common,
                    .ranks = {0, 1, 0},
                    .filled = NAN,
                    .vbm = NAN,
                    .cbm = NAN};
        status = nh_ranks_begin(&q.ranks, &err);
        common.quiet = common.quiet || q.ranks.rank > 0;
        if (status == 0) status = together(&q, source_open(&q, &a, &err), &err);
        if (status == 0) status = together(&q, solve(&q, &a, &err), &err);
        if (status != 0 && q.ranks.rank == 0) nh_report(&program, &err);
        status = status < 0 ? 1 : status;
        source_close(&q);
        nh_ranks_end(&q.ranks);
    }
    nh_common_free(&common);
    return status;
}
