#include "formats/report/optics.h"

#include "formats/report/plot.h"

#include <math.h>
#include <string.h>

enum { MEAN = 0, ALL = 10, COLOURS = 4 };

const char *const nh_optics_components[] = {"mean", "xx", "xy", "xz", "yx",  "yy",
                                            "yz",   "zx", "zy", "zz", "all", NULL};

/* One component of sigma. */
static void pick(const nh_optics_curve *c, size_t e, int component, double out[2])
{
    const double *s = c->optics.sigma + 18 * e;
    for (int x = 0; x < 2; x++)
        out[x] = component == MEAN ? (s[x] + s[8 + x] + s[16 + x]) / 3 : s[2 * (component - 1) + x];
}

static bool is_diagonal(int component)
{
    return component == MEAN || (component - 1) % 4 == 0;
}

static nh_light light_of(const nh_optics_plot *p, const nh_optics_curve *c, size_t e)
{
    double sigma[2];
    pick(c, e, p->component, sigma);
    return nh_light_of(sigma, p->energy[e], p->exact ? p->eta : 0, is_diagonal(p->component));
}

static double mean3(const double v[3])
{
    return (v[0] + v[1] + v[2]) / 3;
}

/* --- table --- */

static void facts(FILE *out, const nh_optics_plot *p)
{
    if (p->title != NULL) fprintf(out, "# title: %s\n", p->title);
    fprintf(out, "# mesh: %d x %d x %d, %s of eta = %g eV, %g K; positions: %s\n", p->mesh[0], p->mesh[1],
            p->mesh[2], p->broadening, p->eta, p->temperature, p->position);
    for (size_t i = 0; i < p->n_curve; i++) {
        const nh_optics_curve *c = &p->curve[i];
        const nh_optics *o = &c->optics;
        fprintf(out, "# %s: chemical potential %.6f eV (%s)\n", c->name, c->mu, c->mu_from);
        fprintf(out, "# %s: f-sum rule: %.4f electrons between bands, %.4f at the Fermi surface, of %g\n",
                c->name, mean3(o->effective), mean3(o->drude_electrons), c->nelec);
        fprintf(out,
                "# %s: plasma frequency of the Fermi surface (eV): xx %.4f yy %.4f zz %.4f; its Drude term "
                "is %s\n",
                c->name, sqrt(fmax(0, o->drude[0])), sqrt(fmax(0, o->drude[4])), sqrt(fmax(0, o->drude[8])),
                p->drude ? "in sigma" : "not in sigma");
    }
}

static void write_columns(FILE *out, const nh_optics_plot *p)
{
    static const char *const columns[] = {"sigma_re_S/m", "sigma_im_S/m",    "epsilon_re",  "epsilon_im", "n",
                                          "kappa",        "absorption_1/cm", "reflectivity"};
    facts(out, p);
    if (p->component != ALL) fprintf(out, "# component: %s\n", nh_optics_components[p->component]);
    fprintf(out, "#energy_eV");
    for (size_t i = 0; i < p->n_curve; i++) {
        const char *name = p->curve[i].name;
        if (p->component == ALL)
            for (int x = 1; x < ALL; x++)
                fprintf(out, "\t%s:sigma_%s_re_S/m\t%s:sigma_%s_im_S/m", name, nh_optics_components[x], name,
                        nh_optics_components[x]);
        else
            for (size_t x = 0; x < (is_diagonal(p->component) ? 8 : 4); x++)
                fprintf(out, "\t%s:%s", name, columns[x]);
    }
    fputc('\n', out);
    for (size_t e = 0; e < p->curve[0].optics.n_energy; e++) {
        fprintf(out, "%.6g", p->energy[e]);
        for (size_t i = 0; i < p->n_curve; i++) {
            const nh_optics_curve *c = &p->curve[i];
            if (p->component == ALL) {
                for (size_t x = 0; x < 18; x++)
                    fprintf(out, "\t%.8g", c->optics.sigma[18 * e + x]);
                continue;
            }
            double sigma[2];
            const nh_light l = light_of(p, c, e);
            pick(c, e, p->component, sigma);
            fprintf(out, "\t%.8g\t%.8g\t%.8g\t%.8g", sigma[0], sigma[1], l.epsilon[0], l.epsilon[1]);
            if (is_diagonal(p->component))
                fprintf(out, "\t%.8g\t%.8g\t%.8g\t%.8g", l.n, l.kappa, l.absorption, l.reflectivity);
        }
        fputc('\n', out);
    }
}

