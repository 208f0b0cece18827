/* The loss between the outputs of the sub-models and its gradients by them: training/loss.c, step by step. One warp an edge where numbers of an
 * edge are summed, one warp a row of the projected error; then sums over edges and rows in chunks of fixed size. */
#include "kernels/blas.h"
#include "kernels/gpu.h"
#include "kernels/ops.h"
#include "kernels/table.h"

extern "C" {
#include "network/network.h"
#include "training/kspace.h"
}

#include <cmath>
#include <cstdlib>

enum { N_SUM = 4 }; /* shift, error, trace, trace_mu of an edge */
enum { SHIFT, ERROR_, TRACE, TRACE_MU };

/* ---- outputs */

struct nhk_outputs {
    nh_gpu *gpu;
    size_t dim, n_pair, n_edge, room; /* edges that there is room for */
    double *ham, *trace, *g_ham, *g_trace;
    nhk_pool pool; /* of an evaluation */
};

static int outputs_make(nh_gpu *g, size_t dim, size_t n_pair, nhk_outputs **out, nh_error *err)
{
    *out = static_cast<nhk_outputs *>(calloc(1, sizeof **out));
    if (*out == nullptr) return nhk_error(err, "out of memory for outputs");
    (*out)->gpu = g;
    (*out)->dim = dim;
    (*out)->n_pair = n_pair;
    return 0;
}

static void drop_room(nhk_outputs *x)
{
    double **list[] = {&x->ham, &x->trace, &x->g_ham, &x->g_trace};
    for (double **p : list) {
        nhk_free(x->gpu, *p);
        *p = nullptr;
    }
    x->room = 0;
}

static void outputs_drop(nhk_outputs *x)
{
    if (x == nullptr) return;
    drop_room(x);
    nhk_pool_free(x->gpu, &x->pool);
    free(x);
}

/* Room for n_edge edges, and zeros for their outputs. */
static void clear(nhk_outputs *x, size_t n_edge)
{
    nh_gpu *g = x->gpu;
    if (n_edge > x->room) {
        drop_room(x);
        double **ham[] = {&x->ham, &x->g_ham}, **trace[] = {&x->trace, &x->g_trace};
        for (double **p : ham)
            *p = static_cast<double *>(nhk_alloc(g, n_edge * x->dim, sizeof(double)));
        for (double **p : trace)
            *p = static_cast<double *>(nhk_alloc(g, n_edge * x->n_pair, sizeof(double)));
        if (!g->failed) x->room = n_edge;
    }
    x->n_edge = n_edge;
    nhk_zero(g, x->ham, n_edge * x->dim * sizeof(double));
    nhk_zero(g, x->trace, n_edge * x->n_pair * sizeof(double));
}

static int outputs_upload(nhk_outputs *x, const double *ham, const double *trace, nh_error *err)
{
    if (ham != nullptr) nhk_upload(x->gpu, x->ham, ham, x->n_edge * x->dim * sizeof *ham);
    if (trace != nullptr) nhk_upload(x->gpu, x->trace, trace, x->n_edge * x->n_pair * sizeof *trace);
    return nhk_sync(x->gpu, err);
}

static int outputs_download(nhk_outputs *x, bool gradients, double *ham, double *trace, nh_error *err)
{
    if (ham != nullptr)
        nhk_download(x->gpu, ham, gradients ? x->g_ham : x->ham, x->n_edge * x->dim * sizeof *ham);
    if (trace != nullptr)
        nhk_download(x->gpu, trace, gradients ? x->g_trace : x->trace, x->n_edge * x->n_pair * sizeof *trace);
    return nhk_sync(x->gpu, err);
}

/* Rows edge[n] of a wide array from a narrow one, or back. One thread a number; 8 + 4 (8 + 8) bytes. */
template <typename T>
static __global__ void put_rows_kernel(unsigned n, unsigned width, const int *edge, const T *from, double *to)
{
    NHK_FOR(i, (size_t)n * width)
    to[(size_t)edge[i / width] * width + i % width] = (double)from[i];
}
template <typename T>
static __global__ void get_rows_kernel(unsigned n, unsigned width, const int *edge, const double *from, T *to)
{
    NHK_FOR(i, (size_t)n * width)
    to[i] = (T)from[(size_t)edge[i / width] * width + i % width];
}

template <typename T>
static void put_rows(nh_gpu *g, size_t n, size_t width, const int *edge, const T *from, double *to)
{
    if (nhk_ready(g, n * width))
        NHK_RUN(g, put_rows_kernel<T>, nhk_grid(g, n * width, NHK_BLOCK), NHK_BLOCK, 0, (unsigned)n,
                (unsigned)width, edge, from, to);
}
template <typename T>
static void get_rows(nh_gpu *g, size_t n, size_t width, const int *edge, const double *from, T *to)
{
    if (nhk_ready(g, n * width))
        NHK_RUN(g, get_rows_kernel<T>, nhk_grid(g, n * width, NHK_BLOCK), NHK_BLOCK, 0, (unsigned)n,
                (unsigned)width, edge, from, to);
}

