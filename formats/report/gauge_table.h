/* gauge_table.h - the table of Gauge MAE: means over structures, as text or JSON, in meV. */
#ifndef NH_FORMATS_REPORT_GAUGE_TABLE_H
#define NH_FORMATS_REPORT_GAUGE_TABLE_H

#include "crystal/gauge.h"

#include <stdbool.h>
#include <stdio.h>

typedef enum nh_gauge_by {
    NH_GAUGE_BY_SPIN,
    NH_GAUGE_BY_ELEMENT, /* the overall numbers of the structures that contain it */
    NH_GAUGE_BY_DISTANCE,
    NH_GAUGE_BY_SHELL,
    NH_GAUGE_BY_PAIR /* one structure only */
} nh_gauge_by;

/* What is compared with the reference, in the order of the table. */
typedef enum nh_gauge_subject {
    NH_GAUGE_ZERO,
    NH_GAUGE_H0,
    NH_GAUGE_PREDICTION,
    NH_GAUGE_FLOOR,
    NH_GAUGE_N_SUBJECT
} nh_gauge_subject;

extern const char *const nh_gauge_rule_names[]; /* "l1", "l2", NULL */
extern const char *const nh_gauge_by_names[];   /* "spin", ..., NULL */

typedef struct nh_gauge_tally { /* sums over structures */
    size_t n_structure, n_elem;
    double mae[NH_GAUGE_N_PART], mu[NH_GAUGE_N_PART]; /* eV */
} nh_gauge_tally;

typedef struct nh_gauge_table {
    const char *reference, *prediction; /* names of the matrices */
    nh_gauge_rule rule;
    nh_gauge_by by;
    bool all_pairs;
    /* private */
    size_t n_structure, n_group;
    size_t seen[NH_GAUGE_N_SUBJECT]; /* structures that have it */
    nh_gauge_tally *row;             /* [NH_GAUGE_N_SUBJECT][n_group]; owned */
    char **name;                     /* [n_group] by pair: "Ga1-As2(0,0,-1)"; owned */
} nh_gauge_table;

/* The next structure: nh_gauge_table_add follows for each subject that it has. The first five members are set, the others
 * zero at first. Error: a second structure in a table by pair. */
int nh_gauge_table_begin(nh_gauge_table *t, const nh_graph *g, size_t n_pair, const size_t *pair,
                         nh_error *err);
int nh_gauge_table_add(nh_gauge_table *t, nh_gauge_subject x, const nh_gauge *q, nh_error *err);
/* Empties it; the first five members stay. */
void nh_gauge_table_clear(nh_gauge_table *t);

const char *nh_gauge_subject_name(const nh_gauge_table *t, nh_gauge_subject x);
/* `each`: tables of single structures follow, their rows with the name of a file in a last column. */
void nh_gauge_table_header(FILE *out, const nh_gauge_table *t, bool each);
void nh_gauge_table_rows(FILE *out, const nh_gauge_table *t, const char *file); /* file: NULL without */
void nh_gauge_table_json(FILE *out, const nh_gauge_table *t);

#endif
