#include "properties/optics.h"

#include "base/complex.h"
#include "base/memory.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double NO_ELECTRON = 1e-12, SOME_ELECTRON = 1e-2;

enum {
    BLOCK = 256,      /* transitions at a time */
    SYMMETRIC = 6,    /* xx yy zz yz zx xy of Re p^a_nm p^b_mn */
    PARTS = 9,        /* and yz zx xy of Im */
    SUMS = 2 * PARTS, /* a photon energy */
    SPREAD = 12,
    TOTALS = 14 /* behind them: Drude tensor [9], f-sum [3], spread and its weight */
};
static const int ROW[SYMMETRIC] = {0, 1, 2, 1, 2, 0}, COLUMN[SYMMETRIC] = {0, 1, 2, 2, 0, 1};

/* Transitions that wait for their kernels. */
typedef struct block {
    size_t n;
    double from[BLOCK], eta[BLOCK]; /* E_m - E_n */
    double weight[BLOCK][PARTS];
} block;

typedef struct bench { /* of one thread */
    nh_velocity_work *work;
    double complex *p;
    block *block;
    double *kernel; /* [4][n_energy][BLOCK]: re, im of 1/(z - E) + 1/(z + E), the same of the difference */
    double lowest;
} bench;

typedef struct optics {
    const nh_optics_task *task;
    size_t sample; /* of so many k-points one says how far transitions move */
    bench *bench;
} optics;

size_t nh_optics_rows(const nh_bands *b, const nh_filling *f)
{
    size_t rows = 0;
    for (size_t k = 0; k < b->k.count; k++)
        for (size_t i = rows; i < b->n_band; i++)
            if (nh_filling_at(f, b->energy[k * b->n_band + i]) > NO_ELECTRON) rows = i + 1;
    return rows;
}

/* Dawson's function exp(-x^2) int_0^x exp(t^2) dt by G. B. Rybicki's sum (Comput. Phys. 3, 85 (1989)), to
 * 2e-7 and better. */
static double dawson(double x)
{
    const double step = 0.4, a = fabs(x);
    if (a < 0.2) {
        const double y = x * x;
        return x * (1 - 2. / 3 * y * (1 - 0.4 * y * (1 - 2. / 7 * y)));
    }
    const double even = 2 * floor(0.5 * a / step + 0.5), rest = a - even * step;
    double up = exp(2 * rest * step), factor = up * up, above = even + 1, below = even - 1, sum = 0;
    for (int i = 0; i < 8; i++) {
        const double odd = (2 * i + 1) * step;
        sum += exp(-odd * odd) * (up / above + 1 / (below * up));
        above += 2;
        below -= 2;
        up *= factor;
    }
    return copysign(exp(-rest * rest) / sqrt(M_PI) * sum, x);
}

/* 1/(x + i eta), or what stands for it. */
static double complex resolvent(nh_broadening kind, double x, double eta)
{
    if (kind == NH_LORENTZIAN) return CMPLX(x, -eta) / (x * x + eta * eta);
    const double y = x / eta;
    return CMPLX(2 * dawson(y), -sqrt(M_PI) * exp(-y * y)) / eta;
}

static void make_kernel(const nh_optics_task *t, const block *b, double *kernel)
{
    const size_t size = t->n_energy * BLOCK;
    for (size_t e = 0; e < t->n_energy; e++)
        for (size_t i = 0; i < b->n; i++) {
            const double complex up = resolvent(t->broadening, t->energy[e] - b->from[i], b->eta[i]),
                                 down = resolvent(t->broadening, t->energy[e] + b->from[i], b->eta[i]);
            double *to = kernel + e * BLOCK + i;
            to[0] = creal(up + down);
            to[size] = cimag(up + down);
            to[2 * size] = creal(up - down);
            to[3 * size] = cimag(up - down);
        }
}

