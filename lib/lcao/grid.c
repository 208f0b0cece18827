#include "lcao/grid.h"

#include "base/memory.h"
#include "crystal/lattice.h"

#include <fftw3.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The transforms are cut into one-dimensional and two-dimensional ones of FFTW, which any thread may run:
 * planes (second and third axis) one by one, columns (first axis) in strips that fit into the cache. The cut
 * does not depend on the number of threads, and the plans are estimates, not measurements: the same bytes in
 * every run. */
enum { STRIP = 16 }; /* columns, neighbours along the third axis */

typedef struct strip {
    size_t first; /* place of its first column in the plane [n1][n2/2+1] */
    size_t count; /* columns, at most STRIP; those behind n_sphere are outside the sphere's shadow */
    size_t inside;
} strip;

struct nh_fft {
    nh_threads *threads;
    size_t half; /* n2/2 + 1 */
    fftw_plan plane_forward, plane_backward, strip_forward, strip_backward;
    double *plane;        /* [thread][n1 n2], rounded up to even */
    fftw_complex *column; /* [thread][n0][STRIP] */
    size_t plane_size;    /* numbers of a thread's plane */
    double complex *box;  /* [n0][n1][n2/2+1] */
    size_t n_strip;
    strip *strips;
    size_t *first_wave; /* [n0+1] first kept G of each plane of the box */
};

/* --- the sphere */

/* ABACUS's sizes: no factor but 2, 3, 5 */
static size_t smooth_size(size_t least)
{
    for (size_t n = least;; n++) {
        size_t rest = n;
        for (size_t f = 2; f <= 5; f++)
            while (rest % f == 0)
                rest /= f;
        if (rest == 1) return n;
    }
}

static double square_of(const double b[9], const int h[3])
{
    double q2 = 0;
    for (int x = 0; x < 3; x++) {
        const double q = h[0] * b[x] + h[1] * b[3 + x] + h[2] * b[6 + x];
        q2 += q * q;
    }
    return q2;
}

/* Visits all G of the sphere; h in increasing order. For given h1, h2 the third index runs over the interval
 * in which a quadratic polynomial is below ecut, its ends checked one by one. */
static void for_each_wave(const double b[9], double ecut, const int limit[3],
                          void (*visit)(void *context, const int h[3], double q2), void *context)
{
    int h[3];
    for (h[0] = -limit[0]; h[0] <= limit[0]; h[0]++)
        for (h[1] = -limit[1]; h[1] <= limit[1]; h[1]++) {
            double a = 0, c = 0, d = 0; /* |G|^2 = a + 2 c h3 + d h3^2 */
            for (int x = 0; x < 3; x++) {
                const double p = h[0] * b[x] + h[1] * b[3 + x];
                a += p * p;
                c += p * b[6 + x];
                d += b[6 + x] * b[6 + x];
            }
            const double middle = -c / d, inside = (ecut - a) / d + middle * middle;
            if (inside < -1e-6) continue;
            const double reach = sqrt(fmax(inside, 0)) + 1;
            const int from = (int)fmax(floor(middle - reach), -limit[2]),
                      to = (int)fmin(ceil(middle + reach), limit[2]);
            for (h[2] = from; h[2] <= to; h[2]++) {
                const double q2 = square_of(b, h);
                if (q2 <= ecut) visit(context, h, q2);
            }
        }
}

typedef struct extent {
    int largest[3];
    size_t count;
} extent;

static void measure(void *context, const int h[3], double q2)
{
    (void)q2;
    extent *e = context;
    e->count++;
    for (int x = 0; x < 3; x++)
        if (abs(h[x]) > e->largest[x]) e->largest[x] = abs(h[x]);
}

/* Of G and -G the one with h3 > 0, or with h1 >= 0 in the plane h3 = 0. */
static bool kept(const int h[3])
{
    return h[2] > 0 || (h[2] == 0 && (h[0] > 0 || (h[0] == 0 && h[1] >= 0)));
}

typedef struct filling {
    nh_grid *g;
    size_t n;
    size_t *next; /* [n0][n1] first free place of the column; NULL: count only, into `count` */
    size_t *count;
    double *square; /* [n_g] */
} filling;

static size_t wrapped(int h, size_t n)
{
    return h >= 0 ? (size_t)h : n - (size_t)(-h);
}

