#include "formats/report/dosplot.h"

#include "base/memory.h"
#include "base/stream.h"
#include "formats/report/plot.h"
#include "formats/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int nh_dos_table_new(size_t n, size_t n_column, nh_dos_table *out, nh_error *err)
{
    size_t size;
    *out = (nh_dos_table){.n = n, .n_column = n_column, .efermi = NAN};
    out->energy = NH_ARRAY(double, n);
    out->dos = NH_ARRAY(double, n);
    out->below = NH_ARRAY(double, n);
    out->name = nh_calloc(n_column, sizeof *out->name);
    if (nh_size_mul(n, n_column, &size)) out->column = NH_ARRAY(double, size);
    if (out->energy && out->dos && out->below && out->name && out->column) return 0;
    nh_dos_table_free(out);
    return nh_fail_memory(err, "the density of states");
}

void nh_dos_table_free(nh_dos_table *t)
{
    free(t->energy);
    free(t->dos);
    free(t->below);
    free(t->name);
    free(t->column);
    *t = (nh_dos_table){0};
}

const char *nh_plot_colour(size_t number)
{
    static const char *const colours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                          "#e69f00", "#56b4e9", "#f0e442"};
    return colours[number % (sizeof colours / sizeof *colours)];
}

static const char *gap_kind(const nh_gap *g)
{
    return g->cbm <= g->vbm ? "none, the bands overlap" : g->k_vbm == g->k_cbm ? "direct" : "indirect";
}

/* --- table --- */

static const char LEVEL[] = "# Fermi level: ";
static const char ABSOLUTE[] = "# energies: on the scale of the Hamiltonian";

static void tsv_edge(FILE *out, const nh_dosplot *p, const char *name, double e, size_t k)
{
    const double *x = p->k->k + 3 * k;
    fprintf(out, "# %s: %.6f eV at k-point %zu (%.6g %.6g %.6g)\n", name, e - p->zero, k + 1, x[0], x[1],
            x[2]);
}

static void tsv_facts(FILE *out, const nh_dosplot *p)
{
    const nh_dos_table *t = p->table;
    const nh_dos_level *l = p->level;
    if (p->title != NULL) fprintf(out, "# title: %s\n", p->title);
    fprintf(out, "# bands: %s\n# method: %s\n", p->name, p->method);
    if (!isnan(t->efermi)) fprintf(out, "%s%.6f eV (%s)\n", LEVEL, t->efermi, p->efermi_from);
    fprintf(out, "%s\n", p->absolute ? ABSOLUTE : "# energies: relative to the Fermi level");
    if (!isnan(p->nelec)) fprintf(out, "# electrons: %.10g\n", p->nelec);
    if (l != NULL) {
        if (l->gap.occupied > 0)
            fprintf(out, "# gap: %.6f eV (%s)\n", fmax(0, l->gap.cbm - l->gap.vbm), gap_kind(&l->gap));
        if (l->insulator) {
            tsv_edge(out, p, "valence band maximum", l->gap.vbm, l->gap.k_vbm);
            tsv_edge(out, p, "conduction band minimum", l->gap.cbm, l->gap.k_cbm);
        }
        fprintf(out, "# density of states at the Fermi level: %.6g electrons/eV\n", l->density);
        fprintf(out, "# band energy: %.6f eV\n", l->energy);
    }
    for (size_t q = 0; q < t->n_column && p->population != NULL; q++)
        fprintf(out, "# below the Fermi level, %s: %.6f\n", t->name[q], p->population[q]);
}

static void write_tsv(FILE *out, const nh_dosplot *p)
{
    const nh_dos_table *t = p->table;
    tsv_facts(out, p);
    fprintf(out, "#energy_eV\tdos\telectrons");
    for (size_t q = 0; q < t->n_column; q++)
        fprintf(out, "\t%s", t->name[q]);
    fputc('\n', out);
    for (size_t i = 0; i < t->n; i++) {
        fprintf(out, "%.6f\t%.8g\t%.10g", t->energy[i] - p->zero, t->dos[i], t->below[i]);
        for (size_t q = 0; q < t->n_column; q++)
            fprintf(out, "\t%.8g", t->column[i * t->n_column + q]);
        fputc('\n', out);
    }
}

