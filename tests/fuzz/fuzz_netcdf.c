/* NetCDF files that are right for the library and wrong for us: a seed (tests/fuzz/seed/KIND.nc) with changes that the input says, written
 * by netCDF and given to our readers and to what programs do with the result. The bytes of netCDF and HDF5 themselves are their own libraries'
 * matter (docs/security.md). */
#include "base/memory.h"
#include "crystal/bands.h"
#include "crystal/eigen.h"
#include "crystal/fourier.h"
#include "formats/netcdf/eigen.h"
#include "formats/netcdf/graph.h"
#include "formats/netcdf/kspace.h"
#include "formats/netcdf/model.h"
#include "formats/report/bandplot.h"
#include "nextham/embedding.h"
#include "tests/fuzz/fuzz.h"

#include <netcdf_mem.h>

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DIMS = 64,
    VARIABLES = 400,
    ATTRIBUTES = 32,
    GROUPS = 8,
    RANK = 6,
    CHANGES = 64,
    TEXT = 4096,
    LONGEST = 3000,
    NUMBERS = 40000
};

typedef struct dimension {
    char name[NC_MAX_NAME + 1];
    size_t length;
    bool unlimited;
} dimension;

typedef struct variable {
    char name[NC_MAX_NAME + 1];
    int group; /* -1: the root */
    nc_type type;
    int n_dims, dim[RANK + 1];
    size_t count; /* numbers in the seed */
    double *value;
    char **string; /* NC_STRING */
    bool left_out, packed;
    size_t chunk;
} variable;

typedef struct attribute {
    char name[NC_MAX_NAME + 1];
    bool left_out, is_text;
    size_t count;
    double number;
    char text[TEXT];
} attribute;

typedef struct change {
    const variable *of;
    size_t at;
    double to;
} change;

typedef struct content {
    int n_dim, n_variable, n_attribute, n_group, n_change;
    dimension dim[DIMS];
    variable variable[VARIABLES];
    attribute attribute[ATTRIBUTES];
    char group[GROUPS][NC_MAX_NAME + 1];
    change change[CHANGES];
} content;

/* --- the seed --- */

static void must(int status, const char *what)
{
    if (status == 0) return;
    fprintf(stderr, "%s: %s\n", what, nc_strerror(status));
    exit(2);
}

static void load_variables(content *c, int id, int group)
{
    int n;
    must(nc_inq_nvars(id, &n), "variables");
    for (int i = 0; i < n && c->n_variable < VARIABLES; i++) {
        variable *v = &c->variable[c->n_variable++];
        int dims[NC_MAX_VAR_DIMS];
        v->group = group;
        must(nc_inq_var(id, i, v->name, &v->type, &v->n_dims, dims, NULL), "variable");
        v->count = 1;
        for (int k = 0; k < v->n_dims; k++) {
            char name[NC_MAX_NAME + 1];
            size_t length;
            must(nc_inq_dim(id, dims[k], name, &length), v->name);
            v->count *= length;
            for (int d = 0; d < c->n_dim; d++)
                if (strcmp(c->dim[d].name, name) == 0) v->dim[k] = d;
        }
        if (v->type == NC_STRING) {
            v->string = NH_ARRAY(char *, v->count);
            must(nc_get_var_string(id, i, v->string), v->name);
        } else {
            v->value = NH_ARRAY(double, v->count);
            must(nc_get_var_double(id, i, v->value), v->name);
        }
    }
}

