#include "training/sample.h"

#include "base/memory.h"
#include "crystal/overlap.h"
#include "base/random.h"
#include "ensemble/base.h"

#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void nh_sample_free(nh_sample *c)
{
    if (!c) return;
    nh_loss_data_free(c->loss);
    nh_kcache_free(c->k);
    nh_graph_free(c->graph);
    nh_edge_list_free(&c->list);
    free(c->run);
    free(c->as_float);
    free(c->as_double);
    free(c->name);
    free(c);
}

int nh_sample_check(const nh_sample_kind *kind, const char *path, const nh_graph *g, nh_error *err)
{
    const nh_config *c = kind->config;
    const nh_structure *s = &g->structure;
    if (g->cutoff < c->cutoff)
        return nh_fail(err, "%s: made with cutoff %g Å, the network needs %g Å", path, g->cutoff, c->cutoff);
    if (fabs(g->rydberg / c->rydberg - 1) > 1e-9)
        return nh_fail(
            err, "%s: made with the Rydberg factor %.12g eV, the network's is %.12g (key rydberg of network)",
            path, g->rydberg, c->rydberg);
    if (nh_graph_edges(g, c->cutoff, NULL) == 0)
        return nh_fail(err, "%s: no pair of atoms within the cutoff of %g Å", path, c->cutoff);
    size_t *slot = NH_ARRAY(size_t, s->shell_start[s->n_species]);
    if (!slot) return nh_fail_memory(err, path);
    const int status = nh_embedding_slots(kind->embedding, s, slot, err);
    free(slot);
    return status ? nh_fail_at(err, "%s: the network is for another basis", path) : 0;
}

/* Where the networks see the numbers of the crystal's own shell pairs: runs that are contiguous on both sides. */
static int find_runs(nh_sample *c, const nh_selection *used, const nh_sample_kind *kind, nh_error *err)
{
    const nh_selection *all = kind->input;
    /* At most a run for each entry. */
    c->run = nh_calloc(used->irreps.count, sizeof *c->run);
    if (!c->run) return nh_fail_memory(err, "features");
    size_t k = 0;
    for (size_t i = 0; i < used->n_pair; i++) {
        while (all->pair[k] != used->pair[i])
            k++;
        const size_t end = i + 1 < used->n_pair ? used->offset[i + 1] : used->imaginary;
        for (size_t half = 0; half < 2; half++) {
            const size_t from = used->offset[i] + half * used->imaginary,
                         to = all->offset[k] + half * all->imaginary;
            nh_feature_run *last = NULL;
            for (size_t j = 0; j < end - used->offset[i]; j++) {
                if (kind->seen_at[to + j] == SIZE_MAX)
                    last = NULL;
                else if (last && kind->seen_at[to + j] == last->to + last->count)
                    last->count++;
                else {
                    last = &c->run[c->rows.n_run++];
                    *last = (nh_feature_run){.from = from + j, .to = kind->seen_at[to + j], .count = 1};
                }
            }
        }
    }
    return 0;
}

/* The vectors of all edges, in the precision of the networks. */
static int keep_features(nh_sample *c, const nh_edge_features *f, bool as_double, nh_error *err)
{
    const size_t n = c->list.edges.n_edge;
    size_t count;
    if (!nh_size_mul(n, f->dim, &count)) return nh_fail_memory(err, "features");
    double *vector = NH_ARRAY(double, f->dim);
    if (as_double)
        c->as_double = NH_ARRAY(double, count);
    else
        c->as_float = NH_ARRAY(float, count);
    const int status = vector && (c->as_float || c->as_double) ? 0 : nh_fail_memory(err, "features");
    for (size_t e = 0; !status && e < n; e++) {
        nh_edge_feature(f, e, vector);
        for (size_t i = 0; i < f->dim; i++)
            if (as_double)
                c->as_double[e * f->dim + i] = vector[i];
            else
                c->as_float[e * f->dim + i] = (float)vector[i];
    }
    free(vector);
    c->rows.as_float = c->as_float;
    c->rows.as_double = c->as_double;
    c->rows.run = c->run;
    c->rows.width = f->dim;
    c->rows.scale = 1;
    c->bytes += count * (as_double ? sizeof(double) : sizeof(float));
    return status;
}

/* The features of H0, of the shell pairs that occur here alone: most pairs of a padded basis do not. */
static int embed(nh_sample *c, const nh_sample_kind *kind, nh_error *err)
{
    const nh_graph *g = c->graph;
    size_t *slot = NH_ARRAY(size_t, g->structure.shell_start[g->structure.n_species]);
    bool *used = NH_ARRAY(bool, nh_embedding_pairs(kind->embedding));
    nh_selection own = {0};
    int status = slot && used ? 0 : nh_fail_memory(err, "features");
    if (!status) status = nh_embedding_slots(kind->embedding, &g->structure, slot, err);
    if (!status) {
        nh_embedding_used(kind->embedding, g, slot, c->list.edges.n_edge, c->list.pair, used);
        status = nh_selection_new(kind->embedding, NH_PART_ALL, used, &own, err);
    }
    if (!status) status = find_runs(c, &own, kind, err);
    if (!status)
        status = keep_features(c,
                               &(nh_edge_features){.graph = g,
                                                   .list = &c->list,
                                                   .dim = own.irreps.dim,
                                                   .transform = {kind->embedding, &own, &g->structure, slot},
                                                   .scale = 1},
                               kind->as_double, err);
    nh_selection_free(&own);
    free(used);
    free(slot);
    return status;
}

