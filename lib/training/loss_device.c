#include "training/loss_internal.h"

#include "base/memory.h"

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>

static int *as_ints(size_t n, const size_t *from)
{
    int *out = NH_ARRAY(int, n);
    for (size_t i = 0; out != NULL && i < n; i++)
        out[i] = (int)from[i];
    return out;
}

/* The arrays of nhk_loss_input that are not there as they are. */
typedef struct device_input {
    nhk_embedding tables;
    nhk_loss_pair *pair;
    nhk_block *block;
    int *edge_pair, *group, *species_at, *place, *first;
} device_input;

static int make_input(const nh_loss_data *d, device_input *p, nh_error *err)
{
    const nh_graph *g = d->g;
    const nh_structure *st = &g->structure;
    *p = (device_input){.pair = NH_ARRAY(nhk_loss_pair, g->pairs.count),
                        .block = NH_ARRAY(nhk_block, d->n_edge),
                        .edge_pair = as_ints(d->n_edge, d->list.pair),
                        .group = as_ints(d->n_group + 1, d->group),
                        .species_at = as_ints(d->n_species + 1, d->species_at),
                        .place = as_ints(d->species_at[d->n_species], d->row_at),
                        .first = NH_ARRAY(int, d->n_species * d->n_shell)};
    if (!p->pair || !p->block || !p->edge_pair || !p->group || !p->species_at || !p->place || !p->first)
        return nh_fail_memory(err, "the loss");
    if (nh_embedding_tables(&d->transform, NULL, &p->tables, err)) return -1;
    for (size_t i = 0; i < g->pairs.count; i++) {
        const nh_pair *at = &g->pairs.pair[i];
        const nh_loss_ends q = nh_loss_ends_of(d, i);
        const size_t e = d->edge_of[i];
        const bool answered = e != SIZE_MAX && d->start[e + 1] > d->start[e];
        p->pair[i] = (nhk_loss_pair){.start = q.first,
                                     .d = answered ? d->start[e] : SIZE_MAX,
                                     .edge = e != SIZE_MAX ? (int)e : -1,
                                     .rows = (int)q.rows,
                                     .columns = (int)q.columns,
                                     .a = q.a,
                                     .b = q.b,
                                     .row = (int)d->orbital[at->src],
                                     .column = (int)d->orbital[at->dst],
                                     .cell = {at->cell[0], at->cell[1], at->cell[2]}};
        if (e == SIZE_MAX) continue;
        p->block[e] = (nhk_block){d->start[e], !answered ? -1 : d->padding ? 0 : q.a, d->padding ? 0 : q.b};
    }
    for (size_t a = 0; a < d->n_species; a++) {
        for (size_t i = 0; i < d->n_shell; i++)
            p->first[a * d->n_shell + i] = -1;
        for (size_t k = st->shell_start[a], at = 0; k < st->shell_start[a + 1];
             at += (size_t)(2 * st->shell_l[k++] + 1))
            p->first[a * d->n_shell + d->slot[k]] = (int)at;
    }
    return 0;
}

static void input_free(device_input *p)
{
    void *const list[] = {p->pair, p->block, p->edge_pair, p->group, p->species_at, p->place, p->first};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        free(list[i]);
    nh_embedding_tables_free(&p->tables);
}

/* Takes what does not change to the device, once; d->placed is NULL where there is no room. */
static int take_to_device(nh_loss_data *d, const nh_device *device, nh_error *err)
{
    const nh_graph *g = d->g;
    device_input p = {0};
    if (d->device != NULL) return 0; /* it is there, or there was no room */
    d->device = device;
    int status = g->pairs.count > INT_MAX / 2
                     ? nh_fail(err, "%zu pairs, too many for a device", g->pairs.count)
                     : make_input(d, &p, err);
    if (status == 0) {
        const nhk_loss_input in = {.n_edge = d->n_edge,
                                   .n_pair = g->pairs.count,
                                   .n_elem = g->pairs.n_elem,
                                   .n_group = d->n_group,
                                   .n_orbital = d->n_orbital,
                                   .n_full = d->n_full,
                                   .n_d = d->start[d->n_edge],
                                   .spin_blocks = g->n_spin,
                                   .n_slot = (int)d->n_shell,
                                   .n_species = (int)d->n_species,
                                   .padding = d->padding,
                                   .scale = d->scale,
                                   .trace_eps = NH_LOSS_TRACE_EPS,
                                   .tables = &p.tables,
                                   .block = p.block,
                                   .pair = p.pair,
                                   .edge_pair = p.edge_pair,
                                   .group = p.group,
                                   .species_at = p.species_at,
                                   .place = p.place,
                                   .first = p.first,
                                   .occupied = d->occupied,
                                   .mask = d->mask,
                                   .h0 = g->matrix[NH_H0],
                                   .label = g->matrix[NH_H_LABEL],
                                   .overlap = g->overlap};
        status = device->call->loss->make(device->gpu, &in, &d->placed, err);
    }
    input_free(&p);
    return status;
}

int nh_loss_begin(nh_loss_data *d, const nh_device *device, const nh_loss_task *t, bool *ready, nh_error *err)
{
    *ready = false;
    if (nh_loss_check_states(d, t->n_state, t->state, err) || take_to_device(d, device, err)) return -1;
    if (d->placed == NULL) return 0;
    return device->call->loss->begin(d->placed, t->outputs, t->with_gradients, t->n_state, t->state, ready,
                                     err);
}
