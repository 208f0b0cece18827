/* The neighbour search: a cell list on the reduced lattice, so that flat and very skew cells cost no more
 * than others. */
#include "crystal/neighbours.h"

#include "base/memory.h"
#include "crystal/lattice.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double same_spot = 1e-3; /* Å */

typedef struct cell_list {
    double lattice[9];   /* reduced lattice, rows */
    double inverse[9];   /* x.inverse: fractional coordinates on the reduced lattice */
    long long change[9]; /* reduced = change . given, integers */
    double height[3];    /* distance of the planes of each direction, Å */
    size_t bins[3];
    long reach[3];    /* how many bins further a neighbour may be */
    double *wrapped;  /* [n_atom][3] positions moved into the reduced cell, Å */
    long long *shift; /* [n_atom][3] given = wrapped + shift.lattice */
    size_t *bin;      /* [n_atom] */
    size_t *first;    /* [n_bin+1] into `atom` */
    int *atom;        /* [n_atom] bin after bin */
} cell_list;

typedef struct pair_list {
    size_t count, capacity;
    nh_pair *pair;
} pair_list;

static double dot(const double *a, const double *b)
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

static int fail_skew(nh_error *err)
{
    return nh_fail(err, "the cell is too skew for a neighbour search");
}

/* row i of lattice and change -= n * row j; |n| <= 1e9 */
static int subtract_row(cell_list *c, int i, int j, double n, nh_error *err)
{
    for (int k = 0; k < 3; k++) {
        c->lattice[3 * i + k] -= n * c->lattice[3 * j + k];
        c->change[3 * i + k] -= (long long)n * c->change[3 * j + k];
        if (llabs(c->change[3 * i + k]) > INT_MAX) return fail_skew(err);
    }
    return 0;
}

/* Shortens the vectors by each other until nothing shortens any more: pairs first, then the third one by the
 * four combinations of the other two (Semaev 2001: enough in three dimensions). */
static int reduce_lattice(const nh_structure *s, cell_list *c, nh_error *err)
{
    memcpy(c->lattice, s->lattice, sizeof c->lattice);
    memset(c->change, 0, sizeof c->change);
    c->change[0] = c->change[4] = c->change[8] = 1;
    const double gain = 1 - 1e-9; /* a real step, not rounding */
    const int most_steps = 10000;
    for (int step = 0; step < most_steps; step++) {
        bool shorter = false;
        for (int i = 0; i < 3; i++) {
            for (int j = 0; j < 3; j++) {
                if (i == j) continue;
                const double *a = c->lattice + 3 * i, *b = c->lattice + 3 * j;
                const double n = nearbyint(dot(a, b) / dot(b, b));
                if (n == 0) continue;
                if (!(fabs(n) <= 1e9)) return nh_fail(err, "the lattice vectors span no volume");
                double t[3];
                for (int k = 0; k < 3; k++)
                    t[k] = a[k] - n * b[k];
                if (dot(t, t) >= gain * dot(a, a)) continue;
                if (subtract_row(c, i, j, n, err)) return -1;
                shorter = true;
            }
            const int j = (i + 1) % 3, l = (i + 2) % 3;
            for (int sign = 0; sign < 4; sign++) {
                const double m = sign & 1 ? 1 : -1, n = sign & 2 ? 1 : -1;
                double t[3];
                for (int k = 0; k < 3; k++)
                    t[k] = c->lattice[3 * i + k] - m * c->lattice[3 * j + k] - n * c->lattice[3 * l + k];
                if (dot(t, t) >= gain * dot(c->lattice + 3 * i, c->lattice + 3 * i)) continue;
                if (subtract_row(c, i, j, m, err) || subtract_row(c, i, l, n, err)) return -1;
                shorter = true;
            }
        }
        if (!shorter) break;
    }
    /* From the integers, so that no rounding of the steps is left. */
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++) {
            double x = 0;
            for (int j = 0; j < 3; j++) {
                x += (double)c->change[3 * i + j] * s->lattice[3 * j + k];
            }
            c->lattice[3 * i + k] = x;
        }
    return 0;
}

static const double most_bins = 1e7;

