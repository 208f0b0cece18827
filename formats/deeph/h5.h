/* h5.h - numbers in datasets of HDF5 files, whose sizes are checked before memory is taken for them. */
#ifndef NH_FORMATS_DEEPH_H5_H
#define NH_FORMATS_DEEPH_H5_H

#include "base/error.h"

#include <hdf5.h>
#include <stdbool.h>
#include <stddef.h>

/* A dataset that was opened. */
typedef struct nh_h5 {
    hid_t id;
    const char *file, *name;
    int rank;        /* 1 or 2 */
    size_t dim[2];   /* dim[1] = 1 where the rank is 1 */
    bool is_complex; /* a compound of r and i, as h5py writes */
    bool is_integer;
} nh_h5;

/* Opens a file for reading; links and numbers that are in other files are refused. Close with H5Fclose. */
int nh_h5_open_file(const char *path, hid_t *out, nh_error *err);
/* Opens a dataset of numbers of the given rank. Its sizes are those of numbers that are really there: a
 * file of a few bytes that announces terabytes is refused. `name` and `file` must live as long. */
int nh_h5_open(hid_t parent, const char *file, const char *name, int rank, nh_h5 *out, nh_error *err);
void nh_h5_close(nh_h5 *d);
/* All numbers. As double, or re, im pairs where `as_complex` (im = 0 of a real dataset); numbers that are
 * not finite are an error. As integers: `long long`, of an integer dataset only. */
int nh_h5_read(const nh_h5 *d, bool as_complex, double *to, nh_error *err);
int nh_h5_read_integers(const nh_h5 *d, long long *to, nh_error *err);

/* Writing: dim[rank]; integers, doubles, or re, im pairs. */
typedef enum nh_h5_kind { NH_H5_INTEGER, NH_H5_REAL, NH_H5_COMPLEX } nh_h5_kind;
int nh_h5_write(hid_t parent, const char *file, const char *name, nh_h5_kind kind, int rank,
                const size_t *dim, const void *from, nh_error *err);

#endif
