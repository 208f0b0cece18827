#include "nextham/config.h"

#include "base/memory.h"
#include "base/stream.h"
#include "crystal/graph.h"

#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bounds on sizes that a config may ask for: far above every useful network, low enough that products of two
 * of them fit a size_t. */
enum {
    MAX_WIDTH = 1 << 20,
    MAX_BLOCKS = 64,
    MAX_HEADS = 256,
    MAX_SHELLS = 64,
    MAX_SHELL_L = 7,
    MAX_LAYERS = 64
};

static const char default_basis[] = "4s2p2d1f";
static const char default_mid[] = "32x0e+16x1o+16x1e+8x2e+8x2o+8x3e+8x3o+8x4e";
static const double default_range[][2] = {{0, 1}, {1, 2}, {2, 4}, {4, 6}};

/* Leaves out[] alone where the key is absent. */
static int get_sizes(const nh_yaml *map, const char *name, const char *key, size_t count, size_t *out,
                     nh_error *err)
{
    const nh_yaml *list = nh_yaml_find(map, key);
    if (!list) return 0;
    if (list->kind != NH_YAML_LIST || list->count != count)
        return nh_fail(err, "%s:%zu: %s: a list of %zu widths expected", name, list->line, key, count);
    for (size_t i = 0; i < count; i++) {
        long value = 0;
        if (nh_yaml_to_long(list->item[i], name, key, &value, err)) return -1;
        if (value < 1 || value > MAX_WIDTH)
            return nh_fail(err, "%s:%zu: %s: width %ld found, 1 to %d expected", name, list->item[i]->line,
                           key, value, MAX_WIDTH);
        out[i] = (size_t)value;
    }
    return 0;
}

static int get_basis(const nh_yaml *map, const char *name, nh_config *c, nh_error *err)
{
    const char *text = default_basis;
    if (nh_yaml_get_text(map, name, "basis", &text, err)) return -1;
    if (nh_shells_parse(text, &c->n_shell, &c->shell_l, err))
        return nh_fail_at(err, "%s:%zu: basis", name, nh_yaml_line(map, "basis"));
    if (c->n_shell == 0 || c->n_shell > MAX_SHELLS)
        return nh_fail(err, "%s:%zu: basis: %zu shells found, 1 to %d expected", name,
                       nh_yaml_line(map, "basis"), c->n_shell, MAX_SHELLS);
    for (size_t i = 0; i < c->n_shell; i++)
        if (c->shell_l[i] > MAX_SHELL_L)
            return nh_fail(err, "%s:%zu: basis: shell of degree %d found, at most %d expected", name,
                           nh_yaml_line(map, "basis"), c->shell_l[i], MAX_SHELL_L);
    return 0;
}

static int get_mid(const nh_yaml *map, const char *name, nh_config *c, nh_error *err)
{
    const char *text = default_mid;
    const size_t line = nh_yaml_line(map, "mid");
    if (nh_yaml_get_text(map, name, "mid", &text, err)) return -1;
    if (nh_irreps_parse(text, &c->mid, err)) return nh_fail_at(err, "%s:%zu: mid", name, line);
    if (c->mid.count == 0 || c->mid.entry[0].l != 0 || c->mid.entry[0].p != 1)
        return nh_fail(err, "%s:%zu: mid: the first entry must be even scalars (0e), found '%s'", name, line,
                       text);
    for (size_t i = 0; i < c->mid.count; i++) {
        const nh_irrep *a = &c->mid.entry[i];
        if (a->mul < 1 || a->mul > MAX_WIDTH)
            return nh_fail(err, "%s:%zu: mid: multiplicity %zu found, 1 to %d expected", name, line, a->mul,
                           MAX_WIDTH);
        for (size_t j = 0; j < i; j++)
            if (c->mid.entry[j].l == a->l && c->mid.entry[j].p == a->p)
                return nh_fail(err, "%s:%zu: mid: %d%c occurs twice, every irrep may be there once", name,
                               line, a->l, a->p > 0 ? 'e' : 'o');
    }
    c->alpha_scalars = c->mid.entry[0].mul;
    return 0;
}

