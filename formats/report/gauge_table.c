#include "formats/report/gauge_table.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_DISTANCE = 5, N_ELEMENT = 128, NAME_SIZE = 64 };
/* Å; the network's ranges and the rest */
static const double DISTANCE[N_DISTANCE + 1] = {0, 1, 2, 4, 6, INFINITY};

const char *const nh_gauge_rule_names[] = {"l1", "l2", NULL};
const char *const nh_gauge_by_names[] = {"spin", "element", "distance", "shell", "pair", NULL};

/* --- filling it --- */

void nh_gauge_table_clear(nh_gauge_table *t)
{
    for (size_t i = 0; t->name != NULL && i < t->n_group; i++)
        free(t->name[i]);
    free(t->name);
    free(t->row);
    *t = (nh_gauge_table){.reference = t->reference,
                          .prediction = t->prediction,
                          .rule = t->rule,
                          .by = t->by,
                          .all_pairs = t->all_pairs};
}

static size_t group_count(nh_gauge_by by, size_t n_pair)
{
    switch (by) {
    case NH_GAUGE_BY_SPIN:
        return NH_GAUGE_N_REGION;
    case NH_GAUGE_BY_ELEMENT:
        return N_ELEMENT;
    case NH_GAUGE_BY_DISTANCE:
        return N_DISTANCE;
    case NH_GAUGE_BY_SHELL:
        return NH_GAUGE_MAX_L * NH_GAUGE_MAX_L;
    case NH_GAUGE_BY_PAIR:
        break;
    }
    return n_pair;
}

/* "Ga1-As2(0,0,-1)": atoms counted from 1, the cell of the second. */
static char *pair_name(const nh_graph *g, size_t pair)
{
    const nh_structure *s = &g->structure;
    const nh_pair *p = &g->pairs.pair[pair];
    const char *a = nh_element_symbol(s->atomic_number[s->species[p->src]]),
               *b = nh_element_symbol(s->atomic_number[s->species[p->dst]]);
    char name[NAME_SIZE];
    snprintf(name, sizeof name, "%s%d-%s%d(%d,%d,%d)", a != NULL ? a : "X", p->src + 1, b != NULL ? b : "X",
             p->dst + 1, p->cell[0], p->cell[1], p->cell[2]);
    return nh_strdup(name);
}

int nh_gauge_table_begin(nh_gauge_table *t, const nh_graph *g, size_t n_pair, const size_t *pair,
                         nh_error *err)
{
    if (t->by == NH_GAUGE_BY_PAIR && t->n_structure > 0)
        return nh_fail(err,
                       "--by pair: pairs of different structures have no mean: one structure, or --each");
    t->n_structure++;
    if (t->row != NULL) return 0;
    size_t room;
    t->n_group = group_count(t->by, n_pair);
    if (nh_size_mul(t->n_group, NH_GAUGE_N_SUBJECT, &room)) t->row = NH_ARRAY(nh_gauge_tally, room);
    if (t->row == NULL) return nh_fail_memory(err, "table");
    if (t->by != NH_GAUGE_BY_PAIR) return 0;
    t->name = NH_ARRAY(char *, t->n_group);
    if (t->name == NULL) return nh_fail_memory(err, "table");
    for (size_t i = 0; i < n_pair; i++)
        if ((t->name[i] = pair_name(g, pair[i])) == NULL) return nh_fail_memory(err, "table");
    return 0;
}

static void tally_add(nh_gauge_tally *t, const nh_gauge_row *row)
{
    if (row->n_elem == 0) return;
    t->n_structure++;
    t->n_elem += row->n_elem;
    for (int p = 0; p < NH_GAUGE_N_PART; p++) {
        t->mae[p] += row->part[p].mae;
        t->mu[p] += row->part[p].mu;
    }
}

static void tally_elements(nh_gauge_tally *t, const nh_structure *s, const nh_gauge_row *overall)
{
    bool there[N_ELEMENT] = {false};
    for (size_t i = 0; i < s->n_atom; i++) {
        const int z = s->atomic_number[s->species[i]];
        if (z < 0 || z >= N_ELEMENT || there[z]) continue;
        there[z] = true;
        tally_add(&t[z], overall);
    }
}

