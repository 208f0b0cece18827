/* Small languages: irreps, pairs of shells, shells, devices, command lines. */
#include "base/options.h"
#include "crystal/structure.h"
#include "device/choice.h"
#include "nextham/embedding.h"
#include "o3/irreps.h"
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void parse_irreps(const char *text)
{
    nh_error err;
    nh_irreps r, simple;
    if (nh_irreps_parse(text, &r, &err)) return;
    if (!nh_irreps_simplify(&r, &simple, &err)) nh_irreps_free(&simple);
    free(nh_irreps_text(&r));
    nh_irreps_free(&r);
}

static void parse_selection(const char *pairs, const char *irreps)
{
    static const int l[] = {0, 0, 1, 2, 3};
    nh_embedding *e;
    nh_selection s;
    nh_error err;
    if (nh_embedding_new(sizeof l / sizeof *l, l, &e, &err)) abort();
    if (!nh_selection_parse(e, pairs, irreps, &s, &err)) nh_selection_free(&s);
    nh_embedding_free(e);
}

/* Words between newlines as the arguments of a program that has every kind of option. What it prints goes to /dev/null. */
static void parse_options(char *text)
{
    enum { MOST = 64 };
    static const char *const choices[] = {"a", "bb", NULL}, *const synopsis[] = {"[FILE]", NULL};
    nh_list list = {0};
    int n = 0, mesh[3] = {0}, choice = 0;
    double x = 0, range[2] = {0};
    bool flag = false;
    const char *string = NULL;
    uint64_t seed = 0;
    nh_checked device = NH_DEVICE_SEVERAL;
    const nh_option device_row = NH_DEVICE_SEVERAL_ROW(device);
    const nh_option options[] = {{NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "heading"},
                                 {NH_OPT_LIST, 'l', "list", "X", &list, NULL, NULL, "list"},
                                 {NH_OPT_INT, 'n', "int", "N", &n, NULL, NULL, "int"},
                                 {NH_OPT_INTS3, 'm', "mesh", "A B C", mesh, NULL, NULL, "mesh"},
                                 {NH_OPT_REAL, 'x', "real", "X", &x, NULL, &flag, "real"},
                                 {NH_OPT_RANGE, 'r', "range", "L:H", range, NULL, NULL, "range"},
                                 {NH_OPT_STRING, 's', "string", "X", (void *)&string, NULL, NULL, "string"},
                                 {NH_OPT_UINT64, 'u', "seed", "N", &seed, NULL, NULL, "seed"},
                                 {NH_OPT_CHOICE, 'c', "choice", NULL, &choice, choices, NULL, "choice"},
                                 {NH_OPT_FLAG, 'f', "flag", NULL, &flag, NULL, NULL, "flag"}};
    const nh_program program = {.name = "fuzz",
                                .summary = "nothing in, nothing out",
                                .synopsis = synopsis,
                                .description = "Text.\n\n  verbatim",
                                .options = options,
                                .n_options = sizeof options / sizeof *options,
                                .max_inputs = 3,
                                .computes = true,
                                .device = &device_row,
                                .example = "fuzz x"};
    char *argv[MOST + 2] = {(char[]){"fuzz"}};
    int argc = 1;
    for (char *at = text; argc <= MOST && at != NULL;)
        argv[argc++] = strsep(&at, "\n");
    nh_common common;
    fflush(NULL);
    const int out = dup(STDOUT_FILENO), error = dup(STDERR_FILENO),
              null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (out < 0 || error < 0 || null < 0) abort();
    dup2(null, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    const int status = nh_parse(&program, argc, argv, &common);
    fflush(NULL);
    dup2(out, STDOUT_FILENO);
    dup2(error, STDERR_FILENO);
    close(out);
    close(error);
    close(null);
    if (status != -1 && status != 0 && status != 2) abort();
    if (status == -1) nh_common_free(&common);
    nh_list_free(&list);
}

void fuzz_words(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    const size_t half = strlen(text);
    nh_device_choice device;
    size_t n;
    int *l;
    nh_error err;
    parse_irreps(text);
    parse_selection(text, half < size ? text + half + 1 : "1x0e");
    (void)!nh_device_parse(text, &device);
    if (!nh_shells_parse(text, &n, &l, &err)) {
        free(nh_shells_text(n, l));
        free(l);
    }
    parse_options(text);
    free(text);
}
