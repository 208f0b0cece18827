/* lowdin.h - an orthogonal basis of a crystal's orbitals, and its Hamiltonian between cells.
 *
 * Löwdin's orbitals (P.-O. Löwdin, J. Chem. Phys. 18, 365 (1950)) at each k-point of a mesh, |k n~> =
 * sum_b |k b> X_bn with X = S(k)^-1/2, are those nearest to the given ones. H~(k) = X H(k) X goes back to
 * cells,
 *     H~(R) = 1/N sum_k exp(-2 pi i k.R) H~(k),
 * for the R nearest to the origin among those that differ by vectors of the mesh's supercell; an R on the
 * border has others like it: `weight` counts them, as in Wannier90, and
 *     H~(k) = sum_R exp(2 pi i k.R) H~(R) / weight(R)
 * is exact on the mesh. Between its points it is as good as H~(R) is small where the supercell ends:
 * S^-1/2 reaches further than S, the more so the nearer S is to being singular. How good is measured at
 * points between those of the mesh.
 *
 * A ceiling c makes it far better for the bands below: H~ <- c + sum_n min(E_n - c, 0) |v_n><v_n|, v =
 * S^1/2 C, leaves them as they are, and puts those above at c. What is left depends on k as S^1/2 does,
 * which is short-ranged (Agapito et al., Phys. Rev. B 88, 165127 (2013) shift what they do not want in the
 * same way).
 *
 * The position operator follows: with A(k) = sum_R exp(2 pi i k.R) <0a| r |R b>,
 *     A~(k) = X A X - i (dX/dk) S X,
 * Hermitian because X S X = 1. */
#ifndef NH_PROPERTIES_LOWDIN_H
#define NH_PROPERTIES_LOWDIN_H

#include "base/threads.h"
#include "crystal/graph.h"

typedef struct nh_lowdin {
    int mesh[3];
    size_t n_orbital, basis; /* orbitals; with spin twice as many: all up, then all down */
    size_t n_cell;
    int (*cell)[3]; /* [n_cell] R; owned, as the others */
    int *weight;    /* [n_cell] */
    double *h;      /* [n_cell][basis][basis][2] eV */
    /* [3][n_cell][n_orbital][n_orbital][2] Å, the same for both spins; NULL without a position matrix */
    double *r;
    double ceiling;  /* eV; NaN: none */
    double smallest; /* eigenvalue of S(k) on the mesh */
    double outer;    /* largest |h| in cells on the border over the largest of all */
    double error;    /* eV: largest change of a band below the ceiling at points between those of the mesh; */
    double error_below; /* the same of bands up to `below` */
    double below;       /* eV: 5 above the Fermi level; NaN (as error_below) where that is not known */
} nh_lowdin;

/* Points along each axis that the blocks of a matrix reach: 2 max|R| + 1. */
void nh_lowdin_mesh(const nh_graph *g, int mesh[3]);

/* ceiling: eV, NaN for none. position: [3][n_elem] <a| r |b R>, Å, r from the origin of the home cell; may
 * be NULL. g's matrix and overlap become exactly Hermitian (nh_fourier_new). Errors: no S; S(k) that is
 * not positive definite, with its k; a position matrix that does not belong to S. */
int nh_lowdin_new(nh_graph *g, nh_matrix which, const double *position, const int mesh[3], double ceiling,
                  nh_threads *threads, nh_lowdin **out, nh_error *err);
void nh_lowdin_free(nh_lowdin *l); /* NULL is fine */

#endif
