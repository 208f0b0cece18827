/* A sub-model in training on a device: parameters, their gradient, Adam's moments and the moving average, and the way from
 * the parameters to the packed weights and from the packed gradient back: pack_one and join_layers of lib/network's network.c,
 * split_layers and unpack_one of gradient.c. What is only copied is a table of places; the products are BLAS's. */
#include "kernels/network.h"
#include "kernels/table.h"

#include <cstdlib>
#include <cstring>

/* ---- tables */

/* The place in an array of each packed weight that is a parameter's, for all bindings that are copies; others stay -1. No
 * place is taken twice: on the way back nothing is added to one number from two sides. */
static bool fill_sources(const nhk_net *d, int *source, char *taken)
{
    const nh_net *host = d->host;
    const nhk_training *t = &d->training;
    for (size_t i = 0; i < host->n_packed; i++)
        source[i] = -1;
    for (size_t i = 0; i < host->n_binding; i++) {
        const nh_binding *b = &host->binding[i];
        if (b->kind != NH_BIND_ROWS && b->kind != NH_BIND_LINEAR) continue;
        const bool rows = b->kind == NH_BIND_ROWS;
        const size_t n = rows ? b->rows * b->count : b->map->n_weight;
        for (size_t k = 0; k < n; k++) {
            const size_t at = t->first[b->param] +
                              (rows ? b->from + k / b->count * b->stride + k % b->count : b->map->source[k]);
            if (taken[at]) return false;
            taken[at] = 1;
            source[b->at + k] = (int)at;
        }
    }
    return true;
}

/* Where each parameter begins. */
static bool number_parameters(nhk_net *d)
{
    const nh_net *host = d->host;
    nhk_training *t = &d->training;
    const size_t count = host->params->count;
    t->first = static_cast<size_t *>(malloc((count + 1) * sizeof *t->first));
    if (t->first == nullptr) return false;
    for (size_t i = 0; i < count; i++)
        t->first[i] = SIZE_MAX;
    for (size_t i = 0; i < host->n_binding; i++) {
        size_t *first = &t->first[host->binding[i].param];
        if (*first != SIZE_MAX) continue;
        *first = t->n;
        t->n += host->params->param[host->binding[i].param].count;
    }
    return true;
}

static real *array_of(nhk_net *d, nhk_array which)
{
    real **a = &d->training.array[which];
    if (*a == nullptr) *a = static_cast<real *>(nhk_alloc(d->gpu, d->training.n, sizeof(real)));
    return *a;
}

bool R(nhk_training_begin)(nhk_net *d)
{
    nhk_training *t = &d->training;
    nh_gpu *g = d->gpu;
    const nh_net *host = d->host;
    if (g->failed || t->first != nullptr) return !g->failed;
    if (!number_parameters(d)) {
        nhk_fail(g, "out of memory for the parameters of a sub-model");
        return false;
    }
    int *source = static_cast<int *>(malloc((host->n_packed + 1) * sizeof *source));
    char *taken = static_cast<char *>(calloc(t->n + 1, 1));
    if (source == nullptr || taken == nullptr)
        nhk_fail(g, "out of memory for the parameters of a sub-model");
    else if (t->n > INT32_MAX)
        nhk_fail(g, "CUDA: a sub-model with more than 2^31 parameters");
    else if (!fill_sources(d, source, taken))
        nhk_fail(g, "CUDA: a parameter is packed twice");
    else
        t->source = nhk_uploaded(g, source, host->n_packed);
    free(source);
    free(taken);
    t->norm = static_cast<double *>(nhk_alloc(g, 1, sizeof *t->norm));
    for (size_t k = 0; k < d->net.config->blocks; k++) {
        nh_block *b = &d->net.block[k];
        if (!b->has_invariants) continue;
        b->form = static_cast<real *>(nhk_alloc(g, b->invariants.width[0] * b->form_hidden, sizeof(real)));
        b->layer = static_cast<real *>(nhk_alloc(g, b->invariants.width[1] * b->form_hidden, sizeof(real)));
    }
    R(nhk_upload_tracegrad)(d);
    real *gradient = array_of(d, NHK_GRADIENT);
    nhk_zero(g, gradient, t->n * sizeof(real));
    if (g->failed) R(nhk_training_free)(d);
    return !g->failed;
}

