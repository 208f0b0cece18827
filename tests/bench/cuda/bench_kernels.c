/* Time, bytes and multiply-adds a second of every kernel on the shapes of pipelines/standard.yaml, against what a copy and a
 * matrix product reach in the same run, each result compared with the CPU's; a whole sub-model, forward, backward and a step of
 * Adam; and bands of small and large matrices.
 *
 *     bench_kernels [rows] [repetitions] [edges of the sub-model] [k-points]
 *
 * Exit status 1 where a result is wrong. Single precision but for the bands. Times are of the queue: `repetitions` calls and one wait. */
#include "base/memory.h"
#include "base/progress.h"
#include "crystal/eigen.h"
#include "crystal/eigen_placed.h"
#include "crystal/fourier.h"
#include "crystal/fourier_placed.h"
#include "device/device.h"
#include "kernels/ops.h"
#include "network/network.h"
#include "nextham/embedding.h"
#include "nextham/parameters.h"
#include "o3/harmonics.h"
#include "training/adam.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static nh_gpu *gpu;
static nh_error err;
static size_t n = 8192;
static int repetitions = 50;
static double copy_rate, product_rate; /* bytes, floating-point operations a second */
static bool wrong;

static void die(const char *what)
{
    fprintf(stderr, "bench_kernels: %s: %s\n", what, err.text);
    exit(1);
}

static void need(const void *p)
{
    if (p) return;
    nh_fail_memory(&err, "numbers");
    die("memory");
}

static void sync(void)
{
    if (nhk_sync(gpu, &err)) die("device");
}

static double next_random(void)
{
    static uint64_t s = 1;
    s = s * 6364136223846793005u + 1442695040888963407u;
    return (double)(s >> 11) * 0x1p-52 - 1;
}

/* Numbers in [-1, 1), on the host and on the device. */
typedef struct array {
    size_t count;
    float *host, *device;
} array;

static array random_array(size_t count)
{
    array a = {.count = count, .host = NH_ARRAY(float, count)};
    need(a.host);
    for (size_t i = 0; i < count; i++)
        a.host[i] = (float)next_random();
    a.device = nhk_alloc(gpu, count, sizeof(float));
    nhk_upload(gpu, a.device, a.host, count * sizeof(float));
    sync();
    return a;
}

static int *int_array(size_t count, const int *from)
{
    int *d = nhk_alloc(gpu, count, sizeof *d);
    nhk_upload(gpu, d, from, count * sizeof *d);
    sync();
    return d;
}

static void free_array(array *a)
{
    free(a->host);
    nhk_free(gpu, a->device);
}

static double difference(const array *a)
{
    float *found = NH_ARRAY(float, a->count);
    double most = 0, scale = 1e-30;
    need(found);
    nhk_download(gpu, found, a->device, a->count * sizeof *found);
    sync();
    for (size_t i = 0; i < a->count; i++) {
        most = fmax(most, isfinite(found[i]) ? fabs((double)found[i] - (double)a->host[i]) : INFINITY);
        scale = fmax(scale, fabs((double)a->host[i]));
    }
    free(found);
    return most / scale;
}

/* Roofline estimate, s: memory and single-precision rates of the data sheets (A100 SXM 80 GB, H100 SXM). */
static double roofline(bool h100, double bytes, double flops)
{
    return fmax(bytes / (h100 ? 3.35e12 : 2.04e12), flops / (h100 ? 67e12 : 19.5e12));
}

/* One line of the table. */
static void report(const char *name, double seconds, double bytes, double flops, double error)
{
    printf("%-26s %9.1f %8.1f %6.0f%% %9.1f %6.0f%% %9.1e  %8.0f %8.0f %7.1f %7.1f%s\n", name, 1e6 * seconds,
           1e-9 * bytes / seconds, 100 * bytes / seconds / copy_rate, 1e-9 * flops / seconds,
           100 * flops / seconds / product_rate, error, bytes / (double)n, flops / (double)n,
           1e6 * roofline(false, bytes, flops), 1e6 * roofline(true, bytes, flops),
           error < 1e-4 ? "" : "  WRONG");
    fflush(stdout);
    if (!(error < 1e-4)) wrong = true;
}

/* Times a call on the device. The first run is not counted. */
#define TIME(seconds, call)                                                                                  \
    do {                                                                                                     \
        call;                                                                                                \
        sync();                                                                                              \
        const double start = nh_seconds();                                                                   \
        for (int i = 0; i < repetitions; i++) {                                                              \
            call;                                                                                            \
        }                                                                                                    \
        sync();                                                                                              \
        seconds = (nh_seconds() - start) / repetitions;                                                      \
    } while (0)
/* For calls that write their result anew. */
#define COMPARE(name, out, bytes, flops, host_call, device_call)                                             \
    do {                                                                                                     \
        double taken;                                                                                        \
        host_call;                                                                                           \
        TIME(taken, device_call);                                                                            \
        report(name, taken, bytes, flops, difference(&(out)));                                               \
    } while (0)

typedef struct tables {
    nh_config config;
    nh_types types;
    nh_params params;
    nh_layout mid, heads, gate;
    nh_linear_map value, post;
    nh_product product;
    nhk_product product_d;
    size_t first[32];
    int *pairs;
} tables;

