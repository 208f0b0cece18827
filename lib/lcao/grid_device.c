#include "lcao/grid_basis_internal.h"

#include "base/memory.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* What kernels/tiles.cu wants: images with their first orbital in the tile, points of the tiles, and for each
 * tile the links of its pairs of images p <= q to the pairs that they belong to. */
typedef struct lists {
    nhk_tiles_species *species;
    nhk_tiles_image *image;
    int *point;
    nhk_tiles_pair *pair;
    nhk_tiles_link *link;
} lists;

static void fill_points(const nh_grid_basis *b, int *point)
{
    const size_t points = NH_GROUPS_MAX * NH_GROUP;
    for (size_t i = 0; i < b->n_tile * points; i++)
        point[i] = -1;
    for (size_t t = 0; t < b->n_tile; t++) {
        uint32_t first[NH_GROUPS_MAX][3];
        const size_t n = nh_grid_groups(&b->tiles[t], first);
        for (size_t i = 0; i < n; i++)
            for (size_t k = 0; k < NH_GROUP; k++) {
                const size_t at = nh_grid_point(b->task.grid, &b->tiles[t], first[i], k);
                if (at != SIZE_MAX) point[t * points + i * NH_GROUP + k] = (int)at;
            }
    }
}

static void fill_images(const nh_grid_basis *b, nhk_tiles_image *image)
{
    for (size_t t = 0; t < b->n_tile; t++) {
        size_t row = 0;
        for (size_t p = b->first_image[t]; p < b->first_image[t + 1]; p++) {
            const nh_grid_image *im = &b->images[p];
            image[p].species = b->task.structure->species[im->atom];
            image[p].tile = (int)t;
            image[p].row = (int)row;
            nh_grid_image_place(b, im, image[p].place);
            row += nh_grid_orbitals(b, im);
        }
    }
}

/* link = NULL: counts. Images that share no group have nothing to add. */
static size_t fill_links(const nh_grid_basis *b, const nhk_tiles_image *image, nhk_tiles_link *link)
{
    size_t n = 0;
    for (size_t t = 0; t < b->n_tile; t++)
        for (size_t p = b->first_image[t]; p < b->first_image[t + 1]; p++)
            for (size_t q = p; q < b->first_image[t + 1]; q++) {
                if ((b->images[p].reached & b->images[q].reached) == 0) continue;
                const uint32_t pair = nh_grid_pair_of(b, &b->images[p], &b->images[q]);
                if (pair == UINT32_MAX) continue;
                if (link != NULL)
                    link[n] = (nhk_tiles_link){
                        .tile = (int)t, .row = image[p].row, .column = image[q].row, .pair = (int)pair};
                n++;
            }
    return n;
}

int nh_grid_basis_place(nh_grid_basis *b, const nh_device *device, nh_error *err)
{
    if (device == NULL) return 0;
    const nh_structure *s = b->task.structure;
    const nh_pairs *pairs = b->task.pairs;
    const nh_grid *g = b->task.grid;
    const size_t points = NH_GROUPS_MAX * NH_GROUP, n_image = b->first_image[b->n_tile];
    if (g->n_point > INT_MAX || b->n_tile > INT_MAX / points || pairs->count > INT_MAX)
        return nh_fail(err, "grid: too large for a device");
    lists l = {.species = nh_calloc(s->n_species, sizeof *l.species),
               .image = nh_calloc(n_image, sizeof *l.image),
               .point = NH_ARRAY(int, b->n_tile *points),
               .pair = nh_calloc(pairs->count, sizeof *l.pair)};
    int status = -1;
    if (l.species == NULL || l.image == NULL || l.point == NULL || l.pair == NULL) {
        nh_fail_memory(err, "the grid for the device");
        goto done;
    }
    for (size_t x = 0; x < s->n_species; x++) {
        const nh_orbital_table *t = &b->table[x];
        l.species[x] = (nhk_tiles_species){.n_shell = (int)t->n_shell,
                                           .n_orbital = (int)t->n_orbital,
                                           .lmax = t->lmax,
                                           .n_row = (int)t->n_row,
                                           .width = (int)t->width,
                                           .radius = t->radius,
                                           .step = t->step,
                                           .l = t->l,
                                           .row = t->row};
    }
    for (size_t i = 0; i < pairs->count; i++)
        l.pair[i] = (nhk_tiles_pair){.start = pairs->start[i],
                                     .rows = (int)nh_atom_orbitals(s, (size_t)pairs->pair[i].src),
                                     .columns = (int)nh_atom_orbitals(s, (size_t)pairs->pair[i].dst)};
    fill_points(b, l.point);
    fill_images(b, l.image);
    const size_t n_link = fill_links(b, l.image, NULL);
    l.link = nh_calloc(n_link, sizeof *l.link);
    if (l.link == NULL) {
        nh_fail_memory(err, "the grid for the device");
        goto done;
    }
    fill_links(b, l.image, l.link);
    nhk_tiles_input in = {.n_species = s->n_species,
                          .n_tile = b->n_tile,
                          .n_image = n_image,
                          .n_pair = pairs->count,
                          .n_link = n_link,
                          .n_elem = pairs->n_elem,
                          .n_point = g->n_point,
                          .points = (int)points,
                          .most_rows = (int)b->most_orbitals,
                          .n = {(int)g->n[0], (int)g->n[1], (int)g->n[2]},
                          .dv = g->volume / (double)g->n_point,
                          .species = l.species,
                          .first_image = b->first_image,
                          .image = l.image,
                          .point = l.point,
                          .pair = l.pair,
                          .link = l.link};
    memcpy(in.lattice, g->lattice, sizeof in.lattice);
    if (b->placed != NULL) b->device->call->tiles->drop(b->placed);
    b->placed = NULL;
    b->device = device;
    status = device->call->tiles->make(device->gpu, &in, &b->placed, err);
done:
    free(l.species);
    free(l.image);
    free(l.point);
    free(l.pair);
    free(l.link);
    return status;
}

int nh_grid_device_matrix(const nh_grid_basis *b, const double *v, double *h, nh_error *err)
{
    return b->device->call->tiles->matrix(b->placed, v, h, err);
}

int nh_grid_device_density(const nh_grid_basis *b, const double *p, double *rho, nh_error *err)
{
    return b->device->call->tiles->density(b->placed, p, rho, err);
}
