#include "formats/report/bandplot.h"

#include "base/printable.h"
#include "formats/report/plot.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { COLOURS = 5 };

/* A range of bands, numbers from 0. */
typedef struct band_range {
    size_t first, end;
} band_range;

static double energy(const nh_band_curve *c, size_t k, size_t band)
{
    return nh_band_energy(c->bands, k, band) - c->zero;
}

/* The bands of a curve that enter the window at some k-point (empty: first = end). */
static band_range bands_in_window(const nh_bandplot *p, const nh_band_curve *c)
{
    const nh_bands *b = c->bands;
    band_range r = {SIZE_MAX, 0};
    for (size_t k = 0; k < b->k.count; k++)
        for (size_t i = b->first[k]; i < b->first[k] + b->n_band; i++) {
            const double e = energy(c, k, i);
            if (!(e >= p->window[0] && e <= p->window[1])) continue;
            r.first = i < r.first ? i : r.first;
            r.end = i + 1 > r.end ? i + 1 : r.end;
        }
    if (r.end == 0) r.first = 0;
    return r;
}

/* Where nh_state_weights has a state that is there. */
static size_t state_index(const nh_bandplot *p, size_t k, size_t band)
{
    return k * p->curve.bands->n_band + band - p->curve.bands->first[k];
}

static const char *gap_kind(const nh_gap *g)
{
    return g->cbm <= g->vbm ? "none, the bands overlap" : g->k_vbm == g->k_cbm ? "direct" : "indirect";
}

static double gap_size(const nh_gap *g)
{
    return fmax(0, g->cbm - g->vbm);
}

/* --- table --- */

/* A title or label from a file, with `before` in front: without line ends and tabs of its own, which would make rows and columns. */
static void tsv_text(FILE *out, const char *before, const char *text)
{
    fputs(before, out);
    nh_put_printable(out, text);
}

static void tsv_edge(FILE *out, const nh_bandplot *p, const char *name, double e, size_t k)
{
    const nh_kpoints *q = &p->curve.bands->k;
    fprintf(out, "# %s: %.6f eV at k-point %zu (%.6g %.6g %.6g)", name, e - p->curve.zero, k + 1, q->k[3 * k],
            q->k[3 * k + 1], q->k[3 * k + 2]);
    tsv_text(out, " ", q->label[k]);
    fputc('\n', out);
}

static void tsv_errors(FILE *out, const nh_bandplot *p)
{
    const nh_band_errors *e = p->errors;
    const nh_kpoints *q = &p->curve.bands->k;
    tsv_text(out, "# reference: ", p->reference[0].name);
    fprintf(out, ", Fermi level %.6f eV (%s)\n", p->reference[0].efermi, p->reference[0].efermi_from);
    fprintf(out, "# shift (median of reference - bands): %.6f eV\n", e->shift);
    fprintf(out,
            "# band error after the shift: mean %.3f meV, max %.3f meV over %zu states up to %g eV above the "
            "Fermi level\n",
            1e3 * e->mean, 1e3 * e->max, e->n_state, p->top);
    for (size_t i = 0; i < e->n_band; i++)
        if (!isnan(e->band_mean[i]))
            fprintf(out, "# band %zu: mean %.3f meV, max %.3f meV\n", e->first + i + 1, 1e3 * e->band_mean[i],
                    1e3 * e->band_max[i]);
    fprintf(out, "# ghost k-points: %zu of %zu (largest difference above %.3f eV; median over k %.4f eV)\n",
            e->n_ghost, e->n_k, e->threshold, e->median_k);
    for (size_t k = 0; k < e->n_k; k++)
        if (e->ghost[k])
            fprintf(out, "# ghost k-point %zu (%.6g %.6g %.6g): %.4f eV in band %zu\n", k + 1, q->k[3 * k],
                    q->k[3 * k + 1], q->k[3 * k + 2], e->k_max[k], e->k_band[k] + 1);
}

