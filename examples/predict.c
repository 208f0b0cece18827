/* predict: H0 in, H_pred out.   predict model.nc graph.nc ham.nc */
#include <nextham.h>

#include <stdio.h>

int main(int argc, char **argv)
{
    nh_threads *threads = NULL;
    nh_model *model = NULL;
    nh_graph *g = NULL;
    nh_error err;
    if (argc != 4) return fputs("usage: predict model.nc graph.nc ham.nc\n", stderr), 2;
    int status = nh_threads_new(nh_cores(), &threads, &err);
    if (status == 0) status = nh_model_load(argv[1], threads, &model, &err);
    if (status == 0) status = nh_graph_load(argv[2], NH_WANT_LABEL | NH_WANT_OVERLAP, NH_WANT_H0, &g, &err);
    if (status == 0) status = nh_model_apply(model, g, NULL, threads, &err);
    if (status == 0) status = nh_graph_save(argv[3], g, &err);
    if (status != 0) fprintf(stderr, "predict: %s\n", err.text);
    nh_graph_free(g);
    nh_model_free(model);
    nh_threads_free(threads);
    return status == 0 ? 0 : 1;
}