static int get_radial(const nh_yaml *map, const char *name, nh_config *c, nh_error *err)
{
    static const char *const known[] = {"basis", "max", "hidden", NULL};
    const nh_yaml *radial;
    if (nh_yaml_get_map(map, name, "radial", known, &radial, err)) return -1;
    if (!radial) return 0;
    if (nh_yaml_get_size(radial, name, "basis", 2, MAX_WIDTH, &c->radial_basis, err)) return -1;
    if (nh_yaml_get_real_in(radial, name, "max", 0, INFINITY, true, &c->radial_max, err)) return -1;
    return get_sizes(radial, name, "hidden", 2, c->radial_hidden, err);
}

static int get_tracegrad(const nh_yaml *map, const char *name, nh_config *c, nh_error *err)
{
    static const char *const known[] = {"hidden", "hidden_last", "z", "scale", NULL};
    const nh_yaml *tg;
    if (nh_yaml_get_map(map, name, "tracegrad", known, &tg, err)) return -1;
    if (!tg) return 0;
    if (nh_yaml_get_size(tg, name, "hidden", 1, MAX_WIDTH, &c->tg_hidden, err)) return -1;
    if (nh_yaml_get_size(tg, name, "hidden_last", 1, MAX_WIDTH, &c->tg_hidden_last, err)) return -1;
    if (nh_yaml_get_size(tg, name, "z", 1, MAX_WIDTH, &c->tg_z, err)) return -1;
    return nh_yaml_get_real_in(tg, name, "scale", 0, INFINITY, false, &c->tg_scale, err);
}

static int get_trace_head(const nh_yaml *map, const char *name, nh_config *c, nh_error *err)
{
    const nh_yaml *list = nh_yaml_find(map, "trace_head");
    const size_t count = list ? list->count : 3;
    if (list && (list->kind != NH_YAML_LIST || count == 0 || count > MAX_LAYERS))
        return nh_fail(err, "%s:%zu: trace_head: a list of 1 to %d widths expected", name, list->line,
                       MAX_LAYERS);
    c->trace_head = NH_ARRAY(size_t, count);
    if (!c->trace_head) return nh_fail_memory(err, "trace head");
    c->n_trace_head = count;
    for (size_t i = 0; i < count; i++)
        c->trace_head[i] = 512;
    return get_sizes(map, name, "trace_head", count, c->trace_head, err);
}

static int get_ranges(const nh_yaml *map, const char *name, nh_config *c, nh_error *err)
{
    const nh_yaml *list = nh_yaml_find(map, "ranges");
    const size_t count = list ? list->count : sizeof default_range / sizeof default_range[0];
    if (list && (list->kind != NH_YAML_LIST || count == 0 || count > NH_MAX_RANGES))
        return nh_fail(err, "%s:%zu: ranges: a list of 1 to %d ranges [lo, hi] expected", name, list->line,
                       NH_MAX_RANGES);
    c->range = nh_calloc(count, sizeof *c->range);
    if (!c->range) return nh_fail_memory(err, "distance ranges");
    c->n_range = count;
    if (!list) {
        memcpy(c->range, default_range, sizeof default_range);
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        const nh_yaml *item = list->item[i];
        if (item->kind != NH_YAML_LIST || item->count != 2)
            return nh_fail(err, "%s:%zu: ranges: range %zu is not of the form [lo, hi]", name, item->line, i);
        for (size_t k = 0; k < 2; k++)
            if (nh_yaml_to_real(item->item[k], name, "ranges", &c->range[i][k], err)) return -1;
        if (!(c->range[i][0] >= 0 && c->range[i][0] < c->range[i][1] && isfinite(c->range[i][1])))
            return nh_fail(err, "%s:%zu: ranges: [%g, %g] found, 0 <= lo < hi expected", name, item->line,
                           c->range[i][0], c->range[i][1]);
        for (size_t k = 0; k < i; k++) /* a pair has one sub-model that answers for it */
            if (c->range[i][0] < c->range[k][1] && c->range[k][0] < c->range[i][1])
                return nh_fail(err, "%s:%zu: ranges: [%g, %g] and [%g, %g] overlap", name, item->line,
                               c->range[k][0], c->range[k][1], c->range[i][0], c->range[i][1]);
    }
    return 0;
}

