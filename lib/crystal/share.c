#include "crystal/share.h"

#include "base/memory.h"

#include <stdlib.h>

/* Bytes of vectors that a rank keeps, unless those of its threads are more. */
static const size_t KEEP = (size_t)1 << 28;

static size_t whole(size_t n, size_t batch)
{
    return (n / batch + (n % batch > 0)) * batch;
}

nh_share nh_share_of(const nh_ranks *ranks, size_t n_k, size_t batch, size_t vector_bytes, int threads)
{
    const size_t count = (size_t)ranks->count;
    nh_share s = {.ranks = ranks, .n_k = n_k, .chunk = whole(n_k / count + (n_k % count > 0), batch)};
    if (count > 1 && vector_bytes > 0) {
        const size_t fit = KEEP / vector_bytes, at_once = batch * (size_t)threads,
                     most = whole(fit > at_once ? fit : at_once, batch);
        if (s.chunk > most) s.chunk = most;
    }
    return s;
}

size_t nh_share_busy(const nh_share *s)
{
    const size_t chunks = whole(s->n_k, s->chunk) / s->chunk, count = (size_t)s->ranks->count;
    return chunks < count ? chunks : count;
}

/* The end of the chunk that begins at k-point `first`. */
static size_t end_of(const nh_share *s, size_t first)
{
    return s->n_k - first < s->chunk ? s->n_k : first + s->chunk;
}

size_t nh_share_count(const nh_share *s)
{
    const size_t step = s->chunk * (size_t)s->ranks->count;
    size_t n = 0;
    for (size_t k = s->chunk * (size_t)s->ranks->rank; k < s->n_k; k += step)
        n += end_of(s, k) - k;
    return n;
}

void nh_share_rows(const nh_share *s, size_t bytes, void *rows)
{
    int owner = 0;
    for (size_t k = 0; s->ranks->count > 1 && k < s->n_k; k = end_of(s, k)) {
        nh_ranks_share(s->ranks, owner, (end_of(s, k) - k) * bytes, (char *)rows + k * bytes);
        owner = (owner + 1) % s->ranks->count;
    }
}

/* The vectors of all ranks' chunks from k-point `first` on, in their order; `kept` holds this rank's. */
static int pass_on(const nh_share *s, const nh_share_task *t, size_t first, double *kept, nh_error *err)
{
    const nh_ranks *r = s->ranks;
    int status = 0;
    for (int owner = 0; owner < r->count && first < s->n_k; owner++) {
        const size_t end = end_of(s, first);
        if (r->rank == 0 || r->rank == owner)
            nh_ranks_bring(r, owner, (end - first) * t->vector_size * sizeof *kept, kept);
        for (size_t k = first; r->rank == 0 && status == 0 && k < end; k++)
            status = t->take(t->context, k, kept + (k - first) * t->vector_size, err);
        first = end;
    }
    return nh_ranks_agree(r, status, err);
}

int nh_share_solve(const nh_share *s, const nh_share_task *t, nh_error *err)
{
    const nh_ranks *r = s->ranks;
    if (r->count == 1) return t->solve(t->context, 0, s->n_k, NULL, err);
    double *kept = NULL;
    size_t room = 0;
    int status = 0;
    if (t->vector_size > 0) {
        if (nh_size_mul(s->chunk, t->vector_size, &room)) kept = NH_ARRAY(double, room);
        if (kept == NULL) status = nh_fail_memory(err, "the vectors of some k-points");
    }
    status = nh_ranks_agree(r, status, err);
    for (size_t k = 0; status == 0 && k < s->n_k; k += s->chunk * (size_t)r->count) {
        const size_t own = k + s->chunk * (size_t)r->rank;
        if (own < s->n_k) status = t->solve(t->context, own, end_of(s, own), kept, err);
        status = nh_ranks_agree(r, status, err);
        if (status == 0 && kept != NULL) status = pass_on(s, t, k, kept, err);
    }
    free(kept);
    if (status != 0) return status;
    nh_spectrum *v = t->out;
    nh_share_rows(s, v->basis * sizeof *v->energy, v->energy);
    nh_share_rows(s, sizeof *v->first, v->first);
    nh_share_rows(s, sizeof *v->count, v->count);
    nh_share_rows(s, sizeof *v->rank, v->rank);
    nh_share_rows(s, sizeof *v->s_smallest, v->s_smallest);
    nh_share_rows(s, sizeof *v->s_largest, v->s_largest);
    return 0;
}
