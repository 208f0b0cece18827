/* One block of the network there and back against the official program (transblock.nc), inside a sub-model
 * whose tape is opened for it. */
#define NH_REAL_DOUBLE
#include "check.h"
#include "golden.h"

#include "network/internal.h"

static const char CONFIG[] = "basis: 2s1p1d\nmid: 8x0e+4x1o+4x1e+2x2e+2x2o+2x3e+2x3o+2x4e\nblocks: 2\n"
                             "tracegrad: {hidden: 8, hidden_last: 8, z: 32}\ntrace_head: [4, 4, 4]\n"
                             "ranges: [[0, 100]]\n";

static void no_features(void *context, size_t first, size_t n, double *out)
{
    (void)first;
    memset(out, 0, n * *(const size_t *)context * sizeof *out);
}

/* Rows of e3nn vectors to rows as they are stored, and back: row t of one is row to[t] of the other. */
static void load(const nh_layout *layout, size_t n, const size_t *to, const double *from, double *rows)
{
    for (size_t t = 0; t < n; t++)
        nh_from_e3nn_d(layout, 1, from + t * layout->dim, rows + to[t] * layout->dim);
}

static void expect(int nc, const char *name, const nh_layout *layout, size_t n, const size_t *to,
                   const double *rows)
{
    double *golden = golden_read(nc, name), *found = calloc(n * layout->dim, sizeof *found);
    assert_non_null(found);
    assert_int_equal(golden_count(nc, name, NULL), n * layout->dim);
    for (size_t t = 0; t < n; t++)
        nh_to_e3nn_d(layout, 1, rows + to[t] * layout->dim, found + t * layout->dim);
    assert_close(n * layout->dim, found, golden, 1e-10, name);
    free(golden);
    free(found);
}

typedef struct block_test {
    int nc;
    nh_config config;
    nh_types types;
    nh_params params;
    nh_weights weights;
    nh_irreps edge_out;
    nh_linear_map edge_map; /* HEADS -> the golden block's edge type, which no sub-model has */
    nh_network_d *net;
    nh_edges g;
    size_t *node; /* 0, 1, .. */
} block_test;

static double *parameter(int nc, const char *prefix, const char *name)
{
    char variable[128];
    snprintf(variable, sizeof variable, "%s.%s", prefix, name);
    return golden_has(nc, variable) ? golden_read(nc, variable) : NULL;
}

/* The parameter of block 0 in the golden file; NULL: not one of block 0, or edge_proj. */
static const char *block_name(const char *name)
{
    if (strncmp(name, "blocks.0.", 9) != 0 || strstr(name, "edge_proj") != NULL) return NULL;
    return name + 9;
}

static void set_up(block_test *b)
{
    *b = (block_test){.nc = golden_open("transblock.nc")};
    size_t *all, edges, nodes;
    OK(nh_config_parse(CONFIG, "config", &b->config, &err));
    OK(nh_types_new(&b->config, &b->types, &err));
    OK(nh_params_new(&b->config, &b->params, &err));
    OK(nh_weights_new(&b->params, true, &b->weights, &err));
    OK(nh_weights_rule(&b->params, "test:", &b->weights, &err));
    size_t taken = 0;
    for (size_t i = 0; i < b->params.count; i++) {
        const char *name = block_name(b->params.param[i].name);
        double *golden = name != NULL ? parameter(b->nc, "p", name) : NULL;
        if (golden == NULL) continue;
        memcpy(b->weights.as_double[i], golden, b->params.param[i].count * sizeof *golden);
        free(golden);
        taken++;
    }
    assert_true(taken >= 40);
    all = calloc(b->types.out.count, sizeof *all);
    assert_non_null(all);
    for (size_t i = 0; i < b->types.out.count; i++)
        all[i] = i;
    OK(nh_network_d_new(&b->config, &b->types, &b->params, &b->weights, 0, &b->types.out, all, &b->types.out,
                        all, false, NH_METHOD_FAST, NULL, &b->net, &err));
    free(all);

    /* edge_proj in the place of TraceGrad's first layer, which is not run */
    char *text = golden_text(b->nc, "irreps_edge_out");
    OK(nh_irreps_parse(text, &b->edge_out, &err));
    free(text);
    OK(nh_linear_map_new(&b->types.heads, 0, NULL, &b->edge_out, 0, NULL, 0, &b->edge_map, &err));
    nh_block *block = &b->net->block[0];
    double *weight = golden_read(b->nc, "p.ga.edge_proj.tp.weight"),
           *bias = golden_read(b->nc, "p.ga.edge_proj.bias.0");
    const size_t room = block->invariants.width[0] * block->invariants.width[1];
    assert_true(b->edge_map.n_weight + b->edge_map.n_bias <= room);
    assert_true(b->edge_map.out.dim <= b->net->mid.dim);
    block->edge_proj = (nh_linear){.map = &b->edge_map,
                                   .weight = block->invariants.weight[0],
                                   .bias = block->invariants.weight[0] + b->edge_map.n_weight};
    nh_linear_pack_d(&b->edge_map, weight, block->edge_proj.weight);
    memcpy(block->edge_proj.bias, bias, b->edge_map.n_bias * sizeof *bias);
    free(weight);
    free(bias);

    golden_count(b->nc, "edge_src", &edges);
    golden_count(b->nc, "node_in", &nodes);
    double *vector = golden_read(b->nc, "edge_vec"), *distance = calloc(edges, sizeof *distance);
    b->node = calloc(nodes, sizeof *b->node);
    assert_true(distance && b->node);
    for (size_t a = 0; a < nodes; a++)
        b->node[a] = a;
    for (size_t e = 0; e < edges; e++)
        distance[e] = sqrt(vector[3 * e] * vector[3 * e] + vector[3 * e + 1] * vector[3 * e + 1] +
                           vector[3 * e + 2] * vector[3 * e + 2]);
    b->g = (nh_edges){.n_node = nodes,
                      .n_edge = edges,
                      .src = golden_ints(b->nc, "edge_src"),
                      .dst = golden_ints(b->nc, "edge_dst"),
                      .vector = vector,
                      .distance = distance};
}