void R(nhk_training_free)(nhk_net *d)
{
    nhk_training *t = &d->training;
    nh_gpu *g = d->gpu;
    free(t->first);
    nhk_free(g, t->source);
    nhk_free(g, t->norm);
    for (real *a : t->array)
        nhk_free(g, a);
    *t = nhk_training{};
    for (size_t k = 0; d->net.block != nullptr && k < d->net.config->blocks; k++) {
        nh_block *b = &d->net.block[k];
        nhk_free(g, b->form);
        nhk_free(g, b->layer);
        b->form = b->layer = nullptr;
    }
}

/* ---- parameters and packed weights */

/* The device's own block and the table of pairs of a binding of TraceGrad. */
static nh_block *own_block(const nhk_net *d, const nh_binding *b)
{
    return &d->net.block[b->block - d->host->block];
}

static const int *pairs_of(const nhk_net *d, const nh_binding *b)
{
    return b->layout == &d->host->last ? d->pairs_last : d->pairs_mid;
}

/* First layer after the bilinear form, as one matrix; the seed. */
static void join_layers(nhk_net *d, const nh_block *b)
{
    nh_gpu *g = d->gpu;
    const size_t z = b->invariants.width[1];
    R(nhk_dense_forward)(g, z, b->form_hidden, b->invariants.width[0], b->layer, b->form, nullptr, false,
                         b->invariants.weight[0]);
    nhk_zero(g, b->seed, z * sizeof(real));
    R(nhk_column_sums)(g, z, z, z, b->invariants.weight[3], nullptr, b->seed);
}

static void pack(nhk_net *d, const real *from)
{
    nh_gpu *g = d->gpu;
    const nhk_training *t = &d->training;
    R(nhk_linear_pack)(g, d->host->n_packed, t->source, from, d->packed);
    for (size_t i = 0; i < d->host->n_binding; i++) {
        const nh_binding *b = &d->host->binding[i];
        const real *flat = from + t->first[b->param];
        if (b->kind == NH_BIND_FORM)
            R(nhk_pairs_pack)(g, b->layout, pairs_of(d, b), b->block->form_hidden, flat,
                              own_block(d, b)->form);
        if (b->kind == NH_BIND_LAYER) nhk_copy(g, own_block(d, b)->layer, flat, b->count * sizeof(real));
    }
    for (size_t k = 0; k < d->net.config->blocks; k++)
        if (d->net.block[k].has_invariants) join_layers(d, &d->net.block[k]);
}

/* TraceGrad's first matrix is layer (z x hidden) times form^T: the gradients of both, from one call that takes them for a
 * dense layer, whose input is `layer` and whose weights are `form`. */
static void split_layers(nhk_net *d, const nh_binding *layer, const nh_binding *form)
{
    nh_gpu *g = d->gpu;
    const nhk_training *t = &d->training;
    const nh_block *b = own_block(d, layer);
    const size_t pairs = b->invariants.width[0], z = b->invariants.width[1], hidden = b->form_hidden,
                 bytes = pairs * hidden * sizeof(real);
    real *gradient = t->array[NHK_GRADIENT],
         *g_form = static_cast<real *>(nhk_scratch(g, NHK_SCRATCH_ROWS, bytes));
    if (g_form == nullptr) return;
    nhk_zero(g, g_form, bytes);
    R(nhk_dense_backward)(g, z, hidden, pairs, d->pass.packed + (b->invariants.weight[0] - d->packed),
                          b->layer, b->form, gradient + t->first[layer->param], true, g_form, nullptr);
    R(nhk_pairs_unpack_add)(g, form->layout, pairs_of(d, form), hidden, g_form,
                            gradient + t->first[form->param]);
}

void R(nhk_unpack)(nhk_net *d)
{
    const nh_net *host = d->host;
    const nhk_training *t = &d->training;
    R(nhk_linear_unpack_add)(d->gpu, host->n_packed, t->source, d->pass.packed, t->array[NHK_GRADIENT]);
    for (size_t i = 0; i < host->n_binding; i++)
        for (size_t k = 0; host->binding[i].kind == NH_BIND_LAYER && k < host->n_binding; k++)
            if (host->binding[k].kind == NH_BIND_FORM && host->binding[k].block == host->binding[i].block)
                split_layers(d, &host->binding[i], &host->binding[k]);
}

/* ---- what the host asks for */

static const char *const NAMES[NHK_N_ARRAYS] = {"weights", "gradient", "first moment", "second moment",
                                                "average"};

