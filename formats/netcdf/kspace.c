#include "formats/netcdf/kspace.h"

#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIMS(...) ((const char *const[]){__VA_ARGS__})

static const char *const MODES[] = {"list", "path", "mesh"};

void nh_electrons_free(nh_electrons *e)
{
    free(e->title);
    free(e->matrix);
    *e = (nh_electrons){0};
}

int nh_electrons_of(const nh_graph *g, nh_matrix m, nh_electrons *out, nh_error *err)
{
    const char *title = g->structure.title;
    *out = (nh_electrons){.efermi = g->efermi,
                          .nelec = g->nelec,
                          .electrons_per_band = g->n_spin == 1 ? 2 : 1,
                          .has_lattice = true};
    memcpy(out->lattice, g->structure.lattice, sizeof out->lattice);
    out->title = title != NULL && *title != '\0' ? nh_strdup(title) : nh_structure_formula(&g->structure);
    out->matrix = nh_strdup(nh_matrix_name(m));
    if (out->title != NULL && out->matrix != NULL) return 0;
    nh_electrons_free(out);
    return nh_fail_memory(err, "attributes");
}

int nh_electrons_read(const nh_nc *f, nh_electrons *out, nh_error *err)
{
    *out = (nh_electrons){.efermi = NAN, .nelec = NAN, .electrons_per_band = 1};
    if (nh_nc_att_double(f, "efermi", &out->efermi, err) != 0 ||
        nh_nc_att_double(f, "nelec", &out->nelec, err) != 0 ||
        nh_nc_att_double(f, "electrons_per_band", &out->electrons_per_band, err) != 0 ||
        nh_nc_att_text(f, "title", &out->title, err) != 0 ||
        nh_nc_att_text(f, "matrix", &out->matrix, err) != 0)
        goto fail;
    out->has_lattice = nh_nc_has(f, "lattice");
    if (out->has_lattice && nh_nc_get_double(f, "lattice", 2, DIMS("xyz", "xyz"), 9, out->lattice, err) != 0)
        goto fail;
    if (out->electrons_per_band != 1 && out->electrons_per_band != 2) {
        nh_fail(err, "%s: attribute electrons_per_band: %g, expected 1 or 2", nh_nc_name(f),
                out->electrons_per_band);
        goto fail;
    }
    return 0;
fail:
    nh_electrons_free(out);
    return -1;
}

int nh_electrons_write(nh_nc *f, const nh_electrons *e, nh_error *err)
{
    if (!isnan(e->efermi) && nh_nc_set_double(f, "efermi", e->efermi, err) != 0) return -1;
    if (!isnan(e->nelec) && nh_nc_set_double(f, "nelec", e->nelec, err) != 0) return -1;
    if (e->title != NULL && nh_nc_set_text(f, "title", e->title, err) != 0) return -1;
    if (e->matrix != NULL && nh_nc_set_text(f, "matrix", e->matrix, err) != 0) return -1;
    if (e->has_lattice && (nh_nc_def_dim(f, "xyz", 3, err) != 0 ||
                           nh_nc_def_var(f, "lattice", NC_DOUBLE, 2, DIMS("xyz", "xyz"), NULL, "angstrom",
                                         "lattice vectors, one a row", err) != 0 ||
                           nh_nc_put_double(f, "lattice", e->lattice, err) != 0))
        return -1;
    return nh_nc_set_double(f, "electrons_per_band", e->electrons_per_band, err);
}

