/* h0embed - the zeroth-step blocks of a graph as irreps vectors, the input of the network (docs/network.md
 * 4.4). */
#include "base/memory.h"
#include "base/options.h"
#include "base/progress.h"
#include "base/threads.h"
#include "ensemble/edges.h"
#include "formats/netcdf/graph.h"
#include "nextham/embedding.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define DIMS(...) ((const char *const[]){__VA_ARGS__})

enum {
    SLAB = 256, /* edges computed and written at once; a multiple of the chunks in the file */
};

typedef enum precision { SINGLE, DOUBLE } precision;

typedef struct arguments {
    bool no_h0, inverse;
    int precision;
    const char *basis;
} arguments;

/* What is computed once for a file. */
typedef struct work {
    nh_embedding *e;
    nh_selection s;
    size_t *slot;
    nh_edge_list list;
    nh_threads *threads;
    double *slab; /* [SLAB][s.irreps.dim] */
} work;

static int prepare(const arguments *a, const nh_common *common, const nh_graph *g, const char *file, work *w,
                   nh_error *err)
{
    size_t n_shell;
    int *shell_l = NULL;
    bool *used = NULL;
    if (nh_shells_parse(a->basis, &n_shell, &shell_l, err) != 0) return nh_fail_at(err, "--basis");
    int status = nh_embedding_new(n_shell, shell_l, &w->e, err);
    free(shell_l);
    if (status != 0) return nh_fail_at(err, "--basis %s", a->basis);
    w->slot = NH_ARRAY(size_t, g->structure.shell_start[g->structure.n_species]);
    if (nh_edge_list_new(g, g->cutoff, &w->list, err)) return nh_fail_at(err, "%s", file);
    used = NH_ARRAY(bool, nh_embedding_pairs(w->e));
    if (w->slot == NULL || used == NULL) {
        status = nh_fail_memory(err, "edges");
    } else if (nh_embedding_slots(w->e, &g->structure, w->slot, err) != 0) {
        status = nh_fail_at(err, "%s", file);
    } else {
        nh_embedding_used(w->e, g, w->slot, w->list.edges.n_edge, w->list.pair, used);
        status = nh_selection_new(w->e, NH_PART_ALL, used, &w->s, err);
    }
    free(used);
    if (status != 0) return -1;
    size_t numbers;
    if (nh_size_mul(SLAB, w->s.irreps.dim, &numbers)) w->slab = NH_ARRAY(double, numbers);
    if (w->slab == NULL) return nh_fail_memory(err, "features");
    return nh_threads_new(common->threads, &w->threads, err);
}

static void work_free(work *w)
{
    nh_embedding_free(w->e);
    nh_selection_free(&w->s);
    free(w->slot);
    nh_edge_list_free(&w->list);
    nh_threads_free(w->threads);
    free(w->slab);
}

static int define_features(const arguments *a, const work *w, nh_nc *out, nh_error *err)
{
    char *const irreps = nh_irreps_text(&w->s.irreps), *const pairs = nh_selection_text(w->e, &w->s);
    const nh_feature_type type = {w->s.irreps.dim, a->precision == DOUBLE, irreps, pairs, a->basis};
    const int status = irreps == NULL || pairs == NULL
                           ? nh_fail_memory(err, "features")
                           : nh_graph_def_features(out, w->list.edges.n_edge, w->list.pair, &type, err);
    free(irreps);
    free(pairs);
    return status;
}