template <typename T> static void sink(void *context, size_t n, const int *edge, const T *ham, const T *trace)
{
    nhk_outputs *x = static_cast<nhk_outputs *>(context);
    put_rows(x->gpu, n, x->dim, edge, ham, x->ham);
    if (trace != nullptr) put_rows(x->gpu, n, x->n_pair, edge, trace, x->trace);
}

template <typename T> static void seed(void *context, size_t n, const int *edge, T *g_ham, T *g_trace)
{
    nhk_outputs *x = static_cast<nhk_outputs *>(context);
    get_rows(x->gpu, n, x->dim, edge, x->g_ham, g_ham);
    if (g_trace != nullptr) get_rows(x->gpu, n, x->n_pair, edge, x->g_trace, g_trace);
}

static void outputs_ends_f(nhk_outputs *x, nh_network_f_ends *ends)
{
    *ends = nh_network_f_ends{x, nullptr, sink<float>, seed<float>};
}

static void outputs_ends_d(nhk_outputs *x, nh_network_d_ends *ends)
{
    *ends = nh_network_d_ends{x, nullptr, sink<double>, seed<double>};
}

/* ---- the crystal */

/* For kernels: pointers are on the device. */
typedef struct tables {
    int spin_blocks, n_slot, n_species;
    size_t n_edge, n_pair, n_elem, n_orbital, n_full;
    bool padding;
    double trace_eps;
    nhk_loss_pair *pair;
    int *edge_pair, *group, *species_at, *place, *first, *width;
    unsigned char *occupied, *mask;
    double *dh, *overlap; /* label - H0 */
} tables;

/* One k-point of an evaluation: where its part of the arrays begins. */
typedef struct kterm {
    size_t band, p; /* states, and those of P */
    double *phase;  /* [n_pair][2] */
    double *u, *uc, *delta, *k,
        *row; /* [band][basis], its conjugate, [band][band], [orbital][orbital], [band][3] sums of a row's parts */
} kterm;

struct nhk_loss {
    nh_gpu *gpu;
    size_t bytes; /* of dh and overlap */
    size_t n_group, n_d;
    double scale;
    tables t;
    nhk_embedding d_tables;
    nhk_block *block;
    /* the evaluation in progress; memory is that of the outputs */
    bool gradient;
    size_t n_state;
    kterm *state;
    double *d, *g_d, *sums, *label, *slope, *total, *h, *y;
};

/* label - H0, through a buffer of the host. */
static void upload_difference(nh_gpu *g, size_t n, const double *label, const double *h0, double *to)
{
    const size_t at_once = 1 << 17;
    double *x = static_cast<double *>(malloc(at_once * sizeof *x));
    if (x == nullptr) {
        nhk_fail(g, "out of memory for a crystal");
        return;
    }
    for (size_t first = 0; first < n && !g->failed; first += at_once) {
        const size_t m = n - first < at_once ? n - first : at_once;
        for (size_t i = 0; i < m; i++)
            x[i] = label[first + i] - h0[first + i];
        nhk_upload(g, to + first, x, m * sizeof *x);
    }
    free(x);
}

static void loss_drop(nhk_loss *l);

static int loss_make(nh_gpu *g, const nhk_loss_input *in, nhk_loss **out, nh_error *err)
{
    const size_t slots = (size_t)in->n_slot, species = (size_t)in->n_species,
                 numbers = 2 * (size_t)in->spin_blocks * in->n_elem;
    size_t available = 0, total = 0;
    *out = nullptr;
    nhk_loss *l = static_cast<nhk_loss *>(calloc(1, sizeof *l));
    if (l == nullptr) return nhk_error(err, "out of memory for a crystal");
    l->gpu = g;
    l->bytes = (numbers + in->n_elem) * sizeof(double);
    nhk_good(g, cudaSetDevice(g->index), "cudaSetDevice");
    nhk_good(g, cudaMemGetInfo(&available, &total), "cudaMemGetInfo");
    if (g->failed || l->bytes > available || g->resident + l->bytes > total / 4) {
        free(l);
        return nhk_sync(g, err);
    }
    g->resident += l->bytes;
    l->n_group = in->n_group;
    l->n_d = in->n_d;
    l->scale = in->scale;
    l->d_tables = nhk_embedding_new(g, in->tables);
    l->block = nhk_uploaded(g, in->block, in->n_edge);
    tables *t = &l->t;
    *t = tables{};
    t->spin_blocks = in->spin_blocks;
    t->n_slot = in->n_slot;
    t->n_species = in->n_species;
    t->n_edge = in->n_edge;
    t->n_pair = in->n_pair;
    t->n_elem = in->n_elem;
    t->n_orbital = in->n_orbital;
    t->n_full = in->n_full;
    t->padding = in->padding;
    t->trace_eps = in->trace_eps;
    t->pair = nhk_uploaded(g, in->pair, in->n_pair);
    t->edge_pair = nhk_uploaded(g, in->edge_pair, in->n_edge);
    t->group = nhk_uploaded(g, in->group, in->n_group + 1);
    t->species_at = nhk_uploaded(g, in->species_at, species + 1);
    t->place = nhk_uploaded(g, in->place, (size_t)in->species_at[species]);
    t->first = nhk_uploaded(g, in->first, species * slots);
    t->width = nhk_uploaded(g, in->tables->width, slots);
    t->occupied = nhk_uploaded(g, in->occupied, species * in->n_full);
    t->mask = nhk_uploaded(g, in->mask, species * species * slots * slots);
    t->overlap = nhk_uploaded(g, in->overlap, in->n_elem);
    t->dh = static_cast<double *>(nhk_alloc(g, numbers, sizeof(double)));
    if (!g->failed) upload_difference(g, numbers, in->label, in->h0, t->dh);
    const bool no_memory = g->no_memory;
    const int status = nhk_sync(g, err);
    if (status == 0) {
        *out = l;
        return 0;
    }
    loss_drop(l);
    return no_memory ? 0 : status;
}