static int get_rules(const nh_yaml *map, const char *name, nh_config *c, nh_error *err)
{
    const char *network = "nextham-v1", *reconstruct = "uu", *h0 = "as-given", *edge_init = "linear",
               *input = "h0", *target = "correction";
    if (nh_yaml_get_text(map, name, "network", &network, err)) return -1;
    if (strcmp(network, "nextham-v1"))
        return nh_fail(err, "%s:%zu: network: '%s' is not known, nextham-v1 is", name,
                       nh_yaml_line(map, "network"), network);
    if (nh_yaml_get_text(map, name, "reconstruct", &reconstruct, err)) return -1;
    if (!strcmp(reconstruct, "uu"))
        c->reconstruct = NH_RECONSTRUCT_UU;
    else if (!strcmp(reconstruct, "spin-average"))
        c->reconstruct = NH_RECONSTRUCT_SPIN_AVERAGE;
    else
        return nh_fail(err, "%s:%zu: reconstruct: '%s' found, uu or spin-average expected", name,
                       nh_yaml_line(map, "reconstruct"), reconstruct);
    if (nh_yaml_get_bool(map, name, "lift", &c->lift, err)) return -1;
    if (nh_yaml_get_text(map, name, "edge_init", &edge_init, err)) return -1;
    if (!strcmp(edge_init, "linear"))
        c->edge_init = NH_EDGE_INIT_LINEAR;
    else if (!strcmp(edge_init, "paper"))
        c->edge_init = NH_EDGE_INIT_PAPER;
    else
        return nh_fail(err, "%s:%zu: edge_init: '%s' found, linear or paper expected", name,
                       nh_yaml_line(map, "edge_init"), edge_init);
    if (nh_yaml_get_text(map, name, "h0", &h0, err)) return -1;
    if (!strcmp(h0, "as-given"))
        c->h0 = NH_H0_AS_GIVEN;
    else if (!strcmp(h0, "time-reversal"))
        c->h0 = NH_H0_TIME_REVERSAL;
    else if (!strcmp(h0, "none"))
        c->h0 = NH_H0_NONE;
    else
        return nh_fail(err, "%s:%zu: h0: '%s' found, as-given, time-reversal or none expected", name,
                       nh_yaml_line(map, "h0"), h0);
    if (nh_yaml_get_text(map, name, "input", &input, err)) return -1;
    if (!strcmp(input, "h0"))
        c->input = NH_INPUT_H0;
    else if (!strcmp(input, "elements"))
        c->input = NH_INPUT_ELEMENTS;
    else
        return nh_fail(err, "%s:%zu: input: '%s' found, h0 or elements expected", name,
                       nh_yaml_line(map, "input"), input);
    if (c->h0 == NH_H0_NONE && c->input == NH_INPUT_H0)
        return nh_fail(err, "%s:%zu: h0: none leaves nothing to see, but with input: elements", name,
                       nh_yaml_line(map, "h0"));
    if (nh_yaml_get_text(map, name, "target", &target, err)) return -1;
    if (!strcmp(target, "correction"))
        c->target = NH_TARGET_CORRECTION;
    else if (!strcmp(target, "hamiltonian"))
        c->target = NH_TARGET_HAMILTONIAN;
    else
        return nh_fail(err, "%s:%zu: target: '%s' found, correction or hamiltonian expected", name,
                       nh_yaml_line(map, "target"), target);
    return 0;
}

