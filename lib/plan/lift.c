#include "plan/lift.h"

#include "base/memory.h"
#include "o3/wigner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The irreps of LIFT that are wanted: a type with one entry, and so one group, each. */
static int choose(const nh_types *t, const nh_irreps *wanted, nh_lift *p, nh_error *err)
{
    nh_irreps type = {0};
    size_t n = 0, *mul = NH_ARRAY(size_t, t->lift.count);
    int *l = NH_ARRAY(int, t->lift.count), *parity = NH_ARRAY(int, t->lift.count), status = -1;
    p->entry = NH_ARRAY(size_t, t->lift.count);
    if (mul == NULL || l == NULL || parity == NULL || p->entry == NULL) {
        nh_fail_memory(err, "lift");
        goto done;
    }
    for (size_t i = 0; i < t->lift.count; i++) {
        const nh_irrep *e = &t->lift.entry[i];
        if (wanted != NULL && nh_irreps_count(wanted, e->l, e->p) == 0) continue;
        p->entry[n] = i;
        mul[n] = e->mul;
        l[n] = e->l;
        parity[n++] = e->p;
    }
    if (nh_irreps_build(n, mul, l, parity, &type, err) != 0) goto done;
    status = nh_layout_new(&type, &p->out, err);
done:
    nh_irreps_free(&type);
    free(mul);
    free(l);
    free(parity);
    return status;
}

/* Appends the terms of a path, those of one component of the result together. */
static int add_terms(const nh_irrep *x, const nh_irrep *y, int l3, nh_lift *p, size_t *n_term, size_t *room,
                     nh_error *err)
{
    nh_coupling c;
    if (nh_coupling_new(x->l, y->l, l3, &c, err) != 0) return -1;
    if (!nh_grow(&p->term, room, *n_term + c.count, sizeof *p->term)) {
        nh_coupling_free(&c);
        return nh_fail_memory(err, "lift");
    }
    for (int k = 0; k <= 2 * l3; k++)
        for (size_t i = 0; i < c.count; i++)
            if (c.i3[i] == k)
                p->term[(*n_term)++] = (nh_lift_term){.a = c.i1[i],
                                                      .b = c.i2[i],
                                                      .c = c.i3[i],
                                                      .value = c.value[i] * sqrt((double)(2 * l3 + 1))};
    nh_coupling_free(&c);
    return 0;
}

int nh_lift_new(const nh_types *t, const nh_irreps *wanted, nh_lift *out, nh_error *err)
{
    *out = (nh_lift){.n_weight = t->n_lift_weight};
    size_t n = 0, n_term = 0, room = 0;
    int status = -1;
    out->path = NH_ARRAY(nh_lift_product, t->n_lift_path);
    if (out->path == NULL) {
        nh_fail_memory(err, "lift");
        goto done;
    }
    if (nh_layout_new(&t->mid, &out->in, err) != 0 || choose(t, wanted, out, err) != 0) goto done;
    out->first_path = NH_ARRAY(size_t, out->out.count + 1);
    if (out->first_path == NULL) {
        nh_fail_memory(err, "lift");
        goto done;
    }
    for (size_t g = 0; g < out->out.count; g++) {
        out->first_path[g] = n;
        for (size_t k = 0; k < t->n_lift_path; k++) {
            const struct nh_lift_path *path = &t->lift_path[k];
            if (path->l != out->out.group[g].l || path->p != out->out.group[g].p) continue;
            const size_t first = n_term;
            if (add_terms(&t->mid.entry[path->first], &t->mid.entry[path->second], path->l, out, &n_term,
                          &room, err) != 0)
                goto done;
            out->path[n++] = (nh_lift_product){.first = out->in.entry[path->first].group,
                                               .second = out->in.entry[path->second].group,
                                               .mul = path->mul,
                                               .weight = path->weight,
                                               .channel = path->channel,
                                               .term = first,
                                               .n_term = n_term - first};
        }
    }
    out->first_path[out->out.count] = n;
    status = 0;
done:
    if (status != 0) nh_lift_free(out);
    return status;
}

void nh_lift_free(nh_lift *p)
{
    nh_layout_free(&p->in);
    nh_layout_free(&p->out);
    free(p->term);
    free(p->path);
    free(p->first_path);
    free(p->entry);
    *p = (nh_lift){0};
}
