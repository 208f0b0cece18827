#include "base/options_internal.h"

#include "base/memory.h"
#include "base/printable.h"
#include "base/threads.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_THREADS = 4096, MAX_COMMON = 12 };

/* What the three self-describing options do; they are flags whose target is one of the fields. */
typedef struct requests {
    bool help, version, man;
} requests;

static void say(const char *name, const char *kind, const char *text)
{
    fprintf(stderr, "%s: %s", name, kind);
    nh_put_printable(stderr, text);
    fputc('\n', stderr);
}

/* One line about a wrong command line. Returns 2, the exit status that goes with it. */
__attribute__((format(printf, 2, 3))) static int usage_error(const nh_program *program, const char *format,
                                                             ...)
{
    nh_error line;
    va_list args;
    va_start(args, format);
    vsnprintf(line.text, sizeof line.text, format, args);
    va_end(args);
    say(program->name, "", line.text);
    return 2;
}

/* The same for a failed allocation, which is no fault of the command line. Returns 1. */
static int no_memory(const nh_program *program, const char *what)
{
    nh_error line;
    nh_fail_memory(&line, what);
    return nh_report(program, &line);
}

static const nh_option *find_long(const nh_option_table *t, const char *name, size_t length)
{
    for (size_t i = 0; i < t->count; i++) {
        const char *have = t->option[i].long_name;
        if (have != NULL && strlen(have) == length && strncmp(have, name, length) == 0) return &t->option[i];
    }
    return NULL;
}

static const nh_option *find_short(const nh_option_table *t, char name)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->option[i].kind != NH_OPT_HEADING && t->option[i].short_name == name) return &t->option[i];
    return NULL;
}

static void add_common(nh_option_table *t, nh_option option)
{
    if (option.kind != NH_OPT_HEADING) {
        if (find_long(t, option.long_name, strlen(option.long_name)) != NULL) return;
        if (option.short_name != 0 && find_short(t, option.short_name) != NULL) option.short_name = 0;
    }
    t->option[t->count++] = option;
}

static int build_table(const nh_program *program, nh_common *common, requests *wanted, nh_option_table *t)
{
    t->count = 0;
    t->option = NH_ARRAY(nh_option, program->n_options + MAX_COMMON);
    if (t->option == NULL) return -1;
    for (size_t i = 0; i < program->n_options; i++)
        t->option[t->count++] = program->options[i];
    add_common(t, (nh_option){.kind = NH_OPT_HEADING, .help = "Common options"});
    if (!program->no_output)
        add_common(t, (nh_option){NH_OPT_STRING, 'o', "output", "FILE", (void *)&common->output, NULL, NULL,
                                  "write to FILE [-: standard output]"});
    if (program->computes)
        add_common(t, (nh_option){NH_OPT_INT, 'j', "threads", "N", &common->threads, NULL, NULL,
                                  "threads to compute with [all cores the process may use]"});
    if (program->device != NULL) add_common(t, *program->device);
    if (!program->no_output)
        add_common(t, (nh_option){NH_OPT_UNSET, 0, "no-history", NULL, &common->history, NULL, NULL,
                                  "leave out the history attribute of a netCDF output"});
    add_common(t, (nh_option){NH_OPT_FLAG, 'q', "quiet", NULL, &common->quiet, NULL, NULL,
                              "no progress and no warnings on standard error"});
    add_common(t, (nh_option){NH_OPT_FLAG, 'v', "verbose", NULL, &common->verbose, NULL, NULL,
                              "say more on standard error; twice: more still"});
    add_common(t, (nh_option){NH_OPT_FLAG, 'h', "help", NULL, &wanted->help, NULL, NULL, "show this help"});
    add_common(t, (nh_option){NH_OPT_FLAG, 0, "version", NULL, &wanted->version, NULL, NULL,
                              "show the versions of the program and its libraries"});
    add_common(t, (nh_option){NH_OPT_FLAG, 0, "man", NULL, &wanted->man, NULL, NULL, NULL});
    return 0;
}

