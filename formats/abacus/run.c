#include "formats/abacus/run.h"

#include "base/memory.h"
#include "base/stream.h"
#include "crystal/lattice.h"
#include "formats/text.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static const double bohr = 0.529177210903; /* Å, CODATA 2018 */

/* --- running_scf.log --- */

void nh_abacus_log_free(nh_abacus_log *log)
{
    if (log == NULL) return;
    free(log->n_shell);
    free(log->shell_l);
    free(log->position);
    free(log->step);
    *log = (nh_abacus_log){.nelec = NAN};
}

static const char *skip_blank(const char *at)
{
    while (*at == ' ' || *at == '\t')
        at++;
    return at;
}

/* " AUTOSET number of electrons:  = 26" -> 26 */
static bool number_after(const char *line, const char *words, double *out)
{
    const char *at = skip_blank(line);
    const size_t n = strlen(words);
    if (strncasecmp(at, words, n) != 0) return false;
    at += n;
    while (*at == ' ' || *at == '\t' || *at == ':' || *at == '=')
        at++;
    char *end;
    const double x = strtod(at, &end);
    if (end == at || !isfinite(x)) return false;
    *out = x;
    return true;
}

static int grow_shells(nh_abacus_log *log, int l, long count, size_t *n, nh_error *err)
{
    enum { MOST = 100 };
    if (count < 0 || count > MOST || l < 0 || l > 6 || log->n_type == 0) return 0;
    for (long i = 0; i < count; i++) {
        if (!nh_grow_one(&log->shell_l, *n, sizeof *log->shell_l))
            return nh_fail_memory(err, "orbital shells");
        log->shell_l[(*n)++] = l;
    }
    log->n_shell[log->n_type - 1] += (size_t)count;
    return 0;
}

static int add_position(nh_abacus_log *log, const double x[3], nh_error *err)
{
    if (!nh_grow_one(&log->position, log->n_atom, 3 * sizeof *log->position))
        return nh_fail_memory(err, "the atoms");
    memcpy(log->position + 3 * log->n_atom++, x, 3 * sizeof *x);
    return 0;
}

/* State of the scan: the log has sections that are told by their first line only. */
typedef struct scan {
    bool in_type;  /* after READING ATOM TYPE */
    bool in_atoms; /* after the heading of the first list of coordinates */
    bool atoms_done;
    bool has_efermi_line; /* in this step */
    bool numbered;        /* steps are told by lines with their number in all */
    size_t n_shell;
} scan;

static int scan_structure(nh_abacus_log *log, scan *state, const char *line, nh_error *err)
{
    int type, l;
    long count;
    const char *at = skip_blank(line);
    if (sscanf(at, "READING ATOM TYPE %d", &type) == 1) {
        state->in_type = (size_t)type == log->n_type + 1;
        if (!state->in_type) return 0;
        if (!nh_grow_one(&log->n_shell, log->n_type, sizeof *log->n_shell))
            return nh_fail_memory(err, "orbital shells");
        log->n_shell[log->n_type++] = 0;
    } else if (state->in_type && sscanf(at, "L=%d, number of zeta = %ld", &l, &count) == 2) {
        return grow_shells(log, l, count, &state->n_shell, err);
    }
    if (state->atoms_done) return 0;
    double unit;
    if (strncasecmp(at, "CARTESIAN COORDINATES ( UNIT", 28) == 0 && sscanf(at + 28, " = %lf", &unit) == 1) {
        log->unit = unit * bohr;
        state->in_atoms = true;
        state->in_type = false;
    } else if (strncasecmp(at, "DIRECT COORDINATES", 18) == 0) {
        log->unit = 0;
        state->in_atoms = true;
        state->in_type = false;
    } else if (state->in_atoms) {
        double x[3];
        const bool atom =
            strncmp(at, "tau", 3) == 0 && sscanf(at, "%*s %lf %lf %lf", &x[0], &x[1], &x[2]) == 3;
        if (atom) return add_position(log, x, err);
        state->atoms_done = log->n_atom > 0;
    }
    return 0;
}

