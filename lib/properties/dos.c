#include "properties/dos.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNKS = 16 };                 /* parts of the k-points, however many threads there are */
static const double REACH = 7;        /* widths from which on a Gaussian is wholly on one side, to 1e-12 */
static const double ELECTRONS = 1e-7; /* slack: numbers of electrons come from files */

int nh_dos_bands(const nh_bands *b, size_t *n_band, size_t *dropped, nh_error *err)
{
    *n_band = b->n_band;
    *dropped = 0;
    if (b->k.mode == NH_K_PATH)
        return nh_fail(err, "k-points along a path do not sample the zone: a mesh is needed");
    for (size_t k = 0; k < b->k.count; k++) {
        if (b->first[k] != b->first[0])
            return nh_fail(
                err,
                "k-point %zu has other bands than the first one (bands chosen by energy): all bands, "
                "or a range of numbers, are needed",
                k + 1);
        size_t n = 0;
        while (n < *n_band && !isnan(b->energy[k * b->n_band + n]))
            n++;
        *n_band = n;
    }
    *dropped = b->n_band - *n_band;
    return *n_band > 0 ? 0 : nh_fail(err, "k-points without bands");
}

/* One call of nh_dos_count. */
typedef struct counter {
    const nh_dos_task *t;
    double lo, step;
    size_t n, n_chunk;
    double *lowest, *highest; /* [n_band] energies of each band */
    double *sum;              /* [chunk][n][1 + n_column]: N less what `jump` adds */
    double *jump;             /* [chunk][n+1][1 + n_column]: states that are full from an index on */
} counter;

/* First index of the grid at or above an energy, at most n. */
static size_t index_above(const counter *c, double energy)
{
    if (energy <= c->lo) return 0;
    const double at = c->step > 0 ? ceil((energy - c->lo) / c->step) : INFINITY;
    return at < (double)c->n ? (size_t)at : c->n;
}

static void range_of_cells(const counter *c, size_t chunk, size_t *begin, size_t *end)
{
    const size_t n_k = c->t->bands->k.count;
    *begin = n_k * chunk / c->n_chunk;
    *end = n_k * (chunk + 1) / c->n_chunk;
}

static void count_tetrahedron(const counter *c, size_t band, const size_t corner[4], double *sum,
                              double *jump)
{
    const nh_dos_task *t = c->t;
    const size_t columns = t->n_column, row = 1 + columns, stride = t->bands->n_band;
    size_t at[4];
    double v[4], w[4];
    for (size_t i = 0; i < 4; i++) { /* sorted by energy */
        const double e = t->bands->energy[corner[i] * stride + band];
        size_t j = i;
        for (; j > 0 && v[j - 1] > e; j--) {
            v[j] = v[j - 1];
            at[j] = at[j - 1];
        }
        v[j] = e;
        at[j] = (corner[i] * stride + band) * columns;
    }
    const size_t begin = index_above(c, v[0]), end = index_above(c, v[3]);
    jump[end * row] += 1;
    if (columns == 0) {
        for (size_t i = begin; i < end; i++)
            sum[i] += nh_tetrahedron_states(v, c->lo + (double)i * c->step);
        return;
    }
    for (size_t i = begin; i < end; i++) {
        nh_tetrahedron_weights(v, c->lo + (double)i * c->step, t->corrected, w);
        double *s = sum + i * row;
        s[0] += w[0] + w[1] + w[2] + w[3];
        for (size_t m = 0; m < 4; m++)
            for (size_t q = 0; q < columns; q++)
                s[1 + q] += w[m] * t->weight[at[m] + q];
    }
    for (size_t m = 0; m < 4; m++)
        for (size_t q = 0; q < columns; q++)
            jump[end * row + 1 + q] += 0.25 * t->weight[at[m] + q];
}

static void count_gaussian(const counter *c, size_t k, size_t band, double *sum, double *jump)
{
    const nh_dos_task *t = c->t;
    const size_t columns = t->n_column, row = 1 + columns, state = k * t->bands->n_band + band;
    const double e = t->bands->energy[state], weight = t->bands->k.weight[k];
    const double *a = columns > 0 ? t->weight + state * columns : NULL;
    const size_t begin = index_above(c, e - REACH * t->width), end = index_above(c, e + REACH * t->width);
    for (size_t i = begin; i < end; i++) {
        const double x = (e - c->lo - (double)i * c->step) / (M_SQRT2 * t->width),
                     filled = 0.5 * weight * erfc(x);
        double *s = sum + i * row;
        s[0] += filled;
        for (size_t q = 0; q < columns; q++)
            s[1 + q] += filled * a[q];
    }
    jump[end * row] += weight;
    for (size_t q = 0; q < columns; q++)
        jump[end * row + 1 + q] += weight * a[q];
}

