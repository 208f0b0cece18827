#include "formats/import.h"

#include "base/memory.h"
#include "base/stream.h"
#include "formats/abacus/csr.h"
#include "formats/abacus/run.h"
#include "formats/abacus/stru.h"
#include "formats/abacus/orb.h"
#include "formats/pseudo/library.h"
#include "formats/structure/file.h"
#include "crystal/lattice.h"
#include "crystal/neighbours.h"
#include "crystal/overlap.h"
#include "lcao/verify.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* All that is collected before the graph is made. */
typedef struct job {
    const nh_import_settings *set;
    const nh_log *messages;
    nh_structure_file file;
    nh_abacus_run run[2]; /* of h0 and of the label, where folders are given */
    char *split[2];       /* copies of --h0 and --label that were cut at their commas */
    nh_abacus_sources sources;
    double *radius;
    nh_abacus_log log;
    double efermi, nelec;
    int convergence; /* of the label, as nh_graph has it */
    bool strange[2]; /* the atoms in the log of the run are not those of its STRU */
} job;

enum { RUN_H0, RUN_LABEL };
static const double same_structure = 1e-4; /* Å */

__attribute__((format(printf, 3, 4))) static void say(const job *j, bool warning, const char *format, ...)
{
    if (j->messages == NULL || j->messages->say == NULL) return;
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    j->messages->say(j->messages->context, warning, text);
}

static void job_free(job *j)
{
    nh_structure_file_free(&j->file);
    nh_abacus_run_free(&j->run[RUN_H0]);
    nh_abacus_run_free(&j->run[RUN_LABEL]);
    nh_abacus_log_free(&j->log);
    free(j->split[0]);
    free(j->split[1]);
    free(j->radius);
}

/* --h0 A,B or --h0 A --h0 B: one file, or two of nspin 2. */
static int split_files(const nh_list *list, const char *option, char **copy, const char *file[2],
                       nh_error *err)
{
    size_t bytes = 1;
    for (size_t i = 0; i < list->count; i++)
        bytes += strlen(list->item[i]) + 1;
    if (list->count == 0) return 0;
    if ((*copy = NH_ARRAY(char, bytes)) == NULL) return nh_fail_memory(err, "file names");
    char *end = *copy;
    for (size_t i = 0; i < list->count; i++)
        end += sprintf(end, "%s%s", i > 0 ? "," : "", list->item[i]);
    size_t n = 0;
    for (char *rest = *copy, *name; (name = strsep(&rest, ",")) != NULL;) {
        if (n == 2 || *name == '\0')
            return nh_fail(err, "%s: one file, or two (spin up, spin down) expected", option);
        file[n++] = name;
    }
    return 0;
}

/* --- folders --- */

static int find_runs(job *j, nh_error *err)
{
    const long step = j->set->step;
    const char *folder = j->set->abacus, *folder0 = j->set->abacus_h0;
    char *h0 = NULL, *scf = NULL;
    int status = asprintf(&h0, "%s/h0", folder) < 0 || asprintf(&scf, "%s/scf", folder) < 0
                     ? nh_fail_memory(err, "a file name")
                     : 0;
    nh_abacus_run one = {.folder = NULL};
    if (status == 0 && folder0 != NULL) {
        status = nh_abacus_run_find(folder0, 0, &j->run[RUN_H0], err);
        if (status == 0) status = nh_abacus_run_find(folder, step, &j->run[RUN_LABEL], err);
    } else if (status == 0 && nh_abacus_is_run(folder)) {
        status = nh_abacus_run_find(folder, step, &one, err);
        if (status == 0) j->run[one.scf_nmax == 1 ? RUN_H0 : RUN_LABEL] = one;
    } else if (status == 0 && (nh_abacus_is_run(h0) || nh_abacus_is_run(scf))) {
        if (nh_abacus_is_run(h0)) status = nh_abacus_run_find(h0, 0, &j->run[RUN_H0], err);
        if (status == 0 && nh_abacus_is_run(scf))
            status = nh_abacus_run_find(scf, step, &j->run[RUN_LABEL], err);
    } else if (status == 0) {
        status = nh_fail(
            err, "%s: no ABACUS run folder: no STRU, no INPUT, no folders h0 and scf that have them", folder);
    }
    free(h0);
    free(scf);
    return status;
}

