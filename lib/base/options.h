/* options.h - command lines, described once.
 *
 * A program describes itself in an nh_program: name, synopsis, text, its table of options. From that one
 * source come the parsing, `--help`, `--version` and the man page (`--man`, used by the Makefile), so they
 * cannot disagree. The parser adds the options that every program has (nh_common). */
#ifndef NH_BASE_OPTIONS_H
#define NH_BASE_OPTIONS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

typedef enum nh_option_kind {
    NH_OPT_HEADING, /* no option: `help` is a heading in --help and in the man page */
    NH_OPT_FLAG,    /* bool *: set to true */
    NH_OPT_UNSET,   /* bool *: set to false (--no-...) */
    NH_OPT_STRING,  /* const char **: points into argv */
    NH_OPT_INT,     /* int * */
    NH_OPT_UINT64,  /* uint64_t * */
    NH_OPT_REAL,    /* double *: finite */
    NH_OPT_CHOICE,  /* int *: index into `choices` */
    NH_OPT_INTS3,   /* int [3]: takes three arguments, as --mesh 8 8 8 */
    NH_OPT_RANGE,   /* double [2]: LO:HI, either side may be empty (then untouched); LO <= HI */
    NH_OPT_LIST,    /* nh_list *: repeatable, every argument is kept */
    NH_OPT_CHECKED  /* nh_checked *: text that its own rule must accept */
} nh_option_kind;

typedef struct nh_list {
    size_t count;
    const char **item; /* pointers into argv; owned array, freed with nh_list_free */
} nh_list;

/* Text with a rule. `check` returns 0, or -1 and in *err what is wrong, which the parser prints after the option's name. */
typedef struct nh_checked {
    const char *text; /* the default, or points into argv */
    int (*check)(const char *text, nh_error *err);
} nh_checked;

typedef struct nh_option {
    nh_option_kind kind;
    char short_name;            /* 0: none */
    const char *long_name;      /* without dashes */
    const char *arg;            /* "FILE", "N1 N2 N3"; NULL for flags and choices */
    void *target;               /* what the kind says */
    const char *const *choices; /* NULL-terminated, NH_OPT_CHOICE only */
    bool *given;                /* set to true where the option was given; may be NULL */
    const char *help;           /* one line; shows the default in brackets */
} nh_option;

typedef struct nh_program {
    const char *name;
    const char *summary;         /* one line: "structure (and matrices) in, graph out" */
    const char *const *synopsis; /* NULL-terminated lines without the name */
    const char *description;     /* paragraphs separated by an empty line; plain text */
    const nh_option *options;
    size_t n_options;
    size_t min_inputs, max_inputs; /* positional arguments */
    bool computes;                 /* has --threads */
    const nh_option *device;       /* --device among the common options (device/choice.h); NULL: none */
    bool no_output;                /* has no -o */
    const char *example;           /* one or more command lines, one a line */
    const char *see_also;          /* "h0embed(1), nhinfer(1)" */
} nh_program;

typedef struct nh_common {
    const char *output; /* "-" is standard output, the default */
    int threads;        /* -j; default: all cores the process may use */
    bool quiet;
    int verbose;        /* number of -v */
    bool history;       /* false after --no-history */
    char *command_line; /* the whole command, for the history attribute */
    nh_list inputs;     /* positional arguments; empty means standard input */
} nh_common;

/* Parses argv. Returns -1 to go on, otherwise the exit status with which the program must end now
 * (0 after --help, --version, --man; 2 after one line about a wrong command line). Options may stand after
 * inputs; "--" ends them. "--long=value" and "--long value" are the same; short flags do not combine. */
int nh_parse(const nh_program *program, int argc, char **argv, nh_common *common);

/* Frees what nh_parse allocated in `common` (lists that are targets of NH_OPT_LIST: nh_list_free). */
void nh_common_free(nh_common *common);
void nh_list_free(nh_list *list);

/* The only input, "-" where none was given. */
const char *nh_input(const nh_common *common);

/* What programs say on stderr; control characters, which a file's content may bring, are made visible (printable.h).
 *
 * Flushes stdout and prints "name: text". Returns 1, the exit status of a failure. */
int nh_report(const nh_program *program, const nh_error *err);

/* Prints "NAME: ...": what was found or chosen. */
void nh_remark(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints "name: warning: ..." on stderr unless quiet. */
void nh_warn(const nh_program *program, const nh_common *common, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
