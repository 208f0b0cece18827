/* The tests of the gradients of sub-models, with the sub-models on a device. */
#include "on_device.h"

/* Under AddressSanitizer, where fibers are slow: without the tests that look for wrong numbers and not at memory, which the
 * others use in the same way. */
#ifdef __SANITIZE_ADDRESS__
__attribute__((constructor)) static void choose(void)
{
    cmocka_set_skip_filter("differences*");
}
#endif

#include "test_gradient.c"

/* The emulation is slow, and ten times slower under a sanitizer: there the golden gradients alone (each kernel has its
 * own test in test_kernels_ops), and never the variants, whose differences the host has. */
__attribute__((constructor)) static void shorten(void)
{
#ifdef __SANITIZE_ADDRESS__
    cmocka_set_test_filter("golden_gradients");
#else
    cmocka_set_skip_filter("differences_of_variants");
#endif
}