static int take_hamiltonian(const nh_abacus_run *run, const char *file[2], nh_error *err)
{
    if (run->folder == NULL) return 0;
    if (run->hamiltonian[0] == NULL)
        return nh_fail(err, "%s: no H(R) (data-HR-sparse_SPIN0.csr, hrs1_nao.csr) in the run's output",
                       run->folder);
    if (run->nspin == 2 && run->hamiltonian[1] == NULL)
        return nh_fail(err, "%s: nspin 2, but there is no second file of H(R)", run->folder);
    file[0] = run->hamiltonian[0];
    file[1] = run->hamiltonian[1];
    return 0;
}

/* The label's structure and the zeroth step's must be one crystal, atom for atom. */
static int compare_structures(const nh_structure *a, const nh_structure *b, const char *name_a,
                              const char *name_b, nh_error *err)
{
    if (a->n_atom != b->n_atom)
        return nh_fail(err, "%s: %zu atoms, but %s has %zu", name_b, b->n_atom, name_a, a->n_atom);
    for (int k = 0; k < 9; k++)
        if (!(fabs(a->lattice[k] - b->lattice[k]) < same_structure))
            return nh_fail(err, "%s: lattice vector a%d differs from that in %s", name_b, k / 3 + 1, name_a);
    for (size_t i = 0; i < a->n_atom; i++) {
        if (a->atomic_number[a->species[i]] != b->atomic_number[b->species[i]])
            return nh_fail(err, "%s: atom %zu is of another element than in %s", name_b, i + 1, name_a);
        for (size_t k = 0; k < 3; k++) {
            const double d = fabs(a->position[3 * i + k] - b->position[3 * i + k]);
            if (!(d < same_structure))
                return nh_fail(err, "%s: atom %zu is %.2g Å away from where it is in %s", name_b, i + 1, d,
                               name_a);
        }
    }
    return 0;
}

/* Lattice and positions of a matrix file's header in place of the file's. */
static int take_crystal(const nh_csr *m, nh_structure *s, nh_error *err)
{
    const nh_csr_crystal *c = &m->crystal;
    if (c->n_atom != s->n_atom)
        return nh_fail(err, "%s: the matrix is that of %zu atoms, the structure file has %zu", m->name,
                       c->n_atom, s->n_atom);
    memcpy(s->lattice, c->lattice, sizeof s->lattice);
    for (size_t i = 0; i < s->n_atom; i++)
        nh_lattice_apply(c->fraction + 3 * i, s->lattice, s->position + 3 * i);
    return nh_atoms_check(s, err) ? nh_fail_at(err, "%s", m->name) : 0;
}

/* The structure of a matrix file's header alone. */
static int structure_of_header(const nh_csr *m, nh_structure_file *out, nh_error *err)
{
    const nh_csr_crystal *c = &m->crystal;
    nh_structure *s = &out->structure;
    *out = (nh_structure_file){.format = "header of the matrix"};
    if (c->n_atom == 0) return nh_fail(err, "%s: no structure in its header, and no structure file", m->name);
    if (nh_structure_new(c->n_atom, c->n_species, s, err)) return -1;
    int status = 0;
    for (size_t i = 0; i < c->n_atom && status == 0; i++) {
        s->species[i] = c->species[i];
        s->atomic_number[c->species[i]] = c->number[i];
        if (c->number[i] == 0)
            status = nh_fail(err, "%s: the label of atom %zu is no element", m->name, i + 1);
    }
    if (status == 0) status = take_crystal(m, s, err);
    if (status != 0) nh_structure_file_free(out);
    return status;
}

