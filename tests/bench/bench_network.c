/* Speed of the standard network: four sub-models on a made-up crystal of 6 atoms and some 560 edges within 8
 * Å, and a step of training of each.
 *
 *     bench_network [THREADS [REPEATS [CONFIG [COPIES]]]]
 *     bench_network THREADS REPEATS CONFIG COPIES forward        (no steps of training)
 *
 * COPIES repeats the cell along each axis (2: 48 atoms). Prints the best time of each sub-model, where the
 * threads' time went, the memory, and the rate of sgemm (1024, one per thread at a time) measured in the same
 * run, between the sub-models. "Of it": the operations of the matrix products that the edges cannot do without (linear
 * maps, TraceGrad's chain; not the radial networks, which edges share, nor the nodes), per second, over that rate. A step
 * is forward, backward and the new weights into the network (the optimiser's own work is not in it), with the trace head.
 */
#include "base/memory.h"
#include "network/network.h"

#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double uniform(uint64_t *s)
{
    *s = *s * 6364136223846793005U + 1442695040888963407U;
    return (double)(*s >> 11) * 0x1p-52 - 1;
}

typedef struct crystal {
    nh_edges edges;
    int *src, *dst;
    double *vector, *distance;
} crystal;

/* A slightly shaken hexagonal-like cell, 130 Å^3 for 6 atoms, repeated; every pair within 8 Å of it. */
static int make_crystal(size_t copies, crystal *c)
{
    const double cell[3][3] = {{4.65, 0, 0}, {-2.325, 4.027, 0}, {0, 0, 6.96}};
    const double base[6][3] = {{0, 0, 0},        {0.333, 0.667, 0.02}, {0.5, 0.02, 0.26},
                               {0.03, 0.5, 0.5}, {0.5, 0.5, 0.74},     {0.667, 0.3, 0.51}};
    const size_t n = 6 * copies * copies * copies;
    const int reach = copies > 1 ? 1 : 3; /* two cells are 8.05 Å across */
    double(*position)[3] = calloc(n, sizeof *position);
    if (position == NULL) return -1;
    size_t a = 0;
    for (size_t i = 0; i < copies; i++)
        for (size_t j = 0; j < copies; j++)
            for (size_t k = 0; k < copies; k++)
                for (size_t b = 0; b < 6; b++, a++)
                    for (size_t x = 0; x < 3; x++)
                        position[a][x] = (base[b][0] + (double)i) * cell[0][x] +
                                         (base[b][1] + (double)j) * cell[1][x] +
                                         (base[b][2] + (double)k) * cell[2][x];
    for (int pass = 0; pass < 2; pass++) {
        size_t count = 0;
        for (int i = -reach; i <= reach; i++)
            for (int j = -reach; j <= reach; j++)
                for (int k = -reach; k <= reach; k++)
                    for (size_t s = 0; s < n; s++)
                        for (size_t d = 0; d < n; d++) {
                            double v[3], r2 = 0;
                            for (size_t x = 0; x < 3; x++) {
                                v[x] = position[d][x] - position[s][x] +
                                       (double)copies * (i * cell[0][x] + j * cell[1][x] + k * cell[2][x]);
                                r2 += v[x] * v[x];
                            }
                            if (r2 >= 64) continue;
                            if (pass == 1) {
                                c->src[count] = (int)s;
                                c->dst[count] = (int)d;
                                memcpy(c->vector + 3 * count, v, sizeof v);
                                c->distance[count] = round(sqrt(r2) * 1e8) / 1e8;
                            }
                            count++;
                        }
        if (pass == 1) break;
        c->src = calloc(count, sizeof *c->src);
        c->dst = calloc(count, sizeof *c->dst);
        c->vector = calloc(3 * count, sizeof *c->vector);
        c->distance = calloc(count, sizeof *c->distance);
        if (!c->src || !c->dst || !c->vector || !c->distance) return -1;
        c->edges = (nh_edges){.n_node = n,
                              .n_edge = count,
                              .src = c->src,
                              .dst = c->dst,
                              .vector = c->vector,
                              .distance = c->distance};
    }
    free(position);
    return 0;
}

enum { ROWS = 16 }; /* of made-up features, used over and over */
typedef struct feed {
    float *features;           /* [ROWS][dim] */
    size_t dim, wanted, pairs; /* numbers of an edge: features, edge_ham, edge_trace */
} feed;

static void source(void *context, size_t first, size_t n, float *out)
{
    const feed *f = context;
    for (size_t t = 0; t < n; t++)
        memcpy(out + t * f->dim, f->features + (first + t) % ROWS * f->dim, f->dim * sizeof *out);
}

