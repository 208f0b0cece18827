/* The configuration, the feature types and the table of parameters that follow from it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"
#include "base/stream.h"
#include "nextham/elements.h"
#include "nextham/parameters.h"

#include <math.h>
#include <netcdf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char SMALL[] = "network: nextham-v1\n"
                            "basis: 2s1p1d\n"
                            "mid: 8x0e+4x1o+4x1e+2x2e+2x2o+2x3e+2x3o+2x4e\n"
                            "tracegrad: {hidden: 1024, hidden_last: 64, z: 256, scale: 0.2}\n";

static nh_config parse(const char *text)
{
    nh_config c;
    nh_error err = {""};
    if (nh_config_parse(text, "net.yaml", &c, &err)) fail_msg("%s", err.text);
    return c;
}

static nh_config parse_file(const char *path)
{
    char *text;
    nh_error err = {""};
    if (nh_read_text(path, 1 << 20, &text, &err)) fail_msg("%s", err.text);
    const nh_config c = parse(text);
    free(text);
    return c;
}

static int open_golden(const char *name)
{
    const char *folder = getenv("NH_GOLDEN");
    char path[512];
    int id;
    snprintf(path, sizeof path, "%s/%s", folder ? folder : "tests/golden", name);
    if (nc_open(path, NC_NOWRITE, &id)) fail_msg("%s cannot be read", path);
    return id;
}

static void assert_type(const nh_irreps *type, const char *expected)
{
    char *text = nh_irreps_text(type);
    assert_non_null(text);
    assert_string_equal(text, expected);
    free(text);
}

/* Keys that are left out take the values of formats/README.md; the complete text reads back as the same
 * configuration. */
static void defaults_and_text(void **state)
{
    (void)state;
    nh_config bare = parse("network: nextham-v1"), standard = parse_file("pipelines/standard.yaml");
    assert_int_equal(bare.reconstruct, NH_RECONSTRUCT_UU);
    assert_int_equal(standard.reconstruct, NH_RECONSTRUCT_SPIN_AVERAGE);
    standard.reconstruct = NH_RECONSTRUCT_UU;
    char *a = nh_config_text(&bare), *b = nh_config_text(&standard);
    assert_string_equal(a, b);
    nh_config again = parse(a);
    char *c = nh_config_text(&again);
    assert_string_equal(a, c);
    assert_non_null(strstr(a, "radial: {basis: 64, max: 10, hidden: [64, 64]}\n"));
    assert_non_null(strstr(a, "ranges: [[0, 1], [1, 2], [2, 4], [4, 6]]\n"));
    assert_non_null(strstr(a, "rydberg: 13.605698066\n"));
    free(a);
    free(b);
    free(c);
    nh_config_free(&bare);
    nh_config_free(&standard);
    nh_config_free(&again);
}

/* Every key away from its default survives the text. */
static void every_key(void **state)
{
    (void)state;
    static const char text[] =
        "network: nextham-v1\nbasis: 2s1p\ncutoff: 7.25\nsh_lmax: 4\nmid: 6x0e+2x1o\nheads: 3\nblocks: 2\n"
        "radial: {basis: 10, max: 0.1, hidden: [7, 9]}\n"
        "tracegrad: {hidden: 5, hidden_last: 4, z: 3, scale: 0}\ntrace_head: [8]\n"
        "ranges: [[0.5, 1.25], [2, 3]]\ndecay: 0\noutput_scale: 0.02\nnorm_eps: 0.5\nreconstruct: "
        "spin-average\nh0: time-reversal\n"
        "rydberg: 13.6\nonsite_copies: 2\n"
        "edge_scalars: 11\nalpha_hidden: [12, 13]\nlift: true\nedge_init: paper\n"
        "input: elements\ntarget: hamiltonian\n";
    nh_config c = parse(text);
    char *again = nh_config_text(&c);
    assert_string_equal(again, text);
    assert_int_equal(c.alpha_scalars, 6);
    free(again);
    nh_config_free(&c);
    nh_config nested = parse("network:\n  blocks: 3\n  heads: 2\n");
    assert_int_equal(nested.blocks, 3);
    nh_config_free(&nested);
}

