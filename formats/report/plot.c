#include "formats/report/plot.h"

#include <math.h>

void nh_json_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            fprintf(out, "\\%c", *c);
        else if ((unsigned char)*c < ' ')
            fprintf(out, "\\u%04x", (unsigned)(unsigned char)*c);
        else
            fputc(*c, out);
    }
    fputc('"', out);
}

void nh_json_real(FILE *out, double v)
{
    if (isfinite(v))
        fprintf(out, "%.10g", v);
    else
        fprintf(out, "null");
}

void nh_json_reals(FILE *out, const char *name, size_t n, const double *v)
{
    fprintf(out, "\"%s\": [", name);
    for (size_t i = 0; i < n; i++) {
        if (i > 0) fprintf(out, ", ");
        nh_json_real(out, v[i]);
    }
    fputc(']', out);
}

void nh_plot_text(FILE *out, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '\'')
            fprintf(out, "''");
        else
            fputc((unsigned char)*c < ' ' ? ' ' : *c, out);
    }
}

void nh_plot_begin(FILE *out, const char *picture)
{
    fprintf(out, "# gnuplot FILE writes the picture; gnuplot -e \"picture='other.svg'\" FILE another one "
                 "(.png, .svg, .pdf).\n");
    fprintf(out, "if (!exists('picture')) picture = '");
    nh_plot_text(out, picture);
    fprintf(out, "'\n"
                 "suffix = strlen(picture) > 4 ? picture[strlen(picture)-3:] : ''\n"
                 "set encoding utf8\n"
                 "if (suffix eq '.svg') {\n"
                 "  set terminal svg size 900,680 dynamic font 'sans,13' background rgb 'white'\n"
                 "} else { if (suffix eq '.pdf') {\n"
                 "  set terminal pdfcairo size 15cm,11.3cm font 'sans,10'\n"
                 "} else { if (strstrt(GPVAL_TERMINALS, 'pngcairo') > 0) {\n"
                 "  set terminal pngcairo size 1350,1020 font 'sans,13' fontscale 1.5 linewidth 1.5\n"
                 "} else {\n"
                 "  set terminal png size 1350,1020 large\n"
                 "}}}\n"
                 "set output picture\n"
                 "set datafile missing 'NaN'\n");
}
