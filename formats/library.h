/* library.h - whole steps for programs that link with the library: files in and out, a model on a crystal.
 *
 * For example H0 to H_pred: nh_graph_load, nh_model_load, nh_model_apply, nh_graph_save. */
#ifndef NH_FORMATS_LIBRARY_H
#define NH_FORMATS_LIBRARY_H

#include "base/threads.h"
#include "crystal/graph.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nh_model nh_model;

/* Reads a real-space file (graph.nc, ham.nc): structure, pairs, and of the matrices and the overlap those in `want`
 * (NH_WANT_H0 .. NH_WANT_OVERLAP) that are there, others stay NULL; those in `need` must be there. The caller frees *out with
 * nh_graph_free. Errors: no such file, not such a file, sizes or numbers that are wrong, a matrix that is missing. */
int nh_graph_load(const char *path, unsigned want, unsigned need, nh_graph **out, nh_error *err);
/* Writes all that g holds to a new file, which appears under its name when it is complete; a file of that name is replaced.
 * Matrices are doubles. */
int nh_graph_save(const char *path, const nh_graph *g, nh_error *err);

/* Reads a model. `threads` (NULL: none) check its weights. The caller frees *out with nh_model_free. */
int nh_model_load(const char *path, nh_threads *threads, nh_model **out, nh_error *err);
void nh_model_free(nh_model *m); /* NULL is fine */

typedef struct nh_apply_options {
    bool in_double; /* compute in double precision; the default is single */
    const char
        *device; /* as the option --device of nhinfer: "cpu" (NULL: the same), "cuda", "cuda:0,1", "auto" */
} nh_apply_options;
/* H_pred = H0 + the model's correction: g->matrix[NH_H_PRED], [n_spin][n_elem][2] eV, is allocated where it is NULL and
 * made Hermitian. g needs H0. `options`, `threads` may be NULL. Errors: no H0, an element with more shells than the model's
 * basis, a graph with a smaller cutoff than the model's, no such device. */
int nh_model_apply(const nh_model *m, nh_graph *g, const nh_apply_options *options, nh_threads *threads,
                   nh_error *err);

#ifdef __cplusplus
}
#endif

#endif