int nh_kpoints_write(nh_nc *f, const nh_kpoints *k, nh_error *err)
{
    const size_t chunk[2] = {k->count < 1024 ? k->count : 1024, 3};
    if (nh_nc_def_dim(f, "kpoint", NC_UNLIMITED, err) != 0 || nh_nc_def_dim(f, "xyz", 3, err) != 0 ||
        nh_nc_def_var(f, "kpoint", NC_DOUBLE, 2, DIMS("kpoint", "xyz"), chunk, "1", "fractional coordinates",
                      err) != 0 ||
        nh_nc_def_var(f, "k_weight", NC_DOUBLE, 1, DIMS("kpoint"), chunk, "1", "weight, sum 1", err) != 0 ||
        nh_nc_def_var(f, "k_distance", NC_DOUBLE, 1, DIMS("kpoint"), chunk, "1/angstrom",
                      "length along the path, with the factor 2 pi", err) != 0 ||
        nh_nc_def_var(f, "k_label", NC_STRING, 1, DIMS("kpoint"), chunk, NULL,
                      "name of a point of high symmetry", err) != 0)
        return -1;
    if (nh_nc_set_text(f, "k_mode", MODES[k->mode], err) != 0 ||
        nh_nc_put_slab(f, "kpoint", 0, k->count, 3, k->k, err) != 0 ||
        nh_nc_put_slab(f, "k_weight", 0, k->count, 1, k->weight, err) != 0 ||
        nh_nc_put_slab(f, "k_distance", 0, k->count, 1, k->distance, err) != 0)
        return -1;
    for (size_t i = 0; i < k->count; i++)
        if (nh_nc_put_string(f, "k_label", i, k->label[i], err) != 0) return -1;
    return 0;
}

static int read_mode(const nh_nc *f, nh_kpoints *k, nh_error *err)
{
    char *text;
    if (nh_nc_att_text(f, "k_mode", &text, err) != 0) return -1;
    for (size_t i = 0; text != NULL && i < sizeof MODES / sizeof *MODES; i++)
        if (strcmp(text, MODES[i]) == 0) k->mode = (nh_k_mode)i;
    free(text);
    return 0;
}

static int read_labels(const nh_nc *f, nh_kpoints *k, nh_error *err)
{
    char **text = NH_ARRAY(char *, k->count);
    if (text == NULL) return nh_fail_memory(err, "k-points");
    int status = nh_nc_get_strings(f, "k_label", k->count, text, err);
    for (size_t i = 0; i < k->count; i++) {
        if (status == 0) {
            /* A label is one word: what would break a table or a script becomes '_'. */
            snprintf(k->label[i], NH_K_LABEL, "%s", text[i]);
            for (char *c = k->label[i]; *c != '\0'; c++)
                if ((unsigned char)*c <= ' ' || *c == 127) *c = '_';
        }
        free(text[i]);
    }
    free(text);
    return status;
}

int nh_kpoints_read(const nh_nc *f, nh_kpoints *out, nh_error *err)
{
    *out = (nh_kpoints){0};
    size_t n;
    if (nh_nc_dim(f, "kpoint", &n, err) != 0) return -1;
    if (!nh_nc_has(f, "kpoint")) return nh_fail(err, "%s: no variable kpoint", nh_nc_name(f));
    if (nh_kpoints_new(n, NH_K_LIST, out, err) != 0) return nh_fail_at(err, "%s", nh_nc_name(f));
    if (nh_nc_get_double(f, "kpoint", 2, DIMS("kpoint", "xyz"), 3 * n, out->k, err) != 0 ||
        (nh_nc_has(f, "k_weight") &&
         nh_nc_get_double(f, "k_weight", 1, DIMS("kpoint"), n, out->weight, err) != 0) ||
        (nh_nc_has(f, "k_distance") &&
         nh_nc_get_double(f, "k_distance", 1, DIMS("kpoint"), n, out->distance, err) != 0) ||
        (nh_nc_has(f, "k_label") && read_labels(f, out, err) != 0) || read_mode(f, out, err) != 0)
        goto fail;
    if (nh_kpoints_normalise(out, err) != 0) {
        nh_fail_at(err, "%s: variable k_weight", nh_nc_name(f));
        goto fail;
    }
    return 0;
fail:
    nh_kpoints_free(out);
    return -1;
}

void nh_kspace_free(nh_kspace *s)
{
    nh_kpoints_free(&s->k);
    nh_electrons_free(&s->electrons);
    *s = (nh_kspace){0};
}

