/* The tests of the network, with the networks on a device (intermediate results, too). */
#include "on_device.h"

#include "test_network.c"
