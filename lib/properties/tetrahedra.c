#include "properties/tetrahedra.h"

#include <math.h>

static const double SAME_POINT = 1e-6; /* fractional: files hold k-points as they were written */

/* The numbers of points along each direction: a direction begins anew where the next one takes its first step. */
static void guess_mesh(const nh_kpoints *k, int n[3])
{
    size_t at[3] = {k->count, k->count, k->count}; /* the first point that is off in each direction */
    for (size_t x = 0; x < 3; x++)
        for (size_t i = 1; i < k->count && at[x] == k->count; i++)
            if (fabs(k->k[3 * i + x] - k->k[x]) > SAME_POINT) at[x] = i;
    /* at = 1, n1, n1 n2 where a direction has several points; the count where it has one. */
    const size_t second = at[1] < at[2] ? at[1] : at[2];
    n[0] = (int)second;
    n[1] = (int)(at[2] / second);
    n[2] = (int)(k->count / at[2]);
}

static bool is_mesh(const nh_kpoints *k, const int n[3])
{
    size_t count = 1;
    for (size_t x = 0; x < 3; x++) {
        if (n[x] < 1) return false;
        count *= (size_t)n[x];
    }
    if (count != k->count) return false;
    for (size_t i = 0; i < count; i++) {
        size_t rest = i;
        for (size_t x = 0; x < 3; x++) {
            const double off = k->k[3 * i + x] - (double)(rest % (size_t)n[x]) / n[x];
            if (!(fabs(off - round(off)) <= SAME_POINT)) return false;
            rest /= (size_t)n[x];
        }
    }
    for (size_t i = 0; i < count; i++)
        if (!(fabs(k->weight[i] * (double)count - 1) <= 1e-6)) return false;
    return true;
}

/* The corner at which the shortest main diagonal of a parallelepiped begins; it ends at the opposite one. */
static int shortest_diagonal(const double *lattice, const int n[3], unsigned *begin, nh_error *err)
{
    double b[9], shortest = INFINITY;
    *begin = 0;
    if (lattice == NULL) return 0;
    if (nh_reciprocal(lattice, b, err) != 0) return -1;
    for (unsigned corner = 0; corner < 4; corner++) {
        double step[3];
        for (unsigned x = 0; x < 3; x++)
            step[x] = (corner >> x & 1 ? -1.0 : 1.0) / n[x];
        const double length = nh_k_length(b, step);
        if (length < shortest * (1 - 1e-9)) { /* of equal ones the first, whatever the rounding */
            shortest = length;
            *begin = corner;
        }
    }
    return 0;
}

int nh_tetrahedra_new(const nh_kpoints *k, const double *lattice, nh_tetrahedra *out, nh_error *err)
{
    static const unsigned order[NH_TETRAHEDRA][3] = {{1, 2, 4}, {1, 4, 2}, {2, 1, 4},
                                                     {2, 4, 1}, {4, 1, 2}, {4, 2, 1}};
    unsigned begin;
    *out = (nh_tetrahedra){.n_cell = k->count};
    guess_mesh(k, out->n);
    if (!is_mesh(k, out->n))
        return nh_fail(err, "the k-points are no complete Gamma-centred mesh, which tetrahedra need");
    if (shortest_diagonal(lattice, out->n, &begin, err) != 0) return -1;
    for (size_t t = 0; t < NH_TETRAHEDRA; t++) {
        out->corner[t][0] = begin;
        for (size_t i = 0; i < 3; i++) /* along the edges, one direction after another */
            out->corner[t][i + 1] = out->corner[t][i] ^ order[t][i];
    }
    return 0;
}

void nh_tetrahedron_corners(const nh_tetrahedra *m, size_t cell, int t, size_t corner[4])
{
    const size_t n0 = (size_t)m->n[0], n1 = (size_t)m->n[1], n2 = (size_t)m->n[2];
    const size_t at[3] = {cell % n0, cell / n0 % n1, cell / (n0 * n1)};
    for (size_t i = 0; i < 4; i++) {
        const unsigned bits = m->corner[t][i];
        const size_t x = (at[0] + (bits & 1)) % n0, y = (at[1] + (bits >> 1 & 1)) % n1,
                     z = (at[2] + (bits >> 2 & 1)) % n2;
        corner[i] = x + n0 * (y + n1 * z);
    }
}

