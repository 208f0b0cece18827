/* plot.h - what the writers of JSON and of scripts for gnuplot share. */
#ifndef NH_FORMATS_REPORT_PLOT_H
#define NH_FORMATS_REPORT_PLOT_H

#include <stddef.h>
#include <stdio.h>

/* JSON: a string; a number, null where it is not finite; "name": [numbers]. */
void nh_json_text(FILE *out, const char *text);
void nh_json_real(FILE *out, double v);
void nh_json_reals(FILE *out, const char *name, size_t n, const double *v);

/* gnuplot: text for single quotes, where only the quote itself is special. A line break would end the string. */
void nh_plot_text(FILE *out, const char *text);
/* The beginning of a script: what the picture is, by its suffix (.png, .svg, .pdf). */
void nh_plot_begin(FILE *out, const char *picture);

#endif