static int get_scalars(const nh_yaml *map, const char *name, nh_config *c, nh_error *err)
{
    size_t lmax = (size_t)c->sh_lmax, copies = (size_t)c->onsite_copies;
    if (nh_yaml_get_real_in(map, name, "cutoff", 0, INFINITY, true, &c->cutoff, err)) return -1;
    if (nh_yaml_get_size(map, name, "sh_lmax", 0, NH_LMAX, &lmax, err)) return -1;
    if (nh_yaml_get_size(map, name, "heads", 1, MAX_HEADS, &c->heads, err)) return -1;
    if (nh_yaml_get_size(map, name, "blocks", 1, MAX_BLOCKS, &c->blocks, err)) return -1;
    if (nh_yaml_get_real_in(map, name, "decay", 0, INFINITY, false, &c->decay, err)) return -1;
    if (nh_yaml_get_real_in(map, name, "output_scale", 0, INFINITY, true, &c->output_scale, err)) return -1;
    if (nh_yaml_get_real_in(map, name, "norm_eps", 0, INFINITY, true, &c->norm_eps, err)) return -1;
    if (nh_yaml_get_real_in(map, name, "rydberg", 0, INFINITY, true, &c->rydberg, err)) return -1;
    if (nh_yaml_get_size(map, name, "onsite_copies", 1, 2, &copies, err)) return -1;
    if (nh_yaml_get_size(map, name, "edge_scalars", 1, MAX_WIDTH, &c->edge_scalars, err)) return -1;
    if (get_sizes(map, name, "alpha_hidden", 2, c->alpha_hidden, err)) return -1;
    c->sh_lmax = (int)lmax;
    c->onsite_copies = (long)copies;
    return 0;
}

int nh_config_from_yaml(const nh_yaml *map, const char *name, nh_config *out, nh_error *err)
{
    static const char *const known[] = {
        "network",       "basis",        "cutoff",       "sh_lmax",   "mid",
        "heads",         "blocks",       "radial",       "tracegrad", "trace_head",
        "ranges",        "decay",        "reconstruct",  "h0",        "rydberg",
        "onsite_copies", "edge_scalars", "alpha_hidden", "lift",      "edge_init",
        "output_scale",  "norm_eps",     "input",        "target",    NULL};
    *out = (nh_config){.cutoff = 8.0,
                       .sh_lmax = 5,
                       .heads = 4,
                       .blocks = 4,
                       .radial_basis = 64,
                       .radial_max = 10.0,
                       .radial_hidden = {64, 64},
                       .tg_hidden = 1024,
                       .tg_hidden_last = 512,
                       .tg_z = 256,
                       .tg_scale = 0.2,
                       .decay = 0.2,
                       .output_scale = 1,
                       .norm_eps = 1e-5,
                       .rydberg = NH_RYDBERG,
                       .onsite_copies = 1,
                       .edge_scalars = 32,
                       .alpha_hidden = {64, 64}};
    if (map->kind != NH_YAML_MAP || map->count == 0)
        return nh_fail(err, "%s:%zu: the network's keys expected, a map", name, map->line);
    if (nh_yaml_check_keys(map, name, known, err)) return -1;
    if (get_rules(map, name, out, err) || get_basis(map, name, out, err) || get_mid(map, name, out, err) ||
        get_scalars(map, name, out, err) || get_radial(map, name, out, err) ||
        get_tracegrad(map, name, out, err) || get_trace_head(map, name, out, err) ||
        get_ranges(map, name, out, err)) {
        nh_config_free(out);
        return -1;
    }
    return 0;
}

int nh_config_parse(const char *text, const char *name, nh_config *out, nh_error *err)
{
    nh_yaml *document;
    *out = (nh_config){0};
    if (nh_yaml_parse(text, name, &document, err)) return -1;
    /* train.yaml has the keys one level down, beside data, loss, ...: take them from there if that is all the
     * document has. */
    const nh_yaml *map = document;
    if (document->kind == NH_YAML_MAP && document->count == 1) {
        const nh_yaml *inner = nh_yaml_find(document, "network");
        if (inner && inner->kind == NH_YAML_MAP) map = inner;
    }
    const int status = nh_config_from_yaml(map, name, out, err);
    nh_yaml_free(document);
    return status;
}

