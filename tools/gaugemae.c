/* gaugemae - two Hamiltonians in, their gauge-free distance out. */
#include "base/memory.h"
#include "base/options.h"
#include "base/outfile.h"
#include "ensemble/floor.h"
#include "formats/report/gauge_table.h"
#include "formats/netcdf/graph.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct settings {
    const char *pred_name, *ref_name;
    nh_matrix pred, ref;
    bool pred_given, all_pairs, paired, json, each;
    int rule, by; /* nh_gauge_rule, nh_gauge_by */
    const char *floor_path;
    const nh_config *floor; /* NULL: no such rows */
} settings;

/* --- one structure --- */

/* The matrices of one comparison, in the layout of `graph`. */
typedef struct input {
    nh_graph *graph;   /* of the first file */
    nh_graph *second;  /* of the reference's file; NULL where it is the same */
    double *floor;     /* owned; NULL where it is not asked for */
    double *reference; /* owned copy in the first file's layout; NULL where the first file has it */
    const double *matrix[NH_GAUGE_N_SUBJECT];
    bool has[NH_GAUGE_N_SUBJECT];
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
    in->has[NH_GAUGE_ZERO] = true;
    in->has[NH_GAUGE_H0] = g->matrix[NH_H0] != NULL && (other || set->ref != NH_H0);
    in->has[NH_GAUGE_PREDICTION] =
        set->pred != NH_H0 && g->matrix[set->pred] != NULL && (other || set->ref != set->pred);
    in->matrix[NH_GAUGE_H0] = g->matrix[NH_H0];
    in->matrix[NH_GAUGE_PREDICTION] = g->matrix[set->pred];
    if (set->floor == NULL) return 0;
    if (nh_graph_require(g, name, nh_config_needs_h0(set->floor) ? NH_WANT_H0 : 0, err)) return -1;
    if (nh_floor(set->floor, g, g->matrix[NH_H0], reference_of(set, in), in->n_pair, in->pair, &in->floor,
                 err))
        return nh_fail_at(err, "%s: --floor", name);
    in->has[NH_GAUGE_FLOOR] = true;
    in->matrix[NH_GAUGE_FLOOR] = in->floor;
    return 0;
}

/* The table, and which file was the first that had a subject. */
typedef struct sums {
    nh_gauge_table table;
    const char *first[NH_GAUGE_N_SUBJECT];
} sums;

static int add_structure(const settings *set, const nh_nc *first, const nh_nc *second, const char *path,
                         sums *s, nh_error *err)
{
    input in;
    nh_gauge_table *t = &s->table;
    const bool begun = t->n_structure > 0;
    int status = input_read(set, first, second, &in, err);
    if (status == 0 && nh_gauge_table_begin(t, in.graph, in.n_pair, in.pair, err))
        status = nh_fail_at(err, "%s", path);
    for (int x = 0; x < NH_GAUGE_N_SUBJECT && status == 0; x++) {
        const char *name = nh_gauge_subject_name(t, (nh_gauge_subject)x);
        if (begun && in.has[x] != (s->first[x] != NULL)) {
            status = in.has[x] ? nh_fail(err, "%s: has a variable %s, the files before it do not", path, name)
                               : nh_fail(err, "%s: no variable %s, which %s has", path, name, s->first[x]);
        } else if (in.has[x]) {
            const nh_gauge q = {in.graph,  in.matrix[x], reference_of(set, &in),
                                in.n_pair, in.pair,      (nh_gauge_rule)set->rule};
            if (nh_gauge_table_add(t, (nh_gauge_subject)x, &q, err)) status = nh_fail_at(err, "%s", path);
            if (s->first[x] == NULL) s->first[x] = path;
        }
    }
    input_free(&in);
    return status;
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

/* With --each the rows of a structure go to `out` as soon as it is read, and the table is emptied. */
static int read_all(const settings *set, const nh_common *common, FILE *out, sums *s, nh_error *err)
{
    const size_t n = common->inputs.count > 0 ? common->inputs.count : 1;
    nh_nc *first = NULL, *next = NULL;
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
            nh_remark("gaugemae", "%s against %s of %s", path, set->ref_name, nh_nc_name(two ? next : first));
        if (add_structure(set, first, two ? next : NULL, path, s, err)) goto done;
        if (set->each) {
            nh_gauge_table_rows(out, &s->table, path);
            nh_gauge_table_clear(&s->table);
        }
        nh_nc_close(first);
        first = NULL;
        if (two) {
            nh_nc_close(next);
            next = NULL;
            i++;
        }
    }
    status = 0;
done:
    nh_nc_close(first);
    nh_nc_close(next);
    return status;
}

static int tabulate(const settings *set, const nh_common *common, sums *s, nh_error *err)
{
    nh_outfile *o;
    if (nh_outfile_begin(common->output, &o, err)) return -1;
    FILE *out = nh_outfile_stream(o, err);
    if (out != NULL && set->each) nh_gauge_table_header(out, &s->table, true);
    if (out == NULL || read_all(set, common, out, s, err)) {
        nh_outfile_abort(o);
        return -1;
    }
    if (set->json) {
        nh_gauge_table_json(out, &s->table);
    } else if (!set->each) {
        nh_gauge_table_header(out, &s->table, false);
        nh_gauge_table_rows(out, &s->table, NULL);
    }
    return nh_outfile_commit(o, err);
}

