#include "formats/deeph/deeph.h"

#include "base/memory.h"
#include "base/outfile.h"
#include "crystal/overlap.h"
#include "formats/deeph/h5.h"
#include "formats/deeph/internal.h"
#include "formats/netcdf/hdf.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const double default_cutoff = 8;         /* Å, mkgraph's */
static const double hermitian_tolerance = 1e-5; /* eV */
static const double overlap_tolerance = 1e-6;
static const double imaginary_tolerance = 1e-10; /* eV */

const char *nh_deeph_file(nh_deeph_layout layout, int which)
{
    static const char *const old[] = {"hamiltonians.h5", "hamiltonians_pred.h5", "overlaps.h5"};
    static const char *const new[] = {"hamiltonian.h5", "hamiltonian_pred.h5", "overlap.h5"};
    return layout == NH_DEEPH_OLD ? old[which] : new[which];
}

static bool has(const char *folder, const char *name)
{
    char *path;
    if (asprintf(&path, "%s/%s", folder, name) < 0) return false;
    const bool there = access(path, F_OK) == 0;
    free(path);
    return there;
}

nh_deeph_layout nh_deeph_recognise(const char *folder)
{
    if (!has(folder, "info.json")) return NH_DEEPH_NONE;
    if (has(folder, "lat.dat") && has(folder, "element.dat")) return NH_DEEPH_OLD;
    return has(folder, "POSCAR") ? NH_DEEPH_NEW : NH_DEEPH_NONE;
}

/* --- reading --- */

/* The blocks of one file as they come. */
typedef struct reader {
    nh_deeph_matrix *m;
    const nh_deeph_order *order;
    size_t room; /* numbers that m->value has room for */
    nh_error *err;
} reader;

static int expect_block(const nh_deeph_matrix *m, const nh_deeph_order *o, size_t rows, size_t columns,
                        nh_error *err)
{
    const int *const k = m->key[m->count - 1];
    const size_t r = nh_deeph_rows(m, o, (size_t)k[3]), c = nh_deeph_rows(m, o, (size_t)k[4]);
    if (rows == r && columns == c) return 0;
    return nh_fail(err, "%s: block [%d, %d, %d], atoms %d and %d, is %zu x %zu, but the basis says %zu x %zu",
                   m->file, k[0], k[1], k[2], k[3] + 1, k[4] + 1, rows, columns, r, c);
}

/* "[Rx, Ry, Rz, i, j]" */
static bool parse_key(const char *name, long long key[5])
{
    int end = 0;
    return sscanf(name, "[%lld , %lld , %lld , %lld , %lld ]%n", &key[0], &key[1], &key[2], &key[3], &key[4],
                  &end) == 5 &&
           end > 0 && name[end] == '\0';
}

static int read_named(reader *r, hid_t file, const char *name)
{
    nh_deeph_matrix *const m = r->m;
    long long key[5];
    nh_h5 d;
    size_t wanted;
    if (!parse_key(name, key))
        return nh_fail(r->err, "%s: \"%.60s\" is no name of a block (\"[0, 0, 1, 1, 2]\" is one)", m->file,
                       name);
    key[3]--;
    key[4]--;
    if (nh_deeph_add(m, r->order, key, r->err) || nh_h5_open(file, m->file, name, 2, &d, r->err)) return -1;
    int status = expect_block(m, r->order, d.dim[0], d.dim[1], r->err);
    if (status == 0 && (!nh_size_mul(2, m->start[m->count], &wanted) ||
                        !nh_grow(&m->value, &r->room, wanted, sizeof *m->value)))
        status = nh_fail_memory(r->err, "the blocks of a matrix");
    if (status == 0) status = nh_h5_read(&d, true, m->value + 2 * m->start[m->count - 1], r->err);
    nh_h5_close(&d);
    return status;
}

static herr_t take_named(hid_t file, const char *name, const H5L_info_t *info, void *context)
{
    (void)info;
    return read_named(context, file, name) ? 1 : 0;
}

static int read_old_matrix(hid_t file, reader *r)
{
    const herr_t done = H5Literate(file, H5_INDEX_NAME, H5_ITER_INC, NULL, take_named, r);
    if (done < 0) return nh_fail(r->err, "%s: HDF5 cannot list the blocks", r->m->file);
    return done > 0 ? -1 : 0;
}

