#include "formats/library.h"

#include "device/device.h"
#include "ensemble/predict.h"
#include "formats/netcdf/graph.h"
#include "formats/netcdf/model.h"

/* Features of embedded.nc are h0embed's and nhinfer's, which compare the basis that they were made for. */
enum { MATRICES = NH_WANT_H0 | NH_WANT_LABEL | NH_WANT_PRED | NH_WANT_OVERLAP };

int nh_graph_load(const char *path, unsigned want, unsigned need, nh_graph **out, nh_error *err)
{
    nh_nc *f;
    *out = NULL;
    if (nh_nc_open(path, &f, err)) return -1;
    int status = nh_graph_read(f, (want | need) & MATRICES, out, err);
    if (!status) status = nh_graph_require(*out, nh_nc_name(f), need & MATRICES, err);
    nh_nc_close(f);
    if (!status) return 0;
    nh_graph_free(*out);
    *out = NULL;
    return -1;
}

int nh_graph_save(const char *path, const nh_graph *g, nh_error *err)
{
    const nh_common no_history = {.history = false};
    nh_nc *f;
    if (nh_nc_create(path, "libnextham", &no_history, NULL, &f, err)) return -1;
    if (!nh_graph_write(f, g, false, err)) return nh_nc_commit(f, err);
    nh_nc_close(f);
    return -1;
}

int nh_model_load(const char *path, nh_threads *threads, nh_model **out, nh_error *err)
{
    return nh_model_read(path, NH_ACTS_HAM, threads, out, err);
}

int nh_model_apply(const nh_model *m, nh_graph *g, const nh_apply_options *options, nh_threads *threads,
                   nh_error *err)
{
    const nh_apply_options o = options ? *options : (nh_apply_options){0};
    nh_devices devices;
    nh_error note; /* of "auto": why it is the CPU */
    if (nh_devices_open(o.device ? o.device : "cpu", m->n_range, &devices, &note, err)) return -1;
    const nh_predict_options predict = {
        .precision = o.in_double ? NH_DOUBLE : NH_SINGLE, .devices = &devices, .hermitize = true};
    const int status = nh_predict(m, g, &predict, threads, NULL, NULL, err);
    nh_devices_close(&devices);
    return status;
}