static void sink(void *context, size_t n, const size_t *edge, const float *ham, const float *trace)
{
    (void)context;
    (void)n;
    (void)edge;
    (void)ham;
    (void)trace;
}

enum { GEMM = 1024 };

static void gemm(void *context, size_t index, int thread)
{
    float *const *m = context;
    (void)index;
    const size_t size = (size_t)GEMM * GEMM;
    float *a = m[thread];
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, GEMM, GEMM, GEMM, 1, a, GEMM, a + size, GEMM, 0,
                a + 2 * size, GEMM);
}

static double gemm_rate(nh_threads *pool)
{
    const int n = nh_threads_count(pool);
    float **m = calloc((size_t)n, sizeof *m);
    if (m == NULL) return 0;
    for (int i = 0; i < n; i++) {
        m[i] = nh_calloc_aligned(3 * (size_t)GEMM * GEMM, sizeof **m);
        uint64_t s = 1;
        for (size_t k = 0; m[i] != NULL && k < 2 * (size_t)GEMM * GEMM; k++)
            m[i][k] = (float)uniform(&s);
        if (m[i] == NULL) return 0;
    }
    double best = INFINITY;
    for (int repeat = 0; repeat < 4; repeat++) {
        const double t = seconds();
        nh_parallel_for(pool, 4 * (size_t)n, gemm, m);
        const double d = (seconds() - t) / (4 * n);
        if (d < best) best = d;
    }
    for (int i = 0; i < n; i++)
        free(m[i]);
    free(m);
    return 2.0 * GEMM * GEMM * GEMM / best * 1e-9;
}

static char *text_of(const char *path)
{
    char *text = calloc(65536, 1);
    FILE *f = fopen(path, "rb");
    if (f == NULL || text == NULL || fread(text, 1, 65535, f) == 0) {
        fprintf(stderr, "bench_network: %s: cannot be read\n", path);
        exit(1);
    }
    fclose(f);
    return text;
}

static void seed(void *context, size_t n, const size_t *edge, float *g_ham, float *g_trace)
{
    const feed *f = context;
    for (size_t t = 0; t < n; t++) {
        uint64_t s = edge[t];
        for (size_t i = 0; i < f->wanted; i++)
            g_ham[t * f->wanted + i] = 1e-3F * (float)uniform(&s);
        for (size_t i = 0; i < f->pairs; i++)
            g_trace[t * f->pairs + i] = 1e-3F * (float)uniform(&s);
    }
}

/* Where `threads` threads spent `wall` seconds each. */
static void print_times(const nh_network_times *t, int threads, double wall)
{
    const double all = threads * wall, rest = all - (t->input + t->node + t->radial + t->product + t->linear +
                                                     t->attention + t->tracegrad + t->output);
    printf("thread seconds %.3f: input %.3f node %.3f radial %.3f product %.3f linear %.3f attention %.3f "
           "tracegrad %.3f output %.3f, waiting and the rest %.3f\n",
           all, t->input, t->node, t->radial, t->product, t->linear, t->attention, t->tracegrad, t->output,
           rest);
}

/* Multiply-adds of a linear map, or of the entries entry[] of its output. */
static double map_work(const nh_irreps *in, const nh_irreps *out)
{
    double work = 0;
    for (size_t i = 0; i < in->count; i++)
        for (size_t o = 0; o < out->count; o++)
            if (in->entry[i].l == out->entry[o].l && in->entry[i].p == out->entry[o].p)
                work += (double)(in->entry[i].mul * out->entry[o].mul) * (2 * in->entry[i].l + 1);
    return work;
}

static double peak_memory(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024;
}

/* The network's configuration, the crystal and what is asked of it. */
typedef struct setup {
    nh_config config;
    nh_types types;
    nh_params params;
    crystal c;
    size_t *entry;
    nh_irreps wanted; /* the real half, as nhinfer asks for */
    feed feed;
    int repeats;
    nh_threads *pool;
} setup;