/* The integers of a dataset [rows][columns]; `columns` 0: one dimension. The caller frees. */
static int read_table(hid_t file, const char *path, const char *name, size_t columns, size_t *rows,
                      long long **out, nh_error *err)
{
    nh_h5 d;
    size_t n;
    *out = NULL;
    if (nh_h5_open(file, path, name, columns > 0 ? 2 : 1, &d, err)) return -1;
    int status =
        columns > 0 && d.dim[1] != columns
            ? nh_fail(err, "%s: dataset \"%s\": %zu columns, %zu expected", path, name, d.dim[1], columns)
            : 0;
    if (status == 0) {
        *rows = d.dim[0];
        if (!nh_size_mul(d.dim[0], d.dim[1], &n) || (*out = NH_ARRAY(long long, n)) == NULL)
            status = nh_fail_memory(err, name);
    }
    if (status == 0) status = nh_h5_read_integers(&d, *out, err);
    nh_h5_close(&d);
    return status;
}

/* Keys, and whether sizes and beginnings of the blocks are those of the basis. */
static int take_chunks(reader *r, size_t n, const long long *key, const long long *shape,
                       const long long *start, bool may_spin)
{
    nh_deeph_matrix *const m = r->m;
    for (size_t b = 0; b < n; b++) {
        if (nh_deeph_add(m, r->order, key + 5 * b, r->err)) return -1;
        if (b == 0 && may_spin &&
            shape[0] == 2 * (long long)nh_deeph_rows(m, r->order, (size_t)m->key[0][3])) {
            m->spin = true; /* an overlap that is stored with spin */
            m->start[1] *= 4;
        }
        if (shape[2 * b] < 0 || shape[2 * b + 1] < 0)
            return nh_fail(r->err, "%s: chunk_shapes: a negative number", m->file);
        if (expect_block(m, r->order, (size_t)shape[2 * b], (size_t)shape[2 * b + 1], r->err)) return -1;
        if (start[b] < 0 || (unsigned long long)start[b] != m->start[b] || start[b + 1] < 0 ||
            (unsigned long long)start[b + 1] != m->start[b + 1])
            return nh_fail(r->err,
                           "%s: chunk_boundaries: block %zu is from %lld to %lld, its shape says %zu to %zu",
                           m->file, b, start[b], start[b + 1], m->start[b], m->start[b + 1]);
    }
    return 0;
}

static int read_entries(hid_t file, reader *r)
{
    nh_deeph_matrix *const m = r->m;
    nh_h5 d;
    size_t n = 0;
    if (nh_h5_open(file, m->file, "entries", 1, &d, r->err)) return -1;
    const size_t wanted = m->count > 0 ? m->start[m->count] : 0;
    int status = d.dim[0] == wanted
                     ? 0
                     : nh_fail(r->err, "%s: dataset \"entries\": %zu numbers, the blocks have %zu", m->file,
                               d.dim[0], wanted);
    if (status == 0 && (!nh_size_mul(2, wanted, &n) || (m->value = NH_ARRAY(double, n)) == NULL))
        status = nh_fail_memory(r->err, "the blocks of a matrix");
    if (status == 0) status = nh_h5_read(&d, true, m->value, r->err);
    nh_h5_close(&d);
    return status;
}

static int read_new_matrix(hid_t file, reader *r, bool may_spin)
{
    long long *key = NULL, *shape = NULL, *start = NULL;
    const char *const path = r->m->file;
    size_t n = 0, n_shape = 0, n_start = 0;
    int status = read_table(file, path, "atom_pairs", 5, &n, &key, r->err);
    if (status == 0) status = read_table(file, path, "chunk_shapes", 2, &n_shape, &shape, r->err);
    if (status == 0) status = read_table(file, path, "chunk_boundaries", 0, &n_start, &start, r->err);
    if (status == 0 && (n_shape != n || n_start != n + 1))
        status =
            nh_fail(r->err, "%s: %zu atom_pairs, %zu chunk_shapes, %zu chunk_boundaries (one more expected)",
                    path, n, n_shape, n_start);
    if (status == 0) status = take_chunks(r, n, key, shape, start, may_spin);
    if (status == 0) status = read_entries(file, r);
    free(key);
    free(shape);
    free(start);
    return status;
}

/* A folder while it is read. */
typedef struct content {
    const char *folder;
    nh_deeph_layout layout;
    nh_deeph_head head;
    nh_deeph_order order;
    char *path[NH_DEEPH_N_FILE]; /* NULL: not there */
    nh_deeph_matrix m[NH_DEEPH_N_FILE];
} content;

