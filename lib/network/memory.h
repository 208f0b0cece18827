/* memory.h - the arrays of a pass, one text for the host (pass.c) and for devices (kernels/network.cu). Who includes it defines
 *
 *   arena                   what the arrays are taken from
 *   reals(arena, rows, n)   the next rows*n numbers of it; NULL: it measures
 *   OP(name)                the operation of that name */
typedef struct sizes {
    size_t mid, x, result, border, product, pairs, hidden, z, trace, trace_hidden, g_trace, lifted, lift,
        radial_hidden, chain, invariants;
} sizes;

static size_t max_of(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t widest(const nh_chain *m)
{
    size_t width = 0;
    for (size_t i = 1; i < m->layers; i++)
        width = max_of(width, m->width[i]);
    return width;
}

static sizes sizes_of(const nh_net *net, bool keep)
{
    const nh_config *config = net->config;
    const nh_layout *post = &net->map_post.out, *in = &net->map_input.in, *out = &net->map_output.out;
    sizes z;
    memset(&z, 0, sizeof z);
    z.mid = net->mid.dim;
    z.x = max_of(z.mid, net->last.dim);
    z.result = max_of(z.mid, post->dim);
    z.border = max_of(max_of(in->dim, out->dim), z.result);
    z.product = (keep ? 4 : 2) * net->frame.most;
    for (size_t g = 0; g < net->product.out.count; g++)
        z.product = max_of(z.product, net->product.out.group[g].dim);
    z.lifted = config->lift ? z.mid : 0;
    for (size_t g = 0; g < net->lift.out.count; g++)
        z.lift = max_of(z.lift, net->lift.out.group[g].dim);
    z.chain = max_of(widest(&net->block[0].radial), widest(&net->block[0].alpha));
    for (size_t b = 0; b < config->blocks; b++) {
        const nh_chain *m = &net->block[b].invariants;
        if (!net->block[b].has_invariants) continue;
        const nh_layout *type = b + 1 == config->blocks ? &net->last : &net->mid;
        z.z = config->tg_z;
        z.hidden = max_of(z.hidden, OP(mlp_hidden_size)(m));
        z.pairs = max_of(z.pairs, type->pairs);
        z.chain = max_of(z.chain, widest(m));
        z.invariants = max_of(z.invariants, OP(invariants_work)(type, m));
    }
    if (net->with_trace) {
        z.chain = max_of(z.chain, widest(&net->trace));
        z.trace = net->types->n_shell_pair;
        z.trace_hidden = OP(mlp_hidden_size)(&net->trace);
    }
    z.g_trace = max_of(net->trace_width, z.trace);
    z.radial_hidden = OP(mlp_hidden_size)(&net->block[0].radial);
    return z;
}

/* Buffers for `rows` rows. */
static void take_work(const nh_net *net, bool keep, size_t rows, nh_work *w, arena *c)
{
    const sizes z = sizes_of(net, keep);
#define BUFFER(name, numbers) w->name = reals(c, rows, numbers);
#define ACTIVATION(name, numbers) w->name = reals(c, rows, numbers);
#define GRADIENT(name, numbers) w->name = keep ? reals(c, rows, numbers) : NULL;
#include "network/work.def"
#undef BUFFER
#undef ACTIVATION
#undef GRADIENT
}

/* How many of what a pass has. */
typedef struct counts {
    size_t edge, node, out, partial;
} counts;

/* Features between blocks, one array for all blocks or, of a pass that is kept, one for each; s->saved is there, or NULL. */
static void take_state(const nh_net *net, counts n, nh_state *s, arena *c)
{
    const size_t blocks = net->config->blocks, mid = net->mid.dim, heads = net->config->heads;
    s->normed = reals(c, n.node, mid);
    s->p = reals(c, n.node, mid);
    s->q = reals(c, n.node, mid);
    s->partial_value = reals(c, n.partial, net->heads.dim);
    s->trace = reals(c, n.out, net->trace_width);
    if (!s->keep) {
        s->first = s->edge = s->raw = s->edge_next = reals(c, n.edge, mid);
        s->node = s->node_next = reals(c, n.node, mid);
        s->partial_max = reals(c, n.partial, heads);
        s->partial_sum = reals(c, n.partial, heads);
        return;
    }
    real *edge = reals(c, n.edge, mid);
    s->first = net->config->edge_init == NH_EDGE_INIT_PAPER ? reals(c, n.edge, mid) : edge;
    for (size_t k = 0; k < blocks; k++) {
        const bool last = k + 1 == blocks, add = net->block[k].has_invariants && net->config->tg_scale > 0;
        nh_saved t;
        memset(&t, 0, sizeof t);
        t.edge = edge;
        t.node = reals(c, n.node, mid);
        if (!last) {
            t.raw = reals(c, n.edge, mid);
            edge = add ? reals(c, n.edge, mid) : t.raw;
            t.merged = reals(c, n.node, net->heads.dim);
            t.partial_max = reals(c, n.partial, heads);
            t.partial_sum = reals(c, n.partial, heads);
            t.factor = reals(c, add ? n.edge : 0, 1);
        } else if (net->config->lift) {
            t.factor = reals(c, add ? n.out : 0, 1);
            t.lifted = reals(c, n.out, mid);
        }
        t.z = reals(c, net->with_trace ? n.out : 0, net->config->tg_z);
        if (s->saved != NULL) s->saved[k] = t;
    }
    nh_adjoint *b = &s->back;
    b->edge = reals(c, n.edge, mid);
    b->message = reals(c, n.edge, mid);
    b->node = reals(c, n.node, mid);
    b->normed = reals(c, n.node, mid);
    b->merged = reals(c, n.node, net->heads.dim);
    b->max = reals(c, n.node, heads);
    b->total = reals(c, n.node, heads);
    b->dot = reals(c, n.node, heads);
    b->trace = reals(c, n.out, net->trace_width);
}
