#include "base/options.h"
#include "base/memory.h"
#include "base/threads.h"
#include "base/version.h"
#include "device/choice.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_ARGS = 40, MAX_OPTIONS = 12 };

/* Everything that the example program's table points to. */
typedef struct settings {
    bool flag, h0, cutoff_given;
    const char *file;
    int number, precision, mesh[3];
    uint64_t seed;
    double cutoff, window[2];
    nh_list set;
    nh_checked device;
} settings;

/* One run of nh_parse: what it returned, filled in and printed. */
typedef struct run {
    int status;
    settings got;
    nh_common common;
    char out[20000], err[2000];
    nh_option options[MAX_OPTIONS], device;
    nh_program program;
    char words[4000], *argv[MAX_ARGS];
} run;

static const char *const PRECISIONS[] = {"single", "double", NULL};
static const char *const SYNOPSIS[] = {"[options] [-o OUT] [IN]", "--mesh N1 N2 N3 IN", NULL};
static const char DESCRIPTION[] = "Reads a-b and C:\\dir, ~x^2 of `y'.\n.leading dot\n'leading quote\n\n"
                                  "  verbatim line\n  .TH in the text\n  \\fBno font\n\nLengths in \xc3\x85.";

static void describe_program(run *r)
{
    settings *s = &r->got;
    *s = (settings){.h0 = true,
                    .precision = 1,
                    .seed = 1,
                    .cutoff = 8,
                    .window = {-INFINITY, INFINITY},
                    .device = NH_DEVICE_ONE};
    const nh_option options[MAX_OPTIONS] = {
        {NH_OPT_FLAG, 'f', "flag", NULL, &s->flag, NULL, NULL, "a flag"},
        {NH_OPT_UNSET, 0, "no-h0", NULL, &s->h0, NULL, NULL, "without H0"},
        {NH_OPT_STRING, 'm', "model", "FILE", (void *)&s->file, NULL, NULL, "the model"},
        {NH_OPT_INT, 'n', "nev", "N", &s->number, NULL, NULL, "number of bands"},
        {NH_OPT_UINT64, 0, "seed", "N", &s->seed, NULL, NULL, "seed [1]"},
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "Physics"},
        {NH_OPT_REAL, 0, "cutoff", "R", &s->cutoff, NULL, &s->cutoff_given,
         "range of an edge in \xc3\x85 [8.0]; a text that is long enough to need more than a single line"},
        {NH_OPT_CHOICE, 0, "precision", NULL, &s->precision, PRECISIONS, NULL, "number type [double]"},
        {NH_OPT_INTS3, 0, "mesh", "N1 N2 N3", s->mesh, NULL, NULL, "mesh of k-points"},
        {NH_OPT_RANGE, 0, "window", "LO:HI", s->window, NULL, NULL, "energies in eV"},
        {NH_OPT_LIST, 's', "set", "KEY=VALUE", &s->set, NULL, NULL, "'quoted' text. .dots and \\slashes"},
    };
    memcpy(r->options, options, sizeof options);
    r->device = (nh_option)NH_DEVICE_ONE_ROW(s->device);
    r->program = (nh_program){
        .name = "example",
        .summary = "structure in, graph out",
        .synopsis = SYNOPSIS,
        .description = DESCRIPTION,
        .options = r->options,
        .n_options = 11,
        .max_inputs = 2,
        .computes = true,
        .device = &r->device,
        .example = "example --mesh 8 8 8 'a b' | other\nexample \\\n  -x",
        .see_also = "other(1), one-more(1)",
    };
}

static void read_back(FILE *f, char *buffer, size_t size)
{
    rewind(f);
    size_t n = fread(buffer, 1, size - 1, f);
    buffer[n] = '\0';
    fclose(f);
}

