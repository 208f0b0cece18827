/* submodel.h - one sub-model in training, without its precision showing: network and tape, fed from a
 * crystal. Its source is compiled for float and for double (base/real.h). */
#ifndef NH_TRAINING_SUBMODEL_H
#define NH_TRAINING_SUBMODEL_H

#include "device/device.h"
#include "nextham/model.h"
#include "training/crystal.h"

typedef struct nh_submodel nh_submodel;

typedef struct nh_submodel_kind {
    /* The types must outlive it. `weights` gives the first values. */
    int (*make)(const nh_model *m, const nh_types *types, size_t range, const nh_irreps *input,
                const size_t *input_entry, const nh_selection *output, bool with_trace, nh_tape_memory memory,
                nh_kernels kernels, nh_submodel **out, nh_error *err);
    void (*drop)(nh_submodel *s); /* NULL is fine */
    int (*place)(nh_submodel *s, const nh_device *device, nh_error *err); /* nh_network_place */
    /* Where it is placed: the next runs leave their outputs on the device, and take the gradients by them from there, in place of the arrays
     * below (NULL: those). */
    void (*connect)(nh_submodel *s, const nh_device *device, nhk_outputs *outputs);
    int (*update)(nh_submodel *s, const nh_weights *w, nh_threads *threads, nh_error *err);
    int (*gradients)(const nh_submodel *s, nh_weights *out, nh_error *err); /* zeros; nh_weights_free */
    /* Writes the rows of the sub-model's edges: ham[n_edge][dim of output], trace[n_edge][n_pair] (NULL: not
     * wanted). `keep`: nh_submodel_kind.backward follows. */
    int (*forward)(nh_submodel *s, const nh_crystal *c, bool keep, double *ham, double *trace,
                   nh_threads *threads, nh_error *err);
    /* gradient += of the loss, from its derivatives by ham and trace. */
    int (*backward)(nh_submodel *s, const double *g_ham, const double *g_trace, nh_weights *gradient,
                    nh_threads *threads, nh_error *err);
} nh_submodel_kind;

const nh_submodel_kind *nh_submodel_kind_f(void);
const nh_submodel_kind *nh_submodel_kind_d(void);

#endif
