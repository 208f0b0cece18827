/* device.h - where to compute: the CPU, or a CUDA device through libnhkernels.so. The library is loaded on
 * demand: programs start, and run, without CUDA's libraries. */
#ifndef NH_DEVICE_DEVICE_H
#define NH_DEVICE_DEVICE_H

#include "device/kernels.h"

typedef struct nh_device {
    const nhk_calls *call;
    nh_gpu *gpu;
    int index;
    void *library; /* to be closed with it */
} nh_device;

/* `choice`: "cpu", "auto[,tf32]" or "cuda[:I][,tf32]" (device/choice.h). *out is NULL for the CPU; the caller
 * closes. Without :I a process takes device `rank` modulo their number (the local rank of MPI, or 0). With
 * "auto", a missing device is no error: *out is NULL and *note says why.
 *
 * The library is the file $NH_KERNELS, or ../lib/libnhkernels.so from the program's folder. Errors: no such
 * library, no driver, no device (one line). */
int nh_device_open(const char *choice, int rank, nh_device **out, nh_error *note, nh_error *err);
/* One with the table given, for programs that are linked with the archive. */
int nh_device_open_with(const nhk_calls *calls, const char *choice, int rank, nh_device **out, nh_error *err);
void nh_device_close(nh_device *d); /* NULL is fine */
/* Pinned memory of the host, count*size bytes, for copies to and from the device (d NULL: ordinary memory).
 * Free with nh_device_room_free before the device is closed. NULL without memory. */
void *nh_device_room(const nh_device *d, size_t count, size_t size);
void nh_device_room_free(const nh_device *d, void *room); /* NULL is fine */

/* The devices of a program that shares its work among several. */
typedef struct nh_devices {
    size_t count; /* 0: the CPU */
    nh_device **device;
} nh_devices;
/* The devices that the choice lists ("cuda:0,2"). Where it lists none: all devices, at most `most`. Devices
 * that cannot be used are left out as long as one can; *note says why. Otherwise as above. */
int nh_devices_open(const char *choice, size_t most, nh_devices *out, nh_error *note, nh_error *err);
/* Some with the table given. */
int nh_devices_open_with(const nhk_calls *calls, const char *choice, size_t most, nh_devices *out,
                         nh_error *note, nh_error *err);
void nh_devices_close(nh_devices *d);

/* Rank of this process among those of its machine, as mpirun and srun say; 0 without them. */
int nh_device_local_rank(void);

#endif