/* A full disk behind `prog --help > file` is a failure too. */
static int finish_stdout(const nh_program *program)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) return 0;
    fprintf(stderr, "%s: standard output: %s\n", program->name, strerror(errno));
    return 1;
}

static int list_add(nh_list *list, const char *item)
{
    if (!nh_grow_one(&list->item, list->count, sizeof *list->item)) return -1;
    list->item[list->count++] = item;
    return 0;
}

void nh_list_free(nh_list *list)
{
    free(list->item);
    *list = (nh_list){0};
}

static bool parse_long(const char *text, long low, long high, long *out)
{
    char *end;
    if (*text == '\0' || *text == ' ') return false;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno != 0 || *end != '\0' || value < low || value > high) return false;
    *out = value;
    return true;
}

static bool parse_uint64(const char *text, uint64_t *out)
{
    char *end;
    if (*text < '0' || *text > '9') return false;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0') return false;
    *out = value;
    return true;
}

/* A finite number that ends where `stop` says ('\0' or ':'); *rest is set to that place. */
static bool parse_real(const char *text, char stop, double *out, const char **rest)
{
    char *end;
    if (*text == '\0' || *text == ' ') return false;
    double value = strtod(text, &end);
    if (end == text || *end != stop || !isfinite(value)) return false;
    *out = value;
    if (rest != NULL) *rest = end;
    return true;
}

/* "LO:HI" into range[2]; a side that is empty leaves its number alone. */
static bool parse_range(const char *text, double range[2])
{
    double low = range[0], high = range[1];
    const char *colon = strchr(text, ':');
    if (colon == NULL) return false;
    if (colon > text && !parse_real(text, ':', &low, &colon)) return false;
    if (colon[1] != '\0' && !parse_real(colon + 1, '\0', &high, NULL)) return false;
    if (low > high) return false;
    range[0] = low;
    range[1] = high;
    return true;
}

static bool takes_argument(const nh_option *option)
{
    return option->kind != NH_OPT_FLAG && option->kind != NH_OPT_UNSET;
}

/* Stores one option. `value` is its first argument; argv[*next] is the next one, *next moves on by those that
 * are taken. `shown` is the option as the user wrote it. Returns 0 or an exit status. */
static int store(const nh_program *program, const nh_option *option, const char *shown, const char *value,
                 int argc, char **argv, int *next)
{
    if (option->given != NULL) *option->given = true;
    switch (option->kind) {
    case NH_OPT_HEADING:
        break;
    case NH_OPT_FLAG:
        *(bool *)option->target = true;
        break;
    case NH_OPT_UNSET:
        *(bool *)option->target = false;
        break;
    case NH_OPT_STRING:
        *(const char **)option->target = value;
        break;
    case NH_OPT_CHECKED: {
        nh_checked *to = option->target;
        nh_error err;
        if (to->check(value, &err)) return usage_error(program, "%s: %s", shown, err.text);
        to->text = value;
        break;
    }
    case NH_OPT_INT: {
        long number;
        if (!parse_long(value, INT_MIN, INT_MAX, &number))
            return usage_error(program, "%s: integer expected, found '%s'", shown, value);
        *(int *)option->target = (int)number;
        break;
    }
    case NH_OPT_UINT64:
        if (!parse_uint64(value, option->target))
            return usage_error(program, "%s: non-negative integer expected, found '%s'", shown, value);
        break;
    case NH_OPT_REAL:
        if (!parse_real(value, '\0', option->target, NULL))
            return usage_error(program, "%s: number expected, found '%s'", shown, value);
        break;
    case NH_OPT_CHOICE: {
        int index = 0;
        while (option->choices[index] != NULL && strcmp(option->choices[index], value) != 0)
            index++;
        if (option->choices[index] == NULL) {
            char known[256];
            nh_option bare = *option;
            bare.arg = NULL;
            nh_option_argument(&bare, known, sizeof known);
            return usage_error(program, "%s: one of %s expected, found '%s'", shown, known, value);
        }
        *(int *)option->target = index;
        break;
    }
    case NH_OPT_INTS3: {
        int numbers[3];
        for (int i = 0; i < 3; i++) {
            if (i > 0) {
                if (*next >= argc)
                    return usage_error(program, "%s: 3 arguments expected (%s), found %d", shown,
                                       option->arg != NULL ? option->arg : "N1 N2 N3", i);
                value = argv[(*next)++];
            }
            long number;
            if (!parse_long(value, INT_MIN, INT_MAX, &number))
                return usage_error(program, "%s: 3 integers expected, found '%s'", shown, value);
            numbers[i] = (int)number;
        }
        memcpy(option->target, numbers, sizeof numbers);
        break;
    }
    case NH_OPT_RANGE:
        if (!parse_range(value, option->target))
            return usage_error(program, "%s: LOW:HIGH with LOW <= HIGH expected, found '%s'", shown, value);
        break;
    case NH_OPT_LIST:
        if (list_add(option->target, value) != 0) return no_memory(program, shown);
        break;
    }
    return 0;
}

