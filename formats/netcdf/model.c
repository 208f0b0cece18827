#include "formats/netcdf/model.h"

#include "base/memory.h"
#include "formats/netcdf/hdf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    ALIGNMENT = 64,
    WORTH_PACKING = 256 /* numbers: a compressed variable costs the file an index of chunks */
};

/* Numbers beyond this are no weights: netCDF's fill value (9.97e36), for one, stands where nothing was
 * written. */
#define LARGEST_WEIGHT 1e30

/* --- reading --- */

/* Straight from HDF5: netCDF takes longer to look at a model's thousand variables than it takes to run them. What can be
 * mapped is mapped; the numbers are looked at afterwards, in parallel. */

/* One group while it is read; `where` is "FILE: group range0". */
typedef struct group {
    hid_t id;
    char *where;
    hid_t *variable; /* [params] variable of each parameter, -1 where absent; owned */
    bool has_double;
    nh_model *m;
    bool failed; /* with a text in err */
    nh_error *err;
} group;

static void group_free(group *g)
{
    for (size_t i = 0; g->variable && i < g->m->params.count; i++)
        if (g->variable[i] >= 0) H5Dclose(g->variable[i]);
    if (g->id >= 0) H5Gclose(g->id);
    free(g->where);
    free(g->variable);
}

static char *group_name(const char *file, size_t range)
{
    char *text = NULL;
    return asprintf(&text, "%s: group range%zu", file, range) < 0 ? NULL : text;
}