/* The structure that the run's matrices belong to: the STRU that it began with, or what ABACUS wrote of a
 * later step. */
static int read_run_structure(job *j, int which, long wanted, nh_abacus_log *log, nh_structure_file *out,
                              nh_error *err)
{
    nh_abacus_run *const run = &j->run[which];
    nh_csr head = {.step = 0};
    char *path = NULL;
    int status = run->log != NULL ? nh_abacus_log_read(run->log, log, err) : 0;
    if (status == 0 && run->hamiltonian[0] != NULL)
        status = nh_csr_peek(run->hamiltonian[0], wanted, &head, err);
    if (head.step > 0) run->step = head.step;
    const bool moved = run->step > 1, inside = moved && head.crystal.n_atom > 0;
    if (status == 0 && !run->has_stru) {
        status = structure_of_header(&head, out, err);
        nh_csr_free(&head);
        return status;
    }
    if (status == 0) status = nh_abacus_run_structure(run, log, inside ? 1 : run->step, &path, err);
    if (status == 0) status = nh_structure_file_read(path, run->latname, out, err);
    if (status == 0 && inside) {
        status = take_crystal(&head, &out->structure, err);
        if (status != 0) nh_structure_file_free(out);
    }
    if (status == 0 && moved)
        say(j, false, "ionic step %ld: the structure is that of %s", run->step, inside ? head.name : path);
    j->strange[which] = status == 0 && !moved && run->log != NULL && log->n_atom > 0 &&
                        !nh_abacus_log_adopt(log, &out->structure);
    nh_csr_free(&head);
    free(path);
    return status;
}

/* What the log says of the label's step, and the header of its file. */
static void take_log(job *j, long step, bool label)
{
    const nh_abacus_log_step of = nh_abacus_log_of_step(&j->log, step);
    j->efermi = of.efermi;
    if (!label) return;
    j->convergence = of.convergence;
    if (of.convergence < 0)
        say(j, true,
            "the self-consistency of the label did not converge: the file says so, and nhtrain refuses it");
}

/* One file of H(R) where the log says that there are two. */
static int check_spins(const job *j, const char *log, nh_error *err)
{
    if (j->log.nspin != 2 || j->sources.label[0] == NULL || j->sources.label[1] != NULL) return 0;
    return nh_fail(err, "%s: nspin 2, but there is one file of H(R): two are needed, UP,DOWN", log);
}

static int take_runs(job *j, nh_error *err)
{
    if (find_runs(j, err)) return -1;
    const int main_run = j->run[RUN_LABEL].folder != NULL ? RUN_LABEL : RUN_H0;
    nh_abacus_run *run = &j->run[main_run], *other = &j->run[1 - main_run];
    if (read_run_structure(j, main_run, j->set->step, &j->log, &j->file, err)) return -1;
    if (other->folder != NULL) {
        nh_structure_file second;
        nh_abacus_log log = {.n_atom = 0};
        int status = read_run_structure(j, 1 - main_run, 0, &log, &second, err);
        nh_abacus_log_free(&log);
        if (status != 0) return -1;
        status = compare_structures(&j->file.structure, &second.structure, run->stru, other->stru, err);
        nh_structure_file_free(&second);
        if (status != 0) return -1;
    }
    for (int r = RUN_H0; r <= RUN_LABEL; r++)
        if (j->strange[r])
            say(j, true, "%s: the atoms in the log are not those of %s", j->run[r].log, j->run[r].stru);
    if (take_hamiltonian(&j->run[RUN_H0], j->sources.h0, err) ||
        take_hamiltonian(&j->run[RUN_LABEL], j->sources.label, err))
        return -1;
    if (j->sources.h0[0] == NULL && run->zeroth[0] != NULL) { /* beside H in one run */
        j->sources.h0[0] = run->zeroth[0];
        j->sources.h0[1] = run->zeroth[1];
    }
    j->sources.overlap = run->overlap != NULL ? run->overlap : other->overlap;
    j->sources.position = run->position != NULL ? run->position : other->position;
    j->sources.step = j->set->step;
    j->sources.gamma_only = run->gamma_only || other->gamma_only;
    if (j->sources.overlap == NULL) say(j, true, "%s: no S(R) in the run's output", run->folder);
    if (run->log != NULL) take_log(j, run->step, main_run == RUN_LABEL);
    if (j->log.nspin != 0 && run->nspin != 0 && j->log.nspin != run->nspin)
        say(j, true, "%s: nspin %d, but INPUT means %d: left from another run?", run->log, j->log.nspin,
            run->nspin);
    if (check_spins(j, run->log, err)) return -1;
    const double nelec = run->nelec > 0 ? run->nelec : run->log != NULL ? j->log.nelec : NAN;
    j->nelec = nelec + run->nelec_delta;
    return 0;
}

