/* The radial weights of the product, made once for each distance: the edges (i,j,R) and (j,i,-R) have the same one, and a
 * crystal has few. Of more distances than a fine grid has points, single precision takes the grid, and a cubic polynomial
 * through four points: the radial network's input is Gaussians of width w, so that a step of w/96 leaves an error below
 * 1e-6 of the largest weight (test_kernels measures it). */
#include "network/internal.h"

#include "base/memory.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 96 }; /* of the grid in the width of a Gaussian */

/* Å: distances that differ less are one. A Gaussian changes by less than 8 times that. */
static const double SAME = sizeof(real) == sizeof(double) ? 1e-14 : 1e-10;

typedef struct length {
    double r;
    size_t edge;
} length;

static int compare(const void *a, const void *b)
{
    const length *x = a, *y = b;
    if (x->r != y->r) return x->r < y->r ? -1 : 1;
    return x->edge < y->edge ? -1 : x->edge > y->edge;
}

static length *sorted(const nh_edges *g, nh_error *err)
{
    length *list = NH_ARRAY(length, g->n_edge);
    if (list == NULL) {
        nh_fail_memory(err, "the distances of the edges");
        return NULL;
    }
    for (size_t e = 0; e < g->n_edge; e++)
        list[e] = (length){R(nh_length)(g, e), e};
    qsort(list, g->n_edge, sizeof *list, compare);
    return list;
}

int R(nh_count_knots)(nh_pass *f, nh_error *err)
{
    const nh_edges *g = f->graph;
    f->n_knot = g->n_edge;
    f->step = 0;
    if (f->net->method == NH_METHOD_REFERENCE || g->n_edge == 0) return 0;
    length *list = sorted(g, err);
    if (list == NULL) return -1;
    f->n_knot = 1;
    double last = list[0].r;
    for (size_t i = 1; i < g->n_edge; i++)
        if (list[i].r - last > SAME) {
            f->n_knot++;
            last = list[i].r;
        }
    const nh_config *c = f->net->config;
    const double step = c->radial_max / 2 / (double)c->radial_basis / STEPS;
    const size_t points = (size_t)(list[g->n_edge - 1].r / step) + 4;
    if (sizeof(real) == sizeof(float) && !f->s.keep && f->n_knot > points) {
        f->n_knot = points;
        f->step = step;
    }
    free(list);
    return 0;
}

int R(nh_set_knots)(nh_pass *f, nh_error *err)
{
    const nh_edges *g = f->graph;
    if (f->net->method == NH_METHOD_REFERENCE || f->step > 0) {
        for (size_t k = 0; f->step > 0 && k < f->n_knot; k++)
            f->knot[k] = f->step * ((double)k - 1);
        for (size_t i = 0; i < g->n_edge; i++) {
            const double r = R(nh_length)(g, f->order[i]);
            f->knot_of[i] = f->step > 0 ? (size_t)(r / f->step) : i;
            if (f->step <= 0) f->knot[i] = r;
        }
        return 0;
    }
    length *list = g->n_edge > 0 ? sorted(g, err) : NULL;
    if (g->n_edge > 0 && list == NULL) return -1;
    for (size_t i = 0, k = SIZE_MAX; i < g->n_edge; i++) {
        if (k == SIZE_MAX || list[i].r - f->knot[k] > SAME) f->knot[++k] = list[i].r;
        f->knot_of[f->position[list[i].edge]] = k;
    }
    free(list);
    return 0;
}

bool R(nh_knots_needed)(const nh_pass *f, size_t first, size_t n)
{
    if (f->every_knot || f->net->method == NH_METHOD_REFERENCE) return true;
    /* two steps: the grid's points about a distance; 1e-6: ranges are of rounded distances */
    const double margin = 2 * f->step + 1e-6;
    return f->knot[first] < f->net->hi + margin && f->knot[first + n - 1] >= f->net->lo - margin;
}

static void make(void *pass, size_t tile, int thread)
{
    const nh_pass *f = pass;
    const nh_config *c = f->net->config;
    nh_work *w = &f->work[thread];
    const size_t first = tile * NH_TILE, left = f->n_knot - first, n = left < NH_TILE ? left : NH_TILE;
    nh_timer *timer = &f->timer[thread];
    R(nh_seconds)(&timer->since);
    if (!R(nh_knots_needed)(f, first, n)) return;
    R(nh_gaussians_forward)(n, c->radial_basis, c->radial_max, f->knot + first, c->radial_basis,
                            w->gaussians);
    R(nh_mlp_forward)(f->radial, n, w->gaussians, w->radial_hidden,
                      f->knot_weight + first * f->net->product.n_weight, false);
    timer->times.radial += R(nh_seconds)(&timer->since);
}

void R(nh_make_knots)(nh_pass *f, const nh_chain *radial, bool all)
{
    f->radial = radial;
    f->every_knot = all;
    nh_parallel_for(f->pool, R(nh_tiles)(f->n_knot, NH_TILE), make, f);
}

/* The cubic polynomial through the points -1, 0, 1, 2 at u. */
static void between(double u, real p[4])
{
    p[0] = (real)(-u * (u - 1) * (u - 2) / 6);
    p[1] = (real)((u + 1) * (u - 1) * (u - 2) / 2);
    p[2] = (real)(-(u + 1) * u * (u - 2) / 2);
    p[3] = (real)((u + 1) * u * (u - 1) / 6);
}

void R(nh_radial_weights)(const nh_pass *f, size_t n, const size_t *row, size_t first, const double *distance,
                          real *weight)
{
    const size_t width = f->net->product.n_weight;
    for (size_t t = 0; t < n; t++) {
        const size_t k = f->knot_of[row != NULL ? row[t] : first + t];
        const real *restrict from = f->knot_weight + k * width;
        real *restrict to = weight + t * width;
        if (f->step <= 0) {
            memcpy(to, from, width * sizeof(real));
            continue;
        }
        real p[4];
        between(distance[t] / f->step - (double)k, p);
        for (size_t i = 0; i < width; i++)
            to[i] = p[0] * from[i] + p[1] * from[width + i] + p[2] * from[2 * width + i] +
                    p[3] * from[3 * width + i];
    }
}
