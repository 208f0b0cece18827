#include "training/kspace.h"

#include "base/memory.h"
#include "base/outfile.h"
#include "base/random.h"
#include "crystal/bands.h"
#include "crystal/eigen.h"
#include "crystal/fourier.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- eigenvectors -----------------------------------------------------------------------------------------
 */

typedef struct solver {
    const nh_fourier *fourier;
    const double *k;
    size_t basis;
    nh_eigen **eigen; /* [threads] */
    double **room;    /* [threads] H(k), S(k) */
    double *energy, *vector;
    nh_error *error; /* [k-points] empty text: none */
} solver;

static void solve_one(void *context, size_t i, int thread)
{
    const solver *s = context;
    const size_t n = s->basis, size = 2 * n * n;
    const nh_band_choice all = {.kind = NH_BANDS_ALL};
    double *h = s->room[thread], *o = h + size, *energy = o + size;
    size_t rank, first, count;
    nh_error *err = &s->error[i];
    if (nh_fourier_at(s->fourier, 1, s->k + 3 * i, h, o, err)) return;
    if (nh_eigen_solve(s->eigen[thread], h, o, &all, n, &rank, energy, &first, &count,
                       s->vector != NULL ? s->vector + i * size : NULL, err)) {
        nh_fail_at(err, "k-point (%g, %g, %g)", s->k[3 * i], s->k[3 * i + 1], s->k[3 * i + 2]);
        return;
    }
    if (s->energy != NULL) memcpy(s->energy + i * n, energy, n * sizeof *energy);
}

static int solve(const nh_fourier *f, size_t n, const double *k, nh_threads *threads, double *energy,
                 double *vector, nh_error *err)
{
    const size_t n_thread = (size_t)nh_threads_count(threads), basis = nh_fourier_basis(f);
    solver s = {.fourier = f, .k = k, .basis = basis, .energy = energy, .vector = vector};
    size_t size;
    int status = -1;
    s.eigen = NH_ARRAY(nh_eigen *, n_thread);
    s.room = NH_ARRAY(double *, n_thread);
    s.error = NH_ARRAY(nh_error, n);
    if (s.eigen == NULL || s.room == NULL || s.error == NULL || !nh_size_mul(4 * basis + 1, basis, &size)) {
        nh_fail_memory(err, "the eigenproblem");
        goto done;
    }
    for (size_t t = 0; t < n_thread; t++) {
        if (nh_eigen_new(basis, 0, vector != NULL, &s.eigen[t], err)) goto done;
        s.room[t] = nh_calloc_aligned(size, sizeof(double));
        if (s.room[t] == NULL) {
            nh_fail_memory(err, "H(k) and S(k)");
            goto done;
        }
    }
    nh_parallel_for(threads, n, solve_one, &s);
    status = 0;
    for (size_t i = 0; i < n && status == 0; i++)
        if (s.error[i].text[0] != '\0') status = nh_fail(err, "%s", s.error[i].text);
done:
    for (size_t t = 0; s.eigen != NULL && t < n_thread; t++)
        nh_eigen_free(s.eigen[t]);
    for (size_t t = 0; s.room != NULL && t < n_thread; t++)
        free(s.room[t]);
    free(s.eigen);
    free(s.room);
    free(s.error);
    return status;
}

/* Fourier sums of the label on copies of label and overlap: they are symmetrised there, and what the loss
 * sees must not depend on whether states were made in this run. */
typedef struct label_sums {
    nh_graph graph;
    nh_fourier *fourier;
} label_sums;

static void label_sums_free(label_sums *s)
{
    nh_fourier_free(s->fourier);
    free(s->graph.matrix[NH_H_LABEL]);
    free(s->graph.overlap);
}

static int label_sums_new(const nh_graph *g, label_sums *s, nh_error *err)
{
    *s = (label_sums){.graph = *g};
    s->graph.matrix[NH_H_LABEL] = s->graph.overlap = NULL;
    if (g->matrix[NH_H_LABEL] == NULL) return nh_fail(err, "no h_label: this file has no training target");
    if (g->overlap == NULL) return nh_fail(err, "no overlap");
    const size_t n = g->pairs.n_elem, count = 2 * (size_t)g->n_spin * n;
    s->graph.matrix[NH_H_LABEL] = NH_ARRAY(double, count);
    s->graph.overlap = NH_ARRAY(double, n);
    if (s->graph.matrix[NH_H_LABEL] == NULL || s->graph.overlap == NULL)
        return nh_fail_memory(err, "the label");
    memcpy(s->graph.matrix[NH_H_LABEL], g->matrix[NH_H_LABEL], count * sizeof(double));
    memcpy(s->graph.overlap, g->overlap, n * sizeof(double));
    return nh_fourier_new(&s->graph, NH_H_LABEL, NULL, &s->fourier, err);
}