static int find_rows(const nh_gauge_table *t, const nh_gauge *q, nh_gauge_row *row, nh_error *err)
{
    switch (t->by) {
    case NH_GAUGE_BY_SPIN:
    case NH_GAUGE_BY_ELEMENT:
        return nh_gauge_by_spin(q, row, err);
    case NH_GAUGE_BY_DISTANCE:
        return nh_gauge_by_distance(q, N_DISTANCE, DISTANCE, row, err);
    case NH_GAUGE_BY_SHELL:
        return nh_gauge_by_shell(q, row, err);
    case NH_GAUGE_BY_PAIR:
        break;
    }
    return nh_gauge_by_pair(q, row, err);
}

int nh_gauge_table_add(nh_gauge_table *t, nh_gauge_subject x, const nh_gauge *q, nh_error *err)
{
    nh_gauge_tally *to = t->row + (size_t)x * t->n_group;
    nh_gauge_row *row = NH_ARRAY(nh_gauge_row, t->n_group);
    if (row == NULL) return nh_fail_memory(err, "table");
    const int status = find_rows(t, q, row, err);
    if (status == 0 && t->by == NH_GAUGE_BY_ELEMENT)
        tally_elements(to, &q->graph->structure, &row[NH_GAUGE_OVERALL]);
    for (size_t i = 0; status == 0 && t->by != NH_GAUGE_BY_ELEMENT && i < t->n_group; i++)
        tally_add(&to[i], &row[i]);
    free(row);
    if (status == 0) t->seen[x]++;
    return status;
}

/* --- printing it --- */

const char *nh_gauge_subject_name(const nh_gauge_table *t, nh_gauge_subject x)
{
    return x == NH_GAUGE_ZERO    ? "0"
           : x == NH_GAUGE_FLOOR ? "floor"
           : x == NH_GAUGE_H0    ? nh_matrix_name(NH_H0)
                                 : t->prediction;
}

static void group_name(const nh_gauge_table *t, size_t i, char out[NAME_SIZE])
{
    static const char *const region[NH_GAUGE_N_REGION] = {"uu", "ud", "du", "dd", "overall"};
    static const char letter[NH_GAUGE_MAX_L + 1] = "spdfghiklmnoqrtu";
    switch (t->by) {
    case NH_GAUGE_BY_SPIN:
        snprintf(out, NAME_SIZE, "%s", region[i]);
        break;
    case NH_GAUGE_BY_ELEMENT: {
        const char *symbol = nh_element_symbol((int)i);
        if (symbol != NULL)
            snprintf(out, NAME_SIZE, "%s", symbol);
        else
            snprintf(out, NAME_SIZE, "Z%zu", i);
        break;
    }
    case NH_GAUGE_BY_DISTANCE:
        snprintf(out, NAME_SIZE, "[%g,%g)", DISTANCE[i], DISTANCE[i + 1]);
        break;
    case NH_GAUGE_BY_SHELL:
        snprintf(out, NAME_SIZE, "%c%c", letter[i / NH_GAUGE_MAX_L], letter[i % NH_GAUGE_MAX_L]);
        break;
    case NH_GAUGE_BY_PAIR:
        snprintf(out, NAME_SIZE, "%s", t->name[i]);
        break;
    }
}

/* Rows that stand in the table though no structure has elements there. */
static bool is_shown(const nh_gauge_table *t, const nh_gauge_tally *r)
{
    return r->n_structure > 0 || t->by == NH_GAUGE_BY_DISTANCE;
}

static double mean_meV(const nh_gauge_tally *t, double sum)
{
    return t->n_structure > 0 ? 1e3 * sum / (double)t->n_structure : (double)NAN;
}

static const char *rule_text(const nh_gauge_table *t)
{
    if (t->rule == NH_GAUGE_L2) return "mu: least squares over the complex matrix, one for all numbers";
    return t->by == NH_GAUGE_BY_DISTANCE || t->by == NH_GAUGE_BY_SHELL || t->by == NH_GAUGE_BY_PAIR
               ? "mu: minimum of the overall mean modulus, one for all rows"
               : "mu: minimum of each mean by itself";
}

