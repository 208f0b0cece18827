/* hdf.h - HDF5 beneath netCDF: for what netCDF has no call for (offsets in the file, compressed chunks:
 * chunks.h) or does slowly (files with a thousand variables). Beside nc.c and model.c, formats/deeph uses it. */
#ifndef NH_FORMATS_NETCDF_HDF_H
#define NH_FORMATS_NETCDF_HDF_H

#include "base/error.h"

#include <hdf5.h>
#include <stdbool.h>
#include <stddef.h>

/* Before HDF5's first call: no clean-up at exit, no messages of its own. Harmless later. */
void nh_hdf_begin(void);
/* Opens a file for reading, or an image in memory of which a copy is made. HDF5 keeps these apart from files
 * that netCDF has open. The caller closes with H5Fclose. */
int nh_hdf_open(const char *path, hid_t *out, nh_error *err);
int nh_hdf_open_image(const char *name, const void *image, size_t size, hid_t *out, nh_error *err);
/* A text attribute of the root group, allocated; NULL where there is none. `name`: of the file, for
 * messages. */
int nh_hdf_text(hid_t file, const char *name, const char *attribute, char **out, nh_error *err);

/* True where a dataset's numbers are in its own file: neither in external files nor in other datasets (virtual). A file of a
 * stranger could otherwise copy any file of the reader into an output. */
bool nh_hdf_inside(hid_t dataset);
/* The same for all datasets of a file, and no link leads out of it. */
int nh_hdf_check_inside(hid_t file, const char *name, nh_error *err);

#endif