/* sum[n_energy][SUMS]: re, im of the symmetric parts, re, im of the antisymmetric ones. */
static void flush(const nh_optics_task *t, bench *w, double *sum)
{
    block *b = w->block;
    const size_t size = t->n_energy * BLOCK, anti = PARTS - SYMMETRIC;
    const size_t at[4] = {0, SYMMETRIC, 2 * SYMMETRIC, 2 * SYMMETRIC + anti};
    if (b->n == 0) return;
    make_kernel(t, b, w->kernel);
    for (size_t x = 0; x < 4; x++)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)t->n_energy,
                    x < 2 ? SYMMETRIC : (int)anti, (int)b->n, 1, w->kernel + x * size, BLOCK,
                    b->weight[0] + (x < 2 ? 0 : SYMMETRIC), PARTS, 1, sum + at[x], SUMS);
    b->n = 0;
}

/* Of a pair n < m with `filled` = (f_n - f_m) w. */
static void add_transition(const nh_optics_task *t, bench *w, double from, double filled,
                           const double complex p[3], double eta, double *sum, double *total)
{
    block *b = w->block;
    double *weight = b->weight[b->n];
    for (size_t x = 0; x < SYMMETRIC; x++)
        weight[x] = filled / from * creal(p[ROW[x]] * conj(p[COLUMN[x]]));
    for (size_t x = SYMMETRIC; x < PARTS; x++)
        weight[x] = filled / from * cimag(p[ROW[x - 3]] * conj(p[COLUMN[x - 3]]));
    for (size_t x = 0; x < 3; x++)
        total[9 + x] += 2 * weight[x];
    b->from[b->n] = from;
    b->eta[b->n] = eta;
    if (++b->n == BLOCK) flush(t, w, sum);
}

static void add_drude(double slope, const double complex p[3], double *total)
{
    for (size_t a = 0; a < 3; a++)
        for (size_t b = 0; b < 3; b++)
            total[3 * a + b] += slope * creal(p[a] * conj(p[b]));
}

/* How far the energy of a transition moves from a k-point to the next; p[3][basis][basis]. */
static double moves(const nh_optics_task *t, const double complex *p, size_t basis, size_t n, size_t m)
{
    double square = 0;
    for (size_t x = 0; x < 3; x++) {
        const double complex *q = p + x * basis * basis;
        const double d = creal(q[m * basis + m] - q[n * basis + n]);
        square += d * d;
    }
    return sqrt(square) * t->spacing;
}

static double squared(const double complex p[3])
{
    return creal(p[0] * conj(p[0]) + p[1] * conj(p[1]) + p[2] * conj(p[2]));
}

static int take(void *context, size_t index, int thread, const double *energy, const double *vector,
                double *sum, nh_error *err)
{
    const optics *o = context;
    const nh_optics_task *t = o->task;
    bench *w = &o->bench[thread];
    const bool all = t->adaptive > 0 || index % o->sample == 0; /* the velocities of empty bands, too */
    const size_t basis = nh_fourier_basis(t->fourier), rows = all ? basis : t->rows;
    const double weight = t->k->weight[index], last = t->energy[t->n_energy - 1];
    double *total = sum + t->n_energy * SUMS;
    if (nh_velocity_at(t->velocity, w->work, t->k->k + 3 * index, 0, rows, energy, vector, (double *)w->p,
                       err) != 0)
        return -1;
    for (size_t n = 0; n < t->rows; n++) {
        const double filled = nh_filling_at(&t->filling, energy[n]);
        for (size_t m = n; m < basis; m++) {
            const double from = energy[m] - energy[n];
            double complex p[3];
            for (size_t x = 0; x < 3; x++)
                p[x] = w->p[(x * rows + n) * basis + m];
            if (m == n || from <= t->degenerate) {
                const double slope = nh_filling_slope(&t->filling, 0.5 * (energy[n] + energy[m]));
                add_drude((m == n ? 1 : 2) * weight * slope, p, total);
                continue;
            }
            const double moved = weight * (filled - nh_filling_at(&t->filling, energy[m]));
            if (!(moved > NO_ELECTRON * weight)) continue;
            const double far = all ? moves(t, w->p, basis, n, m) : 0;
            if (all && from <= last) {
                total[SPREAD] += moved / from * squared(p) * far;
                total[SPREAD + 1] += moved / from * squared(p);
            }
            if (moved > SOME_ELECTRON * weight) w->lowest = fmin(w->lowest, from);
            add_transition(t, w, from, moved, p, fmax(t->eta, t->adaptive * far), sum, total);
        }
    }
    flush(t, w, sum);
    return 0;
}