/* Parses the words of `line`, which are separated by '|', with stdout and stderr caught. */
static void parse(run *r, const char *line)
{
    FILE *out = tmpfile(), *err = tmpfile();
    assert_non_null(out);
    assert_non_null(err);
    int argc = 0;
    snprintf(r->words, sizeof r->words, "example%s%s", line[0] != '\0' ? "|" : "", line);
    for (char *p = r->words; p != NULL;) {
        assert_true(argc < MAX_ARGS - 1);
        r->argv[argc++] = p;
        p = strchr(p, '|');
        if (p != NULL) *p++ = '\0';
    }
    r->argv[argc] = NULL;
    fflush(stdout);
    fflush(stderr);
    int before[2] = {dup(STDOUT_FILENO), dup(STDERR_FILENO)};
    dup2(fileno(out), STDOUT_FILENO);
    dup2(fileno(err), STDERR_FILENO);
    r->status = nh_parse(&r->program, argc, r->argv, &r->common);
    fflush(stdout);
    dup2(before[0], STDOUT_FILENO);
    dup2(before[1], STDERR_FILENO);
    close(before[0]);
    close(before[1]);
    read_back(out, r->out, sizeof r->out);
    read_back(err, r->err, sizeof r->err);
}

static run *run_line(const char *line)
{
    run *r = NH_ARRAY(run, 1);
    assert_non_null(r);
    describe_program(r);
    parse(r, line);
    return r;
}

static run *good(const char *line)
{
    run *r = run_line(line);
    if (r->status != -1) fail_msg("%s: status %d, %s", line, r->status, r->err);
    assert_string_equal(r->out, "");
    assert_string_equal(r->err, "");
    return r;
}

static void finish(run *r)
{
    nh_common_free(&r->common);
    nh_list_free(&r->got.set);
    free(r);
}

static void defaults(void **state)
{
    (void)state;
    run *r = good("");
    assert_string_equal(r->common.output, "-");
    assert_string_equal(nh_input(&r->common), "-");
    assert_int_equal(r->common.threads, nh_cores());
    assert_string_equal(r->got.device.text, "cpu");
    assert_true(r->common.history);
    assert_false(r->common.quiet);
    assert_int_equal(r->common.verbose, 0);
    assert_int_equal(r->common.inputs.count, 0);
    assert_string_equal(r->common.command_line, "example");
    assert_true(r->got.cutoff == 8 && !r->got.cutoff_given && r->got.h0 && !r->got.flag);
    finish(r);
}

static void all_kinds(void **state)
{
    (void)state;
    run *r = good(
        "--flag|--no-h0|--model|a.nc|--nev|-12|--seed|18446744073709551615|--cutoff|6.5|--precision|single|"
        "--mesh|8|8|1|--window|-10:10.5|--set|a=1|in.nc|-o|out.nc|-j|3|--device|cpu|-q|--no-history");
    assert_true(r->got.flag && !r->got.h0 && r->got.cutoff_given);
    assert_string_equal(r->got.file, "a.nc");
    assert_int_equal(r->got.number, -12);
    assert_true(r->got.seed == UINT64_MAX);
    assert_true(r->got.cutoff == 6.5);
    assert_int_equal(r->got.precision, 0);
    assert_true(r->got.mesh[0] == 8 && r->got.mesh[1] == 8 && r->got.mesh[2] == 1);
    assert_true(r->got.window[0] == -10 && r->got.window[1] == 10.5);
    assert_int_equal(r->got.set.count, 1);
    assert_string_equal(nh_input(&r->common), "in.nc");
    assert_string_equal(r->common.output, "out.nc");
    assert_int_equal(r->common.threads, 3);
    assert_true(r->common.quiet && !r->common.history);
    finish(r);
}

