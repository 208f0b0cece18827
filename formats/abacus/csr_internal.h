/* csr_internal.h - between the readers of the dialects (csr.h). */
#ifndef NH_FORMATS_ABACUS_CSR_INTERNAL_H
#define NH_FORMATS_ABACUS_CSR_INTERNAL_H

#include "base/stream.h"
#include "formats/abacus/csr.h"

/* A matrix in the making. Room grows as numbers really come, so that a header that lies cannot ask for
 * terabytes. */
typedef struct nh_csr_builder {
    nh_csr m;
    size_t cell_room, value_room, width; /* width: doubles a value, 0 before the first one is seen */
    size_t *pointer;                     /* [dimension+1] row pointers of the block at hand */
    size_t pointer_room;
} nh_csr_builder;

/* One matrix, or three of r(R) that have their cells in common. */
typedef struct nh_csr_reading {
    nh_csr_builder *to; /* [count] */
    size_t count;
    long wanted;      /* the step; 0: the last one */
    bool header_only; /* the elements of the step are not read (text) */
} nh_csr_reading;

int nh_csr_no_memory(nh_error *err);
int nh_csr_room(nh_csr_builder *b, size_t count, nh_error *err); /* for `count` values in all */
/* Begins a step in all matrices: what they held is dropped. */
int nh_csr_begin_step(nh_csr_reading *r, long step, size_t dimension, char quantity, const char *dialect,
                      nh_error *err);
/* True where the step at hand is the one asked for, and nothing behind it is read. */
bool nh_csr_is_wanted(const nh_csr_reading *r);
int nh_csr_begin_cell(nh_csr_builder *b, const long cell[3], nh_error *err);
int nh_csr_put_pointer(nh_csr_builder *b, size_t index, long long value, size_t nnz, nh_error *err);
/* The values and columns of the cell lie behind the others: their rows follow from the row pointers. */
void nh_csr_end_cell(nh_csr_builder *b, size_t nnz);
void nh_csr_crystal_free(nh_csr_crystal *c);

/* What the first two lines of a text of dialect F say. */
typedef struct nh_csr_block_head {
    bool is_f;
    long step;
    size_t n_pair;
} nh_csr_block_head;
/* Dialects A, B, C; `head`: the first four bytes, taken already. blocks->is_f: it is F, and was not read
 * further. */
int nh_csr_read_text(nh_stream *s, nh_csr_reading *r, const char head[4], nh_csr_block_head *blocks,
                     nh_error *err);
/* D, D', E. *blocks: it is F. *data: the file, [*size], which the caller frees, on failure too. */
int nh_csr_read_binary(nh_stream *s, nh_csr_reading *r, const char head[4], unsigned char **data,
                       size_t *size, bool *blocks, nh_error *err);

/* F: blocks of all processes, collected and then put together. */
typedef struct nh_csr_blocks nh_csr_blocks;
int nh_csr_blocks_new(nh_csr_blocks **out, nh_error *err);
void nh_csr_blocks_free(nh_csr_blocks *b);
/* One file, its first two lines taken. */
int nh_csr_blocks_text(nh_csr_blocks *b, nh_stream *s, long step, size_t n_pair, nh_error *err);
bool nh_csr_blocks_fit(const unsigned char *data, size_t size);
int nh_csr_blocks_binary(nh_csr_blocks *b, const unsigned char *data, size_t size, nh_error *err);
int nh_csr_blocks_finish(nh_csr_blocks *b, nh_csr_reading *r, nh_error *err);

#endif
