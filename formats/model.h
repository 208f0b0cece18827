/* model.h - model files: one group per sub-model, one variable per parameter, the configuration as text (formats.md). */
#ifndef NH_FORMATS_MODEL_H
#define NH_FORMATS_MODEL_H

#include "nextham/parameters.h"
#include "formats/nc.h"

typedef struct nh_model {
    nh_config config;
    nh_params params;
    size_t n_range;
    nh_weights *weights;  /* [n_range] */
    size_t n_unknown;     /* variables in the file that are neither live nor known dead ones; the first is named in `unknown` */
    char unknown[128];
} nh_model;

/* Reads everything. A missing live parameter, a wrong shape, a NaN: errors that name file, group and variable. */
int nh_model_read(const char *path, nh_model **out, nh_error *err);
void nh_model_free(nh_model *m); /* NULL is fine */
/* Writes an uncommitted file created with nh_nc_create: groups, variables, attribute config. */
int nh_model_write(nh_nc *f, const nh_model *m, nh_error *err);

#endif
