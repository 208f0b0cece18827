#include "formats/netcdf/nc.h"

#include "base/memory.h"
#include "base/outfile.h"
#include "formats/netcdf/chunks.h"
#include "formats/netcdf/hdf.h"

#include <netcdf_filter.h>
#include <netcdf_mem.h>
#include <netcdf_meta.h>

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    COMPRESS_FROM = 64 * 1024, /* bytes; smaller variables are not worth a filter */
    DEFLATE_LEVEL = 1,
    CHUNK_NUMBERS = 65536,          /* of a compressed variable */
    CARRY_BYTES = 32 * 1024 * 1024, /* slab that nh_nc_carry copies at once */
    IMAGE_BEGIN = 4 * 1024 * 1024,  /* first size of an image in memory */
    ALIGN_FROM = 4096,              /* bytes */
    ALIGNMENT = 64
};

/* A variable whose chunks are written past netCDF, on commit. */
typedef struct later {
    char *name;           /* owned */
    const double *values; /* NULL: those of `from` */
    bool as_it_is;        /* without values: its compressed chunks */
} later;

struct nh_nc {
    int id;
    bool open;
    bool writing;
    bool image;      /* writing: into memory */
    char *name;      /* for messages */
    void *memory;    /* reading from a pipe: the image */
    size_t size;     /* of it */
    nh_outfile *out; /* writing */
    nh_threads *threads; /* for large variables; NULL: the caller alone */
    hid_t from;          /* where variables of `later` come from; 0: none */
    later *later;        /* [n_later], owned */
    size_t n_later;
};

static const char *const CONVENTIONS = "NextHAM-1";

int nh_nc_failed(const nh_nc *f, const char *what, int status, nh_error *err)
{
    const int cause = errno;
    const bool device =
        cause == ENOSPC || cause == EFBIG || cause == EDQUOT || cause == EIO || cause == EROFS;
    const char *const text = status > 0               ? strerror(status)
                             : (device && f->writing) ? strerror(cause)
                                                      : nc_strerror(status);
    if (what == NULL) return nh_fail(err, "%s: %s", f->name, text);
    return nh_fail(err, "%s: %s: %s", f->name, what, text);
}

/* --- opening --- */

/* An identifier of HDF5; they ascend. */
static hid_t mark(void)
{
    const hid_t id = H5Pcreate(H5P_FILE_CREATE);
    H5Pclose(id);
    return id;
}

/* netCDF 4.9.0 never closes the copy of a file's creation properties that nc_open makes: 1.8 kB a file, which a training run
 * opens by the thousand, many times. Closes those made since `begin`; nothing else makes any, and for a netCDF that closes
 * its copies there is nothing to do. */
static void drop_forgotten(hid_t begin)
{
    enum { MOST = 10000 };
    const hid_t end = mark();
    for (hid_t id = begin + 1; begin > 0 && end - begin < MOST && id < end; id++) {
        if (H5Iis_valid(id) <= 0 || H5Iget_type(id) != H5I_GENPROP_LST) continue;
        if (H5Pisa_class(id, H5P_FILE_CREATE) > 0) H5Pclose(id);
    }
}

static int read_all(FILE *in, void **image, size_t *size, nh_error *err)
{
    size_t room = 0, used = 0;
    char *data = NULL;
    bool grown = nh_grow(&data, &room, IMAGE_BEGIN, 1);
    for (size_t got = 1; grown && got > 0;) {
        got = fread(data + used, 1, room - used, in);
        used += got;
        if (used == room) grown = nh_grow(&data, &room, room + 1, 1);
    }
    if (!grown) {
        free(data);
        return nh_fail_memory(err, "the image on standard input");
    }
    if (ferror(in)) {
        free(data);
        return nh_fail(err, "(standard input): %s", strerror(errno));
    }
    *image = data;
    *size = used;
    return 0;
}