static void bad_configs(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } bad[] = {
        {"network: nextham-v1\nwidth: 3", "net.yaml:2: unknown key"},
        {"blocks: 4\nh0: none", "net.yaml:2: h0: none leaves nothing to see, but with input: elements"},
        {"input: orbitals", "net.yaml:1: input: 'orbitals' found, h0 or elements expected"},
        {"target: bands", "net.yaml:1: target: 'bands' found, correction or hamiltonian expected"},
        {"network: nextham-v9", "net.yaml:1: network: 'nextham-v9' is not known"},
        {"- 1\n- 2", "net.yaml:1: the network's keys expected"},
        {"blocks: 4\nmid: 16x1o+32x0e", "net.yaml:2: mid: the first entry must be even scalars"},
        {"mid: 16x0o", "the first entry must be even scalars"},
        {"mid: 16x0e+4x1o+4x1o", "net.yaml:1: mid: 1o occurs twice"},
        {"mid: 16x0e+4x1z", "net.yaml:1: mid"},
        {"mid: ''", "mid"},
        {"basis: 4s2q", "net.yaml:1: basis"},
        {"heads: 0", "net.yaml:1: heads: 0 found"},
        {"heads: -2", "net.yaml:1: heads"},
        {"heads: many", "heads"},
        {"heads: 99999999999999999999", "heads"},
        {"blocks: 0", "blocks: 0 found"},
        {"blocks: 1000000", "blocks: 1000000 found"},
        {"sh_lmax: 40", "sh_lmax: 40 found"},
        {"cutoff: 0", "cutoff: 0 found"},
        {"cutoff: .nan", "cutoff"},
        {"rydberg: -1", "rydberg: -1 found"},
        {"onsite_copies: 3", "onsite_copies: 3 found"},
        {"reconstruct: dd", "reconstruct: 'dd' found, uu or spin-average expected"},
        {"blocks: 2\nh0: mean", "net.yaml:2: h0: 'mean' found, as-given, time-reversal or none expected"},
        {"radial: 64", "net.yaml:1: radial: a map expected"},
        {"radial: {base: 64}", "unknown key"},
        {"radial: {basis: 1}", "basis: 1 found"},
        {"radial: {hidden: [64]}", "hidden: a list of 2 widths expected"},
        {"tracegrad: {scale: -0.1}", "scale: -0.1 found"},
        {"trace_head: []", "trace_head"},
        {"trace_head: [512, 0]", "trace_head: width 0 found"},
        {"ranges: [[0, 1], [2, 2]]", "ranges: [2, 2] found, 0 <= lo < hi expected"},
        {"ranges: [[0, 1], [2]]", "ranges: range 1 is not of the form [lo, hi]"},
        {"ranges: [[0, 2], [3, 4], [1, 3]]", "ranges: [0, 2] and [1, 3] overlap"},
        {"ranges: []", "ranges"},
        {"ranges: [[0, .inf]]", "ranges"},
        {"alpha_hidden: 3", "alpha_hidden: a list of 2 widths expected"},
        {"edge_scalars: 0", "edge_scalars: 0 found"},
        {"heads: 2\nlift: maybe", "net.yaml:2: lift"},
        {"edge_init: product", "net.yaml:1: edge_init: 'product' found, linear or paper expected"},
        {"", "net.yaml"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        nh_config c;
        nh_error err = {""};
        if (!nh_config_parse(bad[i].text, "net.yaml", &c, &err)) fail_msg("accepted: %s", bad[i].text);
        if (!strstr(err.text, bad[i].expected))
            fail_msg("'%s' gives '%s', without '%s'", bad[i].text, err.text, bad[i].expected);
    }
}