static void spellings(void **state)
{
    (void)state;
    /* With '=', attached to a short option, options behind inputs, "--", "-" as an input, the last one
     * counts. */
    run *r = good("--cutoff=-1.5|--model=|-|-n5|--mesh=1|2|3|-v|-v|--verbose|--cutoff|-.5e1|--|-q");
    assert_true(r->got.cutoff == -5);
    assert_string_equal(r->got.file, "");
    assert_int_equal(r->got.number, 5);
    assert_int_equal(r->got.mesh[2], 3);
    assert_int_equal(r->common.verbose, 3);
    assert_false(r->common.quiet);
    assert_int_equal(r->common.inputs.count, 2);
    assert_string_equal(r->common.inputs.item[0], "-");
    assert_string_equal(r->common.inputs.item[1], "-q");
    finish(r);
    r = good("--model=a=b|--set=x=1");
    assert_string_equal(r->got.file, "a=b");
    assert_string_equal(r->got.set.item[0], "x=1");
    finish(r);
}

static void ranges(void **state)
{
    (void)state;
    run *r = good("--window|:-2");
    assert_true(isinf(r->got.window[0]) && r->got.window[1] == -2);
    finish(r);
    r = good("--window=3:");
    assert_true(r->got.window[0] == 3 && isinf(r->got.window[1]));
    finish(r);
    r = good("--window|2:2");
    assert_true(r->got.window[0] == 2 && r->got.window[1] == 2);
    finish(r);
}

static void lists_grow(void **state)
{
    (void)state;
    run *r = good("-sa|-s|b|--set|c|--set=d|-s|e|-s|f|-s|g|-s|h|-s|i");
    assert_int_equal(r->got.set.count, 9);
    for (size_t i = 0; i < 9; i++) {
        const char expected[] = {(char)('a' + i), '\0'};
        assert_string_equal(r->got.set.item[i], expected);
    }
    finish(r);
}

