/* nhmodel - model files: make one with the published initialisation, say what is in one, make one small. */
#include "base/options.h"
#include "base/printable.h"
#include "formats/netcdf/model.h"
#include "formats/report/model_text.h"
#include "formats/torch/model.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct arguments {
    const char *config;
    uint64_t seed;
    int precision;
    bool all;
    int bits;
    const char *network, *key; /* import */
    double rydberg;
    int onsite_copies;
} arguments;

static const char *const precisions[] = {"single", "double", NULL};

/* "init --seed 1" is what the parser was given; the history attribute shows the program too. */
static int complete_command_line(const char *program, nh_common *common, nh_error *err)
{
    char *line = NULL;
    if (asprintf(&line, "%s %s", program, common->command_line) < 0)
        return nh_fail_memory(err, "the command line");
    free(common->command_line);
    common->command_line = line;
    return 0;
}

/* --- init --- */

static int put_attributes(nh_nc *f, uint64_t seed, nh_error *err)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRIu64, seed);
    return nh_nc_set_text(f, "seed", text, err) ||
                   nh_nc_set_text(f, "provenance", "untrained: seeded initialisation", err)
               ? -1
               : 0;
}

static int init(const arguments *a, const nh_common *common, nh_error *err)
{
    nh_config config;
    nh_model *m = NULL;
    nh_nc *f = NULL;
    if (nh_config_read(a->config, &config, err)) return -1;
    int status = nh_model_new(&config, a->precision == 1, &m, err);
    for (size_t r = 0; !status && r < m->n_range; r++)
        status = nh_weights_init(&m->params, a->seed, r, &m->weights[r], err);
    if (!status) status = nh_nc_create(common->output, "nhmodel", common, NULL, &f, err);
    if (!status) status = put_attributes(f, a->seed, err);
    if (!status) status = nh_model_write(f, m, false, err);
    if (status)
        nh_nc_close(f);
    else
        status = nh_nc_commit(f, err);
    nh_model_free(m);
    return status;
}

/* --- info --- */

static const char *const provenance[] = {"source", "provenance", "seed", "dataset", "epoch", "metrics"};

static int print_provenance(const nh_nc *f, nh_error *err)
{
    for (size_t i = 0; i < sizeof provenance / sizeof provenance[0]; i++) {
        const char *const name = provenance[i];
        const nh_nc_att kind = nh_nc_att_kind(f, name);
        char *text = NULL;
        double number = 0;
        if (kind == NH_NC_ATT_NONE) continue;
        if (kind == NH_NC_ATT_TEXT) {
            if (nh_nc_att_text(f, name, &text, err)) return -1;
            printf("%-12s ", name);
            nh_put_printable(stdout, text ? text : "");
            putchar('\n');
            free(text);
        } else {
            if (nh_nc_att_double(f, name, &number, err)) return -1;
            printf("%-12s %.15g\n", name, number);
        }
    }
    return 0;
}

static int print_elements(const nh_elements *e, nh_error *err)
{
    if (!e->known) return 0;
    char *text = nh_elements_text(e);
    if (!text) return nh_fail_memory(err, "the list of elements");
    printf("%-12s %zu, with the number of training crystals: %s\n", "elements", nh_elements_count(e), text);
    free(text);
    return 0;
}

static void print_config(char *text)
{
    printf("config\n");
    for (char *rest = text, *line; (line = strsep(&rest, "\n"));)
        if (*line) printf("    %s\n", line);
}

static int info(const arguments *a, const nh_common *common, nh_error *err)
{
    nh_nc *f;
    nh_model *m = NULL;
    if (nh_nc_open(nh_input(common), &f, err)) return -1;
    int status = nh_model_read_from(f, NH_ACTS_HAM | NH_ACTS_TRACE, &m, err);
    char *text = status ? NULL : nh_config_text(&m->config);
    if (!status && !text) status = nh_fail_memory(err, "the config text");
    if (!status) {
        printf("%-12s %s\n", "file", nh_nc_name(f));
        status = print_provenance(f, err);
    }
    if (!status) {
        printf("%-12s %zu, %s precision\n", "sub-models", m->n_range,
               m->weights[0].as_double ? "double" : "single");
        status = print_elements(&m->elements, err);
    }
    if (!status) {
        print_config(text);
        printf("\n");
        if (a->all)
            nh_model_parameters(stdout, m);
        else
            status = nh_model_parts(stdout, m, err);
        printf("\n");
        nh_model_totals(stdout, m);
    }
    free(text);
    nh_model_free(m);
    nh_nc_close(f);
    return status;
}