static void make_tables(tables *t, const char *path)
{
    FILE *f = fopen(path, "r");
    char text[8192] = {0};
    if (!f || fread(text, 1, sizeof text - 1, f) == 0) {
        nh_fail(&err, "cannot read it");
        die(path);
    }
    fclose(f);
    if (nh_config_parse(text, path, &t->config, &err) || nh_types_new(&t->config, &t->types, &err) ||
        nh_params_new(&t->config, &t->params, &err) || nh_layout_new(&t->types.mid, &t->mid, &err) ||
        nh_layout_new(&t->types.heads, &t->heads, &err) || nh_layout_new(&t->types.gate_in, &t->gate, &err) ||
        nh_linear_map_new(&t->types.dtp_out, 0, NULL, &t->types.heads, 0, NULL, 0, &t->value, &err) ||
        nh_linear_map_new(&t->types.heads, 0, NULL, &t->types.mid, 0, NULL, 0, &t->post, &err) ||
        nh_product_new(&t->types, &t->product, &err))
        die(path);
    size_t next = t->mid.group[0].mul;
    for (size_t i = 0; i < t->mid.n_entry; i++) {
        if (t->mid.entry[i].group == 0) continue;
        t->first[t->mid.entry[i].group] = next;
        next += t->mid.entry[i].mul;
    }
    nhk_product_new(gpu, &t->product, &t->product_d);
    t->pairs = nhk_pairs_table(gpu, &t->mid);
    sync();
}

static void peaks(const nh_device *device)
{
    enum { SIZE = 2048 };
    array a = random_array((size_t)16 << 20), b = random_array((size_t)16 << 20);
    double seconds;
    TIME(seconds, nhk_copy(gpu, b.device, a.device, a.count * sizeof(float)));
    copy_rate = 2.0 * (double)a.count * sizeof(float) / seconds;
    TIME(seconds,
         nhk_dense_forward_f(gpu, SIZE, SIZE, SIZE, a.device, a.device + SIZE * SIZE, NULL, false, b.device));
    product_rate = 2.0 * SIZE * SIZE * SIZE / seconds;
    printf("device: %s\ncopy: %.0f GB/s; matrix product %d x %d x %d: %.0f GFLOP/s; percentages are of "
           "these\n\n",
           device->call->name(gpu), 1e-9 * copy_rate, SIZE, SIZE, SIZE, 1e-9 * product_rate);
    free_array(&a);
    free_array(&b);
}

static double linear_flops(const nh_linear_map *map)
{
    double flops = 0;
    for (size_t g = 0; g < map->out.count; g++)
        if (map->block[g].in != SIZE_MAX)
            flops += 2.0 * (double)n * (double)map->out.group[g].rows * (double)map->block[g].cin *
                     (double)map->block[g].cout;
    return flops;
}

static void rows_and_norms(const tables *t)
{
    const size_t mid = t->mid.dim, gate = t->gate.dim, channels = t->mid.channels;
    const double s = 4.0 * (double)n * (double)mid, s_gate = 4.0 * (double)n * (double)gate;
    array x = random_array(n * mid), y = random_array(n * mid), z = random_array(n * mid),
          gain = random_array(channels), shift = random_array(t->mid.group[0].mul),
          in = random_array(n * gate), g_in = random_array(n * gate);
    size_t *row = NH_ARRAY(size_t, n);
    int *row_i = NH_ARRAY(int, n);
    need(row);
    need(row_i);
    for (size_t i = 0; i < n; i++)
        row_i[i] = (int)(row[i] = i * 7919 % n);
    int *row_d = int_array(n, row_i);
    COMPARE("rows_load", y, 2 * s, 0, nh_rows_load_f(&t->mid, n, row, x.host, y.host),
            nhk_rows_load_f(gpu, &t->mid, n, row_d, 0, x.device, y.device));
    COMPARE("norm", y, 2 * s, 6 * s / 4,
            nh_norm_forward_f(&t->mid, n, x.host, 1e-5, gain.host, shift.host, y.host),
            nhk_norm_forward_f(gpu, &t->mid, n, x.device, 1e-5, gain.device, shift.device, y.device));
    COMPARE("norm, backward", y, 3 * s, 14 * s / 4,
            nh_norm_backward_f(&t->mid, n, z.host, x.host, 1e-5, gain.host, y.host, false, NULL, NULL),
            nhk_norm_backward_f(gpu, &t->mid, n, z.device, x.device, 1e-5, gain.device, y.device, false, NULL,
                                NULL));
    COMPARE("gate", y, s + s_gate, 4 * s / 4,
            nh_gate_forward_f(&t->gate, &t->mid, t->first, n, in.host, y.host),
            nhk_gate_forward_f(gpu, &t->gate, &t->mid, t->first, n, in.device, y.device));
    COMPARE("gate, backward", g_in, s + 2 * s_gate, 8 * s / 4,
            nh_gate_backward_f(&t->gate, &t->mid, t->first, n, x.host, in.host, g_in.host),
            nhk_gate_backward_f(gpu, &t->gate, &t->mid, t->first, n, x.device, in.device, g_in.device));
    free(row);
    free(row_i);
    nhk_free(gpu, row_d);
    array *list[] = {&x, &y, &z, &gain, &shift, &in, &g_in};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        free_array(list[i]);
}

