/* one_device.h - the device of a test program that calls kernels by hand: the emulated one, or with make check-cuda
 * (NH_REAL_DEVICE) a real one, which has orders of blocks and a memory of its own. */
#ifndef NH_TESTS_ONE_DEVICE_H
#define NH_TESTS_ONE_DEVICE_H

#include "check.h"

#include "device/device.h"

#ifdef NH_REAL_DEVICE
static inline void emu_seed(uint64_t seed)
{
    (void)seed;
}
static inline size_t emu_leaks(void)
{
    return 0;
}
static inline void emu_memory(size_t bytes)
{
    (void)bytes;
}
#else /* kernels/emu/emu.h, which is C++ */
void emu_seed(uint64_t seed);
size_t emu_leaks(void);
void emu_memory(size_t bytes);
#endif

static nh_device *device;

/* For cmocka's groups: opens it; closes it, and fails where some of its memory was forgotten. */
static inline int open_device(void **state)
{
    (void)state;
    if (nh_device_open_with(nhk_table(), "cuda", 0, &device, &err) == 0) return 0;
    print_error("%s\n", err.text);
    return -1;
}

static inline int close_device(void **state)
{
    (void)state;
    nh_device_close(device);
    return emu_leaks() == 0 ? 0 : -1;
}

#endif