static void loss_drop(nhk_loss *l)
{
    if (l == nullptr) return;
    tables *t = &l->t;
    void *list[] = {t->pair,  t->edge_pair, t->group, t->species_at, t->place, t->first,
                    t->width, t->occupied,  t->mask,  t->overlap,    t->dh,    l->block};
    for (void *p : list)
        nhk_free(l->gpu, p);
    nhk_embedding_free(l->gpu, &l->d_tables);
    l->gpu->resident -= l->bytes;
    free(l->state);
    free(l);
}

/* ---- edges */

/* The pair of an edge, and where the elements of its block are in D. */
typedef struct ends {
    const nhk_loss_pair *pair;
    const int *row, *column;
    size_t width;
} ends;

__device__ static inline ends ends_of(const tables *t, const nhk_loss_pair *p)
{
    return ends{p, t->place + t->species_at[p->a], t->place + t->species_at[p->b],
                t->padding ? t->n_full : (size_t)p->columns};
}

__device__ static inline size_t place_in_d(const ends *p, int i)
{
    return (size_t)p->row[i / p->pair->columns] * p->width + p->column[i % p->pair->columns];
}

/* Element `at` of spin block s = 0..3 of label - H0; NULL where there is none. */
__device__ static inline const double *difference(const tables *t, int s, size_t at)
{
    if (t->spin_blocks == 1) return s == 0 || s == 3 ? t->dh + 2 * at : nullptr;
    return t->dh + 2 * (s * t->n_elem + at);
}

__device__ static inline double f_of(bool squared, double x)
{
    return squared ? x * x : fabs(x);
}

__device__ static inline double sign_of(double x)
{
    return (double)((x > 0) - (x < 0));
}

__device__ static inline double df_of(bool squared, double x)
{
    return squared ? 2 * x : sign_of(x);
}

/* Calls for the edges of the warp; all lanes together. */
#define WARP_FOR(e, n)                                                                                       \
    const unsigned lane = threadIdx.x % NHK_WARP;                                                            \
    for (size_t e = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) / NHK_WARP; e < (n);                     \
         e += (size_t)gridDim.x * blockDim.x / NHK_WARP)

/* edge_correction of loss.c: Re sum (H_pred - H_gt) conj(S). 8 + 32 bytes an element, 2 multiply-adds. */
static __global__ void shift_kernel(tables t, const double *d, double *sums)
{
    WARP_FOR(e, t.n_edge)
    {
        const nhk_loss_pair *q = &t.pair[t.edge_pair[e]];
        const ends p = ends_of(&t, q);
        double sum = 0;
        for (int i = (int)lane; i < q->rows * q->columns; i += NHK_WARP) {
            const double x = q->d != SIZE_MAX ? d[q->d + place_in_d(&p, i)] : 0;
            for (int s = 0; s < 4; s += 3)
                sum += (x - difference(&t, s, q->start + i)[0]) * t.overlap[q->start + i];
        }
        sum = nhk_warp_sum(sum);
        if (lane == 0) sums[N_SUM * e + SHIFT] = sum;
    }
}

/* edge_error: real-space error at the known mu, and minus its derivative by D in g_d (NULL: not wanted), which is zero before. 80 bytes an
 * element. */
