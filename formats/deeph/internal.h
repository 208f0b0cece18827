/* internal.h - the two layouts behind deeph.h. */
#ifndef NH_FORMATS_DEEPH_INTERNAL_H
#define NH_FORMATS_DEEPH_INTERNAL_H

#include "formats/deeph/blocks.h"
#include "formats/deeph/deeph.h"

enum { NH_DEEPH_H, NH_DEEPH_PREDICTED, NH_DEEPH_S, NH_DEEPH_N_FILE };

/* What a folder says beside its matrices. */
typedef struct nh_deeph_head {
    nh_structure structure; /* in the folder's order of atoms, shells set */
    size_t *rank;           /* of nh_deeph_set_shells; owned */
    bool spin;
    double efermi, cutoff, nelec, rydberg; /* NaN where not known */
    nh_matrix matrix;                      /* of the file without _pred */
    char *orbital_hash, *pseudo_hash;      /* NULL where not known; owned */
} nh_deeph_head;

/* Names of files: [layout][which]. */
const char *nh_deeph_file(nh_deeph_layout layout, int which);

/* info.json, the structure files and the basis. Free with nh_deeph_head_free, on failure, too. */
int nh_deeph_head_read(const char *folder, nh_deeph_layout layout, nh_deeph_head *out, nh_error *err);
void nh_deeph_head_free(nh_deeph_head *h);
/* Writes them. atom[n_atom]: the graph's atoms in the folder's order. */
int nh_deeph_head_write(const char *folder, nh_deeph_layout layout, const nh_graph *g, nh_matrix which,
                        const size_t *atom, nh_error *err);

#endif
