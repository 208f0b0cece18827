#include "nextham/embedding_internal.h"

#include "base/memory.h"

#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* What a number of a pair's vector is made of, by element of the sub-block and channel, without the spin matrices' factor. */
typedef struct recipe {
    double value[NH_WE_SUB][NH_WE_CHANNELS], dual[NH_WE_SUB][NH_WE_CHANNELS];
} recipe;

/* recipe[4n] of the numbers (L), then (L,J). */
static void compose(const nh_we_pair *t, recipe *r)
{
    memset(r, 0, 4 * t->n * sizeof *r);
    for (size_t i = 0; i < t->n_term; i++) {
        const nh_we_term *const m = &t->term[i];
        r[m->angular].value[m->element][0] += m->value;
        r[m->angular].dual[m->element][0] += m->dual;
    }
    for (size_t k = 0; k < t->n_spin_term; k++) {
        const nh_we_spin_term *const s = &t->spin_term[k];
        for (size_t i = 0; i < t->n_term; i++) {
            const nh_we_term *const m = &t->term[i];
            if (m->angular != s->angular) continue;
            r[s->entry].value[m->element][s->channel] += s->value * m->value;
            r[s->entry].dual[m->element][s->channel] += s->dual * m->dual;
        }
    }
}

/* More than the rounding of a sum that is zero. */
static bool counts(double value)
{
    return fabs(value) > 1e-14;
}

/* Appends the rows of one pair of degrees; where `out` has no arrays yet, counts them. */
static void add_rows(const nh_we_pair *t, nh_embedding_part part, int l2, recipe *room, nhk_embedding *out)
{
    const double h = 1 / sqrt(2);
    const size_t width = (size_t)(2 * l2 + 1), numbers = nh_we_numbers(part, t);
    compose(t, room);
    for (size_t q = 0; q < numbers; q++) {
        for (size_t i = 0; i < t->n; i++)
            for (size_t c = 0; c < NH_WE_CHANNELS; c++) {
                const double value = h * room[q].value[i][c], dual = h * room[q].dual[i][c];
                if (!counts(value)) continue;
                if (out->up != NULL)
                    out->up[out->n_up] = (nhk_up){(unsigned char)(i / width), (unsigned char)(i % width),
                                                  (unsigned char)c, value, dual};
                out->n_up++;
            }
        out->n_up_row++;
        if (out->up != NULL) out->up_start[out->n_up_row] = out->n_up;
    }
    for (size_t i = 0; i < t->n; i++) {
        for (size_t q = 0; q < numbers; q++) {
            /* D is the channel 0 of the numbers (L) and the channel z of the others, which have no 0 */
            const double value = h * (room[q].value[i][0] + room[q].value[i][NH_WE_Z]);
            if (!counts(value)) continue;
            if (out->down != NULL) out->down[out->n_down] = (nhk_down){(int)q, value};
            out->n_down++;
        }
        out->n_down_row++;
        if (out->down != NULL) out->down_start[out->n_down_row] = out->n_down;
    }
}

void nh_embedding_tables_free(nhk_embedding *t)
{
    void *const list[] = {t->number, t->first,    t->orbital_start, t->orbital, t->offset, t->down_row,
                          t->width,  t->up_start, t->down_start,    t->up,      t->down};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        free(list[i]);
    *t = (nhk_embedding){0};
}

/* Counts, then fills the rows of the pairs of degrees that the basis has; first rows of each in up[][] and down[][]. */
static int make_rows(const nh_embedding *e, nh_embedding_part part, nhk_embedding *out,
                     int up[][NH_WE_L_SHELL + 1], int down[][NH_WE_L_SHELL + 1], nh_error *err)
{
    recipe *const room = NH_ARRAY(recipe, 4 * NH_WE_SUB);
    if (room == NULL) return nh_fail_memory(err, "Wigner-Eckart tables");
    int status = 0;
    for (int pass = 0; pass < 2 && status == 0; pass++) {
        if (pass == 1) {
            out->up_start = NH_ARRAY(int, (size_t)out->n_up_row + 1);
            out->down_start = NH_ARRAY(int, (size_t)out->n_down_row + 1);
            out->up = NH_ARRAY(nhk_up, (size_t)out->n_up);
            out->down = NH_ARRAY(nhk_down, (size_t)out->n_down);
            if (!out->up_start || !out->down_start || !out->up || !out->down)
                status = nh_fail_memory(err, "Wigner-Eckart tables");
        }
        out->n_up_row = out->n_up = out->n_down_row = out->n_down = 0;
        for (int i = 0; i <= NH_WE_L_SHELL && status == 0; i++)
            for (int j = 0; j <= NH_WE_L_SHELL; j++) {
                up[i][j] = out->n_up_row;
                down[i][j] = out->n_down_row;
                if (e->table[i][j].n > 0) add_rows(&e->table[i][j], part, j, room, out);
            }
    }
    free(room);
    return status;
}