static __global__ void error_kernel(tables t, const double *d, double mu, bool squared, bool paper,
                                    double *sums, double *g_d)
{
    WARP_FOR(e, t.n_edge)
    {
        const nhk_loss_pair *q = &t.pair[t.edge_pair[e]];
        const ends p = ends_of(&t, q);
        const bool answered = q->d != SIZE_MAX;
        double sum = 0;
        for (int i = (int)lane; i < q->rows * q->columns; i += NHK_WARP) {
            const size_t to = answered ? q->d + place_in_d(&p, i) : 0;
            double slope = 0;
            for (int s = 0; s < 4; s++) {
                const double *h = difference(&t, s, q->start + i);
                if (h == nullptr) continue;
                double x = h[0];
                if (s == 0 || s == 3) {
                    x += mu * t.overlap[q->start + i] - (answered ? d[to] : 0);
                    slope -= df_of(squared, x);
                }
                sum += f_of(squared, x);
                if (paper) sum += h[1] * h[1];
            }
            if (g_d != nullptr && answered) g_d[to] = slope;
        }
        if (t.padding && answered && !paper) {
            const int n = (int)t.n_full;
            for (int i = (int)lane; i < n * n; i += NHK_WARP) {
                if (t.occupied[(size_t)q->a * n + i / n] && t.occupied[(size_t)q->b * n + i % n]) continue;
                sum += 2 * f_of(squared, -d[q->d + i]);
                if (g_d != nullptr) g_d[q->d + i] = -2 * df_of(squared, -d[q->d + i]);
            }
        }
        sum = nhk_warp_sum(sum);
        if (lane == 0) sums[N_SUM * e + ERROR_] = sum;
    }
}

/* trace_of_label: T_b of dH + mu S of each shell pair and its derivative by mu. One thread an edge and shell pair; 72 bytes an element. */
static __global__ void label_kernel(tables t, double mu, double *label, double *slope)
{
    const size_t pairs = (size_t)t.n_slot * t.n_slot;
    NHK_FOR(i, t.n_edge * pairs)
    {
        const nhk_loss_pair *q = &t.pair[t.edge_pair[i / pairs]];
        const int b = (int)(i % pairs), row = t.first[q->a * t.n_slot + b / t.n_slot],
                  column = t.first[q->b * t.n_slot + b % t.n_slot];
        double sum = 0, along = 0;
        if (row >= 0 && column >= 0)
            for (int s = 0; s < 4; s++)
                for (int r = row; r < row + t.width[b / t.n_slot]; r++)
                    for (int c = column; c < column + t.width[b % t.n_slot]; c++) {
                        const size_t at = q->start + (size_t)r * q->columns + c;
                        const double *h = difference(&t, s, at),
                                     overlap = s == 0 || s == 3 ? t.overlap[at] : 0;
                        if (h == nullptr) continue;
                        const double re = h[0] + mu * overlap;
                        sum += re * re + h[1] * h[1];
                        along += 2 * re * overlap;
                    }
        label[i] = sum;
        slope[i] = along;
    }
}

/* layer_norm and edge_loss: the trace loss of an edge, its derivative by mu, and its signs in g_trace (NULL: not wanted). 32 bytes a shell pair. */
static __global__ void trace_kernel(tables t, bool paper, const double *label, const double *slope,
                                    const double *trace, double *sums, double *g_trace)
{
    const int n = t.n_slot * t.n_slot;
    WARP_FOR(e, t.n_edge)
    {
        const nhk_loss_pair *q = &t.pair[t.edge_pair[e]];
        const double *l = label + e * n, *s = slope + e * n, *x = trace + e * n;
        double mean = 0, mean_slope = 0, variance = 0, along = 0, norm = 1;
        if (!paper) {
            for (int b = (int)lane; b < n; b += NHK_WARP) {
                mean += l[b] / n;
                mean_slope += s[b] / n;
            }
            mean = nhk_warp_sum(mean);
            mean_slope = nhk_warp_sum(mean_slope);
            for (int b = (int)lane; b < n; b += NHK_WARP)
                variance += (l[b] - mean) * (l[b] - mean) / n;
            norm = 1 / sqrt(nhk_warp_sum(variance) + t.trace_eps);
            for (int b = (int)lane; b < n; b += NHK_WARP)
                along += (l[b] - mean) * norm * s[b] / n;
            along = nhk_warp_sum(along);
        }
        double loss = 0, by_mu = 0;
        for (int b = (int)lane; b < n; b += NHK_WARP) {
            const bool set = paper ? t.first[q->a * t.n_slot + b / t.n_slot] >= 0 &&
                                         t.first[q->b * t.n_slot + b % t.n_slot] >= 0
                                   : t.mask[((size_t)q->a * t.n_species + q->b) * n + b] != 0;
            const double value = (l[b] - mean) * norm,
                         derivative = (s[b] - mean_slope - value * along) * norm,
                         error = set ? x[b] - value : 0, sign = sign_of(error);
            loss += fabs(error);
            by_mu -= set ? sign * derivative : 0;
            if (g_trace != nullptr) g_trace[e * n + b] = sign;
        }
        loss = nhk_warp_sum(loss);
        by_mu = nhk_warp_sum(by_mu);
        if (lane == 0) {
            sums[N_SUM * e + TRACE] = loss;
            sums[N_SUM * e + TRACE_MU] = by_mu;
        }
    }
}

