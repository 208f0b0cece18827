#include "formats/netcdf/nc_internal.h"

#include "base/memory.h"
#include "formats/netcdf/chunks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool nh_nc_has(const nh_nc *f, const char *variable)
{
    int id;
    return nc_inq_varid(f->id, variable, &id) !=
           NC_ENOTVAR; /* another error is not absence: reading it says what it is */
}

int nh_nc_dim(const nh_nc *f, const char *dimension, size_t *length, nh_error *err)
{
    int id;
    if (nc_inq_dimid(f->id, dimension, &id)) return nh_fail(err, "%s: no dimension %s", f->name, dimension);
    const int status = nc_inq_dimlen(f->id, id, length);
    return status ? nh_nc_failed(f, dimension, status, err) : 0;
}

static int no_variable(const nh_nc *f, const char *variable, int status, nh_error *err)
{
    if (status != NC_ENOTVAR) return nh_nc_failed(f, variable, status, err);
    return nh_fail(err, "%s: no variable %s", f->name, variable);
}

/* Finds a variable whose dimensions have the given names and whose size is `count`. */
static int find(const nh_nc *f, const char *variable, size_t n_dims, const char *const *dims, size_t count,
                int *id, nh_error *err)
{
    int n, dim_id[NC_MAX_VAR_DIMS];
    nc_type type;
    int status = nc_inq_varid(f->id, variable, id);
    if (status) return no_variable(f, variable, status, err);
    status = nc_inq_var(f->id, *id, NULL, &type, &n, dim_id, NULL);
    if (status) return nh_nc_failed(f, variable, status, err);
    if (type == NC_CHAR || type == NC_STRING || type > NC_MAX_ATOMIC_TYPE)
        return nh_fail(err, "%s: variable %s: not a number type", f->name, variable);
    if ((size_t)n != n_dims)
        return nh_fail(err, "%s: variable %s: %d dimensions, expected %zu", f->name, variable, n, n_dims);
    size_t total = 1;
    for (size_t i = 0; i < n_dims; i++) {
        char name[NC_MAX_NAME + 1];
        size_t length;
        status = nc_inq_dim(f->id, dim_id[i], name, &length);
        if (status) return nh_nc_failed(f, variable, status, err);
        if (strcmp(name, dims[i]) != 0)
            return nh_fail(err, "%s: variable %s: dimension %zu is %s, expected %s", f->name, variable, i + 1,
                           name, dims[i]);
        if (!nh_size_mul(total, length, &total))
            return nh_fail(err, "%s: variable %s: too large", f->name, variable);
    }
    if (total != count)
        return nh_fail(err, "%s: variable %s: %zu numbers, expected %zu", f->name, variable, total, count);
    return 0;
}

static int check_finite(const nh_nc *f, const char *variable, size_t first, size_t count,
                        const double *values, nh_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return nh_fail(err, "%s: variable %s: element %zu is %g, expected a finite number", f->name,
                           variable, first + i, values[i]);
    return 0;
}

/* A large compressed variable, past netCDF; false where it has to be netCDF. */
static bool get_chunks(const nh_nc *f, int id, const char *variable, size_t count, bool single, void *out)
{
    int shuffled, deflated = 0;
    if (count < NH_NC_CHUNK_NUMBERS || f->memory != NULL ||
        nc_inq_var_deflate(f->id, id, &shuffled, &deflated, NULL) || !deflated)
        return false;
    hid_t file;
    nh_error none;
    if (nh_nc_hdf(f, &file, &none)) return false;
    const bool done = nh_chunks_get(file, variable, count, single, out, f->threads);
    H5Fclose(file);
    return done;
}

int nh_nc_get_double(const nh_nc *f, const char *variable, size_t n_dims, const char *const *dims,
                     size_t count, double *out, nh_error *err)
{
    const bool any = variable[0] == '?';
    if (any) variable++;
    int id;
    if (find(f, variable, n_dims, dims, count, &id, err)) return -1;
    if (count == 0) return 0;
    const int status = get_chunks(f, id, variable, count, false, out) ? 0 : nc_get_var_double(f->id, id, out);
    if (status) return nh_nc_failed(f, variable, status, err);
    return any ? 0 : check_finite(f, variable, 0, count, out, err);
}