int nh_config_read(const char *path, nh_config *out, nh_error *err)
{
    enum { LIMIT = 1 << 20 };
    char *text;
    if (nh_read_text(path, LIMIT, &text, err)) return -1;
    const int status = nh_config_parse(text, strcmp(path, "-") ? path : "(standard input)", out, err);
    free(text);
    return status;
}

void nh_config_free(nh_config *c)
{
    if (!c) return;
    free(c->shell_l);
    nh_irreps_free(&c->mid);
    free(c->trace_head);
    free(c->range);
    *c = (nh_config){0};
}

size_t nh_config_range_of(const nh_config *c, double distance)
{
    for (size_t r = 0; r < c->n_range; r++)
        if (distance >= c->range[r][0] && distance < c->range[r][1]) return r;
    return SIZE_MAX;
}

bool nh_config_needs_h0(const nh_config *c)
{
    return c->input == NH_INPUT_H0 || c->h0 != NH_H0_NONE;
}

/* Shortest decimal text that reads back as the same number. */
static void print_real(FILE *f, double value)
{
    char text[32] = "";
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    fputs(text, f);
}

static void print_key(FILE *f, const char *key, double value)
{
    fprintf(f, "%s: ", key);
    print_real(f, value);
    fputc('\n', f);
}

char *nh_config_text(const nh_config *c)
{
    char *text = NULL, *shells = nh_shells_text(c->n_shell, c->shell_l), *mid = nh_irreps_text(&c->mid);
    size_t size = 0;
    FILE *f = shells && mid ? open_memstream(&text, &size) : NULL;
    if (f) {
        fprintf(f, "network: nextham-v1\nbasis: %s\n", shells);
        print_key(f, "cutoff", c->cutoff);
        fprintf(f, "sh_lmax: %d\nmid: %s\nheads: %zu\nblocks: %zu\n", c->sh_lmax, mid, c->heads, c->blocks);
        fprintf(f, "radial: {basis: %zu, max: ", c->radial_basis);
        print_real(f, c->radial_max);
        fprintf(f, ", hidden: [%zu, %zu]}\n", c->radial_hidden[0], c->radial_hidden[1]);
        fprintf(f, "tracegrad: {hidden: %zu, hidden_last: %zu, z: %zu, scale: ", c->tg_hidden,
                c->tg_hidden_last, c->tg_z);
        print_real(f, c->tg_scale);
        fputs("}\ntrace_head: [", f);
        for (size_t i = 0; i < c->n_trace_head; i++)
            fprintf(f, "%s%zu", i ? ", " : "", c->trace_head[i]);
        fputs("]\nranges: [", f);
        for (size_t i = 0; i < c->n_range; i++) {
            fputs(i ? ", [" : "[", f);
            print_real(f, c->range[i][0]);
            fputs(", ", f);
            print_real(f, c->range[i][1]);
            fputc(']', f);
        }
        fputs("]\n", f);
        print_key(f, "decay", c->decay);
        print_key(f, "output_scale", c->output_scale);
        print_key(f, "norm_eps", c->norm_eps);
        fprintf(f, "reconstruct: %s\n", c->reconstruct == NH_RECONSTRUCT_UU ? "uu" : "spin-average");
        fprintf(f, "h0: %s\n",
                c->h0 == NH_H0_AS_GIVEN        ? "as-given"
                : c->h0 == NH_H0_TIME_REVERSAL ? "time-reversal"
                                               : "none");
        print_key(f, "rydberg", c->rydberg);
        fprintf(f, "onsite_copies: %ld\nedge_scalars: %zu\nalpha_hidden: [%zu, %zu]\n", c->onsite_copies,
                c->edge_scalars, c->alpha_hidden[0], c->alpha_hidden[1]);
        fprintf(f, "lift: %s\nedge_init: %s\n", c->lift ? "true" : "false",
                c->edge_init == NH_EDGE_INIT_LINEAR ? "linear" : "paper");
        fprintf(f, "input: %s\ntarget: %s\n", c->input == NH_INPUT_H0 ? "h0" : "elements",
                c->target == NH_TARGET_CORRECTION ? "correction" : "hamiltonian");
        const int failed = ferror(f);
        if (fclose(f) || failed) {
            free(text);
            text = NULL;
        }
    }
    free(shells);
    free(mid);
    return text;
}

