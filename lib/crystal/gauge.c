#include "crystal/gauge.h"

#include "base/memory.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const double L2_DENOMINATOR = 1e-6; /* docs/network.md 8: keeps mu finite for S = 0 ... */
static const double L2_COUNT = 1e-7;       /* ... and the mean finite for no elements */

/* Sums over some elements of one spin block at a given mu. */
typedef struct sums {
    double part[NH_GAUGE_N_PART]; /* |Re|, |Im|, modulus of d - mu*s */
    double slope;                 /* derivative of the sum of moduli by mu, kinks left out */
    double kink;                  /* ... which adds anything in [-kink, kink] at this mu */
    double weight;                /* sum of |s| */
    size_t count;
} sums;

static size_t pair_index(const nh_gauge *q, size_t k)
{
    return q->pair != NULL ? q->pair[k] : k;
}

static bool has_overlap(int block)
{
    return block == NH_GAUGE_UU || block == NH_GAUGE_DD;
}

/* Adds `from`, taken `times` times. */
static void add(sums *to, const sums *from, double times)
{
    for (int p = 0; p < NH_GAUGE_N_PART; p++)
        to->part[p] += times * from->part[p];
    to->slope += times * from->slope;
    to->kink += times * from->kink;
    to->weight += times * from->weight;
    to->count += (size_t)times * from->count;
}

static void add_element(sums *t, const double *a, const double *h, double s, double mu)
{
    const double re = (a != NULL ? a[0] : 0.0) - h[0];
    const double im = (a != NULL ? a[1] : 0.0) - h[1];
    const double r = re - mu * s;
    const double modulus = im == 0.0 ? fabs(r) : sqrt(r * r + im * im);
    t->part[NH_GAUGE_REAL] += fabs(r);
    t->part[NH_GAUGE_IMAGINARY] += fabs(im);
    t->part[NH_GAUGE_COMPLEX] += modulus;
    t->count += 1;
    t->weight += fabs(s);
    if (modulus <= 4e-16 * fabs(re)) /* mu = re/s to rounding */
        t->kink += fabs(s);
    else
        t->slope -= s * r / modulus;
}

/* Block `block` of the matrices; S counts only in uu and dd. */
static const double *block_of(const nh_gauge *q, const double *matrix, int block)
{
    return matrix != NULL ? matrix + 2 * q->graph->pairs.n_elem * (size_t)block : NULL;
}

/* Sums over all counted elements of one stored spin block. */
static sums measure(const nh_gauge *q, int block, double mu)
{
    const nh_pairs *pairs = &q->graph->pairs;
    const double *a = block_of(q, q->a, block), *h = block_of(q, q->reference, block);
    sums total = {0};
    for (size_t k = 0; k < q->n_pair; k++) {
        const size_t pair = pair_index(q, k);
        sums t = {0}; /* by pair first: smaller rounding errors */
        for (size_t e = pairs->start[pair]; e < pairs->start[pair + 1]; e++)
            add_element(&t, a != NULL ? a + 2 * e : NULL, h + 2 * e,
                        has_overlap(block) ? q->graph->overlap[e] : 0.0, mu);
        add(&total, &t, 1.0);
    }
    return total;
}

/* The same for a region: one spin block, or the whole matrix. */
static sums measure_region(const nh_gauge *q, int region, double mu)
{
    const bool scalar = q->graph->n_spin == 1;
    sums total = {0};
    if (region == NH_GAUGE_OVERALL) {
        if (scalar) {
            const sums uu = measure(q, NH_GAUGE_UU, mu);
            add(&total, &uu, 2.0);
            total.count = 4 * uu.count; /* ud and du: zeros */
        } else {
            for (int b = NH_GAUGE_UU; b <= NH_GAUGE_DD; b++) {
                const sums t = measure(q, b, mu);
                add(&total, &t, 1.0);
            }
        }
    } else if (scalar) {
        const sums uu = measure(q, NH_GAUGE_UU, mu);
        if (has_overlap(region))
            total = uu;
        else
            total.count = uu.count;
    } else {
        total = measure(q, region, mu);
    }
    return total;
}