int nh_kspace_solve(const nh_graph *g, size_t n, const double *k, nh_threads *threads, double *energy,
                    double *vector, nh_error *err)
{
    label_sums s;
    nh_threads *own = NULL; /* keeps BLAS to one thread */
    int status = threads == NULL ? nh_threads_new(1, &own, err) : 0;
    if (status == 0) {
        status = label_sums_new(g, &s, err);
        if (status == 0)
            status = solve(s.fourier, n, k, threads != NULL ? threads : own, energy, vector, err);
        label_sums_free(&s);
    }
    nh_threads_free(own);
    return status;
}

/* --- the file ---------------------------------------------------------------------------------------------
 */

/* Native byte order and layout; it is a cache, made anew wherever it does not fit:
 *
 *   header
 *   double k[n_k][3], gamma[basis]      energies at Gamma, eV
 *   n_k records: double energy[basis]; uint64 sums[2] (of energies, of vectors); float
 * vector[basis][basis][2]
 */
typedef struct header {
    char magic[8];
    uint64_t order; /* tells byte orders apart */
    uint64_t hash;  /* of the crystal and the mesh */
    uint64_t n_k, basis;
    uint64_t sum; /* of k and gamma */
} header;

static const char MAGIC[8] = "NHKSTAT1";
static const uint64_t ORDER = 0x0102030405060708u;
static const uint64_t SUM_START = 14695981039346656037u; /* not 0: a file of zeros must not look whole */

struct nh_kcache {
    char *path;
    header head;
    double *k; /* [n_k][3] */
    size_t *n_p;
    double efermi;
};

/* FNV-1a by words of eight bytes; the shift carries the upper bits down again. */
static uint64_t hash_bytes(uint64_t h, const void *data, size_t size)
{
    const unsigned char *p = data;
    for (; size > 0; size -= size < 8 ? size : 8, p += 8) {
        uint64_t word = 0;
        memcpy(&word, p, size < 8 ? size : 8);
        h = (h ^ word) * 1099511628211u;
        h ^= h >> 29;
    }
    return h;
}

/* Of all that H(k) and S(k) are made from. */
static uint64_t hash_crystal(const nh_graph *g)
{
    const nh_structure *s = &g->structure;
    const nh_pairs *p = &g->pairs;
    const uint64_t sizes[4] = {s->n_atom, p->count, p->n_elem, (uint64_t)g->n_spin};
    uint64_t h = hash_bytes(hash_bytes(SUM_START, MAGIC, sizeof MAGIC), sizes, sizeof sizes);
    for (size_t i = 0; i < s->n_atom; i++) {
        const uint64_t n = nh_atom_orbitals(s, i);
        h = hash_bytes(h, &n, sizeof n);
    }
    for (size_t i = 0; i < p->count; i++) {
        const int words[5] = {p->pair[i].src, p->pair[i].dst, p->pair[i].cell[0], p->pair[i].cell[1],
                              p->pair[i].cell[2]};
        h = hash_bytes(h, words, sizeof words);
    }
    h = hash_bytes(h, g->overlap, p->n_elem * sizeof *g->overlap);
    return hash_bytes(h, g->matrix[NH_H_LABEL], 2 * (size_t)g->n_spin * p->n_elem * sizeof(double));
}

static uint64_t hash_all(uint64_t crystal, const nh_kspace_options *o)
{
    const int words[4] = {o->mesh[0], o->mesh[1], o->mesh[2], (int)o->shift};
    return hash_bytes(crystal, words, sizeof words);
}

size_t nh_kspace_points(const nh_kspace_options *o)
{
    return (size_t)o->mesh[0] * (size_t)o->mesh[1] * (size_t)o->mesh[2] *
           (o->shift == NH_KSHIFT_BOTH ? 2 : 1);
}

