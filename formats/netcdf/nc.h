/* nc.h - netCDF for pipes and files: the only door to it for all that is outside formats/netcdf.
 *
 * Reading: from a file (nc_open) or a whole image from standard input (nc_open_mem). Writing: to a temporary
 * beside the output's name, renamed on commit, or to an image in memory that is written to standard output on
 * commit. Every failure names file and variable. The kinds of files: formats/README.md. */
#ifndef NH_FORMATS_NETCDF_NC_H
#define NH_FORMATS_NETCDF_NC_H

#include "base/error.h"
#include "base/options.h"
#include "base/threads.h"

#include <hdf5.h>
#include <netcdf.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct nh_nc nh_nc; /* an open file, for reading or for writing */

/* --- reading --- */
/* Opens `path` ("-": standard input) and checks that it is netCDF with Conventions = NextHAM-1. */
int nh_nc_open(const char *path, nh_nc **out, nh_error *err);
/* As nh_nc_open without the check of Conventions (golden files, foreign files). */
int nh_nc_open_any(const char *path, nh_nc **out, nh_error *err);
/* The HDF5 file beneath a reader, opened once more, and the check of Conventions of one; the caller closes
 * it. */
int nh_nc_hdf(const nh_nc *f, hid_t *out, nh_error *err);
int nh_nc_check_conventions(hid_t file, const char *name, nh_error *err);
void nh_nc_close(nh_nc *f); /* closes; an output that was not committed is removed. NULL is fine */
/* Large compressed variables are packed and unpacked by these threads from now on, which must not be busy
 * then; NULL, as at first: by the caller. */
void nh_nc_use_threads(nh_nc *f, nh_threads *threads);
int nh_nc_id(const nh_nc *f);
const char *nh_nc_name(const nh_nc *f); /* the path, or "(standard input)" */

/* One line for a failed netCDF call: "FILE: WHAT: ...". A full disk shows as "HDF error" with the cause in
 * errno, which the caller clears before a write. `what` may be NULL. Returns -1. */
int nh_nc_failed(const nh_nc *f, const char *what, int status, nh_error *err);

bool nh_nc_has(const nh_nc *f, const char *variable);
/* Length of a dimension; a missing one is an error that names it. */
int nh_nc_dim(const nh_nc *f, const char *dimension, size_t *length, nh_error *err);
/* A whole variable, converted by netCDF; checks that its dimensions have exactly the given names, in order,
 * and that `count` numbers come out. Reals must be finite unless the name starts with '?' : "?eigenvalue"
 * allows NaN. */
int nh_nc_get_double(const nh_nc *f, const char *variable, size_t n_dims, const char *const *dims,
                     size_t count, double *out, nh_error *err);
int nh_nc_get_float(const nh_nc *f, const char *variable, size_t n_dims, const char *const *dims,
                    size_t count, float *out, nh_error *err);
int nh_nc_get_int(const nh_nc *f, const char *variable, size_t n_dims, const char *const *dims, size_t count,
                  int *out, nh_error *err);
int nh_nc_get_int64(const nh_nc *f, const char *variable, size_t n_dims, const char *const *dims,
                    size_t count, long long *out, nh_error *err);
/* One slab along the first dimension: numbers [first, first+n) x rest. Same checks (dimension names are not
 * checked again). */
int nh_nc_get_slab(const nh_nc *f, const char *variable, size_t first, size_t n, size_t rest, double *out,
                   nh_error *err);
/* Strings of a one-dimensional string variable; out[count], each allocated; the caller frees each. */
int nh_nc_get_strings(const nh_nc *f, const char *variable, size_t count, char **out, nh_error *err);
/* Global attributes. Absent: *out is left alone and 0 is returned (text: *out = NULL). Text is allocated, the
 * caller frees. */
int nh_nc_att_double(const nh_nc *f, const char *name, double *out, nh_error *err);
int nh_nc_att_text(const nh_nc *f, const char *name, char **out, nh_error *err);
typedef enum nh_nc_att { NH_NC_ATT_NONE, NH_NC_ATT_TEXT, NH_NC_ATT_NUMBER } nh_nc_att;
nh_nc_att nh_nc_att_kind(const nh_nc *f, const char *name);
/* True where there is such a variable and it is stored as float. */
bool nh_nc_is_single(const nh_nc *f, const char *variable);

/* --- writing --- */
/* Creates `path` ("-": standard output, refused on a terminal), defines Conventions and source ("PROGRAM
 * (nextham VERSION)") and history: the lines of `input`'s history (may be NULL) with one line added, "DATE:
 * COMMAND", unless common->history is false. */
int nh_nc_create(const char *path, const char *program, const nh_common *common, const nh_nc *input,
                 nh_nc **out, nh_error *err);

/* Dimensions: defined once; defining one that exists with the same length is fine. NC_UNLIMITED allowed. */
int nh_nc_def_dim(nh_nc *f, const char *name, size_t length, nh_error *err);
/* Variable over named dimensions; shuffle + deflate 1 for files where the variable is larger than 64 kB.
 * `units` NULL: none. `chunk` (n_dims sizes) NULL: chosen here, up to 65536 numbers each. */
int nh_nc_def_var(nh_nc *f, const char *name, nc_type type, size_t n_dims, const char *const *dims,
                  const size_t *chunk, const char *units, const char *long_name, nh_error *err);
int nh_nc_put_double(nh_nc *f, const char *variable, const double *values,
                     nh_error *err); /* whole variable */
/* As nh_nc_put_double, but reads `values` on commit, when the variable is compressed: they must stay valid
 * and unchanged until then. */
int nh_nc_put_late(nh_nc *f, const char *variable, const double *values, nh_error *err);
int nh_nc_put_int(nh_nc *f, const char *variable, const int *values, nh_error *err);
int nh_nc_put_int64(nh_nc *f, const char *variable, const long long *values, nh_error *err);
int nh_nc_put_slab(nh_nc *f, const char *variable, size_t first, size_t n, size_t rest, const double *values,
                   nh_error *err);
int nh_nc_put_string(nh_nc *f, const char *variable, size_t index, const char *text, nh_error *err);
int nh_nc_set_double(nh_nc *f, const char *attribute, double value, nh_error *err); /* global */
int nh_nc_set_text(nh_nc *f, const char *attribute, const char *text, nh_error *err);
int nh_nc_set_ints(nh_nc *f, const char *attribute, size_t n, const int *values, nh_error *err);
/* An attribute that is not there is none that has to be dropped or copied. */
int nh_nc_drop_att(nh_nc *f, const char *attribute, nh_error *err);
int nh_nc_copy_att(nh_nc *to, const nh_nc *from, const char *attribute, nh_error *err);

/* Copies from `in` every dimension, variable and global attribute that `out` does not have yet. Not copied:
 * the variables in the NULL-terminated list `skip`, and dimensions that no copied variable uses. Large
 * variables follow on commit, compressed. */
int nh_nc_carry(nh_nc *out, const nh_nc *in, const char *const *skip, nh_error *err);

/* Closes, checks, renames or writes to standard output. Frees f in every case. */
int nh_nc_commit(nh_nc *f, nh_error *err);

#endif
