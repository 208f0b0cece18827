/* submodel.h - a sub-model in training: network, tape, gradient, optimiser. Hides whether it is float or
 * double: its source is compiled for both (base/real.h). */
#ifndef NH_TRAINING_SUBMODEL_H
#define NH_TRAINING_SUBMODEL_H

#include "device/device.h"
#include "nextham/model.h"
#include "training/sample.h"
#include "training/ranks.h"
#include "training/settings.h"

typedef struct nh_submodel nh_submodel;

/* The numbers of a sub-model that is trained, as the state of the training has them; average NULL: none. */
typedef struct nh_submodel_numbers {
    const nh_params *params;
    nh_weights *weights, *m, *v, *average;
} nh_submodel_numbers;

typedef struct nh_submodel_kind {
    /* The types must outlive it. Its weights are the model's. */
    int (*make)(const nh_model *m, const nh_types *types, size_t range, const nh_irreps *input,
                const size_t *input_entry, const nh_selection *output, bool with_trace, nh_tape_memory memory,
                nh_method method, nh_submodel **out, nh_error *err);
    void (*drop)(nh_submodel *s); /* NULL is fine */
    /* Prepares it for training: steps change these numbers, which must outlive it. Only then may `backward`
     * and the functions below it be called. */
    int (*train)(nh_submodel *s, const nh_submodel_numbers *numbers, nh_error *err);
    /* nh_network_place. The numbers of a sub-model that is trained, and the gradient, live on the device from
     * then on; `fetch` brings the numbers back. */
    int (*place)(nh_submodel *s, const nh_device *device, nh_error *err);
    /* On a device: the next runs leave their outputs in `outputs` there and take the gradients of the loss
     * from there; NULL: the arrays below. */
    void (*connect)(nh_submodel *s, const nh_device *device, nhk_outputs *outputs);
    /* Writes the rows of the sub-model's edges: ham[n_edge][dim of output], trace[n_edge][n_pair] (NULL: not
     * wanted). `keep`: nh_submodel_kind.backward follows. */
    int (*forward)(nh_submodel *s, const nh_sample *c, bool keep, double *ham, double *trace,
                   nh_threads *threads, nh_error *err);

    /* gradient += of the loss, from its derivatives by ham and trace. */
    int (*backward)(nh_submodel *s, const double *g_ham, const double *g_trace, nh_threads *threads,
                    nh_error *err);
    int (*clear)(nh_submodel *s, nh_threads *threads, nh_error *err); /* gradient = 0, as at first */
    /* gradient = sum over the ranks; on a device it goes through the host. */
    int (*sum)(nh_submodel *s, const nh_ranks *ranks, nh_error *err);
    int (*norm)(nh_submodel *s, double *norm, nh_error *err); /* nh_weights_norm of the gradient */
    /* nh_adam_step with `factor` times the gradient and nh_weights_average; computes with the new weights. */
    int (*step)(nh_submodel *s, const nh_optimizer_settings *o, double lr, uint64_t step, double factor,
                nh_threads *threads, nh_error *err);
    /* Computes with the average from now on (without one, with the weights), or with the weights again. */
    int (*load)(nh_submodel *s, bool average, nh_threads *threads, nh_error *err);
    int (*fetch)(nh_submodel *s, nh_error *err); /* the numbers on the host are up to date */
    /* For tests: the gradient as it is now, until the next call with the sub-model; NULL after an error. */
    const nh_weights *(*gradient)(nh_submodel *s, nh_error *err);
} nh_submodel_kind;

const nh_submodel_kind *nh_submodel_kind_f(void);
const nh_submodel_kind *nh_submodel_kind_d(void);

#endif