static int setup_new(setup *s, int threads, const char *path, size_t copies, nh_error *err)
{
    char *text = text_of(path);
    if (nh_threads_new(threads, &s->pool, err) != 0 || nh_config_parse(text, path, &s->config, err) != 0)
        return -1;
    free(text);
    if (nh_types_new(&s->config, &s->types, err) != 0 || nh_params_new(&s->config, &s->params, err) != 0)
        return -1;
    if (make_crystal(copies, &s->c) != 0) return nh_fail_memory(err, "crystal");
    const size_t all = s->types.out.count, half = all / 2;
    size_t *mul = NH_ARRAY(size_t, all);
    int *l = NH_ARRAY(int, all), *p = NH_ARRAY(int, all);
    s->entry = NH_ARRAY(size_t, all);
    if (s->entry == NULL || mul == NULL || l == NULL || p == NULL) return nh_fail_memory(err, "types");
    for (size_t i = 0; i < all; i++) {
        s->entry[i] = i;
        mul[i] = s->types.out.entry[i].mul;
        l[i] = s->types.out.entry[i].l;
        p[i] = s->types.out.entry[i].p;
    }
    const int status = nh_irreps_build(half, mul, l, p, &s->wanted, err);
    free(mul);
    free(l);
    free(p);
    s->feed = (feed){.dim = s->types.out.dim, .wanted = s->wanted.dim, .pairs = s->types.n_shell_pair};
    s->feed.features = NH_ARRAY(float, ROWS * s->feed.dim);
    if (s->feed.features == NULL) return nh_fail_memory(err, "features");
    uint64_t random = 1;
    for (size_t i = 0; i < ROWS * s->feed.dim; i++)
        s->feed.features[i] = (float)uniform(&random);
    return status;
}

static void setup_free(setup *s)
{
    nh_irreps_free(&s->wanted);
    nh_params_free(&s->params);
    nh_types_free(&s->types);
    nh_config_free(&s->config);
    nh_threads_free(s->pool);
    free(s->entry);
    free(s->feed.features);
    free(s->c.src);
    free(s->c.dst);
    free(s->c.vector);
    free(s->c.distance);
}

/* Sub-model k with its weights. */
static int sub_model(const setup *s, size_t k, bool with_trace, nh_weights *w, nh_network_f **net,
                     nh_error *err)
{
    if (nh_weights_new(&s->params, false, w, err) != 0 || nh_weights_init(&s->params, 1, k, w, err) != 0)
        return -1;
    return nh_network_f_new(&s->config, &s->types, &s->params, w, k, &s->types.out, s->entry, &s->wanted,
                            s->entry, with_trace, NH_KERNELS_FAST, NULL, net, err);
}

/* Floating-point operations of one sub-model with `inside` of the edges in its range; see the top. */
static double operations(const setup *s, size_t inside)
{
    const nh_types *t = &s->types;
    const nh_config *c = &s->config;
    const double all = (double)s->c.edges.n_edge, in = (double)inside;
    double pairs = 0;
    for (size_t i = 0; i < t->mid.count; i++)
        pairs += (double)(t->mid.entry[i].mul * (t->mid.entry[i].mul + 1)) / 2;
    const double z = (double)c->tg_z, chain = 2 * z * pairs + 4 * z * z,
                 scores = (double)((c->radial_basis + c->alpha_scalars) * c->alpha_hidden[0] +
                                   c->alpha_hidden[0] * c->alpha_hidden[1] + c->alpha_hidden[1] * c->heads),
                 attention = map_work(&t->mid, &t->mid) + map_work(&t->dtp_out, &t->gate_in) +
                             map_work(&t->dtp_out, &t->heads) + scores,
                 project = map_work(&t->heads, &t->mid);
    double work = all * map_work(&t->out, &t->mid);
    for (size_t k = 0; k < c->blocks; k++) {
        const bool last = k + 1 == c->blocks, before = k + 2 == c->blocks;
        work += (last ? in : all) * attention;
        work += last ? in * (map_work(&t->heads, &t->post) + map_work(&t->post, &s->wanted))
                     : (before ? in : all) * (project + (c->tg_scale > 0 ? chain : 0));
    }
    return inside > 0 ? 2 * work : 0;
}

static int bench_forward(setup *s, nh_error *err)
{
    double total = 0, work = 0, rate = 0;
    nh_network_times sum = {0};
    for (size_t k = 0; k < s->config.n_range; k++) {
        size_t inside = 0;
        for (size_t e = 0; e < s->c.edges.n_edge; e++)
            inside += s->c.distance[e] >= s->config.range[k][0] && s->c.distance[e] < s->config.range[k][1];
        nh_network_f *net;
        nh_weights weights;
        double best = INFINITY;
        nh_network_times times = {0};
        if (sub_model(s, k, false, &weights, &net, err) != 0) return -1;
        for (int repeat = 0; repeat < s->repeats; repeat++) {
            nh_network_times now = {0};
            double t = seconds();
            if (nh_network_f_forward(net, &s->c.edges, source, &s->feed, sink, &s->feed, false, NULL, s->pool,
                                     &now, err) != 0)
                return -1;
            t = seconds() - t;
            if (t < best) {
                best = t;
                times = now;
            }
        }
        const double now = gemm_rate(s->pool);
        rate = now > rate ? now : rate;
        printf("sub-model %zu: %5zu edges in range, %.3f s, %.0f GFLOP/s\n", k, inside, best,
               1e-9 * operations(s, inside) / best);
        work += operations(s, inside);
        total += best;
        sum.input += times.input;
        sum.node += times.node;
        sum.radial += times.radial;
        sum.product += times.product;
        sum.linear += times.linear;
        sum.attention += times.attention;
        sum.tracegrad += times.tracegrad;
        sum.output += times.output;
        nh_network_f_free(net);
        nh_weights_free(&weights);
    }
    printf("all: %.3f s, %.2f us and %.2f kB an edge, %.0f GFLOP/s; sgemm %.0f GFLOP/s, %.0f %% of it; peak "
           "memory %.0f MB\n",
           total, 1e6 * total / (double)s->c.edges.n_edge, 1e3 * peak_memory() / (double)s->c.edges.n_edge,
           1e-9 * work / total, rate, 1e-7 * work / total / rate, peak_memory());
    print_times(&sum, nh_threads_count(s->pool), total);
    return 0;
}

