/* blocks.h - what both layouts of DeepH have in common: blocks in DeepH's order of orbitals and atoms, and
 * a graph. */
#ifndef NH_FORMATS_DEEPH_BLOCKS_H
#define NH_FORMATS_DEEPH_BLOCKS_H

#include "crystal/graph.h"
#include "formats/deeph/layout.h"

/* Orders of a folder. place: for each orbital of an atom as the folder has them, its index in ours; atom
 * after atom. */
typedef struct nh_deeph_order {
    const nh_structure *structure; /* with its shells, sorted */
    size_t *first;                 /* [n_atom+1] first orbital of each atom; owned */
    int *place;                    /* [first[n_atom]]; owned */
} nh_deeph_order;

/* A matrix of a folder, block after block. */
typedef struct nh_deeph_matrix {
    const char *file; /* for messages */
    bool spin;        /* blocks are [[uu, ud], [du, dd]] */
    size_t count;
    int (*key)[5]; /* [count] Rx, Ry, Rz, i, j: atoms from 0, in the structure's order; owned */
    size_t *start; /* [count+1] first number of each block; owned */
    double *value; /* [start[count]][2], row-major blocks; owned */
} nh_deeph_matrix;

/* The shells of a folder, count[n_species] and l one after another, put into the structure: sorted by l
 * (stable: ours begin with all s). rank [sum of count]: which shell of the folder's species each is. */
int nh_deeph_set_shells(nh_structure *s, const size_t *count, const int *l, size_t *rank, nh_error *err);
/* The places, for shells that stand in the folder as `rank` says; NULL: as in the structure. */
int nh_deeph_order_new(const nh_structure *s, nh_deeph_layout layout, const size_t *rank, nh_deeph_order *out,
                       nh_error *err);
void nh_deeph_order_free(nh_deeph_order *o);
/* Index of the m-th orbital of a shell (DeepH's order) in m = -l..l. */
size_t nh_deeph_orbital(nh_deeph_layout layout, int l, size_t m);

/* Appends a block; room for its numbers is in m->value from m->start[m->count - 1] on. Checks the key. */
int nh_deeph_add(nh_deeph_matrix *m, const nh_deeph_order *o, const long long key[5], nh_error *err);
size_t nh_deeph_rows(const nh_deeph_matrix *m, const nh_deeph_order *o, size_t atom);
void nh_deeph_matrix_free(nh_deeph_matrix *m);

/* Pairs of all matrices, their reverses, and those within the cutoff. */
int nh_deeph_pairs(const nh_structure *s, size_t n, const nh_deeph_matrix *m, double cutoff, nh_pairs *out,
                   nh_error *err);
/* Into the pairs of g: [4 or 1][n_elem][2]. Each block once; one that is not zero with its reverse. */
int nh_deeph_scatter(const nh_deeph_matrix *m, const nh_deeph_order *o, const nh_graph *g, double *to,
                     nh_error *err);
/* The block of pair p as the folder has it, [rows][columns][width], of a matrix [n_spin][n_elem][width]. */
void nh_deeph_gather(const nh_graph *g, const nh_deeph_order *o, const double *matrix, int n_spin,
                     size_t width, size_t p, double *to);

#endif