static void fill(void *context, const int h[3], double q2)
{
    filling *f = context;
    nh_grid *g = f->g;
    if (!kept(h)) return;
    const size_t column = wrapped(h[0], g->n[0]) * g->n[1] + wrapped(h[1], g->n[1]);
    if (f->next == NULL) {
        f->count[column + 1]++;
        return;
    }
    const size_t i = f->next[column]++;
    g->box[i] = column * (g->n[2] / 2 + 1) + (size_t)h[2];
    for (int x = 0; x < 3; x++)
        g->h[i][x] = (int16_t)h[x];
    g->weight[i] = h[0] == 0 && h[1] == 0 && h[2] == 0 ? 1 : 2;
    f->square[i] = q2;
}

typedef struct sortable {
    double square;
    uint32_t wave;
} sortable;

static int by_square(const void *pa, const void *pb)
{
    const sortable *a = pa, *b = pb;
    if (a->square != b->square) return a->square < b->square ? -1 : 1;
    return a->wave < b->wave ? -1 : 1;
}

/* Lengths that differ by rounding only are one shell. */
static int find_shells(nh_grid *g, const double *square, nh_error *err)
{
    if (g->n_g > UINT32_MAX) return nh_fail(err, "grid: more than %u plane waves", UINT32_MAX);
    sortable *s = NH_ARRAY(sortable, g->n_g);
    if (s == NULL) return nh_fail_memory(err, "the shells of plane waves");
    for (size_t i = 0; i < g->n_g; i++)
        s[i] = (sortable){square[i], (uint32_t)i};
    qsort(s, g->n_g, sizeof *s, by_square);
    size_t n = 0;
    double first = -1; /* square of the shell's first member */
    for (size_t i = 0; i < g->n_g; i++)
        if (i == 0 || s[i].square > first * (1 + 1e-10) + 1e-12) {
            first = s[i].square;
            n++;
        }
    g->shell_q = NH_ARRAY(double, n);
    if (g->shell_q == NULL) {
        free(s);
        return nh_fail_memory(err, "the shells of plane waves");
    }
    for (size_t i = 0; i < g->n_g; i++) {
        if (i == 0 || s[i].square > first * (1 + 1e-10) + 1e-12) {
            first = s[i].square;
            g->shell_q[g->n_shell++] = sqrt(first);
        }
        g->shell[s[i].wave] = (uint32_t)(g->n_shell - 1);
    }
    free(s);
    return 0;
}

static int find_waves(nh_grid *g, const int limit[3], nh_error *err)
{
    const size_t columns = g->n[0] * g->n[1];
    double *square = NULL;
    int status = -1;
    g->fft->first_wave = NH_ARRAY(size_t, g->n[0] + 1);
    filling f = {.g = g, .count = NH_ARRAY(size_t, columns + 1)};
    if (f.count == NULL || g->fft->first_wave == NULL) {
        nh_fail_memory(err, "the plane waves");
        goto done;
    }
    for_each_wave(g->reciprocal, g->ecut, limit, fill, &f);
    for (size_t c = 0; c < columns; c++)
        f.count[c + 1] += f.count[c];
    g->n_g = f.count[columns];
    for (size_t i = 0; i <= g->n[0]; i++)
        g->fft->first_wave[i] = f.count[i * g->n[1]];
    g->box = NH_ARRAY(size_t, g->n_g);
    g->h = nh_calloc(g->n_g, sizeof *g->h);
    g->weight = NH_ARRAY(double, g->n_g);
    g->shell = NH_ARRAY(uint32_t, g->n_g);
    f.square = square = NH_ARRAY(double, g->n_g);
    if (g->box == NULL || g->h == NULL || g->weight == NULL || g->shell == NULL || square == NULL) {
        nh_fail_memory(err, "the plane waves");
        goto done;
    }
    f.next = f.count; /* the columns' ends are not needed any more */
    for_each_wave(g->reciprocal, g->ecut, limit, fill, &f);
    status = find_shells(g, square, err);
done:
    free(f.count);
    free(square);
    return status;
}

/* --- plans */