/* --- the types --- */

/* Triples (mul, l, p) while a type is being put together. */
typedef struct triples {
    size_t count, room;
    size_t *mul;
    int *l, *p;
} triples;

static void triples_free(triples *t)
{
    free(t->mul);
    free(t->l);
    free(t->p);
}

static int triples_new(size_t room, triples *t, nh_error *err)
{
    *t = (triples){
        .room = room, .mul = NH_ARRAY(size_t, room), .l = NH_ARRAY(int, room), .p = NH_ARRAY(int, room)};
    if (t->mul && t->l && t->p) return 0;
    triples_free(t);
    return nh_fail_memory(err, "irreps");
}

static void triples_add(triples *t, size_t mul, int l, int p)
{
    t->mul[t->count] = mul;
    t->l[t->count] = l;
    t->p[t->count++] = p;
}

/* OUT, section 4.3: per pair of shells the L, then for each L its J = |L-1|..L+1; the whole list twice. */
static int make_out(const nh_config *c, nh_irreps *out, nh_error *err)
{
    triples t;
    /* At most 4 entries per L, and l1+l2-|l1-l2|+1 <= 2*MAX_SHELL_L+1 values of L. */
    if (triples_new(2 * c->n_shell * c->n_shell * 4 * (2 * MAX_SHELL_L + 1), &t, err)) return -1;
    for (int half = 0; half < 2; half++)
        for (size_t i = 0; i < c->n_shell; i++)
            for (size_t j = 0; j < c->n_shell; j++) {
                const int l1 = c->shell_l[i], l2 = c->shell_l[j], p = (l1 + l2) % 2 ? -1 : 1;
                const int lo = abs(l1 - l2), hi = l1 + l2;
                for (int L = lo; L <= hi; L++)
                    triples_add(&t, 1, L, p);
                for (int L = lo; L <= hi; L++)
                    for (int J = abs(L - 1); J <= L + 1; J++)
                        triples_add(&t, 1, J, p);
            }
    const int status = nh_irreps_build(t.count, t.mul, t.l, t.p, out, err);
    triples_free(&t);
    return status;
}

static int make_in(const nh_config *c, const nh_irreps *out, nh_irreps *in, nh_error *err)
{
    const size_t elements = NH_N_ELEMENT;
    const int zero = 0, even = 1;
    return c->input == NH_INPUT_H0 ? nh_irreps_copy(out, in, err)
                                   : nh_irreps_build(1, &elements, &zero, &even, in, err);
}

/* The entries of `a` whose irrep is in `b`. */
static int keep_common(const nh_irreps *a, const nh_irreps *b, nh_irreps *out, nh_error *err)
{
    triples t;
    if (triples_new(a->count, &t, err)) return -1;
    for (size_t i = 0; i < a->count; i++)
        if (nh_irreps_count(b, a->entry[i].l, a->entry[i].p) > 0)
            triples_add(&t, a->entry[i].mul, a->entry[i].l, a->entry[i].p);
    const int status = nh_irreps_build(t.count, t.mul, t.l, t.p, out, err);
    triples_free(&t);
    return status;
}