/* --- pack --- */

static int copy_provenance(const nh_nc *from, nh_nc *to, nh_error *err)
{
    for (size_t i = 1; i < sizeof provenance / sizeof provenance[0]; i++) /* source: is this program now */
        if (nh_nc_copy_att(to, from, provenance[i], err)) return -1;
    return 0;
}

static int pack(const arguments *a, const nh_common *common, nh_error *err)
{
    nh_nc *in, *out = NULL;
    nh_model *m = NULL;
    if (nh_nc_open(nh_input(common), &in, err)) return -1;
    int status = nh_model_read_from(in, NH_ACTS_HAM | NH_ACTS_TRACE, &m, err);
    for (size_t r = 0; !status && a->bits && r < m->n_range; r++)
        nh_weights_round(&m->params, &m->weights[r], a->bits);
    if (!status) status = nh_nc_create(common->output, "nhmodel", common, in, &out, err);
    if (!status) status = copy_provenance(in, out, err);
    if (!status) status = nh_model_write(out, m, true, err);
    if (!status)
        status = nh_nc_commit(out, err);
    else
        nh_nc_close(out);
    nh_model_free(m);
    nh_nc_close(in);
    return status;
}

/* --- import, export: PyTorch's files --- */

static int import(const arguments *a, const nh_common *common, nh_error *err)
{
    const nh_torch_task task = {.n_file = common->inputs.count,
                                .file = common->inputs.item,
                                .config = a->network,
                                .key = a->key,
                                .rydberg = a->rydberg,
                                .onsite_copies = a->onsite_copies};
    nh_model *m;
    nh_unused unused;
    nh_nc *f = NULL;
    nh_error note;
    if (nh_torch_import(&task, &m, &unused, &note, err)) return -1;
    if (!common->quiet) nh_remark("nhmodel import", "%s", note.text);
    int status = nh_nc_create(common->output, "nhmodel", common, NULL, &f, err);
    if (!status) status = nh_nc_set_text(f, "provenance", "imported from a PyTorch checkpoint", err);
    if (!status) status = nh_unused_put(f, &unused, err);
    if (!status) status = nh_model_write(f, m, false, err);
    if (status)
        nh_nc_close(f);
    else
        status = nh_nc_commit(f, err);
    nh_unused_free(&unused);
    nh_model_free(m);
    return status;
}

static int export(const arguments *a, const nh_common *common, nh_error *err)
{
    (void)a;
    nh_nc *f;
    nh_model *m = NULL;
    nh_unused unused = {0};
    if (!strcmp(common->output, "-")) return nh_fail(err, "-o FOLDER expected: a file for each sub-model");
    if (nh_nc_open(nh_input(common), &f, err)) return -1;
    int status = nh_model_read_from(f, NH_ACTS_HAM | NH_ACTS_TRACE, &m, err);
    if (!status) status = nh_unused_get(f, m->n_range, &unused, err);
    if (!status) status = nh_torch_export(m, &unused, common->output, err);
    nh_unused_free(&unused);
    nh_model_free(m);
    nh_nc_close(f);
    return status;
}

/* --- the command line --- */

static const char *check_init(const arguments *a)
{
    return a->config ? NULL : "--config missing";
}

static const char *check_pack(const arguments *a)
{
    return a->bits >= 0 && a->bits <= 52 ? NULL : "--bits: 1 to 52 expected";
}

static const char *check_import(const arguments *a)
{
    if (!isnan(a->rydberg) && !(a->rydberg > 13 && a->rydberg < 14)) return "--rydberg: about 13.6 expected";
    return a->onsite_copies >= 0 && a->onsite_copies <= 2 ? NULL : "--onsite-copies: 1 or 2 expected";
}

