#include "plan/product.h"

#include "base/memory.h"
#include "o3/wigner.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

typedef struct triple {
    int l1, j, l3;
    size_t matrix;
    nh_coupling coupling;
} triple;

/* Index of the triple in list[*count], appended where it is new; SIZE_MAX on failure. */
static size_t find_triple(triple *list, size_t *count, int l1, int j, int l3, size_t *n_matrix, nh_error *err)
{
    for (size_t i = 0; i < *count; i++)
        if (list[i].l1 == l1 && list[i].j == j && list[i].l3 == l3) return i;
    triple *t = &list[*count];
    *t = (triple){.l1 = l1, .j = j, .l3 = l3, .matrix = *n_matrix};
    if (nh_coupling_new(l1, j, l3, &t->coupling, err) != 0) return SIZE_MAX;
    *n_matrix += (size_t)(2 * l1 + 1) * (size_t)(2 * l3 + 1);
    return (*count)++;
}

/* The terms of every number of every M, those of one number together. */
static int fill_terms(const triple *list, size_t count, nh_product *p, nh_error *err)
{
    p->first_term = NH_ARRAY(size_t, p->n_matrix + 1);
    if (p->first_term == NULL) return nh_fail_memory(err, "tensor product");
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        const nh_coupling *c = &list[i].coupling;
        const size_t width = (size_t)(2 * list[i].l3 + 1);
        for (size_t k = 0; k < c->count; k++)
            p->first_term[list[i].matrix + c->i1[k] * width + c->i3[k] + 1]++;
        total += c->count;
    }
    for (size_t k = 0; k < p->n_matrix; k++)
        p->first_term[k + 1] += p->first_term[k];
    p->term = NH_ARRAY(nh_product_term, total);
    size_t *next = NH_ARRAY(size_t, p->n_matrix);
    if (p->term == NULL || next == NULL) {
        free(next);
        return nh_fail_memory(err, "tensor product");
    }
    for (size_t i = 0; i < count; i++) {
        const nh_coupling *c = &list[i].coupling;
        const size_t width = (size_t)(2 * list[i].l3 + 1), j = (size_t)list[i].j;
        for (size_t k = 0; k < c->count; k++) {
            const size_t m = list[i].matrix + c->i1[k] * width + c->i3[k];
            p->term[p->first_term[m] + next[m]++] =
                (nh_product_term){.y = j * j + c->i2[k], .value = c->value[k] * sqrt((double)width)};
        }
    }
    free(next);
    return 0;
}

int nh_product_new(const nh_types *t, nh_product *out, nh_error *err)
{
    *out = (nh_product){.n_weight = t->n_weight};
    int status = -1;
    size_t count = 0;
    triple *list = NH_ARRAY(triple, t->n_path);
    out->path = NH_ARRAY(nh_product_path, t->n_path);
    if (list == NULL || out->path == NULL) {
        nh_fail_memory(err, "tensor product");
        goto done;
    }
    if (nh_layout_new(&t->mid, &out->in, err) != 0 || nh_layout_new(&t->dtp_out, &out->out, err) != 0)
        goto done;
    out->first_path = NH_ARRAY(size_t, out->out.count + 1);
    if (out->first_path == NULL) {
        nh_fail_memory(err, "tensor product");
        goto done;
    }
    out->n_harmonic = t->harmonics.dim;
    size_t n = 0;
    for (size_t g = 0; g < out->out.count; g++) {
        out->first_path[g] = n;
        for (size_t k = 0; k < t->n_path; k++) {
            const struct nh_path *path = &t->path[k];
            if (path->l != out->out.group[g].l || path->p != out->out.group[g].p) continue;
            const nh_irrep *entry = &t->mid.entry[path->entry];
            const size_t i = find_triple(list, &count, entry->l, path->j, path->l, &out->n_matrix, err);
            if (i == SIZE_MAX) goto done;
            out->path[n++] = (nh_product_path){.in = out->in.entry[path->entry].group,
                                               .rows = (size_t)(2 * entry->l + 1),
                                               .j = (size_t)path->j,
                                               .mul = entry->mul,
                                               .matrix = list[i].matrix,
                                               .weight = path->weight,
                                               .channel = path->channel};
        }
    }
    out->first_path[out->out.count] = n;
    status = fill_terms(list, count, out, err);
done:
    for (size_t i = 0; i < count; i++)
        nh_coupling_free(&list[i].coupling);
    free(list);
    if (status != 0) nh_product_free(out);
    return status;
}

void nh_product_free(nh_product *p)
{
    nh_layout_free(&p->in);
    nh_layout_free(&p->out);
    free(p->first_term);
    free(p->term);
    free(p->path);
    free(p->first_path);
    *p = (nh_product){0};
}