/* Type of the last block's TraceGrad, and with it in front POST: section 3.1, with a lift OPTIONS.md 1.2. */
static int make_post(const nh_config *c, const nh_irreps *out, nh_irreps *last, nh_irreps *post,
                     nh_error *err)
{
    const int zero = 0, even = 1;
    nh_irreps sorted = {0}, merged = {0}, common = {0};
    int status = nh_irreps_sort(out, NH_NATURAL, &sorted, NULL, err);
    if (!status) status = nh_irreps_simplify(&sorted, &merged, err);
    if (!status)
        status = c->lift ? nh_irreps_copy(&c->mid, last, err)
                         : nh_irreps_build(1, &c->edge_scalars, &zero, &even, last, err);
    if (!status && c->lift) status = keep_common(&merged, &c->mid, &common, err);
    if (!status) status = nh_irreps_concat(last, c->lift ? &common : &merged, post, err);
    nh_irreps_free(&sorted);
    nh_irreps_free(&merged);
    nh_irreps_free(&common);
    return status;
}

/* Paths of the lift and the type of its result (OPTIONS.md 1.3); empty without it. */
static int make_lift(const nh_config *c, nh_types *t, nh_error *err)
{
    const nh_irreps *mid = &c->mid;
    size_t room = 0;
    for (size_t i = 0; c->lift && i < mid->count; i++)
        for (size_t j = i; j < mid->count; j++)
            room += 2 * (size_t)mid->entry[i].l + 1; /* degrees at most */
    t->lift_path = nh_calloc(room + 1, sizeof *t->lift_path);
    triples all = {0};
    if (!t->lift_path) return nh_fail_memory(err, "paths of the lift");
    if (triples_new(room, &all, err)) return -1;
    for (size_t i = 0; c->lift && i < mid->count; i++)
        for (size_t j = i; j < mid->count; j++) {
            const nh_irrep *x = &mid->entry[i], *y = &mid->entry[j];
            for (int l3 = abs(x->l - y->l); l3 <= x->l + y->l; l3++) {
                const int p3 = x->p * y->p;
                if (nh_irreps_count(&t->out, l3, p3) == 0 || (i == j && l3 % 2 != 0)) continue;
                struct nh_lift_path *path = &t->lift_path[t->n_lift_path++];
                *path = (struct nh_lift_path){.first = i,
                                              .second = j,
                                              .mul = x->mul < y->mul ? x->mul : y->mul,
                                              .l = l3,
                                              .p = p3,
                                              .weight = t->n_lift_weight};
                for (size_t k = 0; k < all.count; k++)
                    if (all.l[k] == l3 && all.p[k] == p3) path->channel += all.mul[k];
                triples_add(&all, path->mul, l3, p3);
                t->n_lift_weight += path->mul;
            }
        }
    nh_irreps list = {0}, sorted = {0};
    int status = nh_irreps_build(all.count, all.mul, all.l, all.p, &list, err);
    if (!status) status = nh_irreps_sort(&list, NH_EVEN_FIRST, &sorted, NULL, err);
    if (!status) status = nh_irreps_simplify(&sorted, &t->lift, err);
    if (!status) status = nh_irreps_concat(&t->post, &t->lift, &t->to_lin, err);
    nh_irreps_free(&list);
    nh_irreps_free(&sorted);
    triples_free(&all);
    return status;
}

/* The gate's input: every channel's scalar first, then the entries that are not 0e (section 2.3). */
static int make_gate_in(const nh_irreps *mid, nh_irreps *out, nh_error *err)
{
    triples t;
    if (triples_new(mid->count, &t, err)) return -1;
    triples_add(&t, mid->channels, 0, 1);
    for (size_t i = 1; i < mid->count; i++)
        triples_add(&t, mid->entry[i].mul, mid->entry[i].l, mid->entry[i].p);
    const int status = nh_irreps_build(t.count, t.mul, t.l, t.p, out, err);
    triples_free(&t);
    return status;
}

static int make_heads(const nh_config *c, nh_irreps *out, nh_error *err)
{
    nh_irreps wide = {0};
    int status = nh_irreps_times(&c->mid, c->heads, &wide, err);
    if (!status) status = nh_irreps_sort(&wide, NH_EVEN_FIRST, out, NULL, err);
    nh_irreps_free(&wide);
    return status;
}

