/* shipped.h - where a program finds the model that came with it. */
#ifndef NH_FORMATS_SHIPPED_H
#define NH_FORMATS_SHIPPED_H

#include "base/error.h"

/* Folder of the running program, without a slash at its end; the caller frees. NULL where the system does not say. */
char *nh_own_folder(void);

/* The model to take: `given` if it is not NULL; then $NEXTHAM_MODEL; $NEXTHAM_DATA/model.nc; that of an installation
 * (../share/nextham/pipelines/model.nc of the program's folder); that of the repository (../pipelines/model.nc). Of the last
 * three the first that can be read. The caller frees. NULL: none of them, or no memory. */
char *nh_find_model(const char *given, nh_error *err);

#endif