/* --- ionic steps --- */

static int enter_step(nh_abacus_log *log, scan *state, long number, nh_error *err)
{
    if (number < 1 || (log->n_step > 0 && log->step[log->n_step - 1].number == number)) return 0;
    if (!nh_grow_one(&log->step, log->n_step, sizeof *log->step)) return nh_fail_memory(err, "ionic steps");
    log->step[log->n_step++] = (nh_abacus_log_step){.number = number, .efermi = NAN};
    state->has_efermi_line = false;
    return 0;
}

/* Lines that begin a step: "STEP OF MOLECULAR DYNAMICS : 0", "RELAX IONS : 2 (in total: 3)", "RELAX CELL : 2"
 * where there are none of the former, "STEP OF ION RELAXATION : 2", "RELAX STEP: 2". */
static int scan_step(nh_abacus_log *log, scan *state, const char *line, nh_error *err)
{
    const char *at = skip_blank(line), *total = strcasestr(at, "(in total:");
    double x;
    if (number_after(at, "STEP OF MOLECULAR DYNAMICS", &x))
        return enter_step(log, state, (long)fmin(x, 1e9) + 1, err);
    if (strncasecmp(at, "RELAX IONS", 10) == 0 && total != NULL) {
        state->numbered = true;
        return enter_step(log, state, strtol(total + 10, NULL, 10), err);
    }
    if (number_after(at, "STEP OF ION RELAXATION", &x) || number_after(at, "STEP OF RELAXATION", &x) ||
        number_after(at, "RELAX STEP", &x))
        return enter_step(log, state, (long)fmin(x, 1e9), err);
    if (!state->numbered && number_after(at, "RELAX CELL", &x))
        return enter_step(log, state, (long)fmin(x, 1e9), err);
    return 0;
}

static void scan_energies(nh_abacus_log *log, scan *state, const char *line)
{
    const char *at = skip_blank(line);
    nh_abacus_log_step *const step = &log->step[log->n_step - 1];
    double x, y;
    char unit[8];
    if (sscanf(at, "EFERMI = %lf %7s", &x, unit) == 2 && strcasecmp(unit, "eV") == 0) {
        step->efermi = x;
        state->has_efermi_line = true;
    } else if (!state->has_efermi_line && sscanf(at, "E_Fermi %lf %lf", &x, &y) == 2) {
        step->efermi = y;
    } else if (number_after(at, "AUTOSET number of electrons", &x) ||
               number_after(at, "Autoset the number of electrons", &x)) {
        log->nelec = x;
    } else if (number_after(at, "nspin ", &x) && x >= 1 && x <= 4) {
        log->nspin = (int)x;
    } else if (strcasestr(at, "convergence has NOT been achieved") != NULL ||
               strcasestr(at, "SCF IS NOT CONVERGED") != NULL) {
        step->convergence = -1;
    } else if (strcasestr(at, "density convergence is achieved") != NULL ||
               strcasestr(at, "SCF IS CONVERGED") != NULL) {
        step->convergence = 1;
    } else if (strcasestr(at, "relaxation is converged") != NULL ||
               strcasestr(at, "end of geometry optimization") != NULL) {
        log->relaxed = true;
    } else if (strcasestr(at, "relaxation is not converged") != NULL) {
        log->relaxed = false;
    }
}

static bool says_nothing(const nh_abacus_log *log)
{
    for (size_t i = 0; i < log->n_step; i++)
        if (!isnan(log->step[i].efermi) || log->step[i].convergence != 0) return false;
    return isnan(log->nelec) && log->n_type == 0;
}