void nh_gauge_table_header(FILE *out, const nh_gauge_table *t, bool each)
{
    static const char *const title[] = {"region", "element", "distance", "shells", "pair"};
    char count[64];
    if (each)
        snprintf(count, sizeof count, "each structure by itself");
    else
        snprintf(count, sizeof count, "mean over structures: %zu", t->n_structure);
    fprintf(out, "# Gauge MAE in meV against %s; %s; pairs: %s; %s (--mu %s)\n", t->reference, count,
            t->all_pairs ? "all" : "within the cutoff", rule_text(t), nh_gauge_rule_names[t->rule]);
    fprintf(out, "# real, imaginary: mean |Re|, |Im| of A - H - mu S; complex: mean modulus; mu in meV\n");
    fprintf(out, "#%-7s %-8s %10s %10s %14s %14s %14s %16s %16s%s\n", "matrix", title[t->by], "structures",
            "elements", "real", "imaginary", "complex", "mu_real", "mu_complex", each ? " file" : "");
}

void nh_gauge_table_rows(FILE *out, const nh_gauge_table *t, const char *file)
{
    for (int x = 0; x < NH_GAUGE_N_SUBJECT; x++) {
        if (t->seen[x] == 0) continue;
        for (size_t i = 0; i < t->n_group; i++) {
            const nh_gauge_tally *r = &t->row[(size_t)x * t->n_group + i];
            if (!is_shown(t, r)) continue;
            char name[NAME_SIZE];
            group_name(t, i, name);
            fprintf(out, "%-8s %-8s %10zu %10zu %14.6f %14.6f %14.6f %16.6f %16.6f%s%s\n",
                    nh_gauge_subject_name(t, (nh_gauge_subject)x), name, r->n_structure, r->n_elem,
                    mean_meV(r, r->mae[NH_GAUGE_REAL]), mean_meV(r, r->mae[NH_GAUGE_IMAGINARY]),
                    mean_meV(r, r->mae[NH_GAUGE_COMPLEX]), mean_meV(r, r->mu[NH_GAUGE_REAL]),
                    mean_meV(r, r->mu[NH_GAUGE_COMPLEX]), file != NULL ? " " : "", file != NULL ? file : "");
        }
    }
}

static void print_number(FILE *out, const char *key, double value)
{
    if (isfinite(value))
        fprintf(out, ", \"%s\": %.17g", key, value);
    else
        fprintf(out, ", \"%s\": null", key);
}

void nh_gauge_table_json(FILE *out, const nh_gauge_table *t)
{
    fprintf(out,
            "{\"reference\": \"%s\", \"mu\": \"%s\", \"pairs\": \"%s\", \"by\": \"%s\", \"structures\": "
            "%zu,\n \"matrices\": {",
            t->reference, nh_gauge_rule_names[t->rule], t->all_pairs ? "all" : "cutoff",
            nh_gauge_by_names[t->by], t->n_structure);
    for (int x = 0, n = 0; x < NH_GAUGE_N_SUBJECT; x++) {
        if (t->seen[x] == 0) continue;
        fprintf(out, "%s\n  \"%s\": {", n++ > 0 ? "," : "", nh_gauge_subject_name(t, (nh_gauge_subject)x));
        int rows = 0;
        for (size_t i = 0; i < t->n_group; i++) {
            const nh_gauge_tally *r = &t->row[(size_t)x * t->n_group + i];
            if (!is_shown(t, r)) continue;
            char name[NAME_SIZE];
            group_name(t, i, name);
            fprintf(out, "%s\n   \"%s\": {\"structures\": %zu, \"elements\": %zu", rows++ > 0 ? "," : "",
                    name, r->n_structure, r->n_elem);
            print_number(out, "real_meV", mean_meV(r, r->mae[NH_GAUGE_REAL]));
            print_number(out, "imaginary_meV", mean_meV(r, r->mae[NH_GAUGE_IMAGINARY]));
            print_number(out, "complex_meV", mean_meV(r, r->mae[NH_GAUGE_COMPLEX]));
            print_number(out, "mu_real_meV", mean_meV(r, r->mu[NH_GAUGE_REAL]));
            print_number(out, "mu_meV", mean_meV(r, r->mu[NH_GAUGE_COMPLEX]));
            fputc('}', out);
        }
        fputc('}', out);
    }
    fputs("}}\n", out);
}