static int read_matrix(content *c, int which, nh_error *err)
{
    nh_deeph_matrix *const m = &c->m[which];
    reader r = {.m = m, .order = &c->order, .err = err};
    hid_t file;
    const char *const name = nh_deeph_file(c->layout, which);
    if (!has(c->folder, name)) return 0;
    if (asprintf(&c->path[which], "%s/%s", c->folder, name) < 0) {
        c->path[which] = NULL;
        return nh_fail_memory(err, "a file name");
    }
    m->file = c->path[which];
    m->spin = which != NH_DEEPH_S && c->head.spin;
    if (nh_h5_open_file(m->file, &file, err)) return -1;
    const int status = c->layout == NH_DEEPH_OLD
                           ? read_old_matrix(file, &r)
                           : read_new_matrix(file, &r, which == NH_DEEPH_S && c->head.spin);
    H5Fclose(file);
    return status;
}

static double *new_numbers(const nh_graph *g, size_t n_block, const char *what, nh_error *err)
{
    size_t n;
    double *x = NULL;
    if (nh_size_mul(g->pairs.n_elem, 2 * n_block, &n)) x = NH_ARRAY(double, n);
    if (x == NULL) nh_fail_memory(err, what);
    return x;
}

static int fill_hamiltonian(const content *c, int which, nh_matrix to, nh_graph *g, const nh_log *messages,
                            nh_error *err)
{
    double largest;
    size_t where;
    double *const h = g->matrix[to] = new_numbers(g, (size_t)g->n_spin, nh_matrix_name(to), err);
    if (h == NULL || nh_deeph_scatter(&c->m[which], &c->order, g, h, err) ||
        nh_hermiticity(g, h, &largest, &where, err))
        return -1;
    if (largest > hermitian_tolerance) {
        const nh_pair *const p = &g->pairs.pair[where];
        nh_log_say(messages, true,
                   "%s: H(R) is not the adjoint of H(-R), off by %.3g eV at atoms %d and %d, cell %d %d %d",
                   c->path[which], largest, p->src + 1, p->dst + 1, p->cell[0], p->cell[1], p->cell[2]);
    }
    nh_log_say(messages, false, "%s: %zu blocks, %s", c->path[which], c->m[which].count, nh_matrix_name(to));
    return 0;
}

/* S, of which the file may have four spin blocks. */
static int fill_overlap(const content *c, nh_graph *g, const nh_log *messages, nh_error *err)
{
    const nh_deeph_matrix *const m = &c->m[NH_DEEPH_S];
    const size_t n = g->pairs.n_elem, n_block = m->spin ? 4 : 1;
    double *const s = new_numbers(g, n_block, "the overlap", err);
    g->overlap = NH_ARRAY(double, n);
    int status = s == NULL ? -1 : g->overlap == NULL ? nh_fail_memory(err, "the overlap") : 0;
    if (status == 0) status = nh_deeph_scatter(m, &c->order, g, s, err);
    for (size_t i = 0; i < n && status == 0; i++) {
        double wrong = fabs(s[2 * i + 1]);
        if (m->spin)
            wrong += hypot(s[2 * (n + i)], s[2 * (n + i) + 1]) +
                     hypot(s[2 * (2 * n + i)], s[2 * (2 * n + i) + 1]) + fabs(s[2 * i] - s[2 * (3 * n + i)]);
        g->overlap[i] = s[2 * i];
        if (wrong > overlap_tolerance)
            status = nh_fail(err, "%s: the overlap is not real, or depends on spin", m->file);
    }
    const int n_spin = g->n_spin;
    double largest = 0;
    size_t where;
    if (status == 0) {
        g->n_spin = 1; /* of s */
        status = nh_hermiticity(g, s, &largest, &where, err);
        g->n_spin = n_spin;
    }
    if (status == 0 && largest > overlap_tolerance)
        status = nh_fail(err, "%s: S(R) is not the transpose of S(-R), off by %.3g", m->file, largest);
    if (status == 0 && nh_overlap_check(&g->structure, &g->pairs, g->overlap, err))
        status = nh_fail_at(err, "%s", m->file);
    if (status == 0)
        nh_log_say(messages, false, "%s: %zu blocks, overlap%s", m->file, m->count,
                   m->spin ? ", with spin" : "");
    free(s);
    return status;
}

