/* two_centre_internal.h - what two_centre.c and nonlocal.c share. */
#ifndef NH_LCAO_TWO_CENTRE_INTERNAL_H
#define NH_LCAO_TWO_CENTRE_INTERNAL_H

#include "lcao/integrals.h"
#include "lcao/two_centre.h"

struct nh_two_centre {
    size_t n_species;
    const nh_species *species;
    nh_q_mesh mesh;
    nh_gaunt gaunt;
    nh_radial *orbital;   /* [n_species]; owned */
    nh_radial *projector; /* [n_species] or NULL; owned */
};

/* Vector of a pair in bohr. */
void nh_pair_vector_bohr(const nh_structure *s, const nh_pair *pair, double v[3]);
/* Bohr, of the pairs whose atoms are of species s1 and s2 in this order and nearer than `reach`. *distance is allocated,
 * the caller frees. */
int nh_pair_distances(const nh_structure *s, const nh_pairs *pairs, size_t s1, size_t s2, double reach,
                      size_t *count, double **distance, nh_error *err);
/* Couplings [n_species][n_species] of rows a[s1] with columns b[s2]; `half`: only s1 <= s2. The caller frees them all. */
int nh_species_integrals_new(const nh_two_centre *t, const nh_structure *s, const nh_pairs *pairs,
                             const nh_radial *a, const nh_radial *b, bool kinetic, bool half,
                             nh_threads *threads, nh_integrals ***out, nh_error *err);
void nh_species_integrals_free(nh_integrals **c, size_t n_species); /* NULL is fine */
size_t nh_species_integrals_work(nh_integrals **c, size_t n_species);

#endif