/* ---- k space; spin is the slower index of the basis */

/* exp(2 pi i k.R) of all pairs. */
static __global__ void phase_kernel(tables t, double k0, double k1, double k2, double *phase)
{
    NHK_FOR(i, t.n_pair)
    {
        const int *cell = t.pair[i].cell;
        double turn = k0 * cell[0] + k1 * cell[1] + k2 * cell[2];
        turn -= floor(turn);
        phase[2 * i] = cos(2 * M_PI * turn);
        phase[2 * i + 1] = sin(2 * M_PI * turn);
    }
}

/* The states with spin slower, and conjugated. 64 bytes a number. */
static __global__ void states_kernel(unsigned band, unsigned orbitals, unsigned n_spin, const double *vector,
                                     double *u, double *uc)
{
    NHK_FOR(i, (size_t)band * orbitals * n_spin)
    {
        const size_t a = i / (orbitals * n_spin), s = i / orbitals % n_spin, o = i % orbitals;
        const double *c = vector + 2 * (a * orbitals * n_spin + o * n_spin + s);
        u[2 * i] = uc[2 * i] = c[0];
        u[2 * i + 1] = c[1];
        uc[2 * i + 1] = -c[1];
    }
}

/* group_sum: H_gt(k) - H_pred(k) between two atoms (`paper`: with the pairs that are no edges), a block for each, a thread for each element of its
 * spin blocks. 24 bytes an element and pair, 4 multiply-adds. */
static __global__ void error_of_k_kernel(tables t, size_t n_group, bool paper, const double *phase,
                                         const double *d, double *h)
{
    const int n_spin = t.spin_blocks == 4 ? 2 : 1;
    const size_t basis = n_spin * t.n_orbital;
    for (size_t g = blockIdx.x; g < n_group; g += gridDim.x) {
        const nhk_loss_pair *q = &t.pair[t.group[g]];
        const ends p = ends_of(&t, q);
        const int n = q->rows * q->columns;
        for (int i = (int)threadIdx.x; i < n * t.spin_blocks; i += (int)blockDim.x) {
            const int s = i / n, e = i % n, s1 = s / n_spin, s2 = s % n_spin;
            const size_t to = s1 == s2 ? place_in_d(&p, e) : 0;
            double re = 0, im = 0;
            for (int k = t.group[g]; k < t.group[g + 1]; k++) {
                const nhk_loss_pair *r = &t.pair[k];
                if (r->edge < 0 && !paper) continue;
                const double *x = difference(&t, s, r->start + e);
                const double y = x[0] - (s1 == s2 && r->d != SIZE_MAX ? d[r->d + to] : 0);
                re += phase[2 * k] * y - phase[2 * k + 1] * x[1];
                im += phase[2 * k] * x[1] + phase[2 * k + 1] * y;
            }
            double *at = h + 2 * ((s1 * t.n_orbital + q->row + e / q->columns) * basis + s2 * t.n_orbital +
                                  q->column + e % q->columns);
            at[0] = re;
            at[1] = im;
        }
    }
}

/* total[2]: Re tr of the parts P and Q; one warp for each. */
static __global__ void traces_kernel(unsigned band, unsigned p, const double *delta, double *total)
{
    const unsigned part = threadIdx.x / NHK_WARP, end = part == 0 ? p : band;
    double sum = 0;
    for (unsigned a = (part == 0 ? 0 : p) + threadIdx.x % NHK_WARP; a < end; a += NHK_WARP)
        sum += delta[2 * ((size_t)a * band + a)];
    sum = nhk_warp_sum(sum);
    if (threadIdx.x % NHK_WARP == 0) total[part] = sum;
}

/* rectangle: sums of f of a row's parts P, Q, PQ with mu on the diagonal (row[band][3]); delta becomes the weighted gradient. 32 bytes a number. */
static __global__ void rectangles_kernel(unsigned band, unsigned p, double mu, bool squared, double weight_p,
                                         double weight_q, double weight_pq, double *delta, double *row)
{
    WARP_FOR(a, band)
    {
        double sum[3] = {0, 0, 0};
        for (unsigned b = (a < p ? 0 : p) + lane; b < band; b += NHK_WARP) {
            const int part = a >= p ? 1 : b < p ? 0 : 2;
            const double weight = part == 0 ? weight_p : part == 1 ? weight_q : weight_pq;
            double *x = delta + 2 * (a * band + b);
            const double re = x[0] + (a == b ? mu : 0), im = x[1], f = f_of(squared, re) + f_of(squared, im);
            sum[0] += part == 0 ? f : 0;
            sum[1] += part == 1 ? f : 0;
            sum[2] += part == 2 ? f : 0;
            x[0] = weight * df_of(squared, re);
            x[1] = weight * df_of(squared, im);
        }
        for (int i = 0; i < 3; i++) {
            sum[i] = nhk_warp_sum(sum[i]);
            if (lane == 0) row[3 * a + i] = sum[i];
        }
    }
}

