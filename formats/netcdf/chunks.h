/* chunks.h - the compressed chunks of a variable, past HDF5's filters. They are copied as they are, or packed
 * and unpacked by several threads. (HDF5's own filters run in one thread, and zlib is a third as fast as
 * libdeflate.) */
#ifndef NH_FORMATS_NETCDF_CHUNKS_H
#define NH_FORMATS_NETCDF_CHUNKS_H

#include "base/threads.h"

#include <hdf5.h>
#include <stdbool.h>
#include <stddef.h>

/* Copies all chunks of a variable to the one of the same name, shape, chunks and filters, which has none yet,
 * as they are: compressed. Returns 0, or -1. */
int nh_chunks_copy(hid_t from, hid_t to, const char *variable);

/* A whole variable of `count` numbers, float or double in the file, as doubles or (`single`) floats. False
 * where it is not stored as the writer here does it (native floats or doubles, shuffle and deflate, all
 * chunks there), or is damaged: then netCDF has to read it or report the error. `threads` may be NULL. */
bool nh_chunks_get(hid_t file, const char *variable, size_t count, bool single, void *values,
                   nh_threads *threads);
/* Writes all chunks of such a variable, which has none yet. Returns 0, or -1 with the cause in errno where it
 * is the device's. */
int nh_chunks_put(hid_t file, const char *variable, const double *values, nh_threads *threads);
/* The same with the numbers of the variable of that name and shape in `from`, however it is stored there. */
int nh_chunks_convert(hid_t from, hid_t to, const char *variable, nh_threads *threads);

#endif
