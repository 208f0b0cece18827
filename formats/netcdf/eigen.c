#include "formats/netcdf/eigen.h"

#include "base/memory.h"
#include "formats/netcdf/kspace.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define DIMS(...) ((const char *const[]){__VA_ARGS__})

/* Number of leading columns that are filled. */
static size_t band_count(const nh_bands *b, size_t k)
{
    size_t n = 0;
    while (n < b->n_band && !isnan(b->energy[k * b->n_band + n]))
        n++;
    return n;
}

int nh_eigen_define(nh_nc *f, const nh_bands *b, size_t basis, bool ragged, nh_error *err)
{
    nh_electrons electrons = {.efermi = b->efermi,
                              .nelec = b->nelec,
                              .electrons_per_band = b->electrons_per_band,
                              .title = b->title,
                              .matrix = b->matrix,
                              .has_lattice = b->has_lattice};
    memcpy(electrons.lattice, b->lattice, sizeof b->lattice);
    if (nh_electrons_write(f, &electrons, err) != 0 || nh_nc_def_dim(f, "kpoint", NC_UNLIMITED, err) != 0 ||
        nh_nc_def_dim(f, "band", b->n_band, err) != 0 || nh_kpoints_write(f, &b->k, err) != 0)
        return -1;
    const size_t rows = b->k.count < 64 ? b->k.count : 64, chunk[2] = {rows, b->n_band};
    if (nh_nc_def_var(f, "eigenvalue", NC_DOUBLE, 2, DIMS("kpoint", "band"), chunk, "eV",
                      "band energies, ascending", err) != 0)
        return -1;
    if (basis > 0) {
        const size_t bands = 16 * basis * b->n_band < ((size_t)1 << 30) ? b->n_band : 1,
                     parts[4] = {1, bands, basis, 2};
        if (nh_nc_def_dim(f, "basis", basis, err) != 0 || nh_nc_def_dim(f, "ri", 2, err) != 0 ||
            nh_nc_def_var(f, "eigenvector", NC_DOUBLE, 4, DIMS("kpoint", "band", "basis", "ri"), parts, "1",
                          "C with C^dagger S C = 1; orbital-major, spin fastest", err) != 0)
            return -1;
    }
    if (!ragged) return 0;
    if (nh_nc_def_var(f, "band_index", NC_INT, 1, DIMS("kpoint"), NULL, "1",
                      "number, from 1, of the first band given", err) != 0)
        return -1;
    return nh_nc_def_var(f, "band_count", NC_INT, 1, DIMS("kpoint"), NULL, "1",
                         "bands given; the others are NaN", err);
}

int nh_eigen_put(nh_nc *f, const nh_bands *b, nh_error *err)
{
    const size_t n = b->k.count;
    size_t first = SIZE_MAX;
    for (size_t k = 0; k < n; k++)
        first = b->first[k] < first ? b->first[k] : first;
    if ((!isnan(b->efermi) && nh_nc_set_double(f, "efermi", b->efermi, err) != 0) ||
        nh_nc_set_double(f, "band_first", (double)first + 1, err) != 0 ||
        nh_nc_put_slab(f, "eigenvalue", 0, n, b->n_band, b->energy, err) != 0)
        return -1;
    if (!nh_nc_has(f, "band_index")) return 0;
    double *number = NH_ARRAY(double, n);
    if (number == NULL) return nh_fail_memory(err, "bands");
    for (size_t k = 0; k < n; k++)
        number[k] = (double)b->first[k] + 1;
    int status = nh_nc_put_slab(f, "band_index", 0, n, 1, number, err);
    for (size_t k = 0; k < n; k++)
        number[k] = (double)band_count(b, k);
    if (status == 0) status = nh_nc_put_slab(f, "band_count", 0, n, 1, number, err);
    free(number);
    return status;
}

int nh_eigen_put_vectors(nh_nc *f, size_t k, size_t n_band, size_t basis, const double *vector, nh_error *err)
{
    return nh_nc_put_slab(f, "eigenvector", k, 1, 2 * n_band * basis, vector, err);
}

