#include "formats/netcdf/nc_internal.h"

#include "base/memory.h"

#include <netcdf_filter.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { CARRY_BYTES = 32 * 1024 * 1024 }; /* slab that nh_nc_carry copies at once */

static bool listed(const char *name, const char *const *list)
{
    for (; list != NULL && *list != NULL; list++)
        if (strcmp(name, *list) == 0) return true;
    return false;
}

static int carry_attributes(nh_nc *out, int out_var, const nh_nc *in, int in_var, const char *where,
                            nh_error *err)
{
    int n;
    int status = nc_inq_varnatts(in->id, in_var, &n);
    if (status) return nh_nc_failed(in, where, status, err);
    for (int a = 0; a < n; a++) {
        char name[NC_MAX_NAME + 1];
        status = nc_inq_attname(in->id, in_var, a, name);
        if (status) return nh_nc_failed(in, where, status, err);
        int existing;
        if (nc_inq_attid(out->id, out_var, name, &existing) == 0) continue;
        if (in_var == NC_GLOBAL && strcmp(name, "history") == 0)
            continue; /* nh_nc_create made it, or was told not to */
        status = nc_copy_att(in->id, in_var, name, out->id, out_var);
        if (status) return nh_nc_failed(out, name, status, err);
    }
    return 0;
}

/* Defines variable v of `in` in `out`, with its dimensions. */
static int carry_define(nh_nc *out, const nh_nc *in, int v, const char *name, int *new_id, nh_error *err)
{
    nc_type type;
    int n_dims, dim_id[NC_MAX_VAR_DIMS], n_unlimited, unlimited[NC_MAX_DIMS];
    int status = nc_inq_var(in->id, v, NULL, &type, &n_dims, dim_id, NULL);
    if (!status) status = nc_inq_unlimdims(in->id, &n_unlimited, unlimited);
    if (status) return nh_nc_failed(in, name, status, err);
    if (type > NC_MAX_ATOMIC_TYPE)
        return nh_fail(err, "%s: variable %s: user-defined types cannot be carried along", in->name, name);
    int new_dim[NC_MAX_VAR_DIMS];
    for (int i = 0; i < n_dims; i++) {
        char dim_name[NC_MAX_NAME + 1];
        size_t length;
        status = nc_inq_dim(in->id, dim_id[i], dim_name, &length);
        if (status) return nh_nc_failed(in, name, status, err);
        for (int u = 0; u < n_unlimited; u++)
            if (unlimited[u] == dim_id[i]) length = NC_UNLIMITED;
        if (nh_nc_def_dim(out, dim_name, length, err)) return -1;
        status = nc_inq_dimid(out->id, dim_name, &new_dim[i]);
        if (status) return nh_nc_failed(out, dim_name, status, err);
    }
    int storage;
    size_t chunk[NC_MAX_VAR_DIMS];
    const bool chunked =
        n_dims > 0 && nc_inq_var_chunking(in->id, v, &storage, chunk) == 0 && storage == NC_CHUNKED;
    if (nh_nc_define(out, name, type, n_dims, new_dim, chunked ? chunk : NULL, new_id, err)) return -1;
    return carry_attributes(out, *new_id, in, v, name, err);
}

/* Whether the variable is stored in both files in the same compressed chunks, all of them there: fixed dimensions, and
 * no filters but the ones that the writer here knows. */
static bool same_chunks(const nh_nc *out, int new_id, const nh_nc *in, int v)
{
    int storage, other, n_dims, dim_id[NC_MAX_VAR_DIMS], n_unlimited, filter[2][5];
    size_t chunk[2][NC_MAX_VAR_DIMS], n_filter[2];
    unsigned filters[2][2];
    nc_type type[2];
    if (out->image || in->memory != NULL || nc_inq_var(in->id, v, NULL, &type[0], &n_dims, dim_id, NULL) ||
        nc_inq_vartype(out->id, new_id, &type[1]) || nc_inq_unlimdims(in->id, &n_unlimited, NULL) ||
        n_unlimited > 0 || type[0] != type[1] || type[0] == NC_STRING || n_dims == 0 ||
        nc_inq_var_chunking(in->id, v, &storage, chunk[0]) || storage != NC_CHUNKED ||
        nc_inq_var_chunking(out->id, new_id, &other, chunk[1]) || other != NC_CHUNKED)
        return false;
    for (int i = 0; i < n_dims; i++)
        if (chunk[0][i] != chunk[1][i]) return false;
    for (int i = 0; i < 2; i++) {
        const int id = i ? out->id : in->id, variable = i ? new_id : v;
        filter[i][4] = 0;
        if (nc_inq_var_filter_ids(id, variable, &n_filter[i], NULL) || n_filter[i] > 2 ||
            nc_inq_var_filter_ids(id, variable, &n_filter[i], filters[i]) ||
            nc_inq_var_deflate(id, variable, &filter[i][0], &filter[i][1], NULL) ||
            nc_inq_var_fletcher32(id, variable, &filter[i][2]) ||
            nc_inq_var_endian(id, variable, &filter[i][3]))
            return false;
        if (filter[i][3] == NC_ENDIAN_NATIVE) filter[i][3] = NC_ENDIAN_LITTLE;
    }
    return memcmp(filter[0], filter[1], sizeof filter[0]) == 0 && n_filter[0] == n_filter[1] &&
           filter[0][1] != 0;
}