static int make_harmonics(const nh_config *c, nh_irreps *out, nh_error *err)
{
    triples t;
    if (triples_new((size_t)c->sh_lmax + 1, &t, err)) return -1;
    for (int l = 0; l <= c->sh_lmax; l++)
        triples_add(&t, 1, l, l % 2 ? -1 : 1);
    const int status = nh_irreps_build(t.count, t.mul, t.l, t.p, out, err);
    triples_free(&t);
    return status;
}

/* Paths of the depthwise product and the type of its result (section 2.7). */
static int make_paths(const nh_config *c, nh_types *t, nh_error *err)
{
    const nh_irreps *mid = &c->mid;
    size_t room = 0;
    for (size_t i = 0; i < mid->count; i++)
        room += ((size_t)c->sh_lmax + 1) *
                (2 * (size_t)mid->entry[i].l + 1); /* 2 min(l1, j) + 1 degrees at most */
    t->path = nh_calloc(room, sizeof *t->path);
    triples all = {0};
    if (!t->path) return nh_fail_memory(err, "paths of the tensor product");
    if (triples_new(room, &all, err)) return -1;
    for (size_t i = 0; i < mid->count; i++)
        for (int j = 0; j <= c->sh_lmax; j++) {
            const nh_irrep *x = &mid->entry[i];
            const int p3 = j % 2 ? -x->p : x->p;
            for (int l3 = abs(x->l - j); l3 <= x->l + j; l3++) {
                if (nh_irreps_count(mid, l3, p3) == 0) continue; /* 0e is always in MID */
                struct nh_path *path = &t->path[t->n_path++];
                *path = (struct nh_path){.entry = i, .j = j, .l = l3, .p = p3, .weight = t->n_weight};
                for (size_t k = 0; k < all.count; k++)
                    if (all.l[k] == l3 && all.p[k] == p3) path->channel += all.mul[k];
                triples_add(&all, x->mul, l3, p3);
                t->n_weight += x->mul;
            }
        }
    nh_irreps list = {0}, sorted = {0};
    int status = nh_irreps_build(all.count, all.mul, all.l, all.p, &list, err);
    if (!status) status = nh_irreps_sort(&list, NH_EVEN_FIRST, &sorted, NULL, err);
    if (!status) status = nh_irreps_simplify(&sorted, &t->dtp_out, err);
    nh_irreps_free(&list);
    nh_irreps_free(&sorted);
    triples_free(&all);
    return status;
}

int nh_types_new(const nh_config *c, nh_types *out, nh_error *err)
{
    *out = (nh_types){.n_shell_pair = c->n_shell * c->n_shell};
    if (nh_irreps_copy(&c->mid, &out->mid, err) || make_heads(c, &out->heads, err) ||
        make_gate_in(&c->mid, &out->gate_in, err) || make_out(c, &out->out, err) ||
        make_in(c, &out->out, &out->in, err) || make_post(c, &out->out, &out->last, &out->post, err) ||
        make_harmonics(c, &out->harmonics, err) || make_paths(c, out, err) || make_lift(c, out, err)) {
        nh_types_free(out);
        return -1;
    }
    return 0;
}

void nh_types_free(nh_types *t)
{
    if (!t) return;
    nh_irreps_free(&t->in);
    nh_irreps_free(&t->mid);
    nh_irreps_free(&t->heads);
    nh_irreps_free(&t->gate_in);
    nh_irreps_free(&t->dtp_out);
    nh_irreps_free(&t->out);
    nh_irreps_free(&t->post);
    nh_irreps_free(&t->harmonics);
    nh_irreps_free(&t->last);
    nh_irreps_free(&t->lift);
    nh_irreps_free(&t->to_lin);
    free(t->path);
    free(t->lift_path);
    *t = (nh_types){0};
}
