#include "formats/netcdf/nc_internal.h"

#include "base/memory.h"
#include "formats/netcdf/chunks.h"
#include "formats/netcdf/hdf.h"

#include <netcdf_mem.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int nh_nc_failed(const nh_nc *f, const char *what, int status, nh_error *err)
{
    const int cause = errno;
    const bool device =
        cause == ENOSPC || cause == EFBIG || cause == EDQUOT || cause == EIO || cause == EROFS;
    const char *const text = (device && f->writing) ? strerror(cause)
                             : status > 0           ? strerror(status)
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

static int read_all(FILE *in, const char *name, void **image, size_t *size, nh_error *err)
{
    size_t room = 0, used = 0;
    char *data = NULL;
    bool grown = nh_grow(&data, &room, NH_NC_IMAGE_BEGIN, 1);
    for (size_t got = 1; grown && got > 0;) {
        got = fread(data + used, 1, room - used, in);
        used += got;
        if (used == room) grown = nh_grow(&data, &room, room + 1, 1);
    }
    if (!grown) {
        free(data);
        return nh_fail(err, "%s: out of memory for the image", name);
    }
    if (ferror(in)) {
        free(data);
        return nh_fail(err, "%s: %s", name, strerror(errno));
    }
    *image = data;
    *size = used;
    return 0;
}

static int open_pipe(nh_nc *f, FILE *in, nh_error *err)
{
    if (isatty(fileno(in)))
        return nh_fail(err, "%s: a terminal; expected a netCDF image through a pipe, or a file's name",
                       f->name);
    if (read_all(in, f->name, &f->memory, &f->size, err)) return -1;
    if (f->size == 0) return nh_fail(err, "%s: empty; the program before in the pipe wrote nothing", f->name);
    const int status = nc_open_mem(f->name, NC_NOWRITE, f->size, f->memory, &f->id);
    if (status) return nh_fail(err, "%s: no complete netCDF image: %s", f->name, nc_strerror(status));
    return 0;
}

/* A pipe with a name: mkfifo(1), or <(PROGRAM) of the shell. */
static bool is_pipe(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && S_ISFIFO(about.st_mode);
}

static int open_named_pipe(nh_nc *f, nh_error *err)
{
    FILE *in = fopen(f->name, "rbe");
    if (in == NULL) return nh_fail(err, "%s: %s", f->name, strerror(errno));
    const int failure = open_pipe(f, in, err);
    fclose(in);
    return failure;
}

/* No file of `size` bytes holds a variable of `length` x `width` bytes, if it is large: deflate makes at most 1032 bytes of one. A variable
 * that was never written takes no room at all, and could ask for any amount of memory. */
static bool fits(size_t length, size_t width, size_t size)
{
    enum { SMALL = 16 << 20, RATIO = 1100 };
    size_t bytes;
    return nh_size_mul(length, width, &bytes) && (bytes <= SMALL || bytes / RATIO <= size);
}

static int check_sizes(const nh_nc *f, int group, size_t size, nh_error *err)
{
    int n, dims[NC_MAX_VAR_DIMS], n_dims, n_group, format;
    int status = nc_inq_nvars(group, &n);
    for (int i = 0; i < n && !status; i++) {
        char name[NC_MAX_NAME + 1];
        nc_type type;
        size_t length = 1, one, width = sizeof(double);
        status = nc_inq_var(group, i, name, &type, &n_dims, dims, NULL);
        if (!status && type <= NC_MAX_ATOMIC_TYPE) status = nc_inq_type(group, type, NULL, &width);
        bool possible = true;
        for (int k = 0; k < n_dims && !status; k++) {
            status = nc_inq_dimlen(group, dims[k], &one);
            possible = possible && nh_size_mul(length, one, &length);
        }
        if (!status && (!possible || !fits(length, width, size)))
            return nh_fail(err, "%s: variable %s: more numbers than a file of %zu bytes can have", f->name,
                           name, size);
    }
    if (!status) status = nc_inq_format(group, &format);
    if (status) return nh_nc_failed(f, NULL, status, err);
    if (format != NC_FORMAT_NETCDF4) return 0; /* no groups */
    status = nc_inq_grps(group, &n_group, NULL);
    if (status) return nh_nc_failed(f, NULL, status, err);
    if (n_group == 0) return 0;
    int *groups = NH_ARRAY(int, (size_t)n_group);
    if (groups == NULL) return nh_fail_memory(err, f->name);
    status = nc_inq_grps(group, NULL, groups);
    int failure = status ? nh_nc_failed(f, NULL, status, err) : 0;
    for (int i = 0; i < n_group && !failure; i++)
        failure = check_sizes(f, groups[i], size, err);
    free(groups);
    return failure;
}

/* netCDF follows HDF5 into other files; an image in memory has none. */
static int check_inside(const nh_nc *f, nh_error *err)
{
    hid_t file;
    if (H5Fis_hdf5(f->name) <= 0) return 0; /* a classic file */
    if (nh_hdf_open(f->name, &file, err) != 0) return -1;
    const int failure = nh_hdf_check_inside(file, f->name, err);
    H5Fclose(file);
    return failure;
}

int nh_nc_open_any(const char *path, nh_nc **out, nh_error *err)
{
    *out = NULL;
    nh_hdf_begin();
    nh_nc *f = calloc(1, sizeof *f);
    if (f == NULL) return nh_fail_memory(err, path);
    const bool standard = strcmp(path, "-") == 0, pipe = standard || is_pipe(path);
    f->name = nh_strdup(standard ? "(standard input)" : path);
    if (f->name == NULL) {
        nh_nc_close(f);
        return nh_fail_memory(err, path);
    }
    int failure;
    const hid_t begin = mark();
    if (standard) {
        failure = open_pipe(f, stdin, err);
    } else if (pipe) {
        failure = open_named_pipe(f, err);
    } else if (strstr(path, "://") != NULL) { /* netCDF would ask a server */
        failure = nh_fail(err, "%s: a file expected, not an address", path);
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
    struct stat about = {.st_size = 0};
    if (!pipe) (void)!stat(path, &about);
    if ((!pipe && check_inside(f, err) != 0) ||
        check_sizes(f, f->id, pipe ? f->size : (size_t)about.st_size, err) != 0) {
        nh_nc_close(f);
        return -1;
    }
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
    if (found != NULL && strcmp(found, NH_NC_CONVENTIONS) == 0) return 0;
    return nh_fail(err, "%s: attribute Conventions: found \"%s\", expected \"%s\"", name, found ? found : "",
                   NH_NC_CONVENTIONS);
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
        const nh_nc_later *const l = &f->later[i];
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
