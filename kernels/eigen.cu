/* The generalised eigenproblem by cuSOLVER: crystal/eigen.c. */
#include "kernels/blas.h"

#include <cstdlib>

struct nhk_eigen {
    nh_gpu *gpu;
    size_t n;
    bool vectors;
    double *h, *s, *energy;
    int *info;
};

int nhk_eigen_new(nh_gpu *g, size_t n, bool vectors, nhk_eigen **out, nh_error *err)
{
    *out = nullptr;
    nhk_eigen *w = static_cast<nhk_eigen *>(calloc(1, sizeof *w));
    if (w == nullptr) return nhk_error(err, "out of memory for the eigenproblem");
    w->gpu = g;
    w->n = n;
    w->vectors = vectors;
    w->h = static_cast<double *>(nhk_alloc(g, n * n, 2 * sizeof(double)));
    w->s = static_cast<double *>(nhk_alloc(g, n * n, 2 * sizeof(double)));
    w->energy = static_cast<double *>(nhk_alloc(g, n, sizeof(double)));
    w->info = static_cast<int *>(nhk_alloc(g, 1, sizeof(int)));
    if (nhk_sync(g, err) == 0) {
        *out = w;
        return 0;
    }
    nhk_eigen_free(w);
    return -1;
}

void nhk_eigen_free(nhk_eigen *w)
{
    if (w == nullptr) return;
    nhk_free(w->gpu, w->h);
    nhk_free(w->gpu, w->s);
    nhk_free(w->gpu, w->energy);
    nhk_free(w->gpu, w->info);
    free(w);
}

int nhk_eigen_solve(nhk_eigen *w, double *h, const double *s, double *energy, int *info, nh_error *err)
{
    nh_gpu *g = w->gpu;
    const size_t bytes = w->n * w->n * 2 * sizeof(double);
    nhk_good(g, cudaSetDevice(g->index), "cudaSetDevice");
    nhk_upload(g, w->h, h, bytes);
    nhk_upload(g, w->s, s, bytes);
    nhk_zhegvd(g, w->vectors, w->n, w->h, w->s, w->energy, w->info);
    nhk_download(g, info, w->info, sizeof *info);
    nhk_download(g, energy, w->energy, w->n * sizeof *energy);
    if (w->vectors) nhk_download(g, h, w->h, bytes);
    return nhk_sync(g, err);
}
