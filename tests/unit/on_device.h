/* on_device.h - puts every network of a test that is included after it on an (emulated) device, so that the tests of
 * lib/network hold for the kernels too. */
#ifndef NH_TESTS_ON_DEVICE_H
#define NH_TESTS_ON_DEVICE_H

#include "golden.h"

#include "device/choice.h"
#include "device/device.h"
#include "network/network.h"

static inline const nh_device *test_device(void)
{
    static nh_device *device;
    nh_error err;
    if (device == NULL && nh_device_open_with(nhk_table(), "cuda", 0, &device, &err) != 0)
        fail_msg("%s", err.text);
    return device;
}

/* All that there are (two emulated ones), for those who take several. */
static inline const nh_devices *test_devices(void)
{
    static nh_devices devices;
    nh_error note, err;
    if (devices.count == 0 &&
        nh_devices_open_with(nhk_table(), "cuda", NH_MOST_DEVICES, &devices, &note, &err) != 0)
        fail_msg("%s", err.text);
    return &devices;
}

/* Set while networks are made that are to stay on the CPU: one that is run thousands of times, which the emulation is too slow
 * for. */
static bool made_on_host;

#define NH_PLACED(suffix)                                                                                    \
    static inline int placed_new_##suffix(const nh_config *c, const nh_types *t, const nh_params *p,         \
                                          const nh_weights *w, size_t range, const nh_irreps *input,         \
                                          const size_t *input_entry, const nh_irreps *wanted,                \
                                          const size_t *wanted_entry, bool with_trace, nh_method method,     \
                                          nh_threads *threads, nh_network_##suffix **out, nh_error *err)     \
    {                                                                                                        \
        if (nh_network_##suffix##_new(c, t, p, w, range, input, input_entry, wanted, wanted_entry,           \
                                      with_trace, method, threads, out, err) != 0)                           \
            return -1;                                                                                       \
        if (made_on_host || nh_network_##suffix##_place(*out, test_device(), err) == 0) return 0;            \
        nh_network_##suffix##_free(*out);                                                                    \
        *out = NULL;                                                                                         \
        return -1;                                                                                           \
    }
NH_PLACED(f)
NH_PLACED(d)
#define nh_network_f_new placed_new_f
#define nh_network_d_new placed_new_d

#endif