/* One row a state, an empty line between bands. */
static void tsv_states(FILE *out, const nh_bandplot *p)
{
    const nh_kpoints *q = &p->curve.bands->k;
    const nh_state_weights *w = p->states;
    const band_range r = bands_in_window(p, &p->curve);
    fprintf(out, "#k_distance\tlabel\tband\tenergy_eV");
    for (size_t i = 0; i < w->n_group; i++)
        fprintf(out, "\t%s", w->name[i]);
    fprintf(out, "%s\n", w->spin != NULL ? "\tsigma_x\tsigma_y\tsigma_z" : "");
    for (size_t band = r.first; band < r.end; band++) {
        if (band > r.first) fputc('\n', out);
        for (size_t k = 0; k < q->count; k++) {
            const double e = energy(&p->curve, k, band);
            if (isnan(e)) continue;
            const size_t at = state_index(p, k, band);
            fprintf(out, "%.8f\t%s\t%zu\t%.6f", q->distance[k], q->label[k][0] != '\0' ? q->label[k] : "-",
                    band + 1, e);
            for (size_t i = 0; i < w->n_group; i++)
                fprintf(out, "\t%.6f", w->weight[at * w->n_group + i]);
            for (size_t x = 0; x < 3 && w->spin != NULL; x++)
                fprintf(out, "\t%.6f", w->spin[3 * at + x]);
            fputc('\n', out);
        }
    }
}

static void write_tsv(FILE *out, const nh_bandplot *p)
{
    const nh_kpoints *q = &p->curve.bands->k;
    const band_range r = bands_in_window(p, &p->curve);
    if (p->title != NULL) {
        tsv_text(out, "# title: ", p->title);
        fputc('\n', out);
    }
    tsv_text(out, "# bands: ", p->curve.name);
    fprintf(out, ", Fermi level %.6f eV (%s)\n", p->curve.efermi, p->curve.efermi_from);
    if (p->has_gap) {
        fprintf(out, "# gap: %.6f eV (%s)\n", gap_size(&p->gap), gap_kind(&p->gap));
        tsv_edge(out, p, "valence band maximum", p->gap.vbm, p->gap.k_vbm);
        tsv_edge(out, p, "conduction band minimum", p->gap.cbm, p->gap.k_cbm);
    }
    if (p->errors != NULL) tsv_errors(out, p);
    if (p->states != NULL) {
        tsv_states(out, p);
        return;
    }
    fprintf(out, "#k_distance\tlabel");
    for (size_t i = r.first; i < r.end; i++)
        fprintf(out, "\tband_%zu", i + 1);
    fputc('\n', out);
    for (size_t k = 0; k < q->count; k++) {
        fprintf(out, "%.8f", q->distance[k]);
        tsv_text(out, "\t", q->label[k][0] != '\0' ? q->label[k] : "-");
        for (size_t i = r.first; i < r.end; i++) {
            const double e = energy(&p->curve, k, i);
            if (isnan(e))
                fprintf(out, "\tnan");
            else
                fprintf(out, "\t%.6f", e);
        }
        fputc('\n', out);
    }
}

/* --- one row for the whole, one row a k-point --- */

static void write_summary(FILE *out, const nh_bandplot *p)
{
    const nh_band_errors *e = p->errors;
    const double none = NAN;
    fprintf(out, "#title\tbands\treference\tefermi_eV\tgap_eV\tgap_kind\tshift_eV\tmean_meV\tmax_"
                 "meV\tstates\tghosts\tkpoints\n");
    tsv_text(out, "", p->title != NULL ? p->title : "-");
    tsv_text(out, "\t", p->curve.name);
    tsv_text(out, "\t", e != NULL ? p->reference[0].name : "-");
    fprintf(out, "\t%.6f\t%.6f\t%s\t%.6f\t%.3f\t%.3f\t%zu\t%zu\t%zu\n", p->curve.efermi,
            p->has_gap ? gap_size(&p->gap) : none, p->has_gap ? gap_kind(&p->gap) : "-",
            e != NULL ? e->shift : none, e != NULL ? 1e3 * e->mean : none, e != NULL ? 1e3 * e->max : none,
            e != NULL ? e->n_state : 0, e != NULL ? e->n_ghost : 0, p->curve.bands->k.count);
}

