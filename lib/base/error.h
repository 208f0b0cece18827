/* error.h - how the library says that something went wrong.
 *
 * A function that can fail returns 0 on success and -1 on failure, takes an `nh_error *` as its last
 * argument and leaves there one line, "WHERE: WHAT": the file, the line or variable, what was found, what
 * was expected. The line travels up unchanged and is printed once, by the program (options.h: nh_report).
 * `err` may be NULL where the caller does not want the text. */
#ifndef NH_BASE_ERROR_H
#define NH_BASE_ERROR_H

typedef struct nh_error {
    char text[1024];
} nh_error;

/* Fills err with the formatted line. Always returns -1, for `return nh_fail(err, ...)`. */
int nh_fail(nh_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for a failed allocation; `what` names the thing that did not fit ("pair blocks"). Returns -1. */
int nh_fail_memory(nh_error *err, const char *what);

/* Puts "WHERE: " before the text that is already in err. Returns -1. */
int nh_fail_at(nh_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
