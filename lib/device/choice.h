/* choice.h - the option --device: cpu, auto[,tf32], cuda[:I[,J]...][,tf32].
 *
 * A program keeps an nh_checked with the default NH_DEVICE_ONE (or NH_DEVICE_SEVERAL, which takes a list) and points
 * nh_program.device at a row NH_DEVICE_ONE_ROW(x) (NH_DEVICE_SEVERAL_ROW(x)). x.text goes to nh_device_open (nh_devices_open). */
#ifndef NH_DEVICE_CHOICE_H
#define NH_DEVICE_CHOICE_H

#include "base/options.h"

enum { NH_MOST_DEVICES = 64 };
typedef struct nh_device_choice {
    enum { NH_DEVICE_CPU, NH_DEVICE_AUTO, NH_DEVICE_CUDA } kind;
    size_t n_index; /* 0: none given */
    int index[NH_MOST_DEVICES];
    bool tf32;
} nh_device_choice;

/* 0, or -1 where `text` is none of them, or names a device twice. */
int nh_device_parse(const char *text, nh_device_choice *out);

/* Rules for nh_checked: the same, of one device, or of several. */
int nh_device_check_one(const char *text, nh_error *err);
int nh_device_check_several(const char *text, nh_error *err);
#define NH_DEVICE_ONE                                                                                        \
    {                                                                                                        \
        "cpu", nh_device_check_one                                                                           \
    }
#define NH_DEVICE_SEVERAL                                                                                    \
    {                                                                                                        \
        "cpu", nh_device_check_several                                                                       \
    }
#define NH_DEVICE_ONE_ROW(x)                                                                                 \
    {                                                                                                        \
        NH_OPT_CHECKED, 0, "device", "cpu|cuda[:I]|auto", &(x), NULL, NULL,                                  \
            "where to compute [cpu]; cuda:I: device I, ...,tf32: faster products with 10 bits of mantissa; " \
            "auto: a CUDA device if there is one"                                                            \
    }
#define NH_DEVICE_SEVERAL_ROW(x)                                                                             \
    {                                                                                                        \
        NH_OPT_CHECKED, 0, "device", "cpu|cuda[:I,J...]|auto", &(x), NULL, NULL,                             \
            "where to compute [cpu]; cuda: all CUDA devices there are, cuda:I: device I, cuda:I,J: these "   \
            "two; "                                                                                          \
            "...,tf32: faster products with 10 bits of mantissa; auto: as cuda if there is a device"         \
    }

#endif