static void tear_down(block_test *b)
{
    nh_network_d_free(b->net);
    nh_linear_map_free(&b->edge_map);
    nh_irreps_free(&b->edge_out);
    nh_weights_free(&b->weights);
    nh_params_free(&b->params);
    nh_types_free(&b->types);
    nh_config_free(&b->config);
    free((void *)b->g.src);
    free((void *)b->g.dst);
    free((void *)b->g.vector);
    free((void *)b->g.distance);
    free(b->node);
    nc_close(b->nc);
}

static void check_parameters(const block_test *b, nh_pass *f)
{
    nh_weights g;
    OK(nh_network_d_gradients_new(b->net, &g, &err));
    nh_back_end_d(f, g.as_double);
    size_t compared = 0;
    for (size_t i = 0; i < b->params.count; i++) {
        const char *name = block_name(b->params.param[i].name);
        double *golden = name != NULL && g.as_double[i] != NULL ? parameter(b->nc, "g", name) : NULL;
        if (golden == NULL) continue;
        assert_close(b->params.param[i].count, g.as_double[i], golden, 1e-9, name);
        free(golden);
        compared++;
    }
    assert_true(compared >= 40);
    nh_weights_free(&g);

    const nh_linear *l = &b->net->block[0].edge_proj;
    double *golden = golden_read(b->nc, "g.ga.edge_proj.tp.weight"),
           *bias = golden_read(b->nc, "g.ga.edge_proj.bias.0");
    const size_t n = golden_count(b->nc, "g.ga.edge_proj.tp.weight", NULL);
    double *flat = calloc(n, sizeof *flat);
    assert_non_null(flat);
    nh_linear_unpack_add_d(&b->edge_map, f->packed[0] + (l->weight - b->net->packed), flat);
    assert_close(n, flat, golden, 1e-9, "edge_proj");
    assert_close(b->edge_map.n_bias, f->packed[0] + (l->bias - b->net->packed), bias, 1e-9, "edge_proj.bias");
    free(golden);
    free(bias);
    free(flat);
}

static void there_and_back(nh_tape_memory memory)
{
    block_test b;
    set_up(&b);
    const nh_layout *mid = &b.net->mid;
    const size_t n_edge = b.g.n_edge, n_node = b.g.n_node, dim = b.types.out.dim;
    nh_network_d_tape *tape;
    OK(nh_network_d_tape_new(memory, &tape, &err));
    OK(nh_network_d_forward_keep(b.net, &b.g, no_features, (void *)&dim, NULL, NULL, tape, NULL, NULL, &err));
    nh_pass *f = &tape->pass;
    b.net->block[0].has_invariants = false;

    double *edge_in = golden_read(b.nc, "edge_in"), *node_in = golden_read(b.nc, "node_in"),
           *c_edge = golden_read(b.nc, "c_edge"), *c_node = golden_read(b.nc, "c_node");
    nh_enter_block_d(f, 0);
    load(mid, n_edge, f->position, edge_in, f->s.saved[0].edge);
    load(mid, n_node, b.node, node_in, f->s.saved[0].node);
    nh_run_block_d(f);
    expect(b.nc, "edge_out", &b.edge_map.out, n_edge, f->position, f->s.raw);
    expect(b.nc, "node_out", mid, n_node, b.node, f->s.node_next);

    nh_back_begin_d(f);
    load(&b.edge_map.out, n_edge, f->position, c_edge, f->s.back.edge);
    load(mid, n_node, b.node, c_node, f->s.back.node);
    nh_block_back_d(f);
    expect(b.nc, "g_edge_in", mid, n_edge, f->position, f->s.back.edge);
    expect(b.nc, "g_node_in", mid, n_node, b.node, f->s.back.node);
    check_parameters(&b, f);

    free(edge_in);
    free(node_in);
    free(c_edge);
    free(c_node);
    nh_network_d_tape_free(tape);
    tear_down(&b);
}

static void recomputed(void **state)
{
    (void)state;
    there_and_back(NH_TAPE_RECOMPUTE);
}

static void stored(void **state)
{
    (void)state;
    there_and_back(NH_TAPE_STORE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(recomputed), cmocka_unit_test(stored)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