static void count_chunk(void *context, size_t chunk, int thread)
{
    (void)thread;
    const counter *c = context;
    const nh_dos_task *t = c->t;
    const size_t row = 1 + t->n_column;
    const double reach = t->tetrahedra != NULL ? 0 : REACH * t->width,
                 hi = c->lo + (double)(c->n - 1) * c->step;
    double *sum = c->sum + chunk * c->n * row, *jump = c->jump + chunk * (c->n + 1) * row;
    size_t begin, end;
    range_of_cells(c, chunk, &begin, &end);
    for (size_t band = 0; band < t->n_band; band++) {
        if (c->lowest[band] - reach > hi) continue; /* empty */
        const bool full = c->highest[band] + reach <= c->lo && t->n_column == 0;
        for (size_t k = begin; k < end; k++) {
            if (full) {
                jump[0] += t->tetrahedra != NULL ? NH_TETRAHEDRA : t->bands->k.weight[k];
            } else if (t->tetrahedra != NULL) {
                for (int m = 0; m < NH_TETRAHEDRA; m++) {
                    size_t corner[4];
                    nh_tetrahedron_corners(t->tetrahedra, k, m, corner);
                    count_tetrahedron(c, band, corner, sum, jump);
                }
            } else {
                count_gaussian(c, k, band, sum, jump);
            }
        }
    }
}

static int find_edges(const nh_dos_task *t, double *lowest, double *highest, nh_error *err)
{
    const nh_bands *b = t->bands;
    if (t->n_band == 0 || b->k.count == 0) return nh_fail(err, "no bands");
    for (size_t i = 0; i < t->n_band; i++) {
        lowest[i] = INFINITY;
        highest[i] = -INFINITY;
        for (size_t k = 0; k < b->k.count; k++) {
            lowest[i] = fmin(lowest[i], b->energy[k * b->n_band + i]);
            highest[i] = fmax(highest[i], b->energy[k * b->n_band + i]);
        }
    }
    return 0;
}

/* Electrons of a state with weight 1 in the sums. */
static double unit(const nh_dos_task *t)
{
    return t->bands->electrons_per_band /
           (t->tetrahedra != NULL ? (double)NH_TETRAHEDRA * (double)t->bands->k.count : 1);
}

static void add_up(const counter *c, double *total, double *column)
{
    const size_t row = 1 + c->t->n_column;
    const double per_state = unit(c->t),
                 below = (double)c->t->bands->first[0] * c->t->bands->electrons_per_band;
    double *running = c->jump; /* of the first chunk: sums over the chunks and over the energies below */
    for (size_t chunk = 1; chunk < c->n_chunk; chunk++) {
        for (size_t i = 0; i < c->n * row; i++)
            c->sum[i] += c->sum[chunk * c->n * row + i];
        for (size_t i = 0; i < (c->n + 1) * row; i++)
            c->jump[i] += c->jump[chunk * (c->n + 1) * row + i];
    }
    for (size_t i = 0; i < c->n; i++) {
        for (size_t q = 0; i > 0 && q < row; q++)
            running[i * row + q] += running[(i - 1) * row + q];
        total[i] = below + per_state * (c->sum[i * row] + running[i * row]);
        for (size_t q = 1; q < row; q++)
            column[i * (row - 1) + q - 1] = per_state * (c->sum[i * row + q] + running[i * row + q]);
    }
}

int nh_dos_count(const nh_dos_task *t, double lo, double step, size_t n, double *total, double *column,
                 nh_error *err)
{
    const size_t n_k = t->bands->k.count;
    counter c = {.t = t, .lo = lo, .step = step, .n = n, .n_chunk = n_k < CHUNKS ? n_k : CHUNKS};
    size_t size, jumps;
    int status = -1;
    if (n == 0) return 0;
    c.lowest = NH_ARRAY(double, t->n_band);
    c.highest = NH_ARRAY(double, t->n_band);
    if (nh_size_mul(n, 1 + t->n_column, &size) && nh_size_mul(n + 1, 1 + t->n_column, &jumps) &&
        nh_size_mul(size, c.n_chunk, &size) && nh_size_mul(jumps, c.n_chunk, &jumps)) {
        c.sum = NH_ARRAY(double, size);
        c.jump = NH_ARRAY(double, jumps);
    }
    if (c.lowest == NULL || c.highest == NULL || c.sum == NULL || c.jump == NULL)
        nh_fail_memory(err, "the density of states");
    else
        status = find_edges(t, c.lowest, c.highest, err);
    if (status == 0) {
        nh_parallel_for(t->threads, c.n_chunk, count_chunk, &c);
        add_up(&c, total, column);
    }
    free(c.lowest);
    free(c.highest);
    free(c.sum);
    free(c.jump);
    return status;
}

/* D(E) itself. */
static double density_at(const nh_dos_task *t, double e)
{
    const nh_bands *b = t->bands;
    double sum = 0;
    for (size_t k = 0; k < b->k.count; k++)
        for (size_t band = 0; band < t->n_band; band++) {
            if (t->tetrahedra == NULL) {
                const double x = (b->energy[k * b->n_band + band] - e) / t->width;
                if (fabs(x) < 2 * REACH)
                    sum += b->k.weight[k] * exp(-0.5 * x * x) / (sqrt(2 * M_PI) * t->width);
                continue;
            }
            for (int m = 0; m < NH_TETRAHEDRA; m++) {
                size_t corner[4];
                double v[4];
                nh_tetrahedron_corners(t->tetrahedra, k, m, corner);
                for (size_t i = 0; i < 4; i++) {
                    const double x = b->energy[corner[i] * b->n_band + band];
                    size_t j = i;
                    for (; j > 0 && v[j - 1] > x; j--)
                        v[j] = v[j - 1];
                    v[j] = x;
                }
                sum += nh_tetrahedron_density(v, e);
            }
        }
    return unit(t) * sum;
}

