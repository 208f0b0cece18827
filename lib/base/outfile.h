/* outfile.h - an output that appears whole or not at all.
 *
 * For a file name: a temporary beside it, .NAME.PID-N.tmp, synchronised and renamed on commit, removed on failure and on
 * SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGXCPU and SIGBUS (a mapped file that another program cuts off). SIGKILL leaves it.
 * For "-" and for names that are no regular file (/dev/full, a FIFO): written directly. Mode as open(2) with 0666. */
#ifndef NH_BASE_OUTFILE_H
#define NH_BASE_OUTFILE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

typedef struct nh_outfile nh_outfile;

/* Begins an output. */
int nh_outfile_begin(const char *path, nh_outfile **out, nh_error *err);
/* The name to write to: the temporary's, or NULL where the output is a stream (then use nh_outfile_stream). */
const char *nh_outfile_path(const nh_outfile *o);
/* A FILE to write to (stdout for "-"); opened on the first call, owned by the outfile. */
FILE *nh_outfile_stream(nh_outfile *o, nh_error *err);
/* Both of them: begins an output and opens its stream. NULL after an error, and nothing is left then. */
FILE *nh_outfile_begin_stream(const char *path, nh_outfile **out, nh_error *err);
/* Flushes, checks for write errors (full disk), closes and renames. Frees o in every case. */
int nh_outfile_commit(nh_outfile *o, nh_error *err);
/* Removes what was written. Frees o. NULL is fine. */
void nh_outfile_abort(nh_outfile *o);
/* A folder for outputs: made, or one that is there and empty; *made says which. */
int nh_outfolder(const char *path, bool *made, nh_error *err);
/* Removes the temporaries that killed programs left in `folder`: for a caller who knows that no other writes there (a lock). */
void nh_outfile_remove_left(const char *folder);
/* True where `path` is standard output and that is a terminal (binary images are refused there). */
bool nh_output_is_terminal(const char *path);

#endif