int nh_abacus_log_read(const char *path, nh_abacus_log *out, nh_error *err)
{
    *out = (nh_abacus_log){.nelec = NAN};
    nh_stream *s;
    if (nh_stream_open(path, &s, err)) return -1;
    char line[512];
    scan state = {.in_type = false};
    int status = enter_step(out, &state, 1, err);
    while (status == 0 && nh_stream_line_text(s, line, sizeof line) == 0) {
        status = scan_step(out, &state, line, err);
        if (status == 0) scan_energies(out, &state, line);
        if (status == 0) status = scan_structure(out, &state, line, err);
    }
    if (status == 0) status = nh_stream_status(s, err);
    nh_stream_close(s);
    if (status == 0 && says_nothing(out))
        status = nh_fail(err, "%s: no log of ABACUS: no EFERMI, no number of electrons, no atom types", path);
    if (status != 0) nh_abacus_log_free(out);
    return status;
}

nh_abacus_log_step nh_abacus_log_of_step(const nh_abacus_log *log, long number)
{
    for (size_t i = log->n_step; i > 0; i--)
        if (number == 0 || log->step[i - 1].number == number) return log->step[i - 1];
    return (nh_abacus_log_step){.number = number, .efermi = NAN};
}

bool nh_abacus_log_adopt(const nh_abacus_log *log, nh_structure *s)
{
    const double close = 1e-5;
    if (log->n_atom != s->n_atom) return false;
    const double *a = s->lattice;
    double inverse[9];
    nh_lattice_inverse(a, inverse);
    double *shift = NH_ARRAY(double, 3 * s->n_atom);
    if (shift == NULL) return false;
    bool same = true;
    for (size_t i = 0; i < s->n_atom && same; i++) {
        const double *r = s->position + 3 * i, *x = log->position + 3 * i;
        double f[3], g[3];
        nh_lattice_apply(r, inverse, f);
        nh_lattice_apply(x, inverse, g);
        for (int d = 0; d < 3; d++) {
            const double theirs = log->unit > 0 ? log->unit * g[d] : x[d];
            shift[3 * i + (size_t)d] = nearbyint(theirs - f[d]);
            same = same && fabs(theirs - f[d] - shift[3 * i + (size_t)d]) < close;
        }
    }
    for (size_t i = 0; i < s->n_atom && same; i++) {
        const double *n = shift + 3 * i;
        double move[3];
        if (n[0] == 0 && n[1] == 0 && n[2] == 0) continue;
        nh_lattice_apply(n, a, move);
        for (size_t k = 0; k < 3; k++)
            s->position[3 * i + k] += move[k];
    }
    free(shift);
    return same;
}

/* --- the folder --- */

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static int join(const char *folder, const char *name, char **out, nh_error *err)
{
    free(*out);
    const bool absolute = name[0] == '/';
    if (asprintf(out, "%s%s%s", absolute ? "" : folder, absolute ? "" : "/", name) >= 0) return 0;
    *out = NULL;
    return nh_fail_memory(err, "a file name");
}

bool nh_abacus_is_run(const char *folder)
{
    char *path = NULL;
    bool found = false;
    static const char *const names[] = {"STRU", "INPUT"};
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !found; i++) {
        if (asprintf(&path, "%s/%s", folder, names[i]) < 0) return false;
        found = exists(path);
        free(path);
    }
    return found;
}

void nh_abacus_run_free(nh_abacus_run *run)
{
    if (run == NULL) return;
    free(run->folder);
    free(run->output);
    free(run->stru);
    for (int i = 0; i < 2; i++) {
        free(run->hamiltonian[i]);
        free(run->zeroth[i]);
    }
    free(run->overlap);
    free(run->position);
    free(run->log);
    free(run->orbital_dir);
    free(run->latname);
    free(run->calculation);
    *run = (nh_abacus_run){.folder = NULL};
}

typedef struct input {
    char *suffix, *stru_file;
    bool exists, spinor;
} input;

/* ABACUS's spellings of a truth value. */
static bool is_true(const char *value)
{
    static const char *const yes[] = {"1", "true", ".true.", "t", "yes", "y"};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        if (strcasecmp(value, yes[i]) == 0) return true;
    return false;
}