/* Parses the option argv[*next] and what belongs to it. Returns 0 or an exit status. */
static int parse_option(const nh_program *program, const nh_option_table *t, nh_common *common, int argc,
                        char **argv, int *next)
{
    const char *word = argv[(*next)++];
    char shown[128];
    const nh_option *option;
    const char *value = NULL;
    if (word[1] == '-') {
        size_t length = strcspn(word + 2, "=");
        snprintf(shown, sizeof shown, "--%.*s", (int)(length < 100 ? length : 100), word + 2);
        option = find_long(t, word + 2, length);
        if (word[2 + length] == '=') value = word + 3 + length;
    } else {
        snprintf(shown, sizeof shown, "-%c", word[1]);
        option = find_short(t, word[1]);
        if (option != NULL && word[2] != '\0') {
            if (!takes_argument(option)) option = NULL; /* short flags do not combine */
            value = word + 2;
        }
        if (option == NULL) snprintf(shown, sizeof shown, "%.100s", word);
    }
    if (option == NULL)
        return usage_error(program, "unknown option '%s' (%s --help lists the options)", shown,
                           program->name);
    if (takes_argument(option)) {
        if (value == NULL && *next < argc) value = argv[(*next)++];
        if (value == NULL) {
            char argument[256];
            nh_option_argument(option, argument, sizeof argument);
            return usage_error(program, "%s: argument missing (%s)", shown, argument);
        }
    } else if (value != NULL) {
        return usage_error(program, "%s: takes no argument, found '%s'", shown, value);
    }
    if (option->target == &common->verbose) {
        common->verbose++;
        return 0;
    }
    return store(program, option, shown, value, argc, argv, next);
}

/* One word as a shell would have to be given it; appended to `out`, or only measured where that is NULL. */
static size_t quote(const char *word, char *out)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+./:,=@%";
    size_t length = strlen(word), used = 0;
    if (length > 0 && strspn(word, plain) == length) {
        if (out != NULL) memcpy(out, word, length);
        return length;
    }
    /* A history attribute has one line for each command, so control characters must not go in as they are. */
    bool control = false;
    for (size_t i = 0; i < length; i++)
        control |= (unsigned char)word[i] < ' ' || word[i] == 0x7f;
    char piece[8];
    for (size_t i = 0; i < length + 2; i++) {
        size_t n;
        if (i == 0)
            n = (size_t)snprintf(piece, sizeof piece, "%s", control ? "$'" : "'");
        else if (i == length + 1)
            n = (size_t)snprintf(piece, sizeof piece, "'");
        else if (word[i - 1] == '\'')
            n = (size_t)snprintf(piece, sizeof piece, "%s", control ? "\\'" : "'\\''");
        else if (control && word[i - 1] == '\\')
            n = (size_t)snprintf(piece, sizeof piece, "\\\\");
        else if (control && ((unsigned char)word[i - 1] < ' ' || word[i - 1] == 0x7f))
            n = (size_t)snprintf(piece, sizeof piece, "\\%03o", (unsigned)word[i - 1]);
        else
            n = (size_t)snprintf(piece, sizeof piece, "%c", word[i - 1]);
        if (out != NULL) memcpy(out + used, piece, n);
        used += n;
    }
    return used;
}