static void write_kpoints(FILE *out, const nh_bandplot *p)
{
    const nh_bands *b = p->curve.bands;
    const nh_kpoints *q = &b->k;
    const nh_band_errors *e = p->errors;
    const char *reference = e != NULL ? p->reference[0].bands->matrix : NULL;
    const bool bounded = b->against != NULL && reference != NULL && strcmp(b->against, reference) == 0;
    const nh_condition *c = &b->condition;
    fprintf(out, "#kpoint\tk1\tk2\tk3\tmax_difference_eV\tband\tghost\tbound_eV\ts_condition\ts_norm\th_"
                 "difference_norm_eV\n");
    for (size_t k = 0; k < q->count; k++) {
        fprintf(out, "%zu\t%.6g\t%.6g\t%.6g", k + 1, q->k[3 * k], q->k[3 * k + 1], q->k[3 * k + 2]);
        fprintf(out, "\t%.6g\t%zu\t%d", e != NULL ? e->k_max[k] : (double)NAN,
                e != NULL ? e->k_band[k] + 1 : 0, e != NULL && e->ghost[k]);
        if (bounded)
            fprintf(out, "\t%.6g\t%.6g\t%.6g\t%.6g\n", nh_condition_bound(c, k, e->shift), c->s_condition[k],
                    c->s_norm[k], c->h_norm[k]);
        else
            fprintf(out, "\tnan\tnan\tnan\tnan\n");
    }
}

/* --- JSON --- */

static void json_curve(FILE *out, const nh_bandplot *p, const nh_band_curve *c)
{
    const band_range r = bands_in_window(p, c);
    fprintf(out, "\"name\": ");
    nh_json_text(out, c->name);
    fprintf(out, ",\n  \"efermi_eV\": %.10g,\n  \"efermi_from\": ", c->efermi);
    nh_json_text(out, c->efermi_from);
    fprintf(out, ",\n  \"shift_eV\": %.10g,\n  \"band_first\": %zu,\n  \"bands_eV\": [", c->efermi - c->zero,
            r.first + 1);
    for (size_t i = r.first; i < r.end; i++) {
        fprintf(out, "%s\n    [", i > r.first ? "," : "");
        for (size_t k = 0; k < c->bands->k.count; k++) {
            if (k > 0) fprintf(out, ", ");
            nh_json_real(out, round(1e7 * energy(c, k, i)) / 1e7);
        }
        fputc(']', out);
    }
    fprintf(out, "\n  ]");
}

static void json_errors(FILE *out, const nh_bandplot *p)
{
    const nh_band_errors *e = p->errors;
    fprintf(out, ",\n  \"errors\": {\n    \"reference\": ");
    nh_json_text(out, p->reference[0].name);
    fprintf(out, ",\n    \"shift_eV\": %.10g,\n    \"mean_eV\": %.10g,\n    \"max_eV\": %.10g,\n", e->shift,
            e->mean, e->max);
    fprintf(out, "    \"states\": %zu,\n    \"up_to_eV_above_fermi\": %.10g,\n    \"band_first\": %zu,\n    ",
            e->n_state, p->top, e->first + 1);
    nh_json_reals(out, "band_mean_eV", e->n_band, e->band_mean);
    fprintf(out, ",\n    ");
    nh_json_reals(out, "band_max_eV", e->n_band, e->band_max);
    fprintf(out, ",\n    \"ghost_threshold_eV\": %.10g,\n    \"ghost_kpoints\": [", e->threshold);
    bool any = false;
    for (size_t k = 0; k < e->n_k; k++)
        if (e->ghost[k]) {
            const double *x = p->curve.bands->k.k + 3 * k;
            fprintf(out,
                    "%s\n      {\"index\": %zu, \"kpoint\": [%.10g, %.10g, %.10g], \"difference_eV\": %.10g, "
                    "\"band\": %zu}",
                    any ? "," : "", k + 1, x[0], x[1], x[2], e->k_max[k], e->k_band[k] + 1);
            any = true;
        }
    fprintf(out, "%s]\n  }", any ? "\n    " : "");
}

static void json_gap(FILE *out, const nh_bandplot *p)
{
    const nh_gap *g = &p->gap;
    fprintf(out, ",\n  \"gap\": {\"gap_eV\": %.10g, \"kind\": ", gap_size(g));
    nh_json_text(out, gap_kind(g));
    fprintf(
        out,
        ", \"vbm_eV\": %.10g, \"vbm_index\": %zu, \"cbm_eV\": %.10g, \"cbm_index\": %zu, \"occupied\": %zu}",
        g->vbm - p->curve.zero, g->k_vbm + 1, g->cbm - p->curve.zero, g->k_cbm + 1, g->occupied);
}

