#include "sparse/nearest.h"

#include "base/memory.h"
#include "crystal/eigen_internal.h"
#include "sparse/lanczos.h"

#include <cblas.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 8 };

/* eV. A window ends in a gap between states of at least CLEAR, sigma is further than BESIDE from a state: then rounding
 * cannot change the counts. */
static const double CLEAR = 1e-5, BESIDE = 1e-5, ASIDE = 1e-3, ACCURATE = 1e-6;

typedef struct worker {
    const nh_nearest_task *task;
    nh_sparse *a;
    nh_factor *factor;
    bool real; /* what `factor` is for */
    bool told[2];
    double s_least; /* of S at this k-point: no eigenvalue is below */
} worker;

static void say(const nh_nearest_task *t, bool warning, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void say(const nh_nearest_task *t, bool warning, const char *format, ...)
{
    char text[512];
    va_list list;
    if (t->say == NULL) return;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    t->say(t->context, warning, text);
}

static int worker_new(const nh_nearest_task *t, worker *w, nh_error *err)
{
    *w = (worker){.task = t};
    openblas_set_num_threads(t->threads);
    return nh_sparse_new(t->fourier, &w->a, err);
}

static void worker_free(worker *w)
{
    nh_factor_free(w->factor);
    nh_sparse_free(w->a);
}

bool nh_nearest_pay(const nh_factor_facts *facts, size_t basis, size_t count)
{
    /* The dense solution reduces H with S and makes the matrix tridiagonal: 16/3 n^3 operations on complex numbers, 4 times
     * as many on real ones. The sparse one factorises three times and solves with the factor some hundred times, at a third of
     * the rate, as it is measured in docs/performance.md. */
    const double n = (double)basis, dense = 4 * 16. / 3 * n * n * n;
    const double sparse = 3 * facts->operations + 4 * (4 * (double)count + 100) * facts->entries;
    return 3 * sparse < dense;
}

/* ---- the factorisation of the k-point's matrices */

static int open_factor(worker *w, nh_error *err)
{
    const nh_nearest_task *t = w->task;
    const bool real = nh_sparse_is_real(w->a, NH_SPARSE_H);
    if (w->factor != NULL && w->real == real) return 0;
    nh_factor_free(w->factor);
    w->factor = NULL;
    if (nh_factor_new(w->a, NH_SPARSE_H, real, &w->factor, err) != 0) return -1;
    w->real = real;
    const nh_factor_facts f = nh_factor_expect(w->factor);
    const size_t n = nh_sparse_basis(w->a, NH_SPARSE_H);
    const double have = t->memory > 0 ? t->memory : nh_memory_available();
    const double need = f.bytes + nh_lanczos_bytes(n, t->count + 3 * BLOCK, BLOCK);
    if (!w->told[real])
        say(t, false,
            "%zu basis functions, %s: %zu rows with %.3g elements, %.3g in the factor (%.0f %% of dense), "
            "%.3g operations; %.1f GB of "
            "%.1f GB",
            n, real ? "real" : "complex", f.size, (double)f.elements, f.entries,
            200 * f.entries / ((double)f.size * (double)f.size), f.operations, need * 1e-9, have * 1e-9);
    w->told[real] = true;
    if (need > have)
        return nh_fail(err, "the sparse factorisation needs %.1f GB, there are %.1f GB (--memory)",
                       need * 1e-9, have * 1e-9);
    return 0;
}

/* Factorises at *sigma, or a little above it where it is on a state. */
static int factor_beside(worker *w, double *sigma, size_t *below, nh_error *err)
{
    double step = 4 * BESIDE;
    bool singular;
    for (int i = 0; i < 8; i++, step *= 3) {
        if (nh_factor_at(w->factor, *sigma, below, &singular, err) != 0) return -1;
        if (!singular) return 0;
        *sigma += step;
    }
    return nh_fail(err, "H - sigma S is singular at %.6f eV and everywhere near", *sigma);
}

static int solve_shifted(void *context, size_t p, double *x, nh_error *err)
{
    return nh_factor_solve(((worker *)context)->factor, p, x, err);
}

static int times_overlap(void *context, size_t p, const double *x, double *y, nh_error *err)
{
    return nh_sparse_times_s(((worker *)context)->a, NH_SPARSE_H, p, x, y, err);
}

/* ---- S */

typedef struct overlap_work {
    const nh_sparse *a;
    nh_factor *factor;
    size_t n;
} overlap_work;

static int solve_overlap(void *context, size_t p, double *x, nh_error *err)
{
    return nh_factor_solve(((overlap_work *)context)->factor, p, x, err);
}

static int times_one(void *context, size_t p, const double *x, double *y, nh_error *err)
{
    (void)err;
    memcpy(y, x, 2 * p * ((overlap_work *)context)->n * sizeof *y);
    return 0;
}

/* Largest eigenvalue of S, by power iterations, to some percent. */
static int largest_overlap(const nh_sparse *a, double *largest, nh_error *err)
{
    const size_t n = nh_sparse_basis(a, NH_SPARSE_S);
    double *x = NH_ARRAY(double, 4 * n), *y = x != NULL ? x + 2 * n : NULL;
    int status = x != NULL ? 0 : nh_fail_memory(err, "the overlap matrix");
    *largest = 1;
    for (size_t i = 0; x != NULL && i < 2 * n; i++)
        x[i] = 1 + 0.5 * sin(1.7 * (double)i);
    for (int step = 0; step < 30 && status == 0; step++) {
        cblas_dscal(2 * (int)n, 1 / cblas_dnrm2(2 * (int)n, x, 1), x, 1);
        status = nh_sparse_times_s(a, NH_SPARSE_S, 1, x, y, err);
        *largest = cblas_dnrm2(2 * (int)n, y, 1);
        memcpy(x, y, 2 * n * sizeof *x);
    }
    free(x);
    return status;
}

/* Counts are right only if S is positive definite: so has it eigenvalues below NH_SMALL_OVERLAP? Then the smallest, and the
 * largest; NaN otherwise. S has no spin: its factor takes an eighth of the operations where H has. */
static int check_overlap(worker *w, double *smallest, double *largest, nh_error *err)
{
    overlap_work o = {.a = w->a, .n = nh_sparse_basis(w->a, NH_SPARSE_S)};
    nh_lanczos *l = NULL;
    size_t below, negative;
    bool singular;
    *smallest = *largest = NAN;
    w->s_least = NH_SMALL_OVERLAP;
    int status = nh_factor_new(w->a, NH_SPARSE_S, nh_sparse_is_real(w->a, NH_SPARSE_S), &o.factor, err);
    if (status == 0) status = nh_factor_at(o.factor, NH_SMALL_OVERLAP, &below, &singular, err);
    if (status == 0 && (below > 0 || singular)) {
        status = nh_factor_at(o.factor, 0, &negative, &singular, err);
        if (status == 0 && (negative > 0 || singular))
            status = nh_fail(err,
                             "the overlap matrix is not positive definite: %zu eigenvalues below 0, %zu "
                             "below %g (the dense "
                             "solver's --s-threshold projects out)",
                             negative, below, NH_SMALL_OVERLAP);
        const nh_lanczos_operator op = {o.n, nh_sparse_is_real(w->a, NH_SPARSE_S), &o, solve_overlap,
                                        times_one};
        if (status == 0) status = nh_lanczos_new(&op, 1, o.n < BLOCK ? o.n : BLOCK, &l, err);
        if (status == 0) status = nh_lanczos_run(l, 1, false, err);
        if (status == 0) {
            const double *theta;
            nh_lanczos_found(l, &theta, NULL, NULL);
            w->s_least = *smallest = 1 / theta[0];
            status = largest_overlap(w->a, largest, err);
        }
    }
    nh_lanczos_free(l);
    nh_factor_free(o.factor);
    return status;
}

/* ---- the states about an energy, none missing */

typedef struct window {
    nh_lanczos *lanczos;
    size_t first, count; /* bands, from 0; count of them */
    double *energy;      /* [count] ascending */
    size_t *column;      /* [count] the Lanczos vector of each */
} window;

static void window_free(window *v)
{
    nh_lanczos_free(v->lanczos);
    free(v->energy);
    free(v->column);
    *v = (window){0};
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The end of a window on one side, or on both: half-way between two of the distances, not before `least`, where they are furthest
 * apart. 0: they are nowhere CLEAR, or have not come as far. What is beyond the last one is not known. */
static double choose_end(size_t n, const double *distance, double least)
{
    double best = CLEAR, end = 0;
    for (size_t i = 0; i < n; i++) {
        const double before = i > 0 ? distance[i - 1] : 0;
        if (before >= least && distance[i] - before > best) {
            best = distance[i] - before;
            end = before + best / 2;
        }
    }
    return end;
}

typedef struct ends {
    double lo, hi; /* distances from sigma; infinite: all states there are known */
} ends;

/* What a window is asked for, and what is known about it. */
typedef struct search {
    double centre;
    size_t wanted;
    bool balanced;       /* half of the wanted on either side; otherwise the nearest to the centre */
    double sigma;        /* where the factor is */
    size_t n, all_below; /* states at all, below sigma */
} search;

/* Ends of the window from what has been found; false: more is needed. room[3 found]. */
static bool choose_ends(const search *s, size_t found, const double *theta, double *room, ends *e)
{
    size_t below = 0, above = 0;
    double *low = room, *high = room + found, *other = room + 2 * found;
    if (found < s->wanted) return false;
    for (size_t i = 0; i < found; i++) {
        other[i] = fabs(s->sigma + 1 / theta[i] - s->centre);
        if (theta[i] < 0)
            low[below++] = -1 / theta[i];
        else
            high[above++] = 1 / theta[i];
    }
    const bool bottom = below == s->all_below, top = above == s->n - s->all_below;
    if (s->balanced) {
        const size_t half = (s->wanted + 1) / 2;
        qsort(low, below, sizeof *low, ascending);
        qsort(high, above, sizeof *high, ascending);
        e->lo = below >= half ? choose_end(below, low, low[half - 1]) : 0;
        e->hi = above >= half ? choose_end(above, high, high[half - 1]) : 0;
    } else {
        qsort(other, found, sizeof *other, ascending);
        memmove(low + below, high, above * sizeof *high);
        qsort(low, found, sizeof *low, ascending);
        /* Nearest to the centre are those nearest to sigma, but for the distance of the two. */
        e->lo = e->hi = choose_end(found, low, other[s->wanted - 1] + fabs(s->sigma - s->centre));
    }
    if (bottom) e->lo = INFINITY;
    if (top) e->hi = INFINITY;
    return e->lo > 0 && e->hi > 0;
}

/* Number of states below an end of the window; `all`: beyond every state. */
static int count_below(worker *w, double sigma, double distance, size_t all, size_t *below, nh_error *err)
{
    if (isinf(distance)) {
        *below = all;
        return 0;
    }
    double at = sigma + distance;
    return factor_beside(w, &at, below, err);
}

/* Energies E of the columns as Rayleigh quotients, and a bound of their errors. With z = (H - sigma S)^-1 (H C - E S C) there
 * is a state E' with |E' - E| <= |z| |E' - sigma|, |z| the norm in S: expand C in states. */
static int refine(worker *w, const search *s, window *v, nh_error *err)
{
    const size_t n = nh_sparse_basis(w->a, NH_SPARSE_H);
    const int size = 2 * (int)n;
    const double *vector, *s_vector;
    double *x = NH_ARRAY(double, 4 * n * BLOCK), *z = x != NULL ? x + 2 * n * BLOCK : NULL, worst = 0;
    int status = x != NULL ? 0 : nh_fail_memory(err, "the states");
    nh_lanczos_found(v->lanczos, NULL, &vector, &s_vector);
    for (size_t at = 0; at < v->count && status == 0; at += BLOCK) {
        const size_t p = v->count - at < BLOCK ? v->count - at : BLOCK;
        for (size_t i = 0; i < p; i++)
            memcpy(x + 2 * n * i, vector + 2 * n * v->column[at + i], 2 * n * sizeof *x);
        status = nh_sparse_times_h(w->a, p, x, z, err);
        for (size_t i = 0; i < p && status == 0; i++) {
            const double *xi = x + 2 * n * i, *sx = s_vector + 2 * n * v->column[at + i];
            v->energy[at + i] = cblas_ddot(size, xi, 1, z + 2 * n * i, 1) / cblas_ddot(size, xi, 1, sx, 1);
            cblas_daxpy(size, -v->energy[at + i], sx, 1, z + 2 * n * i, 1);
        }
        if (status == 0) status = solve_shifted(w, p, z, err);
        if (status == 0) status = times_overlap(w, p, z, x, err);
        for (size_t i = 0; i < p && status == 0; i++) {
            const double norm = sqrt(fmax(0, cblas_ddot(size, z + 2 * n * i, 1, x + 2 * n * i, 1)));
            /* What is more than was wanted is counted only. */
            if (v->column[at + i] < s->wanted) worst = fmax(worst, norm * fabs(v->energy[at + i] - s->sigma));
        }
    }
    free(x);
    if (status == 0 && !(worst <= ACCURATE))
        status = nh_fail(err, "the states nearest to sigma may be wrong by %.1e eV", worst);
    return status;
}

/* The states of `found` between the ends: energies and columns, ascending. */
static int take_window(worker *w, const search *s, const ends *e, window *v, nh_error *err)
{
    const double *theta;
    const size_t found = nh_lanczos_found(v->lanczos, &theta, NULL, NULL);
    free(v->energy);
    free(v->column);
    v->energy = NH_ARRAY(double, found);
    v->column = NH_ARRAY(size_t, found);
    v->count = 0;
    if (v->energy == NULL || v->column == NULL) return nh_fail_memory(err, "the states");
    for (size_t i = 0; i < found; i++) {
        const double d = 1 / theta[i];
        if (d <= -e->lo || d >= e->hi) continue;
        size_t at = v->count++;
        for (; at > 0 && v->energy[at - 1] > s->sigma + d; at--) {
            v->energy[at] = v->energy[at - 1];
            v->column[at] = v->column[at - 1];
        }
        v->energy[at] = s->sigma + d;
        v->column[at] = i;
    }
    if (refine(w, s, v, err) != 0) return -1;
    for (size_t i = 1; i < v->count; i++) /* Rayleigh quotients may change places by rounding */
        for (size_t at = i; at > 0 && v->energy[at - 1] > v->energy[at]; at--) {
            const double energy = v->energy[at];
            const size_t column = v->column[at];
            v->energy[at] = v->energy[at - 1];
            v->column[at] = v->column[at - 1];
            v->energy[at - 1] = energy;
            v->column[at - 1] = column;
        }
    return 0;
}

/* Rounding grows with the square of 1/(E - sigma), against that of the states wanted: is sigma far enough from them all? Otherwise
 * it goes into the widest gap near by. */
static bool move_aside(search *s, size_t found, const double *theta, double *room)
{
    double nearest = INFINITY, widest = 0, to = s->sigma;
    for (size_t i = 0; i < found; i++) {
        room[i] = 1 / theta[i];
        nearest = fmin(nearest, fabs(room[i]));
    }
    const size_t last = found < s->wanted ? found - 1 : s->wanted - 1;
    const double radius = 1 / fabs(theta[last]);
    if (nearest >= BESIDE && nearest >= 1e-3 * radius) return false;
    qsort(room, found, sizeof *room, ascending);
    const double near = fmax(radius / 4, ASIDE);
    for (size_t i = 0; i + 1 < found; i++) {
        const double middle = (room[i] + room[i + 1]) / 2, gap = room[i + 1] - room[i];
        /* of a wide gap its near end is near enough */
        const double place = fmin(fmax(middle, -near), near),
                     clear = fmin(place - room[i], room[i + 1] - place);
        if (clear > widest && gap > 0) {
            widest = clear;
            to = s->sigma + place;
        }
    }
    if (widest <= 2 * nearest) { /* nothing known is better: beside them all */
        if (nearest >= BESIDE) return false;
        to = s->sigma + (fabs(room[0]) < fabs(room[found - 1]) ? room[0] - near : room[found - 1] + near);
    }
    s->sigma = to;
    return true;
}

/* The states that the search is for, and some more, for the matrices that are filled in. */
static int states_about(worker *w, search *s, window *v, nh_error *err)
{
    enum { ROUNDS = 4 };
    const size_t n = s->n = nh_sparse_basis(w->a, NH_SPARSE_H);
    const nh_lanczos_operator op = {n, w->real, w, solve_shifted, times_overlap};
    size_t most = s->wanted + 3 * BLOCK;
    bool fresh = true;
    double *room = NULL;
    *v = (window){0};
    s->sigma = s->centre;
    for (int missing = 0, moved = 0; missing < ROUNDS;) {
        const double *theta;
        if (fresh) {
            nh_lanczos_free(v->lanczos);
            v->lanczos = NULL;
            most = most < n ? most : n;
            if (factor_beside(w, &s->sigma, &s->all_below, err) != 0 ||
                nh_lanczos_new(&op, most, BLOCK, &v->lanczos, err) != 0)
                goto fail;
            /* The nearest state first: on a state, the inverse is nothing but that state and rounding. */
            if (nh_lanczos_run(v->lanczos, 1, false, err) != 0) goto fail;
            nh_lanczos_found(v->lanczos, &theta, NULL, NULL);
            if (moved < ROUNDS && fabs(theta[0]) > 1 / BESIDE) {
                s->sigma += ASIDE * (moved % 2 == 0 ? 1 : -1) * (moved + 1);
                moved++;
                continue;
            }
            fresh = false;
        }
        size_t want = nh_lanczos_found(v->lanczos, NULL, NULL, NULL) + BLOCK;
        want = want > s->wanted + BLOCK ? want : s->wanted + BLOCK;
        want = want < most ? want : most;
        if (nh_lanczos_run(v->lanczos, want, s->balanced, err) != 0) goto fail;
        const size_t found = nh_lanczos_found(v->lanczos, &theta, NULL, NULL);
        free(room);
        room = NH_ARRAY(double, 3 * found);
        if (room == NULL) {
            nh_fail_memory(err, "the states");
            goto fail;
        }
        if (moved < ROUNDS && move_aside(s, found, theta, room)) {
            moved++;
            fresh = true;
            continue;
        }
        ends e;
        if (!choose_ends(s, found, theta, room,
                         &e)) { /* a crowd at the end, or sides that have not come as far: more of them */
            if (want == most) {
                most *= 2;
                fresh = true;
            }
            if (most > 64 * (s->wanted + BLOCK)) {
                nh_fail(err, "no gap of %g eV among the %zu states nearest to %.6f eV", CLEAR, found,
                        s->sigma);
                goto fail;
            }
            continue;
        }
        size_t lo, hi, found_below = 0;
        if (take_window(w, s, &e, v, err) != 0 || count_below(w, s->sigma, -e.lo, 0, &lo, err) != 0 ||
            count_below(w, s->sigma, e.hi, n, &hi, err) != 0)
            goto fail;
        while (found_below < v->count && v->energy[found_below] < s->sigma)
            found_below++;
        if (hi - lo == v->count && s->all_below - lo == found_below) {
            v->first = lo;
            free(room);
            return 0;
        }
        if (hi < lo || hi - lo < v->count) {
            nh_fail(err,
                    "%zu states between %.6f and %.6f eV, %zu by the inertia: H - sigma S is too close to "
                    "singular",
                    v->count, s->sigma - e.lo, s->sigma + e.hi, hi - lo);
            goto fail;
        }
        /* States that the Krylov space did not see. */
        missing++;
        if (factor_beside(w, &s->sigma, &s->all_below, err) != 0 || nh_lanczos_refresh(v->lanczos, err) != 0)
            goto fail;
    }
    nh_fail(err, "states near %.6f eV are missing: the inertia counts more than were found", s->sigma);
fail:
    free(room);
    window_free(v);
    return -1;
}

/* ---- all k-points */

static int fill_point(worker *w, const double *k, nh_error *err)
{
    return nh_sparse_fill(w->a, k, err) != 0 ? -1 : open_factor(w, err);
}

static int open_point(worker *w, const double *k, double *s_smallest, double *s_largest, nh_error *err)
{
    if (nh_sparse_fill(w->a, k, err) != 0 || check_overlap(w, s_smallest, s_largest, err) != 0) return -1;
    return open_factor(w, err);
}

static int solve_point(worker *w, size_t k, nh_spectrum *out, double *vector, nh_error *err)
{
    const nh_nearest_task *t = w->task;
    const size_t n = out->basis;
    search s = {.centre = t->centre, .wanted = t->count};
    window v;
    if (open_point(w, t->k + 3 * k, &out->s_smallest[k], &out->s_largest[k], err) != 0 ||
        states_about(w, &s, &v, err) != 0)
        return -1;
    for (size_t i = 0; i < v.count; i++)
        if (fabs(v.energy[i] - t->centre) < BESIDE) {
            say(t, true, "%s: k-point %zu: --sigma %.9g is on a state: the factorisation is at %.9g", t->name,
                k + 1, t->centre, s.sigma);
            break;
        }
    const nh_band_choice choice = {.kind = NH_BANDS_NEAREST, .count = t->count, .centre = t->centre};
    size_t first;
    nh_bands_choose(&choice, v.count, v.energy, &first, &out->count[k]);
    out->first[k] = v.first + first;
    out->rank[k] = n;
    double *energy = out->energy + k * n;
    for (size_t i = 0; i < n; i++)
        energy[i] = NAN;
    memcpy(energy + out->first[k], v.energy + first, out->count[k] * sizeof *energy);
    if (vector != NULL) {
        const double *from;
        nh_lanczos_found(v.lanczos, NULL, &from, NULL);
        for (size_t i = 0; i < out->count[k]; i++)
            nh_eigen_turn(n, from + 2 * n * v.column[first + i], false, vector + 2 * n * i);
    }
    window_free(&v);
    return 0;
}

int nh_nearest_solve(const nh_nearest_task *t, nh_spectrum *out, nh_error *err)
{
    worker w;
    double *vector = NULL;
    int status = worker_new(t, &w, err);
    if (status == 0 && t->vectors) {
        vector = nh_calloc_aligned(t->count, 2 * out->basis * sizeof *vector);
        if (vector == NULL) status = nh_fail_memory(err, "the vectors");
    }
    const size_t end = t->end > 0 ? t->end : t->n_k;
    for (size_t k = t->first; k < end && status == 0; k++) {
        const double *q = t->k + 3 * k;
        status = solve_point(&w, k, out, vector, err);
        if (status != 0) nh_fail_at(err, "%s: k-point %zu (%g %g %g)", t->name, k + 1, q[0], q[1], q[2]);
        if (status == 0 && vector != NULL && t->take != NULL) status = t->take(t->context, k, vector, err);
        nh_progress_add(t->progress, 1);
    }
    free(vector);
    worker_free(&w);
    return status;
}

int nh_nearest_expect(const nh_nearest_task *t, nh_factor_facts *facts, bool *real, nh_error *err)
{
    worker w;
    nh_factor *f = NULL;
    int status = worker_new(t, &w, err);
    if (status == 0) status = nh_sparse_fill(w.a, t->k, err);
    if (status == 0) {
        *real = nh_sparse_is_real(w.a, NH_SPARSE_H);
        status = nh_factor_new(w.a, NH_SPARSE_H, *real, &f, err);
    }
    if (status == 0) *facts = nh_factor_expect(f);
    nh_factor_free(f);
    worker_free(&w);
    return status;
}

/* ---- the Fermi level */

static nh_ranks ranks_of(const nh_nearest_task *t)
{
    return t->ranks != NULL ? *t->ranks : (nh_ranks){0, 1, 0};
}

/* The rank that solves k-point i. */
static int owner_of(const nh_ranks *r, size_t i)
{
    return (int)(i % (size_t)r->count);
}

/* Mean number of states below an energy, over the k-points. */
static int count_states(worker *w, const nh_kpoints *k, double energy, double *count, nh_error *err)
{
    const nh_ranks r = ranks_of(w->task);
    double *below = NH_ARRAY(double, k->count);
    int status = below != NULL ? 0 : nh_fail_memory(err, "the k-points");
    for (size_t i = 0; i < k->count && status == 0; i++) {
        size_t n;
        double at = energy;
        if (owner_of(&r, i) != r.rank) continue;
        status = fill_point(w, k->k + 3 * i, err);
        if (status == 0) status = factor_beside(w, &at, &n, err);
        if (status == 0) below[i] = (double)n;
    }
    status = nh_ranks_agree(&r, status, err);
    if (status == 0) nh_ranks_sum(&r, k->count, below); /* whole numbers: exact */
    *count = 0;
    for (size_t i = 0; i < k->count && status == 0; i++)
        *count += k->weight[i] * below[i];
    free(below);
    return status;
}

/* All ranks get the energies of each. */
static int share_windows(const nh_ranks *r, size_t n, window *v, nh_error *err)
{
    for (size_t i = 0; i < n && r->count > 1; i++) {
        const int owner = owner_of(r, i);
        nh_ranks_share(r, owner, sizeof v[i].first, &v[i].first);
        nh_ranks_share(r, owner, sizeof v[i].count, &v[i].count);
        if (owner != r->rank) v[i].energy = NH_ARRAY(double, v[i].count);
        if (nh_ranks_agree(r, v[i].energy != NULL ? 0 : nh_fail_memory(err, "the states"), err) != 0)
            return -1;
        nh_ranks_share(r, owner, v[i].count * sizeof *v[i].energy, v[i].energy);
    }
    return 0;
}

/* Goes to an energy below which there are `target` states, but for a few: between two energies whose counts are known, where a
 * straight line has it, or further away. */
static int halve_in(worker *w, const nh_kpoints *k, double target, double *energy, double *off, nh_error *err)
{
    const double n = (double)nh_sparse_basis(w->a, NH_SPARSE_H);
    double lo = -INFINITY, hi = INFINITY, n_lo = 0, n_hi = n, step = 4, count;
    for (int i = 0; i < 200; i++) {
        if (count_states(w, k, *energy, &count, err) != 0) return -1;
        *off = fabs(count - target);
        say(w->task, false, "%.6f eV: %.6g states below, %.6g wanted", *energy, count, target);
        if (*off <= BLOCK || (!isinf(lo) && !isinf(hi) && hi - lo < CLEAR)) return 0;
        if (count < target) {
            lo = *energy;
            n_lo = count;
        } else {
            hi = *energy;
            n_hi = count;
        }
        if (isinf(lo) || isinf(hi)) {
            *energy += count < target ? step : -step;
            step *= 2;
        } else {
            const double part = (target - n_lo) / (n_hi - n_lo);
            *energy = lo + (hi - lo) * fmin(fmax(part, 0.1), 0.9);
        }
    }
    return nh_fail(err, "no energy has %g states below it", target);
}

/* The level from the states about `energy` at every k-point, `wanted` of them. *sure: it is between those of every k-point. */
static int level_about(worker *w, const nh_kpoints *k, double nelec, double electrons_per_band, double energy,
                       size_t wanted, double *efermi, double *vbm, double *cbm, bool *sure, nh_error *err)
{
    const size_t n = nh_sparse_basis(w->a, NH_SPARSE_H);
    size_t n_band = 0;
    nh_bands b = {0};
    window *v = NH_ARRAY(window, k->count);
    const nh_ranks r = ranks_of(w->task);
    int status = v != NULL ? 0 : nh_fail_memory(err, "the states");
    *sure = false;
    for (size_t i = 0; i < k->count && status == 0; i++) {
        if (owner_of(&r, i) != r.rank) continue;
        search s = {.centre = energy, .wanted = wanted, .balanced = true};
        status = fill_point(w, k->k + 3 * i, err);
        if (status == 0) status = states_about(w, &s, &v[i], err);
        nh_lanczos_free(v[i].lanczos); /* only the energies are needed */
        v[i].lanczos = NULL;
    }
    status = nh_ranks_agree(&r, status, err);
    if (status == 0) status = share_windows(&r, k->count, v, err);
    for (size_t i = 0; i < k->count && status == 0; i++)
        n_band = v[i].count > n_band ? v[i].count : n_band;
    if (status == 0) status = nh_bands_new(k, n_band, &b, err);
    status = nh_ranks_agree(&r, status, err);
    if (status == 0) {
        b.electrons_per_band = electrons_per_band;
        for (size_t i = 0; i < k->count; i++) {
            memcpy(b.energy + i * n_band, v[i].energy, v[i].count * sizeof *b.energy);
            b.first[i] = v[i].first;
        }
        nh_error none;
        if (nh_fermi_level(&b, nelec, efermi, &none) == 0) {
            *sure = true;
            *vbm = -INFINITY;
            *cbm = INFINITY;
            for (size_t i = 0; i < k->count; i++) {
                const size_t count = v[i].count;
                *sure = *sure && (v[i].first == 0 || v[i].energy[0] <= *efermi) &&
                        (v[i].first + count == n || v[i].energy[count - 1] > *efermi);
                for (size_t s = 0; s < count; s++)
                    if (v[i].energy[s] <= *efermi)
                        *vbm = fmax(*vbm, v[i].energy[s]);
                    else
                        *cbm = fmin(*cbm, v[i].energy[s]);
            }
        }
        nh_bands_free(&b);
    }
    for (size_t i = 0; v != NULL && i < k->count; i++)
        window_free(&v[i]);
    free(v);
    return status;
}

int nh_nearest_fermi(const nh_nearest_task *t, const nh_kpoints *k, double nelec, double electrons_per_band,
                     double *efermi, double *vbm, double *cbm, nh_error *err)
{
    enum { MOST = 256 };
    worker w;
    const nh_ranks r = ranks_of(t);
    const double target = nelec / electrons_per_band;
    double energy = t->centre, off = 0;
    bool sure = false;
    int status = worker_new(t, &w, err);
    if (status == 0 && !(target > 0 && target < (double)nh_sparse_basis(w.a, NH_SPARSE_H)))
        status = nh_fail(err, "%g electrons do not fill these bands", nelec);
    for (size_t i = 0; i < k->count && status == 0; i++) { /* counts mean something only then */
        double smallest, largest;
        if (owner_of(&r, i) != r.rank) continue;
        status = nh_sparse_fill(w.a, k->k + 3 * i, err);
        if (status == 0) status = check_overlap(&w, &smallest, &largest, err);
        if (status != 0)
            nh_fail_at(err, "k-point %zu (%g %g %g)", i + 1, k->k[3 * i], k->k[3 * i + 1], k->k[3 * i + 2]);
    }
    status = nh_ranks_agree(&r, status, err);
    if (status == 0) status = halve_in(&w, k, target, &energy, &off, err);
    for (size_t side = BLOCK + (size_t)off; status == 0 && !sure && side <= MOST; side *= 2) {
        status =
            level_about(&w, k, nelec, electrons_per_band, energy, 2 * side, efermi, vbm, cbm, &sure, err);
    }
    if (status == 0 && !sure)
        status = nh_fail(err, "the Fermi level is not among the %d states on either side of %.6f eV", MOST,
                         energy);
    worker_free(&w);
    return status == 0 ? 0 : nh_fail_at(err, "%s: Fermi level", t->name);
}