/* docs/network.md 2.7, 3.1 and docs/network-v11.md 1. */
static void types_as_printed(void **state)
{
    (void)state;
    nh_error err = {""};
    nh_types t;
    nh_config c = parse("network: nextham-v1");
    assert_int_equal(nh_types_new(&c, &t, &err), 0);
    assert_type(&t.heads, "128x0e+64x1e+64x1o+32x2e+32x2o+32x3e+32x3o+32x4e");
    assert_type(&t.gate_in, "104x0e+16x1o+16x1e+8x2e+8x2o+8x3e+8x3o+8x4e");
    assert_type(&t.dtp_out, "72x0e+104x1e+144x1o+176x2e+144x2o+152x3e+192x3o+176x4e");
    assert_type(
        &t.post,
        "32x0e+56x0o+68x0e+136x1o+144x1e+144x2o+152x2e+112x3o+112x3e+64x4o+56x4e+24x5o+24x5e+8x6o+6x6e+2x7e");
    assert_type(&t.harmonics, "1x0e+1x1o+1x2e+1x3o+1x4e+1x5o");
    assert_int_equal(t.out.count, 1108);
    assert_int_equal(t.out.dim, 5832);
    assert_int_equal(t.n_path, 108);
    assert_int_equal(t.n_weight, 1160);
    assert_int_equal(t.dtp_out.dim, 6408);
    assert_int_equal(t.n_shell_pair, 81);
    nh_types_free(&t);
    nh_config_free(&c);
    c = parse_file("pipelines/v11.yaml");
    assert_int_equal(nh_types_new(&c, &t, &err), 0);
    assert_type(&t.heads,
                "128x0e+64x0o+64x1e+64x1o+32x2e+32x2o+32x3e+32x3o+32x4e+32x4o+16x5e+16x5o+4x6e+4x6o+4x7e");
    assert_type(&t.gate_in,
                "139x0e+16x0o+16x1o+16x1e+8x2e+8x2o+8x3e+8x3o+8x4e+8x4o+4x5e+4x5o+1x6e+1x6o+1x7e");
    assert_type(&t.dtp_out, "76x0e+60x0o+145x1e+161x1o+206x2e+191x2o+212x3e+228x3o+225x4e+210x4o+175x5e+"
                            "191x5o+116x6e+117x6o+72x7e");
    assert_int_equal(t.n_path, 327);
    assert_int_equal(t.n_weight, 2385);
    assert_int_equal(t.dtp_out.dim, 18169);
    nh_types_free(&t);
    nh_config_free(&c);
}

/* OUT entry by entry against the reference implementation. */
static void out_matches_golden(void **state)
{
    (void)state;
    nh_error err = {""};
    nh_types t;
    nh_config c = parse("network: nextham-v1");
    int variable;
    const int file = open_golden("wignereckart.nc");
    int(*lp)[2] = malloc(1108 * sizeof *lp);
    assert_int_equal(nh_types_new(&c, &t, &err), 0);
    assert_int_equal(nc_inq_varid(file, "irreps_lp", &variable), 0);
    assert_int_equal(nc_get_var_int(file, variable, &lp[0][0]), 0);
    nc_close(file);
    for (size_t i = 0; i < t.out.count; i++) {
        assert_int_equal(t.out.entry[i].mul, 1);
        assert_int_equal(t.out.entry[i].l, lp[i][0]);
        assert_int_equal(t.out.entry[i].p, lp[i][1]);
    }
    free(lp);
    nh_types_free(&t);
    nh_config_free(&c);
}

