#include "formats/abacus/graph.h"

#include "base/memory.h"
#include "crystal/lattice.h"
#include "crystal/neighbours.h"
#include "formats/abacus/csr.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    H0_UP,
    H0_DOWN,
    LABEL_UP,
    LABEL_DOWN,
    OVERLAP,
    POSITION,
    N_FILES = POSITION + 1,
    N_SOURCES = POSITION + 3
};

static const double hermitian_tolerance = 1e-6; /* Ry */
static const double overlap_tolerance = 1e-6;
static const double onsite_tolerance = 1e-4; /* orbitals on radial meshes are orthonormal to about 1e-6 */
static const double norm_tolerance = 0.1;    /* but on coarse ones, 1.09 was seen in a reference file */
static const double same_position = 1e-3; /* Å; headers have 15 digits of the fractions, 6 of the lattice */
static const double position_tolerance = 0.01; /* Å, of r(R) against its reverse */
static const double bohr = 0.529177210903;     /* Å, CODATA 2018 */
static const double widest_overlap = 10.6; /* Å, 20 bohr: no published orbital reaches further than 10 bohr */

void nh_log_say(const nh_log *messages, bool warning, const char *format, ...)
{
    if (messages == NULL || messages->say == NULL) return;
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    messages->say(messages->context, warning, text);
}

/* One file to be read, by any thread. */
typedef struct reading {
    const char *file;
    long step;
    size_t count; /* 3 for r(R) */
    nh_csr *to;
    int status;
    nh_error error;
} reading;

static void read_one(void *context, size_t i, int thread)
{
    reading *const r = (reading *)context + i;
    (void)thread;
    if (r->file == NULL)
        r->status = 0;
    else if (r->count == 3)
        r->status = nh_csr_read_position(r->file, r->step, r->to, &r->error);
    else
        r->status = nh_csr_read_step(r->file, r->step, r->to, &r->error);
}

/* --- the crystal in the files --- */

/* The header's crystal against the structure: the same but for whole lattice vectors, by which the atoms are
 * moved onto the header's: the cells of the matrix refer to those. *placed: the header that did so, of which
 * others may not differ. */
static int compare_crystal(const nh_csr *m, const nh_csr **placed, nh_structure *s, nh_error *err)
{
    const nh_csr_crystal *c = &m->crystal;
    if (c->n_atom == 0) return 0;
    if (c->n_atom != s->n_atom)
        return nh_fail(err, "%s: the matrix is that of %zu atoms, the structure has %zu", m->name, c->n_atom,
                       s->n_atom);
    for (size_t k = 0; k < 9; k++)
        if (!(fabs(c->lattice[k] - s->lattice[k]) < same_position))
            return nh_fail(
                err, "%s: lattice vector a%zu of the matrix differs from the structure's (%.6g Å and %.6g Å)",
                m->name, k / 3 + 1, c->lattice[k], s->lattice[k]);
    double inverse[9];
    nh_lattice_inverse(s->lattice, inverse);
    for (size_t i = 0; i < s->n_atom; i++) {
        const int z = s->atomic_number[s->species[i]];
        if (c->number[i] != 0 && c->number[i] != z)
            return nh_fail(err, "%s: atom %zu of the matrix is %s, that of the structure %s", m->name, i + 1,
                           nh_element_symbol(c->number[i]), nh_element_symbol(z));
        double f[3], away[3], whole[3], move[3];
        nh_lattice_apply(s->position + 3 * i, inverse, f);
        for (size_t k = 0; k < 3; k++) {
            const double d = c->fraction[3 * i + k] - f[k];
            whole[k] = nearbyint(d);
            f[k] = d - whole[k];
        }
        nh_lattice_apply(f, s->lattice, away);
        const double distance = sqrt(away[0] * away[0] + away[1] * away[1] + away[2] * away[2]);
        if (!(distance < same_position))
            return nh_fail(err, "%s: atom %zu of the matrix is %.3g Å away from where it is in the structure",
                           m->name, i + 1, distance);
        if (whole[0] == 0 && whole[1] == 0 && whole[2] == 0) continue;
        if (*placed != NULL)
            return nh_fail(err, "%s: atom %zu is in another cell than in %s", m->name, i + 1,
                           (*placed)->name);
        nh_lattice_apply(whole, s->lattice, move);
        for (size_t k = 0; k < 3; k++)
            s->position[3 * i + k] += move[k];
    }
    if (*placed == NULL) *placed = m;
    return 0;
}

