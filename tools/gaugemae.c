/* gaugemae - two Hamiltonians in, their gauge-free distance out. */
#include "base/memory.h"
#include "base/options.h"
#include "base/outfile.h"
#include "base/stream.h"
#include "crystal/gauge.h"
#include "ensemble/floor.h"
#include "formats/graph.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum by { BY_SPIN, BY_ELEMENT, BY_DISTANCE, BY_SHELL, BY_PAIR } by;

enum { CONFIG_LIMIT = 1 << 20, N_DISTANCE = 5, N_ELEMENT = 128, NAME_SIZE = 64 };
static const double DISTANCE[N_DISTANCE + 1] = {0, 1, 2,
                                                4, 6, INFINITY}; /* Å; the network's ranges and the rest */

static const char *const RULES[] = {"l1", "l2", NULL};
static const char *const GROUPINGS[] = {"spin", "element", "distance", "shell", "pair", NULL};

/* What is compared with the reference, in this order. */
typedef enum subject { ZERO, ZEROTH_STEP, PREDICTION, FLOOR, N_SUBJECT } subject;

typedef struct settings {
    const char *pred_name, *ref_name;
    nh_matrix pred, ref;
    bool pred_given, all_pairs, paired, json, each;
    int rule, grouping; /* nh_gauge_rule, by */
    const char *floor_path;
    const nh_config *floor; /* NULL: no such rows */
} settings;

/* Sums over structures. */
typedef struct tally {
    size_t n_structure, n_elem;
    double mae[NH_GAUGE_N_PART], mu[NH_GAUGE_N_PART]; /* eV */
} tally;

typedef struct table {
    size_t n_structure;
    size_t seen[N_SUBJECT];       /* structures that have it */
    const char *first[N_SUBJECT]; /* the first file that has it */
    size_t n_group;
    tally *row;              /* [N_SUBJECT][n_group]; owned */
    char (*name)[NAME_SIZE]; /* [n_group] by pair: "Ga1-As2(0,0,-1)"; owned */
} table;

/* Empty, with room for `n_group` rows of each subject. */
static int table_new(size_t n_group, bool names, table *t, nh_error *err)
{
    size_t room;
    *t = (table){.n_group = n_group};
    if (nh_size_mul(n_group, N_SUBJECT, &room)) t->row = NH_ARRAY(tally, room);
    if (t->row != NULL && names) t->name = calloc(n_group, sizeof *t->name);
    return t->row != NULL && (!names || t->name != NULL) ? 0 : nh_fail_memory(err, "table");
}

static void table_free(table *t)
{
    free(t->row);
    free(t->name);
    *t = (table){0};
}

/* --- one structure --- */

/* The matrices of one comparison, in the layout of `graph`. */
typedef struct input {
    nh_graph *graph;   /* of the first file */
    nh_graph *second;  /* of the reference's file; NULL where it is the same */
    double *floor;     /* owned; NULL where it is not asked for */
    double *reference; /* owned copy in the first file's layout; NULL where the first file has it */
    const double *matrix[N_SUBJECT];
    bool has[N_SUBJECT];
    size_t n_pair, *pair;
} input;

static void input_free(input *in)
{
    nh_graph_free(in->graph);
    nh_graph_free(in->second);
    free(in->reference);
    free(in->floor);
    free(in->pair);
}

static int count_pairs(const settings *set, input *in, const char *file, nh_error *err)
{
    const nh_graph *g = in->graph;
    in->pair = NH_ARRAY(size_t, g->pairs.count);
    if (in->pair == NULL) return nh_fail_memory(err, "pairs that count");
    in->n_pair = nh_graph_edges(g, set->all_pairs ? INFINITY : g->cutoff, in->pair);
    return in->n_pair > 0 ? 0 : nh_fail(err, "%s: no pairs within the cutoff of %g Å", file, g->cutoff);
}