/* --- JSON --- */

/* n numbers, `stride` apart. */
static void json_reals(FILE *out, const char *name, size_t n, const double *v, size_t stride)
{
    fprintf(out, "\"%s\": [", name);
    for (size_t i = 0; i < n; i++) {
        if (i > 0) fprintf(out, ", ");
        nh_json_real(out, v[i * stride]);
    }
    fputc(']', out);
}

static void json_curve(FILE *out, const nh_optics_plot *p, const nh_optics_curve *c)
{
    const nh_optics *o = &c->optics;
    fprintf(out, "    {\"matrix\": ");
    nh_json_text(out, c->name);
    fprintf(out, ", \"chemical_potential_eV\": %.10g, \"chemical_potential_from\": ", c->mu);
    nh_json_text(out, c->mu_from);
    fprintf(out, ", \"electrons\": ");
    nh_json_real(out, c->nelec);
    fprintf(out, ",\n     ");
    json_reals(out, "f_sum_interband_electrons", 3, o->effective, 1);
    fprintf(out, ", ");
    json_reals(out, "f_sum_drude_electrons", 3, o->drude_electrons, 1);
    fprintf(out, ", ");
    json_reals(out, "drude_weight_eV2", 9, o->drude, 1);
    for (int x = 1; x < ALL; x++) {
        char name[32];
        for (size_t part = 0; part < 2; part++) {
            snprintf(name, sizeof name, "sigma_%s_%s", nh_optics_components[x], part == 0 ? "re" : "im");
            fprintf(out, ",\n     ");
            json_reals(out, name, o->n_energy, o->sigma + 2 * (size_t)(x - 1) + part, 18);
        }
    }
    if (p->component != ALL) {
        static const char *const names[] = {"epsilon_re", "epsilon_im",      "n",
                                            "kappa",      "absorption_1/cm", "reflectivity"};
        for (size_t x = 0; x < (is_diagonal(p->component) ? 6 : 2); x++) {
            fprintf(out, ",\n     \"%s\": [", names[x]);
            for (size_t e = 0; e < o->n_energy; e++) {
                const nh_light l = light_of(p, c, e);
                const double v[] = {l.epsilon[0], l.epsilon[1], l.n, l.kappa, l.absorption, l.reflectivity};
                if (e > 0) fprintf(out, ", ");
                nh_json_real(out, v[x]);
            }
            fputc(']', out);
        }
    }
    fputc('}', out);
}

static void write_json(FILE *out, const nh_optics_plot *p)
{
    fprintf(out, "{\n  \"title\": ");
    nh_json_text(out, p->title != NULL ? p->title : "");
    fprintf(out,
            ",\n  \"units\": {\"energy\": \"eV\", \"sigma\": \"S/m\", \"absorption\": \"1/cm\"},\n  "
            "\"mesh\": [%d, %d, %d],\n",
            p->mesh[0], p->mesh[1], p->mesh[2]);
    fprintf(out, "  \"eta_eV\": %.10g, \"broadening\": ", p->eta);
    nh_json_text(out, p->broadening);
    fprintf(out, ", \"temperature_K\": %.10g, \"position\": ", p->temperature);
    nh_json_text(out, p->position);
    fprintf(out, ",\n  \"drude_in_sigma\": %s, \"component\": ", p->drude ? "true" : "false");
    nh_json_text(out, nh_optics_components[p->component]);
    fprintf(out, ",\n  ");
    json_reals(out, "energy", p->curve[0].optics.n_energy, p->energy, 1);
    fprintf(out, ",\n  \"curves\": [\n");
    for (size_t i = 0; i < p->n_curve; i++) {
        json_curve(out, p, &p->curve[i]);
        fprintf(out, "%s\n", i + 1 < p->n_curve ? "," : "");
    }
    fprintf(out, "  ]\n}\n");
}

/* --- gnuplot --- */

/* In single quotes, where only the quote itself is special. A line break would end the string. */
static void plot_text(FILE *out, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '\'')
            fprintf(out, "''");
        else
            fputc((unsigned char)*c < ' ' ? ' ' : *c, out);
    }
}

