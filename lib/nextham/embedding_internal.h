/* embedding_internal.h - the tables of a padded basis (embedding.c), which its selections (selection.c), the transforms
 * (wigner_eckart.c) and the tables for kernels (embedding_tables.c) read. */
#ifndef NH_NEXTHAM_EMBEDDING_INTERNAL_H
#define NH_NEXTHAM_EMBEDDING_INTERNAL_H

#include "nextham/embedding.h"
#include "o3/wigner.h"

enum {
    NH_WE_L_SHELL = (NH_LMAX - 1) / 2,                             /* J goes up to l1 + l2 + 1 */
    NH_WE_SUB = (2 * NH_WE_L_SHELL + 1) * (2 * NH_WE_L_SHELL + 1), /* elements of the largest sub-block */
    NH_WE_CHANNELS = 4,                                            /* k = 0, y, z, x of the spin matrices B */
    NH_WE_Z = 2,                                                   /* z among them */
};

/* The sparse map between the elements of a sub-block and the components (L,a). */
typedef struct nh_we_term {
    unsigned short element; /* of the sub-block, m*(2*l2+1) + n */
    unsigned short angular; /* (L,a): L*L - Lmin*Lmin + a */
    double value;           /* C^{l1 l2 L}[m][n][a] */
    double dual;            /* (2L+1) times that */
} nh_we_term;

typedef struct nh_we_spin_term {
    unsigned short angular; /* (L,a) */
    unsigned short channel; /* 1..3 = y, z, x */
    unsigned short entry;   /* (L,J,b): number of the pair's vector */
    double value;           /* C^{L 1 J}[a][k-1][b] */
    double dual;            /* (2J+1) times that */
} nh_we_spin_term;

/* The transforms of one pair of degrees. C^{L l1 l2}[a][m][n] = C^{l1 l2 L}[m][n][a], so that one table
 * serves both directions. */
typedef struct nh_we_pair {
    size_t n; /* (2l1+1)(2l2+1): numbers in the sub-block, in all (L), and a third of those in all (L,J) */
    size_t n_scalar_entry; /* entries (L) */
    size_t n_entry;        /* entries (L) and (L,J) */
    int *entry_l;          /* their degrees */
    size_t n_term, n_spin_term;
    nh_we_term *term;
    nh_we_spin_term *spin_term;
} nh_we_pair;

struct nh_embedding {
    size_t n_shell;
    int *l;
    nh_we_pair table[NH_WE_L_SHELL + 1][NH_WE_L_SHELL + 1]; /* filled where the basis has the degrees */
    size_t *first_entry; /* [n_shell^2 + 1] first entry of each pair in the real half of OUT */
};

static inline const nh_we_pair *nh_we_pair_of(const nh_embedding *e, size_t pair)
{
    return &e->table[e->l[pair / e->n_shell]][e->l[pair % e->n_shell]];
}

/* Numbers of a shell pair in the real half of a vector. */
static inline size_t nh_we_numbers(nh_embedding_part part, const nh_we_pair *t)
{
    return (part == NH_PART_SCALAR ? 1 : 4) * t->n;
}

#endif
