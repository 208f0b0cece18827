#include "nextham/embedding_internal.h"

#include "base/memory.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The sub-blocks of an atom pair, one after another. */
typedef struct walk {
    size_t shell1, shell2; /* shells of the species */
    size_t row, column;    /* first orbital of the shells */
    const nh_we_pair *table;
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
static bool next(walk *w, const nh_transform *f, int species1, int species2)
{
    const nh_structure *const st = f->structure;
    const size_t *const slot = f->slot;
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
    const size_t pair = slot[w->shell1] * f->embedding->n_shell + slot[w->shell2];
    w->table = nh_we_pair_of(f->embedding, pair);
    w->width = 2 * st->shell_l[w->shell2] + 1;
    w->offset = find_offset(f->selection, pair);
    return true;
}

/* Per element and per (L,a): the channels 0, y, z, x, real and imaginary. Eight numbers that every term
 * treats alike. */
typedef double channels[2 * NH_WE_CHANNELS];

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

void nh_block_to_irreps(const nh_transform *f, int species_src, int species_dst, int n_spin,
                        const double *block, size_t spin_stride, double scale, double *out)
{
    const nh_structure *const st = f->structure;
    const nh_selection *const s = f->selection;
    const size_t n_column = nh_species_orbitals(st, (size_t)species_dst);
    const double none[2] = {0, 0};
    memset(out, 0, s->irreps.dim * sizeof *out);
    walk w = {.shell1 = SIZE_MAX};
    while (next(&w, f, species_src, species_dst)) {
        if (w.offset == SIZE_MAX) continue;
        const nh_we_pair *const t = w.table;
        channels z[NH_WE_SUB], a[NH_WE_SUB];
        const size_t width = (size_t)w.width;
        for (size_t i = 0; i < t->n; i++) {
            const double *const x = &block[2 * ((w.row + i / width) * n_column + w.column + i % width)];
            if (n_spin == 1)
                spin_to_channels(x, none, none, x, z[i]);
            else
                spin_to_channels(x, x + spin_stride, x + 2 * spin_stride, x + 3 * spin_stride, z[i]);
            for (int c = 0; c < 2 * NH_WE_CHANNELS; c++)
                z[i][c] *= scale;
        }
        memset(a, 0, t->n * sizeof a[0]);
        for (size_t i = 0; i < t->n_term; i++) {
            const nh_we_term *const m = &t->term[i];
            for (int c = 0; c < 2 * NH_WE_CHANNELS; c++)
                a[m->angular][c] += m->dual * z[m->element][c];
        }
        double *const real = out + w.offset, *const imaginary = real + s->imaginary;
        for (size_t i = 0; i < t->n; i++) {
            real[i] = a[i][0];
            imaginary[i] = a[i][1];
        }
        for (size_t i = 0; i < t->n_spin_term; i++) {
            const nh_we_spin_term *const m = &t->spin_term[i];
            real[m->entry] += m->dual * a[m->angular][2 * m->channel];
            imaginary[m->entry] += m->dual * a[m->angular][2 * m->channel + 1];
        }
    }
}

void nh_irreps_to_block(const nh_transform *f, int species_src, int species_dst, const double *vector,
                        double *block)
{
    const nh_structure *const st = f->structure;
    const nh_selection *const s = f->selection;
    const size_t n_column = nh_species_orbitals(st, (size_t)species_dst);
    const size_t stride = 2 * n_column * nh_species_orbitals(st, (size_t)species_src);
    memset(block, 0, 4 * stride * sizeof *block);
    walk w = {.shell1 = SIZE_MAX};
    while (next(&w, f, species_src, species_dst)) {
        if (w.offset == SIZE_MAX) continue;
        const nh_we_pair *const t = w.table;
        const double *const real = vector + w.offset, *const imaginary = real + s->imaginary;
        channels z[NH_WE_SUB], a[NH_WE_SUB];
        memset(a, 0, t->n * sizeof a[0]);
        memset(z, 0, t->n * sizeof z[0]);
        for (size_t i = 0; i < t->n; i++) {
            a[i][0] = real[i];
            a[i][1] = imaginary[i];
        }
        for (size_t i = 0; i < t->n_spin_term; i++) {
            const nh_we_spin_term *const m = &t->spin_term[i];
            a[m->angular][2 * m->channel] += m->value * real[m->entry];
            a[m->angular][2 * m->channel + 1] += m->value * imaginary[m->entry];
        }
        for (size_t i = 0; i < t->n_term; i++) {
            const nh_we_term *const m = &t->term[i];
            for (int c = 0; c < 2 * NH_WE_CHANNELS; c++)
                z[m->element][c] += m->value * a[m->angular][c];
        }
        const size_t width = (size_t)w.width;
        for (size_t i = 0; i < t->n; i++) {
            double *const x = &block[2 * ((w.row + i / width) * n_column + w.column + i % width)];
            channels_to_spin(z[i], x, x + stride, x + 2 * stride, x + 3 * stride);
        }
    }
}

void nh_irreps_to_correction(const nh_transform *f, int species_src, int species_dst, const double *vector,
                             double *d)
{
    const nh_structure *const st = f->structure;
    const nh_selection *const s = f->selection;
    const size_t n_column = nh_species_orbitals(st, (size_t)species_dst);
    const double h = 1 / sqrt(2); /* row uu of B is (1,0,1,0)/sqrt2 and row dd (1,0,-1,0)/sqrt2: their mean is
                                     (1,0,0,0)/sqrt2 */
    memset(d, 0, n_column * nh_species_orbitals(st, (size_t)species_src) * sizeof *d);
    walk w = {.shell1 = SIZE_MAX};
    while (next(&w, f, species_src, species_dst)) {
        if (w.offset == SIZE_MAX) continue;
        const nh_we_pair *const t = w.table;
        const double *const real = vector + w.offset;
        double a[NH_WE_SUB], x[NH_WE_SUB] = {0};
        memcpy(a, real, t->n * sizeof *a);
        if (s->part != NH_PART_SCALAR)
            for (size_t i = 0; i < t->n_spin_term; i++) {
                const nh_we_spin_term *const m = &t->spin_term[i];
                if (m->channel == NH_WE_Z) a[m->angular] += m->value * real[m->entry];
            }
        for (size_t i = 0; i < t->n_term; i++)
            x[t->term[i].element] += t->term[i].value * a[t->term[i].angular];
        const size_t width = (size_t)w.width;
        for (size_t i = 0; i < t->n; i++)
            d[(w.row + i / width) * n_column + w.column + i % width] = h * x[i];
    }
}

void nh_correction_to_irreps_adjoint(const nh_transform *f, int species_src, int species_dst,
                                     const double *g_d, double *vector)
{
    const nh_structure *const st = f->structure;
    const nh_selection *const s = f->selection;
    const size_t n_column = nh_species_orbitals(st, (size_t)species_dst);
    const double h = 1 / sqrt(2);
    memset(vector, 0, s->irreps.dim * sizeof *vector);
    walk w = {.shell1 = SIZE_MAX};
    while (next(&w, f, species_src, species_dst)) {
        if (w.offset == SIZE_MAX) continue;
        const nh_we_pair *const t = w.table;
        double *const real = vector + w.offset;
        double a[NH_WE_SUB] = {0}, x[NH_WE_SUB];
        const size_t width = (size_t)w.width;
        for (size_t i = 0; i < t->n; i++)
            x[i] = h * g_d[(w.row + i / width) * n_column + w.column + i % width];
        for (size_t i = 0; i < t->n_term; i++)
            a[t->term[i].angular] += t->term[i].value * x[t->term[i].element];
        for (size_t i = 0; i < t->n; i++)
            real[i] += a[i];
        if (s->part != NH_PART_SCALAR)
            for (size_t i = 0; i < t->n_spin_term; i++) {
                const nh_we_spin_term *const m = &t->spin_term[i];
                if (m->channel == NH_WE_Z) real[m->entry] += m->value * a[m->angular];
            }
    }
}

typedef struct edge_task {
    const nh_transform *f;
    const nh_graph *g;
    const double *matrix;
    const size_t *edge;
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
    nh_block_to_irreps(t->f, g->structure.species[p->src], g->structure.species[p->dst], g->n_spin,
                       t->matrix + 2 * g->pairs.start[k], 2 * g->pairs.n_elem, t->scale,
                       t->out + i * t->f->selection->irreps.dim);
}

void nh_edges_to_irreps(const nh_transform *f, const nh_graph *g, const double *matrix, size_t n,
                        const size_t *edge, double scale, nh_threads *threads, double *out)
{
    edge_task t = {.f = f, .g = g, .matrix = matrix, .edge = edge, .scale = scale, .out = out};
    nh_parallel_for(threads, n, embed_edge, &t);
}

static void turn_back_edge(void *context, size_t i, int thread)
{
    const edge_task *const t = context;
    const nh_graph *const g = t->g;
    const size_t k = t->edge[i], n = 2 * (g->pairs.start[k + 1] - g->pairs.start[k]);
    const nh_pair *const p = &g->pairs.pair[k];
    double *const block = t->block + (size_t)thread * t->block_size;
    nh_irreps_to_block(t->f, g->structure.species[p->src], g->structure.species[p->dst],
                       t->vector + i * t->f->selection->irreps.dim, block);
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

int nh_round_trip(const nh_transform *f, const nh_graph *g, const double *matrix, size_t n,
                  const size_t *edge, const double *vector, nh_threads *threads, double *largest,
                  nh_error *err)
{
    edge_task t = {.f = f, .g = g, .matrix = matrix, .edge = edge, .vector = vector};
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