static int keep(char **out, const char *value, nh_error *err)
{
    free(*out);
    *out = nh_strdup(value);
    return *out != NULL ? 0 : nh_fail_memory(err, "INPUT");
}

static int read_input_line(nh_text *t, char *token[NH_TEXT_TOKENS], nh_abacus_run *run, input *in,
                           nh_error *err)
{
    const char *key = token[0], *value = token[1];
    double x;
    if (strcasecmp(key, "suffix") == 0) return keep(&in->suffix, value, err);
    if (strcasecmp(key, "stru_file") == 0) return keep(&in->stru_file, value, err);
    if (strcasecmp(key, "calculation") == 0) return keep(&run->calculation, value, err);
    if (strcasecmp(key, "gamma_only") == 0) run->gamma_only = is_true(value);
    if (strcasecmp(key, "noncolin") == 0 || strcasecmp(key, "lspinorb") == 0) in->spinor |= is_true(value);
    if (strcasecmp(key, "latname") == 0) return keep(&run->latname, value, err);
    if (strcasecmp(key, "orbital_dir") == 0) return join(run->folder, value, &run->orbital_dir, err);
    if (strcasecmp(key, "nelec") == 0) return nh_text_real(t, value, "nelec", &run->nelec, err);
    if (strcasecmp(key, "nelec_delta") == 0)
        return nh_text_real(t, value, "nelec_delta", &run->nelec_delta, err);
    if (strcasecmp(key, "scf_nmax") == 0) {
        if (nh_text_real(t, value, "scf_nmax", &x, err)) return -1;
        run->scf_nmax = x > 1 ? 2 : x == 1;
    } else if (strcasecmp(key, "nspin") == 0) {
        if (nh_text_real(t, value, "nspin", &x, err)) return -1;
        if (x != 1 && x != 2 && x != 4) return nh_text_fail(t, err, "nspin %s (1, 2 or 4 expected)", value);
        run->nspin = (int)x;
    }
    return 0;
}

static int read_input(nh_abacus_run *run, input *in, nh_error *err)
{
    char *path = NULL, *text = NULL;
    if (join(run->folder, "INPUT", &path, err)) return -1;
    int status = 0;
    in->exists = exists(path);
    if (in->exists && (status = nh_read_text(path, NH_TEXT_LIMIT, &text, err)) == 0) {
        nh_text t = {.name = path, .at = text};
        char *token[NH_TEXT_TOKENS];
        for (size_t n; status == 0 && (n = nh_text_next(&t, true, token)) > 0;)
            if (n >= 2) status = read_input_line(&t, token, run, in, err);
    }
    free(text);
    free(path);
    return status;
}

/* *out is NULL where there is no such folder. */
static int open_folder(const char *folder, DIR **out, nh_error *err)
{
    *out = opendir(folder);
    return *out != NULL || errno == ENOENT || errno == ENOTDIR
               ? 0
               : nh_fail(err, "%s: %s", folder, strerror(errno));
}

/* OUT.suffix, or the only folder OUT.* there is, or NULL. */
static int find_output(const nh_abacus_run *run, const char *suffix, char **out, nh_error *err)
{
    if (asprintf(out, "%s/OUT.%s", run->folder, suffix != NULL ? suffix : "ABACUS") < 0) {
        *out = NULL;
        return nh_fail_memory(err, "a file name");
    }
    if (exists(*out)) return 0;
    free(*out);
    *out = NULL;
    DIR *dir;
    int status = open_folder(run->folder, &dir, err);
    for (const struct dirent *e; dir != NULL && status == 0 && (e = readdir(dir)) != NULL;) {
        if (strncmp(e->d_name, "OUT.", 4) != 0) continue;
        status = *out != NULL
                     ? nh_fail(err, "%s: several folders OUT.*, and none is called as INPUT's suffix says",
                               run->folder)
                     : join(run->folder, e->d_name, out, err);
    }
    if (dir != NULL) closedir(dir);
    return status;
}

/* --- names of files of all ages --- */