static void wrong_command_lines(void **state)
{
    (void)state;
    static const struct {
        const char *line, *message;
    } cases[] = {
        {"--cutof|3", "unknown option '--cutof' (example --help lists the options)"},
        {"--cutof=3", "unknown option '--cutof' (example --help lists the options)"},
        {"-x", "unknown option '-x' (example --help lists the options)"},
        {"-fq", "unknown option '-fq' (example --help lists the options)"},
        {"-5", "unknown option '-5' (example --help lists the options)"},
        {"--cutoff", "--cutoff: argument missing (R)"},
        {"--precision", "--precision: argument missing (single|double)"},
        {"-o", "-o: argument missing (FILE)"},
        {"--flag=1", "--flag: takes no argument, found '1'"},
        {"--cutoff|8x", "--cutoff: number expected, found '8x'"},
        {"--cutoff=", "--cutoff: number expected, found ''"},
        {"--cutoff|nan", "--cutoff: number expected, found 'nan'"},
        {"--cutoff|inf", "--cutoff: number expected, found 'inf'"},
        {"--cutoff|1e999", "--cutoff: number expected, found '1e999'"},
        {"--cutoff|--flag", "--cutoff: number expected, found '--flag'"},
        {"-n|1.5", "-n: integer expected, found '1.5'"},
        {"-n|2147483648", "-n: integer expected, found '2147483648'"},
        {"--seed|-1", "--seed: non-negative integer expected, found '-1'"},
        {"--seed|18446744073709551616",
         "--seed: non-negative integer expected, found '18446744073709551616'"},
        {"--precision|half", "--precision: one of single|double expected, found 'half'"},
        {"--mesh|8|8", "--mesh: 3 arguments expected (N1 N2 N3), found 2"},
        {"--mesh|8|8|x", "--mesh: 3 integers expected, found 'x'"},
        {"--window|3", "--window: LOW:HIGH with LOW <= HIGH expected, found '3'"},
        {"--window|3:2", "--window: LOW:HIGH with LOW <= HIGH expected, found '3:2'"},
        {"--window|a:b", "--window: LOW:HIGH with LOW <= HIGH expected, found 'a:b'"},
        {"--window|1:2:3", "--window: LOW:HIGH with LOW <= HIGH expected, found '1:2:3'"},
        {"a|b|c", "at most 2 inputs expected, found 3 (unexpected: 'c')"},
        {"-j|0", "--threads: 1 to 4096 expected, found 0"},
        {"--device|gpu", "--device: cpu, auto or cuda[:I][,tf32] expected, found 'gpu'"},
        {"--device|cuda:", "--device: cpu, auto or cuda[:I][,tf32] expected, found 'cuda:'"},
        {"--device|cuda:0,1", "--device: one device expected, found 'cuda:0,1'"},
        {"--device|cuda:1,fp8", "--device: cpu, auto or cuda[:I][,tf32] expected, found 'cuda:1,fp8'"},
        {"-s|a|-s|b|in|--nope", "unknown option '--nope' (example --help lists the options)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        run *r = run_line(cases[i].line);
        char expected[300];
        snprintf(expected, sizeof expected, "example: %s\n", cases[i].message);
        assert_int_equal(r->status, 2);
        assert_string_equal(r->err, expected);
        assert_string_equal(r->out, "");
        free(r); /* nothing else is to be freed after a failure */
    }
}

static void numbers_of_inputs(void **state)
{
    (void)state;
    run *r = NH_ARRAY(run, 1);
    assert_non_null(r);
    describe_program(r);
    r->program.min_inputs = 1;
    parse(r, "-q");
    assert_int_equal(r->status, 2);
    assert_string_equal(r->err, "example: input missing (example --help)\n");
    r->program.min_inputs = 2;
    parse(r, "a");
    assert_int_equal(r->status, 2);
    assert_string_equal(r->err, "example: at least 2 inputs expected, found 1\n");
    r->program.min_inputs = 0;
    r->program.max_inputs = 0;
    parse(r, "a");
    assert_int_equal(r->status, 2);
    assert_string_equal(r->err, "example: unexpected argument 'a'\n");
    free(r);
}

static void common_options_where_they_belong(void **state)
{
    (void)state;
    run *r = NH_ARRAY(run, 1);
    assert_non_null(r);
    describe_program(r);
    r->program.computes = false;
    r->program.device = NULL;
    r->program.no_output = true;
    static const char *const gone[] = {"-j|1", "--device|cpu", "-o|x", "--no-history"};
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) {
        parse(r, gone[i]);
        assert_int_equal(r->status, 2);
    }
    parse(r, "--help");
    assert_null(strstr(r->out, "--threads"));
    assert_null(strstr(r->out, "--output"));
    assert_non_null(strstr(r->out, "--quiet"));

    /* A program that uses a common name for itself keeps it. */
    describe_program(r);
    r->options[0] = (nh_option){NH_OPT_FLAG, 'v', "version", NULL, &r->got.flag, NULL, NULL, "own meaning"};
    parse(r, "--version|-v");
    assert_int_equal(r->status, -1);
    assert_true(r->got.flag);
    assert_int_equal(r->common.verbose, 0);
    nh_common_free(&r->common);
    parse(r, "--help");
    assert_non_null(strstr(r->out, "      --verbose "));
    free(r);
}

static void devices(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        nh_device_choice c;
    } good[] = {{"cpu", {NH_DEVICE_CPU, 0, {0}, false}},
                {"auto", {NH_DEVICE_AUTO, 0, {0}, false}},
                {"auto,tf32", {NH_DEVICE_AUTO, 0, {0}, true}},
                {"cuda", {NH_DEVICE_CUDA, 0, {0}, false}},
                {"cuda:3", {NH_DEVICE_CUDA, 1, {3}, false}},
                {"cuda,tf32", {NH_DEVICE_CUDA, 0, {0}, true}},
                {"cuda:12,tf32", {NH_DEVICE_CUDA, 1, {12}, true}},
                {"cuda:0,2", {NH_DEVICE_CUDA, 2, {0, 2}, false}},
                {"cuda:2,0,5,tf32", {NH_DEVICE_CUDA, 3, {2, 0, 5}, true}}};
    nh_device_choice c;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(nh_device_parse(good[i].text, &c), 0);
        assert_true(c.kind == good[i].c.kind && c.n_index == good[i].c.n_index && c.tf32 == good[i].c.tf32);
        assert_memory_equal(c.index, good[i].c.index, sizeof c.index);
    }
    static const char *const bad[] = {
        "",           "cud",    "cpu:0",   "auto:1",   "cuda:-1",   "cuda:1x",      "cuda:99999999999",
        "cuda,tf32,", "cuda,1", "cuda:1,", "cuda:1,1", "cuda:0,,1", "cuda:0,tf32,1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(nh_device_parse(bad[i], &c), -1);
    nh_error err;
    assert_int_equal(nh_device_check_several("cuda:0,2", &err), 0);
    assert_int_equal(nh_device_check_several("cuda:0,0", &err), -1);
    assert_string_equal(err.text, "cpu, auto or cuda[:I[,J]...][,tf32] expected, found 'cuda:0,0'");
}