/* The energy where N reaches nelec, between lo (below) and hi (not below). */
static int bisect(const nh_dos_task *t, double nelec, double lo, double hi, double *level, nh_error *err)
{
    nh_dos_task plain = *t;
    plain.n_column = 0;
    plain.weight = NULL;
    for (int i = 0; i < 100 && hi - lo > 1e-11 * fmax(1, fabs(hi)); i++) {
        const double middle = 0.5 * (lo + hi);
        double electrons;
        if (nh_dos_count(&plain, middle, 0, 1, &electrons, NULL, err) != 0) return -1;
        if (electrons < nelec)
            lo = middle;
        else
            hi = middle;
    }
    *level = 0.5 * (lo + hi);
    return 0;
}

static int occupied_energy(const nh_dos_task *t, double efermi, double *energy, nh_error *err)
{
    nh_dos_task weighted = *t;
    double electrons;
    weighted.n_column = 1;
    weighted.weight = t->bands->energy; /* NaN in columns from n_band on, which are not looked at */
    weighted.corrected = true;
    return nh_dos_count(&weighted, efermi, 0, 1, &electrons, energy, err);
}

int nh_dos_fermi(const nh_dos_task *t, double nelec, nh_dos_level *out, nh_error *err)
{
    const nh_bands *b = t->bands;
    *out = (nh_dos_level){.efermi = NAN};
    if (!(nelec > 0)) return nh_fail(err, "%g electrons", nelec);
    const double below = (double)b->first[0] * b->electrons_per_band,
                 most = below + (double)t->n_band * b->electrons_per_band;
    if (nelec <= below + ELECTRONS)
        return nh_fail(err, "%g electrons do not reach the first band of the file", nelec);
    if (nelec > most + ELECTRONS)
        return nh_fail(err, "the bands hold %.10g electrons, %.10g are there", most, nelec);
    if (!nh_band_gap(b, nelec, &out->gap)) out->gap = (nh_gap){0};
    out->insulator = out->gap.occupied > 0 && out->gap.cbm > out->gap.vbm;
    if (out->insulator) {
        out->efermi = 0.5 * (out->gap.vbm + out->gap.cbm);
    } else {
        double *edge = NH_ARRAY(double, 2 * t->n_band), lo = INFINITY, hi = -INFINITY;
        if (edge == NULL) return nh_fail_memory(err, "the density of states");
        int status = find_edges(t, edge, edge + t->n_band, err);
        for (size_t i = 0; i < t->n_band; i++) {
            lo = fmin(lo, edge[i]);
            hi = fmax(hi, edge[t->n_band + i]);
        }
        free(edge);
        const double reach = t->tetrahedra != NULL ? 0 : REACH * t->width;
        /* of full Gaussians the last electrons would ask for an energy that is infinitely high */
        const double reached = fmin(nelec, most - ELECTRONS);
        if (status == 0) status = bisect(t, reached, lo - reach, hi + reach, &out->efermi, err);
        if (status != 0) return -1;
        out->density = density_at(t, out->efermi);
    }
    return occupied_energy(t, out->efermi, &out->energy, err);
}

int nh_dos_density(const nh_dos_task *t, double lo, double step, size_t n, double *dos, double *below,
                   double *column, double *column_below, nh_error *err)
{
    /* N at the borders of the steps and in their middles, one after another. */
    const size_t fine = 2 * n + 1, columns = t->n_column;
    size_t size;
    nh_dos_task linear = *t;
    linear.corrected =
        false; /* the correction is a number of electrons at one Fermi level: its derivative may be infinite */
    double *total = NH_ARRAY(double, fine),
           *part = nh_size_mul(fine, columns, &size) ? NH_ARRAY(double, size) : NULL;
    int status = total == NULL || part == NULL ? nh_fail_memory(err, "the density of states") : 0;
    if (status == 0) status = nh_dos_count(&linear, lo - 0.5 * step, 0.5 * step, fine, total, part, err);
    for (size_t i = 0; i < n && status == 0; i++) {
        dos[i] = (total[2 * i + 2] - total[2 * i]) / step;
        below[i] = total[2 * i + 1];
        for (size_t q = 0; q < columns; q++)
            column[i * columns + q] = (part[(2 * i + 2) * columns + q] - part[2 * i * columns + q]) / step;
    }
    free(total);
    free(part);
    if (status == 0 && column_below != NULL && columns > 0) {
        double *ignored = NH_ARRAY(double, n);
        status = ignored == NULL ? nh_fail_memory(err, "the density of states")
                                 : nh_dos_count(t, lo, step, n, ignored, column_below, err);
        free(ignored);
    }
    return status;
}