static void bench_free(bench *w)
{
    nh_velocity_work_free(w->work);
    free(w->p);
    free(w->block);
    free(w->kernel);
}

static int bench_new(const nh_optics_task *t, bench *w, nh_error *err)
{
    const size_t basis = nh_fourier_basis(t->fourier);
    size_t room;
    *w = (bench){.lowest = INFINITY};
    w->p = nh_calloc_aligned(3 * basis, basis * sizeof *w->p);
    w->block = NH_ARRAY(block, 1);
    w->kernel = nh_size_mul(4 * (size_t)BLOCK, t->n_energy, &room) ? NH_ARRAY(double, room) : NULL;
    if (w->p == NULL || w->block == NULL || w->kernel == NULL) return nh_fail_memory(err, "the conductivity");
    return nh_velocity_work_new(t->velocity, basis, &w->work, err);
}

/* The tensor i (e^2/hbar V) [symmetric part + i antisymmetric part] of the sums of one photon energy. */
static void make_tensor(const double *sum, double factor, double *sigma)
{
    const size_t anti = PARTS - SYMMETRIC;
    double complex tensor[9] = {0};
    for (size_t x = 0; x < SYMMETRIC; x++) {
        const double complex s = I * CMPLX(sum[x], sum[SYMMETRIC + x]);
        tensor[3 * ROW[x] + COLUMN[x]] += s;
        if (ROW[x] != COLUMN[x]) tensor[3 * COLUMN[x] + ROW[x]] += s;
    }
    for (size_t x = 0; x < anti; x++) {
        const size_t a = (size_t)ROW[x + 3], b = (size_t)COLUMN[x + 3];
        const double complex s = -CMPLX(sum[2 * SYMMETRIC + x], sum[2 * SYMMETRIC + anti + x]);
        tensor[3 * a + b] += s;
        tensor[3 * b + a] -= s;
    }
    for (size_t x = 0; x < 9; x++) {
        sigma[2 * x] = factor * creal(tensor[x]);
        sigma[2 * x + 1] = factor * cimag(tensor[x]);
    }
}

/* The lowest of all threads of all ranks. */
static int find_lowest(const nh_optics_task *t, const optics *o, int n_thread, double *lowest, nh_error *err)
{
    const nh_ranks alone = {0, 1, 0}, *r = t->ranks != NULL ? t->ranks : &alone;
    double *each = NH_ARRAY(double, (size_t)r->count), own = INFINITY;
    if (each == NULL) return nh_fail_memory(err, "the conductivity");
    for (int i = 0; i < n_thread; i++)
        own = fmin(own, o->bench[i].lowest);
    each[r->rank] = own;
    nh_ranks_sum(r, (size_t)r->count, each);
    *lowest = INFINITY;
    for (int i = 0; i < r->count; i++)
        *lowest = fmin(*lowest, each[i]);
    free(each);
    return 0;
}

static void finish(const nh_optics_task *t, const double *sum, nh_optics *out)
{
    const double spin = t->electrons_per_band, *total = sum + t->n_energy * SUMS;
    /* e^2/hbar times Å^2/Å^3, in S/m */
    for (size_t e = 0; e < t->n_energy; e++)
        make_tensor(sum + e * SUMS, 1e10 * spin * NH_E2_OVER_HBAR / t->volume, out->sigma + 18 * e);
    for (size_t x = 0; x < 9; x++)
        out->drude[x] = spin * NH_E2_OVER_EPS0 / t->volume * total[x];
    for (size_t x = 0; x < 3; x++) {
        out->effective[x] = spin * total[9 + x] / NH_HBAR2_OVER_M;
        out->drude_electrons[x] = spin * total[4 * x] / NH_HBAR2_OVER_M;
    }
    out->spread = total[SPREAD + 1] > 0 ? total[SPREAD] / total[SPREAD + 1] : NAN;
}

