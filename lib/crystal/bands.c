#include "crystal/bands.h"

#include "base/memory.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const double GHOST_FLOOR = 0.1, GHOST_FACTOR = 5; /* eV; times the median over k */

int nh_bands_new(const nh_kpoints *k, size_t n_band, nh_bands *out, nh_error *err)
{
    *out = (nh_bands){.n_band = n_band, .efermi = NAN, .nelec = NAN, .electrons_per_band = 1};
    if (nh_kpoints_new(k->count, k->mode, &out->k, err) != 0) return -1;
    memcpy(out->k.k, k->k, 3 * k->count * sizeof *k->k);
    memcpy(out->k.weight, k->weight, k->count * sizeof *k->weight);
    memcpy(out->k.distance, k->distance, k->count * sizeof *k->distance);
    memcpy(out->k.label, k->label, k->count * sizeof *k->label);
    size_t size;
    if (nh_size_mul(k->count, n_band, &size)) out->energy = NH_ARRAY(double, size);
    out->first = NH_ARRAY(size_t, k->count);
    if (out->energy == NULL || out->first == NULL) {
        nh_bands_free(out);
        return nh_fail_memory(err, "bands");
    }
    for (size_t i = 0; i < size; i++)
        out->energy[i] = NAN;
    return 0;
}

void nh_bands_free(nh_bands *b)
{
    nh_kpoints_free(&b->k);
    free(b->energy);
    free(b->first);
    free(b->title);
    free(b->matrix);
    free(b->against);
    nh_condition_free(&b->condition);
    *b = (nh_bands){0};
}

double nh_band_energy(const nh_bands *b, size_t k, size_t band)
{
    if (band < b->first[k] || band - b->first[k] >= b->n_band) return NAN;
    return b->energy[k * b->n_band + band - b->first[k]];
}

typedef struct state {
    double energy, electrons;
} state;

static int compare_states(const void *pa, const void *pb)
{
    const state *a = pa, *b = pb;
    return (a->energy > b->energy) - (a->energy < b->energy);
}

int nh_fermi_level(const nh_bands *b, double nelec, double *efermi, nh_error *err)
{
    if (!(nelec > 0)) return nh_fail(err, "%g electrons", nelec);
    state *list = NH_ARRAY(state, b->k.count * b->n_band);
    if (list == NULL) return nh_fail_memory(err, "the states");
    double filled = 0;
    size_t n = 0;
    for (size_t k = 0; k < b->k.count; k++) {
        const double per_state = b->k.weight[k] * b->electrons_per_band;
        filled += (double)b->first[k] * per_state;
        for (size_t i = 0; i < b->n_band; i++)
            if (!isnan(b->energy[k * b->n_band + i]))
                list[n++] = (state){b->energy[k * b->n_band + i], per_state};
    }
    const double slack = 1e-7; /* electrons: weights come from files */
    int status = -1;
    if (filled >= nelec - slack) {
        nh_fail(err, "%g electrons do not reach the first band of the file", nelec);
        goto done;
    }
    qsort(list, n, sizeof *list, compare_states);
    size_t i = 0;
    while (i < n && filled < nelec - slack)
        filled += list[i++].electrons;
    if (filled < nelec - slack) {
        nh_fail(err, "the bands hold %.10g electrons, %.10g are there", filled, nelec);
        goto done;
    }
    const double last = list[i - 1].energy;
    *efermi = filled <= nelec + slack && i < n ? 0.5 * (last + list[i].energy) : last;
    status = 0;
done:
    free(list);
    return status;
}

bool nh_band_gap(const nh_bands *b, double nelec, nh_gap *gap)
{
    const double bands = nelec / b->electrons_per_band, whole = round(bands);
    if (!(fabs(bands - whole) < 1e-6) || whole < 1 || whole > 1e9) return false;
    *gap = (nh_gap){.vbm = -INFINITY, .cbm = INFINITY, .occupied = (size_t)whole};
    for (size_t k = 0; k < b->k.count; k++) {
        const double below = nh_band_energy(b, k, gap->occupied - 1),
                     above = nh_band_energy(b, k, gap->occupied);
        if (isnan(below) || isnan(above)) return false;
        if (below > gap->vbm) {
            gap->vbm = below;
            gap->k_vbm = k;
        }
        if (above < gap->cbm) {
            gap->cbm = above;
            gap->k_cbm = k;
        }
    }
    return true;
}

static int compare_reals(const void *pa, const void *pb)
{
    const double a = *(const double *)pa, b = *(const double *)pb;
    return (a > b) - (a < b);
}

