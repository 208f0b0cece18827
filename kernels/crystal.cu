/* A crystal on the device, at the ends of the runs of its sub-models: H0's blocks become features, answers become corrections. The host
 * gives H0 once and takes the sum of the corrections once; in between nothing of the size of the edges moves. */
#include "kernels/gpu.h"
#include "kernels/ops.h"
#include "kernels/table.h"

extern "C" {
#include "network/network.h"
}

#include <cstdlib>

struct nhk_crystal {
    nh_gpu *gpu;
    nhk_crystal_input host;
    nhk_embedding in, out;
    nhk_block *edge;
    double *d;      /* [n_elem] corrections */
    double *window; /* [spin_blocks][room][2]: the elements from `first` to `end` of the matrix */
    size_t room, first, end;
};

static size_t orbitals(const nhk_embedding *t, int species)
{
    return (size_t)(t->orbital_start[species + 1] - t->orbital_start[species]);
}

/* Behind the last element of an edge's block. */
static size_t end_of(const nhk_crystal *c, size_t edge)
{
    const nhk_block *b = &c->host.edge[edge];
    return b->start + orbitals(c->host.out, b->a) * orbitals(c->host.out, b->b);
}

static void crystal_drop(nhk_crystal *c);

static int crystal_make(nh_gpu *g, const nhk_crystal_input *in, nhk_crystal **out, nh_error *err)
{
    *out = nullptr;
    nhk_crystal *c = static_cast<nhk_crystal *>(calloc(1, sizeof *c));
    if (c == nullptr) return nhk_error(err, "out of memory for a crystal");
    c->gpu = g;
    c->host = *in;
    c->out = nhk_embedding_new(g, in->out);
    if (in->matrix != nullptr) c->in = nhk_embedding_new(g, in->in);
    c->edge = nhk_uploaded(g, in->edge, in->n_edge);
    const size_t corrections = in->n_elem * sizeof *c->d,
                 element = in->matrix != nullptr ? 2 * (size_t)in->spin_blocks * sizeof *c->window : 0;
    size_t largest = 0, most = nhk_available(g) / 4;
    if (most < corrections + in->n_elem * element) {
        nhk_pool_free(g, &g->pool); /* what runs have left */
        most = nhk_available(g) / 4;
    }
    for (size_t e = 0; e < in->n_edge; e++) {
        const size_t n = end_of(c, e) - in->edge[e].start;
        largest = n > largest ? n : largest;
    }
    const bool fits = most >= corrections + largest * element;
    if (fits) {
        c->d = static_cast<double *>(nhk_alloc(g, in->n_elem, sizeof *c->d));
        nhk_zero(g, c->d, corrections);
        c->room = element == 0 || most - corrections >= in->n_elem * element ? in->n_elem
                                                                             : (most - corrections) / element;
        c->window = static_cast<double *>(nhk_alloc(g, c->room, element));
    }
    const bool no_memory = g->no_memory;
    const int status = nhk_sync(g, err);
    if (status == 0 && fits) {
        *out = c;
        return 0;
    }
    crystal_drop(c);
    return no_memory ? 0 : status;
}

static void crystal_drop(nhk_crystal *c)
{
    if (c == nullptr) return;
    nhk_embedding_free(c->gpu, &c->in);
    nhk_embedding_free(c->gpu, &c->out);
    nhk_free(c->gpu, c->edge);
    nhk_free(c->gpu, c->d);
    nhk_free(c->gpu, c->window);
    free(c);
}

/* The edges from `edge` to less than `end` whose blocks lie in the window, which moves where the first one does not. Returns the first edge
 * that is not among them. */
static size_t look_at(nhk_crystal *c, size_t edge, size_t end)
{
    const nhk_crystal_input *h = &c->host;
    if (h->edge[edge].start < c->first || end_of(c, edge) > c->end) {
        const size_t first = h->edge[edge].start, last = end_of(c, h->n_edge - 1),
                     n = last - first < c->room ? last - first : c->room;
        for (size_t s = 0; s < (size_t)h->spin_blocks; s++)
            nhk_upload(c->gpu, c->window + 2 * s * c->room, h->matrix + 2 * (s * h->n_elem + first),
                       2 * n * sizeof(double));
        c->first = first;
        c->end = first + n;
    }
    while (edge < end && end_of(c, edge) <= c->end)
        edge++;
    return edge;
}

#define ENDS(real, suffix)                                                                                   \
    static void source_##suffix(void *context, size_t first, size_t n, real *out)                            \
    {                                                                                                        \
        nhk_crystal *c = static_cast<nhk_crystal *>(context);                                                \
        for (size_t e = first; e < first + n;) {                                                             \
            const size_t next = look_at(c, e, first + n);                                                    \
            nhk_block_to_irreps_##suffix(c->gpu, &c->in, next - e, c->edge + e, c->host.spin_blocks,         \
                                         c->window, c->first, c->room, c->host.scale,                        \
                                         out + (e - first) * (size_t)c->in.dim);                             \
            e = next;                                                                                        \
        }                                                                                                    \
    }                                                                                                        \
    static void sink_##suffix(void *context, size_t n, const int *edge, const real *ham, const real *)       \
    {                                                                                                        \
        nhk_crystal *c = static_cast<nhk_crystal *>(context);                                                \
        nhk_irreps_to_correction_##suffix(c->gpu, &c->out, n, c->edge, edge, ham, c->host.scale, true,       \
                                          c->d);                                                             \
    }                                                                                                        \
    static void crystal_ends_##suffix(nhk_crystal *c, nh_network_##suffix##_ends *ends)                      \
    {                                                                                                        \
        *ends = nh_network_##suffix##_ends{c, c->host.matrix != nullptr ? source_##suffix : nullptr,         \
                                           sink_##suffix, nullptr};                                          \
    }
ENDS(float, f)
ENDS(double, d)

static int crystal_corrections(nhk_crystal *c, double *d, nh_error *err)
{
    nhk_download(c->gpu, d, c->d, c->host.n_elem * sizeof *d);
    return nhk_sync(c->gpu, err);
}

const nhk_crystal_calls nhk_crystal_table = {crystal_make, crystal_drop, crystal_ends_f, crystal_ends_d,
                                             crystal_corrections};
