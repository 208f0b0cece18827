#include "training/loss_internal.h"

#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

nh_loss_ends nh_loss_ends_of(const nh_loss_data *d, size_t pair)
{
    const nh_pair *p = &d->g->pairs.pair[pair];
    const int a = d->g->structure.species[p->src], b = d->g->structure.species[p->dst];
    return (nh_loss_ends){.first = d->g->pairs.start[pair],
                          .rows = nh_loss_orbitals(d, p->src),
                          .columns = nh_loss_orbitals(d, p->dst),
                          .a = a,
                          .b = b,
                          .row = d->row_at + d->species_at[a],
                          .column = d->row_at + d->species_at[b],
                          .rows_there = d->occupied + (size_t)a * d->n_full,
                          .columns_there = d->occupied + (size_t)b * d->n_full,
                          .width = d->padding ? d->n_full : nh_loss_orbitals(d, p->dst)};
}

void nh_loss_data_free(nh_loss_data *d)
{
    if (d == NULL) return;
    if (d->placed != NULL) d->device->call->loss->drop(d->placed);
    nh_edge_list_free(&d->list);
    free(d->start);
    free(d->slot);
    nh_structure_free(&d->full);
    free(d->full_slot);
    free(d->row_at);
    free(d->occupied);
    free(d->species_at);
    free(d->mask);
    free(d->n_mask);
    free(d->group);
    free(d->orbital);
    free(d->edge_of);
    free(d);
}

size_t nh_loss_edges(const nh_loss_data *d)
{
    return d->n_edge;
}

static int check_graph(const nh_graph *g, nh_error *err)
{
    if (g->matrix[NH_H0] == NULL) return nh_fail(err, "no h0");
    if (g->matrix[NH_H_LABEL] == NULL) return nh_fail(err, "no h_label: this file has no training target");
    if (g->overlap == NULL) return nh_fail(err, "no overlap");
    if (g->n_spin != 1 && g->n_spin != 4)
        return nh_fail(err, "%d spin blocks found, 1 or 4 expected", g->n_spin);
    return 0;
}

/* Every shell pair that atoms of an edge have must be among those that the network answers. */
static int check_selection(const nh_loss_data *d, nh_error *err)
{
    const size_t n_pair = nh_embedding_pairs(d->e);
    bool *used = NH_ARRAY(bool, n_pair);
    if (used == NULL) return nh_fail_memory(err, "the shell pairs");
    nh_embedding_used(d->e, d->g, d->slot, d->n_edge, d->list.pair, used);
    size_t k = 0;
    int status = 0;
    for (size_t p = 0; p < n_pair && status == 0; p++) {
        while (k < d->s->n_pair && d->s->pair[k] < p)
            k++;
        if (used[p] && (k == d->s->n_pair || d->s->pair[k] != p))
            status = nh_fail(
                err, "the network's output lacks the shell pair %zu,%zu, which atoms of this crystal have",
                p / d->n_shell, p % d->n_shell);
    }
    free(used);
    return status;
}

/* Where the orbitals of each species are among the rows of D. */
static int find_places(nh_loss_data *d, const nh_config *c, nh_error *err)
{
    const nh_structure *s = &d->g->structure;
    const size_t all_slots = d->n_shell;
    size_t *slot_at = NH_ARRAY(size_t, all_slots + 1);
    d->n_species = s->n_species;
    d->species_at = NH_ARRAY(size_t, s->n_species + 1);
    for (size_t i = 0; d->species_at != NULL && i < s->n_species; i++)
        d->species_at[i + 1] = d->species_at[i] + nh_species_orbitals(s, i);
    d->row_at = d->species_at != NULL ? NH_ARRAY(size_t, d->species_at[s->n_species]) : NULL;
    d->full_slot = NH_ARRAY(size_t, all_slots);
    if (slot_at == NULL || d->row_at == NULL || d->full_slot == NULL) {
        free(slot_at);
        return nh_fail_memory(err, "the padded basis");
    }
    for (size_t i = 0; i < all_slots; i++) {
        slot_at[i + 1] = slot_at[i] + (size_t)(2 * c->shell_l[i] + 1);
        d->full_slot[i] = i;
    }
    d->n_full = slot_at[all_slots];
    d->occupied = NH_ARRAY(unsigned char, d->n_full * s->n_species);
    if (d->occupied == NULL) {
        free(slot_at);
        return nh_fail_memory(err, "the padded basis");
    }
    size_t at = 0;
    for (size_t i = 0; i < s->n_species; i++)
        for (size_t k = s->shell_start[i]; k < s->shell_start[i + 1]; k++)
            for (size_t m = 0; m < (size_t)(2 * s->shell_l[k] + 1); m++, at++) {
                d->row_at[at] = d->padding ? slot_at[d->slot[k]] + m : at - d->species_at[i];
                d->occupied[i * d->n_full + slot_at[d->slot[k]] + m] = 1;
            }
    free(slot_at);
    d->transform = (nh_transform){d->e, d->s, s, d->slot};
    if (!d->padding) return 0;
    d->transform.structure = &d->full;
    d->transform.slot = d->full_slot;
    return nh_structure_new(1, 1, &d->full, err) ||
                   nh_structure_set_shells(&d->full, &all_slots, c->shell_l, err)
               ? -1
               : 0;
}