static int make_strips(nh_grid *g, nh_error *err)
{
    struct nh_fft *t = g->fft;
    const size_t planes = g->n[1];
    size_t *inside = NH_ARRAY(size_t, planes); /* columns of each row that meet the sphere */
    t->n_strip = planes * ((t->half + STRIP - 1) / STRIP);
    t->strips = NH_ARRAY(strip, t->n_strip);
    if (inside == NULL || t->strips == NULL) {
        free(inside);
        return nh_fail_memory(err, "the columns of the grid");
    }
    for (size_t i = 0; i < g->n_g; i++) {
        const size_t third = (size_t)g->h[i][2] + 1;
        size_t row = wrapped(g->h[i][1], g->n[1]);
        if (third > inside[row]) inside[row] = third;
        row = wrapped(-g->h[i][1], g->n[1]); /* -G of the plane h3 = 0 */
        if (inside[row] == 0) inside[row] = 1;
    }
    size_t n = 0;
    for (size_t row = 0; row < planes; row++)
        for (size_t c = 0; c < t->half; c += STRIP) {
            const size_t count = t->half - c < STRIP ? t->half - c : STRIP;
            const size_t met = inside[row] > c ? inside[row] - c : 0;
            t->strips[n++] = (strip){row * t->half + c, count, met < count ? met : count};
        }
    free(inside);
    return 0;
}

static int make_fft(nh_grid *g, nh_error *err)
{
    struct nh_fft *t = g->fft;
    const int n[3] = {(int)g->n[0], (int)g->n[1], (int)g->n[2]};
    const size_t threads = (size_t)nh_threads_count(t->threads);
    t->plane_size = (g->n[1] * g->n[2] + 7) / 8 * 8;
    size_t box, plane;
    if (!nh_size_mul(g->n[0] * g->n[1], t->half, &box) || !nh_size_mul(threads, t->plane_size, &plane))
        return nh_fail_memory(err, "the grid's transforms");
    t->box = nh_calloc_aligned(box, sizeof *t->box);
    t->plane = nh_calloc_aligned(plane, sizeof *t->plane);
    t->column = nh_calloc_aligned(threads * g->n[0], STRIP * sizeof *t->column);
    if (t->box == NULL || t->plane == NULL || t->column == NULL)
        return nh_fail_memory(err, "the grid's transforms");
    fftw_complex *first = (fftw_complex *)t->box;
    t->plane_forward = fftw_plan_dft_r2c_2d(n[1], n[2], t->plane, first, FFTW_ESTIMATE);
    t->plane_backward = fftw_plan_dft_c2r_2d(n[1], n[2], first, t->plane, FFTW_ESTIMATE);
    t->strip_forward = fftw_plan_many_dft(1, n, STRIP, t->column, NULL, STRIP, 1, t->column, NULL, STRIP, 1,
                                          FFTW_FORWARD, FFTW_ESTIMATE);
    t->strip_backward = fftw_plan_many_dft(1, n, STRIP, t->column, NULL, STRIP, 1, t->column, NULL, STRIP, 1,
                                           FFTW_BACKWARD, FFTW_ESTIMATE);
    if (t->plane_forward == NULL || t->plane_backward == NULL || t->strip_forward == NULL ||
        t->strip_backward == NULL)
        return nh_fail(err, "grid: FFTW has no plan for %d x %d x %d", n[0], n[1], n[2]);
    return make_strips(g, err);
}

int nh_grid_new(const double lattice[9], double ecut, nh_threads *threads, nh_grid **out, nh_error *err)
{
    *out = NULL;
    const double volume = nh_lattice_volume(lattice);
    if (!(fabs(volume) > 0) || !isfinite(volume)) return nh_fail(err, "grid: a lattice with volume expected");
    if (!(ecut > 0) || !isfinite(ecut))
        return nh_fail(err, "grid: an energy above 0 expected, found %g", ecut);
    nh_grid *g = NH_ARRAY(nh_grid, 1);
    if (g == NULL || (g->fft = NH_ARRAY(struct nh_fft, 1)) == NULL) {
        free(g);
        return nh_fail_memory(err, "the grid");
    }
    g->fft->threads = threads;
    memcpy(g->lattice, lattice, sizeof g->lattice);
    g->volume = fabs(volume);
    g->ecut = ecut;
    double inverse[9];
    nh_lattice_inverse(lattice, inverse);
    for (int i = 0; i < 3; i++)
        for (int x = 0; x < 3; x++)
            g->reciprocal[3 * i + x] = 2 * M_PI * inverse[3 * x + i];

    int limit[3];
    for (int i = 0; i < 3; i++) {
        const double *a = lattice + 3 * i;
        const double most = sqrt((a[0] * a[0] + a[1] * a[1] + a[2] * a[2]) * ecut) / (2 * M_PI);
        if (most > 16000) {
            nh_fail(err, "grid: the cell is too long for %g Ry: %g bohr", ecut, most * 2 * M_PI / sqrt(ecut));
            goto fail;
        }
        limit[i] = (int)floor(most * (1 + 1e-12));
    }
    extent e = {{0, 0, 0}, 0};
    for_each_wave(g->reciprocal, ecut, limit, measure, &e);
    g->n_wave = e.count;
    for (int i = 0; i < 3; i++)
        g->n[i] = smooth_size(2 * (size_t)e.largest[i] + 1);
    size_t plane;
    if (!nh_size_mul(g->n[1], g->n[2], &plane) || !nh_size_mul(g->n[0], plane, &g->n_point) ||
        plane > INT32_MAX) {
        nh_fail_memory(err, "the grid");
        goto fail;
    }
    g->fft->half = g->n[2] / 2 + 1;
    if (find_waves(g, limit, err) != 0 || make_fft(g, err) != 0) goto fail;
    *out = g;
    return 0;
fail:
    nh_grid_free(g);
    return -1;
}