int nh_nc_get_float(const nh_nc *f, const char *variable, size_t n_dims, const char *const *dims,
                    size_t count, float *out, nh_error *err)
{
    const bool any = variable[0] == '?';
    if (any) variable++;
    int id;
    if (find(f, variable, n_dims, dims, count, &id, err)) return -1;
    if (count == 0) return 0;
    const int status = get_chunks(f, id, variable, count, true, out) ? 0 : nc_get_var_float(f->id, id, out);
    if (status) return nh_nc_failed(f, variable, status, err);
    for (size_t i = 0; i < count && !any; i++)
        if (!isfinite(out[i]))
            return nh_fail(err, "%s: variable %s: element %zu is %g, expected a finite number", f->name,
                           variable, i, (double)out[i]);
    return 0;
}

int nh_nc_get_int(const nh_nc *f, const char *variable, size_t n_dims, const char *const *dims, size_t count,
                  int *out, nh_error *err)
{
    int id;
    if (find(f, variable, n_dims, dims, count, &id, err)) return -1;
    if (count == 0) return 0;
    const int status = nc_get_var_int(f->id, id, out);
    return status ? nh_nc_failed(f, variable, status, err) : 0;
}

int nh_nc_get_int64(const nh_nc *f, const char *variable, size_t n_dims, const char *const *dims,
                    size_t count, long long *out, nh_error *err)
{
    int id;
    if (find(f, variable, n_dims, dims, count, &id, err)) return -1;
    if (count == 0) return 0;
    const int status = nc_get_var_longlong(f->id, id, out);
    return status ? nh_nc_failed(f, variable, status, err) : 0;
}

/* Start and count of a slab along the first dimension; checks that the other dimensions hold `rest` numbers.
 */
int nh_nc_slab(const nh_nc *f, const char *variable, size_t first, size_t n, size_t rest, int *id,
               size_t *start, size_t *length, nh_error *err)
{
    int n_dims, dim_id[NC_MAX_VAR_DIMS], n_unlimited, unlimited[NC_MAX_DIMS];
    int status = nc_inq_varid(f->id, variable, id);
    if (status) return no_variable(f, variable, status, err);
    status = nc_inq_var(f->id, *id, NULL, NULL, &n_dims, dim_id, NULL);
    if (!status) status = nc_inq_unlimdims(f->id, &n_unlimited, unlimited);
    if (status) return nh_nc_failed(f, variable, status, err);
    if (n_dims < 1) return nh_fail(err, "%s: variable %s: a scalar, expected an array", f->name, variable);
    size_t total = 1;
    for (int i = 0; i < n_dims; i++) {
        status = nc_inq_dimlen(f->id, dim_id[i], &length[i]);
        if (status) return nh_nc_failed(f, variable, status, err);
        start[i] = 0;
        if (i > 0 && !nh_size_mul(total, length[i], &total))
            return nh_fail(err, "%s: variable %s: too large", f->name, variable);
    }
    bool grows = false;
    for (int i = 0; f->writing && i < n_unlimited; i++)
        if (unlimited[i] == dim_id[0]) grows = true;
    size_t end;
    if (!nh_size_add(first, n, &end) || (!grows && end > length[0]))
        return nh_fail(err, "%s: variable %s: slab beyond its %zu rows", f->name, variable, length[0]);
    if (total != rest)
        return nh_fail(err, "%s: variable %s: %zu numbers a row, expected %zu", f->name, variable, total,
                       rest);
    start[0] = first;
    length[0] = n;
    return 0;
}