static void check_paths(const char *table, const char *config)
{
    enum { ENTRY, J, SLOT, MUL, L1, P1, L2, L3, P3, WEIGHT, COMPONENT, COLUMNS };
    nh_error err = {""};
    nh_types t;
    nh_config c = parse(config);
    int variable, (*row)[COLUMNS] = malloc(108 * sizeof *row);
    const int file = open_golden("depthwise_tp.nc");
    assert_int_equal(nh_types_new(&c, &t, &err), 0);
    assert_int_equal(t.n_path, 108);
    assert_int_equal(nc_inq_varid(file, table, &variable), 0);
    assert_int_equal(nc_get_var_int(file, variable, &row[0][0]), 0);
    nc_close(file);
    for (size_t k = 0; k < t.n_path; k++) {
        const struct nh_path *p = &t.path[k];
        const nh_irrep *in = &c.mid.entry[p->entry];
        size_t o = 0;
        while (t.dtp_out.entry[o].l != p->l || t.dtp_out.entry[o].p != p->p)
            o++;
        assert_int_equal(p->entry, row[k][ENTRY]);
        assert_int_equal(p->j, row[k][J]);
        assert_int_equal(in->mul, row[k][MUL]);
        assert_int_equal(in->l, row[k][L1]);
        assert_int_equal(in->p, row[k][P1]);
        assert_int_equal(p->j, row[k][L2]);
        assert_int_equal(p->l, row[k][L3]);
        assert_int_equal(p->p, row[k][P3]);
        assert_int_equal(p->weight, row[k][WEIGHT]);
        assert_int_equal(t.dtp_out.entry[o].offset + p->channel * (2 * (size_t)p->l + 1), row[k][COMPONENT]);
    }
    free(row);
    nh_types_free(&t);
    nh_config_free(&c);
}

static void paths_match_golden(void **state)
{
    (void)state;
    check_paths("paths_full", "network: nextham-v1");
    check_paths("paths_small", SMALL);
}

static size_t live(const nh_params *p, unsigned acts)
{
    size_t n = 0;
    for (size_t i = 0; i < p->count; i++)
        if (p->param[i].acts & acts) n += p->param[i].count;
    return n;
}

/* Sections 9 and docs/network-v11.md 3: what the official program gives a gradient. */
static void live_parameters(void **state)
{
    (void)state;
    nh_error err = {""};
    nh_params p;
    nh_config c = parse("network: nextham-v1");
    assert_int_equal(nh_params_new(&c, &p, &err), 0);
    assert_int_equal(live(&p, NH_ACTS_HAM | NH_ACTS_TRACE), 10023953);
    nh_params_free(&p);
    nh_config_free(&c);
    c = parse_file("pipelines/v11.yaml");
    assert_int_equal(nh_params_new(&c, &p, &err), 0);
    assert_int_equal(live(&p, NH_ACTS_HAM), 1504072);
    assert_int_equal(live(&p, NH_ACTS_TRACE), 11499741);
    assert_int_equal(live(&p, NH_ACTS_HAM | NH_ACTS_TRACE), 11626393);
    for (size_t i = 0; i < p.count; i++) /* without the gradient TraceGrad may be left out of the file */
        assert_int_equal(p.param[i].optional, !(p.param[i].acts & NH_ACTS_HAM));
    nh_params_free(&p);
    nh_config_free(&c);
}

static void assert_shape(const nh_params *p, const char *name, size_t rows, size_t columns)
{
    const size_t i = nh_params_find(p, name);
    if (i == SIZE_MAX) fail_msg("no parameter %s", name);
    assert_int_equal(p->param[i].n_dim, rows ? 2 : 1);
    assert_int_equal(p->param[i].dim[0], rows ? rows : columns);
    if (rows) assert_int_equal(p->param[i].dim[1], columns);
    assert_int_equal(p->param[i].count, (rows ? rows : 1) * columns);
}