static int make_mesh(uint64_t crystal, const nh_kspace_options *o, nh_kpoints *out, nh_error *err)
{
    static const double none[3] = {0};
    char stream[48];
    nh_random r;
    double shift[3];
    snprintf(stream, sizeof stream, "k-mesh of %016" PRIx64, crystal);
    nh_random_seed(&r, 1, stream);
    for (int x = 0; x < 3; x++)
        shift[x] = nh_random_uniform(&r);
    if (o->shift != NH_KSHIFT_BOTH)
        return nh_kpoints_mesh(o->mesh, true, o->shift == NH_KSHIFT_GAMMA ? none : shift, out, err);
    nh_kpoints part[2];
    *out = (nh_kpoints){0};
    if (nh_kpoints_mesh(o->mesh, true, shift, &part[0], err)) return -1;
    int status = nh_kpoints_mesh(o->mesh, true, none, &part[1], err);
    if (!status) status = nh_kpoints_new(part[0].count + part[1].count, NH_K_MESH, out, err);
    for (size_t p = 0; !status && p < 2; p++)
        memcpy(out->k + 3 * p * part[0].count, part[p].k, 3 * part[p].count * sizeof *out->k);
    nh_kpoints_free(&part[0]);
    nh_kpoints_free(&part[1]);
    return status;
}

static size_t record_size(size_t basis)
{
    return basis * sizeof(double) + 2 * sizeof(uint64_t) + 2 * basis * basis * sizeof(float);
}

static size_t records_start(const header *h)
{
    return sizeof *h + (3 * h->n_k + h->basis) * sizeof(double);
}

static int write_records(FILE *file, const label_sums *s, const nh_kpoints *mesh, nh_threads *threads,
                         nh_error *err)
{
    const size_t basis = nh_fourier_basis(s->fourier), batch = (size_t)nh_threads_count(threads),
                 size = 2 * basis * basis;
    double *energy = NH_ARRAY(double, batch *basis), *vector = nh_calloc(batch, size * sizeof *vector);
    float *single = NH_ARRAY(float, size);
    int status = energy != NULL && vector != NULL && single != NULL ? 0 : nh_fail_memory(err, "eigenvectors");
    for (size_t first = 0; first < mesh->count && status == 0; first += batch) {
        const size_t n = mesh->count - first < batch ? mesh->count - first : batch;
        status = solve(s->fourier, n, mesh->k + 3 * first, threads, energy, vector, err);
        for (size_t i = 0; i < n && status == 0; i++) {
            for (size_t j = 0; j < size; j++)
                single[j] = (float)vector[i * size + j];
            const uint64_t sums[2] = {hash_bytes(SUM_START, energy + i * basis, basis * sizeof *energy),
                                      hash_bytes(SUM_START, single, size * sizeof *single)};
            /* errors stay with the stream until nh_outfile_commit looks */
            fwrite(energy + i * basis, sizeof *energy, basis, file);
            fwrite(sums, sizeof *sums, 2, file);
            fwrite(single, sizeof *single, size, file);
        }
    }
    free(energy);
    free(vector);
    free(single);
    return status;
}

static int make_file(const char *path, const nh_graph *g, const nh_kpoints *mesh, uint64_t hash,
                     nh_threads *threads, nh_error *err)
{
    label_sums s;
    nh_outfile *file = NULL;
    double *gamma = NULL;
    if (label_sums_new(g, &s, err)) {
        label_sums_free(&s);
        return -1;
    }
    int status = -1;
    const size_t basis = nh_fourier_basis(s.fourier);
    header h = {.order = ORDER, .hash = hash, .n_k = mesh->count, .basis = basis};
    memcpy(h.magic, MAGIC, sizeof h.magic);
    gamma = NH_ARRAY(double, basis);
    if (gamma == NULL) {
        nh_fail_memory(err, "energies at Gamma");
        goto done;
    }
    if (solve(s.fourier, 1, (const double[3]){0, 0, 0}, threads, gamma, NULL, err)) goto done;
    h.sum = hash_bytes(hash_bytes(SUM_START, mesh->k, 3 * mesh->count * sizeof(double)), gamma,
                       basis * sizeof *gamma);
    if (nh_outfile_begin(path, &file, err)) goto done;
    FILE *stream = nh_outfile_stream(file, err);
    if (stream == NULL) goto done;
    fwrite(&h, sizeof h, 1, stream);
    fwrite(mesh->k, sizeof(double), 3 * mesh->count, stream);
    fwrite(gamma, sizeof *gamma, basis, stream);
    if (write_records(stream, &s, mesh, threads, err)) goto done;
    status = nh_outfile_commit(file, err);
    file = NULL;
done:
    nh_outfile_abort(file);
    free(gamma);
    label_sums_free(&s);
    return status;
}

