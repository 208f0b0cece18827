#include "training/ranks.h"

#include "base/memory.h"

#include <stdlib.h>

int nh_team_new(nh_ranks all, size_t a_crystal, size_t n_part, nh_team *out, nh_error *err)
{
    const size_t count = (size_t)all.count;
    *out = NH_ALONE;
    if (count == 1) return 0;
    size_t size = a_crystal ? a_crystal : n_part;
    while (!a_crystal && count % size != 0)
        size--;
    if (count % size != 0)
        return nh_fail(err, "parallel: %zu processes a crystal do not divide the %zu that there are", size,
                       count);
    if (size > n_part)
        return nh_fail(err, "parallel: %zu processes a crystal, but only %zu sub-models", size, n_part);
    out->all = out->crystal = out->peers = all;
    if (size == 1) out->crystal = NH_ALONE.crystal;
    if (size == count) out->peers = NH_ALONE.peers;
    if (size > 1 && size < count) {
        out->crystal = nh_ranks_split(&all, all.rank / (int)size);
        out->peers = nh_ranks_split(&all, all.rank % (int)size);
    }
    return 0;
}

int nh_ranks_sum_weights(const nh_ranks *r, const nh_params *p, nh_weights *w, nh_error *err)
{
    if (r->count == 1) return 0;
    size_t count = 0, at;
    for (size_t i = 0; i < p->count; i++)
        count += (w->as_double ? (void *)w->as_double[i] : (void *)w->as_float[i]) ? p->param[i].count : 0;
    double *all = NH_ARRAY(double, count);
    if (!all) return nh_fail_memory(err, "gradients");
    for (int back = 0; back < 2; back++) {
        at = 0;
        for (size_t i = 0; i < p->count; i++) {
            if (!(w->as_double ? (void *)w->as_double[i] : (void *)w->as_float[i])) continue;
            for (size_t k = 0; k < p->param[i].count; k++, at++) {
                if (!back)
                    all[at] = w->as_double ? w->as_double[i][k] : (double)w->as_float[i][k];
                else if (w->as_double)
                    w->as_double[i][k] = all[at];
                else
                    w->as_float[i][k] = (float)all[at];
            }
        }
        if (!back) nh_ranks_sum(r, count, all);
    }
    free(all);
    return 0;
}

void nh_ranks_share_weights(const nh_ranks *r, int owner, const nh_params *p, nh_weights *w)
{
    for (size_t i = 0; i < p->count; i++) {
        void *const values = w->as_double ? (void *)w->as_double[i] : (void *)w->as_float[i];
        if (values != NULL)
            nh_ranks_share(r, owner, p->param[i].count * (w->as_double ? sizeof(double) : sizeof(float)),
                           values);
    }
}
