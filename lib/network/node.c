/* The nodes of a block, tile by tile (docs/network.md 3.3, 3.4). */
#include "network/internal.h"

size_t R(nh_tile_nodes)(const nh_run *f, size_t tile, nh_work *w)
{
    const size_t first = tile * NH_TILE, left = f->graph->n_node - first, n = left < NH_TILE ? left : NH_TILE;
    for (size_t t = 0; t < n; t++)
        w->row[t] = first + t;
    return n;
}

/* The nodes' parts of the messages in the initial edge features (OPTIONS.md 2). */
void R(nh_run_init_nodes)(void *run, size_t tile, int thread)
{
    const nh_run *f = run;
    const nh_net *net = f->net;
    nh_work *w = &f->work[thread];
    double lap = 0;
    R(nh_lap)(&lap);
    const size_t n = R(nh_tile_nodes)(f, tile, w);
    const nh_linear *part[2] = {&net->init_src, &net->init_dst};
    R(nh_rows_load)(&net->mid, n, w->row, f->node, w->x);
    for (size_t i = 0; i < 2; i++) {
        R(nh_linear_forward)(part[i]->map, n, w->x, part[i]->weight, part[i]->bias, false, w->y);
        R(nh_rows_store)(&net->mid, n, w->row, w->y, i == 0 ? f->p : f->q);
    }
    w->times.node += R(nh_lap)(&lap);
}

/* n1 = EQLN(n), and its parts of the messages: pre_lin's blocks for p and q follow merge_src and merge_dst
 * here, on nodes. */
void R(nh_run_node_begin)(void *run, size_t tile, int thread)
{
    const nh_run *f = run;
    const nh_layout *mid = &f->net->mid;
    const nh_block *b = &f->net->block[f->block];
    nh_work *w = &f->work[thread];
    double lap = 0;
    R(nh_lap)(&lap);
    const size_t n = R(nh_tile_nodes)(f, tile, w);
    R(nh_rows_load)(mid, n, w->row, f->node, w->x);
    R(nh_norm_forward)(mid, n, w->x, f->net->config->norm_eps, b->norm_1[0], b->norm_1[1], w->x);
    R(nh_rows_store)(mid, n, w->row, w->x, f->normed);
    R(nh_linear_forward)(b->merge_src.map, n, w->x, b->merge_src.weight, b->merge_src.bias, false, w->value);
    R(nh_linear_forward)(b->pre_src.map, n, w->value, b->pre_src.weight, b->pre_src.bias, false, w->y);
    R(nh_rows_store)(mid, n, w->row, w->y, f->p);
    R(nh_linear_forward)(b->merge_dst.map, n, w->x, b->merge_dst.weight, NULL, false, w->value);
    R(nh_linear_forward)(b->pre_dst.map, n, w->value, b->pre_dst.weight, NULL, false, w->y);
    R(nh_rows_store)(mid, n, w->row, w->y, f->q);
    w->times.node += R(nh_lap)(&lap);
}

/* a = proj(sum over incoming edges); n2 = EQLN(a + n1); n' = FFN(n2) + n2. */
void R(nh_run_node_end)(void *run, size_t tile, int thread)
{
    const nh_run *f = run;
    const nh_net *net = f->net;
    const nh_layout *mid = &net->mid, *heads = &net->heads;
    const nh_block *b = &net->block[f->block];
    const size_t n_head = net->config->heads;
    nh_work *w = &f->work[thread];
    double lap = 0;
    R(nh_lap)(&lap);
    const size_t n = R(nh_tile_nodes)(f, tile, w);
    for (size_t t = 0; t < n; t++) {
        real *sum = f->keep ? f->merged + w->row[t] * heads->dim : w->weighted + t * heads->dim;
        const size_t first = f->node_partial[w->row[t]], count = f->node_partial[w->row[t] + 1] - first;
        R(nh_softmax_merge_forward)
        (heads, n_head, count, f->partial_max + first * n_head, f->partial_sum + first * n_head,
         f->partial_value + first * heads->dim, sum);
        w->pick[t] = t;
    }
    R(nh_rows_load)(heads, n, f->keep ? w->row : w->pick, f->keep ? f->merged : w->weighted, w->heads);
    R(nh_linear_forward)(b->proj.map, n, w->heads, b->proj.weight, b->proj.bias, false, w->x);
    R(nh_rows_add)(mid, n, w->row, f->normed, w->x);
    R(nh_norm_forward)(mid, n, w->x, net->config->norm_eps, b->norm_2[0], b->norm_2[1], w->x);
    R(nh_linear_forward)(b->ffn_1.map, n, w->x, b->ffn_1.weight, b->ffn_1.bias, false, w->gate_in);
    R(nh_gate_forward)(&net->gate_in, mid, net->gate_first, n, w->gate_in, w->value);
    R(nh_linear_forward)(b->ffn_2.map, n, w->value, b->ffn_2.weight, b->ffn_2.bias, true, w->x);
    R(nh_rows_store)(mid, n, w->row, w->x, f->node_next);
    if (f->probe != NULL && f->probe->node != NULL && f->probe->node[f->block] != NULL)
        R(nh_to_e3nn)(mid, n, w->x, f->probe->node[f->block] + w->row[0] * mid->dim);
    w->times.node += R(nh_lap)(&lap);
}