static void geometry(const tables *t)
{
    const size_t n_y = t->product.n_harmonic, n_m = t->product.n_matrix, basis = t->config.radial_basis;
    array y = random_array(n * n_y), g = random_array(n * basis), v = random_array(3 * n);
    double *v64 = NH_ARRAY(double, 3 * n), *r = NH_ARRAY(double, n);
    need(v64);
    need(r);
    for (size_t i = 0; i < n; i++) {
        r[i] = 4 + 4 * (double)v.host[i];
        for (size_t k = 0; k < 3; k++)
            v64[3 * i + k] = (double)v.host[3 * i + k];
    }
    double *v_d = nhk_alloc(gpu, 3 * n, sizeof(double)), *r_d = nhk_alloc(gpu, n, sizeof(double));
    nhk_upload(gpu, v_d, v64, 3 * n * sizeof(double));
    nhk_upload(gpu, r_d, r, n * sizeof(double));
    COMPARE("harmonics", y, (double)n * (24 + 4.0 * (double)n_y), 6.0 * (double)n * (double)n_y,
            nh_spherical_harmonics_f(t->config.sh_lmax, n, v64, y.host),
            nhk_harmonics_forward_f(gpu, t->config.sh_lmax, n, v_d, y.device));
    COMPARE("gaussians", g, (double)n * (8 + 4.0 * (double)basis), 4.0 * (double)n * (double)basis,
            nh_gaussians_forward_f(n, basis, t->config.radial_max, r, basis, g.host),
            nhk_gaussians_forward_f(gpu, n, basis, t->config.radial_max, r_d, basis, g.device));
    array m = random_array(n * n_m);
    double seconds;
    TIME(seconds, nhk_coupling_forward_f(gpu, &t->product_d, n, y.device, m.device));
    float *across = NH_ARRAY(float, n *n_y), *m_across = NH_ARRAY(float, n *n_m);
    need(across);
    need(m_across);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n_y; k++)
            across[k * n + i] = y.host[i * n_y + k];
    nh_coupling_forward_f(&t->product, n, across, m_across);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n_m; k++)
            m.host[i * n_m + k] = m_across[k * n + i];
    report("coupling", seconds, 4.0 * (double)n * (double)(n_y + n_m),
           2.0 * (double)n * (double)t->product.first_term[n_m], difference(&m));
    free(across);
    free(m_across);
    free(v64);
    free(r);
    nhk_free(gpu, v_d);
    nhk_free(gpu, r_d);
    array *list[] = {&y, &g, &v, &m};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        free_array(list[i]);
}

/* All groups of the product, and the linear map of the values that follows. */
static void product(const tables *t)
{
    const nh_product *p = &t->product;
    const size_t in = p->in.dim, n_m = p->n_matrix, n_w = p->n_weight;
    array x = random_array(n * in), m = random_array(n * n_m), w = random_array(n * n_w),
          out = random_array(n * p->out.dim), gx = random_array(n * in),
          heads = random_array(n * t->heads.dim), lin = random_array(t->value.n_weight);
    double flops = 0, seconds;
    for (size_t g = 0; g < p->out.count; g++)
        for (size_t k = p->first_path[g]; k < p->first_path[g + 1]; k++)
            flops += 2.0 * (double)n * (double)(p->path[k].mul * p->path[k].rows * p->out.group[g].rows);
    float *across = NH_ARRAY(float, n *n_m);
    need(across);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n_m; k++)
            across[k * n + i] = m.host[i * n_m + k];
    for (size_t g = 0; g < p->out.count; g++)
        nh_product_forward_f(p, g, n, x.host, across, w.host, n_w, out.host + n * p->out.group[g].offset);
    TIME(seconds, for (size_t g = 0; g < p->out.count; g++)
                      nhk_product_forward_f(gpu, &t->product_d, g, n, x.device, m.device, w.device, n_w,
                                            out.device + n * p->out.group[g].offset));
    const double bytes = 4.0 * (double)n * (double)(in + n_m + n_w + p->out.dim);
    report("product, all groups", seconds, bytes, flops, difference(&out));

    memset(gx.host, 0, n * in * sizeof(float));
    for (size_t g = 0; g < p->out.count; g++)
        nh_product_backward_f(p, g, n, out.host + n * p->out.group[g].offset, x.host, across, w.host, n_w,
                              gx.host, NULL);
    TIME(seconds, nhk_zero(gpu, gx.device, n * in * sizeof(float)); for (size_t g = 0; g < p->out.count; g++)
             nhk_product_backward_f(gpu, &t->product_d, g, n, out.device + n * p->out.group[g].offset,
                                    x.device, m.device, w.device, n_w, gx.device, NULL));
    report("product, backward", seconds, bytes + 4.0 * (double)n * (double)in, 2 * flops, difference(&gx));
    COMPARE("linear, product to heads", heads,
            4.0 * (double)n * (double)(p->out.dim + t->heads.dim) + 4.0 * (double)t->value.n_weight,
            linear_flops(&t->value),
            nh_linear_forward_f(&t->value, n, out.host, lin.host, NULL, false, heads.host),
            nhk_linear_forward_f(gpu, &t->value, n, out.device, lin.device, NULL, false, heads.device));
    free(across);
    array *list[] = {&x, &m, &w, &out, &gx, &heads, &lin};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        free_array(list[i]);
}

