/* model.h - model files: one group per sub-model, one variable per parameter, the configuration as text
 * (formats/README.md; schema model.cdl beside this file). */
#ifndef NH_FORMATS_NETCDF_MODEL_H
#define NH_FORMATS_NETCDF_MODEL_H

#include "base/threads.h"
#include "formats/netcdf/nc.h"
#include "nextham/model.h"

/* Reads the parameters that act on what `acts` asks for (NH_ACTS_HAM, NH_ACTS_TRACE or both; both: the dead
 * ones that are there too). The weights are float, or double where the file has doubles. A missing live
 * parameter, a wrong shape, a number that is no weight (not finite, or never written): errors that name file,
 * group and variable; all but the values are checked for every parameter, read or not. The weights are mapped
 * where possible; the map is private to the model, which keeps it. `threads` (NULL: none) look at the
 * values. */
int nh_model_read(const char *path, unsigned acts, nh_threads *threads, nh_model **out, nh_error *err);
/* Error where the mapped file was written to since it was read: weights that were not used before may be others now. A file that was
 * replaced (as all programs here do) is no such case: the old one stays mapped. */
int nh_model_check_map(const nh_model *m, const char *path, nh_error *err);
/* The same from a file that is open already, without a map. */
int nh_model_read_from(const nh_nc *f, unsigned acts, nh_model **out, nh_error *err);
/* Writes an uncommitted file created with nh_nc_create: groups, variables, attribute config. `packed`: all
 * variables but the smallest compressed, for a file that is small instead of one that can be mapped. */
int nh_model_write(nh_nc *f, const nh_model *m, bool packed, nh_error *err);

#endif