/* Which ionic step the matrices are of, and that it is one. */
static int check_steps(const nh_csr m[N_SOURCES], const char *const file[N_FILES], long wanted,
                       const nh_log *messages, nh_error *err)
{
    const nh_csr *of = NULL;
    for (int i = 0; i < N_FILES; i++) {
        if (file[i] == NULL) continue;
        if ((i == LABEL_UP || i == LABEL_DOWN) && wanted > 0 && m[i].step > 0 && m[i].step != wanted)
            return nh_fail(err, "%s: of ionic step %ld, not %ld", m[i].name, m[i].step, wanted);
        if (m[i].n_step > 1 && wanted == 0 && m[i].crystal.n_atom == 0)
            return nh_fail(err,
                           "%s: %zu ionic steps, and the structure is that of one of them: --step N (the "
                           "last one is %ld)",
                           m[i].name, m[i].n_step, m[i].step > 0 ? m[i].step : (long)m[i].n_step);
        if (i < LABEL_UP) continue; /* the zeroth step may have a run of its own */
        if (of == NULL) of = &m[i];
        if (of->step > 0 && m[i].step > 0 && of->step != m[i].step)
            nh_log_say(messages, true, "%s is of ionic step %ld, %s of step %ld", of->name, of->step,
                       m[i].name, m[i].step);
    }
    return 0;
}

static bool only_home_cell(const nh_csr *m)
{
    for (size_t c = 0; c < m->n_cell; c++)
        if (m->start[c + 1] > m->start[c] && (m->cell[c][0] != 0 || m->cell[c][1] != 0 || m->cell[c][2] != 0))
            return false;
    return true;
}

static int check_file(const nh_csr *m, char wanted, bool gamma_only, nh_error *err)
{
    if (m->quantity != 0 && m->quantity != wanted)
        return nh_fail(err, "%s: holds %c(R), %c(R) expected", m->name, m->quantity, wanted);
    if (m->folded || (gamma_only && only_home_cell(m)))
        return nh_fail(err,
                       "%s: a gamma_only run: the matrix elements of all periodic images are summed into the "
                       "cell 0 0 0, there "
                       "is no %c(R) to be had (gamma_only 0, and a KPT file with the Gamma point alone)",
                       m->name, wanted);
    return 0;
}

static int read_sources(nh_structure *s, const nh_abacus_sources *sources, const char *const file[N_FILES],
                        nh_threads *threads, const nh_log *messages, nh_csr m[N_SOURCES],
                        size_t spinor[N_FILES], nh_error *err)
{
    reading all[N_FILES] = {{0}};
    for (int i = 0; i < N_FILES; i++) {
        all[i].file = file[i];
        all[i].to = &m[i];
        all[i].count = i == POSITION ? 3 : 1;
        all[i].step = sources->step;
    }
    nh_parallel_for(threads, N_FILES, read_one, all);
    for (int i = 0; i < N_FILES; i++) /* what was read is freed in any case */
        if (file[i] != NULL && all[i].status) {
            *err = all[i].error;
            return -1;
        }
    const nh_csr *placed = NULL;
    for (int i = 0; i < N_FILES; i++) {
        if (file[i] == NULL) continue;
        if (check_file(&m[i],
                       i == OVERLAP    ? 'S'
                       : i == POSITION ? 'R'
                                       : 'H',
                       sources->gamma_only, err) ||
            nh_csr_spinor(&m[i], s, &spinor[i], err) || compare_crystal(&m[i], &placed, s, err))
            return -1;
        const bool half = i == H0_DOWN || i == LABEL_DOWN;
        if (half && (spinor[i] != 1 || spinor[i - 1] != 1))
            return nh_fail(err, "%s: two files of nspin 2 have no spin inside, this one has dimension %zu",
                           m[i].name, spinor[i] != 1 ? m[i].dimension : m[i - 1].dimension);
        if (m[i].spins == 2 && i < OVERLAP &&
            (i % 2 == 0 ? file[i + 1] == NULL || m[i].spin != 1 : m[i].spin != 2))
            return nh_fail(err, "%s: spin %d of two: both files are needed, up and down in this order",
                           m[i].name, m[i].spin);
        char step[48] = "";
        if (m[i].step > 0) snprintf(step, sizeof step, ", ionic step %ld", m[i].step);
        nh_log_say(messages, false, "%s: dialect %s, %s, dimension %zu, %zu cells, %zu elements%s%s",
                   m[i].name, m[i].dialect, m[i].is_complex ? "complex" : "real", m[i].dimension, m[i].n_cell,
                   m[i].n_value, step,
                   m[i].n_step > 1 && sources->step == 0 ? ", the last of several steps" : "");
    }
    return check_steps(m, file, sources->step, messages, err);
}

