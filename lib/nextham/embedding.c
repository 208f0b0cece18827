#include "nextham/embedding_internal.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SHELL_MAX = 1024 }; /* slots: keeps n_shell^2 * numbers far from overflow */

static void table_free(nh_we_pair *t)
{
    free(t->entry_l);
    free(t->term);
    free(t->spin_term);
}

/* Entries of the pair in the order of section 4.3. */
static int table_entries(int l1, int l2, nh_we_pair *t, nh_error *err)
{
    const int low = abs(l1 - l2), high = l1 + l2;
    t->n = (size_t)((2 * l1 + 1) * (2 * l2 + 1));
    t->n_scalar_entry = (size_t)(high - low + 1);
    t->entry_l = NH_ARRAY(int, 4 * t->n_scalar_entry);
    if (t->entry_l == NULL) return nh_fail_memory(err, "Wigner-Eckart tables");
    for (int l = low; l <= high; l++)
        t->entry_l[t->n_entry++] = l;
    for (int l = low; l <= high; l++)
        for (int j = l > 0 ? l - 1 : 1; j <= l + 1; j++)
            t->entry_l[t->n_entry++] = j;
    return 0;
}

static int table_terms(int l1, int l2, nh_we_pair *t, nh_error *err)
{
    const int low = abs(l1 - l2), high = l1 + l2;
    for (int pass = 0; pass < 2; pass++) { /* count, then fill */
        if (pass == 1) {
            t->term = NH_ARRAY(nh_we_term, t->n_term);
            t->spin_term = NH_ARRAY(nh_we_spin_term, t->n_spin_term);
            if (t->term == NULL || t->spin_term == NULL) return nh_fail_memory(err, "Wigner-Eckart tables");
            t->n_term = t->n_spin_term = 0;
        }
        size_t number = t->n;
        for (int l = low; l <= high; l++) {
            const size_t first = (size_t)(l * l - low * low);
            nh_coupling c;
            if (nh_coupling_new(l1, l2, l, &c, err) != 0) return -1;
            for (size_t i = 0; i < c.count && pass == 1; i++)
                t->term[t->n_term + i] =
                    (nh_we_term){.element = (unsigned short)(c.i1[i] * (2 * l2 + 1) + c.i2[i]),
                                 .angular = (unsigned short)(first + c.i3[i]),
                                 .value = c.value[i],
                                 .dual = (2 * l + 1) * c.value[i]};
            t->n_term += c.count;
            nh_coupling_free(&c);
            for (int j = l > 0 ? l - 1 : 1; j <= l + 1; j++) {
                if (nh_coupling_new(l, 1, j, &c, err) != 0) return -1;
                for (size_t i = 0; i < c.count && pass == 1; i++)
                    t->spin_term[t->n_spin_term + i] =
                        (nh_we_spin_term){.angular = (unsigned short)(first + c.i1[i]),
                                          .channel = (unsigned short)(c.i2[i] + 1),
                                          .entry = (unsigned short)(number + c.i3[i]),
                                          .value = c.value[i],
                                          .dual = (2 * j + 1) * c.value[i]};
                t->n_spin_term += c.count;
                number += (size_t)(2 * j + 1);
                nh_coupling_free(&c);
            }
        }
    }
    return 0;
}

