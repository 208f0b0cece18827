/* The tests of the network, with the networks on a device (runs with probes stay on the CPU). */
#include "on_device.h"

#include "test_network.c"
