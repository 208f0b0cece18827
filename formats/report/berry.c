#include "formats/report/berry.h"

#include <math.h>

void nh_curvature_write(FILE *out, const nh_kpoints *k, const double *curvature, double electrons_per_band)
{
    fprintf(out, "#k_distance\tlabel\tk1\tk2\tk3\tomega_x_A^2\tomega_y_A^2\tomega_z_A^2\n");
    for (size_t i = 0; i < k->count; i++) {
        const double *q = k->k + 3 * i, *c = curvature + 3 * i;
        fprintf(out, "%.8f\t%s\t%.8g\t%.8g\t%.8g\t%.8g\t%.8g\t%.8g\n", k->distance[i],
                k->label[i][0] != '\0' ? k->label[i] : "-", q[0], q[1], q[2], electrons_per_band * c[0],
                electrons_per_band * c[1], electrons_per_band * c[2]);
    }
}

void nh_plane_header(FILE *out, bool z2)
{
    fprintf(out, "#plane\tat\t%s\tgap_eV\tgap_k1\tgap_k2\tgap_k3\tsmallest_link\t%s\n", z2 ? "z2" : "chern",
            z2 ? "margin" : "flux");
}

void nh_plane_row(FILE *out, const nh_wilson *w, int normal, double at)
{
    double margin = 0;
    const bool z2 = w->flux == NULL;
    const long number = z2 ? nh_wilson_z2(w, &margin) : lround(w->chern);
    fprintf(out, "k%d\t%g\t%ld\t%.6f\t%.6g\t%.6g\t%.6g\t%.4f\t%.6g\n", normal + 1, at, number, w->gap,
            w->k_gap[0], w->k_gap[1], w->k_gap[2], w->link, z2 ? margin : w->chern);
}

void nh_plane_centres(FILE *out, const nh_wilson *w, int normal, double at)
{
    fprintf(out, "# centres on plane k%d = %g: k%d, then the centres along axis %d\n", normal + 1, at,
            (normal + 2) % 3 + 1, (normal + 1) % 3 + 1);
    for (size_t i = 0; i < w->lines; i++) {
        fprintf(out, "%.8g", w->where[i]);
        for (size_t n = 0; n < w->occupied; n++)
            fprintf(out, "\t%.6f", w->centre[i * w->occupied + n]);
        fputc('\n', out);
    }
}

void nh_mass_header(FILE *out)
{
    fprintf(out, "#level\tk1\tk2\tk3\tband\tenergy_eV\tdirection\tx\ty\tz\tslope_eV_A\tmass_me\n");
}

static void mass_row(FILE *out, const nh_mass *m, const char *name, const double k[3], size_t band,
                     const char *kind, const double d[3], double slope, double inverse)
{
    const double length = sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]);
    fprintf(out, "%s\t%.8g\t%.8g\t%.8g\t%zu\t%.6f\t%s\t%.4f\t%.4f\t%.4f\t%.6g\t", name, k[0], k[1], k[2],
            band + 1, m->energy, kind, d[0] / length, d[1] / length, d[2] / length,
            fabs(slope) < 1e-9 ? 0 : slope);
    if (fabs(inverse) > 1e-9)
        fprintf(out, "%.6g\n", 1 / inverse);
    else
        fprintf(out, "inf\n");
}

int nh_mass_rows(FILE *out, const nh_mass *m, const char *name, const double k[3], const double *direction,
                 nh_error *err)
{
    for (size_t d = 0; d < m->n_direction; d++)
        for (size_t i = 0; i < m->count; i++)
            mass_row(out, m, name, k, m->first + i, "given", direction + 3 * d, m->slope[d * m->count + i],
                     m->inverse[d * m->count + i]);
    if (!m->tensor) {
        fprintf(out, "# %s: no mass tensor: %zu bands meet here with masses that differ\n", name, m->count);
        return 0;
    }
    double value[3], axis[9];
    if (nh_mass_principal(m->inverse_mass, value, axis, err) != 0) return -1;
    for (size_t x = 0; x < 3; x++) {
        const double *a = axis + 3 * x, *g = m->gradient;
        mass_row(out, m, name, k, m->first, "principal", a, a[0] * g[0] + a[1] * g[1] + a[2] * g[2],
                 value[x]);
    }
    return 0;
}
