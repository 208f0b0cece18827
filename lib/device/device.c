#include "device/device.h"

#include "base/memory.h"
#include "base/options.h"

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

int nh_device_open_with(const nhk_calls *calls, const char *choice, int rank, nh_device **out, nh_error *err)
{
    nh_device_choice c;
    int n;
    *out = NULL;
    if (nh_device_parse(choice, &c)) return nh_fail(err, "--device %s", choice);
    nh_device *d = NH_ARRAY(nh_device, 1);
    if (!d) return nh_fail_memory(err, "the device");
    d->call = calls;
    int status = calls->count(&n, err);
    if (!status) {
        const nh_gpu_options o = {.index = c.index >= 0 ? c.index : rank % n, .tf32 = c.tf32};
        d->index = o.index;
        status = calls->open(&o, &d->gpu, err);
    }
    if (!status) {
        *out = d;
        return 0;
    }
    free(d);
    return -1;
}

int nh_device_open(const char *choice, int rank, nh_device **out, nh_error *note, nh_error *err)
{
    void *library = NULL;
    const nhk_calls *calls = NULL;
    nh_device_choice c;
    nh_error why;
    *out = NULL;
    note->text[0] = '\0';
    if (nh_device_parse(choice, &c)) return nh_fail(err, "--device %s", choice);
    if (c.kind == NH_DEVICE_CPU) return 0;
    int status = load(&library, &calls, &why);
    if (!status) status = nh_device_open_with(calls, choice, rank, out, &why);
    if (!status) {
        (*out)->library = library;
        return 0;
    }
    if (library) dlclose(library);
    if (c.kind == NH_DEVICE_AUTO) {
        nh_fail(note, "%s; computing on the CPU", why.text);
        return 0;
    }
    return nh_fail(err, "--device %s: %s", choice, why.text);
}

void nh_device_close(nh_device *d)
{
    if (!d) return;
    d->call->close(d->gpu);
    if (d->library) dlclose(d->library);
    free(d);
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