static bool read_at(int file, void *to, size_t size, size_t offset)
{
    char *p = to;
    while (size > 0) {
        const ssize_t n = pread(file, p, size, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        p += n;
        offset += (size_t)n;
        size -= (size_t)n;
    }
    return true;
}

static bool read_header(int file, uint64_t hash, header *h)
{
    return read_at(file, h, sizeof *h, 0) && memcmp(h->magic, MAGIC, sizeof h->magic) == 0 &&
           h->order == ORDER && h->hash == hash;
}

/* Energies at Gamma and at all k-points of a file that fits: gamma[basis], energy[n_k][basis]. */
static bool read_energies(int file, const header *h, const nh_kpoints *mesh, double *gamma, double *energy)
{
    double *k = NH_ARRAY(double, 3 * mesh->count);
    bool good = k != NULL && read_at(file, k, 3 * mesh->count * sizeof *k, sizeof *h) &&
                read_at(file, gamma, h->basis * sizeof *gamma, sizeof *h + 3 * mesh->count * sizeof *k) &&
                memcmp(k, mesh->k, 3 * mesh->count * sizeof *k) == 0 &&
                hash_bytes(hash_bytes(SUM_START, k, 3 * mesh->count * sizeof *k), gamma,
                           h->basis * sizeof *gamma) == h->sum;
    for (size_t i = 0; i < mesh->count && good; i++) {
        uint64_t sums[2];
        double *e = energy + i * h->basis;
        const size_t at = records_start(h) + i * record_size(h->basis);
        good = read_at(file, e, h->basis * sizeof *e, at) &&
               read_at(file, sums, sizeof sums, at + h->basis * sizeof *e) &&
               hash_bytes(SUM_START, e, h->basis * sizeof *e) == sums[0];
    }
    free(k);
    return good;
}

/* True where the file is there, whole, and of this crystal and mesh. */
static bool load(const char *path, const nh_kpoints *mesh, size_t basis, uint64_t hash, header *h,
                 double *gamma, double *energy)
{
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    struct stat info;
    const bool good = fstat(file, &info) == 0 && S_ISREG(info.st_mode) && read_header(file, hash, h) &&
                      h->n_k == mesh->count && h->basis == basis &&
                      (size_t)info.st_size == records_start(h) + h->n_k * record_size(basis) &&
                      read_energies(file, h, mesh, gamma, energy);
    close(file);
    return good;
}

static int find_fermi_level(const nh_graph *g, const nh_kpoints *mesh, size_t basis, const double *energy,
                            double *efermi, nh_error *err)
{
    *efermi = g->efermi;
    if (!isnan(*efermi)) return 0;
    if (isnan(g->nelec))
        return nh_fail(err, "no efermi and no nelec: where P ends and Q begins is not known");
    nh_bands b;
    if (nh_bands_new(mesh, basis, &b, err)) return -1;
    memcpy(b.energy, energy, mesh->count * basis * sizeof *energy);
    b.electrons_per_band = g->n_spin == 1 ? 2 : 1;
    const int status = nh_fermi_level(&b, g->nelec, efermi, err);
    nh_bands_free(&b);
    return status;
}

static size_t bands_below(size_t n, const double *energy, double limit)
{
    size_t i = 0;
    while (i < n && energy[i] < limit)
        i++;
    return i;
}

int nh_kcache_open(const char *path, const nh_graph *g, const nh_kspace_options *o, nh_threads *threads,
                   nh_kcache **out, bool *made, nh_error *err)
{
    *out = NULL;
    if (g->matrix[NH_H_LABEL] == NULL) return nh_fail(err, "no h_label: this file has no training target");
    if (g->overlap == NULL) return nh_fail(err, "no overlap");
    const uint64_t crystal = hash_crystal(g), hash = hash_all(crystal, o);
    const size_t basis = nh_structure_orbitals(&g->structure) * (g->n_spin == 4 ? 2 : 1);
    nh_kpoints mesh;
    if (make_mesh(crystal, o, &mesh, err)) return -1;
    nh_threads *own = NULL;
    double *gamma = NH_ARRAY(double, basis), *energy = nh_calloc(mesh.count, basis * sizeof *energy);
    nh_kcache *c = NH_ARRAY(nh_kcache, 1);
    int status = -1;
    if (gamma == NULL || energy == NULL || c == NULL || (c->path = nh_strdup(path)) == NULL ||
        (c->n_p = NH_ARRAY(size_t, mesh.count)) == NULL) {
        nh_fail_memory(err, "the states");
        goto done;
    }
    const bool there = load(path, &mesh, basis, hash, &c->head, gamma, energy);
    if (made != NULL) *made = !there;
    if (!there) {
        if (threads == NULL && nh_threads_new(1, &own, err)) goto done;
        if (make_file(path, g, &mesh, hash, threads != NULL ? threads : own, err)) goto done;
        if (!load(path, &mesh, basis, hash, &c->head, gamma, energy)) {
            nh_fail(err, "%s: cannot be read back: written by two runs with different settings at once?",
                    path);
            goto done;
        }
    }
    if (find_fermi_level(g, &mesh, basis, energy, &c->efermi, err)) goto done;
    const double limit = c->efermi + o->energy_cut;
    for (size_t i = 0; i < mesh.count; i++) {
        const size_t below = bands_below(basis, o->cut == NH_KCUT_GAMMA ? gamma : energy + i * basis, limit);
        c->n_p[i] = o->cut != NH_KCUT_GAMMA ? below : below > 0 ? below - 1 : 0;
    }
    c->k = mesh.k;
    mesh.k = NULL;
    *out = c;
    c = NULL;
    status = 0;
done:
    nh_kcache_free(c);
    nh_kpoints_free(&mesh);
    nh_threads_free(own);
    free(gamma);
    free(energy);
    return status;
}

void nh_kcache_free(nh_kcache *c)
{
    if (c == NULL) return;
    free(c->path);
    free(c->k);
    free(c->n_p);
    free(c);
}

size_t nh_kcache_count(const nh_kcache *c)
{
    return c->head.n_k;
}

double nh_kcache_efermi(const nh_kcache *c)
{
    return c->efermi;
}

int nh_kcache_read(const nh_kcache *c, size_t i, nh_kstates *out, double **buffer, nh_error *err)
{
    *buffer = NULL;
    if (i >= c->head.n_k) return nh_fail(err, "%s: k-point %zu of %zu", c->path, i, (size_t)c->head.n_k);
    const size_t basis = c->head.basis, size = 2 * basis * basis;
    const size_t at = records_start(&c->head) + i * record_size(basis) + basis * sizeof(double);
    float *single = NH_ARRAY(float, size);
    *buffer = NH_ARRAY(double, size);
    if (single == NULL || *buffer == NULL) {
        free(single);
        free(*buffer);
        *buffer = NULL;
        return nh_fail_memory(err, "eigenvectors");
    }
    header h;
    uint64_t sums[2];
    const int file = open(c->path, O_RDONLY | O_CLOEXEC);
    const int reason = errno;
    const bool good = file >= 0 && read_header(file, c->head.hash, &h) &&
                      read_at(file, sums, sizeof sums, at) &&
                      read_at(file, single, size * sizeof *single, at + sizeof sums) &&
                      hash_bytes(SUM_START, single, size * sizeof *single) == sums[1];
    if (file >= 0) close(file);
    for (size_t j = 0; j < size && good; j++)
        (*buffer)[j] = (double)single[j];
    free(single);
    if (!good) {
        free(*buffer);
        *buffer = NULL;
        return nh_fail(err, "%s: %s", c->path,
                       file < 0 ? strerror(reason)
                                : "changed or damaged since it was opened; remove it, it is made anew");
    }
    *out = (nh_kstates){.k = {c->k[3 * i], c->k[3 * i + 1], c->k[3 * i + 2]},
                        .n_band = basis,
                        .n_basis = basis,
                        .n_p = c->n_p[i],
                        .vector = *buffer};
    return 0;
}
