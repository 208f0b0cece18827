#include "lcao/orbital_table.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>

enum { WIDTH_MAX = 64 }; /* shells of a species */
enum { LANES = NH_LANES_OF_POINTS, HARMONICS = (NH_ORBITAL_LMAX + 1) * (NH_ORBITAL_LMAX + 1) };

/* Slopes of the cubic spline through f[n] with step 1. At the origin the function goes on evenly or oddly,
 * f(-r) =
 * (-1)^l f(r); at the end the last two intervals are one polynomial. The spline is then Hermite's cubic of
 * its values and slopes, which is what the table holds. upper[n] is scratch. */
static void spline_slopes(size_t n, const double *f, int l, double *slope, double *upper)
{
    if (l % 2 == 0) {
        upper[0] = 0;
        slope[0] = 0;
    } else {
        upper[0] = 0.5;
        slope[0] = 1.5 * (f[1] - f[0]);
    }
    for (size_t i = 1; i + 1 < n; i++) {
        const double pivot = 4 - upper[i - 1];
        upper[i] = 1 / pivot;
        slope[i] = (3 * (f[i + 1] - f[i - 1]) - slope[i - 1]) / pivot;
    }
    const double last = 0.5 * (5 * (f[n - 1] - f[n - 2]) + (f[n - 2] - f[n - 3]));
    slope[n - 1] = (last - 2 * slope[n - 2]) / (1 - 2 * upper[n - 2]);
    for (size_t i = n - 1; i-- > 0;)
        slope[i] -= upper[i] * slope[i + 1];
}

static void recursion_fill(nh_orbital_table *t)
{
    t->diagonal[0] = 1 / sqrt(4 * M_PI);
    for (int m = 1; m <= NH_ORBITAL_LMAX; m++)
        t->diagonal[m] = t->diagonal[m - 1] * (m == 1 ? sqrt(3) : sqrt((2 * m + 1) / (2.0 * m)));
    for (int l = 1; l <= NH_ORBITAL_LMAX; l++)
        for (int m = 0; m < l; m++) {
            const double before = (l - 1) * (l - 1);
            t->up[l][m] = sqrt((4.0 * l * l - 1) / (double)(l * l - m * m));
            t->down[l][m] = m == l - 1 ? 0 : sqrt((before - m * m) / (4 * before - 1));
        }
}

int nh_orbital_table_new(const nh_orbital_set *o, nh_orbital_table *out, nh_error *err)
{
    *out = (nh_orbital_table){.n_shell = o->n_shell, .l = o->l, .step = o->dr, .n_row = o->n_mesh};
    if (o->n_mesh < 4)
        return nh_fail(err, "orbitals: a mesh of at least 4 points expected, found %zu", o->n_mesh);
    if (o->n_shell > WIDTH_MAX)
        return nh_fail(err, "orbitals: at most %d shells expected, found %zu", WIDTH_MAX, o->n_shell);
    for (size_t s = 0; s < o->n_shell; s++) {
        if (o->l[s] < 0 || o->l[s] > NH_ORBITAL_LMAX)
            return nh_fail(err, "orbitals: l from 0 to %d expected, found %d", NH_ORBITAL_LMAX, o->l[s]);
        out->lmax = o->l[s] > out->lmax ? o->l[s] : out->lmax;
        out->n_orbital += (size_t)(2 * o->l[s] + 1);
    }
    out->radius = (double)(o->n_mesh - 1) * o->dr;
    out->width = (o->n_shell + LANES - 1) / LANES * LANES;
    recursion_fill(out);
    size_t size;
    double *slope = NH_ARRAY(double, 2 * o->n_mesh);
    if (slope == NULL || !nh_size_mul(2 * o->n_mesh, out->width, &size) ||
        (out->row = nh_calloc_aligned(size, sizeof *out->row)) == NULL) {
        free(slope);
        return nh_fail_memory(err, "tables of orbitals");
    }
    for (size_t s = 0; s < o->n_shell; s++) {
        const double *f = o->f + s * o->n_mesh;
        spline_slopes(o->n_mesh, f, o->l[s], slope, slope + o->n_mesh);
        for (size_t i = 0; i < o->n_mesh; i++) {
            out->row[2 * i * out->width + s] = f[i];
            out->row[(2 * i + 1) * out->width + s] = slope[i];
        }
    }
    free(slope);
    return 0;
}

void nh_orbital_table_free(nh_orbital_table *t)
{
    free(t->row);
    t->row = NULL;
}