static void attention(const tables *t)
{
    enum { EDGES = 64 }; /* of a node */
    const nh_layout *l = &t->heads;
    const size_t heads = t->config.heads, dim = l->dim, parts = (n + EDGES - 1) / EDGES;
    array a = random_array(n * heads), copies = random_array(n), v = random_array(n * dim),
          y = random_array(n * dim), max = random_array(parts * heads), sum = random_array(parts * heads),
          value = random_array(parts * dim);
    int *begin = NH_ARRAY(int, parts + 1);
    size_t *row = NH_ARRAY(size_t, n);
    need(begin);
    need(row);
    for (size_t i = 0; i < n; i++)
        row[i] = i;
    for (size_t i = 0; i <= parts; i++)
        begin[i] = (int)(i * EDGES < n ? i * EDGES : n);
    int *begin_d = int_array(parts + 1, begin);
    for (size_t i = 0; i < n; i++)
        copies.host[i] = 1;
    nhk_upload(gpu, copies.device, copies.host, n * sizeof(float));
    const double s = 4.0 * (double)n * (double)dim;
    COMPARE("heads", y, 2 * s, s / 4, nh_heads_forward_f(l, heads, n, n, row, a.host, v.host, y.host),
            nhk_heads_forward_f(gpu, l, heads, n, n, NULL, 0, a.device, v.device, y.device));
    for (size_t p = 0; p < parts; p++)
        nh_softmax_partial_forward_f(l, heads, n, (size_t)begin[p], (size_t)(begin[p + 1] - begin[p]), a.host,
                                     copies.host, v.host, max.host + p * heads, sum.host + p * heads,
                                     value.host + p * dim);
    double seconds;
    TIME(seconds, nhk_softmax_partial_forward_f(gpu, l, heads, n, parts, begin_d, 0, a.device, copies.device,
                                                v.device, max.device, sum.device, value.device));
    report("softmax, partial sums", seconds, s + 4.0 * (double)(parts * dim), 3 * s / 4, difference(&value));
    free(begin);
    free(row);
    nhk_free(gpu, begin_d);
    array *list[] = {&a, &copies, &v, &y, &max, &sum, &value};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        free_array(list[i]);
}

static void invariants(const tables *t)
{
    const size_t mid = t->mid.dim, pairs = t->mid.pairs, z = t->config.tg_z, width[5] = {pairs, z, z, z, z};
    array x = random_array(n * mid), q = random_array(n * pairs), gx = random_array(n * mid),
          y = random_array(n * z);
    array part[4][4];
    float *weight[2][4][4];
    for (size_t i = 0; i < 4; i++) {
        const size_t count[4] = {width[i] * width[i + 1], width[i + 1], width[i + 1], width[i + 1]};
        for (size_t k = 0; k < 4; k++) {
            part[k][i] = random_array(count[k]);
            weight[0][k][i] = part[k][i].host;
            weight[1][k][i] = part[k][i].device;
        }
    }
    nh_mlp_f m[2];
    for (size_t k = 0; k < 2; k++)
        m[k] = (nh_mlp_f){.layers = 4,
                          .width = width,
                          .weight = weight[k][0],
                          .bias = weight[k][1],
                          .gain = weight[k][2],
                          .shift = weight[k][3],
                          .eps = 1e-6F};
    array hidden = random_array(n * nh_mlp_hidden_size_f(&m[0]));
    double multiply_adds = 0, chain = 0;
    for (size_t g = 0; g < t->mid.count; g++)
        multiply_adds += (double)n * (double)t->mid.group[g].dim * (double)(t->mid.group[g].mul + 1) / 2;
    for (size_t i = 0; i < 4; i++)
        chain += 2.0 * (double)n * (double)(width[i] * width[i + 1]);
    const double s = 4.0 * (double)n * (double)(mid + pairs);
    COMPARE("pairs", q, s, 2 * multiply_adds, nh_pairs_forward_f(&t->mid, n, x.host, q.host),
            nhk_pairs_forward_f(gpu, &t->mid, t->pairs, n, x.device, q.device));
    COMPARE("pairs, backward", gx, s + 4.0 * (double)n * (double)mid, 4 * multiply_adds,
            nh_pairs_backward_f(&t->mid, n, q.host, x.host, gx.host, false),
            nhk_pairs_backward_f(gpu, &t->mid, n, q.device, x.device, gx.device, false));
    COMPARE("chain of TraceGrad", y, 4.0 * (double)n * (double)(pairs + 10 * z), chain,
            nh_mlp_forward_f(&m[0], n, q.host, hidden.host, y.host, false),
            nhk_mlp_forward_f(gpu, &m[1], n, q.device, hidden.device, y.device, false));
    for (size_t i = 0; i < 16; i++)
        free_array(&part[i / 4][i % 4]);
    array *list[] = {&x, &q, &gx, &y, &hidden};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        free_array(list[i]);
}

/* ---- a sub-model on a graph with 64 edges a node */

typedef struct graph {
    nh_edges g;
    int *src, *dst;
    double *vector, *distance;
    size_t in, out;
    float *ham;
} graph;

static void source(void *context, size_t first, size_t count, float *x)
{
    const graph *c = context;
    for (size_t i = 0; i < count * c->in; i++)
        x[i] = (float)sin((double)(first * c->in + i));
}

static void sink(void *context, size_t count, const size_t *edge, const float *ham, const float *trace)
{
    graph *c = context;
    (void)trace;
    for (size_t i = 0; i < count; i++)
        memcpy(c->ham + edge[i] * c->out, ham + i * c->out, c->out * sizeof *ham);
}

static void seed(void *context, size_t count, const size_t *edge, float *g_ham, float *g_trace)
{
    const graph *c = context;
    (void)edge;
    for (size_t i = 0; i < count * c->out; i++)
        g_ham[i] = 1;
    (void)g_trace;
}