int nh_eigen_put_dropped(nh_nc *f, size_t n_k, const size_t *dropped, nh_error *err)
{
    double *number = NH_ARRAY(double, n_k);
    if (number == NULL) return nh_fail_memory(err, "bands");
    for (size_t k = 0; k < n_k; k++)
        number[k] = (double)dropped[k];
    int status = nh_nc_def_var(f, "overlap_dropped", NC_INT, 1, DIMS("kpoint"), NULL, "1",
                               "eigenvectors of the overlap matrix that were projected out", err);
    if (status == 0) status = nh_nc_put_slab(f, "overlap_dropped", 0, n_k, 1, number, err);
    free(number);
    return status;
}

static const char *const CONDITION[][3] = {
    {"s_norm", "1", "largest eigenvalue of the overlap matrix"},
    {"s_condition", "1", "largest over smallest eigenvalue of the overlap matrix"},
    {"h_difference_norm", "eV", "2-norm of matrix - against - h_difference_mu * overlap"},
};

int nh_eigen_put_condition(nh_nc *f, const nh_condition *c, const char *against, nh_error *err)
{
    const double *const values[] = {c->s_norm, c->s_condition, c->h_norm};
    for (size_t i = 0; i < 3; i++)
        if (nh_nc_def_var(f, CONDITION[i][0], NC_DOUBLE, 1, DIMS("kpoint"), NULL, CONDITION[i][1],
                          CONDITION[i][2], err) != 0 ||
            nh_nc_put_slab(f, CONDITION[i][0], 0, c->n_k, 1, values[i], err) != 0)
            return -1;
    if (nh_nc_set_text(f, "against", against, err) != 0) return -1;
    return nh_nc_set_double(f, "h_difference_mu", c->mu, err);
}

int nh_eigen_put_weights(nh_nc *f, const nh_state_weights *w, nh_error *err)
{
    const size_t rows = w->n_k < 16 ? w->n_k : 16;
    if (w->n_group > 0) {
        const size_t chunk[3] = {rows, w->n_band, w->n_group};
        if (nh_nc_def_dim(f, "group", w->n_group, err) != 0 ||
            nh_nc_def_var(f, "group_name", NC_STRING, 1, DIMS("group"), NULL, NULL,
                          "element, atom or shell of a group of orbitals", err) != 0 ||
            nh_nc_def_var(f, "projection", NC_DOUBLE, 3, DIMS("kpoint", "band", "group"), chunk, "1",
                          "part of a state on a group of orbitals, after Mulliken", err) != 0 ||
            nh_nc_set_text(f, "projected_by", nh_group_kinds[w->kind], err) != 0 ||
            nh_nc_put_slab(f, "projection", 0, w->n_k, w->n_band * w->n_group, w->weight, err) != 0)
            return -1;
        for (size_t i = 0; i < w->n_group; i++)
            if (nh_nc_put_string(f, "group_name", i, w->name[i], err) != 0) return -1;
    }
    if (w->spin == NULL) return 0;
    const size_t chunk[3] = {rows, w->n_band, 3};
    if (nh_nc_def_var(f, "spin", NC_DOUBLE, 3, DIMS("kpoint", "band", "xyz"), chunk, "1",
                      "<sigma_x>, <sigma_y>, <sigma_z> of a state", err) != 0)
        return -1;
    return nh_nc_put_slab(f, "spin", 0, w->n_k, 3 * w->n_band, w->spin, err);
}

static int read_kind(const nh_nc *f, nh_group_kind *kind, nh_error *err)
{
    char *text;
    size_t i = 0;
    if (nh_nc_att_text(f, "projected_by", &text, err) != 0) return -1;
    while (text != NULL && i < NH_N_GROUP_KIND && strcmp(text, nh_group_kinds[i]) != 0)
        i++;
    const bool known = text != NULL && i < NH_N_GROUP_KIND;
    if (known)
        *kind = (nh_group_kind)i;
    else
        nh_fail(err, "%s: attribute projected_by: \"%s\", expected element, atom, shell or atom-shell",
                nh_nc_name(f), text != NULL ? text : "");
    free(text);
    return known ? 0 : -1;
}

