#include "properties/wilson.h"

#include "base/complex.h"
#include "base/memory.h"
#include "crystal/lattice.h"
#include "crystal/spectrum.h"

#include <cblas.h>
#define lapack_complex_double double complex
#define lapack_complex_float float complex
#include <lapacke.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double NO_GAP = 1e-6; /* eV */
/* D. Gresch et al., Phys. Rev. B 95, 075146 (2017): the limits of their convergence checks. */
static const double MOVED = 0.3, NEAR = 0.3;
enum { HALVINGS = 6 };

/* Rooms of one thread. */
typedef struct bench {
    double complex *s, *x, *y; /* [basis][basis]; [occupied][basis] */
    double complex *m, *u, *v; /* [occupied][occupied] */
    double *sigma, *super;     /* [occupied] */
    lapack_int *pivot;
    double smallest; /* singular value */
} bench;

typedef struct plane {
    const nh_wilson_task *task;
    nh_wilson *out;
    size_t basis, n_spin;
    double *where;                      /* [basis][3] fractional position of each orbital's atom */
    double complex *now, *last, *first; /* [points][occupied][basis] */
    double complex *unitary;            /* [points][occupied][occupied] transposed links along the line */
    double *along, *along_last, *along_first, *across; /* [points] phases of det */
    double *k;                                         /* [points][3] */
    nh_spectrum spectrum;
    nh_threads *threads;
    bench *bench;
    nh_error *error; /* [points] */
    bool links_across;
    const double complex *from, *to; /* lines of the links in hand */
    size_t step_axis;
    double step;
} plane;

/* The transposed link M_nm = <u_n(k)|u_m(k+q)>: [m][n]. */
static int make_link(const plane *p, bench *w, const double k[3], const double q[3],
                     const double complex *here, const double complex *there, nh_error *err)
{
    const size_t n = p->task->occupied, basis = p->basis;
    const double middle[3] = {k[0] + 0.5 * q[0], k[1] + 0.5 * q[1], k[2] + 0.5 * q[2]};
    const double complex one = 1, zero = 0;
    if (nh_fourier_at(p->task->fourier, 1, middle, NULL, (double *)w->s, err) != 0) return -1;
    for (size_t a = 0; a < basis; a++) {
        const double *t = p->where + 3 * a;
        const double complex phase = cexp(-I * M_PI * (q[0] * t[0] + q[1] * t[1] + q[2] * t[2]));
        for (size_t i = 0; i < n; i++)
            w->x[i * basis + a] = phase * there[i * basis + a];
    }
    cblas_zgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, (int)basis, (int)basis, &one, w->x,
                (int)basis, w->s, (int)basis, &zero, w->y, (int)basis);
    for (size_t a = 0; a < basis; a++) {
        const double *t = p->where + 3 * a;
        const double complex phase = cexp(I * M_PI * (q[0] * t[0] + q[1] * t[1] + q[2] * t[2]));
        for (size_t i = 0; i < n; i++)
            w->x[i * basis + a] = phase * here[i * basis + a];
    }
    cblas_zgemm(CblasRowMajor, CblasNoTrans, CblasConjTrans, (int)n, (int)n, (int)basis, &one, w->y,
                (int)basis, w->x, (int)basis, &zero, w->m, (int)n);
    return 0;
}

/* The unitary part of w->m, into w->u; the phase of its determinant; m is destroyed. */
static int polar(const plane *p, bench *w, double *phase, nh_error *err)
{
    const size_t n = p->task->occupied;
    const lapack_int order = (lapack_int)n;
    const double complex one = 1, zero = 0;
    lapack_int info = LAPACKE_zgesvd(LAPACK_ROW_MAJOR, 'A', 'A', order, order, w->m, order, w->sigma, w->u,
                                     order, w->v, order, w->super);
    if (info != 0) return nh_fail(err, "zgesvd of LAPACK failed (info %d)", (int)info);
    w->smallest = fmin(w->smallest, w->sigma[n - 1]);
    cblas_zgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n, (int)n, (int)n, &one, w->u, (int)n, w->v,
                (int)n, &zero, w->m, (int)n);
    memcpy(w->u, w->m, n * n * sizeof *w->u);
    info = LAPACKE_zgetrf(LAPACK_ROW_MAJOR, order, order, w->m, order, w->pivot);
    if (info != 0) return nh_fail(err, "zgetrf of LAPACK failed (info %d)", (int)info);
    *phase = 0;
    for (size_t i = 0; i < n; i++)
        *phase += carg(w->m[i * n + i]) + (w->pivot[i] != (lapack_int)i + 1 ? M_PI : 0);
    return 0;
}