static int make_graph(content *c, double cutoff, const nh_log *messages, nh_graph *g, nh_error *err)
{
    nh_deeph_head *const h = &c->head;
    if (nh_deeph_order_new(&h->structure, c->layout, h->rank, &c->order, err))
        return nh_fail_at(err, "%s", c->folder);
    for (int i = 0; i < NH_DEEPH_N_FILE; i++)
        if (read_matrix(c, i, err)) return -1;
    if (c->path[NH_DEEPH_H] == NULL && c->path[NH_DEEPH_PREDICTED] == NULL && c->path[NH_DEEPH_S] == NULL)
        return nh_fail(err, "%s: neither %s nor %s", c->folder, nh_deeph_file(c->layout, NH_DEEPH_H),
                       nh_deeph_file(c->layout, NH_DEEPH_S));
    g->cutoff = !isnan(cutoff) ? cutoff : !isnan(h->cutoff) ? h->cutoff : default_cutoff;
    if (isnan(cutoff) && isnan(h->cutoff))
        nh_log_say(messages, false, "%s: all pairs within 8 Å (no cutoff is given)", c->folder);
    if (nh_deeph_pairs(&h->structure, NH_DEEPH_N_FILE, c->m, g->cutoff, &g->pairs, err)) return -1;
    g->structure = h->structure;
    h->structure = (nh_structure){0};
    c->order.structure = &g->structure;
    g->n_spin = h->spin ? 4 : 1;
    g->efermi = h->efermi;
    g->nelec = h->nelec;
    g->rydberg = isnan(h->rydberg) ? NH_RYDBERG : h->rydberg;
    g->orbital_hash = h->orbital_hash;
    g->pseudo_hash = h->pseudo_hash;
    h->orbital_hash = h->pseudo_hash = NULL;
    const nh_matrix of_h = c->path[NH_DEEPH_PREDICTED] != NULL ? NH_H_LABEL : h->matrix;
    if (c->path[NH_DEEPH_H] != NULL && fill_hamiltonian(c, NH_DEEPH_H, of_h, g, messages, err)) return -1;
    if (c->path[NH_DEEPH_PREDICTED] != NULL &&
        fill_hamiltonian(c, NH_DEEPH_PREDICTED, NH_H_PRED, g, messages, err))
        return -1;
    if (c->path[NH_DEEPH_S] == NULL)
        nh_log_say(messages, true, "%s: no %s", c->folder, nh_deeph_file(c->layout, NH_DEEPH_S));
    else if (fill_overlap(c, g, messages, err))
        return -1;
    return 0;
}

int nh_deeph_read(const char *folder, double cutoff, const nh_log *messages, nh_graph **out, nh_error *err)
{
    *out = NULL;
    content c = {.folder = folder, .layout = nh_deeph_recognise(folder)};
    if (c.layout == NH_DEEPH_NONE)
        return nh_fail(err, "%s: no folder of DeepH (info.json with lat.dat, element.dat, or with POSCAR)",
                       folder);
    nh_graph *const g = NH_ARRAY(nh_graph, 1);
    if (g == NULL) return nh_fail_memory(err, "a graph");
    nh_log_say(messages, false, "%s: DeepH, %s layout", folder, c.layout == NH_DEEPH_OLD ? "old" : "new");
    nh_hdf_begin();
    int status = nh_deeph_head_read(folder, c.layout, &c.head, err);
    if (status == 0) status = make_graph(&c, cutoff, messages, g, err);
    nh_deeph_head_free(&c.head);
    nh_deeph_order_free(&c.order);
    for (int i = 0; i < NH_DEEPH_N_FILE; i++) {
        nh_deeph_matrix_free(&c.m[i]);
        free(c.path[i]);
    }
    if (status != 0) {
        nh_graph_free(g);
        return -1;
    }
    *out = g;
    return 0;
}

/* --- writing --- */

typedef struct writer {
    const char *folder;
    nh_deeph_layout layout;
    const nh_graph *g;
    nh_deeph_order order;
    size_t *atom;     /* the graph's atoms in the folder's order */
    long long *place; /* the folder's index of each atom */
} writer;