/* Kinds of files; H and H0 of both spins. */
enum { UP, DOWN, ZEROTH_UP, ZEROTH_DOWN, OVERLAP, ZEROTH_OVERLAP, POSITION, N_KIND };

/* '#': the ionic step. A number before the name counts from 0, one behind a g from 1. Of the block files of
 * all processes the first one stands for all. */
static const struct {
    int kind;
    const char *name;
} known[] = {
    {UP, "data-HR-sparse_SPIN0.csr"},
    {UP, "data-HR-sparse_SPIN0.dat"},
    {UP, "#_data-HR-sparse_SPIN0.csr"},
    {UP, "hrs1_nao.csr"},
    {UP, "hrs1_nao.dat"},
    {UP, "hrs1g#_nao.csr"},
    {UP, "hrs1g#_nao.dat"},
    {UP, "hr_nao.csr"},
    {UP, "hr_nao.dat"},
    {UP, "hrs_block_up_0.dat"},
    {UP, "hrs_block_0.dat"},
    {DOWN, "data-HR-sparse_SPIN1.csr"},
    {DOWN, "data-HR-sparse_SPIN1.dat"},
    {DOWN, "#_data-HR-sparse_SPIN1.csr"},
    {DOWN, "hrs2_nao.csr"},
    {DOWN, "hrs2_nao.dat"},
    {DOWN, "hrs2g#_nao.csr"},
    {DOWN, "hrs2g#_nao.dat"},
    {DOWN, "hrs_block_down_0.dat"},
    {DOWN, "hrs_block_dn_0.dat"},
    {ZEROTH_UP, "data-H0R-sparse_SPIN0.csr"},
    {ZEROTH_UP, "h0rs1_nao.csr"},
    {ZEROTH_DOWN, "data-H0R-sparse_SPIN1.csr"},
    {ZEROTH_DOWN, "h0rs2_nao.csr"},
    {OVERLAP, "data-SR-sparse_SPIN0.csr"},
    {OVERLAP, "data-SR-sparse_SPIN0.dat"},
    {OVERLAP, "#_data-SR-sparse_SPIN0.csr"},
    {OVERLAP, "srs1_nao.csr"},
    {OVERLAP, "srs1_nao.dat"},
    {OVERLAP, "srs1g#_nao.csr"},
    {OVERLAP, "srs1g#_nao.dat"},
    {OVERLAP, "sr_nao.csr"},
    {OVERLAP, "sr_nao.dat"},
    {OVERLAP, "srg#_nao.csr"},
    {OVERLAP, "srg#_nao.dat"},
    {OVERLAP, "SR.csr"},
    {OVERLAP, "srs_block_0.dat"},
    {ZEROTH_OVERLAP, "data-S0R-sparse_SPIN0.csr"},
    {ZEROTH_OVERLAP, "s0r_nao.csr"},
    {POSITION, "data-rR-sparse.csr"},
    {POSITION, "data-rR-sparse_SPIN0.csr"},
    {POSITION, "#_data-rR-sparse.csr"},
    {POSITION, "rr_nao.txt"},
    {POSITION, "rr_nao.csr"},
    {POSITION, "rr.csr"},
};

/* True where a name is the pattern, also with .gz or .xz; *step from 1, 0: none. */
static bool matches(const char *name, const char *pattern, long *step)
{
    const bool first = pattern[0] == '#';
    *step = 0;
    for (; *pattern != '\0'; pattern++)
        if (*pattern == '#') {
            char *end;
            if (!isdigit((unsigned char)*name)) return false;
            *step = strtol(name, &end, 10) + first;
            name = end;
        } else if (*name++ != *pattern) {
            return false;
        }
    return *name == '\0' || strcmp(name, ".gz") == 0 || strcmp(name, ".xz") == 0;
}

/* What a folder has of one kind. */
typedef struct found {
    char *name; /* owned */
    size_t pattern;
    long step;
} found;