/* "name": one number a state, [band][k]; `stride` numbers a state in `v`, of them number `at`. */
static void json_states(FILE *out, const nh_bandplot *p, const char *name, const double *v, size_t stride,
                        size_t at)
{
    const band_range r = bands_in_window(p, &p->curve);
    nh_json_text(out, name);
    fprintf(out, ": [");
    for (size_t band = r.first; band < r.end; band++) {
        fprintf(out, "%s\n      [", band > r.first ? "," : "");
        for (size_t k = 0; k < p->curve.bands->k.count; k++) {
            if (k > 0) fprintf(out, ", ");
            nh_json_real(out, isnan(energy(&p->curve, k, band))
                                  ? (double)NAN
                                  : round(1e7 * v[state_index(p, k, band) * stride + at]) / 1e7);
        }
        fputc(']', out);
    }
    fputc(']', out);
}

static void json_weights(FILE *out, const nh_bandplot *p)
{
    static const char *const axes[] = {"x", "y", "z"};
    const nh_state_weights *w = p->states;
    if (w->n_group > 0) {
        fprintf(out, ",\n  \"projected_by\": \"%s\",\n  \"projections\": {", nh_group_kinds[w->kind]);
        for (size_t i = 0; i < w->n_group; i++) {
            fprintf(out, "%s\n    ", i > 0 ? "," : "");
            json_states(out, p, w->name[i], w->weight, w->n_group, i);
        }
        fprintf(out, "\n  }");
    }
    if (w->spin == NULL) return;
    fprintf(out, ",\n  \"spin\": {");
    for (size_t x = 0; x < 3; x++) {
        fprintf(out, "%s\n    ", x > 0 ? "," : "");
        json_states(out, p, axes[x], w->spin, 3, x);
    }
    fprintf(out, "\n  }");
}

static void write_json(FILE *out, const nh_bandplot *p)
{
    const nh_kpoints *q = &p->curve.bands->k;
    fprintf(out, "{\n  \"title\": ");
    nh_json_text(out, p->title != NULL ? p->title : "");
    fprintf(out, ",\n  \"kpoint\": [");
    for (size_t k = 0; k < q->count; k++)
        fprintf(out, "%s[%.10g, %.10g, %.10g]", k > 0 ? ", " : "", q->k[3 * k], q->k[3 * k + 1],
                q->k[3 * k + 2]);
    fprintf(out, "],\n  ");
    nh_json_reals(out, "k_distance", q->count, q->distance);
    fprintf(out, ",\n  ");
    nh_json_reals(out, "k_weight", q->count, q->weight);
    fprintf(out, ",\n  \"label\": [");
    for (size_t k = 0; k < q->count; k++) {
        if (k > 0) fprintf(out, ", ");
        nh_json_text(out, q->label[k]);
    }
    fprintf(out, "],\n  ");
    json_curve(out, p, &p->curve);
    if (p->states != NULL) json_weights(out, p);
    if (p->has_gap) json_gap(out, p);
    if (p->errors != NULL) json_errors(out, p);
    for (size_t i = 0; i < p->n_reference; i++) {
        fprintf(out, i == 0 ? ",\n  \"references\": [{\n  " : ", {\n  ");
        json_curve(out, p, &p->reference[i]);
        fprintf(out, "\n  }");
    }
    fprintf(out, "%s\n}\n", p->n_reference > 0 ? "]" : "");
}

/* --- gnuplot --- */

/* The path's Gamma has one of these names; "G" only where no other is there, being a point of its own in some lattices. */
static bool is_gamma(const nh_kpoints *q, const char *label)
{
    static const char *const gamma[] = {"GAMMA", "Gamma", "gamma", "\\Gamma", "GM", "G"};
    for (size_t i = 0; i < sizeof gamma / sizeof *gamma; i++) {
        if (strcmp(label, gamma[i]) == 0) return true;
        for (size_t k = 0; k < q->count && strcmp(label, "G") == 0; k++)
            if (strcmp(q->label[k], gamma[i]) == 0 && i + 1 < sizeof gamma / sizeof *gamma) return false;
    }
    return false;
}