/* Atoms of an element together in the new layout, elements in the order of their first atoms. */
static int order_atoms(writer *w, nh_error *err)
{
    const nh_structure *const s = &w->g->structure;
    size_t n = 0;
    w->atom = NH_ARRAY(size_t, s->n_atom);
    w->place = NH_ARRAY(long long, s->n_atom);
    bool *const done = NH_ARRAY(bool, s->n_atom);
    int status = w->atom == NULL || w->place == NULL || done == NULL ? nh_fail_memory(err, "the atoms") : 0;
    for (size_t a = 0; a < s->n_atom && status == 0; a++) {
        if (done[a]) continue;
        const int z = s->atomic_number[s->species[a]];
        for (size_t b = a; b < s->n_atom && status == 0; b++) {
            if (done[b] || (w->layout == NH_DEEPH_NEW ? s->atomic_number[s->species[b]] != z : b != a))
                continue;
            const size_t i = (size_t)s->species[a], k = (size_t)s->species[b];
            const size_t n_shell = s->shell_start[i + 1] - s->shell_start[i];
            if (s->shell_start[k + 1] - s->shell_start[k] != n_shell ||
                memcmp(s->shell_l + s->shell_start[i], s->shell_l + s->shell_start[k],
                       n_shell * sizeof *s->shell_l) != 0)
                status = nh_fail(
                    err,
                    "atoms %zu and %zu of %s have different orbital shells, for which the new layout of "
                    "DeepH has no place (the old one has)",
                    a + 1, b + 1, nh_element_symbol(z));
            done[b] = true;
            w->place[b] = (long long)n;
            w->atom[n++] = b;
        }
    }
    free(done);
    return status;
}

static void key_of(const writer *w, size_t p, long long key[5])
{
    const nh_pair *const q = &w->g->pairs.pair[p];
    for (int k = 0; k < 3; k++)
        key[k] = q->cell[k];
    key[3] = w->place[q->src];
    key[4] = w->place[q->dst];
}

/* What a matrix is as a file: numbers a element, spin blocks. */
typedef struct source {
    const double *matrix;
    int n_spin;
    size_t width; /* numbers of an element in `matrix` */
    bool as_complex;
} source;

static size_t block_size(const writer *w, const source *x, size_t p)
{
    return (w->g->pairs.start[p + 1] - w->g->pairs.start[p]) * (size_t)x->n_spin;
}

/* The numbers of pair p as they go to the file. */
static void block_of(const writer *w, const source *x, size_t p, double *to)
{
    nh_deeph_gather(w->g, &w->order, x->matrix, x->n_spin, x->width, p, to);
    if (x->width == 2 && !x->as_complex)
        for (size_t i = 0; i < block_size(w, x, p); i++)
            to[i] = to[2 * i];
}

static int write_old_matrix(const writer *w, const source *x, hid_t file, const char *path, nh_error *err)
{
    const nh_pairs *const pairs = &w->g->pairs;
    size_t largest = 0;
    for (size_t p = 0; p < pairs->count; p++)
        largest = block_size(w, x, p) > largest ? block_size(w, x, p) : largest;
    double *const block = NH_ARRAY(double, 2 * largest);
    int status = block == NULL ? nh_fail_memory(err, "a block") : 0;
    for (size_t p = 0; p < pairs->count && status == 0; p++) {
        const nh_structure *const s = &w->g->structure;
        const size_t spin = x->n_spin == 4 ? 2 : 1;
        const size_t dim[2] = {spin * nh_atom_orbitals(s, (size_t)pairs->pair[p].src),
                               spin * nh_atom_orbitals(s, (size_t)pairs->pair[p].dst)};
        long long key[5];
        char name[128];
        key_of(w, p, key);
        snprintf(name, sizeof name, "[%lld, %lld, %lld, %lld, %lld]", key[0], key[1], key[2], key[3] + 1,
                 key[4] + 1);
        block_of(w, x, p, block);
        status =
            nh_h5_write(file, path, name, x->as_complex ? NH_H5_COMPLEX : NH_H5_REAL, 2, dim, block, err);
    }
    free(block);
    return status;
}

