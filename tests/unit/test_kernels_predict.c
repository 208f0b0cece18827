/* The tests of the ensemble's prediction, with the sub-models on a device. */
#include "on_device.h"

#define TEST_DEVICE test_device()
#include "test_predict.c"
