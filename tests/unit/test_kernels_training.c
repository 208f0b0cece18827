/* The tests of the trainer's parts, with the sub-models on a device. */
#include "on_device.h"

#define TEST_DEVICE test_device()
#include "test_training.c"

/* The emulation is slow: one golden run, and under a sanitizer the tests of a small network alone. */
__attribute__((constructor)) static void shorten(void)
{
#ifdef __SANITIZE_ADDRESS__
    cmocka_set_skip_filter("ten_steps*");
#else
    cmocka_set_skip_filter("ten_steps_s*");
#endif
}
