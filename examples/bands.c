/* bands: energies along a path, one k-point a line: length along the path in 1/A, energies in eV.
 *   bands ham.nc "L .5 .5 .5; G 0 0 0; X .5 0 .5" */
#include <nextham.h>

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    nh_graph *g = NULL;
    nh_fourier *sums = NULL;
    nh_k_node *node = NULL;
    nh_kpoints k = {0};
    nh_spectrum s = {0};
    nh_spectrum_task task = {.name = "h_pred", .choice = {.kind = NH_BANDS_ALL}, .threads = nh_cores()};
    size_t nodes;
    nh_error err;
    if (argc != 3) return fputs("usage: bands ham.nc PATH\n", stderr), 2;
    int status = nh_graph_load(argv[1], 0, NH_WANT_PRED | NH_WANT_OVERLAP, &g, &err);
    if (status == 0) status = nh_fourier_new(g, NH_H_PRED, NULL, &sums, &err);
    if (status == 0) status = nh_path_parse(argv[2], 20, &nodes, &node, &err);
    if (status == 0) status = nh_kpoints_path(g->structure.lattice, nodes, node, &k, &err);
    if (status == 0) {
        task.fourier = sums;
        task.basis = nh_fourier_basis(sums);
        task.n_k = k.count;
        task.k = k.k;
        status = nh_spectrum_new(k.count, task.basis, &s, &err);
    }
    if (status == 0) status = nh_spectrum_solve(&task, &s, &err);
    for (size_t i = 0; status == 0 && i < k.count; i++) {
        printf("%10.6f", k.distance[i]);
        for (size_t band = 0; band < s.rank[i]; band++)
            printf(" %11.6f", s.energy[i * s.basis + band]);
        printf("\n");
    }
    if (status != 0) fprintf(stderr, "bands: %s\n", err.text);
    nh_spectrum_free(&s);
    nh_kpoints_free(&k);
    free(node);
    nh_fourier_free(sums);
    nh_graph_free(g);
    return status == 0 ? 0 : 1;
}
