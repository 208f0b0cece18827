/* printable.h - text that may come from a file, on its way to a terminal: an escape sequence in it could retitle, recolour or write to
 * the terminal. */
#ifndef NH_BASE_PRINTABLE_H
#define NH_BASE_PRINTABLE_H

#include <stdio.h>

/* Writes `text` with control characters (of C0, DEL and C1) and bytes that are not UTF-8 as \xNN. */
void nh_put_printable(FILE *to, const char *text);

#endif