/* Steps of Adam with the gradient that is on the device; the first one compared with the CPU's. Smallest of three times. */
static double update(const tables *t, const nh_device *device, nh_network_f *net, const nh_weights *first,
                     double *error)
{
    static const nh_optimizer_settings o = {.beta = {0.9, 0.999}, .eps = 1e-8};
    const nhk_training_f_calls *call = device->call->training_f;
    nhk_network_f *placed = nh_network_f_placed(net);
    const nhk_adam numbers = nh_adam_numbers(&o, 1e-3, 1, 1);
    nh_weights w, m, v, gradient, found;
    nh_weights *const list[] = {&w, &m, &v, &found};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (nh_weights_zero_like(&t->params, first, list[i], &err)) die("moments");
    nh_weights_copy(&t->params, &w, first);
    if (nh_network_f_gradients_new(net, &gradient, &err) ||
        call->read(placed, NHK_GRADIENT, gradient.as_float, &err) ||
        call->write(placed, NHK_WEIGHTS, w.as_float, &err) ||
        call->write(placed, NHK_FIRST_MOMENT, m.as_float, &err) ||
        call->write(placed, NHK_SECOND_MOMENT, v.as_float, &err))
        die("training on the device");
    nh_adam_step(&o, &t->params, 1e-3, 1, 1, &gradient, &m, &v, &w, NULL);
    double seconds = INFINITY;
    for (int i = 0; i < 3; i++) {
        const double begin = nh_seconds();
        if (call->step(placed, &numbers, 0, &err)) die("step");
        seconds = fmin(seconds, nh_seconds() - begin);
        if (i == 0 && call->read(placed, NHK_WEIGHTS, found.as_float, &err)) die("weights");
    }
    *error = 0;
    for (size_t i = 0; i < t->params.count; i++)
        for (size_t k = 0; gradient.as_float[i] && k < t->params.param[i].count; k++)
            *error = fmax(*error, fabs((double)found.as_float[i][k] - (double)w.as_float[i][k]));
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        nh_weights_free(list[i]);
    nh_weights_free(&gradient);
    return seconds;
}

static void submodel(const tables *t, const nh_device *device, size_t n_edge)
{
    enum { EDGES = 64, RANGE = 3 };
    graph c = {.in = t->types.out.dim, .out = t->types.out.dim};
    c.g.n_node = (n_edge + EDGES - 1) / EDGES;
    c.g.n_edge = n_edge;
    c.src = NH_ARRAY(int, n_edge);
    c.dst = NH_ARRAY(int, n_edge);
    c.vector = NH_ARRAY(double, 3 * n_edge);
    c.distance = NH_ARRAY(double, n_edge);
    c.ham = NH_ARRAY(float, n_edge *c.out);
    float *cpu = NH_ARRAY(float, n_edge *c.out);
    size_t *entry = NH_ARRAY(size_t, t->types.out.count);
    need(c.src);
    need(c.dst);
    need(c.vector);
    need(c.distance);
    need(c.ham);
    need(cpu);
    need(entry);
    for (size_t i = 0; i < t->types.out.count; i++)
        entry[i] = i;
    for (size_t e = 0; e < n_edge; e++) {
        c.dst[e] = (int)(e / EDGES);
        c.src[e] = (int)((e / EDGES + 7919 * (e % EDGES)) % c.g.n_node);
        const double r = e % EDGES == 0 ? 0 : 2 + 6 * (double)(e % EDGES) / EDGES;
        c.vector[3 * e] = r * cos((double)e);
        c.vector[3 * e + 1] = r * sin((double)e) * 0.6;
        c.vector[3 * e + 2] = r * sin((double)e) * 0.8;
        c.distance[e] = r;
    }
    c.g.src = c.src;
    c.g.dst = c.dst;
    c.g.vector = c.vector;
    c.g.distance = c.distance;
    nh_weights w;
    nh_network_f *net;
    nh_network_f_tape *tape;
    if (nh_weights_new(&t->params, false, &w, &err) || nh_weights_init(&t->params, 1, RANGE, &w, &err) ||
        nh_network_f_new(&t->config, &t->types, &t->params, &w, RANGE, &t->types.out, entry, &t->types.out,
                         entry, false, NH_METHOD_FAST, NULL, &net, &err) ||
        nh_network_f_tape_new(NH_TAPE_RECOMPUTE, &tape, &err) ||
        nh_network_f_forward(net, &c.g, source, &c, sink, &c, false, NULL, NULL, NULL, &err))
        die("sub-model");
    memcpy(cpu, c.ham, n_edge * c.out * sizeof *cpu);
    memset(c.ham, 0, n_edge * c.out * sizeof *cpu);
    if (nh_network_f_place(net, device, &err)) die("sub-model on the device");
    double most = 0, scale = 1e-30, begin = 0, forward = INFINITY, backward = INFINITY;
    for (int i = 0; i < 3; i++) {
        begin = nh_seconds();
        if (nh_network_f_forward(net, &c.g, source, &c, sink, &c, false, NULL, NULL, NULL, &err))
            die("forward");
        forward = fmin(forward, nh_seconds() - begin);
    }
    for (size_t i = 0; i < n_edge * c.out; i++) {
        most = fmax(most, fabs((double)cpu[i] - (double)c.ham[i]));
        scale = fmax(scale, fabs((double)cpu[i]));
    }
    for (int i = 0; i < 2; i++) {
        begin = nh_seconds();
        if (nh_network_f_forward_keep(net, &c.g, source, &c, NULL, NULL, tape, NULL, NULL, &err) ||
            nh_network_f_backward(net, tape, seed, &c, NULL, NULL, NULL, &err))
            die("backward");
        backward = fmin(backward, nh_seconds() - begin);
    }
    const double error = most / scale;
    double stepped;
    const double step = update(t, device, net, &w, &stepped); /* with steps of 1e-3 */
    printf("\nsub-model, %zu edges: forward %.4f s (%.0f edges/s), forward and backward %.4f s (%.0f "
           "edges/s), difference "
           "%.1e%s; Adam %.4f s, difference %.1e%s\n",
           n_edge, forward, (double)n_edge / forward, backward, (double)n_edge / backward, error,
           error < 1e-3 ? "" : "  WRONG", step, stepped, stepped < 1e-6 ? "" : "  WRONG");
    if (!(error < 1e-3 && stepped < 1e-6)) wrong = true;
    nh_weights_free(&w);
    nh_network_f_tape_free(tape);
    nh_network_f_free(net);
    free(c.src);
    free(c.dst);
    free(c.vector);
    free(c.distance);
    free(c.ham);
    free(cpu);
    free(entry);
}

