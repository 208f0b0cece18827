/* Speed of the standard network: four sub-models on a made-up crystal of 6 atoms and some 560 edges within 8
 * Å, and a step of training of each.
 *
 *     bench_network [THREADS [REPEATS [CONFIG [COPIES]]]]
 *     bench_network THREADS REPEATS CONFIG COPIES forward        (no steps of training)
 *
 * COPIES repeats the cell along each axis (2: 48 atoms). Prints the best time of each sub-model, where the
 * threads' time went, the memory, and the rate of sgemm (1024, one per thread at a time) measured in the same
 * run, between the sub-models. "Of it": the operations of the matrix products that the edges cannot do without (linear
 * maps, those after tensor products as the frame of the edge leaves them, TraceGrad's chain; not the radial networks, which
 * edges share, nor the nodes), per second, over that rate. A step is forward, backward, Adam and the new weights into the
 * network, with the trace head.
 */
#include "crystals.h"

#include "network/network.h"
#include "plan/frame.h"
#include "training/adam.h"
#include "tests/unit/random.h"

#include <cblas.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
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

/* Multiply-adds of the maps after the two products, in the frame of the edge (plan/frame.h). */
static int product_work(const nh_types *t, double *work, nh_error *err)
{
    nh_product p;
    nh_frame f;
    if (nh_product_new(t, &p, err) != 0) return -1;
    if (nh_frame_new(&p, &f, err) != 0) {
        nh_product_free(&p);
        return -1;
    }
    *work = 0;
    for (size_t g = 0; g < p.out.count; g++)
        for (int m = 0; m <= p.out.group[g].l; m++) {
            double gates = 0, heads = 0;
            for (size_t i = 0; i < t->gate_in.count; i++)
                if (t->gate_in.entry[i].l == p.out.group[g].l && t->gate_in.entry[i].p == p.out.group[g].p)
                    gates += (double)t->gate_in.entry[i].mul;
            for (size_t i = 0; i < t->heads.count; i++)
                if (t->heads.entry[i].l == p.out.group[g].l && t->heads.entry[i].p == p.out.group[g].p)
                    heads += (double)t->heads.entry[i].mul;
            *work += (m > 0 ? 2 : 1) *
                     (gates * (double)f.row[g * ((size_t)f.lmax + 1) + (size_t)m].count +
                      heads * (double)nh_frame_columns(&f, nh_frame_natural(&p.out.group[g]), m));
        }
    nh_frame_free(&f);
    nh_product_free(&p);
    return 0;
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
    nh_graph *crystal;
    nh_edges edges;
    int *src, *dst; /* of the edges, as the rest; owned */
    double *vector, *distance;
    size_t *entry;
    nh_irreps wanted; /* the real half, as nhinfer asks for */
    feed feed;
    double products; /* product_work */
    int repeats;
    nh_threads *pool;
} setup;

static int make_edges(setup *s, size_t copies, nh_error *err)
{
    if (make_crystal(&SIX, copies, &s->crystal, err) != 0) return -1;
    const nh_graph *g = s->crystal;
    const size_t n = g->pairs.count;
    s->src = NH_ARRAY(int, n);
    s->dst = NH_ARRAY(int, n);
    s->vector = NH_ARRAY(double, 3 * n);
    s->distance = NH_ARRAY(double, n);
    if (!s->src || !s->dst || !s->vector || !s->distance) return nh_fail_memory(err, "the edges");
    for (size_t e = 0; e < n; e++) {
        s->src[e] = g->pairs.pair[e].src;
        s->dst[e] = g->pairs.pair[e].dst;
        nh_pair_vector(&g->structure, &g->pairs.pair[e], s->vector + 3 * e);
        s->distance[e] = nh_round_distance(g->pairs.distance[e]);
    }
    s->edges = (nh_edges){.n_node = g->structure.n_atom,
                          .n_edge = n,
                          .src = s->src,
                          .dst = s->dst,
                          .vector = s->vector,
                          .distance = s->distance};
    return 0;
}

static int setup_new(setup *s, int threads, const char *path, size_t copies, nh_error *err)
{
    char *text = text_of(path);
    if (nh_threads_new(threads, &s->pool, err) != 0 || nh_config_parse(text, path, &s->config, err) != 0)
        return -1;
    free(text);
    if (nh_types_new(&s->config, &s->types, err) != 0 || nh_params_new(&s->config, &s->params, err) != 0)
        return -1;
    if (make_edges(s, copies, err) != 0 || product_work(&s->types, &s->products, err) != 0) return -1;
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
    free(s->src);
    free(s->dst);
    free(s->vector);
    free(s->distance);
    nh_graph_free(s->crystal);
}

/* Sub-model k with its weights. */
static int sub_model(const setup *s, size_t k, bool with_trace, nh_weights *w, nh_network_f **net,
                     nh_error *err)
{
    if (nh_weights_new(&s->params, false, w, err) != 0 || nh_weights_init(&s->params, 1, k, w, err) != 0)
        return -1;
    return nh_network_f_new(&s->config, &s->types, &s->params, w, k, &s->types.out, s->entry, &s->wanted,
                            s->entry, with_trace, NH_METHOD_FAST, NULL, net, err);
}