/* --- pairs and matrices --- */

static int build_pairs(nh_graph *g, const nh_csr m[N_SOURCES], const char *const file[N_FILES], nh_error *err)
{
    size_t count;
    nh_pair *pair;
    if (nh_neighbours(&g->structure, g->cutoff, &count, &pair, err)) return -1;
    for (int i = 0; i < N_SOURCES; i++)
        if (file[i < POSITION ? i : POSITION] != NULL &&
            nh_csr_pairs(&m[i], &g->structure, &count, &pair, err)) {
            free(pair);
            return -1;
        }
    return nh_pairs_build(&g->structure, count, pair, &g->pairs, err);
}

static double *new_matrix(const nh_graph *g, int n_spin, nh_error *err)
{
    size_t n;
    double *h = NULL;
    if (nh_size_mul(g->pairs.n_elem, 2 * (size_t)n_spin, &n)) h = NH_ARRAY(double, n);
    if (h == NULL) nh_fail_memory(err, "the blocks of a matrix");
    return h;
}

static int check_hermitian(const nh_graph *g, const double *h, double unit, const char *what,
                           const char *name, nh_error *err)
{
    double largest;
    size_t where;
    if (nh_hermiticity(g, h, &largest, &where, err)) return -1;
    largest /= unit;
    if (largest <= hermitian_tolerance) return 0;
    const nh_pair *p = &g->pairs.pair[where];
    return nh_fail(err, "%s: %s, off by %.3g at atoms %d and %d, cell %d %d %d (1e-6 allowed)", name, what,
                   largest, p->src + 1, p->dst + 1, p->cell[0], p->cell[1], p->cell[2]);
}

static int fill_hamiltonian(nh_graph *g, nh_matrix which, const nh_csr *up, const nh_csr *down, nh_error *err)
{
    double *h = g->matrix[which] = new_matrix(g, g->n_spin, err);
    if (h == NULL) return -1;
    const bool two = down->name != NULL;
    if (nh_csr_scatter(up, &g->structure, &g->pairs, g->rydberg, g->n_spin, two ? 0 : -1, h, err)) return -1;
    if (two && nh_csr_scatter(down, &g->structure, &g->pairs, g->rydberg, g->n_spin, 3, h, err)) return -1;
    return check_hermitian(g, h, g->rydberg, "H(R) is not the adjoint of H(-R) (Ry)", up->name, err);
}

static int fail_overlap(const nh_graph *g, const char *name, size_t pair, const char *what, double amount,
                        nh_error *err)
{
    const nh_pair *p = &g->pairs.pair[pair];
    return nh_fail(err, "%s: %s: %.6g at atoms %d and %d, cell %d %d %d", name, what, amount, p->src + 1,
                   p->dst + 1, p->cell[0], p->cell[1], p->cell[2]);
}

static int fail_spin(const nh_graph *g, const char *name, size_t pair, const char *what, const char *how,
                     double amount, nh_error *err)
{
    char text[64];
    snprintf(text, sizeof text, "%s %s", what, how);
    return fail_overlap(g, name, pair, text, amount, err);
}