int nh_embedding_new(size_t n_shell, const int *shell_l, nh_embedding **out, nh_error *err)
{
    *out = NULL;
    if (n_shell == 0 || n_shell > SHELL_MAX)
        return nh_fail(err, "padded basis: %zu shells, 1..%d expected", n_shell, SHELL_MAX);
    for (size_t i = 0; i < n_shell; i++)
        if (shell_l[i] < 0 || shell_l[i] > NH_WE_L_SHELL)
            return nh_fail(err, "padded basis: shell %zu has degree %d, 0..%d expected", i, shell_l[i],
                           NH_WE_L_SHELL);
    nh_embedding *const e = NH_ARRAY(nh_embedding, 1);
    if (e == NULL) return nh_fail_memory(err, "Wigner-Eckart tables");
    e->n_shell = n_shell;
    e->l = NH_ARRAY(int, n_shell);
    e->first_entry = NH_ARRAY(size_t, n_shell * n_shell + 1);
    if (e->l == NULL || e->first_entry == NULL) {
        nh_fail_memory(err, "Wigner-Eckart tables");
        goto fail;
    }
    memcpy(e->l, shell_l, n_shell * sizeof *shell_l);
    for (size_t p = 0; p < n_shell * n_shell; p++) {
        const int l1 = shell_l[p / n_shell], l2 = shell_l[p % n_shell];
        nh_we_pair *const t = &e->table[l1][l2];
        if (t->n == 0 && (table_entries(l1, l2, t, err) != 0 || table_terms(l1, l2, t, err) != 0)) goto fail;
        e->first_entry[p + 1] = e->first_entry[p] + t->n_entry;
    }
    *out = e;
    return 0;
fail:
    nh_embedding_free(e);
    return -1;
}

void nh_embedding_free(nh_embedding *e)
{
    if (e == NULL) return;
    for (int i = 0; i <= NH_WE_L_SHELL; i++)
        for (int j = 0; j <= NH_WE_L_SHELL; j++)
            table_free(&e->table[i][j]);
    free(e->first_entry);
    free(e->l);
    free(e);
}

size_t nh_embedding_pairs(const nh_embedding *e)
{
    return e->n_shell * e->n_shell;
}

int nh_embedding_slots(const nh_embedding *e, const nh_structure *s, size_t *slot, nh_error *err)
{
    for (size_t species = 0; species < s->n_species; species++) {
        const char *const symbol = nh_element_symbol(s->atomic_number[species]);
        const char *const name = symbol != NULL ? symbol : "unknown element";
        size_t next[NH_WE_L_SHELL + 1] = {0}; /* where the search for the next slot of a degree begins */
        if (s->shell_start[species] == s->shell_start[species + 1])
            return nh_fail(err, "basis of %s (species %zu): no shells", name, species);
        for (size_t i = s->shell_start[species]; i < s->shell_start[species + 1]; i++) {
            const int l = s->shell_l[i];
            size_t k = e->n_shell;
            if (l >= 0 && l <= NH_WE_L_SHELL)
                for (k = next[l]; k < e->n_shell && e->l[k] != l;)
                    k++;
            if (k == e->n_shell) {
                char *const padded = nh_shells_text(e->n_shell, e->l);
                nh_fail(err,
                        "basis of %s (species %zu): more shells of degree %d than the padded basis %s has",
                        name, species, l, padded != NULL ? padded : "");
                free(padded);
                return -1;
            }
            slot[i] = k;
            next[l] = k + 1;
        }
    }
    return 0;
}

void nh_embedding_used(const nh_embedding *e, const nh_graph *g, const size_t *slot, size_t n_edge,
                       const size_t *edge, bool *used)
{
    enum { CACHE = 64 };
    const nh_structure *const s = &g->structure;
    bool seen[CACHE][CACHE] = {
        {false}}; /* species pairs that are done: a crystal has few of them and many edges */
    memset(used, 0, nh_embedding_pairs(e) * sizeof *used);
    for (size_t i = 0; i < n_edge; i++) {
        const nh_pair *const p = &g->pairs.pair[edge[i]];
        const int a = s->species[p->src], b = s->species[p->dst];
        if (a < CACHE && b < CACHE) {
            if (seen[a][b]) continue;
            seen[a][b] = true;
        }
        for (size_t k = s->shell_start[a]; k < s->shell_start[a + 1]; k++)
            for (size_t m = s->shell_start[b]; m < s->shell_start[b + 1]; m++)
                used[slot[k] * e->n_shell + slot[m]] = true;
    }
}
