/* loader.h - files of a data set: lists of names, and things made from them, ahead of their use and kept in
 * memory up to a budget. */
#ifndef NH_TRAINING_LOADER_H
#define NH_TRAINING_LOADER_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct nh_names {
    size_t count;
    char **name;  /* absolute, or relative to the working folder as the list's name is; owned */
    size_t *line; /* line of the list; owned */
} nh_names;

/* One name a line, relative to the list's folder; empty lines and lines that begin with # are skipped. An
 * empty list is an error. `path` = "-" is not special. */
int nh_names_read(const char *path, nh_names *out, nh_error *err);
void nh_names_free(nh_names *n);

/* Makes thing number `index`; *bytes: the memory it takes. Called in the loader's own thread. */
typedef int nh_loader_make(void *context, size_t index, void **thing, size_t *bytes, nh_error *err);
typedef void nh_loader_drop(void *context, void *thing);

typedef struct nh_loader nh_loader;

/* A loader of things 0..n-1. A thread makes at most `ahead` (>= 1) of them before they are taken. What was
 * made is kept, and not made again, as long as all that is kept stays below `budget` bytes; there is no
 * eviction, since training passes over the whole data set in a new order each time. */
int nh_loader_new(size_t n, double budget, size_t ahead, nh_loader_make *make, nh_loader_drop *drop,
                  void *context, nh_loader **out, nh_error *err);
void nh_loader_free(nh_loader *s); /* NULL is fine; all things must have been given back */

/* The next things to take, in this order; replaces the plan before. */
int nh_loader_plan(nh_loader *s, size_t count, const size_t *order, nh_error *err);
/* The next thing of the plan; waits until it is made. An error of `make` comes out here. */
int nh_loader_take(nh_loader *s, void **thing, nh_error *err);
void nh_loader_release(nh_loader *s, void *thing);
size_t nh_loader_kept(const nh_loader *s, double *bytes); /* how many, and how much */

#endif