/* Real, no spin mixing, the same for both spins. */
static int check_overlap_spin(const nh_graph *g, const double *s, int n_spin, const char *name,
                              const char *what, nh_error *err)
{
    const size_t n = g->pairs.n_elem;
    for (size_t p = 0; p < g->pairs.count; p++)
        for (size_t i = g->pairs.start[p]; i < g->pairs.start[p + 1]; i++) {
            if (fabs(s[2 * i + 1]) > overlap_tolerance)
                return fail_spin(g, name, p, what, "has an imaginary part", s[2 * i + 1], err);
            if (n_spin == 1) continue;
            const double mixing = fmax(hypot(s[2 * (n + i)], s[2 * (n + i) + 1]),
                                       hypot(s[2 * (2 * n + i)], s[2 * (2 * n + i) + 1]));
            if (mixing > overlap_tolerance) return fail_spin(g, name, p, what, "mixes spins", mixing, err);
            const double difference =
                hypot(s[2 * i] - s[2 * (3 * n + i)], s[2 * i + 1] - s[2 * (3 * n + i) + 1]);
            if (difference > overlap_tolerance)
                return fail_spin(g, name, p, what, "differs between the spins", difference, err);
        }
    return 0;
}

/* Degree and m of each orbital of a species, as one number. */
static void orbital_kinds(const nh_structure *s, size_t species, int *kind)
{
    for (size_t shell = s->shell_start[species]; shell < s->shell_start[species + 1]; shell++)
        for (int m = -s->shell_l[shell]; m <= s->shell_l[shell]; m++)
            *kind++ = 64 * s->shell_l[shell] + m;
}

/* On one atom only equal harmonics overlap, and every orbital has norm 1 (*norm: the worst): a basis with its
 * shells in another order has the right dimension and fails here. */
static int check_onsite(const nh_graph *g, const char *name, double *norm, nh_error *err)
{
    const nh_structure *s = &g->structure;
    *norm = 1;
    for (size_t atom = 0; atom < s->n_atom; atom++) {
        const size_t n = nh_atom_orbitals(s, atom);
        const size_t p = nh_pairs_find(&g->pairs, (int)atom, (int)atom, (int[3]){0, 0, 0});
        if (p == SIZE_MAX) continue;
        int *kind = NH_ARRAY(int, n);
        if (kind == NULL) return nh_fail_memory(err, "the basis");
        orbital_kinds(s, (size_t)s->species[atom], kind);
        const double *block = g->overlap + g->pairs.start[p];
        int status = 0;
        for (size_t i = 0; i < n * n && status == 0; i++) {
            const size_t a = i / n, b = i % n;
            if (a == b && fabs(block[i] - 1) > norm_tolerance)
                status = fail_overlap(g, name, p, "an orbital is not normalised, the basis does not fit",
                                      block[i], err);
            else if (a == b && fabs(block[i] - 1) > fabs(*norm - 1))
                *norm = block[i];
            else if (kind[a] != kind[b] && fabs(block[i]) > onsite_tolerance)
                status = fail_overlap(g, name, p,
                                      "different harmonics of one atom overlap, the basis does not fit",
                                      block[i], err);
        }
        free(kind);
        if (status != 0) return -1;
    }
    return 0;
}

/* Overlap where orbitals cannot meet: the matrix refers to other positions (or periodic images) than the
 * structure's. */
static int check_reach(const nh_graph *g, const double *radius, const char *name, const nh_log *messages,
                       nh_error *err)
{
    const nh_structure *s = &g->structure;
    bool warned = false;
    for (size_t p = 0; p < g->pairs.count; p++) {
        const nh_pair *q = &g->pairs.pair[p];
        double reach = radius != NULL ? radius[s->species[q->src]] + radius[s->species[q->dst]] : NAN;
        const bool known = isfinite(reach);
        if (!known) reach = widest_overlap;
        if (g->pairs.distance[p] < reach + 1e-3) continue;
        double largest = 0;
        for (size_t i = g->pairs.start[p]; i < g->pairs.start[p + 1]; i++)
            largest = fmax(largest, fabs(g->overlap[i]));
        if (largest <= overlap_tolerance) continue;
        if (known)
            return nh_fail(err,
                           "%s: atoms %d and %d, cell %d %d %d, are %.3f Å apart, more than their orbitals "
                           "reach (%.3f Å), "
                           "and overlap by %.3g: the matrix belongs to another structure",
                           name, q->src + 1, q->dst + 1, q->cell[0], q->cell[1], q->cell[2],
                           g->pairs.distance[p], reach, largest);
        if (!warned)
            nh_log_say(
                messages, true,
                "%s: an overlap of %.3g at %.2f Å (atoms %d and %d, cell %d %d %d): another structure?", name,
                largest, g->pairs.distance[p], q->src + 1, q->dst + 1, q->cell[0], q->cell[1], q->cell[2]);
        warned = true;
    }
    return 0;
}