/* True where work makes sense; the arrays from..end-1 are there. */
static bool ready(nhk_net *d, int from, int end)
{
    nh_gpu *g = d->gpu;
    nhk_good(g, cudaSetDevice(g->index), "cudaSetDevice");
    if (!R(nhk_training_begin)(d)) return false;
    for (int i = from; i < end; i++)
        if (d->training.array[i] == nullptr) nhk_fail(g, "network: the device has no %s", NAMES[i]);
    return !g->failed;
}

/* Between the parameters' numbers and an array of all of them on the host: one copy to or from the device for hundreds. */
static void copy_values(const nhk_net *d, real *const *values, real *all, bool out)
{
    const nh_params *p = d->host->params;
    for (size_t i = 0; i < p->count; i++) {
        real *one = values[i], *there = all + d->training.first[i];
        if (d->training.first[i] == SIZE_MAX || one == nullptr) continue;
        memcpy(out ? one : there, out ? there : one, p->param[i].count * sizeof(real));
    }
}

static real *host_array(nhk_net *d)
{
    real *all = static_cast<real *>(malloc((d->training.n + 1) * sizeof *all));
    if (all == nullptr) nhk_fail(d->gpu, "out of memory for the parameters of a sub-model");
    return all;
}

static int training_write(nhk_net *d, nhk_array which, real *const *values, nh_error *err)
{
    const nhk_training *t = &d->training;
    const nh_params *p = d->host->params;
    real *to = ready(d, 0, 0) ? array_of(d, which) : nullptr, *all = to != nullptr ? host_array(d) : nullptr;
    for (size_t i = 0; all != nullptr && i < p->count; i++)
        if (t->first[i] != SIZE_MAX && values[i] == nullptr)
            nhk_fail(d->gpu, "sub-model %zu: parameter %s is missing", d->host->range, p->param[i].name);
    if (all != nullptr) copy_values(d, values, all, false);
    nhk_upload(d->gpu, to, all, t->n * sizeof(real));
    const int status = nhk_sync(d->gpu, err);
    free(all);
    return status;
}

static int training_read(nhk_net *d, nhk_array which, real *const *values, nh_error *err)
{
    const nhk_training *t = &d->training;
    real *all = ready(d, which, which + 1) ? host_array(d) : nullptr;
    nhk_download(d->gpu, all, t->array[which], t->n * sizeof(real));
    const int status = nhk_sync(d->gpu, err);
    if (status == 0) copy_values(d, values, all, true);
    free(all);
    return status;
}

static int training_load(nhk_net *d, nhk_array which, nh_error *err)
{
    if (ready(d, which, which + 1)) pack(d, d->training.array[which]);
    return nhk_sync(d->gpu, err);
}

static int training_clear(nhk_net *d, nh_error *err)
{
    if (ready(d, 0, 0)) nhk_zero(d->gpu, d->training.array[NHK_GRADIENT], d->training.n * sizeof(real));
    return nhk_sync(d->gpu, err);
}

static int training_norm(nhk_net *d, double *norm, nh_error *err)
{
    const nhk_training *t = &d->training;
    if (ready(d, 0, 0)) {
        R(nhk_weights_norm)(d->gpu, t->n, t->array[NHK_GRADIENT], t->norm);
        nhk_download(d->gpu, norm, t->norm, sizeof *norm);
    }
    return nhk_sync(d->gpu, err);
}

static int training_step(nhk_net *d, const nhk_adam *o, double ema, nh_error *err)
{
    real *const *a = d->training.array;
    if (ready(d, NHK_WEIGHTS, NHK_AVERAGE)) {
        R(nhk_adam_step)(d->gpu, o, d->training.n, a[NHK_GRADIENT], a[NHK_FIRST_MOMENT], a[NHK_SECOND_MOMENT],
                         a[NHK_WEIGHTS]);
        if (a[NHK_AVERAGE] != nullptr)
            R(nhk_weights_average)(d->gpu, d->training.n, ema, a[NHK_WEIGHTS], a[NHK_AVERAGE]);
        pack(d, a[NHK_WEIGHTS]);
    }
    return nhk_sync(d->gpu, err);
}

const NHK_TRAINING(_calls) NHK_TRAINING(_table) = {training_write, training_read, training_load,
                                                   training_clear, training_norm, training_step};