static void help(void **state)
{
    (void)state;
    run *r = run_line("--help|--nonsense");
    assert_int_equal(r->status, 0);
    assert_string_equal(r->err, "");
    static const char expected[] = "Usage: example [options] [-o OUT] [IN]\n"
                                   "       example --mesh N1 N2 N3 IN\n"
                                   "\n"
                                   "structure in, graph out\n"
                                   "\n"
                                   "Options:\n"
                                   "  -f, --flag                a flag\n";
    assert_int_equal(strncmp(r->out, expected, strlen(expected)), 0);
    static const char *const parts[] = {
        "\n\nPhysics:\n      --cutoff R            range of an edge",
        "\n      --precision single|double\n                            number type [double]\n",
        "\n  -s, --set KEY=VALUE       'quoted' text. .dots and \\slashes\n",
        "\n  -j, --threads N ",
        "\n      --device cpu|cuda[:I]|auto\n                            where to compute [cpu]; ",
        "\n  -h, --help ",
        "\nExample:\n  example --mesh 8 8 8 'a b' | other\n  example \\\n    -x\n"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strstr(r->out, parts[i]) == NULL) fail_msg("no '%s' in\n%s", parts[i], r->out);
    assert_null(strstr(r->out, "--man"));
    for (const char *p = r->out; *p != '\0'; p += strcspn(p, "\n") + 1)
        assert_true(strcspn(p, "\n") <= 81); /* one of the bytes may be the second of an Å */
    free(r);
    r = run_line("-s|x|in|-h");
    assert_int_equal(r->status, 0);
    assert_int_equal(strncmp(r->out, expected, strlen(expected)), 0);
    free(r);
}

static void version(void **state)
{
    (void)state;
    run *r = run_line("--version");
    assert_int_equal(r->status, 0);
    char first[64];
    snprintf(first, sizeof first, "example (nextham %s)\n", nh_version());
    assert_int_equal(strncmp(r->out, first, strlen(first)), 0);
    static const char *const parts[] = {"\nnetCDF: 4.", "\nBLAS: OpenBLAS ", "\ncompiler: ", "\nCUDA: "};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        assert_non_null(strstr(r->out, parts[i]));
    free(r);
}

static void man_page(void **state)
{
    (void)state;
    run *r = run_line("--man");
    assert_int_equal(r->status, 0);
    static const char *const parts[] = {
        ".TH \"EXAMPLE\" 1 ",
        "\n.SH NAME\nexample \\- structure in, graph out\n",
        "\n.SH SYNOPSIS\n",
        ("\n.SH DESCRIPTION\nReads a\\-b and C:\\edir, \\(tix\\(ha2 of \\(gay\\(aq.\n\\&.leading "
         "dot\n\\&\\(aqleading"),
        "\n  verbatim line\n",
        "\nLengths in \\[u00C5].\n",
        "\n.SH OPTIONS\n",
        "\n\\fB\\-s\\fR, \\fB\\-\\-set\\fR \\fIKEY=VALUE\\fR\n\\&\\(aqquoted\\(aq text.",
        "\n.SH EXIT STATUS\n",
        "\n.SH EXAMPLES\n",
        "\n.SH SEE ALSO\nother(1), one\\-more(1)\n"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strstr(r->out, parts[i]) == NULL) fail_msg("no '%s' in\n%s", parts[i], r->out);
    assert_null(strstr(r->out, "\\-\\-man"));
    free(r);
}