/* A label as a person writes it: Γ, Σ0. */
static void plot_label(FILE *out, const nh_kpoints *q, const char *label)
{
    static const char *const greek[][2] = {{"SIGMA_", "Σ"}, {"DELTA_", "Δ"}, {"LAMBDA_", "Λ"}};
    if (is_gamma(q, label)) {
        fputs("Γ", out);
        return;
    }
    for (size_t i = 0; i < sizeof greek / sizeof *greek; i++)
        if (strncmp(label, greek[i][0], strlen(greek[i][0])) == 0) {
            fputs(greek[i][1], out);
            label += strlen(greek[i][0]);
        }
    nh_plot_text(out, label);
}

static bool same_place(const nh_kpoints *q, size_t a, size_t b)
{
    return fabs(q->distance[a] - q->distance[b]) <= 1e-9 * (1 + fabs(q->distance[a]));
}

/* True where point k follows a break of the path: another k-point, no step. */
static bool after_jump(const nh_kpoints *q, size_t k)
{
    double step = 0;
    for (size_t x = 0; x < 3 && k > 0; x++)
        step = fmax(step, fabs(q->k[3 * k + x] - q->k[3 * (k - 1) + x]));
    return k > 0 && same_place(q, k, k - 1) && step > 1e-9;
}

/* Distances where they make sense, numbers of k-points elsewhere (meshes). */
static bool by_distance(const nh_kpoints *q)
{
    return q->mode != NH_K_MESH && q->distance[q->count - 1] > q->distance[0];
}

static void plot_data(FILE *out, const nh_bandplot *p, const nh_band_curve *c, size_t number)
{
    const nh_kpoints *q = &c->bands->k;
    const band_range r = bands_in_window(p, c);
    fprintf(out, "$bands%zu << EOD\n", number);
    for (size_t k = 0; k < q->count; k++) {
        if (by_distance(q) && after_jump(q, k)) fputc('\n', out);
        if (by_distance(q))
            fprintf(out, "%.6f", q->distance[k]);
        else
            fprintf(out, "%zu", k + 1);
        for (size_t i = r.first; i < r.end; i++) {
            const double e = energy(c, k, i);
            if (isnan(e))
                fprintf(out, " NaN");
            else
                fprintf(out, " %.4f", e);
        }
        fputc('\n', out);
    }
    fprintf(out, "EOD\n");
}

/* Marks and vertical lines at labelled points; labels that fall on one place are joined, "U|K". */
static void plot_axis(FILE *out, const nh_kpoints *q)
{
    if (!by_distance(q)) {
        fprintf(out, "set xrange [0.5:%.1f]\nset xlabel 'k-point'\n", (double)q->count + 0.5);
        return;
    }
    fprintf(out, "set xrange [%.6f:%.6f]\nset xtics noenhanced (", q->distance[0], q->distance[q->count - 1]);
    bool any = false;
    for (size_t k = 0; k < q->count; k++) {
        if (q->label[k][0] == '\0') continue;
        fprintf(out, "%s'", any ? ", " : "");
        plot_label(out, q, q->label[k]);
        size_t last = k;
        while (last + 1 < q->count && q->label[last + 1][0] != '\0' && same_place(q, k, last + 1)) {
            last++;
            if (strcmp(q->label[last], q->label[last - 1]) == 0) continue;
            fputc('|', out);
            plot_label(out, q, q->label[last]);
        }
        fprintf(out, "' %.6f", q->distance[k]);
        k = last;
        any = true;
    }
    fprintf(out, ")\n");
    if (!any)
        fprintf(out, "set xtics auto\nset xlabel 'k (1/Å)'\n");
    else
        fprintf(out, "set grid xtics lt 1 lw 1 lc rgb '#b0b0b0'\n");
}

static void plot_title(FILE *out, const nh_bandplot *p)
{
    fprintf(out, "set title '");
    if (p->title != NULL) nh_plot_text(out, p->title);
    fprintf(out, "'.\"\\n\".'");
    if (p->errors != NULL) {
        nh_plot_text(out, p->curve.name);
        fprintf(out, " against ");
        nh_plot_text(out, p->reference[0].name);
        fprintf(out, ": mean %.1f meV, max %.1f meV, %zu ghost k-point%s", 1e3 * p->errors->mean,
                1e3 * p->errors->max, p->errors->n_ghost, p->errors->n_ghost == 1 ? "" : "s");
    } else if (p->has_gap) {
        fprintf(out, "gap %.3f eV (%s)", gap_size(&p->gap), gap_kind(&p->gap));
    }
    fprintf(out, "' noenhanced font ',12'\n");
}

