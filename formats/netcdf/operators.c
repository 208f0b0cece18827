#include "formats/netcdf/operators.h"

#include "base/memory.h"

#include <stdlib.h>

int nh_position_read(const nh_nc *f, const nh_graph *g, double **out, nh_error *err)
{
    size_t n;
    *out = NULL;
    if (!nh_nc_has(f, "position_matrix")) return 0;
    if (nh_size_mul(3, g->pairs.n_elem, &n)) *out = NH_ARRAY(double, n);
    if (*out == NULL) return nh_fail_memory(err, "position_matrix");
    if (nh_nc_get_double(f, "position_matrix", 2, (const char *const[]){"xyz", "elem"}, n, *out, err) == 0)
        return 0;
    free(*out);
    *out = NULL;
    return -1;
}

int nh_operators_open(const char *path, unsigned want, bool position, nh_operators *out, nh_error *err)
{
    *out = (nh_operators){.file = NULL};
    if (nh_nc_open(path, &out->file, err) != 0) return -1;
    const char *name = nh_nc_name(out->file);
    if (!nh_nc_has(out->file, "pair_src"))
        return nh_fail(err, "%s: no real-space file (variable pair_src): graph.nc or ham.nc expected", name);
    if (nh_graph_read(out->file, want | NH_WANT_OVERLAP, &out->graph, err) != 0 ||
        nh_graph_require(out->graph, name, want | NH_WANT_OVERLAP, err) != 0 ||
        (position && nh_position_read(out->file, out->graph, &out->position, err) != 0))
        return -1;
    if (position && out->position == NULL)
        return nh_fail(
            err,
            "%s: no variable position_matrix (h0build --position writes it; --no-position puts the middle "
            "of the two atoms in its place)",
            name);
    return 0;
}

int nh_operators_choose(nh_operators *o, nh_matrix m, nh_error *err)
{
    nh_velocity_free(o->velocity);
    nh_fourier_free(o->fourier);
    nh_electrons_free(&o->electrons);
    o->velocity = NULL;
    o->fourier = NULL;
    if (nh_fourier_new(o->graph, m, &o->anti, &o->fourier, err) != 0 ||
        nh_velocity_new(o->graph, o->fourier, o->position, &o->velocity, err) != 0)
        return nh_fail_at(err, "%s", nh_nc_name(o->file));
    return nh_electrons_of(o->graph, m, &o->electrons, err);
}

void nh_operators_close(nh_operators *o)
{
    nh_velocity_free(o->velocity);
    nh_fourier_free(o->fourier);
    nh_electrons_free(&o->electrons);
    free(o->position);
    nh_graph_free(o->graph);
    nh_nc_close(o->file);
    *o = (nh_operators){.file = NULL};
}