static void shapes_of_the_table(void **state)
{
    (void)state;
    nh_error err = {""};
    nh_params p;
    nh_config c = parse("network: nextham-v1");
    assert_int_equal(nh_params_new(&c, &p, &err), 0);
    assert_shape(&p, "input_rs.tp.weight", 0, 11264);
    assert_shape(&p, "blocks.0.ga.pre_lin.tp.weight", 0, 5568);
    assert_shape(&p, "blocks.1.ga.sep_act.dtp_rad.net.6.weight", 1160, 64);
    assert_shape(&p, "blocks.2.ga.sep_act.lin.bias.0", 0, 104);
    assert_shape(&p, "blocks.3.ga.sep_alpha.tp.weight", 0, 9216);
    assert_shape(&p, "blocks.3.ga.lin_alpha.0.weight", 64, 96);
    assert_shape(&p, "blocks.3.ga.lin_alpha.6.weight", 4, 64);
    assert_shape(&p, "blocks.3.ga.edge_proj.tp.weight", 0, 49152);
    assert_shape(&p, "blocks.3.ga.edge_proj.bias.0", 0, 32);
    assert_shape(&p, "blocks.3.ga.edge_proj.bias.1", 0, 68);
    assert_shape(&p, "blocks.3.ffn_shortcut.tp.weight", 0, 16384);
    assert_shape(&p, "blocks.3.ffn_shortcut.bias.0", 0, 512);
    assert_shape(&p, "edge_feature_nonlin_block.2.fctp.weight", 0, 1900544);
    assert_shape(&p, "edge_feature_nonlin_block.3.fctp.weight", 0, 524288);
    assert_shape(&p, "edge_feature_nonlin_block.3.nonlinear_layers.0.weight", 256, 512);
    assert_shape(&p, "nonlinear_layers_for_norm_reg.0.weight", 512, 1024);
    assert_shape(&p, "nonlinear_layers_for_norm_reg.6.weight", 81, 512);
    assert_shape(&p, "edge_lin.tp.weight", 0, 126584);
    assert_shape(&p, "edge_lin.bias.67", 0, 1);
    assert_int_equal(nh_params_find(&p, "edge_lin.bias.68"), SIZE_MAX);
    assert_int_equal(nh_params_find(&p, "blocks.2.ffn_shortcut.bias.0"), SIZE_MAX);
    static const char *const dead[] = {"blocks.3.ga.proj.tp.weight", "blocks.3.norm_2.affine_bias",
                                       "blocks.3.ffn.fctp_1.bias.0", "blocks.3.ffn_shortcut.tp.weight"};
    for (size_t i = 0; i < sizeof dead / sizeof dead[0]; i++) {
        const nh_param *a = &p.param[nh_params_find(&p, dead[i])];
        assert_int_equal(a->acts, 0);
        assert_true(a->optional);
    }
    nh_params_free(&p);
    nh_config_free(&c);
}

/* input: elements: the element table in the place of the map of H0, all else as it is. */
static void table_of_elements(void **state)
{
    (void)state;
    nh_error err = {""};
    nh_params p, q;
    nh_config h0 = parse("network: nextham-v1"), elements = parse("input: elements");
    assert_int_equal(nh_params_new(&h0, &p, &err), 0);
    assert_int_equal(nh_params_new(&elements, &q, &err), 0);
    assert_int_equal(p.count, q.count);
    assert_shape(&q, "ele_embed.weight", 120, 32);
    assert_int_equal(nh_params_find(&q, "ele_embed.weight"), 0);
    assert_true(q.param[0].acts == (NH_ACTS_HAM | NH_ACTS_TRACE) && !q.param[0].optional);
    assert_string_equal(p.param[0].name, "input_rs.tp.weight");
    for (size_t i = 1; i < p.count; i++) {
        assert_string_equal(p.param[i].name, q.param[i].name);
        assert_true(p.param[i].count == q.param[i].count && p.param[i].acts == q.param[i].acts);
    }
    nh_params_free(&p);
    nh_params_free(&q);
    nh_config_free(&h0);
    nh_config_free(&elements);
}

/* The official program's list of parameters with a gradient is the list of live ones, and the shapes agree.
 */