void nh_grid_free(nh_grid *g)
{
    if (g == NULL) return;
    if (g->placed != NULL) g->device->call->potential->drop(g->placed);
    struct nh_fft *t = g->fft;
    if (t->plane_forward != NULL) fftw_destroy_plan(t->plane_forward);
    if (t->plane_backward != NULL) fftw_destroy_plan(t->plane_backward);
    if (t->strip_forward != NULL) fftw_destroy_plan(t->strip_forward);
    if (t->strip_backward != NULL) fftw_destroy_plan(t->strip_backward);
    free(t->plane);
    free(t->column);
    free(t->box);
    free(t->strips);
    free(t->first_wave);
    free(t);
    free(g->box);
    free(g->h);
    free(g->weight);
    free(g->shell_q);
    free(g->shell);
    free(g);
}

int nh_grid_place(nh_grid *g, const nh_device *device, nh_error *err)
{
    if (device == NULL) return 0;
    if (g->n[0] * g->n[1] * g->fft->half > INT_MAX) return nh_fail(err, "grid: too large for a device");
    if (g->placed != NULL) g->device->call->potential->drop(g->placed);
    g->placed = NULL;
    g->device = device;
    nhk_potential_input in = {.n = {(int)g->n[0], (int)g->n[1], (int)g->n[2]},
                              .n_wave = g->n_g,
                              .wave = (const short(*)[3])g->h,
                              .volume = g->volume};
    memcpy(in.reciprocal, g->reciprocal, sizeof in.reciprocal);
    return device->call->potential->make(device->gpu, &in, &g->placed, err);
}

/* --- transforms */

typedef struct transform {
    const nh_grid *g;
    double complex *box;
    const double *from;      /* forward: the function */
    double *to;              /* backward: the function */
    const double complex *x; /* backward: the sphere; NULL: the box is full */
    double complex *picked;  /* forward: the sphere; NULL: the box stays */
    bool whole;              /* all columns */
} transform;

static void plane_forward(void *context, size_t i, int thread)
{
    const transform *t = context;
    const struct nh_fft *f = t->g->fft;
    const size_t size = t->g->n[1] * t->g->n[2];
    double *plane =
        f->plane + (size_t)thread * f->plane_size; /* aligned, which the caller's plane need not be */
    memcpy(plane, t->from + i * size, size * sizeof *plane);
    fftw_execute_dft_r2c(f->plane_forward, plane, (fftw_complex *)(t->box + i * t->g->n[1] * f->half));
}

static void plane_backward(void *context, size_t i, int thread)
{
    const transform *t = context;
    const struct nh_fft *f = t->g->fft;
    const size_t size = t->g->n[1] * t->g->n[2];
    double *plane = f->plane + (size_t)thread * f->plane_size;
    fftw_execute_dft_c2r(f->plane_backward, (fftw_complex *)(t->box + i * t->g->n[1] * f->half), plane);
    memcpy(t->to + i * size, plane, size * sizeof *plane);
}

static void along_columns(const transform *t, size_t index, int thread, bool forward)
{
    const struct nh_fft *f = t->g->fft;
    const strip s = f->strips[index];
    const size_t plane = t->g->n[1] * f->half, n = t->g->n[0], count = t->whole ? s.count : s.inside;
    if (count == 0) return;
    fftw_complex *column = f->column + (size_t)thread * n * STRIP;
    for (size_t i = 0; i < n; i++)
        memcpy(column + i * STRIP, t->box + i * plane + s.first, count * sizeof *column);
    fftw_execute_dft(forward ? f->strip_forward : f->strip_backward, column, column);
    for (size_t i = 0; i < n; i++)
        memcpy(t->box + i * plane + s.first, column + i * STRIP, count * sizeof *column);
}