/* Whether the variable is one of numbers that is to be compressed: fixed dimensions, into a file. */
static bool compressed(const nh_nc *out, int new_id, const nh_nc *in, int v)
{
    int shuffled, deflated = 0, n_unlimited;
    nc_type type[2];
    return !out->image && nc_inq_var_deflate(out->id, new_id, &shuffled, &deflated, NULL) == 0 && deflated &&
           nc_inq_unlimdims(in->id, &n_unlimited, NULL) == 0 && n_unlimited == 0 &&
           nc_inq_vartype(in->id, v, &type[0]) == 0 && nc_inq_vartype(out->id, new_id, &type[1]) == 0 &&
           type[0] == type[1] && (type[0] == NC_DOUBLE || type[0] == NC_FLOAT);
}

/* Leaves a variable of the input for commit_later. */
static int carry_later(nh_nc *out, const nh_nc *in, const char *name, bool as_it_is, nh_error *err)
{
    if (nh_nc_put_later(out, name, NULL, as_it_is, err)) return -1;
    return out->from > 0 ? 0 : nh_nc_hdf(in, &out->from, err);
}

static int carry_values(nh_nc *out, int new_id, const nh_nc *in, int v, const char *name, nh_error *err)
{
    nc_type type;
    int n_dims, dim_id[NC_MAX_VAR_DIMS];
    size_t start[NC_MAX_VAR_DIMS] = {0}, length[NC_MAX_VAR_DIMS], size, row = 1;
    int status = nc_inq_var(in->id, v, NULL, &type, &n_dims, dim_id, NULL);
    if (!status) status = nc_inq_type(in->id, type, NULL, &size);
    for (int i = 0; !status && i < n_dims; i++) {
        status = nc_inq_dimlen(in->id, dim_id[i], &length[i]);
        if (!status && i > 0 && !nh_size_mul(row, length[i], &row))
            return nh_fail(err, "%s: variable %s: too large", in->name, name);
    }
    if (status) return nh_nc_failed(in, name, status, err);
    const size_t rows = n_dims > 0 ? length[0] : 1;
    size_t row_bytes;
    if (!nh_size_mul(row, size, &row_bytes))
        return nh_fail(err, "%s: variable %s: too large", in->name, name);
    if (rows == 0 || row == 0) return 0;
    const size_t at_once = row_bytes >= CARRY_BYTES         ? 1
                           : CARRY_BYTES / row_bytes < rows ? CARRY_BYTES / row_bytes
                                                            : rows;
    void *const buffer = nh_calloc(at_once, row_bytes);
    if (buffer == NULL) return nh_fail_memory(err, name);
    int failure = 0;
    for (size_t r = 0; r < rows && !failure; r += at_once) {
        const size_t n = rows - r < at_once ? rows - r : at_once;
        start[0] = r;
        length[0] = n;
        status = nc_get_vara(in->id, v, start, length, buffer);
        if (status) {
            failure = nh_nc_failed(in, name, status, err);
            break;
        }
        errno = 0;
        status = nc_put_vara(out->id, new_id, start, length, buffer);
        if (status) failure = nh_nc_failed(out, name, status, err);
        if (type == NC_STRING) nc_free_string(n * row, (char **)buffer);
    }
    free(buffer);
    return failure;
}

int nh_nc_carry(nh_nc *out, const nh_nc *in, const char *const *skip, nh_error *err)
{
    int n;
    int status = nc_inq_nvars(in->id, &n);
    if (status) return nh_nc_failed(in, NULL, status, err);
    int *const new_id = NH_ARRAY(int, (size_t)n);
    if (new_id == NULL) return nh_fail_memory(err, in->name);
    int failure = carry_attributes(out, NC_GLOBAL, in, NC_GLOBAL, "global attributes", err);
    char name[NC_MAX_NAME + 1];
    for (int v = 0; v < n && !failure; v++) {
        int existing;
        new_id[v] = -1;
        status = nc_inq_varname(in->id, v, name);
        if (status)
            failure = nh_nc_failed(in, NULL, status, err);
        else if (!listed(name, skip) && nc_inq_varid(out->id, name, &existing) != 0)
            failure = carry_define(out, in, v, name, &new_id[v], err);
    }
    for (int v = 0; v < n && !failure; v++) {
        if (new_id[v] < 0) continue;
        nc_inq_varname(in->id, v, name);
        const bool same = same_chunks(out, new_id[v], in, v);
        failure = same || compressed(out, new_id[v], in, v) ? carry_later(out, in, name, same, err)
                                                            : carry_values(out, new_id[v], in, v, name, err);
    }
    free(new_id);
    return failure;
}