/* --- fat bands, a density of states beside them --- */

/* The projections that are drawn, those with most of the states in the window first. */
typedef struct group_choice {
    size_t count;
    size_t group[NH_BANDPLOT_GROUPS];
    size_t colour
        [NH_BANDPLOT_GROUPS]; /* numbers of nh_plot_colour: the group's own number where there are few groups */
} group_choice;

static bool in_window(const nh_bandplot *p, double e)
{
    return e >= p->window[0] && e <= p->window[1];
}

static void choose_groups(const nh_bandplot *p, group_choice *out)
{
    const nh_state_weights *w = p->states;
    double sum[NH_BANDPLOT_GROUPS];
    *out = (group_choice){0};
    for (size_t g = 0; g < w->n_group; g++) {
        double part = 0;
        for (size_t state = 0; state < w->n_k * w->n_band; state++) {
            const double e = p->curve.bands->energy[state] - p->curve.zero;
            if (in_window(p, e)) part += fmax(0, w->weight[state * w->n_group + g]);
        }
        size_t at = out->count < NH_BANDPLOT_GROUPS ? out->count++ : NH_BANDPLOT_GROUPS;
        for (; at > 0 && sum[at - 1] < part; at--)
            if (at < NH_BANDPLOT_GROUPS) {
                sum[at] = sum[at - 1];
                out->group[at] = out->group[at - 1];
            }
        if (at == NH_BANDPLOT_GROUPS) continue;
        sum[at] = part;
        out->group[at] = g;
    }
    for (size_t i = 0; i < out->count; i++)
        out->colour[i] = w->n_group <= NH_BANDPLOT_GROUPS ? out->group[i] : i;
}

static double abscissa(const nh_kpoints *q, size_t k)
{
    return by_distance(q) ? q->distance[k] : (double)(k + 1);
}

/* Every state is a disk of rings, one for each group, whose areas are the parts of the state: the largest part is the disk in the
 * middle. All disks of one rank are drawn before the next, smaller ones, so that neighbours along the path do not hide each
 * other's middle. */
static void plot_groups(FILE *out, const nh_bandplot *p)
{
    static const double whole = 1.4,
                        least = 0.05; /* size of the disk of a whole state; smaller parts are no ring */
    const nh_state_weights *w = p->states;
    const nh_bands *b = p->curve.bands;
    group_choice chosen;
    choose_groups(p, &chosen);
    for (size_t rank = 0; rank < chosen.count; rank++)
        for (size_t state = 0; state < b->k.count * b->n_band; state++) {
            const double e = b->energy[state] - p->curve.zero, *part = w->weight + state * w->n_group;
            if (!in_window(p, e)) continue;
            double inside = 0,
                   ring = 0; /* the part of this rank and of all larger ones; of this rank alone */
            size_t colour = 0;
            for (size_t g = 0; g < chosen.count; g++) {
                const double own = part[chosen.group[g]];
                size_t smaller = 0;
                for (size_t h = 0; h < chosen.count; h++)
                    smaller += part[chosen.group[h]] < own || (h < g && part[chosen.group[h]] == own);
                if (smaller >= rank && own >= least) inside += own;
                if (smaller != rank) continue;
                ring = own;
                colour = chosen.colour[g];
            }
            if (ring >= least)
                fprintf(out, "%.6f %.4f %.3f 0x%s\n", abscissa(&b->k, state / b->n_band), e,
                        whole * sqrt(fmin(1, inside)), nh_plot_colour(colour) + 1);
        }
}

static void plot_states(FILE *out, const nh_bandplot *p)
{
    const nh_bands *b = p->curve.bands;
    /* terminals have points of different sizes, pictures different widths */
    fprintf(out, "disk = suffix eq '.svg' || suffix eq '.pdf' ? 0.5 : 1\n$states << EOD\n");
    if (p->spin_axis < 0) plot_groups(out, p);
    for (size_t k = 0; k < b->k.count && p->spin_axis >= 0; k++)
        for (size_t i = 0; i < b->n_band; i++) {
            const size_t state = k * b->n_band + i;
            const double e = b->energy[state] - p->curve.zero;
            if (in_window(p, e))
                fprintf(out, "%.6f %.4f %.4f\n", abscissa(&b->k, k), e,
                        p->states->spin[3 * state + (size_t)p->spin_axis]);
        }
    fprintf(out, "EOD\n");
    if (p->spin_axis < 0) return;
    fprintf(out,
            "set palette defined (-1 '#0072b2', 0 '#d8d8d8', 1 '#d55e00')\n"
            "set cbrange [-1:1]\n"
            "set cbtics ('<σ_%c> = -1' -1, '0' 0, '1' 1)\n",
            "xyz"[p->spin_axis]);
    if (p->dos != NULL) /* below the bands: the density of states is at their side */
        fprintf(
            out,
            "set colorbox horizontal user origin screen 0.28, screen 0.055 size screen 0.25, screen 0.018\n");
}