/* Every closed form is written as products of ratios that are at most 1, so that nearly equal energies do no harm. */

double nh_tetrahedron_states(const double v[4], double e)
{
    if (e < v[0]) return 0;
    if (e < v[1])
        return (e - v[0]) / (v[1] - v[0]) * ((e - v[0]) / (v[2] - v[0])) * ((e - v[0]) / (v[3] - v[0]));
    if (e < v[2]) {
        double w[4];
        nh_tetrahedron_weights(v, e, false, w);
        return w[0] + w[1] + w[2] + w[3];
    }
    if (e < v[3])
        return 1 - (v[3] - e) / (v[3] - v[0]) * ((v[3] - e) / (v[3] - v[1])) * ((v[3] - e) / (v[3] - v[2]));
    return 1;
}

double nh_tetrahedron_density(const double v[4], double e)
{
    const double e1 = v[0], e2 = v[1], e3 = v[2], e4 = v[3];
    if (e < e1) return 0;
    if (e < e2) return 3 * ((e - e1) / (e2 - e1)) * ((e - e1) / (e3 - e1)) / (e4 - e1);
    if (e < e3) {
        const double x = (e - e2) / (e3 - e2);
        return (3 * ((e2 - e1) / (e3 - e1)) + 6 * ((e - e2) / (e3 - e1)) -
                3 * x * ((e - e2) / (e4 - e2)) * (1 + (e4 - e2) / (e3 - e1))) /
               (e4 - e1);
    }
    if (e < e4) return 3 * ((e4 - e) / (e4 - e2)) * ((e4 - e) / (e4 - e3)) / (e4 - e1);
    return 0;
}

static void linear_weights(const double v[4], double e, double w[4])
{
    const double e1 = v[0], e2 = v[1], e3 = v[2], e4 = v[3];
    if (e < e1) {
        for (int i = 0; i < 4; i++)
            w[i] = 0;
    } else if (e < e2) {
        const double x2 = (e - e1) / (e2 - e1), x3 = (e - e1) / (e3 - e1), x4 = (e - e1) / (e4 - e1),
                     c = 0.25 * x2 * x3 * x4;
        w[0] = c * (4 - x2 - x3 - x4);
        w[1] = c * x2;
        w[2] = c * x3;
        w[3] = c * x4;
    } else if (e < e3) {
        const double x3 = (e - e1) / (e3 - e1), x4 = (e - e1) / (e4 - e1), y3 = (e - e2) / (e3 - e2),
                     y4 = (e - e2) / (e4 - e2);
        const double c1 = 0.25 * x4 * x3, c2 = 0.25 * x4 * y3 * (1 - x3), c3 = 0.25 * y4 * y3 * (1 - x4);
        w[0] = c1 + (c1 + c2) * (1 - x3) + (c1 + c2 + c3) * (1 - x4);
        w[1] = c1 + c2 + c3 + (c2 + c3) * (1 - y3) + c3 * (1 - y4);
        w[2] = (c1 + c2) * x3 + (c2 + c3) * y3;
        w[3] = (c1 + c2 + c3) * x4 + c3 * y4;
    } else if (e < e4) {
        const double x1 = (e4 - e) / (e4 - e1), x2 = (e4 - e) / (e4 - e2), x3 = (e4 - e) / (e4 - e3),
                     c = 0.25 * x1 * x2 * x3;
        w[0] = 0.25 - c * x1;
        w[1] = 0.25 - c * x2;
        w[2] = 0.25 - c * x3;
        w[3] = 0.25 - c * (4 - x1 - x2 - x3);
    } else {
        for (int i = 0; i < 4; i++)
            w[i] = 0.25;
    }
}

void nh_tetrahedron_weights(const double energy[4], double e, bool corrected, double weight[4])
{
    linear_weights(energy, e, weight);
    if (!corrected) return;
    const double sum = energy[0] + energy[1] + energy[2] + energy[3],
                 d = nh_tetrahedron_density(energy, e) / 40;
    for (int i = 0; i < 4; i++)
        weight[i] += d * (sum - 4 * energy[i]);
}
