#include "nextham/embedding.h"

#include "base/memory.h"
#include "o3/wigner.h"

#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    L_SHELL = (NH_LMAX - 1) / 2,                   /* J goes up to l1 + l2 + 1 */
    N_SUB = (2 * L_SHELL + 1) * (2 * L_SHELL + 1), /* elements of the largest sub-block */
    N_CHANNEL = 4,                                 /* k = 0, y, z, x of the spin matrices B */
    N_Z = 2,                                       /* z among them */
    SHELL_MAX = 1024,                              /* slots: keeps n_shell^2 * numbers far from overflow */
};

/* The sparse map between the elements of a sub-block and the components (L,a). */
typedef struct term {
    unsigned short element; /* of the sub-block, m*(2*l2+1) + n */
    unsigned short angular; /* (L,a): L*L - Lmin*Lmin + a */
    double value;           /* C^{l1 l2 L}[m][n][a] */
    double dual;            /* (2L+1) times that */
} term;

typedef struct spin_term {
    unsigned short angular; /* (L,a) */
    unsigned short channel; /* 1..3 = y, z, x */
    unsigned short entry;   /* (L,J,b): number of the pair's vector */
    double value;           /* C^{L 1 J}[a][k-1][b] */
    double dual;            /* (2J+1) times that */
} spin_term;

/* The transforms of one pair of degrees. C^{L l1 l2}[a][m][n] = C^{l1 l2 L}[m][n][a], so that one table
 * serves both directions. */
typedef struct pair_table {
    size_t n; /* (2l1+1)(2l2+1): numbers in the sub-block, in all (L), and a third of those in all (L,J) */
    size_t n_scalar_entry; /* entries (L) */
    size_t n_entry;        /* entries (L) and (L,J) */
    int *entry_l;          /* their degrees */
    size_t n_term, n_spin_term;
    term *term;
    spin_term *spin_term;
} pair_table;

struct nh_embedding {
    size_t n_shell;
    int *l;
    pair_table table[L_SHELL + 1][L_SHELL + 1]; /* filled where the basis has the degrees */
    size_t *first_entry; /* [n_shell^2 + 1] first entry of each pair in the real half of OUT */
};

static void table_free(pair_table *t)
{
    free(t->entry_l);
    free(t->term);
    free(t->spin_term);
}

/* Entries of the pair in the order of section 4.3. */
static int table_entries(int l1, int l2, pair_table *t, nh_error *err)
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