static int fill_overlap(nh_graph *g, const nh_csr *m, size_t spinor, const double *radius,
                        const nh_log *messages, nh_error *err)
{
    const int n_spin = spinor == 2 ? 4 : 1, given = g->n_spin;
    double *s = new_matrix(g, n_spin, err);
    if (s == NULL) return -1;
    int status = nh_csr_scatter(m, &g->structure, &g->pairs, 1, n_spin, -1, s, err);
    g->n_spin = n_spin;
    if (status == 0) status = check_hermitian(g, s, 1, "S(R) is not the transpose of S(-R)", m->name, err);
    g->n_spin = given;
    if (status == 0) status = check_overlap_spin(g, s, n_spin, m->name, "the overlap", err);
    if (status == 0 && (g->overlap = NH_ARRAY(double, g->pairs.n_elem)) == NULL)
        status = nh_fail_memory(err, "the overlap");
    for (size_t i = 0; i < g->pairs.n_elem && status == 0; i++)
        g->overlap[i] = s[2 * i];
    free(s);
    double norm;
    if (status == 0) status = check_onsite(g, m->name, &norm, err);
    if (status == 0 && fabs(norm - 1) > onsite_tolerance)
        nh_log_say(messages, fabs(norm - 1) > 0.01,
                   "%s: an orbital has the norm %.6g: its radial mesh is coarse", m->name, norm);
    if (status == 0) status = check_reach(g, radius, m->name, messages, err);
    return status;
}

/* r(R), bohr -> Å: real, the same for both spins, and that of the reverse pair its transpose less R S. */
static int fill_position(nh_graph *g, const nh_csr m[3], size_t spinor, nh_error *err)
{
    const int n_spin = spinor == 2 ? 4 : 1;
    const size_t n = g->pairs.n_elem;
    size_t total;
    double *x = new_matrix(g, n_spin, err);
    int status = x == NULL ? -1 : 0;
    if (status == 0 && (!nh_size_mul(3, n, &total) || (g->position_matrix = NH_ARRAY(double, total)) == NULL))
        status = nh_fail_memory(err, "the position matrix");
    for (size_t d = 0; d < 3 && status == 0; d++) {
        memset(x, 0, 2 * (size_t)n_spin * n * sizeof *x);
        status = nh_csr_scatter(&m[d], &g->structure, &g->pairs, bohr, n_spin, -1, x, err);
        if (status == 0) status = check_overlap_spin(g, x, n_spin, m->name, "the position", err);
        for (size_t i = 0; i < n && status == 0; i++)
            g->position_matrix[d * n + i] = x[2 * i];
    }
    free(x);
    return status;
}

static int check_position(const nh_graph *g, const char *name, nh_error *err)
{
    const size_t n = g->pairs.n_elem;
    size_t *reverse = NH_ARRAY(size_t, g->pairs.count);
    if (reverse == NULL) return nh_fail_memory(err, "atom pairs");
    nh_pairs_reverse(&g->pairs, reverse);
    int status = 0;
    for (size_t p = 0; p < g->pairs.count && status == 0; p++) {
        const nh_pair *q = &g->pairs.pair[p];
        if (reverse[p] == SIZE_MAX) continue;
        const size_t rows = nh_atom_orbitals(&g->structure, (size_t)q->src),
                     columns = nh_atom_orbitals(&g->structure, (size_t)q->dst);
        for (size_t d = 0; d < 3; d++) {
            const double shift = q->cell[0] * g->structure.lattice[d] +
                                 q->cell[1] * g->structure.lattice[3 + d] +
                                 q->cell[2] * g->structure.lattice[6 + d];
            const double *x = g->position_matrix + d * n + g->pairs.start[p],
                         *y = g->position_matrix + d * n + g->pairs.start[reverse[p]],
                         *s = g->overlap + g->pairs.start[p];
            for (size_t i = 0; i < rows * columns && status == 0; i++) {
                const double off = x[i] - shift * s[i] - y[i % columns * rows + i / columns];
                if (fabs(off) > position_tolerance)
                    status = fail_overlap(g, name, p,
                                          "r(R) less R S(R) is not the transpose of r(-R) (Å): other "
                                          "matrices, or another origin",
                                          off, err);
            }
        }
    }
    free(reverse);
    return status;
}