/* Prints the residual; one that rounding does not explain is an error. */
static int report_round_trip(const arguments *a, const nh_graph *g, const work *w, const char *file,
                             double residual, nh_error *err)
{
    double largest = 0;
    for (size_t i = 0; i < w->list.edges.n_edge; i++)
        for (int s = 0; s < g->n_spin; s++) {
            const double *const h0 = g->matrix[NH_H0] + (size_t)s * 2 * g->pairs.n_elem;
            for (size_t k = 2 * g->pairs.start[w->list.pair[i]]; k < 2 * g->pairs.start[w->list.pair[i] + 1];
                 k++)
                largest = fmax(largest, fabs(h0[k]));
        }
    const double relative = largest > 0 ? residual / largest : residual;
    const double limit = a->precision == DOUBLE ? 1e-12 : 1e-5;
    fprintf(
        stderr,
        "h0embed: round trip of %zu edges, %s precision: largest residual %.2e eV, %.2e of max|H0| = %g eV\n",
        w->list.edges.n_edge, a->precision == DOUBLE ? "double" : "single", residual, relative, largest);
    if (relative > limit)
        return nh_fail(err, "%s: round trip: residual %.2e of max|H0|, below %.0e expected", file, relative,
                       limit);
    return 0;
}

static int embed(const arguments *a, const nh_common *common, const nh_nc *in, const nh_graph *g, nh_nc *out,
                 nh_error *err)
{
    work w = {0};
    const double *const h0 = g->matrix[NH_H0];
    double residual = 0;
    nh_progress *progress = NULL;
    int status = prepare(a, common, g, nh_nc_name(in), &w, err);
    if (status == 0) status = define_features(a, &w, out, err);
    if (status == 0 && common->verbose > 0)
        fprintf(stderr, "h0embed: %zu of %zu pairs are edges, %zu shell pairs, %zu numbers an edge\n",
                w.list.edges.n_edge, g->pairs.count, w.s.n_pair, w.s.irreps.dim);
    if (status == 0) progress = nh_progress_start("h0embed", "edges", w.list.edges.n_edge, common->quiet);
    for (size_t first = 0; first < w.list.edges.n_edge && status == 0; first += SLAB) {
        const size_t n = w.list.edges.n_edge - first < SLAB ? w.list.edges.n_edge - first : SLAB;
        nh_edges_to_irreps(&(nh_transform){w.e, &w.s, &g->structure, w.slot}, g, h0, n, w.list.pair + first,
                           1, w.threads, w.slab);
        status = nh_nc_put_slab(out, "feature", first, n, w.s.irreps.dim, w.slab, err);
        if (status == 0 && a->inverse) {
            double worst;
            if (a->precision == SINGLE) /* what a reader of the file sees */
                for (size_t i = 0; i < n * w.s.irreps.dim; i++)
                    w.slab[i] = (double)(float)w.slab[i];
            status = nh_round_trip(&(nh_transform){w.e, &w.s, &g->structure, w.slot}, g, h0, n,
                                   w.list.pair + first, w.slab, w.threads, &worst, err);
            if (status == 0) residual = fmax(residual, worst);
        }
        nh_progress_add(progress, n);
    }
    nh_progress_end(progress);
    if (status == 0 && a->inverse) status = report_round_trip(a, g, &w, nh_nc_name(in), residual, err);
    work_free(&w);
    return status;
}

/* The input of the cut-down network: for each atom its row in the element table, which is the atomic number.
 */
static int write_elements(const nh_graph *g, nh_nc *out, nh_error *err)
{
    const nh_structure *const s = &g->structure;
    int *const element = NH_ARRAY(int, s->n_atom);
    if (element == NULL) return nh_fail_memory(err, "elements");
    for (size_t i = 0; i < s->n_atom; i++)
        element[i] = s->atomic_number[s->species[i]]; /* 1..118, checked by the reader */
    const int status = nh_nc_def_dim(out, "atom", s->n_atom, err) ||
                       nh_nc_def_var(out, "element", NC_INT, 1, DIMS("atom"), NULL, "1",
                                     "row of each atom in the element table: its atomic number", err) ||
                       nh_nc_put_int(out, "element", element, err);
    free(element);
    return status != 0 ? -1 : 0;
}

