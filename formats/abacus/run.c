#include "formats/abacus/run.h"

#include "base/memory.h"
#include "base/stream.h"
#include "crystal/lattice.h"
#include "formats/text.h"

#include <ctype.h>
#include <dirent.h>
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
    *log = (nh_abacus_log){.efermi = NAN, .nelec = NAN};
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
    bool has_efermi_line;
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

static void scan_energies(nh_abacus_log *log, scan *state, const char *line)
{
    const char *at = skip_blank(line);
    double x, y;
    char unit[8];
    if (sscanf(at, "EFERMI = %lf %7s", &x, unit) == 2 && strcasecmp(unit, "eV") == 0) {
        log->efermi = x;
        state->has_efermi_line = true;
    } else if (!state->has_efermi_line && sscanf(at, "E_Fermi %lf %lf", &x, &y) == 2) {
        log->efermi = y;
    } else if (number_after(at, "AUTOSET number of electrons", &x)) {
        log->nelec = x;
    } else if ((number_after(at, "nspin ", &x) || number_after(at, "NSPIN ", &x)) && x >= 1 && x <= 4) {
        log->nspin = (int)x;
    }
}

int nh_abacus_log_read(const char *path, nh_abacus_log *out, nh_error *err)
{
    *out = (nh_abacus_log){.efermi = NAN, .nelec = NAN};
    nh_stream *s;
    if (nh_stream_open(path, &s, err)) return -1;
    char line[512];
    scan state = {.in_type = false};
    int status = 0;
    while (status == 0 && nh_stream_line_text(s, line, sizeof line) == 0) {
        scan_energies(out, &state, line);
        status = scan_structure(out, &state, line, err);
    }
    if (status == 0) status = nh_stream_status(s, err);
    nh_stream_close(s);
    if (status == 0 && isnan(out->efermi) && isnan(out->nelec) && out->n_type == 0)
        status = nh_fail(err, "%s: no log of ABACUS: no EFERMI, no number of electrons, no atom types", path);
    if (status != 0) nh_abacus_log_free(out);
    return status;
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

/* The first of names x {"", ".gz", ".xz"} in folder; *out stays NULL where none is there. */
static int find(const char *folder, const char *const *names, char **out, nh_error *err)
{
    static const char *const endings[] = {"", ".gz", ".xz"};
    if (*out != NULL) return 0;
    for (size_t i = 0; names[i] != NULL; i++)
        for (size_t k = 0; k < sizeof endings / sizeof endings[0]; k++) {
            char *path = NULL;
            if (asprintf(&path, "%s/%s%s", folder, names[i], endings[k]) < 0)
                return nh_fail_memory(err, "a file name");
            if (exists(path)) {
                *out = path;
                return 0;
            }
            free(path);
        }
    return 0;
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
    free(run->stru);
    free(run->hamiltonian[0]);
    free(run->hamiltonian[1]);
    free(run->overlap);
    free(run->log);
    free(run->orbital_dir);
    free(run->latname);
    *run = (nh_abacus_run){.folder = NULL};
}

typedef struct input {
    char *suffix, *stru_file;
} input;

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
    if (exists(path) && (status = nh_read_text(path, NH_TEXT_LIMIT, &text, err)) == 0) {
        nh_text t = {.name = path, .at = text};
        char *token[NH_TEXT_TOKENS];
        for (size_t n; status == 0 && (n = nh_text_next(&t, true, token)) > 0;)
            if (n >= 2) status = read_input_line(&t, token, run, in, err);
    }
    free(text);
    free(path);
    return status;
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
    DIR *dir = opendir(run->folder);
    int status = 0;
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

static int find_files(nh_abacus_run *run, const char *folder, nh_error *err)
{
    static const char *const up[] = {
        "data-HR-sparse_SPIN0.csr", "hrs1_nao.csr", "hr_nao.csr", "hrs1_nao.dat", "hr_nao.dat", NULL};
    static const char *const down[] = {"data-HR-sparse_SPIN1.csr", "hrs2_nao.csr", "hrs2_nao.dat", NULL};
    static const char *const overlap[] = {"data-SR-sparse_SPIN0.csr",
                                          "srs1_nao.csr",
                                          "sr_nao.csr",
                                          "SR.csr",
                                          "srs1_nao.dat",
                                          "sr_nao.dat",
                                          NULL};
    static const char *const log[] = {"running_scf.log",
                                      "running_nscf.log",
                                      "running_relax.log",
                                      "running_cell-relax.log",
                                      "running_get_S.log",
                                      "running_get_s.log",
                                      NULL};
    return find(folder, up, &run->hamiltonian[0], err) || find(folder, down, &run->hamiltonian[1], err) ||
                   find(folder, overlap, &run->overlap, err) || find(folder, log, &run->log, err)
               ? -1
               : 0;
}

int nh_abacus_run_find(const char *folder, nh_abacus_run *out, nh_error *err)
{
    *out = (nh_abacus_run){.folder = nh_strdup(folder)};
    input in = {.suffix = NULL};
    char *output = NULL;
    int status = out->folder == NULL ? nh_fail_memory(err, "a file name") : read_input(out, &in, err);
    if (status == 0) status = join(folder, in.stru_file != NULL ? in.stru_file : "STRU", &out->stru, err);
    if (status == 0 && !exists(out->stru)) {
        status = nh_fail(err, "%s: no such file (no ABACUS run folder?)", out->stru);
    }
    if (status == 0) status = find_output(out, in.suffix, &output, err);
    if (status == 0 && output != NULL) {
        char *matrix = NULL;
        status = find_files(out, output, err);
        if (status == 0) status = join(output, "matrix", &matrix, err);
        if (status == 0) status = find_files(out, matrix, err);
        free(matrix);
    }
    if (status == 0) status = find_files(out, folder, err);
    if (status == 0 && out->nspin != 0 && out->nspin != 2) {
        free(out->hamiltonian[1]); /* left over from another run */
        out->hamiltonian[1] = NULL;
    }
    free(output);
    free(in.suffix);
    free(in.stru_file);
    if (status != 0) nh_abacus_run_free(out);
    return status;
}