int nh_nc_get_slab(const nh_nc *f, const char *variable, size_t first, size_t n, size_t rest, double *out,
                   nh_error *err)
{
    const bool any = variable[0] == '?';
    if (any) variable++;
    int id;
    size_t start[NC_MAX_VAR_DIMS], length[NC_MAX_VAR_DIMS];
    if (nh_nc_slab(f, variable, first, n, rest, &id, start, length, err)) return -1;
    if (n == 0 || rest == 0) return 0;
    const int status = nc_get_vara_double(f->id, id, start, length, out);
    if (status) return nh_nc_failed(f, variable, status, err);
    return any ? 0 : check_finite(f, variable, first * rest, n * rest, out, err);
}

int nh_nc_get_strings(const nh_nc *f, const char *variable, size_t count, char **out, nh_error *err)
{
    int id, n_dims, dim_id[NC_MAX_VAR_DIMS];
    nc_type type;
    size_t length;
    int status = nc_inq_varid(f->id, variable, &id);
    if (status) return no_variable(f, variable, status, err);
    status = nc_inq_var(f->id, id, NULL, &type, &n_dims, dim_id, NULL);
    if (status) return nh_nc_failed(f, variable, status, err);
    if (type != NC_STRING || n_dims != 1)
        return nh_fail(err, "%s: variable %s: expected a list of strings", f->name, variable);
    status = nc_inq_dimlen(f->id, dim_id[0], &length);
    if (status) return nh_nc_failed(f, variable, status, err);
    if (length != count)
        return nh_fail(err, "%s: variable %s: %zu strings, expected %zu", f->name, variable, length, count);
    if (count == 0) return 0;
    char **const raw = NH_ARRAY(char *, count);
    if (raw == NULL) return nh_fail_memory(err, variable);
    status = nc_get_var_string(f->id, id, raw);
    if (status) {
        free(raw);
        return nh_nc_failed(f, variable, status, err);
    }
    int failure = 0;
    for (size_t i = 0; i < count; i++) {
        out[i] = nh_strdup(raw[i] != NULL ? raw[i] : "");
        if (out[i] == NULL) failure = nh_fail_memory(err, variable);
    }
    nc_free_string(count, raw);
    free(raw);
    if (failure)
        for (size_t i = 0; i < count; i++) {
            free(out[i]);
            out[i] = NULL;
        }
    return failure;
}

int nh_nc_att_double(const nh_nc *f, const char *name, double *out, nh_error *err)
{
    size_t length;
    nc_type type;
    const int status = nc_inq_att(f->id, NC_GLOBAL, name, &type, &length);
    if (status == NC_ENOTATT) return 0;
    if (status) return nh_nc_failed(f, name, status, err);
    if (length != 1 || type == NC_CHAR || type == NC_STRING || nc_get_att_double(f->id, NC_GLOBAL, name, out))
        return nh_fail(err, "%s: attribute %s: expected one number", f->name, name);
    return 0;
}

int nh_nc_att_text(const nh_nc *f, const char *name, char **out, nh_error *err)
{
    *out = NULL;
    size_t length;
    nc_type type;
    int status = nc_inq_att(f->id, NC_GLOBAL, name, &type, &length);
    if (status == NC_ENOTATT) return 0;
    if (status) return nh_nc_failed(f, name, status, err);
    if (type == NC_STRING && length == 1) {
        char *raw = NULL;
        status = nc_get_att_string(f->id, NC_GLOBAL, name, &raw);
        if (status) return nh_nc_failed(f, name, status, err);
        *out = nh_strdup(raw != NULL ? raw : "");
        nc_free_string(1, &raw);
        return *out == NULL ? nh_fail_memory(err, name) : 0;
    }
    if (type != NC_CHAR) return nh_fail(err, "%s: attribute %s: expected text", f->name, name);
    char *const text = NH_ARRAY(char, length + 1);
    if (text == NULL) return nh_fail_memory(err, name);
    status = nc_get_att_text(f->id, NC_GLOBAL, name, text);
    if (status) {
        free(text);
        return nh_nc_failed(f, name, status, err);
    }
    *out = text;
    return 0;
}
