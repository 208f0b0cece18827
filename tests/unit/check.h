/* check.h - cmocka with what it needs, and calls that must not fail. */
#ifndef NH_TESTS_CHECK_H
#define NH_TESTS_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static nh_error err;

#define OK(call)                                                                                             \
    do {                                                                                                     \
        err.text[0] = '\0';                                                                                  \
        if ((call) != 0) fail_msg("%s: %s", #call, err.text);                                                \
    } while (0)

#endif