/* A name is one word: what would break a table or a script becomes '_'. */
static int read_group_names(const nh_nc *f, nh_state_weights *w, nh_error *err)
{
    char **text = NH_ARRAY(char *, w->n_group);
    w->name = nh_calloc(w->n_group, sizeof *w->name);
    if (text == NULL || w->name == NULL) {
        free(text);
        return nh_fail_memory(err, "the projections");
    }
    const int status = nh_nc_get_strings(f, "group_name", w->n_group, text, err);
    for (size_t i = 0; i < w->n_group; i++) {
        if (status == 0) {
            strncpy(w->name[i], text[i][0] != '\0' ? text[i] : "_", NH_GROUP_NAME - 1);
            for (char *c = w->name[i]; *c != '\0'; c++)
                if ((unsigned char)*c <= ' ' || *c == 127) *c = '_';
        }
        free(text[i]);
    }
    free(text);
    return status;
}

/* A number for each state, and for no other. */
static int check_states(const nh_nc *f, const char *variable, const nh_bands *b, size_t n, const double *v,
                        nh_error *err)
{
    for (size_t state = 0; state < b->k.count * b->n_band; state++)
        for (size_t i = 0; i < n && !isnan(b->energy[state]); i++)
            if (!isfinite(v[state * n + i]))
                return nh_fail(err, "%s: variable %s: k-point %zu, band %zu: %g", nh_nc_name(f), variable,
                               state / b->n_band + 1, state % b->n_band + 1, v[state * n + i]);
    return 0;
}

static int read_projections(const nh_nc *f, const nh_bands *b, nh_state_weights *w, nh_error *err)
{
    size_t size;
    if (nh_nc_dim(f, "group", &w->n_group, err) != 0 || read_kind(f, &w->kind, err) != 0) return -1;
    if (w->n_group == 0 || !nh_size_mul(w->n_k * w->n_band, w->n_group, &size) || size > SIZE_MAX / 64)
        return nh_fail(err, "%s: dimension group: %zu", nh_nc_name(f), w->n_group);
    w->weight = NH_ARRAY(double, size);
    if (w->weight == NULL) return nh_fail_memory(err, "the projections");
    if (read_group_names(f, w, err) != 0 ||
        nh_nc_get_double(f, "?projection", 3, DIMS("kpoint", "band", "group"), size, w->weight, err) != 0)
        return -1;
    return check_states(f, "projection", b, w->n_group, w->weight, err);
}

static int read_spin(const nh_nc *f, const nh_bands *b, nh_state_weights *w, nh_error *err)
{
    w->spin = NH_ARRAY(double, 3 * w->n_k * w->n_band);
    if (w->spin == NULL) return nh_fail_memory(err, "the spin of the states");
    if (nh_nc_get_double(f, "?spin", 3, DIMS("kpoint", "band", "xyz"), 3 * w->n_k * w->n_band, w->spin,
                         err) != 0)
        return -1;
    return check_states(f, "spin", b, 3, w->spin, err);
}

int nh_eigen_read_weights(const nh_nc *f, const nh_bands *b, nh_state_weights *out, nh_error *err)
{
    *out = (nh_state_weights){.n_k = b->k.count, .n_band = b->n_band};
    int status = nh_nc_has(f, "projection") ? read_projections(f, b, out, err) : 0;
    if (status == 0 && nh_nc_has(f, "spin")) status = read_spin(f, b, out, err);
    if (status != 0) nh_state_weights_free(out);
    return status;
}

static int read_condition(const nh_nc *f, nh_bands *b, nh_error *err)
{
    if (nh_nc_att_text(f, "against", &b->against, err) != 0) return -1;
    if (b->against == NULL) return 0;
    nh_condition *c = &b->condition;
    const size_t n = c->n_k = b->k.count;
    double **const values[] = {&c->s_norm, &c->s_condition, &c->h_norm};
    for (size_t i = 0; i < 3; i++) {
        *values[i] = NH_ARRAY(double, n);
        if (*values[i] == NULL) return nh_fail_memory(err, "bands");
        if (nh_nc_get_double(f, CONDITION[i][0], 1, DIMS("kpoint"), n, *values[i], err) != 0) return -1;
    }
    return nh_nc_att_double(f, "h_difference_mu", &c->mu, err);
}