static content *load(const char *kind)
{
    content *c = NH_ARRAY(content, 1);
    char path[PATH_MAX];
    int id, n, ids[DIMS], n_unlimited, unlimited[DIMS], groups[GROUPS];
    if (c == NULL) abort();
    snprintf(path, sizeof path, "%s/%s.nc", fuzz_seed_folder(), kind);
    must(nc_open(path, NC_NOWRITE, &id), path);
    must(nc_inq_dimids(id, &c->n_dim, ids, 0), path);
    must(nc_inq_unlimdims(id, &n_unlimited, unlimited), path);
    for (int i = 0; i < c->n_dim; i++) {
        must(nc_inq_dim(id, ids[i], c->dim[i].name, &c->dim[i].length), path);
        for (int k = 0; k < n_unlimited; k++)
            c->dim[i].unlimited |= unlimited[k] == ids[i];
    }
    load_variables(c, id, -1);
    must(nc_inq_grps(id, &c->n_group, groups), path);
    for (int g = 0; g < c->n_group; g++) {
        must(nc_inq_grpname(groups[g], c->group[g]), path);
        load_variables(c, groups[g], g);
    }
    must(nc_inq_natts(id, &n), path);
    for (int i = 0; i < n && c->n_attribute < ATTRIBUTES; i++) {
        attribute *a = &c->attribute[c->n_attribute];
        nc_type type;
        must(nc_inq_attname(id, NC_GLOBAL, i, a->name), path);
        must(nc_inq_att(id, NC_GLOBAL, a->name, &type, &a->count), a->name);
        a->is_text = type == NC_CHAR;
        if (type == NC_STRING || a->count >= TEXT || (!a->is_text && a->count != 1)) continue;
        must(a->is_text ? nc_get_att_text(id, NC_GLOBAL, a->name, a->text)
                        : nc_get_att_double(id, NC_GLOBAL, a->name, &a->number),
             a->name);
        c->n_attribute++;
    }
    nc_close(id);
    return c;
}

/* --- changes --- */

typedef struct input {
    const uint8_t *at;
    size_t left;
} input;

static unsigned next(input *s)
{
    if (s->left == 0) return 0;
    s->left--;
    return *s->at++;
}
static unsigned below(input *s, int n)
{
    const unsigned low = next(s);
    return (n > 256 ? low + 256 * next(s) : low) % (unsigned)n;
}

static double number(input *s)
{
    static const double odd[] = {
        0,       1,          -1,   2,     NAN,   INFINITY, -INFINITY, 1e300, -1e300, 1e-300, INT_MAX,
        INT_MIN, 4294967296, 9e18, -9e18, 32767, -32768,   65536,     0.5,   1e9,    1e-8,   NC_FILL_DOUBLE};
    const unsigned b = next(s);
    if (b < sizeof odd / sizeof *odd) return odd[b];
    if (b < 128) return (double)b - 64;
    uint8_t raw[sizeof(double)];
    double value;
    for (size_t i = 0; i < sizeof raw; i++)
        raw[i] = (uint8_t)next(s);
    memcpy(&value, raw, sizeof value);
    return value;
}

static void change_dimension(dimension *d, input *s)
{
    const unsigned how = next(s);
    if (how < 16)
        d->length = how;
    else if (how < 64)
        d->length = d->length + how > 40 ? d->length + how - 40 : 0;
    else if (how < 80)
        d->length = 40 * how;
    else
        d->unlimited = !d->unlimited;
    if (d->length > LONGEST) d->length = LONGEST;
}

static void change_shape(const content *c, variable *v, input *s)
{
    const unsigned how = next(s);
    const int d = (int)below(s, c->n_dim);
    if (how < 64 && v->n_dims > 0)
        v->n_dims--;
    else if (how < 128 && v->n_dims < RANK)
        v->dim[v->n_dims++] = d;
    else if (v->n_dims > 0)
        v->dim[how % (unsigned)v->n_dims] = d;
}

/* A new number, no number, or another character in the text. */
static void change_attribute(attribute *a, input *s)
{
    const unsigned how = next(s);
    if (strcmp(a->name, "Conventions") == 0) return; /* without it nothing else is looked at */
    if (how < 32) {
        a->left_out = true;
    } else if (how < 96 || !a->is_text) {
        a->is_text = false;
        a->number = number(s);
        a->count = how < 48 ? 0 : 1;
    } else {
        const size_t at = below(s, (int)a->count + 1);
        if (how < 160 && a->count + 1 < TEXT) {
            memmove(a->text + at + 1, a->text + at, a->count - at);
            a->count++;
        } else if (how < 180) {
            a->count = at;
        }
        if (at < a->count) a->text[at] = (char)next(s);
    }
}