static void link_along(void *context, size_t index, int thread)
{
    const plane *p = context;
    bench *w = &p->bench[thread];
    const size_t n = p->task->occupied, size = n * p->basis, next = (index + 1) % p->task->points;
    double q[3] = {0};
    q[(p->task->normal + 1) % 3] = 1. / (double)p->task->points;
    p->error[index].text[0] = '\0';
    if (make_link(p, w, p->k + 3 * index, q, p->now + index * size, p->now + next * size, &p->error[index]) !=
            0 ||
        polar(p, w, &p->along[index], &p->error[index]) != 0)
        return;
    memcpy(p->unitary + index * n * n, w->u, n * n * sizeof *w->u);
}

/* From `from` to `to`, the next line; k is that of `from`. */
static void link_across(void *context, size_t index, int thread)
{
    const plane *p = context;
    bench *w = &p->bench[thread];
    const size_t size = p->task->occupied * p->basis;
    const size_t line = (size_t)((p->task->normal + 2) % 3);
    double q[3] = {0}, k[3];
    q[line] = p->step;
    memcpy(k, p->k + 3 * index, sizeof k);
    k[line] = p->k[3 * index + line] - (p->links_across ? p->step : 0);
    p->error[index].text[0] = '\0';
    if (make_link(p, w, k, q, p->from + index * size, p->to + index * size, &p->error[index]) == 0)
        polar(p, w, &p->across[index], &p->error[index]);
}

static int run_links(plane *p, void (*body)(void *, size_t, int), nh_error *err)
{
    nh_parallel_for(p->threads, p->task->points, body, p);
    for (size_t i = 0; i < p->task->points; i++)
        if (p->error[i].text[0] != '\0') return nh_fail(err, "%s: %s", p->task->name, p->error[i].text);
    return 0;
}

static int take(void *context, size_t k, const double *vector, nh_error *err)
{
    const plane *p = context;
    const size_t size = p->task->occupied * p->basis;
    (void)err;
    memcpy(p->now + k * size, vector, size * sizeof *p->now);
    return 0;
}

/* The states of the line at `where`, and the smallest gap. */
static int solve_line(plane *p, double where, nh_error *err)
{
    const nh_wilson_task *t = p->task;
    const size_t loop = (size_t)((t->normal + 1) % 3), across = (size_t)((t->normal + 2) % 3),
                 n = t->occupied;
    for (size_t i = 0; i < t->points; i++) {
        double *k = p->k + 3 * i;
        k[t->normal] = t->at;
        k[loop] = (double)i / (double)t->points;
        k[across] = where;
    }
    const nh_spectrum_task task = {.name = t->name,
                                   .n_k = t->points,
                                   .basis = p->basis,
                                   .k = p->k,
                                   .fourier = t->fourier,
                                   .choice = {.kind = NH_BANDS_INDEX, .first = 0, .count = n},
                                   .most = n,
                                   .take = take,
                                   .context = p,
                                   .threads = t->threads};
    if (nh_spectrum_solve(&task, &p->spectrum, err) != 0) return -1;
    for (size_t i = 0; i < t->points; i++) {
        const double *e = p->spectrum.energy + i * p->basis, gap = e[n] - e[n - 1];
        if (gap < p->out->gap) {
            p->out->gap = gap;
            memcpy(p->out->k_gap, p->k + 3 * i, sizeof p->out->k_gap);
        }
    }
    const double *k = p->out->k_gap;
    if (p->out->gap < NO_GAP)
        return nh_fail(err, "%s: no gap above band %zu at (%g %g %g): %.3g eV", t->name, n, k[0], k[1], k[2],
                       p->out->gap);
    return 0;
}

static int compare_reals(const void *pa, const void *pb)
{
    const double a = *(const double *)pa, b = *(const double *)pb;
    return (a > b) - (a < b);
}

