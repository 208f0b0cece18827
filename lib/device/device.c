#include "device/device.h"

#include "base/memory.h"
#include "device/choice.h"

#include <dlfcn.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* dlsym's pointer as a function's. */
typedef const nhk_calls *table_function(void);

static int load(void **library, const nhk_calls **calls, nh_error *err)
{
    char path[PATH_MAX + 64], self[PATH_MAX];
    const char *named = getenv("NH_KERNELS");
    if (named && named[0]) {
        snprintf(path, sizeof path, "%s", named);
    } else {
        const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
        if (n < 0) return nh_fail(err, "no CUDA kernels: /proc/self/exe cannot be read");
        self[n] = '\0';
        snprintf(path, sizeof path, "%s/../lib/libnhkernels.so", dirname(self));
    }
    *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!*library) {
        const char *why = dlerror();
        if (access(path, F_OK)) return nh_fail(err, "no CUDA kernels: there is no %s (make cuda)", path);
        return nh_fail(err, "no CUDA kernels: %s", why ? why : path);
    }
    void *const symbol = dlsym(*library, "nhk_table");
    table_function *table = NULL;
    memcpy(&table, &symbol, sizeof table);
    if (table) *calls = table();
    if (table && (*calls)->version == NHK_VERSION) return 0;
    dlclose(*library);
    *library = NULL;
    return nh_fail(err, "%s: not the kernels of this version", path);
}

static int open_index(const nhk_calls *calls, int index, bool tf32, nh_device **out, nh_error *err)
{
    const nh_gpu_options o = {.index = index, .tf32 = tf32};
    nh_device *d = NH_ARRAY(nh_device, 1);
    *out = NULL;
    if (!d) return nh_fail_memory(err, "the device");
    *d = (nh_device){.call = calls, .index = index};
    if (calls->open(&o, &d->gpu, err)) {
        free(d);
        return -1;
    }
    *out = d;
    return 0;
}

static int open_one(const nhk_calls *calls, const nh_device_choice *c, int rank, nh_devices *out,
                    nh_error *err)
{
    int n;
    out->device = NH_ARRAY(nh_device *, 1);
    if (!out->device) return nh_fail_memory(err, "the device");
    if (calls->count(&n, err) ||
        open_index(calls, c->n_index > 0 ? c->index[0] : rank % n, c->tf32, out->device, err))
        return -1;
    out->count = 1;
    return 0;
}

static int open_several(const nhk_calls *calls, const nh_device_choice *c, size_t most, nh_devices *out,
                        nh_error *note, nh_error *err)
{
    int n;
    note->text[0] = '\0';
    if (calls->count(&n, err)) return -1;
    if (c->n_index > 0) most = (size_t)(n = (int)c->n_index);
    out->device = NH_ARRAY(nh_device *, (size_t)n);
    if (!out->device) return nh_fail_memory(err, "the devices");
    for (int i = 0; i < n && out->count < most; i++) {
        nh_error why;
        if (open_index(calls, c->n_index > 0 ? c->index[i] : i, c->tf32, &out->device[out->count], &why) == 0)
            out->count++;
        else if (c->n_index > 0)
            return nh_fail(err, "%s", why.text);
        else if (note->text[0] == '\0')
            nh_fail(note, "%s", why.text);
    }
    if (out->count > 0) {
        if (note->text[0]) nh_fail_at(note, "a device is left out");
        return 0;
    }
    nh_fail(err, "%s", note->text);
    note->text[0] = '\0';
    return -1;
}

/* most = 0: one, that of the rank. */
static int open_choice(const char *choice, int rank, size_t most, nh_devices *out, nh_error *note,
                       nh_error *err)
{
    void *library = NULL;
    const nhk_calls *calls = NULL;
    nh_device_choice c;
    nh_error why;
    *out = (nh_devices){0};
    note->text[0] = '\0';
    if (nh_device_parse(choice, &c)) return nh_fail(err, "--device %s", choice);
    if (c.kind == NH_DEVICE_CPU) return 0;
    int status = load(&library, &calls, &why);
    if (!status)
        status =
            most > 0 ? open_several(calls, &c, most, out, note, &why) : open_one(calls, &c, rank, out, &why);
    if (!status) {
        out->device[0]->library = library;
        return 0;
    }
    nh_devices_close(out);
    if (library) dlclose(library);
    if (c.kind == NH_DEVICE_AUTO) {
        nh_fail(note, "%s; computing on the CPU", why.text);
        return 0;
    }
    return nh_fail(err, "--device %s: %s", choice, why.text);
}

int nh_device_open_with(const nhk_calls *calls, const char *choice, int rank, nh_device **out, nh_error *err)
{
    nh_device_choice c;
    nh_devices list = {0};
    *out = NULL;
    if (nh_device_parse(choice, &c)) return nh_fail(err, "--device %s", choice);
    const int status = open_one(calls, &c, rank, &list, err);
    if (!status) *out = list.device[0];
    free(list.device);
    return status;
}

int nh_device_open(const char *choice, int rank, nh_device **out, nh_error *note, nh_error *err)
{
    nh_devices list;
    *out = NULL;
    if (open_choice(choice, rank, 0, &list, note, err)) return -1;
    if (list.count > 0) *out = list.device[0];
    free(list.device);
    return 0;
}

int nh_devices_open_with(const nhk_calls *calls, const char *choice, size_t most, nh_devices *out,
                         nh_error *note, nh_error *err)
{
    nh_device_choice c;
    *out = (nh_devices){0};
    if (nh_device_parse(choice, &c)) return nh_fail(err, "--device %s", choice);
    if (open_several(calls, &c, most, out, note, err) == 0) return 0;
    nh_devices_close(out);
    return -1;
}

int nh_devices_open(const char *choice, size_t most, nh_devices *out, nh_error *note, nh_error *err)
{
    return open_choice(choice, 0, most, out, note, err);
}

void nh_device_close(nh_device *d)
{
    if (!d) return;
    d->call->close(d->gpu);
    if (d->library) dlclose(d->library);
    free(d);
}

void *nh_device_room(const nh_device *d, size_t count, size_t size)
{
    if (!d) return nh_calloc_aligned(count, size);
    void *room = d->call->pinned(d->gpu, count, size);
    if (!room) d->call->sync(d->gpu, NULL); /* the caller tells */
    return room;
}

void nh_device_room_free(const nh_device *d, void *room)
{
    if (d)
        d->call->pinned_free(room);
    else
        free(room);
}

void nh_devices_close(nh_devices *d)
{
    while (d->count > 0) /* the first one, which has the library, is the last */
        nh_device_close(d->device[--d->count]);
    free(d->device);
    *d = (nh_devices){0};
}

int nh_device_local_rank(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *text = getenv(names[i]);
        if (text && text[0] >= '0' && text[0] <= '9') return atoi(text);
    }
    return 0;
}
