#include "base/options_internal.h"

#include "base/version.h"

#include <cblas.h>
#include <netcdf.h>
#include <stdio.h>
#include <string.h>

enum { HELP_WIDTH = 80, HELP_COLUMN = 28 };

void nh_option_argument(const nh_option *option, char *buffer, size_t size)
{
    buffer[0] = '\0';
    if (option->arg != NULL) {
        snprintf(buffer, size, "%s", option->arg);
    } else if (option->kind == NH_OPT_CHOICE) {
        size_t used = 0;
        for (size_t i = 0; option->choices[i] != NULL && used < size; i++) {
            int n = snprintf(buffer + used, size - used, "%s%s", i > 0 ? "|" : "", option->choices[i]);
            if (n < 0) return;
            used += (size_t)n;
        }
    }
}

/* Prints one paragraph filled to HELP_WIDTH columns, its further lines indented by `indent`; the cursor is in
 * column `indent` already. */
static void print_filled(const char *text, int indent)
{
    int column = indent;
    bool first = true;
    while (*text != '\0') {
        int length = (int)strcspn(text, " \n");
        if (length > 0) {
            if (!first && column + 1 + length > HELP_WIDTH) {
                printf("\n%*s", indent, "");
                column = indent;
                first = true;
            }
            if (!first) {
                putchar(' ');
                column++;
            }
            printf("%.*s", length, text);
            column += length;
            first = false;
        }
        text += length;
        if (*text != '\0') text++;
    }
    putchar('\n');
}

/* Prints the lines of `text`, each after `before`. */
static void print_lines(const char *before, const char *text)
{
    while (*text != '\0') {
        int length = (int)strcspn(text, "\n");
        printf("%s%.*s\n", before, length, text);
        text += length;
        if (*text == '\n') text++;
    }
}

void nh_print_help(const nh_program *program, const nh_option_table *t)
{
    for (size_t i = 0; program->synopsis != NULL && program->synopsis[i] != NULL; i++)
        printf("%s %s %s\n", i == 0 ? "Usage:" : "      ", program->name, program->synopsis[i]);
    if (program->summary != NULL) {
        putchar('\n');
        print_filled(program->summary, 0);
    }
    if (t->count > 0 && t->option[0].kind != NH_OPT_HEADING) printf("\nOptions:\n");
    for (size_t i = 0; i < t->count; i++) {
        const nh_option *option = &t->option[i];
        if (option->kind == NH_OPT_HEADING) {
            printf("\n%s:\n", option->help);
            continue;
        }
        if (!nh_option_listed(option)) continue;
        char argument[256], shorter[8] = "   ";
        nh_option_argument(option, argument, sizeof argument);
        if (option->short_name != 0) snprintf(shorter, sizeof shorter, "-%c,", option->short_name);
        int column =
            printf("  %s --%s%s%s", shorter, option->long_name, argument[0] != '\0' ? " " : "", argument);
        if (column > HELP_COLUMN - 2) {
            putchar('\n');
            column = 0;
        }
        printf("%*s", HELP_COLUMN - column, "");
        print_filled(option->help, HELP_COLUMN);
    }
    if (program->example != NULL) {
        printf("\nExample:\n");
        print_lines("  ", program->example);
    }
}

void nh_print_version(const nh_program *program)
{
    printf("%s (nextham %s)\n", program->name, nh_version());
    /* nc_inq_libvers ends in a blank. */
    const char *netcdf = nc_inq_libvers();
    int length = (int)strlen(netcdf);
    while (length > 0 && netcdf[length - 1] == ' ')
        length--;
    printf("netCDF: %.*s\n", length, netcdf);
    const char *blas = openblas_get_config();
    length = (int)strlen(blas);
    while (length > 0 && blas[length - 1] == ' ')
        length--;
    printf("BLAS: %.*s\n", length, blas);
#ifdef __clang__
    printf("compiler: %s\n", __VERSION__);
#else
    printf("compiler: GCC %s\n", __VERSION__);
#endif
    printf("CUDA: %s\n",
           program->device != NULL ? "--device loads libnhkernels.so" : "not used by this program");
}
