/* graph.h - a crystal with its pairs and matrices: what graph.nc, embedded.nc and ham.nc hold
 * (formats/README.md). */
#ifndef NH_CRYSTAL_GRAPH_H
#define NH_CRYSTAL_GRAPH_H

#include "crystal/pairs.h"
#include "crystal/structure.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum nh_matrix { NH_H0 = 0, NH_H_LABEL = 1, NH_H_PRED = 2, NH_N_MATRIX = 3 } nh_matrix;
enum { NH_WANT_H0 = 1, NH_WANT_LABEL = 2, NH_WANT_PRED = 4, NH_WANT_OVERLAP = 8, NH_WANT_FEATURES = 16 };

#define NH_RYDBERG 13.605698066 /* eV, docs/network.md 4.2 */

typedef struct nh_features {
    size_t n_edge, n_component;
    size_t *edge_pair; /* [n_edge] the pair each edge is */
    float *value;      /* [n_edge][n_component]; exactly one of value and value_double is set */
    double *value_double;
    char *irreps;      /* e3nn text of the components */
    char *shell_pairs; /* the shell pairs stored, as written by lib/nextham/embedding */
} nh_features;

void nh_features_free(nh_features *features); /* and features itself; NULL is fine */

typedef struct nh_graph {
    nh_structure structure;
    nh_pairs pairs;
    double cutoff;               /* Å */
    int n_spin;                  /* 4: uu, ud, du, dd; 1: uu = dd and nothing else */
    double *overlap;             /* [n_elem]; NULL where absent or not asked for */
    double *matrix[NH_N_MATRIX]; /* [n_spin][n_elem][2] eV; NULL where absent or not asked for */
    double *position_matrix; /* [3][n_elem] Å, <phi_a| r |phi_b R>; NULL where absent; written, never read */
    double efermi, nelec;    /* NaN where not known */
    int convergence;         /* of h_label: 1; -1: its self-consistency did not end; 0: not known */
    double rydberg;          /* factor with which the matrices were made eV; NH_RYDBERG by default */
    nh_features *features;   /* NULL where absent or not asked for */
    char *orbital_hash,
        *pseudo_hash; /* names of the files of the basis (basis_names.h); NULL: not known; owned */
} nh_graph;

void nh_graph_free(nh_graph *g); /* frees what it owns and g itself; NULL is fine */

const char *nh_matrix_name(nh_matrix m); /* "h0", "h_label", "h_pred" */
int nh_matrix_from_name(const char *name, nh_matrix *out, nh_error *err);

/* Number of directed edges (pairs with rounded distance < cutoff) and their pair indices in order. edge[] may
 * be NULL. */
size_t nh_graph_edges(const nh_graph *g, double cutoff, size_t *edge);

/* Largest |H(i,j,R) - H(j,i,-R)^dagger| in eV and the pair where it is found; a missing reverse pair is an
 * error. */
int nh_hermiticity(const nh_graph *g, const double *matrix, double *largest, size_t *where, nh_error *err);
/* H <- (H + H^dagger)/2 over the pairs (i,j,R), (j,i,-R): exactly Hermitian afterwards. */
int nh_hermitize(const nh_graph *g, double *matrix, nh_error *err);
/* H <- (H + T H T^-1)/2 with time reversal T = i sigma_y times complex conjugation, element by element:
 *   uu <- (uu + dd*)/2, dd <- uu*;  ud <- (ud - du*)/2, du <- -ud*;  without spin: the real part.
 * Charge part (the spin average) real, spin part imaginary: without magnetisation there is nothing else.
 */
void nh_time_reversal_average(const nh_graph *g, double *matrix);
/* Largest element of H - T H T^-1 with the same T, eV: 0 where H(-k) is the time reversal of H(k). */
double nh_time_reversal_defect(const nh_graph *g, const double *matrix);

#ifdef __cplusplus
}
#endif

#endif