/* mu = Re sum d conj(S) / (sum |S|^2 + 1e-6) over the four blocks (docs/network.md 8). */
static double least_squares_mu(const nh_gauge *q)
{
    const nh_pairs *pairs = &q->graph->pairs;
    const double *s = q->graph->overlap;
    double numerator = 0, denominator = 0;
    const int blocks[2] = {NH_GAUGE_UU, NH_GAUGE_DD};
    for (int b = 0; b < 2; b++) {
        const int block = q->graph->n_spin == 1 ? NH_GAUGE_UU : blocks[b];
        const double *a = block_of(q, q->a, block), *h = block_of(q, q->reference, block);
        for (size_t k = 0; k < q->n_pair; k++) {
            const size_t pair = pair_index(q, k);
            double num = 0, den = 0;
            for (size_t e = pairs->start[pair]; e < pairs->start[pair + 1]; e++) {
                num += ((a != NULL ? a[2 * e] : 0.0) - h[2 * e]) * s[e];
                den += s[e] * s[e];
            }
            numerator += num;
            denominator += den;
        }
    }
    return numerator / (denominator + L2_DENOMINATOR);
}

typedef struct weighted {
    double value, weight;
} weighted;

static double middle_of_three(double a, double b, double c)
{
    return fmax(fmin(a, b), fmin(fmax(a, b), c));
}

/* The smallest value at which the weights up to it reach half of their sum: a minimum of sum weight |value -
 * mu|. Quickselect, linear in n on average; reorders x. 0 for n = 0. */
static double weighted_median(weighted *x, size_t n)
{
    double total = 0, below = 0, pivot = 0;
    for (size_t i = 0; i < n; i++)
        total += x[i].weight;
    size_t lo = 0, hi = n;
    while (lo < hi) {
        pivot = middle_of_three(x[lo].value, x[lo + (hi - lo) / 2].value, x[hi - 1].value);
        size_t less = lo, i = lo,
               greater = hi; /* [lo,less) < pivot, [less,i) = pivot, [greater,hi) > pivot */
        double weight_less = 0, weight_equal = 0;
        while (i < greater) {
            const weighted t = x[i];
            if (t.value < pivot) {
                x[i++] = x[less];
                x[less++] = t;
                weight_less += t.weight;
            } else if (t.value > pivot) {
                x[i] = x[--greater];
                x[greater] = t;
            } else {
                weight_equal += t.weight;
                i++;
            }
        }
        if (less > lo && below + weight_less >= 0.5 * total) {
            hi = less;
        } else if (below + weight_less + weight_equal >= 0.5 * total) {
            break;
        } else {
            below += weight_less + weight_equal;
            lo = greater;
        }
    }
    return pivot;
}

/* mu that minimises the sum of |Re d - mu S| over a region. */
static int median_mu(const nh_gauge *q, int region, double *mu, nh_error *err)
{
    *mu = 0;
    const nh_pairs *pairs = &q->graph->pairs;
    const double *s = q->graph->overlap;
    size_t room = 0, n = 0;
    int blocks[2], n_block = 0;
    if (region == NH_GAUGE_OVERALL) {
        blocks[n_block++] = NH_GAUGE_UU;
        if (q->graph->n_spin != 1) blocks[n_block++] = NH_GAUGE_DD;
    } else if (has_overlap(region)) {
        blocks[n_block++] = q->graph->n_spin == 1 ? NH_GAUGE_UU : region;
    } else {
        return 0;
    }
    for (size_t k = 0; k < q->n_pair; k++) {
        const size_t pair = pair_index(q, k);
        room += pairs->start[pair + 1] - pairs->start[pair];
    }
    weighted *x = NULL;
    if (nh_size_mul(room, (size_t)n_block, &room)) x = NH_ARRAY(weighted, room);
    if (x == NULL) return nh_fail_memory(err, "ratios of the gauge shift");
    for (int b = 0; b < n_block; b++) {
        const double *a = block_of(q, q->a, blocks[b]), *h = block_of(q, q->reference, blocks[b]);
        for (size_t k = 0; k < q->n_pair; k++) {
            const size_t pair = pair_index(q, k);
            for (size_t e = pairs->start[pair]; e < pairs->start[pair + 1]; e++) {
                const double ratio = ((a != NULL ? a[2 * e] : 0.0) - h[2 * e]) / s[e];
                /* S = 0, or so small that the quotient is beyond all numbers: such an element cannot move the
                 * median */
                if (s[e] != 0.0 && isfinite(ratio)) x[n++] = (weighted){ratio, fabs(s[e])};
            }
        }
    }
    *mu = weighted_median(x, n);
    free(x);
    return 0;
}

/* mu that minimises the sum of moduli over a region, and the sums there. The sum f is convex; f(mu) >= W |mu
 * - m| - f(m) with W = sum |s| brackets its minimum around any m, here the median. The bracket shrinks by the
 * sign of the slope, secant and bisection in turn, until slope times width, a bound of what is still to gain,
 * is within rounding of f. */