static __global__ void diagonal_kernel(unsigned band, unsigned p, double in_p, double in_q, double *delta)
{
    NHK_FOR(a, band)
    delta[2 * (a * band + a)] += a < p ? in_p : in_q;
}

/* The part of edge_gradient before the transforms: g_d = weight_r g_d + shift S of an edge. 24 bytes a number. */
static __global__ void weigh_kernel(tables t, double weight_r, double shift, double *g_d)
{
    for (size_t e = blockIdx.x; e < t.n_edge; e += gridDim.x) {
        const nhk_loss_pair *q = &t.pair[t.edge_pair[e]];
        if (q->d == SIZE_MAX) continue; /* the same for all threads */
        const ends p = ends_of(&t, q);
        const int all = t.padding ? (int)(t.n_full * t.n_full) : q->rows * q->columns;
        for (int i = (int)threadIdx.x; i < all; i += (int)blockDim.x)
            g_d[q->d + i] *= weight_r;
        __syncthreads();
        for (int i = (int)threadIdx.x; i < q->rows * q->columns; i += (int)blockDim.x)
            g_d[q->d + place_in_d(&p, i)] += shift * t.overlap[q->start + i];
    }
}

/* And the k-point's: g_d -= Re (phase^* K). 40 bytes a number, 2 multiply-adds. */
static __global__ void gradient_of_k_kernel(tables t, const double *phase, const double *k, double *g_d)
{
    for (size_t e = blockIdx.x; e < t.n_edge; e += gridDim.x) {
        const int pair = t.edge_pair[e];
        const nhk_loss_pair *q = &t.pair[pair];
        if (q->d == SIZE_MAX) continue;
        const ends p = ends_of(&t, q);
        for (int i = (int)threadIdx.x; i < q->rows * q->columns; i += (int)blockDim.x) {
            const double *x =
                k + 2 * ((size_t)(q->row + i / q->columns) * t.n_orbital + q->column + i % q->columns);
            g_d[q->d + place_in_d(&p, i)] -= phase[2 * pair] * x[0] + phase[2 * pair + 1] * x[1];
        }
    }
}

static __global__ void scale_kernel(size_t n, double factor, double *x)
{
    NHK_FOR(i, n)
    x[i] *= factor;
}

/* ---- the three steps */

enum { EDGE_BLOCK = 128 };

static dim3 warps(const nh_gpu *g, size_t n)
{
    return nhk_grid(g, n * NHK_WARP, NHK_BLOCK);
}

static double *doubles(nhk_outputs *x, size_t n)
{
    return static_cast<double *>(nhk_take(x->gpu, &x->pool, n, sizeof(double)));
}

static size_t basis_of(const nhk_loss *l)
{
    return (l->t.spin_blocks == 4 ? 2 : 1) * l->t.n_orbital;
}

/* Memory of the evaluation. */
static void take_room(nhk_loss *l, nhk_outputs *x)
{
    const tables *t = &l->t;
    const size_t pairs = (size_t)t->n_slot * t->n_slot, basis = basis_of(l),
                 square = t->n_orbital * t->n_orbital;
    size_t rows = 0, squares = 0;
    for (size_t i = 0; i < l->n_state; i++) {
        rows += l->state[i].band;
        squares += l->state[i].band * l->state[i].band;
    }
    x->pool.next = 0;
    l->d = doubles(x, l->n_d);
    l->g_d = doubles(x, l->gradient ? l->n_d : 0);
    l->sums = doubles(x, N_SUM * t->n_edge);
    l->label = doubles(x, x->n_pair > 0 ? t->n_edge * pairs : 0);
    l->slope = doubles(x, x->n_pair > 0 ? t->n_edge * pairs : 0);
    l->total = doubles(x, N_SUM + 5 * l->n_state);
    l->h = doubles(x, l->n_state > 0 ? 2 * basis * basis : 0);
    l->y = doubles(x, l->n_state > 0 ? 2 * basis * basis : 0);
    double *phase = doubles(x, 2 * t->n_pair * l->n_state), *u = doubles(x, 2 * rows * basis),
           *uc = doubles(x, 2 * rows * basis), *delta = doubles(x, 2 * squares),
           *k = doubles(x, l->gradient ? 2 * square * l->n_state : 0), *row = doubles(x, 3 * rows);
    for (size_t i = 0; i < l->n_state && !x->gpu->failed; i++) {
        kterm *s = &l->state[i];
        s->phase = phase + 2 * t->n_pair * i;
        s->k = l->gradient ? k + 2 * square * i : nullptr;
        s->u = u;
        s->uc = uc;
        s->delta = delta;
        s->row = row;
        u += 2 * s->band * basis;
        uc += 2 * s->band * basis;
        delta += 2 * s->band * s->band;
        row += 3 * s->band;
    }
}