/* Takes from the reference's file the reference, and S and H0 where the first file lacks them. */
static int read_second(const settings *set, const nh_nc *f, input *in, nh_error *err)
{
    nh_graph *g = in->graph;
    const unsigned reference = 1u << set->ref;
    unsigned want = reference;
    if (g->overlap == NULL) want |= NH_WANT_OVERLAP;
    if (g->matrix[NH_H0] == NULL) want |= NH_WANT_H0;
    if (nh_graph_read(f, want, &in->second, err)) return -1;
    const nh_graph *h = in->second;
    if (nh_graph_require(h, nh_nc_name(f), reference, err)) return -1;
    int failure = nh_gauge_align(g, h, h->matrix[set->ref], false, in->n_pair, in->pair, &in->reference, err);
    if (!failure && g->overlap == NULL && h->overlap != NULL)
        failure = nh_gauge_align(g, h, h->overlap, true, in->n_pair, in->pair, &g->overlap, err);
    if (!failure && g->matrix[NH_H0] == NULL && h->matrix[NH_H0] != NULL)
        failure = nh_gauge_align(g, h, h->matrix[NH_H0], false, in->n_pair, in->pair, &g->matrix[NH_H0], err);
    return failure ? nh_fail_at(err, "%s", nh_nc_name(f)) : 0;
}

static const double *reference_of(const settings *set, const input *in)
{
    return in->reference != NULL ? in->reference : in->graph->matrix[set->ref];
}

/* `second` is NULL where the file holds the reference itself. */
static int input_read(const settings *set, const nh_nc *first, const nh_nc *second, input *in, nh_error *err)
{
    *in = (input){0};
    const unsigned prediction = 1u << set->pred, reference = 1u << set->ref;
    const unsigned want = NH_WANT_OVERLAP | NH_WANT_H0 | prediction | (second == NULL ? reference : 0);
    const char *name = nh_nc_name(first);
    if (nh_graph_read(first, want, &in->graph, err)) return -1;
    nh_graph *g = in->graph;
    if (count_pairs(set, in, name, err)) return -1;
    if (second != NULL && read_second(set, second, in, err)) return -1;
    if (nh_graph_require(
            g, name, NH_WANT_OVERLAP | (second == NULL ? reference : 0) | (set->pred_given ? prediction : 0),
            err))
        return -1;
    /* what would be compared with itself is left out */
    const bool other = second != NULL;
    in->has[ZERO] = true;
    in->has[ZEROTH_STEP] = g->matrix[NH_H0] != NULL && (other || set->ref != NH_H0);
    in->has[PREDICTION] =
        set->pred != NH_H0 && g->matrix[set->pred] != NULL && (other || set->ref != set->pred);
    in->matrix[ZEROTH_STEP] = g->matrix[NH_H0];
    in->matrix[PREDICTION] = g->matrix[set->pred];
    if (set->floor == NULL) return 0;
    if (nh_graph_require(g, name, nh_config_needs_h0(set->floor) ? NH_WANT_H0 : 0, err)) return -1;
    if (nh_floor(set->floor, g, g->matrix[NH_H0], reference_of(set, in), in->n_pair, in->pair, &in->floor,
                 err))
        return nh_fail_at(err, "%s: --floor", name);
    in->has[FLOOR] = true;
    in->matrix[FLOOR] = in->floor;
    return 0;
}

static void tally_add(tally *t, const nh_gauge_row *row)
{
    if (row->n_elem == 0) return;
    t->n_structure++;
    t->n_elem += row->n_elem;
    for (int p = 0; p < NH_GAUGE_N_PART; p++) {
        t->mae[p] += row->part[p].mae;
        t->mu[p] += row->part[p].mu;
    }
}

static void tally_elements(tally *t, const nh_structure *s, const nh_gauge_row *overall)
{
    bool there[N_ELEMENT] = {false};
    for (size_t i = 0; i < s->n_atom; i++) {
        const int z = s->atomic_number[s->species[i]];
        if (z < 0 || z >= N_ELEMENT || there[z]) continue;
        there[z] = true;
        tally_add(&t[z], overall);
    }
}