static void write_summary(FILE *out, const nh_dosplot *p)
{
    const nh_dos_level *l = p->level;
    const bool gap = l != NULL && l->gap.occupied > 0;
    const double none = NAN;
    fprintf(
        out,
        "#title\tbands\tefermi_eV\tgap_eV\tgap_kind\tvbm_eV\tcbm_eV\tdos_at_efermi\tband_energy_eV\tnelec\n");
    fprintf(out, "%s\t%s\t%.6f\t%.6f\t%s\t%.6f\t%.6f\t%.6g\t%.6f\t%.10g\n", p->title != NULL ? p->title : "-",
            p->name, p->table->efermi, gap ? fmax(0, l->gap.cbm - l->gap.vbm) : none,
            gap ? gap_kind(&l->gap) : "-", gap ? l->gap.vbm : none, gap ? l->gap.cbm : none,
            l != NULL ? l->density : none, l != NULL ? l->energy : none, p->nelec);
}

/* --- JSON --- */

static void write_json(FILE *out, const nh_dosplot *p)
{
    const nh_dos_table *t = p->table;
    const nh_dos_level *l = p->level;
    fprintf(out, "{\n  \"title\": ");
    nh_json_text(out, p->title != NULL ? p->title : "");
    fprintf(out, ",\n  \"bands\": ");
    nh_json_text(out, p->name);
    fprintf(out, ",\n  \"method\": ");
    nh_json_text(out, p->method);
    fprintf(out, ",\n  \"efermi_eV\": ");
    nh_json_real(out, t->efermi);
    fprintf(out, ",\n  \"efermi_from\": ");
    nh_json_text(out, p->efermi_from);
    fprintf(out, ",\n  \"zero_eV\": ");
    nh_json_real(out, p->zero);
    fprintf(out, ",\n  \"nelec\": ");
    nh_json_real(out, p->nelec);
    if (l != NULL) {
        fprintf(out, ",\n  \"dos_at_efermi\": ");
        nh_json_real(out, l->density);
        fprintf(out, ",\n  \"band_energy_eV\": ");
        nh_json_real(out, l->energy);
        if (l->gap.occupied > 0)
            fprintf(
                out,
                ",\n  \"gap\": {\"gap_eV\": %.10g, \"kind\": \"%s\", \"vbm_eV\": %.10g, \"vbm_index\": %zu, "
                "\"cbm_eV\": %.10g, \"cbm_index\": %zu}",
                fmax(0, l->gap.cbm - l->gap.vbm), gap_kind(&l->gap), l->gap.vbm - p->zero, l->gap.k_vbm + 1,
                l->gap.cbm - p->zero, l->gap.k_cbm + 1);
    }
    if (p->population != NULL) {
        fprintf(out, ",\n  \"below_efermi\": {");
        for (size_t q = 0; q < t->n_column; q++) {
            if (q > 0) fprintf(out, ", ");
            nh_json_text(out, t->name[q]);
            fprintf(out, ": ");
            nh_json_real(out, p->population[q]);
        }
        fputc('}', out);
    }
    fprintf(out, ",\n  \"energy_eV\": [");
    for (size_t i = 0; i < t->n; i++)
        fprintf(out, "%s%.10g", i > 0 ? ", " : "", t->energy[i] - p->zero);
    fprintf(out, "],\n  ");
    nh_json_reals(out, "dos", t->n, t->dos);
    fprintf(out, ",\n  ");
    nh_json_reals(out, "electrons", t->n, t->below);
    fprintf(out, ",\n  \"%s\": {", t->counts ? "projected_electrons" : "projected_dos");
    for (size_t q = 0; q < t->n_column; q++) {
        fprintf(out, "%s\n    ", q > 0 ? "," : "");
        nh_json_text(out, t->name[q]);
        fprintf(out, ": [");
        for (size_t i = 0; i < t->n; i++) {
            if (i > 0) fprintf(out, ", ");
            nh_json_real(out, t->column[i * t->n_column + q]);
        }
        fputc(']', out);
    }
    fprintf(out, "%s}\n}\n", t->n_column > 0 ? "\n  " : "");
}