/* Phases of the eigenvalues of the product of the links along the line. */
static int find_centres(plane *p, double *centre, nh_error *err)
{
    const size_t n = p->task->occupied;
    bench *w = &p->bench[0];
    double complex *product = w->m, *next = w->u;
    const double complex one = 1, zero = 0;
    memcpy(product, p->unitary, n * n * sizeof *product);
    for (size_t i = 1; i < p->task->points; i++) {
        cblas_zgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n, (int)n, (int)n, &one,
                    p->unitary + i * n * n, (int)n, product, (int)n, &zero, next, (int)n);
        double complex *swap = product;
        product = next;
        next = swap;
    }
    const lapack_int info = LAPACKE_zgeev(LAPACK_ROW_MAJOR, 'N', 'N', (lapack_int)n, product, (lapack_int)n,
                                          w->y, NULL, (lapack_int)n, NULL, (lapack_int)n);
    if (info != 0) return nh_fail(err, "zgeev of LAPACK failed (info %d)", (int)info);
    for (size_t i = 0; i < n; i++) {
        const double x = -carg(w->y[i]) / (2 * M_PI);
        centre[i] = x - floor(x) < 1 ? x - floor(x) : 0;
    }
    qsort(centre, n, sizeof *centre, compare_reals);
    return 0;
}

/* Flux through the squares between two lines, over 2 pi: minus the phases about each square. */
static double flux_between(const plane *p, const double *lower, const double *upper)
{
    double sum = 0;
    for (size_t i = 0; i < p->task->points; i++) {
        const double turn =
            -(lower[i] + p->across[(i + 1) % p->task->points] - upper[i] - p->across[i]) / (2 * M_PI);
        sum += turn - round(turn);
    }
    return sum;
}

static void swap_lines(plane *p)
{
    double complex *vectors = p->last;
    double *phases = p->along_last;
    p->last = p->now;
    p->now = vectors;
    p->along_last = p->along;
    p->along = phases;
}

/* Over the zone: centres and the flux between neighbours. */
static int run_lines(plane *p, nh_error *err)
{
    const nh_wilson_task *t = p->task;
    const size_t size = t->points * t->occupied * p->basis;
    for (size_t line = 0; line < t->lines; line++) {
        p->out->where[line] = (double)line * p->step;
        if (solve_line(p, p->out->where[line], err) != 0 || run_links(p, link_along, err) != 0 ||
            find_centres(p, p->out->centre + line * t->occupied, err) != 0)
            return -1;
        nh_progress_add(t->progress, 1);
        if (line == 0) {
            memcpy(p->first, p->now, size * sizeof *p->first);
            memcpy(p->along_first, p->along, t->points * sizeof *p->along);
        } else {
            p->links_across = true;
            p->from = p->last;
            p->to = p->now;
            if (run_links(p, link_across, err) != 0) return -1;
            p->out->flux[line - 1] = flux_between(p, p->along_last, p->along);
        }
        swap_lines(p);
    }
    /* from the last line to the first, a reciprocal lattice vector further; k is still that of the last
     * line */
    p->links_across = false;
    p->from = p->last;
    p->to = p->first;
    if (run_links(p, link_across, err) != 0) return -1;
    p->out->flux[t->lines - 1] = flux_between(p, p->along_last, p->along_first);
    return 0;
}

static double on_circle(double x)
{
    return fabs(x - round(x));
}

/* Middle and size of the largest gap between n ascending centres on the circle. */
static double largest_gap(size_t n, const double *x, double *size)
{
    *size = -1;
    double middle = 0;
    for (size_t i = 0; i < n; i++) {
        const double next = i + 1 < n ? x[i + 1] : x[0] + 1;
        if (next - x[i] > *size) {
            *size = next - x[i];
            middle = 0.5 * (x[i] + next);
        }
    }
    return middle - floor(middle);
}

/* How near the centres of the next line come to the middle of a line's largest gap, over the gap. */
static double nearness(size_t n, const double *now, const double *next)
{
    double size, near = 0.5;
    const double middle = largest_gap(n, now, &size);
    for (size_t i = 0; i < n; i++)
        near = fmin(near, on_circle(next[i] - middle) / size);
    return near;
}

/* How far the centre that moves most goes from one line to another, where they are matched in order about the
 * circle. */
static double movement(size_t n, const double *now, const double *next)
{
    double best = 1;
    for (size_t turn = 0; turn < n; turn++) {
        double most = 0;
        for (size_t i = 0; i < n; i++)
            most = fmax(most, on_circle(next[(i + turn) % n] - now[i]));
        best = fmin(best, most);
    }
    return best;
}