typedef struct command {
    const char *word, *name, *summary, *usage[2], *example;
    size_t min_inputs, max_inputs;
    bool no_output;
    const char *(*check)(const arguments *a); /* NULL where all is well */
    int (*body)(const arguments *a, const nh_common *common, nh_error *err);
    size_t n_options; /* of the program's table: those below the command's heading */
} command;

static const command commands[] = {
    {.word = "init",
     .name = "nhmodel init",
     .summary = "model file with the published initialisation",
     .usage = {"--config NET.yaml [options] -o MODEL.nc", NULL},
     .example = "nhmodel init --config pipelines/standard.yaml --seed 1 -o model.nc",
     .check = check_init,
     .body = init,
     .n_options = 3},
    {.word = "info",
     .name = "nhmodel info",
     .summary = "what is in a model file: configuration, provenance, parameters",
     .usage = {"[--all] [MODEL.nc]", NULL},
     .example = "nhmodel info model.nc",
     .max_inputs = 1,
     .no_output = true,
     .body = info,
     .n_options = 1},
    {.word = "pack",
     .name = "nhmodel pack",
     .summary = "the same model in a smaller file",
     .usage = {"[--bits N] [MODEL.nc] -o SMALL.nc", NULL},
     .example = "nhmodel pack --bits 12 runs/train/best.nc -o model.nc",
     .max_inputs = 1,
     .check = check_pack,
     .body = pack,
     .n_options = 1},
    {.word = "import",
     .name = "nhmodel import",
     .summary = "a model from published checkpoints, files of torch.save",
     .usage = {"[options] model_range0_*.pth.tar model_range1_*.pth.tar ... -o MODEL.nc", NULL},
     .example = "nhmodel import model_range?_curr.pth.tar -o model.nc",
     .min_inputs = 1,
     .max_inputs = NH_MAX_RANGES,
     .check = check_import,
     .body = import,
     .n_options = 4},
    {.word = "export",
     .name = "nhmodel export",
     .summary = "a checkpoint for PyTorch for each sub-model",
     .usage = {"[MODEL.nc] -o FOLDER", NULL},
     .example = "nhmodel export model.nc -o checkpoints",
     .max_inputs = 1,
     .body = export},
};
enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

static int run(const command *c, const nh_program *whole, const nh_option *options, int argc, char **argv,
               const arguments *a)
{
    nh_program program = *whole;
    program.name = c->name;
    program.summary = c->summary;
    program.synopsis = c->usage;
    program.example = c->example;
    program.options = options;
    program.n_options = c->n_options;
    program.min_inputs = c->min_inputs;
    program.max_inputs = c->max_inputs;
    program.no_output = c->no_output;
    nh_common common;
    nh_error err;
    int status = nh_parse(&program, argc - 1, argv + 1, &common);
    if (status != -1) return status;
    const char *wrong = c->check ? c->check(a) : NULL;
    status = 0;
    if (wrong) {
        fprintf(stderr, "%s: %s (%s --help)\n", program.name, wrong, program.name);
        status = 2;
    } else if (complete_command_line(argv[0], &common, &err) || c->body(a, &common, &err)) {
        status = nh_report(&program, &err);
    } else if (fflush(stdout) || ferror(stdout)) {
        nh_fail(&err, "(standard output): write error");
        status = nh_report(&program, &err);
    }
    nh_common_free(&common);
    return status;
}