static int check_task(const nh_optics_task *t, nh_error *err)
{
    if (t->n_energy == 0) return nh_fail(err, "no photon energies");
    if (!(t->eta > 0)) return nh_fail(err, "a broadening above zero expected, found %g eV", t->eta);
    if (!(t->degenerate > 0))
        return nh_fail(err, "a limit of degeneracy above zero expected, found %g eV", t->degenerate);
    if (!(t->volume > 0)) return nh_fail(err, "a cell of %g cubic Angstrom", t->volume);
    return 0;
}

int nh_optics_new(const nh_optics_task *task, nh_optics *out, nh_error *err)
{
    optics o = {.task = task, .sample = task->k->count / 8 > 0 ? task->k->count / 8 : 1};
    nh_sweep sweep = {.name = task->name,
                      .fourier = task->fourier,
                      .n_k = task->k->count,
                      .k = task->k->k,
                      .take = take,
                      .context = &o,
                      .threads = task->threads,
                      .ranks = task->ranks,
                      .progress = task->progress};
    double *sum = NULL;
    size_t room;
    *out = (nh_optics){.n_energy = task->n_energy};
    if (check_task(task, err) != 0) return -1;
    const int n_thread = nh_sweep_threads(&sweep);
    int status = 0;
    o.bench = NH_ARRAY(bench, (size_t)n_thread);
    if (nh_size_mul(task->n_energy, SUMS, &room) && nh_size_add(room, TOTALS, &sweep.n_sum))
        sum = NH_ARRAY(double, sweep.n_sum);
    out->sigma = NH_ARRAY(double, 18 * task->n_energy);
    if (o.bench == NULL || sum == NULL || out->sigma == NULL)
        status = nh_fail_memory(err, "the conductivity");
    for (int i = 0; i < n_thread && status == 0; i++)
        status = bench_new(task, &o.bench[i], err);
    if (status == 0) status = nh_sweep_run(&sweep, sum, err);
    if (status == 0) status = find_lowest(task, &o, n_thread, &out->lowest, err);
    if (status == 0) finish(task, sum, out);
    for (int i = 0; i < n_thread && o.bench != NULL; i++)
        bench_free(&o.bench[i]);
    free(o.bench);
    free(sum);
    if (status != 0) nh_optics_free(out);
    return status;
}

void nh_optics_free(nh_optics *o)
{
    free(o->sigma);
    *o = (nh_optics){0};
}

void nh_optics_add_drude(nh_optics *o, const double *energy, double eta)
{
    for (size_t e = 0; e < o->n_energy; e++)
        for (size_t x = 0; x < 9; x++) {
            const double complex s = I * NH_EPS0_OVER_HBAR * o->drude[x] / CMPLX(energy[e], eta);
            o->sigma[18 * e + 2 * x] += creal(s);
            o->sigma[18 * e + 2 * x + 1] += cimag(s);
        }
}

nh_light nh_light_of(const double sigma[2], double energy, double eta, bool diagonal)
{
    const double complex z = CMPLX(energy, eta),
                         epsilon =
                             (diagonal ? 1 : 0) + I * CMPLX(sigma[0], sigma[1]) / (NH_EPS0_OVER_HBAR * z);
    if (cabs(z) == 0) return (nh_light){{NAN, NAN}, NAN, NAN, NAN, NAN};
    const double complex n = csqrt(epsilon), r = (n - 1) / (n + 1);
    return (nh_light){.epsilon = {creal(epsilon), cimag(epsilon)},
                      .n = creal(n),
                      .kappa = cimag(n),
                      .absorption = 2 * energy * cimag(n) / NH_HBAR_C_CM,
                      .reflectivity = creal(r * conj(r))};
}