static void names_match_golden(void **state)
{
    (void)state;
    nh_error err = {""};
    nh_params p;
    nh_config c = parse(SMALL);
    const int file = open_golden("network_small.nc");
    int variable, dim, n_variable;
    size_t n_name, in_range0 = 0, n_live = 0, shapes = 0;
    assert_int_equal(nh_params_new(&c, &p, &err), 0);
    assert_int_equal(nc_inq_varid(file, "grad_names", &variable), 0);
    assert_int_equal(nc_inq_dimid(file, "names", &dim), 0);
    assert_int_equal(nc_inq_dimlen(file, dim, &n_name), 0);
    char **name = calloc(n_name, sizeof *name);
    assert_int_equal(nc_get_var_string(file, variable, name), 0);
    for (size_t i = 0; i < n_name; i++) {
        if (strncmp(name[i], "range0:", 7)) continue;
        const size_t k = nh_params_find(&p, name[i] + 7);
        if (k == SIZE_MAX || !p.param[k].acts) fail_msg("%s is not live here", name[i]);
        in_range0++;
    }
    nc_free_string(n_name, name);
    free(name);
    for (size_t i = 0; i < p.count; i++)
        n_live += p.param[i].acts != 0;
    assert_int_equal(n_live, in_range0);
    nc_inq_nvars(file, &n_variable);
    for (int v = 0; v < n_variable; v++) {
        char text[NC_MAX_NAME + 1];
        int n_dim, id[NC_MAX_VAR_DIMS];
        nc_inq_varname(file, v, text);
        if (strncmp(text, "g_range1.", 9)) continue;
        const nh_param *a = &p.param[nh_params_find(&p, text + 9)];
        nc_inq_var(file, v, NULL, NULL, &n_dim, id, NULL);
        assert_int_equal(n_dim, a->n_dim);
        for (int d = 0; d < n_dim; d++) {
            size_t length;
            nc_inq_dimlen(file, id[d], &length);
            assert_int_equal(length, a->dim[d]);
        }
        shapes++;
    }
    assert_true(shapes > 10);
    nc_close(file);
    nh_params_free(&p);
    nh_config_free(&c);
}

static void dead_names(void **state)
{
    (void)state;
    static const char *const dead[] = {"ele_embed.weight",
                                       "norm.affine_weight",
                                       "head.0.tp.weight",
                                       "blocks.2.ga.alpha_dot",
                                       "blocks.0.ga_edge.merge_src.tp.weight",
                                       "blocks.1.update_edge.x",
                                       "blocks.12.node_update.conv.tp.weights0.1",
                                       "blocks.3.edge_update.conv.tp.weights3.4",
                                       "blocks.0.ga.merge_src.tp.output_mask",
                                       "blocks.0.ga.sep_act.dtp.tp._compiled_main_left_right._w3j_1_1_2",
                                       "blocks.0.ga.sep_act.gate.mul.weight",
                                       "blocks.0.ga.sep_act.dtp.tp.weight"};
    static const char *const alive[] = {"blocks.0.ga.merge_src.tp.weight",
                                        "edge_lin.bias.3",
                                        "heads.weight",
                                        "blocks.x.ga_edge.y",
                                        "blocks.0.norm_1.affine_weight",
                                        "blocks.0.ga.sep_value.dtp.tp.weight"};
    for (size_t i = 0; i < sizeof dead / sizeof dead[0]; i++)
        if (!nh_param_known_dead(dead[i])) fail_msg("%s is dead", dead[i]);
    for (size_t i = 0; i < sizeof alive / sizeof alive[0]; i++)
        if (nh_param_known_dead(alive[i])) fail_msg("%s is not known to be dead", alive[i]);
}

static double value(const nh_params *p, const nh_weights *w, const char *name, size_t i)
{
    const size_t k = nh_params_find(p, name);
    assert_true(k != SIZE_MAX && w->as_double[k]);
    return w->as_double[k][i];
}