static int fail_two(const char *folder, const found *a, const char *b, nh_error *err)
{
    return nh_fail(
        err,
        "%s: both %s and %s are there: one is left from another run; remove it, or name the files themselves",
        folder, a->name, b);
}

/* Takes a file, or leaves it: of one name the uncompressed file, of several steps the wanted one or the
 * last. */
static int consider(const char *folder, const char *name, size_t pattern, long step, long wanted, found *out,
                    nh_error *err)
{
    if (wanted > 0 && step > 0 && step != wanted) return 0;
    if (out->name != NULL) {
        if (out->pattern != pattern) return fail_two(folder, out, name, err);
        if (step < out->step || (step == out->step && strlen(name) > strlen(out->name))) return 0;
    }
    char *copy = nh_strdup(name);
    if (copy == NULL) return nh_fail_memory(err, "a file name");
    free(out->name);
    *out = (found){copy, pattern, step};
    return 0;
}

static int look_at(const char *folder, const char *name, long wanted, found kinds[N_KIND], nh_error *err)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        long step;
        if (!matches(name, known[i].name, &step)) continue;
        if (consider(folder, name, i, step, wanted, &kinds[known[i].kind], err)) return -1;
    }
    return 0;
}

/* The files of a folder, for the kinds of which none was found before. */
static int find_files(nh_abacus_run *run, const char *folder, long wanted, nh_error *err)
{
    char **const to[N_KIND] = {
        [UP] = &run->hamiltonian[0],     [DOWN] = &run->hamiltonian[1], [ZEROTH_UP] = &run->zeroth[0],
        [ZEROTH_DOWN] = &run->zeroth[1], [OVERLAP] = &run->overlap,     [ZEROTH_OVERLAP] = NULL,
        [POSITION] = &run->position};
    found kinds[N_KIND] = {{NULL, 0, 0}};
    DIR *dir;
    int status = open_folder(folder, &dir, err);
    for (const struct dirent *e; dir != NULL && status == 0 && (e = readdir(dir)) != NULL;)
        status = look_at(folder, e->d_name, wanted, kinds, err);
    if (dir != NULL) closedir(dir);
    for (int k = 0; k < N_KIND && status == 0; k++) {
        char **path = k == ZEROTH_OVERLAP ? &run->overlap : to[k];
        if (kinds[k].name == NULL || *path != NULL) continue;
        status = join(folder, kinds[k].name, path, err);
        if (kinds[k].step > run->step) run->step = kinds[k].step;
    }
    for (int k = 0; k < N_KIND; k++)
        free(kinds[k].name);
    return status;
}

/* The log of INPUT's calculation, else the only one there is. */
static int find_log(nh_abacus_run *run, const char *folder, nh_error *err)
{
    DIR *dir = NULL;
    char *other = NULL;
    bool several = false;
    int status = run->log == NULL ? open_folder(folder, &dir, err) : 0;
    for (const struct dirent *e; dir != NULL && status == 0 && (e = readdir(dir)) != NULL;) {
        const char *name = e->d_name, *end = strstr(name, ".log");
        if (strncmp(name, "running_", 8) != 0 || end == NULL || strcmp(end, ".log.tmp") == 0) continue;
        if (end[4] != '\0' && strcmp(end + 4, ".gz") != 0 && strcmp(end + 4, ".xz") != 0) continue;
        const size_t n = (size_t)(end - name) - 8;
        if (strlen(run->calculation) == n && strncasecmp(name + 8, run->calculation, n) == 0) {
            if (run->log == NULL || end[4] == '\0') status = join(folder, name, &run->log, err);
        } else {
            several = several || other != NULL;
            status = join(folder, name, &other, err);
        }
    }
    if (dir != NULL) closedir(dir);
    if (status == 0 && run->log == NULL && other != NULL) {
        if (several)
            status =
                nh_fail(err, "%s: several logs, and none is called running_%s.log after INPUT's calculation",
                        folder, run->calculation);
        run->log = other;
        other = NULL;
    }
    free(other);
    return status;
}