static double convex_mu(const nh_gauge *q, int region, double start, sums *at)
{
    double mu = start;
    *at = measure_region(q, region, mu);
    if (!(at->weight > 0)) return mu;
    const double reach = 2 * at->part[NH_GAUGE_COMPLEX] / at->weight;
    double lo = mu - reach, hi = mu + reach, slope_lo = -at->weight, slope_hi = at->weight;
    for (int step = 0; step < 200; step++) {
        const double f = at->part[NH_GAUGE_COMPLEX];
        if (fabs(at->slope) <= at->kink || fabs(at->slope) * (hi - lo) <= 1e-15 * f) break;
        if (at->slope < 0) {
            lo = mu;
            slope_lo = at->slope;
        } else {
            hi = mu;
            slope_hi = at->slope;
        }
        double next = 0.5 * (lo + hi);
        if (step % 2 == 0) {
            const double secant = lo - slope_lo * (hi - lo) / (slope_hi - slope_lo);
            if (secant > lo && secant < hi) next = secant;
        }
        if (!(next > lo && next < hi)) break; /* neighbouring numbers */
        const sums there = measure_region(q, region, next);
        mu = next;
        *at = there;
    }
    return mu;
}

/* The mean that belongs to a sum; NaN for no elements. */
static double mean(const nh_gauge *q, double sum, size_t count)
{
    if (count == 0) return NAN;
    return sum / ((double)count + (q->rule == NH_GAUGE_L2 ? L2_COUNT : 0.0));
}

static int check(const nh_gauge *q, nh_error *err)
{
    if (q->graph->overlap == NULL)
        return nh_fail(err, "Gauge MAE: no overlap matrix: mu*S is not defined without it");
    if (q->graph->n_spin != 1 && q->graph->n_spin != 4)
        return nh_fail(err, "Gauge MAE: %d spin blocks, expected 1 or 4", q->graph->n_spin);
    for (size_t k = 0; k < q->n_pair; k++) {
        const size_t pair = pair_index(q, k);
        if (q->graph->pairs.start[pair + 1] > q->graph->pairs.start[pair]) return 0;
    }
    return nh_fail(err, "Gauge MAE: no matrix elements among the %zu pairs that count", q->n_pair);
}

int nh_gauge_by_spin(const nh_gauge *q, nh_gauge_row row[NH_GAUGE_N_REGION], nh_error *err)
{
    if (check(q, err)) return -1;
    const double common = q->rule == NH_GAUGE_L2 ? least_squares_mu(q) : 0.0;
    for (int r = 0; r < NH_GAUGE_N_REGION; r++) {
        double mu[NH_GAUGE_N_PART] = {common, common, common};
        sums real, modulus;
        if (q->rule == NH_GAUGE_L2) {
            real = modulus = measure_region(q, r, common);
        } else {
            if (median_mu(q, r, &mu[NH_GAUGE_REAL], err)) return -1;
            real = measure_region(q, r, mu[NH_GAUGE_REAL]);
            mu[NH_GAUGE_COMPLEX] = convex_mu(q, r, mu[NH_GAUGE_REAL], &modulus);
        }
        row[r] = (nh_gauge_row){.n_elem = real.count};
        for (int p = 0; p < NH_GAUGE_N_PART; p++) {
            const sums *t = p == NH_GAUGE_COMPLEX ? &modulus : &real;
            row[r].part[p] = (nh_gauge_number){mean(q, t->part[p], t->count), mu[p]};
        }
    }
    return 0;
}

/* The one mu of tables by distance, shell and pair. */
static int overall_mu(const nh_gauge *q, double *mu, nh_error *err)
{
    if (q->rule == NH_GAUGE_L2) {
        *mu = least_squares_mu(q);
        return 0;
    }
    sums at;
    if (median_mu(q, NH_GAUGE_OVERALL, mu, err)) return -1;
    *mu = convex_mu(q, NH_GAUGE_OVERALL, *mu, &at);
    return 0;
}

/* Group of an element: that of the whole pair, or by the degrees of its two orbitals; SIZE_MAX: none. */
typedef size_t group_of(const void *context, size_t pair, size_t row, size_t column);

