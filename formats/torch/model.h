/* model.h - published checkpoints (one file a distance range, model_range0_*.pth.tar ...) as a model, and back.
 *
 * Names and shapes: docs/network.md 9. V1 and V1.1 are told apart by the shapes of four tensors (docs/network-v11.md 4), which
 * must agree. What no rule of the network uses is kept beside the model (nh_unused), so that an export has the same tensors. */
#ifndef NH_FORMATS_TORCH_MODEL_H
#define NH_FORMATS_TORCH_MODEL_H

#include "formats/netcdf/nc.h"
#include "nextham/model.h"

/* Tensors that are no parameters of the network, and the types of those that are and no float32. */
typedef struct nh_unused {
    size_t n_range;
    char **index;    /* [n_range] a line a tensor: "NAME TYPE N1xN2", "-" for a scalar; owned */
    char **types;    /* [n_range] a line a parameter that was no float32: "NAME TYPE"; owned */
    size_t *count;   /* [n_range] numbers */
    double **values; /* [n_range][count] in the index's order; owned */
} nh_unused;

void nh_unused_free(nh_unused *u); /* what it owns */
int nh_unused_put(nh_nc *f, const nh_unused *u, nh_error *err);
/* A model that was not imported has none: empty lists. */
int nh_unused_get(const nh_nc *f, size_t n_range, nh_unused *out, nh_error *err);

typedef struct nh_torch_task {
    size_t n_file;
    const char *const
        *file;          /* in the order of their ranges; a number behind "range" in the names must agree */
    const char *config; /* configuration (YAML); NULL: V1 or V1.1, as the shapes say */
    const char *key;    /* of nh_checkpoint_open */
    double rydberg;     /* eV; NaN: what the network's version says */
    int onsite_copies;  /* 0: 1 */
} nh_torch_task;

/* *note: what was found and what was left out, for the user; empty: nothing to say. */
int nh_torch_import(const nh_torch_task *task, nh_model **out, nh_unused *unused, nh_error *note,
                    nh_error *err);
/* FOLDER/model_range0_curr.pth.tar ...; the folder is made where there is none. */
int nh_torch_export(const nh_model *m, const nh_unused *unused, const char *folder, nh_error *err);

#endif