/* --- gnuplot --- */

static void write_gnuplot(FILE *out, const nh_dosplot *p)
{
    const nh_dos_table *t = p->table;
    nh_plot_begin(out, p->picture);
    fprintf(out, "$dos << EOD\n");
    for (size_t i = 0; i < t->n; i++) {
        fprintf(out, "%.6f %.6g", t->energy[i] - p->zero, t->counts ? t->below[i] : t->dos[i]);
        for (size_t q = 0; q < t->n_column; q++)
            fprintf(out, " %.6g", t->column[i * t->n_column + q]);
        fputc('\n', out);
    }
    fprintf(out, "EOD\nset title '");
    if (p->title != NULL) nh_plot_text(out, p->title);
    fprintf(out, "'.\"\\n\".'");
    nh_plot_text(out, p->name);
    if (p->level != NULL && p->level->gap.occupied > 0)
        fprintf(out, ", gap %.3f eV (%s)", fmax(0, p->level->gap.cbm - p->level->gap.vbm),
                gap_kind(&p->level->gap));
    fprintf(out, "' noenhanced font ',12'\n");
    double lowest = 0, highest = 0;
    for (size_t i = 0; i < t->n; i++)
        highest = fmax(highest, t->counts ? t->below[i] : t->dos[i]);
    for (size_t i = 0; i < t->n * t->n_column; i++)
        lowest = fmin(lowest, t->column[i]);
    if (lowest > -0.01 * highest)
        fprintf(out, "set yrange [0:*]\n"); /* no axis below 0 for a little negative part */
    if (isfinite(p->window[0]) && isfinite(p->window[1]))
        fprintf(out, "set xrange [%g:%g]\n", p->window[0], p->window[1]);
    fprintf(out,
            "set xlabel '%s'\n"
            "set ylabel '%s'\n"
            "set tics scale 0.5\n"
            "set border lw 1\n"
            "set xzeroaxis lt 1 lw 1 lc rgb '#808080'\n"
            "set key outside bottom center horizontal samplen 3 width 1\n",
            p->absolute ? "E (eV)" : "E - E_F (eV)",
            t->counts ? "electrons" : "density of states (electrons/eV)");
    if (!isnan(t->efermi))
        fprintf(out,
                "set arrow from first %.6f, graph 0 to first %.6f, graph 1 nohead lw 1 dt (3,3) lc rgb "
                "'#808080'\n",
                t->efermi - p->zero, t->efermi - p->zero);
    fprintf(out,
            "plot $dos using 1:2 with filledcurves y=0 fs solid 0.15 noborder lc rgb '#303030' notitle, \\\n"
            "  $dos using 1:2 with lines lw 1.6 lc rgb '#303030' title 'total'");
    for (size_t q = 0; q < t->n_column; q++) {
        fprintf(out, ", \\\n  $dos using 1:%zu with lines lw 1.6 lc rgb '%s' title '", q + 3,
                nh_plot_colour(q));
        nh_plot_text(out, t->name[q]);
        fprintf(out, "' noenhanced");
    }
    fprintf(out, "\nunset output\n");
}

void nh_dosplot_write(FILE *out, const nh_dosplot *p, nh_dosplot_format format)
{
    switch (format) {
    case NH_DOSPLOT_TSV:
        write_tsv(out, p);
        break;
    case NH_DOSPLOT_GNUPLOT:
        write_gnuplot(out, p);
        break;
    case NH_DOSPLOT_JSON:
        write_json(out, p);
        break;
    case NH_DOSPLOT_SUMMARY:
        write_summary(out, p);
        break;
    }
}

/* --- reading a table --- */

