/* model.h - a model: configuration, table of parameters, weights of every sub-model. */
#ifndef NH_NEXTHAM_MODEL_H
#define NH_NEXTHAM_MODEL_H

#include "base/threads.h"
#include "nextham/elements.h"
#include "nextham/parameters.h"

enum { NH_NAME_MAX = 256 };

typedef struct nh_model {
    nh_config config;
    nh_params params;
    size_t n_range;
    nh_weights *weights;  /* [n_range] */
    nh_elements elements; /* of the crystals that it was trained on */
    char *orbital_hash,
        *pseudo_hash; /* names of their files (crystal/basis_names.h); NULL: not known; owned */
    /* Of the file that it was read from: */
    size_t n_dead; /* numbers under names that nothing uses (nh_param_known_dead), all sub-models together */
    size_t n_unknown; /* variables that are neither parameters nor known dead ones; the first is named in
                         `unknown` */
    char unknown[NH_NAME_MAX + 1];
    void *map; /* the file, mapped; weights may lie in it. NULL: not mapped. Unmapped with the model */
    size_t map_size;
    uint64_t map_inode, map_changed; /* of the mapped file: its number, and its last change, ns */
} nh_model;

/* A model without weights yet (all pointers NULL), as float or as double. Takes `config` over (also on
 * failure) and leaves it empty. */
int nh_model_new(nh_config *config, bool as_double, nh_model **out, nh_error *err);
void nh_model_free(nh_model *m); /* NULL is fine */

/* A hash of the configuration and of all weights, in their precision. `threads` may be NULL. */
int nh_model_hash(const nh_model *m, nh_threads *threads, uint64_t *out, nh_error *err);

#endif
