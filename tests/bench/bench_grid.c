/* bench_grid STRUCTURE [THREADS]: the two loops over the tiles of the grid, matrix elements of a potential
 * and density of a density matrix, with orbitals made each time and with stored ones; their rate beside that
 * of dgemm in the same run. Times are of the processor, all threads together. Orbitals and pseudopotentials
 * as h0build finds them ($NEXTHAM_PSEUDO, $NEXTHAM_ORBITAL). */
#include "base/memory.h"
#include "formats/pseudo/library.h"
#include "formats/structure/file.h"
#include "lcao/lcao.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Gflop/s of one thread, fastest of five. */
static double dgemm_rate(void)
{
    enum { N = 768 };
    double *a = NH_ARRAY(double, 3 * N * N), best = 1e9;
    if (a == NULL) return 0;
    for (size_t i = 0; i < 3 * N * N; i++)
        a[i] = (double)(i % 7);
    for (int turn = 0; turn < 5; turn++) {
        const double begin = now();
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, N, N, N, 1, a, N, a + N * N, N, 0,
                    a + 2 * N * N, N);
        const double seconds = now() - begin;
        best = seconds < best ? seconds : best;
    }
    free(a);
    return 2e-9 * N * N * N / best;
}

static void line(const char *what, const nh_grid_basis *b, const nh_grid_work *before, double gemm)
{
    const nh_grid_work w = nh_grid_basis_work(b);
    const double flops = 1e-9 * (w.flops - before->flops), seconds = w.seconds - before->seconds;
    printf("  %-44s %8.4f s, %6.2f Gflop, %5.1f Gflop/s a thread, %3.0f %% of dgemm's %.1f\n", what, seconds,
           flops, flops / seconds, 100 * flops / seconds / gemm, gemm);
}

static int run(const char *path, int n, nh_error *err)
{
    nh_structure_file file = {.format = NULL};
    nh_threads *threads = NULL;
    nh_species *species = NULL;
    const nh_library library = {.spin_orbit = true, .structure = path};
    if (nh_threads_new(n, &threads, err) || nh_structure_file_read(path, NULL, &file, err) ||
        nh_library_read(&library, &file, &species, err))
        return -1;
    const double gemm = dgemm_rate();
    for (int stored = 0; stored < 2; stored++) {
        const nh_lcao_task task = {.structure = &file.structure,
                                   .species = species,
                                   .ecut = 100,
                                   .n_spin = 1,
                                   .cutoff = 1,
                                   .memory = (size_t)1 << 40,
                                   .keep = stored ? (size_t)1 << 33 : 0,
                                   .threads = threads};
        nh_lcao *l = NULL;
        if (nh_lcao_new(&task, &l, err)) return -1;
        double *h = NH_ARRAY(double, l->pairs.n_elem), *rho = NH_ARRAY(double, l->grid->n_point);
        if (h == NULL || rho == NULL) return nh_fail_memory(err, "the benchmark");
        if (!stored) printf("%zu atoms, %zu points\n", l->structure.n_atom, l->grid->n_point);
        nh_grid_work before = nh_grid_basis_work(l->basis);
        if (nh_grid_matrix(l->basis, l->local, h, err)) return -1;
        line(stored ? "matrix elements, stored orbitals" : "matrix elements", l->basis, &before, gemm);
        before = nh_grid_basis_work(l->basis);
        if (nh_grid_density(l->basis, l->overlap, rho, err)) return -1;
        line(stored ? "density, stored orbitals" : "density", l->basis, &before, gemm);
        free(h);
        free(rho);
        nh_lcao_free(l);
    }
    nh_species_free(species, file.structure.n_species);
    free(species);
    nh_structure_file_free(&file);
    nh_threads_free(threads);
    return 0;
}

int main(int argc, char **argv)
{
    nh_error err;
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: bench_grid STRUCTURE [THREADS]\n");
        return 2;
    }
    if (run(argv[1], argc == 3 ? atoi(argv[2]) : nh_cores(), &err) == 0) return 0;
    fprintf(stderr, "bench_grid: %s\n", err.text);
    return 1;
}