static int open_pipe(nh_nc *f, nh_error *err)
{
    if (isatty(STDIN_FILENO))
        return nh_fail(
            err, "(standard input): a terminal; expected a netCDF image through a pipe, or a file's name");
    if (read_all(stdin, &f->memory, &f->size, err)) return -1;
    if (f->size == 0)
        return nh_fail(err, "(standard input): empty; the program before in the pipe wrote nothing");
    const int status = nc_open_mem("(standard input)", NC_NOWRITE, f->size, f->memory, &f->id);
    if (status) return nh_fail(err, "%s: no complete netCDF image: %s", f->name, nc_strerror(status));
    return 0;
}

int nh_nc_open_any(const char *path, nh_nc **out, nh_error *err)
{
    *out = NULL;
    nh_hdf_begin();
    nh_nc *f = calloc(1, sizeof *f);
    if (f == NULL) return nh_fail_memory(err, path);
    const bool pipe = strcmp(path, "-") == 0;
    f->name = nh_strdup(pipe ? "(standard input)" : path);
    if (f->name == NULL) {
        nh_nc_close(f);
        return nh_fail_memory(err, path);
    }
    int failure;
    const hid_t begin = mark();
    if (pipe) {
        failure = open_pipe(f, err);
    } else {
        const int status = nc_open(path, NC_NOWRITE, &f->id);
        failure = status == 0  ? 0
                  : status > 0 ? nh_fail(err, "%s: %s", path, strerror(status))
                               : nh_fail(err, "%s: no complete netCDF file: %s", path, nc_strerror(status));
    }
    drop_forgotten(begin);
    if (failure) {
        nh_nc_close(f);
        return -1;
    }
    f->open = true;
    *out = f;
    return 0;
}

int nh_nc_hdf(const nh_nc *f, hid_t *out, nh_error *err)
{
    return f->memory != NULL ? nh_hdf_open_image(f->name, f->memory, f->size, out, err)
                             : nh_hdf_open(f->name, out, err);
}

static int check_conventions(const char *name, const char *found, nh_error *err)
{
    if (found != NULL && strcmp(found, CONVENTIONS) == 0) return 0;
    return nh_fail(err, "%s: attribute Conventions: found \"%s\", expected \"%s\"", name, found ? found : "",
                   CONVENTIONS);
}

int nh_nc_check_conventions(hid_t file, const char *name, nh_error *err)
{
    char *found;
    if (nh_hdf_text(file, name, "Conventions", &found, err)) return -1;
    const int failure = check_conventions(name, found, err);
    free(found);
    return failure;
}

int nh_nc_open(const char *path, nh_nc **out, nh_error *err)
{
    if (nh_nc_open_any(path, out, err)) return -1;
    char *found = NULL;
    int failure = nh_nc_att_text(*out, "Conventions", &found, err);
    if (!failure) failure = check_conventions((*out)->name, found, err);
    free(found);
    if (failure) {
        nh_nc_close(*out);
        *out = NULL;
    }
    return failure;
}

static void close_handle(nh_nc *f)
{
    if (!f->open) return;
    if (f->writing && f->image) {
        NC_memio memory = {0};
        if (nc_close_memio(f->id, &memory) == 0) free(memory.memory);
    } else {
        nc_close(f->id);
    }
    f->open = false;
}

void nh_nc_close(nh_nc *f)
{
    if (f == NULL) return;
    close_handle(f);
    nh_outfile_abort(f->out);
    if (f->from > 0) H5Fclose(f->from);
    for (size_t i = 0; i < f->n_later; i++)
        free(f->later[i].name);
    free(f->later);
    free(f->memory);
    free(f->name);
    free(f);
}

void nh_nc_use_threads(nh_nc *f, nh_threads *threads)
{
    f->threads = threads;
}

int nh_nc_id(const nh_nc *f)
{
    return f->id;
}

const char *nh_nc_name(const nh_nc *f)
{
    return f->name;
}

/* --- reading --- */

