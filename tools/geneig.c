/* geneig - H(k) C = E S(k) C. */
#include "base/memory.h"
#include "base/progress.h"
#include "crystal/eigen.h"
#include "crystal/fourier.h"
#include "device/device.h"
#include "formats/eigen.h"
#include "formats/graph.h"
#include "formats/kpt.h"
#include "formats/kspace.h"

#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const nh_matrix MATRICES[] = {NH_H_PRED, NH_H0, NH_H_LABEL};
static const char *const MATRIX_NAMES[] = {"h_pred", "h0", "h_label", NULL};
static const double HERMITIAN_WITHIN = 1e-6 * NH_RYDBERG;
/* From this size on LAPACK's own threads pay, and several k-points at a time would take too much memory. */
enum { LARGE_BASIS = 1500 };

typedef struct arguments {
    nh_kpoint_options k;
    int matrix, against, nev;
    bool has_matrix, has_against, has_bands, has_window, has_nev, has_sigma, has_threshold, vectors;
    double bands[2], window[2], sigma, threshold;
} arguments;

/* Where matrices come from: a reciprocal-space file, or a real-space file and Fourier sums. */
typedef struct source {
    const nh_program *program;
    const nh_common *common;
    nh_nc *in;
    nh_graph *graph; /* NULL: reciprocal-space file */
    nh_fourier *fourier;
    nh_device *device; /* NULL: the CPU */
    nh_kspace s;
    double anti;
} source;

static void source_close(source *q)
{
    nh_kspace_free(&q->s);
    nh_fourier_free(q->fourier);
    nh_device_close(q->device);
    nh_graph_free(q->graph);
    nh_nc_close(q->in);
}

static void warn_hermitian(const source *q)
{
    if (q->anti > HERMITIAN_WITHIN)
        nh_warn(q->program, q->common, "%s: %s is not Hermitian; what is left out is up to %.3e eV",
                nh_nc_name(q->in), q->graph != NULL ? q->s.electrons.matrix : "hk", q->anti);
}

static int open_graph(source *q, const arguments *a, nh_error *err)
{
    const nh_matrix m = MATRICES[a->matrix];
    const unsigned want = 1u << m | NH_WANT_OVERLAP | (a->has_against ? 1u << MATRICES[a->against] : 0);
    if (nh_graph_read(q->in, want, &q->graph, err) != 0 ||
        nh_graph_require(q->graph, nh_nc_name(q->in), want, err) != 0 ||
        nh_kpoint_options_read(&a->k, q->graph->structure.lattice, &q->s.k, err) != 0)
        return -1;
    if (nh_fourier_new(q->graph, m, &q->anti, &q->fourier, err) != 0)
        return nh_fail_at(err, "%s", nh_nc_name(q->in));
    if (nh_fourier_place(q->fourier, q->device, err) != 0) return -1;
    warn_hermitian(q);
    q->s.basis = nh_fourier_basis(q->fourier);
    return nh_electrons_of(q->graph, m, &q->s.electrons, err);
}

