/* settings.h - train.yaml: what is trained on what, and how (formats/README.md). */
#ifndef NH_TRAINING_SETTINGS_H
#define NH_TRAINING_SETTINGS_H

#include "base/error.h"
#include "base/yaml.h"
#include "nextham/config.h"
#include "plan/method.h"
#include "training/loss.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum nh_optimizer_kind { NH_ADAM = 0, NH_ADAMW } nh_optimizer_kind;
typedef enum nh_schedule_kind { NH_SCHEDULE_COSINE = 0, NH_SCHEDULE_CONSTANT } nh_schedule_kind;
typedef enum nh_memory_kind { NH_MEMORY_STORE = 0, NH_MEMORY_RECOMPUTE } nh_memory_kind;

/* Bits of `ablate`. */
enum {
    NH_ABLATE_INPUT = 1,
    NH_ABLATE_OUTPUT = 2,
    NH_ABLATE_TRACEGRAD = 4,
    NH_ABLATE_ENSEMBLE = 8,
    NH_ABLATE_LOSS_K = 16,
    NH_ABLATE_LOSS_PQ = 32,
    NH_ABLATE_CUT_DOWN = 64
};
/* Their names in train.yaml, in the order of the bits; ends with NULL. */
extern const char *const nh_ablation_names[];
/* Names of nh_kshift, ends with NULL. */
extern const char *const nh_k_shift_names[];

typedef struct nh_loss_settings {
    nh_loss_kind kind;
    double lambda_c, lambda_p, lambda_q, lambda_pq;
    double lambda_r; /* 1 - the other three where kind is reference */
    long l1_epochs;  /* absolute errors in epochs before this one, squared ones from it on */
    int k_mesh[3];
    nh_kshift k_shift;
    size_t k_per_step;
    double energy_cut; /* eV above the Fermi level */
    nh_kcut cut;
} nh_loss_settings;

typedef struct nh_optimizer_settings {
    nh_optimizer_kind kind; /* weight decay: added to the gradient (adam), or to the step (adamw) */
    double lr, beta[2], eps, weight_decay;
    double clip; /* largest 2-norm of a sub-model's gradient; 0: none */
    double ema;  /* decay of the moving average of the weights; 0: none */
} nh_optimizer_settings;

typedef struct nh_schedule_settings {
    nh_schedule_kind kind;
    long epochs, warmup; /* epochs to run; of them with a linearly rising rate */
    double warmup_lr, min_lr;
} nh_schedule_settings;

typedef struct nh_settings {
    bool has_network; /* else the network is that of `init` */
    nh_config network;
    char *init;                      /* model file to begin with; NULL */
    char *train, *validation, *test; /* list files; NULL where left out */
    double cache;                    /* bytes of prepared crystals kept in memory */
    size_t prefetch;                 /* crystals prepared ahead */
    bool unconverged;                /* labels whose self-consistency did not converge are taken */
    char *run_dir;
    uint64_t seed;
    bool as_double;
    bool zero_output;             /* a new network begins with edge_lin zero: no correction */
    size_t n_ensemble, *ensemble; /* sub-models that are trained, ascending; n_ensemble = 0: all */
    nh_loss_settings loss;
    nh_optimizer_settings optimizer;
    nh_schedule_settings schedule;
    size_t accumulate;
    size_t processes; /* that share a crystal (ranks.h); 0: as many as are useful */
    nh_memory_kind memory;
    nh_method method;
    unsigned ablate;
    size_t checkpoint_steps;
} nh_settings;

/* Reads the file and applies `set[n_set]` ("optimizer.lr=1e-3": keys of nested maps with dots between, the
 * value as YAML) in order. Relative names in the file are relative to its folder (run_dir: to the working
 * folder), those in `set` to the working folder; in *out they are absolute. Wrong keys, types and values are
 * errors "FILE:LINE: KEY: ...", or
 * "--set KEY=VALUE: ..."; then *from_command_line (may be NULL) is true. Nothing needs to be there yet: see
 * nh_settings_check. */
int nh_settings_read(const char *path, size_t n_set, const char *const *set, nh_settings *out,
                     bool *from_command_line, nh_error *err);
void nh_settings_free(nh_settings *s);

/* What a run needs: lists that exist, a network or `init`, a run_dir. `path` names the file. */
int nh_settings_check(const nh_settings *s, const char *path, nh_error *err);

/* Carries out the ablations: changes of other settings and of `network`, which is the network that is
 * trained. Doing it twice changes nothing. */
int nh_settings_ablate(nh_settings *s, nh_config *network, nh_error *err);

/* Complete YAML text, every key with the value used; `network` as in nh_settings_ablate. Read again it gives
 * the same settings. The caller frees; NULL when out of memory. */
char *nh_settings_text(const nh_settings *s, const nh_config *network);

#endif
