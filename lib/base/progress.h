/* progress.h - a bar with rate and remaining time on a terminal, a line every 30 s otherwise; on stderr. */
#ifndef NH_BASE_PROGRESS_H
#define NH_BASE_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nh_progress nh_progress;

/* `quiet` gives an object that prints nothing. NULL (out of memory) is accepted by the others. */
nh_progress *nh_progress_start(const char *name, const char *unit, size_t total, bool quiet);
void nh_progress_add(nh_progress *p, size_t done); /* safe from several threads */
void nh_progress_end(nh_progress *p);              /* clears the bar, frees */

double nh_seconds(void); /* monotonic clock, s */

#ifdef __cplusplus
}
#endif

#endif