/* One line about options that do not go together, or NULL. */
static const char *misuse(const settings *set)
{
    if (set->each && set->json) return "--each is a table of text: not with --json";
    return NULL;
}

int main(int argc, char **argv)
{
    settings set = {.pred_name = "h_pred", .ref_name = "h_label"};
    const nh_option options[] = {
        {NH_OPT_STRING, 0, "pred", "NAME", (void *)&set.pred_name, NULL, &set.pred_given,
         "matrix to compare: h_pred, h0, h_label [h_pred, where there is one]"},
        {NH_OPT_STRING, 0, "ref", "NAME", (void *)&set.ref_name, NULL, NULL, "reference matrix [h_label]"},
        {NH_OPT_CHOICE, 0, "mu", NULL, &set.rule, nh_gauge_rule_names, NULL,
         "l1: minimum of the mean; l2: least squares, as the published code [l1]"},
        {NH_OPT_FLAG, 0, "all-pairs", NULL, &set.all_pairs, NULL, NULL,
         "count all pairs, also those beyond the cutoff"},
        {NH_OPT_CHOICE, 0, "by", NULL, &set.by, nh_gauge_by_names, NULL, "rows of the table [spin]"},
        {NH_OPT_FLAG, 0, "each", NULL, &set.each, NULL, NULL,
         "rows for each structure, with its file in a last column, instead of means"},
        {NH_OPT_FLAG, 0, "paired", NULL, &set.paired, NULL, NULL,
         "every second file is the reference of the one before it [where the first lacks --ref or the second "
         "lacks --pred]"},
        {NH_OPT_STRING, 0, "floor", "CONFIG.yaml", (void *)&set.floor_path, NULL, NULL,
         "also the error that this architecture cannot remove, whatever its weights"},
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
            "tables by distance, shell and pair one mu, that of the overall complex number, serves all rows, "
            "so "
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
            "instance. --by pair: every block of one structure, Ga1-As2(0,0,-1) for instance: atoms from 1, "
            "the cell of the second.\n"
            "\n"
            "--floor: rows `floor`, the error that an architecture cannot remove, whatever its weights: "
            "that of h0 plus the best correction (least squares, with the best shift mu) that the "
            "network "
            "could add. That is one real matrix, the same for uu and dd, in pairs within the ranges of the "
            "sub-models, made by its rule `reconstruct` of those irreps that features reach (without `lift` "
            "no "
            "0o, 4o, 5e, 5o, 6e, 6o, 7e in the standard network), on h0 as its rule `h0` has it. With --mu "
            "l1 it may "
            "come out a little lower than by least squares.\n"
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
            "gaugemae --each test/*.nc\ngaugemae --by pair ham.nc | grep ^h_pred | sort -k7gr | head      # "
            "the ten worst blocks\n"
            "gaugemae --mu l2 --floor pipelines/standard.yaml graph.nc",
        .see_also = "nhinfer(1), mkgraph(1)",
    };
    nh_common common;
    const int exit_status = nh_parse(&program, argc, argv, &common);
    if (exit_status >= 0) return exit_status;

    nh_error err;
    nh_config floor = {0};
    const char *wrong = misuse(&set);
    if (wrong != NULL) {
        fprintf(stderr, "%s: %s\n", program.name, wrong);
        nh_common_free(&common);
        return 2;
    }
    sums s = {.table = {.reference = set.ref_name,
                        .prediction = set.pred_name,
                        .rule = (nh_gauge_rule)set.rule,
                        .by = (nh_gauge_by)set.by,
                        .all_pairs = set.all_pairs}};
    int status = -1;
    if (nh_matrix_from_name(set.pred_name, &set.pred, &err))
        nh_fail_at(&err, "--pred");
    else if (nh_matrix_from_name(set.ref_name, &set.ref, &err))
        nh_fail_at(&err, "--ref");
    else if (set.floor_path != NULL && nh_config_read(set.floor_path, &floor, &err))
        nh_fail_at(&err, "--floor");
    else {
        if (set.floor_path != NULL) set.floor = &floor;
        status = tabulate(&set, &common, &s, &err);
    }
    if (status == 0) {
        if (s.first[NH_GAUGE_H0] == NULL && set.ref != NH_H0)
            nh_warn(&program, &common, "no variable h0: its rows are left out");
        if (s.first[NH_GAUGE_PREDICTION] == NULL && set.pred != NH_H0)
            nh_warn(&program, &common, "no variable %s: its rows are left out", set.pred_name);
    }
    if (set.floor != NULL) nh_config_free(&floor);
    nh_gauge_table_clear(&s.table);
    nh_common_free(&common);
    return status == 0 ? 0 : nh_report(&program, &err);
}