/* Features of n edges from blocks of the whole padded basis with four spin blocks; corrections from the answers. */
static void transforms(const tables *t)
{
    const size_t slots = t->config.n_shell;
    nh_embedding *e;
    nh_structure s;
    nh_selection all, real;
    nhk_embedding host[2], on[2];
    size_t *slot = NH_ARRAY(size_t, slots);
    need(slot);
    for (size_t i = 0; i < slots; i++)
        slot[i] = i;
    if (nh_embedding_new(slots, t->config.shell_l, &e, &err) || nh_structure_new(1, 1, &s, &err) ||
        nh_structure_set_shells(&s, &slots, t->config.shell_l, &err) ||
        nh_selection_new(e, NH_PART_ALL, NULL, &all, &err) ||
        nh_selection_new(e, NH_PART_REAL, NULL, &real, &err) ||
        nh_embedding_tables(&(nh_transform){e, &all, &s, slot}, NULL, &host[0], &err) ||
        nh_embedding_tables(&(nh_transform){e, &real, &s, slot}, NULL, &host[1], &err))
        die("transforms");
    for (size_t i = 0; i < 2; i++)
        on[i] = nhk_embedding_new(gpu, &host[i]);
    const size_t orbitals = nh_species_orbitals(&s, 0), size = orbitals * orbitals, dim = all.irreps.dim,
                 n_out = real.irreps.dim;
    double *matrix = NH_ARRAY(double, 8 * n * size), *row = NH_ARRAY(double, dim),
           *d = NH_ARRAY(double, n *size), *found = NH_ARRAY(double, size);
    need(found);
    nhk_block *block = NH_ARRAY(nhk_block, n);
    need(matrix);
    need(row);
    need(d);
    need(block);
    for (size_t i = 0; i < 8 * n * size; i++)
        matrix[i] = next_random();
    for (size_t i = 0; i < n; i++)
        block[i].start = i * size;
    double *matrix_d = nhk_alloc(gpu, 8 * n * size, sizeof *matrix_d),
           *d_d = nhk_alloc(gpu, n * size, sizeof *d_d), seconds;
    nhk_block *block_d = nhk_alloc(gpu, n, sizeof *block_d);
    nhk_upload(gpu, matrix_d, matrix, 8 * n * size * sizeof *matrix);
    nhk_upload(gpu, block_d, block, n * sizeof *block);
    array x = random_array(n * dim), y = random_array(n * n_out), back = random_array(n * n_out);
    double terms[2] = {0, 0},
           down = 0; /* of the features, of the transposed corrections, which have two of the four channels */
    for (size_t k = 0; k < 2; k++)
        for (int i = 0; i < host[k].dim; i++)
            for (int q = host[k].up_start[host[k].number[i].row];
                 q < host[k].up_start[host[k].number[i].row + 1]; q++)
                terms[k] += k == 0 || host[k].up[q].channel % 2 == 0;
    for (size_t p = 0; p < slots * slots; p++) {
        const int first = host[1].down_row[p], rows = host[1].width[p / slots] * host[1].width[p % slots];
        down += host[1].down_start[first + rows] - host[1].down_start[first];
    }

    TIME(seconds, nhk_block_to_irreps_f(gpu, &on[0], n, block_d, 4, matrix_d, 0, n * size, 1, x.device));
    for (size_t i = 0; i < n; i++) {
        nh_block_to_irreps(&(nh_transform){e, &all, &s, slot}, 0, 0, 4, matrix + 2 * i * size, 2 * n * size,
                           1, row);
        for (size_t k = 0; k < dim; k++)
            x.host[i * dim + k] = (float)row[k];
    }
    report("features of H0", seconds, (double)n * (64 * (double)size + 4 * (double)dim),
           2 * (double)n * terms[0], difference(&x));

    TIME(seconds, nhk_irreps_to_correction_f(gpu, &on[1], n, block_d, NULL, y.device, 1, false, d_d));
    nhk_download(gpu, d, d_d, n * size * sizeof *d);
    sync();
    double most = 0, scale = 1e-30;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < n_out; k++)
            row[k] = (double)y.host[i * n_out + k];
        nh_irreps_to_correction(&(nh_transform){e, &real, &s, slot}, 0, 0, row, found);
        for (size_t k = 0; k < size; k++) {
            most = fmax(most, fabs(found[k] - d[i * size + k]));
            scale = fmax(scale, fabs(found[k]));
        }
    }
    report("corrections", seconds, (double)n * (8 * (double)size + 4 * (double)n_out), 2 * (double)n * down,
           most / scale);

    TIME(seconds, nhk_correction_to_irreps_adjoint_f(gpu, &on[1], n, block_d, d_d, 1, back.device));
    for (size_t i = 0; i < n; i++) {
        nh_correction_to_irreps_adjoint(&(nh_transform){e, &real, &s, slot}, 0, 0, d + i * size, row);
        for (size_t k = 0; k < n_out; k++)
            back.host[i * n_out + k] = (float)row[k];
    }
    report("corrections, transposed", seconds, (double)n * (8 * (double)size + 4 * (double)n_out),
           2 * (double)n * terms[1], difference(&back));
    for (size_t i = 0; i < 2; i++) {
        nhk_embedding_free(gpu, &on[i]);
        nh_embedding_tables_free(&host[i]);
    }
    nhk_free(gpu, matrix_d);
    nhk_free(gpu, d_d);
    nhk_free(gpu, block_d);
    free_array(&x);
    free_array(&y);
    free_array(&back);
    nh_selection_free(&all);
    nh_selection_free(&real);
    nh_embedding_free(e);
    nh_structure_free(&s);
    free(slot);
    free(matrix);
    free(row);
    free(d);
    free(found);
    free(block);
}