/* What groff makes of the page: no warning, and the text as it was written. */
static void man_page_through_groff(void **state)
{
    (void)state;
    if (system("groff -v >/dev/null 2>&1") != 0) skip();
    run *r = run_line("--man");
    char page[] = "/tmp/nh_test_man_XXXXXX", command[200], text[20000];
    int fd = mkstemp(page);
    assert_true(fd >= 0);
    FILE *f = fdopen(fd, "w");
    assert_non_null(f);
    fputs(r->out, f);
    fclose(f);
    snprintf(command, sizeof command, "groff -man -ww -Tutf8 -P-cbou %s 2>&1", page);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    text[fread(text, 1, sizeof text - 1, p)] = '\0';
    assert_int_equal(pclose(p), 0);
    unlink(page);
    free(r);
    if (strstr(text, "warning:") != NULL) fail_msg("%s", text);
    assert_null(strstr(text, "error:"));
    static const char *const parts[] = {"C:\\dir, ~x^2 of `y'.",
                                        ".leading dot 'leading",
                                        "  verbatim line\n",
                                        "  .TH in the text\n",
                                        "  \\fBno font\n",
                                        "Lengths in \xc3\x85.",
                                        "-s, --set KEY=VALUE\n",
                                        "'quoted' text. .dots and \\slashes\n",
                                        "example --mesh 8 8 8 'a b' | other\n",
                                        "example \\\n"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strstr(text, parts[i]) == NULL) fail_msg("no '%s' in\n%s", parts[i], text);
}

static void full_disk(void **state)
{
    (void)state;
    run *r = NH_ARRAY(run, 1);
    assert_non_null(r);
    describe_program(r);
    char *argv[] = {(char[]){"example"}, (char[]){"--help"}, NULL};
    FILE *full = fopen("/dev/full", "w");
    if (full == NULL) skip();
    fflush(stdout);
    int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO);
    FILE *caught = tmpfile();
    assert_non_null(caught);
    dup2(fileno(full), STDOUT_FILENO);
    dup2(fileno(caught), STDERR_FILENO);
    r->status = nh_parse(&r->program, 2, argv, &r->common);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    close(out);
    close(err);
    clearerr(stdout);
    fclose(full);
    read_back(caught, r->err, sizeof r->err);
    assert_int_equal(r->status, 1);
    assert_string_equal(r->err, "example: standard output: No space left on device\n");
    free(r);
}

/* The command line, given to a shell, is the same command again. */
static void command_line_for_the_history(void **state)
{
    (void)state;
    run *r = good("a b|--set=it's|--model=");
    assert_string_equal(r->common.command_line, "example 'a b' '--set=it'\\''s' --model=");
    finish(r);
    r = good("|a\nb'c\\d\te");
    assert_string_equal(r->common.command_line, "example '' $'a\\012b\\'c\\\\d\\011e'");
    assert_null(strchr(r->common.command_line, '\n'));
    finish(r);
    r = good("$HOME|a;b~*");
    assert_string_equal(r->common.command_line, "example '$HOME' 'a;b~*'");
    finish(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(all_kinds),
        cmocka_unit_test(spellings),
        cmocka_unit_test(ranges),
        cmocka_unit_test(lists_grow),
        cmocka_unit_test(wrong_command_lines),
        cmocka_unit_test(numbers_of_inputs),
        cmocka_unit_test(common_options_where_they_belong),
        cmocka_unit_test(devices),
        cmocka_unit_test(help),
        cmocka_unit_test(version),
        cmocka_unit_test(man_page),
        cmocka_unit_test(man_page_through_groff),
        cmocka_unit_test(full_disk),
        cmocka_unit_test(command_line_for_the_history),
    };
    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