/* Floating-point operations of one sub-model with `inside` of the edges in its range; see the top. */
static double operations(const setup *s, size_t inside)
{
    const nh_types *t = &s->types;
    const nh_config *c = &s->config;
    const double all = (double)s->edges.n_edge, in = (double)inside;
    double pairs = 0;
    for (size_t i = 0; i < t->mid.count; i++)
        pairs += (double)(t->mid.entry[i].mul * (t->mid.entry[i].mul + 1)) / 2;
    const double z = (double)c->tg_z, chain = 2 * z * pairs + 4 * z * z,
                 scores = (double)((c->radial_basis + c->alpha_scalars) * c->alpha_hidden[0] +
                                   c->alpha_hidden[0] * c->alpha_hidden[1] + c->alpha_hidden[1] * c->heads),
                 attention = map_work(&t->mid, &t->mid) + s->products + scores,
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
        for (size_t e = 0; e < s->edges.n_edge; e++)
            inside += s->distance[e] >= s->config.range[k][0] && s->distance[e] < s->config.range[k][1];
        nh_network_f *net;
        nh_weights weights;
        double best = INFINITY;
        nh_network_times times = {0};
        if (sub_model(s, k, false, &weights, &net, err) != 0) return -1;
        for (int repeat = 0; repeat < s->repeats; repeat++) {
            nh_network_times now = {0};
            double t = seconds();
            if (nh_network_f_forward(net, &s->edges, source, &s->feed, sink, &s->feed, false, NULL, s->pool,
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
           total, 1e6 * total / (double)s->edges.n_edge, 1e3 * peak_memory() / (double)s->edges.n_edge,
           1e-9 * work / total, rate, 1e-7 * work / total / rate, peak_memory());
    print_times(&sum, nh_threads_count(s->pool), total);
    return 0;
}

/* A sub-model in training. */
typedef struct learner {
    nh_network_f *net;
    nh_network_f_tape *tape;
    nh_weights weights, gradient, m, v;
    uint64_t steps;
} learner;

static int learner_new(const setup *s, size_t k, nh_tape_memory memory, learner *l, nh_error *err)
{
    *l = (learner){.steps = 0};
    return sub_model(s, k, true, &l->weights, &l->net, err) != 0 ||
                   nh_network_f_tape_new(memory, &l->tape, err) != 0 ||
                   nh_network_f_gradients_new(l->net, &l->gradient, err) != 0 ||
                   nh_weights_zero_like(&s->params, &l->weights, &l->m, err) != 0 ||
                   nh_weights_zero_like(&s->params, &l->weights, &l->v, err) != 0
               ? -1
               : 0;
}

static void learner_free(learner *l)
{
    nh_network_f_tape_free(l->tape);
    nh_network_f_free(l->net);
    nh_weights_free(&l->weights);
    nh_weights_free(&l->gradient);
    nh_weights_free(&l->m);
    nh_weights_free(&l->v);
}

enum { FORWARD, BACKWARD, ADAM, WEIGHTS, N_PARTS };

static int step(setup *s, learner *l, nh_network_times *times, double part[N_PARTS], nh_error *err)
{
    static const nh_optimizer_settings adam = {
        .kind = NH_ADAM, .lr = 1e-4, .beta = {0.9, 0.999}, .eps = 1e-8, .clip = 1};
    double t[N_PARTS + 1];
    t[FORWARD] = seconds();
    if (nh_network_f_forward_keep(l->net, &s->edges, source, &s->feed, sink, &s->feed, l->tape, s->pool, NULL,
                                  err))
        return -1;
    t[BACKWARD] = seconds();
    if (nh_network_f_backward(l->net, l->tape, seed, &s->feed, &l->gradient, s->pool, times, err)) return -1;
    t[ADAM] = seconds();
    const double norm = nh_weights_norm(&s->params, &l->gradient);
    nh_adam_step(&adam, &s->params, adam.lr, ++l->steps, norm > adam.clip ? adam.clip / norm : 1,
                 &l->gradient, &l->m, &l->v, &l->weights, s->pool);
    nh_weights_clear(&s->params, &l->gradient, s->pool);
    t[WEIGHTS] = seconds();
    if (nh_network_f_update(l->net, &l->weights, s->pool, err)) return -1;
    t[N_PARTS] = seconds();
    for (int i = 0; i < N_PARTS; i++)
        part[i] = t[i + 1] - t[i];
    return 0;
}

static int bench_training(setup *s, nh_tape_memory memory, nh_error *err)
{
    for (size_t k = 0; k < s->config.n_range; k++) {
        learner l;
        double best = INFINITY, part[N_PARTS] = {0};
        nh_network_times back = {0};
        if (learner_new(s, k, memory, &l, err) != 0) return -1;
        for (int repeat = 0; repeat <= s->repeats; repeat++) { /* the first one makes room */
            nh_network_times now = {0};
            double p[N_PARTS];
            if (step(s, &l, &now, p, err) != 0) return -1;
            const double all = p[FORWARD] + p[BACKWARD] + p[ADAM] + p[WEIGHTS];
            if (repeat == 0 || all >= best) continue;
            best = all;
            memcpy(part, p, sizeof part);
            back = now;
        }
        printf("training step, sub-model %zu, %s: %.3f s (forward %.3f, backward %.3f, Adam %.3f, weights "
               "%.3f), tape "
               "%.0f MB, peak memory %.0f MB\n",
               k, memory == NH_TAPE_STORE ? "store" : "recompute", best, part[FORWARD], part[BACKWARD],
               part[ADAM], part[WEIGHTS], (double)nh_network_f_tape_bytes(l.tape) * 1e-6, peak_memory());
        if (k == s->config.n_range - 1) {
            printf("backward of it: ");
            print_times(&back, nh_threads_count(s->pool), part[BACKWARD]);
        }
        learner_free(&l);
    }
    return 0;
}

static int bench(int threads, int repeats, const char *path, size_t copies, bool training, nh_error *err)
{
    setup s = {.repeats = repeats};
    int status = setup_new(&s, threads, path, copies, err);
    if (status == 0) {
        printf("%zu atoms, %zu edges, %d threads, single precision, %s\n", s.edges.n_node, s.edges.n_edge,
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