int nh_kspace_read(const nh_nc *f, nh_kspace *out, nh_error *err)
{
    *out = (nh_kspace){0};
    if (!nh_nc_has(f, "hk")) return nh_fail(err, "%s: no variable hk", nh_nc_name(f));
    if (!nh_nc_has(f, "sk")) return nh_fail(err, "%s: no variable sk", nh_nc_name(f));
    if (nh_nc_dim(f, "basis", &out->basis, err) != 0 || nh_kpoints_read(f, &out->k, err) != 0 ||
        nh_electrons_read(f, &out->electrons, err) != 0)
        goto fail;
    size_t row;
    if (out->basis == 0 || !nh_size_mul(out->basis, 2 * sizeof(double), &row) ||
        !nh_size_mul(row, out->basis, &row)) {
        nh_fail(err, "%s: dimension basis: %zu", nh_nc_name(f), out->basis);
        goto fail;
    }
    return 0;
fail:
    nh_kspace_free(out);
    return -1;
}

int nh_kspace_write(nh_nc *f, const nh_kspace *s, nh_error *err)
{
    /* One k-point a chunk, parts of one where HDF5's limit of 4 GiB a chunk would be passed. */
    const size_t rows = s->basis <= 8192 ? s->basis : 1024, chunk[4] = {1, rows, s->basis, 2};
    if (nh_electrons_write(f, &s->electrons, err) != 0 ||
        nh_nc_def_dim(f, "kpoint", NC_UNLIMITED, err) != 0 || nh_nc_def_dim(f, "basis", s->basis, err) != 0 ||
        nh_nc_def_dim(f, "xyz", 3, err) != 0 || nh_nc_def_dim(f, "ri", 2, err) != 0 ||
        nh_kpoints_write(f, &s->k, err) != 0)
        return -1;
    if (nh_nc_def_var(f, "hk", NC_DOUBLE, 4, DIMS("kpoint", "basis", "basis", "ri"), chunk, "eV",
                      "H(k), orbital-major, spin fastest", err) != 0)
        return -1;
    return nh_nc_def_var(f, "sk", NC_DOUBLE, 4, DIMS("kpoint", "basis", "basis", "ri"), chunk, "1", "S(k)",
                         err);
}

/* a <- (a + a^dagger)/2; returns the largest |a - a^dagger|/2. */
static double hermitian_part(size_t n, double *a)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = i; j < n; j++) {
            double *x = a + 2 * (i * n + j), *y = a + 2 * (j * n + i);
            const double re = 0.5 * (x[0] - y[0]), im = 0.5 * (x[1] + y[1]);
            if (re == 0 && im == 0) continue;
            largest = fmax(largest, hypot(re, im));
            x[0] = y[0] = 0.5 * (x[0] + y[0]);
            x[1] = 0.5 * (x[1] - y[1]);
            y[1] = -x[1];
            if (i == j) x[1] = 0;
        }
    return largest;
}

int nh_kspace_get(const nh_nc *f, const nh_kspace *s, size_t first, size_t n, double *h, double *sk,
                  double *anti, nh_error *err)
{
    const size_t size = 2 * s->basis * s->basis;
    if (nh_nc_get_slab(f, "hk", first, n, size, h, err) != 0 ||
        nh_nc_get_slab(f, "sk", first, n, size, sk, err) != 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        *anti = fmax(*anti, hermitian_part(s->basis, h + i * size));
        const double overlap = hermitian_part(s->basis, sk + i * size);
        if (overlap > 1e-6)
            return nh_fail(
                err, "%s: variable sk: k-point %zu: |S - S^dagger|/2 is %.3e, expected a Hermitian matrix",
                nh_nc_name(f), first + i + 1, overlap);
    }
    return 0;
}

int nh_kspace_put(nh_nc *f, const nh_kspace *s, size_t first, size_t n, const double *h, const double *sk,
                  nh_error *err)
{
    const size_t size = 2 * s->basis * s->basis;
    if (nh_nc_put_slab(f, "hk", first, n, size, h, err) != 0) return -1;
    return nh_nc_put_slab(f, "sk", first, n, size, sk, err);
}