/* True where a file begins as a matrix of dialect C does: it has a structure in its header. */
static bool is_matrix(const char *path)
{
    static const char head[] = "--- Ionic Step";
    nh_stream *s;
    nh_error ignored;
    struct stat of; /* a pipe can be read once only */
    if (stat(path, &of) != 0 || !S_ISREG(of.st_mode) || nh_stream_open(path, &s, &ignored)) return false;
    nh_skip_space(s);
    size_t n = 0;
    while (n + 1 < sizeof head && nh_stream_get(s) == head[n])
        n++;
    nh_stream_close(s);
    return n + 1 == sizeof head;
}

static int read_structure(const nh_import_settings *set, nh_structure_file *out, nh_error *err)
{
    if (!is_matrix(set->structure)) return nh_structure_file_read(set->structure, NULL, out, err);
    nh_csr m;
    if (nh_csr_peek(set->structure, set->step, &m, err)) return -1;
    const int status = structure_of_header(&m, out, err);
    nh_csr_free(&m);
    return status;
}

static int take_files(job *j, nh_error *err)
{
    const nh_import_settings *set = j->set;
    if (read_structure(set, &j->file, err) ||
        split_files(&set->h0, "--h0", &j->split[0], j->sources.h0, err) ||
        split_files(&set->label, "--label", &j->split[1], j->sources.label, err))
        return -1;
    j->sources.overlap = set->overlap;
    j->sources.position = set->position;
    j->sources.step = set->step;
    if (j->sources.h0[0] != NULL || j->sources.label[0] != NULL || j->sources.overlap != NULL)
        nh_structure_wrap(&j->file.structure);
    if (set->log == NULL) return 0;
    if (nh_abacus_log_read(set->log, &j->log, err)) return -1;
    if (set->step <= 1 && j->log.n_atom > 0 && !nh_abacus_log_adopt(&j->log, &j->file.structure))
        say(j, true, "%s: the atoms in the log are not those of %s", set->log, set->structure);
    take_log(j, set->step, j->sources.label[0] != NULL);
    j->nelec = j->log.nelec;
    return check_spins(j, set->log, err);
}

/* --- basis --- */

/* El:4s2p1d from --basis, entries separated by commas. */
static int basis_option(const char *basis, int atomic_number, size_t *count, int **l, nh_error *err)
{
    char *copy = nh_strdup(basis);
    if (copy == NULL) return nh_fail_memory(err, "the basis");
    int status = 1;
    for (char *rest = copy, *entry; status == 1 && (entry = strsep(&rest, ",")) != NULL;) {
        char *colon = strchr(entry, ':');
        if (colon != NULL) *colon = '\0';
        const int z = nh_atomic_number(entry);
        if (colon == NULL || z == 0) {
            status = nh_fail(err, "--basis: \"%s\" is not like Ga:2s2p2d1f", entry);
        } else if (z == atomic_number) {
            status = nh_shells_parse(colon + 1, count, l, err);
            if (status != 0) nh_fail_at(err, "--basis");
        }
    }
    free(copy);
    if (status != 1) return status;
    return nh_fail(err, "--basis: no shells for %s", nh_element_symbol(atomic_number));
}

