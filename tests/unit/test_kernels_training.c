/* The tests of the trainer's parts, with the sub-models on a device. */
#include "on_device.h"

#define TEST_DEVICE test_device()

/* The emulation is slow: of the golden runs the losses before and after the first step, in one run of three; under a sanitizer
 * the tests of a small network alone. */
#ifndef NH_REAL_DEVICE
#define LAST_STEP 1
__attribute__((constructor)) static void shorten(void)
{
#ifdef __SANITIZE_ADDRESS__
    cmocka_set_skip_filter("ten_steps*");
#else
    cmocka_set_skip_filter("ten_steps_s*");
#endif
}
#endif

#include "test_training.c"
