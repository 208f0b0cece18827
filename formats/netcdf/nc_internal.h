/* nc_internal.h - an open file, for the parts of nc.h: opening, closing and commit (nc.c), reading (nc_read.c), writing (nc_write.c),
 * carrying variables along (nc_carry.c). */
#ifndef NH_FORMATS_NETCDF_NC_INTERNAL_H
#define NH_FORMATS_NETCDF_NC_INTERNAL_H

#include "base/outfile.h"
#include "formats/netcdf/nc.h"

#define NH_NC_CONVENTIONS "NextHAM-1"

enum {
    NH_NC_CHUNK_NUMBERS = 65536,        /* of a compressed variable */
    NH_NC_IMAGE_BEGIN = 4 * 1024 * 1024 /* bytes; first size of an image in memory */
};

/* A variable whose chunks are written past netCDF, on commit. */
typedef struct nh_nc_later {
    char *name;           /* owned */
    const double *values; /* NULL: those of `from` */
    bool as_it_is;        /* without values: its compressed chunks */
} nh_nc_later;

struct nh_nc {
    int id;
    bool open;
    bool writing;
    bool image;          /* writing: into memory */
    char *name;          /* for messages */
    void *memory;        /* reading from a pipe: the image */
    size_t size;         /* of it */
    nh_outfile *out;     /* writing */
    nh_threads *threads; /* for large variables; NULL: the caller alone */
    hid_t from;          /* where variables of `later` come from; 0: none */
    nh_nc_later *later;  /* [n_later], owned */
    size_t n_later;
};

/* The checks and the place of a slab along the first dimension. */
int nh_nc_slab(const nh_nc *f, const char *variable, size_t first, size_t n, size_t rest, int *id,
               size_t *start, size_t *length, nh_error *err);
/* Defines a variable, compressed where it is large: in `chunk` (NULL: chunks of its own choice). */
int nh_nc_define(nh_nc *f, const char *name, nc_type type, int n_dims, const int *dim_id, const size_t *chunk,
                 int *id, nh_error *err);
/* Leaves a variable for the commit: `values`, or where they are NULL those of the file `from`, with its chunks as they are or made anew. */
int nh_nc_put_later(nh_nc *f, const char *name, const double *values, bool as_it_is, nh_error *err);

#endif