/* ---- H(k) and its bands */

/* n_atom atoms of 13 orbitals with spin, every pair with the cells about it: H at random, S close to 1. */
static nh_graph *made_graph(size_t n_atom)
{
    enum { CELLS = 27 };
    static const int shells[] = {0, 0, 1, 1, 2};
    const size_t n_shell = sizeof shells / sizeof *shells, count = n_atom * n_atom * CELLS;
    uint64_t s = 1;
    nh_graph *g = NH_ARRAY(nh_graph, 1);
    nh_pair *pair = nh_calloc(count, sizeof *pair);
    size_t *reverse = NH_ARRAY(size_t, count);
    need(g);
    need(pair);
    need(reverse);
    for (size_t i = 0; i < count; i++) {
        const int c = (int)(i % CELLS);
        pair[i] = (nh_pair){
            (int)(i / CELLS / n_atom), (int)(i / CELLS % n_atom), {c / 9 - 1, c / 3 % 3 - 1, c % 3 - 1}};
    }
    if (nh_structure_new(n_atom, 1, &g->structure, &err) ||
        nh_structure_set_shells(&g->structure, &n_shell, shells, &err))
        die("crystal");
    for (size_t i = 0; i < n_atom; i++)
        g->structure.position[3 * i] = (double)i;
    for (size_t x = 0; x < 3; x++)
        g->structure.lattice[4 * x] = 5 + (double)n_atom;
    g->structure.atomic_number[0] = 14;
    if (nh_pairs_build(&g->structure, count, pair, &g->pairs, &err)) die("crystal");
    nh_pairs_reverse(&g->pairs, reverse);
    g->n_spin = 4;
    g->overlap = NH_ARRAY(double, g->pairs.n_elem);
    g->matrix[NH_H0] = NH_ARRAY(double, 8 * g->pairs.n_elem);
    need(g->overlap);
    need(g->matrix[NH_H0]);
    for (size_t i = 0; i < 8 * g->pairs.n_elem; i++)
        g->matrix[NH_H0][i] = sin(1.7 * (double)i);
    enum { N = 13 };
    for (size_t p = 0; p < count; p++)
        for (size_t r = 0; r < N; r++)
            for (size_t c = 0; c < N && reverse[p] >= p; c++) {
                s = s * 6364136223846793005u + 1442695040888963407u;
                const bool unit = reverse[p] == p && r == c;
                const double v =
                    unit ? 1 : 0.5 * ((double)(s >> 11) * 0x1p-53 - 0.5) / (double)(N * CELLS * n_atom);
                g->overlap[g->pairs.start[p] + N * r + c] =
                    g->overlap[g->pairs.start[reverse[p]] + N * c + r] = v;
            }
    free(reverse);
    return g;
}

/* All k-points twice; seconds of the second time. energy[n_k][basis] */
static double solve_bands(const nh_device *device, const nh_fourier *f, size_t n_k, const double *k,
                          double threshold, bool vectors, double *energy)
{
    const size_t basis = nh_fourier_basis(f), most = vectors ? basis : 0;
    const nh_band_choice all = {.kind = NH_BANDS_ALL};
    nh_eigen_many *w;
    double begin = 0;
    if (nh_eigen_many_new(device, basis, n_k, threshold, vectors, &w, &err)) die("bands");
    const size_t batch = nh_eigen_many_batch(w);
    size_t *rank = NH_ARRAY(size_t, batch), *first = NH_ARRAY(size_t, batch),
           *count = NH_ARRAY(size_t, batch);
    nh_error *each = NH_ARRAY(nh_error, batch);
    double *vector = NH_ARRAY(double, 2 * batch * most * basis + 1);
    need(rank);
    need(first);
    need(count);
    need(each);
    need(vector);
    for (int turn = 0; turn < 2; turn++) {
        begin = nh_seconds();
        for (size_t at = 0, queued = 0; at < n_k; at += batch) {
            for (; queued < n_k && queued < at + 2 * batch; queued += batch)
                if (nh_eigen_many_queue(w, n_k - queued < batch ? n_k - queued : batch, f, k + 3 * queued,
                                        &err))
                    die("bands");
            if (nh_eigen_many_solve(w, &all, most, rank, energy + at * basis, first, count,
                                    vectors ? vector : NULL, NULL, each, &err))
                die("bands");
            if (each[0].text[0] != '\0') {
                err = each[0];
                die("bands");
            }
        }
    }
    begin = nh_seconds() - begin;
    nh_eigen_many_free(w);
    free(rank);
    free(first);
    free(count);
    free(each);
    free(vector);
    return begin;
}

static double largest_difference(size_t count, const double *a, const double *b)
{
    double most = 0, scale = 1e-30;
    for (size_t i = 0; i < count; i++) {
        most = fmax(most, isfinite(b[i]) ? fabs(a[i] - b[i]) : INFINITY);
        scale = fmax(scale, fabs(a[i]));
    }
    return most / scale;
}