/* delta: PP, PQ and QQ; the corner QP, which no term has, stays zero. */
static void project(nhk_loss *l, const nh_kstates *state, const kterm *s, bool paper, double *trace)
{
    nh_gpu *g = l->gpu;
    const tables *t = &l->t;
    const size_t n = basis_of(l), band = s->band, p = s->p, numbers = band * n;
    if (!nhk_ready(g, numbers)) return;
    nhk_upload(g, l->y, state->vector, 2 * numbers * sizeof(double));
    NHK_RUN(g, states_kernel, nhk_grid(g, numbers, NHK_BLOCK), NHK_BLOCK, 0, (unsigned)band,
            (unsigned)t->n_orbital, (unsigned)(n / t->n_orbital), l->y, s->u, s->uc);
    NHK_RUN(g, phase_kernel, nhk_grid(g, t->n_pair, NHK_BLOCK), NHK_BLOCK, 0, *t, state->k[0], state->k[1],
            state->k[2], s->phase);
    nhk_zero(g, l->h, 2 * n * n * sizeof(double));
    NHK_RUN(g, error_of_k_kernel, nhk_grid(g, l->n_group, 1), EDGE_BLOCK, 0, *t, l->n_group, paper, s->phase,
            l->d, l->h);
    nhk_zero(g, s->delta, 2 * band * band * sizeof(double));
    nhk_zgemm(g, false, true, n, band, n, l->h, n, s->u, n, l->y, band);
    nhk_zgemm(g, false, false, p, band, n, s->uc, n, l->y, band, s->delta, band);
    nhk_zgemm(g, false, false, band - p, band - p, n, s->uc + 2 * p * n, n, l->y + 2 * p, band,
              s->delta + 2 * (p * band + p), band);
    NHK_RUN(g, traces_kernel, 1, 2 * NHK_WARP, 0, (unsigned)band, (unsigned)p, s->delta, trace);
}

static int loss_begin(nhk_loss *l, nhk_outputs *x, bool gradient, size_t n_state, const nh_kstates *state,
                      bool *ready, nh_error *err)
{
    nh_gpu *g = l->gpu;
    *ready = false;
    nhk_good(g, cudaSetDevice(g->index), "cudaSetDevice");
    free(l->state);
    l->state = static_cast<kterm *>(calloc(n_state + 1, sizeof *l->state));
    if (l->state == nullptr) return nhk_error(err, "out of memory for the states");
    l->gradient = gradient;
    l->n_state = n_state;
    for (size_t i = 0; i < n_state; i++) {
        l->state[i].band = state[i].n_band;
        l->state[i].p = state[i].n_p;
    }
    for (int attempt = 0; attempt < 2 && !*ready; attempt++) {
        clear(x, l->t.n_edge);
        take_room(l, x);
        const bool no_memory = g->no_memory;
        *ready = nhk_sync(g, err) == 0;
        if (!*ready && !no_memory) return -1;
        if (!*ready)
            nhk_pool_free(g, attempt == 0 ? &g->pool : &x->pool); /* what runs that are not kept have left */
    }
    return 0;
}

static int loss_project(nhk_loss *l, nhk_outputs *x, bool paper, const nh_kstates *state, double *shift,
                        double (*trace)[2], nh_error *err)
{
    nh_gpu *g = l->gpu;
    const tables *t = &l->t;
    const size_t n_state = l->n_state;
    nhk_good(g, cudaSetDevice(g->index), "cudaSetDevice");
    nhk_irreps_to_correction_d(g, &l->d_tables, t->n_edge, l->block, nullptr, x->ham, l->scale, false, l->d);
    nhk_zero(g, l->total, (N_SUM + 5 * n_state) * sizeof(double));
    if (nhk_ready(g, t->n_edge))
        NHK_RUN(g, shift_kernel, warps(g, t->n_edge), NHK_BLOCK, 0, *t, l->d, l->sums);
    nhk_column_sums_d(g, t->n_edge, 1, N_SUM, l->sums, nullptr, l->total);
    for (size_t i = 0; i < n_state; i++)
        project(l, &state[i], &l->state[i], paper, l->total + N_SUM + 2 * i);
    nhk_download(g, shift, l->total, sizeof *shift);
    nhk_download(g, trace, l->total + N_SUM, n_state * sizeof *trace);
    return nhk_sync(g, err);
}

