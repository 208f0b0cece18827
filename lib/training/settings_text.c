#include "training/settings.h"

#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_real(FILE *f, const char *before, double value)
{
    char text[32] = "";
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    fprintf(f, "%s%s", before, text);
}

/* A name between single quotes: nothing but the quote itself is special there. */
static void put_name(FILE *f, const char *before, const char *name)
{
    fprintf(f, "%s'", before);
    for (; name && *name; name++)
        fputs(*name == '\'' ? "''" : (const char[]){*name, '\0'}, f);
    fputs("'\n", f);
}

static void put_network(FILE *f, const char *text)
{
    fputs("network:\n", f);
    while (*text) {
        const size_t n = strcspn(text, "\n");
        fprintf(f, "  %.*s\n", (int)n, text);
        text += n + (text[n] == '\n');
    }
}

char *nh_settings_text(const nh_settings *s, const nh_config *network)
{
    char *out = NULL, *config = nh_config_text(network);
    size_t size = 0;
    FILE *f = config ? open_memstream(&out, &size) : NULL;
    if (!f) {
        free(config);
        return NULL;
    }
    const nh_loss_settings *l = &s->loss;
    const nh_optimizer_settings *o = &s->optimizer;
    if (s->init)
        put_name(f, "init: ", s->init);
    else
        put_network(f, config);
    fputs("data:\n", f);
    put_name(f, "  train: ", s->train);
    put_name(f, "  validation: ", s->validation);
    put_name(f, "  test: ", s->test);
    put_real(f, "  cache: ", s->cache);
    fprintf(f, "\n  prefetch: %zu\n  unconverged: %s\n", s->prefetch, s->unconverged ? "true" : "false");
    put_name(f, "run_dir: ", s->run_dir);
    fprintf(f, "zero_output: %s\n", s->zero_output ? "true" : "false");
    fprintf(f, "seed: %llu\nprecision: %s\nensemble: ", (unsigned long long)s->seed,
            s->as_double ? "double" : "single");
    for (size_t i = 0; i < s->n_ensemble; i++)
        fprintf(f, "%s%zu", i ? ", " : "[", s->ensemble[i]);
    fprintf(f, "%s\nloss:\n  kind: %s\n", s->n_ensemble ? "]" : "all",
            l->kind == NH_LOSS_PAPER ? "paper" : "reference");
    put_real(f, "  lambda_c: ", l->lambda_c);
    put_real(f, "\n  lambda_p: ", l->lambda_p);
    put_real(f, "\n  lambda_q: ", l->lambda_q);
    put_real(f, "\n  lambda_pq: ", l->lambda_pq);
    put_real(f, "\n  lambda_r: ", l->lambda_r);
    fprintf(f, "\n  l1_epochs: %ld\n  k_mesh: [%d, %d, %d]\n  k_shift: %s\n  k_per_step: %zu\n", l->l1_epochs,
            l->k_mesh[0], l->k_mesh[1], l->k_mesh[2], nh_k_shift_names[l->k_shift], l->k_per_step);
    put_real(f, "  energy_cut: ", l->energy_cut);
    fprintf(f, "\n  cut: %s\noptimizer:\n  kind: %s\n", l->cut == NH_KCUT_GAMMA ? "gamma" : "per-k",
            o->kind == NH_ADAM ? "adam" : "adamw");
    put_real(f, "  lr: ", o->lr);
    put_real(f, "\n  beta: [", o->beta[0]);
    put_real(f, ", ", o->beta[1]);
    put_real(f, "]\n  eps: ", o->eps);
    put_real(f, "\n  weight_decay: ", o->weight_decay);
    put_real(f, "\n  clip: ", o->clip);
    put_real(f, "\n  ema: ", o->ema);
    fprintf(f, "\nschedule:\n  kind: %s\n  epochs: %ld\n  warmup: %ld\n",
            s->schedule.kind == NH_SCHEDULE_COSINE ? "cosine" : "constant", s->schedule.epochs,
            s->schedule.warmup);
    put_real(f, "  warmup_lr: ", s->schedule.warmup_lr);
    put_real(f, "\n  min_lr: ", s->schedule.min_lr);
    fprintf(f, "\naccumulate: %zu\n", s->accumulate);
    if (s->processes > 1)
        fprintf(f, "parallel: %zu\n", s->processes);
    else
        fprintf(f, "parallel: %s\n", s->processes == 1 ? "data" : "ensemble");
    fprintf(f, "memory: %s\nmethod: %s\nablate: [", s->memory == NH_MEMORY_STORE ? "store" : "recompute",
            s->method == NH_METHOD_FAST ? "fast" : "reference");
    for (size_t i = 0, n = 0; nh_ablation_names[i]; i++)
        if (s->ablate & 1u << i) fprintf(f, "%s%s", n++ ? ", " : "", nh_ablation_names[i]);
    fprintf(f, "]\ncheckpoint:\n  every_steps: %zu\n", s->checkpoint_steps);
    const int failed = ferror(f);
    if (fclose(f) || failed) {
        free(out);
        out = NULL;
    }
    free(config);
    return out;
}
