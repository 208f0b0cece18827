#include "formats/model.h"

#include "base/memory.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ALIGNMENT = 64,
    WORTH_PACKING = 256 /* numbers: a compressed variable costs the file an index of chunks */
};

/* Numbers beyond this are no weights: netCDF's fill value (9.97e36), for one, stands where nothing was
 * written. */
#define LARGEST_WEIGHT 1e30

/* --- reading --- */

/* One group while it is read; `where` is "FILE: group range0". */
typedef struct group {
    int id;
    char *where;
    int *variable; /* [params] variable of each parameter, -1 where absent; owned */
    bool has_double;
} group;

static void group_free(group *g)
{
    free(g->where);
    free(g->variable);
}

static char *group_name(const nh_nc *f, size_t range)
{
    char *text = NULL;
    return asprintf(&text, "%s: group range%zu", nh_nc_name(f), range) < 0 ? NULL : text;
}

/* Length of each dimension of a variable; the count of its numbers. */
static int shape(const group *g, int variable, const char *name, size_t *n_dim, size_t dim[NC_MAX_VAR_DIMS],
                 size_t *count, nh_error *err)
{
    int n, id[NC_MAX_VAR_DIMS];
    int status = nc_inq_var(g->id, variable, NULL, NULL, &n, id, NULL);
    *count = 1;
    for (int i = 0; !status && i < n; i++) {
        status = nc_inq_dimlen(g->id, id[i], &dim[i]);
        if (!status && !nh_size_mul(*count, dim[i], count))
            return nh_fail(err, "%s: variable %s: too large", g->where, name);
    }
    if (status) return nh_fail(err, "%s: variable %s: %s", g->where, name, nc_strerror(status));
    *n_dim = (size_t)n;
    return 0;
}

static void shape_text(size_t n, const size_t *dim, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < n && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%zu", i ? "x" : "", dim[i]);
    if (n == 0) snprintf(text, size, "a scalar");
}

/* Checks one variable that is a parameter: numbers, of the parameter's shape. */
static int check_variable(group *g, const nh_param *p, int variable, nh_error *err)
{
    size_t n_dim, dim[NC_MAX_VAR_DIMS], count;
    nc_type type;
    if (shape(g, variable, p->name, &n_dim, dim, &count, err)) return -1;
    bool same = n_dim == p->n_dim;
    for (size_t i = 0; same && i < n_dim; i++)
        same = dim[i] == p->dim[i];
    if (!same) {
        char found[128], expected[128];
        shape_text(n_dim, dim, found, sizeof found);
        shape_text(p->n_dim, p->dim, expected, sizeof expected);
        return nh_fail(err, "%s: variable %s: shape %s, expected %s from the model's config", g->where,
                       p->name, found, expected);
    }
    const int status = nc_inq_vartype(g->id, variable, &type);
    if (status) return nh_fail(err, "%s: variable %s: %s", g->where, p->name, nc_strerror(status));
    if (type != NC_FLOAT && type != NC_DOUBLE)
        return nh_fail(err, "%s: variable %s: neither float nor double", g->where, p->name);
    if (type == NC_DOUBLE) g->has_double = true;
    return 0;
}

static void note_unknown(nh_model *m, const char *name)
{
    if (m->n_unknown++ == 0) snprintf(m->unknown, sizeof m->unknown, "%s", name);
}

/* Finds the parameters among the group's variables. */
static int survey(const nh_nc *f, size_t range, nh_model *m, group *g, nh_error *err)
{
    char name[NC_MAX_NAME + 1];
    int n_variable;
    *g = (group){.where = group_name(f, range), .variable = NH_ARRAY(int, m->params.count)};
    if (!g->where || !g->variable) return nh_fail_memory(err, "names of a model's parts");
    for (size_t i = 0; i < m->params.count; i++)
        g->variable[i] = -1;
    snprintf(name, sizeof name, "range%zu", range);
    if (nc_inq_grp_ncid(nh_nc_id(f), name, &g->id))
        return nh_fail(err, "%s: no group %s; the model's config has %zu ranges", nh_nc_name(f), name,
                       m->config.n_range);
    int status = nc_inq_nvars(g->id, &n_variable);
    for (int v = 0; !status && v < n_variable; v++) {
        size_t n_dim, dim[NC_MAX_VAR_DIMS], count;
        status = nc_inq_varname(g->id, v, name);
        if (status) break;
        const size_t i = nh_params_find(&m->params, name);
        if (i != SIZE_MAX) {
            if (check_variable(g, &m->params.param[i], v, err)) return -1;
            g->variable[i] = v;
        } else {
            if (shape(g, v, name, &n_dim, dim, &count, err)) return -1;
            if (nh_param_known_dead(name))
                m->n_dead += count;
            else if (count > 0) /* zero-length ones are buffers */
                note_unknown(m, name);
        }
    }
    if (status) return nh_fail(err, "%s: %s", g->where, nc_strerror(status));
    for (size_t i = 0; i < m->params.count; i++) {
        const nh_param *p = &m->params.param[i];
        if (g->variable[i] >= 0 || p->optional) continue;
        char expected[128];
        shape_text(p->n_dim, p->dim, expected, sizeof expected);
        return nh_fail(err, "%s: no variable %s (shape %s expected)", g->where, p->name, expected);
    }
    return 0;
}