/* Sorts; of an even number the mean of the two in the middle. */
static double median(size_t n, double *v)
{
    qsort(v, n, sizeof *v, compare_reals);
    return n % 2 == 1 ? v[n / 2] : 0.5 * (v[n / 2 - 1] + v[n / 2]);
}

static int check_kpoints(const nh_kpoints *a, const nh_kpoints *b, nh_error *err)
{
    if (a->count != b->count) return nh_fail(err, "%zu k-points, the reference has %zu", a->count, b->count);
    for (size_t i = 0; i < 3 * a->count; i++)
        if (!(fabs(a->k[i] - b->k[i]) < 1e-6)) {
            const double *p = a->k + i / 3 * 3, *q = b->k + i / 3 * 3;
            return nh_fail(err, "k-point %zu is (%g %g %g), the reference's (%g %g %g)", i / 3 + 1, p[0],
                           p[1], p[2], q[0], q[1], q[2]);
        }
    return 0;
}

int nh_band_compare(const nh_bands *b, const nh_bands *reference, double top, nh_band_errors *out,
                    nh_error *err)
{
    *out = (nh_band_errors){0};
    if (check_kpoints(&b->k, &reference->k, err) != 0) return -1;
    const size_t n_k = b->k.count;
    size_t first = SIZE_MAX, end = 0;
    for (size_t k = 0; k < n_k; k++) {
        first = b->first[k] < first ? b->first[k] : first;
        end = b->first[k] + b->n_band > end ? b->first[k] + b->n_band : end;
    }
    *out = (nh_band_errors){.first = first, .n_band = end - first, .n_k = n_k};
    size_t room;
    double *values = nh_size_mul(n_k, out->n_band, &room) ? NH_ARRAY(double, room) : NULL;
    size_t *states = NH_ARRAY(size_t, out->n_band); /* of each band */
    out->band_mean = NH_ARRAY(double, out->n_band);
    out->band_max = NH_ARRAY(double, out->n_band);
    out->k_max = NH_ARRAY(double, n_k);
    out->k_band = NH_ARRAY(size_t, n_k);
    out->ghost = NH_ARRAY(bool, n_k);
    if (!values || !states || !out->band_mean || !out->band_max || !out->k_max || !out->k_band ||
        !out->ghost) {
        nh_fail_memory(err, "the band errors");
        goto fail;
    }
    for (size_t k = 0; k < n_k; k++)
        for (size_t i = first; i < end; i++) {
            const double e = nh_band_energy(reference, k, i), difference = e - nh_band_energy(b, k, i);
            if (!isnan(difference) && e <= top) values[out->n_state++] = difference;
        }
    if (out->n_state == 0) {
        nh_fail(err, "no band in common with the reference below %g eV", top);
        goto fail;
    }
    out->shift = median(out->n_state, values);
    size_t k_with = 0;
    for (size_t k = 0; k < n_k; k++) {
        out->k_max[k] = NAN;
        for (size_t i = first; i < end; i++) {
            const double e = nh_band_energy(reference, k, i),
                         d = fabs(nh_band_energy(b, k, i) + out->shift - e);
            if (isnan(d) || !(e <= top)) continue;
            out->mean += d / (double)out->n_state;
            out->max = fmax(out->max, d);
            out->band_mean[i - first] += d;
            out->band_max[i - first] = fmax(out->band_max[i - first], d);
            states[i - first]++;
            if (!(d <= out->k_max[k])) {
                out->k_max[k] = d;
                out->k_band[k] = i;
            }
        }
        if (!isnan(out->k_max[k])) values[k_with++] = out->k_max[k];
    }
    for (size_t i = 0; i < out->n_band; i++) {
        out->band_mean[i] = states[i] > 0 ? out->band_mean[i] / (double)states[i] : NAN;
        if (states[i] == 0) out->band_max[i] = NAN;
    }
    out->median_k = median(k_with, values);
    out->threshold = fmax(GHOST_FLOOR, GHOST_FACTOR * out->median_k);
    for (size_t k = 0; k < n_k; k++) {
        out->ghost[k] = out->k_max[k] > out->threshold;
        out->n_ghost += out->ghost[k];
    }
    free(values);
    free(states);
    return 0;
fail:
    free(values);
    free(states);
    nh_band_errors_free(out);
    return -1;
}

void nh_band_errors_free(nh_band_errors *e)
{
    free(e->band_mean);
    free(e->band_max);
    free(e->k_max);
    free(e->k_band);
    free(e->ghost);
    *e = (nh_band_errors){0};
}