static int loss_errors(nhk_loss *l, nhk_outputs *x, bool squared, bool paper, bool with_trace, double mu,
                       const double (*weight)[3], nhk_loss_sums *sums, double (*part)[3], nh_error *err)
{
    nh_gpu *g = l->gpu;
    const tables *t = &l->t;
    const size_t numbers = t->n_edge * (size_t)t->n_slot * t->n_slot;
    double *parts = l->total + N_SUM + 2 * l->n_state, found[N_SUM] = {0, 0, 0, 0};
    nhk_good(g, cudaSetDevice(g->index), "cudaSetDevice");
    nhk_zero(g, l->total, (N_SUM + 5 * l->n_state) * sizeof(double));
    if (l->gradient) nhk_zero(g, l->g_d, l->n_d * sizeof(double));
    if (nhk_ready(g, t->n_edge))
        NHK_RUN(g, error_kernel, warps(g, t->n_edge), NHK_BLOCK, 0, *t, l->d, mu, squared, paper, l->sums,
                l->gradient ? l->g_d : nullptr);
    if (with_trace && nhk_ready(g, numbers)) {
        NHK_RUN(g, label_kernel, nhk_grid(g, numbers, NHK_BLOCK), NHK_BLOCK, 0, *t, mu, l->label, l->slope);
        NHK_RUN(g, trace_kernel, warps(g, t->n_edge), NHK_BLOCK, 0, *t, paper, l->label, l->slope, x->trace,
                l->sums, l->gradient ? x->g_trace : nullptr);
    }
    nhk_column_sums_d(g, t->n_edge, with_trace ? N_SUM - 1 : 1, N_SUM, l->sums + ERROR_, nullptr,
                      l->total + ERROR_);
    for (size_t i = 0; i < l->n_state; i++) {
        const kterm *s = &l->state[i];
        if (nhk_ready(g, s->band))
            NHK_RUN(g, rectangles_kernel, warps(g, s->band), NHK_BLOCK, 0, (unsigned)s->band, (unsigned)s->p,
                    mu, squared, weight[i][0], weight[i][1], weight[i][2], s->delta, s->row);
        nhk_column_sums_d(g, s->band, 3, 3, s->row, nullptr, parts + 3 * i);
    }
    nhk_download(g, found, l->total, sizeof found);
    nhk_download(g, part, parts, l->n_state * sizeof *part);
    const int status = nhk_sync(g, err);
    *sums = nhk_loss_sums{found[ERROR_], found[TRACE], found[TRACE_MU]};
    return status;
}

static int loss_gradients(nhk_loss *l, nhk_outputs *x, double weight_r, double shift,
                          const double (*diagonal)[2], bool with_trace, double weight_trace, nh_error *err)
{
    nh_gpu *g = l->gpu;
    const tables *t = &l->t;
    const size_t n = basis_of(l), orbitals = t->n_orbital, numbers = with_trace ? t->n_edge * x->n_pair : 0;
    const dim3 edges = nhk_grid(g, t->n_edge, 1);
    nhk_good(g, cudaSetDevice(g->index), "cudaSetDevice");
    if (nhk_ready(g, t->n_edge)) NHK_RUN(g, weigh_kernel, edges, EDGE_BLOCK, 0, *t, weight_r, shift, l->g_d);
    for (size_t i = 0; i < l->n_state; i++) {
        const kterm *s = &l->state[i];
        const size_t band = s->band;
        if (!nhk_ready(g, band)) continue;
        NHK_RUN(g, diagonal_kernel, nhk_grid(g, band, NHK_BLOCK), NHK_BLOCK, 0, (unsigned)band,
                (unsigned)s->p, diagonal[i][0], diagonal[i][1], s->delta);
        nhk_zgemm(g, false, false, band, n, band, s->delta, band, s->uc, n, l->y, n);
        nhk_zgemm(g, true, false, orbitals, orbitals, n / orbitals * band, s->u, orbitals, l->y, orbitals,
                  s->k, orbitals);
        NHK_RUN(g, gradient_of_k_kernel, edges, EDGE_BLOCK, 0, *t, s->phase, s->k, l->g_d);
    }
    nhk_correction_to_irreps_adjoint_d(g, &l->d_tables, t->n_edge, l->block, l->g_d, l->scale, x->g_ham);
    if (nhk_ready(g, numbers))
        NHK_RUN(g, scale_kernel, nhk_grid(g, numbers, NHK_BLOCK), NHK_BLOCK, 0, numbers, weight_trace,
                x->g_trace);
    return nhk_sync(g, err);
}

const nhk_outputs_calls nhk_outputs_table = {outputs_make,   outputs_drop,   outputs_ends_f,
                                             outputs_ends_d, outputs_upload, outputs_download};

const nhk_loss_calls nhk_loss_table = {loss_make,    loss_drop,   loss_begin,
                                       loss_project, loss_errors, loss_gradients};