/* Rows of one subject. */
static size_t group_count(const settings *set, const input *in)
{
    switch ((by)set->grouping) {
    case BY_SPIN:
        return NH_GAUGE_N_REGION;
    case BY_ELEMENT:
        return N_ELEMENT;
    case BY_DISTANCE:
        return N_DISTANCE;
    case BY_SHELL:
        return NH_GAUGE_MAX_L * NH_GAUGE_MAX_L;
    case BY_PAIR:
        break;
    }
    return in->n_pair;
}

/* "Ga1-As2(0,0,-1)": atoms counted from 1, the cell of the second. */
static void pair_name(const nh_graph *g, size_t pair, char out[NAME_SIZE])
{
    const nh_structure *s = &g->structure;
    const nh_pair *p = &g->pairs.pair[pair];
    const char *a = nh_element_symbol(s->atomic_number[s->species[p->src]]),
               *b = nh_element_symbol(s->atomic_number[s->species[p->dst]]);
    snprintf(out, NAME_SIZE, "%s%d-%s%d(%d,%d,%d)", a != NULL ? a : "X", p->src + 1, b != NULL ? b : "X", p->dst + 1,
             p->cell[0], p->cell[1], p->cell[2]);
}

/* The table of the first structure, and of each one with --each. */
static int make_table(const settings *set, const input *in, table *t, nh_error *err)
{
    const bool pairs = set->grouping == BY_PAIR;
    if (table_new(group_count(set, in), pairs, t, err)) return -1;
    for (size_t i = 0; pairs && i < in->n_pair; i++)
        pair_name(in->graph, in->pair[i], t->name[i]);
    return 0;
}

static int compare(const settings *set, const input *in, subject x, tally *t, nh_gauge_row *row,
                   nh_error *err)
{
    const nh_gauge q = {in->graph,  in->matrix[x], reference_of(set, in),
                        in->n_pair, in->pair,      (nh_gauge_rule)set->rule};
    size_t n = group_count(set, in);
    switch ((by)set->grouping) {
    case BY_SPIN:
        if (nh_gauge_by_spin(&q, row, err)) return -1;
        break;
    case BY_ELEMENT:
        if (nh_gauge_by_spin(&q, row, err)) return -1;
        tally_elements(t, &in->graph->structure, &row[NH_GAUGE_OVERALL]);
        return 0;
    case BY_DISTANCE:
        if (nh_gauge_by_distance(&q, n, DISTANCE, row, err)) return -1;
        break;
    case BY_SHELL:
        if (nh_gauge_by_shell(&q, row, err)) return -1;
        break;
    case BY_PAIR:
        if (nh_gauge_by_pair(&q, row, err)) return -1;
        break;
    }
    for (size_t i = 0; i < n; i++)
        tally_add(&t[i], &row[i]);
    return 0;
}

static int add_structure(const settings *set, const nh_nc *first, const nh_nc *second, const char *path,
                         table *t, nh_error *err)
{
    input in;
    nh_gauge_row *row = NULL;
    if (set->grouping == BY_PAIR && t->n_structure > 0)
        return nh_fail(err, "%s: --by pair: pairs of different structures have no mean: one structure, or --each", path);
    int status = input_read(set, first, second, &in, err);
    if (status == 0 && t->row == NULL) status = make_table(set, &in, t, err);
    if (status == 0 && (row = NH_ARRAY(nh_gauge_row, t->n_group)) == NULL) status = nh_fail_memory(err, "table");
    for (int x = 0; x < N_SUBJECT && status == 0; x++) {
        const char *name = x == FLOOR ? "floor" : nh_matrix_name(x == ZEROTH_STEP ? NH_H0 : set->pred);
        if (in.has[x] != (t->seen[x] > 0) && t->n_structure > 0)
            status = in.has[x] ? nh_fail(err, "%s: has a variable %s, the files before it do not", path, name)
                               : nh_fail(err, "%s: no variable %s, which %s has", path, name, t->first[x]);
        else if (in.has[x] && compare(set, &in, (subject)x, t->row + (size_t)x * t->n_group, row, err))
            status = nh_fail_at(err, "%s", path);
        if (in.has[x] && t->seen[x]++ == 0) t->first[x] = path;
    }
    t->n_structure++;
    input_free(&in);
    free(row);
    return status;
}