static bool settled(size_t n, const double *now, const double *next)
{
    double one, other;
    largest_gap(n, now, &one);
    largest_gap(n, next, &other);
    return nearness(n, now, next) >= NEAR && movement(n, now, next) <= MOVED * fmin(one, other);
}

/* Puts a line at `where` in place `at`, before those that are there, and finds its centres. */
static int insert_line(plane *p, size_t at, double where, size_t *room, nh_error *err)
{
    nh_wilson *w = p->out;
    const size_t n = w->occupied;
    if (w->lines == *room) {
        size_t more = 2 * *room;
        double *position = realloc(w->where, more * sizeof *position);
        if (position != NULL) w->where = position;
        double *centre = realloc(w->centre, more * n * sizeof *centre);
        if (centre != NULL) w->centre = centre;
        if (position == NULL || centre == NULL) return nh_fail_memory(err, "the centres");
        *room = more;
    }
    memmove(w->where + at + 1, w->where + at, (w->lines - at) * sizeof *w->where);
    memmove(w->centre + (at + 1) * n, w->centre + at * n, (w->lines - at) * n * sizeof *w->centre);
    w->where[at] = where;
    w->lines++;
    return solve_line(p, where, err) != 0 || run_links(p, link_along, err) != 0 ||
                   find_centres(p, w->centre + at * n, err) != 0
               ? -1
               : 0;
}