static int by_group(const nh_gauge *q, size_t n_group, group_of *group, const void *context,
                    nh_gauge_row *row, nh_error *err)
{
    double mu;
    if (check(q, err) || overall_mu(q, &mu, err)) return -1;
    const nh_graph *g = q->graph;
    const bool scalar = g->n_spin == 1;
    sums *total = NH_ARRAY(sums, n_group);
    if (total == NULL) return nh_fail_memory(err, "groups of the gauge MAE");
    for (int b = 0; b < g->n_spin; b++) {
        const double *a = block_of(q, q->a, b), *h = block_of(q, q->reference, b);
        for (size_t k = 0; k < q->n_pair; k++) {
            const size_t pair = pair_index(q, k);
            const size_t columns = nh_atom_orbitals(&g->structure, (size_t)g->pairs.pair[pair].dst);
            const size_t first = g->pairs.start[pair], n = g->pairs.start[pair + 1] - first;
            for (size_t i = 0; i < n; i++) {
                const size_t e = first + i, t = group(context, pair, i / columns, i % columns);
                if (t < n_group)
                    add_element(&total[t], a != NULL ? a + 2 * e : NULL, h + 2 * e,
                                has_overlap(b) ? g->overlap[e] : 0.0, mu);
            }
        }
    }
    for (size_t t = 0; t < n_group; t++) {
        const size_t count = scalar ? 4 * total[t].count : total[t].count;
        row[t] = (nh_gauge_row){.n_elem = count};
        for (int p = 0; p < NH_GAUGE_N_PART; p++)
            row[t].part[p] = (nh_gauge_number){mean(q, (scalar ? 2.0 : 1.0) * total[t].part[p], count), mu};
    }
    free(total);
    return 0;
}

typedef struct distance_context {
    const nh_pairs *pairs;
    size_t n;
    const double *limit;
} distance_context;

static size_t distance_group(const void *context, size_t pair, size_t row, size_t column)
{
    (void)row, (void)column;
    const distance_context *c = context;
    const double r = nh_round_distance(c->pairs->distance[pair]);
    for (size_t i = 0; i < c->n; i++)
        if (r >= c->limit[i] && r < c->limit[i + 1]) return i;
    return SIZE_MAX;
}

int nh_gauge_by_distance(const nh_gauge *q, size_t n, const double *limit, nh_gauge_row *row, nh_error *err)
{
    const distance_context context = {&q->graph->pairs, n, limit};
    return by_group(q, n, distance_group, &context, row, err);
}

/* Row of each pair of the graph; SIZE_MAX: it does not count. */
static size_t pair_group(const void *context, size_t pair, size_t row, size_t column)
{
    (void)row, (void)column;
    return ((const size_t *)context)[pair];
}

int nh_gauge_by_pair(const nh_gauge *q, nh_gauge_row *row, nh_error *err)
{
    size_t *number = NH_ARRAY(size_t, q->graph->pairs.count);
    if (number == NULL) return nh_fail_memory(err, "rows of the pairs");
    for (size_t i = 0; i < q->graph->pairs.count; i++)
        number[i] = SIZE_MAX;
    for (size_t k = 0; k < q->n_pair; k++)
        number[pair_index(q, k)] = k;
    const int status = by_group(q, q->n_pair, pair_group, number, row, err);
    free(number);
    return status;
}

typedef struct shell_context {
    const nh_graph *graph;
    const size_t *start; /* [n_species] first entry of each species in degree */
    const int *degree;   /* of each orbital of each species */
} shell_context;

static size_t shell_group(const void *context, size_t pair, size_t row, size_t column)
{
    const shell_context *c = context;
    const nh_pair *p = &c->graph->pairs.pair[pair];
    const int *species = c->graph->structure.species;
    const int l1 = c->degree[c->start[species[p->src]] + row],
              l2 = c->degree[c->start[species[p->dst]] + column];
    return (size_t)(l1 * NH_GAUGE_MAX_L + l2);
}