static int choose_bins(cell_list *c, size_t n_atom, double cutoff, nh_error *err)
{
    const double volume = nh_lattice_volume(c->lattice);
    if (!(fabs(volume) > 0) || !isfinite(volume)) return nh_fail(err, "the lattice vectors span no volume");
    nh_lattice_inverse(c->lattice, c->inverse);
    size_t total = 1;
    double looked_at = 1; /* bins around an atom */
    for (int d = 0; d < 3; d++) {
        const double slope[3] = {c->inverse[d], c->inverse[3 + d], c->inverse[6 + d]};
        c->height[d] = 1 / sqrt(dot(slope, slope));
        /* Bins of half the cutoff; never many more bins than atoms, a vacuum has none. */
        const double wanted = floor(2 * c->height[d] / cutoff), most = ceil(2 * cbrt((double)n_atom));
        c->bins[d] = wanted < 1 ? 1 : (size_t)fmin(wanted, fmax(most, 1));
        const double reach = ceil(cutoff * (1 + 1e-9) / c->height[d] * (double)c->bins[d] + 1e-9);
        if (!(reach < 1e6)) return nh_fail(err, "cutoff %g Å is too large for a cell of this size", cutoff);
        c->reach[d] = (long)reach;
        looked_at *= 2 * reach + 1;
        total *= c->bins[d]; /* at most about 8 n_atom + 12 n_atom^(2/3) + ... */
    }
    /* Bins are looked through one by one and, in a crystal, hold atoms: more would be hours, or a lattice in the wrong unit. */
    if (looked_at > most_bins)
        return nh_fail(err,
                       "cutoff %g Å reaches through %.0f cells of %.3g Å^3: too large a cutoff, or a lattice "
                       "in another unit",
                       cutoff, looked_at, fabs(volume));
    c->first = NH_ARRAY(size_t, total + 1);
    c->atom = NH_ARRAY(int, n_atom);
    c->bin = NH_ARRAY(size_t, n_atom);
    c->wrapped = NH_ARRAY(double, 3 * n_atom);
    c->shift = NH_ARRAY(long long, 3 * n_atom);
    if (c->first == NULL || c->atom == NULL || c->bin == NULL || c->wrapped == NULL || c->shift == NULL)
        return nh_fail_memory(err, "the neighbour search");
    return 0;
}

static int fill_bins(const nh_structure *s, cell_list *c, nh_error *err)
{
    const size_t total = c->bins[0] * c->bins[1] * c->bins[2];
    for (size_t i = 0; i < s->n_atom; i++) {
        const double *r = s->position + 3 * i;
        size_t index[3];
        double inside[3], f[3];
        nh_lattice_apply(r, c->inverse, f);
        for (int d = 0; d < 3; d++) {
            if (!(fabs(f[d]) < 1e9)) return nh_fail(err, "atom %zu is too far from the cell", i + 1);
            inside[d] = f[d] - floor(f[d]);
            c->shift[3 * i + (size_t)d] = (long long)floor(f[d]);
            index[d] = (size_t)(inside[d] * (double)c->bins[d]);
            if (index[d] >= c->bins[d]) index[d] = c->bins[d] - 1;
        }
        for (int k = 0; k < 3; k++)
            c->wrapped[3 * i + (size_t)k] =
                inside[0] * c->lattice[k] + inside[1] * c->lattice[3 + k] + inside[2] * c->lattice[6 + k];
        c->bin[i] = (index[0] * c->bins[1] + index[1]) * c->bins[2] + index[2];
        c->first[c->bin[i] + 1]++;
    }
    for (size_t b = 0; b < total; b++)
        c->first[b + 1] += c->first[b];
    for (size_t i = s->n_atom; i-- > 0;) /* backwards: `first` ends up where each bin begins */
        c->atom[--c->first[c->bin[i] + 1]] = (int)i;
    for (size_t b = 0; b < total; b++)
        c->first[b] = c->first[b + 1];
    c->first[total] = s->n_atom;
    return 0;
}

static int append(pair_list *list, const nh_pair *pair, nh_error *err)
{
    if (!nh_grow(&list->pair, &list->capacity, list->count + 1, sizeof *list->pair))
        return nh_fail_memory(err, "atom pairs");
    list->pair[list->count++] = *pair;
    return 0;
}

/* Bin index `i` of the infinite lattice: the bin inside the cell, and the cell. */
static size_t fold(long i, size_t bins, long *cell)
{
    const long n = (long)bins;
    const long inside = (i % n + n) % n;
    *cell = (i - inside) / n;
    return (size_t)inside;
}

/* R of the pair as given from the cell difference of the wrapped atoms on the reduced lattice. */
static int given_cell(const cell_list *c, size_t i, size_t j, const long image[3], int cell[3], nh_error *err)
{
    long long reduced[3];
    for (size_t d = 0; d < 3; d++)
        reduced[d] = image[d] - c->shift[3 * j + d] + c->shift[3 * i + d];
    for (int k = 0; k < 3; k++) {
        long long n = 0;
        for (int d = 0; d < 3; d++) {
            long long product;
            if (__builtin_mul_overflow(reduced[d], c->change[3 * d + k], &product) ||
                __builtin_add_overflow(n, product, &n))
                return fail_skew(err);
        }
        if (n > INT_MAX || n < -INT_MAX) return fail_skew(err);
        cell[k] = (int)n;
    }
    return 0;
}