int main(int argc, char **argv)
{
    arguments a = {.rydberg = NAN};
    const nh_option options[] = {
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "nhmodel init"},
        {NH_OPT_STRING, 'c', "config", "FILE", &a.config, NULL, NULL, "configuration of the network, YAML"},
        {NH_OPT_UINT64, 's', "seed", "N", &a.seed, NULL, NULL, "seed of the random numbers [0]"},
        {NH_OPT_CHOICE, 0, "precision", NULL, &a.precision, precisions, NULL,
         "weights as float or double [single]"},
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "nhmodel info"},
        {NH_OPT_FLAG, 'a', "all", NULL, &a.all, NULL, NULL, "every parameter instead of the parts"},
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "nhmodel pack"},
        {NH_OPT_INT, 'b', "bits", "N", &a.bits, NULL, NULL,
         "round the weights to N binary digits behind the leading one, 1 to 52 [no rounding]"},
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "nhmodel import"},
        {NH_OPT_STRING, 0, "network", "FILE", &a.network, NULL, NULL,
         "configuration of the network, YAML [V1 or V1.1, as the tensors' shapes say]"},
        {NH_OPT_STRING, 0, "key", "NAME", &a.key, NULL, NULL,
         "where in the checkpoint the weights are [state_dict, model_state_dict, model, net, module, or all "
         "of it]"},
        {NH_OPT_REAL, 0, "rydberg", "EV", &a.rydberg, NULL, NULL,
         "factor that the model's training data were made with [13.605698066 for V1, 13.6 for V1.1]"},
        {NH_OPT_INT, 0, "onsite-copies", "N", &a.onsite_copies, NULL, NULL,
         "2 where its training data listed on-site pairs twice [1]"},
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "nhmodel export"},
    };
    static const char description[] =
        "A model file has the network's configuration as text and one group of parameters for each "
        "sub-model.\n\n"
        "init makes one with the published initialisation: the same seed gives the same numbers on every "
        "machine. Such a model is "
        "untrained, and says so in its attribute provenance.\n\n"
        "info reads a model file, checks it as nhinfer does, and prints where it comes from, its "
        "configuration, and its parameters: their "
        "shapes, and whether they reach the Hamiltonian, the trace output of training, or nothing at all.\n\n"
        "pack writes the same model compressed, for shipping: it is smaller, and slower to read. With --bits "
        "the weights are "
        "rounded first: 12 digits (a relative error below 0.00013) make the file about three quarters of "
        "what it was. What import kept beside the network is left out.\n\n"
        "import reads what torch.save wrote, one file for each distance range, without Python and without "
        "running anything in it: "
        "a dictionary of tensors under state_dict (or --key), or a pickled module. V1 and V1.1 are told "
        "apart by the shapes of their "
        "tensors. Tensors that the network does not use are kept in the model file, so that export gives "
        "back what was imported; "
        "optimisers and counters are left out, and named.\n\n"
        "export writes FOLDER/model_range0_curr.pth.tar and so on, for torch.load.";
    static const char *const synopsis[] = {
        "init --config NET.yaml [--seed N] [--precision single|double] -o MODEL.nc",
        "info [--all] [MODEL.nc]",
        "pack [--bits N] [MODEL.nc] -o SMALL.nc",
        "import [--network NET.yaml] [--key NAME] CHECKPOINT ... -o MODEL.nc",
        "export [MODEL.nc] -o FOLDER",
        NULL};
    const nh_program all = {
        .name = "nhmodel",
        .summary =
            "model files: seeded initialisation, table of contents, compression, PyTorch's checkpoints",
        .synopsis = synopsis,
        .description = description,
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .example =
            "nhmodel init --config pipelines/standard.yaml --seed 1 -o model.nc\nnhmodel info model.nc",
        .see_also = "nhinfer(1)"};
    const nh_option *option = options;
    for (size_t i = 0; i < N_COMMANDS; i++) {
        option++; /* the heading */
        if (argc > 1 && !strcmp(argv[1], commands[i].word))
            return run(&commands[i], &all, option, argc, argv, &a);
        option += commands[i].n_options;
    }
    if (argc > 1 && argv[1][0] == '-') {
        nh_common common;
        const int status = nh_parse(&all, argc, argv, &common);
        if (status != -1) return status;
        nh_common_free(&common);
    } else if (argc > 1) {
        fprintf(stderr,
                "nhmodel: unknown command '%s' (init, info, pack, import or export; nhmodel --help)\n",
                argv[1]);
        return 2;
    }
    fprintf(stderr, "nhmodel: init, info, pack, import or export expected (nhmodel --help)\n");
    return 2;
}