static int write_new_matrix(const writer *w, const source *x, hid_t file, const char *path, nh_error *err)
{
    const nh_pairs *const pairs = &w->g->pairs;
    const nh_structure *const s = &w->g->structure;
    const size_t n = pairs->count, total = pairs->n_elem * (size_t)x->n_spin;
    size_t numbers, keys;
    /* behind the last block: room for the imaginary parts that block_of drops */
    if (!nh_size_mul(total + 1, 2, &numbers) || !nh_size_mul(n, 5, &keys))
        return nh_fail_memory(err, "the blocks");
    long long *const key = NH_ARRAY(long long, keys), *const shape = NH_ARRAY(long long, 2 * n),
                     *const start = NH_ARRAY(long long, n + 1);
    double *const entry = NH_ARRAY(double, numbers);
    int status = key == NULL || shape == NULL || start == NULL || entry == NULL
                     ? nh_fail_memory(err, "the blocks")
                     : 0;
    const size_t out_width = x->as_complex ? 2 : 1;
    const long long spin = x->n_spin == 4 ? 2 : 1;
    for (size_t p = 0; p < n && status == 0; p++) {
        key_of(w, p, key + 5 * p);
        shape[2 * p] = spin * (long long)nh_atom_orbitals(s, (size_t)pairs->pair[p].src);
        shape[2 * p + 1] = spin * (long long)nh_atom_orbitals(s, (size_t)pairs->pair[p].dst);
        start[p + 1] = start[p] + shape[2 * p] * shape[2 * p + 1];
        block_of(w, x, p, entry + out_width * (size_t)start[p]);
    }
    if (status == 0)
        status = nh_h5_write(file, path, "atom_pairs", NH_H5_INTEGER, 2, (const size_t[]){n, 5}, key, err) ||
                         nh_h5_write(file, path, "chunk_shapes", NH_H5_INTEGER, 2, (const size_t[]){n, 2},
                                     shape, err) ||
                         nh_h5_write(file, path, "chunk_boundaries", NH_H5_INTEGER, 1,
                                     (const size_t[]){n + 1}, start, err) ||
                         nh_h5_write(file, path, "entries", x->as_complex ? NH_H5_COMPLEX : NH_H5_REAL, 1,
                                     &total, entry, err)
                     ? -1
                     : 0;
    free(key);
    free(shape);
    free(start);
    free(entry);
    return status;
}

static int write_matrix(const writer *w, const source *x, int which, nh_error *err)
{
    char *path;
    nh_outfile *o = NULL;
    if (asprintf(&path, "%s/%s", w->folder, nh_deeph_file(w->layout, which)) < 0)
        return nh_fail_memory(err, "a file name");
    int status = nh_outfile_begin(path, &o, err);
    if (status == 0 && nh_outfile_path(o) == NULL) status = nh_fail(err, "%s: no regular file", path);
    if (status == 0) {
        const hid_t file = H5Fcreate(nh_outfile_path(o), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
        if (file < 0)
            status = nh_fail(err, "%s: HDF5 cannot write it", path);
        else
            status = w->layout == NH_DEEPH_OLD ? write_old_matrix(w, x, file, path, err)
                                               : write_new_matrix(w, x, file, path, err);
        if (file >= 0 && H5Fclose(file) < 0 && status == 0)
            status = nh_fail(err, "%s: HDF5 cannot write it", path);
    }
    if (status == 0)
        status = nh_outfile_commit(o, err);
    else
        nh_outfile_abort(o);
    free(path);
    return status;
}

static int check_real(const nh_graph *g, nh_matrix which, nh_error *err)
{
    for (size_t i = 0; g->n_spin == 1 && i < g->pairs.n_elem; i++)
        if (fabs(g->matrix[which][2 * i + 1]) > imaginary_tolerance)
            return nh_fail(err, "%s has imaginary parts, for which DeepH without spin has no place",
                           nh_matrix_name(which));
    return 0;
}

int nh_deeph_write(const char *folder, nh_deeph_layout layout, const nh_graph *g, nh_matrix which,
                   nh_error *err)
{
    bool made = false;
    if (g->matrix[which] == NULL || g->overlap == NULL)
        return nh_fail(err, "no %s to write", g->overlap == NULL ? "overlap" : nh_matrix_name(which));
    if (check_real(g, which, err)) return -1;
    writer w = {.folder = folder, .layout = layout, .g = g};
    const source h = {g->matrix[which], g->n_spin, 2, g->n_spin == 4}, s = {g->overlap, 1, 1, false};
    nh_hdf_begin();
    int status = nh_deeph_order_new(&g->structure, layout, NULL, &w.order, err);
    if (status == 0) status = order_atoms(&w, err);
    if (status == 0) status = nh_outfolder(folder, &made, err);
    if (status == 0) status = write_matrix(&w, &h, NH_DEEPH_H, err);
    if (status == 0) status = write_matrix(&w, &s, NH_DEEPH_S, err);
    if (status == 0) status = nh_deeph_head_write(folder, layout, g, which, w.atom, err);
    if (status != 0 && made)
        rmdir(folder); /* stays where a file is in it already: without info.json it is no DeepH folder */
    nh_deeph_order_free(&w.order);
    free(w.atom);
    free(w.place);
    return status;
}