/* tmask: LN0 of the counts of occupied positions is exactly 0 where a pair's count is the mean. */
static int make_masks(nh_loss_data *d, nh_error *err)
{
    const nh_structure *s = &d->g->structure;
    const size_t n_pair = d->n_shell * d->n_shell;
    size_t bytes;
    d->n_mask = NH_ARRAY(size_t, d->n_species * d->n_species);
    d->mask =
        nh_size_mul(d->n_species * d->n_species, n_pair, &bytes) ? NH_ARRAY(unsigned char, bytes) : NULL;
    size_t *count = NH_ARRAY(size_t, n_pair);
    if (d->n_mask == NULL || d->mask == NULL || count == NULL) {
        free(count);
        return nh_fail_memory(err, "the trace masks");
    }
    for (size_t a = 0; a < d->n_species; a++)
        for (size_t b = 0; b < d->n_species; b++) {
            size_t total = 0;
            memset(count, 0, n_pair * sizeof *count);
            for (size_t k = s->shell_start[a]; k < s->shell_start[a + 1]; k++)
                for (size_t m = s->shell_start[b]; m < s->shell_start[b + 1]; m++) {
                    const size_t n = (size_t)(4 * (2 * s->shell_l[k] + 1) * (2 * s->shell_l[m] + 1));
                    count[d->slot[k] * d->n_shell + d->slot[m]] = n;
                    total += n;
                }
            unsigned char *mask = d->mask + (a * d->n_species + b) * n_pair;
            for (size_t p = 0; p < n_pair; p++) {
                mask[p] = count[p] * n_pair != total;
                d->n_mask[a * d->n_species + b] += mask[p];
            }
        }
    free(count);
    return 0;
}

static int find_groups(nh_loss_data *d, nh_error *err)
{
    const nh_pairs *p = &d->g->pairs;
    const size_t n_atom = d->g->structure.n_atom;
    d->orbital = NH_ARRAY(size_t, n_atom + 1);
    d->group = NH_ARRAY(size_t, p->count + 1);
    d->edge_of = NH_ARRAY(size_t, p->count);
    if (d->orbital == NULL || d->group == NULL || d->edge_of == NULL)
        return nh_fail_memory(err, "the atom pairs");
    nh_orbital_start(&d->g->structure, d->orbital);
    d->n_orbital = d->orbital[n_atom];
    for (size_t i = 0; i < p->count; i++) {
        d->edge_of[i] = SIZE_MAX;
        if (i == 0 || p->pair[i].src != p->pair[i - 1].src || p->pair[i].dst != p->pair[i - 1].dst)
            d->group[d->n_group++] = i;
    }
    d->group[d->n_group] = p->count;
    for (size_t e = 0; e < d->n_edge; e++)
        d->edge_of[d->list.pair[e]] = e;
    return 0;
}

static int find_edges(nh_loss_data *d, const nh_config *c, nh_error *err)
{
    const nh_graph *g = d->g;
    if (nh_edge_list_new(g, c->cutoff, &d->list, err)) return -1;
    d->n_edge = d->list.edges.n_edge;
    d->start = NH_ARRAY(size_t, d->n_edge + 1);
    if (d->start == NULL) return nh_fail_memory(err, "the edges");
    for (size_t e = 0; e < d->n_edge; e++) {
        const size_t first = g->pairs.start[d->list.pair[e]], n = g->pairs.start[d->list.pair[e] + 1] - first;
        const bool answered = nh_config_range_of(c, d->list.distance[e]) != SIZE_MAX;
        d->start[e + 1] = d->start[e] + (!answered ? 0 : d->padding ? d->n_full * d->n_full : n);
        d->n_position += 4 * (double)n;
        for (size_t i = first; i < first + n; i++)
            d->overlap_square += 2 * g->overlap[i] * g->overlap[i];
    }
    return 0;
}

int nh_loss_data_new(const nh_config *c, const nh_graph *g, const nh_embedding *e, const nh_selection *s,
                     bool padding, nh_loss_data **out, nh_error *err)
{
    *out = NULL;
    if (check_graph(g, err)) return -1;
    if (s->part == NH_PART_SCALAR && c->reconstruct == NH_RECONSTRUCT_UU)
        return nh_fail(err,
                       "reconstruct: uu needs the spin-dependent outputs, the selection has the scalar ones");
    nh_loss_data *d = NH_ARRAY(nh_loss_data, 1);
    if (d == NULL) return nh_fail_memory(err, "the loss");
    *d = (nh_loss_data){.g = g,
                        .e = e,
                        .s = s,
                        .padding = padding,
                        .scale = c->rydberg / g->rydberg,
                        .n_shell = c->n_shell,
                        .copies = g->n_spin == 1 ? 2 : 1};
    d->slot = NH_ARRAY(size_t, g->structure.shell_start[g->structure.n_species]);
    if (d->slot == NULL) {
        nh_fail_memory(err, "the padded basis");
        goto fail;
    }
    if (nh_embedding_slots(e, &g->structure, d->slot, err) || find_places(d, c, err) ||
        find_edges(d, c, err) || find_groups(d, err) || check_selection(d, err) || make_masks(d, err))
        goto fail;
    *out = d;
    return 0;
fail:
    nh_loss_data_free(d);
    return -1;
}
