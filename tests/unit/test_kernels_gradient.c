/* The tests of the gradients of sub-models, with the sub-models on a device. */
#include "on_device.h"

#include "test_gradient.c"