static int basis_folder(job *j, size_t species, const char *folder, size_t *count, int **l, nh_error *err)
{
    char *path = NULL;
    int status = 0;
    if (j->file.orbital_file != NULL) {
        const char *slash = strrchr(j->file.orbital_file[species], '/');
        if (asprintf(&path, "%s/%s", folder, slash != NULL ? slash + 1 : j->file.orbital_file[species]) < 0)
            return nh_fail_memory(err, "a file name");
    } else {
        status = nh_element_file(folder, nh_element_symbol(j->file.structure.atomic_number[species]), ".orb",
                                 &path, err);
    }
    if (status == 0) status = nh_orb_read_shells(path, count, l, err);
    if (status == 0) j->radius[species] = nh_orb_name_radius(path);
    free(path);
    return status;
}

static int copy_shells(const nh_abacus_log *log, size_t type, size_t *count, int **l, nh_error *err)
{
    size_t first = 0;
    for (size_t i = 0; i < type; i++)
        first += log->n_shell[i];
    *count = log->n_shell[type];
    if ((*l = NH_ARRAY(int, *count)) == NULL) return nh_fail_memory(err, "orbital shells");
    memcpy(*l, log->shell_l + first, *count * sizeof **l);
    return 0;
}

/* Shells of one species: what the user says, what the run's log says, what the name of the .orb file says,
 * what its header says, in this order. */
static int species_basis(job *j, size_t species, size_t *count, int **l, nh_error *err)
{
    const nh_import_settings *set = j->set;
    const nh_structure *s = &j->file.structure;
    const char *orb = j->file.orbital_file != NULL ? j->file.orbital_file[species] : NULL;
    if (set->basis != NULL) return basis_option(set->basis, s->atomic_number[species], count, l, err);
    if (set->orbital_dir != NULL) return basis_folder(j, species, set->orbital_dir, count, l, err);
    if (orb != NULL) j->radius[species] = nh_orb_name_radius(orb);
    if (j->log.n_type == s->n_species && j->log.n_shell[species] > 0)
        return copy_shells(&j->log, species, count, l, err);
    if (orb != NULL && nh_orb_name_shells(orb, count, l)) return 0;
    for (int r = RUN_LABEL; r >= RUN_H0; r--)
        if (orb != NULL && j->run[r].orbital_dir != NULL)
            return basis_folder(j, species, j->run[r].orbital_dir, count, l, err);
    return nh_fail(err, "the orbital shells of %s are not known: --basis or --orbital-dir",
                   nh_element_symbol(s->atomic_number[species]));
}

static int set_basis(job *j, nh_error *err)
{
    nh_structure *s = &j->file.structure;
    size_t *counts = NH_ARRAY(size_t, s->n_species), total = 0, room = 0;
    j->radius = NH_ARRAY(double, s->n_species);
    int *all = NULL;
    int status = counts == NULL || j->radius == NULL ? nh_fail_memory(err, "the basis") : 0;
    for (size_t i = 0; i < s->n_species && status == 0; i++) {
        int *l = NULL;
        j->radius[i] = NAN;
        status = species_basis(j, i, &counts[i], &l, err);
        if (status == 0 && !nh_grow(&all, &room, total + counts[i], sizeof *all))
            status = nh_fail_memory(err, "the basis");
        for (size_t k = 0; k < counts[i] && status == 0; k++) {
            if (k > 0 && l[k] < l[k - 1])
                status = nh_fail(err, "shells of %s: s before p before d expected, as in ABACUS",
                                 nh_element_symbol(s->atomic_number[i]));
            all[total++] = l[k];
        }
        if (status == 0) {
            char *text = nh_shells_text(counts[i], l);
            if (text != NULL) say(j, false, "%s: %s", nh_element_symbol(s->atomic_number[i]), text);
            free(text);
        }
        free(l);
    }
    if (status == 0) status = nh_structure_set_shells(s, counts, all, err);
    free(counts);
    free(all);
    return status;
}

