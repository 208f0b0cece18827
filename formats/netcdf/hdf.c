#include "formats/netcdf/hdf.h"

#include "base/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void nh_hdf_begin(void)
{
    /* HDF5's clean-up at exit closes its files once more and crashes on one whose write has failed (a full disk);
     * everything here is closed by hand, so it is not needed. */
    H5dont_atexit();
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

bool nh_hdf_inside(hid_t dataset)
{
    const hid_t made = H5Dget_create_plist(dataset);
    const bool inside = made >= 0 && H5Pget_external_count(made) == 0 && H5Pget_layout(made) != H5D_VIRTUAL;
    if (made >= 0) H5Pclose(made);
    return inside;
}

typedef struct visit {
    const char *name;
    nh_error *err;
} visit;

static herr_t check_object(hid_t root, const char *name, const H5O_info_t *info, void *context)
{
    const visit *v = context;
    if (info->type != H5O_TYPE_DATASET) return 0;
    const hid_t dataset = H5Dopen2(root, name, H5P_DEFAULT);
    if (dataset < 0) return 0; /* whoever reads it says so */
    const bool inside = nh_hdf_inside(dataset);
    H5Dclose(dataset);
    if (!inside) nh_fail(v->err, "%s: variable %s: its numbers are in another file: refused", v->name, name);
    return inside ? 0 : 1;
}

static herr_t check_link(hid_t root, const char *name, const H5L_info_t *info, void *context)
{
    (void)root;
    const visit *v = context;
    if (info->type == H5L_TYPE_HARD || info->type == H5L_TYPE_SOFT) return 0;
    nh_fail(v->err, "%s: %s is a link into another file: refused", v->name, name);
    return 1;
}

int nh_hdf_check_inside(hid_t file, const char *name, nh_error *err)
{
    visit v = {name, err};
    if (H5Lvisit(file, H5_INDEX_NAME, H5_ITER_NATIVE, check_link, &v) > 0) return -1;
    return H5Ovisit(file, H5_INDEX_NAME, H5_ITER_NATIVE, check_object, &v) > 0 ? -1 : 0;
}

int nh_hdf_open(const char *path, hid_t *out, nh_error *err)
{
    nh_hdf_begin();
    if (strstr(path, "://") != NULL) return nh_fail(err, "%s: a file expected, not an address", path);
    if (access(path, R_OK) != 0) return nh_fail(err, "%s: %s", path, strerror(errno));
    /* Another driver than netCDF's, which makes it another file to HDF5: one that netCDF has open, too, could not be
     * opened a second time with other rules for its end. */
    const hid_t how = H5Pcreate(H5P_FILE_ACCESS);
    *out = how >= 0 && H5Pset_fapl_stdio(how) >= 0 ? H5Fopen(path, H5F_ACC_RDONLY, how) : -1;
    H5Pclose(how);
    return *out >= 0 ? 0 : nh_fail(err, "%s: no complete netCDF file: HDF error", path);
}

int nh_hdf_open_image(const char *name, const void *image, size_t size, hid_t *out, nh_error *err)
{
    nh_hdf_begin();
    const hid_t how = H5Pcreate(H5P_FILE_ACCESS);
    *out =
        how >= 0 && H5Pset_fapl_core(how, 1 << 16, 0) >= 0 && H5Pset_file_image(how, (void *)image, size) >= 0
            ? H5Fopen(name, H5F_ACC_RDONLY, how)
            : -1;
    H5Pclose(how);
    return *out >= 0 ? 0 : nh_fail(err, "%s: no complete netCDF image: HDF error", name);
}

int nh_hdf_text(hid_t file, const char *name, const char *attribute, char **out, nh_error *err)
{
    *out = NULL;
    if (H5Aexists(file, attribute) <= 0) return 0;
    const hid_t id = H5Aopen(file, attribute, H5P_DEFAULT), type = id < 0 ? -1 : H5Aget_type(id);
    const bool text = type >= 0 && H5Tget_class(type) == H5T_STRING;
    int status = 0;
    if (text && H5Tis_variable_str(type) > 0) {
        char *value = NULL;
        if (H5Aread(id, type, &value) < 0)
            status = nh_fail(err, "%s: attribute %s: HDF error", name, attribute);
        else
            *out = nh_strdup(value ? value : "");
        H5free_memory(value);
    } else if (text) {
        *out = NH_ARRAY(char, H5Tget_size(type) + 1);
        if (*out && H5Aread(id, type, *out) < 0) {
            status = nh_fail(err, "%s: attribute %s: HDF error", name, attribute);
            free(*out);
            *out = NULL;
        }
    } else {
        status = nh_fail(err, "%s: attribute %s: expected text", name, attribute);
    }
    if (type >= 0) H5Tclose(type);
    if (id >= 0) H5Aclose(id);
    return !status && !*out ? nh_fail_memory(err, attribute) : status;
}
