#include "plan/layout.h"

#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int nh_layout_new(const nh_irreps *a, nh_layout *out, nh_error *err)
{
    *out = (nh_layout){.n_entry = a->count};
    size_t mul[NH_LMAX + 1][2] = {{0}}, index[NH_LMAX + 1][2] = {{0}};
    for (size_t i = 0; i < a->count; i++) {
        const nh_irrep *e = &a->entry[i];
        if (e->l < 0 || e->l > NH_LMAX)
            return nh_fail(err, "layout: degree %d, at most %d is supported", e->l, NH_LMAX);
        if (mul[e->l][e->p < 0] == 0 && e->mul > 0) out->count++;
        mul[e->l][e->p < 0] += e->mul;
    }
    out->group = NH_ARRAY(nh_group, out->count);
    out->entry = NH_ARRAY(nh_layout_entry, out->n_entry);
    if (out->group == NULL || out->entry == NULL) {
        nh_layout_free(out);
        return nh_fail_memory(err, "layout");
    }
    size_t n = 0;
    for (int l = 0; l <= NH_LMAX; l++)
        for (int odd = 0; odd < 2; odd++) {
            const size_t m = mul[l][odd];
            if (m == 0) continue;
            const size_t rows = (size_t)(2 * l + 1);
            out->group[n] = (nh_group){.l = l,
                                       .p = odd ? -1 : 1,
                                       .mul = m,
                                       .rows = rows,
                                       .dim = rows * m,
                                       .offset = out->dim,
                                       .channel = out->channels};
            out->dim += rows * m;
            out->channels += m;
            out->pairs += m * (m + 1) / 2;
            index[l][odd] = n++;
            mul[l][odd] = 0; /* from here on: channels already given to entries */
        }
    size_t offset = 0;
    for (size_t i = 0; i < a->count; i++) {
        const nh_irrep *e = &a->entry[i];
        const int odd = e->p < 0;
        const size_t rows = (size_t)(2 * e->l + 1);
        out->entry[i] = (nh_layout_entry){.group = index[e->l][odd],
                                          .first = mul[e->l][odd],
                                          .mul = e->mul,
                                          .rows = rows,
                                          .offset = offset};
        mul[e->l][odd] += e->mul;
        offset += rows * e->mul;
    }
    return 0;
}

void nh_layout_free(nh_layout *l)
{
    free(l->group);
    free(l->entry);
    *l = (nh_layout){0};
}

size_t nh_layout_find(const nh_layout *l, int degree, int parity)
{
    for (size_t g = 0; g < l->count; g++)
        if (l->group[g].l == degree && l->group[g].p == parity) return g;
    return SIZE_MAX;
}

/* The entries entry[n] of a as a type of their own, each with at most `limit` channels (0: all). */
static int select_entries(const nh_irreps *a, size_t n, const size_t *entry, size_t limit, nh_irreps *out,
                          nh_error *err)
{
    size_t *mul = NH_ARRAY(size_t, n);
    int *l = NH_ARRAY(int, n), *p = NH_ARRAY(int, n);
    int status = -1;
    if (mul == NULL || l == NULL || p == NULL) {
        nh_fail_memory(err, "linear map");
        goto done;
    }
    for (size_t i = 0; i < n; i++) {
        if (entry[i] >= a->count) {
            nh_fail(err, "linear map: entry %zu of a type with %zu entries", entry[i], a->count);
            goto done;
        }
        const nh_irrep *e = &a->entry[entry[i]];
        mul[i] = limit > 0 && e->mul > limit ? limit : e->mul;
        l[i] = e->l;
        p[i] = e->p;
    }
    status = nh_irreps_build(n, mul, l, p, out, err);
done:
    free(mul);
    free(l);
    free(p);
    return status;
}

static size_t *all_entries(size_t n)
{
    size_t *list = NH_ARRAY(size_t, n);
    for (size_t i = 0; list != NULL && i < n; i++)
        list[i] = i;
    return list;
}

/* block[i*out->count + o]: offset of W_io in tp.weight, or SIZE_MAX where the irreps differ. */
static size_t *flat_blocks(const nh_irreps *in, const nh_irreps *out)
{
    size_t count;
    if (!nh_size_mul(in->count, out->count, &count)) return NULL;
    size_t *block = NH_ARRAY(size_t, count);
    size_t offset = 0;
    for (size_t i = 0; block != NULL && i < in->count; i++)
        for (size_t o = 0; o < out->count; o++) {
            const bool same = in->entry[i].l == out->entry[o].l && in->entry[i].p == out->entry[o].p;
            block[i * out->count + o] = same ? offset : SIZE_MAX;
            if (same) offset += in->entry[i].mul * out->entry[o].mul;
        }
    return block;
}

