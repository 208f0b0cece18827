/* read_ham: what a real-space file holds.   read_ham ham.nc */
#include <nextham.h>

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    nh_graph *g;
    nh_error err;
    if (argc != 2) return fputs("usage: read_ham ham.nc\n", stderr), 2;
    if (nh_graph_load(argv[1], NH_WANT_H0 | NH_WANT_PRED, 0, &g, &err) != 0)
        return fprintf(stderr, "read_ham: %s\n", err.text), 1;
    char *formula = nh_structure_formula(&g->structure);
    printf("%s: %zu atoms, %zu orbitals, %zu pairs within %g A\n", formula, g->structure.n_atom,
           nh_structure_orbitals(&g->structure), g->pairs.count, g->cutoff);
    for (int m = 0; m < NH_N_MATRIX; m++) {
        double largest;
        size_t where;
        if (g->matrix[m] == NULL) continue;
        if (nh_hermiticity(g, g->matrix[m], &largest, &where, &err) != 0)
            return fprintf(stderr, "read_ham: %s\n", err.text), 1;
        /* The first number of pair 0: <first orbital of its row atom, spin up | H | first of its column atom, up>. */
        printf("%s: H[0] = %.6f%+.6fi eV, |H - H^dagger| <= %.1e eV\n", nh_matrix_name((nh_matrix)m),
               g->matrix[m][0], g->matrix[m][1], largest);
    }
    free(formula);
    nh_graph_free(g);
    return 0;
}