/* Length of each dimension of a variable; the count of its numbers. */
static int shape(const group *g, hid_t variable, const char *name, size_t *n_dim, size_t dim[H5S_MAX_RANK],
                 size_t *count, nh_error *err)
{
    hsize_t length[H5S_MAX_RANK];
    const hid_t space = H5Dget_space(variable);
    const int n = space < 0 ? -1 : H5Sget_simple_extent_dims(space, length, NULL);
    if (space >= 0) H5Sclose(space);
    if (n < 0) return nh_fail(err, "%s: variable %s: HDF error", g->where, name);
    *count = 1;
    for (int i = 0; i < n; i++) {
        dim[i] = (size_t)length[i];
        if (!nh_size_mul(*count, dim[i], count))
            return nh_fail(err, "%s: variable %s: too large", g->where, name);
    }
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
static int check_variable(group *g, const nh_param *p, hid_t variable, nh_error *err)
{
    size_t n_dim, dim[H5S_MAX_RANK], count;
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
    const hid_t type = H5Dget_type(variable);
    const bool real = type >= 0 && H5Tget_class(type) == H5T_FLOAT;
    const size_t size = real ? H5Tget_size(type) : 0;
    if (type >= 0) H5Tclose(type);
    if (size != sizeof(float) && size != sizeof(double))
        return nh_fail(err, "%s: variable %s: neither float nor double", g->where, p->name);
    if (size == sizeof(double)) g->has_double = true;
    return 0;
}

static void note_unknown(nh_model *m, const char *name)
{
    if (m->n_unknown++ == 0) snprintf(m->unknown, sizeof m->unknown, "%s", name);
}

/* One name in a group: a parameter, a dead variable, an unknown one, or no variable. */
static herr_t look_at(hid_t id, const char *name, const H5L_info_t *link, void *context)
{
    group *g = context;
    const hid_t variable = link->type == H5L_TYPE_HARD ? H5Dopen2(id, name, H5P_DEFAULT) : -1;
    if (variable < 0) return 0;
    if (!nh_hdf_inside(variable)) {
        H5Dclose(variable);
        g->failed = true;
        return nh_fail(g->err, "%s: variable %s: its numbers are in another file: refused", g->where, name);
    }
    const size_t i = nh_params_find(&g->m->params, name);
    if (i != SIZE_MAX) {
        g->variable[i] = variable; /* group_free closes it */
        g->failed = check_variable(g, &g->m->params.param[i], variable, g->err) != 0;
        return g->failed ? -1 : 0;
    }
    size_t n_dim, dim[H5S_MAX_RANK], count = 0;
    const bool dimension = H5Aexists(variable, "CLASS") > 0; /* netCDF's, without a variable */
    if (!dimension) g->failed = shape(g, variable, name, &n_dim, dim, &count, g->err) != 0;
    if (!g->failed && !dimension && nh_param_known_dead(name))
        g->m->n_dead += count;
    else if (!g->failed && count > 0) /* zero-length ones are buffers */
        note_unknown(g->m, name);
    H5Dclose(variable);
    return g->failed ? -1 : 0;
}

/* Finds the parameters among the group's variables. */
static int survey(hid_t file, const char *path, size_t range, nh_model *m, group *g, nh_error *err)
{
    char name[32];
    *g = (group){.id = -1, .where = group_name(path, range), .m = m, .err = err};
    g->variable = NH_ARRAY(hid_t, m->params.count);
    if (!g->where || !g->variable) return nh_fail_memory(err, "names of a model's parts");
    for (size_t i = 0; i < m->params.count; i++)
        g->variable[i] = -1;
    snprintf(name, sizeof name, "range%zu", range);
    g->id = H5Gopen2(file, name, H5P_DEFAULT);
    if (g->id < 0)
        return nh_fail(err, "%s: no group %s; the model's config has %zu ranges", path, name,
                       m->config.n_range);
    const hid_t made = H5Gget_create_plist(g->id);
    unsigned order = 0; /* netCDF's groups know it, other writers' may not */
    if (made >= 0) H5Pget_link_creation_order(made, &order);
    if (made >= 0) H5Pclose(made);
    const bool ordered = order & H5P_CRT_ORDER_TRACKED;
    if (H5Literate(g->id, ordered ? H5_INDEX_CRT_ORDER : H5_INDEX_NAME, H5_ITER_INC, NULL, look_at, g) < 0)
        return g->failed ? -1 : nh_fail(err, "%s: HDF error", g->where);
    for (size_t i = 0; i < m->params.count; i++) {
        const nh_param *p = &m->params.param[i];
        if (g->variable[i] >= 0 || p->optional) continue;
        char expected[128];
        shape_text(p->n_dim, p->dim, expected, sizeof expected);
        return nh_fail(err, "%s: no variable %s (shape %s expected)", g->where, p->name, expected);
    }
    return 0;
}

/* Where the variable's numbers lie in the mapped file; NULL: they must be read (compressed, of the other byte order or
 * precision, not aligned). */
static void *mapped(const nh_model *m, hid_t variable, hid_t native, size_t bytes)
{
    const haddr_t at = H5Dget_offset(variable);
    if (m->map == NULL || at == HADDR_UNDEF || at > m->map_size || bytes > m->map_size - at) return NULL;
    const hid_t type = H5Dget_type(variable);
    const bool same = type >= 0 && H5Tequal(type, native) > 0;
    if (type >= 0) H5Tclose(type);
    return same && at % H5Tget_size(native) == 0 ? (char *)m->map + at : NULL;
}

static int read_parameter(const group *g, const nh_param *p, hid_t variable, size_t i, nh_weights *w,
                          nh_error *err)
{
    const hid_t native = w->as_double ? H5T_NATIVE_DOUBLE : H5T_NATIVE_FLOAT;
    size_t bytes, padded;
    if (!nh_size_mul(p->count, w->as_double ? sizeof(double) : sizeof(float), &bytes) ||
        !nh_size_add(bytes, ALIGNMENT, &padded))
        return nh_fail_memory(err, p->name);
    void *values = mapped(g->m, variable, native, bytes);
    const bool read = !values;
    if (read) values = aligned_alloc(ALIGNMENT, padded - padded % ALIGNMENT);
    if (!values) return nh_fail_memory(err, p->name);
    if (w->as_double)
        w->as_double[i] = values;
    else
        w->as_float[i] = values;
    if (read && H5Dread(variable, native, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0)
        return nh_fail(err, "%s: variable %s: HDF error", g->where, p->name);
    return 0;
}

static int read_range(hid_t file, const char *path, size_t range, unsigned acts, nh_model *m, nh_error *err)
{
    group g;
    const bool all = acts == (NH_ACTS_HAM | NH_ACTS_TRACE);
    int status = survey(file, path, range, m, &g, err);
    if (!status && g.has_double) {
        nh_weights_free(&m->weights[range]);
        status = nh_weights_new(&m->params, true, &m->weights[range], err);
    }
    m->weights[range].map = m->map;
    m->weights[range].map_size = m->map_size;
    for (size_t i = 0; !status && i < m->params.count; i++)
        if (g.variable[i] >= 0 && (all || m->params.param[i].acts & acts))
            status = read_parameter(&g, &m->params.param[i], g.variable[i], i, &m->weights[range], err);
    group_free(&g);
    return status;
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

typedef struct check {
    const nh_model *m;
    bool *wrong; /* [n_range][params] */
} check;

static void check_one(void *context, size_t index, int thread)
{
    (void)thread;
    const check *c = context;
    const nh_weights *w = &c->m->weights[index / c->m->params.count];
    const size_t i = index % c->m->params.count, n = c->m->params.param[i].count;
    c->wrong[index] = w->as_double ? w->as_double[i] && wrong_double(n, w->as_double[i])
                                   : w->as_float[i] && wrong_float(n, w->as_float[i]);
}

static int check_values(const nh_model *m, const char *path, nh_threads *threads, nh_error *err)
{
    const size_t n = m->n_range * m->params.count;
    const check c = {.m = m, .wrong = NH_ARRAY(bool, n)};
    if (!c.wrong) return nh_fail_memory(err, "the weights");
    nh_parallel_for(threads, n, check_one, (void *)&c);
    size_t bad = 0;
    while (bad < n && !c.wrong[bad])
        bad++;
    free(c.wrong);
    if (bad == n) return 0;
    const nh_weights *w = &m->weights[bad / m->params.count];
    const size_t i = bad % m->params.count;
    size_t k = 0;
    while (w->as_double ? !wrong_double(1, &w->as_double[i][k]) : !wrong_float(1, &w->as_float[i][k]))
        k++;
    const double value = w->as_double ? w->as_double[i][k] : (double)w->as_float[i][k];
    return nh_fail(err, "%s: group range%zu: variable %s: element %zu is %g%s, expected a finite number",
                   path, bad / m->params.count, m->params.param[i].name, k, value,
                   value > 9.96e36 && value < 9.98e36 ? " (netCDF's fill value: never written)" : "");
}

static int check_no_more_ranges(hid_t file, const char *path, size_t n_range, nh_error *err)
{
    char name[32];
    snprintf(name, sizeof name, "range%zu", n_range);
    if (H5Lexists(file, name, H5P_DEFAULT) > 0)
        return nh_fail(err, "%s: group %s is there, but the model's config has only %zu ranges", path, name,
                       n_range);
    if (H5Lexists(file, "range0", H5P_DEFAULT) <= 0)
        return nh_fail(err, "%s: no groups (range0, ...): not a model file", path);
    return 0;
}

static int read_config(hid_t file, const char *path, nh_config *config, nh_error *err)
{
    char *text, *name = NULL;
    if (nh_hdf_text(file, path, "config", &text, err)) return -1;
    if (!text) return nh_fail(err, "%s: no attribute config: not a model file", path);
    int status = asprintf(&name, "%s: attribute config", path) < 0 ? nh_fail_memory(err, "a name") : 0;
    if (!status) {
        status = nh_config_parse(text, name, config, err);
        free(name);
    }
    free(text);
    return status;
}

/* Which elements the model has seen; files without the attribute do not say. */
static int read_elements(hid_t file, const char *path, nh_elements *out, nh_error *err)
{
    char *text, *where = NULL;
    if (nh_hdf_text(file, path, "elements", &text, err)) return -1;
    if (!text) return 0;
    int status = asprintf(&where, "%s: attribute elements", path) < 0 ? nh_fail_memory(err, "a name") : 0;
    if (!status) {
        status = nh_elements_parse(text, where, out, err);
        free(where);
    }
    free(text);
    return status;
}

static uint64_t change_of(const struct stat *about)
{
    return (uint64_t)about->st_ctim.tv_sec * 1000000000u + (uint64_t)about->st_ctim.tv_nsec;
}

int nh_model_check_map(const nh_model *m, const char *path, nh_error *err)
{
    struct stat about;
    if (m->map == NULL || stat(path, &about) != 0 || about.st_ino != m->map_inode) return 0;
    if (change_of(&about) == m->map_changed && (size_t)about.st_size == m->map_size) return 0;
    return nh_fail(err, "%s: the model was overwritten while it was in use", path);
}

/* Maps a file, for reading and for changes that nobody else sees. It need not succeed. */
static void map_file(const char *path, nh_model *m)
{
    struct stat about;
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    if (fstat(file, &about) == 0 && S_ISREG(about.st_mode) && about.st_size > 0) {
        void *map = mmap(NULL, (size_t)about.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
        if (map != MAP_FAILED) {
            m->map = map;
            m->map_size = (size_t)about.st_size;
            m->map_inode = about.st_ino;
            m->map_changed = change_of(&about);
        }
    }
    close(file);
}

/* `path` for messages; `map`: it is a file, too. */
static int read_model(hid_t file, const char *path, bool map, unsigned acts, nh_threads *threads,
                      nh_model **out, nh_error *err)
{
    nh_config config = {0};
    nh_model *m = NULL;
    *out = NULL;
    int status = read_config(file, path, &config, err);
    if (!status) status = nh_model_new(&config, false, &m, err);
    if (!status) status = read_elements(file, path, &m->elements, err);
    if (!status) status = nh_hdf_text(file, path, "orbital_hash", &m->orbital_hash, err);
    if (!status) status = nh_hdf_text(file, path, "pseudo_hash", &m->pseudo_hash, err);
    if (!status) status = check_no_more_ranges(file, path, m->n_range, err);
    if (!status && map) map_file(path, m);
    for (size_t r = 0; !status && r < m->n_range; r++)
        status = read_range(file, path, r, acts, m, err);
    if (!status) status = check_values(m, path, threads, err);
    if (status)
        nh_model_free(m);
    else
        *out = m;
    return status;
}

int nh_model_read_from(const nh_nc *f, unsigned acts, nh_model **out, nh_error *err)
{
    hid_t file;
    *out = NULL;
    if (nh_nc_hdf(f, &file, err)) return -1;
    const int status = read_model(file, nh_nc_name(f), false, acts, NULL, out, err);
    H5Fclose(file);
    return status;
}

int nh_model_read(const char *path, unsigned acts, nh_threads *threads, nh_model **out, nh_error *err)
{
    hid_t file = -1;
    *out = NULL;
    if (strcmp(path, "-") != 0) {
        if (nh_hdf_open(path, &file, err)) return -1;
        int status = nh_nc_check_conventions(file, path, err);
        if (!status) status = read_model(file, path, true, acts, threads, out, err);
        H5Fclose(file);
        return status;
    }
    nh_nc *f;
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
        zeros += w->as_double ? w->as_double[i][k] == 0 : w->as_float[i][k] == 0;
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
    char name[32], *where = group_name(nh_nc_name(f), range);
    int id, variable, failure = 0;
    if (!where) return nh_fail_memory(err, "a name");
    snprintf(name, sizeof name, "range%zu", range);
    int status = nc_def_grp(nh_nc_id(f), name, &id);
    if (status) failure = nh_fail(err, "%s: %s", where, nc_strerror(status));
    for (size_t i = 0; !failure && i < m->params.count; i++)
        if (w->as_double ? (const void *)w->as_double[i] : (const void *)w->as_float[i])
            failure =
                define(f, id, &m->params.param[i], w->as_double ? NC_DOUBLE : NC_FLOAT,
                       packed ? m->params.param[i].count >= WORTH_PACKING : sparse(&m->params.param[i], w, i),
                       where, err);
    for (size_t i = 0; !failure && i < m->params.count; i++) {
        const char *parameter = m->params.param[i].name;
        if (!(w->as_double ? (const void *)w->as_double[i] : (const void *)w->as_float[i])) continue;
        errno = 0;
        status = nc_inq_varid(id, parameter, &variable);
        if (!status)
            status = w->as_double ? nc_put_var_double(id, variable, w->as_double[i])
                                  : nc_put_var_float(id, variable, w->as_float[i]);
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
    if (!failure && m->elements.known) {
        text = nh_elements_text(&m->elements);
        failure =
            text ? nh_nc_set_text(f, "elements", text, err) : nh_fail_memory(err, "the list of elements");
        free(text);
    }
    if (!failure && m->orbital_hash) failure = nh_nc_set_text(f, "orbital_hash", m->orbital_hash, err);
    if (!failure && m->pseudo_hash) failure = nh_nc_set_text(f, "pseudo_hash", m->pseudo_hash, err);
    for (size_t r = 0; !failure && r < m->n_range; r++)
        failure = write_range(f, m, r, packed, err);
    return failure;
}