static void change_one(content *c, input *s)
{
    static const nc_type types[] = {NC_DOUBLE, NC_FLOAT,  NC_INT,    NC_INT64, NC_BYTE,
                                    NC_USHORT, NC_UINT64, NC_STRING, NC_CHAR};
    const unsigned what = next(s);
    variable *v = &c->variable[below(s, c->n_variable)];
    switch (what % 10) {
    default:
        if (v->count == 0) return;
        c->change[c->n_change].of = v;
        c->change[c->n_change].at = (next(s) + 256 * (size_t)next(s)) % v->count;
        c->change[c->n_change++].to = number(s);
        return;
    case 4:
        change_dimension(&c->dim[below(s, c->n_dim)], s);
        return;
    case 5:
        v->type = types[next(s) % (sizeof types / sizeof *types)];
        return;
    case 6:
        v->left_out = true;
        return;
    case 7:
        change_shape(c, v, s);
        return;
    case 8:
        if (c->n_attribute > 0) change_attribute(&c->attribute[below(s, c->n_attribute)], s);
        return;
    case 9:
        v->packed = true;
        v->chunk = 1 + next(s) % 64;
    }
}

/* --- the changed file --- */

static int put_values(const content *c, const variable *v, int id, int var, const size_t *length,
                      size_t count)
{
    static const size_t start[RANK + 1] = {0};
    int status = 0;
    if (v->type == NC_STRING) {
        const char **text = NH_ARRAY(const char *, count);
        for (size_t i = 0; text != NULL && i < count; i++)
            text[i] = v->string != NULL && v->count > 0 ? v->string[i % v->count] : "s";
        if (text != NULL) status = nc_put_vara_string(id, var, start, length, text);
        free(text);
    } else if (v->type == NC_CHAR) {
        char *text = NH_ARRAY(char, count);
        if (text != NULL) status = nc_put_vara_text(id, var, start, length, text);
        free(text);
    } else {
        double *value = NH_ARRAY(double, count);
        for (size_t i = 0; value != NULL && i < count; i++)
            value[i] = v->value != NULL && v->count > 0 ? v->value[i % v->count] : 0;
        for (int i = 0; value != NULL && i < c->n_change; i++)
            if (c->change[i].of == v && c->change[i].at < count) value[c->change[i].at] = c->change[i].to;
        if (value != NULL) status = nc_put_vara_double(id, var, start, length, value);
        free(value);
    }
    return status;
}

static void put_variable(const content *c, const variable *v, int id, const int *dim_id)
{
    int dims[RANK + 1], var;
    size_t length[RANK + 1] = {0}, chunk[RANK + 1], count = 1;
    if (v->left_out) return;
    for (int k = 0; k < v->n_dims; k++) {
        const dimension *d = &c->dim[v->dim[k]];
        dims[k] = dim_id[v->dim[k]];
        length[k] = d->length;
        chunk[k] = d->length > 0 && v->chunk > d->length && !d->unlimited ? d->length : v->chunk;
        if (!nh_size_mul(count, d->length, &count) || count > NUMBERS) return;
    }
    if (nc_def_var(id, v->name, v->type, v->n_dims, dims, &var)) return;
    if (v->packed && v->n_dims > 0) {
        nc_def_var_chunking(id, var, NC_CHUNKED, chunk);
        nc_def_var_deflate(id, var, 1, 1, 1);
    }
    /* A value that does not fit its type (NC_ERANGE) is written all the same. */
    if (count > 0) (void)put_values(c, v, id, var, length, count);
}