/* A closed outline: 0 at both ends of the window, so that gnuplot fills down to the axis. */
static void plot_dos_data(FILE *out, const nh_bandplot *p)
{
    const nh_dos_table *t = p->dos;
    double last = NAN;
    fprintf(out, "$dos << EOD\n");
    for (size_t i = 0; i < t->n; i++) {
        const double e = t->energy[i] - p->curve.zero;
        if (!in_window(p, e)) continue;
        if (isnan(last)) {
            fprintf(out, "%.6f 0", e);
            for (size_t q = 0; q < t->n_column; q++)
                fprintf(out, " 0");
            fputc('\n', out);
        }
        last = e;
        fprintf(out, "%.6f %.6g", e, t->dos[i]);
        for (size_t q = 0; q < t->n_column; q++)
            fprintf(out, " %.6g", t->column[i * t->n_column + q]);
        fputc('\n', out);
    }
    if (!isnan(last)) {
        fprintf(out, "%.6f 0", last);
        for (size_t q = 0; q < t->n_column; q++)
            fprintf(out, " 0");
        fputc('\n', out);
    }
    fprintf(out, "EOD\n");
}

/* The same colour as that of a group of the bands with this name. */
static size_t dos_colour(const nh_bandplot *p, size_t column)
{
    group_choice chosen = {0};
    if (p->states != NULL && p->spin_axis < 0) choose_groups(p, &chosen);
    for (size_t i = 0; i < chosen.count; i++)
        if (strcmp(p->states->name[chosen.group[i]], p->dos->name[column]) == 0) return chosen.colour[i];
    return column;
}

static void plot_dos(FILE *out, const nh_bandplot *p)
{
    const nh_dos_table *t = p->dos;
    double most = 0;
    for (size_t i = 0; i < t->n; i++)
        if (in_window(p, t->energy[i] - p->curve.zero)) most = fmax(most, t->dos[i]);
    fprintf(out,
            "set lmargin at screen 0.735\n"
            "set rmargin at screen 0.975\n"
            "set title ' '.\"\\n\".'density of states' font ',12'\n"
            "unset ylabel\n"
            "set format y ''\n"
            "unset grid\n"
            "unset colorbox\n"
            "set xtics auto noenhanced\n"
            "set xlabel 'electrons/eV'\n"
            "set xrange [0:%.4g]\n"
            "set key inside top right vertical samplen 1.5 width 0 font ',10' opaque\n"
            "plot 0 with lines lw 1 dt (3,3) lc rgb '#808080' notitle, \\\n"
            "  $dos using 2:1 with filledcurves closed fs solid 0.15 noborder lc rgb '#303030' notitle, \\\n"
            "  $dos using 2:1 with lines lw 1.4 lc rgb '#303030' title 'total'",
            most > 0 ? 1.06 * most : 1);
    for (size_t q = 0; q < t->n_column && q < NH_BANDPLOT_GROUPS; q++) {
        fprintf(out, ", \\\n  $dos using %zu:1 with lines lw 1.4 lc rgb '%s' title '", q + 3,
                nh_plot_colour(dos_colour(p, q)));
        nh_plot_text(out, t->name[q]);
        fprintf(out, "' noenhanced");
    }
    fprintf(out, "\nunset multiplot\n");
}