/* --- output --- */

static const char *subject_name(const settings *set, int x)
{
    return x == ZERO ? "0" : x == FLOOR ? "floor" : nh_matrix_name(x == ZEROTH_STEP ? NH_H0 : set->pred);
}

static void group_name(const settings *set, const table *t, size_t i, char *out, size_t size)
{
    static const char *const region[NH_GAUGE_N_REGION] = {"uu", "ud", "du", "dd", "overall"};
    static const char letter[NH_GAUGE_MAX_L + 1] = "spdfghiklmnoqrtu";
    switch ((by)set->grouping) {
    case BY_SPIN:
        snprintf(out, size, "%s", region[i]);
        break;
    case BY_ELEMENT: {
        const char *symbol = nh_element_symbol((int)i);
        if (symbol != NULL)
            snprintf(out, size, "%s", symbol);
        else
            snprintf(out, size, "Z%zu", i);
        break;
    }
    case BY_DISTANCE:
        snprintf(out, size, "[%g,%g)", DISTANCE[i], DISTANCE[i + 1]);
        break;
    case BY_SHELL:
        snprintf(out, size, "%c%c", letter[i / NH_GAUGE_MAX_L], letter[i % NH_GAUGE_MAX_L]);
        break;
    case BY_PAIR:
        snprintf(out, size, "%s", t->name[i]);
        break;
    }
}

/* Rows that stand in the table though no structure has elements there. */
static bool is_shown(const settings *set, const tally *t, size_t i)
{
    return t->n_structure > 0 || (set->grouping == BY_DISTANCE && i < N_DISTANCE);
}

static double mean_meV(const tally *t, double sum)
{
    return t->n_structure > 0 ? 1e3 * sum / (double)t->n_structure : (double)NAN;
}

static const char *rule_text(const settings *set)
{
    if (set->rule == NH_GAUGE_L2) return "mu: least squares over the complex matrix, one for all numbers";
    return set->grouping == BY_DISTANCE || set->grouping == BY_SHELL || set->grouping == BY_PAIR
               ? "mu: minimum of the overall mean modulus, one for all rows"
               : "mu: minimum of each mean by itself";
}

static void print_header(FILE *out, const settings *set, size_t n_structure)
{
    static const char *const title[] = {"region", "element", "distance", "shells", "pair"};
    char count[64];
    if (set->each)
        snprintf(count, sizeof count, "each structure by itself");
    else
        snprintf(count, sizeof count, "mean over structures: %zu", n_structure);
    fprintf(out, "# Gauge MAE in meV against %s; %s; pairs: %s; %s (--mu %s)\n", set->ref_name, count,
            set->all_pairs ? "all" : "within the cutoff", rule_text(set), RULES[set->rule]);
    fprintf(out, "# real, imaginary: mean |Re|, |Im| of A - H - mu S; complex: mean modulus; mu in meV\n");
    fprintf(out, "#%-7s %-8s %10s %10s %14s %14s %14s %16s %16s%s\n", "matrix", title[set->grouping],
            "structures", "elements", "real", "imaginary", "complex", "mu_real", "mu_complex",
            set->each ? " file" : "");
}