static void columns_forward(void *context, size_t index, int thread)
{
    along_columns(context, index, thread, true);
}

static void columns_backward(void *context, size_t index, int thread)
{
    along_columns(context, index, thread, false);
}

/* Plane i of the box from the sphere; -G of the plane h3 = 0 is written by the plane it lies in. */
static void spread(void *context, size_t i, int thread)
{
    (void)thread;
    const transform *t = context;
    const nh_grid *g = t->g;
    const size_t *first = g->fft->first_wave, plane = g->n[1] * g->fft->half;
    memset(t->box + i * plane, 0, plane * sizeof *t->box);
    for (size_t w = first[i]; w < first[i + 1]; w++)
        t->box[g->box[w]] = t->x[w];
    const size_t mirror = (g->n[0] - i) % g->n[0];
    for (size_t w = first[mirror]; w < first[mirror + 1]; w++)
        if (g->h[w][2] == 0)
            t->box[(i * g->n[1] + wrapped(-g->h[w][1], g->n[1])) * g->fft->half] = conj(t->x[w]);
}

static void pick(void *context, size_t i, int thread)
{
    (void)thread;
    const transform *t = context;
    const nh_grid *g = t->g;
    const double scale = 1 / (double)g->n_point;
    for (size_t w = g->fft->first_wave[i]; w < g->fft->first_wave[i + 1]; w++)
        t->picked[w] = scale * t->box[g->box[w]];
}

static void scale_plane(void *context, size_t i, int thread)
{
    (void)thread;
    const transform *t = context;
    const double scale = 1 / (double)t->g->n_point;
    const size_t plane = t->g->n[1] * t->g->fft->half;
    for (size_t k = i * plane; k < (i + 1) * plane; k++)
        t->box[k] *= scale;
}

void nh_grid_to_sphere(const nh_grid *g, const double *f, double complex *x)
{
    transform t = {.g = g, .box = g->fft->box, .from = f, .picked = x};
    nh_parallel_for(g->fft->threads, g->n[0], plane_forward, &t);
    nh_parallel_for(g->fft->threads, g->fft->n_strip, columns_forward, &t);
    nh_parallel_for(g->fft->threads, g->n[0], pick, &t);
}

void nh_grid_to_real(const nh_grid *g, const double complex *x, double *f)
{
    transform t = {.g = g, .box = g->fft->box, .to = f, .x = x};
    nh_parallel_for(g->fft->threads, g->n[0], spread, &t);
    nh_parallel_for(g->fft->threads, g->fft->n_strip, columns_backward, &t);
    nh_parallel_for(g->fft->threads, g->n[0], plane_backward, &t);
}

size_t nh_grid_box_size(const nh_grid *g)
{
    return g->n[0] * g->n[1] * g->fft->half;
}

/* FFTW's planes must begin at multiples of 16 bytes, which the caller's box does: malloc aligns to that. */
void nh_grid_to_box(const nh_grid *g, const double *f, double complex *x)
{
    transform t = {.g = g, .box = x, .from = f, .whole = true};
    nh_parallel_for(g->fft->threads, g->n[0], plane_forward, &t);
    nh_parallel_for(g->fft->threads, g->fft->n_strip, columns_forward, &t);
    nh_parallel_for(g->fft->threads, g->n[0], scale_plane, &t);
}

void nh_grid_from_box(const nh_grid *g, double complex *x, double *f)
{
    transform t = {.g = g, .box = x, .to = f, .whole = true};
    nh_parallel_for(g->fft->threads, g->fft->n_strip, columns_backward, &t);
    nh_parallel_for(g->fft->threads, g->n[0], plane_backward, &t);
}

double nh_grid_integral(const nh_grid *g, const double *f)
{
    double sum[4] = {0, 0, 0, 0}; /* of every fourth point: less rounding, and no chain of additions */
    size_t i = 0;
    for (; i + 4 <= g->n_point; i += 4)
        for (size_t k = 0; k < 4; k++)
            sum[k] += f[i + k];
    for (; i < g->n_point; i++)
        sum[0] += f[i];
    return (sum[0] + sum[1] + sum[2] + sum[3]) * g->volume / (double)g->n_point;
}