int nh_gauge_by_shell(const nh_gauge *q, nh_gauge_row row[NH_GAUGE_MAX_L * NH_GAUGE_MAX_L], nh_error *err)
{
    const nh_structure *s = &q->graph->structure;
    size_t *start = NULL;
    int *degree = NULL;
    int status = -1;
    for (size_t i = 0; i < s->shell_start[s->n_species]; i++)
        if (s->shell_l[i] < 0 || s->shell_l[i] >= NH_GAUGE_MAX_L)
            return nh_fail(err, "Gauge MAE: shell of degree %d, at most %d can be told apart", s->shell_l[i],
                           NH_GAUGE_MAX_L - 1);
    size_t n = 0;
    for (size_t i = 0; i < s->n_species; i++)
        n += nh_species_orbitals(s, i);
    start = NH_ARRAY(size_t, s->n_species);
    degree = NH_ARRAY(int, n);
    if (start == NULL || degree == NULL) {
        nh_fail_memory(err, "degrees of the orbitals");
        goto done;
    }
    n = 0;
    for (size_t i = 0; i < s->n_species; i++) {
        start[i] = n;
        for (size_t j = s->shell_start[i]; j < s->shell_start[i + 1]; j++)
            for (int m = 0; m < 2 * s->shell_l[j] + 1; m++)
                degree[n++] = s->shell_l[j];
    }
    const shell_context context = {q->graph, start, degree};
    status = by_group(q, NH_GAUGE_MAX_L * NH_GAUGE_MAX_L, shell_group, &context, row, err);
done:
    free(start);
    free(degree);
    return status;
}

static int same_crystal(const nh_graph *x, const nh_graph *y, nh_error *err)
{
    static const double TOLERANCE = 1e-5; /* Å */
    const nh_structure *a = &x->structure, *b = &y->structure;
    if (a->n_atom != b->n_atom)
        return nh_fail(err, "another crystal: %zu atoms, expected %zu", b->n_atom, a->n_atom);
    if (x->n_spin != y->n_spin) return nh_fail(err, "%d spin blocks, expected %d", y->n_spin, x->n_spin);
    for (int i = 0; i < 9; i++)
        if (!(fabs(a->lattice[i] - b->lattice[i]) <= TOLERANCE))
            return nh_fail(err, "another crystal: lattice vector a%d has component %.8g Å, expected %.8g Å",
                           i / 3 + 1, b->lattice[i], a->lattice[i]);
    for (size_t i = 0; i < a->n_atom; i++) {
        const size_t sa = (size_t)a->species[i], sb = (size_t)b->species[i];
        if (a->atomic_number[sa] != b->atomic_number[sb])
            return nh_fail(err, "another crystal: atom %zu has atomic number %d, expected %d", i,
                           b->atomic_number[sb], a->atomic_number[sa]);
        const size_t na = a->shell_start[sa + 1] - a->shell_start[sa];
        if (na != b->shell_start[sb + 1] - b->shell_start[sb] ||
            (na > 0 && memcmp(a->shell_l + a->shell_start[sa], b->shell_l + b->shell_start[sb],
                              na * sizeof *a->shell_l) != 0))
            return nh_fail(err, "another basis: the shells of atom %zu differ", i);
        for (int c = 0; c < 3; c++)
            if (!(fabs(a->position[3 * i + (size_t)c] - b->position[3 * i + (size_t)c]) <= TOLERANCE))
                return nh_fail(err, "another crystal: atom %zu has coordinate %.8g Å, expected %.8g Å", i,
                               b->position[3 * i + (size_t)c], a->position[3 * i + (size_t)c]);
    }
    return 0;
}

int nh_gauge_align(const nh_graph *to, const nh_graph *from, const double *matrix, bool overlap,
                   size_t n_pair, const size_t *pair, double **out, nh_error *err)
{
    *out = NULL;
    if (same_crystal(to, from, err)) return -1;
    const size_t n_block = overlap ? 1 : (size_t)to->n_spin, width = overlap ? 1 : 2;
    const size_t n_to = to->pairs.n_elem, n_from = from->pairs.n_elem;
    double *copy = NULL;
    size_t size;
    if (nh_size_mul(n_to, n_block * width, &size)) copy = NH_ARRAY(double, size);
    if (copy == NULL) return nh_fail_memory(err, "matrix of the second file");
    for (size_t k = 0; k < n_pair; k++) {
        const size_t p = pair != NULL ? pair[k] : k;
        const nh_pair *w = &to->pairs.pair[p];
        const size_t r = nh_pairs_find(&from->pairs, w->src, w->dst, w->cell);
        if (r == SIZE_MAX) {
            free(copy);
            return nh_fail(err, "no pair (%d, %d, R = %d %d %d): both files need the same pairs", w->src,
                           w->dst, w->cell[0], w->cell[1], w->cell[2]);
        }
        const size_t n = to->pairs.start[p + 1] - to->pairs.start[p];
        for (size_t b = 0; b < n_block; b++)
            memcpy(copy + width * (b * n_to + to->pairs.start[p]),
                   matrix + width * (b * n_from + from->pairs.start[r]), width * n * sizeof *copy);
    }
    *out = copy;
    return 0;
}