/* --- the guard --- */

/* The orbitals of the species, where their files are at hand; NULL where not, which is no error. */
static nh_species *find_orbitals(const job *j)
{
    nh_library library = {.orbital = j->set->orbital_dir, .structure = j->set->structure};
    const nh_abacus_run *const run = &j->run[j->run[RUN_LABEL].folder != NULL ? RUN_LABEL : RUN_H0];
    if (run->folder != NULL) {
        library.structure = run->stru;
        if (library.orbital == NULL) library.orbital = run->orbital_dir;
    }
    nh_species *species;
    nh_error why;
    if (nh_library_read_orbitals(&library, &j->file, &species, &why) == 0) return species;
    say(j, false, "S(R) is not made again from the structure: %s", why.text);
    return NULL;
}

/* The overlap against the structure; species: NULL where the orbitals are not known. */
static int guard(const job *j, nh_graph *g, const nh_species *species, nh_threads *threads, nh_error *err)
{
    double largest;
    if (species == NULL) return nh_overlap_check(&g->structure, &g->pairs, g->overlap, err);
    if (nh_overlap_verify(&g->structure, &g->pairs, g->overlap, species, threads, &largest, err)) return -1;
    say(j, false, "S(R) is that of the structure within %.1e", largest);
    g->orbital_hash = nh_library_names(&g->structure, species, false);
    return g->orbital_hash != NULL ? 0 : nh_fail_memory(err, "the names of the orbitals");
}

/* --- the graph --- */

static int make(job *j, nh_threads *threads, nh_graph **g, nh_error *err)
{
    const nh_import_settings *set = j->set;
    if (set->abacus != NULL ? take_runs(j, err) : take_files(j, err)) return -1;
    if (j->file.remark != NULL) say(j, true, "%s: %s", set->structure, j->file.remark);
    say(j, false, "%s: %s, %zu atoms", set->abacus != NULL ? set->abacus : set->structure, j->file.format,
        j->file.structure.n_atom);
    if (set_basis(j, err)) return -1;
    nh_structure *s = &j->file.structure;
    if (s->title == NULL && (s->title = nh_structure_formula(s)) == NULL)
        return nh_fail_memory(err, "the title");
    j->sources.radius = j->radius;
    const bool verify = !set->no_verify && j->sources.overlap != NULL;
    const size_t n_species = s->n_species;
    nh_species *const species = verify ? find_orbitals(j) : NULL;
    nh_structure_file_forget(&j->file); /* the structure moves into the graph */
    int status = nh_abacus_graph(s, &j->sources, set->cutoff, set->rydberg, threads, j->messages, g, err);
    if (status == 0 && verify && guard(j, *g, species, threads, err)) {
        status = nh_fail_at(err, "%s", j->sources.overlap);
        nh_graph_free(*g);
        *g = NULL;
    }
    nh_species_free(species, species != NULL ? n_species : 0);
    free(species);
    if (status != 0) return -1;
    if (fabs((*g)->efermi - j->efermi) > 1e-3)
        say(j, true,
            "Fermi level %.6g eV in the log, %.6g eV in the header of the label: left from another run?",
            j->efermi, (*g)->efermi);
    if (!isnan(j->efermi)) (*g)->efermi = j->efermi;
    if (!isnan(set->efermi)) (*g)->efermi = set->efermi;
    (*g)->nelec = isnan(set->nelec) ? j->nelec : set->nelec;
    if ((*g)->matrix[NH_H_LABEL] != NULL) (*g)->convergence = j->convergence;
    return 0;
}

int nh_import(const nh_import_settings *set, nh_threads *threads, const nh_log *messages, nh_graph **out,
              nh_error *err)
{
    *out = NULL;
    job j = {.set = set, .messages = messages, .log = {.nelec = NAN}, .efermi = NAN, .nelec = NAN};
    const int status = make(&j, threads, out, err);
    job_free(&j);
    return status;
}