static int table_terms(int l1, int l2, pair_table *t, nh_error *err)
{
    const int low = abs(l1 - l2), high = l1 + l2;
    for (int pass = 0; pass < 2; pass++) { /* count, then fill */
        if (pass == 1) {
            t->term = NH_ARRAY(term, t->n_term);
            t->spin_term = NH_ARRAY(spin_term, t->n_spin_term);
            if (t->term == NULL || t->spin_term == NULL) return nh_fail_memory(err, "Wigner-Eckart tables");
            t->n_term = t->n_spin_term = 0;
        }
        size_t number = t->n;
        for (int l = low; l <= high; l++) {
            const size_t first = (size_t)(l * l - low * low);
            nh_coupling c;
            if (nh_coupling_new(l1, l2, l, &c, err) != 0) return -1;
            for (size_t i = 0; i < c.count && pass == 1; i++)
                t->term[t->n_term + i] = (term){.element = (unsigned short)(c.i1[i] * (2 * l2 + 1) + c.i2[i]),
                                                .angular = (unsigned short)(first + c.i3[i]),
                                                .value = c.value[i],
                                                .dual = (2 * l + 1) * c.value[i]};
            t->n_term += c.count;
            nh_coupling_free(&c);
            for (int j = l > 0 ? l - 1 : 1; j <= l + 1; j++) {
                if (nh_coupling_new(l, 1, j, &c, err) != 0) return -1;
                for (size_t i = 0; i < c.count && pass == 1; i++)
                    t->spin_term[t->n_spin_term + i] =
                        (spin_term){.angular = (unsigned short)(first + c.i1[i]),
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

static const pair_table *pair_of(const nh_embedding *e, size_t pair)
{
    return &e->table[e->l[pair / e->n_shell]][e->l[pair % e->n_shell]];
}

/* Numbers of a shell pair in the real half of a vector. */
static size_t numbers_of(nh_embedding_part part, const pair_table *t)
{
    return (part == NH_PART_SCALAR ? 1 : 4) * t->n;
}

int nh_embedding_new(size_t n_shell, const int *shell_l, nh_embedding **out, nh_error *err)
{
    *out = NULL;
    if (n_shell == 0 || n_shell > SHELL_MAX)
        return nh_fail(err, "padded basis: %zu shells, 1..%d expected", n_shell, SHELL_MAX);
    for (size_t i = 0; i < n_shell; i++)
        if (shell_l[i] < 0 || shell_l[i] > L_SHELL)
            return nh_fail(err, "padded basis: shell %zu has degree %d, 0..%d expected", i, shell_l[i],
                           L_SHELL);
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
        pair_table *const t = &e->table[l1][l2];
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
    for (int i = 0; i <= L_SHELL; i++)
        for (int j = 0; j <= L_SHELL; j++)
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
        size_t next[L_SHELL + 1] = {0}; /* where the search for the next slot of a degree begins */
        if (s->shell_start[species] == s->shell_start[species + 1])
            return nh_fail(err, "basis of %s (species %zu): no shells", name, species);
        for (size_t i = s->shell_start[species]; i < s->shell_start[species + 1]; i++) {
            const int l = s->shell_l[i];
            size_t k = e->n_shell;
            if (l >= 0 && l <= L_SHELL)
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

int nh_selection_new(const nh_embedding *e, nh_embedding_part part, const bool *used, nh_selection *out,
                     nh_error *err)
{
    *out = (nh_selection){.part = part};
    const size_t all = nh_embedding_pairs(e);
    const size_t halves = part == NH_PART_ALL ? 2 : 1;
    size_t count = 0, *mul = NULL;
    int *l = NULL, *p = NULL;
    for (size_t i = 0; i < all; i++) {
        if (used != NULL && !used[i]) continue;
        const pair_table *const t = pair_of(e, i);
        count += halves * (part == NH_PART_SCALAR ? t->n_scalar_entry : t->n_entry);
        out->n_pair++;
    }
    out->pair = NH_ARRAY(size_t, out->n_pair);
    out->offset = NH_ARRAY(size_t, out->n_pair);
    out->entry = NH_ARRAY(size_t, count);
    mul = NH_ARRAY(size_t, count);
    l = NH_ARRAY(int, count);
    p = NH_ARRAY(int, count);
    if (out->pair == NULL || out->offset == NULL || out->entry == NULL || mul == NULL || l == NULL ||
        p == NULL) {
        nh_fail_memory(err, "selection of shell pairs");
        goto fail;
    }
    size_t k = 0, numbers = 0;
    for (size_t half = 0; half < halves; half++) {
        size_t n_pair = 0;
        for (size_t i = 0; i < all; i++) {
            if (used != NULL && !used[i]) continue;
            const pair_table *const t = pair_of(e, i);
            const int parity = (e->l[i / e->n_shell] + e->l[i % e->n_shell]) % 2 == 0 ? 1 : -1;
            const size_t n_entry = part == NH_PART_SCALAR ? t->n_scalar_entry : t->n_entry;
            if (half == 0) {
                out->pair[n_pair] = i;
                out->offset[n_pair++] = numbers;
                numbers += numbers_of(part, t);
            }
            for (size_t j = 0; j < n_entry; j++, k++) {
                out->entry[k] = half * e->first_entry[all] + e->first_entry[i] + j;
                mul[k] = 1;
                l[k] = t->entry_l[j];
                p[k] = parity;
            }
        }
    }
    if (part == NH_PART_ALL) out->imaginary = numbers;
    if (nh_irreps_build(count, mul, l, p, &out->irreps, err) != 0) goto fail;
    free(mul);
    free(l);
    free(p);
    return 0;
fail:
    free(mul);
    free(l);
    free(p);
    nh_selection_free(out);
    return -1;
}

void nh_selection_free(nh_selection *s)
{
    if (s == NULL) return;
    free(s->pair);
    free(s->offset);
    free(s->entry);
    nh_irreps_free(&s->irreps);
    *s = (nh_selection){0};
}

char *nh_selection_text(const nh_embedding *e, const nh_selection *s)
{
    enum { WIDTH = 12 }; /* "1023,1023 " */
    char *const text = malloc(s->n_pair * WIDTH + 1);
    if (text == NULL) return NULL;
    char *at = text;
    *at = '\0';
    for (size_t i = 0; i < s->n_pair; i++)
        at += snprintf(at, WIDTH, "%s%zu,%zu", i > 0 ? " " : "", s->pair[i] / e->n_shell,
                       s->pair[i] % e->n_shell);
    return text;
}

/* "3,4": both below `limit`. Moves *s behind it. */
static bool scan_pair(const char **s, size_t limit, size_t *i, size_t *j)
{
    size_t *const value[2] = {i, j};
    for (int k = 0; k < 2; k++) {
        if (k == 1 && *(*s)++ != ',') return false;
        if (!isdigit((unsigned char)**s)) return false;
        *value[k] = 0;
        while (isdigit((unsigned char)**s)) {
            *value[k] = 10 * *value[k] + (size_t)(*(*s)++ - '0');
            if (*value[k] >= limit) return false;
        }
    }
    return **s == '\0' || isspace((unsigned char)**s);
}

int nh_selection_parse(const nh_embedding *e, const char *shell_pairs, const char *irreps, nh_selection *out,
                       nh_error *err)
{
    *out = (nh_selection){0};
    nh_irreps written = {0}, a = {0}, b = {0};
    bool *const used = NH_ARRAY(bool, nh_embedding_pairs(e));
    if (used == NULL) return nh_fail_memory(err, "selection of shell pairs");
    const char *s = shell_pairs;
    size_t last = SIZE_MAX;
    for (;;) {
        while (isspace((unsigned char)*s))
            s++;
        if (*s == '\0') break;
        const char *const word = s;
        size_t i = 0, j = 0;
        if (!scan_pair(&s, e->n_shell, &i, &j)) {
            nh_fail(err, "shell_pairs: '%.*s' is no pair of the %zu padded shells",
                    (int)(strcspn(word, " ") % 40), word, e->n_shell);
            goto fail;
        }
        const size_t pair = i * e->n_shell + j;
        if (last != SIZE_MAX && pair <= last) {
            nh_fail(err, "shell_pairs: %zu,%zu is out of order", i, j);
            goto fail;
        }
        used[pair] = true;
        last = pair;
    }
    if (nh_selection_new(e, NH_PART_ALL, used, out, err) != 0) goto fail;
    /* A writer that merges neighbours of one type describes the same numbers. */
    if (nh_irreps_parse(irreps, &written, err) != 0) {
        nh_fail_at(err, "attribute irreps");
        goto fail;
    }
    if (nh_irreps_simplify(&written, &a, err) != 0 || nh_irreps_simplify(&out->irreps, &b, err) != 0)
        goto fail;
    if (!nh_irreps_equal(&a, &b)) {
        nh_fail(err,
                "attribute irreps: %zu entries of %zu numbers, but shell_pairs and the padded basis make %zu "
                "of %zu",
                written.count, written.dim, out->irreps.count, out->irreps.dim);
        goto fail;
    }
    nh_irreps_free(&a);
    nh_irreps_free(&b);
    nh_irreps_free(&written);
    free(used);
    return 0;
fail:
    nh_irreps_free(&a);
    nh_irreps_free(&b);
    nh_irreps_free(&written);
    nh_selection_free(out);
    free(used);
    return -1;
}

/* The sub-blocks of an atom pair, one after another. */
typedef struct walk {
    size_t shell1, shell2; /* shells of the species */
    size_t row, column;    /* first orbital of the shells */
    const pair_table *table;
    size_t offset; /* of the pair's vector; SIZE_MAX: not selected */
    int width;     /* 2*l2 + 1 */
} walk;

static size_t find_offset(const nh_selection *s, size_t pair)
{
    size_t low = 0, high = s->n_pair;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (s->pair[middle] < pair)
            low = middle + 1;
        else
            high = middle;
    }
    return low < s->n_pair && s->pair[low] == pair ? s->offset[low] : SIZE_MAX;
}

/* Moves to the next sub-block; begins where shell1 = SIZE_MAX. False after the last one. */
static bool next(walk *w, const nh_embedding *e, const nh_selection *s, const nh_structure *st,
                 const size_t *slot, int species1, int species2)
{
    if (w->shell1 == SIZE_MAX) {
        w->shell1 = st->shell_start[species1];
        w->shell2 = st->shell_start[species2];
        if (w->shell1 == st->shell_start[species1 + 1] || w->shell2 == st->shell_start[species2 + 1])
            return false;
    } else {
        w->column += (size_t)(2 * st->shell_l[w->shell2] + 1);
        if (++w->shell2 == st->shell_start[species2 + 1]) {
            w->shell2 = st->shell_start[species2];
            w->column = 0;
            w->row += (size_t)(2 * st->shell_l[w->shell1] + 1);
            if (++w->shell1 == st->shell_start[species1 + 1]) return false;
        }
    }
    const size_t pair = slot[w->shell1] * e->n_shell + slot[w->shell2];
    w->table = pair_of(e, pair);
    w->width = 2 * st->shell_l[w->shell2] + 1;
    w->offset = find_offset(s, pair);
    return true;
}

/* Per element and per (L,a): the channels 0, y, z, x, real and imaginary. Eight numbers that every term
 * treats alike. */
typedef double channels[2 * N_CHANNEL];

/* Z_k = sum_s conj(B[s][k]) X_s */
static void spin_to_channels(const double *uu, const double *ud, const double *du, const double *dd,
                             double *z)
{
    const double h = 1 / sqrt(2);
    for (int r = 0; r < 2; r++) {
        z[r] = h * (uu[r] + dd[r]);
        z[4 + r] = h * (uu[r] - dd[r]);
        z[6 + r] = h * (ud[r] + du[r]);
    }
    z[2] = h * (du[1] - ud[1]); /* i (ud - du) */
    z[3] = h * (ud[0] - du[0]);
}

/* X_s = sum_k B[s][k] Z_k */
static void channels_to_spin(const double *z, double *uu, double *ud, double *du, double *dd)
{
    const double h = 1 / sqrt(2);
    for (int r = 0; r < 2; r++) {
        uu[r] = h * (z[r] + z[4 + r]);
        dd[r] = h * (z[r] - z[4 + r]);
    }
    ud[0] = h * (z[6] + z[3]); /* x - i y */
    ud[1] = h * (z[7] - z[2]);
    du[0] = h * (z[6] - z[3]); /* x + i y */
    du[1] = h * (z[7] + z[2]);
}

void nh_block_to_irreps(const nh_embedding *e, const nh_selection *s, const nh_structure *st,
                        const size_t *slot, int species_src, int species_dst, int n_spin, const double *block,
                        size_t spin_stride, double scale, double *out)
{
    const size_t n_column = nh_species_orbitals(st, (size_t)species_dst);
    const double none[2] = {0, 0};
    memset(out, 0, s->irreps.dim * sizeof *out);
    walk w = {.shell1 = SIZE_MAX};
    while (next(&w, e, s, st, slot, species_src, species_dst)) {
        if (w.offset == SIZE_MAX) continue;
        const pair_table *const t = w.table;
        channels z[N_SUB], a[N_SUB];
        const size_t width = (size_t)w.width;
        for (size_t i = 0; i < t->n; i++) {
            const double *const x = &block[2 * ((w.row + i / width) * n_column + w.column + i % width)];
            if (n_spin == 1)
                spin_to_channels(x, none, none, x, z[i]);
            else
                spin_to_channels(x, x + spin_stride, x + 2 * spin_stride, x + 3 * spin_stride, z[i]);
            for (int c = 0; c < 2 * N_CHANNEL; c++)
                z[i][c] *= scale;
        }
        memset(a, 0, t->n * sizeof a[0]);
        for (size_t i = 0; i < t->n_term; i++) {
            const term *const m = &t->term[i];
            for (int c = 0; c < 2 * N_CHANNEL; c++)
                a[m->angular][c] += m->dual * z[m->element][c];
        }
        double *const real = out + w.offset, *const imaginary = real + s->imaginary;
        for (size_t i = 0; i < t->n; i++) {
            real[i] = a[i][0];
            imaginary[i] = a[i][1];
        }
        for (size_t i = 0; i < t->n_spin_term; i++) {
            const spin_term *const m = &t->spin_term[i];
            real[m->entry] += m->dual * a[m->angular][2 * m->channel];
            imaginary[m->entry] += m->dual * a[m->angular][2 * m->channel + 1];
        }
    }
}

void nh_selection_time_even(const nh_embedding *e, const nh_selection *s, bool *even)
{
    for (size_t i = 0; i < s->n_pair; i++) {
        const size_t n = pair_of(e, s->pair[i])->n;
        bool *const real = even + s->offset[i], *const imaginary = real + s->imaginary;
        for (size_t k = 0; k < 4 * n; k++) {
            real[k] = k < n;
            imaginary[k] = k >= n;
        }
    }
}

void nh_irreps_to_block(const nh_embedding *e, const nh_selection *s, const nh_structure *st,
                        const size_t *slot, int species_src, int species_dst, const double *vector,
                        double *block)
{
    const size_t n_column = nh_species_orbitals(st, (size_t)species_dst);
    const size_t stride = 2 * n_column * nh_species_orbitals(st, (size_t)species_src);
    memset(block, 0, 4 * stride * sizeof *block);
    walk w = {.shell1 = SIZE_MAX};
    while (next(&w, e, s, st, slot, species_src, species_dst)) {
        if (w.offset == SIZE_MAX) continue;
        const pair_table *const t = w.table;
        const double *const real = vector + w.offset, *const imaginary = real + s->imaginary;
        channels z[N_SUB], a[N_SUB];
        memset(a, 0, t->n * sizeof a[0]);
        memset(z, 0, t->n * sizeof z[0]);
        for (size_t i = 0; i < t->n; i++) {
            a[i][0] = real[i];
            a[i][1] = imaginary[i];
        }
        for (size_t i = 0; i < t->n_spin_term; i++) {
            const spin_term *const m = &t->spin_term[i];
            a[m->angular][2 * m->channel] += m->value * real[m->entry];
            a[m->angular][2 * m->channel + 1] += m->value * imaginary[m->entry];
        }
        for (size_t i = 0; i < t->n_term; i++) {
            const term *const m = &t->term[i];
            for (int c = 0; c < 2 * N_CHANNEL; c++)
                z[m->element][c] += m->value * a[m->angular][c];
        }
        const size_t width = (size_t)w.width;
        for (size_t i = 0; i < t->n; i++) {
            double *const x = &block[2 * ((w.row + i / width) * n_column + w.column + i % width)];
            channels_to_spin(z[i], x, x + stride, x + 2 * stride, x + 3 * stride);
        }
    }
}

void nh_irreps_to_correction(const nh_embedding *e, const nh_selection *s, const nh_structure *st,
                             const size_t *slot, int species_src, int species_dst, const double *vector,
                             double *d)
{
    const size_t n_column = nh_species_orbitals(st, (size_t)species_dst);
    const double h = 1 / sqrt(2); /* row uu of B is (1,0,1,0)/sqrt2 and row dd (1,0,-1,0)/sqrt2: their mean is
                                     (1,0,0,0)/sqrt2 */
    memset(d, 0, n_column * nh_species_orbitals(st, (size_t)species_src) * sizeof *d);
    walk w = {.shell1 = SIZE_MAX};
    while (next(&w, e, s, st, slot, species_src, species_dst)) {
        if (w.offset == SIZE_MAX) continue;
        const pair_table *const t = w.table;
        const double *const real = vector + w.offset;
        double a[N_SUB], x[N_SUB] = {0};
        memcpy(a, real, t->n * sizeof *a);
        if (s->part != NH_PART_SCALAR)
            for (size_t i = 0; i < t->n_spin_term; i++) {
                const spin_term *const m = &t->spin_term[i];
                if (m->channel == N_Z) a[m->angular] += m->value * real[m->entry];
            }
        for (size_t i = 0; i < t->n_term; i++)
            x[t->term[i].element] += t->term[i].value * a[t->term[i].angular];
        const size_t width = (size_t)w.width;
        for (size_t i = 0; i < t->n; i++)
            d[(w.row + i / width) * n_column + w.column + i % width] = h * x[i];
    }
}

void nh_correction_to_irreps_adjoint(const nh_embedding *e, const nh_selection *s, const nh_structure *st,
                                     const size_t *slot, int species_src, int species_dst, const double *g_d,
                                     double *vector)
{
    const size_t n_column = nh_species_orbitals(st, (size_t)species_dst);
    const double h = 1 / sqrt(2);
    memset(vector, 0, s->irreps.dim * sizeof *vector);
    walk w = {.shell1 = SIZE_MAX};
    while (next(&w, e, s, st, slot, species_src, species_dst)) {
        if (w.offset == SIZE_MAX) continue;
        const pair_table *const t = w.table;
        double *const real = vector + w.offset;
        double a[N_SUB] = {0}, x[N_SUB];
        const size_t width = (size_t)w.width;
        for (size_t i = 0; i < t->n; i++)
            x[i] = h * g_d[(w.row + i / width) * n_column + w.column + i % width];
        for (size_t i = 0; i < t->n_term; i++)
            a[t->term[i].angular] += t->term[i].value * x[t->term[i].element];
        for (size_t i = 0; i < t->n; i++)
            real[i] += a[i];
        if (s->part != NH_PART_SCALAR)
            for (size_t i = 0; i < t->n_spin_term; i++) {
                const spin_term *const m = &t->spin_term[i];
                if (m->channel == N_Z) real[m->entry] += m->value * a[m->angular];
            }
    }
}

typedef struct edge_task {
    const nh_embedding *e;
    const nh_selection *s;
    const nh_graph *g;
    const double *matrix;
    const size_t *slot, *edge;
    double scale;
    double *out;          /* vectors to write */
    const double *vector; /* vectors to turn back */
    double *block;        /* [threads][block_size] */
    double *largest;      /* [threads] */
    size_t block_size;
} edge_task;

static void embed_edge(void *context, size_t i, int thread)
{
    (void)thread;
    const edge_task *const t = context;
    const nh_graph *const g = t->g;
    const size_t k = t->edge[i];
    const nh_pair *const p = &g->pairs.pair[k];
    nh_block_to_irreps(t->e, t->s, &g->structure, t->slot, g->structure.species[p->src],
                       g->structure.species[p->dst], g->n_spin, t->matrix + 2 * g->pairs.start[k],
                       2 * g->pairs.n_elem, t->scale, t->out + i * t->s->irreps.dim);
}

void nh_edges_to_irreps(const nh_embedding *e, const nh_selection *s, const nh_graph *g, const double *matrix,
                        const size_t *slot, size_t n, const size_t *edge, double scale, nh_threads *threads,
                        double *out)
{
    edge_task t = {
        .e = e, .s = s, .g = g, .matrix = matrix, .slot = slot, .edge = edge, .scale = scale, .out = out};
    nh_parallel_for(threads, n, embed_edge, &t);
}

static void turn_back_edge(void *context, size_t i, int thread)
{
    const edge_task *const t = context;
    const nh_graph *const g = t->g;
    const size_t k = t->edge[i], n = 2 * (g->pairs.start[k + 1] - g->pairs.start[k]);
    const nh_pair *const p = &g->pairs.pair[k];
    double *const block = t->block + (size_t)thread * t->block_size;
    nh_irreps_to_block(t->e, t->s, &g->structure, t->slot, g->structure.species[p->src],
                       g->structure.species[p->dst], t->vector + i * t->s->irreps.dim, block);
    double largest = t->largest[thread];
    for (size_t s = 0; s < 4; s++) {
        /* one spin block in the file: it is uu and dd */
        const double *const stored =
            t->matrix + 2 * g->pairs.start[k] + (g->n_spin == 4 ? s * 2 * g->pairs.n_elem : 0);
        const double present = g->n_spin == 4 || s == 0 || s == 3 ? 1 : 0;
        for (size_t j = 0; j < n; j++)
            largest = fmax(largest, fabs(block[s * n + j] - present * stored[j]));
    }
    t->largest[thread] = largest;
}

int nh_round_trip(const nh_embedding *e, const nh_selection *s, const nh_graph *g, const double *matrix,
                  const size_t *slot, size_t n, const size_t *edge, const double *vector, nh_threads *threads,
                  double *largest, nh_error *err)
{
    edge_task t = {.e = e, .s = s, .g = g, .matrix = matrix, .slot = slot, .edge = edge, .vector = vector};
    for (size_t i = 0; i < n; i++) {
        const size_t size = 8 * (g->pairs.start[edge[i] + 1] - g->pairs.start[edge[i]]);
        if (size > t.block_size) t.block_size = size;
    }
    const size_t n_thread = (size_t)nh_threads_count(threads);
    t.block = NH_ARRAY(double, n_thread *t.block_size);
    t.largest = NH_ARRAY(double, n_thread);
    int status = 0;
    if (t.block == NULL || t.largest == NULL) {
        status = nh_fail_memory(err, "pair blocks");
    } else {
        nh_parallel_for(threads, n, turn_back_edge, &t);
        *largest = 0;
        for (size_t i = 0; i < n_thread; i++)
            *largest = fmax(*largest, t.largest[i]);
    }
    free(t.block);
    free(t.largest);
    return status;
}

/* --- tables for kernels --- */

/* What a number of a pair's vector is made of, by element of the sub-block and channel, without the spin matrices' factor. */
typedef struct recipe {
    double value[N_SUB][N_CHANNEL], dual[N_SUB][N_CHANNEL];
} recipe;

/* recipe[4n] of the numbers (L), then (L,J). */
static void compose(const pair_table *t, recipe *r)
{
    memset(r, 0, 4 * t->n * sizeof *r);
    for (size_t i = 0; i < t->n_term; i++) {
        const term *const m = &t->term[i];
        r[m->angular].value[m->element][0] += m->value;
        r[m->angular].dual[m->element][0] += m->dual;
    }
    for (size_t k = 0; k < t->n_spin_term; k++) {
        const spin_term *const s = &t->spin_term[k];
        for (size_t i = 0; i < t->n_term; i++) {
            const term *const m = &t->term[i];
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
static void add_rows(const pair_table *t, nh_embedding_part part, int l2, recipe *room, nhk_embedding *out)
{
    const double h = 1 / sqrt(2);
    const size_t width = (size_t)(2 * l2 + 1), numbers = numbers_of(part, t);
    compose(t, room);
    for (size_t q = 0; q < numbers; q++) {
        for (size_t i = 0; i < t->n; i++)
            for (size_t c = 0; c < N_CHANNEL; c++) {
                const double value = h * room[q].value[i][c], dual = h * room[q].dual[i][c];
                if (!counts(value)) continue;
                if (out->up != NULL)
                    out->up[out->n_up] = (nhk_up){(unsigned char)(i / width), (unsigned char)(i % width), (unsigned char)c, value, dual};
                out->n_up++;
            }
        out->n_up_row++;
        if (out->up != NULL) out->up_start[out->n_up_row] = out->n_up;
    }
    for (size_t i = 0; i < t->n; i++) {
        for (size_t q = 0; q < numbers; q++) {
            /* D is the channel 0 of the numbers (L) and the channel z of the others, which have no 0 */
            const double value = h * (room[q].value[i][0] + room[q].value[i][N_Z]);
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
static int make_rows(const nh_embedding *e, nh_embedding_part part, nhk_embedding *out, int up[][L_SHELL + 1], int down[][L_SHELL + 1],
                     nh_error *err)
{
    recipe *const room = NH_ARRAY(recipe, 4 * N_SUB);
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
        for (int i = 0; i <= L_SHELL && status == 0; i++)
            for (int j = 0; j <= L_SHELL; j++) {
                up[i][j] = out->n_up_row;
                down[i][j] = out->n_down_row;
                if (e->table[i][j].n > 0) add_rows(&e->table[i][j], part, j, room, out);
            }
    }
    free(room);
    return status;
}

int nh_embedding_tables(const nh_embedding *e, const nh_selection *s, const nh_structure *st, const size_t *slot,
                        const bool *even, nhk_embedding *out, nh_error *err)
{
    const size_t n_slot = e->n_shell, n_species = st->n_species, dim = s->irreps.dim;
    int up[L_SHELL + 1][L_SHELL + 1], down[L_SHELL + 1][L_SHELL + 1];
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
    if (!out->number || !out->first || !out->orbital_start || !out->orbital || !out->offset || !out->down_row || !out->width) {
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
        const size_t p = s->pair[i], count = numbers_of(s->part, pair_of(e, p));
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