/* Pairs of atom i with the atoms of one bin in one periodic image. */
static int visit_bin(const nh_structure *s, const cell_list *c, double cutoff, size_t i, size_t bin,
                     const long image[3], pair_list *list, nh_error *err)
{
    const double loose = cutoff + 1e-3; /* the wrapped positions carry rounding of their own */
    double shift[3];
    for (int k = 0; k < 3; k++)
        shift[k] = (double)image[0] * c->lattice[k] + (double)image[1] * c->lattice[3 + k] +
                   (double)image[2] * c->lattice[6 + k] - c->wrapped[3 * i + (size_t)k];
    for (size_t n = c->first[bin]; n < c->first[bin + 1]; n++) {
        const size_t j = (size_t)c->atom[n];
        const double *w = c->wrapped + 3 * j;
        const double near[3] = {w[0] + shift[0], w[1] + shift[1], w[2] + shift[2]};
        if (dot(near, near) >= loose * loose) continue;
        nh_pair pair = {.src = (int)i, .dst = (int)j};
        if (given_cell(c, i, j, image, pair.cell, err)) return -1;
        double v[3];
        nh_pair_vector(s, &pair, v);
        if (nh_round_distance(sqrt(dot(v, v))) < cutoff && append(list, &pair, err)) return -1;
    }
    return 0;
}

static int visit_atom(const nh_structure *s, const cell_list *c, double cutoff, size_t i, pair_list *list,
                      nh_error *err)
{
    const long at[3] = {(long)(c->bin[i] / (c->bins[1] * c->bins[2])),
                        (long)(c->bin[i] / c->bins[2] % c->bins[1]), (long)(c->bin[i] % c->bins[2])};
    for (long x = at[0] - c->reach[0]; x <= at[0] + c->reach[0]; x++)
        for (long y = at[1] - c->reach[1]; y <= at[1] + c->reach[1]; y++)
            for (long z = at[2] - c->reach[2]; z <= at[2] + c->reach[2]; z++) {
                long image[3];
                size_t bin = fold(x, c->bins[0], &image[0]);
                bin = bin * c->bins[1] + fold(y, c->bins[1], &image[1]);
                bin = bin * c->bins[2] + fold(z, c->bins[2], &image[2]);
                if (visit_bin(s, c, cutoff, i, bin, image, list, err)) return -1;
            }
    return 0;
}

int nh_neighbours(const nh_structure *s, double cutoff, size_t *count, nh_pair **pair, nh_error *err)
{
    *count = 0;
    *pair = NULL;
    if (!(cutoff > 0) || !isfinite(cutoff))
        return nh_fail(err, "cutoff %g Å (a positive length expected)", cutoff);
    cell_list c = {.first = NULL};
    pair_list list = {.pair = NULL};
    int status = reduce_lattice(s, &c, err);
    if (status == 0) status = choose_bins(&c, s->n_atom, cutoff, err);
    if (status == 0) status = fill_bins(s, &c, err);
    for (size_t i = 0; i < s->n_atom && status == 0; i++)
        status = visit_atom(s, &c, cutoff, i, &list, err);
    free(c.first);
    free(c.atom);
    free(c.bin);
    free(c.wrapped);
    free(c.shift);
    if (status != 0) {
        free(list.pair);
        return -1;
    }
    *count = list.count;
    *pair = list.pair;
    return 0;
}

/* No two atoms are on one spot; linear in the number of atoms. */
static int check_spots(const nh_structure *s, nh_error *err)
{
    size_t count = 0;
    nh_pair *pair = NULL;
    if (nh_neighbours(s, same_spot, &count, &pair, err)) return -1;
    int status = 0;
    for (size_t p = 0; p < count && status == 0; p++) {
        const nh_pair *q = &pair[p];
        if (q->src == q->dst && q->cell[0] == 0 && q->cell[1] == 0 && q->cell[2] == 0) continue;
        double v[3];
        nh_pair_vector(s, q, v);
        status = nh_fail(err, "atoms %d and %d are on one spot (%.2g Å apart, cell %d %d %d)", q->src + 1,
                         q->dst + 1, sqrt(dot(v, v)), q->cell[0], q->cell[1], q->cell[2]);
    }
    free(pair);
    return status;
}

int nh_atoms_check(const nh_structure *s, nh_error *err)
{
    return nh_structure_check(s, err) ? -1 : check_spots(s, err);
}