/* `input: elements`: of the elements that occur here alone. */
static int embed_elements(nh_sample *c, bool as_double, nh_error *err)
{
    const nh_structure *s = &c->graph->structure;
    const size_t n = s->n_species;
    size_t *species_at = NH_ARRAY(size_t, n);
    c->run = nh_calloc(n, sizeof *c->run);
    c->rows.n_run = n;
    for (size_t k = 0; species_at && c->run && k < n; k++) {
        species_at[k] = k;
        c->run[k] = (nh_feature_run){.from = k, .to = (size_t)s->atomic_number[k], .count = 1};
    }
    const nh_edge_features f = {.graph = c->graph, .list = &c->list, .dim = n, .species_at = species_at};
    const int status =
        species_at && c->run ? keep_features(c, &f, as_double, err) : nh_fail_memory(err, "features");
    free(species_at);
    return status;
}

/* Errors of H0 as the file has it. */
static int h0_metrics(nh_sample *c, const nh_sample_kind *kind, nh_error *err)
{
    const nh_graph *g = c->graph;
    const nh_gauge q = {.graph = g,
                        .a = g->matrix[NH_H0],
                        .reference = g->matrix[NH_H_LABEL],
                        .n_pair = c->list.edges.n_edge,
                        .pair = c->list.pair,
                        .rule = NH_GAUGE_L2};
    if (q.a)
        return nh_gauge_by_spin(&q, c->h0.region, err) ||
                       nh_gauge_by_distance(&q, kind->n_limit, kind->limit, c->h0.range, err)
                   ? -1
                   : 0;
    for (size_t i = 0; i < NH_GAUGE_N_REGION; i++)
        c->h0.region[i].part[NH_GAUGE_COMPLEX].mae = NAN;
    return 0;
}

/* What the network sees, and then, in the place of H0, what it is to correct. */
static int take_h0(nh_sample *c, const nh_sample_kind *kind, nh_error *err)
{
    nh_graph *g = c->graph;
    if (!g->matrix[NH_H0] &&
        !(g->matrix[NH_H0] = nh_calloc(g->pairs.n_elem, 2 * (size_t)g->n_spin * sizeof(double))))
        return nh_fail_memory(err, "H0");
    if (kind->config->h0 == NH_H0_TIME_REVERSAL) nh_time_reversal_average(g, g->matrix[NH_H0]);
    const int status =
        kind->config->input == NH_INPUT_H0 ? embed(c, kind, err) : embed_elements(c, kind->as_double, err);
    nh_base(kind->config, g, g->matrix[NH_H0]);
    return status;
}

/* FILE.4x4x4.kcache, with the mesh in its name so that runs with different meshes do not disturb each other,
 * or a file of k_folder where the data's folder cannot be written (and has none): its name has a
 * hash of the path, for crystals of one name in several folders. */
static int open_states(nh_sample *c, const nh_sample_kind *kind, nh_error *err)
{
    char *beside = NULL, *folder = nh_strdup(c->name), *path = NULL;
    int status = 0;
    static const char *const shift[] = {"", "-gamma", "-both"};
    const int *const mesh = kind->k.mesh;
    const char *const where = shift[kind->k.shift];
    if (!folder || asprintf(&beside, "%s.%dx%dx%d%s.kcache", c->name, mesh[0], mesh[1], mesh[2], where) < 0) {
        free(folder);
        return nh_fail_memory(err, "name of the k-space states");
    }
    char *slash = strrchr(folder, '/');
    if (slash) slash[slash == folder] = '\0';
    if (access(beside, R_OK) == 0 || !kind->k_folder || access(slash ? folder : ".", W_OK) == 0) {
        path = beside;
        beside = NULL;
    } else {
        const char *base = strrchr(c->name, '/');
        if (asprintf(&path, "%s/%s-%016" PRIx64 ".%dx%dx%d%s.kcache", kind->k_folder,
                     base ? base + 1 : c->name, nh_hash(c->name), mesh[0], mesh[1], mesh[2], where) < 0)
            path = NULL;
    }
    if (!path) status = nh_fail_memory(err, "name of the k-space states");
    if (!status) status = nh_kcache_open(path, c->graph, &kind->k, NULL, &c->k, NULL, err);
    free(path);
    free(beside);
    free(folder);
    return status;
}

int nh_sample_new(const nh_sample_kind *kind, const char *path, nh_graph *g, nh_sample **out, nh_error *err)
{
    nh_sample *c = NH_ARRAY(nh_sample, 1);
    *out = NULL;
    if (!c) {
        nh_graph_free(g);
        return nh_fail_memory(err, path);
    }
    c->graph = g;
    c->name = nh_strdup(path);
    int status = c->name ? nh_sample_check(kind, path, g, err) : nh_fail_memory(err, path);
    const bool h0 = g->matrix[NH_H0] || !nh_config_needs_h0(kind->config);
    if (!status && (!h0 || !g->matrix[NH_H_LABEL] || !g->overlap))
        status = nh_fail(err, "%s: h0, h_label and overlap are needed for training", path);
    if (!status && nh_overlap_check(&g->structure, &g->pairs, g->overlap, err))
        status = nh_fail_at(err, "%s", path);
    if (!status) {
        status = nh_edge_list_new(g, kind->config->cutoff, &c->list, err) || h0_metrics(c, kind, err) ||
                         take_h0(c, kind, err) ||
                         nh_loss_data_new(kind->config, g, kind->embedding, kind->output, kind->padding,
                                          &c->loss, err) ||
                         (kind->with_k && open_states(c, kind, err))
                     ? nh_fail_at(err, "%s", path)
                     : 0;
    }
    /* H0, label, overlap, and about as much again in the loss data. */
    c->bytes += sizeof *c + g->pairs.n_elem * (2 * 4 * (size_t)g->n_spin + 2) * sizeof(double);
    if (status)
        nh_sample_free(c);
    else
        *out = c;
    return status;
}