/* Everything of the input but what an earlier h0embed put there. */
static int carry(const arguments *a, nh_nc *out, const nh_nc *in, nh_error *err)
{
    static const char *const made_here[] = {"feature", "edge_pair", "element", NULL};
    if (nh_nc_carry(out, in, made_here, err) != 0) return -1;
    if (!a->no_h0) return 0;
    static const char *const stale[] = {"irreps", "shell_pairs", "padded_basis"};
    for (size_t i = 0; i < sizeof stale / sizeof *stale; i++)
        if (nh_nc_drop_att(out, stale[i], err) != 0) return -1;
    return 0;
}

static int run(const arguments *a, const nh_common *common, nh_error *err)
{
    const unsigned want = a->no_h0 ? 0 : NH_WANT_H0;
    nh_nc *in = NULL, *out = NULL;
    nh_graph *g = NULL;
    int status = nh_nc_open(nh_input(common), &in, err);
    if (status == 0) status = nh_graph_read(in, want, &g, err);
    if (status == 0) status = nh_graph_require(g, nh_nc_name(in), want, err);
    if (status == 0) status = nh_nc_create(common->output, "h0embed", common, in, &out, err);
    if (status == 0) status = a->no_h0 ? write_elements(g, out, err) : embed(a, common, in, g, out, err);
    if (status == 0) status = carry(a, out, in, err);
    nh_graph_free(g);
    if (status == 0) {
        status = nh_nc_commit(out, err);
        out = NULL;
    }
    nh_nc_close(out);
    nh_nc_close(in);
    return status;
}

int main(int argc, char **argv)
{
    static const char *const precisions[] = {"single", "double", NULL};
    arguments a = {.basis = "4s2p2d1f", .precision = SINGLE};
    const nh_option options[] = {
        {NH_OPT_CHOICE, 0, "precision", NULL, &a.precision, precisions, NULL,
         "features as float or double [single]"},
        {NH_OPT_STRING, 0, "basis", "SHELLS", &a.basis, NULL, NULL,
         "padded shells of every atom, as in the model [4s2p2d1f]"},
        {NH_OPT_FLAG, 0, "inverse", NULL, &a.inverse, NULL, NULL,
         "turn the features back into blocks and print the largest residual on stderr"},
        {NH_OPT_FLAG, 0, "no-h0", NULL, &a.no_h0, NULL, NULL,
         "no features; variable element(atom), the input of the cut-down network"},
    };
    static const char *const synopsis[] = {"[options] [-o EMBEDDED.nc] [GRAPH.nc]", NULL};
    const nh_program program = {
        .name = "h0embed",
        .summary = "graph in, equivariant features of its zeroth-step Hamiltonian out",
        .synopsis = synopsis,
        .description = "The inverse Wigner-Eckart transform of the H0 block of every pair within the graph's "
                       "cutoff: entries of one irrep "
                       "each, degrees (L) and (L,J) for every pair of shells, real parts first. The output "
                       "is the input with the "
                       "variables feature(edge, component) and edge_pair(edge) and the attributes irreps, "
                       "shell_pairs and padded_basis added. "
                       "Only shell pairs that some edge occupies are stored; shell_pairs names them in slots "
                       "of the padded basis.\n\n"
                       "With --no-h0 the input needs no H0, and element(atom) is added instead: the row of "
                       "each atom in the element table "
                       "of the cut-down network (ele_embed.weight, 120 rows), which is its atomic number.\n\n"
                       "nhinfer and nhtrain take a plain graph too and embed by themselves; for a large cell "
                       "that is the better way, because "
                       "the features would be the largest array of all.",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .max_inputs = 1,
        .computes = true,
        .example = "mkgraph --abacus GaAs/ | h0embed | nhinfer -m model.nc -o ham.nc\n"
                   "h0embed --inverse --precision double -o embedded.nc graph.nc",
        .see_also = "mkgraph(1), nhinfer(1)",
    };
    nh_common common;
    const int status = nh_parse(&program, argc, argv, &common);
    if (status != -1) return status;
    nh_error err;
    const int failure = run(&a, &common, &err);
    nh_common_free(&common);
    return failure != 0 ? nh_report(&program, &err) : 0;
}
