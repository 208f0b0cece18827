/* config.h - the architecture as data: the `config` attribute of a model file (formats/README.md, "Model
 * file"). */
#ifndef NH_NEXTHAM_CONFIG_H
#define NH_NEXTHAM_CONFIG_H

#include "base/error.h"
#include "base/yaml.h"
#include "o3/irreps.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    NH_MAX_RANGES = 64, /* sub-models */
    NH_N_ELEMENT = 120  /* rows of the element table: atomic numbers */
};

typedef enum nh_reconstruct { NH_RECONSTRUCT_UU, NH_RECONSTRUCT_SPIN_AVERAGE } nh_reconstruct;
typedef enum nh_edge_init { NH_EDGE_INIT_LINEAR, NH_EDGE_INIT_PAPER } nh_edge_init;
/* What the network sees as H0, and what its correction is added to: the file's H0; its mean with its time
 * reversal (crystal/graph.h), which removes a starting magnetisation; or nothing. */
typedef enum nh_h0_rule { NH_H0_AS_GIVEN, NH_H0_TIME_REVERSAL, NH_H0_NONE } nh_h0_rule;
/* network/OPTIONS.md, sections 4 and 5 */
typedef enum nh_input_kind { NH_INPUT_H0, NH_INPUT_ELEMENTS } nh_input_kind;
typedef enum nh_target_kind { NH_TARGET_CORRECTION, NH_TARGET_HAMILTONIAN } nh_target_kind;

typedef struct nh_config {
    size_t n_shell; /* padded shells of every atom */
    int *shell_l;   /* their degrees, owned */
    double cutoff;  /* Å */
    int sh_lmax;
    nh_irreps mid; /* MID: first entry 0e, entries of distinct irreps */
    size_t heads;
    size_t blocks;
    size_t radial_basis; /* 64 Gaussians, centres radial_max*k/(n-1), width 0.5*radial_max/n */
    double radial_max;
    size_t radial_hidden[2];
    size_t tg_hidden, tg_hidden_last, tg_z;
    double tg_scale;     /* 0: y is not evaluated, nothing is added (V1.1) */
    size_t n_trace_head; /* hidden layers of the trace head */
    size_t *trace_head;  /* their widths, owned */
    size_t n_range;      /* sub-models */
    double (*range)[2];  /* [lo, hi) Å, owned */
    double decay;        /* exp(-decay r) on the output */
    double output_scale; /* factor on the output, 1 in the published network */
    double norm_eps;     /* added to the mean square in the layer norms, 1e-5 in the published network */
    nh_reconstruct reconstruct;
    nh_h0_rule h0;
    double rydberg;
    long onsite_copies;
    size_t edge_scalars; /* first entry of POST */
    size_t alpha_hidden[2];
    /* network/OPTIONS.md */
    bool lift;              /* the last block multiplies its edge features */
    nh_edge_init edge_init; /* PAPER: initial edge features are a product with the harmonics, too */
    nh_input_kind input;    /* ELEMENTS: the network sees the elements of the atoms in place of H0 */
    nh_target_kind target;  /* HAMILTONIAN: the output is H itself, not a correction */
    size_t alpha_scalars;   /* n0: scalars of head 0 that lin_alpha sees = mul of MID's first entry */
} nh_config;

/* Reads the `network:` map of train.yaml, or the whole document of a config text: the keys of
 * formats/README.md, defaults where they are left out; unknown keys and impossible architectures are errors
 * "NAME:LINE: KEY: ...". */
int nh_config_from_yaml(const nh_yaml *map, const char *name, nh_config *out, nh_error *err);
int nh_config_parse(const char *text, const char *name, nh_config *out, nh_error *err);
/* The config text of a file ("-": standard input), 1 MiB at most. */
int nh_config_read(const char *path, nh_config *out, nh_error *err);
/* Complete YAML text (every key). The caller frees; NULL when out of memory. */
char *nh_config_text(const nh_config *c);
void nh_config_free(nh_config *c);
/* The sub-model whose range has this distance (Å, rounded); SIZE_MAX: none. Ranges do not overlap. */
size_t nh_config_range_of(const nh_config *c, double distance);
bool nh_config_needs_h0(const nh_config *c); /* as input, or in the prediction */

/* The types that follow from the configuration (docs/network.md 2.7, 3.1, 4.3). Each is freed with
 * nh_irreps_free. */
typedef struct nh_types {
    nh_irreps in; /* what describes an edge: OUT, or with `input: elements` 120x0e */
    nh_irreps mid, heads, gate_in, dtp_out /* simplified, even-first */, out, post, harmonics;
    nh_irreps last;   /* of the last block's TraceGrad: the first entries of post */
    nh_irreps lift;   /* simplified, even-first; empty without the option, and so are its paths */
    nh_irreps to_lin; /* input of edge_lin: post, lift */
    size_t n_lift_path;
    struct nh_lift_path {
        size_t first, second; /* entries of MID, first <= second */
        size_t mul;
        int l, p;       /* output irrep */
        size_t weight;  /* first weight */
        size_t channel; /* as in nh_path, of `lift` */
    } * lift_path;      /* owned */
    size_t n_lift_weight;
    size_t n_path; /* paths of the depthwise product */
    struct nh_path {
        size_t entry;    /* of MID */
        int j;           /* degree of the harmonics */
        int l, p;        /* output irrep */
        size_t weight;   /* first weight */
        size_t channel;  /* first channel of the output within the (l,p) group of dtp_out, which is in path
                            order */
    } * path;            /* owned */
    size_t n_weight;     /* weights of the product (1160) */
    size_t n_shell_pair; /* 81 */
} nh_types;
int nh_types_new(const nh_config *c, nh_types *out, nh_error *err);
void nh_types_free(nh_types *t);

#endif