/* The Fermi level that the headers of the label have. */
static double header_efermi(const nh_csr m[N_SOURCES], const char *const file[N_FILES])
{
    const double up = file[LABEL_UP] != NULL ? m[LABEL_UP].efermi : NAN,
                 down = file[LABEL_DOWN] != NULL ? m[LABEL_DOWN].efermi : up;
    return fabs(up - down) < 1e-4 ? up : NAN; /* a fixed moment has two */
}

static int assemble(nh_graph *g, const nh_abacus_sources *sources, const char *const file[N_FILES],
                    nh_csr m[N_SOURCES], nh_threads *threads, const nh_log *messages, nh_error *err)
{
    size_t spinor[N_FILES] = {0};
    if (read_sources(&g->structure, sources, file, threads, messages, m, spinor, err) ||
        build_pairs(g, m, file, err))
        return -1;
    g->efermi = header_efermi(m, file);
    bool any = false, spin = false;
    for (int i = 0; i < OVERLAP; i++) {
        any = any || file[i] != NULL;
        spin = spin || spinor[i] == 2 || (i % 2 == 1 && file[i] != NULL);
    }
    g->n_spin = spin || (!any && spinor[OVERLAP] != 1) ? 4 : 1;
    const nh_matrix kind[2] = {NH_H0, NH_H_LABEL};
    for (int i = 0; i < 2; i++) {
        if (file[2 * i] == NULL) continue;
        if (fill_hamiltonian(g, kind[i], &m[2 * i], &m[2 * i + 1], err)) return -1;
        nh_csr_free(&m[2 * i]);
        nh_csr_free(&m[2 * i + 1]);
    }
    if (file[OVERLAP] != NULL &&
        fill_overlap(g, &m[OVERLAP], spinor[OVERLAP], sources->radius, messages, err))
        return -1;
    if (file[POSITION] != NULL && fill_position(g, &m[POSITION], spinor[POSITION], err)) return -1;
    if (file[POSITION] != NULL && g->overlap != NULL && check_position(g, m[POSITION].name, err)) return -1;
    nh_log_say(messages, false, "%zu atoms, %zu orbitals, %zu pairs (%zu within %g Å), spin %d",
               g->structure.n_atom, nh_structure_orbitals(&g->structure), g->pairs.count,
               nh_graph_edges(g, g->cutoff, NULL), g->cutoff, g->n_spin);
    return 0;
}

int nh_abacus_graph(nh_structure *s, const nh_abacus_sources *sources, double cutoff, double rydberg,
                    nh_threads *threads, const nh_log *messages, nh_graph **out, nh_error *err)
{
    *out = NULL;
    const char *const file[N_FILES] = {sources->h0[0],    sources->h0[1],   sources->label[0],
                                       sources->label[1], sources->overlap, sources->position};
    nh_graph *g = NH_ARRAY(nh_graph, 1);
    if (g == NULL) return nh_fail_memory(err, "a graph");
    g->structure = *s;
    g->cutoff = cutoff;
    g->efermi = g->nelec = NAN;
    g->rydberg = rydberg;
    nh_csr m[N_SOURCES] = {{0}};
    const int status = assemble(g, sources, file, m, threads, messages, err);
    for (int i = 0; i < N_SOURCES; i++)
        nh_csr_free(&m[i]);
    if (status != 0) {
        g->structure = (nh_structure){.n_atom = 0}; /* stays the caller's */
        nh_graph_free(g);
        return -1;
    }
    *s = (nh_structure){.n_atom = 0};
    *out = g;
    return 0;
}