static char *join_command(int argc, char **argv)
{
    size_t total = 1;
    for (int i = 0; i < argc; i++)
        total += quote(argv[i], NULL) + 1;
    char *text = NH_ARRAY(char, total);
    if (text == NULL) return NULL;
    size_t used = 0;
    for (int i = 0; i < argc; i++) {
        if (i > 0) text[used++] = ' ';
        used += quote(argv[i], text + used);
    }
    return text;
}

static int check_inputs(const nh_program *program, const nh_common *common)
{
    size_t found = common->inputs.count;
    if (found < program->min_inputs) {
        if (program->min_inputs == 1) return usage_error(program, "input missing (%s --help)", program->name);
        return usage_error(program, "at least %zu inputs expected, found %zu", program->min_inputs, found);
    }
    if (found > program->max_inputs) {
        const char *extra = common->inputs.item[program->max_inputs];
        if (program->max_inputs == 0) return usage_error(program, "unexpected argument '%s'", extra);
        return usage_error(program, "at most %zu input%s expected, found %zu (unexpected: '%s')",
                           program->max_inputs, program->max_inputs == 1 ? "" : "s", found, extra);
    }
    return 0;
}

static int parse_all(const nh_program *program, const nh_option_table *t, const requests *wanted, int argc,
                     char **argv, nh_common *common)
{
    bool options_end = false;
    for (int next = 1; next < argc;) {
        const char *word = argv[next];
        if (options_end || word[0] != '-' || word[1] == '\0') {
            if (list_add(&common->inputs, word) != 0) return no_memory(program, "inputs");
            next++;
            continue;
        }
        if (strcmp(word, "--") == 0) {
            options_end = true;
            next++;
            continue;
        }
        int status = parse_option(program, t, common, argc, argv, &next);
        if (status != 0) return status;
        if (wanted->help || wanted->version || wanted->man) {
            if (wanted->help)
                nh_print_help(program, t);
            else if (wanted->version)
                nh_print_version(program);
            else
                nh_print_man(program, t);
            return finish_stdout(program);
        }
    }
    int status = check_inputs(program, common);
    if (status != 0) return status;
    if (common->threads < 1 || common->threads > MAX_THREADS)
        return usage_error(program, "--threads: 1 to %d expected, found %d", MAX_THREADS, common->threads);
    return -1;
}

int nh_parse(const nh_program *program, int argc, char **argv, nh_common *common)
{
    *common = (nh_common){.output = "-", .threads = nh_cores(), .history = true};
    if (common->threads > MAX_THREADS) common->threads = MAX_THREADS;
    requests wanted = {false, false, false};
    nh_option_table t;
    common->command_line = join_command(argc, argv);
    if (common->command_line == NULL || build_table(program, common, &wanted, &t) != 0) {
        no_memory(program, "the command line");
        nh_common_free(common);
        return 1;
    }
    int status = parse_all(program, &t, &wanted, argc, argv, common);
    if (status != -1) {
        nh_common_free(common);
        for (size_t i = 0; i < program->n_options; i++)
            if (program->options[i].kind == NH_OPT_LIST) nh_list_free(program->options[i].target);
    }
    free(t.option);
    return status;
}

void nh_common_free(nh_common *common)
{
    free(common->command_line);
    common->command_line = NULL;
    nh_list_free(&common->inputs);
}

const char *nh_input(const nh_common *common)
{
    return common->inputs.count > 0 ? common->inputs.item[0] : "-";
}

int nh_report(const nh_program *program, const nh_error *err)
{
    fflush(stdout);
    say(program->name, "", err->text);
    return 1;
}

void nh_remark(const char *name, const char *format, ...)
{
    nh_error line;
    va_list args;
    va_start(args, format);
    vsnprintf(line.text, sizeof line.text, format, args);
    va_end(args);
    say(name, "", line.text);
}

void nh_warn(const nh_program *program, const nh_common *common, const char *format, ...)
{
    if (common->quiet) return;
    nh_error line;
    va_list args;
    va_start(args, format);
    vsnprintf(line.text, sizeof line.text, format, args);
    va_end(args);
    say(program->name, "warning: ", line.text);
}
