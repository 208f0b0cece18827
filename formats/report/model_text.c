#include "formats/report/model_text.h"

#include "base/printable.h"

#include <stdlib.h>
#include <string.h>

static bool has(const nh_weights *w, size_t i)
{
    return w->as_double ? w->as_double[i] != NULL : w->as_float[i] != NULL;
}

static const char *acts_text(unsigned acts)
{
    return acts == (NH_ACTS_HAM | NH_ACTS_TRACE) ? "H and trace"
           : acts == NH_ACTS_HAM                 ? "H"
           : acts                                ? "trace"
                                                 : "dead";
}

static void print_shape(const nh_param *p, char *text, size_t size)
{
    if (p->n_dim == 2)
        snprintf(text, size, "%zux%zu", p->dim[0], p->dim[1]);
    else
        snprintf(text, size, "%zu", p->dim[0]);
}

/* The part that a parameter belongs to: "blocks.0..2.ga.merge_src", the equal blocks under one name;
 * TraceGrad, the trace head and the maps at both ends are parts as a whole. */
static void part_name(const nh_config *c, const char *name, char *part, size_t size)
{
    size_t block;
    char text[32], rest[64] = "";
    const bool in_block = sscanf(name, "blocks.%zu.%63s", &block, rest) == 2;
    if (!in_block && sscanf(name, "edge_feature_nonlin_block.%zu.", &block) != 1) {
        snprintf(part, size, "%.*s", (int)strcspn(name, "."), name);
        return;
    }
    if (block + 2 < c->blocks || (block + 2 == c->blocks && block > 0))
        snprintf(text, sizeof text, "0..%zu", c->blocks - 2);
    else
        snprintf(text, sizeof text, "%zu", block);
    size_t keep = strcspn(rest, ".");
    if (!strncmp(rest, "ga.", 3) || !strncmp(rest, "ffn.", 4)) keep += 1 + strcspn(rest + keep + 1, ".");
    snprintf(part, size, in_block ? "blocks.%s.%.*s" : "edge_feature_nonlin_block.%s", text, (int)keep, rest);
}

typedef struct part {
    char name[96], shapes[48];
    size_t first; /* parameter that began it */
    size_t tensors, count;
    unsigned acts;
    bool absent;
} part;

/* Lists the shapes of the tensors that one block has; "..." where they do not fit. */
static void add_shape(part *p, const nh_param *a)
{
    char shape[48];
    const size_t used = strlen(p->shapes);
    print_shape(a, shape, sizeof shape);
    if (used + strlen(shape) + 2 + 5 < sizeof p->shapes) /* room for ", ..." stays */
        strcat(strcat(p->shapes, used ? ", " : ""), shape);
    else if (used < 3 || strcmp(p->shapes + used - 3, "...") != 0)
        strcat(p->shapes, ", ...");
}

/* True where the parameter is the first of its kind: in block 0 or the last, or in none. */
static bool first_of_kind(const nh_config *c, const char *name)
{
    size_t block;
    if (sscanf(name, "blocks.%zu.", &block) != 1 &&
        sscanf(name, "edge_feature_nonlin_block.%zu.", &block) != 1)
        return true;
    return block == 0 || block + 1 == c->blocks;
}

int nh_model_parts(FILE *out, const nh_model *m, nh_error *err)
{
    part *parts = calloc(m->params.count, sizeof *parts);
    size_t n = 0;
    if (!parts) return nh_fail_memory(err, "the table of parts");
    for (size_t i = 0; i < m->params.count; i++) {
        const nh_param *a = &m->params.param[i];
        char name[sizeof parts->name];
        size_t k = 0;
        part_name(&m->config, a->name, name, sizeof name);
        while (k < n && strcmp(parts[k].name, name))
            k++;
        if (k == n) {
            n++;
            parts[k].first = i;
            memcpy(parts[k].name, name, sizeof name);
        }
        if (first_of_kind(&m->config, a->name)) add_shape(&parts[k], a);
        parts[k].tensors++;
        parts[k].count += a->count;
        parts[k].acts |= a->acts;
        parts[k].absent = parts[k].absent || !has(&m->weights[0], i);
    }
    fprintf(out, "%-36s %-46s %7s %11s  %s\n", "part", "shapes", "tensors", "parameters", "acts on");
    for (size_t k = 0; k < n; k++)
        fprintf(out, "%-36s %-46s %7zu %11zu  %s%s\n", parts[k].name, parts[k].shapes, parts[k].tensors,
                parts[k].count, acts_text(parts[k].acts), parts[k].absent ? " (not in the file)" : "");
    free(parts);
    return 0;
}

void nh_model_parameters(FILE *out, const nh_model *m)
{
    fprintf(out, "%-64s %-12s %11s  %s\n", "parameter", "shape", "parameters", "acts on");
    for (size_t i = 0; i < m->params.count; i++) {
        const nh_param *a = &m->params.param[i];
        char shape[48];
        print_shape(a, shape, sizeof shape);
        fprintf(out, "%-64s %-12s %11zu  %s%s\n", a->name, shape, a->count, acts_text(a->acts),
                has(&m->weights[0], i) ? "" : " (not in the file)");
    }
}

void nh_model_totals(FILE *out, const nh_model *m)
{
    size_t ham = 0, trace = 0, live = 0, dead = 0, stored = 0;
    for (size_t i = 0; i < m->params.count; i++) {
        const nh_param *a = &m->params.param[i];
        if (a->acts & NH_ACTS_HAM) ham += a->count;
        if (a->acts & NH_ACTS_TRACE) trace += a->count;
        *(a->acts ? &live : &dead) += a->count;
        for (size_t r = 0; r < m->n_range; r++)
            if (has(&m->weights[r], i)) stored += a->count;
    }
    const size_t n = m->n_range;
    fprintf(out, "%-40s %14s %10s%3zu\n", "parameters", "per sub-model", "all", n);
    fprintf(out, "%-40s %14zu %13zu\n", "reached by edge_ham", ham, n * ham);
    fprintf(out, "%-40s %14zu %13zu\n", "reached by edge_trace", trace, n * trace);
    fprintf(out, "%-40s %14zu %13zu\n", "live (reached by either)", live, n * live);
    fprintf(out, "%-40s %14zu %13zu\n", "dead (last block's node output)", dead, n * dead);
    fprintf(out, "%-40s %14s %13zu\n", "in the file", "", stored + m->n_dead);
    if (m->n_dead) fprintf(out, "%-40s %14s %13zu\n", "of these under names nothing uses", "", m->n_dead);
    if (m->n_unknown) {
        fprintf(out, "%-40s %14s %13zu  (", "unknown variables", "", m->n_unknown);
        nh_put_printable(out, m->unknown);
        fputs(", ...)\n", out);
    }
}
