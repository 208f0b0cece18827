/* A network on a device: what kernels/ does, as seen from here. */
#include "network/internal.h"

#include "base/memory.h"
#include "device/device.h"

#include <stdlib.h>

#ifdef NH_REAL_DOUBLE
#define CALLS(device) (&(device)->call->network_d)
#else
#define CALLS(device) (&(device)->call->network_f)
#endif

int NH_NET(_place)(nh_net *net, const nh_device *device, nh_error *err)
{
    if (device == NULL) return 0;
    if (CALLS(device)->make(device->gpu, net, &net->placed, err) != 0) return -1;
    net->device = device;
    return 0;
}

void NH_NET(_connect)(nh_net *net, const NH_NET(_ends) * ends)
{
    CALLS(net->device)->connect(net->placed, ends);
}

void R(nh_placed_free)(nh_net *net)
{
    if (net->placed != NULL) CALLS(net->device)->drop(net->placed);
}

int R(nh_placed_update)(nh_net *net, nh_error *err)
{
    return CALLS(net->device)->update(net->placed, err);
}

int R(nh_placed_forward)(const nh_net *net, const nh_edges *g, NH_NET(_source) * source, void *source_context,
                         NH_NET(_sink) * sink, void *sink_context, bool everywhere, size_t *kept, nh_error *err)
{
    return CALLS(net->device)
        ->forward(net->placed, g, source, source_context, sink, sink_context, everywhere, kept, err);
}

/* The gradients of the packed weights come from the device; from there to the parameters as on the CPU, with one chunk. */
int R(nh_placed_backward)(const nh_net *net, size_t kept, NH_NET(_seed) * seed, void *seed_context, real **gradient,
                          nh_threads *threads, nh_error *err)
{
    const size_t blocks = net->config->blocks;
    real *packed = NH_ARRAY(real, net->n_packed), **form = NH_ARRAY(real *, blocks);
    bool good = packed != NULL && form != NULL;
    for (size_t k = 0; good && k < blocks; k++) {
        const nh_block *b = &net->block[k];
        form[k] = nh_calloc(b->has_invariants ? b->invariants.width[0] : 0, b->form_hidden * sizeof(real));
        good = form[k] != NULL;
    }
    int status = good ? 0 : nh_fail_memory(err, "the gradients of a sub-model");
    if (status == 0) status = CALLS(net->device)->backward(net->placed, kept, seed, seed_context, packed, err);
    if (status == 0) {
        nh_run f = {.net = net, .back = {.n_chunk = 1, .packed = &packed, .form = form}};
        R(nh_back_end)(&f, gradient, threads);
    }
    for (size_t k = 0; form != NULL && k < blocks; k++)
        free(form[k]);
    free(form);
    free(packed);
    return status;
}