/* Name of the file, or NULL where netCDF does not make such a one. */
static const char *write_file(const content *c)
{
    int id, dim_id[DIMS], group_id[GROUPS], status = 0;
    NC_memio image = {0};
    if (nc_create_mem("fuzz", NC_NETCDF4, 1 << 16, &id)) return NULL;
    for (int i = 0; i < c->n_dim && !status; i++)
        status = nc_def_dim(id, c->dim[i].name,
                            c->dim[i].unlimited || c->dim[i].length == 0 ? NC_UNLIMITED : c->dim[i].length,
                            &dim_id[i]);
    for (int g = 0; g < c->n_group && !status; g++)
        status = nc_def_grp(id, c->group[g], &group_id[g]);
    for (int i = 0; i < c->n_attribute && !status; i++) {
        const attribute *a = &c->attribute[i];
        if (a->left_out) continue;
        (void)(a->is_text ? nc_put_att_text(id, NC_GLOBAL, a->name, a->count, a->text)
                          : nc_put_att_double(id, NC_GLOBAL, a->name, NC_DOUBLE, a->count, &a->number));
    }
    for (int i = 0; i < c->n_variable && !status; i++)
        put_variable(c, &c->variable[i], c->variable[i].group < 0 ? id : group_id[c->variable[i].group],
                     dim_id);
    const char *path =
        nc_close_memio(id, &image) == 0 && !status ? fuzz_file_on_disk(0, image.memory, image.size) : NULL;
    free(image.memory);
    return path;
}

static const char *changed_file(const char *kind, content **seed, const uint8_t *data, size_t size)
{
    input s = {data, size};
    if (*seed == NULL) *seed = load(kind);
    content *c = NH_ARRAY(content, 1);
    if (c == NULL) abort();
    memcpy(c, *seed, sizeof *c);
    while (s.left > 0 && c->n_change < CHANGES)
        change_one(c, &s);
    const char *path = write_file(c);
    free(c);
    return path;
}

/* --- what programs do with it --- */

static void carry(const nh_nc *f)
{
    static const char *const skip[] = {"h_pred", NULL};
    nh_error err;
    nh_nc *out;
    char command[] = "fuzz";
    const nh_common common = {.command_line = command, .history = true};
    if (nh_nc_create(fuzz_file_on_disk(1, "", 0), "fuzz", &common, f, &out, &err)) return;
    if (nh_nc_carry(out, f, skip, &err) == 0)
        (void)!nh_nc_commit(out, &err);
    else
        nh_nc_close(out);
}

static void solve(nh_graph *g)
{
    enum { LARGEST = 60 };
    static const double k[3] = {.1, .2, .3};
    nh_fourier *f;
    nh_eigen *e;
    nh_error err;
    if (g->matrix[NH_H0] == NULL || g->overlap == NULL || nh_structure_orbitals(&g->structure) > LARGEST ||
        nh_fourier_new(g, NH_H0, NULL, &f, &err))
        return;
    const size_t n = nh_fourier_basis(f);
    double *h = NH_ARRAY(double, 4 * n * n + n);
    if (h != NULL && !nh_fourier_at(f, 1, k, h, h + 2 * n * n, &err) &&
        !nh_eigen_new(n, 0, false, &e, &err)) {
        const nh_band_choice all = {.kind = NH_BANDS_ALL};
        size_t rank, first, count;
        (void)!nh_eigen_solve(e, h, h + 2 * n * n, &all, n, &rank, h + 4 * n * n, &first, &count, NULL, &err);
        nh_eigen_free(e);
    }
    free(h);
    nh_fourier_free(f);
}