static int read_first(const nh_nc *f, nh_bands *b, nh_error *err)
{
    const size_t n = b->k.count;
    double first = 1;
    if (nh_nc_att_double(f, "band_first", &first, err) != 0) return -1;
    double *number = NH_ARRAY(double, n);
    if (number == NULL) return nh_fail_memory(err, "bands");
    for (size_t k = 0; k < n; k++)
        number[k] = first;
    int status =
        nh_nc_has(f, "band_index") ? nh_nc_get_double(f, "band_index", 1, DIMS("kpoint"), n, number, err) : 0;
    for (size_t k = 0; k < n && status == 0; k++) {
        if (!(number[k] >= 1) ||
            number[k] > 1e7) /* no basis has so many bands: a header of that length would be written */
            status = nh_fail(err, "%s: k-point %zu: first band %g, expected a number from 1", nh_nc_name(f),
                             k + 1, number[k]);
        else
            b->first[k] = (size_t)number[k] - 1;
    }
    free(number);
    return status;
}

/* Ascending, finite, NaN only at the end of a row. */
static int check_energies(const nh_nc *f, const nh_bands *b, nh_error *err)
{
    for (size_t k = 0; k < b->k.count; k++) {
        const double *e = b->energy + k * b->n_band;
        const size_t n = band_count(b, k);
        for (size_t i = 0; i < b->n_band; i++) {
            if (i >= n ? !isnan(e[i]) : !isfinite(e[i]))
                return nh_fail(err, "%s: variable eigenvalue: k-point %zu, band %zu: %g%s", nh_nc_name(f),
                               k + 1, i + 1, e[i], i >= n ? " after a NaN" : "");
            if (i > 0 && i < n && e[i] < e[i - 1])
                return nh_fail(err, "%s: variable eigenvalue: k-point %zu: band %zu (%g) below band %zu (%g)",
                               nh_nc_name(f), k + 1, i + 1, e[i], i, e[i - 1]);
        }
    }
    return 0;
}

int nh_eigen_read(const nh_nc *f, nh_bands *out, nh_error *err)
{
    *out = (nh_bands){0};
    nh_kpoints k = {0};
    nh_electrons electrons = {0};
    size_t n_band, size;
    int status = -1;
    if (!nh_nc_has(f, "eigenvalue")) return nh_fail(err, "%s: no variable eigenvalue", nh_nc_name(f));
    if (nh_nc_dim(f, "band", &n_band, err) != 0 || nh_kpoints_read(f, &k, err) != 0 ||
        nh_electrons_read(f, &electrons, err) != 0)
        goto done;
    if (n_band == 0 || !nh_size_mul(k.count, n_band, &size) || size > SIZE_MAX / 64) {
        nh_fail(err, "%s: dimension band: %zu", nh_nc_name(f), n_band);
        goto done;
    }
    if (nh_bands_new(&k, n_band, out, err) != 0) goto done;
    out->efermi = electrons.efermi;
    out->nelec = electrons.nelec;
    out->electrons_per_band = electrons.electrons_per_band;
    out->title = electrons.title;
    out->matrix = electrons.matrix;
    out->has_lattice = electrons.has_lattice;
    memcpy(out->lattice, electrons.lattice, sizeof out->lattice);
    electrons = (nh_electrons){0};
    status = nh_nc_get_double(f, "?eigenvalue", 2, DIMS("kpoint", "band"), size, out->energy, err);
    if (status == 0) status = read_first(f, out, err);
    if (status == 0) status = check_energies(f, out, err);
    if (status == 0) status = read_condition(f, out, err);
done:
    nh_kpoints_free(&k);
    nh_electrons_free(&electrons);
    if (status != 0) nh_bands_free(out);
    return status;
}
