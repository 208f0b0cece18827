#include "lcao/orbital_table.h"

#include "base/memory.h"
#include "lcao/lanes.h"

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

/* Y_lm of unit vectors, y[l*l + l + m]: as lib/o3's, orthonormal on the sphere. */
NH_INLINE void harmonics(const nh_orbital_table *t, const int lmax, nh_wide x, nh_wide y, nh_wide z,
                         nh_wide *out)
{
    nh_wide cosine = 1 - (nh_wide){0}, sine = {0};
    for (int m = 0; m <= lmax; m++) {
        nh_wide last = {0}, now = t->diagonal[m] - (nh_wide){0};
        for (int l = m; l <= lmax; l++) {
            out[l * l + l - m] = now * sine;
            out[l * l + l + m] = now * cosine; /* m = 0: after the sine, which is 0 there */
            if (l == lmax) continue;
            const nh_wide next = t->up[l + 1][m] * (z * now - t->down[l + 1][m] * last);
            last = now;
            now = next;
        }
        const nh_wide c = x * cosine - y * sine;
        sine = x * sine + y * cosine;
        cosine = c;
    }
}

/* Hermite's weights of f, f', f, f' for each point, and the table's row. */
typedef struct places {
    double weight[4][NH_WIDE];
    int64_t row[NH_WIDE];
} places;

NH_INLINE void find_places(const nh_orbital_table *t, const double *r, nh_wide scale, places *p)
{
    const double inverse = 1 / t->step, last = (double)(t->n_row - 2);
    double at[NH_WIDE], from[NH_WIDE];
    for (int k = 0; k < NH_WIDE; k++) {
        at[k] = r[k] * inverse;
        from[k] = at[k] < last ? at[k] : last; /* beyond the table the scale is 0 */
        p->row[k] = (int64_t)from[k];
        from[k] = (double)p->row[k];
    }
    const nh_wide u = *(const nh_wide *)at - *(const nh_wide *)from, v = 1 - u;
    *(nh_wide *)p->weight[0] = scale * (1 + 2 * u) * v * v;
    *(nh_wide *)p->weight[1] = scale * u * v * v;
    *(nh_wide *)p->weight[2] = scale * u * u * (3 - 2 * u);
    *(nh_wide *)p->weight[3] = -scale * u * u * v;
}

/* out[shell] = the radial functions of NH_WIDE shells from `shell` on, a register of points each. For one
 * point the shells are neighbours in the table: they are interpolated side by side and turned afterwards. */
NH_INLINE void radial(const nh_orbital_table *t, const places *p, size_t shell, nh_wide *out)
{
    nh_wide of_point[NH_WIDE];
    for (int k = 0; k < NH_WIDE; k++) {
        const double *row = t->row + 2 * (size_t)p->row[k] * t->width + shell;
        of_point[k] = p->weight[0][k] * *(const nh_wide *)row +
                      p->weight[1][k] * *(const nh_wide *)(row + t->width) +
                      p->weight[2][k] * *(const nh_wide *)(row + 2 * t->width) +
                      p->weight[3][k] * *(const nh_wide *)(row + 3 * t->width);
    }
#if NH_REGISTER == 64
    nh_wide a[8], b[8];
    for (int i = 0; i < 4; i++) {
        a[2 * i] = __builtin_shufflevector(of_point[2 * i], of_point[2 * i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
        a[2 * i + 1] =
            __builtin_shufflevector(of_point[2 * i], of_point[2 * i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
    }
    for (int i = 0; i < 8; i += 4)
        for (int k = 0; k < 2; k++) {
            b[i + k] = __builtin_shufflevector(a[i + k], a[i + k + 2], 0, 1, 8, 9, 4, 5, 12, 13);
            b[i + k + 2] = __builtin_shufflevector(a[i + k], a[i + k + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        }
    for (int i = 0; i < 4; i++) {
        out[i] = __builtin_shufflevector(b[i], b[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        out[i + 4] = __builtin_shufflevector(b[i], b[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
#else
    for (int i = 0; i < NH_WIDE; i++)
        for (int k = 0; k < NH_WIDE; k++)
            out[i][k] = of_point[k][i];
#endif
}

NH_INLINE void some_orbitals(const nh_orbital_table *t, const int lmax, size_t n, const double *x,
                             const double *y, const double *z, const double origin[3], const double *scale,
                             double *phi, size_t stride)
{
    const double end = t->radius - 1e-10;
    for (size_t first = 0; first < n; first += NH_WIDE) {
        const nh_wide dx = *(const nh_wide *)(x + first) - origin[0],
                      dy = *(const nh_wide *)(y + first) - origin[1],
                      dz = *(const nh_wide *)(z + first) - origin[2];
        nh_wide r = dx * dx + dy * dy + dz * dz;
        double root[NH_WIDE];
        *(nh_wide *)root = r;
        for (int k = 0; k < NH_WIDE; k++)
            root[k] = sqrt(root[k]);
        r = *(const nh_wide *)root;
        const nh_wide one = 1 - (nh_wide){0};
        const nh_wide_bits centre = r < 1e-9,
                           inside = r < end; /* no direction at the centre: any will do, z */
        const nh_wide inverse = (nh_wide)(~centre & (nh_wide_bits)(1 / r)),
                      along = (nh_wide)(centre & (nh_wide_bits)one);
        const nh_wide weight = (nh_wide)(inside & (nh_wide_bits) * (const nh_wide *)(scale + first));
        nh_wide angular[HARMONICS];
        harmonics(t, lmax, dx * inverse, dy * inverse, dz * inverse + along, angular);
        places p;
        find_places(t, root, weight, &p);
        double *out = phi + first;
        for (size_t from = 0; from < t->n_shell; from += NH_WIDE) {
            nh_wide of_shell[NH_WIDE];
            radial(t, &p, from, of_shell);
            const size_t count = t->n_shell - from < NH_WIDE ? t->n_shell - from : NH_WIDE;
            for (size_t i = 0; i < count; i++) {
                const int l = t->l[from + i];
                for (int m = 0; m <= 2 * l; m++, out += stride)
                    *(nh_wide *)out = of_shell[i] * angular[l * l + m];
            }
        }
    }
}

void nh_orbitals_at(const nh_orbital_table *t, size_t n, const double *x, const double *y, const double *z,
                    const double origin[3], const double *scale, double *phi, size_t stride)
{
    switch (t->lmax) { /* constants: the harmonics stay in registers */
    case 1:
        some_orbitals(t, 1, n, x, y, z, origin, scale, phi, stride);
        break;
    case 2:
        some_orbitals(t, 2, n, x, y, z, origin, scale, phi, stride);
        break;
    case 3:
        some_orbitals(t, 3, n, x, y, z, origin, scale, phi, stride);
        break;
    default:
        some_orbitals(t, t->lmax, n, x, y, z, origin, scale, phi, stride);
        break;
    }
}