/* Section 10 with the check values of golden/README.md. */
static void rule_weights(void **state)
{
    (void)state;
    nh_error err = {""};
    nh_params p;
    nh_weights w;
    nh_config c = parse(SMALL);
    assert_int_equal(nh_params_new(&c, &p, &err), 0);
    assert_int_equal(nh_weights_new(&p, true, &w, &err), 0);
    assert_int_equal(nh_weights_rule(&p, "small:range2:", &w, &err), 0);
    assert_true(value(&p, &w, "blocks.1.norm_2.affine_bias", 0) == 0.1 * -0.25245259141523668);
    assert_true(value(&p, &w, "blocks.1.norm_2.affine_bias", 3) == 0.1 * -0.042799627908830518);
    const uint64_t h = nh_hash("small:range2:blocks.0.ga.lin_alpha.0.weight");
    assert_true(value(&p, &w, "blocks.0.ga.lin_alpha.0.weight", 75) ==
                sqrt(3.0 / 72) * nh_hash_uniform(h, 75));
    assert_true(fabs(value(&p, &w, "blocks.0.ga.lin_alpha.1.weight", 5) - 1) <= 0.1);
    assert_true(fabs(value(&p, &w, "blocks.0.norm_1.affine_weight", 5) - 1) <= 0.1);
    assert_true(fabs(value(&p, &w, "edge_feature_nonlin_block.0.nonlinear_layers.4.weight", 5) - 1) <= 0.1);
    /* the scales, by the largest of many numbers */
    static const struct {
        const char *name;
        double scale;
    } scales[] = {{"blocks.0.ga.merge_dst.tp.weight", 0.4},
                  {"blocks.1.ffn.fctp_2.tp.weight", 0.4},
                  {"edge_lin.tp.weight", 0.2},
                  {"blocks.0.ga.sep_value.lin.tp.weight", 0.2},
                  {"blocks.0.ga.sep_value.dtp.tp.weight", 1.7},
                  {"edge_feature_nonlin_block.1.fctp.weight", 1.7},
                  {"blocks.2.ga.sep_act.dtp_rad.offset", 0.3}};
    for (size_t i = 0; i < sizeof scales / sizeof scales[0]; i++) {
        const size_t k = nh_params_find(&p, scales[i].name);
        double largest = 0;
        for (size_t j = 0; j < p.param[k].count; j++)
            largest = fmax(largest, fabs(w.as_double[k][j]));
        if (!(largest <= scales[i].scale && largest > 0.9 * scales[i].scale))
            fail_msg("%s: %g", scales[i].name, largest);
    }
    assert_null(w.as_double[nh_params_find(&p, "blocks.3.ga.proj.tp.weight")]);
    nh_weights_free(&w);
    nh_params_free(&p);
    nh_config_free(&c);
}

static void assert_near(double found, double expected, double tolerance)
{
    if (!(fabs(found - expected) <= tolerance))
        fail_msg("%g, expected %g within %g", found, expected, tolerance);
}

static double mean_square(const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sum / (double)n;
}

/* Section 7: the second moments follow the fan-in; the numbers depend on seed, range and name alone. */
static void initialisation(void **state)
{
    (void)state;
    nh_error err = {""};
    nh_params p;
    nh_weights w, again, other;
    nh_config c = parse("network: nextham-v1\nblocks: 2\ntracegrad: {hidden: 8, hidden_last: 8}\n");
    assert_int_equal(nh_params_new(&c, &p, &err), 0);
    assert_int_equal(nh_weights_new(&p, true, &w, &err), 0);
    assert_int_equal(nh_weights_new(&p, false, &again, &err), 0);
    assert_int_equal(nh_weights_new(&p, true, &other, &err), 0);
    assert_int_equal(nh_weights_init(&p, 7, 1, &w, &err), 0);
    assert_int_equal(nh_weights_init(&p, 7, 1, &again, &err), 0);
    assert_int_equal(nh_weights_init(&p, 7, 2, &other, &err), 0);
    /* edge_lin: POST 32x0e+56x0o+68x0e+136x1o.. -> OUT. The first entry feeds the 68 0e outputs, which get 32
     * + 68 channels each. */
    size_t k = nh_params_find(&p, "edge_lin.tp.weight");
    assert_near(100 * mean_square(w.as_double[k], 32 * 68), 1, 0.1);
    assert_near(56 * mean_square(w.as_double[k] + 32 * 68, 56 * 56), 1, 0.1);
    k = nh_params_find(&p, "blocks.0.ga.pre_lin.tp.weight"); /* each output entry is fed three times */
    assert_near(96 * mean_square(w.as_double[k], 32 * 32), 1, 0.2);
    k = nh_params_find(&p, "blocks.0.ga.sep_value.dtp.tp.weight");
    assert_near(mean_square(w.as_double[k], p.param[k].count), 1, 0.2);
    k = nh_params_find(&p, "blocks.0.ga.sep_act.dtp_rad.net.6.weight"); /* uniform(+-1/8): variance 1/192 */
    assert_near(192 * mean_square(w.as_double[k], p.param[k].count), 1, 0.05);
    k = nh_params_find(&p, "blocks.0.ga.sep_act.dtp_rad.offset");
    assert_near(192 * mean_square(w.as_double[k], p.param[k].count), 1, 0.2);
    assert_true(value(&p, &w, "blocks.0.ga.lin_alpha.1.weight", 3) == 1);
    assert_true(value(&p, &w, "blocks.0.ga.lin_alpha.1.bias", 3) == 0);
    assert_true(value(&p, &w, "blocks.0.ga.merge_src.bias.0", 3) == 0);
    for (size_t i = 0; i < p.count; i++) {
        if (!p.param[i].acts) {
            assert_null(w.as_double[i]);
            continue;
        }
        for (size_t j = 0; j < p.param[i].count; j++)
            assert_true(again.as_float[i][j] == (float)w.as_double[i][j]);
        if (p.param[i].init == NH_INIT_LINEAR) assert_true(other.as_double[i][0] != w.as_double[i][0]);
    }
    nh_weights_free(&w);
    nh_weights_free(&again);
    nh_weights_free(&other);
    nh_params_free(&p);
    nh_config_free(&c);
}