static int bench_training(setup *s, nh_tape_memory memory, nh_error *err)
{
    for (size_t k = 0; k < s->config.n_range; k++) {
        nh_network_f *net;
        nh_network_f_tape *tape;
        nh_weights weights, gradient;
        double best = INFINITY, part[3] = {0};
        nh_network_times back = {0};
        if (sub_model(s, k, true, &weights, &net, err) != 0 ||
            nh_network_f_tape_new(memory, &tape, err) != 0 ||
            nh_network_f_gradients_new(net, &gradient, err) != 0)
            return -1;
        for (int repeat = 0; repeat <= s->repeats; repeat++) { /* the first one makes room */
            nh_network_times now = {0};
            const double t0 = seconds();
            if (nh_network_f_forward_keep(net, &s->c.edges, source, &s->feed, sink, &s->feed, tape, s->pool,
                                          NULL, err) != 0)
                return -1;
            const double t1 = seconds();
            if (nh_network_f_backward(net, tape, seed, &s->feed, &gradient, s->pool, &now, err) != 0)
                return -1;
            const double t2 = seconds();
            if (nh_network_f_update(net, &weights, s->pool, err) != 0) return -1;
            const double t3 = seconds();
            if (repeat == 0 || t3 - t0 >= best) continue;
            best = t3 - t0;
            part[0] = t1 - t0;
            part[1] = t2 - t1;
            part[2] = t3 - t2;
            back = now;
        }
        printf(
            "training step, sub-model %zu, %s: %.3f s (forward %.3f, backward %.3f, weights %.3f), tape %.0f "
            "MB, peak memory %.0f MB\n",
            k, memory == NH_TAPE_STORE ? "store" : "recompute", best, part[0], part[1], part[2],
            (double)nh_network_f_tape_bytes(tape) * 1e-6, peak_memory());
        if (k == s->config.n_range - 1) {
            printf("backward of it: ");
            print_times(&back, nh_threads_count(s->pool), part[1]);
        }
        nh_network_f_tape_free(tape);
        nh_network_f_free(net);
        nh_weights_free(&weights);
        nh_weights_free(&gradient);
    }
    return 0;
}

static int bench(int threads, int repeats, const char *path, size_t copies, bool training, nh_error *err)
{
    setup s = {.repeats = repeats};
    int status = setup_new(&s, threads, path, copies, err);
    if (status == 0) {
        printf("%zu atoms, %zu edges, %d threads, single precision, %s\n", s.c.edges.n_node, s.c.edges.n_edge,
               threads, path);
        status = bench_forward(&s, err);
    }
    if (status == 0 && training) status = bench_training(&s, NH_TAPE_RECOMPUTE, err);
    if (status == 0 && training) status = bench_training(&s, NH_TAPE_STORE, err);
    if (status == 0) printf("sgemm: %.0f GFLOP/s\n", gemm_rate(s.pool));
    setup_free(&s);
    return status;
}

int main(int argc, char **argv)
{
    nh_error err = {0};
    const int threads = argc > 1 ? atoi(argv[1]) : nh_cores(), repeats = argc > 2 ? atoi(argv[2]) : 3;
    const char *config = argc > 3 ? argv[3] : "tests/data/network_standard.yaml";
    const size_t copies = argc > 4 ? strtoul(argv[4], NULL, 10) : 1;
    if (bench(threads, repeats > 0 ? repeats : 1, config, copies > 0 ? copies : 1, argc <= 5, &err) == 0)
        return 0;
    fprintf(stderr, "bench_network: %s\n", err.text);
    return 1;
}