static void plot_command(FILE *out, const nh_bandplot *p)
{
    static const char *const styles[COLOURS] = {"lw 2.2 lc rgb '#303030'", "lw 1.6 lc rgb '#e69f00'",
                                                "lw 1.6 lc rgb '#009e73'", "lw 1.6 lc rgb '#cc79a7'",
                                                "lw 1.6 lc rgb '#56b4e9'"};
    const char *const own = p->states != NULL    ? "lw 0.7 lc rgb '#909090'"
                            : p->n_reference > 0 ? "lw 1.6 dt (6,4) lc rgb '#d7191c'"
                                                 : "lw 1.6 lc rgb '#2c5f9e'";
    const bool lines = by_distance(&p->curve.bands->k);
    fprintf(out, "plot 0 with lines lw 1 dt (3,3) lc rgb '#808080' notitle");
    for (size_t i = 0; i <= p->n_reference; i++) {
        /* References first, the bands in question on top of them. */
        const size_t number = i < p->n_reference ? i + 1 : 0;
        const nh_band_curve *c = number > 0 ? &p->reference[i] : &p->curve;
        const band_range r = bands_in_window(p, c);
        const char *style = number > 0 ? styles[i % COLOURS] : own;
        const char *with = lines ? "lines" : "points pt 7 ps 0.4";
        if (!lines) style = strstr(style, "lc");
        if (r.end > r.first)
            fprintf(out, ", \\\n  for [i=2:%zu] $bands%zu using 1:i with %s %s notitle", r.end - r.first + 1,
                    number, with, style);
        fprintf(out, ", \\\n  NaN with %s %s title '", with, style);
        nh_plot_text(out, c->name);
        fprintf(out, "' noenhanced");
    }
    if (p->states != NULL && p->spin_axis >= 0) {
        fprintf(out, ", \\\n  $states using 1:2:3 with points pt 7 ps 0.45*disk lc palette notitle");
    } else if (p->states != NULL) {
        group_choice chosen;
        choose_groups(p, &chosen);
        fprintf(out,
                ", \\\n  $states using 1:2:($3*disk):4 with points pt 7 ps variable lc rgb variable notitle");
        for (size_t i = 0; i < chosen.count; i++) {
            fprintf(out, ", \\\n  NaN with points pt 7 ps 1.2*disk lc rgb '%s' title '",
                    nh_plot_colour(chosen.colour[i]));
            nh_plot_text(out, p->states->name[chosen.group[i]]);
            fprintf(out, "' noenhanced");
        }
    }
    fputc('\n', out);
}

static void write_gnuplot(FILE *out, const nh_bandplot *p)
{
    nh_plot_begin(out, p->picture);
    plot_data(out, p, &p->curve, 0);
    for (size_t i = 0; i < p->n_reference; i++)
        plot_data(out, p, &p->reference[i], i + 1);
    if (p->states != NULL) plot_states(out, p);
    if (p->dos != NULL) {
        plot_dos_data(out, p);
        fprintf(out, "set multiplot\n"
                     "set lmargin at screen 0.1\n"
                     "set rmargin at screen 0.715\n"
                     "set bmargin at screen 0.14\n"
                     "set tmargin at screen 0.89\n");
    }
    plot_title(out, p);
    plot_axis(out, &p->curve.bands->k);
    if (isfinite(p->window[0]) && isfinite(p->window[1]))
        fprintf(out, "set yrange [%g:%g]\n", p->window[0], p->window[1]);
    fprintf(out, "set ylabel 'E - E_F (eV)'\n"
                 "set tics scale 0.5\n"
                 "set border lw 1\n"
                 "set key outside bottom center horizontal samplen 3 width 1\n");
    if (p->n_reference == 0 && (p->states == NULL || p->spin_axis >= 0))
        fprintf(out, "unset key\n");
    else if (p->states != NULL)
        fprintf(out, "set key font ',10' width 0 samplen 2\n"); /* many names in few lines */
    plot_command(out, p);
    if (p->dos != NULL) plot_dos(out, p);
    fprintf(out, "unset output\n");
}

void nh_bandplot_write(FILE *out, const nh_bandplot *p, nh_bandplot_format format)
{
    switch (format) {
    case NH_BANDPLOT_TSV:
        write_tsv(out, p);
        break;
    case NH_BANDPLOT_GNUPLOT:
        write_gnuplot(out, p);
        break;
    case NH_BANDPLOT_JSON:
        write_json(out, p);
        break;
    case NH_BANDPLOT_SUMMARY:
        write_summary(out, p);
        break;
    case NH_BANDPLOT_KPOINTS:
        write_kpoints(out, p);
        break;
    }
}