int nh_embedding_tables(const nh_transform *f, const bool *even, nhk_embedding *out, nh_error *err)
{
    const nh_embedding *const e = f->embedding;
    const nh_selection *const s = f->selection;
    const nh_structure *const st = f->structure;
    const size_t *const slot = f->slot;
    const size_t n_slot = e->n_shell, n_species = st->n_species, dim = s->irreps.dim;
    int up[NH_WE_L_SHELL + 1][NH_WE_L_SHELL + 1], down[NH_WE_L_SHELL + 1][NH_WE_L_SHELL + 1];
    size_t n_orbital = 0;
    *out = (nhk_embedding){.n_slot = (int)n_slot, .n_species = (int)n_species, .dim = (int)dim};
    for (size_t a = 0; a < n_species; a++)
        n_orbital += nh_species_orbitals(st, a);
    if (dim > INT_MAX / 2 || n_orbital > INT_MAX / 2)
        return nh_fail(err, "vectors of %zu numbers, too many for a device", dim);
    out->n_orbital = (int)n_orbital;
    out->number = NH_ARRAY(nhk_number, dim);
    out->first = NH_ARRAY(int, n_species *n_slot);
    out->orbital_start = NH_ARRAY(int, n_species + 1);
    out->orbital = NH_ARRAY(nhk_orbital, n_orbital);
    out->offset = NH_ARRAY(int, n_slot *n_slot);
    out->down_row = NH_ARRAY(int, n_slot *n_slot);
    out->width = NH_ARRAY(int, n_slot);
    if (!out->number || !out->first || !out->orbital_start || !out->orbital || !out->offset ||
        !out->down_row || !out->width) {
        nh_embedding_tables_free(out);
        return nh_fail_memory(err, "Wigner-Eckart tables");
    }
    if (make_rows(e, s->part, out, up, down, err) != 0) {
        nh_embedding_tables_free(out);
        return -1;
    }
    for (size_t i = 0; i < n_slot; i++)
        out->width[i] = 2 * e->l[i] + 1;
    for (size_t a = 0, at = 0; a < n_species; a++) {
        for (size_t i = 0; i < n_slot; i++)
            out->first[a * n_slot + i] = -1;
        for (size_t k = st->shell_start[a]; k < st->shell_start[a + 1]; k++) {
            out->first[a * n_slot + slot[k]] = (int)at - out->orbital_start[a];
            for (int m = 0; m <= 2 * st->shell_l[k]; m++)
                out->orbital[at++] = (nhk_orbital){(short)slot[k], (short)m};
        }
        out->orbital_start[a + 1] = (int)at;
    }
    for (size_t p = 0; p < n_slot * n_slot; p++) {
        out->offset[p] = -1;
        out->down_row[p] = down[e->l[p / n_slot]][e->l[p % n_slot]];
    }
    for (size_t i = 0; i < s->n_pair; i++) {
        const size_t p = s->pair[i], count = nh_we_numbers(s->part, nh_we_pair_of(e, p));
        const short slot1 = (short)(p / n_slot), slot2 = (short)(p % n_slot);
        const int row = up[e->l[slot1]][e->l[slot2]];
        out->offset[p] = (int)s->offset[i];
        for (size_t half = 0; half < (s->part == NH_PART_ALL ? 2 : 1); half++)
            for (size_t q = 0; q < count; q++) {
                const size_t k = s->offset[i] + half * s->imaginary + q;
                out->number[k] =
                    (nhk_number){even == NULL || even[k] ? row + (int)q : -1, {slot1, slot2}, (short)half};
            }
    }
    return 0;
}
