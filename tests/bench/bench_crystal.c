/* Writes a crystal of the benchmarks as a graph file, with random numbers of eight digits that fall off with the distance
 * for H0 (Hermitian) and the overlap:
 *
 *     bench_crystal six|silicon COPIES FILE
 *
 * COPIES repeats the cell along each axis (silicon 5: 1000 atoms). For timings only: no spectrum can be had from it. */
#include "crystals.h"

#include "base/random.h"
#include "formats/netcdf/graph.h"

#include <stdio.h>

static int fill(nh_graph *g, nh_error *err)
{
    const size_t n = g->pairs.n_elem;
    double *h = g->matrix[NH_H0] = NH_ARRAY(double, 8 * n);
    g->overlap = NH_ARRAY(double, n);
    if (h == NULL || g->overlap == NULL) return nh_fail_memory(err, "the matrices");
    nh_random random;
    nh_random_seed(&random, 1, "bench_crystal");
    for (size_t p = 0; p < g->pairs.count; p++) {
        const double size = exp(-g->pairs.distance[p]);
        for (size_t e = g->pairs.start[p]; e < g->pairs.start[p + 1]; e++) {
            g->overlap[e] = 1e-8 * round(1e8 * size * nh_random_uniform(&random));
            for (size_t i = 0; i < 8; i++)
                h[2 * (i / 2 * n + e) + i % 2] = 1e-8 * round(1e8 * size * nh_random_uniform(&random));
        }
    }
    return nh_hermitize(g, h, err);
}

static int write(nh_graph *g, const char *path, const nh_common *common, nh_error *err)
{
    nh_nc *f;
    nh_threads *threads = NULL;
    int status = nh_threads_new(nh_cores(), &threads, err);
    if (status == 0) status = nh_nc_create(path, "bench_crystal", common, NULL, &f, err);
    if (status == 0) {
        nh_nc_use_threads(f, threads);
        status = nh_graph_write(f, g, false, err);
        if (status == 0)
            status = nh_nc_commit(f, err);
        else
            nh_nc_close(f);
    }
    nh_threads_free(threads);
    return status;
}

int main(int argc, char **argv)
{
    nh_error err;
    nh_graph *g = NULL;
    const nh_common common = {.history = false};
    const size_t copies = argc == 4 ? strtoul(argv[2], NULL, 10) : 0;
    const cell *c = argc == 4 && strcmp(argv[1], "six") == 0       ? &SIX
                    : argc == 4 && strcmp(argv[1], "silicon") == 0 ? &SILICON
                                                                   : NULL;
    if (c == NULL || copies == 0) {
        fprintf(stderr, "bench_crystal: six|silicon COPIES FILE\n");
        return 2;
    }
    int status = make_crystal(c, copies, &g, &err);
    if (status == 0) status = fill(g, &err);
    if (status == 0) status = write(g, argv[3], &common, &err);
    nh_graph_free(g);
    if (status != 0) fprintf(stderr, "bench_crystal: %s\n", err.text);
    return status == 0 ? 0 : 1;
}
