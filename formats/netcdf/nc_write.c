#include "formats/netcdf/nc_internal.h"

#include "base/memory.h"
#include "base/version.h"
#include "formats/netcdf/hdf.h"

#include <netcdf_mem.h>
#include <netcdf_meta.h>

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    COMPRESS_FROM = 64 * 1024, /* bytes; smaller variables are not worth a filter */
    DEFLATE_LEVEL = 1,
    ALIGN_FROM = 4096, /* bytes */
    ALIGNMENT = 64
};

static int put_history(nh_nc *f, const nh_common *common, const nh_nc *input, nh_error *err)
{
    char *before = NULL;
    if (input != NULL && nh_nc_att_text(input, "history", &before, err)) return -1;
    char date[32];
    const time_t now = time(NULL);
    struct tm broken;
    strftime(date, sizeof date, "%a %b %e %H:%M:%S %Y", localtime_r(&now, &broken));
    char *line = NULL;
    const int n = before != NULL ? asprintf(&line, "%s: %s\n%s", date, common->command_line, before)
                                 : asprintf(&line, "%s: %s", date, common->command_line);
    free(before);
    if (n < 0) return nh_fail_memory(err, "history");
    const int failure = nh_nc_set_text(f, "history", line, err);
    free(line);
    return failure;
}

/* Large variables begin at addresses that suit their numbers, so that a model can be mapped (HDF5 puts them anywhere).
 * netCDF has the call since 4.9.0; a file without it is read, not mapped. */
static void align(void)
{
#if NC_VERSION_MAJOR > 4 || (NC_VERSION_MAJOR == 4 && NC_VERSION_MINOR >= 9)
    nc_set_alignment(ALIGN_FROM, ALIGNMENT);
#endif
}

int nh_nc_create(const char *path, const char *program, const nh_common *common, const nh_nc *input,
                 nh_nc **out, nh_error *err)
{
    *out = NULL;
    nh_hdf_begin();
    const bool to_stdout = strcmp(path, "-") == 0;
    if (nh_output_is_terminal(path))
        return nh_fail(
            err,
            "(standard output): a terminal; redirect the binary image (> FILE, | PROGRAM) or use -o FILE");
    nh_nc *f = calloc(1, sizeof *f);
    if (f == NULL) return nh_fail_memory(err, path);
    f->writing = true;
    f->name = nh_strdup(to_stdout ? "(standard output)" : path);
    if (f->name == NULL) {
        nh_nc_close(f);
        return nh_fail_memory(err, path);
    }
    if (nh_outfile_begin(path, &f->out, err)) {
        nh_nc_close(f);
        return -1;
    }
    const char *const temporary = nh_outfile_path(f->out);
    f->image = temporary == NULL;
    align();
    errno = 0;
    const int status = f->image ? nc_create_mem("image", NC_NETCDF4, NH_NC_IMAGE_BEGIN, &f->id)
                                : nc_create(temporary, NC_NETCDF4 | NC_CLOBBER, &f->id);
    if (status) {
        nh_nc_failed(f, NULL, status, err);
        nh_nc_close(f);
        return -1;
    }
    f->open = true;
    char source[128];
    snprintf(source, sizeof source, "%s (nextham %s)", program, nh_version());
    if (nh_nc_set_text(f, "Conventions", NH_NC_CONVENTIONS, err) ||
        nh_nc_set_text(f, "source", source, err) || (common->history && put_history(f, common, input, err))) {
        nh_nc_close(f);
        return -1;
    }
    *out = f;
    return 0;
}

int nh_nc_def_dim(nh_nc *f, const char *name, size_t length, nh_error *err)
{
    int id;
    size_t found;
    if (nc_inq_dimid(f->id, name, &id) == 0) {
        const int status = nc_inq_dimlen(f->id, id, &found);
        if (status) return nh_nc_failed(f, name, status, err);
        if (found != length && length != NC_UNLIMITED)
            return nh_fail(err, "%s: dimension %s: is %zu, asked for %zu", f->name, name, found, length);
        return 0;
    }
    /* netCDF takes 0 as NC_UNLIMITED: an empty fixed dimension becomes an unlimited one of length 0, which
     * reads the same. */
    const int status = nc_def_dim(f->id, name, length, &id);
    return status ? nh_nc_failed(f, name, status, err) : 0;
}

/* Size in bytes, with an unlimited dimension counted as large. */
static size_t variable_bytes(const nh_nc *f, nc_type type, int n_dims, const int *dim_id)
{
    size_t bytes = 0;
    if (nc_inq_type(f->id, type, NULL, &bytes)) return 0;
    for (int i = 0; i < n_dims; i++) {
        size_t length;
        if (nc_inq_dimlen(f->id, dim_id[i], &length)) return 0;
        if (length == 0) length = COMPRESS_FROM;
        if (!nh_size_mul(bytes, length, &bytes)) return SIZE_MAX;
    }
    return bytes;
}

/* Chunks of up to NH_NC_CHUNK_NUMBERS: whole last dimensions, as many as fit, then even parts of the next one. False where a
 * dimension is unlimited: netCDF knows better. */
static bool choose_chunks(const nh_nc *f, int n_dims, const int *dim_id, size_t *chunk)
{
    size_t room = NH_NC_CHUNK_NUMBERS;
    for (int i = n_dims; i-- > 0;) {
        size_t length;
        if (nc_inq_dimlen(f->id, dim_id[i], &length) || length == 0) return false;
        const size_t parts = (length + room - 1) / room;
        chunk[i] = (length + parts - 1) / parts;
        room = parts > 1 ? 1 : room / chunk[i];
    }
    return true;
}