static void bands(const nh_device *device, size_t n_atom, size_t n_k)
{
    enum { COMPARED = 2 };
    nh_graph *g = made_graph(n_atom);
    nh_fourier *f;
    nh_eigen *w;
    if (nh_fourier_new(g, NH_H0, NULL, &f, &err)) die("bands");
    const size_t basis = nh_fourier_basis(f), size = 2 * basis * basis,
                 compared = n_k < COMPARED ? n_k : COMPARED;
    const nh_band_choice all = {.kind = NH_BANDS_ALL};
    double *k = NH_ARRAY(double, 3 * n_k), *h = NH_ARRAY(double, COMPARED *size),
           *s = NH_ARRAY(double, COMPARED *size), *h_device = NH_ARRAY(double, COMPARED *size),
           *s_device = NH_ARRAY(double, COMPARED *size), *cpu = NH_ARRAY(double, COMPARED *basis),
           *energy = NH_ARRAY(double, n_k *basis);
    need(k);
    need(h);
    need(s);
    need(h_device);
    need(s_device);
    need(cpu);
    need(energy);
    for (size_t i = 0; i < 3 * n_k; i++)
        k[i] = 0.61803 * (double)i - floor(0.61803 * (double)i);
    if (nh_fourier_at(f, compared, k, h, s, &err) || nh_fourier_place(f, device, &err)) die("H(k)");
    double begin = 0, sums = INFINITY;
    for (int i = 0; i < 3; i++) {
        begin = nh_seconds();
        if (nh_fourier_at(f, compared, k, h_device, s_device, &err)) die("H(k)");
        sums = fmin(sums, (nh_seconds() - begin) / (double)compared);
    }
    const double error_h = fmax(largest_difference(compared * size, h, h_device),
                                largest_difference(compared * size, s, s_device));
    begin = nh_seconds();
    if (nh_eigen_new(basis, 0, false, &w, &err)) die("bands");
    for (size_t i = 0; i < compared; i++) {
        size_t rank, first, count;
        if (nh_eigen_solve(w, h + i * size, s + i * size, &all, 0, &rank, cpu + i * basis, &first, &count,
                           NULL, &err))
            die("bands");
    }
    const double on_cpu = (nh_seconds() - begin) / (double)compared;
    nh_eigen_free(w);
    printf("%zu x %zu, %zu k-points, ms for each: H(k), S(k) to the host %.3f (differ %.1e%s); energies on "
           "the CPU %.3f;",
           basis, basis, n_k, 1e3 * sums, error_h, error_h < 1e-12 ? "" : "  WRONG", 1e3 * on_cpu);
    bool good = error_h < 1e-12;
    for (int kind = 0; kind < 3; kind++) {
        static const char *const names[] = {"energies", "with vectors", "energies, --s-threshold"};
        const double seconds = solve_bands(device, f, n_k, k, kind == 2 ? 1e-6 : 0, kind == 1, energy);
        const double error = largest_difference(compared * basis, cpu, energy);
        printf(" %s %.3f (differ %.1e%s)%s", names[kind], 1e3 * seconds / (double)n_k, error,
               error < 1e-9 ? "" : "  WRONG", kind < 2 ? ";" : "\n");
        good = good && error < 1e-9;
    }
    if (!good) wrong = true;
    nh_fourier_free(f);
    nh_graph_free(g);
    double *list[] = {k, h, s, h_device, s_device, cpu, energy};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        free(list[i]);
}

int main(int argc, char **argv)
{
    tables t = {0};
    nh_device *device;
    size_t n_edge = 16384, n_k = 256;
    if (argc > 1) n = strtoul(argv[1], NULL, 10);
    if (argc > 2) repetitions = atoi(argv[2]);
    if (argc > 3) n_edge = strtoul(argv[3], NULL, 10);
    if (argc > 4) n_k = strtoul(argv[4], NULL, 10);
    if (n == 0 || repetitions < 1 || n_edge == 0 || n_k == 0) {
        fprintf(stderr, "bench_kernels: [rows] [repetitions] [edges] [k-points] expected, each at least 1\n");
        return 2;
    }
    if (nh_device_open_with(nhk_table(), "cuda", 0, &device, &err)) die("--device cuda");
    gpu = device->gpu;
    make_tables(&t, "pipelines/standard.yaml");
    peaks(device);
    printf("%zu rows, single precision; the last four columns are estimates: bytes and flops of a row, and "
           "the time of the n rows\n"
           "that the rates of the data sheets of an A100 and an H100 (SXM) would allow, us\n"
           "%-26s %9s %8s %7s %9s %7s %9s  %8s %8s %7s %7s\n",
           n, "kernel", "us", "GB/s", "copy", "GFLOP/s", "gemm", "differs", "B/row", "FLOP/row", "A100",
           "H100");
    rows_and_norms(&t);
    geometry(&t);
    product(&t);
    attention(&t);
    invariants(&t);
    transforms(&t);
    submodel(&t, device, n_edge);
    printf("\nbands\n");
    bands(device, 2, n_k);
    bands(device, 8, n_k);
    bands(device, 24, (n_k + 15) / 16); /* beyond NHK_BATCHED */
    nhk_product_free(gpu, &t.product_d);
    nhk_free(gpu, t.pairs);
    nh_layout_free(&t.mid);
    nh_layout_free(&t.heads);
    nh_layout_free(&t.gate);
    nh_linear_map_free(&t.value);
    nh_linear_map_free(&t.post);
    nh_product_free(&t.product);
    nh_params_free(&t.params);
    nh_types_free(&t.types);
    nh_config_free(&t.config);
    nh_device_close(device);
    return wrong;
}
