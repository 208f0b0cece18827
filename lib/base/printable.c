#include "base/printable.h"

#include <stdbool.h>
#include <stddef.h>

/* Bytes of the UTF-8 sequence at `s` (RFC 3629, without the check for sequences longer than need be), 0 where it is none. */
static size_t sequence(const unsigned char *s)
{
    const size_t n = s[0] < 0x80                    ? 1
                     : s[0] >= 0xc2 && s[0] < 0xe0  ? 2
                     : s[0] >= 0xe0 && s[0] < 0xf0  ? 3
                     : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4
                                                    : 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    return n;
}

void nh_put_printable(FILE *to, const char *text)
{
    for (const unsigned char *s = (const unsigned char *)text; *s != '\0';) {
        size_t n = sequence(s);
        const bool control = n == 1 ? s[0] < 0x20 || s[0] == 0x7f : n == 2 && s[0] == 0xc2 && s[1] < 0xa0;
        if (n > 0 && !control) {
            fwrite(s, 1, n, to);
        } else {
            if (n == 0) n = 1;
            for (size_t i = 0; i < n; i++)
                fprintf(to, "\\x%02x", s[i]);
        }
        s += n;
    }
}
