/* cuFFT, or its double. */
#include "kernels/fft.h"

#include <cstdlib>

#ifdef NHK_EMULATE

#include <fftw3.h>

struct nhk_fft {
    nh_gpu *gpu;
    fftw_plan forward, backward;
};

nhk_fft *nhk_fft_new(nh_gpu *g, const int n[3])
{
    if (g->failed) return nullptr;
    nhk_fft *f = static_cast<nhk_fft *>(calloc(1, sizeof *f));
    const size_t points = (size_t)n[0] * (size_t)n[1] * (size_t)n[2],
                 half = (size_t)n[0] * (size_t)n[1] * ((size_t)n[2] / 2 + 1);
    double *f_of_r = fftw_alloc_real(points);
    fftw_complex *complex = fftw_alloc_complex(half);
    if (f != nullptr && f_of_r != nullptr && complex != nullptr) {
        f->gpu = g;
        f->forward = fftw_plan_dft_r2c_3d(n[0], n[1], n[2], f_of_r, complex, FFTW_ESTIMATE | FFTW_UNALIGNED);
        f->backward = fftw_plan_dft_c2r_3d(n[0], n[1], n[2], complex, f_of_r, FFTW_ESTIMATE | FFTW_UNALIGNED);
    }
    fftw_free(f_of_r);
    fftw_free(complex);
    if (f == nullptr || f->forward == nullptr || f->backward == nullptr)
        nhk_fail(g, "out of memory for transforms");
    return f;
}

void nhk_fft_free(nhk_fft *f)
{
    if (f == nullptr) return;
    if (f->forward != nullptr) fftw_destroy_plan(f->forward);
    if (f->backward != nullptr) fftw_destroy_plan(f->backward);
    free(f);
}

void nhk_fft_forward(nhk_fft *f, const double *f_of_r, double *half)
{
    if (!nhk_ready(f->gpu, 1)) return;
    emu_enqueue(f->gpu->stream, "nhk_fft_forward", [=] {
        fftw_execute_dft_r2c(f->forward, const_cast<double *>(f_of_r),
                             reinterpret_cast<fftw_complex *>(half));
    });
}

void nhk_fft_backward(nhk_fft *f, double *half, double *f_of_r)
{
    if (!nhk_ready(f->gpu, 1)) return;
    emu_enqueue(f->gpu->stream, "nhk_fft_backward",
                [=] { fftw_execute_dft_c2r(f->backward, reinterpret_cast<fftw_complex *>(half), f_of_r); });
}

#else

#include <cufft.h>

struct nhk_fft {
    nh_gpu *gpu;
    cufftHandle forward, backward;
    bool has_forward, has_backward;
};

static bool fft_good(nh_gpu *g, cufftResult s, const char *what)
{
    if (s != CUFFT_SUCCESS) nhk_fail(g, "CUDA device %d: %s: cuFFT status %d", g->index, what, (int)s);
    return s == CUFFT_SUCCESS;
}

nhk_fft *nhk_fft_new(nh_gpu *g, const int n[3])
{
    if (g->failed) return nullptr;
    nhk_fft *f = static_cast<nhk_fft *>(calloc(1, sizeof *f));
    if (f == nullptr) {
        nhk_fail(g, "out of memory for transforms");
        return nullptr;
    }
    f->gpu = g;
    f->has_forward = fft_good(g, cufftPlan3d(&f->forward, n[0], n[1], n[2], CUFFT_D2Z), "cufftPlan3d");
    f->has_backward = fft_good(g, cufftPlan3d(&f->backward, n[0], n[1], n[2], CUFFT_Z2D), "cufftPlan3d");
    if (f->has_forward) fft_good(g, cufftSetStream(f->forward, g->stream), "cufftSetStream");
    if (f->has_backward) fft_good(g, cufftSetStream(f->backward, g->stream), "cufftSetStream");
    return f;
}

void nhk_fft_free(nhk_fft *f)
{
    if (f == nullptr) return;
    if (f->has_forward) cufftDestroy(f->forward);
    if (f->has_backward) cufftDestroy(f->backward);
    free(f);
}

void nhk_fft_forward(nhk_fft *f, const double *f_of_r, double *half)
{
    if (!nhk_ready(f->gpu, 1)) return;
    fft_good(
        f->gpu,
        cufftExecD2Z(f->forward, const_cast<double *>(f_of_r), reinterpret_cast<cufftDoubleComplex *>(half)),
        "cufftExecD2Z");
}

void nhk_fft_backward(nhk_fft *f, double *half, double *f_of_r)
{
    if (!nhk_ready(f->gpu, 1)) return;
    fft_good(f->gpu, cufftExecZ2D(f->backward, reinterpret_cast<cufftDoubleComplex *>(half), f_of_r),
             "cufftExecZ2D");
}

#endif