static void elements_seen(void **state)
{
    (void)state;
    nh_error err = {""};
    nh_elements e = {0}, back, other = {0};
    const int z[] = {31, 33, 31, 54}; /* gallium twice, a species without an atom */
    int species[] = {0, 1, 2};
    const nh_structure s = {.n_atom = 3, .n_species = 4, .species = species, .atomic_number = (int *)z};
    assert_false(e.known);
    nh_elements_add(&e, &s);
    nh_elements_add(&e, &s);
    assert_true(e.known);
    assert_int_equal(nh_elements_count(&e), 2);
    char *text = nh_elements_text(&e);
    assert_string_equal(text, "Ga 2 As 2");
    free(text);
    assert_int_equal(nh_elements_parse("H 3 He 4  Ga 7\n", "f.nc", &other, &err), 0);
    assert_true(other.known && other.crystals[1] == 3 && other.crystals[2] == 4 && other.crystals[31] == 7);
    text = nh_elements_unseen(&other, &s);
    assert_string_equal(text, "As");
    free(text);
    nh_elements_join(&e, &other);
    nh_elements_join(&e, &other);
    text = nh_elements_text(&e);
    assert_string_equal(text, "H 3 He 4 Ga 7 As 2");
    assert_int_equal(nh_elements_parse(text, "f.nc", &back, &err), 0);
    assert_memory_equal(&back, &e, sizeof e);
    free(text);
    text = nh_elements_unseen(&e, &s);
    assert_string_equal(text, "");
    free(text);
    static const char *const bad[][2] = {{"Ga", "Ga"},       {"Ga As", "Ga"},
                                         {"Ga 0", "Ga"},     {"Ga -1", "Ga"},
                                         {"Ga 1x", "Ga"},    {"Ga 2 Ga 3", "twice"},
                                         {"Xx 1", "Xx"},     {"3", "'3'"},
                                         {"Fe1 2", "'Fe1'"}, {"H 99999999999999999999", "H"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(nh_elements_parse(bad[i][0], "f.nc: attribute elements", &back, &err), -1);
        assert_non_null(strstr(err.text, "f.nc: attribute elements: "));
        if (!strstr(err.text, bad[i][1])) fail_msg("%s: %s", bad[i][0], err.text);
    }
    assert_int_equal(nh_elements_parse("", "f.nc", &back, &err), 0);
    assert_int_equal(nh_elements_count(&back), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elements_seen),       cmocka_unit_test(defaults_and_text),
        cmocka_unit_test(every_key),           cmocka_unit_test(bad_configs),
        cmocka_unit_test(types_as_printed),    cmocka_unit_test(out_matches_golden),
        cmocka_unit_test(paths_match_golden),  cmocka_unit_test(live_parameters),
        cmocka_unit_test(shapes_of_the_table), cmocka_unit_test(names_match_golden),
        cmocka_unit_test(dead_names),          cmocka_unit_test(table_of_elements),
        cmocka_unit_test(rule_weights),        cmocka_unit_test(initialisation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
