/* model.h - model files: one group per sub-model, one variable per parameter, the configuration as text
 * (formats.md; schema model.cdl beside this file). */
#ifndef NH_FORMATS_MODEL_H
#define NH_FORMATS_MODEL_H

#include "nextham/parameters.h"
#include "formats/nc.h"

typedef struct nh_model {
    nh_config config;
    nh_params params;
    size_t n_range;
    nh_weights *weights; /* [n_range] */
    size_t n_dead; /* numbers in the file under names that nothing uses (nh_param_known_dead), all sub-models
                      together */
    size_t n_unknown; /* variables in the file that are neither live nor known dead ones; the first is named
                         in `unknown` */
    char unknown[NC_MAX_NAME + 1];
} nh_model;

/* A model without weights yet (all pointers NULL), as float or as double. Takes `config` over (also on
 * failure) and leaves it empty. */
int nh_model_new(nh_config *config, bool as_double, nh_model **out, nh_error *err);
void nh_model_free(nh_model *m); /* NULL is fine */

/* Reads the parameters that act on what `acts` asks for (NH_ACTS_HAM, NH_ACTS_TRACE or both; both: the dead
 * ones that are there too). The weights are float, or double where the file has doubles. A missing live
 * parameter, a wrong shape, a number that is no weight (not finite, or never written): errors that name file,
 * group and variable; they count for all parameters, read or not, but for the values, which are seen only
 * where they are read. */
int nh_model_read(const char *path, unsigned acts, nh_model **out, nh_error *err);
/* The same from a file that is open already. */
int nh_model_read_from(const nh_nc *f, unsigned acts, nh_model **out, nh_error *err);
/* Writes an uncommitted file created with nh_nc_create: groups, variables, attribute config. */
int nh_model_write(nh_nc *f, const nh_model *m, nh_error *err);

#endif
