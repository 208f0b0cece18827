/* parameters.h - the parameters of a configuration: names, shapes, what they act on, initialisation
 * (docs/network.md 7 and 9); and the weights themselves. */
#ifndef NH_NEXTHAM_PARAMETERS_H
#define NH_NEXTHAM_PARAMETERS_H

#include "nextham/config.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum nh_param_init {
    NH_INIT_ZERO,
    NH_INIT_ONE,
    NH_INIT_LINEAR, /* irreps linear map: normal/sqrt(fan-in), fan-in differs by block: `fan_in` function
                       below */
    NH_INIT_NORMAL, /* normal(0,1) */
    NH_INIT_UNIFORM /* uniform(+-bound) */
} nh_param_init;

enum { NH_ACTS_HAM = 1, NH_ACTS_TRACE = 2 }; /* reaches edge_ham, edge_trace; 0: dead */

typedef struct nh_param {
    char *name;
    size_t n_dim, dim[3];
    size_t count;
    unsigned acts;
    bool optional; /* may be absent: dead, or acts on edge_trace alone while tracegrad.scale is 0 */
    nh_param_init init;
    double bound;        /* NH_INIT_UNIFORM */
    const nh_irreps *in; /* NH_INIT_LINEAR: the types of the map, owned by the table's types */
    const nh_irreps *out_type;
} nh_param;

typedef struct nh_params { /* one sub-model's table; the same for all sub-models */
    size_t count;
    nh_param *param; /* in the order of docs/network.md 9; owned */
    void *types;     /* private */
} nh_params;

int nh_params_new(const nh_config *c, nh_params *out, nh_error *err);
void nh_params_free(nh_params *p);
/* Index of a name, or SIZE_MAX. */
size_t nh_params_find(const nh_params *p, const char *name);
/* True for names that the official state dict has and no rule uses (ele_embed, norm.*, head.*, ...ga_edge...,
 * buffers). */
bool nh_param_known_dead(const char *name);

/* The weights of one sub-model: value[i] belongs to params->param[i]; NULL where an optional one is absent.
 */
typedef struct nh_weights {
    size_t count;
    float **as_float; /* exactly one of the two is set: as stored in the file */
    double **as_double;
    const void *map; /* numbers in here (a mapped file, of whoever mapped it) are not freed with the others */
    size_t map_size;
} nh_weights;
int nh_weights_new(const nh_params *p, bool as_double, nh_weights *out,
                   nh_error *err); /* all pointers NULL */
void nh_weights_free(nh_weights *w);

/* The published initialisation (docs/network.md 7), live parameters only. The numbers of a parameter depend
 * on (seed, range, name) alone. Allocates every live parameter (as float or as double). */
int nh_weights_init(const nh_params *p, uint64_t seed, size_t range, nh_weights *w, nh_error *err);
/* The rule weights of docs/network.md 10 with the prefix ("range0:"), for tests against golden data;
 * allocates every parameter that acts. */
int nh_weights_rule(const nh_params *p, const char *prefix, nh_weights *w, nh_error *err);

/* Rounds every weight that is there to `bits` binary digits behind the leading one (a float has 23, a double
 * 52); the zeros that follow compress well. */
void nh_weights_round(const nh_params *p, nh_weights *w, int bits);

#endif