bool nh_nc_has(const nh_nc *f, const char *variable)
{
    int id;
    return nc_inq_varid(f->id, variable, &id) == 0;
}

int nh_nc_dim(const nh_nc *f, const char *dimension, size_t *length, nh_error *err)
{
    int id;
    if (nc_inq_dimid(f->id, dimension, &id)) return nh_fail(err, "%s: no dimension %s", f->name, dimension);
    const int status = nc_inq_dimlen(f->id, id, length);
    return status ? nh_nc_failed(f, dimension, status, err) : 0;
}

/* Finds a variable whose dimensions have the given names and whose size is `count`. */
static int find(const nh_nc *f, const char *variable, size_t n_dims, const char *const *dims, size_t count,
                int *id, nh_error *err)
{
    int n, dim_id[NC_MAX_VAR_DIMS];
    nc_type type;
    if (nc_inq_varid(f->id, variable, id)) return nh_fail(err, "%s: no variable %s", f->name, variable);
    int status = nc_inq_var(f->id, *id, NULL, &type, &n, dim_id, NULL);
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
    if (count < CHUNK_NUMBERS || f->memory != NULL ||
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
static int slab(const nh_nc *f, const char *variable, size_t first, size_t n, size_t rest, int *id,
                size_t *start, size_t *length, nh_error *err)
{
    int n_dims, dim_id[NC_MAX_VAR_DIMS], n_unlimited, unlimited[NC_MAX_DIMS];
    int status = nc_inq_varid(f->id, variable, id);
    if (status) return nh_fail(err, "%s: no variable %s", f->name, variable);
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
    if (slab(f, variable, first, n, rest, &id, start, length, err)) return -1;
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
    if (nc_inq_varid(f->id, variable, &id)) return nh_fail(err, "%s: no variable %s", f->name, variable);
    int status = nc_inq_var(f->id, id, NULL, &type, &n_dims, dim_id, NULL);
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

/* --- writing --- */

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
    const int status = f->image ? nc_create_mem("image", NC_NETCDF4, IMAGE_BEGIN, &f->id)
                                : nc_create(temporary, NC_NETCDF4 | NC_CLOBBER, &f->id);
    if (status) {
        nh_nc_failed(f, NULL, status, err);
        nh_nc_close(f);
        return -1;
    }
    f->open = true;
    char source[128];
    snprintf(source, sizeof source, "%s (nextham %s)", program, nh_version());
    if (nh_nc_set_text(f, "Conventions", CONVENTIONS, err) || nh_nc_set_text(f, "source", source, err) ||
        (common->history && put_history(f, common, input, err))) {
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

/* Chunks of up to CHUNK_NUMBERS: whole last dimensions, as many as fit, then even parts of the next one. False where a
 * dimension is unlimited: netCDF knows better. */
static bool choose_chunks(const nh_nc *f, int n_dims, const int *dim_id, size_t *chunk)
{
    size_t room = CHUNK_NUMBERS;
    for (int i = n_dims; i-- > 0;) {
        size_t length;
        if (nc_inq_dimlen(f->id, dim_id[i], &length) || length == 0) return false;
        const size_t parts = (length + room - 1) / room;
        chunk[i] = (length + parts - 1) / parts;
        room = parts > 1 ? 1 : room / chunk[i];
    }
    return true;
}

static int define(nh_nc *f, const char *name, nc_type type, int n_dims, const int *dim_id,
                  const size_t *chunk, int *id, nh_error *err)
{
    size_t chosen[NC_MAX_VAR_DIMS];
    const bool compress =
        !f->image && n_dims > 0 && type != NC_STRING && variable_bytes(f, type, n_dims, dim_id) >= COMPRESS_FROM;
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
    if (define(f, name, type, (int)n_dims, dim_id, chunk, &id, err)) return -1;
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

/* Leaves a variable for commit_later. */
static int put_later(nh_nc *f, const char *name, const double *values, bool as_it_is, nh_error *err)
{
    if (!nh_grow_one(&f->later, f->n_later, sizeof *f->later)) return nh_fail_memory(err, name);
    char *const copy = nh_strdup(name);
    if (copy == NULL) return nh_fail_memory(err, name);
    f->later[f->n_later++] = (later){copy, values, as_it_is};
    return 0;
}

int nh_nc_put_late(nh_nc *f, const char *variable, const double *values, nh_error *err)
{
    int id, shuffled, deflated = 0;
    if (variable_id(f, variable, &id, err)) return -1;
    if (!f->image) nc_inq_var_deflate(f->id, id, &shuffled, &deflated, NULL);
    return deflated ? put_later(f, variable, values, false, err) : nh_nc_put_double(f, variable, values, err);
}

int nh_nc_put_slab(nh_nc *f, const char *variable, size_t first, size_t n, size_t rest, const double *values,
                   nh_error *err)
{
    int id;
    size_t start[NC_MAX_VAR_DIMS], length[NC_MAX_VAR_DIMS];
    if (slab(f, variable, first, n, rest, &id, start, length, err)) return -1;
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

/* --- carrying variables along --- */

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
    if (define(out, name, type, n_dims, new_dim, chunked ? chunk : NULL, new_id, err)) return -1;
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
           nc_inq_vartype(in->id, v, &type[0]) == 0 && nc_inq_vartype(out->id, new_id, &type[1]) == 0 && type[0] == type[1] &&
           (type[0] == NC_DOUBLE || type[0] == NC_FLOAT);
}

/* Leaves a variable of the input for commit_later. */
static int carry_later(nh_nc *out, const nh_nc *in, const char *name, bool as_it_is, nh_error *err)
{
    if (put_later(out, name, NULL, as_it_is, err)) return -1;
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

/* --- the end --- */

static int commit_image(nh_nc *f, nh_error *err)
{
    NC_memio memory = {0};
    const int status = nc_close_memio(f->id, &memory);
    f->open = false;
    if (status) return nh_nc_failed(f, NULL, status, err);
    FILE *const to = nh_outfile_stream(f->out, err);
    int failure = to == NULL ? -1 : 0;
    if (!failure && fwrite(memory.memory, 1, memory.size, to) != memory.size)
        failure = nh_fail(err, "%s: %s", f->name, strerror(errno));
    free(memory.memory);
    return failure;
}

/* The chunks of the variables that were left for now. */
static int commit_later(nh_nc *f, nh_error *err)
{
    if (f->n_later == 0) return 0;
    errno = 0;
    const hid_t to = H5Fopen(nh_outfile_path(f->out), H5F_ACC_RDWR, H5P_DEFAULT);
    int failure = to < 0 ? nh_nc_failed(f, NULL, NC_EHDFERR, err) : 0;
    for (size_t i = 0; i < f->n_later && !failure; i++) {
        const later *const l = &f->later[i];
        if (l->values != NULL ? nh_chunks_put(to, l->name, l->values, f->threads)
            : l->as_it_is     ? nh_chunks_copy(f->from, to, l->name)
                              : nh_chunks_convert(f->from, to, l->name, f->threads))
            failure = nh_nc_failed(f, l->name, NC_EHDFERR, err);
    }
    if (to >= 0 && H5Fclose(to) < 0 && !failure) failure = nh_nc_failed(f, NULL, NC_EHDFERR, err);
    return failure;
}

int nh_nc_commit(nh_nc *f, nh_error *err)
{
    int failure = 0;
    if (f->image) {
        failure = commit_image(f, err);
    } else {
        errno = 0;
        const int status = nc_close(f->id);
        f->open = false;
        failure = status ? nh_nc_failed(f, NULL, status, err) : commit_later(f, err);
    }
    if (!failure) {
        nh_outfile *const o = f->out;
        f->out = NULL;
        failure = nh_outfile_commit(o, err);
    }
    nh_nc_close(f);
    return failure;
}