/* From 0 to 1/2, with lines added where centres move far. */
static int run_half(plane *p, nh_error *err)
{
    const nh_wilson_task *t = p->task;
    nh_wilson *w = p->out;
    const size_t n = t->occupied;
    size_t room = t->lines;
    w->lines = 0;
    for (size_t line = 0; line < t->lines; line++) {
        if (insert_line(p, line, (double)line * p->step, &room, err) != 0) return -1;
        nh_progress_add(t->progress, 1);
    }
    const double shortest = p->step / (1 << HALVINGS);
    for (size_t line = 0; line + 1 < w->lines;) {
        const double *c = w->centre + line * n, here = w->where[line], next = w->where[line + 1];
        if (settled(n, c, c + n)) {
            line++;
        } else if (next - here < 1.5 * shortest) {
            w->unsettled++;
            line++;
        } else if (insert_line(p, line + 1, 0.5 * (here + next), &room, err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int plane_new(const nh_wilson_task *t, nh_wilson *out, plane *p, nh_error *err)
{
    const size_t basis = nh_fourier_basis(t->fourier), n = t->occupied, n_thread = (size_t)t->threads;
    const nh_structure *s = t->structure;
    double inverse[9];
    *p = (plane){.task = t, .out = out, .basis = basis, .n_spin = basis / nh_structure_orbitals(s)};
    p->step = t->half ? 0.5 / (double)(t->lines - 1) : 1. / (double)t->lines;
    p->where = NH_ARRAY(double, 3 * basis);
    const size_t line = t->points * n;
    p->now = nh_calloc_aligned(line, basis * sizeof *p->now);
    p->last = nh_calloc_aligned(line, basis * sizeof *p->last);
    p->first = nh_calloc_aligned(line, basis * sizeof *p->first);
    p->unitary = nh_calloc_aligned(line, n * sizeof *p->unitary);
    p->along = NH_ARRAY(double, t->points);
    p->along_last = NH_ARRAY(double, t->points);
    p->along_first = NH_ARRAY(double, t->points);
    p->across = NH_ARRAY(double, t->points);
    p->k = NH_ARRAY(double, 3 * t->points);
    p->error = NH_ARRAY(nh_error, t->points);
    p->bench = NH_ARRAY(bench, n_thread);
    if (p->where == NULL || p->now == NULL || p->last == NULL || p->first == NULL || p->unitary == NULL ||
        p->along == NULL || p->along_last == NULL || p->along_first == NULL || p->across == NULL ||
        p->k == NULL || p->error == NULL || p->bench == NULL)
        return nh_fail_memory(err, "the links");
    for (size_t i = 0; i < n_thread; i++) {
        bench *w = &p->bench[i];
        w->s = nh_calloc_aligned(basis, basis * sizeof *w->s);
        w->x = nh_calloc_aligned(n, basis * sizeof *w->x);
        w->y = nh_calloc_aligned(n, basis * sizeof *w->y);
        w->m = nh_calloc_aligned(n, n * sizeof *w->m);
        w->u = nh_calloc_aligned(n, n * sizeof *w->u);
        w->v = nh_calloc_aligned(n, n * sizeof *w->v);
        w->sigma = NH_ARRAY(double, n);
        w->super = NH_ARRAY(double, n);
        w->pivot = NH_ARRAY(lapack_int, n);
        w->smallest = INFINITY;
        if (w->s == NULL || w->x == NULL || w->y == NULL || w->m == NULL || w->u == NULL || w->v == NULL ||
            w->sigma == NULL || w->super == NULL || w->pivot == NULL)
            return nh_fail_memory(err, "the links");
    }
    nh_lattice_inverse(s->lattice, inverse);
    for (size_t atom = 0, a = 0; atom < s->n_atom; atom++)
        for (size_t i = 0; i < nh_atom_orbitals(s, atom) * p->n_spin; i++, a++)
            nh_lattice_apply(s->position + 3 * atom, inverse, p->where + 3 * a);
    if (nh_spectrum_new(t->points, basis, &p->spectrum, err) != 0) return -1;
    return nh_threads_new(t->threads, &p->threads, err);
}

static void plane_free(plane *p)
{
    for (size_t i = 0; p->bench != NULL && i < (size_t)p->task->threads; i++) {
        bench *w = &p->bench[i];
        free(w->s);
        free(w->x);
        free(w->y);
        free(w->m);
        free(w->u);
        free(w->v);
        free(w->sigma);
        free(w->super);
        free(w->pivot);
    }
    free(p->bench);
    free(p->where);
    free(p->now);
    free(p->last);
    free(p->first);
    free(p->unitary);
    free(p->along);
    free(p->along_last);
    free(p->along_first);
    free(p->across);
    free(p->k);
    free(p->error);
    nh_spectrum_free(&p->spectrum);
    nh_threads_free(p->threads);
}

int nh_wilson_new(const nh_wilson_task *task, nh_wilson *out, nh_error *err)
{
    const size_t basis = nh_fourier_basis(task->fourier);
    plane p;
    size_t room;
    *out = (nh_wilson){.lines = task->lines, .occupied = task->occupied, .chern = NAN, .gap = INFINITY};
    if (task->occupied == 0 || task->occupied >= basis || basis > INT_MAX / 2)
        return nh_fail(err, "%s: %zu filled bands of %zu: no gap above them", task->name, task->occupied,
                       basis);
    if (task->points < 2 || task->lines < 2)
        return nh_fail(err, "%zu lines of %zu k-points: at least 2 of 2 expected", task->lines, task->points);
    if (nh_size_mul(task->lines, task->occupied, &room)) out->centre = NH_ARRAY(double, room);
    out->where = NH_ARRAY(double, task->lines);
    if (!task->half) out->flux = NH_ARRAY(double, task->lines);
    int status =
        out->centre != NULL && (task->half || out->flux != NULL) ? 0 : nh_fail_memory(err, "the centres");
    if (status == 0) {
        status = plane_new(task, out, &p, err);
        if (status == 0) status = task->half ? run_half(&p, err) : run_lines(&p, err);
        out->link = INFINITY;
        for (size_t i = 0; status == 0 && i < (size_t)task->threads; i++)
            out->link = fmin(out->link, p.bench[i].smallest);
        plane_free(&p);
    }
    if (status == 0 && !task->half) {
        out->chern = 0;
        for (size_t i = 0; i < task->lines; i++)
            out->chern += out->flux[i];
    }
    if (status != 0) nh_wilson_free(out);
    return status;
}

void nh_wilson_free(nh_wilson *w)
{
    free(w->where);
    free(w->centre);
    free(w->flux);
    *w = (nh_wilson){0};
}

int nh_wilson_z2(const nh_wilson *w, double *margin)
{
    const size_t n = w->occupied;
    size_t passed = 0;
    *margin = 0.5;
    for (size_t line = 0; line + 1 < w->lines; line++) {
        const double *now = w->centre + line * n, *next = now + n;
        double unused;
        const double z = largest_gap(n, now, &unused), y = largest_gap(n, next, &unused);
        for (size_t i = 0; i < n; i++)
            if (next[i] > fmin(z, y) && next[i] <= fmax(z, y)) passed++;
        *margin = fmin(*margin, nearness(n, now, next));
    }
    return (int)(passed % 2);
}