/* Matrices and log, of one folder after the other: OUT.suffix, its folder matrix, the run folder. */
static int find_all(nh_abacus_run *run, long step, nh_error *err)
{
    char *matrix = NULL;
    int status = 0;
    if (run->output != NULL) {
        status = join(run->output, "matrix", &matrix, err);
        if (status == 0) status = find_files(run, run->output, step, err);
        if (status == 0) status = find_files(run, matrix, step, err);
        if (status == 0) status = find_log(run, run->output, err);
        free(matrix);
    }
    if (status == 0) status = find_files(run, run->folder, step, err);
    if (status == 0) status = find_log(run, run->folder, err);
    return status;
}

static void forget(char **path)
{
    free(*path);
    *path = NULL;
}

int nh_abacus_run_find(const char *folder, long step, nh_abacus_run *out, nh_error *err)
{
    *out = (nh_abacus_run){.folder = nh_strdup(folder)};
    input in = {.suffix = NULL};
    int status =
        out->folder == NULL ? nh_fail_memory(err, "a file name") : keep(&out->calculation, "scf", err);
    if (status == 0) status = read_input(out, &in, err);
    if (status == 0) status = join(folder, in.stru_file != NULL ? in.stru_file : "STRU", &out->stru, err);
    out->has_stru = status == 0 && exists(out->stru);
    if (status == 0) status = find_output(out, in.suffix, &out->output, err);
    if (status == 0) status = find_all(out, step, err);
    if (status == 0 && !out->has_stru && out->hamiltonian[0] == NULL)
        status = nh_fail(err, "%s: no such file (no ABACUS run folder?)", out->stru);
    if (status == 0 && out->nspin == 0 && in.exists) out->nspin = in.spinor ? 4 : 1;
    if (status == 0 && out->nspin != 0 && out->nspin != 2) { /* left over from another run */
        forget(&out->hamiltonian[1]);
        forget(&out->zeroth[1]);
    }
    free(in.suffix);
    free(in.stru_file);
    if (status != 0) nh_abacus_run_free(out);
    return status;
}

/* The first of the files that is there; NULL: none. */
static int first_of(const nh_abacus_run *run, const char *const *names, char **path, nh_error *err)
{
    *path = NULL;
    for (size_t i = 0; names[i] != NULL; i++)
        for (int inner = 0; inner < 2; inner++) {
            free(*path);
            if (asprintf(path, "%s/%s%s", run->output != NULL ? run->output : run->folder,
                         inner ? "STRU/" : "", names[i]) < 0) {
                *path = NULL;
                return nh_fail_memory(err, "a file name");
            }
            if (exists(*path)) return 0;
        }
    free(*path);
    *path = NULL;
    return 0;
}

int nh_abacus_run_structure(const nh_abacus_run *run, const nh_abacus_log *log, long step, char **path,
                            nh_error *err)
{
    if (step <= 1) {
        *path = nh_strdup(run->stru);
        return *path != NULL ? 0 : nh_fail_memory(err, "a file name");
    }
    char relaxed[64], moved[64];
    snprintf(relaxed, sizeof relaxed, "STRU_ION%ld_D", step - 1);
    snprintf(moved, sizeof moved, "STRU_MD_%ld", step - 1);
    static const char *const last[] = {"STRU_ION_D", "STRU_FINAL", NULL};
    if (first_of(run, (const char *const[]){relaxed, moved, NULL}, path, err)) return -1;
    if (*path == NULL && log->relaxed && nh_abacus_log_of_step(log, 0).number == step &&
        first_of(run, last, path, err))
        return -1;
    if (*path != NULL) return 0;
    return nh_fail(err,
                   "%s: the matrices are of ionic step %ld, %s is the structure of step 1, and there is no "
                   "%s or %s%s: give "
                   "structure, matrices and log themselves, or --step",
                   run->folder, step, run->stru, relaxed, moved,
                   log->relaxed
                       ? ""
                       : " (STRU_ION_D may be one step further: by the log the relaxation did not converge)");
}