/* Bias of the output's scalars: bias.j belongs to the j-th 0e entry of the simplified complete type. */
static void bias_sources(const nh_irreps *out, size_t n_out, const size_t *out_entry, nh_linear_map *map)
{
    size_t channel = 0;
    for (size_t k = 0; k < n_out; k++) {
        const nh_irrep *wanted = &out->entry[out_entry[k]];
        if (wanted->l != 0 || wanted->p < 0) continue;
        size_t runs = 0, before = 0;
        bool inside = false;
        for (size_t o = 0; o <= out_entry[k]; o++) {
            const bool scalar = out->entry[o].l == 0 && out->entry[o].p > 0;
            if (scalar && !inside) {
                runs++;
                before = 0;
            }
            inside = scalar;
            if (scalar && o < out_entry[k]) before += out->entry[o].mul;
        }
        const size_t mul = map->out.entry[k].mul;
        for (size_t w = 0; w < mul; w++, channel++) {
            map->bias_param[channel] = runs - 1;
            map->bias_index[channel] = before + w;
        }
    }
}

int nh_linear_map_new(const nh_irreps *in, size_t n_in, const size_t *in_entry, const nh_irreps *out,
                      size_t n_out, const size_t *out_entry, size_t out_limit, nh_linear_map *map,
                      nh_error *err)
{
    *map = (nh_linear_map){0};
    int status = -1;
    nh_irreps chosen_in = {0}, chosen_out = {0};
    size_t *list_in = NULL, *list_out = NULL, *flat = flat_blocks(in, out);
    if (in_entry == NULL) {
        n_in = in->count;
        in_entry = list_in = all_entries(n_in);
    }
    if (out_entry == NULL) {
        n_out = out->count;
        out_entry = list_out = all_entries(n_out);
    }
    if (flat == NULL || in_entry == NULL || out_entry == NULL) {
        nh_fail_memory(err, "linear map");
        goto done;
    }
    if (select_entries(in, n_in, in_entry, 0, &chosen_in, err) != 0) goto done;
    if (select_entries(out, n_out, out_entry, out_limit, &chosen_out, err) != 0) goto done;
    if (nh_layout_new(&chosen_in, &map->in, err) != 0 || nh_layout_new(&chosen_out, &map->out, err) != 0)
        goto done;

    map->block = NH_ARRAY(nh_linear_block, map->out.count);
    if (map->block == NULL) {
        nh_fail_memory(err, "linear map");
        goto done;
    }
    for (size_t g = 0; g < map->out.count; g++) {
        const nh_group *to = &map->out.group[g];
        const size_t from = nh_layout_find(&map->in, to->l, to->p);
        const size_t cin = from == SIZE_MAX ? 0 : map->in.group[from].mul;
        map->block[g] = (nh_linear_block){.in = from, .cin = cin, .cout = to->mul, .weight = map->n_weight};
        map->n_weight += cin * to->mul;
    }
    map->n_bias =
        map->out.count > 0 && map->out.group[0].l == 0 && map->out.group[0].p > 0 ? map->out.group[0].mul : 0;
    map->source = NH_ARRAY(size_t, map->n_weight);
    map->bias_param = NH_ARRAY(size_t, map->n_bias);
    map->bias_index = NH_ARRAY(size_t, map->n_bias);
    if (map->source == NULL || map->bias_param == NULL || map->bias_index == NULL) {
        nh_fail_memory(err, "linear map");
        goto done;
    }
    for (size_t i = 0; i < n_in; i++)
        for (size_t o = 0; o < n_out; o++) {
            const size_t start = flat[in_entry[i] * out->count + out_entry[o]];
            if (start == SIZE_MAX) continue;
            const nh_layout_entry *a = &map->in.entry[i], *b = &map->out.entry[o];
            const nh_linear_block *block = &map->block[b->group];
            const size_t stride = out->entry[out_entry[o]].mul;
            for (size_t u = 0; u < a->mul; u++)
                for (size_t w = 0; w < b->mul; w++)
                    map->source[block->weight + (a->first + u) * block->cout + b->first + w] =
                        start + u * stride + w;
        }
    bias_sources(out, n_out, out_entry, map);
    status = 0;
done:
    free(flat);
    free(list_in);
    free(list_out);
    nh_irreps_free(&chosen_in);
    nh_irreps_free(&chosen_out);
    if (status != 0) nh_linear_map_free(map);
    return status;
}

void nh_linear_map_free(nh_linear_map *map)
{
    nh_layout_free(&map->in);
    nh_layout_free(&map->out);
    free(map->block);
    free(map->source);
    free(map->bias_param);
    free(map->bias_index);
    *map = (nh_linear_map){0};
}
