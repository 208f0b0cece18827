/* options_internal.h - the table of a program's options, for the parser (options.c), --help and --version (help.c) and the
 * manual page (manual.c). */
#ifndef NH_BASE_OPTIONS_INTERNAL_H
#define NH_BASE_OPTIONS_INTERNAL_H

#include "base/options.h"

/* The program's options followed by the common ones, less those whose name the program has taken. */
typedef struct nh_option_table {
    nh_option *option;
    size_t count;
} nh_option_table;

/* --man is for the Makefile, not for users: it has no help text and is not listed. */
static inline bool nh_option_listed(const nh_option *option)
{
    return option->help != NULL;
}

/* The argument as shown to the user: "FILE", "cpu|cuda", or "" for flags. */
void nh_option_argument(const nh_option *option, char *buffer, size_t size);

/* To standard output. */
void nh_print_help(const nh_program *program, const nh_option_table *t);
void nh_print_version(const nh_program *program);
void nh_print_man(const nh_program *program, const nh_option_table *t);

#endif