/* The names in the header line, "#energy_eV dos electrons NAME ...". */
static int read_header(const nh_text *text, char *line, nh_dos_table *t, nh_error *err)
{
    size_t room = 0;
    char *rest = line + 1, *word;
    for (size_t i = 0; (word = strsep(&rest, "\t")) != NULL; i++) {
        static const char *const known[] = {"energy_eV", "dos", "electrons"};
        if (i < 3) {
            if (strcmp(word, known[i]) != 0)
                return nh_text_fail(text, err, "column %zu is \"%s\", expected %s", i + 1, word, known[i]);
            continue;
        }
        if (!nh_grow(&t->name, &room, t->n_column + 1, sizeof *t->name))
            return nh_fail_memory(err, "the density of states");
        memset(t->name[t->n_column], 0, NH_GROUP_NAME);
        strncpy(t->name[t->n_column++], word, NH_GROUP_NAME - 1);
    }
    return 0;
}

/* One row into the arrays, which have room for row t->n. */
static int read_row(const nh_text *text, char *line, nh_dos_table *t, nh_error *err)
{
    char *rest = line, *word;
    size_t i = 0;
    for (; (word = strsep(&rest, "\t")) != NULL; i++) {
        double v;
        if (i >= 3 + t->n_column) break;
        if (nh_text_real(text, word, "number", &v, err) != 0) return -1;
        if (i == 0)
            t->energy[t->n] = v;
        else if (i == 1)
            t->dos[t->n] = v;
        else if (i == 2)
            t->below[t->n] = v;
        else
            t->column[t->n * t->n_column + i - 3] = v;
    }
    if (i != 3 + t->n_column || word != NULL)
        return nh_text_fail(text, err, "%zu columns expected", 3 + t->n_column);
    if (t->n > 0 && !(t->energy[t->n] > t->energy[t->n - 1]))
        return nh_text_fail(text, err, "energies do not ascend");
    t->n++;
    return 0;
}

static int read_lines(nh_text *text, nh_dos_table *t, nh_error *err)
{
    bool header = false, absolute = false;
    size_t room[4] = {0};
    for (char *line; (line = nh_text_line(text)) != NULL;) {
        if (*line == '\0') continue;
        if (*line != '#') {
            if (!header) return nh_text_fail(text, err, "not a table of dos: no header before the numbers");
            if (!nh_grow(&t->energy, &room[0], t->n + 1, sizeof(double)) ||
                !nh_grow(&t->dos, &room[1], t->n + 1, sizeof(double)) ||
                !nh_grow(&t->below, &room[2], t->n + 1, sizeof(double)) ||
                !nh_grow(&t->column, &room[3], (t->n + 1) * t->n_column + 1, sizeof(double)))
                return nh_fail_memory(err, "the density of states");
            if (read_row(text, line, t, err) != 0) return -1;
        } else if (strncmp(line, LEVEL, sizeof LEVEL - 1) == 0) {
            char *number = line + sizeof LEVEL - 1;
            number[strcspn(number, " ")] = '\0';
            if (nh_text_real(text, number, "Fermi level", &t->efermi, err) != 0) return -1;
        } else if (strcmp(line, ABSOLUTE) == 0) {
            absolute = true;
        } else if (line[1] != ' ') {
            if (header) return nh_text_fail(text, err, "a second header");
            header = true;
            if (read_header(text, line, t, err) != 0) return -1;
        }
    }
    if (t->n == 0) return nh_fail(err, "%s: not a table of dos: no numbers", text->name);
    if (isnan(t->efermi)) return nh_fail(err, "%s: no line with the Fermi level", text->name);
    for (size_t i = 0; i < t->n && !absolute; i++)
        t->energy[i] += t->efermi;
    return 0;
}

int nh_dos_table_read(const char *path, nh_dos_table *out, nh_error *err)
{
    char *all;
    *out = (nh_dos_table){.efermi = NAN};
    if (nh_read_text(path, NH_TEXT_LIMIT, &all, err) != 0) return -1;
    nh_text text = {.name = strcmp(path, "-") == 0 ? "(standard input)" : path, .at = all};
    const int status = read_lines(&text, out, err);
    free(all);
    if (status != 0) nh_dos_table_free(out);
    return status;
}
