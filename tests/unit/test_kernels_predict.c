/* The tests of the ensemble's prediction, with the sub-models on a device. */
#include "on_device.h"

#define TEST_DEVICES test_devices()
#include "test_predict.c"

/* Ten times slower under a sanitizer: there the golden crystal alone. */
#ifdef __SANITIZE_ADDRESS__
__attribute__((constructor)) static void shorten(void)
{
    cmocka_set_test_filter("reduced_network");
}
#endif
