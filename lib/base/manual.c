#include "base/options_internal.h"

#include "base/version.h"

#include <stdio.h>
#include <string.h>

/* Length and code point of the UTF-8 sequence at `text`; a byte that begins none stands for itself (Latin-1).
 */
static int decode_utf8(const char *text, unsigned *code)
{
    const unsigned char *s = (const unsigned char *)text;
    int length = s[0] < 0xc0 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    *code = length == 1 ? s[0] : s[0] & (0xffu >> (length + 1));
    for (int i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            *code = s[0];
            return 1;
        }
        *code = *code << 6 | (s[i] & 0x3fu);
    }
    return length;
}

/* Prints `length` bytes of plain text so that roff shows them as they are. */
static void man_escape(const char *text, size_t length)
{
    /* In the middle of an output line these two are harmless, and so is the \& before them. */
    if (length > 0 && (text[0] == '.' || text[0] == '\'')) printf("\\&");
    for (size_t i = 0; i < length;) {
        unsigned code;
        int bytes = decode_utf8(text + i, &code);
        switch (code) {
        case '\\':
            printf("\\e");
            break;
        case '-':
            printf("\\-");
            break;
        case '~':
            printf("\\(ti");
            break;
        case '^':
            printf("\\(ha");
            break;
        case '`':
            printf("\\(ga");
            break;
        case '\'':
            printf("\\(aq");
            break;
        default:
            if (code < 0x80)
                putchar((int)code);
            else
                printf("\\[u%04X]", code);
        }
        i += (size_t)bytes;
    }
}

static void man_font(char font, const char *text)
{
    printf("\\f%c", font);
    man_escape(text, strlen(text));
    printf("\\fR");
}

/* Lines as they stand. A backslash or dot at the beginning of a line is escaped like everywhere. */
static void man_verbatim(const char *text, size_t length)
{
    printf(".PP\n.in +4n\n.EX\n");
    while (length > 0) {
        const char *newline = memchr(text, '\n', length);
        size_t line = newline != NULL ? (size_t)(newline - text) : length;
        man_escape(text, line);
        putchar('\n');
        size_t taken = line + (newline != NULL ? 1 : 0);
        text += taken;
        length -= taken;
    }
    printf(".EE\n.in\n");
}

/* Paragraphs are separated by empty lines; one that begins with a blank is shown as it stands. */
static void man_paragraphs(const char *text)
{
    bool first = true;
    while (*text != '\0') {
        while (*text == '\n')
            text++;
        if (*text == '\0') return;
        const char *end = strstr(text, "\n\n");
        size_t length = end != NULL ? (size_t)(end - text) : strlen(text);
        if (*text == ' ') {
            man_verbatim(text, length);
        } else {
            if (!first) printf(".PP\n");
            for (size_t i = 0; i < length;) {
                size_t line = strcspn(text + i, "\n");
                if (line > length - i) line = length - i;
                size_t skip = strspn(text + i, " ");
                if (skip < line) {
                    man_escape(text + i + skip, line - skip);
                    putchar('\n');
                }
                i += line + 1;
            }
        }
        first = false;
        text += length;
    }
}

void nh_print_man(const nh_program *program, const nh_option_table *t)
{
    printf(".TH \"");
    for (const char *c = program->name; *c != '\0'; c++)
        putchar(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
    printf("\" 1 \"\" \"nextham %s\" \"NextHAM manual\"\n", nh_version());
    /* Ragged right and no hyphenation: names of options and files must not be broken. */
    printf(".nh\n.ad l\n.SH NAME\n");
    man_escape(program->name, strlen(program->name));
    printf(" \\- ");
    if (program->summary != NULL) man_escape(program->summary, strlen(program->summary));
    printf("\n.SH SYNOPSIS\n");
    for (size_t i = 0; program->synopsis != NULL && program->synopsis[i] != NULL; i++) {
        if (i > 0) printf(".br\n");
        man_font('B', program->name);
        putchar(' ');
        man_escape(program->synopsis[i], strlen(program->synopsis[i]));
        putchar('\n');
    }
    if (program->description != NULL) {
        printf(".SH DESCRIPTION\n");
        man_paragraphs(program->description);
    }
    printf(".SH OPTIONS\n");
    for (size_t i = 0; i < t->count; i++) {
        const nh_option *option = &t->option[i];
        if (option->kind == NH_OPT_HEADING) {
            printf(".SS ");
            man_escape(option->help, strlen(option->help));
            putchar('\n');
            continue;
        }
        if (!nh_option_listed(option)) continue;
        printf(".TP\n");
        if (option->short_name != 0) {
            char shorter[] = {'-', option->short_name, '\0'};
            man_font('B', shorter);
            printf(", ");
        }
        printf("\\fB\\-\\-");
        man_escape(option->long_name, strlen(option->long_name));
        printf("\\fR");
        char argument[256];
        nh_option_argument(option, argument, sizeof argument);
        if (argument[0] != '\0') {
            putchar(' ');
            man_font(option->arg == NULL ? 'B' : 'I', argument);
        }
        putchar('\n');
        man_paragraphs(option->help);
    }
    printf(
        ".SH EXIT STATUS\n.TP\n.B 0\nSuccess.\n.TP\n.B 1\nFailure: bad data, a file that cannot be read or "
        "written, a computation that failed.\nOne line on standard error says where and what.\n.TP\n.B "
        "2\nA wrong command line.\n");
    if (program->example != NULL) {
        printf(".SH EXAMPLES\n");
        man_verbatim(program->example, strlen(program->example));
    }
    if (program->see_also != NULL) {
        printf(".SH SEE ALSO\n");
        man_escape(program->see_also, strlen(program->see_also));
        putchar('\n');
    }
}