/* Y_lm of LANES unit vectors, y[l*l + l + m][lane]: as lib/o3's, orthonormal on the sphere. */
static inline void harmonics(const nh_orbital_table *t, const double *x, const double *y, const double *z,
                             double (*out)[LANES])
{
    double cosine[LANES], sine[LANES];
    for (int k = 0; k < LANES; k++) {
        cosine[k] = 1;
        sine[k] = 0;
    }
    for (int m = 0; m <= t->lmax; m++) {
        double last[LANES], now[LANES];
        for (int k = 0; k < LANES; k++) {
            last[k] = 0;
            now[k] = t->diagonal[m];
        }
        for (int l = m;; l++) {
            double *const minus = out[l * l + l - m], *const plus = out[l * l + l + m];
            for (int k = 0; k < LANES; k++)
                minus[k] = now[k] * sine[k];
            for (int k = 0; k < LANES; k++)
                plus[k] = now[k] * cosine[k]; /* m = 0: after the sine, which is 0 there */
            if (l == t->lmax) break;
            const double up = t->up[l + 1][m], down = t->down[l + 1][m];
            for (int k = 0; k < LANES; k++) {
                const double next = up * (z[k] * now[k] - down * last[k]);
                last[k] = now[k];
                now[k] = next;
            }
        }
        for (int k = 0; k < LANES; k++) {
            const double c = x[k] * cosine[k] - y[k] * sine[k];
            sine[k] = x[k] * sine[k] + y[k] * cosine[k];
            cosine[k] = c;
        }
    }
}

/* Radial functions of all shells of one point, side by side: the loop over shells is the vector. */
static inline void radial(const nh_orbital_table *t, double r, double scale, double *out)
{
    const double place = r / t->step;
    size_t i = (size_t)place;
    if (i > t->n_row - 2) i = t->n_row - 2;
    const double u = place - (double)i, v = 1 - u;
    const double f0 = scale * (1 + 2 * u) * v * v, d0 = scale * u * v * v, f1 = scale * u * u * (3 - 2 * u),
                 d1 = -scale * u * u * v;
    const double *row = t->row + 2 * i * t->width;
    for (size_t s = 0; s < t->width; s += LANES) {
        const double *a = row + s, *b = a + t->width, *c = b + t->width, *d = c + t->width;
        for (size_t k = 0; k < LANES; k++)
            out[s + k] = f0 * a[k] + d0 * b[k] + f1 * c[k] + d1 * d[k];
    }
}

void nh_orbitals_at(const nh_orbital_table *t, size_t n, const double *x, const double *y, const double *z,
                    const double origin[3], const double *scale, double *phi, size_t stride)
{
    const double end = t->radius - 1e-10;
    for (size_t first = 0; first < n; first += LANES) {
        double ux[LANES], uy[LANES], uz[LANES], r[LANES], w[LANES], f[LANES * WIDTH_MAX],
            angular[HARMONICS][LANES];
        bool any = false;
        for (size_t k = 0; k < LANES; k++) {
            ux[k] = x[first + k] - origin[0];
            uy[k] = y[first + k] - origin[1];
            uz[k] = z[first + k] - origin[2];
            r[k] = sqrt(ux[k] * ux[k] + uy[k] * uy[k] + uz[k] * uz[k]);
            w[k] = r[k] < end ? scale[first + k] : 0;
        }
        for (size_t k = 0; k < LANES; k++)
            any = any || r[k] < end;
        if (!any) {
            for (size_t i = 0; i < t->n_orbital; i++)
                for (size_t k = 0; k < LANES; k++)
                    phi[i * stride + first + k] = 0;
            continue;
        }
        for (size_t k = 0; k < LANES; k++) {
            const bool centre = r[k] < 1e-9; /* no direction: any will do, z */
            const double inverse = centre ? 0 : 1 / r[k];
            ux[k] *= inverse;
            uy[k] *= inverse;
            uz[k] = centre ? 1 : uz[k] * inverse;
        }
        harmonics(t, ux, uy, uz, angular);
        for (size_t k = 0; k < LANES; k++)
            radial(t, fmin(r[k], t->radius), w[k], f + k * t->width);
        double *out = phi + first;
        for (size_t s = 0; s < t->n_shell; s++) {
            double of_shell[LANES];
            for (size_t k = 0; k < LANES; k++)
                of_shell[k] = f[k * t->width + s];
            const int l = t->l[s];
            for (int m = 0; m <= 2 * l; m++, out += stride)
                for (size_t k = 0; k < LANES; k++)
                    out[k] = of_shell[k] * angular[l * l + m][k];
        }
    }
}
