#include "formats/deeph/h5.h"

#include "base/memory.h"
#include "formats/netcdf/hdf.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

/* No compression of HDF5's makes numbers smaller than that. */
static const size_t best_compression = 1100;

static hid_t complex_type(void)
{
    const hid_t type = H5Tcreate(H5T_COMPOUND, 2 * sizeof(double));
    if (type >= 0 && H5Tinsert(type, "r", 0, H5T_NATIVE_DOUBLE) >= 0 &&
        H5Tinsert(type, "i", sizeof(double), H5T_NATIVE_DOUBLE) >= 0)
        return type;
    if (type >= 0) H5Tclose(type);
    return -1;
}

int nh_h5_open_file(const char *path, hid_t *out, nh_error *err)
{
    if (access(path, R_OK) != 0) return nh_fail(err, "%s: %s", path, strerror(errno));
    nh_error ignored;
    if (nh_hdf_open(path, out, &ignored)) return nh_fail(err, "%s: no complete HDF5 file", path);
    if (nh_hdf_check_inside(*out, path, err)) {
        H5Fclose(*out);
        return -1;
    }
    return 0;
}

static bool is_complex(hid_t type)
{
    if (H5Tget_nmembers(type) != 2) return false;
    const int r = H5Tget_member_index(type, "r"), i = H5Tget_member_index(type, "i");
    return r >= 0 && i >= 0 && H5Tget_member_class(type, (unsigned)r) == H5T_FLOAT &&
           H5Tget_member_class(type, (unsigned)i) == H5T_FLOAT;
}

/* Is that much stored as the sizes say? */
static bool is_there(hid_t id, size_t bytes)
{
    const hid_t made = H5Dget_create_plist(id);
    const bool chunked = made >= 0 && H5Pget_layout(made) == H5D_CHUNKED && H5Pget_nfilters(made) > 0;
    if (made >= 0) H5Pclose(made);
    const hsize_t stored = H5Dget_storage_size(id);
    return chunked ? stored >= bytes / best_compression : stored >= bytes;
}

static int describe(nh_h5 *d, int rank, nh_error *err)
{
    const hid_t type = H5Dget_type(d->id), space = H5Dget_space(d->id);
    hsize_t dim[2] = {0, 1};
    int status = 0;
    const H5T_class_t class = type >= 0 ? H5Tget_class(type) : H5T_NO_CLASS;
    d->rank = space >= 0 ? H5Sget_simple_extent_ndims(space) : -1;
    d->is_integer = class == H5T_INTEGER;
    d->is_complex = class == H5T_COMPOUND && is_complex(type);
    if (class != H5T_FLOAT && !d->is_integer && !d->is_complex)
        status = nh_fail(err, "%s: dataset \"%.60s\": numbers expected", d->file, d->name);
    else if (d->rank != rank || H5Sget_simple_extent_dims(space, dim, NULL) < 0)
        status = nh_fail(err, "%s: dataset \"%.60s\": %d dimensions, %d expected", d->file, d->name, d->rank,
                         rank);
    size_t bytes;
    d->dim[0] = (size_t)dim[0];
    d->dim[1] = (size_t)dim[1];
    if (status == 0 && (!nh_size_mul(d->dim[0], d->dim[1], &bytes) ||
                        !nh_size_mul(bytes, H5Tget_size(type), &bytes) || !is_there(d->id, bytes)))
        status = nh_fail(err, "%s: dataset \"%.60s\": fewer numbers than its sizes say", d->file, d->name);
    if (type >= 0) H5Tclose(type);
    if (space >= 0) H5Sclose(space);
    return status;
}

int nh_h5_open(hid_t parent, const char *file, const char *name, int rank, nh_h5 *out, nh_error *err)
{
    *out = (nh_h5){.id = -1, .file = file, .name = name};
    if (H5Lexists(parent, name, H5P_DEFAULT) <= 0)
        return nh_fail(err, "%s: no dataset \"%.60s\"", file, name);
    out->id = H5Dopen2(parent, name, H5P_DEFAULT);
    if (out->id < 0) return nh_fail(err, "%s: \"%.60s\" is no dataset", file, name);
    if (describe(out, rank, err)) {
        nh_h5_close(out);
        return -1;
    }
    return 0;
}

void nh_h5_close(nh_h5 *d)
{
    if (d->id >= 0) H5Dclose(d->id);
    d->id = -1;
}

int nh_h5_read(const nh_h5 *d, bool as_complex, double *to, nh_error *err)
{
    const size_t n = d->dim[0] * d->dim[1];
    if (d->is_complex && !as_complex)
        return nh_fail(err, "%s: dataset \"%.60s\": real numbers expected", d->file, d->name);
    const hid_t type = d->is_complex ? complex_type() : H5T_NATIVE_DOUBLE;
    const bool done = type >= 0 && H5Dread(d->id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, to) >= 0;
    if (d->is_complex && type >= 0) H5Tclose(type);
    if (!done) return nh_fail(err, "%s: dataset \"%.60s\" cannot be read", d->file, d->name);
    if (as_complex && !d->is_complex)
        for (size_t i = n; i-- > 0;) {
            to[2 * i] = to[i];
            to[2 * i + 1] = 0;
        }
    for (size_t i = 0; i < (as_complex ? 2 * n : n); i++)
        if (!isfinite(to[i]))
            return nh_fail(err, "%s: dataset \"%.60s\": number %zu is not finite", d->file, d->name,
                           as_complex ? i / 2 : i);
    return 0;
}

int nh_h5_read_integers(const nh_h5 *d, long long *to, nh_error *err)
{
    if (!d->is_integer) return nh_fail(err, "%s: dataset \"%.60s\": integers expected", d->file, d->name);
    if (H5Dread(d->id, H5T_NATIVE_LLONG, H5S_ALL, H5S_ALL, H5P_DEFAULT, to) < 0)
        return nh_fail(err, "%s: dataset \"%.60s\" cannot be read", d->file, d->name);
    return 0;
}

int nh_h5_write(hid_t parent, const char *file, const char *name, nh_h5_kind kind, int rank,
                const size_t *dim, const void *from, nh_error *err)
{
    hsize_t size[2] = {0, 0};
    for (int k = 0; k < rank; k++)
        size[k] = dim[k];
    const hid_t complex = kind == NH_H5_COMPLEX ? complex_type() : -1;
    const hid_t memory = kind == NH_H5_COMPLEX ? complex
                         : kind == NH_H5_REAL  ? H5T_NATIVE_DOUBLE
                                               : H5T_NATIVE_LLONG;
    const hid_t space = H5Screate_simple(rank, size, NULL);
    const hid_t id = space < 0 || memory < 0
                         ? -1
                         : H5Dcreate2(parent, name, memory, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    const bool done = id >= 0 && H5Dwrite(id, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, from) >= 0;
    if (id >= 0) H5Dclose(id);
    if (space >= 0) H5Sclose(space);
    if (complex >= 0) H5Tclose(complex);
    return done ? 0 : nh_fail(err, "%s: cannot write \"%.60s\" (is the disk full?)", file, name);
}