/* Returns -1 after a failure, 2 where the command line does not fit the file. */
static int source_open(source *q, const arguments *a, nh_error *err)
{
    nh_error note;
    if (nh_device_open(q->common->device, nh_device_local_rank(), &q->device, &note, err) != 0) return -1;
    if (note.text[0] != '\0') nh_warn(q->program, q->common, "%s", note.text);
    if (nh_nc_open(nh_input(q->common), &q->in, err) != 0) return -1;
    const bool kspace = nh_nc_has(q->in, "hk"), real_space = nh_nc_has(q->in, "pair_src");
    if (!kspace && !real_space)
        return nh_fail(
            err,
            "%s: neither a reciprocal-space file (variable hk) nor a real-space file (variable pair_src)",
            nh_nc_name(q->in));
    if (kspace) {
        if (nh_kpoint_options_given(&a->k) || a->has_matrix || a->has_against) {
            nh_fail(err,
                    "%s: a reciprocal-space file has its k-points and its matrix: no --kpath, --path, "
                    "--mesh, --kpoints, --matrix, --against",
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

static int source_get(source *q, size_t first, size_t n, double *h, double *s, nh_threads *threads,
                      nh_error *err)
{
    if (q->graph != NULL) return nh_fourier_many(q->fourier, n, q->s.k.k + 3 * first, h, s, threads, err);
    return nh_kspace_get(q->in, &q->s, first, n, h, s, &q->anti, err);
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

/* All k-points; each group is read or assembled, then solved by threads or on the device, then written in order. */
typedef struct solver {
    source *q;
    const nh_band_choice *choice;
    size_t group, n_thread; /* k-points at a time; work spaces */
    nh_threads *threads;
    nh_eigen **work; /* [n_thread]; on the device `many` instead */
    nh_eigen_many *many;
    size_t queued;   /* k-points that the device has been given */
    double *h, *s;   /* [group][basis][basis][2]; not on the device */
    double *vector;  /* [group][most][basis][2] or NULL */
    size_t most;
    nh_error *error;              /* [group] */
    double *energy;               /* [kpoint][basis] */
    size_t *first, *count, *rank; /* [kpoint] */
    size_t at;                    /* first k-point of the group */
} solver;

static void solve_one(void *context, size_t index, int thread)
{
    solver *v = context;
    const size_t basis = v->q->s.basis, size = 2 * basis * basis, k = v->at + index,
                 row = 2 * v->most * basis;
    double *vector = v->vector != NULL ? v->vector + index * row : NULL;
    v->error[index].text[0] = '\0';
    if (nh_eigen_solve(v->work[thread], v->h + index * size, v->s + index * size, v->choice, v->most,
                       &v->rank[k], v->energy + k * basis, &v->first[k], &v->count[k], vector,
                       &v->error[index]) != 0)
        return;
    for (size_t i = 2 * v->count[k] * basis; i < row && vector != NULL; i++)
        vector[i] = NAN;
}

static int solve_group(solver *v, size_t n, nh_error *err)
{
    if (source_get(v->q, v->at, n, v->h, v->s, v->threads, err) != 0) return -1;
    nh_parallel_for(v->threads, n, solve_one, v);
    return 0;
}

/* The same on the device, which is given the next group before it solves this one. */
static int solve_group_placed(solver *v, size_t n, nh_error *err)
{
    source *q = v->q;
    const size_t n_k = q->s.k.count, basis = q->s.basis, at = v->at;
    for (; v->queued < n_k && v->queued < at + 2 * v->group; v->queued += v->group) {
        const size_t more = n_k - v->queued < v->group ? n_k - v->queued : v->group;
        double *h, *s;
        if (q->graph == NULL && (nh_eigen_many_room(v->many, &h, &s, err) != 0 ||
                                 nh_kspace_get(q->in, &q->s, v->queued, more, h, s, &q->anti, err) != 0))
            return -1;
        if (nh_eigen_many_queue(v->many, more, q->fourier, q->s.k.k + 3 * v->queued, err) != 0) return -1;
    }
    if (nh_eigen_many_solve(v->many, v->choice, v->most, v->rank + at, v->energy + at * basis, v->first + at, v->count + at,
                            v->vector, v->threads, v->error, err) != 0)
        return -1;
    for (size_t i = 0; i < n && v->vector != NULL; i++)
        for (size_t x = 2 * v->count[at + i] * basis; x < 2 * v->most * basis; x++)
            v->vector[2 * i * v->most * basis + x] = NAN;
    return 0;
}

static void solver_free(solver *v)
{
    for (size_t i = 0; i < v->n_thread && v->work != NULL; i++)
        nh_eigen_free(v->work[i]);
    free(v->work);
    nh_eigen_many_free(v->many);
    free(v->h);
    free(v->s);
    free(v->vector);
    free(v->error);
    nh_threads_free(v->threads);
    *v = (solver){0};
}

/* most > 0: with vectors, `most` at each k-point, written to `out` if that is not NULL. */
static int solve_all(solver *v, double threshold, size_t most, nh_nc *out, nh_error *err)
{
    source *q = v->q;
    const size_t n_k = q->s.k.count, basis = q->s.basis, size = 2 * basis * basis;
    const int cores = q->common->threads;
    const bool placed = q->device != NULL, blas_threads = !placed && (basis >= LARGE_BASIS || n_k < (size_t)cores);
    v->n_thread = blas_threads ? 1 : (size_t)cores;
    v->group = blas_threads ? 1 : v->n_thread * (q->graph != NULL ? nh_fourier_batch(q->fourier) : 1);
    v->group = v->group < n_k ? v->group : n_k;
    v->most = most;
    if (placed) {
        if (nh_eigen_many_new(q->device, basis, n_k, threshold, most > 0, &v->many, err) != 0) return -1;
        v->group = nh_eigen_many_batch(v->many);
    } else {
        v->work = NH_ARRAY(nh_eigen *, v->n_thread);
        v->h = nh_calloc_aligned(v->group, size * sizeof *v->h);
        v->s = nh_calloc_aligned(v->group, size * sizeof *v->s);
    }
    v->error = NH_ARRAY(nh_error, v->group);
    size_t room = 0;
    bool good = v->error && (placed || (v->work && v->h && v->s)) && nh_size_mul(2 * basis * sizeof(double), most, &room);
    if (good && most > 0) {
        v->vector = nh_calloc_aligned(v->group, room);
        good = v->vector != NULL;
    }
    int status =
        good ? nh_threads_new((int)v->n_thread, &v->threads, err) : nh_fail_memory(err, "the eigenproblem");
    for (size_t i = 0; i < v->n_thread && status == 0 && !placed; i++)
        status = nh_eigen_new(basis, threshold, most > 0, &v->work[i], err);
    if (status == 0 && blas_threads) openblas_set_num_threads(cores);
    nh_progress *progress =
        status == 0 ? nh_progress_start(q->program->name, "k-points", n_k, q->common->quiet) : NULL;
    for (v->at = 0; v->at < n_k && status == 0; v->at += v->group) {
        const size_t n = n_k - v->at < v->group ? n_k - v->at : v->group;
        status = placed ? solve_group_placed(v, n, err) : solve_group(v, n, err);
        for (size_t i = 0; i < n && status == 0; i++) {
            const double *k = q->s.k.k + 3 * (v->at + i);
            if (v->error[i].text[0] != '\0')
                status = nh_fail(err, "%s: k-point %zu (%g %g %g): %s", nh_nc_name(q->in), v->at + i + 1,
                                 k[0], k[1], k[2], v->error[i].text);
            else if (most > 0 && out != NULL)
                status =
                    nh_eigen_put_vectors(out, v->at + i, most, basis, v->vector + 2 * i * most * basis, err);
        }
        nh_progress_add(progress, n);
    }
    nh_progress_end(progress);
    return status;
}

/* The chosen columns of all energies. */
static int pack(const solver *v, size_t n_band, nh_bands *b, nh_error *err)
{
    const size_t basis = v->q->s.basis;
    if (nh_bands_new(&v->q->s.k, n_band, b, err) != 0) return -1;
    const nh_electrons *e = &v->q->s.electrons;
    b->efermi = e->efermi;
    b->nelec = e->nelec;
    b->electrons_per_band = e->electrons_per_band;
    if ((e->title != NULL && (b->title = nh_strdup(e->title)) == NULL) ||
        (e->matrix != NULL && (b->matrix = nh_strdup(e->matrix)) == NULL)) {
        nh_bands_free(b);
        return nh_fail_memory(err, "attributes");
    }
    for (size_t k = 0; k < b->k.count; k++) {
        b->first[k] = v->first[k];
        memcpy(b->energy + k * n_band, v->energy + k * basis + v->first[k], v->count[k] * sizeof *b->energy);
    }
    return 0;
}

/* Fermi level of a mesh from all energies; NaN where the k-points are no mesh or the number of electrons is
 * not known. */
static double mesh_fermi_level(const solver *v)
{
    const nh_kspace *s = &v->q->s;
    if (s->k.mode != NH_K_MESH || !(s->electrons.nelec > 0)) return NAN;
    double efermi = NAN;
    size_t *zero = NH_ARRAY(size_t, s->k.count);
    const nh_bands all = {.k = s->k,
                          .n_band = s->basis,
                          .energy = v->energy,
                          .first = zero,
                          .electrons_per_band = s->electrons.electrons_per_band};
    if (zero == NULL || nh_fermi_level(&all, s->electrons.nelec, &efermi, NULL) != 0) efermi = NAN;
    free(zero);
    return efermi;
}

static int write_facts(nh_nc *out, const solver *v, const nh_bands *b, double mesh_level, const arguments *a,
                       nh_error *err)
{
    const bool known = !isnan(v->q->s.electrons.efermi);
    if (nh_eigen_put(out, b, err) != 0) return -1;
    if ((known || !isnan(mesh_level)) &&
        nh_nc_set_text(out, "efermi_from", known ? "input" : "mesh", err) != 0)
        return -1;
    if (!isnan(mesh_level) && nh_nc_set_double(out, "efermi_mesh", mesh_level, err) != 0) return -1;
    if (!a->has_threshold) return 0;
    size_t dropped = 0, worst = 0;
    for (size_t k = 0; k < b->k.count; k++) {
        const size_t n = v->q->s.basis - v->rank[k];
        dropped += n;
        worst = n > worst ? n : worst;
    }
    if (dropped > 0)
        nh_warn(v->q->program, v->q->common,
                "%zu eigenvectors of S with eigenvalues below %g projected out at %zu k-points, at most %zu "
                "at one",
                dropped, a->threshold, b->k.count, worst);
    return nh_nc_set_double(out, "s_threshold", a->threshold, err) != 0 ||
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

static int solve(source *q, const arguments *a, nh_error *err)
{
    const size_t n_k = q->s.k.count, basis = q->s.basis;
    nh_band_choice choice;
    nh_bands b = {0};
    nh_nc *out = NULL;
    int status = -1;
    size_t room;
    if (choose_bands(a, basis, nh_nc_name(q->in), &choice, err) != 0) return -1;
    solver v = {.q = q, .choice = &choice};
    double *energy = nh_size_mul(n_k, basis, &room) ? NH_ARRAY(double, room) : NULL;
    size_t *first = NH_ARRAY(size_t, n_k), *count = NH_ARRAY(size_t, n_k), *rank = NH_ARRAY(size_t, n_k);
    v.energy = energy;
    v.first = first;
    v.count = count;
    v.rank = rank;
    if (energy == NULL || first == NULL || count == NULL || rank == NULL) {
        nh_fail_memory(err, "band energies");
        goto done;
    }
    /* The number of bands in a window is known only after all energies are; the others' is known now. */
    const bool window = choice.kind == NH_BANDS_WINDOW, twice = window && a->vectors;
    size_t n_band = choice.count;
    if (window) {
        if (solve_all(&v, a->threshold, 0, NULL, err) != 0) goto done;
        n_band = 0;
        for (size_t k = 0; k < n_k; k++)
            n_band = count[k] > n_band ? count[k] : n_band;
        if (n_band == 0) {
            nh_fail(err, "%s: no band between %g and %g eV at any of %zu k-points", nh_nc_name(q->in),
                    a->window[0], a->window[1], n_k);
            goto done;
        }
        if (twice) {
            solver_free(&v);
            v = (solver){
                .q = q, .choice = &choice, .energy = energy, .first = first, .count = count, .rank = rank};
        }
    }
    const bool ragged = window || choice.kind == NH_BANDS_NEAREST || a->has_threshold;
    if (nh_bands_new(&q->s.k, n_band, &b, err) != 0) goto done;
    b.electrons_per_band = q->s.electrons.electrons_per_band;
    b.nelec = q->s.electrons.nelec;
    b.title = q->s.electrons.title;
    b.matrix = q->s.electrons.matrix;
    if (nh_nc_create(q->common->output, q->program->name, q->common, q->in, &out, err) != 0)
        status = -1;
    else
        status = nh_eigen_define(out, &b, a->vectors ? basis : 0, ragged, err);
    b.title = b.matrix = NULL;
    nh_bands_free(&b);
    if (status == 0 && (!window || twice))
        status = solve_all(&v, a->threshold, a->vectors ? n_band : 0, out, err);
    if (status != 0) goto done;
    if (q->graph == NULL) warn_hermitian(q);
    const double mesh_level = mesh_fermi_level(&v);
    status = pack(&v, n_band, &b, err);
    if (status == 0) {
        if (isnan(b.efermi)) b.efermi = mesh_level;
        status = write_facts(out, &v, &b, mesh_level, a, err);
    }
    if (status == 0 && a->has_against) {
        solver_free(&v); /* its pool's threads would share the cores */
        status = write_condition(out, q, a, err);
    }
    if (status == 0) {
        nh_nc *finished = out;
        out = NULL;
        status = nh_nc_commit(finished, err);
    }
done:
    nh_nc_close(out);
    nh_bands_free(&b);
    solver_free(&v);
    free(energy);
    free(first);
    free(count);
    free(rank);
    return status;
}

static int check_arguments(const arguments *a, nh_error *err)
{
    if (a->has_bands + a->has_window + (a->has_nev || a->has_sigma) > 1)
        return nh_fail(err, "one of --bands, --window, --nev expected, found several");
    if (a->has_nev != a->has_sigma) return nh_fail(err, "--nev and --sigma belong together");
    if (a->has_nev && a->nev < 1) return nh_fail(err, "--nev: at least 1 expected, found %d", a->nev);
    if (a->has_bands &&
        (a->bands[0] < 1 || a->bands[0] != floor(a->bands[0]) || a->bands[1] != floor(a->bands[1])))
        return nh_fail(err, "--bands: numbers of bands from 1 expected, found %g:%g", a->bands[0],
                       a->bands[1]);
    if (a->has_threshold && !(a->threshold > 0))
        return nh_fail(err, "--s-threshold: a positive number expected, found %g", a->threshold);
    if (a->has_threshold && a->has_against)
        return nh_fail(err, "--against: the bound is of the whole overlap matrix: not with --s-threshold");
    return 0;
}

int main(int argc, char **argv)
{
    arguments a = {.k = NH_KPOINT_DEFAULTS, .bands = {1, INFINITY}, .window = {-INFINITY, INFINITY}};
    const nh_option options[] = {
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "Bands (one of; all without)"},
        {NH_OPT_RANGE, 0, "bands", "LO:HI", a.bands, NULL, &a.has_bands,
         "bands LO to HI, counted from 1, both included"},
        {NH_OPT_RANGE, 0, "window", "EMIN:EMAX", a.window, NULL, &a.has_window,
         "bands with EMIN <= E <= EMAX, eV, on the scale of the Hamiltonian (not relative to the Fermi "
         "level)"},
        {NH_OPT_INT, 0, "nev", "N", &a.nev, NULL, &a.has_nev,
         "the N bands nearest to --sigma; by the dense solver (a sparse shift-invert solver is not in this "
         "version)"},
        {NH_OPT_REAL, 0, "sigma", "E", &a.sigma, NULL, &a.has_sigma, "energy for --nev, eV"},
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "Solution"},
        {NH_OPT_FLAG, 0, "vectors", NULL, &a.vectors, NULL, NULL, "write eigenvectors too, C^dagger S C = 1"},
        {NH_OPT_REAL, 0, "s-threshold", "X", &a.threshold, NULL, &a.has_threshold,
         "project out the eigenvectors of S(k) with eigenvalues below X; missing bands are NaN, at the top "
         "[no projection: an S "
         "that is not positive definite is an error]"},
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "From a real-space file"},
        {NH_OPT_CHOICE, 0, "matrix", NULL, &a.matrix, MATRIX_NAMES, &a.has_matrix,
         "the Hamiltonian [h_pred]"},
        {NH_OPT_CHOICE, 0, "against", NULL, &a.against, MATRIX_NAMES, &a.has_against,
         "also write the norms that bound how far these bands can be from those of another Hamiltonian of the file"},
        NH_KPOINT_OPTION_ROWS(a.k),
    };
    static const char *const synopsis[] = {
        "[--bands LO:HI | --window EMIN:EMAX | --nev N --sigma E] [--vectors] [-o eig.nc] [hk.nc]",
        "[...] [--matrix h_pred|h0|h_label] --path PATH | --mesh N1 N2 N3 | --kpath FILE | --kpoints FILE "
        "[-o eig.nc] ham.nc",
        NULL,
    };
    const nh_program program = {
        .name = "geneig",
        .summary = "H(k) C = E S(k) C: band energies and eigenvectors at each k-point",
        .synopsis = synopsis,
        .description = "Solves the generalised Hermitian eigenproblem with LAPACK, dense. The input is the "
                       "output of fourier, read a few "
                       "k-points at a time, or a real-space file with any k-point option of fourier: then "
                       "H(k) is assembled when it is needed "
                       "and never stored. The two kinds of files are told apart by their variables.\n\n"
                       "Small matrices are shared among threads by k-point, large ones one after another "
                       "with a threaded BLAS. With --device cuda H(k) is assembled and solved on the device, many small matrices at "
                       "once; only energies and vectors come back.\n\n"
                       "The Fermi level and the number of electrons are carried from the input. On a mesh, "
                       "where the electrons are known, the "
                       "level found by filling these bands is the attribute efermi_mesh, and efermi too if "
                       "the input has none.\n\n"
                       "An overlap matrix that is not positive definite is an error that names the k-point "
                       "and the smallest eigenvalue.\n\n"
                       "--against: with D(k) = H(k) - H'(k) - mu S(k), where mu is the least-squares shift over all k-points, no "
                       "energy of H is further than kappa(S)/||S|| ||D|| from that of H' plus mu (2-norms; kappa: largest over "
                       "smallest eigenvalue). The file gets ||S||, kappa(S) and ||D|| of every k-point; bandplot-data --format "
                       "kpoints sets the bound beside the difference.",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .max_inputs = 1,
        .computes = true,
        .on_device = true,
        .example = "geneig --path \"L .5 .5 .5; G 0 0 0; X .5 0 .5\" --total 200 -o eig.nc ham.nc\n"
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
        source q = {.program = &program, .common = &common};
        status = source_open(&q, &a, &err);
        if (status == 0) status = solve(&q, &a, &err);
        if (status != 0) nh_report(&program, &err);
        status = status < 0 ? 1 : status;
        source_close(&q);
    }
    nh_common_free(&common);
    return status;
}