void fuzz_graph(const uint8_t *data, size_t size)
{
    static content *seed;
    static const int l[] = {0, 0, 1};
    nh_error err;
    nh_nc *f;
    nh_graph *g;
    const char *path = changed_file("graph", &seed, data, size);
    if (path == NULL || nh_nc_open(path, &f, &err)) return;
    if (!nh_graph_read(f, ~0U, &g, &err)) {
        double largest;
        size_t where;
        for (int m = 0; m < NH_N_MATRIX; m++)
            if (g->matrix[m] != NULL) (void)!nh_hermiticity(g, g->matrix[m], &largest, &where, &err);
        (void)nh_graph_edges(g, g->cutoff, NULL);
        nh_embedding *e;
        nh_selection s;
        if (g->features != NULL && !nh_embedding_new(3, l, &e, &err)) {
            if (!nh_selection_parse(e, g->features->shell_pairs, g->features->irreps, &s, &err))
                nh_selection_free(&s);
            nh_embedding_free(e);
        }
        carry(f);
        solve(g);
        nh_graph_free(g);
    }
    nh_nc_close(f);
}

void fuzz_kspace(const uint8_t *data, size_t size)
{
    enum { LARGEST = 200 };
    static content *seed;
    nh_error err;
    nh_nc *f;
    nh_kspace s;
    const char *path = changed_file("kspace", &seed, data, size);
    if (path == NULL || nh_nc_open(path, &f, &err)) return;
    if (!nh_kspace_read(f, &s, &err)) {
        const size_t n = s.basis;
        double *h = n < LARGEST ? NH_ARRAY(double, 4 * n * n) : NULL, anti = 0;
        for (size_t k = 0; h != NULL && k < s.k.count && k < 3; k++)
            (void)!nh_kspace_get(f, &s, k, 1, h, h + 2 * n * n, &anti, &err);
        free(h);
        nh_kspace_free(&s);
    }
    nh_nc_close(f);
}

static void report(const nh_bands *b)
{
    enum { LARGEST = 4000 };
    static FILE *null;
    const double top = 10;
    if (null == NULL) null = fopen("/dev/null", "w");
    if (null == NULL) abort();
    nh_error err;
    nh_band_errors errors;
    const double level = isnan(b->efermi) ? 0 : b->efermi;
    nh_bandplot p = {.title = b->title,
                     .curve = {.bands = b,
                               .name = b->matrix != NULL ? b->matrix : "bands",
                               .zero = level,
                               .efermi = level,
                               .efermi_from = "the file"},
                     .top = top,
                     .window = {-top, top},
                     .picture = "p.png"};
    const nh_band_curve reference = p.curve;
    p.has_gap = nh_band_gap(b, b->nelec, &p.gap);
    if (nh_band_compare(b, b, level + top, &errors, &err)) memset(&errors, 0, sizeof errors);
    if (errors.k_max != NULL) {
        p.errors = &errors;
        p.n_reference = 1;
        p.reference = &reference;
    }
    for (int format = NH_BANDPLOT_TSV;
         format <= NH_BANDPLOT_KPOINTS && b->n_band < LARGEST && b->k.count < LARGEST; format++)
        if (format != NH_BANDPLOT_KPOINTS || p.errors != NULL)
            nh_bandplot_write(null, &p, (nh_bandplot_format)format);
    if (p.errors != NULL) nh_band_errors_free(&errors);
}

void fuzz_eigen(const uint8_t *data, size_t size)
{
    static content *seed;
    nh_error err;
    nh_nc *f;
    nh_bands b;
    const char *path = changed_file("eigen", &seed, data, size);
    if (path == NULL || nh_nc_open(path, &f, &err)) return;
    if (!nh_eigen_read(f, &b, &err)) {
        double level;
        (void)!nh_fermi_level(&b, b.nelec, &level, &err);
        report(&b);
        nh_bands_free(&b);
    }
    nh_nc_close(f);
}

void fuzz_model(const uint8_t *data, size_t size)
{
    static content *seed;
    nh_error err;
    nh_model *m;
    uint64_t hash;
    const char *path = changed_file("model", &seed, data, size);
    if (path == NULL || nh_model_read(path, NH_ACTS_HAM | NH_ACTS_TRACE, NULL, &m, &err)) return;
    (void)!nh_model_hash(m, NULL, &hash, &err);
    nh_model_free(m);
}
