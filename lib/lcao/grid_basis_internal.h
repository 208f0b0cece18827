/* grid_basis_internal.h - what grid_basis.c (the loops), grid_tiles.c (what they run over) and grid_device.c share.
 */
#ifndef NH_LCAO_GRID_BASIS_INTERNAL_H
#define NH_LCAO_GRID_BASIS_INTERNAL_H

#include "device/device.h"
#include "lcao/grid_basis.h"
#include "lcao/orbital_table.h"
#include "lcao/tile_kernels.h"

/* An image of an atom, which reaches a tile. */
typedef struct nh_grid_image {
    int32_t atom;
    int16_t cell[3];  /* T: the atom is at tau + T */
    uint16_t groups;  /* how many it reaches */
    uint64_t reached; /* a bit for each */
} nh_grid_image;

typedef struct nh_grid_tile {
    uint32_t from[3], to[3]; /* points */
} nh_grid_tile;

struct nh_grid_basis {
    nh_grid_basis_task task;
    nh_orbital_table *table;  /* [n_species] */
    double *origin;           /* [n_atom][3] bohr */
    double lane[3][NH_GROUP]; /* points of a group from its first one, bohr */
    size_t n_tile;
    nh_grid_tile *tiles;
    size_t *first_image;                             /* [n_tile+1] */
    nh_grid_image *images;                           /* of a tile in the order of atoms and cells */
    size_t n_hash;                                   /* a power of two */
    uint32_t *hash;                                  /* [n_hash] pairs by (a, b, R); UINT32_MAX: empty */
    size_t *reverse;                                 /* [pairs] */
    size_t most_orbitals, most_images, most_numbers; /* of a tile */
    size_t n_stored;                                 /* the first tiles, whose orbitals are kept */
    size_t *place;                                   /* [n_stored+1] into `stored` */
    double *stored;
    struct nh_grid_scratch *work; /* [threads] */
    const nh_device *device;
    nhk_tiles *placed; /* NULL: on the CPU */
};

/* Fills tiles, images, the index of pairs and what else is not `stored` or `work`; with the task, tables and
 * origins there. */
int nh_grid_tiles_make(nh_grid_basis *b, nh_error *err);

/* First points of the tile's groups, as points of the grid; neighbours in the list are neighbours in space.
 * Returns their number. */
size_t nh_grid_groups(const nh_grid_tile *t, uint32_t first[NH_GROUPS_MAX][3]);
/* Place in the grid of point k of a group that begins there; SIZE_MAX where the tile's odd edge lacks it. */
size_t nh_grid_point(const nh_grid *g, const nh_grid_tile *t, const uint32_t first[3], size_t k);
void nh_grid_bohr(const nh_grid *g, const double at[3], double out[3]); /* point -> bohr */
/* Where image p of the cell is, bohr. */
void nh_grid_image_place(const nh_grid_basis *b, const nh_grid_image *im, double out[3]);

/* The pair of two images of a tile, UINT32_MAX where it is not in the list. */
uint32_t nh_grid_pair_of(const nh_grid_basis *b, const nh_grid_image *p, const nh_grid_image *q);

static inline size_t nh_grid_orbitals(const nh_grid_basis *b, const nh_grid_image *im)
{
    return b->table[b->task.structure->species[im->atom]].n_orbital;
}

/* On a device; the blocks that the tiles write. */
int nh_grid_device_matrix(const nh_grid_basis *b, const double *v, double *h, nh_error *err);
int nh_grid_device_density(const nh_grid_basis *b, const double *p, double *rho, nh_error *err);

#endif