/* `file`: the last column of --each; NULL without. */
static void print_rows(FILE *out, const settings *set, const table *t, const char *file)
{
    for (int x = 0; x < N_SUBJECT; x++) {
        if (t->seen[x] == 0) continue;
        for (size_t i = 0; i < t->n_group; i++) {
            const tally *r = &t->row[(size_t)x * t->n_group + i];
            if (!is_shown(set, r, i)) continue;
            char name[NAME_SIZE];
            group_name(set, t, i, name, sizeof name);
            fprintf(out, "%-8s %-8s %10zu %10zu %14.6f %14.6f %14.6f %16.6f %16.6f%s%s\n", subject_name(set, x),
                    name, r->n_structure, r->n_elem, mean_meV(r, r->mae[NH_GAUGE_REAL]),
                    mean_meV(r, r->mae[NH_GAUGE_IMAGINARY]), mean_meV(r, r->mae[NH_GAUGE_COMPLEX]),
                    mean_meV(r, r->mu[NH_GAUGE_REAL]), mean_meV(r, r->mu[NH_GAUGE_COMPLEX]),
                    file != NULL ? " " : "", file != NULL ? file : "");
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

static void print_json(FILE *out, const settings *set, const table *t)
{
    fprintf(out,
            "{\"reference\": \"%s\", \"mu\": \"%s\", \"pairs\": \"%s\", \"by\": \"%s\", \"structures\": "
            "%zu,\n \"matrices\": {",
            set->ref_name, RULES[set->rule], set->all_pairs ? "all" : "cutoff", GROUPINGS[set->grouping],
            t->n_structure);
    for (int x = 0, n = 0; x < N_SUBJECT; x++) {
        if (t->seen[x] == 0) continue;
        fprintf(out, "%s\n  \"%s\": {", n++ > 0 ? "," : "", subject_name(set, x));
        int rows = 0;
        for (size_t i = 0; i < t->n_group; i++) {
            const tally *r = &t->row[(size_t)x * t->n_group + i];
            if (!is_shown(set, r, i)) continue;
            char name[NAME_SIZE];
            group_name(set, t, i, name, sizeof name);
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

/* --- which file is whose reference --- */

/* The rule of the manual page: true where `next` holds the reference of `first`. */
static bool is_reference(const settings *set, const nh_nc *first, const nh_nc *next)
{
    if (set->paired || set->pred == set->ref) return true;
    if (!nh_nc_has(first, set->ref_name)) return true;
    return nh_nc_has(first, set->pred_name) && nh_nc_has(next, set->ref_name) &&
           !nh_nc_has(next, set->pred_name);
}

/* With --each the rows of a structure go to `out` as soon as it is read; of *t only `seen` is left. */
static int read_all(const settings *set, const nh_common *common, FILE *out, table *t, nh_error *err)
{
    const size_t n = common->inputs.count > 0 ? common->inputs.count : 1;
    nh_nc *first = NULL, *next = NULL;
    size_t seen[N_SUBJECT] = {0};
    int status = -1;
    for (size_t i = 0; i < n; i++) {
        const char *path = common->inputs.count > 0 ? common->inputs.item[i] : "-";
        first = next;
        next = NULL;
        if (first == NULL && nh_nc_open(path, &first, err)) goto done;
        if (i + 1 < n && nh_nc_open(common->inputs.item[i + 1], &next, err)) goto done;
        const bool two = next != NULL && is_reference(set, first, next);
        if (next == NULL && (set->paired || set->pred == set->ref)) {
            nh_fail(err, "%s: no second file to compare with (%s)", nh_nc_name(first),
                    set->paired ? "--paired" : "--pred and --ref are the same");
            goto done;
        }
        if (common->verbose > 0)
            fprintf(stderr, "gaugemae: %s against %s of %s\n", path, set->ref_name,
                    nh_nc_name(two ? next : first));
        if (add_structure(set, first, two ? next : NULL, path, t, err)) goto done;
        if (set->each) {
            print_rows(out, set, t, path);
            for (int x = 0; x < N_SUBJECT; x++)
                seen[x] += t->seen[x];
            table_free(t);
        }
        nh_nc_close(first);
        first = NULL;
        if (two) {
            nh_nc_close(next);
            next = NULL;
            i++;
        }
    }
    if (set->each) memcpy(t->seen, seen, sizeof seen);
    status = 0;
done:
    nh_nc_close(first);
    nh_nc_close(next);
    return status;
}

static int tabulate(const settings *set, const nh_common *common, table *t, nh_error *err)
{
    nh_outfile *o;
    if (nh_outfile_begin(common->output, &o, err)) return -1;
    FILE *out = nh_outfile_stream(o, err);
    if (out != NULL && set->each) print_header(out, set, 1);
    if (out == NULL || read_all(set, common, out, t, err)) {
        nh_outfile_abort(o);
        return -1;
    }
    if (set->json) {
        print_json(out, set, t);
    } else if (!set->each) {
        print_header(out, set, t->n_structure);
        print_rows(out, set, t, NULL);
    }
    return nh_outfile_commit(o, err);
}

/* One line about options that do not go together, or NULL. */
static const char *misuse(const settings *set)
{
    if (set->each && set->json) return "--each is a table of text: not with --json";
    return NULL;
}

static int read_config(const char *path, nh_config *config, nh_error *err)
{
    char *text;
    if (nh_read_text(path, CONFIG_LIMIT, &text, err)) return -1;
    const int status = nh_config_parse(text, path, config, err);
    free(text);
    return status;
}

int main(int argc, char **argv)
{
    settings set = {.pred_name = "h_pred", .ref_name = "h_label"};
    const nh_option options[] = {
        {NH_OPT_STRING, 0, "pred", "NAME", (void *)&set.pred_name, NULL, &set.pred_given,
         "matrix to judge: h_pred, h0, h_label [h_pred, where there is one]"},
        {NH_OPT_STRING, 0, "ref", "NAME", (void *)&set.ref_name, NULL, NULL, "matrix to judge by [h_label]"},
        {NH_OPT_CHOICE, 0, "mu", NULL, &set.rule, RULES, NULL,
         "l1: minimum of the mean; l2: least squares, as the published code [l1]"},
        {NH_OPT_FLAG, 0, "all-pairs", NULL, &set.all_pairs, NULL, NULL,
         "count all pairs, also those beyond the cutoff"},
        {NH_OPT_CHOICE, 0, "by", NULL, &set.grouping, GROUPINGS, NULL, "rows of the table [spin]"},
        {NH_OPT_FLAG, 0, "each", NULL, &set.each, NULL, NULL,
         "rows for each structure, with its file in a last column, instead of means"},
        {NH_OPT_FLAG, 0, "paired", NULL, &set.paired, NULL, NULL,
         "every second file is the reference of the one before it [where the first lacks --ref or the second "
         "lacks --pred]"},
        {NH_OPT_STRING, 0, "floor", "CONFIG.yaml", (void *)&set.floor_path, NULL, NULL,
         "also what a network of this configuration cannot correct, whatever its weights"},
        {NH_OPT_FLAG, 0, "json", NULL, &set.json, NULL, NULL, "the same numbers as JSON, all digits"},
    };
    const nh_program program = {
        .name = "gaugemae",
        .summary = "two Hamiltonians in, their gauge-free distance out",
        .synopsis = (const char *const[]){"[options] [-o TABLE] HAM.nc [MORE.nc ...]",
                                          "[options] [-o TABLE] PRED.nc REF.nc", NULL},
        .description =
            "Prints how far the zero matrix, the zeroth-step Hamiltonian h0 and the prediction are from the "
            "reference, "
            "up to a constant shift of the potential, which adds mu*S to a Hamiltonian: the mean absolute "
            "value of "
            "A - H - mu*S in meV over the occupied orbitals of all pairs within the cutoff, in the spin "
            "blocks uu, ud, "
            "du, dd and over the whole matrix. With many files: the mean over structures.\n"
            "\n"
            "--mu l1, the paper's definition: mu makes the mean smallest, for each number of the table by "
            "itself; in the "
            "tables by distance, shell and pair one mu, that of the overall complex number, serves all rows, so "
            "that they "
            "add up to it. --mu l2, the published code's: mu = Re sum (A-H) conj(S) / (sum |S|^2 + 1e-6) "
            "over all elements of the "
            "complex matrix, one for all numbers. Imaginary parts, ud and du have no gauge term. Without "
            "spin (one "
            "block in the file) dd = uu and ud = du = 0 are counted, as if the file had four blocks.\n"
            "\n"
            "--by element: for each element the mean of the overall numbers of the structures that contain "
            "it. --by "
            "distance: [0,1) [1,2) [2,4) [4,6) [6,inf) Å. --by shell: pairs of degrees (row, column), sp for "
            "instance. --by pair: every block of one structure, Ga1-As2(0,0,-1) for instance: atoms from 1, the cell of the second.\n"
            "\n"
            "--floor: rows `floor`, the error that the architecture of a configuration leaves whatever its "
            "weights: of h0 plus the best correction (least squares, with the best shift mu) that the "
            "network "
            "could add. That is one real matrix, the same for uu and dd, in pairs within the ranges of the "
            "sub-models, made by its rule `reconstruct` of those irreps that features reach (without `lift` "
            "no "
            "0o, 4o, 5e, 5o, 6e, 6o, 7e in the standard network), on h0 as its rule `h0` has it. --mu l1 may "
            "find a little less than least squares do.\n"
            "\n"
            "A file that holds both matrices stands alone. A file's reference is taken from the file after "
            "it if the first "
            "lacks the reference matrix; or if the first has the matrix to judge, the second has not, and "
            "the second has the "
            "reference; or if --pred and --ref are the same name; or with --paired. The two must be the same "
            "crystal and "
            "have the same pairs, in any order. S and h0 come from the first file, or from the second where "
            "the first "
            "has none. A prediction or h0 that is nowhere is left out of the table with a warning; one that "
            "only some "
            "of the structures have is an error.",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .min_inputs = 0,
        .max_inputs = SIZE_MAX,
        .example =
            "gaugemae ham.nc\ngaugemae --mu l2 --json pred.nc label.nc\ngaugemae --by element test/*.nc\n"
            "gaugemae --each test/*.nc\ngaugemae --by pair ham.nc | grep ^h_pred | sort -k7gr | head      # the ten worst blocks\n"
            "gaugemae --mu l2 --floor pipelines/standard.yaml graph.nc",
        .see_also = "nhinfer(1), mkgraph(1)",
    };
    nh_common common;
    const int exit_status = nh_parse(&program, argc, argv, &common);
    if (exit_status >= 0) return exit_status;

    nh_error err;
    nh_config floor = {0};
    table t = {0};
    const char *wrong = misuse(&set);
    if (wrong != NULL) {
        fprintf(stderr, "%s: %s\n", program.name, wrong);
        nh_common_free(&common);
        return 2;
    }
    int status = -1;
    if (nh_matrix_from_name(set.pred_name, &set.pred, &err))
        nh_fail_at(&err, "--pred");
    else if (nh_matrix_from_name(set.ref_name, &set.ref, &err))
        nh_fail_at(&err, "--ref");
    else if (set.floor_path != NULL && read_config(set.floor_path, &floor, &err))
        nh_fail_at(&err, "--floor");
    else {
        if (set.floor_path != NULL) set.floor = &floor;
        status = tabulate(&set, &common, &t, &err);
    }
    if (status == 0) {
        if (t.seen[ZEROTH_STEP] == 0 && set.ref != NH_H0)
            nh_warn(&program, &common, "no variable h0: its rows are left out");
        if (t.seen[PREDICTION] == 0 && set.pred != NH_H0)
            nh_warn(&program, &common, "no variable %s: its rows are left out", set.pred_name);
    }
    if (set.floor != NULL) nh_config_free(&floor);
    table_free(&t);
    nh_common_free(&common);
    return status == 0 ? 0 : nh_report(&program, &err);
}
