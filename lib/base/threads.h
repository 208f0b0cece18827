/* threads.h - a pool of threads for loops over independent tiles.
 *
 * Results must not depend on which thread runs which index: each index writes its own output, sums over
 * indices are taken afterwards in order. Threads sleep between loops (no busy waiting). */
#ifndef NH_BASE_THREADS_H
#define NH_BASE_THREADS_H

#include "base/error.h"

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nh_threads nh_threads;

/* Number of cores this process may use (sched_getaffinity), at least 1. */
int nh_cores(void);
/* A pool of n >= 1 threads, the caller among them. Also tells BLAS to use one thread in each. */
int nh_threads_new(int n, nh_threads **out, nh_error *err);
void nh_threads_free(nh_threads *t);       /* NULL is fine */
int nh_threads_count(const nh_threads *t); /* NULL: 1 */
/* Calls body(context, index, thread) for index = 0..n-1, thread = 0..count-1; returns when all are done. Indices are
 * handed out in order, one at a time. t = NULL runs in the caller. Not re-entrant: body must not start another loop. */
void nh_parallel_for(nh_threads *t, size_t n, void (*body)(void *context, size_t index, int thread),
                     void *context);

#ifdef __cplusplus
}
#endif

#endif
