/* A network on a device: what kernels/ does, as seen from here. */
#include "network/internal.h"

#include "device/device.h"

#define CALLS(device) ((device)->call->R(network))
#define NHK_TRAINING_CALLS NH_PASTE(R(nhk_training), _calls)

int NH_NET(_place)(nh_net *net, const nh_device *device, nh_error *err)
{
    if (device == NULL) return 0;
    if (CALLS(device)->make(device->gpu, net, &net->placed, err) != 0) return -1;
    net->device = device;
    return 0;
}

void NH_NET(_connect)(nh_net *net, const NH_NET(_ends) *ends)
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

int R(nh_placed_forward)(const nh_net *net, const nh_edges *g, NH_NET(_source) *source, void *source_context,
                         NH_NET(_sink) *sink, void *sink_context, bool everywhere,
                         const NH_NET(_probe) *probe, size_t *kept, nh_error *err)
{
    return CALLS(net->device)
        ->forward(net->placed, g, source, source_context, sink, sink_context, everywhere, probe, kept, err);
}

/* Where the host wants the gradient, the device's sum begins anew and is added to the host's. */
int R(nh_placed_backward)(const nh_net *net, size_t kept, NH_NET(_seed) *seed, void *seed_context,
                          nh_weights *gradient, nh_error *err)
{
    const NHK_TRAINING_CALLS *training = net->device->call->R(training);
    if (gradient == NULL) return CALLS(net->device)->backward(net->placed, kept, seed, seed_context, err);
    nh_weights found;
    if (NH_NET(_gradients_new)(net, &found, err) != 0) return -1;
    int status = training->clear(net->placed, err);
    if (status == 0) status = CALLS(net->device)->backward(net->placed, kept, seed, seed_context, err);
    if (status == 0) status = training->read(net->placed, NHK_GRADIENT, found.NH_NATIVE, err);
    for (size_t i = 0; status == 0 && i < net->params->count; i++) {
        const real *from = found.NH_NATIVE[i];
        real *to = gradient->NH_NATIVE[i];
        for (size_t k = 0; from != NULL && to != NULL && k < net->params->param[i].count; k++)
            to[k] += from[k];
    }
    nh_weights_free(&found);
    return status;
}

R(nhk_network) *NH_NET(_placed)(const nh_net *net)
{
    return net->placed;
}