int nh_nc_define(nh_nc *f, const char *name, nc_type type, int n_dims, const int *dim_id, const size_t *chunk,
                 int *id, nh_error *err)
{
    size_t chosen[NC_MAX_VAR_DIMS];
    const bool compress = !f->image && n_dims > 0 && type != NC_STRING &&
                          variable_bytes(f, type, n_dims, dim_id) >= COMPRESS_FROM;
    int status = nc_def_var(f->id, name, type, n_dims, dim_id, id);
    if (compress && chunk == NULL && choose_chunks(f, n_dims, dim_id, chosen)) chunk = chosen;
    if (!status && chunk != NULL && n_dims > 0) status = nc_def_var_chunking(f->id, *id, NC_CHUNKED, chunk);
    if (!status && compress) status = nc_def_var_deflate(f->id, *id, 1, 1, DEFLATE_LEVEL);
    return status ? nh_nc_failed(f, name, status, err) : 0;
}

int nh_nc_def_var(nh_nc *f, const char *name, nc_type type, size_t n_dims, const char *const *dims,
                  const size_t *chunk, const char *units, const char *long_name, nh_error *err)
{
    int id, dim_id[NC_MAX_VAR_DIMS];
    for (size_t i = 0; i < n_dims; i++)
        if (nc_inq_dimid(f->id, dims[i], &dim_id[i]))
            return nh_fail(err, "%s: variable %s: no dimension %s", f->name, name, dims[i]);
    if (nh_nc_define(f, name, type, (int)n_dims, dim_id, chunk, &id, err)) return -1;
    int status = 0;
    if (units != NULL) status = nc_put_att_text(f->id, id, "units", strlen(units), units);
    if (!status && long_name != NULL)
        status = nc_put_att_text(f->id, id, "long_name", strlen(long_name), long_name);
    return status ? nh_nc_failed(f, name, status, err) : 0;
}

static int variable_id(const nh_nc *f, const char *variable, int *id, nh_error *err)
{
    errno = 0;
    if (nc_inq_varid(f->id, variable, id)) return nh_fail(err, "%s: no variable %s", f->name, variable);
    return 0;
}

#define PUT_WHOLE(suffix, type, call)                                                                        \
    int nh_nc_put_##suffix(nh_nc *f, const char *variable, const type *values, nh_error *err)                \
    {                                                                                                        \
        int id;                                                                                              \
        if (variable_id(f, variable, &id, err)) return -1;                                                   \
        const int status = call(f->id, id, values);                                                          \
        return status ? nh_nc_failed(f, variable, status, err) : 0;                                          \
    }
PUT_WHOLE(double, double, nc_put_var_double)
PUT_WHOLE(int, int, nc_put_var_int)
PUT_WHOLE(int64, long long, nc_put_var_longlong)

int nh_nc_put_later(nh_nc *f, const char *name, const double *values, bool as_it_is, nh_error *err)
{
    if (!nh_grow_one(&f->later, f->n_later, sizeof *f->later)) return nh_fail_memory(err, name);
    char *const copy = nh_strdup(name);
    if (copy == NULL) return nh_fail_memory(err, name);
    f->later[f->n_later++] = (nh_nc_later){copy, values, as_it_is};
    return 0;
}

int nh_nc_put_late(nh_nc *f, const char *variable, const double *values, nh_error *err)
{
    int id, shuffled, deflated = 0;
    if (variable_id(f, variable, &id, err)) return -1;
    if (!f->image) nc_inq_var_deflate(f->id, id, &shuffled, &deflated, NULL);
    return deflated ? nh_nc_put_later(f, variable, values, false, err)
                    : nh_nc_put_double(f, variable, values, err);
}

int nh_nc_put_slab(nh_nc *f, const char *variable, size_t first, size_t n, size_t rest, const double *values,
                   nh_error *err)
{
    int id;
    size_t start[NC_MAX_VAR_DIMS], length[NC_MAX_VAR_DIMS];
    if (nh_nc_slab(f, variable, first, n, rest, &id, start, length, err)) return -1;
    errno = 0;
    const int status = nc_put_vara_double(f->id, id, start, length, values);
    return status ? nh_nc_failed(f, variable, status, err) : 0;
}

int nh_nc_put_string(nh_nc *f, const char *variable, size_t index, const char *text, nh_error *err)
{
    int id;
    if (variable_id(f, variable, &id, err)) return -1;
    const int status = nc_put_var1_string(f->id, id, &index, &text);
    return status ? nh_nc_failed(f, variable, status, err) : 0;
}

int nh_nc_set_double(nh_nc *f, const char *attribute, double value, nh_error *err)
{
    const int status = nc_put_att_double(f->id, NC_GLOBAL, attribute, NC_DOUBLE, 1, &value);
    return status ? nh_nc_failed(f, attribute, status, err) : 0;
}

int nh_nc_set_text(nh_nc *f, const char *attribute, const char *text, nh_error *err)
{
    const int status = nc_put_att_text(f->id, NC_GLOBAL, attribute, strlen(text), text);
    return status ? nh_nc_failed(f, attribute, status, err) : 0;
}