static const char *legend(const char *matrix)
{
    return strcmp(matrix, "h0") == 0        ? "H0"
           : strcmp(matrix, "h_label") == 0 ? "self-consistent"
           : strcmp(matrix, "h_pred") == 0  ? "prediction"
                                            : matrix;
}

static void plot_lines(FILE *out, const nh_optics_plot *p, int column)
{
    static const char *const styles[COLOURS] = {"lw 2.2 lc rgb '#303030'", "lw 1.8 lc rgb '#e69f00'",
                                                "lw 1.8 dt (6,4) lc rgb '#d7191c'",
                                                "lw 1.8 lc rgb '#2c5f9e'"};
    fprintf(out, "plot 0 with lines lw 1 dt (3,3) lc rgb '#808080' notitle");
    for (size_t i = 0; i < p->n_curve; i++) {
        const char *name = p->curve[i].name;
        const char *style = styles[strcmp(name, "h_label") == 0  ? 0
                                   : strcmp(name, "h0") == 0     ? 1
                                   : strcmp(name, "h_pred") == 0 ? 2
                                                                 : 3];
        fprintf(out, ", \\\n  $curve%zu using 1:%d with lines %s title '", i, column, style);
        plot_text(out, legend(name));
        fprintf(out, "' noenhanced");
    }
    fputc('\n', out);
}

static void write_gnuplot(FILE *out, const nh_optics_plot *p)
{
    const char *const which = p->component == MEAN ? "" : nh_optics_components[p->component];
    fprintf(out, "# gnuplot FILE writes the picture; gnuplot -e \"picture='other.svg'\" FILE another one "
                 "(.png, .svg, .pdf).\n"
                 "if (!exists('picture')) picture = '");
    plot_text(out, p->picture);
    fprintf(out, "'\n"
                 "suffix = strlen(picture) > 4 ? picture[strlen(picture)-3:] : ''\n"
                 "set encoding utf8\n"
                 "if (suffix eq '.svg') {\n"
                 "  set terminal svg size 900,760 dynamic font 'sans,13' background rgb 'white'\n"
                 "} else { if (suffix eq '.pdf') {\n"
                 "  set terminal pdfcairo size 15cm,12.7cm font 'sans,10'\n"
                 "} else { if (strstrt(GPVAL_TERMINALS, 'pngcairo') > 0) {\n"
                 "  set terminal pngcairo size 1350,1140 font 'sans,13' fontscale 1.5 linewidth 1.5\n"
                 "} else {\n"
                 "  set terminal png size 1350,1140 large\n"
                 "}}}\n"
                 "set output picture\n");
    for (size_t i = 0; i < p->n_curve; i++) {
        fprintf(out, "$curve%zu << EOD\n", i);
        for (size_t e = 0; e < p->curve[i].optics.n_energy; e++) {
            double sigma[2];
            pick(&p->curve[i], e, p->component, sigma);
            fprintf(out, "%.6g %.6g %.6g\n", p->energy[e], 1e-6 * sigma[0], 1e-6 * sigma[1]);
        }
        fprintf(out, "EOD\n");
    }
    fprintf(out, "set multiplot layout 2,1 title '");
    if (p->title != NULL) plot_text(out, p->title);
    fprintf(out,
            "' noenhanced font ',14'\n"
            "set lmargin 11\nset rmargin 3\nset tics scale 0.5\nset border lw 1\nset xrange [%.6g:%.6g]\n"
            "set key top left reverse Left samplen 3\n"
            "set format x ''\nset bmargin 0.6\nset tmargin 2.2\n"
            "set ylabel 'Re σ%s%s (10^{6} S/m)'\n",
            p->energy[0], p->energy[p->curve[0].optics.n_energy - 1], *which != '\0' ? " " : "", which);
    plot_lines(out, p, 2);
    fprintf(out,
            "set format x '%%g'\nset bmargin 3.4\nset tmargin 0.6\nunset key\n"
            "set xlabel 'photon energy (eV)'\nset ylabel 'Im σ%s%s (10^{6} S/m)'\n",
            *which != '\0' ? " " : "", which);
    plot_lines(out, p, 3);
    fprintf(out, "unset multiplot\nunset output\n");
}

void nh_optics_write(FILE *out, const nh_optics_plot *p, nh_optics_format format)
{
    if (format == NH_OPTICS_COLUMNS)
        write_columns(out, p);
    else if (format == NH_OPTICS_JSON)
        write_json(out, p);
    else
        write_gnuplot(out, p);
}
