/* run_folder.h - the run folder of nhtrain (../README.md):
 *
 *   config.yaml   every setting with the value used
 *   metrics.tsv   one row an epoch, metrics.gp draws it
 *   last.nc       model file with the state of the training: groups adam_m, adam_v, average; random state, counters
 *   best.nc       model file, lowest validation Gauge MAE
 *   kcache/       k-space states of crystals whose own folder cannot be written */
#ifndef NH_FORMATS_NETCDF_RUN_FOLDER_H
#define NH_FORMATS_NETCDF_RUN_FOLDER_H

#include "formats/netcdf/nc.h"
#include "training/trainer.h"

typedef struct nh_run_folder nh_run_folder;

/* Makes the folder (and those above it) with config.yaml, or, with `resume`, takes one that is there and drops the rows of
 * metrics.tsv from epoch `state->epoch` on, which will be trained again. A folder that holds a run is an error without
 * `resume`. The settings, and `common`, must outlive it; `common` gives the history. Without `leader`
 * (other processes of the same run) nothing is written. */
int nh_run_folder_open(const nh_settings *s, const nh_train_state *state, bool resume, bool leader,
                       const nh_common *common, nh_run_folder **out, nh_error *err);
void nh_run_folder_free(nh_run_folder *r); /* NULL is fine */
const char *nh_run_folder_k_folder(const nh_run_folder *r);
/* What the trainer calls; context is the run folder. Rows go to metrics.tsv and, unless quiet, in short to stderr. */
nh_trainer_hooks nh_run_folder_hooks(nh_run_folder *r);

/* RUN_DIR/last.nc: the state with its model. Errors where it is none, or was made with other settings of precision, ensemble
 * or ema than `s`. */
int nh_run_folder_read_state(const nh_settings *s, const char *path, nh_train_state *out, nh_error *err);
/* A model in the settings' precision: that of `init`, or the network's seeded initialisation. */
int nh_run_folder_first_model(nh_settings *s, nh_model **out, nh_error *err);

#endif