/* True where some number's magnitude is not below the limit; NaN and infinity count. Integer comparison of
 * the bits, for it vectorises. */
static bool wrong_float(size_t n, const float *x)
{
    const float limit = (float)LARGEST_WEIGHT;
    uint32_t most, bits, wrong = 0;
    memcpy(&most, &limit, sizeof most);
    for (size_t i = 0; i < n; i++) {
        memcpy(&bits, &x[i], sizeof bits);
        wrong |= (bits & UINT32_C(0x7fffffff)) >= most;
    }
    return wrong;
}

static bool wrong_double(size_t n, const double *x)
{
    const double limit = LARGEST_WEIGHT;
    uint64_t most, bits, wrong = 0;
    memcpy(&most, &limit, sizeof most);
    for (size_t i = 0; i < n; i++) {
        memcpy(&bits, &x[i], sizeof bits);
        wrong |= (bits & UINT64_C(0x7fffffffffffffff)) >= most;
    }
    return wrong;
}

static int complain(const group *g, const char *name, size_t element, double value, nh_error *err)
{
    return nh_fail(err, "%s: variable %s: element %zu is %g%s, expected a finite number", g->where, name,
                   element, value,
                   value > 9.96e36 && value < 9.98e36 ? " (netCDF's fill value: never written)" : "");
}

static int read_parameter(const group *g, const nh_param *p, int variable, size_t i, nh_weights *w,
                          nh_error *err)
{
    size_t bytes, padded;
    if (!nh_size_mul(p->count, w->real ? sizeof(double) : sizeof(float), &bytes) ||
        !nh_size_add(bytes, ALIGNMENT, &padded))
        return nh_fail_memory(err, p->name);
    void *values = aligned_alloc(ALIGNMENT, padded - padded % ALIGNMENT);
    if (!values) return nh_fail_memory(err, p->name);
    if (w->real)
        w->real[i] = values;
    else
        w->single[i] = values;
    const int status =
        w->real ? nc_get_var_double(g->id, variable, values) : nc_get_var_float(g->id, variable, values);
    if (status) return nh_fail(err, "%s: variable %s: %s", g->where, p->name, nc_strerror(status));
    if (w->real && wrong_double(p->count, values))
        for (size_t k = 0; k < p->count; k++)
            if (wrong_double(1, &w->real[i][k])) return complain(g, p->name, k, w->real[i][k], err);
    if (w->single && wrong_float(p->count, values))
        for (size_t k = 0; k < p->count; k++)
            if (wrong_float(1, &w->single[i][k]))
                return complain(g, p->name, k, (double)w->single[i][k], err);
    return 0;
}

static int read_range(const nh_nc *f, size_t range, unsigned acts, nh_model *m, nh_error *err)
{
    group g;
    const bool all = acts == (NH_ACTS_HAM | NH_ACTS_TRACE);
    int status = survey(f, range, m, &g, err);
    if (!status && g.has_double) {
        nh_weights_free(&m->weights[range]);
        status = nh_weights_new(&m->params, true, &m->weights[range], err);
    }
    for (size_t i = 0; !status && i < m->params.count; i++)
        if (g.variable[i] >= 0 && (all || m->params.param[i].acts & acts))
            status = read_parameter(&g, &m->params.param[i], g.variable[i], i, &m->weights[range], err);
    group_free(&g);
    return status;
}

static int check_no_more_ranges(const nh_nc *f, size_t n_range, nh_error *err)
{
    int n_group, id;
    char name[NC_MAX_NAME + 1];
    snprintf(name, sizeof name, "range%zu", n_range);
    if (nc_inq_grp_ncid(nh_nc_id(f), name, &id) == 0)
        return nh_fail(err, "%s: group %s is there, but the model's config has only %zu ranges",
                       nh_nc_name(f), name, n_range);
    if (nc_inq_grps(nh_nc_id(f), &n_group, NULL) || n_group == 0)
        return nh_fail(err, "%s: no groups (range0, ...): not a model file", nh_nc_name(f));
    return 0;
}

static int read_config(const nh_nc *f, nh_config *config, nh_error *err)
{
    char *text, *name = NULL;
    if (nh_nc_att_text(f, "config", &text, err)) return -1;
    if (!text) return nh_fail(err, "%s: no attribute config: not a model file", nh_nc_name(f));
    int status =
        asprintf(&name, "%s: attribute config", nh_nc_name(f)) < 0 ? nh_fail_memory(err, "a name") : 0;
    if (!status) {
        status = nh_config_parse(text, name, config, err);
        free(name);
    }
    free(text);
    return status;
}

int nh_model_read_from(const nh_nc *f, unsigned acts, nh_model **out, nh_error *err)
{
    nh_config config = {0};
    nh_model *m = NULL;
    *out = NULL;
    int status = read_config(f, &config, err);
    if (!status) status = nh_model_new(&config, false, &m, err);
    if (!status) status = check_no_more_ranges(f, m->n_range, err);
    for (size_t r = 0; !status && r < m->n_range; r++)
        status = read_range(f, r, acts, m, err);
    if (status)
        nh_model_free(m);
    else
        *out = m;
    return status;
}

int nh_model_read(const char *path, unsigned acts, nh_model **out, nh_error *err)
{
    nh_nc *f;
    *out = NULL;
    if (nh_nc_open(path, &f, err)) return -1;
    const int status = nh_model_read_from(f, acts, out, err);
    nh_nc_close(f);
    return status;
}

/* --- writing --- */

/* A dimension for each length, in the file's root: n1160. */
static int dimension(nh_nc *f, size_t length, int *id, nh_error *err)
{
    char name[32];
    snprintf(name, sizeof name, "n%zu", length);
    if (nh_nc_def_dim(f, name, length, err)) return -1;
    const int status = nc_inq_dimid(nh_nc_id(f), name, id);
    return status ? nh_fail(err, "%s: %s: %s", nh_nc_name(f), name, nc_strerror(status)) : 0;
}

/* Large and zero for the most part: outputs that `reconstruct: spin-average` has no use for. */
static bool sparse(const nh_param *p, const nh_weights *w, size_t i)
{
    size_t zeros = 0;
    if (p->count < 1 << 14) return false;
    for (size_t k = 0; k < p->count; k++)
        zeros += w->real ? w->real[i][k] == 0 : w->single[i][k] == 0;
    return zeros > p->count / 2;
}

/* Contiguous, little-endian, no filter, no fill: the file can be mapped. `packed`: compressed instead. */
static int define(nh_nc *f, int group_id, const nh_param *p, nc_type type, bool packed, const char *where,
                  nh_error *err)
{
    int dim[3], variable;
    for (size_t d = 0; d < p->n_dim; d++)
        if (dimension(f, p->dim[d], &dim[d], err)) return -1;
    int status = nc_def_var(group_id, p->name, type, (int)p->n_dim, dim, &variable);
    if (!status)
        status = packed ? nc_def_var_deflate(group_id, variable, 1, 1, 4)
                        : nc_def_var_chunking(group_id, variable, NC_CONTIGUOUS, NULL);
    if (!status) status = nc_def_var_endian(group_id, variable, NC_ENDIAN_LITTLE);
    if (!status) status = nc_def_var_fill(group_id, variable, NC_NOFILL, NULL);
    return status ? nh_fail(err, "%s: variable %s: %s", where, p->name, nc_strerror(status)) : 0;
}

static int write_range(nh_nc *f, const nh_model *m, size_t range, bool packed, nh_error *err)
{
    const nh_weights *w = &m->weights[range];
    char name[32], *where = group_name(f, range);
    int id, variable, failure = 0;
    if (!where) return nh_fail_memory(err, "a name");
    snprintf(name, sizeof name, "range%zu", range);
    int status = nc_def_grp(nh_nc_id(f), name, &id);
    if (status) failure = nh_fail(err, "%s: %s", where, nc_strerror(status));
    for (size_t i = 0; !failure && i < m->params.count; i++)
        if (w->real ? (const void *)w->real[i] : (const void *)w->single[i])
            failure = define(f, id, &m->params.param[i], w->real ? NC_DOUBLE : NC_FLOAT,
                             packed ? m->params.param[i].count >= WORTH_PACKING
                                    : sparse(&m->params.param[i], w, i),
                             where, err);
    for (size_t i = 0; !failure && i < m->params.count; i++) {
        const char *parameter = m->params.param[i].name;
        if (!(w->real ? (const void *)w->real[i] : (const void *)w->single[i])) continue;
        errno = 0;
        status = nc_inq_varid(id, parameter, &variable);
        if (!status)
            status = w->real ? nc_put_var_double(id, variable, w->real[i])
                             : nc_put_var_float(id, variable, w->single[i]);
        if (status) {
            char what[NC_MAX_NAME + 32];
            snprintf(what, sizeof what, "%s/%s", name, parameter);
            failure = nh_nc_failed(f, what, status, err);
        }
    }
    free(where);
    return failure;
}

int nh_model_write(nh_nc *f, const nh_model *m, bool packed, nh_error *err)
{
    char *text = nh_config_text(&m->config);
    if (!text) return nh_fail_memory(err, "the config text");
    int failure = nh_nc_set_text(f, "config", text, err);
    free(text);
    for (size_t r = 0; !failure && r < m->n_range; r++)
        failure = write_range(f, m, r, packed, err);
    return failure;
}
